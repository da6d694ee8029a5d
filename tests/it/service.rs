//! The daemon as a service: messages to systemd, sockets from it, and reading the configuration again.

use std::collections::VecDeque;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use drive_emulator::Upload;
use rustix::process::Signal;

use crate::world::{BOUND, World, client, content_of, text};

/// A socket that receives messages like systemd.
struct Systemd {
    socket: UnixDatagram,
    path: String,
    heard: VecDeque<String>,
}

impl Systemd {
    fn new(world: &World) -> Self {
        let path = world.home().join("notify").to_str().unwrap().to_owned();
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        Self { socket, path, heard: VecDeque::new() }
    }

    /// The next message, if one comes in time.
    fn hear(&mut self) -> Option<String> {
        let mut buffer = [0; 4096];
        if self.heard.is_empty()
            && let Ok(length) = self.socket.recv(&mut buffer)
        {
            self.heard.extend(text(&buffer[..length]).lines().map(str::to_owned));
        }
        self.heard.pop_front()
    }

    fn until(&mut self, what: &str, found: impl Fn(&str) -> bool) -> String {
        let began = Instant::now();
        let mut all = Vec::new();
        while began.elapsed() < BOUND {
            if let Some(said) = self.hear() {
                if found(&said) {
                    return said;
                }
                all.push(said);
            }
        }
        panic!("never heard: {what}; but {all:?}");
    }

