//! The webhook address and the admin address.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use reqwest::Client;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::world::{World, client};

pub(crate) struct Channel {
    id: String,
    token: String,
}

impl Channel {
    /// What Google sends on it.
    pub(crate) fn notification(&self) -> String {
        format!(
            "POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nX-Goog-Channel-ID: {}\r\nX-Goog-Channel-Token: {}\r\nX-Goog-Resource-State: change\r\n\r\n",
            self.id, self.token
        )
    }
}

pub(crate) fn channel(world: &World) -> Channel {
    let channel = world.drive.channels().remove(0);
    Channel { id: channel.id, token: channel.token.unwrap() }
}

async fn notify(client: &Client, world: &World, id: &str, token: Option<&str>) -> u16 {
    let mut request = client
        .post(format!("http://127.0.0.1:{}/webhook", world.public))
        .header("X-Goog-Channel-ID", id)
        .header("X-Goog-Resource-State", "change")
        .header("X-Goog-Message-Number", "7");
    if let Some(token) = token {
        request = request.header("X-Goog-Channel-Token", token);
    }
    request.send().await.unwrap().status().as_u16()
}

/// What is answered on a connection of its own, until the other end closes it.
pub(crate) async fn exchange(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// Listings stop a moment after the last reason for one.
async fn settled_listings(world: &World) -> usize {
    let mut count = world.drive.count("changes.list");
    let mut since = Instant::now();
    while since.elapsed() < Duration::from_secs(11) {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let now = world.drive.count("changes.list");
        if now != count {
            (count, since) = (now, Instant::now());
        }
    }
    count
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_get_nothing() {
    let world = World::running("").await;
    let client = client();
    let ours = channel(&world);
    let before = settled_listings(&world).await;
    assert_eq!(notify(&client, &world, "b1946ac9-2483-4c2d-8d3a-7e4f4f3bd6f2", Some(&ours.token)).await, 404);
    assert_eq!(notify(&client, &world, &ours.id, None).await, 404);
    assert_eq!(notify(&client, &world, &ours.id, Some("wrong")).await, 404);
    assert_eq!(notify(&client, &world, &ours.id, Some(&ours.token[..63])).await, 404);
    let get = async |path: &str| {
        client.get(format!("http://127.0.0.1:{}{path}", world.public)).send().await.unwrap()
    };
    for path in ["/", "/api/status", "/livez", "/readyz", "/metrics", "/webhook/", "/../etc/passwd"] {
        assert_eq!(get(path).await.status(), 404, "{path}");
    }
    let put = client.put(format!("http://127.0.0.1:{}/webhook", world.public)).send().await.unwrap();
    assert_eq!(put.status(), 405);
    assert_eq!(get("/webhook").await.text().await.unwrap().lines().count(), 1);
    assert!(get("/robots.txt").await.text().await.unwrap().contains("APIs-Google"));
    assert_eq!(settled_listings(&world).await, before, "none of it caused a listing");
    assert_eq!(world.status().await["process"]["notifications_refused"], 4);
    assert_eq!(notify(&client, &world, &ours.id, Some(&ours.token)).await, 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_over_16_kib_are_refused() {
    let world = World::running("").await;
    let address = SocketAddr::from(([127, 0, 0, 1], world.public));
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("POST /webhook HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n", "y".repeat(20_000));
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 431");
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_notifications_cost_two_listings() {
    const BURST: usize = 10_000;
    const CALLERS: usize = 8;
    let world = World::running("").await;
    let ours = channel(&world);
    let before = settled_listings(&world).await;
    let address = SocketAddr::from(([127, 0, 0, 1], world.public));
    let request = ours.notification();
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let request = request.clone();
            tokio::spawn(async move {
                for _ in 0..BURST / CALLERS {
                    // One connection brings one notification, as Google's do behind most proxies.
                    let answer = exchange(address, request.as_bytes()).await;
                    assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
                    assert!(answer.contains("connection: close"), "{answer}");
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    let listings = settled_listings(&world).await - before;
    assert!((1..=2).contains(&listings), "{listings} listings");
    assert_eq!(
        world.status().await["process"]["notifications_accepted"].as_u64().unwrap() as usize,
        BURST + 1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_private_door_asks_for_its_token() {
    let mut world = World::new("").await;
    let secret = world.home().join("admin-token");
    std::fs::write(&secret, "s3cret\n").unwrap();
    let config = std::fs::read_to_string(world.config_path()).unwrap();
    let config = config.replace("[admin]\n", &format!("[admin]\ntoken_file = {secret:?}\n"));
    std::fs::write(world.config_path(), config).unwrap();
    world.start().await;
    let url = format!("http://127.0.0.1:{}/api/status", world.private);
    let client = client();
    assert_eq!(client.get(&url).send().await.unwrap().status(), 401);
    assert_eq!(client.get(&url).bearer_auth("wrong").send().await.unwrap().status(), 401);
    assert_eq!(client.get(&url).bearer_auth("s3cret").send().await.unwrap().status(), 200);
    let status = world.output(&["status"]).await;
    assert_eq!(status.status.code(), Some(0), "{}", crate::world::text(&status.stderr));
    assert!(crate::world::text(&status.stdout).contains("ready, running for"));
}

#[tokio::test(flavor = "multi_thread")]
async fn ownership_can_be_proved() {
    let world = World::running(
        "[webhook]\nlisten = \"127.0.0.1:{public}\"\npublic_url = \"http://127.0.0.1:{public}\"\nsite_verification = \"google0123456789abcdef.html\"",
    )
    .await;
    let url = format!("http://127.0.0.1:{}/google0123456789abcdef.html", world.public);
    let answer = client().get(url).send().await.unwrap().text().await.unwrap();
    assert_eq!(answer, "google-site-verification: google0123456789abcdef.html");
}
