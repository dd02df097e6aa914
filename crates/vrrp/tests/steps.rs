//! What a virtual router does, step by step: one file for each paragraph of RFC 9568 §6.4, and one
//! for each rule of this crate's own. The expectations are worked out from the texts they quote.
//!
//! A file is a list of lines:
//!
//! - `router KEY VALUE …` begins with a new router: `version`, `family`, `priority`, `interval` in
//!   centiseconds, `preempt` (`never` or a delay in seconds), and others of `Config`;
//! - `SECONDS INPUT …` is an input at that time: `up ADDRESS`, `down`, `shutdown`, `priority N`,
//!   `timer`, or `advert FROM PRIORITY KEY VALUE …`;
//! - `= OUTPUT …` lists what the router has to do then, all of it and in this order. After an input
//!   without any such line, outputs aren't looked at;
//! - `= timer SECONDS` is its deadline, `= timer never` that it has none.

#![allow(clippy::unwrap_used, reason = "a test that can't continue has failed")]

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::str::SplitWhitespace;
use std::time::{Duration, Instant};

use vrrp::{
    Advert, Authentication, Checksum, Config, Envelope, Input, Interval, MULTICAST_V4,
    MULTICAST_V6, Machine, Output, Password, Preempt, Reason, Received, Version, Vrid,
};

/// The key and value pairs at the end of a line.
fn pairs(mut words: SplitWhitespace<'_>) -> Vec<(&str, &str)> {
    let mut pairs = Vec::new();
    while let Some(key) = words.next() {
        pairs.push((key, words.next().unwrap_or_else(|| panic!("{key} has no value"))));
    }
    pairs
}

fn seconds(text: &str) -> Duration {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let nanos = format!("{part:0<9}");
    let (nanos, rest) = nanos.split_at(9);
    assert!(rest.bytes().all(|digit| digit == b'0'), "{text} is finer than a nanosecond");
    Duration::new(whole.parse().unwrap(), nanos.parse().unwrap())
}

fn interval(text: &str) -> Interval {
    Interval::from_centis(text.parse().unwrap()).unwrap()
}

fn version(text: &str) -> Version {
    match text {
        "2" => Version::V2,
        "3" => Version::V3,
        _ => panic!("there is no version {text}"),
    }
}

fn checksum(text: &str) -> Checksum {
    match text {
        "message" => Checksum::Message,
        "pseudo-header" => Checksum::PseudoHeader,
        _ => panic!("there is no checksum {text}"),
    }
}

struct Play {
    machine: Machine,
    start: Instant,
    now: Instant,
}

impl Play {
    fn new(words: SplitWhitespace<'_>) -> Self {
        let pairs = pairs(words);
        let of = |wanted| pairs.iter().find(|(key, _)| *key == wanted).map(|(_, value)| *value);
        let addresses: &[IpAddr] = match of("family").unwrap_or("4") {
            "4" => &["10.9.0.100".parse().unwrap()],
            "6" => &["fe80::100".parse().unwrap(), "fd09::100".parse().unwrap()],
            other => panic!("there is no family {other}"),
        };
        let version = version(of("version").unwrap_or("3"));
        let vrid = Vrid::new(51).unwrap();
        let mut config = Config::new(version, vrid, addresses.iter().copied());
        config = config.announce_again(Duration::ZERO);
        for (key, value) in pairs {
            config = match (key, value) {
                ("version" | "family", _) => config,
                ("priority", value) => config.priority(value.parse().unwrap()),
                ("interval", value) => config.interval(interval(value)),
                ("preempt", "never") => config.preempt(Preempt::Never),
                ("preempt", delay) => config.preempt(Preempt::After(seconds(delay))),
                ("checksum", form) => config.checksum(checksum(form)),
                ("password", text) => config.password(Password::new(text)),
                ("peer", peer) => config.peers([peer.parse().unwrap()]),
                ("hops", limit) => config.min_hop_limit(limit.parse().unwrap()),
                ("same-addresses", "yes") => config.same_addresses(true),
                ("announce-again", delay) => config.announce_again(seconds(delay)),
                (key, value) => panic!("a router has no {key} {value}"),
            };
        }
        let start = Instant::now();
        Self { machine: Machine::new(config).unwrap(), start, now: start }
    }

    fn input(&mut self, at: &str, mut words: SplitWhitespace<'_>) {
        while self.machine.poll().is_some() {}
        let now = self.start + seconds(at);
        assert!(now >= self.now, "time goes backwards");
        self.now = now;
        let machine = &mut self.machine;
        match words.next().unwrap() {
            "up" => machine.handle(Input::Up(words.next().unwrap().parse().unwrap()), now),
            "down" => machine.handle(Input::Down, now),
            "shutdown" => machine.handle(Input::Shutdown, now),
            "priority" => {
                machine.handle(Input::Priority(words.next().unwrap().parse().unwrap()), now);
            }
            "timer" => machine.handle_timeout(now),
            "advert" => {
                let received = received(machine.config(), words);
                machine.handle(Input::Received(&received), now);
            }
            other => panic!("there is no input {other}"),
        }
    }

