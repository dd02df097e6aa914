//! The command line tool in everyday surroundings: closed pipes, full disks, unprivileged users;
//! and what it does that the C tool doesn't.
//!
//! Where the C tool does the same, it runs next to ours and provides the expectation.

use std::ffi::OsStr;
use std::fs::File;
use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use ipvs_testkit::{Context, Finished, Namespace, Suite};
use ipvs_tests::{
    PublicCopy, Reader, ReplacedModprobe, add_dummy_device, c_ipvsadm, json, load_modules,
    our_ipvsadm, ours, restore, run, said, unload_modules,
};
use serde_json::Value;

use crate::test;

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add(test!(no_argument_lists_the_table));
    suite.add(test!(a_reader_that_goes_ends_it_silently));
    suite.add(test!(a_full_disk_is_an_error));
    suite.add(test!(words_need_not_be_text));
    suite.add(test!(the_locale_changes_nothing));
    suite.add(test!(standard_input_may_be_closed));
    suite.add(test!(long_connections_are_shown_whole));
    suite.add(test!(no_scheduler_flags_are_none));
    suite.add(test!(help_and_version_are_for_everybody));
    suite.add(test!(a_missing_permission_is_reported).kernel_wide());
    suite.add(test!(a_strict_restore_is_whole_or_not_begun));
    suite.add(test!(a_strict_restore_counts_what_is_refused));
    suite.add(test!(the_table_as_json));
    suite.add(test!(settings_as_json));
}

/// Runs the C tool and ours; all their output has to be equal.
fn same(netns: &Namespace, prepare: impl Fn(&mut Command) + Send + Sync) -> Result<Finished> {
    let reference = run(netns, c_ipvsadm()?, &prepare)?;
    let ours = run(netns, our_ipvsadm()?, &prepare)?;
    ensure!(
        said(&reference) == said(&ours),
        "`{}`: {:?} expected: {:?}",
        ours.command,
        said(&reference),
        said(&ours)
    );
    Ok(ours)
}

/// A namespace with a service and two real servers.
fn director(context: &mut Context) -> Result<Namespace> {
    let netns = context.netns("director")?;
    for arguments in [
        "-A -t 192.0.2.53:80 -s rr",
        "-a -t 192.0.2.53:80 -r 192.0.2.102",
        "-a -t 192.0.2.53:80 -r 192.0.2.103:8080 -m -w 7",
    ] {
        ours(&netns, arguments)?.success()?;
    }
    Ok(netns)
}

fn no_argument_lists_the_table(context: &mut Context) -> Result<()> {
    let netns = director(context)?;
    let listed = same(&netns, |_| ())?.success()?;
    assert_eq!(listed.lines().count(), 6, "{listed}");
    Ok(())
}

fn a_reader_that_goes_ends_it_silently(context: &mut Context) -> Result<()> {
    let netns = director(context)?;
    for arguments in [&["-L", "-n"][..], &["-S", "-n"], &["-L", "--json"]] {
        let (reader, writer) = UnixStream::pair()?;
        drop(reader);
        let mut command = Command::new(our_ipvsadm()?);
        command.args(arguments).stdin(Stdio::null()).stderr(Stdio::piped());
        command.stdout(OwnedFd::from(writer));
        let output = netns.run(|| command.output())??;
        // SIGPIPE, signal 13 of signal(7).
        assert_eq!(output.status.signal(), Some(13), "{arguments:?}");
        assert_eq!(output.stderr, b"");
    }
    Ok(())
}

/// The C tool exits with 0 here, which is what `ipvsadm -S > rules` must not do.
fn a_full_disk_is_an_error(context: &mut Context) -> Result<()> {
    let netns = director(context)?;
    for arguments in [&["-L", "-n"][..], &["-S", "-n"], &["-L", "--json"], &["-L", "--timeout"]] {
        let mut command = Command::new(our_ipvsadm()?);
        command.args(arguments).stdin(Stdio::null()).stderr(Stdio::piped());
        command.stdout(File::options().write(true).open("/dev/full")?);
        let output = netns.run(|| command.output())??;
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(stderr.contains("No space left on device"), "{stderr}");
    }
    Ok(())
}

