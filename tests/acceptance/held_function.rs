//! A function that stays at work until the test lets it go: for what only happens while one is busy.

use std::path::Path;

use crate::harness::{PATIENCE, TestServer, TestServerBuilder, eventually};

/// Takes the folder from an event of either kind.
pub const SOURCE: &str = r#"
import os
import time

def lambda_handler(event, context):
    folder = event.get("queryStringParameters", event)["folder"]
    open(folder + "/running", "w").close()
    while not os.path.exists(folder + "/go"):
        time.sleep(0.005)
    open(folder + "/done", "w").close()
    return "done"
"#;

/// What the function and the test tell each other goes through this folder.
pub struct Held(tempfile::TempDir);

impl Held {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn folder(&self) -> &Path {
        self.0.path()
    }

    /// The path and query that call function `held`.
    pub fn route(&self) -> String {
        format!("/held?folder={}", self.folder().display())
    }

    /// The event that does the same over the Lambda API.
    pub fn event(&self) -> String {
        serde_json::json!({"folder": self.folder()}).to_string()
    }

    pub fn wait_until_running(&self) {
        eventually("the function runs", || self.folder().join("running").exists());
    }

    pub fn let_go(&self) {
        std::fs::write(self.folder().join("go"), "").unwrap();
    }

    pub fn wait_until_done(&self) {
        eventually("the function has finished", || self.folder().join("done").exists());
    }
}

/// Adds the function, named `held`.
pub fn add_to(builder: TestServerBuilder) -> TestServerBuilder {
    builder.handler("held", SOURCE).file("held/function.yaml", "Timeout: 120\n")
}

/// Waits until so many calls of `held` run and so many stand in line.
pub async fn wait_for_load(server: &TestServer, busy: u64, waiting: u64) {
    wait_for_load_of("held", server, busy, waiting).await;
}

/// The same for any function.
pub async fn wait_for_load_of(function: &str, server: &TestServer, busy: u64, waiting: u64) {
    let began = std::time::Instant::now();
    loop {
        let load = server.health().await["functions"][function].clone();
        if load["environments"]["busy"] == busy && load["waiting"] == waiting {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "still {load}");
    }
}
