//! What `apply` has changed, with the values from before: written before each change, so that `undo`
//! knows all of them however `apply` ended.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Forward;

/// Where it is, below the root of the file system.
pub const PATH: &str = "/var/lib/director/realserver.json";

/// The version of the format that this program writes and reads.
const VERSION: u32 = 1;

/// The journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Journal {
    version: u32,
    /// The virtual addresses that were asked for, in all calls together.
    pub addresses: Vec<IpAddr>,
    /// The network interfaces that face the clients.
    pub interfaces: Vec<String>,
    /// How packets come from the director.
    pub forward: Forward,
    /// What was changed, in this order.
    pub entries: Vec<Entry>,
}

/// A change, and what was there before the first one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Entry {
    /// A sysctl.
    Sysctl {
        /// With slashes, such as `net/ipv4/conf/all/arp_ignore`.
        key: String,
        /// Its value before.
        former: String,
        /// The values that `apply` may have left there.
        ours: Vec<String>,
    },
    /// A network interface that was down.
    Link {
        /// Its name.
        name: String,
    },
    /// An address that wasn't on `lo`.
    Address {
        /// Without its prefix, which is as long as the address.
        ip: IpAddr,
    },
    /// A directory that didn't exist.
    Directory {
        /// Where.
        path: PathBuf,
    },
    /// A file.
    File {
        /// Where.
        path: PathBuf,
        /// What was there before, if anything was.
        former: Option<Saved>,
        /// What `apply` may have left there.
        ours: Vec<Saved>,
    },
}

/// A regular file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Saved {
    /// Its bytes.
    pub content: Content,
    /// Its permissions, 0 to 0o7777.
    pub mode: u32,
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

/// The bytes of a file: as text if they are text, so that people can read the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Content {
    /// Text.
    Text(String),
    /// Anything else.
    Bytes(Vec<u8>),
}

impl Content {
    /// The content with these bytes.
    pub fn new(bytes: Vec<u8>) -> Self {
        String::from_utf8(bytes).map_or_else(|it| Self::Bytes(it.into_bytes()), Self::Text)
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }
}

impl Saved {
    /// A file of root's with this text.
    pub fn text(text: impl Into<String>, mode: u32) -> Self {
        Self { content: Content::Text(text.into()), mode, uid: 0, gid: 0 }
    }
}

/// Why a journal can't be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JournalError {
    /// It isn't one.
    Malformed(String),
    /// It has another version.
    Version(u32),
}

impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(why) => write!(
                f,
                "{PATH} isn't a journal: {why}; without it nobody knows the former values: restore \
                 them by hand, then remove it"
            ),
            Self::Version(version) => write!(
                f,
                "{PATH} has version {version}, and this program knows {VERSION}: use the program \
                 that wrote it"
            ),
        }
    }
}

impl std::error::Error for JournalError {}

impl Default for Journal {
    fn default() -> Self {
        Self {
            version: VERSION,
            addresses: Vec::new(),
            interfaces: Vec::new(),
            forward: Forward::Direct,
            entries: Vec::new(),
        }
    }
}

impl Journal {
    /// Reads what [`Display`](fmt::Display) has written.
    ///
    /// # Errors
    ///
    /// If it is something else.
    pub fn parse(text: &str) -> Result<Self, JournalError> {
        let malformed = |error: serde_json::Error| JournalError::Malformed(error.to_string());
        let value: serde_json::Value = serde_json::from_str(text).map_err(malformed)?;
        // Other versions may have other fields.
        let version = value.get("version").and_then(serde_json::Value::as_u64);
        match version.map(u32::try_from) {
            Some(Ok(VERSION)) => serde_json::from_value(value).map_err(malformed),
            Some(Ok(version)) => Err(JournalError::Version(version)),
            Some(Err(_)) | None => Err(JournalError::Malformed("it has no version".to_owned())),
        }
    }

    /// The file at this place, if it was changed.
    pub fn file(&self, at: &Path) -> Option<(Option<&Saved>, &[Saved])> {
        self.entries.iter().find_map(|entry| match entry {
            Entry::File { path, former, ours } if path == at => {
                Some((former.as_ref(), ours.as_slice()))
            }
            _ => None,
        })
    }

