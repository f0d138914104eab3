//! The JSON line: its bytes, its keys, and what hostile fields can do to it.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::collections::HashSet;
use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::Value as Json;
use tracing::field::{FieldSet, Value};
use tracing::metadata::Kind;
use tracing::subscriber::{DefaultGuard, Interest, set_default};
use tracing::{Callsite, Event, Level, Metadata, callsite, debug, error, info, info_span, trace, warn};
use tracing_subscriber::prelude::*;
use trading_telemetry::clock::ManualClock;
use trading_telemetry::logs::{
    AUDIT_TARGET, CUT_MARK, DropReason, FAILED_MARK, LogConfig, LogFormat, Logs, MAX_FIELDS, MAX_VALUE,
};

struct Fixture {
    logs: Logs,
    clock: Arc<ManualClock>,
    dir: tempfile::TempDir,
    _subscriber: DefaultGuard,
}

impl Fixture {
    fn new(filter: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = LogConfig::new("backend");
        config.file.path = dir.path().join("backend.log");
        config.format = LogFormat::Json;
        filter.clone_into(&mut config.filter);
        let clock = Arc::new(ManualClock::new("2024-03-15T14:32:15.123456Z".parse().unwrap()));
        let logs = Logs::start(config, clock.clone(), |_| ()).unwrap();
        let subscriber = set_default(tracing_subscriber::registry().with(logs.layer()));
        Self { logs, clock, dir, _subscriber: subscriber }
    }

    fn text(&self) -> String {
        self.logs.flush(Duration::from_mins(1)).unwrap();
        std::fs::read_to_string(self.dir.path().join("backend.log")).unwrap()
    }

    fn lines(&self) -> Vec<Json> {
        self.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn line(&self) -> Json {
        let mut lines = self.lines();
        assert_eq!(lines.len(), 1, "{lines:?}");
        lines.remove(0)
    }
}

/// The part that every line outside an order has in addition to the documented ones.
const ADDED: &str = r#""service": "backend", "logger": "logs_lines", "#;

#[test]
fn the_documented_lines_come_out_byte_for_byte() {
    let log = Fixture::new("info");
    info!(symbol = "AAPL", order_id = "abc123", quantity = 100, price = 150.0, "order_submitted");
    info!(day_trades_used = 2, "pdt_day_trade_recorded");
    warn!(reason = "max_positions", max_positions = 10, "order_rejected");
    let expected = [
        r#"{"event": "order_submitted", "symbol": "AAPL", "order_id": "abc123", "quantity": 100, "price": 150.0, "timestamp": "2024-03-15T14:32:15.123456Z", "level": "info"}"#,
        r#"{"event": "pdt_day_trade_recorded", "day_trades_used": 2, "timestamp": "2024-03-15T14:32:15.123456Z", "level": "info"}"#,
        r#"{"event": "order_rejected", "reason": "max_positions", "max_positions": 10, "timestamp": "2024-03-15T14:32:15.123456Z", "level": "warning"}"#,
    ];
    let text = log.text();
    assert_eq!(text.matches(ADDED).count(), 3);
    assert_eq!(text.replace(ADDED, ""), expected.join("\n") + "\n");
}

#[test]
fn levels_have_pythons_names() {
    let log = Fixture::new("trace");
    error!("a");
    warn!("b");
    info!("c");
    debug!("d");
    trace!("e");
    let levels: Vec<_> = log.lines().iter().map(|line| line["level"].as_str().unwrap().to_owned()).collect();
    assert_eq!(levels, ["error", "warning", "info", "debug", "debug"]);
}

#[test]
fn time_stamps_follow_the_clock_across_seconds_and_before_1970() {
    let log = Fixture::new("info");
    let times = ["2024-03-15T14:32:15.999999Z", "2024-03-15T14:32:16.000000Z", "1969-12-31T23:59:59.000001Z"];
    for time in times {
        log.clock.jump_wall(time.parse::<Timestamp>().unwrap());
        info!("tick");
    }
    let seen: Vec<_> =
        log.lines().iter().map(|line| line["timestamp"].as_str().unwrap().to_owned()).collect();
    assert_eq!(seen, times);
}

#[test]
fn an_error_with_its_sources_is_one_value() {
    #[derive(Debug)]
    struct Refused(std::io::Error);
    impl fmt::Display for Refused {
        fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            out.write_str("order refused")
        }
    }
    impl Error for Refused {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }

    let log = Fixture::new("info");
    let refused = Refused(std::io::Error::other("broken\npipe"));
    error!(error = &refused as &dyn Error, "order_failed");
    let line = log.line();
    assert_eq!(line["exception"], "order refused: broken\npipe");
    assert_eq!(line.get("error"), None);
}

