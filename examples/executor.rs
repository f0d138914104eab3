//! The second of two processes that an order crosses: receives it over HTTP and executes it.
//!
//!     SA_MONITORING__PROMETHEUS_PORT=8012 cargo run --example executor
//!     SA_MONITORING__PROMETHEUS_PORT=8011 cargo run --example gateway
//!
//! Both write the order's id and one trace id, the executor into `logs/executor.log`.

use std::convert::Infallible;
use std::error::Error;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use trading_telemetry::{OrderStatus, OrderType, Side, Telemetry};

/// Where the gateway sends orders; `EXECUTOR_ADDRESS` overrides it.
const ADDRESS: &str = "127.0.0.1:8020";

fn main() -> Result<(), Box<dyn Error>> {
    let telemetry = Telemetry::builder().service_name("executor").init()?;
    telemetry.shutdown_on_signals()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(&telemetry))
}

async fn serve(telemetry: &Telemetry) -> Result<(), Box<dyn Error>> {
    let address = std::env::var("EXECUTOR_ADDRESS").unwrap_or_else(|_| ADDRESS.to_owned());
    let listener = TcpListener::bind(&address).await?;
    tracing::info!(address, "executor_ready");
    loop {
        let (stream, _) = listener.accept().await?;
        let execute = {
            let telemetry = telemetry.clone();
            service_fn(move |request| execute(telemetry.clone(), request))
        };
        // Whatever happens in the service belongs to the order that the request's headers carry.
        let service = telemetry.propagation().layer().wrap(execute);
        tokio::spawn(async move {
            if let Err(error) = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await
            {
                tracing::warn!(%error, "gateway_connection_failed");
            }
        });
    }
}

async fn execute(
    telemetry: Telemetry,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let quantity = match request.into_body().collect().await {
        Ok(body) => String::from_utf8_lossy(&body.to_bytes()).parse::<u64>().unwrap_or(0),
        Err(error) => {
            tracing::error!(%error, "order_not_received");
            0
        }
    };
    tracing::info!(quantity, "order_received");
    tracing::info_span!("fill").in_scope(|| {
        let swing = telemetry.metrics().strategy("SwingMomentum");
        swing.trade(Side::Buy);
        swing.order(Side::Buy, OrderType::Limit, OrderStatus::Filled);
        tracing::info!(quantity, "order_executed");
    });
    Ok(Response::new(Full::new(Bytes::from_static(b"filled"))))
}
