//! Forwarding methods: how packets get from the director to a real server.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// How packets get from the director to a real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Forward {
    /// Network address translation: the destination is rewritten, and replies have to go through
    /// the director (`ipvsadm -m`, `IP_VS_CONN_F_MASQ`).
    Masquerade,
    /// The packet goes unchanged to the real server's MAC address; the real server has the VIP
    /// itself and answers the client directly (`ipvsadm -g`, `IP_VS_CONN_F_DROUTE`).
    DirectRoute,
    /// The packet goes through a tunnel; the real server has the VIP itself and answers the client
    /// directly (`ipvsadm -i`, `IP_VS_CONN_F_TUNNEL`).
    Tunnel(Tunnel),
    /// The director itself is the real server (`IP_VS_CONN_F_LOCALNODE`). The kernel does this
    /// automatically for its own addresses, but reports the method that was requested.
    LocalNode,
    /// Packets go on as if IPVS weren't there (`IP_VS_CONN_F_BYPASS`).
    Bypass,
    /// A method unknown to this version, by its number.
    Other(u32),
}

/// The encapsulation of a tunnel.
///
/// A kernel that doesn't know a type sets up plain IPIP instead, without an error: read back to be
/// sure. Linux has GUE since 5.3, GRE and checksums since 5.4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Tunnel {
    /// An IP header, IPv4 or IPv6 (RFC 2003, RFC 2473).
    Ipip,
    /// Generic UDP encapsulation.
    Gue {
        /// The UDP port at the real server's end, 1 to 65535.
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
    /// Over the packet, with remote checksum offload (`IP_VS_TUNNEL_ENCAP_FLAG_REMCSUM`): if a
    /// packet reached the director before its own checksum was filled in, for example from a
    /// virtual machine, the GUE header tells the real server to do so.
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

/// A text that is no [`Forward`] or [`Tunnel`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{text}` is not {expected}")]
pub struct ParseForwardError {
    text: String,
    expected: &'static str,
}

impl FromStr for Forward {
    type Err = ParseForwardError;

    /// Reads what [`Display`](fmt::Display) writes, with spaces or hyphens between words and in
    /// upper case too. A tunnel needs no `tunnel` behind it.
    ///
    /// ```
    /// use ipvs::{Forward, Tunnel};
    ///
    /// assert_eq!("direct-route".parse(), Ok(Forward::DirectRoute));
    /// assert_eq!("gre checksum".parse(), Ok(Forward::Tunnel(Tunnel::Gre { checksum: true })));
    /// ```
    fn from_str(text: &str) -> Result<Self, ParseForwardError> {
        let words =
            text.to_ascii_lowercase().replace("remote-checksum", "remote").replace('-', " ");
        let words: Vec<&str> = words.split_ascii_whitespace().collect();
        let forward = match words.as_slice() {
            ["masquerade"] => Some(Self::Masquerade),
            ["direct", "route"] => Some(Self::DirectRoute),
            ["local", "node"] => Some(Self::LocalNode),
            ["bypass"] => Some(Self::Bypass),
            ["forwarding", "method", number] => number.parse().map(Self::Other).ok(),
            [tunnel @ .., "tunnel"] | tunnel => parse_tunnel(tunnel).map(Self::Tunnel),
        };
        forward.ok_or_else(|| ParseForwardError {
            text: text.to_owned(),
            expected: "a forwarding method such as direct-route, masquerade, ipip or gue port 6080",
        })
    }
}

impl FromStr for Tunnel {
    type Err = ParseForwardError;

    /// Reads what [`Display`](fmt::Display) writes, in upper case too.
    fn from_str(text: &str) -> Result<Self, ParseForwardError> {
        let words =
            text.to_ascii_lowercase().replace("remote-checksum", "remote").replace('-', " ");
        let words: Vec<&str> = words.split_ascii_whitespace().collect();
        parse_tunnel(&words).ok_or_else(|| ParseForwardError {
            text: text.to_owned(),
            expected: "a tunnel such as ipip, gue port 6080 checksum or gre",
        })
    }
}

fn parse_tunnel(words: &[&str]) -> Option<Tunnel> {
    Some(match words {
        ["ipip"] => Tunnel::Ipip,
        ["gre"] => Tunnel::Gre { checksum: false },
        ["gre", "checksum"] => Tunnel::Gre { checksum: true },
        ["gue", "port", port, checksum @ ..] => Tunnel::Gue {
            port: port.parse().ok()?,
            checksum: match checksum {
                [] => GueChecksum::None,
                ["checksum"] => GueChecksum::Full,
                ["remote"] => GueChecksum::Remote,
                _ => return None,
            },
        },
        ["type", kind, "port", port, "flags", flags] => Tunnel::Other {
            kind: kind.parse().ok()?,
            port: port.parse().ok()?,
            flags: u16::from_str_radix(flags.strip_prefix("0x")?, 16).ok()?,
        },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_read_what_they_write() {
        let gue = |checksum| Tunnel::Gue { port: 6080, checksum };
        let tunnels = [
            Tunnel::Ipip,
            gue(GueChecksum::None),
            gue(GueChecksum::Full),
            gue(GueChecksum::Remote),
            Tunnel::Gre { checksum: false },
            Tunnel::Gre { checksum: true },
            Tunnel::Other { kind: 9, port: 7, flags: 0x12 },
        ];
        for tunnel in tunnels {
            assert_eq!(tunnel.to_string().parse(), Ok(tunnel));
            assert_eq!(tunnel.to_string().parse(), Ok(Forward::Tunnel(tunnel)));
        }
        let methods = [
            Forward::Masquerade,
            Forward::DirectRoute,
            Forward::LocalNode,
            Forward::Bypass,
            Forward::Other(7),
        ];
        for method in methods.into_iter().chain(tunnels.map(Forward::Tunnel)) {
            assert_eq!(method.to_string().parse(), Ok(method));
            assert_eq!(method.to_string().to_uppercase().parse(), Ok(method));
        }
    }

    #[test]
    fn what_is_no_method_is_refused() {
        for text in
            ["", "tunnel", "route", "gue", "gue port 65536", "gre port 1", "ipip tunnel tunnel"]
        {
            assert!(text.parse::<Forward>().is_err(), "{text}");
        }
    }
}
