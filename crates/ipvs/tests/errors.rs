//! Errors as seen by programs and people: a single type for `?`, texts that are complete, and
//! answers to "is it worth trying again?".
#![allow(clippy::unwrap_used, reason = "in tests, outside of their functions too")]

use std::error::Error as _;
use std::time::Duration;

use ipvs::plan::{ApplyError, Options, Plan};
use ipvs::proto::Refusal;
use ipvs::{
    Client, Destination, DestinationKey, Error, ErrorKind, InvalidInput, Operation, Service,
    ServiceKey, Table, TableService, TimeoutsChange,
};
use ipvs_model::Kernel;
use ipvs_sys::Command;

/// errno(3).
const EPERM: i32 = 1;
const ENOMEM: i32 = 12;

fn vip() -> ServiceKey {
    "tcp/10.10.10.53:80".parse().unwrap()
}

fn server(text: &str) -> Destination {
    Destination::new(text.parse::<DestinationKey>().unwrap())
}

fn client(kernel: &Kernel) -> Client<Kernel> {
    Client::with_transport(kernel.clone()).unwrap()
}

fn seconds(number: u64) -> Option<Duration> {
    Some(Duration::from_secs(number))
}

/// A plan of one service and as many real servers.
fn plan(servers: &[Destination]) -> Plan {
    let mut service = TableService::new(Service::new(vip()));
    service.extend(servers.iter().cloned());
    Plan::diff(&Table::new(), &Table::new().with(service), &Options::new())
}

/// A caller that only knows one error type.
fn apply(client: &mut Client<Kernel>, plan: &Plan) -> Result<(), Error> {
    client.info()?;
    client.apply(plan)?;
    Ok(())
}

/// The kernel requires a tunnel to a real server of the other family.
fn refused_plan() -> Plan {
    plan(&[server("10.10.10.102:80"), server("[2001:db8::102]:80")])
}

#[test]
fn what_a_plan_met_and_what_a_call_met_are_one_type_under_a_question_mark() {
    let error = apply(&mut client(&Kernel::new()), &refused_plan()).unwrap_err();
    assert_eq!((error.operation(), error.kind()), (Operation::Apply, ErrorKind::InvalidArgument));
    let cause: &ApplyError = error.get_ref().unwrap().downcast_ref().unwrap();
    let first = cause.first_error().unwrap();
    assert_eq!((cause.kind(), cause.steps().len()), (ErrorKind::InvalidArgument, 3));
    assert_eq!(error.raw_os_error(), first.raw_os_error());
    assert_eq!(error.hint(), first.hint());
    assert_eq!(first.operation(), Operation::AddDestination);
}

#[test]
fn the_text_alone_says_what_the_first_step_met() {
    let mut client = client(&Kernel::new());
    let plan = refused_plan();
    let error = client.apply(&plan).unwrap_err();
    let text = "of 3 steps 2 were done, 1 failed; the first error: cannot add real server \
                [2001:db8::102]:80 of virtual service tcp/10.10.10.53:80: the kernel refused the \
                values (os error 22)";
    assert_eq!(error.to_string(), text);
    assert_eq!(Error::from(error.clone()).to_string(), format!("cannot apply the plan: {text}"));
    // Printing the whole chain doesn't repeat it.
    assert!(error.source().is_none());
    assert!(Error::from(error.clone()).source().is_none());
    assert!(format!("{:#}", Error::from(error)).contains("must be unicast"));
}

#[test]
fn main_ends_with_a_sentence() {
    let mut client = client(&Kernel::new());
    let error = client.add_destination(&vip(), &server("10.10.10.102:80")).unwrap_err();
    assert_eq!(
        format!("{error:?}"),
        "cannot add real server 10.10.10.102:80 of virtual service tcp/10.10.10.53:80: no such \
         virtual service (os error 3)"
    );
    let misspelt = Service::new(vip()).scheduler(ipvs::Scheduler::new("lbrc").unwrap());
    let error = client.add_service(&misspelt).unwrap_err();
    assert_eq!(format!("{error:?}"), format!("{error:#}"));
    assert!(format!("{error:?}").contains("; check the spelling"), "{error:?}");
}

