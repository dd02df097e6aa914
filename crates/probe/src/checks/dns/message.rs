//! Messages of DNS (RFC 1035, section 4).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The length of a header in bytes.
const HEADER: usize = 12;

/// The longest name on the wire, with the zero at its end (RFC 1035, section 2.3.4).
const LONGEST_NAME: usize = 255;

/// The longest part of a name.
const LONGEST_LABEL: usize = 63;

/// The Internet class.
const IN: u16 = 1;

/// Flags of a header.
mod flag {
    /// It's a reply.
    pub(super) const REPLY: u16 = 1 << 15;
    /// The kind of query; 0 is the standard one.
    pub(super) const OPCODE: u16 = 0b1111 << 11;
    pub(super) const TRUNCATED: u16 = 1 << 9;
    /// The server is asked to find out what it doesn't know.
    pub(super) const RECURSION_DESIRED: u16 = 1 << 8;
    /// How the query went; 0 is success.
    pub(super) const CODE: u16 = 0b1111;
}

/// A type of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Type(u16);

impl Type {
    pub(super) const A: Self = Self(1);
    pub(super) const PTR: Self = Self(12);
    pub(super) const AAAA: Self = Self(28);
}

/// A name as it is sent, without compression.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Name(Vec<u8>);

impl Name {
    /// The name of a host. None if it can't be one.
    pub(super) fn host(text: &str) -> Option<Self> {
        let text = text.strip_suffix('.').unwrap_or(text);
        let mut name = Vec::with_capacity(text.len() + 2);
        for label in text.split('.') {
            let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            if !(1..=LONGEST_LABEL).contains(&label.len()) || !label.bytes().all(is_part) {
                return None;
            }
            name.push(label.len() as u8);
            name.extend_from_slice(label.as_bytes());
        }
        name.push(0);
        (name.len() <= LONGEST_NAME).then_some(Self(name))
    }

    /// The name under which the name of an address is found (RFC 1035, section 3.5; RFC 3596,
    /// section 2.5).
    pub(super) fn reverse(address: IpAddr) -> Option<Self> {
        let mut text = String::new();
        match address {
            IpAddr::V4(address) => {
                for byte in address.octets().iter().rev() {
                    text += &format!("{byte}.");
                }
                text += "in-addr.arpa";
            }
            IpAddr::V6(address) => {
                for byte in address.octets().iter().rev() {
                    text += &format!("{:x}.{:x}.", byte & 0xF, byte >> 4);
                }
                text += "ip6.arpa";
            }
        }
        Self::host(&text)
    }
}

/// Appends a query.
pub(super) fn write_query(id: u16, name: &Name, kind: Type, out: &mut Vec<u8>) {
    // One question, and no record.
    for word in [id, flag::RECURSION_DESIRED, 1, 0, 0, 0] {
        out.extend_from_slice(&word.to_be_bytes());
    }
    out.extend_from_slice(&name.0);
    for word in [kind.0, IN] {
        out.extend_from_slice(&word.to_be_bytes());
    }
}

/// A reply to a query.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) truncated: bool,
    /// 0 for success.
    pub(super) code: u8,
    /// The addresses or names of the type that was asked for, in the reply's order.
    pub(super) found: Vec<String>,
}

/// What is wrong with a reply.
pub(super) type Malformed = &'static str;

/// Reads the reply to a query. None if it's a message of another kind, or the reply to another
/// query.
pub(super) fn read_reply(
    message: &[u8],
    id: u16,
    name: &Name,
    kind: Type,
) -> Option<Result<Reply, Malformed>> {
    let mut reader = Reader { message, at: 0 };
    let (of, flags) = (reader.word()?, reader.word()?);
    if of != id || flags & flag::REPLY == 0 || flags & flag::OPCODE != 0 {
        return None;
    }
    let questions = reader.word()?;
    let answers = reader.word()?;
    reader.at = HEADER;
    let code = (flags & flag::CODE) as u8;
    // A server that understands nothing may repeat nothing.
    if questions == 0 && code != 0 {
        return Some(Ok(Reply { truncated: false, code, found: Vec::new() }));
    }
    if questions != 1 {
        return Some(Err("the reply isn't about one question"));
    }
    if !reader.is_question(name, kind)? {
        return None;
    }
    let truncated = flags & flag::TRUNCATED != 0;
    let mut found = Vec::new();
    for _ in 0..answers {
        match reader.record(kind) {
            Some(record) => found.extend(record),
            // The rest was cut off.
            None if truncated => break,
            None => return Some(Err("the reply has a record that can't be read")),
        }
    }
    Some(Ok(Reply { truncated, code, found }))
}

