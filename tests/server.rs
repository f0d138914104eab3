//! The endpoint of a running service: what it answers, and what it survives.
#![expect(clippy::unwrap_used, reason = "a service of a test that cannot go on fails, and the test with it")]
#![expect(clippy::redundant_closure, reason = "the closure's name is that of the test")]

#[path = "support/http.rs"]
mod http;
#[path = "support/process.rs"]
mod process;

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use flate2::read::GzDecoder;
use http::{connect, request, request_at, response, scrape, try_scrape, value};
use process::{events, eventually, port, service, until_told};
use trading_telemetry::{OrderStatus, OrderType, RiskResult, Side, init_telemetry};

const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A service with a strategy and one order that was filled.
fn serve() {
    let telemetry = init_telemetry().unwrap();
    let strategy = telemetry.metrics().strategy("SwingMomentum");
    strategy.order(Side::Buy, OrderType::Limit, OrderStatus::Filled);
    until_told();
    telemetry.shutdown().unwrap();
}

const FILLED: &str =
    r#"trading_orders_total{order_type="LIMIT",side="BUY",status="FILLED",strategy="SwingMomentum"}"#;

/// Waits until [`serve`] has begun and counted its order.
fn served(port: u16, headers: &[(&str, &str)]) {
    eventually("the order", || {
        let response = request(port, "GET", "/metrics", headers).ok()?;
        (value(response.text(), FILLED) == Some(1.0)).then_some(())
    });
}

