//! A TCP proxy that lies once about an event.

use parking_lot::Mutex;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, tcp};
use tokio::task::JoinHandle;

/// What is done to the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lie {
    Drop,
    Double,
    /// It comes after the one that follows it.
    Swap,
    /// A byte of its data is another.
    Alter,
    /// A gap is told in its place.
    Announce,
}

/// A proxy to one address. Dropping it ends it, for connections to come.
pub(super) struct LyingProxy {
    pub(super) address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    lie: Lie,
    /// Events to pass on faithfully first, over all connections.
    left: Mutex<usize>,
    /// The event that it has lied about.
    told: Mutex<Option<String>>,
}

impl LyingProxy {
    /// Passes on to `upstream`, and lies about the event after so many.
    pub(super) async fn start(upstream: SocketAddr, lie: Lie, faithful: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            lie,
            left: Mutex::new(faithful),
            told: Mutex::default(),
        });
        let accepting = tokio::spawn({
            let shared = shared.clone();
            async move {
                loop {
                    let (client, _) = listener.accept().await.unwrap();
                    tokio::spawn(pass_on(shared.clone(), client, upstream));
                }
            }
        });
        Self {
            address,
            shared,
            accepting,
        }
    }

    /// The id of the event that it has lied about.
    pub(super) fn id(&self) -> String {
        self.shared.told.lock().clone().expect("it has lied")
    }
}

impl Drop for LyingProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Asks as a client of HTTP/1.0, whose answers are not in chunks and end with the connection.
async fn pass_on(shared: Arc<Shared>, client: TcpStream, upstream: SocketAddr) -> io::Result<()> {
    let server = TcpStream::connect(upstream).await?;
    let (mut from_client, to_client) = client.into_split();
    let (from_server, mut to_server) = server.into_split();
    let head = read_until(&mut from_client, b"\r\n\r\n").await?;
    let head = String::from_utf8_lossy(&head).replacen("HTTP/1.1", "HTTP/1.0", 1);
    let is_post = head.starts_with("POST");
    to_server.write_all(head.as_bytes()).await?;
    let up = async { tokio::io::copy(&mut from_client, &mut to_server).await };
    let down = async {
        match is_post {
            true => copy(from_server, to_client).await,
            false => lie(&shared, from_server, to_client).await,
        }
    };
    // A client that is gone ends both; one that has sent everything waits for its answer.
    tokio::select! {
        down = down => down,
        Err(error) = up => Err(error),
    }
}

async fn copy(mut from: tcp::OwnedReadHalf, mut to: tcp::OwnedWriteHalf) -> io::Result<()> {
    tokio::io::copy(&mut from, &mut to).await.map(|_| ())
}

/// Up to the end of the head or of a block, one byte at a time.
async fn read_until(from: &mut tcp::OwnedReadHalf, end: &[u8]) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(end) {
        bytes.push(from.read_u8().await?);
    }
    Ok(bytes)
}

async fn lie(
    shared: &Shared,
    mut from: tcp::OwnedReadHalf,
    mut to: tcp::OwnedWriteHalf,
) -> io::Result<()> {
    to.write_all(&read_until(&mut from, b"\r\n\r\n").await?)
        .await?;
    let mut held = None;
    let mut last = String::new();
    loop {
        let block = read_until(&mut from, b"\n\n").await?;
        let block = String::from_utf8(block).expect("text");
        let is_event = block.contains("data: ") && !block.contains("event: hub:");
        let id = block.lines().find_map(|line| line.strip_prefix("id: "));
        let id = id.unwrap_or_default().to_owned();
        match is_event && shared.is_due(&id) {
            true => match shared.lie {
                Lie::Drop => {}
                Lie::Double => to.write_all(block.repeat(2).as_bytes()).await?,
                Lie::Swap => held = Some(block),
                Lie::Alter => {
                    let altered = block.replacen("verify ", "verify 1", 1);
                    to.write_all(altered.as_bytes()).await?;
                }
                Lie::Announce => to.write_all(gap(&last, &id).as_bytes()).await?,
            },
            false => {
                to.write_all(block.as_bytes()).await?;
                if let Some(held) = held.take_if(|_| is_event) {
                    to.write_all(held.as_bytes()).await?;
                }
            }
        }
        last = id;
    }
}

fn gap(after: &str, id: &str) -> String {
    format!(
        "event: hub:gap\nid: {id}\ndata: {{\"after\":\"{after}\",\"before\":\"{id}\",\"reason\":\"limit\"}}\n\n"
    )
}

impl Shared {
    /// Whether this is the event to lie about; if so, it is noted.
    fn is_due(&self, id: &str) -> bool {
        let mut left = self.left.lock();
        let mut told = self.told.lock();
        let is_due = *left == 0 && told.is_none();
        *left = left.saturating_sub(1);
        if is_due {
            *told = Some(id.to_owned());
        }
        is_due
    }
}
