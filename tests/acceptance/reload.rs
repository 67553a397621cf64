//! A save is a deployment: who asks after it gets what was saved, and nobody else notices.
//!
//! Strictly: a request that begins after the save has returned must never see the former code.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{Answer, PATIENCE, TestServer, TestServerBuilder, eventually};
use crate::processes::{descendants, state};

/// Equal in length for all versions.
fn source(version: usize) -> String {
    format!("VERSION = {version:06}\n\ndef lambda_handler(event, context):\n    return VERSION - 0\n")
        .replace("= 0", "= 1") // no leading zero in a number
}

fn answer_of(version: usize) -> String {
    (100_000 + version).to_string()
}

const COUNTER: &str = "
count = 0

def lambda_handler(event, context):
    global count
    count += 1
    return count
";

fn rename_into_place(path: &Path, content: &str) {
    let unfinished = path.with_file_name(".lambda_function.py.tmp");
    std::fs::write(&unfinished, content).unwrap();
    std::fs::rename(&unfinished, path).unwrap();
}

fn percentile(times: &mut [Duration], percent: usize) -> f64 {
    times.sort();
    times[(times.len() * percent / 100).min(times.len() - 1)].as_secs_f64() * 1e3
}

struct Workshop {
    server: TestServer,
    file: PathBuf,
}

impl Workshop {
    async fn open() -> Self {
        Self::open_with(TestServerBuilder::new()).await
    }

    async fn open_with(builder: TestServerBuilder) -> Self {
        let server = builder.handler("edited", &source(0)).handler("other", COUNTER).start().await;
        let file = server.handlers().join("edited/lambda_function.py");
        let workshop = Self { server, file };
        workshop.says(&answer_of(0)).await;
        assert_eq!(workshop.server.get("/other").await.text(), "1");
        workshop
    }

    /// Asks once: what was saved counts from now on.
    #[track_caller]
    fn says(&self, expected: &str) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            let answer = self.server.get("/edited").await;
            assert_eq!((answer.status, answer.text()), (200, expected), "as asked at {caller}");
        }
    }
}

#[tokio::test]
async fn a_hundred_equal_size_saves_are_each_served_at_once() {
    let workshop = Workshop::open().await;
    let mut times = Vec::new();
    for version in 1..=100 {
        let source = source(version);
        let began = Instant::now();
        std::fs::write(&workshop.file, source).unwrap();
        workshop.says(&answer_of(version)).await;
        times.push(began.elapsed());
    }
    println!(
        "save to new answer: p50 {:.1} ms, p99 {:.1} ms",
        percentile(&mut times, 50),
        percentile(&mut times, 99)
    );
    assert_eq!(workshop.server.get("/other").await.text(), "2", "others keep what they know");
    crate::catalogue::seen("52", "100 of 100", None);
}

#[tokio::test]
async fn every_way_in_which_editors_save() {
    let workshop = Workshop::open().await;
    let file = &workshop.file;
    let folder = file.parent().unwrap();
    let mut version = 0;
    for _ in 0..5 {
        // Truncated and written.
        version += 1;
        std::fs::write(file, source(version)).unwrap();
        workshop.says(&answer_of(version)).await;
        // A new file renamed over the old one.
        version += 1;
        rename_into_place(file, &source(version));
        workshop.says(&answer_of(version)).await;
        // As vim does with a backup: probe the folder, move away, write anew, remove the backup.
        version += 1;
        std::fs::write(folder.join("4913"), "").unwrap();
        std::fs::remove_file(folder.join("4913")).unwrap();
        std::fs::rename(file, folder.join("lambda_function.py~")).unwrap();
        std::fs::write(file, source(version)).unwrap();
        std::fs::remove_file(folder.join("lambda_function.py~")).unwrap();
        workshop.says(&answer_of(version)).await;
        // Removed and written.
        version += 1;
        std::fs::remove_file(file).unwrap();
        std::fs::write(file, source(version)).unwrap();
        workshop.says(&answer_of(version)).await;
        // Exchanged with another file.
        version += 1;
        let other = folder.join("prepared.py");
        std::fs::write(&other, source(version)).unwrap();
        std::fs::rename(&other, file).unwrap();
        workshop.says(&answer_of(version)).await;
        // With the time of the former one.
        version += 1;
        let time = std::fs::metadata(file).unwrap().modified().unwrap();
        std::fs::write(file, source(version)).unwrap();
        std::fs::File::options().write(true).open(file).unwrap().set_modified(time).unwrap();
        workshop.says(&answer_of(version)).await;
    }
    assert_eq!(workshop.server.get("/other").await.text(), "2");
}

