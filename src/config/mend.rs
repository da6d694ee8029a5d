//! What can still be read of a file that is not valid TOML: enough to find the running daemon, never enough to start one.

use toml::de::DeTable;

use super::keys::{self, FOLDER};

/// Lines that are given up in one section, and in the whole file afterwards.
const ROUNDS: usize = 8;

/// What is left of a file.
#[derive(Debug)]
pub(super) struct Mended {
    /// The text with the lines that cannot be read left empty, so that the others keep their numbers.
    pub(super) text: String,
    /// Whether `[admin]` stands in it once and just as it was written. Otherwise what it says may have been meant for
    /// another section, or may not be all, and no token is sent where it leads.
    pub(super) is_admin_whole: bool,
}

/// Mends the text of a file.
pub(super) fn mended(text: &str) -> Mended {
    let written: Vec<String> = text.lines().map(str::to_owned).collect();
    let mut lines = written.clone();
    clear_long_strings(&mut lines);
    let mut starts: Vec<usize> = (0..lines.len()).filter(|n| *n == 0 || is_heading(&lines[*n])).collect();
    starts.push(lines.len());
    for bounds in starts.windows(2) {
        mend_section(&mut lines[bounds[0]..bounds[1]]);
    }
    if !give_up_lines(&mut lines) {
        lines.clear();
    }
    let is_admin_whole = is_whole(&written, &lines, "admin");
    Mended { text: lines.join("\n"), is_admin_whole }
}

fn is_heading(line: &str) -> bool {
    line.trim_start().starts_with('[')
}

/// The name in a heading, whatever is wrong with it.
fn name_of(heading: &str) -> &str {
    heading.split('#').next().unwrap_or_default().trim_matches(['[', ']', ' ', '\t'])
}

/// Whether a section stands in the file once, and what was written is what is left of it.
fn is_whole(written: &[String], left: &[String], section: &str) -> bool {
    let is_its = |line: &&String| is_heading(line) && name_of(line) == section;
    let Some(start) = written.iter().position(|line| is_its(&line)) else { return false };
    let after = written.iter().skip(start + 1);
    let end = start + 1 + after.take_while(|line| !is_heading(line)).count();
    written.iter().filter(is_its).count() == 1 && left.get(start..end) == Some(&written[start..end])
}

/// No value here takes more than one line of text. What looks like a section in one that does is none, and one that is not
/// closed hides the rest of the file.
fn clear_long_strings(lines: &mut [String]) {
    let mut open: Option<&str> = None;
    for line in lines {
        let was_open = open.is_some();
        let is_long = long_strings(line, &mut open);
        if was_open || is_long {
            line.clear();
        }
    }
}

/// Whether one begins in this line; `open` is the end that is waited for.
fn long_strings(line: &str, open: &mut Option<&'static str>) -> bool {
    let (mut rest, mut found) = (line, false);
    while let Some(next) = rest.chars().next() {
        if let Some(end) = *open {
            let Some(at) = rest.find(end) else { return found };
            (*open, rest) = (None, &rest[at + end.len()..]);
        } else if let Some(quotes) = ["\"\"\"", "\'\'\'"].into_iter().find(|quotes| rest.starts_with(quotes))
        {
            (*open, rest, found) = (Some(quotes), &rest[quotes.len()..], true);
        } else if next == '#' {
            return found;
        } else if ['"', '\''].contains(&next) {
            let mut escaped = false;
            let end = rest[1..].find(|c: char| {
                let is_end = c == next && !escaped;
                escaped = c == '\\' && next == '"' && !escaped;
                is_end
            });
            // One that is not closed ends with its line.
            let Some(end) = end else { return found };
            rest = &rest[end + 2..];
        } else {
            rest = &rest[next.len_utf8()..];
        }
    }
    found
}

/// A section whose heading cannot be read at all goes as a whole: its keys would count for the section before it.
fn mend_section(lines: &mut [String]) {
    let is_readable = |line: &str| line.trim().is_empty() || DeTable::parse(line).is_ok();
    if let Some(heading) = lines.first_mut().filter(|line| is_heading(line))
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
    match name_of(heading) {
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
        let Some(culprit) = (0..=line.min(lines.len().saturating_sub(1)))
            .rev()
            .find(|n| lines.get(*n).is_some_and(|line| !line.trim().is_empty()))
        else {
            return false;
        };
        // With its heading a section goes as a whole, as above.
        let goes = if is_heading(&lines[culprit]) {
            1 + lines[culprit + 1..].iter().take_while(|line| !is_heading(line)).count()
        } else {
            1
        };
        lines[culprit..culprit + goes].iter_mut().for_each(String::clear);
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADMIN: &str = "[admin]\nlisten = \"127.0.0.1:9\"\n";

    fn listen(text: &str) -> Option<String> {
        let table: toml::Table = mended(text).text.parse().unwrap();
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
            mended("[webhook]\npath = \"/w\"\n[admin x\nlisten = \"127.0.0.1:9\"\n").text.parse().unwrap();
        assert_eq!(table["webhook"].get("listen"), None);
        assert_eq!(mended("\u{0}\n").text, "");
        let doubled =
            "[webhook]\npath = \"/w\"\n[admin]\ntoken_file = \"t\"\n[webhook]\nlisten = \"127.0.0.1:9\"\n";
        assert_eq!(listen(doubled), None);
    }

    #[test]
    fn what_stands_in_a_text_of_several_lines_is_no_section() {
        for quotes in ["\"\"\"", "'''"] {
            let text = format!("[log]\nlevel = {quotes}\n{ADMIN}{quotes}\n[sync]\npoll = 5s\n");
            assert_eq!((listen(&text), mended(&text).is_admin_whole), (None, false), "{text}");
            let open = format!("[log]\nlevel = \"info\" # {quotes}\n[sync]\npoll = {quotes}5s\"\n{ADMIN}");
            assert_eq!((listen(&open), mended(&open).is_admin_whole), (None, false), "{open}");
            let before = format!("{ADMIN}[log]\nlevel = \"{quotes}\n");
            assert!(mended(&before).is_admin_whole, "{before}");
        }
    }

    /// The token goes where the file says, or where nobody can have meant anything else, and nowhere by a mistake.
    #[test]
    fn a_token_is_sent_only_where_the_file_leads_without_doubt() {
        let admin = "[admin]\nlisten = \"127.0.0.1:9\"\ntoken_file = \"t\"\n";
        let by_default = "[admin]\ntoken_file = \"t\"\n";
        for (text, is_sent) in [
            (format!("{admin}[log]\nlevel = \n"), true),
            (format!("[log]\nlevel = \"loud\"\n{admin}"), true),
            (format!("[log]\nlevle = 1\n{by_default}"), true),
            (format!("{by_default}[log]\nlevel = \n"), true),
            (admin.replace("127.0.0.1:9", "127.0.0.1"), false),
            (admin.replace("listen", "lisen"), false),
            (format!("{admin}[log\n[admin]\n"), false),
            (format!("{by_default}listen = \"127.0.0.1:9\n"), false),
            (format!("{by_default}[amdin]\nlisten = \"127.0.0.1:9\"\n"), false),
            (admin.replace("[admin]", "[admin"), false),
            (format!("{by_default}[webhook]\n[webhook]\nlisten = \"127.0.0.1:9\"\n"), true),
        ] {
            let path = std::path::Path::new("a.toml");
            let (settings, problems) =
                crate::config::assemble(&text, path, std::path::Path::new("/"), vec![]);
            assert!(problems.count() > 0);
            assert_eq!(settings.admin.token_file.is_some(), is_sent, "{text}{problems}");
        }
    }
}
