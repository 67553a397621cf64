//! Requests and saves that try to get past what a template says.

use std::io::{Read, Write};
use std::net::TcpListener;

use crate::harness::TestServerBuilder;
use crate::raw_http::exchange;

/// May ask for everything but `GET /admin`; and, of `/keyed`, only with exactly these headers.
const AUTHORIZERS: &str = r#"
def statement(effect, resource):
    return {"Effect": effect, "Action": "execute-api:Invoke", "Resource": resource}

def policy(*statements):
    return {"principalId": "p", "policyDocument": {"Version": "2012-10-17", "Statement": statements}}

def by_path(event, context):
    stage = "/".join(event["methodArn"].split("/")[:2])
    return policy(statement("Allow", stage + "/*"), statement("Deny", stage + "/GET/admin"))

def by_headers(event, context):
    given = {name.lower(): values for name, values in event["multiValueHeaders"].items()}
    fits = given["x-a"] == ["1", "2"] and given["x-b"] == ["3"]
    return policy(statement("Allow" if fits else "Deny", "*"))

def handler(event, context):
    return {"statusCode": 200, "body": "behind the door"}
"#;

const GUARDED: &str = "
Transform: AWS::Serverless-2016-10-31
Globals:
  Function: {Runtime: python3.13, CodeUri: src/}
Resources:
  Shop:
    Type: AWS::Serverless::Api
    Properties:
      StageName: prod
      Auth:
        DefaultAuthorizer: ByPath
        Authorizers:
          ByPath: {FunctionArn: !GetAtt ByPath.Arn}
          ByHeaders:
            FunctionArn: !GetAtt ByHeaders.Arn
            FunctionPayloadType: REQUEST
            Identity: {Headers: [X-A, X-B]}
  ByPath: {Type: AWS::Serverless::Function, Properties: {Handler: app.by_path}}
  ByHeaders: {Type: AWS::Serverless::Function, Properties: {Handler: app.by_headers}}
  Admin:
    Type: AWS::Serverless::Function
    Properties:
      Handler: app.handler
      Events:
        Admin: {Type: Api, Properties: {RestApiId: !Ref Shop, Path: /admin, Method: get}}
        Open: {Type: Api, Properties: {RestApiId: !Ref Shop, Path: /open, Method: get}}
        Keyed: {Type: Api, Properties: {RestApiId: !Ref Shop, Path: /keyed, Method: get, Auth: {Authorizer: ByHeaders}}}
";

fn status(url: &str, path: &str, headers: &str) -> u16 {
    exchange(url, format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n")).status
}

#[tokio::test]
async fn a_denied_path_is_denied_however_it_is_written() {
    let server = TestServerBuilder::template(GUARDED).project_file("src/app.py", AUTHORIZERS).start().await;
    let token = "Authorization: x\r\n";
    assert_eq!(status(&server.http, "/open/", token), 200);
    for path in [
        "/admin",
        "/admin/",
        "/admin//",
        "//admin",
        "/prod/admin/",
        "//prod/admin",
        "/prod//admin///",
        "/admin?x=1",
        "/%61dmin",
        "/./admin",
        "/open/../admin",
        "/admin%2f",
        "/_aws/execute-api/Shop/prod/admin/",
    ] {
        assert_eq!(status(&server.http, path, token), 403, "{path}");
    }
}

#[tokio::test]
async fn a_kept_decision_is_for_exactly_these_headers() {
    let server = TestServerBuilder::template(GUARDED).project_file("src/app.py", AUTHORIZERS).start().await;
    let ask = |headers: &str| status(&server.http, "/keyed", headers);
    assert_eq!(ask("X-A: 1\r\nX-A: 2\r\nX-B: 3\r\n"), 200);
    for headers in
        ["X-A: 1\r\nX-B: 2\r\nX-B: 3\r\n", "X-A: 1,2\r\nX-B: 3\r\n", "X-A: 2\r\nX-A: 1\r\nX-B: 3\r\n"]
    {
        assert_eq!(ask(headers), 403, "{headers}");
    }
    for headers in ["X-B: 3\r\n", "X-A:\r\nX-B: 3\r\n"] {
        assert_eq!(ask(headers), 401, "{headers}");
    }
}

/// Answers every request with its first line.
fn another_server() -> String {
    server_that_answers(|line| {
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{line}", line.len())
    })
}

fn server_that_answers(answer: impl Fn(&str) -> String + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut asked = Vec::new();
            let mut buffer = [0; 4096];
            while !asked.windows(4).any(|four| four == b"\r\n\r\n") {
                let Ok(length @ 1..) = stream.read(&mut buffer) else { break };
                asked.extend_from_slice(&buffer[..length]);
            }
            let line = String::from_utf8_lossy(&asked).lines().next().unwrap_or_default().to_owned();
            let _ = stream.write_all(answer(&line).as_bytes());
        }
    });
    address
}

/// An HTTP API whose `/through/...` is the other server's `/public/...`.
fn through(address: &str) -> String {
    format!(
        "
Transform: AWS::Serverless-2016-10-31
Resources:
  Through:
    Type: AWS::Serverless::HttpApi
    Properties:
      DefinitionBody:
        openapi: 3.0.1
        info: {{title: through, version: '1'}}
        paths:
          /through/{{proxy+}}:
            get:
              x-amazon-apigateway-integration:
                type: http_proxy
                httpMethod: GET
                uri: http://{}/public/{{proxy}}
                payloadFormatVersion: '1.0'
",
        address
    )
}

