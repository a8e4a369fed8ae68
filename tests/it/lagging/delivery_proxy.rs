//! A TCP proxy to a nats-server that can withhold what consumers deliver, and nothing else.

use parking_lot::Mutex;
use std::sync::Arc;
use tokio::io::{self, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream, tcp};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};

/// What follows through this proxy lags once told to, and can ask the log all the same. Ends when dropped.
pub(crate) struct DeliveryProxy {
    port: u16,
    withheld: watch::Sender<bool>,
    accepting: JoinHandle<()>,
    connections: Arc<Mutex<JoinSet<io::Result<()>>>>,
}

/// What the server sends in one piece: a line, with the payload that it announces.
struct Frame {
    bytes: Vec<u8>,
    is_delivery: bool,
}

impl DeliveryProxy {
    /// Listens on a port of its own, and passes on to the server at `upstream`.
    pub(crate) async fn start(upstream: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let withheld = watch::Sender::new(false);
        let connections: Arc<Mutex<JoinSet<_>>> = Arc::default();
        let accepting = tokio::spawn({
            let (withheld, connections) = (withheld.clone(), connections.clone());
            async move {
                loop {
                    let (client, _) = listener.accept().await.unwrap();
                    let passing = pass(client, upstream, withheld.subscribe());
                    connections.lock().spawn(passing);
                }
            }
        });
        Self {
            port,
            withheld,
            accepting,
            connections,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Withholds what consumers deliver from now on.
    pub(crate) fn withhold(&self) {
        self.withheld.send_replace(true);
    }

    /// Passes on what was withheld, and all that comes.
    pub(crate) fn pass_on(&self) {
        self.withheld.send_replace(false);
    }
}

impl Drop for DeliveryProxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.connections.lock().abort_all();
    }
}

async fn pass(
    mut client: TcpStream,
    upstream: u16,
    withheld: watch::Receiver<bool>,
) -> io::Result<()> {
    let mut server = TcpStream::connect(("127.0.0.1", upstream)).await?;
    let (mut from_client, to_client) = client.split();
    let (from_server, mut to_server) = server.split();
    let (frames, read) = mpsc::unbounded_channel();
    tokio::select! {
        up = io::copy(&mut from_client, &mut to_server) => up.map(|_| ()),
        down = read_frames(from_server, frames) => down,
        written = write_frames(to_client, read, withheld) => written,
    }
}

async fn read_frames(
    from: tcp::ReadHalf<'_>,
    frames: mpsc::UnboundedSender<Frame>,
) -> io::Result<()> {
    let mut from = BufReader::new(from);
    loop {
        let mut bytes = Vec::new();
        if from.read_until(b'\n', &mut bytes).await? == 0 {
            return Ok(());
        }
        let line = String::from_utf8_lossy(&bytes).into_owned();
        let is_message = line.starts_with("MSG ") || line.starts_with("HMSG ");
        if is_message {
            let size = line.split_whitespace().last().expect("a size");
            let size: usize = size.parse().expect("a number");
            let head = bytes.len();
            bytes.resize(head + size + 2, 0);
            from.read_exact(&mut bytes[head..]).await?;
        }
        let is_delivery = is_message && line.contains(" $JS.ACK.");
        if frames.send(Frame { bytes, is_delivery }).is_err() {
            return Ok(());
        }
    }
}

async fn write_frames(
    mut to: tcp::WriteHalf<'_>,
    mut frames: mpsc::UnboundedReceiver<Frame>,
    mut withheld: watch::Receiver<bool>,
) -> io::Result<()> {
    let mut kept: Vec<Frame> = Vec::new();
    loop {
        tokio::select! {
            Some(frame) = frames.recv() => {
                if frame.is_delivery && (*withheld.borrow() || !kept.is_empty()) {
                    kept.push(frame); // in order, also when those before it are about to go
                } else {
                    to.write_all(&frame.bytes).await?;
                }
            }
            Ok(()) = withheld.changed() => {
                if !*withheld.borrow_and_update() {
                    for frame in kept.drain(..) {
                        to.write_all(&frame.bytes).await?;
                    }
                }
            }
            else => return Ok(()),
        }
    }
}
