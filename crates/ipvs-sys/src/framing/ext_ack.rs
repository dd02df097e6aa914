//! Extended acknowledgements: what the kernel says beyond an errno.

use std::borrow::Cow;

use super::attrs::Attrs;
use super::error::DecodeError;
use super::nl;
use super::put::{put, put_bytes};

/// The kernel's explanation of the result of a request, beyond an errno.
///
/// A socket receives them after setting `NETLINK_EXT_ACK`. IPVS itself sends none. Generic netlink
/// sends one if an attribute is missing or of the wrong type on the request's first level or in a
/// sync daemon. Invalid attributes of services and destinations get no explanation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExtAck<'a> {
    /// A human-readable explanation, without its NUL.
    #[doc(alias = "NLMSGERR_ATTR_MSG")]
    pub message: Option<&'a [u8]>,
    /// Offset in bytes of the offending attribute from the start of the request, its netlink
    /// header included.
    #[doc(alias = "NLMSGERR_ATTR_OFFS")]
    pub offset: Option<u32>,
    /// Opaque data of the protocol.
    #[doc(alias = "NLMSGERR_ATTR_COOKIE")]
    pub cookie: Option<&'a [u8]>,
    /// The policy that the offending attribute violates, a nest of attributes.
    #[doc(alias = "NLMSGERR_ATTR_POLICY")]
    pub policy: Option<&'a [u8]>,
    /// Type of the missing attribute.
    #[doc(alias = "NLMSGERR_ATTR_MISS_TYPE")]
    pub missing_type: Option<u32>,
    /// Offset in bytes of the nest that lacks it; absent if that is the first level.
    #[doc(alias = "NLMSGERR_ATTR_MISS_NEST")]
    pub missing_nest: Option<u32>,
}

impl<'a> ExtAck<'a> {
    pub(crate) fn from_attrs(attrs: Attrs<'a>) -> Result<Self, DecodeError> {
        let mut ext_ack = Self::default();
        for attr in attrs {
            let attr = attr?;
            match attr.kind {
                nl::NLMSGERR_ATTR_MSG => {
                    ext_ack.message = attr.payload.split(|&byte| byte == 0).next();
                }
                nl::NLMSGERR_ATTR_OFFS => ext_ack.offset = Some(attr.u32()?),
                nl::NLMSGERR_ATTR_COOKIE => ext_ack.cookie = Some(attr.payload),
                nl::NLMSGERR_ATTR_POLICY => ext_ack.policy = Some(attr.payload),
                nl::NLMSGERR_ATTR_MISS_TYPE => ext_ack.missing_type = Some(attr.u32()?),
                nl::NLMSGERR_ATTR_MISS_NEST => ext_ack.missing_nest = Some(attr.u32()?),
                _ => {}
            }
        }
        Ok(ext_ack)
    }

    /// Appends the attributes in the kernel's order.
    pub(crate) fn write(&self, buffer: &mut Vec<u8>) {
        if let Some(message) = self.message {
            put_bytes(buffer, nl::NLMSGERR_ATTR_MSG, message, b"\0");
        }
        if let Some(offset) = self.offset {
            put(buffer, nl::NLMSGERR_ATTR_OFFS, offset.to_ne_bytes());
        }
        if let Some(policy) = self.policy {
            put_bytes(buffer, nl::NLMSGERR_ATTR_POLICY | nl::NLA_F_NESTED, policy, b"");
        }
        if let Some(missing_type) = self.missing_type {
            put(buffer, nl::NLMSGERR_ATTR_MISS_TYPE, missing_type.to_ne_bytes());
        }
        if let Some(missing_nest) = self.missing_nest {
            put(buffer, nl::NLMSGERR_ATTR_MISS_NEST, missing_nest.to_ne_bytes());
        }
        if let Some(cookie) = self.cookie {
            put_bytes(buffer, nl::NLMSGERR_ATTR_COOKIE, cookie, b"");
        }
    }

    /// Whether the kernel sent no explanation.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The explanation as text; bytes that aren't UTF-8 become U+FFFD.
    #[must_use]
    pub fn message_lossy(&self) -> Option<Cow<'a, str>> {
        self.message.map(String::from_utf8_lossy)
    }
}
