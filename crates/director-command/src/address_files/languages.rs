//! The addresses in the files of each program but systemd-networkd.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::ini::{Entry, entries};
use super::{Claim, TextFile, address};

/// Those of a connection of `NetworkManager` (nm-settings-keyfile(5)).
pub(crate) fn of_keyfile(file: &TextFile) -> Vec<Claim> {
    let entries = entries(&file.text);
    if is_generated(&entries) {
        return Vec::new();
    }
    let by_itself = !entries.iter().any(|it| {
        it.section == "connection"
            && it.key == "autoconnect"
            && matches!(&*it.value, "false" | "0" | "no")
    });
    let mut claims = Vec::new();
    for entry in entries.iter().filter(|it| matches!(it.section, "ipv4" | "ipv6")) {
        let is_address = entry.key == "addresses"
            || entry
                .key
                .strip_prefix("address")
                .is_some_and(|it| !it.is_empty() && it.bytes().all(|byte| byte.is_ascii_digit()));
        // A list ends its parts with semicolons; a gateway follows its address after a comma.
        let parts = entry.value.split(';').filter(|_| is_address);
        let claim = |ip| Claim { by_itself, ..Claim::new(ip, file, entry.line) };
        claims.extend(parts.filter_map(address).map(claim));
    }
    claims
}

/// Whether `NetworkManager` has made the connection up, for addresses that something else has given to the
/// interface: it does so for `lo`, below /run.
pub(crate) fn is_generated(entries: &[Entry<'_>]) -> bool {
    entries
        .iter()
        .any(|it| it.section == ".nmmeta" && it.key == "nm-generated" && it.value == "true")
}

/// Those of the files of ifupdown (interfaces(5)), which name in each other what comes up by itself.
pub(crate) fn of_interfaces(files: &[TextFile]) -> Vec<Claim> {
    let mut automatic: BTreeSet<&str> = BTreeSet::new();
    for line in files.iter().flat_map(|file| file.text.lines()) {
        let mut words = line.split_whitespace();
        if words.next().is_some_and(|it| it == "auto" || it.starts_with("allow-")) {
            automatic.extend(words);
        }
    }
    let mut claims = Vec::new();
    for file in files {
        let mut by_itself = false;
        for (number, line) in joined(&file.text) {
            let line: Vec<&str> = line.split_whitespace().collect();
            let found = match &line[..] {
                ["iface", name, ..] => {
                    by_itself = automatic.contains(*name);
                    None
                }
                ["auto" | "mapping" | "source" | "source-directory" | "no-auto-down", ..] => {
                    by_itself = false;
                    None
                }
                ["address", ip, ..] => address(ip),
                ["up" | "post-up" | "pre-up", command @ ..] => added(command),
                _ => None,
            };
            claims.extend(found.map(|ip| Claim { by_itself, ..Claim::new(ip, file, number) }));
        }
    }
    claims
}

/// Lines, each with its number. One that ends with a backslash goes on in the next one.
fn joined(text: &str) -> Vec<(usize, String)> {
    let mut joined: Vec<(usize, String)> = Vec::new();
    let mut goes_on = false;
    for (number, line) in text.lines().enumerate() {
        let (part, has_more) = match line.strip_suffix('\\') {
            Some(part) => (part, true),
            None => (line, false),
        };
        match joined.last_mut().filter(|_| goes_on) {
            Some((_, before)) => before.extend([" ", part]),
            None => joined.push((number + 1, part.to_owned())),
        }
        goes_on = has_more;
    }
    joined
}

/// The address that a command adds.
fn added(command: &[&str]) -> Option<IpAddr> {
    if let [program, _interface, arguments @ ..] = command {
        if program.rsplit('/').next() == Some("ifconfig") {
            // `eth0:0 10.9.0.100 netmask 255.255.255.0`, `eth0 inet6 add fd09::100/64`
            let is_word = |it: &&&str| matches!(**it, "add" | "inet" | "inet6");
            return address(arguments.iter().find(|it| !is_word(it))?);
        }
    }
    // `ip addr add 10.9.0.100/24 dev eth0`, `ip -6 a add dev eth0 fd09::100/64`
    let at = command.iter().position(|it| matches!(*it, "add" | "replace"))?;
    let object = command.get(at.checked_sub(1)?)?;
    let arguments = command.iter().skip(at + 1);
    "address".starts_with(object).then(|| arguments.filter_map(|it| address(it)).next())?
}

/// Those of an `ifcfg-*` file (Red Hat's sysconfig.txt, SUSE's ifcfg(5)).
pub(crate) fn of_ifcfg(file: &TextFile) -> Vec<Claim> {
    let lines = file.text.lines().enumerate().filter_map(|(number, line)| {
        let (key, value) = line.trim().split_once('=')?;
        Some((number + 1, key, value.trim_matches(['"', '\''])))
    });
    let lines: Vec<(usize, &str, &str)> = lines.collect();
    let by_itself = !lines.iter().any(|(_, key, value)| match *key {
        // A file of an alias such as ifcfg-eth0:0 has ONPARENT.
        "ONBOOT" | "ONPARENT" => value.eq_ignore_ascii_case("no"),
        "STARTMODE" => matches!(*value, "manual" | "off"),
        _ => false,
    });
    let is_address = |key: &str| {
        let number = key.strip_prefix("IPADDR").map(|it| it.strip_prefix('_').unwrap_or(it));
        number.is_some_and(|it| it.bytes().all(|it| it.is_ascii_digit()))
            || matches!(key, "IPV6ADDR" | "IPV6ADDR_SECONDARIES")
    };
    let addresses = lines.iter().filter(|(_, key, _)| is_address(key));
    let claims = addresses.flat_map(|(number, _, value)| {
        let ips = value.split_whitespace().filter_map(address);
        ips.map(|ip| Claim { by_itself, ..Claim::new(ip, file, *number) })
    });
    claims.collect()
}

/// Those that heartbeat moves: `IPaddr::10.9.0.100/24/eth0`, or the address alone.
pub(crate) fn of_haresources(file: &TextFile) -> Vec<Claim> {
    let mut claims = Vec::new();
    for (number, line) in file.text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default();
        for word in line.split_whitespace() {
            let scripts = ["IPaddr::", "IPaddr2::", "IPv6addr::"];
            let rest = scripts.iter().find_map(|it| word.strip_prefix(it)).unwrap_or(word);
            claims.extend(address(rest).map(|ip| Claim::new(ip, file, number + 1)));
        }
    }
    claims
}

