//! Faults of environments, one defence each: what is seen of it when it is there, and a test that is red
//! soon when it is not. How the ends of processes are told, byte for byte, is in `faults`.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::catalogue::seen;
use crate::faults::{Laboratory, Told, tell, wait_for_number};
use crate::harness::{TestServer, TestServerBuilder, eventually};
use crate::processes::{descendants, descriptors, entries, kill, runs, state};

const SECOND: Duration = Duration::from_secs(1);
const TIMED_OUT: &str = "Task timed out after 1.00 seconds";

/// Of 100 times, the slowest but one.
fn p99(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[((times.len() - 1) as f64 * 0.99) as usize]
}

/// How often something is repeated: a few times, unless a long run was asked for.
fn repeated(few: usize) -> usize {
    std::env::var("HANDLERD_TEST_REPEAT").map_or(few, |count| count.parse().unwrap())
}

#[tokio::test]
async fn killed_from_outside_in_the_middle_of_a_request() {
    let lab = Laboratory::open("Timeout: 20\n").await;
    let mut ready = Vec::new();
    for number in 0..repeated(5) {
        let file = lab.place(&format!("pid-{number}"));
        let code = format!(
            "import os, time\nwith open({file:?} + '.runs', 'a') as f: f.write('x')\nopen({file:?}, 'w').write(str(os.getpid()))\ntime.sleep(60)"
        );
        let killed = async {
            kill(wait_for_number(&file).await);
            Instant::now()
        };
        let (told, at) = tokio::join!(lab.run(&code), killed);
        told.is_error("Runtime.ExitError", "Runtime exited with error: signal: killed");
        assert!(at.elapsed() < SECOND, "told after {:?}", at.elapsed());
        assert_eq!(lab.works().await["count"], 1);
        ready.push(at.elapsed());
        assert_eq!(std::fs::read_to_string(file.with_extension("runs")).unwrap(), "x", "it ran once");
    }
    let slowest = p99(&mut ready);
    assert!(slowest < SECOND, "a new environment served after {slowest:?}");
    seen("1", "Runtime.ExitError with the signal, run once, the next request served by a new one", slowest);
    lab.is_clean().await;
}

/// Long enough after its timeout a handler would answer, if it were not ended.
#[tokio::test]
async fn a_timeout_ends_what_would_have_answered_later() {
    let lab = Laboratory::open("Timeout: 1\n").await;
    let told = lab.run("import time\nend = time.monotonic() + 4\nwhile time.monotonic() < end: pass").await;
    told.is_error("Sandbox.Timedout", TIMED_OUT);
    assert_eq!(lab.works().await["count"], 1);
}

/// The faults that only a watch from outside ends: each some times, or 200 times when that is asked for.
#[tokio::test]
async fn timeouts_come_when_they_should() {
    let lab = Laboratory::open("Timeout: 1\n").await;
    lab.works().await;
    lab.is_clean().await;
    let gateway = lab.server.pid().into();
    let before = descriptors(gateway);
    for (row, what, code) in [
        ("5", "a loop in Python", "while True: pass"),
        ("6", "a loop in C with the lock", "x = 7 ** (7 ** 9)"),
        (
            "7",
            "signals ignored",
            "import signal\nfor s in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}: signal.signal(s, signal.SIG_IGN)\nwhile True: pass",
        ),
        ("59", "a stopped process", "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)"),
    ] {
        let (mut late, mut ready) = (Vec::new(), Vec::new());
        for _ in 0..repeated(2) {
            lab.works().await;
            let told = lab.run(code).await;
            told.is_error("Sandbox.Timedout", TIMED_OUT);
            assert!(told.took >= SECOND, "{what}: answered after {:?}", told.took);
            late.push(told.took - SECOND);
            let began = Instant::now();
            assert_eq!(lab.works().await["count"], 1, "{what}");
            ready.push(began.elapsed());
        }
        let (late, ready) = (p99(&mut late), p99(&mut ready));
        seen(
            row,
            format!("{what}: killed and told {late:.1?} after 1 s, the next served {ready:.1?} later"),
            late,
        );
        // 50 ms and 250 ms are what is wanted, and printed; this machine does other things meanwhile.
        assert!(late < SECOND && ready < SECOND, "{what}: {late:?} late, {ready:?} to the next");
    }
    lab.is_clean().await;
    eventually("descriptors are as many as before", || descriptors(gateway) <= before + 2);
}

