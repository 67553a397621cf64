//! An object of a bucket (S3), read.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{AwsError, Client, Service, told};

/// For the whole object.
const PATIENCE: Duration = Duration::from_secs(120);
const PART: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

impl Client {
    /// `limit`: more bytes than this are not taken.
    pub async fn get_object(
        &self,
        region: &str,
        bucket: &str,
        key: &str,
        version: Option<&str>,
        limit: usize,
    ) -> Result<Vec<u8>, AwsError> {
        let unreachable = |reason: String| self.unreachable(Service::S3, region, reason);
        let endpoint = self.endpoints().url(Service::S3, region);
        let path: Vec<String> =
            key.split('/').map(|part| utf8_percent_encode(part, PART).to_string()).collect();
        let bucket = utf8_percent_encode(bucket, PART);
        // By path, as local endpoints have no name for each bucket.
        let mut url = format!("{}/{bucket}/{}", endpoint.trim_end_matches('/'), path.join("/"));
        if let Some(version) = version {
            url.push_str(&format!("?versionId={}", utf8_percent_encode(version, PART)));
        }
        let mut request = self.http(&url).map_err(unreachable)?.get(&url).timeout(PATIENCE);
        for (name, value) in self.sign_get(region, &url).map_err(unreachable)? {
            request = request.header(name, value);
        }
        let mut response = request.send().await.map_err(|error| unreachable(told(&error)))?;
        let status = response.status().as_u16();
        let limit = if status < 300 { limit } else { 64 * 1024 };
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| unreachable(told(&error)))? {
            if bytes.len() + chunk.len() > limit {
                return Err(unreachable(format!("{key} is larger than {limit} bytes")));
            }
            bytes.extend_from_slice(&chunk);
        }
        if status < 300 {
            return Ok(bytes);
        }
        let (code, message) = super::refusal::refusal(&String::from_utf8_lossy(&bytes));
        let operation = "GetObject".to_owned();
        Err(AwsError::Refused { service: Service::S3.name(), endpoint, operation, status, code, message })
    }

    fn sign_get(&self, region: &str, url: &str) -> Result<Vec<(String, String)>, String> {
        let endpoints = self.endpoints();
        let token = endpoints.session_token.clone();
        let credentials =
            Credentials::new(&endpoints.access_key_id, &endpoints.secret_access_key, token, None, "handlerd");
        // S3 takes paths as they are.
        let mut settings = SigningSettings::default();
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        let identity = credentials.into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(region)
            .name(Service::S3.signing_name())
            .time(SystemTime::now())
            .settings(settings)
            .build()
            .map_err(|error| error.to_string())?
            .into();
        let request = SignableRequest::new("GET", url, std::iter::empty(), SignableBody::Bytes(&[]))
            .map_err(|error| error.to_string())?;
        let (instructions, _) = sign(request, &parameters).map_err(|error| error.to_string())?.into_parts();
        let (headers, _) = instructions.into_parts();
        Ok(headers.iter().map(|header| (header.name().to_owned(), header.value().to_owned())).collect())
    }
}
