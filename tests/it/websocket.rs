//! Clients that talk back.

mod client;
mod ending;
mod foreign;
mod handshake;
mod hostile;
mod messages;
mod publishing;
mod requests;
mod subscribing;
mod wire;

use crate::replica::{Replica, within};
pub(crate) use client::{Client, refusal};
use socket2::SockRef;
use tokio::net::{TcpSocket, TcpStream};

/// A connection with small buffers, as over Ethernet.
async fn narrow(replica: &Replica) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    SockRef::from(&socket)
        .set_tcp_mss(1460)
        .expect("small segments");
    let connected = within("a connection", socket.connect(replica.address)).await;
    connected.expect("a connection")
}
