//! The table: which measurement stands for which path, beside which peer, and what it may cost.
//!
//! `benches/report.sh` runs the benches in rounds and then this program, which takes for each line the round with the
//! median ratio.
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a bench that cannot go on stops, and says what it saw"
)]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use Budget::{Nothing, Ratio, Time};
use Figure::{Known, Median, P50, P99};

/// A path that a service or its operator pays for.
struct Row {
    path: &'static str,
    ours: Figure,
    /// What ours may cost.
    budget: Budget,
    /// The budget holds against the first; the others stand beside it.
    peers: &'static [(&'static str, Figure)],
}

/// One measurement: `group/name`.
#[derive(Clone, Copy)]
enum Figure {
    /// The median of criterion's samples.
    Median(&'static str),
    /// Percentiles of single events.
    P50(&'static str),
    P99(&'static str),
    /// Not measured: so many nanoseconds by its own settings.
    Known(f64),
}

enum Budget {
    /// Times the first peer's.
    Ratio(f64),
    /// Nanoseconds; beside a peer, that of the peer which they were set against makes them a ratio.
    Time(f64, Option<f64>),
    /// Nobody has set one.
    Nothing,
}

const MICROSECOND: f64 = 1e3;
const MILLISECOND: f64 = 1e6;
const SECOND: f64 = 1e9;

const ROWS: &[Row] = &[
    Row {
        path: "count an order, 4 labels, strategy known",
        ours: Median("order/ours"),
        budget: Ratio(0.35),
        peers: &[
            ("prometheus", Median("order/prometheus")),
            ("prometheus-client", Median("order/prometheus-client")),
            ("metrics", Median("order/metrics")),
            ("OTel SDK", Median("order/otel")),
            ("OTel SDK, bound", Median("order/otel_bound")),
            ("prometheus, counter held", Median("order/prometheus_held")),
        ],
    },
    Row {
        path: "count an order in a sampled span",
        ours: Median("order_in_span/ours"),
        budget: Ratio(1.5),
        peers: &[
            ("prometheus", Median("order_in_span/prometheus")),
            ("prometheus-client, exemplar", Median("order_in_span/prometheus-client")),
        ],
    },
    Row {
        path: "count an order, 2 threads",
        ours: Median("order_2_threads/ours"),
        budget: Ratio(0.35),
        peers: &[
            ("prometheus", Median("order_2_threads/prometheus")),
            ("prometheus-client", Median("order_2_threads/prometheus-client")),
            ("OTel SDK, bound", Median("order_2_threads/otel_bound")),
        ],
    },
    Row {
        path: "count an order, 4 threads",
        ours: Median("order_4_threads/ours"),
        budget: Ratio(0.35),
        peers: &[
            ("prometheus", Median("order_4_threads/prometheus")),
            ("prometheus-client", Median("order_4_threads/prometheus-client")),
            ("OTel SDK, bound", Median("order_4_threads/otel_bound")),
        ],
    },
    Row {
        path: "count orders of different status, 2 threads",
        ours: Median("order_apart/ours"),
        budget: Ratio(0.35),
        peers: &[("prometheus", Median("order_apart/prometheus"))],
    },
    Row {
        path: "fill latency, no exemplar",
        ours: Median("fill/ours"),
        budget: Ratio(1.2),
        peers: &[
            ("prometheus-client", Median("fill/prometheus-client")),
            ("OTel SDK, bound", Median("fill/otel_bound")),
            ("prometheus", Median("fill/prometheus")),
        ],
    },
    Row {
        path: "fill latency in a sampled span",
        ours: Median("fill_in_span/ours"),
        budget: Ratio(4.0),
        peers: &[
            ("prometheus-client", Median("fill_in_span/prometheus-client")),
            ("prometheus-client, exemplar", Median("fill_in_span/prometheus-client_exemplar")),
        ],
    },
    Row {
        path: "fill latency, 2 threads",
        ours: Median("fill_2_threads/ours"),
        budget: Ratio(1.2),
        peers: &[
            ("prometheus-client", Median("fill_2_threads/prometheus-client")),
            ("OTel SDK, bound", Median("fill_2_threads/otel_bound")),
        ],
    },
    Row {
        path: "fill latency, 4 threads",
        ours: Median("fill_4_threads/ours"),
        budget: Ratio(1.2),
        peers: &[
            ("prometheus-client", Median("fill_4_threads/prometheus-client")),
            ("OTel SDK, bound", Median("fill_4_threads/otel_bound")),
        ],
    },
    Row {
        path: "gauge",
        ours: Median("gauge/ours"),
        budget: Ratio(1.2),
        peers: &[
            ("prometheus-client", Median("gauge/prometheus-client")),
            ("OTel SDK, bound", Median("gauge/otel_bound")),
            ("prometheus", Median("gauge/prometheus")),
        ],
    },
    Row {
        path: "kill switch changes, p50",
        ours: P50("wake/kill_switch"),
        budget: Time(10.0 * MICROSECOND, Some(6.0 * MICROSECOND)),
        peers: &[("tokio notify to a parked runtime", P50("wake/notify"))],
    },
    Row {
        path: "send_alert, p50",
        ours: P50("wake/send_alert"),
        budget: Time(10.0 * MICROSECOND, Some(6.0 * MICROSECOND)),
        peers: &[("tokio notify to a parked runtime", P50("wake/notify"))],
    },
    Row {
        path: "scrape, 400 series, text",
        ours: Median("scrape_400/text"),
        budget: Ratio(1.5),
        peers: &[
            ("collect alone", Median("scrape_400/collect")),
            ("opentelemetry-prometheus", Median("scrape_400/opentelemetry-prometheus")),
            ("metrics", Median("scrape_400/metrics")),
            ("prometheus", Median("scrape_400/prometheus")),
            ("prometheus-client", Median("scrape_400/prometheus-client")),
        ],
    },
    Row {
        path: "scrape, 400 series, OpenMetrics",
        ours: Median("scrape_400/openmetrics"),
        budget: Nothing,
        peers: &[
            ("collect alone", Median("scrape_400/collect")),
            ("prometheus-client", Median("scrape_400/prometheus-client")),
        ],
    },
    Row {
        path: "scrape, 10,000 series, text",
        ours: Median("scrape_10000/text"),
        budget: Ratio(1.5),
        peers: &[
            ("collect alone", Median("scrape_10000/collect")),
            ("opentelemetry-prometheus", Median("scrape_10000/opentelemetry-prometheus")),
            ("metrics", Median("scrape_10000/metrics")),
            ("prometheus", Median("scrape_10000/prometheus")),
            ("prometheus-client", Median("scrape_10000/prometheus-client")),
        ],
    },
    Row {
        path: "scrape, 10,000 series, OpenMetrics",
        ours: Median("scrape_10000/openmetrics"),
        budget: Nothing,
        peers: &[
            ("collect alone", Median("scrape_10000/collect")),
            ("prometheus-client", Median("scrape_10000/prometheus-client")),
        ],
    },
    Row {
        path: "scrape, 10,000 series of the service's own histogram, text",
        ours: Median("scrape_histograms/text"),
        budget: Ratio(1.5),
        peers: &[
            ("collect alone", Median("scrape_histograms/collect")),
            ("opentelemetry-prometheus", Median("scrape_histograms/opentelemetry-prometheus")),
            ("metrics", Median("scrape_histograms/metrics")),
            ("prometheus", Median("scrape_histograms/prometheus")),
            ("prometheus-client", Median("scrape_histograms/prometheus-client")),
        ],
    },
    Row {
        path: "scrape, 10,000 series of the service's own histogram, OpenMetrics",
        ours: Median("scrape_histograms/openmetrics"),
        budget: Nothing,
        peers: &[
            ("collect alone", Median("scrape_histograms/collect")),
            ("prometheus-client", Median("scrape_histograms/prometheus-client")),
        ],
    },
    Row {
        path: "GET /metrics on loopback, 10,000 series, text",
        ours: Median("get_10000/text"),
        budget: Nothing,
        peers: &[("collect alone", Median("scrape_10000/collect"))],
    },
    Row {
        path: "GET /metrics on loopback, 10,000 series, OpenMetrics",
        ours: Median("get_10000/openmetrics"),
        budget: Nothing,
        peers: &[("collect alone", Median("scrape_10000/collect"))],
    },
    Row {
        path: "GET /metrics on loopback, 10,000 series, gzip",
        ours: Median("get_10000/gzip"),
        budget: Nothing,
        peers: &[("collect alone", Median("scrape_10000/collect"))],
    },
    Row {
        path: "kill switch on to its POST, p99",
        ours: P99("post/kill_switch"),
        budget: Time(50.0 * MILLISECOND, Some(60.0 * SECOND)),
        peers: &[("Prometheus + Alertmanager, by their intervals", Known(60.0 * SECOND))],
    },
    Row {
        path: "the same, Telegram hung, 1,000 incidents open, p99",
        ours: P99("post/kill_switch_crowded"),
        budget: Time(50.0 * MILLISECOND, Some(60.0 * SECOND)),
        peers: &[("Prometheus + Alertmanager, by their intervals", Known(60.0 * SECOND))],
    },
    Row {
        path: "broker reports itself down to its POST, p99",
        ours: P99("post/broker"),
        budget: Time(50.0 * MILLISECOND, Some(60.0 * SECOND)),
        peers: &[("Prometheus + Alertmanager, by their intervals", Known(60.0 * SECOND))],
    },
    Row {
        path: "evaluate all rules, 2,000 series",
        ours: Median("evaluate/ours"),
        budget: Ratio(2.0),
        peers: &[("collect alone", Median("evaluate/collect"))],
    },
    Row {
        path: "evaluate all rules, each of 2,000 series watched",
        ours: Median("evaluate_watched/ours"),
        budget: Ratio(2.0),
        peers: &[("collect alone", Median("evaluate_watched/collect"))],
    },
    Row {
        path: "JSON line with order and trace ids, lossless",
        ours: Median("log_line/ours"),
        budget: Ratio(0.4),
        peers: &[
            ("tracing-subscriber json", Median("log_line/tracing-subscriber")),
            ("tracing-subscriber json, ids in each call", Median("log_line/tracing-subscriber_ids_in_call")),
            ("tracing-subscriber json, written nowhere", Median("log_line/tracing-subscriber_unwritten")),
        ],
    },
    Row {
        path: "JSON line with order and trace ids, OTLP logs on, lossless",
        ours: Median("log_line/ours_otlp"),
        budget: Ratio(0.9),
        peers: &[
            ("tracing-subscriber json", Median("log_line/tracing-subscriber")),
            ("tracing-subscriber json, ids in each call", Median("log_line/tracing-subscriber_ids_in_call")),
        ],
    },
    Row {
        path: "order span with a step inside, exported",
        ours: Median("order_span/ours"),
        budget: Ratio(1.0),
        peers: &[("tracing-opentelemetry, default options", Median("order_span/tracing-opentelemetry"))],
    },
    Row {
        path: "order and fill recorded in an order, collector hung",
        ours: Median("hung_collector_record/ours"),
        budget: Ratio(1.1),
        peers: &[("collector healthy", Median("hung_collector_record/healthy"))],
    },
    Row {
        path: "JSON line, OTLP logs on, collector hung",
        ours: Median("hung_collector_log/ours"),
        budget: Ratio(1.1),
        peers: &[("collector healthy", Median("hung_collector_log/healthy"))],
    },
    Row {
        path: "order span with a step inside, collector hung",
        ours: Median("hung_collector_span/ours"),
        budget: Ratio(1.1),
        peers: &[("collector healthy", Median("hung_collector_span/healthy"))],
    },
    Row {
        path: "start without network",
        ours: P50("start/init"),
        budget: Time(50.0 * MILLISECOND, None),
        peers: &[],
    },
    Row {
        path: "start without network, Slack and Telegram configured",
        ours: P50("start/channels"),
        budget: Time(50.0 * MILLISECOND, None),
        peers: &[],
    },
    Row {
        path: "10,000 orders counted, every channel hung",
        ours: P50("hung/record"),
        budget: Nothing,
        peers: &[("every channel healthy", P50("healthy/record"))],
    },
    Row {
        path: "GET /metrics, 2,000 series, every channel hung",
        ours: P50("hung/scrape"),
        budget: Nothing,
        peers: &[("every channel healthy", P50("healthy/scrape"))],
    },
    Row {
        path: "an evaluation, every channel hung",
        ours: P50("hung/evaluate"),
        budget: Nothing,
        peers: &[("every channel healthy", P50("healthy/evaluate"))],
    },
    Row {
        path: "send_alert, every channel hung",
        ours: P50("hung/send_alert"),
        budget: Nothing,
        peers: &[("every channel healthy", P50("healthy/send_alert"))],
    },
];

/// What a figure is in one round, in nanoseconds.
fn read(figure: Figure, round: &Path) -> Result<f64, String> {
    let (file, pointer) = match figure {
        Known(nanoseconds) => return Ok(nanoseconds),
        Median(id) => (round.join(id).join("new/estimates.json"), "/median/point_estimate"),
        P50(id) => (round.join(id).join("events.json"), "/p50"),
        P99(id) => (round.join(id).join("events.json"), "/p99"),
    };
    let missing = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    let text = fs::read_to_string(&file).map_err(|error| missing(&error))?;
    let figures: Value = serde_json::from_str(&text).map_err(|error| missing(&error))?;
    figures.pointer(pointer).and_then(Value::as_f64).ok_or_else(|| missing(&format!("no {pointer}")))
}

struct Line {
    path: &'static str,
    ours: f64,
    peer: Option<(&'static str, f64)>,
    /// The budget in words, in the unit that is compared, and whether it is kept.
    budget: Option<(String, f64, bool)>,
}

impl Row {
    fn lines(&self, rounds: &[PathBuf]) -> Result<Vec<Line>, String> {
        if self.peers.is_empty() {
            let mut ours =
                rounds.iter().map(|round| read(self.ours, round)).collect::<Result<Vec<_>, _>>()?;
            ours.sort_by(f64::total_cmp);
            return Ok(vec![self.line(ours[ours.len() / 2], None, &self.budget)]);
        }
        let line = |(index, &(name, figure)): (usize, &(&'static str, Figure))| {
            let mut pairs = Vec::new();
            for round in rounds {
                pairs.push((read(self.ours, round)?, read(figure, round)?));
            }
            pairs.sort_by(|left, right| (left.0 / left.1).total_cmp(&(right.0 / right.1)));
            let (ours, peer) = pairs[pairs.len() / 2];
            Ok(self.line(ours, Some((name, peer)), if index == 0 { &self.budget } else { &Nothing }))
        };
        self.peers.iter().enumerate().map(line).collect()
    }

    fn line(&self, ours: f64, peer: Option<(&'static str, f64)>, budget: &Budget) -> Line {
        let compared = peer.map_or(ours, |(_, peer)| ours / peer);
        let budget = match *budget {
            Nothing => None,
            Ratio(ratio) => Some((format!("≤ {ratio} ×"), ratio)),
            Time(limit, None) => Some((format!("≤ {}", time(limit)), limit)),
            Time(limit, Some(beside)) => {
                Some((format!("≤ {} to {}", time(limit), time(beside)), limit / beside))
            }
        };
        let budget = budget.map(|(words, limit)| (words, limit, compared <= limit));
        Line { path: self.path, ours, peer, budget }
    }
}

impl Line {
    fn json(&self) -> Value {
        json!({
            "path": self.path,
            "ours_ns": self.ours,
            "peer": self.peer.map(|(name, _)| name),
            "peer_ns": self.peer.map(|(_, nanoseconds)| nanoseconds),
            "ratio": self.peer.map(|(_, nanoseconds)| self.ours / nanoseconds),
            "budget": self.budget.as_ref().map(|(_, limit, _)| limit),
            "met": self.budget.as_ref().map(|(.., met)| met),
        })
    }

    fn cells(&self) -> [String; 7] {
        let (peer, beside, ratio) = self.peer.map_or_else(Default::default, |(name, nanoseconds)| {
            (name.to_owned(), time(nanoseconds), figures(self.ours / nanoseconds))
        });
        let (budget, met) = self.budget.as_ref().map_or_else(Default::default, |(words, _, met)| {
            (words.clone(), if *met { "yes" } else { "NO" }.to_owned())
        });
        [self.path.to_owned(), time(self.ours), peer, beside, ratio, budget, met]
    }
}

/// Two or three figures: nothing here is known better.
fn figures(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.01 => format!("{value:.2}"),
        _ => format!("{value:.5}"),
    }
}

fn time(nanoseconds: f64) -> String {
    let units = [(SECOND, "s"), (MILLISECOND, "ms"), (MICROSECOND, "µs")];
    let found = units.into_iter().find(|(size, _)| nanoseconds >= *size);
    let (size, unit) = found.unwrap_or((1.0, "ns"));
    format!("{} {unit}", figures(nanoseconds / size))
}

/// A table that reads well as text and as Markdown.
fn table(lines: &[Line]) -> String {
    let head = ["path", "ours", "beside", "theirs", "ratio", "budget", "met"].map(str::to_owned);
    let cells: Vec<[String; 7]> = std::iter::once(head).chain(lines.iter().map(Line::cells)).collect();
    let width = |column: usize| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 7] = std::array::from_fn(width);
    let mut out = String::new();
    for (number, row) in cells.iter().enumerate() {
        for (cell, width) in row.iter().zip(widths) {
            let _ = write!(out, "| {cell:width$} ");
        }
        out.push_str("|\n");
        if number == 0 {
            for width in widths {
                let _ = write!(out, "|{}", "-".repeat(width + 2));
            }
            out.push_str("|\n");
        }
    }
    out
}

fn main() {
    // `cargo bench` runs this target too; without rounds there is nothing to tell.
    let Some(target) = std::env::var_os("BENCH_REPORT").map(PathBuf::from) else { return };
    let folder = fs::read_dir(target.join("bench-rounds")).expect("report.sh has made the rounds");
    let rounds: Vec<PathBuf> = folder.filter_map(|entry| Some(entry.ok()?.path())).collect();
    let mut lines = Vec::new();
    let mut missing = Vec::new();
    for row in ROWS {
        match row.lines(&rounds) {
            Ok(of_row) => lines.extend(of_row),
            Err(error) => missing.push(format!("{}: {error}", row.path)),
        }
    }
    println!("{}", table(&lines));
    let file = target.join("bench-report.json");
    let list: Vec<Value> = lines.iter().map(Line::json).collect();
    let text = serde_json::to_string_pretty(&list).expect("figures are JSON");
    fs::write(&file, text + "\n").expect("the report can be written");
    let over: Vec<_> =
        lines.iter().filter(|line| line.budget.as_ref().is_some_and(|(.., met)| !met)).collect();
    println!("{} rounds; {} of {} budgets met", rounds.len(), budgets(&lines) - over.len(), budgets(&lines));
    for line in over {
        println!("over its budget: {}", line.path);
    }
    for what in &missing {
        println!("not measured: {what}");
    }
    assert!(missing.is_empty(), "the table is not whole");
}

fn budgets(lines: &[Line]) -> usize {
    lines.iter().filter(|line| line.budget.is_some()).count()
}
