//! What writing requests and reading lists allocates: nothing for each request and for each entry.
//!
//! Counts are those of the calling thread, so that tests may run side by side.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::hint::black_box;

use allocation_counter::measure;
use ipvs::proto::{Request, RequestKind};
use ipvs::{Batch, Client, Service, SyncDaemon, SyncRole, Timeouts};
use ipvs_benches::micro::ours::{self, Windows, key};
use ipvs_benches::micro::replay::Replay;
use ipvs_benches::micro::samples;
use ipvs_sys::{Body, Command, Daemon, DaemonState, Info, Message, Messages, Name, Writer, ctrl};

/// How many memory allocations `work` makes, those that make an allocation larger included.
fn allocations(work: impl FnMut()) -> u64 {
    measure(work).count_total
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(black_box(vec![1_u8; black_box(100)]))), 1);
    let grown = allocations(|| {
        let mut list = Vec::with_capacity(black_box(4));
        list.extend_from_slice(&[1_u8; 4]);
        list.push(5);
        drop(black_box(list));
    });
    assert_eq!(grown, 2, "an allocation that grows counts again");
}

/// Every command with every attribute that any request has.
fn messages() -> impl Iterator<Item = Message> {
    Command::ALL.iter().map(|command| Message {
        service: Some(samples::listed_service(1)),
        dest: Some(samples::listed_dest(1)),
        daemon: Some(Daemon {
            state: Some(DaemonState::MASTER),
            mcast_ifn: Some(Name::from_static("eth0")),
            sync_id: Some(7),
            ..Daemon::default()
        }),
        timeouts: ipvs_sys::Timeouts { tcp: Some(900), tcp_fin: Some(120), udp: Some(300) },
        info: Info { version: Some(0x1_02_01), conn_tab_size: Some(4096) },
        ..Message::new(*command)
    })
}

#[test]
fn a_request_is_written_without_allocating() {
    for message in messages() {
        let mut buffer = Vec::new();
        message.encode(&mut buffer, &samples::header());
        buffer.clear();
        let count = allocations(|| {
            message.encode(&mut buffer, &samples::header());
        });
        assert_eq!(count, 0, "{:?}", message.command);
    }
}

#[test]
fn what_only_the_controller_or_a_model_writes_is_written_without_allocating() {
    let mut buffer = Vec::with_capacity(4096);
    let name = Name::from_static(ipvs_sys::GENL_NAME);
    let family = ipvs_sys::Family { id: samples::FAMILY, name, ..Default::default() };
    let count = allocations(|| {
        ctrl::get_family(&mut buffer, 1, 1, 0, &name);
        family.encode(&mut buffer, 1, 0);
        Writer::error(&mut buffer, 1, 0, &samples::success());
        Writer::done(&mut buffer, 1, 0, &samples::success());
    });
    assert_eq!((count, Messages::new(&buffer).count()), (0, 4));
}

#[test]
fn a_list_is_read_without_allocating() {
    let lists = [samples::list_of_dests(40), samples::list_of_services(40)];
    for list in lists {
        let mut entries = 0;
        let count = allocations(|| {
            for frame in list.iter().flat_map(|datagram| Messages::new(datagram)) {
                let Body::Data(payload) = frame.unwrap().body else { continue };
                let message = Message::decode(payload).unwrap();
                entries += usize::from(message.service.is_some() || message.dest.is_some());
                black_box(message);
            }
        });
        assert_eq!((count, entries), (0, 40));
    }
}

#[test]
fn a_request_goes_through_the_engine_without_allocating() {
    for message in messages() {
        for kind in [
            RequestKind::Change,
            RequestKind::AcknowledgedChange,
            RequestKind::Get,
            RequestKind::Dump,
        ] {
            let mut request = Request::new(message.command, kind);
            request.service = message.service.as_ref();
            request.dest = message.dest.as_ref();
            request.daemon = message.daemon.as_ref();
            request.timeouts = Some(&message.timeouts);
            let most = if kind == RequestKind::Dump { 1 } else { 50 };
            let mut windows = Windows::new();
            // There are two windows: one that is under way and one that is filled.
            windows.turn(&request, most).unwrap();
            windows.turn(&request, most).unwrap();
            let mut completed = 0;
            let count = allocations(|| completed = windows.turn(&request, most).unwrap());
            assert_eq!((count, completed), (0, most), "{request:?}");
        }
    }
}

