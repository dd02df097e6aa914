//! `authkeys`: how packets are signed.

use super::super::note::Notes;
use super::words::lines;

/// Notes what becomes of the keys.
pub(super) fn read(text: &str, notes: &mut Notes) {
    let lines = lines(text);
    let Some(auth) = lines.iter().find(|line| line.first.text == "auth") else {
        return notes.differs(
            &(0..0),
            "no key is chosen",
            "heartbeat doesn't start without `auth`",
        );
    };
    notes.differs(
        &auth.span(),
        "adverts aren't signed: VRRP version 3 has no authentication (RFC 9568, section 9)",
        "whoever can send on this link can take the addresses; keep strangers off it",
    );
}
