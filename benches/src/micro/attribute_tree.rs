//! The way of the netlink-packet crates: a message is a list of attributes, each a value of an enum,
//! as in rtnetlink, ethtool and the other crates of that stack.

use ipvs_sys::attr::{cmd, dest, service, stats};
use ipvs_sys::{Dest, GENL_NAME, GENL_VERSION, Service};
use netlink_packet_core::{
    DecodeError, DefaultNla, Emitable, NetlinkHeader, NetlinkMessage, NetlinkPayload, Nla,
    NlaBuffer, NlasIterator, Parseable, ParseableParametrized, parse_u8, parse_u16, parse_u16_be,
    parse_u32, parse_u64,
};
use netlink_packet_generic::{GenlFamily, GenlHeader, GenlMessage};

use super::samples;

/// A message of the family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpvsMessage {
    /// The command.
    pub command: u8,
    /// What it is about.
    pub attributes: Vec<Attribute>,
}

/// An attribute of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attribute {
    /// `IPVS_CMD_ATTR_SERVICE`
    Service(Vec<ServiceAttribute>),
    /// `IPVS_CMD_ATTR_DEST`
    Dest(Vec<DestAttribute>),
    /// Any other.
    Other(DefaultNla),
}

/// An attribute of a service, as far as requests about its real servers have it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are called as in linux/ip_vs.h")]
pub enum ServiceAttribute {
    Family(u16),
    Protocol(u16),
    Addr([u8; 16]),
    Port(u16),
    Other(DefaultNla),
}

/// An attribute of a real server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are called as in linux/ip_vs.h")]
pub enum DestAttribute {
    Addr([u8; 16]),
    Port(u16),
    FwdMethod(u32),
    Weight(u32),
    TunType(u8),
    TunPort(u16),
    TunFlags(u16),
    UpperThreshold(u32),
    LowerThreshold(u32),
    ActiveConns(u32),
    InactConns(u32),
    PersistConns(u32),
    AddrFamily(u16),
    Stats(Vec<StatsAttribute>),
    Stats64(Vec<StatsAttribute>),
    Other(DefaultNla),
}

/// A counter or a rate, in either width.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are called as in linux/ip_vs.h")]
pub enum StatsAttribute {
    Narrow { kind: u16, value: u32 },
    Wide { kind: u16, value: u64 },
    Pad,
}

/// The request that adds a real server.
pub fn request(service: &Service, dest: &Dest) -> NetlinkMessage<GenlMessage<IpvsMessage>> {
    let service = [
        service.family.map(ServiceAttribute::Family),
        service.protocol.map(ServiceAttribute::Protocol),
        service.addr.map(ServiceAttribute::Addr),
        service.port.map(ServiceAttribute::Port),
    ];
    let dest = [
        dest.addr.map(DestAttribute::Addr),
        dest.port.map(DestAttribute::Port),
        dest.fwd_method.map(|method| DestAttribute::FwdMethod(method.0)),
        dest.weight.map(DestAttribute::Weight),
        dest.tun_type.map(|kind| DestAttribute::TunType(kind.0)),
        dest.tun_port.map(DestAttribute::TunPort),
        dest.tun_flags.map(|flags| DestAttribute::TunFlags(flags.bits())),
        dest.u_thresh.map(DestAttribute::UpperThreshold),
        dest.l_thresh.map(DestAttribute::LowerThreshold),
        dest.addr_family.map(DestAttribute::AddrFamily),
    ];
    let attributes = vec![
        Attribute::Service(service.into_iter().flatten().collect()),
        Attribute::Dest(dest.into_iter().flatten().collect()),
    ];
    let command = ipvs_sys::Command::NewDest as u8;
    let mut payload = GenlMessage::from_payload(IpvsMessage { command, attributes });
    payload.set_resolved_family_id(samples::FAMILY);
    let mut header = NetlinkHeader::default();
    header.flags = samples::header().flags;
    header.sequence_number = samples::header().seq;
    NetlinkMessage::new(header, NetlinkPayload::from(payload))
}

/// Writes the request that adds a real server, in place of what was in the buffer.
pub fn encode(buffer: &mut Vec<u8>, service: &Service, dest: &Dest) {
    let mut message = request(service, dest);
    message.finalize();
    buffer.resize(message.buffer_len(), 0);
    message.serialize(buffer);
}

/// Reads all entries of a datagram.
///
/// # Errors
///
/// If it isn't well formed.
pub fn decode(datagram: &[u8], mut entry: impl FnMut(IpvsMessage)) -> Result<(), DecodeError> {
    let mut rest = datagram;
    while !rest.is_empty() {
        let message = NetlinkMessage::<GenlMessage<IpvsMessage>>::deserialize(rest)?;
        let length = (message.header.length as usize).next_multiple_of(4);
        rest = rest.get(length..).unwrap_or_default();
        if let NetlinkPayload::InnerMessage(message) = message.payload {
            entry(message.payload);
        }
    }
    Ok(())
}

