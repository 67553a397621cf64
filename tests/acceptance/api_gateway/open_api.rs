//! A REST API whose definition is OpenAPI: proxy, mock, security, and a template that is refused.

use serde_json::json;

use super::{is, said};
use crate::harness::TestServerBuilder;
use crate::sam_apps::get;

const TEMPLATE: &str = r#"
Transform: AWS::Serverless-2016-10-31
Resources:
  Echo:
    Type: AWS::Serverless::Function
    Properties:
      Runtime: python3.12
      Handler: index.handler
      InlineCode: |
        import json
        def handler(event, context):
            context = event["requestContext"]
            said = {"operation": context.get("operationName"), "user": (context.get("authorizer") or {}).get("principalId"), "id": event["pathParameters"]["id"]}
            return {"statusCode": 200, "body": json.dumps(said)}
  Guard:
    Type: AWS::Serverless::Function
    Properties:
      Runtime: python3.12
      Handler: index.handler
      InlineCode: |
        def handler(event, context):
            if event["authorizationToken"] != "open sesame":
                raise Exception("Unauthorized")
            statement = {"Action": "execute-api:Invoke", "Effect": "Allow", "Resource": event["methodArn"]}
            return {"principalId": "ali", "policyDocument": {"Version": "2012-10-17", "Statement": [statement]}}
  Api:
    Type: AWS::Serverless::Api
    Properties:
      StageName: v1
      DefinitionBody:
        openapi: 3.0.1
        info: {title: api, version: '1'}
        components:
          securitySchemes:
            guard:
              type: apiKey
              name: x-word
              in: header
              x-amazon-apigateway-authtype: custom
              x-amazon-apigateway-authorizer:
                type: token
                authorizerUri: !Sub 'arn:aws:apigateway:${AWS::Region}:lambda:path/2015-03-31/functions/${Guard.Arn}/invocations'
                authorizerResultTtlInSeconds: 0
        paths:
          /things/{id}:
            get:
              operationId: readThing
              security: [{guard: []}]
              x-amazon-apigateway-integration:
                type: aws_proxy
                httpMethod: POST
                uri: !Sub 'arn:aws:apigateway:${AWS::Region}:lambda:path/2015-03-31/functions/${Echo.Arn}/invocations'
          /ping:
            get:
              x-amazon-apigateway-integration:
                type: mock
                requestTemplates: {application/json: '{"statusCode": 200}'}
                responses:
                  default:
                    statusCode: '203'
                    responseTemplates: {application/json: '{"pong":"$context.stage"}'}
          /macro:
            get:
              x-amazon-apigateway-integration:
                type: mock
                requestTemplates: {application/json: '{"statusCode": 200}'}
                responses:
                  default:
                    statusCode: '200'
                    responseTemplates: {application/json: '#macro(hello)hi#end#hello()'}
"#;

#[tokio::test]
async fn an_open_api_definition_is_served_without_what_it_must_not_say() {
    let server = TestServerBuilder::template(TEMPLATE).start().await;
    assert_eq!(said(&server, "GET", "/ping", &[], "").await, is(203, r#"{"pong":"v1"}"#));
    let unauthorized = is(401, r#"{"message":"Unauthorized"}"#);
    assert_eq!(said(&server, "GET", "/things/7", &[], "").await, unauthorized);
    assert_eq!(said(&server, "GET", "/things/7", &[("x-word", "sesame")], "").await, unauthorized);
    let answer = get(&server, "/v1/things/a%2Fb", &[("x-word", "open sesame")]).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json(), json!({"operation": "readThing", "user": "ali", "id": "a%2Fb"}));

    // Refused when it is deployed, by name; only its own path suffers.
    server.wait_for_terminal("#macro");
    let refused = is(500, r#"{"message": "Internal server error"}"#);
    assert_eq!(said(&server, "GET", "/macro", &[], "").await, refused);
    let lost = is(403, r#"{"message":"Missing Authentication Token"}"#);
    assert_eq!(said(&server, "GET", "/things", &[], "").await, lost);
}
