//! AWS_IAM: whether a request carries a signature (SigV4) of somebody who is known.
//!
//! Whoever has a known key may do everything: IAM policies are not here.

use sha2::{Digest, Sha256};

use super::super::Site;
use super::super::error::GatewayError;
use super::super::request::{IamUser, Matched, Request};
use super::identity;
use crate::api::Kind;
use crate::aws::credentials::Credentials;
use crate::aws::signature::{Claim, INVALID_TOKEN, MISMATCH, Signed};

pub fn verify(
    request: &Request,
    matched: &Matched,
    credentials: &Credentials,
    site: &Site,
) -> Result<IamUser, GatewayError> {
    let service = if matched.kind() == Kind::FunctionUrl { "lambda" } else { "execute-api" };
    let invalid = |message: String| GatewayError::InvalidSignature { message };
    let host = request.host();
    let signed = signed(request, &host);
    let claim = match Claim::read(&signed) {
        None => return Err(GatewayError::MissingAuthenticationToken),
        Some(claim) => claim.map_err(invalid)?,
    };
    claim.check(service, request.received).map_err(invalid)?;
    let credential = credentials.find(claim.access_key(), request.received).map_err(|unknown| {
        tracing::warn!("{} is refused: {}", matched.route().key(), unknown.0);
        invalid(INVALID_TOKEN.to_owned())
    })?;
    if !claim.has_token_of(&credential) {
        return Err(invalid(INVALID_TOKEN.to_owned()));
    }
    if !claim.is_signed_by(&credential, &signed, &Sha256::digest(&request.body), service) {
        if identity::header(request, "x-amz-content-sha256").as_deref() == Some("UNSIGNED-PAYLOAD") {
            tracing::warn!(
                "{} is refused: neither API Gateway nor Lambda takes an unsigned payload; sign the body's SHA-256",
                matched.route().key()
            );
        }
        return Err(invalid(MISMATCH.to_owned()));
    }
    Ok(user(&credential.user, &credential.access_key, site))
}

fn signed<'a>(request: &'a Request, host: &'a str) -> Signed<'a> {
    Signed {
        method: &request.head.method,
        headers: &request.head.headers,
        path: request.path(),
        query: request.query(),
        host,
    }
}

/// The user of this name, as IAM would call it.
pub fn user(name: &str, access_key: &str, site: &Site) -> IamUser {
    let account = &site.account;
    IamUser {
        access_key: access_key.to_owned(),
        account_id: account.clone(),
        user_id: id("AIDA", name),
        user_arn: format!("arn:aws:iam::{account}:user/{name}"),
    }
}

