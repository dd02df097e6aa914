//! The VRRP part of keepalived.conf.

mod blocks;
mod instance;
mod scripts;

use std::collections::BTreeMap;

use ldirectord::closest;

use self::blocks::{Statement, Word};
use self::scripts::Script;
use super::note::{Notes, Source};
use super::{CHECK, Director, ENABLE, INSTALL, Import, Table, Track, Tracked};

/// Imports the file of one machine, which gets `name`.
///
/// ```
/// use director_command::import::{Source, keepalived};
///
/// let text = "
/// vrrp_instance front {
///     interface eth0
///     virtual_router_id 51
///     version 3
///     priority 150
///     virtual_ipaddress {
///         10.10.10.53/24
///     }
/// }
/// ";
/// let source = Source { name: "keepalived.conf".to_owned(), text: text.to_owned() };
/// let import = keepalived::import(&source, "one");
/// assert_eq!(import.notes, []);
/// assert!(import.directors[0].vip_toml().contains("router_id = 51"));
/// ```
pub fn import(source: &Source, name: &str) -> Import {
    let mut notes = Notes::new(0);
    let file = blocks::read(&source.text, &mut notes);
    let mut reader = Reader { notes: &mut notes, version: 2, sync: None, scripts: BTreeMap::new() };
    reader.globals(&file);
    let instances: Vec<&Statement> =
        file.iter().filter(|it| it.name.text == "vrrp_instance").collect();
    let (mut names, mut tables): (Vec<String>, Vec<Table>) = (Vec::new(), Vec::new());
    for statement in &instances {
        if let Some(table) = reader.instance(statement) {
            names.extend(statement.first().map(|it| it.text.clone()));
            tables.push(table);
        }
    }
    reader.groups(&file, &names, &mut tables);
    reader.sync_follows_one_of(&instances);
    if instances.is_empty() {
        reader.notes.error(&(0..0), "there is no vrrp_instance", "nothing moves");
    }
    let commands = [INSTALL, CHECK, "systemctl disable --now keepalived", ENABLE];
    let commands = commands.map(str::to_owned).into();
    let directors = vec![Director { name: name.to_owned(), tables, commands }];
    Import { directors, notes: notes.into_inner() }.finished()
}

struct Reader<'n> {
    notes: &'n mut Notes,
    /// The version of instances that don't say.
    version: u8,
    /// The instance that the synchronization daemon follows, its interface and its number.
    sync: Option<(Word, String, Option<u8>)>,
    scripts: BTreeMap<String, Script>,
}

/// Blocks that have a meaning here.
const READ_BLOCKS: [&str; 6] = [
    "global_defs",
    "vrrp_script",
    "vrrp_instance",
    "vrrp_sync_group",
    "virtual_server",
    "virtual_server_group",
];

/// Blocks whose effect is missed.
const MISSED_BLOCKS: [&str; 10] = [
    "static_ipaddress",
    "static_routes",
    "static_rules",
    "vrrp_track_process",
    "vrrp_track_file",
    "track_file",
    "bfd_instance",
    "interface_up_down_delays",
    "garp_group",
    "linkbeat_interfaces",
];

/// Directives of `global_defs` that have a meaning here.
const READ_GLOBALS: [&str; 2] = ["vrrp_version", "lvs_sync_daemon"];

/// Directives of `global_defs` whose effect is missed.
const MISSED_GLOBALS: [&str; 11] = [
    "vrrp_mcast_group4",
    "vrrp_mcast_group6",
    "vrrp_startup_delay",
    "vrrp_higher_prio_send_advert",
    "vrrp_lower_prio_no_advert",
    "vrrp_strict",
    "vrrp_check_unicast_src",
    "default_interface",
    "dynamic_interfaces",
    "nftables",
    "net_namespace",
];

/// Directives of `global_defs` about keepalived itself, or about what `vipd` does anyway.
const GLOBALS: [&str; 27] = [
    "router_id",
    "notification_email",
    "notification_email_from",
    "smtp_server",
    "smtp_connect_timeout",
    "smtp_helo_name",
    "smtp_alert",
    "smtp_alert_vrrp",
    "enable_script_security",
    "script_user",
    "vrrp_garp_master_delay",
    "vrrp_garp_master_repeat",
    "vrrp_garp_master_refresh",
    "vrrp_garp_master_refresh_repeat",
    "vrrp_garp_interval",
    "vrrp_gna_interval",
    "vrrp_iptables",
    "vrrp_ipsets",
    "vrrp_priority",
    "vrrp_no_swap",
    "vrrp_rt_priority",
    "process_names",
    "enable_snmp_vrrp",
    "enable_snmp_keepalived",
    "enable_dbus",
    "max_auto_priority",
    "log_unknown_vrids",
];

