//! SnapStart: what a published version has set up in its init phase is there in all its environments,
//! and what must be their own is their own.

use std::collections::HashSet;

use base64::Engine;
use serde_json::{Value, json};

use crate::harness::{Answer, TestServer, TestServerBuilder, eventually};
use crate::processes::{descendants, entries, kill, runs, status_kb};
use crate::python_tools::python_tools;

const SETTINGS: &str = "SnapStart: {ApplyOn: PublishedVersions}\nTimeout: 60\nMemorySize: 512\n";

/// Handlers meet in a folder: each leaves its process id there, and waits until so many have come.
const MEET: &str = r#"
import os, time

def meet(folder, number):
    open(os.path.join(folder, str(os.getpid())), "w").close()
    while len(os.listdir(folder)) < number:
        time.sleep(number / 2000)
"#;

fn builder(source: &str) -> TestServerBuilder {
    TestServerBuilder::new().handler("f", &format!("{MEET}{source}")).file("f/function.yaml", SETTINGS)
}

async fn publish(server: &TestServer) -> Value {
    let publish = server.client.post(format!("{}/2015-03-31/functions/f/versions", server.api));
    let answer = server.send(publish).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()
}

/// What the Lambda API tells of version 1, once it has come to rest.
async fn described(server: &TestServer) -> Value {
    let url = format!("{}/2015-03-31/functions/f/configuration?Qualifier=1", server.api);
    loop {
        let told = server.send(server.client.get(&url)).await.json();
        if told["State"] != "Pending" {
            return told;
        }
        tokio::task::yield_now().await;
    }
}

async fn published(source: &str) -> TestServer {
    let server = builder(source).start().await;
    assert_eq!(publish(&server).await["State"], "Pending");
    server
}

async fn invoke(server: &TestServer, name: &str) -> Value {
    let answer = server.invoke(name, "{}").await;
    assert_eq!(answer.header("x-amz-function-error"), None, "{}\n{}", answer.text(), server.terminal());
    answer.json()
}

async fn with_log(server: &TestServer, name: &str) -> (Answer, String) {
    let answer = server.invoke_with(name, "{}", &[("x-amz-log-type", "Tail")]).await;
    let log = base64::engine::general_purpose::STANDARD.decode(answer.header("x-amz-log-result").unwrap());
    (answer, String::from_utf8(log.unwrap()).unwrap())
}

/// So many invocations at once.
async fn crowd(server: &TestServer, number: usize) -> Vec<Value> {
    let one = |_| {
        let url = format!("{}/2015-03-31/functions/f:1/invocations", server.api);
        let request = server.client.post(url).body("{}");
        tokio::spawn(async move { request.send().await.unwrap().json::<Value>().await.unwrap() })
    };
    let asked: Vec<_> = (0..number).map(one).collect();
    let mut answers = Vec::new();
    for answer in asked {
        answers.push(answer.await.unwrap());
    }
    answers
}

/// The process from which the environments of `f` are forked.
fn template_of(server: &TestServer) -> Option<i64> {
    let name = |pid: &i64| std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    descendants(server.pid().into()).into_iter().find(|pid| name(pid).trim() == "snap:f" && runs(*pid))
}

