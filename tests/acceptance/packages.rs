//! A function's `requirements.txt` is installed by itself. The packages are wheels made here, found
//! by `--find-links`, so that no network is needed.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::harness::{TestServer, TestServerBuilder, eventually};

const HANDLER: &str = "import answer\n\ndef lambda_handler(event, context):\n    return str(answer.VALUE)\n";

/// A wheel of a package `answer`, whose only module has a `VALUE`.
fn wheel(folder: &Path, version: &str, value: u32) {
    let script = r#"
import os, sys, zipfile
folder, version, value = sys.argv[1:]
os.makedirs(folder, exist_ok=True)
info = f"answer-{version}.dist-info"
with zipfile.ZipFile(f"{folder}/answer-{version}-py3-none-any.whl", "w") as wheel:
    wheel.writestr("answer.py", f"VALUE = {value}\n")
    wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: answer\nVersion: {version}\n")
    wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    wheel.writestr(f"{info}/RECORD", f"answer.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
"#;
    let status = Command::new("python3")
        .args(["-c", script, &folder.display().to_string(), version, &value.to_string()])
        .status()
        .expect("there is a python3");
    assert!(status.success());
}

fn requirements(version: &str) -> String {
    format!("--no-index\n--find-links ./wheels\nanswer=={version}\n")
}

/// uv, or a pip of some Python: without one nothing can be installed, which is said, and not tested.
fn there_is_an_installer() -> bool {
    let works = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    let there = works("uv", &["--version"])
        || works("pip3", &["--version"])
        || works("python3", &["-m", "pip", "--version"]);
    let ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty());
    assert!(there || !ci, "these tests need uv or pip");
    if !there {
        eprintln!("skipped: there is neither uv nor pip");
    }
    there
}

async fn answer(server: &TestServer) -> (u16, String) {
    let answer = server.get("/hello").await;
    (answer.status, answer.text().to_owned())
}

#[tokio::test]
async fn requirements_are_installed_and_followed() {
    if !there_is_an_installer() {
        return;
    }
    let builder = TestServerBuilder::new()
        .handler("hello", HANDLER)
        .file("hello/requirements.txt", &requirements("1.0"))
        .argument("--integration-timeout=300");
    wheel(&builder.folder().join("handlers/hello/wheels"), "1.0", 41);
    wheel(&builder.folder().join("handlers/hello/wheels"), "2.0", 42);
    let server = builder.start().await;
    assert_eq!(answer(&server).await, (200, "41".to_owned()));
    server.wait_for_terminal("hello: its packages are installed");

    // Another version is a reload like any other.
    server.write("hello/requirements.txt", &requirements("2.0"));
    assert_eq!(answer(&server).await, (200, "42".to_owned()));

    // And back, from what was installed before: the wheels are not needed any more.
    std::fs::remove_dir_all(server.handlers().join("hello/wheels")).unwrap();
    server.write("hello/requirements.txt", &requirements("1.0"));
    assert_eq!(answer(&server).await, (200, "41".to_owned()));
}

#[tokio::test]
async fn a_package_that_cannot_be_had_is_named() {
    if !there_is_an_installer() {
        return;
    }
    let builder = TestServerBuilder::new()
        .handler("hello", HANDLER)
        .file("hello/requirements.txt", &requirements("9.9"))
        .argument("--integration-timeout=300");
    wheel(&builder.folder().join("handlers/hello/wheels"), "1.0", 41);
    let server = builder.start().await;
    let terminal = server.wait_for_terminal("the packages of hello cannot be installed");
    assert!(terminal.contains("9.9"), "{terminal}");
    assert_eq!(answer(&server).await.0, 500);

    // Corrected, it works, and nobody has to wait for another try.
    server.write("hello/requirements.txt", &requirements("1.0"));
    assert_eq!(answer(&server).await, (200, "41".to_owned()));
}

#[tokio::test]
async fn what_is_vendored_is_not_installed() {
    let server = TestServerBuilder::new()
        .handler("hello", HANDLER)
        .file("hello/requirements.txt", "answer==1.0\n")
        .file("hello/answer.py", "VALUE = 40\n")
        .file("hello/answer-1.0.dist-info/METADATA", "Name: answer\n")
        .start()
        .await;
    assert_eq!(answer(&server).await, (200, "40".to_owned()));
    assert!(!server.state_dir().join("packages").exists());
}

#[tokio::test]
async fn installing_can_be_switched_off() {
    let server = TestServerBuilder::new()
        .handler("hello", HANDLER)
        .file("hello/requirements.txt", "answer==1.0\n")
        .argument("--install-packages=false")
        .start()
        .await;
    assert_eq!(answer(&server).await.0, 500);
    eventually("the terminal names the module", || server.terminal().contains("No module named 'answer'"));
}
