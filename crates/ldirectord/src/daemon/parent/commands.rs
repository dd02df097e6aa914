//! Which commands the parent runs for the worker.
//!
//! The worker talks to the network, so it may have been taken over. The parent therefore runs only
//! what the file names that it has read itself, with arguments that can't be anything else.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};
use std::path::PathBuf;
use std::time::Duration;

use probe::{Check, External, Limits, PrepareError, Probe, Runner};

use super::super::link::Job;
use crate::config::{CheckType, Service, Settings};
use crate::pools::PERL;

/// The longest time that a command may take; a day, which is longer than any check.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a fallback command may take.
const FALLBACK_TIMEOUT: Duration = Duration::from_secs(60);

/// The target of a command, which has none.
pub(super) const NOWHERE: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0));

/// The command of a check if the file names none.
const USUAL_CHECK: &str = "/bin/true";

/// The commands that a configuration names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Commands {
    checks: BTreeSet<String>,
    /// Scripts that Perl runs.
    scripts: BTreeSet<String>,
    fallbacks: BTreeSet<String>,
    /// Files that get a line for each check.
    monitor_files: BTreeSet<String>,
}

impl Commands {
    /// Adds those that a virtual service names.
    pub(super) fn add(&mut self, service: &Service) {
        let check = service.check_command.as_ref().map_or(USUAL_CHECK, |it| &it.value);
        let is_perl = |it: &CheckType| *it == CheckType::ExternalPerl;
        if service.check_type.as_deref().is_some_and(is_perl) {
            insert(&mut self.scripts, check);
        } else {
            insert(&mut self.checks, check);
        }
        if let Some(file) = &service.monitor_file {
            insert(&mut self.monitor_files, &file.value);
        }
        self.add_fallback(&service.settings);
    }

    /// Adds the one that the whole file names.
    pub(super) fn add_fallback(&mut self, settings: &Settings) {
        if let Some(command) = &settings.fallback_command {
            insert(&mut self.fallbacks, &command.value);
        }
    }

    /// Whether a virtual service names this `monitorfile`.
    pub(super) fn has_monitor_file(&self, file: &str) -> bool {
        self.monitor_files.contains(file)
    }

    /// Those that can't be run here, each with the reason.
    pub(super) fn missing(&self) -> Vec<(PathBuf, String)> {
        let runner = Runner::new(Limits::default());
        let missing = |program: &str| {
            let external = External { program: program.into(), arguments: Vec::new() };
            let probe = Probe::new(NOWHERE, Check::External(external), FALLBACK_TIMEOUT);
            match runner.prepare(&probe) {
                Err(PrepareError::Program { program, source }) => {
                    Some((program, source.to_string()))
                }
                _ => None,
            }
        };
        let perl = (!self.scripts.is_empty()).then_some(PERL);
        self.checks.iter().map(String::as_str).chain(perl).filter_map(missing).collect()
    }

    /// What to run for this job, and for how long at most. None if it isn't in the configuration.
    pub(super) fn command(&self, job: &Job) -> Option<(External, Duration)> {
        match job {
            Job::Check { program, arguments, timeout } => {
                let (known, words) = match &arguments[..] {
                    [script, words @ ..] if program == PERL && words.len() == 4 => {
                        (self.scripts.contains(script), words)
                    }
                    words => (self.checks.contains(program), words),
                };
                let [virtual_ip, virtual_port, real_ip, real_port] = words else {
                    return None;
                };
                let is_mark = virtual_ip.parse::<u32>().is_ok();
                let known = known
                    && (is_mark || is_address(virtual_ip))
                    && is_address(real_ip)
                    && [virtual_port, real_port].iter().all(|it| it.parse::<u16>().is_ok());
                let arguments = arguments.iter().map(Into::into).collect();
                let external = External { program: program.into(), arguments };
                known.then_some((external, (*timeout).min(LONGEST)))
            }
            Job::Fallback { command, start, service, protocol } => {
                let is_service =
                    service.parse::<SocketAddr>().is_ok() || service.parse::<u32>().is_ok();
                let known = self.fallbacks.contains(command)
                    && is_service
                    && matches!(protocol.as_str(), "tcp" | "udp" | "fwm");
                let word = if *start { "start" } else { "stop" };
                let script = format!("{command} {word} {service} {protocol}");
                let arguments = ["-c".into(), script.into()].into();
                let external = External { program: "/bin/sh".into(), arguments };
                known.then_some((external, FALLBACK_TIMEOUT))
            }
        }
    }
}

fn insert(to: &mut BTreeSet<String>, command: &str) {
    // Nearly all virtual services name the same.
    if !to.contains(command) {
        to.insert(command.to_owned());
    }
}

