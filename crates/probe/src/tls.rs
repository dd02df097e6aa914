//! TLS around a conversation: rustls, which does no I/O either.

use std::io::{Read as _, Write as _};
use std::net::IpAddr;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore,
    SignatureScheme,
};

use crate::conversation::{Closed, Conversation, Step};
use crate::probe::{Tls, Verify};
use crate::text::printable;
use crate::verdict::{Reason, ReasonKind, Stage, Verdict};

/// A TLS configuration for servers, ready for use.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    client: Arc<ClientConfig>,
    name: Option<ServerName<'static>>,
}

impl Config {
    /// Builds the configuration that `tls` describes; `roots` are needed only if it verifies.
    pub(crate) fn new(tls: &Tls, roots: RootCertStore) -> Result<Self, InvalidTls> {
        let name = match &tls.name {
            Some(name) => {
                let name = ServerName::try_from(name.clone());
                Some(name.map_err(|_| InvalidTls::Name)?)
            }
            None => None,
        };
        let provider = Arc::new(ring::default_provider());
        let verifier = Verifier::new(tls.verify, roots, &provider)?;
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|_| InvalidTls::Roots)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        // A check must see the certificate every time.
        client.resumption = Resumption::disabled();
        Ok(Self { client: Arc::new(client), name })
    }

    /// Wraps a conversation with the server at `address`.
    pub(crate) fn wrap<'a, C: Conversation>(&'a self, inner: C, address: IpAddr) -> Secured<'a, C> {
        Secured { config: self, address, session: None, inner, started: false, plain: Vec::new() }
    }
}

/// Why TLS can't be used that way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InvalidTls {
    Name,
    Roots,
}

/// A conversation over TLS.
#[derive(Debug)]
pub(crate) struct Secured<'a, C> {
    config: &'a Config,
    address: IpAddr,
    session: Option<ClientConnection>,
    inner: C,
    /// The handshake is over, and the inner conversation has begun.
    started: bool,
    /// What the inner conversation has to send.
    plain: Vec<u8>,
}

impl<C: Conversation> Secured<'_, C> {
    /// Passes decrypted data to the inner conversation, and encrypts its output.
    fn go_on(&mut self, ended: Option<Closed>) -> Result<Step, rustls::Error> {
        let Some(session) = &mut self.session else { return Ok(Step::Continue) };
        if session.is_handshaking() {
            return Ok(Step::Continue);
        }
        let mut step = Step::Continue;
        if !self.started {
            self.started = true;
            step = self.inner.start(&mut self.plain);
        }
        let mut bytes = [0; 4096];
        while step == Step::Continue {
            match session.reader().read(&mut bytes) {
                Ok(0) => step = self.inner.closed(Closed::End),
                Ok(length) => step = self.inner.received(&bytes[..length], &mut self.plain),
                // Either there is no more data for now, or the server has ended the connection
                // without ending the session, as many do.
                Err(_) => match ended {
                    Some(how) => step = self.inner.closed(how),
                    None => break,
                },
            }
        }
        // This only writes to the session's buffer. For data written after the handshake, only
        // the buffer's own default limit applies, which is larger than anything a check sends.
        session
            .writer()
            .write_all(&self.plain)
            .map_err(|error| rustls::Error::General(error.to_string()))?;
        self.plain.clear();
        Ok(step)
    }

    fn flush(&mut self, out: &mut Vec<u8>) {
        if let Some(session) = &mut self.session {
            while session.wants_write() && session.write_tls(out).is_ok_and(|length| length > 0) {}
        }
    }

    fn take_in(&mut self, mut bytes: &[u8]) -> Result<Step, rustls::Error> {
        let mut step = Step::Continue;
        while !bytes.is_empty() && step == Step::Continue {
            let Some(session) = &mut self.session else { break };
            match session.read_tls(&mut bytes) {
                // The session is over; ignore anything after its end.
                Ok(0) => break,
                Ok(_) => {}
                Err(error) => return Err(rustls::Error::General(error.to_string())),
            }
            session.process_new_packets()?;
            step = self.go_on(None)?;
        }
        Ok(step)
    }
}

impl<C: Conversation> Conversation for Secured<'_, C> {
    fn start(&mut self, out: &mut Vec<u8>) -> Step {
        let name =
            self.config.name.clone().unwrap_or_else(|| ServerName::IpAddress(self.address.into()));
        self.started = false;
        self.plain.clear();
        match ClientConnection::new(Arc::clone(&self.config.client), name) {
            Ok(session) => self.session = Some(session),
            Err(error) => {
                let text = format!("cannot begin TLS: {error}");
                let reason = Reason::new(ReasonKind::Local, Stage::Tls, text);
                return Step::Done(Verdict::Inconclusive(reason));
            }
        }
        self.flush(out);
        Step::Continue
    }

    fn received(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Step {
        let step = self.take_in(bytes);
        self.flush(out);
        step.unwrap_or_else(|error| failed(&error))
    }

    fn closed(&mut self, how: Closed) -> Step {
        if self.started {
            return self.go_on(Some(how)).unwrap_or_else(|error| failed(&error));
        }
        Step::Done(Verdict::down(
            ReasonKind::Closed,
            Stage::Tls,
            "connection ended before TLS was agreed on",
        ))
    }

    fn stage(&self) -> Stage {
        if self.started { self.inner.stage() } else { Stage::Tls }
    }
}

fn failed(error: &rustls::Error) -> Step {
    let text = match error {
        rustls::Error::InvalidCertificate(error) => {
            format!("certificate not accepted: {}", printable(error.to_string().as_bytes()))
        }
        // The record's type or length is wrong: the server speaks another protocol.
        rustls::Error::InvalidMessage(_) => "the server doesn't speak TLS".to_owned(),
        error => format!("TLS failed: {}", printable(error.to_string().as_bytes())),
    };
    Step::Done(Verdict::down(ReasonKind::Tls, Stage::Tls, text))
}

/// Verifies of a certificate what a check demands.
#[derive(Debug)]
struct Verifier {
    /// None if nothing is verified.
    web_pki: Option<Arc<WebPkiServerVerifier>>,
    /// Whether to verify the name.
    name: bool,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    fn new(
        verify: Verify,
        roots: RootCertStore,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, InvalidTls> {
        let web_pki = match verify {
            Verify::Nothing => None,
            Verify::Chain | Verify::Name => {
                let builder = WebPkiServerVerifier::builder_with_provider(
                    Arc::new(roots),
                    Arc::clone(provider),
                );
                Some(builder.build().map_err(|_| InvalidTls::Roots)?)
            }
        };
        Ok(Self { web_pki, name: verify == Verify::Name, provider: Arc::clone(provider) })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(web_pki) = &self.web_pki else { return Ok(ServerCertVerified::assertion()) };
        match web_pki.verify_server_cert(certificate, intermediates, name, ocsp, now) {
            // The name is verified last.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.name => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
