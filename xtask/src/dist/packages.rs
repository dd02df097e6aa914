//! The packages: what each has that the others don't.
//!
//! The names of those that Debian has too differ from Debian's, so that a later version of Debian's isn't
//! taken for an upgrade. Each of these provides the name of Debian's, in the version whose commands and files ours
//! accepts, which satisfies the dependencies of other packages.

use super::package::{Contents, Package};

/// A file of the example cluster.
macro_rules! example {
    ($name:literal) => {
        include_str!(concat!("../../../crates/director-command/examples/cluster/", $name))
    };
}

/// The administrator's command, with the service that restores its rules at boot.
pub(super) const IPVSADM: Package = Package {
    krate: "ipvsadm",
    program: "ipvsadm",
    provided: Some("1:1.31"),
    links: &[("usr/sbin/ipvsadm-save", "ipvsadm"), ("usr/sbin/ipvsadm-restore", "ipvsadm")],
    commands: &["ipvsadm", "ipvsadm-save", "ipvsadm-restore"],
    contents: &[
        ("etc/init.d/ipvsadm", include_str!("debian/ipvsadm/init"), 0o755),
        ("lib/systemd/system/ipvsadm.service", IPVSADM_UNIT, 0o644),
        ("usr/share/ipvsadm-rs/default", include_str!("debian/ipvsadm/default"), 0o644),
        ("DEBIAN/preinst", include_str!("debian/ipvsadm/preinst"), 0o755),
        ("DEBIAN/postinst", include_str!("debian/ipvsadm/postinst"), 0o755),
        ("DEBIAN/prerm", include_str!("debian/ipvsadm/prerm"), 0o755),
        ("DEBIAN/postrm", include_str!("debian/ipvsadm/postrm"), 0o755),
    ],
    conffiles: &["/etc/init.d/ipvsadm"],
    // What remains is what the service needs: netlink and other sockets, the machine's network,
    // CAP_NET_ADMIN, and root.
    units: &[("ipvsadm.service", IPVSADM_UNIT, 25)],
    section: "net",
    // Before Debian 12, lsb-base has the functions for init scripts.
    depends: "sysvinit-utils (>= 3.05-3) | lsb-base",
    relations: "Suggests: keepalived, ldirectord\n",
    description: "administers the Linux Virtual Server (IPVS), in Rust\n \
                  The program ipvsadm with the commands of the C program, byte for byte the\n \
                  same output, and the boot-time service of that name. It takes the place of\n \
                  the package ipvsadm.\n",
    copyright: "",
    texts: || Contents {
        pages: ipvsadm::manual_pages().into(),
        completions: ipvsadm::completions().into(),
    },
};

/// The daemon, with its services.
///
/// Its configuration files are those of Debian's package, and all but the init script have the same
/// bytes there since Debian 12. So dpkg, which asks only about a file that both an administrator and
/// the package have changed, asks nothing about an edited one.
///
/// The OCF resource agent belongs to Debian's `resource-agents`, and runs either program.
pub(super) const LDIRECTORD: Package = Package {
    krate: "ldirectord",
    program: "ldirectord",
    provided: Some("1:4.12.0"),
    links: &[("etc/ha.d/resource.d/ldirectord", "/usr/sbin/ldirectord")],
    commands: &["ldirectord"],
    contents: &[
        ("etc/default/ldirectord", include_str!("debian/ldirectord/default"), 0o644),
        ("etc/ha.d/ldirectord.cf", include_str!("debian/ldirectord/ldirectord.cf"), 0o644),
        ("etc/init.d/ldirectord", include_str!("debian/ldirectord/init"), 0o755),
        ("etc/logrotate.d/ldirectord", include_str!("debian/ldirectord/logrotate"), 0o644),
        ("lib/systemd/system/ldirectord.service", LDIRECTORD_UNIT, 0o644),
        ("lib/systemd/system/ldirectord@.service", LDIRECTORD_TEMPLATE, 0o644),
        (
            "usr/share/doc/ldirectord-rs/examples/ldirectord.cf",
            include_str!("../../../crates/ldirectord/examples/direct-routing.cf"),
            0o644,
        ),
        ("DEBIAN/preinst", include_str!("debian/ldirectord/preinst"), 0o755),
        ("DEBIAN/postinst", include_str!("debian/ldirectord/postinst"), 0o755),
        ("DEBIAN/prerm", include_str!("debian/ldirectord/prerm"), 0o755),
        ("DEBIAN/postrm", include_str!("debian/ldirectord/postrm"), 0o755),
    ],
    conffiles: &[
        "/etc/default/ldirectord",
        "/etc/ha.d/ldirectord.cf",
        "/etc/init.d/ldirectord",
        "/etc/logrotate.d/ldirectord",
    ],
    // Commands that the file names run with the unit's rights, so it keeps most of root's.
    units: &[
        ("ldirectord.service", LDIRECTORD_UNIT, 90),
        ("ldirectord@.service", LDIRECTORD_TEMPLATE, 90),
    ],
    section: "admin",
    depends: "adduser, sysvinit-utils (>= 3.05-3) | lsb-base",
    // Not ipvsadm: only people and scripts use it.
    relations: "Recommends: ca-certificates, ipvsadm, logrotate\n",
    description: "health checks of IPVS real servers, in Rust\n \
                  The daemon ldirectord: it keeps the kernel's table of virtual services in\n \
                  line with the health of their real servers. Configuration files, verbs,\n \
                  exit codes and log lines are those of the Perl program. It takes the place\n \
                  of the package ldirectord.\n",
    copyright: include_str!("debian/ldirectord/copyright"),
    texts: || Contents {
        pages: ldirectord::manual_pages().into(),
        completions: ldirectord::completions().into(),
    },
};

