//! The drop-in that lets the unit write to the destinations of the configuration, and to nothing else.

use std::fmt::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use super::Settings;
use super::bases::normal;
use crate::{auth, owner};

/// What `ProtectHome=` of the unit hides.
const HOMES: [&str; 3] = ["/home", "/root", "/run/user"];
/// Where the unit looks for the configuration.
const SOURCE: &str = "/etc/gdrive-webhook/gdrive-webhook.toml";

const HEADING: &str = "\
# What the systemd unit of gdrive-webhook may write, made from the configuration. Put it in place, and once more whenever
# a destination is added:
#   sudo mkdir -p /etc/systemd/system/gdrive-webhook.service.d
#   sudo gdrive-webhook config systemd | sudo tee /etc/systemd/system/gdrive-webhook.service.d/destinations.conf
#   sudo systemctl daemon-reload && sudo systemctl restart gdrive-webhook
";

/// Renders it.
pub fn drop_in(settings: &Settings) -> String {
    let mut text = HEADING.to_owned();
    if settings.source != Path::new(SOURCE) {
        let source = settings.source.display().to_string();
        text += &format!("# Made from {}; the unit reads {SOURCE}.\n", one_line(&source));
    }
    let service = service(settings);
    let places = places(settings);
    for place in places.iter().filter(|place| !place.exists()) {
        let shown = owner::shell(place);
        text += &format!(
            "# This destination does not exist yet. Before the restart: sudo install -d -m 0750 -o {service} -g {service} {shown}\n"
        );
    }
    text += "[Service]\n";
    let is_home = |place: &Path| HOMES.iter().any(|home| place.starts_with(home));
    if places.iter().any(|place| is_home(place)) {
        text += "# Of the home directories the unit sees only these.\nProtectHome=tmpfs\n";
    }
    if places.iter().any(|place| owner::is_temporary(place)) {
        text += "# The unit has its own /tmp and /var/tmp, which are emptied when it stops. Of those of the machine it sees only\n\
                 # these directories.\n";
    }
    for place in &places {
        if place.to_string_lossy().contains(char::is_control) {
            text += &format!(
                "# A unit cannot name the directory {}: rename it.\n",
                one_line(&place.display().to_string())
            );
            continue;
        }
        let key = if is_home(place) || owner::is_temporary(place) { "BindPaths" } else { "ReadWritePaths" };
        // A directory that is missing must not keep the unit from starting: the others go on, and status names it.
        let _ = writeln!(text, "{key}={}", escaped(place));
    }
    if places.is_empty() {
        text += "# Every destination lies in the state directory: nothing more is needed.\n";
    }
    text + &credentials(settings)
}

/// Whatever is written outside the unit's state directory, each once, without what lies below another one.
fn places(settings: &Settings) -> Vec<PathBuf> {
    let mut places: Vec<PathBuf> = settings.folders.iter().map(|folder| folder.destination.clone()).collect();
    // Where it is beside the file by default, it is elsewhere under systemd.
    if Some(settings.state_dir.as_path()) != settings.source.parent() {
        places.push(settings.state_dir.clone());
    }
    for path in [&settings.store.path(), &settings.google.token] {
        if !path.starts_with(&settings.state_dir) {
            places.push(owner::parent(path).to_owned());
        }
    }
    // A link and where it leads: the unit would let the program write to neither by the name of the other one.
    let mut both: Vec<PathBuf> = places.iter().flat_map(|place| [written(place), normal(place)]).collect();
    both.retain(|place| !place.starts_with(owner::SYSTEM_STATE));
    let mut places = both;
    places.sort();
    places.dedup_by(|later, earlier| later.starts_with(&*earlier));
    places
}

/// As it is written, without `.` and `..`; through a link they would lead somewhere else than they seem to.
fn written(place: &Path) -> PathBuf {
    if place.components().any(|part| part == Component::ParentDir) {
        return normal(place);
    }
    place.components().collect()
}

/// What only root can read is handed to the service by systemd.
fn credentials(settings: &Settings) -> String {
    let mut text = String::new();
    let found = auth::locate(&settings.google).ok();
    let secrets = [
        (found.as_deref(), "credentials.json", "GDRIVE_WEBHOOK__GOOGLE__CREDENTIALS"),
        (settings.admin.token_file.as_deref(), "admin-token", "GDRIVE_WEBHOOK__ADMIN__TOKEN_FILE"),
    ];
    // Under names of our own: a file may have one that no unit can.
    for (path, name, variable) in secrets {
        let Some(path) = path else { continue };
        let Ok(metadata) = path.metadata() else { continue };
        let mode = metadata.permissions().mode();
        let group_reads = mode & 0o040 != 0 && metadata.gid() != 0;
        if metadata.uid() == 0 && !group_reads && mode & 0o004 == 0 {
            if text.is_empty() {
                text += "# systemd hands the files that only root can read to the service.\n";
            }
            // The path is the rest of the line, whatever is in it.
            text += &format!("LoadCredential={name}:{}\n", percent(path));
            text += &format!("Environment={}\n", quoted(&format!("{variable}={name}")));
        }
    }
    text
}

