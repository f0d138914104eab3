//! One flat JSON object, written into buffers that are used again.
//!
//! Separators are `", "` and `": "`, as Python's `json.dumps` writes them and as the readers of these files know them.

use std::fmt::{self, Write as _};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use jiff::Timestamp;

/// The longest value in bytes, before escaping; what is longer is cut there and marked.
pub const MAX_VALUE: usize = 1 << 20;
/// Once the fields of a line take this many bytes, each further value is the mark alone.
pub const MAX_FIELDS: usize = 4 << 20;
/// Stands at the end of a value that was cut.
pub const CUT_MARK: &str = "…[cut]";
/// Stands at the end of a value whose own formatting failed.
pub const FAILED_MARK: &str = "…[not formatted]";

/// Where Rust writes a float without an exponent. So does zmij, in a tenth of the time; of two equally short and equally
/// near texts it takes the even one, as Python does.
const DECIMAL: Range<f64> = 1e-4..1e16;

const CUT_VALUE: &str = "\"…[cut]\"";

/// Keys that the line itself writes; a caller's field of such a name gets a `_`.
const RESERVED: [&str; 7] = ["event", "timestamp", "level", "trace_id", "span_id", "service", "logger"];

/// The event and the fields of one line; each key occurs once.
#[derive(Debug, Default)]
pub(super) struct Line {
    event: String,
    has_event: bool,
    fields: String,
    /// Where each key stands in `fields`, escaped and without its quotes.
    keys: Vec<Range<usize>>,
    /// Values whose own formatting failed.
    failures: u64,
}

impl Line {
    /// Empties the line; keeps its memory unless an extraordinary line made it large.
    pub(super) fn clear(&mut self) {
        const KEEP: usize = 64 << 10;
        self.event.clear();
        self.event.shrink_to(KEEP);
        self.fields.clear();
        self.fields.shrink_to(KEEP);
        self.keys.clear();
        self.has_event = false;
        self.failures = 0;
    }

    pub(super) fn has_event(&self) -> bool {
        self.has_event
    }

    pub(super) fn failures(&self) -> u64 {
        self.failures
    }

    pub(super) fn set_event(&mut self, event: fmt::Arguments<'_>) {
        self.has_event = true;
        self.failures += u64::from(!format_value(&mut self.event, event));
    }

    pub(super) fn set_event_text(&mut self, event: &str) {
        self.has_event = true;
        push_value(&mut self.event, event);
    }

    /// The event, escaped, without quotes.
    pub(super) fn event(&self) -> &str {
        &self.event
    }

    /// Everything after the event: `, "key": value` for each field.
    pub(super) fn fields(&self) -> &str {
        &self.fields
    }

    /// The keys, escaped, each with its value as JSON.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&str, &str)> {
        self.keys.iter().enumerate().map(|(index, key)| {
            let end = self.keys.get(index + 1).map_or(self.fields.len(), |next| next.start - ", \"".len());
            (&self.fields[key.clone()], &self.fields[key.end + "\": ".len()..end])
        })
    }

    /// Text that is there already: nothing of a caller's runs, so there is nothing to contain.
    pub(super) fn text(&mut self, key: &str, value: &str) {
        self.quoted(key, |fields| {
            push_value(fields, value);
            true
        });
    }

    pub(super) fn format(&mut self, key: &str, value: fmt::Arguments<'_>) {
        self.quoted(key, |fields| format_value(fields, value));
    }

    /// `push` says whether the value's own formatting went well.
    fn quoted(&mut self, key: &str, push: impl FnOnce(&mut String) -> bool) {
        self.key(key);
        self.fields.push('"');
        if self.fields.len() < MAX_FIELDS {
            self.failures += u64::from(!push(&mut self.fields));
        } else {
            self.fields.push_str(CUT_MARK);
        }
        self.fields.push('"');
    }

    /// `value` must print as a JSON number, `true` or `false`.
    pub(super) fn bare(&mut self, key: &str, value: impl fmt::Display) {
        self.key(key);
        let _ = write!(self.fields, "{value}");
    }

    /// JSON knows neither NaN nor infinity: they become `null`.
    pub(super) fn float(&mut self, key: &str, value: f64) {
        self.key(key);
        if DECIMAL.contains(&value.abs()) {
            self.fields.push_str(zmij::Buffer::new().format_finite(value));
        } else if value.is_finite() {
            let _ = write!(self.fields, "{value:?}");
        } else {
            self.fields.push_str("null");
        }
    }

    /// Adds a field unless the line has its key.
    pub(super) fn text_unless_named(&mut self, key: &str, value: &str) {
        if !self.has(key) {
            self.text(key, value);
        }
    }

    /// Adds those fields of `outer` whose keys this line does not have.
    pub(super) fn inherit(&mut self, outer: &Self) {
        for (key, value) in outer.entries() {
            if !self.has(key) {
                self.open_key();
                let start = self.fields.len();
                self.fields.push_str(key);
                self.close_key(start);
                let fits = self.fields.len() < MAX_FIELDS;
                self.fields.push_str(if fits { value } else { CUT_VALUE });
            }
        }
    }

    /// Closes the line. The parts, one after the other, are the line with its line feed.
    pub(super) fn finish(&mut self, tail: &Tail<'_>, stamp: &mut Stamp) -> [&str; 5] {
        if let Some((trace, span)) = &tail.ids {
            self.fields.push_str(", \"trace_id\": \"");
            hex(trace, &mut self.fields);
            self.fields.push_str("\", \"span_id\": \"");
            hex(span, &mut self.fields);
            self.fields.push('"');
        }
        self.fields.push_str(", \"service\": \"");
        escape(tail.service, &mut self.fields);
        self.fields.push_str("\", \"logger\": \"");
        escape(tail.logger, &mut self.fields);
        self.fields.push_str("\", \"timestamp\": \"");
        stamp.write(tail.now, &mut self.fields);
        self.fields.push_str("\", \"level\": \"");
        self.fields.push_str(tail.level);
        ["{\"event\": \"", &self.event, "\"", &self.fields, "\"}\n"]
    }

    fn has(&self, key: &str) -> bool {
        self.keys.iter().any(|known| &self.fields[known.clone()] == key)
    }

    fn key(&mut self, name: &str) {
        self.open_key();
        let start = self.fields.len();
        escape(name, &mut self.fields);
        while RESERVED.contains(&&self.fields[start..]) || self.has(&self.fields[start..]) {
            self.fields.push('_');
        }
        self.close_key(start);
    }

    fn open_key(&mut self) {
        self.fields.push_str(", \"");
    }

    fn close_key(&mut self, start: usize) {
        self.keys.push(start..self.fields.len());
        self.fields.push_str("\": ");
    }
}

