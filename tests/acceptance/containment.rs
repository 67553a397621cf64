//! Handlers that take too much, multiply, or leave something running: how soon they are ended, that nothing
//! of them is left, and that their neighbours are served meanwhile. How each end is told is in `faults`.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::catalogue::seen;
use crate::faults::{Laboratory, wait_for_number};
use crate::harness::{PATIENCE, TestServer, TestServerBuilder};
use crate::isolation::{NOBODY, nobody_can_run_it};
use crate::processes::{descendants, runs, spare_of, state};

/// A goal that a busy machine may miss: with the others of this binary at its side a test allows more.
const LENIENCE: u32 = 8;

/// Waits less than other tests do, because these are to be red soon.
fn soon(what: &str, limit: Duration, mut fact: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !fact() {
        assert!(began.elapsed() < limit, "not true after {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
    began.elapsed()
}

const SIBLING: &str = "
import os


def lambda_handler(event, context):
    return os.getpid()
";

/// Says who it is, and takes more than its 128 MB.
const HOG: &str = "
import os, time


def lambda_handler(event, context):
    with open(event['file'] + '.new', 'w') as file:
        file.write(str(os.getpid()))
    os.rename(event['file'] + '.new', event['file'])
    kept = []
    while len(kept) < 1024:
        kept.append(bytearray(1 << 20))
    time.sleep(60)
";

/// How long it has had more than 128 MB before it was dead; none, if nobody has ever seen it so.
fn time_above_its_limit(pid: i64) -> Duration {
    let mut crossed = None;
    soon("the hog is dead", Duration::from_secs(10), || {
        let resident = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok();
        let pages = resident.and_then(|line| line.split(' ').nth(1)?.parse::<usize>().ok()).unwrap_or(0);
        if pages * rustix::param::page_size() > 128 << 20 {
            crossed.get_or_insert_with(Instant::now);
        }
        !runs(pid)
    });
    crossed.map_or(Duration::ZERO, |crossed| crossed.elapsed())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hog_is_killed_soon_after_it_has_crossed_its_limit() {
    let server = TestServerBuilder::new()
        .handler("hog", HOG)
        .file("hog/function.yaml", "Timeout: 20\nMemorySize: 128\n")
        .start()
        .await;
    let mut slowest = Duration::ZERO;
    for round in 0..3 {
        let file = server.folder().join(format!("hog-{round}"));
        let event = serde_json::json!({ "file": file }).to_string();
        let watched = async {
            let pid = wait_for_number(&file).await;
            tokio::task::spawn_blocking(move || time_above_its_limit(pid)).await.unwrap()
        };
        let (answer, took) = tokio::join!(server.invoke("hog", &event), watched);
        assert_eq!(answer.json()["errorType"], "Runtime.ExitError", "{}", answer.text());
        slowest = slowest.max(took);
    }
    assert!(slowest < LENIENCE * Duration::from_millis(500), "killed after {slowest:?}");
    seen("11", "dead after it had crossed its 128 MB", slowest);
}

/// Daemons, each in a session of its own: no process group reaches them.
const CROWD: &str = "
import os, time


def lambda_handler(event, context):
    for _ in range(1200):
        if os.fork() == 0:
            os.setsid()
            time.sleep(600)
            os._exit(0)
    time.sleep(2)
    return 'all are there'
";

/// Who doubles without end; the second, each in a session of its own.
const BOMBS: [(&str, &str); 2] = [
    (
        "in one group",
        "
import os


def lambda_handler(event, context):
    while True:
        try:
            os.fork()
        except OSError:
            pass
",
    ),
    (
        "each in a session of its own",
        "
import os


def lambda_handler(event, context):
    while True:
        try:
            if os.fork() == 0:
                os.setsid()
        except OSError:
            pass
",
    ),
];

#[tokio::test]
async fn a_crowd_of_processes_is_bounded_and_leaves_nothing() {
    crowd(TestServerBuilder::new(), "a crowd").await;
    if nobody_can_run_it() {
        crowd(TestServerBuilder::new().user(NOBODY), "an ordinary user's").await;
    }
}

async fn crowd(builder: TestServerBuilder, whose: &str) {
    let server = builder
        .handler("crowd", CROWD)
        .file("crowd/function.yaml", "Timeout: 30\nMemorySize: 8192\n")
        .handler("sibling", SIBLING)
        .start()
        .await;
    let sibling = server.invoke("sibling", "{}").await.json();
    let before: Vec<i64> = descendants(server.pid().into());
    let answer = server.invoke("crowd", "{}").await;
    assert_eq!(answer.json()["errorType"], "Runtime.ExitError", "{}", answer.text());
    server.wait_for_terminal("crowd was ended: it had started 1024 processes");
    let took = soon("all of them are gone", Duration::from_secs(30), || {
        descendants(server.pid().into()).iter().all(|pid| before.contains(pid) || state(*pid).is_none())
    });
    assert!(runs(sibling.as_i64().unwrap()));
    assert_eq!(server.invoke("sibling", "{}").await.json(), sibling);
    seen(
        "13",
        format!("{whose} ended at 1,024, the neighbour kept its environment; gone after its answer"),
        took,
    );
}

/// How many processes the environments of a server are: the kernel's count, where it counts.
struct Census {
    counter: Option<PathBuf>,
    gateway: i64,
}

impl Census {
    async fn of(server: &TestServer) -> Self {
        let zygote = server.health().await["zygotes"][0].as_i64().unwrap();
        // It is counted too, before and after.
        soon("there is a spare child", PATIENCE, || spare_of(zygote).is_some());
        let group = std::fs::read_to_string(format!("/proc/{zygote}/cgroup")).unwrap();
        let name = format!("handlerd-{zygote}");
        let path =
            group.lines().find(|line| line.ends_with(&name)).and_then(|line| line.splitn(3, ':').nth(2));
        let folders = |path| ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"].map(|root| format!("{root}{path}"));
        let counters = path.map(folders).into_iter().flatten().map(|folder| format!("{folder}/pids.current"));
        let counter = counters.map(PathBuf::from).find(|path| path.exists());
        Self { counter, gateway: server.pid().into() }
    }

    fn count(&self) -> usize {
        match &self.counter {
            Some(path) => std::fs::read_to_string(path).unwrap().trim().parse().unwrap(),
            None => descendants(self.gateway).len(),
        }
    }
}

fn p99(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[(times.len() - 1) * 99 / 100]
}

/// Asks a neighbour again and again until this is over; how long it took each time.
async fn asked_while(server: &TestServer, expected: &Value, over: &AtomicBool) -> Vec<Duration> {
    let mut times = Vec::new();
    while !over.load(Ordering::Relaxed) || times.is_empty() {
        let began = Instant::now();
        assert_eq!(&server.invoke("sibling", "{}").await.json(), expected);
        times.push(began.elapsed());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    times
}

/// How long a bomb was more than a crowd, and how long after its invocation it was all gone.
async fn watch_bomb(server: &TestServer, census: &Census, before: usize) -> (Duration, Duration) {
    let url = format!("{}/2015-03-31/functions/bomb/invocations", server.api);
    let asked = tokio::spawn(server.client.post(url).body("{}").send());
    let began = Instant::now();
    let mut crossed = None;
    let mut most = 0;
    let told = loop {
        let count = census.count();
        most = most.max(count);
        if count >= 1024 {
            crossed.get_or_insert_with(Instant::now);
        }
        if asked.is_finished() {
            break Instant::now();
        }
        assert!(began.elapsed() < Duration::from_secs(60), "the bomb is not ended; {count} processes");
        tokio::time::sleep(Duration::from_millis(1)).await;
    };
    let answer: Value = asked.await.unwrap().unwrap().json().await.unwrap();
    assert_eq!(answer["errorType"], "Runtime.ExitError", "{answer}");
    while census.count() > before {
        assert!(told.elapsed() < Duration::from_secs(30), "{} processes are left", census.count());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let crossed = crossed.unwrap_or(told);
    println!("at most {most} processes");
    (crossed.elapsed(), told.elapsed())
}

#[tokio::test(flavor = "multi_thread")]
async fn bombs_are_cleared_and_neighbours_are_served() {
    for (name, source) in BOMBS {
        let server = TestServerBuilder::new()
            .handler("bomb", source)
            .file("bomb/function.yaml", "Timeout: 30\nMemorySize: 10240\n")
            .handler("sibling", SIBLING)
            .start()
            .await;
        let sibling = server.invoke("sibling", "{}").await.json();
        let census = Census::of(&server).await;
        let before = census.count();
        let (quiet, over) = (AtomicBool::new(false), AtomicBool::new(false));
        let rest = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            quiet.store(true, Ordering::Relaxed);
        };
        let (usual, ()) = tokio::join!(asked_while(&server, &sibling, &quiet), rest);
        let bomb = async {
            let watched = watch_bomb(&server, &census, before).await;
            over.store(true, Ordering::Relaxed);
            watched
        };
        let (meanwhile, (after_crossing, after_answer)) =
            tokio::join!(asked_while(&server, &sibling, &over), bomb);
        let (asked, usual, meanwhile) = (meanwhile.len(), p99(usual), p99(meanwhile));
        let crossing = after_crossing.as_secs_f64() * 1e3;
        seen(
            "13",
            format!(
                "a bomb, {name}: gone {crossing:.0} ms after it was 1,024; {asked} requests to a neighbour, \
                 p99 {meanwhile:.1?} (usually {usual:.1?}); gone after its answer"
            ),
            after_answer,
        );
        assert!(
            after_answer < LENIENCE * Duration::from_millis(250),
            "{name}: cleared after {after_answer:?}"
        );
        assert!(meanwhile < Duration::from_secs(2), "{name}: the neighbour took {meanwhile:?}");
        // Whoever wants to start something can, as before.
        let starts = "import subprocess\ndef lambda_handler(event, context):\n    return subprocess.run(['true']).returncode\n";
        server.write("starts/lambda_function.py", starts);
        let began = Instant::now();
        while server.invoke("starts", "{}").await.text() != "0" {
            assert!(began.elapsed() < Duration::from_secs(20), "nothing can be started any more");
        }
    }
}

/// Answers at once; what it has left behind multiplies while nobody waits.
const SLEEPER: &str = "
import os, time


def lambda_handler(event, context):
    if os.fork() == 0:
        if os.fork() == 0:
            os.setsid()
            kept = [bytearray(1 << 20) for _ in range(event.get('megabytes', 0))]
            for _ in range(event.get('processes', 0)):
                if os.fork() == 0:
                    time.sleep(600)
                    os._exit(0)
            time.sleep(600)
        os._exit(0)
    return os.getpid()
";

#[tokio::test]
async fn what_grows_while_its_environment_rests_is_ended_too() {
    let server = TestServerBuilder::new()
        .handler("sleeper", SLEEPER)
        .file("sleeper/function.yaml", "Timeout: 20\nMemorySize: 256\n")
        .handler("parent", SLEEPER)
        .file("parent/function.yaml", "Timeout: 20\nMemorySize: 10240\n")
        .start()
        .await;
    for (name, event, limit, told) in [
        (
            "sleeper",
            r#"{"megabytes": 400}"#,
            Duration::from_secs(8),
            "left behind came to more than 256 MB, its MemorySize",
        ),
        ("parent", r#"{"processes": 1200}"#, PATIENCE, "parent was ended: it had started 1024 processes"),
    ] {
        let began = Instant::now();
        let pid = server.invoke(name, event).await.json().as_i64().unwrap();
        soon(&format!("{name}: its environment is gone"), limit, || state(pid).is_none());
        server.wait_for_terminal(told);
        let zygotes = server.health().await["zygotes"].as_array().unwrap().len();
        soon(&format!("{name}: all is gone"), PATIENCE, || descendants(server.pid().into()).len() == zygotes);
        seen("13", format!("left behind by an answer ({event}): ended while it rested"), began.elapsed());
    }
}

/// Forked twice, in a session of its own, deaf to what may be ignored.
const DAEMON: &str = "
import os, signal, time
reader, writer = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for s in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP): signal.signal(s, signal.SIG_IGN)
        os.write(writer, str(os.getpid()).encode())
        time.sleep(600)
    os._exit(0)
os.close(writer)
os.wait()
result['daemon'] = int(os.read(reader, 20))
";

#[tokio::test]
async fn a_daemon_goes_with_its_environment() {
    let lab = Laboratory::open("Timeout: 20\n").await;
    let daemon = lab.run(DAEMON).await.value()["daemon"].as_i64().unwrap();
    assert!(runs(daemon), "it lives as long as its environment");
    lab.run("import os; os._exit(0)").await;
    let took = soon("the daemon is gone", Duration::from_secs(4), || state(daemon).is_none());
    seen("14", "killed with its environment", took);
}

#[tokio::test]
async fn children_that_nobody_waits_for() {
    let lab = Laboratory::open("Timeout: 20\n").await;
    let orphans = "
import os, time
for number in range(100):
    if os.fork() == 0:
        if number % 2 and os.fork() == 0:
            time.sleep(600 if number % 4 == 1 else 0)
        os._exit(0)
";
    let pid = lab.run(orphans).await.value()["pid"].as_i64().unwrap();
    let below = descendants(pid);
    assert!(below.len() >= 50, "{} are there, ended or not", below.len());
    lab.run("import os; os.kill(os.getpid(), 9)").await;
    let took = soon("none is left, not even as a zombie", Duration::from_secs(4), || {
        below.iter().chain([&pid]).all(|pid| state(*pid).is_none())
    });
    lab.is_clean().await;
    seen("16", format!("{} children, ended and not: all gone with their environment", below.len()), took);
}

/// Somebody else on this machine, where the tests may say who they are.
#[tokio::test]
async fn other_users_read_nothing_of_the_state_folder() {
    use std::os::unix::fs::PermissionsExt;
    if !rustix::process::getuid().is_root() {
        return println!("NOT SHOWN: only root can be somebody else");
    }
    let builder = TestServerBuilder::new().handler("sibling", SIBLING);
    std::fs::set_permissions(builder.folder(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let server = builder.start().await;
    server.invoke("sibling", "{}").await;
    let state_dir = server.state_dir();
    let environ = PathBuf::from(format!("/proc/{}/environ", server.pid()));
    let mut places = vec![state_dir.clone(), environ];
    for name in ["lock", "handlerd.db", "tmp", "audit.log"] {
        places.extend(Some(state_dir.join(name)).filter(|path| path.exists()));
    }
    assert!(places.len() >= 5, "{places:?}");
    for place in &places {
        let mut command = Command::new(if place.is_dir() { "ls" } else { "cat" });
        command.arg(place).uid(65534).gid(65534).current_dir("/").stdin(Stdio::null());
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.stdout.is_empty() && said.contains("Permission denied"),
            "{}: {said}",
            place.display()
        );
    }
    seen("T6", format!("another user: {} places, all closed", places.len()), None);
}
