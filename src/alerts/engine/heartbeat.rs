//! The URL that is called after evaluations, so that a dead process is noticed by somebody else.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::config::Heartbeat;
use crate::alerts::channels::{ChannelError, Endpoint, HttpSettings};

/// Calls the URL, at most once an interval.
#[derive(Debug)]
pub(super) struct Heart {
    endpoint: Arc<Endpoint>,
    interval: Duration,
    last: Option<Instant>,
}

impl Heart {
    pub(super) fn new(heartbeat: &Heartbeat, http: &HttpSettings) -> Result<Self, ChannelError> {
        let endpoint = Endpoint::new("heartbeat", heartbeat.url.clone(), http)?;
        Ok(Self { endpoint: Arc::new(endpoint), interval: heartbeat.interval, last: None })
    }

    /// Calls it if it is time. What becomes of the call is for the one who waits for it to notice.
    pub(super) fn beat(&mut self) {
        if self.last.is_some_and(|last| last.elapsed() < self.interval) {
            return;
        }
        self.last = Some(Instant::now());
        let endpoint = Arc::clone(&self.endpoint);
        tokio::spawn(async move {
            if let Err(failure) = endpoint.get().await {
                tracing::debug!(target: "trading_telemetry", %failure, "alert_heartbeat_failed");
            }
        });
    }
}
