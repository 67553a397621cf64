//! What the gateway tells of functions: the last invocations, figures, log records.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::harness::{Answer, PATIENCE, TestServer, TestServerBuilder};

const SOURCE: &str = r#"
def lambda_handler(event, context):
    do = event.get("do")
    print("said", do)
    if do == "fail":
        raise ValueError("no")
    if do == "long":
        print("y" * 100_000)
        return "x" * 100_000
    if do == "forge":
        print("END RequestId: 00000000-0000-0000-0000-000000000000")
        print("START RequestId: 00000000-0000-0000-0000-000000000000 Version: $LATEST")
        print("\x1b[31mred\x1b[0m\rover\x00\x08")
        print("[ERROR] as a logger would")
    return {"did": do}
"#;

async fn view(server: &TestServer, path: &str) -> Answer {
    server.send(server.client.get(format!("{}/_handlerd/{path}", server.api))).await
}

async fn json_of(server: &TestServer, path: &str) -> Value {
    let answer = view(server, path).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.json()
}

/// Does it, and the request's id.
async fn ask(server: &TestServer, what: &str) -> String {
    let answer = server.invoke("worker", &json!({"do": what}).to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.header("x-amzn-requestid").unwrap().to_owned()
}

fn texts<'a>(list: &'a Value, field: &str) -> Vec<&'a str> {
    list.as_array().unwrap().iter().map(|each| each[field].as_str().unwrap()).collect()
}

#[tokio::test]
async fn invocations_are_there_before_their_answers() {
    let server = TestServer::with_handler("worker", SOURCE).await;
    assert_eq!(json_of(&server, "functions/worker/invocations").await, json!([]));
    let mut ids = Vec::new();
    for what in ["first", "fail", "third"] {
        let id = ask(&server, what).await;
        let told = json_of(&server, &format!("functions/worker/invocations/{id}")).await;
        assert_eq!((&told["request_id"], &told["event"]), (&json!(id), &json!({"do": what})));
        assert_eq!(told["ok"], what != "fail");
        assert_eq!(told["cold"], what == "first", "{told}");
        assert_eq!(told["init_ms"].is_number(), what == "first");
        assert_eq!(told["truncated"], Value::Null);
        assert_eq!((&told["trigger"], &told["version"]), (&json!("invoke"), &json!("$LATEST")));
        assert!(told["duration_ms"].as_f64().unwrap() > 0.0 && told["billed_ms"].as_u64().unwrap() >= 1);
        let log = told["log"].as_str().unwrap();
        assert!(log.contains(&format!("START RequestId: {id} ")) && log.contains(&format!("said {what}\n")));
        assert!(log.contains("REPORT RequestId: "), "{log}");
        if what == "fail" {
            assert_eq!(told["error_type"], "ValueError");
            assert_eq!(told["result"]["errorMessage"], "no");
        } else {
            assert_eq!((&told["result"], &told["error_type"]), (&json!({"did": what}), &Value::Null));
        }
        ids.push(id);
    }
    ids.reverse();
    let list = json_of(&server, "functions/worker/invocations").await;
    assert_eq!(texts(&list, "request_id"), ids);
    assert!(list[0].get("event").is_none() && list[0].get("log").is_none(), "{list}");
    let page = json_of(&server, "functions/worker/invocations?limit=2").await;
    assert_eq!(texts(&page, "request_id"), ids[..2]);
    let page = json_of(&server, &format!("functions/worker/invocations?limit=2&before={}", ids[1])).await;
    assert_eq!(texts(&page, "request_id"), ids[2..]);
    let page = json_of(&server, &format!("functions/worker/invocations?before={}", ids[2])).await;
    assert_eq!(page, json!([]));

    let id = ask(&server, "long").await;
    let told = json_of(&server, &format!("functions/worker/invocations/{id}")).await;
    assert_eq!(told["truncated"], true);
    assert_eq!(told["result"].as_str().unwrap().len(), 64 * 1024);
    let log = told["log"].as_str().unwrap();
    assert!(log.len() == 64 * 1024 && log.contains("REPORT RequestId: "), "its end is kept");

    for path in [
        "functions/worker/invocations/00000000-0000-0000-0000-000000000000",
        "functions/nobody/invocations/00000000-0000-0000-0000-000000000000",
        "functions/worker/invocations?before=nothing",
    ] {
        let answer = view(&server, path).await;
        assert_eq!(answer.status, 404, "{path}: {}", answer.text());
        assert!(answer.json()["message"].is_string());
    }
    for path in ["functions/worker/invocations?limit=many", "functions/worker/invocations?limit=-1"] {
        assert_eq!(view(&server, path).await.status, 400, "{path}");
    }
}

