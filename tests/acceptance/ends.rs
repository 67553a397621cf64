//! How the program ends, or gives way to another one: nothing that has been accepted is lost.

use std::collections::BTreeSet;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::catalogue::seen;
use crate::harness::{PATIENCE, TestServerBuilder, eventually, program};
use crate::held_function::{self, Held};
use crate::operations::Installed;
use crate::processes::{descendants, described_descriptors, state};
use crate::raw_http::Connection;

/// Writes down what it was given.
const NOTE: &str = "
import os

def lambda_handler(event, context):
    file = os.open(event['file'], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, b'%d\\n' % event['id'])
    os.close(file)
";

fn add(folder: &Path, name: &str, source: &str) {
    let function = folder.join("handlers").join(name);
    std::fs::create_dir_all(&function).unwrap();
    std::fs::write(function.join("lambda_function.py"), source).unwrap();
}

/// How a client of [`Crowd`] asks.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    New,
    Kept,
    /// Kept, and not used all the time.
    Thoughtful,
    /// With a body.
    Upload,
    Http2,
    /// Events that nobody waits for.
    Event,
}

const KINDS: [Kind; 8] =
    [Kind::New, Kind::New, Kind::Kept, Kind::Kept, Kind::Thoughtful, Kind::Upload, Kind::Http2, Kind::Event];

/// Clients that ask until they are told to stop.
struct Crowd {
    end: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    /// Events among them.
    accepted: Arc<AtomicUsize>,
    threads: Vec<std::thread::JoinHandle<Vec<String>>>,
}

/// Of a client, so many at most.
const IDS: usize = 1_000_000;

