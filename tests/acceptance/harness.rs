//! Starts the real program on free ports with a folder of handlers of its own, and speaks to it.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longer than anything here takes; a test that waits so long has failed.
pub const PATIENCE: Duration = Duration::from_secs(30);

const WRITABLE: &str = "HANDLERD_WRITABLE";

/// A folder of handlers and what the program is started with.
pub struct TestServerBuilder {
    folder: tempfile::TempDir,
    arguments: Vec<String>,
    variables: Vec<(String, String)>,
    /// A project with a template, served from its own folder, in place of a folder of handlers.
    is_project: bool,
    is_confined: bool,
    /// The program runs as this user, if the tests run as root.
    user: Option<u32>,
}

/// A running server. Dropping it kills it.
pub struct TestServer {
    folder: tempfile::TempDir,
    child: Child,
    /// `http://127.0.0.1:PORT` of the routes and of the Lambda API.
    pub http: String,
    pub api: String,
    pub client: reqwest::Client,
    stdout: Lines,
    stderr: Lines,
}

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is text")
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("the header is text"))
    }
}

impl TestServerBuilder {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("handlers")).unwrap();
        Self {
            folder,
            arguments: Vec::new(),
            variables: Vec::new(),
            is_project: false,
            is_confined: false,
            user: None,
        }
    }

    /// A copy of `tests/fixtures/apps/NAME`; `handlerd` is started inside it.
    pub fn app(name: &str) -> Self {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/apps").join(name);
        let folder = tempfile::tempdir().unwrap();
        copy(&from, folder.path());
        Self {
            folder,
            arguments: Vec::new(),
            variables: Vec::new(),
            is_project: true,
            is_confined: false,
            user: None,
        }
    }

    /// A project that consists of this template, and of what `project_file` adds.
    pub fn template(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        write(&folder.path().join("template.yaml"), text);
        Self {
            folder,
            arguments: Vec::new(),
            variables: Vec::new(),
            is_project: true,
            is_confined: false,
            user: None,
        }
    }

    /// Handlers may write nowhere but where any user's may.
    pub fn confined(mut self) -> Self {
        self.is_confined = true;
        self
    }

    /// Not as root, if that is whom the tests run as; the folder is that user's.
    pub fn user(mut self, user: u32) -> Self {
        self.user = Some(user);
        self
    }

    /// Where it will be served.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Any file of the project.
    pub fn project_file(self, path: &str, content: &str) -> Self {
        write(&self.folder.path().join(path), content);
        self
    }

    /// `handlers/NAME/lambda_function.py`
    pub fn handler(self, name: &str, source: &str) -> Self {
        self.file(&format!("{name}/lambda_function.py"), source)
    }

    /// Any file below `handlers/`.
    pub fn file(self, path: &str, content: &str) -> Self {
        write(&self.folder.path().join("handlers").join(path), content);
        self
    }

    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// `template.yaml` beside `handlers/`, to be served.
    pub fn with_template(self, template: &str) -> Self {
        let path = self.folder.path().join("template.yaml");
        write(&path, template);
        self.argument("--template").argument(&path.to_string_lossy())
    }

    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    pub async fn start(self) -> TestServer {
        let mut command = program();
        command.arg("serve").current_dir(self.folder.path());
        if self.is_confined {
            command.env_remove(WRITABLE);
        }
        if !self.is_project {
            command.arg(self.folder.path().join("handlers"));
        }
        command
            .args(["--port", "0", "--api-port", "0"])
            .args(&self.arguments)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(user) = self.user {
            give(self.folder.path(), user);
            command.uid(user).gid(user);
            // Nothing of the home of whoever runs the tests.
            command.env("HOME", self.folder.path()).env("PATH", "/usr/local/bin:/usr/bin:/bin");
        }
        let mut child = command.spawn().expect("the program starts");
        let stdout = Lines::of(child.stdout.take().unwrap());
        let stderr = Lines::of(child.stderr.take().unwrap());
        let url = |what: &str| {
            let line = stdout.wait_for(what).unwrap_or_else(|| panic!("no `{what}`:\n{}", stderr.text()));
            line.split_whitespace().next().unwrap().to_owned()
        };
        let (http, api) = (url("HTTP routes"), url("Lambda API"));
        let client = reqwest::Client::builder().timeout(PATIENCE).no_proxy().build().unwrap();
        TestServer { folder: self.folder, child, http, api, client, stdout, stderr }
    }
}

/// The program, with nothing of the caller's settings. `HANDLERD_TEST_PROGRAM` names another build of it:
/// a release, to see what that does.
pub fn program() -> Command {
    let other = std::env::var_os("HANDLERD_TEST_PROGRAM");
    let mut command = Command::new(other.unwrap_or_else(|| env!("CARGO_BIN_EXE_handlerd").into()));
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let is_ours = text.starts_with("HANDLERD_") && text != "HANDLERD_TEST_WITHOUT";
        if is_ours
            || text.starts_with("AWS_")
            || text.starts_with("OTEL_")
            || matches!(&*text, "RUST_LOG" | "VIRTUAL_ENV")
        {
            command.env_remove(&name);
        }
    }
    // Handlers of tests leave notes beside their project.
    command.env(WRITABLE, "/tmp");
    command
}

