//! Triggers and test events as the console adds, shows and removes them, over real sockets.

use reqwest::Method;
use serde_json::{Value, json};

use crate::event_source_mappings::Reader;
use crate::harness::{Answer, TestServer, TestServerBuilder, program};
use crate::moto::moto;
use crate::schedules::{KEEP, wait_for_events};

const SAY_ROUTE: &str = "def lambda_handler(event, context):\n    route = event.get('routeKey')\n    if route:\n        return route\n    return {'statusCode': 200, 'body': event['httpMethod'] + ' ' + event['resource']}\n";
const COMMENTED: &str = "# The shop.\nTimeout: 10 # seconds\nEvents:\n  # what people look at\n  List:\n    Type: HttpApi\n    Properties: # short\n      Path: /items\n      Method: get\n\n# How much\nMemorySize: 256\n";

async fn ask(server: &TestServer, method: Method, path: &str, body: impl Into<reqwest::Body>) -> Answer {
    let url = format!("{}/_handlerd/{path}", server.api);
    server.send(server.client.request(method, url).body(body)).await
}

async fn put(server: &TestServer, id: &str, event: Value) -> Answer {
    ask(server, Method::PUT, &format!("functions/shop/triggers/{id}"), event.to_string()).await
}

async fn delete(server: &TestServer, id: &str) -> Answer {
    ask(server, Method::DELETE, &format!("functions/shop/triggers/{id}"), "").await
}

async fn triggers(server: &TestServer) -> Vec<Value> {
    let answer = ask(server, Method::GET, "functions/shop/triggers", "").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json().as_array().unwrap().clone()
}

async fn trigger(server: &TestServer, id: &str) -> Option<Value> {
    triggers(server).await.into_iter().find(|trigger| trigger["id"] == id)
}

fn yaml(server: &TestServer) -> String {
    std::fs::read_to_string(server.handlers().join("shop/function.yaml")).unwrap_or_default()
}

fn http(path: &str) -> Value {
    json!({"Type": "HttpApi", "Properties": {"Path": path, "Method": "get"}})
}

async fn shop(yaml: &str) -> TestServer {
    TestServerBuilder::new().handler("shop", SAY_ROUTE).file("shop/function.yaml", yaml).start().await
}

#[tokio::test]
async fn routes_come_and_go_and_comments_stay() {
    let server = shop(COMMENTED).await;
    let listed = triggers(&server).await;
    let [list] = &listed[..] else { panic!("{listed:?}") };
    assert_eq!(
        (&list["id"], &list["kind"], &list["title"]),
        (&json!("List"), &json!("http"), &json!("GET /items"))
    );
    assert_eq!(
        (&list["editable"], &list["enabled"], &list["source"]["line"]),
        (&json!(true), &json!(true), &json!(5))
    );
    assert_eq!(list["event"], http("/items"));
    assert_eq!(list["url"], format!("{}/items", server.http));

    let answer = put(&server, "Http", http("/things/{id}")).await;
    assert_eq!((answer.status, &answer.json()["id"]), (200, &json!("Http")), "{}", answer.text());
    // It is deployed when it is answered.
    assert_eq!(server.get("/things/7").await.text(), "GET /things/{id}");
    let rest = json!({"Type": "Api", "Properties": {"Path": "/rest", "Method": "get", "Auth": {"Authorizer": "AWS_IAM"}}});
    let answer = put(&server, "Rest", rest).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.json()["detail"].as_str().unwrap().contains("asks for AWS_IAM"), "{}", answer.text());
    assert_eq!(server.get("/rest").await.status, 403);
    let open = json!({"Type": "Api", "Properties": {"Path": "/rest", "Method": "get"}});
    assert_eq!(put(&server, "Rest", open).await.status, 200);
    assert_eq!(server.get("/rest").await.text(), "GET /rest");
    // Only the path of it is another.
    assert_eq!(put(&server, "List", http("/all")).await.status, 200);
    assert_eq!((server.get("/all").await.status, server.get("/items").await.status), (200, 404));
    assert!(yaml(&server).starts_with(COMMENTED.replace("/items", "\"/all\"").split_once("\n\n").unwrap().0));

    for id in ["Http", "Rest"] {
        assert_eq!(delete(&server, id).await.status, 204);
    }
    assert_eq!((server.get("/things/7").await.status, server.get("/rest").await.status), (404, 404));
    assert_eq!(yaml(&server), COMMENTED.replace("/items", "\"/all\""));
    assert_eq!(delete(&server, "List").await.status, 204);
    assert!(!yaml(&server).contains("Events"), "{}", yaml(&server));
    // The convention's again.
    assert_eq!(server.get("/shop").await.text(), "ANY /shop");
    let listed = triggers(&server).await;
    assert!(listed.iter().all(|trigger| trigger["editable"] == false), "{listed:?}");
    assert_eq!(listed[0]["title"], "ANY /shop");
    assert_eq!(delete(&server, "List").await.status, 404);
}