/// Those that keepalived moves, in blocks `virtual_ipaddress` and `virtual_ipaddress_excluded`.
pub(crate) fn of_keepalived(file: &TextFile) -> Vec<Claim> {
    let mut claims = Vec::new();
    let mut blocks: Vec<String> = Vec::new();
    let mut first: Option<String> = None;
    for (number, line) in file.text.lines().enumerate() {
        let line = line.split(['#', '!']).next().unwrap_or_default();
        let spaced = line.replace('{', " { ").replace('}', " } ");
        let mut is_start = true;
        for word in spaced.split_whitespace() {
            match word {
                "{" => blocks.push(first.take().unwrap_or_default()),
                "}" => {
                    blocks.pop();
                }
                _ => {
                    let block = blocks.last().map_or("", String::as_str);
                    let is_list =
                        matches!(block, "virtual_ipaddress" | "virtual_ipaddress_excluded");
                    let ip = address(word).filter(|_| is_list && is_start);
                    claims.extend(ip.map(|ip| Claim::new(ip, file, number + 1)));
                    if is_start {
                        first = Some(word.to_owned());
                    }
                    is_start = false;
                    continue;
                }
            }
            is_start = true;
        }
    }
    claims
}

/// Those that `vipd` moves; if its file has mistakes, any that it names.
pub(crate) fn of_vip_toml(file: &TextFile) -> Vec<Claim> {
    let own: Option<Vec<IpAddr>> = vip::config::parse(&file.text).ok().map(|config| {
        config.vips.iter().flat_map(|vip| &vip.addresses).map(|address| address.ip).collect()
    });
    let mut claims = Vec::new();
    for (number, line) in file.text.lines().enumerate() {
        if line.trim_start().starts_with('#') {
            continue;
        }
        let named = line.split(['"', '\'']).filter_map(address);
        let named = named.filter(|ip| own.as_ref().is_none_or(|own| own.contains(ip)));
        claims.extend(named.map(|ip| Claim::new(ip, file, number + 1)));
    }
    claims
}

