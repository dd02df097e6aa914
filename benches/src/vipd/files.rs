//! The configuration files: the same virtual routers for each program.

use std::fmt::Write as _;

use super::{INTERFACE, Load};

/// A file of vipd.
pub fn vipd(load: Load) -> String {
    let mut text = String::new();
    for (vrid, priority, address) in load.virtual_routers() {
        // Writing to a String can't fail.
        let _ = writeln!(
            text,
            "[[vip]]\nname = \"v{vrid}\"\ninterface = \"{INTERFACE}\"\nrouter_id = {vrid}\n\
             priority = {priority}\ninterval = \"{}ms\"\naddresses = [\"{address}\"]\n",
            load.interval,
        );
    }
    text
}

/// A file of keepalived.
pub fn keepalived(load: Load) -> String {
    let mut text = "global_defs {\n vrrp_version 3\n}\n".to_owned();
    let interval = load.interval().as_secs_f64();
    for (vrid, priority, address) in load.virtual_routers() {
        let _ = writeln!(
            text,
            "vrrp_instance v{vrid} {{\n state BACKUP\n interface {INTERFACE}\n \
             virtual_router_id {vrid}\n priority {priority}\n advert_int {interval}\n \
             virtual_ipaddress {{\n  {address}/32\n }}\n}}",
        );
    }
    text
}
