//! Transports: what carries datagrams to the kernel and back, and opens files in its namespace.

pub(crate) mod kernel_socket;
pub(crate) mod netlink_socket;
pub(crate) mod netns;
pub(crate) mod proc_files;
pub(crate) mod served;
pub(crate) mod sockopt;

use std::io;
use std::time::Instant;

use crate::transport::proc_files::ProcFiles;

/// Carries datagrams to the kernel and back: the seam at which [`Client`](crate::Client) can be
/// tested without a kernel.
///
/// For tests there is a model of the kernel, the crate `ipvs-model`; if a few replies are enough,
/// [`Served`](crate::Served) makes a transport of one function. References to transports and boxed
/// ones (`Box<dyn Transport>`) are transports, too.
pub trait Transport {
    /// Sends one datagram. The kernel executes the requests in it before this returns.
    ///
    /// # Errors
    ///
    /// As send(2).
    fn send(&mut self, datagram: &[u8]) -> io::Result<()>;

    /// Replaces the content of `buffer` with the next datagram, without waiting for one. Returns
    /// false if there is none.
    ///
    /// # Errors
    ///
    /// As recv(2); `ENOBUFS` means that the kernel had to drop replies.
    fn receive(&mut self, buffer: &mut Vec<u8>) -> io::Result<bool>;

    /// Waits until there is a datagram to receive. Returns false if none came before `deadline`, or
    /// if none will come: a transport whose replies are all there when sending returns needn't
    /// implement this.
    ///
    /// # Errors
    ///
    /// As poll(2).
    fn wait(&mut self, deadline: Instant) -> io::Result<bool> {
        let _ = deadline;
        Ok(false)
    }

    /// Discards whatever is in flight, including replies that are still to come.
    ///
    /// # Errors
    ///
    /// As recv(2).
    fn reset(&mut self) -> io::Result<()>;

    /// The files under `/proc` at the other end: connections and [settings](crate::sysctl), which
    /// also say whether rates are estimated. By default there are none: then reading connections
    /// and settings fails with [`io::ErrorKind::Unsupported`], and rates count as estimated.
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
