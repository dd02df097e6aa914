//! Trusted certificates, read once for each TLS configuration.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::rc::Rc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::PrepareError;
use crate::conversation::Conversation;
use crate::probe::{Roots, Tls, Verify};
use crate::tls::{Config, InvalidTls};

/// Wraps conversations in TLS, for those who own their connections. A [`Runner`](crate::Runner)
/// does it by itself.
///
/// ```
/// use probe::{Conversation, Http, Step, Tls, TlsClient};
///
/// let client = TlsClient::new(&Tls::default())?;
/// let addr: std::net::SocketAddr = "10.10.10.102:443".parse()?;
/// let http = Http::new("/");
/// let mut conversation = client.wrap(http.exchange(addr, true), addr.ip());
/// let mut out = Vec::new();
/// assert_eq!(conversation.start(&mut out), Step::Continue);
/// // A handshake record (RFC 8446, 5.1).
/// assert_eq!(out[0], 22);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct TlsClient(Config);

impl TlsClient {
    /// A client as `tls` describes it. Reads the trusted certificates, if it verifies.
    ///
    /// # Errors
    ///
    /// If its certificates can't be read, or its name isn't a server's name.
    pub fn new(tls: &Tls) -> Result<Self, PrepareError> {
        read(tls).map(Self)
    }

    /// A conversation with the server at `address` that holds `inner` over TLS.
    pub fn wrap<'a, C: Conversation + 'a>(
        &'a self,
        inner: C,
        address: IpAddr,
    ) -> impl Conversation + use<'a, C> {
        self.0.wrap(inner, address)
    }
}

/// The TLS configurations of the probes.
#[derive(Debug, Default)]
pub(super) struct Configs(RefCell<HashMap<Tls, Rc<Config>>>);

impl Configs {
    /// The configuration for `tls`; its files are read on first use.
    pub(super) fn get(&self, tls: &Tls) -> Result<Rc<Config>, PrepareError> {
        if let Some(config) = self.0.borrow().get(tls) {
            return Ok(Rc::clone(config));
        }
        let config = Rc::new(read(tls)?);
        self.0.borrow_mut().insert(tls.clone(), Rc::clone(&config));
        Ok(config)
    }
}

/// Reads the files of `tls`.
fn read(tls: &Tls) -> Result<Config, PrepareError> {
    let (place, roots) = match (&tls.roots, tls.verify) {
        (_, Verify::Nothing) => (String::new(), Ok(RootCertStore::empty())),
        (Roots::System, _) => ("this system".to_owned(), system()),
        (Roots::File(path), _) => (path.display().to_string(), file(path)),
    };
    let roots = roots.map_err(|source| PrepareError::Roots { place: place.clone(), source })?;
    Config::new(tls, roots).map_err(|error| match error {
        InvalidTls::Name => PrepareError::ServerName { name: tls.name.clone().unwrap_or_default() },
        InvalidTls::Roots => {
            let source = io::Error::new(io::ErrorKind::InvalidData, "no certificate is usable");
            PrepareError::Roots { place, source }
        }
    })
}

fn system() -> io::Result<RootCertStore> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    match found.errors.into_iter().next() {
        Some(error) if roots.is_empty() => Err(io::Error::other(error)),
        _ => Ok(roots),
    }
}

fn file(path: &Path) -> io::Result<RootCertStore> {
    let invalid = |error: String| io::Error::new(io::ErrorKind::InvalidData, error);
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&std::fs::read(path)?) {
        let certificate = certificate.map_err(|error| invalid(error.to_string()))?;
        roots.add(certificate).map_err(|error| invalid(error.to_string()))?;
    }
    Ok(roots)
}
