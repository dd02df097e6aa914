//! The checks that directives ask for, and those that are refused.

mod machine;

use ipvs::PersistenceMask;
use ldirectord::{parse, pools};
use machine::Machine;
use probe::{Check, Dns, External, Http, Pattern, SimpleTcp, Turn, Verdict};

/// The check of the only real server, or the place and the message of the refusal.
fn check(file: &str) -> Result<Check, (String, String)> {
    let (config, diagnostics) = parse(file, &Machine);
    let config = config.unwrap_or_else(|| panic!("{file}: {diagnostics:?}"));
    match pools(&config) {
        Ok(pools) => {
            let probes = pools.iter().flat_map(|it| it.members.values()).map(|it| &it.probe);
            let [probe] = Vec::from_iter(probes)[..] else { panic!("one check: {file}") };
            Ok((*probe.check).clone())
        }
        Err(refused) => {
            let place = &file[refused[0].span.clone()];
            Err((place.to_owned(), refused[0].message.clone()))
        }
    }
}

fn pattern(text: &str) -> Pattern {
    Pattern::perl(text).expect("a pattern")
}

/// ldirectord(8): `request` is the name that is looked up, `receive` matches the address; TCP is used
/// with `protocol=tcp`.
#[test]
fn dns_looks_up_what_is_requested_over_the_protocol_of_the_service() {
    let file = |key: &str, more: &str| {
        check(&format!("virtual={key}\n\treal=10.0.0.2:53 gate\n\tservice=dns\n\t{more}\n"))
    };
    let asked = "request=\"www.example\"\n\treceive=\"^192\"";
    let dns = || Dns::new("www.example").expect("a name").receive(pattern("^192"));
    assert_eq!(file("10.0.0.1:53", asked), Ok(Check::Dns(dns())));
    assert_eq!(file("10.0.0.1:5353", asked), Ok(Check::Dns(dns().over_tcp())));
    let tcp = format!("{asked}\n\tprotocol=tcp");
    assert_eq!(file("10.0.0.1:53", &tcp), Ok(Check::Dns(dns().over_tcp())));
    assert_eq!(file("7", asked), Ok(Check::Dns(dns())));
    let address = Dns::new("192.0.2.7").expect("an address");
    assert_eq!(file("10.0.0.1:53", "request=\"/192.0.2.7\""), Ok(Check::Dns(address)));

    let own = "virtual=10.0.0.1:53\n\treal=10.0.0.2:53 gate \"www.example\", \"^192\"\n";
    assert_eq!(check(own), Ok(Check::Dns(dns())));

    let (place, message) = file("10.0.0.1:53", "request=\"not a name\"").expect_err("a blank");
    assert_eq!(place, "not a name");
    assert!(message.contains("isn't the name of a host"), "{message}");
    let (place, message) = file("10.0.0.1:53", "receive=\"^192\"").expect_err("no name");
    assert_eq!((&*place, &*message), ("dns", "service=dns needs a name or an address to look up"));
}

/// ldirectord(8): for simpletcp, `request` is the text to send.
#[test]
fn simpletcp_sends_the_request_and_looks_for_a_line() {
    let file = |more: &str| {
        let head = "virtual=10.0.0.1:11211\n\treal=10.0.0.2:11211 gate\n\tservice=simpletcp\n";
        check(&format!("{head}\t{more}\n"))
    };
    let simple = |text: &str| SimpleTcp::new(text);
    let expected = simple("version\nquit\n").receive(pattern("^VERSION"));
    let asked = "request=\"version\\nquit\\n\"\n\treceive=\"^VERSION\"";
    assert_eq!(file(asked), Ok(Check::SimpleTcp(expected)));
    assert_eq!(file("request=\"/x\""), Ok(Check::SimpleTcp(simple("x"))));
    assert_eq!(file("persistent=9"), Ok(Check::SimpleTcp(simple(""))));
}