/// Answers just before and just after its time has run out: it is one or the other, and never the answer
/// to somebody else's question.
#[tokio::test]
async fn an_answer_at_the_last_moment_is_one_outcome() {
    let lab = Laboratory::open("Timeout: 1\n").await;
    let (mut answered, mut timed_out) = (0, 0);
    let began = Instant::now();
    for number in 0..repeated(8) {
        lab.works().await;
        // From 0.97 s to 1.005 s.
        let seconds = 0.97 + 0.005 * (number % 8) as f64;
        let told = lab.run(&format!("import time; time.sleep({seconds}); result['late'] = {number}")).await;
        match told.answer.header("x-amz-function-error") {
            None => {
                assert_eq!(told.value()["late"], number);
                answered += 1;
            }
            Some(_) => {
                told.is_error("Sandbox.Timedout", TIMED_OUT);
                timed_out += 1;
            }
        }
        let next = lab.run(&format!("result['next'] = {number}")).await.value();
        assert_eq!((&next["next"], &next["late"]), (&number.into(), &Value::Null));
    }
    seen("8", format!("{answered} answers, {timed_out} timeouts, none of them twice"), began.elapsed());
    lab.is_clean().await;
}

/// A child of the handler writes what looks like an answer.
#[tokio::test]
async fn an_answer_to_nobodys_question_is_not_believed() {
    let lab = Laboratory::open("Timeout: 5\n").await;
    let forged = "import os, struct, time\ntext = b'\"forged\"'\nos.write(1001, struct.pack('<IBBQII', 18 + len(text), 2, 0, 1, 0, 0) + text)\ntime.sleep(.3)";
    let began = Instant::now();
    assert!(lab.run(forged).await.value()["pid"].is_i64());
    seen("8", "an answer with another number is dropped", began.elapsed());
    let told = lab.run("import os, time; os.write(1001, b'\\xff' * 100); time.sleep(60)").await;
    told.is_error("Runtime.ExitError", "Runtime exited with error: signal: killed");
    assert!(told.took < 4 * SECOND);
    seen("9", "an answer that says it is longer than any may be ends its process", told.took);
}

#[tokio::test]
async fn a_child_that_keeps_the_pipes_open_delays_nobody() {
    let lab = Laboratory::open("Timeout: 20\n").await;
    let child =
        "import subprocess\nresult['child'] = subprocess.Popen(['sleep', '600'], close_fds=False).pid";
    lab.works().await;
    let told = lab.run(child).await;
    let value = told.value();
    assert!(told.took < SECOND, "answered after {:?}", told.took);
    assert!(runs(value["child"].as_i64().unwrap()));
    assert_eq!(lab.works().await["pid"], value["pid"]);
    let ends = lab.run(&format!("{child}\nimport os; os._exit(3)")).await;
    ends.is_error("Runtime.ExitError", "Runtime exited with error: exit status 3");
    assert!(ends.took < SECOND, "told after {:?}", ends.took);
    seen("15", format!("answered at once; an end told after {:.1?}", ends.took), told.took);
    eventually("the child is gone", || state(value["child"].as_i64().unwrap()).is_none());
    lab.is_clean().await;
}

