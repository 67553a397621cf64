//! Requests from other origins, where the API itself answers them: HTTP APIs and function URLs.
//! (A REST API has routes for that.)
//!
//! | | HTTP API | function URL |
//! |---|---|---|
//! | a preflight is answered | 204 | 200 |
//! | what the integration says about CORS | is taken away | stays where nothing is configured |

use axum::body::Body;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};

use super::request::Request;
use crate::api::{Cors, Kind};

const ANSWERS: [HeaderName; 6] = [
    ACCESS_CONTROL_ALLOW_CREDENTIALS,
    ACCESS_CONTROL_ALLOW_HEADERS,
    ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS,
    ACCESS_CONTROL_MAX_AGE,
];

/// The method that a preflight asks about: its route need not know OPTIONS.
pub fn requested_method(head: &Parts) -> Option<&str> {
    if head.method != Method::OPTIONS || !head.headers.contains_key(ORIGIN) {
        return None;
    }
    head.headers.get(ACCESS_CONTROL_REQUEST_METHOD)?.to_str().ok().filter(|method| !method.is_empty())
}

/// The answer to a preflight, if that is what this is.
pub fn preflight(cors: &Cors, kind: Kind, request: &Request) -> Option<Response<Body>> {
    let head = &request.head;
    let method = requested_method(head)?;
    let mut response = Response::new(Body::empty());
    if kind == Kind::Http {
        *response.status_mut() = StatusCode::NO_CONTENT;
    }
    let headers = response.headers_mut();
    let asked: Vec<&str> = head
        .headers
        .get_all(ACCESS_CONTROL_REQUEST_HEADERS)
        .iter()
        .filter_map(|names| names.to_str().ok())
        .flat_map(|names| names.split(','))
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .collect();
    if !cors.allows_origin(head) || !cors.allows_method(method) || !cors.allows_headers(&asked) {
        return Some(response);
    }
    cors.name_origin(head, headers);
    set(headers, ACCESS_CONTROL_ALLOW_METHODS, &cors.allow_methods);
    set(headers, ACCESS_CONTROL_ALLOW_HEADERS, &cors.allow_headers);
    set(headers, ACCESS_CONTROL_EXPOSE_HEADERS, &cors.expose_headers);
    if let Some(seconds) = cors.max_age {
        headers.insert(ACCESS_CONTROL_MAX_AGE, seconds.into());
    }
    Some(response)
}

/// Sets the headers of a response as the API is configured.
pub fn apply(cors: &Cors, kind: Kind, request: &Request, response: &mut Response<Body>) {
    let head = &request.head;
    let headers = response.headers_mut();
    if kind == Kind::Http {
        for name in &ANSWERS {
            headers.remove(name);
        }
    }
    if !cors.allows_origin(head) {
        return;
    }
    if kind != Kind::Http {
        // What is configured counts, for credentials too: they go with the origin.
        headers.remove(ACCESS_CONTROL_ALLOW_ORIGIN);
        headers.remove(ACCESS_CONTROL_ALLOW_CREDENTIALS);
    }
    cors.name_origin(head, headers);
    set(headers, ACCESS_CONTROL_EXPOSE_HEADERS, &cors.expose_headers);
}

/// Joined by commas; nothing, if there is nothing.
fn set(headers: &mut HeaderMap, name: HeaderName, values: &[String]) {
    if !values.is_empty()
        && let Ok(value) = HeaderValue::from_str(&values.join(","))
    {
        headers.insert(name, value);
    }
}

impl Cors {
    fn any_origin(&self) -> bool {
        self.allow_origins.iter().any(|allowed| allowed == "*")
    }

    fn allows_origin(&self, head: &Parts) -> bool {
        let Some(Ok(origin)) = head.headers.get(ORIGIN).map(HeaderValue::to_str) else { return false };
        !origin.is_empty() && self.allow_origins.iter().any(|allowed| is_origin(allowed, origin))
    }

    fn allows_method(&self, method: &str) -> bool {
        self.allow_methods.iter().any(|allowed| allowed == "*" || allowed.eq_ignore_ascii_case(method))
    }