impl Crowd {
    fn start(http: &str, api: &str, notes: &Path) -> Self {
        let (end, answered, accepted) = <(Arc<AtomicBool>, Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
        let clients = KINDS.into_iter().enumerate().map(|(number, kind)| {
            let (end, answered, accepted) = (end.clone(), answered.clone(), accepted.clone());
            let (http, api, notes) = (http.to_owned(), api.to_owned(), notes.to_owned());
            std::thread::spawn(move || {
                let mut failed = Vec::new();
                if kind == Kind::Http2 {
                    return http2(&http, &end, &answered);
                }
                let mut kept: Option<Connection> = None;
                let mut asked = 0;
                while !end.load(Ordering::Relaxed) {
                    let url = if kind == Kind::Event { &api } else { &http };
                    let mut connection = kept.take().unwrap_or_else(|| Connection::open(url));
                    let id = number * IDS + asked;
                    asked += 1;
                    connection.send(request(kind, id, &notes));
                    let answer = connection.answer();
                    let is_right = match kind {
                        Kind::Event => answer.status == 202,
                        _ => (answer.status, answer.text()) == (200, "hello"),
                    };
                    match is_right {
                        true => _ = answered.fetch_add(1, Ordering::Relaxed),
                        false => failed.push(format!("{} {}", answer.status, answer.text())),
                    }
                    if kind == Kind::Event {
                        accepted.fetch_add(1, Ordering::Relaxed);
                    }
                    let is_kept = answer.header("connection").is_none_or(|value| value != "close");
                    kept = (kind != Kind::New && is_kept).then_some(connection);
                    if kind == Kind::Thoughtful {
                        std::thread::sleep(Duration::from_millis(100));
                    }
                }
                failed
            })
        });
        let threads = clients.collect();
        Self { end, answered, accepted, threads }
    }

    fn wait_for(&self, more: usize) {
        let wanted = self.answered.load(Ordering::Relaxed) + more;
        let began = Instant::now();
        while self.answered.load(Ordering::Relaxed) < wanted {
            assert!(began.elapsed() < PATIENCE, "no more answers");
            assert!(!self.threads.iter().any(std::thread::JoinHandle::is_finished), "a client was cut off");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// How many were answered, and what else came.
    fn end(self) -> (usize, Vec<String>) {
        self.end.store(true, Ordering::Relaxed);
        let failed = self.threads.into_iter().flat_map(|thread| thread.join().expect("no connection is cut"));
        let failed = failed.collect();
        (self.answered.load(Ordering::Relaxed), failed)
    }
}

fn request(kind: Kind, id: usize, notes: &Path) -> String {
    match kind {
        Kind::Event => {
            let event = serde_json::json!({"id": id, "file": notes}).to_string();
            format!(
                "POST /2015-03-31/functions/note/invocations HTTP/1.1\r\nHost: localhost\r\n\
                 X-Amz-Invocation-Type: Event\r\nContent-Length: {}\r\n\r\n{event}",
                event.len()
            )
        }
        Kind::Upload => {
            let body = "x".repeat(20_000);
            format!("POST /hello HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        }
        _ => "GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
    }
}

fn http2(http: &str, end: &AtomicBool, answered: &AtomicUsize) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = reqwest::Client::builder().http2_prior_knowledge().no_proxy().timeout(PATIENCE);
        let client = client.build().unwrap();
        let mut failed = Vec::new();
        while !end.load(Ordering::Relaxed) {
            let answer = async { client.get(format!("{http}/hello")).send().await?.text().await };
            match answer.await {
                Ok(text) if text == "hello" => _ = answered.fetch_add(1, Ordering::Relaxed),
                other => failed.push(format!("{other:?}")),
            }
        }
        failed
    })
}

fn noted(file: &Path) -> BTreeSet<usize> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().map(|line| line.parse().unwrap()).collect()
}

/// Another program in its place, and a wait until that is the one that runs.
fn exchange(installed: &Installed) -> Duration {
    let before = installed.inode();
    let program = program().get_program().to_owned();
    installed.install(|place| _ = std::fs::copy(&program, place).unwrap());
    let began = Instant::now();
    installed.signal(Signal::HUP);
    eventually("another program runs", || installed.inode() != before);
    began.elapsed()
}

/// How many descriptors there are when the interpreter has started and nobody asks for anything: of the store,
/// which opens its files as they are needed, and others.
fn at_rest(installed: &Installed) -> (usize, usize) {
    let started = || installed.health()["zygotes"].as_array().is_some_and(|zygotes| !zygotes.is_empty());
    eventually("the interpreter has started", started);
    let all = described_descriptors(installed.pid());
    let of_store = all.iter().filter(|path| path.contains("/handlerd.db")).count();
    (of_store, all.len() - of_store)
}

/// The writer's, and those of all that may read at once.
const MOST_OF_STORE: usize = 20;

/// `HANDLERD_TEST_SUCCESSIONS` makes it as long as one likes (20).
#[test]
fn no_kind_of_request_fails_while_another_program_takes_over() {
    let installed = Installed::start(|_, folder| add(folder, "note", NOTE));
    let notes = installed.folder().join("notes");
    let times = std::env::var("HANDLERD_TEST_SUCCESSIONS").ok().and_then(|times| times.parse().ok());
    let times = times.unwrap_or(3);
    let (_, open) = at_rest(&installed);
    let crowd = Crowd::start(&installed.http, &installed.api, &notes);
    let (mut slowest, began) = (Duration::ZERO, Instant::now());
    for _ in 0..times {
        crowd.wait_for(100);
        slowest = slowest.max(exchange(&installed));
    }
    crowd.wait_for(100);
    let took = began.elapsed();
    let accepted = crowd.accepted.clone();
    let (answered, failed) = crowd.end();
    assert_eq!(failed, [""; 0]);
    let accepted_events = accepted.load(Ordering::Relaxed);
    // Each `202` is kept: the client of events asked with ids from here on, without a gap.
    let first = KINDS.iter().position(|kind| *kind == Kind::Event).unwrap() * IDS;
    let accepted = first + accepted_events;
    eventually("what was accepted is done", || {
        let done = noted(&notes);
        (first..accepted).all(|id| done.contains(&id))
    });
    // What one program leaves open would be more with each of them; a few open a little later by themselves.
    exchange(&installed);
    let began = Instant::now();
    loop {
        let (of_store, others) = at_rest(&installed);
        if of_store <= MOST_OF_STORE && others <= open + times {
            break;
        }
        let left = described_descriptors(installed.pid());
        assert!(began.elapsed() < PATIENCE, "{open} descriptors before, now {left:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
    let ended: Vec<i64> =
        descendants(installed.pid()).into_iter().filter(|pid| state(*pid) == Some('Z')).collect();
    assert_eq!(ended, [0_i64; 0], "nobody has asked how these ended");
    seen(
        "58",
        format!(
            "{times} times: {answered} answers in {:.0} s (kept and new connections, uploads, HTTP/2), 0 failed; \
             none of {accepted_events} events lost",
            took.as_secs_f64(),
        ),
        slowest,
    );
}

/// It asked for another program, and then for the end: the end counts.
#[test]
fn a_takeover_can_be_called_off() {
    let held = Held::new();
    let mut installed = Installed::start(|_, folder| {
        add(folder, "held", held_function::SOURCE);
        std::fs::write(folder.join("handlers/held/function.yaml"), "Timeout: 120\n").unwrap();
    });
    let before = installed.inode();
    let mut request = Connection::open(&installed.http);
    request.send(format!("GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n", held.route()));
    held.wait_until_running();
    let program = program().get_program().to_owned();
    installed.install(|place| _ = std::fs::copy(&program, place).unwrap());
    installed.signal(Signal::HUP);
    installed.lines().wait_for("a new program takes over").expect("it begins");
    installed.signal(Signal::TERM);
    installed.lines().wait_for("no other program takes over: stopping").expect("it is called off");
    assert_eq!(installed.inode(), before);
    held.let_go();
    let answer = request.answer();
    assert_eq!((answer.status, answer.text()), (200, "done"));
    assert!(installed.ended().success());
    seen("57", "SIGTERM after SIGHUP: the request is answered, then it ends", None);
}

/// A newer one has written the state, settings that cannot be read: seen before anything is given up.
#[test]
fn a_program_that_would_not_start_is_not_begun() {
    let installed = Installed::start(|_, _| {});
    let before = installed.inode();
    let store = std::fs::read_dir(installed.folder().join(".handlerd")).unwrap();
    let store =
        store.map(|entry| entry.unwrap().path()).find(|path| path.extension().is_some_and(|end| end == "db"));
    let store = store.expect("a store");
    let schema = |change: Option<i64>| {
        let connection = rusqlite::Connection::open(&store).unwrap();
        let known: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
        change.inspect(|change| connection.pragma_update(None, "user_version", change).unwrap());
        known
    };
    let refused = |times: usize, why: &str| {
        installed.signal(Signal::HUP);
        eventually("it is refused", || installed.terminal().matches("this one serves on").count() == times);
        assert!(installed.terminal().contains(why), "{why}");
        assert_eq!(installed.health()["status"], "ok");
    };
    let known = schema(Some(99));
    refused(1, "was written by a newer handlerd (its schema is 99");
    schema(Some(known));
    let settings = installed.folder().join("handlerd.toml");
    std::fs::write(&settings, "no-such-setting = 1\n").unwrap();
    refused(2, "no-such-setting");
    std::fs::remove_file(&settings).unwrap();
    assert_eq!(installed.inode(), before);
    exchange(&installed);
    assert_eq!(installed.health()["status"], "ok");
    seen("58", "state of a newer version, settings that cannot be read: the old one serves on", None);
}

/// The window is closed: the program ends. One that is not to (`nohup`) goes on.
#[test]
fn the_end_of_the_terminal_ends_the_program() {
    for is_to_stay in [false, true] {
        let (mut master, mut slave) = (0, 0);
        // SAFETY: fills two numbers of our own; name, settings and size are not wanted.
        let opened = unsafe {
            libc::openpty(
                &mut master,
                &mut slave,
                std::ptr::null_mut(),
                std::ptr::null_mut(),
                std::ptr::null_mut(),
            )
        };
        assert_eq!(opened, 0, "a terminal can be had");
        // SAFETY: both were just opened, and belong to nobody else.
        let (master, slave) = unsafe { (OwnedFd::from_raw_fd(master), OwnedFd::from_raw_fd(slave)) };
        rustix::io::fcntl_setfd(&master, rustix::io::FdFlags::CLOEXEC).unwrap();
        let number = slave.as_raw_fd();
        let mut installed = Installed::start(|command, _| {
            // SAFETY: between fork and exec, plain system calls only.
            unsafe {
                command.pre_exec(move || {
                    libc::setsid();
                    libc::ioctl(number, libc::TIOCSCTTY, 0);
                    if is_to_stay {
                        libc::signal(libc::SIGHUP, libc::SIG_IGN);
                    }
                    Ok(())
                });
            }
        });
        drop((slave, master));
        if is_to_stay {
            // Its own terminal is gone; this signal, from somebody else, says nothing new.
            installed.signal(Signal::HUP);
            assert_eq!(installed.health()["status"], "ok");
            assert!(!installed.terminal().contains("takes over"));
            installed.signal(Signal::TERM);
        } else {
            let said = |what: &str| installed.terminal().contains(what);
            eventually("it hears of that", || said("stopping") || said("takes over"));
            assert!(said("stopping"));
        }
        assert!(installed.ended().success());
    }
    seen("57", "the terminal is closed: ends; with nohup: serves on", None);
}

/// Nobody reads, and nobody can: that is no reason to end.
#[test]
fn a_program_without_outputs_serves() {
    let installed = Installed::start(|_, _| {});
    installed.signal(Signal::PIPE);
    assert_eq!(installed.health()["status"], "ok");
    drop(installed);

    let folder = tempfile::tempdir().unwrap();
    add(folder.path(), "hello", "def lambda_handler(event, context): return 'hello'\n");
    let mut shell = Command::new("sh");
    let script = "exec \"$0\" serve --port 0 --api-port 0 <&- >&- 2>&-";
    shell.arg("-c").arg(script).arg(program().get_program()).current_dir(folder.path());
    for (name, value) in program().get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    let mut child = shell.stdin(Stdio::null()).spawn().unwrap();
    let lock = folder.path().join(".handlerd/lock");
    let api = || std::fs::read_to_string(&lock).unwrap_or_default();
    eventually("it says where it is", || api().starts_with("http://"));
    let api = api();
    let mut connection = Connection::open(api.lines().next().unwrap());
    connection.send(
        "POST /2015-03-31/functions/hello/invocations HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}",
    );
    assert_eq!(connection.answer().text(), "\"hello\"");
    let pid = rustix::process::Pid::from_raw(child.id().try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, Signal::TERM).unwrap();
    assert!(child.wait().unwrap().success());
    seen("57", "SIGPIPE, closed stdin, stdout and stderr: serves", None);
}

/// Clients at work, and ten that have begun and say no more. Whoever was let in is answered;
/// `HANDLERD_TEST_STOPS` times.
#[tokio::test]
async fn a_stop_under_load_loses_nothing() {
    let times = std::env::var("HANDLERD_TEST_STOPS").ok().and_then(|times| times.parse().ok());
    let (mut answers, mut slowest) = (0, Duration::ZERO);
    for _ in 0..times.unwrap_or(1) {
        let (answered, took) = stopped_under_load().await;
        answers += answered;
        slowest = slowest.max(took);
    }
    seen("56", format!("{answers} answers, 0 lost, 10 half-open clients"), slowest);
    assert!(slowest < Duration::from_secs(8), "it took {slowest:?}");
}

async fn stopped_under_load() -> (usize, Duration) {
    let slow = "import time\n\ndef lambda_handler(event, context):\n    time.sleep(0.2)\n    return 'slow'\n";
    let mut server = TestServerBuilder::new().handler("slow", slow).start().await;
    server.get("/slow").await;
    let half_open: Vec<Connection> = (0..10)
        .map(|number| {
            let mut connection = Connection::open(&server.http);
            connection.send(["", "G", "GET /slow HTTP/1.1\r\nHost: loc"][number % 3]);
            connection
        })
        .collect();
    let (answered, stopped) = <(Arc<AtomicUsize>, Arc<AtomicBool>)>::default();
    let clients: Vec<_> = (0..24)
        .map(|number| {
            let (http, answered, stopped) = (server.http.clone(), answered.clone(), stopped.clone());
            std::thread::spawn(move || {
                let address = http.trim_start_matches("http://").to_owned();
                let mut kept: Option<Connection> = None;
                loop {
                    let mut connection = match kept.take() {
                        Some(connection) => connection,
                        None => match std::net::TcpStream::connect(&address) {
                            Ok(stream) => Connection::from(stream),
                            Err(_) => return assert!(stopped.load(Ordering::Relaxed), "refused too early"),
                        },
                    };
                    connection.send("GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n");
                    let answer = connection.answer();
                    assert_eq!((answer.status, answer.text()), (200, "slow"));
                    answered.fetch_add(1, Ordering::Relaxed);
                    let is_kept = answer.header("connection").is_none_or(|value| value != "close");
                    kept = (number % 2 == 0 && is_kept).then_some(connection);
                }
            })
        })
        .collect();
    let wanted = 72;
    while answered.load(Ordering::Relaxed) < wanted {
        assert!(!clients.iter().any(std::thread::JoinHandle::is_finished), "a client failed");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    stopped.store(true, Ordering::Relaxed);
    let began = Instant::now();
    server.signal(Signal::TERM);
    let ended = tokio::task::spawn_blocking(move || (server.wait_for_exit(), server)).await.unwrap();
    let took = began.elapsed();
    assert!(ended.0.success());
    for client in clients {
        client.join().expect("whoever was let in is answered");
    }
    drop(half_open);
    (answered.load(Ordering::Relaxed), took)
}

/// Before another program takes over, clients hear that they should come back, and have time to.
#[test]
fn clients_hear_of_a_takeover_before_it_happens() {
    let installed = Installed::start(|_, _| {});
    let before = installed.inode();
    let [mut busy, mut idle] = [(); 2].map(|()| Connection::open(&installed.http));
    let hello = "GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for connection in [&mut busy, &mut idle] {
        connection.send(hello);
        assert_eq!(connection.answer().header("connection"), None);
    }
    let program = program().get_program().to_owned();
    installed.install(|place| _ = std::fs::copy(&program, place).unwrap());
    installed.signal(Signal::HUP);
    installed.lines().wait_for("a new program takes over").expect("it begins");
    // The other one holds it up: it may come back at any moment.
    busy.send(hello);
    let answer = busy.answer();
    assert_eq!((answer.header("connection"), answer.text()), (Some("close"), "hello"));
    let mut health = Connection::open(&installed.api);
    health.send("GET /health/ready HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let answer = health.answer();
    assert_eq!((answer.status, answer.text()), (503, "not ready: ending\n"));
    assert_eq!(installed.inode(), before, "and still serves");
    let began = Instant::now();
    idle.send(hello);
    assert_eq!(idle.answer().header("connection"), Some("close"));
    drop((busy, idle, health));
    eventually("another program runs", || installed.inode() != before);
    seen("58", "a kept-alive client hears of it; the last of them lets it begin after", began.elapsed());
}

/// As many as the kernel has let in while the program was not looking.
#[tokio::test]
async fn whoever_waits_at_the_door_is_answered() {
    let mut server = TestServerBuilder::new().start().await;
    server.signal(Signal::STOP);
    let mut waiting: Vec<Connection> = (0..600)
        .map(|_| {
            let mut connection = Connection::open(&server.http);
            connection.send("GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n");
            connection
        })
        .collect();
    server.signal(Signal::TERM);
    server.signal(Signal::CONT);
    let began = Instant::now();
    for connection in &mut waiting {
        assert_eq!(connection.answer().status, 404);
    }
    server.wait_for_exit();
    seen("56", "600 that waited at the door: all answered", began.elapsed());
}

/// A kept-alive client who could not know yet that the program ends.
#[tokio::test]
async fn a_request_that_is_on_its_way_is_answered() {
    for attempt in 0.. {
        let held = Held::new();
        let server = held_function::add_to(TestServerBuilder::new()).start().await;
        let mut request = Connection::open(&server.http);
        request.send(format!("GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n", held.route()));
        held.wait_until_running();
        let mut kept = Connection::open(&server.http);
        kept.send("GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(kept.answer().header("connection"), None);
        let began = Instant::now();
        server.signal(Signal::TERM);
        server.wait_for_terminal("stopping");
        kept.send("GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let took = began.elapsed();
        // On a machine that is this busy the client could have known.
        if took < Duration::from_millis(200) || attempt == 5 {
            let answer = kept.answer();
            assert_eq!((answer.status, answer.header("connection")), (404, Some("close")), "{took:?}");
            return seen("56", "a request sent after the signal on a kept connection: answered", took);
        }
    }
}

/// What was tried out is not there any more when it should begin: the old program begins anew, and can
/// still be followed by another.
#[test]
fn a_program_that_is_gone_when_it_should_begin() {
    let held = Held::new();
    let installed = Installed::start(|_, folder| {
        add(folder, "held", held_function::SOURCE);
        std::fs::write(folder.join("handlers/held/function.yaml"), "Timeout: 120\n").unwrap();
    });
    let before = installed.inode();
    let mut request = Connection::open(&installed.http);
    request.send(format!("GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n", held.route()));
    held.wait_until_running();
    let program = program().get_program().to_owned();
    installed.install(|place| _ = std::fs::copy(&program, place).unwrap());
    installed.signal(Signal::HUP);
    installed.lines().wait_for("a new program takes over").expect("it begins");
    installed.install(|place| std::fs::write(place, "half of a program").unwrap());
    held.let_go();
    assert_eq!((request.answer().status, installed.inode()), (200, before));
    installed.lines().wait_for("this one begins anew").expect("it is told");
    assert_eq!(installed.health()["pid"], installed.pid());
    assert_eq!(installed.inode(), before);
    exchange(&installed);
    assert_eq!(installed.health()["status"], "ok");
    seen("58", "exchanged once more meanwhile: the old one begins anew, under the same process id", None);
}
