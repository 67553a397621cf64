//! Handlers that misbehave: what their caller is told, that nobody else notices, that the next
//! request is served, and that nothing is left behind.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use base64::Engine;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::catalogue::seen;
use crate::harness::{Answer, PATIENCE, TestServer, TestServerBuilder, eventually};
use crate::processes::{descendants, descriptors, entries, kill, runs, spare_of, state, status_kb};

/// Does what the event says: as `do` in an invocation, as the body of a request.
const LABORATORY: &str = "
import os, sys, time

count = 0


def lambda_handler(event, context):
    global count
    count += 1
    scope = {'result': {'pid': os.getpid(), 'count': count}, 'event': event}
    exec(event.get('do') or event.get('body') or '', scope)
    return scope['result']
";

/// Minds its own business.
const BYSTANDER: &str = "
import os

count = 0


def lambda_handler(event, context):
    global count
    count += 1
    return {'pid': os.getpid(), 'count': count}
";

const INTERNAL_SERVER_ERROR: &str = r#"{"message":"Internal Server Error"}"#;

pub struct Laboratory {
    pub server: TestServer,
    bystander: i64,
}

/// What an invocation answered, with its log.
pub struct Told {
    pub answer: Answer,
    request_id: String,
    log: String,
    pub took: Duration,
}

impl Told {
    #[track_caller]
    pub fn is_error(&self, error_type: &str, what: &str) {
        let expected = format!(
            r#"{{"errorType":"{error_type}","errorMessage":"RequestId: {} Error: {what}"}}"#,
            self.request_id
        );
        assert_eq!(self.answer.text(), expected);
        assert_eq!(self.answer.status, 200);
        assert_eq!(self.answer.header("x-amz-function-error"), Some("Unhandled"));
    }

    /// The platform's lines, in their order, whatever else is printed between.
    #[track_caller]
    fn has_lines(&self, lines: &[&str]) {
        let mut rest = self.log.as_str();
        for line in lines {
            let line = line.replace("ID", &self.request_id);
            let (_, after) =
                rest.split_once(line.as_str()).unwrap_or_else(|| panic!("no `{line}` in {}", self.log));
            rest = after;
        }
    }

    pub fn value(&self) -> Value {
        assert_eq!(self.answer.header("x-amz-function-error"), None, "{}", self.answer.text());
        self.answer.json()
    }
}

impl Laboratory {
    pub async fn open(configuration: &str) -> Self {
        Self::open_with(configuration, TestServerBuilder::new()).await
    }

    async fn open_with(configuration: &str, builder: TestServerBuilder) -> Self {
        let server = builder
            .handler("lab", LABORATORY)
            .file("lab/function.yaml", configuration)
            .handler("bystander", BYSTANDER)
            .start()
            .await;
        let bystander = server.invoke("bystander", "{}").await.json()["pid"].as_i64().unwrap();
        Self { server, bystander }
    }

    /// A place outside of all functions.
    pub fn place(&self, name: &str) -> PathBuf {
        self.server.handlers().parent().unwrap().join(name)
    }

    pub async fn run(&self, code: &str) -> Told {
        tell(&self.server, "lab", &json!({ "do": code }).to_string()).await
    }

    pub async fn works(&self) -> Value {
        let answer = self.server.invoke("lab", "{}").await;
        assert_eq!(answer.header("x-amz-function-error"), None, "{}", answer.text());
        answer.json()
    }

