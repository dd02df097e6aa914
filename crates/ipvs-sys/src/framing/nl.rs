//! Constants of netlink and generic netlink themselves, those that IPVS needs.
//!
//! They come from `linux/netlink.h` and `linux/genetlink.h` and carry their C names.

macro_rules! consts {
    ($($(#[$meta:meta])* $name:ident: $ty:ty = $value:expr;)*) => {$(
        $(#[$meta])*
        pub const $name: $ty = $value;
    )*};
}

consts! {
    /// The netlink protocol number of generic netlink, for `socket(AF_NETLINK, SOCK_RAW, …)`.
    NETLINK_GENERIC: i32 = 16;

    /// Size of `struct nlmsghdr` in bytes.
    NLMSG_HDRLEN: usize = 16;
    /// Size of `struct genlmsghdr` in bytes.
    GENL_HDRLEN: usize = 4;
    /// Size of `struct nlattr` in bytes.
    NLA_HDRLEN: usize = 4;
    /// Messages start at multiples of this many bytes in a datagram.
    NLMSG_ALIGNTO: usize = 4;
    /// Attributes start at multiples of this many bytes in a message.
    NLA_ALIGNTO: usize = 4;

    /// Message type: nothing, to be ignored.
    NLMSG_NOOP: u16 = 1;
    /// Message type: an acknowledgement or an error.
    NLMSG_ERROR: u16 = 2;
    /// Message type: the end of a dump.
    NLMSG_DONE: u16 = 3;
    /// Message type: data was lost.
    NLMSG_OVERRUN: u16 = 4;
    /// Message types below this one are reserved for netlink itself.
    NLMSG_MIN_TYPE: u16 = 0x10;

    /// Message flag: this is a request.
    NLM_F_REQUEST: u16 = 0x01;
    /// Message flag: part of a multi-part message that ends with [`NLMSG_DONE`].
    NLM_F_MULTI: u16 = 0x02;
    /// Message flag: reply with an acknowledgement, even on success.
    NLM_F_ACK: u16 = 0x04;
    /// Message flag: echo this request.
    NLM_F_ECHO: u16 = 0x08;
    /// Message flag: the dump was inconsistent because of a concurrent change. IPVS never sets it.
    NLM_F_DUMP_INTR: u16 = 0x10;
    /// Message flag: the dump was filtered as requested.
    NLM_F_DUMP_FILTERED: u16 = 0x20;

    /// Request flag: return the tree root.
    NLM_F_ROOT: u16 = 0x100;
    /// Request flag: return all matching entries.
    NLM_F_MATCH: u16 = 0x200;
    /// Request flag: a snapshot. IPVS ignores it.
    NLM_F_ATOMIC: u16 = 0x400;
    /// Request flags of a dump.
    NLM_F_DUMP: u16 = NLM_F_ROOT | NLM_F_MATCH;

    /// Acknowledgement flag: the request was not echoed beyond its header.
    NLM_F_CAPPED: u16 = 0x100;
    /// Acknowledgement flag: extended acknowledgement attributes follow.
    NLM_F_ACK_TLVS: u16 = 0x200;

    /// The greatest error number (`MAX_ERRNO` in the kernel's `linux/err.h`).
    MAX_ERRNO: i32 = 4095;

    /// Extended acknowledgement: the kernel's explanation, a NUL-terminated string.
    NLMSGERR_ATTR_MSG: u16 = 1;
    /// Extended acknowledgement: offset of the offending attribute from the start of the request.
    NLMSGERR_ATTR_OFFS: u16 = 2;
    /// Extended acknowledgement: opaque data of the protocol, sent on success.
    NLMSGERR_ATTR_COOKIE: u16 = 3;
    /// Extended acknowledgement: the policy of the rejected attribute.
    NLMSGERR_ATTR_POLICY: u16 = 4;
    /// Extended acknowledgement: the type of a missing attribute.
    NLMSGERR_ATTR_MISS_TYPE: u16 = 5;
    /// Extended acknowledgement: offset of the nest in which an attribute is missing.
    NLMSGERR_ATTR_MISS_NEST: u16 = 6;

    /// Attribute type flag: the payload is a nest of attributes.
    NLA_F_NESTED: u16 = 0x8000;
    /// Attribute type flag: the payload is in network byte order.
    NLA_F_NET_BYTEORDER: u16 = 0x4000;
    /// The bits of an attribute's type field that hold the type.
    NLA_TYPE_MASK: u16 = !(NLA_F_NESTED | NLA_F_NET_BYTEORDER);

    /// The generic-netlink controller's fixed family id.
    GENL_ID_CTRL: u16 = 0x10;
    /// Longest name of a generic-netlink family in bytes, with its NUL.
    GENL_NAMSIZ: usize = 16;
    /// Version of the controller's interface, as this crate writes it.
    CTRL_VERSION: u8 = 2;
    /// Controller command: a family appeared, and the reply to [`CTRL_CMD_GETFAMILY`].
    CTRL_CMD_NEWFAMILY: u8 = 1;
    /// Controller command: describe a family.
    CTRL_CMD_GETFAMILY: u8 = 3;
    /// Controller attribute: a family's id (u16).
    CTRL_ATTR_FAMILY_ID: u16 = 1;
    /// Controller attribute: a family's name (a NUL-terminated string).
    CTRL_ATTR_FAMILY_NAME: u16 = 2;
    /// Controller attribute: a family's version (u32).
    CTRL_ATTR_VERSION: u16 = 3;
    /// Controller attribute: size of the family's own header in bytes (u32).
    CTRL_ATTR_HDRSIZE: u16 = 4;
    /// Controller attribute: the highest attribute type of the family (u32).
    CTRL_ATTR_MAXATTR: u16 = 5;
    /// Controller attribute: a nest of the family's commands.
    CTRL_ATTR_OPS: u16 = 6;
    /// Controller attribute: a nest of the family's multicast groups.
    CTRL_ATTR_MCAST_GROUPS: u16 = 7;
}

/// Rounds a length up to the 4 bytes at which messages and attributes start.
pub(crate) const fn align(length: usize) -> usize {
    // No real length in a datagram comes near the end of the address space. Saturating only matters
    // for lengths that a hostile header claims, and those are compared with the bytes present.
    length.saturating_add(NLA_ALIGNTO - 1) & !(NLA_ALIGNTO - 1)
}
