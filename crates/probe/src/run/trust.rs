//! Trusted certificates, read once for each TLS configuration.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::rc::Rc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::PrepareError;
use crate::probe::{Roots, Tls, Verify};
use crate::tls::{Config, InvalidTls};

/// The TLS configurations of the probes.
#[derive(Debug, Default)]
pub(super) struct Configs(RefCell<HashMap<Tls, Rc<Config>>>);

impl Configs {
    /// The configuration for `tls`; its files are read on first use.
    pub(super) fn get(&self, tls: &Tls) -> Result<Rc<Config>, PrepareError> {
        if let Some(config) = self.0.borrow().get(tls) {
            return Ok(Rc::clone(config));
        }
        let (place, roots) = match (&tls.roots, tls.verify) {
            (_, Verify::Nothing) => (String::new(), Ok(RootCertStore::empty())),
            (Roots::System, _) => ("this system".to_owned(), system()),
            (Roots::File(path), _) => (path.display().to_string(), file(path)),
        };
        let roots = roots.map_err(|source| PrepareError::Roots { place: place.clone(), source })?;
        let config = Config::new(tls, roots).map_err(|error| match error {
            InvalidTls::Name => {
                PrepareError::ServerName { name: tls.name.clone().unwrap_or_default() }
            }
            InvalidTls::Roots => {
                let source = io::Error::new(io::ErrorKind::InvalidData, "no certificate is usable");
                PrepareError::Roots { place, source }
            }
        })?;
        let config = Rc::new(config);
        self.0.borrow_mut().insert(tls.clone(), Rc::clone(&config));
        Ok(config)
    }
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
