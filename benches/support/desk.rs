//! A service as the benches need it: with so many series, scraped over loopback.
#![allow(dead_code, reason = "each bench uses a part of it")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use trading_telemetry::{Metrics, OrderStatus, OrderType, PortfolioSnapshot, Side, Telemetry};

/// Lines of a scrape that hold a value.
pub(crate) fn samples(scrape: &str) -> usize {
    scrape.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).count()
}

/// Strategies until the scrape has so many samples, each with some trading behind it.
pub(crate) fn fill(metrics: &Metrics, wanted: usize, mut scrape: impl FnMut() -> String) {
    metrics.portfolio().record(&PortfolioSnapshot {
        equity_dollars: 105_432.5,
        cash_dollars: 52_716.25,
        positions: 8,
        daily_pnl_dollars: 543.2,
        daily_pnl_pct: 0.52,
        drawdown_pct: 3.2,
    });
    for milliseconds in [120.0, 430.0, 1250.0, 20_000.0] {
        metrics.execution().fill_latency_ms(milliseconds);
        metrics.execution().slippage_bps(milliseconds / 300.0);
    }
    let mut number = 0_u32;
    let mut have = samples(&scrape());
    while have < wanted {
        // A strategy has 79 of them; near the end they are counted again.
        for _ in 0..(wanted - have).div_ceil(100) {
            number += 1;
            let strategy = metrics.strategy(&format!("Strategy{number:04}"));
            for round in 0..20 + number % 7 {
                let side = if round % 2 == 0 { Side::Buy } else { Side::Sell };
                for status in OrderStatus::ALL.iter().take(1 + round as usize % 5) {
                    strategy.order(side, OrderType::ALL[(number + round) as usize % 6], *status);
                }
                strategy.trade(side);
                strategy.pnl_dollars(f64::from(round * number % 400) * 1.37 - 210.0);
            }
        }
        have = samples(&scrape());
    }
}

/// A connection that is kept, as Prometheus keeps it.
pub(crate) struct Scraper {
    stream: TcpStream,
    answer: Vec<u8>,
    part: Vec<u8>,
}

impl Scraper {
    pub(crate) fn new(telemetry: &Telemetry) -> Self {
        let stream = TcpStream::connect(telemetry.metrics_addresses()[0]).expect("the server listens");
        stream.set_nodelay(true).expect("a socket");
        Self { stream, answer: Vec::new(), part: vec![0; 65_536] }
    }

    /// The body in text 0.0.4.
    pub(crate) fn text(&mut self) -> String {
        let start = self.get("");
        String::from_utf8(self.answer[start..].to_vec()).expect("text")
    }

    /// Asks with these further headers, and returns where in the answer the body begins.
    pub(crate) fn get(&mut self, headers: &str) -> usize {
        let request = format!("GET /metrics HTTP/1.1\r\nhost: desk\r\n{headers}\r\n");
        self.stream.write_all(request.as_bytes()).expect("the server listens");
        self.answer.clear();
        let start = loop {
            self.read();
            if let Some(end) = self.answer.windows(4).take(4096).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
        };
        let head = std::str::from_utf8(&self.answer[..start]).expect("a head");
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
        let whole = start + length.parse::<usize>().expect("a number");
        while self.answer.len() < whole {
            self.read();
        }
        start
    }

    fn read(&mut self) {
        let read = self.stream.read(&mut self.part).expect("the server answers");
        assert!(read > 0, "the server hung up");
        self.answer.extend_from_slice(&self.part[..read]);
    }
}
