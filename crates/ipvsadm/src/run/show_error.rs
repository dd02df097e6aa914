//! Why something couldn't be shown.

use std::io;

use crate::text::messages;

/// Why something couldn't be listed or saved.
#[derive(Debug)]
pub(crate) enum ShowError {
    /// Standard output can't be written.
    Output(io::Error),
    Kernel(ipvs::Error),
    NoSuchService,
    /// The list of connections can't be opened.
    NoConnectionList,
    /// These objects are missing from the rules, or differ in them.
    Inexact(Vec<String>),
}

impl ShowError {
    /// The message, with newlines.
    pub(crate) fn message(&self) -> String {
        match self {
            Self::Output(error) => format!("{error}\n"),
            Self::Kernel(error) => messages::kernel_error(error),
            Self::NoSuchService => messages::NO_SUCH_SERVICE.to_owned() + "\n",
            Self::NoConnectionList => messages::NO_CONNECTION_LIST.to_owned() + "\n",
            Self::Inexact(objects) => objects
                .iter()
                .map(|object| format!("no command line can express this exactly: {object}\n"))
                .collect(),
        }
    }
}

impl From<io::Error> for ShowError {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl From<ipvs::Error> for ShowError {
    fn from(error: ipvs::Error) -> Self {
        Self::Kernel(error)
    }
}
