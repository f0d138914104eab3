//! Scalars and blocks of YAML.

use std::fmt::Write as _;
use std::time::Duration;

/// A text in double quotes.
pub(super) fn quoted(text: &str) -> String {
    // Every JSON string is one of YAML, too.
    serde_json::Value::from(text).to_string()
}

/// `15s`, `500ms`; Prometheus knows no fractions.
pub(super) fn duration(duration: Duration) -> String {
    if duration.subsec_nanos() == 0 {
        format!("{}s", duration.as_secs())
    } else {
        format!("{}ms", duration.as_millis())
    }
}

/// `key: value`, or the value as a block where it has several lines.
pub(super) fn block(out: &mut String, indent: usize, key: &str, value: &str) {
    let pad = " ".repeat(indent);
    if value.contains('\n') {
        let _ = writeln!(out, "{pad}{key}: |-");
        for line in value.lines() {
            let _ = writeln!(out, "{pad}  {line}");
        }
    } else {
        let _ = writeln!(out, "{pad}{key}: {value}");
    }
}