/// The failover daemon. It isn't enabled when it is installed: its file says nothing yet.
pub(super) const VIPD: Package = Package {
    krate: "vip",
    program: "vipd",
    provided: None,
    links: &[],
    commands: &["vipd"],
    contents: &[
        ("etc/director/vip.toml", include_str!("debian/vipd/vip.toml"), 0o644),
        ("lib/systemd/system/vipd.service", VIPD_UNIT, 0o644),
        (
            "usr/share/doc/vipd/examples/vip.toml",
            include_str!("../../../crates/vip/examples/vip.toml"),
            0o644,
        ),
        ("DEBIAN/postinst", include_str!("debian/vipd/postinst"), 0o755),
        ("DEBIAN/prerm", include_str!("debian/vipd/prerm"), 0o755),
        ("DEBIAN/postrm", include_str!("debian/vipd/postrm"), 0o755),
    ],
    conffiles: &["/etc/director/vip.toml"],
    // What remains is what it needs: netlink, raw and packet sockets, and CAP_NET_ADMIN.
    units: &[("vipd.service", VIPD_UNIT, 25)],
    section: "admin",
    depends: "adduser",
    relations: "Suggests: ldirectord, ipvsadm\n",
    description: "addresses that move between machines, by VRRP\n \
                  The daemon vipd: several machines share an address, one of them has it, and\n \
                  another takes over when it fails. It understands keepalived, follows the\n \
                  health of virtual services, and has the connections of IPVS synchronized.\n",
    copyright: "",
    texts: || Contents {
        pages: vip::manual_pages().into(),
        completions: vip::completions().into(),
    },
};

/// The command that sets up directors and real servers.
pub(super) const DIRECTOR: Package = Package {
    krate: "director-command",
    program: "director",
    provided: None,
    links: &[],
    commands: &["director"],
    contents: &[
        ("usr/share/doc/director/examples/ha.cf", example!("ha.cf"), 0o644),
        ("usr/share/doc/director/examples/haresources", example!("haresources"), 0o644),
        ("usr/share/doc/director/examples/authkeys", example!("authkeys"), 0o644),
        ("usr/share/doc/director/examples/ldirectord.cf", example!("ldirectord.cf"), 0o644),
    ],
    conffiles: &[],
    units: &[],
    section: "admin",
    // Real servers need neither of the daemons.
    depends: "",
    relations: "Suggests: vipd, ldirectord\n",
    description: "sets up a cluster of IPVS directors\n \
                  The command director makes the configuration of vipd from the files of\n \
                  heartbeat and keepalived, sets up real servers for direct routing, and\n \
                  finds what will break a director.\n",
    copyright: "",
    texts: || Contents {
        pages: director_command::manual_pages().into(),
        completions: director_command::completions().into(),
    },
};

/// All of them.
pub(super) const ALL: [Package; 4] = [IPVSADM, LDIRECTORD, VIPD, DIRECTOR];

const VIPD_UNIT: &str = include_str!("../../../crates/vip/dist/vipd.service");

const IPVSADM_UNIT: &str = include_str!("debian/ipvsadm/service");

const LDIRECTORD_UNIT: &str = include_str!("../../../crates/ldirectord/dist/ldirectord.service");

const LDIRECTORD_TEMPLATE: &str =
    include_str!("../../../crates/ldirectord/dist/ldirectord@.service");

#[cfg(test)]
mod tests {
    use super::*;

    /// A name stands for `%i`, and both have to be kept the same otherwise.
    #[test]
    fn the_units_of_ldirectord_differ_only_in_the_files_name() {
        let lines = |unit: &'static str| unit.lines().skip_while(|line| line.starts_with('#'));
        let usual: Vec<String> = lines(LDIRECTORD_UNIT).map(str::to_owned).collect();
        let instance: Vec<String> = lines(LDIRECTORD_TEMPLATE)
            .map(|line| line.replace(", for %i", "").replace(" %i", ""))
            .collect();
        assert_eq!(usual, instance);
    }

    #[test]
    fn whatever_is_in_etc_is_a_configuration_file() {
        // Debian's policy, 10.7.2.
        for package in ALL {
            let mut there: Vec<String> = package
                .contents
                .iter()
                .filter(|(path, ..)| path.starts_with("etc/"))
                .map(|(path, ..)| format!("/{path}"))
                .collect();
            there.sort();
            assert_eq!(there, package.conffiles, "{}", package.program);
        }
    }

    /// From Debian 12's package, and the same in Debian 13's.
    #[test]
    fn ldirectord_has_the_configuration_files_of_debians() {
        let debians = "/etc/default/ldirectord\n/etc/ha.d/ldirectord.cf\n\
                       /etc/init.d/ldirectord\n/etc/logrotate.d/ldirectord";
        assert_eq!(LDIRECTORD.conffiles.join("\n"), debians);
    }
}
