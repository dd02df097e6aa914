//! Which adverts count, beside what keepalived 2.2.7 does with them.
//!
//! Each row is a table of its own, with a number and an address of its own, in one daemon. All are
//! Backup while they hear a better router; then each hears its row's advert in place of that. A router
//! that ignores it becomes Active.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::num::NonZeroU32;
use std::os::fd::OwnedFd;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ipvs_testkit::{Context, Namespace, Suite};
use ipvs_tests::acceptance::pulse::now;
use nix::ifaddrs::getifaddrs;
use rustix::net::sockopt::{set_ip_multicast_if, set_ip_multicast_ttl, set_ip_ttl};
use rustix::net::{AddressFamily, Protocol, SendFlags, SocketType, sendto, socket};

use crate::test;
use ipvs_tests::failover::peer::{Program, Router, Way};
use ipvs_tests::failover::stage::{LIMIT, Stage};

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add(test!(adverts_count_as_they_do_for_keepalived));
}

/// The sender, which is the client, and the receiver.
const SENDER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 9);
const RECEIVER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);

/// What becomes of the router that hears an advert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It stays Backup.
    Counts,
    /// It becomes Active.
    Ignored,
}
use Verdict::{Counts, Ignored};

/// The same protocol on both ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speech {
    V2,
    V2Password,
    V3,
    /// With the checksum of RFC 9568 §5.2.8.
    V3Plain,
    /// The sender is a peer.
    Unicast,
}

/// An advert with every field that a row may change.
#[derive(Clone, Debug)]
struct Advert {
    version: u8,
    kind: u8,
    vrid: u8,
    priority: u8,
    addresses: Vec<Ipv4Addr>,
    /// In the unit of its version.
    interval: u16,
    authentication: u8,
    password: [u8; 8],
    pseudo_header: bool,
    is_checksum_right: bool,
    /// Bytes that are missing at the end.
    cut: usize,
    to: Ipv4Addr,
    hop_limit: u8,
}

impl Advert {
    /// One that counts.
    fn right(speech: Speech, vrid: u8) -> Self {
        let is_old = matches!(speech, Speech::V2 | Speech::V2Password);
        let has_password = speech == Speech::V2Password;
        Self {
            version: if is_old { 2 } else { 3 },
            kind: 1,
            vrid,
            priority: 200,
            addresses: vec![address(vrid)],
            interval: if is_old { 1 } else { 100 },
            authentication: has_password.into(),
            password: if has_password { *b"secret12" } else { [0; 8] },
            pseudo_header: speech != Speech::V3Plain,
            is_checksum_right: true,
            cut: 0,
            to: if speech == Speech::Unicast { RECEIVER } else { GROUP },
            hop_limit: 255,
        }
    }

    /// RFC 3768 §5.1 and RFC 9568 §5.1.
    fn bytes(&self) -> Vec<u8> {
        let [high, low] = self.interval.to_be_bytes();
        let mut bytes = vec![self.version << 4 | self.kind, self.vrid, self.priority];
        bytes.push(self.addresses.len() as u8);
        bytes.extend(if self.version == 2 { [self.authentication, low] } else { [high, low] });
        bytes.extend([0, 0]);
        bytes.extend(self.addresses.iter().flat_map(Ipv4Addr::octets));
        if self.version == 2 {
            bytes.extend(self.password);
        }
        let mut summed = bytes.clone();
        if self.version == 3 && self.pseudo_header {
            summed.extend(SENDER.octets());
            summed.extend(self.to.octets());
            summed.extend([0, 112, 0, bytes.len() as u8]);
        }
        let words = summed.chunks(2).map(|it| u32::from(it[0]) << 8 | u32::from(it[1]));
        let mut sum: u32 = words.sum();
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        let mistake = if self.is_checksum_right { 0 } else { 0x5555 };
        let sum = !(sum as u16) ^ mistake;
        bytes[6..8].copy_from_slice(&sum.to_be_bytes());
        bytes.truncate(bytes.len() - self.cut);
        bytes
    }
}

