//! One function as a SAM template: itself, what comes in to it, and what authorizes that.

use std::collections::BTreeSet;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::header;

use super::super::error::ViewError;
use super::super::{Console, blocking};
use crate::api::{Api, Authorization, AuthorizerKind};
use crate::deployment::{Deployment, Frame, dotenv_names, export as write};
use crate::function::Function;

/// Paths in it begin at the project's folder: there it can be served, or deployed by SAM.
pub async fn export(State(console): State<Console>, Path(name): Path<String>) -> Result<Response, ViewError> {
    let function = super::resolve(&console, &name).await?;
    let surroundings = console.0.clone();
    let text = blocking(move || {
        let deployment = only(&surroundings.invoker.deployments().current(), function.name.as_str());
        let project = &surroundings.settings.project;
        let project = std::path::absolute(project).unwrap_or_else(|_| project.clone());
        let runtime = |function: &Function| {
            (surroundings.describe)(function)["Runtime"].as_str().unwrap_or("python3.13").to_owned()
        };
        let secrets = |function: &Function| dotenv_names(&function.task_root);
        let (text, left_out) =
            write(&deployment, &Frame { folder: &project, runtime: &runtime, secrets: &secrets });
        let lines = left_out.iter().flat_map(|what| what.lines());
        let notes: String = lines.map(|line| format!("# left out: {line}\n")).collect();
        notes + &text
    });
    let headers = [
        (header::CONTENT_TYPE, "application/yaml".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}.yaml\"")),
    ];
    Ok((headers, text.await?).into_response())
}

fn base(function: &str) -> &str {
    function.split(':').next().unwrap_or(function)
}

/// The part of a deployment that one function needs.
fn only(all: &Deployment, name: &str) -> Deployment {
    let mut wanted = BTreeSet::from([name.to_owned()]);
    let mut part = Deployment::default();
    for api in &all.apis {
        let Some(api) = routes_of(api, name) else { continue };
        for authorizer in api.authorizers.values() {
            if let AuthorizerKind::Token(lambda) | AuthorizerKind::Request(lambda) = &authorizer.kind {
                wanted.insert(base(&lambda.function).to_owned());
            }
        }
        part.apis.push(api.into());
    }
    for (name, deployed) in all.functions.iter().filter(|(name, _)| wanted.contains(name.as_str())) {
        part.functions.insert(name.clone(), deployed.clone());
    }
    // What only authorizes here is not triggered by its own events.
    part.attached.extend(all.attached.get_key_value(name).map(|(name, own)| (name.clone(), own.clone())));
    part
}

/// With the preflights of its paths.
fn routes_of(api: &Api, name: &str) -> Option<Api> {
    let is_own = |function: Option<&str>| function.is_some_and(|function| base(function) == name);
    let paths: BTreeSet<&str> =
        api.routes.iter().filter(|route| is_own(route.function())).map(|route| route.path.as_str()).collect();
    if paths.is_empty() {
        return None;
    }
    let mut own = api.clone();
    own.routes.retain(|route| {
        is_own(route.function())
            || (route.method == "OPTIONS"
                && route.function().is_none()
                && paths.contains(route.path.as_str()))
    });
    let used: BTreeSet<String> = own
        .routes
        .iter()
        .filter_map(|route| match &route.authorization {
            Authorization::Authorizer { name, .. } => Some(name.clone()),
            Authorization::None | Authorization::Iam => None,
        })
        .collect();
    own.authorizers.retain(|name, _| used.contains(name));
    Some(own)
}