    /// How often it is said within the time.
    fn count(&mut self, what: &str, time: Duration) -> usize {
        let began = Instant::now();
        let mut count = 0;
        while began.elapsed() < time {
            count += usize::from(self.hear().is_some_and(|said| said == what));
        }
        count
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn systemd_hears_what_goes_on_and_what_is_wrong() {
    let mut world = World::new("").await;
    let mut systemd = Systemd::new(&world);
    let notify = systemd.path.clone();
    world.spawn_with(&[("NOTIFY_SOCKET", &notify)]);
    systemd.until("that it is started", |said| said == "READY=1");
    systemd.until("that it is ready", |said| said == "STATUS=Ready, 1 push channel");

    // A person has to handle a disk that has disappeared.
    std::fs::create_dir_all(world.videos()).unwrap();
    world.upload("film.mp4", 1_000);
    world.wait_for_file("film.mp4").await;
    world.wait_until_idle().await;
    world.wait("it is gone", async || std::fs::remove_dir_all(world.videos()).is_ok()).await;
    std::fs::create_dir(world.videos()).unwrap();
    world.upload("next.mp4", 1_000);
    let wrong = systemd.until("what is wrong", |said| said.starts_with("STATUS=Not ready: "));
    assert!(wrong.contains(world.videos().to_str().unwrap()), "{wrong}");

    world.signal(Signal::TERM);
    systemd.until("that it ends", |said| said == "STOPPING=1");
    world.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_frozen_is_silent() {
    let mut world = World::new("").await;
    let mut systemd = Systemd::new(&world);
    let notify = systemd.path.clone();
    world.spawn_with(&[("NOTIFY_SOCKET", &notify), ("WATCHDOG_USEC", "300000")]);
    systemd.until("that it lives", |said| said == "WATCHDOG=1");
    let alive = systemd.count("WATCHDOG=1", Duration::from_secs(2));
    assert!(alive >= 7, "at least every 300 ms in 2 s: {alive} times");
    world.signal(Signal::STOP);
    systemd.count("WATCHDOG=1", Duration::from_millis(200));
    assert_eq!(systemd.count("WATCHDOG=1", Duration::from_secs(1)), 0);
    world.signal(Signal::CONT);
    systemd.until("that it lives again", |said| said == "WATCHDOG=1");
}

/// The daemon, with this socket passed as systemd does.
fn activated(world: &World, socket: &TcpListener) -> Command {
    let daemon = world.command(&["run"]);
    let mut command = Command::new("/bin/sh");
    // systemd puts its sockets at 3; standard input is what a test can choose.
    command
        .env_clear()
        .current_dir(world.home())
        .args(["-c", "exec 3<&0 0</dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$@\"", "sh"])
        .arg(daemon.get_program())
        .args(daemon.get_args())
        .stdin(Stdio::from(OwnedFd::from(socket.try_clone().unwrap())))
        .stdout(Stdio::null());
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn notifications_wait_in_systemds_socket_while_the_daemon_is_started_again() {
    let mut world = World::new("").await;
    let socket = TcpListener::bind(("127.0.0.1", world.public)).unwrap();
    world.spawn_command(activated(&world, &socket));
    world.until_ready().await;
    world.upload("first.mp4", 1_000);
    world.wait_for_file("first.mp4").await;
    let channel = world.drive.channels().remove(0);

    assert_eq!(world.terminate().await, 0);
    // Nobody runs; the notification comes all the same.
    let url = format!("http://127.0.0.1:{}/webhook", world.public);
    let waiting = tokio::spawn(async move {
        let request = client().post(url).header("X-Goog-Channel-ID", channel.id);
        let request = request.header("X-Goog-Channel-Token", channel.token.unwrap());
        request.header("X-Goog-Resource-State", "change").header("X-Goog-Message-Number", "9").send().await
    });
    world.upload("second.mp4", 1_000);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!waiting.is_finished(), "neither refused nor answered");
    world.spawn_command(activated(&world, &socket));
    assert_eq!(waiting.await.unwrap().unwrap().status(), 204);
    world.wait_for_file("second.mp4").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn restarts_refuse_no_notification() {
    let mut world = World::new("").await;
    let socket = TcpListener::bind(("127.0.0.1", world.public)).unwrap();
    world.spawn_command(activated(&world, &socket));
    world.until_ready().await;
    let channel = world.drive.channels().remove(0);
    let url = format!("http://127.0.0.1:{}/webhook", world.public);
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = stop.clone();
    let stream = tokio::spawn(async move {
        let (client, mut answers) = (client(), Vec::new());
        while !stopped.load(Ordering::Relaxed) {
            let request = client.post(&url).header("X-Goog-Channel-ID", &channel.id);
            let request = request.header("X-Goog-Channel-Token", channel.token.as_ref().unwrap());
            let answer =
                request.header("X-Goog-Resource-State", "change").header("X-Goog-Message-Number", "9");
            answers
                .push(answer.send().await.map(|answer| answer.status().as_u16()).map_err(|e| e.to_string()));
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        answers
    });
    for number in 0..5 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(world.terminate().await, 0);
        world.upload(&format!("film {number}.mp4"), 1_000);
        world.spawn_command(activated(&world, &socket));
        world.until_ready().await;
    }
    world.wait_for_file("film 4.mp4").await;
    stop.store(true, Ordering::Relaxed);
    let answers = stream.await.unwrap();
    assert!(answers.len() > 100, "{}", answers.len());
    assert!(answers.iter().all(|answer| *answer == Ok(204)), "{answers:?}");
    assert_eq!(world.delivered().len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_differs_from_the_configuration_counts_and_is_named() {
    let mut world = World::new("").await;
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    let mut command = activated(&world, &socket);
    let log = std::fs::File::create(world.home().join("log")).unwrap();
    command.stderr(log);
    world.spawn_command(command);
    world
        .wait("it says so", async || {
            world.log().contains("webhook.listen is ignored") && world.log().contains(&port.to_string())
        })
        .await;
    let greeting = client().get(format!("http://127.0.0.1:{port}/webhook")).send().await.unwrap();
    assert!(greeting.text().await.unwrap().contains("gdrive-webhook"));
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_filters_and_limits_change_without_a_restart() {
    let mut world = World::running("").await;
    let second = world.drive.folder(&world.drive.root_id(), "Second");
    let elsewhere = world.home().join("elsewhere");
    let pid = world.pid();

    world.add_config(&format!(
        "[download]\nconcurrency = 1\nstall = \"30s\"\n[[folder]]\nid = {second:?}\ndestination = {elsewhere:?}\n\
         exclude = [\"*draft*\"]"
    ));
    let reload = world.output(&["reload"]).await;
    assert_eq!(reload.status.code(), Some(0), "{}", text(&reload.stderr));
    let said = text(&reload.stdout);
    assert!(said.contains("in effect now:") && said.contains("download.concurrency = 1"), "{said}");
    assert!(said.contains("takes effect at the next start: download.stall = \"30s\""), "{said}");

    // What is there before the folder is watched stays, what comes later is delivered, as at a start.
    world.wait("the folder is watched", async || world.log().contains("watching a new folder")).await;
    world.wait_until_idle().await;
    let drive = world.drive.clone();
    let upload = |name: &str| drive.upload(Upload::new(&second, name, content_of(name, 1_000)));
    upload("a draft.mp4");
    upload("film.mp4");
    world.wait("it is delivered", async || elsewhere.join("film.mp4").exists()).await;
    assert!(!elsewhere.join("a draft.mp4").exists());

    world.replace_config("exclude = [\"*draft*\"]", "");
    assert_eq!(world.output(&["reload"]).await.status.code(), Some(0));
    upload("another draft.mp4");
    world.wait("the filter is gone", async || elsewhere.join("another draft.mp4").exists()).await;

    // And a folder that is not wanted any more is left alone.
    world.replace_config(&format!("[[folder]]\nid = {second:?}\ndestination = {elsewhere:?}"), "");
    assert_eq!(world.output(&["reload"]).await.status.code(), Some(0));
    world.wait("it is said", async || world.log().contains("a folder is not watched any more")).await;
    upload("late.mp4");
    world.upload("first.mp4", 1_000);
    world.wait_for_file("first.mp4").await;
    world.wait_until_idle().await;
    assert!(!elsewhere.join("late.mp4").exists());
    assert_eq!(world.pid(), pid);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_file_is_refused_with_its_line_and_what_was_stays_in_force() {
    let mut world = World::running("").await;
    world.add_config("[download]\nconcurency = 3");
    let line = std::fs::read_to_string(world.config_path()).unwrap().lines().count();
    let reload = world.output(&["reload"]).await;
    assert_eq!(reload.status.code(), Some(1));
    let said = text(&reload.stderr);
    assert!(
        said.contains(&format!("gdrive-webhook.toml:{line}: ")) && said.contains("concurrency"),
        "{said}"
    );
    world.upload("film.mp4", 1_000);
    world.wait_for_file("film.mp4").await;
    assert_eq!(
        world.output(&["status", "--check"]).await.status.code(),
        Some(0),
        "the daemon is none the worse"
    );

    world.replace_config("concurency", "concurrency");
    let reload = world.output(&["reload"]).await;
    assert_eq!(reload.status.code(), Some(0), "{}", text(&reload.stderr));
    world.terminate().await;
    let reload = world.output(&["reload"]).await;
    assert_eq!(reload.status.code(), Some(1));
    assert!(text(&reload.stderr).contains("no daemon answers at"), "{}", text(&reload.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_counted_beside_the_file_at_the_start_counts_at_a_reload() {
    use std::os::unix::fs::PermissionsExt;
    let mut world = World::new("").await;
    let dotenv = world.home().join(".env");
    std::fs::write(&dotenv, "GDRIVE_WEBHOOK__DOWNLOAD__CONCURRENCY=7\n").unwrap();
    std::fs::set_permissions(&dotenv, PermissionsExt::from_mode(0o600)).unwrap();
    // Found in the working directory, where `.env` counts.
    let here = |argument: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gdrive-webhook"));
        command.env_clear().current_dir(world.home()).arg(argument).stderr(Stdio::null());
        command
    };
    let mut reload = here("reload");
    let run = here("run");
    world.spawn_command(run);
    world.until_ready().await;
    let said = tokio::task::spawn_blocking(move || reload.output().unwrap()).await.unwrap();
    assert_eq!((said.status.code(), text(&said.stdout).trim()), (Some(0), "the configuration is unchanged"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_the_service_may_not_write_to_is_refused_at_a_reload() {
    let outside = tempfile::tempdir().unwrap();
    let mut world = World::new("").await;
    let systemd = Systemd::new(&world);
    // Only where somebody starts it again when it ends.
    world.spawn_with(&[("NOTIFY_SOCKET", &systemd.path)]);
    world.until_ready().await;
    let second = world.drive.folder(&world.drive.root_id(), "Second");
    world.add_config(&format!(
        "[[folder]]\nid = {second:?}\ndestination = {:?}",
        outside.path().join("videos")
    ));
    let reload = world.output(&["reload"]).await;
    let said = text(&reload.stderr);
    if reload.status.code() == Some(0) {
        // Without Landlock everything is permitted.
        assert!(!world.log().contains("writes are confined"), "{said}");
        return;
    }
    assert!(said.contains(outside.path().to_str().unwrap()) && said.contains("restart"), "{said}");
    assert!(
        !world.log().contains("watching a new folder\",\"folder.name\":\"Second"),
        "nothing of it is in effect"
    );
    world.upload("film.mp4", 1_000);
    world.wait_for_file("film.mp4").await;
    // A restart lets it.
    world.terminate().await;
    world.start().await;
    world.drive.upload(Upload::new(&second, "b.mp4", content_of("b.mp4", 1_000)));
    world.wait("it is delivered", async || outside.path().join("videos/b.mp4").exists()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_was_made_anew_behind_the_confinement_leads_to_a_new_start() {
    let mut world = World::new("").await;
    let systemd = Systemd::new(&world);
    let disk = tempfile::tempdir().unwrap();
    // A link, as people have them.
    let link = world.videos();
    std::fs::create_dir_all(disk.path().join("mount/videos")).unwrap();
    std::os::unix::fs::symlink(disk.path().join("mount/videos"), &link).unwrap();
    world.spawn_with(&[("NOTIFY_SOCKET", &systemd.path)]);
    world.until_ready().await;
    world.upload("first.mp4", 1_000);
    world.wait_for_file("first.mp4").await;
    if !world.log().contains("writes are confined") {
        // Without Landlock nothing is forbidden.
        return;
    }
    // Like a mount: another directory replaces the known one, and then a part of it is restored.
    std::fs::rename(disk.path().join("mount"), disk.path().join("before")).unwrap();
    std::fs::create_dir(disk.path().join("mount")).unwrap();
    std::fs::rename(disk.path().join("before/videos"), disk.path().join("before/moved")).unwrap();
    copy(&disk.path().join("before/moved"), &disk.path().join("mount/videos"));
    world.upload("second.mp4", 1_000);
    assert_eq!(world.until_ended().await, 1, "{}", world.log());
    assert!(world.log().contains("was mounted or created again since the start"));
    world.spawn_with(&[("NOTIFY_SOCKET", &systemd.path)]);
    world.wait_for_file("second.mp4").await;
}

/// A directory with all that is in it.
fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").args([from, to]).status().unwrap();
    assert!(copied.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_does_not_answer_holds_nobody_up() {
    let mut world = World::running("").await;
    // Whoever opens a pipe waits for its other end, as with a file on a server that is away.
    let (path, aside) = (world.config_path(), world.home().join("aside"));
    std::fs::rename(&path, &aside).unwrap();
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    let url = format!("http://127.0.0.1:{}/api/reload", world.private);
    let answer = client().post(url).send().await.unwrap();
    assert_eq!(answer.status(), 422);
    let said = answer.text().await.unwrap();
    assert!(said.contains("does not answer") && said.contains(path.to_str().unwrap()), "{said}");
    world.upload("film.mp4", 1_000);
    world.wait_for_file("film.mp4").await;
    // It answers again: whoever waits for the other end gets it.
    let end = std::fs::File::options().read(true).write(true).open(&path).unwrap();
    std::fs::rename(&aside, &path).unwrap();
    drop(end);
    world.wait("it is read again", async || world.output(&["reload"]).await.status.code() == Some(0)).await;
    assert_eq!(world.terminate().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_to_read_the_file_again_never_ends_the_program() {
    let mut world = World::new("").await;
    for _ in 0..5 {
        let mut systemd = Systemd::new(&world);
        world.spawn_with(&[("NOTIFY_SOCKET", &systemd.path)]);
        systemd.until("that it is started", |said| said == "READY=1");
        world.signal(Signal::HUP);
        world.until_ready().await;
        assert_eq!(world.terminate().await, 0);
        std::fs::remove_file(&systemd.path).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_listened_on_is_refused_with_the_place_to_look() {
    let world = World::new("").await;
    let (socket, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    let daemon = world.command(&["run"]);
    let mut command = Command::new("/bin/sh");
    command
        .env_clear()
        .args(["-c", "exec 3<&0 0</dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$@\"", "sh"])
        .arg(daemon.get_program())
        .args(daemon.get_args())
        .stdin(Stdio::from(OwnedFd::from(socket)));
    let ended = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert_eq!(ended.status.code(), Some(78));
    let said = text(&ended.stderr);
    assert!(said.contains("socket 1 is not a TCP socket") && said.contains("ListenStream="), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_level_of_the_log_changes_while_it_runs() {
    let mut world = World::new("").await;
    world.replace_config("level = \"debug\"", "level = \"warn\"");
    world.start().await;
    world.upload("quiet.mp4", 1_000);
    world.wait_for_file("quiet.mp4").await;
    assert!(!world.log().contains("quiet.mp4"));
    world.replace_config("level = \"warn\"", "level = \"info\"");
    assert_eq!(world.output(&["reload"]).await.status.code(), Some(0));
    world.upload("loud.mp4", 1_000);
    world.wait_for_file("loud.mp4").await;
    world.wait("it is in the log", async || world.log().contains("loud.mp4")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_line_of_the_log_is_json_where_that_is_asked_for() {
    let mut world = World::running("").await;
    world.upload("a \"quoted\" name.mp4", 1_000);
    world.wait_for_file("a \"quoted\" name.mp4").await;
    world.terminate().await;
    std::fs::write(world.home().join("credentials.json"), "{}").unwrap();
    world.spawn();
    world.wait("it ends", async || world.log().contains("does not contain supported credentials")).await;
    let log = world.log();
    let mut names = 0;
    for line in log.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        names += usize::from(line["file.name"] == "a \"quoted\" name.mp4");
        assert!(line["message"].is_string() && line["timestamp"].is_string(), "{line}");
        assert!(line.get("span").is_none() && line.get("spans").is_none(), "{line}");
    }
    assert!(names >= 2, "the name as it is, without quotes of its own\n{log}");
}
