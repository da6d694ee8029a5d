//! The admin address as a program on this machine sees it.

use std::fs;
use std::path::Path;

use axum::body::{Body, to_bytes};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tower_service::Service;

use super::*;
use crate::auth::{self, Auth};
use crate::http::Http;
use crate::model::channel::Known;
use crate::model::{Delivery, Stage};
use crate::store::{self, Access};
use crate::task::{Activation, Next as After, Outcome, Status, Step, Wakeups, run, status_board, wake_up};

/// Says the same each time.
struct Saying(Outcome);

impl Step for Saying {
    async fn step(&mut self, _: Activation) -> After {
        After { due: None, settle: Duration::ZERO, outcome: self.0.clone() }
    }
}

struct Door {
    router: Router,
    store: Store,
    sync: watch::Sender<Status>,
    _woken: Wakeups,
    _home: tempfile::TempDir,
}

/// An admin address whose engine for the configuration says `outcome`, or has ended.
async fn door(token: Option<&str>, outcome: Option<Outcome>) -> Door {
    crate::http::install_tls();
    let home = tempfile::tempdir().unwrap();
    let config = store::Config { url: format!("sqlite:{}", home.path().join("state.db").display()) };
    let store = Store::open(&config, Access::Exclusive).await.unwrap();
    let sync = status_board();
    let http = Arc::new(Http::new(Duration::from_secs(1)).unwrap());
    let live = Live {
        started: Timestamp::UNIX_EPOCH,
        address: watch::channel(Known::Nowhere).1,
        followers: [status_board().subscribe(), status_board().subscribe()],
        sync: sync.subscribe(),
        keeper: status_board().subscribe(),
        deliveries: status_board().subscribe(),
        auditor: status_board().subscribe(),
        audits: crate::audit::Desk::new(wake_up().0),
        notifications: Arc::default(),
        registry: Arc::default(),
        connections: Vec::new(),
        transfers: Arc::default(),
        holds: Arc::default(),
        auth: auth(home.path(), &http),
        http,
    };
    let (configuration, wakeups) = wake_up();
    if let Some(outcome) = outcome {
        tokio::spawn(async move {
            run(wakeups, status_board(), CancellationToken::new(), &mut Saying(outcome)).await;
        });
    }
    let (deliveries, woken) = wake_up();
    let wakes = Wakes { configuration, deliveries };
    Door {
        router: router(store.clone(), live, wakes, Challenges::default(), token),
        store,
        sync,
        _woken: woken,
        _home: home,
    }
}

