//! HTTP_PROXY: the request goes on to another server, its answer comes back.
//!
//! The environment's proxy settings are not looked at: AWS has none either. Redirects are passed on,
//! bodies stay encoded as they are.

use std::sync::OnceLock;
use std::time::Duration;

use axum::body::{Body, Bytes};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use reqwest::Url;
use reqwest::redirect::Policy;

use super::headers;
use super::parameters::{self, MappedRequest};
use super::setting::{Setting, forwarded, query_pairs};
use crate::api::{HttpIntegration, Kind};
use crate::egress;
use crate::gateway::error::GatewayError;
use crate::gateway::payload;
use crate::gateway::request::{BODY_LIMIT, Caller, Matched, Request};
use crate::gateway::{Gateway, Site, with_stage_variables};

const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// What a decoded variable may hold as it is: it can neither end the path nor begin another host.
const VARIABLE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/')
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=')
    .remove(b':')
    .remove(b'@');

/// Made when the first request needs it: reading the system's certificates takes its time.
#[derive(Default)]
pub struct Client(OnceLock<Result<reqwest::Client, String>>);

impl Client {
    fn get(&self) -> Result<&reqwest::Client, GatewayError> {
        let made = self.0.get_or_init(|| {
            egress::guarded(reqwest::Client::builder())
                .redirect(Policy::none())
                .no_gzip()
                .no_brotli()
                .no_deflate()
                .no_zstd()
                .no_proxy()
                .http1_only()
                .connect_timeout(CONNECT_LIMIT)
                .build()
                .map_err(|error| explain(&error))
        });
        made.as_ref()
            .map_err(|error| GatewayError::Integration(format!("no HTTP client can be made: {error}")))
    }
}

/// What is sent.
struct Outgoing {
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Bytes,
}

/// HTTP_PROXY.
pub async fn http_proxy(
    gateway: &Gateway,
    request: &Request,
    matched: &Matched,
    caller: &Caller,
    integration: &HttpIntegration,
) -> Result<Response<Body>, GatewayError> {
    let site = gateway.site();
    let outgoing = outgoing(request, matched, caller, site, integration)?;
    let mut response = forward(gateway.client(), outgoing).await?;
    answered(response.headers_mut(), request, matched);
    parameters::apply_to_response(&integration.responses, response, request, matched, caller, site).await
}

/// The other server's headers as this API passes them on.
fn answered(headers: &mut HeaderMap, request: &Request, matched: &Matched) {
    if matched.kind() == Kind::Rest {
        let received = std::mem::take(headers);
        for (name, value) in &received {
            if let Some(name) = headers::of_rest(name) {
                headers.append(name, value.clone());
            }
        }
        payload::add_trace(headers, request, &matched.api.id);
    } else {
        headers::drop_hop_by_hop(headers);
        headers.remove(header::CONTENT_LENGTH);
    }
}

fn outgoing(
    request: &Request,
    matched: &Matched,
    caller: &Caller,
    site: &Site,
    integration: &HttpIntegration,
) -> Result<Outgoing, GatewayError> {
    let method = match integration.method.as_str() {
        "" | "ANY" => request.head.method.clone(),
        method => Method::from_bytes(method.as_bytes())
            .map_err(|_| GatewayError::Integration(format!("`{method}` is no HTTP method")))?,
    };
    let (url, mut headers) = match matched.kind() {
        Kind::Rest => of_rest(request, matched, caller, site, integration)?,
        _ => of_http(request, matched, caller, site, integration)?,
    };
    for (name, value) in forwarded(request, site) {
        set(&mut headers, name, &value);
    }
    Ok(Outgoing { method, url, headers, body: request.body.clone() })
}

