//! Documents, as API Gateway exports them and people write them.

use super::super::fixture::{self, findings, problems, routes};
use super::*;
use crate::api::{AuthorizerKind, IdentitySource, IntegrationKind, PayloadVersion};

const FUNCTIONS: &str = "
F: {Type: 'AWS::Lambda::Function', Properties: {Handler: a.b, Code: {ZipFile: x}}}
Shop:
  Type: KIND
  Properties:
    Name: x
    ProtocolType: HTTP
    Body:
";

fn describe(kind: &str, document: &str) -> (Api, Builder) {
    let document: String = document.lines().map(|line| format!("      {line}\n")).collect();
    let stack = fixture::stack(&format!("{}{document}", FUNCTIONS.replace("KIND", kind)));
    let resource = stack.resource("Shop").unwrap();
    let of = if kind == "AWS::ApiGateway::RestApi" { Kind::Rest } else { Kind::Http };
    let mut api = Api::new("abc", "Shop", of);
    let mut builder = Builder { path: stack.path.clone(), ..Builder::default() };
    read(resource.properties.get("Body").unwrap(), &stack, &mut api, &mut builder);
    (api, builder)
}

const REST: &str = r##"swagger: '2.0'
info: {title: shop, version: '1'}
basePath: /v1
x-logo: {url: x}
x-amazon-apigateway-binary-media-types: ['image/png', '*~1*']
x-amazon-apigateway-api-key-source: AUTHORIZER
x-amazon-apigateway-gateway-responses:
  DEFAULT_4XX:
    statusCode: 499
    responseParameters: {gatewayresponse.header.X: "'y'"}
    responseTemplates: {application/json: '{}'}
x-amazon-apigateway-request-validators:
  all: {validateRequestBody: true, validateRequestParameters: true}
  none: {validateRequestParameters: false}
x-amazon-apigateway-request-validator: all
parameters:
  Page: {name: page, in: query, required: true, type: string}
securityDefinitions:
  key: {type: apiKey, name: X-API-Key, in: header}
  token:
    type: apiKey
    name: X-Token
    in: header
    x-amazon-apigateway-authtype: custom
    x-amazon-apigateway-authorizer: {type: token, authorizerUri: '${F.Invoke}', identityValidationExpression: 'a+', authorizerResultTtlInSeconds: 0}
  signed: {type: apiKey, name: Authorization, in: header, x-amazon-apigateway-authtype: awsSigv4}
  pool:
    type: apiKey
    name: Authorization
    in: header
    x-amazon-apigateway-authtype: cognito_user_pools
    x-amazon-apigateway-authorizer: {type: cognito_user_pools, providerARNs: ['arn:aws:cognito-idp:us-east-1:1:userpool/p']}
  broken:
    type: apiKey
    x-amazon-apigateway-authorizer: {type: token, authorizerUri: gone}
  described: {type: basic}
security:
  - token: []
paths:
  /items:
    parameters:
      - $ref: '#/parameters/Page'
    get:
      operationId: listItems
      responses: {'200': {description: ok}}
      parameters:
        - {name: X-A, in: header, required: true}
        - {name: body, in: body, required: true}
      x-amazon-apigateway-integration: {type: aws_proxy, httpMethod: POST, uri: '${F.Invoke}', passthroughBehavior: when_no_match, timeoutInMillis: 1000}
    post:
      x-amazon-apigateway-request-validator: none
      security: [{key: []}, {pool: [a/b]}]
      x-amazon-apigateway-integration:
        type: aws
        httpMethod: POST
        uri: ${F.Invoke}
        requestTemplates: {application/json: '{"a": 1}'}
        responses:
          '.*Error.*': {statusCode: '500', responseTemplates: {application/json: oh}}
          default: {statusCode: '201', responseParameters: {method.response.header.A: "'b'"}}
    options:
      security: []
      x-amazon-apigateway-integration: {type: mock, requestTemplates: {application/json: '{"statusCode": 200}'}, responses: {default: {statusCode: 200}}}
    put:
      security: [{signed: []}]
      x-amazon-apigateway-integration: {type: http_proxy, httpMethod: PUT, uri: 'https://example.com'}
    delete:
      security: [{broken: []}]
      x-amazon-apigateway-integration: {type: mock}
    patch:
      security: [{described: []}]
      x-amazon-apigateway-auth: {type: AWS_IAM}
      x-amazon-apigateway-integration: {type: mock}
    head:
      security: [{unknown: []}]
  /{proxy+}:
    x-amazon-apigateway-any-method:
      security: []
      x-amazon-apigateway-integration: {type: aws_proxy, httpMethod: POST, uri: '${F.Invoke}', responseTransferMode: STREAM}
