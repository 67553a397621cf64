//! The control plane's doors: names, pages, credentials, proxies, encryption, and the log of changes.

use std::net::{IpAddr, UdpSocket};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::commands;
use crate::harness::{Answer, TestServer, TestServerBuilder, program};
use crate::python_tools::python_tools;
use crate::raw_http::Connection;

const HELLO: &str = "import os\ndef lambda_handler(event, context):\n    return {'ip': event.get('requestContext', {}).get('http', {}).get('sourceIp'), 'proto': event.get('headers', {}).get('x-forwarded-proto')}\n";
const CANARY: &str = "canary-7f3a9c51e2";

/// Runs `handlerd ...` in this folder; what it has printed.
fn handlerd(folder: &Path, arguments: &[&str]) -> String {
    let output = program().args(arguments).current_dir(folder).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {text}");
    String::from_utf8(output.stdout).unwrap()
}

/// A builder whose folder has these credentials, and what was shown of them.
fn with_credentials(people: &[(&str, &str)]) -> (TestServerBuilder, Vec<String>) {
    let builder = TestServerBuilder::new().handler("hello", HELLO);
    let shown = people.iter().map(|(name, scopes)| {
        let token = name.starts_with("page");
        let mut arguments = vec!["credentials", "create", name, "--scopes", scopes];
        arguments.extend(token.then_some("--token"));
        handlerd(builder.folder(), &arguments)
    });
    let shown = shown.collect();
    (builder, shown)
}

fn value(shown: &str, name: &str) -> String {
    let line =
        shown.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name}: {shown}"));
    line.trim_start_matches(" = ").to_owned()
}

async fn ask(server: &TestServer, method: &str, path: &str, token: Option<&str>) -> Answer {
    let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
    let mut request = server.client.request(method, format!("{}{path}", server.api));
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    server.send(request).await
}

fn filled(path: &str) -> String {
    path.split('/')
        .map(|part| if part.starts_with('{') { "hello" } else { part })
        .collect::<Vec<_>>()
        .join("/")
}

