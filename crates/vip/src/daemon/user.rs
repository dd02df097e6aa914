//! The user that the daemon becomes.

use std::io;

use daemon_kit::users::{self, User};

/// The user with this name.
///
/// # Errors
///
/// If there is none.
pub(crate) fn named(name: &str) -> io::Result<User> {
    users::user(name).ok_or_else(|| {
        io::Error::new(io::ErrorKind::NotFound, format!("/etc/passwd has no user {name}"))
    })
}
