//! What a template says about an integration -> the integration. CloudFormation says it in two ways
//! and OpenAPI in a third; the words differ, the meaning does not.

use std::collections::BTreeMap;
use std::time::Duration;

use super::sheet::Sheet;
use super::{Stack, Status, reference};
use crate::api::{
    HttpIntegration, Integration, IntegrationKind, IntegrationResponse, Kind, MappedIntegration,
    ParameterMapping, Passthrough, PayloadVersion,
};

/// How the properties are called; empty: there is none of this sort.
pub struct Words {
    kind: &'static str,
    uri: &'static str,
    method: &'static str,
    subtype: &'static str,
    connection: &'static str,
    connection_id: &'static str,
    payload: &'static str,
    transfer: &'static str,
    passthrough: &'static str,
    request_templates: &'static str,
    request_parameters: &'static str,
    responses: &'static str,
    response_parameters: &'static str,
    selection: &'static str,
    content_handling: &'static str,
    timeout: &'static str,
    tls: &'static str,
    /// What means nothing here.
    cache: &'static [&'static str],
    permissions: &'static [&'static str],
}

/// `Integration` of `AWS::ApiGateway::Method`.
pub const REST: Words = Words {
    kind: "Type",
    uri: "Uri",
    method: "IntegrationHttpMethod",
    subtype: "",
    connection: "ConnectionType",
    connection_id: "ConnectionId",
    payload: "",
    transfer: "ResponseTransferMode",
    passthrough: "PassthroughBehavior",
    request_templates: "RequestTemplates",
    request_parameters: "RequestParameters",
    responses: "IntegrationResponses",
    response_parameters: "",
    selection: "",
    content_handling: "ContentHandling",
    timeout: "TimeoutInMillis",
    tls: "",
    cache: &["CacheKeyParameters", "CacheNamespace"],
    permissions: &["Credentials", "IntegrationTarget"],
};

/// `AWS::ApiGatewayV2::Integration`.
pub const V2: Words = Words {
    kind: "IntegrationType",
    uri: "IntegrationUri",
    method: "IntegrationMethod",
    subtype: "IntegrationSubtype",
    connection: "ConnectionType",
    connection_id: "ConnectionId",
    payload: "PayloadFormatVersion",
    transfer: "",
    passthrough: "PassthroughBehavior",
    request_templates: "RequestTemplates",
    request_parameters: "RequestParameters",
    responses: "",
    response_parameters: "ResponseParameters",
    selection: "TemplateSelectionExpression",
    content_handling: "ContentHandlingStrategy",
    timeout: "TimeoutInMillis",
    tls: "TlsConfig",
    cache: &[],
    permissions: &["CredentialsArn"],
};

/// `x-amazon-apigateway-integration`.
pub const OPENAPI: Words = Words {
    kind: "type",
    uri: "uri",
    method: "httpMethod",
    subtype: "integrationSubtype",
    connection: "connectionType",
    connection_id: "connectionId",
    payload: "payloadFormatVersion",
    transfer: "responseTransferMode",
    passthrough: "passthroughBehavior",
    request_templates: "requestTemplates",
    request_parameters: "requestParameters",
    responses: "responses",
    response_parameters: "responseParameters",
    selection: "",
    content_handling: "contentHandling",
    timeout: "timeoutInMillis",
    tls: "tlsConfig",
    cache: &["cacheKeyParameters", "cacheNamespace"],
    permissions: &["credentials", "integrationTarget"],
};

/// `integration.request.header.X-Amz-Invocation-Type`, in lower case.
const INVOCATION_TYPE: &str = "integration.request.header.x-amz-invocation-type";

/// Reads all of it. What cannot be integrated is `Missing`, with the reason, and has been reported.
pub fn read(sheet: &mut Sheet<'_>, words: &Words, api: Kind, stack: &Stack) -> Integration {
    let described = Described::read(sheet, words, api);
    let kind = described.settle(sheet, words, api, stack).unwrap_or_else(|reason| {
        let word = if sheet.has(words.uri) { words.uri } else { words.kind };
        sheet.error(sheet.line_of(word), format!("is not integrated: {reason}"));
        sheet.note(word, Status::Ignored, &reason);
        IntegrationKind::Missing { reason }
    });
    Integration { kind, timeout: described.timeout }
}

/// What is said, before it is settled.
struct Described {
    kind: String,
    uri: String,
    method: Option<String>,
    subtype: Option<String>,
    vpc_link: bool,
    payload: Option<PayloadVersion>,
    streams: bool,
    passthrough: Passthrough,
    request_templates: BTreeMap<String, String>,
    request_parameters: ParameterMapping,
    responses: Vec<IntegrationResponse>,
    response_parameters: BTreeMap<String, ParameterMapping>,
    timeout: Option<Duration>,
}

