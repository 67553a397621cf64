//! Whole templates.

use std::path::Path;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::config::Template;
use crate::deployment::yaml::Node;

const ACCOUNT: &str = "123456789012";
const SHOP: &str = include_str!("fixtures/shop.yaml");

fn account() -> Account {
    Account { id: ACCOUNT.into(), region: "eu-west-1".into() }
}

/// Resolves a text as the template `/t/template.yaml`.
fn resolved(text: &str, overrides: &[(&str, &str)]) -> Result<Stack, String> {
    resolved_at("/t/template.yaml", text, overrides)
}

fn resolved_at(path: &str, text: &str, overrides: &[(&str, &str)]) -> Result<Stack, String> {
    let path = Path::new(path);
    let given: Vec<Override> = overrides
        .iter()
        .map(|(name, value)| Override { name: (*name).into(), value: (*value).into(), from: None })
        .collect();
    load_text(path, text, &account(), &given).map_err(|problem| problem.to_string())
}

/// As JSON, so that it can be compared and read.
fn flat(node: &Node) -> String {
    assert!(node.tag.is_none(), "{node:?}");
    match &node.value {
        Value::Scalar { text, .. } => text.clone(),
        Value::Sequence(items) => format!("[{}]", items.iter().map(flat).collect::<Vec<_>>().join(", ")),
        Value::Mapping(entries) => {
            let entries = entries.iter().map(|(key, value)| format!("{}: {}", flat(key), flat(value)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
        }
    }
}

fn problems(stack: &Stack) -> Vec<String> {
    stack.problems.iter().map(|problem| format!("{}: {}", problem.line.unwrap_or(0), problem.text)).collect()
}

fn property<'s>(stack: &'s Stack, path: &str) -> &'s Node {
    let mut parts = path.split('.');
    let resource = stack.resource(parts.next().unwrap()).unwrap();
    parts.fold(&resource.properties, |node, part| node.get(part).unwrap_or_else(|| panic!("{path}")))
}

fn text<'s>(stack: &'s Stack, path: &str) -> &'s str {
    property(stack, path).text().unwrap_or_else(|| panic!("{path}"))
}

/// A template whose resource `R` has the property `P`.
fn around(value: &str) -> String {
    format!(
        "Transform: [AWS::Serverless-2016-10-31, AWS::LanguageExtensions]\n\
         Parameters:\n  Name: {{Type: String, Default: world}}\n  Many: {{Type: CommaDelimitedList, Default: 'a,b'}}\n\
         Mappings: {{Map: {{key: {{one: first, list: [x, y]}}}}}}\n\
         Conditions: {{Holds: {{'Fn::Equals': [yes, true]}}, Fails: {{'Fn::Equals': [1, 2]}}}}\n\
         Resources:\n  Gone: {{Type: 'AWS::SNS::Topic', Condition: Fails}}\n  Queue: {{Type: 'AWS::SQS::Queue'}}\n  \
         R: {{Type: 'A::B::C', Properties: {{P: {value}, Z: z}}}}\n"
    )
}

