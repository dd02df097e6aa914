//! One virtual router: RFC 9568 §6.4, without sockets and without a clock.

use std::collections::VecDeque;
use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::config::{Config, ConfigError, Mismatch};
use crate::packet::{Advert, Interval, Received, Version};
use crate::timers::{active_down, skew};
use crate::{OWNER, Preempt, RELEASE};

/// The state of a virtual router (RFC 9568 §6.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// It takes no part: its interface is down, it was shut down, or its priority is 0.
    #[default]
    Initialize,
    /// It watches the Active router.
    Backup,
    /// It has the addresses. "Master" up to RFC 5798.
    #[doc(alias = "Master")]
    Active,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Initialize => "Initialize",
            Self::Backup => "Backup",
            Self::Active => "Active",
        })
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Input<'a> {
    /// The interface is up, and this is its primary address: the Startup event. Over IPv6 it is the
    /// link-local address. Once up, a new address replaces the former one; an address of the other
    /// family is ignored.
    Up(IpAddr),
    /// The interface is down. Nothing can be sent.
    Down,
    /// An advert arrived.
    Received(&'a Received),
    /// The priority is this from now on. 0 has the router leave until it is set to something else.
    /// 255 is the owner's, and the owner has no other: what doesn't fit becomes 254 or 255.
    Priority(u8),
    /// The Shutdown event: the router leaves, until the next [`Input::Up`].
    Shutdown,
}

/// What to do, in the order in which it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Output {
    /// Send an advert with this priority to each of [`Config::destinations`];
    /// [`Machine::message`] has the bytes.
    Send {
        /// 0 on leaving, otherwise the router's.
        priority: u8,
    },
    /// Put the virtual router's addresses on the interface.
    AddAddresses,
    /// Take them away.
    RemoveAddresses,
    /// Tell the link where the addresses are: gratuitous ARP, or unsolicited neighbor
    /// advertisements.
    #[doc(alias = "gratuitous ARP")]
    Announce,
    /// The state changed. This comes last of what a change gives.
    State {
        /// The state before.
        from: State,
        /// The state now.
        to: State,
        /// Why it changed.
        reason: Reason,
    },
    /// An advert was discarded. The same sender may cause one of these for each advert, so limit
    /// how often you log it.
    Refused {
        /// The sender.
        from: IpAddr,
        /// What is wrong.
        mismatch: Mismatch,
    },
    /// An advert has other addresses than this router. It counts nevertheless.
    AddressesDiffer {
        /// The sender.
        from: IpAddr,
    },
}

/// Why a state changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The interface came up.
    Up,
    /// The interface went down.
    Down,
    /// It was shut down.
    Shutdown,
    /// No advert of a router that is at least as good came for the whole `Active_Down_Interval`.
    Silence,
    /// Another Active router has a higher priority, or the same and a higher address.
    Better {
        /// The other router.
        from: IpAddr,
        /// Its priority.
        priority: u8,
    },
    /// The program, or the machine, stood still for so long that another router must have taken
    /// over.
    Overslept,
    /// The priority was set to 0, or to something else again.
    Priority,
    /// The sync group decided.
    Group,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Up => f.write_str("the interface is up"),
            Self::Down => f.write_str("the interface is down"),
            Self::Shutdown => f.write_str("shut down"),
            Self::Silence => f.write_str("no better router is active"),
            Self::Better { from, priority } => write!(f, "{from} has priority {priority}"),
            Self::Overslept => f.write_str("stood still for too long"),
            Self::Priority => f.write_str("the priority was changed"),
            Self::Group => f.write_str("its group moves together"),
        }
    }
}

