//! Routes, integrations and authorizers of HTTP and WebSocket APIs.

use std::collections::BTreeMap;

use super::super::sheet::Sheet;
use super::super::{Builder, Resource, Stack, Status, authorizer, integration, reference};
use super::rest::{authorize, key_required, owner, push};
use super::v2::route_key;
use crate::api::{Integration, IntegrationKind, IntegrationResponse, Kind, Route};

const INTEGRATION: &str = "AWS::ApiGatewayV2::Integration";
const AUTHORIZER: &str = "AWS::ApiGatewayV2::Authorizer";

/// Integrations by logical id.
type Integrations = BTreeMap<String, Integration>;

pub fn read(stack: &Stack, builder: &mut Builder) {
    stack.of_kind(AUTHORIZER).for_each(|resource| authorizer(resource, stack, builder));
    let mut integrations = Integrations::new();
    for resource in stack.of_kind(INTEGRATION) {
        let integration = integration(resource, stack, builder);
        integrations.insert(resource.logical_id.clone(), integration);
    }
    for resource in stack.of_kind("AWS::ApiGatewayV2::IntegrationResponse") {
        integration_response(resource, &mut integrations, stack, builder);
    }
    for resource in stack.of_kind("AWS::ApiGatewayV2::Route") {
        route(resource, &integrations, stack, builder);
    }
    for resource in stack.of_kind("AWS::ApiGatewayV2::RouteResponse") {
        route_response(resource, stack, builder);
    }
}

fn authorizer(resource: &Resource, stack: &Stack, builder: &mut Builder) {
    let mut sheet = Sheet::of(resource);
    sheet.text("Name");
    sheet.ignore(&["IdentityValidationExpression"], "is not used by AWS either");
    if let Some(index) = owner(&mut sheet, "ApiId", stack, builder) {
        let (name, kind) = (authorizer::name(resource, stack), builder.reading.apis[index].kind);
        let read = authorizer::read(&mut sheet, &authorizer::V2, name, kind, "Authorization", stack);
        if let Some(read) = read {
            builder.reading.apis[index].authorizers.insert(name.to_owned(), read);
        }
    }
    sheet.finish(builder);
}

fn integration(resource: &Resource, stack: &Stack, builder: &mut Builder) -> Integration {
    let mut sheet = Sheet::of(resource);
    let owner = owner(&mut sheet, "ApiId", stack, builder);
    let kind = owner.map_or(Kind::Http, |index| builder.reading.apis[index].kind);
    sheet.text("Description");
    let integration = integration::read(&mut sheet, &integration::V2, kind, stack);
    let calls = matches!(integration.kind, IntegrationKind::Function { .. });
    if kind == Kind::Http && calls && !sheet.has("PayloadFormatVersion") {
        let text = "`PayloadFormatVersion` is missing, which AWS requires; \"1.0\" is taken for it";
        sheet.warning(resource.line, text);
    }
    if kind == Kind::WebSocket {
        sheet.note("PayloadFormatVersion", Status::Ignored, "the events of a WebSocket API have one form");
        sheet.note("ResponseParameters", Status::Ignored, "is only for HTTP APIs, as on AWS");
    }
    sheet.finish(builder);
    integration
}

/// What a WebSocket API's non-proxy integration answers.
fn integration_response(
    resource: &Resource,
    integrations: &mut Integrations,
    stack: &Stack,
    builder: &mut Builder,
) {
    let mut sheet = Sheet::of(resource);
    owner(&mut sheet, "ApiId", stack, builder);
    let text = sheet.text("IntegrationId").unwrap_or_default();
    let integration = reference::of_kind(stack, INTEGRATION, text)
        .and_then(|resource| integrations.get_mut(&resource.logical_id));
    let key = sheet.text("IntegrationResponseKey").unwrap_or("$default");
    let mut templates = sheet.map("ResponseTemplates");
    let expression = sheet.text("TemplateSelectionExpression").unwrap_or("$default");
    templates = integration::selected(&mut sheet, "TemplateSelectionExpression", expression, templates);
    let parameters = sheet.map("ResponseParameters");
    sheet.different("ContentHandlingStrategy", "bodies are passed on as they are");
    let pattern = key.strip_prefix('/').and_then(|key| key.strip_suffix('/'));
    if let Some(Err(_)) = pattern.map(regex::Regex::new) {
        sheet.refuse("IntegrationResponseKey", "is no expression that can be used, and matches nothing");
    }
    match integration.map(|integration| &mut integration.kind) {
        Some(IntegrationKind::Mapped(mapped)) => mapped.responses.push(IntegrationResponse {
            pattern: pattern.map(|pattern| match regex::Regex::new(pattern) {
                Ok(_) => pattern.to_owned(),
                Err(_) => integration::NOTHING.to_owned(),
            }),
            status: 200,
            parameters,
            templates,
        }),
        Some(_) => sheet.whole(Status::Ignored, "its integration passes answers on as they are"),
        None => {
            let reason = format!("`{text}` is no integration of this template");
            sheet.refuse("IntegrationId", &reason);
            sheet.whole(Status::Ignored, &reason);
        }
    }
    sheet.finish(builder);
}

