//! What is set for all services of the network namespace, and what IPVS says of itself.

use ipvs_sys::Command;

use super::Client;
#[cfg(doc)]
use crate::ErrorKind;
use crate::error::{Error, Operation};
use crate::proto::{Request, Shape};
use crate::transport::Transport;
use crate::{Change, Info, Timeouts, TimeoutsChange, wire};

impl<T: Transport> Client<T> {
    /// The version of IPVS and the size of its connection table (`IPVS_CMD_GET_INFO`).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::PermissionDenied`] without CAP_NET_ADMIN.
    pub fn info(&mut self) -> Result<Info, Error> {
        let operation = Operation::Info;
        let request = Request::new(Command::GetInfo, Shape::Get);
        self.get(operation, None, &request, |message| wire::info_from_wire(&message.info))
    }

    /// How long idle connections are kept (`IPVS_CMD_GET_CONFIG`).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::PermissionDenied`] without CAP_NET_ADMIN.
    pub fn timeouts(&mut self) -> Result<Timeouts, Error> {
        let operation = Operation::Timeouts;
        let request = Request::new(Command::GetConfig, Shape::Get);
        self.get(operation, None, &request, |message| wire::timeouts_from_wire(&message.timeouts))
    }

    /// Sets how long idle connections are kept (`IPVS_CMD_SET_CONFIG`); takes a
    /// [`TimeoutsChange`], or [`Timeouts`] for all of them. What is `None` stays as it is.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] for 0 and for fractions of a second,
    /// [`ErrorKind::InvalidArgument`] for more than the kernel can count.
    pub fn set_timeouts(&mut self, change: impl Into<TimeoutsChange>) -> Result<(), Error> {
        self.change(Change::SetTimeouts(change.into()))
    }
}
