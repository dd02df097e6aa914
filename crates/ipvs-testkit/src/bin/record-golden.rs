//! Records the messages between the C ipvsadm and the running kernel, as test data for `ipvs-sys`.
//!
//! ```text
//! record-golden FOLDER
//! ```
//!
//! This creates `FOLDER/SERIES/NAME.hex` for each command of [`steps`], where SERIES is the
//! kernel's, such as `6.1`. It needs root, a kernel with IPVS, nlmon and dummy devices, and
//! `ipvsadm` and `ip` on `PATH`. The commands only change the table of a network namespace made for
//! them.

#![forbid(unsafe_code)]

use std::fmt::Write as _;
use std::net::UdpSocket;
use std::path::Path;
use std::time::Duration;
use std::{env, fs, thread};

use anyhow::{Context as _, Result, bail, ensure};
use ipvs_sys::{Body, Family, GENL_NAME, Messages, Name, ctrl, nl};
use ipvs_testkit::nlmon::{Datagram, Nlmon};
use ipvs_testkit::{KernelVersion, Namespace, finish};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_GENERIC};

/// How long a command may take. Loading a module takes the longest.
const LIMIT: Duration = Duration::from_secs(30);

/// The kernel's estimator runs every 2 seconds; before Linux 6.2, only it refreshes the counters.
const ESTIMATION: Duration = Duration::from_secs(3);

fn main() -> Result<()> {
    let folder = env::args_os().nth(1).context("usage: record-golden FOLDER")?;
    let folder = Path::new(&folder).join(KernelVersion::running()?.to_string());
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {folder:?}"))?;

    let netns = Namespace::create("golden")?;
    netns.ip(&[
        "addr add 10.0.0.1/32 dev lo",
        "addr add 2001:db8::1/128 dev lo",
        "link add dummy0 type dummy",
        "link set dummy0 up multicast on",
        "addr add 192.0.2.1/24 dev dummy0",
        "addr add 2001:db8:1::1/64 dev dummy0 nodad",
        "route add 10.0.0.0/24 dev dummy0",
        "route add 2001:db8::/64 dev dummy0",
    ])?;
    let nlmon = Nlmon::start(&netns)?;

    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    for step in steps() {
        let mut comments = vec![format!("kernel: {release}")];
        // Discard what an earlier step or another program left.
        nlmon.take()?;
        match step.action {
            Action::Run(line) => run(&netns, line, &mut comments)?,
            Action::Send(request) => {
                request.send(&netns, &nlmon, &mut comments)?;
            }
            Action::Traffic => {
                traffic(&netns)?;
                continue;
            }
        }
        let path = folder.join(step.name).with_extension("hex");
        let mut datagrams = nlmon.take()?;
        if !step.controller {
            datagrams.retain(|datagram| !datagram.of_controller());
        }
        ensure!(!datagrams.is_empty(), "{}: the kernel was told nothing", step.name);
        fs::write(&path, file(&comments, &datagrams))
            .with_context(|| format!("cannot write {path:?}"))?;
        println!("{}: {} datagrams", path.display(), datagrams.len());
    }
    Ok(())
}

/// Runs a command, and notes its output.
fn run(netns: &Namespace, line: &str, comments: &mut Vec<String>) -> Result<()> {
    let mut words = line.split_whitespace();
    let mut command = netns.command(words.next().context("an empty command")?);
    let finished = finish(command.args(words), LIMIT)?;
    comments.push(format!("command: {line}"));
    comments.push(format!("exit: {}", finished.status.code().context("killed by a signal")?));
    comments.extend(finished.stdout.lines().map(|line| format!("stdout: {line}")));
    comments.extend(finished.stderr.lines().map(|line| format!("stderr: {line}")));
    Ok(())
}

/// Sends 10 datagrams of 100 bytes from each of 40 ports to the service of `add-traffic-service`.
fn traffic(netns: &Namespace) -> Result<()> {
    for port in 40_000..40_040 {
        let client = netns.run(|| UdpSocket::bind(("10.0.0.1", port)))??;
        for _ in 0..10 {
            client.send_to(&[0; 100], "10.0.0.1:5353")?;
        }
    }
    thread::sleep(ESTIMATION);
    Ok(())
}

