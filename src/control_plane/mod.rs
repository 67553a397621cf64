//! The control plane's routes in one table: each with the scope that its caller must have.
//!
//! The Lambda API, the console and what other services call are put together from [`Routes`]; there is
//! no other way to get a route onto the port, so none can be without a scope, and `guard`, the
//! outermost layer, is made from this very table.

mod access;
mod action;
mod audit;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod guard;
mod lockout;
mod origin;
mod session;
#[cfg(test)]
mod sweep;
#[cfg(test)]
mod tampered;

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::handler::Handler;
use axum::response::{IntoResponse, Response};
use axum::routing::{self, MethodRouter, Route};
use http::Method;
use tower::{Layer, Service, ServiceExt};

use crate::http::Answering;

pub use access::Access;
pub use audit::{Audit, Change, Verdict, entries as audit_entries, verify as verify_audit};
pub use guard::Guard;
pub use origin::Names;

/// What a caller may do. On loopback everybody has all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Asks for nothing, or for something of its own: a signed link, a page without data.
    Open,
    /// Looks at functions, logs and figures.
    Read,
    /// Calls functions.
    Invoke,
    /// Changes functions and what belongs to them, events that wait among it.
    Deploy,
    /// Says who may do what, and keeps the house.
    Admin,
}

impl Scope {
    /// As a credentials file has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Read => "read",
            Self::Invoke => "invoke",
            Self::Deploy => "deploy",
            Self::Admin => "admin",
        }
    }
}

/// A route of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub method: Method,
    /// As axum writes it: `/2015-03-31/functions/{name}`.
    pub path: String,
    pub scope: Scope,
}

/// Routes under construction: `at` a path, the methods that it has there.
pub struct Routes<S = ()> {
    router: Router<S>,
    table: Vec<Entry>,
    path: String,
}

impl<S: Clone + Send + Sync + 'static> Routes<S> {
    #[expect(clippy::new_without_default, reason = "it is the beginning of a chain")]
    pub fn new() -> Self {
        Self { router: Router::new(), table: Vec::new(), path: "/".to_owned() }
    }

    pub fn at(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        self
    }

    /// Answers HEAD too.
    pub fn get<H: Handler<T, S>, T: 'static>(self, scope: Scope, handler: H) -> Self {
        self.add(Method::GET, scope, routing::get(handler))
    }

    pub fn put<H: Handler<T, S>, T: 'static>(self, scope: Scope, handler: H) -> Self {
        self.add(Method::PUT, scope, routing::put(handler))
    }

    pub fn post<H: Handler<T, S>, T: 'static>(self, scope: Scope, handler: H) -> Self {
        self.add(Method::POST, scope, routing::post(handler))
    }

    pub fn delete<H: Handler<T, S>, T: 'static>(self, scope: Scope, handler: H) -> Self {
        self.add(Method::DELETE, scope, routing::delete(handler))
    }

    fn add(mut self, method: Method, scope: Scope, handler: MethodRouter<S>) -> Self {
        self.router = self.router.route(&self.path, handler);
        self.table.push(Entry { method, path: self.path.clone(), scope });
        self
    }

    pub fn merge(mut self, other: Self) -> Self {
        self.router = self.router.merge(other.router);
        self.table.extend(other.table);
        self
    }

    /// Around all routes that are here already.
    pub fn layer<L>(mut self, layer: L) -> Self
    where
        L: Layer<Route> + Clone + Send + Sync + 'static,
        L::Service: Service<Request> + Clone + Send + Sync + 'static,
        <L::Service as Service<Request>>::Response: IntoResponse + 'static,
        <L::Service as Service<Request>>::Error: Into<Infallible> + 'static,
        <L::Service as Service<Request>>::Future: Send + 'static,
    {
        self.router = self.router.layer(layer);
        self
    }

    pub fn with_state(self, state: S) -> Routes {
        Routes { router: self.router.with_state(state), table: self.table, path: self.path }
    }
}

impl Routes {
    pub fn table(&self) -> &[Entry] {
        &self.table
    }

    /// The whole port: these routes and the guard's own, behind the guard.
    pub fn guarded<H: Handler<T, ()>, T: 'static>(self, guard: Guard, unknown: H) -> Guarded {
        let state = session::State::default();
        let routes = self.merge(session::routes().with_state(state.clone()));
        let guard = Arc::new(guard.of(routes.table));
        state.set(guard.clone());
        let router = routes.router.fallback(unknown.clone()).method_not_allowed_fallback(unknown);
        // The outermost layer: nothing is looked at before it has passed.
        Guarded(router.layer(axum::middleware::from_fn_with_state(guard, guard::guard)))
    }
}

/// The control plane behind its guard. It is no router any more, so that nothing can be put beside or
/// outside of the guard.
#[derive(Clone)]
pub struct Guarded(Router);

impl Answering for Guarded {
    async fn answer(self, request: Request) -> Response {
        let Ok(response) = self.0.oneshot(request).await;
        response
    }
}

/// What a request of this method to this path needs. What the table does not know is for nobody but
/// administrators; it comes to nothing anyway.
fn scope_of(table: &[Entry], method: &Method, path: Option<&MatchedPath>) -> Scope {
    let method = if method == Method::HEAD { &Method::GET } else { method };
    let entry = path
        .and_then(|path| table.iter().find(|entry| entry.method == *method && entry.path == path.as_str()));
    entry.map_or(Scope::Admin, |entry| entry.scope)
}

/// An error of the control plane itself, as the Lambda API words one.
fn refusal(status: http::StatusCode, kind: &'static str, message: &str) -> Response {
    let body = axum::Json(serde_json::json!({"message": message}));
    (status, [("x-amzn-errortype", kind)], body).into_response()
}
