//! `/health` and `/ready`: what is known, as JSON. Neither asks a component.

use std::collections::BTreeMap;
use std::time::Duration;

use hyper::StatusCode;
use serde::Serialize;

use super::component::ComponentHealth;
use super::handle::Health;
use crate::server::{Answer, Request};

#[derive(Serialize)]
struct Body<'a> {
    status: &'static str,
    service: &'a str,
    components: BTreeMap<&'a str, Component<'a>>,
}

#[derive(Serialize)]
struct Component<'a> {
    status: &'static str,
    critical: bool,
    may_be_away: bool,
    age_seconds: Option<f64>,
    duration_seconds: Option<f64>,
    last_success: Option<String>,
    last_error: Option<&'a str>,
    last_error_age_seconds: Option<f64>,
}

impl<'a> From<&'a ComponentHealth> for Component<'a> {
    fn from(component: &'a ComponentHealth) -> Self {
        let seconds = |time: Option<Duration>| time.map(|time| time.as_secs_f64());
        Self {
            status: component.status.as_str(),
            critical: component.critical,
            may_be_away: component.may_be_away,
            age_seconds: seconds(component.age),
            duration_seconds: seconds(component.check_duration),
            last_success: component.last_success.map(|at| format!("{at:.3}")),
            last_error: component.last_error.as_deref(),
            last_error_age_seconds: seconds(component.last_error_age),
        }
    }
}

/// `/health`: the process lives, whatever its components do.
pub(crate) fn alive(health: Health) -> impl Fn(Request) -> Answer {
    move |_| answer(&health, StatusCode::OK, "alive", &health.components())
}

/// `/ready`: 503 where a critical component is not up.
pub(crate) fn ready(health: Health) -> impl Fn(Request) -> Answer {
    move |_| {
        let components = health.components();
        if components.iter().all(ComponentHealth::is_ready) {
            answer(&health, StatusCode::OK, "ready", &components)
        } else {
            answer(&health, StatusCode::SERVICE_UNAVAILABLE, "not_ready", &components)
        }
    }
}

fn answer(health: &Health, code: StatusCode, status: &'static str, components: &[ComponentHealth]) -> Answer {
    let components = components.iter().map(|one| (one.name.as_str(), one.into())).collect();
    let body = Body { status, service: health.service(), components };
    match serde_json::to_vec(&body) {
        Ok(json) => Answer::new(code, "application/json", json),
        Err(error) => Answer::plain(StatusCode::INTERNAL_SERVER_ERROR, error),
    }
}
