//! WebSocket APIs, from a template: connections, messages, the management API, and every way to end.

use std::path::PathBuf;

use futures_util::{SinkExt, StreamExt};
use http::{HeaderMap, HeaderValue};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::catalogue::seen;
use crate::harness::{Answer, PATIENCE, TestServer, TestServerBuilder, eventually};
use crate::python_tools::python_tools;

const TEMPLATE: &str = r#"
AWSTemplateFormatVersion: "2010-09-09"
Transform: AWS::Serverless-2016-10-31
Resources:
  Function:
    Type: AWS::Serverless::Function
    Properties:
      FunctionName: chat
      CodeUri: handlers/chat
      Handler: lambda_function.lambda_handler
      Runtime: RUNTIME
      Timeout: 20
      Environment:
        Variables:
VARIABLES
  Chat:
    Type: AWS::ApiGatewayV2::Api
    Properties:
      Name: Chat
      ProtocolType: WEBSOCKET
      RouteSelectionExpression: $request.body.action
  Proxy:
    Type: AWS::ApiGatewayV2::Integration
    Properties:
      ApiId: !Ref Chat
      IntegrationType: AWS_PROXY
      IntegrationUri: !Sub arn:aws:apigateway:${AWS::Region}:lambda:path/2015-03-31/functions/${Function.Arn}/invocations
ROUTES
  AnswerResponse:
    Type: AWS::ApiGatewayV2::RouteResponse
    Properties:
      ApiId: !Ref Chat
      RouteId: !Ref AnswerRoute
      RouteResponseKey: $default
  Live:
    Type: AWS::ApiGatewayV2::Stage
    Properties:
      ApiId: !Ref Chat
      StageName: live
      AutoDeploy: true
      StageVariables:
        greeting: hello
"#;

/// Resource -> route key.
const ROUTES: [(&str, &str); 7] = [
    ("ConnectRoute", "$connect"),
    ("DisconnectRoute", "$disconnect"),
    ("JoinRoute", "join"),
    ("SayRoute", "say"),
    ("AnswerRoute", "answer"),
    ("FailRoute", "fail"),
    ("DefaultRoute", "$default"),
];

/// Keeps every event in a file; what a room has in it stands in files too, as environments share
/// nothing else.
const CHAT: &str = r#"
import json, os, pathlib, time, urllib.parse, urllib.request

FOLDER = pathlib.Path(os.environ["FOLDER"])

def post(context, connection, data):
    url = f"http://{context['domainName']}/{context['stage']}"
    if os.environ.get("WITH_BOTO3"):
        import boto3
        keys = {"aws_access_key_id": "any", "aws_secret_access_key": "any", "region_name": "us-east-1"}
        boto3.client("apigatewaymanagementapi", endpoint_url=url, **keys).post_to_connection(
            ConnectionId=connection, Data=data.encode())
    else:
        url += "/@connections/" + urllib.parse.quote(connection, safe="")
        urllib.request.urlopen(urllib.request.Request(url, data.encode(), method="POST")).read()

def tell_all(context, text):
    for member in sorted((FOLDER / "room").iterdir()):
        post(context, member.name, text)

