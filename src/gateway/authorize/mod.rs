//! Whether a request may pass: authorizers, signatures, API keys and throttles, in API Gateway's order.
//!
//! | file | what it knows |
//! |---|---|
//! | `throttle` | how many requests a stage or route takes |
//! | `identity` | where the caller's identity stands in a request |
//! | `lambda` | asking an authorizer function, and what its answer means |
//! | `event` | what an authorizer function is asked |
//! | `policy` | what a policy document allows |
//! | `cache` | decisions that are kept |
//! | `jwt` | tokens and their claims |
//! | `key_set` | the keys that issuers sign with |
//! | `iam` | signed requests |
//! | `api_key` | API keys, usage plans and quotas |
//! | `parameters` | parameters that a REST method requires |
//! | `act_as` | standing in for all of these during development |

mod act_as;
mod api_key;
mod cache;
mod event;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod iam;
mod identity;
mod jwt;
mod key_set;
mod lambda;
mod parameters;
mod policy;
mod throttle;

use std::sync::Arc;
use std::time::Instant;

use serde_json::{Map, Value};

use super::error::GatewayError;
use super::request::{Caller, Identity, Matched, Request};
use super::routes::decode;
use super::{Gateway, Site};
use crate::api::{ApiKeySource, Authorization, Authorizer, AuthorizerKind, JwtIssuer, Kind};
use crate::aws::credentials::Credentials;
use crate::config::Access;

/// What is remembered from one request to the next; lost when the gateway ends.
pub struct State {
    throttles: throttle::Throttles,
    quotas: api_key::Quotas,
    decisions: cache::Decisions<lambda::Decision>,
    key_sets: Arc<key_set::KeySets>,
    credentials: Credentials,
}

impl State {
    pub fn new(access: &Access) -> Self {
        Self {
            throttles: throttle::Throttles::default(),
            quotas: api_key::Quotas::default(),
            decisions: cache::Decisions::default(),
            key_sets: Arc::new(key_set::KeySets::new(access.jwks.clone())),
            credentials: Credentials::new(access.credentials.clone()),
        }
    }
}

/// Who is asking, as the route's authorizer sees it.
struct Admitted {
    identity: Identity,
    /// The API key that a Lambda authorizer chose.
    usage_key: Option<String>,
    pretended: bool,
}

impl Admitted {
    fn of(identity: Identity) -> Self {
        Self { identity, usage_key: None, pretended: false }
    }
}

/// Whether nobody has to be asked: neither for an identity nor about how much there has been.
pub fn is_open(matched: &Matched) -> bool {
    let (route, stage) = (matched.route(), matched.stage());
    route.authorization == Authorization::None
        && !route.api_key_required
        && route.required_parameters.is_empty()
        && stage.throttle.is_none()
        && stage.route_throttles.is_empty()
}

/// Asks whoever the route wants to be asked.
pub async fn authorize(
    gateway: &Gateway,
    request: &Request,
    matched: &Matched,
) -> Result<Caller, GatewayError> {
    authorize_with(gateway, request, matched, None).await
}

/// The same for a request that opens a WebSocket: `matched.route()` is `$connect`, and the authorizer
/// function sees what the integration of `$connect` is going to be told.
pub async fn authorize_connect(
    gateway: &Gateway,
    request: &Request,
    matched: &Matched,
    event: &Map<String, Value>,
) -> Result<Caller, GatewayError> {
    authorize_with(gateway, request, matched, Some(event)).await
}

async fn authorize_with(
    gateway: &Gateway,
    request: &Request,
    matched: &Matched,
    connect: Option<&Map<String, Value>>,
) -> Result<Caller, GatewayError> {
    let access = gateway.access();
    let now = Instant::now();
    access.throttles.check_stage(matched, now)?;
    let admitted = admit(gateway, request, matched, connect).await?;
    let mut caller = Caller { identity: admitted.identity, api_key: None, pretended: admitted.pretended };
    if matched.route().api_key_required {
        let given = match matched.api.api_key_source {
            ApiKeySource::Header => request.header("x-api-key"),
            ApiKeySource::Authorizer => admitted.usage_key.as_deref(),
        };
        let clock = api_key::Clock { now, date: request.received };
        caller.api_key = Some(api_key::check(&access.throttles, &access.quotas, matched, given, clock)?);
    }
    parameters::check(request, matched)?;
    Ok(caller)
}

async fn admit(
    gateway: &Gateway,
    request: &Request,
    matched: &Matched,
    connect: Option<&Map<String, Value>>,
) -> Result<Admitted, GatewayError> {
    let (access, site) = (gateway.access(), gateway.site());
    let authorization = &matched.route().authorization;
    let authorizer = match authorization {
        Authorization::None => return Ok(Admitted::of(Identity::Anybody)),
        Authorization::Iam => None,
        Authorization::Authorizer { name, .. } => {
            Some(matched.api.authorizers.get(name).ok_or_else(|| GatewayError::AuthorizerFailed {
                configuration: true,
                reason: format!("the route names the authorizer `{name}`, which its API does not have"),
            })?)
        }
    };
    if let Some(claims) = &site.access.act_as {
        return Ok(act_as::admit(claims, authorizer, matched, site));
    }
    match authorizer {
        None => iam::verify(request, matched, &access.credentials, site)
            .map(|user| Admitted::of(Identity::Iam(user))),
        Some(authorizer) => match &authorizer.kind {
            AuthorizerKind::Token(function) | AuthorizerKind::Request(function) => {
                lambda::admit(gateway, request, matched, connect, authorizer, function).await
            }
            AuthorizerKind::Jwt(issuer) => {
                admit_token(access, request, matched, site, authorizer, issuer).await
            }
            AuthorizerKind::Cognito(issuer) => {
                admit_token(access, request, matched, site, authorizer, issuer).await
            }
        },
    }
}