#[test]
fn fields_of_enclosing_spans_are_context_and_the_call_wins() {
    let log = Fixture::new("info");
    let outer =
        info_span!("session", account = "DU1", venue = "NYSE", late = tracing::field::Empty, otel.name = "x");
    let _outer = outer.enter();
    let _insides = tracing::debug_span!("insides", buffer = 7).entered();
    let inner = info_span!("request", venue = "ARCA", service = "theirs").entered();
    outer.record("late", 1);
    outer.record("late", 2);
    info!(account = "DU2", "quoted");
    drop(inner);
    let text = log.text();
    let expected = r#"{"event": "quoted", "account": "DU2", "venue": "ARCA", "service_": "theirs", "late": 2, "service": "backend", "#;
    assert!(text.starts_with(expected), "{text}");
}

#[test]
fn a_message_may_stand_anywhere_and_may_be_missing() {
    let log = Fixture::new("info");
    info!(a = 1, message = "named", b = 2);
    info!(name: "heartbeat", age = 3);
    info!(a = 1, message = "second", "first");
    let lines = log.lines();
    assert_eq!(lines[0]["event"], "named");
    assert_eq!(lines[1]["event"], "heartbeat");
    let both = [&lines[2]["event"], &lines[2]["message"]];
    assert!(both.contains(&&Json::from("first")) && both.contains(&&Json::from("second")), "{both:?}");
}

#[test]
fn a_value_of_a_megabyte_survives_and_a_larger_one_is_cut_and_marked() {
    let log = Fixture::new("info");
    let megabyte = "é\n".repeat(333_333);
    info!(value = %megabyte, "large");
    info!(value = "é".repeat(MAX_VALUE), "too_large");
    let lines = log.lines();
    assert_eq!(lines[0]["value"], megabyte.as_str());
    assert_eq!(lines[1]["value"].as_str().unwrap(), "é".repeat(MAX_VALUE / 2) + CUT_MARK);
}

#[test]
fn a_line_has_an_end() {
    let log = Fixture::new("info");
    let value = "\0".repeat(MAX_VALUE);
    info!(a = value, b = value, c = value, "huge");
    let text = log.text();
    assert!(text.len() < MAX_FIELDS + 7 * MAX_VALUE, "{}", text.len());
    assert_eq!(log.line()["c"], CUT_MARK);
}

#[test]
fn a_value_that_fails_or_panics_costs_itself_alone() {
    struct Hostile(bool);
    impl fmt::Display for Hostile {
        fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            out.write_str("begun")?;
            assert!(self.0, "a value's own panic");
            Err(fmt::Error)
        }
    }

    let log = Fixture::new("info");
    info!(a = %Hostile(true), b = %Hostile(false), c = 3, "still_here");
    let line = log.line();
    let begun = format!("begun{FAILED_MARK}");
    assert_eq!(
        (&line["a"], &line["b"], &line["c"]),
        (&begun.as_str().into(), &begun.as_str().into(), &3.into())
    );
    assert_eq!(log.logs.stats().dropped(DropReason::EncodeFailed), 2);
}

#[test]
fn filters_take_events_and_neither_context_nor_audit() {
    let log = Fixture::new("error");
    let _span = info_span!("session", account = "DU1").entered();
    info!("noise");
    info!(target: AUDIT_TARGET, "order_submitted");
    error!("order_failed");
    let lines = log.lines();
    let seen: Vec<_> = lines.iter().map(|line| (&line["event"], &line["account"])).collect();
    let account = Json::from("DU1");
    assert_eq!(seen, [(&"order_submitted".into(), &account), (&"order_failed".into(), &account)]);

    log.logs.filter().set("off").unwrap();
    info!(target: AUDIT_TARGET, "kill_switch_changed");
    assert_eq!(log.lines().len(), 3);
}

