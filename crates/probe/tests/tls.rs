//! HTTPS against a rustls server, with certificates that `tests/tls/make` generated with openssl.

mod support;

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, mpsc};
use std::thread;

use probe::{
    Check, Http, Limits, Pattern, Probe, ReasonKind, Roots, Runner, Stage, Tls, Verdict, Verify,
};
use rustls::{ServerConnection, StreamOwned};
use support::{LONG, file, read_request, tls_server};

/// A web server with this certificate, which reports the name that each client requests. It serves
/// one client after the other.
fn server(certificate: &str, tls12: bool) -> (SocketAddr, mpsc::Receiver<Option<String>>) {
    let config = tls_server(certificate, tls12);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = listener.local_addr().expect("an address");
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let session = ServerConnection::new(Arc::clone(&config)).expect("a session");
            let mut stream = StreamOwned::new(session, stream);
            read_request(&mut stream);
            let _ = sender.send(stream.conn.server_name().map(str::to_owned));
            // A body of several records that ends with the session.
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
            let _ = stream.write_all(&[b' '; 40_000]);
            let _ = stream.write_all(b"webserverisworking");
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    });
    (addr, receiver)
}

fn check(addr: SocketAddr, tls: Tls) -> Verdict {
    let http =
        Http::new("/check.txt").receive(Pattern::perl("webserverisworking$").expect("right"));
    let probe = Probe::new(addr, Check::Https(http, tls), LONG);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let runner = Runner::new(Limits::default());
    runner.prepare(&probe).expect("it can be made");
    runtime.block_on(runner.run(&probe)).verdict
}

fn tls(name: Option<&str>, verify: Verify, roots: Roots) -> Tls {
    let mut tls = Tls::default();
    tls.name = name.map(str::to_owned);
    tls.verify = verify;
    tls.roots = roots;
    tls
}

/// The result of each verification with each certificate: the text of a reason, or none.
#[test]
fn certificates_are_judged_as_asked() {
    let authority = || Roots::File(file("authority.pem"));
    for (certificate, name, verify, roots, expected) in [
        ("good.pem", Some("www.example"), Verify::Name, authority(), None),
        ("good.pem", None, Verify::Name, authority(), None),
        ("good.pem", Some("other.example"), Verify::Name, authority(), Some("not valid for name")),
        ("good.pem", Some("other.example"), Verify::Chain, authority(), None),
        ("good.pem", Some("www.example"), Verify::Chain, Roots::System, Some("UnknownIssuer")),
        ("good.pem", Some("www.example"), Verify::Nothing, Roots::System, None),
        ("expired.pem", Some("www.example"), Verify::Name, authority(), Some("expired")),
        ("expired.pem", Some("www.example"), Verify::Chain, authority(), Some("expired")),
        ("expired.pem", Some("other.example"), Verify::Chain, authority(), Some("expired")),
        ("expired.pem", None, Verify::Nothing, authority(), None),
        ("self-signed.pem", Some("www.example"), Verify::Chain, authority(), Some("UnknownIssuer")),
        ("self-signed.pem", Some("www.example"), Verify::Nothing, authority(), None),
    ] {
        let (addr, _) = server(certificate, false);
        let found = check(addr, tls(name, verify, roots));
        let case = format!("{certificate}, {name:?}, {verify:?}: {found}");
        match expected {
            None => assert_eq!(found, Verdict::Up, "{case}"),
            Some(text) => {
                let reason = found.reason().expect(&case);
                assert_eq!(
                    (reason.kind(), reason.stage()),
                    (ReasonKind::Tls, Stage::Tls),
                    "{case}"
                );
                assert!(reason.text().contains(text), "{case}");
            }
        }
    }
}

#[test]
fn the_name_is_sent_and_an_address_is_not() {
    for tls12 in [false, true] {
        let (addr, names) = server("good.pem", tls12);
        for name in [Some("www.example"), None] {
            assert_eq!(check(addr, tls(name, Verify::Nothing, Roots::System)), Verdict::Up);
            assert_eq!(names.recv_timeout(LONG).expect("it was asked").as_deref(), name);
        }
    }
}
