//! What is answered: a table of paths and methods, and who may ask.

use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::Arc;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Bytes};
use hyper::header::{
    ALLOW, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, VARY, WWW_AUTHENTICATE,
};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

/// The longest body of a request; silences and test messages are far shorter.
const MAX_BODY: usize = 64 * 1024;

const PLAIN: &str = "text/plain; charset=utf-8";

/// Who may call a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Anyone: probes of an orchestrator know no token.
    Open,
    /// Whoever has the bearer token, where one is set.
    Token,
}

/// A request whose route, method and token have been found good.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) head: Parts,
    /// Empty for `GET` and `HEAD`.
    pub(crate) body: Bytes,
    /// What follows the path of a route that ends in `/`.
    pub(crate) rest: String,
}

impl Request {
    /// A header's value, if it is text.
    pub(crate) fn header(&self, name: hyper::header::HeaderName) -> Option<String> {
        // One header may be spread over several lines.
        let lines: Vec<&str> =
            self.head.headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
        (!lines.is_empty()).then(|| lines.join(","))
    }
}

/// A response.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) content_type: &'static str,
    pub(crate) body: Bytes,
    pub(crate) gzip: bool,
    /// Whether another `Accept` or `Accept-Encoding` would have brought another answer.
    pub(crate) negotiated: bool,
}

impl Answer {
    pub(crate) fn new(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self { status, content_type, body: body.into(), gzip: false, negotiated: false }
    }

    /// One line for a person.
    pub(crate) fn plain(status: StatusCode, text: impl std::fmt::Display) -> Self {
        Self::new(status, PLAIN, format!("{text}\n"))
    }

    fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        if self.gzip {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        if self.negotiated {
            headers.insert(VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
        }
        response
    }
}

/// Answers the requests of a route. A closure from [`Request`] to [`Answer`] is one, if it returns at once.
pub(crate) trait Endpoint: Send + Sync + 'static {
    fn answer(&self, request: Request) -> Pin<Box<dyn Future<Output = Answer> + Send + '_>>;
}

impl<F: Fn(Request) -> Answer + Send + Sync + 'static> Endpoint for F {
    fn answer(&self, request: Request) -> Pin<Box<dyn Future<Output = Answer> + Send + '_>> {
        Box::pin(ready(self(request)))
    }
}

struct Route {
    path: &'static str,
    method: Method,
    access: Access,
    endpoint: Arc<dyn Endpoint>,
}

impl Route {
    /// The rest of the path, if this route is the path's.
    fn matches<'p>(&self, path: &'p str) -> Option<&'p str> {
        let rest = path.strip_prefix(self.path)?;
        (rest.is_empty() != self.path.ends_with('/')).then_some(rest)
    }
}

/// The table of routes, and the token that guards it.
pub(crate) struct Routes {
    token: Option<SecretString>,
    routes: Vec<Route>,
}

impl std::fmt::Debug for Routes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let paths = self.routes.iter().map(|route| (&route.method, route.path));
        f.debug_struct("Routes")
            .field("token", &self.token)
            .field("routes", &paths.collect::<Vec<_>>())
            .finish()
    }
}

impl Routes {
    /// No routes yet, guarded by this token, if there is one.
    pub(crate) const fn new(token: Option<SecretString>) -> Self {
        Self { token, routes: Vec::new() }
    }

    /// Adds a route. A path that ends in `/` takes whatever follows, as [`Request::rest`]; `GET` takes `HEAD` too.
    #[must_use]
    pub(crate) fn mount(
        mut self,
        method: Method,
        path: &'static str,
        access: Access,
        endpoint: impl Endpoint,
    ) -> Self {
        self.routes.push(Route { path, method, access, endpoint: Arc::new(endpoint) });
        self
    }

    /// The response to a request. Never fails: what goes wrong is a status.
    pub(crate) async fn handle<B>(&self, request: hyper::Request<B>) -> Response<Full<Bytes>>
    where
        B: Body,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (head, body) = request.into_parts();
        let path = head.uri.path();
        let here: Vec<(&Route, &str)> =
            self.routes.iter().filter_map(|route| Some((route, route.matches(path)?))).collect();

        // Without the token even the paths are nobody's business.
        let open = !here.is_empty() && here.iter().all(|(route, _)| route.access == Access::Open);
        if !open && !self.is_authorized(&head) {
            let text = "this needs the bearer token of monitoring.bearer_token: send it as \"Authorization: Bearer …\"";
            let mut response = Answer::plain(StatusCode::UNAUTHORIZED, text).into_response();
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            return response;
        }
        if here.is_empty() {
            return Answer::plain(
                StatusCode::NOT_FOUND,
                format_args!("nothing is here; try {}", self.pages()),
            )
            .into_response();
        }
        let wanted = if head.method == Method::HEAD { &Method::GET } else { &head.method };
        let Some((route, rest)) = here.iter().find(|(route, _)| route.method == *wanted) else {
            return method_not_allowed(here.iter().map(|(route, _)| &route.method));
        };
        let rest = (*rest).to_owned();
        let body = if *wanted == Method::GET {
            Bytes::new()
        } else {
            match Limited::new(body, MAX_BODY).collect().await {
                Ok(body) => body.to_bytes(),
                Err(error) if error.is::<http_body_util::LengthLimitError>() => {
                    return Answer::plain(StatusCode::PAYLOAD_TOO_LARGE, "the body is longer than 64 KiB")
                        .into_response();
                }
                Err(_) => {
                    return Answer::plain(StatusCode::BAD_REQUEST, "the body did not arrive whole")
                        .into_response();
                }
            }
        };
        route.endpoint.answer(Request { head, body, rest }).await.into_response()
    }

    /// The paths that a person can open.
    fn pages(&self) -> String {
        let pages =
            self.routes.iter().filter(|route| route.method == Method::GET && !route.path.ends_with('/'));
        pages.map(|route| route.path).collect::<Vec<_>>().join(", ")
    }

    fn is_authorized(&self, head: &Parts) -> bool {
        let Some(token) = &self.token else { return true };
        let Some(given) = head.headers.get(AUTHORIZATION) else { return false };
        let Some((scheme, given)) = given.as_bytes().split_at_checked(b"Bearer ".len()) else { return false };
        scheme.eq_ignore_ascii_case(b"Bearer ")
            && bool::from(given.trim_ascii().ct_eq(token.expose_secret().trim().as_bytes()))
    }
}

/// The answer where a route took too long.
pub(super) fn timed_out() -> Response<Full<Bytes>> {
    Answer::plain(
        StatusCode::SERVICE_UNAVAILABLE,
        "the answer takes too long; a callback of an instrument may hang",
    )
    .into_response()
}

fn method_not_allowed<'a>(methods: impl Iterator<Item = &'a Method>) -> Response<Full<Bytes>> {
    let mut allowed: Vec<&str> = Vec::new();
    for method in methods {
        allowed.push(method.as_str());
        if *method == Method::GET {
            allowed.push("HEAD");
        }
    }
    let allowed = allowed.join(", ");
    let text = format!("this takes {allowed} alone");
    let mut response = Answer::plain(StatusCode::METHOD_NOT_ALLOWED, text).into_response();
    if let Ok(value) = HeaderValue::from_str(&allowed) {
        response.headers_mut().insert(ALLOW, value);
    }
    response
}
