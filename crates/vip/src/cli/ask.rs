//! The verbs that ask a running daemon.

use std::path::Path;

use daemon_kit::options::Given;
use daemon_kit::say;

use super::exit::Exit;
use crate::control::{Client, ClientError};
use crate::router::Decision;
use crate::status::Status;

/// What a running daemon is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Its status.
    Status {
        /// One table alone.
        name: Option<String>,
        /// How it looks.
        format: Format,
    },
    /// To let a decision count instead of priorities.
    Decide {
        /// The decision.
        decision: Decision,
        /// One table alone.
        name: Option<String>,
    },
    /// To read its file again.
    Reload,
}

/// How `status` looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Lines for people.
    #[default]
    Text,
    /// JSON.
    Json,
    /// Prometheus metrics.
    Metrics,
}

impl Format {
    /// What the options `--json` and `--metrics` ask for.
    ///
    /// # Errors
    ///
    /// Both are there.
    pub fn of(given: &Given) -> Result<Self, lexopt::Error> {
        match (given.has("json"), given.has("metrics")) {
            (true, true) => Err("one of --json and --metrics is enough".into()),
            (true, false) => Ok(Self::Json),
            (false, true) => Ok(Self::Metrics),
            (false, false) => Ok(Self::Text),
        }
    }
}

/// Asks, and shows the outcome. Messages begin with the name of the `program`.
pub fn ask(program: &str, socket: &Path, what: &Ask) -> Exit {
    let failed = |message: String, exit| {
        say::err(format_args!("{program}: {}\n", say::printable(&message)));
        exit
    };
    match run(socket, what) {
        Ok(text) => {
            say::out(text);
            Exit::Done
        }
        Err(Failure::Client(error @ ClientError::NotRunning(_))) => {
            failed(error.to_string(), Exit::NotRunning)
        }
        Err(Failure::Client(error)) => failed(error.to_string(), Exit::Failed),
        Err(Failure::NoTable(name)) => {
            failed(format!("there is no table [[vip]] with the name {name:?}"), Exit::Failed)
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
