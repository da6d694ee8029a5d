//! One name from Drive as a name on disk. Drive accepts any text as a name. Most file systems accept what comes out of
//! `safe_name`; what the others accept is learnt from what they refuse.

use unicode_normalization::UnicodeNormalization;

/// The longest name that common file systems take, in bytes.
pub(super) const NAME_LIMIT: usize = 255;
/// An ending longer than this is no ending but part of the name.
const EXTENSION_LIMIT: usize = 16;
/// Names that DOS devices still claim on shares served to Windows, whatever follows the first dot.
const DEVICES: [&str; 6] = ["con", "prn", "aux", "nul", "conin$", "conout$"];
/// The same with a number behind them: a digit from 1 on, or one of the three superscripts of Latin-1.
const NUMBERED_DEVICES: [&str; 2] = ["com", "lpt"];
const DEVICE_NUMBERS: [char; 12] = ['1', '2', '3', '4', '5', '6', '7', '8', '9', '¹', '²', '³'];

/// Which names a file system accepts. Nobody says that beforehand, so it begins with `ANY`, and each refusal leads to a
/// stricter one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Naming {
    characters: Characters,
    /// In bytes.
    limit: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Characters {
    Any,
    /// What Windows accepts: NTFS, exFAT, VFAT, shares.
    Portable,
    /// File systems that convert names to a character set which lacks some.
    Ascii,
}

/// Why a file system does not accept a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// It has a character that names cannot have there.
    Character,
    /// It is too long.
    Length,
}

impl Naming {
    /// What common file systems accept.
    pub const ANY: Self = Self { characters: Characters::Any, limit: NAME_LIMIT };

    /// Shorter limits: of eCryptfs, which takes 143 bytes; of discs and old shares.
    const LIMITS: [usize; 3] = [143, 100, 60];

    /// The next stricter one under which this name is another one; `None` if there is none.
    pub fn after(self, refusal: Refusal, name: &str) -> Option<Self> {
        let shown = self.apply(name);
        let mut next = self;
        loop {
            next = next.stricter(refusal)?;
            if next.apply(name) != shown {
                return Some(next);
            }
        }
    }

    fn stricter(self, refusal: Refusal) -> Option<Self> {
        let next = match (refusal, self.characters) {
            (Refusal::Character, Characters::Any) => Self { characters: Characters::Portable, ..self },
            (Refusal::Character, Characters::Portable) => Self { characters: Characters::Ascii, ..self },
            (Refusal::Character, Characters::Ascii) => return None,
            (Refusal::Length, _) => {
                Self { limit: Self::LIMITS.into_iter().find(|limit| *limit < self.limit)?, ..self }
            }
        };
        Some(next)
    }

    /// A safe name as a name that is accepted there.
    pub fn apply(self, name: &str) -> String {
        let accepted = |c: char| match self.characters {
            Characters::Any => true,
            Characters::Portable => !is_reserved(c),
            Characters::Ascii => c.is_ascii() && !is_reserved(c),
        };
        let name: String = name.chars().map(|c| if accepted(c) { c } else { '_' }).collect();
        safe_within(&name, self.limit)
    }

    /// A name with something before its ending, of which nothing is cut off.
    pub(super) fn with_suffix(self, name: &str, suffix: &str) -> String {
        let (stem, extension) = split_extension(name);
        let room = self.limit.saturating_sub(suffix.len() + extension.len());
        // The suffix may be made of an id, which is Drive's own text.
        self.apply(&format!("{}{suffix}{extension}", cut(stem, room).trim_end()))
    }

    /// A name with something behind it, of which nothing is cut off.
    pub(super) fn with_end(self, name: &str, end: &str) -> String {
        self.apply(&format!("{}{end}", cut(name, self.limit.saturating_sub(end.len()))))
    }
}

