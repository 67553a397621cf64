//! What changes something is done to its end, even if the client goes away in the middle of it.
//!
//! The server drops the work of a request whose connection is gone. Half of a DeleteFunction, or an
//! update that is `InProgress` for ever, would be what is left of it.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::Method;

use super::error::ApiError;

pub async fn to_its_end(request: Request, next: Next) -> Result<Response, ApiError> {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return Ok(next.run(request).await);
    }
    let done = tokio::spawn(next.run(request)).await;
    done.map_err(|error| ApiError::Store(format!("a bug in handlerd: {error}")))
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::routing::put;
    use tokio::sync::Notify;
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn a_client_that_goes_away_stops_nothing() {
        static BEGUN: Notify = Notify::const_new();
        static GO_ON: Notify = Notify::const_new();
        static ENDED: Notify = Notify::const_new();
        let work = || async {
            BEGUN.notify_one();
            GO_ON.notified().await;
            ENDED.notify_one();
        };
        let service = Router::new().route("/", put(work)).layer(axum::middleware::from_fn(to_its_end));
        let client = tokio::spawn(service.oneshot(Request::put("/").body(Body::empty()).unwrap()));
        BEGUN.notified().await;
        client.abort();
        assert!(client.await.unwrap_err().is_cancelled());
        GO_ON.notify_one();
        let ended = tokio::time::timeout(std::time::Duration::from_secs(10), ENDED.notified()).await;
        assert!(ended.is_ok(), "it was left half done");
    }
}
