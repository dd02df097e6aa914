//! Users and groups of this machine, from its files: those of services are there.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// A user with its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    /// Its number.
    pub uid: u32,
    /// The number of its group.
    pub gid: u32,
}

impl User {
    /// Whether permissions let this user read a file and enter the folders above it. Access control lists
    /// and other groups of the user aren't asked.
    ///
    /// # Errors
    ///
    /// The file or a folder isn't there, or this process may not look.
    pub fn may_read(self, path: &Path) -> io::Result<bool> {
        const READ: u32 = 0o4;
        const ENTER: u32 = 0o1;
        let path = fs::canonicalize(path)?;
        for folder in path.ancestors().skip(1) {
            if !self.may(&fs::metadata(folder)?, ENTER) {
                return Ok(false);
            }
        }
        Ok(self.may(&fs::metadata(&path)?, READ))
    }

    /// Whether it has a right, one of the three bits of `others`: those of the owner count for the owner
    /// alone, those of the group for its members (`path_resolution(7)`).
    fn may(self, metadata: &Metadata, right: u32) -> bool {
        let shift = if metadata.uid() == self.uid {
            6
        } else if metadata.gid() == self.gid {
            3
        } else {
            0
        };
        self.uid == 0 || metadata.mode() >> shift & right != 0
    }
}

/// The user with this name.
pub fn user(name: &str) -> Option<User> {
    user_in(&fs::read_to_string("/etc/passwd").ok()?, name)
}

/// The id of the group with this name.
pub fn group(name: &str) -> Option<u32> {
    group_in(&fs::read_to_string("/etc/group").ok()?, name)
}

/// `name:password:uid:gid:…` (passwd(5))
fn user_in(passwd: &str, name: &str) -> Option<User> {
    let mut fields = passwd.lines().find_map(|line| fields_of(line, name))?;
    let uid = fields.next()?.parse().ok()?;
    Some(User { uid, gid: fields.next()?.parse().ok()? })
}

/// `name:password:gid:…` (group(5))
fn group_in(groups: &str, name: &str) -> Option<u32> {
    groups.lines().find_map(|line| fields_of(line, name))?.next()?.parse().ok()
}

/// What comes after name and password in the line of this name.
fn fields_of<'a>(line: &'a str, name: &str) -> Option<impl Iterator<Item = &'a str>> {
    let mut fields = line.split(':');
    (fields.next() == Some(name)).then(|| fields.skip(1))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use tempfile::tempdir;

    use super::*;

    #[test]
    fn the_first_class_that_fits_decides() {
        let folder = tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "").unwrap();
        let own = fs::metadata(&path).unwrap();
        let owner = User { uid: own.uid(), gid: own.gid() + 1 };
        let member = User { uid: own.uid() + 7, gid: own.gid() };
        let other = User { uid: own.uid() + 7, gid: own.gid() + 1 };
        for (mode, user, may) in [
            (0o400, owner, true),
            (0o640, member, true),
            (0o604, member, false),
            (0o640, other, false),
            (0o604, other, true),
        ] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(user.may(&fs::metadata(&path).unwrap(), 4), may, "{mode:o} {user:?}");
        }
        assert!(User { uid: 0, gid: 0 }.may_read(&path).unwrap());
        assert!(other.may_read(&path).unwrap());
        assert!(other.may_read(&folder.path().join("none")).is_err());
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        assert!(!other.may_read(&path).unwrap(), "the folder is closed");
    }

    #[test]
    fn users_and_groups_are_found_by_their_whole_name() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\nldirectord2:x:7:7::/:/bin/sh\nldirectord:x:990:991::/:/usr/sbin/nologin\n";
        assert_eq!(user_in(passwd, "ldirectord"), Some(User { uid: 990, gid: 991 }));
        assert_eq!(user_in(passwd, "nobody"), None);
        assert_eq!(user_in("x:y\n", "x"), None);
        assert_eq!(group_in("adm:x:4:\ndirector:x:44:a,b\n", "director"), Some(44));
        assert_eq!(group_in("director:x:no:\n", "director"), None);
        assert_eq!(user("root"), Some(User { uid: 0, gid: 0 }));
    }
}
