//! The floor: axum on one thread, a constant answer of the size that the handler gives.

use axum::http::header::CONTENT_TYPE;

/// As long as the handler's answer.
const BODY: &str = concat!(
    r#"{"message": "Hello, bob!", "path": "/hello", "method": "GET", "#,
    r#""requestId": "00000000-0000-0000-0000-000000000000", "x": "1"}"#
);

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let address = std::env::args().nth(1).expect("usage: axum-hello ADDRESS:PORT");
    let listener = tokio::net::TcpListener::bind(&address).await.expect("the address is free");
    let answer = || async { ([(CONTENT_TYPE, "application/json")], BODY) };
    axum::serve(listener, axum::Router::new().fallback(answer)).await.expect("serves");
}
