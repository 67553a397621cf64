//! A client of AWS-compatible endpoints: where they are, who asks, signed requests.
//!
//! Written instead of taken: the SDK for Rust has one crate a service, each of which costs the first
//! build half a minute and the binary a megabyte; what is asked here are a dozen operations of the
//! JSON and the query protocol. Signing is the SDK's own (`aws-sigv4`).

pub mod credentials;
mod endpoint;
mod object;
mod profile;
#[cfg(test)]
mod published;
mod refusal;
pub mod signature;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use serde_json::Value;

pub use endpoint::{Endpoints, Service};
pub use refusal::element;

use crate::egress;

/// How long an answer may take, unless the caller says otherwise.
const PATIENCE: Duration = Duration::from_secs(10);
const CONNECT_PATIENCE: Duration = Duration::from_secs(3);
/// The longest answer that AWS gives is a page of DynamoDB, 16 MB.
const LONGEST_ANSWER: usize = 32 << 20;
/// As the SDKs: whoever is told to slow down, or meets a server in trouble, asks again.
const ATTEMPTS: u32 = 3;
/// Before the second attempt, at most; doubled before each further one.
const PAUSE: Duration = Duration::from_millis(500);

/// A cheap handle.
#[derive(Clone)]
pub struct Client(Arc<Shared>);

struct Shared {
    endpoints: Endpoints,
    /// For endpoints on this machine: past any proxy.
    local: OnceLock<Result<reqwest::Client, String>>,
    remote: OnceLock<Result<reqwest::Client, String>>,
}

/// Why a service did not do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AwsError {
    /// It could not be asked, or its answer makes no sense.
    #[error("{service} at {endpoint} cannot be reached: {reason}")]
    Unreachable { service: &'static str, endpoint: String, reason: String },
    /// It refused: AWS's code and message.
    #[error("{service} at {endpoint} refused {operation}: {code}: {message}")]
    Refused {
        service: &'static str,
        endpoint: String,
        operation: String,
        status: u16,
        code: String,
        message: String,
    },
    /// It is not known where it is.
    #[error("{0}")]
    Unknown(String),
}

impl AwsError {
    /// Whether asking again later may help.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { status, code, .. } => {
                *status >= 500 || *status == 429 || asks_to_slow_down(code) || code == "RequestExpired"
            }
            Self::Unknown(_) => false,
        }
    }

    /// AWS's name of the error, such as `QueueDoesNotExist`.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused { code, .. } => Some(code),
            _ => None,
        }
    }
}

/// The SDKs' list. Not every `LimitExceededException` is one: some name a limit that waiting does not lift.
fn asks_to_slow_down(code: &str) -> bool {
    code.contains("Throttl")
        || matches!(
            code,
            "BandwidthLimitExceeded"
                | "LimitExceededException"
                | "PriorRequestNotComplete"
                | "ProvisionedThroughputExceededException"
                | "RequestLimitExceeded"
                | "SlowDown"
                | "TooManyRequestsException"
                | "TransactionInProgressException"
        )
}

impl Client {
    pub fn new(endpoints: Endpoints) -> Self {
        Self(Arc::new(Shared { endpoints, local: OnceLock::new(), remote: OnceLock::new() }))
    }

    pub fn endpoints(&self) -> &Endpoints {
        &self.0.endpoints
    }

    /// An operation of a service that speaks JSON (SQS, EventBridge, Kinesis, DynamoDB and its streams).
    /// `region`: of the ARN that it is about.
    pub async fn json(
        &self,
        service: Service,
        region: &str,
        operation: &str,
        body: &Value,
    ) -> Result<Value, AwsError> {
        self.json_within(service, region, operation, body, PATIENCE).await
    }

    /// The same with another limit, for calls that wait for something to happen.
    pub async fn json_within(
        &self,
        service: Service,
        region: &str,
        operation: &str,
        body: &Value,
        limit: Duration,
    ) -> Result<Value, AwsError> {
        let (prefix, version) = service.json_protocol().ok_or_else(|| {
            AwsError::Unknown(format!(
                "{} does not speak JSON; {operation} cannot be asked for",
                service.name()
            ))
        })?;
        let headers = [
            ("content-type", format!("application/x-amz-json-{version}")),
            ("x-amz-target", format!("{prefix}.{operation}")),
        ];
        let answer = self.ask(service, region, operation, &headers, body.to_string(), limit).await?;
        if answer.trim().is_empty() {
            return Ok(Value::Object(serde_json::Map::new()));
        }
        serde_json::from_str(&answer)
            .map_err(|error| self.unreachable(service, region, format!("its answer is no JSON: {error}")))
    }

    /// An operation of a service that speaks the query protocol (SNS); the answer is XML.
    pub async fn query(
        &self,
        service: Service,
        region: &str,
        action: &str,
        parameters: &[(String, String)],
    ) -> Result<String, AwsError> {
        let mut form = vec![
            ("Action".to_owned(), action.to_owned()),
            ("Version".to_owned(), service.version().to_owned()),
        ];
        form.extend_from_slice(parameters);
        let encode = |text: &str| {
            percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
        };
        let pairs: Vec<String> =
            form.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
        let headers = [("content-type", "application/x-www-form-urlencoded; charset=utf-8".to_owned())];
        self.ask(service, region, action, &headers, pairs.join("&"), PATIENCE).await
    }

