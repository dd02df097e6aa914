//! The settings of each kernel version, and their initial values
//! (`ip_vs_control_net_init_sysctl` in `ip_vs_ctl.c`, `ip_vs_lblc.c`, `ip_vs_lblcr.c`).

/// A setting: its name, the first version that has it, and its value in the initial network
/// namespace.
type Setting = (&'static str, (u32, u32), &'static str);

/// Older than all versions that the model knows.
const ALWAYS: (u32, u32) = (0, 0);
/// The kernel's default on a machine with 1 GiB of memory: 1/32 of the free pages.
const QUEUE_OF_1_GIB: &str = "7905";
/// For a machine with one processor.
const ONE_PROCESSOR: &str = "0";
/// `DEFAULT_EXPIRATION`, one day.
const DAY: &str = "86400";

const SETTINGS: &[Setting] = &[
    ("am_droprate", ALWAYS, "10"),
    ("amemthresh", ALWAYS, "1024"),
    ("backup_only", ALWAYS, "0"),
    ("cache_bypass", ALWAYS, "0"),
    ("conn_lfactor", (7, 1), "-4"),
    ("conn_max", (7, 2), "1073741824"),
    ("conn_reuse_mode", ALWAYS, "1"),
    ("conntrack", ALWAYS, "0"),
    ("debug_level", ALWAYS, "0"),
    ("drop_entry", ALWAYS, "0"),
    ("drop_packet", ALWAYS, "0"),
    ("est_cpulist", (6, 2), ONE_PROCESSOR),
    ("est_nice", (6, 2), "0"),
    ("expire_nodest_conn", ALWAYS, "0"),
    ("expire_quiescent_template", ALWAYS, "0"),
    ("ignore_tunneled", ALWAYS, "0"),
    ("lblc_expiration", ALWAYS, DAY),
    ("lblcr_expiration", ALWAYS, DAY),
    ("nat_icmp_send", ALWAYS, "0"),
    ("pmtu_disc", ALWAYS, "1"),
    ("run_estimation", ALWAYS, "1"),
    ("schedule_icmp", ALWAYS, "0"),
    ("secure_tcp", ALWAYS, "0"),
    ("sloppy_sctp", ALWAYS, "0"),
    ("sloppy_tcp", ALWAYS, "0"),
    ("snat_reroute", ALWAYS, "1"),
    ("svc_lfactor", (7, 1), "-3"),
    ("sync_persist_mode", ALWAYS, "0"),
    ("sync_ports", ALWAYS, "1"),
    ("sync_qlen_max", ALWAYS, QUEUE_OF_1_GIB),
    ("sync_refresh_period", ALWAYS, "0"),
    ("sync_retries", ALWAYS, "0"),
    ("sync_sock_size", ALWAYS, "0"),
    ("sync_threshold", ALWAYS, "3\t50"),
    ("sync_version", ALWAYS, "1"),
];

/// Name and value of each setting in a version.
pub(crate) fn of_version(
    version: (u32, u32),
) -> impl Iterator<Item = (&'static str, &'static str)> {
    let known = SETTINGS.iter().filter(move |(_, since, _)| version >= *since);
    known.map(|(name, _, value)| (*name, *value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_has_every_setting_of_the_library() {
        let names: Vec<_> = of_version((7, 2)).map(|(name, _)| name).collect();
        assert_eq!(names, ipvs::sysctl::NAMES);
    }
}
