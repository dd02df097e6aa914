//! `monitorfile`: which checks get a line in which files, and what it says.

use std::collections::HashMap;

use probe::{Probe, Verdict};

use super::super::link::Checked;
use crate::config::{CheckType, Method, Real, Service, Spanned};
use crate::file::Usable;
use crate::pools::{bracketed, entries};

/// The longest reason in a line, in bytes; the rest is cut off.
const REASON: usize = 1000;

/// The longest name of a check, likewise.
const SERVER: usize = 4000;

/// The checks of virtual services with a `monitorfile`.
#[derive(Debug, Default)]
pub(super) struct Monitors(HashMap<Probe, Vec<Line>>);

/// Where a check has a line, and under which name.
#[derive(Debug)]
struct Line {
    file: String,
    server: String,
}

impl Monitors {
    /// Those of this file.
    pub(super) fn of(usable: &Usable) -> Self {
        let mut all: HashMap<Probe, Vec<Line>> = HashMap::new();
        for (service, pool) in usable.config.services.iter().zip(&usable.pools) {
            let Some(file) = &service.monitor_file else { continue };
            for (real, address, port, (_, entry)) in entries(service) {
                let Some(member) = pool.members.get(&entry) else { continue };
                let mut server = server(service, real, &bracketed(address), port);
                cut(&mut server, SERVER);
                let line = Line { file: file.value.clone(), server };
                all.entry((*member.probe).clone()).or_default().push(line);
            }
        }
        Self(all)
    }

    /// The lines about a check. A check that says nothing about its server has none.
    pub(super) fn lines(&self, probe: &Probe, verdict: &Verdict) -> Vec<Checked> {
        if self.0.is_empty() || matches!(verdict, Verdict::Inconclusive(_)) {
            return Vec::new();
        }
        let reason = verdict.reason().map(|reason| {
            let mut text = reason.text().to_owned();
            cut(&mut text, REASON);
            text
        });
        let line = |it: &Line| Checked {
            file: it.file.clone(),
            server: it.server.clone(),
            up: verdict.is_up(),
            reason: reason.clone(),
        };
        self.0.get(probe).into_iter().flatten().map(line).collect()
    }
}

/// How the original calls a check: all that makes it different from others, without what isn't given.
fn server(service: &Service, real: &Real, address: &str, port: u16) -> String {
    let text =
        |it: &Option<Spanned<String>>| it.as_ref().map_or(String::new(), |it| it.value.clone());
    let kind = service.check_type.as_ref().map(|it| it.value).unwrap_or_default();
    let spoken = || service.speaks().map_or_else(|| "none".to_owned(), |it| it.to_string());
    let command = || service.check_command.as_ref().map_or("/bin/true", |it| &it.value).to_owned();
    let (name, what) = match kind {
        CheckType::Negotiate => ("negotiate", spoken()),
        CheckType::Combined(_) => ("combined", spoken()),
        CheckType::External => ("external", command()),
        CheckType::ExternalPerl => ("external-perl", command()),
        CheckType::Connect => ("connect", String::new()),
        CheckType::Ping => ("ping", String::new()),
        CheckType::On => ("on", String::new()),
        CheckType::Off => ("off", String::new()),
    };
    let method = match real.method.value {
        Method::Gate => "gate",
        Method::Masq => "masq",
        Method::Ipip => "ipip",
    };
    let (request, receive) = match &real.exchange {
        Some((request, receive)) => (request.value.clone(), receive.value.clone()),
        None => (text(&service.request), text(&service.receive)),
    };
    // The original puts a slash in front of each request, and of one that isn't given.
    let slash = if request.starts_with('/') { "" } else { "/" };
    [
        name.to_owned(),
        what,
        service.protocol().to_owned(),
        address.to_owned(),
        port.to_string(),
        text(&service.virtual_host),
        service.check_port.as_ref().map_or(String::new(), |it| it.value.to_string()),
        real.weight.as_ref().map_or(1, |it| it.value).to_string(),
        method.to_owned(),
        format!("{slash}{request}"),
        receive,
    ]
    .into_iter()
    .filter(|it| !it.is_empty())
    .collect::<Vec<_>>()
    .join(" ")
}

