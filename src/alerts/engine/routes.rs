//! `/alerts`, and what may be done over HTTP where a bearer token is set.

use std::future::Future;
use std::num::ParseIntError;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::{Method, StatusCode};
use jiff::Timestamp;
use serde::Deserialize;

use super::handle::Alerts;
use crate::alerts::channels::ChannelError;
use crate::alerts::silence::Silence;
use crate::clock::Clock;
use crate::logs::{AUDIT_TARGET, EventFilter};
use crate::server::{Access, Answer, Endpoint, Request, Routes};

const JSON: &str = "application/json";

/// How long a test over HTTP waits for its channel: less than the server gives to an answer.
const TEST_LIMIT: Duration = Duration::from_secs(8);

/// Mounts `GET /alerts`, `GET /alerts/silences` and, where `has_token`, what changes something. Each change is an audit line.
pub(crate) fn mount(
    routes: Routes,
    alerts: &Alerts,
    filter: &EventFilter,
    clock: &Arc<dyn Clock>,
    has_token: bool,
) -> Routes {
    let view = alerts.shared.view.clone();
    let routes = routes.mount(Method::GET, "/alerts", Access::Token, move |_: Request| {
        Answer::new(StatusCode::OK, JSON, view.json())
    });
    let view = alerts.shared.view.clone();
    let routes = routes.mount(Method::GET, "/alerts/silences", Access::Token, move |_: Request| {
        Answer::new(StatusCode::OK, JSON, view.silences_json())
    });
    if !has_token {
        return routes;
    }
    let (silencing, clock) = (alerts.clone(), Arc::clone(clock));
    let filter = filter.clone();
    routes
        .mount(Method::POST, "/alerts/silences", Access::Token, move |request: Request| {
            silence(&silencing, &request, clock.wall())
        })
        .mount(Method::DELETE, "/alerts/silences/", Access::Token, EndSilence(alerts.clone()))
        .mount(Method::POST, "/alerts/test/", Access::Token, TestChannel(alerts.clone()))
        .mount(Method::PUT, "/log-filter", Access::Token, move |request: Request| {
            set_filter(&filter, &request)
        })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewSilence {
    id: String,
    rule: Option<String>,
    #[serde(default)]
    labels: Vec<String>,
    until: Timestamp,
    comment: Option<String>,
}

fn silence(alerts: &Alerts, request: &Request, now: Timestamp) -> Answer {
    let wanted: NewSilence = match serde_json::from_slice(&request.body) {
        Ok(wanted) => wanted,
        Err(error) => {
            return Answer::plain(
                StatusCode::BAD_REQUEST,
                format!(
                    "{error}; write {{\"id\": …, \"rule\": …, \"labels\": [\"component=\\\"redis\\\"\"], \
                     \"until\": \"2026-03-15T18:00:00Z\", \"comment\": …}}"
                ),
            );
        }
    };
    if wanted.until <= now {
        return Answer::plain(StatusCode::BAD_REQUEST, "`until` is over; write a time to come");
    }
    let labels: Vec<&str> = wanted.labels.iter().map(String::as_str).collect();
    match Silence::new(&wanted.id, wanted.rule.as_deref(), &labels, wanted.until, wanted.comment.as_deref()) {
        Ok(silence) => {
            if let Err(error) = alerts.silence(silence) {
                return Answer::plain(StatusCode::BAD_REQUEST, error);
            }
            tracing::info!(
                target: AUDIT_TARGET,
                silence = wanted.id,
                rule = wanted.rule,
                labels = wanted.labels.join(","),
                until = %wanted.until,
                comment = wanted.comment,
                "alert_silence_added"
            );
            Answer::new(StatusCode::CREATED, JSON, serde_json::json!({ "id": wanted.id }).to_string())
        }
        Err(error) => Answer::plain(StatusCode::BAD_REQUEST, error),
    }
}

struct EndSilence(Alerts);

impl Endpoint for EndSilence {
    fn answer(&self, request: Request) -> Pin<Box<dyn Future<Output = Answer> + Send + '_>> {
        Box::pin(async move {
            let id = decoded(&request.rest);
            if !self.0.end_silence(&id).await {
                return Answer::plain(
                    StatusCode::NOT_FOUND,
                    "no such silence was added here; those of the file end there",
                );
            }
            tracing::info!(target: AUDIT_TARGET, silence = id, "alert_silence_ended");
            Answer::plain(StatusCode::OK, "ended")
        })
    }
}

/// A part of a path as it was meant: an id may hold what a path cannot.
fn decoded(part: &str) -> String {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let hex = after.get(..2).filter(|_| byte == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        let code = hex.filter(|hex| hex.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let code = code.and_then(|code| u8::from_str_radix(code, 16).ok());
        bytes.push(code.unwrap_or(byte));
        rest = if code.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

struct TestChannel(Alerts);

impl Endpoint for TestChannel {
    fn answer(&self, request: Request) -> Pin<Box<dyn Future<Output = Answer> + Send + '_>> {
        Box::pin(async move {
            tracing::info!(target: AUDIT_TARGET, channel = request.rest, "alert_channel_tested");
            let tested = self.0.test_channel(&request.rest);
            match tokio::time::timeout(TEST_LIMIT, tested).await {
                Ok(Ok(())) => Answer::plain(StatusCode::OK, "delivered"),
                Ok(Err(error)) => Answer::plain(StatusCode::BAD_GATEWAY, error),
                Err(_) => {
                    let error = ChannelError::silent(&request.rest, TEST_LIMIT);
                    Answer::plain(StatusCode::GATEWAY_TIMEOUT, error)
                }
            }
        })
    }
}

/// The body is the filter; `?minutes=10` brings the one before it back by itself.
fn set_filter(filter: &EventFilter, request: &Request) -> Answer {
    let Ok(directives) = std::str::from_utf8(&request.body).map(str::trim) else {
        return Answer::plain(StatusCode::BAD_REQUEST, "the body is a filter, such as info,execution=debug");
    };
    let query = request.head.uri.query().filter(|query| !query.is_empty());
    // Taken for no time at all, a slip would change the filter for good.
    let Ok(minutes) = query.map(minutes).transpose() else {
        return Answer::plain(StatusCode::BAD_REQUEST, "`minutes` is a whole number, such as ?minutes=10");
    };
    let changed = match minutes {
        None => filter.set(directives),
        Some(minutes) => filter.set_for(directives, Duration::from_mins(minutes.into())),
    };
    match changed {
        Ok(()) => {
            tracing::info!(target: AUDIT_TARGET, filter = directives, minutes, "log_filter_changed");
            Answer::plain(StatusCode::OK, "changed")
        }
        Err(error) => Answer::plain(StatusCode::BAD_REQUEST, error),
    }
}

fn minutes(query: &str) -> Result<u32, ParseIntError> {
    query.strip_prefix("minutes=").unwrap_or_default().parse()
}
