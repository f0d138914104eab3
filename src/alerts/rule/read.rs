//! From the tree of a file to checked rules.

use std::sync::Arc;
use std::time::Duration;

use super::error::RuleError;
use super::hint;
use super::matcher::Matcher;
use super::quantity::{duration, number, unit_of, with, word};
use super::sampling::Sampling;
use super::set::File;
use super::template::{Template, unknown_label};
use super::yaml::{Entry, Map, Node, Place, Source, Value, parse};
use super::{KILL_SWITCH, Level, Missing, MissingPolicy, Patience, Rule};
use crate::alerts::event::{AlertSeverity, Comparison};
use crate::metrics::catalog::{self, CATALOG};

const RULE_KEYS: &[&str] = &[
    "enabled",
    "metric",
    "labels",
    "sample",
    "unit",
    "when",
    "info",
    "warning",
    "critical",
    "trust_reports",
    "missing",
    "repeat",
    "channels",
    "title",
    "message",
    "runbook",
];
const LEVEL_KEYS: &[&str] = &["level", "recovers", "for", "keep_firing_for", "title", "message"];
const CHANNELS: &[&str] = &["log", "slack", "telegram", "alertmanager"];
const SEVERITIES: &[&str] = &["info", "warning", "critical"];
const KINDS: &[&str] = &["gauge", "counter", "histogram"];
const DEFAULT_PATIENCE: Duration = Duration::from_mins(1);

type Checked<T> = Result<T, RuleError>;

/// Splits a file into its sections.
pub(super) fn read_file(source: &Arc<Source>, errors: &mut Vec<RuleError>) -> File {
    let mut file = File::default();
    let result = parse(source).and_then(|mut map| {
        if let Some(node) = map.take("metrics") {
            file.metrics = section(node, "`metrics`")?;
        }
        if let Some(node) = map.take("rules") {
            file.rules = section(node, "`rules`")?;
        }
        no_more_keys(&map, &["rules", "metrics"])
    });
    errors.extend(result.err());
    file
}

fn section(node: Node, what: &str) -> Checked<Map> {
    if matches!(node.value, Value::Null) { Ok(Map::default()) } else { Ok(node.map(what)?.0) }
}

pub(crate) fn no_more_keys(map: &Map, known: &[&str]) -> Checked<()> {
    let Some(entry) = map.entries.first() else { return Ok(()) };
    let otherwise = format!("write {}", hint::one_of(known));
    Err(entry.place.error(format!(
        "unknown key `{}`{}",
        entry.key,
        hint::did_you_mean(&entry.key, known.iter().copied(), &otherwise)
    )))
}

/// What a metric is, whoever made it.
struct Metric {
    kind: &'static str,
    unit: String,
    labels: Option<Vec<String>>,
}

/// Reads rules against the catalogue and the metrics that the files declare.
#[derive(Default)]
pub(super) struct Reader {
    declared: Vec<(String, Metric)>,
}

impl Reader {
    /// Takes note of the service's own metrics.
    pub(super) fn declare(&mut self, metrics: Map, errors: &mut Vec<RuleError>) {
        for entry in metrics.entries {
            match declared(entry) {
                Ok(metric) => self.declared.push(metric),
                Err(error) => errors.push(error),
            }
        }
    }

    fn metric(&self, name: &str, place: &Place) -> Checked<Metric> {
        if let Some((_, metric)) = self.declared.iter().find(|(declared, _)| declared == name) {
            return Ok(Metric {
                kind: metric.kind,
                unit: metric.unit.clone(),
                labels: metric.labels.clone(),
            });
        }
        if let Some(row) = catalog::find(name) {
            let kind = match row.kind {
                catalog::Kind::Info => "info",
                catalog::Kind::Counter => "counter",
                catalog::Kind::Gauge => "gauge",
                catalog::Kind::Histogram(_) => "histogram",
            };
            let labels = row.labels.iter().map(|label| label.name.to_owned()).collect();
            return Ok(Metric { kind, unit: unit_of(name).to_owned(), labels: Some(labels) });
        }
        let names =
            CATALOG.iter().map(|row| row.name).chain(self.declared.iter().map(|(name, _)| name.as_str()));
        let otherwise = "if it is the service's own, declare it under `metrics:` as `NAME: {type: gauge}`";
        Err(place.error(format!("unknown metric `{name}`{}", hint::did_you_mean(name, names, otherwise))))
    }

