//! Readers that never read.

use super::plan::Plan;
use super::subscribers::Target;
use anyhow::Context;
use socket2::{Domain, Protocol, Socket, Type};
use std::io::Write;
use std::net::TcpStream;

/// What such a reader's socket takes by itself, in bytes.
const BUFFER: usize = 4096;
/// What a segment holds, as over Ethernet: over loopback it would be forty times as much, and with it what the
/// server's kernel takes before a socket is full.
const SEGMENT: u32 = 1460;

/// Asks for so many streams over HTTP/1.1, of the same feeds as the readers; open until they are dropped.
pub(super) fn open(count: u32, plan: &Plan, target: &Target) -> anyhow::Result<Vec<TcpStream>> {
    let readers = (0..plan.readers.max(1)).cycle();
    let opened = readers.take(count as usize).map(|reader| {
        let address = target.url.address;
        let kind = Type::STREAM;
        let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP))?;
        socket.set_recv_buffer_size(BUFFER)?;
        socket.set_tcp_mss(SEGMENT)?;
        socket.connect(&address.into())?;
        let mut stream = TcpStream::from(socket);
        stream.write_all(target.request(plan, reader, None).as_bytes())?;
        Ok(stream)
    });
    let opened: anyhow::Result<_> = opened.collect();
    opened.context("a reader that never reads can't connect")
}
