//! The API's own server with `/metrics`, `/health` and `/ready` of the telemetry beside its routes.
//!
//! ```text
//! cargo run --example axum_api
//! curl http://127.0.0.1:8000/ready
//! curl http://127.0.0.1:8000/orders/abc123
//! curl http://127.0.0.1:8000/metrics      # health and trading_system_info: the rest is on :8001
//! ```
#![expect(clippy::print_stdout, reason = "an example talks to a person")]

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use trading_telemetry::health::{Check, Tcp};
use trading_telemetry::{OrderStatus, OrderType, Side, init_telemetry};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let telemetry = init_telemetry()?;
    let gateway = Check::new("broker", Tcp::new("127.0.0.1:7497")?).critical(true);
    telemetry.health().add(gateway.interval(Duration::from_secs(5)));

    let swing = telemetry.metrics().strategy("SwingMomentum");
    let order = move || async move {
        swing.order(Side::Buy, OrderType::Limit, OrderStatus::Filled);
        "filled\n"
    };
    let ours = telemetry.service();
    let api = Router::new()
        .route("/orders/{id}", get(order))
        .route_service("/metrics", ours.clone())
        .route_service("/health", ours.clone())
        .route_service("/ready", ours);

    let listener = tokio::net::TcpListener::bind("127.0.0.1:8000").await?;
    let stop = async {
        let _ = tokio::signal::ctrl_c().await; // without signals it runs until it is killed
    };
    axum::serve(listener, api).with_graceful_shutdown(stop).await?;
    println!("{}", telemetry.shutdown()?);
    Ok(())
}
