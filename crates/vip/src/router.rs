//! One table `[[vip]]` at work: its virtual routers, what their priority depends on, and what is to be
//! done about addresses, without sockets and without a clock.

mod contest;

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::net::IpAddr;
use std::time::Instant;

use vrrp::{
    Config, ConfigError, Envelope, Group, Input, Machine, Output, Reason, Received, State, Tracker,
};

use crate::config::{Address, Vip};

use self::contest::{Contest, Defeat, TOLERATED, WINDOW};

/// The priority of a router that an operator prefers: the highest that isn't an owner's.
const PREFERRED: u8 = vrrp::OWNER - 1;

/// What to do, in the order in which it comes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Send an advert, from the interface's own address.
    Send {
        /// To whom: a multicast group, or a peer.
        to: IpAddr,
        /// The message, for [`vrrp::PROTOCOL`] and with [`vrrp::HOP_LIMIT`].
        message: Vec<u8>,
    },
    /// Put an address on the interface.
    Add(Address),
    /// Take an address off the interface.
    Remove(Address),
    /// Tell neighbors that an address is here, as [`announce`](crate::announce) does; keepalived does
    /// so five times at once.
    Announce(IpAddr),
    /// Something else has removed this address, and it is put back: for the log.
    Contested(IpAddr),
    /// The kernel's synchronization daemon has to be this one.
    Sync(Role),
    /// The state changed: for the log, and for the command of `notify`.
    State {
        /// The state now.
        to: State,
        /// Why, for people.
        reason: String,
    },
    /// Somebody's advert isn't what it should be. The same sender may cause one for each advert, so
    /// limit how often it is logged.
    Noted {
        /// The sender.
        from: IpAddr,
        /// What is wrong, for people.
        what: String,
    },
}

/// Which of the kernel's two daemons synchronizes connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// It sends them: the addresses are here.
    Master,
    /// It receives them.
    Backup,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Master => "master",
            Self::Backup => "backup",
        })
    }
}

/// What an operator has decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Decision {
    /// Nothing: priorities decide.
    #[default]
    None,
    /// The addresses go elsewhere, and don't come here.
    Release,
    /// The addresses come here, unless something that is tracked with weight 0 is down, or something
    /// else removes them. An owner is preferred already.
    Prefer,
}

/// The addresses of a table `[[vip]]`, and who has them.
///
/// Calls are those of [`vrrp::Machine`]: tell it what happens, with the time; call
/// [`handle_timeout`](Self::handle_timeout) at its [`deadline`](Self::deadline); after each of these do
/// what [`poll`](Self::poll) returns, in that order.
///
/// ```
/// use std::time::Instant;
/// use vip::router::{Action, Role, Router};
/// use vrrp::State;
///
/// let file = "[[vip]]\nname = \"front\"\ninterface = \"eth0\"\nrouter_id = 51\naddresses = [\"10.9.0.100\"]\n\
///             sync = { interface = \"eth0\" }\n";
/// let vip = vip::config::parse(file).unwrap().vips.remove(0);
/// let mut router = Router::new(vip)?;
/// router.link(&["10.9.0.2".parse()?], Instant::now());
/// assert_eq!(router.poll(), Some(Action::Sync(Role::Backup)));
///
/// // Nobody else has the address.
/// let deadline = router.deadline().ok_or("it waits")?;
/// router.handle_timeout(deadline);
/// assert_eq!(router.state(), State::Active);
/// let actions: Vec<Action> = std::iter::from_fn(|| router.poll()).collect();
/// assert!(actions.contains(&Action::Announce("10.9.0.100".parse()?)));
/// assert!(actions.contains(&Action::Sync(Role::Master)));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Router {
    vip: Vip,
    group: Group,
    tracker: Tracker<usize>,
    decision: Decision,
    contest: Contest,
    /// What the members were told.
    priority: u8,
    /// What the kernel's daemon was told to be.
    role: Option<Role>,
    actions: VecDeque<Action>,
}

