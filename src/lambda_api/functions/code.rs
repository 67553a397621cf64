//! What was sent as code, or is fetched from a bucket: a zip file, or (as in a CloudFormation
//! template) the text of one module.
//!
//! The API of AWS knows zip files only. Bytes that are none, but text that names the handler's
//! function, are taken for its source; it becomes the module that `Handler` names.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::super::LambdaApi;
use super::super::error::ApiError;
use super::uploads::Upload;
use crate::aws::AwsError;
use crate::deployment::Code;

const ZIPPED: usize = 52_428_800;
/// What a bucket may hold: Lambda's limit for code that is unpacked.
const FETCHED: usize = 262_144_000;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Source {
    pub zip_file: Option<String>,
    pub s3_bucket: Option<String>,
    pub s3_key: Option<String>,
    pub s3_object_version: Option<String>,
    pub image_uri: Option<String>,
    pub source_k_m_s_key_arn: Option<String>,
}

/// Code, with what will be told of it.
pub struct Sent {
    pub code: Code,
    pub upload: Upload,
    /// Kept for downloads.
    pub zip: Option<Vec<u8>>,
}

impl Source {
    /// `handler`: as the function will have it.
    pub async fn code(
        self,
        api: &LambdaApi,
        region: &str,
        handler: &str,
        architectures: Option<Vec<String>>,
    ) -> Result<Sent, ApiError> {
        let refuse = |text: &str| Err(ApiError::InvalidParameter(text.to_owned()));
        if self.image_uri.is_some() {
            return refuse("ImageUri is not supported by handlerd: only zip files can be run. Send ZipFile.");
        }
        if self.source_k_m_s_key_arn.is_some_and(|arn| !arn.is_empty()) {
            return refuse(
                "SourceKMSKeyArn is not supported by handlerd: code is kept unencrypted. Leave it out.",
            );
        }
        let bytes = match (self.zip_file, self.s3_bucket, self.s3_key) {
            (Some(encoded), None, None) => decode(encoded).await?,
            (None, Some(bucket), Some(key)) => {
                fetch(api, region, &bucket, &key, self.s3_object_version.as_deref()).await?
            }
            (Some(_), ..) => {
                return refuse(
                    "Please do not provide other FunctionCode parameters when providing a ZipFile.",
                );
            }
            _ => return refuse("Please provide a source for function code."),
        };
        let handler = handler.to_owned();
        let made = tokio::task::spawn_blocking(move || sent(bytes, &handler, architectures)).await;
        made.map_err(|error| ApiError::Store(format!("a bug in handlerd: {error}")))?
    }
}

fn sent(bytes: Vec<u8>, handler: &str, architectures: Option<Vec<String>>) -> Result<Sent, ApiError> {
    if bytes.is_empty() {
        return Err(ApiError::InvalidParameter("Uploaded file must be a non-empty zip".to_owned()));
    }
    let upload = Upload {
        sha256: BASE64.encode(Sha256::digest(&bytes)),
        size: bytes.len() as u64,
        architecture: architectures.and_then(|names| names.into_iter().next()),
    };
    match inline(&bytes, handler) {
        Some(code) => Ok(Sent { code, upload, zip: None }),
        None => Ok(Sent { code: Code::Zip(bytes.clone()), upload, zip: Some(bytes) }),
    }
}

/// Source text, if it is that and no zip file.
fn inline(bytes: &[u8], handler: &str) -> Option<Code> {
    let (module, function) = handler.rsplit_once('.')?;
    let is_name =
        |name: &str| !name.is_empty() && name.chars().all(|letter| letter.is_alphanumeric() || letter == '_');
    if bytes.starts_with(b"PK") || !is_name(module) || !is_name(function) {
        return None;
    }
    let text = std::str::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))?;
    let mut words = text.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
    words
        .any(|word| word == function)
        .then(|| Code::Inline { file: format!("{module}.py"), text: text.to_owned() })
}

/// Off the thread that serves requests: it may be large.
async fn decode(encoded: String) -> Result<Vec<u8>, ApiError> {
    let decode = move || BASE64.decode(encoded.as_bytes());
    let decoded = match tokio::task::spawn_blocking(decode).await {
        Ok(Ok(decoded)) => decoded,
        _ => {
            return Err(ApiError::Exception {
                status: http::StatusCode::BAD_REQUEST,
                code: "SerializationException",
                message: "ZipFile must be base64".to_owned(),
            });
        }
    };
    if decoded.len() > ZIPPED {
        return Err(ApiError::Exceeded {
            code: "RequestEntityTooLargeException",
            message: format!("Zipped size must be smaller than {ZIPPED} bytes"),
        });
    }
    Ok(decoded)
}

/// An object of a bucket.
pub async fn fetch(
    api: &LambdaApi,
    region: &str,
    bucket: &str,
    key: &str,
    version: Option<&str>,
) -> Result<Vec<u8>, ApiError> {
    let told = |code: &str, message: &str| {
        ApiError::InvalidParameter(format!(
            "Error occurred while GetObject. S3 Error Code: {code}. S3 Error Message: {message}"
        ))
    };
    if api.aws.endpoints().known(crate::aws::Service::S3).is_none() {
        // There are no buckets here, and AWS's own are not asked behind one's back.
        return Err(told(
            "NoSuchBucket",
            "The specified bucket does not exist (handlerd: set AWS_ENDPOINT_URL_S3)",
        ));
    }
    match api.aws.get_object(region, bucket, key, version, FETCHED).await {
        Ok(bytes) => Ok(bytes),
        Err(AwsError::Refused { code, message, .. }) => Err(told(&code, &message)),
        Err(error) => Err(ApiError::InvalidParameter(format!("Error occurred while GetObject. {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn source_text_names_the_handler() {
        let source = b"def main(event, context):\n    return 1\n";
        let Some(Code::Inline { file, .. }) = inline(source, "index.main") else { panic!() };
        assert_eq!(file, "index.py");
        for (bytes, handler) in [
            (&b"not a zip"[..], "index.main"),
            (source, "index.other"),
            (source, "../index.main"),
            (source, "a/b.main"),
            (source, "main"),
            (b"PK main", "index.main"),
            (b"\xff main", "index.main"),
        ] {
            assert!(inline(bytes, handler).is_none(), "{handler}");
        }
    }
}
