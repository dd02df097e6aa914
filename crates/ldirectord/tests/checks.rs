//! The checks that directives ask for, and those that are refused.

mod machine;

use ldirectord::{parse, pools};
use machine::Machine;
use probe::{Check, Dns, Http, Pattern, SimpleTcp};

/// The check of the only real server, or the place and the message of the refusal.
fn check(file: &str) -> Result<Check, (String, String)> {
    let (config, diagnostics) = parse(file, &Machine);
    let config = config.unwrap_or_else(|| panic!("{file}: {diagnostics:?}"));
    match pools(&config) {
        Ok(pools) => {
            let probes = pools.iter().flat_map(|it| it.members.values()).map(|it| &it.probe);
            let [probe] = Vec::from_iter(probes)[..] else { panic!("one check: {file}") };
            Ok(probe.check.clone())
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

/// Nobody should wait in vain for a mail, or for a line in a file.
#[test]
fn what_has_no_effect_yet_is_a_warning() {
    let file = "emailalert=\"root\"\nvirtual=10.0.0.1:80\n\
                \treal=10.0.0.2 gate\n\tmonitorfile=/var/log/monitor\n\temailalert=\"root\"\n";
    let (config, diagnostics) = parse(file, &Machine);
    assert!(config.is_some(), "{diagnostics:?}");
    let places: Vec<&str> = diagnostics.iter().map(|it| &file[it.span.clone()]).collect();
    assert_eq!(places, ["emailalert", "monitorfile", "emailalert"]);
    assert!(diagnostics.iter().all(|it| it.message.ends_with("yet")), "{diagnostics:?}");
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
