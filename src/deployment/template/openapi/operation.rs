//! Paths and their methods -> routes.

use std::collections::BTreeMap;

use super::super::super::yaml::Node;
use super::super::sheet::Sheet;
use super::super::{Builder, Stack, Status, integration};
use super::security::Schemes;
use super::{DESCRIBES, Document};
use crate::api::{
    Api, Authorization, DEFAULT_STAGE, Integration, IntegrationKind, Kind, PayloadVersion, Route,
};

const METHODS: [&str; 8] =
    ["get", "put", "post", "delete", "options", "head", "patch", "x-amazon-apigateway-any-method"];

const INTEGRATION: &str = "x-amazon-apigateway-integration";
const VALIDATOR: &str = "x-amazon-apigateway-request-validator";

/// What all operations of a document share.
struct Common<'a, 's> {
    document: Document<'a>,
    schemes: &'s Schemes<'a>,
    /// Name -> whether parameters are checked.
    validators: BTreeMap<String, bool>,
    validator: Option<String>,
}

pub fn read<'a>(
    sheet: &mut Sheet<'a>,
    document: Document<'a>,
    schemes: &Schemes<'a>,
    api: &mut Api,
    builder: &Builder,
    stack: &Stack,
) {
    let validators = validators(sheet);
    let validator = sheet.text(VALIDATOR).map(str::to_owned);
    let common = Common { document, schemes, validators, validator };
    let Some(paths) = sheet.take("paths") else {
        sheet.warning(sheet.line_of(""), "the definition has no `paths`");
        return;
    };
    if paths.mapping().is_none() {
        sheet.expected("paths", paths, "a map such as `/users: ...`");
    }
    for (key, value) in paths.mapping().unwrap_or_default() {
        let Some(path) = key.text() else { continue };
        let value = match document.follow(value) {
            Ok(value) => value,
            Err(reason) => {
                sheet.error(key.line, format!("`{path}`: {reason}"));
                continue;
            }
        };
        let mut inner = sheet.below(&format!("paths.{path}"), value);
        for method in METHODS {
            let Some(node) = inner.take(method) else { continue };
            let mut operation = inner.below(method, node);
            if let Some(place) = place(path, api.kind, &mut operation) {
                let shared = value.get("parameters");
                let mut route = common.route(&mut operation, method, &place, shared, api, stack);
                route.source = builder.source(inner.line_of(method));
                api.routes.push(route);
            }
            inner.take_over(operation);
        }
        inner.refuse("trace", "API Gateway has no method TRACE");
        inner.ignore(&["parameters"], "belong to the operations");
        inner.ignore(&["summary", "description", "servers"], DESCRIBES);
        sheet.take_over(inner);
    }
}

/// A path as routes have it.
fn place(path: &str, kind: Kind, sheet: &mut Sheet<'_>) -> Option<String> {
    if kind == Kind::Http && matches!(path, "/$default" | "$default") {
        return Some(DEFAULT_STAGE.to_owned());
    }
    if path.starts_with('/') {
        return Some(path.to_owned());
    }
    sheet.error(sheet.line_of(""), format!("`{path}` is no path: it must begin with `/`"));
    None
}

fn validators(sheet: &mut Sheet<'_>) -> BTreeMap<String, bool> {
    let mut validators = BTreeMap::new();
    let Some(value) = sheet.take("x-amazon-apigateway-request-validators") else { return validators };
    for (key, value) in value.mapping().unwrap_or_default() {
        let Some(name) = key.text() else { continue };
        let mut inner = sheet.below(&format!("x-amazon-apigateway-request-validators.{name}"), value);
        validators.insert(name.to_owned(), inner.boolean("validateRequestParameters").unwrap_or(false));
        if inner.boolean("validateRequestBody") == Some(true) {
            inner.different("validateRequestBody", "bodies are not checked against their models yet");
        }
        sheet.take_over(inner);
    }
    validators
}