    /// While `fault` goes on, others are served, by the same environment, and at once.
    async fn unnoticed<T>(&self, fault: impl Future<Output = T>) -> T {
        tokio::pin!(fault);
        let mut slowest = Duration::ZERO;
        loop {
            let began = Instant::now();
            tokio::select! {
                biased;
                other = self.server.get("/bystander") => {
                    assert_eq!((other.status, &other.json()["pid"]), (200, &self.bystander.into()));
                    slowest = slowest.max(began.elapsed());
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                told = &mut fault => {
                    assert!(slowest < Duration::from_secs(1), "others waited {slowest:?}");
                    return told;
                }
            }
        }
    }

    /// One fault by both doors: the exact answers, and a new environment after each.
    async fn costs_one_environment(&self, name: &str, code: &str, error_type: &str, what: &str) -> Told {
        let before = self.works().await;
        let told = self.unnoticed(self.run(code)).await;
        told.is_error(error_type, what);
        let row = match name {
            "segmentation fault" => Some("2"),
            "os._exit(0)" | "sys.exit()" | "sys.exit(3)" | "KeyboardInterrupt" => Some("3"),
            _ => None,
        };
        match row {
            Some(row) => seen(row, format!("{name}: {error_type}: {what}"), told.took),
            None => println!("{name}: {error_type}: {what} after {:.0} ms", told.took.as_secs_f64() * 1e3),
        }
        let after = self.works().await;
        assert_eq!(after["count"], 1, "{name}: the environment should be a new one");
        assert_ne!(before["pid"], after["pid"]);
        let answer = self.unnoticed(self.server.post("/lab", "text/plain", code.to_owned())).await;
        assert_eq!((answer.status, answer.text()), (500, INTERNAL_SERVER_ERROR), "{name}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(self.works().await["count"], 1, "{name}");
        for former in [&before, &after] {
            let pid = former["pid"].as_i64().unwrap();
            eventually(&format!("{name}: {pid} is gone"), || state(pid).is_none());
        }
        told
    }

    /// Nothing runs below the gateway but what it knows of, and no temporary folder is left over.
    pub async fn is_clean(&self) {
        let (gateway, folder) = (self.server.pid().into(), self.server.state_dir().join("tmp"));
        let began = Instant::now();
        loop {
            let health = self.server.health().await;
            let environments = health["environments"].as_u64().unwrap() as usize;
            let known = environments + health["zygotes"].as_array().unwrap().len();
            let below = descendants(gateway);
            if below.len() == known && entries(&folder) == environments {
                return;
            }
            assert!(
                began.elapsed() < PATIENCE,
                "{} processes ({:?}) and {} temporary folders are left, where {health} knows of {known}",
                below.len(),
                below.iter().map(|pid| state(*pid)).collect::<Vec<_>>(),
                entries(&folder),
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

pub async fn tell(server: &TestServer, name: &str, event: &str) -> Told {
    let began = Instant::now();
    let answer = server.invoke_with(name, event, &[("x-amz-log-type", "Tail")]).await;
    let took = began.elapsed();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let request_id = answer.header("x-amzn-requestid").unwrap().to_owned();
    let log = base64::engine::general_purpose::STANDARD.decode(answer.header("x-amz-log-result").unwrap());
    let log = String::from_utf8_lossy(&log.unwrap()).into_owned();
    Told { answer, request_id, log, took }
}

#[tokio::test]
async fn ends_of_the_process() {
    let lab = Laboratory::open("Timeout: 20\n").await;
    let clean = "Runtime exited without providing a reason";
    for (name, code, what) in [
        (
            "segmentation fault",
            "import ctypes; ctypes.string_at(0)",
            "Runtime exited with error: signal: segmentation fault",
        ),
        ("os._exit(0)", "os = __import__('os'); os._exit(0)", clean),
        ("os._exit(3)", "os = __import__('os'); os._exit(3)", "Runtime exited with error: exit status 3"),
        ("sys.exit()", "import sys; sys.exit()", clean),
        ("sys.exit(3)", "import sys; sys.exit(3)", "Runtime exited with error: exit status 3"),
        ("sys.exit(text)", "import sys; sys.exit('last words')", "Runtime exited with error: exit status 1"),
        ("KeyboardInterrupt", "raise KeyboardInterrupt", "Runtime exited with error: signal: interrupt"),
        ("abort", "import os; os.abort()", "Runtime exited with error: signal: aborted"),
        (
            "kill -9 of itself",
            "import os; os.kill(os.getpid(), 9)",
            "Runtime exited with error: signal: killed",
        ),
    ] {
        let told = lab.costs_one_environment(name, code, "Runtime.ExitError", what).await;
        told.has_lines(&[
            "START RequestId: ID Version: $LATEST\n",
            &format!("RequestId: ID Error: {what}\nRuntime.ExitError\n"),
            "END RequestId: ID\n",
            "REPORT RequestId: ID\tDuration: ",
            "\tStatus: error\tError Type: Runtime.ExitError\n",
        ]);
        assert!(told.took < Duration::from_secs(2), "{name} is told at once, not after {:?}", told.took);
        if name == "sys.exit(text)" {
            told.has_lines(&["START", "last words\n", "END"]);
        }
    }
    lab.server.wait_for_terminal("lab ended its own process (signal: segmentation fault)");
    lab.is_clean().await;
    crate::catalogue::seen("3", "nine ways, each Runtime.ExitError; 500 on the route", None);
}

#[tokio::test]
async fn timeouts() {
    let lab = Laboratory::open("Timeout: 1\n").await;
    for (name, code) in [
        ("Python loop", "while True: pass"),
        ("loop in C, holding the interpreter's lock", "x = 7 ** (7 ** 9)"),
        (
            "signals ignored",
            "import signal\nfor s in (signal.SIGTERM, signal.SIGINT): signal.signal(s, signal.SIG_IGN)\nwhile True: pass",
        ),
        ("SIGSTOP of itself", "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)"),
        (
            "swallows every exception",
            "import time\nwhile True:\n    try: time.sleep(9)\n    except BaseException: pass",
        ),
        (
            "half an answer",
            "import os, struct, time; os.write(1001, struct.pack('<I', 1000) + b'x'); time.sleep(60)",
        ),
        ("64 processes", "import os, time\nfor _ in range(6): os.fork()\ntime.sleep(60)"),
    ] {
        let told = lab
            .costs_one_environment(name, code, "Sandbox.Timedout", "Task timed out after 1.00 seconds")
            .await;
        told.has_lines(&[
            "START RequestId: ID Version: $LATEST\n",
            "Z ID Task timed out after 1.00 seconds\n\nEND RequestId: ID\nREPORT RequestId: ID\t",
            "\tStatus: timeout\n",
        ]);
        assert!(
            (Duration::from_secs(1)..Duration::from_secs(3)).contains(&told.took),
            "{name} was answered after {:?}",
            told.took
        );
    }
    lab.server.wait_for_terminal("lab was ended: it had not answered after 1 s, its Timeout");
    lab.is_clean().await;
    crate::catalogue::seen("59", "the same", None);
}

#[tokio::test]
async fn memory() {
    let lab = Laboratory::open("Timeout: 20\nMemorySize: 128\n").await;
    for (name, code) in [
        ("hog", "import time; x = b'x' * (400 << 20); time.sleep(60)"),
        ("slow hog", "x = []\nwhile True: x.append(b'x' * 65536)"),
        (
            "hog in a child",
            "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; x = b\"x\" * (300 << 20); time.sleep(60)'])",
        ),
        (
            "hog in a forked child",
            "import os, time\nif os.fork() == 0: x = b'x' * (300 << 20)\ntime.sleep(60)",
        ),
    ] {
        let what = "Runtime exited with error: signal: killed";
        let told = lab.costs_one_environment(name, code, "Runtime.ExitError", what).await;
        told.has_lines(&[
            "RequestId: ID Error: Runtime exited with error: signal: killed\nRuntime.ExitError\n",
            "END RequestId: ID\n",
            "\tMemory Size: 128 MB\tMax Memory Used: 128 MB\t",
            "Status: error\tError Type: Runtime.OutOfMemory\n",
        ]);
    }
    lab.server.wait_for_terminal("lab was ended: it used more than 128 MB, its MemorySize");
    // Forked children share their memory with their parent: that alone is no reason to kill.
    let told = lab
        .run("import os, time\nx = b'x' * (40 << 20)\npids = []\nfor _ in range(4):\n    pid = os.fork()\n    if not pid:\n        time.sleep(.3); os._exit(0)\n    pids.append(pid)\nfor pid in pids: os.waitpid(pid, 0)")
        .await;
    assert!(told.value()["pid"].is_i64());
    lab.is_clean().await;
    crate::catalogue::seen(
        "11",
        "four hogs killed, OutOfMemory told; four forked children that share are not",
        None,
    );
}

/// What a handler does to its own surroundings and gets away with: the answer is right, and the
/// environment is kept or replaced.
#[tokio::test]
async fn mischief_that_still_answers() {
    let lab = Laboratory::open("Timeout: 20\n").await;
    let frame = "import os, struct\ndef frame(nonce, text): return struct.pack('<IBBQII', 18 + len(text), 2, 0, nonce, 0, 0) + text\n";
    for (name, code, kept) in [
        ("prints bytes", "import os; os.write(1, bytes(range(256)))".to_owned(), true),
        ("returns twice", "import os; os.fork()".to_owned(), true),
        ("forks and raises in the child", "import os\nif os.fork() == 0: raise ValueError".to_owned(), true),
        (
            "removes its working directory",
            "import os, shutil, tempfile; d = tempfile.mkdtemp(); os.chdir(d); shutil.rmtree(d)".to_owned(),
            true,
        ),
        (
            "removes its temporary folder",
            "import os, shutil; shutil.rmtree(os.environ['TMPDIR'])".to_owned(),
            true,
        ),
        ("closes sys.stdout", "import sys; sys.stdout.close()".to_owned(), true),
        ("closes standard streams", "import os\nfor fd in range(3): os.close(fd)".to_owned(), true),
        ("closes small descriptors", "import os; os.closerange(0, 256)".to_owned(), true),
        ("replaces standard streams", "import sys; sys.stdout = sys.stderr = None".to_owned(), true),
        ("empties os.environ", "import os; os.environ.clear()".to_owned(), true),
        (
            "leaves a thread behind",
            "import threading, time\nthreading.Thread(target=time.sleep, args=(600,)).start()".to_owned(),
            true,
        ),
        (
            "closes every descriptor, works on",
            "import os, time; os.closerange(0, 4096); time.sleep(.5)".to_owned(),
            true,
        ),
        ("does something after that", String::new(), true),
    ] {
        let before = lab.works().await;
        println!("{name}");
        let told = lab.unnoticed(lab.run(&code)).await;
        assert_eq!(
            told.value(),
            json!({"pid": before["pid"], "count": before["count"].as_i64().unwrap() + 1}),
            "{name}"
        );
        told.has_lines(&["START RequestId: ID", "\nEND RequestId: ID\n", "REPORT"]);
        let after = lab.works().await;
        println!("{name}: answered; environment {}", if kept { "kept" } else { "replaced" });
        assert_eq!(before["pid"] == after["pid"], kept, "{name}");
    }
    let told = lab.run("raise ValueError('though nobody hears it')").await;
    assert_eq!(told.answer.json()["errorType"], "ValueError", "{}", told.answer.text());
    // Replies that nobody has asked for, before the answer and after it: nobody gets them. Whether
    // the environment is kept depends on whether anybody has looked.
    let late = format!(
        "{frame}import time\nif os.fork() == 0:\n    time.sleep(.05)\n    os.write(1001, frame(1, b'\"late\"'))\n    \
         open({:?}, 'w')\n    os._exit(0)",
        lab.place("late")
    );
    for (name, code) in [
        ("one before", format!("{frame}os.write(1001, frame(1, b'\"forged\"'))")),
        ("many before", format!("{frame}os.write(1001, frame(7, b'1') + frame(8, b'2') * 1000)")),
        (
            "before, and takes its time",
            format!("{frame}import time; os.write(1001, frame(1, b'1')); time.sleep(.1)"),
        ),
        ("half a frame", "import os, struct; os.write(1001, struct.pack('<I', 1000) + b'x')".to_owned()),
        ("after the answer", late),
    ] {
        // Each in an environment that has its pipes.
        lab.run("import os; os._exit(3)").await;
        let told = lab.unnoticed(lab.run(&code)).await;
        assert!(told.value()["pid"].is_i64(), "{name}: {}", told.answer.text());
    }
    eventually("the late reply is written", || lab.place("late").exists());
    lab.works().await;
    // With it goes the child that it has not waited for.
    lab.run("import os; os._exit(3)").await;
    lab.is_clean().await;
    crate::catalogue::seen("18", "eighteen ways, each answered right", None);
    crate::catalogue::seen("T19", "forged, doubled and late answers reach nobody", None);
}

#[tokio::test]
async fn broken_transport() {
    let lab = Laboratory::open("Timeout: 20\n").await;
    let (killed, one) =
        ("Runtime exited with error: signal: killed", "Runtime exited with error: exit status 1");
    for (name, code, what) in [
        (
            "closes every descriptor, has much to say",
            "import os; os.closerange(0, 4096); result = 'x' * 100000",
            one,
        ),
        (
            "an answer of impossible length",
            "import os, time; os.write(1001, b'\\xff' * 100); time.sleep(60)",
            killed,
        ),
        (
            "an answer of an unknown kind",
            "import os, struct, time; os.write(1001, struct.pack('<IBBQII', 18, 200, 0, 1, 0, 0)); time.sleep(60)",
            killed,
        ),
        (
            "answers without an end",
            "import os, struct\nwhile True: os.write(1001, struct.pack('<IBBQII', 18, 2, 0, 1, 0, 0) * 100)",
            killed,
        ),
        (
            "an answer that is too short",
            "import os, struct, time; os.write(1001, struct.pack('<I', 2) + b'..'); time.sleep(60)",
            killed,
        ),
    ] {
        let told = lab.costs_one_environment(name, code, "Runtime.ExitError", what).await;
        assert!(told.took < Duration::from_secs(5), "{name} is told after {:?}", told.took);
    }
    lab.is_clean().await;
}

#[tokio::test]
async fn results_that_cannot_be_sent() {
    let lab = Laboratory::open("Timeout: 20\nMemorySize: 512\n").await;
    let pid = lab.works().await["pid"].clone();
    for (name, code, expected) in [
        (
            "more than 6 MB",
            "result = 'x' * 6291556",
            json!({"errorMessage": "Response payload size exceeded maximum allowed payload size (6291556 bytes).",
                   "errorType": "Function.ResponseSizeTooLarge"}),
        ),
        (
            "an object",
            "result = object()",
            json!({"errorMessage": "Unable to marshal response: Object of type object is not JSON serializable",
                   "errorType": "Runtime.MarshalError", "requestId": "ID", "stackTrace": []}),
        ),
        (
            "a circle",
            "result = []; result.append(result)",
            json!({"errorMessage": "Unable to marshal response: Circular reference detected",
                   "errorType": "Runtime.MarshalError", "requestId": "ID", "stackTrace": []}),
        ),
    ] {
        let told = lab.unnoticed(lab.run(code)).await;
        let expected = expected.to_string().replace("\"ID\"", &format!("\"{}\"", told.request_id));
        assert_eq!(told.answer.json(), serde_json::from_str::<Value>(&expected).unwrap(), "{name}");
        assert_eq!(told.answer.header("x-amz-function-error"), Some("Unhandled"), "{name}");
        let answer = lab.server.post("/lab", "text/plain", code).await;
        assert_eq!((answer.status, answer.text()), (500, INTERNAL_SERVER_ERROR), "{name}");
        assert_eq!(lab.works().await["pid"], pid, "{name}: the environment is kept");
        let row = if name == "more than 6 MB" { "9" } else { "4" };
        seen(row, format!("{name}: {}", told.answer.json()["errorType"]), told.took);
    }
    for (name, code, error_type) in [
        ("endless recursion", "def f(): f()\nf()", "RecursionError"),
        ("a result nested too deep", "for _ in range(100000): result = [result]", "Runtime.MarshalError"),
    ] {
        let told = lab.unnoticed(lab.run(code)).await;
        println!("{name}: {}", &told.answer.text()[..told.answer.text().len().min(200)]);
        assert_eq!(told.answer.json()["errorType"], error_type, "{name}");
        assert_eq!(lab.works().await["pid"], pid, "{name}: the environment is kept");
    }
    // As long as the limit allows is fine.
    let told = lab.run("result = 'x' * (6291556 - 2)").await;
    assert_eq!((told.answer.status, told.answer.body.len()), (200, 6_291_556));
    lab.is_clean().await;
    crate::catalogue::seen("4", "type and trace; the environment kept", None);
    crate::catalogue::seen("9", "6,291,556 bytes pass, one more does not; the environment kept", None);
}

#[tokio::test]
async fn a_hundred_megabytes_of_output() {
    let lab = Laboratory::open("Timeout: 60\n").await;
    lab.works().await;
    let gateway = lab.server.pid().into();
    let before = status_kb(gateway, "VmHWM:");
    let told = lab
        .unnoticed(lab.run(
            "import os\nprint('the beginning')\nfor _ in range(1600): os.write(1, b'x' * 65535 + b'\\n')\nprint('the end')",
        ))
        .await;
    let grown = status_kb(gateway, "VmHWM:").saturating_sub(before);
    for row in ["19", "T21"] {
        seen(
            row,
            format!("100 MB of output: answered, marked as cut, the gateway grew by {grown} kB"),
            told.took,
        );
    }
    assert_eq!(told.value()["count"], 2);
    assert!(grown < 30 * 1024, "the gateway grew by {grown} kB");
    told.has_lines(&["the end\n", "END RequestId: ID\n"]);
    lab.server.wait_for_terminal("lab | the beginning");
    lab.server.wait_for_terminal("bytes of output are left out here");
    // Without an end: the timeout still comes.
    let lab = Laboratory::open("Timeout: 1\n").await;
    let code = "import os\nwhile True: os.write(1, b'x' * 65536)";
    let what = "Task timed out after 1.00 seconds";
    lab.costs_one_environment("output without an end or a line", code, "Sandbox.Timedout", what).await;
    lab.is_clean().await;
    crate::catalogue::seen("19", "answered; cut and counted; a flood without end met its timeout", None);
}

#[tokio::test]
async fn what_a_handler_leaves_behind_ends_with_its_environment() {
    let lab = Laboratory::open("Timeout: 20\n").await;
    let daemon = "
import os, signal, time
r, w = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for s in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP): signal.signal(s, signal.SIG_IGN)
        os.write(w, str(os.getpid()).encode())
        time.sleep(600)
    os._exit(0)
os.close(w)
os.wait()
result['daemon'] = int(os.read(r, 20))
";
    let started = lab.run(daemon).await.value();
    let pid = started["daemon"].as_i64().unwrap();
    assert!(runs(pid));
    assert_eq!(lab.works().await["pid"], started["pid"]);
    assert!(runs(pid), "it lives as long as its environment");
    lab.run("import os; os._exit(0)").await;
    eventually("the daemon is gone", || state(pid).is_none());

    // The same when new code retires the environment.
    let pid = lab.run(daemon).await.value()["daemon"].as_i64().unwrap();
    lab.server.write("lab/lambda_function.py", &format!("{LABORATORY}\n# newer\n"));
    eventually("the daemon is gone", || state(pid).is_none());

    // And when somebody kills the environment while it works.
    let file = lab.place("pid");
    let code = format!("import os, time; open({file:?}, 'w').write(str(os.getpid())); time.sleep(60)");
    let killed = async {
        let pid = wait_for_number(&file).await;
        kill(pid);
    };
    let (told, ()) = tokio::join!(lab.run(&code), killed);
    told.is_error("Runtime.ExitError", "Runtime exited with error: signal: killed");
    assert_eq!(lab.works().await["count"], 1);
    lab.is_clean().await;
    crate::catalogue::seen(
        "1",
        "signal: killed, told at once; the next is served by a new environment",
        None,
    );
    crate::catalogue::seen("14", "gone when its environment ended, was replaced or was killed", None);
}

pub async fn wait_for_number(file: &Path) -> i64 {
    let began = Instant::now();
    loop {
        if let Ok(number) = std::fs::read_to_string(file).unwrap_or_default().parse() {
            return number;
        }
        assert!(began.elapsed() < PATIENCE, "nobody writes {}", file.display());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Writes where it runs, with a child of its own, and stays until it is told to go on.
fn lingering(file: &Path, release: &Path) -> String {
    format!(
        "
import os, subprocess, sys, time
child = subprocess.Popen(['sleep', '600'])
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open({daemon:?}, 'w').write(str(os.getpid()))
        time.sleep(600)
    os._exit(0)
open({file:?}, 'w').write(str(child.pid))
while not os.path.exists({release:?}): time.sleep(.002)
result = 'finished'
",
        daemon = file.with_extension("daemon"),
    )
}

#[tokio::test]
async fn the_zygote_is_killed() {
    let lab = Laboratory::open("Timeout: 20\n").await;
    let (file, release) = (lab.place("child"), lab.place("release"));
    let zygote = lab.server.health().await["zygotes"][0].as_i64().unwrap();
    let killed = async {
        let child = wait_for_number(&file).await;
        let daemon = wait_for_number(&file.with_extension("daemon")).await;
        let below = descendants(zygote);
        assert!(below.contains(&child) && below.contains(&daemon));
        kill(zygote);
        below
    };
    let code = lingering(&file, &release);
    let (told, below) = tokio::join!(lab.run(&code), killed);
    told.is_error("Runtime.ExitError", "Runtime exited with error: signal: killed");
    assert_eq!(lab.works().await["count"], 1);
    assert_ne!(lab.server.health().await["zygotes"][0].as_i64().unwrap(), zygote);
    for pid in below {
        eventually(&format!("{pid} is gone"), || state(pid).is_none());
    }
    assert_eq!(
        lab.server.get("/bystander").await.json()["count"],
        1,
        "its environment was a child of the same"
    );
    lab.is_clean().await;
}

#[tokio::test]
async fn the_gateway_is_killed() {
    let mut lab = Laboratory::open("Timeout: 60\n").await;
    let (file, release) = (lab.place("child"), lab.place("release"));
    let port: u16 = lab.server.http.rsplit(':').next().unwrap().parse().unwrap();
    let (client, url) = (lab.server.client.clone(), format!("{}/lab", lab.server.http));
    let request = tokio::spawn(
        client.post(url).header("content-type", "text/plain").body(lingering(&file, &release)).send(),
    );
    let child = wait_for_number(&file).await;
    let daemon = wait_for_number(&file.with_extension("daemon")).await;
    let below = descendants(lab.server.pid().into());
    assert!(below.contains(&child) && below.contains(&daemon) && below.contains(&lab.bystander));
    let began = Instant::now();
    lab.server.signal(Signal::KILL);
    lab.server.wait_for_exit();
    for pid in below {
        eventually(&format!("{pid} is gone"), || !runs(pid));
    }
    println!("nothing is left {:.0} ms after the gateway was killed", began.elapsed().as_secs_f64() * 1e3);
    assert!(request.await.unwrap().is_err());
    std::net::TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
    crate::catalogue::seen("35", "all gone", None);
}

#[tokio::test]
async fn a_stop_lets_requests_in_flight_finish() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut lab = Laboratory::open("Timeout: 60\n").await;
        let (file, release) = (lab.place("child"), lab.place("release"));
        let below = async {
            wait_for_number(&file).await;
            let below = descendants(lab.server.pid().into());
            lab.server.signal(signal);
            lab.server.wait_for_terminal("stopping: requests in flight");
            let address = lab.server.http.trim_start_matches("http://").to_owned();
            eventually("new connections are refused", || std::net::TcpStream::connect(&address).is_err());
            std::fs::write(&release, "").unwrap();
            below
        };
        let code = lingering(&file, &release);
        let (told, below) = tokio::join!(lab.run(&code), below);
        assert_eq!(told.value(), "finished");
        assert!(lab.server.wait_for_exit().success());
        for pid in below {
            eventually(&format!("{pid} is gone"), || !runs(pid));
        }
        assert_eq!(entries(&lab.server.state_dir().join("tmp")), 0, "temporary folders");
    }
    crate::catalogue::seen("56", "finished, then ended", None);
}

/// Whoever still waits is told that it failed, or loses the connection.
async fn cut_off(request: tokio::task::JoinHandle<reqwest::Result<reqwest::Response>>) {
    if let Ok(response) = request.await.unwrap() {
        assert_eq!(response.status(), 500);
    }
}

#[tokio::test]
async fn a_second_stop_does_not_wait() {
    let mut slowest = Duration::ZERO;
    for (first, second) in
        [(Signal::TERM, Signal::TERM), (Signal::INT, Signal::INT), (Signal::TERM, Signal::INT)]
    {
        let mut lab = Laboratory::open("Timeout: 60\n").await;
        let (file, release) = (lab.place("child"), lab.place("never"));
        let url = format!("{}/lab", lab.server.http);
        let request =
            lab.server.client.post(url).header("content-type", "text/plain").body(lingering(&file, &release));
        let request = tokio::spawn(request.send());
        wait_for_number(&file).await;
        let below = descendants(lab.server.pid().into());
        lab.server.signal(first);
        lab.server.wait_for_terminal("stopping: requests in flight");
        let began = Instant::now();
        lab.server.signal(second);
        lab.server.ends_within(Duration::from_secs(5));
        slowest = slowest.max(began.elapsed());
        cut_off(request).await;
        for pid in below {
            eventually(&format!("{pid} is gone"), || !runs(pid));
        }
    }
    crate::catalogue::seen("57", "a second signal: ended", slowest);
}

#[tokio::test]
async fn a_stop_has_an_end() {
    let builder = TestServerBuilder::new().argument("--drain-timeout").argument("0.3");
    let mut lab = Laboratory::open_with("Timeout: 60\n", builder).await;
    let (file, release) = (lab.place("child"), lab.place("never"));
    let url = format!("{}/lab", lab.server.http);
    let request =
        lab.server.client.post(url).header("content-type", "text/plain").body(lingering(&file, &release));
    let request = tokio::spawn(request.send());
    wait_for_number(&file).await;
    let below = descendants(lab.server.pid().into());
    let began = Instant::now();
    lab.server.signal(Signal::TERM);
    lab.server.ends_within(Duration::from_secs(5));
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(300), "{took:?}");
    lab.server.wait_for_terminal("some requests had not ended; they are cut off");
    cut_off(request).await;
    for pid in below {
        eventually(&format!("{pid} is gone"), || !runs(pid));
    }
    crate::catalogue::seen("56", "cut off after --drain-timeout (0.3 s), and told", took);
}

/// Sends a request as a client that will not wait for the answer.
pub async fn ask_and_listen_no_more(server: &TestServer, code: &str) -> tokio::net::TcpStream {
    let address = server.http.trim_start_matches("http://");
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!(
        "POST /lab HTTP/1.1\r\nHost: {address}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{code}",
        code.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn a_client_that_goes_away() {
    let builder = TestServerBuilder::new().argument("--concurrency").argument("1");
    let server = builder.handler("lab", LABORATORY).file("lab/function.yaml", "Timeout: 20\n").start().await;
    let place = |name: &str| server.handlers().parent().unwrap().join(name);
    let pid = server.invoke("lab", "{}").await.json()["pid"].clone();
    let waiting = async |wanted: u64| {
        let began = Instant::now();
        while server.health().await["functions"]["lab"]["waiting"] != wanted {
            assert!(began.elapsed() < PATIENCE, "{}", server.health().await);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };

    // In the middle of its invocation: that goes on to its end.
    let (begun, release, ended) = (place("begun"), place("release"), place("ended"));
    let code = format!(
        "import os, time\nopen({begun:?}, 'w').write('1')\nwhile not os.path.exists({release:?}): time.sleep(.002)\nopen({ended:?}, 'w').write('1')"
    );
    let running = ask_and_listen_no_more(&server, &code).await;
    wait_for_number(&begun).await;
    // Behind it in line: never begun.
    let never = place("never");
    let queued = ask_and_listen_no_more(&server, &format!("open({never:?}, 'w')")).await;
    waiting(1).await;
    drop(queued);
    // Somebody who does wait.
    let (client, url) = (server.client.clone(), format!("{}/lab", server.http));
    let patient = tokio::spawn(client.post(url).send());
    drop(running);
    // The one who went away is found out when the line is looked at: only the patient one is left.
    waiting(1).await;
    assert!(!ended.exists());
    std::fs::write(&release, "").unwrap();
    wait_for_number(&ended).await;
    let answer = patient.await.unwrap().unwrap();
    assert_eq!(answer.status(), 200);
    let answer: Value = answer.json().await.unwrap();
    assert_eq!(answer, json!({"pid": pid, "count": 3}), "nobody else was served in between");
    assert!(!never.exists(), "whoever does not wait any more is not served");
}

#[tokio::test]
async fn two_hundred_crashes_leave_nothing_behind() {
    let lab = Laboratory::open("Timeout: 20\n").await;
    let crash = "import os; open(os.environ['TMPDIR'] + '/left', 'w').write('x'); os.kill(os.getpid(), 11)";
    for _ in 0..5 {
        lab.run(crash).await;
    }
    lab.works().await;
    lab.is_clean().await;
    let gateway = lab.server.pid().into();
    let zygote = lab.server.health().await["zygotes"][0].as_i64().unwrap();
    eventually("the zygote keeps a spare child", || spare_of(zygote).is_some());
    let before = (descriptors(gateway), descriptors(zygote));
    let began = Instant::now();
    for _ in 0..200 {
        let told = lab.run(crash).await;
        told.is_error("Runtime.ExitError", "Runtime exited with error: signal: segmentation fault");
    }
    println!("a crash and a new environment: {:.1} ms", began.elapsed().as_secs_f64() * 1e3 / 200.0);
    assert_eq!(lab.works().await["count"], 1);
    lab.is_clean().await;
    assert_eq!(lab.server.health().await["zygotes"][0].as_i64().unwrap(), zygote);
    eventually("descriptors are as many as before", || {
        let now = (descriptors(gateway), descriptors(zygote));
        // Connections of this client come and go.
        now.0 <= before.0 + 2 && now.1 == before.1
    });
    crate::catalogue::seen("16", "no zombie, no process, no descriptor more", None);
}

#[tokio::test]
async fn init_phases_that_fail() {
    let good = "def lambda_handler(event, context):\n    return 'good'\n";
    let server = TestServerBuilder::new()
        .handler("raises", "raise KeyError('missing')\n")
        .handler("exits", "import sys\nprint('going')\nsys.exit(3)\n")
        .handler("exits_cleanly", "import sys\nsys.exit()\n")
        .handler("crashes", "import ctypes\nctypes.string_at(0)\n")
        .handler("hogs", "import time\nx = b'x' * (400 << 20)\ntime.sleep(60)\n")
        .handler("bystander", BYSTANDER)
        .start()
        .await;
    let bystander = server.get("/bystander").await.json()["pid"].clone();
    for (name, error) in [
        ("exits", "Runtime exited with error: exit status 3"),
        ("exits_cleanly", "Runtime exited without providing a reason"),
        ("crashes", "Runtime exited with error: signal: segmentation fault"),
        ("hogs", "Runtime exited with error: signal: killed"),
        ("raises", ""),
    ] {
        for _ in 0..2 {
            let told = tell(&server, name, "{}").await;
            if name == "raises" {
                let error = told.answer.json();
                assert_eq!(
                    (&error["errorType"], &error["errorMessage"]),
                    (&json!("KeyError"), &json!("'missing'"))
                );
                assert_eq!(error["requestId"], "");
                assert!(
                    error["stackTrace"]
                        .as_array()
                        .unwrap()
                        .last()
                        .unwrap()
                        .as_str()
                        .unwrap()
                        .contains("line 1, in <module>")
                );
                told.has_lines(&[
                    "INIT_START",
                    "LAMBDA_WARNING",
                    "[ERROR] KeyError: 'missing'",
                    "INIT_REPORT Init Duration: ",
                ]);
            } else {
                told.is_error("Runtime.ExitError", error);
            }
            told.has_lines(&[
                "\tPhase: init\tStatus: error\tError Type: ",
                "START RequestId: ID",
                "END RequestId: ID",
            ]);
            let answer = server.get(&format!("/{name}")).await;
            assert_eq!((answer.status, answer.text()), (500, INTERNAL_SERVER_ERROR), "{name}");
        }
        server.write(&format!("{name}/lambda_function.py"), good);
        assert_eq!(server.invoke(name, "{}").await.text(), r#""good""#, "{name}");
    }
    assert_eq!(server.get("/bystander").await.json()["pid"], bystander);
}

/// The init phase has ten seconds; then it is begun again inside the invocation, whose own timeout
/// counts.
#[tokio::test]
async fn an_init_phase_that_takes_too_long() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("begun");
    let source = |stays: &str| {
        format!(
            "import time\nwith open({file:?}, 'a') as f: f.write('.')\nwhile {stays}: time.sleep(.01)\ndef lambda_handler(event, context): return 'at last'\n"
        )
    };
    let server = TestServerBuilder::new()
        .handler("slow", &source("True"))
        .file("slow/function.yaml", "Timeout: 1\n")
        .handler("second", &source(&format!("not open({file:?}).read().count('.') >= 4")))
        .handler("bystander", BYSTANDER)
        .start()
        .await;
    server.get("/bystander").await;
    let told = tell(&server, "slow", "{}").await;
    told.is_error("Sandbox.Timedout", "Task timed out after 1.00 seconds");
    println!("init without an end, Timeout 1 s: answered after {:.2} s", told.took.as_secs_f64());
    assert!((Duration::from_secs(11)..Duration::from_secs(14)).contains(&told.took), "{:?}", told.took);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "..", "it was begun twice");
    assert_eq!(server.get("/bystander").await.json()["count"], 2);
    // `second` is begun with three dots, waits out its ten seconds, and finds four at its next begin.
    let told = tell(&server, "second", "{}").await;
    assert_eq!(told.value(), "at last");
    assert!(told.took > Duration::from_secs(10), "{:?}", told.took);
    eventually("no environment is left of `slow`", || descendants(server.pid().into()).len() == 3);
}

#[tokio::test]
async fn bytes_on_a_silent_connection_hold_nobody_up() {
    let builder = TestServerBuilder::new().argument("--drain-timeout").argument("1");
    // A client that never finishes its request does not keep the server from stopping.
    let mut lab = Laboratory::open_with("Timeout: 20\n", builder).await;
    let address = lab.server.http.trim_start_matches("http://").to_owned();
    let mut half = tokio::net::TcpStream::connect(&address).await.unwrap();
    half.write_all(b"GET /lab HTTP/1.1\r\nHost: x").await.unwrap();
    let _silent = tokio::net::TcpStream::connect(&address).await.unwrap();
    lab.works().await;
    let began = Instant::now();
    lab.server.signal(Signal::TERM);
    lab.server.wait_for_exit();
    println!(
        "stopped {:.0} ms after the signal, with two silent connections",
        began.elapsed().as_secs_f64() * 1e3
    );
    let mut rest = Vec::new();
    let _ = half.read_to_end(&mut rest).await;
}

/// The news of a death takes a moment to arrive; a request that comes in that moment must not be
/// given to the dead.
#[tokio::test]
async fn an_environment_that_dies_while_it_rests_costs_nobody_anything() {
    let lab = Laboratory::open("Timeout: 5\n").await;
    for _ in 0..50 {
        let pid = lab.server.invoke("lab", r#"{"do": ""}"#).await.json()["pid"].as_i64().unwrap();
        // After so long it is looked at before it is used again.
        let rests_since = Instant::now();
        eventually("it has rested", || rests_since.elapsed() > Duration::from_millis(2));
        kill(pid);
        eventually("it is gone", || !runs(pid));
        let answer = lab.server.invoke("lab", r#"{"do": ""}"#).await;
        assert_eq!(answer.header("x-amz-function-error"), None, "{}", answer.text());
        assert_ne!(answer.json()["pid"].as_i64().unwrap(), pid);
    }
}

/// What changes with every invocation must not be kept for ever.
#[tokio::test]
async fn memory_stays_level_over_many_invocations() {
    let lab = Laboratory::open("MemorySize: 128\n").await;
    let event = r#"{"do": "import os; result.update(trace=os.popen('echo $_X_AMZN_TRACE_ID').read())"}"#;
    let first = lab.server.invoke("lab", event).await.json();
    assert!(first["trace"].as_str().unwrap().starts_with("Root=1-"), "{first}");
    let pid = first["pid"].as_i64().unwrap();
    let invoke = |count: usize| {
        let lab = &lab;
        async move {
            for _ in 0..count {
                lab.server.invoke("lab", "{}").await;
            }
        }
    };
    invoke(500).await;
    let before = status_kb(pid, "RssAnon");
    invoke(5000).await;
    let grown = status_kb(pid, "RssAnon") - before;
    // 144 bytes for each of them would be 700 kB.
    assert!(grown < 250, "5,000 invocations took {grown} kB");
}
