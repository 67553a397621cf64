//! Faults that need a scene of their own: descriptors that run out, folders that the kernel does not
//! watch, a terminal that nobody reads.

use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use crate::catalogue::seen;
use crate::harness::{Lines, PATIENCE, TestServer, TestServerBuilder, program};

/// All descriptors in use: that handler's own problem, and only in that invocation.
#[tokio::test]
async fn a_handler_without_descriptors() {
    let source = "
import os


def lambda_handler(event, context):
    opened = []
    try:
        while event.get('all'):
            opened.append(os.open('/dev/null', os.O_RDONLY))
        return os.getpid()
    except OSError as error:
        return [os.getpid(), error.strerror, len(opened) <= 1024]
    finally:
        for descriptor in opened:
            os.close(descriptor)
";
    let server = TestServer::with_handler("greedy", source).await;
    let pid = server.invoke("greedy", "{}").await.json();
    let began = Instant::now();
    let told = server.invoke("greedy", r#"{"all": true}"#).await.json();
    seen("17", format!("{}, at 1,024; the next invocation is served", told[1]), began.elapsed());
    assert_eq!(told, json!([pid, "Too many open files", true]));
    assert_eq!(server.invoke("greedy", "{}").await.json(), pid);
}

fn version(number: usize) -> String {
    format!("def lambda_handler(event, context): return {number:08}\n").replace("return 0", "return 10")
}

/// More changes than the kernel keeps for us: the last content is what counts.
#[tokio::test]
async fn more_changes_than_the_kernel_keeps() {
    let builder = TestServerBuilder::new().handler("hello", &version(1));
    let server = builder.handler("noisy", &version(1)).start().await;
    assert_eq!(server.get("/hello").await.status, 200);
    let most = std::fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    let most: usize = most.trim().parse().unwrap();
    if most > 200_000 {
        return eprintln!("skipped: {most} changes would have to be made");
    }
    server.signal(Signal::STOP);
    let folder = server.handlers().join("noisy");
    // Of another function, whose files alone would be looked at. Two names by turns: the kernel joins what is the same as the last one.
    for number in 0..=most / 2 {
        std::fs::write(folder.join(format!("data{}", number % 2)), "x").unwrap();
    }
    server.write("hello/lambda_function.py", "def lambda_handler(event, context): return 'the last'\n");
    let began = Instant::now();
    server.signal(Signal::CONT);
    while server.get("/hello").await.text() != "the last" {
        assert!(began.elapsed() < Duration::from_secs(10), "what was lost is not looked for");
    }
    seen("48", format!("served, after more than {most} changes"), began.elapsed());
    // And it is heard again.
    server.write("hello/lambda_function.py", "def lambda_handler(event, context): return 'later'\n");
    server.until("/hello", |answer| answer.text() == "later").await;
}

/// Where the kernel gives no watches, everything is looked at now and then, and that is said.
#[tokio::test]
async fn where_the_kernel_gives_no_watches() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("handlers/hello/lambda_function.py");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, version(1)).unwrap();
    let plain = program();
    let mut command = std::process::Command::new("unshare");
    // In a namespace of users the limits are its own.
    command
        .args(["--user", "--map-root-user", "sh", "-c"])
        .arg("echo 0 > /proc/sys/user/max_inotify_watches && exec \"$0\" serve --port 0 --api-port 0")
        .arg(plain.get_program())
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    for (name, value) in plain.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let possible = std::process::Command::new("unshare").args(["--user", "--map-root-user", "true"]).status();
    if !possible.is_ok_and(|status| status.success()) {
        return eprintln!("skipped: namespaces of users are not to be had here");
    }
    let mut child = Ends(command.spawn().unwrap());
    let stderr = Lines::of(child.0.stderr.take().unwrap());
    let stdout = Lines::of(child.0.stdout.take().unwrap());
    let http = stdout.wait_for("HTTP routes").expect("it starts");
    let http = http.split_whitespace().next().unwrap().to_owned();
    stderr.wait_for("could not watch").expect("that it does not watch is said");
    let client = reqwest::Client::builder().timeout(PATIENCE).no_proxy().build().unwrap();
    // An environment that starts only now would read what is there anyhow.
    let former = client.get(format!("{http}/hello")).send().await.unwrap().text().await.unwrap();
    assert_eq!(former, "100000001");
    let began = Instant::now();
    std::fs::write(&file, "def lambda_handler(event, context): return 'the last'\n").unwrap();
    loop {
        let answer = client.get(format!("{http}/hello")).send().await.unwrap().text().await.unwrap();
        if answer == "the last" {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "{answer}");
    }
    seen("49", "found by looking every 500 ms, and said", began.elapsed());
}

