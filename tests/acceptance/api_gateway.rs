//! API Gateway's less common sides, by kind of API: what no ordinary application shows.

mod function_url;
mod http_api;
mod load_balancer;
mod open_api;
mod shop;

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use axum::extract::Request;
use serde_json::{Value, json};

use crate::harness::{Answer, TestServer};
use crate::sam_apps::send;

const CREDENTIALS: &str = "[kim]\naws_access_key_id = AKIAEXAMPLEEXAMPLE00\naws_secret_access_key = secret\n";

/// Status and body: what most answers are.
async fn said(
    server: &TestServer,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> (u16, String) {
    let answer = send(server, method, path, headers, body).await;
    (answer.status, answer.text().to_owned())
}

fn is(status: u16, body: &str) -> (u16, String) {
    (status, body.to_owned())
}

/// A request that Kim has signed.
async fn signed(server: &TestServer, service: &str, host: &str, path: &str, secret: &str) -> Answer {
    let identity = Credentials::new("AKIAEXAMPLEEXAMPLE00", secret, None, None, "tests").into();
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region("us-east-1")
        .name(service)
        .time(SystemTime::now())
        .settings(SigningSettings::default())
        .build()
        .unwrap()
        .into();
    let url = format!("http://{host}{path}");
    let request = SignableRequest::new("GET", &url, std::iter::empty(), SignableBody::Bytes(b"")).unwrap();
    let (instructions, _) = sign(request, &parameters).unwrap().into_parts();
    let mut headers = vec![("host", host)];
    headers.extend(instructions.headers());
    send(server, "GET", path, &headers, "").await
}

/// Another server, behind an API: it answers with what it was asked, 201, and headers of its own.
async fn upstream() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer = |request: Request| async move {
        let (head, body) = request.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let header = |name: &str| head.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        let asked: Value = json!({
            "method": head.method.as_str(), "uri": head.uri.to_string(),
            "shop": header("x-shop"), "from": header("x-from"), "kept": header("x-kept"),
            "te": header("te"), "body": String::from_utf8_lossy(&body),
        });
        let headers = [("x-upstream", "yes"), ("www-authenticate", "Basic"), ("x-secret", "hidden")];
        (http::StatusCode::CREATED, headers, axum::Json(asked))
    };
    let router = axum::Router::new().fallback(answer);
    tokio::spawn(async move {
        axum::serve(listener, router).await.unwrap();
    });
    url
}