/// What a row changes about an advert that counts.
type Change = fn(&mut Advert);

/// The verdicts are keepalived 2.2.7's, except for the rows that say so.
const ROWS: [(&str, Speech, Change, Verdict); 33] = [
    ("right", Speech::V2, |_| (), Counts),
    ("lower", Speech::V2, |it| it.priority = 50, Ignored),
    ("equal", Speech::V2, |it| it.priority = 100, Counts),
    ("goodbye", Speech::V2, |it| it.priority = 0, Ignored),
    ("number", Speech::V2, |it| it.vrid += 100, Ignored),
    ("hop-limit", Speech::V2, |it| it.hop_limit = 254, Ignored),
    ("checksum", Speech::V2, |it| it.is_checksum_right = false, Ignored),
    ("interval", Speech::V2, |it| it.interval = 2, Ignored),
    ("password", Speech::V2, |it| (it.authentication, it.password) = (1, *b"secret12"), Ignored),
    ("data", Speech::V2, |it| it.password = *b"secret12", Counts),
    ("version", Speech::V2, |it| (it.version, it.interval) = (3, 100), Ignored),
    // keepalived up to 2.3.2 ignores adverts with other addresses; newer ones and ours report them.
    ("address", Speech::V2, |it| it.addresses = vec![Ipv4Addr::new(10, 9, 2, 1)], Counts),
    ("addresses", Speech::V2, |it| it.addresses.push(Ipv4Addr::new(10, 9, 2, 1)), Counts),
    ("no-address", Speech::V2, |it| it.addresses.clear(), Ignored),
    ("type", Speech::V2, |it| it.kind = 2, Ignored),
    ("cut", Speech::V2, |it| it.cut = 8, Ignored),
    ("cut-more", Speech::V2, |it| it.cut = 15, Ignored),
    ("unicast", Speech::V2, |it| it.to = RECEIVER, Ignored),
    ("pass-right", Speech::V2Password, |_| (), Counts),
    ("pass-wrong", Speech::V2Password, |it| it.password = *b"wrong\0\0\0", Ignored),
    ("pass-short", Speech::V2Password, |it| it.password = *b"secret1\0", Ignored),
    ("pass-none", Speech::V2Password, |it| (it.authentication, it.password) = (0, [0; 8]), Ignored),
    ("right-3", Speech::V3, |_| (), Counts),
    ("checksum-3", Speech::V3, |it| it.pseudo_header = false, Ignored),
    ("interval-3", Speech::V3, |it| it.interval = 200, Counts),
    ("version-3", Speech::V3, |it| (it.version, it.interval) = (2, 1), Ignored),
    ("hop-limit-3", Speech::V3, |it| it.hop_limit = 254, Ignored),
    ("right-plain", Speech::V3Plain, |_| (), Counts),
    ("pseudo", Speech::V3Plain, |it| it.pseudo_header = true, Ignored),
    ("right-peer", Speech::Unicast, |_| (), Counts),
    ("peer-far", Speech::Unicast, |it| it.hop_limit = 64, Counts),
    ("multicast", Speech::Unicast, |it| it.to = GROUP, Ignored),
    ("peer-lower", Speech::Unicast, |it| it.priority = 99, Ignored),
];

fn vrid(row: usize) -> u8 {
    row as u8 + 1
}

fn address(vrid: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 9, 1, vrid)
}

/// The tables of all rows.
fn tables() -> String {
    let mut text = String::new();
    for (row, (name, speech, _, _)) in ROWS.iter().enumerate() {
        let vrid = vrid(row);
        let _ = write!(
            text,
            "[[vip]]\nname = \"{name}\"\ninterface = \"eth0\"\nrouter_id = {vrid}\n\
             addresses = [\"{}\"]\n",
            address(vrid)
        );
        text += match speech {
            Speech::V2 => "version = 2\n",
            Speech::V2Password => "version = 2\nauth = { pass = \"secret12\" }\n",
            Speech::V3 => "",
            Speech::V3Plain => "checksum = \"plain\"\n",
            Speech::Unicast => "peers = [\"10.9.0.9\"]\n",
        };
    }
    text
}

