//! Virtual routers that move together.

use std::time::Instant;

use crate::machine::{Input, Machine, Output, State};

/// Virtual routers of which all are Active or none is: one for each family of addresses, or one on
/// each side of a router that must not be half of a path.
///
/// The group becomes Active once each member would be by itself, so it doesn't take over while a
/// single member still hears a better router. It stops being Active as soon as one member does,
/// whether because it heard a better router or because its interface is down. This is what
/// keepalived's `vrrp_sync_group` does.
///
/// Calls are those of [`Machine`], with the member's index in the order of
/// [`new`](Self::new). After each call, all members are Active or none is.
///
/// ```
/// use std::time::Instant;
/// use vrrp::{Config, Group, Input, Machine, State, Version, Vrid};
///
/// let vrid = Vrid::new(51).ok_or("not 0")?;
/// let inside = Machine::new(Config::new(Version::V3, vrid, ["10.9.0.1".parse()?]))?;
/// let outside = Machine::new(Config::new(Version::V3, vrid, ["192.0.2.1".parse()?]))?;
/// let mut group = Group::new([inside, outside]);
/// group.handle(0, Input::Up("10.9.0.2".parse()?), Instant::now());
/// // The other interface is down, so this one waits for as long as it takes.
/// let deadline = group.deadline().ok_or("a Backup waits")?;
/// group.handle_timeout(deadline);
/// assert_eq!(group.state(), State::Initialize);
///
/// group.handle(1, Input::Up("192.0.2.2".parse()?), deadline);
/// let deadline = group.deadline().ok_or("a Backup waits")?;
/// group.handle_timeout(deadline);
/// assert_eq!(group.state(), State::Active);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "vrrp_sync_group")]
#[derive(Clone, Debug)]
pub struct Group {
    members: Box<[Machine]>,
}

impl Group {
    /// A group of these, which must be in [`State::Initialize`]: a member that is Active already
    /// stays it until the next call.
    pub fn new(members: impl IntoIterator<Item = Machine>) -> Self {
        let mut members: Box<[_]> = members.into_iter().collect();
        members.iter_mut().for_each(Machine::hold);
        Self { members }
    }

    /// Something happened to a member. Does nothing if there is none with this index.
    pub fn handle(&mut self, member: usize, input: Input<'_>, now: Instant) {
        if let Some(machine) = self.members.get_mut(member) {
            machine.handle(input, now);
            self.settle(now);
        }
    }

    /// The time is `now`: does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        for member in &mut self.members {
            member.handle_timeout(now);
        }
        self.settle(now);
    }

    /// Becomes Active at once, whoever else may be: for a group that takes the place of an Active one,
    /// because its configuration has changed. Better routers hear its first advert, and take over if
    /// they preempt. Does nothing unless each member is Backup or Active.
    ///
    /// ```
    /// use std::time::Instant;
    /// use vrrp::{Config, Group, Input, Machine, State, Version, Vrid};
    ///
    /// let config = Config::new(Version::V3, Vrid::MIN, ["10.9.0.1".parse()?]).priority(50);
    /// let mut group = Group::new([Machine::new(config)?]);
    /// let now = Instant::now();
    /// group.resume(now);
    /// assert_eq!(group.state(), State::Initialize, "its interface is down");
    /// group.handle(0, Input::Up("10.9.0.2".parse()?), now);
    /// group.resume(now);
    /// assert_eq!(group.state(), State::Active);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn resume(&mut self, now: Instant) {
        if self.state() >= State::Backup {
            self.members.iter_mut().for_each(|member| member.take_over(now));
        }
    }

    /// The next thing to do for one of the members, if any.
    pub fn poll(&mut self) -> Option<(usize, Output)> {
        let members = self.members.iter_mut().enumerate();
        members.filter_map(|(index, member)| Some((index, member.poll()?))).next()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) at the latest.
    pub fn deadline(&self) -> Option<Instant> {
        self.members.iter().filter_map(Machine::deadline).min()
    }

    /// Active or Backup if all members are in that state or a higher one, otherwise Initialize.
    pub fn state(&self) -> State {
        self.members.iter().map(Machine::state).min().unwrap_or_default()
    }

    /// The members, in the order of [`new`](Self::new).
    pub fn members(&self) -> &[Machine] {
        &self.members
    }

    /// All or none.
    fn settle(&mut self, now: Instant) {
        if self.members.iter().all(Machine::is_willing) {
            self.members.iter_mut().for_each(|member| member.take_over(now));
        } else {
            self.members.iter_mut().for_each(|member| member.stand_down(now));
        }
    }
}
