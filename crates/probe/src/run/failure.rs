//! What failed system calls say about a server.

use std::io;

use rustix::io::Errno;

use crate::verdict::{Reason, ReasonKind, Stage, Verdict};

/// The verdict on a server after a call has failed.
pub(super) fn verdict(error: &io::Error, stage: Stage) -> Verdict {
    let errno = Errno::from_io_error(error);
    let kind = match errno {
        Some(Errno::CONNREFUSED) => ReasonKind::Refused,
        Some(Errno::HOSTUNREACH | Errno::NETUNREACH | Errno::HOSTDOWN | Errno::NETDOWN) => {
            ReasonKind::Unreachable
        }
        Some(Errno::TIMEDOUT) => ReasonKind::Timeout,
        Some(Errno::CONNRESET | Errno::CONNABORTED | Errno::PIPE) => ReasonKind::Closed,
        // Descriptors, buffers, ports, permissions: not the server's fault.
        _ => {
            let text = format!("cannot check from here: {error}");
            return Verdict::Inconclusive(Reason::new(ReasonKind::Local, stage, text));
        }
    };
    let text = match kind {
        ReasonKind::Refused => "connection refused",
        ReasonKind::Unreachable => "no way to the server",
        ReasonKind::Timeout => "connection timed out",
        _ => "connection reset",
    };
    Verdict::down(kind, stage, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_side_lacks_does_not_take_servers_down() {
        for (errno, kind) in [
            (Errno::CONNREFUSED, Some(ReasonKind::Refused)),
            (Errno::HOSTUNREACH, Some(ReasonKind::Unreachable)),
            (Errno::CONNRESET, Some(ReasonKind::Closed)),
            (Errno::MFILE, None),
            (Errno::NFILE, None),
            (Errno::NOBUFS, None),
            (Errno::ADDRNOTAVAIL, None),
            (Errno::PERM, None),
        ] {
            match verdict(&errno.into(), Stage::Connect) {
                Verdict::Down(reason) => assert_eq!(Some(reason.kind()), kind, "{errno}"),
                Verdict::Inconclusive(reason) => {
                    assert_eq!((reason.kind(), None), (ReasonKind::Local, kind), "{errno}");
                }
                Verdict::Up => panic!("{errno}"),
            }
        }
    }
}
