//! Names of users and groups, from the files of this machine. Users that a directory service knows keep their numbers.

use std::fs;

use rustix::process::{getegid, geteuid};

const USERS: &str = "/etc/passwd";
const GROUPS: &str = "/etc/group";

/// The name of a user, else the number.
pub fn user(uid: u32) -> String {
    name_in(&fs::read_to_string(USERS).unwrap_or_default(), uid).unwrap_or_else(|| uid.to_string())
}

/// The name of a group, else the number.
pub fn group(gid: u32) -> String {
    name_in(&fs::read_to_string(GROUPS).unwrap_or_default(), gid).unwrap_or_else(|| gid.to_string())
}

/// The number of a user and of the user's group.
pub fn user_id(name: &str) -> Option<super::Owner> {
    let users = fs::read_to_string(USERS).ok()?;
    let fields: Vec<&str> =
        users.lines().map(|line| line.split(':').collect()).find(|fields: &Vec<&str>| fields[0] == name)?;
    Some(super::Owner { uid: fields.get(2)?.parse().ok()?, gid: fields.get(3)?.parse().ok()? })
}

/// The numbers of the groups that a user is in besides the user's own.
pub fn groups(uid: u32) -> Vec<u32> {
    groups_in(&fs::read_to_string(GROUPS).unwrap_or_default(), &user(uid))
}

fn groups_in(text: &str, user: &str) -> Vec<u32> {
    let number = |line: &str| {
        let fields: Vec<&str> = line.split(':').collect();
        let is_member = fields.get(3)?.split(',').any(|member| member == user);
        if is_member { fields.get(2)?.parse().ok() } else { None }
    };
    text.lines().filter_map(number).collect()
}

/// The user and the group that this program runs as.
pub fn process() -> (String, String) {
    (user(geteuid().as_raw()), group(getegid().as_raw()))
}

/// Both files have a name, something, and the number in front.
fn name_in(text: &str, number: u32) -> Option<String> {
    let number = number.to_string();
    let is_it = |line: &&str| line.split(':').nth(2) == Some(&number);
    let name = text.lines().find(is_it)?.split(':').next()?;
    (!name.is_empty()).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_by_number() {
        let text = "root:x:0:0:root:/root:/bin/sh\n\nbroken\nvideo:x:44:alice\n";
        assert_eq!(name_in(text, 44).as_deref(), Some("video"));
        assert_eq!(name_in(text, 4), None);
        assert_eq!(user_id("root").map(|owner| owner.uid), Some(0));
        assert_eq!(groups_in("video:x:44:bob,alice\nbroken\naudio:x:29:malice\n", "alice"), [44]);
        assert_eq!(group(4_000_000_001), "4000000001");
    }
}