/// ldirectord(8): for `http_proxy`, `request` is the URI that is requested through the real server.
#[test]
fn http_proxy_requests_a_whole_address() {
    let file = |more: &str| {
        check(&format!("virtual=10.0.0.1:3128\n\treal=10.0.0.2:3128 gate\n\t{more}\n"))
    };
    let page = Http::proxied("http://www.example/x").expect("an address");
    assert_eq!(file("request=\"http://www.example/x\""), Ok(Check::Http(page.clone())));
    let asked = "request=\"http://www.example/x\"\n\treceive=\"^ok\"";
    assert_eq!(file(asked), Ok(Check::Http(page.receive(pattern("^ok")))));
    let (place, _) = file("request=\"/x\"").expect_err("a path alone");
    assert_eq!(place, "/x");
    let (place, message) = file("httpmethod=HEAD").expect_err("nothing to request");
    let expected = "service=http_proxy needs an address to request";
    assert_eq!((&*place, &*message), ("10.0.0.1:3128", expected));
}

#[test]
fn what_cannot_be_checked_yet_is_named() {
    for service in ["ftp", "imap", "ldap", "mysql", "nntp", "pop", "radius", "sip", "smtp"] {
        let file = format!("virtual=10.0.0.1:80\n\treal=10.0.0.2 gate\n\tservice={service}\n");
        let (place, message) = check(&file).expect_err(service);
        assert_eq!(place, service);
        assert_eq!(message, format!("service={service} can't be checked yet"));
    }
    // By its port, it's the virtual service that is pointed at.
    let (place, message) = check("virtual=10.0.0.1:25\n\treal=10.0.0.2 gate\n").expect_err("smtp");
    assert_eq!((&*place, &*message), ("10.0.0.1:25", "service=smtp can't be checked yet"));
}

/// Nobody should wait in vain for a mail.
#[test]
fn mails_have_no_effect_yet_and_one_warning_says_so() {
    let file = "virtual=10.0.0.1:80\n\treal=10.0.0.2 gate\n\temailalert=\"web\"\n\tsmtp=mx\n\
                emailalert=\"root\"\nemailalertfrom=me\nemailalertfreq=9\nemailalertstatus=all\n";
    let (config, diagnostics) = parse(file, &Machine);
    assert!(config.is_some(), "{diagnostics:?}");
    let places: Vec<&str> = diagnostics.iter().map(|it| &file[it.span.clone()]).collect();
    assert_eq!(places, ["web"]);
    assert!(diagnostics[0].message.starts_with("no mails are sent yet"), "{diagnostics:?}");
}