/// Where another server points to is for the client to ask, who can reach no more than he can.
#[tokio::test]
async fn redirects_of_other_servers_are_not_followed() {
    let address = server_that_answers(|line| match line.contains("/public/") {
        true => "HTTP/1.1 302 Found\r\nLocation: /secret\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            .to_owned(),
        false => "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nsecret".to_owned(),
    });
    let server = TestServerBuilder::template(&through(&address)).start().await;
    let request = "GET /through/a HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned();
    let answer = exchange(&server.http, request);
    assert_eq!((answer.status, answer.text()), (302, ""));
    crate::catalogue::seen("T20", "302 is passed on, and nothing fetched", None);
}

/// Whoever asks there from this machine gets the machine's own credentials.
#[tokio::test]
async fn the_metadata_service_is_not_asked() {
    let hosts = ["169.254.169.254", "0xA9FEA9FE", "[::ffff:169.254.169.254]", "[fd00:ec2::254]"];
    let began = std::time::Instant::now();
    for host in hosts {
        let server = TestServerBuilder::template(&through(host)).start().await;
        let answer = exchange(&server.http, "GET /through/a HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert!(matches!(answer.status, 500..=504), "{host}: {}", answer.status);
        // What kept it is told, whatever that was.
        let line = server.wait_for_terminal("/through/a");
        let told = server.terminal();
        assert!(
            told.contains("is an address where clouds keep a machine's credentials"),
            "{host}: {line}\n{told}"
        );
    }
    crate::catalogue::seen("T20", format!("{} ways to write it: refused", hosts.len()), began.elapsed());
}

#[tokio::test]
async fn a_path_does_not_leave_the_folder_that_it_is_sent_to() {
    let server = TestServerBuilder::template(&through(&another_server())).start().await;
    let ask = |path: &str| exchange(&server.http, format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    for (path, expected) in [
        ("/through/a/b?x=1", "GET /public/a/b?x=1 HTTP/1.1"),
        ("/through/a%3Fadmin=1", "GET /public/a%3Fadmin=1 HTTP/1.1"),
        ("/through/a%23b", "GET /public/a%23b HTTP/1.1"),
        ("/through/a%2520b", "GET /public/a%2520b HTTP/1.1"),
    ] {
        assert_eq!(ask(path).text(), expected, "{path}");
    }
    for path in ["/through/../secret", "/through/%2e%2e/secret", "/through/a%2f..%2f..%2fsecret"] {
        assert_eq!(ask(path).status, 400, "{path}");
    }
}

#[tokio::test]
async fn functions_that_share_a_folder_by_several_names_are_never_stale() {
    let code = |version: usize| format!("def handler(event, context):\n    return 'v{version}'\n");
    let mut template = "Transform: AWS::Serverless-2016-10-31\nResources:\n".to_owned();
    let functions = [("one", "src/"), ("two", "./src"), ("three", "link"), ("four", "deep/link")];
    for (name, folder) in functions {
        template += &format!(
            "  {name}:\n    Type: AWS::Serverless::Function\n    Properties:\n      Runtime: python3.13\n      \
             Handler: app.handler\n      CodeUri: {folder}\n      Events:\n        Get: {{Type: HttpApi, \
             Properties: {{Path: /{name}, Method: GET}}}}\n"
        );
    }
    let builder = TestServerBuilder::template(&template)
        .project_file("src/app.py", &code(0))
        .project_file("deep/README", "");
    std::os::unix::fs::symlink("src", builder.folder().join("link")).unwrap();
    std::os::unix::fs::symlink("../src", builder.folder().join("deep/link")).unwrap();
    let server = builder.start().await;
    for version in 1..=10 {
        server.write_project("src/app.py", &code(version));
        for (name, _) in functions {
            assert_eq!(server.get(&format!("/{name}")).await.text(), format!("v{version}"), "{name}");
        }
    }
}

#[tokio::test]
async fn a_new_function_is_announced_with_its_own_addresses_only() {
    let template = |functions: &[&str]| {
        let mut text = "Transform: AWS::Serverless-2016-10-31\nResources:\n".to_owned();
        for name in functions {
            text += &format!(
                "  {name}:\n    Type: AWS::Serverless::Function\n    Properties:\n      Runtime: python3.13\n      \
                 Handler: index.handler\n      InlineCode: |\n        def handler(event, context): return '{name}'\n      \
                 Events:\n        Get: {{Type: HttpApi, Properties: {{Path: /get-{name}, Method: GET}}}}\n"
            );
        }
        text
    };
    let server = TestServerBuilder::template(&template(&["Item", "Items"])).start().await;
    server.write_project("template.yaml", &template(&["Items", "Item", "It"]));
    assert_eq!(server.get("/get-It").await.text(), "It");
    let terminal = server.wait_for_terminal("deployed It: ");
    let line = terminal.lines().find(|line| line.contains("deployed It: ")).unwrap();
    assert!(line.ends_with("/get-It"), "{line}");
}
