//! The assertion of a service account: the signed claim that is exchanged for an access token. yup-oauth2 signs it, and
//! would post it as well; but it reads an answer of any length, and an absurd lifetime in it ends the process. So its
//! connection ends here, and what it posts is taken from it.

use std::future::{Ready, ready};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use hyper::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, DuplexStream};
use tokio::sync::mpsc;
use tower_service::Service;
use yup_oauth2::{CustomHyperClientBuilder, ServiceAccountAuthenticator, ServiceAccountKey};

use super::SCOPE;
use crate::telemetry::log::with_causes;

/// A request with an assertion has some 1 KB.
const REQUEST_LIMIT: usize = 64 * 1024;

/// The encoded form that asks the token endpoint for an access token.
pub(super) async fn form(key: &ServiceAccountKey, user: Option<&str>) -> Result<String, String> {
    let (ends, connections) = mpsc::unbounded_channel();
    let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(Inward(ends));
    let builder =
        ServiceAccountAuthenticator::with_client(key.clone(), CustomHyperClientBuilder::from(client));
    let builder = match user {
        Some(user) => builder.subject(user),
        None => builder,
    };
    let authenticator = builder.build().await.map_err(|error| error.to_string())?;
    let taken = pin!(taken_from(connections));
    tokio::select! {
        form = taken => form.map_err(|error| error.to_string()),
        // It is never answered, so it only ends when it could not ask.
        ended = authenticator.token(&[SCOPE]) => {
            Err(ended.map_or_else(|error| with_causes(&error), |_| "it was not used".to_owned()))
        }
    }
}

/// Reads the body of the one request that is made.
async fn taken_from(mut connections: mpsc::UnboundedReceiver<DuplexStream>) -> io::Result<String> {
    let mut connection = connections.recv().await.ok_or(io::ErrorKind::NotConnected)?;
    let mut request = Vec::new();
    loop {
        if let Some(form) = body_of(&request) {
            return Ok(form);
        }
        if request.len() > REQUEST_LIMIT || connection.read_buf(&mut request).await? == 0 {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
}

/// The body of a request, as soon as all of it is there.
fn body_of(request: &[u8]) -> Option<String> {
    let (head, body) = std::str::from_utf8(request).ok()?.split_once("\r\n\r\n")?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok()).flatten()
    });
    (body.len() == length?).then(|| body.to_owned())
}

/// Makes connections whose other ends are handed out.
#[derive(Clone)]
struct Inward(mpsc::UnboundedSender<DuplexStream>);

impl Service<Uri> for Inward {
    type Response = Near;
    type Error = io::Error;
    type Future = Ready<io::Result<Near>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let (near, far) = tokio::io::duplex(REQUEST_LIMIT);
        let sent = self.0.send(far).map_err(|_| io::ErrorKind::NotConnected.into());
        ready(sent.map(|()| Near(TokioIo::new(near))))
    }
}

/// The end that yup-oauth2 has.
struct Near(TokioIo<DuplexStream>);

impl Connection for Near {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Near {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, into)
    }
}

impl Write for Near {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_taken_when_all_of_it_is_there() {
        let head = "POST /token HTTP/1.1\r\ncontent-type: x\r\ncontent-length: 3\r\n\r\n";
        assert_eq!(body_of(format!("{head}a=b").as_bytes()).as_deref(), Some("a=b"));
        assert_eq!(body_of(format!("{head}a=").as_bytes()), None);
        assert_eq!(body_of(head.trim_end().as_bytes()), None);
        assert_eq!(body_of(b"POST /token HTTP/1.1\r\n\r\na=b"), None);
    }
}
