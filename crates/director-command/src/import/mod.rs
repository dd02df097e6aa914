//! From the files of other programs to `vip.toml` and the commands that put it into service.
//!
//! Texts go in and texts come out: nothing here reads a file or looks at this machine.

pub mod heartbeat;
pub mod keepalived;
mod note;
mod vip_toml;

pub use note::{Kind, Note, Source};
pub use vip_toml::{Preempt, Table, Track, Tracked};

/// What puts the file into its place. `vipd` reads it as a user of that group, and there may be a password in it.
const INSTALL: &str = "install -D -m 640 -g director vip.toml /etc/director/vip.toml";

/// What finds the mistakes of the result.
const CHECK: &str = "vipd check /etc/director/vip.toml";

/// What puts it into service.
const ENABLE: &str = "systemctl enable --now vipd";

/// What became of some files.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Import {
    /// The machines that they set up. None if a note is an [error](Kind::Error).
    pub directors: Vec<Director>,
    /// What there is to say about them, in the order of files and places.
    pub notes: Vec<Note>,
}

/// What a machine gets.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Director {
    /// What the files call it.
    pub name: String,
    /// The tables of its `vip.toml`.
    pub tables: Vec<Table>,
    /// What to type there, in this order, where its `vip.toml` is.
    pub commands: Vec<String>,
}

impl Director {
    /// Its `vip.toml`.
    pub fn vip_toml(&self) -> String {
        let tables: Vec<String> = self.tables.iter().map(ToString::to_string).collect();
        tables.join("\n")
    }
}

impl Import {
    /// What can't be made of files with an error.
    fn finished(mut self) -> Self {
        self.notes.sort_by_key(|note| (note.file, note.span.start));
        if self.notes.iter().any(|note| note.kind == Kind::Error) {
            self.directors.clear();
        }
        self
    }
}
