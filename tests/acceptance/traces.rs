//! Traces: a collector of OpenTelemetry is sent a span of every invocation, and may be slow, or away.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use crate::harness::{PATIENCE, TestServer, TestServerBuilder, program};

const SOURCE: &str = "def lambda_handler(event, context):\n    if event.get('fail'):\n        raise KeyError('x')\n    return 'done'\n";

type Received = Arc<Mutex<Vec<(HeaderMap, Value)>>>;

/// How it answers, one after the other; the last for ever. `None`: not at all.
async fn collector(answers: &'static [Option<u16>]) -> (String, Received) {
    let received = Received::default();
    let theirs = received.clone();
    let take = move |headers: HeaderMap, body: Bytes| {
        let received = theirs.clone();
        async move {
            let nth = {
                let mut received = received.lock().unwrap();
                received.push((headers, serde_json::from_slice(&body).expect("it is JSON")));
                received.len() - 1
            };
            match answers[nth.min(answers.len() - 1)] {
                Some(status) => (StatusCode::from_u16(status).unwrap(), "{}"),
                None => std::future::pending().await,
            }
        }
    };
    let app = axum::Router::new().route("/v1/traces", axum::routing::post(take));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (url, received)
}

fn server(endpoint: &str) -> TestServerBuilder {
    TestServerBuilder::new()
        .handler("worker", SOURCE)
        .file("worker/function.yaml", "MemorySize: 256\n")
        .variable("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
}

/// Off the runtime's thread, which the collector needs.
async fn stop(mut server: TestServer) -> TestServer {
    server.signal(rustix::process::Signal::TERM);
    tokio::task::spawn_blocking(move || {
        assert!(server.wait_for_exit().success());
        server
    })
    .await
    .unwrap()
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap_or_else(|| panic!("an object: {value}")).keys().map(String::as_str).collect()
}

fn attributes(list: &Value) -> Value {
    let mut attributes = serde_json::Map::new();
    for attribute in list.as_array().unwrap() {
        assert_eq!(keys(attribute), BTreeSet::from(["key", "value"]));
        let (kind, value) = attribute["value"].as_object().unwrap().iter().next().unwrap();
        match kind.as_str() {
            "stringValue" => assert!(value.is_string()),
            "boolValue" => assert!(value.is_boolean()),
            // 64-bit numbers are text in OTLP's JSON.
            "intValue" => drop(value.as_str().unwrap().parse::<i64>().unwrap()),
            other => panic!("{other}"),
        }
        let key = attribute["key"].as_str().unwrap().to_owned();
        assert!(attributes.insert(key, value.clone()).is_none(), "twice: {attribute}");
    }
    attributes.into()
}

/// All spans with what is said of their resource, after the strict look of a collector.
fn spans(received: &Received) -> Vec<(Value, Value)> {
    let mut all = Vec::new();
    for (headers, request) in received.lock().unwrap().iter() {
        assert_eq!(headers["content-type"], "application/json");
        assert_eq!(keys(request), BTreeSet::from(["resourceSpans"]));
        for group in request["resourceSpans"].as_array().unwrap() {
            assert_eq!(keys(group), BTreeSet::from(["resource", "scopeSpans"]));
            assert_eq!(keys(&group["resource"]), BTreeSet::from(["attributes"]));
            let resource = attributes(&group["resource"]["attributes"]);
            for scope in group["scopeSpans"].as_array().unwrap() {
                assert_eq!(keys(scope), BTreeSet::from(["scope", "spans"]));
                assert_eq!(scope["scope"]["name"], "handlerd");
                all.extend(
                    scope["spans"].as_array().unwrap().iter().map(|span| (resource.clone(), checked(span))),
                );
            }
        }
    }
    all
}

fn checked(span: &Value) -> Value {
    let known =
        ["attributes", "endTimeUnixNano", "kind", "name", "parentSpanId", "spanId", "startTimeUnixNano"];
    let known: BTreeSet<&str> = known.into_iter().chain(["status", "traceId"]).collect();
    assert!(keys(span).is_subset(&known), "{span}");
    for (name, length) in [("traceId", 32), ("spanId", 16), ("parentSpanId", 16)] {
        if name == "parentSpanId" && span.get(name).is_none() {
            continue;
        }
        let id = span[name].as_str().unwrap();
        assert!(
            id.len() == length && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')),
            "{name}: {span}"
        );
        assert!(id.bytes().any(|b| b != b'0'));
    }
    let time = |name: &str| span[name].as_str().expect("text").parse::<u64>().unwrap();
    assert!(time("startTimeUnixNano") > 1_700_000_000_000_000_000);
    assert!(time("endTimeUnixNano") >= time("startTimeUnixNano"));
    assert!((1..=5).contains(&span["kind"].as_u64().unwrap()));
    let mut span = span.clone();
    span["attributes"] = attributes(&span["attributes"]);
    span
}

#[tokio::test]
async fn an_invocation_is_a_span_of_the_trace_that_it_came_with() {
    let (url, received) = collector(&[Some(200)]).await;
    let server = server(&format!("{url}/"))
        .variable("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=me%20too")
        .variable("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=tests")
        .start()
        .await;
    let trace = "Root=1-67891233-abcdef012345678912345678;Parent=463ac35c9f6413ad;Sampled=1";
    let answer = server.invoke_with("worker", "{}", &[("x-amzn-trace-id", trace)]).await;
    let first = answer.header("x-amzn-requestid").unwrap().to_owned();
    server.get("/worker").await;
    server.invoke("worker", "{\"fail\": true}").await;
    assert_eq!(server.invoke_with("worker", "{}", &[("x-amz-invocation-type", "Event")]).await.status, 202);
    let path = format!("{}/_handlerd/functions/worker/invocations", server.api);
    let began = Instant::now();
    while server.send(server.client.get(&path)).await.json().as_array().unwrap().len() < 4 {
        assert!(began.elapsed() < PATIENCE);
    }
    // What is left is sent at the end.
    let server = stop(server).await;
    assert!(!server.terminal().contains("trace"), "{}", server.terminal());

    let all = spans(&received);
    assert_eq!(all.len(), 5, "{all:#?}");
    for (headers, _) in received.lock().unwrap().iter() {
        assert_eq!(headers["x-tenant"], "me too");
    }
    for (resource, span) in &all {
        assert_eq!(resource["service.name"], "worker");
        assert_eq!(resource["deployment.environment.name"], "tests");
        assert_eq!(
            (&resource["faas.name"], &resource["faas.version"]),
            (&json!("worker"), &json!("$LATEST"))
        );
        assert_eq!(resource["faas.max_memory"], (256 * 1024 * 1024).to_string());
        let arn = resource["cloud.resource_id"].as_str().unwrap();
        assert!(arn.starts_with("arn:aws:lambda:") && arn.ends_with(":function:worker"), "{arn}");
        assert!(arn.contains(resource["cloud.account.id"].as_str().unwrap()));
        assert!(span["name"] == "worker" || span["name"] == "init");
    }
    let by = |trigger: &str| -> Vec<&Value> {
        let spans = all.iter().map(|(_, span)| span);
        spans.filter(|span| span["attributes"]["faas.trigger"] == trigger).collect()
    };
    let span =
        all.iter().map(|(_, span)| span).find(|span| span["attributes"]["faas.invocation_id"] == first);
    let span = span.expect("the first is there");
    assert_eq!(span["traceId"], "67891233abcdef012345678912345678");
    assert_eq!((&span["parentSpanId"], &span["kind"]), (&json!("463ac35c9f6413ad"), &json!(2)));
    assert_eq!((&span["status"], &span["attributes"]["faas.coldstart"]), (&json!({}), &json!(true)));
    let init = all.iter().map(|(_, span)| span).find(|span| span["name"] == "init").unwrap();
    assert_eq!((&init["parentSpanId"], &init["traceId"]), (&span["spanId"], &span["traceId"]));
    assert_eq!(init["kind"], 1);

    let http = by("http")[0];
    assert_eq!((&http["kind"], http.get("parentSpanId")), (&json!(2), None));
    assert_eq!(http["attributes"]["faas.coldstart"], false);
    let others = by("other");
    let failed = others.iter().find(|span| span["status"] != json!({})).unwrap();
    assert_eq!(
        (&failed["status"]["code"], &failed["attributes"]["error.type"]),
        (&json!(2), &json!("KeyError"))
    );
    assert!(others.iter().any(|span| span["kind"] == 5), "an event is consumed");
}

#[tokio::test]
async fn a_collector_that_is_away_or_slow_costs_traces_only() {
    let nobody = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let (slow, _received) = collector(&[None]).await;
    let (angry, refused) = collector(&[Some(400)]).await;
    for (url, words) in [(nobody, "cannot be reached"), (slow, "were not sent"), (angry, "answers 400")] {
        let server = server(&url).start().await;
        for _ in 0..20 {
            assert_eq!(server.invoke("worker", "{}").await.text(), "\"done\"");
        }
        let began = Instant::now();
        let server = stop(server).await;
        assert!(began.elapsed() < PATIENCE / 2, "{:?}", began.elapsed());
        assert!(server.terminal().contains(words), "{words}: {}", server.terminal());
    }
    assert_eq!(refused.lock().unwrap().len(), 1, "what is refused for good is not sent again");
}

#[tokio::test]
async fn a_collector_that_was_busy_is_asked_again() {
    let (url, received) = collector(&[Some(503), Some(200)]).await;
    let server = server(&url).start().await;
    server.invoke("worker", "{}").await;
    let began = Instant::now();
    while received.lock().unwrap().len() < 2 {
        assert!(began.elapsed() < PATIENCE, "it was not sent again: {}", server.terminal());
        tokio::task::yield_now().await;
        server.health().await;
    }
    let requests: Vec<Value> = received.lock().unwrap().iter().map(|(_, request)| request.clone()).collect();
    let trace = |request: &Value| request["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["traceId"].clone();
    assert_eq!(trace(&requests[0]), trace(&requests[1]));
    let server = stop(server).await;
    assert!(!server.terminal().contains("in no trace"), "{}", server.terminal());
}

#[test]
fn what_cannot_be_done_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("handlers")).unwrap();
    let mut command = program();
    command.arg("serve").args(["--port", "0", "--api-port", "0"]).current_dir(folder.path());
    command
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317")
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    let output = command.output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(
        !output.status.success() && told.contains("`http/json` only") && told.contains("hint: "),
        "{told}"
    );
}
