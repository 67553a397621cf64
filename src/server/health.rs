//! What the control plane tells of the house: the runtime of a function, and `GET /health`.

use std::sync::Arc;
use std::time::Instant;

use crate::execution_environment::isolation_told;
use crate::http::Admission;
use crate::interpreter::Interpreters;
use crate::invoker::Invoker;

pub fn runtime_of(interpreters: Arc<Interpreters>) -> crate::lambda_api::RuntimeOf {
    Arc::new(move |function| {
        let runtime = function.configuration.runtime.clone();
        runtime.unwrap_or_else(|| match interpreters.choose(None, &function.task_root) {
            Ok(choice) => choice.interpreter.version.runtime(),
            Err(_) => "python3".to_owned(),
        })
    })
}

/// The answer to `GET /health`.
pub fn health(
    invoker: Invoker,
    interpreters: Arc<Interpreters>,
    root: std::path::PathBuf,
    [at_routes, at_api]: [Admission; 2],
) -> Arc<dyn Fn() -> serde_json::Value + Send + Sync> {
    let started = Instant::now();
    Arc::new(move || {
        let deployment = invoker.deployments().current();
        let functions: serde_json::Map<String, serde_json::Value> = deployment
            .functions
            .iter()
            .map(|(name, deployed)| {
                let counts = invoker.environments().counts(name);
                let description = serde_json::json!({
                    "state": if deployed.function().is_some() { "Active" } else { "Failed" },
                    "code": deployed.function().map(|function| function.short_hash()),
                    "environments": {"idle": counts.idle, "busy": counts.busy, "starting": counts.starting},
                    "waiting": counts.waiting,
                    "leftAhead": counts.left_ahead,
                });
                (name.to_string(), description)
            })
            .collect();
        let python = match interpreters.choose(None, &root) {
            Ok(choice) => serde_json::json!({
                "version": choice.interpreter.version.to_string(),
                "executable": choice.python,
                "library": choice.interpreter.libpython,
            }),
            Err(none) => serde_json::json!({"problem": none.to_string()}),
        };
        serde_json::json!({
            "status": if at_api.is_leaving() { "ending" } else { "ok" },
            "version": env!("CARGO_PKG_VERSION"),
            "uptimeSeconds": started.elapsed().as_secs(),
            "pid": std::process::id(),
            "python": python,
            "zygotes": invoker.environments().zygote_pids(),
            "environments": invoker.environments().total(),
            "isolation": invoker.environments().isolation().as_ref().map(isolation_told),
            "functions": functions,
            "connections": {"http": connections(&at_routes), "api": connections(&at_api)},
            "store": invoker.store().trouble().unwrap_or_else(|| "ok".to_owned()),
        })
    })
}

/// What has become of the connections of a port.
fn connections(admission: &Admission) -> serde_json::Value {
    let counted =
        admission.counters().snapshot().into_iter().map(|(name, count)| (name.to_owned(), count.into()));
    let most = ("most".to_owned(), admission.most().into());
    serde_json::Value::Object(std::iter::once(most).chain(counted).collect())
}
