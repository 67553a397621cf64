//! The console's pages and views: what a browser gets from the control plane's port.

use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};

use base64::Engine;
use serde_json::{Value, json};

use crate::harness::{Answer, TestServer, TestServerBuilder};
use crate::raw_http::{Connection, RawAnswer, exchange};

const HELLO: &str = "def lambda_handler(event, context):\n    return 'hello'\n";

/// With a raw target, as no client would send it.
fn get(server: &TestServer, target: &str, headers: &str) -> RawAnswer {
    exchange(&server.api, request(server, "GET", target, headers))
}

fn request(server: &TestServer, method: &str, target: &str, headers: &str) -> String {
    let host = server.api.strip_prefix("http://").unwrap();
    format!("{method} {target} HTTP/1.1\r\nhost: {host}\r\n{headers}\r\n")
}

async fn view(server: &TestServer, path: &str) -> Answer {
    server.send(server.client.get(format!("{}/_handlerd/{path}", server.api))).await
}

async fn json_of(server: &TestServer, path: &str) -> Value {
    let answer = view(server, path).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.json()
}

const PROTECTION: [(&str, &str); 6] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
         font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("x-frame-options", "DENY"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
];

#[tokio::test]
async fn pages_are_compressed_known_again_and_protected() {
    let server = TestServer::with_handler("hello", HELLO).await;
    let dist = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("console/dist");
    for (path, file, kind) in [
        ("/", "index.html", "text/html; charset=utf-8"),
        ("/index.html", "index.html", "text/html; charset=utf-8"),
        ("/icon.svg", "icon.svg", "image/svg+xml"),
        ("/assets/index.js", "assets/index.js", "text/javascript; charset=utf-8"),
        ("/assets/index.css", "assets/index.css", "text/css; charset=utf-8"),
    ] {
        let built = std::fs::read(dist.join(file)).unwrap();
        let plain = get(&server, path, "");
        assert_eq!((plain.status, plain.header("content-type")), (200, Some(kind)), "{path}");
        assert_eq!(plain.header("content-encoding"), None);
        assert!(plain.body == built, "{path}");
        for (name, value) in PROTECTION {
            assert_eq!(plain.header(name), Some(value), "{path}");
        }
        assert_eq!(plain.header("cache-control"), Some("no-cache"));
        assert_eq!(plain.header("vary"), Some("accept-encoding"));

        let compressed = get(&server, path, "accept-encoding: gzip, deflate, br\r\n");
        assert_eq!(compressed.header("content-encoding"), Some("gzip"), "{path}");
        assert!(compressed.body.len() < built.len());
        assert!(compressed.body == std::fs::read(dist.join(format!("{file}.gz"))).unwrap());
        let tags = [plain.header("etag").unwrap(), compressed.header("etag").unwrap()];
        assert_ne!(tags[0], tags[1]);

        for tag in tags {
            let same = get(&server, path, &format!("if-none-match: W/\"other\", {tag}\r\n"));
            assert_eq!((same.status, same.body.len()), (304, 0), "{path}");
            assert!(same.header("etag").is_some() && same.header("content-security-policy").is_some());
        }
        assert_eq!(get(&server, path, "if-none-match: \"other\"\r\n").status, 200);

        let mut connection = Connection::open(&server.api);
        connection.send(request(&server, "HEAD", path, ""));
        let head = connection.answer_without_body();
        assert_eq!((head.status, head.header("etag")), (200, Some(tags[0])));
        assert_eq!(head.header("content-length"), Some(built.len().to_string().as_str()));
        // Nothing followed it: the next answer begins where it should.
        connection.send(request(&server, "GET", path, ""));
        assert_eq!(connection.answer().status, 200);
    }
    for path in ["/assets/nothing.js", "/assets/..%2findex.html", "/assets/%2e%2e", "/assets/index.js.gz"] {
        let answer = get(&server, path, "");
        assert_eq!(
            (answer.status, answer.header("x-content-type-options")),
            (404, Some("nosniff")),
            "{path}"
        );
    }
    // What the page names is there.
    let page = get(&server, "/", "");
    let page = page.text();
    let named = page.split('"').filter(|part| part.starts_with('/'));
    assert!(named.clone().count() >= 3);
    for path in named {
        assert_eq!(get(&server, path, "").status, 200, "{path}");
    }
    assert!(!page.contains("<style") && !page.contains("onload="), "the policy would refuse it");
    // The event bus is asked at the same path.
    let other = server.send(server.client.post(format!("{}/", server.api)).body("{}")).await;
    assert_ne!(other.header("content-type"), Some("text/html; charset=utf-8"));
    crate::catalogue::seen("T3", "the policy is on every page", None);
}

