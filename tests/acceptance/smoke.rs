//! The first minute: serve, ask, change, ask again.

use crate::harness::TestServer;

#[tokio::test]
async fn a_handler_answers_and_a_save_is_a_deployment() {
    let source =
        |word: &str| format!("def lambda_handler(event, context):\n    return {{'word': '{word}'}}\n");
    let server = TestServer::with_handler("hello", &source("one")).await;
    assert_eq!(server.get("/hello").await.text(), r#"{"word": "one"}"#);
    server.write("hello/lambda_function.py", &source("two"));
    server.until("/hello", |answer| answer.text() == r#"{"word": "two"}"#).await;
}