/// Prefix and 17 of `[A-Z2-7]`, always the same for the same name.
pub fn id(prefix: &str, name: &str) -> String {
    let hash = Sha256::digest(name.as_bytes());
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let rest = hash.iter().take(17).map(|byte| char::from(letters[usize::from(byte % 32)]));
    prefix.chars().chain(rest).collect()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use aws_credential_types::Credentials as SigningCredentials;
    use aws_sigv4::http_request::{SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign};
    use aws_sigv4::sign::v4;
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::super::fixture;
    use super::*;
    use crate::aws::credentials::Credential;
    use crate::aws::signature::{basic, basic_time, claim_of_header};

    fn claim(request: &Request) -> Option<Result<Claim, String>> {
        Claim::read(&signed(request, &request.host()))
    }

    fn signature(request: &Request, claim: &Claim, credential: &Credential, service: &str) -> Option<String> {
        let (host, body) = (request.host(), Sha256::digest(&request.body));
        crate::aws::signature::signature(&signed(request, &host), &body, claim, credential, service)
    }

    const NOW: &str = "20251124T231200Z";

    fn credential(session_token: Option<&str>) -> Credential {
        Credential {
            user: "dev".into(),
            access_key: "AKIAEXAMPLEKEY".into(),
            secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".into(),
            session_token: session_token.map(str::to_owned),
            ..Credential::default()
        }
    }

    /// What a client does.
    struct Client {
        service: &'static str,
        session_token: Option<&'static str>,
        presigned: Option<u64>,
        time: &'static str,
    }

    const CLIENT: Client = Client { service: "execute-api", session_token: None, presigned: None, time: NOW };

    impl Client {
        fn sign(&self, line: &str, headers: &[(&str, &str)], body: &'static [u8]) -> Request {
            let mut request = fixture::request(line, &[&[("host", "localhost:3000")], headers].concat());
            request.body = body.into();
            let credential = credential(self.session_token);
            let identity = SigningCredentials::new(
                &credential.access_key,
                &credential.secret,
                credential.session_token.clone(),
                None,
                "test",
            )
            .into();
            let mut settings = SigningSettings::default();
            if let Some(seconds) = self.presigned {
                settings.signature_location = SignatureLocation::QueryParams;
                settings.expires_in = Some(Duration::from_secs(seconds));
            }
            let time = Duration::from_secs(basic_time(self.time).unwrap().as_second() as u64);
            let parameters = v4::SigningParams::builder()
                .identity(&identity)
                .region("eu-west-1")
                .name(self.service)
                .time(SystemTime::UNIX_EPOCH + time)
                .settings(settings)
                .build()
                .unwrap()
                .into();
            let uri = format!("http://localhost:3000{}", request.head.uri);
            let signed: Vec<(String, String)> = request
                .head
                .headers
                .iter()
                .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
                .collect();
            let headers = signed.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            let method = request.head.method.to_string();
            let signable = SignableRequest::new(&method, uri, headers, SignableBody::Bytes(body)).unwrap();
            let (instructions, _) = sign(signable, &parameters).unwrap().into_parts();
            for (name, value) in instructions.headers() {
                let name: http::HeaderName = name.parse().unwrap();
                request.head.headers.insert(name, HeaderValue::from_str(value).unwrap());
            }
            let encode = |text: &str| {
                percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
            };
            let mut query = request.query().to_owned();
            for (name, value) in instructions.params() {
                query = format!("{query}&{name}={}", encode(value));
            }
            if self.presigned.is_some() {
                request.head.uri = format!("{}?{query}", request.path()).parse().unwrap();
            }
            request.received = basic_time(NOW).unwrap();
            request
        }
    }

    fn verified(request: &Request, kind: Kind, session_token: Option<&str>) -> Result<IamUser, String> {
        let matched = fixture::matched(fixture::api(kind, "prod", &["GET /items"]), "/items");
        let credentials = Credentials::with(None, Some(credential(session_token)));
        verify(request, &matched, &credentials, &fixture::site()).map_err(|error| match error {
            GatewayError::MissingAuthenticationToken => "missing".to_owned(),
            GatewayError::InvalidSignature { message } => message,
            error => format!("{error:?}"),
        })
    }

    #[test]
    fn a_signed_request_passes_in_every_form() {
        let expected = IamUser {
            access_key: "AKIAEXAMPLEKEY".into(),
            account_id: "123456789012".into(),
            user_id: id("AIDA", "dev"),
            user_arn: "arn:aws:iam::123456789012:user/dev".into(),
        };
        assert_eq!(expected.user_id.len(), 21);
        for line in [
            "GET /prod/items",
            "GET /prod/items?b=2&a=1&a=0",
            "POST /prod/it%20ems/%C3%A9/a+b?q=x%20y&e=%2F%3D&empty",
            "PUT /prod//double/./dot/../end/",
            "GET /",
        ] {
            let headers = [("content-type", "application/json"), ("x-two", "a   b"), ("x-two", "c")];
            for (session_token, presigned, body) in [
                (None, None, &b""[..]),
                (None, None, b"{\"a\": 1}"),
                (Some("token/+="), None, b"body"),
                (None, Some(900), b""),
                (Some("token/+="), Some(60), b""),
            ] {
                let client = Client { session_token, presigned, ..CLIENT };
                let request = client.sign(line, &headers, body);
                assert_eq!(verified(&request, Kind::Rest, session_token), Ok(expected.clone()), "{line}");
            }
        }
        let url = Client { service: "lambda", ..CLIENT }.sign("GET /", &[], b"");
        assert!(verified(&url, Kind::FunctionUrl, None).is_ok());
    }

    #[test]
    fn whatever_is_changed_on_the_way_is_noticed() {
        type Change = fn(&mut Request);
        let changes: [Change; 10] = [
            |request| request.head.method = http::Method::DELETE,
            |request| request.head.uri = "/prod/items/8?a=1".parse().unwrap(),
            |request| request.head.uri = "/prod/items/7?a=2".parse().unwrap(),
            |request| request.head.uri = "/prod/items/7".parse().unwrap(),
            |request| request.head.uri = "/prod/items/7?a=1&b=2".parse().unwrap(),
            |request| request.body = b"other".as_slice().into(),
            |request| drop(request.head.headers.insert("host", HeaderValue::from_static("evil"))),
            |request| drop(request.head.headers.insert("x-role", HeaderValue::from_static("admin"))),
            |request| assert!(request.head.headers.append("x-role", HeaderValue::from_static("admin"))),
            |request| drop(request.head.headers.remove("x-role")),
        ];
        let original = || CLIENT.sign("POST /prod/items/7?a=1", &[("x-role", "user")], b"body");
        assert!(verified(&original(), Kind::Rest, None).is_ok());
        for (index, change) in changes.iter().enumerate() {
            let mut request = original();
            change(&mut request);
            assert_eq!(verified(&request, Kind::Rest, None).unwrap_err(), MISMATCH, "change {index}");
        }
        // What was not signed may change.
        let mut request = original();
        request.head.headers.insert("user-agent", HeaderValue::from_static("proxy"));
        assert!(verified(&request, Kind::Rest, None).is_ok());
    }

    fn with_authorization(change: impl Fn(String) -> String) -> Request {
        let mut request = CLIENT.sign("GET /prod/items", &[], b"");
        let value = change(identity::header(&request, "authorization").unwrap());
        request.head.headers.insert("authorization", HeaderValue::from_str(&value).unwrap());
        request
    }

    #[test]
    fn what_the_client_is_told() {
        let plain = fixture::request("GET /prod/items", &[]);
        assert_eq!(verified(&plain, Kind::Rest, None).unwrap_err(), "missing");
        let replaced = |from: &'static str, to: &'static str| {
            let request = with_authorization(|value| {
                assert!(value.contains(from), "{value}");
                value.replace(from, to)
            });
            verified(&request, Kind::Rest, None).unwrap_err()
        };
        assert!(
            replaced("AWS4-HMAC-SHA256 ", "Bearer ")
                .starts_with("Invalid key=value pair (missing equal-sign)")
        );
        assert!(replaced("Signature=", "").starts_with("Invalid key=value pair (missing equal-sign)"));
        assert!(
            replaced("Signature=", "X=")
                .starts_with("Authorization header requires 'Signature' parameter. (Hashed with SHA-256")
        );
        assert_eq!(replaced("AKIAEXAMPLEKEY", "AKIANOBODY"), INVALID_TOKEN);
        assert_eq!(
            replaced("/execute-api/", "/s3/"),
            "Credential should be scoped to correct service: 'execute-api'."
        );
        assert_eq!(
            replaced("aws4_request", "aws5_request"),
            "Credential should be scoped with a valid terminator: 'aws4_request', not 'aws5_request'."
        );
        assert_eq!(
            replaced("/20251124/", "/20251123/"),
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: \
             '20251123' != '20251124', from '20251124T231200Z'."
        );
        assert!(replaced("/eu-west-1/", "/").starts_with("Credential must have exactly 5 slash-delimited"));
        assert_eq!(replaced("/eu-west-1/", "/us-east-1/"), MISMATCH);
        assert!(
            replaced("SignedHeaders=host;", "SignedHeaders=").starts_with("'Host' or ':authority' must be")
        );
        assert_eq!(replaced("host;", "accept;host;"), MISMATCH, "a header that is not there");
        assert_eq!(replaced("Signature=", "Signature=0"), MISMATCH);
        let as_url = CLIENT.sign("GET /", &[], b"");
        let told = verified(&as_url, Kind::FunctionUrl, None).unwrap_err();
        assert_eq!(told, "Credential should be scoped to correct service: 'lambda'.");

        let mut dateless = CLIENT.sign("GET /", &[], b"");
        dateless.head.headers.remove("x-amz-date");
        assert!(
            verified(&dateless, Kind::Rest, None).unwrap_err().contains("either a 'X-Amz-Date' or a 'Date'")
        );
        dateless.head.headers.insert("x-amz-date", HeaderValue::from_static("yesterday"));
        assert!(verified(&dateless, Kind::Rest, None).unwrap_err().starts_with("Date must be in ISO-8601"));
    }

    #[test]
    fn a_session_needs_its_token() {
        let signed = Client { session_token: Some("one"), ..CLIENT }.sign("GET /", &[], b"");
        assert!(verified(&signed, Kind::Rest, Some("one")).is_ok());
        assert_eq!(verified(&signed, Kind::Rest, Some("two")).unwrap_err(), INVALID_TOKEN);
        assert_eq!(verified(&signed, Kind::Rest, None).unwrap_err(), INVALID_TOKEN);
        assert_eq!(
            verified(&CLIENT.sign("GET /", &[], b""), Kind::Rest, Some("one")).unwrap_err(),
            INVALID_TOKEN
        );
    }

    #[test]
    fn signatures_have_their_time() {
        let at = |time, presigned| {
            let request = Client { time, presigned, ..CLIENT }.sign("GET /", &[], b"");
            verified(&request, Kind::Rest, None).map(drop)
        };
        assert_eq!(at("20251124T230700Z", None), Ok(()));
        assert_eq!(at("20251124T231700Z", None), Ok(()));
        assert_eq!(
            at("20251124T230659Z", None).unwrap_err(),
            "Signature expired: 20251124T230659Z is now earlier than 20251124T230700Z (20251124T231200Z - 5 min.)"
        );
        assert_eq!(
            at("20251124T231701Z", None).unwrap_err(),
            "Signature not yet current: 20251124T231701Z is still later than 20251124T231700Z \
             (20251124T231200Z + 5 min.)"
        );
        assert_eq!(at("20251124T225700Z", Some(900)), Ok(()));
        assert!(at("20251124T225659Z", Some(900)).unwrap_err().starts_with("Signature expired"));
        assert!(at("20251124T231130Z", Some(20)).unwrap_err().starts_with("Signature expired"));
        assert_eq!(at("20251118T231200Z", Some(604_800)), Ok(()));
        assert!(at("20251124T231200Z", Some(604_801)).unwrap_err().starts_with("X-Amz-Expires must be"));
    }

    #[test]
    fn a_signed_query_is_whole() {
        let client = Client { presigned: Some(60), ..CLIENT };
        let request = client.sign("GET /prod/items?a=1", &[], b"");
        let target = request.head.uri.to_string();
        let told = |target: String| {
            let mut request = client.sign("GET /prod/items?a=1", &[], b"");
            request.head.uri = target.parse().unwrap();
            verified(&request, Kind::Rest, None).map(drop)
        };
        assert_eq!(told(target.clone()), Ok(()));
        assert_eq!(told(format!("{target}&b=2")).unwrap_err(), MISMATCH);
        assert_eq!(told(format!("{target}&X-Amz-Expires=9000")).unwrap_err(), MISMATCH);
        assert_eq!(told(target.replace("X-Amz-Expires=60", "X-Amz-Expires=61")).unwrap_err(), MISMATCH);
        assert_eq!(
            told(target.replace("X-Amz-Signature", "X-Amz-Nothing")).unwrap_err(),
            "AWS query-string parameters must include 'X-Amz-Signature'. Re-examine the query-string parameters."
        );
    }

    /// From AWS's published examples of the algorithm: request, scope and what comes out.
    #[test]
    fn the_published_example_comes_out() {
        let signature = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
             SignedHeaders=host;x-amz-date, Signature={signature}"
        );
        let headers = [
            ("host", "example.amazonaws.com"),
            ("x-amz-date", "20150830T123600Z"),
            ("authorization", &authorization),
        ];
        let request = fixture::request("GET /", &headers);
        let claim = claim(&request).unwrap().unwrap();
        let credential = Credential {
            user: "x".into(),
            access_key: "AKIDEXAMPLE".into(),
            secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".into(),
            ..Credential::default()
        };
        assert_eq!(super::tests::signature(&request, &claim, &credential, "service").unwrap(), signature);
    }

    #[test]
    fn the_date_header_will_do() {
        let mut request =
            fixture::request("GET /", &[("host", "localhost"), ("date", "Mon, 24 Nov 2025 23:12:00 GMT")]);
        request.received = basic_time(NOW).unwrap();
        let scope = "Credential=AKIAEXAMPLEKEY/20251124/eu-west-1/execute-api/aws4_request";
        let header = format!("AWS4-HMAC-SHA256 {scope}, SignedHeaders=date;host, Signature=");
        let claim = claim_of_header(&signed(&request, "localhost"), &header).unwrap();
        let signature = signature(&request, &claim, &credential(None), "execute-api").unwrap();
        let value = HeaderValue::from_str(&format!("{header}{signature}")).unwrap();
        request.head.headers.insert("authorization", value);
        assert!(verified(&request, Kind::Rest, None).is_ok());
        request.head.headers.insert("date", HeaderValue::from_static("Mon, 24 Nov 2025 23:12:01 GMT"));
        assert_eq!(verified(&request, Kind::Rest, None).unwrap_err(), MISMATCH);
    }

    #[test]
    fn times_are_read_strictly() {
        for text in [
            "",
            "20251124",
            "20251124T231200",
            "20251124t231200z",
            "2025+124T231200Z",
            "20251324T231200Z",
            "20251124T246000Z",
            "\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}",
        ] {
            assert_eq!(basic_time(text), None, "{text}");
        }
        assert_eq!(basic(basic_time(NOW).unwrap()), NOW);
    }

    proptest! {
        #[test]
        fn no_authorization_is_too_strange(value in "(AWS4-HMAC-SHA256 )?[ -~]{0,120}", date in "[0-9TZ]{0,17}") {
            let headers = [("host", "localhost"), ("x-amz-date", &*date), ("authorization", &*value)];
            prop_assert!(verified(&fixture::request("GET /", &headers), Kind::Rest, None).is_err());
        }

        #[test]
        fn no_claim_is_too_strange(
            headers in "[a-z;:\\-]{0,20}",
            region in "[!-.0-~]{0,10}",
            path in "/[a-zA-Z0-9%./+~*]{0,30}",
            query in "[a-z=&%+]{0,20}",
        ) {
            let authorization = format!(
                "AWS4-HMAC-SHA256 Credential=AKIAEXAMPLEKEY/20251124/{region}/execute-api/aws4_request, \
                 SignedHeaders=host;{headers}, Signature=00"
            );
            let given = [("host", "h"), ("x-amz-date", NOW), ("authorization", &*authorization)];
            let mut request = fixture::request(&format!("GET {path}?{query}"), &given);
            request.received = basic_time(NOW).unwrap();
            prop_assert!(verified(&request, Kind::Rest, None).is_err());
        }

        #[test]
        fn no_query_is_too_strange(
            expires in "[0-9\\-]{0,20}",
            date in "(20251124T231200Z|[0-9TZ]{16})",
            headers in "(host|[a-z;]{0,10})",
        ) {
            let query = format!(
                "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAEXAMPLEKEY/20251124/r/execute-api/aws4_request\
                 &X-Amz-Date={date}&X-Amz-Expires={expires}&X-Amz-SignedHeaders={headers}&X-Amz-Signature=00"
            );
            let mut request = fixture::request(&format!("GET /?{query}"), &[("host", "h")]);
            request.received = basic_time(NOW).unwrap();
            prop_assert!(verified(&request, Kind::Rest, None).is_err());
        }
    }
}
