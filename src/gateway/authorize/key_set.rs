//! The keys that issuers sign with: looked for where the issuer says, kept, and fetched again.
//!
//! A key set is fetched when it is first needed, by one request for all that wait; then kept for two
//! hours, the second of which it is renewed in the background; and once more when a token names a key
//! that is not in it, though not more often than every few seconds. An issuer that cannot be reached
//! takes nothing away that is known already.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;

use crate::api::{Jwks, JwtIssuer};
use crate::egress;

const FRESH: Duration = Duration::from_secs(60 * 60);
const KEPT: Duration = Duration::from_secs(2 * 60 * 60);
/// Between two attempts.
const PAUSE: Duration = Duration::from_secs(5);
/// For one document.
const FETCH_LIMIT: Duration = Duration::from_secs(5);
const DOCUMENT_LIMIT: usize = 1024 * 1024;
const KEY_LIMIT: usize = 1000;
/// Old deployments leave theirs behind.
const SOURCES: usize = 100;

const DISCOVERY: &str = "OIDC discovery endpoint communication error";
const COMMUNICATION: &str = "JWKS communication error";

/// By `kid`.
pub type Set = HashMap<String, Key>;

#[derive(Clone)]
pub struct Key {
    pub key: DecodingKey,
    /// If the set says what it is for.
    pub algorithm: Option<Algorithm>,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Key({:?})", self.algorithm)
    }
}

/// Why there is no key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyError {
    /// For the client.
    pub description: &'static str,
    /// For the terminal.
    pub reason: String,
}

pub struct KeySets {
    /// `--jwks`: issuer -> URL or path.
    given: Vec<(String, String)>,
    sources: Mutex<HashMap<Source, Arc<Slot>>>,
}

/// Where a key set comes from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Source {
    /// The issuer tells, below `/.well-known/`.
    Issuer(String),
    Url(String),
    File(PathBuf),
}

#[derive(Default)]
struct Slot {
    known: Mutex<Known>,
    /// Held by the one who fetches.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Known {
    set: Option<Arc<Set>>,
    fetched: Option<Instant>,
    /// The last attempt, and what it said.
    tried: Option<Instant>,
    error: Option<KeyError>,
    /// Of a file: when it was last changed, and its size.
    stamp: Option<(SystemTime, u64)>,
}

impl KeySets {
    pub fn new(given: Vec<(String, String)>) -> Self {
        Self { given, sources: Mutex::default() }
    }

    /// The issuer's key of this id.
    pub async fn key(&self, issuer: &JwtIssuer, kid: &str) -> Result<Key, KeyError> {
        let source = self.source(issuer);
        let slot = self.slot(&source);
        let named = |set: &Set| set.get(kid).cloned();
        if let Source::File(path) = &source {
            let set = slot.read(path.clone()).await?;
            return named(&set).ok_or_else(|| unknown(kid, &source, &set));
        }
        let now = Instant::now();
        let (set, age) = slot.current(now);
        if let Some(key) = set.as_deref().and_then(named)
            && age < KEPT
        {
            if age >= FRESH && slot.may_try(now) {
                let (slot, source) = (slot.clone(), source.clone());
                tokio::spawn(async move { drop(slot.renew(&source, now).await) });
            }
            return Ok(key);
        }
        match slot.renew(&source, now).await {
            Ok(set) => named(&set).ok_or_else(|| unknown(kid, &source, &set)),
            // Better an old key than none.
            Err(error) => set.as_deref().and_then(named).ok_or(error),
        }
    }

    fn source(&self, issuer: &JwtIssuer) -> Source {
        let same =
            |given: &&(String, String)| given.0.trim_end_matches('/') == issuer.issuer.trim_end_matches('/');
        if let Some((_, place)) = self.given.iter().find(same) {
            return match is_url(place) {
                true => Source::Url(place.clone()),
                false => Source::File(place.strip_prefix("file://").unwrap_or(place).into()),
            };
        }
        match &issuer.jwks {
            Some(Jwks::Url(url)) => Source::Url(url.clone()),
            Some(Jwks::File(path)) => Source::File(path.clone()),
            None => Source::Issuer(issuer.issuer.clone()),
        }
    }

