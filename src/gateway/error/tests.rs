//! Tests: every answer of every kind of API.

use super::*;
use crate::api::{GatewayResponse, Integration, PayloadVersion, Route, Stage};
use crate::gateway::payload::describe;
use crate::gateway::payload::golden_request as request;

fn plain() -> Request {
    let mut request =
        request("GET /Prod/a?q=1&q=2 HTTP/1.1\r\nHost: h.example.com\r\nOrigin: https://o\r\n\r\n");
    request.id = "extended".to_owned();
    request.uuid = "uuid".to_owned();
    request
}

fn about(kind: Kind, request: &Request) -> About<'_> {
    About { kind, request, api: None, matched: None }
}

fn throttled(reason: ThrottleReason) -> GatewayError {
    GatewayError::Throttled(Throttled { reason, explanation: "reason".to_owned() })
}

/// AWS has no such header: where it knows the limit, there is none.
#[test]
fn only_overload_says_when_to_come_again() {
    let request = plain();
    let said = |kind, reason| {
        let response = throttled(reason).into_response(about(kind, &request));
        response.headers().get(header::RETRY_AFTER).map(|value| value.to_str().unwrap().to_owned())
    };
    let overload = ThrottleReason::ConcurrentInvocationLimitExceeded;
    for (kind, wanted) in [
        (Kind::Http, Some("1".to_owned())),
        (Kind::FunctionUrl, Some("1".to_owned())),
        // These answer with 500 and 502, where the header means nothing.
        (Kind::Rest, None),
        (Kind::LoadBalancer, None),
    ] {
        assert_eq!(said(kind, overload), wanted, "{kind:?}");
        assert_eq!(said(kind, ThrottleReason::ReservedFunctionConcurrentInvocationLimitExceeded), None);
    }
}

fn every_error() -> Vec<GatewayError> {
    let reason = || "reason".to_owned();
    vec![
        GatewayError::NotFound { hint: None },
        GatewayError::UnknownApi { name: reason(), known: Vec::new() },
        GatewayError::FunctionError { error_type: reason() },
        GatewayError::Malformed { function: reason(), malformed: Malformed::NoJson },
        GatewayError::Integration(reason()),
        GatewayError::Unreachable(reason()),
        throttled(ThrottleReason::ReservedFunctionConcurrentInvocationLimitExceeded),
        GatewayError::IntegrationTimeout(Duration::from_secs(29)),
        GatewayError::TooLarge,
        GatewayError::HeadersTooLarge(20_000),
        GatewayError::BadRequest("reason"),
        GatewayError::Unauthorized { reason: reason(), www_authenticate: Some("Bearer".to_owned()) },
        GatewayError::Forbidden(reason()),
        GatewayError::AccessDenied { explicit: true, reason: reason() },
        GatewayError::AccessDenied { explicit: false, reason: reason() },
        GatewayError::AuthorizerFailed { configuration: true, reason: reason() },
        GatewayError::AuthorizerFailed { configuration: false, reason: reason() },
        GatewayError::MissingAuthenticationToken,
        GatewayError::InvalidSignature { message: "wrong".to_owned() },
        GatewayError::InvalidSignature {
            message: "The security token included in the request is expired".to_owned(),
        },
        GatewayError::InvalidApiKey(reason()),
        GatewayError::TooManyRequests(reason()),
        GatewayError::QuotaExceeded(reason()),
        GatewayError::MissingParameters(vec!["x-header-param".into(), "issuer".into(), "qs1".into()]),
        GatewayError::UnsupportedMediaType,
    ]
}

fn answers(kind: Kind) -> Vec<String> {
    let request = plain();
    every_error().into_iter().map(|error| describe(Ok(error.into_response(about(kind, &request))))).collect()
}

