//! Messages about network interfaces and addresses: `linux/rtnetlink.h`, `linux/if_link.h`,
//! `linux/if_addr.h`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipvs_sys::nl::{NLA_HDRLEN, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST};

use crate::announce::Mac;
use crate::config::Address;

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_GETADDR: u16 = 22;

/// Flags of a request: what isn't there is created, what is there is an error.
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;

/// The lengths of `struct ifinfomsg` and `struct ifaddrmsg`.
const LINK: usize = 16;
const ADDRESS: usize = 8;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_CACHEINFO: u16 = 6;
const IFA_FLAGS: u16 = 8;

/// Up, and able to carry packets (`IFF_RUNNING` in linux/if.h).
const IFF_UP: u32 = 1;
const IFF_RUNNING: u32 = 0x40;

const ARPHRD_ETHER: u16 = 1;

/// Families of addresses, as in a socket's.
const AF_UNSPEC: u8 = 0;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

const IFA_F_NODAD: u8 = 0x02;
const IFA_F_OPTIMISTIC: u32 = 0x04;
const IFA_F_DADFAILED: u32 = 0x08;
const IFA_F_TENTATIVE: u32 = 0x40;

/// The flags of an attribute's type that don't belong to its number (`NLA_TYPE_MASK`).
const TYPE_MASK: u16 = 0x3fff;

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// There is such an interface, or it has changed.
    Link(Link),
    /// The interface with this index is gone.
    LinkGone(u32),
    /// There is such an address, or it has changed.
    Address(LinkAddress),
    /// There is no such address any more; whether it was usable doesn't count.
    AddressGone(LinkAddress),
}

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Whether it is up and has a carrier.
    pub is_up: bool,
    /// Whether somebody has taken it up, whether or not it has a carrier.
    pub is_enabled: bool,
    /// Its own link-layer address, if it is Ethernet.
    pub mac: Option<Mac>,
}

/// An address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkAddress {
    /// The interface's.
    pub index: u32,
    /// The address.
    pub address: Address,
    /// Whether packets may come from it: an IPv6 address may not before it is certain that nobody
    /// else has it.
    pub is_usable: bool,
}

impl Message {
    /// Reads the payload of a message of this type. None if it is about something else, or isn't
    /// whole.
    pub(super) fn read(message_type: u16, payload: &[u8]) -> Option<Self> {
        match message_type {
            RTM_NEWLINK => read_link(payload).map(Self::Link),
            RTM_DELLINK => read_link(payload).map(|link| Self::LinkGone(link.index)),
            RTM_NEWADDR => read_address(payload).map(Self::Address),
            RTM_DELADDR => read_address(payload).map(Self::AddressGone),
            _ => None,
        }
    }
}

fn read_link(payload: &[u8]) -> Option<Link> {
    let (header, attributes) = payload.split_first_chunk::<LINK>()?;
    let [family, _, t0, t1, i0, i1, i2, i3, f0, f1, f2, f3, ..] = *header;
    // A bridge reports its ports in messages of the same type.
    if family != AF_UNSPEC {
        return None;
    }
    let flags = u32::from_ne_bytes([f0, f1, f2, f3]);
    let mut link = Link {
        index: u32::from_ne_bytes([i0, i1, i2, i3]),
        name: String::new(),
        is_up: flags & (IFF_UP | IFF_RUNNING) == IFF_UP | IFF_RUNNING,
        is_enabled: flags & IFF_UP != 0,
        mac: None,
    };
    let is_ethernet = u16::from_ne_bytes([t0, t1]) == ARPHRD_ETHER;
    for (kind, value) in Attributes(attributes) {
        match kind {
            IFLA_ADDRESS if is_ethernet => link.mac = value.try_into().ok(),
            IFLA_IFNAME => {
                let name = value.split(|byte| *byte == 0).next().unwrap_or_default();
                link.name = String::from_utf8_lossy(name).into_owned();
            }
            _ => {}
        }
    }
    Some(link)
}

fn read_address(payload: &[u8]) -> Option<LinkAddress> {
    let (header, attributes) = payload.split_first_chunk::<ADDRESS>()?;
    let [family, prefix, flags, _, i0, i1, i2, i3] = *header;
    let mut flags = u32::from(flags);
    let (mut local, mut other) = (None, None);
    for (kind, value) in Attributes(attributes) {
        match kind {
            IFA_LOCAL => local = read_ip(family, value),
            IFA_ADDRESS => other = read_ip(family, value),
            IFA_FLAGS => flags = u32::from_ne_bytes(value.try_into().ok()?),
            _ => {}
        }
    }
    let is_tentative = flags & IFA_F_TENTATIVE != 0 && flags & IFA_F_OPTIMISTIC == 0;
    Some(LinkAddress {
        index: u32::from_ne_bytes([i0, i1, i2, i3]),
        // Where both are there, the other one is the far end's.
        address: Address { ip: local.or(other)?, prefix },
        is_usable: !is_tentative && flags & IFA_F_DADFAILED == 0,
    })
}

