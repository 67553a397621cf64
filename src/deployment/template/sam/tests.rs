//! What SAM's resources come to, from templates without intrinsics.

use std::path::PathBuf;

use super::super::super::yaml::{self, Node};
use super::super::{Builder, CodeLocation, Reading, Resource, Stack, Status};
use super::table;
use crate::api::{
    Api, Authorization, AuthorizerKind, IdentitySource, IntegrationKind, Kind, PayloadVersion, Period, Route,
    Throttle,
};

const ACCOUNT: &str = "123456789012";
const REGION: &str = "eu-west-1";

/// A template of which everything is resolved already; `ARN(X)` stands for what `!GetAtt X.Arn` gives.
struct Project {
    folder: tempfile::TempDir,
    env_vars: Vec<(String, Vec<(String, String)>)>,
}

impl Project {
    fn new(files: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        Self { folder, env_vars: Vec::new() }
    }

    fn stack(&self, text: &str) -> Stack {
        let mut text = text.to_owned();
        while let Some(at) = text.find("ARN(") {
            let end = at + text[at..].find(')').unwrap();
            let arn = format!("arn:aws:lambda:{REGION}:{ACCOUNT}:function:{}", &text[at + 4..end]);
            text.replace_range(at..=end, &arn);
        }
        let document = yaml::parse(&text).unwrap().unwrap();
        let mut stack = Stack {
            path: self.folder.path().join("template.yaml"),
            account: ACCOUNT.to_owned(),
            region: REGION.to_owned(),
            state_dir: self.folder.path().join(".handlerd"),
            env_vars: self.env_vars.clone(),
            ..Stack::default()
        };
        for (name, node) in document.get("Globals").and_then(Node::mapping).unwrap_or_default() {
            stack.globals.insert(name.text().unwrap().to_owned(), node.clone());
        }
        for (name, node) in document.get("Resources").and_then(Node::mapping).unwrap() {
            let logical_id = name.text().unwrap().to_owned();
            let properties = match node.get("Properties") {
                Some(properties) => properties.clone(),
                None => Node { line: name.line, tag: None, value: yaml::Value::Mapping(Vec::new()) },
            };
            let physical_id =
                properties.get("FunctionName").and_then(Node::text).unwrap_or(&logical_id).to_owned();
            stack.resources.push(Resource {
                kind: node.get("Type").unwrap().text().unwrap().to_owned(),
                line: name.line,
                arn: format!("arn:aws:lambda:{REGION}:{ACCOUNT}:function:{physical_id}"),
                physical_id,
                logical_id,
                properties,
            });
        }
        stack
    }

    fn read(&self, text: &str) -> Reading {
        let stack = self.stack(text);
        let mut builder = Builder { path: stack.path.clone(), ..Builder::default() };
        super::read(&stack, &mut builder);
        builder.reading
    }
}

fn read(text: &str) -> Reading {
    Project::new(&["src/app.py"]).read(text)
}

/// A function `Hello` with these events, and other resources.
fn with_events(events: &str, others: &str) -> Reading {
    read(&format!(
        "Resources:\n  Hello:\n    Type: AWS::Serverless::Function\n    Properties:\n      Handler: app.main\n      \
         Runtime: python3.12\n      CodeUri: src\n      Events:\n{}\n{}",
        indented(events, 8),
        indented(others, 2)
    ))
}

fn indented(text: &str, by: usize) -> String {
    text.lines().map(|line| format!("{}{line}\n", " ".repeat(by))).collect()
}

fn api<'a>(reading: &'a Reading, name: &str) -> &'a Api {
    let found = reading.apis.iter().find(|api| api.name == name);
    found.unwrap_or_else(|| panic!("no {name}: {:?}", problems(reading)))
}

fn route<'a>(api: &'a Api, key: &str) -> &'a Route {
    let keys = || api.routes.iter().map(Route::key).collect::<Vec<_>>();
    api.routes.iter().find(|route| route.key() == key).unwrap_or_else(|| panic!("no {key} in {:?}", keys()))
}

fn problems(reading: &Reading) -> Vec<String> {
    let say = |problem: &super::super::Problem| {
        format!("{:?} {}: {}", problem.severity, problem.line.unwrap_or(0), problem.text)
    };
    reading.problems.iter().map(say).collect()
}

#[track_caller]
fn assert_problem(reading: &Reading, expected: &str) {
    let problems = problems(reading);
    assert!(problems.iter().any(|problem| problem.contains(expected)), "{expected}: {problems:#?}");
}

#[track_caller]
fn assert_no_problems(reading: &Reading) {
    assert_eq!(problems(reading), Vec::<String>::new());
}

fn status<'a>(reading: &'a Reading, resource: &str, property: &str) -> (Status, &'a str) {
    let wanted =
        reading.findings.iter().filter(|found| found.resource == resource && found.property == property);
    let found: Vec<_> = wanted.collect();
    assert_eq!(found.len(), 1, "{resource}.{property}: {found:?}");
    (found[0].status, &found[0].text)
}

// ---- Functions

#[test]
fn a_function_is_declared_with_all_it_says() {
    let mut project = Project::new(&["src/app.py", "layers/one/python/x.py", "layers/two/python/y.py"]);
    project.env_vars = vec![
        ("Parameters".into(), vec![("TABLE".into(), "all".into()), ("STAGE".into(), "all".into())]),
        ("Hello".into(), vec![("TABLE".into(), "own".into()), ("UNDECLARED".into(), "x".into())]),
    ];
    let reading = project.read(
        "Resources:
  One:
    Type: AWS::Serverless::LayerVersion
    Properties: {ContentUri: layers/one}
  Two:
    Type: AWS::Serverless::LayerVersion
    Properties: {ContentUri: layers/two}
  Hello:
    Type: AWS::Serverless::Function
    Properties:
      FunctionName: greeter
      Handler: app.main
      Runtime: python3.12
      CodeUri: ./src/
      Timeout: 7
      MemorySize: 512
      Description: Says hello
      Environment: {Variables: {TABLE: items, STAGE: dev, PLAIN: 'no'}}
      LoggingConfig: {LogFormat: JSON}
      Layers: [One, Two]
",
    );
    assert_no_problems(&reading);
    let [function] = &reading.functions[..] else { panic!("{:?}", reading.functions) };
    assert_eq!((function.name.as_str(), function.logical_id.as_str()), ("greeter", "Hello"));
    assert_eq!(function.code, CodeLocation::Folder(project.folder.path().join("src")));
    assert_eq!(function.layers, ["layers/one", "layers/two"].map(|layer| project.folder.path().join(layer)));
    assert_eq!(function.configuration.timeout.as_secs(), 7);
    assert_eq!(function.configuration.memory_mb, 512);
    assert_eq!(function.broken, None);
    let variables: Vec<(&str, &str)> = function
        .configuration
        .environment
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    assert_eq!(variables, [("TABLE", "own"), ("STAGE", "all"), ("PLAIN", "no")]);
}

#[test]
fn inline_code_is_kept() {
    let reading = read(
        "Resources:\n  Hello:\n    Type: AWS::Serverless::Function\n    Properties:\n      Handler: index.main\n      \
         Runtime: python3.13\n      InlineCode: |\n        def main(event, context):\n          return 1\n",
    );
    assert_no_problems(&reading);
    let code = CodeLocation::Inline("def main(event, context):\n  return 1\n".to_owned());
    assert_eq!(reading.functions[0].code, code);
}

