//! One door at a time, on sockets of this machine.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::*;

const DEADLINE: Duration = Duration::from_millis(300);
const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

struct Served {
    address: SocketAddr,
    connections: Arc<Connections>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

fn serve(door: Door, limits: Limits) -> Served {
    let router = Router::new()
        .route("/", get(async || "here\n").post(async |request: Request| read(request).await))
        .route("/slow", get(async || tokio::time::sleep(DEADLINE / 20).await))
        .route("/never", get(std::future::pending::<()>))
        .route("/endless", get(async || endless()))
        .route("/events", get(async || (axum::Extension(LongLived), endless())));
    let door = door.with_limits(limits);
    let (address, connections, stop) = (door.address(), door.connections(), CancellationToken::new());
    let task = tokio::spawn(door.serve(router, stop.clone()));
    Served { address, connections, stop, task }
}

async fn read(request: Request) -> Response {
    axum::body::to_bytes(request.into_body(), 1 << 20).await.map_or_else(
        |error| error.to_string().into_response(),
        |bytes| format!("{} bytes\n", bytes.len()).into_response(),
    )
}

/// A byte now and then, for ever.
fn endless() -> Response {
    let ticks = stream::unfold((), |()| async {
        tokio::time::sleep(DEADLINE / 6).await;
        Some((Ok::<_, std::io::Error>(Bytes::from_static(b"tick\n")), ()))
    });
    Body::from_stream(ticks).into_response()
}

fn many(connections: usize) -> Limits {
    Limits { name: "test", connections, requests: Requests::Many(DEADLINE) }
}

fn one(connections: usize) -> Limits {
    Limits { name: "test", connections, requests: Requests::One(DEADLINE) }
}

async fn say(served: &Served, words: &str) -> TcpStream {
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    stream.write_all(words.as_bytes()).await.unwrap();
    stream
}

/// What is heard until the other end closes the connection, and when that was.
async fn hear(stream: &mut TcpStream) -> (String, Duration) {
    let (began, mut heard) = (Instant::now(), Vec::new());
    let ended = tokio::time::timeout(DEADLINE * 10, stream.read_to_end(&mut heard)).await;
    // A reset ends it as well.
    assert!(ended.is_ok(), "it is held open: {}", String::from_utf8_lossy(&heard));
    (String::from_utf8_lossy(&heard).into_owned(), began.elapsed())
}

#[tokio::test]
async fn a_connection_that_is_accepted_as_the_stop_comes_is_answered() {
    let table = Table::new(one(1), Arc::new(Connections::new("test", LOOPBACK, 1)));
    let stop = CancellationToken::new();
    stop.cancel();
    let first = seat(&table, &stop).await.expect("there is a place");
    first.visit.answers(None);
    assert!(seat(&table, &stop).await.is_none(), "the stop waits for nobody");
}

const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

#[tokio::test]
async fn a_socket_that_somebody_else_has_bound_is_served_on() {
    let bound = std::net::TcpListener::bind(LOOPBACK).unwrap();
    let address = bound.local_addr().unwrap();
    let served = serve(Door::adopt(bound).unwrap(), one(4));
    assert_eq!(served.address, address);
    let (heard, _) = hear(&mut say(&served, GET).await).await;
    assert!(heard.starts_with("HTTP/1.1 200") && heard.ends_with("here\n"), "{heard}");
    served.stop.cancel();
    served.task.await.unwrap();
}

#[tokio::test]
async fn one_request_per_connection_is_one() {
    let served = serve(Door::bind(LOOPBACK).unwrap(), one(4));
    let (heard, took) = hear(&mut say(&served, &GET.repeat(3)).await).await;
    assert_eq!(
        (heard.matches("HTTP/1.1 200").count(), heard.contains("connection: close")),
        (1, true),
        "{heard}"
    );
    assert!(took < DEADLINE, "{took:?}");
}

#[tokio::test]
async fn what_is_not_done_by_its_deadline_ends() {
    for (limits, words) in [
        (one(4), ""),
        (one(4), "GET / HT"),
        (one(4), "GET /never HTTP/1.1\r\n\r\n"),
        (one(4), "GET /endless HTTP/1.1\r\n\r\n"),
        (one(4), "POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nx"),
        (many(4), ""),
        (many(4), "GET / HT"),
        (many(4), GET),
        (many(4), "GET /never HTTP/1.1\r\n\r\n"),
        (many(4), "GET /endless HTTP/1.1\r\n\r\n"),
        (many(4), "POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nx"),
    ] {
        let served = serve(Door::bind(LOOPBACK).unwrap(), limits);
        let mut stream = say(&served, words).await;
        let began = Instant::now();
        let mut heard = Vec::new();
        let ended = tokio::time::timeout(DEADLINE * 10, stream.read_to_end(&mut heard)).await;
        let took = began.elapsed();
        assert!(ended.is_ok(), "{limits:?} {words:?}: held open");
        assert!((DEADLINE / 2..DEADLINE * 4).contains(&took), "{limits:?} {words:?}: {took:?}");
        while served.connections.open() > 0 {
            assert!(began.elapsed() < DEADLINE * 10, "{limits:?} {words:?}: its place is not free");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

#[tokio::test]
async fn each_request_has_a_time_of_its_own() {
    let served = serve(Door::bind(LOOPBACK).unwrap(), many(4));
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    for _ in 0..4 {
        tokio::time::sleep(DEADLINE / 2).await;
        stream.write_all(GET.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
        while !answer.ends_with(b"here\n") {
            let next = stream.read_u8().await.unwrap();
            answer.rotate_left(1);
            answer[11] = next;
        }
    }
}

#[tokio::test]
async fn an_answer_that_says_so_goes_on_past_the_deadline_until_the_stop() {
    let served = serve(Door::bind(LOOPBACK).unwrap(), many(4));
    let mut stream = say(&served, "GET /events HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let mut heard = Vec::new();
    let listening = stream.read_to_end(&mut heard);
    assert!(tokio::time::timeout(DEADLINE * 5, listening).await.is_err(), "it was ended");
    served.stop.cancel();
    let began = Instant::now();
    tokio::time::timeout(Duration::from_secs(2), served.task).await.unwrap().unwrap();
    assert!(began.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn the_oldest_makes_room() {
    let served = serve(Door::bind(LOOPBACK).unwrap(), many(3));
    let mut events = say(&served, "GET /events HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let mut busy = say(&served, "GET /never HTTP/1.1\r\nHost: x\r\n\r\n").await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    let mut idle = say(&served, "").await;
    let mut next = say(&served, GET).await;
    let mut answer = [0; 12];
    next.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    let (heard, took) = hear(&mut idle).await;
    assert!(heard.is_empty() && took < DEADLINE / 2, "{took:?} {heard}");
    assert_eq!(served.connections.closed_for_room(), 1);
    // Then those whose answer has no end. One that is being answered keeps its place.
    let mut others = Vec::new();
    for _ in 0..2 {
        others.push(say(&served, "GET /never HTTP/1.1\r\n\r\n").await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (_, took) = hear(&mut events).await;
    assert!(took < DEADLINE / 2, "{took:?}");
    // A newcomer waits for the first of them to end, which is the one that is busy by its deadline.
    let mut new = say(&served, GET).await;
    let mut nothing = [0; 1];
    assert!(tokio::time::timeout(DEADLINE / 6, busy.read(&mut nothing)).await.is_err(), "it was closed");
    new.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    drop(others);
}

#[tokio::test]
async fn one_that_brings_requests_without_a_pause_is_no_younger_for_it() {
    let served = serve(Door::bind(LOOPBACK).unwrap(), many(2));
    let mut endless = say(&served, &"GET /slow HTTP/1.1\r\n\r\n".repeat(200)).await;
    tokio::time::sleep(DEADLINE / 4).await;
    let mut new = say(&served, "").await;
    let mut newer = say(&served, GET).await;
    let mut answer = [0; 12];
    newer.read_exact(&mut answer).await.unwrap();
    let (_, took) = hear(&mut endless).await;
    assert!(took < DEADLINE / 2, "{took:?}");
    new.write_all(GET.as_bytes()).await.unwrap();
    new.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
}

#[tokio::test]
async fn an_answer_that_is_not_read_is_not_kept_by_the_kernel() {
    let written = Arc::new(AtomicUsize::new(0));
    let count = written.clone();
    let router = Router::new().route(
        "/",
        get(async move || {
            let blocks = stream::repeat_with(move || {
                count.fetch_add(BLOCK.len(), Ordering::Relaxed);
                Ok::<_, std::io::Error>(Bytes::from_static(&BLOCK))
            });
            (axum::Extension(LongLived), Body::from_stream(blocks))
        }),
    );
    let door = Door::bind(LOOPBACK).unwrap().with_limits(many(1));
    let mut stream = TcpStream::connect(door.address()).await.unwrap();
    tokio::spawn(door.serve(router, CancellationToken::new()));
    stream.write_all(GET.as_bytes()).await.unwrap();
    let mut before = 0;
    while written.load(Ordering::Relaxed) == 0 || written.load(Ordering::Relaxed) > before {
        before = written.load(Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // The peer's own buffer is among it.
    assert!(before < 512 * 1024, "{before} bytes were taken");
}

static BLOCK: [u8; 4096] = [b'x'; 4096];

#[tokio::test]
async fn a_flood_leaves_no_place_taken() {
    let served = serve(Door::bind(LOOPBACK).unwrap(), one(8));
    for _ in 0..200 {
        let (heard, _) = hear(&mut say(&served, GET).await).await;
        assert!(heard.starts_with("HTTP/1.1 200"), "{heard}");
    }
    let mut held = Vec::new();
    for _ in 0..100 {
        held.push(say(&served, "GET / HT").await);
        assert!(served.connections.open() <= 9);
    }
    let (heard, _) = hear(&mut say(&served, GET).await).await;
    assert!(heard.starts_with("HTTP/1.1 200"), "{heard}");
    let began = Instant::now();
    while served.connections.open() > 0 {
        assert!(began.elapsed() < DEADLINE * 10);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