fn read_ip(family: u8, value: &[u8]) -> Option<IpAddr> {
    match family {
        AF_INET => Some(Ipv4Addr::from(<[u8; 4]>::try_from(value).ok()?).into()),
        AF_INET6 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(value).ok()?).into()),
        _ => None,
    }
}

/// Numbers and values of attributes, up to the first that isn't whole.
struct Attributes<'a>(&'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let [l0, l1, t0, t1] = *self.0.first_chunk::<NLA_HDRLEN>()?;
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        let value = self.0.get(NLA_HDRLEN..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((u16::from_ne_bytes([t0, t1]) & TYPE_MASK, value))
    }
}

/// What is asked of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// All network interfaces.
    Links,
    /// All addresses.
    Addresses,
    /// Put an address on the interface with this index.
    Add(u32, Address),
    /// Take it off.
    Remove(u32, Address),
}

impl Request {
    /// Writes it with this sequence number in the place of `buffer`'s contents.
    pub(super) fn write(self, seq: u32, buffer: &mut Vec<u8>) {
        let (kind, flags) = match self {
            Self::Links => (RTM_GETLINK, NLM_F_DUMP),
            Self::Addresses => (RTM_GETADDR, NLM_F_DUMP),
            Self::Add(..) => (RTM_NEWADDR, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL),
            Self::Remove(..) => (RTM_DELADDR, NLM_F_ACK),
        };
        write_message(kind, flags, seq, &[], buffer);
        match self {
            Self::Links => buffer.extend([0; LINK]),
            Self::Addresses => buffer.extend([0; ADDRESS]),
            Self::Add(index, address) => {
                write_address(index, address, buffer);
                if address.ip.is_ipv6() {
                    // Not preferred, so that it is the source of nothing that doesn't ask for it;
                    // valid forever. The times of change are the kernel's to fill in.
                    let times = [0, u32::MAX, 0, 0].map(u32::to_ne_bytes);
                    write_attribute(IFA_CACHEINFO, times.as_flattened(), buffer);
                }
            }
            Self::Remove(index, address) => write_address(index, address, buffer),
        }
        let length = buffer.len() as u32;
        buffer[..4].copy_from_slice(&length.to_ne_bytes());
    }
}

/// Writes a whole message in the place of `buffer`'s contents.
pub(super) fn write_message(kind: u16, flags: u16, seq: u32, payload: &[u8], buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.extend([0; 4]);
    buffer.extend(kind.to_ne_bytes());
    buffer.extend((NLM_F_REQUEST | flags).to_ne_bytes());
    buffer.extend(seq.to_ne_bytes());
    buffer.extend([0; 4]);
    buffer.extend(payload);
    let length = buffer.len() as u32;
    buffer[..4].copy_from_slice(&length.to_ne_bytes());
}

fn write_address(index: u32, address: Address, buffer: &mut Vec<u8>) {
    // The former owner may still have an IPv6 address, so nobody looks for duplicates.
    let (family, flags) = if address.ip.is_ipv4() { (AF_INET, 0) } else { (AF_INET6, IFA_F_NODAD) };
    buffer.extend([family, address.prefix, flags, 0]);
    buffer.extend(index.to_ne_bytes());
    for kind in [IFA_LOCAL, IFA_ADDRESS] {
        match address.ip {
            IpAddr::V4(ip) => write_attribute(kind, &ip.octets(), buffer),
            IpAddr::V6(ip) => write_attribute(kind, &ip.octets(), buffer),
        }
    }
}

/// Values have lengths that are multiples of 4, so none needs padding.
fn write_attribute(kind: u16, value: &[u8], buffer: &mut Vec<u8>) {
    buffer.extend(((NLA_HDRLEN + value.len()) as u16).to_ne_bytes());
    buffer.extend(kind.to_ne_bytes());
    buffer.extend(value);
}

