//! Rows: reading them, making their checks, and comparing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use ipvs_testkit::Namespace;
use lab::process::finish;
use probe::{
    BODY_LIMIT, Check, Http, Limits, Method, Pattern, Probe, ReasonKind, Roots, Runner, SimpleTcp,
    Stage, Tls, Verdict, Verify,
};
use tokio::task::LocalSet;

/// The port of a table's first row.
const FIRST_PORT: u16 = 8000;

/// Time enough for what doesn't hang, on a busy machine.
const LONG: u64 = 60;

/// The files that the tables' servers have, besides the certificates.
pub(super) fn files() -> Vec<(&'static str, &'static [u8])> {
    static BIG: [u8; 300_018] = {
        let mut page = [b'.'; 300_018];
        let text = b"webserverisworking";
        let mut at = 0;
        while at < text.len() {
            page[300_000 + at] = text[at];
            at += 1;
        }
        page
    };
    // Eight times the text, by `gzip -9n`.
    const ZIPPED: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\x2b\x4f\x4d\x2a\x4e\x2d\x2a\
        \x4b\x2d\xca\x2c\x2e\xcf\x2f\xca\xce\xcc\x4b\xe7\x2a\x1f\x0c\x42\x00\x5c\x06\x8c\x27\x98\
        \x00\x00\x00";
    vec![
        ("pages/check.txt", b"webserverisworking\n"),
        ("pages/a b.txt", b"webserverisworking\n"),
        ("pages/empty.txt", b""),
        ("pages/big.txt", &BIG),
        ("pages/zipped.txt", b"webserverisworking\n"),
        ("pages/zipped.txt.gz", ZIPPED),
        ("pages/folder/none.txt", b""),
        ("passwords", b"monitor:{PLAIN}secret\n"),
        ("tls/authority.pem", include_bytes!("../../../../crates/probe/tests/tls/authority.pem")),
        ("tls/good.pem", include_bytes!("../../../../crates/probe/tests/tls/good.pem")),
        ("tls/expired.pem", include_bytes!("../../../../crates/probe/tests/tls/expired.pem")),
        ("tls/self.pem", include_bytes!("../../../../crates/probe/tests/tls/self-signed.pem")),
        ("tls/server.key", include_bytes!("../../../../crates/probe/tests/tls/server.key")),
    ]
}

/// A row of a table.
#[derive(Debug)]
pub(super) struct Row {
    text: &'static str,
    /// The snippet of configuration.
    pub(super) server: &'static str,
    pub(super) port: u16,
    ask: Ask,
    verdict: Expected,
    curl: &'static str,
}

/// A check, in words.
#[derive(Debug, Default)]
struct Ask {
    /// None for a connection alone.
    path: Option<&'static str>,
    /// A text to send instead of a request for a page.
    send: Option<&'static str>,
    head: bool,
    host: Option<&'static str>,
    text: Option<&'static str>,
    statuses: Option<(u16, u16)>,
    redirects: u8,
    limit: Option<usize>,
    tls: bool,
    name: Option<&'static str>,
    verify: Verify,
    roots: &'static str,
    v6: bool,
    within: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    Up,
    Down(ReasonKind, Stage),
}

/// Reads a table: `server | check | verdict | curl | because`.
pub(super) fn rows(table: &'static str) -> Result<Vec<Row>> {
    let lines = table.lines().filter(|line| !line.trim().is_empty());
    lines.zip(FIRST_PORT..).map(|(line, port)| Row::read(line, port).context(line)).collect()
}

/// Replaces `$LONG` by 4,000 characters.
pub(super) fn long(text: &str) -> String {
    text.replace("$LONG", &"x".repeat(4000))
}

impl Row {
    fn read(text: &'static str, port: u16) -> Result<Self> {
        let columns: Vec<&str> = text.split(" | ").map(str::trim).collect();
        let [server, ask, verdict, curl, because] = columns[..] else { bail!("not five columns") };
        ensure!(!because.is_empty(), "no reason");
        let (ask, verdict) = (Ask::read(ask)?, Expected::read(verdict)?);
        Ok(Self { text, server, port, ask, verdict, curl })
    }

    fn addr(&self) -> SocketAddr {
        let address = match self.ask.v6 {
            true => IpAddr::from(Ipv6Addr::LOCALHOST),
            false => Ipv4Addr::LOCALHOST.into(),
        };
        SocketAddr::new(address, self.port)
    }

