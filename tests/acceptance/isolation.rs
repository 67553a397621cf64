//! A handler that tries to get out: what it is refused, that the same tries get through where the
//! defences are off, and that honest handlers notice nothing.

use std::collections::BTreeMap;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Stdio;

use serde_json::json;

use crate::catalogue::seen;
use crate::harness::{TestServer, TestServerBuilder, eventually, program};

const SPY: &str = r#"
import ctypes, os, resource, socket, tempfile

libc = ctypes.CDLL(None, use_errno=True)


def call(result):
    if result == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def read(path):
    with open(path, "rb") as file:
        return file.read(64)


def write(path):
    with open(path, "ab"):
        pass


def in_a_child(attempt):
    if (pid := os.fork()) == 0:
        try:
            attempt()
        except OSError as error:
            os._exit(error.errno)
        os._exit(0)
    if code := os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]):
        raise OSError(code, os.strerror(code))


def by_symbolic_link(target):
    link = os.path.join(tempfile.mkdtemp(), "link")
    os.symlink(target, link)
    return os.listdir(link)


def by_hard_link(target):
    link = os.path.join(tempfile.mkdtemp(), "link")
    os.link(target, link)
    return read(link)


def peek(pid, address):
    buffer = ctypes.create_string_buffer(8)
    pair = (ctypes.c_void_p * 2)(ctypes.addressof(buffer), 8)
    call(libc.process_vm_readv(pid, pair, 1, (ctypes.c_void_p * 2)(address, 8), 1, 0))


def abstract(name):
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect("\0" + name)


def refused_call(number, *arguments):
    # Others complain about the arguments, which come after the question who may.
    refused(libc.syscall(number, *arguments) == -1 and ctypes.get_errno() == 1)


def refused(condition):
    if condition:
        raise PermissionError(1, "refused")


def lambda_handler(event, context):
    gateway, sibling = event["gateway"], event["sibling"]
    attempts = {
        "read the state folder": lambda: os.listdir(event["state"]),
        "read the state folder by a symbolic link": lambda: by_symbolic_link(event["state"]),
        "read another function's code": lambda: read(event["code"]),
        "read another function's code by a hard link": lambda: by_hard_link(event["code"]),
        "read another function's variables": lambda: read(f"/proc/{sibling}/environ"),
        "read the gateway's variables": lambda: read(f"/proc/{gateway}/environ"),
        "open the gateway's memory": lambda: os.close(os.open(f"/proc/{gateway}/mem", os.O_RDONLY)),
        "open the zygote's memory": lambda: os.close(os.open(f"/proc/{os.getppid()}/mem", os.O_RDONLY)),
        "look into the gateway's memory": lambda: peek(gateway, event["address"]),
        "write its own code": lambda: write(__file__),
        "write into another function's folder": lambda: write(os.path.join(event["temporary"], "note")),
        "write outside": lambda: write(event["outside"]),
        "signal the gateway": lambda: os.kill(gateway, 0),
        "signal the zygote": lambda: os.kill(os.getppid(), 0),
        "signal another function": lambda: os.kill(sibling, 0),
        "call an abstract socket": lambda: abstract(event["socket"]),
        "trace a process": lambda: in_a_child(lambda: call(libc.ptrace(0, 0, 0, 0))),
        "make a namespace": lambda: in_a_child(lambda: call(libc.unshare(0x10000000))),
        "enter a namespace": lambda: refused_call(event["setns"], -1, 0),
        "use the kernel's keys": lambda: call(libc.syscall(event["keyctl"], 0, -3, 1)),
        "load a program into the kernel": lambda: refused_call(event["bpf"], 0, None, 0),
        "open a ring of system calls": lambda: refused_call(event["io_uring"], 0, None),
        "mount": lambda: refused(libc.mount(b"n", b"/no/such", b"tmpfs", 0, None) and ctypes.get_errno() == 1),
        "become another user": lambda: in_a_child(lambda: os.setuid(event["user"])),
        "gain rights by a setuid program": lambda: refused(libc.prctl(39, 0, 0, 0, 0) == 1),
        "leave a core dump": lambda: refused(resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)),
    }
    table = {}
    for name, attempt in attempts.items():
        try:
            attempt()
            table[name] = "got through"
        except OSError as error:
            # What may not be linked is, to whom it is closed, on another device.
            codes = (1, 13, 18) if name.endswith("hard link") else (1, 13)
            table[name] = "refused" if error.errno in codes else f"failed: {error}"
    return table
