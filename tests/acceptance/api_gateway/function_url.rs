//! Function URLs: IAM, CORS, sizes.

use super::{CREDENTIALS, signed};
use crate::harness::TestServerBuilder;
use crate::sam_apps::send;

const TEMPLATE: &str = r#"
Transform: AWS::Serverless-2016-10-31
Resources:
  Private:
    Type: AWS::Serverless::Function
    Properties:
      Runtime: python3.12
      Handler: index.handler
      InlineCode: |
        def handler(event, context):
            return event["requestContext"]["authorizer"]["iam"]["accessKey"]
      FunctionUrlConfig: {AuthType: AWS_IAM}
  Open:
    Type: AWS::Serverless::Function
    Properties:
      Runtime: python3.12
      Handler: index.handler
      InlineCode: |
        def handler(event, context):
            return {"statusCode": 200, "headers": {"Access-Control-Allow-Origin": "*"}, "body": event["rawPath"]}
      FunctionUrlConfig:
        AuthType: NONE
        Cors: {AllowOrigins: ['https://a.example.com'], AllowMethods: [GET, PUT], AllowHeaders: [x-own], MaxAge: 60, AllowCredentials: true}
"#;

#[tokio::test]
async fn urls_are_signed_for_or_open_to_origins() {
    let server = TestServerBuilder::template(TEMPLATE)
        .project_file("credentials", CREDENTIALS)
        .argument("--credentials")
        .argument("credentials")
        .start()
        .await;
    let private = "private.lambda-url.localhost";
    let answer = signed(&server, "lambda", private, "/a?b=1", "secret").await;
    assert_eq!((answer.status, answer.text()), (200, "AKIAEXAMPLEEXAMPLE00"));
    let forged = signed(&server, "lambda", private, "/a?b=1", "guessed").await;
    assert_eq!(forged.status, 403);
    assert_eq!(forged.header("x-amzn-errortype"), Some("InvalidSignatureException"));
    let unsigned = server.get_at(private, "/").await;
    let forbidden = r#"{"Message":"Forbidden. For troubleshooting Function URL authorization issues, see: https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html"}"#;
    assert_eq!((unsigned.status, unsigned.text()), (403, forbidden));

    let host = ("host", "open.lambda-url.localhost");
    let origin = ("origin", "https://a.example.com");
    let asked =
        [host, origin, ("access-control-request-method", "PUT"), ("access-control-request-headers", "x-own")];
    let preflight = send(&server, "OPTIONS", "/x", &asked, "").await;
    assert_eq!((preflight.status, preflight.text()), (200, ""));
    for (name, value) in [
        ("access-control-allow-origin", "https://a.example.com"),
        ("access-control-allow-methods", "GET,PUT"),
        ("access-control-allow-headers", "x-own"),
        ("access-control-max-age", "60"),
        ("access-control-allow-credentials", "true"),
        ("vary", "Origin"),
    ] {
        assert_eq!(preflight.header(name), Some(value), "{name}");
    }
    let answer = send(&server, "GET", "/a%20b", &[host, origin], "").await;
    assert_eq!((answer.status, answer.text()), (200, "/a%20b"));
    let allowed = answer.headers.get_all("access-control-allow-origin").iter().collect::<Vec<_>>();
    assert_eq!(allowed, ["https://a.example.com"], "in place of the function's own");
    let foreign = [host, ("origin", "https://b.example.com"), ("access-control-request-method", "GET")];
    let preflight = send(&server, "OPTIONS", "/x", &foreign, "").await;
    assert_eq!((preflight.status, preflight.header("access-control-allow-origin")), (200, None));

    let large = server.client.post(format!("{}/", server.http)).header("host", host.1);
    let large = server.send(large.body(vec![b'x'; 6 * 1024 * 1024 + 1])).await;
    let expected =
        r#"{"message":"Request must be smaller than 6291456 bytes for the InvokeFunction operation"}"#;
    assert_eq!((large.status, large.text()), (413, expected));
}
