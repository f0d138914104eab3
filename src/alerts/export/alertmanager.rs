//! The configuration of Alertmanager: who is told of what.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use secrecy::ExposeSecret as _;

use super::yaml::{duration, quoted};
use crate::alerts::event::AlertSeverity;
use crate::alerts::rule::RuleSet;
use crate::metrics::catalog;
use crate::settings::{AlertSettings, ChannelKind, Pager, Route};

/// Where the secrets of the receivers come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrets {
    /// From files, as far as Alertmanager 0.25 can; a placeholder stands for the rest.
    Files,
    /// From the settings, into the text: whoever may read it may write to the channels.
    FilledIn,
}

const HEAD: &str = "\
# Whom Alertmanager tells of what. Written by `trading-telemetry export`.
";
const PLACEHOLDERS: &str = "\
# Alertmanager expands no variables: the Slack webhook is read from a file, and `trading-telemetry export --fill-secrets`
# writes a copy (alertmanager.local.yml, mode 0600, not for git) with what has no file, Telegram's bot and chat.
";
const ENGINE_PAGES: &str = "\
# The engine tells of its own incidents (alerts.channels), so nobody is told of them here; only of what a second pair of
# eyes sees. With `alerts.channels: log,alertmanager` this turns round.
";
const ALERTMANAGER_PAGES: &str = "\
# The engine posts its incidents here (alerts.channels: log,alertmanager), and this is who tells people.
";

/// What an unfilled configuration says for Telegram.
const NO_TOKEN: &str = "filled-in-by-export";
/// Alertmanager forgets after so long anyway.
const NEVER: Duration = Duration::from_hours(120);

/// The configuration of Alertmanager for these rules and settings.
///
/// With [`Secrets::FilledIn`] it has the receivers whose secrets are set.
pub fn alertmanager(rules: &RuleSet, settings: &AlertSettings, secrets: Secrets) -> String {
    let mut out = String::from(HEAD);
    out.push_str(match secrets {
        Secrets::Files => PLACEHOLDERS,
        Secrets::FilledIn => "# It holds secrets.\n",
    });
    let pager = settings.pager();
    out.push_str(match pager {
        Pager::Engine => ENGINE_PAGES,
        Pager::Alertmanager => ALERTMANAGER_PAGES,
    });
    // What is open is posted again every resend_interval; after several that failed it counts as over.
    let resolve = (settings.alertmanager.resend_interval * 3).max(Duration::from_mins(5));
    let _ = writeln!(out, "global:\n  resolve_timeout: {}", duration(resolve));
    route(&mut out, rules, settings, pager);
    inhibit(&mut out, rules);
    out.push_str("\nreceivers:\n  - name: nobody\n");
    for (name, severity, resolved) in [
        ("critical", AlertSeverity::Critical, true),
        ("warning", AlertSeverity::Warning, true),
        ("info", AlertSeverity::Info, true),
        ("critical-message", AlertSeverity::Critical, false),
        ("warning-message", AlertSeverity::Warning, false),
        ("info-message", AlertSeverity::Info, false),
    ] {
        let _ = writeln!(out, "  - name: {name}");
        slack(&mut out, settings, secrets, severity, resolved);
        telegram(&mut out, settings, secrets, severity, resolved);
    }
    out
}

fn route(out: &mut String, rules: &RuleSet, settings: &AlertSettings, pager: Pager) {
    // An end that one of two replicas saw is corrected by the other before anybody is told.
    let interval = settings.alertmanager.resend_interval * 3 / 2;
    let reminders = &settings.reminders;
    let every = |reminder: Option<Duration>| duration(reminder.unwrap_or(NEVER).min(NEVER));
    let groups: Vec<String> = identity(rules).into_iter().collect();
    let _ = writeln!(
        out,
        "\nroute:\n  receiver: warning\n  # Not by severity: what gets worse is the same incident.\n  group_by: [{}]\n  \
         group_wait: 5s\n  group_interval: {}\n  repeat_interval: {}\n  routes:",
        groups.join(", "),
        duration(interval.max(Duration::from_secs(1))),
        every(reminders.warning)
    );
    out.push_str("    # The engine's rules as Prometheus evaluates them: for dashboards.\n");
    out.push_str("    - receiver: nobody\n      matchers: ['evaluator=\"prometheus\"']\n");
    if pager == Pager::Engine {
        out.push_str("    # The engine has told of them itself.\n");
        out.push_str("    - receiver: nobody\n      matchers: ['origin=\"engine\"']\n");
    }
    let levels = [
        (AlertSeverity::Critical, reminders.critical),
        (AlertSeverity::Warning, reminders.warning),
        (AlertSeverity::Info, reminders.info),
    ];
    out.push_str("    # Direct alerts: nothing resolves them, and nothing repeats them.\n");
    for (severity, _) in levels {
        let _ = writeln!(
            out,
            "    - receiver: {severity}-message\n      matchers: ['kind=\"message\"', 'severity=\"{severity}\"']\n      \
             group_wait: 0s\n      repeat_interval: {}",
            duration(NEVER)
        );
    }
    for (severity, reminder) in levels {
        let _ = writeln!(out, "    - receiver: {severity}\n      matchers: ['severity=\"{severity}\"']");
        if severity == AlertSeverity::Critical {
            out.push_str("      group_wait: 0s\n");
        }
        let _ = writeln!(out, "      repeat_interval: {}", every(reminder));
    }
}

