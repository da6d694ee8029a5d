//! A client that speaks plain HTTP, and a receiver of notifications.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use drive_emulator::{Emulator, Options, TlsFiles, User};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// A running emulator and somebody who may use it.
pub(crate) struct Drive {
    pub(crate) emulator: Emulator,
    pub(crate) http: reqwest::Client,
    token: String,
}

pub(crate) async fn drive() -> Drive {
    drive_with(Options { notification_retry: Duration::from_millis(20), ..Options::default() }).await
}

pub(crate) async fn drive_with(options: Options) -> Drive {
    let emulator = Emulator::start(options).await.unwrap();
    let http =
        reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let token = emulator.access_token();
    Drive { emulator, http, token }
}

/// An emulator that serves https as well, and the certificate that its clients trust.
pub(crate) struct TlsDrive {
    pub(crate) drive: Drive,
    pub(crate) url: String,
    trusted: reqwest::Certificate,
    directory: PathBuf,
}

pub(crate) async fn tls_drive(name: &str) -> TlsDrive {
    let directory = std::env::temp_dir().join(format!("drive-emulator-{name}-{}", std::process::id()));
    let tls = TlsFiles::make(&directory, &["127.0.0.1".to_owned()]).unwrap();
    let authority = std::fs::read(TlsFiles::authority(&directory)).unwrap();
    let drive = drive_with(Options { tls: Some(tls), ..Options::default() }).await;
    let url = drive.emulator.tls_url().unwrap();
    TlsDrive { drive, url, trusted: reqwest::Certificate::from_pem(&authority).unwrap(), directory }
}

impl TlsDrive {
    /// A client with connections of its own.
    pub(crate) fn client(&self) -> reqwest::ClientBuilder {
        reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .tls_certs_only([self.trusted.clone()])
            .timeout(Duration::from_secs(10))
    }

    /// A GET with credentials over https.
    pub(crate) fn get(&self, client: &reqwest::Client, path: &str) -> reqwest::RequestBuilder {
        client.get(format!("{}{path}", self.url)).bearer_auth(&self.drive.token)
    }
}

impl Drop for TlsDrive {
    fn drop(&mut self) {
        // It was made by this process, and nobody else looks into it.
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

impl Drive {
    /// The same emulator, asked by another account.
    pub(crate) fn by(&self, user: &User) -> Self {
        Self { emulator: self.emulator.clone(), http: self.http.clone(), token: user.access_token() }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.emulator.url())
    }

    /// A request with credentials.
    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, self.url(path)).bearer_auth(&self.token).timeout(Duration::from_secs(10))
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        answer(self.request(Method::GET, path).send().await.unwrap()).await
    }

    /// A GET that must succeed.
    pub(crate) async fn ok(&self, path: &str) -> Value {
        let (status, body) = self.get(path).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    /// A GET that must be refused: status and reason.
    pub(crate) async fn refused(&self, path: &str) -> (u16, String) {
        let (status, body) = self.get(path).await;
        (status, body["error"]["errors"][0]["reason"].as_str().unwrap_or_default().to_owned())
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        answer(self.request(Method::POST, path).json(body).send().await.unwrap()).await
    }

    pub(crate) async fn control(&self, method: Method, path: &str, body: &Value) -> (u16, Value) {
        answer(self.http.request(method, self.url(path)).json(body).send().await.unwrap()).await
    }

    pub(crate) async fn media(&self, id: &str, range: Option<&str>) -> reqwest::Response {
        let request = self.request(Method::GET, &format!("/drive/v3/files/{id}?alt=media"));
        let request = if let Some(range) = range { request.header("range", range) } else { request };
        request.send().await.unwrap()
    }

    pub(crate) async fn start_token(&self) -> String {
        let answer = self.ok("/drive/v3/changes/startPageToken?supportsAllDrives=true").await;
        answer["startPageToken"].as_str().unwrap().to_owned()
    }

    /// Opens a channel on the user's log.
    pub(crate) async fn watch(&self, id: &str, receiver: &Receiver) -> Value {
        let token = self.start_token().await;
        let body = json!({"id": id, "type": "web_hook", "address": receiver.address, "token": "secret"});
        let (status, answer) = self.post(&format!("/drive/v3/changes/watch?pageToken={token}"), &body).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }
}

pub(crate) async fn answer(response: reqwest::Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

pub(crate) fn ids(list: &Value) -> Vec<&str> {
    list["files"].as_array().unwrap().iter().map(|file| file["id"].as_str().unwrap()).collect()
}

/// Waits, within reason, until something is there.
pub(crate) async fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    for _ in 0..500 {
        if let Some(found) = look() {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("in five seconds there was no {what}");
}

/// Somewhere on this machine that notifications are sent to.
pub(crate) struct Receiver {
    pub(crate) address: String,
    received: Arc<Mutex<Vec<HeaderMap>>>,
    answers: Arc<Mutex<VecDeque<u16>>>,
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/hook", listener.local_addr().unwrap());
        let received: Arc<Mutex<Vec<HeaderMap>>> = Arc::default();
        let answers: Arc<Mutex<VecDeque<u16>>> = Arc::default();
        let (log, next) = (received.clone(), answers.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (log, next) = (log.clone(), next.clone());
                let service = service_fn(move |request: Request<Incoming>| {
                    log.lock().unwrap().push(request.headers().clone());
                    let status = next.lock().unwrap().pop_front().unwrap_or(204);
                    let response = Response::builder().status(status).body(Full::new(Bytes::new())).unwrap();
                    async move { Ok::<_, Infallible>(response) }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { address, received, answers }
    }

    /// The next answers, before it is 204 again.
    pub(crate) fn answer_with(&self, statuses: &[u16]) {
        self.answers.lock().unwrap().extend(statuses);
    }

    pub(crate) fn received(&self) -> Vec<HeaderMap> {
        self.received.lock().unwrap().clone()
    }

    /// The states and numbers of so many notifications, once they have come.
    pub(crate) async fn wait(&self, count: usize) -> Vec<(String, u64)> {
        let heard = || Some(self.received()).filter(|received| received.len() >= count);
        let heard = eventually(&format!("notification number {count}"), heard).await;
        let text = |headers: &HeaderMap, name: &str| headers[name].to_str().unwrap().to_owned();
        let pair = |headers: &HeaderMap| {
            (text(headers, "x-goog-resource-state"), text(headers, "x-goog-message-number").parse().unwrap())
        };
        heard.iter().map(pair).collect()
    }
}
