//! Web frameworks from PyPI inside handlers, behind every kind of front door: what they make of our
//! events, and we of their answers.

use serde_json::json;

use crate::harness::{Answer, TestServer, TestServerBuilder};
use crate::python_tools::{PythonTools, python_tools};

async fn start(tools: &PythonTools) -> TestServer {
    TestServerBuilder::app("frameworks")
        .argument("--python")
        .argument(tools.folder())
        .argument("--parameter-overrides")
        .argument(&format!("Runtime={}", tools.runtime()))
        .start()
        .await
}

async fn send(
    server: &TestServer,
    method: &str,
    host: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> Answer {
    let request = server.client.request(method.parse().unwrap(), format!("{}{path}", server.http));
    let mut request = request.header("host", host).body(body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    server.send(request).await
}

fn cookies(answer: &Answer) -> Vec<String> {
    let cookies = answer.headers.get_all("set-cookie").iter();
    let mut names: Vec<String> =
        cookies.map(|cookie| cookie.to_str().unwrap().split(';').next().unwrap().to_owned()).collect();
    names.sort();
    names
}

/// A form with a field and a file, as a browser sends it.
fn form(content: &[u8]) -> (String, Vec<u8>) {
    let boundary = "----handlerd-test";
    let mut body = format!(
        "--{boundary}\r\ncontent-disposition: form-data; name=\"title\"\r\n\r\nA picture\r\n--{boundary}\r\n\
         content-disposition: form-data; name=\"file\"; filename=\"p.bin\"\r\ncontent-type: application/octet-stream\r\n\r\n"
    )
    .into_bytes();
    body.extend_from_slice(content);
    body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    (format!("multipart/form-data; boundary={boundary}"), body)
}

#[tokio::test]
async fn powertools_resolvers() {
    let Some(tools) = python_tools("powertools_resolvers") else { return };
    let server = start(tools).await;
    for (host, prefix) in [
        ("localhost", "/rest"),
        ("localhost", "/http"),
        ("powertoolsurl.lambda-url.localhost", "/url"),
        ("balancer.elb.localhost", "/alb"),
    ] {
        let agent = [("user-agent", "tester/1"), ("accept", "*/*")];
        let read = send(&server, "GET", host, &format!("{prefix}/items/tea?tag=a"), &agent, Vec::new()).await;
        assert_eq!(read.status, 200, "{prefix}: {read:?}");
        assert_eq!(read.json(), json!({"name": "tea", "tag": "a", "agent": "tester/1"}), "{prefix}");

        let sent = [("content-type", "application/json")];
        let created =
            send(&server, "POST", host, &format!("{prefix}/items"), &sent, br#"{"n": 1}"#.to_vec()).await;
        assert_eq!((created.status, created.json()), (201, json!({"got": {"n": 1}})), "{prefix}");
        assert_eq!(cookies(&created), ["a=1", "b=2"], "{prefix}");

        let lost = send(&server, "GET", host, &format!("{prefix}/nothing"), &[], Vec::new()).await;
        assert_eq!(lost.status, 404, "{prefix}: the resolver's own");

        // A REST API would need binaryMediaTypes.
        if prefix != "/rest" {
            let bytes = send(&server, "GET", host, &format!("{prefix}/bytes"), &[], Vec::new()).await;
            assert_eq!(bytes.body, b"\x89PNG\r\n", "{prefix}");
            let gzip = [("accept-encoding", "gzip")];
            let large = send(&server, "GET", host, &format!("{prefix}/large"), &gzip, Vec::new()).await;
            assert_eq!(large.header("content-encoding"), Some("gzip"), "{prefix}");
            assert_eq!(&large.body[..2], b"\x1f\x8b", "{prefix}");
        }
    }
}

#[tokio::test]
async fn fastapi_through_mangum_and_flask_through_wsgi() {
    let Some(tools) = python_tools("fastapi_through_mangum_and_flask_through_wsgi") else { return };
    let server = start(tools).await;
    for (prefix, front) in [("/fast", "fast"), ("/flask", "flask"), ("/live/flask-rest", "flask-rest")] {
        let get = async |path: &str, headers: &[(&str, &str)]| {
            send(&server, "GET", "localhost", &format!("{prefix}{path}"), headers, Vec::new()).await
        };
        let read = get("/items/green%20tea?size=3&tag=a&tag=b", &[]).await;
        assert_eq!((read.status, &read.json()["name"]), (200, &json!("green tea")), "{prefix}: {read:?}");
        if front != "fast" {
            assert_eq!(read.json()["tags"], json!(["a", "b"]), "{prefix}");
        }

        let content: Vec<u8> = (0..=255).cycle().take(5000).collect();
        let (content_type, body) = form(&content);
        let path = format!("{prefix}/upload");
        let uploaded =
            send(&server, "POST", "localhost", &path, &[("content-type", &content_type)], body).await;
        let sum: u64 = content.iter().map(|&byte| u64::from(byte)).sum();
        let expected = json!({"title": "A picture", "name": "p.bin", "bytes": 5000, "sum": sum});
        assert_eq!((uploaded.status, uploaded.json()), (200, expected), "{prefix}");

        let first = get("/cookies", &[]).await;
        assert_eq!(cookies(&first), ["seen=once", "theme=dark"], "{prefix}");
        let second = get("/cookies", &[("cookie", "theme=dark; seen=once")]).await;
        assert_eq!(second.json(), json!({"seen": "once"}), "{prefix}");

        let download = get("/download", &[("accept", "*/*")]).await;
        assert_eq!(download.body, (0..=255).collect::<Vec<u8>>(), "{prefix}");
        assert_eq!(download.header("content-type"), Some("application/octet-stream"), "{prefix}");
    }
}