#[tokio::test]
async fn environments_share_one_init_phase_and_no_chance() {
    let notes = tempfile::tempdir().unwrap();
    let (init, meeting) = (notes.path().join("init"), notes.path().join("meeting"));
    std::fs::create_dir(&meeting).unwrap();
    let source = format!(
        r#"
import random, secrets, ssl, tempfile, uuid
with open({init:?}, "a") as file:
    file.write("once\n")
born, table = os.getpid(), list(range(1000))
text = open(__file__)

def lambda_handler(event, context):
    meet({meeting:?}, 20)
    os.environ["OWN"] = str(os.getpid())
    return {{
        "pid": os.getpid(), "born": born, "sum": sum(table), "line": text.readline() + text.readline(),
        "random": random.random(), "uuid": str(uuid.uuid4()), "token": secrets.token_hex(),
        "tls": ssl.RAND_bytes(16).hex(), "folder": tempfile.mkdtemp(), "TMPDIR": os.environ["TMPDIR"],
        "type": os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"],
        "stream": os.environ.get("AWS_LAMBDA_LOG_STREAM_NAME"), "context": context.log_stream_name,
    }}
"#
    );
    let server = published(&source).await;
    let answers = crowd(&server, 20).await;
    for field in ["pid", "random", "uuid", "token", "tls", "folder", "TMPDIR"] {
        let values: HashSet<String> = answers.iter().map(|answer| answer[field].to_string()).collect();
        assert_eq!(values.len(), 20, "{field} of 20 environments: {values:?}");
    }
    for answer in &answers {
        let same = ["born", "sum", "line", "type", "stream", "context"].map(|field| &answer[field]);
        assert_eq!(
            same,
            ["born", "sum", "line", "type", "stream", "context"].map(|field| &answers[0][field])
        );
        assert_ne!(answer["pid"], answer["born"]);
    }
    assert_eq!(answers[0]["type"], "snap-start");
    assert_eq!(answers[0]["line"], "\nimport os, time\n", "how far a file is read is not shared");
    assert_eq!(answers[0]["stream"], Value::Null, "as on AWS, a snapshot is of no one log stream");
    assert_eq!(std::fs::read_to_string(&init).unwrap(), "once\n");
    assert_eq!(described(&server).await["SnapStart"]["OptimizationStatus"], "On");
    // $LATEST has no part in it.
    let latest = server.client.get(format!("{}/2015-03-31/functions/f/configuration", server.api));
    assert_eq!(server.send(latest).await.json()["SnapStart"]["OptimizationStatus"], "Off");
}

const HOOKS: &str = r#"
import snapshot_restore_py as hooks
done = ["init"]
print("from init")

@hooks.register_before_snapshot
def first():
    done.append("before 1")
hooks.register_before_snapshot(lambda word, end: done.append(word + end), "before 2", end="!")

@hooks.register_after_restore
def third():
    done.append("after 1")
    print("from a hook")
hooks.register_after_restore(lambda: done.append(os.getpid()))

def lambda_handler(event, context):
    return {"done": done, "pid": os.getpid()}
"#;

#[tokio::test]
async fn hooks_run_in_the_orders_that_lambda_defines() {
    let server = published(HOOKS).await;
    assert_eq!(described(&server).await["State"], "Active");
    let (answer, log) = with_log(&server, "f:1").await;
    let answer = answer.json();
    assert_eq!(
        answer["done"],
        json!(["init", "before 2!", "before 1", "after 1", answer["pid"]]),
        "last registered first before, first registered first after"
    );
    let lines: Vec<&str> = log.lines().collect();
    let begins = |number: usize, with: &str| {
        assert!(lines.get(number).is_some_and(|line| line.starts_with(with)), "{number}: `{with}` in {log}");
    };
    begins(0, "INIT_START Runtime Version: python:3.");
    begins(1, "from init");
    begins(2, "INIT_REPORT Init Duration: ");
    begins(3, "RESTORE_START Runtime Version: python:3.");
    begins(4, "from a hook");
    begins(5, "RESTORE_REPORT Restore Duration: ");
    begins(6, "START RequestId: ");
    assert!(log.contains("\tRestore Duration: ") && log.contains(" ms\tBilled Restore Duration: "), "{log}");
    assert!(!log.contains("\tInit Duration"), "{log}");
    // The next invocation finds the environment as it is.
    assert!(!with_log(&server, "f:1").await.1.contains("RESTORE"));
}

#[tokio::test]
async fn a_package_of_the_functions_own_has_the_hooks() {
    let package = "
hooks = []
def register_after_restore(func, *args, **kwargs):
    hooks.append((func, args, kwargs))
    return func
def get_before_snapshot():
    return []
def get_after_restore():
    return hooks
";
    let source = "
import snapshot_restore_py
word = []
snapshot_restore_py.register_after_restore(word.append, 'own')
def lambda_handler(event, context):
    return word
";
    let server = builder(source).file("f/snapshot_restore_py.py", package).start().await;
    publish(&server).await;
    assert_eq!(invoke(&server, "f:1").await, json!(["own"]));
}

