//! The model replies as the kernel does: the same random requests to both get the same replies.

use std::collections::BTreeMap;
use std::env;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ipvs::{Destination, NetlinkSocket, Service, ServiceKey, Transport};
use ipvs_model::{Builder, Kernel};
use ipvs_sys as sys;
use ipvs_sys::Command;
use ipvs_testkit::{Context, KernelVersion, Namespace, Suite};
use ipvs_tests::model::{Answer, Flaw, Generator, Operation, Peer};
use ipvs_tests::{add_dummy_device, connect};
use rustix::io::Errno;

use crate::test;

/// Number of requests in one run.
const REQUESTS: usize = 16_000;
/// Number of requests after which the whole tables are compared.
const BETWEEN_TABLES: usize = 100;
/// How often each kind of error has to occur.
const AT_LEAST: usize = 20;
/// The kernel runs modprobe for each name that no module has; on a busy machine that takes longest.
const LIMIT: Duration = Duration::from_secs(180);
/// A seed other than the usual one.
const SEED_VARIABLE: &str = "IPVS_MODEL_SEED";
const SEED: u64 = 0x1b5_2026;

pub(crate) fn add_to(suite: &mut Suite) {
    // Before Linux 7.1, a list skips or repeats entries while services of other namespaces come or
    // go.
    suite.add(test!(answers_as_the_kernel_does).kernel_wide().limit(LIMIT));
}

/// The kernel's errors, each with the flaw in the request that causes it. Without a flaw, the
/// request doesn't fit the table.
///
/// Some errors are missing because no request causes them: ENOMEM, EMSGSIZE, and ENOPROTOOPT while
/// the module is unloaded. EINTR is missing because it stands for success (see
/// `Client::stop_sync_daemon`), and EPERM because the model has no notion of privileges.
const ERRORS: &[(Command, Flaw, Errno)] = &[
    (Command::NewService, Flaw::None, Errno::EXIST),
    (Command::NewService, Flaw::Scheduler, Errno::NOENT),
    (Command::NewService, Flaw::Engine, Errno::NOENT),
    (Command::NewService, Flaw::MissingAttribute, Errno::INVAL),
    (Command::NewService, Flaw::Prefix, Errno::INVAL),
    (Command::NewService, Flaw::Family, Errno::AFNOSUPPORT),
    (Command::SetService, Flaw::None, Errno::SRCH),
    (Command::SetService, Flaw::Scheduler, Errno::NOENT),
    (Command::SetService, Flaw::Engine, Errno::NOENT),
    (Command::SetService, Flaw::MissingAttribute, Errno::INVAL),
    (Command::SetService, Flaw::Prefix, Errno::INVAL),
    (Command::DelService, Flaw::None, Errno::SRCH),
    (Command::DelService, Flaw::MissingAttribute, Errno::INVAL),
    (Command::Zero, Flaw::None, Errno::SRCH),
    (Command::GetService, Flaw::None, Errno::SRCH),
    (Command::GetService, Flaw::MissingAttribute, Errno::INVAL),
    (Command::NewDest, Flaw::None, Errno::SRCH),
    (Command::NewDest, Flaw::None, Errno::EXIST),
    (Command::NewDest, Flaw::MissingAttribute, Errno::INVAL),
    (Command::NewDest, Flaw::Family, Errno::AFNOSUPPORT),
    (Command::NewDest, Flaw::Address, Errno::INVAL),
    (Command::NewDest, Flaw::GuePort, Errno::INVAL),
    (Command::NewDest, Flaw::Mixed, Errno::INVAL),
    (Command::NewDest, Flaw::MixedTunnel, Errno::INVAL),
    (Command::NewDest, Flaw::Weight, Errno::RANGE),
    (Command::NewDest, Flaw::LowerThreshold, Errno::RANGE),
    (Command::SetDest, Flaw::None, Errno::SRCH),
    (Command::SetDest, Flaw::None, Errno::NOENT),
    (Command::SetDest, Flaw::MissingAttribute, Errno::INVAL),
    (Command::SetDest, Flaw::GuePort, Errno::INVAL),
    (Command::SetDest, Flaw::Mixed, Errno::INVAL),
    (Command::SetDest, Flaw::MixedTunnel, Errno::INVAL),
    (Command::SetDest, Flaw::Weight, Errno::RANGE),
    (Command::SetDest, Flaw::LowerThreshold, Errno::RANGE),
    (Command::DelDest, Flaw::None, Errno::SRCH),
    (Command::DelDest, Flaw::None, Errno::NOENT),
    (Command::DelDest, Flaw::MissingAttribute, Errno::INVAL),
    (Command::NewDaemon, Flaw::None, Errno::EXIST),
    (Command::NewDaemon, Flaw::None, Errno::INVAL),
    (Command::NewDaemon, Flaw::MissingAttribute, Errno::INVAL),
    (Command::NewDaemon, Flaw::Group, Errno::INVAL),
    (Command::NewDaemon, Flaw::Role, Errno::INVAL),
    (Command::NewDaemon, Flaw::Interface, Errno::NODEV),
    (Command::DelDaemon, Flaw::None, Errno::SRCH),
    (Command::DelDaemon, Flaw::MissingAttribute, Errno::INVAL),
    (Command::DelDaemon, Flaw::Role, Errno::INVAL),
    (Command::SetConfig, Flaw::Timeout, Errno::INVAL),
];