struct Reader<'a> {
    message: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(length)?;
        let taken = self.message.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn word(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    /// Reads a question, and tells whether it is this one. Servers may change the case of letters
    /// (RFC 1035, section 2.3.3).
    fn is_question(&mut self, name: &Name, kind: Type) -> Option<bool> {
        let same = self.take(name.0.len())?.eq_ignore_ascii_case(&name.0);
        Some(same && self.word()? == kind.0 && self.word()? == IN)
    }

    /// Reads a record: its text if it's of this type, an inner None if not. Whose record it is
    /// doesn't matter, because aliases lead from one name to another.
    fn record(&mut self, wanted: Type) -> Option<Option<String>> {
        self.skip_name()?;
        let (kind, class) = (self.word()?, self.word()?);
        // How long it may be kept.
        self.take(4)?;
        let length = usize::from(self.word()?);
        let start = self.at;
        let data = self.take(length)?;
        if (Type(kind), class) != (wanted, IN) {
            return Some(None);
        }
        let text = match wanted {
            Type::A => Ipv4Addr::from(<[u8; 4]>::try_from(data).ok()?).to_string(),
            Type::AAAA => Ipv6Addr::from(<[u8; 16]>::try_from(data).ok()?).to_string(),
            _ => self.name_at(start)?,
        };
        Some(Some(text))
    }

    fn skip_name(&mut self) -> Option<()> {
        loop {
            let length = self.take(1)?[0];
            match length {
                0 => return Some(()),
                1..=0x3F => self.take(length.into()).map(drop)?,
                // A pointer to the rest.
                0xC0.. => return self.take(1).map(drop),
                _ => return None,
            }
        }
    }

    /// The name at a place, as text without the dot at its end. What isn't printable is written as
    /// its number (RFC 1035, section 5.1).
    fn name_at(&self, place: usize) -> Option<String> {
        let mut reader = Reader { message: self.message, at: place };
        let mut text = String::new();
        let mut length = 1;
        // Where the part that is being read begins. Pointers lead backwards, so there is an end.
        let mut begin = place;
        loop {
            let first = reader.take(1)?[0];
            match first {
                0 => return Some(text),
                1..=0x3F => {
                    let label = reader.take(first.into())?;
                    length += 1 + label.len();
                    if length > LONGEST_NAME {
                        return None;
                    }
                    if !text.is_empty() {
                        text.push('.');
                    }
                    for byte in label {
                        match byte {
                            b'.' | b'\\' => text.extend(['\\', char::from(*byte)]),
                            byte if byte.is_ascii_graphic() => text.push(char::from(*byte)),
                            byte => text += &format!("\\{byte:03}"),
                        }
                    }
                }
                0xC0.. => {
                    let low = reader.take(1)?[0];
                    let to = usize::from(first & 0x3F) << 8 | usize::from(low);
                    if to >= begin {
                        return None;
                    }
                    (reader.at, begin) = (to, to);
                }
                _ => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::host(text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn names_are_encoded_as_in_rfc_1035() {
        // Section 3.1: parts with their lengths, and a zero.
        for text in ["f.isi.arpa", "f.isi.arpa."] {
            assert_eq!(name(text).0, b"\x01f\x03isi\x04arpa\0");
        }
        assert_eq!(name("_x-1").0, b"\x04_x-1\0");
        let longest = [&*"a".repeat(63); 3].join(".") + "." + &"b".repeat(61);
        assert_eq!(name(&longest).0.len(), 255);
        for wrong in ["", ".", "a..b", ".a", "a b", "a/b", "é.example", &"a".repeat(64)] {
            assert_eq!(Name::host(wrong), None, "{wrong}");
        }
        assert_eq!(Name::host(&(longest + "b")), None);
    }

    #[test]
    fn addresses_are_looked_up_backwards() {
        // RFC 1035, section 3.5; RFC 3596, section 2.5.
        let reverse = |address: &str| Name::reverse(address.parse().unwrap()).unwrap();
        assert_eq!(reverse("10.2.0.52"), name("52.0.2.10.in-addr.arpa"));
        let long = "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.0.0.0.0.1.2.3.4.ip6.arpa";
        assert_eq!(reverse("4321:0:1:2:3:4:567:89ab"), name(long));
    }

    /// A reply to the question for `a.example` with this rest.
    fn reply(flags: u16, answers: u16, kind: Type, rest: &[u8]) -> Vec<u8> {
        let mut message = Vec::new();
        write_query(7, &name("a.example"), kind, &mut message);
        message[2..4].copy_from_slice(&flags.to_be_bytes());
        message[6..8].copy_from_slice(&answers.to_be_bytes());
        message.extend_from_slice(rest);
        message
    }

    fn read(message: &[u8], kind: Type) -> Option<Result<Reply, Malformed>> {
        read_reply(message, 7, &name("A.EXAMPLE"), kind)
    }

    #[test]
    fn records_are_read_wherever_aliases_lead() {
        // a.example is an alias of b.example, which has the address.
        let records = b"\xC0\x0C\0\x05\0\x01\0\0\0\0\0\x04\x01b\xC0\x0E\
                        \xC0\x27\0\x01\0\x01\0\0\0\0\0\x04\xC0\0\x02\x07";
        let message = reply(0x8180, 2, Type::A, records);
        let found = vec!["192.0.2.7".to_owned()];
        assert_eq!(
            read(&message, Type::A),
            Some(Ok(Reply { truncated: false, code: 0, found: found.clone() }))
        );
        // Cut off after any byte, it's no reply, one with an error, or one that says it was cut.
        for length in 0..message.len() {
            let read = read(&message[..length], Type::A);
            assert!(matches!(read, None | Some(Err(_))), "{length}: {read:?}");
        }
        let cut = reply(0x8380, 2, Type::A, &records[..20]);
        assert!(read(&cut, Type::A).unwrap().unwrap().truncated);
        assert_eq!(read_reply(&message, 8, &name("a.example"), Type::A), None);
        assert_eq!(read(&message, Type::AAAA), None, "another question");
        assert_eq!(read_reply(&message, 7, &name("b.example"), Type::A), None);
        assert_eq!(read(&reply(0x0180, 2, Type::A, records), Type::A), None, "a query");
    }

    #[test]
    fn names_in_replies_may_be_compressed_but_never_in_a_circle() {
        let pointing = |data: &[u8]| {
            let mut rest = b"\xC0\x0C\0\x0C\0\x01\0\0\0\0\0".to_vec();
            rest.push(data.len() as u8);
            rest.extend_from_slice(data);
            read(&reply(0x8180, 1, Type::PTR, &rest), Type::PTR).unwrap()
        };
        let found = |data: &[u8]| pointing(data).unwrap().found.remove(0);
        assert_eq!(found(b"\x03www\xC0\x0C"), "www.a.example");
        assert_eq!(found(b"\xC0\x0C"), "a.example");
        assert_eq!(found(b"\x04a.b\n\0"), r"a\.b\010");
        assert_eq!(found(b"\0"), "");
        // The name begins at byte 39: a pointer to itself, to its own middle, past the end.
        for wrong in [&b"\xC0\x27"[..], b"\x01a\xC0\x29", b"\x01a\xC0\x27", b"\xFF\xFF", b"\x40"] {
            assert!(pointing(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn an_error_needs_no_question() {
        let bare = b"\0\x07\x80\x01\0\0\0\0\0\0\0\0";
        let reply = Reply { truncated: false, code: 1, found: Vec::new() };
        assert_eq!(read(bare, Type::A), Some(Ok(reply)));
        let empty = b"\0\x07\x80\x00\0\0\0\0\0\0\0\0";
        assert!(matches!(read(empty, Type::A), Some(Err(_))));
    }
}
