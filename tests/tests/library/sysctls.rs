//! The settings in `/proc/sys/net/ipv4/vs` against a real kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read as _};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ipvs::sysctl::{self, ConnReuse, Defense, SyncThreshold};
use ipvs::{Client, ErrorKind, Object, ProcFiles as _};
use ipvs_model::Kernel;
use ipvs_testkit::{Context, KernelVersion, Namespace, Suite};
use ipvs_tests::connect;

use crate::test;

/// The newest kernel whose settings are known.
const NEWEST: KernelVersion = KernelVersion::new(7, 2);

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add(test!(each_setting_of_the_kernel_has_a_constant));
    suite.add(test!(settings_written_back_change_nothing));
    suite.add(test!(settings_are_set));
    suite.add(test!(the_model_has_the_default_settings));
    suite.add(test!(the_kernel_refuses_what_is_out_of_range));
}

/// The kernel's own settings of a namespace, and their values.
fn settings(netns: &Namespace) -> Result<Vec<(String, String)>> {
    netns.run(|| {
        let mut all = Vec::new();
        for entry in fs::read_dir("/proc/sys/net/ipv4/vs")? {
            let entry = entry?;
            let name = entry.file_name().into_string().ok().context("a strange name")?;
            all.push((name, fs::read_to_string(entry.path())?));
        }
        all.sort();
        Ok(all)
    })?
}

/// There are no other settings, except for those that the oldest kernel lacks.
fn each_setting_of_the_kernel_has_a_constant(context: &mut Context) -> Result<()> {
    let netns = context.netns("director")?;
    let kernel: BTreeSet<_> = settings(&netns)?.into_iter().map(|(name, _)| name).collect();
    let known: BTreeSet<_> = sysctl::NAMES.iter().map(|name| (*name).to_owned()).collect();
    let unknown: Vec<_> = kernel.difference(&known).collect();
    println!("settings without a constant: {unknown:?}");
    ensure!(unknown.is_empty() || context.kernel() > NEWEST, "no constants for {unknown:?}");
    let since = |major, minor| context.kernel() >= KernelVersion::new(major, minor);
    let mut missing = BTreeSet::new();
    for (there, names) in [
        (since(6, 2), &["est_cpulist", "est_nice"][..]),
        (since(7, 1), &["conn_lfactor", "svc_lfactor"]),
        (since(7, 2), &["conn_max"]),
    ] {
        missing.extend(names.iter().filter(|_| !there).map(|name| (*name).to_owned()));
    }
    assert_eq!(known.difference(&kernel).cloned().collect::<BTreeSet<_>>(), missing);
    Ok(())
}

/// Reads each setting and writes back what was read; returns the names of settings that the kernel
/// doesn't have.
macro_rules! write_back {
    ($client:expr, $($setting:ident)*) => {{
        let client: &mut Client = $client;
        let (mut names, mut absent) = (Vec::new(), Vec::new());
        $(
            let setting = sysctl::$setting;
            names.push(setting.name());
            match client.sysctl(setting)? {
                None => absent.push(setting.name()),
                Some(value) => match client.set_sysctl(setting, value) {
                    // It belongs to the initial namespace.
                    Err(error) if setting.name() == "debug_level" => {
                        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
                    }
                    other => other?,
                },
            }
        )*
        assert_eq!(names, sysctl::NAMES, "each is tried");
        absent
    }};
}

fn settings_written_back_change_nothing(context: &mut Context) -> Result<()> {
    let netns = context.netns("director")?;
    let mut client = connect(&netns)?;
    let before = settings(&netns)?;
    let absent = write_back!(&mut client,
        AM_DROPRATE AMEMTHRESH BACKUP_ONLY CACHE_BYPASS CONN_LFACTOR CONN_MAX CONN_REUSE_MODE
        CONNTRACK DEBUG_LEVEL DROP_ENTRY DROP_PACKET EST_CPULIST EST_NICE EXPIRE_NODEST_CONN
        EXPIRE_QUIESCENT_TEMPLATE IGNORE_TUNNELED LBLC_EXPIRATION LBLCR_EXPIRATION NAT_ICMP_SEND
        PMTU_DISC RUN_ESTIMATION SCHEDULE_ICMP SECURE_TCP SLOPPY_SCTP SLOPPY_TCP SNAT_REROUTE
        SVC_LFACTOR SYNC_PERSIST_MODE SYNC_PORTS SYNC_QLEN_MAX SYNC_REFRESH_PERIOD SYNC_RETRIES
        SYNC_SOCK_SIZE SYNC_THRESHOLD SYNC_VERSION
    );
    assert_eq!(settings(&netns)?, before);
    ensure!(absent.iter().all(|name| before.iter().all(|(there, _)| there != name)), "{absent:?}");
    assert_eq!(before.len() + absent.len(), sysctl::NAMES.len());
    Ok(())
}

