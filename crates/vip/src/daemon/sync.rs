//! The kernel's synchronization daemon, on a thread of its own: its calls wait for the kernel.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use ipvs::{Client, InterfaceName, SyncDaemon, SyncRole};

use crate::config::{Config, Sync};
use crate::router::Role;
use crate::say;

/// The pause before a failed attempt is repeated, the first and the longest.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);

/// The stack of the thread: it calls nothing deep.
const STACK: usize = 128 * 1024;

/// What is wanted. Only the newest counts.
#[derive(Debug, Default)]
struct Wanted {
    what: Option<(Sync, Role)>,
    /// Counts the wishes, so that the thread sees a new one while it is at work.
    number: u64,
    /// The last one that was fulfilled.
    done: u64,
}

#[derive(Debug, Default)]
struct Shared {
    wanted: Mutex<Wanted>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Wanted> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Has the kernel's daemon be master or backup.
#[derive(Debug)]
pub(crate) struct SyncThread(Arc<Shared>);

impl SyncThread {
    /// Starts the thread, if a table of the file has work for it. It ends with the process.
    pub(crate) fn start_for(config: &Config) -> io::Result<Option<Self>> {
        if config.vips.iter().all(|it| it.sync.is_none()) {
            return Ok(None);
        }
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let builder = thread::Builder::new().name("sync".to_owned()).stack_size(STACK);
        builder.spawn(move || work(&theirs, switch))?;
        Ok(Some(Self(shared)))
    }

    /// From now on it has to be this. Whatever was wanted before is forgotten.
    pub(crate) fn set(&self, sync: &Sync, role: Role) {
        let mut wanted = self.0.lock();
        wanted.what = Some((sync.clone(), role));
        wanted.number += 1;
        self.0.changed.notify_all();
    }

    /// Waits until it is what it has to be, at most for this long.
    pub(crate) fn settle(&self, limit: Duration) {
        let wanted = self.0.lock();
        let pending = |wanted: &mut Wanted| wanted.done != wanted.number;
        drop(self.0.changed.wait_timeout_while(wanted, limit, pending));
    }
}

/// Fulfills one wish after the other.
fn work(shared: &Shared, switch: impl Fn(&Sync, Role) -> Result<(), String>) {
    let mut pause = FIRST;
    let mut failed = None;
    loop {
        let mut wanted = shared.lock();
        if failed == Some(wanted.number) {
            let number = wanted.number;
            let same = |wanted: &mut Wanted| wanted.number == number;
            let waited = shared.changed.wait_timeout_while(wanted, pause, same);
            wanted = waited.unwrap_or_else(PoisonError::into_inner).0;
            pause = (pause * 2).min(LONGEST);
        } else {
            let idle = |wanted: &mut Wanted| wanted.number == wanted.done;
            let waited = shared.changed.wait_while(wanted, idle);
            wanted = waited.unwrap_or_else(PoisonError::into_inner);
        }
        let number = wanted.number;
        if failed != Some(number) {
            pause = FIRST;
        }
        let Some((sync, role)) = wanted.what.clone() else { continue };
        drop(wanted);
        match switch(&sync, role) {
            Ok(()) => {
                failed = None;
                shared.lock().done = number;
                shared.changed.notify_all();
                say::log(format_args!("the kernel's synchronization daemon is {role}"));
            }
            Err(error) => {
                if failed != Some(number) {
                    say::log(format_args!(
                        "cannot make the kernel's synchronization daemon {role}: {error}; trying again"
                    ));
                }
                failed = Some(number);
            }
        }
    }
}

/// Starts the daemon of this role, and stops the other.
fn switch(sync: &Sync, role: Role) -> Result<(), String> {
    let (role, other) = match role {
        Role::Master => (SyncRole::Master, SyncRole::Backup),
        Role::Backup => (SyncRole::Backup, SyncRole::Master),
    };
    let interface: InterfaceName = sync.interface.parse().map_err(|_| "no such name".to_owned())?;
    let daemon = SyncDaemon::new(role, interface).sync_id(sync.id);
    let mut client = Client::connect().map_err(|it| it.to_string())?;
    // Both can run at once, so there is no moment without one.
    client.ensure_sync_daemon(&daemon).map_err(|it| it.to_string())?;
    client.remove_sync_daemon(other).map_err(|it| it.to_string())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::time::Instant;

    use super::*;

    fn sync() -> Sync {
        Sync { interface: "eth0".into(), id: 7 }
    }

    /// A thread that tells what it was asked to do, and does it as `switch` says.
    fn start(
        switch: impl Fn(&Sync, Role, &Sender<Role>) -> Result<(), String> + Send + 'static,
    ) -> (SyncThread, Receiver<Role>) {
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let (sender, receiver) = channel();
        thread::spawn(move || work(&theirs, |sync, role| switch(sync, role, &sender)));
        (SyncThread(shared), receiver)
    }

    const LIMIT: Duration = Duration::from_secs(60);

    #[test]
    fn the_newest_wish_wins() {
        let (go, gate) = channel::<()>();
        let gate = Mutex::new(gate);
        let (thread, asked) = start(move |_, role, sender| {
            let _ = sender.send(role);
            let _ = gate.lock().map(|gate| gate.recv());
            Ok(())
        });
        thread.set(&sync(), Role::Backup);
        assert_eq!(asked.recv_timeout(LIMIT), Ok(Role::Backup));
        // It is at work; of what comes meanwhile only the last is done.
        for _ in 0..100 {
            thread.set(&sync(), Role::Master);
            thread.set(&sync(), Role::Backup);
        }
        thread.set(&sync(), Role::Master);
        drop(go);
        assert_eq!(asked.recv_timeout(LIMIT), Ok(Role::Master));
        thread.settle(LIMIT);
        assert_eq!(asked.try_iter().count(), 0);
        assert_eq!(thread.0.lock().done, 202);
    }

    #[test]
    fn a_failure_is_tried_again_and_a_new_wish_at_once() {
        let failures = Mutex::new(1);
        let (thread, asked) = start(move |_, role, sender| {
            let _ = sender.send(role);
            let mut left = failures.lock().unwrap_or_else(PoisonError::into_inner);
            if role == Role::Backup && *left > 0 {
                *left -= 1;
                return Err("no such device".to_owned());
            }
            Ok(())
        });
        thread.set(&sync(), Role::Backup);
        for _ in 0..2 {
            assert_eq!(asked.recv_timeout(LIMIT), Ok(Role::Backup));
        }
        thread.settle(LIMIT);
        thread.set(&sync(), Role::Master);
        assert_eq!(asked.recv_timeout(LIMIT), Ok(Role::Master));
    }

    #[test]
    fn nobody_waits_for_a_kernel_that_does_nothing() {
        let (thread, _asked) = start(|_, _, _| Err("no".to_owned()));
        thread.set(&sync(), Role::Backup);
        let start = Instant::now();
        thread.settle(Duration::from_millis(10));
        assert!(start.elapsed() < LIMIT);
    }
}
