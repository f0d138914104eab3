//! `/metrics`: one collection and one body for all that ask at the same time, on a thread where it may block.

use std::future::Future;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header::{ACCEPT, ACCEPT_ENCODING};
use tokio::sync::oneshot;

use super::routes::{Answer, Endpoint, Request};
use crate::background;
use crate::exposition::{Families, Format, NameFilter, Renderer, Selection, accepts_gzip};
use crate::lock::lock;
use crate::metrics::Collected;

/// Why a scrape has no body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum CollectError {
    /// The collection panicked.
    #[error("the metrics could not be collected; the log of the service says why")]
    Failed,
    /// Too many wait for a collection that does not end, or no thread could be started for it.
    #[error("too many scrapes wait for one collection; a callback of an instrument may hang")]
    Busy,
}

/// Collects once. Called on a thread where it may block, never twice at a time.
pub(crate) type Source = Arc<dyn Fn() -> Collected + Send + Sync>;

/// What a body depends on.
#[derive(Clone, Debug, PartialEq)]
struct Form {
    selection: Selection,
    format: Format,
    gzip: bool,
}

type Body = Result<Bytes, CollectError>;

/// Collects and renders for all endpoints of the process.
pub(crate) struct Scraper {
    source: Source,
    renderer: Mutex<Renderer>,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    /// Whether a thread is collecting, or about to.
    running: bool,
    forms: Vec<(Form, Vec<oneshot::Sender<Body>>)>,
}

/// More than the server has connections: reached only where another server without such a limit serves the same routes
/// and a collection hangs.
const MAX_WAITING: usize = 1_024;

impl std::fmt::Debug for Scraper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scraper").finish_non_exhaustive()
    }
}

impl Scraper {
    /// A scraper of this source.
    pub(crate) fn new(source: Source) -> Arc<Self> {
        Arc::new(Self { source, renderer: Mutex::default(), waiting: Mutex::default() })
    }

    /// The body of a form. Whoever asks while a collection runs shares it; whoever asks while bodies are written waits
    /// for the next, so that no figure is older than the question.
    async fn body(self: &Arc<Self>, form: Form) -> Body {
        let (sender, receiver) = oneshot::channel();
        let start = {
            let mut waiting = lock(&self.waiting);
            waiting.forget_the_gone();
            if waiting.len() >= MAX_WAITING {
                return Err(CollectError::Busy);
            }
            waiting.add(form, sender);
            !std::mem::replace(&mut waiting.running, true)
        };
        if start {
            let this = Arc::clone(self);
            if background::spawn("telemetry-scrape", move || this.run()).is_err() {
                let mut waiting = lock(&self.waiting);
                waiting.running = false;
                waiting.forms.clear();
                return Err(CollectError::Busy);
            }
        }
        receiver.await.unwrap_or(Err(CollectError::Failed))
    }

    /// How many wait for a body now.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        lock(&self.waiting).len()
    }

    /// Collects until nobody waits.
    fn run(&self) {
        while self.is_asked() {
            let collected = catch_unwind(AssertUnwindSafe(|| (self.source)()));
            let forms = std::mem::take(&mut lock(&self.waiting).forms);
            match collected {
                Ok(collected) => self.answer(&collected, forms),
                Err(_) => {
                    for sender in forms.into_iter().flat_map(|(_, senders)| senders) {
                        let _ = sender.send(Err(CollectError::Failed)); // gone: nobody to tell
                    }
                }
            }
        }
    }

    fn is_asked(&self) -> bool {
        let mut waiting = lock(&self.waiting);
        waiting.forget_the_gone();
        waiting.running = !waiting.forms.is_empty();
        waiting.running
    }

    fn answer(&self, collected: &Collected, forms: Vec<(Form, Vec<oneshot::Sender<Body>>)>) {
        let mut plain: Vec<(Selection, Format, Bytes)> = Vec::new();
        for (form, senders) in forms {
            let known = plain
                .iter()
                .find(|(selection, format, _)| *selection == form.selection && *format == form.format)
                .map(|(.., body)| body.clone());
            let body = known.map_or_else(|| self.render(collected, &form), Ok).and_then(|body| {
                plain.push((form.selection, form.format, body.clone()));
                if form.gzip { compress(&body) } else { Ok(body) }
            });
            for sender in senders {
                let _ = sender.send(body.clone());
            }
        }
    }

    fn render(&self, collected: &Collected, form: &Form) -> Body {
        let mut renderer = lock(&self.renderer);
        catch_unwind(AssertUnwindSafe(|| renderer.render(collected, &form.selection, form.format)))
            .map(Bytes::from)
            .map_err(|_| CollectError::Failed)
    }
}

impl Waiting {
    fn len(&self) -> usize {
        self.forms.iter().map(|(_, senders)| senders.len()).sum()
    }

    fn add(&mut self, form: Form, sender: oneshot::Sender<Body>) {
        match self.forms.iter_mut().find(|(known, _)| *known == form) {
            Some((_, senders)) => senders.push(sender),
            None => self.forms.push((form, vec![sender])),
        }
    }

    /// A client that went away must not be remembered for as long as a collection hangs.
    fn forget_the_gone(&mut self) {
        for (_, senders) in &mut self.forms {
            senders.retain(|sender| !sender.is_closed());
        }
        self.forms.retain(|(_, senders)| !senders.is_empty());
    }
}

/// Level 1: a third of level 6's time for a few per cent of its size.
fn compress(body: &[u8]) -> Body {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 8), Compression::fast());
    let written = encoder.write_all(body).and_then(|()| encoder.finish());
    written.map(Bytes::from).map_err(|_| CollectError::Failed)
}

/// The endpoint of `/metrics`.
#[derive(Clone, Debug)]
pub(crate) struct MetricsEndpoint {
    scraper: Arc<Scraper>,
    families: Families,
}

impl MetricsEndpoint {
    /// Shows these families of what the scraper collects.
    pub(crate) const fn new(scraper: Arc<Scraper>, families: Families) -> Self {
        Self { scraper, families }
    }
}

impl Endpoint for MetricsEndpoint {
    fn answer(&self, request: Request) -> Pin<Box<dyn Future<Output = Answer> + Send + '_>> {
        let form = Form {
            selection: Selection {
                families: self.families.clone(),
                names: NameFilter::from_query(request.head.uri.query()),
            },
            format: Format::from_accept(request.header(ACCEPT).as_deref()),
            gzip: accepts_gzip(request.header(ACCEPT_ENCODING).as_deref()),
        };
        let (content_type, gzip) = (form.format.content_type(), form.gzip);
        Box::pin(async move {
            match self.scraper.body(form).await {
                Ok(body) => {
                    Answer { gzip, negotiated: true, ..Answer::new(StatusCode::OK, content_type, body) }
                }
                Err(CollectError::Failed) => {
                    Answer::plain(StatusCode::INTERNAL_SERVER_ERROR, CollectError::Failed)
                }
                Err(error) => Answer::plain(StatusCode::SERVICE_UNAVAILABLE, error),
            }
        })
    }
}