#[test]
fn a_strategy_may_be_called_anything() {
    let service = service(|| {
        let telemetry = init_telemetry().unwrap();
        let long = "x".repeat(10_000);
        for name in ["say \"buy\"", r"C:\desk", "two\nlines", "🚀 to the moon", "", "{a=\"b\"} 1", &long] {
            telemetry.metrics().strategy(name).trade(Side::Buy);
        }
        let text = scrape(port());
        for escaped in
            [r#"say \"buy\""#, r"C:\\desk", r"two\nlines", "🚀 to the moon", "", r#"{a=\"b\"} 1"#, "other"]
        {
            let series = format!("trading_trades_total{{side=\"BUY\",strategy=\"{escaped}\"}}");
            assert_eq!(value(&text, &series), Some(1.0), "{series}");
        }
        assert_eq!(value(&text, r#"trading_telemetry_over_cap_total{what="strategy"}"#), Some(1.0));
        assert!(!text.contains("xxxxx"));
        // Nothing but comments and samples: no name has broken a line.
        assert!(
            text.lines()
                .all(|line| line.starts_with('#') || line.rsplit_once(' ').unwrap().1.parse::<f64>().is_ok())
        );
        telemetry.shutdown().unwrap();
    });
    assert_eq!(events(&service.run(&[]).log, "metric_label_over_cap").len(), 1);
}

#[test]
fn of_five_thousand_strategies_the_cap_has_series_and_the_rest_is_counted_as_other() {
    let service = service(|| {
        let telemetry = init_telemetry().unwrap();
        for number in 0..5_000 {
            telemetry.metrics().strategy(&format!("s{number}")).trade(Side::Sell);
        }
        let text = scrape(port());
        let sold = |line: &&str| line.starts_with("trading_trades_total{side=\"SELL\"");
        assert_eq!(text.lines().filter(sold).count(), 65);
        assert_eq!(value(&text, r#"trading_trades_total{side="SELL",strategy="s63"}"#), Some(1.0));
        assert_eq!(value(&text, r#"trading_trades_total{side="SELL",strategy="other"}"#), Some(4936.0));
        assert_eq!(value(&text, r#"trading_telemetry_over_cap_total{what="strategy"}"#), Some(4936.0));
        assert!(!text.contains("otel_metric_overflow"));
        telemetry.shutdown().unwrap();
    });
    assert_eq!(events(&service.run(&[]).log, "metric_label_over_cap").len(), 1, "told once");
}

#[test]
fn a_bearer_token_guards_what_is_there_and_what_is_not() {
    let service = service(|| serve())
        .settings("monitoring: {bearer_token_file: token}")
        .file("token", "s3cr3t-t0k3n\r\n");
    let running = service.start(&[]);
    let port = service.port();
    served(port, &[("authorization", "Bearer s3cr3t-t0k3n")]);
    let status = |target: &str, authorization: &str| {
        let headers = [("authorization", authorization)];
        request(port, "GET", target, if authorization.is_empty() { &[] } else { &headers }).unwrap()
    };
    for wrong in [
        "",
        "Bearer",
        "Bearer ",
        "Bearer s3cr3t",
        "Bearer s3cr3t-t0k3n2",
        "Basic s3cr3t-t0k3n",
        "s3cr3t-t0k3n",
    ] {
        for target in ["/metrics", "/nothing"] {
            let response = status(target, wrong);
            assert_eq!(response.status, 401, "{target} with {wrong:?}");
            assert_eq!(response.header("www-authenticate"), Some("Bearer"));
            assert!(!response.text().contains("trading_"));
        }
    }
    for right in ["Bearer s3cr3t-t0k3n", "bearer s3cr3t-t0k3n"] {
        let response = status("/metrics", right);
        assert_eq!(response.status, 200, "{right}");
        assert_eq!(value(response.text(), FILLED), Some(1.0));
        assert_eq!(status("/nothing", right).status, 404);
    }
    let finished = running.finish();
    let everything = format!("{}{}{:?}", finished.out, finished.err, finished.log);
    assert!(!everything.contains("s3cr3t"), "{everything}");
}

/// All of 127.0.0.0/8 is the machine itself on Linux.
#[cfg(target_os = "linux")]
#[test]
fn a_list_of_addresses_is_listened_on() {
    let service = service(|| serve()).variable("SA_MONITORING__PROMETHEUS_HOST", "127.0.0.1,127.0.0.2");
    let running = service.start(&[]);
    for host in ["127.0.0.1", "127.0.0.2"] {
        let host: IpAddr = host.parse().unwrap();
        let response =
            eventually("an answer", || request_at(host, service.port(), "GET", "/metrics", &[]).ok());
        assert_eq!(response.status, 200);
    }
    let third: IpAddr = "127.0.0.3".parse().unwrap();
    assert!(request_at(third, service.port(), "GET", "/metrics", &[]).is_err());
    running.finish();
}

#[test]
fn a_request_gets_what_it_asks_for() {
    let service = service(|| serve());
    let running = service.start(&[]);
    let port = service.port();
    served(port, &[]);
    let get = |target: &str, headers: &[(&str, &str)]| request(port, "GET", target, headers).unwrap();

    let plain = get("/metrics", &[]);
    assert_eq!(plain.header("content-type"), Some(TEXT));
    assert_eq!(plain.header("content-length"), Some(plain.body.len().to_string().as_str()));
    assert_eq!(value(plain.text(), FILLED), Some(1.0));
    assert!(plain.text().contains(
        "# HELP trading_orders_total Total orders submitted\n# TYPE trading_orders_total counter\n"
    ));

    let head = request(port, "HEAD", "/metrics", &[]).unwrap();
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-type"), Some(TEXT));
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "BREW"] {
        let refused = request(port, method, "/metrics", &[]).unwrap();
        assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, HEAD")), "{method}");
    }
    for nothing in ["/", "/metrics/", "/metric", "/Metrics", "/metrics/../etc/passwd"] {
        assert_eq!(get(nothing, &[]).status, 404, "{nothing}");
    }

    let zipped = get("/metrics", &[("accept-encoding", "gzip;q=0.5, br")]);
    assert_eq!(zipped.header("content-encoding"), Some("gzip"));
    let mut text = String::new();
    GzDecoder::new(zipped.body.as_slice()).read_to_string(&mut text).unwrap();
    assert_eq!(value(&text, FILLED), Some(1.0));
    assert!(get("/metrics", &[("accept-encoding", "gzip;q=0")]).header("content-encoding").is_none());

    for (accept, right) in [
        (
            "application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            OPENMETRICS,
        ),
        ("application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.8", TEXT),
        ("application/openmetrics-text;version=1.0.0;q=0", TEXT),
        ("application/openmetrics-text", OPENMETRICS),
        ("application/openmetrics-text; version=2.0.0", TEXT),
        ("image/png", TEXT),
        ("*/*", TEXT),
        (";;;,q=,/", TEXT),
    ] {
        let response = get("/metrics", &[("accept", accept)]);
        assert_eq!(response.header("content-type"), Some(right), "{accept}");
        assert_eq!(response.text().ends_with("# EOF\n"), right == OPENMETRICS, "{accept}");
    }

    let some = get("/metrics?name[]=trading_orders_total&name%5B%5D=trading_kill_switch_active&other=1", &[]);
    let families: Vec<&str> =
        some.text().lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    assert_eq!(families, ["trading_orders_total", "trading_kill_switch_active"]);
    running.finish();
}

#[test]
fn rude_clients_are_told_or_let_go_and_harm_nobody() {
    let service = service(|| serve());
    let running = service.start(&[]);
    let port = service.port();
    served(port, &[]);

    let drip = std::thread::spawn(move || {
        let mut client = connect(port).unwrap();
        let begin = Instant::now();
        // One byte a second: it is let go long before the request is whole.
        for byte in b"GET /metrics HTTP/1.1\r\nhost: desk\r\nx-more: and more and more and more\r\n\r\n" {
            if client.write_all(&[*byte]).is_err() {
                return;
            }
            client.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
            match client.read(&mut [0; 512]) {
                Ok(_) => return,
                Err(error) => assert!(matches!(
                    error.kind(),
                    std::io::ErrorKind::WouldBlock
                        | std::io::ErrorKind::TimedOut
                        | std::io::ErrorKind::ConnectionReset
                )),
            }
            assert!(begin.elapsed() < Duration::from_secs(45), "a client keeps its place by a byte a second");
        }
        panic!("a request that takes a minute is answered");
    });

    let mut client = connect(port).unwrap();
    let line = format!("GET /{} HTTP/1.1\r\nhost: desk\r\n\r\n", "a".repeat(1 << 20));
    // It may be cut off before it has said everything.
    let _ = client.write_all(line.as_bytes());
    let told = response(&mut client).map(|response| response.status);
    assert!(matches!(told, Ok(414 | 431)), "{told:?}");

    for nonsense in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"GET\r\n\r\n",
        b"\0\0\0\0",
        b"GET / HTTP/9.9\r\n\r\n",
    ] {
        let mut client = connect(port).unwrap();
        client.write_all(nonsense).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let _ = response(&mut client);
    }
    let mut client = connect(port).unwrap();
    client.write_all(b"GET /metrics HTTP/1.1\r\nhost: desk\r\n\r\n").unwrap();
    drop(client); // does not wait for its answer

    assert_eq!(value(&scrape(port), FILLED), Some(1.0));
    drip.join().unwrap();
    assert_eq!(value(&scrape(port), FILLED), Some(1.0));
    let finished = running.finish();
    assert!(!finished.err.contains("panicked"), "{}", finished.err);
}

#[test]
fn a_thousand_connections_keep_no_scrape_out() {
    /// What a process that is limited to 1,024 files can hold beside those of other tests.
    const EACH: usize = 250;
    let service = service(|| match std::env::var("CLIENT_OF") {
        Ok(server) => {
            let server = server.parse().unwrap();
            let clients: Vec<TcpStream> = (0..EACH).map(|_| connect(server).unwrap()).collect();
            println!("connected {}", clients.len());
            until_told();
        }
        Err(_) => serve(),
    });
    let running = service.start(&[]);
    let port = service.port();
    served(port, &[]);
    let clients: Vec<_> = (0..4).map(|_| service.start(&[("CLIENT_OF", &port.to_string())])).collect();
    for client in &clients {
        eventually("connections", || client.output().contains("connected 250").then_some(()));
    }
    for _ in 0..5 {
        assert_eq!(value(&scrape(port), FILLED), Some(1.0));
    }
    for client in clients {
        client.finish();
    }
    assert_eq!(value(&scrape(port), FILLED), Some(1.0));
    running.finish();
}

#[test]
fn a_hundred_clients_that_hang_slow_neither_scrape_nor_recording() {
    const RECORDINGS: u32 = 1_000_000;
    let service = service(|| {
        let telemetry = init_telemetry().unwrap();
        let strategy = telemetry.metrics().strategy("SwingMomentum");
        let risk = telemetry.metrics().risk();
        let record = || {
            let begin = Instant::now();
            for _ in 0..RECORDINGS / 2 {
                strategy.order(Side::Buy, OrderType::Limit, OrderStatus::Filled);
                risk.check(RiskResult::Approve);
            }
            begin.elapsed()
        };
        let alone = record();

        let clients: Vec<TcpStream> = (0..100)
            .map(|number| {
                let mut client = connect(port()).unwrap();
                // A third says nothing, a third stops in the middle, a third asks for all it can and reads nothing.
                let ask = "GET /metrics HTTP/1.1\r\nhost: desk\r\n\r\n";
                match number % 3 {
                    0 => {}
                    1 => client.write_all(b"GET /metrics HT").unwrap(),
                    _ => client.write_all(ask.repeat(50).as_bytes()).unwrap(),
                }
                client
            })
            .collect();
        let (ended, scrapes) = (AtomicBool::new(false), AtomicU32::new(0));
        let beside = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !ended.load(Ordering::Relaxed) || scrapes.load(Ordering::Relaxed) == 0 {
                    assert!(value(&scrape(port()), FILLED).is_some());
                    scrapes.fetch_add(1, Ordering::Relaxed);
                    std::thread::sleep(Duration::from_millis(50));
                }
            });
            let beside = record();
            ended.store(true, Ordering::Relaxed);
            beside
        });
        // Whatever else the machine does: far from a recording that waits for a client.
        assert!(beside < alone * 10 + Duration::from_secs(2), "{beside:?} beside, {alone:?} alone");
        assert_eq!(value(&scrape(port()), FILLED), Some(f64::from(RECORDINGS)));
        assert_eq!(
            value(&scrape(port()), r#"trading_risk_checks_total{result="approve"}"#),
            Some(f64::from(RECORDINGS))
        );
        // The deadline is five seconds: the clients that hang are not what ends it, and no loss.
        let begin = Instant::now();
        assert!(telemetry.shutdown().unwrap().is_complete());
        assert!(begin.elapsed() < Duration::from_millis(4500), "{:?}", begin.elapsed());
        drop(clients);
    });
    let finished = service.run(&[]);
    assert!(!finished.err.contains("panicked"), "{}", finished.err);
}

#[test]
fn the_service_is_gone_from_its_port_when_it_is_killed_and_the_next_one_takes_it() {
    let service = service(|| serve());
    let first = service.start(&[]);
    eventually("an answer", || try_scrape(service.port()));
    // Open connections of the dead one linger in the system.
    let held = connect(service.port()).unwrap();
    drop(first);
    let second = service.start(&[("SA_MONITORING__REQUIRED", "true")]);
    eventually("an answer of the next", || try_scrape(service.port()));
    drop(held);
    second.finish();
}
