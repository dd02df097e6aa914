//! All tables of the file at work, and which of them each event is for.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Instant;

use vrrp::{ConfigError, State, Vrid};

use super::adverts::{Heard, Place};
use super::guard::Goodbye;
use super::interfaces::Interfaces;
use crate::config::{Address, Config, Tracked, Vip};
use crate::router::{Action, Decision, Router, primary};
use crate::status::{History, VipStatus};

/// The routers of all tables.
///
/// Calls are those of [`Router`]: events in, then [`poll`](Self::poll) until there is nothing more to
/// do, then [`deadline`](Self::deadline).
#[derive(Debug)]
pub(crate) struct Fleet {
    members: Vec<Member>,
    /// The addresses of all tables: none of them is an interface's own.
    moving: BTreeSet<IpAddr>,
    by_vrid: BTreeMap<(Place, u8), usize>,
    /// Members by their deadlines: with hundreds of tables, looking at each of them would cost more than
    /// an advert does.
    due: BTreeSet<(Instant, usize)>,
    /// Members that may have something to do.
    touched: VecDeque<usize>,
}

/// A table at work.
#[derive(Debug)]
pub(crate) struct Member {
    router: Router,
    /// Its interface's, if there is one.
    index: Option<u32>,
    /// The interface's own addresses, as the router knows them.
    own: Vec<IpAddr>,
    /// Where adverts come from: for IPv4 and for IPv6. It outlives `own`, for the last advert.
    sources: [Option<IpAddr>; 2],
    /// For each of its addresses, in the order of the table: whether it is on the interface, once that
    /// is known.
    present: Option<Vec<bool>>,
    /// What is tracked and is an interface: whether it was up.
    tracked: Vec<Option<bool>>,
    /// As it is in the fleet's list.
    deadline: Option<Instant>,
    history: History,
}

impl Member {
    fn new(vip: Vip, now: Instant) -> Result<Self, ConfigError> {
        let tracked = vec![None; vip.track.len()];
        let router = Router::new(vip)?;
        Ok(Self {
            router,
            index: None,
            own: Vec::new(),
            sources: [None; 2],
            present: None,
            tracked,
            deadline: None,
            history: History::new(now),
        })
    }

    /// Its table.
    pub(crate) const fn vip(&self) -> &Vip {
        self.router.vip()
    }

    /// The index of its interface, if there is one.
    pub(crate) const fn index(&self) -> Option<u32> {
        self.index
    }

    /// Where its adverts of a family come from.
    pub(crate) const fn source(&self, is_ipv4: bool) -> Option<IpAddr> {
        self.sources[if is_ipv4 { 0 } else { 1 }]
    }

    /// What somebody else has to send for it after a crash.
    fn goodbyes(&self) -> impl Iterator<Item = Goodbye> + '_ {
        self.router.goodbyes().filter_map(|(to, message)| {
            Some(Goodbye { index: self.index?, from: self.source(to.is_ipv4())?, to, message })
        })
    }

    /// Another interface has the name now, or none has.
    fn leave(&mut self, now: Instant) {
        self.router.link(&[], now);
        self.own.clear();
        self.present = None;
    }

    /// Tells the router what has changed about interfaces. `here` are the addresses of its own.
    fn update(&mut self, interfaces: &Interfaces, here: Option<&Here>, now: Instant) {
        for (index, known) in self.tracked.iter_mut().enumerate() {
            let Tracked::Interface(name) = &self.router.vip().track[index].what else { continue };
            let is_up = interfaces.named(name).is_some_and(|link| link.is_up);
            if known.replace(is_up) != Some(is_up) {
                self.router.tracked(index, is_up, now);
            }
        }
        let index = here.map(|here| here.index);
        if self.index != index {
            self.leave(now);
            self.index = index;
        }
        let Some(here) = here else { return };
        let was_active = self.router.state() == State::Active;
        if self.own != here.own {
            for (source, is_ipv4) in self.sources.iter_mut().zip([true, false]) {
                *source = primary(&here.own, is_ipv4).or(*source);
            }
            self.router.link(&here.own, now);
            self.own.clone_from(&here.own);
        }
        let mut ips = self.router.vip().addresses.iter().map(|it| it.ip);
        let present: Vec<bool> = ips.clone().map(|ip| here.all.contains(&ip)).collect();
        // What comes and goes at once is not there before or after.
        let is_removed = ips.any(|ip| here.removed.contains(&ip));
        if self.present.as_ref() != Some(&present) || is_removed {
            // One that has just become Active adds its addresses itself.
            if was_active || self.router.state() != State::Active {
                self.router.seen(&here.all, &here.removed, now);
            }
            self.present = Some(present);
        }
    }
}

