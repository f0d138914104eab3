//! TLS, and settings that cannot work.

use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use super::*;

struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A file that is gone with its test.
struct Pem(PathBuf);

impl Pem {
    fn new(name: &str, text: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("otlp-tls-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let unique = opentelemetry_sdk::trace::IdGenerator::new_span_id(
            &opentelemetry_sdk::trace::RandomIdGenerator::default(),
        );
        let path = directory.join(format!("{unique}-{name}.pem"));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    fn path(&self) -> PathBuf {
        self.0.clone()
    }
}

impl Drop for Pem {
    fn drop(&mut self) {
        _ = std::fs::remove_file(&self.0);
    }
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Certificate and key, PEM.
    fn issue(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }

    /// A server that takes only clients of this authority.
    fn server(&self) -> ServerConfig {
        install_crypto_provider();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.0.pem().as_bytes()).unwrap()).unwrap();
        let clients = WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap();
        let (certificate, key) = self.issue("127.0.0.1");
        let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let mut config = ServerConfig::builder()
            .with_client_cert_verifier(clients)
            .with_single_cert(vec![certificate], key)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config
    }
}

#[test]
fn certificates_are_checked_and_shown() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let trusted = [Pem::new("ours", &ours.0.pem()), Pem::new("theirs", &theirs.0.pem())];
    let (certificate, key) = ours.issue("client");
    let (certificate, key) = (Pem::new("certificate", &certificate), Pem::new("key", &key));
    for protocol in BOTH {
        let collector = Receiver::start_tls(Behaviour::Take, ours.server());
        let exported = |authority: &Pem, shown: bool| {
            let mut traces = traces(protocol, &format!("https://{}", collector.address));
            traces.batch.timeout = Duration::from_secs(2);
            traces.target.certificate = Some(authority.path());
            if shown {
                traces.target.client_certificate = Some(certificate.path());
                traces.target.client_key = Some(key.path());
            }
            let process = Process::start(only_traces(traces));
            process.spans(1);
            let report = process.otlp.shutdown(PATIENCE).of(Signal::Traces);
            assert_eq!(report.exported + report.lost, 1);
            report.exported == 1
        };
        assert!(exported(&trusted[0], true), "{protocol:?}");
        assert!(!exported(&trusted[1], true), "{protocol:?}: a stranger's collector");
        assert!(!exported(&trusted[0], false), "{protocol:?}: without a certificate");
        assert_eq!(collector.spans().len(), 1);
    }
}

fn refused(change: impl Fn(&mut TargetConfig)) -> Vec<OtlpError> {
    let refuse = |protocol| {
        let mut traces = traces(protocol, "https://127.0.0.1:1");
        change(&mut traces.target);
        let shown = format!("{traces:?}");
        assert!(!shown.contains("s3cret"), "{shown}");
        Otlp::start(only_traces(traces)).unwrap_err()
    };
    BOTH.map(refuse).into()
}

#[test]
fn an_endpoint_that_is_none_is_refused_without_being_shown() {
    for endpoint in [
        "",
        "localhost:4317",
        "ftp://a/",
        "http://",
        "http://user:s3cret@host/",
        "/v1/s3cret",
        "http://a b/s3cret",
    ] {
        for error in refused(|target| target.endpoint = endpoint.to_owned()) {
            assert!(error.is_endpoint(), "{endpoint}: {error}");
            assert!(!format!("{error} {error:?}").contains("s3cret"), "{error:?}");
            assert!(
                error.to_string().starts_with("cannot export traces over OTLP: the endpoint "),
                "{error}"
            );
        }
    }
    let mut target = target(Protocol::HttpProtobuf, "http://user:s3cret@host:1", Signal::Logs);
    target.endpoint.push_str("?key=s3cret");
    assert_eq!(target.shown(), "http://host:1");
}

#[test]
fn a_header_that_no_request_may_have_is_refused_without_its_value() {
    for (name, value) in [("a b", "s3cret"), ("", "s3cret"), ("key", "s3cret\n")] {
        for error in refused(|target| target.headers = vec![(name.to_owned(), value.into())]) {
            assert!(error.is_header(), "{error}");
            assert!(!format!("{error} {error:?}").contains("s3cret"), "{error:?}");
        }
    }
}

#[test]
fn certificates_that_cannot_be_used_are_refused() {
    let garbage = Pem::new("garbage", "s3cret");
    let authority = Authority::new();
    let (certificate, key) = authority.issue("client");
    let (certificate, key) = (Pem::new("certificate", &certificate), Pem::new("key", &key));
    let missing = Some(PathBuf::from("/nowhere/ca.pem"));
    let changes: [&dyn Fn(&mut TargetConfig); 5] = [
        &|target| target.certificate = missing.clone(),
        &|target| target.certificate = Some(garbage.path()),
        &|target| target.client_key = Some(key.path()),
        &|target| target.client_certificate = Some(certificate.path()),
        &|target| {
            (target.client_certificate, target.client_key) = (Some(garbage.path()), Some(garbage.path()));
        },
    ];
    for (at, change) in changes.iter().enumerate() {
        for error in refused(change) {
            assert!(error.is_tls(), "{at}: {error}");
            assert!(!format!("{error} {error:?}").contains("s3cret"), "{error:?}");
        }
    }
    let missing = refused(changes[0]).remove(0).to_string();
    assert!(missing.contains("/nowhere/ca.pem"), "{missing}");
}
