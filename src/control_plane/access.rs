//! Who is asking: a signature (SigV4) or a bearer token of somebody in the credentials file.
//!
//! Tokens come in a header only. A cookie would go to every port of this host, so to the functions'
//! pages as well, and would be sent along by theirs.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::response::Response;
use http::header::AUTHORIZATION;
use http::{StatusCode, request::Parts};
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use super::lockout::Lockout;
use super::{Scope, refusal};
use crate::aws::credentials::{Credential, Credentials};
use crate::aws::signature::{Claim, INVALID_TOKEN, MISMATCH, Signed};
use crate::hexadecimal::hex;
use crate::http::Peer;

/// The longest that the Lambda API takes is code of 50 MB in base64.
const LONGEST_BODY: usize = 72 << 20;
/// Bodies above this length are held one or two at a time, and hashed on another thread.
const LONG_BODY: usize = 1 << 20;
const LONG_BODIES: usize = 4;
const BODY_PATIENCE: Duration = Duration::from_secs(300);
const LONGEST_TOKEN: usize = 1024;

/// Who has asked, and what they may do.
#[derive(Debug, Clone)]
pub struct Caller {
    pub name: String,
    scopes: Option<Vec<String>>,
}

impl Caller {
    /// On loopback, where nobody is asked.
    pub fn local() -> Self {
        Self { name: "local".to_owned(), scopes: None }
    }

    pub fn may(&self, scope: Scope) -> bool {
        let Some(scopes) = &self.scopes else { return true };
        let has = |wanted: &str| scopes.iter().any(|scope| scope == wanted);
        scope == Scope::Open || has("admin") || has(scope.name())
    }
}

pub struct Access {
    credentials: Credentials,
    /// The gateway's own, of this run: not guessed by anybody, so never locked out.
    own: Vec<String>,
    lockout: Lockout,
    long_bodies: Semaphore,
}

impl Access {
    /// `own`: credentials that are not in the file.
    pub fn new(file: std::path::PathBuf, own: Vec<Credential>) -> Self {
        let keys = own.iter().map(|own| own.access_key.clone()).collect();
        Self {
            credentials: Credentials::private(file, own),
            own: keys,
            lockout: Lockout::default(),
            long_bodies: Semaphore::new(LONG_BODIES),
        }
    }

    /// The file as it is now, for the start.
    pub fn known(&self) -> Result<Arc<Vec<Credential>>, String> {
        self.credentials.all().map_err(|unknown| unknown.0)
    }

    /// The caller, and the request to be handed on; or the answer that refuses it.
    pub async fn admit(&self, request: Request, service: &str) -> Result<(Caller, Request), Response> {
        let peer = request.extensions().get::<Peer>().map(|peer| peer.0.ip());
        let bearer = request.headers().get(AUTHORIZATION).and_then(|value| bearer(value.as_bytes()));
        if let Some(token) = bearer {
            let caller = self.with_token(token, peer).map_err(|refused| *refused)?;
            return Ok((caller, request));
        }
        let (head, body) = request.into_parts();
        self.with_signature(head, body, service, peer).await
    }

    /// Whose token it is.
    pub fn with_token(&self, token: &[u8], peer: Option<IpAddr>) -> Result<Caller, Box<Response>> {
        if let Some(refused) = self.locked(peer) {
            return Err(refused.into());
        }
        let known = match token.len() {
            0..=LONGEST_TOKEN => self.credentials.find_token(&hex(&Sha256::digest(token)), Timestamp::now()),
            _ => return Err(self.unknown(peer, "a token longer than any").into()),
        };
        known.map(caller).map_err(|unknown| self.unknown(peer, &unknown.0).into())
    }