impl Described {
    fn read(sheet: &mut Sheet<'_>, words: &Words, api: Kind) -> Self {
        let kind = sheet.text(words.kind).unwrap_or_default().to_ascii_uppercase().replace('-', "_");
        let uri = sheet.text(words.uri).unwrap_or_default().trim().to_owned();
        let method = sheet.text(words.method).map(str::to_ascii_uppercase);
        let subtype = sheet.text(words.subtype).map(str::to_owned);
        let connection = sheet.choice(words.connection, &["INTERNET", "VPC_LINK"]);
        sheet.ignore(&[words.connection_id], "networks of AWS cannot be reached from here");
        let payload = match sheet.choice(words.payload, &["1.0", "2.0"]) {
            Some("2.0") => Some(PayloadVersion::V2),
            Some(_) => Some(PayloadVersion::V1),
            None => None,
        };
        let streams = sheet.choice(words.transfer, &["BUFFERED", "STREAM"]) == Some("STREAM")
            || uri.ends_with("/response-streaming-invocations");
        let words_of_passthrough = ["WHEN_NO_MATCH", "WHEN_NO_TEMPLATES", "NEVER"];
        let passthrough = match sheet.choice(words.passthrough, &words_of_passthrough) {
            Some("NEVER") => Passthrough::Never,
            Some("WHEN_NO_TEMPLATES") => Passthrough::WhenNoTemplates,
            _ => Passthrough::WhenNoMatch,
        };
        let timeout = timeout(sheet, words.timeout, api, streams);
        sheet.different(words.content_handling, "bodies are passed on as they are");
        sheet.different(words.tls, "certificates are checked as usual");
        sheet.ignore(words.cache, "nothing is cached here");
        sheet.ignore(words.permissions, "every API may call every function here");
        let mut request_templates = sheet.map(words.request_templates);
        if let Some(chosen) = sheet.text(words.selection) {
            request_templates = selected(sheet, words.selection, chosen, request_templates);
        }
        let request_parameters = sheet.map(words.request_parameters);
        let responses = responses(sheet, words);
        let response_parameters = response_parameters(sheet, words.response_parameters);
        Self {
            kind,
            uri,
            method,
            subtype,
            vpc_link: connection == Some("VPC_LINK"),
            payload,
            streams,
            passthrough,
            request_templates,
            request_parameters,
            responses,
            response_parameters,
            timeout,
        }
    }

