//! The web servers that checks are tested against do what tests make them do.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use ipvs_testkit::{Context, Namespace, Suite, WebDaemon, eventually};

use crate::test;

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add(test!(nginx_serves_freezes_and_stops));
    suite.add(test!(apache_serves_freezes_and_stops));
}

const LOCAL: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// Long enough for a busy machine, short enough to wait for in vain.
const PATIENCE: Duration = Duration::from_secs(2);

fn nginx_serves_freezes_and_stops(context: &mut Context) -> Result<()> {
    let netns = context.netns("web")?;
    let web =
        WebDaemon::nginx(&netns, "server { listen 80; }", &[("pages/check.txt", b"works\n")])?;
    lives_and_dies(&netns, web)
}

fn apache_serves_freezes_and_stops(context: &mut Context) -> Result<()> {
    let netns = context.netns("web")?;
    let web = WebDaemon::apache(&netns, "Listen 80", &[("pages/check.txt", b"works\n")])?;
    lives_and_dies(&netns, web)
}

fn lives_and_dies(netns: &Namespace, mut web: WebDaemon) -> Result<()> {
    let page = request(netns)?;
    assert!(page.starts_with("HTTP/1.1 200 ") && page.ends_with("\r\n\r\nworks\n"), "{page}");
    let requests = eventually(PATIENCE, || {
        let requests = web.requests()?;
        ensure!(requests.len() == 1, "{requests:?}");
        Ok(requests)
    })?;
    assert_eq!(requests[0].line, "GET /check.txt HTTP/1.1");
    assert_eq!((requests[0].status, requests[0].host.as_str()), (200, "web.example"));
    assert_eq!((requests[0].client, requests[0].server), (LOCAL.into(), LOCAL.into()));

    web.write("pages/check.txt", b"changed\n")?;
    assert!(request(netns)?.ends_with("changed\n"));

    web.freeze()?;
    assert_eq!(failure(netns)?, ErrorKind::WouldBlock, "a frozen server says nothing");
    web.thaw()?;
    assert!(request(netns)?.ends_with("changed\n"));

    web.stop()?;
    assert_eq!(failure(netns)?, ErrorKind::ConnectionRefused, "a stopped one refuses");
    web.start()?;
    assert!(request(netns)?.ends_with("changed\n"));
    web.kill();
    assert_eq!(failure(netns)?, ErrorKind::ConnectionRefused, "a killed one does too");
    Ok(())
}

/// Why a request for the page fails.
fn failure(netns: &Namespace) -> Result<ErrorKind> {
    match request(netns) {
        Ok(page) => bail!("it says {page}"),
        Err(error) => Ok(error.downcast::<std::io::Error>()?.kind()),
    }
}

/// The whole answer to a request for the page.
fn request(netns: &Namespace) -> Result<String> {
    let addr = SocketAddr::from((LOCAL, 80));
    let mut stream = netns.run(|| TcpStream::connect_timeout(&addr, PATIENCE))??;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream
        .write_all(b"GET /check.txt HTTP/1.1\r\nHost: web.example\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
