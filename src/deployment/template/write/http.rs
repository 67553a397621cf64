//! HTTP and WebSocket APIs as `AWS::ApiGatewayV2::*`.

use serde_json::{Map, Value, json};

use super::{Writer, logical_id};
use crate::api::{
    Api, Authorization, Authorizer, AuthorizerKind, IdentitySource, Integration, IntegrationKind, Kind,
    ParameterMapping, PayloadVersion, Route, Stage, Throttle,
};

pub fn write(writer: &mut Writer, api: &Api, routes: &[&Route]) {
    let id = writer.free_id(&logical_id(&api.name));
    let is_socket = api.kind == Kind::WebSocket;
    let mut properties = json!({
        "Name": api.name,
        "ProtocolType": if is_socket { "WEBSOCKET" } else { "HTTP" },
    });
    if is_socket {
        properties["RouteSelectionExpression"] = api.route_selection_expression.as_str().into();
    }
    if let Some(cors) = &api.cors {
        properties["CorsConfiguration"] = cors.properties();
    }
    if api.execute_api_disabled {
        properties["DisableExecuteApiEndpoint"] = true.into();
    }
    writer.add(&id, "AWS::ApiGatewayV2::Api", properties);
    for authorizer in api.authorizers.values() {
        write_authorizer(writer, &id, api.kind, authorizer);
    }
    let mut integrations: Vec<(&Integration, String)> = Vec::new();
    for (index, route) in routes.iter().enumerate() {
        let known = integrations.iter().find(|(known, _)| **known == route.integration);
        let integration = match known {
            Some((_, name)) => name.clone(),
            None => {
                let name = format!("{id}Integration{}", integrations.len() + 1);
                if !write_integration(writer, &id, &name, api, route) {
                    continue;
                }
                integrations.push((&route.integration, name.clone()));
                name
            }
        };
        let mut properties = json!({
            "ApiId": {"Ref": id},
            "RouteKey": route.key(),
            "Target": {"Fn::Sub": format!("integrations/${{{integration}}}")},
        });
        authorization(&mut properties, &id, api, &route.authorization);
        if route.responds {
            properties["RouteResponseSelectionExpression"] = "$default".into();
        }
        let name = format!("{id}Route{}", index + 1);
        writer.add(&name, "AWS::ApiGatewayV2::Route", properties);
        if route.responds {
            let response =
                json!({"ApiId": {"Ref": id}, "RouteId": {"Ref": name}, "RouteResponseKey": "$default"});
            writer.add(&format!("{name}Response"), "AWS::ApiGatewayV2::RouteResponse", response);
        }
    }
    for stage in &api.stages {
        write_stage(writer, &id, stage);
    }
}

fn write_integration(writer: &mut Writer, api_id: &str, name: &str, api: &Api, route: &Route) -> bool {
    let mut properties = json!({"ApiId": {"Ref": api_id}});
    match &route.integration.kind {
        IntegrationKind::Function { function, payload, request, responses, .. } => {
            properties["IntegrationType"] = "AWS_PROXY".into();
            properties["IntegrationUri"] = writer.invocation_uri(function, false);
            if api.kind == Kind::Http {
                let version = if *payload == PayloadVersion::V1 { "1.0" } else { "2.0" };
                properties["PayloadFormatVersion"] = version.into();
            }
            mappings(&mut properties, request, responses);
            writer.permission(function, "apigateway.amazonaws.com");
        }
        IntegrationKind::Http(http) => {
            properties["IntegrationType"] = "HTTP_PROXY".into();
            properties["IntegrationMethod"] = http.method.as_str().into();
            properties["IntegrationUri"] = http.url.as_str().into();
            if api.kind == Kind::Http {
                properties["PayloadFormatVersion"] = "1.0".into();
            }
            mappings(&mut properties, &http.request, &http.responses);
        }
        IntegrationKind::Mapped(mapped) if mapped.function.is_none() => {
            properties["IntegrationType"] = "MOCK".into();
            properties["RequestTemplates"] = json!(mapped.request_templates);
        }
        IntegrationKind::Mapped(_) | IntegrationKind::Missing { .. } => {
            writer.left_out.push(format!(
                "{} {}: its integration has no form in a template",
                api.name,
                route.key()
            ));
            return false;
        }
    }
    if let Some(timeout) = route.integration.timeout {
        properties["TimeoutInMillis"] = (timeout.as_millis() as u64).into();
    }
    writer.add(name, "AWS::ApiGatewayV2::Integration", properties);
    true
}

