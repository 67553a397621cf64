//! A request that was signed well, and every way in which somebody may have meddled with it since.

use axum::body::Body;
use axum::extract::Request;
use http::HeaderValue;
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::Access;
use crate::aws::credentials::Credential;
use crate::aws::signature::{Claim, Signed, basic, signature};

const TARGET: &str = "/2015-03-31/functions/hello/invocations?Qualifier=live&n=1";
const HEADERS: &str = "content-type;host;x-amz-date;x-amz-invocation-type";
const BODY: &str = r#"{"order": 1}"#;

/// What goes over the wire.
#[derive(Clone)]
struct Wire {
    method: &'static str,
    target: String,
    headers: Vec<(&'static str, String)>,
    body: String,
}

fn credential(user: &str, access_key: &str) -> Credential {
    Credential {
        user: user.to_owned(),
        access_key: access_key.to_owned(),
        secret: format!("secret of {user}"),
        scopes: vec!["invoke".to_owned()],
        ..Credential::default()
    }
}

impl Wire {
    /// Signed by kim at this time.
    fn signed(time: Timestamp) -> Self {
        let time = basic(time);
        let scope = format!("{}/eu-west-1/lambda/aws4_request", &time[..8]);
        let unsigned = format!(
            "AWS4-HMAC-SHA256 Credential=AKIAKIM/{scope}, SignedHeaders={HEADERS}, Signature=SIGNATURE"
        );
        let headers = vec![
            ("host", "localhost:3001".to_owned()),
            ("content-type", "application/json".to_owned()),
            ("x-amz-date", time),
            ("x-amz-invocation-type", "RequestResponse".to_owned()),
            ("authorization", unsigned),
        ];
        let mut wire = Self { method: "POST", target: TARGET.to_owned(), headers, body: BODY.to_owned() };
        let request = wire.request();
        let (path, query) = TARGET.split_once('?').unwrap();
        let signed = Signed {
            method: request.method(),
            headers: request.headers(),
            path,
            query,
            host: "localhost:3001",
        };
        let claim = Claim::read(&signed).unwrap().unwrap();
        let hash = Sha256::digest(BODY);
        let made = signature(&signed, &hash, &claim, &credential("kim", "AKIAKIM"), "lambda").unwrap();
        wire.change("authorization", "SIGNATURE", &made);
        wire
    }