    /// The rule, `None` if it is switched off, or everything that is wrong with it.
    pub(super) fn rule(&self, entry: Entry) -> Result<Option<Rule>, Vec<RuleError>> {
        let name = entry.key;
        let (map, _) = entry.node.map("a rule").map_err(|error| vec![error])?;
        let mut fields = Fields { map, errors: Vec::new() };

        let enabled = fields.read("enabled", |node| {
            let enabled = node.bool("`enabled`")?;
            if !enabled && name == KILL_SWITCH {
                return Err(node
                    .place
                    .error("the kill switch rule cannot be switched off: remove this line"));
            }
            Ok(enabled)
        });
        let metric = fields.required("metric", &name, &entry.place, |node| {
            let (text, place) = node.text("`metric`")?;
            Ok((self.metric(&text, &place)?, text))
        });
        let Some((metric, metric_name)) = metric else { return Err(fields.errors) };
        let known: Option<Vec<&str>> =
            metric.labels.as_ref().map(|all| all.iter().map(String::as_str).collect());
        let known = known.as_deref();

        let matchers = fields.read("labels", |node| matchers(node, known)).unwrap_or_default();
        let sampling = match fields.map.take("sample") {
            Some(node) => fields.note(sampling(node, &metric, &metric_name)),
            None => fields.note(default_sampling(&metric, &metric_name, &entry.place)),
        };
        let comparison = fields.required("when", &name, &entry.place, comparison);
        let unit = fields.read("unit", |node| Ok(node.text("`unit`")?.0)).unwrap_or_else(|| match sampling {
            Some(Sampling::Rate(_)) if metric.unit.is_empty() => String::new(),
            Some(Sampling::Rate(_)) => format!("{}/s", metric.unit),
            _ => metric.unit.clone(),
        });

        let mut places = [const { None }; 3];
        let mut levels = [const { None }; 3];
        for severity in AlertSeverity::ALL {
            if let Some(node) = fields.map.take(severity.as_str()) {
                places[severity as usize] = Some(node.place.clone());
                levels[severity as usize] =
                    fields.all(|errors| level(node, &unit, comparison, known, errors));
            }
        }
        if places.iter().all(Option::is_none) {
            fields.errors.push(entry.place.error(format!(
                "rule `{name}` has no level: write `warning: 5` or `critical: {{level: 8, recovers: 7.5}}`"
            )));
        }
        if let Some(comparison) = comparison {
            fields.errors.extend(wrong_order(&levels, &places, comparison, &unit));
        }

        let mildest = AlertSeverity::ALL.into_iter().find(|severity| levels[*severity as usize].is_some());
        let default_severity = mildest.unwrap_or(AlertSeverity::Warning).max(AlertSeverity::Warning);
        let missing = fields.read("missing", |node| missing(node, default_severity)).unwrap_or(Missing {
            policy: MissingPolicy::Keep,
            after: Patience::For(DEFAULT_PATIENCE),
            only_in_hours: false,
            severity: default_severity,
        });
        let trust_reports =
            fields.read("trust_reports", |node| node.bool("`trust_reports`")).unwrap_or(false);
        let repeat = fields.read("repeat", repeat).unwrap_or(DEFAULT_REPEAT);
        let channels = fields.read("channels", channels).unwrap_or_default();
        let title = fields.read("title", |node| template(node, "`title`", known));
        let message = fields.read("message", |node| template(node, "`message`", known));
        let runbook =
            fields.read("runbook", |node| Ok(template(node, "`runbook`", known)?.source().to_owned()));
        fields.finish()?;

        // Each `None` has left an error behind, and `finish` has returned it.
        let (Some(sampling), Some(comparison)) = (sampling, comparison) else { return Err(Vec::new()) };
        let default = |text: &str| Template::parse(text, &entry.place, None).map_err(|error| vec![error]);
        let rule = Rule {
            title: title.map_or_else(|| default(&name.replace(['{', '}'], "")), Ok)?,
            message: message.map_or_else(|| default("{metric} is {value} ({threshold})"), Ok)?,
            name,
            metric: metric_name,
            matchers,
            sampling,
            unit,
            comparison,
            levels,
            trust_reports,
            missing,
            repeat,
            channels,
            runbook,
        };
        Ok((enabled != Some(false)).then_some(rule))
    }
}

