//! `AWS::ApiGatewayV2::Api`: an HTTP API or a WebSocket API.

use super::super::sheet::Sheet;
use super::super::{Builder, Resource, Stack, Status, openapi, reference};
use super::begin;
use crate::api::{
    Api, Cors, DEFAULT_STAGE, HttpIntegration, Integration, IntegrationKind, Kind, ParameterMapping,
    PayloadVersion, Route, Stage,
};

const ELSEWHERE: &str = "means nothing on one's own machine";

pub fn api(resource: &Resource, stack: &Stack, builder: &mut Builder) {
    let mut sheet = Sheet::of(resource);
    let protocol = sheet.choice("ProtocolType", &["HTTP", "WEBSOCKET"]);
    let kind = if protocol == Some("WEBSOCKET") { Kind::WebSocket } else { Kind::Http };
    let mut api = begin(resource, kind, builder);
    for name in ["Name", "Description"] {
        sheet.text(name);
    }
    api.execute_api_disabled = sheet.boolean("DisableExecuteApiEndpoint").unwrap_or(false);
    selection(&mut sheet, &mut api);
    api.cors = cors(&mut sheet);
    if kind == Kind::WebSocket {
        sheet.note("CorsConfiguration", Status::Ignored, "is only for HTTP APIs, as on AWS");
    }
    quick_create(&mut sheet, &mut api, stack, builder);
    sheet.refuse("BodyS3Location", super::IN_S3);
    sheet.ignore(
        &["BasePath", "FailOnWarnings", "DisableSchemaValidation"],
        "the definition is read as it stands",
    );
    sheet.ignore(&["CredentialsArn"], "every API may call every function here");
    sheet.ignore(&["IpAddressType", "Tags", "Version"], ELSEWHERE);
    match sheet.take("Body") {
        Some(body) if kind == Kind::Http => openapi::read(body, stack, &mut api, builder),
        Some(_) => {
            sheet.refuse("Body", "a WebSocket API has no OpenAPI definition; give its routes as resources")
        }
        None => {}
    }
    sheet.finish(builder);
    builder.reading.apis.push(api);
}

fn selection(sheet: &mut Sheet<'_>, api: &mut Api) {
    let expression = sheet.text("RouteSelectionExpression");
    let key_source = sheet.text("ApiKeySelectionExpression");
    match api.kind {
        Kind::WebSocket => {
            let expression = expression.unwrap_or_default();
            if expression.is_empty() {
                let text = "`RouteSelectionExpression` is missing, such as `$request.body.action`; all messages go to `$default`";
                sheet.error(sheet.line_of("RouteSelectionExpression"), text);
            }
            api.route_selection_expression = expression.to_owned();
            match key_source {
                None | Some("$request.header.x-api-key") => {}
                Some("$context.authorizer.usageIdentifierKey") => {
                    api.api_key_source = crate::api::ApiKeySource::Authorizer;
                }
                Some(other) => {
                    let text = format!("`{other}` is no source of API keys; they are taken from `x-api-key`");
                    sheet.different("ApiKeySelectionExpression", &text);
                }
            }
        }
        _ => {
            if expression.is_some_and(|expression| expression != "${request.method} ${request.path}") {
                let text = "must be `${request.method} ${request.path}`, as on AWS, and is taken for that";
                sheet.different("RouteSelectionExpression", text);
            }
            sheet.ignore(&["ApiKeySelectionExpression"], "is only for WebSocket APIs, as on AWS");
        }
    }
}

/// `CorsConfiguration`
fn cors(sheet: &mut Sheet<'_>) -> Option<Cors> {
    let mut inner = sheet.within("CorsConfiguration")?;
    let cors = read_cors(&mut inner);
    sheet.take_over(inner);
    Some(cors)
}

/// The same for HTTP APIs and function URLs.
pub fn read_cors(sheet: &mut Sheet<'_>) -> Cors {
    let cors = Cors {
        allow_origins: sheet.list("AllowOrigins"),
        allow_methods: sheet.list("AllowMethods"),
        allow_headers: sheet.list("AllowHeaders"),
        expose_headers: sheet.list("ExposeHeaders"),
        max_age: sheet
            .number("MaxAge", -1..=86_400, "a number of seconds from -1 to 86400")
            .and_then(|seconds| u32::try_from(seconds).ok()),
        allow_credentials: sheet.boolean("AllowCredentials").unwrap_or(false),
    };
    if cors.allow_credentials && cors.allow_origins.iter().any(|origin| origin == "*") {
        let text = "`AllowCredentials` does not go with the origin `*`; AWS would refuse to deploy it";
        sheet.error(sheet.line_of("AllowCredentials"), text);
    }
    cors
}

/// `Target`: one route and one stage, without more resources.
fn quick_create(sheet: &mut Sheet<'_>, api: &mut Api, stack: &Stack, builder: &Builder) {
    let key = sheet.text("RouteKey");
    let Some(target) = sheet.text("Target") else { return };
    let line = sheet.line_of("Target");
    let integration = if target.starts_with("http://") || target.starts_with("https://") {
        let http = HttpIntegration {
            url: target.to_owned(),
            method: "ANY".to_owned(),
            request: ParameterMapping::new(),
            responses: Default::default(),
        };
        Integration { kind: IntegrationKind::Http(Box::new(http)), timeout: None }
    } else {
        match reference::function(stack, target) {
            Ok(function) => Integration::function(&function, PayloadVersion::V2),
            Err(reason) => {
                sheet.refuse("Target", &reason);
                Integration { kind: IntegrationKind::Missing { reason }, timeout: None }
            }
        }
    };
    match route_key(key.unwrap_or(DEFAULT_STAGE)) {
        Ok((method, path)) => {
            let mut route = Route::new(&method, &path, integration);
            route.source = builder.source(line);
            api.routes.push(route);
        }
        Err(reason) => sheet.refuse("RouteKey", &reason),
    }
    api.stages.push(Stage::named(DEFAULT_STAGE));
}

/// `GET /users/{id}` or `$default` -> method and path.
pub fn route_key(key: &str) -> Result<(String, String), String> {
    const METHODS: [&str; 8] = ["ANY", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"];
    if key == "$default" {
        return Ok(("ANY".to_owned(), key.to_owned()));
    }
    let invalid =
        || format!("`{key}` is no route key; it is `$default`, or a method and a path: `GET /users/{{id}}`");
    let (method, path) = key.split_once(' ').ok_or_else(invalid)?;
    let (method, path) = (method.to_ascii_uppercase(), path.trim());
    if !METHODS.contains(&method.as_str()) || !path.starts_with('/') {
        return Err(invalid());
    }
    Ok((method, path.to_owned()))
}
