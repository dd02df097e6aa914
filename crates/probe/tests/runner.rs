//! Runs the runner against misbehaving servers.

mod support;

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use probe::{
    Check, Combined, External, Http, Limits, Outcome, Pattern, PrepareError, Probe, ReasonKind,
    Runner, Stage, Tls, Turn, Verdict,
};
use support::{LONG, block_on, read_request, server};

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Long enough for a busy machine to get as far as waiting.
const SHORT: Duration = Duration::from_millis(1500);

fn run(probe: &Probe) -> Outcome {
    block_on(async { Runner::new(Limits::default()).run(probe).await })
}

/// A server that sends `reply` to each request, and closes.
fn answering(reply: &'static [u8]) -> SocketAddr {
    server(move |mut stream| {
        read_request(&mut stream);
        let _ = stream.write_all(reply);
    })
}

fn page() -> Check {
    let text = Pattern::perl("webserverisworking").expect("a pattern");
    Check::Http(Http::new("/check.txt").receive(text))
}

fn kind(verdict: &Verdict) -> ReasonKind {
    verdict.reason().unwrap_or_else(|| panic!("it's up")).kind()
}

fn stage(verdict: &Verdict) -> Stage {
    verdict.reason().unwrap_or_else(|| panic!("it's up")).stage()
}

#[test]
fn a_page_with_its_text_is_up() {
    let good = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\nwebserverisworking\n");
    let outcome = run(&Probe::new(good, page(), LONG));
    assert_eq!(outcome.verdict, Verdict::Up);
    assert!(outcome.connected.unwrap() <= outcome.took);

    let bad = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nno!\n");
    assert_eq!(kind(&run(&Probe::new(bad, page(), LONG)).verdict), ReasonKind::Mismatch);
    let broken = answering(b"HTTP/1.1 500 Oops\r\n\r\n");
    assert_eq!(kind(&run(&Probe::new(broken, page(), LONG)).verdict), ReasonKind::Status(500));
}

#[test]
fn a_reply_counts_though_the_server_closes_with_a_request_unread() {
    // It doesn't read, so it ends with a reset.
    let rude = server(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 503 Busy\r\n\r\n");
        thread::sleep(Duration::from_millis(100));
    });
    assert_eq!(kind(&run(&Probe::new(rude, page(), LONG)).verdict), ReasonKind::Status(503));
}

#[test]
fn nobody_there_is_refused() {
    let gone = TcpListener::bind((LOCALHOST, 0)).unwrap().local_addr().unwrap();
    for check in [Check::Connect, page()] {
        let outcome = run(&Probe::new(gone, check, LONG));
        assert_eq!((kind(&outcome.verdict), outcome.connected), (ReasonKind::Refused, None));
        assert_eq!(stage(&outcome.verdict), Stage::Connect);
    }
}

#[test]
fn each_way_to_say_nothing_ends_at_the_deadline() {
    let silent = server(|stream| {
        thread::sleep(LONG);
        drop(stream);
    });
    let dripping = server(|mut stream| {
        while stream.write_all(b"H").is_ok() {
            thread::sleep(Duration::from_millis(400));
            if stream.write_all(b"TTP/1.1 200 OK\r\nA: b\r\n").is_err() {
                break;
            }
            while stream.write_all(b"A").is_ok() {
                thread::sleep(Duration::from_millis(100));
            }
        }
    });
    let never_ending = server(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\nwebserver");
        thread::sleep(LONG);
    });
    let probes: Vec<Probe> =
        [silent, dripping, never_ending].map(|addr| Probe::new(addr, page(), SHORT)).into();
    let outcomes = block_on(async {
        let runner = Runner::new(Limits::default());
        let mut outcomes = Vec::new();
        for probe in &probes {
            outcomes.push(runner.run(probe).await);
        }
        outcomes
    });
    for outcome in outcomes {
        // On a machine so busy that this process didn't run, the server must not be blamed.
        let kind = kind(&outcome.verdict);
        assert!(matches!(kind, ReasonKind::Timeout | ReasonKind::Stalled), "{}", outcome.verdict);
        assert_eq!(stage(&outcome.verdict), Stage::Reply);
        assert!(outcome.took >= SHORT, "{outcome:?}");
    }
}

