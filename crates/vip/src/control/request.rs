//! Requests: lines to values and back, without I/O.

use daemon_kit::control::{Call, Malformed, members};
use serde::Deserialize;
use serde_json::Map;

use crate::router::Decision;

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Request {
    /// The status.
    Status,
    /// The same as metrics.
    Metrics,
    /// A decision about a table `[[vip]]`, or about all of them.
    Decide {
        /// What was decided; [`Decision::None`] takes an earlier one back.
        decision: Decision,
        /// The name of the table; None means all.
        name: Option<String>,
    },
    /// Read the configuration again.
    Reload,
}

/// A request with the number that the client gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tagged {
    /// It is returned with the reply.
    pub id: u64,
    /// The request.
    pub request: Request,
}

impl Request {
    /// The word for it in a line.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Metrics => "metrics",
            Self::Decide { decision, .. } => match decision {
                Decision::Release => "release",
                Decision::Prefer => "prefer",
                Decision::None => "auto",
            },
            Self::Reload => "reload",
        }
    }

    /// Whether it changes nothing. Whoever may connect may ask for it; everything else is for root
    /// and the daemon's own user.
    pub const fn is_read_only(&self) -> bool {
        matches!(self, Self::Status | Self::Metrics)
    }
}

impl Tagged {
    /// The request as a line, with its line feed.
    pub fn to_line(&self) -> String {
        let mut members = Map::new();
        if let Request::Decide { name: Some(name), .. } = &self.request {
            members.insert("name".to_owned(), name.as_str().into());
        }
        Call { id: self.id, name: self.request.name().to_owned(), members }.to_line()
    }
}

impl TryFrom<Call> for Tagged {
    type Error = Malformed;

    fn try_from(call: Call) -> Result<Self, Malformed> {
        let Call { id, name, members } = call;
        let request = request(&name, members).map_err(|text| Malformed::call(id, text))?;
        Ok(Self { id, request })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DecideMembers {
    name: Option<String>,
}

fn request(word: &str, line: Map<String, serde_json::Value>) -> Result<Request, String> {
    let request = match word {
        "status" => Request::Status,
        "metrics" => Request::Metrics,
        "reload" => Request::Reload,
        "release" | "prefer" | "auto" => {
            let DecideMembers { name } = members(word, line)?;
            let decision = match word {
                "release" => Decision::Release,
                "prefer" => Decision::Prefer,
                _ => Decision::None,
            };
            return Ok(Request::Decide { decision, name });
        }
        _ => {
            let word: String = word.chars().take(100).collect();
            return Err(format!("there is no request {word:?}"));
        }
    };
    members::<Nothing>(word, line)?;
    Ok(request)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]
mod tests {
    use daemon_kit::control::{Decoder, ErrorKind};

    use super::*;

    fn read(line: &str) -> Result<Tagged, Malformed> {
        let mut decoder = Decoder::new();
        decoder.push(line.as_bytes());
        decoder.push(b"\n");
        decoder.poll().unwrap().and_then(Tagged::try_from)
    }

    fn decide(decision: Decision, name: Option<&str>) -> Request {
        Request::Decide { decision, name: name.map(str::to_owned) }
    }

    /// After CONTROL.md.
    #[test]
    fn requests_are_read_as_they_are_documented() {
        for (line, request) in [
            (r#"{"v":1,"id":7,"request":"status"}"#, Request::Status),
            (r#"{"v":1,"id":7,"request":"metrics"}"#, Request::Metrics),
            (r#"{"v":1,"id":7,"request":"reload"}"#, Request::Reload),
            (r#"{"v":1,"id":7,"request":"release"}"#, decide(Decision::Release, None)),
            (
                r#"{"v":1,"id":7,"request":"prefer","name":"front"}"#,
                decide(Decision::Prefer, Some("front")),
            ),
            (r#"{"v":1,"id":7,"request":"auto","name":null}"#, decide(Decision::None, None)),
        ] {
            assert_eq!(read(line), Ok(Tagged { id: 7, request: request.clone() }), "{line}");
            let tagged = Tagged { id: u64::MAX, request };
            assert_eq!(read(&tagged.to_line()), Ok(tagged), "{line}");
        }
    }

    #[test]
    fn what_is_no_request_is_refused_with_its_number() {
        for line in [
            r#"{"v":1,"id":7,"request":"Status"}"#,
            r#"{"v":1,"id":7,"request":"status","name":"front"}"#,
            r#"{"v":1,"id":7,"request":"release","name":7}"#,
            // A misspelt limit must not make it wider.
            r#"{"v":1,"id":7,"request":"release","nmae":"front"}"#,
        ] {
            let error = read(line).unwrap_err();
            let kind = error.refusal.kind;
            assert_eq!((error.id, kind, error.is_final), (Some(7), ErrorKind::Malformed, false));
        }
    }
}
