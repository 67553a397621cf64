//! For tests: stacks without an engine, from YAML without intrinsics.

use super::super::yaml::{self, Node, Value};
use super::{Builder, Resource, Stack};
use crate::api::{Api, Authorization, IntegrationKind, Route};

/// `Id: {Type: ..., Properties: ...}`, with ids and ARNs that are easy to write down:
/// `${Id}` stands for what `Ref` gives, `${Id.Arn}` for its ARN.
pub fn stack(text: &str) -> Stack {
    let node = yaml::parse(text).unwrap().unwrap();
    let mut resources: Vec<Resource> = Vec::new();
    for (key, value) in node.mapping().unwrap() {
        let logical_id = key.text().unwrap().to_owned();
        let kind = value.get("Type").and_then(Node::text).unwrap().to_owned();
        let empty = Node { line: key.line, tag: None, value: Value::Mapping(Vec::new()) };
        let properties = value.get("Properties").cloned().unwrap_or(empty);
        let said = |name: &str| properties.get(name).and_then(Node::text).map(str::to_owned);
        let physical_id = match kind.as_str() {
            "AWS::Lambda::Function" => said("FunctionName"),
            "AWS::ApiGateway::Stage" | "AWS::ApiGatewayV2::Stage" => said("StageName"),
            "AWS::ApiGateway::DomainName" | "AWS::ApiGatewayV2::DomainName" => said("DomainName"),
            "AWS::Lambda::Alias" => Some(format!("{LAMBDA}:function:{}", logical_id.to_lowercase())),
            "AWS::Lambda::Version" => Some(format!("{LAMBDA}:function:x:7")),
            kind if kind.ends_with("Api") => Some(format!("{:0>10}", logical_id.to_lowercase())),
            kind if kind.starts_with("AWS::ElasticLoadBalancingV2") => {
                Some(format!("arn:aws:elasticloadbalancing:us-east-1:123456789012:{logical_id}/1"))
            }
            _ => None,
        };
        let physical_id = physical_id.unwrap_or_else(|| logical_id.clone());
        let arn = match kind.as_str() {
            "AWS::Lambda::Function" | "AWS::Serverless::Function" => {
                format!("{LAMBDA}:function:{physical_id}")
            }
            _ => physical_id.clone(),
        };
        resources.push(Resource { logical_id, kind, line: key.line, properties, physical_id, arn });
    }
    let known: Vec<(String, String)> = resources
        .iter()
        .flat_map(|resource| {
            let id = &resource.logical_id;
            [
                (format!("${{{id}}}"), resource.physical_id.clone()),
                (format!("${{{id}.Arn}}"), resource.arn.clone()),
                (format!("${{{id}.Invoke}}"), invocation(&resource.arn)),
                (format!("${{{id}.RootResourceId}}"), format!("{}/root", resource.physical_id)),
            ]
        })
        .collect();
    for resource in &mut resources {
        settle(&mut resource.properties, &known);
    }
    Stack {
        path: "/project/template.yaml".into(),
        account: "123456789012".into(),
        region: "us-east-1".into(),
        resources,
        ..Stack::default()
    }
}

const LAMBDA: &str = "arn:aws:lambda:us-east-1:123456789012";

/// The URI by which an API Gateway calls a function.
fn invocation(arn: &str) -> String {
    format!("arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{arn}/invocations")
}

fn settle(node: &mut Node, known: &[(String, String)]) {
    match &mut node.value {
        Value::Scalar { text, .. } => {
            for (from, to) in known {
                *text = text.replace(from, to);
            }
        }
        Value::Sequence(items) => items.iter_mut().for_each(|item| settle(item, known)),
        Value::Mapping(entries) => {
            for (key, value) in entries {
                settle(key, known);
                settle(value, known);
            }
        }
    }
}

/// All that plain CloudFormation comes to.
pub fn read(text: &str) -> Builder {
    let stack = stack(text);
    let mut builder = Builder { path: stack.path.clone(), ..Builder::default() };
    super::cloudformation::read(&stack, &mut builder);
    builder
}

/// One line for each route: `GET /users -> hello V1`, and what else there is to say.
pub fn routes(api: &Api) -> Vec<String> {
    api.routes.iter().map(route).collect()
}

fn route(route: &Route) -> String {
    let method = if route.path.starts_with('/') || route.method.is_empty() { "" } else { &route.method };
    let mut line = format!("{method} {} -> ", route.key()).trim_start().to_owned();
    line += &match &route.integration.kind {
        IntegrationKind::Function { function, payload, streams, .. } => {
            format!("{function} {payload:?}{}", if *streams { " streams" } else { "" })
        }
        IntegrationKind::Mapped(mapped) => format!(
            "mapped {}{}",
            mapped.function.as_deref().unwrap_or("MOCK"),
            if mapped.asynchronous { " asynchronous" } else { "" }
        ),
        IntegrationKind::Http(http) => format!("{} {}", http.method, http.url),
        IntegrationKind::Missing { reason } => format!("missing: {reason}"),
    };
    match &route.authorization {
        Authorization::None => {}
        Authorization::Iam => line += ", IAM",
        Authorization::Authorizer { name, scopes } => line += &format!(", {name} {scopes:?}"),
    }
    if route.api_key_required {
        line += ", key";
    }
    if !route.required_parameters.is_empty() {
        line += &format!(", requires {}", route.required_parameters.join(" "));
    }
    if let Some(name) = &route.operation_name {
        line += &format!(", named {name}");
    }
    if !route.hosts.is_empty() {
        line += &format!(", hosts {}", route.hosts.join(" "));
    }
    if route.responds {
        line += ", responds";
    }
    line
}

/// `LINE Status Property text`
pub fn findings(builder: &Builder) -> Vec<String> {
    let line = |finding: &super::Finding| {
        format!("{} {:?} {} {}", finding.line, finding.status, finding.property, finding.text)
    };
    builder.reading.findings.iter().map(line).collect()
}

/// `LINE text`
pub fn problems(builder: &Builder) -> Vec<String> {
    let problems = builder.reading.problems.iter();
    problems.map(|problem| format!("{} {}", problem.line.unwrap_or(0), problem.text)).collect()
}
