//! Which options go with which command and with which type of tunnel. This is the content of the
//! flags' rows in the form of the C program's table of commands and options.

use crate::cli::flags::{self, BY_KIND, Flag, Need, Role, SECTIONS};
use crate::cli::kinds::{CommandKind, Context, OptionKind, OptionSet, TunnelType};
use crate::text::messages::{Demand, UsageError};

/// How a command or a tunnel type treats options; options in no set are illegal.
#[derive(Clone, Copy, Debug)]
struct Rules {
    required: OptionSet,
    optional: OptionSet,
    /// At most one of these.
    exclusive: OptionSet,
}

impl Rules {
    const EMPTY: Self = Self {
        required: OptionSet::EMPTY,
        optional: OptionSet::EMPTY,
        exclusive: OptionSet::EMPTY,
    };

    /// Stops at the first complaint, in the order of [`OptionKind`]. Options that aren't `checked` may
    /// be given or not.
    fn check(
        &self,
        given: OptionSet,
        checked: OptionSet,
        by: impl FnOnce() -> Demand,
    ) -> Result<(), UsageError> {
        let given = given.intersection(checked);
        // Nearly always there is nothing to complain about.
        if given.contains_all(self.required)
            && self.required.union(self.optional).contains_all(given)
        {
            return Ok(());
        }
        let by = by();
        let mut earlier = None;
        for (kind, option) in kinds().filter(|(kind, _)| checked.contains(*kind)) {
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

/// The kinds of options in the order of checking, with their names in messages.
fn kinds() -> impl Iterator<Item = (OptionKind, &'static str)> {
    BY_KIND.iter().filter_map(|flag| match flag.role {
        Role::Option(kind) => Some((kind, flag.called())),
        _ => None,
    })
}

/// The matrix: the rules of each context, and sets of options.
struct Matrix {
    rules: [Rules; Context::COUNT],
    /// All options.
    all: OptionSet,
    /// The options that refine a type of tunnel.
    tunnel_options: OptionSet,
    /// The options that also go with `-L -c --only`.
    connection_selectors: OptionSet,
}

static MATRIX: Matrix = {
    let mut matrix = Matrix {
        rules: [Rules::EMPTY; Context::COUNT],
        all: OptionSet::EMPTY,
        tunnel_options: OptionSet::EMPTY,
        connection_selectors: OptionSet::EMPTY,
    };
    let mut sections = SECTIONS.as_slice();
    while let Some((section, rest)) = sections.split_first() {
        let mut flags = section.flags;
        while let Some((flag, rest)) = flags.split_first() {
            matrix.add(flag);
            flags = rest;
        }
        sections = rest;
    }
    matrix
};

impl Matrix {
    const fn add(&mut self, flag: &Flag) {
        let Role::Option(kind) = flag.role else { return };
        self.all = self.all.with(kind);
        if flag.selects_connections {
            self.connection_selectors = self.connection_selectors.with(kind);
        }
        let mut uses = flag.goes_with;
        while let Some(((context, need), rest)) = uses.split_first() {
            if let Context::Tunnel(_) = context {
                self.tunnel_options = self.tunnel_options.with(kind);
            }
            let rules = &mut self.rules[context.index()];
            let set = match need {
                Need::Required => &mut rules.required,
                Need::Optional => &mut rules.optional,
                Need::Exclusive => &mut rules.exclusive,
            };
            *set = set.with(kind);
            uses = rest;
        }
    }
}

/// Checks which options were given with a command.
pub(crate) fn check_command(command: CommandKind, given: OptionSet) -> Result<(), UsageError> {
    let mut rules = MATRIX.rules[Context::Command(command).index()];
    let selects = given.contains(OptionKind::Only) && given.contains(OptionKind::Connection);
    if command == CommandKind::List && selects {
        rules.optional = rules.optional.union(MATRIX.connection_selectors);
        rules.exclusive = rules.exclusive.difference(MATRIX.connection_selectors);
    }
    rules.check(given, MATRIX.all, || Demand::Command(flags::command_name(command)))
}

/// Checks which options were given with a type of tunnel.
pub(crate) fn check_tunnel(tunnel: TunnelType, given: OptionSet) -> Result<(), UsageError> {
    let rules = MATRIX.rules[Context::Tunnel(tunnel).index()];
    rules.check(given, MATRIX.tunnel_options, || Demand::TunnelType(tunnel.name()))
}

/// Those of the given options that only tunnels have.
pub(crate) fn tunnel_options(given: OptionSet) -> OptionSet {
    given.intersection(MATRIX.tunnel_options.with(OptionKind::TunType))
}

#[cfg(test)]
mod tests {
    use crate::cli::command::tests::{accepted, refused};

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

    /// The words of a command with everything it requires, its name in messages, and what else it
    /// accepts.
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
                    // These have further conditions, which tests of their own cover.
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
                "the 'only' option needs a virtual service (-t, -u, --sctp-service, -f), a real \
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
