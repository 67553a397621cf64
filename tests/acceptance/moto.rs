//! A moto server stands for the AWS endpoints: queues, topics, buses, tables, streams, buckets.
//!
//! One for each test that starts one, so that no test sees what another made; it ends with the test.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};

use serde_json::Value;

use crate::harness::PATIENCE;
use crate::python_tools::{PythonTools, python_tools};

/// What moto takes every caller for.
pub const ACCOUNT: &str = "123456789012";
pub const REGION: &str = "us-east-1";

/// A running server. Dropping it ends it.
pub struct Moto {
    child: Child,
    /// `http://127.0.0.1:PORT`
    pub url: String,
    tools: &'static PythonTools,
}

/// `None`: not on this machine, and `test` is to be left out. That has been said.
pub fn moto(test: &str) -> Option<Moto> {
    Some(Moto::start(python_tools(test)?))
}

impl Moto {
    fn start(tools: &'static PythonTools) -> Self {
        // It listens before it says where, so whoever knows its address reaches it.
        let mut child = without_settings(tools.program("moto_server"))
            .args(["-H", "127.0.0.1", "-p", "0"])
            .env("MOTO_ACCOUNT_ID", ACCOUNT)
            // Nothing of a machine's own endpoint is asked for credentials.
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("moto starts");
        let said: Arc<(Mutex<Said>, Condvar)> = Arc::default();
        let (theirs, pipe) = (said.clone(), child.stderr.take().unwrap());
        // Reads on for as long as the server lives: a full pipe would stop it.
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                let mut said = theirs.0.lock().unwrap();
                if let Some((_, url)) = line.split_once("Running on ") {
                    said.url = Some(url.trim().to_owned());
                } else if said.url.is_none() {
                    said.other.push(line);
                }
                theirs.1.notify_all();
            }
            theirs.0.lock().unwrap().ended = true;
            theirs.1.notify_all();
        });
        let waiting = said.0.lock().unwrap();
        let (found, _) =
            said.1.wait_timeout_while(waiting, PATIENCE, |said| said.url.is_none() && !said.ended).unwrap();
        let url = found.url.clone();
        let server = Self { child, url: url.unwrap_or_default(), tools };
        assert!(!server.url.is_empty(), "moto does not listen:\n{}", found.other.join("\n"));
        server
    }

    /// Runs Python with `client(SERVICE)`, which makes a boto3 client of this server, and `json` at
    /// hand; what it has printed, read as JSON. An assertion that fails in it fails the test.
    pub fn python(&self, code: &str) -> Value {
        let prelude = "import json, boto3\n\ndef client(service, **more):\n    return boto3.client(service, **more)\n\n";
        let output = without_settings(self.tools.program("python"))
            .args(["-c", &format!("{prelude}{code}")])
            .envs(self.variables())
            .output()
            .expect("Python starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{code}\n{said}");
        let text = String::from_utf8(output.stdout).expect("what it prints is text");
        if text.trim().is_empty() {
            return Value::Null;
        }
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// What a program is given to come here instead of to AWS.
    pub fn variables(&self) -> [(&'static str, String); 5] {
        [
            ("AWS_ENDPOINT_URL", self.url.clone()),
            ("AWS_REGION", REGION.to_owned()),
            ("AWS_DEFAULT_REGION", REGION.to_owned()),
            ("AWS_ACCESS_KEY_ID", "test".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
        ]
    }

    /// `arn:aws:sqs:us-east-1:123456789012:NAME`
    pub fn arn(&self, service: &str, resource: &str) -> String {
        format!("arn:aws:{service}:{REGION}:{ACCOUNT}:{resource}")
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Default)]
struct Said {
    url: Option<String>,
    other: Vec<String>,
    ended: bool,
}

/// Nothing of what the caller's shell says about AWS.
fn without_settings(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("AWS_") {
            command.env_remove(&name);
        }
    }
    command
}
