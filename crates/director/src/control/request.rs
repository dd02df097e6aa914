//! Requests: bytes to values and back, without I/O.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use daemon_kit::control::{self, Call, Malformed};
use ipvs::ServiceKey;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::decisions::Selector;
use crate::pool::Override;

/// The shortest time for which a decision can be asked to hold, in seconds.
const SHORTEST: f64 = 0.001;

/// The longest time: 10 years.
const LONGEST: f64 = 10.0 * 366.0 * 86_400.0;

/// What a client asks for.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Request {
    /// The status.
    Status,
    /// The same as metrics.
    Metrics,
    /// The states of the pools, now and whenever they change.
    Subscribe,
    /// A decision about a real server.
    Decide(Order),
    /// Read the configuration again.
    Reload,
    /// End.
    Stop {
        /// Leave the virtual services in the kernel.
        keep_table: bool,
    },
}

/// A request with the number that the client gave it.
#[derive(Clone, Debug, PartialEq)]
pub struct Tagged {
    /// It is returned with the reply.
    pub id: u64,
    /// The request.
    pub request: Request,
}

/// An operator's decision about a real server.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Order {
    /// The real server.
    pub server: RealServer,
    /// In this virtual service; None means in all that have it.
    pub service: Option<ServiceKey>,
    /// What was decided; None returns to what its checks say.
    pub decision: Option<Override>,
    /// How long it holds, to the millisecond, from 1 ms to 10 years; None means until it is taken
    /// back. Not with a decision of None.
    pub duration: Option<Duration>,
}

/// A real server as operators write it: an address, and a port unless all are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RealServer {
    /// Its address.
    pub address: IpAddr,
    /// Its port; None means all ports.
    pub port: Option<u16>,
}

/// Bytes in, requests out: [`daemon_kit::control::Decoder`] with the requests of this daemon.
///
/// It has no I/O. Call [`push`](Self::push) with what was read, then [`poll`](Self::poll) until it
/// returns None.
#[derive(Clone, Debug, Default)]
pub struct Decoder(control::Decoder);

impl Decoder {
    /// A decoder at the start of a connection.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes bytes in.
    pub fn push(&mut self, bytes: &[u8]) {
        self.0.push(bytes);
    }

    /// The next complete line as a request. Empty lines are skipped.
    pub fn poll(&mut self) -> Option<Result<Tagged, Malformed>> {
        self.0.poll().map(|call| {
            let Call { id, name, members } = call?;
            let request = request(&name, members);
            request
                .map(|request| Tagged { id, request })
                .map_err(|message| Malformed::call(id, message))
        })
    }

    /// Whether the bytes are too many for a line. [`poll`](Self::poll) says so.
    pub fn is_too_long(&self) -> bool {
        self.0.is_too_long()
    }

    /// Whether an incomplete line is waiting for its end. Ask when [`poll`](Self::poll) has
    /// returned None.
    pub fn is_unfinished(&self) -> bool {
        self.0.is_unfinished()
    }
}

impl Tagged {
    /// The request as a line, with its line feed.
    pub fn to_line(&self) -> String {
        let mut members = Map::new();
        match &self.request {
            Request::Decide(order) => {
                members.insert("server".to_owned(), order.server.to_string().into());
                if let Some(service) = order.service {
                    members.insert("service".to_owned(), service.to_string().into());
                }
                if let Some(duration) = order.duration {
                    members.insert("for_seconds".to_owned(), duration.as_secs_f64().into());
                }
            }
            Request::Stop { keep_table } => {
                members.insert("keep_table".to_owned(), (*keep_table).into());
            }
            Request::Status | Request::Metrics | Request::Subscribe | Request::Reload => {}
        }
        Call { id: self.id, name: self.request.name().to_owned(), members }.to_line()
    }
}

impl Request {
    /// The word for it in a line.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Metrics => "metrics",
            Self::Subscribe => "subscribe",
            Self::Decide(order) => order.decision.map_or("enable", Override::as_str),
            Self::Reload => "reload",
            Self::Stop { .. } => "stop",
        }
    }

    /// Whether it changes nothing. Whoever may connect may ask for it; everything else is for root
    /// and the daemon's own user.
    pub fn is_read_only(&self) -> bool {
        matches!(self, Self::Status | Self::Metrics | Self::Subscribe)
    }
}

