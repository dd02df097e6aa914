//! The C program's messages, and how far a command got before each one.

/// How far a command got before it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The words don't form a command line: a restore continues.
    Syntax,
    /// Values or their combination are wrong: a restore ends.
    Values,
    /// The kernel received the request and refused it.
    Kernel,
    /// IPVS is not available to this user.
    Start,
}

/// A message, in which `*` stands for any text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message {
    pub(super) pattern: &'static str,
    pub(super) stage: Stage,
}

const fn syntax(pattern: &'static str) -> Message {
    Message { pattern, stage: Stage::Syntax }
}

const fn values(pattern: &'static str) -> Message {
    Message { pattern, stage: Stage::Values }
}

const fn kernel(pattern: &'static str) -> Message {
    Message { pattern, stage: Stage::Kernel }
}

const fn start(pattern: &'static str) -> Message {
    Message { pattern, stage: Stage::Start }
}

/// Every message that can be triggered, specific ones before general ones, in the C program's
/// words.
pub(super) const MESSAGES: &[Message] = &[
    syntax("*: unknown option"),
    syntax("*: missing argument"),
    syntax("*: option does not take an argument"),
    values("Try `* -h' or '* --help' for more information."),
    values("invalid option `*'"),
    values("multiple '*' options specified"),
    values("unexpected argument *"),
    values("illegal virtual server address[:port] specified"),
    values("illegal real server address[:port] specified"),
    values("invalid fwmark value `*' specified"),
    values("invalid timeout value `*' specified"),
    values("illegal virtual server persistent mask specified"),
    values("illegal ipv6 netmask specified"),
    values("illegal weight specified"),
    values("illegal u_threshold specified"),
    values("illegal l_threshold specified"),
    values("illegal syncid specified"),
    values("illegal mcast-port specified"),
    values("illegal mcast-ttl specified"),
    values("illegal sync-maxlen specified"),
    values("illegal tunnel type specified"),
    values("illegal tunnel port specified"),
    values("invalid IPv4 mcast-group `*'"),
    values("invalid IPv6 mcast-group `*'"),
    values("illegal start-daemon parameter specified"),
    values("illegal start_daemon specified"),
    values("--set option requires 3 timeout values"),
    values("-6 used before -f"),
    values("invalid scheduler flag `*'"),
    values("incompatible scheduler flag `*'"),
    values("You need to supply the '*' option for the '*' command"),
    values("You need to supply the '*' option for the '*' tunnel type"),
    values("Illegal '*' option with the '*' command"),
    values("Illegal '*' option with the '*' tunnel type"),
    values("The option '*' conflicts with the '*' option in the '*' command"),
    values("The option '*' conflicts with the '*' option in the '*' tunnel type"),
    values("options conflicts in the list command"),
    values("Zero port specified for non-persistent service"),
    values("One-Packet Scheduling is only for UDP virtual services"),
    values("Different address family is allowed only for tunneling servers"),
    values("Tunnel options conflict with forward method"),
    values("ipvsadm-save: Script to save the IPVS table to stdout."),
    values("   With the -n option, prints out the table in numeric format."),
    kernel("Service already exists"),
    kernel("Scheduler or persistence engine not found"),
    kernel("No such service"),
    kernel("Service not defined"),
    kernel("Destination already exists"),
    kernel("No such destination"),
    kernel("Daemon has already run"),
    kernel("No daemon is running"),
    kernel("Invalid operation.  Possibly wrong module version, address not unicast, ..."),
    kernel("Numerical result out of range"),
    kernel("No such device"),
    kernel("Network is unreachable"),
    start("Can't initialize ipvs: Permission denied (you must be root)"),
    start("Are you sure that IP Virtual Server is built in the kernel or as module?"),
];

/// Messages of the C program that nothing here triggers, and why.
pub(super) const OUT_OF_REACH: &[(&str, &str)] = &[
    ("Memory allocation problem", "the kernel would have to run out of memory"),
    ("multiple commands specified", "only the first option is ever taken for a command"),
    ("addrport_to_anyname: *", "the program would have to run out of memory"),
    ("addrport_to_anyname fails", "the program would have to run out of memory"),
    ("config_file_read: dynamic_array_create*", "the program would have to run out of memory"),
    ("config_file_read: dynamic_array_add_element*", "the program would have to run out of memory"),
    ("Protocol not available", "the kernel would have to be without IPVS"),
    ("Module is wrong version", "the kernel would have to be older than the protocol"),
    ("Operation not supported with IPv6", "only kernels without generic netlink say that"),
    ("Operation not supported with specified address family", "the kernel would have to lack IPv6"),
    ("No such process", "the kernel would have to fail to list services"),
    ("Permission denied (you must be root)", "who may ask for the version may do the rest"),
    ("Warning: IPVS version mismatch: ", "every kernel since 2.6 has the version that is wanted"),
    (
        "cannot open file /proc/net/ip_vs_conn",
        "it takes a machine without /proc: a test in rights.rs",
    ),
    ("unexpected input from /proc/net/ip_vs_conn", "it takes another /proc: a test in rights.rs"),
];

/// The message that a line of standard error matches.
pub(super) fn of_line(line: &str) -> Option<Message> {
    MESSAGES.iter().find(|message| matches(message.pattern, line)).copied()
}

fn matches(pattern: &str, line: &str) -> bool {
    let Some((before, rest)) = pattern.split_once('*') else { return pattern == line };
    let Some(mut line) = line.strip_prefix(before) else { return false };
    let mut rest = rest;
    while let Some((middle, behind)) = rest.split_once('*') {
        let Some((_, tail)) = line.split_once(middle) else { return false };
        (line, rest) = (tail, behind);
    }
    line.ends_with(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_recognised() {
        for (line, pattern) in [
            ("--x: y: unknown option", "*: unknown option"),
            (
                "Illegal 'rate' option with the 'gue' tunnel type",
                "Illegal '*' option with the '*' tunnel type",
            ),
            ("unexpected argument ", "unexpected argument *"),
            ("No such service", "No such service"),
        ] {
            assert_eq!(of_line(line).map(|message| message.pattern), Some(pattern));
        }
        assert!(of_line("No such service ").is_none());
        assert!(of_line("Segmentation fault").is_none());
    }
}
