//! A mistake of ours in one request costs that request, not its connection and those beside it.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::Poll;

use crate::defences;

/// What comes of an answer that is being made; `None`: it panicked. It is not asked again then, so that
/// nobody sees what it has left half-done.
pub(super) fn caught<F: Future>(mut answer: Pin<&mut F>) -> impl Future<Output = Option<F::Output>> {
    poll_fn(move |context| {
        let mut poll = || answer.as_mut().poll(context).map(Some);
        if defences::off("panic-caught") {
            return poll();
        }
        match catch_unwind(AssertUnwindSafe(poll)) {
            Ok(polled) => polled,
            Err(_) => {
                tracing::error!(
                    "a bug in handlerd ended a request; it was answered with 500, and everything else goes on\n\
                     hint: what is written above says where; please report it"
                );
                Poll::Ready(None)
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    #[tokio::test]
    async fn a_panic_is_no_answer() {
        assert_eq!(caught(pin!(async { 1 })).await, Some(1));
        let second = async {
            tokio::task::yield_now().await;
            panic!("a mistake")
        };
        assert_eq!(caught(pin!(second)).await, None::<()>);
    }
}
