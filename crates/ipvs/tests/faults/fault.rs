//! What can go wrong with one exchange of datagrams.

use rustix::io::Errno;
use splitmix::Random;

/// What becomes of a datagram of requests or of its answers. Places are taken modulo how many there
/// are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    /// Each answer comes in a datagram of its own.
    Split,
    /// Nothing, said in a message of its own (`NLMSG_NOOP`) before an answer.
    Noop(usize),
    /// The messages of lists say that the list was changed meanwhile (`NLM_F_DUMP_INTR`).
    ListChanged,
    /// All answers come once more, later.
    Twice,
    /// An answer of an earlier exchange comes once more, before an answer of this.
    Earlier(usize),
    /// An answer's double with another sequence number comes before it.
    OtherNumber(usize, u32),
    /// The acknowledgement that a daemon was stopped is left out, as that of a thread which never
    /// ran is.
    NoAcknowledgement,

    /// The module is reloaded before a request.
    Reload(usize),
    /// Somebody else changes the table first.
    Rival,

    /// Sending fails, so nothing is executed.
    SendFails(Errno),
    /// Receiving fails in place of an answer, which is lost with those behind it.
    ReceiveFails(usize, Errno),
    /// All answers from one on are lost.
    LostFrom(usize),
    /// All answers from one on come when the next datagram has been sent.
    LateFrom(usize),
    /// The answers are cut off at a byte.
    CutAt(usize),
    /// Bytes that are no answer come before one.
    Garbage(usize),
    /// The kernel refuses a request for a reason of its own.
    Refused(usize, Errno),
    /// A list ends early, with an error.
    ListFails(usize, Errno),
    /// A reply has the right number, and no meaning.
    Malformed(usize),
    /// The kernel is interrupted before it has stopped a daemon, and says nothing.
    Interrupted,
    /// An answer is replaced by word that data was lost (`NLMSG_OVERRUN`).
    Overrun(usize),

    /// Bits of an answer are turned over.
    Flipped(usize, usize),
    /// Answers come in another order.
    Shuffled,
    /// One answer comes twice.
    Doubled(usize),
    /// One answer is lost, and nothing says so.
    Missing(usize),
}

/// How much a fault excuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    /// Nothing: the call has to do what it would have done.
    None,
    /// The table isn't what it was, but the call has to work.
    Changed,
    /// The call may fail, and has to say so, and what is known.
    Failed,
    /// It lies: the answers are those of a kernel that did something else. A netlink socket hands
    /// messages out whole, once and in order, or says that it couldn't (ENOBUFS), so this is beyond
    /// what a client can tell from the truth. It still may not panic, wait forever, or be of no use
    /// afterwards.
    Lying,
}

impl Fault {
    pub(crate) fn random(random: &mut Random) -> Self {
        let place = random.below(1 << 16);
        // Most are about the first or the last few messages.
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
