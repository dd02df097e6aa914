//! The generic-netlink controller, which resolves a family's name to its id.
//!
//! The id is the type of every message to the family. It stays the same as long as the kernel
//! module is loaded. Asking for it loads the module.

use core::ops::Range;

use super::attr_set::AttrSet;
use super::error::DecodeError;
use super::genl::Genl;
use super::header::Header;
use super::name::Name;
use super::nl;
use super::put::{put, put_name};
use super::writer::Writer;

/// A generic-netlink family as the controller describes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Family {
    /// Its id: the type of its messages.
    #[doc(alias = "CTRL_ATTR_FAMILY_ID")]
    pub id: u16,
    /// Its name.
    #[doc(alias = "CTRL_ATTR_FAMILY_NAME")]
    pub name: Name,
    /// Version of its interface.
    #[doc(alias = "CTRL_ATTR_VERSION")]
    pub version: u32,
    /// Size in bytes of its own header, which follows that of generic netlink.
    #[doc(alias = "CTRL_ATTR_HDRSIZE")]
    pub header_size: u32,
    /// The highest type of an attribute on the first level.
    #[doc(alias = "CTRL_ATTR_MAXATTR")]
    pub max_attr: u32,
}

impl Family {
    /// Reads the controller's description of a family: the payload of a
    /// [`Body::Data`](crate::Body::Data) of type [`GENL_ID_CTRL`](nl::GENL_ID_CTRL).
    ///
    /// # Errors
    ///
    /// The message isn't such a description, has no id, or is malformed. Unknown attributes are
    /// skipped.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let genl = Genl::read(AttrSet::CONTROLLER, payload)?;
        if genl.command != nl::CTRL_CMD_NEWFAMILY {
            return Err(DecodeError::Command(genl.command));
        }
        let mut family = Self::default();
        let mut id = None;
        for attr in genl.attrs {
            let attr = attr?;
            match attr.kind {
                nl::CTRL_ATTR_FAMILY_ID => id = Some(attr.u16()?),
                nl::CTRL_ATTR_FAMILY_NAME => family.name = attr.name()?,
                nl::CTRL_ATTR_VERSION => family.version = attr.u32()?,
                nl::CTRL_ATTR_HDRSIZE => family.header_size = attr.u32()?,
                nl::CTRL_ATTR_MAXATTR => family.max_attr = attr.u32()?,
                _ => {}
            }
        }
        family.id = id.ok_or(DecodeError::Missing {
            set: AttrSet::CONTROLLER,
            kind: nl::CTRL_ATTR_FAMILY_ID,
        })?;
        Ok(family)
    }

    /// Appends the description to a buffer as the controller does, without commands and groups: for
    /// tests and models of the kernel.
    pub fn encode(&self, buffer: &mut Vec<u8>, seq: u32, port_id: u32) -> Range<usize> {
        let header = Header { message_type: nl::GENL_ID_CTRL, flags: 0, seq, port_id };
        let mut writer = Writer::genl(buffer, &header, nl::CTRL_CMD_NEWFAMILY, nl::CTRL_VERSION);
        let attrs = writer.buffer();
        put_name(attrs, nl::CTRL_ATTR_FAMILY_NAME, &self.name);
        put(attrs, nl::CTRL_ATTR_FAMILY_ID, self.id.to_ne_bytes());
        put(attrs, nl::CTRL_ATTR_VERSION, self.version.to_ne_bytes());
        put(attrs, nl::CTRL_ATTR_HDRSIZE, self.header_size.to_ne_bytes());
        put(attrs, nl::CTRL_ATTR_MAXATTR, self.max_attr.to_ne_bytes());
        writer.patched().finish()
    }
}

/// Appends a request for the description of the family with this name. If there is none, the kernel
/// replies with the error `ENOENT`.
///
/// ```
/// use ipvs_sys::{GENL_NAME, Name, ctrl, nl};
///
/// let mut buffer = Vec::new();
/// let name = Name::new(GENL_NAME)?;
/// ctrl::get_family(&mut buffer, nl::NLM_F_REQUEST, 1, 0, &name);
/// assert_eq!(buffer.len(), 16 + 4 + 4 + 8); // headers, and "IPVS\0" with padding
/// # Ok::<(), ipvs_sys::NameError>(())
/// ```
pub fn get_family(
    buffer: &mut Vec<u8>,
    flags: u16,
    seq: u32,
    port_id: u32,
    name: &Name,
) -> Range<usize> {
    let header = Header { message_type: nl::GENL_ID_CTRL, flags, seq, port_id };
    let mut writer = Writer::genl(buffer, &header, nl::CTRL_CMD_GETFAMILY, nl::CTRL_VERSION);
    put_name(writer.buffer(), nl::CTRL_ATTR_FAMILY_NAME, name);
    writer.patched().finish()
}