/// ldirectord(8), "real": "If the request string starts with http://... the IP-address and port of the
/// real server is overridden". The original resolves such a name for each check.
#[test]
fn a_real_servers_own_request_may_name_another_host() {
    let probe = |real: &str, more: &str| {
        let file = format!("virtual=10.0.0.1:80\n\treal=10.0.0.2:80 gate {real}\n{more}");
        let (config, diagnostics) = parse(&file, &Machine);
        let config = config.ok_or_else(|| diagnostics[0].message.clone())?;
        let pools = pools(&config).expect("it can be checked");
        Ok::<_, String>(pools[0].members.values().next().expect("one").probe.clone())
    };
    let page =
        |path: &str, host: &str| Http::new(path).receive(pattern("ok")).host(host).expect("a host");
    for (request, target, path, host) in [
        ("http://10.0.0.9:8080/x", "10.0.0.9:8080", "/x", "10.0.0.9:8080"),
        ("http://localhost/a?b", "127.0.0.1:80", "/a?b", "localhost"),
        ("/http://localhost", "127.0.0.1:80", "/", "localhost"),
        ("http://localhost:http", "127.0.0.1:80", "/", "localhost:http"),
        ("http://[fd00::9]:81/", "[fd00::9]:81", "/", "[fd00::9]:81"),
    ] {
        let probe = probe(&format!("\"{request}\", \"ok\""), "").expect(request);
        assert_eq!(probe.target, target.parse().expect("an address"), "{request}");
        assert_eq!(*probe.check, Check::Http(page(path, host)), "{request}");
    }
    // A virtual host is asked for all the same, and another check is one of the real server.
    let named = probe("\"http://10.0.0.9/x\", \"ok\"", "\tvirtualhost=www\n").expect("usable");
    assert_eq!(*named.check, Check::Http(page("/x", "www")));
    // In the original, `check_http` asks the host of the address, and `check_connect` connects to the
    // real server and `ld_checkport`.
    for (more, port) in [("", 80), ("\tcheckport=8080\n", 8080)] {
        let more = format!("\tchecktype=2\n{more}");
        let combined = probe("\"http://10.0.0.9:81/x\", \"ok\"", &more).expect("usable");
        let mut turn = Turn::of(&combined);
        let mut made = Vec::new();
        for _ in 0..4 {
            let part = combined.at(&turn);
            made.push((part.target, (*part.check).clone()));
            turn.observe(&Verdict::Up);
        }
        let full = (([10, 0, 0, 9], 81).into(), Check::Http(page("/x", "10.0.0.9:81")));
        let quick = (([10, 0, 0, 2], port).into(), Check::Connect);
        assert_eq!(made, [full.clone(), quick.clone(), quick, full]);
    }
    let connect = probe("\"http://10.0.0.9/x\", \"ok\"", "\tchecktype=connect\n").expect("usable");
    assert_eq!((connect.target, &*connect.check), (([10, 0, 0, 2], 80).into(), &Check::Connect));
    let proxy = probe("\"http://nobody.invalid/x\", \"ok\"", "\tservice=http_proxy\n");
    assert_eq!(proxy.expect("the proxy looks it up").target, ([10, 0, 0, 2], 80).into());
    for (request, service) in [
        ("http://nobody.invalid/x", "http"),
        ("http://10.0.0.9:/x", "http"),
        ("http://a@b/x", "http"),
        ("https://10.0.0.9/x", "http"),
        ("http://10.0.0.9/x", "https"),
    ] {
        let found = probe(&format!("\"{request}\", \"ok\""), &format!("\tservice={service}\n"));
        assert!(found.is_err(), "{request}");
    }
    let (place, message) =
        check("virtual=10.0.0.1:80\n\treal=10.0.0.2:80 gate\n\trequest=\"http://10.0.0.9/x\"\n")
            .expect_err("the same page for all");
    assert_eq!(place, "http://10.0.0.9/x");
    assert!(message.contains("own request"), "{message}");
}

/// ldirectord(8), "checkcount": "The number of times a check will be attempted before it is considered to
/// have failed. Only works with ping checks." Each has `checktimeout` (`check_ping`).
#[test]
fn checkcount_pings_again_and_each_ping_has_its_time() {
    let probe = |head: &str, more: &str| {
        let file =
            format!("checktimeout=3\n{head}virtual=10.0.0.1:80\n\treal=10.0.0.2:80 gate\n{more}");
        let (config, diagnostics) = parse(&file, &Machine);
        let config = config.unwrap_or_else(|| panic!("{file}: {diagnostics:?}"));
        let pools = pools(&config).expect("it can be checked");
        let probe = &pools[0].members.values().next().expect("one").probe;
        ((*probe.check).clone(), probe.timeout.as_secs())
    };
    let times = |count: u16| Check::Pings(count.try_into().expect("not 0"));
    let ping = "\tchecktype=ping\n";
    assert_eq!(probe("", ping), (Check::Ping, 3));
    assert_eq!(probe("checkcount=4\n", ping), (times(4), 12));
    assert_eq!(probe("checkcount=4\n", &format!("{ping}\tcheckcount=2\n")), (times(2), 6));
    assert_eq!(probe("checkcount=4\n", &format!("{ping}\tcheckcount=1\n")), (Check::Ping, 3));
    assert_eq!(probe("checkcount=4\n", "\tchecktype=connect\n"), (Check::Connect, 3));
    let udp = "\tchecktype=connect\n\tprotocol=udp\n";
    assert_eq!(probe("checkcount=4\n", udp), (times(4), 12));
    let (combined, _) = probe("checkcount=4\n", "\tchecktype=2\n\tprotocol=udp\n");
    let Check::Combined(combined) = combined else { panic!("{combined:?}") };
    assert_eq!((&*combined.quick, combined.quick_timeout.as_secs()), (&times(4), 12));
    let many = probe("checktimeout=4294967295\ncheckcount=4294967295\n", ping);
    assert_eq!(many, (times(u16::MAX), u64::from(u32::MAX)));
}