/// Checked in the initial network namespace where settings differ between namespaces. Settings that
/// depend on the machine only have to exist.
fn the_model_has_the_default_settings(context: &mut Context) -> Result<()> {
    const OF_MACHINE: [&str; 2] = ["sync_qlen_max", "est_cpulist"];
    const OF_NAMESPACE: [&str; 2] = ["conn_lfactor", "svc_lfactor"];
    let netns = context.netns("director")?;
    // Looking for IPVS loads the module, which creates the settings.
    connect(&netns)?;
    let version = context.kernel();
    let mut model = Kernel::builder().version(version.major, version.minor).build();
    let mut of_model = |name: &str| -> Result<Option<String>> {
        let mut text = String::new();
        match model.open(&format!("sys/net/ipv4/vs/{name}")) {
            Ok(mut file) => file.read_to_string(&mut text).map(|_| Some(text)).map_err(Into::into),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    };
    let kernel: BTreeMap<_, _> = settings(&netns)?.into_iter().collect();
    let mut compared = 0;
    for (name, value) in &kernel {
        let Some(ours) = of_model(name)? else {
            ensure!(version > NEWEST, "the model lacks {name}");
            continue;
        };
        if OF_MACHINE.contains(&name.as_str()) {
            continue;
        }
        let initial = fs::read_to_string(format!("/proc/sys/net/ipv4/vs/{name}"))?;
        let theirs = if OF_NAMESPACE.contains(&name.as_str()) { &initial } else { value };
        assert_eq!(ours, *theirs, "{name}");
        compared += 1;
    }
    ensure!(compared > 25, "only {compared} settings were compared");
    // The model has no other settings; two come with the modules of two schedulers.
    for name in sysctl::NAMES.iter().filter(|name| !name.starts_with("lblc")) {
        assert_eq!(of_model(name)?.is_some(), kernel.contains_key(*name), "{name}");
    }
    Ok(())
}

/// One setting of each type, read back from the file itself.
fn settings_are_set(context: &mut Context) -> Result<()> {
    let netns = context.netns("director")?;
    let mut client = connect(&netns)?;
    client.set_sysctl(sysctl::EXPIRE_NODEST_CONN, true)?;
    client.set_sysctl(sysctl::SNAT_REROUTE, false)?;
    client.set_sysctl(sysctl::AM_DROPRATE, 17)?;
    client.set_sysctl(sysctl::DROP_PACKET, Defense::Always)?;
    client.set_sysctl(sysctl::CONN_REUSE_MODE, ConnReuse::SAFE | ConnReuse::FIN_WAIT)?;
    client.set_sysctl(sysctl::SYNC_THRESHOLD, SyncThreshold { packets: 5, period: 100 })?;
    client.set_sysctl(sysctl::SYNC_REFRESH_PERIOD, Duration::from_secs(90))?;
    client.set_sysctl(sysctl::SYNC_QLEN_MAX, 100_000)?;
    for (name, value) in [
        ("expire_nodest_conn", "1"),
        ("snat_reroute", "0"),
        ("am_droprate", "17"),
        ("drop_packet", "3"),
        ("conn_reuse_mode", "3"),
        ("sync_threshold", "5\t100"),
        ("sync_refresh_period", "90"),
        ("sync_qlen_max", "100000"),
    ] {
        assert_eq!(netns.read_sysctl(&format!("net.ipv4.vs.{name}"))?, value, "{name}");
    }
    Ok(())
}

fn the_kernel_refuses_what_is_out_of_range(context: &mut Context) -> Result<()> {
    let netns = context.netns("director")?;
    let mut client = connect(&netns)?;
    let before = settings(&netns)?;
    let too_far = SyncThreshold { packets: 50, period: 50 };
    for (result, name) in [
        (client.set_sysctl(sysctl::SYNC_PORTS, 3), "sync_ports"),
        (client.set_sysctl(sysctl::SYNC_RETRIES, 4), "sync_retries"),
        (client.set_sysctl(sysctl::SYNC_VERSION, 2), "sync_version"),
        (client.set_sysctl(sysctl::SYNC_THRESHOLD, too_far), "sync_threshold"),
        (client.set_sysctl(sysctl::SECURE_TCP, Defense::Other(4)), "secure_tcp"),
    ] {
        let error = result.err().context(name)?;
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
        assert_eq!(error.object(), Some(&Object::Sysctl(name)));
    }
    if client.sysctl(sysctl::EST_NICE)?.is_some() {
        let cpus = [60_000].into_iter().collect();
        for (result, name) in [
            (client.set_sysctl(sysctl::EST_NICE, 20), "est_nice"),
            (client.set_sysctl(sysctl::EST_CPULIST, cpus), "est_cpulist"),
        ] {
            let error = result.err().context(name)?;
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
        }
    } else {
        let error = client.set_sysctl(sysctl::EST_NICE, 0).err().context("it was set")?;
        assert_eq!(error.kind(), ErrorKind::SysctlNotFound);
    }
    assert_eq!(settings(&netns)?, before);
    Ok(())
}
