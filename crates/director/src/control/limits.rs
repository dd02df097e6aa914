//! What clients of the control socket may cost.

use std::time::Duration;

/// What clients may cost.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// How many clients may be connected. Default: 64.
    pub clients: usize,
    /// How many of these places are kept for root and the daemon's own user. Default: 16.
    pub reserved: usize,
    /// How long a client may be connected without sending anything. Default: 10 seconds.
    pub idle: Duration,
    /// How long a request may take from its first byte to its last. Default: 5 seconds.
    pub request: Duration,
    /// How long a client may take to read a reply. Default: 5 seconds.
    pub write: Duration,
    /// How long the daemon may take for a status or a decision. Default: 10 seconds.
    pub call: Duration,
    /// How long it may take for a reload, or to stop. Default: 2 minutes.
    pub reload: Duration,
    /// How many bytes of replies may wait for readers that aren't privileged. A single reply may
    /// have more. Default: 16 MiB.
    pub unread: usize,
    /// How old a status may be that a client who isn't privileged gets. Clients share it, so they
    /// can't keep the daemon busy. A change ends it early. Default: 100 milliseconds.
    pub reuse: Duration,
    /// How long a reply is made at a time, before everybody else has their turn. Default: 2
    /// milliseconds.
    pub slice: Duration,
    /// The longest time between two lines to a subscriber. Default: 500 milliseconds.
    pub beat: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            clients: 64,
            reserved: 16,
            idle: Duration::from_secs(10),
            request: Duration::from_secs(5),
            write: Duration::from_secs(5),
            call: Duration::from_secs(10),
            reload: Duration::from_secs(120),
            unread: 16 * 1024 * 1024,
            reuse: Duration::from_millis(100),
            slice: Duration::from_millis(2),
            beat: Duration::from_millis(500),
        }
    }
}
