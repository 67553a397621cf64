//! A disk that fails under a running gateway: nothing is promised that is not kept, what needs no
//! disk goes on, and all is well again when the disk is. `strace` makes it fail, for the thread that
//! writes alone.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::catalogue::seen;
use crate::harness::{Lines, PATIENCE, program};
use crate::ledger::{Gateway, Project, client, invoke};

/// `false`, and a line that says so, where there is no strace; on CI that is an error.
fn there_is_strace() -> bool {
    let found = Command::new("strace").arg("-V").output().is_ok_and(|output| output.status.success());
    let ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty());
    assert!(found || !ci, "strace is needed on CI");
    if !found {
        // Past the test runner, which shows only what failing tests print.
        let _ = writeln!(std::io::stderr(), "skipped: there is no strace here (Debian: apt install strace)");
    }
    found
}

/// As long as it lives, calls of the writing thread fail.
struct Fault(Child);

impl Fault {
    /// `what`: as `strace -e inject=` takes it.
    fn of(gateway: &Gateway, what: &str) -> Self {
        let thread = thread_of(gateway.pid(), "store");
        let calls = what.split_once(':').unwrap().0;
        let mut strace = Command::new("strace")
            .args(["-e", &format!("trace={calls}"), "-e", &format!("inject={what}"), "-o", "/dev/null", "-p"])
            .arg(thread.to_string())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("strace is needed for this test: {error}"));
        let mut said = BufReader::new(strace.stderr.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        assert!(line.contains("attached"), "{line}");
        // Whatever else it says must not stop it.
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        Self(strace)
    }

