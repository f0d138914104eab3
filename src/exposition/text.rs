//! Escaped text: label values and helps.

use std::fmt::Write as _;

use opentelemetry::Value;

use super::Format;

/// Appends a label value with backslash, quote and line feed escaped.
pub(super) fn escape_label(out: &mut Vec<u8>, value: &str) {
    escape(out, value, true);
}

/// Appends a help text; text 0.0.4 leaves its quotes alone, `OpenMetrics` escapes them.
pub(super) fn escape_help(out: &mut Vec<u8>, help: &str, format: Format) {
    escape(out, help, format == Format::OpenMetrics);
}

fn escape(out: &mut Vec<u8>, text: &str, quotes: bool) {
    let bytes = text.as_bytes();
    let special = |byte: &u8| matches!(byte, b'\\' | b'\n') || (quotes && *byte == b'"');
    let mut done = 0;
    while let Some(length) = bytes[done..].iter().position(special) {
        let at = done + length;
        out.extend_from_slice(&bytes[done..at]);
        out.extend_from_slice(&[b'\\', if bytes[at] == b'\n' { b'n' } else { bytes[at] }]);
        done = at + 1;
    }
    out.extend_from_slice(&bytes[done..]);
}

/// Appends an attribute's value, escaped.
pub(super) fn write_value(out: &mut Vec<u8>, value: &Value) {
    if let Value::String(text) = value {
        escape_label(out, text.as_str());
    } else {
        let mut text = String::new();
        // Writing to a String fails only where a Display implementation does; these don't.
        let _ = write!(text, "{value}");
        escape_label(out, &text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_special_byte_is_escaped_wherever_it_stands() {
        let label = |value: &str| {
            let mut out = b"before".to_vec();
            escape_label(&mut out, value);
            String::from_utf8(out).unwrap()
        };
        for length in 0..40 {
            let plain: String = "é-~".chars().cycle().take(length).collect();
            assert_eq!(label(&plain), format!("before{plain}"));
            for (at, letter) in plain.char_indices() {
                for (special, escaped) in [("\\", r"\\"), ("\"", r#"\""#), ("\n", r"\n")] {
                    let (left, right) = (&plain[..at], &plain[at + letter.len_utf8()..]);
                    assert_eq!(
                        label(&format!("{left}{special}{right}")),
                        format!("before{left}{escaped}{right}")
                    );
                }
            }
        }
    }

    #[test]
    fn quotes_in_a_help_text_are_escaped_in_openmetrics_alone() {
        let text = |format| {
            let mut out = Vec::new();
            escape_help(&mut out, "a \"b\" \\ \n", format);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(text(Format::Text), r#"a "b" \\ \n"#);
        assert_eq!(text(Format::OpenMetrics), r#"a \"b\" \\ \n"#);
    }
}