/// What is on an interface.
#[derive(Debug)]
struct Here {
    index: u32,
    /// Its own addresses, in the kernel's order.
    own: Vec<IpAddr>,
    /// All addresses.
    all: BTreeSet<IpAddr>,
    /// Addresses that were removed.
    removed: BTreeSet<IpAddr>,
}

impl Fleet {
    /// The tables of a file, none of which takes part yet.
    ///
    /// # Errors
    ///
    /// If a table can't run; one that was read from a file can.
    pub(crate) fn new(config: Config, now: Instant) -> Result<Self, ConfigError> {
        let moving = moving(&config);
        let mut members = Vec::with_capacity(config.vips.len());
        for vip in config.vips {
            members.push(Member::new(vip, now)?);
        }
        Ok(Self {
            members,
            moving,
            by_vrid: BTreeMap::new(),
            due: BTreeSet::new(),
            touched: VecDeque::new(),
        })
    }

    /// The members, in the order of the file.
    pub(crate) fn members(&self) -> &[Member] {
        &self.members
    }

    /// Something has changed about interfaces: routers leave those that haven't their names any more,
    /// and take their addresses along. To be followed by [`update`](Self::update) once nothing is left
    /// to do.
    pub(crate) fn leave_renamed(&mut self, interfaces: &Interfaces, now: Instant) {
        for at in 0..self.members.len() {
            let index = interfaces.named(&self.members[at].vip().interface).map(|it| it.index);
            if self.members[at].index.is_some_and(|it| Some(it) != index) {
                self.members[at].leave(now);
                self.touch(at);
            }
        }
    }

    /// Something has changed about interfaces or their addresses.
    pub(crate) fn update(&mut self, interfaces: &Interfaces, now: Instant) {
        // Hundreds of tables may share an interface.
        let mut known: BTreeMap<String, Option<Here>> = BTreeMap::new();
        for at in 0..self.members.len() {
            let name = &self.members[at].vip().interface;
            if !known.contains_key(name) {
                known.insert(name.clone(), self.look(interfaces, name));
            }
            let here = known.get(name).and_then(Option::as_ref);
            self.members[at].update(interfaces, here, now);
            self.touch(at);
        }
        self.by_vrid.clear();
        for (at, member) in self.members.iter().enumerate() {
            for (place, vrid) in places(member) {
                self.by_vrid.insert((place, vrid.get()), at);
            }
        }
    }

    /// What is on the interface with this name, if there is one.
    fn look(&self, interfaces: &Interfaces, name: &str) -> Option<Here> {
        let index = interfaces.named(name)?.index;
        let own = interfaces.own(index, &self.moving);
        let all = interfaces.addresses(index).map(|it| it.ip).collect();
        Some(Here { index, own, all, removed: interfaces.removed(index).collect() })
    }

