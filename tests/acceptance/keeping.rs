//! What is kept: backups made under load and restored elsewhere, and files of the state folder in which a
//! bit has flipped.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use serde_json::{Value, json};

use crate::catalogue::seen;
use crate::harness::{eventually, program};
use crate::ledger::{Gateway, Project, client, invoke};

/// Its events are accepted, and kept as those of a function that is switched off.
fn switched_off(project: &Project) {
    change(project, &json!({"ReservedConcurrentExecutions": 0}));
}

fn change(project: &Project, properties: &Value) {
    let settings = project.path().join("handlers/keep/function.yaml");
    let mut text: Value = serde_json::from_str(&std::fs::read_to_string(&settings).unwrap()).unwrap();
    text.as_object_mut().unwrap().extend(properties.as_object().unwrap().clone());
    std::fs::write(settings, text.to_string()).unwrap();
}

fn run(project: &Path, arguments: &[&str]) -> Output {
    program().args(arguments).current_dir(project).stdin(Stdio::null()).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

async fn post(gateway: &Gateway, path: &str, body: Value) -> Value {
    let response =
        client().post(format!("{}{path}", gateway.api)).body(body.to_string()).send().await.unwrap();
    let (status, text) = (response.status(), response.text().await.unwrap());
    assert!(status.is_success(), "{path}: {status} {text}");
    serde_json::from_str(&text).unwrap()
}

async fn get(gateway: &Gateway, path: &str) -> Value {
    let response = client().get(format!("{}{path}", gateway.api)).send().await.unwrap();
    assert!(response.status().is_success(), "{path}: {}", response.status());
    response.json().await.unwrap()
}

/// A zip file with one stored file in it, in base64.
fn zip(name: &str, content: &str) -> String {
    use base64::Engine;
    let folder = tempfile::tempdir().unwrap();
    let script = "import sys, zipfile; zipfile.ZipFile(sys.argv[1], 'w').writestr(sys.argv[2], sys.argv[3])";
    let path = folder.path().join("layer.zip");
    let made =
        std::process::Command::new("python3").args(["-c", script]).arg(&path).args([name, content]).status();
    assert!(made.unwrap().success());
    base64::engine::general_purpose::STANDARD.encode(std::fs::read(path).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_under_load_has_every_event_that_was_accepted_before_it() {
    let from = Project::new(&[]);
    let gateway = from.start().await;
    post(&gateway, "/2015-03-31/functions/keep/versions", json!({})).await;
    let alias = json!({"Name": "live", "FunctionVersion": "1"});
    post(&gateway, "/2015-03-31/functions/keep/aliases", alias).await;
    let layer = json!({"Content": {"ZipFile": zip("python/shared.py", "x = 1")}});
    let layer = post(&gateway, "/2018-10-31/layers/shared/versions", layer).await;
    // From here on events wait behind one that does not end.
    let endless = "import time\n\n\ndef lambda_handler(event, context):\n    time.sleep(800)\n";
    std::fs::write(from.path().join("handlers/keep/lambda_function.py"), endless).unwrap();
    change(&from, &json!({"ReservedConcurrentExecutions": 1, "Timeout": 900}));

    let (accepted, next) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicU64::new(0)));
    let ends = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (api, accepted, next, ends) =
                (gateway.api.clone(), accepted.clone(), next.clone(), ends.clone());
            tokio::spawn(async move {
                let client = client();
                while !ends.load(Ordering::Relaxed) {
                    let id = next.fetch_add(1, Ordering::Relaxed);
                    assert_eq!(invoke(&client, &api, "Event", id).await, Some(202));
                    accepted.lock().unwrap().push(id);
                }
            })
        })
        .collect();
    let count = || accepted.lock().unwrap().len();
    eventually("100 events are accepted", || count() >= 100);
    let before = accepted.lock().unwrap().clone();
    let began = Instant::now();
    let made = run(from.path(), &["backup", "kept.zip"]);
    let (took, during) = (began.elapsed(), count() - before.len());
    assert!(made.status.success(), "{}", said(&made));
    ends.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    assert!(during > 0, "nothing was accepted while it was made");
    let kept = tempfile::tempdir().unwrap();
    let moved = kept.path().join("kept.zip");
    std::fs::copy(from.path().join("kept.zip"), &moved).unwrap();
    drop(gateway);

    let to = Project::new(&[]);
    let restored = run(to.path(), &["restore", moved.to_str().unwrap()]);
    assert!(restored.status.success(), "{}", said(&restored));
    let gateway = to.start().await;
    let lost = || {
        let executed = to.executed();
        before.iter().filter(|id| !executed.contains_key(id)).count()
    };
    eventually("what was accepted before the backup began is executed", || lost() == 0);
    let alias = get(&gateway, "/2015-03-31/functions/keep/aliases/live").await;
    assert_eq!(alias["FunctionVersion"], "1");
    let url = format!("{}/2015-03-31/functions/keep:live/invocations", gateway.api);
    let answer: Value = client().post(url).body("{\"id\": 7}").send().await.unwrap().json().await.unwrap();
    assert_eq!(answer, json!({"id": 7}));
    let found = get(&gateway, "/2018-10-31/layers/shared/versions/1").await;
    assert_eq!(found["Content"]["CodeSha256"], layer["Content"]["CodeSha256"]);

    // Over what is there nothing is restored.
    let again = run(to.path(), &["restore", moved.to_str().unwrap()]);
    assert_eq!(again.status.code(), Some(1));
    assert!(said(&again).contains("another handlerd uses"), "{}", said(&again));
    drop(gateway);
    let again = run(to.path(), &["restore", moved.to_str().unwrap()]);
    assert!(said(&again).contains("holds state already"), "{}", said(&again));
    let what =
        format!("backup under load: {} events accepted before it, {during} meanwhile, 0 lost", before.len());
    println!("{what}, in {took:?}");
    seen("39", what, took);
}