    fn slot(&self, source: &Source) -> Arc<Slot> {
        let mut sources = self.sources.lock().unwrap();
        if sources.len() >= SOURCES && !sources.contains_key(source) {
            sources.clear();
        }
        sources.entry(source.clone()).or_default().clone()
    }
}

impl Slot {
    fn current(&self, now: Instant) -> (Option<Arc<Set>>, Duration) {
        let known = self.known.lock().unwrap();
        let age = known.fetched.map_or(Duration::MAX, |fetched| now.saturating_duration_since(fetched));
        (known.set.clone(), age)
    }

    fn may_try(&self, now: Instant) -> bool {
        let tried = self.known.lock().unwrap().tried;
        tried.is_none_or(|tried| now.saturating_duration_since(tried) >= PAUSE)
    }

    /// What has been fetched since `asked`, or a moment before; else fetches.
    async fn renew(&self, source: &Source, asked: Instant) -> Result<Arc<Set>, KeyError> {
        let _turn = self.turn.lock().await;
        if !self.may_try(asked) {
            let known = self.known.lock().unwrap();
            return match (&known.error, &known.set) {
                (Some(error), _) => Err(error.clone()),
                (None, Some(set)) => Ok(set.clone()),
                (None, None) => Err(unreachable(source, COMMUNICATION, "it was asked a moment ago")),
            };
        }
        let fetched = fetch(source).await;
        let mut known = self.known.lock().unwrap();
        let now = Instant::now();
        known.tried = Some(now);
        known.error = fetched.as_ref().err().cloned();
        let set = Arc::new(fetched?);
        known.fetched = Some(now);
        known.set = Some(set.clone());
        Ok(set)
    }

    /// A file is read again when it has changed.
    async fn read(self: &Arc<Self>, path: PathBuf) -> Result<Arc<Set>, KeyError> {
        let slot = self.clone();
        let shown = path.display().to_string();
        let read = tokio::task::spawn_blocking(move || slot.read_now(&path)).await;
        let failed = |reason: String| KeyError {
            description: COMMUNICATION,
            reason: format!("the key set {shown} cannot be used: {reason}"),
        };
        match read {
            Ok(Ok(set)) => Ok(set),
            Ok(Err(reason)) => Err(failed(reason)),
            Err(error) => Err(failed(error.to_string())),
        }
    }

    fn read_now(&self, path: &Path) -> Result<Arc<Set>, String> {
        let text = |error: std::io::Error| error.to_string();
        let about = std::fs::metadata(path).map_err(text)?;
        if !about.is_file() || about.len() > DOCUMENT_LIMIT as u64 {
            return Err("it is no file of a size that a key set has".to_owned());
        }
        let stamp = (about.modified().map_err(text)?, about.len());
        let mut known = self.known.lock().unwrap();
        if let (Some(set), true) = (&known.set, known.stamp == Some(stamp)) {
            return Ok(set.clone());
        }
        let set = Arc::new(parse(&std::fs::read(path).map_err(text)?)?);
        known.set = Some(set.clone());
        known.stamp = Some(stamp);
        Ok(set)
    }
}

fn is_url(place: &str) -> bool {
    place.starts_with("http://") || place.starts_with("https://")
}

fn unknown(kid: &str, source: &Source, set: &Set) -> KeyError {
    let known: Vec<&str> = set.keys().take(8).map(String::as_str).collect();
    let from = match source {
        Source::Issuer(issuer) => format!("of {issuer}"),
        Source::Url(url) => format!("at {url}"),
        Source::File(path) => format!("in {}", path.display()),
    };
    let reason = format!("the token names the key {kid:?}; the key set {from} has {known:?}");
    KeyError { description: "the token's kid is unknown", reason }
}

fn unreachable(source: &Source, description: &'static str, what: &str) -> KeyError {
    let reason = match source {
        Source::Issuer(issuer) => format!(
            "the key set of {issuer} cannot be had: {what}\n\
             hint: `--jwks {issuer}=FILE` takes it from a file"
        ),
        Source::Url(url) => format!("the key set at {url} cannot be had: {what}"),
        Source::File(path) => format!("the key set {} cannot be had: {what}", path.display()),
    };
    KeyError { description, reason }
}

