//! As much of HTTP/1.1 as a client needs that is to cost nearly nothing.

use crate::cli::printable;
use crate::wire;
use anyhow::{bail, ensure};
use std::ops::Range;

/// Header lines that an answer may have.
const MAX_HEADERS: usize = 64;

/// An answer's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) status: u16,
    /// How long it is, in bytes.
    pub(super) length: usize,
    body: Body,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Body {
    Sized(usize),
    Chunked,
    /// It ends with the connection.
    Open,
}

impl Head {
    /// Reads a head; `None` where it goes on.
    pub(super) fn parse(bytes: &[u8]) -> anyhow::Result<Option<Self>> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(length) = response.parse(bytes)? else {
            return Ok(None);
        };
        let status = response.code.unwrap_or_default();
        let value = |name: &str| {
            let header = response
                .headers
                .iter()
                .find(|header| header.name.eq_ignore_ascii_case(name))?;
            std::str::from_utf8(header.value).ok()
        };
        let body = if value("transfer-encoding").is_some() {
            Body::Chunked
        } else if let Some(size) = value("content-length") {
            Body::Sized(size.trim().parse()?)
        } else if matches!(status, 100..200 | 204 | 304) {
            Body::Sized(0)
        } else {
            Body::Open
        };
        Ok(Some(Self {
            status,
            length,
            body,
        }))
    }
}

/// What an answer that was none wanted says: the detail of a problem (RFC 9457), or else all of its body.
pub(super) fn detail(body: &[u8]) -> String {
    let all = || String::from_utf8_lossy(body).trim().to_owned();
    let text = wire::detail(body).unwrap_or_else(all);
    printable(&text).into_owned()
}

/// An answer's status, and where its body is; `None` where it goes on.
pub(super) fn whole(bytes: &[u8]) -> anyhow::Result<Option<(u16, Range<usize>)>> {
    let Some(head) = Head::parse(bytes)? else {
        return Ok(None);
    };
    let end = match head.body {
        Body::Sized(size) => Some(head.length + size).filter(|end| *end <= bytes.len()),
        Body::Chunked => chunks_end(bytes, head.length)?,
        Body::Open => bail!("an answer to a publish must have an end that can be told"),
    };
    Ok(end.map(|end| (head.status, head.length..end)))
}

fn chunks_end(bytes: &[u8], mut at: usize) -> anyhow::Result<Option<usize>> {
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        let parsed = httparse::parse_chunk_size(rest)
            .map_err(|_| anyhow::anyhow!("an answer's chunk has no size"))?;
        let httparse::Status::Complete((start, size)) = parsed else {
            return Ok(None);
        };
        at = at + start + usize::try_from(size)? + 2;
        if at > bytes.len() {
            return Ok(None);
        }
        ensure!(
            bytes[..at].ends_with(b"\r\n"),
            "an answer's chunk has another length than it says"
        );
        if size == 0 {
            return Ok(Some(at));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read from each beginning of an answer, and from all of it.
    fn read(answer: &str) -> (u16, usize) {
        for end in 0..answer.len() {
            assert_eq!(whole(&answer.as_bytes()[..end]).unwrap(), None, "{end}");
        }
        let (status, body) = whole(answer.as_bytes()).unwrap().unwrap();
        (status, body.end)
    }

    #[test]
    fn an_answer_ends_where_its_head_says() {
        let answers = [
            "HTTP/1.1 201 Created\r\nContent-Length: 4\r\n\r\nbody",
            "HTTP/1.1 202 Accepted\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            "HTTP/1.1 204 No Content\r\n\r\n",
        ];
        for (answer, status) in answers.iter().zip([201, 202, 204]) {
            assert_eq!(read(answer), (status, answer.len()));
        }
    }

    #[test]
    fn of_a_problem_its_detail_is_told_and_of_all_else_everything() {
        assert_eq!(
            detail(br#"{"status":403,"detail":"not \u001b here"}"#),
            "not \\u{1b} here"
        );
        assert_eq!(detail(b"<html>\n"), "<html>");
    }

    #[test]
    fn an_answer_without_an_end_is_an_error() {
        assert!(whole(b"HTTP/1.1 200 OK\r\n\r\nabc").is_err());
        assert!(whole(b"nonsense\r\n\r\n").is_err());
    }
}
