//! Whole stacks, as people write them.

use std::collections::BTreeSet;
use std::time::Duration;

use super::super::fixture::{findings, problems, read, routes};
use super::super::{Builder, Status};
use crate::api::{
    ApiKeySource, AuthorizerKind, Domain, IdentitySource, IntegrationKind, Kind, Passthrough, PayloadVersion,
    Period, Throttle,
};

const NOTHING: [&str; 0] = [];

const REST: &str = "
Items:
  Type: AWS::Lambda::Function
  Properties:
    Handler: index.handler
    Runtime: python3.12
    Role: arn:aws:iam::123456789012:role/x
    Code: {ZipFile: 'def handler(event, context): return 1'}
Guard:
  Type: AWS::Lambda::Function
  Properties: {Handler: index.handler, Runtime: python3.12, Code: {ZipFile: x}}
Shop:
  Type: AWS::ApiGateway::RestApi
  Properties:
    Name: shop
    BinaryMediaTypes: [image~1png, 'application/zip']
    ApiKeySourceType: HEADER
    EndpointConfiguration: {Types: [REGIONAL]}
Token:
  Type: AWS::ApiGateway::Authorizer
  Properties:
    Name: token
    RestApiId: ${Shop}
    Type: TOKEN
    AuthorizerUri: ${Guard.Invoke}
    IdentitySource: method.request.header.X-Token
    IdentityValidationExpression: '[a-z]+'
    AuthorizerResultTtlInSeconds: 60
Asked:
  Type: AWS::ApiGateway::Authorizer
  Properties:
    Name: asked
    RestApiId: ${Shop}
    Type: REQUEST
    AuthorizerUri: ${Guard.Invoke}
    IdentitySource: method.request.header.A, method.request.querystring.b,context.identity.sourceIp
Pool:
  Type: AWS::ApiGateway::Authorizer
  Properties:
    Name: pool
    RestApiId: ${Shop}
    Type: COGNITO_USER_POOLS
    ProviderARNs: ['arn:aws:cognito-idp:eu-west-1:123456789012:userpool/eu-west-1_x']
    IdentitySource: method.request.header.Authorization
Checked:
  Type: AWS::ApiGateway::RequestValidator
  Properties: {RestApiId: '${Shop}', ValidateRequestParameters: true}
ItemsPlace:
  Type: AWS::ApiGateway::Resource
  Properties: {RestApiId: '${Shop}', ParentId: '${Shop.RootResourceId}', PathPart: items}
ItemPlace:
  Type: AWS::ApiGateway::Resource
  Properties: {RestApiId: '${Shop}', ParentId: '${ItemsPlace}', PathPart: '{id}'}
ListItems:
  Type: AWS::ApiGateway::Method
  Properties:
    RestApiId: ${Shop}
    ResourceId: ${ItemsPlace}
    HttpMethod: GET
    AuthorizationType: CUSTOM
    AuthorizerId: ${Token}
    ApiKeyRequired: true
    OperationName: list
    RequestValidatorId: ${Checked}
    RequestParameters:
      method.request.querystring.page: true
      method.request.header.x: false
    Integration: {Type: AWS_PROXY, IntegrationHttpMethod: POST, Uri: '${Items.Invoke}', TimeoutInMillis: 5000}
    MethodResponses: [{StatusCode: '200'}]
ReadItem:
  Type: AWS::ApiGateway::Method
  Properties:
    RestApiId: ${Shop}
    ResourceId: ${ItemPlace}
    HttpMethod: ANY
    AuthorizationType: COGNITO_USER_POOLS
    AuthorizerId: ${Pool}
    AuthorizationScopes: [items/read]
    Integration: {Type: AWS_PROXY, IntegrationHttpMethod: POST, Uri: '${Items.Invoke}', ResponseTransferMode: STREAM}
