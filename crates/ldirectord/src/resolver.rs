//! Looking up the names in a file: many at a time, and all of them within a limit.
//!
//! A look-up by the system's resolver may take half a minute if no name server answers, and can't be
//! broken off. One after the other, a file with a few names would take longer than systemd waits.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use ipvs::Family;

use crate::config::{Protocol, Surroundings};
use crate::file::{Broken, Source, Usable};
use crate::machine::{self, Files, Machine, Nameless, Relayed};

/// How long all look-ups together may take. A name server that answers at all does so in a few seconds,
/// the system's resolver tries the next one after 5, and whoever starts a daemon waits for 120.
const TIME: Duration = Duration::from_secs(20);

/// How many look-ups are under way at a time.
const AT_ONCE: usize = 16;

/// The stack of their threads: modules of the system's resolver run there.
const STACK: usize = 512 * 1024;

/// A host as a file names it, and the family that its address has to have.
type Name = (String, Family);

/// Reads what a file says and what that means, with its names looked up on this machine.
///
/// # Errors
///
/// All mistakes in the file. Names that could not be looked up in time are among them.
pub(crate) fn examine(source: &Source, others: &dyn Surroundings) -> Result<Usable, Broken> {
    read(source, &mut Names::new(others))
}

/// The same with files that another process has looked at, and with names that are known already.
/// Returns all names that are known then.
///
/// # Errors
///
/// As [`examine`].
pub(crate) fn examine_knowing(
    source: &Source,
    files: Files,
    known: machine::Names,
) -> Result<(Usable, machine::Names), Broken> {
    let hosts: Vec<_> = known.hosts().collect();
    let relayed = Relayed::new(files, known);
    let mut names = Names::new(&relayed);
    names.known.extend(hosts.into_iter().map(|(name, address)| (name, Some(address))));
    let usable = read(source, &mut names)?;
    let found = names.known;
    let mut known = relayed.names();
    for ((name, family), address) in found {
        if let Some(address) = address {
            known.insert_host(name, family, address);
        }
    }
    Ok((usable, known))
}

fn read(source: &Source, names: &mut Names<'_>) -> Result<Usable, Broken> {
    let deadline = Instant::now() + TIME;
    loop {
        let result = source.examine(names);
        let wanted = names.wanted.take();
        if wanted.is_empty() {
            return result;
        }
        let found = look_up(&wanted, deadline, |name, family| Machine.host(name, family));
        let all = wanted.into_iter().map(|name| (name.clone(), found.get(&name).copied()));
        names.known.extend(all);
    }
}

/// The names that are known, and everything else as `others` have it. What isn't known is noted, and
/// gets an address that stands for it, so that one reading finds as many names as possible.
struct Names<'a> {
    others: &'a dyn Surroundings,
    known: BTreeMap<Name, Option<IpAddr>>,
    wanted: RefCell<BTreeSet<Name>>,
    nameless: Nameless,
}

impl<'a> Names<'a> {
    fn new(others: &'a dyn Surroundings) -> Self {
        let (known, wanted) = (BTreeMap::new(), RefCell::default());
        Self { others, known, wanted, nameless: Nameless::default() }
    }
}

impl Surroundings for Names<'_> {
    fn host(&self, name: &str, family: Family) -> Option<IpAddr> {
        let name = (name.to_owned(), family);
        match self.known.get(&name) {
            Some(address) => *address,
            None => {
                let address = self.nameless.host(&name.0, family);
                self.wanted.borrow_mut().insert(name);
                address
            }
        }
    }

    fn port(&self, name: &str, protocol: Protocol) -> Option<u16> {
        self.others.port(name, protocol)
    }

    fn can_append(&self, path: &Path) -> io::Result<()> {
        self.others.can_append(path)
    }

    fn can_read(&self, path: &Path) -> io::Result<()> {
        self.others.can_read(path)
    }

    fn is_directory(&self, path: &Path) -> bool {
        self.others.is_directory(path)
    }
}