#[test]
fn every_intrinsic_in_every_form() {
    let queue = format!("https://sqs.eu-west-1.amazonaws.com/{ACCOUNT}/Queue");
    let arn = format!("arn:aws:sqs:eu-west-1:{ACCOUNT}:Queue");
    for (short, long, expected) in [
        ("!Ref Name", r#"{"Ref": "Name"}"#, "world"),
        ("!Ref Many", r#"{"Ref": "Many"}"#, "[a, b]"),
        ("!Ref Queue", r#"{"Ref": "Queue"}"#, &queue),
        ("!Ref AWS::Region", r#"{"Ref": "AWS::Region"}"#, "eu-west-1"),
        ("!Ref AWS::AccountId", r#"{"Ref": "AWS::AccountId"}"#, ACCOUNT),
        ("!Ref AWS::Partition", r#"{"Ref": "AWS::Partition"}"#, "aws"),
        ("!Ref AWS::StackName", r#"{"Ref": "AWS::StackName"}"#, "local"),
        ("!Ref AWS::URLSuffix", r#"{"Ref": "AWS::URLSuffix"}"#, "amazonaws.com"),
        ("!Ref AWS::NotificationARNs", r#"{"Ref": "AWS::NotificationARNs"}"#, "[]"),
        ("[a, !Ref AWS::NoValue, b]", r#"["a", {"Ref": "AWS::NoValue"}, "b"]"#, "[a, b]"),
        ("!GetAtt Queue.Arn", r#"{"Fn::GetAtt": ["Queue", "Arn"]}"#, &arn),
        ("!GetAtt [Queue, Arn]", r#"{"Fn::GetAtt": "Queue.Arn"}"#, &arn),
        ("!Sub 'hello ${Name}'", r#"{"Fn::Sub": "hello ${Name}"}"#, "hello world"),
        (
            "!Sub '${Queue.Arn}|${Queue}|${Many}'",
            r#"{"Fn::Sub": "${Queue.Arn}|${Queue}|${Many}"}"#,
            &format!("{arn}|{queue}|a,b"),
        ),
        (
            "!Sub ['${a}${Name}', {a: !Ref Name}]",
            r#"{"Fn::Sub": ["${a}${Name}", {"a": {"Ref": "Name"}}]}"#,
            "worldworld",
        ),
        (
            "!Sub '${!x} ${!stageVariables.y}'",
            r#"{"Fn::Sub": "${!x} ${!stageVariables.y}"}"#,
            "${x} ${stageVariables.y}",
        ),
        (
            "!Join ['-', [a, !Ref Name, !Ref AWS::NoValue]]",
            r#"{"Fn::Join": ["-", ["a", {"Ref": "Name"}, {"Ref": "AWS::NoValue"}]]}"#,
            "a-world",
        ),
        ("!Join [',', !Ref Many]", r#"{"Fn::Join": [",", {"Ref": "Many"}]}"#, "a,b"),
        ("!Join ['', [a, 1, true]]", r#"{"Fn::Join": ["", ["a", 1, true]]}"#, "a1true"),
        ("!If [Holds, a, b]", r#"{"Fn::If": ["Holds", "a", "b"]}"#, "a"),
        (
            "!If [Fails, !Ref Nowhere, !Ref Name]",
            r#"{"Fn::If": ["Fails", {"Ref": "Nowhere"}, {"Ref": "Name"}]}"#,
            "world",
        ),
        (
            "{A: !If [Fails, 1, !Ref AWS::NoValue], B: 2}",
            r#"{"A": {"Fn::If": ["Fails", 1, {"Ref": "AWS::NoValue"}]}, "B": 2}"#,
            "{B: 2}",
        ),
        ("!FindInMap [Map, key, one]", r#"{"Fn::FindInMap": ["Map", "key", "one"]}"#, "first"),
        (
            "!FindInMap [Map, !Sub key, list]",
            r#"{"Fn::FindInMap": ["Map", {"Fn::Sub": "key"}, "list"]}"#,
            "[x, y]",
        ),
        (
            "!FindInMap [Map, other, one, {DefaultValue: !Ref Name}]",
            r#"{"Fn::FindInMap": ["Map", "other", "one", {"DefaultValue": {"Ref": "Name"}}]}"#,
            "world",
        ),
        ("!Select [1, [a, b]]", r#"{"Fn::Select": [1, ["a", "b"]]}"#, "b"),
        ("!Select ['0', !Ref Many]", r#"{"Fn::Select": ["0", {"Ref": "Many"}]}"#, "a"),
        ("!Split [',', 'a,b,']", r#"{"Fn::Split": [",", "a,b,"]}"#, "[a, b, ]"),
        (
            "!Select [2, !Split ['/', !Sub 'x/y/${Name}']]",
            r#"{"Fn::Select": [2, {"Fn::Split": ["/", {"Fn::Sub": "x/y/${Name}"}]}]}"#,
            "world",
        ),
        ("!Base64 hello", r#"{"Fn::Base64": "hello"}"#, "aGVsbG8="),
        ("!GetAZs ''", r#"{"Fn::GetAZs": ""}"#, "[eu-west-1a, eu-west-1b, eu-west-1c]"),
        (
            "!Cidr [10.0.0.0/16, 2, 8]",
            r#"{"Fn::Cidr": ["10.0.0.0/16", 2, "8"]}"#,
            "[10.0.0.0/24, 10.0.1.0/24]",
        ),
        ("!Length [a, b, c]", r#"{"Fn::Length": ["a", "b", "c"]}"#, "3"),
        (
            "!ToJsonString {a: !Ref Name, b: 1}",
            r#"{"Fn::ToJsonString": {"a": {"Ref": "Name"}, "b": 1}}"#,
            r#"{"a":"world","b":1}"#,
        ),
        ("{Condition: {a: b}}", r#"{"Condition": {"a": "b"}}"#, "{Condition: {a: b}}"),
    ] {
        for form in [short, long] {
            let stack = resolved(&around(form), &[]).unwrap();
            assert_eq!(flat(property(&stack, "R.P")), expected, "{form}");
            assert_eq!(problems(&stack), Vec::<String>::new(), "{form}");
        }
        // The whole template as JSON.
        let json = format!(
            r#"{{
	"Transform": ["AWS::LanguageExtensions"],
	"Parameters": {{"Name": {{"Type": "String", "Default": "world"}}, "Many": {{"Type": "CommaDelimitedList", "Default": "a,b"}}}},
	"Mappings": {{"Map": {{"key": {{"one": "first", "list": ["x", "y"]}}}}}},
	"Conditions": {{"Holds": {{"Fn::Equals": ["1", "1"]}}, "Fails": {{"Fn::Equals": ["1", "2"]}}}},
	"Resources": {{"Queue": {{"Type": "AWS::SQS::Queue"}}, "R": {{"Type": "A::B::C", "Properties": {{"P": {long}}}}}}}
}}"#
        );
        for name in ["/t/template.json", "/t/template.yaml"] {
            let stack = resolved_at(name, &json, &[]).unwrap();
            assert_eq!(flat(property(&stack, "R.P")), expected, "{long}");
        }
    }
}

#[test]
fn what_cannot_be_resolved_is_told_and_the_rest_stays() {
    for (value, stand_in, expected) in [
        ("!Ref Queu", "Queu", "there is no resource or parameter `Queu`\nhint: did you mean `Queue`?"),
        ("!Ref AWS::Regio", "AWS::Regio", "did you mean `AWS::Region`?"),
        ("!Ref [a]", "", "`Ref` must name something, not a list"),
        ("!Ref Gone", "Gone", "`Gone` does not exist here: its condition `Fails` is false"),
        ("!GetAtt Quue.Arn", "Quue", "did you mean `Queue`?"),
        ("!GetAtt Queue", "Queue", "must be given a resource and its attribute"),
        ("!GetAtt Name.Arn", "Name", "there is no resource"),
        ("!Sub 'a ${Nme} b'", "a Nme b", "did you mean `Name`?"),
        ("!Sub 'a ${} ${a b}'", "a ${} ${a b}", "`${a b}` names nothing"),
        ("!Sub '${stageVariables.x}'", "${stageVariables.x}", "write `${!stageVariables.x}`"),
        ("!Sub [a, b, c]", "", "must be given a text, or a text and a map"),
        ("!Join [a]", "", "`Fn::Join` must be given a list of 2"),
        ("!Join [',', x]", "", "what `Fn::Join` joins must be a list, not `x`"),
        ("!If [Hold, a, b]", "b", "there is no condition `Hold`\nhint: did you mean `Holds`?"),
        ("!If [Holds, a]", "", "must be given a list of 3"),
        ("!FindInMap [Mep, key, one]", "Mep.key.one", "`Mappings` has no `Mep`\nhint: did you mean `Map`?"),
        ("!FindInMap [Map, ky, one]", "Map.ky.one", "the mapping `Map` has no `ky`"),
        ("!FindInMap [Map, key, won]", "Map.key.won", "the mapping `Map`.`key` has no `won`"),
        ("!Select [2, [a, b]]", "", "asks for item 2 of a list of 2"),
        ("!Select [x, [a, b]]", "", "asks for item x"),
        ("!Split ['', a]", "a", "must not be empty"),
        ("!ImportValue shared-table", "shared-table", "`Fn::ImportValue` of `shared-table`"),
        ("!Foo bar", "bar", "`!Foo` is no function"),
        ("!Reff Name", "Name", "did you mean `Ref`?"),
        ("{'Fn::Joyn': [a, [b]]}", "Fn::Joyn", "did you mean `Fn::Join`?"),
        ("{'Fn::Join': ['', []], Other: x}", "{Other: x}", "`Fn::Join` must stand alone"),
        ("!Equals [a, b]", "Fn::Equals", "may stand in `Conditions` only"),
        ("{'Fn::Transform': {Name: Macro}}", "Macro", "the macro `Macro` runs on AWS only"),
        (
            "{'Fn::Transform': {Name: 'AWS::Include', Parameters: {Location: 's3://b/k'}}}",
            "s3://b/k",
            "`AWS::Include` of `s3://b/k`: only files are read",
        ),
        (
            "'{{resolve:ssm:/a/b:1}}'",
            "{{resolve:ssm:/a/b:1}}",
            "`{{resolve:ssm:/a/b:1}}` is looked up on AWS only",
        ),
        ("!GetAtt R.Endpoint.Port", "R.Endpoint.Port", "is known to AWS only"),
        ("0755", "493", "`0755` without quotes is the number 493"),
        ("!Cidr [10.0.0.0, 1, 8]", "10.0.0.0", "is no address block"),
        ("!Length a", "", "must be given a list"),
    ] {
        let stack = resolved(&around(value), &[]).unwrap();
        assert_eq!(flat(property(&stack, "R.P")), stand_in, "{value}");
        assert_eq!(text(&stack, "R.Z"), "z");
        let told = problems(&stack);
        assert!(
            told.iter().any(|told| told.contains(expected) && told.starts_with("10: ")),
            "{value}: {told:?}"
        );
    }
}

#[test]
fn a_whole_file_that_is_none_is_a_failure() {
    for (text, expected) in [
        ("", "/t/template.yaml:1: a template must be a map with `Resources`, but this holds nothing"),
        ("- a\n", "/t/template.yaml:1: a template must be a map with `Resources`, but this holds a list"),
        ("a: 1\n", "/t/template.yaml:1: there is no `Resources`"),
        ("\nResources: [a]\n", "/t/template.yaml:2: `Resources` must be a map, not a list"),
        ("Resources:\n  A: {Type: x\n  B: ]\n", "/t/template.yaml:3: is not valid YAML"),
        (
            "Resources:\n  A: 1\n  A: 2\n",
            "/t/template.yaml:3: is not valid YAML: `A` stands here a second time",
        ),
    ] {
        let error = resolved(text, &[]).unwrap_err();
        assert!(error.starts_with(expected), "{text}: {error}");
    }
    let error = resolved_at("/t/template.json", "{\"Resources\": {},\n}", &[]).unwrap_err();
    assert!(error.starts_with("/t/template.json:2: is not valid JSON"), "{error}");
}

#[test]
fn a_realistic_template_in_full() {
    let stack = resolved(SHOP, &[]).unwrap();
    assert_eq!(problems(&stack), Vec::<String>::new());
    let names: Vec<_> = stack.resources.iter().map(|resource| resource.logical_id.as_str()).collect();
    assert_eq!(names, ["Common", "Items", "Jobs", "Get", "Admin", "Power"]);
    let absent = &stack.absent[0];
    assert_eq!((absent.logical_id.as_str(), absent.condition.as_str()), ("Audit", "IsProd"));

    assert_eq!(stack.resource("Items").unwrap().physical_id, "local-items-dev");
    let api = stack.id("ServerlessRestApi");
    assert!(api.len() == 10 && api.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    for (path, expected) in [
        ("Get.Runtime", "python3.12".to_owned()),
        ("Get.Timeout", "20".to_owned()),
        ("Get.Environment.Variables.STAGE", "overridden".to_owned()),
        ("Get.Environment.Variables.TABLE", "local-items-dev".to_owned()),
        ("Get.Environment.Variables.LEVEL", "DEBUG".to_owned()),
        ("Get.Environment.Variables.QUEUE", format!("https://sqs.eu-west-1.amazonaws.com/{ACCOUNT}/Jobs")),
        ("Get.Environment.Variables.QUEUE_ARN", format!("arn:aws:sqs:eu-west-1:{ACCOUNT}:Jobs")),
        ("Get.Environment.Variables.URL", format!("https://{api}.execute-api.eu-west-1.amazonaws.com/Prod/")),
        ("Get.Environment.Variables.LITERAL", "${stageVariables.x} $dev".to_owned()),
        ("Get.Tags.team", "shop".to_owned()),
        ("Admin.MemorySize", "256".to_owned()),
        ("Admin.Role", format!("arn:aws:iam::{ACCOUNT}:role/service/Power")),
        ("Admin.Environment.Variables.STAGE", "dev".to_owned()),
        ("Admin.Environment.Variables.EXTRA", "yes".to_owned()),
        ("Admin.Environment.Variables.FLAG", "true".to_owned()),
        ("Admin.Environment.Variables.ENCODED", "MS1kZXY=".to_owned()),
        ("Admin.Environment.Variables.PEER", format!("arn:aws:lambda:eu-west-1:{ACCOUNT}:function:Get")),
        ("Admin.Environment.Variables.OWN_ROLE", "GetRole".to_owned()),
        ("Admin.Environment.Variables.LIVE", format!("arn:aws:lambda:eu-west-1:{ACCOUNT}:function:Get:live")),
    ] {
        assert_eq!(text(&stack, path), expected, "{path}");
    }
    for (path, expected) in [
        (
            "Get.Layers",
            format!(
                "[arn:aws:lambda:eu-west-1:{ACCOUNT}:layer:common-dev:1, arn:aws:lambda:us-east-1:1:layer:x:3]"
            ),
        ),
        ("Get.Architectures", "[arm64]".to_owned()),
        ("Admin.Architectures", "[x86_64]".to_owned()),
        ("Admin.VpcConfig", "{SubnetIds: [subnet-a, subnet-b], SecurityGroupIds: [sg-2]}".to_owned()),
    ] {
        assert_eq!(flat(property(&stack, path)), expected, "{path}");
    }
    assert!(property(&stack, "Get.Environment.Variables").get("TOPIC").is_none());
    let admin = stack.resource("Admin").unwrap();
    assert!(admin.properties.get("Timeout").is_none() && admin.properties.get("Tags").is_none());
    assert_eq!((admin.physical_id.as_str(), admin.line), ("local-admin", 68));
    assert_eq!(stack.find(&admin.arn).unwrap().logical_id, "Admin");
    assert_eq!(flat(&stack.globals["Api"]), "{Variables: {stage: dev}}");
    let outputs: Vec<_> =
        stack.outputs.iter().map(|output| (output.name.as_str(), output.value.clone())).collect();
    let url = format!(
        "https://{}.lambda-url.eu-west-1.on.aws/",
        crate::deployment::convention::letters(&format!("{}#AdminUrl", stack.path.display()), 32)
    );
    assert_eq!(
        outputs,
        [("Api", format!("https://{api}.execute-api.eu-west-1.amazonaws.com/Prod/")), ("Admin", url)]
    );

    let prod = resolved(SHOP, &[("Stage", "dev"), ("Stage", "prod")]).unwrap();
    assert_eq!(problems(&prod), Vec::<String>::new());
    assert_eq!(
        text(&prod, "Get.Environment.Variables.TOPIC"),
        format!("arn:aws:sns:eu-west-1:{ACCOUNT}:Audit")
    );
    assert_eq!(text(&prod, "Get.Environment.Variables.LEVEL"), "INFO");
    assert_eq!((prod.outputs.len(), prod.absent.len()), (3, 0));

    let told = problems(&resolved(SHOP, &[("Stage", "test")]).unwrap());
    assert!(
        told[0].starts_with("6: the parameter `Stage`: `test` is not one of its AllowedValues (dev, prod)"),
        "{told:?}"
    );
}

#[test]
fn names_and_what_sam_makes() {
    let template = "Transform: AWS::Serverless-2016-10-31\nResources:\n  \
        Api: {Type: AWS::Serverless::Api, Properties: {StageName: v1}}\n  \
        Web: {Type: AWS::Serverless::HttpApi, Properties: {Domain: {DomainName: x.org}}}\n  \
        Chat: {Type: AWS::ApiGatewayV2::Api, Properties: {ProtocolType: WEBSOCKET}}\n  \
        Fn:\n    Type: AWS::Serverless::Function\n    Properties:\n      FunctionName: real\n      AutoPublishAlias: live\n      \
        FunctionUrlConfig: {AuthType: NONE}\n      \
        Events: {Tick: {Type: Schedule}, Http: {Type: HttpApi, Properties: {Path: /x, Method: get}}}\n  \
        Plain: {Type: AWS::Lambda::Function}\n  \
        One: {Type: AWS::Lambda::Version, Properties: {FunctionName: !Ref Plain}}\n  \
        Two: {Type: AWS::Lambda::Version, Properties: {FunctionName: !Ref Plain}}\n  \
        Other: {Type: AWS::Lambda::Version, Properties: {FunctionName: !GetAtt Fn.Arn}}\n  \
        Named: {Type: AWS::Lambda::Alias, Properties: {FunctionName: !Ref Plain, Name: beta, FunctionVersion: !GetAtt Two.Version}}\n  \
        Uploads: {Type: AWS::S3::Bucket}\n  \
        Fifo: {Type: AWS::SQS::Queue, Properties: {QueueName: jobs.fifo}}\n  \
        Users: {Type: AWS::Cognito::UserPool}\n  \
        Strange: {Type: Custom::Thing}\n  \
        Group: {Type: AWS::ElasticLoadBalancingV2::TargetGroup}\n  \
        Flow: {Type: AWS::Serverless::StateMachine, Properties: {Name: flow}}\n  \
        Setting: {Type: AWS::SSM::Parameter, Properties: {Name: /a/b, Type: String, Value: !Ref Uploads}}\n  \
        R: {Type: A::B::C, Properties: {P: VALUE}}\n";
    let id = |logical_id: &str| id(Path::new("/t/template.yaml"), logical_id);
    let function = |name: &str| format!("arn:aws:lambda:eu-west-1:{ACCOUNT}:function:{name}");
    for (value, expected) in [
        ("!Ref Fn", "real".to_owned()),
        ("!GetAtt Fn.Arn", function("real")),
        ("!Ref Fn.Alias", function("real:live")),
        ("!Ref Fn.Version", function("real:1")),
        ("!Sub '${Fn.Alias}'", function("real:live")),
        ("!Ref FnAliaslive", function("real:live")),
        ("!Ref FnRole", "FnRole".to_owned()),
        ("!GetAtt FnRole.Arn", format!("arn:aws:iam::{ACCOUNT}:role/FnRole")),
        (
            "!GetAtt FnUrl.FunctionUrl",
            format!(
                "https://{}.lambda-url.eu-west-1.on.aws/",
                crate::deployment::convention::letters("/t/template.yaml#FnUrl", 32)
            ),
        ),
        ("!Ref FnTick", "FnTick".to_owned()),
        ("!Ref FnTickPermission", "FnTickPermission".to_owned()),
        ("!Ref Api", id("Api")),
        ("!GetAtt Api.RootResourceId", id("Api#root")),
        ("!Ref Api.Stage", "v1".to_owned()),
        ("!Ref Apiv1Stage", "v1".to_owned()),
        ("!Ref ServerlessHttpApi", id("ServerlessHttpApi")),
        ("!Ref ServerlessHttpApi.Stage", "$default".to_owned()),
        ("!GetAtt Web.ApiEndpoint", format!("https://{}.execute-api.eu-west-1.amazonaws.com", id("Web"))),
        ("!GetAtt Chat.ApiEndpoint", format!("wss://{}.execute-api.eu-west-1.amazonaws.com", id("Chat"))),
        ("!Ref Web.Stage", "$default".to_owned()),
        ("!Ref Web.DomainName", "x.org".to_owned()),
        ("!Ref Two", function("Plain:2")),
        ("!Ref Other", function("real:1")),
        ("!Ref Named", function("Plain:beta")),
        ("!Ref Uploads", "uploads".to_owned()),
        ("!GetAtt Uploads.Arn", "arn:aws:s3:::uploads".to_owned()),
        ("!GetAtt Fifo.QueueName", "jobs.fifo".to_owned()),
        (
            "!GetAtt Users.ProviderName",
            format!("cognito-idp.eu-west-1.amazonaws.com/eu-west-1_{}", &id("Users")[..9]),
        ),
        ("!Ref Strange", "Strange".to_owned()),
        ("!GetAtt Strange.Arn", format!("arn:aws:thing:eu-west-1:{ACCOUNT}:thing/Strange")),
        ("!Ref Flow", format!("arn:aws:states:eu-west-1:{ACCOUNT}:stateMachine:flow")),
        ("!GetAtt Setting.Value", "uploads".to_owned()),
    ] {
        let stack = resolved(&template.replace("VALUE", value), &[]).unwrap();
        assert_eq!(text(&stack, "R.P"), expected, "{value}");
        assert_eq!(problems(&stack), Vec::<String>::new(), "{value}");
    }
    for (value, expected) in [
        // No function asks for an implicit REST API, and Plain is not SAM's.
        ("!Ref ServerlessRestApi", "there is no resource or parameter `ServerlessRestApi`"),
        ("!Ref PlainRole", "there is no resource or parameter `PlainRole`"),
        ("!Ref FnTock", "there is no resource or parameter `FnTock`"),
        ("!Ref Uploads.Stage", "there is no resource or parameter `Uploads.Stage`"),
    ] {
        let told = problems(&resolved(&template.replace("VALUE", value), &[]).unwrap());
        assert!(told.iter().any(|told| told.contains(expected)), "{value}: {told:?}");
    }
}

#[test]
fn globals_by_sams_rules() {
    for (globals, own, expected) in [
        ("{Timeout: 5}", "{}", "{Timeout: 5}"),
        ("{Timeout: 5}", "{Timeout: 6}", "{Timeout: 6}"),
        ("{Tags: {a: 1, b: 2}}", "{Tags: {b: 3, c: 4}}", "{Tags: {a: 1, b: 3, c: 4}}"),
        ("{Layers: [a]}", "{Layers: [b, a]}", "{Layers: [a, b, a]}"),
        ("{Architectures: [a]}", "{Architectures: [b]}", "{Architectures: [b]}"),
        ("{CodeUri: x}", "{CodeUri: {Bucket: b}}", "{CodeUri: {Bucket: b}}"),
        ("{Tags: {a: 1}}", "{Tags: !If [C, {b: 2}, {}]}", "{Tags: {b: 2}}"),
        ("{Tags: !If [C, {b: 2}, {}]}", "{Tags: {a: 1}}", "{Tags: {a: 1}}"),
        ("{Timeout: 5}", "{Timeout: !Ref AWS::NoValue}", "{}"),
        (
            "{VpcConfig: {SubnetIds: [a]}}",
            "{VpcConfig: {SubnetIds: [b], SecurityGroupIds: [c]}}",
            "{VpcConfig: {SubnetIds: [a, b], SecurityGroupIds: [c]}}",
        ),
    ] {
        let template = format!(
            "Transform: AWS::Serverless-2016-10-31\nConditions: {{C: !Equals [a, a]}}\nGlobals: {{Function: {globals}}}\n\
             Resources:\n  F: {{Type: AWS::Serverless::Function, Properties: {own}}}\n  \
             L: {{Type: AWS::Lambda::Function, Properties: {{A: b}}}}\n  \
             I: {{Type: AWS::Serverless::Function, IgnoreGlobals: '*', Properties: {{A: b}}}}\n"
        );
        let stack = resolved(&template, &[]).unwrap();
        assert_eq!(flat(&stack.resource("F").unwrap().properties), expected, "{globals} {own}");
        assert_eq!(flat(&stack.resource("L").unwrap().properties), "{A: b}");
        assert_eq!(flat(&stack.resource("I").unwrap().properties), "{A: b}");
        assert_eq!(problems(&stack), Vec::<String>::new());
    }
    for (head, globals, expected) in [
        (
            "Transform: AWS::Serverless-2016-10-31",
            "Function: {Role: x}",
            "3: SAM does not allow `Role` in `Globals.Function`",
        ),
        ("Transform: AWS::Serverless-2016-10-31", "Function: {Timout: 1}", "did you mean `Timeout`?"),
        ("Transform: AWS::Serverless-2016-10-31", "Functions: {}", "did you mean `Function`?"),
        ("Transform: AWS::Serverless-2016-10-31", "Function: [a]", "`Globals.Function` must be a map"),
        ("Description: x", "Function: {}", "`Globals` needs `Transform: AWS::Serverless-2016-10-31`"),
    ] {
        let template =
            format!("{head}\nGlobals:\n  {globals}\nResources:\n  F: {{Type: AWS::Lambda::Function}}\n");
        let told = problems(&resolved(&template, &[]).unwrap());
        assert!(told.iter().any(|told| told.contains(expected)), "{globals}: {told:?}");
    }
}

#[test]
fn plain_values_are_the_same_wherever_they_stand() {
    let template = "Parameters: {Flag: {Type: String, Default: yes, AllowedValues: [yes, no]}}\n\
        Mappings: {Map: {on: {one: found}, off: {one: lost}}}\n\
        Conditions: {Is: !Equals [!Ref Flag, true]}\n\
        Resources: {R: {Type: X, Properties: {P: !FindInMap [Map, yes, one], Q: !If [Is, On, 1], S: !Ref Flag}}}\n";
    let stack = resolved(template, &[]).unwrap();
    assert_eq!(flat(&stack.resource("R").unwrap().properties), "{P: found, Q: true, S: true}");
    assert_eq!(problems(&stack), Vec::<String>::new());
}

#[test]
fn conditions_in_circles_and_misspelt() {
    for (conditions, expected) in [
        ("A: !Not [!Condition B]\n  B: !Not [!Condition A]", "the condition `A` depends on itself"),
        ("A: !Not [!Condition Bee]\n  Be: !Equals [a, a]", "did you mean `Be`?"),
        ("A: !Equals [a]", "`Fn::Equals` must be given a list of 2"),
        ("A: !And [!Condition A]", "`Fn::And` must be given a list of 2 to 10"),
        ("A: yes", "a condition must be Fn::Equals"),
        ("A: !Equals [!Ref Queue, x]", "`Queue` is a resource: a condition can refer to parameters only"),
        ("A: !Equals [!Ref Stge, x]", "there is no parameter `Stge`\nhint: did you mean `Stage`?"),
        ("A: !Sub x", "`Fn::Sub` is no condition"),
    ] {
        let template = format!(
            "Parameters: {{Stage: {{Type: String, Default: x}}}}\nConditions:\n  {conditions}\n\
             Resources:\n  Queue: {{Type: AWS::SQS::Queue, Condition: A}}\n"
        );
        let told = problems(&resolved(&template, &[]).unwrap());
        assert!(told.iter().any(|told| told.contains(expected)), "{conditions}: {told:?}");
    }
}

#[test]
fn resources_that_are_none() {
    for (resource, expected) in [
        ("A: {Properties: {}}", "3: `A` has no `Type`"),
        ("A: {Type: X, Properties: [a]}", "`Properties` of `A` must be a map"),
        ("A: {Type: X, Propertis: {}}", "did you mean `Properties`?"),
        ("A: {Type: X, Timeout: 3}", "stands under `Properties`"),
        ("A-B: {Type: X}", "CloudFormation refuses the name `A-B`"),
        ("A: {Type: X, Condition: C}", "there is no condition `C`"),
        ("A: {Type: X, Condition: [C]}", "must name a condition"),
        (
            "A: {Type: AWS::Serverless::Function}",
            "`AWS::Serverless::Function` needs `Transform: AWS::Serverless-2016-10-31`",
        ),
        ("A: {Type: AWS::SQS::Queue, Properties: {QueueName: !GetAtt A.Arn}}", "`A` is named after itself"),
        ("'Fn::ForEach::Loop': [a, [b], {}]", "`Fn::ForEach` needs `Transform: AWS::LanguageExtensions`"),
    ] {
        let told = problems(&resolved(&format!("Description: x\nResources:\n  {resource}\n"), &[]).unwrap());
        assert!(told.iter().any(|told| told.contains(expected)), "{resource}: {told:?}");
    }
    let told = problems(
        &resolved("Resorces: {}\nResources: {}\nTransform: [MyMacro, AWS::Include]\n", &[]).unwrap(),
    );
    assert!(
        told[0].contains(
            "`Resorces` is no section of a template; it is ignored\nhint: did you mean `Resources`?"
        )
    );
    assert!(
        told[1].contains("the macro `MyMacro` runs on AWS only") && told[2].contains("`AWS::Include`"),
        "{told:?}"
    );
}

#[test]
fn loops_are_written_out() {
    let template = "Transform: AWS::LanguageExtensions\nParameters: {Names: {Type: CommaDelimitedList, Default: 'a,b-c'}}\n\
        Resources:\n  Fn::ForEach::Topics:\n    - Name\n    - !Ref Names\n    - \"Topic&{Name}\":\n        Type: AWS::SNS::Topic\n        \
        Properties:\n          TopicName: !Join [\"\", [!Ref Name, -x]]\n          Text: !Sub \"${Name} in ${AWS::Region}\"\n          \
        Fn::ForEach::Tags: [Tag, [k, l], {\"${Tag}${Name}\": !Ref Tag}]\n\
        Outputs:\n  Fn::ForEach::Out: [Name, !Ref Names, {\"Out&{Name}\": {Value: !GetAtt [\"Topic&{Name}\", TopicName]}}]\n";
    let stack = resolved(template, &[]).unwrap();
    assert_eq!(problems(&stack), Vec::<String>::new());
    let flat: Vec<_> =
        stack.resources.iter().map(|r| format!("{} {}", r.logical_id, flat(&r.properties))).collect();
    assert_eq!(
        flat,
        [
            "Topica {TopicName: a-x, Text: a in eu-west-1, ka: k, la: l}",
            "Topicbc {TopicName: b-c-x, Text: b-c in eu-west-1, kb-c: k, lb-c: l}"
        ]
    );
    let outputs: Vec<_> =
        stack.outputs.iter().map(|output| format!("{}={}", output.name, output.value)).collect();
    assert_eq!(outputs, ["Outa=a-x", "Outbc=b-c-x"]);
    for (text, expected) in [
        ("Fn::ForEach::T: [Name, [a, b], {Same: {Type: X}}]", "makes `Same` twice"),
        ("Fn::ForEach::T: [Name, [a]]", "must be given a list of three"),
        ("Fn::ForEach::T: [Name, a, {}]", "must be a list"),
        ("Fn::ForEach::T: [[x], [a], {}]", "must begin with an identifier"),
    ] {
        let template = format!("Transform: AWS::LanguageExtensions\nResources:\n  {text}\n");
        let told = problems(&resolved(&template, &[]).unwrap());
        assert!(told.iter().any(|told| told.contains(expected)), "{text}: {told:?}");
    }
}

/// A project on disk.
struct Project(tempfile::TempDir);

impl Project {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Self(folder)
    }

    fn load(&self, change: impl FnOnce(&mut Template)) -> Result<Stack, Vec<String>> {
        let mut template = Template {
            path: self.0.path().join("template.yaml"),
            parameters: Vec::new(),
            env_vars: None,
            config_env: "default".into(),
        };
        change(&mut template);
        load(&Options { template: &template, account: &account(), state_dir: Path::new("/state") }).map_err(
            |failure| {
                assert!(failure.files.contains(&template.path));
                failure.problems.iter().map(|problem| self.short(&problem.to_string())).collect()
            },
        )
    }

    fn short(&self, text: &str) -> String {
        text.replace(&format!("{}/", self.0.path().display()), "")
    }
}

const SMALL: &str = "Parameters:\n  Stage: {Type: String}\n  Other: {Type: String, Default: x}\nResources:\n  \
    Hello: {Type: AWS::Lambda::Function, Properties: {A: !Ref Stage, B: !Ref Other}}\n";

#[test]
fn parameters_come_from_the_command_line_then_samconfig_then_defaults() {
    let config = "version = 0.1\n[default.deploy.parameters]\nparameter_overrides = 'Stage=dev Other=y'\n\
                  [prod.deploy.parameters]\nparameter_overrides = 'Stage=prod'\n";
    let project = Project::new(&[("template.yaml", SMALL), ("samconfig.toml", config)]);
    let values = |stack: Stack| {
        assert_eq!(problems(&stack), Vec::<String>::new());
        assert!(stack.files.iter().any(|file| file.ends_with("samconfig.toml")));
        format!("{} {}", text(&stack, "Hello.A"), text(&stack, "Hello.B"))
    };
    assert_eq!(values(project.load(|_| {}).unwrap()), "dev y");
    let given = |template: &mut Template| template.parameters = vec![("Stage".into(), "mine".into())];
    assert_eq!(values(project.load(given).unwrap()), "mine y");
    assert_eq!(values(project.load(|template| template.config_env = "prod".into()).unwrap()), "prod x");
    let told = project.load(|template| template.config_env = "pord".into()).unwrap_err();
    assert_eq!(told, ["samconfig.toml: there is no environment `pord`\nhint: did you mean `prod`?"]);

    let bare = Project::new(&[("template.yaml", SMALL)]);
    let stack = bare.load(|_| {}).unwrap();
    assert_eq!(text(&stack, "Hello.A"), "Stage");
    assert_eq!(
        problems(&stack),
        ["2: the parameter `Stage` has no default and is given no value\n\
          hint: give one with --parameter-overrides Stage=VALUE, or in samconfig.toml"]
    );
}

#[test]
fn what_sam_built_finds_the_projects_samconfig() {
    let config = "version = 0.1\n[default.global.parameters]\nparameter_overrides = 'Stage=dev'\n";
    let project = Project::new(&[(".aws-sam/build/template.yaml", SMALL), ("samconfig.toml", config)]);
    let built = project.0.path().join(".aws-sam/build/template.yaml");
    assert_eq!(text(&project.load(|template| template.path = built).unwrap(), "Hello.A"), "dev");
}

#[test]
fn env_vars_are_read_and_checked() {
    let vars = "{\n  \"Hello\": {\"A\": \"1\"},\n  \"Helo\": {\"B\": \"2\"},\n  \"Parameters\": {}\n}";
    let project = Project::new(&[
        ("template.yaml", &SMALL.replace("Type: String}", "Type: String, Default: d}")),
        ("env.json", vars),
        ("bad.json", "{\n[]}"),
    ]);
    let file = |name: &str| Some(project.0.path().join(name));
    let stack = project.load(|template| template.env_vars = file("env.json")).unwrap();
    assert_eq!(stack.env_vars[0], ("Hello".into(), vec![("A".into(), "1".into())]));
    let told: Vec<_> = stack.problems.iter().map(|problem| project.short(&problem.to_string())).collect();
    assert_eq!(told, ["env.json:3: the template has no function `Helo`\nhint: did you mean `Hello`?"]);
    let told = project.load(|template| template.env_vars = file("bad.json")).unwrap_err();
    assert!(told[0].starts_with("bad.json:2: is not valid JSON"), "{told:?}");
    let told = project.load(|template| template.env_vars = file("none.json")).unwrap_err();
    assert!(told[0].starts_with("none.json: cannot be read"), "{told:?}");
}

#[test]
fn files_that_cannot_be_read_are_failures() {
    let project = Project::new(&[]);
    assert!(project.load(|_| {}).unwrap_err()[0].starts_with("template.yaml: cannot be read"));
    std::fs::create_dir(project.0.path().join("template.yaml")).unwrap();
    assert_eq!(project.load(|_| {}).unwrap_err(), ["template.yaml: cannot be read: it is no regular file"]);
    let project = Project::new(&[("template.yaml", "a: 1\n")]);
    std::fs::write(project.0.path().join("template.yaml"), b"a: 1\nb: \xff\n").unwrap();
    assert_eq!(project.load(|_| {}).unwrap_err(), ["template.yaml: cannot be read: line 2 is not UTF-8"]);
}

#[test]
fn files_beside_the_template_are_included() {
    let include = |location: &str| {
        format!(
            "Transform: AWS::Serverless-2016-10-31\nResources:\n  A:\n    Type: AWS::Serverless::Api\n    Properties:\n      StageName: v1\n      \
             DefinitionBody:\n        Fn::Transform: {{Name: AWS::Include, Parameters: {{Location: {location}}}}}\n  F: {{Type: AWS::Lambda::Function}}\n"
        )
    };
    let nested = "Fn::Transform: {Name: AWS::Include, Parameters: {Location: nested.yaml}}\n";
    let project = Project::new(&[
        ("template.yaml", &include("api.yaml")),
        ("nested.yaml", nested),
        ("broken.yaml", "a: [\n"),
        ("api.yaml", "openapi: 3.0.1\npaths:\n  /x:\n    uri: !GetAtt F.Arn\n"),
    ]);
    let stack = project.load(|_| {}).unwrap();
    assert_eq!(problems(&stack), Vec::<String>::new());
    let expected =
        format!("{{openapi: 3.0.1, paths: {{/x: {{uri: arn:aws:lambda:eu-west-1:{ACCOUNT}:function:F}}}}}}");
    assert_eq!(flat(property(&stack, "A.DefinitionBody")), expected);
    assert!(stack.files.iter().any(|file| file.ends_with("api.yaml")));
    for (location, expected) in [
        ("none.yaml", "`AWS::Include` of `none.yaml`: cannot be read"),
        ("broken.yaml", "`AWS::Include` of `broken.yaml`: line"),
        ("nested.yaml", "what is included cannot include anything itself"),
    ] {
        std::fs::write(project.0.path().join("template.yaml"), include(location)).unwrap();
        let told = problems(&project.load(|_| {}).unwrap());
        assert!(
            told.iter().any(|told| told.starts_with("8: ") && told.contains(expected)),
            "{location}: {told:?}"
        );
    }
}

/// Templates of a few lines that would come to anything.
#[test]
fn work_is_bounded() {
    let resource = |value: &str| format!("Resources:\n  R: {{Type: X, Properties: {{P: {value}}}}}\n");
    let subs =
        (0..45).fold("x".to_owned(), |inner, _| format!("!Sub ['${{a}}${{a}}${{a}}', {{a: {inner}}}]"));
    let loops = (0..12).fold("{\"K${A}\": x}".to_owned(), |body, level| {
        format!("{{\"Fn::ForEach::L{level}\": [A{level}, [a, b, c, d, e, f, g, h, i, j], {body}]}}")
    });
    let names: String = (0..2000)
        .map(|index| {
            format!("  Q{index}: {{Type: AWS::SQS::Queue, Properties: {{QueueName: !Ref Q{}}}}}\n", index + 1)
        })
        .collect();
    let conditions: String =
        (0..3000).map(|index| format!("  C{index}: !Not [!Condition C{}]\n", index + 1)).collect();
    let globals = format!(
        "Transform: AWS::Serverless-2016-10-31\nGlobals: {{Function: {{Tags: {{{}}}}}}}\nResources:\n{}",
        (0..5000).map(|index| format!("k{index}: v, ")).collect::<String>(),
        (0..5000)
            .map(|index| format!("  F{index}: {{Type: AWS::Serverless::Function}}\n"))
            .collect::<String>()
    );
    let wrong: String = (0..3000).map(|index| format!("!Ref Wrong{index}, ")).collect();
    let many: String = (0..3000).map(|index| format!("  Right{index}: {{Type: X}}\n")).collect();
    for (name, template, expected) in [
        ("subs", resource(&subs), "this text comes to more than 1048576 bytes"),
        (
            "loops",
            format!("Transform: AWS::LanguageExtensions\n{}", resource(&loops)),
            "is too much to be a template",
        ),
        (
            "names",
            format!("Resources:\n{names}  Q2000: {{Type: AWS::SQS::Queue}}\n"),
            "leads through too many",
        ),
        (
            "conditions",
            format!("Conditions:\n{conditions}  C3000: !Equals [a, a]\nResources: {{}}\n"),
            "leads through too many",
        ),
        ("globals", globals, "is too much to be a template"),
        (
            "mistakes",
            format!("Resources:\n{many}  R: {{Type: X, Properties: {{P: [{wrong}]}}}}\n"),
            "and 2800 more problems",
        ),
        ("brackets", resource(&"[".repeat(90)), "is not valid YAML"),
        ("flow", format!("Resources: {}", "[a, {b: c}, ".repeat(90)), "is not valid YAML"),
        ("questions", "? ".repeat(100_000), "nested deeper than"),
        ("quotes", "\"".repeat(100_001), "is not valid YAML"),
        ("colons", "a: ".repeat(100_000), "is not valid YAML"),
        ("wide", "a ".repeat(200_000), "a template must be a map"),
        ("comments", "#\n".repeat(200_000), "this holds nothing"),
        (
            "keys",
            (0..50_000).map(|index| format!("k{index}: {index}\n")).collect(),
            "there is no `Resources`",
        ),
        (
            "flow keys",
            format!("{{{}}}", (0..50_000).map(|index| format!("k{index}, ")).collect::<String>()),
            "there is no `Resources`",
        ),
    ] {
        let begin = Instant::now();
        let result = resolved(&template, &[]);
        let told = result.map(|stack| problems(&stack)).unwrap_or_else(|error| vec![error]);
        assert!(told.iter().any(|told| told.contains(expected)), "{name}: {:?}", told.first());
        // A debug build on a busy machine; without bounds it would be years.
        assert!(begin.elapsed() < Duration::from_secs(30), "{name}: {:?}", begin.elapsed());
    }
}

/// The deepest that is read at all, in the stack that a thread of a pool has.
#[test]
fn depth_does_not_end_the_stack() {
    let ifs = (0..95).fold("x".to_owned(), |inner, _| format!("!If [C, {inner}, y]"));
    let subs = (0..47).fold("x".to_owned(), |inner, _| format!("!Sub ['${{a}}', {{a: {inner}}}]"));
    let chain: String = (0..300)
        .map(|index| {
            format!(
                "  Q{index}: {{Type: AWS::SQS::Queue, Properties: {{QueueName: !Sub '${{Q{}}}'}}}}\n",
                index + 1
            )
        })
        .collect();
    let template = format!(
        "Conditions: {{C: !Equals [a, a]}}\nResources:\n  R: {{Type: X, Properties: {{P: {ifs}, Q: {subs}}}}}\n{chain}"
    );
    let deep = std::thread::Builder::new().stack_size(2 << 20);
    let stack = deep.spawn(move || resolved(&template, &[]).unwrap()).unwrap().join().unwrap();
    assert_eq!((text(&stack, "R.P"), text(&stack, "R.Q")), ("x", "x"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_text_ends_without_a_panic(text in "\\PC{0,200}") {
        let _ = resolved(&text, &[]);
        let _ = resolved(&format!("Resources: {text}\n"), &[]);
        let _ = resolved(&around(&text), &[]);
    }

    #[test]
    fn any_intrinsics_end_without_a_panic(
        parts in prop::collection::vec(prop::sample::select(vec![
            "!Ref ", "!Sub ", "!GetAtt ", "!Join ", "!If ", "!Select ", "!Split ", "!FindInMap ", "!Cidr ", "!Base64 ",
            "!Condition ", "!Transform ", "!GetAZs ", "!ImportValue ", "!Length ", "!ToJsonString ", "!Equals ",
            "{", "}", "[", "]", ", ", ": ", "'${a}'", "'${Queue.Arn}'", "Fn::Sub", "Fn::ForEach::L", "Ref", "Name",
            "Queue", "Gone", "Holds", "Many", "R", "R.P", "key", "1", "''", "<<", "&a ", "*a", "AWS::NoValue", "Map",
        ]), 1..24)
    ) {
        let _ = resolved(&around(&parts.concat()), &[]);
    }

    /// A real template with a piece cut out, doubled or put elsewhere.
    #[test]
    fn mutated_templates_end_without_a_panic(
        from in 0..SHOP.len(), length in 0usize..80, to in 0..SHOP.len(), keeps in any::<bool>(),
        line_wise in any::<bool>()
    ) {
        let mutated: String = if line_wise {
            let mut lines: Vec<&str> = SHOP.lines().collect();
            let (from, to) = (from % lines.len(), to % lines.len());
            let line = if keeps { lines[from] } else { lines.remove(from) };
            lines.insert(to.min(lines.len()), line);
            lines.join("\n")
        } else {
            let mut bytes = SHOP.as_bytes().to_vec();
            let end = (from + length).min(bytes.len());
            let piece = bytes[from..end].to_vec();
            if !keeps {
                bytes.drain(from..end);
            }
            let to = to.min(bytes.len());
            bytes.splice(to..to, piece);
            String::from_utf8_lossy(&bytes).into_owned()
        };
        if let Ok(stack) = resolved(&mutated, &[]) {
            for resource in &stack.resources {
                // Nothing that is left has a tag.
                flat(&resource.properties);
            }
        }
    }
}