#[tokio::test]
async fn hooks_that_fail_are_named_as_lambda_names_them() {
    let failing = |hook: &str| {
        format!(
            "
import snapshot_restore_py
def fail():
    raise ValueError('no snapshot today')
snapshot_restore_py.{hook}(fail)
def lambda_handler(event, context):
    return 1
"
        )
    };
    let server = published(&failing("register_before_snapshot")).await;
    let told = described(&server).await;
    assert_eq!((&told["State"], &told["StateReasonCode"]), (&json!("Failed"), &json!("FunctionError")));
    assert_eq!(told["StateReason"], "Runtime.BeforeSnapshotError: no snapshot today");
    let (answer, log) = with_log(&server, "f:1").await;
    assert_eq!(answer.header("x-amz-function-error"), Some("Unhandled"));
    assert_eq!(answer.json()["errorType"], "Runtime.BeforeSnapshotError", "{log}");
    assert!(log.contains("INIT_REPORT Init Duration: "), "{log}");
    // $LATEST is none of it.
    assert_eq!(invoke(&server, "f").await, 1);

    let server = published(&failing("register_after_restore")).await;
    assert_eq!(described(&server).await["State"], "Active");
    for _ in 0..2 {
        let (answer, log) = with_log(&server, "f:1").await;
        let error = answer.json();
        assert_eq!(error["errorType"], "Runtime.AfterRestoreError", "{log}");
        assert_eq!(error["errorMessage"], "no snapshot today");
        assert!(error["stackTrace"][0].as_str().unwrap().contains("in fail"), "{error}");
        assert!(log.contains("RESTORE_START Runtime Version: "), "{log}");
        assert!(log.contains("\tStatus: error\tError Type: Runtime.AfterRestoreError"), "{log}");
    }
    assert!(template_of(&server).is_some(), "the snapshot itself is good");
}

#[tokio::test]
async fn a_hook_that_does_not_return_is_ended_after_ten_seconds() {
    let source = "
import snapshot_restore_py
snapshot_restore_py.register_after_restore(time.sleep, 3600)
def lambda_handler(event, context):
    return 1
";
    let server = published(source).await;
    let (answer, log) = with_log(&server, "f:1").await;
    let error = answer.json();
    assert_eq!(error["errorType"], "Sandbox.Timedout", "{log}");
    assert!(
        error["errorMessage"].as_str().unwrap().ends_with("Task timed out after 10.00 seconds"),
        "{error}"
    );
}

#[tokio::test]
async fn what_a_fork_would_lack_or_share_stands_in_the_way() {
    let notes = tempfile::tempdir().unwrap();
    let file = notes.path().join("file");
    let obstacles = [
        (
            "import threading\nthreading.Thread(target=time.sleep, args=(3600,), daemon=True, name='poller').start()"
                .to_owned(),
            "its init phase has left 1 thread running (poller)".to_owned(),
        ),
        (
            "import socket\nkept = socket.socket()".to_owned(),
            "its init phase has left a socket open".to_owned(),
        ),
        (
            "import subprocess\nkept = subprocess.Popen(['sleep', '3600'])".to_owned(),
            "its init phase has left 1 process running".to_owned(),
        ),
        (
            "import select\nkept = select.epoll()".to_owned(),
            "its init phase has left an event loop open".to_owned(),
        ),
        ("kept = os.pipe()".to_owned(), "its init phase has left a pipe open".to_owned()),
        (
            format!("kept = open({file:?}, 'w')"),
            format!("its init phase has left the file {} open for writing", file.display()),
        ),
        (
            "import mmap\nkept = mmap.mmap(-1, 4096)".to_owned(),
            "its init phase has made memory that is shared between processes".to_owned(),
        ),
    ];
    for (code, reason) in obstacles {
        let handler =
            "def lambda_handler(event, context):\n    return os.environ['AWS_LAMBDA_INITIALIZATION_TYPE']";
        let server = published(&format!("{code}\n{handler}\n")).await;
        let told = described(&server).await;
        let why = format!("It is started without a snapshot: {reason}");
        assert_eq!((&told["State"], &told["StateReason"]), (&json!("Active"), &json!(why)));
        assert_eq!(told["SnapStart"], json!({"ApplyOn": "PublishedVersions", "OptimizationStatus": "Off"}));
        let (answer, log) = with_log(&server, "f:1").await;
        assert_eq!(answer.text(), "\"on-demand\"", "{reason}");
        assert!(log.contains(&format!("\nstarted without a snapshot (SnapStart): {reason}\n")), "{log}");
        server.wait_for_terminal(&format!("f:1 is started as if it had no SnapStart: {reason}"));
        eventually("the process that cannot be forked is gone", || template_of(&server).is_none());
    }
}

