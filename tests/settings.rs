//! Settings as a service meets them: a folder with files, an environment, and what comes of it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use secrecy::ExposeSecret;
use trading_telemetry::metrics::catalog::Group;
use trading_telemetry::settings::{
    ChannelKind, Channels, Loaded, LogFormat, Origin, OtlpCompression, OtlpProtocol, Pager, Probe,
    Propagator, Sampler, Settings, SettingsError, Signal, Sources,
};

/// A folder of its own for a test, which takes it away again.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("trading-settings-{}-{number}", std::process::id()));
        fs::create_dir_all(path.join("config")).unwrap();
        Self(path)
    }

    fn with(settings: &str) -> Self {
        let folder = Self::new();
        folder.write("config/settings.yaml", settings);
        folder
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.join(name), text).unwrap();
    }

    fn sources(&self) -> Sources {
        Sources::empty().folder(&self.0).program("replay")
    }

    fn load(&self, variables: &[(&str, &str)]) -> Result<Loaded, SettingsError> {
        Settings::load(
            &variables.iter().fold(self.sources(), |sources, (name, value)| sources.variable(*name, *value)),
        )
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn refused(settings: &str, variables: &[(&str, &str)]) -> SettingsError {
    Folder::with(settings).load(variables).map(drop).unwrap_err()
}

fn loaded(settings: &str, variables: &[(&str, &str)]) -> Loaded {
    Folder::with(settings).load(variables).unwrap_or_else(|error| panic!("{error}"))
}

fn origin(loaded: &Loaded, key: &str) -> String {
    loaded.effective.iter().find(|setting| setting.key == key).unwrap().origin.to_string()
}

/// Written anew with `UPDATE_REFERENCE=1 cargo test --test settings`.
#[test]
fn the_reference_file_is_the_tree_key_by_key_and_changes_nothing() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/settings.yaml");
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        fs::write(&path, Settings::reference()).unwrap();
    }
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text, Settings::reference(), "run with UPDATE_REFERENCE=1");

    let from_file = loaded(&text, &[]);
    assert_eq!(format!("{:?}", from_file.settings), format!("{:?}", Settings::default()));
    assert_eq!(from_file.warnings, [""; 0]);
    let without = Folder::new().load(&[]).unwrap();
    assert_eq!(without.effective.len(), from_file.effective.len());
    assert!(from_file.effective.len() > 100, "{}", from_file.effective.len());
    for (with, without) in from_file.effective.iter().zip(&without.effective) {
        assert_eq!((&with.key, &with.value), (&without.key, &without.value));
        assert!(matches!(with.origin, Origin::File { .. }), "{with} does not stand in the file");
        assert_eq!(without.origin, Origin::Default);
    }
}

#[test]
fn the_defaults_are_those_of_the_specification() {
    let Loaded { settings, service_name, warnings, file, .. } = Folder::new().load(&[]).unwrap();
    assert_eq!(settings.monitoring.prometheus_port, 8001);
    assert_eq!(settings.monitoring.prometheus_host, ["127.0.0.1".parse::<std::net::IpAddr>().unwrap()]);
    assert_eq!(settings.monitoring.health_check_interval, Duration::from_mins(1));
    assert_eq!(settings.metrics.max_strategies, 64);
    assert!(Group::ALL.iter().all(|group| settings.metrics.groups.contains(*group)));
    assert_eq!((settings.logging.max_file_bytes, settings.logging.max_files), (100_000_000, 10));
    assert_eq!(settings.logging.file_path("backend"), PathBuf::from("logs/backend.log"));
    assert_eq!(settings.alerts.outbox_path("risk"), PathBuf::from("state/risk.redb"));
    assert_eq!(settings.alerts.active_channels(), [ChannelKind::Log]);
    assert_eq!(settings.alerts.reminders.critical, Some(Duration::from_mins(30)));
    assert_eq!(settings.alerts.queue_messages, 1000);
    assert!(Signal::ALL.iter().all(|signal| settings.otlp.target(*signal).is_none()), "off until configured");
    assert_eq!((service_name.as_str(), file), ("replay", None));
    assert_eq!(warnings, [""; 0]);
}

#[test]
fn builder_over_environment_over_service_over_file_over_default() {
    let folder = Folder::with(
        "monitoring:\n  prometheus_port: 8002\n  required: true\n\
         services:\n  risk:\n    monitoring: {prometheus_port: 8003, health_check_interval_seconds: 30}\n",
    );
    let port = |sources: Sources| {
        let loaded = Settings::load(&sources).unwrap();
        (loaded.settings.monitoring.prometheus_port, origin(&loaded, "monitoring.prometheus_port"))
    };
    let other = || folder.sources();
    let risk = || folder.sources().service_name("risk");
    let with = |sources: Sources| sources.variable("SA_MONITORING__PROMETHEUS_PORT", "8004");
    let own = |sources: Sources| sources.variable("SA_SERVICES__RISK__MONITORING__PROMETHEUS_PORT", "8005");
    assert_eq!(port(other()), (8002, "config/settings.yaml:2".to_owned()));
    assert_eq!(port(risk()), (8003, "config/settings.yaml:6".to_owned()));
    assert_eq!(port(with(risk())), (8004, "SA_MONITORING__PROMETHEUS_PORT".to_owned()));
    assert_eq!(port(own(with(other()))).0, 8004, "another service's");
    assert_eq!(port(own(with(risk()))), (8005, "SA_SERVICES__RISK__MONITORING__PROMETHEUS_PORT".to_owned()));
    let set = own(with(risk())).set("monitoring.prometheus_port", "8006");
    assert_eq!(port(set), (8006, "builder".to_owned()));

    let loaded = Settings::load(&risk()).unwrap();
    assert!(loaded.settings.monitoring.required, "what a service does not override stays");
    assert_eq!(loaded.settings.monitoring.health_check_interval, Duration::from_secs(30));
    assert_eq!(origin(&loaded, "monitoring.bearer_token"), "default");
}

