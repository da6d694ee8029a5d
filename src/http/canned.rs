//! Servers that answer with canned bytes, in the pieces and with the ends that real ones have.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What a server says to one request after another on one connection. After an answer that is empty or ends with `~` it
/// keeps the connection open and says nothing more.
pub(super) type Script = Vec<&'static str>;

/// Serves connections one after the other, each by its script, and gives back the heads of all requests.
pub(super) struct Server {
    pub(super) address: String,
    heads: Arc<Mutex<Vec<String>>>,
    _task: JoinHandle<()>,
}

impl Server {
    pub(super) async fn start(scripts: Vec<Script>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let heads = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&heads);
        let task = tokio::spawn(async move {
            for script in scripts {
                let (mut stream, _) = listener.accept().await.unwrap();
                let seen = Arc::clone(&seen);
                tokio::spawn(async move {
                    for answer in script {
                        let Some(head) = read_head(&mut stream).await else { return };
                        seen.lock().unwrap().push(head);
                        for piece in answer.split_inclusive('|') {
                            stream.write_all(piece.trim_end_matches('|').as_bytes()).await.unwrap();
                            tokio::time::sleep(Duration::from_millis(5)).await;
                        }
                        if answer.is_empty() || answer.ends_with('~') {
                            // Nothing more comes, and the connection stays.
                            std::future::pending::<()>().await;
                        }
                    }
                });
            }
        });
        Self { address, heads, _task: task }
    }

    pub(super) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

async fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8(head).unwrap())
}
