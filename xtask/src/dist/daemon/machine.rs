//! A machine that is the director, the network around it, and a connection through its virtual service.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::SocketAddrV4;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use ipvs_testkit::{Booted, Held, Machine, NameServer, Namespace, eventually};

use super::TIMEOUT;

/// The package.
pub(super) const NAME: &str = "ldirectord-rs";

/// Several times what anything here takes on a busy machine.
pub(super) const LIMIT: Duration = Duration::from_secs(60);

/// The same for a script, which may wait for a service to start or stop.
const SCRIPT: Duration = Duration::from_secs(120);

/// More than the unit's `WatchdogSec`, and more than the 30 s of a parent, with room for a slow machine.
const WATCHED: Duration = Duration::from_secs(240);

/// The file: a virtual service with a real server on this machine.
const FILE: &str = "checkinterval=1\nchecktimeout=2\nlogfile=\"/var/log/ldirectord.log\"\n\
                    virtual=10.0.0.1:80\n\treal=10.0.0.2:80 masq\n\tscheduler=rr\n\tchecktype=connect\n";

/// How often a connection is used while something goes on.
const GAP: Duration = Duration::from_millis(20);

/// How its table appears in `/proc/net/ip_vs`.
const TABLE: [&str; 2] = ["TCP  0A000001:0050 rr", "  -> 0A000002:0050      Masq    1"];

/// A network namespace with a virtual IP, and a server behind it.
pub(super) struct Network {
    namespace: Namespace,
    _server: NameServer,
}

impl Network {
    pub(super) fn create() -> Result<Self> {
        let namespace = Namespace::create("daemon")?;
        let addresses = ["addr add 10.0.0.1/32 dev lo", "addr add 10.0.0.2/32 dev lo"];
        namespace.ip(&["link set lo up", addresses[0], addresses[1]])?;
        // Nobody listens at the virtual address: without IPVS, a connection to it is reset.
        let server = NameServer::start(&namespace, address("10.0.0.2:80")?, "real")?;
        Ok(Self { namespace, _server: server })
    }
}

fn address(text: &str) -> Result<SocketAddrV4> {
    text.parse().with_context(|| format!("{text} is no address"))
}

/// A connection to the virtual service.
pub(super) struct Connection(Held);

impl Connection {
    /// Sends a byte through it, which is answered.
    pub(super) fn lives(&mut self, after: &str) -> Result<()> {
        self.0.ask().with_context(|| format!("the connection is dead after {after}"))
    }

    /// Uses it all the while. A table that is cleared and written again may bring a connection back
    /// that nobody used in between.
    pub(super) fn lives_through<T>(
        &mut self,
        what: &str,
        action: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let (done, lived) = self.used_during(what, action);
        let done = done?;
        lived.map(|()| done)
    }

    /// Uses it all the while, and expects that it is reset.
    pub(super) fn is_cut_by<T>(
        &mut self,
        what: &str,
        action: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let (done, lived) = self.used_during(what, action);
        let done = done?;
        let Err(error) = lived else { bail!("the connection lives through {what}") };
        let cause = error.downcast_ref::<io::Error>().map(io::Error::kind);
        ensure!(cause == Some(ErrorKind::ConnectionReset), "{what} doesn't reset it: {error:?}");
        Ok(done)
    }

    /// What becomes of an action, and of the connection, which is used until it ends or dies.
    fn used_during<T>(
        &mut self,
        what: &str,
        action: impl FnOnce() -> Result<T>,
    ) -> (Result<T>, Result<()>) {
        let (end, ended) = channel::<()>();
        thread::scope(|scope| {
            let asking = scope.spawn(move || {
                loop {
                    self.lives(what)?;
                    if ended.recv_timeout(GAP) != Err(RecvTimeoutError::Timeout) {
                        return self.lives(what);
                    }
                }
            });
            let done = action();
            drop(end);
            let lived = asking.join().unwrap_or_else(|_| bail!("using the connection panicked"));
            (done, lived)
        })
    }
}

/// The machine, booted.
pub(super) struct Director<'a> {
    pub(super) machine: &'a Machine,
    network: &'a Network,
    booted: Booted,
}

impl<'a> Director<'a> {
    pub(super) fn boot(machine: &'a Machine, network: &'a Network) -> Result<Self> {
        Ok(Self { machine, network, booted: machine.boot(&network.namespace)? })
    }

    pub(super) fn said(&self, what: &str) {
        println!("- {what}");
    }

