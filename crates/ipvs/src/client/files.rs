//! What the kernel reports in files under `/proc` rather than over netlink: connections, settings.

use std::io::{self, Read as _};

use crate::client::Client;
use crate::error::Error;
use crate::error::invalid_input::InvalidInput;
use crate::error::kind::ErrorKind;
use crate::error::operation::{Object, Operation};
use crate::model::stats::Stats;
use crate::procfs::connections;
use crate::procfs::connections::Connections;
use crate::procfs::sysctl;
use crate::procfs::sysctl::value::Value;
use crate::procfs::sysctl::{Setting, Sysctl};
use crate::reconcile::ensured::Ensured;
use crate::trace;
use crate::transport::Transport;
use crate::transport::proc_files::ProcFiles;

impl<T: Transport> Client<T> {
    /// The connections of the client's network namespace, including persistence templates:
    /// `ipvsadm -L -c`. They are read one by one from `/proc/net/ip_vs_conn`, so memory doesn't
    /// grow with their number.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`] if the file can't be opened; [`ErrorKind::PermissionDenied`] if the
    /// calling thread has left the namespace and may not enter it.
    pub fn connections(&mut self) -> Result<Connections, Error> {
        let opened = files_of(&mut self.transport)
            .and_then(|files| files.open(connections::PATH))
            .map(Connections::of_file)
            .map_err(|cause| Error::from_io(Operation::Connections, None, cause));
        trace::ended(Operation::Connections, None, opened.as_ref().map(|_| ()));
        opened
    }

    /// Reads a [setting](sysctl) of the client's network namespace: `sysctl net.ipv4.vs.NAME`.
    /// `None` if this kernel, or this namespace, doesn't have it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Protocol`] for a value that isn't of the setting's type;
    /// [`ErrorKind::PermissionDenied`] if the calling thread has left the namespace and may not
    /// enter it.
    pub fn sysctl<V: Value>(&mut self, setting: Sysctl<V>) -> Result<Option<V>, Error> {
        let (operation, object) = (Operation::Sysctl, Object::Sysctl(setting.name()));
        let value = self.read_sysctl(setting, operation, object);
        trace::ended(operation, Some(&object), value.as_ref().map(|_| ()));
        value
    }

    fn read_sysctl<V: Value>(
        &mut self,
        setting: Sysctl<V>,
        operation: Operation,
        object: Object,
    ) -> Result<Option<V>, Error> {
        let Some(text) = self.read_setting(setting.name())? else { return Ok(None) };
        match V::parse(&text) {
            Some(value) => Ok(Some(value)),
            None => Err(Error::new(operation, Some(object), ErrorKind::Protocol)
                .with_source(format!("its value is `{text}`"))),
        }
    }

    /// The text of a setting, without white space around it.
    fn read_setting(&mut self, name: &'static str) -> Result<Option<String>, Error> {
        let failed =
            |cause| Error::from_os(Operation::Sysctl, cause).with_object(Object::Sysctl(name));
        let opened =
            files_of(&mut self.transport).and_then(|files| files.open(&sysctl::path(name)));
        let file = match opened {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(failed)?,
        };
        let mut text = String::new();
        file.take(sysctl::MAX_TEXT).read_to_string(&mut text).map_err(failed)?;
        Ok(Some(text.trim_ascii().to_owned()))
    }

    /// Changes a [setting](sysctl) of the client's network namespace:
    /// `sysctl -w net.ipv4.vs.NAME=…`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::SysctlNotFound`] if this kernel, or this namespace, doesn't have it;
    /// [`ErrorKind::InvalidArgument`] for a value that the kernel refuses;
    /// [`ErrorKind::InvalidInput`] for one that can't be written as text;
    /// [`ErrorKind::PermissionDenied`].
    #[allow(clippy::needless_pass_by_value, reason = "values are small, and few are kept")]
    pub fn set_sysctl<V: Value>(&mut self, setting: Sysctl<V>, value: V) -> Result<(), Error> {
        self.write_setting(&Setting::new(setting, &value))
    }

