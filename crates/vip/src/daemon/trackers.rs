//! Scripts and services that priorities depend on, as events of the loop.

use std::path::PathBuf;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags};

use super::feeds::{FOLDER, Subscription};
use super::processes::{Ended, Processes, Start};
use super::source::{Source, take_own};
use crate::config::{Config, Tracked};
use crate::track::{Script, Wanted};

/// Something that is tracked went up or down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// The name of the table.
    pub(crate) vip: String,
    /// The place in its list of what is tracked.
    pub(crate) index: usize,
    /// Whether it is up.
    pub(crate) up: bool,
    /// Why, for people. None if what is tracked says it all.
    pub(crate) reason: Option<String>,
}

/// Who wants to know: the names of tables, and the places in their lists.
type Users = Vec<(String, usize)>;

/// All scripts and services of a file. Tables that track the same share it.
#[derive(Debug)]
pub(crate) struct Trackers {
    scripts: Vec<TrackedScript>,
    instances: Vec<Instance>,
    processes: Processes,
    /// The key of the next script.
    next: u64,
    /// Where instances of `ldirectord` listen.
    folder: PathBuf,
}

#[derive(Debug)]
struct TrackedScript {
    what: Tracked,
    users: Users,
    key: u64,
    script: Script,
}

#[derive(Debug)]
struct Instance {
    name: String,
    /// The services, by their numbers.
    services: Vec<(Tracked, Users)>,
    subscription: Subscription,
}

impl Trackers {
    /// Nothing is tracked yet.
    pub(crate) fn new() -> Self {
        Self {
            scripts: Vec::new(),
            instances: Vec::new(),
            processes: Processes::default(),
            next: 0,
            folder: FOLDER.into(),
        }
    }

    /// From now on this is tracked. What was tracked before goes on, and the others are killed. Returns
    /// what is known already, for tables that don't know it.
    pub(crate) fn set(&mut self, config: &Config, now: Instant) -> Vec<Verdict> {
        let mut tracked: Vec<(&Tracked, Users)> = Vec::new();
        for vip in &config.vips {
            for (index, track) in vip.track.iter().enumerate() {
                let user = (vip.name.clone(), index);
                match tracked.iter_mut().find(|(what, _)| **what == track.what) {
                    Some((_, users)) => users.push(user),
                    None => tracked.push((&track.what, vec![user])),
                }
            }
        }
        self.set_scripts(&tracked, now);
        self.set_services(&tracked, now);
        let mut verdicts = Vec::new();
        for it in &self.scripts {
            verdicts.extend(it.script.is_up().into_iter().flat_map(|up| tell(&it.users, up, None)));
        }
        for instance in &self.instances {
            for (number, (_, users)) in instance.services.iter().enumerate() {
                let up = instance.subscription.is_up(number);
                verdicts.extend(up.into_iter().flat_map(|up| tell(users, up, None)));
            }
        }
        verdicts
    }

    fn set_scripts(&mut self, tracked: &[(&Tracked, Users)], now: Instant) {
        let mut before = std::mem::take(&mut self.scripts);
        for (what, users) in tracked {
            let Tracked::Script { every, rise, fall, .. } = what else { continue };
            let known = before.iter().position(|it| it.what == **what);
            let script = known.map_or_else(
                || {
                    self.next += 1;
                    let script = Script::new(*every, *rise, *fall, now);
                    TrackedScript {
                        what: (*what).clone(),
                        users: Vec::new(),
                        key: self.next,
                        script,
                    }
                },
                |at| before.swap_remove(at),
            );
            self.scripts.push(TrackedScript { users: users.clone(), ..script });
        }
        for gone in before {
            self.processes.kill(gone.key);
        }
    }

