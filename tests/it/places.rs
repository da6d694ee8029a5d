//! Where things lie, whose they are, and what is said where the system says no.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};

use crate::world::{World, text};

/// A user and a group that nobody has.
const STRANGER: u32 = 54_321;
const GROUP: u32 = 54_322;

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).permissions().mode()
        & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn owner(path: &Path) -> (u32, u32) {
    let metadata = fs::symlink_metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    (metadata.uid(), metadata.gid())
}

/// A configuration in which every path is relative, in a directory of its own.
async fn relative(more: &str) -> World {
    let world = World::with_folder("", "existing = \"download\"").await;
    let conf = world.home().join("conf");
    fs::create_dir(&conf).unwrap();
    fs::rename(world.home().join("credentials.json"), conf.join("key.json")).unwrap();
    let written = format!(
        "[google]\ncredentials = \"key.json\"\napi_url = {:?}\n[webhook]\nlisten = \"127.0.0.1:{}\"\n\
         [admin]\nlisten = \"127.0.0.1:{}\"\n{more}\n\
         [[folder]]\nid = {:?}\ndestination = \"videos\"\nexisting = \"download\"\n",
        world.drive.url(),
        world.public,
        world.private,
        world.inbox
    );
    fs::write(conf.join("gdrive-webhook.toml"), written).unwrap();
    world
}

/// The program in this directory, with nobody's environment, and not for ever: a daemon that ought not to start would run on.
fn command_in(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("timeout");
    command
        .env_clear()
        .current_dir(directory)
        .args(["-k", "5", "20"])
        .arg(env!("CARGO_BIN_EXE_gdrive-webhook"))
        .args(arguments);
    command
}

