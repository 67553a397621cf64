//! What a handler finds around it: its own modules, its variables and context, the Python and the
//! packages that were meant for it, and what becomes of its log.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use base64::Engine;
use serde_json::{Value, json};

use crate::harness::{PATIENCE, TestServer, TestServerBuilder, eventually};
use crate::processes::{descendants, kill, runs, spare_of, state};

#[tokio::test]
async fn modules_are_each_functions_own() {
    let uses = "import calendar, utils\n\ndef lambda_handler(event, context):\n    return [utils.WORD, getattr(calendar, 'MINE', None)]\n";
    let server = TestServerBuilder::new()
        .handler("one", uses)
        .file("one/utils.py", "WORD = 'one'\n")
        .file("one/calendar.py", "MINE = 'mine'\n")
        .handler("two", uses)
        .file("two/utils.py", "WORD = 'two'\n")
        .start()
        .await;
    for _ in 0..2 {
        assert_eq!(server.get("/one").await.text(), r#"["one", "mine"]"#);
        assert_eq!(server.get("/two").await.text(), r#"["two", null]"#);
    }
}

#[tokio::test]
async fn globals_live_as_long_as_their_environment() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("loaded");
    let source = format!(
        "import os\nwith open({file:?}, 'a') as f: f.write('.')\ncount = 0\n\ndef lambda_handler(event, context):\n    global count\n    count += 1\n    return [os.getpid(), count]\n"
    );
    let server = TestServerBuilder::new()
        .handler("counts", &source)
        .argument("--idle-timeout")
        .argument("1")
        .start()
        .await;
    let first = server.get("/counts").await.json();
    for count in 2..=20 {
        assert_eq!(server.get("/counts").await.json(), json!([first[0], count]));
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), ".", "module code ran once");
    // Idle too long: it ends, and the next one begins anew.
    let pid = first[0].as_i64().unwrap();
    eventually("the idle environment is gone", || state(pid).is_none());
    let second = server.get("/counts").await.json();
    assert_eq!(second[1], 1);
    assert_ne!(second[0], first[0]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "..");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_at_once_get_an_environment_each() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path();
    let source = format!(
        "import os, time\nbusy = 0\n\ndef lambda_handler(event, context):\n    global busy\n    busy += 1\n    assert busy == 1\n    open({place:?} + '/' + context.aws_request_id, 'w')\n    while not os.path.exists({release:?}): time.sleep(.002)\n    busy -= 1\n    return os.getpid()\n",
        release = folder.path().join("release")
    );
    let server = TestServer::with_handler("waits", &source).await;
    let requests: Vec<_> = (0..4)
        .map(|_| {
            let request = server.client.get(format!("{}/waits", server.http)).send();
            tokio::spawn(async move { request.await.unwrap().json::<i64>().await.unwrap() })
        })
        .collect();
    // All four are in the handler at the same time.
    eventually("four invocations have begun", || crate::processes::entries(place) == 4);
    std::fs::write(folder.path().join("release"), "").unwrap();
    let mut pids = Vec::new();
    for request in requests {
        pids.push(request.await.unwrap());
    }
    pids.sort();
    pids.dedup();
    assert_eq!(pids.len(), 4);
}

