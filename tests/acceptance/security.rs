//! The control plane's doors: names, pages, credentials, proxies, encryption, and the log of changes.

use std::net::{IpAddr, UdpSocket};
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::bus;
use crate::commands;
use crate::harness::{Answer, TestServer, TestServerBuilder, program};
use crate::python_tools::python_tools;
use crate::raw_http::Connection;
use crate::schedules::{KEEP, wait_for_events};

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
    crate::catalogue::seen("T1", "12 wrong names x every route: 421", None);
    crate::catalogue::seen("T2", "403 on every route", None);
    crate::catalogue::seen("T12", "401 on every route; 403 beyond the scope", None);
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
    crate::catalogue::seen("T13", "a wrong secret is refused", None);
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
    crate::catalogue::seen("T22", "the line is named", None);
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
    crate::catalogue::seen("T5", "refuses to start", None);
    crate::catalogue::seen("T23", "refuses to start", None);
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
    crate::catalogue::seen("T17", "others are not believed", None);
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
    crate::catalogue::seen("T6", "no secret within reach", None);
}

/// Sends an event to the bus, and asks the Lambda API for what is none of its business; signed with what
/// the function has been given, by nothing but the standard library.
const SENDS: &str = r#"
import datetime, hashlib, hmac, json, os, urllib.error, urllib.request

def ask(service, method, path, headers, body):
    base = os.environ['AWS_ENDPOINT_URL_' + {'events': 'EVENTBRIDGE', 'lambda': 'LAMBDA'}[service]]
    host = base.split('//')[1]
    time = datetime.datetime.now(datetime.timezone.utc).strftime('%Y%m%dT%H%M%SZ')
    scope = [time[:8], os.environ['AWS_REGION'], service, 'aws4_request']
    headers = {'host': host, 'x-amz-date': time, **headers}
    if 'AWS_SESSION_TOKEN' in os.environ:
        headers['x-amz-security-token'] = os.environ['AWS_SESSION_TOKEN']
    names = ';'.join(sorted(headers))
    lines = [f'{name}:{headers[name]}' for name in sorted(headers)]
    canonical = '\n'.join([method, path, '', *lines, '', names, hashlib.sha256(body).hexdigest()])
    text = '\n'.join(['AWS4-HMAC-SHA256', time, '/'.join(scope), hashlib.sha256(canonical.encode()).hexdigest()])
    key = ('AWS4' + os.environ['AWS_SECRET_ACCESS_KEY']).encode()
    for part in scope:
        key = hmac.new(key, part.encode(), 'sha256').digest()
    signature = hmac.new(key, text.encode(), 'sha256').hexdigest()
    credential = os.environ['AWS_ACCESS_KEY_ID'] + '/' + '/'.join(scope)
    headers['authorization'] = f'AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={signature}'
    request = urllib.request.Request(base + path, data=body or None, headers=headers, method=method)
    try:
        with urllib.request.urlopen(request) as answer:
            return [answer.status, json.load(answer)]
    except urllib.error.HTTPError as refused:
        return [refused.code, refused.headers['x-amzn-errortype']]