    fn probe(&self, folder: &Path) -> Result<Probe> {
        let timeout = Duration::from_secs(self.ask.within.unwrap_or(LONG));
        Ok(Probe::new(self.addr(), self.ask.check(folder)?, timeout))
    }

    /// Compares with what curl makes of the same request.
    fn compare(&self, netns: &Namespace, folder: &Path) -> Result<()> {
        let Some(path) = self.ask.path().filter(|_| self.curl != "-") else { return Ok(()) };
        let ask = &self.ask;
        let (scheme, addr) = (if ask.tls { "https" } else { "http" }, self.addr());
        let mut curl = netns.command("curl");
        curl.args(["--silent", "--http1.1", "--globoff", "--write-out", "%{stderr}%{http_code}"]);
        curl.arg("--max-time").arg(ask.within.unwrap_or(LONG).to_string());
        if path.starts_with("http://") {
            curl.arg("--proxy").arg(format!("http://{addr}")).args(["--noproxy", ""]);
        } else {
            curl.arg("--header").arg(format!("Host: {}", ask.host.unwrap_or(&addr.to_string())));
        }
        if ask.head {
            curl.arg("--head");
        }
        // It can't leave out the name alone, so it gets the right one.
        let name = match ask.verify {
            Verify::Chain => Some("www.example"),
            _ => ask.name,
        };
        match ask.verify {
            Verify::Nothing => curl.arg("--insecure"),
            _ => curl.arg("--cacert").arg(folder.join(ask.roots)),
        };
        match name {
            Some(name) => {
                let port = self.port;
                curl.arg("--resolve").arg(format!("{name}:{port}:{}", addr.ip()));
                curl.arg(format!("{scheme}://{name}:{port}{path}"));
            }
            None if path.starts_with("http://") => {
                curl.arg(path);
            }
            None => {
                curl.arg(format!("{scheme}://{addr}{path}"));
            }
        }
        let finished = finish(&mut curl, Duration::from_secs(2 * LONG))?;
        let found = match finished.status.code() {
            Some(0) => finished.stderr.trim().to_owned(),
            Some(code) => format!("({code})"),
            None => bail!("curl ended by {}", finished.status),
        };
        ensure!(found == self.curl, "curl says {found}");
        let Some(text) = ask.text.filter(|it| it.bytes().all(|it| it.is_ascii_alphanumeric()))
        else {
            return Ok(());
        };
        let page = &finished.stdout;
        let end = page.len().min(ask.limit.unwrap_or(BODY_LIMIT));
        let there = page.as_bytes()[..end].windows(text.len()).any(|it| it == text.as_bytes());
        match self.verdict {
            Expected::Up if ask.redirects == 0 => ensure!(there, "curl doesn't see the text"),
            Expected::Down(ReasonKind::Mismatch, _) => ensure!(!there, "curl sees the text"),
            _ => {}
        }
        Ok(())
    }
}

impl Ask {
    fn read(words: &'static str) -> Result<Self> {
        let mut ask = Self { roots: "tls/authority.pem", ..Self::default() };
        let mut words = words.split(' ').filter(|word| !word.is_empty());
        match words.next() {
            Some("connect") => {}
            Some("send") => ask.send = Some(words.next().context("no text")?),
            Some(method @ ("get" | "head")) => {
                ask.path = Some(words.next().context("no path")?);
                ask.head = method == "head";
            }
            word => bail!("a check can't begin with {word:?}"),
        }
        for word in words {
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            match name {
                "host" => ask.host = Some(value),
                "text" => ask.text = Some(value),
                "status" => {
                    let (first, last) = value.split_once('-').context("no range")?;
                    ask.statuses = Some((first.parse()?, last.parse()?));
                }
                "redirects" => ask.redirects = value.parse()?,
                "limit" => ask.limit = Some(value.parse()?),
                "tls" => ask.tls = true,
                "name" => ask.name = Some(value),
                "verify" if value == "chain" => ask.verify = Verify::Chain,
                "verify" if value == "name" => ask.verify = Verify::Name,
                "roots" => ask.roots = value,
                "v6" => ask.v6 = true,
                "within" => ask.within = Some(value.parse()?),
                _ => bail!("a check has no {word:?}"),
            }
        }
        Ok(ask)
    }

    fn path(&self) -> Option<String> {
        Some(long(self.path?))
    }

