//! Whatever goes wrong between a client and the kernel, no call waits forever or reports something
//! untrue, and the next one works.
//!
//! Thousands of random calls are made over a wire with random faults: replies are lost, late,
//! duplicated or cut off; system calls fail; the kernel is out of memory; the module is reloaded in
//! the middle. The kernel is the model, so it is known what really happened. Nothing takes time on
//! that wire: a client that would wait is told at once that its deadline has passed.
//!
//! Every run uses the same seeds and one new one. `IPVS_TEST_SEED` is a single seed to run,
//! `IPVS_TEST_RUNS` the number of seeds to run.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "faults/call.rs"]
mod call;
#[path = "faults/change.rs"]
mod change;
#[path = "faults/fault.rs"]
mod fault;
#[path = "faults/found.rs"]
mod found;
#[path = "faults/judge.rs"]
mod judge;
#[path = "faults/wire.rs"]
mod wire;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{env, process, thread};

use ipvs::{Change, Client, ErrorKind, Stats, SyncRole};
use ipvs_model::Kernel;
use splitmix::Random;

use call::{Call, Said};
use fault::{Fault, Severity};
use wire::{Handled, Socket, Wire};

/// The default number of seeds.
const RUNS: u64 = 300;
/// The number of disturbed calls made with each.
const CALLS: usize = 12;
/// How long a seed may take before it counts as hanging; it normally takes milliseconds.
const TIMEOUT: Duration = Duration::from_secs(60);

fn number_from_env(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

#[test]
fn whatever_goes_wrong_no_call_hangs_or_says_what_is_not_true() {
    let seeds: Vec<u64> = match number_from_env("IPVS_TEST_SEED") {
        Some(seed) => vec![seed],
        None => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
            let runs = number_from_env("IPVS_TEST_RUNS").unwrap_or(RUNS);
            (0..runs.saturating_sub(1)).chain([now]).collect()
        }
    };
    let watchdog = Watchdog::new();
    let mut tally = Tally::default();
    for seed in &seeds {
        watchdog.begin(*seed);
        let run = catch_unwind(AssertUnwindSafe(|| run(*seed, &mut tally)));
        if run.is_err() {
            panic!("IPVS_TEST_SEED={seed} fails: see above");
        }
    }
    println!("{} seeds, the last IPVS_TEST_SEED={}", seeds.len(), seeds[seeds.len() - 1]);
    println!("{tally:#?}");
    if seeds.len() as u64 >= RUNS {
        tally.assert_wide();
    }
}

/// Counts of what happened in all runs.
#[derive(Debug, Default)]
struct Tally {
    calls: usize,
    disturbed: usize,
    said: BTreeMap<String, usize>,
    faults: BTreeMap<String, usize>,
}

impl Tally {
    fn count(&mut self, said: &Said, wire: &Wire) {
        self.calls += 1;
        self.disturbed += usize::from(!wire.applied.is_empty());
        let word = |text: String| text.split(['(', ',']).next().unwrap_or_default().to_owned();
        for fault in &wire.applied {
            *self.faults.entry(word(format!("{fault:?}"))).or_default() += 1;
        }
        if wire.severity() == Severity::Lying {
            return;
        }
        let mut count = |text: String| *self.said.entry(text).or_default() += 1;
        match said {
            Said::Changes(claims) => {
                for claim in claims {
                    count(format!("a change: {claim:?}"));
                }
            }
            Said::Wrote(result) => count(format!("an ensured change: {result:?}")),
            Said::Read(Ok(answer)) => count(format!("read: {}", word(format!("{answer:?}")))),
            Said::Read(Err(kind)) => count(format!("read: {kind:?}")),
        }
    }

    /// The absence of failures shows little if little was tried.
    fn assert_wide(&self) {
        assert!(self.disturbed > self.calls / 5, "most calls were undisturbed");
        let missing: Vec<_> = FAULTS.iter().filter(|it| !self.faults.contains_key(**it)).collect();
        assert!(missing.is_empty(), "never came about: {missing:?}");
        let kinds = ["Done", "Unknown", "NotSent", "Failed(Io, None)", "Failed(OutOfMemory"];
        for kind in kinds {
            let said = self.said.keys().any(|it| it.starts_with(&format!("a change: {kind}")));
            assert!(said, "no change was {kind}");
        }
    }
}

const FAULTS: [&str; 24] = [
    "CutAt",
    "Doubled",
    "Earlier",
    "Flipped",
    "Garbage",
    "Interrupted",
    "LateFrom",
    "ListChanged",
    "ListFails",
    "LostFrom",
    "Malformed",
    "Missing",
    "NoAcknowledgement",
    "Noop",
    "OtherNumber",
    "Overrun",
    "ReceiveFails",
    "Refused",
    "Reload",
    "Rival",
    "SendFails",
    "Shuffled",
    "Split",
    "Twice",
];

