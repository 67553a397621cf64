//! HTTP APIs: parameter mapping, other servers, stages, Lambda authorizers, IAM.

use serde_json::json;

use super::{CREDENTIALS, is, said, signed, upstream};
use crate::harness::{TestServer, TestServerBuilder, eventually};
use crate::sam_apps::{get, send};

const TEMPLATE: &str = r#"
Transform: AWS::Serverless-2016-10-31
Parameters:
  Upstream: {Type: String}
  Folder: {Type: String}
Globals:
  Function: {Runtime: python3.12, Handler: index.handler, Timeout: 30}
Resources:
  Api: {Type: AWS::ApiGatewayV2::Api, Properties: {Name: api, ProtocolType: HTTP}}
  Default: {Type: AWS::ApiGatewayV2::Stage, Properties: {ApiId: !Ref Api, StageName: $default, AutoDeploy: true, StageVariables: {tier: gold}}}
  Test: {Type: AWS::ApiGatewayV2::Stage, Properties: {ApiId: !Ref Api, StageName: test, AutoDeploy: true, StageVariables: {tier: tin}}}

  EchoFunction:
    Type: AWS::Serverless::Function
    Properties:
      InlineCode: |
        import json
        def handler(event, context):
            keep = ("routeKey", "rawPath", "rawQueryString", "stageVariables", "pathParameters")
            said = {name: event.get(name) for name in keep}
            said["headers"] = {n: v for n, v in event["headers"].items() if n.startswith("x-m")}
            said["authorizer"] = event["requestContext"].get("authorizer")
            said["stage"] = event["requestContext"]["stage"]
            status = int(event["headers"].get("x-status", "200"))
            headers = {"x-old": "1", "x-gone": "1", "content-type": "application/json"}
            return {"statusCode": status, "headers": headers, "body": json.dumps(said)}
  SlowFunction:
    Type: AWS::Serverless::Function
    Properties:
      Environment: {Variables: {FOLDER: !Ref Folder}}
      InlineCode: |
        import os, time
        FOLDER = os.environ["FOLDER"]
        def handler(event, context):
            while not os.path.exists(f"{FOLDER}/open"):
                time.sleep(0.005)
            open(f"{FOLDER}/went-on", "w").close()
            return "late"
  GuardFunction:
    Type: AWS::Serverless::Function
    Properties:
      InlineCode: |
        count = 0
        def handler(event, context):
            global count
            count += 1
            user, branch = event["identitySource"]
            if user == "broken":
                raise ValueError("broken")
            return {"isAuthorized": user == "kim", "context": {"count": count, "branch": branch, "good": True, "list": [1]}}

  Echo: {Type: AWS::ApiGatewayV2::Integration, Properties: {ApiId: !Ref Api, IntegrationType: AWS_PROXY, IntegrationUri: !GetAtt EchoFunction.Arn, PayloadFormatVersion: '2.0'}}
  Slow: {Type: AWS::ApiGatewayV2::Integration, Properties: {ApiId: !Ref Api, IntegrationType: AWS_PROXY, IntegrationUri: !GetAtt SlowFunction.Arn, PayloadFormatVersion: '2.0', TimeoutInMillis: 100}}
  Mapped:
    Type: AWS::ApiGatewayV2::Integration
    Properties:
      ApiId: !Ref Api
      IntegrationType: AWS_PROXY
      IntegrationUri: !GetAtt EchoFunction.Arn
      PayloadFormatVersion: '2.0'
      RequestParameters:
        overwrite:header.x-m-stage: $stageVariables.tier
        append:header.x-m-kept: $request.querystring.more
        remove:header.x-m-gone: "''"
        overwrite:querystring.id: $request.path.id
        remove:querystring.more: "''"
      ResponseParameters:
        '200':
          ResponseParameters:
            - {Destination: 'overwrite:header.x-old', Source: '2'}
            - {Destination: 'append:header.x-new', Source: $response.body.stage}
            - {Destination: 'remove:header.x-gone', Source: "''"}
        '503':
          ResponseParameters:
            - {Destination: 'overwrite:statuscode', Source: '418'}
  Upstreamed:
    Type: AWS::ApiGatewayV2::Integration
    Properties:
      ApiId: !Ref Api
      IntegrationType: HTTP_PROXY
      IntegrationMethod: ANY
      IntegrationUri: !Sub '${Upstream}/base/{proxy}'
      PayloadFormatVersion: '1.0'
      RequestParameters: {'overwrite:header.x-shop': corner}
      ResponseParameters:
        '201':
          ResponseParameters:
            - {Destination: 'remove:header.x-secret', Source: "''"}
  Guard:
    Type: AWS::ApiGatewayV2::Authorizer
    Properties:
      ApiId: !Ref Api
      Name: guard
      AuthorizerType: REQUEST
      AuthorizerPayloadFormatVersion: '2.0'
      EnableSimpleResponses: true
      AuthorizerResultTtlInSeconds: 300
      AuthorizerUri: !Sub 'arn:aws:apigateway:${AWS::Region}:lambda:path/2015-03-31/functions/${GuardFunction.Arn}/invocations'
      IdentitySource: [$request.header.x-user, $request.querystring.branch]

  DefaultRoute: {Type: AWS::ApiGatewayV2::Route, Properties: {ApiId: !Ref Api, RouteKey: $default, Target: !Sub 'integrations/${Echo}'}}
  SlowRoute: {Type: AWS::ApiGatewayV2::Route, Properties: {ApiId: !Ref Api, RouteKey: GET /slow, Target: !Sub 'integrations/${Slow}'}}
  MappedRoute: {Type: AWS::ApiGatewayV2::Route, Properties: {ApiId: !Ref Api, RouteKey: 'GET /mapped/{id}', Target: !Sub 'integrations/${Mapped}'}}
  UpstreamRoute: {Type: AWS::ApiGatewayV2::Route, Properties: {ApiId: !Ref Api, RouteKey: 'ANY /upstream/{proxy+}', Target: !Sub 'integrations/${Upstreamed}'}}
  GuardedRoute: {Type: AWS::ApiGatewayV2::Route, Properties: {ApiId: !Ref Api, RouteKey: GET /guarded, AuthorizationType: CUSTOM, AuthorizerId: !Ref Guard, Target: !Sub 'integrations/${Echo}'}}
  SignedRoute: {Type: AWS::ApiGatewayV2::Route, Properties: {ApiId: !Ref Api, RouteKey: GET /signed, AuthorizationType: AWS_IAM, Target: !Sub 'integrations/${Echo}'}}
