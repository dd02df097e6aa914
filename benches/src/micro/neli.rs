//! neli's way: attributes are built and read one by one.

use std::io::Cursor;

use anyhow::{Context as _, Result};
use ipvs_sys::attr::{cmd, dest, service, stats};
use ipvs_sys::{Command, Dest, ForwardMethod, Service, Stats, Stats64, TunnelFlags, TunnelType};
use neli::attr::Attribute as _;
use neli::consts::nl::NlmF;
use neli::genl::{AttrTypeBuilder, Genlmsghdr, GenlmsghdrBuilder, Nlattr, NlattrBuilder};
use neli::nl::{NlPayload, Nlmsghdr, NlmsghdrBuilder};
use neli::types::{Buffer, GenlBuffer};
use neli::{FromBytes, Size, ToBytes};

use super::samples;

type Attributes = GenlBuffer<u16, Buffer>;

/// The request that adds a real server.
///
/// # Errors
///
/// None, if neli takes what it is given.
pub fn encode(wanted: &Service, server: &Dest) -> Result<Vec<u8>> {
    let in_service: Attributes = [
        wanted.family.map(|v| node(service::AF, v)),
        wanted.protocol.map(|v| node(service::PROTOCOL, v)),
        wanted.addr.map(|v| node(service::ADDR, v.to_vec())),
        wanted.port.map(|v| node(service::PORT, v.to_be())),
    ]
    .into_iter()
    .flatten()
    .collect::<Result<_>>()?;
    let in_dest: Attributes = [
        server.addr.map(|v| node(dest::ADDR, v.to_vec())),
        server.port.map(|v| node(dest::PORT, v.to_be())),
        server.fwd_method.map(|v| node(dest::FWD_METHOD, v.0)),
        server.weight.map(|v| node(dest::WEIGHT, v)),
        server.tun_type.map(|v| node(dest::TUN_TYPE, v.0)),
        server.tun_port.map(|v| node(dest::TUN_PORT, v.to_be())),
        server.tun_flags.map(|v| node(dest::TUN_FLAGS, v.bits())),
        server.u_thresh.map(|v| node(dest::U_THRESH, v)),
        server.l_thresh.map(|v| node(dest::L_THRESH, v)),
        server.addr_family.map(|v| node(dest::ADDR_FAMILY, v)),
    ]
    .into_iter()
    .flatten()
    .collect::<Result<_>>()?;
    let attributes: Attributes =
        [node(cmd::SERVICE, in_service)?, node(cmd::DEST, in_dest)?].into_iter().collect();
    let payload: Genlmsghdr<u8, u16> = GenlmsghdrBuilder::default()
        .cmd(Command::NewDest as u8)
        .version(1)
        .attrs(attributes)
        .build()?;
    let message: Nlmsghdr<u16, _> = NlmsghdrBuilder::default()
        .nl_type(samples::FAMILY)
        .nl_flags(NlmF::REQUEST)
        .nl_seq(samples::header().seq)
        .nl_payload(NlPayload::Payload(payload))
        .build()?;
    let mut buffer = Cursor::new(Vec::new());
    message.to_bytes(&mut buffer)?;
    Ok(buffer.into_inner())
}

fn node(kind: u16, value: impl Size + ToBytes) -> Result<Nlattr<u16, Buffer>> {
    let kind = AttrTypeBuilder::default().nla_type(kind).build()?;
    Ok(NlattrBuilder::default().nla_type(kind).nla_payload(value).build()?)
}

/// Reads all real servers of a datagram.
///
/// # Errors
///
/// If it isn't well formed.
pub fn decode(datagram: &[u8], mut entry: impl FnMut(Dest)) -> Result<()> {
    let mut cursor = Cursor::new(datagram);
    while (cursor.position() as usize) < datagram.len() {
        let message = Nlmsghdr::<u16, Genlmsghdr<u8, u16>>::from_bytes(&mut cursor)?;
        let payload = message.get_payload().context("no generic-netlink message")?;
        let attributes = payload.attrs().get_attr_handle();
        entry(read_dest(&attributes.get_nested_attributes::<u16>(cmd::DEST)?)?);
    }
    Ok(())
}

