//! What the daemon says about itself, beside what the kernel says.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddrV4;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::super::subject::Daemon;
use super::super::table::TableFile;
use super::super::world::vip;
use super::super::{Criterion, Stage, Subject};
use super::many::Thousand;
use super::{Pulse, Span, now};

/// How long to ask, and how often.
const ASKING: Duration = Duration::from_secs(6);
const PAUSE: Duration = Duration::from_millis(100);

/// How long a reply may take, in milliseconds. This guest's one processor is late for any program, so the
/// median counts here. The longest of all is judged by `cargo xtask bench director`, without a guest.
const MOST: f64 = 20.0;

/// How long to wait for a reply.
const LIMIT: Duration = Duration::from_secs(10);

/// H1: status, metrics and the kernel's table while a thousand real servers come in.
pub(super) fn status(stage: &Stage) -> Result<Vec<Criterion>> {
    let agree = ("status, metrics and the kernel's table", "agree whenever the table stands still");
    let quick = ("the median reply with 1,000 real servers", "< 20 ms");
    if stage.subject != Subject::Ours {
        return Ok([agree, quick].map(|(what, bar)| Criterion::not_there(what, bar)).into());
    }
    let thousand = Thousand::build(stage)?;
    let mut daemon = Daemon::new(stage.subject, thousand.director())?;
    daemon.configure(&Thousand::config())?;
    let table = TableFile::open(thousand.director())?;
    daemon.start()?;
    let mut socket = Socket::connect(&daemon)?;
    let (mut control, pulse) = (Control::start()?, Pulse::start()?);
    let begin = Instant::now();
    let (mut compared, mut differ) = (0, Vec::new());
    let (mut took, mut beside) = (Vec::new(), Vec::new());
    // Kept, because it is no part of a reply's time how a client comes by memory for it.
    let (mut status, mut metrics, mut other) = (String::new(), String::new(), Vec::new());
    while begin.elapsed() < ASKING {
        let before = table.read()?;
        for (request, reply) in [("status", &mut status), ("metrics", &mut metrics)] {
            took.push(socket.ask(request, reply)?);
            beside.push(control.ask(reply.len(), &mut other)?);
        }
        // What happened meanwhile may be in one and not in the other, and what is being written is known
        // before the kernel has it.
        let stands_still = table.read()? == before;
        if stands_still && !is_writing(&status)? && !is_being_written(&metrics) {
            compared += 1;
            let kernel: BTreeSet<SocketAddrV4> = before.taking(vip(1)).into_iter().collect();
            let (by_status, by_metrics) = (from_status(&status)?, from_metrics(&metrics)?);
            if kernel != by_status || kernel != by_metrics {
                differ.push([kernel.len(), by_status.len(), by_metrics.len()]);
            }
        }
        thread::sleep(PAUSE);
    }
    // A stall is known once the pulse goes on.
    thread::sleep(PAUSE);
    let span = |[begin, end]: &[Duration; 2]| Span {
        length: end.saturating_sub(*begin).as_secs_f64(),
        stalled: pulse.stalled(*begin, *end).as_secs_f64(),
    };
    let [took, beside] =
        [took, beside].map(|all| Times::of(&all.iter().map(span).collect::<Vec<Span>>()));
    Ok(vec![
        Criterion::is(
            agree.0,
            agree.1,
            match differ.first() {
                None => format!("agree, {compared} times"),
                Some(first) => {
                    format!("differ {} of {compared} times, first with {first:?}", differ.len())
                }
            },
            differ.is_empty() && compared > 0,
        ),
        Criterion::is(quick.0, quick.1, format!("{:.1} ms", took.median), took.median < MOST)
            .of_speed(),
        Criterion::noted("the longest reply", took.worst()),
        Criterion::noted("the same bytes from a thread that does nothing else", beside.all()),
    ])
}

/// Times in milliseconds, apart from what the machine did.
struct Times {
    median: f64,
    longest: f64,
    late: usize,
    count: usize,
}

impl Times {
    fn of(spans: &[Span]) -> Self {
        let mut spans: Vec<f64> = spans.iter().map(|span| span.over(0.0) * 1000.0).collect();
        spans.sort_by(f64::total_cmp);
        Self {
            median: spans.get(spans.len() / 2).copied().unwrap_or(f64::INFINITY),
            longest: spans.last().copied().unwrap_or(f64::INFINITY),
            late: spans.iter().filter(|time| **time >= MOST).count(),
            count: spans.len(),
        }
    }

    fn worst(&self) -> String {
        let Self { longest, late, count, .. } = self;
        format!("{longest:.1} ms; {late} of {count} are longer than {MOST:.0} ms")
    }