#[test]
fn a_filter_set_for_a_time_goes_by_itself() {
    let log = Fixture::new("warn");
    let say = |number: u32| debug!(number, "detail");
    say(1);
    log.logs.filter().set_for("warn,logs_lines=debug", Duration::from_mins(1)).unwrap();
    assert_eq!(log.logs.filter().spec(), "warn,logs_lines=debug");
    say(2);
    log.clock.advance(Duration::from_secs(59));
    say(3);
    log.clock.advance(Duration::from_secs(1));
    for _ in 0..1000 {
        // The line is written after the filter has gone back.
        if log.lines().len() == 3 {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(log.logs.filter().spec(), "warn");
    say(4);
    let seen: Vec<_> =
        log.lines().iter().map(|line| (line["event"].clone(), line["number"].clone())).collect();
    let reverted = ("log_filter_reverted".into(), Json::Null);
    assert_eq!(seen, [("detail".into(), 2.into()), ("detail".into(), 3.into()), reverted]);
}

#[test]
fn a_filter_that_is_not_understood_changes_nothing_and_says_what_to_write() {
    let log = Fixture::new("info");
    for wrong in ["", " , ", "info,a=loud", "[order{id}]=debug", "a=b=c"] {
        let error = log.logs.filter().set(wrong).unwrap_err();
        assert!(error.to_string().contains("write levels per target"), "{error}");
    }
    assert_eq!(log.logs.filter().spec(), "info");
    info!("passes");
    log.line();
}

/// A value of a field, as a caller may give it.
#[derive(Clone, Debug)]
enum Given {
    Text(String),
    Debug(String),
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Bool(bool),
}

impl Given {
    fn value(&self) -> Box<dyn Value + '_> {
        match self {
            Self::Text(text) => Box::new(text.as_str()),
            Self::Debug(text) => Box::new(tracing::field::display(text)),
            Self::Signed(number) => Box::new(*number),
            Self::Unsigned(number) => Box::new(*number),
            Self::Float(number) => Box::new(*number),
            Self::Bool(yes) => Box::new(*yes),
        }
    }

    /// A float is the one that was given to its last bit; between two texts that both are, either will do.
    fn is(&self, read: &Json) -> bool {
        match self {
            Self::Float(number) if number.is_finite() => {
                read.is_f64() && read.as_f64().map(f64::to_bits) == Some(number.to_bits())
            }
            other => *read == other.expected(),
        }
    }

    fn expected(&self) -> Json {
        match self {
            Self::Text(text) | Self::Debug(text) => text.as_str().into(),
            Self::Signed(number) => (*number).into(),
            Self::Unsigned(number) => (*number).into(),
            Self::Float(number) => (*number).into(),
            Self::Bool(yes) => (*yes).into(),
        }
    }
}

fn given() -> impl Strategy<Value = Given> {
    prop_oneof![
        any::<String>().prop_map(Given::Text),
        "[\u{0}-\u{7f}\u{80}-\u{9f}\u{2028}\"\\\\]{0,40}".prop_map(Given::Debug),
        any::<i64>().prop_map(Given::Signed),
        any::<u64>().prop_map(Given::Unsigned),
        proptest::num::f64::ANY.prop_map(Given::Float),
        any::<bool>().prop_map(Given::Bool),
    ]
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "event",
            "event_",
            "timestamp",
            "level",
            "level_",
            "level__",
            "service",
            "logger",
            "trace_id",
            "span_id",
            "order_id",
            "exception",
            "a",
            "b",
            "",
            "_",
            "\"",
            "r#type",
        ])
        .prop_map(str::to_owned),
        "[\u{0}-\u{7f}é]{0,8}".prop_map(|name| if name == "message" { "m".to_owned() } else { name }),
    ]
}

/// A call site as the macros make them, with names that they would make only of string literals.
#[derive(Default)]
struct Made {
    metadata: Mutex<Option<&'static Metadata<'static>>>,
}

impl Callsite for Made {
    fn set_interest(&self, _: Interest) {}

    fn metadata(&self) -> &Metadata<'_> {
        self.metadata.lock().unwrap().unwrap()
    }
}

fn metadata(names: Vec<String>) -> &'static Metadata<'static> {
    let site: &'static Made = Box::leak(Box::default());
    let names: Vec<&'static str> = names.into_iter().map(|name| &*name.leak()).collect();
    let fields = FieldSet::new(names.leak(), callsite::Identifier(site));
    let metadata = Metadata::new("made", "hostile", Level::INFO, None, None, None, fields, Kind::EVENT);
    let metadata: &'static Metadata<'static> = Box::leak(Box::new(metadata));
    *site.metadata.lock().unwrap() = Some(metadata);
    metadata
}

/// Keys and values in the order of the line; `serde_json` alone would hide a key that occurs twice.
struct Ordered(Vec<(String, Json)>);

impl<'de> serde::Deserialize<'de> for Ordered {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> serde::de::Visitor<'de> for Entries {
            type Value = Ordered;
            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an object")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Ordered, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Ordered(entries))
            }
        }
        from.deserialize_map(Entries)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_event_is_one_line_with_unique_keys_and_its_values(
        event in any::<String>(),
        fields in prop::collection::vec((name(), given()), 0..12),
    ) {
        let log = Fixture::new("info");
        let names = std::iter::once("message".to_owned()).chain(fields.iter().map(|(name, _)| name.clone()));
        let metadata = metadata(names.collect());
        let values: Vec<_> = fields.iter().map(|(_, given)| given.value()).collect();
        let message: &dyn Value = &event.as_str();
        let values: Vec<_> = std::iter::once(Some(message)).chain(values.iter().map(|value| Some(&**value))).collect();
        Event::dispatch(metadata, &metadata.fields().value_set_all(&values));

        let text = log.text();
        prop_assert_eq!(text.matches('\n').count(), 1);
        let Ordered(line) = serde_json::from_str(&text).unwrap();
        let keys: HashSet<_> = line.iter().map(|(key, _)| key).collect();
        prop_assert_eq!(keys.len(), line.len(), "{}", text);
        prop_assert_eq!(&line[0], &("event".to_owned(), event.into()));
        for ((key, value), (name, given)) in line[1..].iter().zip(&fields) {
            let name = name.strip_prefix("r#").unwrap_or(name);
            prop_assert!(key.strip_prefix(name).is_some_and(|more| more.bytes().all(|byte| byte == b'_')), "{key:?}");
            prop_assert!(given.is(value), "{text}");
        }
        let tail: Vec<_> = line[1 + fields.len()..].iter().map(|(key, _)| key.as_str()).collect();
        prop_assert_eq!(tail, ["service", "logger", "timestamp", "level"]);
    }
}