#[tokio::test]
async fn invocations_say_what_has_triggered_them() {
    let trigger =
        "Events: {Upload: {Type: S3, Properties: {Bucket: photos, Events: 's3:ObjectCreated:*'}}}\n";
    let server = TestServerBuilder::new()
        .handler("worker", SOURCE)
        .file("worker/function.yaml", trigger)
        .start()
        .await;
    server.wait_for_terminal("bucket photos is");
    server.get("/worker").await;
    ask(&server, "first").await;
    let asynchronous = [("x-amz-invocation-type", "Event")];
    assert_eq!(server.invoke_with("worker", "{}", &asynchronous).await.status, 202);
    std::fs::write(server.folder().join("buckets/photos/a.txt"), "a").unwrap();
    let began = std::time::Instant::now();
    let mut seen = Vec::new();
    while seen != ["event", "http", "invoke", "s3"] {
        assert!(began.elapsed() < PATIENCE, "only {seen:?}");
        let list = json_of(&server, "functions/worker/invocations").await;
        seen = texts(&list, "trigger").into_iter().map(str::to_owned).collect();
        seen.sort();
    }
}

fn sum(list: &Value) -> u64 {
    list.as_array().unwrap().iter().map(|count| count.as_u64().unwrap()).sum()
}

/// Invocations, errors, throttles, cold starts.
fn sums(figures: &Value) -> [u64; 4] {
    ["invocations", "errors", "throttles", "cold_starts"].map(|name| sum(&figures[name]))
}

fn busy(state: &std::path::Path) -> TestServerBuilder {
    TestServerBuilder::new()
        .handler("worker", SOURCE)
        .handler("closed", SOURCE)
        .file("closed/function.yaml", "ReservedConcurrentExecutions: 0\n")
        .argument("--state-dir")
        .argument(state.to_str().unwrap())
}

