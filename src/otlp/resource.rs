//! Who we are, as every span, log record and metric says it.

use std::collections::BTreeMap;

use opentelemetry::{KeyValue, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::TelemetryResourceDetector;
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator};

/// What the settings say of the service.
#[derive(Clone, Debug, Default)]
pub(crate) struct Service<'a> {
    pub(crate) name: &'a str,
    pub(crate) version: &'a str,
    pub(crate) environment: &'a str,
    /// Further attributes; they win over all but the name.
    pub(crate) attributes: &'a [(String, String)],
}

/// The resource of this process. `service.instance.id` is random: two processes of one service would be one without.
pub(crate) fn resource(service: &Service<'_>) -> Resource {
    let mut attributes: BTreeMap<&str, Value> = BTreeMap::new();
    attributes.insert("service.instance.id", instance_id().into());
    attributes.insert("os.type", std::env::consts::OS.into());
    attributes.insert("host.arch", architecture().into());
    attributes.insert("process.pid", i64::from(std::process::id()).into());
    if let Some(host) = host_name() {
        attributes.insert("host.name", host.into());
    }
    if let Some(program) = program() {
        attributes.insert("process.executable.name", program.into());
    }
    for (name, value) in
        [("service.version", service.version), ("deployment.environment.name", service.environment)]
    {
        if !value.is_empty() {
            attributes.insert(name, value.to_owned().into());
        }
    }
    for (name, value) in service.attributes {
        attributes.insert(name, value.clone().into());
    }
    attributes.insert("service.name", service.name.to_owned().into());
    let attributes = attributes.into_iter().map(|(name, value)| KeyValue::new(name.to_owned(), value));
    Resource::builder_empty()
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_attributes(attributes)
        .build()
}

/// A random UUID (RFC 9562, version 4).
fn instance_id() -> String {
    let mut bytes = RandomIdGenerator::default().new_trace_id().to_bytes();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = format!("{:032x}", u128::from_be_bytes(bytes));
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// The architecture under the name that the semantic conventions have for it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "arm" => "arm32",
        other => other,
    }
}

fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .ok()
        .or_else(|| std::env::var("HOSTNAME").ok())?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

fn program() -> Option<String> {
    Some(std::env::current_exe().ok()?.file_name()?.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use opentelemetry::Key;

    use super::*;

    fn value(resource: &Resource, key: &'static str) -> Option<String> {
        resource.get(&Key::new(key)).map(|value| value.to_string())
    }

    #[test]
    fn the_resource_names_service_instance_host_and_sdk() {
        let attributes =
            [("team".to_owned(), "exec".to_owned()), ("service.name".to_owned(), "other".to_owned())];
        let service =
            Service { name: "risk", version: "1.2.3", environment: "production", attributes: &attributes };
        let resource = resource(&service);
        assert_eq!(value(&resource, "service.name").as_deref(), Some("risk"));
        assert_eq!(value(&resource, "service.version").as_deref(), Some("1.2.3"));
        assert_eq!(value(&resource, "deployment.environment.name").as_deref(), Some("production"));
        assert_eq!(value(&resource, "team").as_deref(), Some("exec"));
        assert_eq!(value(&resource, "telemetry.sdk.language").as_deref(), Some("rust"));
        assert_eq!(value(&resource, "process.pid"), Some(std::process::id().to_string()));
        assert!(value(&resource, "host.name").is_some());
    }

    #[test]
    fn each_instance_has_an_id_of_its_own() {
        let instance = || value(&resource(&Service::default()), "service.instance.id").unwrap();
        let id = instance();
        assert_ne!(id, instance());
        let groups: Vec<_> = id.split('-').map(str::len).collect();
        assert_eq!(groups, [8, 4, 4, 4, 12]);
        assert!(id[14..].starts_with('4') && "89ab".contains(&id[19..20]), "{id}");
        let chosen = [("service.instance.id".to_owned(), "mine".to_owned())];
        let resource = resource(&Service { attributes: &chosen, ..Service::default() });
        assert_eq!(value(&resource, "service.instance.id").as_deref(), Some("mine"));
    }
}