"#;

const SIBLING: &str = "
import os


def lambda_handler(event, context):
    return os.getpid()
";

/// What tier 0 refuses already.
const ALWAYS: [&str; 2] = ["gain rights by a setuid program", "leave a core dump"];

/// Tells whether anybody has sent it a signal that otherwise nobody minds.
const LISTENER: &str = "
import os, signal

heard = []
signal.signal(signal.SIGURG, lambda *_: heard.append(1))


def lambda_handler(event, context):
    return {'heard': len(heard), 'temporary': os.environ['TMPDIR'], 'pid': os.getpid()}
";

/// A user who is nobody in particular, for what runs as root otherwise.
pub const NOBODY: u32 = 65534;

/// Where something of a process lies that can be read.
fn first_address(pid: i32) -> u64 {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let line = maps.lines().find(|line| line.contains(" r--p ")).unwrap();
    u64::from_str_radix(line.split('-').next().unwrap(), 16).unwrap()
}

async fn escapes(builder: TestServerBuilder, isolation: &str) -> BTreeMap<String, String> {
    let spy = format!("{SPY}\n\ndef call_all(event, context):\n    os.kill(-1, 23)\n");
    let server = builder
        .handler("spy", &spy)
        .handler("caller", &spy)
        .file("caller/function.yaml", "Handler: lambda_function.call_all\n")
        .handler("sibling", LISTENER)
        .file("sibling/function.yaml", "Environment:\n  Variables:\n    SECRET: canary\n")
        .confined()
        .variable("HANDLERD_ISOLATION", isolation)
        .start()
        .await;
    let name = format!("handlerd-test-{}-{isolation}", server.pid());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let _listener = UnixListener::bind_addr(&address).unwrap();
    let sibling = server.invoke("sibling", "{}").await.json();
    let is_root = std::os::linux::fs::MetadataExt::st_uid(
        &std::fs::metadata(format!("/proc/{}", server.pid())).unwrap(),
    ) == 0;
    let arm = cfg!(target_arch = "aarch64");
    let event = json!({
        "gateway": server.pid(),
        "sibling": sibling["pid"],
        "temporary": sibling["temporary"],
        "state": server.state_dir(),
        "code": server.handlers().join("sibling/lambda_function.py"),
        "outside": server.folder().join("note"),
        "socket": name,
        "address": first_address(server.pid()),
        "user": if is_root { NOBODY } else { 0 },
        "keyctl": if arm { 219 } else { 250 },
        "setns": if arm { 268 } else { 308 },
        "bpf": if arm { 280 } else { 321 },
        "io_uring": 425,
    });
    let answer = server.invoke("spy", &event.to_string()).await;
    assert_eq!(answer.header("x-amz-function-error"), None, "{}", answer.text());
    let mut table: BTreeMap<String, String> = serde_json::from_slice(&answer.body).unwrap();
    // The kernel tells nobody that such a signal has reached nobody.
    server.invoke("caller", "{}").await;
    let after = server.invoke("sibling", "{}").await.json();
    assert_eq!(after["pid"], sibling["pid"]);
    let heard = if after["heard"] == 0 { "refused" } else { "got through" };
    table.insert("signal everybody".to_owned(), heard.to_owned());
    for (attempt, result) in &table {
        println!("--isolation {isolation}: {attempt}: {result}");
    }
    table
}