#[tokio::test]
async fn a_hook_can_remove_what_stands_in_the_way() {
    let source = "
import socket, threading, snapshot_restore_py
connection, going = socket.socket(), threading.Event()
worker = threading.Thread(target=going.wait)
worker.start()

@snapshot_restore_py.register_before_snapshot
def close():
    connection.close()
    going.set()
    worker.join()

@snapshot_restore_py.register_after_restore
def open_again():
    global connection
    connection = socket.socket()

def lambda_handler(event, context):
    return [connection.fileno() > 0, os.environ['AWS_LAMBDA_INITIALIZATION_TYPE']]
";
    let server = published(source).await;
    assert_eq!(invoke(&server, "f:1").await, json!([true, "snap-start"]));
}

const COUNTS: &str = "
import uuid
ID = str(uuid.uuid4())
def lambda_handler(event, context):
    return [ID, os.getpid(), os.environ['AWS_LAMBDA_INITIALIZATION_TYPE'], globals().get('WORD')]
";

#[tokio::test]
async fn a_template_that_is_killed_is_made_again_and_at_last_done_without() {
    let server = published(COUNTS).await;
    let mut former = invoke(&server, "f:1").await;
    for time in 1..=3 {
        kill(template_of(&server).expect("there is a template"));
        eventually("its environment is gone too", || !runs(former[1].as_i64().unwrap()));
        let now = invoke(&server, "f:1").await;
        assert_ne!(now[0], former[0], "another init phase");
        assert_eq!(now[2], "snap-start", "{time}");
        former = now;
    }
    assert_eq!(server.health().await["status"], "ok");
}

/// What a function has registered to be called at a fork runs in the template. It may talk to the gateway
/// there, and name somebody else's process as its environment.
#[tokio::test]
async fn a_template_that_lies_harms_only_its_own_function() {
    let source = r#"
import array, json, socket, stat

def lie():
    gateway = os.getpid()
    for _ in range(2):
        with open(f"/proc/{gateway}/status") as file:
            gateway = next(int(line.split()[1]) for line in file if line.startswith("PPid:"))
    victim = os.pidfd_open(gateway)
    for number in range(1000, 1024):
        try:
            if not stat.S_ISSOCK(os.fstat(number).st_mode):
                continue
        except OSError:
            continue
        control = socket.socket(fileno=os.dup(number))
        for ticket in range(1, 50):
            said = json.dumps({"Forked": {"ticket": ticket, "pid": gateway}}).encode()
            control.sendmsg([said], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [victim]))])
        control.close()
    os.close(victim)

os.register_at_fork(before=lie)
def lambda_handler(event, context):
    return os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"]
"#;
    let server = published(source).await;
    assert_eq!(invoke(&server, "f:1").await, "on-demand", "{}", server.terminal());
    server
        .wait_for_terminal("f:1 is started as if it had no SnapStart: the process that its environments are");
    assert_eq!(server.health().await["status"], "ok", "the gateway has not ended itself");
}

