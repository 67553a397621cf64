//! What the forms of a response have in common: status, headers and body, and what is wrong with them.

use std::borrow::Cow;
use std::fmt;

use axum::body::Body;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::reader::Reader;

/// Why a result cannot be made into a response: AWS answers 500 or 502 and says nothing.
#[derive(Debug, PartialEq, Eq)]
pub enum Malformed {
    StatusCode(String),
    NoStatusCode,
    Headers(String),
    MultiValueHeaders(String),
    Cookies,
    Body(&'static str),
    Base64,
    /// REST APIs know five keys.
    UnknownKey(String),
    NoObject(&'static str),
    NoJson,
    /// So many bytes, of which a load balancer takes fewer.
    TooLong(usize),
}

impl fmt::Display for Malformed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StatusCode(value) => write!(formatter, "a `statusCode` that is no HTTP status: {value}"),
            Self::NoStatusCode => write!(formatter, "no `statusCode`"),
            Self::Headers(name) => write!(formatter, "`headers` that cannot be sent: {name}"),
            Self::MultiValueHeaders(name) => {
                write!(formatter, "`multiValueHeaders` that cannot be sent: {name}")
            }
            Self::Cookies => write!(formatter, "`cookies` that are no list of texts"),
            Self::Body(kind) => write!(
                formatter,
                "a `body` that is {kind}; it must be text\nhint: use `json.dumps(...)` for what you return as `body`"
            ),
            Self::Base64 => {
                write!(formatter, "a `body` that is not base64, although `isBase64Encoded` is true")
            }
            Self::UnknownKey(key) => write!(
                formatter,
                "`{key}`, which a REST API does not know\nhint: return only `statusCode`, `headers`, \
                 `multiValueHeaders`, `body` and `isBase64Encoded`"
            ),
            Self::NoObject(kind) => write!(
                formatter,
                "{kind}, not an object\nhint: return `{{\"statusCode\": 200, \"body\": json.dumps(...)}}`"
            ),
            Self::NoJson => write!(formatter, "what is no JSON"),
            Self::TooLong(length) => {
                write!(formatter, "{length} bytes; a load balancer takes 1 MB at most")
            }
        }
    }
}

/// No client takes nearly as many.
const HEADERS_LIMIT: usize = 1000;

/// A response that is being made.
#[derive(Debug)]
pub struct Draft {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

/// The name under which a header is sent on; `None`: not at all.
pub type Rename = for<'a> fn(&'a str) -> Option<Cow<'a, str>>;

/// All but those that describe the transfer: they are ours to write.
pub fn own_name(name: &str) -> Option<Cow<'_, str>> {
    const TRANSFER: [&str; 4] = ["content-length", "transfer-encoding", "connection", "keep-alive"];
    let transfer = TRANSFER.iter().any(|known| name.eq_ignore_ascii_case(known));
    (!transfer).then_some(Cow::Borrowed(name))
}

impl Draft {
    pub fn new(status: StatusCode) -> Self {
        Self { status, headers: HeaderMap::new(), body: Vec::new() }
    }

    /// Of a result that is the body itself.
    pub fn inferred(body: Vec<u8>) -> Self {
        Self { body, ..Self::new(StatusCode::OK) }
    }

    pub fn cookies(&mut self, cookies: Option<Value>) -> Result<(), Malformed> {
        let cookies = match cookies {
            None | Some(Value::Null) => return Ok(()),
            Some(Value::Array(cookies)) => cookies,
            Some(_) => return Err(Malformed::Cookies),
        };
        for cookie in cookies {
            let value = cookie.as_str().and_then(|cookie| HeaderValue::from_str(cookie).ok());
            let value = value.filter(|_| self.headers.len() < HEADERS_LIMIT).ok_or(Malformed::Cookies)?;
            self.headers.append(header::SET_COOKIE, value);
        }
        Ok(())
    }

    pub fn headers(&mut self, headers: Option<Value>, rename: Rename) -> Result<(), Malformed> {
        self.single_headers(headers, rename, false)
    }

    /// Those of `multiValueHeaders` first, then those of `headers` that do not say the same again.
    pub fn all_headers(&mut self, object: &mut Map<String, Value>, rename: Rename) -> Result<(), Malformed> {
        self.multi_value_headers(object.remove("multiValueHeaders"), rename)?;
        self.single_headers(object.remove("headers"), rename, true)
    }

    fn single_headers(
        &mut self,
        headers: Option<Value>,
        rename: Rename,
        once: bool,
    ) -> Result<(), Malformed> {
        let headers = match headers {
            None | Some(Value::Null) => return Ok(()),
            Some(Value::Object(headers)) => headers,
            Some(_) => return Err(Malformed::Headers("they are no object".to_owned())),
        };
        for (name, value) in headers {
            self.header(&name, &value, rename, once).map_err(Malformed::Headers)?;
        }
        Ok(())
    }