#[tokio::test]
async fn a_handler_does_not_get_out() {
    let table = escapes(TestServerBuilder::new(), "auto").await;
    assert!(table.len() >= 25);
    for (attempt, result) in &table {
        assert_eq!(result, "refused", "{attempt}");
    }
    seen("T18", format!("{0} of {0} ways out refused: {1}", table.len(), names(&table)), None);
}

fn names(table: &BTreeMap<String, String>) -> String {
    table.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
}

/// Whether an ordinary user can run the program and a Python; says so if not.
pub fn nobody_can_run_it() -> bool {
    let program = program();
    let mut command = std::process::Command::new(program.get_program());
    command.args(["--version"]).current_dir("/").stdin(Stdio::null()).stdout(Stdio::null());
    if rustix::process::getuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    let runs = command.status().is_ok_and(|status| status.success());
    let python =
        ["/usr/local/bin", "/usr/bin"].iter().any(|folder| Path::new(folder).join("python3").exists());
    if !(runs && python) {
        println!("NOT SHOWN: an ordinary user cannot run the program here, or has no python3");
    }
    runs && python
}

/// As most people run it: all of it works, but for the control group, and that is told.
#[tokio::test]
async fn an_ordinary_users_handler_does_not_get_out_either() {
    if !nobody_can_run_it() {
        return;
    }
    let table = escapes(TestServerBuilder::new().user(NOBODY), "auto").await;
    for (attempt, result) in &table {
        assert_eq!(result, "refused", "{attempt}");
    }
    let server = TestServerBuilder::new()
        .handler("sibling", SIBLING)
        .user(NOBODY)
        .confined()
        .argument("--require-isolation")
        .argument("1")
        .start()
        .await;
    assert_eq!(server.invoke("sibling", "{}").await.status, 200);
    let isolation = server.health().await["isolation"].clone();
    assert_eq!(isolation["tier"], 1);
    let has = |part: &str| isolation["parts"].as_array().unwrap().contains(&json!(part));
    for part in ["own session", "files", "other processes", "signals", "abstract sockets", "system calls"] {
        assert!(has(part), "{part}: {isolation}");
    }
    if rustix::process::getuid().is_root() {
        let missing = isolation["missing"].as_array().unwrap();
        let count = missing.iter().find(|part| part["part"] == "process count").expect("no group of its own");
        assert!(count["why"].as_str().unwrap().contains("control group"), "{count}");
    }
    seen("T18", format!("without root too: {0} of {0}; tier {1}", table.len(), isolation["tier"]), None);
}

/// The same tries with the defences off: else they would prove nothing above.
#[tokio::test]
async fn without_isolation_it_does() {
    let table = escapes(TestServerBuilder::new(), "0").await;
    // Some of it only root may, whatever else is off.
    let roots = ["mount", "become another user", "make a namespace", "load a program into the kernel"];
    for (attempt, result) in &table {
        if ALWAYS.contains(&attempt.as_str()) {
            assert_eq!(result, "refused", "{attempt}");
        } else if rustix::process::getuid().is_root() || !roots.contains(&attempt.as_str()) {
            assert_eq!(result, "got through", "{attempt}");
        }
    }
}

const HONEST: &str = r#"
import concurrent.futures, json, multiprocessing, os, signal, socket, sqlite3, ssl, subprocess, sys, tempfile
import urllib.request, zoneinfo
import shared, from_layer

CONFIGURATION = json.load(open("settings.json"))


