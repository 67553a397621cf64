//! Events are accepted while the gateway is killed at random and started again: what was answered 202
//! is executed, however often that happens.
//!
//! `HANDLERD_TEST_EVENTS` and `HANDLERD_TEST_KILLS` make it as long as one likes (100000 and 50).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::watch;

use crate::harness::program;

const CLIENTS: usize = 16;

/// Writes down what it was given; lost is what is not in the file in the end.
const HANDLER: &str = "
import os

ledger = os.open(os.environ['LEDGER'], os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def lambda_handler(event, context):
    os.write(ledger, b'%d\\n' % event['id'])
    return {'id': event['id']}
";

/// A project whose gateway comes and goes.
pub struct Project {
    folder: tempfile::TempDir,
    variables: Vec<(&'static str, &'static str)>,
}

/// A process of it. Dropping it kills it, and it alone.
pub struct Gateway {
    child: Child,
    /// `http://127.0.0.1:PORT` of the Lambda API.
    pub api: String,
}

impl Project {
    /// With a function `keep`.
    pub fn new(variables: &[(&'static str, &'static str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let function = folder.path().join("handlers/keep");
        std::fs::create_dir_all(&function).unwrap();
        std::fs::write(function.join("lambda_function.py"), HANDLER).unwrap();
        let settings = json!({"Environment": {"Variables": {"LEDGER": folder.path().join("ledger")}}});
        std::fs::write(function.join("function.yaml"), settings.to_string()).unwrap();
        Self { folder, variables: variables.to_vec() }
    }

    pub fn state_dir(&self) -> PathBuf {
        self.folder.path().join(".handlerd")
    }

    /// How often each id was executed.
    pub fn executed(&self) -> BTreeMap<u64, usize> {
        let text = std::fs::read_to_string(self.folder.path().join("ledger")).unwrap_or_default();
        let mut counts = BTreeMap::new();
        for id in text.lines() {
            *counts.entry(id.parse().unwrap()).or_default() += 1;
        }
        counts
    }

    /// Whether nothing waits to be executed any more.
    pub fn is_drained(&self) -> bool {
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
        let file = self.state_dir().join("handlerd.db");
        let connection = rusqlite::Connection::open_with_flags(file, flags).unwrap();
        connection.busy_timeout(Duration::from_secs(5)).unwrap();
        let sql = "SELECT count(*) FROM queue WHERE state = 0";
        connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap() == 0
    }

    pub async fn start(&self) -> Gateway {
        let errors = std::fs::File::options().append(true).create(true).open(self.terminal()).unwrap();
        let mut command = program();
        command
            .args(["serve", "--port", "0", "--api-port", "0"])
            .current_dir(self.folder.path())
            .envs(self.variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors);
        let mut child = command.spawn().unwrap();
        let stdout = tokio::process::ChildStdout::from_std(child.stdout.take().unwrap()).unwrap();
        let mut lines = BufReader::new(stdout).lines();
        let address = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if line.contains("Lambda API") {
                    return Some(line.split_whitespace().next().unwrap().to_owned());
                }
            }
            None
        };
        let address = tokio::time::timeout(Duration::from_secs(60), address).await;
        let Ok(Some(api)) = address else { panic!("it does not start:\n{}", self.said()) };
        Gateway { child, api }
    }

    fn terminal(&self) -> PathBuf {
        self.folder.path().join("terminal")
    }

    /// What all its processes have said.
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.terminal()).unwrap_or_default()
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Gateway {
    pub fn pid(&self) -> i64 {
        self.child.id().into()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn client() -> reqwest::Client {
    reqwest::Client::builder().timeout(Duration::from_secs(40)).no_proxy().build().unwrap()
}

/// The status of an invocation of this type; none if the connection broke.
pub async fn invoke(client: &reqwest::Client, api: &str, kind: &str, id: u64) -> Option<u16> {
    let request = client
        .post(format!("{api}/2015-03-31/functions/keep/invocations"))
        .header("x-amz-invocation-type", kind)
        .body(json!({"id": id}).to_string());
    let response = request.send().await.ok()?;
    let status = response.status().as_u16();
    response.bytes().await.ok()?;
    Some(status)
}

struct Result {
    accepted: Vec<u64>,
    executed: BTreeMap<u64, usize>,
}

impl Result {
    fn lost(&self) -> Vec<u64> {
        self.accepted.iter().copied().filter(|id| !self.executed.contains_key(id)).collect()
    }
}

/// Accepts so many events, with so many kills between, and lets what is left be executed.
async fn run(project: &Project, events: u64, kills: u64) -> Result {
    let mut gateway = project.start().await;
    let (tell, address) = watch::channel(gateway.api.clone());
    let (next, accepted) = (Arc::new(AtomicU64::new(0)), Arc::new(Mutex::new(Vec::new())));
    let (count, mut counted) = watch::channel(0);
    let began = Instant::now();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (mut address, next, accepted, count) =
                (address.clone(), next.clone(), accepted.clone(), count.clone());
            tokio::spawn(async move {
                let client = client();
                loop {
                    let api = address.borrow_and_update().clone();
                    let id = next.fetch_add(1, Ordering::Relaxed);
                    match invoke(&client, &api, "Event", id).await {
                        Some(202) => {
                            accepted.lock().unwrap().push(id);
                            count.send_modify(|count| *count += 1);
                        }
                        Some(503) => {}
                        Some(other) => panic!("answered {other}"),
                        // Nobody knows what became of it: until there is another one to ask.
                        None if *count.borrow() < events => {
                            if address.changed().await.is_err() {
                                return;
                            }
                        }
                        None => return,
                    }
                    if *count.borrow() >= events {
                        return;
                    }
                }
            })
        })
        .collect();
    let mut random = 0x9E37_79B9_7F4A_7C15_u64 ^ u64::from(std::process::id());
    for kill in 0..kills {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // Somewhere in its share of the events.
        let share = events / (kills + 1);
        let at = kill * share + (random >> 33) % share.max(1) + 1;
        counted.wait_for(|count| *count >= at).await.unwrap();
        drop(gateway);
        gateway = project.start().await;
        tell.send(gateway.api.clone()).unwrap();
    }
    for client in clients {
        client.await.unwrap();
    }
    let seconds = began.elapsed().as_secs_f64();
    let accepted = std::mem::take(&mut *accepted.lock().unwrap());

    // Whoever answers before the commit also rings before there is anything to be seen: what was
    // overlooked is found at the next start.
    if !project.variables.is_empty() || std::env::var_os("HANDLERD_TEST_WITHOUT").is_some() {
        drop(gateway);
        gateway = project.start().await;
    }
    let (began, patience) = (Instant::now(), Duration::from_secs(60 + events / 20));
    while !project.is_drained() {
        assert!(began.elapsed() < patience, "not all is executed:\n{}", project.said());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let executed = project.executed();
    let result = Result { accepted, executed };
    let twice = result.executed.values().filter(|&&times| times > 1).count();
    eprintln!(
        "{} events accepted in {seconds:.1} s with {kills} kills; lost {}, executed more than once {twice}",
        result.accepted.len(),
        result.lost().len(),
    );
    drop(gateway);
    result
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_accepted_is_executed_however_often_the_gateway_is_killed() {
    let (events, kills) = (number("HANDLERD_TEST_EVENTS", 3000), number("HANDLERD_TEST_KILLS", 5));
    let project = Project::new(&[]);
    let result = run(&project, events, kills).await;
    assert!(result.accepted.len() as u64 >= events);
    assert_eq!(result.lost(), [0; 0], "{}", project.said());
    crate::catalogue::seen("34", "0 lost", None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_before_the_commit_loses_events() {
    let project = Project::new(&[("HANDLERD_TEST_WITHOUT", "commit-before-answer")]);
    let result = run(&project, 1500, 8).await;
    assert!(!result.lost().is_empty(), "the test finds nothing");
}
