//! How a caller names a function: by name, `name:qualifier`, partial ARN or ARN.

use http::HeaderMap;

use super::{ApiError, LambdaApi};

/// AWS's pattern for `functionName`, as it stands in its own messages.
const PATTERN: &str = "(arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\\d{1}:)?(\\d{12}:)?(function:)?([a-zA-Z0-9-_\\.]+)(:(\\$LATEST(\\.PUBLISHED)?|[a-zA-Z0-9-_]+))?";

/// A function as the caller named it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    pub name: String,
    /// Exactly as given, if it was.
    pub qualifier: Option<String>,
    /// Unqualified.
    pub arn: String,
}

impl Named {
    /// With the qualifier, if the caller gave one.
    pub fn invoked_arn(&self) -> String {
        match &self.qualifier {
            Some(qualifier) => format!("{}:{qualifier}", self.arn),
            None => self.arn.clone(),
        }
    }

    /// As the invoker wants it: `NAME` or `NAME:QUALIFIER`.
    pub fn target(&self) -> String {
        match &self.qualifier {
            Some(qualifier) => format!("{}:{qualifier}", self.name),
            None => self.name.clone(),
        }
    }
}

pub fn parse(
    api: &LambdaApi,
    headers: &HeaderMap,
    text: &str,
    qualifier: Option<&str>,
) -> Result<Named, ApiError> {
    let account = &api.invoker.account().id;
    let region = api.region(headers);
    let invalid = || {
        ApiError::Validation(format!(
            "1 validation error detected: Value '{text}' at 'functionName' failed to satisfy constraint: Member must \
             satisfy regular expression pattern: {PATTERN}"
        ))
    };
    let mut parts: Vec<&str> = text.split(':').collect();
    if parts.first() == Some(&"arn") {
        // arn:aws:lambda:REGION:ACCOUNT:function:NAME[:QUALIFIER]
        if parts.len() < 7 || parts[2] != "lambda" || parts[5] != "function" {
            return Err(invalid());
        }
        if parts[3] != region {
            return Err(ApiError::OtherRegion { asked: parts[3].to_owned(), here: region });
        }
        if parts[4] != account {
            return Err(ApiError::OtherAccount);
        }
        parts.drain(..6);
    } else if parts.get(1) == Some(&"function") && parts.len() >= 3 {
        if parts[0] != account {
            return Err(ApiError::OtherAccount);
        }
        parts.drain(..2);
    }
    let (name, derived) = match parts.as_slice() {
        [name] => (*name, None),
        [name, qualifier] => (*name, Some(*qualifier)),
        _ => return Err(invalid()),
    };
    if name.len() > 64 && name.bytes().all(is_name_byte) {
        return Err(ApiError::InvalidParameter(format!(
            "1 validation error detected: Value '{name}' at 'functionName' failed to satisfy constraint: Member must \
             have length less than or equal to 64"
        )));
    }
    if name.parse::<crate::function::FunctionName>().is_err() {
        return Err(invalid());
    }
    if let Some(qualifier) = derived.or(qualifier)
        && (qualifier.is_empty() || !qualifier.bytes().all(|byte| is_name_byte(byte) || byte == b'$'))
    {
        return Err(ApiError::Validation(format!(
            "1 validation error detected: Value '{qualifier}' at 'qualifier' failed to satisfy constraint: Member must \
             satisfy regular expression pattern: (|[a-zA-Z0-9$_-]+)"
        )));
    }
    if let (Some(derived), Some(given)) = (derived, qualifier)
        && derived != given
    {
        let message = "The derived qualifier from the function name does not match the specified qualifier.";
        return Err(ApiError::InvalidParameter(message.to_owned()));
    }
    Ok(Named {
        arn: api.invoker.account().function_arn(&region, name),
        name: name.to_owned(),
        qualifier: derived.or(qualifier).map(str::to_owned),
    })
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}