async fn admit_token(
    access: &State,
    request: &Request,
    matched: &Matched,
    site: &Site,
    authorizer: &Authorizer,
    issuer: &JwtIssuer,
) -> Result<Admitted, GatewayError> {
    let token = identity::token(&issuer.identity, request, matched, site).ok_or_else(|| {
        let reason = format!("authorizer {}: the request has no token", authorizer.name);
        jwt::Refusal::missing(reason).into_error(matched.kind())
    })?;
    let now = request.received.as_second();
    let (keys, authority) = (&access.key_sets, issuer);
    let claims = jwt::verify(&token, authority, now, |kid| {
        let (keys, kid) = (keys.clone(), kid.to_owned());
        async move { keys.key(authority, &kid).await }
    })
    .await
    .map_err(|refusal| refusal.at(&authorizer.name).into_error(matched.kind()))?;
    let scopes = jwt::scopes(&claims);
    let wanted = match &matched.route().authorization {
        Authorization::Authorizer { scopes, .. } => scopes.as_slice(),
        _ => &[],
    };
    let cognito = matches!(authorizer.kind, AuthorizerKind::Cognito(_));
    jwt::check_scopes(&claims, &scopes, wanted, cognito)
        .map_err(|reason| refused_scope(&authorizer.name, reason, cognito))?;
    Ok(Admitted::of(match cognito {
        true => Identity::Cognito { claims: jwt::cognito_claims(&claims) },
        false => {
            Identity::Jwt { claims: jwt::claims(&claims), scopes: (!wanted.is_empty()).then_some(scopes) }
        }
    }))
}

/// A user pool authorizer says Unauthorized where an HTTP API says Forbidden.
fn refused_scope(authorizer: &str, reason: String, cognito: bool) -> GatewayError {
    let reason = format!("authorizer {authorizer}: {reason}");
    match cognito {
        true => GatewayError::Unauthorized { reason, www_authenticate: None },
        false => GatewayError::Forbidden(reason),
    }
}

/// `arn:aws:execute-api:eu-west-1:123456789012:a1b2c3d4e5/prod/GET/items/7`: the path as routes are
/// matched with it, so that no spelling of it gets around a policy.
fn method_arn(request: &Request, matched: &Matched, site: &Site) -> String {
    let Site { region, account, .. } = site;
    let (api, stage) = (&matched.api.id, &matched.stage().name);
    let rest = match matched.kind() {
        Kind::WebSocket => matched.route().key(),
        kind => {
            let path = match kind {
                Kind::Http => decode(&matched.path),
                // The slash at the end leads to the same route: a policy must not tell them apart.
                _ => matched.path.trim_end_matches('/').into(),
            };
            format!("{}/{}", request.head.method, path.trim_start_matches('/'))
        }
    };
    format!("arn:aws:execute-api:{region}:{account}:{api}/{stage}/{rest}")
}

#[cfg(test)]
mod fixture {
    //! Requests and places for the tests of this folder.

    use std::sync::Arc;

    use super::super::Site;
    use super::super::request::{Matched, Request};
    use crate::api::{Api, Integration, Kind, PayloadVersion, Route, Stage};
    use crate::config::Access;

    pub fn site() -> Site {
        Site {
            account: "123456789012".into(),
            region: "eu-west-1".into(),
            port: 3000,
            tls: false,
            access: Access::default(),
        }
    }

    /// `GET /items/7?page=2`, with these headers.
    pub fn request(line: &str, headers: &[(&str, &str)]) -> Request {
        let (method, target) = line.split_once(' ').unwrap();
        let mut builder = http::Request::builder().method(method).uri(target);
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        let (head, ()) = builder.body(()).unwrap().into_parts();
        Request::new(head, Default::default())
    }

    pub fn api(kind: Kind, stage: &str, keys: &[&str]) -> Api {
        let mut api = Api::new("a1b2c3d4e5", "Shop", kind);
        api.stages = vec![Stage::named(stage)];
        for key in keys {
            let (method, path) = key.split_once(' ').unwrap_or(("ANY", key));
            api.routes.push(Route::new(method, path, Integration::function("f", PayloadVersion::V2)));
        }
        api
    }

    pub fn matched(api: Api, path: &str) -> Matched {
        Matched {
            full_path: match api.stages[0].is_default() {
                true => path.to_owned(),
                false => format!("/{}{path}", api.stages[0].name),
            },
            api: Arc::new(api),
            stage: 0,
            route: 0,
            path: path.to_owned(),
            parameters: Vec::new(),
            custom_domain: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arn_of_a_request() {
        for (kind, stage, key, path, expected) in [
            (Kind::Rest, "prod", "GET /items/{id}", "/items/7", "prod/GET/items/7"),
            (Kind::Rest, "prod", "GET /", "/", "prod/GET/"),
            (Kind::Rest, "prod", "GET /admin", "/admin//", "prod/GET/admin"),
            (Kind::Http, "$default", "GET /admin/", "/admin/", "$default/GET/admin/"),
            (Kind::Http, "$default", "$default", "/%61%20b", "$default/GET/a b"),
            (Kind::Rest, "prod", "GET /{proxy+}", "/%61%20b", "prod/GET/%61%20b"),
            (Kind::WebSocket, "live", "$connect", "/", "live/$connect"),
        ] {
            let matched = fixture::matched(fixture::api(kind, stage, &[key]), path);
            let request = fixture::request("GET /", &[]);
            let arn = method_arn(&request, &matched, &fixture::site());
            assert_eq!(arn, format!("arn:aws:execute-api:eu-west-1:123456789012:a1b2c3d4e5/{expected}"));
        }
    }
}
