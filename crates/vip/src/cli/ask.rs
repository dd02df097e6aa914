//! The verbs that ask a running daemon.

use std::path::Path;

use daemon_kit::say;

use super::args::{Ask, Format};
use super::exit::Exit;
use crate::control::{Client, ClientError};
use crate::status::Status;

/// Asks, and shows the outcome.
pub(super) fn ask(socket: &Path, what: &Ask) -> Exit {
    match run(socket, what) {
        Ok(text) => {
            say::out(text);
            Exit::Done
        }
        Err(Failure::Client(error @ ClientError::NotRunning(_))) => {
            say::err(format_args!("vipd: {}\n", say::printable(&error.to_string())));
            Exit::NotRunning
        }
        Err(Failure::Client(error)) => {
            say::err(format_args!("vipd: {}\n", say::printable(&error.to_string())));
            Exit::Failed
        }
        Err(Failure::NoTable(name)) => {
            say::err(format_args!("vipd: there is no table [[vip]] with the name {name:?}\n"));
            Exit::Failed
        }
    }
}

#[derive(Debug)]
enum Failure {
    Client(ClientError),
    NoTable(String),
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self::Client(error)
    }
}

fn run(socket: &Path, what: &Ask) -> Result<String, Failure> {
    let mut client = Client::connect(socket)?;
    match what {
        Ask::Status { name, format } => {
            let status = only(client.status()?, name.as_deref())?;
            Ok(match format {
                Format::Text => status.text(),
                Format::Metrics => status.metrics(),
                // A status that came as JSON can be written as JSON.
                Format::Json => serde_json::to_string_pretty(&status).unwrap_or_default() + "\n",
            })
        }
        Ask::Decide { decision, name } => {
            client.decide(*decision, name.clone())?;
            Ok(String::new())
        }
        Ask::Reload => Ok(client.reload()?.message),
    }
}

/// The status of one table alone, if there is a name.
fn only(mut status: Status, name: Option<&str>) -> Result<Status, Failure> {
    if let Some(name) = name {
        status.vips.retain(|it| it.name == name);
        if status.vips.is_empty() {
            return Err(Failure::NoTable(name.to_owned()));
        }
    }
    Ok(status)
}
