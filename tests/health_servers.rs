//! The checks against real servers that are stopped, frozen, full, restarted, and asked with wrong passwords and databases.
#![cfg(all(target_os = "linux", feature = "postgres", feature = "redis"))]
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "helpers of tests fail as tests do")]

use std::time::{Duration, Instant};

use trading_telemetry::health::{Check, Health, Http, Postgres, Probe, Redis, Status, Tcp};
use trading_telemetry::testing::TestTelemetry;

#[path = "support/patience.rs"]
mod patience;
#[path = "support/servers.rs"]
mod servers;

use patience::eventually;

const PASSWORD: &str = "c0rrect-h0rse";
const EVERY: Duration = Duration::from_millis(100);
const TIMEOUT: Duration = Duration::from_secs(2);

fn is_up(health: &Health, component: &str) -> bool {
    health.component(component).is_some_and(|component| component.is_up())
}

fn error(health: &Health, component: &str) -> Option<String> {
    health.component(component).filter(|component| component.status == Status::Down)?.last_error
}

#[track_caller]
fn fails_with(health: &Health, component: &str, expected: &str) {
    eventually(&format!("{component}: {expected}, not {:?}", health.component(component)), || {
        error(health, component).is_some_and(|error| error.contains(expected))
    });
}

fn watch_redis(health: &Health, component: &str, url: String) {
    health.add(Check::new(component, Redis::new(url).unwrap()).interval(EVERY).timeout(TIMEOUT));
}

fn watch_postgres(health: &Health, component: &str, url: String) {
    health.add(Check::new(component, Postgres::new(url).unwrap()).interval(EVERY).timeout(TIMEOUT));
}

#[test]
fn redis_is_seen_frozen_stopped_and_back() {
    let Some(mut redis) = servers::redis(PASSWORD, None) else { return };
    let telemetry = TestTelemetry::new();
    let health = telemetry.health();
    let url =
        |password: &str, database: u32| format!("redis://:{password}@127.0.0.1:{}/{database}", redis.port);
    watch_redis(health, "redis", url(PASSWORD, 0));
    watch_redis(health, "wrong_password", url("wr0ng-h0rse", 0));
    watch_redis(health, "no_password", format!("redis://127.0.0.1:{}", redis.port));
    watch_redis(health, "wrong_database", url(PASSWORD, 99));
    eventually("it is up", || is_up(health, "redis"));
    fails_with(health, "wrong_password", "AuthenticationFailed");
    fails_with(health, "no_password", "NOAUTH");
    fails_with(health, "wrong_database", "out of range");

    redis.freeze();
    let frozen = Instant::now();
    eventually("frozen is down", || !is_up(health, "redis"));
    // The timeout, the interval, and time for a busy machine.
    assert!(frozen.elapsed() < TIMEOUT + EVERY + Duration::from_secs(10), "{:?}", frozen.elapsed());
    assert_eq!(error(health, "redis").unwrap(), "no answer within 2s");
    assert!(telemetry.scrape().contains("trading_component_up{component=\"redis\"} 0.0\n"));
    redis.thaw();
    eventually("it is back", || is_up(health, "redis"));

    redis.stop();
    fails_with(health, "redis", "refused");
    redis.restart();
    eventually("it is back", || is_up(health, "redis"));
    let all = format!("{:?} {}", health.components(), telemetry.scrape());
    assert!(!all.contains("h0rse"), "{all}");
}