    fn settle(
        &self,
        sheet: &mut Sheet<'_>,
        words: &Words,
        api: Kind,
        stack: &Stack,
    ) -> Result<IntegrationKind, String> {
        if let Some(subtype) = &self.subtype {
            return Err(format!("it calls the service `{subtype}`; only functions can be called"));
        }
        if self.vpc_link {
            return Err("its `VPC_LINK` leads into a network on AWS\nhint: HTTP_PROXY without a VPC link reaches servers on this machine".into());
        }
        let unused = |sheet: &mut Sheet<'_>, words: &[&'static str], kind: &str| {
            let reason = format!("not used with {kind}, as on AWS");
            words.iter().for_each(|word| sheet.note(word, Status::Ignored, &reason));
        };
        let rest = api == Kind::Rest;
        match self.kind.as_str() {
            "AWS_PROXY" | "AWS" if !self.uri.is_empty() && service(&self.uri).is_some() => {
                let service = service(&self.uri).unwrap_or_default();
                Err(format!("it calls the service `{service}`; only functions can be called"))
            }
            "AWS_PROXY" => {
                let function = self.function(sheet, words, api, stack)?;
                if rest {
                    unused(sheet, &[words.request_parameters, words.request_templates, words.responses], "AWS_PROXY");
                }
                let (request, responses) = match api {
                    Kind::Http => (self.request_parameters.clone(), self.response_parameters.clone()),
                    _ => Default::default(),
                };
                let payload = match api {
                    Kind::Http => self.payload.unwrap_or(PayloadVersion::V1),
                    _ => PayloadVersion::V1,
                };
                Ok(IntegrationKind::Function { function, payload, streams: self.streams && rest, request, responses })
            }
            "AWS" | "MOCK" if api == Kind::Http => {
                Err(format!("an HTTP API has no integrations of type {}", self.kind))
            }
            "AWS" => {
                let function = self.function(sheet, words, api, stack)?;
                let asynchronous = self.asynchronous(sheet, words);
                Ok(self.mapped(Some(function), asynchronous))
            }
            "MOCK" => {
                unused(sheet, &[words.uri, words.method, words.request_parameters], "MOCK");
                Ok(self.mapped(None, false))
            }
            "HTTP_PROXY" => {
                let method = match &self.method {
                    Some(method) => method.clone(),
                    None if rest => return Err(format!("`{}` is missing, the method to ask the server with", words.method)),
                    None => "ANY".to_owned(),
                };
                if !["http://", "https://", "${stageVariables."].iter().any(|start| self.uri.starts_with(start)) {
                    return Err(format!("`{}` must be a URL, not `{}`", words.uri, self.uri));
                }
                if rest {
                    unused(sheet, &[words.request_templates, words.responses], "HTTP_PROXY");
                }
                Ok(IntegrationKind::Http(Box::new(HttpIntegration {
                    url: self.uri.clone(),
                    method,
                    request: self.request_parameters.clone(),
                    responses: self.response_parameters.clone(),
                })))
            }
            "HTTP" => Err("type HTTP, with mapping templates, is not supported\nhint: HTTP_PROXY passes requests on as they are".into()),
            "" => Err(format!("`{}` is missing: AWS_PROXY, AWS, MOCK or HTTP_PROXY", words.kind)),
            other => Err(format!("`{other}` is no type of integration; there are AWS_PROXY, AWS, MOCK and HTTP_PROXY")),
        }
    }

    fn function(
        &self,
        sheet: &mut Sheet<'_>,
        words: &Words,
        api: Kind,
        stack: &Stack,
    ) -> Result<String, String> {
        let post = self.method.as_deref() == Some("POST");
        match (api, &self.method) {
            (Kind::Rest, None) => {
                return Err(format!("`{}` is missing; functions are called with POST", words.method));
            }
            (Kind::Rest | Kind::WebSocket, Some(method)) if !post => {
                return Err(format!(
                    "`{}` is {method}; functions are called with POST, and AWS answers 500 for this",
                    words.method
                ));
            }
            (Kind::Http, Some(method)) if !post => {
                let text = format!("functions are called with POST, whatever is said here ({method})");
                sheet.different(words.method, &text);
            }
            _ => {}
        }
        let function = reference::function(stack, &self.uri)?;
        if let Some(text) = reference::qualified(&function) {
            sheet.different(words.uri, &text);
        }
        Ok(function)
    }

    fn mapped(&self, function: Option<String>, asynchronous: bool) -> IntegrationKind {
        IntegrationKind::Mapped(Box::new(MappedIntegration {
            function,
            asynchronous,
            request_templates: self.request_templates.clone(),
            passthrough: self.passthrough,
            responses: self.responses.clone(),
        }))
    }

    /// Of the parameters that go to Lambda's own API one means something here.
    fn asynchronous(&self, sheet: &mut Sheet<'_>, words: &Words) -> bool {
        let mut asynchronous = false;
        let mut others = Vec::new();
        for (name, value) in &self.request_parameters {
            match value.trim_matches('\'') {
                "Event" if name.eq_ignore_ascii_case(INVOCATION_TYPE) => asynchronous = true,
                "RequestResponse" if name.eq_ignore_ascii_case(INVOCATION_TYPE) => {}
                _ => others.push(format!("`{name}`")),
            }
        }
        if !others.is_empty() {
            let text =
                format!("{} would go to Lambda's own API; the function would not see it", others.join(", "));
            sheet.different(words.request_parameters, &text);
        }
        asynchronous
    }
}

/// The service of `arn:aws:apigateway:R:SERVICE:path|action/...`, unless it is Lambda.
fn service(uri: &str) -> Option<&str> {
    let mut parts = uri.split(':').skip(2);
    if parts.next() != Some("apigateway") {
        return None;
    }
    parts.nth(1).filter(|service| *service != "lambda")
}

fn timeout(sheet: &mut Sheet<'_>, word: &'static str, api: Kind, streams: bool) -> Option<Duration> {
    let (most, expected) = match api {
        Kind::Rest if streams => (900_000, "a number of milliseconds from 50 to 900000"),
        // 29 seconds are a quota that AWS raises for regional APIs.
        Kind::Rest => {
            (300_000, "a number of milliseconds from 50 to 29000, or to 300000 with a raised quota")
        }
        Kind::WebSocket => (29_000, "a number of milliseconds from 50 to 29000"),
        _ => (30_000, "a number of milliseconds from 50 to 30000"),
    };
    let milliseconds = sheet.number(word, 50..=most, expected)?;
    Some(Duration::from_millis(milliseconds.unsigned_abs()))
}

/// A WebSocket API's templates are chosen by an expression, not by content type. One that does not
/// look at the message is decided here.
pub fn selected(
    sheet: &mut Sheet<'_>,
    word: &'static str,
    expression: &str,
    templates: BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let key = match expression.trim_start_matches('\\') {
        "$default" => "$default",
        dynamic if dynamic.contains('$') => {
            sheet.different(word, "is not looked up in the message: `$default` counts");
            "$default"
        }
        fixed => fixed,
    };
    let chosen = templates
        .get(key)
        .or_else(|| templates.get("$default"))
        .or_else(|| if templates.len() == 1 { templates.values().next() } else { None });
    chosen.map(|template| ("application/json".to_owned(), template.clone())).into_iter().collect()
}

