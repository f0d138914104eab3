//! Silences: they mute messages, never incidents, and end by themselves.
//!
//! ```yaml
//! # config/silences.yaml
//! silences:
//!   - id: redis-upgrade
//!     rule: component                  # or labels, or both
//!     labels: ['component="redis"']
//!     until: 2026-03-15T18:00:00Z
//!     comment: upgrading Redis
//! ```

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::rule::yaml::{Node, Place, Source, Value, parse};
use super::rule::{KILL_SWITCH, Matcher, Rule, RuleError, RuleErrors, all_match, no_more_keys};
use crate::hint;

/// How long one that is over is kept.
const KEPT: SignedDuration = SignedDuration::from_hours(24);

/// What mutes messages until an end.
#[derive(Clone, Debug, PartialEq)]
pub struct Silence {
    /// Its name, to end it by.
    pub id: String,
    /// The rule that it mutes; `None` for any.
    pub rule: Option<String>,
    /// Which of its series; all must match.
    pub matchers: Vec<Matcher>,
    /// When it ends, by the wall clock.
    pub until: Timestamp,
    /// Why.
    pub comment: Option<String>,
}

/// The silences in force.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Silences {
    silences: Vec<Silence>,
}

impl Silence {
    /// Checks what an API call gives: `labels` in the notation `component="redis"`.
    ///
    /// # Errors
    ///
    /// A silence has an id, the kill switch cannot be silenced, a silence needs a rule or labels, and labels have to be
    /// well formed.
    pub fn new(
        id: impl Into<String>,
        rule: Option<&str>,
        labels: &[&str],
        until: Timestamp,
        comment: Option<&str>,
    ) -> Result<Self, RuleError> {
        let place = nowhere();
        let id = id.into();
        check_id(&id, &place)?;
        check_rule(rule, labels.is_empty(), &place)?;
        let matchers = labels.iter().map(|text| Matcher::parse(text, &place)).collect::<Result<_, _>>()?;
        let (rule, comment) = (rule.map(str::to_owned), comment.map(str::to_owned));
        Ok(Self { id, rule, matchers, until, comment })
    }

    /// Checks that the rule that it names is one of `rules`: with a name that no rule has it would mute nothing, and
    /// nobody would know.
    ///
    /// # Errors
    ///
    /// When no rule has the name.
    pub(crate) fn check_rule(&self, rules: &[String]) -> Result<(), RuleError> {
        let Some(name) = self.rule.as_ref().filter(|name| !rules.contains(name)) else { return Ok(()) };
        let names = rules.iter().map(String::as_str);
        let otherwise = format!("the rules are {}", rules.join(", "));
        let hint = hint::did_you_mean(name, names, &otherwise);
        Err(nowhere().error(format!("silence `{}` mutes nothing, there is no rule `{name}`{hint}", self.id)))
    }

    /// Whether it mutes the messages of a series at a time.
    pub fn mutes(&self, rule: &Rule, labels: &[(String, String)], wall: Timestamp) -> bool {
        rule.can_be_silenced()
            && wall < self.until
            && self.rule.as_ref().is_none_or(|name| *name == rule.name)
            && all_match(&self.matchers, labels)
    }
}

