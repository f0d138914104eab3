//! TLS, for https alone: where there is none, no certificate is read and no crypto needed.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use http::Uri;
use http::uri::Scheme;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{ClientConfig, RootCertStore};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use super::config::TargetConfig;
use super::error::Problem;

/// Makes sure that the process has a crypto provider. Where a service's crates bring two, rustls would panic for want
/// of a choice; one that was installed before stays.
pub(crate) fn install_crypto_provider() {
    _ = aws_lc_rs::default_provider().install_default();
}

struct Files {
    trusted: Option<Vec<u8>>,
    identity: Option<(Vec<u8>, Vec<u8>)>,
}

fn files(target: &TargetConfig) -> Result<Files, Problem> {
    let trusted = target.certificate.as_deref().map(|path| read("certificate", path)).transpose()?;
    let identity = match (&target.client_certificate, &target.client_key) {
        (Some(certificate), Some(key)) => {
            Some((read("client certificate", certificate)?, read("client key", key)?))
        }
        (None, None) => None,
        (Some(_), None) => {
            return Err(Problem::Tls("there is a client certificate but no client key; set both".to_owned()));
        }
        (None, Some(_)) => {
            return Err(Problem::Tls("there is a client key but no client certificate; set both".to_owned()));
        }
    };
    Ok(Files { trusted, identity })
}

fn read(what: &str, path: &Path) -> Result<Vec<u8>, Problem> {
    fs::read(path).map_err(|error| {
        Problem::Tls(format!("cannot read the {what} {}: {error}; check the path", path.display()))
    })
}

/// Errors of what is in the files, without their content.
fn unusable() -> Problem {
    Problem::Tls(
        "a certificate or key cannot be used; each file has to be PEM, the key fit its certificate"
            .to_owned(),
    )
}

/// Finishes OTLP/HTTP's client.
pub(super) fn http_client(
    builder: reqwest::ClientBuilder,
    uri: &Uri,
    target: &TargetConfig,
) -> Result<reqwest::Client, Problem> {
    if uri.scheme() != Some(&Scheme::HTTPS) {
        // reqwest prepares TLS in any case; this keeps it from reading the system's certificates.
        return builder.tls_backend_preconfigured(trusting_nobody()?).build().map_err(|_| unusable());
    }
    install_crypto_provider();
    let Files { trusted, identity } = files(target)?;
    let mut builder = builder.https_only(true);
    if let Some((mut certificate, key)) = identity {
        certificate.push(b'\n');
        certificate.extend(key);
        builder = builder.identity(reqwest::Identity::from_pem(&certificate).map_err(|_| unusable())?);
    }
    if let Some(trusted) = trusted {
        let trusted = reqwest::Certificate::from_pem_bundle(&trusted).map_err(|_| unusable())?;
        if trusted.is_empty() {
            return Err(unusable());
        }
        builder = if has_system_certificates() {
            builder.tls_certs_merge(trusted)
        } else {
            builder.tls_certs_only(trusted)
        };
    }
    builder.build().map_err(|_| unusable())
}

/// Finishes OTLP/gRPC's endpoint.
pub(super) fn endpoint(endpoint: Endpoint, uri: &Uri, target: &TargetConfig) -> Result<Endpoint, Problem> {
    if uri.scheme() != Some(&Scheme::HTTPS) {
        return Ok(endpoint);
    }
    install_crypto_provider();
    let Files { trusted, identity } = files(target)?;
    let mut config = ClientTlsConfig::new();
    if trusted.is_none() || has_system_certificates() {
        config = config.with_native_roots();
    }
    if let Some(trusted) = trusted {
        if reqwest::Certificate::from_pem_bundle(&trusted).map_err(|_| unusable())?.is_empty() {
            return Err(unusable());
        }
        config = config.ca_certificate(Certificate::from_pem(trusted));
    }
    if let Some((certificate, key)) = identity {
        config = config.identity(Identity::from_pem(certificate, key));
    }
    endpoint.tls_config(config).map_err(|_| unusable())
}

/// Containers often have none, and then the ones that were given have to do.
fn has_system_certificates() -> bool {
    !rustls_native_certs::load_native_certs().certs.is_empty()
}

fn trusting_nobody() -> Result<ClientConfig, Problem> {
    let provider =
        CryptoProvider::get_default().cloned().unwrap_or_else(|| Arc::new(aws_lc_rs::default_provider()));
    let config =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(
            |_| Problem::Tls("the crypto provider knows no version of TLS; install another".to_owned()),
        )?;
    Ok(config.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}
