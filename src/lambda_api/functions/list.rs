//! ListFunctions: what is deployed, in pages; with `FunctionVersion=ALL` what is published too.

use axum::Json;
use axum::extract::{Query, State};
use http::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::LambdaApi;
use super::super::error::ApiError;
use super::super::page::Page;
use super::super::request::check_choice;
use super::describe;
use super::describe::listed;
use crate::deployment::Deployed;
use crate::function::Function;

#[derive(Debug, Deserialize)]
pub struct Versions {
    #[serde(rename = "FunctionVersion")]
    function_version: Option<String>,
}

pub async fn list(
    State(api): State<LambdaApi>,
    Query(page): Query<Page>,
    Query(versions): Query<Versions>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    if let Some(wanted) = &versions.function_version {
        check_choice(wanted, "functionVersion", &["ALL"])?;
    }
    let all = versions.function_version.is_some();
    let deployment = api.invoker.deployments().current();
    let region = api.region(&headers);
    let mut functions = Vec::new();
    for function in deployment.functions.values().filter_map(Deployed::function) {
        functions.push(function.clone());
        if all {
            functions.extend(api.invoker.published().versions(function.name.as_str()));
        }
    }
    let key = |function: &std::sync::Arc<Function>| format!("{}:{}", function.name, function.version);
    let (functions, next) = page.of(functions, key)?;
    let describe = |function: &std::sync::Arc<Function>| {
        let qualifier = all.then(|| function.version.to_string());
        listed(describe(&api, function, &region, qualifier.as_deref()))
    };
    let mut answer = json!({"Functions": functions.iter().map(describe).collect::<Vec<_>>()});
    if let Some(next) = next {
        answer["NextMarker"] = next.into();
    }
    Ok(Json(answer))
}
