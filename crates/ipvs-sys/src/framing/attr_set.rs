//! Sets of attributes.

use core::fmt;
use core::hash::{Hash, Hasher};

use super::nl;

/// The title of a set, and the C names of its attributes by their numbers.
type Description = (&'static str, fn(u16) -> Option<&'static str>);

/// A set of attributes: it gives an attribute's number its meaning.
// A reference, because every attribute read holds one. Sets are compared by title, because function
// addresses aren't unique.
#[derive(Clone, Copy)]
pub struct AttrSet(&'static Description);

impl AttrSet {
    /// A generic-netlink family, described by the controller.
    pub const CONTROLLER: Self = Self::new(&("family", controller_name));
    /// An extended acknowledgement.
    pub const EXT_ACK: Self = Self::new(&("extended acknowledgement", ext_ack_name));

    pub(crate) const fn new(description: &'static Description) -> Self {
        Self(description)
    }

    /// The C name of attribute `kind` of this set, such as `IPVS_SVC_ATTR_PORT`, if known.
    #[must_use]
    pub fn name(self, kind: u16) -> Option<&'static str> {
        (self.0.1)(kind)
    }

    /// Formats an attribute for humans: its C name, or the set and the number.
    pub(crate) fn describe(self, kind: u16) -> impl fmt::Display {
        Described(self, kind)
    }
}

impl PartialEq for AttrSet {
    fn eq(&self, other: &Self) -> bool {
        self.0.0 == other.0.0
    }
}

impl Eq for AttrSet {}

impl Hash for AttrSet {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.0.hash(state);
    }
}

impl fmt::Display for AttrSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.0)
    }
}

impl fmt::Debug for AttrSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AttrSet({self})")
    }
}

struct Described(AttrSet, u16);

impl fmt::Display for Described {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.name(self.1) {
            Some(name) => f.write_str(name),
            None => write!(f, "{} attribute {}", self.0, self.1),
        }
    }
}

fn controller_name(kind: u16) -> Option<&'static str> {
    Some(match kind {
        nl::CTRL_ATTR_FAMILY_ID => "CTRL_ATTR_FAMILY_ID",
        nl::CTRL_ATTR_FAMILY_NAME => "CTRL_ATTR_FAMILY_NAME",
        nl::CTRL_ATTR_VERSION => "CTRL_ATTR_VERSION",
        nl::CTRL_ATTR_HDRSIZE => "CTRL_ATTR_HDRSIZE",
        nl::CTRL_ATTR_MAXATTR => "CTRL_ATTR_MAXATTR",
        nl::CTRL_ATTR_OPS => "CTRL_ATTR_OPS",
        nl::CTRL_ATTR_MCAST_GROUPS => "CTRL_ATTR_MCAST_GROUPS",
        _ => return None,
    })
}

fn ext_ack_name(kind: u16) -> Option<&'static str> {
    Some(match kind {
        nl::NLMSGERR_ATTR_MSG => "NLMSGERR_ATTR_MSG",
        nl::NLMSGERR_ATTR_OFFS => "NLMSGERR_ATTR_OFFS",
        nl::NLMSGERR_ATTR_COOKIE => "NLMSGERR_ATTR_COOKIE",
        nl::NLMSGERR_ATTR_POLICY => "NLMSGERR_ATTR_POLICY",
        nl::NLMSGERR_ATTR_MISS_TYPE => "NLMSGERR_ATTR_MISS_TYPE",
        nl::NLMSGERR_ATTR_MISS_NEST => "NLMSGERR_ATTR_MISS_NEST",
        _ => return None,
    })
}