/// Some calls, each disturbed, and one undisturbed after each.
fn run(seed: u64, tally: &mut Tally) {
    let mut random = Random::new(seed);
    let kernel = kernel(&mut random);
    let wire = Rc::new(RefCell::new(Wire::new(kernel.clone(), Random::new(random.next_u64()))));
    let mut client = connect(&mut random, &wire);
    for _ in 0..CALLS {
        let mut plan: Vec<_> = (0..random.pick(&[1, 1, 1, 2, 3]))
            .map(|_| (random.pick(&[0, 0, 0, 0, 1, 1, 2]), Fault::random(&mut random)))
            .collect();
        // They affect few calls, and make no difference to the others.
        let silence = random.pick(&[Fault::NoAcknowledgement, Fault::Interrupted]);
        plan.extend(random.one_in(3).then_some((0, silence)));
        for plan in [plan, Vec::new()] {
            let mut call = Call::random(&mut random, &kernel);
            if plan.iter().any(|(_, it)| *it == silence) && random.one_in(2) {
                let role = random.pick(&[SyncRole::Master, SyncRole::Backup]);
                call = Call::Change(Change::StopSyncDaemon(role));
            }
            wire.borrow_mut().begin(plan);
            let said = {
                let context = Context { call: &call, wire: &wire };
                let said = call.make(&mut client);
                drop(context);
                said
            };
            let mut wire = wire.borrow_mut();
            if let Err(wrong) = judge::judge(&call, &said, &wire, &kernel) {
                panic!(
                    "{wrong}\ncall: {call:?}\nsaid: {said:?}\nfaults: {:?}\nrequests: {:?}",
                    wire.applied,
                    wire.log.iter().map(Handled::summary).collect::<Vec<_>>()
                );
            }
            tally.count(&said, &wire);
            wire.end();
        }
    }
}

/// A kernel with some objects in it.
fn kernel(random: &mut Random) -> Kernel {
    let kernel = Kernel::new();
    let mut client = Client::with_transport(kernel.clone()).unwrap();
    for _ in 0..random.below(30) {
        let change = change::change(random);
        // The kernel refuses some of them.
        let _ = client.change(&change);
        if let Change::AddDestination { service, destination } = change {
            let stats = Stats::default().connections(random.below(100) as u64).incoming_bytes(1);
            let _ = kernel.count(&service, &destination.key(), &stats);
        }
    }
    kernel
}

/// Connects, which may fail at first, but then must succeed.
fn connect(random: &mut Random, wire: &Rc<RefCell<Wire>>) -> Client<Socket> {
    for plan in [vec![(0, Fault::random(random))], Vec::new()] {
        wire.borrow_mut().reopen();
        wire.borrow_mut().begin(plan);
        let client = Client::with_transport(Socket(Rc::clone(wire)));
        let mut wire = wire.borrow_mut();
        let excused = wire.severity() >= Severity::Failed;
        assert!(wire.waits <= 1);
        wire.end();
        match client {
            // A family that isn't IPVS's would be noticed, but not by this test.
            Ok(client) if wire.severity() < Severity::Lying => return client,
            Ok(_) => {}
            Err(error) => {
                assert!(excused, "{:?}: {error}", wire.applied);
                let lying = wire.severity() == Severity::Lying;
                assert!(lying || error.kind() != ErrorKind::NotAvailable, "{:?}", wire.applied);
            }
        }
    }
    panic!("an undisturbed client didn't connect");
}

/// Says what was running when something panics.
struct Context<'a> {
    call: &'a Call,
    wire: &'a RefCell<Wire>,
}

impl Drop for Context<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            let faults = self.wire.try_borrow().map(|wire| wire.applied.clone());
            eprintln!("call: {:?}\nfaults: {faults:?}", self.call);
        }
    }
}

/// Ends the process if a seed takes too long, because nothing else would.
struct Watchdog(mpsc::Sender<u64>);

impl Watchdog {
    fn new() -> Self {
        let (sender, seeds) = mpsc::channel();
        thread::spawn(move || {
            let mut last = None;
            loop {
                match seeds.recv_timeout(TIMEOUT) {
                    Ok(seed) => last = Some(seed),
                    Err(RecvTimeoutError::Disconnected) => return,
                    Err(RecvTimeoutError::Timeout) => {
                        eprintln!("IPVS_TEST_SEED={last:?} hangs");
                        process::abort();
                    }
                }
            }
        });
        Self(sender)
    }

    fn begin(&self, seed: u64) {
        // It ends only after this.
        let _ = self.0.send(seed);
    }
}