/// Two megabytes are kept of each invocation: none of them fails of it.
#[tokio::test]
async fn a_leak_is_cleared_away_between_invocations() {
    let source = "
import os
kept = []

def lambda_handler(event, context):
    kept.append(b'x' * (2 << 20))
    return os.getpid()
";
    let builder = TestServerBuilder::new().handler("leaks", source);
    let large = "x = b'x' * (112 << 20)\ncount = 0\n\ndef lambda_handler(event, context):\n    global count\n    count += 1\n    return count\n";
    let builder = builder.handler("large", large).file("large/function.yaml", "MemorySize: 160\n");
    let server = builder.file("leaks/function.yaml", "MemorySize: 128\n").start().await;
    let mut environments = std::collections::BTreeSet::new();
    let began = Instant::now();
    for number in 0..150 {
        let answer = server.invoke("leaks", "{}").await;
        assert_eq!(answer.header("x-amz-function-error"), None, "{number}: {}", answer.text());
        environments.insert(answer.json().as_i64().unwrap());
    }
    assert!((2..10).contains(&environments.len()), "{} environments", environments.len());
    server.wait_for_terminal("leaks is given a new environment: it has come to use");
    let took = began.elapsed();
    seen(
        "12",
        format!(
            "150 invocations that keep 2 MB each, of 128 MB: none failed, {} environments",
            environments.len()
        ),
        took,
    );
    // Much, but no more than from the beginning.
    for number in 1..20 {
        assert_eq!(server.invoke("large", "{}").await.json(), number);
    }
}

#[tokio::test]
async fn an_import_that_takes_too_long_is_ended() {
    let slow = "import time\ntime.sleep(12)\ndef lambda_handler(event, context): return 'loaded'\n";
    let builder = TestServerBuilder::new().handler("slow", slow).file("slow/function.yaml", "Timeout: 1\n");
    let server = builder.start().await;
    let told = tell(&server, "slow", "{}").await;
    told.is_error("Sandbox.Timedout", TIMED_OUT);
    seen("20", "an import of 12 s: ended after 10 s, begun again within the function's timeout", told.took);
}

/// The first failures are told one by one; then there are pauses, which new code ends.
#[tokio::test]
async fn a_function_that_never_loads_is_given_pauses() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("begun");
    let source = format!("with open({file:?}, 'a') as f: f.write('.')\nraise KeyError('missing')\n");
    let server = TestServer::with_handler("raises", &source).await;
    let began = Instant::now();
    for _ in 0..300 {
        let answer = server.invoke("raises", "{}").await;
        assert_eq!(answer.json()["errorType"], "KeyError", "{}", answer.text());
    }
    let took = began.elapsed();
    let begun = std::fs::read_to_string(&file).unwrap().len();
    // Ten are free; in a minute there are another ten.
    assert!((10..30).contains(&begun), "{begun} of 300 were begun in {took:?}");
    server.wait_for_terminal("raises could not be loaded 10 times in a row");
    seen(
        "20",
        format!("300 calls of a function that cannot be loaded: tried {begun} times, all told why"),
        took,
    );
    server.write("raises/lambda_function.py", "def lambda_handler(event, context):\n    return 'good'\n");
    assert_eq!(server.invoke("raises", "{}").await.text(), r#""good""#);
}

#[tokio::test]
async fn a_hundred_cold_starts_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let source = format!(
        "import os, time
own = os.path.join({:?}, str(os.getpid()))
open(own, 'w').close()
time.sleep(.1)
loading = len(os.listdir({:?}))
os.remove(own)
def lambda_handler(event, context): return loading
",
        folder.path(),
        folder.path()
    );
    let mut builder =
        TestServerBuilder::new().handler("bystander", "def lambda_handler(event, context): return 1\n");
    for number in 0..100 {
        builder = builder.handler(&format!("f{number}"), &source);
    }
    let server = builder.argument("--concurrency").argument("200").start().await;
    server.get("/bystander").await;
    let began = Instant::now();
    let requests: Vec<_> = (0..100)
        .map(|number| tokio::spawn(server.client.get(format!("{}/f{number}", server.http)).send()))
        .collect();
    let at_once = (4 * std::thread::available_parallelism().unwrap().get()).max(16);
    let mut most = 0;
    for request in requests {
        let response = request.await.unwrap().unwrap();
        assert_eq!(response.status(), 200);
        most = most.max(response.text().await.unwrap().parse().unwrap());
    }
    let took = began.elapsed();
    assert!(most <= at_once, "{most} were loaded at once");
    assert_eq!(server.get("/bystander").await.status, 200);
    seen("21", format!("all 100 served; at most {most} were loaded at once"), took);
}

