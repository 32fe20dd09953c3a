//! Limits HTTP/2 frames that make the gateway work for no request.
//!
//! Every PING and every SETTINGS has to be answered, and PRIORITY and frames that nobody knows are
//! read for nothing: none belongs to a request, so no limit of requests counts them. Of these a
//! client has an allowance, which grows back; when it is used up the connection is closed. Resets
//! of requests are counted where requests are (`http2`).
//!
//! A frame is a head of nine bytes, of which the first three are the length of what follows (RFC
//! 9113, 4.1), so that frames can be distinguished without being understood.

use std::time::Duration;

use tokio::time::Instant;

/// What every client sends before its first frame (RFC 9113, 3.4).
const PREFACE_BYTES: usize = 24;
const HEAD_BYTES: usize = 9;

/// This many at once after a pause, and this many again in each second.
const FRAMES_MAX: u32 = 1000;
const FRAMES_PER_S: u32 = 100;

/// Frames that belong to a request, or to the flow of one: DATA, HEADERS, RST_STREAM, PUSH_PROMISE
/// (refused), GOAWAY (the last), WINDOW_UPDATE, CONTINUATION.
const OF_REQUESTS: [u8; 7] = [0, 1, 3, 5, 7, 8, 9];

/// A client's allowance.
#[derive(Debug)]
pub(crate) struct ControlFrameLimit {
    /// What is passed over before the next head.
    skip: usize,
    head: [u8; HEAD_BYTES],
    /// How much of the head is here.
    read: usize,
    /// When the allowance will be whole again; in the past: it is.
    full_at: Instant,
}

/// The allowance is used up.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Exceeded;

// === impl ControlFrameLimit ===

impl ControlFrameLimit {
    pub(crate) fn new() -> Self {
        Self { skip: PREFACE_BYTES, head: [0; HEAD_BYTES], read: 0, full_at: Instant::now() }
    }

    /// Counts the frames that begin in these bytes, the next ones of the connection.
    pub(crate) fn count(&mut self, mut bytes: &[u8]) -> Result<(), Exceeded> {
        let mut counted = Ok(());
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            bytes = &bytes[skipped..];
            self.skip -= skipped;
            let taken = (HEAD_BYTES - self.read).min(bytes.len());
            self.head[self.read..self.read + taken].copy_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            self.read += taken;
            if self.read == HEAD_BYTES {
                let [high, middle, low, kind, ..] = self.head;
                let length = u32::from_be_bytes([0, high, middle, low]);
                (self.read, self.skip) = (0, usize::try_from(length).unwrap_or(usize::MAX));
                if !OF_REQUESTS.contains(&kind) {
                    counted = counted.and(self.charge());
                }
            }
        }
        counted
    }

    fn charge(&mut self) -> Result<(), Exceeded> {
        let each = Duration::from_secs(1) / FRAMES_PER_S;
        let now = Instant::now();
        self.full_at = self.full_at.max(now) + each;
        if self.full_at > now + each * FRAMES_MAX { Err(Exceeded) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::time::advance;

    use super::*;

    const PING: u8 = 6;
    const DATA: u8 = 0;

    fn frame(kind: u8, length: u8) -> Vec<u8> {
        let mut frame = vec![0, 0, length, kind, 0, 0, 0, 0, 0];
        frame.extend((0..length).map(|_| PING));
        frame
    }

    fn opened() -> ControlFrameLimit {
        let mut limit = ControlFrameLimit::new();
        limit.count(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        limit
    }

    /// This many frames pass.
    fn passed(limit: &mut ControlFrameLimit, kind: u8) -> u32 {
        let frame = frame(kind, 8);
        let passes = |_: &u32| limit.count(&frame).is_ok();
        (0..5000).take_while(passes).count().try_into().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn an_allowance_is_used_up_and_grows_back() {
        let mut limit = opened();
        assert_eq!(passed(&mut limit, PING), FRAMES_MAX);
        advance(Duration::from_secs(20)).await;
        assert_eq!(passed(&mut limit, PING), FRAMES_MAX);
        advance(Duration::from_secs(2)).await;
        // The one that was too many counted as well.
        assert_eq!(passed(&mut limit, PING), 2 * FRAMES_PER_S - 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_belongs_to_requests_is_free() {
        let mut limit = opened();
        for kind in OF_REQUESTS {
            assert_eq!(passed(&mut limit, kind), 5000, "{kind}");
        }
    }

    proptest! {
        #[test]
        fn frames_are_told_apart_however_they_come(
            lengths in proptest::collection::vec(0u8.., 1..20),
            piece in 1usize..40,
        ) {
            let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
            lengths.iter().for_each(|length| bytes.extend(frame(DATA, *length)));
            bytes.extend(frame(PING, 8));
            let mut limit = ControlFrameLimit::new();
            let before = limit.full_at;
            for piece in bytes.chunks(piece) {
                prop_assert_eq!(limit.count(piece), Ok(()));
            }
            // Exactly one of them has a price.
            let each = Duration::from_secs(1) / FRAMES_PER_S;
            let paid = limit.full_at - before;
            prop_assert!(paid >= each && limit.full_at <= Instant::now() + each);
            prop_assert_eq!((limit.read, limit.skip), (0, 0));
        }
    }
}
