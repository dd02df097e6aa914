//! What failover has to do, row by row, and which tests show it.
//!
//! `docs/testing.md` has the rows as a table; a test here compares them, and looks up each test.

use serde::Serialize;

/// Something that has to hold, and the tests that show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// V1 to V11.
    pub id: &'static str,
    /// What has to hold.
    pub what: &'static str,
    /// Tests on a kernel: what `cargo xtask test NAME --integration` takes.
    pub on_kernel: &'static [&'static str],
    /// Tests that need no kernel of their own: what follows `cargo test`.
    pub on_host: &'static [&'static str],
}

impl Row {
    /// The commands that run its tests.
    pub fn commands(&self) -> impl Iterator<Item = String> + '_ {
        let on_kernel =
            self.on_kernel.iter().map(|name| format!("cargo xtask test {name} --integration"));
        on_kernel.chain(self.on_host.iter().map(|arguments| format!("cargo test {arguments}")))
    }
}

/// All rows.
pub const ROWS: &[Row] = &[
    Row {
        id: "V1",
        what: "adverts are keepalived's, byte for byte, both ways",
        on_kernel: &["failover::packets::adverts_are_as_tcpdump_reads_them"],
        on_host: &["-p vrrp --test golden", "-p vrrp --test second_opinion"],
    },
    Row {
        id: "V2",
        what: "beside another program in either role there is one owner, the better one, except for a second around a change",
        on_kernel: &[
            "failover::peers::beside_keepalived_in_version_2",
            "failover::peers::beside_keepalived_in_version_2_with_a_password",
            "failover::peers::beside_keepalived_in_version_3",
            "failover::peers::beside_keepalived_over_ipv6",
            "failover::peers::beside_keepalived_by_unicast",
            "failover::peers::beside_frr_in_version_2",
            "failover::peers::beside_frr_in_version_3",
            "failover::peers::of_equal_routers_the_higher_address_wins",
        ],
        on_host: &[],
    },
    Row {
        id: "V3",
        what: "after a goodbye the other one takes over within its skew and 0.2 s",
        // Each of these ends the better router in good order.
        on_kernel: &[
            "failover::peers::beside_keepalived_in_version_2",
            "failover::peers::beside_keepalived_in_version_3",
            "failover::peers::beside_keepalived_over_ipv6",
            "failover::peers::beside_frr_in_version_2",
            "failover::peers::beside_frr_in_version_3",
        ],
        on_host: &["-p vrrp --test steps"],
    },
    Row {
        id: "V4",
        what: "after a crash with the link down the other one takes over within three intervals, its skew and 0.3 s",
        on_kernel: &["failover::peers::a_crash_of_either_is_noticed_in_time"],
        on_host: &[],
    },
    Row {
        id: "V5",
        what: "adverts with any field wrong count as they do for keepalived 2.2.7; other addresses count as for 2.3.3",
        on_kernel: &["failover::matrix::adverts_count_as_they_do_for_keepalived"],
        on_host: &[],
    },
    Row {
        id: "V6",
        what: "version 3 over IPv4 works with either checksum if both routers have the same; otherwise the log says so",
        // keepalived 2.2.7 and FRR 8.4.4 have the pseudo-header alone.
        on_kernel: &[
            "failover::checksums::two_with_the_checksum_of_rfc_9568_agree",
            "failover::checksums::another_checksum_is_no_advert_and_the_log_says_so",
            "failover::peers::beside_keepalived_in_version_3",
            "failover::peers::beside_frr_in_version_3",
            "failover::matrix::adverts_count_as_they_do_for_keepalived",
        ],
        on_host: &["-p vrrp --test golden"],
    },
    Row {
        id: "V7",
        what: "the state is the documented one, and there is one owner: no preemption, preemption after a delay, an owner, an interface that goes and comes, an address removed by hand, one that is there at the start",
        on_kernel: &[
            "failover::alone::a_router_that_does_not_preempt_stays_backup",
            "failover::states::a_router_preempts_after_its_delay",
            "failover::states::an_owner_takes_over_at_once",
            "failover::states::an_interface_that_is_taken_down_gives_the_address_away",
            "failover::alone::a_cable_that_is_pulled_takes_the_address_along",
            "failover::alone::an_interface_may_come_later",
            "failover::alone::an_address_that_somebody_removes_comes_back",
            "failover::states::an_address_that_is_removed_again_and_again_goes_elsewhere",
            "failover::alone::an_address_that_was_left_behind_goes_at_the_start",
        ],
        on_host: &["-p vrrp --test steps"],
    },
    Row {
        id: "V8",
        what: "each address is announced five times at once and five times after five seconds; neighbors follow",
        on_kernel: &[
            "failover::packets::addresses_are_announced_five_times_and_again",
            "failover::packets::a_neighbor_follows_at_once",
        ],
        on_host: &[],
    },
    Row {
        id: "V9",
        what: "a connection through IPVS survives a failover and the way back, as the synchronization daemon follows the address",
        on_kernel: &["failover::sync::a_download_survives_a_failover_and_the_way_back"],
        on_host: &[],
    },
    Row {
        id: "V10",
        what: "a partition has an owner on each side, one at most an interval after it heals, and the winner announces itself",
        on_kernel: &[
            "failover::faults::a_partition",
            "failover::packets::the_winner_of_a_partition_announces_itself",
        ],
        on_host: &["-p vrrp --test sim"],
    },
    Row {
        id: "V11",
        what: "a router that was stopped for longer than others wait steps down at most an interval after it wakes",
        on_kernel: &[
            "failover::faults::a_daemon_that_is_stopped",
            "failover::faults::a_daemon_that_is_stopped_and_does_not_preempt",
        ],
        on_host: &["-p vrrp --test sim"],
    },
];

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]
mod tests {
    use std::path::Path;

    use super::*;

    fn read(path: &str) -> String {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"))
    }

    #[test]
    fn rows_are_v1_to_v11_and_each_has_a_test() {
        let ids: Vec<&str> = ROWS.iter().map(|row| row.id).collect();
        let wanted: Vec<String> = (1..=11).map(|number| format!("V{number}")).collect();
        assert_eq!(ids, wanted);
        for row in ROWS {
            assert!(row.commands().next().is_some(), "{}", row.id);
        }
    }

    #[test]
    fn each_test_exists() {
        for row in ROWS {
            for name in row.on_kernel {
                let [room, topic, function] = name.split("::").collect::<Vec<_>>()[..] else {
                    panic!("{name}");
                };
                let source = read(&format!("tests/tests/{room}/{topic}.rs"));
                assert!(source.contains(&format!("suite.add(test!({function})")), "{name}");
            }
            for arguments in row.on_host {
                let words: Vec<&str> = arguments.split(' ').collect();
                let ["-p", package, "--test", target] = words[..] else { panic!("{arguments}") };
                read(&format!("crates/{package}/tests/{target}.rs"));
            }
        }
    }

    #[test]
    fn the_page_has_each_row() {
        let page = read("docs/testing.md");
        for row in ROWS {
            let names = row.on_kernel.iter().map(|name| name.replacen("failover::", "", 1));
            let tests = names.chain(row.on_host.iter().map(|it| format!("cargo test {it}")));
            let tests: Vec<String> = tests.map(|it| format!("`{it}`")).collect();
            let line = format!("| {} | {} | {} |", row.id, row.what, tests.join(", "));
            assert!(page.contains(&line), "docs/testing.md lacks this line:\n{line}");
        }
    }
}