/// Those of Linux 7.2 and later, and of updated earlier stable series.
const UPPER_THRESHOLDS: &[(Command, Flaw, Errno)] = &[
    (Command::NewDest, Flaw::UpperThreshold, Errno::INVAL),
    (Command::SetDest, Flaw::UpperThreshold, Errno::INVAL),
];

fn answers_as_the_kernel_does(context: &mut Context) -> Result<()> {
    let seed = match env::var(SEED_VARIABLE) {
        Ok(seed) => seed.parse().with_context(|| format!("{SEED_VARIABLE} is no number"))?,
        Err(_) => SEED,
    };
    println!("seed {seed} ({SEED_VARIABLE}), {REQUESTS} requests");
    let version = context.kernel();
    let (model, limit) = alike(&context.netns("probe")?, version)?;
    let model = model.build();
    let netns = context.netns("director")?;
    add_dummy_device(&netns)?;
    let mut real = Peer::new(netns.run(NetlinkSocket::open)??)?;
    let mut model = Peer::new(model)?;

    let mut generator = Generator::new(seed);
    let (mut hits, mut stale) = (BTreeMap::<_, usize>::new(), 0);
    for number in 1..=REQUESTS {
        let operation = generator.operation();
        let expected = same(&mut real, &mut model, &operation)
            .with_context(|| format!("request {number} of seed {seed}: {operation:?}"))?;
        if let Err((errno, _)) = expected.outcome {
            stale +=
                usize::from(operation.flaw == Flaw::Stale && errno == Errno::NOENT.raw_os_error());
            *hits.entry((operation.message.command, operation.flaw, errno)).or_default() += 1;
        }
        if number % BETWEEN_TABLES == 0 || number == REQUESTS {
            same_tables(&mut real, &mut model)
                .with_context(|| format!("after request {number} of seed {seed}"))?;
        }
    }

    let newer = if limit { UPPER_THRESHOLDS } else { &[] };
    let mut rare = Vec::new();
    for (command, flaw, errno) in ERRORS.iter().chain(newer) {
        let count = hits.get(&(*command, *flaw, errno.raw_os_error())).copied().unwrap_or(0);
        println!("{count:6} {command:?}, {flaw:?}: {errno}");
        if count < AT_LEAST {
            rare.push(format!("{command:?}, {flaw:?}: {errno} {count} times"));
        }
    }
    println!("{stale:6} any command, family gone: ENOENT");
    ensure!(stale >= AT_LEAST, "the family was gone only {stale} times");
    ensure!(rare.is_empty(), "not often enough: {rare:#?}");
    Ok(())
}

/// A model with those settings of the running kernel that differ between kernels, and whether they
/// limit upper thresholds.
fn alike(netns: &Namespace, version: KernelVersion) -> Result<(Builder, bool)> {
    let mut client = connect(netns)?;
    // Timeouts longer than INT_MAX ticks are refused.
    let mut peer = Peer::new(netns.run(NetlinkSocket::open)??)?;
    let mut ticks = None;
    for rate in [100, 250, 300, 1000] {
        let mut longest = Operation::new(Command::SetConfig, false);
        longest.message.timeouts.tcp = Some(i32::MAX as u32 / rate);
        if peer.ask(&longest)?.outcome.is_ok() {
            ticks = Some(rate);
            break;
        }
    }
    let vip = ServiceKey::tcp(([192, 0, 2, 53], 80).into());
    client.add_service(&Service::new(vip))?;
    let server = ([192, 0, 2, 102], 80).into();
    let limit = match client.add_destination(&vip, &Destination::new(server).thresholds(1 << 31, 0))
    {
        Ok(()) => false,
        Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => true,
        Err(error) => return Err(error.into()),
    };
    let model = Kernel::builder()
        .version(version.major, version.minor)
        .ticks_per_second(ticks.context("more than 1,000 ticks a second")?)
        .connection_table_size(client.info()?.connection_table_size)
        .upper_threshold_limit(limit);
    Ok((model, limit))
}

/// Sends the request to both, and returns both replies.
fn same(
    real: &mut Peer<impl Transport>,
    model: &mut Peer<impl Transport>,
    operation: &Operation,
) -> Result<Answer> {
    let (mut expected, mut found) = (real.ask(operation)?, model.ask(operation)?);
    if operation.dump && operation.message.command == Command::GetService {
        for answer in [&mut expected, &mut found] {
            answer.replies.sort_by_key(|reply| reply.service.as_ref().map(key));
        }
    }
    ensure!(found == expected, "the kernel's answer is {expected:#?}\nthe model's is {found:#?}");
    Ok(expected)
}

/// What identifies a service, as a sort key.
fn key(service: &sys::Service) -> impl Ord + use<> {
    let sys::Service { family, fwmark, protocol, addr, port, .. } = *service;
    (family, fwmark, protocol, addr, port)
}

fn same_tables(real: &mut Peer<impl Transport>, model: &mut Peer<impl Transport>) -> Result<()> {
    for (command, dump) in
        [(Command::GetConfig, false), (Command::GetInfo, false), (Command::GetDaemon, true)]
    {
        same(real, model, &Operation::new(command, dump))?;
    }
    let services = same(real, model, &Operation::new(Command::GetService, true))?;
    for reply in services.replies {
        let mut destinations = Operation::new(Command::GetDest, true);
        destinations.message.service = reply.service;
        same(real, model, &destinations)?;
    }
    Ok(())
}
