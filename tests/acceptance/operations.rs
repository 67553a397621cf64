//! A server that others run: a new program takes over, a supervisor is told, load balancers ask.

use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::catalogue::seen;
use crate::commands;
use crate::harness::{Lines, PATIENCE, TestServerBuilder, program};
use crate::held_function::{self, Held};
use crate::raw_http::Connection;

const HELLO: &str = "def lambda_handler(event, context): return 'hello'\n";

/// A gateway started from a copy of the program, which can be exchanged.
pub struct Installed {
    folder: tempfile::TempDir,
    child: Child,
    pub http: String,
    pub api: String,
    terminal: Lines,
}

impl Installed {
    pub fn start(prepare: impl FnOnce(&mut Command, &Path)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let function = folder.path().join("handlers/hello");
        std::fs::create_dir_all(&function).unwrap();
        std::fs::write(function.join("lambda_function.py"), HELLO).unwrap();
        // However busy the machine is.
        std::fs::write(function.join("function.yaml"), "Timeout: 30\n").unwrap();
        let binary = folder.path().join("handlerd");
        std::fs::copy(program().get_program(), &binary).unwrap();
        let mut command = Command::new(&binary);
        for (name, value) in program().get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.arg("serve").args(["--port", "0", "--api-port", "0"]).current_dir(folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        prepare(&mut command, folder.path());
        let mut child = command.spawn().unwrap();
        let terminal = Lines::of(child.stderr.take().unwrap());
        let stdout = Lines::of(child.stdout.take().unwrap());
        let url = |what: &str| {
            let line = stdout.wait_for(what).unwrap_or_else(|| panic!("{}", terminal.text()));
            line.split_whitespace().next().unwrap().to_owned()
        };
        let (http, api) = (url("HTTP routes"), url("Lambda API"));
        Self { folder, child, http, api, terminal }
    }

    /// Puts another program in its place, as an installation does.
    pub fn install(&self, put: impl FnOnce(&Path)) {
        let beside = self.folder.path().join("handlerd.new");
        put(&beside);
        std::fs::rename(beside, self.folder.path().join("handlerd")).unwrap();
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn pid(&self) -> i64 {
        self.child.id().into()
    }

    pub fn lines(&self) -> &Lines {
        &self.terminal
    }

    pub fn terminal(&self) -> String {
        self.terminal.text()
    }

    pub fn ended(&mut self) -> std::process::ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(began.elapsed() < PATIENCE, "it does not end");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    pub fn signal(&self, signal: Signal) {
        let pid = rustix::process::Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    pub fn health(&self) -> Value {
        let mut connection = Connection::open(&self.api);
        connection.send("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
        serde_json::from_str(connection.answer().text()).unwrap()
    }

    pub fn inode(&self) -> u64 {
        use std::os::unix::fs::MetadataExt;
        std::fs::metadata(format!("/proc/{}/exe", self.child.id())).unwrap().ino()
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- terminal ---\n{}", self.terminal.text());
        }
    }
}

/// Clients that ask without a pause, some on connections that they keep, some on new ones.
struct Clients {
    end: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    threads: Vec<std::thread::JoinHandle<Vec<String>>>,
}

impl Clients {
    fn start(http: &str) -> Self {
        let (end, answered) = <(Arc<AtomicBool>, Arc<AtomicUsize>)>::default();
        let threads = (0..4)
            .map(|number| {
                let (end, answered, http) = (end.clone(), answered.clone(), http.to_owned());
                std::thread::spawn(move || {
                    let mut failed = Vec::new();
                    let mut kept: Option<Connection> = None;
                    while !end.load(Ordering::Relaxed) {
                        let mut connection = kept.take().unwrap_or_else(|| Connection::open(&http));
                        connection.send("GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n");
                        let answer = connection.answer();
                        match (answer.status, answer.text()) {
                            (200, "hello") => _ = answered.fetch_add(1, Ordering::Relaxed),
                            other => failed.push(format!("{other:?}")),
                        }
                        let is_kept = answer.header("connection").is_none_or(|value| value != "close");
                        kept = (number % 2 == 0 && is_kept).then_some(connection);
                    }
                    failed
                })
            })
            .collect();
        Self { end, answered, threads }
    }

    fn wait_for(&self, more: usize) {
        let wanted = self.answered.load(Ordering::Relaxed) + more;
        let began = Instant::now();
        while self.answered.load(Ordering::Relaxed) < wanted {
            assert!(began.elapsed() < PATIENCE, "no more answers");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// How many were answered, and what else came.
    fn end(self) -> (usize, Vec<String>) {
        self.end.store(true, Ordering::Relaxed);
        let failed = self.threads.into_iter().flat_map(|thread| thread.join().expect("no connection is cut"));
        (self.answered.load(Ordering::Relaxed), failed.collect())
    }
}

#[test]
fn a_new_binary_takes_over_without_a_failed_request() {
    let installed = Installed::start(|_, _| {});
    let times = std::env::var("HANDLERD_TEST_SUCCESSIONS").ok().and_then(|times| times.parse().ok());
    let clients = Clients::start(&installed.http);
    let mut slowest = Duration::ZERO;
    for _ in 0..times.unwrap_or(2) {
        clients.wait_for(50);
        let before = installed.inode();
        let program = program().get_program().to_owned();
        installed.install(|place| _ = std::fs::copy(&program, place).unwrap());
        let began = Instant::now();
        installed.signal(Signal::HUP);
        while installed.inode() == before {
            assert!(began.elapsed() < PATIENCE, "nobody takes over");
            std::thread::sleep(Duration::from_millis(2));
        }
        clients.wait_for(50);
        slowest = slowest.max(began.elapsed());
    }
    let (answered, failed) = clients.end();
    assert_eq!(failed, [""; 0]);
    assert_eq!(installed.health()["pid"], installed.child.id());
    seen("58", format!("{answered} answers, 0 failed, the same process id"), slowest);
}

#[test]
fn a_binary_that_does_not_work_takes_nothing_over() {
    let installed = Installed::start(|_, _| {});
    let clients = Clients::start(&installed.http);
    let before = installed.inode();
    for (number, (script, told)) in [
        ("#!/bin/sh\nexit 3\n", "did not say that it could serve"),
        ("#!/bin/sh\necho 'no such option' >&2\nexit 2\n", "no such option"),
        ("#!/bin/sh\ntrue\n", "did not say that it could serve"),
        ("this is no program", "cannot be started"),
    ]
    .into_iter()
    .enumerate()
    {
        clients.wait_for(20);
        installed.install(|place| {
            use std::os::unix::fs::PermissionsExt;
            std::fs::write(place, script).unwrap();
            std::fs::set_permissions(place, std::fs::Permissions::from_mode(0o755)).unwrap();
        });
        installed.signal(Signal::HUP);
        let began = Instant::now();
        let refusals = || installed.terminal.text().matches("this one serves on").count();
        while refusals() <= number {
            assert!(
                began.elapsed() < Duration::from_secs(8),
                "nothing is said:\n{}",
                installed.terminal.text()
            );
            std::thread::sleep(Duration::from_millis(2));
        }
        assert!(installed.terminal.text().contains(told), "{told}: {}", installed.terminal.text());
    }
    clients.wait_for(20);
    let (answered, failed) = clients.end();
    assert_eq!((failed, installed.inode()), (Vec::new(), before));
    seen("58", format!("four that do not work: {answered} answers, 0 failed"), None);
}

/// What systemd does: it opens the sockets, hears that the program serves, is stopping, and lives.
#[test]
fn a_supervisor_opens_the_sockets_and_is_told() {
    let sockets = [(); 2].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let addresses = sockets.each_ref().map(|socket| socket.local_addr().unwrap().to_string());
    let place = tempfile::tempdir().unwrap();
    let ears = UnixDatagram::bind(place.path().join("notify")).unwrap();
    ears.set_read_timeout(Some(PATIENCE)).unwrap();
    let installed = Installed::start(|command, _| {
        let numbers = sockets.each_ref().map(|socket| socket.as_raw_fd());
        command.env("NOTIFY_SOCKET", place.path().join("notify")).env("WATCHDOG_USEC", "200000");
        command.env("LISTEN_FDS", "2").env("LISTEN_FDNAMES", "http:api");
        // The program's own process id is known to nobody before; a shell knows it.
        let real = PathBuf::from(command.get_program());
        let arguments: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
        let mut shell = Command::new("sh");
        shell.arg("-c").arg("LISTEN_PID=$$ exec \"$0\" \"$@\"").arg(real).args(arguments);
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        shell.current_dir(command.get_current_dir().unwrap());
        shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // SAFETY: between fork and exec, plain system calls and no allocation.
        unsafe {
            shell.pre_exec(move || {
                let high = numbers.map(|number| libc::fcntl(number, libc::F_DUPFD, 100));
                for (index, number) in high.into_iter().enumerate() {
                    libc::dup2(number, 3 + index as i32);
                }
                Ok(())
            });
        }
        *command = shell;
    });
    assert_eq!(installed.http, format!("http://{}", addresses[0]));
    assert_eq!(installed.api, format!("http://{}", addresses[1]));
    let mut buffer = [0; 1000];
    let mut hear = |wanted: &str| loop {
        let length = ears.recv(&mut buffer).unwrap_or_else(|error| panic!("no {wanted}: {error}"));
        let told = String::from_utf8_lossy(&buffer[..length]).into_owned();
        if told.starts_with(wanted) {
            return told;
        }
    };
    assert!(hear("READY=1").contains("STATUS=serving http://"));
    for _ in 0..3 {
        hear("WATCHDOG=1");
    }
    installed.signal(Signal::HUP);
    assert!(hear("RELOADING=1").contains("MONOTONIC_USEC="));
    hear("READY=1");
    installed.signal(Signal::TERM);
    hear("STOPPING=1");
}

/// Events that wait, published code and all else come back in another folder; a damaged file does not.
#[tokio::test]
async fn a_backup_of_a_running_gateway_is_restored_elsewhere() {
    let builder = held_function::add_to(TestServerBuilder::new()).handler("hello", HELLO);
    let server = builder.argument("--concurrency").argument("2").start().await;
    let held = Held::new();
    for _ in 0..12 {
        let accepted = server.invoke_with("held", &held.event(), &[("x-amz-invocation-type", "Event")]).await;
        assert_eq!(accepted.status, 202);
    }
    held.wait_until_running();
    let versions = format!("{}/2015-03-31/functions/hello/versions", server.api);
    assert_eq!(server.send(server.client.post(versions).body("{}")).await.status, 201);
    let run = |arguments: &[&str]| commands::run(program().args(arguments).current_dir(server.folder()), "");
    let began = Instant::now();
    let told = run(&["backup", "kept"]);
    assert!(told.code == Some(0) && told.stdout.starts_with("kept: "), "{told:?}");
    let took = began.elapsed();
    let again = run(&["backup", "kept"]);
    assert!(again.code == Some(1) && again.stderr.contains("kept is there already"), "{again:?}");
    let over = run(&["restore", "kept"]);
    assert!(over.code == Some(1) && over.stderr.contains("another handlerd uses"), "{over:?}");
    server.signal(Signal::KILL);

    let whole = std::fs::read(server.folder().join("kept")).unwrap();
    for place in (0..whole.len()).step_by(whole.len() / 20) {
        let mut damaged = whole.clone();
        damaged[place] ^= 0x10;
        std::fs::write(server.folder().join("damaged"), damaged).unwrap();
        let told = run(&["restore", "damaged", "--state-dir", "elsewhere"]);
        assert!(told.code == Some(1) && told.stderr.contains("damaged"), "{told:?}");
        assert!(!server.folder().join("elsewhere").exists());
    }
    let told = run(&["restore", "kept", "--state-dir", "elsewhere"]);
    assert_eq!(told.code, Some(0), "{told:?}");
    let listed = run(&["queue", "--json", "--state-dir", "elsewhere"]);
    let queue: Value = serde_json::from_str(&listed.stdout).unwrap_or_else(|_| panic!("{listed:?}"));
    assert_eq!(queue["events"].as_array().unwrap().len(), 12, "{queue}");
    let invoked = run(&["invoke", "hello:1", "--state-dir", "elsewhere"]);
    assert!(invoked.stdout.contains("hello"), "{invoked:?}");
    let over = run(&["restore", "kept", "--state-dir", "elsewhere"]);
    assert!(over.code == Some(1) && over.stderr.contains("holds state already"), "{over:?}");
    let sizes = format!("{} bytes; 12 events and a version came back, 20 damaged files did not", whole.len());
    seen("39", sizes, took);
}

#[tokio::test]
async fn load_balancers_ask_whether_it_is_ready() {
    let server = crate::harness::TestServer::with_handler("hello", HELLO).await;
    let ask = async |path: &str| server.send(server.client.get(format!("{}{path}", server.api))).await;
    assert_eq!((ask("/health/live").await.status, ask("/health/live").await.text()), (200, "live\n"));
    assert_eq!((ask("/health/ready").await.status, ask("/health/ready").await.text()), (200, "ready\n"));
    assert_eq!(ask("/health").await.json()["status"], "ok");
}