#[test]
fn a_function_that_cannot_run_is_broken_and_the_others_go_on() {
    let project = Project::new(&["src/app.py", "code.zip"]);
    for (properties, expected) in [
        ("Handler: app.js, Runtime: nodejs22.x, CodeUri: src", "`Runtime: nodejs22.x` is not run"),
        ("PackageType: Image, ImageUri: x", "container images are not run"),
        ("Handler: app.main, Runtime: python3.12, CodeUri: nowhere", "run `sam build`"),
        ("Handler: app.main, Runtime: python3.12, CodeUri: code.zip", "is a zip file"),
        ("Handler: app.main, Runtime: python3.12, CodeUri: 's3://bucket/key'", "cannot be read here"),
        ("Handler: app.main, Runtime: python3.12, CodeUri: {Bucket: b, Key: k}", "lies in a bucket"),
        ("Handler: app.main, Runtime: python3.12", "neither `CodeUri` nor `InlineCode`"),
        ("Runtime: python3.12, CodeUri: src", "`Handler` is missing"),
        ("Handler: app.main, CodeUri: src", "`Runtime` is missing"),
        ("Handler: app.main, Runtime: python3.12, CodeUri: src, Timeout: 0", "`Timeout` must be"),
        ("Handler: app.main, Runtime: python3.12, CodeUri: src, Layers: [L]", "there is no folder"),
    ] {
        let reading = project.read(&format!(
            "Resources:\n  Bad:\n    Type: AWS::Serverless::Function\n    Properties: {{{properties}}}\n  L:\n    Type: \
             AWS::Serverless::LayerVersion\n    Properties: {{ContentUri: gone}}\n  Good:\n    Type: \
             AWS::Serverless::Function\n    Properties: {{Handler: app.main, Runtime: python3.12, CodeUri: src}}\n"
        ));
        let broken = reading.functions[0].broken.as_deref().unwrap_or_default();
        assert!(broken.contains(expected), "{properties}: {broken}");
        assert_eq!(reading.functions[1].broken, None, "{properties}");
        assert_problem(&reading, expected);
    }
}

#[test]
fn a_layer_of_elsewhere_is_named_and_does_no_harm() {
    let reading = read(
        "Resources:\n  Hello:\n    Type: AWS::Serverless::Function\n    Properties: {Handler: app.main, Runtime: \
         python3.12, CodeUri: src, Layers: ['arn:aws:lambda:eu-west-1:017000801446:layer:Powertools:4']}\n",
    );
    assert_problem(
        &reading,
        "Warning 4: layer `arn:aws:lambda:eu-west-1:017000801446:layer:Powertools:4` is neither",
    );
    assert_eq!(reading.functions[0].broken, None);
}

#[test]
fn a_published_layer_is_used_or_waited_for() {
    let project = Project::new(&["src/app.py", "own/python/a.py"]);
    let arn = format!("arn:aws:lambda:{REGION}:{ACCOUNT}:layer:tools:2");
    let text = format!(
        "Resources:\n  L:\n    Type: AWS::Serverless::LayerVersion\n    Properties: {{ContentUri: own}}\n  Hello:\n    \
         Type: AWS::Serverless::Function\n    Properties: {{Handler: app.main, Runtime: python3.12, CodeUri: src, \
         Layers: ['{arn}', L]}}\n"
    );
    let reading = project.read(&text);
    let folder = project.folder.path();
    let published = folder.join(".handlerd/layers/tools/2");
    assert_eq!(reading.awaited, std::slice::from_ref(&published));
    assert_problem(&reading, "version 2 of the layer `tools` has not been published here");
    assert!(reading.functions[0].broken.as_deref().unwrap().contains("has not been published here"));

    std::fs::create_dir_all(&published).unwrap();
    let reading = project.read(&text);
    assert_no_problems(&reading);
    let declared = &reading.functions[0];
    assert_eq!(declared.layers, [published, folder.join("own")]);
    assert_eq!((declared.configuration.layer_arns.as_slice(), &declared.broken), ([arn].as_slice(), &None));
}

#[test]
fn a_queue_that_sam_makes_is_named() {
    let reading = read(
        "Resources:\n  Hello:\n    Type: AWS::Serverless::Function\n    Properties:\n      Handler: app.main\n      \
         Runtime: python3.12\n      CodeUri: src\n      EventInvokeConfig: {DestinationConfig: {OnFailure: {Type: SQS}}}\n",
    );
    assert_no_problems(&reading);
    let destination = reading.functions[0].attached.asynchronous.on_failure.as_ref().unwrap().to_string();
    assert_eq!(destination, format!("arn:aws:sqs:{REGION}:{ACCOUNT}:HelloEventInvokeConfigOnFailureQueue"));
    let (status, text) = status(&reading, "Hello", "EventInvokeConfig.DestinationConfig.OnFailure");
    assert_eq!(status, Status::Different);
    assert!(text.contains("make one called `HelloEventInvokeConfigOnFailureQueue`"), "{text}");
}

#[test]
fn two_functions_cannot_have_one_name() {
    let reading = read(
        "Resources:\n  A:\n    Type: AWS::Serverless::Function\n    Properties: {FunctionName: x, Handler: app.main, \
         Runtime: python3.12, CodeUri: src}\n  B:\n    Type: AWS::Serverless::Function\n    Properties: {FunctionName: \
         x, Handler: app.main, Runtime: python3.12, CodeUri: src}\n",
    );
    assert_problem(&reading, "`x` is the name of `A` too");
    assert_eq!(reading.functions.len(), 1);
}

#[test]
fn a_function_url_is_an_api_of_its_own() {
    let reading = read(
        "Resources:
  Hello:
    Type: AWS::Serverless::Function
    Properties:
      Handler: app.main
      Runtime: python3.12
      CodeUri: src
      AutoPublishAlias: live
      FunctionUrlConfig:
        AuthType: AWS_IAM
        InvokeMode: RESPONSE_STREAM
        Cors: {AllowOrigins: ['https://a.example'], AllowMethods: [GET], MaxAge: 60, AllowCredentials: true}
",
    );
    assert_no_problems(&reading);
    let url = api(&reading, "Hello");
    assert_eq!((url.kind, url.id.len()), (Kind::FunctionUrl, 32));
    assert!(url.stages[0].is_default());
    let cors = url.cors.as_ref().unwrap();
    assert_eq!((cors.max_age, cors.allow_credentials), (Some(60), true));
    let route = route(url, "$default");
    assert_eq!(route.authorization, Authorization::Iam);
    assert!(matches!(&route.integration.kind,
        IntegrationKind::Function { function, payload: PayloadVersion::V2, streams: true, .. } if function == "Hello:live"));
    assert_eq!(status(&reading, "Hello", "AutoPublishAlias").0, Status::Different);

    for (config, expected) in [
        ("{}", "has no `AuthType`"),
        ("{AuthType: JWT}", "must be `NONE` or `AWS_IAM`, not `JWT`"),
        ("{AuthType: NONE, InvokeMode: FAST}", "`FunctionUrlConfig.InvokeMode` must be"),
        ("{AuthType: NONE, Cors: {AllowMethods: [OPTIONS]}}", "longer than the 6 characters"),
        ("{AuthType: NONE, Cors: {AllowOrigin: x}}", "did you mean `AllowOrigins`?"),
    ] {
        let reading = read(&format!(
            "Resources:\n  Hello:\n    Type: AWS::Serverless::Function\n    Properties: {{Handler: app.main, Runtime: \
             python3.12, CodeUri: src, FunctionUrlConfig: {config}}}\n"
        ));
        assert_problem(&reading, expected);
        assert_eq!(reading.functions.len(), 1);
    }
}