"#;

async fn api() -> TestServer {
    let upstream = upstream().await;
    let builder = TestServerBuilder::template(TEMPLATE).project_file("credentials", CREDENTIALS);
    let folder = builder.folder().display().to_string();
    builder
        .argument("--parameter-overrides")
        .argument(&format!("Upstream={upstream} Folder={folder}"))
        .argument("--credentials")
        .argument("credentials")
        .start()
        .await
}

#[tokio::test]
async fn parameters_are_mapped_both_ways() {
    let server = api().await;
    let headers = [("x-m-kept", "a"), ("x-m-gone", "b"), ("x-m-stage", "client")];
    let answer = get(&server, "/test/mapped/a%20b?more=c&x=1", &headers).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let said = answer.json();
    assert_eq!(said["headers"], json!({"x-m-kept": "a,c", "x-m-stage": "tin"}));
    assert_eq!(said["rawQueryString"], "x=1&id=a%20b");
    assert_eq!((answer.header("x-old"), answer.header("x-new")), (Some("2"), Some("test")));
    assert_eq!(answer.header("x-gone"), None);
    let answer = get(&server, "/mapped/1", &[("x-status", "503")]).await;
    assert_eq!((answer.status, answer.header("x-old")), (418, Some("1")));

    let answer =
        send(&server, "PATCH", "/test/upstream/a%20b/c?q=1", &[("x-kept", "k"), ("te", "trailers")], "hi")
            .await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let asked = json!({
        "method": "PATCH", "uri": "/base/a%20b/c?q=1", "shop": "corner", "from": null, "kept": "k",
        "te": null, "body": "hi",
    });
    assert_eq!(answer.json(), asked);
    assert_eq!((answer.header("x-upstream"), answer.header("x-secret")), (Some("yes"), None));
    assert_eq!(answer.header("www-authenticate"), Some("Basic"));
}

