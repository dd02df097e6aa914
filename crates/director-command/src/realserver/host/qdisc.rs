//! Messages that make the device through which a question comes in: linux/rtnetlink.h,
//! `linux/pkt_sched.h`, `linux/tc_act/tc_mirred.h`.

use vip::announce::Mac;

pub(super) const RTM_DELLINK: u16 = 17;
pub(super) const RTM_NEWQDISC: u16 = 36;
pub(super) const RTM_NEWTFILTER: u16 = 44;

/// What isn't there is created, what is there is an error.
pub(super) const CREATE: u16 = 0x400 | 0x200;

const NESTED: u16 = 0x8000;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;

const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
/// `TC_H_CLSACT`, and its class for what comes in (`TC_H_MIN_INGRESS`).
const CLSACT: u32 = 0xffff_fff1;
const INGRESS: u32 = 0xffff_fff2;
const TCA_MATCHALL_ACT: u16 = 2;
const TCA_ACT_KIND: u16 = 1;
const TCA_ACT_OPTIONS: u16 = 2;
const TCA_MIRRED_PARMS: u16 = 2;
const TC_ACT_STOLEN: u32 = 4;
const TCA_INGRESS_REDIR: u32 = 3;

/// `struct ifinfomsg`: its number, its flags, and which of them are to change.
pub(super) fn ifinfo(index: u32, flags: u32, change: u32) -> Vec<u8> {
    let mut message = vec![0; 4];
    message.extend([index, flags, change].map(u32::to_ne_bytes).concat());
    message
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = ((4 + value.len()) as u16).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn nested(kind: u16, attributes: &[Vec<u8>]) -> Vec<u8> {
    attribute(kind | NESTED, &attributes.concat())
}

fn text(kind: u16, value: &str) -> Vec<u8> {
    attribute(kind, &[value.as_bytes(), &[0]].concat())
}

/// A pair of devices, both down: what goes out of one comes in through the other.
pub(super) fn pair(name: &str, mac: Mac, peer: &str, peer_mac: Mac) -> Vec<u8> {
    let end =
        |name: &str, mac: Mac| [text(IFLA_IFNAME, name), attribute(IFLA_ADDRESS, &mac)].concat();
    let other = [ifinfo(0, 0, 0), end(peer, peer_mac)].concat();
    let data = nested(IFLA_INFO_DATA, &[attribute(VETH_INFO_PEER | NESTED, &other)]);
    let info = nested(IFLA_LINKINFO, &[text(IFLA_INFO_KIND, "veth"), data]);
    [ifinfo(0, 0, 0), end(name, mac), info].concat()
}

/// `struct tcmsg`.
fn tc(index: u32, handle: u32, parent: u32, info: u32) -> Vec<u8> {
    let mut message = vec![0; 4];
    message.extend([index, handle, parent, info].map(u32::to_ne_bytes).concat());
    message
}

/// Lets filters see what comes in through a device.
pub(super) fn clsact(index: u32) -> Vec<u8> {
    [tc(index, 0xffff_0000, CLSACT, 0), text(TCA_KIND, "clsact")].concat()
}

/// Frames of this type that come in through a device come in through another one instead.
pub(super) fn redirect(index: u32, ethertype: u16, to: u32, priority: u16) -> Vec<u8> {
    let info = u32::from(priority) << 16 | u32::from(ethertype.to_be());
    // struct tc_mirred: an index, capabilities, an action and two counters, all of which are the
    // kernel's to choose except for the action; then what to do, and where to.
    let parameters = [0, 0, TC_ACT_STOLEN, 0, 0, TCA_INGRESS_REDIR, to].map(u32::to_ne_bytes);
    let options =
        nested(TCA_ACT_OPTIONS, &[attribute(TCA_MIRRED_PARMS, parameters.as_flattened())]);
    // Actions are numbered from 1 on.
    let action = nested(1, &[text(TCA_ACT_KIND, "mirred"), options]);
    let options = nested(TCA_OPTIONS, &[nested(TCA_MATCHALL_ACT, &[action])]);
    [tc(index, 0, INGRESS, info), text(TCA_KIND, "matchall"), options].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lengths and numbers by the headers: `struct nlattr` is padded to 4 bytes, and the padding doesn't
    /// count.
    #[test]
    fn attributes_are_padded() {
        let bytes = text(TCA_KIND, "abcd");
        assert_eq!(bytes[..4], [9u16.to_ne_bytes(), 1u16.to_ne_bytes()].concat());
        assert_eq!(bytes[4..], *b"abcd\0\0\0\0");
        assert_eq!(
            nested(2, &[bytes])[..4],
            [16u16.to_ne_bytes(), 0x8002u16.to_ne_bytes()].concat()
        );
    }

    #[test]
    fn a_filter_has_its_protocol_in_the_order_of_the_network() {
        let message = redirect(7, 0x0806, 3, 1);
        assert_eq!(message[4..8], 7u32.to_ne_bytes());
        assert_eq!(message[12..16], 0xffff_fff2u32.to_ne_bytes());
        let info = u32::from_ne_bytes([message[16], message[17], message[18], message[19]]);
        assert_eq!((info >> 16, (info as u16).to_ne_bytes()), (1, [8, 6]));
        assert!(message.ends_with(&[TCA_INGRESS_REDIR, 3].map(u32::to_ne_bytes).concat()));
    }
}