impl Router {
    /// A router that takes no part yet: its interface counts as down, and what it tracks as up.
    ///
    /// # Errors
    ///
    /// If no virtual router can run with this. A table that [`parse`](crate::config::parse) has
    /// accepted can.
    pub fn new(vip: Vip) -> Result<Self, ConfigError> {
        let machines: Result<Vec<Machine>, ConfigError> = vip.routers().map(Machine::new).collect();
        let mut tracker = Tracker::new(vip.priority);
        for (index, track) in vip.track.iter().enumerate() {
            tracker.track(index, track.weight, true);
        }
        let priority = tracker.priority();
        Ok(Self {
            group: Group::new(machines?),
            tracker,
            decision: Decision::default(),
            contest: Contest::default(),
            priority,
            role: None,
            actions: VecDeque::new(),
            vip,
        })
    }

    /// The interface is up and has these addresses of its own, or it is down and has none. For each
    /// family the first counts; over IPv6 that is the first link-local one. A family without an address
    /// can't send adverts, so the whole router waits for it.
    pub fn link(&mut self, own: &[IpAddr], now: Instant) {
        self.tell_link(own, now);
        self.settle();
    }

    fn tell_link(&mut self, own: &[IpAddr], now: Instant) {
        for member in 0..self.group.members().len() {
            let v4 = self.group.members()[member].config().is_ipv4();
            let input = match primary(own, v4) {
                Some(address) => Input::Up(address),
                None => Input::Down,
            };
            // What is tracked may have changed it before there was anything to tell.
            self.group.handle(member, Input::Priority(self.priority), now);
            self.group.handle(member, input, now);
        }
    }

    /// A message of VRRP came over the interface.
    pub fn received(&mut self, message: &[u8], envelope: Envelope, now: Instant) {
        let from = envelope.source;
        match Received::decode(message, envelope) {
            // Other virtual routers of the link are nobody's mistake.
            Ok(received) if received.advert.vrid != self.vip.router_id => {}
            Ok(received) => {
                let same = |it: &Machine| it.config().is_ipv4() == from.is_ipv4();
                if let Some(member) = self.group.members().iter().position(same) {
                    self.group.handle(member, Input::Received(&received), now);
                }
            }
            Err(error) => self.actions.push_back(Action::Noted { from, what: error.to_string() }),
        }
        self.settle();
    }

    /// Something that is tracked went up or down: by its place in [`Vip::track`].
    pub fn tracked(&mut self, index: usize, up: bool, now: Instant) {
        if self.tracker.set(&index, up) {
            self.follow_priority(now);
            self.settle();
        }
    }

    /// An operator has decided.
    pub fn decide(&mut self, decision: Decision, now: Instant) {
        self.decision = decision;
        self.follow_priority(now);
        self.settle();
    }

    /// These addresses are on the interface, and those were removed from it since the last call, by
    /// whomever. Ours that are missing come back, and those that have no business there go.
    ///
    /// An address that something else removes for the fourth time within ten seconds isn't put back any
    /// more. This router leaves, so that another one may have the addresses, and tries again after a
    /// pause: 5 s at first, then twice as long each time, 5 minutes at most.
    pub fn seen(&mut self, present: &BTreeSet<IpAddr>, removed: &BTreeSet<IpAddr>, now: Instant) {
        let active = self.state() == State::Active;
        let mut is_lost = false;
        for address in &self.vip.addresses {
            match (active, present.contains(&address.ip)) {
                (true, false) => {
                    if removed.contains(&address.ip) {
                        if !self.contest.removed(address.ip, now) {
                            is_lost = true;
                            break;
                        }
                        self.actions.push_back(Action::Contested(address.ip));
                    }
                    self.actions.push_back(Action::Add(*address));
                    self.actions.push_back(Action::Announce(address.ip));
                }
                (false, true) => self.actions.push_back(Action::Remove(*address)),
                _ => {}
            }
        }
        if is_lost {
            self.follow_priority(now);
            self.settle();
        }
    }