impl Reader<'_> {
    fn globals(&mut self, file: &[Statement]) {
        for statement in file {
            match statement.name.text.as_str() {
                "global_defs" => {
                    statement.block.iter().for_each(|it| self.global(it));
                }
                "vrrp_script" => {
                    if let (Some(name), Some(script)) =
                        (statement.first(), scripts::read(statement, self.notes))
                    {
                        self.scripts.insert(name.text.clone(), script);
                    }
                }
                "vrrp_instance" | "vrrp_sync_group" => {}
                "virtual_server" | "virtual_server_group" => self.notes.differs(
                    &statement.span(),
                    "virtual services and their checks aren't imported",
                    "write them into a file for ldirectord(8), which runs on all directors, before keepalived is stopped",
                ),
                name if MISSED_BLOCKS.contains(&name) => self.notes.differs(
                    &statement.span(),
                    format!("`{name}` has no equivalent"),
                    "",
                ),
                _ => self.strange(statement, &[&READ_BLOCKS, &MISSED_BLOCKS]),
            }
        }
    }

    fn global(&mut self, statement: &Statement) {
        let span = statement.span();
        match statement.name.text.as_str() {
            "vrrp_version" => match statement.first().map(|it| it.text.as_str()) {
                Some("2") => self.version = 2,
                Some("3") => self.version = 3,
                _ => self.notes.error(&span, "VRRP has the versions 2 and 3", ""),
            },
            "lvs_sync_daemon" => {
                let [interface, instance, ..] = &statement.arguments[..] else {
                    let help = "name an instance, so that the daemon follows it";
                    return self.notes.differs(&span, "this follows no instance", help);
                };
                let id = statement.after("id").or_else(|| statement.arguments.get(2));
                let id = id.and_then(|it| it.text.parse().ok());
                self.sync = Some((instance.clone(), interface.text.clone(), id));
            }
            name if MISSED_GLOBALS.contains(&name) => {
                self.notes.differs(&span, format!("`{name}` has no equivalent"), "");
            }
            name if GLOBALS.contains(&name) => {
                let message = format!("`{name}` isn't needed, or is about keepalived itself");
                self.notes.left_out(&span, message, "");
            }
            _ => self.strange(statement, &[&READ_GLOBALS, &MISSED_GLOBALS, &GLOBALS]),
        }
    }

    /// A line that keepalived's manual doesn't have, or that stands for other lines. `known` are words that
    /// it may be meant for.
    fn strange(&mut self, statement: &Statement, known: &[&[&str]]) {
        let name = statement.name.text.as_str();
        if name == "include" || name.starts_with(['@', '$', '~']) {
            self.notes.error(
                &statement.span(),
                "other lines stand for this one when keepalived reads it",
                "write those lines in its place",
            );
            return;
        }
        let message = format!("nothing is known of `{name}`, and keepalived ignores it, too");
        let help = closest(name, &known.concat()).map(|word| format!("did you mean `{word}`?"));
        self.notes.differs(&statement.name.span, message, &help.unwrap_or_default());
    }

    /// Instances of a group move together. Here, each leaves a director that lost the interface of
    /// another.
    ///
    /// `names` are those in the file, in the order of the tables.
    fn groups(&mut self, file: &[Statement], names: &[String], tables: &mut [Table]) {
        for group in file.iter().filter(|it| it.name.text == "vrrp_sync_group") {
            let members: Vec<String> = group
                .all("group")
                .flat_map(|it| &it.block)
                .flat_map(|it| [&it.name].into_iter().chain(&it.arguments))
                .map(|it| it.text.clone())
                .collect();
            for statement in group.block.iter().filter(|it| it.name.text != "group") {
                self.notes.differs(
                    &statement.span(),
                    format!("`{}` of a group has no equivalent", statement.name.text),
                    "write it into each instance",
                );
            }
            let of_group = |(name, _): &(&String, &mut Table)| members.contains(name);
            let interfaces: Vec<String> = names
                .iter()
                .zip(tables.iter_mut())
                .filter(of_group)
                .map(|(_, table)| table.interface.clone())
                .collect();
            self.notes.differs(
                &group.span(),
                "routers of a group don't move together, unless one loses its interface",
                "each tracks the interfaces of the others; for one interface, put the addresses into one instance",
            );
            for (_, table) in names.iter().zip(tables.iter_mut()).filter(of_group) {
                for interface in &interfaces {
                    let what = Tracked::Interface(interface.clone());
                    let is_new = table.track.iter().all(|it| it.what != what);
                    if *interface != table.interface && is_new {
                        table.track.push(Track { what, weight: 0 });
                    }
                }
            }
        }
    }
}

impl Reader<'_> {
    fn sync_follows_one_of(&mut self, instances: &[&Statement]) {
        let is_there = |name: &str| {
            instances.iter().any(|it| it.first().is_some_and(|word| word.text == name))
        };
        if let Some((instance, ..)) = self.sync.take().filter(|it| !is_there(&it.0.text)) {
            self.notes.differs(
                &instance.span,
                format!(
                    "there is no instance `{}`, so no connections are synchronized",
                    instance.text
                ),
                "",
            );
        }
    }
}

#[cfg(test)]
mod tests;
