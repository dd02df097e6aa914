//! Numbers at the limits of what the kernel has room for, and beyond.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ipvs::plan::{Options, Plan, Prune, Scope};
use ipvs::{
    Client, Ensured, ErrorKind, NetlinkSocket, Persistence, Scheduler, Service, ServiceKey,
};
use ipvs_sys as sys;
use ipvs_sys::Command;
use ipvs_testkit::{Context, Namespace, Suite, finish};
use ipvs_tests::model::{Operation, Peer};
use ipvs_tests::{Reader, add_dummy_device, connect, our_ipvsadm, restore, values};

use crate::test;

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add(test!(what_is_accepted_reads_back_equal).limit(LIMIT));
    suite.add(test!(timeouts_of_other_programs_are_read_planned_and_saved));
}

/// Even a busy machine takes a tenth of that.
const LIMIT: Duration = Duration::from_secs(300);

/// The model's own test checks the same property with any number of ticks per second.
fn what_is_accepted_reads_back_equal(context: &mut Context) -> Result<()> {
    let netns = context.netns("director")?;
    add_dummy_device(&netns)?;
    values::check_many(&mut connect(&netns)?, 1500)
}

/// Persistence timeouts in seconds, as another program may write them: at and beyond the limits of
/// `-p` and of the library, and of what 32 bits of ticks hold at 100, 250, 300 and 1,000 ticks per
/// second.
const SECONDS: [u32; 16] = [
    0,
    1,
    2_678_400,
    2_678_401,
    4_294_967,
    4_294_968,
    5_000_000,
    14_316_557,
    14_316_558,
    17_179_869,
    17_179_870,
    42_949_672,
    42_949_673,
    42_949_674,
    100_000_000,
    u32::MAX,
];

fn timeouts_of_other_programs_are_read_planned_and_saved(context: &mut Context) -> Result<()> {
    let netns = context.netns("director")?;
    let restored = context.netns("restored")?;
    let mut client = connect(&netns)?;
    let mut other = Peer::new(netns.run(NetlinkSocket::open)??)?;
    for seconds in SECONDS {
        client.flush()?;
        add_as_another_program(&mut other, seconds)?;
        let service = client.service(&key())?.context("it was added")?.service;
        let timeout = service.persistence.as_ref().context("it is persistent")?.timeout.as_secs();
        let is_kept = timeout == u64::from(seconds);
        ensure!(is_kept || seconds > 4_294_967, "{seconds} s are {timeout} s");
        stays_as_it_is(&mut client, &service).with_context(|| format!("{seconds} s"))?;
        is_saved(&netns, &restored, timeout).with_context(|| format!("{seconds} s"))?;
        is_planned_against(&mut client, &service).with_context(|| format!("{seconds} s"))?;
    }
    Ok(())
}

fn key() -> ServiceKey {
    ServiceKey::tcp(([192, 0, 2, 53], 80).into())
}

/// The library doesn't send such timeouts.
fn add_as_another_program(other: &mut Peer<NetlinkSocket>, seconds: u32) -> Result<()> {
    let mut operation = Operation::new(Command::NewService, false);
    operation.message.service = Some(sys::Service {
        family: Some(sys::AF_INET),
        protocol: Some(sys::IPPROTO_TCP),
        addr: Some(sys::addr_bytes([192, 0, 2, 53].into())),
        port: Some(80),
        scheduler: Some(sys::Name::new("rr")?),
        flags: Some(sys::Flags { flags: sys::ServiceFlags::PERSISTENT, mask: !0 }),
        timeout: Some(seconds),
        netmask: Some(u32::MAX),
        ..Default::default()
    });
    let answer = other.ask(&operation)?;
    ensure!(answer.outcome.is_ok(), "the kernel takes any number of seconds: {answer:?}");
    Ok(())
}

/// Nothing is written if the table already is as wanted.
fn stays_as_it_is(client: &mut Client, service: &Service) -> Result<()> {
    assert_eq!(client.ensure_service(service)?, Ensured::Unchanged);
    ensure!(!client.edit_service(&service.key, |_| ())?);
    let table = client.snapshot()?.into_table();
    let plan = Plan::diff(
        &table,
        &table.clone(),
        &Options::new().prune(Prune::Everything, Scope::everything()),
    );
    ensure!(plan.is_empty(), "{plan}");
    Ok(())
}

/// `-S` writes what `-R` and the C tool's `-R` accept, and reports it where it writes another
/// timeout.
fn is_saved(netns: &Namespace, restored: &Namespace, timeout: u64) -> Result<()> {
    let ours = our_ipvsadm()?;
    let saved = finish(netns.command(&ours).args(["-S", "-n"]), LIMIT)?;
    let nearest = timeout.clamp(1, 31 * 24 * 60 * 60);
    assert_eq!(saved.stdout.trim_end(), format!("-A -t 192.0.2.53:80 -s rr -p {nearest}"));
    ensure!(saved.stderr.is_empty() == (nearest == timeout), "{}", saved.stderr);
    ensure!(nearest == timeout || saved.stderr.contains(&format!("{timeout} s")), "{saved:?}");
    let reader = Reader::new(restored)?;
    for program in [ours, ipvs_tests::c_ipvsadm()?] {
        restore(restored, program, &[], &saved.stdout)?.success()?;
        assert_eq!(reader.saved()?.join("\n"), saved.stdout.trim_end());
        connect(restored)?.flush()?;
    }
    Ok(())
}

/// A plan that gives the service a timeout in range succeeds. A plan that leaves the timeout alone
/// but changes something else reports what is wrong with it.
fn is_planned_against(client: &mut Client, service: &Service) -> Result<()> {
    let table =
        |service: &Service| ipvs::Table::new().with(ipvs::TableService::new(service.clone()));
    let another = service.clone().scheduler(Scheduler::WRR);
    let current = client.snapshot()?.into_table();
    let result = client.apply(&Plan::diff(&current, &table(&another), &Options::new()));
    let is_in_range = service.persistence.as_ref().is_some_and(|persistence| {
        (Duration::from_secs(1)..=Persistence::MAX_TIMEOUT).contains(&persistence.timeout)
    });
    assert_eq!(result.is_ok(), is_in_range);
    if !is_in_range {
        let error = client.set_service(&another).err().context("it was set")?;
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(client.service(&key())?.map(|entry| entry.service).as_ref(), Some(service));
    }

    let wanted = table(&another.persistent(Persistence::new(Persistence::MAX_TIMEOUT)));
    let current = client.snapshot()?.into_table();
    client.apply(&Plan::diff(&current, &wanted, &Options::new()))?;
    let current = client.snapshot()?.into_table();
    let plan = Plan::diff(&current, &wanted, &Options::new());
    ensure!(plan.is_empty(), "it doesn't end: {plan}");
    Ok(())
}