async fn output(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

/// The program with the configuration of `relative`, in another directory.
async fn run_in(world: &World, directory: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let config = world.home().join("conf/gdrive-webhook.toml");
    let mut command = command_in(directory, &["--config", config.to_str().unwrap()]);
    command.args(arguments).envs(variables.iter().copied());
    output(command).await
}

fn said(output: &Output) -> String {
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_do_not_depend_on_where_a_command_is_started() {
    let world = relative("").await;
    let id = world.upload("film.mp4", 1_000);
    let (conf, state) = (world.home().join("conf"), world.home().join("state"));
    let sync = run_in(&world, Path::new("/"), &["sync"], &[]).await;
    assert_eq!(sync.status.code(), Some(0), "{}", said(&sync));
    assert!(conf.join("state.db").exists());
    assert_eq!(crate::world::sha256(&conf.join("videos/film.mp4")), world.drive.content_sha256(&id).unwrap());

    // As systemd starts it: the state elsewhere, the key handed over.
    let credentials = world.home().join("handed");
    fs::create_dir(&credentials).unwrap();
    fs::rename(conf.join("key.json"), credentials.join("key.json")).unwrap();
    let list = format!("{}:/nowhere", state.display());
    let variables =
        [("STATE_DIRECTORY", list.as_str()), ("CREDENTIALS_DIRECTORY", credentials.to_str().unwrap())];
    let sync = run_in(&world, world.home(), &["sync"], &variables).await;
    assert_eq!(sync.status.code(), Some(0), "{}", said(&sync));
    assert_eq!((mode(&state), mode(&state.join("state.db"))), (0o700, 0o600));
    let show = run_in(&world, Path::new("/"), &["config", "show"], &variables).await;
    for line in [
        format!("dir = \"{}\"", state.display()),
        "url = \"sqlite:state.db\"".to_owned(),
        format!("token = \"{}\"", state.join("token.json").display()),
        format!("credentials = \"{}\"", credentials.join("key.json").display()),
        format!("destination = \"{}\"", conf.join("videos").display()),
    ] {
        assert!(text(&show.stdout).contains(&line), "{line} is not in\n{}", said(&show));
    }
    let status = run_in(&world, world.home(), &["status"], &variables).await;
    assert!(text(&status.stdout).contains("not running"), "{}", said(&status));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_to_the_file_leads_to_the_same_state() {
    let world = relative("").await;
    let (conf, other) = (world.home().join("conf"), world.home().join("other"));
    fs::create_dir(&other).unwrap();
    symlink(conf.join("gdrive-webhook.toml"), other.join("link.toml")).unwrap();
    symlink(&conf, other.join("link")).unwrap();
    let dir = format!("dir = {:?}", conf.canonicalize().unwrap());
    for way in ["../conf/gdrive-webhook.toml", "link.toml", "link/gdrive-webhook.toml"] {
        let mut command = command_in(&other, &["--config", way, "config", "show"]);
        command.env("STATE_DIRECTORY", "state");
        let shown = output(command).await;
        assert!(text(&shown.stdout).contains(&dir), "{way}: {}", said(&shown));
    }
    for (arguments, code) in
        [(&["sync"][..], 78), (&["run"], 78), (&["status"], 78), (&["config", "check"], 0)]
    {
        let mut command = Command::new("/bin/sh");
        command.env_clear().current_dir("/").arg("-c").arg("cat \"$0\" | \"$@\"");
        command.arg(conf.join("gdrive-webhook.toml")).arg(env!("CARGO_BIN_EXE_gdrive-webhook"));
        command.env("GDRIVE_WEBHOOK__GOOGLE__CREDENTIALS", conf.join("key.json"));
        command.args(["--config", "/dev/stdin"]).args(arguments);
        let piped = output(command).await;
        assert_eq!(piped.status.code(), Some(code), "{arguments:?}: {}", said(&piped));
        assert!(code == 0 || said(&piped).contains("set state.dir"), "{arguments:?}: {}", said(&piped));
    }
}

/// systemd has given the daemon a directory that a command by hand does not know.
#[tokio::test(flavor = "multi_thread")]
async fn no_second_database_is_made_beside_that_of_the_running_daemon() {
    let mut world = World::new("").await;
    let state = world.home().join("given");
    let url = format!("url = \"sqlite:{}\"", world.home().join("state.db").display());
    world.replace_config(&url, "url = \"sqlite:state.db\"");
    world.spawn_with(&[("STATE_DIRECTORY", state.to_str().unwrap())]);
    world.until_ready().await;
    for arguments in [&["sync"][..], &["sync", "--dry-run"], &["channels", "stop"]] {
        let refused = world.output(arguments).await;
        assert_eq!(refused.status.code(), Some(1), "{arguments:?}: {}", said(&refused));
        let expected = format!("has its database at {}", state.join("state.db").display());
        assert!(said(&refused).contains(&expected), "{arguments:?}: {}", said(&refused));
        assert!(!world.home().join("state.db").exists(), "{arguments:?}");
    }
    let mut command = world.command(&["sync"]);
    command.env("STATE_DIRECTORY", &state);
    let locked = output(command).await;
    assert!(said(&locked).contains("in use by another"), "{}", said(&locked));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_database_is_not_begun_anew_beside_it() {
    let world = relative("").await;
    let elsewhere = world.home().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    for name in ["state.db", "state.db-wal", "token.json"] {
        fs::write(elsewhere.join(name), "").unwrap();
    }
    for (arguments, code) in
        [(&["run"][..], 78), (&["sync"], 78), (&["status"], 1), (&["channels", "stop"], 1)]
    {
        let refused = run_in(&world, &elsewhere, arguments, &[]).await;
        assert_eq!(refused.status.code(), Some(code), "{arguments:?}: {}", said(&refused));
        let (old, new) = (elsewhere.join("state.db"), world.home().join("conf"));
        let remedy =
            format!("mv {}* {} {}/", old.display(), elsewhere.join("token.json").display(), new.display());
        assert!(said(&refused).contains(&remedy), "{arguments:?}: {}", said(&refused));
    }
    assert!(!world.home().join("conf/state.db").exists());
    if is_root() {
        // A stranger's is not to be moved to where it counts, and what cannot be seen is not taken for missing.
        chown(elsewhere.join("state.db"), Some(STRANGER), None).unwrap();
        let refused = run_in(&world, &elsewhere, &["status"], &[]).await;
        assert!(!said(&refused).contains("mv "), "{}", said(&refused));
        chown(elsewhere.join("state.db"), Some(0), None).unwrap();
        let (hidden, file) = (world.home().join("hidden"), world.home().join("conf/gdrive-webhook.toml"));
        fs::create_dir(&hidden).unwrap();
        set_mode(&hidden, 0o700);
        set_mode(world.home(), 0o755);
        let shared = tempfile::tempdir().unwrap();
        set_mode(shared.path(), 0o755);
        let program = shared.path().join("gdrive-webhook");
        // By another process: a file that one of ours has open for writing cannot be started.
        let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_gdrive-webhook")).arg(&program).status();
        assert!(copied.unwrap().success());
        let mut command = Command::new(&program);
        command.env_clear().env("STATE_DIRECTORY", &hidden).current_dir(&elsewhere).uid(STRANGER).gid(GROUP);
        command.arg("--config").arg(file).arg("sync");
        let refused = output(command).await;
        assert!(said(&refused).contains("Permission denied"), "{}", said(&refused));
        assert!(!said(&refused).contains("mv "), "{}", said(&refused));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_run_and_sync_make_anything() {
    let world = relative("").await;
    let conf = world.home().join("conf");
    fs::write(conf.join("client.json"), world.drive.installed_client_json()).unwrap();
    let names = |directory: &Path| {
        let mut names: Vec<_> =
            fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = names(&conf);
    let absent = world.home().join("absent");
    let client = ("GDRIVE_WEBHOOK__GOOGLE__CREDENTIALS", "client.json");
    for (arguments, code, expected) in [
        (&["status"][..], 1, "there is no database at"),
        (&["status", "--check"], 1, "there is no database at"),
        (&["channels", "list"], 1, "there is no database at"),
        (&["channels", "stop"], 1, "there is no database at"),
        (&["history"], 1, "there is no database at"),
        (&["retry", "--failed"], 1, "there is no database at"),
        (&["redeliver", "x"], 1, "there is no database at"),
        (&["config", "check"], 0, "no mistakes"),
        (&["config", "show"], 0, "[[folder]]"),
        (&["config", "systemd"], 0, "Paths="),
        (&["login"], 78, "there is no directory"),
        (&["sync", "--dry-run"], 0, "would be downloaded"),
    ] {
        let mut variables = vec![("STATE_DIRECTORY", absent.to_str().unwrap())];
        variables.extend((arguments == ["login"]).then_some(client));
        let ended = run_in(&world, Path::new("/"), arguments, &variables).await;
        assert_eq!(ended.status.code(), Some(code), "{arguments:?}: {}", said(&ended));
        assert!(said(&ended).contains(expected), "{arguments:?}: {}", said(&ended));
        if code == 1 {
            assert!(said(&ended).contains(absent.to_str().unwrap()), "the place is named: {}", said(&ended));
        }
        assert!(!absent.exists() && names(&conf) == before, "{arguments:?} makes {:?}", names(&conf));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_channels_needs_no_more_than_the_database() {
    let mut world = World::running("").await;
    world.terminate().await;
    assert_eq!(world.drive.channels().len(), 1);
    fs::remove_file(world.home().join("state.db.lock")).unwrap();
    let stop = world.output(&["channels", "stop", "--all"]).await;
    assert_eq!(stop.status.code(), Some(0), "{}", said(&stop));
    assert!(text(&stop.stdout).contains("1 channel stopped"), "{}", said(&stop));
    assert!(world.drive.channels()[0].stopped.is_some() && !world.home().join("state.db.lock").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_reads_the_credentials_and_the_file_that_is_named() {
    let world = relative("").await;
    let (conf, key) = (world.home().join("conf"), world.home().join("conf/key.json"));
    set_mode(&key, 0o600);
    let file = conf.join("gdrive-webhook.toml");
    let check =
        async || output(command_in(Path::new("/"), &["config", "check", file.to_str().unwrap()])).await;
    let right = check().await;
    assert_eq!(right.status.code(), Some(0), "{}", said(&right));
    assert!(!said(&right).contains("warning"), "{}", said(&right));

    set_mode(&key, 0o644);
    let warned = check().await;
    assert_eq!(warned.status.code(), Some(0), "{}", said(&warned));
    let expected =
        format!("every user of this machine can read or change it (mode 0644); chmod 0600 {}", key.display());
    assert!(text(&warned.stderr).contains(&expected), "{}", said(&warned));

    fs::remove_file(&key).unwrap();
    let missing = check().await;
    assert_eq!(missing.status.code(), Some(78), "{}", said(&missing));
    assert!(
        text(&missing.stderr).contains("gdrive-webhook.toml:2: google.credentials: there is no file "),
        "{}",
        said(&missing)
    );
    assert!(!said(&missing).contains("no mistakes"), "{}", said(&missing));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_names_a_state_directory_that_is_none_or_that_others_can_write() {
    let world = relative("").await;
    set_mode(&world.home().join("conf/key.json"), 0o600);
    let state = world.home().join("given");
    let given = [("STATE_DIRECTORY", state.to_str().unwrap()), ("GOOGLE_APPLICATION_CREDENTIALS", "")];
    fs::write(&state, "").unwrap();
    let check = run_in(&world, Path::new("/"), &["config", "check"], &given).await;
    assert_eq!(check.status.code(), Some(78), "{}", said(&check));
    assert!(said(&check).contains("is not a directory"), "{}", said(&check));
    fs::remove_file(&state).unwrap();
    fs::create_dir(&state).unwrap();
    for (mode, expected) in [(0o700, false), (0o777, true), (0o770, true)] {
        set_mode(&state, mode);
        let check = run_in(&world, Path::new("/"), &["config", "check"], &given).await;
        assert_eq!(check.status.code(), Some(0), "{}", said(&check));
        let warned = said(&check).contains(&format!("can write to it (mode {mode:04o}); chmod go-w"));
        assert_eq!(warned, expected, "{}", said(&check));
    }
    // A pipe in the place of the login, at whose other end nobody is.
    fs::write(world.home().join("conf/key.json"), world.drive.installed_client_json()).unwrap();
    set_mode(&state, 0o700);
    let made = Command::new("mkfifo").arg(state.join("token.json")).status().unwrap();
    assert!(made.success());
    let sync = run_in(&world, Path::new("/"), &["sync"], &given).await;
    assert_eq!(sync.status.code(), Some(77), "{}", said(&sync));
    assert!(said(&sync).contains("it is not a file"), "{}", said(&sync));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_with_mistakes_still_leads_to_the_daemon() {
    let mut world = World::running("").await;
    let good = fs::read_to_string(world.config_path()).unwrap();
    for (broken, expected) in [
        (good.replace("level = \"debug\"", "level = \"debug"), "not valid TOML"),
        (good.replace("level =", "levle ="), "unknown key log.levle"),
        (good.replace("[[folder]]", "[[folder]"), "not valid TOML"),
        (good.replace("destination = ", "destination = 3 # "), "folder.destination: 3 is not text"),
    ] {
        fs::write(world.config_path(), &broken).unwrap();
        for arguments in
            [&["status"][..], &["status", "--check"], &["status", "--json"], &["channels", "list"]]
        {
            let asked = world.output(arguments).await;
            assert_eq!(asked.status.code(), Some(0), "{arguments:?}: {}", said(&asked));
            let told = text(&asked.stderr);
            let lines = told.lines().filter(|line| !line.starts_with('{'));
            assert_eq!(lines.count(), 1, "{told}");
            assert!(told.contains("gdrive-webhook.toml:") && told.contains(expected), "{told}");
            assert!(text(&asked.stdout).contains("live"), "it is the daemon's answer: {}", said(&asked));
        }
        assert_eq!(world.output(&["config", "check"]).await.status.code(), Some(78));
    }
    world.terminate().await;
    let asked = world.output(&["status", "--check"]).await;
    assert_eq!(asked.status.code(), Some(78), "{}", said(&asked));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_health_check_needs_no_token_that_the_file_does_not_tell_any_more() {
    let mut world = World::new("").await;
    fs::write(world.home().join("admin-token"), "secret\n").unwrap();
    set_mode(&world.home().join("admin-token"), 0o600);
    world.replace_config("[admin]", "[admin]\ntoken_file = \"admin-token\"");
    world.start().await;
    assert_eq!(world.output(&["status"]).await.status.code(), Some(0));
    world.replace_config("token_file =", "tokn_file =");
    assert_eq!(world.output(&["status", "--check"]).await.status.code(), Some(0));
    assert_eq!(world.output(&["status"]).await.status.code(), Some(78));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_sent_only_where_the_file_leads_without_doubt() {
    use std::io::{Read, Write};
    let world = World::new("").await;
    fs::write(world.home().join("admin-token"), "secret\n").unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let admin =
        format!("[admin]\nlisten = \"{}\"\ntoken_file = \"admin-token\"\n", listener.local_addr().unwrap());
    let (heads, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let (mut connection, mut head) = (connection.unwrap(), [0; 4096]);
            let length = connection.read(&mut head).unwrap();
            heads.send(String::from_utf8_lossy(&head[..length]).to_lowercase()).unwrap();
            connection.write_all(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n").unwrap();
        }
    });
    for (broken, is_sent) in [
        (format!("{admin}[sync]\npoll =\n"), true),
        (format!("[log]\nlevel = \"\"\"\n{admin}\"\"\"\n[sync]\npoll =\n"), false),
        (format!("[log]\nlevel = \"\"\"info\"\n{admin}"), false),
        (format!("{admin}[sync\n[admin]\n"), false),
    ] {
        fs::write(world.config_path(), &broken).unwrap();
        for arguments in [&["status"][..], &["reload"]] {
            assert_ne!(world.output(arguments).await.status.code(), Some(0), "{broken}");
            let sent = told.try_iter().any(|head| head.contains("bearer secret"));
            assert_eq!(sent, is_sent, "{arguments:?} with\n{broken}");
        }
    }
}

/// The program with this umask.
async fn sync_with_umask(world: &World, umask: &str) -> Output {
    let mut command = Command::new("/bin/sh");
    command.env_clear().current_dir(world.home());
    command.args(["-c", &format!("umask {umask}; exec \"$@\""), "sh", env!("CARGO_BIN_EXE_gdrive-webhook")]);
    command.arg("--config").arg(world.config_path()).arg("sync");
    output(command).await
}

#[tokio::test(flavor = "multi_thread")]
async fn modes_are_what_is_configured_whatever_the_umask_is() {
    for (umask, more, file, directory) in [
        ("000", "", 0o640, 0o750),
        ("077", "", 0o640, 0o750),
        ("027", "\nfile_mode = \"0664\"\ndir_mode = \"0775\"", 0o664, 0o775),
    ] {
        let world = World::with_folder("", &format!("existing = \"download\"{more}")).await;
        let below = world.drive.folder(&world.inbox, "Trip");
        world.drive.upload(drive_emulator::Upload::new(
            &below,
            "deep.mp4",
            crate::world::content_of("deep.mp4", 5_000),
        ));
        world.upload("film.mp4", 1_000);
        let sync = sync_with_umask(&world, umask).await;
        assert_eq!(sync.status.code(), Some(0), "{}", said(&sync));
        let (videos, hidden) = (world.videos(), world.videos().join(".gdrive-webhook"));
        for path in [videos.join("film.mp4"), videos.join("Trip/deep.mp4")] {
            assert_eq!(mode(&path), file, "{} with umask {umask}", path.display());
        }
        assert_eq!(mode(&videos.join("Trip")), directory, "with umask {umask}");
        assert_eq!((mode(&hidden), mode(&hidden.join("marker"))), (0o700, 0o600), "with umask {umask}");
        for name in ["state.db", "state.db.lock"] {
            assert_eq!(mode(&world.home().join(name)), 0o600, "{name} with umask {umask}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_running_daemon_writes_is_private() {
    let world = World::running("").await;
    world.drive.fail(drive_emulator::Fault::always(
        "files.media",
        drive_emulator::Action::StallAfter { bytes: 100_000 },
    ));
    world.upload("film.mp4", 1_000_000);
    world.wait("a part is there", async || !world.parts().is_empty()).await;
    for part in world.parts() {
        assert_eq!(mode(&part), 0o600, "{}", part.display());
    }
    for name in ["state.db", "state.db-wal", "state.db-shm", "state.db.lock"] {
        assert_eq!(mode(&world.home().join(name)), 0o600, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_above_a_directory_can_be_entered_whatever_the_umask_is() {
    for umask in ["000", "077"] {
        let mut world = World::with_folder("", "existing = \"download\"").await;
        let (videos, state) = (world.home().join("new"), world.home().join("c/d/state"));
        world.replace_config(&format!("{:?}", world.videos()), &format!("{videos:?}"));
        world.replace_config(
            &format!("url = \"sqlite:{}\"", world.home().join("state.db").display()),
            &format!("dir = {state:?}"),
        );
        world.upload("film.mp4", 1_000);
        let sync = sync_with_umask(&world, umask).await;
        assert_eq!(sync.status.code(), Some(0), "{}", said(&sync));
        for (path, expected) in [("new", 0o750), ("c", 0o755), ("c/d", 0o755), ("c/d/state", 0o700)] {
            assert_eq!(mode(&world.home().join(path)), expected, "{path} with umask {umask}");
        }
    }
}

/// In a container root has often lost the right to give files away.
#[tokio::test(flavor = "multi_thread")]
async fn root_without_the_right_to_give_files_away_keeps_them_and_says_so_once() {
    if !is_root() {
        return;
    }
    let world = World::with_folder("", "existing = \"download\"").await;
    world.upload("film.mp4", 1_000);
    chown(world.home(), Some(STRANGER), Some(GROUP)).unwrap();
    let mut command = Command::new("setpriv");
    command.env_clear().current_dir("/").args(["--bounding-set=-chown", "--inh-caps=-chown"]);
    command.arg(env!("CARGO_BIN_EXE_gdrive-webhook")).arg("--config").arg(world.config_path()).arg("sync");
    let sync = output(command).await;
    assert_eq!(sync.status.code(), Some(0), "{}", said(&sync));
    let told = said(&sync);
    assert_eq!(told.matches("root may not change the owner of files here").count(), 1, "{told}");
    assert_eq!(owner(&world.videos().join("film.mp4")).0, 0);
}

/// The group of files whose directory got its setgid bit after the hidden folder was made.
#[tokio::test(flavor = "multi_thread")]
async fn the_group_comes_from_the_directory_even_if_it_was_given_later() {
    if !is_root() {
        return;
    }
    let world = World::with_folder("", "existing = \"download\"").await;
    let first = world.upload("first.mp4", 1_000);
    assert_eq!(world.output(&["sync"]).await.status.code(), Some(0));
    chown(world.videos(), None, Some(GROUP)).unwrap();
    set_mode(&world.videos(), 0o2770);
    world.upload("second.mp4", 1_000);
    world.drive.revise(&first, crate::world::content_of("newer", 2_000));
    let below = world.drive.folder(&world.inbox, "Trip");
    world.drive.upload(drive_emulator::Upload::new(
        &below,
        "deep.mp4",
        crate::world::content_of("deep.mp4", 5_000),
    ));
    let sync = world.output(&["sync"]).await;
    assert_eq!(sync.status.code(), Some(0), "{}", said(&sync));
    for name in ["first.mp4", "second.mp4", "Trip", "Trip/deep.mp4"] {
        assert_eq!(owner(&world.videos().join(name)).1, GROUP, "{name}");
    }
    assert_eq!(mode(&world.videos().join("Trip")), 0o2750);
    assert_eq!(mode(&world.videos().join("second.mp4")), 0o640);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_root_makes_belongs_to_the_owner_of_the_directory() {
    if !is_root() {
        return;
    }
    let world = World::with_folder("", "existing = \"download\"").await;
    let (home, videos) = (world.home(), world.videos());
    chown(home, Some(STRANGER), Some(GROUP)).unwrap();
    // An earlier version's leavings.
    fs::write(home.join("state.db.lock"), "").unwrap();
    world.upload("film.mp4", 1_000);
    let below = world.drive.folder(&world.inbox, "Trip");
    world.drive.upload(drive_emulator::Upload::new(
        &below,
        "deep.mp4",
        crate::world::content_of("deep.mp4", 5_000),
    ));
    let sync = world.output(&["sync"]).await;
    assert_eq!(sync.status.code(), Some(0), "{}", said(&sync));
    for path in [
        home.join("state.db"),
        home.join("state.db.lock"),
        videos.clone(),
        videos.join(".gdrive-webhook"),
        videos.join(".gdrive-webhook/marker"),
        videos.join("film.mp4"),
        videos.join("Trip"),
        videos.join("Trip/deep.mp4"),
    ] {
        assert_eq!(owner(&path), (STRANGER, GROUP), "{}", path.display());
    }
    // A look by root leaves nothing that keeps the owner out.
    assert_eq!(world.output(&["status"]).await.status.code(), Some(0));
    for entry in fs::read_dir(home).unwrap().map(|entry| entry.unwrap().path()) {
        let is_ours = entry.file_name().is_some_and(|name| name.to_string_lossy().starts_with("state.db"));
        assert!(!is_ours || owner(&entry).0 == STRANGER, "{}", entry.display());
    }

    let check = world.output(&["config", "check"]).await;
    let unread = format!("credentials.json cannot be read by {STRANGER}, who owns state.dir; chgrp {GROUP} ");
    assert!(text(&check.stderr).contains(&unread), "{}", said(&check));

    // A login by root is one that the owner can use.
    fs::write(home.join("token.json"), "{}").unwrap();
    assert_eq!(world.output(&["sync"]).await.status.code(), Some(0));
    assert_eq!(owner(&home.join("token.json")), (STRANGER, GROUP), "an earlier one");
    fs::write(home.join("credentials.json"), world.drive.installed_client_json()).unwrap();
    crate::login::log_in(&world).await;
    assert_eq!((owner(&home.join("token.json")), mode(&home.join("token.json"))), ((STRANGER, GROUP), 0o600));

    // No command of root's writes through a link of the owner's.
    let outside = home.join("credentials.json");
    let content = fs::read(&outside).unwrap();
    fs::remove_file(home.join("state.db.lock")).unwrap();
    symlink(&outside, home.join("state.db.lock")).unwrap();
    let sync = world.output(&["sync"]).await;
    assert_eq!(sync.status.code(), Some(1), "{}", said(&sync));
    assert!(said(&sync).contains("it is a symbolic link"), "{}", said(&sync));
    assert_eq!((owner(&outside).0, fs::read(&outside).unwrap()), (0, content));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_names_the_owner_and_the_remedy() {
    if !is_root() {
        return;
    }
    let world = World::new("").await;
    let home = world.home();
    // The program itself may lie where no stranger gets at it.
    let shared = tempfile::tempdir().unwrap();
    set_mode(shared.path(), 0o755);
    let program = shared.path().join("gdrive-webhook");
    // By another process: a file that one of ours has open for writing cannot be started.
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_gdrive-webhook")).arg(&program).status().unwrap();
    assert!(copied.success());
    let as_stranger = async |arguments: &[&str], variables: &[(&str, &Path)]| {
        let mut command = Command::new(&program);
        command.env_clear().envs(variables.iter().copied()).current_dir("/").uid(STRANGER).gid(GROUP);
        command.arg("--config").arg(world.config_path()).args(arguments);
        output(command).await
    };
    set_mode(home, 0o711);
    for (name, mode, arguments, code, expected) in [
        (
            "gdrive-webhook.toml",
            0o640,
            &["config", "check"][..],
            78,
            "sudo chgrp 54322 {path} && sudo chmod 0640 {path}",
        ),
        (
            "credentials.json",
            0o640,
            &["config", "check"],
            78,
            "sudo chgrp 54322 {path} && sudo chmod 0640 {path}",
        ),
        ("", 0o711, &["sync"], 1, "sudo chown 54321: {path}"),
        ("", 0o700, &["config", "check"], 78, "sudo chgrp 54322 {path} && sudo chmod 0750 {path}"),
    ] {
        let path = if name.is_empty() { home.to_owned() } else { home.join(name) };
        set_mode(&path, mode);
        let refused = as_stranger(arguments, &[]).await;
        assert_eq!(refused.status.code(), Some(code), "{name} {arguments:?}: {}", said(&refused));
        let told = text(&refused.stderr);
        let whose = format!(" belongs to root:root with mode {mode:04o}, and 54321 ");
        let remedy = expected.replace("{path}", &path.display().to_string());
        assert!(told.contains(&whose) && told.contains(&remedy), "{name}: {told}");
        set_mode(&path, if name.is_empty() { 0o711 } else { 0o644 });
    }
    let state = home.join("new/state");
    let refused = as_stranger(&["sync"], &[("STATE_DIRECTORY", &state)]).await;
    assert_eq!(refused.status.code(), Some(78), "{}", said(&refused));
    let remedy = format!("sudo install -d -m 0750 -o 54321 -g 54322 {}", state.display());
    assert!(text(&refused.stderr).contains(&remedy), "{}", said(&refused));
    // Whatever a stranger leaves in a directory for all keeps nobody from anything.
    let (sticky, planted) = (shared.path().join("sticky"), shared.path().join("sticky/.env"));
    fs::create_dir(&sticky).unwrap();
    set_mode(&sticky, 0o1777);
    fs::write(&planted, "").unwrap();
    set_mode(&planted, 0o600);
    chown(&planted, Some(STRANGER + 1), None).unwrap();
    let mut command = Command::new(&program);
    command.env_clear().env("GDRIVE_WEBHOOK_CONFIG", world.config_path()).current_dir(&sticky);
    command.uid(STRANGER).gid(GROUP).args(["config", "show"]);
    let shown = output(command).await;
    assert_eq!(shown.status.code(), Some(0), "{}", said(&shown));
    assert!(said(&shown).contains("is ignored: it belongs to 54322"), "{}", said(&shown));
    // What is another user's own is not opened to all, and not taken away.
    chown(home, Some(STRANGER + 1), Some(GROUP + 1)).unwrap();
    set_mode(home, 0o700);
    let refused = as_stranger(&["status"], &[]).await;
    let remedy = "run this as 54322 (sudo -u 54322 gdrive-webhook …), or let others through: sudo chmod o+x";
    assert!(text(&refused.stderr).contains(remedy), "{}", said(&refused));
}

/// As `ProtectSystem=strict` has it: read-only here, and writable elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn a_place_that_the_unit_keeps_closed_is_told_with_its_remedy() {
    if !is_root() {
        return;
    }
    let world = World::with_folder("", "existing = \"download\"").await;
    world.upload("film.mp4", 1_000);
    let videos = world.videos();
    fs::create_dir(&videos).unwrap();
    let service = format!("ReadWritePaths={} is missing; `gdrive-webhook config systemd`", videos.display());
    let mount = format!("it is mounted read-only here (at {}); mount it for writing", videos.display());
    for (variables, expected) in [(vec![("INVOCATION_ID", "1")], service), (vec![], mount)] {
        let mut command = Command::new("unshare");
        command.env_clear().envs(variables).current_dir("/");
        let script = "mount --bind $0 $0 && mount -o remount,bind,ro $0 && exec \"$@\"";
        command.args(["--mount", "sh", "-c", script]).arg(&videos).arg(env!("CARGO_BIN_EXE_gdrive-webhook"));
        command.arg("--config").arg(world.config_path()).arg("sync");
        let sync = output(command).await;
        assert_eq!(sync.status.code(), Some(1), "{}", said(&sync));
        assert!(said(&sync).contains(&expected), "{}", said(&sync));
    }
    assert_eq!(world.output(&["sync"]).await.status.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_variables_counts_only_if_nobody_else_could_have_written_it() {
    let world = relative("").await;
    let conf = world.home().join("conf");
    let dotenv = conf.join(".env");
    fs::write(&dotenv, "GDRIVE_WEBHOOK__DOWNLOAD__CONCURRENCY=9\n").unwrap();
    for (mode, is_named, expected) in [
        (0o644, false, "concurrency = 9"),
        (0o664, false, "concurrency = 4"),
        (0o644, true, "concurrency = 4"),
    ] {
        set_mode(&dotenv, mode);
        let shown = if is_named {
            run_in(&world, &conf, &["config", "show"], &[]).await
        } else {
            output(command_in(&conf, &["config", "show"])).await
        };
        assert!(text(&shown.stdout).contains(expected), "{mode:o} {is_named}: {}", said(&shown));
        let warnings = text(&shown.stderr).lines().filter(|line| line.contains(".env")).count();
        assert_eq!(warnings, usize::from(expected.ends_with('4')), "{}", said(&shown));
    }
    // The same holds for a configuration that nobody has named.
    let config = conf.join("gdrive-webhook.toml");
    set_mode(&config, 0o646);
    for (is_named, code) in [(false, 78), (true, 0)] {
        let shown = if is_named {
            run_in(&world, &conf, &["config", "show"], &[]).await
        } else {
            output(command_in(&conf, &["config", "show"])).await
        };
        assert_eq!(shown.status.code(), Some(code), "{}", said(&shown));
        assert_eq!(said(&shown).contains("name it with --config"), !is_named, "{}", said(&shown));
    }
    set_mode(&config, 0o644);
    set_mode(&conf, 0o757);
    let shown = output(command_in(&conf, &["config", "show"])).await;
    assert!(said(&shown).contains("other users can write to its directory (mode 0757)"), "{}", said(&shown));
    set_mode(&conf, 0o755);
    let planted = world.home().join("planted");
    fs::create_dir(&planted).unwrap();
    symlink(&config, planted.join("gdrive-webhook.toml")).unwrap();
    let shown = output(command_in(&planted, &["status"])).await;
    assert!(said(&shown).contains("it is a symbolic link, so it is not read"), "{}", said(&shown));
    if is_root() {
        chown(&conf, Some(STRANGER), None).unwrap();
        let shown = output(command_in(&conf, &["status"])).await;
        assert!(said(&shown).contains("its directory belongs to 54321, so"), "{}", said(&shown));
    }
}
