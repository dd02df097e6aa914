//! Which options go with which command, and with which type of tunnel.

use super::args::TunnelType;
use super::flags::{CommandKind, OptionKind, OptionSet};
use crate::text::messages::{Demand, UsageError};

/// What a command makes of options; those in no set are illegal.
struct Rules {
    required: OptionSet,
    optional: OptionSet,
    /// At most one of these.
    exclusive: OptionSet,
}

impl Rules {
    const fn new(
        required: &[OptionKind],
        optional: &[OptionKind],
        exclusive: &[OptionKind],
    ) -> Self {
        Self {
            required: OptionSet::of(required),
            optional: OptionSet::of(optional),
            exclusive: OptionSet::of(exclusive),
        }
    }

    /// Stops at the first complaint, in the order of [`OptionKind`].
    fn check(
        &self,
        given: OptionSet,
        kinds: impl IntoIterator<Item = OptionKind>,
        by: Demand,
    ) -> Result<(), UsageError> {
        // Nearly always there is nothing to complain of.
        if given.contains_all(self.required)
            && self.required.union(self.optional).contains_all(given)
        {
            return Ok(());
        }
        let mut earlier = None;
        for kind in kinds {
            let option = kind.name();
            if !given.contains(kind) {
                if self.required.contains(kind) {
                    return Err(UsageError::Missing { option, by });
                }
            } else if self.exclusive.contains(kind) {
                if let Some(earlier) = earlier.replace(option) {
                    return Err(UsageError::Conflict { option, earlier, by });
                }
            } else if !self.required.contains(kind) && !self.optional.contains(kind) {
                return Err(UsageError::Illegal { option, by });
            }
        }
        Ok(())
    }
}

use OptionKind as O;

fn command_rules(command: CommandKind, given: OptionSet) -> Rules {
    match command {
        CommandKind::AddService | CommandKind::EditService => {
            const OPTIONAL: [O; 7] = [
                O::Scheduler,
                O::Persistent,
                O::Netmask,
                O::Ops,
                O::PersistenceEngine,
                O::SchedFlags,
                O::Keep,
            ];
            Rules::new(&[O::ServiceAddress], for_edits(command, &OPTIONAL), &[])
        }
        CommandKind::DeleteService => Rules::new(&[O::ServiceAddress], &[], &[]),
        CommandKind::Flush | CommandKind::SetTimeouts => Rules::new(&[], &[], &[]),
        CommandKind::Restore => Rules::new(&[], &[O::Strict], &[]),
        CommandKind::Save => Rules::new(&[], &[O::Numeric, O::All], &[]),
        CommandKind::AddServer | CommandKind::EditServer => {
            const OPTIONAL: [O; 10] = [
                O::ForwardingMethod,
                O::Weight,
                O::UpperThreshold,
                O::LowerThreshold,
                O::TunType,
                O::TunPort,
                O::TunNoCsum,
                O::TunCsum,
                O::TunRemCsum,
                O::Keep,
            ];
            let optional = for_edits(command, &OPTIONAL);
            Rules::new(&[O::ServiceAddress, O::RealServer], optional, &[])
        }
        CommandKind::DeleteServer => Rules::new(&[O::ServiceAddress, O::RealServer], &[], &[]),
        CommandKind::List => {
            // The sync id does nothing there, but scripts may rely on its being accepted.
            const OPTIONAL: [O; 13] = [
                O::Numeric,
                O::Stats,
                O::Rate,
                O::Thresholds,
                O::PersistentConn,
                O::NoSort,
                O::SyncId,
                O::Exact,
                O::TunInfo,
                O::Json,
                // These with --only, which goes with connections.
                O::ServiceAddress,
                O::RealServer,
                O::Only,
            ];
            const EXCLUSIVE: [O; 4] = [O::Connection, O::Timeout, O::Daemon, O::ServiceAddress];
            if given.contains(O::Only) && given.contains(O::Connection) {
                Rules::new(&[], &OPTIONAL, &EXCLUSIVE[..3])
            } else {
                Rules::new(&[], &OPTIONAL[..10], &EXCLUSIVE)
            }
        }
        CommandKind::Zero => Rules::new(&[], &[O::ServiceAddress], &[]),
        CommandKind::StartDaemon => Rules::new(
            &[],
            &[
                O::McastInterface,
                O::SyncId,
                O::McastGroup,
                O::McastPort,
                O::McastTtl,
                O::SyncMaxLen,
            ],
            &[],
        ),
        CommandKind::StopDaemon => Rules::new(&[], &[O::SyncId], &[]),
    }
}

