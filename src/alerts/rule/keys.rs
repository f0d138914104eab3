//! The keys of a rule: each from its node to what it means, or an error that says what to write.

use std::time::Duration;

use super::error::RuleError;
use super::matcher::Matcher;
use super::quantity::{duration, number, with, word};
use super::read::{Checked, Metric};
use super::sampling::Sampling;
use super::template::{Template, unknown_label};
use super::yaml::{Map, Node, Place, Value};
use super::{Level, Missing, MissingPolicy, Patience, Reminders};
use crate::alerts::event::{AlertSeverity, Comparison};
use crate::hint;

const LEVEL_KEYS: &[&str] = &["level", "recovers", "for", "keep_firing_for", "title", "message"];
const CHANNELS: &[&str] = &["log", "slack", "telegram", "alertmanager"];
const SEVERITIES: &[&str] = &["info", "warning", "critical"];
pub(super) const DEFAULT_PATIENCE: Duration = Duration::from_mins(1);

/// Refuses what nobody took out of a mapping.
pub(crate) fn no_more_keys(map: &Map, known: &[&str]) -> Checked<()> {
    let Some(entry) = map.entries.first() else { return Ok(()) };
    let otherwise = format!("write {}", hint::one_of(known));
    Err(entry.place.error(format!(
        "unknown key `{}`{}",
        entry.key,
        hint::did_you_mean(&entry.key, known.iter().copied(), &otherwise)
    )))
}

pub(super) fn matchers(node: Node, known: Option<&[&str]>) -> Checked<Vec<Matcher>> {
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

pub(super) fn comparison(node: Node) -> Checked<Comparison> {
    Ok(match word(node, "`when`", &["above", "at least", "below", "at most"])? {
        "above" => Comparison::Above,
        "at least" => Comparison::AtLeast,
        "below" => Comparison::Below,
        _ => Comparison::AtMost,
    })
}

pub(super) fn default_sampling(metric: &Metric, name: &str, place: &Place) -> Checked<Sampling> {
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

pub(super) fn sampling(node: Node, metric: &Metric, name: &str) -> Checked<Sampling> {
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

pub(super) fn level(
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
pub(super) fn wrong_order(
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

pub(super) fn missing(node: Node, default: AlertSeverity) -> Checked<Missing> {
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
    let after = duration(node, "`after`")?;
    if after.is_zero() {
        return Err(node.place.error("with no time to wait all data is missing: write `after: 60s`"));
    }
    Ok(Patience::For(after))
}

fn severity(node: Node) -> Checked<AlertSeverity> {
    let name = word(node, "`severity`", SEVERITIES)?;
    Ok(AlertSeverity::ALL
        .into_iter()
        .find(|severity| severity.as_str() == name)
        .unwrap_or(AlertSeverity::Critical))
}

/// The reminders of a rule; `otherwise` for the severities that it does not name.
pub(super) fn repeat(node: Node, otherwise: Reminders) -> Checked<Reminders> {
    let (mut map, _) = node.map("`repeat`")?;
    let mut repeat = otherwise;
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

pub(super) fn channels(node: Node) -> Checked<[Option<Vec<String>>; 3]> {
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

pub(super) fn template(node: Node, what: &str, labels: Option<&[&str]>) -> Checked<Template> {
    let (text, place) = node.text(what)?;
    if text.trim().is_empty() {
        return Err(place.error(format!("{what} is empty: write a text, or remove it")));
    }
    Template::parse(&text, &place, labels)
}