/// A name as it can be shown: no control characters, which would move the cursor, change colours or begin a line.
pub fn printable(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// One name made safe: NFC, no separators, no control or direction characters, no leading dot, no device name,
/// at most 255 bytes with its ending kept. A safe name stays as it is.
pub fn safe_name(name: &str) -> String {
    safe_within(name, NAME_LIMIT)
}

fn safe_within(name: &str, limit: usize) -> String {
    let mut name = name.to_owned();
    loop {
        // Cutting can bare a new end (a blank, half a composed character), so it goes on until nothing changes; each
        // round either changes nothing or leaves less to change.
        let next = safer_name(&name, limit);
        if next == name {
            return name;
        }
        name = next;
    }
}

fn safer_name(name: &str, limit: usize) -> String {
    let clean: String = name.nfc().map(|c| if is_unwelcome(c) { '_' } else { c }).collect();
    let mut clean = clean.trim_start().trim_end_matches(|c: char| c == '.' || c.is_whitespace()).to_owned();
    if clean.is_empty() {
        return "_".to_owned();
    }
    if clean.starts_with('.') {
        clean.replace_range(0..1, "_");
    }
    let first = clean.find('.').unwrap_or(clean.len());
    if is_device(&clean[..first]) {
        clean.insert(first, '_');
    }
    shorten(&clean, limit)
}

/// Windows ignores blanks behind the name of a device.
fn is_device(name: &str) -> bool {
    let name = name.trim_end().to_ascii_lowercase();
    let numbered = NUMBERED_DEVICES.iter().find_map(|device| name.strip_prefix(device));
    DEVICES.contains(&name.as_str()) || numbered.is_some_and(|number| is_one_of(number, &DEVICE_NUMBERS))
}

fn is_one_of(text: &str, characters: &[char]) -> bool {
    let mut rest = text.chars();
    rest.next().is_some_and(|c| characters.contains(&c)) && rest.next().is_none()
}

/// What Windows reserves, besides what no name has.
fn is_reserved(c: char) -> bool {
    matches!(c, '<' | '>' | ':' | '"' | '|' | '?' | '*')
}

/// Separators, control characters, and the marks that make `exe.4pm` read as `mp4.exe` on a screen.
fn is_unwelcome(c: char) -> bool {
    let is_direction = matches!(
        c,
        '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{206f}'
    );
    is_direction || matches!(c, '/' | '\\' | '\u{2028}' | '\u{2029}' | '\u{feff}') || c.is_control()
}

fn shorten(name: &str, limit: usize) -> String {
    if name.len() <= limit {
        return name.to_owned();
    }
    let (stem, extension) = split_extension(name);
    format!("{}{extension}", cut(stem, limit - extension.len()))
}

/// At most `limit` bytes, cut between characters.
fn cut(text: &str, limit: usize) -> &str {
    let mut end = text.len().min(limit);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// `clip.mp4` as `clip` and `.mp4`. A name that only starts with a dot has no ending, nor has one whose "ending" is long.
pub(super) fn split_extension(name: &str) -> (&str, &str) {
    match name.rfind('.') {
        Some(dot) if dot > 0 && name.len() - dot <= EXTENSION_LIMIT => name.split_at(dot),
        _ => (name, ""),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hostile_names_become_one_plain_segment() {
        for (name, safe) in [
            ("../../x.mp4", "_._.._x.mp4"),
            ("/abs.mp4", "_abs.mp4"),
            ("a/b.mp4", "a_b.mp4"),
            ("..", "_"),
            (".", "_"),
            ("", "_"),
            ("   ", "_"),
            (".gdrive-webhook", "_gdrive-webhook"),
            ("a\u{0}b\nc.mp4", "a_b_c.mp4"),
            ("movie.mp4. ", "movie.mp4"),
            ("Trips...", "Trips"),
            ("e\u{301}.mp4", "é.mp4"),
        ] {
            assert_eq!(safe_name(name), safe, "{name:?}");
        }
    }

    #[test]
    fn no_name_is_that_of_a_device() {
        for (name, safe) in [
            ("CON.mp4", "CON_.mp4"),
            ("CON.tar.mp4", "CON_.tar.mp4"),
            ("aux .mp4", "aux _.mp4"),
            ("nul", "nul_"),
            ("COM1.mp4", "COM1_.mp4"),
            ("COM¹.mp4", "COM¹_.mp4"),
            ("Lpt³", "Lpt³_"),
            ("CONIN$.mp4", "CONIN$_.mp4"),
            ("conout$", "conout$_"),
            ("COM0.mp4", "COM0.mp4"),
            ("COM12.mp4", "COM12.mp4"),
            ("com.mp4", "com.mp4"),
            ("my con.mp4", "my con.mp4"),
            ("console.mp4", "console.mp4"),
        ] {
            assert_eq!(safe_name(name), safe, "{name:?}");
        }
    }

    #[test]
    fn no_mark_turns_the_direction_of_a_name() {
        for mark in ('\u{200e}'..='\u{200f}').chain('\u{202a}'..='\u{202e}').chain('\u{2066}'..='\u{206f}') {
            assert_eq!(safe_name(&format!("x{mark}4pm.exe")), "x_4pm.exe", "{mark:?}");
        }
        assert_eq!(safe_name("x\u{61c}4pm.exe"), "x_4pm.exe");
        // What scripts and emoji need stays.
        for name in ["می\u{200c}خواهم.mp4", "👩\u{200d}🚀.mp4"] {
            assert_eq!(safe_name(name), name);
        }
    }

    #[test]
    fn long_names_keep_their_ending() {
        let safe = safe_name(&format!("{}.mp4", "é".repeat(300)));
        assert!(safe.len() <= 255 && safe.ends_with("é.mp4"), "{safe}");
    }

    #[test]
    fn a_name_that_is_refused_becomes_another_one_until_there_is_none() {
        let talk = "12:30 täglich?.mp4";
        let portable = Naming::ANY.after(Refusal::Character, talk).unwrap();
        assert_eq!(portable.apply(talk), "12_30 täglich_.mp4");
        let ascii = portable.after(Refusal::Character, talk).unwrap();
        assert_eq!(ascii.apply(talk), "12_30 t_glich_.mp4");
        assert_eq!(ascii.after(Refusal::Character, talk), None);
        assert_eq!(
            Naming::ANY.after(Refusal::Character, "täglich.mp4"),
            Some(ascii),
            "a step without effect"
        );
        assert_eq!(Naming::ANY.after(Refusal::Character, "talk.mp4"), None);
        let long = format!("{}.mp4", "x".repeat(246));
        let mut naming = Naming::ANY;
        for limit in [143, 100, 60] {
            naming = naming.after(Refusal::Length, &long).unwrap();
            assert_eq!(naming.apply(&long), format!("{}.mp4", "x".repeat(limit - 4)));
            assert_eq!(naming.with_suffix(&long, " [1AbC]").len(), limit, "the mark is not cut off");
        }
        assert_eq!(naming.after(Refusal::Length, &long), None);
        assert_eq!(Naming::ANY.after(Refusal::Length, "short.mp4"), None);
    }

    proptest! {
        #[test]
        fn any_name_is_safe_and_stays_so(name in ".{0,400}") {
            let safe = safe_name(&name);
            prop_assert!(!safe.is_empty() && safe.len() <= 255);
            prop_assert!(!safe.contains('/') && !safe.starts_with('.') && !safe.chars().any(char::is_control));
            prop_assert_eq!(safe_name(&safe), safe.clone());
            for refusals in [[Refusal::Character; 2], [Refusal::Length; 2], [Refusal::Character, Refusal::Length]] {
                let mut naming = Naming::ANY;
                for refusal in refusals {
                    let shown = naming.apply(&safe);
                    naming = naming.after(refusal, &safe).unwrap_or(naming);
                    let next = naming.apply(&shown);
                    prop_assert!(next.len() <= naming.limit);
                    prop_assert_eq!(naming.apply(&next), next.clone());
                    prop_assert_eq!(safe_name(&next), next);
                }
            }
        }
    }
}
