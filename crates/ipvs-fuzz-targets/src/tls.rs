use std::io::{Read as _, Write as _};
use std::sync::{Arc, OnceLock};

use probe::{Closed, Conversation, Http, Pattern, Step, Tls, TlsClient, Verdict};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};

/// The address of the server, which no connection is made to.
const ADDR: ([u8; 4], u16) = ([10, 10, 10, 102], 443);

/// The maximum number of bytes of a page.
const PAGE: usize = 600;

/// What a peer sends to a check that expects TLS: either the input itself, or the page in it, sent by
/// a real server, of whose records some bytes are changed, lost or added.
///
/// The check always ends, with a message on a single line. It says what a check without TLS says of
/// the same page; if something was changed on the way, it's up only if some beginning of the page is.
pub fn tls(input: &[u8]) {
    let Some((&[settings, cut], rest)) = input.split_first_chunk() else { return };
    let client = TlsClient::new(&Tls::default()).unwrap_or_else(|error| panic!("{error}"));
    let pattern = Pattern::perl("ok").unwrap_or_else(|error| panic!("{error}"));
    let http = Http::new("/").receive(pattern);
    let cut = usize::from(cut).max(1);
    let how = if settings & 4 == 0 { Closed::End } else { Closed::Reset };
    let mut check = client.wrap(http.exchange(ADDR.into(), true), ADDR.0.into());
    let mut out = Vec::new();
    assert_eq!(check.start(&mut out), Step::Continue);
    if settings & 1 != 0 {
        let verdict = feed(&mut check, rest, cut, &mut out).unwrap_or_else(|| end(&mut check, how));
        assert!(!verdict.is_up(), "nobody knows this session's keys");
        return;
    }
    let Some((edits, page)) = Edits::read(rest) else { return };
    let page = &page[..page.len().min(PAGE)];
    let notify = settings & 2 == 0;
    let config = config(settings & 8 != 0);
    let mut server =
        ServerConnection::new(Arc::clone(config)).unwrap_or_else(|error| panic!("{error}"));
    let verdict = converse(&mut check, &mut server, &mut out, page, notify, &edits, cut)
        .unwrap_or_else(|| end(&mut check, how));
    let text = verdict.to_string();
    assert!(text.chars().all(|char| !char.is_control()), "{text:?}");
    if edits.list.is_empty() {
        let how = if notify { Closed::End } else { how };
        assert_eq!(verdict, plain(&http, page, how));
    } else if verdict.is_up() {
        let beginnings = (0..=page.len()).map(|length| plain(&http, &page[..length], Closed::End));
        assert!(beginnings.into_iter().any(|it| it.is_up()), "{text}");
    }
}

/// Passes on what both sides say, until neither says more.
fn converse(
    check: &mut impl Conversation,
    server: &mut ServerConnection,
    out: &mut Vec<u8>,
    page: &[u8],
    notify: bool,
    edits: &Edits,
    cut: usize,
) -> Option<Verdict> {
    let (mut sent, mut answered) = (0, false);
    loop {
        let said = std::mem::take(out);
        assert!(said.len() < 1 << 16, "a check says little");
        let mut said = &said[..];
        while !said.is_empty() && server.read_tls(&mut said).is_ok_and(|length| length > 0) {
            if server.process_new_packets().is_err() {
                break;
            }
        }
        let asked = server.reader().read(&mut [0; 4096]).is_ok_and(|length| length > 0);
        if asked && !answered {
            answered = true;
            server.writer().write_all(page).unwrap_or_else(|error| panic!("{error}"));
            if notify {
                server.send_close_notify();
            }
        }
        let mut reply = Vec::new();
        while server.wants_write() && server.write_tls(&mut reply).is_ok() {}
        let (changed, closes) = edits.apply(sent, &reply);
        sent += reply.len();
        if let Some(verdict) = feed(check, &changed, cut, out) {
            return Some(verdict);
        }
        if closes || (reply.is_empty() && out.is_empty()) {
            return None;
        }
    }
}

/// Passes bytes to a check, in pieces.
fn feed(
    check: &mut impl Conversation,
    bytes: &[u8],
    cut: usize,
    out: &mut Vec<u8>,
) -> Option<Verdict> {
    bytes.chunks(cut).find_map(|piece| match check.received(piece, out) {
        Step::Done(verdict) => Some(verdict),
        step => {
            assert_eq!(step, Step::Continue);
            None
        }
    })
}

fn end(check: &mut impl Conversation, how: Closed) -> Verdict {
    match check.closed(how) {
        Step::Done(verdict) => verdict,
        step => panic!("{step:?} at the end"),
    }
}

/// The verdict on the same page without TLS.
fn plain(http: &Http, page: &[u8], how: Closed) -> Verdict {
    let mut check = http.exchange(ADDR.into(), false);
    feed(&mut check, page, usize::MAX, &mut Vec::new()).unwrap_or_else(|| end(&mut check, how))
}

/// What happens to the server's bytes on the way.
struct Edits<'a> {
    /// Of four bytes each: where (two of them), what, and a value.
    list: &'a [u8],
}

impl<'a> Edits<'a> {
    /// A count below 4, and so many edits.
    fn read(input: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (count, rest) = input.split_first()?;
        let (list, page) = rest.split_at_checked(usize::from(count % 4) * 4)?;
        Some((Self { list }, page))
    }

    /// The bytes that arrive, of which the first is the one at `start`, and whether the connection
    /// ends with them.
    fn apply(&self, start: usize, bytes: &[u8]) -> (Vec<u8>, bool) {
        let mut changed = Vec::new();
        for (index, byte) in bytes.iter().enumerate() {
            let place = start + index;
            let here = |edit: &&[u8]| usize::from(u16::from_be_bytes([edit[0], edit[1]])) == place;
            match self.list.chunks_exact(4).find(here) {
                Some([.., what, value]) => match what % 4 {
                    0 => changed.push(byte ^ value),
                    1 => changed.extend([*value, *byte]),
                    2 => {}
                    _ => return (changed, true),
                },
                _ => changed.push(*byte),
            }
        }
        (changed, false)
    }
}

/// The server's configuration: TLS 1.2 or 1.3, with a certificate from the tests.
fn config(old: bool) -> &'static Arc<ServerConfig> {
    static NEW: OnceLock<Arc<ServerConfig>> = OnceLock::new();
    static OLD: OnceLock<Arc<ServerConfig>> = OnceLock::new();
    let (place, version) = match old {
        true => (&OLD, &rustls::version::TLS12),
        false => (&NEW, &rustls::version::TLS13),
    };
    place.get_or_init(|| {
        let fail = |error: String| -> ! { panic!("{error}") };
        let certificate = include_bytes!("../../probe/tests/tls/good.pem");
        let certificate = CertificateDer::from_pem_slice(certificate)
            .unwrap_or_else(|error| fail(error.to_string()));
        let key = PrivateKeyDer::from_pem_slice(include_bytes!("../../probe/tests/tls/server.key"))
            .unwrap_or_else(|error| fail(error.to_string()));
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[version])
            .and_then(|it| it.with_no_client_auth().with_single_cert(vec![certificate], key))
            .unwrap_or_else(|error| fail(error.to_string()));
        Arc::new(config)
    })
}
