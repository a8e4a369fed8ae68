//! A TCP proxy that cuts connections, at a given byte or when told to, and that may lead elsewhere afterwards.

use parking_lot::Mutex;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, tcp};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How a connection is cut.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cut {
    /// Closed in order, as by a server that ends: the client has read all that was passed on.
    Close,
    /// Reset, as by a machine that is gone: what the client has not read yet is lost.
    Reset,
}

/// A proxy to one address. Dropping it cuts everything.
pub(crate) struct CuttingProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    upstream: Mutex<SocketAddr>,
    /// Bytes to pass on towards clients, over all connections, and how to cut then; the first is counted down.
    plan: Mutex<VecDeque<(usize, Cut)>>,
    /// How many cuts there were, and how the last one was made. Every open connection follows it.
    cuts: watch::Sender<(usize, Cut)>,
    /// Whether new connections are passed on; if not, they wait.
    held: watch::Sender<bool>,
}

impl CuttingProxy {
    /// Listens on a port of its own, and passes on to `upstream`.
    pub(crate) async fn start(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            upstream: Mutex::new(upstream),
            plan: Mutex::default(),
            cuts: watch::Sender::new((0, Cut::Close)),
            held: watch::Sender::new(false),
        });
        let accepting = tokio::spawn({
            let shared = shared.clone();
            async move {
                loop {
                    let (client, _) = listener.accept().await.unwrap();
                    tokio::spawn(shared.clone().pass_on(client));
                }
            }
        });
        Self {
            address,
            shared,
            accepting,
        }
    }

    /// Where clients connect to.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts every connection that is open now.
    pub(crate) fn cut(&self, how: Cut) {
        self.shared.cut(how);
    }

    /// Cuts every connection once this many more bytes have gone to clients, after the cuts planned before.
    pub(crate) fn cut_after(&self, bytes: usize, how: Cut) {
        self.shared.plan.lock().push_back((bytes, how));
    }

    /// Lets new connections wait, until [`release`](Self::release).
    pub(crate) fn hold(&self) {
        self.shared.held.send_replace(true);
    }

    /// Passes on new connections again, and those that wait.
    pub(crate) fn release(&self) {
        self.shared.held.send_replace(false);
    }

    /// Passes on new connections to another address.
    pub(crate) fn lead_to(&self, upstream: SocketAddr) {
        *self.shared.upstream.lock() = upstream;
    }

    /// How often it has cut.
    pub(crate) fn cuts(&self) -> usize {
        self.shared.cuts.borrow().0
    }
}

impl Drop for CuttingProxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut(Cut::Reset);
    }
}

impl Shared {
    fn cut(&self, how: Cut) {
        self.cuts.send_modify(|(count, last)| {
            *count += 1;
            *last = how;
        });
    }

    async fn pass_on(self: Arc<Self>, mut client: TcpStream) {
        let mut cuts = self.cuts.subscribe();
        let passing = async {
            let mut held = self.held.subscribe();
            held.wait_for(|held| !held).await.ok()?;
            let upstream = *self.upstream.lock();
            let mut server = TcpStream::connect(upstream).await.ok()?;
            let (from_client, to_client) = client.split();
            let (from_server, to_server) = server.split();
            tokio::select! {
                _ = up(from_client, to_server) => {}
                _ = self.down(from_server, to_client) => {}
            }
            Some(())
        };
        let cut = tokio::select! {
            biased;
            _ = cuts.changed() => Some(cuts.borrow().1),
            _ = passing => None,
        };
        if let Some(Cut::Reset) = cut {
            let _ = client.set_zero_linger();
        }
    }

    async fn down(
        &self,
        mut from: tcp::ReadHalf<'_>,
        mut to: tcp::WriteHalf<'_>,
    ) -> std::io::Result<()> {
        let mut buffer = [0; 4096];
        loop {
            let read = from.read(&mut buffer).await?;
            if read == 0 {
                return Ok(());
            }
            let (pass, cut) = self.count(read);
            to.write_all(&buffer[..pass]).await?;
            if let Some(how) = cut {
                self.cut(how);
                std::future::pending::<()>().await; // until the cut ends this too
            }
        }
    }

    /// How many of `bytes` may pass, and whether all is cut after them.
    fn count(&self, bytes: usize) -> (usize, Option<Cut>) {
        let mut plan = self.plan.lock();
        match plan.front_mut() {
            Some((left, how)) if *left <= bytes => {
                let due = (*left, Some(*how));
                plan.pop_front();
                due
            }
            Some((left, _)) => {
                *left -= bytes;
                (bytes, None)
            }
            None => (bytes, None),
        }
    }
}

async fn up(mut from: tcp::ReadHalf<'_>, mut to: tcp::WriteHalf<'_>) -> std::io::Result<()> {
    tokio::io::copy(&mut from, &mut to).await.map(|_| ())
}