#[tokio::test]
async fn half_of_a_file_does_not_stick() {
    use std::io::Write;
    let workshop = Workshop::open().await;
    // The first half compiles and has no handler; the pause lasts until somebody has seen that.
    let source = source(1);
    let (first, second) = source.split_at(source.find("def").unwrap());
    let mut file = std::fs::File::create(&workshop.file).unwrap();
    file.write_all(first.as_bytes()).unwrap();
    workshop.server.until("/edited", |answer| answer.status == 500).await;
    workshop.server.wait_for_terminal("Handler 'lambda_handler' missing on module 'lambda_function'");
    file.write_all(second.as_bytes()).unwrap();
    drop(file);
    workshop.says(&answer_of(1)).await;
    assert_eq!(workshop.server.get("/other").await.text(), "2");

    // An empty file is a file; what is written then counts.
    for round in 2..12 {
        std::fs::write(&workshop.file, "").unwrap();
        assert_eq!(workshop.server.get("/edited").await.status, 500);
        std::fs::write(&workshop.file, self::source(round)).unwrap();
        workshop.says(&answer_of(round)).await;
    }
    crate::catalogue::seen("45", "the whole is served", None);
}

#[tokio::test]
async fn folders_come_and_go() {
    let workshop = Workshop::open().await;
    let server = &workshop.server;
    let not_found = |answer: &Answer| (answer.status, answer.text()) == (404, r#"{"message":"Not Found"}"#);
    assert!(not_found(&server.get("/newcomer").await));
    server.write("newcomer/lambda_function.py", &source(1));
    assert_eq!(server.until("/newcomer", |answer| answer.status == 200).await.text(), answer_of(1));
    let line = server.wait_for_stdout("function newcomer");
    assert!(line.starts_with(&format!("{}/newcomer ", server.http)), "{line}");
    // It is watched as the others are.
    server.write("newcomer/lambda_function.py", &source(2));
    assert_eq!(server.get("/newcomer").await.text(), answer_of(2));
    // A folder first, its files later.
    std::fs::create_dir(server.handlers().join("slowly")).unwrap();
    server.until("/slowly", not_found).await;
    server.write("slowly/lambda_function.py", &source(3));
    assert_eq!(server.get("/slowly").await.text(), answer_of(3));

    for round in 4..8 {
        std::fs::remove_dir_all(server.handlers().join("newcomer")).unwrap();
        assert!(not_found(&server.get("/newcomer").await));
        server.write("newcomer/lambda_function.py", &source(round));
        assert_eq!(server.get("/newcomer").await.text(), answer_of(round));
    }
    // Renamed as a whole.
    std::fs::rename(server.handlers().join("newcomer"), server.handlers().join("renamed")).unwrap();
    assert!(not_found(&server.get("/newcomer").await));
    assert_eq!(server.get("/renamed").await.text(), answer_of(7));
    server.write("renamed/lambda_function.py", &source(8));
    assert_eq!(server.get("/renamed").await.text(), answer_of(8));
    assert_eq!(server.get("/other").await.text(), "2");
    crate::catalogue::seen("50", "404 and back", None);
}

#[tokio::test]
async fn everything_in_the_folder_is_code() {
    let workshop = Workshop::open().await;
    let server = &workshop.server;
    let handler = "
import os
from utils import WORD
from package.inner import DEPTH

def lambda_handler(event, context):
    return [WORD, DEPTH, os.environ.get('SAID'), os.environ.get('HIDDEN'), context.memory_limit_in_mb]
";
    server.write("edited/utils.py", "WORD = 'a'\n");
    server.write("edited/package/__init__.py", "");
    server.write("edited/package/inner.py", "DEPTH = 1\n");
    server.write("edited/lambda_function.py", handler);
    workshop.says(r#"["a", 1, null, null, "128"]"#).await;
    server.write("edited/utils.py", "WORD = 'b'\n");
    workshop.says(r#"["b", 1, null, null, "128"]"#).await;
    server.write("edited/package/inner.py", "DEPTH = 2\n");
    workshop.says(r#"["b", 2, null, null, "128"]"#).await;
    server.write("edited/package/deeper/still/__init__.py", "DEPTH = 3\n");
    server.write("edited/package/inner.py", "from .deeper.still import DEPTH\n");
    workshop.says(r#"["b", 3, null, null, "128"]"#).await;
    server.write("edited/package/deeper/still/__init__.py", "DEPTH = 4\n");
    workshop.says(r#"["b", 4, null, null, "128"]"#).await;
    server.write("edited/function.yaml", "MemorySize: 256\nEnvironment:\n  Variables:\n    SAID: one\n");
    workshop.says(r#"["b", 4, "one", null, "256"]"#).await;
    server.write("edited/.env", "HIDDEN=two\n");
    workshop.says(r#"["b", 4, "one", "two", "256"]"#).await;
    server.write("edited/.env", "HIDDEN=owt\n");
    workshop.says(r#"["b", 4, "one", "owt", "256"]"#).await;
    // A configuration that cannot be: the function says so, and only this one.
    server.write("edited/function.yaml", "MemorySize: much\n");
    assert_eq!(server.get("/edited").await.status, 500);
    server.wait_for_terminal("`MemorySize` must be a whole number of megabytes from 128 to 10240");
    server.write("edited/function.yaml", "Timeout: 1\n");
    workshop.says(r#"["b", 4, null, "owt", "128"]"#).await;
    server.write("edited/lambda_function.py", "def lambda_handler(event, context):\n    while True: pass\n");
    let began = Instant::now();
    assert_eq!(server.get("/edited").await.status, 500);
    assert!(began.elapsed() < Duration::from_millis(2500), "the new Timeout counts: {:?}", began.elapsed());
    assert_eq!(server.get("/other").await.text(), "2", "others keep what they know");
    crate::catalogue::seen("53", "reloaded", None);
}

#[tokio::test]
async fn a_mistake_is_shown_and_then_corrected() {
    let workshop = Workshop::open().await;
    let server = &workshop.server;
    for (number, (wrong, error_type, shown)) in [
        (
            "def lambda_handler(event, context)\n    return 1\n",
            "Runtime.UserCodeSyntaxError",
            "expected ':' (lambda_function.py, line 1)",
        ),
        ("import no_such_module\n", "Runtime.ImportModuleError", "No module named 'no_such_module'"),
        ("x = 1 / 0\n", "ZeroDivisionError", "division by zero"),
    ]
    .into_iter()
    .enumerate()
    {
        std::fs::write(&workshop.file, wrong).unwrap();
        // Before anybody asks.
        let line = server.wait_for_terminal(shown);
        assert!(line.contains("edited"), "{line}");
        let answer = server.get("/edited").await;
        assert_eq!((answer.status, answer.text()), (500, r#"{"message":"Internal Server Error"}"#));
        let answer = server.invoke("edited", "{}").await;
        assert_eq!(answer.json()["errorType"], error_type);
        assert!(answer.json()["errorMessage"].as_str().unwrap().contains(shown), "{}", answer.text());
        assert_eq!(answer.header("x-amz-function-error"), Some("Unhandled"));
        std::fs::write(&workshop.file, source(number + 1)).unwrap();
        workshop.says(&answer_of(number + 1)).await;
    }
    server.wait_for_terminal("Traceback (most recent call last):");
    assert_eq!(server.get("/other").await.text(), "2");
    crate::catalogue::seen("46", "shown, then corrected", None);
}

/// Bytecode beside the source, of the same time and size, as another Python run leaves it.
#[tokio::test]
async fn stale_bytecode_is_never_used() {
    let server = TestServerBuilder::new()
        .handler("edited", "import helper\n\ndef lambda_handler(event, context):\n    return helper.WORD\n")
        .file("edited/helper.py", "WORD = 'old'\n")
        .start()
        .await;
    assert_eq!(server.get("/edited").await.text(), "old");
    let folder = server.handlers().join("edited");
    let compiled = std::process::Command::new("python3")
        .args(["-m", "compileall", "-q", "."])
        .current_dir(&folder)
        .status();
    assert!(compiled.unwrap().success());
    assert!(folder.join("__pycache__").is_dir());
    let helper = folder.join("helper.py");
    let time = std::fs::metadata(&helper).unwrap().modified().unwrap();
    std::fs::write(&helper, "WORD = 'new'\n").unwrap();
    std::fs::File::options().write(true).open(&helper).unwrap().set_modified(time).unwrap();
    // Python itself falls for it: else this test would show nothing.
    let fooled = std::process::Command::new("python3")
        .args(["-c", "import helper; print(helper.WORD)"])
        .current_dir(&folder)
        .output();
    assert_eq!(fooled.unwrap().stdout, b"old\n");
    assert_eq!(server.get("/edited").await.text(), "new");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_in_flight_finish_on_the_code_they_began_with() {
    let workshop = Workshop::open().await;
    let server = &workshop.server;
    let place = |name: &str| server.handlers().parent().unwrap().join(name);
    let (begun, release) = (place("begun"), place("release"));
    let slow = format!(
        "import os, time\n\ndef lambda_handler(event, context):\n    open({begun:?}, 'w')\n    while not os.path.exists({release:?}): time.sleep(.002)\n    import late\n    return late.WORD\n"
    );
    server.write("edited/late.py", "WORD = 'old'\n");
    std::fs::write(&workshop.file, slow).unwrap();
    let (client, url) = (server.client.clone(), format!("{}/edited", server.http));
    let request = tokio::spawn(async move { client.get(url).send().await.unwrap().text().await.unwrap() });
    eventually("the handler has begun", || begun.exists());
    std::fs::write(&workshop.file, source(1)).unwrap();
    workshop.says(&answer_of(1)).await;
    assert!(!request.is_finished());
    std::fs::write(&release, "").unwrap();
    assert_eq!(request.await.unwrap(), "old");
    // Its environment ends with it.
    let began = Instant::now();
    while server.health().await["environments"] != 2 {
        assert!(began.elapsed() < PATIENCE, "{}", server.health().await);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    eventually("its process is gone", || descendants(server.pid().into()).len() == 3);
    crate::catalogue::seen("54", "never a mix", None);
}

/// A few clients ask without a pause while somebody saves again and again; `HANDLERD_TEST_SAVES` times.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_nothing_fails_and_nothing_is_stale() {
    let saves = std::env::var("HANDLERD_TEST_SAVES").ok().and_then(|times| times.parse().ok());
    let saves: usize = saves.unwrap_or(200);
    let workshop = Workshop::open().await;
    let (saved, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (client, url) = (workshop.server.client.clone(), format!("{}/edited", workshop.server.http));
            let (saved, stop) = (saved.clone(), stop.clone());
            tokio::spawn(async move {
                let (mut asked, mut wrong, mut slowest) = (0, Vec::new(), Duration::ZERO);
                while !stop.load(Ordering::Relaxed) {
                    let least = saved.load(Ordering::SeqCst);
                    let began = Instant::now();
                    let response = client.get(&url).send().await.expect("an answer");
                    let (status, text) = (response.status().as_u16(), response.text().await.unwrap());
                    asked += 1;
                    slowest = slowest.max(began.elapsed());
                    let version = text.parse::<usize>().unwrap_or(0).wrapping_sub(100_000);
                    if status != 200 || !(least..=saves).contains(&version) {
                        wrong.push(format!("{status} {text}, where {least} had been saved"));
                    }
                }
                (asked, wrong, slowest)
            })
        })
        .collect();
    let mut times = Vec::new();
    let writer = tokio::task::spawn_blocking({
        let (file, saved) = (workshop.file.clone(), saved.clone());
        move || {
            for version in 1..=saves {
                // An editor truncates and writes; between the two there is an empty file, which is
                // what "half-written" means here. So both ways are used, and neither may show.
                if version % 2 == 0 {
                    std::fs::write(&file, source(version)).unwrap();
                } else {
                    rename_into_place(&file, &source(version));
                }
                saved.store(version, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(40));
            }
        }
    });
    writer.await.unwrap();
    stop.store(true, Ordering::Relaxed);
    let (mut asked, mut wrong) = (0, Vec::new());
    for client in clients {
        let (its_asked, its_wrong, slowest) = client.await.unwrap();
        asked += its_asked;
        wrong.extend(its_wrong);
        times.push(slowest);
    }
    println!(
        "{saves} saves under load: {asked} requests, {} wrong, the slowest took {:.0} ms",
        wrong.len(),
        percentile(&mut times, 100)
    );
    assert_eq!(wrong, Vec::<String>::new());
    assert!(asked > saves);
    assert_eq!(workshop.server.get("/other").await.text(), "2");
}

#[tokio::test]
async fn a_thousand_saves_in_a_burst() {
    let workshop = Workshop::open().await;
    let began = Instant::now();
    for version in 1..=1000 {
        if version % 2 == 0 {
            std::fs::write(&workshop.file, source(version)).unwrap();
        } else {
            rename_into_place(&workshop.file, &source(version));
        }
    }
    let written = began.elapsed();
    workshop.says(&answer_of(1000)).await;
    println!(
        "1,000 saves in {:.0} ms; served {:.1} ms after the last",
        written.as_secs_f64() * 1e3,
        (began.elapsed() - written).as_secs_f64() * 1e3
    );
    assert_eq!(workshop.server.get("/other").await.text(), "2");
    eventually("no more environments than needed are left", || {
        descendants(workshop.server.pid().into()).len() == 3
    });
    crate::catalogue::seen("47", "the last is live", None);
}

#[tokio::test]
async fn the_last_version_that_worked_is_kept_if_wanted() {
    let workshop = Workshop::open_with(TestServerBuilder::new().argument("--keep-last-good")).await;
    let server = &workshop.server;
    std::fs::write(&workshop.file, "def lambda_handler(event, context)\n").unwrap();
    server.wait_for_terminal("edited goes on with the last version that worked");
    server.wait_for_terminal("Runtime.UserCodeSyntaxError");
    workshop.says(&answer_of(0)).await;
    assert!(!server.terminal().contains("deployed edited"), "what was held back is not deployed");
    std::fs::write(&workshop.file, source(1)).unwrap();
    server.until("/edited", |answer| answer.text() == answer_of(1)).await;
    server.write("edited/function.yaml", "Timeout: never\n");
    server.wait_for_terminal("`Timeout` must be a whole number of seconds");
    workshop.says(&answer_of(1)).await;
    assert_eq!(server.get("/other").await.text(), "2");
}

#[cfg(unix)]
#[tokio::test]
async fn a_function_behind_a_symbolic_link() {
    let workshop = Workshop::open().await;
    let server = &workshop.server;
    let releases = server.handlers().parent().unwrap().join("releases");
    for release in 1..=3 {
        let folder = releases.join(release.to_string());
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("lambda_function.py"), source(release)).unwrap();
    }
    let link = |release: usize| {
        let unfinished = releases.join("link");
        std::os::unix::fs::symlink(releases.join(release.to_string()), &unfinished).unwrap();
        std::fs::rename(unfinished, server.handlers().join("linked")).unwrap();
    };
    link(1);
    server.until("/linked", |answer| answer.status == 200).await;
    link(2);
    assert_eq!(server.get("/linked").await.text(), answer_of(2));
    link(3);
    assert_eq!(server.get("/linked").await.text(), answer_of(3));
    std::fs::write(releases.join("3/lambda_function.py"), source(4)).unwrap();
    assert_eq!(server.get("/linked").await.text(), answer_of(4));
    crate::catalogue::seen("51", "the new folder is served", None);
}

#[tokio::test]
async fn what_is_no_code_deploys_nothing() {
    let workshop = Workshop::open().await;
    let server = &workshop.server;
    server.write("edited/lambda_function.py", COUNTER);
    workshop.says("1").await;
    let before: Value = server.health().await["functions"]["edited"]["code"].clone();
    for noise in [
        "__pycache__/x.pyc",
        ".git/index",
        ".lambda_function.py.swp",
        "lambda_function.py~",
        ".venv/lib/x.py",
    ] {
        server.write(&format!("edited/{noise}"), "noise");
    }
    // The same content again.
    server.write("edited/lambda_function.py", COUNTER);
    workshop.says("2").await;
    assert_eq!(server.health().await["functions"]["edited"]["code"], before);
    assert!(descendants(server.pid().into()).iter().all(|pid| state(*pid) != Some('Z')));
}