/// The fields of a mapping, and what was wrong with those read so far: one run tells of every mistake.
struct Fields {
    map: Map,
    errors: Vec<RuleError>,
}

impl Fields {
    fn note<T>(&mut self, result: Checked<T>) -> Option<T> {
        result.map_err(|error| self.errors.push(error)).ok()
    }

    fn all<T>(&mut self, read: impl FnOnce(&mut Vec<RuleError>) -> Option<T>) -> Option<T> {
        read(&mut self.errors)
    }

    fn read<T>(&mut self, key: &str, read: impl FnOnce(Node) -> Checked<T>) -> Option<T> {
        let node = self.map.take(key)?;
        self.note(read(node))
    }

    fn required<T>(
        &mut self,
        key: &str,
        rule: &str,
        place: &Place,
        read: impl FnOnce(Node) -> Checked<T>,
    ) -> Option<T> {
        let Some(node) = self.map.take(key) else {
            let what = if key == "when" { "above, at least, below or at most" } else { "NAME" };
            self.errors.push(place.error(format!("rule `{rule}` has no `{key}`: write `{key}: {what}`")));
            return None;
        };
        self.note(read(node))
    }

    fn finish(mut self) -> Result<(), Vec<RuleError>> {
        self.errors.extend(no_more_keys(&self.map, RULE_KEYS).err());
        if self.errors.is_empty() { Ok(()) } else { Err(self.errors) }
    }
}

fn declared(entry: Entry) -> Checked<(String, Metric)> {
    if catalog::find(&entry.key).is_some() {
        return Err(entry
            .place
            .error(format!("`{}` is built in: it needs no declaration, remove it", entry.key)));
    }
    let place = entry.place;
    let (mut map, _) = entry.node.map("a metric")?;
    let kind = map.take("type").ok_or_else(|| {
        place.error(format!("metric `{}` has no `type`: write {}", entry.key, hint::one_of(KINDS)))
    })?;
    let kind = word(kind, "`type`", KINDS)?;
    let unit = map.take("unit").map(|node| node.text("`unit`")).transpose()?;
    let labels = map.take("labels").map(|node| node.texts("a label")).transpose()?;
    no_more_keys(&map, &["type", "unit", "labels"])?;
    let unit = unit.map_or_else(|| unit_of(&entry.key).to_owned(), |(unit, _)| unit);
    let labels = labels.map(|labels| labels.into_iter().map(|(label, _)| label).collect());
    Ok((entry.key, Metric { kind, unit, labels }))
}

fn matchers(node: Node, known: Option<&[&str]>) -> Checked<Vec<Matcher>> {
    node.texts("a label matcher")?
        .into_iter()
        .map(|(text, place)| {
            let matcher = Matcher::parse(&text, &place)?;
            match known {
                Some(known) if !known.contains(&matcher.label.as_str()) => Err(place.error(format!(
                    "unknown label `{}`{}",
                    matcher.label,
                    unknown_label(&matcher.label, known)
                ))),
                _ => Ok(matcher),
            }
        })
        .collect()
}

fn comparison(node: Node) -> Checked<Comparison> {
    Ok(match word(node, "`when`", &["above", "at least", "below", "at most"])? {
        "above" => Comparison::Above,
        "at least" => Comparison::AtLeast,
        "below" => Comparison::Below,
        _ => Comparison::AtMost,
    })
}

fn default_sampling(metric: &Metric, name: &str, place: &Place) -> Checked<Sampling> {
    match metric.kind {
        "gauge" => Ok(Sampling::Value),
        kind => Err(place.error(format!("`{name}` is a {kind}: {}", what_to_sample(kind)))),
    }
}

fn what_to_sample(kind: &str) -> &'static str {
    match kind {
        "counter" => "write `sample: {increase: 5m}` or `sample: {rate: 5m}`",
        "histogram" => "write `sample: {quantile: 0.99, over: 5m}` or `sample: {mean: 5m}`",
        "gauge" => "write `sample: value`",
        _ => "a rule needs a gauge, a counter or a histogram",
    }
}