/// An address as the checks' commands get it: IPv6 in brackets.
fn is_address(text: &str) -> bool {
    let inside = text.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    match inside {
        Some(inside) => inside.parse::<Ipv6Addr>().is_ok(),
        None => text.parse::<Ipv4Addr>().is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;
    use crate::machine::Nameless;

    fn commands(text: &str) -> Commands {
        let (config, diagnostics) = parse(text, &Nameless::default());
        let config = config.unwrap_or_else(|| panic!("{diagnostics:?}"));
        let mut commands = Commands::default();
        config.services.iter().for_each(|it| commands.add(it));
        commands.add_fallback(&config.globals.settings);
        commands
    }

    fn two_services() -> Commands {
        commands(
            "fallbackcommand=/usr/bin/page me\n\
             virtual=10.0.0.1:80\n\treal=10.0.0.2:80 gate\n\tchecktype=external\n\tcheckcommand=/opt/check\n\
             virtual=7\n\treal=10.0.0.2:80 gate\n\tchecktype=external\n",
        )
    }

    fn check(program: &str, arguments: [&str; 4]) -> Job {
        Job::Check {
            program: program.into(),
            arguments: arguments.map(str::to_owned).into(),
            timeout: Duration::from_secs(3),
        }
    }

    const USUAL: [&str; 4] = ["10.0.0.1", "80", "10.0.0.2", "80"];

    #[test]
    fn a_check_in_the_file_is_run_as_it_stands_there() {
        let (external, timeout) =
            two_services().command(&check("/opt/check", USUAL)).expect("it is in the file");
        assert_eq!(external.program.to_str(), Some("/opt/check"));
        assert_eq!(external.arguments, USUAL);
        assert_eq!(timeout, Duration::from_secs(3));
        for arguments in [["7", "0", "10.0.0.2", "80"], ["[fd00::1]", "80", "[fd00::2]", "80"]] {
            assert!(two_services().command(&check("/opt/check", arguments)).is_some());
        }
        assert!(two_services().command(&check("/bin/true", USUAL)).is_some(), "the default");
        assert!(commands("").command(&check("/bin/true", USUAL)).is_none());
    }

    #[test]
    fn perl_runs_a_script_in_the_file_and_no_other() {
        let all = commands(
            "virtual=10.0.0.1:80\n\treal=10.0.0.2:80 gate\n\tchecktype=external-perl\n\
             \tcheckcommand=/opt/check.pl\n",
        );
        let job = |program: &str, words: &[&str]| Job::Check {
            program: program.into(),
            arguments: words.iter().map(|it| (*it).to_owned()).collect(),
            timeout: Duration::from_secs(3),
        };
        let words = ["/opt/check.pl", "10.0.0.1", "80", "10.0.0.2", "80"];
        let (external, _) = all.command(&job(PERL, &words)).expect("it is in the file");
        assert_eq!(external.arguments, words);
        for (program, words) in [
            (PERL, &["-e", "10.0.0.1", "80", "10.0.0.2", "80"][..]),
            (PERL, &["/opt/check.pl", "10.0.0.1", "80", "10.0.0.2", "80", "80"]),
            (PERL, &words[1..]),
            ("/opt/check.pl", &words[1..]),
            ("/bin/sh", &words),
        ] {
            assert_eq!(all.command(&job(program, words)), None, "{program} {words:?}");
        }
    }

    #[test]
    fn nothing_else_is_run() {
        let all = two_services();
        for job in [
            check("/bin/sh", USUAL),
            check("/opt/check ", USUAL),
            check("/opt/check", ["-c", "80", "10.0.0.2", "80"]),
            check("/opt/check", ["10.0.0.1", "80; id", "10.0.0.2", "80"]),
            check("/opt/check", ["10.0.0.1", "80", "$(id)", "80"]),
            check("/opt/check", ["10.0.0.1", "80", "7", "80"]),
            check("/opt/check", ["10.0.0.1", "80", "10.0.0.2", "99999"]),
            Job::Check {
                program: "/opt/check".into(),
                arguments: vec![],
                timeout: Duration::from_secs(1),
            },
        ] {
            assert_eq!(all.command(&job), None, "{job:?}");
        }
    }

    #[test]
    fn a_fallback_command_goes_through_a_shell() {
        let job = |command: &str, service: &str, protocol: &str| Job::Fallback {
            command: command.into(),
            start: true,
            service: service.into(),
            protocol: protocol.into(),
        };
        let all = two_services();
        let (external, _) =
            all.command(&job("/usr/bin/page me", "10.0.0.1:80", "tcp")).expect("it is in the file");
        assert_eq!(external.arguments, ["-c", "/usr/bin/page me start 10.0.0.1:80 tcp"]);
        assert!(all.command(&job("/usr/bin/page me", "7", "fwm")).is_some());
        assert!(all.command(&job("/usr/bin/page me", "[fd00::1]:80", "udp")).is_some());
        for (command, service, protocol) in [
            ("/usr/bin/page", "10.0.0.1:80", "tcp"),
            ("/usr/bin/page me", "10.0.0.1:80; id", "tcp"),
            ("/usr/bin/page me", "10.0.0.1:80", "tcp; id"),
        ] {
            assert_eq!(all.command(&job(command, service, protocol)), None, "{service} {protocol}");
        }
    }
}
