//! One source after the other, lowest first.

use std::path::{Path, PathBuf};

use super::check::check;
use super::describe::{Effective, effective, section_names};
use super::error::{Kind, Problem, SettingsError};
use super::node::{Node, Pair, Place, Raw};
use super::reader::{Findings, Manner, Reader};
use super::sources::Sources;
use super::{Settings, environment, file, standard};
use crate::hint::{fold, nearest};

/// Settings, and how they came to be.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings in effect.
    pub settings: Settings,
    /// The service's name.
    pub service_name: String,
    /// What should be told once at start: near misses, variables that were ignored, an open port.
    pub warnings: Vec<String>,
    /// Every setting with its value, secrets redacted, and its origin.
    pub effective: Vec<Effective>,
    /// The settings file that was read.
    pub file: Option<PathBuf>,
}

const DEFAULT_FILE: &str = "config/settings.yaml";
const SERVICES: &str = "services";

impl Settings {
    /// Reads the settings: each source wins over those before it, from the defaults over the file, the file's
    /// `services.<name>`, `SA_…`, `SA_SERVICES__<NAME>__…` and the variables with names of their own to what the
    /// builder set.
    ///
    /// # Errors
    /// Every key that does not exist, value that cannot be, secret that is missing and file that cannot be read, at
    /// once.
    pub fn load(sources: &Sources) -> Result<Loaded, SettingsError> {
        let mut findings = Findings::default();
        let mut ours = section_names();
        ours.push(SERVICES);

        refuse_what_is_not_text(sources, &mut findings);
        let (file, path) = match read_file(sources, &ours) {
            Ok(Some((file, path))) => (file, Some(path)),
            Ok(None) => (nothing(), None),
            Err(problem) => {
                findings.problems.push(problem);
                (nothing(), None)
            }
        };
        findings.warnings.extend(file.pairs().iter().filter_map(|pair| near_miss(pair, &ours)));
        let variables = environment::read(&sources.variables, &ours, &mut findings);

        let service_name = service_name(sources, &file, &variables);
        let mut settings = Self::default();
        for root in [&file, &variables] {
            Reader::apply(&mut settings, root, &[], &sources.folder, Manner::Strict, &mut findings);
            apply_services(&mut settings, root, &service_name, &sources.folder, &mut findings);
        }
        standard::apply(&sources.variables, &mut settings, &sources.folder, &mut findings);
        apply_overrides(&mut settings, sources, &ours, &mut findings);

        if findings.problems.is_empty() {
            check(&mut settings, &mut findings);
        }
        findings.warnings.extend(services_near_miss(&file, &service_name));
        SettingsError::unless_none(std::mem::take(&mut findings.problems))?;
        let effective = effective(&mut settings, &findings.origins);
        Ok(Loaded { settings, service_name, warnings: findings.warnings, effective, file: path })
    }
}

fn nothing() -> Node {
    Node { raw: Raw::Map(Vec::new()), place: Place::Builder(String::new()) }
}

fn read_file(sources: &Sources, ours: &[&str]) -> Result<Option<(Node, PathBuf)>, Problem> {
    let named = sources.variables.get(environment::SETTINGS_FILE).filter(|path| !path.is_empty());
    let (path, place) = match (&sources.file, named) {
        (Some(path), _) => (path.clone(), Some(Place::Builder("settings file".to_owned()))),
        (None, Some(path)) => {
            (PathBuf::from(path), Some(Place::Variable(environment::SETTINGS_FILE.to_owned())))
        }
        (None, None) => (PathBuf::from(DEFAULT_FILE), None),
    };
    let unreadable = |error: &dyn std::fmt::Display, help: &str| {
        let message = format!("can't read the settings file {}: {error}", path.display());
        Problem::new(Kind::UnreadableFile, place.as_ref(), true, message, help)
    };
    match std::fs::read(sources.folder.join(&path)) {
        Ok(bytes) => {
            let text =
                String::from_utf8(bytes).map_err(|error| unreadable(&error, "save the file as UTF-8"))?;
            let text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
            Ok(Some((file::parse(&path, text, ours)?, path)))
        }
        Err(error) if place.is_none() && error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unreadable(
            &error,
            "make it a file that this user may read, or name another with SA_SETTINGS_FILE",
        )),
    }
}

fn refuse_what_is_not_text(sources: &Sources, findings: &mut Findings) {
    for name in &sources.not_text {
        if name.starts_with("OTEL_") || name == "RUST_LOG" {
            findings.warnings.push(format!("{name}: the value is not UTF-8; the variable is ignored"));
        } else if name.starts_with("SA_") || standard::is_secret(name) {
            let place = Place::Variable(name.clone());
            findings.problems.push(Problem::new(
                Kind::WrongValue,
                Some(&place),
                false,
                "the value is not UTF-8",
                "set it again, or take it away",
            ));
        }
    }
}