/// A list with `SelectionPattern` (CloudFormation), or a map by pattern (OpenAPI).
fn responses(sheet: &mut Sheet<'_>, words: &Words) -> Vec<IntegrationResponse> {
    let name = words.responses;
    let mut responses = Vec::new();
    let Some(value) = sheet.take(name) else { return responses };
    if let Some(entries) = value.mapping() {
        for (key, value) in entries {
            let pattern = key.text().unwrap_or_default();
            let mut inner = sheet.below(&format!("{name}.{pattern}"), value);
            let pattern = Some(pattern.to_owned()).filter(|pattern| pattern != "default");
            responses.push(IntegrationResponse {
                pattern: checked(sheet, name, key.line, pattern),
                status: status(&mut inner, "statusCode"),
                parameters: inner.map("responseParameters"),
                templates: inner.map("responseTemplates"),
            });
            inner.different("contentHandling", "bodies are passed on as they are");
            sheet.take_over(inner);
        }
        return responses;
    }
    for mut inner in sheet.each(name) {
        let line = inner.line_of("SelectionPattern");
        let pattern = inner.text("SelectionPattern").map(str::to_owned).filter(|pattern| !pattern.is_empty());
        responses.push(IntegrationResponse {
            pattern: checked(sheet, name, line, pattern),
            status: status(&mut inner, "StatusCode"),
            parameters: inner.map("ResponseParameters"),
            templates: inner.map("ResponseTemplates"),
        });
        inner.different("ContentHandling", "bodies are passed on as they are");
        sheet.take_over(inner);
    }
    responses
}

fn status(sheet: &mut Sheet<'_>, name: &'static str) -> u16 {
    sheet.number(name, 100..=599, "a status code such as `200`").unwrap_or(200) as u16
}

/// A pattern that is none matches nothing: said, and kept so that the route is not served otherwise
/// than it reads.
fn checked(
    sheet: &mut Sheet<'_>,
    name: &'static str,
    line: usize,
    pattern: Option<String>,
) -> Option<String> {
    if let Some(Err(error)) = pattern.as_deref().map(regex::Regex::new) {
        let reason = error.to_string();
        let reason = reason.lines().last().unwrap_or_default().trim_start_matches("error: ");
        let pattern = pattern.as_deref().unwrap_or_default();
        sheet.error(line, format!("the pattern `{pattern}` cannot be used and matches nothing: {reason}"));
        sheet.note(name, Status::Different, "one of its patterns cannot be used and matches nothing");
        // `$^`, in a form that no text fits.
        return Some(NOTHING.to_owned());
    }
    pattern
}

/// Matches no text at all.
pub const NOTHING: &str = r"[^\s\S]";

/// HTTP API, by status: a plain map, or CloudFormation's lists of `Destination` and `Source`.
fn response_parameters(sheet: &mut Sheet<'_>, name: &'static str) -> BTreeMap<String, ParameterMapping> {
    let mut by_status = BTreeMap::new();
    let Some(value) = sheet.take(name) else { return by_status };
    let Some(entries) = value.mapping() else {
        sheet.expected(name, value, "a map by status code");
        return by_status;
    };
    for (key, value) in entries {
        let status = key.text().unwrap_or_default().to_owned();
        let mut inner = sheet.below(&format!("{name}.{status}"), value);
        let list = value.get("ResponseParameters");
        let mapping = if list.is_some_and(|list| list.items().is_some()) {
            let mut mapping = ParameterMapping::new();
            for mut parameter in inner.each("ResponseParameters") {
                if let (Some(to), Some(from)) = (parameter.text("Destination"), parameter.text("Source")) {
                    mapping.insert(to.to_owned(), from.to_owned());
                }
                inner.take_over(parameter);
            }
            sheet.take_over(inner);
            mapping
        } else {
            plain(sheet, name, value)
        };
        by_status.insert(status, mapping);
    }
    by_status
}

fn plain(
    sheet: &mut Sheet<'_>,
    name: &'static str,
    value: &crate::deployment::yaml::Node,
) -> ParameterMapping {
    let mut mapping = ParameterMapping::new();
    for (key, value) in value.mapping().unwrap_or_default() {
        match (key.text(), value.text()) {
            (Some(key), Some(value)) => drop(mapping.insert(key.to_owned(), value.to_owned())),
            _ => sheet.expected(name, value, "a map of names and texts"),
        }
    }
    mapping
}
