//! Identity sources: where in a request the caller's identity stands.

use super::super::Site;
use super::super::context;
use super::super::payload::{fields::text, query, query_parameter};
use super::super::request::{Caller, Matched, Request};
use crate::api::{IdentitySource, Kind};

/// Longer than any token that fits into the headers API Gateway takes.
pub const TOKEN_LIMIT: usize = 16 * 1024;

/// The values of all sources; or the first source that has none.
pub fn values<'a>(
    sources: &'a [IdentitySource],
    request: &Request,
    matched: &Matched,
    site: &Site,
) -> Result<Vec<String>, &'a IdentitySource> {
    let value =
        |source| value(source, request, matched, site).filter(|value| !value.is_empty()).ok_or(source);
    sources.iter().map(value).collect()
}

/// Every value of one source, each with what it is of: two that differ anywhere are different.
pub fn all(source: &IdentitySource, request: &Request, matched: &Matched, site: &Site) -> Vec<String> {
    let mut values: Vec<String> = match source {
        IdentitySource::Header(name) => {
            request.head.headers.get_all(name).iter().map(|value| text(value).into_owned()).collect()
        }
        IdentitySource::Query(name) => {
            let pairs = query::decoded(request.query()).filter(|(known, _)| known == name);
            pairs.map(|(_, value)| value.into_owned()).collect()
        }
        other => value(other, request, matched, site).into_iter().collect(),
    };
    values.insert(0, format!("{source:?} {}", values.len()));
    values
}

/// The value of one source, if there is one.
pub fn value(source: &IdentitySource, request: &Request, matched: &Matched, site: &Site) -> Option<String> {
    match source {
        IdentitySource::Header(name) if matched.kind() == Kind::Http => joined_header(request, name),
        IdentitySource::Header(name) => header(request, name),
        IdentitySource::Query(name) if matched.kind() == Kind::Http => {
            query::joined(request.query()).get(name).map(str::to_owned)
        }
        IdentitySource::Query(name) => query_parameter(request.query(), name),
        IdentitySource::StageVariable(name) => matched.stage().variables.get(name).cloned(),
        IdentitySource::Context(name) => context_value(name, request, matched, site),
    }
}

/// The token of a JWT or user pool authorizer, without `Bearer`.
pub fn token(
    sources: &[IdentitySource],
    request: &Request,
    matched: &Matched,
    site: &Site,
) -> Option<String> {
    let usual = IdentitySource::Header("Authorization".to_owned());
    let source = sources.first().unwrap_or(&usual);
    let value = value(source, request, matched, site)?;
    let token = match value.get(..7) {
        Some(scheme) if scheme.eq_ignore_ascii_case("bearer ") => &value[7..],
        _ => &value,
    };
    let token = token.trim();
    (!token.is_empty()).then(|| token.to_owned())
}

/// How people write it.
pub fn described(source: &IdentitySource) -> String {
    match source {
        IdentitySource::Header(name) => format!("the header `{name}`"),
        IdentitySource::Query(name) => format!("the query parameter `{name}`"),
        IdentitySource::StageVariable(name) => format!("the stage variable `{name}`"),
        IdentitySource::Context(name) => format!("`$context.{name}`"),
    }
}

/// The last value of this header, as in `headers` of a REST API's events.
pub fn header(request: &Request, name: &str) -> Option<String> {
    request.head.headers.get_all(name).iter().next_back().map(|value| text(value).into_owned())
}

fn joined_header(request: &Request, name: &str) -> Option<String> {
    let values: Vec<_> = request.head.headers.get_all(name).iter().map(text).collect();
    (!values.is_empty()).then(|| values.join(","))
}

/// `$context.x`, as far as it is known before anybody has been asked.
fn context_value(name: &str, request: &Request, matched: &Matched, site: &Site) -> Option<String> {
    context::lookup(&context::of(request, matched, &Caller::default(), site), name)
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    fn ask(kind: Kind, sources: &[IdentitySource]) -> Result<Vec<String>, String> {
        let mut api = fixture::api(kind, "prod", &["GET /items/{id}"]);
        api.stages[0].variables.insert("tier".into(), "gold".into());
        let headers = [("x-user", "one"), ("x-user", "two"), ("x-empty", ""), ("user-agent", "curl")];
        let request = fixture::request("GET /items/7?q=a%20b&q=c&e=", &headers);
        let matched = fixture::matched(api, "/items/7");
        values(sources, &request, &matched, &fixture::site()).map_err(described)
    }

    fn header(name: &str) -> IdentitySource {
        IdentitySource::Header(name.into())
    }

    #[test]
    fn sources_are_found_where_they_are() {
        let query = |name: &str| IdentitySource::Query(name.into());
        let context = |name: &str| IdentitySource::Context(name.into());
        let tier = IdentitySource::StageVariable("tier".into());
        let sources = [header("X-User"), query("q"), tier, context("identity.userAgent")];
        assert_eq!(ask(Kind::Rest, &sources).unwrap(), ["two", "c", "gold", "curl"]);
        assert_eq!(ask(Kind::Http, &sources).unwrap(), ["one,two", "a b,c", "gold", "curl"]);
        assert_eq!(ask(Kind::Http, &[context("routeKey")]).unwrap(), ["GET /items/{id}"]);
        for missing in [header("x-none"), header("x-empty"), query("e"), query("n"), context("nothing")] {
            let told = described(&missing);
            assert_eq!(ask(Kind::Http, &[header("x-user"), missing]).unwrap_err(), told);
        }
    }

    #[test]
    fn hidden_values_count_for_what_is_kept() {
        let matched = fixture::matched(fixture::api(Kind::Rest, "prod", &["GET /"]), "/");
        let of = |values: &[&str]| {
            let headers: Vec<_> = values.iter().map(|value| ("x-user", *value)).collect();
            all(&header("x-user"), &fixture::request("GET /", &headers), &matched, &fixture::site())
        };
        assert_eq!(of(&["a"]), of(&["a"]));
        assert_ne!(of(&["a"]), of(&["b", "a"]));
        assert_ne!(of(&["a"]), of(&["a", "b"]));
    }

    #[test]
    fn a_token_comes_with_or_without_its_scheme() {
        let matched = fixture::matched(fixture::api(Kind::Http, "$default", &["GET /me"]), "/me");
        for (value, expected) in [
            ("Bearer a.b.c", Some("a.b.c")),
            ("bearer  a.b.c ", Some("a.b.c")),
            ("a.b.c", Some("a.b.c")),
            ("Bearer ", None),
            ("", None),
            ("\u{20ac}\u{20ac}\u{20ac}", Some("\u{20ac}\u{20ac}\u{20ac}")),
        ] {
            let mut request = fixture::request("GET /me", &[]);
            let value = http::HeaderValue::from_bytes(value.as_bytes()).unwrap();
            request.head.headers.insert("authorization", value);
            let found = token(&[], &request, &matched, &fixture::site());
            assert_eq!(found.as_deref(), expected);
        }
    }
}
