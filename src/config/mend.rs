//! What can still be read of a file that is not valid TOML: enough to find the running daemon, never enough to start one.

use toml::de::DeTable;

use super::keys::{self, FOLDER};

/// Lines that are given up in one section, and in the whole file afterwards.
const ROUNDS: usize = 8;

/// The text with the lines that cannot be read left empty, so that the others keep their numbers.
pub(super) fn mended(text: &str) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let is_heading = |line: &String| line.trim_start().starts_with('[');
    let mut starts: Vec<usize> = (0..lines.len()).filter(|n| *n == 0 || is_heading(&lines[*n])).collect();
    starts.push(lines.len());
    for bounds in starts.windows(2) {
        mend_section(&mut lines[bounds[0]..bounds[1]]);
    }
    if give_up_lines(&mut lines) { lines.join("\n") } else { String::new() }
}

/// A section whose heading cannot be read at all goes as a whole: its keys would count for the section before it.
fn mend_section(lines: &mut [String]) {
    let is_readable = |line: &str| line.trim().is_empty() || DeTable::parse(line).is_ok();
    if let Some(heading) = lines.first_mut().filter(|line| line.trim_start().starts_with('['))
        && !is_readable(heading)
    {
        match repaired(heading) {
            Some(repaired) => *heading = repaired,
            None => return lines.iter_mut().for_each(String::clear),
        }
    }
    if !give_up_lines(lines) {
        lines.iter_mut().for_each(String::clear);
    }
}

/// `[admin` and the like, if the name is one of ours.
fn repaired(heading: &str) -> Option<String> {
    let name = heading.split('#').next().unwrap_or_default().trim_matches(['[', ']', ' ', '\t']);
    match name {
        FOLDER => Some(format!("[[{FOLDER}]]")),
        name if keys::is_section(name) => Some(format!("[{name}]")),
        _ => None,
    }
}

/// Empties one line after the other until the rest can be read. The line that the parser names may be empty already:
/// something that was not closed is noticed late.
fn give_up_lines(lines: &mut [String]) -> bool {
    for _ in 0..=ROUNDS {
        let text = lines.join("\n");
        let Err(error) = DeTable::parse(&text) else { return true };
        let at = error.span().map_or(0, |span| span.start).min(text.len());
        let line = text.get(..at).map_or(0, |before| before.matches('\n').count());
        let Some(culprit) = lines.iter_mut().take(line + 1).rev().find(|line| !line.trim().is_empty()) else {
            return false;
        };
        culprit.clear();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADMIN: &str = "[admin]\nlisten = \"127.0.0.1:9\"\n";

    fn listen(text: &str) -> Option<String> {
        let table: toml::Table = mended(text).parse().unwrap();
        Some(table.get("admin")?.get("listen")?.as_str()?.to_owned())
    }

    #[test]
    fn the_rest_of_the_file_is_read() {
        for text in [
            format!("[log]\nlevel = \n{ADMIN}"),
            format!("{ADMIN}[log]\nlevel = \"info\n"),
            format!("[[folder]\nid = \"x\"\n{ADMIN}"),
            format!("[[folder]]\ninclude = [\"video/*\"\nid = \"x\"\n{ADMIN}"),
            format!("[log]\nlevel = \"info\"\n{ADMIN}[log]\n"),
            format!("{ADMIN}listen = \"127.0.0.1:9\"\n"),
            format!("{ADMIN}this is no line at all\n= 3\n\"\"\"\n"),
            format!("[wat\nx = 1\n{ADMIN}"),
            ADMIN.replace("[admin]", "[admin"),
            format!("[log]\nlevel = \"info\"\n{}", ADMIN.replace("[admin]", "admin]\n[admin]")),
        ] {
            assert_eq!(listen(&text).as_deref(), Some("127.0.0.1:9"), "{text}");
        }
    }

    #[test]
    fn keys_do_not_move_to_another_section() {
        let table: toml::Table =
            mended("[webhook]\npath = \"/w\"\n[admin x\nlisten = \"127.0.0.1:9\"\n").parse().unwrap();
        assert_eq!(table["webhook"].get("listen"), None);
        assert_eq!(mended("\u{0}\n"), "");
    }
}