Preflight:
  Type: AWS::ApiGateway::Method
  Properties:
    RestApiId: ${Shop}
    ResourceId: ${ItemsPlace}
    HttpMethod: OPTIONS
    AuthorizationType: NONE
    Integration:
      Type: MOCK
      PassthroughBehavior: NEVER
      RequestTemplates: {application/json: '{\"statusCode\": 200}'}
      IntegrationResponses:
        - StatusCode: '200'
          ResponseParameters: {method.response.header.Access-Control-Allow-Origin: \"'*'\"}
          ResponseTemplates: {application/json: ''}
        - {StatusCode: 400, SelectionPattern: '4\\d{2}'}
Mapped:
  Type: AWS::ApiGateway::Method
  Properties:
    RestApiId: ${Shop}
    ResourceId: ${Shop.RootResourceId}
    HttpMethod: POST
    AuthorizationType: AWS_IAM
    Integration:
      Type: AWS
      IntegrationHttpMethod: POST
      Uri: ${Items.Invoke}
      RequestParameters: {integration.request.header.X-Amz-Invocation-Type: \"'Event'\"}
Elsewhere:
  Type: AWS::ApiGateway::Method
  Properties:
    RestApiId: ${Shop}
    ResourceId: ${ItemsPlace}
    HttpMethod: PUT
    Integration:
      Type: HTTP_PROXY
      IntegrationHttpMethod: PUT
      Uri: https://example.com/{id}
      RequestParameters: {integration.request.path.id: method.request.path.id}
Denied:
  Type: AWS::ApiGateway::GatewayResponse
  Properties:
    RestApiId: ${Shop}
    ResponseType: UNAUTHORIZED
    StatusCode: '418'
    ResponseTemplates: {application/json: '{}'}
Deployed:
  Type: AWS::ApiGateway::Deployment
  DependsOn: [ListItems]
  Properties: {RestApiId: '${Shop}', StageName: first}
Live:
  Type: AWS::ApiGateway::Stage
  Properties:
    RestApiId: ${Shop}
    DeploymentId: ${Deployed}
    StageName: live
    Variables: {table: items}
    MethodSettings:
      - {HttpMethod: '*', ResourcePath: '/*', ThrottlingRateLimit: 10, ThrottlingBurstLimit: 5}
      - {HttpMethod: GET, ResourcePath: '/~1items~1{id}', ThrottlingRateLimit: 1.5}
Key:
  Type: AWS::ApiGateway::ApiKey
  Properties: {Name: mine, Enabled: true, Value: 01234567890123456789}
Plan:
  Type: AWS::ApiGateway::UsagePlan
  Properties:
    UsagePlanName: gold
    ApiStages: [{ApiId: '${Shop}', Stage: live}]
    Throttle: {RateLimit: 2, BurstLimit: 3}
    Quota: {Limit: 100, Period: DAY}
Member:
  Type: AWS::ApiGateway::UsagePlanKey
  Properties: {KeyId: '${Key}', KeyType: API_KEY, UsagePlanId: '${Plan}'}
Host:
  Type: AWS::ApiGateway::DomainName
  Properties: {DomainName: Shop.Example.com, RegionalCertificateArn: x}
Path:
  Type: AWS::ApiGateway::BasePathMapping
  Properties: {DomainName: '${Host}', RestApiId: '${Shop}', BasePath: v1, Stage: live}
";

/// Every property of every resource stands in the report once.
fn accounted(builder: &Builder) {
    let mut seen = BTreeSet::new();
    for finding in &builder.reading.findings {
        let key = (finding.resource.as_str(), finding.property.as_str());
        assert!(seen.insert(key), "{finding:?} twice");
        assert!(finding.line > 0, "{finding:?}");
        assert!(finding.status == Status::Supported || !finding.text.is_empty(), "{finding:?}");
    }
}

#[test]
fn a_rest_api_in_full() {
    let builder = read(REST);
    assert_eq!(problems(&builder), NOTHING);
    accounted(&builder);
    let [api] = builder.reading.apis.as_slice() else { panic!() };
    assert_eq!((api.kind, api.name.as_str(), api.id.as_str()), (Kind::Rest, "Shop", "000000shop"));
    assert_eq!(api.binary_media_types, ["image/png", "application/zip"]);
    assert_eq!(api.api_key_source, ApiKeySource::Header);
    assert_eq!(
        routes(api),
        [
            "GET /items -> Items V1, token [], key, requires method.request.querystring.page, named list",
            "ANY /items/{id} -> Items V1 streams, pool [\"items/read\"]",
            "OPTIONS /items -> mapped MOCK",
            "POST / -> mapped Items asynchronous, IAM",
            "PUT /items -> PUT https://example.com/{id}",
        ]
    );
    assert_eq!(api.routes[0].integration.timeout, Some(Duration::from_millis(5000)));
    let IntegrationKind::Mapped(mock) = &api.routes[2].integration.kind else { panic!() };
    assert_eq!(mock.passthrough, Passthrough::Never);
    assert_eq!(mock.request_templates["application/json"], "{\"statusCode\": 200}");
    assert_eq!(mock.responses.len(), 2);
    assert_eq!((mock.responses[0].status, &mock.responses[0].pattern), (200, &None));
    assert_eq!(mock.responses[0].parameters["method.response.header.Access-Control-Allow-Origin"], "'*'");
    assert_eq!(mock.responses[1].pattern.as_deref(), Some("4\\d{2}"));
    let IntegrationKind::Http(http) = &api.routes[4].integration.kind else { panic!() };
    assert_eq!(http.request["integration.request.path.id"], "method.request.path.id");

    assert_eq!(api.stages.iter().map(|stage| stage.name.as_str()).collect::<Vec<_>>(), ["live", "first"]);
    let live = &api.stages[0];
    assert_eq!(live.variables["table"], "items");
    assert_eq!(live.throttle, Some(Throttle { rate: 10.0, burst: 5 }));
    assert_eq!(live.route_throttles["GET /items/{id}"], Throttle { rate: 1.5, burst: 5000 });
    assert_eq!(api.gateway_responses["UNAUTHORIZED"].status, Some(418));
    assert_eq!(api.gateway_responses["UNAUTHORIZED"].templates["application/json"], "{}");

    let plan = &api.usage_plans[0];
    assert_eq!((plan.name.as_str(), plan.stages.as_slice()), ("gold", &["live".to_owned()][..]));
    assert_eq!((plan.keys[0].value.as_str(), plan.keys[0].enabled), ("01234567890123456789", true));
    assert_eq!(plan.throttle, Some(Throttle { rate: 2.0, burst: 3 }));
    assert_eq!(plan.quota.as_ref().map(|quota| (quota.limit, quota.period)), Some((100, Period::Day)));
    let domain = Domain { host: "shop.example.com".into(), base_path: "v1".into(), stage: "live".into() };
    assert_eq!(api.domains, [domain]);
}

#[test]
fn authorizers_of_a_rest_api() {
    let builder = read(REST);
    let authorizers = &builder.reading.apis[0].authorizers;
    let AuthorizerKind::Token(token) = &authorizers["token"].kind else { panic!() };
    assert_eq!((token.function.as_str(), token.validation.as_deref()), ("Guard", Some("[a-z]+")));
    assert_eq!(token.identity, [IdentitySource::Header("X-Token".into())]);
    assert_eq!(authorizers["token"].ttl, Duration::from_secs(60));
    let AuthorizerKind::Request(asked) = &authorizers["asked"].kind else { panic!() };
    let sources = [
        IdentitySource::Header("A".into()),
        IdentitySource::Query("b".into()),
        IdentitySource::Context("identity.sourceIp".into()),
    ];
    assert_eq!((asked.identity.as_slice(), asked.payload), (&sources[..], PayloadVersion::V1));
    assert_eq!(authorizers["asked"].ttl, Duration::from_secs(300));
    let AuthorizerKind::Cognito(pool) = &authorizers["pool"].kind else { panic!() };
    assert_eq!(pool.issuer, "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_x");
}

/// AWS refuses it; here no route may come to ask for the other one.
#[test]
fn authorizers_of_one_name_are_kept_apart() {
    let text = REST.replace("Name: asked", "Name: token");
    assert_ne!(text, REST);
    let builder = read(&text);
    let names: Vec<&String> = builder.reading.apis[0].authorizers.keys().collect();
    assert_eq!(names, ["Asked", "Token", "pool"]);
    assert!(routes(&builder.reading.apis[0])[0].contains("V1, Token []"));
}

/// A REST API with one method at its root.
fn one_method(method: &str) -> Builder {
    read(&format!(
        "F: {{Type: 'AWS::Lambda::Function', Properties: {{Handler: a.b, Code: {{ZipFile: x}}}}}}
A: {{Type: 'AWS::ApiGateway::RestApi', Properties: {{Name: a}}}}
D: {{Type: 'AWS::ApiGateway::Deployment', Properties: {{RestApiId: '${{A}}', StageName: s}}}}
M:
  Type: AWS::ApiGateway::Method
  Properties:
    RestApiId: ${{A}}
    ResourceId: ${{A.RootResourceId}}
    HttpMethod: GET
{method}"
    ))
}

#[test]
fn what_cannot_be_integrated_answers_and_says_why() {
    for (method, route, problem) in [
        (
            "    Integration: {Type: AWS_PROXY, IntegrationHttpMethod: GET, Uri: '${F.Invoke}'}",
            "missing: `IntegrationHttpMethod` is GET; functions are called with POST, and AWS answers 500 for this",
            "10 `M`: is not integrated: `IntegrationHttpMethod` is GET",
        ),
        (
            "    Integration: {Type: AWS_PROXY, IntegrationHttpMethod: POST, Uri: nobody}",
            "missing: `nobody` is no function of this template",
            "10 `M`: is not integrated: `nobody`",
        ),
        (
            "    Integration: {Type: HTTP, IntegrationHttpMethod: GET, Uri: 'http://a'}",
            "missing: type HTTP, with mapping templates",
            "hint: HTTP_PROXY passes requests on as they are",
        ),
        (
            "    Integration: {Type: HTTP_PROXY, ConnectionType: VPC_LINK, ConnectionId: x, IntegrationHttpMethod: GET, Uri: 'http://a'}",
            "missing: its `VPC_LINK`",
            "10 `M`: is not integrated: its `VPC_LINK`",
        ),
        (
            "    Integration: {Type: AWS, IntegrationHttpMethod: POST, Uri: 'arn:aws:apigateway:us-east-1:sqs:path/1/q'}",
            "missing: it calls the service `sqs`",
            "10 `M`: is not integrated: it calls the service `sqs`",
        ),
        (
            "    AuthorizationType: NONE",
            "missing: the method has no `Integration`",
            "4 `M`: the method has no",
        ),
        (
            "    AuthorizationType: CUSTOM\n    AuthorizerId: gone\n    Integration: {Type: MOCK}",
            "missing: its authorizer `gone` is not there",
            "11 `M`: nobody can pass: its authorizer `gone`",
        ),
        (
            "    AuthorizationType: SOMETHING\n    Integration: {Type: MOCK}",
            "missing: `SOMETHING` is no type of authorization",
            "`M`: nobody can pass: `SOMETHING`",
        ),
        (
            "    AuthorizationType: [AWS_IAM]\n    Integration: {Type: MOCK}",
            "missing: `?` is no type of authorization",
            "`M`: nobody can pass: `?`",
        ),
        (
            "    ApiKeyRequired: perhaps\n    Integration: {Type: MOCK}",
            "mapped MOCK, key",
            "`ApiKeyRequired` must be true or false",
        ),
    ] {
        let builder = one_method(method);
        let lines = routes(&builder.reading.apis[0]);
        assert!(lines[0].contains(&format!("GET / -> {route}")), "{method}: {lines:?}");
        let problems = problems(&builder);
        assert!(problems.iter().any(|line| line.contains(problem)), "{method}: {problems:?}");
        accounted(&builder);
    }
}

#[test]
fn properties_that_are_not_followed_are_named() {
    let builder = one_method(
        "    Integration:
      Type: AWS
      IntegrationHttpMethod: POST
      Uri: ${F.Invoke}
      ContentHandling: CONVERT_TO_TEXT
      CacheNamespace: x
      Passthrough: NEVER
      IntegrationResponses: [{StatusCode: 200, SelectionPattern: '(?=x)'}]
    RequestParameters: {method.request.header.x: true}
    RequestModels: {application/json: M}
    AuthorisationType: NONE
",
    );
    let lines = findings(&builder);
    for line in [
        "14 Different Integration.ContentHandling bodies are passed on as they are",
        "15 Ignored Integration.CacheNamespace nothing is cached here",
        "16 Ignored Integration.Passthrough `Passthrough` is no property of `Integration`; it is ignored",
        "17 Different Integration.IntegrationResponses one of its patterns cannot be used and matches nothing",
        "18 Supported RequestParameters nothing is required: no `RequestValidatorId` asks for it, as on AWS",
        "19 Different RequestModels bodies are not checked against their models yet",
        "20 Ignored AuthorisationType `AuthorisationType` is no property of AWS::ApiGateway::Method; it is ignored",
    ] {
        assert!(lines.iter().any(|known| known == line), "{line}: {lines:#?}");
    }
    let problems = problems(&builder);
    assert!(
        problems.iter().any(|line| line.contains("hint: did you mean `AuthorizationType`?")),
        "{problems:?}"
    );
    accounted(&builder);
    let IntegrationKind::Mapped(mapped) = &builder.reading.apis[0].routes[0].integration.kind else {
        panic!()
    };
    let nothing = regex::Regex::new(mapped.responses[0].pattern.as_deref().unwrap()).unwrap();
    assert!(!nothing.is_match("") && !nothing.is_match("x\n"));
}

#[test]
fn broken_trees_and_owners_are_reported() {
    let builder = read(
        "A: {Type: 'AWS::ApiGateway::RestApi', Properties: {Name: a, BodyS3Location: {Bucket: b}}}
One: {Type: 'AWS::ApiGateway::Resource', Properties: {RestApiId: '${A}', ParentId: '${Two}', PathPart: a}}
Two: {Type: 'AWS::ApiGateway::Resource', Properties: {RestApiId: '${A}', ParentId: '${One}', PathPart: b}}
Lost: {Type: 'AWS::ApiGateway::Resource', Properties: {RestApiId: nobody, ParentId: nowhere, PathPart: b}}
S: {Type: 'AWS::ApiGateway::Stage', Properties: {RestApiId: '${A}', StageName: 'a b'}}
",
    );
    let problems = problems(&builder);
    for line in [
        "`A`: the definition is in S3",
        "`One`: its `ParentId` leads in a circle",
        "`Lost`: `RestApiId`: `nobody` is no API of this template",
        "`Lost`: `nowhere` is no resource of an API in this template",
        "`S`: a stage's name is made of letters",
        "here it is served as stage `Prod`",
    ] {
        assert!(problems.iter().any(|known| known.contains(line)), "{line}: {problems:#?}");
    }
}

const HTTP: &str = "
F: {Type: 'AWS::Lambda::Function', Properties: {Handler: a.b, Code: {ZipFile: x}}}
Live: {Type: 'AWS::Lambda::Alias', Properties: {FunctionName: '${F}', FunctionVersion: '1', Name: live}}
Web:
  Type: AWS::ApiGatewayV2::Api
  Properties:
    Name: web
    ProtocolType: HTTP
    CorsConfiguration:
      AllowOrigins: ['https://a.example']
      AllowMethods: [GET]
      AllowHeaders: ['*']
      ExposeHeaders: [x]
      MaxAge: 60
      AllowCredentials: true
Jwt:
  Type: AWS::ApiGatewayV2::Authorizer
  Properties:
    ApiId: ${Web}
    Name: jwt
    AuthorizerType: JWT
    IdentitySource: ['$request.header.Authorization']
    JwtConfiguration: {Issuer: 'https://issuer.example', Audience: [me]}
Asked:
  Type: AWS::ApiGatewayV2::Authorizer
  Properties:
    ApiId: ${Web}
    Name: asked
    AuthorizerType: REQUEST
    AuthorizerUri: ${F.Invoke}
    AuthorizerPayloadFormatVersion: '2.0'
    EnableSimpleResponses: true
    IdentitySource: [$request.header.a, $context.routeKey]
    AuthorizerResultTtlInSeconds: 10
Call:
  Type: AWS::ApiGatewayV2::Integration
  Properties:
    ApiId: ${Web}
    IntegrationType: AWS_PROXY
    IntegrationUri: ${F.Arn}
    PayloadFormatVersion: '2.0'
    RequestParameters: {'append:header.x': $context.requestId}
    ResponseParameters:
      '200': {ResponseParameters: [{Destination: 'overwrite:header.y', Source: z}]}
CallAlias:
  Type: AWS::ApiGatewayV2::Integration
  Properties: {ApiId: '${Web}', IntegrationType: AWS_PROXY, IntegrationUri: '${Live}', PayloadFormatVersion: '1.0', TimeoutInMillis: 3000}
Old:
  Type: AWS::ApiGatewayV2::Integration
  Properties: {ApiId: '${Web}', IntegrationType: AWS_PROXY, IntegrationUri: '${F.Arn}'}
Far:
  Type: AWS::ApiGatewayV2::Integration
  Properties: {ApiId: '${Web}', IntegrationType: HTTP_PROXY, IntegrationMethod: GET, IntegrationUri: 'https://example.com'}
Events:
  Type: AWS::ApiGatewayV2::Integration
  Properties: {ApiId: '${Web}', IntegrationType: AWS_PROXY, IntegrationSubtype: EventBridge-PutEvents, PayloadFormatVersion: '1.0'}
List: {Type: 'AWS::ApiGatewayV2::Route', Properties: {ApiId: '${Web}', RouteKey: GET /items, Target: 'integrations/${Call}', AuthorizationType: JWT, AuthorizerId: '${Jwt}', AuthorizationScopes: [read]}}
Ask: {Type: 'AWS::ApiGatewayV2::Route', Properties: {ApiId: '${Web}', RouteKey: 'ANY /ask/{proxy+}', Target: 'integrations/${CallAlias}', AuthorizationType: CUSTOM, AuthorizerId: '${Asked}'}}
Signed: {Type: 'AWS::ApiGatewayV2::Route', Properties: {ApiId: '${Web}', RouteKey: GET /signed, Target: 'integrations/${Old}', AuthorizationType: AWS_IAM}}
Go: {Type: 'AWS::ApiGatewayV2::Route', Properties: {ApiId: '${Web}', RouteKey: GET /far, Target: 'integrations/${Far}'}}
Put: {Type: 'AWS::ApiGatewayV2::Route', Properties: {ApiId: '${Web}', RouteKey: POST /events, Target: 'integrations/${Events}'}}
Rest: {Type: 'AWS::ApiGatewayV2::Route', Properties: {ApiId: '${Web}', RouteKey: $default, Target: 'integrations/gone'}}
Stage:
  Type: AWS::ApiGatewayV2::Stage
  Properties:
    ApiId: ${Web}
    StageName: $default
    AutoDeploy: true
    StageVariables: {a: b}
    DefaultRouteSettings: {ThrottlingBurstLimit: 7, ThrottlingRateLimit: 8, DetailedMetricsEnabled: true}
    RouteSettings: {GET /items: {ThrottlingRateLimit: 1, ThrottlingBurstLimit: 2}}
Dev: {Type: 'AWS::ApiGatewayV2::Stage', Properties: {ApiId: '${Web}', StageName: dev, AutoDeploy: true}}
Host: {Type: 'AWS::ApiGatewayV2::DomainName', Properties: {DomainName: web.example.com}}
Mapping: {Type: 'AWS::ApiGatewayV2::ApiMapping', Properties: {ApiId: '${Web}', DomainName: '${Host}', Stage: dev, ApiMappingKey: a/b}}
";

#[test]
fn an_http_api_in_full() {
    let builder = read(HTTP);
    accounted(&builder);
    let [api] = builder.reading.apis.as_slice() else { panic!() };
    assert_eq!(
        routes(api),
        [
            "GET /items -> F V2, jwt [\"read\"]",
            "ANY /ask/{proxy+} -> F:live V1, asked []",
            "GET /signed -> F V1, IAM",
            "GET /far -> GET https://example.com",
            "POST /events -> missing: it calls the service `EventBridge-PutEvents`; only functions can be called",
            "ANY $default -> missing: `integrations/gone` is no integration of this template",
        ]
    );
    let IntegrationKind::Function { request, responses, .. } = &api.routes[0].integration.kind else {
        panic!()
    };
    assert_eq!(request["append:header.x"], "$context.requestId");
    assert_eq!(responses["200"]["overwrite:header.y"], "z");
    assert_eq!(api.routes[1].integration.timeout, Some(Duration::from_secs(3)));
    let cors = api.cors.as_ref().unwrap();
    assert_eq!((cors.max_age, cors.allow_credentials), (Some(60), true));
    assert_eq!(cors.allow_origins, ["https://a.example"]);
    let AuthorizerKind::Jwt(jwt) = &api.authorizers["jwt"].kind else { panic!() };
    assert_eq!(
        (jwt.issuer.as_str(), jwt.audience.as_slice()),
        ("https://issuer.example", &["me".to_owned()][..])
    );
    let AuthorizerKind::Request(asked) = &api.authorizers["asked"].kind else { panic!() };
    assert!(asked.simple_responses && asked.payload == PayloadVersion::V2);
    assert_eq!(asked.identity[1], IdentitySource::Context("routeKey".into()));
    let [stage, dev] = api.stages.as_slice() else { panic!() };
    assert_eq!((stage.name.as_str(), dev.name.as_str()), ("$default", "dev"));
    assert_eq!(stage.variables["a"], "b");
    assert_eq!(stage.throttle, Some(Throttle { rate: 8.0, burst: 7 }));
    assert_eq!(stage.route_throttles["GET /items"], Throttle { rate: 1.0, burst: 2 });
    let domain = Domain { host: "web.example.com".into(), base_path: "a/b".into(), stage: "dev".into() };
    assert_eq!(api.domains, [domain]);
    let problems = problems(&builder);
    assert_eq!(problems.len(), 3, "{problems:#?}");
    assert!(problems[0].contains("`PayloadFormatVersion` is missing"), "{problems:?}");
    let lines = findings(&builder);
    let versions = "Different IntegrationUri `live` of `F` leads to the current code until one of its name is made through the Lambda API";
    assert!(lines.iter().any(|line| line.ends_with(versions)), "{lines:#?}");
}

#[test]
fn an_http_api_made_quickly() {
    let builder = read(
        "F: {Type: 'AWS::Lambda::Function', Properties: {Handler: a.b, Code: {ZipFile: x}}}
One: {Type: 'AWS::ApiGatewayV2::Api', Properties: {Name: a, ProtocolType: HTTP, Target: '${F.Arn}'}}
Two: {Type: 'AWS::ApiGatewayV2::Api', Properties: {Name: b, ProtocolType: HTTP, RouteKey: GET /a, Target: 'https://example.com'}}
Bad: {Type: 'AWS::ApiGatewayV2::Api', Properties: {Name: c, ProtocolType: HTTP, RouteKey: nothing, Target: '${F.Arn}'}}
",
    );
    let apis = &builder.reading.apis;
    assert_eq!(routes(&apis[0]), ["ANY $default -> F V2"]);
    assert_eq!(routes(&apis[1]), ["GET /a -> ANY https://example.com"]);
    assert_eq!(apis[0].stages[0].name, "$default");
    let problems = problems(&builder);
    assert_eq!(problems.len(), 1);
    assert!(problems[0].contains("`nothing` is no route key"), "{problems:?}");
}

#[test]
fn a_web_socket_api() {
    let builder = read(
        "F: {Type: 'AWS::Lambda::Function', Properties: {Handler: a.b, Code: {ZipFile: x}}}
Chat: {Type: 'AWS::ApiGatewayV2::Api', Properties: {Name: chat, ProtocolType: WEBSOCKET, RouteSelectionExpression: $request.body.action}}
Guard: {Type: 'AWS::ApiGatewayV2::Authorizer', Properties: {ApiId: '${Chat}', Name: g, AuthorizerType: REQUEST, AuthorizerUri: '${F.Invoke}', IdentitySource: [route.request.querystring.token]}}
Call: {Type: 'AWS::ApiGatewayV2::Integration', Properties: {ApiId: '${Chat}', IntegrationType: AWS_PROXY, IntegrationMethod: POST, IntegrationUri: '${F.Invoke}'}}
Mock: {Type: 'AWS::ApiGatewayV2::Integration', Properties: {ApiId: '${Chat}', IntegrationType: MOCK, TemplateSelectionExpression: \"200\", RequestTemplates: {'200': '{\"statusCode\": 200}', '400': x}}}
Answer: {Type: 'AWS::ApiGatewayV2::IntegrationResponse', Properties: {ApiId: '${Chat}', IntegrationId: '${Mock}', IntegrationResponseKey: $default, ResponseTemplates: {$default: pong}}}
Connect: {Type: 'AWS::ApiGatewayV2::Route', Properties: {ApiId: '${Chat}', RouteKey: $connect, AuthorizationType: CUSTOM, AuthorizerId: '${Guard}', Target: 'integrations/${Call}'}}
Send: {Type: 'AWS::ApiGatewayV2::Route', Properties: {ApiId: '${Chat}', RouteKey: send, RouteResponseSelectionExpression: $default, Target: 'integrations/${Call}'}}
Back: {Type: 'AWS::ApiGatewayV2::RouteResponse', Properties: {ApiId: '${Chat}', RouteId: '${Send}', RouteResponseKey: $default}}
Ping: {Type: 'AWS::ApiGatewayV2::Route', Properties: {ApiId: '${Chat}', RouteKey: ping, Target: 'integrations/${Mock}'}}
Live: {Type: 'AWS::ApiGatewayV2::Stage', Properties: {ApiId: '${Chat}', StageName: live}}
",
    );
    assert_eq!(problems(&builder), NOTHING);
    accounted(&builder);
    let [api] = builder.reading.apis.as_slice() else { panic!() };
    assert_eq!(
        (api.kind, api.route_selection_expression.as_str()),
        (Kind::WebSocket, "$request.body.action")
    );
    assert_eq!(routes(api), ["$connect -> F V1, g []", "send -> F V1, responds", "ping -> mapped MOCK"]);
    let IntegrationKind::Mapped(mock) = &api.routes[2].integration.kind else { panic!() };
    assert_eq!(mock.request_templates["application/json"], "{\"statusCode\": 200}");
    assert_eq!(mock.responses[0].templates["application/json"], "pong");
    let AuthorizerKind::Request(guard) = &api.authorizers["g"].kind else { panic!() };
    assert_eq!(guard.identity, [IdentitySource::Query("token".into())]);
    assert_eq!(api.authorizers["g"].ttl, Duration::ZERO);
}

mod hostile {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::super::super::{Builder, Resource, Stack};
    use crate::deployment::yaml::{Node, Value};

    const KINDS: [&str; 20] = [
        "AWS::ApiGateway::Authorizer",
        "AWS::ApiGateway::BasePathMapping",
        "AWS::ApiGateway::Deployment",
        "AWS::ApiGateway::GatewayResponse",
        "AWS::ApiGateway::Method",
        "AWS::ApiGateway::Resource",
        "AWS::ApiGateway::RestApi",
        "AWS::ApiGateway::Stage",
        "AWS::ApiGateway::UsagePlan",
        "AWS::ApiGatewayV2::Api",
        "AWS::ApiGatewayV2::Authorizer",
        "AWS::ApiGatewayV2::Integration",
        "AWS::ApiGatewayV2::IntegrationResponse",
        "AWS::ApiGatewayV2::Route",
        "AWS::ApiGatewayV2::Stage",
        "AWS::ElasticLoadBalancingV2::Listener",
        "AWS::ElasticLoadBalancingV2::ListenerRule",
        "AWS::ElasticLoadBalancingV2::TargetGroup",
        "AWS::Lambda::Alias",
        "AWS::Lambda::Function",
    ];

    /// Words that lead somewhere, in keys and in values.
    fn word() -> impl Strategy<Value = String> {
        let words = "R0 R1 R2 R3 R4 R5 R6 R7 R0/root RestApiId ApiId ParentId ResourceId PathPart Integration Type Uri \
            IntegrationType IntegrationUri AWS_PROXY AWS MOCK HTTP_PROXY POST GET ANY HttpMethod IntegrationHttpMethod \
            RouteKey Target integrations/R1 $default GET\u{a0}/x StageName ProtocolType HTTP WEBSOCKET Body paths /a get \
            x-amazon-apigateway-integration x-amazon-apigateway-any-method type uri $ref #/paths/~1a security \
            securityDefinitions x-amazon-apigateway-authorizer openapi 3.0.1 Code ZipFile Handler FunctionName Name Layers \
            Environment Variables AuthorizationType AuthorizerId CUSTOM TOKEN REQUEST AuthorizerUri IdentitySource TargetType \
            lambda Targets Id DefaultActions Actions Conditions Field Values path-pattern ListenerArn Priority Order forward \
            TargetGroupArn ForwardConfig TargetGroups Weight ApiStages MethodSettings ResourcePath ThrottlingRateLimit -1 0 7 \
            99999999999999999999 nan inf arn:aws:lambda:::function: :function: /functions/ ${stageVariables. (?i)x [ responses";
        let words: Vec<String> =
            words.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect();
        prop_oneof![8 => proptest::sample::select(words), 1 => "\\PC{0,6}"]
    }

    fn node() -> impl Strategy<Value = Node> {
        let leaf = (word(), any::<bool>()).prop_map(|(text, quoted)| Node {
            line: 1,
            tag: None,
            value: Value::Scalar { text, quoted },
        });
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(|items| Node {
                    line: 1,
                    tag: None,
                    value: Value::Sequence(items)
                }),
                mapping(inner),
            ]
        })
    }

    fn mapping(inner: impl Strategy<Value = Node>) -> impl Strategy<Value = Node> {
        proptest::collection::btree_map(word(), inner, 0..6).prop_map(|map: BTreeMap<String, Node>| {
            let entries = map.into_iter().map(|(key, value)| (Node::scalar(&key, 1), value));
            Node { line: 1, tag: None, value: Value::Mapping(entries.collect()) }
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

        /// Nothing falls over, nothing goes in circles, and every property is in the report once.
        #[test]
        fn any_stack_is_read(resources in proptest::collection::vec((proptest::sample::select(&KINDS[..]), mapping(node())), 0..8)) {
            let resources = resources.into_iter().enumerate().map(|(index, (kind, properties))| {
                let logical_id = format!("R{index}");
                let (physical_id, arn) = (logical_id.clone(), logical_id.clone());
                Resource { logical_id, kind: kind.to_owned(), line: 1, properties, physical_id, arn }
            });
            let stack = Stack { path: "/project/template.yaml".into(), resources: resources.collect(), ..Stack::default() };
            let mut builder = Builder { path: stack.path.clone(), ..Builder::default() };
            super::super::read(&stack, &mut builder);
            for resource in &stack.resources {
                let findings = || builder.reading.findings.iter().filter(|finding| finding.resource == resource.logical_id);
                prop_assert_eq!(findings().filter(|finding| finding.property.is_empty()).count(), 1);
                // A key without a name is shown as one that is called `?`.
                let shown = |key: &Node| match key.text().unwrap() {
                    "" => "?".to_owned(),
                    name => name.to_owned(),
                };
                let keys: Vec<String> = resource.properties.mapping().unwrap().iter().map(|(key, _)| shown(key)).collect();
                for name in &keys {
                    let count = findings().filter(|finding| finding.property == *name).count();
                    let expected = keys.iter().filter(|key| *key == name).count();
                    prop_assert_eq!(count, expected, "{} {}", resource.kind, name);
                }
            }
            for api in &builder.reading.apis {
                prop_assert!(!api.stages.is_empty());
            }
        }
    }
}
