//! Routes that an OpenAPI document describes, with `x-amazon-apigateway-integration`: OpenAPI 3.0,
//! and Swagger 2.0 for REST APIs.

mod operation;
mod security;

use std::collections::BTreeMap;

use super::super::yaml::Node;
use super::sheet::Sheet;
use super::{Builder, Stack, Status};
use crate::api::{Api, ApiKeySource, Cors, GatewayResponse, Kind};

/// References within a document lead no further than this.
const DEPTH: usize = 16;

const DESCRIBES: &str = "describes; nothing is checked by it";

/// Adds what the document describes to the API. `definition`: resolved, from `DefinitionBody` or a file.
pub fn read(definition: &Node, stack: &Stack, api: &mut Api, builder: &mut Builder) {
    let kind = stack.resource(&api.name).map_or("OpenAPI", |resource| resource.kind.as_str()).to_owned();
    let name = api.name.clone();
    let mut sheet = Sheet::inner((&name, &kind), "openapi:", definition);
    version(&mut sheet, definition, api);
    let document = Document { root: definition };
    settings(&mut sheet, api);
    let schemes = security::read(&mut sheet, document, api, stack);
    operation::read(&mut sheet, document, &schemes, api, builder, stack);
    sheet.ignore(
        &["info", "tags", "externalDocs", "definitions", "parameters", "responses", "components"],
        DESCRIBES,
    );
    sheet.ignore(&["servers", "host", "schemes", "basePath"], "an API is where its stages are");
    sheet.ignore(&["consumes", "produces", "webhooks", "jsonSchemaDialect"], DESCRIBES);
    sheet.finish(builder);
}

/// A document, for references within it.
#[derive(Clone, Copy)]
struct Document<'a> {
    root: &'a Node,
}

impl<'a> Document<'a> {
    /// What a node says, or what its `$ref` leads to: `#/components/parameters/Page`.
    fn follow(self, node: &'a Node) -> Result<&'a Node, String> {
        let mut node = node;
        for _ in 0..DEPTH {
            let Some(reference) = node.get("$ref").and_then(Node::text) else { return Ok(node) };
            let missing = || format!("`{reference}` is not in the document");
            let path = reference.strip_prefix("#/").ok_or_else(missing)?;
            node = self.root;
            for step in path.split('/') {
                node = node.get(&step.replace("~1", "/").replace("~0", "~")).ok_or_else(missing)?;
            }
        }
        Err("its `$ref` leads in a circle".to_owned())
    }
}

fn version(sheet: &mut Sheet<'_>, definition: &Node, api: &Api) {
    let openapi = sheet.text("openapi");
    let swagger = sheet.text("swagger");
    match (openapi, swagger) {
        (Some(version), _) if version.starts_with("3.") => {}
        (_, Some("2.0")) if api.kind == Kind::Rest => {}
        (_, Some("2.0")) => {
            let text = "an HTTP API is described by OpenAPI 3.0, as on AWS, not by Swagger 2.0; it is read all the same";
            sheet.warning(sheet.line_of("swagger"), text);
        }
        (Some(version), _) | (None, Some(version)) => {
            let text = format!("`{version}` is no version of OpenAPI that is known; it is read as 3.0");
            sheet.warning(definition.line, text);
        }
        (None, None) if definition.mapping().is_some() => {
            sheet
                .warning(definition.line, "the definition does not say `openapi: 3.0.1`; it is read as that");
        }
        (None, None) => {}
    }
}

/// What is said of the API as a whole.
fn settings(sheet: &mut Sheet<'_>, api: &mut Api) {
    let kinds = sheet.list("x-amazon-apigateway-binary-media-types");
    for kind in kinds.into_iter().map(|kind| kind.replace("~1", "/")) {
        if !api.binary_media_types.contains(&kind) {
            api.binary_media_types.push(kind);
        }
    }
    match sheet.choice("x-amazon-apigateway-api-key-source", &["HEADER", "AUTHORIZER"]) {
        Some("AUTHORIZER") => api.api_key_source = ApiKeySource::Authorizer,
        Some(_) => api.api_key_source = ApiKeySource::Header,
        None => {}
    }
    if let Some(value) = sheet.take("x-amazon-apigateway-gateway-responses") {
        for (key, value) in value.mapping().unwrap_or_default() {
            gateway_response(sheet, key, value, api);
        }
    }
    if let Some(mut inner) = sheet.within("x-amazon-apigateway-cors") {
        api.cors = Some(cors(&mut inner));
        sheet.take_over(inner);
        if api.kind != Kind::Http {
            api.cors = None;
            sheet.note("x-amazon-apigateway-cors", Status::Ignored, "is only for HTTP APIs, as on AWS");
        }
    }
    if let Some(mut inner) = sheet.within("x-amazon-apigateway-endpoint-configuration") {
        api.execute_api_disabled |= inner.boolean("disableExecuteApiEndpoint").unwrap_or(false);
        inner.ignore(&["types", "vpcEndpointIds", "ipAddressType"], "means nothing on one's own machine");
        sheet.take_over(inner);
    }
    sheet
        .different("x-amazon-apigateway-policy", "resource policies are not enforced: every caller may pass");
    sheet.different("x-amazon-apigateway-minimum-compression-size", "answers are not compressed");
    let others = [
        "x-amazon-apigateway-documentation",
        "x-amazon-apigateway-endpoint-access-mode",
        "x-amazon-apigateway-importexport-version",
        "x-amazon-apigateway-security-policy",
        "x-amazon-apigateway-tag-value",
    ];
    sheet.ignore(&others, "means nothing on one's own machine");
}

fn gateway_response(sheet: &mut Sheet<'_>, key: &Node, value: &'_ Node, api: &mut Api) {
    let kind = key.text().unwrap_or_default().to_ascii_uppercase();
    if !GatewayResponse::TYPES.contains(&&*kind) {
        sheet.error(key.line, format!("`{kind}` is no type of gateway response"));
        return;
    }
    let number = |name: &str| value.get(name).and_then(Node::number);
    let status = number("statusCode").and_then(|code| u16::try_from(code).ok());
    if value.get("statusCode").is_some_and(|node| !node.is_null()) && status.is_none() {
        sheet.error(key.line, format!("`statusCode` of `{kind}` must be a status code such as `401`"));
    }
    let texts = |name: &str| {
        let entries = value.get(name).and_then(Node::mapping).unwrap_or_default().iter();
        let texts =
            entries.filter_map(|(key, value)| Some((key.text()?.to_owned(), value.text()?.to_owned())));
        texts.collect::<BTreeMap<String, String>>()
    };
    let (parameters, templates) = (texts("responseParameters"), texts("responseTemplates"));
    api.gateway_responses.insert(kind, GatewayResponse { status, parameters, templates });
}

fn cors(sheet: &mut Sheet<'_>) -> Cors {
    Cors {
        allow_origins: sheet.list("allowOrigins"),
        allow_methods: sheet.list("allowMethods"),
        allow_headers: sheet.list("allowHeaders"),
        expose_headers: sheet.list("exposeHeaders"),
        max_age: sheet
            .number("maxAge", -1..=86_400, "a number of seconds from -1 to 86400")
            .and_then(|seconds| u32::try_from(seconds).ok()),
        allow_credentials: sheet.boolean("allowCredentials").unwrap_or(false),
    }
}

#[cfg(test)]
mod tests;
