//! What each command reports to privileged and unprivileged users, and on machines that offer less
//! than usual.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use ipvs_testkit::{Context, Finished, Namespace, Suite};
use ipvs_tests::{NOBODY, PublicCopy, add_dummy_device, c_ipvsadm, load_modules, run, said};

use crate::test;

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add(test!(nobody_may_do_anything));
    suite.add(test!(cap_net_admin_is_enough));
    suite.add(test!(proc_may_be_read_only));
    suite.add(test!(without_proc_only_connections_are_missing));
    suite.add(test!(an_empty_list_of_connections_is_none));
    suite.add(test!(values_at_and_past_their_limits));
}

/// Every command, in an order in which root can execute them all, and whether it lists.
const COMMANDS: [&str; 22] = [
    "-A -t 192.0.2.53:80 -s rr",
    "-E -t 192.0.2.53:80 -s wrr -p 60",
    "-a -t 192.0.2.53:80 -r 192.0.2.102 -g -w 2",
    "-e -t 192.0.2.53:80 -r 192.0.2.102 -g -w 3 -x 9 -y 4",
    "-A -t [2001:db8::53]:80 -s lc",
    "-a -t [2001:db8::53]:80 -r [2001:db8::102]:80 -i",
    "-A -f 7 -s sh -b sh-port",
    "-L -n",
    "-L -n --stats",
    "-L -n --json",
    "-L -t 192.0.2.53:80",
    "-L --timeout",
    "-L --daemon",
    "-S -n",
    "-Z",
    "-Z -t 192.0.2.53:80",
    "--set 100 0 50",
    "--start-daemon backup --mcast-interface eth0 --syncid 9",
    "--stop-daemon backup",
    "-d -t 192.0.2.53:80 -r 192.0.2.102",
    "-D -f 7",
    "-C",
];

const QUESTION: &str = "Are you sure that IP Virtual Server is built in the kernel or as module?\n";

/// The text is the C tool's, which has no other for unprivileged users.
fn nobody_may_do_anything(context: &mut Context) -> Result<()> {
    let netns = context.netns("director")?;
    let public = PublicCopy::new()?;
    let denied = format!("Can't initialize ipvs: Permission denied (you must be root)\n{QUESTION}");
    for command in COMMANDS.into_iter().chain(["-R", "-L -n -c"]) {
        let finished = public.run_as_nobody(&netns, command)?;
        assert_eq!(said(&finished), (Some(2), "", denied.as_str()), "{command}");
    }
    Ok(())
}

/// Runs a program through a shell: the script `around` gets the program and its arguments as "$@".
fn within(netns: &Namespace, program: &Path, around: &str, arguments: &str) -> Result<Finished> {
    run(netns, "sh", |command| {
        command.args(["-ec", around, "sh"]).arg(program).args(arguments.split_whitespace());
    })
}

/// Runs all commands. Each has to succeed with nothing on standard error, and to print what root
/// sees elsewhere.
fn all_commands(context: &mut Context, around: &str) -> Result<()> {
    load_modules()?;
    let (theirs, ours) = (context.netns("theirs")?, context.netns("ours")?);
    for netns in [&theirs, &ours] {
        add_dummy_device(netns)?;
    }
    let public = PublicCopy::new()?;
    for command in COMMANDS {
        let finished = within(&ours, public.path(), around, command)?;
        ensure!(finished.status.success() && finished.stderr.is_empty(), "{finished:?}");
        if command.contains("--json") {
            continue;
        }
        let reference = run(&theirs, c_ipvsadm()?, |program: &mut Command| {
            program.args(command.split_whitespace());
        })?;
        assert_eq!(said(&finished), said(&reference), "{command}");
    }
    Ok(())
}

/// A user with no other privilege, and no way to gain one.
fn cap_net_admin_is_enough(context: &mut Context) -> Result<()> {
    let user = format!("--reuid {NOBODY} --regid {NOBODY} --clear-groups --no-new-privs");
    let capabilities = "--inh-caps=-all,+net_admin --ambient-caps=+net_admin \
                        --bounding-set=-all,+net_admin";
    all_commands(context, &format!("exec setpriv {user} {capabilities} \"$@\""))
}

fn proc_may_be_read_only(context: &mut Context) -> Result<()> {
    let script = "mount -o remount,ro,bind /proc && exec \"$@\"";
    all_commands(context, &format!("exec unshare --mount sh -ec '{script}' sh \"$@\""))
}

