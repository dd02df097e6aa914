//! Addresses in the files of other programs that configure the network, or move addresses themselves.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::ini::entries;
use super::{Claim, address};
use crate::doctor::facts::TextFile;

/// Those of connections of `NetworkManager` that start by themselves (nm-settings-keyfile(5)).
pub(in crate::doctor) fn of_keyfile(file: &TextFile) -> Vec<Claim> {
    let entries = entries(&file.text);
    let is_manual = entries.iter().any(|it| {
        it.section == "connection"
            && it.key == "autoconnect"
            && matches!(&*it.value, "false" | "0" | "no")
    });
    if is_manual {
        return Vec::new();
    }
    let mut claims = Vec::new();
    for entry in entries.iter().filter(|it| matches!(it.section, "ipv4" | "ipv6")) {
        let is_address = entry.key == "addresses"
            || entry
                .key
                .strip_prefix("address")
                .is_some_and(|it| !it.is_empty() && it.bytes().all(|byte| byte.is_ascii_digit()));
        // A list ends its parts with semicolons; a gateway follows its address after a comma.
        let parts = entry.value.split(';').filter(|_| is_address);
        claims.extend(
            parts.filter_map(address).map(|ip| Claim { ip, place: place(file, entry.line) }),
        );
    }
    claims
}

/// Those of interfaces that come up by themselves, in files of ifupdown (interfaces(5)).
pub(in crate::doctor) fn of_interfaces(files: &[TextFile]) -> Vec<Claim> {
    let words =
        |line: &str| -> Vec<String> { line.split_whitespace().map(str::to_owned).collect() };
    let mut automatic: BTreeSet<String> = BTreeSet::new();
    for line in files.iter().flat_map(|file| file.text.lines()).map(words) {
        let begins = line.first().is_some_and(|it| it == "auto" || it.starts_with("allow-"));
        automatic.extend(line.into_iter().skip(1).filter(|_| begins));
    }
    let mut claims = Vec::new();
    for file in files {
        let mut counts = false;
        for (number, line) in file.text.lines().enumerate() {
            let line = words(line);
            let line: Vec<&str> = line.iter().map(String::as_str).collect();
            let found = match &line[..] {
                ["iface", name, ..] => {
                    counts = automatic.contains(*name);
                    None
                }
                ["auto" | "mapping" | "source" | "source-directory" | "no-auto-down", ..] => {
                    counts = false;
                    None
                }
                ["address", ip, ..] => address(ip),
                // `up ip addr add 10.9.0.100/24 dev eth0`
                ["up" | "post-up" | "pre-up", command @ ..] => added(command),
                _ => None,
            };
            let claim =
                found.filter(|_| counts).map(|ip| Claim { ip, place: place(file, number + 1) });
            claims.extend(claim);
        }
    }
    claims
}

/// The address that a call of ip(8) adds.
fn added(command: &[&str]) -> Option<IpAddr> {
    let at = command.iter().position(|it| matches!(*it, "add" | "replace"))?;
    let is_address = command.get(at.checked_sub(1)?)?.starts_with('a');
    address(command.get(at + 1)?).filter(|_| is_address)
}

/// Those of an `ifcfg-*` file that starts with the machine (Red Hat's sysconfig.txt).
pub(in crate::doctor) fn of_ifcfg(file: &TextFile) -> Vec<Claim> {
    let lines = file.text.lines().enumerate().filter_map(|(number, line)| {
        let (key, value) = line.trim().split_once('=')?;
        Some((number + 1, key, value.trim_matches(['"', '\''])))
    });
    let lines: Vec<(usize, &str, &str)> = lines.collect();
    // A file of an alias such as ifcfg-eth0:0 has ONPARENT.
    let is_manual = lines.iter().any(|(_, key, value)| {
        matches!(*key, "ONBOOT" | "ONPARENT") && value.eq_ignore_ascii_case("no")
    });
    let addresses = lines.iter().filter(|(_, key, _)| {
        let number =
            key.strip_prefix("IPADDR").is_some_and(|it| it.bytes().all(|it| it.is_ascii_digit()));
        number || matches!(*key, "IPV6ADDR" | "IPV6ADDR_SECONDARIES")
    });
    let addresses = addresses.filter(|_| !is_manual);
    let claims = addresses.flat_map(|(number, _, value)| {
        let ips = value.split_whitespace().filter_map(address);
        ips.map(|ip| Claim { ip, place: place(file, *number) })
    });
    claims.collect()
}

/// Those that heartbeat moves: `IPaddr::10.9.0.100/24/eth0`, or the address alone.
pub(in crate::doctor) fn of_haresources(file: &TextFile) -> Vec<Claim> {
    let mut claims = Vec::new();
    for (number, line) in file.text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default();
        for word in line.split_whitespace() {
            let scripts = ["IPaddr::", "IPaddr2::", "IPv6addr::"];
            let rest = scripts.iter().find_map(|it| word.strip_prefix(it)).unwrap_or(word);
            claims.extend(address(rest).map(|ip| Claim { ip, place: place(file, number + 1) }));
        }
    }
    claims
}