/// Where a zip file's own checksums would not see it.
#[tokio::test]
async fn a_backup_of_which_a_byte_was_changed_is_refused() {
    let project = Project::new(&[]);
    drop(project.start().await);
    let made = run(project.path(), &["backup", "kept.zip"]);
    assert!(made.status.success(), "{}", said(&made));
    let file = project.path().join("kept.zip");
    let bytes = std::fs::read(&file).unwrap();
    let directory = bytes.windows(4).rposition(|window| window == b"PK\x01\x02").unwrap();
    // The time of a file, its mode, its content, and the checksum itself.
    for index in [directory + 12, directory + 40, 70, bytes.len() - 1] {
        let mut changed = bytes.clone();
        changed[index] ^= 1;
        std::fs::write(&file, &changed).unwrap();
        let refused = run(project.path(), &["restore", "kept.zip", "--state-dir", "elsewhere"]);
        assert_eq!(refused.status.code(), Some(1), "byte {index}: {}", said(&refused));
        assert!(said(&refused).contains("its bytes are not those that were written"), "{}", said(&refused));
        assert!(!project.path().join("elsewhere").exists());
    }
}

/// A folder that a gateway has left, with events in it that wait. `crashed`: it had no time to tidy up.
async fn with_events(crashed: bool) -> Project {
    let project = Project::new(&[]);
    switched_off(&project);
    let gateway = project.start().await;
    let client = client();
    for id in 1000..1040 {
        assert_eq!(invoke(&client, &gateway.api, "Event", id).await, Some(202));
    }
    if !crashed {
        let pid = rustix::process::Pid::from_raw(gateway.pid() as i32).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let log = project.state_dir().join("handlerd.db-wal");
        eventually("the log is written back", || !log.exists());
    }
    drop(gateway);
    project
}