def lambda_handler(event, _):
    context = event["requestContext"]
    connection, route = context["connectionId"], context["routeKey"]
    kept = FOLDER / "events" / f"{context['requestId']}.new"
    kept.write_text(json.dumps(event))
    kept.rename(kept.with_suffix(".json"))
    message = {}
    if "body" in event and event["body"].startswith("{"):
        message = json.loads(event["body"])
    if route == "$connect":
        query = event.get("queryStringParameters", {})
        if "refuse" in query:
            return {"statusCode": int(query["refuse"]), "headers": {"x-why": "asked"}, "body": "no"}
        if "fail" in query:
            raise ValueError("no connection today")
        if "wait" in query:
            while not (FOLDER / "go").exists():
                time.sleep(0.005)
        if "protocol" in query:
            return {"statusCode": 200, "headers": {"Sec-WebSocket-Protocol": query["protocol"]}}
    elif route == "$disconnect":
        member = FOLDER / "room" / connection
        if member.exists():
            name = member.read_text()
            member.unlink()
            tell_all(context, f"{name} has left")
    elif route == "join":
        (FOLDER / "room" / connection).write_text(message["name"])
        tell_all(context, f"{message['name']} is here")
    elif route == "say":
        name = (FOLDER / "room" / connection).read_text()
        tell_all(context, f"{name}: {message['text']}")
    elif route == "answer":
        return {"statusCode": 200, "body": json.dumps({"got": message["question"]})}
    elif route == "fail":
        raise ValueError("as asked")
    elif route == "$default" and event["body"] == "malformed":
        return {"Data": "x", "statusCode": 200}
    elif route == "$default" and event["body"] != "quiet":
        post(context, connection, json.dumps({"default": event["body"]}))
    return {"statusCode": 200, "body": "nobody sees this"}
"#;

struct Chat {
    server: TestServer,
    folder: tempfile::TempDir,
}

type Socket = WebSocketStream<TcpStream>;

impl Chat {
    async fn start(builder: TestServerBuilder, more: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["room", "events"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let routes: String = ROUTES
            .iter()
            .map(|(name, key)| {
                let response = match *key {
                    "answer" => "\n      RouteResponseSelectionExpression: $default",
                    _ => "",
                };
                format!(
                    "  {name}:\n    Type: AWS::ApiGatewayV2::Route\n    Properties:\n      ApiId: !Ref Chat\n      \
                     RouteKey: {key}\n      Target: !Sub integrations/${{Proxy}}{response}\n"
                )
            })
            .collect();
        let path = folder.path().display().to_string();
        let variables = [("FOLDER", path.as_str())].into_iter().chain(more.iter().copied());
        let variables: String =
            variables.map(|(name, value)| format!("          {name}: \"{value}\"\n")).collect();
        let runtime =
            python_tools("web sockets").map_or_else(|| "python3.12".to_owned(), |tools| tools.runtime());
        let template = TEMPLATE
            .replace("RUNTIME", &runtime)
            .replace("ROUTES\n", &routes)
            .replace("VARIABLES\n", &variables);
        let server = builder.handler("chat", CHAT).with_template(&template).start().await;
        Self { server, folder }
    }

    /// `ws://127.0.0.1:PORT/live`
    fn url(&self) -> String {
        format!("{}/live", self.server.http.replace("http://", "ws://"))
    }

    async fn try_to_connect(
        &self,
        query: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<(Socket, HeaderMap), Error> {
        let address = self.server.http.strip_prefix("http://").unwrap();
        let mut request = format!("{}{query}", self.url()).into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, HeaderValue::from_str(value).unwrap());
        }
        let stream = TcpStream::connect(address).await.unwrap();
        let (socket, response) = tokio_tungstenite::client_async(request, stream).await?;
        Ok((socket, response.headers().clone()))
    }

    async fn connect(&self) -> Socket {
        self.try_to_connect("", &[]).await.expect("the connection opens").0
    }

    /// Status, headers and body of a refusal.
    async fn refusal(&self, query: &str) -> (u16, HeaderMap, String) {
        match self.try_to_connect(query, &[]).await {
            Err(Error::Http(response)) => {
                let (head, body) = response.into_parts();
                (head.status.as_u16(), head.headers, String::from_utf8(body.unwrap_or_default()).unwrap())
            }
            other => panic!("{:?}", other.map(|(_, headers)| headers)),
        }
    }