fn without_proc_only_connections_are_missing(context: &mut Context) -> Result<()> {
    let script = "umount -l /proc && exec \"$@\"";
    let without = format!("exec unshare --mount sh -ec '{script}' sh \"$@\"");
    all_commands(context, &without)?;
    let netns = context.netns("director")?;
    let public = PublicCopy::new()?;
    for arguments in ["-L -c", "-L -n -c", "-L -c --persistent-conn"] {
        let reference = within(&netns, &c_ipvsadm()?, &without, arguments)?;
        let finished = within(&netns, public.path(), &without, arguments)?;
        let words = "cannot open file /proc/net/ip_vs_conn\n";
        assert_eq!(said(&reference), (Some(1), "", words), "the C program");
        assert_eq!(said(&finished), said(&reference), "{arguments}");
    }
    let finished = within(&netns, public.path(), &without, "-L -c --json")?;
    assert_eq!(said(&finished), (Some(1), "", "cannot open file /proc/net/ip_vs_conn\n"));
    Ok(())
}

/// The kernel's list has at least a title, so another file system has to replace /proc. Our program
/// also opens its network namespace there.
fn an_empty_list_of_connections_is_none(context: &mut Context) -> Result<()> {
    let script = "mount -t tmpfs none /mnt && cd /mnt && mkdir -p net thread-self/net thread-self/ns && \
                  : > net/ip_vs_conn && : > thread-self/net/ip_vs_conn && : > thread-self/ns/net && \
                  mount --bind /proc/$$/ns/net thread-self/ns/net && mount --rbind /mnt /proc && \
                  exec \"$@\"";
    let around = format!("exec unshare --mount sh -ec '{script}' sh \"$@\"");
    let netns = context.netns("director")?;
    let reference = within(&netns, &c_ipvsadm()?, &around, "-L -n -c")?;
    let finished = within(&netns, PublicCopy::new()?.path(), &around, "-L -n -c")?;
    let words = "unexpected input from /proc/net/ip_vs_conn\n";
    assert_eq!(said(&reference), (Some(1), "", words), "the C program");
    assert_eq!(said(&finished), said(&reference));
    Ok(())
}

/// Options whose last word is a number, the smallest and the largest number accepted, and the
/// message for others. The C tool has to agree.
fn values_at_and_past_their_limits(context: &mut Context) -> Result<()> {
    const SERVICE: &str = "-A -t 192.0.2.53:80";
    const SERVER: &str = "-a -t 192.0.2.53:80 -r 192.0.2.102";
    let limits: [(&str, &str, i64, i64); 12] = [
        (SERVICE, "-p", 1, 31 * 24 * 60 * 60),
        (SERVICE, "-s rr -p", 1, 31 * 24 * 60 * 60),
        ("-A", "-f", 1, i64::from(u32::MAX)),
        (SERVER, "-w", 0, i64::from(i32::MAX)),
        (SERVER, "-x", 0, i64::from(i32::MAX)),
        (SERVER, "-y", 0, i64::from(i32::MAX)),
        (SERVER, "-i --tun-type gue --tun-nocsum --tun-port", 1, 65535),
        ("--start-daemon backup", "--syncid", 0, 255),
        ("--start-daemon backup", "--sync-maxlen", 1, 65507),
        ("--start-daemon backup", "--mcast-port", 1, 65535),
        ("--start-daemon backup", "--mcast-ttl", 1, 255),
        ("--set 0 0", "", 0, 31 * 24 * 60 * 60),
    ];
    load_modules()?;
    let (theirs, ours) = (context.netns("theirs")?, context.netns("ours")?);
    for netns in [&theirs, &ours] {
        add_dummy_device(netns)?;
    }
    let public = PublicCopy::new()?;
    let both = |line: &str| -> Result<Finished> {
        let words = |command: &mut Command| {
            command.args(line.split_whitespace());
        };
        let (reference, own) =
            (run(&theirs, c_ipvsadm()?, words)?, run(&ours, public.path(), words)?);
        ensure!(said(&reference) == said(&own), "`{line}`: {reference:?}, ours: {own:?}");
        Ok(own)
    };
    for (command, option, least, most) in limits {
        let texts = [least - 1, least, most, most + 1].map(|number| number.to_string()).into_iter();
        for text in texts.chain(["99999999999999999999", "1x"].map(str::to_owned)) {
            if command.starts_with("--start") {
                both("--stop-daemon backup")?;
            } else {
                both("-C")?;
            }
            if command == SERVER {
                both(SERVICE)?;
            }
            let finished = both(&format!("{command} {option} {text}"))?;
            let taken = text.parse().is_ok_and(|number: i64| (least..=most).contains(&number));
            // The kernel may still refuse what the tool accepts.
            ensure!(
                taken || !finished.status.success(),
                "`{command} {option} {text}` is past a limit: {finished:?}"
            );
            ensure!(finished.status.success() || !finished.stderr.is_empty(), "{finished:?}");
        }
    }
    Ok(())
}
