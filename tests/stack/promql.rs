//! Judges a query of a dashboard or a rule: it parses, and every metric, label and label value in it is in the catalogue.

use std::collections::{BTreeMap, BTreeSet};

use promql_parser::label::{MatchOp, Matcher};
use promql_parser::parser::{BinaryExpr, Call, Expr, LabelModifier, VectorSelector, parse};
use promql_parser::util::{ExprVisitor, walk_expr};
use trading_telemetry::metrics::catalog::{self, Instrument, Kind, Values};

/// Metrics of Prometheus itself and of the exporters, with the labels that they have besides job and instance.
const OTHERS: &[(&str, &[&str])] = &[
    ("up", &["service"]),
    ("ALERTS", &["alertname", "alertstate", "severity", "origin", "evaluator", "reason"]),
    ("redis_up", &["service"]),
    ("redis_memory_used_bytes", &["service"]),
    ("pg_up", &["service"]),
];

/// What a range may be: a fixed one either misses samples or is slow, depending on how far a person zooms.
const RANGES: [&str; 2] = ["$__rate_interval", "$__range"];

#[derive(Default)]
pub(crate) struct Found {
    /// The catalogue's families that the query reads.
    pub(crate) families: BTreeSet<String>,
    pub(crate) problems: Vec<String>,
    pub(crate) labels: BTreeSet<String>,
    groupings: BTreeSet<String>,
    /// A panel shows the jobs and instances that a person chose.
    is_panel: bool,
    recorded: Recorded,
}

/// The names of recording rules, with the labels of what they record.
pub(crate) type Recorded = BTreeMap<String, BTreeSet<String>>;

/// What the query of a panel reads and what is wrong with it, with the labels of its legend.
pub(crate) fn check(query: &str, legend: &str) -> Found {
    let mut found = Found { is_panel: true, ..Found::default() };
    for (function, range) in ranges(query) {
        if !RANGES.contains(&range) {
            found.problems.push(format!("{function} over {range}, not over one of {RANGES:?}"));
        }
    }
    let in_legend = legend.split("{{").skip(1).filter_map(|part| part.split("}}").next());
    found.read(&query.replace(RANGES[0], "1m").replace(RANGES[1], "1h"), in_legend)
}

/// What the expression of a rule reads and what is wrong with it, with the labels that its texts name.
pub(crate) fn check_rule(expression: &str, texts: &str, recorded: &Recorded) -> Found {
    let found = Found { recorded: recorded.clone(), ..Found::default() };
    let named = texts.split("$labels.").skip(1).filter_map(|part| part.split(' ').next());
    found.read(expression, named)
}

/// The range of each `rate` and `increase`, as it is written.
fn ranges(query: &str) -> Vec<(&str, &str)> {
    let calls = ["rate(", "increase("].into_iter().flat_map(|call| query.match_indices(call));
    calls.filter_map(|(at, call)| query[at..].split(['[', ']']).nth(1).map(|range| (call, range))).collect()
}

impl ExprVisitor for Found {
    type Error = std::convert::Infallible;

    fn pre_visit(&mut self, expression: &Expr) -> Result<bool, Self::Error> {
        match expression {
            Expr::VectorSelector(selector) => {
                let counts = self.selector(selector);
                self.problems.extend(counts.then(|| format!("{} without rate or increase", name(selector))));
            }
            Expr::Call(Call { func, args }) => {
                for argument in &args.args {
                    if let Expr::MatrixSelector(matrix) = argument.as_ref() {
                        let counts = self.selector(&matrix.vs);
                        if counts != matches!(func.name, "rate" | "increase") {
                            self.problems.push(format!("{} of {}", func.name, name(&matrix.vs)));
                        }
                    }
                }
            }
            Expr::Binary(BinaryExpr { modifier: Some(modifier), .. }) => {
                if let Some(LabelModifier::Include(labels) | LabelModifier::Exclude(labels)) =
                    &modifier.matching
                {
                    self.groupings.extend(labels.labels.iter().cloned());
                }
            }
            Expr::Aggregate(aggregate) => {
                if let Some(LabelModifier::Include(labels) | LabelModifier::Exclude(labels)) =
                    &aggregate.modifier
                {
                    self.groupings.extend(labels.labels.iter().cloned());
                }
            }
            _ => {}
        }
        Ok(true)
    }
}

