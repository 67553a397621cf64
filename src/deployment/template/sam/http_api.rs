//! `AWS::Serverless::HttpApi`.

use super::super::super::Severity;
use super::super::section::Section;
use super::super::{Builder, Resource, Stack};
use super::auth::Rules;
use super::events::RouteEvent;
use super::routes::{self, Definition};
use super::{domain, table, throttle};
use crate::api::{Api, Cors, DEFAULT_STAGE, Kind, Stage};

pub fn read(stack: &Stack, resource: &Resource, events: &[RouteEvent], builder: &mut Builder) {
    table::report(resource, &table::HTTP_API, builder);
    let properties = Section::properties(resource);
    let Some(mut stage) = stage(&properties, DEFAULT_STAGE, builder) else { return };
    stage.variables = properties.texts_by_name("StageVariables", builder).into_iter().collect();
    throttle::stage(&properties, &mut stage, builder);
    for event in events {
        if let Some(throttle) = event.throttle {
            stage.route_throttles.insert(event.route.key(), throttle);
        }
    }
    let mut api = Api::new(&resource.physical_id, &resource.logical_id, Kind::Http);
    api.source = builder.source(resource.line);
    let definition = routes::define(stack, resource, &mut api, builder);
    for key in ["CorsConfiguration", "Auth"] {
        if definition == Definition::File && properties.get(key).is_some() {
            let text =
                format!("`{key}` works only with `DefinitionBody`: SAM refuses it beside `DefinitionUri`");
            properties.error(key, text, builder);
        }
    }
    let rules = Rules::read(stack, resource, Kind::Http, builder);
    routes::add(&mut api, events, definition, &rules, builder);
    api.authorizers.extend(rules.authorizers);
    if let Some(cors) = cors(&properties, builder) {
        api.cors = Some(cors);
    }
    api.domains = domain::read(&properties, &stage.name, builder);
    if let Some(disabled) = properties.boolean("DisableExecuteApiEndpoint", builder) {
        api.execute_api_disabled = disabled;
    }
    api.stages = vec![stage];
    builder.reading.apis.push(api);
}

/// `StageName`, or what stands for it.
pub fn stage(properties: &Section<'_>, default: &str, builder: &mut Builder) -> Option<Stage> {
    if properties.get("StageName").is_none() {
        return Some(Stage::named(default));
    }
    let name = properties.text("StageName", builder)?;
    let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if name != DEFAULT_STAGE && (name.is_empty() || name.len() > 128 || !name.chars().all(valid)) {
        let text =
            format!("`StageName`: `{name}` must be `$default`, or letters, digits, `-` and `_`, at most 128");
        properties.error("StageName", text, builder);
        return None;
    }
    Some(Stage::named(name))
}

/// `true` lets every origin in.
fn cors(properties: &Section<'_>, builder: &mut Builder) -> Option<Cors> {
    let node = properties.get("CorsConfiguration")?;
    match node.boolean() {
        Some(true) => return Some(Cors { allow_origins: vec!["*".to_owned()], ..Cors::default() }),
        Some(false) => return None,
        None => {}
    }
    let section = properties.section("CorsConfiguration", builder)?;
    let cors = section.cors(-1, builder);
    if cors.allow_credentials && cors.allow_origins.iter().any(|origin| origin == "*") {
        let text = "`CorsConfiguration`: `AllowCredentials` cannot be true when `AllowOrigins` holds `*`";
        builder.problem(Severity::Error, section.line("AllowCredentials"), text);
        return None;
    }
    Some(cors)
}