/// Sends adverts from the client.
struct Sender(OwnedFd);

impl Sender {
    fn open(client: &Namespace) -> Result<Self> {
        let socket = client.run(|| -> Result<OwnedFd> {
            let protocol = NonZeroU32::new(112).map(Protocol::from_raw);
            let socket = socket(AddressFamily::INET, SocketType::RAW, protocol)?;
            set_ip_multicast_if(&socket, &SENDER)?;
            Ok(socket)
        })??;
        Ok(Self(socket))
    }

    fn send(&self, advert: &Advert) -> Result<()> {
        set_ip_ttl(&self.0, advert.hop_limit.into())?;
        set_ip_multicast_ttl(&self.0, advert.hop_limit.into())?;
        let to = SocketAddrV4::new(advert.to, 0);
        sendto(&self.0, &advert.bytes(), SendFlags::empty(), &to)?;
        Ok(())
    }
}

/// The rows whose addresses are on the director.
fn active(director: &Namespace) -> Result<BTreeSet<usize>> {
    let here: BTreeSet<IpAddr> = director.run(|| -> Result<_> {
        let ip = |it: nix::sys::socket::SockaddrStorage| Some(it.as_sockaddr_in()?.ip().into());
        Ok(getifaddrs()?.filter_map(|it| ip(it.address?)).collect())
    })??;
    Ok((0..ROWS.len()).filter(|row| here.contains(&address(vrid(*row)).into())).collect())
}

fn adverts_count_as_they_do_for_keepalived(context: &mut Context) -> Result<()> {
    let stage = Stage::build(context)?;
    let director = &stage.directors[0];
    let mut router = Router::new(Program::Ours, &stage, 0, Way::V3, 100)?;
    router.text = Some(tables());
    let sender = Sender::open(&stage.client)?;
    let all = |change: bool, first: bool| {
        ROWS.iter().enumerate().try_for_each(|(row, (_, speech, with, _))| {
            let mut advert = Advert::right(*speech, vrid(row));
            if change {
                with(&mut advert);
            }
            // Each goodbye makes it wait for its skew again.
            if advert.priority == 0 && !first { Ok(()) } else { sender.send(&advert) }
        })
    };
    router.start()?;
    router.until_said(&format!("{}: Backup", ROWS[ROWS.len() - 1].0))?;
    for _ in 0..4 {
        all(false, true)?;
        ensure!(active(director)? == BTreeSet::new(), "{}", router.said()?);
        thread::sleep(Duration::from_millis(300));
    }

    let ignored: BTreeSet<usize> = (0..ROWS.len()).filter(|row| ROWS[*row].3 == Ignored).collect();
    let begin = now();
    let mut complete = None;
    all(true, true)?;
    // A router that ignores what it shouldn't is late by no more than its timer.
    while complete.is_none_or(|at| now() - at < Duration::from_secs(2)) {
        all(true, false)?;
        thread::sleep(Duration::from_millis(300));
        if complete.is_none() && ignored.is_subset(&active(director)?) {
            complete = Some(now());
        }
        ensure!(now() - begin < LIMIT, "these count, too: {:?}", names(&ignored, director)?);
    }
    let active = active(director)?;
    let wrong: Vec<&str> = active.difference(&ignored).map(|row| ROWS[*row].0).collect();
    ensure!(wrong.is_empty(), "these were ignored: {wrong:?}\n{}", router.said()?);
    for (name, _, _, verdict) in ROWS {
        let was_active = router.said()?.contains(&format!("vipd: {name}: Active"));
        ensure!(was_active == (verdict == Ignored), "{name}: {}", router.said()?);
    }
    router.stop()?;
    Ok(())
}

/// Which of these rows have no address on the director.
fn names(rows: &BTreeSet<usize>, director: &Namespace) -> Result<Vec<&'static str>> {
    let active = active(director).context("cannot list addresses")?;
    Ok(rows.difference(&active).map(|row| ROWS[*row].0).collect())
}
