//! A reader's connection: its socket is its own, so that it can really leave it unread.

use http::{HeaderMap, Request, Response, header};
use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use reqwest::Url;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

/// What the system receives ahead for a slow reader, and what is read ahead of it, in bytes.
const SLOW_BYTES: u32 = 4096;
const SLOW_READ: usize = 8192;

/// An open connection. It is cut when dropped.
pub(super) struct Connection {
    sender: SendRequest<Empty<Bytes>>,
    driving: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driving.abort();
    }
}

trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Socket for T {}

/// Connects to the server of `url`.
pub(super) async fn open(
    url: &Url,
    tls: &Arc<ClientConfig>,
    is_slow: bool,
) -> anyhow::Result<Connection> {
    let socket = socket(url, tls, is_slow).await?;
    let mut builder = http1::Builder::new();
    if is_slow {
        builder.max_buf_size(SLOW_READ);
    }
    let (sender, connection) = builder.handshake(TokioIo::new(socket)).await?;
    let driving = tokio::spawn(async move {
        // What goes wrong, its body tells.
        let _ = connection.await;
    });
    Ok(Connection { sender, driving })
}

impl Connection {
    /// Asks for what `url` names, once the answer before was read to its end.
    pub(super) async fn ask(
        &mut self,
        url: &Url,
        headers: HeaderMap,
    ) -> anyhow::Result<Response<Incoming>> {
        self.sender.ready().await?;
        Ok(self.sender.send_request(request(url, headers)?).await?)
    }
}

fn request(url: &Url, headers: HeaderMap) -> anyhow::Result<Request<Empty<Bytes>>> {
    let target = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    let host = url.host_str().unwrap_or_default();
    let authority = match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    };
    let request = Request::get(target)
        .header(header::HOST, authority)
        .header(header::CACHE_CONTROL, "no-store");
    let mut request = request.body(Empty::new())?;
    request.headers_mut().extend(headers);
    Ok(request)
}

async fn socket(
    url: &Url,
    tls: &Arc<ClientConfig>,
    is_slow: bool,
) -> anyhow::Result<Box<dyn Socket>> {
    let host = url.host_str().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = url.port_or_known_default().unwrap_or(80);
    let mut last = io::Error::other(format!("{host} has no address"));
    for address in tokio::net::lookup_host((host, port)).await? {
        let stream = match connect(address, is_slow).await {
            Ok(stream) => stream,
            Err(error) => {
                last = error;
                continue;
            }
        };
        if url.scheme() != "https" {
            return Ok(Box::new(stream));
        }
        let name = ServerName::try_from(host.to_owned())?;
        let tls = TlsConnector::from(tls.clone());
        return Ok(Box::new(tls.connect(name, stream).await?));
    }
    Err(last.into())
}

async fn connect(address: SocketAddr, is_slow: bool) -> io::Result<TcpStream> {
    let socket = match address.is_ipv4() {
        true => TcpSocket::new_v4()?,
        false => TcpSocket::new_v6()?,
    };
    if is_slow {
        socket.set_recv_buffer_size(SLOW_BYTES)?;
    }
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
