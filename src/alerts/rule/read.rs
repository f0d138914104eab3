//! From the tree of a file to checked rules.

use std::sync::Arc;

use super::error::RuleError;
use super::keys::{
    DEFAULT_PATIENCE, channels, comparison, default_sampling, level, matchers, missing, no_more_keys, repeat,
    sampling, template, wrong_order,
};
use super::quantity::{unit_of, word};
use super::sampling::Sampling;
use super::set::File;
use super::template::Template;
use super::yaml::{Entry, Map, Node, Place, Source, Value, parse};
use super::{KILL_SWITCH, Level, Missing, MissingPolicy, Patience, Reminders, Rule};
use crate::alerts::channels::LogChannel;
use crate::alerts::event::AlertSeverity;
use crate::exposition;
use crate::hint;
use crate::metrics::catalog::{self, CATALOG, Instrument};

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
    "resolved",
    "runbook",
];
const SWITCH: &Instrument = catalog::named("trading_kill_switch_active");
const KINDS: &[&str] = &["gauge", "counter", "histogram"];

pub(super) type Checked<T> = Result<T, RuleError>;

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

/// What a metric is, whoever made it.
pub(super) struct Metric {
    pub(super) kind: &'static str,
    pub(super) unit: String,
    pub(super) labels: Option<Vec<String>>,
}

/// Reads rules against the catalogue and the metrics that the files declare.
pub(super) struct Reader {
    declared: Vec<(String, Metric)>,
    reminders: Reminders,
}

impl Reader {
    /// A reader of rules that repeat as `reminders` say, where they say nothing themselves.
    pub(super) fn new(reminders: Reminders) -> Self {
        Self { declared: Vec::new(), reminders }
    }

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
        if name.is_empty() || name.contains(char::is_control) {
            return Err(vec![entry.place.error("the name of a rule is one line of text: write `NAME:`")]);
        }
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
        let repeat = fields.read("repeat", |node| repeat(node, self.reminders)).unwrap_or(self.reminders);
        let channels = fields.read("channels", |node| channels_of(&name, node)).unwrap_or_default();
        let title = fields.read("title", |node| template(node, "`title`", known));
        let message = fields.read("message", |node| template(node, "`message`", known));
        let resolved = fields.read("resolved", |node| template(node, "`resolved`", known));
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
            resolved,
            runbook,
        };
        if rule.name == KILL_SWITCH && !opens_at_once(&rule) {
            let wrong =
                "the kill switch is critical as soon as it is on: remove its metric, `when` and levels";
            return Err(vec![entry.place.error(wrong)]);
        }
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

/// The channels of a rule by severity. Those of the kill switch leave somebody who is told.
fn channels_of(rule: &str, node: Node) -> Checked<[Option<Vec<String>>; 3]> {
    let place = node.place.clone();
    let channels = channels(node)?;
    let critical = channels[AlertSeverity::Critical as usize].as_ref();
    let is_for_nobody =
        critical.is_some_and(|channels| channels.iter().all(|channel| channel == LogChannel::NAME));
    if rule == KILL_SWITCH && is_for_nobody {
        let wrong = "the kill switch is told to people: name a channel besides the log, or remove this";
        return Err(place.error(wrong));
    }
    Ok(channels)
}

/// Whether the rule is critical from the moment on at which the kill switch is on, and only while it is.
fn opens_at_once(rule: &Rule) -> bool {
    let holds = |value, level: &Level| rule.comparison.holds(value, level.level);
    let is_right = |level: &Level| holds(1.0, level) && !holds(0.0, level) && level.hold.is_zero();
    rule.metric == SWITCH.name && rule.level(AlertSeverity::Critical).is_some_and(is_right)
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
    let on_scrape = exposition::on_scrape(&entry.key, kind == "counter");
    if entry.key != on_scrape {
        return Err(
            place.error(format!("`{}` is no name of a {kind} on the scrape: write `{on_scrape}`", entry.key))
        );
    }
    let unit = map.take("unit").map(|node| node.text("`unit`")).transpose()?;
    let labels = map.take("labels").map(|node| node.texts("a label")).transpose()?;
    no_more_keys(&map, &["type", "unit", "labels"])?;
    let unit = unit.map_or_else(|| unit_of(&entry.key).to_owned(), |(unit, _)| unit);
    let labels = labels.map(|labels| labels.into_iter().map(|(label, _)| label).collect());
    Ok((entry.key, Metric { kind, unit, labels }))
}
