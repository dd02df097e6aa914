//! What our `ipvsadm` does that the C program doesn't: keeping options that aren't given, saving
//! everything, listing the connections of one service or real server, comments. The C program reads
//! back the results, and refuses each of these options.

use std::net::UdpSocket;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ipvs_testkit::{Context, Finished, Namespace, Suite, eventually};
use ipvs_tests::{
    Reader, add_dummy_device, c_ipvsadm, json, our_ipvsadm, ours, restore, run, said,
};

use crate::test;

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add(test!(the_c_program_refuses_them));
    suite.add(test!(an_edit_keeps_what_is_not_given));
    suite.add(test!(an_edit_that_keeps_wants_what_it_edits));
    suite.add(test!(edits_that_keep_have_their_place_in_a_restore));
    suite.add(test!(everything_is_saved_and_restored));
    suite.add(test!(a_save_of_everything_names_what_no_line_says));
    suite.add(test!(connections_of_one_service_and_one_server));
    suite.add(test!(counters_and_rates_are_in_one_document));
    suite.add(test!(comments_stand_anywhere_in_a_strict_restore));
}

fn theirs(netns: &Namespace, arguments: &str) -> Result<Finished> {
    run(netns, c_ipvsadm()?, |command| {
        command.args(arguments.split_whitespace());
    })
}

/// So no command line that works with the C program has another meaning with ours.
fn the_c_program_refuses_them(context: &mut Context) -> Result<()> {
    let netns = context.netns("director")?;
    for (line, option) in [
        ("-E -f 1 --keep", "--keep"),
        ("-e -f 1 -r 192.0.2.102 --keep", "--keep"),
        ("-S --all", "--all"),
        ("-L -c --only -f 1", "--only"),
        ("-L --json", "--json"),
        ("-R --strict", "--strict"),
    ] {
        let finished = theirs(&netns, line)?;
        let message = format!("{option}: unknown option\n");
        assert_eq!(said(&finished), (Some(255), "", message.as_str()), "{line}");
    }
    Ok(())
}

/// A virtual service and a real server with nothing left to its default.
const FULL: [&str; 2] = [
    "-A -u 192.0.2.53:53 -s sh -p 60 -M 255.255.0.0 --pe sip -o -b sh-port",
    "-a -u 192.0.2.53:53 -r 192.0.2.102:5353 -m -w 7 -x 500 -y 300",
];

fn an_edit_keeps_what_is_not_given(context: &mut Context) -> Result<()> {
    let netns = context.netns("director")?;
    let reader = Reader::new(&netns)?;
    for command in FULL {
        theirs(&netns, command)?.success()?;
    }
    let service = |rest: &str| format!("-A -u 192.0.2.53:53 {rest}");
    for (options, rest) in [
        ("", "-s sh -p 60 -M 255.255.0.0 --pe sip -o -b sh-port"),
        ("-p 90", "-s sh -p 90 -M 255.255.0.0 --pe sip -o -b sh-port"),
        ("-M 255.0.0.0", "-s sh -p 90 -M 255.0.0.0 --pe sip -o -b sh-port"),
        ("-b sh-fallback", "-s sh -p 90 -M 255.0.0.0 --pe sip -o -b sh-fallback"),
        ("-s wrr", "-s wrr -p 90 -M 255.0.0.0 --pe sip -o"),
        ("--pe=", "-s wrr -p 90 -M 255.0.0.0 -o"),
    ] {
        let edit = format!("-E -u 192.0.2.53:53 --keep {options}");
        assert_eq!(said(&ours(&netns, &edit)?), (Some(0), "", ""), "{edit}");
        assert_eq!(reader.saved()?[0], service(rest), "{edit}");
    }
    // Without --keep, everything else is reset, as the C program resets it.
    ours(&netns, "-E -u 192.0.2.53:53 -s wrr")?.success()?;
    assert_eq!(reader.saved()?[0], service("-s wrr"));

    for (options, method, thresholds) in [
        ("", "-m -w 7", "500 300 0 0"),
        ("-w 0", "-m -w 0", "500 300 0 0"),
        ("-x 600", "-m -w 0", "600 300 0 0"),
        ("-y 0", "-m -w 0", "600 0 0 0"),
        ("-w 9 -x 0", "-m -w 9", "0 0 0 0"),
    ] {
        let edit = format!("-e -u 192.0.2.53:53 -r 192.0.2.102:5353 --keep {options}");
        assert_eq!(said(&ours(&netns, &edit)?), (Some(0), "", ""), "{edit}");
        let server = format!("-a -u 192.0.2.53:53 -r 192.0.2.102:5353 {method}");
        assert_eq!(reader.saved()?[1], server, "{edit}");
        let listed = reader.listed("--thresholds")?;
        assert_eq!(listed[1], format!("-> 192.0.2.102:5353 {thresholds}"), "{edit}");
    }

    ours(
        &netns,
        "-a -u 192.0.2.53:53 -r 192.0.2.103 -i --tun-type gue --tun-port 6080 --tun-csum",
    )?
    .success()?;
    for (options, rest) in [
        ("-w 3", "-w 3 --tun-type gue --tun-port 6080 --tun-csum"),
        ("--tun-port 6081", "-w 3 --tun-type gue --tun-port 6081 --tun-csum"),
        ("-i --tun-nocsum", "-w 3 --tun-type gue --tun-port 6081 --tun-nocsum"),
        ("--tun-type gre --tun-csum", "-w 3 --tun-type gre --tun-csum"),
    ] {
        ours(&netns, &format!("-e -u 192.0.2.53:53 -r 192.0.2.103 --keep {options}"))?.success()?;
        let server = format!("-a -u 192.0.2.53:53 -r 192.0.2.103:53 -i {rest}");
        assert_eq!(reader.saved()?[2], server, "{options}");
    }
    Ok(())
}