impl GenlFamily for IpvsMessage {
    fn family_name() -> &'static str {
        GENL_NAME
    }

    fn command(&self) -> u8 {
        self.command
    }

    fn version(&self) -> u8 {
        GENL_VERSION
    }
}

impl Emitable for IpvsMessage {
    fn buffer_len(&self) -> usize {
        self.attributes.as_slice().buffer_len()
    }

    fn emit(&self, buffer: &mut [u8]) {
        self.attributes.as_slice().emit(buffer);
    }
}

impl ParseableParametrized<[u8], GenlHeader> for IpvsMessage {
    fn parse_with_param(payload: &[u8], header: GenlHeader) -> Result<Self, DecodeError> {
        Ok(Self { command: header.cmd, attributes: list(payload)? })
    }
}

/// All attributes of a nest.
fn list<T>(payload: &[u8]) -> Result<Vec<T>, DecodeError>
where
    T: for<'a> Parseable<NlaBuffer<&'a [u8]>>,
{
    NlasIterator::new(payload).map(|attribute| T::parse(&attribute?)).collect()
}

fn addr(payload: &[u8]) -> Result<[u8; 16], DecodeError> {
    payload.try_into().map_err(|_| DecodeError::from("an address that hasn't 16 bytes"))
}

impl Nla for Attribute {
    fn value_len(&self) -> usize {
        match self {
            Self::Service(attributes) => attributes.as_slice().buffer_len(),
            Self::Dest(attributes) => attributes.as_slice().buffer_len(),
            Self::Other(other) => other.value_len(),
        }
    }

    fn kind(&self) -> u16 {
        match self {
            Self::Service(_) => cmd::SERVICE,
            Self::Dest(_) => cmd::DEST,
            Self::Other(other) => other.kind(),
        }
    }

    fn emit_value(&self, buffer: &mut [u8]) {
        match self {
            Self::Service(attributes) => attributes.as_slice().emit(buffer),
            Self::Dest(attributes) => attributes.as_slice().emit(buffer),
            Self::Other(other) => other.emit_value(buffer),
        }
    }
}

impl<'a> Parseable<NlaBuffer<&'a [u8]>> for Attribute {
    fn parse(buffer: &NlaBuffer<&'a [u8]>) -> Result<Self, DecodeError> {
        Ok(match buffer.kind() {
            cmd::SERVICE => Self::Service(list(buffer.value())?),
            cmd::DEST => Self::Dest(list(buffer.value())?),
            _ => Self::Other(DefaultNla::parse(buffer)?),
        })
    }
}

impl Nla for ServiceAttribute {
    fn value_len(&self) -> usize {
        match self {
            Self::Family(_) | Self::Protocol(_) | Self::Port(_) => 2,
            Self::Addr(addr) => addr.len(),
            Self::Other(other) => other.value_len(),
        }
    }

    fn kind(&self) -> u16 {
        match self {
            Self::Family(_) => service::AF,
            Self::Protocol(_) => service::PROTOCOL,
            Self::Addr(_) => service::ADDR,
            Self::Port(_) => service::PORT,
            Self::Other(other) => other.kind(),
        }
    }

    fn emit_value(&self, buffer: &mut [u8]) {
        match self {
            Self::Family(value) | Self::Protocol(value) => {
                buffer.copy_from_slice(&value.to_ne_bytes());
            }
            Self::Addr(addr) => buffer.copy_from_slice(addr),
            Self::Port(port) => buffer.copy_from_slice(&port.to_be_bytes()),
            Self::Other(other) => other.emit_value(buffer),
        }
    }
}

impl<'a> Parseable<NlaBuffer<&'a [u8]>> for ServiceAttribute {
    fn parse(buffer: &NlaBuffer<&'a [u8]>) -> Result<Self, DecodeError> {
        let payload = buffer.value();
        Ok(match buffer.kind() {
            service::AF => Self::Family(parse_u16(payload)?),
            service::PROTOCOL => Self::Protocol(parse_u16(payload)?),
            service::ADDR => Self::Addr(addr(payload)?),
            service::PORT => Self::Port(parse_u16_be(payload)?),
            _ => Self::Other(DefaultNla::parse(buffer)?),
        })
    }
}

impl Nla for DestAttribute {
    fn value_len(&self) -> usize {
        match self {
            Self::Addr(addr) => addr.len(),
            Self::TunType(_) => 1,
            Self::Port(_) | Self::TunPort(_) | Self::TunFlags(_) | Self::AddrFamily(_) => 2,
            Self::FwdMethod(_)
            | Self::Weight(_)
            | Self::UpperThreshold(_)
            | Self::LowerThreshold(_)
            | Self::ActiveConns(_)
            | Self::InactConns(_)
            | Self::PersistConns(_) => 4,
            Self::Stats(values) | Self::Stats64(values) => values.as_slice().buffer_len(),
            Self::Other(other) => other.value_len(),
        }
    }