/// The options of a command that adds or edits; the last of them, --keep, goes with edits.
const fn for_edits(command: CommandKind, optional: &'static [O]) -> &'static [O] {
    match (command, optional) {
        (CommandKind::AddService | CommandKind::AddServer, [rest @ .., O::Keep]) => rest,
        _ => optional,
    }
}

/// Checks which options were given with a command.
pub(crate) fn check_command(command: CommandKind, given: OptionSet) -> Result<(), UsageError> {
    let kinds = OptionKind::ALL.iter().map(|(kind, _)| *kind);
    command_rules(command, given).check(given, kinds, Demand::Command(command.name()))
}

/// The options that only tunnels have.
pub(crate) const ANY_TUNNEL_OPTION: OptionSet =
    OptionSet::of(&[O::TunType, O::TunPort, O::TunNoCsum, O::TunCsum, O::TunRemCsum]);

/// The options that say more about a type of tunnel, in the order in which they are checked.
const TUNNEL_OPTIONS: [O; 4] = [O::TunPort, O::TunNoCsum, O::TunCsum, O::TunRemCsum];

/// Checks which options were given with a type of tunnel.
pub(crate) fn check_tunnel(tunnel: TunnelType, given: OptionSet) -> Result<(), UsageError> {
    let rules = match tunnel {
        TunnelType::Ipip => Rules::new(&[], &[], &[]),
        TunnelType::Gue => {
            Rules::new(&[O::TunPort], &[], &[O::TunNoCsum, O::TunCsum, O::TunRemCsum])
        }
        TunnelType::Gre => Rules::new(&[], &[], &[O::TunNoCsum, O::TunCsum]),
    };
    rules.check(given, TUNNEL_OPTIONS, Demand::TunnelType(tunnel.name()))
}

#[cfg(test)]
mod tests {
    use super::super::command::tests::{accepted, refused};

    /// One option of each kind, by the name that messages use.
    const ONE_OF_EACH: [(&str, &str); 39] = [
        ("numeric", "-n"),
        ("connection", "-c"),
        ("service-address", "-t 10.0.0.1:80"),
        ("scheduler", "-s rr"),
        ("persistent", "-p 60"),
        ("netmask", "-M 255.255.255.0"),
        ("real-server", "-r 10.1.0.1:80"),
        ("forwarding-method", "-i"),
        ("weight", "-w 1"),
        ("u-threshold", "-x 1"),
        ("l-threshold", "-y 1"),
        ("mcast-interface", "--mcast-interface eth0"),
        ("timeout", "--timeout"),
        ("daemon", "--daemon"),
        ("stats", "--stats"),
        ("rate", "--rate"),
        ("thresholds", "--thresholds"),
        ("persistent-conn", "--persistent-conn"),
        ("nosort", "--nosort"),
        ("syncid", "--syncid 1"),
        ("exact", "--exact"),
        ("ops", "-o"),
        ("pe", "--pe sip"),
        ("sched-flags", "-b flag-1"),
        ("mcast-group", "--mcast-group 224.0.0.81"),
        ("mcast-port", "--mcast-port 1"),
        ("mcast-ttl", "--mcast-ttl 1"),
        ("sync-maxlen", "--sync-maxlen 1"),
        ("tun-info", "--tun-info"),
        ("tun-type", "--tun-type ipip"),
        ("tun-port", "--tun-port 1"),
        ("tun-nocsum", "--tun-nocsum"),
        ("tun-csum", "--tun-csum"),
        ("tun-remcsum", "--tun-remcsum"),
        ("json", "--json"),
        ("strict", "--strict"),
        ("keep", "--keep"),
        ("all", "--all"),
        ("only", "--only"),
    ];

    /// The words of a command with all it requires, its name in messages, and what else it takes.
    const COMMANDS: [(&str, &str, &[&str], &[&str]); 12] = {
        const SERVICE: &[&str] =
            &["scheduler", "persistent", "netmask", "ops", "pe", "sched-flags"];
        const KEPT_SERVICE: &[&str] =
            &["scheduler", "persistent", "netmask", "ops", "pe", "sched-flags", "keep"];
        const SERVER: &[&str] = &[
            "forwarding-method",
            "weight",
            "u-threshold",
            "l-threshold",
            "tun-type",
            "tun-port",
            "tun-nocsum",
            "tun-csum",
            "tun-remcsum",
        ];
        const KEPT_SERVER: &[&str] = &[
            "forwarding-method",
            "weight",
            "u-threshold",
            "l-threshold",
            "tun-type",
            "tun-port",
            "tun-nocsum",
            "tun-csum",
            "tun-remcsum",
            "keep",
        ];
        const DAEMON: &[&str] =
            &["mcast-interface", "syncid", "mcast-group", "mcast-port", "mcast-ttl", "sync-maxlen"];
        const LIST: &[&str] = &[
            "numeric",
            "connection",
            "service-address",
            "timeout",
            "daemon",
            "stats",
            "rate",
            "thresholds",
            "persistent-conn",
            "nosort",
            "syncid",
            "exact",
            "tun-info",
            "json",
        ];
        [
            ("-A", "add-service", &["service-address"], SERVICE),
            ("-E", "edit-service", &["service-address"], KEPT_SERVICE),
            ("-D", "delete-service", &["service-address"], &[]),
            ("-C", "flush", &[], &[]),
            ("-R", "restore", &[], &["strict"]),
            ("-S", "save", &[], &["numeric", "all"]),
            ("-a", "add-server", &["service-address", "real-server"], SERVER),
            ("-e", "edit-server", &["service-address", "real-server"], KEPT_SERVER),
            ("-d", "delete-server", &["service-address", "real-server"], &[]),
            ("-L", "list", &[], LIST),
            ("-Z", "zero", &[], &["service-address"]),
            ("--start-daemon master", "start-daemon", &[], DAEMON),
        ]
    };

    fn words_of(option: &str) -> &'static str {
        ONE_OF_EACH.iter().find(|(name, _)| *name == option).unwrap().1
    }

    #[test]
    fn every_command_with_every_option() {
        let others = [
            ("--stop-daemon master", "stop-daemon", &[][..], &["syncid"][..]),
            ("--set 1 2 3", "set", &[], &[]),
        ];
        for (command, name, required, optional) in COMMANDS.into_iter().chain(others) {
            let needed: Vec<_> = required.iter().map(|option| words_of(option)).collect();
            let line = format!("{command} {}", needed.join(" "));
            accepted(&line);
            for missing in required {
                let line = line.replace(words_of(missing), "");
                let message =
                    format!("You need to supply the '{missing}' option for the '{name}' command\n");
                assert_eq!(refused(&line), message, "{line}");
            }
            for (option, words) in ONE_OF_EACH {
                if required.contains(&option) {
                    continue;
                }
                let line = format!("{line} {words}");
                let illegal = format!("Illegal '{option}' option with the '{name}' command\n");
                if !optional.contains(&option) {
                    assert_eq!(refused(&line), illegal, "{line}");
                } else if !matches!(
                    option,
                    "ops" | "tun-port" | "tun-nocsum" | "tun-csum" | "tun-remcsum" | "tun-type"
                ) {
                    // Those have further conditions, which tests of their own look at.
                    accepted(&line);
                }
            }
        }
    }

    #[test]
    fn what_is_listed_is_one_thing() {
        let conflict = |a, b| {
            format!("The option '{a}' conflicts with the '{b}' option in the 'list' command\n")
        };
        assert_eq!(refused("-L --timeout -c"), conflict("timeout", "connection"));
        assert_eq!(refused("-L -t 10.0.0.1:80 -c"), conflict("service-address", "connection"));
        assert_eq!(refused("-L --daemon --timeout"), conflict("daemon", "timeout"));
    }

    #[test]
    fn connections_of_a_service_or_a_server_only() {
        for good in [
            "-L -c --only -t 10.0.0.1:80",
            "-L -c --only -r 10.1.0.1",
            "-L -n --only -f 1 -6 -r [2001:db8::1]:80 -c --persistent-conn --json --nosort",
        ] {
            accepted(good);
        }
        let illegal = |option| format!("Illegal '{option}' option with the 'list' command\n");
        for (bad, message) in [
            ("-L --only", illegal("only")),
            ("-L --only -t 10.0.0.1:80", illegal("only")),
            ("-L --only --timeout", illegal("only")),
            ("-L -c -r 10.1.0.1", illegal("real-server")),
            ("-L -c --only -r 10.1.0.1 -w 1", illegal("weight")),
            ("-L -c --only -t 10.0.0.1:80 --stats", "options conflicts in the list command\n".into()),
            (
                "-L -c --only -t 10.0.0.1:80 --timeout",
                "The option 'timeout' conflicts with the 'connection' option in the 'list' command\n"
                    .into(),
            ),
            (
                "-L -c --only",
                "the 'only' option wants a virtual service (-t, -u, --sctp-service, -f), a real \
                 server (-r), or both\n"
                    .into(),
            ),
        ] {
            assert_eq!(refused(bad), message, "{bad}");
        }
    }

    #[test]
    fn tunnels() {
        let server = |options: &str| format!("-a -t 10.0.0.1:80 -r 10.1.0.1 -i {options}");
        for good in [
            "",
            "--tun-type ipip",
            "--tun-type gue --tun-port 1",
            "--tun-type gue --tun-port 1 --tun-nocsum",
            "--tun-type gue --tun-port 1 --tun-csum",
            "--tun-type gue --tun-port 1 --tun-remcsum",
            "--tun-type gre",
            "--tun-type gre --tun-nocsum",
            "--tun-type gre --tun-csum",
        ] {
            accepted(&server(good));
        }
        for (bad, message) in [
            ("--tun-port 1", "Illegal 'tun-port' option with the 'ipip' tunnel type\n"),
            ("--tun-csum", "Illegal 'tun-csum' option with the 'ipip' tunnel type\n"),
            (
                "--tun-type gue",
                "You need to supply the 'tun-port' option for the 'gue' tunnel type\n",
            ),
            (
                "--tun-type gue --tun-port 1 --tun-remcsum --tun-csum",
                "The option 'tun-remcsum' conflicts with the 'tun-csum' option in the 'gue' tunnel type\n",
            ),
            (
                "--tun-type gre --tun-port 1",
                "Illegal 'tun-port' option with the 'gre' tunnel type\n",
            ),
            (
                "--tun-type gre --tun-remcsum",
                "Illegal 'tun-remcsum' option with the 'gre' tunnel type\n",
            ),
            (
                "--tun-type gre --tun-csum --tun-nocsum",
                "The option 'tun-csum' conflicts with the 'tun-nocsum' option in the 'gre' tunnel type\n",
            ),
        ] {
            assert_eq!(refused(&server(bad)), message, "{bad}");
        }
    }
}
