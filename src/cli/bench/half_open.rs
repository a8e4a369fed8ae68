//! Clients that begin a request and never end it.

use super::subscribers::Target;
use anyhow::Context;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How often it is looked which of them the server has ended.
const LOOK: Duration = Duration::from_millis(100);

/// So many of them at any time, until it is dropped: one that the server ends is followed by another.
pub(super) struct HalfOpen {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl HalfOpen {
    pub(super) fn begin(count: u32, target: &Target) -> anyhow::Result<Self> {
        let target = target.clone();
        let opened: anyhow::Result<Vec<_>> = (0..count).map(|_| open(&target)).collect();
        let mut all = opened.context("a client that never ends its request can't connect")?;
        let over = Arc::new(AtomicBool::new(all.is_empty()));
        let is_over = over.clone();
        let thread = thread::spawn(move || {
            while !is_over.load(Relaxed) {
                for stream in &mut all {
                    // One that can't be opened now is tried again at the next look.
                    if has_ended(stream)
                        && let Ok(next) = open(&target)
                    {
                        *stream = next;
                    }
                }
                thread::sleep(LOOK);
            }
        });
        Ok(Self {
            over,
            thread: Some(thread),
        })
    }
}

impl Drop for HalfOpen {
    fn drop(&mut self) {
        self.over.store(true, Relaxed);
        // An error is its panic, which was told.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// The head of a request, up to the line that would end it.
fn open(target: &Target) -> anyhow::Result<TcpStream> {
    let mut stream = TcpStream::connect(target.url.address)?;
    let authority = &target.url.authority;
    write!(
        stream,
        "GET / HTTP/1.1\r\nHost: {authority}\r\nX-Never: ends"
    )?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}

fn has_ended(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0; 64]) {
        Ok(count) => count == 0,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    }
}