/// Where a REST API sends a request, and with which headers.
fn of_rest(
    request: &Request,
    matched: &Matched,
    caller: &Caller,
    site: &Site,
    integration: &HttpIntegration,
) -> Result<(Url, HeaderMap), GatewayError> {
    let setting = Setting::new(request, matched, caller, site);
    let mapped = parameters::rest_parameters(&integration.request, &setting);
    // These are encoded as the client has encoded them, but for what a URL takes for a slash.
    let encoded = |(name, value): &(String, String)| (name.clone(), value.replace('\\', "%5C"));
    let variables: Vec<_> = mapped.path.iter().chain(&matched.parameters).map(encoded).collect();
    let mut url = place(&with_stage_variables(&integration.url, matched), &variables)?;
    add_query(&mut url, request.query());
    if !mapped.query.is_empty() {
        let mut pairs = query_pairs(url.query().unwrap_or_default());
        for (name, values) in mapped.query {
            pairs.retain(|(known, _)| *known != name);
            pairs.extend(values.into_iter().map(|value| (name.clone(), value)));
        }
        url.set_query(Some(&parameters::write_query(&pairs)));
    }
    let mut headers = request.head.headers.clone();
    clean(&mut headers);
    for (name, values) in mapped.headers {
        let Ok(name) = HeaderName::try_from(name) else { continue };
        headers.remove(&name);
        for value in values.iter().filter_map(|value| HeaderValue::from_bytes(value.as_bytes()).ok()) {
            headers.append(&name, value);
        }
    }
    set(&mut headers, "x-amzn-apigateway-api-id", &matched.api.id);
    if !headers.contains_key(header::USER_AGENT) {
        set(&mut headers, "user-agent", &format!("AmazonAPIGateway_{}", matched.api.id));
    }
    Ok((url, headers))
}

/// Where an HTTP API sends a request, and with which headers.
fn of_http(
    request: &Request,
    matched: &Matched,
    caller: &Caller,
    site: &Site,
    integration: &HttpIntegration,
) -> Result<(Url, HeaderMap), GatewayError> {
    let mapped = parameters::apply_to_request(&integration.request, request, matched, caller, site);
    // An HTTP API has decoded them before it took the path apart.
    let encoded =
        |(name, value): &(String, String)| (name.clone(), utf8_percent_encode(value, VARIABLE).to_string());
    let variables: Vec<_> = matched.parameters.iter().map(encoded).collect();
    let mut url = place(&with_stage_variables(&integration.url, matched), &variables)?;
    if let Some(MappedRequest { path: Some(path), .. }) = &mapped {
        if climbs(path) {
            return Err(GatewayError::BadRequest(CLIMBS));
        }
        url.set_path(path);
    }
    let mapped = mapped.as_ref().map_or(request, |mapped| &mapped.request);
    add_query(&mut url, mapped.query());
    let mut headers = mapped.head.headers.clone();
    clean(&mut headers);
    let source = request.source_ip();
    let (proto, _) = request.scheme_and_port(site);
    let forwarded = format!("by={source};for={source};host={};proto={proto}", request.host());
    set(&mut headers, "forwarded", &forwarded);
    set(&mut headers, "via", "HTTP/1.1 AmazonAPIGateway");
    Ok((url, headers))
}

fn set(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
        headers.insert(name, value);
    }
}

/// What is between the client and the gateway only, or is written anew.
fn clean(headers: &mut HeaderMap) {
    headers::drop_hop_by_hop(headers);
    for name in [header::HOST, header::CONTENT_LENGTH, header::EXPECT] {
        headers.remove(name);
    }
}

const CLIMBS: &str = "a path with `.` or `..` in it does not go on to another server";

/// Where the variables lead: never out of the path that the integration names.
fn place(url: &str, variables: &[(String, String)]) -> Result<Url, GatewayError> {
    let filled = fill(url, variables);
    if climbs(path_of(&filled)) && !climbs(path_of(url)) {
        return Err(GatewayError::BadRequest(CLIMBS));
    }
    parse(&filled)
}

/// `https://example.com/a?b` -> `/a`
fn path_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = rest.find('/').map_or("", |slash| &rest[slash..]);
    path.split(['?', '#']).next().unwrap_or_default()
}

/// Whether a URL with this path would leave a folder of it: whoever parses one takes `..` out, and
/// the segment before it.
fn climbs(path: &str) -> bool {
    path.split(['/', '\\'])
        .any(|segment| matches!(&*percent_decode_str(segment).decode_utf8_lossy(), "." | ".."))
}