fn words_need_not_be_text(context: &mut Context) -> Result<()> {
    let netns = director(context)?;
    for words in [
        &[&b"-L"[..], b"\xff"][..],
        &[b"-\xff"],
        &[b"-L", b"--\xff"],
        &[b"-A", b"-t", b"\xff:80"],
        &[b"-A", b"-t", b"192.0.2.54:80", b"-s", b"\xff"],
        &[b"-A", b"-f", b"\xff"],
    ] {
        let finished = same(&netns, |command| {
            command.args(words.iter().map(|word| OsStr::from_bytes(word)));
        })?;
        ensure!(!finished.status.success(), "{words:?} is no command");
    }
    Ok(())
}

fn the_locale_changes_nothing(context: &mut Context) -> Result<()> {
    let netns = director(context)?;
    for arguments in ["-L -n", "-L -n --stats", "-D -t 192.0.2.54:80", "-L --bogus", "-A -f 0"] {
        let speak = |locale: Option<&OsStr>| {
            run(&netns, our_ipvsadm()?, |command| {
                command.args(arguments.split(' ')).env_remove("LC_ALL").env_remove("LANGUAGE");
                if let Some(locale) = locale {
                    command.env("LC_ALL", locale).env("LANGUAGE", "de:tr:ja");
                }
            })
        };
        let expected = speak(None)?;
        for locale in ["", "C", "de_DE.UTF-8", "tr_TR.UTF-8", "ja_JP.eucJP", "no such/locale"] {
            let finished = speak(Some(OsStr::new(locale)))?;
            assert_eq!(said(&finished), said(&expected), "{arguments} in {locale:?}");
        }
        let finished = speak(Some(OsStr::from_bytes(b"\xff\xfe")))?;
        assert_eq!(said(&finished), said(&expected), "{arguments}");
    }
    Ok(())
}

fn standard_input_may_be_closed(context: &mut Context) -> Result<()> {
    let netns = director(context)?;
    for arguments in ["-L -n", "-R", "-S -n"] {
        let closed = |program: PathBuf| {
            run(&netns, "sh", |command| {
                command.args(["-c", "exec \"$@\" <&-", "sh"]).arg(program);
                command.args(arguments.split(' '));
            })
        };
        let (reference, ours) = (closed(c_ipvsadm()?)?, closed(our_ipvsadm()?)?);
        assert_eq!(said(&ours), said(&reference), "{arguments}");
    }
    Ok(())
}

/// A SIP dialogue's Call-ID may be so long that the kernel's line exceeds the 255 characters that
/// the C tool reads at once.
fn long_connections_are_shown_whole(context: &mut Context) -> Result<()> {
    let netns = context.netns("director")?;
    add_dummy_device(&netns)?;
    let call_id = format!("{}@host.example", "c".repeat(230));
    for arguments in [
        "-A -u 192.0.2.1:5060 -s rr -p 3600 --pe sip",
        "-a -u 192.0.2.1:5060 -r 192.0.2.102",
        "-A -u 192.0.2.1:5061 -s rr -p 3600 --pe sip",
        "-a -u 192.0.2.1:5061 -r 192.0.2.102",
    ] {
        ours(&netns, arguments)?.success()?;
    }
    netns.run(|| -> Result<()> {
        let socket = UdpSocket::bind("192.0.2.1:5070")?;
        for port in [5060, 5061] {
            let invitation = format!(
                "INVITE sip:a@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP x:5070\r\n\
                 Call-ID: {call_id}\r\nContent-Length: 0\r\n\r\n"
            );
            socket.send_to(invitation.as_bytes(), ("192.0.2.1", port))?;
        }
        Ok(())
    })??;

    let text = ours(&netns, "-L -n -c --persistent-conn")?.success()?;
    let whole = text.lines().filter(|line| line.ends_with(&format!(" {call_id}"))).count();
    assert_eq!(whole, 2, "the templates of both services: {text}");

    let document = json(&netns, "-L -c --json")?;
    let connections = document["connections"].as_array().context("connections")?;
    // Two title lines, and one line per connection.
    assert_eq!(connections.len() + 2, text.lines().count());
    let templates: Vec<_> = connections
        .iter()
        .filter(|connection| connection["persistence_data"] == call_id.as_str())
        .collect();
    assert_eq!(templates.len(), 2, "{document}");
    for template in templates {
        assert_eq!(template["persistence_engine"], "sip");
        assert_eq!(template["protocol"], "udp");
        assert_eq!(template["destination"]["address"], "192.0.2.102");
        assert_eq!(template["client"]["port"], 0, "of a template");
    }
    Ok(())
}