def lambda_handler(event, context):
    with tempfile.NamedTemporaryFile("w+") as file:
        file.write("kept")
        os.rename(file.name, file.name + ".renamed")
        os.rename(file.name + ".renamed", file.name)
    database = sqlite3.connect(os.path.join(tempfile.gettempdir(), "items.db"))
    database.execute("create table if not exists items (name)")
    database.execute("insert into items values ('one')")
    database.commit()
    with open(os.path.join(os.environ["HANDLERD_BUCKETS"], "photos", "cat.txt"), "w") as file:
        file.write("miau")
    child = subprocess.Popen(["sleep", "60"])
    os.kill(child.pid, signal.SIGTERM)
    multiprocessing.Lock()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        squares = list(pool.map(lambda number: number * number, range(8)))
    with urllib.request.urlopen(os.environ["AWS_ENDPOINT_URL_LAMBDA"] + "/health") as answer:
        health = json.load(answer)
    return {
        "configuration": CONFIGURATION,
        "shared": shared.NAME,
        "layer": from_layer.NAME,
        "sleep": child.wait(),
        "squares": squares[-1],
        "python": subprocess.run([sys.executable, "-c", "print(1)"], capture_output=True, text=True).stdout,
        "host": socket.gethostbyname("localhost"),
        "certificates": ssl.create_default_context() is not None,
        "zone": str(zoneinfo.ZoneInfo("Europe/Berlin")) if os.path.isdir("/usr/share/zoneinfo") else None,
        "null": open(os.devnull, "w").write("nothing"),
        "self": "VmRSS" in open("/proc/self/status").read(),
        "health": health["isolation"]["tier"],
    }
"#;

#[tokio::test]
async fn honest_handlers_notice_nothing() {
    let builder = TestServerBuilder::new()
        .handler("honest", HONEST)
        .file("honest/settings.json", "{\"colour\": \"red\"}")
        .project_file("common/shared.py", "NAME = 'shared'\n")
        .project_file("layer/python/from_layer.py", "NAME = 'layer'\n")
        .project_file("buckets/photos/.keep", "")
        .file("honest/function.yaml", "Timeout: 20\nMemorySize: 512\nLayers: [../../layer]\n")
        .confined();
    // As people do who share code between functions.
    let link = builder.folder().join("handlers/honest/shared.py");
    std::os::unix::fs::symlink(builder.folder().join("common/shared.py"), link).unwrap();
    let server = builder.start().await;
    let answer = server.invoke("honest", "{}").await;
    assert_eq!(answer.header("x-amz-function-error"), None, "{}", answer.text());
    let told = answer.json();
    assert_eq!(told["configuration"], json!({"colour": "red"}));
    assert_eq!((&told["shared"], &told["layer"]), (&json!("shared"), &json!("layer")));
    assert_eq!((&told["sleep"], &told["squares"]), (&json!(-15), &json!(49)));
    assert_eq!((&told["python"], &told["host"]), (&json!("1\n"), &json!("127.0.0.1")));
    assert_eq!((&told["null"], &told["self"], &told["health"]), (&json!(7), &json!(true), &json!(1)));
    assert_eq!(std::fs::read_to_string(server.folder().join("buckets/photos/cat.txt")).unwrap(), "miau");
}

const NOTES: &str = "
import os


def lambda_handler(event, context):
    with open(os.path.join(os.path.dirname(__file__), '..', '..', 'notes', 'note.txt'), 'w') as file:
        file.write('written')
    return 'written'
";

#[tokio::test]
async fn what_is_closed_is_explained_and_can_be_opened() {
    let builder = || {
        let builder = TestServerBuilder::new().handler("notes", NOTES).project_file("notes/.keep", "");
        builder.confined()
    };
    let server = builder().start().await;
    let answer = server.invoke("notes", "{}").await;
    assert_eq!(answer.json()["errorType"], "PermissionError");
    server.wait_for_terminal("as on Lambda, handlers may write only to /tmp");

    let builder = builder();
    let folder = builder.folder().join("notes").display().to_string();
    let server = builder.argument("--writable").argument(&folder).start().await;
    assert_eq!(server.invoke("notes", "{}").await.json(), "written");
}

