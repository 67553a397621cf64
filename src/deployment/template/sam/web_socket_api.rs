//! `AWS::Serverless::WebSocketApi`.

use std::time::Duration;

use super::super::super::Severity;
use super::super::authorizer::source;
use super::super::section::Section;
use super::super::{Builder, Resource, Stack, Status, reference};
use super::http_api;
use super::{domain, table, throttle};
use crate::api::{
    Api, Authorization, Authorizer, AuthorizerKind, Integration, IntegrationKind, Kind, LambdaAuthorizer,
    PayloadVersion, Route,
};

const CONNECT: &str = "$connect";

pub fn read(stack: &Stack, resource: &Resource, builder: &mut Builder) {
    table::report(resource, &table::WEB_SOCKET_API, builder);
    let properties = Section::properties(resource);
    let Some(mut stage) = http_api::stage(&properties, "default", builder) else { return };
    if stage.is_default() {
        let text = "`StageName`: a WebSocket API cannot have a stage `$default`";
        return properties.error("StageName", text, builder);
    }
    stage.variables = properties.texts_by_name("StageVariables", builder).into_iter().collect();
    throttle::stage(&properties, &mut stage, builder);
    let mut api = Api::new(&resource.physical_id, &resource.logical_id, Kind::WebSocket);
    api.source = builder.source(resource.line);
    match properties.text("RouteSelectionExpression", builder) {
        Some(expression) => expression.clone_into(&mut api.route_selection_expression),
        None => {
            let text = "`RouteSelectionExpression` is missing: all messages go to `$default`\nhint: \
                        `RouteSelectionExpression: $request.body.action`";
            properties.error("RouteSelectionExpression", text, builder);
        }
    }
    if let Some(routes) = properties.section("Routes", builder) {
        for (key, name, node) in routes.entries() {
            let section = routes.below(name, node);
            if section.is_map(builder)
                && let Some(mut route) = route(stack, resource, name, &section, builder)
            {
                route.source = builder.source(key.line);
                api.routes.push(route);
            }
        }
    }
    if api.routes.is_empty() {
        properties.error("Routes", format!("`{}` has no routes", resource.logical_id), builder);
    }
    authorize(stack, resource, &properties, &mut api, builder);
    api.domains = domain::read(&properties, &stage.name, builder);
    api.execute_api_disabled = properties.boolean("DisableExecuteApiEndpoint", builder).unwrap_or(false);
    api.stages = vec![stage];
    builder.reading.apis.push(api);
}

fn route(
    stack: &Stack,
    resource: &Resource,
    key: &str,
    section: &Section<'_>,
    builder: &mut Builder,
) -> Option<Route> {
    section.only(
        &[
            "ApiKeyRequired",
            "FunctionArn",
            "IntegrationTimeout",
            "ModelSelectionExpression",
            "OperationName",
            "RequestModels",
            "RequestParameters",
            "RouteResponseSelectionExpression",
        ],
        builder,
    );
    let special = ["$connect", "$disconnect", "$default"].contains(&key);
    if !special && (key.is_empty() || !key.chars().all(char::is_alphanumeric)) {
        let text = format!(
            "`{}`: the key of a route must be letters and digits, or one of $connect, $disconnect and $default",
            section.at
        );
        section.error("", text, builder);
        return None;
    }
    let Some(function) = section.text("FunctionArn", builder) else {
        if section.get("FunctionArn").is_none() {
            section.error("", format!("`{}` has no `FunctionArn`", section.at), builder);
        }
        return None;
    };
    let mut integration = match reference::function(stack, function) {
        Ok(function) => Integration::function(&function, PayloadVersion::V1),
        Err(reason) => {
            section.error("FunctionArn", format!("`{}`: {reason}", section.at), builder);
            Integration { kind: IntegrationKind::Missing { reason }, timeout: None }
        }
    };
    let timeout = section.number("IntegrationTimeout", 50, 29_000, builder);
    integration.timeout = timeout.map(|millis| Duration::from_millis(millis as u64));
    let mut route = Route::new("", key, integration);
    route.operation_name = section.text("OperationName", builder).map(str::to_owned);
    route.responds = section.get("RouteResponseSelectionExpression").is_some();
    route.api_key_required = section.boolean("ApiKeyRequired", builder).unwrap_or(false);
    let unchecked = "messages are not checked against models";
    for key in ["ModelSelectionExpression", "RequestModels"] {
        section.finding(key, Status::Ignored, unchecked, resource, builder);
    }
    section.finding("RequestParameters", Status::Ignored, "not asked for", resource, builder);
    Some(route)
}

/// `$connect` alone is asked about: whoever is let in stays.
fn authorize(
    stack: &Stack,
    resource: &Resource,
    properties: &Section<'_>,
    api: &mut Api,
    builder: &mut Builder,
) {
    let Some(auth) = properties.section("Auth", builder) else { return };
    auth.only(&["AuthArn", "AuthType", "IdentitySource", "InvokeRole", "Name"], builder);
    let roles = "functions run as you: there are no roles here";
    auth.finding("InvokeRole", Status::Ignored, roles, resource, builder);
    let Some(connect) = api.routes.iter().position(|route| route.path == CONNECT) else {
        return auth.error("", "`Auth` needs a `$connect` route", builder);
    };
    let asked = match auth.word("AuthType", &["NONE", "AWS_IAM", "CUSTOM"], builder) {
        Some("NONE") => Ok(Authorization::None),
        Some("AWS_IAM") => Ok(Authorization::Iam),
        Some(_) => custom(stack, resource, &auth, builder).map(|authorizer| {
            let name = authorizer.name.clone();
            api.authorizers.insert(name.clone(), authorizer);
            Authorization::Authorizer { name, scopes: Vec::new() }
        }),
        None => Err("`Auth` needs an `AuthType`: NONE, AWS_IAM or CUSTOM".to_owned()),
    };
    match asked {
        Ok(authorization) => api.routes[connect].authorization = authorization,
        // Closed rather than open.
        Err(reason) => {
            builder.problem(Severity::Error, auth.node.line, reason.clone());
            api.routes[connect].integration.kind = IntegrationKind::Missing { reason };
        }
    }
}

fn custom(
    stack: &Stack,
    resource: &Resource,
    auth: &Section<'_>,
    builder: &mut Builder,
) -> Result<Authorizer, String> {
    let function = auth.text("AuthArn", builder).ok_or("`Auth` of type CUSTOM needs an `AuthArn`")?;
    let function =
        reference::function(stack, function).map_err(|reason| format!("`Auth.AuthArn`: {reason}"))?;
    let mut identity = Vec::new();
    for text in auth.texts("IdentitySource", builder).unwrap_or_default() {
        let source = source(&text).map_err(|reason| {
            format!(
                "`Auth.IdentitySource`: {reason}\nhint: there are such as `route.request.querystring.token`"
            )
        })?;
        identity.push(source);
    }
    let name = auth.text("Name", builder).map(str::to_owned);
    let lambda = LambdaAuthorizer {
        function,
        identity,
        validation: None,
        payload: PayloadVersion::V1,
        simple_responses: false,
    };
    Ok(Authorizer {
        name: name.unwrap_or_else(|| format!("{}ConnectAuthorizer", resource.logical_id)),
        kind: AuthorizerKind::Request(lambda),
        // A connection is asked about once.
        ttl: Duration::ZERO,
    })
}