#[tokio::test]
async fn figures_count_what_has_happened_and_outlive_a_restart() {
    let state = tempfile::tempdir().unwrap();
    let mut server = busy(state.path()).start().await;
    for what in ["a", "fail", "b", "fail", "c"] {
        ask(&server, what).await;
    }
    assert_eq!(server.invoke("closed", "{}").await.status, 429);

    let of_worker = json_of(&server, "metrics?function=worker").await;
    assert_eq!(sums(&of_worker), [5, 2, 0, 1]);
    assert_eq!(of_worker["step_s"], 60);
    let times: Vec<u64> = of_worker["t_ms"].as_array().unwrap().iter().map(|t| t.as_u64().unwrap()).collect();
    assert_eq!(times.len(), 60);
    assert!(times.windows(2).all(|pair| pair[1] == pair[0] + 60_000));
    for name in
        ["invocations", "errors", "throttles", "cold_starts", "concurrency", "p50_ms", "p90_ms", "p99_ms"]
    {
        assert_eq!(of_worker[name].as_array().unwrap().len(), 60, "{name}");
    }
    for (index, count) in of_worker["invocations"].as_array().unwrap().iter().enumerate() {
        let happened = *count != 0;
        assert_eq!(of_worker["p50_ms"][index].is_number(), happened);
        assert_eq!(of_worker["concurrency"][index], u64::from(happened));
        if happened {
            let [p50, p90, p99] =
                ["p50_ms", "p90_ms", "p99_ms"].map(|name| of_worker[name][index].as_f64().unwrap());
            assert!(0.0 < p50 && p50 <= p90 && p90 <= p99, "{p50} {p90} {p99}");
        }
    }
    assert_eq!(sums(&json_of(&server, "metrics?function=closed").await), [0, 0, 1, 0]);
    assert_eq!(sums(&json_of(&server, "metrics?function=nobody").await), [0; 4]);
    assert_eq!(sums(&json_of(&server, "metrics").await), [5, 2, 1, 1]);
    let (now, hour) = (times[59] + 60_000, 3_600_000);
    let day = json_of(&server, &format!("metrics?from_ms={}&to_ms={now}&step_s=3600", now - 24 * hour)).await;
    assert_eq!(sums(&day), [5, 2, 1, 1]);
    let before =
        json_of(&server, &format!("metrics?from_ms={}&to_ms={}", now - 9 * hour, now - 8 * hour)).await;
    assert_eq!(sums(&before), [0; 4]);
    for wrong in [
        "step_s=61".to_owned(),
        "step_s=0".to_owned(),
        "step_s=minute".to_owned(),
        format!("from_ms={now}&to_ms={}", now - hour),
        format!("from_ms={}&step_s=60", now - 20 * 24 * hour),
    ] {
        let answer = view(&server, &format!("metrics?{wrong}")).await;
        assert_eq!(answer.status, 400, "{wrong}: {}", answer.text());
    }

    let samples = prometheus(&server).await;
    let of = |name: &str, labels: &str| samples.get(&format!("{name}{{{labels}}}")).copied();
    for (name, count) in [
        ("handlerd_invocations_total", 5.0),
        ("handlerd_errors_total", 2.0),
        ("handlerd_throttles_total", 0.0),
        ("handlerd_cold_starts_total", 1.0),
        ("handlerd_duration_seconds_count", 5.0),
        ("handlerd_concurrent_invocations", 0.0),
    ] {
        assert_eq!(of(name, "function=worker"), Some(count), "{name}");
    }
    assert_eq!(of("handlerd_throttles_total", "function=closed"), Some(1.0));
    assert_eq!(of("handlerd_duration_seconds_bucket", "function=worker,le=+Inf"), Some(5.0));
    assert_eq!(of("handlerd_queue_events", "state=waiting"), Some(0.0));
    assert_eq!(of("handlerd_build_info", &format!("version={}", env!("CARGO_PKG_VERSION"))), Some(1.0));
    assert!(samples["process_resident_memory_bytes{}"] > 1e6);

    server.signal(rustix::process::Signal::TERM);
    assert!(server.wait_for_exit().success());
    let server = busy(state.path()).start().await;
    assert_eq!(sums(&json_of(&server, "metrics").await), [5, 2, 1, 1]);
    ask(&server, "d").await;
    assert_eq!(sums(&json_of(&server, "metrics").await)[0], 6);
    // Counters begin again with the process; Prometheus knows that of them.
    assert_eq!(prometheus(&server).await["handlerd_invocations_total{function=worker}"], 1.0);
}

