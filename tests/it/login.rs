//! OAuth: logging in, and what happens when a login dies.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};

use crate::world::{World, client, text};

async fn with_desktop_client() -> World {
    let world = World::new("[sync]\npoll = \"1s\"").await;
    fs::write(world.home().join("credentials.json"), world.drive.installed_client_json()).unwrap();
    world
}

/// Starts `login` and reads the address that it prints.
fn begin_login(world: &World) -> (Child, String, BufReader<std::process::ChildStdout>) {
    begin(world.command(&["login"]))
}

pub(crate) fn begin(mut command: Command) -> (Child, String, BufReader<std::process::ChildStdout>) {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut address = String::new();
    while !address.starts_with("http") {
        address.clear();
        assert_ne!(lines.read_line(&mut address).unwrap(), 0, "login prints an address");
    }
    (child, address.trim().to_owned(), lines)
}

pub(crate) async fn log_in(world: &World) {
    let (child, address, lines) = begin_login(world);
    let page = client().get(&address).send().await.unwrap();
    assert!(page.status().is_success(), "{}", page.status());
    let (code, said) = ended(child, lines).await;
    assert_eq!(code, Some(0), "{said}");
}

/// The exit code of `login`, and all that it printed after the address.
pub(crate) async fn ended(
    child: Child,
    mut lines: BufReader<std::process::ChildStdout>,
) -> (Option<i32>, String) {
    tokio::task::spawn_blocking(move || {
        // While its standard input is open: `login` must not need its end.
        let mut child = child;
        let input = child.stdin.take();
        let mut said = String::new();
        lines.read_to_string(&mut said).unwrap();
        let output = child.wait_with_output().unwrap();
        drop(input);
        (output.status.code(), said + &text(&output.stderr))
    })
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_by_callback_is_kept_privately_and_used() {
    let mut world = with_desktop_client().await;
    log_in(&world).await;
    let mode = fs::metadata(world.home().join("token.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    world.start().await;
    world.upload("film.mp4", 1_000);
    world.wait_for_file("film.mp4").await;
    assert!(!world.log().contains("refresh_token"), "no secret is logged");
}

/// Directives for every library that sees a token, and for some of their parts.
const EVERYTHING: &str = "trace,hyper=trace,hyper_util=trace,reqwest=trace,h2=trace,rustls=trace,yup_oauth2=trace,\
                          yup_oauth2::service_account=trace,hyper::proto=trace,log=trace,axum=trace,tower=trace,[delivery]=trace";

#[tokio::test(flavor = "multi_thread")]
async fn no_level_makes_libraries_write_secrets() {
    for has_user in [true, false] {
        let mut world = if has_user { with_desktop_client().await } else { World::new("").await };
        if has_user {
            log_in(&world).await;
        }
        world.replace_config("level = \"debug\"", &format!("level = \"{EVERYTHING}\""));
        world.spawn_with(&[("RUST_LOG", EVERYTHING)]);
        world.until_ready().await;
        world.upload("film.mp4", 1_000);
        world.wait_for_file("film.mp4").await;
        let log = world.log();
        assert!(log.contains("libraries see tokens and keys") && log.contains("\"DEBUG\""), "{log}");
        let token = fs::read_to_string(world.home().join("token.json")).unwrap_or_default();
        let token: serde_json::Value = serde_json::from_str(&token).unwrap_or_default();
        let key: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(world.home().join("credentials.json")).unwrap())
                .unwrap();
        let secrets = [&token["refresh_token"], &key["installed"]["client_secret"], &key["private_key"]];
        let secrets = secrets.into_iter().filter_map(|secret| secret.as_str()).map(str::to_owned);
        // What access tokens and assertions begin with.
        let words = ["ya29.", "assertion=", "eyJhbGciOi", "Bearer ", "grant_type=", "PRIVATE KEY"];
        for secret in secrets.chain(words.map(str::to_owned)) {
            let line = log.lines().find(|line| line.contains(&secret));
            assert!(line.is_none(), "{secret} is logged: {line:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_by_pasted_address_works_without_a_browser_here() {
    let world = with_desktop_client().await;
    let (mut child, address, _lines) = begin_login(&world);
    let elsewhere =
        reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let answer = elsewhere.get(&address).send().await.unwrap();
    let redirect = answer.headers()["location"].to_str().unwrap().to_owned();
    writeln!(child.stdin.take().unwrap(), "{redirect}").unwrap();
    let output = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(world.home().join("token.json").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_login_is_said_once_and_heals_without_a_restart() {
    let mut world = with_desktop_client().await;
    log_in(&world).await;
    world.start().await;
    world.drive.revoke_refresh_tokens();
    world.drive.expire_access_tokens();
    world
        .wait("the status says so", async || {
            world.status().await["not_ready"].to_string().contains("login needed")
        })
        .await;
    world.upload("meanwhile.mp4", 1_000);
    let asked = world.drive.count("token");
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert!(world.is_running());
    assert_eq!(world.drive.count("token"), asked, "a dead login is not tried again and again");
    let log = world.log();
    let errors = log
        .lines()
        .filter(|line| line.contains("\"ERROR\"") && line.contains("Drive cannot be read"))
        .count();
    assert_eq!(errors, 1, "{log}");
    log_in(&world).await;
    world.wait_for_file("meanwhile.mp4").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_login_the_commands_end_with_77_and_the_daemon_waits() {
    let mut world = with_desktop_client().await;
    let sync = world.output(&["sync"]).await;
    assert_eq!(sync.status.code(), Some(77), "{}", text(&sync.stderr));
    assert!(text(&sync.stderr).contains("gdrive-webhook login"));
    assert!(
        text(&sync.stdout).contains("waiting or failed; Drive could not be read"),
        "{}",
        text(&sync.stdout)
    );
    world.spawn();
    world.wait("the log says what to do", async || world.log().contains("run `gdrive-webhook login`")).await;
    assert!(world.is_running());
    log_in(&world).await;
    world.until_ready().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authorized_user_file_works_as_it_is() {
    let mut world = World::new("").await;
    fs::write(world.home().join("credentials.json"), world.drive.authorized_user_json()).unwrap();
    world.start().await;
    world.upload("film.mp4", 1_000);
    world.wait_for_file("film.mp4").await;
}