    /// Of this kind, in the order of their times.
    fn events(&self, kind: &str) -> Vec<Value> {
        let mut events: Vec<Value> = std::fs::read_dir(self.folder.path().join("events"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
            .map(|path: PathBuf| serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap())
            .filter(|event: &Value| event["requestContext"]["eventType"] == kind)
            .collect();
        events.sort_by_key(|event| event["requestContext"]["requestTimeEpoch"].as_i64());
        events
    }

    /// Waits for the one `$disconnect` of a connection; code and reason.
    fn disconnected(&self, id: &str) -> (u64, String) {
        let of_this = || -> Vec<Value> {
            let mut events = self.events("DISCONNECT");
            events.retain(|event| event["requestContext"]["connectionId"] == id);
            events
        };
        eventually("a disconnect event", || !of_this().is_empty());
        let events = of_this();
        assert_eq!(events.len(), 1, "{events:?}");
        let context = &events[0]["requestContext"];
        (
            context["disconnectStatusCode"].as_u64().unwrap(),
            context["disconnectReason"].as_str().unwrap().into(),
        )
    }

    /// The id of the connection that was opened last.
    fn last_id(&self) -> String {
        let event = self.events("CONNECT").pop().expect("somebody has connected");
        event["requestContext"]["connectionId"].as_str().unwrap().to_owned()
    }

    async fn manage(&self, method: Method, id: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let url = format!("{}/live/@connections/{}", self.server.http, id.replace('=', "%3D"));
        let mut request = self.server.client.request(method, url).body(body.to_owned());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.server.send(request).await
    }
}

async fn chat() -> Chat {
    Chat::start(TestServerBuilder::new(), &[]).await
}

async fn say(socket: &mut Socket, message: Value) {
    socket.send(Message::text(message.to_string())).await.unwrap();
}

/// The next message, or how the connection is closed.
async fn hear(socket: &mut Socket) -> String {
    let message = tokio::time::timeout(PATIENCE, socket.next()).await.expect("something is heard");
    match message {
        Some(Ok(Message::Text(text))) => text.to_string(),
        Some(Ok(Message::Close(Some(frame)))) => format!("closed {} {}", u16::from(frame.code), frame.reason),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_clients_chat_through_boto3() {
    let Some(tools) = python_tools("two_clients_chat_through_boto3") else { return };
    let python = tools.program("python").get_program().to_string_lossy().into_owned();
    let builder = TestServerBuilder::new().argument("--python").argument(&python);
    let chat = Chat::start(builder, &[("WITH_BOTO3", "1")]).await;
    let (mut ada, mut lin) = (chat.connect().await, chat.connect().await);
    say(&mut ada, json!({"action": "join", "name": "Ada"})).await;
    assert_eq!(hear(&mut ada).await, "Ada is here");
    say(&mut lin, json!({"action": "join", "name": "Lin"})).await;
    assert_eq!(
        (hear(&mut ada).await.as_str(), hear(&mut lin).await.as_str()),
        ("Lin is here", "Lin is here")
    );
    say(&mut ada, json!({"action": "say", "text": "안녕"})).await;
    assert_eq!((hear(&mut ada).await.as_str(), hear(&mut lin).await.as_str()), ("Ada: 안녕", "Ada: 안녕"));
    lin.close(None).await.unwrap();
    assert_eq!(hear(&mut ada).await, "Lin has left");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_events_of_a_connection_agree_with_each_other() {
    let chat = chat().await;
    let (mut socket, headers) =
        chat.try_to_connect("?room=1&room=b%20c", &[("x-team", "red")]).await.unwrap();
    assert_eq!(headers.get("sec-websocket-protocol"), None);
    socket.send(Message::text("quiet")).await.unwrap();
    eventually("the message is handled", || !chat.events("MESSAGE").is_empty());
    let reason = CloseFrame { code: 4001.into(), reason: "enough".into() };
    socket.close(Some(reason)).await.unwrap();
    let id = chat.last_id();
    assert_eq!(chat.disconnected(&id), (4001, "enough".into()));

    let connect = &chat.events("CONNECT")[0];
    assert_eq!(connect["headers"]["x-team"], "red");
    assert_eq!(connect["multiValueHeaders"]["Sec-WebSocket-Version"], json!(["13"]));
    assert_eq!(connect["queryStringParameters"], json!({"room": "b c"}));
    assert_eq!(connect["multiValueQueryStringParameters"], json!({"room": ["1", "b c"]}));
    assert_eq!(connect.get("body"), None);
    let message = &chat.events("MESSAGE")[0];
    assert_eq!((&message["body"], message.get("headers")), (&json!("quiet"), None));
    let disconnect = &chat.events("DISCONNECT")[0];
    let mut ids = std::collections::HashSet::new();
    for (event, route) in [(connect, "$connect"), (message, "$default"), (disconnect, "$disconnect")] {
        let context = &event["requestContext"];
        assert_eq!(event["stageVariables"], json!({"greeting": "hello"}));
        assert_eq!((&context["routeKey"], &context["stage"]), (&json!(route), &json!("live")));
        assert_eq!(context["connectionId"], *id);
        assert_eq!(context["connectedAt"], connect["requestContext"]["connectedAt"]);
        assert_eq!(context["domainName"], chat.server.http.strip_prefix("http://").unwrap());
        assert_eq!(context["identity"]["sourceIp"], "127.0.0.1");
        assert_eq!(context["requestId"], context["extendedRequestId"]);
        assert!(ids.insert(context["requestId"].to_string()), "each event has its own id");
        assert_eq!(context.get("messageId").is_some(), route == "$default");
    }
    for line in ["GET /live?room=1&room=b%20c 101", "MESSAGE $default 200", "DISCONNECT $disconnect 200"] {
        chat.server.wait_for_terminal(line);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connect_decides_who_comes_in() {
    let chat = chat().await;
    let (status, headers, body) = chat.refusal("?refuse=401").await;
    assert_eq!((status, body.as_str(), &headers["x-why"]), (401, "no", &HeaderValue::from_static("asked")));
    let (status, _, body) = chat.refusal("?fail=1").await;
    assert_eq!(status, 502);
    assert!(body.starts_with(r#"{"message": "Internal server error", "connectionId":""#), "{body}");
    chat.server.wait_for_terminal("GET /live?fail=1 502");
    // Whoever never came in does not leave either.
    assert_eq!(chat.events("DISCONNECT").len(), 0);
    let offer = [("sec-websocket-protocol", "soap, chat")];
    let (_socket, headers) = chat.try_to_connect("?protocol=chat", &offer).await.unwrap();
    assert_eq!(headers["sec-websocket-protocol"], "chat");
    // Something else than a WebSocket.
    let answer = chat.server.get("/live").await;
    assert_eq!(answer.status, 404, "{answer:?}");
}

/// A handler that has heard `$connect` hears `$disconnect` too.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_before_it_is_let_in_has_left() {
    let chat = chat().await;
    let url = format!("{}?wait=1", chat.url());
    let stream = TcpStream::connect(chat.server.http.strip_prefix("http://").unwrap()).await.unwrap();
    let connecting = tokio::spawn(tokio_tungstenite::client_async(url, stream));
    eventually("somebody knocks", || !chat.events("CONNECT").is_empty());
    connecting.abort();
    assert!(connecting.await.unwrap_err().is_cancelled());
    std::fs::write(chat.folder.path().join("go"), "").unwrap();
    assert_eq!(chat.disconnected(&chat.last_id()).0, 1006);
}

#[tokio::test(flavor = "multi_thread")]
async fn over_https_they_are_wss() {
    let chat = Chat::start(TestServerBuilder::new().argument("--tls"), &[]).await;
    let certificate = chat.server.state_dir().join("tls/certificate.pem");
    let stream = crate::https::shaken(&chat.server, &certificate).await.unwrap();
    let url = format!("{}/live", chat.server.http.replace("https://", "wss://"));
    let (mut socket, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
    socket.send(Message::text(r#"{"action":"answer","question":1}"#)).await.unwrap();
    let answer = tokio::time::timeout(PATIENCE, socket.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(answer, Message::text(r#"{"got": 1}"#));
    assert_eq!(chat.events("CONNECT")[0]["headers"]["X-Forwarded-Proto"], "https");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_find_their_routes_and_failures_are_told() {
    let chat = chat().await;
    let mut socket = chat.connect().await;
    say(&mut socket, json!({"action": "answer", "question": 42})).await;
    assert_eq!(hear(&mut socket).await, r#"{"got": 42}"#);
    say(&mut socket, json!({"action": "unknown"})).await;
    assert_eq!(hear(&mut socket).await, r#"{"default": "{\"action\":\"unknown\"}"}"#);
    socket.send(Message::text("no JSON")).await.unwrap();
    assert_eq!(hear(&mut socket).await, r#"{"default": "no JSON"}"#);
    say(&mut socket, json!({"action": "$disconnect"})).await;
    assert_eq!(hear(&mut socket).await, r#"{"default": "{\"action\":\"$disconnect\"}"}"#);
    for message in [r#"{"action":"fail"}"#, "malformed"] {
        socket.send(Message::text(message)).await.unwrap();
        let told: Value = serde_json::from_str(&hear(&mut socket).await).unwrap();
        assert_eq!(
            (&told["message"], &told["connectionId"]),
            (&json!("Internal server error"), &json!(chat.last_id()))
        );
    }
    chat.server.wait_for_terminal("`Data`, which API Gateway does not know");
    // Nothing of what needs no answer was answered.
    socket.send(Message::Ping("alive".into())).await.unwrap();
    let answer = tokio::time::timeout(PATIENCE, socket.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(answer, Message::Pong("alive".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_are_too_much_end_the_connection() {
    let chat = chat().await;
    let began = std::time::Instant::now();
    for (message, end) in [
        (Message::binary(vec![1, 2, 3]), "closed 1003 Binary frames are not supported"),
        (Message::text("x".repeat(32 * 1024 + 1)), "closed 1009 Message or frame too big"),
        (Message::text("x".repeat(5 * 1024 * 1024)), "closed 1009 Message or frame too big"),
    ] {
        let mut socket = chat.connect().await;
        // The server may close before it has everything.
        let _ = socket.send(message).await;
        assert_eq!(hear(&mut socket).await, end);
        let code = chat.disconnected(&chat.last_id()).0;
        assert!(end.starts_with(&format!("closed {code}")), "{code}");
    }
    let mut socket = chat.connect().await;
    socket.send(Message::text("x".repeat(32 * 1024))).await.unwrap();
    assert!(hear(&mut socket).await.len() > 32 * 1024, "as long as that is allowed");
    // Cut off without a word.
    drop(socket);
    assert_eq!(chat.disconnected(&chat.last_id()).0, 1006);
    seen("31", "binary: closed with 1003; more than 32 KiB: closed with 1009", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_managed_over_http() {
    let chat = chat().await;
    let mut socket = chat.connect().await;
    let id = chat.last_id();
    assert_eq!(chat.manage(Method::POST, &id, &[], "from outside").await.status, 200);
    assert_eq!(hear(&mut socket).await, "from outside");
    let info = chat.manage(Method::GET, &id, &[], "").await.json();
    assert_eq!(info["identity"]["sourceIp"], "127.0.0.1");
    for time in ["connectedAt", "lastActiveAt"] {
        assert!(info[time].as_str().unwrap().parse::<jiff::Timestamp>().is_ok(), "{info}");
    }
    let big = "x".repeat(128 * 1024 + 1);
    for (method, id, headers, body, status, kind) in [
        (Method::POST, id.as_str(), &[][..], big.as_str(), 413, "PayloadTooLargeException"),
        (Method::POST, "AAAAAAAAAAAAAAA=", &[], "", 410, "GoneException"),
        (Method::POST, "undefined", &[], "", 400, "BadRequestException"),
        (Method::POST, &id, &[("origin", "http://evil.example")], "", 403, "ForbiddenException"),
        (Method::DELETE, &id, &[("sec-fetch-site", "cross-site")], "", 403, "ForbiddenException"),
        (Method::PUT, &id, &[], "", 403, "MissingAuthenticationTokenException"),
    ] {
        let answer = chat.manage(method, id, headers, body).await;
        assert_eq!((answer.status, answer.header("x-amzn-errortype")), (status, Some(kind)), "{answer:?}");
    }
    let longest = &big[1..];
    assert_eq!(chat.manage(Method::POST, &id, &[], longest).await.status, 200);
    assert_eq!(hear(&mut socket).await, longest);
    assert_eq!(chat.manage(Method::DELETE, &id, &[], "").await.status, 204);
    assert_eq!(hear(&mut socket).await, "closed 1000 Connection Closed Normally");
    assert_eq!(chat.disconnected(&id), (1000, "Connection Closed Normally".into()));
    assert_eq!(chat.manage(Method::DELETE, &id, &[], "").await.status, 410);
}

#[tokio::test(flavor = "multi_thread")]
async fn boto3_raises_the_exceptions_of_connections() {
    let Some(tools) = python_tools("boto3_raises_the_exceptions_of_connections") else { return };
    let chat = chat().await;
    let mut socket = chat.connect().await;
    let script = r#"
import sys, boto3, datetime
url, connection = sys.argv[1:]
client = boto3.client("apigatewaymanagementapi", endpoint_url=url, region_name="us-east-1",
                      aws_access_key_id="any", aws_secret_access_key="any")
client.post_to_connection(ConnectionId=connection, Data=b"hello")
info = client.get_connection(ConnectionId=connection)
assert isinstance(info["ConnectedAt"], datetime.datetime), info
assert info["Identity"]["SourceIp"] == "127.0.0.1", info
try:
    client.post_to_connection(ConnectionId=connection, Data=b"x" * (128 * 1024 + 1))
    raise SystemExit("too much was taken")
except client.exceptions.PayloadTooLargeException:
    pass
client.delete_connection(ConnectionId=connection)
try:
    client.post_to_connection(ConnectionId=connection, Data=b"late")
    raise SystemExit("it is gone")
except client.exceptions.GoneException:
    pass
"#;
    let mut python = tools.program("python");
    python.args(["-c", script, &format!("{}/live", chat.server.http), &chat.last_id()]);
    let ended = tokio::task::spawn_blocking(move || crate::commands::run(&mut python, "")).await.unwrap();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(hear(&mut socket).await, "hello");
    assert_eq!(hear(&mut socket).await, "closed 1000 Connection Closed Normally");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stop_ends_connections_and_everybody_hears_of_it() {
    let mut chat = chat().await;
    let mut sockets = Vec::new();
    for _ in 0..3 {
        sockets.push(chat.connect().await);
    }
    chat.server.signal(rustix::process::Signal::TERM);
    for socket in &mut sockets {
        assert_eq!(hear(socket).await, "closed 1001 Going away");
    }
    // One that does not answer the goodbye holds up nothing.
    assert!(chat.server.wait_for_exit().success());
    let events = chat.events("DISCONNECT");
    assert_eq!(events.len(), 3);
    for event in events {
        assert_eq!(event["requestContext"]["disconnectStatusCode"], 1001);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn new_code_serves_connections_that_are_open_already() {
    let chat = chat().await;
    let mut socket = chat.connect().await;
    say(&mut socket, json!({"action": "answer", "question": 1})).await;
    assert_eq!(hear(&mut socket).await, r#"{"got": 1}"#);
    chat.server.write("chat/lambda_function.py", &CHAT.replace(r#"{"got":"#, r#"{"new code got":"#));
    say(&mut socket, json!({"action": "answer", "question": 2})).await;
    assert_eq!(hear(&mut socket).await, r#"{"new code got": 2}"#);
}
