//! The client against sessions of HTTP/2 that fall silent, go away, and reset their streams.

use drive_emulator::{Action, Emulator, Fault, Options, StreamError, TlsFiles};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::*;

/// Shorter than anything here takes on a slow machine would be too short.
const SOON: Duration = Duration::from_millis(500);
const START: &str = "changes.getStartPageToken";

struct World {
    drive: Emulator,
    api: Api,
    _home: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        crate::http::install_tls();
        let home = tempfile::tempdir().unwrap();
        let tls = TlsFiles::make(home.path(), &["127.0.0.1".to_owned()]).unwrap();
        let drive = Emulator::start(Options { tls: Some(tls), ..Options::default() }).await.unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(TlsFiles::authority(home.path())).unwrap()).unwrap();
        let mut tls = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let api = Api::new(Recipe { tls, proxies: Proxies::none() }).unwrap();
        Self { drive, api, _home: home }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}{path}", self.drive.tls_url().unwrap());
        self.api.request(method, &url).bearer_auth(self.drive.access_token())
    }

    fn start(&self) -> RequestBuilder {
        self.request(Method::GET, "/drive/v3/changes/startPageToken")
    }

    async fn read(&self, request: RequestBuilder) -> Result<Answer, Error> {
        self.api.send(request, ANSWER_LIMIT, Repeat::Reads).await
    }

    fn fail(&self, times: u32, action: Action) {
        self.drive.fail(Fault::times(START, times, action));
    }

    /// The connections of all requests so far, in their order.
    fn connections(&self) -> Vec<u64> {
        let requests = self.drive.requests();
        assert!(requests.iter().all(|request| request.http_version == "HTTP/2.0"), "{requests:?}");
        requests.iter().map(|request| request.connection).collect()
    }
}

#[tokio::test]
async fn a_session_that_went_silent_is_not_used_again() {
    let world = World::new().await;
    assert!(world.read(world.start()).await.unwrap().status.is_success());
    world.fail(1, Action::Silence);
    let error = world.read(world.start().timeout(SOON)).await.unwrap_err();
    assert!(error.is_timeout(), "{error:?}");
    for _ in 0..2 {
        assert!(world.read(world.start()).await.unwrap().status.is_success());
    }
    assert_eq!(world.connections(), [1, 1, 2, 2]);
}

#[tokio::test]
async fn a_body_that_stalls_gives_the_session_up_too() {
    let world = World::new().await;
    world.fail(1, Action::StallAfter { bytes: 5 });
    let error = world.read(world.start().timeout(SOON)).await.unwrap_err();
    assert!(error.is_timeout(), "{error:?}");
    assert!(world.read(world.start()).await.unwrap().status.is_success());
    assert_eq!(world.connections(), [1, 2]);
}

#[tokio::test]
async fn calls_that_are_under_way_stay_on_a_session_that_was_given_up() {
    let world = World::new().await;
    assert!(world.read(world.start()).await.unwrap().status.is_success());
    world.fail(1, Action::Delay { milliseconds: 4 * SOON.as_millis() as u64 });
    world.fail(2, Action::StallAfter { bytes: 0 });
    let slow = world.read(world.start());
    let others = async {
        tokio::time::sleep(SOON / 2).await;
        let timed_out =
            tokio::join!(world.read(world.start().timeout(SOON)), world.read(world.start().timeout(SOON)));
        assert!(timed_out.0.is_err_and(|error| error.is_timeout()));
        assert!(timed_out.1.is_err_and(|error| error.is_timeout()));
        assert!(world.read(world.start()).await.unwrap().status.is_success());
    };
    let (slow, ()) = tokio::join!(slow, others);
    assert!(slow.unwrap().status.is_success());
    assert_eq!(world.connections(), [1, 1, 1, 1, 2], "two failures give one session up once");
}

#[tokio::test]
async fn a_session_that_goes_away_fails_no_call() {
    let world = World::new().await;
    for _ in 0..20 {
        world.fail(1, Action::GoAway);
        assert!(world.read(world.start()).await.unwrap().status.is_success());
    }
    world.fail(1, Action::ResetStream { error: StreamError::RefusedStream, after: None });
    assert!(world.read(world.start()).await.unwrap().status.is_success());
    assert!(world.connections().last() > Some(&1));
}

#[tokio::test]
async fn a_call_whose_stream_is_reset_is_made_once_more_over_another_session() {
    let world = World::new().await;
    for (number, after) in [(1, None), (2, Some(5))] {
        world.fail(1, Action::ResetStream { error: StreamError::InternalError, after });
        assert!(world.read(world.start()).await.unwrap().status.is_success());
        assert_eq!(world.connections().last(), Some(&(number + 1)));
    }
    world.fail(1, Action::CutAfter { bytes: 5 });
    assert!(world.read(world.start()).await.unwrap().status.is_success());
    assert_eq!(world.connections(), [1, 2, 2, 3, 3, 4]);
    world.fail(2, Action::reset_stream());
    let error = world.read(world.start()).await.unwrap_err();
    assert!(
        error.is_of_connection() && with_causes(&error).contains("internal error"),
        "{}",
        with_causes(&error)
    );
    assert_eq!(world.drive.requests().len(), 8, "once more, not for ever");
}

#[tokio::test]
async fn what_opens_something_is_asked_for_once_unless_twice_does_no_harm() {
    let world = World::new().await;
    let post = || world.request(Method::POST, "/token").form(&[("grant_type", "none")]);
    world.drive.fail(Fault::once("token", Action::reset_stream()));
    assert!(world.read(post()).await.unwrap_err().is_of_connection());
    world.drive.fail(Fault::once("token", Action::reset_stream()));
    let answer = world.api.send(post(), ANSWER_LIMIT, Repeat::Always).await.unwrap();
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(world.connections(), [1, 2, 3]);
}

#[tokio::test]
async fn what_comes_out_of_a_compressed_answer_is_limited() {
    let world = World::new().await;
    world.fail(1, Action::Bomb { megabytes: 64 });
    let error = world.read(world.start()).await.unwrap_err();
    assert!(matches!(error, Error::TooLong(ANSWER_LIMIT)), "{error:?}");
    world.fail(1, Action::Bomb { megabytes: 2 });
    let answer = world.api.send(world.start(), 3 << 20, Repeat::Reads).await.unwrap();
    assert!(answer.body.len() > 2 << 20);
    world.fail(2, Action::Bomb { megabytes: 64 });
    let refused = world.request(Method::GET, "/drive/v3/changes/startPageToken?supportsAllDrives=maybe");
    let answer = world.read(refused).await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.body.len()), (400, ERROR_LIMIT));
}

#[tokio::test]
async fn calls_are_not_led_to_another_host() {
    let world = World::new().await;
    world.fail(1, Action::redirect("/drive/v3/changes/startPageToken?supportsAllDrives=true"));
    assert!(world.read(world.start()).await.unwrap().status.is_success());
    for (code, location) in
        [(302, world.drive.url()), (307, format!("http://localhost:{}", world.drive.port()))]
    {
        world.drive.clear_requests();
        world.drive.fail(Fault::once("token", Action::Redirect { code, location }));
        let post = world.request(Method::POST, "/token").form(&[("refresh_token", "secret")]);
        let error = world.api.send(post, ANSWER_LIMIT, Repeat::Always).await.unwrap_err();
        assert!(with_causes(&error).contains("redirected to another host"), "{}", with_causes(&error));
        assert_eq!(world.drive.requests().len(), 1, "nobody else sees it, and it is not asked again");
    }
}