impl Order {
    /// A decision about a real server in all virtual services, until it is taken back. A decision
    /// of None takes an earlier one back.
    pub const fn new(server: RealServer, decision: Option<Override>) -> Self {
        Self { server, service: None, decision, duration: None }
    }

    /// The real servers that are meant.
    pub const fn selector(&self) -> Selector {
        let RealServer { address, port } = self.server;
        Selector { service: self.service, address, port }
    }

    /// Limits it to one virtual service.
    #[must_use]
    pub const fn service(mut self, service: ServiceKey) -> Self {
        self.service = Some(service);
        self
    }

    /// Limits it to a time.
    #[must_use]
    pub const fn duration(mut self, duration: Duration) -> Self {
        self.duration = Some(duration);
        self
    }
}

impl fmt::Display for RealServer {
    /// `10.10.10.102`, `10.10.10.102:80`, `2001:db8::102` or `[2001:db8::102]:80`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => std::net::SocketAddr::new(self.address, port).fmt(f),
            None => self.address.fmt(f),
        }
    }
}

/// The error for a text that is no [`RealServer`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no address of a real server: write IP or IP:PORT, with IPv6 in brackets")]
pub struct ParseRealServerError(String);

impl FromStr for RealServer {
    type Err = ParseRealServerError;

    /// Reads what `Display` writes, and an IPv6 address in brackets without a port.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(it) = text.parse::<std::net::SocketAddr>() {
            // A scope (`%1`) is more than the kernel's table can hold.
            let is_scoped = matches!(it, std::net::SocketAddr::V6(it) if it.scope_id() != 0);
            if !is_scoped {
                return Ok(Self { address: it.ip(), port: Some(it.port()) });
            }
        }
        let bracketed = text.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
        let address = match bracketed {
            Some(inside) => inside.parse().map(IpAddr::V6).ok(),
            None => text.parse().ok(),
        };
        let address =
            address.ok_or_else(|| ParseRealServerError(text.chars().take(100).collect()))?;
        Ok(Self { address, port: None })
    }
}

/// Members of each kind of request, beside `v`, `id` and `request`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct DecideMembers {
    server: String,
    service: Option<String>,
    for_seconds: Option<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StopMembers {
    keep_table: bool,
}

fn request(name: &str, members: Map<String, Value>) -> Result<Request, String> {
    let request = match name {
        "status" => Request::Status,
        "metrics" => Request::Metrics,
        "subscribe" => Request::Subscribe,
        "reload" => Request::Reload,
        "stop" => {
            let StopMembers { keep_table } = control::members(name, members)?;
            return Ok(Request::Stop { keep_table });
        }
        "drain" => return order(name, Some(Override::Drain), members).map(Request::Decide),
        "disable" => return order(name, Some(Override::Disable), members).map(Request::Decide),
        "enable" => return order(name, None, members).map(Request::Decide),
        _ => {
            let name: String = name.chars().take(100).collect();
            return Err(format!("there is no request {name:?}"));
        }
    };
    control::members::<Nothing>(name, members)?;
    Ok(request)
}

fn order(
    name: &str,
    decision: Option<Override>,
    members: Map<String, Value>,
) -> Result<Order, String> {
    let members: DecideMembers = control::members(name, members)?;
    let mut order =
        Order::new(members.server.parse().map_err(|error| format!("{name}: {error}"))?, decision);
    if let Some(service) = members.service {
        let service: ServiceKey = service.parse().map_err(|error| format!("{name}: {error}"))?;
        order = order.service(service);
    }
    match members.for_seconds {
        None => {}
        Some(_) if decision.is_none() => return Err(format!("{name} takes no `for_seconds`")),
        Some(seconds) if (SHORTEST..=LONGEST).contains(&seconds) => {
            // To the millisecond: readers of JSON may be off by the last bit of a double.
            order = order.duration(Duration::from_millis((seconds * 1e3).round() as u64));
        }
        Some(seconds) => {
            let range = "from 0.001 to 10 years";
            return Err(format!("{name}: `for_seconds` is {seconds:e}; it has to be {range}"));
        }
    }
    Ok(order)
}

#[cfg(test)]
mod tests;