#[tokio::test]
async fn stages_routes_and_limits() {
    let server = api().await;
    for (path, stage, tier, raw) in [
        ("/a%20b/", "$default", "gold", "/a b/"),
        ("/test/a", "test", "tin", "/test/a"),
        ("/tests/a", "$default", "gold", "/tests/a"),
        ("/mapped/1/2", "$default", "gold", "/mapped/1/2"),
    ] {
        let said = get(&server, path, &[]).await.json();
        assert_eq!(
            (&said["stage"], &said["stageVariables"]["tier"]),
            (&json!(stage), &json!(tier)),
            "{path}"
        );
        assert_eq!((&said["routeKey"], &said["rawPath"]), (&json!("$default"), &json!(raw)), "{path}");
    }
    let long = "x".repeat(10_241);
    let refused = is(431, r#"{"message":"Request Header Fields Too Large"}"#);
    assert_eq!(said(&server, "GET", "/a", &[("x-long", &long)], "").await, refused);
    let large = server.post("/a", "text/plain", vec![b'x'; 10 * 1024 * 1024 + 1]).await;
    assert_eq!((large.status, large.text()), (413, r#"{"message":"Request Entity Too Large"}"#));

    let (gate, went_on) = (server.folder().join("open"), server.folder().join("went-on"));
    std::fs::write(&gate, "").unwrap();
    assert_eq!(server.until("/slow", |answer| answer.status == 200).await.text(), "late");
    std::fs::remove_file(&gate).unwrap();
    std::fs::remove_file(&went_on).unwrap();
    let late = is(503, r#"{"message":"Service Unavailable"}"#);
    assert_eq!(said(&server, "GET", "/slow", &[], "").await, late);
    assert!(!went_on.exists());
    std::fs::write(&gate, "").unwrap();
    eventually("the function goes on", || went_on.exists());
}

#[tokio::test]
async fn functions_and_signatures_let_pass() {
    let server = api().await;
    let unauthorized = is(401, r#"{"message":"Unauthorized"}"#);
    let kim = [("x-user", "kim")];
    assert_eq!(said(&server, "GET", "/guarded?branch=1", &[], "").await, unauthorized);
    assert_eq!(said(&server, "GET", "/guarded", &kim, "").await, unauthorized);
    for _ in 0..2 {
        let answer = get(&server, "/guarded?branch=1", &kim).await.json();
        let context = json!({"lambda": {"count": 1, "branch": "1", "good": true, "list": [1]}});
        assert_eq!(answer["authorizer"], context, "types stay, and it is asked once");
    }
    assert_eq!(get(&server, "/guarded?branch=2", &kim).await.json()["authorizer"]["lambda"]["count"], 2);
    let refused = is(403, r#"{"message":"Forbidden"}"#);
    assert_eq!(said(&server, "GET", "/guarded?branch=1", &[("x-user", "lee")], "").await, refused);
    let broken = is(500, r#"{"message":"Internal Server Error"}"#);
    assert_eq!(said(&server, "GET", "/guarded?branch=1", &[("x-user", "broken")], "").await, broken);

    assert_eq!(said(&server, "GET", "/signed", &[], "").await, refused);
    let host = "api.execute-api.localhost";
    let answer = signed(&server, "execute-api", host, "/signed?b=1&a=2", "secret").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let iam = &answer.json()["authorizer"]["iam"];
    assert_eq!(iam["accessKey"], "AKIAEXAMPLEEXAMPLE00");
    assert!(iam["userArn"].as_str().is_some_and(|arn| arn.ends_with(":user/kim")), "{iam}");
    for (service, secret) in [("execute-api", "guessed"), ("lambda", "secret")] {
        let answer = signed(&server, service, host, "/signed", secret).await;
        assert_eq!((answer.status, answer.text()), (403, r#"{"message":"Forbidden"}"#), "{service}");
    }
}