type Handle<'a> = neli::attr::AttrHandle<'a, Attributes, Nlattr<u16, Buffer>>;

fn read_dest(attributes: &Handle<'_>) -> Result<Dest> {
    let mut values = Dest::default();
    for attr in attributes.iter() {
        match *attr.nla_type().nla_type() {
            dest::ADDR => values.addr = Some(attr.nla_payload().as_ref().try_into()?),
            dest::PORT => values.port = Some(u16::from_be(attr.get_payload_as()?)),
            dest::FWD_METHOD => values.fwd_method = Some(ForwardMethod(attr.get_payload_as()?)),
            dest::WEIGHT => values.weight = Some(attr.get_payload_as()?),
            dest::TUN_TYPE => values.tun_type = Some(TunnelType(attr.get_payload_as()?)),
            dest::TUN_PORT => values.tun_port = Some(u16::from_be(attr.get_payload_as()?)),
            dest::TUN_FLAGS => {
                values.tun_flags = Some(TunnelFlags::from_bits_retain(attr.get_payload_as()?));
            }
            dest::U_THRESH => values.u_thresh = Some(attr.get_payload_as()?),
            dest::L_THRESH => values.l_thresh = Some(attr.get_payload_as()?),
            dest::ACTIVE_CONNS => values.active_conns = Some(attr.get_payload_as()?),
            dest::INACT_CONNS => values.inact_conns = Some(attr.get_payload_as()?),
            dest::PERSIST_CONNS => values.persist_conns = Some(attr.get_payload_as()?),
            dest::ADDR_FAMILY => values.addr_family = Some(attr.get_payload_as()?),
            dest::STATS => values.stats = Some(read_stats(&attr.get_attr_handle()?)?),
            dest::STATS64 => values.stats64 = Some(read_stats64(&attr.get_attr_handle()?)?),
            _ => {}
        }
    }
    Ok(values)
}

fn read_stats(attributes: &Handle<'_>) -> Result<Stats> {
    let mut values = Stats::default();
    for attr in attributes.iter() {
        match *attr.nla_type().nla_type() {
            stats::CONNS => values.conns = attr.get_payload_as()?,
            stats::INPKTS => values.inpkts = attr.get_payload_as()?,
            stats::OUTPKTS => values.outpkts = attr.get_payload_as()?,
            stats::INBYTES => values.inbytes = attr.get_payload_as()?,
            stats::OUTBYTES => values.outbytes = attr.get_payload_as()?,
            stats::CPS => values.cps = attr.get_payload_as()?,
            stats::INPPS => values.inpps = attr.get_payload_as()?,
            stats::OUTPPS => values.outpps = attr.get_payload_as()?,
            stats::INBPS => values.inbps = attr.get_payload_as()?,
            stats::OUTBPS => values.outbps = attr.get_payload_as()?,
            _ => {}
        }
    }
    Ok(values)
}

fn read_stats64(attributes: &Handle<'_>) -> Result<Stats64> {
    let mut values = Stats64::default();
    for attr in attributes.iter() {
        match *attr.nla_type().nla_type() {
            stats::CONNS => values.conns = attr.get_payload_as()?,
            stats::INPKTS => values.inpkts = attr.get_payload_as()?,
            stats::OUTPKTS => values.outpkts = attr.get_payload_as()?,
            stats::INBYTES => values.inbytes = attr.get_payload_as()?,
            stats::OUTBYTES => values.outbytes = attr.get_payload_as()?,
            stats::CPS => values.cps = attr.get_payload_as()?,
            stats::INPPS => values.inpps = attr.get_payload_as()?,
            stats::OUTPPS => values.outpps = attr.get_payload_as()?,
            stats::INBPS => values.inbps = attr.get_payload_as()?,
            stats::OUTBPS => values.outbps = attr.get_payload_as()?,
            _ => {}
        }
    }
    Ok(values)
}
