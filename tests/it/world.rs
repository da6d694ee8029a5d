//! The environment of a test: an emulated Drive with a folder, a home directory, and the daemon as a process.

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};
use std::{io, thread};

use drive_emulator::{Content, Emulator, Options, TlsFiles, Upload};
use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set};
use serde_json::Value;

/// Nothing in these tests takes longer on a slow machine, unless it never ends.
pub(crate) const BOUND: Duration = Duration::from_secs(30);

pub(crate) struct World {
    pub(crate) drive: Emulator,
    pub(crate) inbox: String,
    pub(crate) public: u16,
    pub(crate) private: u16,
    home: tempfile::TempDir,
    config: String,
    daemon: Option<Child>,
    /// Modes of folders bind the daemon even if it is root's.
    pub(crate) is_bound_by_modes: bool,
}

impl World {
    /// A world whose daemon is not running yet. `config` is added to what every configuration needs.
    pub(crate) async fn new(config: &str) -> Self {
        Self::with_folder(config, "").await
    }

    /// The same with more in the `[[folder]]` section.
    pub(crate) async fn with_folder(config: &str, folder: &str) -> Self {
        let drive = Emulator::start(Options::default()).await.unwrap();
        Self::around(drive, tempfile::tempdir().unwrap(), config, folder)
    }

    /// A world whose Drive is reached over https, so that the daemon speaks HTTP/2 with it.
    pub(crate) async fn over_tls(config: &str) -> Self {
        Self::over_tls_with_folder(config, "").await
    }

    /// The same with more in the `[[folder]]` section.
    pub(crate) async fn over_tls_with_folder(config: &str, folder: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let tls = TlsFiles::make(home.path(), &["127.0.0.1".to_owned()]).unwrap();
        let drive = Emulator::start(Options { tls: Some(tls), ..Options::default() }).await.unwrap();
        Self::around(drive, home, config, folder)
    }

    /// The same in one step.
    pub(crate) async fn running_over_tls(config: &str) -> Self {
        let mut world = Self::over_tls(config).await;
        world.start().await;
        world
    }

    fn around(drive: Emulator, home: tempfile::TempDir, config: &str, folder: &str) -> Self {
        let inbox = drive.folder(&drive.root_id(), "Inbox");
        let (public, private) = (free_port(), free_port());
        let credentials = home.path().join("credentials.json");
        fs::write(&credentials, drive.service_account_json()).unwrap();
        fs::set_permissions(&credentials, fs::Permissions::from_mode(0o600)).unwrap();
        let base = format!(
            "[google]\ncredentials = {credentials:?}\ntoken = {token:?}\napi_url = {api:?}\n\
             [state]\nurl = \"sqlite:{state}\"\n\
             [admin]\nlisten = \"127.0.0.1:{private}\"\n\
             [log]\nlevel = \"debug\"\nformat = \"json\"\n\
             [[folder]]\nid = {inbox:?}\ndestination = {videos:?}\n{folder}\n",
            token = home.path().join("token.json"),
            api = drive.tls_url().unwrap_or_else(|| drive.url()),
            state = home.path().join("state.db").display(),
            videos = home.path().join("videos"),
        );
        let webhook = if config.contains("[webhook]") {
            String::new()
        } else {
            format!(
                "[webhook]\nlisten = \"127.0.0.1:{public}\"\npublic_url = \"http://127.0.0.1:{public}\"\n"
            )
        };
        let config = format!("{base}{webhook}{}", config.replace("{public}", &public.to_string()));
        let world =
            Self { drive, inbox, public, private, home, config, daemon: None, is_bound_by_modes: false };
        world.write_config();
        world
    }

    /// A world whose daemon is running and ready.
    pub(crate) async fn running(config: &str) -> Self {
        let mut world = Self::new(config).await;
        world.start().await;
        world
    }

    fn write_config(&self) {
        fs::write(self.config_path(), &self.config).unwrap();
    }

    pub(crate) fn add_config(&mut self, more: &str) {
        write!(self.config, "\n{more}\n").unwrap();
        self.write_config();
    }

    pub(crate) fn replace_config(&mut self, from: &str, to: &str) {
        assert!(self.config.contains(from), "{from} is not in the configuration");
        self.config = self.config.replace(from, to);
        self.write_config();
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    pub(crate) fn config_path(&self) -> PathBuf {
        self.home.path().join("gdrive-webhook.toml")
    }

    pub(crate) fn videos(&self) -> PathBuf {
        self.home.path().join("videos")
    }

    /// The binary with this world's configuration, in this world's home and nobody else's environment.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gdrive-webhook"));
        command
            .env_clear()
            .current_dir(self.home.path())
            .arg("--config")
            .arg(self.config_path())
            .args(arguments);
        if self.drive.tls_url().is_some() {
            command.env("SSL_CERT_FILE", TlsFiles::authority(self.home()));
        }
        command
    }