impl TestServer {
    pub async fn with_handler(name: &str, source: &str) -> Self {
        TestServerBuilder::new().handler(name, source).start().await
    }

    pub fn handlers(&self) -> PathBuf {
        self.folder.path().join("handlers")
    }

    /// Writes any file of a project, in place.
    pub fn write_project(&self, path: &str, content: &str) {
        write(&self.folder.path().join(path), content);
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Asks as if the name in `host` led here.
    pub async fn get_at(&self, host: &str, path: &str) -> Answer {
        self.send(self.client.get(format!("{}{path}", self.http)).header("host", host)).await
    }

    pub fn state_dir(&self) -> PathBuf {
        self.folder.path().join(".handlerd")
    }

    /// Writes below `handlers/`, in place, as an editor's save does.
    pub fn write(&self, path: &str, content: &str) {
        write(&self.handlers().join(path), content);
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.client.get(format!("{}{path}", self.http))).await
    }

    pub async fn post(&self, path: &str, content_type: &str, body: impl Into<reqwest::Body>) -> Answer {
        let request =
            self.client.post(format!("{}{path}", self.http)).header("content-type", content_type).body(body);
        self.send(request).await
    }

    /// Invoke over the Lambda API.
    pub async fn invoke(&self, name: &str, event: &str) -> Answer {
        self.invoke_with(name, event, &[]).await
    }

    pub async fn invoke_with(&self, name: &str, event: &str, headers: &[(&str, &str)]) -> Answer {
        let url = format!("{}/2015-03-31/functions/{name}/invocations", self.api);
        let mut request = self.client.post(url).body(event.to_owned());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request).await
    }

    pub async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let response = request.send().await.expect("the server answers");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.bytes().await.expect("the answer is whole").to_vec();
        Answer { status, headers, body }
    }

    /// Asks again until the answer is as wanted: for what becomes true a little later.
    pub async fn until(&self, path: &str, wanted: impl Fn(&Answer) -> bool) -> Answer {
        let began = Instant::now();
        loop {
            let answer = self.get(path).await;
            if wanted(&answer) {
                return answer;
            }
            assert!(began.elapsed() < PATIENCE, "{path} still answers {answer:?}\n{}", self.stderr.text());
        }
    }

    /// What the terminal has shown so far.
    pub fn terminal(&self) -> String {
        self.stderr.text()
    }

    /// Waits until the terminal shows a line with this text; the line.
    pub fn wait_for_terminal(&self, text: &str) -> String {
        self.stderr.wait_for(text).unwrap_or_else(|| panic!("no `{text}` in:\n{}", self.stderr.text()))
    }

    /// What stdout has shown so far.
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// The same for stdout.
    pub fn wait_for_stdout(&self, text: &str) -> String {
        self.stdout.wait_for(text).unwrap_or_else(|| panic!("no `{text}` in:\n{}", self.stdout.text()))
    }

    pub async fn health(&self) -> Value {
        self.send(self.client.get(format!("{}/health", self.api))).await.json()
    }

    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_raw(self.pid()).unwrap(), signal).unwrap();
    }

    /// Waits for the program's own end.
    pub fn wait_for_exit(&mut self) -> ExitStatus {
        self.ends_within(PATIENCE)
    }

    pub fn ends_within(&mut self, limit: Duration) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(began.elapsed() < limit, "the program does not end:\n{}", self.stderr.text());
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- terminal ---\n{}", self.stderr.text());
        }
    }
}

pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(|entry| entry.unwrap()) {
        let target = to.join(entry.file_name());
        if entry.file_name() == "__pycache__" {
            continue;
        }
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn give(path: &Path, user: u32) {
    std::os::unix::fs::lchown(path, Some(user), Some(user)).unwrap();
    if path.is_dir() && !path.is_symlink() {
        std::fs::read_dir(path).unwrap().for_each(|entry| give(&entry.unwrap().path(), user));
    }
}

fn write(path: &Path, content: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

/// Waits for a fact that only asking can tell.
pub fn eventually(what: &str, fact: impl Fn() -> bool) {
    let began = Instant::now();
    while !fact() {
        assert!(began.elapsed() < PATIENCE, "never true: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Lines of a pipe as they come.
#[derive(Clone)]
pub struct Lines(Arc<(Mutex<Vec<String>>, Condvar)>);

impl Lines {
    pub fn of(pipe: impl Read + Send + 'static) -> Self {
        let lines = Self(Arc::default());
        let theirs = lines.clone();
        std::thread::spawn(move || {
            let mut reader = BufReader::new(pipe);
            let mut line = Vec::new();
            while matches!(reader.read_until(b'\n', &mut line), Ok(1..)) {
                let text = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
                theirs.0.0.lock().unwrap().push(text);
                theirs.0.1.notify_all();
                line.clear();
            }
        });
        lines
    }

    pub fn wait_for(&self, text: &str) -> Option<String> {
        let lines = self.0.0.lock().unwrap();
        let found = |lines: &Vec<String>| lines.iter().find(|line| line.contains(text)).cloned();
        let (lines, _) =
            self.0.1.wait_timeout_while(lines, PATIENCE, |lines| found(lines).is_none()).unwrap();
        found(&lines)
    }

    pub fn text(&self) -> String {
        self.0.0.lock().unwrap().join("\n")
    }
}