    fn set_services(&mut self, tracked: &[(&Tracked, Users)], now: Instant) {
        let mut instances: Vec<(String, Vec<(Tracked, Users)>)> = Vec::new();
        for (what, users) in tracked {
            let Tracked::Service { instance, .. } = what else { continue };
            let service = ((*what).clone(), users.clone());
            match instances.iter_mut().find(|(name, _)| name == instance) {
                Some((_, services)) => services.push(service),
                None => instances.push((instance.clone(), vec![service])),
            }
        }
        let mut before = std::mem::take(&mut self.instances);
        for (name, services) in instances {
            let same = |it: &Instance| {
                it.name == name
                    && it.services.iter().map(|(what, _)| what).eq(services.iter().map(|it| &it.0))
            };
            let subscription = match before.iter().position(same) {
                Some(at) => before.swap_remove(at).subscription,
                None => {
                    let wanted = services.iter().filter_map(|(what, _)| wanted(what));
                    Subscription::new(&self.folder, &name, wanted, now)
                }
            };
            self.instances.push(Instance { name, services, subscription });
        }
    }

    /// Starts what is due.
    fn start(&mut self, now: Instant, verdicts: &mut Vec<Verdict>) {
        for it in &mut self.scripts {
            let Tracked::Script { command, timeout, .. } = &it.what else { continue };
            if !it.script.is_due(now) {
                continue;
            }
            let start = Start {
                key: it.key,
                command: command.clone(),
                variables: Vec::new(),
                timeout: *timeout,
            };
            let reason = match self.processes.start(start, now) {
                Ok(true) => continue,
                Ok(false) => "the one before can't be killed".to_owned(),
                Err(error) => format!("cannot be started: {error}"),
            };
            let up = it.script.ended(false, now);
            verdicts.extend(up.into_iter().flat_map(|up| tell(&it.users, up, Some(&reason))));
        }
    }

    fn ended(&mut self, ended: &Ended, now: Instant) -> Vec<Verdict> {
        // A script that isn't tracked any more may end, too.
        let Some(it) = self.scripts.iter_mut().find(|it| it.key == ended.key) else {
            return Vec::new();
        };
        let failure = ended.outcome.failure();
        let up = it.script.ended(failure.is_none(), now);
        up.into_iter().flat_map(|up| tell(&it.users, up, failure.as_deref())).collect()
    }
}

impl Drop for Trackers {
    /// No script goes on without anybody who wants to know.
    fn drop(&mut self) {
        for it in &self.scripts {
            self.processes.kill(it.key);
        }
    }
}

impl Source for Trackers {
    type Event = Verdict;

    fn register<'a>(&'a self, to: &mut Vec<PollFd<'a>>) {
        for it in &self.instances {
            it.subscription.register(to);
        }
        self.processes.register(to);
    }

    fn deadline(&self) -> Option<Instant> {
        let scripts = self.scripts.iter().filter_map(|it| it.script.deadline());
        let instances = self.instances.iter().filter_map(|it| it.subscription.deadline());
        scripts.chain(instances).chain(self.processes.deadline()).min()
    }

    fn turn(&mut self, ready: &[PollFlags], now: Instant) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        let mut rest = ready;
        for it in &mut self.instances {
            let own = take_own(&it.subscription, &mut rest);
            for (number, up) in it.subscription.turn(own, now) {
                if let Some((_, users)) = it.services.get(number) {
                    verdicts.extend(tell(users, up, None));
                }
            }
        }
        for ended in self.processes.turn(rest, now) {
            verdicts.extend(self.ended(&ended, now));
        }
        self.start(now, &mut verdicts);
        verdicts
    }
}

/// A verdict for each of these.
fn tell(users: &[(String, usize)], up: bool, reason: Option<&str>) -> Vec<Verdict> {
    let verdict = |(vip, index): &(String, usize)| Verdict {
        vip: vip.clone(),
        index: *index,
        up,
        reason: reason.map(str::to_owned),
    };
    users.iter().map(verdict).collect()
}

fn wanted(what: &Tracked) -> Option<Wanted> {
    match what {
        Tracked::Service { service, min_up, silence, .. } => {
            Some(Wanted { service: *service, min_up: *min_up, silence: *silence })
        }
        Tracked::Interface(_) | Tracked::Script { .. } => None,
    }
}

#[cfg(test)]
mod tests;
