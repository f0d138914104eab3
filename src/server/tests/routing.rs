use std::convert::Infallible;

use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Bytes;
use tower_service::Service;

use super::client::send;
use super::*;
use crate::server::TelemetryService;

#[test]
fn other_paths_are_not_found_and_other_methods_not_allowed() {
    let (_server, address) = quick(routes(quiet()));
    for path in ["/", "/metrics/", "/Metrics", "/health/live", "/echo", "/echo/", "//metrics"] {
        assert_eq!(get(address, path, &[]).status, 404, "{path}");
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "BREW"] {
        let reply = send(address, method, "/metrics", &[], "");
        assert_eq!((reply.status, reply.header("allow")), (405, Some("GET, HEAD")), "{method}");
    }
    let reply = get(address, "/echo/x", &[]);
    assert_eq!((reply.status, reply.header("allow")), (405, Some("POST, DELETE")));
}

#[test]
fn a_page_that_is_not_there_names_those_that_are() {
    let (_server, address) = quick(
        Routes::new(None).mount(Method::GET, "/metrics", Access::Open, |_| Answer::plain(StatusCode::OK, "")),
    );
    assert_eq!(get(address, "/health", &[]).text(), "nothing is here; try /metrics\n");
}

#[test]
fn head_is_get_without_its_body() {
    let (_server, address) = quick(routes(quiet()));
    for path in ["/metrics", "/health"] {
        let (full, head) = (get(address, path, &[]), send(address, "HEAD", path, &[], ""));
        assert_eq!(head.status, 200);
        assert_eq!(head.header("content-length"), Some(full.body.len().to_string().as_str()));
        assert_eq!(head.header("content-type"), full.header("content-type"));
    }
}

#[test]
fn a_body_and_the_rest_of_a_path_reach_their_endpoint() {
    let (_server, address) = quick(routes(quiet()));
    let reply = send(address, "POST", "/echo/slack?x=1", &[], "hello");
    assert_eq!((reply.status, reply.text()), (201, "slack b\"hello\"\n"));
    assert_eq!(send(address, "DELETE", "/echo/a/b", &[], "").text(), "gone: a/b\n");
    let reply = send(address, "POST", "/echo/x", &[], &"x".repeat(70_000));
    assert_eq!(reply.status, 413);
}

#[test]
fn everything_but_the_probes_needs_the_token() {
    let (_server, address) = quick(guarded(Some("s3cret token"), Scraper::new(quiet())));
    for path in ["/health", "/ready"] {
        assert_eq!(get(address, path, &[]).status, 200);
    }
    let refused = [
        &[][..],
        &["Authorization: Bearer"],
        &["Authorization: Bearer "],
        &["Authorization: Bearer s3cret tokem"],
        &["Authorization: Bearer s3cret"],
        &["Authorization: Bearer s3cret token and more"],
        &["Authorization: Basic s3cret token"],
        &["Authorization: s3cret token"],
        &["X-Token: s3cret token"],
    ];
    for headers in refused {
        for path in ["/metrics", "/echo/x", "/nowhere"] {
            let reply = get(address, path, headers);
            assert_eq!(
                (reply.status, reply.header("www-authenticate")),
                (401, Some("Bearer")),
                "{headers:?}"
            );
            assert!(!reply.text().contains("trading_") && !reply.text().contains("s3cret"));
        }
    }
    for header in ["Authorization: Bearer s3cret token", "authorization: bearer   s3cret token  "] {
        assert_eq!(get(address, "/metrics", &[header]).status, 200);
        assert_eq!(get(address, "/nowhere", &[header]).status, 404);
    }
    assert!(!format!("{:?}", guarded(Some("s3cret token"), Scraper::new(quiet()))).contains("s3cret"));
}

/// Answers without any tokio runtime.
fn ask<B>(service: &mut TelemetryService, request: hyper::Request<B>) -> (u16, String)
where
    B: hyper::body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let future = service.call(request);
    let thread = std::thread::spawn(move || {
        let mut future = future;
        let waker = std::task::Waker::noop();
        let start = Instant::now();
        loop {
            if let std::task::Poll::Ready(reply) =
                future.as_mut().poll(&mut std::task::Context::from_waker(waker))
            {
                return reply;
            }
            assert!(start.elapsed() < PATIENCE);
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    let reply: Result<_, Infallible> = thread.join().unwrap();
    let reply = reply.unwrap();
    let status = reply.status().as_u16();
    let mut body = reply.into_body();
    let frame = std::pin::pin!(body.frame());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let text = match frame.poll(&mut context) {
        std::task::Poll::Ready(Some(frame)) => {
            String::from_utf8(frame.unwrap().into_data().unwrap().to_vec()).unwrap()
        }
        _ => String::new(),
    };
    (status, text)
}

#[test]
fn the_same_routes_serve_in_another_server() {
    let scraper = Scraper::new(quiet());
    let routes = Routes::new(None)
        .mount(Method::GET, "/metrics", Access::Token, MetricsEndpoint::new(scraper, Families::default()))
        .mount(Method::POST, "/echo/", Access::Token, |request: Request| {
            Answer::plain(StatusCode::OK, request.body.len())
        });
    let mut service = TelemetryService::new(Arc::new(routes));
    let request = |method: &str, path: &str| hyper::Request::builder().method(method).uri(path);

    let (status, text) = ask(&mut service, request("GET", "/metrics").body(Empty::<Bytes>::new()).unwrap());
    assert_eq!(status, 200);
    assert!(text.contains("trading_system_info") && text.contains("trading_component_up"));
    assert!(!text.contains("trading_fill_latency_ms") && !text.contains("trading_kill_switch_active"));
    let (_, text) =
        ask(&mut service, request("POST", "/echo/x").body(Full::new(Bytes::from("abc"))).unwrap());
    assert_eq!(text, "3\n");
    let (status, _) = ask(&mut service, request("GET", "/nowhere").body(Empty::<Bytes>::new()).unwrap());
    assert_eq!(status, 404);
}