    /// The files that were written, and what each should contain.
    pub fn files(&self) -> impl Iterator<Item = (&Path, &Saved)> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::File { path, ours, .. } => Some((path.as_path(), ours.last()?)),
            _ => None,
        })
    }

    /// The sysctls that were set, and to what.
    pub fn sysctls(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Sysctl { key, ours, .. } => Some((key.as_str(), ours.last()?.as_str())),
            _ => None,
        })
    }

    /// Notes a change that is about to be made. The first former value is kept; of our own values,
    /// the one that is there now and the one that will be, because `apply` may end between them.
    pub(super) fn note(&mut self, new: Entry, now: Option<&Now>) {
        let same = self.entries.iter_mut().find(|it| it.object() == new.object());
        let Some(entry) = same else {
            self.entries.push(new);
            return;
        };
        match (entry, new, now) {
            (
                Entry::Sysctl { ours, .. },
                Entry::Sysctl { ours: new, .. },
                Some(Now::Value(now)),
            ) => {
                ours.retain(|it| it == now && !new.contains(it));
                ours.extend(new);
            }
            (Entry::File { ours, .. }, Entry::File { ours: new, .. }, now) => {
                ours.retain(|it| now == Some(&Now::File(it.clone())) && !new.contains(it));
                ours.extend(new);
            }
            _ => {}
        }
    }
}

/// What is there before a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Now {
    Value(String),
    File(Saved),
}

impl Entry {
    /// The kind of object, and which one it is.
    pub(super) fn object(&self) -> (&'static str, String) {
        match self {
            Self::Sysctl { key, .. } => ("sysctl", key.clone()),
            Self::Link { name } => ("interface", name.clone()),
            Self::Address { ip } => ("address", ip.to_string()),
            Self::Directory { path } => ("directory", path.display().to_string()),
            Self::File { path, .. } => ("file", path.display().to_string()),
        }
    }
}

impl fmt::Display for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = serde_json::to_string_pretty(self).map_err(|_| fmt::Error)?;
        writeln!(f, "{text}")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]
mod tests {
    use super::*;

    fn sysctl(former: &str, ours: &str) -> Entry {
        let key = "net/ipv4/conf/all/arp_ignore".to_owned();
        Entry::Sysctl { key, former: former.to_owned(), ours: vec![ours.to_owned()] }
    }

    #[test]
    fn a_journal_is_read_as_it_is_written() {
        let journal = Journal {
            addresses: vec!["10.0.0.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
            interfaces: vec!["eth0.7".to_owned()],
            forward: Forward::Tunnel,
            entries: vec![
                sysctl("0", "1"),
                Entry::Link { name: "tunl0".to_owned() },
                Entry::Address { ip: "10.0.0.1".parse().unwrap() },
                Entry::Directory { path: "/etc/x".into() },
                Entry::File {
                    path: "/etc/x/y".into(),
                    former: Some(Saved {
                        content: Content::new(vec![0xff, 0]),
                        mode: 0o640,
                        uid: 1,
                        gid: 2,
                    }),
                    ours: vec![Saved::text("a\n", 0o644)],
                },
            ],
            ..Journal::default()
        };
        assert_eq!(Journal::parse(&journal.to_string()), Ok(journal));
    }

    #[test]
    fn what_is_no_journal_is_refused() {
        for text in
            ["", "{}", "[]", "{\"version\": -1}", "{\"version\": 1}", "{\"version\": \"1\"}"]
        {
            assert!(matches!(Journal::parse(text), Err(JournalError::Malformed(_))), "{text}");
        }
        let newer = "{\"version\": 2, \"more\": 1}";
        assert_eq!(Journal::parse(newer), Err(JournalError::Version(2)));
        let text = Journal::default().to_string();
        for end in 0..text.len() - 2 {
            assert!(Journal::parse(&text[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn the_first_former_value_is_kept() {
        let mut journal = Journal::default();
        journal.note(sysctl("0", "1"), Some(&Now::Value("0".to_owned())));
        journal.note(sysctl("1", "2"), Some(&Now::Value("1".to_owned())));
        let key = "net/ipv4/conf/all/arp_ignore".to_owned();
        let ours = vec!["1".to_owned(), "2".to_owned()];
        assert_eq!(journal.entries, [Entry::Sysctl { key, former: "0".to_owned(), ours }]);
        // Once it is 2, it can't be 1 any more.
        journal.note(sysctl("2", "2"), Some(&Now::Value("2".to_owned())));
        assert_eq!(journal.sysctls().collect::<Vec<_>>(), [("net/ipv4/conf/all/arp_ignore", "2")]);
        let Entry::Sysctl { ours, .. } = &journal.entries[0] else { panic!("{journal:?}") };
        assert_eq!(ours, &["2"]);
    }
}