/// What a start comes to: its last words, or nothing when it serves.
fn start(project: &Path, more: &[&str]) -> Option<String> {
    let mut child = program()
        .args(["serve", "--port", "0", "--api-port", "0"])
        .args(more)
        .current_dir(project)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let served = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .any(|line| line.is_ok_and(|line| line.contains("Lambda API")));
    if served {
        child.kill().unwrap();
    }
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    let status = child.wait().unwrap();
    if served {
        return None;
    }
    assert_eq!(status.code(), Some(1), "{text}");
    Some(text)
}

/// Changes a bit in the middle of the last of these words.
fn flip(path: &Path, words: &[u8]) {
    let mut bytes = std::fs::read(path).unwrap();
    let place = bytes.windows(words.len()).rposition(|window| window == words);
    let place = place.unwrap_or_else(|| panic!("{} does not say it", path.display()));
    bytes[place + words.len() / 2] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

/// `{"id":1033}` would be executed as `{"id":1133}`, and be JSON as before.
#[tokio::test]
async fn an_event_of_which_a_bit_has_flipped_is_not_executed() {
    let project = with_events(false).await;
    let file = project.state_dir().join("handlerd.db");
    flip(&file, b"\"id\":1033");
    let damaged = std::fs::read(&file).unwrap();
    let began = Instant::now();
    let words = start(project.path(), &[]).expect("it is noticed");
    let took = began.elapsed();
    assert!(words.contains("handlerd.db is damaged: "), "{words}");
    assert!(words.contains("hint: put a backup of it back"), "{words}");
    assert_eq!(std::fs::read(&file).unwrap(), damaged, "it is left as it is, to be saved");
    assert_eq!(start(project.path(), &["--state-dir", "another"]), None, "the rest can be served meanwhile");
    let backup = run(project.path(), &["backup", "kept.zip"]);
    assert!(!backup.status.success() && said(&backup).contains("is damaged"), "{}", said(&backup));
    seen("39", "a flipped bit in an event: refused at the start, left as it is", took);
}

#[tokio::test]
async fn a_log_of_which_a_bit_has_flipped_is_not_cut_off_there() {
    let project = with_events(true).await;
    flip(&project.state_dir().join("handlerd.db-wal"), b"\"id\":1020");
    let began = Instant::now();
    let words = start(project.path(), &[]).expect("it is noticed");
    assert!(words.contains("is damaged: frame ") && words.contains("commits follow it"), "{words}");
    seen("39", "a flipped bit in the log after a crash: refused at the start", began.elapsed());
}

/// What any program reads from the tables of a store.
fn content(state_dir: &Path) -> rusqlite::Result<Vec<String>> {
    let connection = rusqlite::Connection::open(state_dir.join("handlerd.db"))?;
    let mut all = Vec::new();
    for table in ["queue", "resources", "schedules", "mappings", "checkpoints", "objects", "subscriptions"] {
        let mut statement = connection.prepare(&format!("SELECT * FROM {table}"))?;
        let columns = statement.column_count();
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let values = (0..columns).map(|at| row.get::<_, rusqlite::types::Value>(at));
            all.push(format!("{table} {:?}", values.collect::<rusqlite::Result<Vec<_>>>()?));
        }
    }
    Ok(all)
}

