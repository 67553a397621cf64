//! What `fuzz/` asks of the door: whoever does not have the secret does not come in, whatever he sends and
//! whatever stands in the file.

use std::sync::LazyLock;

use axum::body::Body;
use http::Request;

use super::access::Access;
use crate::aws::credentials::{Credential, parse};

/// Of this run alone: what stands in the program a fuzzer finds.
static SECRET: LazyLock<String> = LazyLock::new(|| uuid::Uuid::new_v4().to_string());

/// A request for each line: its headers, names and values apart by a colon; the target in the first.
pub fn door(target: &str, headers: &str, file: &str) {
    for profile in parse(file) {
        assert!(
            !profile.access_key.is_empty() && !profile.secret.is_empty() || profile.token_sha256.is_some()
        );
        let secret = profile.secret.clone();
        let rest =
            Credential { user: String::new(), access_key: String::new(), scopes: Vec::new(), ..profile };
        assert!(secret.len() < 8 || !format!("{rest:?}").contains(&secret), "it would be in logs");
    }
    let own = Credential {
        user: "own".to_owned(),
        access_key: "AKIAIOSFODNN7EXAMPLE".to_owned(),
        secret: SECRET.clone(),
        scopes: vec!["admin".to_owned()],
        ..Credential::default()
    };
    let mut request = Request::builder().method("POST").uri(target.trim());
    for (name, value) in headers.lines().filter_map(|line| line.split_once(':')) {
        request = request.header(name.trim(), value.trim());
    }
    let Ok(request) = request.body(Body::from(file.to_owned())) else { return };
    let access = Access::new("/nowhere/credentials".into(), vec![own]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let answer = runtime.block_on(access.admit(request, "lambda"));
    let refusal = answer.map(|(caller, _)| caller.name).expect_err("he has no secret");
    assert!(refusal.status().is_client_error(), "{}", refusal.status());
}
