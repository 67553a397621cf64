//! The least Runtime API that AWS's own runtime client can be run against: HTTP requests come in at
//! one port, and runtimes fetch them as events, and bring the results, at another.
//!
//! What it does for its own part is kept as cheap as it can be, so that the figure is that of the
//! design: two HTTP exchanges and two JSON documents for each request.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::process::Command;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, Path, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{Notify, oneshot};

#[derive(Default)]
struct Queue {
    state: Mutex<Waiting>,
    filled: Notify,
}

#[derive(Default)]
struct Waiting {
    count: u64,
    events: VecDeque<(String, String)>,
    answers: HashMap<String, oneshot::Sender<Bytes>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HandlerResult {
    status_code: u16,
    #[serde(default)]
    headers: HashMap<String, String>,
    body: String,
}

#[expect(clippy::zombie_processes, reason = "the runtimes live as long as this process")]
#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, address, runtimes, program, options @ ..] = arguments.as_slice() else {
        panic!("usage: runtime-api ADDRESS:PORT RUNTIMES PROGRAM [ARGUMENT]...");
    };
    let queue = Arc::new(Queue::default());
    let inside = TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
    let runtime_api = inside.local_addr().expect("is bound").to_string();
    let front = TcpListener::bind(address).await.expect("the address is free");
    let router = Router::new()
        .route("/2018-06-01/runtime/invocation/next", get(next))
        .route("/2018-06-01/runtime/invocation/{id}/response", post(respond))
        .fallback(|request: Request| async move {
            eprintln!("a runtime reports: {}", request.uri());
            StatusCode::ACCEPTED
        })
        .with_state(queue.clone());
    for _ in 0..runtimes.parse().expect("RUNTIMES is a number") {
        let mut command = Command::new(program);
        command.args(options).env("AWS_LAMBDA_RUNTIME_API", &runtime_api);
        command.spawn().expect("the runtime starts");
    }
    let outside = Router::new().fallback(invoke).with_state(queue);
    let outside = outside.into_make_service_with_connect_info::<SocketAddr>();
    let (front, inside) = tokio::join!(axum::serve(front, outside), axum::serve(inside, router));
    front.and(inside).expect("both serve");
}

async fn invoke(
    State(queue): State<Arc<Queue>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let (answer, answered) = oneshot::channel();
    {
        let mut state = queue.state.lock().expect("nobody panics");
        state.count += 1;
        let id = format!("00000000-0000-0000-0000-{:012x}", state.count);
        let event = event(&request, peer, &id);
        state.events.push_back((id.clone(), event));
        state.answers.insert(id, answer);
    }
    queue.filled.notify_one();
    let Ok(result) = answered.await else { return StatusCode::BAD_GATEWAY.into_response() };
    let Ok(result) = serde_json::from_slice::<HandlerResult>(&result) else {
        return StatusCode::BAD_GATEWAY.into_response();
    };
    let mut response = Response::builder().status(result.status_code);
    for (name, value) in result.headers {
        response = response.header(name, value);
    }
    response.body(result.body.into()).unwrap_or_else(|_| StatusCode::BAD_GATEWAY.into_response())
}

async fn next(State(queue): State<Arc<Queue>>) -> Response {
    loop {
        let filled = queue.filled.notified();
        let event = queue.state.lock().expect("nobody panics").events.pop_front();
        if let Some((id, event)) = event {
            let headers = [
                ("lambda-runtime-aws-request-id", id),
                ("lambda-runtime-deadline-ms", (epoch_ms() + 30_000).to_string()),
                ("lambda-runtime-trace-id", "Root=1-00000000-000000000000000000000000".to_owned()),
                (
                    "lambda-runtime-invoked-function-arn",
                    "arn:aws:lambda:us-east-1:123456789012:function:hello".to_owned(),
                ),
            ];
            return (headers, [(header::CONTENT_TYPE, "application/json")], event).into_response();
        }
        filled.await;
    }
}

async fn respond(State(queue): State<Arc<Queue>>, Path(id): Path<String>, body: Bytes) -> StatusCode {
    let answer = queue.state.lock().expect("nobody panics").answers.remove(&id);
    match answer.map(|answer| answer.send(body)) {
        Some(_) => StatusCode::ACCEPTED,
        None => StatusCode::BAD_REQUEST,
    }
}

/// The fields of payload format 2.0.
fn event(request: &Request, peer: SocketAddr, request_id: &str) -> String {
    let uri = request.uri();
    let query = uri.query().unwrap_or_default();
    let text = |value: &axum::http::HeaderValue| value.to_str().unwrap_or_default().to_owned();
    let headers: HashMap<&str, String> =
        request.headers().iter().map(|(name, value)| (name.as_str(), text(value))).collect();
    let parameters: HashMap<&str, &str> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .collect();
    json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": uri.path(),
        "rawQueryString": query,
        "queryStringParameters": parameters,
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "bench",
            "domainName": headers.get("host"),
            "domainPrefix": "localhost",
            "http": {
                "method": request.method().as_str(),
                "path": uri.path(),
                "protocol": "HTTP/1.1",
                "sourceIp": peer.ip().to_string(),
                "userAgent": headers.get("user-agent"),
            },
            "requestId": request_id,
            "routeKey": "$default",
            "stage": "$default",
            "time": "01/Jan/2026:00:00:00 +0000",
            "timeEpoch": epoch_ms(),
        },
        "isBase64Encoded": false,
        "headers": headers,
    })
    .to_string()
}

fn epoch_ms() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |now| now.as_millis() as u64)
}