fn batch(length: u32) -> Batch {
    let (key, mut batch) = (key(), Batch::new());
    for number in 0..length {
        batch.add_destination(&key, &samples::TABLE.destination(0, number));
    }
    batch
}

#[test]
fn a_batch_that_is_filled_again_does_not_allocate() {
    let (key, service, destination) =
        (key(), Service::new(key()), samples::TABLE.destination(0, 1));
    let daemon = SyncDaemon::new(SyncRole::Master, "eth0".parse().unwrap());
    let fill = |batch: &mut Batch| {
        for _ in 0..100 {
            batch.add_service(&service).set_service(&service).delete_service(&key);
            batch.add_destination(&key, &destination).set_destination(&key, &destination);
            batch.delete_destination(&key, destination.key());
            batch.zero(None).zero(Some(&key)).flush();
            batch.set_timeouts(Timeouts::default());
            batch.start_sync_daemon(&daemon).stop_sync_daemon(SyncRole::Master);
        }
    };
    let mut batch = Batch::new();
    fill(&mut batch);
    let length = batch.len();
    let count = allocations(|| {
        batch.clear();
        fill(&mut batch);
    });
    assert_eq!((count, batch.len()), (0, length));
}

/// A batch has two lists, and a list that grows doubles: so a batch twice as long costs at most one
/// allocation more for each.
#[test]
fn a_batch_that_grows_allocates_ever_less() {
    let filled = |length: u32| allocations(|| assert_eq!(batch(length).len(), length as usize));
    let (few, many) = (filled(4096), filled(8192));
    assert!((1..=2).contains(&(many - few)), "{few} for 4096 changes, {many} for 8192");
}

/// As the batch: the list of what was read doubles, and no entry of it holds memory of its own.
#[test]
fn what_a_client_lists_costs_no_allocation_for_each_entry() {
    let destinations = |length: u32| {
        let mut client = ours::client(length).unwrap();
        // The receive buffer gets its size.
        client.destinations(&key()).unwrap();
        let mut list = Vec::new();
        let count = allocations(|| list = client.destinations(&key()).unwrap());
        assert_eq!(list.len(), length as usize);
        let weights = list.iter().map(|entry| entry.destination.weight).sum::<u32>();
        assert_eq!(weights, (0..length).map(|n| samples::dest(n).weight.unwrap()).sum());
        count
    };
    let services = |length: u32| {
        let list = samples::list_of_services(length);
        let mut client = Client::with_transport(Replay::new(list)).unwrap();
        client.services().unwrap();
        let mut list = Vec::new();
        let count = allocations(|| list = client.services().unwrap());
        assert_eq!(list.len(), length as usize);
        count
    };
    for count in [destinations as fn(u32) -> u64, services] {
        let (few, many) = (count(2048), count(4096));
        assert_eq!(many - few, 1, "{few} for 2048 entries, {many} for 4096");
    }
}

/// Running a batch makes a list of what is in the window, which is the same for all windows.
#[test]
fn running_a_longer_batch_allocates_no_more() {
    let mut client = Client::with_transport(Replay::new(Vec::new())).unwrap();
    let mut run = |windows: u32| {
        let batch = batch(windows * 100);
        let mut done = 0;
        let mut run = || client.run_each(&batch, |_, result| done += u32::from(result.is_ok()));
        // The windows get their size.
        run();
        let count = allocations(run);
        assert_eq!(done, 2 * windows * 100);
        count
    };
    let (short, long) = (run(2), run(20));
    assert_eq!(short, long);
}
