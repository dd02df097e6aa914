//! Forwarding methods: how packets get from the director to a real server.

use std::fmt;

/// How packets get from the director to a real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Forward {
    /// Network address translation: the destination is rewritten, and replies must pass the
    /// director (`ipvsadm -m`, `IP_VS_CONN_F_MASQ`).
    Masquerade,
    /// The packet goes unchanged to the server's MAC address; the server holds the VIP itself
    /// and answers the client directly (`ipvsadm -g`, `IP_VS_CONN_F_DROUTE`).
    DirectRoute,
    /// The packet goes through a tunnel; the server holds the VIP itself and answers the client
    /// directly (`ipvsadm -i`, `IP_VS_CONN_F_TUNNEL`).
    Tunnel(Tunnel),
    /// The director itself is the server (`IP_VS_CONN_F_LOCALNODE`). The kernel chooses this by
    /// itself for addresses of its own and reports what was asked for.
    LocalNode,
    /// Packets go on as if IPVS weren't there (`IP_VS_CONN_F_BYPASS`).
    Bypass,
    /// A method that this version doesn't know, by its number.
    Other(u32),
}

/// What wraps a tunnelled packet.
///
/// A kernel from before a type was known sets up plain IPIP instead, without an error: read back
/// to be sure. GUE is there since Linux 5.3, GRE and checksums since 5.4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Tunnel {
    /// An IP header, IPv4 or IPv6 (RFC 2003, RFC 2473).
    Ipip,
    /// Generic UDP encapsulation.
    Gue {
        /// The UDP port of the server's end, 1 to 65535.
        port: u16,
        /// Checksums of the outer header.
        checksum: GueChecksum,
    },
    /// Generic routing encapsulation (RFC 2784).
    Gre {
        /// Whether the outer header carries a checksum.
        checksum: bool,
    },
    /// A type that this version doesn't know, with its numbers as the kernel reports them.
    Other {
        /// The type (`IPVS_DEST_ATTR_TUN_TYPE`).
        kind: u8,
        /// The port (`IPVS_DEST_ATTR_TUN_PORT`).
        port: u16,
        /// The flags (`IPVS_DEST_ATTR_TUN_FLAGS`).
        flags: u16,
    },
}

/// Checksums of a GUE tunnel's outer UDP header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum GueChecksum {
    /// None (`IP_VS_TUNNEL_ENCAP_FLAG_NOCSUM`).
    #[default]
    None,
    /// Over the packet (`IP_VS_TUNNEL_ENCAP_FLAG_CSUM`).
    Full,
    /// Over the packet, and remote checksum offload (`IP_VS_TUNNEL_ENCAP_FLAG_REMCSUM`): where a
    /// packet has come to the director before its own checksum was filled in, as from a virtual
    /// machine, the GUE header tells the server to do that.
    Remote,
}

impl fmt::Display for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Masquerade => f.pad("masquerade"),
            Self::DirectRoute => f.pad("direct route"),
            Self::Tunnel(tunnel) => write!(f, "{tunnel} tunnel"),
            Self::LocalNode => f.pad("local node"),
            Self::Bypass => f.pad("bypass"),
            Self::Other(number) => write!(f, "forwarding method {number}"),
        }
    }
}

impl fmt::Display for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ipip => f.pad("ipip"),
            Self::Gue { port, checksum: GueChecksum::None } => write!(f, "gue port {port}"),
            Self::Gue { port, checksum: GueChecksum::Full } => {
                write!(f, "gue port {port} checksum")
            }
            Self::Gue { port, checksum: GueChecksum::Remote } => {
                write!(f, "gue port {port} remote-checksum")
            }
            Self::Gre { checksum: false } => f.pad("gre"),
            Self::Gre { checksum: true } => f.pad("gre checksum"),
            Self::Other { kind, port, flags } => {
                write!(f, "type-{kind} port {port} flags {flags:#x}")
            }
        }
    }
}
