//! Servers that are stopped, frozen, or out of reach.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Result, ensure};
use ipvs_testkit::{Context, Namespace, Suite, WebDaemon};
use probe::{Check, Http, Pattern, Probe, ReasonKind, Stage, Tls};

use super::row::{files, verdicts};
use crate::test;

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add(test!(what_is_not_there_is_down_for_its_reason));
    suite.add(test!(nginx_is_up_only_while_it_answers));
    suite.add(test!(apache_is_up_only_while_it_answers));
}

/// What the verdicts must be: none if up.
type Expected = Option<(ReasonKind, Stage)>;

const UP: Expected = None;
const REFUSED: Expected = Some((ReasonKind::Refused, Stage::Connect));
const UNREACHABLE: Expected = Some((ReasonKind::Unreachable, Stage::Connect));

fn late(stage: Stage) -> Expected {
    Some((ReasonKind::Timeout, stage))
}

/// A check in the tables below.
#[derive(Clone, Copy, Debug)]
enum Ask {
    Connect,
    Page,
    /// The page over TLS.
    Secure,
    Ping,
}

impl Ask {
    fn check(self) -> Result<Check> {
        let page = Http::new("/check.txt").receive(Pattern::perl("webserverisworking")?);
        Ok(match self {
            Self::Connect => Check::Connect,
            Self::Page => Check::Http(page),
            Self::Secure => Check::Https(page, Tls::default()),
            Self::Ping => Check::Ping,
        })
    }
}

/// Makes all checks at the same time, and compares. What hangs does so for two seconds.
fn judge(netns: &Namespace, state: &str, rows: &[(SocketAddr, Ask, Expected)]) -> Result<()> {
    let probes = rows.iter().map(|(addr, ask, expected)| {
        let hangs = matches!(expected, Some((ReasonKind::Timeout, _)));
        let timeout = Duration::from_secs(if hangs { 2 } else { 60 });
        Ok(Probe::new(*addr, ask.check()?, timeout))
    });
    let verdicts = verdicts(netns, probes.collect::<Result<_>>()?)?;
    for ((addr, ask, expected), verdict) in rows.iter().zip(verdicts) {
        let found = verdict.reason().map(|reason| (reason.kind(), reason.stage()));
        ensure!(found == *expected, "{state}: {ask:?} of {addr}: {verdict} ({found:?})");
    }
    Ok(())
}

/// The errors are those of connect(2): RFC 9293, 3.10.7.1 for a closed port, and what ip-route(8)
/// says of routes that are `unreachable`.
fn what_is_not_there_is_down_for_its_reason(context: &mut Context) -> Result<()> {
    let netns = context.netns("web")?;
    netns.ip(&[
        // To this address, packets are sent, and nobody is there to take them.
        "route add 192.0.2.0/24 dev lo",
        "route add unreachable 198.51.100.0/24",
    ])?;
    let v4 = |address: [u8; 4]| SocketAddr::new(Ipv4Addr::from(address).into(), 80);
    let here = v4([127, 0, 0, 1]);
    let here6 = SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 80);
    let (lost, no_way, no_route) =
        (v4([192, 0, 2, 7]), v4([198, 51, 100, 7]), v4([203, 0, 113, 7]));
    judge(
        &netns,
        "nothing is there",
        &[
            (here, Ask::Connect, REFUSED),
            (here, Ask::Page, REFUSED),
            (here, Ask::Secure, REFUSED),
            (here, Ask::Ping, UP),
            (here6, Ask::Connect, REFUSED),
            (here6, Ask::Page, REFUSED),
            (here6, Ask::Ping, UP),
            (lost, Ask::Connect, late(Stage::Connect)),
            (lost, Ask::Page, late(Stage::Connect)),
            (lost, Ask::Secure, late(Stage::Connect)),
            (lost, Ask::Ping, late(Stage::Reply)),
            (no_way, Ask::Connect, UNREACHABLE),
            (no_way, Ask::Page, UNREACHABLE),
            (no_way, Ask::Ping, UNREACHABLE),
            (no_route, Ask::Connect, UNREACHABLE),
            (no_route, Ask::Secure, UNREACHABLE),
            (no_route, Ask::Ping, UNREACHABLE),
        ],
    )
}

fn nginx_is_up_only_while_it_answers(context: &mut Context) -> Result<()> {
    let netns = context.netns("web")?;
    let config = "server { listen 80; listen 443 ssl; ssl_certificate tls/good.pem;
        ssl_certificate_key tls/server.key; }";
    let web = WebDaemon::nginx(&netns, config, &files())?;
    is_up_only_while_it_answers(&netns, web)
}

fn apache_is_up_only_while_it_answers(context: &mut Context) -> Result<()> {
    let netns = context.netns("web")?;
    let config = "Listen 80
        Listen 443
        LoadModule socache_shmcb_module /usr/lib/apache2/modules/mod_socache_shmcb.so
        LoadModule ssl_module /usr/lib/apache2/modules/mod_ssl.so
        <VirtualHost *:443>
        SSLEngine on
        SSLCertificateFile tls/good.pem
        SSLCertificateKeyFile tls/server.key
        </VirtualHost>";
    let web = WebDaemon::apache(&netns, config, &files())?;
    is_up_only_while_it_answers(&netns, web)
}

/// A frozen server's kernel goes on making connections for it, so only a request finds out.
fn is_up_only_while_it_answers(netns: &Namespace, mut web: WebDaemon) -> Result<()> {
    let plain = SocketAddr::from((Ipv4Addr::LOCALHOST, 80));
    let secure = SocketAddr::from((Ipv4Addr::LOCALHOST, 443));
    let all = |connect, page, encrypted| {
        [
            (plain, Ask::Connect, connect),
            (plain, Ask::Page, page),
            (secure, Ask::Connect, connect),
            (secure, Ask::Secure, encrypted),
            (plain, Ask::Ping, UP),
        ]
    };
    judge(netns, "running", &all(UP, UP, UP))?;
    web.freeze()?;
    judge(netns, "frozen", &all(UP, late(Stage::Reply), late(Stage::Tls)))?;
    web.thaw()?;
    judge(netns, "thawed", &all(UP, UP, UP))?;
    web.stop()?;
    judge(netns, "stopped", &all(REFUSED, REFUSED, REFUSED))?;
    web.start()?;
    judge(netns, "started", &all(UP, UP, UP))?;
    web.kill();
    judge(netns, "killed", &all(REFUSED, REFUSED, REFUSED))?;
    web.start()?;
    web.remove("pages/check.txt")?;
    let gone = Some((ReasonKind::Status(404), Stage::Reply));
    judge(netns, "without the page", &all(UP, gone, gone))?;
    web.write("pages/check.txt", b"maintenance\n")?;
    let other = Some((ReasonKind::Mismatch, Stage::Reply));
    judge(netns, "with another page", &all(UP, other, other))
}