#[cfg(test)]
mod tests {
    use super::super::{file, places};
    use super::*;

    fn claims(read: fn(&TextFile) -> Vec<Claim>, text: &str) -> Vec<String> {
        places(&read(&file("f", text)))
    }

    fn interfaces(texts: &[&str]) -> Vec<String> {
        let files: Vec<TextFile> = texts.iter().map(|text| file("f", text)).collect();
        places(&of_interfaces(&files))
    }

    #[test]
    fn keyfiles() {
        let text = "[connection]\nid=lan\n[ipv4]\naddress1=10.9.0.1/24,10.9.0.254\naddress2=10.9.0.100/32\ndns=10.9.0.9;\n\
                    addresses=10.9.0.2/24;10.9.0.3/24,10.9.0.254;\nmethod=manual\naddress-data=10.9.0.4\n#address3=10.9.0.5\n\
                    [ipv6]\naddress12=fd09::100/64\n";
        let expected =
            ["f:4 10.9.0.1", "f:5 10.9.0.100", "f:7 10.9.0.2", "f:7 10.9.0.3", "f:12 fd09::100"];
        assert_eq!(claims(of_keyfile, text), expected);
        let manual = text.replace("id=lan", "autoconnect=false");
        assert_eq!(claims(of_keyfile, &manual), expected.map(|it| format!("{it} by hand")));
        let generated =
            format!("{text}[.nmmeta]\nnm-generated=true\nvolatile=true\nexternal=true\n");
        assert_eq!(claims(of_keyfile, &generated), [""; 0]);
    }

    #[test]
    fn stanzas_of_interfaces() {
        let text = "auto lo eth0\niface lo inet loopback\niface eth0 inet static\n\taddress 10.9.0.1/24\n\tgateway 10.9.0.254\n\
                    \t# address 10.9.0.8\n\tdns-nameservers 10.9.0.9\n\
                    iface eth0:0 inet static\n\taddress 10.9.0.101\n\nallow-hotplug eth1\niface eth1 inet static\n  address 10.9.0.102\n";
        let expected = ["f:4 10.9.0.1", "f:9 10.9.0.101 by hand", "f:13 10.9.0.102"];
        assert_eq!(interfaces(&[text]), expected);
        let also = interfaces(&[text, "auto eth0:0\n"]);
        assert_eq!(also[1], "f:9 10.9.0.101");
    }

    #[test]
    fn commands_of_interfaces() {
        for (command, expected) in [
            ("ip addr add 10.9.0.100/32 dev eth0", Some("10.9.0.100")),
            ("/sbin/ip -6 a add dev lo fd09::100/64", Some("fd09::100")),
            ("ip address replace 10.9.0.100/24 peer 10.9.0.7 dev eth0", Some("10.9.0.100")),
            ("ifconfig eth0:0 10.9.0.100 netmask 255.255.255.0 up", Some("10.9.0.100")),
            ("/sbin/ifconfig eth0 inet6 add fd09::100/64", Some("fd09::100")),
            ("ifconfig eth0 up", None),
            ("ifconfig", None),
            ("ip route add 10.9.0.7 dev eth0", None),
            ("ip addrlabel add prefix fd09::/64 label 7", None),
            ("route add default gw 10.9.0.254", None),
            ("ip addr del 10.9.0.100/24 dev eth0", None),
            ("ip addr add", None),
            ("add 10.9.0.100", None),
            ("", None),
        ] {
            for keyword in ["up", "pre-up", "post-up \\\n"] {
                let text = format!("auto lo\niface lo inet loopback\n {keyword} {command}\n");
                let expected: Vec<String> =
                    expected.into_iter().map(|it| format!("f:3 {it}")).collect();
                assert_eq!(interfaces(&[&text]), expected, "{text}");
            }
        }
        assert_eq!(interfaces(&["iface lo inet loopback\n down ip addr add 10.9.0.1/8"]), [""; 0]);
    }