/// The words and codes are those that the C program has for the same edit.
fn an_edit_that_keeps_wants_what_it_edits(context: &mut Context) -> Result<()> {
    let netns = context.netns("director")?;
    for command in FULL {
        theirs(&netns, command)?.success()?;
    }
    let before = Reader::new(&netns)?.saved()?;
    for edit in [
        "-E -u 192.0.2.53:54 -p 60",
        "-E -f 9",
        "-e -u 192.0.2.53:53 -r 192.0.2.102:5354 -m",
        "-e -u 192.0.2.53:53 -r 192.0.2.109 -w 0",
        "-e -f 9 -r 192.0.2.102 -w 0",
    ] {
        let reference = theirs(&netns, edit)?;
        assert_eq!(reference.status.code(), Some(255), "{edit}");
        let finished = ours(&netns, &format!("{edit} --keep"))?;
        assert_eq!(said(&finished), said(&reference), "{edit}");
    }
    for (edit, words) in [
        ("-E -u 192.0.2.53:53 -b mh-port", "incompatible scheduler flag `mh-port'\n"),
        (
            "-e -u 192.0.2.53:53 -r 192.0.2.102:5353 --tun-csum",
            "Tunnel options conflict with forward method\n",
        ),
    ] {
        let finished = ours(&netns, &format!("{edit} --keep"))?;
        assert_eq!(said(&finished), (Some(255), "", words), "{edit}");
    }
    assert_eq!(Reader::new(&netns)?.saved()?, before);
    Ok(())
}

