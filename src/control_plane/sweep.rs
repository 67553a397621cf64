//! Every scope and method against everything that a hostile page or a stranger may send: nothing of it
//! reaches a handler. The same is asked of the real table by `tests/acceptance/security.rs`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::{HeaderValue, Method};

use super::{Access, Audit, Entry, Guard, Names, Routes, Scope, audit_entries};
use crate::aws::credentials::Credential;
use crate::config::Account;
use crate::hexadecimal::hex;
use crate::http::{Answering, Peer};
use sha2::{Digest, Sha256};

struct Plane {
    router: super::Guarded,
    table: Vec<Entry>,
    ran: Arc<AtomicUsize>,
    folder: tempfile::TempDir,
}

const TOKENS: [(&str, &str); 6] = [
    ("reader", "read"),
    ("caller", "invoke"),
    ("deployer", "deploy"),
    ("root", "admin"),
    ("nobody", ""),
    ("both", "read deploy"),
];

fn plane(asks: bool) -> Plane {
    plane_with(asks, 1 << 20)
}

fn plane_with(asks: bool, longest_log: u64) -> Plane {
    let ran = Arc::new(AtomicUsize::new(0));
    let handler = {
        let ran = ran.clone();
        move || {
            let ran = ran.clone();
            async move {
                ran.fetch_add(1, SeqCst);
                axum::Json(serde_json::json!({"CodeSha256": "abc="}))
            }
        }
    };
    let mut routes = Routes::new();
    for scope in [Scope::Open, Scope::Read, Scope::Invoke, Scope::Deploy, Scope::Admin] {
        let path = format!("/2015-03-31/functions/{{name}}/{}", scope.name());
        routes = routes
            .at(&path)
            .get(scope, handler.clone())
            .post(scope, handler.clone())
            .put(scope, handler.clone())
            .delete(scope, handler.clone());
    }
    let table = routes.table().to_vec();
    let folder = tempfile::tempdir().unwrap();
    let access = asks.then(|| {
        let file = folder.path().join("credentials");
        let text = TOKENS.map(|(name, scopes)| {
            format!("[{name}]\ntoken_sha256 = {}\nscopes = {scopes}\n", hex(&Sha256::digest(name)))
        });
        std::fs::write(&file, text.concat()).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&file, mode).unwrap();
        Arc::new(Access::new(file, Vec::<Credential>::new()))
    });
    let names = Names::new(vec![3001], Some([127, 0, 0, 1].into()), &[]);
    let account = Account { id: "123456789012".into(), region: "eu-west-1".into() };
    let guard = Guard::new(names)
        .of_account(account)
        .asking(access)
        .recording(Audit::with(folder.path(), longest_log).unwrap());
    let router = routes.guarded(guard, || async { http::StatusCode::NOT_FOUND });
    Plane { router, table, ran, folder }
}

impl Plane {
    async fn ask(&self, entry: &Entry, headers: &[(&str, &[u8])]) -> Response {
        let path = entry.path.replace("{name}", "hello");
        let mut request = Request::new(Body::empty());
        *request.method_mut() = entry.method.clone();
        *request.uri_mut() = path.parse().unwrap();
        for (name, value) in headers {
            let name: http::HeaderName = name.parse().unwrap();
            request.headers_mut().append(name, HeaderValue::from_bytes(value).unwrap());
        }
        request.extensions_mut().insert(Peer(([127, 0, 0, 1], 4000).into()));
        self.router.clone().answer(request).await
    }

    fn audited(&self) -> Vec<serde_json::Value> {
        audit_entries(self.folder.path()).unwrap()
    }
}

const HOST: (&str, &[u8]) = ("host", b"localhost:3001");

#[tokio::test]
async fn no_foreign_name_or_page_reaches_a_handler() {
    let plane = plane(false);
    let hosts: [&[u8]; 14] = [
        b"evil.example",
        b"evil.example:3001",
        b"localhost.evil.example:3001",
        b"localhost:3000",
        b"localhost:80",
        b"127.0.0.2:3001",
        b"0.0.0.0:3001",
        b"[::]:3001",
        b"169.254.169.254:3001",
        b"localhost@evil.example:3001",
        b"localhost:3001, evil.example",
        b"\xff\xfe",
        b"",
        b"127.0.0.1.nip.example:3001",
    ];
    let origins: [&[u8]; 12] = [
        b"null",
        b"",
        b"http://evil.example",
        b"http://localhost:3000",
        b"http://localhost",
        b"https://localhost:3001",
        b"http://127.0.0.1:3001",
        b"http://[::1]:3001",
        b"http://localhost:3001.evil.example",
        b"file://",
        b"http://LOCALHOST:3001",
        b"\xff",
    ];
    let sites: [&[u8]; 4] = [b"cross-site", b"same-site", b"", b"CROSS-SITE"];
    let mut asked = 0;
    for entry in &plane.table {
        for host in hosts {
            assert_eq!(plane.ask(entry, &[("host", host)]).await.status(), 421, "{entry:?} {host:?}");
        }
        assert_eq!(plane.ask(entry, &[]).await.status(), 421);
        assert_eq!(plane.ask(entry, &[HOST, HOST]).await.status(), 421);
        for origin in origins {
            // Whatever the browser says of the site, the origin is wrong.
            for site in [None, Some(&b"none"[..]), Some(b"same-origin")] {
                let site = site.map(|site| ("sec-fetch-site", site));
                let headers: Vec<_> = [HOST, ("origin", origin)].into_iter().chain(site).collect();
                assert_eq!(plane.ask(entry, &headers).await.status(), 403, "{entry:?} {origin:?}");
                asked += 1;
            }
        }
        for site in sites {
            for origin in [None, Some(("origin", &b"http://localhost:3001"[..]))] {
                let headers: Vec<_> = [HOST, ("sec-fetch-site", site)].into_iter().chain(origin).collect();
                assert_eq!(plane.ask(entry, &headers).await.status(), 403, "{entry:?} {site:?}");
                asked += 1;
            }
        }
    }
    assert_eq!(asked, plane.table.len() * 44);
    assert_eq!((plane.ran.load(SeqCst), plane.audited().len()), (0, 0));
    for entry in &plane.table {
        let own: [(&str, &[u8]); 3] =
            [HOST, ("origin", b"http://localhost:3001"), ("sec-fetch-site", b"same-origin")];
        assert_eq!(plane.ask(entry, &own).await.status(), 200);
    }
    assert_eq!(plane.ran.load(SeqCst), plane.table.len());
}