    /// Ensures a [setting](sysctl): sets it, or leaves it alone, and returns what it did. Values
    /// that mean the same to the kernel count as equal.
    ///
    /// # Errors
    ///
    /// As [`set_sysctl`](Self::set_sysctl).
    ///
    /// ```
    /// use ipvs::{Ensured, sysctl};
    ///
    /// # let mut client = ipvs::Client::with_transport(ipvs_model::Kernel::new())?;
    /// assert_eq!(client.ensure_sysctl(sysctl::CONNTRACK, true)?, Ensured::Changed);
    /// assert_eq!(client.ensure_sysctl(sysctl::CONNTRACK, true)?, Ensured::Unchanged);
    /// # Ok::<(), ipvs::Error>(())
    /// ```
    #[allow(clippy::needless_pass_by_value, reason = "as set_sysctl")]
    pub fn ensure_sysctl<V: Value>(
        &mut self,
        setting: Sysctl<V>,
        value: V,
    ) -> Result<Ensured, Error> {
        self.ensure_setting(&Setting::new(setting, &value))
    }

    pub(super) fn ensure_setting(&mut self, setting: &Setting) -> Result<Ensured, Error> {
        let reported = self.read_setting(setting.name)?;
        if let (Ok(wanted), Some(reported)) = (&setting.text, reported) {
            if (setting.is_met)(wanted, &reported) {
                return Ok(Ensured::Unchanged);
            }
        }
        self.write_setting(setting).map(|()| Ensured::Changed)
    }

    fn write_setting(&mut self, setting: &Setting) -> Result<(), Error> {
        let (operation, object) = (Operation::SetSysctl, Object::Sysctl(setting.name));
        let invalid = |input: InvalidInput| {
            Error::new(operation, Some(object), ErrorKind::InvalidInput).with_source(input)
        };
        let outcome = setting.text.clone().map_err(invalid).and_then(|text| {
            // The kernel ignores an empty write, so an empty list of processors is an empty line.
            let text = text + "\n";
            files_of(&mut self.transport)
                .and_then(|files| files.write(&sysctl::path(setting.name), &text))
                .map_err(|cause| Error::from_os(operation, cause).with_object(object))
        });
        trace::ended(operation, Some(&object), outcome.as_ref().copied());
        outcome
    }

    /// Removes rates that the kernel reports although it no longer estimates them: they are what
    /// they were when it last did.
    pub(super) fn drop_unestimated_rates<'a>(
        &mut self,
        all: impl IntoIterator<Item = &'a mut Stats>,
    ) {
        let mut all = all.into_iter().peekable();
        if self.stale_rates || all.peek().is_none() {
            return;
        }
        if self.transport.files().is_some_and(|files| !estimates_rates(files)) {
            all.for_each(|stats| stats.rates = None);
        }
    }
}

fn files_of<T: Transport>(transport: &mut T) -> io::Result<&mut dyn ProcFiles> {
    transport.files().ok_or_else(|| io::ErrorKind::Unsupported.into())
}

/// Whether the kernel estimates rates. A setting that can't be read counts as on.
fn estimates_rates(files: &mut dyn ProcFiles) -> bool {
    let mut says = |setting: &str, off: fn(&[u8]) -> bool| {
        // The beginning of the value is enough.
        let mut value = [0; 16];
        let length = files.peek(setting, &mut value);
        length.is_ok_and(|length| off(value.get(..length).unwrap_or(&value).trim_ascii()))
    };
    // The first since Linux 5.16; the second since 6.2, as rates need a processor to be estimated
    // on.
    !says(RUN_ESTIMATION, |value| value == b"0") && !says(EST_CPULIST, <[u8]>::is_empty)
}

/// The files of the two settings that are read with every list.
const RUN_ESTIMATION: &str = "sys/net/ipv4/vs/run_estimation";
const EST_CPULIST: &str = "sys/net/ipv4/vs/est_cpulist";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_for_rates_are_where_all_settings_are() {
        assert_eq!(sysctl::path(sysctl::RUN_ESTIMATION.name()), RUN_ESTIMATION);
        assert_eq!(sysctl::path(sysctl::EST_CPULIST.name()), EST_CPULIST);
    }
}
