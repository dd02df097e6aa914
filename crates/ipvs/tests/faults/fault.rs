//! Faults in one exchange of datagrams.

use rustix::io::Errno;
use splitmix::Random;

/// What happens to a datagram of requests or to its replies. Positions are taken modulo the number
/// of messages.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    /// Each reply comes in a datagram of its own.
    Split,
    /// A message that says nothing (`NLMSG_NOOP`) comes before a reply.
    Noop(usize),
    /// The messages of lists say that the list was changed in the meantime (`NLM_F_DUMP_INTR`).
    ListChanged,
    /// All replies come a second time, later.
    Twice,
    /// A reply from an earlier exchange comes again, before a reply of this one.
    Earlier(usize),
    /// A copy of a reply with another sequence number comes before it.
    OtherNumber(usize, u32),
    /// The acknowledgement that a daemon was stopped is omitted, as if its thread had never run.
    NoAcknowledgement,

    /// The module is reloaded before a request.
    Reload(usize),
    /// Another program changes the table first.
    Rival,

    /// Sending fails, so nothing is executed.
    SendFails(Errno),
    /// Receiving fails in place of a reply, which is lost together with the following ones.
    ReceiveFails(usize, Errno),
    /// All replies from one on are lost.
    LostFrom(usize),
    /// All replies from one on only come once the next datagram has been sent.
    LateFrom(usize),
    /// The replies are cut off at a byte.
    CutAt(usize),
    /// Bytes that aren't a reply come before one.
    Garbage(usize),
    /// The kernel refuses a request for a reason of its own.
    Refused(usize, Errno),
    /// A list ends early, with an error.
    ListFails(usize, Errno),
    /// A reply has the right number but no meaning.
    Malformed(usize),
    /// The kernel is interrupted before it has stopped a daemon, and sends no reply.
    Interrupted,
    /// A message that data was lost (`NLMSG_OVERRUN`) replaces a reply.
    Overrun(usize),

    /// Bits of a reply are flipped.
    Flipped(usize, usize),
    /// Replies come in another order.
    Shuffled,
    /// A reply comes twice.
    Doubled(usize),
    /// A reply is lost, and nothing reports it.
    Missing(usize),
}

/// How much a fault excuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    /// Nothing: the call has to return the same result as without the fault.
    None,
    /// The table isn't what it was, but the call has to succeed.
    Changed,
    /// The call may fail, but has to say so, and report what is known.
    Failed,
    /// The replies are false: they are those of a kernel that did something else. A netlink socket
    /// delivers messages intact, once and in order, or reports that it couldn't (ENOBUFS), so a
    /// client can't tell these replies from the truth. It still must not panic, wait forever, or be
    /// unusable afterwards.
    Lying,
}

impl Fault {
    pub(crate) fn random(random: &mut Random) -> Self {
        let place = random.below(1 << 16);
        // Most faults are about the first or the last few messages.
        let near = random.below(4);
        let place = random.pick(&[near, near, place]);
        let errno =
            random.pick(&[Errno::NOBUFS, Errno::INTR, Errno::AGAIN, Errno::NOMEM, Errno::IO]);
        match random.below(44) {
            0 => Self::Split,
            1 => Self::Noop(place),
            2 => Self::ListChanged,
            3 | 4 => Self::Twice,
            5 | 6 => Self::Earlier(place),
            7 | 8 => Self::OtherNumber(place, random.pick(&[0, u32::MAX, 0x1000_0000])),
            9..14 => Self::Reload(place),
            14 | 15 => Self::Rival,
            16 | 17 => Self::SendFails(errno),
            18..21 => Self::ReceiveFails(place, errno),
            21..24 => Self::LostFrom(place),
            24..27 => Self::LateFrom(place),
            27..30 => Self::CutAt(random.below(400)),
            30 => Self::Garbage(place),
            31..34 => Self::Refused(place, random.pick(&[Errno::NOMEM, Errno::BUSY, Errno::PERM])),
            34 | 35 => {
                let errno = random.pick(&[Errno::BUSY, Errno::NOMEM, Errno::INTR, Errno::NOENT]);
                Self::ListFails(place, errno)
            }
            36 => Self::Overrun(place),
            37 => Self::Shuffled,
            38 => Self::Doubled(place),
            39 => Self::Missing(place),
            40 | 41 => Self::Malformed(place),
            _ => Self::Flipped(random.below(1 << 16), random.below(8)),
        }
    }

    pub(crate) fn severity(self) -> Severity {
        match self {
            Self::Split
            | Self::Noop(_)
            | Self::ListChanged
            | Self::Twice
            | Self::Earlier(_)
            | Self::OtherNumber(..)
            | Self::NoAcknowledgement => Severity::None,
            Self::Reload(_) | Self::Rival => Severity::Changed,
            Self::SendFails(_)
            | Self::ReceiveFails(..)
            | Self::LostFrom(_)
            | Self::LateFrom(_)
            | Self::CutAt(_)
            | Self::Garbage(_)
            | Self::Refused(..)
            | Self::ListFails(..)
            | Self::Malformed(_)
            | Self::Interrupted
            | Self::Overrun(_) => Severity::Failed,
            Self::Flipped(..) | Self::Shuffled | Self::Doubled(_) | Self::Missing(_) => {
                Severity::Lying
            }
        }
    }
}
