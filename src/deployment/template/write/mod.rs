//! What is deployed -> a SAM template that deploys it on AWS, and that reads back as the same
//! deployment here.
//!
//! Plain routes to functions become `Events`, as a person would write them; an API with more to it
//! is written out in CloudFormation's resources, one file for each generation of API Gateway.
//! Triggers become `Events` too (`triggers`).

mod http;
mod load_balancer;
mod rest;
mod triggers;
mod yaml;

pub use yaml::write as yaml_text;

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::super::{Deployed, Deployment};
use crate::api::{Api, Authorization, IntegrationKind, Kind, PayloadVersion, Route};
use crate::function::{Function, LayerVersion, LogFormat};

/// What only the caller knows.
pub struct Frame<'a> {
    /// Where the template will stand: paths in it start there.
    pub folder: &'a Path,
    /// `python3.12`, for a function that says none: AWS wants to be told.
    pub runtime: &'a dyn Fn(&Function) -> String,
    /// Names of variables whose values are secrets (they come from `.env`).
    pub secrets: &'a dyn Fn(&Function) -> Vec<String>,
}

/// The template, and what could not be put into it.
pub fn write(deployment: &Deployment, frame: &Frame<'_>) -> (String, Vec<String>) {
    let mut writer = Writer::default();
    for (name, deployed) in &deployment.functions {
        writer.names.insert(name.to_string(), logical_id(name.as_str()));
        if let Deployed::Broken { reason } = deployed {
            let first = reason.lines().next().unwrap_or_default();
            writer.left_out.push(format!("function {name}: {first}"));
        }
    }
    // By their routes first: `Events` then come in the order of the routes they were made from.
    let routes = deployment.apis.iter().flat_map(|api| &api.routes);
    let with_routes = routes.filter_map(|route| deployment.functions.get(base(route.function()?)));
    for deployed in with_routes.chain(deployment.functions.values()) {
        if let Deployed::Ready(function) = deployed
            && !writer.resources.contains_key(&writer.names[function.name.as_str()])
        {
            writer.function(function, frame);
            if let Some(attached) = deployment.attached.get(&function.name) {
                writer.attached(function, attached);
            }
        }
    }
    for api in &deployment.apis {
        writer.api(api);
    }
    let mut template = json!({
        "AWSTemplateFormatVersion": "2010-09-09",
        "Transform": "AWS::Serverless-2016-10-31",
        "Description": "Written by handlerd export",
    });
    if !writer.parameters.is_empty() {
        template["Parameters"] = Value::Object(writer.parameters);
    }
    template["Resources"] = Value::Object(writer.resources);
    (yaml::write(&template), writer.left_out)
}

#[derive(Default)]
struct Writer {
    parameters: Map<String, Value>,
    resources: Map<String, Value>,
    /// Function -> logical id.
    names: BTreeMap<String, String>,
    left_out: Vec<String>,
}

impl Writer {
    fn function(&mut self, function: &Function, frame: &Frame<'_>) {
        let name = function.name.as_str();
        let id = self.names[name].clone();
        let configuration = &function.configuration;
        let mut properties = Map::new();
        if id != name {
            properties.insert("FunctionName".into(), name.into());
        }
        properties.insert("CodeUri".into(), relative(&function.task_root, frame.folder).into());
        properties.insert("Handler".into(), configuration.handler.as_str().into());
        let runtime = configuration.runtime.clone().unwrap_or_else(|| (frame.runtime)(function));
        properties.insert("Runtime".into(), runtime.into());
        properties.insert("Timeout".into(), configuration.timeout.as_secs().into());
        properties.insert("MemorySize".into(), configuration.memory_mb.into());
        if !configuration.description.is_empty() {
            properties.insert("Description".into(), configuration.description.as_str().into());
        }
        let secrets = (frame.secrets)(function);
        let mut variables = Map::new();
        for (variable, value) in &configuration.environment {
            let value = if secrets.contains(variable) {
                let parameter = format!("{id}{}", logical_id(variable));
                self.parameters.insert(parameter.clone(), json!({"Type": "String", "NoEcho": true}));
                json!({"Ref": parameter})
            } else {
                value.as_str().into()
            };
            variables.insert(variable.clone(), value);
        }
        if !variables.is_empty() {
            properties.insert("Environment".into(), json!({ "Variables": variables }));
        }
        if configuration.logging.format == LogFormat::Json {
            let mut logging = json!({"LogFormat": "JSON"});
            if let Some(level) = &configuration.logging.application_level {
                logging["ApplicationLogLevel"] = level.as_str().into();
            }
            properties.insert("LoggingConfig".into(), logging);
        }
        self.told(configuration, &mut properties);
        let mut layers = Vec::new();
        for layer in &function.layers {
            if let Some(arn) = arn_of(layer, &configuration.layer_arns) {
                layers.push(json!(arn));
                continue;
            }
            let path = relative(layer, frame.folder);
            let layer_id = format!("{}Layer", logical_id(&path));
            let resource =
                json!({"Type": "AWS::Serverless::LayerVersion", "Properties": {"ContentUri": path}});
            self.resources.entry(layer_id.clone()).or_insert(resource);
            layers.push(json!({"Ref": layer_id}));
        }
        if !layers.is_empty() {
            properties.insert("Layers".into(), layers.into());
        }
        let resource = json!({"Type": "AWS::Serverless::Function", "Properties": properties});
        self.resources.insert(id, resource);
    }

