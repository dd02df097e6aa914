//! Every operation ends at its deadline if no reply comes, and says that its outcome is unknown.

use std::io;
use std::time::{Duration, Instant};

use ipvs::{
    Batch, Client, Destination, Error, ErrorKind, InterfaceName, Operation, Service, ServiceKey,
    SyncDaemon, SyncRole, TimeoutsChange, Transport,
};

#[allow(dead_code, reason = "each test binary needs a part of it")]
mod script;

use script::{Act, Script, script};

/// Long enough to tell an operation that waits from one that doesn't.
const TIMEOUT: Duration = Duration::from_millis(50);

/// How much later than its deadline an operation may end on a busy machine.
const DELAY: Duration = Duration::from_secs(5);

type Call = fn(&mut Client<&mut Script>) -> Result<(), Error>;

fn key() -> ServiceKey {
    ServiceKey::tcp("10.10.10.53:80".parse().expect("an address"))
}

fn server() -> Destination {
    Destination::new("10.10.10.102:80".parse().expect("an address"))
}

/// All operations that ask the kernel; connections are read from a file.
const CALLS: [(Operation, Call); 27] = [
    (Operation::Info, |client| client.info().map(drop)),
    (Operation::Timeouts, |client| client.timeouts().map(drop)),
    (Operation::SetTimeouts, |client| {
        let udp = Some(Duration::from_secs(300));
        client.set_timeouts(TimeoutsChange { udp, ..Default::default() })
    }),
    (Operation::Services, |client| client.services().map(drop)),
    (Operation::Service, |client| client.service(&key()).map(drop)),
    (Operation::AddService, |client| client.add_service(&Service::new(key()))),
    (Operation::SetService, |client| client.set_service(&Service::new(key()))),
    (Operation::DeleteService, |client| client.delete_service(&key())),
    (Operation::Destinations, |client| client.destinations(&key()).map(drop)),
    (Operation::AddDestination, |client| client.add_destination(&key(), &server())),
    (Operation::SetDestination, |client| client.set_destination(&key(), &server())),
    (Operation::DeleteDestination, |client| client.delete_destination(&key(), server().key())),
    (Operation::SyncDaemons, |client| client.sync_daemons().map(drop)),
    (Operation::StartSyncDaemon, |client| {
        let interface = InterfaceName::new("eth0").expect("a name");
        client.start_sync_daemon(&SyncDaemon::new(SyncRole::Master, interface))
    }),
    (Operation::StopSyncDaemon, |client| client.stop_sync_daemon(SyncRole::Backup)),
    (Operation::Zero, |client| client.zero(None)),
    (Operation::Zero, |client| client.zero(Some(&key()))),
    (Operation::Flush, |client| client.flush()),
    // Those that read first fail there.
    (Operation::Services, |client| client.snapshot().map(drop)),
    (Operation::Destination, |client| client.destination(&key(), server().key()).map(drop)),
    (Operation::SetService, |client| client.edit_service(&key(), |_| ()).map(drop)),
    (Operation::Destination, |client| {
        client.edit_destination(&key(), &server().key(), |_| ()).map(drop)
    }),
    (Operation::Service, |client| client.ensure_service(&Service::new(key())).map(drop)),
    (Operation::Destination, |client| client.ensure_destination(&key(), &server()).map(drop)),
    (Operation::DeleteService, |client| client.remove_service(&key()).map(drop)),
    (Operation::DeleteDestination, |client| {
        client.remove_destination(&key(), server().key()).map(drop)
    }),
    // Of several windows, only the first is waited for.
    (Operation::AddService, |client| {
        let mut batch = Batch::new();
        for _ in 0..1000 {
            batch.add_service(&Service::new(key()));
        }
        let mut results = client.run(&batch).into_iter();
        let first = results.next().expect("a result for each");
        let last = results.next_back().expect("a result for each").expect_err("it wasn't sent");
        assert_eq!(last.kind(), ErrorKind::NotSent);
        first
    }),
];

