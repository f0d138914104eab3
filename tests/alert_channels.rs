//! Slack and Telegram as they are on the network: every answer that a service, a proxy or a broken line can give, with
//! everything that is logged at TRACE captured, because no secret may be in it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test may panic and print"
)]

use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use secrecy::SecretString;
use tracing_subscriber::layer::SubscriberExt as _;
use trading_telemetry::alerts::channels::{Channel, HttpSettings, Outcome, Slack, Telegram};
use trading_telemetry::alerts::delivery::{Delivery, DeliverySettings, Pace};
use trading_telemetry::alerts::event::Event;
use trading_telemetry::alerts::message::Notice;
use trading_telemetry::alerts::outbox::{Opened as Outboxed, Outbox};
use trading_telemetry::clock::SystemClock;

mod support {
    pub mod alerts;
    pub mod fake;
    pub mod slack;
    pub mod telegram;
}
use support::alerts::{Critical, Info, Warning, direct};
use support::fake::{Act, Limiter};
use support::slack::{self, FakeSlack};
use support::telegram::{self, FakeTelegram};

/// Everything that anybody logs in this process.
static OUTPUT: Mutex<Vec<u8>> = Mutex::new(Vec::new());

#[derive(Clone, Copy)]
struct Output;

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        OUTPUT.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl log::Log for Output {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let _ = writeln!(Output, "{} {}", record.target(), record.args());
    }

    fn flush(&self) {}
}

/// Writes spans and events with all their fields.
struct Capture;

struct Fields(String);

impl tracing::field::Visit for Fields {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        let _ = std::fmt::Write::write_fmt(&mut self.0, format_args!(" {field}={value:?}"));
    }
}

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Capture {
    fn on_new_span(
        &self,
        attributes: &tracing::span::Attributes<'_>,
        _: &tracing::Id,
        _: tracing_subscriber::layer::Context<'_, S>,
    ) {
        let mut fields = Fields(format!("span {}", attributes.metadata().name()));
        attributes.record(&mut fields);
        let _ = writeln!(Output, "{}", fields.0);
    }

    fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        let mut fields = Fields(format!("event {}", event.metadata().target()));
        event.record(&mut fields);
        let _ = writeln!(Output, "{}", fields.0);
    }
}

fn capture() {
    static INSTALLED: OnceLock<()> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        let subscriber = tracing_subscriber::registry().with(Capture);
        tracing::subscriber::set_global_default(subscriber).unwrap();
        log::set_logger(&Output).unwrap();
        log::set_max_level(log::LevelFilter::Trace);
    });
}

