//! Variables with names of their own: OpenTelemetry's, `RUST_LOG`, and the secrets.
//!
//! OpenTelemetry's are read as its specification says
//! (<https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>): an empty one is unset, and
//! what cannot be parsed is a warning and ignored.

use std::collections::BTreeMap;
use std::path::Path;

use super::Settings;
use super::logging_filter;
use super::node::{Node, Pair, Place, Raw};
use super::reader::{Findings, Manner, Reader};
use How::{Exporter, Milliseconds, Pairs, Propagators, Text, Word};

/// How the text of a variable becomes the text of a setting.
#[derive(Clone, Copy)]
enum How {
    Text,
    /// An enumeration: case does not matter.
    Word,
    Milliseconds,
    /// `name=value,…`, percent-encoded.
    Pairs,
    /// `otlp`, `none`, or the name of an exporter that is not here.
    Exporter,
    /// Names of propagators, some of which are not here.
    Propagators,
}

const OPENTELEMETRY: &[(&str, &str, How)] = &[
    ("OTEL_SDK_DISABLED", "system.telemetry_disabled", Word),
    ("OTEL_RESOURCE_ATTRIBUTES", "otlp.resource_attributes", Pairs),
    ("OTEL_PROPAGATORS", "otlp.propagators", Propagators),
    ("OTEL_TRACES_SAMPLER", "otlp.sampling.sampler", Word),
    ("OTEL_TRACES_EXPORTER", "otlp.traces.export", Exporter),
    ("OTEL_LOGS_EXPORTER", "otlp.logs.export", Exporter),
    ("OTEL_METRICS_EXPORTER", "otlp.metrics.export", Exporter),
    ("OTEL_METRIC_EXPORT_INTERVAL", "otlp.metric_interval_seconds", Milliseconds),
    ("OTEL_METRIC_EXPORT_TIMEOUT", "otlp.metric_timeout_seconds", Milliseconds),
    ("OTEL_BSP_SCHEDULE_DELAY", "otlp.trace_batch.delay_seconds", Milliseconds),
    ("OTEL_BSP_EXPORT_TIMEOUT", "otlp.trace_batch.timeout_seconds", Milliseconds),
    ("OTEL_BSP_MAX_QUEUE_SIZE", "otlp.trace_batch.queue_items", Text),
    ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "otlp.trace_batch.batch_items", Text),
    ("OTEL_BLRP_SCHEDULE_DELAY", "otlp.log_batch.delay_seconds", Milliseconds),
    ("OTEL_BLRP_EXPORT_TIMEOUT", "otlp.log_batch.timeout_seconds", Milliseconds),
    ("OTEL_BLRP_MAX_QUEUE_SIZE", "otlp.log_batch.queue_items", Text),
    ("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", "otlp.log_batch.batch_items", Text),
];

/// What follows `OTEL_EXPORTER_OTLP_`, or with the name of a signal between `OTEL_EXPORTER_OTLP_TRACES_`.
const EXPORTER: &[(&str, &str, How)] = &[
    ("ENDPOINT", "endpoint", Text),
    ("HEADERS", "headers", Pairs),
    ("TIMEOUT", "timeout_seconds", Milliseconds),
    ("PROTOCOL", "protocol", Word),
    ("COMPRESSION", "compression", Word),
    ("CERTIFICATE", "certificate", Text),
    ("CLIENT_KEY", "client_key", Text),
    ("CLIENT_CERTIFICATE", "client_certificate", Text),
];

const TEMPORALITY: &str = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE";

/// Each has a `_FILE` twin, as its setting has a `_file` twin.
const SECRETS: &[(&str, &str)] = &[
    ("SLACK_WEBHOOK_URL", "alerts.slack.webhook_url"),
    ("TELEGRAM_BOT_TOKEN", "alerts.telegram.bot_token"),
    ("TELEGRAM_CHAT_ID", "alerts.telegram.chat_id"),
];

/// Whether a variable of this name, with a value that is not text, must stop the start.
pub(super) fn is_secret(name: &str) -> bool {
    SECRETS
        .iter()
        .any(|(secret, _)| name.strip_prefix(secret).is_some_and(|rest| matches!(rest, "" | "_FILE")))
}

