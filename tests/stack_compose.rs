//! The stack's files agree with each other: what is mounted exists, and every port, job and data source leads to a service.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// Where each program listens, by its image.
const PORTS: [(&str, u16); 5] = [
    ("prom/prometheus", 9090),
    ("prom/alertmanager", 9093),
    ("grafana/grafana", 3000),
    ("oliver006/redis_exporter", 9121),
    ("prometheuscommunity/postgres-exporter", 9187),
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|problem| panic!("{path}: {problem}"))
}

fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&text(path)).unwrap_or_else(|problem| panic!("{path}: {problem}"))
}

fn services() -> BTreeMap<String, Value> {
    serde_json::from_value(yaml("compose.yaml")["services"].clone()).unwrap()
}

fn strings(list: &Value) -> Vec<&str> {
    list.as_array().map(|list| list.iter().filter_map(Value::as_str).collect()).unwrap_or_default()
}

/// `${NAME:-default}` as its default.
fn by_default(text: &str) -> String {
    match text.split_once("${").and_then(|(before, rest)| Some((before, rest.split_once('}')?))) {
        Some((before, (variable, after))) => {
            format!("{before}{}{after}", variable.split_once(":-").map_or("", |(_, default)| default))
        }
        None => text.to_owned(),
    }
}

fn image(service: &Value) -> (&str, &str) {
    service["image"].as_str().unwrap().split_once(':').unwrap()
}

#[test]
fn every_mounted_file_exists_and_is_read_only() {
    for (name, service) in services() {
        for volume in strings(&service["volumes"]) {
            let volume = by_default(volume);
            let Some(volume) = volume.strip_prefix("./") else { continue };
            let [file, _, mode] = volume
                .split(':')
                .collect::<Vec<_>>()
                .try_into()
                .unwrap_or_else(|_| panic!("{name}: {volume}"));
            assert_eq!(mode, "ro", "{name}: {file}");
            assert!(root().join(file).exists(), "{name} mounts {file}, which is not there");
        }
    }
}

#[test]
fn every_named_volume_and_secret_is_declared() {
    let compose = yaml("compose.yaml");
    let declared =
        |kind: &str| -> BTreeSet<String> { compose[kind].as_object().unwrap().keys().cloned().collect() };
    let (mut volumes, mut secrets) = (BTreeSet::new(), BTreeSet::new());
    for service in services().values() {
        let named = strings(&service["volumes"]).into_iter().filter(|volume| !volume.starts_with(['.', '$']));
        volumes.extend(named.map(|volume| volume.split(':').next().unwrap().to_owned()));
        for secret in service["secrets"].as_array().into_iter().flatten() {
            secrets.insert(secret.as_str().or(secret["source"].as_str()).unwrap().to_owned());
        }
    }
    assert_eq!(volumes, declared("volumes"));
    assert_eq!(secrets, declared("secrets"));
}

#[test]
fn every_image_is_pinned_and_is_the_version_that_was_tested() {
    let services = services();
    for (name, service) in &services {
        let (_, tag) = image(service);
        assert!(tag.trim_start_matches('v').split('.').count() >= 3, "{name}: {tag} is not one version");
    }
    let types = yaml("tests/stack/typecheck/package.json");
    assert_eq!(image(&services["grafana"]).1, types["devDependencies"]["@grafana/schema"]);
    assert_eq!(image(&services["collector"]).1, yaml("collector/builder.yaml")["dist"]["version"]);
}

#[test]
fn nothing_is_published_beyond_loopback() {
    let services = services();
    for (name, service) in &services {
        for port in strings(&service["ports"]) {
            assert!(port.starts_with("127.0.0.1:"), "{name}: {port}");
        }
        assert!(service.get("network_mode").is_none(), "{name}: the host's network has no walls");
    }
    assert_eq!(services["grafana"]["ports"], json!(["127.0.0.1:3001:3000"]));
}

#[test]
fn every_service_is_restarted_and_asked_how_it_is() {
    let services = services();
    let probed = services["probe"]["healthcheck"]["test"].to_string();
    for (name, service) in &services {
        assert_eq!(service["restart"], json!("unless-stopped"), "{name}");
        let asked = service["healthcheck"]["test"].is_array() || probed.contains(&format!("http://{name}:"));
        assert!(asked, "{name}: nobody notices when it hangs");
    }
    for (repository, port) in PORTS {
        let service = services.values().find(|service| image(service).0 == repository).unwrap();
        assert!(
            service["healthcheck"]["test"].to_string().contains(&format!("http://127.0.0.1:{port}/")),
            "{repository}"
        );
        for published in strings(&service["ports"]) {
            assert!(published.ends_with(&format!(":{port}")), "{repository}: {published}");
        }
    }
}

