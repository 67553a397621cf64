//! What has begun goes on, even if whoever waited for it has gone away.
//!
//! While somebody waits it is a part of their task: a task of its own for each invocation would cost
//! two more visits of the scheduler, and a large piece of memory.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::allocator;

/// A mistake of ours has ended it.
#[derive(Debug)]
pub struct Panicked;

/// The output of the work that is made, which is ended by nothing but itself.
pub fn detached<F>(work: impl FnOnce() -> F) -> Detached<F>
where
    F: Future<Output: Send> + Send + 'static,
{
    Detached(Some(allocator::pinned(work)))
}

pub struct Detached<F: Future<Output: Send> + Send + 'static>(Option<Pin<Box<F>>>);

impl<F: Future<Output: Send> + Send + 'static> Future for Detached<F> {
    type Output = Result<F::Output, Panicked>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let work = self.0.as_mut().expect("polled after its end");
        let polled = match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(output)) => Ok(output),
            Err(_) => Err(Panicked),
        };
        self.0 = None;
        Poll::Ready(polled)
    }
}

impl<F: Future<Output: Send> + Send + 'static> Drop for Detached<F> {
    fn drop(&mut self) {
        // Without a runtime the gateway has ended, and all it would have done.
        if let (Some(work), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(work);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::{Notify, oneshot};

    use super::*;

    #[tokio::test]
    async fn it_goes_on_when_nobody_waits_any_more() {
        let begun = Arc::new(Notify::new());
        let go_on = Arc::new(Notify::new());
        let (done, is_done) = oneshot::channel();
        let work = {
            let (begun, go_on) = (begun.clone(), go_on.clone());
            async move {
                begun.notify_one();
                go_on.notified().await;
                done.send(7).unwrap();
            }
        };
        let mut waiting = Box::pin(detached(|| work));
        tokio::select! {
            _ = waiting.as_mut() => unreachable!("it waits itself"),
            () = begun.notified() => {}
        }
        drop(waiting);
        go_on.notify_one();
        assert_eq!(is_done.await, Ok(7));
    }

    #[tokio::test]
    async fn its_output_is_whoever_waits_for() {
        let work = async {
            tokio::task::yield_now().await;
            7
        };
        assert_eq!(detached(|| work).await.unwrap(), 7);
    }

    #[tokio::test]
    async fn a_panic_ends_it_alone() {
        let work = async {
            tokio::task::yield_now().await;
            panic!("a mistake")
        };
        assert!(detached(|| work).await.map(|(): ()| ()).is_err());
    }
}