#[tokio::test]
async fn the_overview_tells_of_everything() {
    let server = TestServerBuilder::new()
        .handler("hello", HELLO)
        .file("hello/function.yaml", "Description: says hello\nRuntime: python3.9\nFunctionUrlConfig: {AuthType: NONE}\n")
        .handler("orders", HELLO)
        .file(
            "orders/function.yaml",
            "Events:\n  One: {Type: HttpApi, Properties: {Path: '/orders/{id}', Method: get}}\n  Make: {Type: HttpApi, \
             Properties: {Path: /orders, Method: post}}\n  All: {Type: HttpApi, Properties: {Path: /orders, Method: \
             get}}\n",
        )
        .handler("broken", HELLO)
        .file("broken/function.yaml", "Timeout: many\n")
        .file("nearly/app.py", "")
        .start()
        .await;
    let told = json_of(&server, "overview").await;
    assert_eq!(told["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!((&told["template"], &told["http_url"]), (&json!(false), &json!(server.http)));
    assert!(told["handlers"].as_str().unwrap().ends_with("handlers"));
    assert!(told["interpreter"].as_str().unwrap().starts_with("python3."));
    let functions = told["functions"].as_array().unwrap();
    let names: Vec<&str> = functions.iter().map(|function| function["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["broken", "hello", "orders"]);
    let (broken, hello, orders) = (&functions[0], &functions[1], &functions[2]);
    assert_eq!(broken["state"], "Broken");
    assert!(broken["reason"].as_str().unwrap().contains("Timeout"), "{broken}");
    assert_eq!((&hello["state"], &hello["source"]), (&json!("Active"), &json!("handlers")));
    assert_eq!((&hello["runtime"], &hello["description"]), (&json!("python3.9"), &json!("says hello")));
    assert!(hello["urls"].as_array().unwrap().iter().any(|url| url["what"] == "function URL"), "{hello}");
    let urls: Vec<(&str, &str)> = orders["urls"]
        .as_array()
        .unwrap()
        .iter()
        .map(|url| (url["method"].as_str().unwrap(), url["url"].as_str().unwrap()))
        .collect();
    assert_eq!(urls[0], ("GET", format!("{}/orders", server.http).as_str()));
    assert_eq!(urls.len(), 3);
    let problems = told["problems"].as_array().unwrap();
    assert!(problems.iter().any(|problem| problem["text"].as_str().unwrap().contains("is no function")));

    // Code that cannot be loaded is known a moment after it is saved.
    for (code, state) in [("import nothing_like_it\n", "Broken"), (HELLO, "Active")] {
        server.write("orders/lambda_function.py", code);
        let began = std::time::Instant::now();
        loop {
            assert!(began.elapsed() < std::time::Duration::from_secs(20), "it does not become {state}");
            let told = json_of(&server, "overview").await;
            let orders = &told["functions"][2];
            if orders["state"] == state {
                let reason = orders["reason"].as_str().unwrap_or_default();
                assert_eq!(reason.contains("nothing_like_it"), state == "Broken", "{orders}");
                break;
            }
        }
    }

    // It is made of the same as GetFunctionConfiguration.
    let url = format!("{}/2015-03-31/functions/hello/configuration", server.api);
    let configuration = server.send(server.client.get(url)).await.json();
    assert_eq!(configuration["LastModified"], hello["last_modified"]);

    let runtimes = json_of(&server, "runtimes").await;
    let runtimes = runtimes.as_array().unwrap();
    assert_eq!(runtimes.iter().filter(|runtime| runtime["default"] == true).count(), 1);
    assert!(runtimes.iter().any(|runtime| runtime["runtime"] == told["interpreter"]));
}

/// The stream's next piece that holds this text.
fn piece(connection: &mut Connection, wanted: &str) -> String {
    let mut seen = String::new();
    loop {
        let chunk = connection.chunk().unwrap_or_else(|| panic!("the stream ended after {seen}"));
        seen += std::str::from_utf8(&chunk).unwrap();
        if let Some(event) = seen.split_inclusive("\n\n").find(|event| event.contains(wanted)) {
            return event.to_owned();
        }
    }
}

fn follow(server: &TestServer) -> Connection {
    let mut connection = Connection::open(&server.api);
    connection.send(request(server, "GET", "/_handlerd/changes", ""));
    let head = connection.answer_without_body();
    assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")));
    assert!(piece(&mut connection, "event: hello").contains("version"));
    connection
}

#[tokio::test]
async fn what_is_saved_is_told() {
    let mut server = TestServer::with_handler("hello", HELLO).await;
    let mut stream = follow(&server);
    server.write("hello/lambda_function.py", &HELLO.replace("hello", "changed"));
    let told = piece(&mut stream, "event: deployment");
    let data: Value = serde_json::from_str(told.split("data: ").nth(1).unwrap().trim()).unwrap();
    assert_eq!((&data["changed"], &data["removed"]), (&json!(["hello"]), &json!([])));
    server.write("another/lambda_function.py", HELLO);
    piece(&mut stream, "\"changed\":[\"another\"]");
    std::fs::remove_dir_all(server.handlers().join("another")).unwrap();
    piece(&mut stream, "\"removed\":[\"another\"]");

    // It ends with the gateway, and does not hold it up.
    server.signal(rustix::process::Signal::TERM);
    while stream.chunk().is_some() {}
    assert!(server.wait_for_exit().success());
}

#[tokio::test]
async fn followers_are_counted() {
    let server = TestServer::with_handler("hello", HELLO).await;
    let mut streams: Vec<Connection> = (0..64).map(|_| follow(&server)).collect();
    let refused = get(&server, "/_handlerd/changes", "");
    assert_eq!(refused.status, 503, "{}", refused.text());
    streams.pop();
    // Whoever leaves makes room, as soon as it is noticed.
    let (server, streams) = (&server, &streams);
    crate::harness::eventually("there is room", || {
        let mut connection = Connection::open(&server.api);
        connection.send(request(server, "GET", "/_handlerd/changes", ""));
        connection.answer_without_body().status == 200
    });
    assert_eq!(streams.len(), 63);
}

fn entries(zip: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(zip)).unwrap();
    (0..archive.len())
        .map(|at| {
            let mut entry = archive.by_index(at).unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            (entry.name().unwrap().into_owned(), entry.unix_mode().unwrap() & 0o777, content)
        })
        .collect()
}

#[tokio::test]
async fn files_are_listed_shown_and_downloaded() {
    let server = TestServerBuilder::new()
        .handler("hello", HELLO)
        .file("hello/lib/grüße.py", "text = 'é😀'\n")
        .file("hello/run.sh", "#!/bin/sh\n")
        .file("hello/.env", "SECRET=do-not-tell\n")
        .file("hello/function.yaml", "Timeout: 5\n")
        .file("hello/.events/one.json", "{}")
        .file("hello/__pycache__/x.pyc", "x")
        .file("hello/.venv/bin/python", "x")
        .file("hello/large.txt", &"a".repeat(3 * 1024 * 1024 + 1))
        .start()
        .await;
    let folder = server.handlers().join("hello");
    std::fs::write(folder.join("image.png"), b"\x89PNG\r\n\x1a\n\0\0").unwrap();
    std::fs::set_permissions(folder.join("run.sh"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let told = json_of(&server, "functions/hello/files").await;
    let files: Vec<(&str, u64, bool)> = told["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| {
            let path = file["path"].as_str().unwrap();
            (path, file["size"].as_u64().unwrap(), file["binary"].as_bool().unwrap())
        })
        .collect();
    assert_eq!(
        files,
        [
            ("image.png", 10, true),
            ("lambda_function.py", HELLO.len() as u64, false),
            ("large.txt", 3 * 1024 * 1024 + 1, false),
            ("lib/grüße.py", 16, false),
            ("run.sh", 10, false),
        ]
    );
    let url = format!("{}/2015-03-31/functions/hello/configuration", server.api);
    let configuration = server.send(server.client.get(url)).await.json();
    assert_eq!(told["revision"], configuration["CodeSha256"]);

    let shown = view(&server, "functions/hello/file?path=lib/gr%C3%BC%C3%9Fe.py").await;
    assert_eq!((shown.status, shown.text()), (200, "text = 'é😀'\n"));
    assert_eq!(shown.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(shown.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(shown.header("x-revision"), told["revision"].as_str());
    for (query, status) in [
        ("path=image.png", 415),
        ("path=large.txt", 413),
        ("path=lib", 404),
        ("path=nothing.py", 404),
        ("", 400),
    ] {
        let answer = view(&server, &format!("functions/hello/file?{query}")).await;
        assert_eq!(answer.status, status, "{query}: {}", answer.text());
    }
    assert_eq!(view(&server, "functions/nobody/files").await.status, 404);
    assert_eq!(
        view(&server, "functions/nobody/download").await.json()["message"],
        "there is no function `nobody`"
    );

    let package = view(&server, "functions/hello/download").await;
    assert_eq!((package.status, package.header("content-type")), (200, Some("application/zip")));
    assert_eq!(package.header("x-revision"), told["revision"].as_str());
    let packed = entries(&package.body);
    let names: Vec<&str> = packed.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(names, files.iter().map(|(path, ..)| *path).collect::<Vec<_>>());
    let mode = |name: &str| packed.iter().find(|(known, ..)| known == name).unwrap().1;
    assert_eq!((mode("run.sh"), mode("lambda_function.py")), (0o755, 0o644));

    // Deployed as it is, nothing is another.
    let before = std::fs::read(folder.join("image.png")).unwrap();
    let answer = deploy(&server, &package.body, configuration["RevisionId"].as_str()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let again = json_of(&server, "functions/hello/files").await;
    assert_eq!(again["files"], told["files"]);
    assert_eq!(again["revision"], answer.json()["CodeSha256"]);
    assert_eq!(std::fs::read(folder.join("image.png")).unwrap(), before);
    assert_eq!(std::fs::read_to_string(folder.join(".env")).unwrap(), "SECRET=do-not-tell\n");
    let mode = std::fs::metadata(folder.join("run.sh")).unwrap().permissions().mode();
    assert_eq!(mode & 0o111, 0o111);
}

async fn deploy(server: &TestServer, zip: &[u8], revision: Option<&str>) -> Answer {
    let zip = base64::engine::general_purpose::STANDARD.encode(zip);
    let body = json!({"ZipFile": zip, "RevisionId": revision});
    let url = format!("{}/2015-03-31/functions/hello/code", server.api);
    server.send(server.client.put(url).body(body.to_string())).await
}

#[tokio::test]
async fn a_stale_deployment_changes_nothing() {
    let server = TestServer::with_handler("hello", HELLO).await;
    let url = format!("{}/2015-03-31/functions/hello/configuration", server.api);
    let stale = server.send(server.client.get(url)).await.json()["RevisionId"].as_str().unwrap().to_owned();
    let package = view(&server, "functions/hello/download").await;
    let mine = HELLO.replace("hello", "somebody else's");
    server.write("hello/lambda_function.py", &mine);
    let answer = deploy(&server, &package.body, Some(&stale)).await;
    assert_eq!(answer.status, 412, "{}", answer.text());
    assert_eq!(answer.header("x-amzn-errortype"), Some("PreconditionFailedException"));
    let shown = view(&server, "functions/hello/file?path=lambda_function.py").await;
    assert_eq!(shown.text(), mine);
    assert_ne!(shown.header("x-revision"), package.header("x-revision"));
}

#[tokio::test]
async fn no_path_leads_out() {
    let server = TestServerBuilder::new()
        .handler("hello", HELLO)
        .file("hello/lib/util.py", "x = 1\n")
        .file("hello/.env", "SECRET=do-not-tell\n")
        .file("hello/.events/one.json", "do-not-tell")
        .handler("other", "# do-not-tell\n")
        .project_file("secret.txt", "do-not-tell")
        .project_file("handlers-too/secret.txt", "do-not-tell")
        .start()
        .await;
    let folder = server.handlers().join("hello");
    for (link, target) in [
        ("absolute", server.folder().join("secret.txt").to_str().unwrap()),
        ("root", server.folder().join("handlers-too").to_str().unwrap()),
        ("up", ".."),
        ("out.txt", "../../secret.txt"),
        ("deep", "lib/../../../secret.txt"),
        ("settings", ".env"),
        ("events", ".events"),
        ("chain", "up"),
    ] {
        symlink(target, folder.join(link)).unwrap();
    }
    let outside = server.folder().join("secret.txt");
    let outside = outside.to_str().unwrap();
    let mut hostile: Vec<String> = [
        "..",
        ".",
        "",
        "/",
        "//",
        "../other/lambda_function.py",
        "..%2Fother%2Flambda_function.py",
        "%2e%2e/other/lambda_function.py",
        "%2e%2e%2fother%2flambda_function.py",
        "%252e%252e%252fother",
        "..%5Cother%5Clambda_function.py",
        "lib/../../other/lambda_function.py",
        "lib/../lambda_function.py",
        "./lambda_function.py",
        "lib//util.py",
        "lib/./util.py",
        "lib/util.py/",
        "lib/",
        "lib",
        "lambda_function.py%00",
        "lambda_function.py%00.txt",
        "%00",
        "/etc/passwd",
        "//etc/passwd",
        "%2Fetc%2Fpasswd",
        "file:///etc/passwd",
        "/proc/self/environ",
        "/dev/zero",
        "/dev/stdin",
        "absolute",
        "root",
        "root/secret.txt",
        "up",
        "up/other/lambda_function.py",
        "up/hello/lambda_function.py",
        "chain/other/lambda_function.py",
        "out.txt",
        "deep",
        "settings",
        "events/one.json",
        "process/environ",
        "process/root/etc/passwd",
        ".env",
        "lib/../.env",
        ".events/one.json",
        "function.yaml",
        "..%c0%af..%c0%afetc/passwd",
        "%ff%fe",
        "lambda_function.py/../../other/lambda_function.py",
        "....//....//secret.txt",
        "..;/other/lambda_function.py",
        "~/.bashrc",
        "$HOME/.bashrc",
    ]
    .map(str::to_owned)
    .into();
    hostile.push(outside.to_owned());
    hostile.push("../".repeat(60) + "etc/passwd");
    hostile.push("a/".repeat(3000));
    hostile.push("x".repeat(5000));
    assert!(hostile.len() >= 50);
    for path in &hostile {
        let answer = get(&server, &format!("/_handlerd/functions/hello/file?path={path}"), "");
        assert!(matches!(answer.status, 400 | 404), "{path}: {} {}", answer.status, answer.text());
        assert!(!answer.text().contains("do-not-tell"), "{path}");
    }
    for name in ["..", "%2e%2e", "..%2fother", "hello%2f..%2fother", "hello%00", ".", "hello:1", "Hello"] {
        let target = format!("/_handlerd/functions/{name}/file?path=lambda_function.py");
        let answer = get(&server, &target, "");
        assert!(answer.status >= 400 && !answer.text().contains("do-not-tell"), "{name}: {}", answer.status);
    }
    let told = json_of(&server, "functions/hello/files").await;
    let paths: Vec<&str> =
        told["files"].as_array().unwrap().iter().map(|file| file["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["lambda_function.py", "lib/util.py"]);
    // A package without them would remove them when it is deployed.
    let refused = view(&server, "functions/hello/download").await;
    assert_eq!(refused.status, 409);
    assert!(refused.json()["message"].as_str().unwrap().contains("link"), "{}", refused.text());
    crate::catalogue::seen("T7", "none leads out", None);
}

#[tokio::test]
async fn a_folder_that_is_exchanged_all_the_time_tells_nothing_else() {
    let server = TestServerBuilder::new()
        .handler("hello", HELLO)
        .handler("other", HELLO)
        .file("hello/lib/data.txt", "mine")
        .project_file("outside/data.txt", "do-not-tell")
        .start()
        .await;
    let folder = server.handlers().join("hello");
    symlink(server.folder().join("outside"), folder.join("link")).unwrap();
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let exchanging = std::thread::spawn({
        let (one, other, stop) = (folder.join("lib"), folder.join("link"), stop.clone());
        move || {
            let exchange = rustix::fs::RenameFlags::EXCHANGE;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let _ = rustix::fs::renameat_with(rustix::fs::CWD, &one, rustix::fs::CWD, &other, exchange);
            }
        }
    });
    let mut statuses = std::collections::BTreeMap::new();
    for _ in 0..10 {
        for path in ["file?path=lib/data.txt", "file?path=link/data.txt", "download", "files"] {
            let answer = view(&server, &format!("functions/hello/{path}")).await;
            *statuses.entry((path, answer.status)).or_insert(0) += 1;
            assert!(
                matches!(answer.status, 200 | 404 | 409),
                "{path}: {}",
                String::from_utf8_lossy(&answer.body)
            );
            let packed =
                if path == "download" && answer.status == 200 { entries(&answer.body) } else { Vec::new() };
            let told = String::from_utf8_lossy(&answer.body);
            assert!(!told.contains("do-not-tell"), "{path}");
            assert!(packed.iter().all(|(.., content)| content != b"do-not-tell"));
        }
    }
    // Other functions are served all the while.
    assert_eq!(server.get("/other").await.text(), "hello");
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    exchanging.join().unwrap();
    println!("{statuses:?}");
}

async fn check(server: &TestServer, path: &str, text: &str) -> Value {
    let url = format!("{}/_handlerd/check", server.api);
    let body = json!({"path": path, "text": text}).to_string();
    let answer = server.send(server.client.post(url).body(body)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["problems"].take()
}

/// Line, column, end, a part of the message, severity.
type Expected<'a> = (u64, u64, u64, &'a str, &'a str);

#[tokio::test]
async fn mistakes_are_found_without_running_anything() {
    let server = TestServer::with_handler("hello", HELLO).await;
    let mark = server.folder().join("ran");
    let harmless = format!("open({:?}, 'w')\nimport os\nos._exit(1)\n", mark.to_str().unwrap());
    assert_eq!(check(&server, "a.py", &harmless).await, json!([]));
    assert!(!mark.exists());

    let cases: [(&str, &str, &[Expected]); 15] = [
        ("a.py", HELLO, &[]),
        ("a.py", "", &[]),
        ("a.py", "\u{feff}x = 1\r\ny = 2\r\n", &[]),
        ("a.py", "x = 'é😀' + (1 2)\n", &[(1, 14, 17, "comma", "error")]),
        ("a.py", "x = 'é😀'; return 1\n", &[(1, 12, 20, "'return' outside function", "error")]),
        (
            "a.py",
            "def f(:\n    pass\n\n\ndef g():\n    return )\n",
            &[(1, 7, 8, "invalid syntax", "error"), (6, 12, 13, "unmatched ')'", "error")],
        ),
        ("a.py", "if True:\nx = 1\n", &[(2, 1, 2, "expected an indented block", "error")]),
        ("a.py", "x = (1,\n", &[(1, 5, 6, "never closed", "error")]),
        ("a.py", "x = \"\"\"abc\n", &[(1, 5, 6, "unterminated triple-quoted", "error")]),
        ("a.py", "\nx = 1 is 1\n", &[(2, 1, 11, "\"is\" with", "warning")]),
        ("a.py", "x = 1\ny = '\0'\n", &[(2, 1, 8, "null bytes", "error")]),
        ("A.JSON", "{\n  \"é😀\": x\n}", &[(2, 10, 11, "expected value", "error")]),
        ("a.yaml", "a: 1\nb: {\n", &[(3, 1, 1, "", "error")]),
        ("a.txt", "def f(:\n", &[]),
        ("Makefile", "{", &[]),
    ];
    for (path, text, expected) in cases {
        let found = check(&server, path, text).await;
        let found = found.as_array().unwrap();
        assert_eq!(found.len(), expected.len(), "{text:?}: {found:?}");
        for (problem, (line, column, end, message, severity)) in found.iter().zip(expected) {
            assert_eq!(problem["line"], *line, "{text:?}: {problem}");
            let is_yaml = path.ends_with("yaml");
            assert!(is_yaml || problem["column"] == *column, "{text:?}: {problem}");
            assert!(is_yaml || problem["end_column"] == *end, "{text:?}: {problem}");
            assert!(problem["message"].as_str().unwrap().contains(message), "{problem}");
            assert_eq!(problem["severity"], *severity);
        }
    }
    // What would take all the stack or all the time of a careless reader.
    for text in ["(".repeat(300_000), "-".repeat(900_000) + "1", "a.b".repeat(200_000), "[".repeat(90) + "1"]
    {
        let problems = check(&server, "a.py", &text).await;
        assert!(!problems.as_array().unwrap().is_empty(), "{}", &text[..20]);
    }
    for text in ["[".repeat(1_000_000), "{\"a\":".repeat(150_000)] {
        assert!(!check(&server, "a.json", &text).await.as_array().unwrap().is_empty());
        assert!(!check(&server, "a.yaml", &text).await.as_array().unwrap().is_empty());
    }
    let url = format!("{}/_handlerd/check", server.api);
    for (body, status) in [
        ("{".to_owned(), 400),
        ("{\"path\": \"a.py\"}".to_owned(), 400),
        (json!({"path": "a.py", "text": "#".repeat(1024 * 1024 + 1)}).to_string(), 413),
        ("x".repeat(5 * 1024 * 1024), 413),
    ] {
        let answer = server.send(server.client.post(&url).body(body)).await;
        assert_eq!(answer.status, status, "{}", answer.text());
        assert!(answer.json()["message"].is_string());
    }
}

#[tokio::test]
async fn an_exported_function_deploys_and_answers_the_same() {
    let code = "import json, os\n\ndef lambda_handler(event, context):\n    return {'statusCode': 201, 'body': \
                json.dumps({'path': event['rawPath'], 'greeting': os.environ['GREETING'], 'memory': \
                context.memory_limit_in_mb})}\n";
    let yaml = "Runtime: RUNTIME\nMemorySize: 256\nEnvironment: {Variables: {GREETING: hi}}\nEvents:\n  Read: {Type: \
                HttpApi, Properties: {Path: '/items/{id}', Method: get}}\n";
    let probe = TestServer::with_handler("hello", HELLO).await;
    let runtime = json_of(&probe, "overview").await["interpreter"].as_str().unwrap().to_owned();
    drop(probe);
    let original = TestServerBuilder::new()
        .handler("order-items", code)
        .file("order-items/function.yaml", &yaml.replace("RUNTIME", &runtime))
        .handler("another", HELLO)
        .start()
        .await;
    let answer = view(&original, "functions/order-items/export").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/yaml")));
    let text = answer.text();
    assert!(text.contains("CodeUri: handlers/order-items") && !text.contains("another"), "{text}");
    let exported = TestServerBuilder::template(text)
        .project_file("handlers/order-items/lambda_function.py", code)
        .start()
        .await;
    let told = json_of(&exported, "overview").await;
    assert_eq!(told["functions"][0]["source"], "template");
    assert_eq!((&told["template"], &told["functions"][0]["name"]), (&json!(true), &json!("order-items")));
    for path in ["/items/7", "/items", "/nothing"] {
        let (one, other) = (original.get(path).await, exported.get(path).await);
        assert_eq!((one.status, one.text()), (other.status, other.text()), "{path}");
    }
    assert_eq!(exported.get("/items/7").await.status, 201);
    // Functions of templates have files too.
    let files = json_of(&exported, "functions/order-items/files").await;
    assert_eq!(files["files"][0]["path"], "lambda_function.py");
    assert_eq!(view(&original, "functions/nobody/export").await.status, 404);
}

/// What a page shows of somebody else's words it shows as text: nothing in the sources can make markup
/// of it. `{@html}` is Svelte's way.
#[test]
fn the_console_writes_text_only() {
    fn look(folder: &std::path::Path, found: &mut Vec<String>, files: &mut usize) {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                look(&path, found, files);
                continue;
            }
            let Ok(text) = std::fs::read_to_string(&path) else { continue };
            *files += 1;
            for way in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "{@html",
                "eval(",
                "new Function(",
                "srcdoc",
                "createContextualFragment",
                "javascript:",
            ] {
                if text.contains(way) {
                    found.push(format!("{}: {way}", path.display()));
                }
            }
        }
    }
    let (mut found, mut files) = (Vec::new(), 0);
    look(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("console/src"), &mut found, &mut files);
    assert!(files > 50, "{files}");
    assert_eq!(found, [""; 0]);
    crate::catalogue::seen("T4", format!("{files} files of the console make no markup of text"), None);
}