#[test]
fn what_never_ends_is_cut_off() {
    let headers = server(|mut stream| {
        read_request(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
        while stream.write_all(b"Header: value\r\n").is_ok() {}
    });
    assert_eq!(kind(&run(&Probe::new(headers, page(), LONG)).verdict), ReasonKind::Protocol);

    let (sender, receiver) = mpsc::channel();
    let body = server(move |mut stream| {
        read_request(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        let mut sent = 0_u64;
        while sent < 1 << 30 && stream.write_all(&[b'x'; 65_536]).is_ok() {
            sent += 65_536;
        }
        let _ = sender.send(sent);
    });
    let outcome = run(&Probe::new(body, page(), LONG));
    assert_eq!(kind(&outcome.verdict), ReasonKind::Mismatch);
    assert!(outcome.verdict.to_string().contains("first 262144 bytes"), "{}", outcome.verdict);
    let sent = receiver.recv_timeout(LONG).unwrap();
    assert!(sent < 1 << 26, "of 1 GiB, {sent} bytes were taken");
}

#[test]
fn a_connection_that_ends_at_any_point_is_down_in_time() {
    const REPLY: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 18\r\n\r\nwebserverisworking";
    block_on(async {
        let runner = Runner::new(Limits::default());
        for length in 0..=REPLY.len() {
            let addr = answering(&REPLY[..length]);
            let verdict = runner.run(&Probe::new(addr, page(), LONG)).await.verdict;
            if length == REPLY.len() {
                assert_eq!(verdict, Verdict::Up);
            } else {
                assert_eq!(kind(&verdict), ReasonKind::Closed, "after {length} bytes");
            }
        }
    });
}

#[test]
fn a_redirect_is_followed_on_the_same_server() {
    let (sender, receiver) = mpsc::channel();
    let moved = server(move |mut stream| {
        let request = read_request(&mut stream);
        let reply: &[u8] = if request.starts_with("GET /check.txt ") {
            b"HTTP/1.1 302 Found\r\nLocation: http://www.example/new\r\n\r\n"
        } else {
            b"HTTP/1.1 200 OK\r\n\r\nwebserverisworking"
        };
        // Before the reply, so that the two requests can't overtake each other.
        let _ = sender.send(request);
        let _ = stream.write_all(reply);
    });
    let http = Http::new("/check.txt").receive(Pattern::perl("webserverisworking").unwrap());
    let check = Check::Http(http.redirects(1));
    assert_eq!(run(&Probe::new(moved, check, LONG)).verdict, Verdict::Up);
    receiver.recv_timeout(LONG).unwrap();
    let second = receiver.recv_timeout(LONG).unwrap();
    assert!(second.starts_with("GET /new HTTP/1.1\r\nHost: www.example\r\n"), "{second}");
}

#[test]
fn one_that_hangs_delays_nobody() {
    let silent = server(|stream| {
        thread::sleep(LONG);
        drop(stream);
    });
    let good = answering(b"HTTP/1.1 200 OK\r\n\r\nwebserverisworking");
    let took = block_on(async {
        let runner = std::rc::Rc::new(Runner::new(Limits::default()));
        let hanging = std::rc::Rc::clone(&runner);
        let task = tokio::task::spawn_local(async move {
            hanging.run(&Probe::new(silent, page(), LONG)).await
        });
        let started = Instant::now();
        for _ in 0..20 {
            assert_eq!(runner.run(&Probe::new(good, page(), LONG)).await.verdict, Verdict::Up);
        }
        task.abort();
        started.elapsed()
    });
    assert!(took < LONG, "{took:?}");
}

#[test]
fn what_does_not_speak_tls_is_said_to() {
    let https = || Check::Https(Http::new("/"), Tls::default());
    let plain = answering(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    // A client hello has no empty line, so the server has to reply at once.
    let at_once = server(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        thread::sleep(Duration::from_millis(100));
    });
    let verdict = run(&Probe::new(at_once, https(), LONG)).verdict;
    assert_eq!((kind(&verdict), stage(&verdict)), (ReasonKind::Tls, Stage::Tls), "{verdict}");
    let verdict = run(&Probe::new(plain, https(), SHORT)).verdict;
    assert!(matches!(kind(&verdict), ReasonKind::Timeout | ReasonKind::Stalled), "{verdict}");
    assert_eq!(stage(&verdict), Stage::Tls);
    let closing = server(drop);
    let verdict = run(&Probe::new(closing, https(), LONG)).verdict;
    assert_eq!(stage(&verdict), Stage::Tls, "{verdict}");
}

#[test]
fn a_combined_check_alone_is_its_full_part() {
    let broken = answering(b"HTTP/1.1 500 Oops\r\n\r\n");
    let combined = Combined::connects(3, LONG, page());
    let combined = Probe::new(broken, Check::Combined(Box::new(combined)), LONG);
    assert_eq!(kind(&run(&combined).verdict), ReasonKind::Status(500));

    let mut turn = Turn::of(&combined);
    turn.observe(&Verdict::Up);
    assert_eq!(run(&combined.at(&turn)).verdict, Verdict::Up);
}

fn shell(script: &str, timeout: Duration) -> Probe {
    let external =
        External { program: "/bin/sh".into(), arguments: vec!["-c".into(), script.into()] };
    Probe::new((LOCALHOST, 0).into(), Check::External(external), timeout)
}

#[test]
fn a_command_is_judged_by_its_status() {
    assert_eq!(run(&shell("exit 0", LONG)).verdict, Verdict::Up);
    assert_eq!(kind(&run(&shell("exit 3", LONG)).verdict), ReasonKind::Command(Some(3)));
    let killed = run(&shell("kill -9 $$", LONG)).verdict;
    assert_eq!(kind(&killed), ReasonKind::Command(None));
    assert_eq!(killed.to_string(), "down: the command was ended by signal: 9 (SIGKILL)");
}

#[test]
fn a_command_that_is_late_goes_with_its_children() {
    // Both ignore TERM; their argument is used to find them.
    let mark = format!("86{}", std::process::id());
    let probe = shell(&format!("trap '' TERM; sleep {mark} & sleep {mark}; wait"), SHORT);
    let outcome = run(&probe);
    assert_eq!(kind(&outcome.verdict), ReasonKind::Timeout, "{}", outcome.verdict);
    no_sleep_is_left(&mark);
}

/// Waits until no `sleep` with this argument runs: a killed process needs a moment to end.
fn no_sleep_is_left(mark: &str) {
    let left = || -> Vec<String> {
        let processes = std::fs::read_dir("/proc").expect("there is a /proc").flatten();
        let command_lines = processes.map(|it| std::fs::read_to_string(it.path().join("cmdline")));
        command_lines.flatten().filter(|it| it.contains(&format!("sleep\0{mark}"))).collect()
    };
    let end = Instant::now() + LONG;
    while !left().is_empty() && Instant::now() < end {
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(left(), [""; 0]);
}

/// The command stops this process, and goes on only after its own deadline. So that no other test
/// is stopped too, the check is made in a process of its own: this test, started again.
#[test]
fn a_command_does_not_pay_for_this_process_being_stopped() {
    const NAME: &str = "a_command_does_not_pay_for_this_process_being_stopped";
    const MARK: &str = "HEALTH_PROBE_TEST_MARK";
    if let Ok(mark) = std::env::var(MARK) {
        let script = format!("kill -STOP $PPID; sleep 3; kill -CONT $PPID; sleep {mark}");
        let verdict = run(&shell(&script, Duration::from_secs(1))).verdict;
        assert!(matches!(verdict, Verdict::Inconclusive(_)), "{verdict}");
        assert_eq!(kind(&verdict), ReasonKind::Stalled, "{verdict}");
        // The command is killed nevertheless.
        no_sleep_is_left(&mark);
        return;
    }
    let mark = format!("87{}", std::process::id());
    let mut test = std::process::Command::new(std::env::current_exe().unwrap());
    let output = test.args(["--exact", NAME, "--nocapture"]).env(MARK, &mark).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
fn only_so_many_commands_run_at_once() {
    let folder = tempfile::tempdir().unwrap();
    // Each reports how many are running while it runs.
    let script = format!(
        "cd {}; touch $$; ls | grep -vc most >> most; sleep 0.05; rm $$",
        folder.path().display()
    );
    let verdicts = block_on(async {
        let mut limits = Limits::default();
        limits.commands = 3;
        let runner = std::rc::Rc::new(Runner::new(limits));
        let tasks: Vec<_> = (0..12)
            .map(|_| {
                let (runner, probe) = (std::rc::Rc::clone(&runner), shell(&script, LONG));
                tokio::task::spawn_local(async move { runner.run(&probe).await.verdict })
            })
            .collect();
        let mut verdicts = Vec::new();
        for task in tasks {
            verdicts.push(task.await.unwrap());
        }
        verdicts
    });
    assert!(verdicts.iter().all(Verdict::is_up), "{verdicts:?}");
    let most = std::fs::read_to_string(folder.path().join("most")).unwrap();
    let counts: Vec<u32> = most.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(counts.len(), 12);
    assert!(counts.iter().all(|count| *count <= 3), "{counts:?}");
}

#[test]
fn what_this_machine_lacks_is_said_before_a_server_suffers() {
    let runner = Runner::new(Limits::default());
    let command = |program: &str| {
        let external = External { program: program.into(), arguments: Vec::new() };
        Probe::new((LOCALHOST, 0).into(), Check::External(external), LONG)
    };
    runner.prepare(&command("/bin/sh")).unwrap();
    runner.prepare(&command("sh")).unwrap();
    for program in ["/no/such/program", "no-such-program", "/etc/passwd", "/"] {
        let error = runner.prepare(&command(program)).unwrap_err();
        assert!(matches!(error, PrepareError::Program { .. }), "{error}");
        assert!(error.to_string().contains(program), "{error}");
    }
    // Both parts of a combined check are looked at.
    let missing = || command("/no/such/program").check;
    let mut quick = Combined::connects(1, LONG, Check::Connect);
    quick.quick = missing();
    for combined in [Combined::connects(1, LONG, missing()), quick] {
        let check = Check::Combined(Box::new(combined));
        let error = runner.prepare(&Probe::new((LOCALHOST, 80).into(), check, LONG)).unwrap_err();
        assert!(matches!(error, PrepareError::Program { .. }), "{error}");
    }
    let verdict = run(&command("/no/such/program")).verdict;
    assert!(matches!(verdict, Verdict::Inconclusive(_)), "{verdict}");

    let mut tls = Tls::default();
    tls.name = Some("not a name".into());
    let https =
        |tls: Tls| Probe::new((LOCALHOST, 443).into(), Check::Https(Http::new("/"), tls), LONG);
    let error = runner.prepare(&https(tls)).unwrap_err();
    assert!(matches!(error, PrepareError::ServerName { .. }), "{error}");
    let mut tls = Tls::default();
    tls.verify = probe::Verify::Chain;
    tls.roots = probe::Roots::File(Path::new("/no/such/file.pem").into());
    let error = runner.prepare(&https(tls)).unwrap_err();
    assert!(matches!(error, PrepareError::Roots { .. }), "{error}");
}

/// It needs `CAP_NET_RAW`; without it, the test looks at the error message.
#[test]
fn this_machine_answers_pings() {
    let runner = Runner::new(Limits::default());
    for address in ["127.0.0.1", "::1"] {
        let probe = Probe::new((address.parse::<IpAddr>().unwrap(), 0).into(), Check::Ping, LONG);
        match runner.prepare(&probe) {
            Ok(()) => {
                // Several at once must be told apart.
                let verdicts = block_on(async {
                    let runner = std::rc::Rc::new(Runner::new(Limits::default()));
                    let tasks: Vec<_> = (0..50)
                        .map(|_| {
                            let (runner, probe) = (std::rc::Rc::clone(&runner), probe.clone());
                            tokio::task::spawn_local(
                                async move { runner.run(&probe).await.verdict },
                            )
                        })
                        .collect();
                    let mut verdicts = Vec::new();
                    for task in tasks {
                        verdicts.push(task.await.unwrap());
                    }
                    verdicts
                });
                assert!(verdicts.iter().all(Verdict::is_up), "{address}: {verdicts:?}");
            }
            Err(error) => {
                assert!(error.to_string().contains("CAP_NET_RAW"), "{error}");
                let verdict = run(&probe).verdict;
                assert!(matches!(verdict, Verdict::Inconclusive(_)), "{verdict}");
            }
        }
    }
}
