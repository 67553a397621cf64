//! Many at once for a function that computes: requests lie in the mailboxes of a few environments before it
//! is their turn. Whatever becomes of one of them, the others are what they would be alone.

use std::time::Instant;

use base64::Engine;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::catalogue::seen;
use crate::harness::{Answer, TestServer, TestServerBuilder};

/// Computes for a moment, and then does what it is told.
const BUSY: &str = r"
import os, time

def lambda_handler(event, context):
    remaining = context.get_remaining_time_in_millis()
    end = time.perf_counter() + 0.0005
    while time.perf_counter() < end:
        pass
    number = event['number']
    if 'runs' in event:
        with open(event['runs'], 'a') as runs:
            runs.write(f'{number}\n')
    match event.get('do'):
        case 'print':
            print('printed by', number)
        case 'write':
            os.write(1, b'printed by %d\n' % number)
        case 'exit':
            os._exit(3)
        case 'wait':
            time.sleep(event['seconds'])
    return {'number': number, 'remaining': remaining}
";

const OVER: &str = r"
import json, time

def lambda_handler(event, context):
    end = time.perf_counter() + 0.001
    while time.perf_counter() < end:
        pass
    return str(json.loads(event['body'])['number'])
";

async fn start() -> TestServer {
    let server = TestServerBuilder::new().handler("busy", BUSY).file("busy/function.yaml", "Timeout: 10\n");
    let server = server.start().await;
    // From now on it is known as one that computes, and has as many environments as keep the cores busy.
    all(&server, 0..200, |_| json!({})).await;
    server
}

/// Asks with each number, all at once.
async fn all(
    server: &TestServer,
    numbers: std::ops::Range<u64>,
    what: impl Fn(u64) -> Value,
) -> Vec<(u64, Answer)> {
    let headers = [("x-amz-log-type", "Tail")];
    join_all(numbers.map(|number| {
        let mut event = what(number);
        event["number"] = number.into();
        async move { (number, server.invoke_with("busy", &event.to_string(), &headers).await) }
    }))
    .await
}

/// Rounds of what is `asked`, until so many requests have been left ahead in them that chance is no
/// excuse. On a machine that is very busy requests take so long that few ever are: then it is done when many
/// rounds are.
async fn until_many_lie_ahead(server: &TestServer, mut asked: impl AsyncFnMut(u64)) {
    let count = async || server.health().await["functions"]["busy"]["leftAhead"].as_u64().unwrap();
    let before = count().await;
    for round in 0..30 {
        asked(round).await;
        if round >= 4 && count().await >= before + 300 {
            return;
        }
    }
    eprintln!("only {} requests were left ahead", count().await - before);
}

fn is_its_own((number, answer): &(u64, Answer)) {
    assert_eq!((answer.status, answer.header("x-amz-function-error")), (200, None), "{}", answer.text());
    assert_eq!(answer.json()["number"], *number);
}

fn log(answer: &Answer) -> String {
    let log = base64::engine::general_purpose::STANDARD.decode(answer.header("x-amz-log-result").unwrap());
    String::from_utf8(log.unwrap()).unwrap()
}

/// Some find room in a mailbox, some wait in line, and it changes with every answer: on one thread of the
/// gateway, and on several that lend each other environments.
#[tokio::test]
async fn a_crowd_that_comes_back_again_and_again() {
    for threads in ["1", "3"] {
        let builder = TestServerBuilder::new().argument("--threads").argument(threads);
        let server = builder.handler("over", OVER).start().await;
        join_all((0..180).map(|client| {
            let server = &server;
            async move {
                for round in 0..20 {
                    let number = 1000 * client + round;
                    let body = json!({"number": number}).to_string();
                    let answer = server.post("/over", "application/json", body).await;
                    assert_eq!((answer.status, answer.text()), (200, &*format!("{number}")));
                }
            }
        }))
        .await;
        loop {
            let over = server.health().await["functions"]["over"].take();
            assert_eq!(over["waiting"], 0, "{over}");
            if over["environments"]["busy"] == 0 {
                break;
            }
        }
    }
}

