//! The client against servers that answer with canned bytes.

use std::task::Context;
use std::time::Instant;

use reqwest::header::{HeaderName, RANGE};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::*;
use crate::http::canned::Server;
use crate::http::proxies::Proxies;

fn get(server: &Server, path: &str) -> Get {
    let headers = HeaderMap::from_iter([(RANGE, HeaderValue::from_static("bytes=0-9"))]);
    Get { url: Url::parse(&format!("{}{path}", server.address)).unwrap(), headers }
}

fn client(stall: Duration) -> Media {
    client_with(Proxies::none(), stall)
}

fn client_with(proxies: Proxies, stall: Duration) -> Media {
    crate::http::install_tls();
    let roots = rustls::RootCertStore::empty();
    let tls = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let agent = HeaderValue::from_static("test");
    Media::new(Connect::new(Arc::new(tls), proxies, agent.clone()), agent, stall)
}

async fn text(answer: &mut Answer) -> Result<String, Error> {
    let (mut all, mut some) = (Vec::new(), [0; 4]);
    loop {
        match answer.body.read(&mut some).await? {
            0 => return Ok(String::from_utf8(all).unwrap()),
            count => all.extend_from_slice(&some[..count]),
        }
    }
}

const LONG: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_connection_serves_one_request_after_the_other() {
    let answers = vec![
        "HTTP/1.1 206 Partial Content\r\nContent-Length: 10\r\nContent-Range: bytes 0-9/99\r\n\r\n0123|45|6789",
        "HTTP/1.1 200 OK\r\n|Content-Length: 5\r\n\r\n|abcde",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nend",
    ];
    let server = Server::start(vec![answers, vec!["HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nnew~"]]).await;
    let client = client(LONG);
    let mut seen = Vec::new();
    for path in ["/a?alt=media", "/b", "/c", "/d", "/e", "/f"] {
        let mut answer = client.get(&get(&server, path)).await.unwrap();
        let left = answer.body.left();
        seen.push((answer.status.as_u16(), left, text(&mut answer).await.unwrap()));
    }
    let whole = |status, body: &str| (status, Some(body.len() as u64), body.to_owned());
    let expected = [
        whole(206, "0123456789"),
        whole(200, "abcde"),
        whole(204, ""),
        whole(200, ""),
        whole(200, "end"),
        (200, Some(3), "new".to_owned()),
    ];
    assert_eq!(seen, expected, "the last one on a connection of its own");
    let heads = server.heads();
    assert!(heads[0].starts_with("GET /a?alt=media HTTP/1.1\r\n"), "{}", heads[0]);
    let address = server.address.strip_prefix("http://").unwrap();
    for said in [format!("host: {address}\r\n"), "range: bytes=0-9\r\n".into(), "user-agent: test\r\n".into()]
    {
        assert!(heads[0].contains(&said), "{}", heads[0]);
    }
}

#[tokio::test]
async fn a_body_of_unknown_length_is_read_to_its_end() {
    let chunked =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n|7\r\ndef|ghij\r\n0\r\n\r\n";
    let until_close = "HTTP/1.1 200 OK\r\n\r\nto the |end";
    let broken = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc";
    let server = Server::start(vec![vec![chunked], vec![until_close], vec![broken]]).await;
    let client = client(LONG);
    let mut answer = client.get(&get(&server, "/")).await.unwrap();
    assert_eq!(answer.body.left(), None);
    assert_eq!(text(&mut answer).await.unwrap(), "abcdefghij");
    let mut answer = client.get(&get(&server, "/")).await.unwrap();
    assert_eq!(text(&mut answer).await.unwrap(), "to the end");
    let mut answer = client.get(&get(&server, "/")).await.unwrap();
    assert!(matches!(text(&mut answer).await, Err(Error::Broken(_))));
}

#[tokio::test]
async fn a_body_that_is_shorter_than_promised_is_an_error_after_its_bytes() {
    let server = Server::start(vec![vec!["HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc|def"]]).await;
    let mut answer = client(LONG).get(&get(&server, "/")).await.unwrap();
    let mut room = [0; 64];
    let mut came = Vec::new();
    let error = loop {
        match answer.body.read(&mut room).await {
            Ok(count) => came.extend_from_slice(&room[..count]),
            Err(error) => break error,
        }
        assert!(came.len() <= 9);
    };
    assert_eq!(came, b"abcdef");
    assert!(matches!(error, Error::Cut(_)), "{error}");
}

#[tokio::test]
async fn a_connection_that_said_more_than_promised_is_not_used_again() {
    let more =
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad~";
    let server =
        Server::start(vec![vec![more], vec!["HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood~"]]).await;
    let client = client(LONG);
    for expected in ["abc", "good"] {
        let mut answer = client.get(&get(&server, "/")).await.unwrap();
        assert_eq!(text(&mut answer).await.unwrap(), expected);
    }
}