    fn ends(mut self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Fault {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn thread_of(pid: i64, name: &str) -> i64 {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().map(|entry| entry.unwrap());
    let named = |entry: &std::fs::DirEntry| {
        std::fs::read_to_string(entry.path().join("comm")).is_ok_and(|comm| comm.trim() == name)
    };
    let thread = threads.into_iter().find(named).expect("a thread of that name");
    thread.file_name().to_str().unwrap().parse().unwrap()
}

async fn store_of(client: &reqwest::Client, gateway: &Gateway) -> String {
    let health = client.get(format!("{}/health", gateway.api)).send().await.unwrap();
    let health: serde_json::Value = health.json().await.unwrap();
    health["store"].as_str().unwrap().to_owned()
}

/// Every event is refused while the disk fails, every call is answered; afterwards, and after a kill,
/// what was accepted is executed.
/// Returns after how long the first one is accepted again.
async fn refuses_while(fault: &str, reasons: [&str; 2]) -> Duration {
    let project = Project::new(&[]);
    let (client, gateway) = (client(), project.start().await);
    assert_eq!(invoke(&client, &gateway.api, "Event", 1).await, Some(202));
    assert_eq!(store_of(&client, &gateway).await, "ok");

    let disk = Fault::of(&gateway, fault);
    for id in 100..130 {
        assert_eq!(invoke(&client, &gateway.api, "Event", id).await, Some(503), "{id}");
        assert_eq!(invoke(&client, &gateway.api, "RequestResponse", 1000 + id).await, Some(200), "{id}");
    }
    let health = store_of(&client, &gateway).await;
    // As SQLite says it, or, from the second attempt on, the system.
    let told = reasons.iter().any(|reason| health.contains(reason));
    assert!(health.contains("could not be written") && told, "{health}");
    disk.ends();

    let (began, mut id) = (Instant::now(), 200);
    while invoke(&client, &gateway.api, "Event", id).await != Some(202) {
        assert!(began.elapsed() < Duration::from_secs(5), "it does not recover:\n{}", project.said());
        id += 1;
    }
    let resumed = began.elapsed();
    assert_eq!(store_of(&client, &gateway).await, "ok");
    // The terminal is written beside the work.
    let began = Instant::now();
    while !(project.said().contains("is written to") && project.said().contains("again")) {
        assert!(began.elapsed() < PATIENCE, "it does not say so:\n{}", project.said());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let said = project.said();
    assert_eq!(said.matches("whatever has to be kept is refused").count(), 1, "{said}");

    drop(gateway);
    let _gateway = project.start().await;
    is_executed(&project, &[1, id]).await;
    resumed
}

async fn is_executed(project: &Project, accepted: &[u64]) {
    let began = Instant::now();
    loop {
        let executed = project.executed();
        let lost: Vec<_> = accepted.iter().filter(|id| !executed.contains_key(id)).collect();
        if lost.is_empty() {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "lost: {lost:?}\n{}", project.said());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_disk_that_does_not_sync_makes_no_promises() {
    if !there_is_strace() {
        return;
    }
    refuses_while("fdatasync,fsync:error=EIO", ["disk I/O error", "Input/output error"]).await;
    crate::catalogue::seen("37", "no 202; requests answered; told in /health", None);
}

#[tokio::test]
async fn a_full_disk_makes_no_promises() {
    if !there_is_strace() {
        return;
    }
    let reasons = ["database or disk is full", "No space left on device"];
    let resumed = refuses_while("pwrite64:error=ENOSPC", reasons).await;
    assert!(resumed < PATIENCE, "{resumed:?}");
    seen("38", "30 events answered 503, none 202; accepted again when there is room", resumed);
}

#[tokio::test]
async fn of_syncs_that_fail_now_and_then_no_promise_is_broken() {
    if !there_is_strace() {
        return;
    }
    let project = Project::new(&[]);
    let (client, gateway) = (client(), project.start().await);
    assert_eq!(invoke(&client, &gateway.api, "Event", 0).await, Some(202));
    let disk = Fault::of(&gateway, "fdatasync,fsync:error=EIO:when=2+13");
    let (mut accepted, mut refused) = (vec![0], 0);
    let began = Instant::now();
    for id in 1.. {
        match invoke(&client, &gateway.api, "Event", id).await {
            Some(202) => accepted.push(id),
            Some(503) => refused += 1,
            other => panic!("answered {other:?}"),
        }
        if accepted.len() > 40 && refused > 10 {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{} accepted, {refused} refused", accepted.len());
    }
    drop(gateway);
    drop(disk);
    let _gateway = project.start().await;
    is_executed(&project, &accepted).await;
}

#[tokio::test]
async fn a_damaged_store_is_refused_at_the_start_and_not_touched() {
    let project = Project::new(&[]);
    drop(project.start().await);
    let file = project.state_dir().join("handlerd.db");
    let _ = std::fs::remove_file(project.state_dir().join("handlerd.db-wal"));
    let _ = std::fs::remove_file(project.state_dir().join("handlerd.db-shm"));
    let damaged = b"this was a database once".repeat(1000);
    std::fs::write(&file, &damaged).unwrap();

    let output = program()
        .args(["serve", "--port", "0", "--api-port", "0"])
        .current_dir(project.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("handlerd.db is damaged: "), "{said}");
    assert!(said.contains("hint: put a backup of it back, or move it away"), "{said}");
    assert_eq!(std::fs::read(&file).unwrap(), damaged);
    crate::catalogue::seen("39", "refused with its name, unchanged", None);
}

/// One page of the file was written over: SQLite alone would not see it before it needs that page.
#[tokio::test]
async fn a_page_that_was_written_over_is_found_at_the_start() {
    let project = Project::new(&[]);
    drop(project.start().await);
    let file = project.state_dir().join("handlerd.db");
    let connection = rusqlite::Connection::open(&file).unwrap();
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap() as usize;
    let size = number("PRAGMA page_size");
    let page = number("SELECT rootpage FROM sqlite_schema WHERE name = 'subscriptions'");
    drop(connection);
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[(page - 1) * size..page * size].fill(0xA5);
    std::fs::write(&file, &bytes).unwrap();

    let began = Instant::now();
    let mut command = program();
    command.args(["serve", "--port", "0", "--api-port", "0"]).current_dir(project.path());
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let (stdout, stderr) = (Lines::of(stdout), Lines::of(stderr));
    while child.try_wait().unwrap().is_none() && !stdout.text().contains("Lambda API") {
        assert!(began.elapsed() < PATIENCE, "neither serves nor ends:\n{}", stderr.text());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let took = began.elapsed();
    let _ = child.kill();
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(1), "it serves from a damaged store: {}", stdout.text());
    stderr.wait_for("handlerd.db is damaged: ").unwrap_or_else(|| panic!("{}", stderr.text()));
    let now = std::fs::read(&file).unwrap();
    let changed = bytes.iter().zip(&now).position(|(before, after)| before != after);
    assert_eq!((now.len(), changed), (bytes.len(), None), "it is left as it was");
    crate::catalogue::seen("39", format!("page {page} of {size} bytes: refused with its name"), took);
}

/// `HANDLERD_TEST_BACKLOG` says how many.
#[tokio::test]
async fn a_large_backlog_does_not_delay_the_start() {
    let count: usize = std::env::var("HANDLERD_TEST_BACKLOG").map_or(100_000, |count| count.parse().unwrap());
    let project = Project::new(&[]);
    drop(project.start().await);
    let mut connection = rusqlite::Connection::open(project.state_dir().join("handlerd.db")).unwrap();
    let transaction = connection.transaction().unwrap();
    let add = "INSERT INTO queue (state, lane, due_at, accepted_at, function, request_id, trace_id, \
               function_arn, attempts, setbacks, body) VALUES (0, 'keep', ?1, ?1, 'keep', ?2, '', \
               'arn:aws:lambda:us-east-1:000000000000:function:keep', 0, 0, ?3)";
    let now = jiff::Timestamp::now().as_millisecond();
    for id in 0..count {
        let request = format!("00000000-0000-4000-8000-{id:012}");
        let body = format!("{{\"id\": {id}}}").into_bytes();
        transaction.execute(add, (now, request, body)).unwrap();
    }
    transaction.commit().unwrap();
    drop(connection);

    let client = client();
    let began = Instant::now();
    let gateway = project.start().await;
    let own = 10_000_000;
    assert_eq!(invoke(&client, &gateway.api, "RequestResponse", own).await, Some(200));
    let took = began.elapsed();
    crate::catalogue::seen("41", format!("{count} events wait; the first request is answered"), took);
    assert!(took < Duration::from_secs(5), "the first answer came after {took:?}");
    // Behind the requests, and beside them, it becomes less.
    while project.executed().len() < 1000 {
        assert!(began.elapsed() < PATIENCE, "{} are done:\n{}", project.executed().len(), project.said());
        assert_eq!(invoke(&client, &gateway.api, "RequestResponse", own).await, Some(200));
    }
}