#[test]
fn postgres_is_seen_full_frozen_stopped_and_back() {
    const CONNECTIONS: usize = 8;
    let Some(mut postgres) = servers::postgres(PASSWORD, CONNECTIONS, None) else { return };
    let telemetry = TestTelemetry::new();
    let health = telemetry.health();
    let url = |password: &str, database: &str| {
        format!("postgres://trader:{password}@127.0.0.1:{}/{database}", postgres.port)
    };
    let good = url(PASSWORD, "postgres");
    watch_postgres(health, "database", good.clone());
    eventually("it is up", || is_up(health, "database"));
    watch_postgres(health, "wrong_password", url("wr0ng-h0rse", "postgres"));
    watch_postgres(health, "wrong_database", url(PASSWORD, "nowhere"));
    watch_postgres(health, "no_tls", url(PASSWORD, "postgres?sslmode=require"));
    fails_with(health, "wrong_password", "28P01: password authentication failed for user \"trader\"");
    fails_with(health, "wrong_database", "3D000: database \"nowhere\" does not exist");
    fails_with(health, "no_tls", "server does not support TLS");
    // These would take the connections that the next part counts.
    for done in ["wrong_password", "wrong_database", "no_tls"] {
        health.add(Check::new(done, || async { Ok::<(), String>(()) }));
    }

    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut held = Vec::new();
    while held.len() < CONNECTIONS {
        // The check takes one now and then.
        match runtime.block_on(tokio_postgres::connect(&good, tokio_postgres::NoTls)) {
            Ok((client, connection)) => held.push((client, runtime.spawn(connection))),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
    fails_with(health, "database", "53300: sorry, too many clients already");
    drop(held);
    eventually("there is room again", || is_up(health, "database"));

    postgres.freeze();
    fails_with(health, "database", "no answer within 2s");
    postgres.thaw();
    eventually("it is back", || is_up(health, "database"));

    postgres.stop();
    fails_with(health, "database", "refused");
    postgres.restart();
    eventually("it is back", || is_up(health, "database"));
    let all = format!("{:?} {}", health.components(), telemetry.scrape());
    assert!(!all.contains("h0rse"), "{all}");
}

#[test]
fn a_redis_that_takes_no_more_clients_is_down_and_back_when_there_is_room() {
    let Some(redis) = servers::redis(PASSWORD, None) else { return };
    let telemetry = TestTelemetry::new();
    let health = telemetry.health();
    let url = format!("redis://:{PASSWORD}@127.0.0.1:{}", redis.port);
    watch_redis(health, "redis", url.clone());
    eventually("it is up", || is_up(health, "redis"));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let client = redis::Client::open(url).unwrap();
    let mut held = vec![runtime.block_on(client.get_multiplexed_async_connection()).unwrap()];
    let set = redis::cmd("CONFIG").arg(&["SET", "maxclients", "1"]).to_owned();
    runtime.block_on(set.query_async::<()>(&mut held[0])).unwrap();
    // The server may hang up before what it says is read.
    fails_with(health, "redis", "max");
    drop(held.pop());
    eventually("there is room again", || is_up(health, "redis"));
}

#[test]
fn behind_a_firewall_that_swallows_packets_every_check_is_down_within_its_timeout() {
    let (address, _held) = servers::swallower();
    let telemetry = TestTelemetry::new();
    let health = telemetry.health();
    let limit = Duration::from_millis(500);
    health.add(Check::new("tcp", Tcp::new(address.to_string()).unwrap()).timeout(limit));
    let url = |scheme: &str| format!("{scheme}://trader:{PASSWORD}@{address}/0");
    health.add(Check::new("http", Http::new(url("http")).unwrap()).timeout(limit));
    health.add(Check::new("https", Http::new(url("https")).unwrap()).timeout(limit));
    health.add(Check::new("redis", Redis::new(url("redis")).unwrap()).timeout(limit));
    health.add(Check::new("rediss", Redis::new(url("rediss")).unwrap()).timeout(limit));
    health.add(Check::new("postgres", Postgres::new(url("postgres")).unwrap()).timeout(limit));
    for component in ["tcp", "http", "https", "redis", "rediss", "postgres"] {
        fails_with(health, component, "no answer within 500ms");
    }
}

#[test]
fn hundreds_of_checks_of_a_frozen_server_leave_no_connection_behind() {
    let Some(redis) = servers::redis(PASSWORD, None) else { return };
    let telemetry = TestTelemetry::new();
    let health = telemetry.health();
    let sockets = || {
        let files = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
        let links = files.filter_map(|file| std::fs::read_link(file.path()).ok());
        links.filter(|link| link.to_string_lossy().starts_with("socket:")).count()
    };
    redis.freeze();
    let before = sockets();
    for number in 0..20 {
        let url = format!("redis://:{PASSWORD}@127.0.0.1:{}", redis.port);
        let check = Check::new(format!("redis{number}"), Redis::new(url).unwrap());
        health.add(check.interval(EVERY).timeout(EVERY));
    }
    std::thread::sleep(Duration::from_secs(3));
    // Other tests of this binary have some too.
    assert!(sockets() < before + 60, "{} sockets after {before}", sockets());
}

#[test]
fn tls_is_verified_against_the_certificates_that_are_named() {
    let made = servers::certificate();
    let Some(redis) = servers::redis(PASSWORD, Some(&made)) else { return };
    let Some(postgres) = servers::postgres(PASSWORD, 20, Some(&made)) else { return };
    let telemetry = TestTelemetry::new();
    let health = telemetry.health();
    let redis_url = format!("rediss://:{PASSWORD}@127.0.0.1:{}", redis.port);
    let postgres_url = |mode: &str| {
        format!("postgres://trader:{PASSWORD}@127.0.0.1:{}/postgres?sslmode={mode}", postgres.port)
    };
    let pem = made.0.as_bytes();

    watch_redis(health, "redis_unknown", redis_url.clone());
    let trusting = Redis::new(redis_url).unwrap().trust(pem).unwrap();
    health.add(Check::new("redis", trusting).interval(EVERY));
    watch_postgres(health, "postgres_unknown", postgres_url("require"));
    watch_postgres(health, "postgres_prefer", postgres_url("prefer"));
    let trusting = Postgres::new(postgres_url("verify-full")).unwrap().trust(pem).unwrap();
    health.add(Check::new("postgres", trusting).interval(EVERY));

    fails_with(health, "redis_unknown", "UnknownIssuer");
    fails_with(health, "postgres_unknown", "UnknownIssuer");
    for component in ["redis", "postgres", "postgres_prefer"] {
        eventually(&format!("{component} is up: {:?}", health.component(component)), || {
            is_up(health, component)
        });
    }
    assert!(Redis::new(format!("rediss://:{PASSWORD}@h/#insecure")).is_err());
}

#[test]
fn a_name_is_looked_up_on_the_checks_own_thread_so_that_a_silent_name_server_takes_no_other_ones() {
    async fn refused(probe: impl Probe) {
        let answer = tokio::time::timeout(Duration::from_secs(10), probe.probe()).await;
        let error = answer.expect("it waits for the thread that is held").unwrap_err();
        assert!(error.as_str().contains("refused"), "{error}");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build();
    let (release, held) = std::sync::mpsc::channel::<()>();
    let port = servers::free_port();
    runtime.unwrap().block_on(async {
        tokio::task::spawn_blocking(move || held.recv());
        refused(Tcp::new(format!("localhost:{port}")).unwrap()).await;
        refused(Http::new(format!("http://localhost:{port}/")).unwrap()).await;
        refused(Redis::new(format!("redis://localhost:{port}")).unwrap()).await;
        drop(release);
    });
}
