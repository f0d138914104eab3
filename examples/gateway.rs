//! The first of two processes that an order crosses: sends one to the executor over HTTP, and ends.
//!
//! Start `executor` first; see there.
#![expect(clippy::print_stdout, reason = "an example talks to a person")]

use std::error::Error;

use trading_telemetry::Telemetry;

/// Where the executor listens; `EXECUTOR_ADDRESS` overrides it.
const ADDRESS: &str = "127.0.0.1:8020";

fn main() -> Result<(), Box<dyn Error>> {
    let order_id = std::env::args().nth(1).unwrap_or_else(|| "abc123".to_owned());
    let telemetry = Telemetry::builder().service_name("gateway").init()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let span = telemetry.order(&order_id).symbol("AAPL").strategy("SwingMomentum").span("submit_order");
    let sent = tracing::Instrument::instrument(send(&telemetry), span);
    let answer = runtime.block_on(sent)?;
    println!("order {order_id}: {answer}");
    println!("{}", telemetry.shutdown()?);
    Ok(())
}

async fn send(telemetry: &Telemetry) -> Result<String, reqwest::Error> {
    let address = std::env::var("EXECUTOR_ADDRESS").unwrap_or_else(|_| ADDRESS.to_owned());
    tracing::info!(quantity = 100, price = 150.0, "order_submitted");
    let request = reqwest::Client::new()
        .post(format!("http://{address}/orders"))
        .headers(telemetry.propagation().headers())
        .body("100");
    let answer = request.send().await?.text().await?;
    tracing::info!(answer, "order_answered");
    Ok(answer)
}
