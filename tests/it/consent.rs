//! `login` and whoever else answers it: strangers, wrong pastes, a user who denies, browsers, containers.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::{Command, Output};
use std::time::Duration;

use drive_emulator::{Action, Fault};
use reqwest::{Client, Method, Url};

use crate::login::{begin, ended};
use crate::world::{World, client, text};

const BEN: &str = "ben@example.com";

async fn with_desktop_client() -> World {
    let world = World::new("[sync]\npoll = \"1s\"").await;
    fs::write(world.home().join("credentials.json"), world.drive.installed_client_json()).unwrap();
    world
}

fn value(address: &str, key: &str) -> String {
    let url = Url::parse(address).unwrap();
    url.query_pairs().find(|(name, _)| name == key).map(|(_, value)| value.into_owned()).unwrap()
}

/// Where Google would send the browser, without sending it there.
async fn redirect(address: &str) -> String {
    client();
    let staying = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let answer = staying.get(address).send().await.unwrap();
    answer.headers()["location"].to_str().unwrap().to_owned()
}

async fn page(address: &str) -> (u16, String) {
    let answer = client().get(address).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

/// A `login` that is to end without an answer, and not to wait for one for ever.
async fn without_answer(world: &World, arguments: &[&str]) -> Output {
    let login = world.command(arguments);
    let mut command = Command::new("timeout");
    command.env_clear().current_dir(world.home()).arg("20").arg(login.get_program()).args(login.get_args());
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn stray_and_forged_requests_neither_end_a_login_nor_reach_the_terminal() {
    let world = with_desktop_client().await;
    let (child, address, lines) = begin(world.command(&["login"]));
    let (callback, state) = (value(&address, "redirect_uri"), value(&address, "state"));
    for forged in [
        "/favicon.ico",
        "/",
        "/?code=forged",
        "/?code=forged&state=",
        "/?code=forged&state=wrong",
        "/?error=access_denied",
        "/?error=access_denied&state=wrong",
        "/?error=%1b%5d0%3bforged%07&state=wrong",
        &format!("/?state={state}"),
        &format!("/favicon.ico?error=access_denied&state={state}"),
    ] {
        let (status, said) = page(&format!("{callback}{forged}")).await;
        assert_eq!((status, said.contains("this address is not one")), (404, true), "{forged}: {said}");
    }
    let head = client().request(Method::HEAD, format!("{callback}/?code=forged&state={state}"));
    assert_eq!(head.send().await.unwrap().status(), 404, "who only looks does not answer");
    let (status, said) = page(&address).await;
    assert_eq!((status, said.contains("<h1>Logged in</h1>")), (200, true), "{said}");
    let (code, said) = ended(child, lines).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains("forged") && !said.contains('\u{1b}'), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denial_and_an_error_of_googles_are_told_to_the_browser_and_to_the_terminal() {
    let world = with_desktop_client().await;
    for (reason, in_browser, in_terminal) in [
        (
            "access_denied",
            "<h1>Access denied</h1>",
            "the login failed: the access was denied on Google's page",
        ),
        (
            "\u{1b}]0;title\u{7}odd\nword",
            "<h1>Not logged in</h1>",
            "Google answers ]0;title odd word, and nothing was stored",
        ),
        ("admin_policy_enforced", "<h1>Not logged in</h1>", "an administrator of the Workspace has to allow"),
    ] {
        let action =
            Action::Status { code: 403, reason: reason.to_owned(), message: None, retry_after: None };
        world.drive.fail(Fault::once("auth", action));
        let (child, address, lines) = begin(world.command(&["login"]));
        let (status, said) = page(&address).await;
        assert_eq!((status, said.contains(in_browser)), (200, true), "{reason:?}: {said}");
        let (code, said) = ended(child, lines).await;
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(in_terminal) && !said.contains('\u{1b}'), "{said}");
        assert!(!world.home().join("token.json").exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_browser_is_told_when_the_login_cannot_be_completed() {
    let world = with_desktop_client().await;
    let action =
        Action::Status { code: 401, reason: "invalid_client".to_owned(), message: None, retry_after: None };
    world.drive.fail(Fault::once("token", action));
    let (child, address, lines) = begin(world.command(&["login"]));
    let (_, said) = page(&address).await;
    assert!(said.contains("<h1>Not logged in</h1>"), "{said}");
    let (code, said) = ended(child, lines).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("invalid_client") && said.contains("download its JSON again"), "{said}");
    assert!(!world.home().join("token.json").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_wrong_paste_is_told_and_the_right_one_still_counts() {
    let world = with_desktop_client().await;
    let (mut child, address, lines) = begin(world.command(&["login"]));
    let right = redirect(&address).await;
    let other = right.replace(&value(&address, "state"), "of-another-login");
    let cut = format!("{}/?state={}", value(&address, "redirect_uri"), value(&address, "state"));
    let mut input = child.stdin.take().unwrap();
    for line in ["", "4/0AcodeAlone", &address, &other, &cut, &right] {
        writeln!(input, "{line}").unwrap();
    }
    child.stdin = Some(input);
    let (code, said) = ended(child, lines).await;
    assert_eq!(code, Some(0), "{said}");
    for told in [
        "That is not the address that the browser ended on",
        "That is the address to open in the browser",
        "That address belongs to another login",
        "That address is not complete",
    ] {
        assert_eq!(said.matches(told).count(), 1, "{told}: {said}");
    }
    assert!(world.home().join("token.json").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn whichever_answer_comes_first_counts_and_the_other_is_told_so() {
    let world = with_desktop_client().await;
    world.drive.fail(Fault::once("token", Action::AnswerLate { milliseconds: 1_000 }));
    let (mut child, address, lines) = begin(world.command(&["login"]));
    let (pasted, called) = (redirect(&address).await, redirect(&address).await);
    writeln!(child.stdin.as_mut().unwrap(), "{pasted}").unwrap();
    world.wait("the code is exchanged", async || world.drive.count("token") == 1).await;
    let (_, said) = page(&called).await;
    assert!(said.contains("<h1>Logged in</h1>"), "{said}");
    let (code, said) = ended(child, lines).await;
    assert_eq!((code, world.drive.count("token")), (Some(0), 2), "one exchange, one refresh: {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_is_interrupted_says_that_nothing_was_stored() {
    let world = with_desktop_client().await;
    for signal in [rustix::process::Signal::INT, rustix::process::Signal::TERM] {
        let (child, _, lines) = begin(world.command(&["login"]));
        rustix::process::kill_process(rustix::process::Pid::from_child(&child), signal).unwrap();
        let (code, said) = ended(child, lines).await;
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("the login failed: it was interrupted, and nothing was stored"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_container_the_callback_listens_where_it_is_told_to() {
    let world = with_desktop_client().await;
    let listen = format!("0.0.0.0:{}", world.public);
    let (child, address, lines) = begin(world.command(&["login", "--listen", &listen]));
    assert_eq!(value(&address, "redirect_uri"), format!("http://127.0.0.1:{}", world.public));
    let taken = without_answer(&world, &["login", "--listen", &listen]).await;
    let said = text(&taken.stderr);
    assert_eq!(taken.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("cannot listen on {listen} (--listen)")), "{said}");
    page(&address).await;
    let (code, said) = ended(child, lines).await;
    assert_eq!(code, Some(0), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_is_opened_where_there_is_one() {
    let world = with_desktop_client().await;
    let tools = world.home().join("tools");
    fs::create_dir(&tools).unwrap();
    let opened = world.home().join("opened");
    // One that cannot, and one that can.
    for (name, script) in [
        ("xdg-open", "#!/bin/sh\nexit 3\n".to_owned()),
        ("gio", format!("#!/bin/sh\necho \"$@\" > {0}.new && mv {0}.new {0}\n", opened.display())),
    ] {
        fs::write(tools.join(name), script).unwrap();
        fs::set_permissions(tools.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = format!("{}:/usr/bin:/bin", tools.display());
    for (arguments, variables, expected) in [
        (&["login"][..], &[("DISPLAY", ":0")][..], Some("open ")),
        (&["login"], &[("BROWSER", "gio --new=%s")], Some("--new=")),
        (&["login", "--no-browser"], &[("DISPLAY", ":0")], None),
        (&["login"], &[("DISPLAY", ":0"), ("SUDO_USER", "ann")], None),
        (&["login"], &[], None),
    ] {
        let mut command = world.command(arguments);
        command.env("PATH", &path).envs(variables.iter().copied());
        let (mut child, address, _lines) = begin(command);
        if let Some(before) = expected {
            world.wait("a browser is opened", async || opened.exists()).await;
            let with = fs::read_to_string(&opened).unwrap();
            assert_eq!(with.trim(), format!("{before}{address}"));
            fs::remove_file(&opened).unwrap();
        } else {
            tokio::time::sleep(Duration::from_millis(300)).await;
            assert!(!opened.exists(), "{arguments:?} {variables:?}");
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_says_who_has_logged_in_and_what_that_account_sees() {
    let mut world = with_desktop_client().await;
    world.add_config("[[folder]]\nid = \"1NobodyHasSharedThis\"\ndestination = \"other\"");
    world.drive.user(BEN);
    for (account, expected) in [
        (None, format!("This account can use 1 of 2 watched folders:\n  Inbox ({})\n", world.inbox)),
        (Some(BEN), "This account can use none of the watched folders:\n".to_owned()),
    ] {
        if let Some(account) = account {
            world.drive.consent_as(account);
        }
        let (child, address, lines) = begin(world.command(&["login"]));
        page(&address).await;
        let (code, said) = ended(child, lines).await;
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains(&expected), "{said}");
        assert!(said.contains("  1NobodyHasSharedThis is not visible: share it with "), "{said}");
        if let Some(account) = account {
            let told = format!("  {} is not visible: share it with {account}", world.inbox);
            assert!(said.contains(&format!("Logged in as {account}.")) && said.contains(&told), "{said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_the_daemon_could_not_read_is_refused_before_anybody_is_asked() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let world = with_desktop_client().await;
    fs::write(world.home().join("state.db"), "").unwrap();
    chown(world.home().join("state.db"), Some(54_321), None).unwrap();
    let login = without_answer(&world, &["login"]).await;
    let said = text(&login.stderr);
    assert_eq!(login.status.code(), Some(78), "{said}");
    assert!(said.contains("would belong to root, and the daemon, which runs as 54321"), "{said}");
    assert!(said.contains("sudo -u 54321 gdrive-webhook login"), "{said}");
    assert!(!text(&login.stdout).contains("http"), "{}", text(&login.stdout));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_login_is_told_before_and_after_it_has_come() {
    let mut world = with_desktop_client().await;
    world.drive.set_refresh_token_lifetime(Some(Duration::from_hours(7 * 24)));
    crate::login::log_in(&world).await;
    world.start().await;
    let status = world.status().await;
    assert!(status["login"]["ends_at"].is_string() && status["login"]["warning"].is_null(), "{status}");
    world.drive.set_refresh_token_lifetime(Some(Duration::from_hours(30)));
    crate::login::log_in(&world).await;
    let said = text(&world.output(&["status"]).await.stdout);
    assert!(said.contains("the login ends in 29 hours") && said.contains(": ready"), "{said}");
    assert!(said.contains("In production"), "{said}");
    world.drive.set_refresh_token_lifetime(Some(Duration::from_secs(2)));
    crate::login::log_in(&world).await;
    world
        .wait("the status says that it is over", async || {
            world.drive.expire_access_tokens();
            world.status().await["not_ready"].to_string().contains("limited time, which is over")
        })
        .await;
}
