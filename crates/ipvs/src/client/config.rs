//! IPVS's version, and the timeouts of a network namespace.

use std::time::Duration;

use ipvs_sys::Command;

use crate::change::Change;
use crate::client::Client;
use crate::error::Error;
#[cfg(doc)]
use crate::error::kind::ErrorKind;
use crate::error::operation::Operation;
use crate::model::config::{Info, Timeouts, TimeoutsChange};
use crate::proto::request::{Request, RequestKind};
use crate::reconcile::ensured::Ensured;
use crate::transport::Transport;
use crate::wire;

impl<T: Transport> Client<T> {
    /// The version of IPVS and the size of its connection table: the first line of `ipvsadm -L`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::PermissionDenied`] without CAP_NET_ADMIN.
    #[doc(alias = "IPVS_CMD_GET_INFO")]
    pub fn info(&mut self) -> Result<Info, Error> {
        let operation = Operation::Info;
        let request = Request::new(Command::GetInfo, RequestKind::Get);
        self.get(operation, None, &request, |message| wire::info_from_wire(&message.info))
    }

    /// How long idle connections are kept: `ipvsadm -L --timeout`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::PermissionDenied`] without CAP_NET_ADMIN.
    #[doc(alias = "IPVS_CMD_GET_CONFIG")]
    pub fn timeouts(&mut self) -> Result<Timeouts, Error> {
        let operation = Operation::Timeouts;
        let request = Request::new(Command::GetConfig, RequestKind::Get);
        self.get(operation, None, &request, |message| wire::timeouts_from_wire(&message.timeouts))
    }

    /// Sets how long idle connections are kept: `ipvsadm --set`. Takes a [`TimeoutsChange`], in
    /// which `None` keeps a timeout as it is, or [`Timeouts`] for all of them.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] for 0 and for fractions of a second,
    /// [`ErrorKind::InvalidArgument`] for more than the kernel can count.
    #[doc(alias = "IPVS_CMD_SET_CONFIG")]
    pub fn set_timeouts(&mut self, change: impl Into<TimeoutsChange>) -> Result<(), Error> {
        self.change(Change::SetTimeouts(change.into()))
    }

    /// Ensures timeouts: sets those that differ, and returns what it did. `None` keeps a timeout as
    /// it is.
    ///
    /// # Errors
    ///
    /// As [`set_timeouts`](Self::set_timeouts).
    pub fn ensure_timeouts(&mut self, wanted: impl Into<TimeoutsChange>) -> Result<Ensured, Error> {
        let (wanted, now) = (wanted.into(), self.timeouts()?);
        let differing = |wanted: Option<Duration>, now| wanted.filter(|wanted| *wanted != now);
        let change = TimeoutsChange {
            tcp: differing(wanted.tcp, now.tcp),
            tcp_fin: differing(wanted.tcp_fin, now.tcp_fin),
            udp: differing(wanted.udp, now.udp),
        };
        if change == TimeoutsChange::default() {
            return Ok(Ensured::Unchanged);
        }
        self.set_timeouts(change).map(|()| Ensured::Changed)
    }
}