/// The C tool crashes.
fn no_scheduler_flags_are_none(context: &mut Context) -> Result<()> {
    let netns = context.netns("director")?;
    ours(&netns, "-A -t 192.0.2.53:80 -s sh -b ,")?.success()?;
    assert_eq!(Reader::new(&netns)?.saved()?, ["-A -t 192.0.2.53:80 -s sh"]);
    Ok(())
}

fn help_and_version_are_for_everybody(context: &mut Context) -> Result<()> {
    let netns = context.netns("director")?;
    let public = PublicCopy::new()?;
    for argument in ["-h", "--help", "-v", "--version"] {
        let finished = public.run_as_nobody(&netns, argument)?;
        assert_eq!((finished.status.code(), finished.stderr.as_str()), (Some(0), ""));
        ensure!(finished.stdout.starts_with("ipvsadm v"), "{}", finished.stdout);
    }
    Ok(())
}

/// Both texts are those of the C tool, in these three situations on Linux 6.1: it tries a raw
/// socket, which unprivileged users may not open, before it finds that there is no IPVS. Anything
/// before them comes from modprobe.
fn a_missing_permission_is_reported(context: &mut Context) -> Result<()> {
    const QUESTION: &str =
        "Are you sure that IP Virtual Server is built in the kernel or as module?\n";
    let denied = format!("Can't initialize ipvs: Permission denied (you must be root)\n{QUESTION}");
    let missing = format!("Can't initialize ipvs: Protocol not available\n{QUESTION}");
    let netns = context.netns("director")?;
    let public = PublicCopy::new()?;
    for arguments in ["-L -n", "-C", "-L --json", "--bogus"] {
        let finished = public.run_as_nobody(&netns, arguments)?;
        assert_eq!(said(&finished), (Some(2), "", denied.as_str()), "{arguments}");
    }

    unload_modules()?;
    let modprobe = ReplacedModprobe::by("/bin/false")?;
    let nobody = public.run_as_nobody(&netns, "-L -n");
    let root = run(&netns, "unshare", |command| {
        let script = "mount -t tmpfs none /lib/modules && exec \"$0\" -L -n";
        command.args(["--mount", "sh", "-c", script]).arg(public.path());
    });
    drop(modprobe);
    load_modules()?;
    for (finished, text) in [(nobody?, denied), (root?, missing)] {
        assert_eq!(finished.status.code(), Some(2), "{finished:?}");
        ensure!(finished.stderr.ends_with(&text), "{finished:?}");
    }
    Ok(())
}

fn a_strict_restore_is_whole_or_not_begun(context: &mut Context) -> Result<()> {
    let netns = director(context)?;
    let reader = Reader::new(&netns)?;
    let before = reader.saved()?;
    let wrong = "# rules\n-C\n\n-A -t 192.0.2.60:80 -w 1\nrubbish\n-A -t 192.0.2.61:80\n\
                 -A -f 1 --bogus\n-L\n-6  ";
    let finished = restore(&netns, our_ipvsadm()?, &["--strict"], wrong)?;
    assert_eq!(
        said(&finished),
        (
            Some(2),
            "",
            "ipvsadm: line 4: Illegal 'weight' option with the 'add-service' command\n\
             ipvsadm: line 5: the line doesn't begin with a command\n\
             ipvsadm: line 7: --bogus: unknown option\n\
             ipvsadm: line 8: only commands that change something can be restored strictly\n\
             ipvsadm: line 9: the line doesn't begin with a command\n\
             ipvsadm: 5 of 7 lines are wrong; nothing was changed\n"
        )
    );
    assert_eq!(reader.saved()?, before);

    let right = "# rules\nipvsadm -C\n\n  # more\n-A -t 192.0.2.60:80 -s wrr\r\n\
                 -a -t 192.0.2.60:80 -r 192.0.2.104 -w 3  ";
    assert_eq!(said(&restore(&netns, our_ipvsadm()?, &["--strict"], right)?), (Some(0), "", ""));
    let after = ["-A -t 192.0.2.60:80 -s wrr", "-a -t 192.0.2.60:80 -r 192.0.2.104:80 -g -w 3"];
    assert_eq!(reader.saved()?, after);
    Ok(())
}

