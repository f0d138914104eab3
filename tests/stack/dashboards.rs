//! The committed dashboards, as they are, and the levels of the alert rules.

use std::path::Path;

use serde_json::Value;

pub(crate) struct Dashboard {
    pub(crate) file: String,
    pub(crate) json: Value,
    /// Without the rows.
    pub(crate) panels: Vec<Panel>,
}

pub(crate) struct Panel {
    pub(crate) json: Value,
    dashboard: String,
}

/// All dashboards, by file name.
pub(crate) fn all() -> Vec<Dashboard> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/grafana/provisioning/dashboards");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|extension| extension == "json")).collect();
    files.sort();
    files.iter().map(|path| Dashboard::read(path)).collect()
}

impl Dashboard {
    fn read(path: &Path) -> Self {
        let json: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let dashboard = json["title"].as_str().unwrap().to_owned();
        let panels = json["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] != "row");
        let panels =
            panels.map(|panel| Panel { json: panel.clone(), dashboard: dashboard.clone() }).collect();
        Self { file: path.file_name().unwrap().to_str().unwrap().to_owned(), json, panels }
    }

    pub(crate) fn title(&self) -> &str {
        self.json["title"].as_str().unwrap()
    }
}

impl Panel {
    pub(crate) fn title(&self) -> &str {
        self.json["title"].as_str().unwrap()
    }

    pub(crate) fn kind(&self) -> &str {
        self.json["type"].as_str().unwrap()
    }

    /// For a message.
    pub(crate) fn name(&self) -> String {
        format!("{} / {}", self.dashboard, self.title())
    }

    pub(crate) fn targets(&self) -> &[Value] {
        self.json["targets"].as_array().unwrap()
    }

    /// Each query with its legend.
    pub(crate) fn queries(&self) -> impl Iterator<Item = (&str, &str)> {
        self.targets()
            .iter()
            .map(|one| (one["expr"].as_str().unwrap(), one["legendFormat"].as_str().unwrap()))
    }
}

/// The levels of a built-in rule, warning and critical.
pub(crate) fn alert_levels(rule: &str) -> Vec<f64> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/alerts.yaml");
    let rules: Value = serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let levels = ["warning", "critical"].map(|severity| &rules["rules"][rule][severity]);
    levels.into_iter().filter_map(|level| number(level.get("level").unwrap_or(level))).collect()
}

/// A number, or a text such as `5 %`.
fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.trim_end_matches('%').trim().parse().ok())
}