/// Forked from one process, and yet each has chances of its own.
#[tokio::test]
async fn forked_environments_share_no_randomness() {
    let source = "
import os, random, secrets, ssl, tempfile, time, uuid

drawn = [random.random(), random.getrandbits(64), str(uuid.uuid4()), str(uuid.uuid1()), secrets.token_hex(8),
         ssl.RAND_bytes(8).hex(), os.urandom(8).hex(), next(tempfile._get_candidate_names())]

def lambda_handler(event, context):
    time.sleep(.3)
    return drawn + [random.random(), ssl.RAND_bytes(8).hex(), str(uuid.uuid4())]
";
    let server = TestServer::with_handler("draws", source).await;
    let began = Instant::now();
    let (first, second, third) =
        tokio::join!(server.get("/draws"), server.get("/draws"), server.get("/draws"));
    let drawn = [first.json(), second.json(), third.json()];
    for index in 0..11 {
        let values: std::collections::HashSet<String> =
            drawn.iter().map(|values| values[index].to_string()).collect();
        assert_eq!(values.len(), 3, "number {index} is shared: {drawn:?}");
    }
    seen("23", "three environments, eleven numbers each: none in common", began.elapsed());
}

/// It goes on to its end, is logged, and its place is used again.
#[tokio::test]
async fn a_client_leaves_in_the_middle() {
    let lab = Laboratory::open("Timeout: 20\n").await;
    let pid = lab.works().await["pid"].clone();
    let (begun, release, ended) = (lab.place("begun"), lab.place("release"), lab.place("ended"));
    let code = format!(
        "import os, time\nopen({begun:?}, 'w').write('1')\nwhile not os.path.exists({release:?}): time.sleep(.002)\nopen({ended:?}, 'w').write('1')"
    );
    let running = crate::faults::ask_and_listen_no_more(&lab.server, &code).await;
    wait_for_number(&begun).await;
    let began = Instant::now();
    drop(running);
    lab.server.wait_for_terminal("POST /lab 499");
    let load = lab.server.health().await["functions"]["lab"].clone();
    assert_eq!(load["environments"]["busy"], 1, "it goes on: {load}");
    std::fs::write(&release, "").unwrap();
    wait_for_number(&ended).await;
    assert_eq!(lab.works().await["pid"], pid, "its environment serves on");
    seen("24", "logged as 499, ran to its end, its environment serves the next", began.elapsed());
}

/// Who waits in line and goes away leaves the place to others.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_leaves_the_line() {
    let builder = crate::held_function::add_to(TestServerBuilder::new());
    let server =
        builder.argument("--concurrency").argument("1").argument("--queue").argument("1").start().await;
    let held = crate::held_function::Held::new();
    let ask = || tokio::spawn(server.client.get(format!("{}{}", server.http, held.route())).send());
    let mut third = crate::raw_http::Connection::open(&server.http);
    third.send("GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(third.answer().status, 404);
    let first = ask();
    crate::held_function::wait_for_load(&server, 1, 0).await;
    let second = ask();
    crate::held_function::wait_for_load(&server, 1, 1).await;
    let began = Instant::now();
    let refused = server.get(&held.route()).await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    second.abort();
    server.wait_for_terminal("499");
    third.send(format!("GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n", held.route()));
    // It has been seen when one that comes after it has been turned away.
    assert_eq!(server.get(&held.route()).await.status, 503);
    held.let_go();
    assert_eq!(first.await.unwrap().unwrap().status(), 200);
    assert_eq!(third.answer().status, 200, "there was a place for it");
    seen("25", "its place is free, it is never run", began.elapsed());
}