/// They see the effects of earlier lines, and later lines see theirs.
fn edits_that_keep_have_their_place_in_a_restore(context: &mut Context) -> Result<()> {
    let lines = "-A -t 192.0.2.53:80 -s sh\n\
                 -a -t 192.0.2.53:80 -r 192.0.2.102 -i -w 5\n\
                 -e -t 192.0.2.53:80 -r 192.0.2.102 -x 9 --keep\n\
                 -e -t 192.0.2.53:80 -r 192.0.2.102 -y 4 --keep\n\
                 -E -t 192.0.2.53:80 -b mh-port --keep\n\
                 -E -t 192.0.2.53:80 -p 70 --keep\n\
                 -e -t 192.0.2.53:80 -r 192.0.2.103 -y 4 --keep\n\
                 -A -f 7 -s rr\n";
    let saved = [
        "-A -f 7 -s rr",
        "-A -t 192.0.2.53:80 -s sh -p 70",
        "-a -t 192.0.2.53:80 -r 192.0.2.102:80 -i -w 5 --tun-type ipip",
    ];
    let mut saved = saved.map(str::to_owned).to_vec();
    saved.sort();
    let check = |netns: &Namespace| -> Result<()> {
        let reader = Reader::new(netns)?;
        let mut table = reader.saved()?;
        table.sort();
        assert_eq!(table, saved);
        let thresholds = reader.listed("--thresholds")?;
        ensure!(thresholds.contains(&"-> 192.0.2.102:80 9 4 0 0".to_owned()), "{thresholds:?}");
        Ok(())
    };

    let netns = context.netns("plain")?;
    let finished = restore(&netns, our_ipvsadm()?, &[], lines)?;
    let words = "incompatible scheduler flag `mh-port'\nNo such destination\n";
    // As always, the code is that of the last line.
    assert_eq!(said(&finished), (Some(0), "", words));
    check(&netns)?;

    let netns = context.netns("strict")?;
    let finished = restore(&netns, our_ipvsadm()?, &["--strict"], lines)?;
    assert_eq!((finished.status.code(), finished.stdout.as_str()), (Some(255), ""));
    let words: Vec<_> = finished.stderr.lines().collect();
    assert_eq!(words[0], "ipvsadm: line 5: incompatible scheduler flag `mh-port'");
    ensure!(
        words[1].starts_with("ipvsadm: line 7: cannot set real server 192.0.2.103:80"),
        "{words:?}"
    );
    assert_eq!(words[2..], ["ipvsadm: 6 of 8 lines were executed, 2 were refused"]);
    check(&netns)
}

/// The rules to save: each kind of service and real server, and everything that the C program
/// leaves out.
const EVERYTHING: &str = "\
--set 901 121 301
-A -t 192.0.2.53:80 -s sh -b sh-port,flag-3
-a -t 192.0.2.53:80 -r 192.0.2.102 -g -w 2 -x 500 -y 300
-a -t 192.0.2.53:80 -r 192.0.2.103:8080 -m -w 0 -x 500
-A -u 192.0.2.53:53 -s rr -p 60 -M 255.255.0.0 --pe sip -o
-a -u 192.0.2.53:53 -r 192.0.2.103 -i --tun-type gue --tun-port 6080 --tun-remcsum
-A -t [::10.0.0.2]:80 -s wlc -p 100 -M 64
-a -t [::10.0.0.2]:80 -r [2001:db8::102]:80 -m -y 0
-A --sctp-service 192.0.2.53:2905 -s none
-A -f 4294967295 -s mh -b mh-fallback
-A -f 7 -6 -s wrr
--start-daemon backup --mcast-interface eth0 --syncid 9 --mcast-group ff02::51 --mcast-port 9000
--start-daemon master --mcast-interface eth0 --syncid 7 --mcast-ttl 3 --sync-maxlen 1000
";

/// Everything that the C program shows of a namespace.
fn shown(netns: &Namespace) -> Result<Vec<String>> {
    let reader = Reader::new(netns)?;
    let mut all = Vec::new();
    for arguments in [
        &["-S", "-n"][..],
        &["-L", "-n"],
        &["-L", "-n", "--thresholds"],
        &["-L", "-n", "--tun-info"],
        &["-L", "--timeout"],
        &["-L", "--daemon"],
    ] {
        all.extend(reader.lines(arguments)?);
    }
    Ok(all)
}