/// Lays the variables over `settings`.
pub(super) fn apply(
    variables: &BTreeMap<String, String>,
    settings: &mut Settings,
    folder: &Path,
    findings: &mut Findings,
) {
    let mut layer = Layer { variables, settings, folder, findings };
    layer.secrets();
    layer.log_filter();
    for (name, key, how) in OPENTELEMETRY {
        layer.opentelemetry(name, key, *how);
    }
    for (suffix, key, how) in EXPORTER {
        layer.opentelemetry(&format!("OTEL_EXPORTER_OTLP_{suffix}"), &format!("otlp.{key}"), *how);
        for signal in ["traces", "logs", "metrics"] {
            let name = format!("OTEL_EXPORTER_OTLP_{}_{suffix}", signal.to_uppercase());
            layer.opentelemetry(&name, &format!("otlp.{signal}.{key}"), *how);
        }
    }
    layer.sampler_argument();
    layer.temporality();
}

struct Layer<'a> {
    variables: &'a BTreeMap<String, String>,
    settings: &'a mut Settings,
    folder: &'a Path,
    findings: &'a mut Findings,
}

impl Layer<'_> {
    /// The variable's value; an empty one is unset.
    fn value(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    fn lay(&mut self, root: &Node, manner: Manner) {
        Reader::apply(self.settings, root, &[], self.folder, manner, self.findings);
    }

    fn warn(&mut self, name: &str, message: &str) {
        self.findings.warnings.push(format!("{name}: {message}"));
    }

    fn secrets(&mut self) {
        for (name, key) in SECRETS {
            let file = (format!("{name}_FILE"), format!("{key}_file"));
            let mut root = root(name);
            for (name, key) in [(*name, *key), (file.0.as_str(), file.1.as_str())] {
                if let Some(value) = self.value(name) {
                    put(&mut root, key, Node::bare(value, Place::Variable(name.to_owned())));
                }
            }
            self.lay(&root, Manner::Strict);
        }
    }

    fn log_filter(&mut self) {
        let name = "RUST_LOG";
        let Some(filter) = self.value(name).map(str::to_owned) else { return };
        match logging_filter(&filter) {
            Ok(_) => self.text(name, "logging.filter", &filter, Manner::Strict),
            Err(error) => self.warn(name, &format!("{error}; the variable is ignored")),
        }
    }

    fn text(&mut self, name: &str, key: &str, text: &str, manner: Manner) {
        self.node(name, key, Node::bare(text, Place::Variable(name.to_owned())), manner);
    }

    fn node(&mut self, name: &str, key: &str, node: Node, manner: Manner) {
        let mut root = root(name);
        put(&mut root, key, node);
        self.lay(&root, manner);
    }

    fn opentelemetry(&mut self, name: &str, key: &str, how: How) {
        let Some(value) = self.value(name).map(str::to_owned) else { return };
        match how {
            Text => self.text(name, key, &value, Manner::Lenient),
            Word => self.text(name, key, &value.to_lowercase(), Manner::Lenient),
            Milliseconds => match seconds(&value) {
                Some(seconds) => self.text(name, key, &seconds, Manner::Lenient),
                None => self.warn(name, "expected a number of milliseconds; the variable is ignored"),
            },
            Pairs => match pairs(name, &value) {
                Some(node) => self.node(name, key, node, Manner::Lenient),
                None => self.warn(
                    name,
                    "expected `name=value` between commas, percent-encoded; the variable is ignored",
                ),
            },
            Exporter => {
                let words: Vec<String> = value.split(',').map(|word| word.trim().to_lowercase()).collect();
                for word in &words {
                    // Prometheus is always there.
                    if !matches!(word.as_str(), "otlp" | "none" | "prometheus" | "") {
                        self.warn(name, &format!("there is no exporter `{word}` here; it is ignored"));
                    }
                }
                if words.iter().any(|word| word == "otlp") {
                    self.text(name, key, "true", Manner::Lenient);
                } else if words.iter().any(|word| word == "none" || word == "prometheus") {
                    self.text(name, key, "false", Manner::Lenient);
                }
            }
            Propagators => {
                let (known, unknown): (Vec<String>, Vec<String>) = value
                    .split(',')
                    .map(|word| word.trim().to_lowercase())
                    .filter(|word| !word.is_empty())
                    .partition(|word| matches!(word.as_str(), "tracecontext" | "baggage" | "none"));
                for word in unknown {
                    self.warn(name, &format!("there is no propagator `{word}` here; it is ignored"));
                }
                if !known.is_empty() {
                    self.text(name, key, &known.join(","), Manner::Lenient);
                }
            }
        }
    }

    /// The argument counts only beside the sampler that it belongs to.
    fn sampler_argument(&mut self) {
        let (name, sampler) = ("OTEL_TRACES_SAMPLER_ARG", "OTEL_TRACES_SAMPLER");
        let Some(value) = self.value(name).map(str::to_owned) else { return };
        match self.value(sampler).map(str::to_lowercase) {
            Some(sampler) if sampler.ends_with("traceidratio") => {
                self.text(name, "otlp.sampling.ratio", &value, Manner::Lenient);
            }
            Some(_) => self.warn(name, "the sampler takes no argument; the variable is ignored"),
            None => self.warn(name, &format!("{sampler} is not set; the variable is ignored")),
        }
    }

    /// Delta can be parsed, but not honoured: the scrape and the alerts read the same instruments.
    fn temporality(&mut self) {
        let Some(value) = self.value(TEMPORALITY).map(str::to_lowercase) else { return };
        let manner =
            if matches!(value.as_str(), "delta" | "lowmemory") { Manner::Strict } else { Manner::Lenient };
        self.text(TEMPORALITY, "otlp.metric_temporality", &value, manner);
    }
}

