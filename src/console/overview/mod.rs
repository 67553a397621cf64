//! All functions at a glance, and the Pythons they may run on.

mod urls;

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use serde_json::{Map, Value, json};

use super::error::ViewError;
use super::{Console, Surroundings, blocking};
use crate::control_plane::{Routes, Scope};
use crate::deployment::{Deployed, Problem, Severity};
use crate::execution_environment::isolation_told;
use crate::function::FunctionName;

pub fn routes() -> Routes<Console> {
    Routes::new()
        .at("/_handlerd/overview")
        .get(Scope::Read, overview)
        .at("/_handlerd/runtimes")
        .get(Scope::Read, runtimes)
}

async fn overview(State(console): State<Console>) -> Result<Json<Value>, ViewError> {
    // What is being saved right now belongs to it.
    console.0.invoker.deployments().settle_routes(None).await;
    blocking(move || Json(all(&console.0))).await
}

fn all(surroundings: &Surroundings) -> Value {
    let settings = &surroundings.settings;
    let deployment = surroundings.invoker.deployments().current();
    let published = surroundings.invoker.published().apis();
    let urls = urls::of(deployment.apis.iter().chain(published.iter()), &surroundings.http_url);
    let functions = deployment.functions.iter().map(|(name, deployed)| {
        let mut told = function(surroundings, name, deployed);
        let minutes = surroundings.invoker.metrics().last_hour(name.as_str());
        let minutes = minutes.iter().map(|minute| {
            json!({
                "t_ms": minute.t_ms,
                "invocations": minute.invocations,
                "errors": minute.errors,
                "p50_ms": minute.p50_ms,
            })
        });
        told["minutes"] = minutes.collect();
        told["urls"] = urls.get(name.as_str()).cloned().unwrap_or_default().into();
        told
    });
    let functions: Vec<Value> = functions.collect();
    let interpreter = match surroundings.interpreters.choose(None, settings.root()) {
        Ok(choice) => choice.interpreter.version.runtime(),
        Err(_) => "python3".to_owned(),
    };
    let account = surroundings.invoker.account();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "account_id": account.id,
        "region": account.region,
        "http_url": surroundings.http_url,
        "template": settings.template.is_some(),
        "handlers": settings.serves_handlers.then(|| settings.handlers.to_string_lossy()),
        "interpreter": interpreter,
        "isolation": surroundings.invoker.environments().isolation().as_ref().map(isolation_told),
        "functions": functions,
        "problems": deployment.problems.iter().map(problem).collect::<Vec<_>>(),
    })
}

fn function(surroundings: &Surroundings, name: &FunctionName, deployed: &Deployed) -> Value {
    let mut told = Map::new();
    told.insert("name".into(), name.as_str().into());
    match deployed {
        Deployed::Ready(function) => {
            let description = (surroundings.describe)(function);
            let cannot_load = surroundings.invoker.cannot_load(function);
            let failed = description["LastUpdateStatus"] == "Failed";
            let state = if failed { json!("Failed") } else { description["State"].clone() };
            let reason = ["StateReason", "LastUpdateStatusReason"].map(|name| &description[name]);
            if state != "Active"
                && let Some(reason) = reason.into_iter().find(|reason| !reason.is_null())
            {
                told.insert("reason".into(), reason.clone());
            }
            let state = match cannot_load {
                Some(why) if state == "Active" => {
                    told.insert("reason".into(), why.into());
                    "Broken".into()
                }
                _ => state,
            };
            told.insert("state".into(), state);
            for (name, of) in
                [("runtime", "Runtime"), ("last_modified", "LastModified"), ("description", "Description")]
            {
                told.insert(name.into(), description[of].clone());
            }
        }
        Deployed::Broken { reason } => {
            told.insert("state".into(), "Broken".into());
            told.insert("reason".into(), reason.as_str().into());
            for name in ["runtime", "last_modified", "description"] {
                told.insert(name.into(), "".into());
            }
        }
    }
    let declared = is_declared(surroundings, name);
    told.insert("source".into(), if declared { "template" } else { "handlers" }.into());
    Value::Object(told)
}

/// Whether the template says what it is made of.
fn is_declared(surroundings: &Surroundings, name: &FunctionName) -> bool {
    let settings = &surroundings.settings;
    settings.template.is_some()
        && (!settings.serves_handlers
            || surroundings.invoker.deployments().declared_in(name.as_str()).is_some())
}

fn problem(problem: &Problem) -> Value {
    let severity = match problem.severity {
        Severity::Note => "note",
        Severity::Warning => "warning",
        Severity::Error => "error",
    };
    json!({
        "severity": severity,
        "path": problem.path.to_string_lossy(),
        "line": problem.line.unwrap_or(1),
        "text": problem.text,
    })
}

async fn runtimes(State(console): State<Console>) -> Result<Json<Value>, ViewError> {
    blocking(move || {
        let interpreters = &console.0.interpreters;
        let default = interpreters.choose(None, console.0.settings.root()).ok();
        let default = default.map(|choice| choice.interpreter.version.runtime());
        let usable = interpreters.all().iter().filter(|interpreter| interpreter.is_usable());
        let mut versions: BTreeSet<(u16, u16)> =
            usable.map(|interpreter| (interpreter.version.major, interpreter.version.minor)).collect();
        let rows: Vec<Value> = std::iter::from_fn(|| versions.pop_last())
            .map(|(major, minor)| {
                let runtime = format!("python{major}.{minor}");
                let is_default = default.as_deref() == Some(&*runtime);
                json!({"runtime": runtime, "version": format!("{major}.{minor}"), "default": is_default})
            })
            .collect();
        Json(rows.into())
    })
    .await
}
