//! TLS of the checks, with a crypto provider that is chosen by name: rustls panics where a service's crates bring two
//! and none is installed.

use std::fs;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::failure::{CheckError, CheckFailure, Problem};

/// Whom a check trusts.
#[derive(Clone, Debug, Default)]
pub(super) enum Trust {
    /// Whom the system trusts.
    #[default]
    System,
    /// These certificates alone.
    Only(Arc<ClientConfig>),
}

impl Trust {
    /// Trusts the certificates of a PEM file, or the system's where there is none.
    pub(super) fn of_file(path: Option<&Path>) -> Result<Self, CheckError> {
        let Some(path) = path else { return Ok(Self::System) };
        let pem = fs::read(path)
            .map_err(|error| Problem::Certificate { why: format!("{}: {error}", path.display()) })?;
        Self::of_pem(&pem)
    }

    /// Trusts these certificates alone.
    pub(super) fn of_pem(pem: &[u8]) -> Result<Self, CheckError> {
        let unusable = |why: &dyn std::fmt::Display| Problem::Certificate { why: why.to_string() };
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| unusable(&error))?;
            roots.add(certificate).map_err(|error| unusable(&error))?;
        }
        if roots.is_empty() {
            return Err(unusable(&"there is none").into());
        }
        Ok(Self::Only(client(roots).map_err(|error| unusable(&error))?))
    }

    /// The configuration. The system's certificates are read when they are first needed.
    pub(super) fn config(&self) -> Result<Arc<ClientConfig>, CheckFailure> {
        static SYSTEM: OnceLock<Arc<ClientConfig>> = OnceLock::new();
        match self {
            Self::Only(config) => Ok(Arc::clone(config)),
            Self::System => {
                if let Some(config) = SYSTEM.get() {
                    return Ok(Arc::clone(config));
                }
                let mut roots = RootCertStore::empty();
                // One bad certificate among a hundred must not cost the others; without any the handshake says so.
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                let config = client(roots)?;
                Ok(Arc::clone(SYSTEM.get_or_init(|| config)))
            }
        }
    }
}

fn client(roots: RootCertStore) -> Result<Arc<ClientConfig>, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}
