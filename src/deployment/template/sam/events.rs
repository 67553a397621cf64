//! `Events` of a function: those of type Api and HttpApi are routes, most others triggers.

use std::time::Duration;

use super::super::super::Severity;
use super::super::super::nearest::hint;
use super::super::super::yaml::Node;
use super::super::section::Section;
use super::super::triggers::{self, Place};
use super::super::{Builder, Resource, Status};
use super::throttle;
use crate::api::{Integration, IntegrationKind, Kind, PayloadVersion, Route, Source, Throttle};
use crate::trigger::Trigger;

/// A route that a function asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct RouteEvent {
    /// Http or Rest.
    pub kind: Kind,
    /// What the template calls the event.
    pub name: String,
    /// `RestApiId` or `ApiId`; `None`: the implicit API.
    pub api: Option<String>,
    pub route: Route,
    pub auth: Option<EventAuth>,
    pub throttle: Option<Throttle>,
}

/// `Auth` of an event.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct EventAuth {
    pub authorizer: Option<String>,
    pub scopes: Option<Vec<String>>,
    pub api_key_required: Option<bool>,
    /// REST: it counts even where the API has a definition of its own.
    pub overrides_definition: bool,
    pub source: Source,
}

/// Events that SAM knows and that are not served.
const NOT_SERVED: [&str; 8] =
    ["AlexaSkill", "CloudWatchLogs", "Cognito", "DocumentDB", "IoTRule", "MQ", "MSK", "SelfManagedKafka"];
const METHODS: [&str; 8] = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "ANY"];
const ANY_METHOD: &str = "X-AMAZON-APIGATEWAY-ANY-METHOD";

/// `function`: what they lead to, with its alias if it has one.
pub fn read(
    resource: &Resource,
    function: &str,
    place: Place<'_>,
    builder: &mut Builder,
) -> (Vec<RouteEvent>, Vec<Trigger>) {
    let (mut routes, mut found) = (Vec::new(), Vec::new());
    let Some(events) = Section::properties(resource).section("Events", builder) else {
        return (routes, found);
    };
    for (key, name, node) in events.entries() {
        let event = events.below(name, node);
        if !event.is_map(builder) {
            continue;
        }
        let Some(kind) = event.text("Type", builder) else {
            if event.get("Type").is_none() {
                event.error("Type", format!("`{}` has no `Type`, such as `HttpApi`", event.at), builder);
            }
            continue;
        };
        let api = match kind {
            "Api" => Some(Kind::Rest),
            "HttpApi" => Some(Kind::Http),
            kind if triggers::KINDS.contains(&kind) => None,
            kind if NOT_SERVED.contains(&kind) => {
                let text =
                    format!("{kind}: not served yet; `handlerd invoke` calls the function with an event");
                builder.finding(Status::Ignored, resource, &event.at, key.line, &text);
                continue;
            }
            kind => {
                let known = NOT_SERVED.into_iter().chain(triggers::KINDS).chain(["Api", "HttpApi"]);
                let text = format!("`{kind}` is no type of event{}", hint(kind, known));
                event.error("Type", text, builder);
                continue;
            }
        };
        event.only(&["Type", "Properties"], builder);
        // Of an HttpApi event everything may be left out.
        let nothing =
            Node { line: key.line, tag: None, value: super::super::super::yaml::Value::Mapping(Vec::new()) };
        let properties = match event.get("Properties") {
            Some(node) => event.below("Properties", node),
            None => Section { node: &nothing, at: event.name("Properties") },
        };
        if !properties.is_map(builder) {
            continue;
        }
        let told = match api {
            Some(kind) => {
                let source = builder.source(key.line);
                let route = Reader { resource, kind, properties, source }.read(name, function, builder);
                let told = route.as_ref().map(|route| route.route.key());
                routes.extend(route);
                told
            }
            None => {
                let name = triggers::Name { event: name, kind, line: key.line };
                let trigger = triggers::event(&name, &properties, resource, function, place, builder);
                let told = trigger.as_ref().map(|trigger| format!("{kind}: {}", trigger.kind.source()));
                found.extend(trigger);
                told
            }
        };
        match told {
            Some(told) => builder.finding(Status::Supported, resource, &event.at, key.line, &told),
            None => {
                let text = "cannot be served; see the problems";
                builder.finding(Status::Ignored, resource, &event.at, key.line, text);
            }
        }
    }
    (routes, found)
}

struct Reader<'a> {
    resource: &'a Resource,
    kind: Kind,
    properties: Section<'a>,
    source: Source,
}