/// A virtual router.
///
/// It has no socket and no clock: you pass in what happens and the time, and do what it says. The
/// time must not go backwards. Calls are of three kinds:
///
/// - **In**: [`handle`](Self::handle) whenever something happens, and
///   [`handle_timeout`](Self::handle_timeout) at the [`deadline`](Self::deadline).
/// - **Out**: after each of these, [`poll`](Self::poll) until it returns None, then `deadline`.
///   [`message`](Self::message) has the bytes of an advert to send.
/// - **Read**: [`state`](Self::state), [`priority`](Self::priority) and [`config`](Self::config),
///   at any time.
///
/// If adverts and the deadline are due at once, because the program stood still, pass in the
/// adverts first: they may show that the Active router is alive. A call with the deadline passed
/// is never wrong, whichever comes first; an early `handle_timeout` does nothing.
///
/// ```
/// use std::time::{Duration, Instant};
/// use vrrp::{Config, Input, Machine, Output, Reason, State, Version, Vrid};
///
/// let vrid = Vrid::new(51).ok_or("not 0")?;
/// let mut router = Machine::new(Config::new(Version::V3, vrid, ["10.9.0.100".parse()?]))?;
/// let start = Instant::now();
/// router.handle(Input::Up("10.9.0.2".parse()?), start);
/// let reason = Reason::Up;
/// let (from, to) = (State::Initialize, State::Backup);
/// assert_eq!(router.poll(), Some(Output::State { from, to, reason }));
///
/// // Nobody is Active: after 3 × 1 s and 156/256 s it takes over.
/// let deadline = router.deadline().ok_or("a Backup waits")?;
/// assert_eq!(deadline - start, Duration::from_micros(3_609_375));
/// router.handle_timeout(deadline);
/// assert_eq!(router.poll(), Some(Output::Send { priority: 100 }));
/// assert_eq!(router.poll(), Some(Output::AddAddresses));
/// assert_eq!(router.poll(), Some(Output::Announce));
/// assert_eq!(router.state(), State::Active);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Machine {
    config: Config,
    /// The current one: that of the configuration, or what tracking made of it.
    priority: u8,
    state: State,
    /// Whether the interface is up and nobody shut the router down.
    up: bool,
    /// The interface's address. It outlives `up`, for the last advert.
    primary: Option<IpAddr>,
    /// `Active_Adver_Interval`: the Active router's.
    active_interval: Interval,
    /// `Adver_Timer` in Active, `Active_Down_Timer` in Backup.
    timer: Option<Instant>,
    /// When to repeat the announcement.
    announce_at: Option<Instant>,
    /// With a preempt delay: when it ends. Set by the first advert of a lower priority.
    preempt_at: Option<Instant>,
    /// Whether an expired `Active_Down_Timer` was prolonged, because it was handled late.
    prolonged: bool,
    /// Whether becoming Active is the group's decision.
    held: bool,
    /// If held: whether it would be Active by itself.
    willing: bool,
    outputs: VecDeque<Output>,
}