/// A gateway whose one function says more than a pipe holds; and what nobody reads yet.
fn talker() -> (tempfile::TempDir, Ends, String, std::process::ChildStderr) {
    let folder = tempfile::tempdir().unwrap();
    let function = folder.path().join("handlers/talker");
    std::fs::create_dir_all(&function).unwrap();
    let source = "def lambda_handler(event, context):\n    print('x' * 60000)\n    return 'said'\n";
    std::fs::write(function.join("lambda_function.py"), source).unwrap();
    let mut command = program();
    command
        .args(["serve", "--port", "0", "--api-port", "0"])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = Ends(command.spawn().unwrap());
    // Held open, and not read.
    let stderr = child.0.stderr.take().unwrap();
    let stdout = Lines::of(child.0.stdout.take().unwrap());
    let http =
        stdout.wait_for("HTTP routes").expect("it starts").split_whitespace().next().unwrap().to_owned();
    (folder, child, http, stderr)
}

/// Nobody reads what the program says: requests do not wait for it, nor does its end.
#[tokio::test]
async fn a_terminal_that_nobody_reads() {
    let (_folder, mut child, http, stderr) = talker();
    let client = reqwest::Client::builder().timeout(Duration::from_secs(5)).no_proxy().build().unwrap();
    let mut slowest = Duration::ZERO;
    // A pipe holds 64 KB, what waits for it 4 MB.
    for _ in 0..150 {
        let began = Instant::now();
        let answer = client.get(format!("{http}/talker")).send().await.unwrap();
        assert_eq!(answer.text().await.unwrap(), "said");
        slowest = slowest.max(began.elapsed());
    }
    assert!(slowest < Duration::from_secs(2), "a request waited {slowest:?}");
    seen("60", "150 answers with 9 MB of log that nobody read", slowest);
    let pid = rustix::process::Pid::from_raw(child.0.id().try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, Signal::TERM).unwrap();
    let began = Instant::now();
    while child.0.try_wait().unwrap().is_none() {
        assert!(began.elapsed() < PATIENCE, "it does not end");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(began.elapsed() < Duration::from_secs(10), "it ended after {:?}", began.elapsed());
    drop(stderr);
}

/// Somebody reads again: what is missing has been counted.
#[tokio::test]
async fn a_terminal_that_is_read_again() {
    let (_folder, _child, http, stderr) = talker();
    let client = reqwest::Client::builder().timeout(Duration::from_secs(5)).no_proxy().build().unwrap();
    for _ in 0..100 {
        let answer = client.get(format!("{http}/talker")).send().await.unwrap();
        assert_eq!(answer.text().await.unwrap(), "said");
    }
    let lines = Lines::of(stderr);
    let told = lines.wait_for("lines were lost").expect("it is told");
    let lost: u64 = told.split_whitespace().nth(1).and_then(|count| count.parse().ok()).expect("a number");
    assert!((1..1000).contains(&lost), "{told}");
    assert_eq!(client.get(format!("{http}/talker")).send().await.unwrap().text().await.unwrap(), "said");
    seen("60", format!("read again: {lost} lost lines are told"), None);
}

/// Whose end is the test's.
struct Ends(std::process::Child);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
