//! The room for requests that are read whole before a backend sees them: one for the process, so that many clients that
//! send slowly can't fill the memory together.

use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of all requests that are held at one time. A request that finds no room is answered 503.
pub const BUFFER_ROOM_BYTES: usize = 256 << 20;

/// What is left of the room.
#[derive(Debug)]
pub struct BufferRoom {
    bytes: usize,
    held_bytes: AtomicUsize,
}

impl Default for BufferRoom {
    fn default() -> Self {
        Self::new(BUFFER_ROOM_BYTES)
    }
}

impl BufferRoom {
    /// Room for so many bytes.
    pub fn new(bytes: usize) -> Self {
        Self { bytes, held_bytes: AtomicUsize::new(0) }
    }

    /// Bytes that are held now.
    pub fn held_bytes(&self) -> usize {
        self.held_bytes.load(Ordering::Relaxed)
    }

    fn take(&self, more: usize) -> bool {
        let taken = |held: usize| held.checked_add(more).filter(|held| *held <= self.bytes);
        self.held_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken).is_ok()
    }
}

/// Why a body is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoRoom {
    /// It is larger than its policy allows.
    TooLarge,
    /// Other requests hold all there is.
    Full,
}

/// A body that is being read. What it takes of the room is given back when it is dropped.
pub(crate) struct Filling {
    held: Held,
    bytes: Vec<u8>,
    most: usize,
}

/// A part of the room.
#[derive(Debug)]
struct Held {
    room: Arc<BufferRoom>,
    bytes: usize,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.room.held_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A whole body, with the part of the room that it takes.
pub(crate) struct Whole {
    pub(crate) bytes: Bytes,
    _held: Held,
}

impl Filling {
    /// Nothing yet; at most `most` bytes.
    pub(crate) fn new(room: &Arc<BufferRoom>, most: u64) -> Self {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        Self { held: Held { room: room.clone(), bytes: 0 }, bytes: Vec::new(), most }
    }

    /// Takes the next piece. Memory grows with what has come, never with what was announced.
    pub(crate) fn add(&mut self, piece: &[u8]) -> Result<(), NoRoom> {
        let wanted = self.bytes.len().saturating_add(piece.len());
        if wanted > self.most {
            return Err(NoRoom::TooLarge);
        }
        if wanted > self.held.bytes {
            // Twice as much each time, so that little is copied.
            let goal = wanted.max(self.held.bytes.saturating_mul(2)).min(self.most);
            let more = goal - self.held.bytes;
            if !self.held.room.take(more) {
                return Err(NoRoom::Full);
            }
            self.held.bytes = goal;
            self.bytes.reserve_exact(goal - self.bytes.len());
        }
        self.bytes.extend_from_slice(piece);
        Ok(())
    }

    /// The body is complete.
    pub(crate) fn finish(self) -> Whole {
        Whole { bytes: Bytes::from(self.bytes), _held: self.held }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{BufferRoom, Filling, NoRoom};
    use std::sync::Arc;

    #[test]
    fn a_body_takes_room_while_it_lives() {
        let room = Arc::new(BufferRoom::new(100));
        let mut body = Filling::new(&room, 60);
        body.add(&[1; 10]).unwrap();
        body.add(&[2; 5]).unwrap();
        assert!((15..=60).contains(&room.held_bytes()), "{}", room.held_bytes());
        let whole = body.finish();
        assert_eq!((whole.bytes.len(), whole.bytes[14]), (15, 2));
        drop(whole);
        assert_eq!(room.held_bytes(), 0);
    }

    #[test]
    fn the_largest_body_fits_and_one_byte_more_does_not() {
        let room = Arc::new(BufferRoom::new(100));
        let mut body = Filling::new(&room, 60);
        for _ in 0..60 {
            body.add(&[0]).unwrap();
        }
        assert_eq!(room.held_bytes(), 60);
        assert_eq!(body.add(&[0]), Err(NoRoom::TooLarge));
        drop(body);
        assert_eq!(room.held_bytes(), 0);
    }

    #[test]
    fn bodies_share_the_room() {
        let room = Arc::new(BufferRoom::new(100));
        let (mut one, mut two) = (Filling::new(&room, 80), Filling::new(&room, 80));
        one.add(&[0; 80]).unwrap();
        two.add(&[0; 20]).unwrap();
        assert_eq!(two.add(&[0]), Err(NoRoom::Full));
        drop(one);
        two.add(&[0]).unwrap();
    }
}