    pub(super) fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        error.context(self.booted.log())
    }

    pub(super) fn shut_down(self) -> Result<()> {
        self.booted.shut_down()
    }

    /// Runs a script, which must succeed, and returns its output. Nothing answers its questions.
    pub(super) fn shell(&self, script: &str) -> Result<String> {
        self.shell_within(SCRIPT, script)
    }

    /// [`Director::shell`] for scripts that install or remove packages.
    ///
    /// The guest's kernel holds a file of the host open for each that it has in its cache.
    pub(super) fn packages(&self, script: &str) -> Result<String> {
        let output = self.shell_within(TIMEOUT, script);
        std::fs::write("/proc/sys/vm/drop_caches", "2").context("can't let files go")?;
        output
    }

    fn shell_within(&self, limit: Duration, script: &str) -> Result<String> {
        let script = format!("export DEBIAN_FRONTEND=noninteractive; exec < /dev/null; {script}");
        let finished = self.booted.run_within(limit, "sh", &["-euc", &script])?;
        ensure!(
            finished.status.success(),
            "{script}: {}: {}{}",
            finished.status,
            finished.stdout,
            finished.stderr
        );
        Ok(finished.stdout)
    }

    pub(super) fn systemctl(&self, verb: &str) -> Result<String> {
        self.shell(&format!("systemctl {verb} ldirectord"))
    }

    /// Installs what is in one of the folders of packages.
    pub(super) fn install(&self, place: &str) -> Result<String> {
        self.packages(&format!("dpkg -i /root/debs/{place}/*.deb"))
    }

    /// Writes the file, with more lines for its virtual service.
    pub(super) fn configure(&self, lines: &str) -> Result<()> {
        self.machine.write("etc/ha.d/ldirectord.cf", &format!("{FILE}{lines}"))
    }

    pub(super) fn main_pid(&self) -> Result<String> {
        Ok(self.shell("systemctl show --property=MainPID --value ldirectord")?.trim().to_owned())
    }

    /// Those of the service and of its instance for web.cf.
    pub(super) fn main_pids(&self) -> Result<[String; 2]> {
        let pid = "systemctl show --property=MainPID --value ldirectord@web.cf";
        Ok([self.main_pid()?, self.shell(pid)?.trim().to_owned()])
    }

    /// The kernel's table, without counters.
    fn table(&self) -> Result<Vec<String>> {
        let text = self.shell("cat /proc/net/ip_vs")?;
        Ok(text.lines().skip(3).map(str::to_owned).collect())
    }

    /// Waits until the table is that of the file, or empty.
    pub(super) fn expect_table(&self, is_there: bool) -> Result<()> {
        eventually(LIMIT, || {
            let table = self.table()?;
            let has = |line: &&str| table.iter().any(|it| it.starts_with(*line));
            let is = if is_there { TABLE.iter().all(has) } else { table.is_empty() };
            ensure!(is, "the table is {table:?}");
            Ok(())
        })
    }

    /// Waits for the real server, and connects through the virtual service.
    pub(super) fn connect(&self) -> Result<Connection> {
        self.expect_table(true)?;
        let namespace = &self.network.namespace;
        let held = Held::open(namespace, address("10.0.0.1:0")?, address("10.0.0.1:80")?)?;
        let mut connection = Connection(held.context("the virtual service refuses connections")?);
        connection.lives("its start")?;
        Ok(connection)
    }

    /// The user of the checks and both groups are there.
    pub(super) fn has_users(&self) -> Result<()> {
        let script = "id -gn ldirectord; getent group ldirectord director | cut -d: -f1,4";
        let is = self.shell(script)?;
        ensure!(is == "ldirectord\nldirectord:\ndirector:\n", "users and groups are {is:?}");
        Ok(())
    }

    /// Every file but the configuration is what the package has.
    pub(super) fn is_as_packed(&self) -> Result<()> {
        let differs = self.shell(&format!(
            "[ \"$(dpkg-query -W -f '${{db:Status-Status}}' {NAME})\" = installed ]; \
             dpkg --verify {NAME} | grep -v ' c ' || true; \
             for path in $(dpkg -L {NAME}); do [ -e $path ] || echo $path is missing; done"
        ))?;
        ensure!(differs.is_empty(), "files aren't as packed: {differs}");
        Ok(())
    }

    /// The configuration files, the init script aside, are as an administrator edited them.
    pub(super) fn keeps_edited(&self) -> Result<()> {
        self.shell(
            "grep -q 10.0.0.1:80 /etc/ha.d/ldirectord.cf; \
             for file in default logrotate.d; do grep -qx '# edited' /etc/$file/ldirectord; done",
        )
        .map(drop)
    }

    pub(super) fn worker(&self) -> Result<String> {
        Ok(self.shell("pgrep -f '^ldirectord --worker'")?.trim().to_owned())
    }

    pub(super) fn checks_as_its_user(&self) -> Result<()> {
        let worker = self.worker()?;
        let user = self.shell(&format!("ps -o user= -p {worker}"))?;
        // ps cuts longer names.
        ensure!(user.trim() == "ldirect+" || user.trim() == "ldirectord", "checks run as {user}");
        Ok(())
    }

    /// Stops a process and waits until another is in its place; first the parent, then the worker.
    pub(super) fn watched(&self) -> Result<()> {
        for of in [Self::main_pid, Self::worker] {
            let before = of(self)?;
            self.shell(&format!("kill -STOP {before}"))?;
            eventually(WATCHED, || {
                let after = of(self)?;
                ensure!(after != before && after != "0", "{before} is still there");
                self.systemctl("is-active").map(drop)
            })?;
            self.expect_table(true)?;
        }
        Ok(())
    }

    /// What the resource agent does, with the file as a cluster's manager would run it.
    pub(super) fn agent(&self) -> Result<()> {
        self.systemctl("disable --now")?;
        self.expect_table(false)?;
        self.packages("dpkg --force-depends --no-triggers -i /root/debs/agents/*.deb")?;
        let act = |action: &str, wanted: u8| {
            self.shell(&format!(
                "export OCF_ROOT=/usr/lib/ocf OCF_RESOURCE_INSTANCE=ldirectord; set +e; \
                 /usr/lib/ocf/resource.d/heartbeat/ldirectord {action} > /tmp/agent 2>&1; \
                 is=$?; [ $is = {wanted} ] || {{ cat /tmp/agent; echo it ends with $is; exit 1; }}"
            ))
            .with_context(|| format!("the agent's {action}"))
        };
        // OCF's codes: 0 is success, 7 is not running.
        act("monitor", 7)?;
        act("start", 0)?;
        self.expect_table(true)?;
        act("monitor", 0)?;
        act("stop", 0)?;
        self.expect_table(false)?;
        act("monitor", 7)?;
        self.packages("dpkg --purge resource-agents")?;
        self.systemctl("enable --now")?;
        self.expect_table(true)
    }
}

impl fmt::Debug for Director<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Director").finish_non_exhaustive()
    }
}
