//! The expectations are written by hand, from ldirectord(8): which value counts, and what holds without
//! any.

use super::explain;
use crate::config::parse;
use crate::machine::Nameless;

fn explained(file: &str) -> String {
    let (config, diagnostics) = parse(file, &Nameless::default());
    explain(&config.unwrap_or_else(|| panic!("{diagnostics:?}")), file)
}

/// What is said about the only virtual service.
fn service(file: &str) -> String {
    let text = explained(file);
    text.split_once("\n\n").map_or(String::new(), |it| it.1.to_owned())
}

#[test]
fn each_value_has_the_line_that_it_comes_from() {
    let file = "\
checktimeout=3
checkinterval=2
autoreload=yes
fallback=127.0.0.1:80
fork=yes

virtual=10.10.10.53:80
\treal=10.10.10.102:80 gate
\treal=10.10.10.103->10.10.10.109:80 gate 5
\tservice=http
\trequest=\"check.txt\"
\treceive=\"works\"
\tscheduler=lblc
\tpersistent=100
\tchecktype=negotiate
\tvirtualhost=www.example
\tquiescent=yes
";
    let expected = "\
The daemon
  log           the file /var/log/ldirectord.log (default)
  changed file  is read again by itself (line 3)
  no effect     fork (line 5)

TCP 10.10.10.53:80 (line 7)
  scheduler     lblc (line 13)
  persistence   a client stays on one real server for 100 s (line 14)
  check         GET /check.txt of the host www.example; expects a status 200 to 299 and a body that matches \"works\" (lines 10, 11, 12, 15, 16)
                every 2 s (line 2), 3 s at most (line 1)
                down after 1 failure (default), up after 1 success (default)
  real server   10.10.10.102, port 80, direct routing, weight 1 (line 8)
  real server   10.10.10.103 to 10.10.10.109, port 80, direct routing, weight 5 (line 9)
  when down     it stays in the table with weight 0 (line 17)
  all down      127.0.0.1, port 80, direct routing, unchecked (line 4)
  on stop       the virtual service is deleted (default)
";
    assert_eq!(explained(file), expected);
}

#[test]
fn a_command_is_shown_with_its_arguments_and_what_is_in_vain_is_named() {
    let file = "virtual=7\n\treal=10.0.0.2 masq\n\tchecktype=external\n\tcheckcommand=/opt/check\n\
                \tfailurecount=3\n\tlogin=\"me\"\n\tcleanstop=no\n\tnetmask=255.255.255.0\n";
    let expected = "\
IPv4 packets with the mark 7 (line 1)
  scheduler     wrr (default)
  check         runs /opt/check 7 0 ADDRESS PORT, which has to exit with 0 (lines 3, 4)
                every 10 s (default), 5 s at most (default)
                down after 3 failures in a row (line 5), up after 1 success (default)
  real server   10.0.0.2, masquerading, weight 1 (line 2)
  when down     it is deleted from the table (default)
  all down      no real server: the kernel refuses connections (default)
  on stop       the virtual service stays in the table (line 7)
  no effect     netmask (line 8), login (line 6)
";
    assert_eq!(service(file), expected);
}

#[test]
fn pings_have_their_count_and_a_port_that_nothing_changes_is_named() {
    let file = "virtual=10.0.0.1:53\n\treal=10.0.0.2:5353 gate\n\tchecktype=ping\n\tcheckcount=3\n\
                \tops=yes\n\tcheckinterval=4\n";
    let expected = "\
UDP 10.0.0.1:53 (line 1)
  scheduler     wrr (default), each packet by itself (line 5)
  check         a ping, 3 times until there is a reply (lines 3, 4)
                every 10 s (default), 5 s for each (default)
                down after 1 failure (default), up after 1 success (default)
  real server   10.0.0.2, port 5353, direct routing, weight 1; gets packets for port 53, only masq changes that (line 2)
  when down     it is deleted from the table (default)
  all down      no real server: the kernel refuses connections (default)
  on stop       the virtual service is deleted (default)
  no effect     checkinterval (line 6)
";
    assert_eq!(service(file), expected);
}

#[test]
fn a_request_of_its_own_stands_at_its_real_server() {
    let file = "negotiatetimeout=9\nvirtual=10.0.0.1:80\n\
                \treal=10.0.0.2:80 gate \"http://10.0.0.9:81/x\", \"ok\" l:5 u:10\n\
                \treal=10.0.0.3:80 gate \"y\", \"fine\"\n\tchecktype=2\n\tfallbackcommand=/bin/page\n";
    let expected = "\
TCP 10.0.0.1:80 (line 2)
  scheduler     wrr (default)
  check         GET /; expects a status 200 to 299; then 2 times a TCP connection, and again (line 5)
                every 10 s (default), 9 s at most (line 1)
                down after 1 failure (default), up after 1 success (default)
  real server   10.0.0.2, port 80, direct routing, weight 1, no more than 10 connections and new ones below 5 (line 3)
                its own check: GET /x from 10.0.0.9:81 instead; expects a status 200 to 299 and a body that matches \"ok\"; then 2 times a TCP connection to the real server itself, and again
  real server   10.0.0.3, port 80, direct routing, weight 1 (line 4)
                its own check: GET /y; expects a status 200 to 299 and a body that matches \"fine\"; then 2 times a TCP connection, and again
  when down     it is deleted from the table (default)
  all down      no real server: the kernel refuses connections (default)
                runs /bin/page start, and stop when one is back (line 6)
  on stop       the virtual service is deleted (default)
";
    assert_eq!(service(file), expected);
}

/// What is asked of services that have no path.
#[test]
fn texts_names_and_proxies_are_asked_for_what_stands_there() {
    let check = |key: &str, more: &str| {
        let text = service(&format!("{key}\n\treal=10.0.0.2 gate\n\t{more}\n"));
        let line = text.lines().find_map(|line| line.strip_prefix("  check         "));
        line.unwrap_or_default().to_owned()
    };
    for (key, more, expected) in [
        (
            "virtual=10.0.0.1:53",
            "request=\"www.example\"\n\treceive=\"^192\"",
            "looks up www.example over UDP; expects an answer that matches \"^192\" (lines 3, 4)",
        ),
        (
            "virtual=10.0.0.1:11211",
            "service=simpletcp\n\trequest=\"version\\n\"\n\treceive=\"^VERSION\"",
            "sends \"version\\n\"; expects a line that matches \"^VERSION\" (lines 3, 4, 5)",
        ),
        (
            "virtual=10.0.0.1:3128",
            "request=\"http://www.example/\"",
            "GET http://www.example/ through it; expects a status 200 to 299 (line 3)",
        ),
        (
            "virtual=10.0.0.1:443",
            "httpmethod=HEAD",
            "HEAD / over TLS, any certificate; expects a status 200 to 299 (line 3)",
        ),
        ("virtual=10.0.0.1:9999", "load=\"x\"", "a TCP connection (default)"),
        ("virtual=7", "load=\"x\"", "none: they are up (default)"),
        ("virtual=10.0.0.1:80", "checktype=off", "none: they are down (line 3)"),
        (
            "virtual=10.0.0.1:80",
            "checktype=connect\n\tcheckport=81",
            "a TCP connection, on port 81 (lines 3, 4)",
        ),
    ] {
        assert_eq!(check(key, more), expected, "{key} {more}");
    }
}