fn cut(text: &mut String, most: usize) {
    if text.len() > most {
        let end = (0..=most).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use probe::{ReasonKind, Stage};

    use super::*;
    use crate::file::Source;
    use crate::machine::Nameless;

    fn usable(text: &str) -> Usable {
        let source = Source::new(Path::new("x.cf"), text.as_bytes(), 0o600);
        source.examine(&Nameless::default()).expect("usable")
    }

    /// The lines for all real servers, which are down.
    fn lines(text: &str) -> Vec<(String, String)> {
        let usable = usable(text);
        let monitors = Monitors::of(&usable);
        let down = Verdict::down(ReasonKind::Refused, Stage::Connect, "refused");
        let probes = usable.pools.iter().flat_map(|it| it.members.values()).map(|it| &it.probe);
        let mut lines: Vec<Checked> = Vec::new();
        for probe in probes {
            for line in monitors.lines(probe, &down) {
                if !lines.contains(&line) {
                    lines.push(line);
                }
            }
        }
        let text = |it: Checked| {
            assert!(!it.up && it.reason.as_deref() == Some("refused"));
            (it.file, it.server)
        };
        lines.into_iter().map(text).collect()
    }

    /// The fields and their order are those of ldirectord 1.186 (`get_real_id_str`), with a blank
    /// between two of them and without backslashes (`service_set`).
    #[test]
    fn a_check_is_called_as_the_original_calls_it() {
        let head = "virtual=10.0.0.1:80\n\tmonitorfile=\"/tmp/m\"\n";
        for (text, expected) in [
            (
                "\treal=10.0.0.2:80 gate\n\trequest=\"check.txt\"\n\treceive=\"works\"\n",
                "negotiate http tcp 10.0.0.2 80 1 gate /check.txt works",
            ),
            (
                "\treal=10.0.0.2:81 masq 5 \"/x\", \"y\"\n\tvirtualhost=www\n\tcheckport=8080\n",
                "negotiate http tcp 10.0.0.2 81 www 8080 5 masq /x y",
            ),
            ("\treal=10.0.0.2 ipip\n\tchecktype=connect\n", "connect tcp 10.0.0.2 80 1 ipip /"),
            (
                "\treal=10.0.0.2 gate\n\tchecktype=external\n\tcheckcommand=/opt/c\n\tprotocol=udp\n",
                "external /opt/c udp 10.0.0.2 80 1 gate /",
            ),
            ("\treal=10.0.0.2 gate\n\tchecktype=3\n", "combined http tcp 10.0.0.2 80 1 gate /"),
        ] {
            let found = lines(&format!("{head}{text}"));
            assert_eq!(found, [("/tmp/m".to_owned(), expected.to_owned())], "{text}");
        }
    }

    #[test]
    fn a_shared_check_has_a_line_for_each_service_that_wants_one() {
        let service = |number, more: &str| {
            format!(
                "virtual=10.0.0.{number}:80\n\treal=10.9.0.1:80 gate\n\tchecktype=connect\n{more}"
            )
        };
        let files = |it: &str| lines(it).into_iter().map(|it| it.0).collect::<Vec<_>>();
        let text = service(1, "\tmonitorfile=/tmp/a\n")
            + &service(2, "")
            + &service(3, "\tmonitorfile=/tmp/b\n");
        assert_eq!(files(&text), ["/tmp/a", "/tmp/b"]);
        assert_eq!(files(&service(1, "")), [""; 0]);
    }

    #[test]
    fn what_says_nothing_about_the_server_has_no_line() {
        let text = "virtual=10.0.0.1:80\n\treal=10.9.0.1:80 gate\n\tmonitorfile=/tmp/a\n";
        let usable = usable(text);
        let monitors = Monitors::of(&usable);
        let probe = &usable.pools[0].members.values().next().expect("one").probe;
        let late = Verdict::Inconclusive(Stage::Reply.timed_out(probe.timeout));
        assert_eq!(monitors.lines(probe, &late), []);
        let up = monitors.lines(probe, &Verdict::Up);
        assert!(matches!(&up[..], [Checked { up: true, reason: None, .. }]), "{up:?}");
    }
}