#[test]
fn secrets_come_from_outside_and_are_explained() {
    let compose = text("compose.yaml");
    for (name, service) in services() {
        for (key, value) in service["environment"].as_object().into_iter().flatten() {
            let is_secret =
                ["PASSWORD", "TOKEN", "DATA_SOURCE", "REDIS_ADDR"].iter().any(|word| key.contains(word));
            assert!(!is_secret || value.as_str().unwrap().starts_with("${"), "{name}: {key}");
        }
    }
    let (header, rest) = compose.split_once("\nname:").unwrap();
    let variables = rest.split("${").skip(1).map(|part| part.split([':', '}']).next().unwrap());
    for variable in variables.chain(["SA_MONITORING__BEARER_TOKEN"]) {
        assert!(header.contains(variable), "{variable} is not explained at the top of compose.yaml");
    }
}

/// `export --fill-secrets` writes a file of mode 0600, and Alertmanager's image runs as nobody.
#[test]
fn alertmanager_may_read_the_files_with_secrets() {
    let alertmanager = &services()["alertmanager"];
    assert_eq!(alertmanager["cap_drop"], json!(["ALL"]));
    assert_eq!((&alertmanager["user"], &alertmanager["cap_add"]), (&json!("0:0"), &json!(["DAC_OVERRIDE"])));
}