    /// The table has changed. The interface and the number of the virtual router are the same, and
    /// `own` is what [`link`](Self::link) was told last. A router that is Active stays it: the addresses
    /// that are in both tables are there all the time.
    ///
    /// What was decided and what is known of what both tables track goes on.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new); nothing has changed then.
    pub fn reconfigure(
        &mut self,
        vip: Vip,
        own: &[IpAddr],
        now: Instant,
    ) -> Result<(), ConfigError> {
        let mut next = Self::new(vip)?;
        for (index, track) in next.vip.track.iter().enumerate() {
            let same = self.vip.track.iter().position(|it| it.what == track.what);
            let is_up = same.and_then(|same| self.is_up(same)).unwrap_or(true);
            next.tracker.set(&index, is_up);
        }
        next.decision = self.decision;
        next.follow_priority(now);
        let state = self.state();
        next.tell_link(own, now);
        if state == State::Active {
            next.group.resume(now);
        }
        if next.state() != state {
            self.shut_down(now);
        } else if next.vip.sync == self.vip.sync {
            next.role = self.role;
        }
        next.settle();
        let mut actions = std::mem::take(&mut self.actions);
        // It is no change of state that there is another table.
        let is_news = |it: &Action| !matches!(it, Action::State { to, .. } if *to == state);
        actions.extend(std::mem::take(&mut next.actions).into_iter().filter(is_news));
        if (state, next.state()) == (State::Active, State::Active) {
            // Last, as an address may stay with another length of prefix.
            let stays = |it: &&Address| next.vip.addresses.contains(it);
            let goes = self.vip.addresses.iter().filter(|it| !stays(it)).copied();
            actions.extend(goes.map(Action::Remove));
        }
        *self = Self { actions, ..next };
        Ok(())
    }

    /// The program ends: another router takes over after its skew.
    pub fn shut_down(&mut self, now: Instant) {
        for member in 0..self.group.members().len() {
            self.group.handle(member, Input::Shutdown, now);
        }
        self.settle();
    }

    /// What is to be sent for a router that can't say it itself any more, as its program has crashed:
    /// adverts with a priority of 0 to each destination, after which another router takes over within
    /// its skew (RFC 9568 §6.4.2). None unless the addresses are here.
    pub fn goodbyes(&self) -> impl Iterator<Item = (IpAddr, Vec<u8>)> + '_ {
        let active = self.group.members().iter().filter(|it| it.state() == State::Active);
        active.flat_map(|it| messages(it, vrrp::RELEASE))
    }

    /// The time is `now`: does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.contest.handle_timeout(now) {
            self.follow_priority(now);
        }
        self.group.handle_timeout(now);
        self.settle();
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) at the latest.
    pub fn deadline(&self) -> Option<Instant> {
        [self.group.deadline(), self.contest.deadline()].into_iter().flatten().min()
    }

    /// The next thing to do, if any.
    pub fn poll(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Active if the addresses are here.
    pub fn state(&self) -> State {
        self.group.state()
    }

    /// The priority now: 0 if it may not have the addresses.
    pub const fn priority(&self) -> u8 {
        self.priority
    }

    /// What an operator has decided.
    pub const fn decision(&self) -> Decision {
        self.decision
    }

    /// The address that something else removes again and again, while this router therefore leaves it
    /// to others.
    pub fn contested(&self) -> Option<IpAddr> {
        self.contest.defeat().map(|it| it.ip)
    }

    /// Whether something that is tracked is up, by its place in [`Vip::track`].
    pub fn is_up(&self, index: usize) -> Option<bool> {
        self.tracker.get(&index)
    }

    /// Which daemon the kernel was last told to have, if connections are synchronized.
    pub fn role(&self) -> Option<Role> {
        self.role.filter(|_| self.vip.sync.is_some())
    }

    /// What it was made of.
    pub const fn vip(&self) -> &Vip {
        &self.vip
    }

    /// Passes on the priority that follows from all of this.
    fn follow_priority(&mut self, now: Instant) {
        let tracked = self.tracker.priority();
        let priority = match self.decision {
            _ if self.contest.defeat().is_some() => vrrp::RELEASE,
            Decision::Release => vrrp::RELEASE,
            Decision::Prefer if tracked != vrrp::RELEASE => tracked.max(PREFERRED),
            Decision::None | Decision::Prefer => tracked,
        };
        if std::mem::replace(&mut self.priority, priority) != priority {
            for member in 0..self.group.members().len() {
                self.group.handle(member, Input::Priority(priority), now);
            }
        }
    }

    /// Why the state of a member has changed, for people.
    fn reason(&self, to: State, reason: Reason) -> String {
        if let (State::Initialize, Some(defeat)) = (to, self.contest.defeat()) {
            return lost(defeat);
        }
        match reason {
            // A group becomes Active once each of its members would be, and that is why.
            Reason::Group if to == State::Active && self.vip.priority == vrrp::OWNER => {
                "it owns the addresses".to_owned()
            }
            Reason::Group if to == State::Active => Reason::Silence.to_string(),
            reason => reason.to_string(),
        }
    }

    /// Takes what the virtual routers want done.
    fn settle(&mut self) {
        let (mut states, mut losers, mut has_lost) = (Vec::new(), Vec::new(), false);
        while let Some((member, output)) = self.group.poll() {
            let Some(machine) = self.group.members().get(member) else { continue };
            match output {
                Output::Send { priority } => self.actions.extend(adverts(machine, priority)),
                Output::AddAddresses => {
                    let added = of(&self.vip, machine.config()).map(Action::Add);
                    self.actions.extend(added);
                }
                Output::RemoveAddresses => {
                    let removed = of(&self.vip, machine.config()).map(Action::Remove);
                    self.actions.extend(removed);
                }
                Output::Announce => {
                    let announced = of(&self.vip, machine.config());
                    self.actions.extend(announced.map(|it| Action::Announce(it.ip)));
                }
                Output::State { from, to, reason } => {
                    has_lost |= matches!(reason, Reason::Better { .. });
                    if (from, to) == (State::Active, State::Backup) {
                        losers.push(member);
                    }
                    states.push(self.reason(to, reason));
                }
                Output::Refused { from, mismatch } => {
                    self.actions.push_back(Action::Noted { from, what: mismatch.to_string() });
                }
                Output::AddressesDiffer { from } => {
                    let what = "its advert has other addresses than this router".to_owned();
                    self.actions.push_back(Action::Noted { from, what });
                }
                _ => {}
            }
        }
        // Where two were Active, as after a partition, neighbors may have heard of this one last. The
        // other one announces the addresses again if it hears a worse router than itself, and this
        // one has stepped down before it said anything. (RFC 9568 §6.4.3 doesn't ask for that.)
        for member in losers.into_iter().filter(|_| has_lost) {
            if let Some(machine) = self.group.members().get(member) {
                self.actions.extend(adverts(machine, machine.priority()));
            }
        }
        let role = if self.state() == State::Active { Role::Master } else { Role::Backup };
        let changed = self.role.replace(role) != Some(role);
        if changed && self.vip.sync.is_some() {
            self.actions.push_back(Action::Sync(role));
        }
        // Members change together, each with its own reason; the last one completes the change.
        if let Some(reason) = states.pop() {
            self.actions.push_back(Action::State { to: self.state(), reason });
        }
    }
}