#[test]
fn a_service_with_a_dash_is_found_by_its_variables() {
    let folder = Folder::with("services: {market-feed: {metrics: {groups: [health]}}}");
    let sources = folder.sources().service_name("market-feed");
    let loaded =
        Settings::load(&sources.variable("SA_SERVICES__MARKET_FEED__MONITORING__PROMETHEUS_PORT", "8015"))
            .unwrap();
    assert_eq!(loaded.settings.monitoring.prometheus_port, 8015);
    let groups = &loaded.settings.metrics.groups;
    assert!(
        groups.contains(Group::Health) && groups.contains(Group::Telemetry) && !groups.contains(Group::Risk)
    );
}

#[test]
fn the_service_name_comes_from_the_builder_then_opentelemetry_then_the_settings_then_the_program() {
    let folder = Folder::with("system: {service_name: from-file}");
    let name = |sources: Sources| Settings::load(&sources).unwrap().service_name;
    let sources = folder.sources();
    assert_eq!(name(Folder::new().sources()), "replay");
    assert_eq!(name(sources.clone()), "from-file");
    let sources = sources.variable("SA_SYSTEM__SERVICE_NAME", "from-sa");
    assert_eq!(name(sources.clone()), "from-sa");
    let sources = sources.variable("OTEL_RESOURCE_ATTRIBUTES", "service.name=from%20attributes,host.name=h1");
    assert_eq!(name(sources.clone()), "from attributes");
    let attributes = Settings::load(&sources).unwrap().settings.otlp.resource_attributes;
    assert_eq!(attributes.into_iter().collect::<Vec<_>>(), [("host.name".to_owned(), "h1".to_owned())]);
    let sources = sources.variable("OTEL_SERVICE_NAME", "from-otel");
    assert_eq!(name(sources.clone()), "from-otel");
    assert_eq!(name(sources.clone().variable("OTEL_SERVICE_NAME", "")), "from attributes");
    assert_eq!(name(sources.service_name("from-builder")), "from-builder");
}

#[test]
fn lists_in_the_environment_are_comma_separated_and_one_value_is_a_list() {
    let loaded = loaded(
        "monitoring: {prometheus_host: \"::1\"}\nmetrics: {groups: [all]}",
        &[
            ("SA_METRICS__GROUPS", "risk, orders,,risk"),
            ("SA_ALERTS__CHANNELS", "log,alertmanager"),
            ("SA_ALERTS__ALERTMANAGER__URLS", "http://am1:9093,http://am2:9093"),
            ("SA_OTLP__RESOURCE_ATTRIBUTES", "host.name=h1,zone=a"),
            ("SA_HEALTH__HOURS__TIMEZONE", "America/New_York"),
            ("SA_HEALTH__HOURS__DAYS", "mon,wed"),
            ("SA_HEALTH__MAINTENANCE__BROKER", "23:45-00:45,12:00-12:10"),
        ],
    );
    let settings = loaded.settings;
    assert_eq!(settings.monitoring.prometheus_host[0].to_string(), "::1");
    let groups: Vec<Group> = settings.metrics.groups.iter().filter(|group| group.is_optional()).collect();
    assert_eq!(groups, [Group::Orders, Group::Risk]);
    assert_eq!(settings.alerts.channels, Channels::Only(vec![ChannelKind::Log, ChannelKind::Alertmanager]));
    assert_eq!(settings.alerts.pager(), Pager::Alertmanager);
    assert_eq!(settings.alerts.alertmanager.urls.len(), 2);
    assert_eq!(settings.otlp.resource_attributes["zone"], "a");
    assert_eq!(settings.health.hours.days.len(), 2);
    assert_eq!(settings.health.maintenance["broker"].len(), 2);
}

#[test]
fn an_empty_variable_is_unset() {
    let loaded = loaded(
        "monitoring: {prometheus_port: 8002}",
        &[
            ("SA_MONITORING__PROMETHEUS_PORT", ""),
            ("SLACK_WEBHOOK_URL", ""),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", ""),
            ("SA_SETTINGS_FILE", ""),
        ],
    );
    assert_eq!(loaded.settings.monitoring.prometheus_port, 8002);
    assert_eq!(loaded.settings.alerts.active_channels(), [ChannelKind::Log]);
    assert_eq!(loaded.warnings, [""; 0]);
}

