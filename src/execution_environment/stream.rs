//! An answer that leaves while the handler still runs, from the line to whoever listens.
//!
//! What is between the two is bounded: a few pieces as they were read from the pipe. While nobody
//! takes them no more are read, and the environment waits in its `write`.

use std::task::{Context, Poll};

use tokio::sync::{mpsc, oneshot};

use crate::protocol::frame::{Kind, MAX_PIECE, MAX_STREAM};

/// Pieces on their way, each as much as one reading of the pipe has brought.
const UNDER_WAY: usize = 2;

/// The environment's end.
pub struct Speaker {
    /// Taken when the stream begins.
    head: Option<oneshot::Sender<Vec<u8>>>,
    outlet: mpsc::Sender<Vec<u8>>,
    /// Read from the pipe, and not passed on yet.
    held: Vec<u8>,
    length: u64,
    abandoned: bool,
}

/// The other end. Dropping it tells the environment that nobody listens.
pub struct Listener {
    head: Option<oneshot::Receiver<Vec<u8>>>,
    pieces: mpsc::Receiver<Vec<u8>>,
}

/// Why a frame cannot be part of this stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    OutOfTurn,
    TooLong,
}

pub fn stream() -> (Speaker, Listener) {
    let (head, head_receiver) = oneshot::channel();
    let (outlet, pieces) = mpsc::channel(UNDER_WAY);
    let speaker = Speaker { head: Some(head), outlet, held: Vec::new(), length: 0, abandoned: false };
    (speaker, Listener { head: Some(head_receiver), pieces })
}

impl Speaker {
    pub fn has_begun(&self) -> bool {
        self.head.is_none()
    }

    pub fn is_abandoned(&self) -> bool {
        self.abandoned
    }

    pub fn holds_a_piece(&self) -> bool {
        !self.held.is_empty()
    }

    /// For [`room`] and [`abandoned`], which wait without holding the speaker.
    pub fn outlet(&self) -> mpsc::Sender<Vec<u8>> {
        self.outlet.clone()
    }

    /// Takes a frame that belongs to the stream. `false`: it is the last word on the invocation.
    pub fn take(&mut self, kind: Kind, payload: &[u8]) -> Result<bool, Refused> {
        match (kind, self.head.take()) {
            (Kind::Head, Some(head)) if payload.len() <= MAX_PIECE => {
                // Whoever asked may have gone: then it is found out below.
                let _ = head.send(payload.to_vec());
                Ok(true)
            }
            (Kind::Piece, None) if payload.len() <= MAX_PIECE => {
                self.length += payload.len() as u64;
                if self.length > MAX_STREAM {
                    return Err(Refused::TooLong);
                }
                if !self.abandoned {
                    self.held.extend_from_slice(payload);
                }
                Ok(true)
            }
            (Kind::End | Kind::Fault, None) => Ok(false),
            (Kind::Json | Kind::Raw | Kind::Fault | Kind::TooLarge, Some(head)) => {
                self.head = Some(head);
                Ok(false)
            }
            (_, head) => {
                self.head = head;
                Err(Refused::OutOfTurn)
            }
        }
    }

    /// Passes on what is held, if there is room for it.
    pub fn pass_on(&mut self) {
        if self.held.is_empty() {
            return;
        }
        match self.outlet.try_send(std::mem::take(&mut self.held)) {
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => {}
            Err(mpsc::error::TrySendError::Full(held)) => self.held = held,
        }
    }

    /// Nobody listens: from now on pieces are thrown away.
    pub fn abandon(&mut self) {
        self.abandoned = true;
        self.held = Vec::new();
    }

    /// What was still held when the invocation ended.
    pub fn into_rest(self) -> Vec<u8> {
        self.held
    }
}

/// Ready when another piece may be passed on.
pub async fn room(outlet: Option<&mpsc::Sender<Vec<u8>>>) {
    match outlet {
        Some(outlet) => drop(outlet.reserve().await),
        None => std::future::pending().await,
    }
}

