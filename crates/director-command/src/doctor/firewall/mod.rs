//! What rules of a firewall do with an advert, as far as that can be said without sending one.

pub(super) mod nft;
mod packet;
mod walk;
pub(super) mod xtables;

pub(super) use packet::Packet;

/// What becomes of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// All rules let it pass.
    Passes,
    /// A rule drops it.
    Drops(Place),
    /// That depends on a rule that can't be judged from here.
    Unknown(Place),
}

/// Where a verdict falls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The rule, or the policy.
    pub(super) rule: String,
    /// What lets adverts pass before that.
    pub(super) remedy: String,
}
