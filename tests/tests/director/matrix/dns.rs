//! Look-ups from dnsmasq, in all the ways in which it replies.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use ipvs_testkit::{Context, Namespace, ProcessGroup, Suite, TempDir, Userland, eventually};
use probe::{Check, Dns, Pattern, Probe, Reason, ReasonKind, Stage, Verdict};

use super::row::verdicts;
use crate::test;

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add(test!(each_look_up_is_judged_as_written));
    suite.add(test!(dnsmasq_is_up_only_while_it_answers));
}

/// The configuration, as dnsmasq(8) describes it. What isn't there below `example` doesn't exist;
/// for anything else there is no server to ask.
const CONFIG: &str = "\
port=53
user=root
no-resolv
no-hosts
local=/example/
host-record=www.example,192.0.2.7,2001:db8::7
host-record=four.example,192.0.2.4
host-record=six.example,2001:db8::6
cname=alias.example,www.example
txt-record=text.example,hello
";

/// How many addresses `many.example` has. A reply without EDNS has at most 512 bytes over UDP, and
/// each address takes 16.
const MANY: u8 = 60;

/// Row by row: `look-up | verdict | because`. A look-up is what to look up, then `tcp`, `v6` for the
/// server's IPv6 address, and what to match.
const TABLE: &str = "
www.example | up | it has an address
www.example ^192[.]0[.]2[.]7$ | up | and this is it
www.example ^2001:db8::7$ | up | RFC 3596: so is this
www.example ^10[.] | mismatch | but not this
www.example tcp ^192[.]0[.]2[.]7$ | up | RFC 7766: the same over TCP
www.example tcp ^2001:db8::7$ | up | two queries on a connection
www.example tcp ^10[.] | mismatch | neither matches
www.example v6 ^192[.]0[.]2[.]7$ | up | the same from ::1
www.example v6 tcp ^192[.]0[.]2[.]7$ | up | the same from ::1
WWW.Example. ^192 | up | RFC 1035, 2.3.3: case doesn't count, and names are absolute
six.example ^2001:db8::6$ | up | it has no IPv4 address
six.example tcp | up | any address will do
four.example : | mismatch | it has no IPv6 address
alias.example ^192[.]0[.]2[.]7$ | up | RFC 1035, 3.3.1: where the alias leads
text.example | mismatch | it is there, and has no address
missing.example | status 3 | RFC 1035, 4.1.1: NXDOMAIN
missing.example tcp | status 3 | RFC 1035, 4.1.1: NXDOMAIN
www.elsewhere | status 5 | RFC 1035, 4.1.1: dnsmasq refuses what it can't ask anybody
many.example ^198[.]51[.]100[.]60$ | up | RFC 1035, 4.2.1: truncated, and whole over TCP
many.example ^10[.] | mismatch | RFC 1035, 4.2.1: truncated, and whole over TCP
192.0.2.7 | up | it has a name
192.0.2.7 ^www[.]example$ | up | RFC 1035, 3.5
192.0.2.7 tcp ^www[.]example$ | up | RFC 1035, 3.5
192.0.2.7 ^web | mismatch | it has another name
2001:db8::6 ^six[.]example$ | up | RFC 3596, 2.5
192.0.2.9 | status 5 | nobody has said that it has no name
";

/// A running dnsmasq. For queries over TCP it starts processes, which have its port open, too.
struct NameServer {
    process: ProcessGroup,
    // It reads its files from here.
    _folder: TempDir,
}