/// `{name}`, `{name+}` -> their values.
fn fill(url: &str, variables: &[(String, String)]) -> String {
    let mut filled = String::with_capacity(url.len());
    let mut rest = url;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let variable = after.split_once('}').and_then(|(name, after)| {
            let name = name.trim_end_matches('+');
            let (_, value) = variables.iter().find(|(known, _)| known == name)?;
            Some((value, after))
        });
        match variable {
            Some((value, after)) => {
                filled.push_str(value);
                rest = after;
            }
            None => {
                filled.push('{');
                rest = after;
            }
        }
    }
    filled.push_str(rest);
    filled
}

fn parse(url: &str) -> Result<Url, GatewayError> {
    let wrong = |what: &str| GatewayError::Integration(format!("`{url}` {what}"));
    let parsed = Url::parse(url).map_err(|error| wrong(&format!("is no URL: {error}")))?;
    match parsed.scheme() {
        "http" | "https" => Ok(parsed),
        _ => Err(wrong("is no HTTP URL")),
    }
}

fn add_query(url: &mut Url, query: &str) {
    match url.query() {
        _ if query.is_empty() => {}
        None => url.set_query(Some(query)),
        Some(own) => {
            let both = format!("{own}&{query}");
            url.set_query(Some(&both));
        }
    }
}

/// The answer, whole, with its headers as they came.
async fn forward(client: &Client, outgoing: Outgoing) -> Result<Response<Body>, GatewayError> {
    let Outgoing { method, url, headers, body } = outgoing;
    let place = url.origin().ascii_serialization();
    let unreachable =
        |error: &reqwest::Error| GatewayError::Unreachable(format!("{place}: {}", explain(error)));
    egress::check(&url).map_err(|forbidden| GatewayError::Unreachable(forbidden.to_string()))?;
    let mut request = client.get()?.request(method, url).headers(headers);
    if !body.is_empty() {
        request = request.body(body);
    }
    let mut answer = request.send().await.map_err(|error| unreachable(&error))?;
    let mut collected = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| unreachable(&error))? {
        if collected.len() + chunk.len() > BODY_LIMIT {
            return Err(GatewayError::Integration(format!(
                "{place} answers with more than {BODY_LIMIT} bytes"
            )));
        }
        collected.extend_from_slice(&chunk);
    }
    let mut response = Response::new(Body::from(collected));
    *response.status_mut() = answer.status();
    *response.headers_mut() = std::mem::take(answer.headers_mut());
    Ok(response)
}

/// With its causes: the outermost says little.
fn explain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = inner.to_string();
        cause = inner.source();
    }
    text
}

