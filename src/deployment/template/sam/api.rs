//! `AWS::Serverless::Api`: a REST API.

use super::super::super::Severity;
use super::super::super::nearest::hint;
use super::super::section::Section;
use super::super::{Builder, Resource, Stack};
use super::auth::Rules;
use super::events::RouteEvent;
use super::routes::{self, Definition};
use super::{cors, domain, table, throttle, usage_plan};
use crate::api::{Api, ApiKeySource, GatewayResponse, Kind, Stage};

pub fn read(stack: &Stack, resource: &Resource, events: &[RouteEvent], builder: &mut Builder) {
    table::report(resource, &table::API, builder);
    let properties = Section::properties(resource);
    let Some(mut stage) = stage(&properties, builder) else { return };
    stage.variables = properties.texts_by_name("Variables", builder).into_iter().collect();
    throttle::methods(&properties, &mut stage, builder);
    let mut api = Api::new(&resource.physical_id, &resource.logical_id, Kind::Rest);
    api.source = builder.source(resource.line);
    let definition = routes::define(stack, resource, &mut api, builder);
    for key in ["Cors", "Auth", "GatewayResponses"] {
        if definition == Definition::File && properties.get(key).is_some() {
            let text =
                format!("`{key}` works only with `DefinitionBody`: SAM refuses it beside `DefinitionUri`");
            properties.error(key, text, builder);
        }
    }
    let rules = Rules::read(stack, resource, Kind::Rest, builder);
    routes::add(&mut api, events, definition, &rules, builder);
    cors::add_preflights(&properties, &mut api, &rules, builder);
    api.authorizers.extend(rules.authorizers);
    if let Some(types) = properties.texts("BinaryMediaTypes", builder) {
        api.binary_media_types.extend(types.iter().map(|text| text.replace("~1", "/")));
    }
    gateway_responses(&properties, &mut api, builder);
    if let Some("AUTHORIZER") = properties.word("ApiKeySourceType", &["HEADER", "AUTHORIZER"], builder) {
        api.api_key_source = ApiKeySource::Authorizer;
    }
    usage_plan::read(resource, &mut api, builder);
    api.domains = domain::read(&properties, &stage.name, builder);
    if let Some(disabled) = properties.boolean("DisableExecuteApiEndpoint", builder) {
        api.execute_api_disabled = disabled;
    }
    api.stages = vec![stage];
    builder.reading.apis.push(api);
}

fn stage(properties: &Section<'_>, builder: &mut Builder) -> Option<Stage> {
    let Some(name) = properties.text("StageName", builder) else {
        if properties.get("StageName").is_none() {
            let text =
                "`StageName` is missing, without which the API has no address\nhint: `StageName: Prod`";
            properties.error("StageName", text, builder);
        }
        return None;
    };
    let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if name.is_empty() || name.len() > 128 || !name.chars().all(valid) {
        let text = format!("`StageName`: `{name}` must be letters, digits, `-` and `_`, at most 128 of them");
        properties.error("StageName", text, builder);
        return None;
    }
    Some(Stage::named(name))
}

fn gateway_responses(properties: &Section<'_>, api: &mut Api, builder: &mut Builder) {
    let Some(responses) = properties.section("GatewayResponses", builder) else { return };
    for (key, name, node) in responses.entries() {
        let section = responses.below(name, node);
        if !GatewayResponse::TYPES.contains(&name) {
            let text =
                format!("`{name}` is no type of gateway response{}", hint(name, GatewayResponse::TYPES));
            builder.problem(Severity::Error, key.line, text);
            continue;
        }
        if !section.is_map(builder) {
            continue;
        }
        section.only(&["ResponseParameters", "ResponseTemplates", "StatusCode"], builder);
        let mut response = GatewayResponse {
            status: section.number("StatusCode", 100, 599, builder).map(|status| status as u16),
            templates: section.texts_by_name("ResponseTemplates", builder).into_iter().collect(),
            ..GatewayResponse::default()
        };
        if let Some(parameters) = section.section("ResponseParameters", builder) {
            parameters.only(&["Headers", "Paths", "QueryStrings"], builder);
            for (key, place) in [("Headers", "header"), ("Paths", "path"), ("QueryStrings", "querystring")] {
                for (name, value) in parameters.texts_by_name(key, builder) {
                    response.parameters.insert(format!("gatewayresponse.{place}.{name}"), value);
                }
            }
        }
        api.gateway_responses.insert(name.to_owned(), response);
    }
}
