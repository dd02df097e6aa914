//! Typical mistakes in a command line.

use super::random::Random;
use super::values;
use super::words::{Opt, names, typed};

/// The words of a command, with a mistake or two added.
pub(super) fn made(options: &mut Vec<Opt>, random: &mut Random) -> Vec<String> {
    let is_v6 = options
        .iter()
        .any(|option| option.name == "ipv6" || is_v6_address(option.value.as_deref()));
    let count = if random.chance(15) { 2 } else { 1 };
    for _ in 0..count {
        in_options(options, is_v6, random);
    }
    let mut words = typed(options, random);
    if random.chance(30) {
        in_words(&mut words, random);
    }
    words
}

fn is_v6_address(value: Option<&str>) -> bool {
    value.is_some_and(|value| value.contains("::"))
}

fn in_options(options: &mut Vec<Opt>, is_v6: bool, random: &mut Random) {
    match (options.first().map(|command| command.name), random.below(100)) {
        (Some("add-server" | "edit-server"), 0..=24) => return tunnel(options, random),
        (Some("list"), 0..=29) => return list(options, random),
        (Some("add-service" | "edit-service"), 0..=9) => return options.push(Opt::flag("ops")),
        (Some("add-service" | "edit-service"), 10..=14) => return without_port(options),
        _ => {}
    }
    match random.below(11) {
        0..=4 => {
            let mut valued: Vec<usize> =
                (0..options.len()).filter(|at| options[*at].value.is_some()).collect();
            // About every second command has an address; other values are rarer, so favor them.
            let is_address = |at: &usize| {
                options[*at].name.ends_with("-service") || options[*at].name == "real-server"
            };
            if random.chance(60) && !valued.iter().all(is_address) {
                valued.retain(|at| !is_address(at));
            }
            if !valued.is_empty() {
                let option = &mut options[*random.pick(&valued)];
                option.value = Some(values::bad(option.name, is_v6, random));
            }
        }
        5 if !options.is_empty() => {
            options.remove(random.below(options.len()));
        }
        6..=8 => {
            // Any other option: it may be illegal, conflicting, duplicate or harmless.
            let all: Vec<_> = names().collect();
            let flag = random.pick(&all);
            let is_bad = random.chance(50);
            let value = flag.takes_value.then(|| match flag.long {
                "tcp-service" | "udp-service" | "sctp-service" if !is_bad => "10.20.0.3:80".into(),
                "real-server" if !is_bad => "10.30.0.1".into(),
                long if is_bad => values::bad(long, is_v6, random),
                long => values::good(long, is_v6, random),
            });
            // Never first: both programs reject a second command, help or version option.
            let at = 1 + random.below(options.len());
            options.insert(at.min(options.len()), Opt { name: flag.long, value });
        }
        9 if !options.is_empty() => {
            let again = random.pick(options).clone();
            options.push(again);
        }
        _ => shuffle(options, random),
    }
}

/// A service for all ports without the persistence that it requires.
fn without_port(options: &mut Vec<Opt>) {
    // The command's name also ends like this, but it has no value.
    options.retain(|option| option.value.is_none() || !option.name.ends_with("-service"));
    options.retain(|option| !matches!(option.name, "ipv6" | "persistent"));
    options.push(Opt::with("udp-service", "10.20.0.3:0"));
}

/// Combines lists and formats that don't go together.
fn list(options: &mut Vec<Opt>, random: &mut Random) {
    for _ in 0..2 {
        let several = ["connection", "timeout", "daemon", "stats", "rate", "persistent-conn"];
        let name = *random.pick(&several);
        if !options.iter().any(|option| option.name == name) {
            options.push(Opt::flag(name));
        }
    }
}

/// Combines tunnel options that don't go together, or adds them without a tunnel.
fn tunnel(options: &mut Vec<Opt>, random: &mut Random) {
    if random.chance(80) && !options.iter().any(|option| option.name == "ipip") {
        options.retain(|option| !matches!(option.name, "gatewaying" | "masquerading"));
        options.push(Opt::flag("ipip"));
    }
    options.retain(|option| !option.name.starts_with("tun-"));
    let kind = *random.pick(&["ipip", "gue", "gue", "gre"]);
    options.push(Opt::with("tun-type", kind));
    if random.chance(if kind == "gue" { 75 } else { 20 }) {
        options.push(Opt::with("tun-port", "6080"));
    }
    for sum in ["tun-nocsum", "tun-csum", "tun-remcsum"] {
        options.extend(random.chance(50).then(|| Opt::flag(sum)));
    }
}

/// Shuffles the options that follow the command.
pub(super) fn shuffle(options: &mut [Opt], random: &mut Random) {
    for at in (2..options.len()).rev() {
        options.swap(at, 1 + random.below(at));
    }
}

fn in_words(words: &mut Vec<String>, random: &mut Random) {
    let at = random.below(words.len() + 1);
    match random.below(10) {
        0 => words.insert(at, (*random.pick(&["foo", "-", "", "80", "#"])).into()),
        1 => words.insert(
            at,
            (*random.pick(&["--bogus", "-q", "-I", "--num", "-nq", "--bogus=5", "---", "-="]))
                .into(),
        ),
        2 => {
            let valued: Vec<_> = names().filter(|flag| flag.takes_value).collect();
            let flag = random.pick(&valued);
            words.push(match flag.shorts.first() {
                Some(letter) if random.chance(50) => format!("-n{letter}"),
                _ => format!("--{}", flag.long),
            });
        }
        3 => words.insert(
            at,
            (*random.pick(&["--numeric=1", "-n=", "--stats=", "--ipip=x", "-m=1", "--list=1"]))
                .into(),
        ),
        4 => words.insert(at, "--".into()),
        5 => words.insert(at, "-6".into()),
        6 => {
            let length = words.len().max(1);
            words.rotate_left(at % length);
        }
        7 => words.truncate(at.max(1)),
        8 => {
            let again = words.get(at).cloned();
            words.extend(again);
        }
        _ => words.insert(at, "--sort".into()),
    }
}