/// Bytes of a little-endian machine: those of Linux 6 for what `ip` did.
#[cfg(all(test, target_endian = "little"))]
#[allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let hex: Vec<char> = hex.chars().filter(|char| !char.is_whitespace()).collect();
        let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16);
        hex.chunks(2).map(|pair| byte(pair).unwrap()).collect()
    }

    fn address(index: u32, ip: &str, prefix: u8, is_usable: bool) -> LinkAddress {
        LinkAddress { index, address: Address { ip: ip.parse().unwrap(), prefix }, is_usable }
    }

    /// `ip addr add`, `ip addr del`: IPv4 with a label, IPv6 before and after duplicates were looked
    /// for.
    const V4: &str = "0218800003000000 080001000a090002 080002000a090002 0900030065746830 00000000 \
                      0800080080000000 14000600ffffffffffffffff97ce020097ce0200";
    const TENTATIVE: &str = "0a80c00003000000 14000100fd090000000000000000000000000100 \
                             14000600ffffffffffffffff45cf020045cf0200 08000800c0000000";
    const USABLE: &str = "0a80800003000000 14000100fd090000000000000000000000000100 \
                          14000600ffffffffffffffff45cf020045cf0200 0800080080000000";

    #[test]
    fn addresses_are_read_as_the_kernel_writes_them() {
        let v4 = address(3, "10.9.0.2", 24, true);
        assert_eq!(Message::read(RTM_NEWADDR, &bytes(V4)), Some(Message::Address(v4)));
        assert_eq!(Message::read(RTM_DELADDR, &bytes(V4)), Some(Message::AddressGone(v4)));
        let read = |hex| Message::read(RTM_NEWADDR, &bytes(hex));
        let v6 = |is_usable| Some(Message::Address(address(3, "fd09::100", 128, is_usable)));
        assert_eq!(read(TENTATIVE), v6(false));
        assert_eq!(read(USABLE), v6(true));
    }

    /// `ip link add` and `ip link set up`, without statistics.
    #[test]
    fn links_are_read_as_the_kernel_writes_them() {
        let rest = "ffffffff 0900030065746830 00000000 08000d00e8030000 0500100002000000 \
                    0a00010002000010025200 00";
        let link = |is_up, is_enabled| Link {
            index: 3,
            name: "eth0".into(),
            is_up,
            is_enabled,
            mac: Some([2, 0, 0, 0x10, 2, 0x52]),
        };
        // Down; up without a carrier; up.
        let states =
            [("02100000", false, false), ("03100100", false, true), ("43100100", true, true)];
        for (flags, is_up, is_enabled) in states {
            let payload = bytes(&format!("00000100 03000000 {flags} {rest}"));
            let link = link(is_up, is_enabled);
            assert_eq!(Message::read(RTM_NEWLINK, &payload), Some(Message::Link(link)));
            assert_eq!(Message::read(RTM_DELLINK, &payload), Some(Message::LinkGone(3)));
        }
    }

    /// `ip link set eth0 nomaster`: a port leaves its bridge, which is no interface that is gone.
    #[test]
    fn a_bridges_port_is_another_thing() {
        let payload = bytes(
            "07000100030000004310010000000000 0900030065746830 00000000 08000a0004000000 \
             08000400dc050000 0500100006000000 0a000100020000100252000008000500 02000000",
        );
        assert_eq!(Message::read(RTM_DELLINK, &payload), None);
        assert_eq!(Message::read(RTM_NEWLINK, &payload), None);
    }

    #[test]
    fn no_length_is_trusted() {
        for hex in [V4, TENTATIVE] {
            let whole = bytes(hex);
            for end in 0..whole.len() {
                let _ = Message::read(RTM_NEWADDR, &whole[..end]);
                let _ = Message::read(RTM_NEWLINK, &whole[..end]);
            }
            for at in 0..whole.len() {
                for value in [0, 1, 3, 0x7f, 0xff] {
                    let mut broken = whole.clone();
                    broken[at] = value;
                    let _ = Message::read(RTM_NEWADDR, &broken);
                    let _ = Message::read(RTM_NEWLINK, &broken);
                }
            }
        }
        assert_eq!(Message::read(RTM_NEWADDR, &bytes(V4)[..ADDRESS]), None);
        assert_eq!(Message::read(99, &bytes(V4)), None);
    }

    /// Field by field from `linux/netlink.h`, `linux/if_addr.h` and `linux/rtnetlink.h`.
    #[test]
    fn requests_have_each_field_of_the_headers() {
        let mut buffer = vec![7; 3];
        let v4 = Address { ip: "10.9.0.100".parse().unwrap(), prefix: 32 };
        // Length, RTM_NEWADDR, NLM_F_REQUEST | ACK | EXCL | CREATE, sequence number, port.
        let header = ["28000000", "1400", "0506", "09000000", "00000000"];
        // AF_INET, prefix, flags, scope, index; IFA_LOCAL, IFA_ADDRESS.
        let body = ["02200000", "03000000", "080002000a090064", "080001000a090064"];
        Request::Add(3, v4).write(9, &mut buffer);
        assert_eq!(buffer, bytes(&[header.concat(), body.concat()].concat()));
        Request::Remove(3, v4).write(9, &mut buffer);
        let header = ["28000000", "1500", "0500", "09000000", "00000000"];
        assert_eq!(buffer, bytes(&[header.concat(), body.concat()].concat()));

        let v6 = Address { ip: "fd09::100".parse().unwrap(), prefix: 128 };
        Request::Add(3, v6).write(1, &mut buffer);
        let fields = [
            "54000000",
            "1400",
            "0506",
            "01000000",
            "00000000",
            // AF_INET6, prefix, IFA_F_NODAD.
            "0a800200",
            "03000000",
            "14000200fd090000000000000000000000000100",
            "14000100fd090000000000000000000000000100",
            // struct ifa_cacheinfo: preferred for 0 s, valid forever.
            "1400060000000000ffffffff0000000000000000",
        ];
        assert_eq!(buffer, bytes(&fields.concat()));

        for (request, kind, length) in
            [(Request::Links, "1200", 16), (Request::Addresses, "1600", 8)]
        {
            request.write(2, &mut buffer);
            let header = format!("{:02x}000000 {kind} 0103 02000000 00000000", 16 + length);
            assert_eq!(buffer, [bytes(&header), vec![0; length]].concat());
        }
    }
}