    fn api(&mut self, api: &Api) {
        let routes: Vec<&Route> = api.routes.iter().filter(|route| self.is_there(api, route)).collect();
        match api.kind {
            Kind::FunctionUrl => self.function_url(api),
            _ if routes.is_empty() => {}
            Kind::Http | Kind::Rest if is_plain(api) => self.events(api, &routes),
            Kind::Http | Kind::WebSocket => http::write(self, api, &routes),
            Kind::Rest => rest::write(self, api, &routes),
            Kind::LoadBalancer => load_balancer::write(self, api, &routes),
        }
        if !api.domains.is_empty() {
            let hosts: Vec<&str> = api.domains.iter().map(|domain| domain.host.as_str()).collect();
            self.left_out.push(format!(
                "{}: its custom domains ({}) need a certificate",
                api.name,
                hosts.join(", ")
            ));
        }
    }

    /// Routes to functions that are not in the template are not in it either.
    fn is_there(&mut self, api: &Api, route: &Route) -> bool {
        let missing = match (&route.integration.kind, route.function()) {
            (IntegrationKind::Missing { reason }, _) => Some(reason.clone()),
            (_, Some(function)) if !self.names.contains_key(base(function)) && !function.contains("${") => {
                Some(format!("there is no function {function}"))
            }
            _ => None,
        };
        if let Some(reason) = &missing {
            self.left_out.push(format!("{} {}: {reason}", api.name, route.key()));
        }
        missing.is_none()
    }

    fn function_url(&mut self, api: &Api) {
        let Some(route) = api.routes.first() else { return };
        let Some(id) = route.function().and_then(|function| self.names.get(base(function))) else { return };
        let streams = matches!(route.integration.kind, IntegrationKind::Function { streams: true, .. });
        let mut config = json!({
            "AuthType": if route.authorization == Authorization::Iam { "AWS_IAM" } else { "NONE" },
            "InvokeMode": if streams { "RESPONSE_STREAM" } else { "BUFFERED" },
        });
        if let Some(cors) = &api.cors {
            config["Cors"] = cors.properties();
        }
        if let Some(resource) = self.resources.get_mut(id) {
            resource["Properties"]["FunctionUrlConfig"] = config;
        }
    }

    /// As `Events` of the functions; the API itself is written only where it has a name or settings.
    fn events(&mut self, api: &Api, routes: &[&Route]) {
        let (kind, event_type, reference) = match api.kind {
            Kind::Rest => ("AWS::Serverless::Api", "Api", "RestApiId"),
            _ => ("AWS::Serverless::HttpApi", "HttpApi", "ApiId"),
        };
        let id = self.free_id(&logical_id(&api.name));
        let stage = &api.stages[0];
        let mut properties = Map::new();
        if api.kind == Kind::Rest || !stage.is_default() {
            properties.insert("StageName".into(), stage.name.as_str().into());
        }
        if !stage.variables.is_empty() {
            let name = if api.kind == Kind::Rest { "Variables" } else { "StageVariables" };
            properties.insert(name.into(), json!(stage.variables));
        }
        if !api.binary_media_types.is_empty() {
            properties.insert("BinaryMediaTypes".into(), json!(api.binary_media_types));
        }
        if let Some(cors) = &api.cors {
            properties.insert("CorsConfiguration".into(), cors.properties());
        }
        for route in routes {
            let IntegrationKind::Function { function, payload, .. } = &route.integration.kind else {
                continue;
            };
            let Some(function_id) = self.names.get(base(function)).cloned() else { continue };
            let mut event = json!({ reference: {"Ref": id} });
            if route.path.starts_with('/') {
                event["Path"] = route.path.as_str().into();
                event["Method"] = route.method.as_str().into();
            }
            if api.kind == Kind::Http && *payload == PayloadVersion::V1 {
                event["PayloadFormatVersion"] = "1.0".into();
            }
            if let Some(timeout) = route.integration.timeout {
                event["TimeoutInMillis"] = (timeout.as_millis() as u64).into();
            }
            if let Some(resource) = self.resources.get_mut(&function_id) {
                let events = &mut resource["Properties"]["Events"];
                if events.is_null() {
                    *events = json!({});
                }
                let number = events.as_object().map_or(0, Map::len) + 1;
                events[format!("Route{number}")] = json!({"Type": event_type, "Properties": event});
            }
        }
        self.resources.insert(id, json!({"Type": kind, "Properties": properties}));
    }