/// Every route of the running program, from the table that its guard goes by.
#[tokio::test(flavor = "multi_thread")]
async fn every_route_turns_strangers_away() {
    let (builder, shown) = with_credentials(&[("page", "admin"), ("page-none", "read")]);
    let server = builder.argument("--require-credentials").start().await;
    let token = value(&shown[0], "token");
    let table = ask(&server, "GET", "/_handlerd/routes", Some(&token)).await.json();
    let table = table.as_array().unwrap();
    assert!(table.len() > 60, "{}", table.len());
    let port = server.api.rsplit(':').next().unwrap();
    for entry in table {
        let text = |name: &str| entry[name].as_str().unwrap();
        let (method, path, scope) = (text("method"), filled(text("path")), text("scope"));
        let mut connection = Connection::open(&server.api);
        let mut status = |headers: &str| {
            connection.send(format!("{method} {path} HTTP/1.1\r\n{headers}content-length: 0\r\n\r\n"));
            connection.answer().status
        };
        for host in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.2",
            "0.0.0.0",
            "[::]",
            "localhost@evil.example",
            "127.0.0.1.nip.example",
            "2130706433",
            "evil.example#localhost",
            "localhost.",
            "169.254.169.254",
            "x",
        ] {
            assert_eq!(status(&format!("host: {host}:{port}\r\n")), 421, "{method} {path} {host}");
        }
        assert_eq!(
            status(&format!("host: localhost:{port}\r\norigin: http://localhost:3000\r\n")),
            403,
            "{path}"
        );
        assert_eq!(
            status(&format!("host: localhost:{port}\r\nsec-fetch-site: same-site\r\n")),
            403,
            "{path}"
        );
        if scope != "open" {
            assert_eq!(status(&format!("host: localhost:{port}\r\n")), 401, "{method} {path}");
        }
        if matches!(scope, "deploy" | "admin" | "invoke") {
            let refused = ask(&server, method, &path, Some(&value(&shown[1], "token"))).await;
            assert_eq!(refused.status, 403, "{method} {path}");
            assert!(refused.text().contains("is not authorized to perform"), "{}", refused.text());
        }
    }
    let session = server.client.post(format!("{}/_handlerd/session", server.api));
    let session = server.send(session.body(format!("{{\"token\": \"{token}\"}}"))).await;
    assert_eq!((session.status, session.json()["name"].as_str()), (200, Some("page")));
    assert_eq!(session.header("set-cookie"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn boto3_and_the_cli_sign_and_are_believed() {
    let Some(tools) = python_tools("boto3_and_the_cli_sign_and_are_believed") else { return };
    let (builder, shown) = with_credentials(&[("kim", "read,invoke"), ("root", "admin")]);
    let server = builder.argument("--require-credentials").start().await;
    let aws = |shown: &str, secret: Option<&str>, arguments: &[&str]| {
        let mut aws: Command = tools.program("aws");
        aws.args(["--endpoint-url", &server.api, "--region", "eu-west-1", "--output", "json", "lambda"])
            .args(arguments)
            .env("AWS_ACCESS_KEY_ID", value(shown, "aws_access_key_id"))
            .env(
                "AWS_SECRET_ACCESS_KEY",
                secret.map_or_else(|| value(shown, "aws_secret_access_key"), str::to_owned),
            )
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_MAX_ATTEMPTS", "1");
        commands::run(&mut aws, "")
    };
    let listed = aws(&shown[0], None, &["list-functions"]);
    assert!(listed.stdout.contains("hello"), "{listed:?}");
    let denied = aws(
        &shown[0],
        None,
        &["put-function-concurrency", "--function-name", "hello", "--reserved-concurrent-executions", "1"],
    );
    assert!(
        denied.stderr.contains("(AccessDeniedException)")
            && denied.stderr.contains("user/kim is not authorized to perform: lambda:PutFunctionConcurrency"),
        "{denied:?}"
    );
    let wrong = aws(&shown[0], Some("wrong"), &["list-functions"]);
    assert!(wrong.stderr.contains("(InvalidSignatureException)"), "{wrong:?}");
    let done = aws(
        &shown[1],
        None,
        &["put-function-concurrency", "--function-name", "hello", "--reserved-concurrent-executions", "2"],
    );
    assert_eq!(done.code, Some(0), "{done:?}");
    // Taken back, and at once.
    handlerd(server.folder(), &["credentials", "revoke", "kim"]);
    let gone = aws(&shown[0], None, &["list-functions"]);
    assert!(gone.stderr.contains("(UnrecognizedClientException)"), "{gone:?}");
    let script = "import boto3, sys\nc = boto3.client('lambda', endpoint_url=sys.argv[1], region_name='eu-west-1')\n\
        print(c.invoke(FunctionName='hello', Payload=b'{}')['StatusCode'])";
    let mut python = tools.program("python");
    python.args(["-c", script, &server.api]);
    python.env("AWS_ACCESS_KEY_ID", value(&shown[1], "aws_access_key_id"));
    python.env("AWS_SECRET_ACCESS_KEY", value(&shown[1], "aws_secret_access_key"));
    let invoked = commands::run(&mut python, "");
    assert_eq!(invoked.stdout.trim(), "200", "{invoked:?}");

    let audit: Vec<Value> = handlerd(server.folder(), &["audit", "show", "--json"])
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let told: Vec<_> =
        audit.iter().map(|one| (one["who"].as_str().unwrap(), one["outcome"].as_str().unwrap())).collect();
    assert!(told.contains(&("kim", "denied")) && told.contains(&("root", "done")), "{audit:?}");
    assert!(handlerd(server.folder(), &["audit", "verify"]).contains("all as they were written"));
    // The command line knows its way in.
    assert!(handlerd(server.folder(), &["queue", "--json"]).contains("events"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_byte_of_the_audit_log_is_named() {
    let server = TestServer::with_handler("hello", HELLO).await;
    server.write("hello/lambda_function.py", "def lambda_handler(event, context):\n    return 2\n");
    server.wait_for_terminal("deployed hello");
    let set = format!("{}/2017-10-31/functions/hello/concurrency", server.api);
    let set = server.send(server.client.put(set).body("{\"ReservedConcurrentExecutions\": 3}")).await;
    assert_eq!(set.status, 200);
    let shown = handlerd(server.folder(), &["audit", "show"]);
    assert!(
        shown.contains("handlerd:ChangedOnDisk") && shown.contains("lambda:PutFunctionConcurrency"),
        "{shown}"
    );
    let path = server.state_dir().join("audit.log");
    let text = std::fs::read_to_string(&path).unwrap();
    let line = 1 + text.lines().position(|line| line.contains("\"local\"")).unwrap();
    std::fs::write(&path, text.replacen("\"local\"", "\"other\"", 1)).unwrap();
    let output = program().args(["audit", "verify"]).current_dir(server.folder()).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(told.contains(&*format!("audit.log:{line}: this line has been changed")), "{told}\n{text}");
}

/// This machine's address that is not loopback; nothing is sent.
fn outside() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.254:9").ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|address| !address.is_loopback() && !address.is_unspecified())
}

fn refusal(folder: &Path, arguments: &[&str]) -> String {
    let output = program()
        .arg("serve")
        .args(arguments)
        .args(["--port", "0", "--api-port", "0"])
        .current_dir(folder)
        .output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn other_machines_need_credentials_and_encryption() {
    let (builder, shown) = with_credentials(&[("page", "read")]);
    let empty = TestServerBuilder::new().handler("hello", HELLO);
    let told = refusal(empty.folder(), &["--host", "0.0.0.0", "--tls"]);
    assert!(told.contains("there are no credentials in") && told.contains("credentials create"), "{told}");
    let told = refusal(builder.folder(), &["--host", "0.0.0.0"]);
    assert!(told.contains("without encryption") && told.contains("--behind-proxy"), "{told}");
    let told = refusal(builder.folder(), &["--host", "0.0.0.0", "--behind-proxy"]);
    assert!(told.contains("does not say which proxy"), "{told}");
    let file = builder.folder().join(".handlerd/credentials");
    let mode =
        |mode| std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    mode(0o644);
    let told = refusal(builder.folder(), &["--host", "0.0.0.0", "--tls"]);
    assert!(told.contains("others than its owner may use it (mode 644)"), "{told}");
    mode(0o600);

    let Some(address) = outside() else { return };
    let address = address.to_string();
    let server = builder.argument("--host").argument(&address).argument("--tls").start().await;
    assert!(server.api.starts_with(&format!("https://{address}:")), "{}", server.api);
    let client = reqwest::Client::builder().danger_accept_invalid_certs(true).no_proxy().build().unwrap();
    let url = format!("{}/2015-03-31/functions/", server.api);
    assert_eq!(server.send(client.get(&url)).await.status, 401);
    let known = server.send(client.get(&url).bearer_auth(value(&shown[0], "token"))).await;
    assert_eq!(known.status, 200, "{known:?}");
    let own = client.get(&url).bearer_auth(value(&shown[0], "token")).header("origin", &server.api);
    assert_eq!(server.send(own).await.status, 200);
    let page = client
        .get(&url)
        .bearer_auth(value(&shown[0], "token"))
        .header("origin", server.api.replace("https", "http"));
    assert_eq!(server.send(page).await.status, 403);
    // Commands of this machine need neither the network nor the certificate.
    assert!(handlerd(server.folder(), &["queue", "--json"]).contains("events"));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_named_proxies_speak_for_the_client() {
    let headers = [("x-forwarded-for", "198.51.100.9, 203.0.113.7"), ("x-forwarded-proto", "https")];
    for (trusted, ip, proto) in [("127.0.0.1", "203.0.113.7", "https"), ("192.0.2.0/24", "127.0.0.1", "http")]
    {
        let builder = TestServerBuilder::new().handler("hello", HELLO);
        let server = builder.argument("--trusted-proxy").argument(trusted).start().await;
        let mut request = server.client.get(format!("{}/hello", server.http));
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let told = server.send(request).await.json();
        assert_eq!((told["ip"].as_str(), told["proto"].as_str()), (Some(ip), Some(proto)), "{trusted}");
        // A name that only a proxy may give.
        let list = server.client.get(format!("{}/2015-03-31/functions/", server.api));
        let status = server.send(list.header("x-forwarded-host", "evil.example")).await.status;
        assert_eq!(status, if trusted == "127.0.0.1" { 421 } else { 200 });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_have_keys_of_their_own_and_no_others() {
    let source = "import os, json, urllib.request\ndef lambda_handler(event, context):\n    return {'key': os.environ['AWS_ACCESS_KEY_ID'], 'all': sorted(os.environ.values())}\n";
    let (builder, shown) = with_credentials(&[("page", "admin")]);
    let server = builder.handler("shows", source).argument("--require-credentials").start().await;
    let token = value(&shown[0], "token");
    let invoked = ask(&server, "POST", "/2015-03-31/functions/shows/invocations", Some(&token)).await;
    let told = invoked.json();
    assert!(told["key"].as_str().unwrap().starts_with("ASIA"), "{told}");
    let lock = std::fs::read_to_string(server.state_dir().join("lock")).unwrap();
    let secret = lock.lines().nth(1).unwrap();
    assert!(secret.len() == 64 && !told.to_string().contains(secret) && !told.to_string().contains(&token));
}

/// What functions are given in their environment is told to nobody who has not asked for just that.
#[tokio::test(flavor = "multi_thread")]
async fn secrets_of_functions_stay_where_they_are() {
    let source = "import os\nprint(len(os.environ['SECRET']))\ndef lambda_handler(event, context):\n    raise ValueError('no')\n";
    let server = TestServerBuilder::new()
        .handler("hides", source)
        .file("hides/function.yaml", &format!("Environment:\n  Variables:\n    SECRET: {CANARY}\n"))
        .start()
        .await;
    assert_eq!(server.invoke("hides", "{}").await.status, 200);
    server.write(
        "hides/function.yaml",
        &format!("Environment:\n  Variables:\n    SECRET: {CANARY}\n    AWS_REGION: x\n"),
    );
    server.wait_for_terminal("AWS_REGION");
    for path in ["/health", "/_handlerd/overview", "/_handlerd/queue", "/metrics", "/_handlerd/routes"] {
        let told = ask(&server, "GET", path, None).await;
        assert!(!told.text().contains(CANARY), "{path}");
    }
    assert!(!server.terminal().contains(CANARY) && !server.stdout().contains(CANARY));
    let mut folders = vec![server.state_dir()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            match entry.file_type().unwrap().is_dir() {
                true => folders.push(entry.path()),
                false => {
                    let bytes = std::fs::read(entry.path()).unwrap_or_default();
                    let found = bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes());
                    assert!(!found, "{}", entry.path().display());
                }
            }
        }
    }
}
