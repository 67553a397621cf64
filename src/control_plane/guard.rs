//! The outermost layer of the control plane, which can run code by design: every request passes here,
//! or is not looked at. In this order: is it for us and from no web page of others (`origin`), who asks
//! (`access`), may they do it (the table's scope), and is it told in the audit log (`audit`).

use std::sync::Arc;

use axum::body::{Body, HttpBody, to_bytes};
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{Method, StatusCode};

use super::access::{Access, Caller};
use super::audit::{Audit, Change};
use super::origin::Names;
use super::{Entry, Scope, action, refusal, scope_of};
use crate::config::{Account, Network};
use crate::defences;
use crate::http::{Forwarded, Peer};

/// A change's answer is looked at for the hash of the code, up to this length.
const LONGEST_ANSWER: u64 = 256 * 1024;

#[derive(Clone)]
pub struct Guard {
    names: Names,
    access: Option<Arc<Access>>,
    audit: Option<Audit>,
    /// Nobody else on other machines may speak to us, as what they say would not be encrypted.
    proxies: Option<Vec<Network>>,
    account: Option<Account>,
    table: Vec<Entry>,
}

impl Guard {
    pub fn new(names: Names) -> Self {
        Self { names, access: None, audit: None, proxies: None, account: None, table: Vec::new() }
    }

    /// Asks everybody for credentials.
    pub fn asking(mut self, access: Option<Arc<Access>>) -> Self {
        self.access = access;
        self
    }

    pub fn recording(mut self, audit: Audit) -> Self {
        self.audit = Some(audit);
        self
    }

    /// Whose functions these appear to be, for the names of what is acted on.
    pub fn of_account(mut self, account: Account) -> Self {
        self.account = Some(account);
        self
    }

    /// Without TLS of our own: what comes from other machines must come through these.
    pub fn behind(mut self, proxies: Vec<Network>) -> Self {
        self.proxies = Some(proxies);
        self
    }

    /// The guard of these routes.
    pub(super) fn of(mut self, table: Vec<Entry>) -> Self {
        self.table = table;
        self
    }

    pub(super) fn table(&self) -> &[Entry] {
        &self.table
    }

    pub(super) fn access(&self) -> Option<&Access> {
        self.access.as_deref()
    }

    fn check(&self, request: &Request) -> Result<(), (StatusCode, String)> {
        let peer = request.extensions().get::<Peer>().map(|peer| peer.0.ip());
        let is_proxied = request.extensions().get::<Forwarded>().is_some();
        let is_near = is_proxied || peer.is_none_or(|peer| peer.to_canonical().is_loopback());
        if self.proxies.is_some() && !is_near {
            let reason = "this address is for the proxy in front of it (`--trusted-proxy`)";
            return Err((StatusCode::FORBIDDEN, reason.to_owned()));
        }
        self.names.check(request)
    }

    async fn pass(self: Arc<Self>, mut request: Request, next: Next) -> Response {
        if let Err((status, reason)) = self.check(&request) {
            tracing::warn!(target: "request", "refused on the control plane: {reason}");
            let kind = match status {
                StatusCode::MISDIRECTED_REQUEST => "MisdirectedRequestException",
                _ => "AccessDeniedException",
            };
            return refusal(status, kind, &reason);
        }
        let route = request.extensions().get::<MatchedPath>().cloned();
        let scope = scope_of(&self.table, request.method(), route.as_ref());
        let mut caller = Caller::local();
        if let Some(access) =
            self.access.as_deref().filter(|_| scope != Scope::Open && !defences::off("credentials"))
        {
            // The event bus stands where EventBridge's endpoint has its only path.
            let is_bus = *request.method() == Method::POST && request.uri().path() == "/";
            (caller, request) = match access.admit(request, if is_bus { "events" } else { "lambda" }).await {
                Ok(admitted) => admitted,
                Err(refused) => return refused,
            };
        }
        if !caller.may(scope) && !defences::off("scopes") {
            let change = self.change(&request, route.as_ref(), &caller);
            let denied = self.denied(&caller, scope, &change);
            if scope >= Scope::Deploy
                && let Err(error) =
                    self.record(Change { outcome: "denied", status: Some(403), ..change }).await
            {
                tracing::error!("the audit log cannot be written: {error}");
            }
            return denied;
        }
        if scope < Scope::Deploy || self.audit.is_none() || route.is_none() {
            return next.run(request).await;
        }
        // To its end, also when the client has gone away: no change without a line.
        let change = self.change(&request, route.as_ref(), &caller);
        let recorded = tokio::spawn(async move { self.recorded(change, request, next).await });
        recorded.await.unwrap_or_else(|_| {
            refusal(StatusCode::INTERNAL_SERVER_ERROR, "ServiceException", "the request could not be served")
        })
    }