    /// `arn:...:function:NAME`, or with a stage variable in it.
    fn arn(&self, function: &str) -> Value {
        match self.names.get(base(function)) {
            Some(id) => json!({"Fn::GetAtt": [id, "Arn"]}),
            None => {
                // What stands for a stage variable is no reference of this template.
                let function = function.replace("${", "${!");
                let arn = format!(
                    "arn:${{AWS::Partition}}:lambda:${{AWS::Region}}:${{AWS::AccountId}}:function:{function}"
                );
                json!({"Fn::Sub": arn})
            }
        }
    }

    /// What an integration calls. `streams`: the path that answers in pieces.
    fn invocation_uri(&self, function: &str, streams: bool) -> Value {
        let (version, last) = if streams {
            ("2021-11-15", "response-streaming-invocations")
        } else {
            ("2015-03-31", "invocations")
        };
        let arn = match self.names.get(base(function)) {
            Some(id) => format!("${{{id}.Arn}}"),
            None => {
                let function = function.replace("${", "${!");
                format!(
                    "arn:${{AWS::Partition}}:lambda:${{AWS::Region}}:${{AWS::AccountId}}:function:{function}"
                )
            }
        };
        json!({"Fn::Sub": format!(
            "arn:${{AWS::Partition}}:apigateway:${{AWS::Region}}:lambda:path/{version}/functions/{arn}/{last}"
        )})
    }

    /// AWS asks for leave to call; here nobody needs it.
    fn permission(&mut self, function: &str, principal: &str) {
        let Some(id) = self.names.get(base(function)) else { return };
        let service: String = principal.split('.').next().unwrap_or_default().to_owned();
        let name = format!("{id}{}Permission", logical_id(&service));
        let properties = json!({
            "Action": "lambda:InvokeFunction", "FunctionName": {"Ref": id}, "Principal": principal,
        });
        self.resources.insert(name, json!({"Type": "AWS::Lambda::Permission", "Properties": properties}));
    }

    fn free_id(&self, wanted: &str) -> String {
        let mut id = wanted.to_owned();
        while self.resources.contains_key(&id) {
            id.push_str("Api");
        }
        id
    }

    fn add(&mut self, id: &str, kind: &str, properties: Value) {
        self.resources.insert(id.to_owned(), json!({"Type": kind, "Properties": properties}));
    }
}

/// Nothing but proxies to functions that let everybody pass.
fn is_plain(api: &Api) -> bool {
    let plain = |route: &Route| {
        let proxy = matches!(
            &route.integration.kind,
            IntegrationKind::Function { streams: false, request, responses, function, .. }
                if request.is_empty() && responses.is_empty() && !function.contains("${")
        );
        proxy
            && route.authorization == Authorization::None
            && !route.api_key_required
            && route.required_parameters.is_empty()
            && route.operation_name.is_none()
    };
    api.stages.len() == 1
        && api.authorizers.is_empty()
        && api.gateway_responses.is_empty()
        && api.usage_plans.is_empty()
        && api.domains.is_empty()
        && !api.execute_api_disabled
        && api.stages[0].throttle.is_none()
        && api.stages[0].route_throttles.is_empty()
        && api.routes.iter().all(plain)
}

/// The ARN by which a function names a published layer.
fn arn_of<'a>(folder: &Path, arns: &'a [String]) -> Option<&'a String> {
    arns.iter().find(|arn| {
        let layer: Option<LayerVersion> = arn.parse().ok();
        layer.is_some_and(|layer| folder.ends_with(layer.folder(Path::new(""))))
    })
}

/// Letters and digits only: `hello-world` -> `HelloWorld`. What is such a name already stays.
pub fn logical_id(name: &str) -> String {
    if !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric()) {
        return name.to_owned();
    }
    let mut id = String::new();
    for part in name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|part| !part.is_empty()) {
        let mut letters = part.chars();
        id.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        id.push_str(letters.as_str());
    }
    if id.is_empty() { "Resource".to_owned() } else { id }
}

/// The name without its qualifier.
fn base(function: &str) -> &str {
    function.split(':').next().unwrap_or(function)
}

/// From the template's folder; absolute if there is no way down from there.
fn relative(path: &Path, folder: &Path) -> String {
    let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    match path.strip_prefix(&folder) {
        Ok(inside) if inside.as_os_str().is_empty() => ".".to_owned(),
        Ok(inside) => inside.display().to_string(),
        Err(_) => path.display().to_string(),
    }
}