fn everything_is_saved_and_restored(context: &mut Context) -> Result<()> {
    let source = context.netns("source")?;
    add_dummy_device(&source)?;
    assert_eq!(said(&restore(&source, c_ipvsadm()?, &[], EVERYTHING)?), (Some(0), "", ""));
    let wanted = shown(&source)?;
    let daemons = wanted.iter().filter(|line| line.contains("sync daemon")).count();
    assert_eq!(daemons, 2, "{wanted:#?}");

    let saved = ours(&source, "-S --all")?.success()?;
    assert_eq!(ours(&source, "-S -n --all")?.success()?, saved, "numbers either way");
    // The C program's own save can't restore these: it writes a negative mark, and -b without its
    // third flag.
    for line in
        ["-A -f 4294967295 -s mh -b mh-fallback", "-A -t 192.0.2.53:80 -s sh -b sh-port,flag-3"]
    {
        ensure!(saved.lines().any(|one| one == line), "{line}: {saved}");
    }

    let mut all = vec![source];
    for name in ["ours", "strict", "theirs"] {
        let netns = context.netns(name)?;
        add_dummy_device(&netns)?;
        let finished = match name {
            "ours" => restore(&netns, our_ipvsadm()?, &[], &saved)?,
            "strict" => restore(&netns, our_ipvsadm()?, &["--strict"], &saved)?,
            _ => restore(&netns, c_ipvsadm()?, &[], &saved)?,
        };
        assert_eq!(said(&finished), (Some(0), "", ""), "{name}");
        assert_eq!(shown(&netns)?, wanted, "{name}");
        assert_eq!(ours(&netns, "-S --all")?.success()?, saved, "{name}");
        all.push(netns);
    }
    for netns in all {
        for role in ["master", "backup"] {
            ours(&netns, &format!("--stop-daemon {role}"))?.success()?;
        }
    }
    Ok(())
}

/// The library can set what no option can: a service for all ports that isn't persistent.
fn a_save_of_everything_names_what_no_line_says(context: &mut Context) -> Result<()> {
    let netns = context.netns("director")?;
    let mut client = ipvs_tests::connect(&netns)?;
    for key in ["tcp/192.0.2.53:0", "tcp/192.0.2.53:80"] {
        client.add_service(&ipvs::Service::new(key.parse()?))?;
    }
    let finished = ours(&netns, "-S --all")?;
    let timeouts = Reader::new(&netns)?.lines(&["-L", "--timeout"])?;
    let seconds = timeouts[0].split_once(": ").context("no numbers")?.1;
    assert_eq!(
        said(&finished),
        (
            Some(1),
            format!("--set {seconds}\n-A -t 192.0.2.53:80 -s wlc\n").as_str(),
            "no command line can express this exactly: virtual service tcp/192.0.2.53:0 (left out)\n"
        )
    );
    Ok(())
}

fn connections_of_one_service_and_one_server(context: &mut Context) -> Result<()> {
    let netns = context.netns("director")?;
    add_dummy_device(&netns)?;
    for command in [
        "-A -u 192.0.2.1:53 -s rr",
        "-a -u 192.0.2.1:53 -r 192.0.2.102",
        "-a -u 192.0.2.1:53 -r 192.0.2.103:5353 -m",
        "-A -u 192.0.2.1:54 -s rr",
        "-a -u 192.0.2.1:54 -r 192.0.2.102",
    ] {
        ours(&netns, command)?.success()?;
    }
    netns.run(|| -> Result<()> {
        for port in 5070..5074 {
            let socket = UdpSocket::bind(("192.0.2.1", port))?;
            for service in [53, 54] {
                socket.send_to(b"x", ("192.0.2.1", service))?;
            }
        }
        Ok(())
    })??;

    // The C program lists all connections; comparing words shows what a filter has to keep.
    let all = theirs(&netns, "-L -n -c")?.success()?;
    let (titles, lines) = all.split_at(all.match_indices('\n').nth(1).context("no titles")?.0 + 1);
    let words = |line: &str| -> Vec<String> {
        // Without the second word: the time to expiry counts down.
        let mut words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
        words.remove(1);
        words
    };
    assert_eq!(lines.lines().count(), 8, "{all}");
    for (options, service, server, count) in [
        ("-u 192.0.2.1:53", "192.0.2.1:53", "", 4),
        ("-u 192.0.2.1:54", "192.0.2.1:54", "", 4),
        ("-u 192.0.2.1", "192.0.2.1:", "", 8),
        ("-t 192.0.2.1:53", "none", "", 0),
        ("-r 192.0.2.102", "", "192.0.2.102:", 6),
        ("-r 192.0.2.103", "", "192.0.2.103:", 2),
        ("-r 192.0.2.103:5353", "", "192.0.2.103:5353", 2),
        ("-r 192.0.2.103:53", "", "none", 0),
        ("-u 192.0.2.1:53 -r 192.0.2.102", "192.0.2.1:53", "192.0.2.102:", 2),
        ("-u 192.0.2.1:53 -r 192.0.2.103", "192.0.2.1:53", "192.0.2.103:", 2),
        ("-r 192.0.2.103 -u 192.0.2.1:54", "192.0.2.1:54", "none", 0),
    ] {
        let expected: Vec<_> = lines
            .lines()
            .map(words)
            .filter(|words| words[3].starts_with(service) && words[4].starts_with(server))
            .collect();
        let listed = ours(&netns, &format!("-L -n -c --only {options}"))?.success()?;
        let listed = listed.strip_prefix(titles).context("other titles")?;
        let listed: Vec<_> = listed.lines().map(words).collect();
        assert_eq!(listed.len(), count, "{options}");
        assert_eq!(listed, expected, "{options}");
        let document = json(&netns, &format!("-L -c --json --only {options}"))?;
        assert_eq!(document["connections"].as_array().map(Vec::len), Some(count), "{options}");
    }
    // Without --only, it is the same conflict as for the C program.
    for arguments in ["-L -c -u 192.0.2.1:53", "-L -c -r 192.0.2.102"] {
        assert_eq!(said(&ours(&netns, arguments)?), said(&theirs(&netns, arguments)?));
    }
    Ok(())
}