fn service(settings: &Settings) -> String {
    let uid = settings.state_dir.metadata().map_or(0, |metadata| metadata.uid());
    if uid == 0 { owner::SERVICE.to_owned() } else { owner::user(uid) }
}

/// A path in a list of the unit's: `-` where it may be missing, `%` twice, in quotes if need be.
fn escaped(path: &Path) -> String {
    quoted(&format!("-{}", percent(path)))
}

fn percent(path: &Path) -> String {
    path.display().to_string().replace('%', "%%")
}

fn quoted(text: &str) -> String {
    if text.contains(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '\\' | ':')) {
        format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
    } else {
        text.to_owned()
    }
}

/// In a comment: nothing in it begins a line of its own.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load_from;

    fn drop_in_of(source: &str, text: &str) -> String {
        let path = Path::new(source);
        drop_in(&load_from(text, path, path.parent().unwrap(), []).unwrap())
    }

    fn folder(destination: &str) -> String {
        format!("[[folder]]\nid = \"1AbC\"\ndestination = {destination:?}\n")
    }

    #[test]
    fn each_destination_is_named_once_as_a_unit_can_read_it() {
        let places = [
            "/srv/100% mine",
            "/srv/videos/deep",
            "/srv/videos",
            "/home/me/a:b",
            "/var/lib/gdrive-webhook/v",
        ];
        let text: String = places.iter().map(|place| folder(place)).collect();
        let said = drop_in_of(SOURCE, &text);
        let lines: Vec<&str> = said.lines().skip_while(|line| *line != "[Service]").collect();
        let expected = [
            "[Service]",
            "# Of the home directories the unit sees only these.",
            "ProtectHome=tmpfs",
            "BindPaths=\"-/home/me/a:b\"",
            "ReadWritePaths=\"-/srv/100%% mine\"",
            "ReadWritePaths=-/srv/videos",
        ];
        assert_eq!(lines, expected, "{said}");
        assert!(
            said.contains("install -d -m 0750 -o gdrive-webhook -g gdrive-webhook '/srv/100% mine'\n"),
            "{said}"
        );
        assert!(said.contains("systemctl daemon-reload") && !said.contains("Made from"), "{said}");
    }

    #[test]
    fn a_link_is_named_with_where_it_leads_and_secrets_have_names_of_their_own() {
        let home = tempfile::tempdir().unwrap();
        let home = home.path().canonicalize().unwrap();
        std::fs::create_dir(home.join("target")).unwrap();
        std::os::unix::fs::symlink("target", home.join("link")).unwrap();
        let mut text = folder("link") + &folder("x/../missing");
        let is_root = rustix::process::geteuid().is_root();
        for (section, key, name) in [("google", "credentials", "a: b.json"), ("admin", "token_file", "50%")] {
            std::fs::write(home.join(name), "{}").unwrap();
            std::fs::set_permissions(home.join(name), std::fs::Permissions::from_mode(0o600)).unwrap();
            text += &format!("[{section}]\n{key} = {name:?}\n");
        }
        let said = drop_in_of(home.join("a.toml").to_str().unwrap(), &text);
        for (name, count) in [("link", 1), ("target", 1), ("missing", 1), ("x/..", 0)] {
            let line = format!("Paths=-{}", home.join(name).display());
            assert_eq!(said.lines().filter(|said| said.ends_with(&line)).count(), count, "{name}: {said}");
        }
        if is_root {
            let (key, token) = (home.join("a: b.json"), home.join("50%%"));
            assert!(
                said.contains(&format!("\nLoadCredential=credentials.json:{}\n", key.display())),
                "{said}"
            );
            assert!(said.contains(&format!("\nLoadCredential=admin-token:{}\n", token.display())), "{said}");
            assert_eq!(said.matches("# systemd hands the files").count(), 1, "{said}");
        }
    }

    #[test]
    fn a_temporary_place_is_that_of_the_machine() {
        for place in ["/tmp/videos", "/var/tmp/videos"] {
            let said = drop_in_of(SOURCE, &folder(place));
            assert!(said.contains(&format!("these directories.\nBindPaths=-{place}\n")), "{said}");
            let path = Path::new(SOURCE);
            let settings = load_from(&folder(place), path, path.parent().unwrap(), []).unwrap();
            let warnings = crate::config::secrets::warnings(&settings).join("\n");
            assert!(
                warnings.contains(&format!("files that are delivered to {place} are lost")),
                "{warnings}"
            );
        }
    }

    #[test]
    fn what_lies_elsewhere_is_named_as_well() {
        let text = format!(
            "{}[state]\ndir = \"/data/state\"\nurl = \"sqlite:/fast/x/state.db\"\n",
            folder("/srv/v\nReadWritePaths=/")
        );
        let said = drop_in_of("/opt/a.toml", &text);
        assert!(said.contains("ReadWritePaths=-/data/state\nReadWritePaths=-/fast/x\n"), "{said}");
        assert!(said.contains("# Made from /opt/a.toml"), "{said}");
        assert!(!said.lines().any(|line| line == "ReadWritePaths=/"), "{said}");
        let none = drop_in_of(SOURCE, &folder("/var/lib/gdrive-webhook/videos"));
        assert!(none.contains("nothing more is needed") && !none.contains("Paths="), "{none}");
    }
}