/// Looks up names, until the deadline. Those that have no address by then are missing.
fn look_up(
    names: &BTreeSet<Name>,
    deadline: Instant,
    host: impl Fn(&str, Family) -> Option<IpAddr> + Send + Sync + 'static,
) -> BTreeMap<Name, IpAddr> {
    let pending = Arc::new(Mutex::new(names.clone().into_iter()));
    let host = Arc::new(host);
    let (sender, results) = mpsc::channel();
    for _ in 0..AT_ONCE.min(names.len()) {
        let (pending, host, sender) = (Arc::clone(&pending), Arc::clone(&host), sender.clone());
        let work = move || {
            let next = || pending.lock().unwrap_or_else(PoisonError::into_inner).next();
            while let Some(name) = next().filter(|_| Instant::now() < deadline) {
                let address = host(&name.0, name.1);
                // Nobody waits for it any more.
                if sender.send((name, address)).is_err() {
                    return;
                }
            }
        };
        // The others do its work. Without any, nothing can be looked up now.
        let _ = thread::Builder::new().stack_size(STACK).spawn(work);
    }
    drop(sender);
    let mut found = BTreeMap::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        // All are done, or it is time.
        let Ok((name, address)) = results.recv_timeout(left) else { return found };
        found.extend(address.map(|address| (name, address)));
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::Condvar;

    use super::*;

    /// RFC 6761, section 6.4: nobody can know a name under `invalid`.
    #[test]
    fn a_name_that_is_known_is_not_looked_up() {
        let text = "virtual=10.0.0.1:80\n\treal=web1.invalid:80 gate\n\tchecktype=connect\n";
        let source = Source::new(Path::new("x.cf"), text.as_bytes(), 0o600);
        let mut known = machine::Names::default();
        let unknown = examine_knowing(&source, Files::default(), known.clone());
        assert!(unknown.expect_err("nobody knows it").message.contains("web1.invalid"));
        known.insert_host("web1.invalid".into(), Family::V4, Ipv4Addr::new(10, 0, 0, 2).into());
        let (usable, names) =
            examine_knowing(&source, Files::default(), known.clone()).expect("it is known");
        let real = usable.pools[0].members.keys().next().expect("a real server");
        assert_eq!(real.to_string(), "10.0.0.2:80");
        assert_eq!(names, known);
    }

    /// Longer than anything takes on a busy machine.
    const LONG: Duration = Duration::from_secs(60);

    fn names(count: usize) -> BTreeSet<Name> {
        (0..count).map(|n| (format!("web{n}"), Family::V4)).collect()
    }

    #[test]
    fn as_many_as_allowed_are_looked_up_at_a_time() {
        let all = names(3 * AT_ONCE);
        let under_way = Arc::new((Mutex::new([0, 0]), Condvar::new()));
        let state = Arc::clone(&under_way);
        let found = look_up(&all, Instant::now() + LONG, move |_, _| {
            let (counts, changed) = &*state;
            let mut counts_now = counts.lock().unwrap();
            counts_now[0] += 1;
            counts_now[1] = counts_now[1].max(counts_now[0]);
            changed.notify_all();
            // Nobody goes on before so many have come.
            let full = |counts: &mut [usize; 2]| counts[1] < AT_ONCE;
            let (mut counts_now, _) = changed.wait_timeout_while(counts_now, LONG, full).unwrap();
            counts_now[0] -= 1;
            Some(Ipv4Addr::LOCALHOST.into())
        });
        assert_eq!(found.len(), all.len());
        assert_eq!(under_way.0.lock().unwrap()[1], AT_ONCE);
    }

    #[test]
    fn who_never_answers_is_not_waited_for() {
        let (never, wait) = mpsc::channel::<()>();
        let wait = Mutex::new(wait);
        let started = Instant::now();
        let found = look_up(&names(1), started + Duration::from_millis(50), move |_, _| {
            let _ = wait.lock().unwrap().recv();
            Some(Ipv4Addr::LOCALHOST.into())
        });
        assert!(found.is_empty() && started.elapsed() < LONG);
        drop(never);
    }

    #[test]
    fn names_are_found_whatever_their_addresses_are() {
        // The addresses that stand for the names are in the wrong order, and the end of the range is
        // known only as a name.
        let text = "virtual=localhost:80\n\treal=localhost->localhost:80 gate\n\tchecktype=off\n";
        let usable = examine(&source(text), &Machine).expect("localhost is known");
        let service = &usable.config.services[0];
        assert_eq!(service.reals[0].addresses().collect::<Vec<_>>(), [Ipv4Addr::LOCALHOST]);
    }

    fn source(text: &str) -> Source {
        Source::new(Path::new("x.cf"), text.as_bytes(), 0o600)
    }

    /// RFC 2606 reserves `.invalid`: no name server knows it.
    #[test]
    fn only_a_file_whose_names_alone_are_wrong_may_become_right_by_itself() {
        let unknown = "virtual=nobody.invalid:80\n\treal=nobody.invalid:80 gate\n\tchecktype=off\n";
        let broken = examine(&source(unknown), &Machine).expect_err("nobody knows the name");
        assert!(broken.transient && broken.line == Some(1), "{broken:?}");
        let wrong = format!("{unknown}virtual=10.0.0.1:80\n\tscheduler=lbrc\n");
        let broken = examine(&source(&wrong), &Machine).expect_err("and there is no lbrc");
        assert!(!broken.transient, "{broken:?}");
    }
}