impl Silences {
    /// Reads a file: its name, for errors, and its text.
    ///
    /// # Errors
    ///
    /// Every mistake in it; nothing of a file with a mistake is in force.
    pub fn parse(name: &str, text: &str) -> Result<Self, RuleErrors> {
        let source = Arc::new(Source { name: name.to_owned(), text: text.to_owned() });
        let mut map = parse(&source).map_err(|error| RuleErrors(vec![error]))?;
        let list = map.take("silences");
        let mut errors: Vec<_> = no_more_keys(&map, &["silences"]).err().into_iter().collect();
        let mut silences: Vec<Silence> = Vec::new();
        let nodes = match list.map(|node| (node.place, node.value)) {
            None | Some((_, Value::Null)) => Vec::new(),
            Some((_, Value::List(nodes))) => nodes,
            Some((place, _)) => {
                errors.push(place.error("`silences` is a list: write each silence after a `- `"));
                Vec::new()
            }
        };
        for node in nodes {
            let place = node.place.clone();
            match read(node) {
                Ok(silence) if silences.iter().any(|other| other.id == silence.id) => {
                    errors.push(
                        place.error(format!("silence `{}` stands twice: remove one of them", silence.id)),
                    );
                }
                Ok(silence) => silences.push(silence),
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() { Ok(Self { silences }) } else { Err(RuleErrors(errors)) }
    }

    /// Adds a silence, in place of one of the same id.
    pub fn add(&mut self, silence: Silence) {
        self.end(&silence.id);
        self.silences.push(silence);
    }

    /// Ends a silence; false if there is none of that id.
    pub fn end(&mut self, id: &str) -> bool {
        let before = self.silences.len();
        self.silences.retain(|silence| silence.id != id);
        self.silences.len() < before
    }

    /// Forgets those that are long over, and returns them. One that has just ended is kept: the wall clock may have jumped,
    /// and come back.
    pub fn expire(&mut self, wall: Timestamp) -> Vec<Silence> {
        let is_over = |silence: &mut Silence| wall.duration_since(silence.until) > KEPT;
        self.silences.extract_if(.., is_over).collect()
    }

    /// Those that are in force at a time.
    pub fn in_force(&self, wall: Timestamp) -> impl Iterator<Item = &Silence> {
        self.silences.iter().filter(move |silence| wall < silence.until)
    }

    /// The silences.
    pub fn iter(&self) -> impl Iterator<Item = &Silence> {
        self.silences.iter()
    }

    /// Whether one of them mutes the messages of a series at a time.
    pub fn mute(&self, rule: &Rule, labels: &[(String, String)], wall: Timestamp) -> bool {
        self.silences.iter().any(|silence| silence.mutes(rule, labels, wall))
    }
}

fn read(node: Node) -> Result<Silence, RuleError> {
    let (mut map, place) = node.map("a silence")?;
    let mut text = |key: &str| map.take(key).map(|node| node.text(&format!("`{key}`"))).transpose();
    let missing =
        |key: &str, what: &str| place.error(format!("a silence has no `{key}`: write `{key}: {what}`"));
    let id = text("id")?;
    let rule = text("rule")?;
    let comment = text("comment")?.map(|(comment, _)| comment);
    let until = text("until")?;
    let labels =
        map.take("labels").map(|node| node.texts("a label matcher")).transpose()?.unwrap_or_default();
    // A key that is misspelt is a better answer than that it is missing.
    no_more_keys(&map, &["id", "rule", "labels", "until", "comment"])?;
    let (id, id_place) = id.ok_or_else(|| missing("id", "NAME"))?;
    check_id(&id, &id_place)?;
    let (until, until_place) = until.ok_or_else(|| missing("until", "2026-03-15T18:00:00Z"))?;

    let at = rule.as_ref().map_or(&place, |(_, place)| place);
    check_rule(rule.as_ref().map(|(rule, _)| rule.as_str()), labels.is_empty(), at)?;
    let until = until.parse().map_err(|_| {
        until_place
            .error(format!("`until` is not a time, found `{until}`: write it like `2026-03-15T18:00:00Z`"))
    })?;
    let matchers =
        labels.iter().map(|(text, place)| Matcher::parse(text, place)).collect::<Result<_, _>>()?;
    Ok(Silence { id, rule: rule.map(|(rule, _)| rule), matchers, until, comment })
}

/// The place of what stands in no file.
fn nowhere() -> Place {
    let source = Arc::new(Source { name: "silence".to_owned(), text: String::new() });
    Place { source, line: 0, column: 0, width: 1 }
}

fn check_id(id: &str, place: &Place) -> Result<(), RuleError> {
    if id.trim().is_empty() {
        return Err(place.error("the `id` of a silence is empty, and nothing could end it: write a name"));
    }
    Ok(())
}

fn check_rule(rule: Option<&str>, has_no_labels: bool, place: &Place) -> Result<(), RuleError> {
    if rule == Some(KILL_SWITCH) {
        return Err(place.error("the kill switch cannot be silenced: remove this silence"));
    }
    if rule.is_none() && has_no_labels {
        return Err(
            place.error("a silence mutes something: write `rule: NAME` or `labels: ['component=\"redis\"']`")
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alerts::rule::RuleSet;

    fn labels(component: &str) -> Vec<(String, String)> {
        vec![("component".to_owned(), component.to_owned())]
    }

    #[test]
    fn a_silence_mutes_its_rule_and_labels_until_its_end() {
        let text = "silences:\n  - {id: a, rule: component, labels: ['component=\"redis\"'], until: \"2026-03-15T18:00:00Z\"}\n";
        let silences = Silences::parse("s.yaml", text).expect("well formed");
        let rules = RuleSet::built_in();
        let rule = rules.get("component").expect("built in");
        let end: Timestamp = "2026-03-15T18:00:00Z".parse().expect("a time");
        let before = end - jiff::SignedDuration::from_nanos(1);
        assert!(silences.mute(rule, &labels("redis"), before));
        assert!(!silences.mute(rule, &labels("redis"), end), "the end is exact");
        assert!(!silences.mute(rule, &labels("database"), before));
        assert!(!silences.mute(rules.get("broker").expect("built in"), &labels("redis"), before));
    }

    #[test]
    fn the_kill_switch_cannot_be_silenced() {
        let end = Timestamp::MAX;
        assert!(Silence::new("a", Some("kill_switch"), &[], end, None).is_err());
        assert!(Silence::new("a", None, &[], end, None).is_err(), "a silence of everything is none");
        let all = Silence::new("a", None, &["component=~\".*\""], end, None).expect("well formed");
        let rules = RuleSet::built_in();
        assert!(!all.mutes(rules.get("kill_switch").expect("built in"), &[], Timestamp::UNIX_EPOCH));
        assert!(all.mutes(rules.get("drawdown").expect("built in"), &[], Timestamp::UNIX_EPOCH));
    }

    #[test]
    fn a_silence_without_a_name_is_refused() {
        for id in ["", " "] {
            assert!(Silence::new(id, Some("feed"), &[], Timestamp::MAX, None).is_err());
            let text = format!("silences:\n  - {{id: \"{id}\", rule: feed, until: 2026-03-15T18:00:00Z}}\n");
            let errors = Silences::parse("s.yaml", &text).expect_err("no name").to_string();
            assert!(errors.starts_with("s.yaml:2:10: the `id` of a silence is empty"), "{errors}");
        }
    }

    #[test]
    fn a_rule_that_is_not_there_is_told_with_the_one_that_was_meant() {
        let rules: Vec<String> = RuleSet::built_in().iter().map(|rule| rule.name.clone()).collect();
        let told = |rule: &str| {
            let silence = Silence::new("a", Some(rule), &[], Timestamp::MAX, None).expect("well formed");
            silence.check_rule(&rules).map_err(|error| error.to_string())
        };
        assert_eq!(told("drawdown"), Ok(()));
        let hint = "silence: silence `a` mutes nothing, there is no rule `drawdwn`: did you mean `drawdown`?";
        assert_eq!(told("drawdwn"), Err(hint.to_owned()));
        assert!(told("margin").expect_err("unknown").contains("the rules are pdt, drawdown, "));
    }

    #[test]
    fn one_that_has_just_ended_is_kept_for_a_wall_clock_that_comes_back() {
        let end: Timestamp = "2026-03-15T18:00:00Z".parse().expect("a time");
        let mut silences = Silences::default();
        silences.add(Silence::new("a", Some("feed"), &[], end, None).expect("well formed"));
        assert!(silences.expire(end + SignedDuration::from_hours(1)).is_empty());
        assert_eq!(silences.in_force(end + SignedDuration::from_hours(1)).count(), 0);
        assert_eq!(silences.in_force(end - SignedDuration::from_secs(1)).count(), 1);
        assert_eq!(silences.expire(end + SignedDuration::from_hours(25)).len(), 1);
    }

    #[test]
    fn mistakes_are_shown_where_they_stand() {
        let text = "silences:\n  - id: a\n    rule: kill_switch\n    until: 2026-03-15T18:00:00Z\n  - {id: b, rule: feed, until: tomorrow}\n";
        let errors = Silences::parse("config/silences.yaml", text).expect_err("two mistakes").to_string();
        assert_eq!(
            errors,
            "config/silences.yaml:3:11: the kill switch cannot be silenced: remove this silence\n  |\n\
             3 |     rule: kill_switch\n  |           ^^^^^^^^^^^\n\n\
             config/silences.yaml:5:32: `until` is not a time, found `tomorrow`: write it like `2026-03-15T18:00:00Z`\n  |\n\
             5 |   - {id: b, rule: feed, until: tomorrow}\n  |                                ^^^^^^^^"
        );
    }

    #[test]
    fn an_empty_file_silences_nothing() {
        for text in ["", "# none\n", "silences:\n", "silences: []\n"] {
            assert_eq!(
                Silences::parse("s.yaml", text).expect("well formed"),
                Silences::default(),
                "{text:?}"
            );
        }
    }
}