/// More than may wait is refused at once, and told when to come again.
#[tokio::test]
async fn what_is_too_much_is_refused_at_once() {
    let builder = crate::held_function::add_to(TestServerBuilder::new());
    let server =
        builder.argument("--concurrency").argument("1").argument("--queue").argument("1").start().await;
    let held = crate::held_function::Held::new();
    let ask = || tokio::spawn(server.client.get(format!("{}{}", server.http, held.route())).send());
    let first = ask();
    crate::held_function::wait_for_load(&server, 1, 0).await;
    let second = ask();
    crate::held_function::wait_for_load(&server, 1, 1).await;
    let mut times: Vec<Duration> = Vec::new();
    for _ in 0..100 {
        let began = Instant::now();
        let request = server.client.get(format!("{}{}", server.http, held.route())).timeout(3 * SECOND);
        let answer = server.send(request).await;
        assert_eq!((answer.status, answer.text()), (503, r#"{"message":"Service Unavailable"}"#));
        assert_eq!(answer.header("retry-after"), Some("1"));
        times.push(began.elapsed());
    }
    held.let_go();
    for request in [first, second] {
        assert_eq!(request.await.unwrap().unwrap().status(), 200);
    }
    let slowest = p99(&mut times);
    assert!(slowest < SECOND, "{slowest:?}");
    seen("32", "503 with Retry-After while the line is full (p99 of 100)", slowest);
}

/// A panic of the gateway's own code, which only this test can bring about.
#[tokio::test]
async fn a_bug_of_ours_costs_one_request() {
    let without = std::env::var("HANDLERD_TEST_WITHOUT").unwrap_or_default();
    let builder =
        TestServerBuilder::new().handler("echo", "def lambda_handler(event, context):\n    return 1\n");
    let server = builder.variable("HANDLERD_TEST_WITHOUT", &format!("sound-code,{without}")).start().await;
    let pid = server.pid();
    let began = Instant::now();
    let held = crate::raw_http::Connection::open(&server.http);
    for times in 1..=3 {
        let answer = server.send(server.client.get(format!("{}/a-bug-of-ours", server.http))).await;
        assert_eq!((answer.status, answer.text()), (500, r#"{"message":"Internal Server Error"}"#));
        assert_eq!(server.health().await["connections"]["http"]["endedByABug"], times);
        assert_eq!(server.get("/echo").await.text(), "1");
    }
    server.wait_for_terminal("a bug in handlerd ended a request");
    assert!(runs(pid.into()));
    drop(held);
    seen("33", "500 for that request, counted; the next one is served", began.elapsed());
}

/// What is left over when many have crashed and timed out.
#[tokio::test]
#[ignore = "minutes: a thousand crashes and a thousand timeouts"]
async fn a_thousand_crashes_and_timeouts_leave_nothing_behind() {
    let lab = Laboratory::open("Timeout: 1\n").await;
    let crash = "import os; open(os.environ['TMPDIR'] + '/left', 'w').write('x'); os.kill(os.getpid(), 11)";
    let stuck = "import os, time\nif os.fork() == 0: time.sleep(600)\nwhile True: pass";
    lab.run(crash).await;
    lab.run(stuck).await;
    lab.works().await;
    lab.is_clean().await;
    let gateway = lab.server.pid().into();
    let threads = || entries(std::path::Path::new(&format!("/proc/{}/task", lab.server.pid())));
    let (before, threads_before, began) = (descriptors(gateway), threads(), Instant::now());
    for _ in 0..1000 {
        lab.run(crash)
            .await
            .is_error("Runtime.ExitError", "Runtime exited with error: signal: segmentation fault");
    }
    let wave: usize = 20;
    for _ in 0..1000 / wave {
        let all: Vec<Told> = futures_util::future::join_all((0..wave).map(|_| lab.run(stuck))).await;
        assert!(all.iter().all(|told| told.answer.text().contains("Sandbox.Timedout")));
    }
    lab.works().await;
    eventually("environments that were too many are gone", || descendants(gateway).len() < 100);
    lab.is_clean().await;
    eventually("descriptors and threads are as many as before", || {
        // A line to each environment that still rests, and connections of this client.
        let environments = descendants(gateway).len();
        descriptors(gateway) <= before + 8 * environments && threads() <= threads_before + 8
    });
    seen("16", "1,000 crashes and 1,000 timeouts: nothing is left", began.elapsed());
    assert_eq!(json!(lab.works().await["count"].is_i64()), true);
}
