//! The guard's own routes: whether a token is good, and the table that it goes by.

use std::sync::{Arc, OnceLock};

use axum::Json;
use axum::body::to_bytes;
use axum::extract::{Request, State as Extract};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::{Value, json};

use super::Scope::{self, Open, Read};
use super::{Guard, Routes, refusal};
use crate::http::Peer;

const LONGEST: usize = 16 * 1024;

/// The guard, as soon as it is made of the table that has these routes too.
#[derive(Clone, Default)]
pub struct State(Arc<OnceLock<Arc<Guard>>>);

impl State {
    pub fn set(&self, guard: Arc<Guard>) {
        let _ = self.0.set(guard);
    }
}

pub fn routes() -> Routes<State> {
    Routes::new().at("/_handlerd/session").post(Open, session).at("/_handlerd/routes").get(Read, table)
}

/// Nothing is kept: the page sends the token with each request.
async fn session(Extract(state): Extract<State>, request: Request) -> Response {
    let peer = request.extensions().get::<Peer>().map(|peer| peer.0.ip());
    let access = state.0.get().and_then(|guard| guard.access());
    let scopes = |may: &dyn Fn(Scope) -> bool| {
        let all = [Scope::Read, Scope::Invoke, Scope::Deploy, Scope::Admin];
        all.into_iter().filter(|scope| may(*scope)).map(Scope::name).collect::<Vec<_>>()
    };
    let Some(access) = access else {
        return Json(json!({"name": "local", "scopes": scopes(&|_| true)})).into_response();
    };
    let body = to_bytes(request.into_body(), LONGEST).await.unwrap_or_default();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let Some(token) = body["token"].as_str() else {
        return refusal(
            StatusCode::BAD_REQUEST,
            "InvalidRequestContentException",
            "the body must be {\"token\": \"...\"}",
        );
    };
    match access.with_token(token.trim().as_bytes(), peer) {
        Ok(caller) => {
            let scopes = scopes(&|scope| caller.may(scope));
            Json(json!({"name": caller.name, "scopes": scopes})).into_response()
        }
        Err(refused) => *refused,
    }
}

async fn table(Extract(state): Extract<State>) -> Json<Value> {
    let entries = state.0.get().map(|guard| guard.table()).unwrap_or_default();
    let entry = |entry: &super::Entry| json!({"method": entry.method.as_str(), "path": entry.path, "scope": entry.scope.name()});
    Json(entries.iter().map(entry).collect())
}