fn sampling(node: Node, metric: &Metric, name: &str) -> Checked<Sampling> {
    let place = node.place.clone();
    let wrong = || place.error(format!("`{name}` is a {}: {}", metric.kind, what_to_sample(metric.kind)));
    let Value::Map(mut map) = node.value else {
        let is_value = matches!(&node.value, Value::Text(text) if text == "value");
        return if is_value && metric.kind == "gauge" { Ok(Sampling::Value) } else { Err(wrong()) };
    };
    let mut window = |key: &str| {
        let Some(node) = map.take(key) else { return Ok(None) };
        let at = node.place.clone();
        match duration(&node, &format!("`{key}`"))? {
            Duration::ZERO => Err(at.error(format!("`{key}` is a window: write `{key}: 5m`"))),
            window => Ok(Some(window)),
        }
    };
    let (increase, rate, mean, over) =
        (window("increase")?, window("rate")?, window("mean")?, window("over")?);
    let quantile = map.take("quantile");
    no_more_keys(&map, &["increase", "rate", "quantile", "over", "mean"])?;
    match (metric.kind, increase, rate, mean, quantile, over) {
        ("counter", Some(window), None, None, None, None) => Ok(Sampling::Increase(window)),
        ("counter", None, Some(window), None, None, None) => Ok(Sampling::Rate(window)),
        ("histogram", None, None, Some(window), None, None) => Ok(Sampling::Mean(window)),
        ("histogram", None, None, None, Some(node), Some(window)) => {
            let quantile = number(&node, "`quantile`", "")?;
            if !(0.0..=1.0).contains(&quantile) {
                return Err(node
                    .place
                    .error(format!("`quantile` is between 0 and 1, found {quantile}: write `0.99`")));
            }
            Ok(Sampling::Quantile(quantile, window))
        }
        _ => Err(wrong()),
    }
}

fn level(
    node: Node,
    unit: &str,
    comparison: Option<Comparison>,
    labels: Option<&[&str]>,
    errors: &mut Vec<RuleError>,
) -> Option<Level> {
    let result = (|| {
        let place = node.place.clone();
        if !matches!(node.value, Value::Map(_)) {
            let level = number(&node, "a level", unit)?;
            let (hold, keep_firing) = (Duration::ZERO, Duration::ZERO);
            return Ok(Level { level, recovers: None, hold, keep_firing, title: None, message: None });
        }
        let (mut map, _) = node.map("a level")?;
        let level =
            map.take("level").ok_or_else(|| place.error("a level has no `level`: write `level: 5`"))?;
        let level = number(&level, "`level`", unit)?;
        let recovers = map
            .take("recovers")
            .map(|node| {
                let recovers = number(&node, "`recovers`", unit)?;
                match comparison {
                    Some(comparison) if comparison.holds(recovers, level) => {
                        let side = if comparison.is_upward() { "below" } else { "above" };
                        Err(node.place.error(format!(
                            "recovery value on the wrong side: at {} the level {comparison} {} still holds, write a value {side} it",
                            with(recovers, unit),
                            with(level, unit)
                        )))
                    }
                    _ => Ok(recovers),
                }
            })
            .transpose()?;
        let mut time =
            |key: &str| map.take(key).map_or(Ok(Duration::ZERO), |node| duration(&node, &format!("`{key}`")));
        let (hold, keep_firing) = (time("for")?, time("keep_firing_for")?);
        let mut text =
            |key: &str| map.take(key).map(|node| template(node, &format!("`{key}`"), labels)).transpose();
        let (title, message) = (text("title")?, text("message")?);
        no_more_keys(&map, LEVEL_KEYS)?;
        Ok(Level { level, recovers, hold, keep_firing, title, message })
    })();
    result.map_err(|error| errors.push(error)).ok()
}

/// A milder level must be reached first.
fn wrong_order(
    levels: &[Option<Level>; 3],
    places: &[Option<Place>; 3],
    comparison: Comparison,
    unit: &str,
) -> Option<RuleError> {
    let present: Vec<_> = AlertSeverity::ALL
        .into_iter()
        .filter_map(|severity| Some((severity, levels[severity as usize].as_ref()?.level)))
        .collect();
    present.windows(2).find_map(|pair| {
        let [(mild, mild_level), (severe, severe_level)] = [pair[0], pair[1]];
        let fine = if comparison.is_upward() { mild_level < severe_level } else { mild_level > severe_level };
        let place = places[mild as usize].as_ref().filter(|_| !fine)?;
        let side = if comparison.is_upward() { "below" } else { "above" };
        Some(place.error(format!(
            "{mild} at {} is on the wrong side of {severe} at {}: write a {mild} level {side} it",
            with(mild_level, unit),
            with(severe_level, unit)
        )))
    })
}

