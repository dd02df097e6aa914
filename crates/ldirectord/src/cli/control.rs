//! Asking a running daemon, over its control socket.

use std::str::FromStr as _;

use director::control::{Client, ClientError, ErrorKind, Order, RealServer};
use director::{Decided, Override};

use super::args::{Decision, Format};
use super::exit::Exit;
use crate::instance::Instance;

/// What became of a reload.
pub(super) struct Reloaded {
    pub(super) exit: Exit,
    /// For people; empty if there is nothing to say.
    pub(super) text: String,
}

/// Stops the daemon, and leaves the table to the next one.
pub(super) fn stop_keeping_table(instance: &Instance) -> Result<(), ClientError> {
    Client::connect(instance.socket())?.stop(true)
}

/// Has the daemon read its file again.
///
/// # Errors
///
/// If it doesn't say what it makes of the file.
pub(super) fn reload(instance: &Instance) -> Result<Reloaded, ClientError> {
    match Client::connect(instance.socket())?.reload() {
        Ok(reloaded) => {
            let held_back = reloaded.held_back.iter();
            let mut text = String::new();
            for object in held_back {
                text.push_str(&format!("refused by the kernel, and tried again: {object}\n"));
            }
            let exit = if text.is_empty() { Exit::Done } else { Exit::Partly };
            Ok(Reloaded { exit, text })
        }
        Err(ClientError::Refused(refusal)) if refusal.kind == ErrorKind::Failed => {
            let text = format!(
                "{}\nThe configuration before stays in force.\n",
                refusal.message.trim_end()
            );
            Ok(Reloaded { exit: Exit::Config, text })
        }
        Err(error) => Err(error),
    }
}

/// The daemon's status.
pub(super) fn status(instance: &Instance, format: Format) -> Result<String, ClientError> {
    let mut client = Client::connect(instance.socket())?;
    match format {
        Format::Text => Ok(client.status()?.text()),
        Format::Metrics => client.metrics(),
        Format::Json => {
            let status = client.status()?;
            // It came as JSON.
            Ok(serde_json::to_string_pretty(&status).map_or_else(|_| String::new(), |it| it + "\n"))
        }
    }
}

/// Passes on what an operator has decided.
///
/// # Errors
///
/// As text.
pub(super) fn decide(
    instance: &Instance,
    decision: Decision,
    server: &str,
) -> Result<Decided, String> {
    let server = RealServer::from_str(server).map_err(|error| error.to_string())?;
    let (decided, time) = match decision {
        Decision::Drain(time) => (Some(Override::Drain), time),
        Decision::Disable(time) => (Some(Override::Disable), time),
        Decision::Enable => (None, None),
    };
    let mut order = Order::new(server, decided);
    if let Some(time) = time {
        order = order.duration(time);
    }
    let ask = || Client::connect(instance.socket())?.decide(order);
    ask().map_err(|error: ClientError| error.to_string())
}
