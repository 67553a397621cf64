//! What a REST API says, unless its template says it in another way.

use std::borrow::Cow;

use axum::body::Body;
use http::{Response, StatusCode};

use super::{About, GatewayError, customised, json, set_error_type, set_www_authenticate};
use crate::gateway::payload;

/// An answer before anything is customised.
pub struct Said<'a> {
    pub status: StatusCode,
    /// `MISSING_AUTHENTICATION_TOKEN`; none for answers that only `DEFAULT_4XX` and `DEFAULT_5XX` mean.
    pub response_type: Option<&'static str>,
    error_type: Option<&'static str>,
    /// What stands before the message: AWS is not of one mind about it.
    before: &'static str,
    pub message: Option<Cow<'a, str>>,
}

const TIGHT: &str = r#"{"message":"#;
const SPACED: &str = r#"{"message": "#;
const CAPITAL: &str = r#"{"Message":"#;

impl Said<'_> {
    /// With its quotes, or null.
    pub fn message_string(&self) -> String {
        self.message.as_ref().map_or("null".to_owned(), |message| serde_json::json!(message).to_string())
    }

    fn body(&self) -> String {
        format!("{}{}}}", self.before, self.message_string())
    }
}

pub fn answer(error: &GatewayError, about: About<'_>) -> Response<Body> {
    let said = say(error);
    let mut response = match customised::find(&said, about) {
        Some(customised) => customised::answer(customised, &said, said.body(), about),
        None => json(said.status, said.body()),
    };
    if let Some(error_type) = said.error_type {
        set_error_type(&mut response, error_type);
    }
    set_www_authenticate(&mut response, error);
    // The function has been asked.
    if let (GatewayError::FunctionError { .. } | GatewayError::Malformed { .. }, Some(api)) =
        (error, about.api)
    {
        payload::add_trace(response.headers_mut(), about.request, &api.id);
    }
    response
}

fn say(error: &GatewayError) -> Said<'_> {
    let said = |status, response_type, error_type, before, message| Said {
        status,
        response_type,
        error_type,
        before,
        message: Some(Cow::Borrowed(message)),
    };
    match error {
        GatewayError::NotFound { .. } | GatewayError::MissingAuthenticationToken => said(
            StatusCode::FORBIDDEN,
            Some("MISSING_AUTHENTICATION_TOKEN"),
            Some("MissingAuthenticationTokenException"),
            TIGHT,
            "Missing Authentication Token",
        ),
        GatewayError::UnknownApi { .. } | GatewayError::Forbidden(_) => {
            said(StatusCode::FORBIDDEN, None, Some("ForbiddenException"), TIGHT, "Forbidden")
        }
        GatewayError::InvalidApiKey(_) => said(
            StatusCode::FORBIDDEN,
            Some("INVALID_API_KEY"),
            Some("ForbiddenException"),
            TIGHT,
            "Forbidden",
        ),
        GatewayError::FunctionError { .. } | GatewayError::Malformed { .. } => said(
            StatusCode::BAD_GATEWAY,
            None,
            Some("InternalServerErrorException"),
            SPACED,
            "Internal server error",
        ),
        GatewayError::Integration(_) | GatewayError::Throttled(_) => said(
            StatusCode::INTERNAL_SERVER_ERROR,
            Some("API_CONFIGURATION_ERROR"),
            Some("InternalServerErrorException"),
            SPACED,
            "Internal server error",
        ),
        GatewayError::IntegrationTimeout(_) => said(
            StatusCode::GATEWAY_TIMEOUT,
            Some("INTEGRATION_TIMEOUT"),
            Some("InternalServerErrorException"),
            SPACED,
            "Endpoint request timed out",
        ),
        GatewayError::Unreachable(_) => said(
            StatusCode::GATEWAY_TIMEOUT,
            Some("INTEGRATION_FAILURE"),
            None,
            SPACED,
            "Network error communicating with endpoint",
        ),
        GatewayError::TooLarge => said(
            StatusCode::PAYLOAD_TOO_LARGE,
            Some("REQUEST_TOO_LARGE"),
            Some("RequestTooLargeException"),
            TIGHT,
            "Request Too Long",
        ),
        GatewayError::HeadersTooLarge(_) => said(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            None,
            None,
            TIGHT,
            "Request Header Fields Too Large",
        ),
        GatewayError::BadRequest(_) => {
            said(StatusCode::BAD_REQUEST, None, Some("BadRequestException"), TIGHT, "Bad Request")
        }
        GatewayError::MissingParameters(names) => Said {
            message: Some(format!("Missing required request parameters: [{}]", names.join(", ")).into()),
            ..said(
                StatusCode::BAD_REQUEST,
                Some("BAD_REQUEST_PARAMETERS"),
                Some("BadRequestException"),
                SPACED,
                "",
            )
        },
        GatewayError::UnsupportedMediaType => said(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Some("UNSUPPORTED_MEDIA_TYPE"),
            Some("BadRequestException"),
            SPACED,
            "Unsupported Media Type",
        ),
        GatewayError::Unauthorized { .. } => said(
            StatusCode::UNAUTHORIZED,
            Some("UNAUTHORIZED"),
            Some("UnauthorizedException"),
            TIGHT,
            "Unauthorized",
        ),
        GatewayError::AccessDenied { explicit, .. } => said(
            StatusCode::FORBIDDEN,
            Some("ACCESS_DENIED"),
            Some("AccessDeniedException"),
            CAPITAL,
            if *explicit {
                "User is not authorized to access this resource with an explicit deny"
            } else {
                "User is not authorized to access this resource"
            },
        ),
        GatewayError::AuthorizerFailed { configuration, .. } => {
            let (response_type, error_type) = if *configuration {
                ("AUTHORIZER_CONFIGURATION_ERROR", "AuthorizerConfigurationException")
            } else {
                ("AUTHORIZER_FAILURE", "AuthorizerFailureException")
            };
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            Said { message: None, ..said(status, Some(response_type), Some(error_type), TIGHT, "") }
        }
        GatewayError::InvalidSignature { message } => {
            let error_type = signature_error_type(message);
            let response_type =
                if error_type == "ExpiredTokenException" { "EXPIRED_TOKEN" } else { "INVALID_SIGNATURE" };
            said(StatusCode::FORBIDDEN, Some(response_type), Some(error_type), TIGHT, message)
        }
        GatewayError::TooManyRequests(_) => said(
            StatusCode::TOO_MANY_REQUESTS,
            Some("THROTTLED"),
            Some("TooManyRequestsException"),
            TIGHT,
            "Too Many Requests",
        ),
        GatewayError::QuotaExceeded(_) => said(
            StatusCode::TOO_MANY_REQUESTS,
            Some("QUOTA_EXCEEDED"),
            Some("LimitExceededException"),
            TIGHT,
            "Limit Exceeded",
        ),
    }
}

/// What is wrong with a signature, by what the client is told of it.
pub fn signature_error_type(message: &str) -> &'static str {
    if message.contains("security token included in the request is expired") {
        "ExpiredTokenException"
    } else if message.contains("security token included in the request is invalid") {
        "UnrecognizedClientException"
    } else if message.contains("Authorization header requires") || message.contains("not a valid key=value") {
        "IncompleteSignatureException"
    } else {
        "InvalidSignatureException"
    }
}