impl<'a> Common<'a, '_> {
    fn route(
        &self,
        sheet: &mut Sheet<'a>,
        method: &str,
        path: &str,
        shared: Option<&'a Node>,
        api: &Api,
        stack: &Stack,
    ) -> Route {
        let method = match method {
            "x-amazon-apigateway-any-method" => "ANY".to_owned(),
            method => method.to_ascii_uppercase(),
        };
        let integration = self.integration(sheet, api.kind, stack);
        let mut route = Route::new(&method, path, integration);
        // An HTTP API's id of an operation is its name too, but nothing shows it.
        route.operation_name = sheet.text("operationId").map(str::to_owned);
        route.required_parameters = self.required(sheet, shared, api.kind);
        sheet.ignore(&["isDefaultRoute"], DESCRIBES);
        sheet.different("requestBody", "bodies are not checked against their models yet");
        sheet.ignore(
            &["summary", "description", "tags", "responses", "deprecated", "externalDocs", "callbacks"],
            DESCRIBES,
        );
        sheet.ignore(&["consumes", "produces", "schemes", "servers"], DESCRIBES);
        let auth = sheet.take("x-amazon-apigateway-auth");
        let auth = auth.map(|node| node.get("type").and_then(Node::text).unwrap_or("?"));
        let own = sheet.take("security");
        match self.schemes.demands(own, api) {
            Ok(demands) => {
                route.authorization = demands.authorization;
                route.api_key_required = demands.api_key;
                if demands.api_key && api.kind == Kind::Http {
                    route.api_key_required = false;
                    sheet.warning(
                        sheet.line_of("security"),
                        "an HTTP API has no API keys, as on AWS; nothing is checked",
                    );
                }
            }
            Err(reason) => {
                sheet.error(sheet.line_of("security"), format!("nobody can pass: {reason}"));
                sheet.note("security", Status::Ignored, &reason);
                route.integration.kind = IntegrationKind::Missing { reason };
            }
        }
        match auth.map(str::to_ascii_uppercase).as_deref() {
            Some("AWS_IAM") => route.authorization = Authorization::Iam,
            Some("NONE") | None => {}
            Some(other) => {
                let reason = format!("`{other}` is no type of authorization");
                sheet.refuse("x-amazon-apigateway-auth", &reason);
                route.integration.kind = IntegrationKind::Missing { reason };
            }
        }
        route
    }

    fn integration(&self, sheet: &mut Sheet<'a>, kind: Kind, stack: &Stack) -> Integration {
        let missing =
            |reason: String| Integration { kind: IntegrationKind::Missing { reason }, timeout: None };
        let Some(node) = sheet.take(INTEGRATION) else {
            let reason = format!("the operation has no `{INTEGRATION}`");
            sheet.error(sheet.line_of(""), &reason);
            return missing(reason);
        };
        let node = match self.document.follow(node) {
            Ok(node) => node,
            Err(reason) => {
                sheet.refuse(INTEGRATION, &reason);
                return missing(reason);
            }
        };
        let mut inner = sheet.below(INTEGRATION, node);
        let integration = integration::read(&mut inner, &integration::OPENAPI, kind, stack);
        let first = matches!(
            &integration.kind,
            IntegrationKind::Function { payload: PayloadVersion::V1, .. } if !inner.has("payloadFormatVersion")
        );
        if kind == Kind::Http && first {
            let text = "`payloadFormatVersion` is missing, which AWS requires; \"1.0\" is taken for it";
            inner.warning(inner.line_of(""), text);
        }
        if kind == Kind::Rest {
            let text = "a REST API has one form of events, 1.0";
            inner.note("payloadFormatVersion", Status::Supported, text);
            inner.note("responseParameters", Status::Ignored, "is only for HTTP APIs, as on AWS");
        }
        sheet.take_over(inner);
        integration
    }

    /// Parameters that a request must have, where a validator looks at them.
    fn required(&self, sheet: &mut Sheet<'a>, shared: Option<&'a Node>, kind: Kind) -> Vec<String> {
        let own = sheet.take("parameters");
        let validator = sheet.text(VALIDATOR).map(str::to_owned).or_else(|| self.validator.clone());
        let validates = validator.as_ref().and_then(|name| self.validators.get(name)).copied();
        if let (Some(name), None) = (&validator, validates) {
            let text = format!("`{name}` is no validator of the document");
            sheet.error(sheet.line_of(VALIDATOR), text);
        }
        if validates != Some(true) || kind != Kind::Rest {
            return Vec::new();
        }
        let mut required: Vec<String> = Vec::new();
        let lists = [shared, own].into_iter().flatten().flat_map(|node| node.items().unwrap_or_default());
        for node in lists {
            let node = match self.document.follow(node) {
                Ok(node) => node,
                Err(reason) => {
                    sheet.error(node.line, reason);
                    continue;
                }
            };
            let said = |name: &str| node.get(name).and_then(Node::text);
            let place = match said("in") {
                Some("query") => "querystring",
                Some("header") => "header",
                Some("path") => "path",
                _ => continue,
            };
            let name = format!("method.request.{place}.{}", said("name").unwrap_or_default());
            required.retain(|known| *known != name);
            if node.get("required").and_then(Node::boolean) == Some(true) {
                required.push(name);
            }
        }
        required
    }
}
