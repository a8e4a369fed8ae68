//! The floor: what any server has to do for the same bytes, and nothing else.
//!
//! A loop writes one prepared chunk to one socket after the other. There is no HTTP library, no event loop,
//! no backlog and no resume; a socket that is full loses the event.

use anyhow::Context;
use socket2::{Domain, Socket, Type};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

/// As long as Tidings' own.
const BACKLOG: i32 = 4096;
/// What Tidings answers, byte for byte, its first block included.
const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\n\
    content-type: text/event-stream\r\n\
    cache-control: no-store, no-transform\r\n\
    x-accel-buffering: no\r\n\
    vary: Origin\r\n\
    transfer-encoding: chunked\r\n\
    date: Sun, 22 Nov 2026 15:04:05 GMT\r\n\r\n\
    32\r\nretry: 2000\nevent: hub:position\nid: 0-0\ndata: {}\n\n\r\n";

/// The sockets of each feed's readers.
#[derive(Clone, Default)]
struct Feeds(Arc<Mutex<HashMap<String, Vec<TcpStream>>>>);

pub(crate) fn serve(address: SocketAddr) -> anyhow::Result<()> {
    rlimit::increase_nofile_limit(u64::MAX)?;
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    let feeds = Feeds::default();
    for stream in TcpListener::from(socket).incoming() {
        feeds.admit(stream?)?;
    }
    Ok(())
}

impl Feeds {
    fn admit(&self, mut stream: TcpStream) -> anyhow::Result<()> {
        let mut request = [0; 4096];
        stream.set_nodelay(true)?;
        let count = stream.read(&mut request)?;
        let text = std::str::from_utf8(&request[..count])?;
        if let Some(feed) = path(text, "GET ") {
            stream.write_all(HEAD)?;
            stream.set_nonblocking(true)?;
            self.lock().entry(feed.to_owned()).or_default().push(stream);
        } else {
            let (feeds, first) = (self.clone(), text.to_owned());
            // A publisher that leaves ends its thread.
            std::thread::spawn(move || feeds.publisher(stream, first));
        }
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Vec<TcpStream>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers one publish after the other; each comes in one piece.
    fn publisher(&self, mut stream: TcpStream, mut request: String) -> anyhow::Result<()> {
        let mut buffer = [0; 64 << 10];
        for sequence in 1.. {
            let feed = path(&request, "POST ").context("a publish")?;
            let (_, data) = request.split_once("\r\n\r\n").context("a body")?;
            self.publish(feed, sequence, data);
            let receipt = format!("{{\"id\":\"{sequence}-k3f9xq\",\"feed\":\"{feed}\"}}\n");
            let head = "HTTP/1.1 201 Created\r\ncontent-type: application/json\r\n";
            let answer = format!("{head}content-length: {}\r\n\r\n{receipt}", receipt.len());
            stream.write_all(answer.as_bytes())?;
            let count = stream.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            request = std::str::from_utf8(&buffer[..count])?.to_owned();
        }
        Ok(())
    }

    fn publish(&self, feed: &str, sequence: u64, data: &str) {
        let event = format!("id: {sequence}-k3f9xq\ndata: {data}\n\n");
        let chunk = format!("{:x}\r\n{event}\r\n", event.len());
        if let Some(readers) = self.lock().get_mut(feed) {
            for reader in readers {
                // One that is full or gone shows as a loss in the report.
                let _ = reader.write(chunk.as_bytes());
            }
        }
    }
}

/// The path of a request with this method.
fn path<'a>(request: &'a str, method: &str) -> Option<&'a str> {
    request.strip_prefix(method)?.split(' ').next()
}