#[tokio::test]
async fn a_schedule_a_bucket_and_a_rule_invoke() {
    let server = TestServerBuilder::new().handler("shop", KEEP).start().await;
    let tick = json!({"Type": "ScheduleV2", "Properties": {"ScheduleExpression": "rate(1 minute)"}});
    let answer = put(&server, "Tick", tick).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let told = answer.json();
    assert_eq!((&told["kind"], &told["title"]), (&json!("schedule"), &json!("every minute")));
    assert_eq!(told["next"].as_array().unwrap().len(), 5);
    // EventBridge Scheduler's rate is due at once.
    wait_for_events(server.folder(), 1);

    let off = json!({"Type": "Schedule", "Properties": {"Schedule": "cron(0 9 * * ? *)", "Enabled": false}});
    let told = put(&server, "Tick", off).await.json();
    assert_eq!((&told["enabled"], &told["next"]), (&json!(false), &json!([])));

    let upload = json!({"Type": "S3", "Properties": {"Bucket": "pictures", "Events": "s3:ObjectCreated:*"}});
    let told = put(&server, "Upload", upload).await.json();
    assert_eq!((&told["kind"], &told["title"]), (&json!("s3"), &json!("pictures")));
    server.wait_for_terminal("bucket pictures is");
    std::fs::write(server.folder().join("buckets/pictures/a.txt"), "x").unwrap();
    let events = wait_for_events(server.folder(), 2);
    assert_eq!(events[1].1["Records"][0]["s3"]["object"]["key"], "a.txt");

    let rule = json!({"Type": "EventBridgeRule", "Properties": {"Pattern": {"source": ["shop.orders"]}}});
    let told = put(&server, "Orders", rule.clone()).await.json();
    assert_eq!((&told["kind"], &told["event"]), (&json!("rule"), &rule));

    for id in ["Tick", "Upload", "Orders"] {
        assert_eq!(delete(&server, id).await.status, 204);
        assert!(trigger(&server, id).await.is_none());
    }
    assert_eq!(yaml(&server), "");
}

