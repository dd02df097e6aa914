//! Users and groups of this machine, from its files: those of services are there.

use std::fs;

/// A user with its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    /// Its number.
    pub uid: u32,
    /// The number of its group.
    pub gid: u32,
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
    use super::*;

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