/// AWS's list for python3.13, name by name. Where we differ, it says so and why.
#[tokio::test]
async fn variables_and_context() {
    let source = "
import os, sys, tempfile

def lambda_handler(event, context):
    names = ('aws_request_id function_name function_version invoked_function_arn memory_limit_in_mb '
             'log_group_name log_stream_name tenant_id client_context _epoch_deadline_time_in_ms').split()
    return {
        'variables': dict(os.environ), 'context': {name: getattr(context, name) for name in names},
        'identity': [context.identity.cognito_identity_id, context.identity.cognito_identity_pool_id],
        'remaining': context.get_remaining_time_in_millis(), 'repr': repr(context),
        'path': sys.path, 'cwd': os.getcwd(), 'temporary': tempfile.gettempdir(),
        'argv': sys.argv, 'version': '%d.%d' % sys.version_info[:2],
        'descriptors': sorted(int(fd) for fd in os.listdir('/proc/self/fd') if os.path.exists('/proc/self/fd/' + fd)),
    }
";
    let server = TestServerBuilder::new()
        .handler("shows", source)
        .file(
            "shows/function.yaml",
            "MemorySize: 256\nTimeout: 7\nEnvironment:\n  Variables:\n    TABLE: items\n    TZ: Asia/Seoul\n",
        )
        .argument("--region")
        .argument("eu-central-1")
        .variable("SECRET_OF_THE_SHELL", "hunter2")
        .variable("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
        .start()
        .await;
    let answer = server.invoke("shows", "{}").await;
    let (shown, request_id) = (answer.json(), answer.header("x-amzn-requestid").unwrap());
    let root = std::fs::canonicalize(server.handlers()).unwrap().join("shows");
    let root = root.to_str().unwrap();
    let variables = |name: &str| shown["variables"][name].as_str();
    let version = shown["version"].as_str().unwrap();
    for (name, expected) in [
        ("AWS_DEFAULT_REGION", "eu-central-1"),
        ("AWS_REGION", "eu-central-1"),
        ("AWS_EXECUTION_ENV", &*format!("AWS_Lambda_python{version}")),
        ("AWS_LAMBDA_FUNCTION_NAME", "shows"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
        ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/shows"),
        ("AWS_XRAY_CONTEXT_MISSING", "LOG_ERROR"),
        ("AWS_XRAY_DAEMON_ADDRESS", "169.254.100.1:2000"),
        ("_AWS_XRAY_DAEMON_ADDRESS", "169.254.100.1"),
        ("_AWS_XRAY_DAEMON_PORT", "2000"),
        ("_HANDLER", "lambda_function.lambda_handler"),
        // /var/task there; here the function's folder, which is also the working directory.
        ("LAMBDA_TASK_ROOT", root),
        ("PWD", root),
        ("LAMBDA_RUNTIME_DIR", "/var/runtime"),
        ("SHLVL", "0"),
        ("LANG", "en_US.UTF-8"),
        ("LC_CTYPE", "C.UTF-8"),
        // `:UTC` there unless the function's configuration sets it, as this one does.
        ("TZ", "Asia/Seoul"),
        ("TABLE", "items"),
        // There, credentials of the function's role; here the caller's, or these, so that the SDK
        // finds some.
        ("AWS_ACCESS_KEY_ID", "handlerd"),
        ("AWS_SECRET_ACCESS_KEY", "handlerd"),
        ("AWS_SESSION_TOKEN", "handlerd"),
        // Not there: what the SDK in a handler is to talk to on this machine.
        ("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9"),
        ("AWS_ENDPOINT_URL_LAMBDA", &*server.api),
        ("AWS_ENDPOINT_URL_EVENTBRIDGE", &*server.api),
    ] {
        assert_eq!(variables(name), Some(expected), "{name}");
    }
    assert!(variables("_X_AMZN_TRACE_ID").unwrap().starts_with("Root=1-"));
    assert!(variables("PATH").unwrap().ends_with(":/usr/local/bin:/usr/bin:/bin:/opt/bin"));
    // /var/lang and /var/runtime do not exist here, so they are left out.
    assert_eq!(variables("LD_LIBRARY_PATH"), Some(&*format!("{root}:{root}/lib")));
    // There is no Runtime API to talk to, and no folder of a runtime to import from.
    for absent in ["AWS_LAMBDA_RUNTIME_API", "PYTHONPATH", "AWS_LAMBDA_LOG_FORMAT", "AWS_LAMBDA_LOG_LEVEL"] {
        assert_eq!(variables(absent), None, "{absent}");
    }
    for secret in ["SECRET_OF_THE_SHELL", "HOME", "HANDLERD_PORT", "VIRTUAL_ENV"] {
        assert_eq!(variables(secret), None, "{secret} is none of the function's business");
    }
    // Not there: /tmp itself is private. Here it is a folder of the environment's own.
    let temporary = variables("TMPDIR").unwrap();
    assert_eq!(shown["temporary"], temporary);
    assert!(Path::new(temporary).starts_with(server.state_dir().join("tmp")));

    let context = &shown["context"];
    assert_eq!(context["aws_request_id"], request_id);
    assert_eq!(context["function_name"], "shows");
    assert_eq!(context["function_version"], "$LATEST");
    assert_eq!(context["memory_limit_in_mb"], "256", "a string, as there");
    assert_eq!(context["log_group_name"], "/aws/lambda/shows");
    let stream = context["log_stream_name"].as_str().unwrap();
    assert_eq!(variables("AWS_LAMBDA_LOG_STREAM_NAME"), Some(stream));
    let (day, id) = stream.split_once("/[$LATEST]").unwrap();
    assert!(day.len() == 10 && id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{stream}");
    let arn = context["invoked_function_arn"].as_str().unwrap();
    assert!(arn.starts_with("arn:aws:lambda:") && arn.ends_with(":123456789012:function:shows"), "{arn}");
    assert_eq!((&context["client_context"], &context["tenant_id"]), (&Value::Null, &Value::Null));
    assert_eq!(shown["identity"], json!([null, null]));
    let remaining = shown["remaining"].as_i64().unwrap();
    assert!((6000..=7000).contains(&remaining), "{remaining}");
    assert!(
        shown["repr"]
            .as_str()
            .unwrap()
            .starts_with(&format!("LambdaContext([aws_request_id={request_id},log_group_name="))
    );
    assert_eq!(shown["cwd"], root);
    assert_eq!(shown["path"][0], root);
    let high = shown["descriptors"].as_array().unwrap().iter().filter(|fd| fd.as_i64().unwrap() > 2).count();
    assert_eq!(
        high, 4,
        "nothing is open but the standard streams, the three pipes and the bell: {}",
        shown["descriptors"]
    );
}

#[tokio::test]
async fn temporary_folders_are_private_and_short_lived() {
    let source = "
import os, tempfile

def lambda_handler(event, context):
    folder = tempfile.gettempdir()
    before = os.listdir(folder)
    os.makedirs(folder + '/deep/er', exist_ok=True)
    open(folder + '/deep/er/file', 'w').write('x')
    return [folder, before, oct(os.stat(folder).st_mode)]
";
    let server = TestServerBuilder::new().handler("one", source).handler("two", source).start().await;
    let (one, two) = (server.get("/one").await.json(), server.get("/two").await.json());
    assert_eq!((&one[1], &two[1]), (&json!([]), &json!([])));
    assert_eq!(one[2], "0o40700");
    assert_ne!(one[0], two[0]);
    assert_eq!(server.get("/one").await.json()[1], json!(["deep"]), "it is kept while the environment is");
    server.write("one/lambda_function.py", &format!("{source}\n# newer\n"));
    let newer = server.get("/one").await.json();
    assert_ne!(newer[0], one[0]);
    let former = PathBuf::from(one[0].as_str().unwrap());
    eventually("the former folder is gone", || !former.exists());
    assert!(Path::new(two[0].as_str().unwrap()).exists());
}

/// Makes a virtual environment with a module of this name in it.
fn virtual_environment(folder: &Path, module: &str) -> PathBuf {
    let made = Command::new("python3").args(["-m", "venv", "--without-pip"]).arg(folder).status().unwrap();
    assert!(made.success());
    let lib = std::fs::read_dir(folder.join("lib")).unwrap().flatten().next().unwrap().path();
    let packages = lib.join("site-packages");
    std::fs::write(packages.join(format!("{module}.py")), "WORD = __name__\n").unwrap();
    packages
}

const IMPORTS: &str = "
import sys
try:
    import only_there
    found = only_there.WORD
except ImportError as error:
    found = str(error)

def lambda_handler(event, context):
    return [found, sys.prefix]
";

#[tokio::test]
async fn virtual_environments() {
    let place = tempfile::tempdir().unwrap();
    let place = std::fs::canonicalize(place.path()).unwrap();
    let venv = place.join("venv");
    std::fs::create_dir_all(&place).unwrap();
    virtual_environment(&venv, "only_there");
    let shown = venv.to_str().unwrap();
    let is_used = async |server: &TestServer| {
        assert_eq!(server.get("/imports").await.json(), json!(["only_there", shown]));
    };
    // Named by VIRTUAL_ENV.
    let server =
        TestServerBuilder::new().handler("imports", IMPORTS).variable("VIRTUAL_ENV", shown).start().await;
    is_used(&server).await;
    // Named by --python, as a folder or its executable.
    for python in [venv.clone(), venv.join("bin/python")] {
        let builder = TestServerBuilder::new().handler("imports", IMPORTS).argument("--python");
        is_used(&builder.argument(python.to_str().unwrap()).start().await).await;
    }
    // Nowhere.
    let server = TestServerBuilder::new().handler("imports", IMPORTS).start().await;
    assert_eq!(server.get("/imports").await.json()[0], "No module named 'only_there'");
    // Beside the handlers: found when the server starts.
    drop(server);
    let mut project = Project::new();
    virtual_environment(&project.folder().join(".venv"), "only_there");
    project.start();
    assert_eq!(project.ask("imports").await[0], "only_there");
    // In the function's folder: that one function's.
    let mut project = Project::new();
    virtual_environment(&project.folder().join("handlers/imports/.venv"), "only_there");
    project.start();
    assert_eq!(project.ask("imports").await[0], "only_there");
    assert_eq!(project.ask("another").await[0], "No module named 'only_there'");
    // One that leads nowhere any more is said, and the function runs without it.
    let mut project = Project::new();
    let broken = project.folder().join("handlers/imports/.venv");
    virtual_environment(&broken, "only_there");
    for entry in std::fs::read_dir(broken.join("bin")).unwrap().flatten() {
        if entry.file_name().to_string_lossy().starts_with("python") {
            std::fs::remove_file(entry.path()).unwrap();
        }
    }
    std::fs::remove_file(broken.join("pyvenv.cfg")).unwrap();
    project.start();
    assert_eq!(project.ask("imports").await[0], "No module named 'only_there'");
    project.says("is NOT used");
    let _ = std::fs::remove_dir_all(&place);
}

/// A project whose folder is prepared before the server starts.
struct Project {
    folder: tempfile::TempDir,
    server: Option<std::process::Child>,
    http: String,
}

impl Project {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["imports", "another"] {
            std::fs::create_dir_all(folder.path().join("handlers").join(name)).unwrap();
            std::fs::write(folder.path().join("handlers").join(name).join("lambda_function.py"), IMPORTS)
                .unwrap();
        }
        Self { folder, server: None, http: String::new() }
    }

    fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn start(&mut self) {
        let output = |name: &str| std::fs::File::create(self.folder().join(name)).unwrap();
        let child = crate::harness::program()
            .arg("serve")
            .arg(self.folder().join("handlers"))
            .args(["--port", "0", "--api-port", "0"])
            .stdout(output("stdout"))
            .stderr(output("stderr"))
            .spawn()
            .unwrap();
        self.server = Some(child);
        let stdout = || std::fs::read_to_string(self.folder().join("stdout")).unwrap();
        eventually("the program says where it is", || stdout().contains("Lambda API"));
        self.http = stdout().split_whitespace().next().unwrap().to_owned();
    }

    async fn ask(&self, name: &str) -> Value {
        reqwest::get(format!("{}/{name}", self.http)).await.unwrap().json().await.unwrap()
    }

    fn says(&self, text: &str) {
        eventually(text, || std::fs::read_to_string(self.folder().join("stderr")).unwrap().contains(text));
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        if let Some(server) = &mut self.server {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

/// What many functions import, and slowly, is imported once, before they are forked.
#[tokio::test]
async fn modules_imported_ahead() {
    let place = tempfile::tempdir().unwrap();
    let venv = std::fs::canonicalize(place.path()).unwrap().join("venv");
    let packages = virtual_environment(&venv, "unused");
    std::fs::write(packages.join("ahead.py"), "import os\nimported_in = os.getpid()\n").unwrap();
    std::fs::write(packages.join("hidden.py"), "WORD = 'theirs'\n").unwrap();
    let thread = "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n";
    std::fs::write(packages.join("threads.py"), thread).unwrap();
    let handler = "
import ahead, os

def lambda_handler(event, context):
    return [ahead.imported_in == os.getpid(), ahead.imported_in == os.getppid()]
";
    let server = |preload: &str| {
        TestServerBuilder::new()
            .handler("imports", handler)
            .handler("shadows", "import hidden\nlambda_handler = lambda event, context: hidden.WORD\n")
            .file("shadows/hidden.py", "WORD = 'mine'\n")
            .argument("--python")
            .argument(venv.to_str().unwrap())
            .argument("--preload")
            .argument(preload)
    };
    let ahead = server("ahead,hidden").start().await;
    assert_eq!(ahead.get("/imports").await.json(), json!([false, true]));
    // A module of the function's own goes before one that was imported ahead.
    assert_eq!(ahead.get("/shadows").await.text(), "mine");
    // What cannot be had is said, and the rest is there all the same.
    let missing = server("no_such_module,ahead").start().await;
    assert_eq!(missing.get("/imports").await.json(), json!([false, true]));
    missing.wait_for_terminal("could not preload `no_such_module`: ModuleNotFoundError");
    // A forked process has one thread: a module that starts others is no good for this.
    let threads = server("ahead,threads").start().await;
    assert_eq!(threads.get("/imports").await.json(), json!([true, false]));
    threads.wait_for_terminal("one of the modules to preload (ahead, threads) starts a thread");
}

/// A `.pth` file may run code as soon as Python starts, and that may start a thread: a process that
/// must not be forked then.
#[tokio::test]
async fn threads_before_the_first_fork() {
    let mut project = Project::new();
    let packages = virtual_environment(&project.folder().join(".venv"), "only_there");
    let elsewhere = project.folder().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    std::fs::write(elsewhere.join("linked_package.py"), "WORD = 'linked'\n").unwrap();
    let thread =
        "import threading, time; threading.Thread(target=time.sleep, args=(600,), daemon=True).start()";
    std::fs::write(packages.join("starts.pth"), format!("{thread}\n")).unwrap();
    std::fs::write(packages.join("linked.pth"), format!("{}\n", elsewhere.display())).unwrap();
    let source = "import only_there, linked_package, threading\n\ndef lambda_handler(event, context):\n    return [only_there.WORD, linked_package.WORD, threading.active_count()]\n";
    std::fs::write(project.folder().join("handlers/imports/lambda_function.py"), source).unwrap();
    project.start();
    let began = std::time::Instant::now();
    assert_eq!(project.ask("imports").await, json!(["only_there", "linked", 1]));
    crate::catalogue::seen(
        "22",
        "a thread before the first fork: not forked from, and said so",
        began.elapsed(),
    );
    project.says("threads before any handler is loaded");
}

#[tokio::test]
async fn the_python_that_a_function_asks_for() {
    let source =
        "import sys\n\ndef lambda_handler(event, context):\n    return '%d.%d' % sys.version_info[:2]\n";
    let server = TestServerBuilder::new()
        .handler("default", source)
        .handler("missing", source)
        .file("missing/function.yaml", "Runtime: python3.99\n")
        .start()
        .await;
    let default = server.get("/default").await.text().to_owned();
    // The nearest is used, and said.
    let nearest = server.get("/missing").await;
    assert_eq!(nearest.status, 200);
    server.wait_for_terminal("asks for python3.99, which is not on this machine");
    // Each of those that this machine has, side by side.
    let doctor = crate::harness::program().arg("doctor").arg(server.handlers()).output().unwrap();
    let doctor = String::from_utf8_lossy(&doctor.stdout).into_owned();
    let mut served = Vec::new();
    for minor in 10..=14 {
        let version = format!("3.{minor}");
        let usable = doctor.lines().any(|line| {
            line.contains(&format!("{version}.")) && line.contains("usable") && !line.contains("cannot")
        });
        if usable {
            let name = format!("asks{minor}");
            server.write(&format!("{name}/lambda_function.py"), source);
            server.write(&format!("{name}/function.yaml"), &format!("Runtime: python{version}\n"));
            assert_eq!(
                server.until(&format!("/{name}"), |answer| answer.status == 200).await.text(),
                version
            );
            served.push(version);
        }
    }
    println!("default {default}, nearest to 3.99 {}, asked for {served:?}\n{doctor}", nearest.text());
}

#[tokio::test]
async fn without_any_python() {
    for (name, builder) in [
        ("--python to nowhere", TestServerBuilder::new().argument("--python").argument("/nowhere/python3")),
        (
            "--python of a version that nobody has",
            TestServerBuilder::new().argument("--python").argument("3.99"),
        ),
    ] {
        let server = builder.handler("hello", "def lambda_handler(event, context): return 1\n").start().await;
        server.wait_for_terminal("CPython 3.10 or newer");
        server.wait_for_terminal("hint: ");
        let answer = server.get("/hello").await;
        assert_eq!((answer.status, answer.text()), (500, r#"{"message":"Internal Server Error"}"#), "{name}");
        let answer = server.invoke("hello", "{}").await;
        assert_eq!(answer.status, 502, "{name}: {}", answer.text());
        assert_eq!(answer.header("x-amzn-errortype"), Some("InvalidRuntimeException"), "{}", answer.text());
        assert_eq!(server.health().await["status"], "ok");
    }
}

async fn log_of(server: &TestServer, name: &str, event: &str) -> (String, String) {
    let answer = server.invoke_with(name, event, &[("x-amz-log-type", "Tail")]).await;
    let log =
        base64::engine::general_purpose::STANDARD.decode(answer.header("x-amz-log-result").unwrap()).unwrap();
    (answer.header("x-amzn-requestid").unwrap().to_owned(), String::from_utf8(log).unwrap())
}

#[tokio::test]
async fn the_log_in_text() {
    let source = "
import logging, sys
print('loading')
log = logging.getLogger(__name__)

def lambda_handler(event, context):
    print('printed')
    print('to stderr', file=sys.stderr)
    log.info('not shown')
    log.warning('careful, %s', 'please')
    logging.getLogger().setLevel(logging.INFO)
    log.info('shown now')
    context.log('by the context\\n')
    if event: raise ValueError('as asked')
";
    let server = TestServer::with_handler("talks", source).await;
    let (id, log) = log_of(&server, "talks", "{}").await;
    let lines: Vec<&str> = log.lines().collect();
    assert!(lines[0].starts_with("INIT_START Runtime Version: python:3."), "{log}");
    assert_eq!(
        lines[1..5],
        ["loading", &format!("START RequestId: {id} Version: $LATEST"), "printed", "to stderr"],
        "{log}"
    );
    let (time, rest) = lines[5].strip_prefix("[WARNING]\t").unwrap().split_once('\t').unwrap();
    assert!(time.len() == 24 && time.ends_with('Z'), "{time}");
    assert_eq!(rest, format!("{id}\tcareful, please"));
    assert!(lines[6].starts_with("[INFO]\t") && lines[6].ends_with(&format!("\t{id}\tshown now")), "{log}");
    assert_eq!(lines[7..9], ["by the context", &*format!("END RequestId: {id}")], "{log}");
    let report: Vec<&str> = lines[9].split('\t').collect();
    assert_eq!(report[0], format!("REPORT RequestId: {id}"));
    for (field, (name, unit)) in report[1..6].iter().zip([
        ("Duration", " ms"),
        ("Billed Duration", " ms"),
        ("Memory Size", " MB"),
        ("Max Memory Used", " MB"),
        ("Init Duration", " ms"),
    ]) {
        let value = field.strip_prefix(&format!("{name}: ")).and_then(|field| field.strip_suffix(unit));
        assert!(value.is_some_and(|value| value.parse::<f64>().is_ok_and(|value| value > 0.0)), "{field}");
    }
    assert_eq!(report[3], "Memory Size: 128 MB");
    assert_eq!(report[6..], [""], "a tab before the end of the line");
    let (_, log) = log_of(&server, "talks", "{}").await;
    assert!(log.starts_with("START ") && !log.contains("Init Duration"), "{log}");
    let (_, log) = log_of(&server, "talks", "1").await;
    assert!(
        log.contains("[ERROR] ValueError: as asked\nTraceback (most recent call last):\n\u{a0}\u{a0}File \""),
        "{log}"
    );
}

#[tokio::test]
async fn the_log_in_json() {
    let source = "
import logging
log = logging.getLogger('mine')

def lambda_handler(event, context):
    print('printed')
    log.debug('not shown')
    log.info({'what': 'object'}, extra={'size': 5})
    log.warning('careful')
    if event: raise ValueError('as asked')
";
    let configuration = |level: &str| format!("LoggingConfig:\n  LogFormat: JSON\n{level}");
    let server = TestServerBuilder::new()
        .handler("talks", source)
        .file("talks/function.yaml", &configuration(""))
        .handler("quiet", source)
        .file("quiet/function.yaml", &configuration("  ApplicationLogLevel: WARN\n"))
        .handler("loud", source)
        .file("loud/function.yaml", &configuration("  ApplicationLogLevel: TRACE\n"))
        .start()
        .await;
    let (id, log) = log_of(&server, "talks", "1").await;
    let records: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let types: Vec<&str> = records.iter().filter_map(|record| record["type"].as_str()).collect();
    assert_eq!(types, ["platform.initStart", "platform.start", "platform.report"], "{log}");
    assert!(log.contains("\nprinted\n"), "what is printed stays as it is: {log}");
    let of_level = |level: &str| {
        records
            .iter()
            .find(|record| record["level"] == level)
            .unwrap_or_else(|| panic!("no {level} in {log}"))
    };
    let info = of_level("INFO");
    assert_eq!(
        (&info["message"], &info["logger"], &info["requestId"], &info["size"]),
        (&json!({"what": "object"}), &json!("mine"), &json!(id), &json!(5))
    );
    assert_eq!(of_level("WARNING")["message"], "careful");
    let error = records
        .iter()
        .find(|record| record["errorType"] == "ValueError" && record["type"].is_null())
        .unwrap();
    assert_eq!((&error["errorMessage"], &error["requestId"]), (&json!("as asked"), &json!(id)));
    assert!(!log.contains("not shown"));
    let report = &records.last().unwrap()["record"];
    assert_eq!(report["requestId"], id);
    assert!(report["metrics"]["durationMs"].is_number() && report["metrics"]["initDurationMs"].is_number());

    let (_, log) = log_of(&server, "quiet", "{}").await;
    assert!(log.contains("careful") && !log.contains("object"), "{log}");
    let (_, log) = log_of(&server, "loud", "{}").await;
    assert!(log.contains("not shown"), "{log}");
}

/// Nothing is started for functions that nobody asks for.
#[tokio::test]
async fn an_idle_server_is_small() {
    let mut builder = TestServerBuilder::new();
    for number in 0..20 {
        builder = builder.handler(&format!("f{number}"), "def lambda_handler(event, context): return 1\n");
    }
    let server = builder.start().await;
    let began = Instant::now();
    while server.health().await["zygotes"].as_array().unwrap().is_empty() {
        assert!(began.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(descendants(server.pid().into()).len(), 1, "the zygote and nothing else");
}

/// Else it would push the gateway off its processor whenever it is woken (docs/performance.md).
#[tokio::test]
async fn environments_give_way_to_the_gateway() {
    let source = "import os\ndef lambda_handler(event, context):\n    return os.sched_getscheduler(0) == os.SCHED_BATCH\n";
    let server = TestServerBuilder::new().handler("modest", source).start().await;
    assert_eq!(server.invoke("modest", "{}").await.text(), "true");
}

/// Whoever starts next finds the fork behind them.
#[tokio::test]
async fn the_next_environment_is_forked_ahead() {
    let source = "import os\ndef lambda_handler(event, context):\n    return os.getpid()\n";
    let server = TestServerBuilder::new().handler("who", source).start().await;
    let answer = || async { server.invoke("who", "{}").await.json().as_i64().unwrap() };
    let first = answer().await;
    let zygote = server.health().await["zygotes"][0].as_i64().unwrap();
    let spare = || {
        eventually("there is a spare child", || spare_of(zygote).is_some());
        spare_of(zygote).unwrap()
    };
    let end = |pid: i64| {
        kill(pid);
        eventually("it has ended", || !runs(pid));
    };
    let ahead = spare();
    assert_ne!(ahead, first);
    end(first);
    assert_eq!(answer().await, ahead);
    // One that is gone is not missed.
    let gone = spare();
    end(gone);
    end(ahead);
    assert_ne!(answer().await, gone);
    // None outlives its zygote.
    let last = spare();
    kill(zygote);
    eventually("the spare child ends with its zygote", || !runs(last));
    answer().await;
}