#[test]
fn an_http_api_says() {
    let json = |status: u16, message: &str| {
        format!(
            "{status} apigw-requestid: extended; content-type: application/json | {{\"message\":\"{message}\"}}"
        )
    };
    let with_challenge = "401 apigw-requestid: extended; content-type: application/json; \
                          www-authenticate: Bearer | {\"message\":\"Unauthorized\"}";
    assert_eq!(
        answers(Kind::Http),
        [
            json(404, "Not Found"),
            json(404, "Not Found"),
            json(500, "Internal Server Error"),
            json(500, "Internal Server Error"),
            json(500, "Internal Server Error"),
            json(503, "Service Unavailable"),
            json(503, "Service Unavailable"),
            json(503, "Service Unavailable"),
            json(413, "Request Entity Too Large"),
            json(431, "Request Header Fields Too Large"),
            json(400, "Bad Request"),
            with_challenge.to_owned(),
            json(403, "Forbidden"),
            json(403, "Forbidden"),
            json(403, "Forbidden"),
            json(500, "Internal Server Error"),
            json(500, "Internal Server Error"),
            json(403, "Forbidden"),
            json(403, "Forbidden"),
            json(403, "Forbidden"),
            json(403, "Forbidden"),
            json(429, "Too Many Requests"),
            json(429, "Too Many Requests"),
            json(400, "Bad Request"),
            json(415, "Unsupported Media Type"),
        ]
    );
}