/// While an incident is critical, nobody wants to hear of it as a warning, nor that this is over.
fn inhibit(out: &mut String, rules: &RuleSet) {
    let mut equal = identity(rules);
    equal.insert("instance".to_owned());
    let equal: Vec<String> = equal.into_iter().collect();
    let equal = equal.join(", ");
    let _ = write!(
        out,
        "\ninhibit_rules:\n  - source_matchers: ['severity=\"critical\"', 'kind!=\"message\"']\n    \
         target_matchers: ['severity=~\"warning|info\"', 'kind!=\"message\"']\n    equal: [{equal}]\n  \
         - source_matchers: ['severity=\"warning\"', 'kind!=\"message\"']\n    \
         target_matchers: ['severity=\"info\"', 'kind!=\"message\"']\n    equal: [{equal}]\n"
    );
}

/// The labels that tell one incident from another. Those of a service's own metrics are not known here.
fn identity(rules: &RuleSet) -> BTreeSet<String> {
    let fixed = ["alertname", "service", "job", "origin", "channel", "rule", "incident"];
    let rows = rules.iter().filter_map(|rule| catalog::find(&rule.metric));
    let own = rows.flat_map(|row| row.labels).map(|label| label.name);
    let matched = rules.iter().flat_map(|rule| &rule.matchers).map(|matcher| matcher.label.as_str());
    let names = fixed.into_iter().chain(own).chain(matched).filter(|name| *name != "severity");
    names.map(super::label_name).collect()
}

fn includes(settings: &AlertSettings, channel: ChannelKind, severity: AlertSeverity) -> bool {
    let routes = &settings.routes;
    let route = match severity {
        AlertSeverity::Critical => &routes.critical,
        AlertSeverity::Warning => &routes.warning,
        AlertSeverity::Info => &routes.info,
    };
    // A route that leads here alone says nothing of whom to tell from here.
    let to_people = |channels: &[ChannelKind]| {
        channels.iter().any(|channel| matches!(channel, ChannelKind::Slack | ChannelKind::Telegram))
    };
    match route {
        Route::Only(channels) if to_people(channels) => channels.contains(&channel),
        _ => true,
    }
}

fn slack(
    out: &mut String,
    settings: &AlertSettings,
    secrets: Secrets,
    severity: AlertSeverity,
    resolved: bool,
) {
    let url = match (secrets, &settings.slack.webhook_url) {
        (Secrets::Files, _) => "api_url_file: /etc/alertmanager/secrets/slack_webhook_url".to_owned(),
        (Secrets::FilledIn, Some(url)) => format!("api_url: {}", quoted(url.expose_secret())),
        (Secrets::FilledIn, None) => return,
    };
    if !includes(settings, ChannelKind::Slack, severity) {
        return;
    }
    let emoji = if severity == AlertSeverity::Info { "ℹ️" } else { "⚠️" };
    let first = format!("{{{{ with index .Alerts 0 }}}}{}{{{{ end }}}}", escaped(".Annotations.title"));
    let title = headline(emoji, severity, &first);
    let text = format!(
        "{{{{ range .Alerts }}}}{}\n{}\n{{{{ end }}}}",
        escaped(".Annotations.message"),
        escaped(".Annotations.details")
    );
    let _ = writeln!(
        out,
        "    slack_configs:\n      - {url}\n        send_resolved: {resolved}\n        fallback: {}\n        \
         title: {}\n        title_link: ''\n        text: {}",
        quoted(&title),
        quoted(&title),
        quoted(&text)
    );
}

fn telegram(
    out: &mut String,
    settings: &AlertSettings,
    secrets: Secrets,
    severity: AlertSeverity,
    resolved: bool,
) {
    let telegram = &settings.telegram;
    let (token, chat) = match (secrets, &telegram.bot_token, &telegram.chat_id) {
        (Secrets::Files, ..) => (NO_TOKEN, "-1"),
        (Secrets::FilledIn, Some(token), Some(chat)) => {
            (token.expose_secret().trim(), chat.expose_secret().trim())
        }
        (Secrets::FilledIn, ..) => return,
    };
    if !includes(settings, ChannelKind::Telegram, severity) {
        return;
    }
    let emoji = match severity {
        AlertSeverity::Critical => "🔴",
        AlertSeverity::Warning => "🟡",
        AlertSeverity::Info => "🔵",
    };
    let first = "{{ with index .Alerts 0 }}{{ .Annotations.title }}{{ end }}";
    let message = format!(
        "{}\n{{{{ range .Alerts }}}}{{{{ .Annotations.message }}}}\n{{{{ .Annotations.details }}}}\n{{{{ end }}}}",
        headline(emoji, severity, first)
    );
    let _ = writeln!(
        out,
        "    telegram_configs:\n      - bot_token: {}\n        chat_id: {chat}\n        api_url: {}\n        \
         send_resolved: {resolved}\n        parse_mode: ''\n        disable_notifications: {}\n        message: {}",
        quoted(token),
        quoted(telegram.api_base_url.as_str()),
        severity != AlertSeverity::Critical,
        quoted(&message)
    );
}

/// The first line, as the engine writes it.
fn headline(emoji: &str, severity: AlertSeverity, title: &str) -> String {
    let word = severity.as_upper_str();
    format!(
        "{{{{ if eq .Status \"resolved\" }}}}✅ RESOLVED{{{{ else }}}}{emoji} {word}{{{{ end }}}}: {title}"
    )
}

/// A text that can mention nobody.
fn escaped(field: &str) -> String {
    format!("{{{{ reReplaceAll \"<\" \"&lt;\" (reReplaceAll \"&\" \"&amp;\" {field}) }}}}")
}
