//! The listener: accepts connections, and ends them in good order.

use super::handoff::{Slot, Socket};
use super::idle::Idle;
use super::no_tls;
use super::problem::Problem;
use super::stall::{Stall, Watch};
use super::tls::{Accepted, Tls};
use super::transport::Transport;
use crate::clients::{Address, Full, Permit, Proxies, Seat, Seats};
use crate::metrics::{Connections, Fate};
use axum::Router;
use axum::response::Response;
use futures::future::{BoxFuture, Either};
use http::{Request, Version};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use parking_lot::RwLock;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tower::ServiceExt;
use tower::util::Oneshot;

/// Connections that the kernel holds until they are accepted. A thousand, tokio's default, is too few when
/// all clients come back at once: those beyond wait for their next SYN, for a second and more.
const BACKLOG: u32 = 4096;
/// Streams of an HTTP/2 connection that its client has reset before they were looked at, and streams of which the server
/// has reset or refused so many: who causes more is told to calm down (ENHANCE_YOUR_CALM), and his connection ends. A
/// client that resets what it has just asked for costs more than it pays (CVE-2023-44487), and so does one that has the
/// server do it (CVE-2025-8671).
const MAX_HTTP2_RESETS_UNSEEN: usize = 20;
const MAX_HTTP2_RESETS_CAUSED: usize = 1024;
/// How much of one body, and of all bodies of a connection, may come over HTTP/2 before anyone reads it, in bytes.
const HTTP2_STREAM_WINDOW: u32 = 128 << 10;
const HTTP2_CONNECTION_WINDOW: u32 = 256 << 10;
/// An HTTP/2 connection is asked for a sign of life this often, and closed when none comes.
const HTTP2_PING: Duration = Duration::from_secs(20);
/// After an error of the listener itself, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How often it is looked, at the end, whether all connections are closed.
const LOOK: Duration = Duration::from_millis(20);

/// When to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Drain {
    /// Not yet.
    No,
    /// Accept nothing more, and end what is open in good order.
    Yes,
    /// Cut off what is open still.
    Over,
}

/// A bound listener.
#[derive(Debug)]
pub(crate) struct Server {
    listener: TcpListener,
    connections: Connections,
    door: Door,
    bounds: Bounds,
    tls: Option<Tls>,
}

/// What every connection is served with.
struct Serving {
    builder: auto::Builder<TokioExecutor>,
    router: Arc<RwLock<Router>>,
    bounds: Bounds,
    tls: Option<Tls>,
    drain: watch::Receiver<Drain>,
}

/// What bounds each connection.
#[derive(Clone, Debug)]
pub(crate) struct Bounds {
    /// How long the head of a request may take.
    pub(crate) head_timeout: Duration,
    /// The largest head, in bytes.
    pub(crate) max_head: u32,
    /// Requests at once on an HTTP/2 connection.
    pub(crate) max_http2_streams: u32,
    /// How long a client may take nothing of what it is sent.
    pub(crate) stall: Stall,
    /// Looks for those over HTTP/2.
    pub(crate) watch: Watch,
}

/// How many connections one address may have. Those of trusted proxies are for many.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    pub(crate) seats: Seats,
    pub(crate) proxies: Arc<Proxies>,
}

/// The other end of a connection; found among the request's extensions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) SocketAddr);

/// Ends a connection over HTTP/1 that its client has left standing; found among the request's extensions.
/// Cloning it gives another handle.
#[derive(Clone, Debug, Default)]
pub(super) struct Cut(Arc<Notify>);

impl Cut {
    pub(super) fn now(&self) {
        self.0.notify_one();
    }

    async fn wanted(&self) {
        self.0.notified().await;
    }
}