/// What is printed belongs to the request that it was printed for, by whatever way.
#[tokio::test]
async fn each_has_its_own_output() {
    let server = start().await;
    let ways = [json!({}), json!({"do": "print"}), json!({}), json!({"do": "write"})];
    until_many_lie_ahead(&server, async |_| {
        let answers = all(&server, 0..100, |number| ways[number as usize % 4].clone()).await;
        for answer in &answers {
            is_its_own(answer);
            let (number, answer) = answer;
            let printed: Vec<String> =
                log(answer).lines().filter(|line| line.starts_with("printed")).map(str::to_owned).collect();
            match number % 2 {
                0 => assert_eq!(printed, [""; 0]),
                _ => assert_eq!(printed, [format!("printed by {number}")]),
            }
        }
    })
    .await;
}

/// The end of a process is the end of one request: of those behind it, each is run once.
#[tokio::test]
async fn one_that_ends_its_process_ends_no_other() {
    let server = start().await;
    let runs = server.handlers().parent().unwrap().join("runs");
    let (mut asked, mut failed) = (0, 0);
    until_many_lie_ahead(&server, async |round| {
        let does = |number| match number % 20 {
            7 => json!({"runs": runs, "do": "exit"}),
            _ => json!({"runs": runs}),
        };
        asked += 100;
        for answer in all(&server, 100 * round..100 * round + 100, does).await {
            if answer.0 % 20 == 7 {
                let told = answer.1.json();
                assert_eq!(told["errorType"], "Runtime.ExitError", "{told}");
                assert!(told["errorMessage"].as_str().unwrap().ends_with("exit status 3"), "{told}");
                failed += 1;
            } else {
                is_its_own(&answer);
            }
        }
    })
    .await;
    let runs = std::fs::read_to_string(runs).unwrap();
    let mut runs: Vec<u64> = runs.lines().map(|line| line.parse().unwrap()).collect();
    runs.sort_unstable();
    assert_eq!(runs, (0..asked).collect::<Vec<_>>(), "each is run once");
    seen("1", format!("{asked} in waves of 100, {failed} of them end their process: each is run once"), None);
}

/// Nobody waits behind one that takes long.
#[tokio::test]
async fn one_that_takes_long_keeps_nobody() {
    let server = start().await;
    let ended = join_all((0..200).map(|number| {
        let event = match number {
            100 => json!({"number": number, "do": "wait", "seconds": 5}),
            _ => json!({"number": number}),
        };
        let server = &server;
        async move {
            is_its_own(&(number, server.invoke("busy", &event.to_string()).await));
            Instant::now()
        }
    }))
    .await;
    let waited = ended.iter().filter(|at| **at > ended[100]).count();
    assert_eq!(waited, 0, "so many of the others waited for it");
}

/// Its time begins when it is begun, and ends it alone.
#[tokio::test]
async fn a_timeout_is_of_one() {
    let server = start().await;
    let answers = all(&server, 0..240, |_| json!({})).await;
    let remaining: u64 = answers.iter().map(|(_, answer)| answer.json()["remaining"].as_u64().unwrap()).sum();
    assert!(remaining / 240 >= 9_985, "of 10 s there were {} ms left at the beginning", remaining / 240);
    server.write("busy/function.yaml", "Timeout: 1\n");
    all(&server, 0..200, |_| json!({})).await;
    let does = |number| if number == 30 { json!({"do": "wait", "seconds": 30}) } else { json!({}) };
    for answer in all(&server, 0..100, does).await {
        if answer.0 == 30 {
            let told = answer.1.json();
            assert_eq!(told["errorType"], "Sandbox.Timedout", "{told}");
        } else {
            is_its_own(&answer);
        }
    }
}