async fn fetch(source: &Source) -> Result<Set, KeyError> {
    let url = match source {
        Source::Url(url) => url.clone(),
        Source::Issuer(issuer) => {
            let failed = |what: String| unreachable(source, DISCOVERY, &what);
            if !is_url(issuer) {
                return Err(failed("it is no URL".to_owned()));
            }
            let place = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
            let document = get(&place).await.map_err(failed)?;
            key_set_url(issuer, &document).map_err(failed)?
        }
        Source::File(_) => return Err(unreachable(source, COMMUNICATION, "it is a file")),
    };
    let failed = |what: String| unreachable(source, COMMUNICATION, &what);
    let document = get(&url).await.map_err(failed)?;
    parse(&document).map_err(|what| unreachable(source, COMMUNICATION, &format!("{url}: {what}")))
}

/// `jwks_uri`, which is not less well protected than the issuer.
fn key_set_url(issuer: &str, document: &[u8]) -> Result<String, String> {
    let document: Value = serde_json::from_slice(document)
        .map_err(|error| format!("its openid-configuration is no JSON: {error}"))?;
    match document["jwks_uri"].as_str() {
        Some(url) if url.starts_with("https://") => Ok(url.to_owned()),
        Some(url) if url.starts_with("http://") && issuer.starts_with("http://") => Ok(url.to_owned()),
        Some(url) => Err(format!("its openid-configuration names {url:?}, which is not asked")),
        None => Err("its openid-configuration has no `jwks_uri`".to_owned()),
    }
}