#[tokio::test]
async fn latest_starts_from_a_snapshot_where_that_is_asked_for_and_new_code_from_a_new_one() {
    let handler = format!("import os\nWORD = 'one'\n{COUNTS}");
    let server = TestServerBuilder::new()
        .handler("f", &handler)
        .file("f/function.yaml", SETTINGS)
        .argument("--snap-start")
        .argument("latest")
        .start()
        .await;
    let one = invoke(&server, "f").await;
    assert_eq!((&one[2], &one[3]), (&json!("snap-start"), &json!("one")));
    let former = template_of(&server).expect("there is a template");
    server.write("f/lambda_function.py", &handler.replace("'one'", "'two'"));
    let two = invoke(&server, "f").await;
    assert_eq!((&two[2], &two[3]), (&json!("snap-start"), &json!("two")));
    assert_ne!(one[0], two[0]);
    eventually("the template of the former code is gone", || !runs(former));

    let off = builder(COUNTS).argument("--snap-start").argument("off").start().await;
    assert_eq!(publish(&off).await["SnapStart"]["OptimizationStatus"], "Off");
    assert_eq!(invoke(&off, "f:1").await[2], "on-demand");
}

#[tokio::test]
async fn two_hundred_environments_come_from_one_template_and_leave_nothing() {
    const NUMBER: usize = 200;
    let notes = tempfile::tempdir().unwrap();
    let meeting = notes.path().display().to_string();
    let source = format!(
        "
import decimal
ballast = [str(number) for number in range(200000)]
def lambda_handler(event, context):
    meet({meeting:?}, {NUMBER})
    return os.getpid()
"
    );
    let arguments = ["--concurrency", "210", "--queue-timeout", "60"];
    let builder = arguments.iter().fold(builder(&source), |builder, argument| builder.argument(argument));
    let server = builder.start().await;
    publish(&server).await;
    let began = std::time::Instant::now();
    let answers = crowd(&server, NUMBER).await;
    let took = began.elapsed();
    let pids: HashSet<i64> = answers.iter().map(|pid| pid.as_i64().expect("a process id")).collect();
    assert_eq!((pids.len(), entries(notes.path())), (NUMBER, NUMBER));
    let own = |pid: &i64| status_kb(*pid, "RssAnon:").max(1);
    let template = template_of(&server).unwrap();
    println!(
        "{NUMBER} environments in {took:?}; anonymous memory of the template {} kB, of one environment {} kB of which most \
         is shared",
        own(&template),
        own(pids.iter().next().unwrap()),
    );
    // However the gateway ends, all of them end with it.
    let all = descendants(server.pid().into());
    assert!(all.len() > NUMBER);
    kill(server.pid().into());
    eventually("everything has ended with the gateway", || !all.iter().any(|pid| runs(*pid)));
}

#[tokio::test]
async fn a_client_of_the_sdk_is_there_in_milliseconds() {
    let Some(tools) = python_tools("a_client_of_the_sdk_is_there_in_milliseconds") else { return };
    let source = "
import boto3
client = boto3.client('s3')
def lambda_handler(event, context):
    url = client.generate_presigned_url('get_object', Params={'Bucket': 'b', 'Key': 'k'})
    return [url.startswith('http'), os.environ['AWS_LAMBDA_INITIALIZATION_TYPE']]
";
    let server = builder(source).argument("--python").argument(tools.folder()).start().await;
    publish(&server).await;
    assert_eq!(described(&server).await["State"], "Active");
    let duration = |log: &str, name: &str| -> f64 {
        let (_, rest) =
            log.split_once(&format!("{name} Duration: ")).unwrap_or_else(|| panic!("{name} in {log}"));
        rest.split(' ').next().unwrap().parse().unwrap()
    };
    let (answer, log) = with_log(&server, "f:1").await;
    assert_eq!(answer.json(), json!([true, "snap-start"]), "{}", server.terminal());
    let (init, restore) = (duration(&log, "Init"), duration(&log, "Restore"));
    println!("with an SDK client: init phase {init} ms, restore {restore} ms");
    assert!(restore < init / 3.0, "init phase {init} ms, restore {restore} ms");
}