fn missing(node: Node, default: AlertSeverity) -> Checked<Missing> {
    const POLICIES: &[&str] = &["keep", "alert", "resolve"];
    let policy = |node| {
        Ok(match word(node, "`missing`", POLICIES)? {
            "keep" => MissingPolicy::Keep,
            "alert" => MissingPolicy::Alert,
            _ => MissingPolicy::Resolve,
        })
    };
    let mut missing = Missing {
        policy: MissingPolicy::Keep,
        after: Patience::For(DEFAULT_PATIENCE),
        only_in_hours: false,
        severity: default,
    };
    let place = node.place.clone();
    let Value::Map(mut map) = node.value else {
        return Ok(Missing { policy: policy(node)?, ..missing });
    };
    let Some(then) = map.take("then") else {
        return Err(place.error(format!("`missing` has no `then`: write {}", hint::one_of(POLICIES))));
    };
    missing.policy = policy(then)?;
    if let Some(node) = map.take("after") {
        missing.after = patience(&node)?;
    }
    if let Some(node) = map.take("only_in_hours") {
        missing.only_in_hours = node.bool("`only_in_hours`")?;
    }
    if let Some(node) = map.take("severity") {
        missing.severity = severity(node)?;
    }
    no_more_keys(&map, &["then", "after", "only_in_hours", "severity"])?;
    Ok(missing)
}

fn patience(node: &Node) -> Checked<Patience> {
    if let Value::Text(text) = &node.value
        && let Some(count) = text.strip_suffix("intervals").or_else(|| text.strip_suffix("interval"))
        && let Ok(count @ 1..) = count.trim().parse()
    {
        return Ok(Patience::Intervals(count));
    }
    duration(node, "`after`").map(Patience::For)
}

fn severity(node: Node) -> Checked<AlertSeverity> {
    let name = word(node, "`severity`", SEVERITIES)?;
    Ok(AlertSeverity::ALL
        .into_iter()
        .find(|severity| severity.as_str() == name)
        .unwrap_or(AlertSeverity::Critical))
}

/// Reminders: critical 30 min, warning 4 h, info never.
const DEFAULT_REPEAT: [Option<Duration>; 3] =
    [None, Some(Duration::from_hours(4)), Some(Duration::from_mins(30))];

fn repeat(node: Node) -> Checked<[Option<Duration>; 3]> {
    let (mut map, _) = node.map("`repeat`")?;
    let mut repeat = DEFAULT_REPEAT;
    for (slot, severity) in repeat.iter_mut().zip(SEVERITIES) {
        if let Some(node) = map.take(severity) {
            let place = node.place.clone();
            let is_never = matches!(&node.value, Value::Text(text) if text == "never");
            *slot = if is_never { None } else { Some(duration(&node, &format!("`{severity}`"))?) };
            if *slot == Some(Duration::ZERO) {
                return Err(place.error("a reminder without an interval never stops: write `never` or `30m`"));
            }
        }
    }
    no_more_keys(&map, SEVERITIES)?;
    Ok(repeat)
}

fn channels(node: Node) -> Checked<[Option<Vec<String>>; 3]> {
    let list = |node: Node| -> Checked<Vec<String>> {
        let names = if let Value::List(nodes) = node.value { nodes } else { vec![node] };
        names.into_iter().map(|node| Ok(word(node, "a channel", CHANNELS)?.to_owned())).collect()
    };
    if !matches!(node.value, Value::Map(_)) {
        let all = list(node)?;
        return Ok([Some(all.clone()), Some(all.clone()), Some(all)]);
    }
    let (mut map, _) = node.map("`channels`")?;
    let mut channels = [None, None, None];
    for (slot, severity) in channels.iter_mut().zip(SEVERITIES) {
        *slot = map.take(severity).map(list).transpose()?;
    }
    no_more_keys(&map, SEVERITIES)?;
    Ok(channels)
}

fn template(node: Node, what: &str, labels: Option<&[&str]>) -> Checked<Template> {
    let (text, place) = node.text(what)?;
    if text.trim().is_empty() {
        return Err(place.error(format!("{what} is empty: write a text, or remove it")));
    }
    Template::parse(&text, &place, labels)
}