#[test]
fn an_unknown_key_shows_file_line_caret_and_a_hint() {
    let error = refused("monitoring:\n  prometheus_prot: 8002\n", &[]);
    assert!(error.is_unknown_key() && !error.is_wrong_value());
    insta::assert_snapshot!(error, @r"
    config/settings.yaml:2:3: unknown key `prometheus_prot` in `monitoring`
      2 |   prometheus_prot: ••••
        |   ^^^^^^^^^^^^^^^
      did you mean `prometheus_port`?
    ");
    let error = refused("alerts:\n  slack: {hook: https://hooks.slack.com/T0/SECRET}\n", &[]);
    assert!(error.is_unknown_key());
    assert!(
        error.to_string().ends_with("known keys here: webhook_url, webhook_url_file, pace_per_second, burst")
    );
    assert!(!error.to_string().contains("SECRET"), "{error}");
}

#[test]
fn an_unknown_key_in_the_environment_names_the_variable_and_the_right_one() {
    let error = refused("", &[("SA_MONITORING__PROMETHEUS_PROT", "8002")]);
    assert!(error.is_unknown_key());
    insta::assert_snapshot!(error, @r"
    SA_MONITORING__PROMETHEUS_PROT: unknown key `prometheus_prot` in `monitoring`
      did you mean `SA_MONITORING__PROMETHEUS_PORT`?
    ");
    let error = refused("", &[("SA_SERVICES__RISK__METRIC__GROUPS", "risk")]);
    assert!(error.is_unknown_key());
    assert!(error.to_string().contains("did you mean `SA_SERVICES__RISK__METRICS`?"), "{error}");
    let error = refused("", &[("SA_METRICS", "risk")]);
    assert!(error.to_string().contains("SA_METRICS__<KEY>"), "{error}");
}

#[test]
fn a_mistake_in_another_services_section_is_found_by_the_first_that_starts() {
    let error = refused("services:\n  risk:\n    monitoring:\n      prometheus_prot: 8012\n", &[]);
    assert!(
        error.to_string().starts_with(
            "config/settings.yaml:4:7: unknown key `prometheus_prot` in `services.risk.monitoring`"
        ),
        "{error}"
    );
    let error = refused("services: {risk: {system: {service_name: x}}}", &[]);
    assert!(error.to_string().contains("can't change it"), "{error}");
    let other = loaded("services: {risk: {monitoring: {bearer_token_file: /only/for/risk}}}", &[]);
    assert!(other.settings.monitoring.bearer_token.is_none());
}

#[test]
fn the_rest_of_the_system_is_ignored_and_a_near_miss_is_a_warning() {
    let loaded = loaded(
        "database: {password: hunter2, password: hunter2}\nstrategies: [!custom a, .inf, {1: 2}]\nmonitorng: {prometheus_port: 1}\n",
        &[
            ("SA_DATABASE__URL", "x"),
            ("SA_MONITORNG__PROMETHEUS_PORT", "1"),
            ("SA_MONITORING_REQUIRED", "true"),
            ("SA_BROKER", "x"),
        ],
    );
    assert_eq!(loaded.settings.monitoring.prometheus_port, 8001);
    assert_eq!(
        loaded.warnings,
        [
            "config/settings.yaml:3: section `monitorng` is not ours and is ignored: did you mean `monitoring`?",
            "SA_MONITORING_REQUIRED is not a variable of ours and is ignored: did you mean SA_MONITORING__REQUIRED?",
            "SA_MONITORNG__PROMETHEUS_PORT is not a variable of ours and is ignored: did you mean SA_MONITORING__PROMETHEUS_PORT?",
        ]
    );
}

#[test]
fn each_wrong_value_says_what_to_write() {
    for (settings, expected) in [
        ("monitoring: {prometheus_port: 0}", "expected a whole number from 1 to 65535, found `0`"),
        ("monitoring: {prometheus_port: 70000}", "expected a whole number from 1 to 65535, found `70000`"),
        ("monitoring: {prometheus_port: high}", "expected a whole number from 1 to 65535, found `high`"),
        ("monitoring: {prometheus_port: \"8001\"}", "expected a whole number from 1 to 65535 without quotes"),
        ("monitoring: {prometheus_port: [8001]}", "expected a whole number from 1 to 65535, found a list"),
        ("monitoring: {prometheus_port: }", "expected a whole number from 1 to 65535, found nothing"),
        ("monitoring: {prometheus_port: 8001.5}", "found `8001.5`"),
        (
            "monitoring: {health_check_interval_seconds: 0}",
            "expected a number of seconds from 0.1 to 86400, found `0`",
        ),
        ("monitoring: {health_check_interval_seconds: -1}", "found `-1`"),
        ("monitoring: {health_check_interval_seconds: .inf}", "found `.inf`"),
        ("alerts: {evaluation_interval_seconds: 0}", "write for example `evaluation_interval_seconds: 1`"),
        ("monitoring: {required: yes}", "expected `true` or `false`, found `yes`"),
        ("monitoring: {prometheus_host: everywhere}", "expected an IP address"),
        ("monitoring: {prometheus_host: []}", "names no address"),
        ("monitoring: 8001", "`monitoring` holds keys, not a value"),
        ("metrics: {groups: [risk, order]}", "(did you mean `orders`?), found `order`"),
        ("metrics: {max_strategies: 0}", "from 1 to 10000"),
        ("logging: {format: jsn}", "did you mean `json`?"),
        ("logging: {filter: \"a=b=c=d\"}", "is no filter"),
        ("logging: {filter: \"[order]=debug\"}", "is no filter: it speaks of spans or fields"),
        ("otlp: {metric_temporality: delta}", "expected `cumulative`, found `delta`"),
        ("otlp: {endpoint: \"localhost:4317\"}", "expected a URL"),
        ("otlp: {sampling: {ratio: 1.5}}", "expected a number from 0 to 1, found `1.5`"),
        ("alerts: {channels: [slak]}", "did you mean `slack`?"),
        (
            "alerts: {telegram: {api_base_url: \"http://proxy.example.com\"}}",
            "plain http goes to loopback only",
        ),
        ("health: {hours: {timezone: America/Gotham}}", "expected a time zone"),
        ("health: {hours: {open: \"10:00\"}}", "says nothing without `health.hours.timezone`"),
        ("health: {hours: {timezone: UTC, open: 25:00}}", "expected a time of day"),
        ("health: {maintenance: {broker: 23:45}}", "expected a daily window"),
        ("health: {checks: {redis: {url: \"redis://h\"}}}", "`health.checks.redis.kind` is missing"),
        (
            "health: {checks: {redis: {kind: redis}}}",
            "`health.checks.redis.url` is missing: a redis check needs it",
        ),
        ("health: {checks: {redis: {kind: redis, url: \"http://h\"}}}", "is not what a redis check needs"),
        ("health: {checks: {broker: {kind: tcp, address: nowhere}}}", "is not what a tcp check needs"),
        (
            "health: {checks: {broker: {kind: tcp, address: \"h:1\", late_after_seconds: 3}}}",
            "does not belong to a tcp check",
        ),
        ("health: {checks: {broker: {kind: tpc}}}", "did you mean `tcp`?"),
        ("services: [risk]", "`services` holds keys"),
        ("services: {risk: 8012}", "`services.risk` holds keys"),
    ] {
        let error = refused(settings, &[]);
        assert!(error.is_wrong_value(), "{settings}: {error}");
        assert!(error.to_string().contains(expected), "{settings}: {error}");
        assert!(error.to_string().starts_with("config/settings.yaml:1:"), "{settings}: {error}");
    }
}

#[test]
fn a_wrong_variable_is_named_and_the_right_one_written_out() {
    let error = refused("", &[("SA_MONITORING__PROMETHEUS_PORT", "70000")]);
    insta::assert_snapshot!(error, @r"
    SA_MONITORING__PROMETHEUS_PORT: `monitoring.prometheus_port`: expected a whole number from 1 to 65535, found `70000`
      write for example SA_MONITORING__PROMETHEUS_PORT=8001
    ");
    let sources = Folder::new().sources().set("monitoring.prometheus_port", "0").set("monitorin.x", "1");
    let error = Settings::load(&sources).unwrap_err();
    assert_eq!(error.problems().count(), 2);
    assert!(error.is_unknown_key() && error.is_wrong_value());
}

#[test]
fn every_mistake_is_told_at_once() {
    let error =
        refused("monitoring: {prometheus_port: 0}\nmetrics: {max: 3}\n", &[("SA_LOGGING__LEVEL", "loud")]);
    assert_eq!(error.problems().count(), 3);
}

#[test]
fn yaml_that_cannot_be_read_shows_its_line_without_its_values() {
    let error = refused("monitoring:\n  prometheus_port: 8001\n  bearer_token: \"hunter2\n", &[]);
    assert!(error.is_invalid_yaml(), "{error}");
    assert!(!error.to_string().contains("hunter2"), "{error}");
    let error = refused("database:\n  password: [hunter2\nmonitoring: {prometheus_port: 8001}\n", &[]);
    assert!(error.is_invalid_yaml() && !error.to_string().contains("hunter2"), "{error}");
}

#[test]
fn a_file_that_is_no_mapping_or_more_than_one_document_says_where_and_what_to_write() {
    let error = refused("# what our desk needs\n---\n- a\n- b\n", &[]);
    assert!(error.is_invalid_yaml());
    insta::assert_snapshot!(error, @r"
    config/settings.yaml:3:1: a settings file is a mapping of sections
      3 | - •
        | ^
      write for example `monitoring: {prometheus_port: 8001}`
    ");
    let error = refused("monitoring: {prometheus_port: 8001}\n---\nmetrics: {}\n", &[]);
    assert!(error.is_invalid_yaml());
    insta::assert_snapshot!(error, @r"
    config/settings.yaml:3:1: a settings file is one YAML document, and here a second begins
      3 | metrics: {}
        | ^
      remove the line `---` before it
    ");
}

#[test]
fn a_key_that_stands_twice_is_refused_where_it_stands() {
    let error = refused("monitoring:\n  bearer_token: hunter1\n  bearer_token: hunter2\n", &[]);
    assert!(error.is_duplicate_key());
    insta::assert_snapshot!(error, @r"
    config/settings.yaml:3:3: `bearer_token` stands here for the second time
      3 |   bearer_token: •••••••
        |   ^^^^^^^^^^^^
      take one of the two away
    ");
    let error = refused("monitoring: {required: true}\nmetrics: {}\nmonitoring: {prometheus_port: 1}\n", &[]);
    assert!(error.is_duplicate_key(), "{error}");
}

#[test]
fn a_text_keeps_its_spelling_whatever_yaml_thinks_it_is() {
    let loaded = loaded(
        "system:\n  version: 1.10\n  broker: 0x10\n  environment: true\nalerts: {telegram: {chat_id: -100123}}",
        &[],
    );
    let system = &loaded.settings.system;
    assert_eq!(
        (system.version.as_str(), system.broker.as_str(), system.environment.as_str()),
        ("1.10", "0x10", "true")
    );
    assert_eq!(loaded.settings.alerts.telegram.chat_id.as_ref().unwrap().expose_secret(), "-100123");
    assert_eq!(
        loaded.warnings,
        ["telegram is off because TELEGRAM_BOT_TOKEN is not set: set both of its variables, or none"]
    );
}

#[test]
fn anchors_and_merges_work_inside_our_sections() {
    let loaded = loaded(
        "monitoring: &m {required: true, prometheus_port: 8002}\nservices:\n  replay:\n    monitoring: {<<: *m, prometheus_port: 8003}\n",
        &[],
    );
    assert_eq!(loaded.settings.monitoring.prometheus_port, 8003);
}

#[test]
fn the_settings_file_may_be_named_and_must_then_exist() {
    let folder = Folder::with("monitoring: {prometheus_port: 8002}");
    folder.write("other.yaml", "monitoring: {prometheus_port: 8003}");
    let port = |loaded: Loaded| loaded.settings.monitoring.prometheus_port;
    assert_eq!(port(folder.load(&[]).unwrap()), 8002);
    assert_eq!(port(folder.load(&[("SA_SETTINGS_FILE", "other.yaml")]).unwrap()), 8003);
    let error = folder.load(&[("SA_SETTINGS_FILE", "missing.yaml")]).unwrap_err();
    assert!(error.is_unreadable_file());
    assert!(
        error.to_string().starts_with("SA_SETTINGS_FILE: can't read the settings file missing.yaml"),
        "{error}"
    );

    folder.write("latin1.yaml", "");
    fs::write(folder.0.join("latin1.yaml"), b"system: {broker: \xfc}").unwrap();
    let error = folder.load(&[("SA_SETTINGS_FILE", "latin1.yaml")]).unwrap_err();
    assert!(error.is_unreadable_file() && error.to_string().contains("save the file as UTF-8"), "{error}");
    let error = folder.load(&[("SA_SETTINGS_FILE", "config")]).unwrap_err();
    assert!(error.is_unreadable_file(), "a folder: {error}");
    folder.write("bom.yaml", "\u{feff}monitoring: {prometheus_port: 8004}");
    assert_eq!(port(folder.load(&[("SA_SETTINGS_FILE", "bom.yaml")]).unwrap()), 8004);
}

#[test]
fn an_empty_file_and_an_empty_section_are_the_defaults() {
    for settings in ["", "# nothing\n", "monitoring:\nservices:\n  risk:\nhealth:\n  checks:\n"] {
        assert_eq!(loaded(settings, &[]).settings.monitoring.prometheus_port, 8001, "{settings:?}");
    }
}

#[test]
fn secrets_come_from_variables_or_from_files_without_their_last_newline() {
    let folder = Folder::new();
    folder.write("token", "123:abc\r\n");
    folder.write("hook", "https://hooks.slack.com/services/T0/B0/x\n");
    folder.write("bearer", "hunter2\n");
    let loaded = folder
        .load(&[
            ("TELEGRAM_BOT_TOKEN_FILE", "token"),
            ("TELEGRAM_CHAT_ID", "42"),
            ("SLACK_WEBHOOK_URL_FILE", "hook"),
            ("SA_MONITORING__BEARER_TOKEN_FILE", "bearer"),
        ])
        .unwrap();
    let settings = &loaded.settings;
    assert_eq!(settings.alerts.telegram.bot_token.as_ref().unwrap().expose_secret(), "123:abc");
    assert_eq!(settings.monitoring.bearer_token.as_ref().unwrap().expose_secret(), "hunter2");
    assert_eq!(
        settings.alerts.active_channels(),
        [ChannelKind::Log, ChannelKind::Slack, ChannelKind::Telegram]
    );
    assert_eq!(settings.alerts.pager(), Pager::Engine);
    assert_eq!(origin(&loaded, "alerts.telegram.bot_token"), "TELEGRAM_BOT_TOKEN_FILE");
    let everything = format!("{loaded:?} {:?}", folder.sources().variable("TELEGRAM_BOT_TOKEN", "123:abc"));
    for secret in ["123:abc", "hooks.slack.com", "hunter2"] {
        assert!(!everything.contains(secret), "{secret} is shown");
    }
    assert!(loaded.effective.iter().any(|setting| setting.to_string()
        == "monitoring.bearer_token: \"[REDACTED]\"  # SA_MONITORING__BEARER_TOKEN_FILE"));
}

#[test]
fn aliases_that_grow_without_end_are_told_as_such() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let below = format!("*a{}", level - 1);
        writeln!(bomb, "a{level}: &a{level} [{}]", vec![below; 10].join(", ")).unwrap();
    }
    let error = refused(&format!("{bomb}monitoring: {{prometheus_port: *a11}}\n"), &[]);
    assert!(error.is_invalid_yaml());
    let error = error.to_string();
    assert!(error.contains("more than a settings file may hold") && error.contains("an alias"), "{error}");
    assert!(!error.contains("indentation"), "{error}");
}

#[test]
fn a_secret_that_cannot_be_had_names_variable_and_path() {
    let folder = Folder::new();
    let error = folder.load(&[("TELEGRAM_BOT_TOKEN_FILE", "/nowhere/token")]).unwrap_err();
    assert!(error.is_unreadable_file());
    assert!(
        error.to_string().starts_with(
            "TELEGRAM_BOT_TOKEN_FILE: can't read the secret's file /nowhere/token: No such file"
        ),
        "{error}"
    );

    folder.write("empty", "\n");
    let error = folder.load(&[("SA_MONITORING__BEARER_TOKEN_FILE", "empty")]).unwrap_err();
    assert!(error.is_wrong_value() && error.to_string().contains("expected a secret of one line"), "{error}");

    folder.write("two_lines", "hunter2\nhunter3\n");
    let error = folder.load(&[("SA_MONITORING__BEARER_TOKEN_FILE", "two_lines")]).unwrap_err().to_string();
    assert!(error.contains("`monitoring.bearer_token`: expected a secret of one line"), "{error}");
    assert!(error.contains("SA_MONITORING__BEARER_TOKEN_FILE") && !error.contains("hunter"), "{error}");

    let error =
        folder.load(&[("SLACK_WEBHOOK_URL", "https://a"), ("SLACK_WEBHOOK_URL_FILE", "empty")]).unwrap_err();
    assert!(
        error.to_string().contains("both SLACK_WEBHOOK_URL and SLACK_WEBHOOK_URL_FILE are set"),
        "{error}"
    );
}

#[test]
fn a_secret_that_is_none_says_what_to_write() {
    let folder = Folder::with("monitoring: {bearer_token_file: token}\n");
    folder.write("token", "\n");
    for error in [
        folder.load(&[]).unwrap_err(),
        refused("monitoring: {bearer_token: \"\"}\n", &[]),
        refused("monitoring: {bearer_token: [hunter1, hunter2]}\n", &[]),
        refused("", &[("SA_MONITORING__BEARER_TOKEN", "hunter1\nhunter2")]),
    ] {
        let text = error.to_string();
        assert!(text.ends_with("write the secret alone, in one line, or take the setting away"), "{text}");
        assert!(error.is_wrong_value() && !text.contains("hunter"), "{text}");
    }
}

#[test]
fn a_variable_with_a_secret_wins_over_a_file_that_the_settings_name() {
    let folder = Folder::with("monitoring: {bearer_token_file: bearer}");
    folder.write("bearer", "from-file");
    let loaded = folder.load(&[("SA_MONITORING__BEARER_TOKEN", "from-variable")]).unwrap();
    assert_eq!(loaded.settings.monitoring.bearer_token.unwrap().expose_secret(), "from-variable");
}

#[test]
fn a_channel_that_is_listed_without_its_secret_names_the_variable() {
    let error = refused("alerts: {channels: [log, slack]}", &[]);
    assert!(error.is_missing_secret());
    insta::assert_snapshot!(error, @r"
    config/settings.yaml:1:20: `alerts.channels` lists `slack`, but SLACK_WEBHOOK_URL is not set
      1 | alerts: {channels: [•••, •••••]}
        |                    ^
      set SLACK_WEBHOOK_URL (or SLACK_WEBHOOK_URL_FILE)
    ");
    let error = refused("", &[("SA_ALERTS__CHANNELS", "telegram"), ("TELEGRAM_BOT_TOKEN", "t")]);
    assert!(error.to_string().contains("but TELEGRAM_CHAT_ID is not set"), "{error}");
    let error = refused("", &[("SA_ALERTS__CHANNELS", "alertmanager")]);
    assert!(error.to_string().contains("SA_ALERTS__ALERTMANAGER__URLS"), "{error}");
}

#[test]
fn a_webhook_goes_over_plain_http_to_loopback_alone_and_is_never_shown() {
    for good in ["https://hooks.slack.com/T/S3CRET", "http://127.0.0.1:9/S3CRET", "http://localhost:9/S3CRET"]
    {
        assert!(loaded("", &[("SLACK_WEBHOOK_URL", good)]).settings.alerts.slack.webhook_url.is_some());
    }
    for bad in [
        "http://hooks.slack.com/S3CRET",
        "S3CRET",
        "http://127.0.0.1@evil.example/S3CRET",
        "https://u:S3CRET@h/",
    ] {
        let error = refused("", &[("SLACK_WEBHOOK_URL", bad)]);
        assert!(error.is_wrong_value() && error.to_string().starts_with("SLACK_WEBHOOK_URL: "), "{error}");
        assert!(!error.to_string().contains("S3CRET"), "{error}");
    }
    let error = refused("otlp: {endpoint: \"https://user:S3CRET@collector:4318\"}", &[]);
    assert!(!error.to_string().contains("S3CRET"), "{error}");
    let error = refused("otlp: {headers: {authorization: [S3CRET]}}", &[]);
    assert!(!error.to_string().contains("S3CRET"), "{error}");
    let error =
        refused("health: {checks: {db: {kind: postgres, url: \"psql://u:S3CRET@h\", critical: maybe}}}", &[]);
    assert!(!error.to_string().contains("S3CRET") && error.to_string().contains("`maybe`"), "{error}");
}

#[test]
fn an_open_address_without_a_token_starts_with_a_warning() {
    let open = [("SA_MONITORING__PROMETHEUS_HOST", "127.0.0.1,0.0.0.0")];
    let warnings = loaded("", &open).warnings;
    assert!(warnings.len() == 1 && warnings[0].contains("SA_MONITORING__BEARER_TOKEN"), "{warnings:?}");
    assert_eq!(loaded("monitoring: {bearer_token: t}", &open).warnings, [""; 0]);
}

#[test]
fn health_checks_stand_by_name_in_the_file_and_in_the_environment() {
    let loaded = loaded(
        "health:\n  checks:\n    redis: {kind: redis, url: \"redis://127.0.0.1:6379\", critical: true}\n    market-data: {kind: heartbeat, late_after_seconds: 5}\n    broker: {kind: tcp, address: \"127.0.0.1:7497\"}\n    old: {kind: tcp, address: \"127.0.0.1:1\"}\nservices:\n  replay: {health: {checks: {old: null}}}\n",
        &[
            ("SA_HEALTH__CHECKS__REDIS__URL", "rediss://:pw@h:6380"),
            ("SA_HEALTH__CHECKS__MARKET_DATA__LATE_AFTER_SECONDS", "2.5"),
            ("SA_HEALTH__CHECKS__DATABASE__KIND", "postgres"),
            ("SA_HEALTH__CHECKS__DATABASE__URL", "postgres://u:pw@h/db"),
        ],
    );
    let checks = &loaded.settings.health.checks;
    assert_eq!(checks.keys().collect::<Vec<_>>(), ["broker", "database", "market-data", "redis"]);
    assert!(checks["redis"].critical);
    assert!(
        matches!(checks["redis"].probe(), Some(Probe::Redis(url)) if url.expose_secret() == "rediss://:pw@h:6380")
    );
    assert!(
        matches!(checks["market-data"].probe(), Some(Probe::Heartbeat(late)) if late == Duration::from_millis(2500))
    );
    assert!(matches!(checks["broker"].probe(), Some(Probe::Tcp("127.0.0.1:7497"))));
    assert!(matches!(checks["database"].probe(), Some(Probe::Postgres(_))));
    assert!(!format!("{loaded:?}").contains("pw@"));
}

#[test]
fn a_service_name_near_one_of_the_files_is_a_warning() {
    let folder = Folder::with("services: {risk: {monitoring: {prometheus_port: 8012}}}");
    let warnings = Settings::load(&folder.sources().service_name("rsk")).unwrap().warnings;
    assert_eq!(warnings, ["no settings under services.rsk: is this service meant to be `risk`?"]);
}

#[test]
fn opentelemetry_variables_win_over_the_file() {
    let loaded = loaded(
        "otlp: {endpoint: \"http://file:4318\", headers: {a: file, b: file}, timeout_seconds: 3}",
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector:4318/base/"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=one%20two,c=x%3Dy"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://traces:4317"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "GRPC"),
            ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "c=own"),
            ("OTEL_EXPORTER_OTLP_LOGS_TIMEOUT", "1500"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/etc/ca.pem"),
            ("OTEL_METRICS_EXPORTER", "otlp,prometheus"),
            ("OTEL_TRACES_SAMPLER", "traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
            ("OTEL_PROPAGATORS", "baggage,b3,baggage"),
            ("OTEL_BSP_SCHEDULE_DELAY", "250"),
            ("OTEL_BLRP_MAX_QUEUE_SIZE", "100"),
            ("OTEL_SDK_DISABLED", "TRUE"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "15000"),
        ],
    );
    let settings = &loaded.settings;
    let text = |target: &trading_telemetry::settings::OtlpTarget<'_>| -> Vec<String> {
        target.headers.iter().map(|(name, value)| format!("{name}={}", value.expose_secret())).collect()
    };
    let traces = settings.otlp.target(Signal::Traces).unwrap();
    assert_eq!((traces.endpoint.as_str(), traces.protocol), ("https://traces:4317", OtlpProtocol::Grpc));
    assert_eq!(text(&traces), ["a=one two", "b=file", "c=own"]);
    assert_eq!(traces.timeout, Duration::from_secs(3));
    let logs = settings.otlp.target(Signal::Logs).unwrap();
    assert_eq!(logs.endpoint.as_str(), "https://collector:4318/base/v1/logs");
    assert_eq!(logs.timeout, Duration::from_millis(1500));
    assert_eq!((logs.compression, logs.certificate), (OtlpCompression::Gzip, Some(Path::new("/etc/ca.pem"))));
    assert_eq!(text(&logs), ["a=one two", "b=file", "c=x=y"]);
    assert!(settings.otlp.target(Signal::Metrics).unwrap().endpoint.as_str().ends_with("/v1/metrics"));
    let sampling = &settings.otlp.sampling;
    assert_eq!(
        (sampling.sampler, sampling.root_ratio(), sampling.follows_parent()),
        (Sampler::TraceIdRatio, 0.25, false)
    );
    assert_eq!(settings.otlp.propagators, [Propagator::Baggage]);
    assert_eq!(settings.otlp.trace_batch.delay, Duration::from_millis(250));
    assert_eq!((settings.otlp.log_batch.queue_items, settings.otlp.log_batch.batch_items), (100, 100));
    assert_eq!(settings.otlp.metric_interval, Duration::from_secs(15));
    assert!(settings.system.telemetry_disabled);
    assert_eq!(origin(&loaded, "otlp.endpoint"), "OTEL_EXPORTER_OTLP_ENDPOINT");
    assert_eq!(
        loaded.warnings,
        [
            "OTEL_PROPAGATORS: there is no propagator `b3` here; it is ignored",
            "otlp.log_batch.batch_items 512 is more than queue_items: 100 is used",
        ]
    );
}

#[test]
fn an_opentelemetry_value_that_cannot_be_parsed_is_a_warning_and_ignored() {
    let variables = [
        ("OTEL_SDK_DISABLED", "yes"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "S3CRET"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd"),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "sometimes"),
        ("OTEL_RESOURCE_ATTRIBUTES", "a=%zz"),
        ("OTEL_TRACES_EXPORTER", "zipkin"),
        ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
        ("OTEL_TRACES_SAMPLER_ARG", "0.5"),
        ("OTEL_PROPAGATORS", "xray"),
        ("OTEL_BSP_SCHEDULE_DELAY", "-1"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "many"),
    ];
    let loaded = loaded("", &variables);
    assert_eq!(loaded.warnings.len(), variables.len(), "{:#?}", loaded.warnings);
    for (name, _) in variables {
        assert!(loaded.warnings.iter().any(|warning| warning.starts_with(&format!("{name}: "))), "{name}");
    }
    assert!(!format!("{:?}", loaded.warnings).contains("S3CRET"));
    assert_eq!(format!("{:?}", loaded.settings), format!("{:?}", Settings::default()));
}

#[test]
fn asking_for_delta_metrics_is_an_error() {
    let error = refused("", &[("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta")]);
    assert!(error.is_wrong_value());
    assert!(error.to_string().starts_with("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE: "), "{error}");
    let same = loaded("", &[("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "Cumulative")]);
    assert_eq!(same.warnings, [""; 0]);
}

#[test]
fn an_exporter_that_is_asked_for_by_name_goes_to_the_collector_on_this_machine() {
    let endpoint = |variables: &[(&str, &str)]| {
        let otlp = loaded("", variables).settings.otlp;
        otlp.target(Signal::Traces).map(|target| target.endpoint.as_str().to_owned())
    };
    assert_eq!(endpoint(&[]), None);
    assert_eq!(
        endpoint(&[("OTEL_TRACES_EXPORTER", "otlp")]).as_deref(),
        Some("http://localhost:4318/v1/traces")
    );
    let grpc = [("OTEL_TRACES_EXPORTER", "otlp"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")];
    assert_eq!(endpoint(&grpc).as_deref(), Some("http://localhost:4317"));
    let none = [("OTEL_TRACES_EXPORTER", "none"), ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318")];
    assert_eq!(endpoint(&none), None);
}

#[test]
fn rust_log_wins_over_the_filter_and_a_broken_one_is_a_warning() {
    let ours = "logging: {level: debug, filter: \"warn,execution=debug\", format: json}";
    assert_eq!(loaded("logging: {level: debug}", &[]).settings.logging.directives(), "debug");
    assert_eq!(loaded(ours, &[]).settings.logging.directives(), "warn,execution=debug");
    let over = loaded(ours, &[("RUST_LOG", "error"), ("SA_LOGGING__FORMAT", "console")]);
    assert_eq!(
        (over.settings.logging.directives(), over.settings.logging.format),
        ("error", LogFormat::Console)
    );
    // The last two are filters elsewhere, and none of ours.
    for broken in ["a=b=c=d", "[order{id}]=debug", "info,[order]=debug"] {
        let broken = loaded(ours, &[("RUST_LOG", broken)]);
        assert_eq!(broken.settings.logging.directives(), "warn,execution=debug");
        assert!(
            broken.warnings.len() == 1 && broken.warnings[0].starts_with("RUST_LOG: "),
            "{:?}",
            broken.warnings
        );
    }
}

#[cfg(unix)]
#[test]
fn a_file_that_this_user_may_not_read_is_an_error_and_not_the_defaults() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::with("monitoring: {prometheus_port: 8002}");
    let file = folder.0.join("config/settings.yaml");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
    match folder.load(&[]) {
        Err(error) => assert!(
            error.is_unreadable_file() && error.to_string().contains("config/settings.yaml"),
            "{error}"
        ),
        // Root reads everything.
        Ok(loaded) => assert!(fs::read(&file).is_ok() && loaded.settings.monitoring.prometheus_port == 8002),
    }
}

proptest::proptest! {
    #[test]
    fn a_slip_anywhere_in_the_file_shows_no_secret(
        at in 0_usize..200,
        slip in "[\\[\\]{}:,\"'&*!|>%@#` \n\t-]{1,2}",
        quote in "['\"]?",
    ) {
        const SECRET: &str = "S3CRETS3CRET";
        let mut text = format!(
            "monitoring:\n  bearer_token: {quote}{SECRET}{quote}\n  prometheus_port: 0\notlp: {{headers: {{a: {SECRET}}}}}\ndb: {{pw: {SECRET}}}\n"
        );
        let mut at = at % text.len();
        while SECRET.contains(&text[at..=at]) {
            at += 1;
        }
        text.insert_str(at, &slip);
        // A slip in a section's name makes it somebody else's.
        let told = match Folder::with(&text).load(&[]) {
            Ok(loaded) => format!("{loaded:?}"),
            Err(error) => format!("{error}{error:?}"),
        };
        proptest::prop_assert!(!told.contains("S3CRET"), "{}\n{}", text, told);
    }
}

#[test]
fn what_a_hint_says_to_write_is_accepted() {
    for (name, value) in [
        ("SA_MONITORING__PROMETHEUS_HOST", "127.0.0.300"),
        ("SA_MONITORING__PROMETHEUS_PORT", "70000"),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta"),
        ("SA_OTLP__PROPAGATORS", "b4"),
    ] {
        let error = refused("", &[(name, value)]).to_string();
        let hint =
            error.split_once("write for example ").map(|(_, rest)| rest.split_whitespace().next().unwrap());
        let (written, instead) = hint.unwrap_or_else(|| panic!("{error}")).split_once('=').unwrap();
        assert_eq!(written, name, "{error}");
        loaded("", &[(written, instead)]);
    }
}
