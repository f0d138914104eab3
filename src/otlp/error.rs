//! Why an export could not be set up.

use super::Signal;

/// Why the export of a signal could not be set up. What goes wrong later is counted and told in the log instead.
#[derive(Debug, thiserror::Error)]
#[error("cannot export {} over OTLP: {problem}", signal.map_or("anything", Signal::as_str))]
pub(crate) struct OtlpError {
    signal: Option<Signal>,
    #[source]
    problem: Problem,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum Problem {
    #[error("{0}")]
    Endpoint(String),
    #[error("{0}")]
    Header(String),
    #[error("{0}")]
    Tls(String),
    #[error("{0}")]
    Runtime(String),
}

impl Problem {
    pub(super) fn of(self, signal: Signal) -> OtlpError {
        OtlpError { signal: Some(signal), problem: self }
    }
}

impl From<Problem> for OtlpError {
    fn from(problem: Problem) -> Self {
        Self { signal: None, problem }
    }
}

impl OtlpError {
    /// Whether the endpoint is not one that OTLP can go to.
    #[cfg(test)]
    pub(crate) fn is_endpoint(&self) -> bool {
        matches!(self.problem, Problem::Endpoint(_))
    }

    /// Whether a header has a name or value that no request may have.
    #[cfg(test)]
    pub(crate) fn is_header(&self) -> bool {
        matches!(self.problem, Problem::Header(_))
    }

    /// Whether a certificate or key could not be read or used.
    #[cfg(test)]
    pub(crate) fn is_tls(&self) -> bool {
        matches!(self.problem, Problem::Tls(_))
    }
}
