//! Stages and deployments of REST, HTTP and WebSocket APIs.

use std::collections::BTreeMap;

use super::super::sheet::Sheet;
use super::super::{Builder, Resource, Stack, Status, throttle};
use super::rest::owner;
use crate::api::{Api, Stage, Throttle};

const SNAPSHOT: &str = "a deployment is no snapshot here: what the template says now is served";
const UNWATCHED: &str = "access logs, metrics and traces go nowhere here";
const UNCACHED: &str = "nothing is cached here";
const ELSEWHERE: &str = "means nothing on one's own machine";

pub fn read(stack: &Stack, builder: &mut Builder) {
    for resource in &stack.resources {
        match resource.kind.as_str() {
            "AWS::ApiGateway::Stage" => rest(resource, stack, builder),
            "AWS::ApiGatewayV2::Stage" => v2(resource, stack, builder),
            _ => {}
        }
    }
    // A stage that stands on its own comes first; a deployment may make another.
    for resource in &stack.resources {
        match resource.kind.as_str() {
            "AWS::ApiGateway::Deployment" => deployment(resource, "RestApiId", stack, builder),
            "AWS::ApiGatewayV2::Deployment" => deployment(resource, "ApiId", stack, builder),
            _ => {}
        }
    }
}

/// The stage of this name, which is made if it is not there.
fn stage<'a>(api: &'a mut Api, name: &str) -> &'a mut Stage {
    let index = api.stages.iter().position(|stage| stage.name == name).unwrap_or_else(|| {
        api.stages.push(Stage::named(name));
        api.stages.len() - 1
    });
    &mut api.stages[index]
}

/// Whether a stage can be called so.
fn checked<'a>(sheet: &mut Sheet<'a>, required: bool) -> Option<&'a str> {
    let name = sheet.text("StageName");
    match name {
        Some("$default") => name,
        Some(text)
            if text.is_empty() || !text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)) =>
        {
            sheet.refuse("StageName", "a stage's name is made of letters, digits, `-` and `_`");
            None
        }
        None if required => {
            sheet.error(sheet.line_of(""), "`StageName` is missing");
            sheet.whole(Status::Ignored, "it has no name");
            None
        }
        name => name,
    }
}

fn rest(resource: &Resource, stack: &Stack, builder: &mut Builder) {
    let mut sheet = Sheet::of(resource);
    let owner = owner(&mut sheet, "RestApiId", stack, builder);
    let name = checked(&mut sheet, true);
    let variables = sheet.map("Variables");
    let throttles = settings(&mut sheet);
    sheet.text("Description");
    sheet.different("DeploymentId", SNAPSHOT);
    sheet.different("CanarySetting", "there is no canary: all requests see the stage itself");
    sheet.ignore(&["CacheClusterEnabled", "CacheClusterSize"], UNCACHED);
    sheet.ignore(&["AccessLogSetting", "TracingEnabled"], UNWATCHED);
    sheet.ignore(&["ClientCertificateId", "DocumentationVersion", "Tags"], ELSEWHERE);
    if let (Some(index), Some(name)) = (owner, name) {
        let stage = stage(&mut builder.reading.apis[index], name);
        stage.variables.extend(variables);
        throttles.put(stage);
    }
    sheet.finish(builder);
}

/// What `MethodSettings` come to.
#[derive(Default)]
struct Throttles {
    all: Option<Throttle>,
    by_route: BTreeMap<String, Throttle>,
}

impl Throttles {
    fn put(self, stage: &mut Stage) {
        stage.throttle = self.all.or(stage.throttle);
        stage.route_throttles.extend(self.by_route);
    }
}

fn settings(sheet: &mut Sheet<'_>) -> Throttles {
    let mut throttles = Throttles::default();
    for mut setting in sheet.each("MethodSettings") {
        let method = setting.text("HttpMethod").unwrap_or("*").to_ascii_uppercase();
        let path = unescaped(setting.text("ResourcePath").unwrap_or("/*"));
        let throttle = throttle::read(&mut setting, "ThrottlingRateLimit", "ThrottlingBurstLimit");
        setting.ignore(&["CachingEnabled", "CacheTtlInSeconds", "CacheDataEncrypted"], UNCACHED);
        setting.ignore(&["LoggingLevel", "DataTraceEnabled", "MetricsEnabled"], UNWATCHED);
        sheet.take_over(setting);
        let Some(throttle) = throttle else { continue };
        match (method.as_str(), path.as_str()) {
            ("*", "/*" | "*") => throttles.all = Some(throttle),
            (method, path) => drop(throttles.by_route.insert(format!("{method} {path}"), throttle)),
        }
    }
    throttles
}