    /// The alias beside heartbeat's `IPaddr2`, as old instructions have it.
    #[test]
    fn ifcfg() {
        let text = "DEVICE=eth0:0\nBOOTPROTO=static\nIPADDR=10.9.0.100\nNETMASK=255.255.255.0\nGATEWAY=10.9.0.254\nONBOOT=yes\n";
        assert_eq!(claims(of_ifcfg, text), ["f:3 10.9.0.100"]);
        for no in ["ONBOOT=\"no\"", "ONPARENT=no", "STARTMODE='manual'"] {
            let by_hand = text.replace("ONBOOT=yes", no);
            assert_eq!(claims(of_ifcfg, &by_hand), ["f:3 10.9.0.100 by hand"], "{no}");
        }
        let more = "IPADDR0=10.9.0.1\nIPADDR_1='10.9.0.2'\nIPADDR_START=10.9.0.3\nIPV6ADDR=fd09::1/64\n\
                    IPV6ADDR_SECONDARIES=\"fd09::2/64 fd09::3\"\n#IPADDR2=10.9.0.4\n";
        let expected =
            ["f:1 10.9.0.1", "f:2 10.9.0.2", "f:4 fd09::1", "f:5 fd09::2", "f:5 fd09::3"];
        assert_eq!(claims(of_ifcfg, more), expected);
    }

    #[test]
    fn haresources() {
        let text = "# 10.9.0.1\nld1 10.9.0.100 IPaddr2::10.9.0.101/24/eth0:1 \\\n  IPv6addr::fd09::100/64/eth0 ldirectord::10.cf # 10.9.0.2\n";
        let expected = ["f:2 10.9.0.100", "f:2 10.9.0.101", "f:3 fd09::100"];
        assert_eq!(claims(of_haresources, text), expected);
    }

    /// A virtual service has its address in keepalived.conf even if something else moves it.
    #[test]
    fn keepalived() {
        let text = "vrrp_instance a {\n interface eth0\n unicast_peer {\n  10.9.0.2\n }\n virtual_ipaddress {\n  10.9.0.100/24 brd 10.9.0.255 dev eth0 # 10.9.0.3\n ! 10.9.0.4\n }\n\
                    virtual_ipaddress_excluded\n{ fd09::100 }\n}\nvirtual_server 10.9.0.101 80 {\n real_server 10.9.0.102 80 { weight 1 }\n}\n";
        assert_eq!(claims(of_keepalived, text), ["f:7 10.9.0.100", "f:11 fd09::100"]);
        let broken = "vrrp_instance { virtual_ipaddress { 10.9.0.100 ";
        assert_eq!(claims(of_keepalived, broken), ["f:1 10.9.0.100"]);
    }

    #[test]
    fn vip_toml() {
        let text = "[[vip]]\nname = \"a\"\ninterface = \"eth0\"\nrouter_id = 1\npeers = [\"10.9.0.8\"]\n\
                    addresses = [\n  # \"10.9.0.7/24\",\n  \"10.9.0.100/24\",\n]\n";
        assert_eq!(claims(of_vip_toml, text), ["f:8 10.9.0.100"]);
        assert_eq!(claims(of_vip_toml, "addresses = ['10.9.0.100/24', \n"), ["f:1 10.9.0.100"]);
    }

    #[test]
    fn any_text_is_read() {
        for text in
            ["", "=", "Address=", "up", "up ip addr add", "} } {", "\u{0}", "IPADDR='", "\\"]
        {
            for read in [of_keyfile, of_ifcfg, of_haresources, of_keepalived, of_vip_toml] {
                assert_eq!(claims(read, text), [""; 0], "{text:?}");
            }
            assert_eq!(interfaces(&[text]), [""; 0], "{text:?}");
        }
    }
}