#[tokio::test]
async fn each_scope_opens_its_own_routes_and_no_others() {
    let plane = plane(true);
    for entry in &plane.table {
        let open = entry.scope == Scope::Open;
        let before = plane.ran.load(SeqCst);
        assert_eq!(plane.ask(entry, &[HOST]).await.status(), if open { 200 } else { 401 }, "{entry:?}");
        for (name, scopes) in TOKENS {
            let value = format!("Bearer {name}");
            let answer = plane.ask(entry, &[HOST, ("authorization", value.as_bytes())]).await;
            let may = open || scopes.split(' ').any(|scope| scope == "admin" || scope == entry.scope.name());
            assert_eq!(answer.status(), if may { 200 } else { 403 }, "{name} {entry:?}");
        }
        let allowed = |(_, scopes): &&(&str, &str)| {
            scopes.split(' ').any(|scope| scope == "admin" || scope == entry.scope.name())
        };
        let expected = if open { 1 + TOKENS.len() } else { TOKENS.iter().filter(allowed).count() };
        assert_eq!(plane.ran.load(SeqCst) - before, expected, "{entry:?}");
    }
}

/// 100 % of what changes something, by the table: done and denied.
#[tokio::test]
async fn every_change_is_recorded() {
    let plane = plane(true);
    for entry in &plane.table {
        for (name, outcome) in [("root", "done"), ("nobody", "denied")] {
            let before = plane.audited().len();
            let value = format!("Bearer {name}");
            plane.ask(entry, &[HOST, ("authorization", value.as_bytes())]).await;
            let recorded = plane.audited();
            if entry.scope < Scope::Deploy {
                assert_eq!(recorded.len(), before, "{entry:?}");
                continue;
            }
            assert_eq!(recorded.len(), before + 1, "{entry:?}");
            let last = recorded.last().unwrap();
            assert_eq!((&last["who"], &last["outcome"]), (&name.into(), &outcome.into()));
            assert_eq!(last["from"], "127.0.0.1");
            assert_eq!(last["resource"], "arn:aws:lambda:eu-west-1:123456789012:function:hello");
            assert_eq!(last["code_sha256"] == "abc=", outcome == "done");
        }
    }
    assert!(
        super::verify_audit(plane.folder.path()).unwrap().to_string().contains("all as they were written")
    );
}

#[tokio::test]
async fn no_change_without_a_log() {
    // Every line begins a new file, which a folder that is gone does not take.
    let plane = plane_with(false, 1);
    let put = |scope| move |entry: &&Entry| entry.scope == scope && entry.method == Method::PUT;
    let deploy = plane.table.iter().find(put(Scope::Deploy)).unwrap();
    let read = plane.table.iter().find(put(Scope::Read)).unwrap();
    assert_eq!(plane.ask(deploy, &[HOST]).await.status(), 200);
    assert_eq!(plane.audited().len(), 1);
    std::fs::remove_dir_all(plane.folder.path()).unwrap();
    // That it cannot be written is found out by writing.
    assert_eq!(plane.ask(deploy, &[HOST]).await.status(), 200);
    let ran = plane.ran.load(SeqCst);
    assert_eq!(plane.ask(deploy, &[HOST]).await.status(), 503);
    assert_eq!(plane.ran.load(SeqCst), ran);
    assert_eq!(plane.ask(read, &[HOST]).await.status(), 200);
}

#[tokio::test]
async fn who_guesses_is_locked_out() {
    let plane = plane(true);
    let read = plane.table.iter().find(|entry| entry.scope == Scope::Read).unwrap();
    for _ in 0..10 {
        assert_eq!(plane.ask(read, &[HOST, ("authorization", b"Bearer wrong")]).await.status(), 401);
    }
    let locked = plane.ask(read, &[HOST, ("authorization", b"Bearer reader")]).await;
    assert_eq!(locked.status(), 429);
    assert!(locked.headers().contains_key("retry-after"));
    let mut elsewhere = Request::new(Body::empty());
    *elsewhere.uri_mut() = read.path.replace("{name}", "hello").parse().unwrap();
    elsewhere.headers_mut().insert("host", HeaderValue::from_static("localhost:3001"));
    elsewhere.headers_mut().insert("authorization", HeaderValue::from_static("Bearer reader"));
    elsewhere.extensions_mut().insert(Peer(([192, 0, 2, 1], 4000).into()));
    assert_eq!(plane.router.clone().answer(elsewhere).await.status(), 200);
}