/// The text of a capture file: comments, then datagrams in hexadecimal.
fn file(comments: &[String], datagrams: &[Datagram]) -> String {
    let mut text = String::new();
    for comment in comments {
        text.push_str(format!("# {comment}").trim_end());
        text.push('\n');
    }
    for datagram in datagrams {
        for (number, line) in datagram.bytes.chunks(48).enumerate() {
            text.push(match (number, datagram.to_kernel()) {
                (0, true) => '>',
                (0, false) => '<',
                _ => ' ',
            });
            for (number, byte) in line.iter().enumerate() {
                let space = if number % 4 == 0 { " " } else { "" };
                // Writing to a String can't fail.
                let _ = write!(text, "{space}{byte:02x}");
            }
            text.push('\n');
        }
    }
    text
}

struct Step {
    name: &'static str,
    action: Action,
    /// Whether to keep ipvsadm's requests to the controller, which are the same for every command.
    controller: bool,
}

enum Action {
    /// Run a command line.
    Run(&'static str),
    /// Send what no ipvsadm sends.
    Send(Request),
    /// Send packets to be counted; nothing is recorded.
    Traffic,
}

/// A hand-made datagram of requests.
struct Request {
    /// A description, for the capture's comment.
    what: &'static str,
    ext_ack: bool,
    cap_ack: bool,
    messages: &'static [Raw],
}

/// A generic-netlink message.
struct Raw {
    /// The family's ID, or 0 for that of IPVS.
    family: u16,
    flags: u16,
    command: u8,
    attrs: fn() -> Vec<u8>,
}

const ACK: u16 = 0x05;
const NO_ACK: u16 = 0x01;

impl Request {
    fn send(&self, netns: &Namespace, nlmon: &Nlmon, comments: &mut Vec<String>) -> Result<()> {
        let mut socket = netns.run(|| Socket::new(NETLINK_GENERIC))??;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        let family = resolve(&socket)?;
        nlmon.take()?;

        socket.set_ext_ack(self.ext_ack)?;
        socket.set_cap_ack(self.cap_ack)?;
        let mut datagram = Vec::new();
        for (seq, raw) in self.messages.iter().enumerate() {
            let family = if raw.family == 0 { family } else { raw.family };
            let attrs = (raw.attrs)();
            datagram.extend_from_slice(&(20 + attrs.len() as u32).to_ne_bytes());
            datagram.extend_from_slice(&family.to_ne_bytes());
            datagram.extend_from_slice(&raw.flags.to_ne_bytes());
            datagram.extend_from_slice(&(seq as u32 + 1).to_ne_bytes());
            datagram.extend_from_slice(&[0; 4]);
            datagram.extend_from_slice(&[raw.command, 1, 0, 0]);
            datagram.extend_from_slice(&attrs);
        }
        // When this returns, the kernel has executed the requests and replied.
        socket.send(&datagram, 0)?;

        comments.push(format!("request: {}", self.what));
        let options = [("NETLINK_EXT_ACK", self.ext_ack), ("NETLINK_CAP_ACK", self.cap_ack)];
        let set: Vec<_> = options.iter().filter_map(|(name, set)| set.then_some(*name)).collect();
        comments.push(format!("socket: {}", set.join(" ")));
        Ok(())
    }
}

/// The ID of the IPVS family.
fn resolve(socket: &Socket) -> Result<u16> {
    let mut buffer = Vec::new();
    ctrl::get_family(&mut buffer, nl::NLM_F_REQUEST, 0, 0, &Name::new(GENL_NAME)?);
    socket.send(&buffer, 0)?;
    buffer.clear();
    buffer.reserve(8192);
    socket.recv(&mut buffer, 0)?;
    match Messages::new(&buffer).next().context("an empty reply")??.body {
        Body::Data(payload) => Ok(Family::decode(payload)?.id),
        body => bail!("the controller answered with {body:?}"),
    }
}

/// An attribute with its padding.
fn attr(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = (4 + value.len()) as u16;
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// What is recorded. Later steps build on earlier ones. The golden test of `ipvs-sys` documents
/// what each means on the wire.
fn steps() -> Vec<Step> {
    let mut steps = Vec::new();
    let mut run = |name, line| {
        steps.push(Step { name, action: Action::Run(line), controller: name == "info" });
    };

    run("info", "ipvsadm --version");
    run("list-empty", "ipvsadm -L -n");

    run("add-tcp", "ipvsadm -A -t 10.0.0.1:80 -s rr");
    run("add-udp-ops", "ipvsadm -A -u 10.0.0.1:53 -s wlc -o");
    run("add-sctp", "ipvsadm -A --sctp-service 10.0.0.1:9899 -s lc");
    run("add-persistent", "ipvsadm -A -t 10.0.0.1:443 -s wrr -p 600 -M 255.255.255.0");
    run("add-pe", "ipvsadm -A -u 10.0.0.1:5060 -s rr -p 60 --pe sip");
    run("add-sh-flags", "ipvsadm -A -t 10.0.0.1:81 -s sh -b sh-fallback,sh-port");
    run("add-mh-flags", "ipvsadm -A -t 10.0.0.1:82 -s mh -b mh-fallback,mh-port");
    run("add-flag-3", "ipvsadm -A -t 10.0.0.1:83 -s rr -b flag-3");
    run("add-ipv6", "ipvsadm -A -t [2001:db8::1]:80 -s rr -p 300 -M 64");
    run("add-fwmark", "ipvsadm -A -f 7 -s rr");
    run("add-fwmark-ipv6", "ipvsadm -A -f 4294967295 -6 -s sed");
    run("edit-service", "ipvsadm -E -t 10.0.0.1:80 -s wrr -p 120");

    run("add-gate", "ipvsadm -a -t 10.0.0.1:80 -r 10.0.0.11 -g -w 5");
    run("add-masq-thresholds", "ipvsadm -a -t 10.0.0.1:443 -r 10.0.0.12:8443 -m -x 1000 -y 800");
    run("add-ipip", "ipvsadm -a -t 10.0.0.1:80 -r 10.0.0.13 -i");
    run(
        "add-gue",
        "ipvsadm -a -t 10.0.0.1:80 -r 10.0.0.14 -i --tun-type gue --tun-port 6080 --tun-nocsum",
    );
    run(
        "add-gue-csum",
        "ipvsadm -a -t 10.0.0.1:80 -r 10.0.0.15 -i --tun-type gue --tun-port 6081 --tun-csum",
    );
    run(
        "add-gue-remcsum",
        "ipvsadm -a -t 10.0.0.1:80 -r 10.0.0.16 -i --tun-type gue --tun-port 6082 --tun-remcsum",
    );
    run("add-gre-csum", "ipvsadm -a -t 10.0.0.1:80 -r 10.0.0.17 -i --tun-type gre --tun-csum");
    run("add-mixed", "ipvsadm -a -t 10.0.0.1:80 -r [2001:db8::18]:80 -i -w 65535");
    run("add-dest-ipv6", "ipvsadm -a -t [2001:db8::1]:80 -r [2001:db8::19]:80 -g");
    run("add-dest-fwmark", "ipvsadm -a -f 7 -r 10.0.0.20 -g");
    run("edit-dest", "ipvsadm -e -t 10.0.0.1:80 -r 10.0.0.11 -g -w 0");

    run("add-traffic-service", "ipvsadm -A -u 10.0.0.1:5353 -s rr -p 300");
    run("add-traffic-dest", "ipvsadm -a -u 10.0.0.1:5353 -r 10.0.0.21 -g");
    steps.push(Step { name: "", action: Action::Traffic, controller: false });
    let mut run = |name, line| {
        steps.push(Step { name, action: Action::Run(line), controller: name == "info" });
    };
    run("list-rate", "ipvsadm -L -n --rate --exact");
    run("list-stats", "ipvsadm -L -n --stats --exact");
    run("list-connections", "ipvsadm -L -n");
    run("list-persistent", "ipvsadm -L -n --persistent-conn");
    run("list-thresholds", "ipvsadm -L -n --thresholds");
    run("list-save", "ipvsadm -S -n");
    run("list-one", "ipvsadm -L -n -t 10.0.0.1:443");
    run("list-fwmark", "ipvsadm -L -n -f 4294967295 -6");
    run("zero-one", "ipvsadm -Z -u 10.0.0.1:5353");
    run("zero-all", "ipvsadm -Z");

    run("set-timeouts", "ipvsadm --set 900 0 301");
    run("list-timeouts", "ipvsadm -L --timeout");

    run("error-exists", "ipvsadm -A -t 10.0.0.1:80 -s rr");
    run("error-no-scheduler", "ipvsadm -A -t 10.0.0.1:84 -s nosuch");
    run("error-no-service", "ipvsadm -D -t 10.0.0.1:8080");
    run("error-get-no-service", "ipvsadm -L -n -t 10.0.0.1:8080");
    run("error-no-dest", "ipvsadm -d -t 10.0.0.1:80 -r 10.0.0.99");
    run("error-weight", "ipvsadm -a -t 10.0.0.1:80 -r 10.0.0.98 -x 1 -y 2");

    run("delete-dest", "ipvsadm -d -t 10.0.0.1:80 -r 10.0.0.13");
    run("delete-service", "ipvsadm -D -f 7");
    run("flush", "ipvsadm -C");

    run("start-master", "ipvsadm --start-daemon master --mcast-interface dummy0 --syncid 7");
    run(
        "start-backup",
        "ipvsadm --start-daemon backup --mcast-interface dummy0 --syncid 8 --sync-maxlen 1400 \
         --mcast-group 239.1.2.3 --mcast-port 9000 --mcast-ttl 4",
    );
    run("list-daemons", "ipvsadm -L --daemon");
    run("error-daemon-runs", "ipvsadm --start-daemon master --mcast-interface dummy0");
    run("stop-master", "ipvsadm --stop-daemon master");
    run("stop-backup", "ipvsadm --stop-daemon backup");
    run("error-no-daemon", "ipvsadm --stop-daemon backup");
    run(
        "start-master-ipv6",
        "ipvsadm --start-daemon master --mcast-interface dummy0 --mcast-group ff02::e001",
    );
    run("list-daemon-ipv6", "ipvsadm -L --daemon");
    run("stop-master-ipv6", "ipvsadm --stop-daemon master");

    steps.extend(requests());
    steps
}

/// Requests whose replies ipvsadm never gets to see.
fn requests() -> Vec<Step> {
    const SHORT_TIMEOUT: &[Raw] =
        &[Raw { family: 0, flags: ACK, command: 12, attrs: || attr(4, &[1, 2]) }];
    let send = |name, what, ext_ack, cap_ack, messages| Step {
        name,
        action: Action::Send(Request { what, ext_ack, cap_ack, messages }),
        controller: true,
    };
    vec![
        send(
            "short-timeout",
            "SET_CONFIG with TIMEOUT_TCP of 2 bytes",
            false,
            false,
            SHORT_TIMEOUT,
        ),
        send(
            "short-timeout-extack",
            "SET_CONFIG with TIMEOUT_TCP of 2 bytes",
            true,
            false,
            SHORT_TIMEOUT,
        ),
        send(
            "short-timeout-extack-capped",
            "SET_CONFIG with TIMEOUT_TCP of 2 bytes",
            true,
            true,
            SHORT_TIMEOUT,
        ),
        send(
            "short-daemon-state",
            "NEW_DAEMON with a STATE of 2 bytes",
            true,
            true,
            &[Raw { family: 0, flags: ACK, command: 9, attrs: || attr(3, &attr(1, &[1, 0])) }],
        ),
        send(
            "short-service-family",
            "NEW_SERVICE with an AF of 1 byte",
            true,
            true,
            &[Raw { family: 0, flags: ACK, command: 1, attrs: || attr(1, &attr(1, &[2])) }],
        ),
        send(
            "unknown-command",
            "command 99",
            true,
            true,
            &[Raw { family: 0, flags: ACK, command: 99, attrs: Vec::new }],
        ),
        send(
            "unknown-family",
            "GETFAMILY of a family that doesn't exist",
            true,
            true,
            &[Raw { family: 0x10, flags: NO_ACK, command: 3, attrs: || attr(2, b"nosuch\0") }],
        ),
        send(
            "get-config-and-info",
            "GET_CONFIG and GET_INFO in a datagram, an ACK asked for with the last",
            false,
            false,
            &[
                Raw { family: 0, flags: NO_ACK, command: 13, attrs: Vec::new },
                Raw { family: 0, flags: ACK, command: 15, attrs: Vec::new },
            ],
        ),
        send(
            "window",
            "ZERO, DEL_SERVICE of a mark without a service, FLUSH in a datagram, an ACK asked for \
             with the last",
            true,
            true,
            &[
                Raw { family: 0, flags: NO_ACK, command: 16, attrs: Vec::new },
                Raw {
                    family: 0,
                    flags: NO_ACK,
                    command: 3,
                    attrs: || {
                        let family = attr(1, &2_u16.to_ne_bytes());
                        attr(1, &[family, attr(5, &99_u32.to_ne_bytes())].concat())
                    },
                },
                Raw { family: 0, flags: ACK, command: 17, attrs: Vec::new },
            ],
        ),
    ]
}
