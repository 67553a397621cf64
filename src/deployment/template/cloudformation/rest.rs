//! `AWS::ApiGateway::*`: a REST API is a tree of resources whose methods have integrations.

use std::collections::HashMap;

use super::super::sheet::Sheet;
use super::super::{Builder, Resource, Stack, Status, authorizer, integration, openapi, reference};
use super::begin;
use crate::api::{
    Api, ApiKeySource, Authorization, GatewayResponse, Integration, IntegrationKind, Kind, Route,
};

const RESOURCE: &str = "AWS::ApiGateway::Resource";
const AUTHORIZER: &str = "AWS::ApiGateway::Authorizer";
const VALIDATOR: &str = "AWS::ApiGateway::RequestValidator";

const METHODS: [&str; 8] = ["ANY", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"];

/// A path has no more segments than this; more would be a circle.
const DEPTH: usize = 100;

/// `AWS::ApiGateway::RestApi`
pub fn api(resource: &Resource, stack: &Stack, builder: &mut Builder) {
    let mut sheet = Sheet::of(resource);
    let mut api = begin(resource, Kind::Rest, builder);
    sheet.text("Name");
    sheet.text("Description");
    api.binary_media_types =
        sheet.list("BinaryMediaTypes").into_iter().map(|kind| kind.replace("~1", "/")).collect();
    if sheet.choice("ApiKeySourceType", &["HEADER", "AUTHORIZER"]) == Some("AUTHORIZER") {
        api.api_key_source = ApiKeySource::Authorizer;
    }
    api.execute_api_disabled = sheet.boolean("DisableExecuteApiEndpoint").unwrap_or(false);
    sheet.refuse("BodyS3Location", super::IN_S3);
    sheet.refuse("CloneFrom", "another API cannot be copied; give its definition in `Body`");
    sheet.different("MinimumCompressionSize", "answers are not compressed");
    sheet.different("Policy", "resource policies are not enforced: every caller may pass");
    let elsewhere = ["EndpointConfiguration", "EndpointAccessMode", "SecurityPolicy", "Parameters", "Tags"];
    sheet.ignore(&elsewhere, "means nothing on one's own machine");
    sheet.ignore(&["Mode", "FailOnWarnings"], "the definition is read as it stands");
    if let Some(body) = sheet.take("Body") {
        openapi::read(body, stack, &mut api, builder);
    }
    sheet.finish(builder);
    builder.reading.apis.push(api);
}

/// All that belongs to REST APIs.
pub fn read(stack: &Stack, builder: &mut Builder) {
    stack.of_kind(AUTHORIZER).for_each(|resource| authorizer(resource, stack, builder));
    stack.of_kind(RESOURCE).for_each(|resource| place(resource, stack, builder));
    let mut validators = HashMap::new();
    for resource in stack.of_kind(VALIDATOR) {
        validators.insert(resource.logical_id.as_str(), validator(resource, stack, builder));
    }
    for resource in stack.of_kind("AWS::ApiGateway::Method") {
        method(resource, &validators, stack, builder);
    }
    for resource in stack.of_kind("AWS::ApiGateway::GatewayResponse") {
        gateway_response(resource, stack, builder);
    }
}

/// The API that a resource belongs to.
pub fn owner(sheet: &mut Sheet<'_>, name: &'static str, stack: &Stack, builder: &Builder) -> Option<usize> {
    let text = sheet.text(name).unwrap_or_default();
    let index = reference::api(stack, builder, text);
    if index.is_none() {
        let what = match text {
            "" => format!("`{name}` is missing: it belongs to no API"),
            text => format!("`{name}`: `{text}` is no API of this template"),
        };
        sheet.error(sheet.line_of(name), &what);
        sheet.whole(Status::Ignored, &what);
    }
    index
}

fn authorizer(resource: &Resource, stack: &Stack, builder: &mut Builder) {
    let mut sheet = Sheet::of(resource);
    sheet.text("Name");
    sheet.ignore(&["AuthType"], "is only for exported definitions");
    if let Some(index) = owner(&mut sheet, "RestApiId", stack, builder) {
        let name = authorizer::name(resource, stack);
        let header = "Authorization";
        if let Some(read) = authorizer::read(&mut sheet, &authorizer::REST, name, Kind::Rest, header, stack) {
            builder.reading.apis[index].authorizers.insert(name.to_owned(), read);
        }
    }
    sheet.finish(builder);
}

/// `AWS::ApiGateway::Resource`: a segment of a path. What it leads to is found from the methods.
fn place(resource: &Resource, stack: &Stack, builder: &mut Builder) {
    let mut sheet = Sheet::of(resource);
    owner(&mut sheet, "RestApiId", stack, builder);
    sheet.text("ParentId");
    sheet.text("PathPart");
    if let Err(reason) = path(&resource.logical_id, stack, DEPTH) {
        sheet.error(resource.line, &reason);
        sheet.whole(Status::Ignored, &reason);
    }
    sheet.finish(builder);
}

/// The path of a resource: `/users/{id}`; empty for the root.
fn path(text: &str, stack: &Stack, depth: usize) -> Result<String, String> {
    if is_root(text, stack) {
        return Ok(String::new());
    }
    let resource = reference::of_kind(stack, RESOURCE, text);
    let resource = resource.ok_or_else(|| format!("`{text}` is no resource of an API in this template"))?;
    if depth == 0 {
        return Err("its `ParentId` leads in a circle".to_owned());
    }
    let said = |name: &str| resource.properties.get(name).and_then(|node| node.text());
    let part = said("PathPart").unwrap_or_default().trim_matches('/');
    let parent = said("ParentId").unwrap_or_default();
    if part.is_empty() || parent.is_empty() {
        return Err(format!("`{}` needs `PathPart` and `ParentId`", resource.logical_id));
    }
    Ok(format!("{}/{part}", path(parent, stack, depth - 1)?))
}

/// What `!GetAtt Api.RootResourceId` comes to, or a text that plainly means it.
fn is_root(text: &str, stack: &Stack) -> bool {
    let id = text.strip_suffix("/root").or_else(|| text.strip_suffix(".RootResourceId")).unwrap_or(text);
    stack.resources.iter().any(|resource| {
        let root = || stack.id(&format!("{}#root", resource.logical_id));
        resource.kind.ends_with("Api")
            && (resource.physical_id == id || resource.logical_id == id || root() == id)
    }) || text.ends_with("/root")
        || text.ends_with("RootResourceId")
}

/// Whether parameters are checked.
fn validator(resource: &Resource, stack: &Stack, builder: &mut Builder) -> bool {
    let mut sheet = Sheet::of(resource);
    owner(&mut sheet, "RestApiId", stack, builder);
    sheet.text("Name");
    let parameters = sheet.boolean("ValidateRequestParameters").unwrap_or(false);
    if sheet.boolean("ValidateRequestBody") == Some(true) {
        sheet.different("ValidateRequestBody", "bodies are not checked against their models yet");
    }
    sheet.finish(builder);
    parameters
}

fn method(resource: &Resource, validators: &HashMap<&str, bool>, stack: &Stack, builder: &mut Builder) {
    let mut sheet = Sheet::of(resource);
    let owner = owner(&mut sheet, "RestApiId", stack, builder);
    let place = sheet.text("ResourceId").unwrap_or_default();
    let path = path(place, stack, DEPTH);
    if let Err(reason) = &path {
        sheet.refuse("ResourceId", reason);
    }
    let method = sheet.choice("HttpMethod", &METHODS);
    let integration = match sheet.within("Integration") {
        Some(mut inner) => {
            let integration = integration::read(&mut inner, &integration::REST, Kind::Rest, stack);
            sheet.take_over(inner);
            integration
        }
        None => {
            let reason = "the method has no `Integration`".to_owned();
            sheet.error(resource.line, format!("{reason}; AWS would refuse to deploy it"));
            Integration { kind: IntegrationKind::Missing { reason }, timeout: None }
        }
    };
    let api_key_required = key_required(&mut sheet);
    let operation_name = sheet.text("OperationName").map(str::to_owned);
    let required = required(&mut sheet);
    let validates = sheet.text("RequestValidatorId").is_some_and(|text| {
        let resource = reference::of_kind(stack, VALIDATOR, text);
        resource.and_then(|resource| validators.get(resource.logical_id.as_str())).copied().unwrap_or(false)
    });
    if !required.is_empty() && !validates {
        let text = "nothing is required: no `RequestValidatorId` asks for it, as on AWS";
        sheet.note("RequestParameters", Status::Supported, text);
    }
    sheet.different("RequestModels", "bodies are not checked against their models yet");
    sheet.ignore(&["MethodResponses"], "a route's responses need no declaration here");
    let kind = authorizer::kind(&mut sheet);
    let authorizer = sheet.text("AuthorizerId").map(|text| {
        let resource = reference::of_kind(stack, AUTHORIZER, text);
        resource.map_or(text, |resource| authorizer::name(resource, stack))
    });
    let scopes = sheet.list("AuthorizationScopes");
    if let (Some(index), Ok(path), Some(method)) = (owner, path, method) {
        let path = if path.is_empty() { "/" } else { &path };
        let mut route = Route::new(method, path, integration);
        route.source = builder.source(resource.line);
        route.api_key_required = api_key_required;
        route.operation_name = operation_name;
        route.required_parameters = if validates { required } else { Vec::new() };
        let api = &mut builder.reading.apis[index];
        authorize(&mut route, &mut sheet, authorizer::authorization(kind, authorizer, scopes, api));
        push(route, &mut sheet, api);
    } else {
        sheet.whole(Status::Ignored, "it could not be told which route this is");
    }
    sheet.finish(builder);
}

/// What is neither true nor false does not open a route.
pub fn key_required(sheet: &mut Sheet<'_>) -> bool {
    let said = sheet.boolean("ApiKeyRequired");
    said.unwrap_or(sheet.take("ApiKeyRequired").is_some())
}

/// A route whose authorizer is not there is never open: it answers with an error.
pub fn authorize(route: &mut Route, sheet: &mut Sheet<'_>, authorization: Result<Authorization, String>) {
    match authorization {
        Ok(authorization) => route.authorization = authorization,
        Err(reason) => {
            sheet.error(sheet.line_of("AuthorizerId"), format!("nobody can pass: {reason}"));
            sheet.note("AuthorizerId", Status::Ignored, &reason);
            route.integration.kind = IntegrationKind::Missing { reason };
        }
    }
}

/// A route is there once.
pub fn push(route: Route, sheet: &mut Sheet<'_>, api: &mut Api) {
    match api.routes.iter().find(|known| known.key() == route.key()) {
        None => api.routes.push(route),
        Some(known) => {
            let line = known.source.line.unwrap_or(0);
            let text = format!("`{}` of `{}` is there already, since line {line}", route.key(), api.name);
            sheet.error(sheet.line_of(""), &text);
            sheet.whole(Status::Ignored, &text);
        }
    }
}

/// `method.request.querystring.page: true`, or with `Required` in it.
fn required(sheet: &mut Sheet<'_>) -> Vec<String> {
    let Some(value) = sheet.take("RequestParameters") else { return Vec::new() };
    let Some(entries) = value.mapping() else {
        sheet.expected("RequestParameters", value, "a map such as `method.request.header.X: true`");
        return Vec::new();
    };
    let mut required = Vec::new();
    for (key, value) in entries {
        match (key.text(), value.boolean().or_else(|| value.get("Required").and_then(|r| r.boolean()))) {
            (Some(name), Some(true)) => required.push(name.to_owned()),
            (Some(_), Some(false)) => {}
            _ => sheet.expected("RequestParameters", value, "a map of parameters and true or false"),
        }
    }
    required
}

fn gateway_response(resource: &Resource, stack: &Stack, builder: &mut Builder) {
    let mut sheet = Sheet::of(resource);
    let owner = owner(&mut sheet, "RestApiId", stack, builder);
    let kind = sheet.text("ResponseType").map(str::to_ascii_uppercase);
    let response = GatewayResponse {
        status: sheet.number("StatusCode", 100..=599, "a status code such as `401`").map(|code| code as u16),
        parameters: sheet.map("ResponseParameters"),
        templates: sheet.map("ResponseTemplates"),
    };
    match (owner, kind) {
        (Some(index), Some(kind)) if GatewayResponse::TYPES.contains(&&*kind) => {
            builder.reading.apis[index].gateway_responses.insert(kind, response);
        }
        (Some(_), kind) => {
            let kind = kind.unwrap_or_default();
            sheet.refuse("ResponseType", &format!("`{kind}` is no type of gateway response"));
        }
        (None, _) => {}
    }
    sheet.finish(builder);
}
