//! `Events`, `FunctionUrlConfig` and `Layers` of `function.yaml`, over real sockets.

use crate::harness::TestServerBuilder;

const SAY_ROUTE: &str = "def lambda_handler(event, context):\n    return event['routeKey']\n";
const GET_ITEM: &str =
    "Events:\n  Get:\n    Type: HttpApi\n    Properties:\n      Path: /items/{id}\n      Method: GET\n";

#[tokio::test]
async fn a_function_answers_where_its_events_say_and_nowhere_else() {
    let server = TestServerBuilder::new()
        .handler("items", SAY_ROUTE)
        .file("items/function.yaml", GET_ITEM)
        .handler("plain", SAY_ROUTE)
        .start()
        .await;
    let answer = server.get("/items/7").await;
    assert_eq!((answer.status, answer.text()), (200, "GET /items/{id}"));
    assert_eq!(server.get("/items").await.status, 404);
    assert_eq!(server.post("/items/7", "text/plain", "x").await.status, 404);
    assert_eq!(server.get("/plain").await.text(), "ANY /plain");
    assert_eq!(server.get("/plain/x").await.text(), "ANY /plain/{proxy+}");
}

#[tokio::test]
async fn events_that_are_saved_count_from_the_next_request_on() {
    let server = TestServerBuilder::new()
        .handler("items", SAY_ROUTE)
        .file("items/function.yaml", GET_ITEM)
        .handler("other", SAY_ROUTE)
        .start()
        .await;
    assert_eq!(server.get("/items/7").await.status, 200);
    server.write("items/function.yaml", &GET_ITEM.replace("/items/", "/things/"));
    assert_eq!(server.get("/things/7").await.text(), "GET /things/{id}");
    assert_eq!(server.get("/items/7").await.status, 404);
    // Another function's change leaves them as they are.
    server.write("other/lambda_function.py", "def lambda_handler(event, context):\n    return 'new'\n");
    assert_eq!(server.get("/other").await.text(), "new");
    assert_eq!(server.get("/things/7").await.status, 200);
    server.write("items/function.yaml", "Timeout: 5\n");
    assert_eq!(server.get("/items").await.text(), "ANY /items");
}

#[tokio::test]
async fn the_default_route_takes_what_no_other_does() {
    let server = TestServerBuilder::new()
        .handler("fallback", SAY_ROUTE)
        .file("fallback/function.yaml", "Events:\n  All:\n    Type: HttpApi\n")
        .handler("plain", SAY_ROUTE)
        .start()
        .await;
    assert_eq!(server.get("/anything/at/all").await.text(), "$default");
    assert_eq!(server.get("/plain").await.text(), "ANY /plain");
}

#[tokio::test]
async fn a_mistake_in_events_breaks_its_function_and_no_other() {
    let server = TestServerBuilder::new()
        .handler("items", SAY_ROUTE)
        .file("items/function.yaml", "Events:\n  Get: {Type: HttpApi, Properties: {Path: /items}}\n")
        .handler("plain", SAY_ROUTE)
        .start()
        .await;
    server.wait_for_terminal("has `Path` but no `Method`");
    assert_eq!(server.get("/items").await.status, 500);
    assert_eq!(server.get("/plain").await.status, 200);
    server.write("items/function.yaml", GET_ITEM);
    assert_eq!(server.get("/items/7").await.status, 200);
}

#[tokio::test]
async fn layers_are_on_the_path_and_a_saved_one_counts() {
    let server = TestServerBuilder::new()
        .handler(
            "hello",
            "import greeting, word\ndef lambda_handler(event, context):\n    return f'{greeting.TEXT} {word.TEXT}'\n",
        )
        .file("hello/function.yaml", "Layers: [lower, upper]\n")
        .file("lower/python/greeting.py", "TEXT = 'lower'\n")
        .file("lower/python/word.py", "TEXT = 'one'\n")
        .file("upper/python/greeting.py", "TEXT = 'upper'\n")
        .start()
        .await;
    assert_eq!(server.get("/hello").await.text(), "upper one");
    server.write("lower/python/word.py", "TEXT = 'two'\n");
    assert_eq!(server.get("/hello").await.text(), "upper two");
}

const TOOLS: &str = "arn:aws:lambda:us-east-1:123456789012:layer:tools:2";

#[tokio::test]
async fn a_published_layer_is_found_as_soon_as_it_is_there() {
    let server = TestServerBuilder::new()
        .handler("hello", "def lambda_handler(event, context):\n    import tool\n    return tool.TEXT\n")
        .file("hello/function.yaml", &format!("Layers: ['{TOOLS}']\n"))
        .start()
        .await;
    server.wait_for_terminal("version 2 of the layer `tools` has not been published here");
    assert_eq!(server.get("/hello").await.status, 500);
    // As it is published: complete, at one stroke.
    let layers = server.state_dir().join("layers");
    let half = layers.join("half");
    std::fs::create_dir_all(half.join("python")).unwrap();
    std::fs::write(half.join("python/tool.py"), "TEXT = 'published'\n").unwrap();
    std::fs::create_dir_all(layers.join("tools")).unwrap();
    std::fs::rename(half, layers.join("tools/2")).unwrap();
    let answer = server.until("/hello", |answer| answer.status == 200).await;
    assert_eq!(answer.text(), "published");
}

#[tokio::test]
async fn triggers_are_shown() {
    let server = TestServerBuilder::new()
        .handler("hello", SAY_ROUTE)
        .file(
            "hello/function.yaml",
            "Events:\n  Work: {Type: SQS, Properties: {Queue: jobs, Enabled: false}}\n",
        )
        .start()
        .await;
    server.wait_for_terminal("helloWork  queue (off)  arn:aws:sqs:us-east-1:123456789012:jobs  hello");
    server.write(
        "hello/function.yaml",
        "Events:\n  Work: {Type: SQS, Properties: {Queue: others, Enabled: false}}\n",
    );
    server.wait_for_terminal("new or changed triggers:");
    server.wait_for_terminal("arn:aws:sqs:us-east-1:123456789012:others");
}

#[tokio::test]
async fn two_triggers_of_one_name_are_not_both_deployed() {
    let event =
        |name: &str| format!("Events:\n  {name}: {{Type: SQS, Properties: {{Queue: q, Enabled: false}}}}\n");
    let server = TestServerBuilder::new()
        .handler("ab", SAY_ROUTE)
        .file("ab/function.yaml", &event("C"))
        .handler("a", SAY_ROUTE)
        .file("a/function.yaml", &event("bC"))
        .start()
        .await;
    server.wait_for_terminal("`abC` is left out: there is a trigger of this name already");
    server.write("a/function.yaml", &event("Other"));
    server.wait_for_terminal("abC     queue (off)");
}