fn near_miss(pair: &Pair, ours: &[&str]) -> Option<String> {
    if ours.contains(&pair.key.as_str()) {
        return None;
    }
    let near = nearest(&pair.key, ours.iter().copied())?;
    Some(format!(
        "{}: section `{}` is not ours and is ignored: did you mean `{near}`?",
        pair.key_place.origin(),
        pair.key.escape_debug()
    ))
}

/// The builder, then OpenTelemetry's variables, then the settings, then the program.
fn service_name(sources: &Sources, file: &Node, variables: &Node) -> String {
    let key = "system.service_name";
    let set = sources.overrides.iter().rev().find(|(name, _)| name == key).map(|(_, name)| name.clone());
    let settings = [variables, file].into_iter().find_map(|root| {
        root.get("system").and_then(|system| system.get("service_name")).and_then(Node::text)
    });
    sources
        .service_name
        .clone()
        .or(set)
        .or_else(|| standard::service_name(&sources.variables))
        .or_else(|| settings.map(str::to_owned))
        .or_else(|| sources.program.clone())
        .filter(|name| !name.trim().is_empty())
        .unwrap_or_else(|| "unknown_service".to_owned())
}

/// Lays `services.<name>` over the settings. The other services' keys are checked too: the mistake is found by the
/// first service that starts, not by the last.
fn apply_services(settings: &mut Settings, root: &Node, name: &str, folder: &Path, findings: &mut Findings) {
    let Some(services) = root.get(SERVICES) else { return };
    let refuse = |place: &Place, key: &str| {
        let help = "write services: {risk: {monitoring: {prometheus_port: 8012}}}";
        Problem::new(
            Kind::WrongValue,
            Some(place),
            false,
            format_args!("`{key}` holds keys, not a value"),
            help,
        )
    };
    if !matches!(services.raw, Raw::Map(_) | Raw::Null) {
        findings.problems.push(refuse(&services.place, SERVICES));
    }
    for service in services.pairs() {
        let above = [SERVICES, service.key.as_str()];
        match &service.node.raw {
            Raw::Map(_) => {}
            Raw::Null => continue,
            _ => {
                findings.problems.push(refuse(&service.node.place, &above.join(".")));
                continue;
            }
        }
        if let Some(renamed) = service.node.get("system").and_then(|system| system.get("service_name")) {
            findings.problems.push(Problem::new(
                Kind::WrongValue,
                Some(&renamed.place),
                true,
                format_args!("`{}` is found by its name and can't change it", above.join(".")),
                "set OTEL_SERVICE_NAME for the process instead",
            ));
        }
        if fold(&service.key) == fold(name) {
            Reader::apply(settings, &service.node, &above, folder, Manner::Strict, findings);
        } else {
            let mut others = Findings::default();
            let mut scratch = Settings::default();
            // Its secrets' files may be readable for that service alone.
            Reader::apply(&mut scratch, &service.node, &above, folder, Manner::Strict, &mut others);
            findings.problems.extend(others.problems.into_iter().filter(|problem| !problem.is_unreadable()));
        }
    }
}

fn services_near_miss(file: &Node, name: &str) -> Option<String> {
    let services = file.get(SERVICES)?.pairs();
    if services.iter().any(|service| fold(&service.key) == fold(name)) {
        return None;
    }
    let near = nearest(name, services.iter().map(|service| service.key.as_str()))?;
    Some(format!("no settings under services.{name}: is this service meant to be `{near}`?"))
}

fn apply_overrides(settings: &mut Settings, sources: &Sources, ours: &[&str], findings: &mut Findings) {
    for (key, value) in &sources.overrides {
        let place = Place::Builder(key.clone());
        let path: Vec<&str> = key.split('.').collect();
        let known = path.first().is_some_and(|section| *section != SERVICES && ours.contains(section));
        let mut root = Node { raw: Raw::Map(Vec::new()), place: place.clone() };
        if !known || root.insert(&path, Node::bare(value, place.clone())).is_err() {
            let help = format!("sections: {}", section_names().join(", "));
            let message = "there is no such section";
            findings.problems.push(Problem::new(Kind::UnknownKey, Some(&place), false, message, &help));
            continue;
        }
        Reader::apply(settings, &root, &[], &sources.folder, Manner::Strict, findings);
    }
}