impl Server {
    /// Listens on `address`, for as many connections at once as there are places. With `tls` they speak that.
    pub(crate) fn bind(
        address: SocketAddr,
        connections: Connections,
        door: Door,
        bounds: Bounds,
        tls: Option<Tls>,
    ) -> io::Result<Self> {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()
        } else {
            TcpSocket::new_v6()
        }?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok(Self {
            listener: socket.listen(BACKLOG)?,
            connections,
            door,
            bounds,
            tls,
        })
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until told to drain, and returns when every connection has ended. Each request is served by the router that
    /// there is when it comes.
    pub(crate) async fn serve(
        self,
        router: Arc<RwLock<Router>>,
        mut drain: watch::Receiver<Drain>,
    ) {
        let serving = Arc::new(Serving {
            builder: builder(&self.bounds),
            router,
            bounds: self.bounds.clone(),
            tls: self.tls.clone(),
            drain: drain.clone(),
        });
        loop {
            let (stream, peer, permit) = tokio::select! {
                accepted = self.accept() => accepted,
                _ = drain.wait_for(|drain| *drain != Drain::No) => break,
            };
            tokio::spawn(serving.clone().connection(stream, peer, permit));
        }
        drop(self.listener);
        // Each has its place until it ends, also those that shards or WebSockets have taken. Who waits for all places
        // takes those that are free, and then nobody could tell how many are open.
        while self.connections.open() > 0 {
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn accept(&self) -> (TcpStream, Peer, Permit) {
        self.room().await;
        let mut failed = false;
        loop {
            match self.listener.accept().await {
                Ok((socket, peer)) => {
                    let seat = match self.door.seat(peer.ip()) {
                        Ok(seat) => seat,
                        Err(full) => {
                            refuse(&socket, &full);
                            continue;
                        }
                    };
                    // A delivery is one write: nothing is gained by waiting for more.
                    if let Err(error) = socket.set_nodelay(true) {
                        tracing::debug!(%error, "TCP_NODELAY was refused");
                    }
                    self.connections.accepted.inc();
                    if failed {
                        tracing::info!("connections are accepted again");
                    }
                    // There is one: nobody else takes any.
                    let place = self.connections.places.clone().acquire_owned().await;
                    let permit = Permit::new(place.expect("it is never closed"), seat);
                    return (socket, Peer(peer), permit);
                }
                Err(error) if is_of_connection(&error) => {}
                Err(error) => {
                    self.connections.accept_errors.inc();
                    if !failed {
                        tracing::error!(%error, "no connection can be accepted for now; is the limit of open files (nofile) too low?");
                    }
                    failed = true;
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Waits until there is a place for one more connection.
    async fn room(&self) {
        let places = &self.connections.places;
        if places.available_permits() > 0 {
            return;
        }
        let before = self.connections.full.inc();
        // Told ever more rarely: at the limit it may happen with each connection.
        if before.count_ones() <= 1 {
            tracing::warn!(
                times = before + 1,
                "{} connections are open, as many as --max-connections allows: the next one waits",
                self.connections.max
            );
        }
        drop(places.acquire().await.expect("it is never closed"));
    }
}

impl Door {
    fn seat(&self, peer: IpAddr) -> Result<Seat, Full> {
        let address = Address::of(peer).filter(|_| !self.proxies.trusts(peer));
        let seat = self.seats.take(address, None);
        if let Err(full) = &seat {
            let times = self.seats.refused().address.get();
            // Told ever more rarely, as those may be many who are refused.
            if times.is_power_of_two() {
                tracing::warn!(
                    times,
                    "{full}; if it is a proxy, name it with --trusted-proxies"
                );
            }
        }
        seat
    }
}

/// Says why a connection is closed, as far as that can be said at once.
fn refuse(socket: &TcpStream, full: &Full) {
    let body = Problem::from(full.clone()).json();
    let answer = format!(
        "HTTP/1.1 429 Too Many Requests\r\ncontent-type: application/problem+json\r\nretry-after: 10\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    // A new socket has room for it, or is gone.
    let _ = socket.try_write(answer.as_bytes());
}

impl Serving {
    async fn connection(self: Arc<Self>, stream: TcpStream, peer: Peer, permit: Permit) {
        let deadline = Instant::now() + self.bounds.head_timeout;
        let slot = Slot::default();
        let (fate, handed) = (slot.fate(), slot.clone());
        let cut = Cut::default();
        let socket = Socket::new(stream, permit, slot.clone(), self.bounds.stall.clone());
        let (transport, router, slot) = match &self.tls {
            None => {
                let transport = Transport::clear(socket, deadline);
                (transport, self.router.clone(), Some(slot))
            }
            // Boxed, as the task of each connection would be larger by it.
            Some(tls) => match Box::pin(self.accepted(tls, socket, deadline)).await {
                Accepted::Tls(transport) => (transport, self.router.clone(), None),
                Accepted::Clear(transport) => {
                    let router = Arc::new(RwLock::new(no_tls()));
                    (transport, router, None)
                }
                Accepted::Nothing => return,
            },
        };
        let idle = Idle::default();
        let service = Routes {
            router,
            peer,
            fate,
            slot,
            cut: cut.clone(),
            idle: idle.clone(),
            watch: self.bounds.watch.clone(),
        };
        let connection = self
            .builder
            .serve_connection_with_upgrades(TokioIo::new(transport), service);
        let (mut drain, mut over) = (self.drain.clone(), self.drain.clone());
        let mut connection = pin!(connection);
        let (mut drains, mut was_idle) = (false, false);
        loop {
            tokio::select! {
                // One that breaks is the client's business: nothing is lost by it.
                ended = connection.as_mut() => {
                    if let Err(error) = ended && !handed.is_given_away() {
                        tracing::debug!(%error, "a connection ended");
                    }
                    break;
                }
                // An error is the server gone, which means the same; likewise below.
                _ = drain.wait_for(|drain| *drain != Drain::No), if !drains => {
                    connection.as_mut().graceful_shutdown();
                    drains = true;
                }
                () = idle.over(self.bounds.head_timeout) => {
                    // Its client has not even answered that.
                    if was_idle {
                        break tracing::debug!("a connection without a request was cut off");
                    }
                    connection.as_mut().graceful_shutdown();
                    was_idle = true;
                }
                () = cut.wanted() => break tracing::debug!("a connection was cut off"),
                _ = over.wait_for(|drain| *drain == Drain::Over) => break,
            }
        }
    }

    /// Who has asked for nothing yet when the server ends does not hold that up.
    async fn accepted(&self, tls: &Tls, socket: Socket, deadline: Instant) -> Accepted {
        let mut drain = self.drain.clone();
        tokio::select! {
            accepted = tls.accept(socket, deadline) => accepted,
            _ = drain.wait_for(|drain| *drain != Drain::No) => Accepted::Nothing,
        }
    }
}

/// The routes as one connection sees them.
#[derive(Clone)]
struct Routes {
    router: Arc<RwLock<Router>>,
    peer: Peer,
    /// What tells whether the client has stalled.
    fate: Fate,
    /// `None` where the socket is of no use without what is around it.
    slot: Option<Slot>,
    cut: Cut,
    idle: Idle,
    watch: Watch,
}

impl hyper::service::Service<Request<Incoming>> for Routes {
    type Response = Response;
    type Error = Infallible;
    type Future = Either<
        Oneshot<Router, Request<Incoming>>,
        BoxFuture<'static, Result<Response, Infallible>>,
    >;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        // HTTP/1.0 has no chunks, and HTTP/2 shares its socket: they keep theirs.
        if let (Version::HTTP_11, Some(slot)) = (request.version(), &self.slot) {
            request.extensions_mut().insert(slot.clone());
        }
        request.extensions_mut().insert(self.peer);
        let router = self.router.read().clone();
        if request.version() < Version::HTTP_2 {
            self.idle.is_bounded();
            request.extensions_mut().insert(self.fate.clone());
            request.extensions_mut().insert(self.cut.clone());
            return Either::Left(router.oneshot(request));
        }
        let (busy, fate, watch) = (self.idle.request(), Fate::default(), self.watch.clone());
        request.extensions_mut().insert(fate.clone());
        let answer = async move {
            let response = router.oneshot(request).await?;
            Ok(response.map(|body| watch.over(body, fate, busy)))
        };
        Either::Right(Box::pin(answer))
    }
}

/// Whether an error of `accept` is about the one connection that was to be accepted.
fn is_of_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

fn builder(bounds: &Bounds) -> auto::Builder<TokioExecutor> {
    let max_head = usize::try_from(bounds.max_head).unwrap_or(usize::MAX);
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.head_timeout)
        .max_buf_size(max_head);
    builder
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(HTTP2_STREAM_WINDOW)
        .initial_connection_window_size(HTTP2_CONNECTION_WINDOW)
        .max_concurrent_streams(bounds.max_http2_streams)
        .max_pending_accept_reset_streams(MAX_HTTP2_RESETS_UNSEEN)
        .max_local_error_reset_streams(MAX_HTTP2_RESETS_CAUSED)
        .max_header_list_size(bounds.max_head)
        .keep_alive_interval(HTTP2_PING)
        .keep_alive_timeout(HTTP2_PING);
    builder
}
