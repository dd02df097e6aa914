//! What carries datagrams to the kernel and back.

pub(crate) mod kernel_socket;
pub(crate) mod netlink_socket;
pub(crate) mod netns;
pub(crate) mod proc_files;
pub(crate) mod served;
pub(crate) mod sockopt;

use std::io;
use std::time::Instant;

use crate::transport::proc_files::ProcFiles;

/// What carries datagrams to the kernel and back: the seam at which [`Client`](crate::Client)
/// can be tested without a kernel.
///
/// For tests there is a model of the kernel, the crate `ipvs-model`; where a few answers are
/// enough, [`Served`](crate::Served) makes a transport of one function. A client may
/// also own its transport only by reference or as `Box<dyn Transport>`.
pub trait Transport {
    /// Sends one datagram. The kernel carries out the requests in it before this returns.
    ///
    /// # Errors
    ///
    /// As send(2).
    fn send(&mut self, datagram: &[u8]) -> io::Result<()>;

    /// Puts the next datagram into `buffer`, in place of what was there, without waiting for one.
    /// Returns false if there is none.
    ///
    /// # Errors
    ///
    /// As recv(2); `ENOBUFS` says that the kernel had to drop answers.
    fn receive(&mut self, buffer: &mut Vec<u8>) -> io::Result<bool>;

    /// Waits until there is a datagram to receive. Returns false if none came until `deadline`, or
    /// if none will: a transport whose answers are all there when sending returns needn't
    /// implement this.
    ///
    /// # Errors
    ///
    /// As poll(2).
    fn wait(&mut self, deadline: Instant) -> io::Result<bool> {
        let _ = deadline;
        Ok(false)
    }

    /// Gets rid of whatever is under way, answers that are still to come included.
    ///
    /// # Errors
    ///
    /// As recv(2).
    fn reset(&mut self) -> io::Result<()>;

    /// The files under `/proc` there: connections, [settings](crate::sysctl), and by these whether
    /// rates are estimated. By default there are none, so that reading connections and settings
    /// fails with [`io::ErrorKind::Unsupported`], and rates are taken for estimated.
    fn files(&mut self) -> Option<&mut dyn ProcFiles> {
        None
    }
}

macro_rules! transport_of_pointer {
    ($($pointer:ty),*) => {
        $(impl<T: Transport + ?Sized> Transport for $pointer {
            fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
                (**self).send(datagram)
            }

            fn receive(&mut self, buffer: &mut Vec<u8>) -> io::Result<bool> {
                (**self).receive(buffer)
            }

            fn wait(&mut self, deadline: Instant) -> io::Result<bool> {
                (**self).wait(deadline)
            }

            fn reset(&mut self) -> io::Result<()> {
                (**self).reset()
            }

            fn files(&mut self) -> Option<&mut dyn ProcFiles> {
                (**self).files()
            }
        })*
    };
}

transport_of_pointer!(&mut T, Box<T>);