#[tokio::test]
async fn of_two_hundred_flips_and_cuts_none_is_silent() {
    const TIMES: usize = 200;
    let project = with_events(false).await;
    let kept = content(&project.state_dir()).unwrap();
    assert!(kept.len() >= 40, "{}", kept.len());
    let whole = std::fs::read(project.state_dir().join("handlerd.db")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let state: PathBuf = folder.path().join(".handlerd");
    let mut chance = 0x9E37_79B9_7F4A_7C15_u64;
    let mut below = |most: usize| {
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (chance >> 33) as usize % most
    };
    let (mut noticed, mut harmless, began) = (0, 0, Instant::now());
    for round in 0..TIMES {
        let mut bytes = whole.clone();
        let what = if round % 10 == 9 {
            bytes.truncate(1 + below(whole.len() - 1));
            format!("cut to {} bytes", bytes.len())
        } else {
            let bit = below(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            format!("bit {bit}")
        };
        std::fs::create_dir(&state).unwrap();
        std::fs::write(state.join("handlerd.db"), &bytes).unwrap();
        let output = run(folder.path(), &["queue", "--json"]);
        if output.status.success() {
            assert_eq!(content(&state).ok().as_ref(), Some(&kept), "{what}, in silence");
            harmless += 1;
        } else {
            let said = said(&output);
            assert!(said.contains("handlerd.db"), "{what}: {said}");
            noticed += 1;
        }
        std::fs::remove_dir_all(&state).unwrap();
    }
    assert!(noticed > TIMES / 2, "{noticed}");
    let what =
        format!("{TIMES} flips and cuts of the store: {noticed} noticed, {harmless} without harm, 0 silent");
    println!("{what}");
    seen("39", what, began.elapsed() / TIMES as u32);
}

/// Whatever these files say: it is told, or the gateway serves as if nothing was.
#[tokio::test]
async fn other_files_that_are_read_at_the_start_do_no_harm() {
    let project = with_events(false).await;
    let made = run(project.path(), &["credentials", "create", "kim"]);
    assert!(made.status.success(), "{}", said(&made));
    let began = Instant::now();
    let mut refused = 0;
    for name in ["lock", "interpreters.json", "credentials", "audit.log"] {
        let path = project.state_dir().join(name);
        let whole = std::fs::read(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        for cut in [true, false] {
            let mut bytes = if whole.is_empty() { b"?".repeat(100) } else { whole.clone() };
            let middle = bytes.len() / 2;
            if cut {
                bytes.truncate(middle)
            } else {
                bytes[middle] ^= 4
            }
            std::fs::write(&path, &bytes).unwrap();
            match start(project.path(), &[]) {
                None => {}
                Some(words) => {
                    refused += 1;
                    assert!(words.contains(name), "{name}: {words}");
                }
            }
            std::fs::write(&path, &whole).unwrap();
        }
    }
    let what =
        format!("8 starts with other files flipped or cut: {refused} refused by name, the others served");
    seen("39", what, began.elapsed() / 8);
}

/// Requests need no store; and what is accepted is executed, whatever the file has become.
#[tokio::test]
async fn damage_under_a_running_gateway_does_not_stop_requests() {
    use std::os::unix::fs::FileExt;
    const PAGE: u64 = 4096;
    let project = Project::new(&[]);
    let (client, gateway) = (client(), project.start().await);
    assert_eq!(invoke(&client, &gateway.api, "Event", 0).await, Some(202));
    eventually("it is executed", || project.executed().contains_key(&0));
    let file = project.state_dir().join("handlerd.db");
    eventually("the file has pages", || std::fs::metadata(&file).unwrap().len() > 8 * PAGE);
    // All but the first page: whoever reads one of them is told.
    let bytes = std::fs::read(&file).unwrap();
    let damaged: Vec<u8> = bytes[PAGE as usize..].iter().map(|byte| byte ^ 0x10).collect();
    std::fs::File::options().write(true).open(&file).unwrap().write_all_at(&damaged, PAGE).unwrap();
    let (began, mut accepted) = (Instant::now(), Vec::new());
    for id in 1..40 {
        assert_eq!(invoke(&client, &gateway.api, "RequestResponse", 1000 + id).await, Some(200), "{id}");
        match invoke(&client, &gateway.api, "Event", id).await {
            Some(202) => accepted.push(id),
            Some(503) => {}
            other => panic!("{id} is answered {other:?}"),
        }
    }
    let took = began.elapsed() / 39;
    let lost = || accepted.iter().filter(|id| !project.executed().contains_key(id)).count();
    eventually("what was accepted is executed", || lost() == 0);
    drop(gateway);
    if let Some(words) = start(project.path(), &[]) {
        assert!(words.contains("handlerd.db is damaged: "), "{words}");
    }
    let what = format!(
        "all pages damaged under a gateway: 39 requests 200, {} events 202 and executed, {} 503",
        accepted.len(),
        39 - accepted.len()
    );
    println!("{what}");
    seen("39", what, took);
}
