//! The console in a browser, against the real program: the walks are scripts in `console/tests/browser/real`.

use std::io::Write;

use crate::browser::chromium;
use crate::commands;
use crate::harness::{TestServer, TestServerBuilder, program};
use crate::node_tools::node_tools;

const HELLO: &str = "def lambda_handler(event, context):
    print('<b>hello</b>')
    return {'hello': (event.get('queryStringParameters') or {}).get('name')}
";

const FAILS: &str = "def lambda_handler(event, context):
    raise ValueError('no such order')
";

/// Runs a script with the addresses of these servers. What it prints is the error, and is shown if it says so.
async fn walk(script: &'static str, server: &TestServer, more: &[(&'static str, String)]) -> Option<String> {
    let chromium = chromium()?;
    let node = node_tools(script)?;
    let mut command = node.script(script);
    command
        .env("CHROMIUM", chromium)
        .env("API", &server.api)
        .env("HTTP", &server.http)
        .env("HANDLERS", server.handlers())
        .env("PATIENCE_MS", "30000")
        .envs(more.iter().map(|(name, value)| (*name, value)));
    // Ends by itself: the script sets itself a limit.
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{script}:\n{said}");
    for line in said.lines().filter(|line| line.starts_with("      ")) {
        // Figures, past the test runner, which shows only what failing tests print.
        let _ = writeln!(std::io::stderr(), "{script}: {}", line.trim());
    }
    Some(said)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_walk() {
    let server = TestServerBuilder::new().handler("hello", HELLO).handler("fails", FAILS).start().await;
    let settings = format!("{}/2019-09-25/functions/fails/event-invoke-config", server.api);
    let put = server.client.put(settings).body(r#"{"MaximumRetryAttempts": 0}"#);
    assert_eq!(server.send(put).await.status, 200);
    let event = [("x-amz-invocation-type", "Event")];
    assert_eq!(server.invoke_with("fails", r#"{"order": 7}"#, &event).await.status, 202);
    walk("real/walk.mjs", &server, &[]).await;
}

/// Leaves a trace when it is invoked, whoever does it.
const VICTIM: &str = "import os, pathlib

def lambda_handler(event, context):
    pathlib.Path(os.environ['TRACE_FILE']).write_text('invoked')
    return 'invoked'
";

/// Serves the attacks that the script wrote beside it, on the port of the routes.
const PAGE: &str = "import pathlib

def lambda_handler(event, context):
    page = pathlib.Path(__file__).with_name('page.html').read_text()
    return {'statusCode': 200, 'headers': {'content-type': 'text/html'}, 'body': page}
";

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_page_has_no_effect() {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    let server = TestServerBuilder::new()
        .handler("victim", VICTIM)
        .file(
            "victim/function.yaml",
            &format!("Environment:\n  Variables:\n    TRACE_FILE: {}\n", trace.display()),
        )
        .handler("page", PAGE)
        .file("page/page.html", "not written yet")
        .start()
        .await;
    let more = [("TRACE_FILE", trace.display().to_string())];
    if walk("real/hostile.mjs", &server, &more).await.is_some() {
        let terminal = server.terminal();
        assert!(!terminal.contains("invoke victim"), "{terminal}");
        // They did arrive, and were turned away.
        assert!(terminal.matches("refused").count() > 10, "{terminal}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_where_one_is_asked_for() {
    let builder = TestServerBuilder::new().handler("hello", HELLO);
    let folder = builder.folder().to_owned();
    let create = |name: &str, scopes: &str| {
        let arguments = ["credentials", "create", name, "--token", "--scopes", scopes];
        let ended = commands::run(program().args(arguments).current_dir(&folder), "");
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        ended.stdout.lines().find_map(|line| line.strip_prefix("token = ")).expect("a token").to_owned()
    };
    let (reader, editor) = (create("reader", "read"), create("editor", "read,invoke,deploy"));
    let server = builder.argument("--require-credentials").start().await;
    let revoke = format!(
        "cd '{}' && '{}' credentials revoke editor",
        folder.display(),
        env!("CARGO_BIN_EXE_handlerd")
    );
    walk("real/token.mjs", &server, &[("READER", reader), ("EDITOR", editor), ("REVOKE", revoke)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_logs_and_events_are_text() {
    let server = TestServer::with_handler("hello", HELLO).await;
    walk("real/payloads.mjs", &server, &[]).await;
    crate::catalogue::seen("T4", "no script ran", None);
}
