//! Publishing over HTTP: one request at a time on a connection that is kept.

use super::{Due, Schedule, Tally};
use crate::cli::bench::http;
use crate::cli::bench::template::{BodyTemplate, UrlTemplate};
use anyhow::{Context, ensure};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(30);
/// The longest answer that is read, in bytes.
const MAX_ANSWER: usize = 1 << 20;

/// What a publish looks like.
#[derive(Clone, Debug)]
pub(in crate::cli::bench) struct HttpTarget {
    pub(in crate::cli::bench) url: UrlTemplate,
    pub(in crate::cli::bench) body: BodyTemplate,
    /// Header lines of one's own.
    pub(in crate::cli::bench) headers: String,
}

impl HttpTarget {
    fn request(&self, feed: &str, data: &str) -> String {
        let path = self.url.target(std::iter::once(feed));
        let body = self.body.fill(feed, data);
        format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n{}\r\n{body}",
            self.url.authority,
            body.len(),
            self.headers
        )
    }
}

pub(super) fn run(schedule: &Schedule, target: &HttpTarget) -> Tally {
    std::thread::scope(|scope| {
        let publishers: Vec<_> = (0..schedule.plan.publishers())
            .map(|publisher| scope.spawn(move || publish(schedule, target, publisher)))
            .collect();
        let mut sum = Tally::new();
        for publisher in publishers {
            match publisher.join() {
                Ok(tally) => sum.add(tally),
                Err(_) => sum.fail(&anyhow::anyhow!("a publisher has panicked")),
            }
        }
        sum
    })
}

fn publish(schedule: &Schedule, target: &HttpTarget, publisher: u32) -> Tally {
    let mut door = Door::new(target.clone());
    let mut tally = Tally::new();
    for due in schedule.of(publisher) {
        std::thread::sleep(schedule.clock.until(due.at));
        let (began, result) = one(schedule, &mut door, &due);
        schedule.settle(&mut tally, &due, began, result);
        if tally.gives_up() {
            break;
        }
    }
    tally
}

fn one(schedule: &Schedule, door: &mut Door, due: &Due) -> (u64, anyhow::Result<()>) {
    let feed = schedule.plan.feed_name(due.feed);
    let now = schedule.clock.micros();
    let result = door.publish(&feed, &schedule.data(due, now));
    (now, result)
}

/// A connection to publish on, opened when it is needed.
pub(in crate::cli::bench) struct Door {
    target: HttpTarget,
    connection: Option<TcpStream>,
    answer: Vec<u8>,
}

impl Door {
    pub(in crate::cli::bench) fn new(target: HttpTarget) -> Self {
        Self {
            target,
            connection: None,
            answer: Vec::new(),
        }
    }

    /// Publishes, and waits for the answer. A broken connection is left behind.
    pub(in crate::cli::bench) fn publish(&mut self, feed: &str, data: &str) -> anyhow::Result<()> {
        let request = self.target.request(feed, data);
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => connect(self.target.url.address)?,
        };
        connection.write_all(request.as_bytes())?;
        self.answer.clear();
        let (status, body) = loop {
            if let Some((status, body)) = http::whole(&self.answer)? {
                ensure!(
                    body.end == self.answer.len(),
                    "a publish was answered with more than an answer"
                );
                break (status, body);
            }
            ensure!(self.answer.len() < MAX_ANSWER, "an answer does not end");
            let mut buffer = [0; 4096];
            let count = connection.read(&mut buffer).context("no answer came")?;
            ensure!(count > 0, "the server closed the connection unanswered");
            self.answer.extend_from_slice(&buffer[..count]);
        };
        ensure!(
            (200..300).contains(&status),
            "a publish was answered with {status}: {}",
            http::detail(&self.answer[body])
        );
        self.connection = Some(connection);
        Ok(())
    }
}

fn connect(address: SocketAddr) -> anyhow::Result<TcpStream> {
    let connection = TcpStream::connect_timeout(&address, ANSWER)
        .with_context(|| format!("{address} can't be reached"))?;
    connection.set_nodelay(true)?;
    connection.set_read_timeout(Some(ANSWER))?;
    connection.set_write_timeout(Some(ANSWER))?;
    Ok(connection)
}