    async fn ask(
        &self,
        service: Service,
        region: &str,
        operation: &str,
        headers: &[(&str, String)],
        body: String,
        limit: Duration,
    ) -> Result<String, AwsError> {
        let endpoints = &self.0.endpoints;
        if endpoints.is_missing(service) {
            return Err(AwsError::Unknown(format!(
                "{} is not asked for {operation}: {}",
                service.name(),
                endpoints.what_is_missing(service),
            )));
        }
        let mut pause = PAUSE;
        for _ in 1..ATTEMPTS {
            match self.ask_once(service, region, operation, headers, &body, limit).await {
                Err(error @ AwsError::Refused { .. }) if error.is_transient() => {
                    tracing::debug!("{error}; asked again");
                    tokio::time::sleep(pause.mul_f64(jitter())).await;
                    pause *= 2;
                }
                result => return result,
            }
        }
        self.ask_once(service, region, operation, headers, &body, limit).await
    }

    async fn ask_once(
        &self,
        service: Service,
        region: &str,
        operation: &str,
        headers: &[(&str, String)],
        body: &str,
        limit: Duration,
    ) -> Result<String, AwsError> {
        let endpoint = self.0.endpoints.url(service, region);
        let unreachable = |reason: String| self.unreachable(service, region, reason);
        let url = format!("{}/", endpoint.trim_end_matches('/'));
        let signed = self.sign(service, region, &url, headers, body).map_err(unreachable)?;
        let client = self.http(&url).map_err(unreachable)?;
        let mut request = client.post(&url).timeout(limit).body(body.to_owned());
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        for (name, value) in &signed {
            request = request.header(name, value);
        }
        let mut response = request.send().await.map_err(|error| unreachable(told(&error)))?;
        let status = response.status().as_u16();
        let mut answer = Vec::new();
        while let Some(part) = response.chunk().await.map_err(|error| unreachable(told(&error)))? {
            if answer.len() + part.len() > LONGEST_ANSWER {
                return Err(unreachable(format!("its answer is longer than {} MB", LONGEST_ANSWER >> 20)));
            }
            answer.extend_from_slice(&part);
        }
        let text = String::from_utf8_lossy(&answer).into_owned();
        if status < 300 {
            return Ok(text);
        }
        let (code, message) = refusal::refusal(&text);
        Err(AwsError::Refused {
            service: service.name(),
            endpoint,
            operation: operation.to_owned(),
            status,
            code: if code.is_empty() { format!("HTTP {status}") } else { code },
            message,
        })
    }

    fn http(&self, url: &str) -> Result<&reqwest::Client, String> {
        egress::check_text(url).map_err(|forbidden| forbidden.to_string())?;
        let local = reqwest::Url::parse(url).is_ok_and(|url| {
            let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
            let address = host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
            address || host == "localhost" || host.ends_with(".localhost")
        });
        let made = if local { &self.0.local } else { &self.0.remote };
        let made = made.get_or_init(|| {
            let builder = egress::guarded(reqwest::Client::builder())
                .connect_timeout(CONNECT_PATIENCE)
                .redirect(reqwest::redirect::Policy::none());
            let builder = if local { builder.no_proxy() } else { builder };
            builder.build().map_err(|error| error.to_string())
        });
        made.as_ref().map_err(Clone::clone)
    }

    /// The headers that prove who asks.
    fn sign(
        &self,
        service: Service,
        region: &str,
        url: &str,
        headers: &[(&str, String)],
        body: &str,
    ) -> Result<Vec<(String, String)>, String> {
        let endpoints = &self.0.endpoints;
        let token = endpoints.session_token.clone();
        let identity =
            Credentials::new(&endpoints.access_key_id, &endpoints.secret_access_key, token, None, "handlerd")
                .into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(region)
            .name(service.signing_name())
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| error.to_string())?
            .into();
        let plain = headers.iter().map(|(name, value)| (*name, value.as_str()));
        let request = SignableRequest::new("POST", url, plain, SignableBody::Bytes(body.as_bytes()))
            .map_err(|error| error.to_string())?;
        let (instructions, _) = sign(request, &parameters).map_err(|error| error.to_string())?.into_parts();
        let (headers, _) = instructions.into_parts();
        Ok(headers.iter().map(|header| (header.name().to_owned(), header.value().to_owned())).collect())
    }

    fn unreachable(&self, service: Service, region: &str, reason: String) -> AwsError {
        AwsError::Unreachable {
            service: service.name(),
            endpoint: self.0.endpoints.url(service, region),
            reason,
        }
    }
}

/// The innermost cause says what happened.
fn told(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    if error.is_timeout() { "no answer in time".to_owned() } else { cause.to_string() }
}

/// From 0.5 to 1: those who were turned away together do not come back together.
fn jitter() -> f64 {
    let random = uuid::Uuid::new_v4().as_u128() as u8;
    0.5 + f64::from(random) / 510.0
}

#[cfg(test)]
mod tests;