    fn all(&self) -> String {
        format!("median {:.1} ms, longest {}", self.median, self.worst())
    }
}

/// What a reply costs that nobody has to make: a thread with a socket, which writes as many bytes as it
/// is asked for.
struct Control(BufReader<UnixStream>);

impl Control {
    fn start() -> Result<Self> {
        let (stream, other) = UnixStream::pair()?;
        stream.set_read_timeout(Some(LIMIT))?;
        thread::Builder::new().name("control".to_owned()).spawn(move || serve(other))?;
        Ok(Self(BufReader::with_capacity(1 << 20, stream)))
    }

    /// When so many bytes were asked for, and when they were there.
    fn ask(&mut self, length: usize, reply: &mut Vec<u8>) -> Result<[Duration; 2]> {
        reply.clear();
        let begin = now();
        self.0.get_mut().write_all(&u64::try_from(length)?.to_be_bytes())?;
        (&mut self.0).take(u64::try_from(length)?).read_to_end(reply)?;
        ensure!(reply.len() == length, "the control has ended");
        Ok([begin, now()])
    }
}

/// Writes until nobody asks any more.
fn serve(mut stream: UnixStream) {
    let bytes = vec![b'x'; 1 << 20];
    let mut length = [0; 8];
    while stream.read_exact(&mut length).is_ok() {
        let length = u64::from_be_bytes(length) as usize;
        if stream.write_all(&bytes[..length.min(bytes.len())]).is_err() {
            return;
        }
    }
}

/// The daemon's control socket: a line of JSON for each request and each reply, and metrics after it.
struct Socket {
    stream: BufReader<UnixStream>,
    count: u64,
}

impl Socket {
    fn connect(daemon: &Daemon<'_>) -> Result<Self> {
        let name = daemon.config().file_name().context("a file without a name")?;
        let path = format!("/run/ldirectord/{}.sock", name.to_string_lossy());
        let stream = UnixStream::connect(&path).with_context(|| format!("connecting to {path}"))?;
        stream.set_read_timeout(Some(LIMIT))?;
        Ok(Self { stream: BufReader::with_capacity(1 << 20, stream), count: 0 })
    }

    /// When a request was made, and when its reply was there.
    fn ask(&mut self, request: &str, reply: &mut String) -> Result<[Duration; 2]> {
        self.count += 1;
        reply.clear();
        let begin = now();
        let line = json!({ "v": 1, "id": self.count, "request": request });
        self.stream.get_mut().write_all(format!("{line}\n").as_bytes())?;
        self.stream.read_line(reply)?;
        if request == "metrics" {
            let head: Value = serde_json::from_str(reply)?;
            let length = member(&head, "length").and_then(Value::as_u64);
            let length = length.with_context(|| format!("no metrics in {reply}"))?;
            reply.clear();
            (&mut self.stream).take(length).read_to_string(reply)?;
        }
        Ok([begin, now()])
    }
}

/// Whether changes are on their way to the kernel's table, by the status.
fn is_writing(reply: &str) -> Result<bool> {
    let reply: Value = serde_json::from_str(reply)?;
    let writing = member(&reply, "writing").and_then(Value::as_bool);
    writing.with_context(|| format!("nothing is said about writing in {reply}"))
}

/// The same by the metrics.
fn is_being_written(text: &str) -> bool {
    let mut lines = text.lines().filter(|line| line.starts_with("director_table_writing{"));
    !lines.any(|line| line.ends_with(" 0"))
}

/// The real servers that take traffic by the status.
fn from_status(reply: &str) -> Result<BTreeSet<SocketAddrV4>> {
    let reply: Value = serde_json::from_str(reply)?;
    let service = member(&reply, "services").and_then(|services| services.get(0));
    let servers = service.and_then(|service| service["servers"].as_array());
    let servers = servers.with_context(|| format!("no real servers in {reply}"))?;
    servers
        .iter()
        .filter(|server| server["takes_traffic"] == true)
        .map(|server| Ok(server["server"].as_str().context("no name")?.parse()?))
        .collect()
}

/// And by the metrics.
fn from_metrics(text: &str) -> Result<BTreeSet<SocketAddrV4>> {
    text.lines()
        .filter(|line| line.starts_with("director_server_takes_traffic{") && line.ends_with(" 1"))
        .map(|line| {
            let server = line.split("server=\"").nth(1).and_then(|rest| rest.split('"').next());
            Ok(server.with_context(|| format!("no server in {line}"))?.parse()?)
        })
        .collect()
}

/// The member with this name, at any depth.
fn member<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    match value {
        Value::Object(members) => {
            members.get(name).or_else(|| members.values().find_map(|inner| member(inner, name)))
        }
        _ => None,
    }
}