/// `CodeUri: .` and the state folder inside of it.
#[tokio::test]
async fn the_state_folder_stays_closed_inside_of_a_functions_own() {
    let template = "
AWSTemplateFormatVersion: '2010-09-09'
Transform: AWS::Serverless-2016-10-31
Resources:
  Whole:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: .
      Handler: app.handler
      Runtime: python3.11
";
    let source = "
import os, own.part

def handler(event, context):
    try:
        names = [open(os.path.join('.handlerd', name)) for name in os.listdir('.handlerd') if '.' in name]
        return f'read {len(names)}'
    except PermissionError:
        return open('own/part.py').read().strip()
";
    let server = TestServerBuilder::template(template)
        .project_file("app.py", source)
        .project_file("own/part.py", "PART = 1\n")
        .confined()
        .start()
        .await;
    let answer = server.invoke("Whole", "{}").await;
    assert_eq!(answer.json(), "PART = 1", "{}", answer.text());
}

#[tokio::test]
async fn what_is_in_force_is_told() {
    let server = TestServer::with_handler("sibling", SIBLING).await;
    server.wait_for_terminal(
        "isolation of handlers: tier 1 (files, other processes, signals, abstract sockets)",
    );
    let isolation = server.health().await["isolation"].clone();
    assert_eq!(isolation["tier"], 1);
    let overview = server.send(server.client.get(format!("{}/_handlerd/overview", server.api))).await.json();
    assert_eq!(overview["isolation"], isolation, "the console shows the same");
    assert!(isolation["parts"].as_array().unwrap().contains(&json!("system calls")), "{isolation}");
    assert!(isolation["missing"].as_array().unwrap().iter().any(|part| part["tier"] == 2), "{isolation}");

    let builder = TestServerBuilder::new().handler("sibling", SIBLING).argument("--isolation").argument("0");
    let server = builder.start().await;
    server.wait_for_terminal("isolation of handlers: tier 0");
    let isolation = server.health().await["isolation"].clone();
    assert_eq!(isolation["tier"], 0);
    let parts = isolation["parts"].as_array().unwrap();
    assert!(!parts.contains(&json!("files")) && !parts.contains(&json!("system calls")), "{isolation}");
}

#[tokio::test]
async fn what_is_required_and_not_there_is_refused() {
    let builder = TestServerBuilder::new().handler("sibling", SIBLING);
    let handlers = builder.folder().join("handlers");
    for (arguments, told) in [
        (&["--require-isolation", "2"][..], "missing: namespaces (tier 2)"),
        (&["--require-isolation", "1", "--isolation", "0"], "switches off what"),
        (&["--require-isolation", "5"], "5 is not in 0..=4"),
        (&["--writable", "/there/is/no/such/folder"], "cannot be allowed to write"),
        (&["--isolation", "3"], "possible values: auto, 0"),
    ] {
        let mut command = program();
        command.arg("serve").arg(&handlers).args(["--port", "0", "--api-port", "0"]).args(arguments);
        let output = command.stdin(Stdio::null()).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && stderr.contains(told), "{arguments:?}: {stderr}");
    }
    let server = builder.argument("--require-isolation").argument("1").start().await;
    assert_eq!(server.invoke("sibling", "{}").await.status, 200);
}

/// Nothing of the control group is left when the gateway has ended.
#[tokio::test]
async fn control_groups_go_with_the_gateway() {
    let mut server = TestServer::with_handler("sibling", SIBLING).await;
    server.invoke("sibling", "{}").await;
    let health = server.health().await;
    let zygote = health["zygotes"][0].as_i64().unwrap();
    let group = std::fs::read_to_string(format!("/proc/{zygote}/cgroup")).unwrap();
    let name = format!("handlerd-{zygote}");
    let line = group.lines().find(|line| line.ends_with(&name));
    let counted = health["isolation"]["parts"].as_array().unwrap().contains(&json!("process count"));
    assert_eq!(line.is_some(), counted, "{group}{}", health["isolation"]);
    server.signal(rustix::process::Signal::TERM);
    assert!(server.wait_for_exit().success());
    if let Some(path) = line.and_then(|line| line.splitn(3, ':').nth(2)) {
        let folders = ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"].map(|root| format!("{root}{path}"));
        eventually("the group is gone", || {
            folders.iter().all(|folder| !std::path::Path::new(folder).exists())
        });
    }
}
