use std::io::Read;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;

use super::*;

#[test]
fn the_format_follows_the_accept_header() {
    let (_server, address) = quick(routes(quiet()));
    let text = get(address, "/metrics", &[]);
    assert_eq!(text.status, 200);
    assert_eq!(text.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert_eq!(text.header("content-encoding"), None);
    assert!(text.text().contains("# TYPE trading_orders_total counter\n"));

    // Two lines of one header are one list.
    let accept = ["Accept: text/plain;q=0.5", "Accept: application/openmetrics-text;version=1.0.0"];
    let openmetrics = get(address, "/metrics", &accept);
    assert_eq!(
        openmetrics.header("content-type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    assert!(openmetrics.text().contains("# TYPE trading_orders counter\n"));
    assert!(openmetrics.text().ends_with("# EOF\n"));
}

#[test]
fn gzip_where_it_is_offered() {
    let (_server, address) = quick(routes(quiet()));
    let plain = get(address, "/metrics", &["Accept-Encoding: gzip;q=0, deflate"]);
    let packed = get(address, "/metrics", &["Accept-Encoding: deflate, gzip;q=0.1"]);
    assert_eq!((plain.header("content-encoding"), packed.header("content-encoding")), (None, Some("gzip")));
    for answer in [&plain, &packed] {
        assert_eq!(answer.header("vary"), Some("Accept, Accept-Encoding"));
    }
    assert_eq!(get(address, "/nowhere", &[]).header("vary"), None);
    assert!(packed.body.len() < plain.body.len() / 2);
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(&packed.body[..]).read_to_end(&mut unpacked).unwrap();
    assert_eq!(unpacked, plain.body);
}

#[test]
fn name_filters_families() {
    let (_server, address) = quick(routes(quiet()));
    let target = "/metrics?name%5B%5D=trading_slippage_bps&other=1&name[]=trading_ml_psi_drift";
    let reply = get(address, target, &[]);
    let types = reply.text().lines().filter(|line| line.starts_with("# TYPE")).count();
    assert_eq!(types, 2, "{}", reply.text());
    assert_eq!(get(address, "/metrics?name[]=nobody", &[]).text(), "");
}

#[test]
fn each_scrape_shows_what_the_services_own_instruments_hold_then() {
    let exporter =
        opentelemetry_prometheus::exporter().with_registry(prometheus::Registry::new()).build().unwrap();
    let reader = Arc::new(exporter);
    let provider = SdkMeterProvider::builder().with_reader(Shared(Arc::clone(&reader))).build();
    let fills = provider.meter("t").f64_counter("fills").build();
    let (_server, address) = quick(routes(Arc::new(move || {
        let mut metrics = ResourceMetrics::default();
        reader.collect(&mut metrics).unwrap();
        let resource = metrics.resource().clone();
        Collected { foreign: Some(Arc::new(metrics)), resource, ..nothing() }
    })));
    for count in 1..4 {
        fills.add(1.0, &[opentelemetry::KeyValue::new("side", "BUY")]);
        let reply = get(address, "/metrics", &[]);
        assert!(reply.text().contains(&format!("fills_total{{side=\"BUY\"}} {count}.0\n")));
        assert!(reply.text().contains("target_info{"));
    }
}

#[derive(Debug)]
struct Shared(Arc<opentelemetry_prometheus::PrometheusExporter>);

impl opentelemetry_sdk::metrics::reader::MetricReader for Shared {
    fn register_pipeline(&self, pipeline: std::sync::Weak<opentelemetry_sdk::metrics::Pipeline>) {
        self.0.register_pipeline(pipeline);
    }
    fn collect(&self, metrics: &mut ResourceMetrics) -> opentelemetry_sdk::error::OTelSdkResult {
        self.0.collect(metrics)
    }
    fn force_flush(&self) -> opentelemetry_sdk::error::OTelSdkResult {
        self.0.force_flush()
    }
    fn shutdown_with_timeout(&self, timeout: Duration) -> opentelemetry_sdk::error::OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }
    fn temporality(
        &self,
        kind: opentelemetry_sdk::metrics::InstrumentKind,
    ) -> opentelemetry_sdk::metrics::Temporality {
        self.0.temporality(kind)
    }
}

/// A source that waits for a word before each collection ends, and counts them.
fn held() -> (Source, mpsc::Sender<()>, Arc<AtomicUsize>) {
    let (go, wait) = mpsc::channel();
    let wait = std::sync::Mutex::new(wait);
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let source = Arc::new(move || {
        counted.fetch_add(1, Ordering::SeqCst);
        let _ = wait.lock().unwrap().recv();
        nothing()
    });
    (source, go, count)
}

#[test]
fn those_who_ask_during_a_collection_share_it() {
    const CLIENTS: usize = 32;
    let (source, go, count) = held();
    let scraper = Scraper::new(source);
    let (_server, address) = quick(guarded(None, Arc::clone(&scraper)));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|index| {
            let accept = ["Accept: text/plain", "Accept: application/openmetrics-text"][index % 2];
            std::thread::spawn(move || get(address, "/metrics", &[accept]))
        })
        .collect();
    wait_until("all clients wait", || scraper.waiting() == CLIENTS);
    go.send(()).unwrap();
    for client in clients {
        assert_eq!(client.join().unwrap().status, 200);
    }
    assert_eq!(count.load(Ordering::SeqCst), 1);

    // The next question gets figures of its own.
    go.send(()).unwrap();
    assert_eq!(get(address, "/metrics", &[]).status, 200);
    assert_eq!(count.load(Ordering::SeqCst), 2);
}

#[test]
fn a_hung_collection_stops_scrapes_and_nothing_else() {
    let (source, go, count) = held();
    let scraper = Scraper::new(source);
    let limits = Limits { answer_timeout: Duration::from_millis(200), ..Limits::default() };
    let (server, address) = start(guarded(None, Arc::clone(&scraper)), limits);
    for _ in 0..5 {
        let reply = get(address, "/metrics", &[]);
        assert_eq!(reply.status, 503);
        assert!(reply.text().contains("too long"));
        assert_eq!(get(address, "/health", &[]).status, 200);
    }
    assert_eq!(count.load(Ordering::SeqCst), 1, "one thread hangs, not one for each scrape");
    assert!(scraper.waiting() <= 5);

    drop(go);
    wait_until("scrapes work again", || get(address, "/metrics", &[]).status == 200);
    assert!(server.shutdown(PATIENCE));
}

#[test]
fn a_panic_costs_one_scrape() {
    let broken = Arc::new(AtomicBool::new(true));
    let now = Arc::clone(&broken);
    let (_server, address) = quick(routes(Arc::new(move || {
        assert!(!now.load(Ordering::SeqCst), "a callback's panic, on purpose");
        nothing()
    })));
    let reply = get(address, "/metrics", &[]);
    assert_eq!(reply.status, 500);
    assert!(reply.text().contains("could not be collected"));
    broken.store(false, Ordering::SeqCst);
    assert_eq!(get(address, "/metrics", &[]).status, 200);
}

#[test]
fn many_at_once_are_all_answered() {
    let (_server, address) = quick(routes(quiet()));
    let barrier = Arc::new(Barrier::new(16));
    let clients: Vec<_> = (0..16)
        .map(|_| {
            let barrier = Arc::clone(&barrier);
            std::thread::spawn(move || {
                barrier.wait();
                (0..10).all(|_| get(address, "/metrics", &[]).status == 200)
            })
        })
        .collect();
    assert!(clients.into_iter().all(|client| client.join().unwrap()));
}
