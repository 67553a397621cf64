//! Resources of plain CloudFormation: `AWS::Lambda::*`, `AWS::ApiGateway::*`, `AWS::ApiGatewayV2::*`
//! and load balancers.

mod domain;
mod lambda;
mod load_balancer;
mod other;
mod rest;
mod stage;
mod url;
mod usage_plan;
mod v2;
mod v2_routes;

use super::super::{Severity, convention};
use super::{Builder, Resource, Stack, triggers};
use crate::api::{Api, DEFAULT_STAGE, Kind, Stage};

pub fn read(stack: &Stack, builder: &mut Builder) {
    lambda::read(stack, builder);
    triggers::resources(stack, builder);
    let of_others = builder.reading.apis.len();
    for resource in &stack.resources {
        match resource.kind.as_str() {
            "AWS::ApiGateway::RestApi" => rest::api(resource, stack, builder),
            "AWS::ApiGatewayV2::Api" => v2::api(resource, stack, builder),
            _ => {}
        }
    }
    rest::read(stack, builder);
    v2_routes::read(stack, builder);
    stage::read(stack, builder);
    for index in of_others..builder.reading.apis.len() {
        complete(index, builder);
    }
    usage_plan::read(stack, builder);
    domain::read(stack, builder);
    url::read(stack, builder);
    load_balancer::read(stack, builder);
    other::read(stack, builder);
}

/// Why a definition in S3 is not read.
const IN_S3: &str = "the definition is in S3, which is not read; give it in `Body`, for instance by `Fn::Transform: AWS::Include`";

/// An API of this resource.
fn begin(resource: &Resource, kind: Kind, builder: &Builder) -> Api {
    let mut api = Api::new(&id(resource), &resource.logical_id, kind);
    api.source = builder.source(resource.line);
    api
}

/// What `Ref` gives, if that is an id as APIs have it.
fn id(resource: &Resource) -> String {
    let id = &resource.physical_id;
    let valid = id.len() == 10 && id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    if valid { id.clone() } else { convention::id(&resource.logical_id) }
}

/// An API always has a stage.
fn complete(index: usize, builder: &mut Builder) {
    let api = &mut builder.reading.apis[index];
    if !api.stages.is_empty() {
        return;
    }
    let stage = match api.kind {
        Kind::Rest => "Prod",
        Kind::WebSocket => "default",
        _ => DEFAULT_STAGE,
    };
    api.stages.push(Stage::named(stage));
    let (name, kind, line) = (api.name.clone(), api.kind.name(), api.source.line.unwrap_or(0));
    let text = format!(
        "`{name}`: the {kind} has no stage; on AWS nothing of it could be called, here it is served as stage `{stage}`"
    );
    builder.problem(Severity::Warning, line, text);
}

#[cfg(test)]
mod tests;
