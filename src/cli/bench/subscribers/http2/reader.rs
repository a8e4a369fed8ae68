//! One reader, and the connection that it has for itself or with others.

use super::Readers;
use crate::cli::bench::http::detail;
use crate::cli::bench::ledger::Ledger;
use crate::cli::bench::subscribers::source::source;
use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use futures::FutureExt;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{OnceCell, OwnedSemaphorePermit};
use tokio::time::timeout;

/// What a server may send on a stream and on a connection before it hears that this was read, in bytes: as
/// much as Chromium allows.
const STREAM_WINDOW: u32 = 6 << 20;
const CONNECTION_WINDOW: u32 = 15 << 20;
/// How long an answer may take. Where the server allows fewer streams, it does not come at all.
const PATIENCE: Duration = Duration::from_secs(20);

type Sender = SendRequest<Empty<Bytes>>;
/// A connection, made by the first of its readers. Where it can't be made, the next one tries too, and fails
/// for itself.
pub(super) type Connection = OnceCell<Sender>;

pub(super) struct Reader {
    readers: Arc<Readers>,
    /// The place in the share.
    index: usize,
    /// The number among all readers.
    number: usize,
    connection: Arc<Connection>,
}

impl Reader {
    pub(super) fn new(readers: Arc<Readers>, index: usize, connection: Arc<Connection>) -> Self {
        let number = readers.share.reader(index);
        let ledger = Ledger::new(readers.share.plan.tracks_of(number));
        readers.books.lock().ledgers.push(ledger);
        Self {
            readers,
            index,
            number,
            connection,
        }
    }

    /// Connects, gives its place to another that is to, and reads until the stream ends.
    pub(super) async fn run(self, id: Option<Arc<str>>, place: OwnedSemaphorePermit) {
        let share = &self.readers.share;
        let began = share.clock.micros();
        let answer = timeout(PATIENCE, self.subscribe(id.as_deref())).await;
        drop(place);
        let late = |_| {
            Err(anyhow!(
                "a reader had no answer in {PATIENCE:?}; may a connection have so many streams?"
            ))
        };
        match answer.unwrap_or_else(late) {
            Ok(body) => {
                share.opened(&mut self.readers.books.lock().tally, began);
                self.read(body).await;
                share.progress.closed.fetch_add(1, Relaxed);
            }
            Err(error) => share.progress.fail(&error),
        }
    }

    async fn subscribe(&self, id: Option<&str>) -> anyhow::Result<Incoming> {
        let request = self.request(id)?;
        let mut sender = self
            .connection
            .get_or_try_init(|| self.connect())
            .await?
            .clone();
        let answer = sender.send_request(request).await;
        let answer = answer
            .context("a request over HTTP/2 failed; does the server speak it without TLS?")?;
        if answer.status() == StatusCode::OK {
            return Ok(answer.into_body());
        }
        let status = answer.status().as_u16();
        // What came with the head, to say why.
        let frame = answer.into_body().frame().now_or_never().flatten();
        let text = frame.and_then(|frame| frame.ok()?.into_data().ok());
        let detail = detail(&text.unwrap_or_default());
        bail!("a reader was answered with {status}: {detail}")
    }

    fn request(&self, id: Option<&str>) -> anyhow::Result<Request<Empty<Bytes>>> {
        let target = &self.readers.share.target;
        let path = target.path(&self.readers.share.plan, self.number);
        let mut request = Request::get(format!("http://{}{path}", target.url.authority))
            .header("accept", "text/event-stream");
        for line in target.headers.lines() {
            let (name, value) = line.split_once(": ").context("a header has a value")?;
            request = request.header(name, value);
        }
        if let Some(id) = id {
            request = request.header("last-event-id", id);
        }
        request.body(Empty::new()).context("no request can be made")
    }

    async fn connect(&self) -> anyhow::Result<Sender> {
        let stream = self.socket().await.context("a connect failed")?;
        let (sender, connection) = Builder::new(TokioExecutor::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .handshake(TokioIo::new(stream))
            .await
            .context("HTTP/2 did not begin")?;
        // Its streams tell how it ends.
        tokio::spawn(connection.map(drop));
        Ok(sender)
    }

    async fn socket(&self) -> std::io::Result<TcpStream> {
        let address = self.readers.share.target.url.address;
        let socket = match address.is_ipv4() {
            true => TcpSocket::new_v4()?,
            false => TcpSocket::new_v6()?,
        };
        let connection = self.number / self.readers.streams;
        if let Some(source) = source(address, connection) {
            socket.bind((source, 0).into())?;
        }
        let stream = socket.connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    async fn read(&self, mut body: Incoming) {
        let mut held = Vec::new();
        while let Some(Ok(frame)) = body.frame().await {
            let Some(data) = frame.data_ref() else {
                continue;
            };
            held.extend_from_slice(data);
            let hold = self.readers.receive(self.index, &held);
            held.drain(..held.len() - hold);
        }
    }
}
