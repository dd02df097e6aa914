//! What tests with sockets share: a runtime, servers, and reading verdicts.

// Each test uses some of it.
#![allow(dead_code)]

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use probe::{Reason, ReasonKind, Stage, Verdict};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::task::LocalSet;

/// Long enough for anything that ends.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// Runs `work` as a program would.
pub(crate) fn block_on<F: Future>(work: F) -> F::Output {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    LocalSet::new().block_on(&runtime, work)
}

/// A server that runs `serve` on each connection, in its own thread.
pub(crate) fn server(serve: impl Fn(TcpStream) + Clone + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let addr = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = serve.clone();
            thread::spawn(move || serve(stream));
        }
    });
    addr
}

/// Reads a request, up to the empty line.
pub(crate) fn read_request(stream: &mut impl Read) -> String {
    let (mut request, mut byte) = (Vec::new(), [0]);
    while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|length| length > 0) {
        request.push(byte[0]);
    }
    String::from_utf8_lossy(&request).into_owned()
}

/// A file of `tests/tls`.
pub(crate) fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls").join(name)
}

/// A TLS server's configuration with this certificate.
pub(crate) fn tls_server(certificate: &str, tls12: bool) -> Arc<ServerConfig> {
    let certificate = CertificateDer::from_pem_file(file(certificate)).expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(file("server.key")).expect("a key");
    let versions: &[_] =
        if tls12 { &[&rustls::version::TLS12] } else { &[&rustls::version::TLS13] };
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .and_then(|it| it.with_no_client_auth().with_single_cert(vec![certificate], key))
        .expect("a configuration");
    Arc::new(config)
}

/// The kind of a verdict's reason, and the stage.
pub(crate) fn why(verdict: &Verdict) -> (ReasonKind, Stage) {
    let reason: &Reason = verdict.reason().unwrap_or_else(|| panic!("it's up"));
    (reason.kind(), reason.stage())
}
