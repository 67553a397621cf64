//! What a browser makes of it: Chromium without a window, as Debian packages it.

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use crate::commands;
use crate::harness::{TestServer, TestServerBuilder, eventually};

/// As the tutorial has it, untouched.
const TUTORIAL: &str = "import json

def lambda_handler(event, context):
    # TODO implement
    return {
        'statusCode': 200,
        'body': json.dumps('Hello from Lambda!')
    }
";

/// `None`, and a line that says so, where there is no Chromium; on CI that is an error.
pub fn chromium() -> Option<PathBuf> {
    let found = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"]
        .map(PathBuf::from)
        .into_iter()
        .find(|path| path.exists());
    if found.is_none() {
        let ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty());
        assert!(!ci, "Chromium is needed on CI");
        // Past the test runner, which shows only what failing tests print.
        let _ =
            writeln!(std::io::stderr(), "skipped: there is no Chromium here (Debian: apt install chromium)");
    }
    found
}

/// The page as it stands after its scripts have come to rest.
async fn open(chromium: PathBuf, url: String) -> String {
    let ended = tokio::task::spawn_blocking(move || {
        let profile = tempfile::tempdir().unwrap();
        let mut command = Command::new(chromium);
        command
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .args(["--disable-dev-shm-usage", "--no-proxy-server"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            // Time that passes only while nothing is under way.
            .args(["--virtual-time-budget=3000", "--dump-dom"])
            .arg(url);
        commands::run(&mut command, "")
    })
    .await
    .unwrap();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    ended.stdout
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tutorials_handler_is_seen() {
    let Some(chromium) = chromium() else { return };
    let server = TestServer::with_handler("Hello_Lambda_Python", TUTORIAL).await;
    let page = open(chromium, format!("{}/Hello_Lambda_Python", server.http)).await;
    assert!(page.contains(r#""Hello from Lambda!""#), "{page}");
    server.wait_for_terminal("GET /Hello_Lambda_Python 200");
}

/// Writes a file when it is invoked.
const VICTIM: &str = "import os, pathlib

def lambda_handler(event, context):
    pathlib.Path(os.environ['TRACE_FILE']).write_text('invoked')
    return 'invoked'
";

/// Asks the Lambda API by every means that a page has without the other side's permission.
const HOSTILE_PAGE: &str = r#"
def lambda_handler(event, context):
    api = event['queryStringParameters']['api']
    return {'statusCode': 200, 'headers': {'content-type': 'text/html'}, 'body': PAGE.replace('API', api)}

PAGE = '''<!doctype html><title>hostile</title>
<iframe name="frame"></iframe>
<form id="form" method="post" enctype="text/plain" target="frame"
      action="API/2015-03-31/functions/victim/invocations"><input name='{"by' value='": "form"}'></form>
<ul id="tried"></ul>
<script>
const url = "API/2015-03-31/functions/victim/invocations";
const tried = (what) => { document.getElementById("tried").innerHTML += "<li>tried " + what + "</li>"; };
async function attack() {
    await fetch(url, {method: "POST", mode: "no-cors", body: "{}"}).catch(() => {});
    tried("no-cors");
    const read = fetch("API/2015-03-31/functions/").then((answer) => answer.text());
    tried(await read.then(() => "reading, which worked", () => "reading, which failed"));
    await fetch(url, {method: "POST", body: "{}", headers: {"x-amz-invocation-type": "RequestResponse"}})
        .catch(() => {});
    tried("preflight");
    navigator.sendBeacon(url, "{}");
    tried("beacon");
    const frame = document.querySelector("iframe");
    const loaded = new Promise((resolve) => { frame.onload = resolve; });
    document.getElementById("form").submit();
    await loaded;
    tried("form");
}
attack();
</script>'''
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_page_cannot_invoke_anything() {
    let Some(chromium) = chromium() else { return };
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    let server = TestServerBuilder::new()
        .handler("victim", VICTIM)
        .file(
            "victim/function.yaml",
            &format!("Environment:\n  Variables:\n    TRACE_FILE: {}\n", trace.display()),
        )
        .handler("page", HOSTILE_PAGE)
        .start()
        .await;

    let page = open(chromium, format!("{}/page?api={}", server.http, server.api)).await;
    for tried in ["no-cors", "reading, which failed", "preflight", "beacon", "form"] {
        assert!(page.contains(&format!("<li>tried {tried}</li>")), "{tried}: {page}");
    }
    // They did arrive, and were turned away.
    let refused = || server.terminal().matches("refused on the control plane").count();
    eventually("the attempts were refused", || refused() >= 4);
    assert!(!trace.exists(), "a page has invoked the function:\n{}", server.terminal());
    assert!(!server.terminal().contains("invoke victim"), "{}", server.terminal());

    // A program may, and then there is a trace: the check above can fail.
    assert_eq!(server.invoke("victim", "{}").await.text(), r#""invoked""#);
    assert!(trace.exists());
}

/// An HTTP API that lets pages of ORIGIN write.
const SHARED: &str = r#"
Transform: AWS::Serverless-2016-10-31
Resources:
  Api:
    Type: AWS::Serverless::HttpApi
    Properties:
      CorsConfiguration:
        AllowOrigins: ['ORIGIN']
        AllowMethods: [PUT]
        AllowHeaders: [content-type]
        ExposeHeaders: [x-kept]
  Keeper:
    Type: AWS::Serverless::Function
    Properties:
      Runtime: python3.12
      Handler: index.handler
      InlineCode: |
        def handler(event, context):
            return {'statusCode': 200, 'headers': {'x-kept': 'yes'}, 'body': 'kept ' + event['body']}
      Events:
        Put:
          Type: HttpApi
          Properties: {ApiId: !Ref Api, Path: /kept, Method: PUT}
"#;

/// Writes to another origin, which takes a preflight.
const WRITING_PAGE: &str = r#"
def lambda_handler(event, context):
    api = event['queryStringParameters']['api']
    return {'statusCode': 200, 'headers': {'content-type': 'text/html'}, 'body': PAGE.replace('API', api)}

PAGE = """<p id=result>waiting</p><script>
const said = text => document.getElementById('result').textContent = text
fetch('API/kept', {method: 'PUT', headers: {'content-type': 'application/json'}, body: '{}'})
    .then(async answer => said(await answer.text() + ' ' + answer.headers.get('x-kept')))
    .catch(error => said('blocked: ' + error.name))
</script>"""
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_origin_writes_where_the_api_allows_it() {
    let Some(chromium) = chromium() else { return };
    let page = TestServer::with_handler("page", WRITING_PAGE).await;
    for (origin, expected) in
        [(page.http.as_str(), "kept {} yes"), ("http://elsewhere.example.com", "blocked: TypeError")]
    {
        let api = TestServerBuilder::template(&SHARED.replace("ORIGIN", origin)).start().await;
        let shown = open(chromium.clone(), format!("{}/page?api={}", page.http, api.http)).await;
        assert!(shown.contains(&format!(">{expected}<")), "{origin}: {shown}");
        let preflight = api.wait_for_terminal("OPTIONS /kept 204");
        assert!(!preflight.is_empty());
    }
}