#[tokio::test]
async fn a_queue_is_read_from_until_its_trigger_goes() {
    let Some(moto) = moto("a_queue_is_read_from_until_its_trigger_goes") else { return };
    let reader = Reader::new("");
    let server = reader.server(&moto).start().await;
    moto.python("client('sqs').create_queue(QueueName='orders', Attributes={'VisibilityTimeout': '30'})");
    let send = |body: &str| {
        moto.python(&format!(
            "sqs = client('sqs')\n\
             sqs.send_message(QueueUrl=sqs.get_queue_url(QueueName='orders')['QueueUrl'], MessageBody='{body}')"
        ))
    };
    send("one");
    let event = json!({"Type": "SQS", "Properties": {"Queue": moto.arn("sqs", "orders"), "BatchSize": 5}});
    let path = "functions/reader/triggers";
    let answer = ask(&server, Method::PUT, &format!("{path}/Queue"), event.to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let told = answer.json();
    assert_eq!(
        (&told["kind"], &told["title"], &told["enabled"]),
        (&json!("sqs"), &json!("orders"), &json!(true))
    );
    reader.wait_for_bodies(&["one"]);
    assert_eq!(ask(&server, Method::DELETE, &format!("{path}/Queue"), "").await.status, 204);

    // One that the Lambda API makes is shown, and removed by it.
    let made = json!({"FunctionName": "reader", "EventSourceArn": moto.arn("sqs", "orders"), "BatchSize": 7});
    let mappings = format!("{}/2015-03-31/event-source-mappings", server.api);
    let made = server.send(server.client.post(&mappings).body(made.to_string())).await;
    let uuid = made.json()["UUID"].as_str().unwrap().to_owned();
    let listed = ask(&server, Method::GET, path, "").await.json();
    let shown = listed.as_array().unwrap().iter().find(|trigger| trigger["id"] == *uuid).unwrap().clone();
    assert_eq!((&shown["kind"], &shown["editable"]), (&json!("sqs"), &json!(true)));
    assert!(shown["detail"].as_str().unwrap().contains("made by the Lambda API"), "{shown}");
    let refused = ask(&server, Method::DELETE, &format!("{path}/{uuid}"), "").await;
    assert_eq!(refused.status, 409);
    assert!(refused.json()["hint"].as_str().unwrap().contains(&uuid));
    server.send(server.client.delete(format!("{mappings}/{uuid}"))).await;
    let listed = ask(&server, Method::GET, path, "").await.json();
    assert!(listed.as_array().unwrap().iter().all(|trigger| trigger["id"] != *uuid), "{listed}");
}

#[tokio::test]
async fn a_function_url_is_shown_and_removed_by_the_lambda_api() {
    let server = shop("").await;
    let url = format!("{}/2021-10-31/functions/shop/url", server.api);
    let body = json!({"AuthType": "NONE", "Cors": {"AllowOrigins": ["*"]}}).to_string();
    assert_eq!(server.send(server.client.post(&url).body(body)).await.status, 201);
    let told = triggers(&server).await.into_iter().find(|trigger| trigger["kind"] == "url").unwrap();
    assert!(told["detail"].as_str().unwrap().contains("CORS"), "{told}");
    let shown = told["url"].as_str().unwrap();
    let host = shown.trim_start_matches("http://").trim_end_matches('/');
    assert_eq!(server.get_at(host, "/").await.status, 200, "{shown}");
    assert_eq!(server.send(server.client.delete(&url)).await.status, 204);
    assert!(triggers(&server).await.iter().all(|trigger| trigger["kind"] != "url"));
}

#[tokio::test]
async fn what_would_not_work_is_refused_and_nothing_is_written() {
    let server = shop(COMMENTED).await;
    let deep = format!("{{\"Type\": {}1{}}}", "[".repeat(5000), "]".repeat(5000));
    for (id, body, status, expected) in [
        ("One", "".to_owned(), 400, "is no JSON"),
        ("One", "{".to_owned(), 400, "is no JSON"),
        ("One", deep, 400, "is no JSON"),
        ("One", "[]".to_owned(), 400, "has no `Type`"),
        ("One", json!({"Type": 5}).to_string(), 400, "has no `Type`"),
        ("One", json!({"Type": "HttpApi", "Properties": {"Path": "/x"}}).to_string(), 400, "no `Method`"),
        ("One", json!({"Type": "HttpApi", "Properties": []}).to_string(), 400, "must be a map"),
        (
            "One",
            json!({"Type": "Schedule", "Properties": {"Schedule": "rate(0 hours)"}}).to_string(),
            400,
            "positive",
        ),
        ("One", json!({"Type": "Cognito", "Properties": {}}).to_string(), 400, "not served yet"),
        (
            "One",
            json!({"Type": "S3", "Properties": {"Bucket": "../etc", "Events": "s3:ObjectCreated:*"}})
                .to_string(),
            400,
            "",
        ),
        ("One", format!("{{\"Type\": \"{}\"}}", "x".repeat(300_000)), 413, "longer than"),
        ("One", "{\"Type\": \"A\u{2028}\\n: - &x\"}".to_owned(), 400, "no type of event"),
        ("a%2F..%2Fb", http("/x").to_string(), 400, "no name of an event"),
        ("%3C%21--", http("/x").to_string(), 400, "no name of an event"),
        ("One%0ATimeout:%205", http("/x").to_string(), 400, "no name of an event"),
    ] {
        let answer = ask(&server, Method::PUT, &format!("functions/shop/triggers/{id}"), body.clone()).await;
        assert_eq!(answer.status, status, "{id} {body:.80}: {}", answer.text());
        assert!(answer.json()["message"].as_str().unwrap().contains(expected), "{}", answer.text());
        assert_eq!(yaml(&server), COMMENTED);
    }
    for name in ["nobody", "..", "shop%2F..%2Fshop", "shop:live", "%00"] {
        for (method, rest) in [(Method::GET, ""), (Method::PUT, "/One"), (Method::DELETE, "/One")] {
            let path = format!("functions/{name}/triggers{rest}");
            let answer = ask(&server, method, &path, http("/x").to_string()).await;
            // `..` is taken out of the address before it is sent.
            assert!(matches!(answer.status, 400 | 404 | 501), "{name}: {} {}", answer.status, answer.text());
        }
    }
    let stale = server.client.put(format!("{}/_handlerd/functions/shop/triggers/One", server.api));
    let stale = server.send(stale.header("if-match", "\"0\"").body(http("/x").to_string())).await;
    assert_eq!(stale.status, 412, "{}", stale.text());
    let listed = ask(&server, Method::GET, "functions/shop/triggers", "").await;
    let seen = server.client.put(format!("{}/_handlerd/functions/shop/triggers/One", server.api));
    let seen = seen.header("if-match", listed.header("etag").unwrap()).body(http("/x").to_string());
    assert_eq!(server.send(seen).await.status, 200);
}

#[tokio::test]
async fn a_template_is_shown_and_not_changed() {
    let template = "Transform: AWS::Serverless-2016-10-31\nResources:\n  Shop:\n    Type: AWS::Serverless::Function\n    Properties:\n      FunctionName: shop\n      Handler: app.lambda_handler\n      Runtime: python3.12\n      CodeUri: src\n      Events:\n        List:\n          Type: HttpApi\n          Properties: {Path: /items, Method: get}\n        Nightly: {Type: Schedule, Properties: {Schedule: rate(1 day)}}\n";
    let server = TestServerBuilder::template(template)
        .project_file("src/app.py", "def lambda_handler(event, context):\n    return 1\n")
        .start()
        .await;
    let listed = triggers(&server).await;
    let list = listed.iter().find(|trigger| trigger["kind"] == "http").unwrap();
    assert_eq!(
        (&list["editable"], &list["event"], &list["source"]["line"]),
        (&json!(false), &http("/items"), &json!(11))
    );
    let nightly = listed.iter().find(|trigger| trigger["kind"] == "schedule").unwrap();
    assert_eq!(nightly["event"]["Properties"]["Schedule"], "rate(1 day)");
    assert_eq!(nightly["next"].as_array().unwrap().len(), 5);
    for answer in [put(&server, "One", http("/x")).await, delete(&server, "List").await] {
        assert_eq!(answer.status, 409);
        assert!(answer.json()["message"].as_str().unwrap().contains("template.yaml"), "{}", answer.text());
    }
    // Its test events are kept beside the state.
    let saved = ask(&server, Method::PUT, "functions/shop/test-events/one", "{\"b\": 1}").await;
    assert_eq!(saved.status, 204, "{}", saved.text());
    assert!(server.state_dir().join("events/shop/one.json").is_file());
}

#[tokio::test]
async fn changes_at_once_and_on_the_disk_are_all_kept() {
    let server = shop("# kept\nTimeout: 5\n").await;
    let puts = (0..12).map(|number| {
        let url = format!("{}/_handlerd/functions/shop/triggers/E{number}", server.api);
        let request = server.client.put(url).body(http(&format!("/p{number}")).to_string());
        tokio::spawn(request.send())
    });
    let puts: Vec<_> = puts.collect();
    // Somebody else's change of another property, by the Lambda API.
    let url = format!("{}/2015-03-31/functions/shop/configuration", server.api);
    let other =
        server.send(server.client.put(url).body(json!({"Timeout": 7, "MemorySize": 512}).to_string())).await;
    assert_eq!(other.status, 200, "{}", other.text());
    for put in puts {
        assert_eq!(put.await.unwrap().unwrap().status(), 200);
    }
    for number in 0..12 {
        assert_eq!(server.get(&format!("/p{number}")).await.status, 200, "{}", yaml(&server));
    }
    assert!(yaml(&server).starts_with("# kept\nTimeout: 7\n"), "{}", yaml(&server));
    // A file that is saved by hand is what the next change begins with.
    server.write("shop/function.yaml", &yaml(&server).replace("Timeout: 7", "Timeout: 9 # by hand"));
    assert_eq!(delete(&server, "E3").await.status, 204);
    assert!(yaml(&server).starts_with("# kept\nTimeout: 9 # by hand\n"), "{}", yaml(&server));
    assert_eq!((server.get("/p3").await.status, server.get("/p4").await.status), (404, 200));
}

#[tokio::test]
async fn test_events_are_files_and_no_code() {
    let server = shop(COMMENTED).await;
    let configuration = format!("{}/2015-03-31/functions/shop/configuration", server.api);
    let sha = async || server.send(server.client.get(&configuration)).await.json()["CodeSha256"].clone();
    let before = sha().await;
    let answer =
        ask(&server, Method::PUT, "functions/shop/test-events/two%20words", r#"{"z":1,"a":1.50,"m":[]}"#)
            .await;
    assert_eq!(answer.status, 204, "{}", answer.text());
    let file = server.handlers().join("shop/.events/two words.json");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "{\n  \"z\": 1,\n  \"a\": 1.50,\n  \"m\": []\n}\n");
    let listed = ask(&server, Method::GET, "functions/shop/test-events", "").await;
    assert_eq!(
        listed.json(),
        json!({"events": [{"name": "two words", "event": {"z": 1, "a": 1.5, "m": []}}]})
    );
    let one = ask(&server, Method::GET, "functions/shop/test-events/two%20words", "").await;
    assert!(one.text().contains("1.50"), "{}", one.text());
    assert_eq!(sha().await, before);
    let shown = server.terminal();

    // Nobody was told of new code.
    assert_eq!(server.terminal(), shown);

    // The command reads them, too.
    let output = program()
        .args(["invoke", "shop", "--test-event", "two words", "--handlers"])
        .arg(server.handlers())
        .current_dir(server.folder())
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("KeyError"), "{output:?}");
    let missing = program()
        .args(["invoke", "shop", "--test-event", "gone", "--handlers"])
        .arg(server.handlers())
        .current_dir(server.folder())
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&missing.stderr).contains("there are: two words"), "{missing:?}");

    // New code leaves them, and does not bring any.
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, text) in [("lambda_function.py", SAY_ROUTE), (".events/other.json", "{}")] {
        zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        std::io::Write::write_all(&mut zip, text.as_bytes()).unwrap();
    }
    use base64::Engine;
    let code = base64::engine::general_purpose::STANDARD.encode(zip.finish().unwrap().into_inner());
    let url = format!("{}/2015-03-31/functions/shop/code", server.api);
    let updated = server.send(server.client.put(url).body(json!({"ZipFile": code}).to_string())).await;
    assert_eq!(updated.status, 200, "{}", updated.text());
    let listed = ask(&server, Method::GET, "functions/shop/test-events", "").await.json();
    assert_eq!(listed["events"].as_array().unwrap().len(), 1, "{listed}");

    for (event, body, status) in [
        ("..%2Fx", "{}", 400),
        ("a.json", "{}", 400),
        ("x%00", "{}", 400),
        ("%ED%95%9C", "{}", 400),
        ("ok", "{", 400),
        ("ok", "", 400),
    ] {
        let answer = ask(&server, Method::PUT, &format!("functions/shop/test-events/{event}"), body).await;
        assert_eq!(answer.status, status, "{event}: {}", answer.text());
    }
    let large = vec![b' '; (6 << 20) + 1];
    assert_eq!(ask(&server, Method::PUT, "functions/shop/test-events/ok", large).await.status, 413);
    let nobody = ask(&server, Method::PUT, "functions/nobody/test-events/ok", "{}").await;
    assert_eq!(nobody.status, 404);
    let gone = ask(&server, Method::DELETE, "functions/shop/test-events/gone", "").await;
    assert_eq!(gone.status, 404, "{}", gone.text());
    // A link is neither read nor written through.
    let secret = server.folder().join("secret.json");
    std::fs::write(&secret, "{\"secret\": 1}").unwrap();
    std::os::unix::fs::symlink(&secret, server.handlers().join("shop/.events/link.json")).unwrap();
    let link = ask(&server, Method::GET, "functions/shop/test-events/link", "").await;
    assert!(link.status == 409 && !link.text().contains("secret\":"), "{}", link.text());
    assert_eq!(ask(&server, Method::PUT, "functions/shop/test-events/link", "{}").await.status, 204);
    assert_eq!(std::fs::read_to_string(&secret).unwrap(), "{\"secret\": 1}");

    let removed =
        server.send(server.client.delete(format!("{}/2015-03-31/functions/shop", server.api))).await;
    assert_eq!(removed.status, 204);
    assert_eq!(ask(&server, Method::GET, "functions/shop/test-events", "").await.status, 404);
    let trash = std::fs::read_dir(server.state_dir().join("trash")).unwrap().flatten();
    let kept = trash.filter(|entry| entry.path().join(".events/two words.json").is_file());
    assert!(kept.count() >= 1);
}

#[tokio::test]
async fn expressions_and_samples() {
    let server = shop("").await;
    let asked = json!({"expression": "cron(0 9 ? * MON-FRI *)", "time_zone": "Asia/Seoul"}).to_string();
    let told = ask(&server, Method::POST, "expression", asked).await.json();
    assert_eq!((&told["valid"], told["next"].as_array().unwrap().len()), (&json!(true), 5));
    assert!(told["next"][0].as_str().unwrap().ends_with("T00:00:00Z"), "{told}");
    let told = ask(&server, Method::POST, "expression", "{\"expression\": \"rate(2 minute)\"}").await.json();
    assert!(told["valid"] == false && told["message"].as_str().unwrap().contains("`2 minutes`"), "{told}");
    for body in ["", "{}", "[]", "{\"expression\": 5}"] {
        assert_eq!(ask(&server, Method::POST, "expression", body).await.status, 400);
    }
    let samples = ask(&server, Method::GET, "samples", "").await.json();
    let sqs = samples.as_array().unwrap().iter().find(|sample| sample["name"] == "sqs").unwrap().clone();
    assert_eq!(sqs["event"]["Records"][0]["eventSource"], "aws:sqs");
    assert!(sqs["title"].is_string());
}