    fn deadline(&self) -> Option<Duration> {
        self.machine.deadline().map(|at| at - self.start)
    }
}

/// An advert that agrees with a configuration, except as the words say.
fn received(config: &Config, mut words: SplitWhitespace<'_>) -> Received {
    let source: IpAddr = words.next().unwrap().parse().unwrap();
    let mut advert = Advert {
        version: config.version(),
        vrid: config.vrid(),
        priority: words.next().unwrap().parse().unwrap(),
        interval: Interval::default(),
        addresses: config.addresses().to_vec(),
        authentication: Authentication::None,
    };
    let multicast: IpAddr =
        if source.is_ipv4() { MULTICAST_V4.into() } else { MULTICAST_V6.into() };
    let mut envelope = Envelope { source, destination: multicast, hop_limit: 255 };
    let mut form = None;
    for (key, value) in pairs(words) {
        match key {
            "version" => advert.version = version(value),
            "vrid" => advert.vrid = value.parse().unwrap(),
            "interval" => advert.interval = interval(value),
            "address" => advert.addresses = vec![value.parse().unwrap()],
            "password" => advert.authentication = Authentication::Password(Password::new(value)),
            "checksum" => form = Some(checksum(value)),
            "to" => envelope.destination = value.parse().unwrap(),
            "hops" => envelope.hop_limit = value.parse().unwrap(),
            other => panic!("an advert has no {other}"),
        }
    }
    Received { advert, envelope, checksum: form }
}

fn text_of(output: &Output) -> String {
    match output {
        Output::Send { priority } => format!("send {priority}"),
        Output::AddAddresses => "add".into(),
        Output::RemoveAddresses => "remove".into(),
        Output::Announce => "announce".into(),
        Output::State { from, to, reason } => {
            let reason = match reason {
                Reason::Up => "up",
                Reason::Down => "down",
                Reason::Shutdown => "shutdown",
                Reason::Silence => "silence",
                Reason::Better { .. } => "better",
                Reason::Overslept => "overslept",
                Reason::Priority => "priority",
                other => panic!("unexpected: {other:?}"),
            };
            format!("state {from} {to} {reason}")
        }
        Output::Refused { .. } => "refused".into(),
        Output::AddressesDiffer { .. } => "differ".into(),
        other => panic!("unexpected: {other:?}"),
    }
}

/// Checks what is expected after an input, if anything is.
fn judge(play: &mut Play, expected: &[&str], place: &str) {
    let outputs: Vec<_> = std::iter::from_fn(|| play.machine.poll()).collect();
    if expected.is_empty() {
        return;
    }
    let outputs: Vec<_> = outputs.iter().map(text_of).collect();
    let (timers, wanted): (Vec<&str>, Vec<&str>) =
        expected.iter().partition(|line| line.starts_with("timer "));
    assert_eq!(outputs, wanted, "{place}: what it does");
    for timer in timers {
        let wanted = match timer.trim_start_matches("timer ") {
            "never" => None,
            at => Some(seconds(at)),
        };
        assert_eq!(play.deadline(), wanted, "{place}: its deadline");
    }
}

/// Plays a file, and returns how many inputs it has.
fn play(path: &Path) -> usize {
    let text = fs::read_to_string(path).unwrap();
    let name = path.file_name().unwrap().to_str().unwrap();
    let mut current: Option<Play> = None;
    let mut expected = Vec::new();
    let mut place = String::new();
    let mut inputs = 0;
    for (number, line) in (1..).zip(text.lines()) {
        let mut words = line.split_whitespace();
        match words.next() {
            None | Some("#") => {}
            Some("=") => expected.push(line.trim_start_matches('=').trim()),
            Some(first) => {
                if let Some(play) = &mut current {
                    judge(play, &expected, &place);
                }
                expected.clear();
                place = format!("{name}:{number}: {line}");
                if first == "router" {
                    current = Some(Play::new(words));
                } else {
                    current.as_mut().unwrap().input(first, words);
                    inputs += 1;
                }
            }
        }
    }
    judge(current.as_mut().unwrap(), &expected, &place);
    inputs
}

#[test]
fn every_step_is_as_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/steps");
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|it| it.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 15, "{} files", paths.len());
    for path in paths {
        println!("{}", path.display());
        assert!(play(&path) > 0, "{} has no step", path.display());
    }
}