    pub fn multi_value_headers(&mut self, headers: Option<Value>, rename: Rename) -> Result<(), Malformed> {
        let headers = match headers {
            None | Some(Value::Null) => return Ok(()),
            Some(Value::Object(headers)) => headers,
            Some(_) => return Err(Malformed::MultiValueHeaders("they are no object".to_owned())),
        };
        for (name, values) in headers {
            let Value::Array(values) = values else {
                let reason = format!("`{name}` is {}, not a list", kind(&values));
                return Err(Malformed::MultiValueHeaders(reason));
            };
            for value in values {
                self.header(&name, &value, rename, false).map_err(Malformed::MultiValueHeaders)?;
            }
        }
        Ok(())
    }

    /// Null is no header.
    fn header(&mut self, name: &str, value: &Value, rename: Rename, once: bool) -> Result<(), String> {
        let text = match value {
            Value::String(text) => Cow::Borrowed(text.as_str()),
            Value::Number(number) => number.to_string().into(),
            Value::Bool(flag) => flag.to_string().into(),
            Value::Null => return Ok(()),
            other => return Err(format!("`{name}` is {}", kind(other))),
        };
        let value = HeaderValue::from_bytes(text.as_bytes())
            .map_err(|_| format!("`{name}` has characters that no header may have"))?;
        let parsed =
            |name: &str| HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("{name:?} is no name"));
        let own = parsed(name)?;
        let Some(renamed) = rename(name) else { return Ok(()) };
        let name = if renamed == name { own } else { parsed(&renamed)? };
        if once && self.headers.get_all(&name).iter().any(|known| *known == value) {
            return Ok(());
        }
        if self.headers.len() >= HEADERS_LIMIT {
            return Err(format!("there are more than {HEADERS_LIMIT}"));
        }
        self.headers.append(name, value);
        Ok(())
    }

    pub fn body(&mut self, body: Option<Value>, is_base64: bool) -> Result<(), Malformed> {
        self.body = match body {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::String(text)) if is_base64 => {
                BASE64.decode(text.as_bytes()).map_err(|_| Malformed::Base64)?
            }
            Some(Value::String(text)) => text.into_bytes(),
            Some(other) => return Err(Malformed::Body(kind(&other))),
        };
        Ok(())
    }

    /// `content_type`: of a response that says none.
    pub fn finish(self, content_type: &'static str) -> Response<Body> {
        let Self { status, mut headers, body } = self;
        headers.entry(header::CONTENT_TYPE).or_insert(HeaderValue::from_static(content_type));
        // 204 and 304 have no body, whatever the function says.
        let bodiless = status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED;
        let mut response = Response::new(if bodiless { Body::empty() } else { Body::from(body) });
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }
}

/// What HTTP APIs and function URLs understand of an object; unknown keys are passed over, and of equal
/// ones the last one counts.
#[derive(Default)]
pub struct Described {
    status_code: Option<Value>,
    cookies: Option<Value>,
    headers: Option<Value>,
    body: Option<Value>,
    is_base64_encoded: Option<Value>,
}

impl Described {
    /// `None`: it is no object.
    pub fn read(payload: &[u8]) -> Option<Self> {
        let mut described = Self::default();
        Reader::new(payload)?.object(|key, reader| {
            let place = match key {
                "statusCode" => &mut described.status_code,
                "cookies" => &mut described.cookies,
                "headers" => &mut described.headers,
                "body" => &mut described.body,
                "isBase64Encoded" => &mut described.is_base64_encoded,
                _ => return reader.any::<IgnoredAny>().map(drop),
            };
            *place = Some(reader.value()?);
            Some(())
        })?;
        Some(described)
    }

    /// With a `statusCode`, whatever that is.
    pub fn is_response(&self) -> bool {
        self.status_code.is_some()
    }

    pub fn draft(self) -> Result<Draft, Malformed> {
        let mut draft = Draft::new(status(self.status_code.as_ref().unwrap_or(&Value::Null))?);
        draft.cookies(self.cookies)?;
        draft.headers(self.headers, own_name)?;
        draft.body(self.body, self.is_base64_encoded == Some(Value::Bool(true)))?;
        Ok(draft)
    }
}

/// A whole number, or its digits as text.
pub fn status(value: &Value) -> Result<StatusCode, Malformed> {
    let number = match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    // 1xx would leave the client waiting for the real answer.
    number
        .filter(|number| (200..=599).contains(number))
        .and_then(|number| StatusCode::from_u16(number as u16).ok())
        .ok_or_else(|| Malformed::StatusCode(value.to_string()))
}

/// The object that a result has to be.
pub fn object(payload: &[u8]) -> Result<Map<String, Value>, Malformed> {
    match serde_json::from_slice(payload) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(other) => Err(Malformed::NoObject(kind(&other))),
        Err(_) => Err(Malformed::NoJson),
    }
}

/// For people.
pub fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
