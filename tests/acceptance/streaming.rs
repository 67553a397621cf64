//! Responses that leave while the handler still runs, over the Lambda API: when their pieces arrive,
//! what a handler may stream, what becomes of streams that are cut off, and that nothing is left.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use aws_smithy_eventstream::frame::read_message_from;
use base64::Engine;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{PATIENCE, TestServer, TestServerBuilder, eventually};
use crate::processes::{descendants, descriptors, entries, kill, runs, status_kb};

/// Makes the pieces that the event describes, as a generator.
const STAGE: &str = "
import os, sys, time

count = 0


def wait_for(path):
    while not os.path.exists(path):
        time.sleep(.002)


def lambda_handler(event, context):
    global count
    count += 1
    if 'plain' in event:
        return {'pid': os.getpid(), 'count': count, 'streams': hasattr(context, 'stream_response')}
    scope = dict(globals(), event=event, context=context)
    exec('def handler():\\n' + ''.join(f'    {line}\\n' for line in event['do'].splitlines()), scope)
    return scope['handler']()
";

struct Stage {
    server: TestServer,
    folder: tempfile::TempDir,
}

/// A stream of events as it comes.
struct Events {
    response: reqwest::Response,
    rest: Vec<u8>,
}

#[derive(Debug, PartialEq)]
enum Event {
    Chunk(Vec<u8>),
    Complete(Value),
}

impl Events {
    /// The next event; `None` at the end of the answer.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(length) = self.rest.first_chunk::<4>()
                && let length = u32::from_be_bytes(*length) as usize
                && self.rest.len() >= length
            {
                let message: Vec<u8> = self.rest.drain(..length).collect();
                let message = read_message_from(&message[..]).expect("the checksums are right");
                let kind = message.headers().iter().find(|header| header.name().as_str() == ":event-type");
                let payload = message.payload().to_vec();
                return Some(match kind.unwrap().value().as_string().unwrap().as_str() {
                    "PayloadChunk" => Event::Chunk(payload),
                    "InvokeComplete" => Event::Complete(serde_json::from_slice(&payload).unwrap()),
                    other => panic!("an event `{other}`"),
                });
            }
            match self.response.chunk().await.expect("the answer is whole") {
                Some(bytes) => self.rest.extend_from_slice(&bytes),
                None => {
                    assert!(self.rest.is_empty(), "half an event at the end");
                    return None;
                }
            }
        }
    }

    async fn chunk(&mut self) -> Vec<u8> {
        match self.next().await {
            Some(Event::Chunk(chunk)) => chunk,
            other => panic!("no chunk but {other:?}"),
        }
    }

    /// What is left of the payload, and how it ended.
    async fn finish(mut self) -> (Vec<u8>, Value) {
        let mut payload = Vec::new();
        loop {
            match self.next().await.expect("a stream ends with InvokeComplete") {
                Event::Chunk(chunk) => payload.extend_from_slice(&chunk),
                Event::Complete(complete) => {
                    assert_eq!(self.next().await, None, "nothing follows InvokeComplete");
                    return (payload, complete);
                }
            }
        }
    }
}

fn error(complete: &Value) -> Value {
    serde_json::from_str(complete["ErrorDetails"].as_str().unwrap_or_else(|| panic!("{complete}"))).unwrap()
}

fn log(complete: &Value) -> String {
    let log = base64::engine::general_purpose::STANDARD.decode(complete["LogResult"].as_str().unwrap());
    String::from_utf8_lossy(&log.unwrap()).into_owned()
}

impl Stage {
    async fn open(configuration: &str) -> Self {
        Self::open_with(configuration, TestServerBuilder::new()).await
    }

    async fn open_with(configuration: &str, builder: TestServerBuilder) -> Self {
        let builder = builder.handler("stage", STAGE).file("stage/function.yaml", configuration);
        Self { server: builder.start().await, folder: tempfile::tempdir().unwrap() }
    }