fn root(name: &str) -> Node {
    Node { raw: Raw::Map(Vec::new()), place: Place::Variable(name.to_owned()) }
}

fn put(root: &mut Node, key: &str, node: Node) {
    let path: Vec<&str> = key.split('.').collect();
    // Two keys that differ only in their last level cannot be in each other's way.
    let _ = root.insert(&path, node);
}

fn seconds(milliseconds: &str) -> Option<String> {
    let whole = milliseconds.parse::<u64>().ok()?;
    Some(format!("{}.{:03}", whole / 1000, whole % 1000))
}

/// `name=value,name=value`, percent-encoded; one error spoils the whole, as the specification says.
fn pairs(variable: &str, text: &str) -> Option<Node> {
    let place = Place::Variable(variable.to_owned());
    let mut read = Vec::new();
    for item in super::leaf::split_list(text) {
        let (name, value) = item.split_once('=')?;
        let key = decoded(name.trim()).filter(|name| !name.is_empty())?;
        let node = Node::bare(decoded(value.trim())?, place.clone());
        read.push(Pair { key, key_place: place.clone(), node });
    }
    Some(Node { raw: Raw::Map(read), place })
}

/// The text behind a percent-encoding.
pub(super) fn decoded(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let mut digit = || char::from(bytes.next()?).to_digit(16);
            let (high, low) = (digit()?, digit()?);
            out.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok()
}

/// The service's name in OpenTelemetry's variables: its own first, then the resource's attribute.
pub(super) fn service_name(variables: &BTreeMap<String, String>) -> Option<String> {
    let own = variables.get("OTEL_SERVICE_NAME").map(|name| name.trim().to_owned());
    own.filter(|name| !name.is_empty()).or_else(|| {
        let attributes = pairs("", variables.get("OTEL_RESOURCE_ATTRIBUTES")?)?;
        attributes.get("service.name").and_then(Node::text).filter(|name| !name.is_empty()).map(str::to_owned)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_percent_encoded_text_comes_back(text in any::<String>()) {
            let encoded: Vec<String> = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
            prop_assert_eq!(decoded(&encoded.concat()), Some(text));
        }

        #[test]
        fn no_text_panics_the_decoder(text in "[%0-9a-fA-Fö=,]{0,30}") {
            let _ = (decoded(&text), pairs("X", &text), seconds(&text));
        }
    }
}
