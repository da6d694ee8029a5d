//! Strangers that hold many connections open, and web pages that send requests to the admin address.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::door::{channel, exchange};
use crate::world::{BOUND, World};

/// More than either address takes below this limit of open files: 96 and 16.
const STRANGERS: usize = 200;
const FEW_FILES: &str = "ulimit -n 256";
/// Milliseconds, in truth; a machine that is busy with other tests takes longer. Whoever waited for a deadline to pass
/// would wait for five seconds.
const AT_ONCE: Duration = Duration::from_secs(2);
/// From a signal to the end of the process.
const STOP: Duration = Duration::from_secs(2);

/// The bytes that strangers send before they stop sending.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Idle,
    KeptAlive,
    HalfHead,
    Pipelined,
    SlowBody,
}

const KINDS: [Kind; 5] = [Kind::Idle, Kind::KeptAlive, Kind::HalfHead, Kind::Pipelined, Kind::SlowBody];

impl Kind {
    fn words(self, path: &str) -> String {
        let whole = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        match self {
            Self::Idle => String::new(),
            Self::KeptAlive => whole,
            Self::HalfHead => format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nX-Half"),
            Self::Pipelined => whole.repeat(1000),
            Self::SlowBody => {
                format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\nx")
            }
        }
    }

    /// Connections that have sent this, and of which nothing is read.
    async fn hold(self, port: u16, path: &str, count: usize) -> Vec<TcpStream> {
        let words = self.words(path);
        let mut held = Vec::new();
        for _ in 0..count {
            let mut stream = TcpStream::connect(address(port)).await.unwrap();
            // Whoever is turned away has been heard no less.
            let sending = stream.write_all(words.as_bytes());
            let _ = tokio::time::timeout(Duration::from_millis(100), sending).await;
            held.push(stream);
        }
        held
    }
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// A daemon that may open few files, so that few strangers are many.
async fn besieged() -> World {
    let mut world = World::new("").await;
    world.spawn_after(FEW_FILES);
    world.until_ready().await;
    world
}

fn full_since(status: &Value, name: &str) -> Value {
    let addresses = status["process"]["addresses"].as_array().unwrap();
    addresses.iter().find(|address| address["name"] == name).unwrap()["full_since"].clone()
}

async fn until_closed(mut stream: TcpStream) -> Duration {
    let began = Instant::now();
    let mut unread = [0; 1024];
    let closed = async { while matches!(stream.read(&mut unread).await, Ok(1..)) {} };
    tokio::time::timeout(BOUND, closed).await.unwrap();
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn notifications_are_answered_while_strangers_hold_the_webhook_address() {
    let world = besieged().await;
    let ours = channel(&world);
    let mut held = Vec::new();
    for kind in KINDS {
        held.extend(kind.hold(world.public, "/webhook", STRANGERS).await);
        for _ in 0..3 {
            let began = Instant::now();
            let answer = exchange(address(world.public), ours.notification().as_bytes()).await;
            assert!(answer.starts_with("HTTP/1.1 204"), "{kind:?}: {answer}");
            assert!(began.elapsed() < AT_ONCE, "{kind:?}: {:?}", began.elapsed());
        }
        let name = format!("{kind:?}.mp4");
        let id = world.upload(&name, 100_000);
        world.wait_for_file(&name).await;
        world.assert_same(&name, &id);
    }
    let status = world.status().await;
    assert!(full_since(&status, "webhook").is_string(), "{status}");
    assert!(full_since(&status, "admin").is_null(), "{status}");
    assert_eq!(world.log().matches("the webhook address is full").count(), 1);
    let shown = world.output(&["status"]).await;
    let shown = crate::world::text(&shown.stdout);
    assert!(shown.contains("the webhook address 127.0.0.1:"), "{shown}");
    assert!(shown.contains("of 96 connections"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_address_answers_while_strangers_hold_it() {
    let world = besieged().await;
    let mut held = Vec::new();
    for kind in KINDS {
        held.extend(kind.hold(world.private, "/api/status", STRANGERS).await);
        let began = Instant::now();
        let status = world.status().await;
        assert!(began.elapsed() < AT_ONCE, "{kind:?}: {:?}", began.elapsed());
        assert!(full_since(&status, "admin").is_string(), "{kind:?}: {status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_ends_by_its_deadline_whatever_its_peer_does() {
    let world = World::running("").await;
    for (port, path, bound) in [(world.public, "/webhook", 5), (world.private, "/api/status", 10)] {
        // A byte now and then is no reason to wait for longer.
        let mut drip = Kind::HalfHead.hold(port, path, 1).await.remove(0);
        let began = Instant::now();
        while drip.write_all(b"x").await.is_ok() && began.elapsed() < BOUND {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let (least, most) = (Duration::from_secs(bound - 1), Duration::from_secs(bound + 2));
        assert!((least..most).contains(&began.elapsed()), "{path}: {:?}", began.elapsed());
    }
    let mut held = Vec::new();
    for kind in KINDS {
        held.extend(kind.hold(world.public, "/webhook", 3).await);
    }
    for stream in held {
        let took = until_closed(stream).await;
        assert!(took < Duration::from_secs(7), "{took:?}");
    }
    let connections = world.status().await["process"]["addresses"][0]["connections"].clone();
    assert_eq!(connections, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_free_file_handle_connections_make_room_for_each_other() {
    let mut world = World::new("").await;
    world.spawn_after("ulimit -n 36");
    world.until_ready().await;
    let ours = channel(&world);
    let mut held = Vec::new();
    for port in [world.public, world.private] {
        held.extend(Kind::HalfHead.hold(port, "/webhook", STRANGERS).await);
    }
    for _ in 0..3 {
        let began = Instant::now();
        let answer = exchange(address(world.public), ours.notification().as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
        assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
    }
    let lines = world.log().matches("connections could not be accepted").count();
    assert!((1..=2).contains(&lines), "{lines} lines, one for each address at most");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_waits_for_nobody_and_closes_the_database() {
    let mut world = besieged().await;
    world.upload("film.mp4", 100_000);
    world.wait_for_file("film.mp4").await;
    let mut held = Vec::new();
    for kind in KINDS {
        held.extend(kind.hold(world.public, "/webhook", 10).await);
        held.extend(kind.hold(world.private, "/api/status", 2).await);
    }
    let began = Instant::now();
    assert_eq!(world.terminate().await, 0);
    assert!(began.elapsed() < STOP, "{:?}\n{}", began.elapsed(), world.log());
    // SQLite removes it when the last connection is closed as it should be.
    let log_of_writes = world.home().join("state.db-wal");
    assert!(!log_of_writes.exists(), "the database was not closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_on_its_way_when_the_stop_comes_is_answered() {
    let mut world = World::running("").await;
    let whole = Kind::KeptAlive.words("/webhook");
    let mut begun = Vec::new();
    for (first, rest) in [whole.split_at(0), whole.split_at(10)] {
        let mut stream = TcpStream::connect(address(world.public)).await.unwrap();
        stream.write_all(first.as_bytes()).await.unwrap();
        begun.push((stream, rest));
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    world.signal(Signal::TERM);
    tokio::time::sleep(Duration::from_millis(100)).await;
    for (mut stream, rest) in begun {
        stream.write_all(rest.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    assert_eq!(world.ended().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_nobody_reads_does_not_take_the_answer_away() {
    let world = World::running("").await;
    let mut stream = TcpStream::connect(address(world.public)).await.unwrap();
    let head = "POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: 40000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    // The answer is there before the body comes. A proxy whose writing fails may never look at it.
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        stream.write_all("x".repeat(10_000).as_bytes()).await.unwrap();
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_others_are_refused_at_the_admin_address() {
    let world = World::running("").await;
    let ask = async |path: &str, headers: &[(&str, &str)]| {
        let mut request = format!("GET {path} HTTP/1.1\r\nConnection: close\r\n");
        for (name, value) in headers {
            write!(request, "{name}: {value}\r\n").unwrap();
        }
        exchange(address(world.private), format!("{request}\r\n").as_bytes()).await
    };
    let here = format!("127.0.0.1:{}", world.private);
    let origin = format!("http://{here}");
    for path in ["/api/status", "/readyz"] {
        let rebound = ask(path, &[("Host", "evil.example")]).await;
        assert!(rebound.starts_with("HTTP/1.1 403") && rebound.contains("\"evil.example\""), "{rebound}");
        let foreign = ask(path, &[("Host", &here), ("Origin", "https://evil.example")]).await;
        assert!(foreign.starts_with("HTTP/1.1 403") && foreign.contains("evil.example"), "{foreign}");
        let own = ask(path, &[("Host", &here), ("Origin", &origin)]).await;
        assert!(own.starts_with("HTTP/1.1 200"), "{own}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn open_files_are_allowed_up_to_the_hard_limit_and_a_crash_leaves_no_dump() {
    let mut world = World::new("").await;
    world.spawn_after("ulimit -c unlimited && ulimit -n 4096 && ulimit -Sn 256");
    world.until_ready().await;
    let process = world.status().await["process"].clone();
    assert_eq!(process["open_files_limit"], 4096);
    assert!(process["open_files"].as_u64().unwrap() > 5, "{process}");
    assert_eq!(
        (&process["addresses"][0]["limit"], &process["addresses"][1]["limit"]),
        (&1024.into(), &64.into())
    );
    world.signal(Signal::ABORT);
    let ended = world.ended().await;
    assert_eq!((ended.signal(), ended.core_dumped()), (Some(6), false), "{ended}");
}
