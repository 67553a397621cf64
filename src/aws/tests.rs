//! The client, asked against endpoints that answer as they are told.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// Answers request after request with these, each on a connection of its own.
async fn endpoint(answers: &'static [&'static str]) -> (Client, Arc<AtomicUsize>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    tokio::spawn(async move {
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            counted.fetch_add(1, Ordering::SeqCst);
            let mut request = vec![0; 64 << 10];
            let _ = stream.read(&mut request).await;
            let (status, body) = answer.split_once(' ').unwrap();
            let head = format!(
                "HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            let _ = stream.write_all(head.as_bytes()).await;
        }
    });
    let variables = [("AWS_ENDPOINT_URL".to_owned(), url)];
    (Client::new(Endpoints::from_environment(&variables)), asked)
}

const BUSY: &str = r#"400 {"__type":"ThrottlingException","message":"Rate exceeded"}"#;
const LOST: &str = r#"400 {"__type":"com.amazonaws.sqs#QueueDoesNotExist","message":"gone"}"#;

#[tokio::test]
async fn whoever_is_told_to_slow_down_asks_again() {
    let (client, asked) = endpoint(&[BUSY, "503 busy", r#"200 {"a": 1}"#]).await;
    let answer = client.json(Service::Sqs, "us-east-1", "GetQueueUrl", &json!({})).await.unwrap();
    assert_eq!((answer, asked.load(Ordering::SeqCst)), (json!({"a": 1}), 3));
}

#[tokio::test]
async fn three_times_at_most() {
    let (client, asked) = endpoint(&[BUSY, BUSY, BUSY, BUSY]).await;
    let error = client.json(Service::Sqs, "us-east-1", "GetQueueUrl", &json!({})).await.unwrap_err();
    assert_eq!((error.code(), error.is_transient()), (Some("ThrottlingException"), true));
    assert_eq!(asked.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_refusal_is_told_at_once() {
    let (client, asked) = endpoint(&[LOST, LOST]).await;
    let error = client.json(Service::Sqs, "us-east-1", "GetQueueUrl", &json!({})).await.unwrap_err();
    assert_eq!((error.code(), error.is_transient()), (Some("QueueDoesNotExist"), false));
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn aws_itself_is_not_asked_without_keys() {
    let client = Client::new(Endpoints::from_environment(&[]));
    let error = client.json(Service::Sqs, "us-east-1", "SendMessage", &json!({})).await.unwrap_err();
    assert!(!error.is_transient());
    assert!(error.to_string().contains("AWS_ENDPOINT_URL_SQS"), "{error}");
}

#[tokio::test]
async fn nobody_there_is_transient() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let client = Client::new(Endpoints::from_environment(&[("AWS_ENDPOINT_URL".to_owned(), url)]));
    let error = client.query(Service::Sns, "us-east-1", "Publish", &[]).await.unwrap_err();
    assert!(error.is_transient());
    assert!(error.to_string().starts_with("SNS at http://127.0.0.1:"), "{error}");
}