def lambda_handler(event, context):
    entry = {'Source': 'shop', 'DetailType': 'OrderPlaced', 'Detail': json.dumps({'id': event['id']})}
    headers = {'x-amz-target': 'AWSEvents.PutEvents', 'content-type': 'application/x-amz-json-1.1'}
    sent = ask('events', 'POST', '/', headers, json.dumps({'Entries': [entry]}).encode())
    concurrency = '/2017-10-31/functions/keeps/concurrency'
    return {
        'sent': [sent[0], sent[1]['FailedEntryCount'] if sent[0] == 200 else sent[1]],
        'invoked': ask('lambda', 'POST', '/2015-03-31/functions/doubles/invocations', {}, b'21'),
        'listed': ask('lambda', 'GET', '/2015-03-31/functions/', {}, b''),
        'changed': ask('lambda', 'PUT', concurrency, {}, b'{"ReservedConcurrentExecutions": 1}'),
        'elsewhere': ask('events', 'POST', '/2015-03-31/functions/doubles/invocations', headers, b'21')[0],
    }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_function_sends_events_with_the_key_of_this_run_and_changes_nothing() {
    let (builder, shown) = with_credentials(&[("page", "invoke")]);
    let rule = "Events:\n  New:\n    Type: EventBridgeRule\n    Properties:\n      Pattern:\n        source: [shop]\n";
    let server = builder
        .handler("sends", SENDS)
        .handler("keeps", KEEP)
        .file("keeps/function.yaml", rule)
        .handler("doubles", "def lambda_handler(event, context):\n    return event * 2\n")
        .argument("--require-credentials")
        .start()
        .await;
    let token = value(&shown[0], "token");
    let invoke = server.client.post(format!("{}/2015-03-31/functions/sends/invocations", server.api));
    let told = server.send(invoke.bearer_auth(&token).body(r#"{"id": 7}"#)).await.json();
    let expected = json!({
        "sent": [200, 0],
        "invoked": [200, 42],
        "listed": [403, "AccessDeniedException"],
        "changed": [403, "AccessDeniedException"],
        // The bus's signature is good for the bus.
        "elsewhere": 403,
    });
    assert_eq!(told, expected);
    assert_eq!(wait_for_events(server.folder(), 1)[0].1["detail"], json!({"id": 7}));
    // Nobody else may send any.
    let (status, refused) = bus::ask(&server, "PutEvents", &json!({"Entries": []})).await;
    assert_eq!(status, 401, "{refused}");
    let audit = handlerd(server.folder(), &["audit", "show", "--json"]);
    let denied: Vec<Value> = audit
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["outcome"] == "denied")
        .collect();
    assert_eq!(denied.len(), 1, "{audit}");
    assert_eq!(
        (denied[0]["who"].as_str(), denied[0]["action"].as_str()),
        (Some("functions"), Some("lambda:PutFunctionConcurrency"))
    );
}

/// What functions are given in their environment is told to nobody who has not asked for just that: by
/// no route but those that tell a function's configuration or show its files, and on no way out of here.
#[tokio::test(flavor = "multi_thread")]
async fn secrets_of_functions_stay_where_they_are() {
    let source = "import os\nprint(len(os.environ['SECRET']))\ndef lambda_handler(event, context):\n    if event:\n        raise ValueError('no')\n";
    let variables =
        |value: &str| format!("Environment:\n  Variables:\n    SECRET: {value}\n    OTHER: plain\n");
    let server = TestServerBuilder::new()
        .handler("hides", source)
        .file("hides/function.yaml", &variables(CANARY))
        .handler("kept", source)
        .file("kept/.env", &format!("SECRET={CANARY}\n"))
        .start()
        .await;
    for name in ["hides", "kept"] {
        assert_eq!(server.invoke(name, "{}").await.status, 200);
        assert!(server.invoke(name, "{\"a\": 1}").await.text().contains("ValueError"));
    }
    // The canary is where it may be; so it would be found.
    let configuration = ask(&server, "GET", "/2015-03-31/functions/hides/configuration", None).await;
    assert!(configuration.text().contains(CANARY), "{configuration:?}");

    // Mistakes around it are told without it.
    let configure = format!("{}/2015-03-31/functions/hides/configuration", server.api);
    for body in [
        json!({"Environment": {"Variables": {"SECRET": CANARY, "AWS_REGION": CANARY}}}),
        json!({"Environment": {"Variables": {"SECRET": CANARY, "no name": CANARY}}}),
        json!({"Environment": {"Variables": {"SECRET": [CANARY]}}}),
    ] {
        let refused = server.send(server.client.put(&configure).body(body.to_string())).await;
        assert_eq!(refused.status, 400, "{body}: {}", refused.text());
        assert!(!refused.text().contains(CANARY), "{}", refused.text());
    }
    // Whoever has sent too much is shown what was measured, as on AWS; nobody else is.
    let long = json!({"Environment": {"Variables": {"SECRET": CANARY.repeat(500)}}});
    let refused = server.send(server.client.put(&configure).body(long.to_string())).await;
    assert!(refused.status == 400 && refused.text().contains("String measured: "), "{}", refused.text());
    for (wrong, told) in [
        (format!("{}    AWS_REGION: {CANARY}\n", variables(CANARY)), "AWS_REGION"),
        (variables(&format!("[{CANARY}]")), "SECRET"),
        (variables(&CANARY.repeat(500)), "4096"),
    ] {
        server.write("hides/function.yaml", &wrong);
        server.wait_for_terminal(told);
    }
    server.write("kept/.env", &format!("SECRET={CANARY} and more\n"));
    server.wait_for_terminal("NAME=value");

    let table = ask(&server, "GET", "/_handlerd/routes", None).await.json();
    let mut asked = 0;
    for entry in table.as_array().unwrap().iter().filter(|entry| entry["method"] == "GET") {
        let route = entry["path"].as_str().unwrap();
        let tells_configuration = route.contains("/functions") && !route.contains("/metrics");
        if tells_configuration || route.ends_with("/changes") || route.contains('*') {
            continue;
        }
        for query in ["", "?function=hides", "?function=kept", "?name=hides"] {
            let told = ask(&server, "GET", &format!("{}{query}", filled(route)), None).await;
            assert!(!told.text().contains(CANARY), "{route}{query}: {}", told.text());
            asked += 1;
        }
    }
    assert!(asked > 20, "{asked}: {table}");
    for path in
        ["/health", "/_handlerd/overview", "/_handlerd/queue", "/metrics", "/_handlerd/logs?function=hides"]
    {
        let told = ask(&server, "GET", path, None).await;
        assert_eq!(told.status, 200, "{path}");
        assert!(!told.text().contains(CANARY), "{path}: {}", told.text());
    }
    let audit = handlerd(server.folder(), &["audit", "show", "--json"]);
    assert!(audit.contains("failed") && !audit.contains(CANARY), "{audit}");
    assert!(!server.terminal().contains(CANARY), "{}", server.terminal());
    assert!(!server.stdout().contains(CANARY));
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
    crate::catalogue::seen("T11", "not in logs, answers, store", None);
}