/// Why a router leaves that something else takes its addresses from, for people.
fn lost(Defeat { ip, pause, .. }: Defeat) -> String {
    format!(
        "something else has removed {ip} {} times within {} s; the next try is in {} s",
        TOLERATED + 1,
        WINDOW.as_secs(),
        pause.as_secs(),
    )
}

/// An advert with this priority, to each destination. Peers may be the same list on all machines, so one
/// of them may be this one.
fn messages(machine: &Machine, priority: u8) -> impl Iterator<Item = (IpAddr, Vec<u8>)> + '_ {
    let message = move |to| Some((to, machine.message(priority, to)?));
    let others = |to: &IpAddr| machine.primary() != Some(*to);
    machine.config().destinations().into_iter().filter(others).filter_map(message)
}

/// The same, to be sent.
fn adverts(machine: &Machine, priority: u8) -> impl Iterator<Item = Action> + '_ {
    messages(machine, priority).map(|(to, message)| Action::Send { to, message })
}

/// The addresses of the virtual router with this configuration.
fn of<'a>(vip: &'a Vip, config: &Config) -> impl Iterator<Item = Address> + use<'a> {
    let v4 = config.is_ipv4();
    vip.addresses.iter().copied().filter(move |it| it.ip.is_ipv4() == v4)
}

/// The address that adverts come from.
pub(crate) fn primary(own: &[IpAddr], v4: bool) -> Option<IpAddr> {
    own.iter().copied().find(|address| match address {
        IpAddr::V4(_) => v4,
        // fe80::/10, RFC 4291 §2.5.6.
        IpAddr::V6(address) => !v4 && address.segments()[0] & 0xffc0 == 0xfe80,
    })
}

#[cfg(test)]
mod tests;
