//! Network interfaces and routes, as ip(8) shows them.

use std::net::IpAddr;

use serde::Deserialize;

use super::commands;
use super::unseen;
use crate::doctor::facts::Unseen;
use crate::look::Nic;

/// The network interfaces. None if they can't be listed.
pub(super) fn nics(to: &mut Vec<Unseen>) -> Option<Vec<Nic>> {
    ask("the network interfaces", &["-j", "address", "show"], to, parse_nics)
}

/// Through which interfaces IPv4's default routes lead. None if they can't be listed.
pub(super) fn default_routes(to: &mut Vec<Unseen>) -> Option<Vec<String>> {
    ask("the default route", &["-j", "-4", "route", "show", "default"], to, parse_routes)
}

fn ask<T>(
    what: &str,
    arguments: &[&str],
    to: &mut Vec<Unseen>,
    parse: fn(&str) -> Result<T, serde_json::Error>,
) -> Option<T> {
    let Some(path) = commands::find("ip") else {
        to.push(Unseen {
            what: what.to_owned(),
            because: "there is no command ip".to_owned(),
            fix: Some("apt-get install iproute2".to_owned()),
        });
        return None;
    };
    let text = commands::run(&path, arguments).map_err(|error| unseen(what, &error));
    let parsed = text.and_then(|text| {
        parse(&text).map_err(|error| Unseen {
            what: what.to_owned(),
            because: format!("what ip {} prints is unknown: {error}", arguments.join(" ")),
            fix: None,
        })
    });
    parsed.map_err(|unseen| to.push(unseen)).ok()
}

#[derive(Deserialize)]
struct Link {
    #[serde(default)]
    ifindex: u32,
    #[serde(default)]
    ifname: String,
    #[serde(default)]
    altnames: Vec<String>,
    #[serde(default)]
    address: String,
    #[serde(default)]
    addr_info: Vec<Address>,
}

#[derive(Deserialize)]
struct Address {
    local: Option<IpAddr>,
    prefixlen: Option<u8>,
}

fn parse_nics(text: &str) -> Result<Vec<Nic>, serde_json::Error> {
    let links: Vec<Link> = serde_json::from_str(text)?;
    let nic = |link: Link| {
        let addresses =
            link.addr_info.into_iter().filter_map(|it| Some((it.local?, it.prefixlen?)));
        Nic {
            addresses: addresses.collect(),
            index: link.ifindex,
            name: link.ifname,
            other_names: link.altnames,
            mac: link.address,
        }
    };
    // iproute2 5.10 and others print empty objects for what they leave out.
    Ok(links.into_iter().map(nic).filter(|it| !it.name.is_empty()).collect())
}

#[derive(Deserialize)]
struct Route {
    dev: Option<String>,
    #[serde(default)]
    nexthops: Vec<Hop>,
}

#[derive(Deserialize)]
struct Hop {
    dev: Option<String>,
}

fn parse_routes(text: &str) -> Result<Vec<String>, serde_json::Error> {
    // Some versions print nothing if there is no route.
    let text = if text.trim().is_empty() { "[]" } else { text };
    let routes: Vec<Route> = serde_json::from_str(text)?;
    let of = |route: Route| {
        route.dev.into_iter().chain(route.nexthops.into_iter().filter_map(|it| it.dev))
    };
    Ok(routes.into_iter().flat_map(of).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As ip of iproute2 6.1.0 prints it, with less in it.
    #[test]
    fn interfaces_have_names_and_addresses() {
        let text = r#"[{"ifindex":1,"ifname":"lo","flags":["LOOPBACK"],"mtu":65536,"link_type":"loopback",
            "address":"00:00:00:00:00:00","addr_info":[{"family":"inet","local":"127.0.0.1","prefixlen":8,"scope":"host",
            "label":"lo","valid_life_time":4294967295}]},{},{"ifindex":2,"ifname":"eth0","address":"a2:d1:e9:59:48:ec",
            "altnames":["enp3s0"],"addr_info":[{"family":"inet","local":"10.9.0.1","prefixlen":24},
            {"family":"inet6","local":"fe80::1","prefixlen":64,"tentative":true}]},{"ifindex":3,"link":null,"ifname":"sit0"}]"#;
        let nics = parse_nics(text).expect("recorded");
        let names: Vec<&str> = nics.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["lo", "eth0", "sit0"]);
        assert_eq!(nics[1].index, 2);
        assert_eq!(nics[1].mac, "a2:d1:e9:59:48:ec");
        assert_eq!(nics[1].other_names, ["enp3s0"]);
        let v6: IpAddr = "fe80::1".parse().expect("an address");
        assert_eq!(nics[1].addresses, [([10, 9, 0, 1].into(), 24), (v6, 64)]);
        assert!(parse_nics("eth0").is_err());
    }

    /// The same.
    #[test]
    fn a_route_may_lead_over_several_interfaces() {
        let text = r#"[{"dst":"default","gateway":"10.9.0.254","dev":"eth0","flags":[]},{"dst":"default","metric":7,"flags":[],
            "nexthops":[{"dev":"eth1","weight":1,"flags":[]},{"gateway":"10.8.0.3","dev":"eth2","weight":1,"flags":[]}]}]"#;
        assert_eq!(parse_routes(text).expect("recorded"), ["eth0", "eth1", "eth2"]);
        assert_eq!(parse_routes("").expect("none"), [""; 0]);
        assert_eq!(parse_routes("[]").expect("none"), [""; 0]);
        assert!(parse_routes("default via").is_err());
    }
}
