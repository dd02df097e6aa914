//! The events of the feature `tracing`, recorded by a subscriber of its own.
#![allow(clippy::unwrap_used, reason = "in tests, outside of their functions too")]

#[allow(dead_code, reason = "each test binary needs a part of it")]
mod script;

use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ipvs::plan::{Options, Plan};
use ipvs::{
    Batch, Client, Destination, DestinationKey, DrainOptions, ErrorKind, Service, ServiceKey,
    Table, TableService, Watch, sysctl,
};
use ipvs_model::{ConnectionCounts, Fault, Kernel};
use script::{Act, client, script};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Writes a line for each event: its level, the spans around it, its message, and its fields.
#[derive(Clone)]
struct Listener {
    most: Level,
    heard: Arc<Mutex<Heard>>,
}

#[derive(Default)]
struct Heard {
    spans: Vec<String>,
    entered: Vec<u64>,
    lines: Vec<String>,
}

struct Fields {
    message: String,
    others: String,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        } else {
            write!(self.others, " {}={value:?}", field.name()).unwrap();
        }
    }
}

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "ipvs" && *metadata.level() <= self.most
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut fields = Fields { message: String::new(), others: String::new() };
        span.record(&mut fields);
        let mut heard = self.heard.lock().unwrap();
        heard.spans.push(format!("{}{{{}}}: ", span.metadata().name(), fields.others.trim()));
        Id::from_u64(heard.spans.len() as u64)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields { message: String::new(), others: String::new() };
        event.record(&mut fields);
        let mut heard = self.heard.lock().unwrap();
        let around: String =
            heard.entered.iter().map(|id| heard.spans[*id as usize - 1].as_str()).collect();
        let level = event.metadata().level();
        heard.lines.push(format!("{level} {around}{}{}", fields.message, fields.others));
    }

    fn enter(&self, span: &Id) {
        self.heard.lock().unwrap().entered.push(span.into_u64());
    }

    fn exit(&self, span: &Id) {
        let left = self.heard.lock().unwrap().entered.pop();
        assert_eq!(left, Some(span.into_u64()), "spans end in the order in which they began");
    }
}

/// The events at level `most` and above while `work` runs.
fn heard(most: Level, work: impl FnOnce()) -> Vec<String> {
    let listener = Listener { most, heard: Arc::default() };
    tracing::subscriber::with_default(listener.clone(), work);
    let mut heard = listener.heard.lock().unwrap();
    assert!(heard.entered.is_empty(), "every span has ended");
    std::mem::take(&mut heard.lines)
}

fn vip() -> ServiceKey {
    "tcp/10.10.10.53:80".parse().unwrap()
}

fn server() -> DestinationKey {
    "10.10.10.102:80".parse().unwrap()
}

fn balanced() -> (Kernel, Client<Kernel>) {
    let kernel = Kernel::builder().without_sysctl(sysctl::CONNTRACK).build();
    let mut client = Client::with_transport(kernel.clone()).unwrap();
    client.add_service(&Service::new(vip())).unwrap();
    client.add_destination(&vip(), &Destination::new(server())).unwrap();
    (kernel, client)
}

#[test]
fn operations_are_told_with_their_objects_and_how_they_ended() {
    let lines = heard(Level::DEBUG, || {
        let (_, mut client) = balanced();
        let error = client.add_service(&Service::new(vip())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ServiceExists);
        assert_eq!(client.destinations(&vip()).unwrap().len(), 1);
        assert_eq!(client.service(&"fwmark/7".parse().unwrap()).unwrap(), None);
        assert_eq!(client.sysctl(sysctl::CONNTRACK).unwrap(), None);
        client.set_sysctl(sysctl::CONNTRACK, true).unwrap_err();
    });
    assert_eq!(
        lines,
        [
            "DEBUG family resolved id=28",
            "DEBUG changes{count=1}: done operation=AddService object=virtual service \
             tcp/10.10.10.53:80",
            "DEBUG changes{count=1}: done operation=AddDestination object=real server \
             10.10.10.102:80 of virtual service tcp/10.10.10.53:80",
            "DEBUG changes{count=1}: failed operation=AddService object=virtual service \
             tcp/10.10.10.53:80 kind=ServiceExists errno=17",
            "DEBUG read operation=Destinations object=virtual service tcp/10.10.10.53:80 entries=1",
            "DEBUG failed operation=Service object=virtual service fwmark/7 kind=ServiceNotFound \
             errno=3",
            "DEBUG done operation=Sysctl object=net.ipv4.vs.conntrack",
            "DEBUG failed operation=SetSysctl object=net.ipv4.vs.conntrack kind=SysctlNotFound \
             errno=2",
        ]
    );
}

