//! Public addresses that change while the daemon runs: a new channel for the new one, and the old one stopped.

use std::sync::{Arc, Mutex};

use axum::{Json, Router, routing::get};
use serde_json::{Value, json};

use crate::world::World;

/// What answers like an ngrok agent.
#[derive(Clone)]
struct Agent {
    port: u16,
    tunnels: Arc<Mutex<Value>>,
}

impl Agent {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tunnels = Arc::new(Mutex::new(json!({"tunnels": []})));
        let agent = Self { port: listener.local_addr().unwrap().port(), tunnels };
        let tunnels = agent.tunnels.clone();
        let answer = get(async move || Json(tunnels.lock().unwrap().clone()));
        tokio::spawn(async move {
            axum::serve(listener, Router::new().route("/api/tunnels", answer)).await.unwrap();
        });
        agent
    }

    /// One tunnel from this address to this port.
    fn leads(&self, from: &str, to: u16) {
        let tunnel = json!({"name": "a", "public_url": from, "proto": "https", "config": {"addr": format!("http://localhost:{to}")}});
        *self.tunnels.lock().unwrap() = json!({"tunnels": [tunnel], "uri": "/api/tunnels"});
    }
}

/// Waits until exactly one channel is live, at this address.
async fn until_called_at(world: &World, base: &str) {
    let address = format!("{base}/webhook");
    world
        .wait(&format!("the only channel is for {base}"), async || {
            let channels = world.drive.channels();
            let live: Vec<_> = channels.iter().filter(|channel| channel.stopped.is_none()).collect();
            live.len() == 1 && live[0].address == address
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ngrok_agent_is_asked_and_followed() {
    let agent = Agent::start().await;
    let mut world = World::new(&format!(
        "[webhook]\nlisten = \"127.0.0.1:{{public}}\"\npublic_url = \"ngrok\"\nngrok_api = \"http://127.0.0.1:{}\"",
        agent.port
    ))
    .await;
    world.spawn();
    let not_ready = async |world: &World| {
        let url = format!("http://127.0.0.1:{}/readyz", world.private);
        match crate::world::client().get(url).send().await {
            Ok(answer) => answer.text().await.unwrap(),
            Err(_) => String::new(),
        }
    };
    world
        .wait("it says what is missing", async || not_ready(&world).await.contains("start `ngrok http"))
        .await;
    let (first, second) =
        (format!("http://127.0.0.1:{}", world.public), format!("http://localhost:{}", world.public));
    agent.leads(&first, world.public);
    world.until_ready().await;
    until_called_at(&world, &first).await;
    world.upload("first.mp4", 1_000);
    world.wait_for_file("first.mp4").await;

    agent.leads(&second, world.public);
    until_called_at(&world, &second).await;
    assert_eq!(world.status().await["process"]["address"], format!("{second}/webhook"));
    world.upload("second.mp4", 1_000);
    world.wait_for_file("second.mp4").await;

    // An agent that is gone for a moment is no reason to give up what works.
    *agent.tunnels.lock().unwrap() = json!({"tunnels": []});
    world.wait("it is said", async || world.log().contains("the public address is not known")).await;
    until_called_at(&world, &second).await;
    world.until_ready().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_file_takes_effect_and_a_wrong_one_does_not() {
    let mut world = World::running("").await;
    let (first, second) =
        (format!("http://127.0.0.1:{}", world.public), format!("http://localhost:{}", world.public));
    until_called_at(&world, &first).await;

    world.replace_config(&format!("public_url = {first:?}"), &format!("public_url = {second:?}"));
    until_called_at(&world, &second).await;
    world.upload("film.mp4", 1_000);
    world.wait_for_file("film.mp4").await;

    world.replace_config(&format!("public_url = {second:?}"), "public_url = \"nonsense\"");
    world.wait("it is said", async || world.log().contains("webhook.public_url: \\\"nonsense\\\"")).await;
    until_called_at(&world, &second).await;

    // Another path would be an address at which nobody listens yet.
    world.replace_config("public_url = \"nonsense\"", &format!("public_url = {first:?}\npath = \"/hook\""));
    world.wait("it waits", async || world.log().contains("webhook.path = \\\"/hook\\\"")).await;
    until_called_at(&world, &second).await;
    world.replace_config("path = \"/hook\"", "");
    until_called_at(&world, &first).await;

    world.replace_config(&format!("public_url = {first:?}"), "");
    world.wait("nobody calls", async || world.drive.channels().iter().all(|c| c.stopped.is_some())).await;
    world.wait("and that is ready", async || world.status().await["not_ready"] == json!([])).await;
    world.add_config("[download]\nstall = \"30s\"");
    world
        .wait("what needs a restart is named", async || {
            world.log().contains("takes effect at the next start: download.stall = \\\"30s\\\"")
        })
        .await;
    assert!(world.is_running());
}

#[tokio::test(flavor = "multi_thread")]
async fn sighup_reads_the_configuration_again() {
    let world = World::running("").await;
    world.signal(rustix::process::Signal::HUP);
    world
        .wait("it was read", async || {
            world.status().await["engines"].to_string().contains("the configuration is unchanged")
        })
        .await;
    world.upload("film.mp4", 1_000);
    world.wait_for_file("film.mp4").await;
}