    fn kind(&self) -> u16 {
        match self {
            Self::Addr(_) => dest::ADDR,
            Self::Port(_) => dest::PORT,
            Self::FwdMethod(_) => dest::FWD_METHOD,
            Self::Weight(_) => dest::WEIGHT,
            Self::TunType(_) => dest::TUN_TYPE,
            Self::TunPort(_) => dest::TUN_PORT,
            Self::TunFlags(_) => dest::TUN_FLAGS,
            Self::UpperThreshold(_) => dest::U_THRESH,
            Self::LowerThreshold(_) => dest::L_THRESH,
            Self::ActiveConns(_) => dest::ACTIVE_CONNS,
            Self::InactConns(_) => dest::INACT_CONNS,
            Self::PersistConns(_) => dest::PERSIST_CONNS,
            Self::AddrFamily(_) => dest::ADDR_FAMILY,
            Self::Stats(_) => dest::STATS,
            Self::Stats64(_) => dest::STATS64,
            Self::Other(other) => other.kind(),
        }
    }

    fn emit_value(&self, buffer: &mut [u8]) {
        match self {
            Self::Addr(addr) => buffer.copy_from_slice(addr),
            Self::TunType(value) => buffer.copy_from_slice(&[*value]),
            Self::Port(port) | Self::TunPort(port) => {
                buffer.copy_from_slice(&port.to_be_bytes());
            }
            Self::TunFlags(value) | Self::AddrFamily(value) => {
                buffer.copy_from_slice(&value.to_ne_bytes());
            }
            Self::FwdMethod(value)
            | Self::Weight(value)
            | Self::UpperThreshold(value)
            | Self::LowerThreshold(value)
            | Self::ActiveConns(value)
            | Self::InactConns(value)
            | Self::PersistConns(value) => buffer.copy_from_slice(&value.to_ne_bytes()),
            Self::Stats(values) | Self::Stats64(values) => values.as_slice().emit(buffer),
            Self::Other(other) => other.emit_value(buffer),
        }
    }
}

impl<'a> Parseable<NlaBuffer<&'a [u8]>> for DestAttribute {
    fn parse(buffer: &NlaBuffer<&'a [u8]>) -> Result<Self, DecodeError> {
        let payload = buffer.value();
        Ok(match buffer.kind() {
            dest::ADDR => Self::Addr(addr(payload)?),
            dest::PORT => Self::Port(parse_u16_be(payload)?),
            dest::FWD_METHOD => Self::FwdMethod(parse_u32(payload)?),
            dest::WEIGHT => Self::Weight(parse_u32(payload)?),
            dest::TUN_TYPE => Self::TunType(parse_u8(payload)?),
            dest::TUN_PORT => Self::TunPort(parse_u16_be(payload)?),
            dest::TUN_FLAGS => Self::TunFlags(parse_u16(payload)?),
            dest::U_THRESH => Self::UpperThreshold(parse_u32(payload)?),
            dest::L_THRESH => Self::LowerThreshold(parse_u32(payload)?),
            dest::ACTIVE_CONNS => Self::ActiveConns(parse_u32(payload)?),
            dest::INACT_CONNS => Self::InactConns(parse_u32(payload)?),
            dest::PERSIST_CONNS => Self::PersistConns(parse_u32(payload)?),
            dest::ADDR_FAMILY => Self::AddrFamily(parse_u16(payload)?),
            dest::STATS => Self::Stats(list(payload)?),
            dest::STATS64 => Self::Stats64(list(payload)?),
            _ => Self::Other(DefaultNla::parse(buffer)?),
        })
    }
}

impl Nla for StatsAttribute {
    fn value_len(&self) -> usize {
        match self {
            Self::Narrow { .. } => 4,
            Self::Wide { .. } => 8,
            Self::Pad => 0,
        }
    }

    fn kind(&self) -> u16 {
        match self {
            Self::Narrow { kind, .. } | Self::Wide { kind, .. } => *kind,
            Self::Pad => stats::PAD,
        }
    }

    fn emit_value(&self, buffer: &mut [u8]) {
        match self {
            Self::Narrow { value, .. } => buffer.copy_from_slice(&value.to_ne_bytes()),
            Self::Wide { value, .. } => buffer.copy_from_slice(&value.to_ne_bytes()),
            Self::Pad => {}
        }
    }
}

impl<'a> Parseable<NlaBuffer<&'a [u8]>> for StatsAttribute {
    fn parse(buffer: &NlaBuffer<&'a [u8]>) -> Result<Self, DecodeError> {
        let (kind, payload) = (buffer.kind(), buffer.value());
        Ok(match payload.len() {
            0 => Self::Pad,
            4 => Self::Narrow { kind, value: parse_u32(payload)? },
            _ => Self::Wide { kind, value: parse_u64(payload)? },
        })
    }
}