fn mappings(
    properties: &mut Value,
    request: &ParameterMapping,
    responses: &std::collections::BTreeMap<String, ParameterMapping>,
) {
    if !request.is_empty() {
        properties["RequestParameters"] = json!(request);
    }
    let mut by_status = Map::new();
    for (status, mapping) in responses {
        let parameters: Vec<Value> = mapping
            .iter()
            .map(|(destination, source)| json!({"Destination": destination, "Source": source}))
            .collect();
        by_status.insert(status.clone(), json!({ "ResponseParameters": parameters }));
    }
    if !by_status.is_empty() {
        properties["ResponseParameters"] = by_status.into();
    }
}

fn authorization(properties: &mut Value, api_id: &str, api: &Api, authorization: &Authorization) {
    match authorization {
        Authorization::None => {}
        Authorization::Iam => properties["AuthorizationType"] = "AWS_IAM".into(),
        Authorization::Authorizer { name, scopes } => {
            let kind = api.authorizers.get(name).map(|authorizer| &authorizer.kind);
            let is_jwt = matches!(kind, Some(AuthorizerKind::Jwt(_)));
            properties["AuthorizationType"] = if is_jwt { "JWT" } else { "CUSTOM" }.into();
            properties["AuthorizerId"] = json!({"Ref": format!("{api_id}{}", logical_id(name))});
            if !scopes.is_empty() {
                properties["AuthorizationScopes"] = json!(scopes);
            }
        }
    }
}

fn write_authorizer(writer: &mut Writer, api_id: &str, kind: Kind, authorizer: &Authorizer) {
    let mut properties = json!({"ApiId": {"Ref": api_id}, "Name": authorizer.name});
    match &authorizer.kind {
        AuthorizerKind::Jwt(jwt) | AuthorizerKind::Cognito(jwt) => {
            properties["AuthorizerType"] = "JWT".into();
            properties["IdentitySource"] = json!(identity(&jwt.identity, kind));
            properties["JwtConfiguration"] = json!({"Issuer": jwt.issuer, "Audience": jwt.audience});
        }
        AuthorizerKind::Token(lambda) | AuthorizerKind::Request(lambda) => {
            properties["AuthorizerType"] = "REQUEST".into();
            properties["AuthorizerUri"] = writer.invocation_uri(&lambda.function, false);
            properties["IdentitySource"] = json!(identity(&lambda.identity, kind));
            if kind == Kind::Http {
                let version = if lambda.payload == PayloadVersion::V1 { "1.0" } else { "2.0" };
                properties["AuthorizerPayloadFormatVersion"] = version.into();
                properties["EnableSimpleResponses"] = lambda.simple_responses.into();
                properties["AuthorizerResultTtlInSeconds"] = authorizer.ttl.as_secs().into();
            }
            writer.permission(&lambda.function, "apigateway.amazonaws.com");
        }
    }
    let name = format!("{api_id}{}", logical_id(&authorizer.name));
    writer.add(&name, "AWS::ApiGatewayV2::Authorizer", properties);
}

fn identity(sources: &[IdentitySource], kind: Kind) -> Vec<String> {
    let prefix = if kind == Kind::WebSocket { "route" } else { "$" };
    sources
        .iter()
        .map(|source| match (source, kind) {
            (IdentitySource::Header(name), Kind::WebSocket) => format!("{prefix}.request.header.{name}"),
            (IdentitySource::Query(name), Kind::WebSocket) => format!("{prefix}.request.querystring.{name}"),
            (IdentitySource::StageVariable(name), Kind::WebSocket) => format!("stageVariables.{name}"),
            (IdentitySource::Context(name), Kind::WebSocket) => format!("context.{name}"),
            (IdentitySource::Header(name), _) => format!("$request.header.{name}"),
            (IdentitySource::Query(name), _) => format!("$request.querystring.{name}"),
            (IdentitySource::StageVariable(name), _) => format!("$stageVariables.{name}"),
            (IdentitySource::Context(name), _) => format!("$context.{name}"),
        })
        .collect()
}

fn write_stage(writer: &mut Writer, api_id: &str, stage: &Stage) {
    let mut properties = json!({"ApiId": {"Ref": api_id}, "StageName": stage.name, "AutoDeploy": true});
    if !stage.variables.is_empty() {
        properties["StageVariables"] = json!(stage.variables);
    }
    let settings = |throttle: &Throttle| json!({"ThrottlingRateLimit": throttle.rate, "ThrottlingBurstLimit": throttle.burst});
    if let Some(throttle) = &stage.throttle {
        properties["DefaultRouteSettings"] = settings(throttle);
    }
    if !stage.route_throttles.is_empty() {
        let routes: Map<String, Value> =
            stage.route_throttles.iter().map(|(key, throttle)| (key.clone(), settings(throttle))).collect();
        properties["RouteSettings"] = routes.into();
    }
    let name = format!("{api_id}{}Stage", logical_id(&stage.name));
    writer.add(&name, "AWS::ApiGatewayV2::Stage", properties);
}