#[test]
fn silence_ends_every_operation_at_its_deadline() {
    for (operation, call) in CALLS {
        let mut script = script([Act::Silence]);
        let mut client = Client::with_transport(&mut script).expect("the family is known");
        client.set_timeout(TIMEOUT);
        let started = Instant::now();
        let error = call(&mut client).expect_err("nothing answers");
        let elapsed = started.elapsed();
        assert_eq!((error.kind(), error.operation()), (ErrorKind::OutcomeUnknown, operation));
        assert!((TIMEOUT..TIMEOUT + DELAY).contains(&elapsed), "{operation:?}: {elapsed:?}");
        assert!(format!("{error:#}").ends_with("read back to see whether the change was made"));
    }
}

/// An operation that has to ask again doesn't keep getting the full time again: it also ends if
/// that second reply is missing.
#[test]
fn silence_after_an_answer_is_silence() {
    let question: Call = |client| client.destinations(&key()).map(drop);
    let stop: Call = |client| client.stop_sync_daemon(SyncRole::Master);
    for (call, first) in [(question, Act::Answer(0)), (stop, Act::SkipFirst)] {
        let mut script = script([first, Act::Silence]);
        let mut client = Client::with_transport(&mut script).expect("the family is known");
        client.set_timeout(TIMEOUT);
        let started = Instant::now();
        let error = call(&mut client).expect_err("the second question isn't answered");
        assert_eq!(error.kind(), ErrorKind::OutcomeUnknown);
        assert!(started.elapsed() < TIMEOUT + DELAY);
    }
}

/// A timeout longer than any clock can represent is limited.
#[test]
fn an_endless_timeout_is_a_long_one() {
    let mut script = script([Act::Answer(0)]);
    let mut client = Client::with_transport(&mut script).expect("the family is known");
    client.set_timeout(Duration::MAX);
    client.flush().expect("it was answered");
}

/// The other end never replies, and waiting for it takes no time.
#[derive(Debug, Default)]
struct Nobody {
    deadlines: Vec<Duration>,
}

impl Transport for Nobody {
    fn send(&mut self, _datagram: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn receive(&mut self, _buffer: &mut Vec<u8>) -> io::Result<bool> {
        Ok(false)
    }

    fn wait(&mut self, deadline: Instant) -> io::Result<bool> {
        self.deadlines.push(deadline.saturating_duration_since(Instant::now()));
        Ok(false)
    }

    fn reset(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// It has a client's default timeout.
#[test]
fn connecting_has_a_deadline_too() {
    let mut nobody = Nobody::default();
    let error = Client::with_transport(&mut nobody).expect_err("nobody answers");
    assert_eq!((error.kind(), error.operation()), (ErrorKind::OutcomeUnknown, Operation::Connect));
    assert_eq!(nobody.deadlines.len(), 1);
    assert!(nobody.deadlines[0] <= Duration::from_secs(10), "{:?}", nobody.deadlines);
}

/// After connecting, sends endless replies, none of them to a request that was made.
struct Flood {
    kernel: ipvs_model::Kernel,
    started: Option<Instant>,
}

impl Transport for Flood {
    fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        self.kernel.send(datagram)
    }

    fn receive(&mut self, buffer: &mut Vec<u8>) -> io::Result<bool> {
        if self.kernel.receive(buffer)? {
            return Ok(true);
        }
        let started = *self.started.get_or_insert_with(Instant::now);
        assert!(started.elapsed() < TIMEOUT + DELAY, "there's no end to it");
        // An acknowledgement of request 0, which nobody sends.
        ipvs_sys::Writer::error(buffer, 0, 0, &ipvs_sys::ErrorMessage::default());
        Ok(true)
    }

    fn reset(&mut self) -> io::Result<()> {
        self.kernel.reset()
    }
}

#[test]
fn a_stray_reply_does_not_extend_the_deadline() {
    let kernel = ipvs_model::Kernel::new();
    let flood = Flood { kernel: kernel.clone(), started: None };
    let mut client = Client::with_transport(flood).expect("the family is known");
    client.set_timeout(TIMEOUT);
    kernel.fail(ipvs_model::Fault::on(Operation::Flush).lost_answer()).expect("a request");
    let error = client.flush().expect_err("nothing answers");
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown);
    assert_eq!(client.services().expect("it answers again"), []);
}