#[test]
fn prometheus_scrapes_what_was_asked_for() {
    let prometheus = yaml("config/prometheus.yml");
    assert_eq!(prometheus["global"], json!({"scrape_interval": "15s", "evaluation_interval": "15s"}));
    assert_eq!(prometheus["rule_files"], json!(["rules/trading-*.yml"]));
    assert_eq!(
        prometheus["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"],
        json!(["alertmanager:9093"])
    );
    let jobs: Vec<_> = prometheus["scrape_configs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|job| {
            let only = &job["static_configs"][0];
            (
                job["job_name"].as_str().unwrap(),
                only["targets"][0].as_str().unwrap(),
                only["labels"]["service"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        jobs,
        [
            ("alpha-oracle-api", "host.docker.internal:8000", "api"),
            ("alpha-oracle-metrics", "host.docker.internal:8001", "metrics"),
            ("redis", "redis-exporter:9121", "redis"),
            ("timescaledb", "postgres-exporter:9187", "database"),
        ]
    );
    let port = &yaml("config/settings.yaml")["monitoring"]["prometheus_port"];
    assert_eq!(jobs[1].1, format!("host.docker.internal:{port}"));
}

#[test]
fn every_target_leads_to_a_service_that_listens_there() {
    let services = services();
    let prometheus = text("config/prometheus.yml");
    let mut addresses: Vec<String> = prometheus
        .split("targets: [\"")
        .skip(1)
        .map(|part| part.split('"').next().unwrap().to_owned())
        .collect();
    for file in ["prometheus", "loki", "tempo"] {
        let url =
            &yaml(&format!("config/grafana/provisioning/datasources/{file}.yml"))["datasources"][0]["url"];
        addresses.push(url.as_str().unwrap().trim_start_matches("http://").to_owned());
    }
    let stores = [("loki", yaml("config/loki.yml")), ("tempo", yaml("config/tempo.yml"))];
    for address in addresses {
        let (host, port) = address.split_once(':').unwrap();
        if host == "host.docker.internal" {
            continue;
        }
        let service = services.get(host).unwrap_or_else(|| panic!("no service {host}"));
        let listens = PORTS
            .iter()
            .find(|(repository, _)| *repository == image(service).0)
            .map(|(_, port)| u64::from(*port));
        let listens = listens.or_else(|| {
            stores.iter().find(|(name, _)| *name == host)?.1["server"]["http_listen_port"].as_u64()
        });
        assert_eq!(Some(port.parse().unwrap()), listens, "{address}");
    }
}

#[test]
fn the_collector_is_told_by_variables_that_it_reads_and_sends_to_the_stores() {
    let collector = &services()["collector"];
    let config = text("collector/gateway.yaml");
    let environment = collector["environment"].as_object().unwrap();
    for name in environment.keys() {
        assert!(config.contains(&format!("${{env:{name}:-")), "gateway.yaml reads no {name}");
    }
    assert_eq!(environment["GATEWAY_TRACES"], json!("http://tempo:4318"));
    assert_eq!(
        yaml("config/tempo.yml")["distributor"]["receivers"]["otlp"]["protocols"]["http"]["endpoint"],
        json!("0.0.0.0:4318")
    );
    assert_eq!(environment["GATEWAY_LOGS"], json!("http://loki:3100/otlp"));
    let inside = strings(&collector["ports"]).into_iter().map(|port| port.rsplit(':').next().unwrap());
    let listens: Vec<_> = ["GATEWAY_OTLP_GRPC", "GATEWAY_OTLP_HTTP"]
        .iter()
        .map(|name| environment[*name].as_str().unwrap().split_once(':').unwrap().1)
        .collect();
    assert!(inside.eq(listens));
}

/// Else a container on Linux knows no such host.
#[test]
fn whoever_asks_the_host_knows_its_name() {
    let services = services();
    for (name, service) in &services {
        let knows = strings(&service["extra_hosts"]).contains(&"host.docker.internal:host-gateway");
        let asks = service.to_string().contains("host.docker.internal:")
            && service["environment"].to_string().contains("host.docker.internal");
        assert!(knows || !(asks || name == "prometheus"), "{name}");
    }
}

#[test]
fn prometheus_shows_the_token_that_the_services_ask_for() {
    let prometheus = yaml("config/prometheus.yml");
    for job in prometheus["scrape_configs"].as_array().unwrap() {
        let on_host =
            job["static_configs"][0]["targets"][0].as_str().unwrap().starts_with("host.docker.internal:");
        let expected = if on_host { json!("/run/secrets/metrics_token") } else { Value::Null };
        assert_eq!(job["authorization"]["credentials_file"], expected, "{}", job["job_name"]);
    }
    let compose = yaml("compose.yaml");
    assert_eq!(compose["secrets"]["metrics_token"], json!({"environment": "SA_MONITORING__BEARER_TOKEN"}));
    assert_eq!(compose["services"]["prometheus"]["secrets"][0]["source"], json!("metrics_token"));
    // A container's secret belongs to root, and Prometheus runs as nobody.
    assert_eq!(compose["services"]["prometheus"]["secrets"][0]["uid"], json!("65534"));
}

#[test]
fn an_exemplar_leads_to_the_trace_and_to_the_log_lines() {
    let source = |file: &str| {
        yaml(&format!("config/grafana/provisioning/datasources/{file}.yml"))["datasources"][0].clone()
    };
    let [prometheus, loki, tempo] = ["prometheus", "loki", "tempo"].map(source);
    for (source, name, url) in [
        (&prometheus, "Prometheus", "http://prometheus:9090"),
        (&loki, "Loki", "http://loki:3100"),
        (&tempo, "Tempo", "http://tempo:3200"),
    ] {
        let kind = name.to_lowercase();
        for (key, value) in [
            ("name", name),
            ("uid", kind.as_str()),
            ("type", kind.as_str()),
            ("access", "proxy"),
            ("url", url),
        ] {
            assert_eq!(source[key], json!(value), "{name}");
        }
        assert_eq!(source["editable"], json!(true), "{name}");
        assert_eq!(source["isDefault"] == json!(true), name == "Prometheus", "{name}");
    }
    let [trace, order] = <[Value; 2]>::try_from(
        prometheus["jsonData"]["exemplarTraceIdDestinations"].as_array().unwrap().clone(),
    )
    .unwrap();
    assert_eq!((&trace["name"], &trace["datasourceUid"]), (&json!("trace_id"), &tempo["uid"]));
    assert_eq!(order["name"], json!("order_id"));
    // Grafana expands `$NAME` in these files; `$$` is a dollar sign.
    assert!(order["url"].as_str().unwrap().contains("$${__value.raw}"));
    assert_eq!(loki["jsonData"]["derivedFields"][0]["datasourceUid"], tempo["uid"]);
    assert_eq!(tempo["jsonData"]["tracesToLogsV2"]["datasourceUid"], loki["uid"]);
    let interval = &yaml("config/prometheus.yml")["global"]["scrape_interval"];
    assert_eq!(&prometheus["jsonData"]["timeInterval"], interval);
}

#[test]
fn dashboards_are_provisioned_as_asked() {
    let provisioned = yaml("config/grafana/provisioning/dashboards/dashboard.yml");
    assert_eq!(
        provisioned,
        json!({"apiVersion": 1, "providers": [{
            "name": "default", "orgId": 1, "folder": "", "type": "file", "disableDeletion": false, "updateIntervalSeconds": 10,
            "allowUiUpdates": true, "options": {"path": "/etc/grafana/provisioning/dashboards"},
        }]})
    );
    let grafana = &services()["grafana"];
    assert!(
        strings(&grafana["volumes"]).contains(&"./config/grafana/provisioning:/etc/grafana/provisioning:ro")
    );
    let home = grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"].as_str().unwrap();
    assert!(Path::new(&home.replace("/etc/", "config/")).exists(), "{home}");
}