"##;

#[test]
fn a_rest_api_by_swagger() {
    let (api, builder) = describe("AWS::ApiGateway::RestApi", REST);
    assert_eq!(api.binary_media_types, ["image/png", "*/*"]);
    assert_eq!(api.api_key_source, ApiKeySource::Authorizer);
    let response = &api.gateway_responses["DEFAULT_4XX"];
    assert_eq!(
        (response.status, response.parameters["gatewayresponse.header.X"].as_str()),
        (Some(499), "'y'")
    );
    let lines = routes(&api);
    let expected = [
        "GET /items -> F V1, token [], requires method.request.querystring.page method.request.header.X-A, named listItems",
        "PUT /items -> PUT https://example.com, IAM, requires method.request.querystring.page",
        "POST /items -> mapped F, pool [\"a/b\"], key",
        "DELETE /items -> missing: its authorizer `broken` cannot decide anything: `gone` is no function of this template",
        "OPTIONS /items -> mapped MOCK, requires method.request.querystring.page",
        "HEAD /items -> missing: `unknown` is no security scheme of the document",
        "PATCH /items -> mapped MOCK, IAM, requires method.request.querystring.page",
        "ANY /{proxy+} -> F V1 streams",
    ];
    assert_eq!(lines.len(), expected.len());
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.starts_with(expected), "{line}\n{expected}");
    }
    let post = api.routes.iter().find(|route| route.method == "POST").unwrap();
    let IntegrationKind::Mapped(mapped) = &post.integration.kind else { panic!() };
    assert_eq!(mapped.request_templates["application/json"], "{\"a\": 1}");
    assert_eq!(mapped.responses[0].pattern.as_deref(), Some(".*Error.*"));
    assert_eq!((mapped.responses[1].pattern.as_deref(), mapped.responses[1].status), (None, 201));
    assert_eq!(mapped.responses[1].parameters["method.response.header.A"], "'b'");
    let AuthorizerKind::Token(token) = &api.authorizers["token"].kind else { panic!() };
    assert_eq!(token.identity, [IdentitySource::Header("X-Token".into())]);
    assert!(api.authorizers["token"].ttl.is_zero());
    assert_eq!(api.routes[0].source.line, Some(51));
    let problems = problems(&builder);
    for line in [
        "`Shop`: cannot decide anything: `gone` is no function",
        "`Shop`: nobody can pass: its authorizer `broken`",
        "`Shop`: nobody can pass: `unknown` is no security scheme",
        "`Shop`: the security scheme `described` has no `x-amazon-apigateway-authorizer`",
        "`Shop`: the operation has no `x-amazon-apigateway-integration`",
    ] {
        assert!(problems.iter().any(|known| known.contains(line)), "{line}: {problems:#?}");
    }
    assert_eq!(problems.len(), 5, "{problems:#?}");
    let lines = findings(&builder);
    let body =
        "openapi:x-amazon-apigateway-request-validators.all.validateRequestBody bodies are not checked";
    assert!(lines.iter().any(|line| line.contains(body)), "{lines:#?}");
}

const HTTP: &str = r##"openapi: 3.0.1
info: {title: web}
servers: [{url: 'https://x'}]
x-amazon-apigateway-importexport-version: '1.0'
x-amazon-apigateway-cors: {allowOrigins: ['*'], allowMethods: [GET], maxAge: 3}
components:
  securitySchemes:
    jwt:
      type: oauth2
      flows: {}
      x-amazon-apigateway-authorizer:
        type: jwt
        identitySource: $request.header.Authorization
        jwtConfiguration: {issuer: 'https://issuer.example', audience: [me]}
    asked:
      type: apiKey
      name: Authorization
      in: header
      x-amazon-apigateway-authorizer:
        type: request
        authorizerUri: ${F.Invoke}
        authorizerPayloadFormatVersion: '2.0'
        enableSimpleResponses: true
        identitySource: $request.header.a, $request.querystring.b
  x-amazon-apigateway-integrations:
    shared: {type: AWS_PROXY, httpMethod: POST, uri: '${F.Invoke}', payloadFormatVersion: '2.0', timeoutInMillis: 30000}