/// What every line ends with.
pub(super) struct Tail<'a> {
    pub(super) ids: Option<([u8; 16], [u8; 8])>,
    pub(super) service: &'a str,
    pub(super) logger: &'a str,
    pub(super) now: Timestamp,
    pub(super) level: &'static str,
}

/// Writes time stamps; calendar arithmetic is done once a second.
#[derive(Debug, Default)]
pub(super) struct Stamp {
    second: Option<i64>,
    text: String,
}

impl Stamp {
    /// RFC 3339, UTC, microseconds, `Z`.
    pub(super) fn write(&mut self, now: Timestamp, out: &mut String) {
        let micros = now.as_microsecond();
        let second = micros.div_euclid(1_000_000);
        if self.second != Some(second) {
            self.text.clear();
            let whole = Timestamp::from_second(second).unwrap_or(Timestamp::MIN);
            let _ = write!(self.text, "{whole:.0}");
            self.text.truncate(self.text.trim_end_matches('Z').len());
            self.second = Some(second);
        }
        out.push_str(&self.text);
        let mut fraction = *b".000000Z";
        let mut rest = micros.rem_euclid(1_000_000).unsigned_abs();
        for place in fraction[1..7].iter_mut().rev() {
            *place = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        push_ascii(&fraction, out);
    }
}

/// At most 16 bytes: a trace id.
fn hex(bytes: &[u8], out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; 32];
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
    push_ascii(&text[..2 * bytes.len().min(16)], out);
}

/// In one piece, which is several times cheaper than byte by byte.
fn push_ascii(text: &[u8], out: &mut String) {
    out.push_str(str::from_utf8(text).unwrap_or_default());
}

/// Appends text as the inside of a JSON string.
fn push_value(out: &mut String, value: &str) {
    let fits = value.floor_char_boundary(MAX_VALUE);
    escape(&value[..fits], out);
    if fits < value.len() {
        out.push_str(CUT_MARK);
    }
}

/// Formats `value` as the inside of a JSON string; false when its own formatting failed. A panic in it is contained:
/// a log call must not stop an order.
fn format_value(out: &mut String, value: fmt::Arguments<'_>) -> bool {
    let mut escaped = Escaped { out, left: MAX_VALUE, cut: false };
    let outcome = catch_unwind(AssertUnwindSafe(|| escaped.write_fmt(value)));
    let cut = escaped.cut;
    let whole = cut || matches!(outcome, Ok(Ok(())));
    if cut {
        out.push_str(CUT_MARK);
    } else if !whole {
        out.push_str(FAILED_MARK);
    }
    whole
}

struct Escaped<'a> {
    out: &'a mut String,
    left: usize,
    cut: bool,
}

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let fits = text.floor_char_boundary(self.left);
        escape(&text[..fits], self.out);
        self.left -= fits;
        if fits < text.len() {
            self.cut = true;
            self.left = 0;
            return Err(fmt::Error);
        }
        Ok(())
    }
}

/// Appends `text` as the inside of a JSON string.
fn escape(text: &str, out: &mut String) {
    let mut clean = 0;
    for (index, byte) in text.bytes().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.push_str(&text[clean..index]);
        clean = index + 1;
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            0x08 => out.push_str("\\b"),
            0x0c => out.push_str("\\f"),
            control => {
                out.push_str("\\u00");
                hex(&[control], out);
            }
        }
    }
    out.push_str(&text[clean..]);
}