impl Reader<'_> {
    fn read(&self, name: &str, function: &str, builder: &mut Builder) -> Option<RouteEvent> {
        let known: &[&str] = match self.kind {
            Kind::Rest => &[
                "Auth",
                "Method",
                "Path",
                "RequestModel",
                "RequestParameters",
                "ResponseTransferMode",
                "RestApiId",
                "Stage",
                "TimeoutInMillis",
            ],
            _ => &[
                "ApiId",
                "Auth",
                "Method",
                "Path",
                "PayloadFormatVersion",
                "RouteSettings",
                "Stage",
                "TimeoutInMillis",
            ],
        };
        self.properties.only(known, builder);
        let (method, path) = self.method_and_path(builder)?;
        let payload = match self.kind {
            Kind::Rest => PayloadVersion::V1,
            _ => match self.properties.word("PayloadFormatVersion", &["1.0", "2.0"], builder) {
                Some("1.0") => PayloadVersion::V1,
                _ => PayloadVersion::V2,
            },
        };
        let mut integration = Integration::function(function, payload);
        integration.timeout = self.timeout(builder);
        if self.kind == Kind::Rest
            && let IntegrationKind::Function { streams, .. } = &mut integration.kind
        {
            let mode =
                self.properties.word("ResponseTransferMode", &["BUFFERED", "RESPONSE_STREAM"], builder);
            *streams = mode == Some("RESPONSE_STREAM");
        }
        let mut route = Route::new(&method, &path, integration);
        route.source = self.source.clone();
        if self.kind == Kind::Rest {
            route.required_parameters = self.required_parameters(builder);
        }
        let throttle = self
            .properties
            .section("RouteSettings", builder)
            .and_then(|settings| throttle::settings(&settings, builder));
        Some(RouteEvent {
            kind: self.kind,
            name: name.to_owned(),
            api: self.api(builder),
            route,
            auth: self.auth(builder),
            throttle,
        })
    }

    fn api(&self, builder: &mut Builder) -> Option<String> {
        let key = if self.kind == Kind::Rest { "RestApiId" } else { "ApiId" };
        self.properties.text(key, builder).map(str::to_owned)
    }

    fn method_and_path(&self, builder: &mut Builder) -> Option<(String, String)> {
        let properties = &self.properties;
        let written = (properties.get("Method"), properties.get("Path"));
        let both = "hint: give both `Path` and `Method`";
        match (self.kind, written) {
            (Kind::Http, (None, None)) => return Some(("ANY".to_owned(), "$default".to_owned())),
            (_, (Some(_), Some(_))) => {}
            (Kind::Http, (method, _)) => {
                let (there, lacks) = if method.is_some() { ("Method", "Path") } else { ("Path", "Method") };
                let text = format!(
                    "`{}` has `{there}` but no `{lacks}`\n{both}, or neither for the `$default` route",
                    properties.at
                );
                properties.error(there, text, builder);
                return None;
            }
            (_, (method, _)) => {
                let lacks = if method.is_some() { "Path" } else { "Method" };
                properties.error("", format!("`{}` has no `{lacks}`\n{both}", properties.at), builder);
                return None;
            }
        }
        let written = properties.text("Method", builder)?;
        let mut method = written.to_ascii_uppercase();
        if method == ANY_METHOD {
            "ANY".clone_into(&mut method);
        }
        if !METHODS.contains(&method.as_str()) {
            let text = format!(
                "`{}` must be GET, POST, PUT, DELETE, PATCH, HEAD, OPTIONS or ANY, not `{written}`",
                properties.name("Method")
            );
            properties.error("Method", text, builder);
            return None;
        }
        let path = properties.text("Path", builder)?;
        if self.kind == Kind::Http && path == "$default" {
            return Some(("ANY".to_owned(), path.to_owned()));
        }
        if let Err(reason) = check_path(path) {
            let text = format!("`{}`: {reason}", properties.name("Path"));
            properties.error("Path", text, builder);
            return None;
        }
        Some((method, path.to_owned()))
    }

    fn timeout(&self, builder: &mut Builder) -> Option<Duration> {
        // A regional REST API's can be raised beyond 29 seconds, up to the longest run of a function.
        let most = if self.kind == Kind::Rest { 900_000 } else { 30_000 };
        let millis = self.properties.number("TimeoutInMillis", 50, most, builder)?;
        Some(Duration::from_millis(millis as u64))
    }

    fn auth(&self, builder: &mut Builder) -> Option<EventAuth> {
        let auth = self.properties.section("Auth", builder)?;
        let known: &[&str] = match self.kind {
            Kind::Rest => &[
                "ApiKeyRequired",
                "AuthorizationScopes",
                "Authorizer",
                "InvokeRole",
                "OverrideApiAuth",
                "ResourcePolicy",
            ],
            _ => &["AuthorizationScopes", "Authorizer"],
        };
        auth.only(known, builder);
        let roles = "functions run as you: there are no roles here";
        auth.finding("InvokeRole", Status::Ignored, roles, self.resource, builder);
        let policies = "resource policies are not evaluated";
        auth.finding("ResourcePolicy", Status::Ignored, policies, self.resource, builder);
        let read = EventAuth {
            authorizer: auth.text("Authorizer", builder).map(str::to_owned),
            scopes: auth.texts("AuthorizationScopes", builder),
            api_key_required: auth.boolean("ApiKeyRequired", builder),
            overrides_definition: auth.boolean("OverrideApiAuth", builder).unwrap_or(false),
            source: builder.source(auth.node.line),
        };
        if self.kind == Kind::Rest && read.scopes.is_some() && read.authorizer.is_none() {
            auth.error(
                "AuthorizationScopes",
                "`AuthorizationScopes` works only together with `Authorizer`",
                builder,
            );
        }
        Some(read)
    }

    /// API Gateway asks for them only where a request validator does.
    fn required_parameters(&self, builder: &mut Builder) -> Vec<String> {
        let model = self.properties.section("RequestModel", builder);
        if let Some(model) = &model {
            model.only(&["Model", "Required", "ValidateBody", "ValidateParameters"], builder);
            let (line, name) = (self.properties.line("RequestModel"), &model.at);
            let text = "bodies are not checked against models";
            builder.finding(Status::Different, self.resource, name, line, text);
        }
        let validates = model.and_then(|model| model.boolean("ValidateParameters", builder)).unwrap_or(false);
        let Some(list) = self.properties.get("RequestParameters") else { return Vec::new() };
        let name = self.properties.name("RequestParameters");
        let Some(items) = list.items() else {
            let text = format!("`{name}` must be a list, not {}", list.kind());
            builder.problem(Severity::Error, list.line, text);
            return Vec::new();
        };
        let mut required = Vec::new();
        for item in items {
            let (parameter, settings) = match (item.text(), item.mapping()) {
                (Some(text), _) => (text, None),
                (None, Some([(key, settings)])) if key.text().is_some() => {
                    (key.text().unwrap_or_default(), Some(Section { node: settings, at: name.clone() }))
                }
                _ => {
                    let text = format!(
                        "`{name}` must hold names, or maps of a name and its settings, not {}",
                        item.kind()
                    );
                    builder.problem(Severity::Error, item.line, text);
                    continue;
                }
            };
            let known = ["querystring", "path", "header"];
            let place = parameter.strip_prefix("method.request.").and_then(|rest| rest.split_once('.'));
            if !place.is_some_and(|(place, rest)| known.contains(&place) && !rest.is_empty()) {
                let text = format!(
                    "`{name}`: `{parameter}` must be of the form `method.request.querystring.page` (or `path`, or `header`)"
                );
                builder.problem(Severity::Error, item.line, text);
                continue;
            }
            let is_required = settings.is_some_and(|settings| {
                settings.only(&["Caching", "Required"], builder);
                settings.boolean("Required", builder).unwrap_or(false)
            });
            if is_required {
                required.push(parameter.to_owned());
            }
        }
        if !required.is_empty() && !validates {
            let text = "not asked for, as on AWS: that takes `RequestModel` with `ValidateParameters: true`";
            let line = self.properties.line("RequestParameters");
            builder.finding(Status::Different, self.resource, &name, line, text);
            return Vec::new();
        }
        required
    }
}

/// Whether it can be the path of a route.
pub fn check_path(path: &str) -> Result<(), String> {
    let Some(rest) = path.strip_prefix('/') else { return Err(format!("`{path}` does not begin with `/`")) };
    let segments: Vec<&str> = rest.split('/').collect();
    for (index, segment) in segments.iter().enumerate() {
        let inner = segment.strip_prefix('{').and_then(|segment| segment.strip_suffix('}'));
        let Some(name) = inner else {
            if segment.contains(['{', '}']) {
                return Err(format!(
                    "`{segment}` must be a variable as a whole, such as `{{id}}`, or hold no braces"
                ));
            }
            continue;
        };
        let greedy = name.ends_with('+');
        let bare = name.trim_end_matches('+');
        if bare.is_empty() || bare.contains(['{', '}', '+']) {
            return Err(format!("`{segment}` is no variable such as `{{id}}` or `{{proxy+}}`"));
        }
        // A slash at the end makes no other path of it.
        if greedy && segments[index + 1..].iter().any(|after| !after.is_empty()) {
            return Err(format!("`{segment}` takes all that follows and must be the last"));
        }
    }
    Ok(())
}