/// One for all, as it keeps connections; made when first needed, as it reads the certificates that
/// this machine trusts.
fn client() -> Result<reqwest::Client, String> {
    static CLIENT: OnceLock<Result<reqwest::Client, String>> = OnceLock::new();
    let redirects = reqwest::redirect::Policy::custom(|attempt| {
        let scheme = attempt.previous().last().map(|url| url.scheme().to_owned());
        if attempt.previous().len() > 3 || scheme.as_deref() != Some(attempt.url().scheme()) {
            return attempt.error("a redirect that is not followed");
        }
        if let Err(forbidden) = egress::check(attempt.url()) {
            return attempt.error(forbidden);
        }
        attempt.follow()
    });
    let make = || {
        egress::guarded(reqwest::Client::builder())
            .connect_timeout(FETCH_LIMIT)
            .timeout(FETCH_LIMIT)
            .redirect(redirects)
            .user_agent(concat!("handlerd/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| told(&error))
    };
    CLIENT.get_or_init(make).clone()
}

async fn get(url: &str) -> Result<Vec<u8>, String> {
    let failed = |error: reqwest::Error| format!("{url}: {}", told(&error));
    egress::check_text(url).map_err(|forbidden| format!("{url}: {forbidden}"))?;
    let mut response = client()?.get(url).send().await.map_err(failed)?;
    if !response.status().is_success() {
        return Err(format!("{url} answers {}", response.status()));
    }
    let mut document = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        document.extend_from_slice(&chunk);
        if document.len() > DOCUMENT_LIMIT {
            return Err(format!("{url} answers with more than 1 MB"));
        }
    }
    Ok(document)
}

/// The innermost of its causes says what happened.
fn told(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// RSA keys for signatures; whatever else is in the set is left out.
pub fn parse(document: &[u8]) -> Result<Set, String> {
    let document: Value =
        serde_json::from_slice(document).map_err(|error| format!("it is no JSON: {error}"))?;
    let Some(Value::Array(keys)) = document.get("keys") else {
        return Err("it has no `keys`".to_owned());
    };
    let mut set = Set::new();
    for key in keys.iter().take(KEY_LIMIT) {
        let text = |name: &str| key.get(name).and_then(Value::as_str);
        if text("kty") != Some("RSA") || text("use").is_some_and(|purpose| purpose != "sig") {
            continue;
        }
        let (Some(kid), Some(n), Some(e)) = (text("kid"), text("n"), text("e")) else { continue };
        let algorithm = match text("alg").map(str::parse) {
            None => None,
            Some(Ok(algorithm)) => Some(algorithm),
            Some(Err(_)) => continue,
        };
        if let Ok(decoded) = DecodingKey::from_rsa_components(n, e) {
            set.insert(kid.to_owned(), Key { key: decoded, algorithm });
        }
    }
    match set.is_empty() {
        true => Err("it has no RSA key with `kid`, `n` and `e`".to_owned()),
        false => Ok(set),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use proptest::prelude::*;
    use serde_json::json;

    use super::super::jwt::tests::KEYS;
    use super::*;

    fn issuer(issuer: &str, jwks: Option<Jwks>) -> JwtIssuer {
        JwtIssuer { issuer: issuer.into(), jwks, audience: Vec::new(), identity: Vec::new() }
    }

    fn set_with(kid: &str) -> Vec<u8> {
        let mut set = KEYS.1.clone();
        set["keys"][0]["kid"] = json!(kid);
        serde_json::to_vec(&set).unwrap()
    }

    #[test]
    fn only_rsa_keys_for_signatures_are_taken() {
        let good = KEYS.1["keys"][0].clone();
        let with = |name: &str, value: Value| {
            let mut key = good.clone();
            key[name] = value;
            key
        };
        let parsed = |key: Value| parse(&serde_json::to_vec(&json!({ "keys": [key] })).unwrap());
        assert_eq!(parsed(good.clone()).unwrap()["k1"].algorithm, None);
        assert_eq!(parsed(with("alg", json!("RS512"))).unwrap()["k1"].algorithm, Some(Algorithm::RS512));
        for (name, value) in [
            ("kty", json!("EC")),
            ("kty", json!("oct")),
            ("use", json!("enc")),
            ("kid", Value::Null),
            ("n", json!("***")),
            ("alg", json!("RSA-OAEP")),
        ] {
            assert!(parsed(with(name, value.clone())).is_err(), "{name} {value}");
        }
        for document in [&b"{}"[..], b"[]", b"", b"{\"keys\": {}}", b"{\"keys\": []}"] {
            assert!(parse(document).is_err());
        }
    }

    #[test]
    fn what_was_given_comes_before_the_template() {
        let given = vec![
            ("https://a.example".to_owned(), "/keys.json".to_owned()),
            ("https://b.example/".to_owned(), "http://localhost:9000/keys".to_owned()),
            ("https://c.example".to_owned(), "file:///keys.json".to_owned()),
        ];
        let sets = KeySets::new(given);
        let url = Some(Jwks::Url("https://elsewhere.example/keys".into()));
        let file = |path: &str| Source::File(path.into());
        for (name, jwks, expected) in [
            ("https://a.example", url.clone(), file("/keys.json")),
            ("https://a.example/", None, file("/keys.json")),
            ("https://b.example", None, Source::Url("http://localhost:9000/keys".into())),
            ("https://c.example", None, file("/keys.json")),
            ("https://d.example", url, Source::Url("https://elsewhere.example/keys".into())),
            ("https://d.example", Some(Jwks::File("k.json".into())), file("k.json")),
            ("https://d.example/", None, Source::Issuer("https://d.example/".into())),
        ] {
            assert_eq!(sets.source(&issuer(name, jwks)), expected, "{name}");
        }
    }

    #[tokio::test]
    async fn a_file_is_read_again_when_it_changes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        let sets = KeySets::new(Vec::new());
        let issuer = issuer("https://a.example", Some(Jwks::File(path.clone())));
        let error = sets.key(&issuer, "k1").await.unwrap_err();
        assert!(error.reason.contains("keys.json cannot be used"), "{}", error.reason);
        std::fs::write(&path, set_with("k1")).unwrap();
        assert!(sets.key(&issuer, "k1").await.is_ok());
        assert!(sets.key(&issuer, "longer").await.unwrap_err().reason.contains("\"k1\""));
        std::fs::write(&path, set_with("longer")).unwrap();
        assert!(sets.key(&issuer, "longer").await.is_ok());
        std::fs::write(&path, "{").unwrap();
        assert!(sets.key(&issuer, "longer").await.is_err(), "a broken file is not passed over in silence");
    }

    #[test]
    fn an_issuer_does_not_lead_to_less_protected_places() {
        let of = |issuer: &str, url: &str| {
            key_set_url(issuer, &serde_json::to_vec(&json!({ "jwks_uri": url })).unwrap()).is_ok()
        };
        assert!(
            of("https://a", "https://b/keys") && of("http://a", "http://b") && of("http://a", "https://b")
        );
        assert!(!of("https://a", "http://b") && !of("http://a", "file:///etc/passwd"));
        assert!(key_set_url("https://a", b"{}").is_err() && key_set_url("https://a", b"<html>").is_err());
    }

    /// A server that answers each path with what `answer` says, and counts.
    fn serve(answer: impl Fn(&str, &str) -> String + Send + 'static) -> (String, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (count, place) = (Arc::new(AtomicUsize::new(0)), base.clone());
        let counted = count.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let mut head = [0; 2048];
                let length = stream.read(&mut head).unwrap_or(0);
                let head = String::from_utf8_lossy(&head[..length]).into_owned();
                counted.fetch_add(1, Ordering::SeqCst);
                let path = head.split(' ').nth(1).unwrap_or("/").to_owned();
                let _ = stream.write_all(answer(&path, &place).as_bytes());
            }
        });
        (base, count)
    }

    fn ok(body: &str) -> String {
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
    }

    #[tokio::test]
    async fn an_issuer_is_asked_once_for_all_who_wait() {
        let (base, count) = serve(|path, base| match path {
            "/.well-known/openid-configuration" => ok(&format!("{{\"jwks_uri\": \"{base}/keys\"}}")),
            "/keys" => ok(&String::from_utf8(set_with("k1")).unwrap()),
            _ => ok("{}"),
        });
        let sets = KeySets::new(Vec::new());
        let issuer = issuer(&format!("{base}/"), None);
        let (a, b) = tokio::join!(sets.key(&issuer, "k1"), sets.key(&issuer, "k1"));
        assert!(a.is_ok() && b.is_ok(), "{a:?} {b:?}");
        assert_eq!(count.load(Ordering::SeqCst), 2);
        // An unknown key is looked for again, but not at once.
        let error = sets.key(&issuer, "k2").await.unwrap_err();
        assert_eq!(error.description, "the token's kid is unknown");
        assert_eq!(count.load(Ordering::SeqCst), 2);
        // Later it is.
        let slot = sets.slot(&sets.source(&issuer));
        let earlier = Instant::now().checked_sub(PAUSE).unwrap();
        slot.known.lock().unwrap().tried = Some(earlier);
        assert!(sets.key(&issuer, "k2").await.is_err());
        assert_eq!(count.load(Ordering::SeqCst), 4);
    }

    #[tokio::test]
    async fn an_issuer_that_does_not_answer_is_told_of() {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let sets = KeySets::new(Vec::new());
        let gone = issuer(&format!("http://{closed}"), None);
        let error = sets.key(&gone, "k1").await.unwrap_err();
        assert_eq!(error.description, DISCOVERY);
        assert!(error.reason.contains("hint: `--jwks http://127.0.0.1:"), "{}", error.reason);
        assert!(sets.key(&gone, "k1").await.is_err());
        assert_eq!(sets.key(&issuer("urn:nobody", None), "k").await.unwrap_err().description, DISCOVERY);

        let (base, _) = serve(|path, base| match path {
            "/moved" => format!(
                "HTTP/1.1 302 Found\r\nlocation: https{}/keys\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
                &base[4..]
            ),
            "/large" => ok(&" ".repeat(DOCUMENT_LIMIT + 1)),
            "/no" => "HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: 0\r\n\r\n".to_owned(),
            _ => ok("<html>"),
        });
        for (path, expected) in [
            ("/moved", "not followed"),
            ("/large", "more than 1 MB"),
            ("/no", "404"),
            ("/other", "it is no JSON"),
        ] {
            let source = Some(Jwks::Url(format!("{base}{path}")));
            let error = sets.key(&issuer("https://a.example", source), "k1").await.unwrap_err();
            assert_eq!(error.description, COMMUNICATION);
            assert!(error.reason.contains(expected), "{}", error.reason);
        }
    }

    #[tokio::test]
    async fn what_is_known_stays_when_the_issuer_goes() {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let sets = KeySets::new(Vec::new());
        let gone = issuer("https://a.example", Some(Jwks::Url(format!("http://{closed}"))));
        let slot = sets.slot(&sets.source(&gone));
        slot.known.lock().unwrap().set = Some(Arc::new(parse(&set_with("k1")).unwrap()));
        assert!(sets.key(&gone, "k1").await.is_ok(), "too old, but there is no newer one");
        assert!(sets.key(&gone, "k2").await.is_err());
    }

    proptest! {
        #[test]
        fn no_document_is_too_strange(document in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = parse(&document);
            let _ = key_set_url("https://a", &document);
        }
    }
}