// ---- Events

#[test]
fn events_without_an_api_share_the_implicit_ones() {
    let reading = with_events(
        "List: {Type: Api, Properties: {Path: /items, Method: get, TimeoutInMillis: 5000}}
Stream: {Type: Api, Properties: {Path: /stream, Method: POST, ResponseTransferMode: RESPONSE_STREAM}}
All: {Type: HttpApi}
Old: {Type: HttpApi, Properties: {Path: '/old/{id}', Method: any, PayloadFormatVersion: '1.0'}}",
        "",
    );
    assert_no_problems(&reading);
    let rest = api(&reading, "ServerlessRestApi");
    assert_eq!((rest.kind, rest.stages[0].name.as_str(), rest.id.len()), (Kind::Rest, "Prod", 10));
    let list = route(rest, "GET /items");
    assert_eq!((list.function(), list.integration.timeout.unwrap().as_millis()), (Some("Hello"), 5000));
    assert!(matches!(
        list.integration.kind,
        IntegrationKind::Function { payload: PayloadVersion::V1, streams: false, .. }
    ));
    assert!(matches!(
        route(rest, "POST /stream").integration.kind,
        IntegrationKind::Function { streams: true, .. }
    ));
    let http = api(&reading, "ServerlessHttpApi");
    assert!(http.kind == Kind::Http && http.stages[0].is_default());
    assert_eq!(route(http, "$default").method, "ANY");
    assert!(matches!(
        route(http, "ANY /old/{id}").integration.kind,
        IntegrationKind::Function { payload: PayloadVersion::V1, .. }
    ));
    assert_ne!(rest.id, http.id);
    assert_eq!(list.source.line, Some(9));
}

