//! A whole service: its settings, its own port, the API's port with axum, real servers, every log line at `trace`.
#![cfg(all(target_os = "linux", feature = "postgres", feature = "redis"))]
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use serde_json::Value;
use trading_telemetry::health::{Check, Down};
use trading_telemetry::{OrderStatus, OrderType, Side, Telemetry};

#[path = "support/patience.rs"]
mod patience;
#[path = "support/servers.rs"]
mod servers;

use patience::{Answers, eventually};

/// With what a URL has to escape.
const PASSWORD: &str = "c0rrect/h0rse@1%";
const ESCAPED: &str = "c0rrect%2Fh0rse%401%25";

/// What a GET answered, and how long it took.
struct Got {
    status: u16,
    body: String,
    took: Duration,
}

impl Got {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    fn value(&self, series: &str) -> Option<f64> {
        self.body.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
    }
}

struct Client {
    runtime: tokio::runtime::Runtime,
    client: reqwest::Client,
}

impl Client {
    fn new() -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        Self { runtime, client: reqwest::Client::builder().no_proxy().build().unwrap() }
    }

    fn get(&self, address: SocketAddr, path: &str) -> Got {
        let start = Instant::now();
        let (status, body) = self.runtime.block_on(async {
            let answer = self.client.get(format!("http://{address}{path}")).send().await.unwrap();
            (answer.status().as_u16(), answer.text().await.unwrap())
        });
        Got { status, body, took: start.elapsed() }
    }
}

/// The API's server of its own, with our service mounted in axum.
fn api(client: &Client, telemetry: &Telemetry) -> SocketAddr {
    let swing = telemetry.metrics().strategy("SwingMomentum");
    let order = move || async move {
        swing.order(Side::Buy, OrderType::Limit, OrderStatus::Filled);
        "filled"
    };
    let ours = telemetry.service();
    let api = Router::new().route("/order", get(order)).fallback_service(ours);
    client.runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, api).await });
        address
    })
}

/// As the check of HTTP sends them.
fn basic_credentials(user: &str, password: &str) -> String {
    let request = reqwest::Client::new().get("http://127.0.0.1/").basic_auth(user, Some(password)).build();
    let header = request.unwrap().headers()["authorization"].to_str().unwrap().to_owned();
    header.strip_prefix("Basic ").unwrap().to_owned()
}

/// To a real Prometheus with both jobs one order is one.
fn counts_once(client: &Client, api: SocketAddr, own: SocketAddr) {
    let Some(prometheus) = servers::prometheus(&[("api", api), ("metrics", own)]) else { return };
    let address = SocketAddr::from(([127, 0, 0, 1], prometheus.port));
    let value = |query: &str| -> Option<f64> {
        let answer = client.get(address, &format!("/api/v1/query?query={query}"));
        // It is not ready at once.
        let answer = (answer.status == 200).then(|| answer.json())?;
        answer["data"]["result"][0]["value"][1].as_str()?.parse().ok()
    };
    eventually("both are scraped", || value("sum(up)") == Some(2.0));
    eventually("the order is there", || value("sum(trading_orders_total)").is_some());
    assert_eq!(value("sum(trading_orders_total)"), Some(1.0));
    assert_eq!(value("count(trading_system_info)"), Some(2.0), "both know who they are");
}

/// Asks while components that are lost still look up.
fn nobody_waits(client: &Client, addresses: [SocketAddr; 2], look_up: &dyn Fn() -> bool) {
    let (lost, mut answers) = (Instant::now(), Answers::default());
    while look_up() {
        for path in ["/metrics", "/ready", "/health"] {
            for address in addresses {
                answers.add(path, client.get(address, path).took);
            }
        }
        assert!(lost.elapsed() < Duration::from_secs(10), "redis and database are still up");
    }
    // What a check may take.
    answers.assert_none_waits(Duration::from_secs(1));
}

