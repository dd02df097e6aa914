//! Messages as trees of attributes, for comparisons that ignore order, the flag of nests, and
//! padding. It knows which attributes are nests, and accepts only valid messages.

/// The payload of an attribute.
#[derive(Clone, Debug)]
enum Value {
    Bytes(Vec<u8>),
    Nest(Vec<(u16, Value)>),
}

/// The container of an attribute.
#[derive(Clone, Copy, PartialEq)]
enum Set {
    Command,
    /// A service or a destination; both have statistics in attributes 10 and 12.
    Entry,
    /// A container without nests.
    Flat,
    Stats,
}

const PAD: u16 = 11;

/// The datagram with the attributes sorted on each level, and without the flag of nests.
pub(crate) fn in_order(datagram: &[u8]) -> Vec<u8> {
    rewrite(datagram, &mut |_, attrs| attrs.sort_by_key(|(kind, _)| *kind))
}

/// The datagram without alignment attributes.
pub(crate) fn without_padding(datagram: &[u8]) -> Vec<u8> {
    rewrite(datagram, &mut |set, attrs| attrs.retain(|(kind, _)| set != Set::Stats || *kind != PAD))
}

type Change<'a> = &'a mut dyn FnMut(Set, &mut Vec<(u16, Value)>);

fn rewrite(mut datagram: &[u8], change: Change<'_>) -> Vec<u8> {
    let mut again = Vec::new();
    while !datagram.is_empty() {
        let length = u32::from_ne_bytes(datagram[..4].try_into().unwrap()) as usize;
        let (message, rest) = datagram.split_at(length.next_multiple_of(4));
        datagram = rest;
        let kind = u16::from_ne_bytes(message[4..6].try_into().unwrap());
        if kind < 0x10 {
            again.extend_from_slice(message);
            continue;
        }
        // The reply to GET_INFO has no nests.
        let set = if message[16] == 14 { Set::Flat } else { Set::Command };
        let attrs = emit(&parse(&message[20..], set, change));
        again.extend_from_slice(&(20 + attrs.len() as u32).to_ne_bytes());
        again.extend_from_slice(&message[4..20]);
        again.extend_from_slice(&attrs);
    }
    again
}

fn parse(mut bytes: &[u8], set: Set, change: Change<'_>) -> Vec<(u16, Value)> {
    let mut attrs = Vec::new();
    while !bytes.is_empty() {
        let length = usize::from(u16::from_ne_bytes([bytes[0], bytes[1]]));
        let kind = u16::from_ne_bytes([bytes[2], bytes[3]]) & 0x3fff;
        let payload = &bytes[4..length];
        let inner = match (set, kind) {
            (Set::Command, 1 | 2) => Some(Set::Entry),
            (Set::Command, 3) => Some(Set::Flat),
            (Set::Entry, 10 | 12) => Some(Set::Stats),
            _ => None,
        };
        let value = match inner {
            Some(set) => Value::Nest(parse(payload, set, change)),
            None => Value::Bytes(payload.to_vec()),
        };
        attrs.push((kind, value));
        bytes = &bytes[length.next_multiple_of(4).min(bytes.len())..];
    }
    change(set, &mut attrs);
    attrs
}

fn emit(attrs: &[(u16, Value)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (kind, value) in attrs {
        let payload = match value {
            Value::Bytes(payload) => payload.clone(),
            Value::Nest(attrs) => emit(attrs),
        };
        bytes.extend_from_slice(&(4 + payload.len() as u16).to_ne_bytes());
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&payload);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    bytes
}
