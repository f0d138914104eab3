//! What each part brings home at the shutdown.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use crate::lock::lock;
use crate::logs::{DropReason, LogStats, Logs};
use crate::otlp::Otlp;
use crate::server::Server;
use crate::settings;
use crate::shutdown::{Signal, SignalOutcome, Stage};

/// The logs' signal: every accepted line is on disk or counted as lost.
pub(super) struct LogsSignal(pub(super) Arc<Logs>);

impl Signal for LogsSignal {
    fn name(&self) -> &'static str {
        "logs"
    }

    fn stage(&self) -> Stage {
        Stage::Log
    }

    fn flush(&self, deadline: Duration) -> bool {
        self.0.flush(deadline).is_ok()
    }

    fn shutdown(&self, deadline: Duration) -> SignalOutcome {
        let error = self.0.shutdown(deadline).err().map(|error| error.to_string());
        SignalOutcome { error, ..self.so_far() }
    }

    fn so_far(&self) -> SignalOutcome {
        let stats = || std::iter::once(self.0.stats()).chain(self.0.audit_stats());
        let lost = |stats: &LogStats| {
            DropReason::ALL.iter().map(|reason| stats.dropped(*reason)).sum::<u64>() + stats.audit_lost()
        };
        SignalOutcome {
            delivered: Some(stats().map(|stats| stats.written()).sum()),
            lost: stats().map(|stats| lost(stats)).sum(),
            ..SignalOutcome::default()
        }
    }
}

/// The server's signal: open requests end.
pub(super) struct ServerSignal(Mutex<Option<Server>>);

impl ServerSignal {
    pub(super) fn new(server: Server) -> Self {
        Self(Mutex::new(Some(server)))
    }
}

impl Signal for ServerSignal {
    fn name(&self) -> &'static str {
        "server"
    }

    fn shutdown(&self, deadline: Duration) -> SignalOutcome {
        let server = lock(&self.0).take();
        let ended = server.is_none_or(|server| server.shutdown(deadline));
        let error = (!ended).then(|| "requests were cut off".to_owned());
        SignalOutcome { error, ..SignalOutcome::default() }
    }
}

/// The export, shared by its signals: the first one that ends ends it for all.
pub(super) struct Export {
    otlp: Otlp,
    ended: OnceLock<()>,
}

impl Export {
    pub(super) fn new(otlp: Otlp) -> Arc<Self> {
        Arc::new(Self { otlp, ended: OnceLock::new() })
    }

    pub(super) fn otlp(&self) -> &Otlp {
        &self.otlp
    }
}

/// One signal's export: everything accepted has arrived or is counted as lost.
pub(super) struct ExportSignal {
    pub(super) export: Arc<Export>,
    pub(super) signal: settings::Signal,
}

impl Signal for ExportSignal {
    fn name(&self) -> &'static str {
        match self.signal {
            settings::Signal::Traces => "otlp traces",
            settings::Signal::Logs => "otlp logs",
            settings::Signal::Metrics => "otlp metrics",
        }
    }

    fn stage(&self) -> Stage {
        Stage::Export
    }

    fn flush(&self, deadline: Duration) -> bool {
        self.export.otlp.flush(deadline).of(self.signal).waiting == 0
    }

    fn shutdown(&self, deadline: Duration) -> SignalOutcome {
        self.export.ended.get_or_init(|| {
            self.export.otlp.shutdown(deadline);
        });
        self.so_far()
    }

    fn so_far(&self) -> SignalOutcome {
        let report = self.export.otlp.stats().report().of(self.signal);
        SignalOutcome {
            delivered: Some(report.exported),
            lost: report.lost + report.waiting,
            ..SignalOutcome::default()
        }
    }
}