/// Credentials that nothing is asked for with.
fn auth(home: &Path, http: &Http) -> Arc<Auth> {
    let credentials = home.join("credentials.json");
    std::fs::write(&credentials, r#"{"client_id":"c","client_secret":"s","refresh_token":"r"}"#).unwrap();
    let config = auth::Config { credentials: Some(credentials), ..auth::Config::default() };
    Arc::new(Auth::load(&config, http).unwrap())
}

impl Door {
    async fn answer(&mut self, method: &str, path: &str, headers: &[(&str, &str)]) -> (u16, String) {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = self.router.call(request.body(Body::empty()).unwrap()).await.unwrap();
        let status = answer.status().as_u16();
        let body = to_bytes(answer.into_body(), 1 << 20).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn get(&mut self, path: &str) -> (u16, String) {
        self.answer("GET", path, &[]).await
    }
}

#[tokio::test]
async fn it_says_whether_it_is_alive_ready_and_why_not() {
    let mut door = door(None, None).await;
    assert_eq!(door.get("/livez").await, (200, "ok\n".to_owned()));
    let (status, said) = door.get("/readyz").await;
    assert_eq!((status, said.starts_with("not ready\nthe first listing")), (503, true), "{said}");
    door.sync.send_modify(|status| status.outcome = Some(Ok(String::new())));
    assert_eq!(door.get("/readyz").await, (200, "ready\n".to_owned()));
    let (status, report) = door.get("/api/status").await;
    let report: status::Report = serde_json::from_str(&report).unwrap();
    assert_eq!((status, report.process.unwrap().pid), (200, std::process::id()));
    door.store.close().await;
    let (status, said) = door.get("/readyz").await;
    assert_eq!((status, said.contains("the database cannot be read")), (503, true), "{said}");
    let (status, said) = door.get("/api/status").await;
    assert_eq!((status, said.contains("the database cannot be read; see the log")), (500, true), "{said}");
}

#[tokio::test]
async fn without_the_token_only_the_health_checks_answer() {
    let mut door = door(Some("secret"), None).await;
    for headers in [
        &[][..],
        &[("authorization", "Bearer wrong")],
        &[("authorization", "Bearer ")],
        &[("authorization", "secret")],
        &[("authorization", "Basic secret")],
    ] {
        for (method, path) in [
            ("GET", "/api/status"),
            ("POST", "/api/reload"),
            ("GET", "/api/deliveries"),
            ("POST", "/api/deliveries/x/retry"),
            ("POST", "/api/deliveries/x/redeliver"),
            ("POST", "/api/deliveries/failed/retry"),
            ("POST", "/api/deliveries/skipped/retry"),
        ] {
            assert_eq!(door.answer(method, path, headers).await.0, 401, "{path} {headers:?}");
        }
    }
    assert_eq!((door.get("/livez").await.0, door.get("/readyz").await.0), (200, 503));
    let headers = [("authorization", "Bearer secret"), ("host", "videos.example.com")];
    assert_eq!(door.answer("GET", "/api/status", &headers).await.0, 200);
}

#[tokio::test]
async fn a_page_of_another_site_is_refused() {
    let mut door = door(None, Some(Ok("unchanged".to_owned()))).await;
    let (status, said) = door.answer("GET", "/api/status", &[("host", "evil.example")]).await;
    assert_eq!((status, said.contains("\"evil.example\"")), (403, true), "{said}");
    let page = [("host", "127.0.0.1:8081"), ("origin", "http://evil.example")];
    assert_eq!(door.answer("POST", "/api/reload", &page).await.0, 403);
    assert_eq!(door.answer("POST", "/api/reload", &page[..1]).await.0, 200);
}

#[tokio::test]
async fn deliveries_are_shown_and_brought_again() {
    let mut door = door(None, None).await;
    door.store.put_bare_folder().await;
    for (number, (id, stage)) in
        [("a", Stage::Failed), ("b", Stage::Skipped), ("c", Stage::Done), ("d", Stage::Failed)]
            .into_iter()
            .enumerate()
    {
        door.store.put_bare(id, "/nowhere", number as i64, stage).await;
    }
    let shown = async |door: &mut Door, query: &str| {
        let (status, text) = door.get(&format!("/api/deliveries{query}")).await;
        assert_eq!(status, 200, "{text}");
        serde_json::from_str::<deliveries::HistoryReport>(&text).unwrap()
    };
    assert_eq!(shown(&mut door, "").await.deliveries.len(), 4);
    let failed = shown(&mut door, "?failed=true&limit=1").await;
    assert_eq!((failed.deliveries.len(), failed.deliveries[0].id.as_str()), (1, "d"));
    let next = shown(&mut door, &format!("?failed=true&before={}", failed.next.unwrap())).await;
    assert_eq!((next.deliveries.len(), next.deliveries[0].id.as_str()), (1, "a"));
    for wrong in ["?limit=many", "?before=yesterday", "?failed=perhaps"] {
        assert_eq!(door.get(&format!("/api/deliveries{wrong}")).await.0, 400, "{wrong}");
    }
    for (path, status, said) in [
        ("a/retry", 200, "n is in the queue again"),
        ("c/retry", 409, "it was delivered; `gdrive-webhook redeliver c`"),
        ("x/retry", 404, "no file in the history has the id x"),
        ("%2e%2e%2fx/retry", 404, "no file in the history has the id ../x"),
        ("b/redeliver", 409, "it was not delivered; `gdrive-webhook retry b`"),
        ("c/redeliver", 200, "n is in the queue again"),
        ("x/redeliver", 404, "no file in the history has the id x"),
        ("failed/retry", 200, "1 file that failed is in the queue again"),
        ("skipped/retry", 200, "1 file that was skipped is in the queue again"),
    ] {
        let path = format!("/api/deliveries/{path}");
        assert_eq!(door.get(&path).await.0, 405, "{path}");
        let (answered, text) = door.answer("POST", &path, &[]).await;
        assert!(answered == status && text.contains(said), "{path}: {answered} {text}");
    }
    assert_eq!(door.store.counts().await.unwrap()["pending"], 4);
    door.store.close().await;
    let (status, said) = door.get("/api/deliveries").await;
    assert_eq!((status, said.contains("the database cannot be read")), (500, true), "{said}");
}

#[tokio::test]
async fn no_name_begins_a_line_of_the_readiness_answer() {
    let door = door(None, None).await;
    door.store.put_bare_folder().await;
    door.store.put_bare("a", "/nowhere", 1, Stage::Failed).await;
    let (_, failed) = door.store.given_up().await.unwrap().unwrap();
    let hostile = Delivery { name: "a\nready\u{1b}[2J".to_owned(), reason: Some("b\n".to_owned()), ..failed };
    let said = deliveries::failed(1, &hostile);
    assert!(!said.contains(char::is_control), "{said:?}");
}

#[tokio::test]
async fn a_reload_is_answered_with_what_came_of_it() {
    for (outcome, expected) in [
        (Some(Ok("unchanged".to_owned())), (200, "unchanged\n")),
        (Some(Err("line 3 is wrong".to_owned())), (422, "line 3 is wrong\n")),
        (None, (503, "the daemon is stopping\n")),
    ] {
        let mut door = door(None, outcome).await;
        let (status, said) = door.answer("POST", "/api/reload", &[]).await;
        assert_eq!((status, said.as_str()), expected);
    }
}

#[test]
fn the_token_is_the_text_of_its_file() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("token");
    let config = Config { token_file: Some(file.clone()), ..Config::default() };
    assert_eq!(Config::default().token().unwrap(), None);
    let missing = config.token().unwrap_err().to_string();
    assert!(missing.contains(&format!("admin.token_file {}", file.display())), "{missing}");
    fs::write(&file, "  secret\n").unwrap();
    assert_eq!(config.token().unwrap().as_deref(), Some("secret"));
    fs::write(&file, " \n").unwrap();
    assert!(config.token().unwrap_err().to_string().ends_with("is empty"));
}

#[test]
fn without_settings_it_listens_on_loopback_with_connections_of_its_own() {
    assert_eq!(Config::default().listen.to_string(), "127.0.0.1:8081");
    let limits = limits();
    assert_eq!((limits.name, limits.connections), ("admin", share(process::open_files_limit())));
    assert_eq!([0, 160, 800, 1 << 20].map(share), [8, 10, 50, 64]);
}
