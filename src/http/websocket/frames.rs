//! Where the frames of a client begin and end (RFC 6455, section 5.2).

/// The longest head of a frame, in bytes.
const HEAD: usize = 14;

/// Follows the frames in what is read.
///
/// tungstenite makes room for a whole frame once it has read its head, and keeps that for as long as the connection
/// lives. So once a large one has come no more is read than it has, and then head after head: the end of a message is
/// the end of what was read, and the room can be given up. Until then it is kept beside what was copied out of it.
#[derive(Debug)]
pub(super) struct Frames {
    /// What has come of a frame's head.
    head: [u8; HEAD],
    have: usize,
    /// How many bytes the frame has that came last or is coming, and how many of them are still to come.
    length: u64,
    left: u64,
    /// How many the largest has that was followed by another.
    kept: u64,
    /// Larger ones are large.
    most: u64,
    /// Whether a large one has come, or its head.
    large: bool,
}

impl Frames {
    /// Frames of which those are large that have more than `most` bytes.
    pub(super) fn new(most: usize) -> Self {
        Self {
            head: [0; HEAD],
            have: 0,
            length: 0,
            left: 0,
            kept: 0,
            most: most as u64,
            large: false,
        }
    }

    /// How many bytes may be read next at most.
    pub(super) fn allowance(&self) -> usize {
        match (self.large, self.left) {
            (false, _) => usize::MAX,
            (true, 0) => self.head_length() - self.have,
            (true, left) => usize::try_from(left).unwrap_or(usize::MAX),
        }
    }

    /// Takes in what was read.
    pub(super) fn follow(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let within =
                usize::try_from(self.left).map_or(bytes.len(), |left| left.min(bytes.len()));
            bytes = &bytes[within..];
            self.left -= within as u64;
            if let Some((byte, rest)) = bytes.split_first() {
                self.head[self.have] = *byte;
                self.have += 1;
                bytes = rest;
                self.begin();
            }
        }
    }

    /// Whether a large one has come, and nothing after it.
    pub(super) fn ends_large(&self) -> bool {
        self.large && self.left == 0 && self.have == 0
    }

    /// How much room is kept of frames that have come whole, and whose bytes are elsewhere by now: those of a message
    /// in several frames are put together. Little room is not counted.
    pub(super) fn kept(&self) -> u64 {
        match self.kept > self.most {
            true => self.kept,
            false => 0,
        }
    }

    /// The room for large ones was given up.
    pub(super) fn forget(&mut self) {
        self.large = false;
        (self.length, self.kept) = (0, 0);
    }

    /// How long the head is, as far as that can be told.
    fn head_length(&self) -> usize {
        if self.have < 2 {
            return 2;
        }
        let mask = if self.head[1] & 0x80 != 0 { 4 } else { 0 };
        2 + self.length_bytes() + mask
    }

    fn length_bytes(&self) -> usize {
        match self.head[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        }
    }

    /// Begins with a frame's bytes, where its head is whole.
    fn begin(&mut self) {
        if self.have < self.head_length() {
            return;
        }
        let length = &self.head[2..2 + self.length_bytes()];
        self.kept = self.kept.max(self.length);
        self.length = match length {
            [] => u64::from(self.head[1] & 0x7f),
            bytes => bytes
                .iter()
                .fold(0, |sum, &byte| sum << 8 | u64::from(byte)),
        };
        self.left = self.length;
        self.large |= self.length > self.most;
        self.have = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{self, Read, Write};
    use tokio_tungstenite::tungstenite::protocol::Role;
    use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
    use tokio_tungstenite::tungstenite::protocol::frame::{Frame, FrameSocket};
    use tokio_tungstenite::tungstenite::{Message, WebSocket};

    /// What is read in as large pieces as are allowed, and followed.
    struct Followed {
        bytes: Vec<u8>,
        frames: Frames,
        /// How much may be read at once beside that.
        step: usize,
    }

    impl Read for Followed {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let most = self.frames.allowance().min(self.step);
            let count = most.min(buffer.len()).min(self.bytes.len());
            buffer[..count].copy_from_slice(&self.bytes[..count]);
            self.frames.follow(&self.bytes[..count]);
            self.bytes.drain(..count);
            Ok(count)
        }
    }

    impl Write for Followed {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Frames of a client with so many bytes each.
    fn frames(lengths: &[usize]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for &length in lengths {
            let mut frame = Frame::message(vec![b'x'; length], OpCode::Data(Data::Text), true);
            frame.header_mut().mask = Some([1, 2, 3, 4]);
            frame.format(&mut bytes).unwrap();
        }
        bytes
    }

    #[test]
    fn after_a_large_frame_nothing_was_read_beyond_it() {
        let lengths = [0, 5, 125, 126, 1001, 3, 70_000, 2000, 0, 4, 65_536, 1000, 9];
        for step in [1, 2, 3, 7, 500, 1000] {
            let (bytes, frames) = (frames(&lengths), Frames::new(1000));
            let read = Followed {
                bytes,
                frames,
                step,
            };
            let mut socket = FrameSocket::new(read);
            for length in lengths {
                let frame = socket.read(None).unwrap().expect("a frame");
                assert_eq!(frame.payload().len(), length);
                if length > 1000 {
                    assert!(socket.get_ref().frames.ends_large(), "{length}, {step}");
                    let (mut read, rest) = socket.into_inner();
                    assert_eq!(rest.len(), 0);
                    read.frames.forget();
                    socket = FrameSocket::new(read);
                }
                assert!(!socket.get_ref().frames.ends_large(), "{length}, {step}");
            }
        }
    }

    #[test]
    fn the_room_of_a_large_frame_is_kept_beside_those_that_follow_until_it_is_forgotten() {
        let mut followed = Frames::new(1000);
        for (length, kept) in [(900, 0), (5000, 0), (1, 5000), (7000, 5000), (0, 7000)] {
            followed.follow(&frames(&[length]));
            assert_eq!(followed.kept(), kept, "{length}");
        }
        followed.forget();
        followed.follow(&frames(&[1, 1]));
        assert_eq!(followed.kept(), 0);
    }

    #[test]
    fn what_comes_after_a_large_frame_is_read_frame_by_frame_until_that_is_forgotten() {
        let lengths = [1001, 0, 6, 200];
        let (bytes, frames) = (frames(&lengths), Frames::new(1000));
        let read = Followed {
            bytes,
            frames,
            step: 1000,
        };
        let mut socket = WebSocket::from_raw_socket(read, Role::Server, None);
        for length in lengths {
            let message = socket.read().expect("a message");
            assert_eq!(message, Message::text("x".repeat(length)));
            assert!(socket.get_ref().frames.ends_large());
        }
    }
}
