//! What the commands of the file, and the daemon itself, can do under the unit as it is shipped.

use anyhow::{Result, ensure};
use ipvs_testkit::eventually;

use super::machine::{Director, LIMIT};

/// A check that uses what was written for root uses.
const CHECK: &str = "#!/bin/sh\n\
    set -e\n\
    echo $1 $2 $3 $4 > /var/lib/check\n\
    mkdir -p /root/seen /usr/local/seen\n\
    ip addr add 10.0.0.9/32 dev lo 2> /dev/null || true\n\
    ip addr show dev lo | grep -q 10.0.0.9/32\n\
    ipvsadm -L -n | grep -q 10.0.0.1:80\n\
    mountpoint -q /mnt || mount -t tmpfs seen /mnt\n";

/// A command for when the fallback comes in: it sends a mail.
const FALLBACK: &str = "#!/bin/sh\n\
    echo \"Subject: fallback $*\" | /usr/sbin/sendmail root\n";

/// What is in the file besides: this check, this command, and a ping.
const LINES: &str = "\tfallbackcommand=/root/fallback\n\
    virtual=10.0.0.1:81\n\treal=127.0.0.1:81 gate\n\tscheduler=rr\n\tchecktype=external\n\
    \tcheckcommand=/root/check\n\
    virtual=10.0.0.1:82\n\treal=127.0.0.1:82 gate\n\tscheduler=rr\n\tchecktype=ping\n";

pub(super) fn check(director: &Director) -> Result<()> {
    director.said("a check written for root works: files, addresses, the table, mounts");
    for (path, script) in [("/root/check", CHECK), ("/root/fallback", FALLBACK)] {
        director.machine.write(path.trim_start_matches('/'), script)?;
        director.shell(&format!("chmod 755 {path}"))?;
    }
    director.packages("dpkg -i /root/debs/perl/libnl-*.deb /root/debs/perl/ipvsadm_*.deb")?;
    director.configure(LINES)?;
    director.systemctl("reload")?;
    let served = |port: &str| {
        eventually(LIMIT, || {
            let table = director.shell("cat /proc/net/ip_vs")?;
            let mut lines =
                table.lines().skip_while(|it| !it.contains(&format!("0A000001:{port} ")));
            let next = lines.nth(1).unwrap_or_default();
            let status = || director.shell("ldirectord status");
            ensure!(next.starts_with(&format!("  -> 7F000001:{port} ")), "{table}{:?}", status());
            Ok(())
        })
    };
    served("0051")?;
    let args = director.shell("cat /var/lib/check")?;
    ensure!(args == "10.0.0.1 81 127.0.0.1 81\n", "the check was called with {args:?}");
    // Whoever looks from elsewhere sees it, too.
    director.shell("test -d /root/seen && test -d /usr/local/seen && mountpoint -q /mnt")?;

    director.said("a ping works");
    served("0052")?;

    director.said("a command sends a mail, by a program with the rights of a group");
    director.shell("test -g \"$(readlink -f /usr/sbin/sendmail)\"")?;
    // The real server of the first virtual service goes into maintenance for the worker.
    director.shell("ldirectord disable 10.0.0.2:80")?;
    eventually(LIMIT, || {
        director.shell("grep '^Subject: fallback start 10.0.0.1:80 tcp' /var/mail/root").map(drop)
    })?;
    director.shell("ldirectord enable 10.0.0.2:80")?;
    director.expect_table(true)?;

    director.said("logrotate turns the log, which goes on in the new file");
    director.shell("logrotate --force /etc/logrotate.conf")?;
    director.shell("test -s /var/log/ldirectord.log.1")?;
    director.configure("")?;
    director.systemctl("reload")?;
    eventually(LIMIT, || {
        director
            .shell("grep 'Purged virtual server: 10.0.0.1:8[12]' /var/log/ldirectord.log")
            .map(drop)
    })?;
    director.shell(
        "if grep 'Purged virtual server' /var/log/ldirectord.log.1; then exit 1; fi; umount /mnt",
    )?;
    Ok(())
}