fn route(resource: &Resource, integrations: &Integrations, stack: &Stack, builder: &mut Builder) {
    let mut sheet = Sheet::of(resource);
    let owner = owner(&mut sheet, "ApiId", stack, builder);
    let key = sheet.text("RouteKey").unwrap_or_default();
    let integration = target(&mut sheet, resource, integrations, stack);
    let responds = sheet.text("RouteResponseSelectionExpression").is_some_and(|text| !text.is_empty());
    let operation_name = sheet.text("OperationName").map(str::to_owned);
    let api_key_required = key_required(&mut sheet);
    let kind = authorizer::kind(&mut sheet);
    let authorizer = sheet.text("AuthorizerId").map(|text| {
        let resource = reference::of_kind(stack, AUTHORIZER, text);
        resource.map_or(text, |resource| authorizer::name(resource, stack))
    });
    let scopes = sheet.list("AuthorizationScopes");
    sheet.different("RequestModels", "messages are not checked against their models yet");
    sheet.different("ModelSelectionExpression", "messages are not checked against their models yet");
    sheet.different("RequestParameters", "parameters are not checked");
    if let Some(index) = owner {
        let api = &mut builder.reading.apis[index];
        let web_socket = api.kind == Kind::WebSocket;
        let parsed = match web_socket {
            true if key.is_empty() => Err("`RouteKey` is missing".to_owned()),
            true => Ok((String::new(), key.to_owned())),
            false => route_key(key),
        };
        match parsed {
            Ok((method, path)) => {
                let mut route = Route::new(&method, &path, integration);
                route.source = crate::api::Source { path: builder.path.clone(), line: Some(resource.line) };
                route.responds = responds;
                route.operation_name = operation_name;
                route.api_key_required = api_key_required;
                if !web_socket {
                    let text = "is only for WebSocket APIs, as on AWS";
                    sheet.note("RouteResponseSelectionExpression", Status::Ignored, text);
                    sheet.note("ApiKeyRequired", Status::Ignored, text);
                    (route.responds, route.api_key_required) = (false, false);
                } else if key != "$connect" && !matches!(kind.to_ascii_uppercase().as_str(), "" | "NONE") {
                    let text =
                        "only `$connect` can ask for an authorizer, as on AWS; whoever is connected may send";
                    sheet.error(sheet.line_of("AuthorizationType"), text);
                }
                let authorization = authorizer::authorization(kind, authorizer, scopes, api);
                authorize(&mut route, &mut sheet, authorization);
                push(route, &mut sheet, api);
            }
            Err(reason) => {
                sheet.refuse("RouteKey", &reason);
                sheet.whole(Status::Ignored, &reason);
            }
        }
    }
    sheet.finish(builder);
}

/// `integrations/ID`
fn target(
    sheet: &mut Sheet<'_>,
    resource: &Resource,
    integrations: &Integrations,
    stack: &Stack,
) -> Integration {
    let missing = |reason: String| Integration { kind: IntegrationKind::Missing { reason }, timeout: None };
    let Some(text) = sheet.text("Target") else {
        let reason = "the route has no `Target`".to_owned();
        sheet.error(resource.line, format!("{reason}; it should be `integrations/ID`"));
        return missing(reason);
    };
    let id = text.strip_prefix("integrations/").unwrap_or(text);
    let found = reference::of_kind(stack, INTEGRATION, id);
    match found.and_then(|resource| integrations.get(&resource.logical_id)) {
        Some(integration) => integration.clone(),
        None => {
            let reason = format!("`{text}` is no integration of this template");
            sheet.refuse("Target", &reason);
            missing(reason)
        }
    }
}

/// That a route answers is said by the route itself.
fn route_response(resource: &Resource, stack: &Stack, builder: &mut Builder) {
    let mut sheet = Sheet::of(resource);
    let owner = owner(&mut sheet, "ApiId", stack, builder);
    let id = sheet.text("RouteId").unwrap_or_default();
    sheet.text("RouteResponseKey");
    sheet.ignore(&["ResponseModels", "ModelSelectionExpression"], "answers are not checked");
    sheet.ignore(&["ResponseParameters"], "a message has no parameters");
    let route = reference::of_kind(stack, "AWS::ApiGatewayV2::Route", id);
    match route {
        None => {
            let reason = format!("`{id}` is no route of this template");
            sheet.refuse("RouteId", &reason);
            sheet.whole(Status::Ignored, &reason);
        }
        Some(route)
            if owner.is_some() && route.properties.get("RouteResponseSelectionExpression").is_none() =>
        {
            let text = format!(
                "`{}` does not answer: it has no `RouteResponseSelectionExpression: $default`, as on AWS",
                route.logical_id
            );
            sheet.warning(resource.line, &text);
            sheet.whole(Status::Ignored, &text);
        }
        Some(_) => {}
    }
    sheet.finish(builder);
}