impl NameServer {
    fn start(netns: &Namespace) -> Result<Self> {
        let folder = TempDir::create(&format!("{}-dns", netns.name()))?;
        let many = (1..=MANY).map(|n| format!("198.51.100.{n} many.example\n"));
        let hosts = folder.write("hosts", &many.collect::<String>())?;
        let config = format!("{CONFIG}addn-hosts={}\n", hosts.display());
        let config = folder.write("dnsmasq.conf", &config)?;
        let mut command = Userland::servers()?.command(netns, "/usr/sbin/dnsmasq");
        command.args(["--keep-in-foreground", "--log-facility=-", "--pid-file"]);
        command.arg(format!("--conf-file={}", config.display()));
        let process = ProcessGroup::start(&mut command)?;
        let mut server = Self { process, _folder: folder };
        eventually(Duration::from_secs(30), || {
            server.process.still_running()?;
            let verdict = judge(netns, &[("www.example", 60)])?.remove(0);
            ensure!(verdict == Verdict::Up, "{verdict}");
            Ok(())
        })?;
        Ok(server)
    }
}

/// The verdicts on look-ups, each with its timeout in seconds.
fn judge(netns: &Namespace, asks: &[(&str, u64)]) -> Result<Vec<Verdict>> {
    verdicts(netns, asks.iter().map(|(ask, timeout)| probe(ask, *timeout)).collect::<Result<_>>()?)
}

fn probe(ask: &str, timeout: u64) -> Result<Probe> {
    let mut words = ask.split(' ');
    let mut dns = Dns::new(words.next().context("nothing to look up")?)?;
    let mut server = IpAddr::from(Ipv4Addr::LOCALHOST);
    for word in words {
        match word {
            "tcp" => dns = dns.over_tcp(),
            "v6" => server = Ipv6Addr::LOCALHOST.into(),
            pattern => dns = dns.receive(Pattern::perl(pattern)?),
        }
    }
    let target = SocketAddr::new(server, 53);
    Ok(Probe::new(target, Check::Dns(dns), Duration::from_secs(timeout)))
}

fn each_look_up_is_judged_as_written(context: &mut Context) -> Result<()> {
    let netns = context.netns("names")?;
    let _server = NameServer::start(&netns)?;
    let rows: Vec<&str> = TABLE.lines().filter(|line| !line.is_empty()).collect();
    let (mut asks, mut expected) = (Vec::new(), Vec::new());
    for row in &rows {
        let columns: Vec<&str> = row.split(" | ").collect();
        let [ask, verdict, _] = columns[..] else { bail!("{row}: not three columns") };
        asks.push((ask, 60));
        expected.push(match verdict.split_once(' ').unwrap_or((verdict, "")) {
            ("up", _) => None,
            ("mismatch", _) => Some(ReasonKind::Mismatch),
            ("status", code) => Some(ReasonKind::Status(code.parse()?)),
            _ => bail!("{row}: there is no such verdict"),
        });
    }
    let mut wrong = Vec::new();
    for ((verdict, expected), row) in judge(&netns, &asks)?.iter().zip(expected).zip(&rows) {
        if verdict.reason().map(Reason::kind) != expected {
            wrong.push(format!("{row}\n    {verdict}"));
        }
    }
    ensure!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
    println!("{} rows", rows.len());
    Ok(())
}

/// A frozen server's kernel takes datagrams and connections for it.
fn dnsmasq_is_up_only_while_it_answers(context: &mut Context) -> Result<()> {
    let netns = context.netns("names")?;
    let server = NameServer::start(&netns)?;
    let are = |timeout, state: &str, udp, tcp| {
        let found = judge(&netns, &[("www.example", timeout), ("www.example tcp", timeout)])?;
        let kinds: Vec<_> =
            found.iter().map(|it| it.reason().map(|it| (it.kind(), it.stage()))).collect();
        ensure!(kinds == [udp, tcp], "{state}: {found:?}");
        anyhow::Ok(())
    };
    server.process.freeze()?;
    let late = Some((ReasonKind::Timeout, Stage::Reply));
    are(2, "frozen", late, late)?;
    server.process.thaw()?;
    are(60, "thawed", None, None)?;
    drop(server);
    let refused = |stage| Some((ReasonKind::Refused, stage));
    are(60, "killed", refused(Stage::Reply), refused(Stage::Connect))?;
    let again = NameServer::start(&netns)?;
    are(60, "started again", None, None)?;
    drop(again);
    Ok(())
}
