//! HTTP/1.1's chunked transfer coding (RFC 9112, section 7.1).

use bytes::{BufMut, Bytes, BytesMut};

/// The end of a chunked body.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Bytes as one chunk, framed once for all who are sent them, framed or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    framed: Bytes,
    /// How long the chunk's own head is.
    head: usize,
}

impl Chunk {
    /// A chunk of `payload`, which must not be empty: an empty chunk ends a body.
    pub fn new(payload: &[u8]) -> Self {
        debug_assert!(!payload.is_empty());
        let head = format!("{:x}\r\n", payload.len());
        let mut framed = BytesMut::with_capacity(head.len() + payload.len() + 2);
        framed.put_slice(head.as_bytes());
        framed.put_slice(payload);
        framed.put_slice(b"\r\n");
        Self {
            framed: framed.freeze(),
            head: head.len(),
        }
    }

    /// With the chunk's framing.
    pub fn framed(&self) -> &Bytes {
        &self.framed
    }

    /// Without it; the memory is shared.
    pub fn payload(&self) -> Bytes {
        self.framed.slice(self.head..self.framed.len() - 2)
    }
}