    async fn with_signature(
        &self,
        head: Parts,
        body: Body,
        service: &str,
        peer: Option<IpAddr>,
    ) -> Result<(Caller, Request), Response> {
        let host = match head.headers.get(http::header::HOST) {
            Some(host) => String::from_utf8_lossy(host.as_bytes()).into_owned(),
            None => head.uri.authority().map(ToString::to_string).unwrap_or_default(),
        };
        let path = head.uri.path().to_owned();
        let query = head.uri.query().unwrap_or_default().to_owned();
        let (method, headers) = (head.method.clone(), head.headers.clone());
        let signed = Signed { method: &method, headers: &headers, path: &path, query: &query, host: &host };
        let invalid = |message: &str| refusal(StatusCode::FORBIDDEN, "InvalidSignatureException", message);
        let claim = match Claim::read(&signed) {
            None => {
                return Err(refusal(
                    StatusCode::UNAUTHORIZED,
                    "MissingAuthenticationTokenException",
                    "Missing Authentication Token",
                ));
            }
            Some(claim) => claim.map_err(|message| invalid(&message))?,
        };
        // What is signed is the normal form of a path; routes go by the path as it came.
        if !is_normal(&path) {
            return Err(invalid(MISMATCH));
        }
        let is_own = self.own.iter().any(|own| own == claim.access_key());
        if !is_own && let Some(refused) = self.locked(peer) {
            return Err(refused);
        }
        let now = Timestamp::now();
        let known = self.credentials.find(claim.access_key(), now);
        let credential = known.map_err(|unknown| self.unknown(peer, &unknown.0))?;
        claim.check(service, now).map_err(|message| invalid(&message))?;
        if !claim.has_token_of(&credential) {
            return Err(self.unknown(peer, "the session token is not the one of this access key"));
        }
        // Only now, when somebody known seems to ask, is the body read.
        let length = head.headers.get(http::header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse().ok()).unwrap_or(usize::MAX);
        let bodyless = axum::body::HttpBody::is_end_stream(&body);
        let _place = match length > LONG_BODY && !bodyless {
            true => self.long_bodies.acquire().await.ok(),
            false => None,
        };
        let body = read(body).await?;
        let (body, hash) = match body.len() > LONG_BODY {
            true => {
                let hashing = tokio::task::spawn_blocking(move || {
                    let hash = Sha256::digest(&body).to_vec();
                    (body, hash)
                });
                hashing.await.map_err(|_| {
                    refusal(
                        StatusCode::INTERNAL_SERVER_ERROR,
                        "ServiceException",
                        "the body could not be hashed",
                    )
                })?
            }
            false => {
                let hash = Sha256::digest(&body).to_vec();
                (body, hash)
            }
        };
        if !claim.is_signed_by(&credential, &signed, &hash, service) {
            if !is_own {
                self.failed(peer);
            }
            return Err(invalid(MISMATCH));
        }
        Ok((caller(credential), Request::from_parts(head, Body::from(body))))
    }

    /// The words of AWS; what is wrong stands in our own log.
    fn unknown(&self, peer: Option<IpAddr>, reason: &str) -> Response {
        self.failed(peer);
        tracing::warn!(target: "request", "credentials are refused on the control plane: {reason}");
        refusal(StatusCode::UNAUTHORIZED, "UnrecognizedClientException", INVALID_TOKEN)
    }

    fn failed(&self, peer: Option<IpAddr>) {
        if let Some(peer) = peer {
            self.lockout.failed(peer, Instant::now());
        }
    }

    /// What is answered to an address that has been wrong too often.
    fn locked(&self, peer: Option<IpAddr>) -> Option<Response> {
        let seconds = peer.and_then(|peer| self.lockout.locked(peer, Instant::now()))?;
        let message = format!("too many wrong credentials from this address; again in {seconds} s");
        let mut response = refusal(StatusCode::TOO_MANY_REQUESTS, "TooManyRequestsException", &message);
        response.headers_mut().insert(http::header::RETRY_AFTER, seconds.into());
        Some(response)
    }
}

fn caller(credential: Credential) -> Caller {
    Caller { name: credential.user, scopes: Some(credential.scopes) }
}

async fn read(body: Body) -> Result<Bytes, Response> {
    match tokio::time::timeout(BODY_PATIENCE, to_bytes(body, LONGEST_BODY)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(_)) => Err(refusal(
            StatusCode::PAYLOAD_TOO_LARGE,
            "RequestTooLargeException",
            &format!("the body did not come whole, or is longer than {} MB", LONGEST_BODY >> 20),
        )),
        Err(_) => Err(refusal(
            StatusCode::REQUEST_TIMEOUT,
            "RequestTimeoutException",
            &format!("the body did not come within {} s", BODY_PATIENCE.as_secs()),
        )),
    }
}

/// Without empty parts and dots, but for a slash at the end.
fn is_normal(path: &str) -> bool {
    let parts = path.strip_prefix('/').unwrap_or(path);
    let parts = parts.strip_suffix('/').unwrap_or(parts);
    parts.is_empty() || parts.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}