/// Ready when nobody listens any more.
pub async fn abandoned(outlet: Option<&mpsc::Sender<Vec<u8>>>) {
    match outlet {
        Some(outlet) => outlet.closed().await,
        None => std::future::pending().await,
    }
}

impl Listener {
    /// What comes before the body, as JSON or empty, once the stream begins. `None`: the invocation
    /// has ended without one.
    pub async fn head(&mut self) -> Option<Vec<u8>> {
        self.head.take()?.await.ok()
    }

    /// The next piece. `None`: there are no more, but for what the speaker still held.
    pub fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<Vec<u8>>> {
        self.pieces.poll_recv(context)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test]
    async fn pieces_arrive_in_order_and_no_more_are_taken_than_fit() {
        let (mut speaker, mut listener) = stream();
        assert_eq!(speaker.take(Kind::Head, b"{}"), Ok(true));
        assert_eq!(listener.head().await, Some(b"{}".to_vec()));
        for number in 0..=UNDER_WAY {
            assert!(!speaker.holds_a_piece());
            assert_eq!(speaker.take(Kind::Piece, &[number as u8]), Ok(true));
            speaker.pass_on();
        }
        assert!(speaker.holds_a_piece());
        let outlet = speaker.outlet();
        for number in 0..UNDER_WAY {
            assert_eq!(poll_fn(|context| listener.poll_piece(context)).await, Some(vec![number as u8]));
        }
        room(Some(&outlet)).await;
        assert_eq!(speaker.take(Kind::Piece, b"more"), Ok(true));
        assert_eq!(speaker.take(Kind::End, b""), Ok(false));
        assert_eq!(speaker.into_rest(), [&[UNDER_WAY as u8][..], b"more"].concat());
        drop(outlet);
        assert_eq!(poll_fn(|context| listener.poll_piece(context)).await, None);
    }

    #[tokio::test]
    async fn what_nobody_hears_is_thrown_away() {
        let (mut speaker, listener) = stream();
        let outlet = speaker.outlet();
        drop(listener);
        abandoned(Some(&outlet)).await;
        speaker.abandon();
        assert_eq!(speaker.take(Kind::Head, b""), Ok(true));
        assert_eq!(speaker.take(Kind::Piece, b"piece"), Ok(true));
        assert!(!speaker.holds_a_piece());
    }

    #[test]
    fn frames_out_of_turn_are_refused() {
        let out_of_turn = Err(Refused::OutOfTurn);
        let (mut speaker, _listener) = stream();
        assert_eq!(speaker.take(Kind::Piece, b"x"), out_of_turn);
        assert_eq!(speaker.take(Kind::End, b""), out_of_turn);
        assert_eq!(speaker.take(Kind::Head, &vec![b' '; MAX_PIECE + 1]), out_of_turn);
        assert!(!speaker.has_begun());
        assert_eq!(speaker.take(Kind::Json, b"1"), Ok(false));
        assert_eq!(speaker.take(Kind::Head, b""), Ok(true));
        for kind in [Kind::Head, Kind::Json, Kind::Raw, Kind::TooLarge] {
            assert_eq!(speaker.take(kind, b""), out_of_turn, "{kind:?}");
        }
        assert_eq!(speaker.take(Kind::Piece, &vec![b' '; MAX_PIECE + 1]), out_of_turn);
        assert_eq!(speaker.take(Kind::Fault, b"{}"), Ok(false));
    }

    #[test]
    fn a_stream_has_an_end() {
        let (mut speaker, _listener) = stream();
        speaker.abandon();
        speaker.take(Kind::Head, b"").unwrap();
        let piece = vec![0; MAX_PIECE];
        let most = MAX_STREAM / MAX_PIECE as u64;
        for _ in 0..most {
            assert_eq!(speaker.take(Kind::Piece, &piece), Ok(true));
        }
        assert_eq!(speaker.take(Kind::Piece, &piece), Err(Refused::TooLong));
    }
}