impl Machine {
    /// A virtual router in Initialize.
    ///
    /// # Errors
    ///
    /// If the configuration contradicts itself or the protocol.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        config.validate()?;
        Ok(Self {
            priority: config.priority,
            active_interval: config.interval,
            config,
            state: State::Initialize,
            up: false,
            primary: None,
            timer: None,
            announce_at: None,
            preempt_at: None,
            prolonged: false,
            held: false,
            willing: false,
            outputs: VecDeque::new(),
        })
    }

    /// Something happened at `now`.
    pub fn handle(&mut self, input: Input<'_>, now: Instant) {
        if self.state == State::Active {
            // Only its own timer tells an Active router that it slept, and whatever it says
            // before that would be a lie.
            self.handle_timeout(now);
        }
        match input {
            Input::Up(primary) => self.up(primary, now),
            Input::Down => self.leave(Reason::Down),
            Input::Shutdown => self.leave(Reason::Shutdown),
            Input::Priority(priority) => self.set_priority(priority, now),
            Input::Received(received) => self.received(received, now),
        }
    }

    /// The time is `now`: does what is due. Does nothing before the [`deadline`](Self::deadline).
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Some(timer) = self.timer.filter(|timer| *timer <= now) {
            let late = now.saturating_duration_since(timer);
            match self.state {
                State::Initialize => self.timer = None,
                State::Backup => self.active_is_silent(late, now),
                State::Active => self.advertise(timer, late, now),
            }
        }
        if self.announce_at.is_some_and(|at| at <= now) {
            self.announce_at = None;
            self.outputs.push_back(Output::Announce);
        }
    }

    /// The next thing to do, if any.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) at the latest. None if only an input
    /// can change anything.
    pub fn deadline(&self) -> Option<Instant> {
        [self.timer, self.announce_at].into_iter().flatten().min()
    }

    /// The state.
    pub const fn state(&self) -> State {
        self.state
    }

    /// The current priority. 0 while it was told to leave.
    pub const fn priority(&self) -> u8 {
        self.priority
    }

    /// The configuration.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// The address that its adverts come from. None before the first [`Input::Up`].
    pub const fn primary(&self) -> Option<IpAddr> {
        self.primary
    }

    /// The advert for [`Output::Send`].
    pub fn advert(&self, priority: u8) -> Advert {
        self.config.advert(priority)
    }

    /// The bytes of the advert for [`Output::Send`], to be sent from the primary address to
    /// `destination`, with protocol [`PROTOCOL`](crate::PROTOCOL) and hop limit
    /// [`HOP_LIMIT`](crate::HOP_LIMIT). None before the first [`Input::Up`], and for a destination
    /// of another family.
    pub fn message(&self, priority: u8, destination: IpAddr) -> Option<Vec<u8>> {
        let mut message = Vec::new();
        let advert = self.advert(priority);
        advert.encode(self.primary?, destination, self.config.checksum, &mut message).ok()?;
        Some(message)
    }

    fn up(&mut self, primary: IpAddr, now: Instant) {
        if primary.is_ipv4() != self.config.is_ipv4() {
            return;
        }
        self.primary = Some(primary);
        if !self.up {
            self.up = true;
            if self.priority != RELEASE {
                self.start_up(Reason::Up, now);
            }
        }
    }

    /// §6.4.1: the Startup event.
    fn start_up(&mut self, reason: Reason, now: Instant) {
        self.active_interval = self.config.interval;
        self.preempt_at = None;
        if self.config.is_owner() {
            self.would_be_active(reason, now);
        } else {
            self.be_backup(reason, self.active_down(), now);
        }
    }

    /// Leaves, with a last advert if that can still be sent.
    fn leave(&mut self, reason: Reason) {
        self.up = false;
        self.be_out(reason);
    }

    fn set_priority(&mut self, priority: u8, now: Instant) {
        let priority = match priority {
            RELEASE => RELEASE,
            _ if self.config.is_owner() => OWNER,
            _ => priority.min(OWNER - 1),
        };
        let before = std::mem::replace(&mut self.priority, priority);
        if !self.up || before == priority {
            return;
        }
        if priority == RELEASE {
            self.be_out(Reason::Priority);
        } else if before == RELEASE {
            self.start_up(Reason::Priority, now);
        } else if self.state == State::Active {
            // Better routers need not wait for the next one.
            self.send();
            self.timer = now.checked_add(self.config.interval.as_duration());
        }
    }

    fn received(&mut self, received: &Received, now: Instant) {
        let Received { advert, envelope, .. } = received;
        let from = envelope.source;
        if self.state == State::Initialize || self.primary == Some(from) {
            // The latter is a switch that sends back what it got.
            return;
        }
        if let Err(mismatch) = self.config.check(received) {
            self.outputs.push_back(Output::Refused { from, mismatch });
            return;
        }
        if !self.config.has_addresses_of(advert) {
            self.outputs.push_back(Output::AddressesDiffer { from });
        }
        if self.state == State::Active {
            self.received_as_active(advert, from, now);
        } else {
            self.received_as_backup(advert, now);
        }
    }

    /// §6.4.2: an advert in Backup.
    fn received_as_backup(&mut self, advert: &Advert, now: Instant) {
        if advert.is_release() {
            self.watch(self.skew(), now);
        } else if advert.priority >= self.priority {
            self.preempt_at = None;
            self.learn(advert);
            self.watch(self.active_down(), now);
        } else if !self.preempts(now) {
            self.learn(advert);
            self.watch(self.active_down(), now);
        }
    }

    /// §6.4.3: an advert in Active.
    fn received_as_active(&mut self, advert: &Advert, from: IpAddr, now: Instant) {
        let priority = advert.priority;
        let is_better = priority > self.priority
            || priority == self.priority && self.primary.is_some_and(|ours| from > ours);
        if advert.is_release() {
            self.send();
            self.timer = now.checked_add(self.config.interval.as_duration());
        } else if is_better {
            self.learn(advert);
            self.be_backup(Reason::Better { from, priority }, self.active_down(), now);
        } else {
            // The other one may have announced the addresses, and has to step down.
            self.send();
            self.announce(now);
        }
    }

    /// Whether it may take over from a router of lower priority that is Active now.
    fn preempts(&mut self, now: Instant) -> bool {
        match self.config.preempt {
            _ if self.config.is_owner() => true,
            Preempt::Always => true,
            Preempt::Never => false,
            Preempt::After(delay) => match self.preempt_at {
                Some(at) => at <= now,
                None => {
                    // Longer than the clock lasts is never.
                    self.preempt_at = now.checked_add(delay);
                    delay.is_zero()
                }
            },
        }
    }

    /// The `Active_Down_Timer` fired, this much too late.
    fn active_is_silent(&mut self, late: Duration, now: Instant) {
        let interval = self.active_interval.as_duration();
        if late > interval && !self.prolonged {
            // Not the Active router may have been silent but this program deaf. An Active router
            // is heard within an interval; the skew keeps the order of those who wake together.
            self.watch(interval + self.skew(), now);
            self.prolonged = true;
        } else {
            self.would_be_active(Reason::Silence, now);
        }
    }

    /// The `Adver_Timer` fired, this much too late.
    fn advertise(&mut self, timer: Instant, late: Duration, now: Instant) {
        let interval = self.config.interval.as_duration();
        if late > self.own_active_down() && !self.config.is_owner() {
            // Everybody who listens has missed more than three adverts, so somebody else is Active.
            self.active_interval = self.config.interval;
            let wait = match self.config.preempt {
                Preempt::Always => interval + self.skew(),
                Preempt::After(_) | Preempt::Never => self.active_down(),
            };
            self.be_backup(Reason::Overslept, wait, now);
            return;
        }
        self.send();
        if late > 2 * interval {
            // Somebody may have taken over for a moment, and announced the addresses.
            self.announce(now);
        }
        // On time, the next one is due an interval after this one was, not after it was sent.
        let next = timer.checked_add(interval).filter(|next| *next > now);
        self.timer = next.or_else(|| now.checked_add(interval));
    }

    fn skew(&self) -> Duration {
        skew(self.config.version, self.priority, self.active_interval)
    }

    fn active_down(&self) -> Duration {
        active_down(self.config.version, self.priority, self.active_interval)
    }

    /// As others see it while it is Active.
    fn own_active_down(&self) -> Duration {
        active_down(self.config.version, self.priority, self.config.interval)
    }

    /// Version 3 goes by the Active router's interval. In version 2 it is the same everywhere.
    fn learn(&mut self, advert: &Advert) {
        if self.config.version == Version::V3 {
            self.active_interval = advert.interval;
        }
    }

    /// Sets the `Active_Down_Timer`.
    fn watch(&mut self, wait: Duration, now: Instant) {
        self.timer = now.checked_add(wait);
        self.prolonged = false;
        self.willing = false;
    }

    fn send(&mut self) {
        self.outputs.push_back(Output::Send { priority: self.priority });
    }

    fn announce(&mut self, now: Instant) {
        self.outputs.push_back(Output::Announce);
        let again = self.config.announce_again;
        if self.announce_at.is_none() && !again.is_zero() {
            self.announce_at = now.checked_add(again);
        }
    }

    /// Nothing keeps it from being Active, except its group.
    fn would_be_active(&mut self, reason: Reason, now: Instant) {
        if self.held {
            if self.state == State::Initialize {
                self.change(State::Backup, reason);
            }
            self.timer = None;
            self.willing = true;
        } else {
            self.be_active(reason, now);
        }
    }

    fn be_active(&mut self, reason: Reason, now: Instant) {
        // The advert comes first: it makes the former Active router let go of the addresses.
        self.send();
        self.outputs.push_back(Output::AddAddresses);
        self.announce(now);
        self.timer = now.checked_add(self.config.interval.as_duration());
        self.preempt_at = None;
        self.willing = false;
        self.change(State::Active, reason);
    }

    fn be_backup(&mut self, reason: Reason, wait: Duration, now: Instant) {
        self.lose_addresses();
        self.watch(wait, now);
        self.change(State::Backup, reason);
    }

    fn be_out(&mut self, reason: Reason) {
        if self.state == State::Initialize {
            return;
        }
        if self.state == State::Active && reason != Reason::Down {
            self.outputs.push_back(Output::Send { priority: RELEASE });
        }
        self.lose_addresses();
        self.timer = None;
        self.willing = false;
        self.change(State::Initialize, reason);
    }

    fn lose_addresses(&mut self) {
        self.announce_at = None;
        if self.state == State::Active {
            self.outputs.push_back(Output::RemoveAddresses);
        }
    }

    fn change(&mut self, to: State, reason: Reason) {
        let from = std::mem::replace(&mut self.state, to);
        self.outputs.push_back(Output::State { from, to, reason });
    }
}

/// What a group does with its members.
impl Machine {
    /// From now on the group decides when it becomes Active.
    pub(crate) fn hold(&mut self) {
        self.held = true;
    }

    /// Whether it is Active, or would be.
    pub(crate) fn is_willing(&self) -> bool {
        self.willing || self.state == State::Active
    }

    /// Becomes Active if it isn't.
    pub(crate) fn take_over(&mut self, now: Instant) {
        if self.state != State::Active {
            self.be_active(Reason::Group, now);
        }
    }

    /// Leaves Active, but goes on watching.
    pub(crate) fn stand_down(&mut self, now: Instant) {
        if self.state == State::Active {
            self.outputs.push_back(Output::Send { priority: RELEASE });
            self.active_interval = self.config.interval;
            self.be_backup(Reason::Group, self.active_down(), now);
        }
    }
}