    fn check(&self, folder: &Path) -> Result<Check> {
        if let Some(text) = self.send {
            let simple = SimpleTcp::new(text.replace('+', " ").replace("\\n", "\n"));
            let pattern = Pattern::perl(self.text.unwrap_or_default())?;
            return Ok(Check::SimpleTcp(simple.receive(pattern)));
        }
        let Some(path) = self.path() else { return Ok(Check::Connect) };
        let http =
            if path.starts_with("http://") { Http::proxied(&path)? } else { Http::new(&path) };
        let mut http = http.redirects(self.redirects);
        if self.head {
            http = http.method(Method::Head);
        }
        if let Some(host) = self.host {
            http = http.host(host)?;
        }
        if let Some(text) = self.text {
            http = http.receive(Pattern::perl(text)?);
        }
        if let Some((first, last)) = self.statuses {
            http = http.statuses(first..=last);
        }
        if let Some(limit) = self.limit {
            http = http.body_limit(limit);
        }
        if !self.tls {
            return Ok(Check::Http(http));
        }
        let mut tls = Tls::default();
        tls.name = self.name.map(str::to_owned);
        tls.verify = self.verify;
        tls.roots = Roots::File(folder.join(self.roots));
        Ok(Check::Https(http, tls))
    }
}

impl Expected {
    fn read(words: &str) -> Result<Self> {
        let (kind, rest) = words.split_once(' ').unwrap_or((words, ""));
        let stage = match rest {
            "connect" => Stage::Connect,
            "tls" => Stage::Tls,
            _ => Stage::Reply,
        };
        Ok(match kind {
            "up" => Self::Up,
            "status" => Self::Down(ReasonKind::Status(rest.parse()?), Stage::Reply),
            "mismatch" => Self::Down(ReasonKind::Mismatch, Stage::Reply),
            "protocol" => Self::Down(ReasonKind::Protocol, Stage::Reply),
            "tls" => Self::Down(ReasonKind::Tls, Stage::Tls),
            "refused" => Self::Down(ReasonKind::Refused, Stage::Connect),
            "unreachable" => Self::Down(ReasonKind::Unreachable, Stage::Connect),
            "closed" => Self::Down(ReasonKind::Closed, stage),
            "timeout" => Self::Down(ReasonKind::Timeout, stage),
            _ => bail!("there is no verdict {words:?}"),
        })
    }

    fn is(self, verdict: &Verdict) -> bool {
        match (self, verdict) {
            (Self::Up, Verdict::Up) => true,
            (Self::Down(kind, stage), Verdict::Down(reason)) => {
                (reason.kind(), reason.stage()) == (kind, stage)
            }
            _ => false,
        }
    }
}

/// Makes all checks of a table, and compares.
pub(super) fn judge(netns: &Namespace, folder: &Path, rows: &[Row]) -> Result<()> {
    let probes = rows.iter().map(|row| row.probe(folder)).collect::<Result<Vec<_>>>()?;
    let verdicts = verdicts(netns, probes)?;
    let mut wrong = Vec::new();
    for (row, verdict) in rows.iter().zip(verdicts) {
        if !row.verdict.is(&verdict) {
            wrong.push(format!("{}\n    {verdict}", row.text));
        }
        if let Err(error) = row.compare(netns, folder) {
            wrong.push(format!("{}\n    {error:#}", row.text));
        }
    }
    ensure!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
    println!("{} rows", rows.len());
    Ok(())
}

/// The verdicts of probes, made at the same time. One that says nothing about its server, because
/// this process was late, is made again.
pub(super) fn verdicts(netns: &Namespace, probes: Vec<Probe>) -> Result<Vec<Verdict>> {
    let run = async |probes: Vec<Probe>| {
        let runner = Rc::new(Runner::new(Limits::default()));
        let tasks = probes.into_iter().map(|probe| {
            let runner = Rc::clone(&runner);
            tokio::task::spawn_local(async move {
                runner.prepare(&probe)?;
                let mut verdict = runner.run(&probe).await.verdict;
                for _ in 0..20 {
                    match &verdict {
                        Verdict::Inconclusive(reason) if reason.kind() == ReasonKind::Stalled => {
                            verdict = runner.run(&probe).await.verdict;
                        }
                        _ => break,
                    }
                }
                anyhow::Ok(verdict)
            })
        });
        let tasks: Vec<_> = tasks.collect();
        let mut verdicts = Vec::new();
        for task in tasks {
            verdicts.push(task.await??);
        }
        anyhow::Ok(verdicts)
    };
    netns.run(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        LocalSet::new().block_on(&runtime, run(probes))
    })?
}