#[tokio::test]
async fn a_connection_that_was_closed_meanwhile_is_replaced() {
    let good = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood";
    let server = Server::start(vec![vec![good], vec![good], vec![good]]).await;
    let client = client(LONG);
    for pause in [0, 50, 50] {
        tokio::time::sleep(Duration::from_millis(pause)).await;
        let mut answer = client.get(&get(&server, "/")).await.unwrap();
        assert_eq!(text(&mut answer).await.unwrap(), "good");
    }
}

#[tokio::test]
async fn silence_ends_what_waits() {
    let stall = Duration::from_millis(100);
    let server =
        Server::start(vec![vec!["~"], vec!["HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc~"]]).await;
    let client = client(stall);
    // The mark itself is no answer either, so that the first one breaks off or stays silent.
    assert!(client.get(&get(&server, "/")).await.is_err());
    let mut answer = client.get(&get(&server, "/")).await.unwrap();
    let mut room = [0; 64];
    assert_eq!(answer.body.read(&mut room).await.unwrap(), 4);
    let began = Instant::now();
    for _ in 0..3 {
        // Whoever looks away meanwhile does not begin anew.
        let _ = tokio::time::timeout(stall / 3, answer.body.read(&mut room)).await;
    }
    assert!(matches!(answer.body.read(&mut room).await, Err(Error::Silent(_))));
    assert!(began.elapsed() < stall * 3, "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_connection_that_fell_silent_takes_those_that_wait_with_it() {
    const GOOD: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood";
    const HALF: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngo|~";
    for silent in ["", HALF] {
        let (first, second) = (vec![GOOD, ""], vec![GOOD, silent]);
        let server = Server::start(vec![first, second, vec![GOOD]]).await;
        let client = client(Duration::from_millis(200));
        let get = get(&server, "/");
        let mut answers = [client.get(&get).await.unwrap(), client.get(&get).await.unwrap()];
        for answer in &mut answers {
            assert_eq!(text(answer).await.unwrap(), "good");
        }
        let asked = match client.get(&get).await {
            Ok(mut answer) => text(&mut answer).await,
            Err(error) => Err(error),
        };
        assert!(matches!(asked, Err(Error::Silent(_))), "{asked:?}");
        let mut answer = client.get(&get).await.unwrap();
        assert_eq!(text(&mut answer).await.unwrap(), "good");
    }
}

/// A connection that answers, fails, and then has nothing more to say.
#[derive(Debug, Default)]
struct Faulty {
    is_asked: bool,
    said: usize,
}

impl AsyncRead for Faulty {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.is_asked {
            return Poll::Pending;
        }
        self.said += 1;
        match self.said {
            1 => into.put_slice(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"),
            2 => into.put_slice(b"abc"),
            3 => return Poll::Ready(Err(io::Error::other("a bad record"))),
            _ => return Poll::Pending,
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Faulty {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        self.is_asked = true;
        Poll::Ready(Ok(from.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn a_fault_is_told_after_the_bytes_before_it_even_if_the_connection_says_it_once() {
    let client = client(Duration::from_millis(100));
    let get = Get { url: Url::parse("http://drive.example/").unwrap(), headers: HeaderMap::new() };
    Arc::clone(&client.idle).put(Origin::of(&get.url), Box::<Faulty>::default());
    let mut answer = client.get(&get).await.unwrap();
    let mut room = [0; 64];
    assert_eq!(answer.body.read(&mut room).await.unwrap(), 3);
    let told = crate::telemetry::log::with_causes(&answer.body.read(&mut room).await.unwrap_err());
    assert!(told.contains("a bad record"), "{told}");
}

#[tokio::test]
async fn redirects_are_followed_and_secrets_stay_at_home() {
    let other = Server::start(vec![vec!["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"]]).await;
    let away =
        format!("HTTP/1.1 302 Found\r\nLocation: {}/there\r\nContent-Length: 0\r\n\r\n", other.address);
    let near = "HTTP/1.1 307 Temporary Redirect\r\nLocation: /next\r\nContent-Length: 0\r\n\r\n";
    let server = Server::start(vec![vec![near, Box::leak(away.into_boxed_str())]]).await;
    let mut get = get(&server, "/first");
    for name in ["authorization", "x-key"] {
        let mut secret = HeaderValue::from_static("secret");
        secret.set_sensitive(true);
        get.headers.insert(HeaderName::from_static(name), secret);
    }
    let mut answer = client(LONG).get(&get).await.unwrap();
    assert_eq!(text(&mut answer).await.unwrap(), "ok");
    let heads = server.heads();
    assert!(heads[1].starts_with("GET /next "), "{}", heads[1]);
    assert!(heads[1].contains("authorization: secret") && heads[1].contains("x-key: secret"));
    let there = &other.heads()[0];
    assert!(there.starts_with("GET /there ") && there.contains("range:"), "{there}");
    assert!(!there.contains("secret"), "{there}");
}

#[tokio::test]
async fn a_circle_of_redirects_ends() {
    let round = "HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n";
    let server = Server::start(vec![vec![round; 20]]).await;
    let error = client(LONG).get(&get(&server, "/")).await.unwrap_err();
    assert!(matches!(error, Error::Redirect(_)), "{error}");
    assert_eq!(server.heads().len(), REDIRECT_LIMIT + 1);
}

#[test]
fn redirects_never_leave_https() {
    let from = |text: &str| Url::parse(text).unwrap();
    let to = |location: &str| HeaderMap::from_iter([(LOCATION, HeaderValue::try_from(location).unwrap())]);
    let (https, http) = (from("https://a.example/x/y"), from("http://127.0.0.1/"));
    let found = StatusCode::FOUND;
    assert_eq!(redirection(&https, found, &to("../z")).unwrap(), Some(from("https://a.example/z")));
    assert_eq!(
        redirection(&http, found, &to("https://b.example/")).unwrap(),
        Some(from("https://b.example/"))
    );
    assert_eq!(
        redirection(&http, found, &to("https://me:word@b.example/")).unwrap(),
        Some(from("https://b.example/"))
    );
    assert!(redirection(&https, found, &to("http://a.example/")).is_err());
    assert!(redirection(&http, found, &to("file:///etc/passwd")).is_err());
    assert_eq!(redirection(&https, StatusCode::OK, &to("/z")).unwrap(), None, "it sends nowhere");
}

#[tokio::test]
async fn nobody_there_is_said_with_the_host() {
    let get = Get { url: Url::parse("http://127.0.0.1:1/").unwrap(), headers: HeaderMap::new() };
    let error = client(LONG).get(&get).await.unwrap_err();
    assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn connections_do_not_wait_for_ever() {
    let (near, far) = tokio::io::duplex(64);
    let idle = Arc::new(Idle::default());
    let origin = Origin::of(&Url::parse("http://a.example/").unwrap());
    Arc::clone(&idle).put(origin.clone(), Box::new(near));
    assert!(idle.take(&Origin::of(&Url::parse("https://a.example/").unwrap())).is_none(), "another one's");
    let line = idle.take(&origin).unwrap();
    Arc::clone(&idle).put(origin.clone(), line);
    tokio::time::sleep(Duration::from_mins(3)).await;
    assert!(idle.take(&origin).is_none());
    drop(far);
}

#[tokio::test]
async fn a_proxy_passes_plain_requests_on_and_is_led_through_for_others() {
    let relayed = "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nrelayed";
    let refused = "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n";
    let led = "HTTP/1.1 200 Connection established\r\n\r\n";
    let proxy = Server::start(vec![vec![relayed], vec![refused], vec![led]]).await;
    let named = proxy.address.replace("://", "://user:word@");
    let client = client_with(Proxies::all(&named), LONG);
    let get = |url: &str| Get { url: Url::parse(url).unwrap(), headers: HeaderMap::new() };
    let mut answer = client.get(&get("http://drive.example/files/a?alt=media")).await.unwrap();
    assert_eq!(text(&mut answer).await.unwrap(), "relayed");
    let refusal = client.get(&get("https://drive.example/files/a")).await.unwrap_err();
    let told = crate::telemetry::log::with_causes(&refusal);
    assert!(told.contains("drive.example") && told.contains("proxy authorization required"), "{told}");
    assert!(!told.contains("word"), "{told}");
    // Behind the tunnel is nobody who speaks TLS.
    assert!(matches!(client.get(&get("https://drive.example/")).await, Err(Error::Connect(_))));
    let heads = proxy.heads();
    assert!(heads[0].starts_with("GET http://drive.example/files/a?alt=media HTTP/1.1\r\n"), "{}", heads[0]);
    assert!(heads[0].contains("host: drive.example\r\n"), "{}", heads[0]);
    for head in &heads[1..] {
        assert!(head.starts_with("CONNECT drive.example:443 HTTP/1.1\r\n"), "{head}");
        assert!(head.contains("user-agent: test\r\n"), "{head}");
    }
    let shown = "uthorization: basic dXNlcjp3b3Jk\r\n";
    assert!(heads.iter().all(|head| head.to_lowercase().contains(&shown.to_lowercase())), "{heads:?}");
}

#[tokio::test]
async fn a_proxy_of_another_kind_is_said_to_be_one() {
    let client = client_with(Proxies::all("socks5://127.0.0.1:1"), LONG);
    let get = Get { url: Url::parse("http://drive.example/").unwrap(), headers: HeaderMap::new() };
    let told = crate::telemetry::log::with_causes(&client.get(&get).await.unwrap_err());
    assert!(told.contains("proxy") && told.contains("http or https"), "{told}");
}