/// The C program shows one or the other, whatever its options.
fn counters_and_rates_are_in_one_document(context: &mut Context) -> Result<()> {
    let netns = context.netns("director")?;
    add_dummy_device(&netns)?;
    for command in ["-A -u 192.0.2.1:53 -s rr", "-a -u 192.0.2.1:53 -r 192.0.2.102"] {
        ours(&netns, command)?.success()?;
    }
    netns.run(|| -> Result<()> {
        let socket = UdpSocket::bind("192.0.2.1:5070")?;
        for _ in 0..3 {
            socket.send_to(b"1234", "192.0.2.1:53")?;
        }
        Ok(())
    })??;
    // The kernel adds counters up when it estimates rates, every two seconds.
    eventually(Duration::from_secs(20), || {
        let listed = Reader::new(&netns)?.lines(&["-L", "-n", "--stats", "--rate", "-X"])?;
        let document = json(&netns, "-L --json --stats --rate")?;
        let service = &document["services"][0];
        for (stats, line) in
            [(&service["stats"], &listed[3]), (&service["destinations"][0]["stats"], &listed[4])]
        {
            let counters = [
                "connections",
                "incoming_packets",
                "outgoing_packets",
                "incoming_bytes",
                "outgoing_bytes",
            ];
            let text = counters.map(|name| stats[name].to_string());
            ensure!(text == ["1", "3", "0", "96", "0"], "{stats}");
            ensure!(line.ends_with(&text.join(" ")), "{line}: {stats}");
            for name in counters {
                ensure!(stats["rates"][name].is_u64(), "{name}: {stats}");
            }
        }
        Ok(())
    })
}

fn comments_stand_anywhere_in_a_strict_restore(context: &mut Context) -> Result<()> {
    let netns = context.netns("director")?;
    let lines = "# The shop\n\
                 -A -t 192.0.2.53:80 -s rr # over both\n\
                 \t# -A -t 192.0.2.53:81\n\
                 -a -t 192.0.2.53:80 -r 192.0.2.102 -w 2 #-m\n\
                 ipvsadm # nothing\n\
                 #\n\
                 -A -f 7 -s wrr # the end";
    assert_eq!(said(&restore(&netns, our_ipvsadm()?, &["--strict"], lines)?), (Some(0), "", ""));
    let mut saved = Reader::new(&netns)?.saved()?;
    saved.sort();
    assert_eq!(
        saved,
        [
            "-A -f 7 -s wrr",
            "-A -t 192.0.2.53:80 -s rr",
            "-a -t 192.0.2.53:80 -r 192.0.2.102:80 -g -w 2"
        ]
    );
    let wrong = "-C # all of it\n-A -t 192.0.2.54:80 -w # 1\n";
    let finished = restore(&netns, our_ipvsadm()?, &["--strict"], wrong)?;
    let words = "ipvsadm: line 2: -w: missing argument\n\
                 ipvsadm: 1 of 2 lines is wrong; nothing was changed\n";
    assert_eq!(said(&finished), (Some(2), "", words));
    Ok(())
}
