//! What is done to wear a server out, or to get past it. Who does no harm is served all the while.

mod http2;
mod injection;
mod oversized;
mod pages;
mod paths;
mod slow;
mod smuggling;
mod tokens;

use crate::connections::metrics;
use crate::program::Program;
use crate::replica::within;
use crate::sse::Stream;
use reqwest::Client;
use serde_json::Value;
use std::net::SocketAddr;
use std::pin::pin;

/// The feed of those who do no harm; everyone may use what is below `public`.
const HEALTH: &str = "public.health";

/// What is meant for everyone, where the rest is not.
const PUBLIC: [&str; 4] = [
    "--anonymous-subscribe",
    "public.>",
    "--anonymous-publish",
    "public.>",
];

/// One who publishes, and reads what he publishes.
struct Healthy {
    client: Client,
    url: String,
    stream: Stream,
    published: u64,
}

impl Healthy {
    async fn connect(address: SocketAddr) -> Self {
        let client = Client::new();
        let url = format!("http://{address}/feeds/{HEALTH}");
        let (stream, _) = Stream::begin(client.get(&url)).await;
        Self {
            client,
            url,
            stream,
            published: 0,
        }
    }

    /// Publishes an event, and is sent that one and no other.
    async fn round(&mut self) {
        self.published += 1;
        let data = self.published.to_string();
        let publish = self.client.post(&self.url).body(data.clone()).send();
        let answer = within("an answer beside an attack", publish).await;
        assert_eq!(answer.expect("an answer").status(), 201);
        assert_eq!(self.stream.data(1).await, [data]);
    }

    /// Goes on for as long as an attack does, and once more afterwards.
    async fn beside<T>(&mut self, attack: impl Future<Output = T>) -> T {
        let (mut attack, mut ended) = (pin!(attack), None);
        while ended.is_none() {
            let mut round = pin!(self.round());
            tokio::select! {
                () = &mut round => {}
                result = &mut attack => {
                    ended = Some(result);
                    round.await;
                }
            }
        }
        self.round().await;
        ended.expect("it has ended")
    }
}

/// The program with these arguments, once it is ready, and one who does no harm to it.
async fn start(arguments: &[&str]) -> (Program, SocketAddr, Healthy) {
    let mut program = Program::start(&[&["--listen", "127.0.0.1:0"], arguments].concat());
    let address = program.address().await;
    within("the program to be ready", async {
        let url = format!("http://{address}/readyz");
        while reqwest::get(&url).await.expect("an answer").status() != 200 {}
    })
    .await;
    (program, address, Healthy::connect(address).await)
}

/// Waits until few connections are left: those of whoever does no harm, and of who asks.
async fn all_gone(address: SocketAddr) {
    within("the places of connections to come back", async {
        while metrics(address).await["tidings_http_connections"] > 5 {}
    })
    .await;
}

/// What everyone can read of a feed, as envelopes.
async fn events(address: SocketAddr, feed: &str) -> Vec<Value> {
    let url = format!("http://{address}/feeds/{feed}?after=start");
    let request = Client::new().get(url).header("Accept", "application/json");
    let answer = within("an answer", request.send()).await;
    let body = answer.expect("an answer").text().await.expect("a body");
    let mut page: Value = serde_json::from_str(&body).expect("JSON");
    match page["events"].take() {
        Value::Array(events) => events,
        other => panic!("{other} instead of events: {body}"),
    }
}