    pub(crate) async fn output(&self, arguments: &[&str]) -> Output {
        let mut command = self.command(arguments);
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }

    pub(crate) fn spawn(&mut self) {
        self.spawn_with(&[]);
    }

    /// Starts the daemon with these variables.
    pub(crate) fn spawn_with(&mut self, variables: &[(&str, &str)]) {
        let mut command = self.command(&["run"]);
        command.envs(variables.iter().copied());
        self.launch(command);
    }

    /// Starts the daemon from a shell that first does something, such as `ulimit`.
    pub(crate) fn spawn_after(&mut self, first: &str) {
        let daemon = self.command(&["run"]);
        let mut command = Command::new("/bin/sh");
        command.env_clear().current_dir(self.home.path());
        command.arg("-c").arg(format!("{first} && exec \"$0\" \"$@\""));
        command.arg(daemon.get_program()).args(daemon.get_args());
        self.launch(command);
    }

    fn launch(&mut self, mut command: Command) {
        assert!(self.daemon.is_none(), "the daemon runs already");
        let log = fs::File::options().create(true).append(true).open(self.home.path().join("log")).unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = if self.is_bound_by_modes { spawn_bound(command) } else { command.spawn() };
        self.daemon = Some(child.unwrap());
    }

    /// Starts the daemon by another command.
    pub(crate) fn spawn_command(&mut self, mut command: Command) {
        assert!(self.daemon.is_none(), "the daemon runs already");
        self.daemon = Some(command.spawn().unwrap());
    }

    /// Starts the daemon and waits until it says that it is ready.
    pub(crate) async fn start(&mut self) {
        self.spawn();
        self.until_ready().await;
    }

    pub(crate) async fn until_ready(&self) {
        self.until_ready_within(BOUND).await;
    }

    /// The same where many daemons start at once.
    pub(crate) async fn until_ready_within(&self, bound: Duration) {
        let url = format!("http://127.0.0.1:{}/readyz", self.private);
        let client = client();
        self.wait_for("the daemon is ready", bound, async || {
            client.get(&url).send().await.is_ok_and(|answer| answer.status().is_success())
        })
        .await;
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        let mut child = self.daemon.take().expect("the daemon runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let child = self.daemon.as_ref().expect("the daemon runs");
        rustix::process::kill_process(rustix::process::Pid::from_child(child), signal).unwrap();
    }

    /// SIGTERM, and the exit code; 143 if it came before anybody listened for it.
    pub(crate) async fn terminate(&mut self) -> i32 {
        self.signal(rustix::process::Signal::TERM);
        let ended = self.ended().await;
        ended.code().or(ended.signal().map(|signal| 128 + signal)).unwrap()
    }

    /// How the daemon ended, when it has.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let mut child = self.daemon.take().expect("the daemon runs");
        tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.daemon.as_mut().is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    /// The daemon's process id.
    pub(crate) fn pid(&self) -> u32 {
        self.daemon.as_ref().expect("the daemon runs").id()
    }

    /// Waits until the daemon has been killed, by itself or by anybody.
    pub(crate) async fn until_killed(&mut self) {
        let mut child = self.daemon.take().expect("the daemon runs");
        let ended = tokio::time::timeout(BOUND, async {
            loop {
                match child.try_wait().unwrap() {
                    Some(ended) => return ended,
                    None => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            }
        });
        let ended = ended.await.unwrap_or_else(|_| panic!("the daemon lives on\n{}", self.log()));
        assert_eq!(ended.signal(), Some(9), "{ended}");
    }

    /// Waits until the daemon has ended by itself, and gives its exit code.
    pub(crate) async fn until_ended(&mut self) -> i32 {
        let mut child = self.daemon.take().expect("the daemon runs");
        let ended = tokio::task::spawn_blocking(move || child.wait().unwrap());
        let ended = tokio::time::timeout(BOUND * 2, ended).await;
        let ended = ended.unwrap_or_else(|_| panic!("the daemon lives on\n{}", self.log()));
        ended.unwrap().code().expect("it was not killed")
    }

    /// Whether a daemon was started and not stopped by the test.
    pub(crate) fn has_daemon(&self) -> bool {
        self.daemon.is_some()
    }

    /// The most memory that the daemon had, in bytes.
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.home.path().join("log")).unwrap_or_default()
    }

    pub(crate) async fn status(&self) -> Value {
        let url = format!("http://127.0.0.1:{}/api/status", self.private);
        client().get(url).send().await.unwrap().json().await.unwrap()
    }

