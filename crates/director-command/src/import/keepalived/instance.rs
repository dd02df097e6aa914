//! A `vrrp_instance` as a table.

use std::net::IpAddr;
use std::ops::Range;
use std::time::Duration;

use super::super::{Preempt, Table, Track, Tracked};
use super::blocks::{Statement, Word};
use super::{Reader, scripts};

/// Directives of an instance that have a meaning here.
const READ: [&str; 22] = [
    "interface",
    "virtual_router_id",
    "version",
    "priority",
    "advert_int",
    "state",
    "virtual_ipaddress",
    "nopreempt",
    "preempt_delay",
    "v3_checksum_as_v2",
    "unicast_peer",
    "authentication",
    "track_interface",
    "track_script",
    "notify",
    "notify_master",
    "notify_backup",
    "notify_fault",
    "lvs_sync_daemon_interface",
    "native_ipv6",
    "old_unicast_checksum",
    "skip_check_adv_addr",
];

/// Directives of an instance that `vipd` needs no words for.
const NOT_NEEDED: [&str; 12] = [
    "garp_master_delay",
    "garp_master_repeat",
    "garp_master_refresh",
    "garp_master_refresh_repeat",
    "garp_lower_prio_delay",
    "garp_lower_prio_repeat",
    "accept",
    "debug",
    "smtp_alert",
    "preempt",
    "unicast_src_ip",
    "mcast_src_ip",
];

/// Directives whose effect is missed.
const MISSED: [&str; 18] = [
    "virtual_ipaddress_excluded",
    "virtual_routes",
    "virtual_rules",
    "track_process",
    "track_bfd",
    "track_file",
    "track_src_ip",
    "no_accept",
    "strict_mode",
    "use_vmac",
    "vmac_xmit_base",
    "use_ipvlan",
    "dont_track_primary",
    "linkbeat_use_polling",
    "lower_prio_no_advert",
    "higher_prio_send_advert",
    "down_timer_adverts",
    "promote_secondaries",
];

/// The longest password.
const PASSWORD: usize = 8;