fn a_strict_restore_counts_what_is_refused(context: &mut Context) -> Result<()> {
    let netns = director(context)?;
    let refused = "-A -t 192.0.2.53:80\n-D -f 9\n-A -f 9 -s lbrc\n-A -f 9\n";
    let finished = restore(&netns, our_ipvsadm()?, &["--strict"], refused)?;
    assert_eq!((finished.status.code(), finished.stdout.as_str()), (Some(255), ""));
    let lines: Vec<_> = finished.stderr.lines().collect();
    let beginnings = [
        "ipvsadm: line 1: cannot add virtual service tcp/192.0.2.53:80: ",
        "ipvsadm: line 2: cannot delete virtual service fwmark/9: ",
        "ipvsadm: line 3: cannot add virtual service fwmark/9: ",
        "ipvsadm: 1 of 4 lines were executed, 3 were refused",
    ];
    assert_eq!(lines.len(), beginnings.len(), "{lines:#?}");
    for (line, beginning) in lines.iter().zip(beginnings) {
        ensure!(line.starts_with(beginning), "{line:?}, expected {beginning:?}");
    }
    ensure!(lines[2].contains("check the spelling"), "the library's hint: {}", lines[2]);
    // The lines after it were still executed.
    ensure!(Reader::new(&netns)?.saved()?.contains(&"-A -f 9 -s wlc".to_owned()));
    Ok(())
}

fn the_table_as_json(context: &mut Context) -> Result<()> {
    let netns = director(context)?;
    ours(&netns, "-A -f 4294967295 -6 -s none")?.success()?;
    let document = json(&netns, "-L --json")?;
    for other in [
        "-Ln --json --stats",
        "-L --json -X --rate",
        "-L --json --stats --rate",
        "--list --json --tun-info",
    ] {
        assert_eq!(json(&netns, other)?, document, "{other}");
    }
    assert_eq!(document["schema_version"], 1);
    assert_eq!(document["ipvs_version"], "1.2.1");
    let services = document["services"].as_array().context("services")?;
    assert_eq!(services.len(), 2);
    // In the order of `-L`: it compares marks as signed numbers, so this one is -1.
    let (marked, http) = (&services[0], &services[1]);
    assert_eq!((&http["fwmark"], &http["port"]), (&Value::Null, &Value::from(80)));
    assert_eq!(marked["fwmark"], 4_294_967_295_u32);
    assert_eq!((&marked["family"], &marked["scheduler"]), (&"ipv6".into(), &Value::Null));
    let servers = http["destinations"].as_array().context("destinations")?;
    let found: Vec<_> = servers
        .iter()
        .map(|server| [&server["address"], &server["port"], &server["forward"], &server["weight"]])
        .map(|fields| fields.map(Value::to_string).join(" "))
        .collect();
    assert_eq!(
        found,
        ["\"192.0.2.102\" 80 \"direct-route\" 1", "\"192.0.2.103\" 8080 \"masquerade\" 7"]
    );

    let one = json(&netns, "-L -t 192.0.2.53:80 --json")?;
    assert_eq!(one["services"], Value::from(vec![http.clone()]));
    let missing = ours(&netns, "-L -t 192.0.2.54:80 --json")?;
    assert_eq!(said(&missing), (Some(1), "", "No such service\n"));
    for (arguments, command) in
        [("-S --json", "save"), ("-C --json", "flush"), ("-R --json", "restore")]
    {
        let message = format!("Illegal 'json' option with the '{command}' command\n");
        assert_eq!(said(&ours(&netns, arguments)?), (Some(2), "", message.as_str()));
    }
    Ok(())
}

fn settings_as_json(context: &mut Context) -> Result<()> {
    let netns = context.netns("director")?;
    add_dummy_device(&netns)?;
    ours(&netns, "--set 901 121 301")?.success()?;
    assert_eq!(
        json(&netns, "-L --timeout --json")?.to_string(),
        r#"{"schema_version":1,"timeouts":{"tcp":901,"tcp_fin":121,"udp":301}}"#
    );
    assert_eq!(json(&netns, "-L --daemon --json")?["daemons"], Value::from(Vec::<Value>::new()));
    assert_eq!(json(&netns, "-Lc --json")?["connections"], Value::from(Vec::<Value>::new()));
    ours(&netns, "--start-daemon master --mcast-interface eth0 --syncid 7")?.success()?;
    let daemons = &json(&netns, "-L --daemon --json")?["daemons"];
    // The defaults of the kernel's ip_vs_sync.c.
    for (member, value) in [
        ("role", Value::from("master")),
        ("interface", "eth0".into()),
        ("sync_id", 7.into()),
        ("group", "224.0.0.81".into()),
        ("port", 8848.into()),
        ("ttl", 1.into()),
    ] {
        assert_eq!(daemons[0][member], value, "{member}");
    }
    ours(&netns, "--stop-daemon master")?.success()?;
    Ok(())
}