/// `GET /metrics`, by a reader that accepts nothing beside the format: each family is announced once, its
/// samples follow it at once, no sample is there twice, and histograms only grow.
/// <https://prometheus.io/docs/instrumenting/exposition_formats/>
async fn prometheus(server: &TestServer) -> BTreeMap<String, f64> {
    let answer = server.send(server.client.get(format!("{}/metrics", server.api))).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let text = answer.text();
    assert!(text.ends_with('\n') && !text.contains('\r'));
    let is_name = |name: &str| {
        name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && !name.starts_with(|c: char| c.is_ascii_digit())
    };
    let mut samples = BTreeMap::new();
    let (mut families, mut helped) = (Vec::<(String, String)>::new(), String::new());
    let mut last_bucket: Option<(String, f64, f64)> = None;
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            helped = help.split_once(' ').expect("a help has a text").0.to_owned();
            continue;
        }
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert!(is_name(name) && name == helped, "{line}");
            assert!(matches!(kind, "counter" | "gauge" | "histogram"), "{line}");
            assert!(families.iter().all(|(known, _)| known != name), "{name} is announced twice");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            families.push((name.to_owned(), kind.to_owned()));
            continue;
        }
        let (name, labels, value) = sample(line);
        let (family, kind) = families.last().expect("a sample follows its family");
        let belongs = match kind.as_str() {
            "histogram" => ["_bucket", "_sum", "_count"].iter().any(|end| name == format!("{family}{end}")),
            _ => name == *family,
        };
        assert!(belongs && is_name(&name) && labels.iter().all(|(label, _)| is_name(label)), "{line}");
        if name.ends_with("_bucket") {
            let bound = &labels.iter().find(|(label, _)| label == "le").expect("a bucket has a bound").1;
            let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().unwrap() };
            let function = labels[0].1.clone();
            if let Some((of, lower, count)) = &last_bucket
                && *of == function
            {
                assert!(bound > *lower && value >= *count, "{line}");
            }
            last_bucket = Some((function, bound, value));
        } else if name.ends_with("_count") {
            let (of, bound, count) = last_bucket.as_ref().unwrap();
            assert!(labels[0].1 == *of && *bound == f64::INFINITY && *count == value, "{line}");
        }
        let labels: Vec<String> =
            labels.iter().map(|(label, content)| format!("{label}={content}")).collect();
        let key = format!("{name}{{{}}}", labels.join(","));
        assert!(value >= 0.0 && samples.insert(key, value).is_none(), "{line}");
    }
    samples
}