/// Whether the URL can be one, whatever its variables hold.
pub fn check_url(integration: &HttpIntegration) -> Result<(), String> {
    let url = &integration.url;
    if url.contains("${stageVariables.") {
        return Ok(());
    }
    let mut plain = String::new();
    let mut rest = url.as_str();
    while let Some((before, after)) = rest.split_once('{') {
        plain.push_str(before);
        plain.push('x');
        rest = after.split_once('}').map_or(after, |(_, after)| after);
    }
    plain.push_str(rest);
    match Url::parse(&plain) {
        Ok(parsed) if matches!(parsed.scheme(), "http" | "https") => Ok(()),
        _ => Err(format!(
            "`{url}` is no HTTP URL\nhint: an HTTP integration needs one like `https://example.com/{{proxy}}`"
        )),
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::super::fixture::{matched, request, site};
    use super::*;

    fn integration(url: &str, method: &str, rules: &[(&str, &str)]) -> HttpIntegration {
        let request = rules.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        HttpIntegration {
            url: url.to_owned(),
            method: method.to_owned(),
            request,
            responses: Default::default(),
        }
    }

    /// Takes one request and gives this answer; returns what it was asked.
    async fn server(answer: &'static str) -> (String, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let task = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = Vec::new();
            let mut buffer = [0; 4096];
            loop {
                let read = stream.read(&mut buffer).await.unwrap();
                asked.extend_from_slice(&buffer[..read]);
                let text = String::from_utf8_lossy(&asked);
                let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                let length =
                    head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
                if read == 0 || body.len() >= length.unwrap_or(0) {
                    break;
                }
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8(asked).unwrap()
        });
        (address, task)
    }

    #[tokio::test]
    async fn a_request_goes_on_and_its_answer_comes_back() {
        let (address, task) = server(
            "HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\nset-cookie: a=1\r\nset-cookie: b=2\r\ncontent-encoding: gzip\r\ncontent-length: 5\r\n\r\nhello",
        )
        .await;
        let asked = request(
            "PUT",
            "/pets/a%2Fb?x=1&y=%20",
            &[
                ("host", "api.example"),
                ("connection", "x-hop"),
                ("x-hop", "1"),
                ("x-kept", "1"),
                ("x-kept", "2"),
            ],
            "body",
        );
        let matched = matched(Kind::Http, "PUT", "/pets/{proxy+}", &[("proxy", "a/b")]);
        let rules = [("append:header.x-tier", "$stageVariables.tier"), ("overwrite:querystring.x", "2")];
        let integration = integration(&format!("http://{address}/base/{{proxy}}?own=1"), "ANY", &rules);
        let outgoing = outgoing(&asked, &matched, &Caller::default(), &site(), &integration).ok().unwrap();
        let response = forward(&Client::default(), outgoing).await.unwrap();
        let asked = task.await.unwrap();
        assert!(asked.starts_with("PUT /base/a/b?own=1&y=%20&x=2 HTTP/1.1\r\n"), "{asked}");
        for line in [
            format!("host: {address}").as_str(),
            "x-kept: 1",
            "x-kept: 2",
            "x-tier: gold",
            "x-forwarded-for: 203.0.113.10",
            "x-forwarded-port: 3000",
            "x-forwarded-proto: http",
            "forwarded: by=203.0.113.10;for=203.0.113.10;host=api.example;proto=http",
            "via: HTTP/1.1 AmazonAPIGateway",
            "content-length: 4",
        ] {
            assert!(asked.contains(&format!("\r\n{line}\r\n")), "{line}: {asked}");
        }
        assert!(!asked.contains("x-hop") && asked.ends_with("\r\n\r\nbody"), "{asked}");
        assert_eq!(response.status(), 302);
        assert_eq!(response.headers().get_all("set-cookie").iter().count(), 2);
        assert_eq!(response.headers()["location"], "/elsewhere");
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hello");
    }

    #[test]
    fn answers_pass_as_their_api_passes_them() {
        let asked = request("GET", "/", &[], "");
        let answer = || {
            let mut headers = HeaderMap::new();
            for (name, value) in [
                ("connection", "keep-alive, x-hop"),
                ("x-hop", "1"),
                ("keep-alive", "timeout=5"),
                ("server", "other"),
                ("content-length", "5"),
                ("content-type", "text/plain"),
            ] {
                headers.append(name, HeaderValue::from_static(value));
            }
            headers
        };
        let mut headers = answer();
        answered(&mut headers, &asked, &matched(Kind::Http, "GET", "/", &[]));
        assert_eq!(headers.len(), 2, "{headers:?}");
        assert!(headers["server"] == "other" && headers["content-type"] == "text/plain");
        let mut headers = answer();
        answered(&mut headers, &asked, &matched(Kind::Rest, "GET", "/", &[]));
        assert_eq!(headers["x-amzn-remapped-server"], "other");
        assert_eq!(headers["x-amzn-remapped-content-length"], "5");
        assert!(headers.contains_key("x-amzn-trace-id"));
        for name in ["server", "content-length", "connection", "keep-alive"] {
            assert!(!headers.contains_key(name), "{name}");
        }
    }

    #[test]
    fn rest_maps_its_parameters() {
        let asked = request("GET", "/pets/1?x=1&q=2", &[("x-one", "1")], "");
        let matched = matched(Kind::Rest, "GET", "/pets/{id}", &[("id", "1")]);
        let integration = integration(
            "https://${stageVariables.host}/{pet}/{id}/{unknown}",
            "POST",
            &[
                ("integration.request.path.pet", "method.request.querystring.q"),
                ("integration.request.header.x-two", "method.request.header.x-one"),
                ("integration.request.querystring.q", "'a b'"),
            ],
        );
        let outgoing = outgoing(&asked, &matched, &Caller::default(), &site(), &integration).ok().unwrap();
        assert_eq!(outgoing.url.as_str(), "https://example.test/2/1/%7Bunknown%7D?x=1&q=a%20b");
        assert_eq!(outgoing.method, "POST");
        assert_eq!(outgoing.headers["x-two"], "1");
        assert_eq!(outgoing.headers["x-amzn-apigateway-api-id"], matched.api.id.as_str());
        assert_eq!(outgoing.headers["user-agent"], format!("AmazonAPIGateway_{}", matched.api.id));
    }

    /// The URL that these variables make, or `-`.
    fn url(kind: Kind, value: &str) -> String {
        let asked = request("GET", "/", &[], "");
        let matched = matched(kind, "GET", "/{id}", &[("id", value)]);
        let integration = integration("http://a.test/v1/{id}?own=1", "GET", &[]);
        let outgoing = outgoing(&asked, &matched, &Caller::default(), &site(), &integration);
        match outgoing {
            Ok(outgoing) => outgoing.url.to_string(),
            Err(GatewayError::BadRequest(_)) => "-".to_owned(),
            Err(error) => panic!("{error:?}"),
        }
    }

    #[test]
    fn a_variable_does_not_leave_its_place() {
        // As an HTTP API has decoded them.
        for (value, expected) in [
            ("a b", "a%20b"),
            ("a?admin=1", "a%3Fadmin=1"),
            ("a#b", "a%23b"),
            ("a%2Fb", "a%252Fb"),
            ("a\r\nX: y", "a%0D%0AX:%20y"),
            ("@evil.test/", "@evil.test/"),
            ("//evil.test", "//evil.test"),
            ("caf\u{e9}", "caf%C3%A9"),
            ("...", "..."),
        ] {
            assert_eq!(url(Kind::Http, value), format!("http://a.test/v1/{expected}?own=1"), "{value}");
        }
        // As a client has written them, for a REST API.
        for (value, expected) in
            [("a%3Fb", "a%3Fb"), ("..%2fsecret", "..%2fsecret"), (r"a\b", "a%5Cb"), ("%FF", "%FF")]
        {
            assert_eq!(url(Kind::Rest, value), format!("http://a.test/v1/{expected}?own=1"), "{value}");
        }
        for value in ["..", "../secret", "a/../../secret", "a/./b", "%2e%2E/secret", ".%2e", "a/."] {
            assert_eq!(url(Kind::Rest, value), "-", "{value}");
        }
        for value in ["..", "../secret", "a/../../secret", "a/."] {
            assert_eq!(url(Kind::Http, value), "-", "{value}");
        }
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_told() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let asked = request("GET", "/", &[], "");
        let matched = matched(Kind::Http, "GET", "/", &[]);
        let integration = integration(&format!("http://{address}/"), "GET", &[]);
        let outgoing = outgoing(&asked, &matched, &Caller::default(), &site(), &integration).ok().unwrap();
        let error = forward(&Client::default(), outgoing).await.unwrap_err();
        assert!(
            matches!(&error, GatewayError::Unreachable(reason) if reason.contains(&address.to_string())),
            "{error:?}"
        );
    }

    #[tokio::test]
    async fn an_answer_that_breaks_off_is_no_answer() {
        let (address, _task) = server("HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nhalf").await;
        let asked = request("GET", "/", &[], "");
        let matched = matched(Kind::Http, "GET", "/", &[]);
        let integration = integration(&format!("http://{address}/"), "GET", &[]);
        let outgoing = outgoing(&asked, &matched, &Caller::default(), &site(), &integration).ok().unwrap();
        let error = forward(&Client::default(), outgoing).await.unwrap_err();
        assert!(matches!(error, GatewayError::Unreachable(_)), "{error:?}");
    }

    #[test]
    fn urls_are_checked_before_they_are_asked() {
        let check = |url: &str| check_url(&integration(url, "ANY", &[]));
        assert!(check("https://example.com/{proxy}").is_ok());
        assert!(check("http://${stageVariables.host}/").is_ok());
        assert!(check("http://{host}:8080/a{b}c").is_ok());
        for url in ["", "example.com", "ftp://example.com/", "http://", "arn:aws:lambda:x"] {
            assert!(check(url).is_err(), "{url}");
        }
        assert_eq!(
            fill("/{a}/{b+}/{c}{", &[("a".into(), "1".into()), ("b".into(), "{a}".into())]),
            "/1/{a}/{c}{"
        );
    }
}