/// ldirectord(8), "external-perl": "The script should be a Perl script", with the arguments of an external
/// check.
#[test]
fn perl_runs_the_script_of_an_external_perl_check() {
    let file = |more: &str| {
        check(&format!("virtual=10.0.0.1:80\n\treal=10.0.0.2:81 masq\n\tchecktype={more}\n"))
    };
    let run = |program: &str, words: &[&str]| {
        Ok(Check::External(External {
            program: program.into(),
            arguments: words.iter().map(Into::into).collect(),
        }))
    };
    let command = "\n\tcheckcommand=/opt/check";
    let words = ["10.0.0.1", "80", "10.0.0.2", "81"];
    assert_eq!(file(&format!("external{command}")), run("/opt/check", &words));
    let words = ["/opt/check", "10.0.0.1", "80", "10.0.0.2", "81"];
    assert_eq!(file(&format!("external-perl{command}")), run("/usr/bin/perl", &words));
}

/// ldirectord(8), "virtual6": a mark for IPv6 has real servers and the fallback of IPv6; one for IPv4 has
/// those of IPv4.
#[test]
fn a_mark_is_one_service_for_each_family() {
    let file = "fallback=127.0.0.1:80\nfallback6=[::1]:80\n\
                virtual=7\n\treal=10.0.0.2:80 gate\n\tservice=http\n\
                virtual6=7\n\treal6=[fd00::2]:80 gate\n\tservice=http\n\tpersistent=9\n\tnetmask=64\n";
    let (config, diagnostics) = parse(file, &Machine);
    let pools = pools(&config.unwrap_or_else(|| panic!("{diagnostics:?}"))).expect("usable");
    let found: Vec<_> = pools
        .iter()
        .map(|pool| {
            let reals: Vec<String> = pool.members.keys().map(ToString::to_string).collect();
            let fallback = pool.fallback.map(|it| it.key().addr.to_string());
            (pool.service.key.to_string(), reals.join(" "), fallback.unwrap_or_default())
        })
        .collect();
    let row = |key: &str, real: &str, fallback: &str| (key.into(), real.into(), fallback.into());
    assert_eq!(
        found,
        [row("fwmark/7", "10.0.0.2:80", "127.0.0.1"), row("fwmark6/7", "[fd00::2]:80", "::1"),]
    );
    let mask = pools[1].service.persistence.as_ref().map(|it| it.mask);
    assert_eq!(mask, PersistenceMask::v6(64).ok());
}

/// The original loses a threshold if `u:` comes first. It passes on a lower one that is above the
/// upper, which the kernel refuses.
#[test]
fn thresholds_come_in_any_order_and_the_lower_one_is_not_above_the_upper() {
    let read = |thresholds: &str| {
        parse(&format!("virtual=10.0.0.1:80\n\treal=10.0.0.2:80 gate {thresholds}\n"), &Machine)
    };
    for both in ["l:5 u:10", "u:10 l:5"] {
        let (config, diagnostics) = read(both);
        let config = config.unwrap_or_else(|| panic!("{both}: {diagnostics:?}"));
        let real = &config.services[0].reals[0];
        let [lower, upper] = [&real.lower, &real.upper].map(|it| it.as_ref().map(|it| it.value));
        assert_eq!((lower, upper), (Some(5), Some(10)), "{both}");
    }
    let (config, diagnostics) = read("l:10 u:5");
    assert_eq!(config, None);
    assert_eq!(diagnostics[0].message, "this is above the upper threshold");
}

#[test]
fn a_receive_that_is_no_regular_expression_is_refused_at_its_place() {
    let file = "virtual=10.0.0.1:80\n\treal=10.0.0.2:80 gate\n\treceive=\"a(b\"\n";
    let (config, diagnostics) = parse(file, &Machine);
    assert_eq!(config, None);
    assert_eq!(file[..diagnostics[0].span.start].lines().count(), 3);
}