    /// Waits until it is so; with what the daemon said if it never is.
    pub(crate) async fn wait(&self, what: &str, condition: impl AsyncFn() -> bool) {
        self.wait_for(what, BOUND, condition).await;
    }

    pub(crate) async fn wait_for(&self, what: &str, bound: Duration, condition: impl AsyncFn() -> bool) {
        let began = Instant::now();
        while !condition().await {
            assert!(began.elapsed() < bound, "not within {bound:?}: {what}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) async fn wait_for_file(&self, name: &str) {
        let path = self.videos().join(name);
        self.wait(&format!("{name} is delivered"), async || path.exists()).await;
    }

    /// Waits until nothing is left to do.
    pub(crate) async fn wait_until_idle(&self) {
        self.wait("nothing is left to do", async || self.is_idle().await).await;
    }

    /// Whether the daemon answers and has nothing left to do.
    pub(crate) async fn is_idle(&self) -> bool {
        self.is_idle_but_for(0).await
    }

    /// The same if so many files may still wait for Drive to say their size and checksum.
    pub(crate) async fn is_idle_but_for(&self, unready: i64) -> bool {
        let url = format!("http://127.0.0.1:{}/api/status", self.private);
        let Ok(answer) = client().get(url).send().await else { return false };
        let Ok(status) = answer.json::<Value>().await else { return false };
        let count = |stage: &str| status["deliveries"][stage].as_i64().unwrap_or_default();
        count("unready") <= unready && ["pending", "downloading", "publishing"].map(count) == [0; 3]
    }

    /// Uploads a small video of the given size, whose bytes follow from the name.
    pub(crate) fn upload(&self, name: &str, size: u64) -> String {
        self.drive.upload(Upload::new(&self.inbox, name, content_of(name, size)))
    }

    /// Every file at the destination, as `path below it`, sorted. What is hidden is left out.
    pub(crate) fn delivered(&self) -> Vec<String> {
        let mut found = Vec::new();
        walk(&self.videos(), &self.videos(), &mut found);
        found.sort();
        found
    }

    /// Whether the file at the destination is what Drive has.
    pub(crate) fn assert_same(&self, name: &str, id: &str) {
        assert_eq!(sha256(&self.videos().join(name)), self.drive.content_sha256(id).unwrap(), "{name}");
    }

    pub(crate) fn parts(&self) -> Vec<PathBuf> {
        let hidden = self.videos().join(".gdrive-webhook");
        let paths = fs::read_dir(hidden).into_iter().flatten().map(|entry| entry.unwrap().path());
        paths.filter(|path| path.extension().is_some_and(|extension| extension == "part")).collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(mut child) = self.daemon.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
    }
}

/// Starts a program without the right to write where modes forbid it.
fn spawn_bound(mut command: Command) -> io::Result<Child> {
    if !rustix::process::geteuid().is_root() {
        return command.spawn();
    }
    // A thread gives up rights for itself and for what it starts.
    let thread = thread::spawn(move || {
        remove_capability_from_bounding_set(CapabilitySet::DAC_OVERRIDE)?;
        command.spawn()
    });
    thread.join().unwrap()
}

pub(crate) fn content_of(name: &str, size: u64) -> Content {
    let seed = name.bytes().fold(size, |seed, byte| seed.wrapping_mul(31).wrapping_add(u64::from(byte)));
    Content::pattern(seed, size)
}

pub(crate) fn sha256(path: &Path) -> String {
    use sha2::{Digest, Sha256};
    let mut file = fs::File::open(path).unwrap();
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = std::io::Read::read(&mut file, &mut buffer).unwrap();
        if read == 0 {
            return hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        }
        hasher.update(&buffer[..read]);
    }
}

/// It speaks to this machine only. What the system trusts is not read: that takes a debug build 30 to 50 ms.
pub(crate) fn client() -> reqwest::Client {
    gdrive_webhook::http::install_tls();
    reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn walk(root: &Path, directory: &Path, found: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for path in entries.map(|entry| entry.unwrap().path()) {
        let below = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        if below.starts_with('.') {
            continue;
        }
        if path.is_dir() { walk(root, &path, found) } else { found.push(below) }
    }
}

/// A port that is free and stays so while the daemon is down: below those that the system gives to connections.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    const FIRST: u16 = 11_000;
    const COUNT: u16 = 20_000;
    // Test runs side by side have process ids that follow each other; their ports do not.
    let offset = (std::process::id().wrapping_mul(2_503) % u32::from(COUNT)) as u16;
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
        let port = FIRST + (offset + step) % COUNT;
        if TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).is_ok() {
            return port;
        }
    }
}