#[test]
fn a_rest_api_says() {
    let said = |status: u16, more: &str, error_type: &str, body: &str| {
        let error_type =
            if error_type.is_empty() { String::new() } else { format!("; x-amzn-errortype: {error_type}") };
        format!(
            "{status} content-type: application/json{more}; x-amz-apigw-id: extended{error_type}; x-amzn-requestid: uuid | {body}"
        )
    };
    let internal = r#"{"message": "Internal server error"}"#;
    assert_eq!(internal.len(), 36);
    assert_eq!(
        answers(Kind::Rest),
        [
            said(
                403,
                "",
                "MissingAuthenticationTokenException",
                r#"{"message":"Missing Authentication Token"}"#
            ),
            said(403, "", "ForbiddenException", r#"{"message":"Forbidden"}"#),
            said(502, "", "InternalServerErrorException", internal),
            said(502, "", "InternalServerErrorException", internal),
            said(500, "", "InternalServerErrorException", internal),
            said(504, "", "", r#"{"message": "Network error communicating with endpoint"}"#),
            said(500, "", "InternalServerErrorException", internal),
            said(504, "", "InternalServerErrorException", r#"{"message": "Endpoint request timed out"}"#),
            said(413, "", "RequestTooLargeException", r#"{"message":"Request Too Long"}"#),
            said(431, "", "", r#"{"message":"Request Header Fields Too Large"}"#),
            said(400, "", "BadRequestException", r#"{"message":"Bad Request"}"#),
            said(401, "; www-authenticate: Bearer", "UnauthorizedException", r#"{"message":"Unauthorized"}"#),
            said(403, "", "ForbiddenException", r#"{"message":"Forbidden"}"#),
            said(
                403,
                "",
                "AccessDeniedException",
                r#"{"Message":"User is not authorized to access this resource with an explicit deny"}"#
            ),
            said(
                403,
                "",
                "AccessDeniedException",
                r#"{"Message":"User is not authorized to access this resource"}"#
            ),
            said(500, "", "AuthorizerConfigurationException", r#"{"message":null}"#),
            said(500, "", "AuthorizerFailureException", r#"{"message":null}"#),
            said(
                403,
                "",
                "MissingAuthenticationTokenException",
                r#"{"message":"Missing Authentication Token"}"#
            ),
            said(403, "", "InvalidSignatureException", r#"{"message":"wrong"}"#),
            said(
                403,
                "",
                "ExpiredTokenException",
                r#"{"message":"The security token included in the request is expired"}"#
            ),
            said(403, "", "ForbiddenException", r#"{"message":"Forbidden"}"#),
            said(429, "", "TooManyRequestsException", r#"{"message":"Too Many Requests"}"#),
            said(429, "", "LimitExceededException", r#"{"message":"Limit Exceeded"}"#),
            said(
                400,
                "",
                "BadRequestException",
                r#"{"message": "Missing required request parameters: [x-header-param, issuer, qs1]"}"#
            ),
            said(415, "", "BadRequestException", r#"{"message": "Unsupported Media Type"}"#),
        ]
    );
}

#[test]
fn a_function_url_says() {
    let said = |status: u16, error_type: &str, body: &str| {
        format!(
            "{status} content-type: application/json; x-amzn-errortype: {error_type}; x-amzn-requestid: uuid | {body}"
        )
    };
    let failed = "502 content-type: text/plain; x-amzn-requestid: uuid | Internal Server Error".to_owned();
    let forbidden = said(
        403,
        "AccessDeniedException",
        r#"{"Message":"Forbidden. For troubleshooting Function URL authorization issues, see: https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html"}"#,
    );
    let throttled = said(
        429,
        "TooManyRequestsException",
        r#"{"Reason":"ConcurrentInvocationLimitExceeded","Type":"User","message":"Rate Exceeded."}"#,
    );
    assert_eq!(
        answers(Kind::FunctionUrl),
        [
            said(403, "AccessDeniedException", r#"{"Message":null}"#),
            said(403, "AccessDeniedException", r#"{"Message":null}"#),
            failed.clone(),
            failed.clone(),
            failed.clone(),
            failed.clone(),
            throttled.clone(),
            failed.clone(),
            said(
                413,
                "RequestEntityTooLargeException",
                r#"{"message":"Request must be smaller than 6291456 bytes for the InvokeFunction operation"}"#
            ),
            said(431, "RequestEntityTooLargeException", r#"{"message":"Request Header Fields Too Large"}"#),
            said(400, "BadRequestException", r#"{"message":"Bad Request"}"#),
            forbidden.clone(),
            forbidden.clone(),
            forbidden.clone(),
            forbidden.clone(),
            failed.clone(),
            failed,
            forbidden.clone(),
            said(403, "InvalidSignatureException", r#"{"message":"wrong"}"#),
            said(
                403,
                "ExpiredTokenException",
                r#"{"message":"The security token included in the request is expired"}"#
            ),
            forbidden,
            throttled.clone(),
            throttled,
            said(400, "BadRequestException", r#"{"message":"Bad Request"}"#),
            said(415, "UnsupportedMediaTypeException", r#"{"message":"Unsupported Media Type"}"#),
        ]
    );
}

#[test]
fn a_load_balancer_says() {
    let statuses = answers(Kind::LoadBalancer);
    let first: Vec<u16> = statuses.iter().map(|answer| answer[..3].parse().unwrap()).collect();
    assert_eq!(
        first,
        [
            404, 404, 502, 502, 502, 502, 502, 502, 413, 400, 400, 401, 403, 403, 403, 502, 502, 401, 403,
            403, 403, 503, 503, 400, 400
        ]
    );
    assert_eq!(
        statuses[2],
        "502 content-type: text/html; server: awselb/2.0 | <html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n</body>\r\n</html>\r\n"
    );
}

// ---- What a template wants said instead

fn api(responses: &[(&str, GatewayResponse)]) -> Api {
    let mut api = Api::new("a1b2c3d4e5", "Shop", Kind::Rest);
    api.stages.push(Stage::named("Prod"));
    api.stages[0].variables.insert("tier".to_owned(), "gold".to_owned());
    api.routes.push(Route::new("GET", "/{id}", Integration::function("f", PayloadVersion::V1)));
    api.gateway_responses =
        responses.iter().map(|(name, response)| ((*name).to_owned(), response.clone())).collect();
    api
}

fn customised(
    status: Option<u16>,
    parameters: &[(&str, &str)],
    templates: &[(&str, &str)],
) -> GatewayResponse {
    let pairs = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    GatewayResponse { status, parameters: pairs(parameters), templates: pairs(templates) }
}

fn say(api: Api, error: GatewayError) -> String {
    let request = plain();
    let matched = Matched {
        api: std::sync::Arc::new(api),
        stage: 0,
        route: 0,
        path: "/a".to_owned(),
        full_path: "/Prod/a".to_owned(),
        parameters: vec![("id".to_owned(), "a".to_owned())],
        custom_domain: false,
    };
    describe(Ok(error.into_response(About::matched(&request, &matched))))
}

#[test]
fn headers_are_added_and_the_body_stays() {
    let parameters = [
        ("gatewayresponse.header.Access-Control-Allow-Origin", "'*'"),
        ("gatewayresponse.header.X-Origin", "method.request.header.origin"),
        ("gatewayresponse.header.X-Query", "method.request.querystring.q"),
        ("gatewayresponse.header.X-Path", "method.request.path.id"),
        ("gatewayresponse.header.X-Tier", "stageVariables.tier"),
        ("gatewayresponse.header.X-Request", "context.requestId"),
        ("gatewayresponse.header.X-Nothing", "method.request.header.nothing"),
        ("gatewayresponse.header.X-Split", "'a\r\nb: c'"),
    ];
    let api = api(&[("DEFAULT_4XX", customised(None, &parameters, &[]))]);
    assert_eq!(
        say(api.clone(), GatewayError::InvalidApiKey(String::new())),
        "403 access-control-allow-origin: *; content-type: application/json; x-amz-apigw-id: extended; \
         x-amzn-errortype: ForbiddenException; x-amzn-requestid: uuid; x-origin: https://o; x-path: a; \
         x-query: 2; x-request: uuid; x-tier: gold | {\"message\":\"Forbidden\"}"
    );
    assert!(!say(api, GatewayError::IntegrationTimeout(Duration::ZERO)).contains("access-control"));
}

#[test]
fn a_type_of_its_own_comes_before_the_default() {
    let own = customised(
        Some(404),
        &[],
        &[
            (
                "application/json",
                r#"{"m":$context.error.messageString,"p":"$context.path ${context.stage}"}"#,
            ),
            ("text/html", "<p>"),
        ],
    );
    let default =
        customised(Some(499), &[], &[("text/plain", "$context.error.responseType $context.error.message")]);
    let api = api(&[("MISSING_AUTHENTICATION_TOKEN", own), ("DEFAULT_4XX", default)]);
    let rest = "x-amz-apigw-id: extended; x-amzn-errortype";
    assert_eq!(
        say(api.clone(), GatewayError::NotFound { hint: None }),
        format!(
            "404 content-type: application/json; {rest}: MissingAuthenticationTokenException; x-amzn-requestid: uuid | \
             {{\"m\":\"Missing Authentication Token\",\"p\":\"/Prod/a Prod\"}}"
        )
    );
    assert_eq!(
        say(api, GatewayError::TooLarge),
        format!(
            "499 content-type: text/plain; {rest}: RequestTooLargeException; x-amzn-requestid: uuid | \
             REQUEST_TOO_LARGE Request Too Long"
        )
    );
}

#[test]
fn a_function_that_was_asked_has_left_its_trace() {
    let answer = say(api(&[]), GatewayError::FunctionError { error_type: String::new() });
    assert!(answer.contains("x-amzn-trace-id: Root=1-"), "{answer}");
    assert!(answer.contains(";Sampled=0;Lineage=1:"), "{answer}");
    let answer = say(api(&[]), GatewayError::TooLarge);
    assert!(!answer.contains("x-amzn-trace-id"), "{answer}");
}

#[test]
fn header_fields_have_a_limit() {
    let headers = |length: usize| -> HeaderMap {
        [(header::COOKIE, HeaderValue::from_str(&"x".repeat(length)).unwrap())].into_iter().collect()
    };
    let most = 10_240 - "cookie".len();
    for kind in [Kind::Rest, Kind::Http] {
        assert!(check_headers(kind, &headers(most)).is_ok());
        assert!(matches!(
            check_headers(kind, &headers(most + 1)),
            Err(GatewayError::HeadersTooLarge(10_241))
        ));
    }
    assert!(check_headers(Kind::FunctionUrl, &headers(20_000)).is_ok());
}