    fn place(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn begin(&self, code: &str) -> Events {
        let response = self.ask("stage", &json!({ "do": code }).to_string(), &[]).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "application/vnd.amazon.eventstream");
        Events { response, rest: Vec::new() }
    }

    async fn ask(&self, name: &str, event: &str, headers: &[(&str, &str)]) -> reqwest::Response {
        let url = format!("{}/2021-11-15/functions/{name}/response-streaming-invocations", self.server.api);
        let mut request =
            self.server.client.post(url).header("x-amz-log-type", "Tail").body(event.to_owned());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.expect("the server answers")
    }

    /// All of it.
    async fn run(&self, code: &str) -> (String, Value) {
        let (payload, complete) = self.begin(code).await.finish().await;
        (String::from_utf8(payload).expect("text"), complete)
    }

    /// An ordinary invocation.
    async fn plain(&self) -> Value {
        let answer = self.server.invoke("stage", r#"{"plain": true}"#).await;
        assert_eq!(answer.header("x-amz-function-error"), None, "{}", answer.text());
        answer.json()
    }

    /// No processes and temporary folders but those of environments that are there.
    async fn is_clean(&self) {
        let began = Instant::now();
        loop {
            let health = self.server.health().await;
            let environments = health["environments"].as_u64().unwrap() as usize;
            let known = environments + health["zygotes"].as_array().unwrap().len();
            let below = descendants(self.server.pid().into()).len();
            if below == known && entries(&self.server.state_dir().join("tmp")) == environments {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{below} processes, where {health} knows of {known}");
        }
    }
}

fn number(file: &Path) -> Option<i64> {
    std::fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// The first byte is here before the handler may go on.
#[tokio::test]
async fn pieces_arrive_while_the_handler_runs() {
    let stage = Stage::open("Timeout: 20\n").await;
    for (name, code) in [
        ("generator", "yield 'first'\nwait_for(GO)\nyield b'second'"),
        (
            "iterator",
            "def pieces():\n    yield 'first'\n    wait_for(GO)\n    yield 'second'\nreturn map(str.encode, pieces())",
        ),
        (
            "writer",
            "with context.stream_response() as stream:\n    stream.write('first')\n    wait_for(GO)\n    stream.write(b'second')",
        ),
    ] {
        let go = stage.place(name);
        let mut events = stage.begin(&code.replace("GO", &format!("{go:?}"))).await;
        assert_eq!(events.chunk().await, b"first", "{name}");
        assert!(!go.exists());
        std::fs::write(&go, "").unwrap();
        let (rest, complete) = events.finish().await;
        assert_eq!(rest, b"second", "{name}");
        assert_eq!(complete.get("ErrorCode"), None, "{complete}");
        let log = log(&complete);
        assert!(log.contains("START RequestId: ") && log.contains("\nREPORT RequestId: "), "{log}");
    }
    assert_eq!(stage.plain().await["count"], 4, "one environment has served them all");
}

/// Status and headers leave ahead of the body where the handler wants it: an empty piece, or a flush.
#[tokio::test]
async fn status_and_headers_can_leave_alone() {
    let stage = Stage::open("Timeout: 20\n").await;
    for (name, code) in [
        ("generator", "yield {'statusCode': 201}\nyield ''\nwait_for(GO)\nyield 'body'"),
        (
            "writer",
            "stream = context.stream_response({'statusCode': 201})\nstream.flush()\nwait_for(GO)\nstream.write('body')",
        ),
    ] {
        let go = stage.place(name);
        let mut events = stage.begin(&code.replace("GO", &format!("{go:?}"))).await;
        assert_eq!(events.chunk().await, b"{\"statusCode\": 201}\0\0\0\0\0\0\0\0", "{name}");
        std::fs::write(&go, "").unwrap();
        assert_eq!(events.finish().await.0, b"body", "{name}");
    }
}

#[tokio::test]
async fn what_may_be_streamed() {
    let stage = Stage::open("Timeout: 20\n").await;
    for (code, expected) in [
        ("yield 'text 안녕'", "text 안녕"),
        ("yield b'bytes'\nyield bytearray(b' and')\nyield memoryview(b' more')", "bytes and more"),
        ("if False: yield", ""),
        ("yield ''", ""),
        ("return iter(['a', 'b'])", "ab"),
        ("return (c for c in 'abc')", "abc"),
        (
            "yield {'statusCode': 404, 'headers': {'X-A': 'b'}, 'cookies': ['c=1']}\nyield 'body'",
            "{\"statusCode\": 404, \"headers\": {\"X-A\": \"b\"}, \"cookies\": [\"c=1\"]}\0\0\0\0\0\0\0\0body",
        ),
        ("yield {}", "{}\0\0\0\0\0\0\0\0"),
        ("context.stream_response()", ""),
        (
            "import json\nwith context.stream_response() as s: json.dump({'a': [1, 2]}, s)\nreturn 'ignored'",
            r#"{"a": [1, 2]}"#,
        ),
        ("print('written with print', file=context.stream_response())", "written with print\n"),
        (
            "import shutil, io\nshutil.copyfileobj(io.BytesIO(b'x' * 200000), context.stream_response())",
            &"x".repeat(200_000),
        ),
        // Whoever makes no stream is served as ever.
        ("return {'a': 1}", r#"{"a": 1}"#),
        ("return 'text'", r#""text""#),
        ("return b'raw'", "raw"),
        ("return None", "null"),
        ("return ['a']", r#"["a"]"#),
    ] {
        let (payload, complete) = stage.run(code).await;
        assert_eq!(payload, expected, "{code}");
        assert_eq!(complete.get("ErrorCode"), None, "{code}: {complete}");
    }
    let large = format!("return '{}' * 1000000", "x".repeat(5));
    assert_eq!(stage.run(&large).await.0.len(), 5_000_002);
}

/// Without a caller who takes a stream, everything is as on Lambda.
#[tokio::test]
async fn nothing_is_streamed_to_those_who_have_not_asked() {
    let stage = Stage::open("Timeout: 20\n").await;
    let answer = stage.server.invoke("stage", r#"{"do": "yield 1"}"#).await;
    assert_eq!(answer.header("x-amz-function-error"), Some("Unhandled"));
    let fault = answer.json();
    assert_eq!(fault["errorType"], "Runtime.MarshalError");
    assert_eq!(
        fault["errorMessage"],
        "Unable to marshal response: Object of type generator is not JSON serializable"
    );
    stage.server.wait_for_terminal("stage returned a generator, but whoever asked takes no stream");
    assert_eq!(stage.plain().await["streams"], false);
    assert_eq!(stage.run("return hasattr(context, 'stream_response')").await.0, "true");
    assert_eq!(stage.plain().await["streams"], false);
}

#[tokio::test]
async fn errors_before_and_after_the_first_byte() {
    let stage = Stage::open("Timeout: 20\n").await;
    let pid = stage.plain().await["pid"].clone();
    let many = "writes = [context.stream_response().write]\nwrites[0]('a')\n";
    for (code, payload, error_type, message) in [
        ("raise KeyError('early')\nyield", "", "KeyError", "'early'"),
        ("yield {'statusCode': 200}\nraise KeyError('early')", "", "KeyError", "'early'"),
        ("context.stream_response()\nraise KeyError('early')", "", "KeyError", "'early'"),
        ("yield 'a'\nraise KeyError('late')", "a", "KeyError", "'late'"),
        (
            "with context.stream_response() as s:\n    s.write('a')\n    raise KeyError('late')",
            "a",
            "KeyError",
            "'late'",
        ),
        ("yield 1", "", "TypeError", "a piece of a streamed response is str or bytes, not int"),
        (
            "yield 'a'\nyield {}",
            "a",
            "TypeError",
            "a piece of a streamed response is str or bytes, not dict; only the first may be a dict",
        ),
        (
            "yield {'statusCode': 200, 'body': 'a'}",
            "",
            "ValueError",
            "a streamed response begins with statusCode, headers, multiValueHeaders, cookies, not with 'body'; its \
             body follows in pieces",
        ),
        (
            "yield {'headers': {'a': 'x' * 70000}}\nyield 'a'",
            "",
            "ValueError",
            "status, headers and cookies have more than 65472 bytes together",
        ),
        (
            "s = context.stream_response()\ns.close()\ns.write('a')",
            "",
            "ValueError",
            "the response stream is closed",
        ),
        (
            &format!("{many}context.stream_response()"),
            "a",
            "RuntimeError",
            "this response is being streamed already",
        ),
        (
            "return object()",
            "",
            "Runtime.MarshalError",
            "Unable to marshal response: Object of type object is not JSON serializable",
        ),
    ] {
        let (sent, complete) = stage.run(code).await;
        assert_eq!(sent, payload, "{code}");
        let error = error(&complete);
        assert_eq!(
            (&error["errorType"], &error["errorMessage"]),
            (&error_type.into(), &message.into()),
            "{code}"
        );
        assert_eq!(complete["ErrorCode"], error_type);
        let log = log(&complete);
        assert!(log.contains(&format!("[ERROR] {error_type}: ")), "{log}");
        assert!(log.contains("\nEND RequestId: "), "{log}");
    }
    // The traceback begins in the function's own code.
    let (_, complete) = stage.run("yield 'a'\nraise KeyError('late')").await;
    let trace = error(&complete)["stackTrace"].clone();
    assert!(trace[0].as_str().unwrap().contains("in handler"), "{trace}");
    assert_eq!(stage.plain().await["pid"], pid, "none of these has cost the environment");
}

#[tokio::test]
async fn the_ways_to_ask_that_are_refused() {
    let stage = Stage::open("Timeout: 20\n").await;
    for (name, event, headers, status, code) in [
        ("nobody", "{}", &[][..], 404, "ResourceNotFoundException"),
        ("stage", "{", &[], 400, "InvalidRequestContentException"),
        ("stage", "{}", &[("x-amz-invocation-type", "Event")], 400, "ValidationException"),
        ("stage", "{}", &[("origin", "https://evil.example")], 403, "AccessDeniedException"),
        ("stage", "{}", &[("host", "evil.example")], 421, "MisdirectedRequestException"),
        ("stage", "{}", &[("sec-fetch-site", "cross-site")], 403, "AccessDeniedException"),
        ("stage:7", "{}", &[], 404, "ResourceNotFoundException"),
    ] {
        let response = stage.ask(name, event, headers).await;
        assert_eq!(response.status().as_u16(), status, "{name} {event} {headers:?}");
        assert_eq!(response.headers()["x-amzn-errortype"], code);
    }
    let response = stage.ask("stage", "{}", &[("x-amz-invocation-type", "DryRun")]).await;
    assert_eq!(response.status(), 204);
    let url = format!("{}/2021-11-15/functions/stage/response-streaming-invocations", stage.server.api);
    assert_eq!(stage.server.client.get(url).send().await.unwrap().status(), 501);
}

/// However the process ends in the middle, the client gets what was sent, and is told.
#[tokio::test]
async fn ends_of_the_process_in_mid_stream() {
    let stage = Stage::open("Timeout: 1\nMemorySize: 128\n").await;
    let exited = "Runtime exited with error: ";
    for (code, error_type, what) in [
        ("os._exit(3)", "Runtime.ExitError", format!("{exited}exit status 3")),
        ("os._exit(0)", "Runtime.ExitError", "Runtime exited without providing a reason".to_owned()),
        ("sys.exit(3)", "Runtime.ExitError", format!("{exited}exit status 3")),
        ("os.kill(os.getpid(), 9)", "Runtime.ExitError", format!("{exited}signal: killed")),
        (
            "import ctypes; ctypes.string_at(0)",
            "Runtime.ExitError",
            format!("{exited}signal: segmentation fault"),
        ),
        ("x = b'x' * (400 << 20); time.sleep(60)", "Runtime.ExitError", format!("{exited}signal: killed")),
        ("time.sleep(60)", "Sandbox.Timedout", "Task timed out after 1.00 seconds".to_owned()),
        ("while True: pass", "Sandbox.Timedout", "Task timed out after 1.00 seconds".to_owned()),
    ] {
        let pid = stage.plain().await["pid"].as_i64().unwrap();
        let (payload, complete) = stage.run(&format!("yield 'sent'\n{code}")).await;
        assert_eq!(payload, "sent", "{code}");
        assert_eq!(complete["ErrorCode"], error_type, "{code}");
        let message = error(&complete)["errorMessage"].as_str().unwrap().to_owned();
        assert!(message.ends_with(&format!(" Error: {what}")), "{code}: {message}");
        assert_eq!(stage.plain().await["count"], 1, "{code}: the environment is a new one");
        eventually("the old one is gone", || !runs(pid));
    }
    // Killed from outside while it waits.
    let mut events = stage.begin("yield str(os.getpid())\ntime.sleep(60)").await;
    kill(String::from_utf8(events.chunk().await).unwrap().parse().unwrap());
    let (_, complete) = events.finish().await;
    assert!(complete["ErrorDetails"].as_str().unwrap().contains("signal: killed"), "{complete}");
    stage.is_clean().await;
}

/// What is sent by others than the runtime is not believed.
#[tokio::test]
async fn forged_frames() {
    let stage = Stage::open("Timeout: 20\n").await;
    let frame = "import struct\ndef forge(kind, payload=b'', nonce=1):\n    os.write(1001, struct.pack('<IBBQII', 18 + len(payload), kind, 0, nonce, 0, 0) + payload)\n";
    // With a number that belongs to no request: skipped, and the environment is not used again.
    for forged in [
        "forge(7, b'forged')",
        "forge(6)",
        "forge(8)",
        "forge(4, b'{}')",
        "forge(2, b'1')",
        "forge(0)",
        "forge(7, b'x' * 200)",
    ] {
        let before = stage.plain().await;
        let (payload, complete) = stage.run(&format!("{frame}yield 'a'\n{forged}\nyield 'b'")).await;
        assert_eq!((payload.as_str(), complete.get("ErrorCode")), ("ab", None), "{forged}");
        assert_ne!(stage.plain().await["pid"], before["pid"], "{forged}");
    }
    // What is no frame at all, or none of this stream: the end of it.
    for forged in [
        "os.write(1001, b'\\xff' * 100)",
        "os.write(1001, struct.pack('<I', 2) + b'..')",
        "forge(9)",
        "forge(200)",
        "for _ in range(20000): forge(7)",
    ] {
        let (payload, complete) = stage.run(&format!("{frame}yield 'a'\n{forged}\ntime.sleep(60)")).await;
        assert_eq!(
            (payload.as_str(), &complete["ErrorCode"]),
            ("a", &"Runtime.ExitError".into()),
            "{forged}"
        );
        assert_eq!(stage.plain().await["count"], 1);
    }
    // Stream frames where nobody has asked for a stream.
    for forged in ["forge(6)", "forge(7, b'x')", "forge(8)"] {
        let event = json!({"do": format!("{frame}{forged}\nreturn 'right'")}).to_string();
        assert_eq!(stage.server.invoke("stage", &event).await.text(), r#""right""#, "{forged}");
    }
    // Half a frame that never ends, and pipes that are closed.
    let (payload, complete) = stage.run("yield 'a'\nos.closerange(3, 4096)\nyield 'b'").await;
    assert_eq!((payload.as_str(), &complete["ErrorCode"]), ("a", &"Runtime.ExitError".into()));
    stage.is_clean().await;
}

/// A client that goes away in the middle: a generator is closed, a writer is told, and the
/// environment serves the next one.
#[tokio::test]
async fn a_client_that_goes_away_in_mid_stream() {
    // One environment at a time: the next request waits until the last one has been cleared up.
    let builder = TestServerBuilder::new().argument("--concurrency").argument("1");
    let stage = Stage::open_with("Timeout: 60\n", builder).await;
    let before = stage.plain().await;
    let gateway = stage.server.pid().into();
    let connected = std::cell::Cell::new(0);
    for (name, code) in [
        (
            "generator",
            "try:\n    while True:\n        yield 'x'\n        time.sleep(.001)\nexcept GeneratorExit:\n    open(FILE, 'w').write('1')",
        ),
        (
            "writer",
            "stream = context.stream_response()\ntry:\n    while True:\n        stream.write('x')\n        time.sleep(.001)\nexcept BrokenPipeError:\n    open(FILE, 'w').write('1')",
        ),
        // It is waiting for the client, who reads nothing.
        (
            "writer that is held up",
            "stream = context.stream_response()\ntry:\n    while True: stream.write(b'x' * 100000)\nexcept BrokenPipeError:\n    open(FILE, 'w').write('1')",
        ),
        (
            "reads on by itself",
            "class Pieces:\n    def __iter__(self): return self\n    def __next__(self): return 'x' * 1000\n    def close(self): open(FILE, 'w').write('1')\nreturn Pieces()",
        ),
        // Somebody may leave before anything is sent.
        (
            "not yet begun",
            "open(FILE + '.begun', 'w').write('1')\nwait_for(FILE + '.go')\nstream = context.stream_response()\ntry:\n    while True: stream.write('x')\nexcept BrokenPipeError: open(FILE, 'w').write('1')",
        ),
    ] {
        let file = stage.place(name);
        let code = code.replace("FILE", &format!("{:?}", file.to_str().unwrap()));
        if name == "not yet begun" {
            let begun = async {
                let began = stage.place("not yet begun.begun");
                while number(&began).is_none() {
                    tokio::task::yield_now().await;
                }
                connected.set(descriptors(gateway));
            };
            tokio::select! {
                _ = stage.begin(&code) => panic!("it waits"),
                () = begun => {}
            }
            // Not `eventually`: the client's own connection is closed by this thread too.
            let began = Instant::now();
            while descriptors(gateway) >= connected.get() {
                assert!(began.elapsed() < PATIENCE, "the gateway has not heard of it");
                tokio::task::yield_now().await;
            }
            std::fs::write(stage.place("not yet begun.go"), "").unwrap();
        } else {
            let mut events = stage.begin(&code).await;
            events.chunk().await;
            drop(events);
        }
        let began = Instant::now();
        while number(&file).is_none() {
            assert!(began.elapsed() < PATIENCE, "{name}: the function has not heard of it");
            tokio::task::yield_now().await;
        }
    }
    let after = stage.plain().await;
    assert_eq!(after["pid"], before["pid"], "the environment is the same");
    assert_eq!(after["count"], 7);
    stage.is_clean().await;
}

/// A client that reads nothing holds the handler up, and nobody's memory fills.
#[tokio::test]
async fn a_hundred_megabytes_for_a_slow_client() {
    const PIECES: i64 = 1600;
    const PIECE: usize = 64 * 1024;
    let stage = Stage::open("Timeout: 60\n").await;
    let progress = stage.place("progress");
    let code = format!(
        "for number in range({PIECES}):\n    with open({progress:?}, 'w') as f: f.write(str(number))\n    yield bytes([number % 251]) * {PIECE}"
    );
    stage.plain().await;
    let gateway = stage.server.pid().into();
    let before = status_kb(gateway, "VmHWM");
    let mut events = stage.begin(&code).await;
    let mut received = events.chunk().await;
    // While others are served, this one gets no further than what is on its way.
    for _ in 0..300 {
        stage.server.health().await;
    }
    let sent = number(&progress).unwrap_or(0);
    println!("{sent} of {PIECES} pieces were sent to a client that reads nothing");
    assert!(sent < PIECES / 4, "{sent} pieces");
    let began = Instant::now();
    let (rest, complete) = events.finish().await;
    received.extend(rest);
    println!("the rest took {:.0} ms", began.elapsed().as_secs_f64() * 1e3);
    assert_eq!(complete.get("ErrorCode"), None, "{complete}");
    assert_eq!(received.len(), PIECES as usize * PIECE);
    let right = received
        .chunks(PIECE)
        .enumerate()
        .all(|(number, piece)| piece.iter().all(|byte| usize::from(*byte) == number % 251));
    assert!(right, "every byte is where it belongs");
    let grown = status_kb(gateway, "VmHWM") - before;
    println!("the gateway's memory grew by {grown} kB at most");
    assert!(grown < 8 * 1024, "{grown} kB");
}

/// A client that reads nothing for longer than the function may run.
#[tokio::test]
async fn a_client_that_never_reads() {
    let stage = Stage::open("Timeout: 1\n").await;
    let pid = stage.plain().await["pid"].as_i64().unwrap();
    let address = stage.server.api.trim_start_matches("http://").to_owned();
    let body = json!({"do": "while True: yield 'x' * 100000"}).to_string();
    let mut connection = std::net::TcpStream::connect(&address).unwrap();
    write!(
        connection,
        "POST /2021-11-15/functions/stage/response-streaming-invocations HTTP/1.1\r\nHost: {address}\r\nContent-Length: \
         {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    eventually("the function is ended at its timeout", || !runs(pid));
    // What had been sent is still there to be read, and then the end.
    connection.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answer = Vec::new();
    let mut buffer = vec![0; 1 << 20];
    while !answer.ends_with(b"\r\n0\r\n\r\n") {
        let read = connection.read(&mut buffer).unwrap();
        assert!(read > 0, "the answer has an orderly end");
        answer.extend_from_slice(&buffer[..read]);
    }
    assert!(memchr::memmem::find(&answer, b"Sandbox.Timedout").is_some());
    stage.is_clean().await;
}

/// However much there is to do, the clock is looked at.
#[tokio::test]
async fn a_flood_of_small_pieces_ends_at_the_timeout() {
    let stage = Stage::open("Timeout: 1\n").await;
    let began = Instant::now();
    let (payload, complete) =
        stage.run("write = context.stream_response().write\nwhile True: write('x')").await;
    println!("{} pieces in a second", payload.len());
    assert_eq!(complete["ErrorCode"], "Sandbox.Timedout");
    assert!(payload.bytes().all(|byte| byte == b'x') && payload.len() > 1000);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test]
async fn two_hundred_megabytes_are_the_most() {
    let stage = Stage::open("Timeout: 120\n").await;
    let mut events = stage.begin("while True: yield b'x' * 1000000").await;
    let mut length = 0;
    let complete = loop {
        match events.next().await.unwrap() {
            Event::Chunk(chunk) => length += chunk.len(),
            Event::Complete(complete) => break complete,
        }
    };
    assert_eq!(complete["ErrorCode"], "Function.ResponseSizeTooLarge");
    assert_eq!(
        error(&complete)["errorMessage"],
        "Response payload size exceeded maximum allowed payload size (209715200 bytes)."
    );
    assert!((209_000_000..=209_715_200).contains(&length), "{length}");
    stage.server.wait_for_terminal("stage was ended: it streamed more than 200 MB");
    assert_eq!(stage.plain().await["count"], 1);
}

/// Pieces of several threads do not mix, and none comes after the end.
#[tokio::test]
async fn threads_and_forks() {
    let stage = Stage::open("Timeout: 20\n").await;
    let (payload, complete) = stage
        .run(
            "import threading\nstream = context.stream_response()\ndef work(letter):\n    for _ in range(50): stream.write(letter * 5000 + '\\n')\nthreads = [threading.Thread(target=work, args=(letter,)) for letter in 'abcdefgh']\nfor thread in threads: thread.start()\nfor thread in threads: thread.join()",
        )
        .await;
    assert_eq!(complete.get("ErrorCode"), None, "{complete}");
    let mut lines: Vec<&str> = payload.lines().collect();
    lines.sort_unstable();
    let expected: Vec<String> =
        "abcdefgh".chars().flat_map(|letter| (0..50).map(move |_| letter.to_string().repeat(5000))).collect();
    assert!(lines == expected, "{} lines", lines.len());

    let late = stage.place("late");
    let code = format!(
        "import threading\nstream = context.stream_response()\nstream.write('a')\ndef work():\n    while True:\n        time.sleep(.001)\n        try: stream.write('late')\n        except ValueError as error: break\n    open({late:?}, 'w').write('1')\nstream.close()\nthreading.Thread(target=work).start()"
    );
    assert_eq!(stage.run(&code).await.0, "a");
    assert_eq!(stage.run("time.sleep(.05)\nyield 'next'").await.0, "next");
    eventually("the thread has been refused", || number(&late) == Some(1));

    // Both sides of a fork go on; only one of them is the handler.
    for code in [
        "yield 'a'\nos.fork()\nyield 'b'",
        "os.fork()\nyield 'ab'",
        "stream = context.stream_response()\nstream.write('a')\nif os.fork():\n    os.wait()\n    stream.write('b')\nelse: stream.write('forked')",
    ] {
        let (payload, complete) = stage.run(code).await;
        assert_eq!((payload.as_str(), complete.get("ErrorCode")), ("ab", None), "{code}");
    }
    // With it go the children that it has not waited for.
    stage.run("os._exit(0)\nyield").await;
    stage.is_clean().await;
}

/// A stream in flight when the server is asked to stop is finished first.
#[tokio::test]
async fn a_stop_lets_a_stream_finish() {
    let mut stage = Stage::open("Timeout: 60\n").await;
    let go = stage.place("go");
    let mut events = stage.begin(&format!("yield 'first'\nwait_for({go:?})\nyield 'last'")).await;
    assert_eq!(events.chunk().await, b"first");
    stage.server.signal(Signal::TERM);
    stage.server.wait_for_terminal("stopping: requests in flight");
    // Longer than an answer that is complete has for its last bytes.
    let stopping = Instant::now();
    eventually("it still runs", || stopping.elapsed() > Duration::from_millis(1200));
    std::fs::write(&go, "").unwrap();
    let (rest, complete) = events.finish().await;
    assert_eq!((rest.as_slice(), complete.get("ErrorCode")), (&b"last"[..], None));
    assert!(stage.server.wait_for_exit().success());
}

/// Cut off in many ways, many times: nothing stays behind in the gateway.
#[tokio::test]
async fn a_hundred_cut_streams_leave_nothing_behind() {
    let stage = Stage::open("Timeout: 20\n").await;
    stage.plain().await;
    let gateway = stage.server.pid().into();
    let cut = |round: i64| {
        let stage = &stage;
        async move {
            match round % 3 {
                0 => drop(stage.run("yield 'a'\nos._exit(1)").await),
                1 => drop(stage.run("yield 'a'\nraise KeyError").await),
                _ => {
                    let mut events = stage.begin("while True: yield 'x' * 10000").await;
                    events.chunk().await;
                }
            }
        }
    };
    for round in 0..6 {
        cut(round).await;
    }
    stage.plain().await;
    stage.is_clean().await;
    let before = descriptors(gateway);
    for round in 0..100 {
        cut(round).await;
    }
    stage.plain().await;
    stage.is_clean().await;
    eventually("descriptors are as many as before", || descriptors(gateway) <= before + 4);
}
