//! What no single value can tell: settings that must go together.

use secrecy::{ExposeSecret, SecretString};

use super::Settings;
use super::alerts::{ChannelKind, Channels, Route};
use super::error::{Kind, Problem};
use super::health::{CheckKind, CheckSettings};
use super::logging_filter;
use super::node::Place;
use super::otlp::{Export, Signal};
use super::reader::Findings;
use super::url::HttpUrl;

/// Checks settings whose values are right one by one.
pub(super) fn check(settings: &mut Settings, findings: &mut Findings) {
    let mut check = Check { settings, findings };
    check.server();
    check.log_filter();
    check.channels();
    check.routes();
    check.private_urls();
    check.health_checks();
    check.hours();
    check.otlp();
    check.batches();
}

struct Check<'a> {
    settings: &'a mut Settings,
    findings: &'a mut Findings,
}

impl Check<'_> {
    fn place(&self, key: &str) -> Option<&Place> {
        self.findings.origins.get(key)
    }

    fn refuse(&mut self, kind: Kind, key: &str, message: &str, help: &str) {
        let problem = Problem::new(kind, self.place(key), false, format_args!("`{key}` {message}"), help);
        self.findings.problems.push(problem);
    }

    fn warn(&mut self, message: String) {
        self.findings.warnings.push(message);
    }

    fn server(&mut self) {
        let monitoring = &self.settings.monitoring;
        let key = "monitoring.prometheus_host";
        if monitoring.prometheus_host.is_empty() {
            self.refuse(
                Kind::WrongValue,
                key,
                "names no address",
                "write for example `prometheus_host: 127.0.0.1`",
            );
        } else if monitoring.bearer_token.is_none()
            && let Some(open) = monitoring.prometheus_host.iter().find(|address| !address.is_loopback())
        {
            let warning = format!(
                "{key} {open} can be reached from other machines without a token, and shows equity and P&L: \
                 set SA_MONITORING__BEARER_TOKEN, or listen on 127.0.0.1"
            );
            self.warn(warning);
        }
    }

    fn log_filter(&mut self) {
        if let Some(Err(error)) = self.settings.logging.filter.as_deref().map(logging_filter) {
            let help = "write for example `filter: warn,execution=debug`";
            self.refuse(Kind::WrongValue, "logging.filter", &format!("is no filter: {error}"), help);
        }
    }

    fn channels(&mut self) {
        let alerts = &self.settings.alerts;
        match alerts.channels.clone() {
            Channels::Only(channels) => {
                for channel in channels {
                    let missing = self.settings.alerts.missing_for(channel);
                    if !missing.is_empty() {
                        let help = match channel {
                            ChannelKind::Alertmanager => format!("set {}", missing.join(" and ")),
                            _ => format!(
                                "set {} (or {}_FILE)",
                                missing.join(" and "),
                                missing.join("_FILE and ")
                            ),
                        };
                        let message = format!("lists `{channel}`, but {} is not set", missing.join(" and "));
                        self.refuse(Kind::MissingSecret, "alerts.channels", &message, &help);
                    }
                }
            }
            Channels::Auto => {
                if let [missing] = alerts.missing_for(ChannelKind::Telegram)[..] {
                    self.warn(format!(
                        "telegram is off because {missing} is not set: set both of its variables, or none"
                    ));
                }
            }
        }
    }

    fn routes(&mut self) {
        let active = self.settings.alerts.active_channels();
        let routes = &self.settings.alerts.routes;
        let named = [("critical", &routes.critical), ("warning", &routes.warning), ("info", &routes.info)];
        let mut warnings = Vec::new();
        for (severity, route) in named {
            let Route::Only(channels) = route else { continue };
            for channel in channels.iter().filter(|channel| !active.contains(channel)) {
                warnings.push(format!(
                    "alerts.routes.{severity} names {channel}, which is not configured: it is not told"
                ));
            }
        }
        self.findings.warnings.extend(warnings);
    }

    /// A webhook or a bot token in plain text on the network is as good as published.
    fn private_urls(&mut self) {
        let help = "write an https URL; plain http goes to loopback only";
        let alerts = &self.settings.alerts;
        let webhook = alerts.slack.webhook_url.as_ref().map(read);
        let heartbeat = alerts.heartbeat_url.as_ref().map(read);
        if webhook.is_some_and(|url| url.is_none_or(|url| !url.is_private())) {
            self.refuse(
                Kind::WrongValue,
                "alerts.slack.webhook_url",
                "is not a URL that a secret may go to",
                help,
            );
        }
        if heartbeat.is_some_and(|url| url.is_none()) {
            let help = "write an http or https URL without user and password";
            self.refuse(Kind::WrongValue, "alerts.heartbeat_url", "is not a URL", help);
        }
        if !self.settings.alerts.telegram.api_base_url.is_private() {
            self.refuse(
                Kind::WrongValue,
                "alerts.telegram.api_base_url",
                "is not a URL that a secret may go to",
                help,
            );
        }
    }

    fn health_checks(&mut self) {
        for (name, check) in self.settings.health.checks.clone() {
            let key = |field: &str| format!("health.checks.{name}.{field}");
            let Some(kind) = check.kind else {
                let help = "write one of tcp, http, postgres, redis, heartbeat";
                let at = ["url", "address", "critical", "timeout_seconds", "interval_seconds", "status"]
                    .iter()
                    .find_map(|field| self.place(&key(field)).cloned());
                let message = format!("`{}` is missing", key("kind"));
                self.findings.problems.push(Problem::new(
                    Kind::WrongValue,
                    at.as_ref(),
                    false,
                    message,
                    help,
                ));
                continue;
            };
            self.check_target(&key, kind, &check);
        }
    }

    fn check_target(&mut self, key: &dyn Fn(&str) -> String, kind: CheckKind, check: &CheckSettings) {
        let needed = match kind {
            CheckKind::Tcp => "address",
            CheckKind::Http | CheckKind::Postgres | CheckKind::Redis => "url",
            CheckKind::Heartbeat => "late_after_seconds",
        };
        let given = [
            ("address", check.address.is_some()),
            ("url", check.url.is_some()),
            ("late_after_seconds", check.late_after != CheckSettings::default().late_after),
        ];
        let further = [
            ("status", check.status.is_some() && kind != CheckKind::Http),
            ("certificate", check.certificate.is_some() && needed != "url"),
        ];
        for (field, misplaced) in
            given.map(|(field, given)| (field, given && field != needed)).into_iter().chain(further)
        {
            if misplaced {
                let message = format!("does not belong to a {kind} check");
                self.refuse(Kind::WrongValue, &key(field), &message, "take the key away, or change the kind");
            }
        }
        let (right, example) = match kind {
            CheckKind::Heartbeat => (true, ""),
            CheckKind::Tcp => {
                (check.address.as_deref().is_some_and(is_address), "address: \"127.0.0.1:7497\"")
            }
            CheckKind::Http => {
                (check.url.as_ref().is_some_and(|url| is_url(url, &["http", "https"])), "url: \"http://…\"")
            }
            CheckKind::Postgres => (
                check.url.as_ref().is_some_and(|url| is_url(url, &["postgres", "postgresql"])),
                "url: \"postgres://…\"",
            ),
            CheckKind::Redis => (
                check.url.as_ref().is_some_and(|url| is_url(url, &["redis", "rediss"])),
                "url: \"redis://…\"",
            ),
        };
        if !right {
            let set = given.iter().any(|(field, given)| *given && *field == needed);
            let message = if set {
                format!("is not what a {kind} check needs")
            } else {
                format!("is missing: a {kind} check needs it")
            };
            let at = self.place(&key(if set { needed } else { "kind" })).cloned();
            let problem = Problem::new(
                Kind::WrongValue,
                at.as_ref(),
                false,
                format_args!("`{}` {message}", key(needed)),
                &format!("write for example `{example}`"),
            );
            self.findings.problems.push(problem);
        }
    }

    fn hours(&mut self) {
        let hours = &self.settings.health.hours;
        let keys = ["days", "open", "close", "holidays"].map(|field| format!("health.hours.{field}"));
        if hours.timezone.is_none()
            && let Some(key) = keys.iter().find(|key| self.differs(key))
        {
            let help = "write for example `timezone: America/New_York` beside it";
            self.refuse(Kind::WrongValue, key, "says nothing without `health.hours.timezone`", help);
        } else if hours.timezone.is_some() && hours.open == hours.close {
            let help = "leave `health.hours` out if all hours count";
            self.refuse(Kind::WrongValue, "health.hours.close", "is the same as `open`", help);
        }
    }

    /// Whether somebody set `key` to something else than its default, as the reference file does.
    fn differs(&self, key: &str) -> bool {
        let value = |settings: &mut Settings| {
            let all = super::describe::effective(settings, &self.findings.origins);
            all.into_iter().find(|setting| setting.key == key).map(|setting| setting.value)
        };
        value(&mut self.settings.clone()) != value(&mut Settings::default())
    }

    fn otlp(&mut self) {
        let otlp = &self.settings.otlp;
        let mut warnings = Vec::new();
        if otlp.metrics.endpoint.is_some() && otlp.metrics.export == Export::Off {
            warnings.push(
                "otlp.metrics.endpoint is set, but metrics are not exported: set otlp.metrics.export to true"
                    .to_owned(),
            );
        }
        for signal in Signal::ALL {
            if let Some(target) = otlp.target(signal)
                && !target.headers.is_empty()
                && !target.endpoint.is_private()
            {
                warnings.push(format!(
                    "the headers of {} cross the network unencrypted: use https for otlp.endpoint",
                    signal.as_str()
                ));
            }
        }
        for signal in ["", "traces.", "logs.", "metrics."] {
            let section = match signal {
                "traces." => (&otlp.traces.client_key, &otlp.traces.client_certificate),
                "logs." => (&otlp.logs.client_key, &otlp.logs.client_certificate),
                "metrics." => (&otlp.metrics.client_key, &otlp.metrics.client_certificate),
                _ => (&otlp.client_key, &otlp.client_certificate),
            };
            if section.0.is_some() != section.1.is_some() {
                warnings.push(format!(
                    "otlp.{signal}client_key and otlp.{signal}client_certificate go together: one of them is missing"
                ));
            }
        }
        if self.settings.otlp.resource_attributes.remove("service.name").is_some()
            && !matches!(self.place("otlp.resource_attributes"), Some(Place::Variable(_)))
        {
            warnings.push(
                "otlp.resource_attributes: service.name is ignored: set system.service_name".to_owned(),
            );
        }
        self.findings.warnings.extend(warnings);
    }

    fn batches(&mut self) {
        let otlp = &mut self.settings.otlp;
        let mut warnings = Vec::new();
        for (name, batch) in [("trace_batch", &mut otlp.trace_batch), ("log_batch", &mut otlp.log_batch)] {
            if batch.batch_items > batch.queue_items {
                warnings.push(format!(
                    "otlp.{name}.batch_items {} is more than queue_items: {} is used",
                    batch.batch_items, batch.queue_items
                ));
                batch.batch_items = batch.queue_items;
            }
        }
        self.findings.warnings.extend(warnings);
    }
}

fn read(secret: &SecretString) -> Option<HttpUrl> {
    HttpUrl::read(secret.expose_secret()).ok()
}

fn is_url(secret: &SecretString, schemes: &[&str]) -> bool {
    let text = secret.expose_secret();
    text.split_once("://").is_some_and(|(scheme, rest)| schemes.contains(&scheme) && !rest.is_empty())
}

fn is_address(address: &str) -> bool {
    address.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty()
            && port.parse::<u16>().is_ok_and(|port| port > 0)
            && !address.contains(['/', '@', ' '])
    })
}