#[test]
fn windows_and_datagrams_are_traced() {
    let mut batch = Batch::new();
    for mark in 1..=200 {
        batch.add_service(&Service::new(format!("fwmark/{mark}").parse().unwrap()));
    }
    let lines = heard(Level::TRACE, || {
        let mut client = Client::with_transport(Kernel::new()).unwrap();
        assert!(client.run(&batch).iter().all(Result::is_ok));
    });
    let traced = |what: &str| {
        let begin = format!("TRACE changes{{count=200}}: {what}");
        lines.iter().filter(|line| line.starts_with(&begin)).collect::<Vec<_>>()
    };
    assert_eq!(
        traced("window"),
        [
            "TRACE changes{count=200}: window first=0 changes=128",
            "TRACE changes{count=200}: window first=128 changes=72",
        ]
    );
    assert_eq!((traced("sends").len(), traced("received").len()), (2, 2), "{lines:?}");
}

#[test]
fn a_reloaded_module_is_worth_a_warning() {
    let mut script = script([Act::Reload(0x40, 0), Act::Window(|_| 0)]);
    let lines = heard(Level::DEBUG, || client(&mut script).zero(None).unwrap());
    assert_eq!(
        lines[1..],
        [
            "WARN changes{count=1}: the module was reloaded: IPVS's previous state is gone \
             before=33 id=64",
            "DEBUG changes{count=1}: repeats, for the new family from=0",
            "DEBUG changes{count=1}: done operation=Zero object=all virtual services",
        ]
    );
}

#[test]
fn what_is_given_up_is_reported_with_its_cause() {
    let lines = heard(Level::DEBUG, || {
        let (kernel, mut client) = balanced();
        kernel.fail(Fault::on(ipvs::Operation::Zero).lost_answer()).unwrap();
        client.zero(None).unwrap_err();
    });
    let end: Vec<&str> = lines.iter().map(String::as_str).rev().take(2).collect();
    assert_eq!(
        end,
        [
            "DEBUG changes{count=1}: failed operation=Zero object=all virtual services \
             kind=OutcomeUnknown",
            "DEBUG changes{count=1}: abandons what is under way cause=Failure(Unknown)",
        ]
    );
}

#[test]
fn passes_phases_looks_and_drains_are_told_as_they_go() {
    let (kernel, mut client) = balanced();
    let of = |lines: Vec<String>, what: &str| {
        let hits = lines.into_iter().filter(|line| line.contains(what));
        hits.collect::<Vec<_>>()
    };
    let passes = heard(Level::DEBUG, || {
        let mut watch = Watch::new();
        assert_eq!(watch.poll(&mut client).unwrap().len(), 2);
    });
    assert_eq!(
        of(passes.clone(), ": pass"),
        [
            "DEBUG snapshot{}: pass number=1 services=1 agreeing=1",
            "DEBUG snapshot{}: pass number=2 services=1 agreeing=2",
        ]
    );
    assert_eq!(of(passes, "looked"), ["DEBUG looked changes=2"]);

    let current = client.snapshot().unwrap().into_table();
    let second: DestinationKey = "10.10.10.103:80".parse().unwrap();
    let desired = Table::new().with(
        TableService::new(Service::new(vip()))
            .destination(Destination::new(server()).weight(5))
            .destination(Destination::new(second)),
    );
    let plan = Plan::diff(&current, &desired, &Options::new());
    let steps = heard(Level::DEBUG, || client.apply(&plan).unwrap());
    assert_eq!(
        steps,
        [
            "DEBUG apply{steps=2}: phase sent=1 left_out=0",
            "DEBUG apply{steps=2}: changes{count=1}: done operation=AddDestination object=real server \
         10.10.10.103:80 of virtual service tcp/10.10.10.53:80",
            "DEBUG apply{steps=2}: phase sent=1 left_out=0",
            "DEBUG apply{steps=2}: changes{count=1}: done operation=SetDestination object=real server \
         10.10.10.102:80 of virtual service tcp/10.10.10.53:80",
        ]
    );

    let counts = ConnectionCounts::default();
    kernel.set_connections(&vip(), &server(), counts.active(2).inactive(1)).unwrap();
    let options = DrainOptions::new(Duration::from_secs(60));
    let start = Instant::now();
    let drained = heard(Level::DEBUG, || {
        let end = |_: &mut Client<Kernel>, _| {
            kernel.set_connections(&vip(), &server(), counts).unwrap();
        };
        client.drain_with(&vip(), &server(), &options, || start, end).unwrap();
    });
    let span = "DEBUG drain{service=tcp/10.10.10.53:80 destination=10.10.10.102:80}: ";
    assert!(drained.iter().all(|line| line.contains(span)), "{drained:?}");
    let progress: Vec<String> = drained
        .iter()
        .filter_map(|line| line.split_once(span).map(|(_, text)| text.to_owned()))
        .filter(|text| text.starts_with("drain"))
        .collect();
    assert_eq!(
        progress,
        ["draining active=2 inactive=1", "drained outcome=Ok(Empty { after: 0ns })"]
    );
}
