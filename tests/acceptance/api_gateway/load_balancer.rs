//! Load balancers: rules, both forms of headers, what answers when nothing fits.

use serde_json::json;

use crate::harness::TestServerBuilder;
use crate::sam_apps::{get, send};

const TEMPLATE: &str = r#"
Transform: AWS::Serverless-2016-10-31
Resources:
  Web:
    Type: AWS::Serverless::Function
    Properties:
      Runtime: python3.12
      Handler: index.handler
      InlineCode: |
        import json
        def handler(event, context):
            if event["path"] == "/broken":
                return {"body": "no status"}
            event["headers"] = {n: v for n, v in event.get("headers", {}).items() if n in ("x-own", "host")}
            event["multiValueHeaders"] = "multiValueHeaders" in event
            return {"statusCode": 200, "statusDescription": "200 OK", "headers": {"Content-Type": "application/json"}, "body": json.dumps(event), "isBase64Encoded": False}
  Lists:
    Type: AWS::Serverless::Function
    Properties:
      Runtime: python3.12
      Handler: index.handler
      InlineCode: |
        import json
        def handler(event, context):
            said = [event["multiValueQueryStringParameters"], event["multiValueHeaders"]["x-own"]]
            return {"statusCode": 202, "multiValueHeaders": {"Set-Cookie": ["a=1", "b=2"], "Content-Type": ["application/json"]}, "body": json.dumps(said)}
  Balancer: {Type: AWS::ElasticLoadBalancingV2::LoadBalancer, Properties: {Subnets: [subnet-1, subnet-2]}}
  Listener:
    Type: AWS::ElasticLoadBalancingV2::Listener
    Properties:
      LoadBalancerArn: !Ref Balancer
      Port: 80
      Protocol: HTTP
      DefaultActions: [{Type: fixed-response, FixedResponseConfig: {StatusCode: '404'}}]
  WebGroup: {Type: AWS::ElasticLoadBalancingV2::TargetGroup, Properties: {TargetType: lambda, Targets: [{Id: !GetAtt Web.Arn}]}}
  ListsGroup:
    Type: AWS::ElasticLoadBalancingV2::TargetGroup
    Properties:
      TargetType: lambda
      Targets: [{Id: !GetAtt Lists.Arn}]
      TargetGroupAttributes: [{Key: lambda.multi_value_headers.enabled, Value: 'true'}]
  ListsRule:
    Type: AWS::ElasticLoadBalancingV2::ListenerRule
    Properties:
      ListenerArn: !Ref Listener
      Priority: 1
      Conditions: [{Field: path-pattern, PathPatternConfig: {Values: ['/lists/*']}}, {Field: http-request-method, HttpRequestMethodConfig: {Values: [GET]}}]
      Actions: [{Type: forward, TargetGroupArn: !Ref ListsGroup}]
  PathRule:
    Type: AWS::ElasticLoadBalancingV2::ListenerRule
    Properties:
      ListenerArn: !Ref Listener
      Priority: 2
      Conditions: [{Field: path-pattern, Values: ['/web/*', '/broken']}]
      Actions: [{Type: forward, TargetGroupArn: !Ref WebGroup}]
  HostRule:
    Type: AWS::ElasticLoadBalancingV2::ListenerRule
    Properties:
      ListenerArn: !Ref Listener
      Priority: 3
      Conditions: [{Field: host-header, HostHeaderConfig: {Values: ['*.shop.example.com']}}]
      Actions: [{Type: forward, TargetGroupArn: !Ref WebGroup}]
"#;

fn page(words: &str) -> String {
    format!(
        "<html>\r\n<head><title>{words}</title></head>\r\n<body>\r\n<center><h1>{words}</h1></center>\r\n</body>\r\n</html>\r\n"
    )
}

#[tokio::test]
async fn rules_lead_to_functions() {
    let server = TestServerBuilder::template(TEMPLATE).start().await;
    let twice = [("x-own", "1"), ("x-own", "2")];
    let mut request = server.client.get(format!("{}/web/a%20b?x=1&x=%20b", server.http));
    for (name, value) in twice {
        request = request.header(name, value);
    }
    let answer = server.send(request).await;
    assert_eq!((answer.status, answer.header("server")), (200, Some("awselb/2.0")), "{answer:?}");
    let event = answer.json();
    assert_eq!((&event["path"], &event["httpMethod"]), (&json!("/web/a%20b"), &json!("GET")));
    assert_eq!(event["queryStringParameters"], json!({"x": "%20b"}), "the last, as sent");
    assert_eq!(event["headers"]["x-own"], "2");
    assert_eq!((&event["multiValueHeaders"], &event["body"]), (&json!(false), &json!("")));
    let group = event["requestContext"]["elb"]["targetGroupArn"].as_str().unwrap();
    assert!(group.starts_with("arn:aws:elasticloadbalancing:"), "{group}");

    let request = server.client.get(format!("{}/lists/1?x=1&x=2", server.http)).header("x-own", "1");
    let answer = server.send(request.header("x-own", "2")).await;
    assert_eq!((answer.status, answer.json()), (202, json!([{"x": ["1", "2"]}, ["1", "2"]])));
    assert_eq!(answer.headers.get_all("set-cookie").iter().count(), 2);

    let by_host = [("host", "de.shop.example.com")];
    assert_eq!(get(&server, "/anything", &by_host).await.json()["path"], "/anything");
    for (method, path) in [("POST", "/lists/1"), ("GET", "/lists"), ("GET", "/")] {
        let lost = send(&server, method, path, &[], "").await;
        assert_eq!((lost.status, lost.text()), (404, &*page("404 Not Found")), "{method} {path}");
        assert_eq!(lost.header("content-type"), Some("text/html"));
    }
    let broken = get(&server, "/broken", &[]).await;
    assert_eq!((broken.status, broken.text()), (502, &*page("502 Bad Gateway")));
    let large = server.post("/web/1", "text/plain", vec![b'x'; 1024 * 1024 + 1]).await;
    assert_eq!((large.status, large.text()), (413, &*page("413 Request Entity Too Large")));
    assert_eq!(server.get("/_aws/elb/Balancer/web/1").await.json()["path"], "/web/1");
}
