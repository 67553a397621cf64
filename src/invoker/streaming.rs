//! Invocations whose result may leave piece by piece.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::task::JoinHandle;

use super::{InvokeError, Invoker, TRIES_WITH_THE_DEAD, bug, too_many_dead};
use crate::execution_environment::{Listener, stream};
use crate::invocation::{Completed, Invocation};

/// What comes of asking for a stream.
pub enum Streamed {
    /// The handler made none: its whole result, or what went wrong before the first byte.
    Whole(Completed),
    Stream(ResponseStream),
}

/// A response that is still being made. Dropping it lets the handler know that nobody listens; the
/// invocation goes on to its end.
pub struct ResponseStream {
    /// Status, headers and cookies, as JSON, if the handler gave any.
    pub metadata: Option<Vec<u8>>,
    /// `$LATEST` or a number.
    pub executed_version: String,
    listener: Listener,
    task: JoinHandle<Ran>,
    /// Once there are no more pieces.
    completed: Option<Result<Completed, InvokeError>>,
}

/// What the task of an invocation leaves: its outcome, and what had not been passed on yet.
type Ran = (Result<Completed, Invocation>, Vec<u8>);

impl Invoker {
    /// Invokes the function of this name for a caller who takes a stream. Returns as soon as it is
    /// known whether there is one.
    pub async fn invoke_streaming(
        &self,
        name: &str,
        mut invocation: Invocation,
    ) -> Result<Streamed, InvokeError> {
        self.follow_lineage(name, &mut invocation)?;
        for _ in 0..TRIES_WITH_THE_DEAD {
            let (function, acquired, permit) = self.find(name, None).await?;
            let invoker = self.clone();
            let executed_version = function.version.to_string();
            let (mut speaker, mut listener) = stream();
            let task = tokio::spawn(async move {
                let _permit = permit;
                let ran = invoker.run(&function, acquired, invocation, Some(&mut speaker)).await;
                (ran, speaker.into_rest())
            });
            if let Some(metadata) = listener.head().await {
                let metadata = Some(metadata).filter(|metadata| !metadata.is_empty());
                let stream = ResponseStream { metadata, executed_version, listener, task, completed: None };
                return Ok(Streamed::Stream(stream));
            }
            match task.await.map_err(bug)? {
                (Ok(completed), _) => return Ok(Streamed::Whole(completed)),
                (Err(untouched), _) => invocation = untouched,
            }
        }
        Err(too_many_dead(name))
    }
}

impl ResponseStream {
    /// The next piece, never an empty one. After `None`, [`ResponseStream::completed`] tells whether
    /// that was all.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Vec<u8>>> {
        if self.completed.is_some() {
            return Poll::Ready(None);
        }
        if let Some(piece) = ready!(self.listener.poll_piece(context)) {
            return Poll::Ready(Some(piece));
        }
        let (completed, rest) = match ready!(Pin::new(&mut self.task).poll(context)) {
            Ok((Ok(completed), rest)) => (Ok(completed), rest),
            Ok((Err(_), rest)) => {
                let reason = "an invocation that had begun was taken for one that had not".to_owned();
                (Err(InvokeError::Unavailable(reason)), rest)
            }
            Err(error) => (Err(bug(error)), Vec::new()),
        };
        self.completed = Some(completed);
        Poll::Ready(Some(rest).filter(|rest| !rest.is_empty()))
    }

    pub async fn next(&mut self) -> Option<Vec<u8>> {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }

    pub fn completed(&self) -> Option<&Result<Completed, InvokeError>> {
        self.completed.as_ref()
    }

    /// Whether all of it was sent; once there are no more pieces.
    pub fn is_complete(&self) -> bool {
        matches!(&self.completed, Some(Ok(completed)) if completed.outcome.failure().is_none())
    }
}