#[test]
fn ten_thousand_outcomes_are_reported_in_a_few_lines() {
    let servers: Vec<_> = (0..10_000_u32)
        .map(|n| Destination::new(DestinationKey::new([10, 1, (n >> 8) as u8, n as u8].into(), 80)))
        .collect();
    let kernel = Kernel::new();
    let mut client = client(&kernel);
    kernel.before_each(|request| match request.command {
        Command::NewDest => Err(Refusal::new(ENOMEM)),
        _ => Ok(()),
    });
    let error = client.apply(&plan(&servers)).unwrap_err();
    let text = format!("{error:?}");
    assert!(text.len() < 4096, "{} bytes", text.len());
    let last = text.lines().last().unwrap();
    assert_eq!(last, "  and 9992 more steps that were not done");
    assert!(
        text.contains("\n  + server 10.1.0.0:80 of tcp/10.10.10.53:80, direct route"),
        "{text}"
    );
    assert!(format!("{:?}", Error::from(error)).len() < 4096);
}

#[test]
fn errors_can_be_kept_and_handed_on() {
    fn is_free<E: std::error::Error + Clone + Send + Sync + 'static>(_: &E) {}
    let error = client(&Kernel::new()).apply(&refused_plan()).unwrap_err();
    is_free(&error);
    let error = Error::from(error);
    is_free(&error);
    let again = error.clone();
    assert_eq!(format!("{again:?}"), format!("{error:?}"));
    let address = |error: &Error| error.get_ref().unwrap() as *const _ as *const ();
    assert_eq!(address(&again), address(&error), "a cause is shared, not copied");
}

#[test]
fn a_refused_timeout_is_named() {
    // A kernel with 1000 ticks per second accepts up to 2147483 seconds.
    let kernel = Kernel::builder().ticks_per_second(1000).build();
    let mut client = client(&kernel);
    let mut text = |change: TimeoutsChange| client.set_timeouts(change).unwrap_err().to_string();
    let (fine, long, longer) = (seconds(2_147_483), seconds(2_147_484), seconds(3_000_000));
    assert_eq!(
        text(TimeoutsChange { tcp: fine, tcp_fin: long, udp: fine }),
        "cannot set the connection timeouts: the kernel refused the TCP FIN timeout of 2147484 s \
         (os error 22)"
    );
    assert_eq!(
        text(TimeoutsChange { tcp: long, udp: longer, ..Default::default() }),
        "cannot set the connection timeouts: the kernel refused the TCP timeout of 2147484 s or \
         the UDP timeout of 3000000 s (os error 22)"
    );
}

/// A kernel may refuse what others accept.
#[test]
fn where_no_timeout_is_too_long_all_are_named() {
    let kernel = Kernel::new();
    let mut client = client(&kernel);
    kernel.before_each(|_| Err(Refusal::new(22)));
    let change = TimeoutsChange { tcp: seconds(900), udp: seconds(60), ..Default::default() };
    assert_eq!(
        client.set_timeouts(change).unwrap_err().to_string(),
        "cannot set the connection timeouts: the kernel refused the TCP timeout of 900 s or the \
         UDP timeout of 60 s (os error 22)"
    );
}

#[test]
fn the_text_says_which_input_is_invalid() {
    let mut client = client(&Kernel::new());
    let change = TimeoutsChange { udp: seconds(0), ..Default::default() };
    let error = client.set_timeouts(change).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot set the connection timeouts: the UDP timeout is 0, which the kernel takes for \
         \"keep as it is\""
    );
    let input = InvalidInput::ZeroTimeout { what: "UDP timeout" };
    assert_eq!(error.get_ref().unwrap().downcast_ref(), Some(&input));
    assert_eq!(error.hint(), None);
}

#[test]
fn a_plan_is_worth_trying_again_if_all_that_failed_is() {
    let refused = client(&Kernel::new()).apply(&refused_plan()).unwrap_err();
    assert!(!refused.is_transient());
    let kernel = Kernel::new();
    let mut client = client(&kernel);
    kernel.before_each(|request| match request.command {
        Command::NewDest => Err(Refusal::new(ENOMEM)),
        _ => Ok(()),
    });
    let error = client.apply(&plan(&[server("10.10.10.102:80")])).unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert!(Error::from(error).is_transient());
    client.flush().unwrap();
    // One error of memory, one of privilege.
    let mut first = true;
    kernel.before_each(move |request| match request.command {
        Command::NewDest => {
            Err(Refusal::new(if std::mem::take(&mut first) { ENOMEM } else { EPERM }))
        }
        _ => Ok(()),
    });
    let servers = [server("10.10.10.102:80"), server("10.10.10.103:80")];
    let error = client.apply(&plan(&servers)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutOfMemory);
    assert!(!error.is_transient());
    assert!(!Error::from(error).is_transient());
}