    /// Where to listen, and for which virtual routers.
    pub(crate) fn places(&self) -> impl Iterator<Item = (Place, Vrid)> + '_ {
        self.members.iter().flat_map(places)
    }

    /// A message came.
    pub(crate) fn heard(&mut self, heard: &Heard, now: Instant) {
        if let Some(at) = self.by_vrid.get(&(heard.place, heard.vrid)).copied() {
            self.members[at].history.received();
            self.members[at].router.received(&heard.message, heard.envelope, now);
            self.touch(at);
        }
    }

    /// The time is `now`: does what is due.
    pub(crate) fn handle_timeouts(&mut self, now: Instant) {
        let due = self.due.iter().take_while(|(deadline, _)| *deadline <= now);
        for at in due.map(|(_, at)| *at).collect::<Vec<usize>>() {
            self.members[at].router.handle_timeout(now);
            self.touch(at);
        }
    }

    /// The file has changed: what is not in it any more goes elsewhere. To be followed by
    /// [`reload`](Self::reload) once nothing is left to do.
    pub(crate) fn release_absent(&mut self, config: &Config, now: Instant) {
        for at in 0..self.members.len() {
            let is_there = config.vips.iter().any(|vip| is_same(vip, self.members[at].vip()));
            if !is_there {
                self.members[at].router.shut_down(now);
                self.touch(at);
            }
        }
    }

    /// The file has changed: from now on these are the tables. A table on the same interface with the
    /// same number goes on in its state. To be followed by [`update`](Self::update).
    ///
    /// # Errors
    ///
    /// See [`new`](Self::new); nothing has changed then.
    pub(crate) fn reload(&mut self, config: &Config, now: Instant) -> Result<(), ConfigError> {
        let mut next = Self::new(config.clone(), now)?;
        for member in &mut next.members {
            let known = self.members.iter().position(|it| is_same(it.vip(), member.vip()));
            let Some(at) = known else { continue };
            let mut kept = self.members.swap_remove(at);
            if kept.vip() != member.vip() {
                kept.router.reconfigure(member.vip().clone(), &kept.own, now)?;
                kept.tracked = vec![None; kept.vip().track.len()];
                kept.present = None;
            }
            kept.deadline = None;
            *member = kept;
        }
        *self = next;
        (0..self.members.len()).for_each(|at| self.touch(at));
        Ok(())
    }

    /// The program ends: every address goes elsewhere.
    pub(crate) fn shut_down(&mut self, now: Instant) {
        for at in 0..self.members.len() {
            self.members[at].router.shut_down(now);
            self.touch(at);
        }
    }

    /// Something that a table tracks is up or down: the table's name, and the place in its list. Returns
    /// what it is if that is news.
    pub(crate) fn tracked(
        &mut self,
        vip: &str,
        index: usize,
        up: bool,
        now: Instant,
    ) -> Option<&Tracked> {
        let at = self.members.iter().position(|it| it.vip().name == vip)?;
        if self.members[at].router.is_up(index)? == up {
            return None;
        }
        self.members[at].router.tracked(index, up, now);
        self.touch(at);
        self.members[at].vip().track.get(index).map(|it| &it.what)
    }

    /// An operator has decided about a table, or about all of them. Returns the names of those that
    /// there are.
    pub(crate) fn decide(
        &mut self,
        name: Option<&str>,
        decision: Decision,
        now: Instant,
    ) -> Vec<String> {
        let mut names = Vec::new();
        for at in 0..self.members.len() {
            let member = &mut self.members[at];
            if name.is_none_or(|name| name == member.vip().name) {
                names.push(member.vip().name.clone());
                member.router.decide(decision, now);
                self.touch(at);
            }
        }
        names
    }

    /// What was returned by [`poll`](Self::poll) is being done, and is part of the status.
    pub(crate) fn note(&mut self, at: usize, action: &Action, now: Instant) {
        self.members[at].history.note(action, now);
    }

    /// The status of each table.
    pub(crate) fn statuses(&self, now: Instant) -> Vec<VipStatus> {
        let members = self.members.iter();
        members.map(|it| VipStatus::new(&it.router, &it.history, now)).collect()
    }

    /// The state of each table.
    pub(crate) fn states(&self) -> impl Iterator<Item = State> + '_ {
        self.members.iter().map(|it| it.router.state())
    }

    /// What somebody else has to send after a crash.
    pub(crate) fn goodbyes(&self) -> impl Iterator<Item = Goodbye> + '_ {
        self.members.iter().flat_map(Member::goodbyes)
    }

    /// When to call [`handle_timeouts`](Self::handle_timeouts) at the latest.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.due.first().map(|(deadline, _)| *deadline)
    }

    /// The next thing to do, and for which member.
    pub(crate) fn poll(&mut self) -> Option<(usize, Action)> {
        while let Some(at) = self.touched.front().copied() {
            if let Some(action) = self.members[at].router.poll() {
                return Some((at, action));
            }
            self.touched.pop_front();
        }
        None
    }

    /// A member may have something to do, or another deadline.
    fn touch(&mut self, at: usize) {
        let member = &mut self.members[at];
        let next = member.router.deadline();
        let before = std::mem::replace(&mut member.deadline, next);
        if before != next {
            before.map(|it| self.due.remove(&(it, at)));
            self.due.extend(next.map(|it| (it, at)));
        }
        if self.touched.back() != Some(&at) {
            self.touched.push_back(at);
        }
    }
}

/// Whether two tables are one virtual router before and after a change.
fn is_same(one: &Vip, other: &Vip) -> bool {
    (&one.interface, one.router_id) == (&other.interface, other.router_id)
}

/// Every address of a file.
fn moving(config: &Config) -> BTreeSet<IpAddr> {
    config.vips.iter().flat_map(|vip| &vip.addresses).map(|it: &Address| it.ip).collect()
}

/// Where a member's virtual routers listen.
fn places(member: &Member) -> impl Iterator<Item = (Place, Vrid)> + '_ {
    let vip = member.vip();
    let families = [true, false].into_iter();
    let used =
        families.filter(|is_ipv4| vip.addresses.iter().any(|it| it.ip.is_ipv4() == *is_ipv4));
    let index = member.index();
    used.filter_map(move |is_ipv4| Some((Place { index: index?, is_ipv4 }, vip.router_id)))
}

#[cfg(test)]
mod tests;
