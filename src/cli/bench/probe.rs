//! How a resume is prepared: an event whose id all readers then come back with.

use super::clock::Clock;
use super::http;
use super::mark::{MAX_PUBLISHERS, Mark, Scanner};
use super::plan::Plan;
use super::publisher::{Door, HttpTarget};
use super::subscribers::Target;
use anyhow::{Context, bail, ensure};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// How long everything may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The publisher of events that are not to be counted.
const NOBODY: u32 = MAX_PUBLISHERS - 1;

/// Publishes an event on each feed, the first feed's last, and returns that one's id as a reader is told it.
pub(super) fn id_before(
    plan: &Plan,
    readers: &Target,
    publishers: &HttpTarget,
    clock: Clock,
) -> anyhow::Result<String> {
    let mut stream = subscribe(plan, readers).context("the reader that learns the id")?;
    let mut door = Door::new(publishers.clone());
    for feed in (0..plan.feeds()).rev() {
        let mark = Mark {
            run: plan.run,
            feed,
            publisher: NOBODY,
            number: 1,
            sent: clock.micros(),
        };
        door.publish(&plan.feed_name(feed), &mark.payload(0))?;
    }
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let count = stream.read(&mut buffer).context("the event did not come")?;
        ensure!(count > 0, "the stream ended before the event came");
        bytes.extend_from_slice(&buffer[..count]);
        if let Some(id) = id_of_mark(&bytes)? {
            return Ok(id);
        }
    }
}

fn subscribe(plan: &Plan, readers: &Target) -> anyhow::Result<TcpStream> {
    let feed = plan.feed_name(0);
    let path = readers.url.target(std::iter::once(feed.as_str()));
    let mut stream = TcpStream::connect_timeout(&readers.url.address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {}\r\nAccept: text/event-stream\r\n{}\r\n",
        readers.url.authority, readers.headers
    );
    stream.write_all(request.as_bytes())?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        ensure!(stream.read(&mut byte)? == 1, "the stream ended in its head");
        head.push(byte[0]);
    }
    match head.get(9..12) {
        Some(b"200") => Ok(stream),
        _ => bail!("{}", refusal(stream, head)?),
    }
}

/// What an answer says that is no stream, of which the head is there.
fn refusal(mut stream: TcpStream, mut answer: Vec<u8>) -> anyhow::Result<String> {
    loop {
        if let Some((status, body)) = http::whole(&answer)? {
            let detail = http::detail(&answer[body]);
            return Ok(format!("a reader was answered with {status}: {detail}"));
        }
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer)?;
        ensure!(count > 0, "an answer ended early");
        answer.extend_from_slice(&buffer[..count]);
    }
}

/// The id in the block that holds a mark, once that block is whole.
fn id_of_mark(bytes: &[u8]) -> anyhow::Result<Option<String>> {
    let text = String::from_utf8_lossy(bytes).replace("\r\n", "\n");
    for block in text.split_inclusive("\n\n") {
        let mut marked = false;
        Scanner::new().scan(block.as_bytes(), |_| marked = true);
        if !marked || !block.ends_with("\n\n") {
            continue;
        }
        let id = block.lines().find_map(|line| line.strip_prefix("id:"));
        let id = id.context("the server gives its events no ids, so nothing can be resumed")?;
        return Ok(Some(id.trim().to_owned()));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_the_one_of_the_block_with_the_mark() {
        let mark = Mark {
            run: 1,
            feed: 0,
            publisher: NOBODY,
            number: 1,
            sent: 0,
        };
        let stream = format!(
            "2e\r\nid: 1\ndata: {{}}\n\n\r\n40\r\nid: 7:0\ndata: {}\n\n\r\n",
            mark.payload(0)
        );
        let (whole, half) = (stream.as_bytes(), &stream.as_bytes()[..stream.len() - 3]);
        assert_eq!(id_of_mark(whole).unwrap(), Some("7:0".to_owned()));
        assert_eq!(id_of_mark(half).unwrap(), None);
    }
}