    fn allows_headers(&self, asked: &[&str]) -> bool {
        let allowed =
            |name: &&str| self.allow_headers.iter().any(|one| one == "*" || one.eq_ignore_ascii_case(name));
        asked.iter().all(allowed)
    }

    /// `*`, or the origin itself, which makes it another answer for another origin.
    fn name_origin(&self, head: &Parts, headers: &mut HeaderMap) {
        if self.any_origin() && !self.allow_credentials {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            return;
        }
        if let Some(origin) = head.headers.get(ORIGIN) {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        }
        let varies = headers.get_all(VARY).iter().filter_map(|value| value.to_str().ok()).any(|value| {
            value.split(',').any(|name| name.trim() == "*" || name.trim().eq_ignore_ascii_case("origin"))
        });
        if !varies {
            headers.append(VARY, HeaderValue::from_static("Origin"));
        }
        if self.allow_credentials {
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
    }
}

/// `*`, `https://*`, `https://*.example.com`, or exactly this one.
fn is_origin(allowed: &str, origin: &str) -> bool {
    // A star stands for parts of a host: what only ends like one is none.
    let host = origin.split_once("://").map_or(origin, |(_, host)| host);
    if allowed != "*" && host.contains(['/', '\\', '?', '#', '@']) {
        return false;
    }
    match allowed.contains('*') {
        true => super::routes::wildcard(
            allowed.to_ascii_lowercase().replace('?', "\0").as_bytes(),
            origin.to_ascii_lowercase().as_bytes(),
        ),
        false => allowed.trim_end_matches('/').eq_ignore_ascii_case(origin),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cors() -> Cors {
        let texts = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect();
        Cors {
            allow_origins: texts(&["https://www.example.com", "http://localhost:*"]),
            allow_methods: texts(&["GET", "POST"]),
            allow_headers: texts(&["Content-Type", "authorization"]),
            expose_headers: texts(&["date", "x-api-id"]),
            max_age: Some(300),
            allow_credentials: false,
        }
    }

    fn request(method: &str, headers: &[(&str, &str)]) -> Request {
        let mut builder = http::Request::builder().method(method).uri("/items");
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        Request::new(builder.body(()).unwrap().into_parts().0, Default::default())
    }

    fn asked(origin: &str, method: &str, headers: &str) -> Request {
        let all = [
            ("origin", origin),
            ("access-control-request-method", method),
            ("access-control-request-headers", headers),
        ];
        request("OPTIONS", &all.into_iter().filter(|(_, value)| !value.is_empty()).collect::<Vec<_>>())
    }

    /// All but the gateway's own id, in order.
    fn shown(response: &Response<Body>) -> String {
        let mut lines: Vec<String> = response
            .headers()
            .iter()
            .filter(|(name, _)| name.as_str() != "apigw-requestid")
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        lines.sort();
        format!("{} {}", response.status().as_u16(), lines.join(" | "))
    }

    const FULL: &str = "access-control-allow-headers: Content-Type,authorization | \
        access-control-allow-methods: GET,POST | access-control-allow-origin: https://www.example.com | \
        access-control-expose-headers: date,x-api-id | access-control-max-age: 300 | vary: Origin";

    #[test]
    fn a_preflight_is_answered_by_the_api() {
        let request = asked("https://www.example.com", "POST", "content-type, Authorization");
        let answer = preflight(&cors(), Kind::Http, &request).unwrap();
        assert_eq!(shown(&answer), format!("204 {FULL}"));
        let answer = preflight(&cors(), Kind::FunctionUrl, &request).unwrap();
        assert_eq!(shown(&answer), format!("200 {FULL}"));
        assert!(!answer.headers().contains_key("apigw-requestid"));
    }

    #[test]
    fn what_is_not_allowed_gets_an_answer_without_a_word_about_it() {
        for (origin, method, headers) in [
            ("https://evil.example", "GET", ""),
            ("https://www.example.com.evil.example", "GET", ""),
            ("null", "GET", ""),
            ("https://www.example.com", "DELETE", ""),
            ("https://www.example.com", "GET", "x-other"),
            ("https://www.example.com", "GET", "content-type,x-other"),
        ] {
            let answer = preflight(&cors(), Kind::Http, &asked(origin, method, headers)).unwrap();
            assert_eq!(shown(&answer), "204 ", "{origin} {method} {headers}");
        }
    }

    #[test]
    fn other_requests_are_no_preflights() {
        for request in [
            asked("", "GET", ""),
            asked("https://www.example.com", "", ""),
            request(
                "GET",
                &[("origin", "https://www.example.com"), ("access-control-request-method", "GET")],
            ),
        ] {
            assert!(preflight(&cors(), Kind::Http, &request).is_none());
        }
    }

    #[test]
    fn origins_and_their_stars() {
        for (allowed, origin, fits) in [
            ("*", "https://a.example", true),
            ("*", "null", true),
            ("https://*", "https://a.example", true),
            ("https://*", "http://a.example", false),
            ("https://*.example.com", "https://a.example.com", true),
            ("https://*.example.com", "https://example.com", false),
            ("https://a.example", "https://a.example", true),
            ("https://A.example", "https://a.example", true),
            ("https://a.example/", "https://a.example", true),
            ("https://a.example", "https://a.example:8443", false),
            ("https://a?example*", "https://a.example", false),
            ("https://*.example.com", "https://evil.test/.example.com", false),
            ("https://*.example.com", "https://evil.test#.example.com", false),
            ("https://*", "https://a.example@evil.test", false),
        ] {
            assert_eq!(is_origin(allowed, origin), fits, "{allowed} {origin}");
        }
    }

    fn applied(cors: &Cors, kind: Kind, origin: &str) -> String {
        let mut response = Response::new(Body::empty());
        for (name, value) in [
            ("access-control-allow-origin", "https://function.example"),
            ("access-control-allow-methods", "PUT"),
            ("vary", "accept"),
        ] {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        let headers: &[(&str, &str)] = if origin.is_empty() { &[] } else { &[("origin", origin)] };
        apply(cors, kind, &request("GET", headers), &mut response);
        shown(&response)
    }

    #[test]
    fn an_http_api_says_itself_what_is_allowed() {
        assert_eq!(
            applied(&cors(), Kind::Http, "http://localhost:5173"),
            "200 access-control-allow-origin: http://localhost:5173 | \
             access-control-expose-headers: date,x-api-id | vary: Origin | vary: accept"
        );
        assert_eq!(applied(&cors(), Kind::Http, "https://evil.example"), "200 vary: accept");
        assert_eq!(applied(&cors(), Kind::Http, ""), "200 vary: accept");
    }

    #[test]
    fn a_function_url_leaves_what_is_not_configured() {
        let expected = "200 access-control-allow-methods: PUT | access-control-allow-origin: http://localhost:1 | \
                        access-control-expose-headers: date,x-api-id | vary: Origin | vary: accept";
        assert_eq!(applied(&cors(), Kind::FunctionUrl, "http://localhost:1"), expected);
        assert_eq!(
            applied(&cors(), Kind::FunctionUrl, "https://evil.example"),
            "200 access-control-allow-methods: PUT | access-control-allow-origin: https://function.example | vary: accept"
        );
    }

    #[test]
    fn a_star_stays_a_star_unless_credentials_go_with_it() {
        let mut any = Cors { allow_origins: vec!["*".into()], ..Cors::default() };
        assert_eq!(
            applied(&any, Kind::Http, "https://a.example"),
            "200 access-control-allow-origin: * | vary: accept"
        );
        any.allow_credentials = true;
        assert_eq!(
            applied(&any, Kind::Http, "https://a.example"),
            "200 access-control-allow-credentials: true | access-control-allow-origin: https://a.example | \
             vary: Origin | vary: accept"
        );
    }

    proptest! {
        #[test]
        fn an_origin_that_is_not_listed_is_never_named(origin in "[ -~]{1,40}") {
            prop_assume!(!origin.starts_with("http://localhost:") && origin != "https://www.example.com");
            let answer = preflight(&cors(), Kind::Http, &asked(&origin, "GET", "")).unwrap();
            prop_assert!(!answer.headers().contains_key("access-control-allow-origin") || origin.trim() != origin
                || origin.to_ascii_lowercase() != origin);
        }
    }
}