#[test]
fn a_service_shows_its_health_on_two_ports_never_waits_for_it_and_tells_no_password() {
    let Some(redis) = servers::redis(PASSWORD, None) else { return };
    let Some(mut postgres) = servers::postgres(PASSWORD, 20, None) else { return };
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("settings.yaml");
    let (redis_port, postgres_port, refused) = (redis.port, postgres.port, servers::free_port());
    let text = format!(
        r#"
monitoring: {{health_check_interval_seconds: 0.2}}
health:
  timeout_seconds: 1
  checks:
    redis: {{kind: redis, url: "redis://:{ESCAPED}@127.0.0.1:{redis_port}/0", critical: true}}
    database: {{kind: postgres, url: "postgres://trader:{ESCAPED}@127.0.0.1:{postgres_port}/postgres"}}
    wrong_redis: {{kind: redis, url: "redis://trader:wr0ng-h0rse@127.0.0.1:{redis_port}/0"}}
    wrong_database: {{kind: postgres, url: "postgres://trader:wr0ng%2Dh0rse@127.0.0.1:{postgres_port}/postgres"}}
    http_to_redis: {{kind: http, url: "http://trader:wr0ng-h0rse@127.0.0.1:{redis_port}/?token=wr0ng-h0rse", status: 204}}
    tls_redis: {{kind: redis, url: "rediss://:{ESCAPED}@127.0.0.1:{redis_port}"}}
    tls_database: {{kind: postgres, url: "postgres://trader:{ESCAPED}@127.0.0.1:{postgres_port}/postgres?sslmode=require"}}
    tls_http: {{kind: http, url: "https://trader:{ESCAPED}@127.0.0.1:{redis_port}/?token={ESCAPED}"}}
    no_database: {{kind: postgres, url: "postgres://trader:{ESCAPED}@127.0.0.1:{postgres_port}/nowhere"}}
    unescaped: {{kind: postgres, url: "postgres://trader:wr0ng/h0rse@127.0.0.1:{postgres_port}/postgres"}}
    refused: {{kind: http, url: "https://trader:wr0ng-h0rse@127.0.0.1:{refused}/?password=wr0ng-h0rse"}}
"#
    );
    fs::write(&settings, text).unwrap();
    let log = folder.path().join("log/service.log");
    let telemetry = Telemetry::builder()
        .service_name("api")
        .settings_file(&settings)
        .set("monitoring.prometheus_port", servers::free_port().to_string())
        .set("logging.file", log.display().to_string())
        .set("logging.filter", "trace")
        .init()
        .unwrap();
    let own = telemetry.metrics_addresses()[0];
    let client = Client::new();
    let api = api(&client, &telemetry);
    tracing::trace!("everything_is_written");
    let health = telemetry.health();
    let is_up = |component: &str| health.component(component).is_some_and(|component| component.is_up());
    health.add(Check::new("pool", || async {
        Err::<(), _>(format!("pool of postgres://trader:{PASSWORD}@db/trading is closed"))
    }));
    health.add(Check::new("broken", || async {
        if true { panic!("no session at redis://:{PASSWORD}@h/") } else { Ok::<(), String>(()) }
    }));
    health.report("broker", Down("closed by wss://trader:c0rrect-h0rse@broker/ with password=c0rrect-h0rse"));

    // Ready, with the same answer on both ports; liveness asks nobody.
    eventually("all are asked", || health.components().iter().all(|one| one.age.is_some()));
    eventually("the good ones are up", || is_up("redis") && is_up("database"));
    for address in [own, api] {
        let ready = client.get(address, "/ready");
        assert_eq!((ready.status, &ready.json()["status"]), (200, &"ready".into()), "{}", ready.body);
        assert_eq!(ready.json()["components"]["redis"]["status"], "up");
        for component in ["wrong_redis", "tls_redis", "tls_database", "no_database", "unescaped", "broken"] {
            assert_eq!(ready.json()["components"][component]["status"], "down", "{component}");
        }
        assert_eq!(client.get(address, "/health").json()["status"], "alive");
    }

    // An order is counted once over both scrapes; health is on both.
    assert_eq!(client.get(api, "/order").body, "filled");
    let (ours, mounted) = (client.get(own, "/metrics"), client.get(api, "/metrics"));
    let order = "trading_orders_total{order_type=\"LIMIT\",side=\"BUY\",status=\"FILLED\",strategy=\"SwingMomentum\"}";
    assert_eq!(ours.value(order), Some(1.0));
    assert_eq!(mounted.value(order), None);
    assert!(
        !mounted.body.contains("trading_orders") && !mounted.body.contains("process_"),
        "{}",
        mounted.body
    );
    for scrape in [&ours, &mounted] {
        assert_eq!(scrape.value("trading_component_up{component=\"redis\"}"), Some(1.0));
        assert!(scrape.body.contains("trading_system_info{"), "{}", scrape.body);
    }

    counts_once(&client, api, own);

    // Frozen and stopped servers: known within timeout and interval, and nobody waits for them.
    redis.freeze();
    postgres.stop();
    nobody_waits(&client, [own, api], &|| is_up("redis") || is_up("database"));
    let ready = client.get(own, "/ready");
    assert_eq!((ready.status, &ready.json()["status"]), (503, &"not_ready".into()));
    assert_eq!(ready.json()["components"]["redis"]["last_error"], "no answer within 1s");
    assert_eq!(client.get(own, "/health").status, 200);
    redis.thaw();
    eventually("it is ready again", || client.get(api, "/ready").status == 200);

    // Not a word of a password anywhere.
    let seen = [
        client.get(own, "/metrics").body,
        client.get(own, "/ready").body,
        client.get(own, "/health").body,
        format!("{health:?} {telemetry:?} {:?}", health.components()),
    ]
    .concat();
    telemetry.shutdown().unwrap();
    let lines = fs::read_to_string(&log).unwrap();
    for event in ["everything_is_written", "component_down", "component_up", "\"component\": \"broker\""] {
        assert!(lines.contains(event), "no {event} in {lines}");
    }
    let basic = basic_credentials("trader", PASSWORD);
    for secret in ["h0rse", "c0rrect", "wr0ng", &basic] {
        assert!(!seen.contains(secret), "{secret} in {seen}");
        let line = lines.lines().find(|line| line.contains(secret));
        assert!(line.is_none(), "{secret} in {line:?}");
    }
}