/// `/~1users~1{id}` -> `/users/{id}`
fn unescaped(path: &str) -> String {
    match path.strip_prefix("/~1") {
        Some(rest) => format!("/{}", rest.replace("~1", "/")),
        None => path.to_owned(),
    }
}

fn v2(resource: &Resource, stack: &Stack, builder: &mut Builder) {
    let mut sheet = Sheet::of(resource);
    let owner = owner(&mut sheet, "ApiId", stack, builder);
    let name = checked(&mut sheet, true);
    let variables = sheet.map("StageVariables");
    let default = sheet.within("DefaultRouteSettings").and_then(|settings| {
        let (throttle, settings) = route_settings(settings);
        sheet.take_over(settings);
        throttle
    });
    let mut by_route = BTreeMap::new();
    if let Some(value) = sheet.take("RouteSettings") {
        for (key, value) in value.mapping().unwrap_or_default() {
            let key = key.text().unwrap_or("?");
            let (throttle, settings) = route_settings(sheet.below(&format!("RouteSettings.{key}"), value));
            sheet.take_over(settings);
            by_route.extend(throttle.map(|throttle| (key.to_owned(), throttle)));
        }
    }
    if sheet.boolean("AutoDeploy") == Some(false) {
        sheet.different("AutoDeploy", SNAPSHOT);
    }
    sheet.text("Description");
    sheet.different("DeploymentId", SNAPSHOT);
    sheet.ignore(&["AccessLogSettings"], UNWATCHED);
    sheet.ignore(&["AccessPolicyId", "ClientCertificateId", "Tags"], ELSEWHERE);
    if let (Some(index), Some(name)) = (owner, name) {
        let stage = stage(&mut builder.reading.apis[index], name);
        stage.variables.extend(variables);
        Throttles { all: default, by_route }.put(stage);
    }
    sheet.finish(builder);
}

fn route_settings(mut sheet: Sheet<'_>) -> (Option<Throttle>, Sheet<'_>) {
    let throttle = throttle::read(&mut sheet, "ThrottlingRateLimit", "ThrottlingBurstLimit");
    sheet.ignore(&["LoggingLevel", "DataTraceEnabled", "DetailedMetricsEnabled"], UNWATCHED);
    (throttle, sheet)
}

fn deployment(resource: &Resource, api: &'static str, stack: &Stack, builder: &mut Builder) {
    let mut sheet = Sheet::of(resource);
    sheet.whole(Status::Different, SNAPSHOT);
    let owner = owner(&mut sheet, api, stack, builder);
    let name = checked(&mut sheet, false);
    sheet.text("Description");
    let mut variables = BTreeMap::new();
    let mut throttles = Throttles::default();
    if api == "RestApiId" {
        sheet.different("DeploymentCanarySettings", "there is no canary: all requests see the stage itself");
        if let Some(mut described) = sheet.within("StageDescription") {
            variables = described.map("Variables");
            throttles = settings(&mut described);
            let all = throttle::read(&mut described, "ThrottlingRateLimit", "ThrottlingBurstLimit");
            throttles.all = throttles.all.or(all);
            described.text("Description");
            described.different("CanarySetting", "there is no canary: all requests see the stage itself");
            let cache = [
                "CacheClusterEnabled",
                "CacheClusterSize",
                "CacheDataEncrypted",
                "CacheTtlInSeconds",
                "CachingEnabled",
            ];
            described.ignore(&cache, UNCACHED);
            let watched =
                ["AccessLogSetting", "DataTraceEnabled", "LoggingLevel", "MetricsEnabled", "TracingEnabled"];
            described.ignore(&watched, UNWATCHED);
            described.ignore(&["ClientCertificateId", "DocumentationVersion", "Tags"], ELSEWHERE);
            sheet.take_over(described);
        }
    }
    if let (Some(index), Some(name)) = (owner, name) {
        let stage = stage(&mut builder.reading.apis[index], name);
        stage.variables.extend(variables);
        throttles.put(stage);
    }
    sheet.finish(builder);
}
