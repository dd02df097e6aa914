//! A transport made of one function.

use std::fmt;
use std::io;

use crate::proto::responder::{Call, Refusal, Replies, Responder};
use crate::transport::Transport;
use crate::transport::proc_files::ProcFiles;

/// The id of IPVS's family here; kernels often give it this one.
const FAMILY: u16 = 0x1c;

/// A [`Transport`] in which one function handles every request: a fake for a test, or another way
/// to IPVS.
///
/// The function is called for each request, in the order in which they were sent. It pushes replies
/// and returns how the request ended; a [`Responder`] does the rest of generic netlink's part.
///
/// ```
/// use ipvs::Served;
/// use ipvs::proto::Refusal;
/// use ipvs::{Client, ErrorKind, ServiceKey};
///
/// // An IPVS without any service.
/// let empty = Served::new(|call, _replies| match call.dump {
///     true => Ok(()),
///     false => Err(Refusal::new(3)), // ESRCH
/// });
/// let mut client = Client::with_transport(empty)?;
/// assert_eq!(client.services()?, []);
/// let key: ServiceKey = "tcp/10.10.10.53:80".parse().unwrap();
/// assert_eq!(client.delete_service(&key).unwrap_err().kind(), ErrorKind::ServiceNotFound);
/// # Ok::<(), ipvs::Error>(())
/// ```
pub struct Served<F> {
    responder: Responder,
    serve: F,
    files: Option<Box<dyn ProcFiles + Send>>,
}

impl<F> Served<F>
where
    F: FnMut(&Call<'_>, &mut Replies<'_>) -> Result<(), Refusal>,
{
    /// A transport in which `serve` handles every request.
    pub fn new(serve: F) -> Self {
        Self { responder: Responder::new(FAMILY), serve, files: None }
    }

    /// Adds the files that the client reads from `/proc`; by default there are none.
    #[must_use]
    pub fn with_files(mut self, files: impl ProcFiles + Send + 'static) -> Self {
        self.files = Some(Box::new(files));
        self
    }
}

impl<F> Transport for Served<F>
where
    F: FnMut(&Call<'_>, &mut Replies<'_>) -> Result<(), Refusal>,
{
    fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        self.responder.respond(datagram, &mut self.serve);
        Ok(())
    }

    fn receive(&mut self, buffer: &mut Vec<u8>) -> io::Result<bool> {
        // All replies are there when sending returns.
        Ok(self.responder.receive(buffer))
    }

    fn reset(&mut self) -> io::Result<()> {
        self.responder.discard();
        Ok(())
    }

    fn files(&mut self) -> Option<&mut dyn ProcFiles> {
        self.files.as_deref_mut().map(|files| files as &mut dyn ProcFiles)
    }
}

impl<F> fmt::Debug for Served<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Served").field("responder", &self.responder).finish_non_exhaustive()
    }
}
