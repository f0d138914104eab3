//! `SA_…` variables: `__` between the levels, commas between the items of a list, empty is unset.

use std::collections::BTreeMap;

use super::error::{Kind, Problem};
use super::node::{Node, Place, Raw};
use super::reader::Findings;
use crate::hint::nearest;

/// Names the settings file.
pub(super) const SETTINGS_FILE: &str = "SA_SETTINGS_FILE";

/// What the variables say, as a tree whose keys are in lower case.
pub(super) fn read(variables: &BTreeMap<String, String>, sections: &[&str], findings: &mut Findings) -> Node {
    let mut root = Node { raw: Raw::Map(Vec::new()), place: Place::Variable("SA_".to_owned()) };
    for (name, value) in variables {
        let Some(rest) = name.strip_prefix("SA_").filter(|_| name != SETTINGS_FILE) else { continue };
        if value.is_empty() {
            continue;
        }
        let lower = rest.to_lowercase();
        let path: Vec<&str> = lower.split("__").collect();
        if !path.first().is_some_and(|section| sections.contains(section)) {
            findings.warnings.extend(near_miss(name, &path, sections));
            continue;
        }
        let place = Place::Variable(name.clone());
        let refuse =
            |message: &str, help: &str| Problem::new(Kind::WrongValue, Some(&place), false, message, help);
        if path.iter().any(|level| level.is_empty()) {
            findings.problems.push(refuse(
                "a level of the name is empty",
                "write two underscores between levels: SA_MONITORING__PROMETHEUS_PORT",
            ));
        } else if root.insert(&path, Node::bare(value, place.clone())).is_err() {
            findings.problems.push(refuse(
                "this is below a variable that holds a value itself, or set twice",
                "take one of the two away",
            ));
        }
    }
    root
}

/// A warning if a variable that is not ours looks as if it were meant to be.
fn near_miss(name: &str, path: &[&str], sections: &[&str]) -> Option<String> {
    let meant = match path {
        [only] => {
            let section = sections.iter().find(|section| {
                only.strip_prefix(*section).is_some_and(|rest| rest.starts_with('_') && rest.len() > 1)
            });
            match section {
                Some(section) => format!("SA_{section}_{}", &only[section.len()..]).to_uppercase(),
                None => nearest(only, ["settings_file"]).map(|_| SETTINGS_FILE.to_owned())?,
            }
        }
        [section, rest @ ..] => {
            let near = nearest(section, sections.iter().copied())?;
            format!("SA_{near}__{}", rest.join("__")).to_uppercase()
        }
        [] => return None,
    };
    Some(format!("{name} is not a variable of ours and is ignored: did you mean {meant}?"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_variable_becomes_a_value_a_problem_or_a_warning_and_none_panics(
            variables in prop::collection::btree_map("SA_[A-Za-zö_]{0,20}", "[a-z]{0,5}", 0..6)
        ) {
            let mut findings = Findings::default();
            let root = read(&variables, &["a", "monitoring"], &mut findings);
            for pair in root.pairs() {
                prop_assert!(["a", "monitoring"].contains(&pair.key.as_str()));
            }
        }

        #[test]
        fn a_path_written_as_a_variable_is_found_again(path in prop::collection::vec("[a-z]{1,6}(_[a-z]{1,6})?", 1..4)) {
            let name = format!("SA_MONITORING__{}", path.join("__").to_uppercase());
            let mut findings = Findings::default();
            let root = read(&BTreeMap::from([(name, "x".to_owned())]), &["monitoring"], &mut findings);
            let found = path.iter().try_fold(root.get("monitoring").unwrap(), |node, level| node.get(level));
            prop_assert_eq!(found.and_then(Node::text), Some("x"));
        }
    }
}
