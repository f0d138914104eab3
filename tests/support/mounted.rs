//! Asks a [`TelemetryService`] without a network.

use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::Bytes;
use serde_json::Value;
use tower_service::Service;
use trading_telemetry::TelemetryService;

/// Status and body of a GET.
pub(crate) fn get(service: &TelemetryService, path: &str) -> (u16, String) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let request = Request::get(path).body(Empty::<Bytes>::new()).unwrap();
        let response = service.clone().call(request).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    })
}

/// Status and JSON of a GET.
pub(crate) fn get_json(service: &TelemetryService, path: &str) -> (u16, Value) {
    let (status, body) = get(service, path);
    (status, serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}")))
}