paths:
  /$default:
    x-amazon-apigateway-any-method:
      isDefaultRoute: true
      x-amazon-apigateway-integration: {$ref: '#/components/x-amazon-apigateway-integrations/shared'}
  /items/{id}:
    get:
      security: [{jwt: [read]}]
      x-amazon-apigateway-integration: {$ref: '#/components/x-amazon-apigateway-integrations/shared'}
    post:
      security: [{asked: []}]
      x-amazon-apigateway-integration: {type: AWS_PROXY, httpMethod: POST, uri: '${F.Invoke}'}
    put:
      x-amazon-apigateway-integration:
        type: HTTP_PROXY
        httpMethod: ANY
        uri: https://example.com/{id}
        payloadFormatVersion: '1.0'
        requestParameters: {'overwrite:path': /x}
        responseParameters: {'200': {'append:header.a': b}}
    delete:
      x-amazon-apigateway-integration: {$ref: '#/components/gone'}
"##;

#[test]
fn an_http_api_by_openapi() {
    let (api, builder) = describe("AWS::ApiGatewayV2::Api", HTTP);
    assert_eq!(
        routes(&api),
        [
            "ANY $default -> F V2",
            "GET /items/{id} -> F V2, jwt [\"read\"]",
            "PUT /items/{id} -> ANY https://example.com/{id}",
            "POST /items/{id} -> F V1, asked []",
            "DELETE /items/{id} -> missing: `#/components/gone` is not in the document",
        ]
    );
    assert_eq!(api.cors.as_ref().and_then(|cors| cors.max_age), Some(3));
    let AuthorizerKind::Request(asked) = &api.authorizers["asked"].kind else { panic!() };
    assert!(asked.simple_responses && asked.payload == PayloadVersion::V2 && asked.identity.len() == 2);
    let IntegrationKind::Http(http) = &api.routes[2].integration.kind else { panic!() };
    assert_eq!(http.request["overwrite:path"], "/x");
    assert_eq!(http.responses["200"]["append:header.a"], "b");
    let problems = problems(&builder);
    assert_eq!(problems.len(), 2, "{problems:#?}");
    assert!(problems.iter().any(|line| line.contains("`payloadFormatVersion` is missing")), "{problems:#?}");
}

#[test]
fn what_cannot_be_understood_opens_nothing() {
    for said in ["security: {token: []}", "security: [token]", "x-amazon-apigateway-auth: AWS_IAM"] {
        let document = format!(
            "openapi: 3.0.1\npaths:\n  /a:\n    get:\n      {said}\n      x-amazon-apigateway-integration: {{type: mock}}"
        );
        let (api, builder) = describe("AWS::ApiGateway::RestApi", &document);
        let lines = routes(&api);
        assert!(lines[0].starts_with("GET /a -> missing: "), "{said}: {lines:?}");
        assert_eq!(problems(&builder).len(), 1, "{said}");
    }
}

#[test]
fn what_is_no_document_is_said_without_falling() {
    for (document, problem) in [
        ("- a", "`openapi` must be a map"),
        ("openapi: 2.5", "`2.5` is no version of OpenAPI"),
        ("openapi: 3.0.1\npaths: [x]", "`openapi:paths` must be a map"),
        ("openapi: 3.0.1\npaths: {/a: {$ref: '#/paths/~1a'}}", "leads in a circle"),
        ("openapi: 3.0.1\npaths: {/a: {gett: {}}}", "hint: did you mean `get`?"),
        ("openapi: 3.0.1\npaths: {a: {get: {}}}", "`a` is no path"),
        ("openapi: 3.0.1\npaths: {/a: {get: x}}", "must be a map, not `x`"),
        (
            "openapi: 3.0.1\nx-amazon-apigateway-gateway-responses: {X: {}}\npaths: {}",
            "`X` is no type of gateway response",
        ),
    ] {
        let (_, builder) = describe("AWS::ApiGateway::RestApi", document);
        let problems = problems(&builder);
        assert!(problems.iter().any(|line| line.contains(problem)), "{document}: {problems:#?}");
    }
}