#[test]
fn globals_hold_for_implicit_apis() {
    let reading = read(
        "Globals:
  Api: {Cors: \"'*'\", BinaryMediaTypes: [image~1png], StageName: nonsense}
  HttpApi: {CorsConfiguration: true, StageVariables: {color: blue}}
Resources:
  Hello:
    Type: AWS::Serverless::Function
    Properties:
      Handler: app.main
      Runtime: python3.12
      CodeUri: src
      Events:
        A: {Type: Api, Properties: {Path: /a, Method: get}}
        B: {Type: HttpApi}
",
    );
    assert_no_problems(&reading);
    let rest = api(&reading, "ServerlessRestApi");
    assert_eq!(rest.stages[0].name, "Prod");
    assert_eq!(rest.binary_media_types, ["image/png"]);
    route(rest, "OPTIONS /a");
    let http = api(&reading, "ServerlessHttpApi");
    assert_eq!(http.cors.as_ref().unwrap().allow_origins, ["*"]);
    assert_eq!(http.stages[0].variables["color"], "blue");
}

#[test]
fn mistakes_in_events_are_said_and_the_rest_is_served() {
    for (event, expected) in [
        ("{Type: HttpApi, Properties: {Path: /x}}", "has `Path` but no `Method`"),
        ("{Type: HttpApi, Properties: {Method: get}}", "has `Method` but no `Path`"),
        ("{Type: Api, Properties: {Path: /x}}", "has no `Method`"),
        ("{Type: Api}", "has no `Method`"),
        ("{Type: Api, Properties: {Path: x, Method: get}}", "does not begin with `/`"),
        ("{Type: Api, Properties: {Path: '/{a+}/b', Method: get}}", "must be the last"),
        ("{Type: Api, Properties: {Path: '/a{b}', Method: get}}", "a variable as a whole"),
        ("{Type: Api, Properties: {Path: '/{}', Method: get}}", "is no variable"),
        ("{Type: Api, Properties: {Path: /x, Method: fetch}}", "must be GET, POST"),
        ("{Type: Api, Properties: {Path: /good, Method: get}}", "`GET /good` is asked for twice"),
        ("{Type: Api, Properties: {Path: /good/, Method: GET}}", "is asked for twice"),
        ("{Type: Api, Properties: {Path: '/x/{b}', Method: GET}}", "is asked for twice"),
        ("{Type: HttpApi}", "the `$default` route is asked for twice"),
        ("{Type: HttpApi, Properties: {TimeoutInMillis: 30001}}", "from 50 to 30000, not `30001`"),
        ("{Type: HttpApi, Properties: {PayloadFormatVersion: 3}}", "must be `1.0` or `2.0`, not `3`"),
        (
            "{Type: Api, Properties: {Path: /x, Method: get, RestApiId: Nowhere}}",
            "must mean a AWS::Serverless::Api",
        ),
        ("{Type: HttpApi, Properties: {ApiId: Rest}}", "`Rest`, which is a AWS::Serverless::Api, not"),
        (
            "{Type: Api, Properties: {Path: /x, Method: get, Auth: {Authorizer: Mine}}}",
            "no authorizer `Mine`",
        ),
        (
            "{Type: Api, Properties: {Path: /x, Method: get, Auth: {Authorizer: NONE}}}",
            "needs a `DefaultAuthorizer`",
        ),
        (
            "{Type: Api, Properties: {Path: /x, Method: get, Auth: {ApiKeyRequired: false}}}",
            "`ApiKeyRequired: true` on the API",
        ),
        (
            "{Type: Api, Properties: {Path: /x, Method: get, Auth: {AuthorizationScopes: [a]}}}",
            "only together with",
        ),
        (
            "{Type: HttpApi, Properties: {Path: /x, Method: get, Auth: {AuthorizationScopes: [a]}}}",
            "needs an `Authorizer`",
        ),
        (
            "{Type: HttpApi, Properties: {Path: /x, Method: get, Auth: {Authorizer: AWS_IAM}}}",
            "EnableIamAuthorizer",
        ),
        (
            "{Type: Api, Properties: {Path: /x, Method: get, RequestParameters: [page]}}",
            "must be of the form",
        ),
        ("{Type: HttpAPI}", "did you mean `HttpApi`?"),
        ("{Properties: {}}", "has no `Type`"),
        ("nothing", "`Events.Bad` must be a map"),
    ] {
        let reading = with_events(
            &format!(
                "Good: {{Type: Api, Properties: {{Path: /good, Method: get}}}}\nVariable: {{Type: Api, Properties: \
                 {{Path: '/x/{{a}}', Method: get}}}}\nDefault: {{Type: HttpApi}}\nBad: {event}"
            ),
            "Rest:\n  Type: AWS::Serverless::Api\n  Properties: {StageName: v1}",
        );
        let said = problems(&reading);
        let found = said.iter().find(|problem| problem.contains(expected));
        assert!(found.is_some_and(|problem| problem.starts_with("Error 12:")), "{event}: {said:#?}");
        route(api(&reading, "ServerlessRestApi"), "GET /good");
        route(api(&reading, "ServerlessHttpApi"), "$default");
        assert_eq!(reading.functions[0].broken, None);
    }
}

#[test]
fn a_route_whose_authorizer_is_missing_is_closed() {
    let reading =
        with_events("X: {Type: Api, Properties: {Path: /x, Method: get, Auth: {Authorizer: Mine}}}", "");
    let route = route(api(&reading, "ServerlessRestApi"), "GET /x");
    assert!(
        matches!(&route.integration.kind, IntegrationKind::Missing { reason } if reason.contains("`Mine`"))
    );
}

#[test]
fn other_events_are_named() {
    let reading = with_events("Hourly: {Type: Schedule, Properties: {Schedule: rate(1 hour)}}", "");
    assert_no_problems(&reading);
    let (status, text) = status(&reading, "Hello", "Events.Hourly");
    assert_eq!((status, text), (Status::Supported, "Schedule: rate(1 hour)"));
    assert!(reading.apis.is_empty());
    let triggers = &reading.functions[0].attached.triggers;
    assert_eq!(triggers[0].name, "HelloHourly");
}

#[test]
fn required_parameters_count_where_a_validator_asks_for_them() {
    let event = |model: &str| {
        with_events(
            &format!(
                "X:\n  Type: Api\n  Properties:\n    Path: /x\n    Method: get\n    RequestParameters:\n      - \
                 method.request.header.Plain\n      - method.request.querystring.page: {{Required: true}}\n{model}"
            ),
            "",
        )
    };
    let reading = event("    RequestModel: {Model: M, ValidateParameters: true}");
    let required = &route(api(&reading, "ServerlessRestApi"), "GET /x").required_parameters;
    assert_eq!(required, &["method.request.querystring.page"]);
    assert_eq!(status(&reading, "Hello", "Events.X.Properties.RequestModel").0, Status::Different);

    let reading = event("");
    assert!(route(api(&reading, "ServerlessRestApi"), "GET /x").required_parameters.is_empty());
    let (status, text) = status(&reading, "Hello", "Events.X.Properties.RequestParameters");
    assert!(status == Status::Different && text.contains("ValidateParameters"), "{text}");
}

// ---- REST APIs

#[test]
fn a_rest_api_has_all_it_says() {
    let reading = with_events(
        "Get: {Type: Api, Properties: {Path: /items, Method: get, RestApiId: Shop}}",
        "Shop:
  Type: AWS::Serverless::Api
  Properties:
    StageName: v1
    Variables: {color: blue, size: 3}
    BinaryMediaTypes: [image~1*, '*~1*']
    ApiKeySourceType: AUTHORIZER
    DisableExecuteApiEndpoint: true
    MethodSettings:
      - {HttpMethod: '*', ResourcePath: '/*', ThrottlingRateLimit: 5, ThrottlingBurstLimit: 10}
      - {HttpMethod: get, ResourcePath: '/~1items~1{id}', ThrottlingRateLimit: 0.5}
      - {HttpMethod: '*', ResourcePath: '/*', LoggingLevel: INFO}
    GatewayResponses:
      DEFAULT_4XX:
        StatusCode: 418
        ResponseParameters: {Headers: {Access-Control-Allow-Origin: \"'*'\"}, QueryStrings: {q: \"'1'\"}}
        ResponseTemplates: {application/json: '{}'}
    Domain: {DomainName: api.example.com, CertificateArn: arn, BasePath: [/v-1, shop]}
",
    );
    assert_no_problems(&reading);
    let shop = api(&reading, "Shop");
    assert_eq!(shop.id, "Shop");
    let stage = &shop.stages[0];
    assert_eq!((stage.name.as_str(), stage.variables["size"].as_str()), ("v1", "3"));
    assert_eq!(stage.throttle, Some(Throttle { rate: 5.0, burst: 10 }));
    assert_eq!(stage.route_throttles["GET /items/{id}"], Throttle { rate: 0.5, burst: 5000 });
    assert_eq!(shop.binary_media_types, ["image/*", "*/*"]);
    assert_eq!(shop.api_key_source, crate::api::ApiKeySource::Authorizer);
    assert!(shop.execute_api_disabled);
    let response = &shop.gateway_responses["DEFAULT_4XX"];
    assert_eq!(response.status, Some(418));
    assert_eq!(response.parameters["gatewayresponse.header.Access-Control-Allow-Origin"], "'*'");
    assert_eq!(response.parameters["gatewayresponse.querystring.q"], "'1'");
    let domains: Vec<(&str, &str, &str)> = shop
        .domains
        .iter()
        .map(|domain| (domain.host.as_str(), domain.base_path.as_str(), domain.stage.as_str()))
        .collect();
    assert_eq!(domains, [("api.example.com", "v1", "v1"), ("api.example.com", "shop", "v1")]);
    assert_eq!(shop.routes.len(), 1);
}

#[test]
fn cors_makes_the_options_methods_that_sam_makes() {
    let events = "A: {Type: Api, Properties: {Path: /a, Method: get, RestApiId: Shop}}
B: {Type: Api, Properties: {Path: /a/, Method: post, RestApiId: Shop}}
C: {Type: Api, Properties: {Path: /any, Method: any, RestApiId: Shop}}
D: {Type: Api, Properties: {Path: /own, Method: options, RestApiId: Shop}}";
    let shop = |cors: &str| {
        with_events(
            events,
            &format!(
                "Shop:\n  Type: AWS::Serverless::Api\n  Properties:\n    StageName: v1\n    Cors: {cors}"
            ),
        )
    };
    let reading = shop("\"'https://a.example'\"");
    assert_no_problems(&reading);
    let shop_api = api(&reading, "Shop");
    assert_eq!(shop_api.routes.iter().filter(|route| route.method == "OPTIONS").count(), 3);
    let headers = |api: &Api, key: &str| {
        let IntegrationKind::Mapped(mapped) = &route(api, key).integration.kind else { panic!() };
        assert_eq!(mapped.function, None);
        assert_eq!(mapped.request_templates["application/json"], "{\n  \"statusCode\" : 200\n}\n");
        let [response] = &mapped.responses[..] else { panic!() };
        assert_eq!((response.status, response.pattern.as_deref()), (200, None));
        assert_eq!(response.templates["application/json"], "{}\n");
        let short = |name: &str| name.trim_start_matches("method.response.header.Access-Control-").to_owned();
        response
            .parameters
            .iter()
            .map(|(name, value)| format!("{}: {value}", short(name)))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        headers(shop_api, "OPTIONS /a"),
        ["Allow-Methods: 'GET,OPTIONS,POST'", "Allow-Origin: 'https://a.example'"]
    );
    let all = "Allow-Methods: 'DELETE,GET,HEAD,OPTIONS,PATCH,POST,PUT'";
    assert_eq!(headers(shop_api, "OPTIONS /any"), [all, "Allow-Origin: 'https://a.example'"]);
    assert_eq!(route(shop_api, "OPTIONS /own").function(), Some("Hello"));

    let reading = shop(
        "{AllowOrigin: \"'https://a.example'\", AllowMethods: \"'GET'\", AllowHeaders: \"'x'\", MaxAge: \"'600'\", \
         AllowCredentials: true}",
    );
    assert_no_problems(&reading);
    let all = [
        "Allow-Credentials: 'true'",
        "Allow-Headers: 'x'",
        "Allow-Methods: 'GET'",
        "Allow-Origin: 'https://a.example'",
        "Max-Age: '600'",
    ];
    assert_eq!(headers(api(&reading, "Shop"), "OPTIONS /a"), all);

    for (cors, expected) in [
        ("'*'", "`*` needs quotes of its own"),
        ("{MaxAge: 600}", "`600` needs quotes of its own"),
        ("{AllowCredentials: true}", "`AllowCredentials` cannot be true"),
        ("[x]", "`Cors` must be a map"),
        ("{AllowOrigins: x}", "did you mean `AllowOrigin`?"),
    ] {
        assert_problem(&shop(cors), expected);
    }
}

#[test]
fn rest_authorizers_are_settled_for_every_route() {
    let reading = with_events(
        "Default: {Type: Api, Properties: {Path: /default, Method: get, RestApiId: Shop}}
Open: {Type: Api, Properties: {Path: /open, Method: get, RestApiId: Shop, Auth: {Authorizer: NONE, ApiKeyRequired: false}}}
Iam: {Type: Api, Properties: {Path: /iam, Method: get, RestApiId: Shop, Auth: {Authorizer: AWS_IAM}}}
Pool: {Type: Api, Properties: {Path: /pool, Method: get, RestApiId: Shop, Auth: {Authorizer: Pool, AuthorizationScopes: [own]}}}
Pool2: {Type: Api, Properties: {Path: /pool2, Method: get, RestApiId: Shop, Auth: {Authorizer: Pool}}}",
        "Shop:
  Type: AWS::Serverless::Api
  Properties:
    StageName: v1
    Cors: \"'*'\"
    Auth:
      DefaultAuthorizer: Token
      ApiKeyRequired: true
      AddApiKeyRequiredToCorsPreflight: false
      UsagePlan:
        CreateUsagePlan: PER_API
        UsagePlanName: plan
        Throttle: {RateLimit: 2, BurstLimit: 3}
        Quota: {Limit: 100, Period: WEEK, Offset: 2}
      Authorizers:
        Token: {FunctionArn: ARN(Hello), Identity: {Header: X-Token, ValidationExpression: '^a+$', ReauthorizeEvery: 0}}
        Request:
          FunctionPayloadType: REQUEST
          FunctionArn: ARN(Hello)
          Identity: {Context: [path], Headers: [A], QueryStrings: [q], StageVariables: [s]}
        Pool: {UserPoolArn: 'arn:aws:cognito-idp:us-east-2:123456789012:userpool/us-east-2_AbC', AuthorizationScopes: [all]}
",
    );
    assert_no_problems(&reading);
    let shop = api(&reading, "Shop");
    let by = |name: &str, scopes: &[&str]| Authorization::Authorizer {
        name: name.to_owned(),
        scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
    };
    for (key, authorization, api_key) in [
        ("GET /default", by("Token", &[]), true),
        ("GET /open", Authorization::None, false),
        ("GET /iam", Authorization::Iam, true),
        ("GET /pool", by("Pool", &["own"]), true),
        ("GET /pool2", by("Pool", &["all"]), true),
        // As SAM does it, unless it is told otherwise.
        ("OPTIONS /open", by("Token", &[]), false),
    ] {
        let route = route(shop, key);
        assert_eq!((&route.authorization, route.api_key_required), (&authorization, api_key), "{key}");
    }
    let token = &shop.authorizers["Token"];
    assert!(token.ttl.is_zero());
    let AuthorizerKind::Token(lambda) = &token.kind else { panic!("{token:?}") };
    assert_eq!((lambda.function.as_str(), lambda.validation.as_deref()), ("Hello", Some("^a+$")));
    assert_eq!(lambda.identity, [IdentitySource::Header("X-Token".into())]);
    let request = &shop.authorizers["Request"];
    assert_eq!(request.ttl.as_secs(), 300);
    let AuthorizerKind::Request(lambda) = &request.kind else { panic!("{request:?}") };
    let sources = [
        IdentitySource::Header("A".into()),
        IdentitySource::Query("q".into()),
        IdentitySource::StageVariable("s".into()),
        IdentitySource::Context("path".into()),
    ];
    assert_eq!(lambda.identity, sources);
    let AuthorizerKind::Cognito(pool) = &shop.authorizers["Pool"].kind else { panic!() };
    assert_eq!(pool.issuer, "https://cognito-idp.us-east-2.amazonaws.com/us-east-2_AbC");
    assert_eq!(pool.identity, [IdentitySource::Header("Authorization".into())]);

    let [plan] = &shop.usage_plans[..] else { panic!() };
    assert_eq!(plan.name, "plan");
    assert_eq!(plan.throttle, Some(Throttle { rate: 2.0, burst: 3 }));
    let quota = plan.quota.as_ref().unwrap();
    assert_eq!((quota.limit, quota.period, quota.offset), (100, Period::Week, 2));
    let [key] = &plan.keys[..] else { panic!() };
    assert_eq!((key.name.as_str(), key.value.len(), key.enabled), ("ShopApiKey", 40, true));
    let (status, text) = status(&reading, "Shop", "Auth.UsagePlan");
    assert!(status == Status::Different && text.contains(&key.value), "{text}");
}

#[test]
fn a_shared_plan_has_one_key_for_all() {
    let one = |name: &str| {
        format!(
            "{name}:\n  Type: AWS::Serverless::Api\n  Properties: {{StageName: v1, Auth: {{UsagePlan: {{CreateUsagePlan: \
             SHARED}}}}}}\n"
        )
    };
    let reading = with_events(
        "X: {Type: Api, Properties: {Path: /, Method: get, RestApiId: A}}",
        &(one("A") + &one("B")),
    );
    let key = |name| api(&reading, name).usage_plans[0].keys[0].clone();
    assert_eq!(key("A"), key("B"));
}

#[test]
fn a_preflight_can_be_left_open() {
    let reading = with_events(
        "X: {Type: Api, Properties: {Path: /x, Method: get, RestApiId: Shop}}",
        "Shop:\n  Type: AWS::Serverless::Api\n  Properties:\n    StageName: v1\n    Cors: \"'*'\"\n    Auth: \
         {DefaultAuthorizer: AWS_IAM, AddDefaultAuthorizerToCorsPreflight: false}",
    );
    assert_no_problems(&reading);
    let shop = api(&reading, "Shop");
    assert_eq!(route(shop, "GET /x").authorization, Authorization::Iam);
    assert_eq!(route(shop, "OPTIONS /x").authorization, Authorization::None);
}

#[test]
fn mistakes_in_rest_apis_are_said() {
    for (properties, expected) in [
        ("{}", "`StageName` is missing"),
        ("{StageName: 'a/b'}", "`a/b` must be letters"),
        ("{StageName: v1, Auth: {DefaultAuthorizer: Gone}}", "the API has no authorizer `Gone`"),
        (
            "{StageName: v1, Auth: {Authorizers: {Mine: {}}, DefaultAuthorizer: Mine}}",
            "authorizer `Mine` has no `FunctionArn`",
        ),
        (
            "{StageName: v1, Auth: {Authorizers: {Mine: {FunctionArn: ARN(Gone)}}}}",
            "`Gone` is no function of this template",
        ),
        (
            "{StageName: v1, Auth: {Authorizers: {Mine: {FunctionArn: ARN(Hello), FunctionPayloadType: REQUEST}}}}",
            "needs an `Identity`",
        ),
        (
            "{StageName: v1, Auth: {Authorizers: {Mine: {FunctionArn: ARN(Hello), FunctionPayloadType: JWT}}}}",
            "neither TOKEN nor REQUEST",
        ),
        (
            "{StageName: v1, Auth: {Authorizers: {Mine: {FunctionArn: ARN(Hello), Identity: {ValidationExpression: '('}}}}}",
            "no regular expression",
        ),
        (
            "{StageName: v1, Auth: {Authorizers: {Mine: {UserPoolArn: pool}}}}",
            "`pool` is no ARN of a user pool",
        ),
        (
            "{StageName: v1, Auth: {ResourcePolicy: {IpRangeDenylist: [10.0.0.0/8]}}}",
            "`Auth.ResourcePolicy` is ignored",
        ),
        ("{StageName: v1, Auth: {UsagePlan: {}}}", "needs `CreateUsagePlan`"),
        (
            "{StageName: v1, Auth: {UsagePlan: {CreateUsagePlan: PER_API, Quota: {Limit: 1}}}}",
            "needs a `Limit` and a `Period`",
        ),
        ("{StageName: v1, GatewayResponses: {UNAUTHORISED: {}}}", "did you mean `UNAUTHORIZED`?"),
        ("{StageName: v1, DefinitionUri: 's3://a/b'}", "`s3://a/b` cannot be read here"),
        ("{StageName: v1, DefinitionUri: gone.yaml}", "gone.yaml` cannot be read"),
        ("{StageName: v1, DefinitionUri: src/app.py}", "holds no OpenAPI document"),
        ("{StageName: v1, Domain: {BasePath: x}}", "`Domain` needs a `DomainName`"),
        ("{StageName: v1, MethodSettings: {}}", "`MethodSettings` must be a list"),
        ("{StageName: v1, BinaryMediaType: [x]}", "did you mean `BinaryMediaTypes`?"),
        ("{StageName: v1, Variables: [x]}", "`Variables` must be a map"),
    ] {
        let reading = with_events(
            "X: {Type: HttpApi}",
            &format!("Shop:\n  Type: AWS::Serverless::Api\n  Properties: {properties}"),
        );
        assert_problem(&reading, expected);
        route(api(&reading, "ServerlessHttpApi"), "$default");
    }
}

#[test]
fn routes_fall_closed_when_the_default_authorizer_is_missing() {
    let reading = with_events(
        "X: {Type: Api, Properties: {Path: /x, Method: get, RestApiId: Shop}}",
        "Shop:\n  Type: AWS::Serverless::Api\n  Properties: {StageName: v1, Auth: {DefaultAuthorizer: Gone}}",
    );
    let route = route(api(&reading, "Shop"), "GET /x");
    assert!(matches!(route.integration.kind, IntegrationKind::Missing { .. }));
    assert_eq!(reading.problems.len(), 1, "{:?}", problems(&reading));
}

#[test]
fn a_definition_of_its_own_counts_for_a_rest_api() {
    let reading = with_events(
        "X: {Type: Api, Properties: {Path: /x, Method: get, RestApiId: Shop}}",
        "Shop:\n  Type: AWS::Serverless::Api\n  Properties: {StageName: v1, DefinitionBody: {openapi: 3.0.1, paths: {}}}",
    );
    assert_problem(&reading, "`GET /x` is not in the definition of `Shop`");
    assert!(api(&reading, "Shop").routes.is_empty());
    let reading = with_events(
        "X: {Type: Api, Properties: {Path: /x, Method: get, RestApiId: Shop}}",
        "Shop:\n  Type: AWS::Serverless::Api\n  Properties: {StageName: v1, MergeDefinitions: true, DefinitionBody: \
         {openapi: 3.0.1, paths: {}}}",
    );
    route(api(&reading, "Shop"), "GET /x");
}

#[test]
fn a_definition_file_is_read_and_watched() {
    let project = Project::new(&["src/app.py"]);
    std::fs::write(project.folder.path().join("api.yaml"), "openapi: 3.0.1\npaths: {}\n").unwrap();
    let reading = project.read(
        "Resources:\n  Shop:\n    Type: AWS::Serverless::Api\n    Properties: {StageName: v1, DefinitionUri: api.yaml, \
         Cors: \"'*'\"}\n",
    );
    assert_eq!(reading.files, [project.folder.path().join("api.yaml")]);
    assert_problem(&reading, "Error 4: `Cors` works only with `DefinitionBody`");
    assert_eq!(reading.apis.len(), 1);
}

// ---- HTTP APIs

#[test]
fn an_http_api_has_all_it_says() {
    let reading = with_events(
        "Default: {Type: HttpApi, Properties: {ApiId: Shop, Path: /default, Method: get, RouteSettings: {ThrottlingBurstLimit: 7, ThrottlingRateLimit: 1}}}
Scopes: {Type: HttpApi, Properties: {ApiId: Shop, Path: /scopes, Method: get, Auth: {AuthorizationScopes: [own]}}}
Open: {Type: HttpApi, Properties: {ApiId: Shop, Path: /open, Method: get, Auth: {Authorizer: NONE}}}
Iam: {Type: HttpApi, Properties: {ApiId: Shop, Path: /iam, Method: get, Auth: {Authorizer: AWS_IAM}}}
Lambda: {Type: HttpApi, Properties: {ApiId: Shop, Path: /lambda, Method: get, Auth: {Authorizer: Lambda}}}
Preflight: {Type: HttpApi, Properties: {ApiId: Shop, Path: /default, Method: options}}",
        "Shop:
  Type: AWS::Serverless::HttpApi
  Properties:
    StageName: v1
    StageVariables: {color: blue}
    DefaultRouteSettings: {ThrottlingRateLimit: 4, DetailedMetricsEnabled: true}
    RouteSettings: {GET /open: {ThrottlingBurstLimit: 1}}
    DisableExecuteApiEndpoint: true
    Domain: {DomainName: api.example.com, CertificateArn: arn}
    CorsConfiguration: {AllowOrigins: ['https://a.example'], AllowMethods: [GET], AllowHeaders: [x], ExposeHeaders: [y], MaxAge: 5, AllowCredentials: true}
    Auth:
      DefaultAuthorizer: Jwt
      EnableIamAuthorizer: true
      Authorizers:
        Jwt:
          IdentitySource: $request.header.Authorization, $request.querystring.token
          JwtConfiguration: {Issuer: 'https://issuer.example', audience: [me]}
          AuthorizationScopes: [all]
        Lambda:
          FunctionArn: ARN(Hello)
          AuthorizerPayloadFormatVersion: 2.0
          EnableSimpleResponses: true
          Identity: {Headers: [Authorization], ReauthorizeEvery: 60}
",
    );
    assert_no_problems(&reading);
    let shop = api(&reading, "Shop");
    let stage = &shop.stages[0];
    assert_eq!((stage.name.as_str(), stage.variables["color"].as_str()), ("v1", "blue"));
    assert_eq!(stage.throttle, Some(Throttle { rate: 4.0, burst: 5000 }));
    assert_eq!(stage.route_throttles["GET /open"].burst, 1);
    assert_eq!(stage.route_throttles["GET /default"], Throttle { rate: 1.0, burst: 7 });
    assert!(shop.execute_api_disabled);
    assert_eq!(shop.domains[0].base_path, "");
    let cors = shop.cors.as_ref().unwrap();
    assert_eq!((cors.max_age, cors.expose_headers.as_slice()), (Some(5), &["y".to_owned()][..]));
    let by = |name: &str, scopes: &[&str]| Authorization::Authorizer {
        name: name.to_owned(),
        scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
    };
    for (key, authorization) in [
        ("GET /default", by("Jwt", &["all"])),
        ("GET /scopes", by("Jwt", &["own"])),
        ("GET /open", Authorization::None),
        ("GET /iam", Authorization::Iam),
        ("GET /lambda", by("Lambda", &[])),
        ("OPTIONS /default", Authorization::None),
    ] {
        assert_eq!(route(shop, key).authorization, authorization, "{key}");
    }
    let AuthorizerKind::Jwt(jwt) = &shop.authorizers["Jwt"].kind else { panic!() };
    assert_eq!(
        (jwt.issuer.as_str(), jwt.audience.as_slice()),
        ("https://issuer.example", &["me".to_owned()][..])
    );
    assert_eq!(
        jwt.identity,
        [IdentitySource::Header("Authorization".into()), IdentitySource::Query("token".into())]
    );
    let lambda = &shop.authorizers["Lambda"];
    assert_eq!(lambda.ttl.as_secs(), 60);
    assert!(
        matches!(&lambda.kind, AuthorizerKind::Request(lambda) if lambda.simple_responses && lambda.payload == PayloadVersion::V2)
    );
}

#[test]
fn an_http_apis_decisions_are_kept_only_where_it_says_so() {
    for (identity, seconds) in [("", 0), (", Identity: {Headers: [Authorization], ReauthorizeEvery: 7}", 7)] {
        let reading = with_events(
            "Get: {Type: HttpApi, Properties: {ApiId: Shop, Path: /x, Method: get}}",
            &format!(
                "Shop:
  Type: AWS::Serverless::HttpApi
  Properties:
    Auth: {{Authorizers: {{Lambda: {{FunctionArn: ARN(Hello), AuthorizerPayloadFormatVersion: 2.0{identity}}}}}}}
"
            ),
        );
        assert_no_problems(&reading);
        assert_eq!(api(&reading, "Shop").authorizers["Lambda"].ttl.as_secs(), seconds);
    }
}

#[test]
fn mistakes_in_http_apis_are_said() {
    for (properties, expected) in [
        ("{StageName: 'a b'}", "`a b` must be `$default`"),
        (
            "{CorsConfiguration: {AllowOrigins: ['*'], AllowCredentials: true}}",
            "`AllowCredentials` cannot be true",
        ),
        ("{CorsConfiguration: {AllowOrigin: ['*']}}", "did you mean `AllowOrigins`?"),
        ("{CorsConfiguration: [x]}", "`CorsConfiguration` must be a map"),
        ("{Auth: {DefaultAuthorizer: AWS_IAM}}", "EnableIamAuthorizer: true"),
        (
            "{Auth: {Authorizers: {A: {JwtConfiguration: {issuer: x, audience: [y]}}}}}",
            "needs an `IdentitySource`",
        ),
        (
            "{Auth: {Authorizers: {A: {JwtConfiguration: {issuer: x}, IdentitySource: $request.header.A}}}}",
            "with `issuer` and `audience`",
        ),
        (
            "{Auth: {Authorizers: {A: {JwtConfiguration: {issuer: x, audience: [y]}, IdentitySource: Authorization}}}}",
            "no identity source",
        ),
        ("{Auth: {Authorizers: {A: {FunctionArn: ARN(Hello)}}}}", "needs `AuthorizerPayloadFormatVersion"),
        (
            "{Auth: {Authorizers: {A: {FunctionArn: ARN(Hello), AuthorizerPayloadFormatVersion: 1.0, EnableSimpleResponses: true}}}}",
            "`EnableSimpleResponses` needs",
        ),
        (
            "{Auth: {Authorizers: {A: {FunctionArn: ARN(Hello), IdentitySource: x, AuthorizerPayloadFormatVersion: 1.0}}}}",
            "belongs to `JwtConfiguration`",
        ),
        ("{DefinitionBody: {openapi: 3.0.1}, DefinitionUri: x}", "not both"),
        ("{RouteSettings: {GET /: x}}", "`RouteSettings.GET /` must be a map"),
        ("{}", "`Shop` has no routes"),
    ] {
        let reading = with_events(
            "X: {Type: Api, Properties: {Path: /x, Method: get}}",
            &format!("Shop:\n  Type: AWS::Serverless::HttpApi\n  Properties: {properties}"),
        );
        assert_problem(&reading, expected);
        route(api(&reading, "ServerlessRestApi"), "GET /x");
    }
}

// ---- WebSocket APIs

#[test]
fn a_web_socket_api_has_its_routes() {
    let reading = with_events(
        "",
        "Chat:
  Type: AWS::Serverless::WebSocketApi
  Properties:
    RouteSelectionExpression: $request.body.action
    StageVariables: {color: blue}
    Auth: {AuthType: CUSTOM, AuthArn: ARN(Hello), IdentitySource: [route.request.querystring.token, stageVariables.s]}
    Routes:
      $connect: {FunctionArn: ARN(Hello)}
      send: {FunctionArn: ARN(Hello), RouteResponseSelectionExpression: $default, IntegrationTimeout: 1000}
",
    );
    let errors: Vec<String> =
        problems(&reading).into_iter().filter(|problem| !problem.contains("Events")).collect();
    assert_eq!(errors, Vec::<String>::new());
    let chat = api(&reading, "Chat");
    assert_eq!((chat.kind, chat.stages[0].name.as_str()), (Kind::WebSocket, "default"));
    assert_eq!(chat.route_selection_expression, "$request.body.action");
    let connect = route(chat, "$connect");
    assert!(!connect.responds && connect.method.is_empty());
    let name = "ChatConnectAuthorizer";
    assert_eq!(connect.authorization, Authorization::Authorizer { name: name.into(), scopes: Vec::new() });
    let AuthorizerKind::Request(lambda) = &chat.authorizers[name].kind else { panic!() };
    let sources = [IdentitySource::Query("token".into()), IdentitySource::StageVariable("s".into())];
    assert_eq!(lambda.identity, sources);
    let send = route(chat, "send");
    assert!(send.responds && send.authorization == Authorization::None);
    assert_eq!(send.integration.timeout.unwrap().as_millis(), 1000);

    for (properties, expected) in [
        ("{Routes: {x: {FunctionArn: ARN(Hello)}}}", "`RouteSelectionExpression` is missing"),
        ("{RouteSelectionExpression: x}", "`Chat` has no routes"),
        ("{RouteSelectionExpression: x, Routes: {x: {}}}", "`Routes.x` has no `FunctionArn`"),
        (
            "{RouteSelectionExpression: x, Routes: {x: {FunctionArn: ARN(Gone)}}}",
            "`Gone` is no function of this template",
        ),
        ("{RouteSelectionExpression: x, Routes: {a-b: {FunctionArn: ARN(Hello)}}}", "letters and digits"),
        ("{StageName: $default, Routes: {x: {FunctionArn: ARN(Hello)}}}", "cannot have a stage `$default`"),
        ("{Auth: {AuthType: AWS_IAM}, Routes: {x: {FunctionArn: ARN(Hello)}}}", "needs a `$connect` route"),
        ("{Auth: {}, Routes: {$connect: {FunctionArn: ARN(Hello)}}}", "needs an `AuthType`"),
        ("{Auth: {AuthType: CUSTOM}, Routes: {$connect: {FunctionArn: ARN(Hello)}}}", "needs an `AuthArn`"),
    ] {
        let text = format!("Chat:\n  Type: AWS::Serverless::WebSocketApi\n  Properties: {properties}");
        assert_problem(&with_events("X: {Type: HttpApi}", &text), expected);
    }
}

// ---- The report

/// A resource with every property that SAM knows, each once; whatever the values are.
#[test]
fn every_property_of_every_resource_is_reported_once() {
    for (kind, rows) in [
        ("AWS::Serverless::Function", &table::FUNCTION[..]),
        ("AWS::Serverless::Api", &table::API[..]),
        ("AWS::Serverless::HttpApi", &table::HTTP_API[..]),
        ("AWS::Serverless::WebSocketApi", &table::WEB_SOCKET_API[..]),
        ("AWS::Serverless::LayerVersion", &table::LAYER[..]),
    ] {
        let properties: String = rows.iter().map(|(name, ..)| format!("      {name}: x\n")).collect();
        let reading = read(&format!(
            "Resources:\n  It:\n    Type: {kind}\n    Properties:\n{properties}      Nonsense: 1\n"
        ));
        for (line, (name, expected, _)) in rows.iter().enumerate() {
            assert_eq!(status(&reading, "It", name).0, *expected, "{kind} {name}");
            let found = reading.findings.iter().find(|found| found.property == *name).unwrap();
            assert_eq!(found.line, line + 5, "{kind} {name}");
        }
        assert_eq!(status(&reading, "It", "Nonsense").0, Status::Ignored);
        assert_problem(&reading, &format!("`Nonsense` is no property of {kind}"));
        assert_eq!(status(&reading, "It", "").0, Status::Supported);
    }
}

/// The lists of SAM's documentation, written down apart from the tables.
#[test]
fn the_tables_hold_what_sam_has() {
    let function = "Handler Runtime CodeUri DeadLetterQueue Description MemorySize Timeout VpcConfig Environment Tags \
        PropagateTags Tracing KmsKeyArn AutoPublishAlias AutoPublishAliasAllProperties Layers DeploymentPreference \
        RolePath PermissionsBoundary ReservedConcurrentExecutions ProvisionedConcurrencyConfig \
        AssumeRolePolicyDocument EventInvokeConfig FileSystemConfigs CodeSigningConfigArn Architectures SnapStart \
        EphemeralStorage FunctionUrlConfig RuntimeManagementConfig LoggingConfig RecursiveLoop SourceKMSKeyArn \
        TenancyConfig DurableConfig CapacityProviderConfig FunctionScalingConfig PublishToLatestPublished \
        VersionDeletionPolicy Role Policies FunctionName Events InlineCode ImageUri ImageConfig PackageType";
    let api = "Auth Name DefinitionUri DefinitionBody CacheClusterEnabled CacheClusterSize MergeDefinitions Variables \
        EndpointConfiguration MethodSettings BinaryMediaTypes MinimumCompressionSize Cors GatewayResponses \
        AccessLogSetting CanarySetting TracingEnabled OpenApiVersion Domain AlwaysDeploy PropagateTags SecurityPolicy \
        EndpointAccessMode StageName ApiKeySourceType FailOnWarnings Mode Models Tags DisableExecuteApiEndpoint";
    let http_api = "Auth AccessLogSettings StageVariables Tags CorsConfiguration DefaultRouteSettings Domain \
        RouteSettings FailOnWarnings PropagateTags StageName DefinitionBody DefinitionUri DisableExecuteApiEndpoint \
        Description Name";
    let web_socket = "RouteSelectionExpression Routes StageName StageVariables Auth Name Description Domain";
    for (names, rows) in [
        (function, &table::FUNCTION[..]),
        (api, &table::API[..]),
        (http_api, &table::HTTP_API[..]),
        (web_socket, &table::WEB_SOCKET_API[..]),
    ] {
        for name in names.split_whitespace() {
            assert!(rows.iter().any(|(known, ..)| *known == name), "{name}");
        }
        assert!(rows.is_sorted_by_key(|(name, ..)| *name), "{rows:?}");
    }
}

#[test]
fn resources_that_are_not_served_are_named() {
    let reading = read(
        "Resources:\n  Table:\n    Type: AWS::Serverless::SimpleTable\n    Properties: {TableName: t}\n  Machine:\n    \
         Type: AWS::Serverless::StateMachine\n  Typo:\n    Type: AWS::Serverless::Funktion\n  Bucket:\n    Type: \
         AWS::S3::Bucket\n",
    );
    let (table, text) = status(&reading, "Table", "");
    assert!(table == Status::Ignored && text.contains("AWS_ENDPOINT_URL_DYNAMODB"), "{text}");
    assert_eq!(status(&reading, "Table", "TableName").0, Status::Ignored);
    assert_eq!(status(&reading, "Machine", "").0, Status::Ignored);
    assert_problem(&reading, "did you mean `AWS::Serverless::Function`?");
    assert!(reading.findings.iter().all(|found| found.resource != "Bucket"));
}

// ---- Whatever is written

proptest::proptest! {
    /// Any value in any place: it is said, or not, but nothing breaks.
    #[test]
    fn nothing_that_is_written_breaks_the_reading(
        kind in proptest::sample::select(vec!["Function", "Api", "HttpApi", "WebSocketApi", "LayerVersion"]),
        properties in proptest::collection::vec((0usize..64, 0usize..12), 0..8),
    ) {
        let rows = match kind {
            "Function" => &table::FUNCTION[..],
            "Api" => &table::API[..],
            "HttpApi" => &table::HTTP_API[..],
            "WebSocketApi" => &table::WEB_SOCKET_API[..],
            _ => &table::LAYER[..],
        };
        let values = [
            "", "x", "-1", "[]", "[a, [b], {c: d}]", "{}", "{Type: Api}", "{X: {Type: Api, Properties: {Path: '/{', Method: get}}}",
            "{Authorizers: {A: {UserPoolArn: []}, B: [], C: {Identity: x}}, DefaultAuthorizer: {a: b}, UsagePlan: [x]}",
            "{$connect: {FunctionArn: [x]}, y: {FunctionArn: 'ARN()'}}", "{Cors: {AllowOrigins: x}, AuthType: NONE}",
            "{DomainName: [x], DEFAULT_4XX: {ResponseParameters: [x]}, Variables: [x]}",
        ];
        let lines: std::collections::BTreeMap<&str, &str> =
            properties.iter().map(|(name, value)| (rows[name % rows.len()].0, values[*value])).collect();
        let text: String = lines.iter().map(|(name, value)| format!("      {name}: {value}\n")).collect();
        let text = if text.is_empty() { "      StageName: x\n".to_owned() } else { text };
        let reading = read(&format!("Resources:\n  It:\n    Type: AWS::Serverless::{kind}\n    Properties:\n{text}"));
        for api in &reading.apis {
            proptest::prop_assert!(!api.stages.is_empty());
        }
    }
}

#[test]
fn paths_are_relative_to_the_template() {
    let project = Project::new(&["built/Hello/app.py"]);
    let reading = project.read(
        "Resources:\n  Hello:\n    Type: AWS::Serverless::Function\n    Properties: {Handler: app.main, Runtime: \
         python3.12, CodeUri: built/Hello}\n",
    );
    let CodeLocation::Folder(folder) = &reading.functions[0].code else { panic!() };
    assert_eq!(folder, &PathBuf::from(project.folder.path()).join("built/Hello"));
}
