//! What a folder's default access list makes of a new file's own one. The kernel does the same for a file that is made there;
//! a part was made in the hidden folder. Lists are in the form of the extended attribute (`linux/posix_acl_xattr.h`).

const VERSION: [u8; 4] = 2_u32.to_le_bytes();
const ENTRY: usize = 8;
const OWNER: u16 = 0x01;
const OWNING_GROUP: u16 = 0x04;
const MASK: u16 = 0x10;
const OTHERS: u16 = 0x20;

/// The access list of a file with this mode in a folder with this default list. As `file_mode` limits what the owner and
/// all others may do, its digit for the group limits what everybody may do who is named in the list. `None`: it is not a list.
pub(super) fn inherited(default: &[u8], mode: u32) -> Option<Vec<u8>> {
    let (version, entries) = default.split_at_checked(VERSION.len())?;
    if version != VERSION || entries.len() % ENTRY != 0 {
        return None;
    }
    let tag = |entry: &[u8]| u16::from_le_bytes([entry[0], entry[1]]);
    let group = if entries.chunks_exact(ENTRY).any(|entry| tag(entry) == MASK) { MASK } else { OWNING_GROUP };
    let mut list = default.to_vec();
    for entry in list[VERSION.len()..].chunks_exact_mut(ENTRY) {
        let limit = match tag(entry) {
            OWNER => mode >> 6,
            OTHERS => mode,
            limited if limited == group => mode >> 3,
            _ => continue,
        };
        entry[2] &= (limit & 0o7) as u8;
    }
    Some(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(entries: &[(u16, u16, u32)]) -> Vec<u8> {
        let mut list = VERSION.to_vec();
        for (tag, rights, id) in entries {
            list.extend(tag.to_le_bytes());
            list.extend(rights.to_le_bytes());
            list.extend(id.to_le_bytes());
        }
        list
    }

    const USER: u16 = 0x02;
    const NOBODY: u32 = u32::MAX;

    #[test]
    fn the_mode_limits_the_owner_the_mask_and_all_others() {
        let named = list(&[
            (OWNER, 7, NOBODY),
            (USER, 7, 1000),
            (OWNING_GROUP, 5, NOBODY),
            (MASK, 7, NOBODY),
            (OTHERS, 5, NOBODY),
        ]);
        let file = list(&[
            (OWNER, 6, NOBODY),
            (USER, 7, 1000),
            (OWNING_GROUP, 5, NOBODY),
            (MASK, 4, NOBODY),
            (OTHERS, 0, NOBODY),
        ]);
        assert_eq!(inherited(&named, 0o640), Some(file));
        let bare = list(&[(OWNER, 7, NOBODY), (OWNING_GROUP, 7, NOBODY), (OTHERS, 7, NOBODY)]);
        let file = list(&[(OWNER, 6, NOBODY), (OWNING_GROUP, 4, NOBODY), (OTHERS, 4, NOBODY)]);
        assert_eq!(inherited(&bare, 0o644), Some(file));
    }

    #[test]
    fn what_is_no_list_is_not_taken_for_one() {
        for wrong in [&b""[..], b"\x02\0\0", b"\x01\0\0\0", b"\x02\0\0\0\x01\0"] {
            assert_eq!(inherited(wrong, 0o640), None, "{wrong:?}");
        }
        assert_eq!(inherited(&VERSION, 0o640), Some(VERSION.to_vec()));
    }
}