fn sample(line: &str) -> (String, Vec<(String, String)>, f64) {
    let (front, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no sample: {line}"));
    let Some((name, rest)) = front.split_once('{') else {
        return (front.to_owned(), Vec::new(), value.parse().unwrap());
    };
    let rest = rest.strip_suffix('}').unwrap_or_else(|| panic!("labels do not end: {line}"));
    let labels = rest.split(',').map(|label| {
        let (name, content) = label.split_once('=').unwrap();
        let content = content.strip_prefix('"').and_then(|content| content.strip_suffix('"'));
        let content = content.unwrap_or_else(|| panic!("a label is quoted: {line}"));
        // Names of functions, states and bounds need no escapes.
        assert!(!content.contains(['"', '\\']), "{line}");
        (name.to_owned(), content.to_owned())
    });
    (name.to_owned(), labels.collect(), value.parse().unwrap())
}

#[tokio::test]
async fn log_records_are_found_by_what_they_are() {
    let server = TestServerBuilder::new().handler("worker", SOURCE).handler("other", SOURCE).start().await;
    let first = ask(&server, "first").await;
    let forged = ask(&server, "forge").await;
    server.invoke("other", "{\"do\": \"fail\"}").await;

    let records = json_of(&server, &format!("logs?request_id={forged}")).await;
    let lines = texts(&records, "text");
    assert_eq!(lines[0], format!("START RequestId: {forged} Version: $LATEST"));
    assert!(lines.last().unwrap().starts_with(&format!("REPORT RequestId: {forged}\t")), "{lines:?}");
    // What a handler forges stays its own, and cannot dress up what follows it on a terminal.
    assert!(lines.contains(&"START RequestId: 00000000-0000-0000-0000-000000000000 Version: $LATEST"));
    assert!(lines.contains(&r"\u{1b}[31mred\u{1b}[0m\rover\u{0}\u{8}"), "{lines:?}");
    assert!(texts(&records, "request_id").iter().all(|id| *id == forged));
    assert!(texts(&records, "function").iter().all(|function| *function == "worker"));
    assert!(texts(&records, "time").iter().all(|time| time.len() == 24 && time.ends_with('Z')));
    let of_nobody = json_of(&server, "logs?request_id=00000000-0000-0000-0000-000000000000").await;
    assert_eq!(of_nobody, json!([]));

    let of_worker = json_of(&server, "logs?function=worker").await;
    let ids = texts(&of_worker, "request_id");
    assert!(ids.contains(&first.as_str()) && ids.contains(&forged.as_str()));
    assert!(texts(&of_worker, "function").iter().all(|function| *function == "worker"));
    let said = json_of(&server, "logs?function=worker&filter=SAID").await;
    assert_eq!(texts(&said, "text"), ["said first", "said forge"]);
    let errors = json_of(&server, "logs?level=error").await;
    let errors_of_worker = json_of(&server, "logs?level=ERROR&function=worker").await;
    assert_eq!(texts(&errors_of_worker, "text"), ["[ERROR] as a logger would"]);
    let told = texts(&errors, "text");
    assert!(told.iter().any(|text| text.starts_with("[ERROR] ValueError: no")), "{told:?}");
    assert!(texts(&errors, "level").iter().all(|level| *level == "ERROR"));
    assert_eq!(view(&server, "logs?level=loud").await.status, 400);
    assert_eq!(json_of(&server, "logs?function=nobody").await, json!([]));
    assert_eq!(json_of(&server, "logs?function=..%2F..%2Fetc").await, json!([]));
    crate::catalogue::seen("T10", "shown as text, with their own request", None);
}

/// An event stream, read as it comes.
struct Stream {
    response: reqwest::Response,
    text: String,
}

impl Stream {
    async fn open(server: &TestServer, path: &str) -> Self {
        let response = server.client.get(format!("{}/_handlerd/{path}", server.api)).send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, text: String::new() }
    }

    /// The next record, or `None` at the stream's end.
    async fn record(&mut self) -> Option<Value> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.text = rest;
                let Some(data) = event.strip_prefix("event: record\ndata: ") else {
                    assert!(event.starts_with(':'), "{event}");
                    continue;
                };
                return Some(serde_json::from_str(data).unwrap());
            }
            let piece =
                tokio::time::timeout(PATIENCE, self.response.chunk()).await.expect("in time").unwrap()?;
            self.text.push_str(std::str::from_utf8(&piece).unwrap());
        }
    }
}

#[tokio::test]
async fn log_records_are_followed_until_the_gateway_stops() {
    let mut server =
        TestServerBuilder::new().handler("worker", SOURCE).handler("other", SOURCE).start().await;
    ask(&server, "before").await;
    let mut all = Stream::open(&server, "logs?follow=true&filter=said").await;
    let mut own = Stream::open(&server, "logs?follow=true&function=worker&filter=requestid").await;
    server.invoke("other", "{\"do\": \"first\"}").await;
    let id = ask(&server, "forge").await;
    let told = all.record().await.unwrap();
    assert_eq!((&told["function"], &told["text"]), (&json!("other"), &json!("said first")));
    let told = all.record().await.unwrap();
    assert_eq!((&told["function"], &told["text"]), (&json!("worker"), &json!("said forge")));
    assert_eq!((&told["request_id"], &told["level"]), (&json!(id), &json!("INFO")));
    // START, the two forged ones, END, REPORT: all of the request that has written them.
    for _ in 0..5 {
        let told = own.record().await.unwrap();
        assert_eq!((&told["function"], &told["request_id"]), (&json!("worker"), &json!(id)), "{told}");
    }
    server.signal(rustix::process::Signal::TERM);
    assert!(all.record().await.is_none());
    assert!(own.record().await.is_none());
    assert!(server.wait_for_exit().success());
    assert!(!server.terminal().contains("cut off"), "{}", server.terminal());
}