    fn request(&self) -> Request {
        let mut request = Request::builder().method(self.method).uri(&*self.target);
        for (name, value) in &self.headers {
            request = request.header(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        request.body(Body::from(self.body.clone())).unwrap()
    }

    fn change(&mut self, header: &str, from: &str, to: &str) {
        let (_, value) = self.headers.iter_mut().find(|(name, _)| *name == header).unwrap();
        assert!(value.contains(from), "{header} has no {from}: {value}");
        *value = value.replacen(from, to, 1);
    }

    fn set(&mut self, header: &'static str, value: &str) {
        self.headers.retain(|(name, _)| *name != header);
        self.headers.push((header, value.to_owned()));
    }

    fn without(&mut self, header: &str) {
        self.headers.retain(|(name, _)| *name != header);
    }

    fn signature(&self) -> String {
        let (_, value) = self.headers.iter().find(|(name, _)| *name == "authorization").unwrap();
        value.rsplit_once("Signature=").unwrap().1.to_owned()
    }
}

type Meddling = (&'static str, fn(&mut Wire));

const TAMPERED: [Meddling; 40] = [
    ("another method", |wire| wire.method = "PUT"),
    ("another function", |wire| wire.target = wire.target.replace("hello", "hallo")),
    ("a path in capitals", |wire| wire.target = wire.target.replace("hello", "HELLO")),
    ("a slash more", |wire| wire.target = wire.target.replace("/hello", "//hello")),
    ("a dot more", |wire| wire.target = wire.target.replace("/hello", "/./hello")),
    ("a way back", |wire| wire.target = wire.target.replace("/hello", "/hallo/../hello")),
    ("a slash at the end", |wire| wire.target = wire.target.replace('?', "/?")),
    ("a path that is encoded once more", |wire| wire.target = wire.target.replace("hello", "%68ello")),
    ("a parameter more", |wire| wire.target.push_str("&m=2")),
    ("a parameter without a value more", |wire| wire.target.push_str("&m")),
    ("another value", |wire| wire.target = wire.target.replace("n=1", "n=2")),
    ("a parameter twice", |wire| wire.target = wire.target.replace("n=1", "n=1&n=1")),
    ("a parameter less", |wire| wire.target = wire.target.replace("&n=1", "")),
    ("no query", |wire| wire.target = wire.target.split('?').next().unwrap().to_owned()),
    ("another body", |wire| wire.body = wire.body.replace('1', "2")),
    ("no body", |wire| wire.body.clear()),
    ("a longer body", |wire| wire.body.push(' ')),
    ("a body said to be unsigned", |wire| {
        wire.set("x-amz-content-sha256", "UNSIGNED-PAYLOAD");
        wire.body.push(' ');
    }),
    ("another body, with the hash of the first", |wire| {
        let hash = crate::hexadecimal::hex(&Sha256::digest(BODY));
        wire.set("x-amz-content-sha256", &hash);
        wire.body = wire.body.replace('1', "2");
    }),
    ("a body in chunks that are not signed", |wire| {
        wire.set("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER");
        wire.body.push(' ');
    }),
    ("another host", |wire| wire.set("host", "127.0.0.1:3001")),
    ("another port", |wire| wire.set("host", "localhost:3002")),
    ("a second later", |wire| {
        let (_, date) = wire.headers.iter_mut().find(|(name, _)| *name == "x-amz-date").unwrap();
        let time = crate::aws::signature::basic_time(date).unwrap();
        *date = basic(time + jiff::SignedDuration::from_secs(1));
    }),
    ("no time", |wire| wire.without("x-amz-date")),
    ("another value of a signed header", |wire| wire.set("x-amz-invocation-type", "Event")),
    ("a signed header less", |wire| wire.without("x-amz-invocation-type")),
    ("a signed header twice", |wire| wire.headers.push(("x-amz-invocation-type", "Event".to_owned()))),
    ("a header that is signed no more", |wire| {
        wire.change("authorization", ";x-amz-invocation-type", "");
    }),
    ("a header said to be signed", |wire| {
        wire.set("x-amz-log-type", "Tail");
        wire.change("authorization", "x-amz-invocation-type,", "x-amz-invocation-type;x-amz-log-type,");
    }),
    ("a host that is not signed", |wire| wire.change("authorization", "host;", "")),
    ("another signature", |wire| {
        let made = wire.signature();
        let last = if made.ends_with('0') { "1" } else { "0" };
        let other = format!("{}{last}", &made[..made.len() - 1]);
        wire.change("authorization", &made, &other);
    }),
    ("a signature in capitals", |wire| {
        let made = wire.signature();
        // Of 64 hexadecimal digits some are letters.
        wire.change("authorization", &made, &made.to_uppercase());
    }),
    ("half a signature", |wire| {
        let made = wire.signature();
        wire.change("authorization", &made, &made[..32]);
    }),
    ("no signature", |wire| {
        let made = wire.signature();
        wire.change("authorization", &made, "");
    }),
    ("somebody else's name", |wire| wire.change("authorization", "AKIAKIM", "AKIALEE")),
    ("another region", |wire| wire.change("authorization", "eu-west-1", "us-east-1")),
    ("another service", |wire| wire.change("authorization", "/lambda/", "/events/")),
    ("another end of the scope", |wire| wire.change("authorization", "aws4_request", "aws5_request")),
    ("another algorithm", |wire| wire.change("authorization", "AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1")),
    ("a session that is not there", |wire| wire.set("x-amz-security-token", "token")),
];

fn access() -> Access {
    let own = vec![credential("kim", "AKIAKIM"), credential("lee", "AKIALEE")];
    let folder = tempfile::tempdir().unwrap();
    Access::new(folder.path().join("none"), own)
}

async fn told(wire: &Wire) -> Result<String, (u16, String)> {
    match access().admit(wire.request(), "lambda").await {
        Ok((caller, _)) => Ok(caller.name),
        Err(refused) => {
            let kind = refused.headers()["x-amzn-errortype"].to_str().unwrap().to_owned();
            Err((refused.status().as_u16(), kind))
        }
    }
}

#[tokio::test]
async fn whatever_was_changed_is_refused() {
    let wire = Wire::signed(Timestamp::now());
    assert_eq!(told(&wire).await, Ok("kim".to_owned()));
    let mut believed = Vec::new();
    for (what, meddle) in TAMPERED {
        let mut changed = wire.clone();
        meddle(&mut changed);
        let Err((status, kind)) = told(&changed).await else {
            believed.push(what);
            continue;
        };
        let known = match kind.as_str() {
            "InvalidSignatureException" => status == 403,
            "UnrecognizedClientException" => status == 401,
            _ => false,
        };
        assert!(known, "{what}: {status} {kind}");
    }
    assert!(believed.is_empty(), "{believed:?}");
}

/// What a proxy may do on the way changes nothing.
#[tokio::test]
async fn what_means_the_same_is_still_signed() {
    let wire = Wire::signed(Timestamp::now());
    let same: [Meddling; 5] = [
        ("parameters in another order", |wire| {
            wire.target = wire.target.replace("Qualifier=live&n=1", "n=1&Qualifier=live");
        }),
        ("headers in another order", |wire| wire.headers.reverse()),
        ("a header of the proxy's own", |wire| wire.set("x-forwarded-for", "192.0.2.1")),
        ("spaces about a value", |wire| wire.set("content-type", "  application/json ")),
        ("the parts of the header without spaces", |wire| {
            wire.change("authorization", ", SignedHeaders", ",SignedHeaders");
        }),
    ];
    for (what, change) in same {
        let mut changed = wire.clone();
        change(&mut changed);
        assert_eq!(told(&changed).await, Ok("kim".to_owned()), "{what}");
    }
}

#[tokio::test]
async fn what_was_recorded_cannot_be_sent_again_later() {
    for (minutes, outcome) in [(-4, true), (4, true), (-6, false), (6, false), (-24 * 60, false)] {
        let wire = Wire::signed(Timestamp::now() + jiff::SignedDuration::from_mins(minutes));
        assert_eq!(told(&wire).await.is_ok(), outcome, "{minutes}");
    }
}