    async fn recorded(self: Arc<Self>, change: Change, request: Request, next: Next) -> Response {
        let audit = self.audit.clone();
        let ready = tokio::task::spawn_blocking(move || audit.map_or(Ok(()), |audit| audit.check())).await;
        if let Ok(Err(error)) = ready {
            tracing::error!("the audit log cannot be written, so that changes are refused: {error}");
            let message = "the audit log cannot be written, so nothing was changed";
            return refusal(StatusCode::SERVICE_UNAVAILABLE, "ServiceException", message);
        }
        let (response, code_sha256) = with_code(next.run(request).await).await;
        let status = response.status();
        let outcome = if status.is_success() { "done" } else { "failed" };
        let change = Change { code_sha256, outcome, status: Some(status.as_u16()), ..change };
        if let Err(error) = self.record(change).await {
            tracing::error!("a change is not in the audit log, as that cannot be written: {error}");
        }
        response
    }

    async fn record(&self, change: Change) -> std::io::Result<()> {
        let Some(audit) = self.audit.clone() else { return Ok(()) };
        let recording = tokio::task::spawn_blocking(move || audit.record(&change));
        recording.await.unwrap_or_else(|error| Err(std::io::Error::other(error)))
    }

    fn change(&self, request: &Request, route: Option<&MatchedPath>, caller: &Caller) -> Change {
        let path = request.uri().path();
        let account = self.account.as_ref();
        let (region, id) = account.map_or(("", ""), |account| (&account.region, &account.id));
        let peer = request.extensions().get::<Peer>();
        Change {
            who: caller.name.clone(),
            from: peer.map(|peer| peer.0.ip().to_canonical().to_string()).unwrap_or_default(),
            action: action::name(request.method(), route.map_or(path, MatchedPath::as_str)),
            resource: action::resource(path, region, id),
            request: Some(format!("{} {path}", request.method())),
            ..Change::default()
        }
    }

    /// As AWS words it, and what to do.
    fn denied(&self, caller: &Caller, scope: Scope, change: &Change) -> Response {
        let (action, resource) = (&change.action, &change.resource);
        let account = self.account.as_ref().map_or("", |account| &account.id);
        let message = format!(
            "User: arn:aws:iam::{account}:user/{} is not authorized to perform: {action} on resource: {resource} \
             because no identity-based policy allows the {action} action",
            caller.name
        );
        let hint = format!("`scopes` of [{}] in the credentials file lacks `{}`", caller.name, scope.name());
        tracing::warn!(target: "request", "refused on the control plane: {message}\nhint: {hint}");
        refusal(StatusCode::FORBIDDEN, "AccessDeniedException", &message)
    }
}

pub async fn guard(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    guard.pass(request, next).await
}

/// The hash of the code that a change's answer tells of.
async fn with_code(response: Response) -> (Response, Option<String>) {
    let short = response.body().size_hint().exact().is_some_and(|length| length <= LONGEST_ANSWER);
    if !short {
        return (response, None);
    }
    let (head, body) = response.into_parts();
    let Ok(bytes) = to_bytes(body, LONGEST_ANSWER as usize).await else {
        return (
            refusal(StatusCode::INTERNAL_SERVER_ERROR, "ServiceException", "the answer broke off"),
            None,
        );
    };
    let told: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let code = told["CodeSha256"].as_str().or(told["Content"]["CodeSha256"].as_str()).map(str::to_owned);
    (Response::from_parts(head, Body::from(bytes)), code)
}