impl Found {
    fn read<'a>(mut self, query: &str, named: impl Iterator<Item = &'a str>) -> Self {
        match parse(query) {
            Ok(expression) => {
                let _ = walk_expr(&mut self, &expression);
            }
            Err(problem) => self.problems.push(format!("does not parse: {problem}")),
        }
        self.groupings.extend(named.map(str::to_owned));
        let missing = self.groupings.difference(&self.labels);
        self.problems.extend(missing.map(|label| format!("there is no label {label} in it")));
        self
    }

    /// Checks a selector, and says whether its samples only ever grow.
    fn selector(&mut self, selector: &VectorSelector) -> bool {
        let name = name(selector);
        self.labels.extend(["job", "instance"].map(str::to_owned));
        if let Some((_, labels)) = OTHERS.iter().find(|(other, _)| *other == name) {
            self.labels.extend(labels.iter().map(|label| (*label).to_owned()));
            for matcher in
                selector.matchers.matchers.iter().filter(|matcher| !self.labels.contains(&matcher.name))
            {
                self.problems.push(format!("{name} has no label {}", matcher.name));
            }
            return false;
        }
        if let Some(labels) = self.recorded.get(name) {
            self.labels.extend(labels.iter().cloned());
            return false;
        }
        let Some((row, suffix)) = family(name) else {
            self.problems.push(format!("{name} is not in the catalogue"));
            return false;
        };
        self.families.insert(row.name.to_owned());
        self.labels.extend(row.labels.iter().map(|label| label.name.to_owned()));
        if suffix == "_bucket" {
            self.labels.insert("le".to_owned());
        }
        for chosen in ["job", "instance"].into_iter().filter(|_| self.is_panel) {
            if !selector
                .matchers
                .matchers
                .iter()
                .any(|one| one.name == chosen && one.value == format!("${chosen}"))
            {
                self.problems.push(format!("{name} is not chosen by {chosen}"));
            }
        }
        for matcher in &selector.matchers.matchers {
            if let Some(problem) = matcher_problem(row, suffix, matcher) {
                self.problems.push(format!("{name} {problem}"));
            }
        }
        row.kind == Kind::Counter || !suffix.is_empty()
    }
}

fn name(selector: &VectorSelector) -> &str {
    selector.name.as_deref().unwrap_or_default()
}

/// The row of a sample's name, and what follows the family's name in it.
fn family(sample: &str) -> Option<(&'static Instrument, &'static str)> {
    if let Some(row) = catalog::find(sample) {
        return (!matches!(row.kind, Kind::Histogram(_))).then_some((row, ""));
    }
    ["_bucket", "_count", "_sum"].into_iter().find_map(|suffix| {
        let row = catalog::find(sample.strip_suffix(suffix)?)?;
        (matches!(row.kind, Kind::Histogram(_)) && (suffix != "_sum" || row.has_sum()))
            .then_some((row, suffix))
    })
}

fn matcher_problem(row: &Instrument, suffix: &str, matcher: &Matcher) -> Option<String> {
    let Matcher { name, value, op } = matcher;
    if matches!(name.as_str(), "job" | "instance") {
        return None;
    }
    if name == "le" && suffix == "_bucket" {
        let Kind::Histogram(bounds) = row.kind else { return None };
        return (!bounds.iter().any(|bound| format!("{bound:?}") == *value))
            .then(|| format!("has no bound {value}"));
    }
    let Some(label) = row.labels.iter().find(|label| label.name == name) else {
        return Some(format!("has no label {name}"));
    };
    match (label.values, op) {
        (Values::Closed(values), MatchOp::Equal | MatchOp::NotEqual) if !values.contains(&value.as_str()) => {
            Some(format!("has a {name} that is never {value}"))
        }
        _ => None,
    }
}