/// Those that keepalived moves, in blocks `virtual_ipaddress` and `virtual_ipaddress_excluded`.
pub(in crate::doctor) fn of_keepalived(file: &TextFile) -> Vec<Claim> {
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
                    claims.extend(ip.map(|ip| Claim { ip, place: place(file, number + 1) }));
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

fn place(file: &TextFile, line: usize) -> String {
    format!("{}:{line}", file.path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> TextFile {
        TextFile { path: "file".to_owned(), text: text.to_owned() }
    }

    fn found(claims: &[Claim]) -> Vec<String> {
        claims.iter().map(|it| format!("{} {}", it.place, it.ip)).collect()
    }

    #[test]
    fn keyfiles() {
        let text = "[connection]\nid=lan\n[ipv4]\naddress1=10.9.0.1/24,10.9.0.254\naddress2=10.9.0.100/32\ndns=10.9.0.9;\n\
                    addresses=10.9.0.2/24;10.9.0.3/24;\nmethod=manual\naddress-data=10.9.0.4\n[ipv6]\naddress1=fd09::100/64\n";
        assert_eq!(
            found(&of_keyfile(&file(text))),
            [
                "file:4 10.9.0.1",
                "file:5 10.9.0.100",
                "file:7 10.9.0.2",
                "file:7 10.9.0.3",
                "file:11 fd09::100"
            ]
        );
        let manual = text.replace("id=lan", "autoconnect=false");
        assert_eq!(of_keyfile(&file(&manual)), []);
    }

    #[test]
    fn interfaces() {
        let text = "auto lo eth0\niface lo inet loopback\niface eth0 inet static\n\taddress 10.9.0.1/24\n\tgateway 10.9.0.254\n\
                    \tup ip addr add 10.9.0.100/32 dev eth0\n\tpost-up ip route add 10.9.0.7 dev eth0\n\
                    iface eth0:0 inet static\n\taddress 10.9.0.101\n\nallow-hotplug eth1\niface eth1 inet static\n  address 10.9.0.102\n";
        assert_eq!(
            found(&of_interfaces(&[file(text)])),
            ["file:4 10.9.0.1", "file:6 10.9.0.100", "file:13 10.9.0.102"]
        );
        let also = file("auto eth0:0\n");
        assert_eq!(of_interfaces(&[file(text), also]).len(), 4);
    }

    /// The alias beside heartbeat's `IPaddr2`, as old instructions have it.
    #[test]
    fn ifcfg() {
        let text = "DEVICE=eth0:0\nBOOTPROTO=static\nIPADDR=10.9.0.100\nNETMASK=255.255.255.0\nONBOOT=yes\n";
        assert_eq!(found(&of_ifcfg(&file(text))), ["file:3 10.9.0.100"]);
        assert_eq!(of_ifcfg(&file(&text.replace("ONBOOT=yes", "ONBOOT=\"no\""))), []);
        assert_eq!(of_ifcfg(&file(&text.replace("ONBOOT=yes", "ONPARENT=no"))), []);
        let more = "IPADDR0=10.9.0.1\nIPADDR1='10.9.0.2'\nIPADDR_START=10.9.0.3\nIPV6ADDR=fd09::1/64\n\
                    IPV6ADDR_SECONDARIES=\"fd09::2/64 fd09::3\"\n#IPADDR2=10.9.0.4\n";
        assert_eq!(
            found(&of_ifcfg(&file(more))),
            [
                "file:1 10.9.0.1",
                "file:2 10.9.0.2",
                "file:4 fd09::1",
                "file:5 fd09::2",
                "file:5 fd09::3"
            ]
        );
    }

    #[test]
    fn haresources() {
        let text = "# 10.9.0.1\nld1 10.9.0.100 IPaddr2::10.9.0.101/24/eth0:1 \\\n  IPv6addr::fd09::100/64/eth0 ldirectord::10.cf # 10.9.0.2\n";
        assert_eq!(
            found(&of_haresources(&file(text))),
            ["file:2 10.9.0.100", "file:2 10.9.0.101", "file:3 fd09::100"]
        );
    }

    /// A virtual service has its address in keepalived.conf even if something else moves it.
    #[test]
    fn keepalived() {
        let text = "vrrp_instance a {\n interface eth0\n unicast_peer {\n  10.9.0.2\n }\n virtual_ipaddress {\n  10.9.0.100/24 dev eth0 # 10.9.0.3\n ! 10.9.0.4\n }\n\
                    virtual_ipaddress_excluded\n{ fd09::100 }\n}\nvirtual_server 10.9.0.101 80 {\n real_server 10.9.0.102 80 { weight 1 }\n}\n";
        assert_eq!(found(&of_keepalived(&file(text))), ["file:7 10.9.0.100", "file:11 fd09::100"]);
        assert_eq!(of_keepalived(&file("} } {")), []);
    }
}