impl Reader<'_> {
    /// None if it can't be one; why is noted.
    pub(super) fn instance(&mut self, statement: &Statement) -> Option<Table> {
        let whole = statement.span();
        let Some(name) = statement.first() else {
            self.notes.error(&whole, "this instance has no name", "");
            return None;
        };
        let interface = self.value(statement, "interface")?.text.clone();
        let router_id = self.value(statement, "virtual_router_id")?;
        let router_id = self.number(router_id, 1, 255)?;
        let mut table = Table::new(self.name(name), interface, router_id as u8);
        table.version = match statement.last("version").and_then(Statement::first) {
            Some(word) => self.number(word, 2, 3)? as u8,
            None if has_ipv6(statement) => 3,
            None => self.version,
        };
        if let Some(word) = statement.last("priority").and_then(Statement::first) {
            table.priority = self.number(word, 1, 255)? as u8;
        }
        table.interval = self.interval(statement, table.version)?;
        table.addresses = self.addresses(statement, &table)?;
        if let Some(own) = table.add_link_local() {
            self.notes.differs(
                &whole,
                format!("the first IPv6 address has to be a link-local one: {own} was added"),
                "RFC 9568 wants it; a keepalived that stays needs it, too",
            );
        }
        table.preempt = self.preempt(statement);
        table.has_plain_checksum = statement.last("v3_checksum_as_v2").is_some();
        for peers in statement.all("unicast_peer") {
            let words = peers.block.iter().map(|it| &it.name);
            for word in words {
                match word.text.parse() {
                    Ok(ip) => table.peers.push(ip),
                    Err(_) => self.notes.error(&word.span, "this isn't an IP address", ""),
                }
            }
        }
        table.password = self.password(statement, table.version);
        table.track = self.track(statement, &table.interface);
        table.notify = self.notify(statement, &name.text, table.priority);
        if let Some((_, interface, id)) = self.sync.as_ref().filter(|it| it.0.text == name.text) {
            table.sync = Some((interface.clone(), *id));
        } else if let Some(line) = statement.last("lvs_sync_daemon_interface") {
            table.sync = line.first().map(|it| (it.text.clone(), None));
        }
        self.others(statement);
        Some(table)
    }

    /// A value that an instance can't do without.
    fn value<'a>(&mut self, statement: &'a Statement, name: &str) -> Option<&'a Word> {
        let word = statement.last(name).and_then(Statement::first);
        if word.is_none() {
            self.notes.error(&statement.span(), format!("this has no {name}"), "");
        }
        word
    }

    fn number(&mut self, word: &Word, least: u32, most: u32) -> Option<u32> {
        let number = word.text.parse().ok().filter(|it| (least..=most).contains(it));
        if number.is_none() {
            let message = format!("this isn't a number from {least} to {most}");
            self.notes.error(&word.span, message, "");
        }
        number
    }

    /// The name, without what `vip.toml` can't have in one.
    fn name(&mut self, word: &Word) -> String {
        let fits = |it: &char| it.is_ascii_alphanumeric() || matches!(it, '-' | '_' | '.');
        let name: String = word.text.chars().filter(fits).take(32).collect();
        if name != word.text {
            let message = format!("this is called `{name}` now");
            let help = "a name has up to 32 letters, digits, `-`, `_` and `.`";
            self.notes.differs(&word.span, message, help);
        }
        name
    }

    fn interval(&mut self, statement: &Statement, version: u8) -> Option<Duration> {
        let Some(word) = statement.last("advert_int").and_then(Statement::first) else {
            return Some(Duration::from_secs(1));
        };
        let (most, step) = if version == 2 { (255.0, 1.0) } else { (40.95, 0.01) };
        let seconds: Option<f64> = word.text.parse().ok();
        let Some(seconds) = seconds.filter(|it| (step..=most).contains(it)) else {
            self.notes.error(&word.span, format!("this isn't a time from {step} to {most} s"), "");
            return None;
        };
        // Rounded as keepalived does.
        let steps = (seconds / step).round() as u32;
        Some(if version == 2 {
            Duration::from_secs(steps.into())
        } else {
            Duration::from_millis(10) * steps
        })
    }

    fn addresses(&mut self, statement: &Statement, table: &Table) -> Option<Vec<(IpAddr, u8)>> {
        let mut addresses = Vec::new();
        for line in statement.all("virtual_ipaddress").flat_map(|it| &it.block) {
            let word = &line.name;
            let (ip, prefix) = word.text.split_once('/').unwrap_or((&word.text, ""));
            let Ok(ip) = ip.parse::<IpAddr>() else {
                self.notes.error(&word.span, "this isn't an IP address", "");
                return None;
            };
            let most: u8 = if ip.is_ipv4() { 32 } else { 128 };
            let prefix = if prefix.is_empty() { Ok(most) } else { prefix.parse() };
            let Some(prefix) = prefix.ok().filter(|it| *it <= most) else {
                self.notes.error(&word.span, "this prefix has no such length", "");
                return None;
            };
            addresses.push((ip, prefix));
            if let Some(device) = line.after("dev").filter(|it| it.text != table.interface) {
                self.notes.error(
                    &device.span,
                    format!("the address is on another interface than {}", table.interface),
                    "vip.toml has addresses where adverts are; split the instance",
                );
            }
            if let Some(label) = line.after("label") {
                self.notes.left_out(&label.span, "the address has no label", "");
            }
        }
        if addresses.is_empty() {
            self.notes.error(&statement.span(), "no addresses move with this instance", "");
            return None;
        }
        Some(addresses)
    }

    fn preempt(&mut self, statement: &Statement) -> Preempt {
        let is_master = statement
            .last("state")
            .and_then(Statement::first)
            .is_some_and(|it| it.text == "MASTER");
        if let Some(line) = statement.last("nopreempt") {
            if !is_master {
                return Preempt::Never;
            }
            // keepalived says so itself.
            let message = "keepalived ignores this in the state MASTER, so it preempts here, too";
            self.notes.differs(&line.span(), message, "if it isn't to, write preempt = \"never\"");
        }
        let delay = statement.last("preempt_delay").and_then(Statement::first);
        match delay.map(|it| (it, it.text.parse::<f64>())) {
            Some((_, Ok(seconds))) if (1.0..=1000.0).contains(&seconds) => {
                Preempt::After(Duration::from_secs(seconds.ceil() as u64))
            }
            Some((_, Ok(seconds))) if (0.0..1.0).contains(&seconds) => Preempt::Always,
            Some((word, _)) => {
                self.notes.error(&word.span, "this isn't a time from 0 to 1000 s", "");
                Preempt::Always
            }
            None => Preempt::Always,
        }
    }

    fn password(&mut self, statement: &Statement, version: u8) -> Option<String> {
        let block = statement.last("authentication")?;
        let span = block.span();
        let word = |name: &str| block.last(name).and_then(Statement::first);
        if word("auth_type").is_some_and(|it| it.text != "PASS") {
            let help = "the other router has to do without, too";
            self.notes.differs(&span, "adverts have no AH: RFC 3768 took it out", help);
            return None;
        }
        let password = word("auth_pass")?;
        if version == 3 {
            self.notes.left_out(&span, "version 3 has no passwords; keepalived ignores this", "");
            return None;
        }
        let end = (0..=PASSWORD.min(password.text.len()))
            .rev()
            .find(|at| password.text.is_char_boundary(*at));
        let short = &password.text[..end.unwrap_or(0)];
        if short != password.text {
            let message = "only 8 bytes of it count, for keepalived as well";
            self.notes.left_out(&password.span, message, "");
        }
        Some(short.to_owned())
    }

    fn track(&mut self, statement: &Statement, own: &str) -> Vec<Track> {
        let mut tracks = Vec::new();
        for line in statement.all("track_interface").flat_map(|it| &it.block) {
            let Some(weight) = self.weight(line, 0) else { continue };
            if line.name.text != own {
                let what = Tracked::Interface(line.name.text.clone());
                tracks.push(Track { what, weight });
            }
        }
        for line in statement.all("track_script").flat_map(|it| &it.block) {
            let Some(script) = self.scripts.get(&line.name.text).cloned() else {
                self.notes.error(&line.name.span, "there is no vrrp_script of this name", "");
                continue;
            };
            let Some(weight) = self.weight(line, script.weight) else { continue };
            let scripts::Script { command, every, timeout, rise, fall, .. } = script;
            let what = Tracked::Script { command, every, timeout, rise, fall };
            tracks.push(Track { what, weight });
        }
        tracks
    }

    /// The weight of something that is tracked, or the `usual` one.
    fn weight(&mut self, line: &Statement, usual: i16) -> Option<i16> {
        if let Some(word) = line.arguments.iter().find(|it| it.text == "reverse") {
            self.notes.error(&word.span, "nothing is up while it is down here", "");
            return None;
        }
        let Some(word) = line.after("weight") else { return Some(usual) };
        let weight = word.text.parse().ok().filter(|it| (-254..=254).contains(it));
        if weight.is_none() {
            self.notes.error(&word.span, "this isn't a weight from -254 to 254", "");
        }
        weight
    }

    /// One command that calls those of keepalived, with the words that they know.
    fn notify(&mut self, statement: &Statement, name: &str, priority: u8) -> Vec<String> {
        let states = [
            ("active", "MASTER", "notify_master"),
            ("backup", "BACKUP", "notify_backup"),
            ("initialize", "FAULT", "notify_fault"),
        ];
        let general = statement.last("notify");
        let mut cases = String::new();
        let mut first: Option<Range<usize>> = general.map(Statement::span);
        for (state, theirs, directive) in states {
            let mut commands: Vec<String> = Vec::new();
            if let Some(line) = statement.last(directive) {
                first = first.or_else(|| Some(line.span()));
                commands.push(quoted(&scripts::notify_command(line)));
            }
            if let Some(line) = general {
                let mut words = scripts::notify_command(line);
                let own = ["INSTANCE", name, theirs, &priority.to_string()];
                words.extend(own.map(str::to_owned));
                commands.push(quoted(&words));
            }
            if !commands.is_empty() {
                cases += &format!("{state}) {} ;; ", commands.join("; "));
            }
        }
        let Some(first) = first else { return Vec::new() };
        self.notes.differs(
            &first,
            "commands run as vipd's own user, one at a time, for 30 s at most",
            "vipd.service runs as `director`; give the program the rights that it needs",
        );
        let script = format!("case \"$2\" in {cases}esac");
        // The name and the state follow.
        ["/bin/sh", "-c", &script, "notify"].map(str::to_owned).into()
    }

    fn others(&mut self, statement: &Statement) {
        for line in &statement.block {
            let name = line.name.text.as_str();
            if READ.contains(&name) {
                continue;
            }
            if NOT_NEEDED.contains(&name) {
                self.notes.left_out(&line.span(), format!("`{name}` isn't needed"), "");
            } else if MISSED.contains(&name) || name.starts_with("notify_") {
                self.notes.differs(&line.span(), format!("`{name}` has no equivalent"), "");
            } else {
                self.strange(line, &[&READ, &NOT_NEEDED, &MISSED]);
            }
        }
    }
}

/// Words for a shell.
fn quoted(words: &[String]) -> String {
    let plain = |it: char| it.is_ascii_alphanumeric() || "/._-:=@%+,".contains(it);
    let quote = |word: &String| match !word.is_empty() && word.chars().all(plain) {
        true => word.clone(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    };
    words.iter().map(quote).collect::<Vec<_>>().join(" ")
}

/// Whether an instance has IPv6 addresses, which only version 3 has: keepalived takes that by itself.
fn has_ipv6(statement: &Statement) -> bool {
    let addresses = statement.all("virtual_ipaddress").flat_map(|it| &it.block);
    addresses.into_iter().any(|it| it.name.text.contains(':'))
}