fn captured() -> String {
    String::from_utf8_lossy(&OUTPUT.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
}

fn assert_no_secret(text: &str) {
    for secret in [slack::SECRET, telegram::SECRET, telegram::TOKEN, "/services/T0"] {
        if let Some(at) = text.find(secret) {
            let from = text[..at].rfind('\n').map_or(0, |at| at + 1);
            panic!("a secret is shown: {}", text[from..].lines().next().unwrap());
        }
    }
}

/// Short limits, so that silence ends soon.
fn http() -> HttpSettings {
    HttpSettings {
        connect_timeout: Duration::from_secs(1),
        request_timeout: Duration::from_millis(700),
        ..HttpSettings::default()
    }
}

fn fast() -> Pace {
    Pace::new(1000, Duration::from_millis(1))
}

fn slack_at(url: String) -> Slack {
    Slack::new(SecretString::from(url), &http()).unwrap().with_pace(fast())
}

fn telegram_at(base_url: &str, token: &str, chat: &str) -> Telegram {
    Telegram::new(base_url, &SecretString::from(token), chat, &http()).unwrap().with_pace(fast())
}

fn notice() -> Notice {
    Notice::new(direct(Critical, "Kill Switch Activated"), Arc::default())
}

fn temporary(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("trading-telemetry-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    folder
}

/// What a person would read of an outcome.
fn shown(outcome: &Outcome) -> String {
    match outcome {
        Outcome::TryAgain(why) | Outcome::Unclear(why) | Outcome::Reformat(why) | Outcome::Dead(why) => {
            format!("{why} {outcome:?}")
        }
        other => format!("{other:?}"),
    }
}

#[tokio::test]
async fn every_answer_of_a_slack_server_has_its_class_and_shows_no_secret() {
    capture();
    let server = FakeSlack::start();
    let channel = slack_at(server.webhook_url());
    let echo = format!("no page at {}", slack::PATH);
    let cases = [
        (Act::Honest, "accepted"),
        (Act::Hold(Duration::from_millis(100)), "accepted"),
        (Act::slow_down(7), "slow"),
        (Act::status(500, "rollup_error"), "again"),
        (Act::status(503, &echo), "again"),
        (Act::status(408, ""), "again"),
        (Act::Portal, "again"),
        (Act::status(204, ""), "again"),
        (Act::Garbage, "again"),
        (Act::CutShort, "again"),
        (Act::Endless, "again"),
        (Act::Reset, "again"),
        (Act::AcceptThenReset, "again"),
        (Act::Silence, "again"),
        (Act::status(400, "invalid_payload"), "reformat"),
        (Act::status(400, "no_text"), "reformat"),
        (Act::status(400, &echo), "unclear"),
        (Act::status(403, "invalid_token"), "dead"),
        (Act::status(404, &echo), "dead"),
        (Act::status(410, "channel_is_archived"), "dead"),
        (Act::redirect("http://127.0.0.1:1/elsewhere"), "dead"),
        (Act::redirect(&server.webhook_url()), "dead"),
    ];
    for (act, class) in cases {
        let before = server.fake.arrivals().len();
        server.fake.script([act.clone()]);
        let outcome = channel.send(&notice()).await;
        assert_eq!(class_of(&outcome), class, "{act:?} gave {outcome:?}");
        assert_no_secret(&shown(&outcome));
        assert_eq!(server.fake.arrivals().len(), before + 1, "one request, no redirect followed: {act:?}");
    }
    assert_eq!(server.problems(), Vec::<String>::new());
    assert_no_secret(&format!("{channel:?}"));
    assert_no_secret(&captured());
}

#[tokio::test]
async fn every_answer_of_a_telegram_server_has_its_class_and_shows_no_secret() {
    capture();
    let server = FakeTelegram::start();
    let channel = telegram_at(&server.fake.base_url(), telegram::TOKEN, telegram::CHAT);
    let echo = format!("Not Found: /bot{}/sendMessage", telegram::TOKEN);
    let cases = [
        (Act::Honest, "accepted"),
        (telegram::flood(5), "slow"),
        (Act::slow_down(5), "slow"),
        (Act::status(502, &echo), "again"),
        (Act::Portal, "again"),
        (Act::status(200, r#"{"ok":false}"#), "again"),
        (Act::Garbage, "again"),
        (Act::CutShort, "again"),
        (Act::Endless, "again"),
        (Act::Reset, "again"),
        (Act::Silence, "again"),
        (telegram::refusal(400, "Bad Request: can't parse entities: Can't find end"), "reformat"),
        (telegram::refusal(400, "Bad Request: message is too long"), "reformat"),
        (telegram::refusal(400, &echo), "unclear"),
        (telegram::refusal(400, "Bad Request: chat not found"), "dead"),
        (telegram::refusal(401, "Unauthorized"), "dead"),
        (telegram::refusal(403, "Forbidden: bot was blocked by the user"), "dead"),
        (telegram::refusal(404, &echo), "dead"),
        (Act::redirect("http://127.0.0.1:1/elsewhere"), "dead"),
    ];
    for (act, class) in cases {
        let before = server.fake.arrivals().len();
        server.fake.script([act.clone()]);
        let outcome = channel.send(&notice()).await;
        assert_eq!(class_of(&outcome), class, "{act:?} gave {outcome:?}");
        assert_no_secret(&shown(&outcome));
        assert_eq!(server.fake.arrivals().len(), before + 1, "one request, no redirect followed: {act:?}");
    }
    assert_eq!(server.problems(), Vec::<String>::new());
    assert_no_secret(&format!("{channel:?}"));
    assert_no_secret(&captured());
}

fn class_of(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Accepted => "accepted",
        Outcome::SlowDown(_) => "slow",
        Outcome::TryAgain(_) => "again",
        Outcome::Unclear(_) => "unclear",
        Outcome::Reformat(_) => "reformat",
        Outcome::Moved => "moved",
        Outcome::Dead(_) => "dead",
    }
}

#[tokio::test]
async fn servers_that_cannot_be_reached_are_tried_again() {
    capture();
    // A port that nobody listens on, a name that does not exist, and TLS to a server that speaks none.
    let server = FakeSlack::start();
    let nowhere = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let tls = server.webhook_url().replace("http://", "https://");
    for url in [
        format!("http://{nowhere}{}", slack::PATH),
        format!("https://no-such-host.invalid{}", slack::PATH),
        tls,
    ] {
        let outcome = slack_at(url).send(&notice()).await;
        assert_eq!(class_of(&outcome), "again", "{outcome:?}");
        assert_no_secret(&shown(&outcome));
    }
    assert_no_secret(&captured());
}

#[tokio::test]
async fn a_wrong_secret_or_recipient_is_a_dead_channel() {
    let slack = FakeSlack::start();
    let telegram = FakeTelegram::start();
    let base = telegram.fake.base_url();
    let wrong_hook = slack.webhook_url().replace(slack::SECRET, "XXother");
    let no_hook = slack.webhook_url().replace("T00000000", "T99999999");
    for outcome in [
        slack_at(wrong_hook).send(&notice()).await,
        slack_at(no_hook).send(&notice()).await,
        telegram_at(&base, "123456789:wrong", telegram::CHAT).send(&notice()).await,
        telegram_at(&base, "nonsense", telegram::CHAT).send(&notice()).await,
        telegram_at(&base, telegram::TOKEN, "-99").send(&notice()).await,
    ] {
        assert_eq!(class_of(&outcome), "dead", "{outcome:?}");
    }
}

#[tokio::test]
async fn a_critical_alert_outlasts_a_proxy_that_answers_bad_request() {
    let slack = FakeSlack::start();
    slack
        .fake
        .script([Act::status(400, "<html>Bad Request</html>"), Act::status(400, "<html>Bad Request</html>")]);
    let channel: Arc<dyn Channel> = Arc::new(slack_at(slack.webhook_url()));
    let clock = Arc::new(SystemClock::new());
    let outbox = Outbox::in_memory();
    let delivery =
        Delivery::start(DeliverySettings::default(), vec![channel], outbox, &Outboxed::default(), clock);
    delivery.submit(direct(Critical, "Kill Switch Activated"));
    let accepted = slack.fake.wait_for_accepted(1).await;
    assert!(accepted[0].body.contains("*Kill Switch Activated*"), "in its full form: {}", accepted[0].body);
}

#[tokio::test]
async fn a_long_message_that_telegram_has_taken_is_not_sent_again() {
    let server = FakeTelegram::start();
    let channel = telegram_at(&server.fake.base_url(), telegram::TOKEN, telegram::CHAT);
    for message in ["x".repeat(5000), "🔴".repeat(5000)] {
        let event = Event { message, ..direct(Critical, "Reconciliation") };
        assert_eq!(channel.send(&Notice::new(event, Arc::default())).await, Outcome::Accepted);
    }
    assert_eq!(server.problems(), Vec::<String>::new());
}

#[tokio::test]
async fn a_group_that_became_a_supergroup_is_followed() {
    let server = FakeTelegram::start();
    let channel = telegram_at(&server.fake.base_url(), telegram::TOKEN, telegram::CHAT);
    server.move_chat(-1_001_234_567_890);
    assert_eq!(channel.send(&notice()).await, Outcome::Moved);
    assert_eq!(channel.send(&notice()).await, Outcome::Accepted);
    assert!(server.fake.accepted()[0].body.contains("-1001234567890"));
}

#[test]
fn settings_that_cannot_work_are_refused_without_showing_them() {
    let slack = |url: &str| Slack::new(SecretString::from(url), &http()).unwrap_err().to_string();
    let telegram = |token: &str, chat: &str| {
        let token = SecretString::from(token);
        Telegram::new(Telegram::BASE_URL, &token, chat, &http()).unwrap_err().to_string()
    };
    for error in [
        slack("hooks.slack.com/services/T00000000/B/XXhookSecretXXhookSecret"),
        slack("http://hooks.slack.com/services/T00000000/B/XXhookSecretXXhookSecret"),
        slack("ftp://hooks.slack.com/services/T00000000/B/XXhookSecretXXhookSecret"),
        telegram("123:AAtelegramSecretAAtelegramSecretAA/../", "1"),
        telegram("", "1"),
        telegram(telegram::TOKEN, " "),
    ] {
        assert_no_secret(&error);
        assert!(error.contains("write") || error.contains("ask") || error.contains("https"), "{error}");
    }
    // The real services' URLs make clients without a request.
    let real = format!("https://hooks.slack.com{}", slack::PATH);
    drop(Slack::new(SecretString::from(real), &http()));
}

#[tokio::test]
async fn no_secret_is_in_any_output_span_file_or_error_of_a_whole_delivery() {
    capture();
    let folder = temporary("secrets");
    let (slack, telegram) = (FakeSlack::start(), FakeTelegram::start());
    let slack_channel = slack_at(slack.webhook_url());
    let telegram_channel = telegram_at(&telegram.fake.base_url(), telegram::TOKEN, telegram::CHAT);
    slack.fake.script([Act::Reset, Act::Garbage, Act::status(400, "invalid_payload"), Act::slow_down(1)]);
    telegram.fake.script([telegram::refusal(401, "Unauthorized")]);
    let (outbox, opened) = Outbox::open(&folder.join("secrets.redb"));
    let clock = Arc::new(SystemClock::new());
    let channels: Vec<Arc<dyn Channel>> = vec![Arc::new(slack_channel), Arc::new(telegram_channel)];
    let delivery = Delivery::start(DeliverySettings::default(), channels, outbox, &opened, clock);
    delivery.submit(direct(Critical, "urgent"));
    slack.fake.wait_for_accepted(2).await;
    telegram.fake.wait_for(1).await;
    telegram.fake.always(telegram::refusal(401, "Unauthorized"));
    let error = delivery.test_channel("telegram").await.unwrap_err();
    assert!(error.is_refused());
    assert_no_secret(&format!("{error} {error:?} {delivery:?}"));
    let drained = delivery.shutdown(Duration::from_secs(1)).await;
    assert!(drained.stored, "{drained:?}");
    assert!(!drained.unsent.is_empty());

    for file in std::fs::read_dir(&folder).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.is_empty());
        assert_no_secret(&String::from_utf8_lossy(&bytes));
    }
    let output = captured();
    assert_no_secret(&output);
    // What must be in it, or this test would prove nothing.
    for line in ["alert_channel_failing", "alert_channel_dead", "title=\"urgent\""] {
        assert!(output.contains(line), "{line} is not in the output");
    }
    assert!(!output.contains("hyper_util"), "our own traffic is not traced");
    let _ = std::fs::remove_dir_all(folder);
}

#[tokio::test]
async fn the_log_shows_severity_and_metadata_as_fields() {
    capture();
    let mut event = direct(Warning, "Model drift beyond the usual");
    event.message = "PSI is high".into();
    event.metadata = vec![("psi".into(), 0.12.into()), ("title".into(), "no collision".into())];
    let channel = trading_telemetry::alerts::channels::LogChannel::default();
    channel.write(&event);
    channel.write(&event);
    let output = captured();
    let lines: Vec<&str> = output.lines().filter(|line| line.contains("Model drift beyond")).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(
        lines[0],
        "event trading_telemetry::alerts message=\"alert\" severity=\"warning\" title=\"Model drift beyond the usual\" \
         message=\"PSI is high\" incident=\"direct-Model drift beyond the usual\" psi=0.12 title_=\"no collision\""
    );
    // A service that makes up names does not make the process grow for ever.
    for number in 0..400 {
        event.title = format!("made up {number}");
        event.metadata = vec![(format!("name_{number}"), number.into())];
        channel.write(&event);
    }
    assert!(captured().contains("title=\"made up 399\" message=\"PSI is high\""));
    assert!(captured().contains("metadata=\"name_399=399\""));
}

#[tokio::test]
async fn after_retry_after_7_nothing_comes_for_seven_seconds_and_then_one_message() {
    let server = FakeSlack::start();
    server.fake.script([Act::slow_down(7)]);
    let channel = slack_at(server.webhook_url());
    let delivery = Delivery::start(
        DeliverySettings::default(),
        vec![Arc::new(channel)],
        Outbox::in_memory(),
        &trading_telemetry::alerts::outbox::Opened::default(),
        Arc::new(SystemClock::new()),
    );
    delivery.submit(direct(Critical, "urgent"));
    let arrivals = server.fake.wait_for(2).await;
    let pause = arrivals[1].at - arrivals[0].at;
    assert!(pause >= Duration::from_secs(7), "{pause:?}");
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(server.fake.arrivals().len(), 2);
    drop(delivery);
}

#[tokio::test]
async fn a_pace_within_the_limits_is_never_banned_and_a_ban_is_waited_out() {
    // The services' clocks, some times as fast; a ban grows with each request that comes too early.
    let limit = |every| Some(Limiter::new(4, Duration::from_millis(every), Duration::from_secs(1)));
    let (tame, hasty) = (FakeSlack::with_limit(limit(20)), FakeTelegram::with_limit(limit(200)));
    let tame_channel = slack_at(tame.webhook_url()).with_pace(Pace::new(4, Duration::from_millis(25)));
    let hasty_channel = telegram_at(&hasty.fake.base_url(), telegram::TOKEN, telegram::CHAT);
    let delivery = Delivery::start(
        DeliverySettings::default(),
        vec![Arc::new(tame_channel), Arc::new(hasty_channel)],
        Outbox::in_memory(),
        &trading_telemetry::alerts::outbox::Opened::default(),
        Arc::new(SystemClock::new()),
    );
    for number in 0..12 {
        delivery.submit(direct(Info, &format!("i{number}")));
    }
    tame.fake.wait_for_accepted(12).await;
    assert!(tame.fake.arrivals().iter().all(|arrival| arrival.status == 200), "never too fast");
    let began = Instant::now();
    hasty.fake.wait_for_accepted(12).await;
    // Each ban is waited out, so that none of them grows: 12 messages are three bursts.
    let refused = hasty.fake.arrivals().iter().filter(|arrival| arrival.status == 429).count();
    assert!((1..=4).contains(&refused), "{refused} refusals");
    assert!(began.elapsed() < Duration::from_secs(20));
    drop(delivery);
}
