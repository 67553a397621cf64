//! What keeps environments to themselves, as the gateway sees it: which paths a function gets, and
//! what the zygotes have found to be in force.
//!
//! How it is done is `python/src/isolation/`; what is promised is `docs/isolation.md`.

use std::path::{Path, PathBuf};

use super::environment::Common;
use crate::function::Function;
use crate::protocol::isolation::{InForce, Paths};

/// Variables that name files which the AWS SDK and TLS libraries read.
const NAMING_FILES: [&str; 7] = [
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_CA_BUNDLE",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
];

const TMP: &str = "/tmp";

/// What one environment may read and write.
pub fn paths(
    common: &Common,
    function: &Function,
    layers: &[String],
    variables: &[(String, String)],
    temporary_folder: &Path,
    bytecode_cache: Option<&str>,
) -> Paths {
    let text = |path: &Path| path.display().to_string();
    let mut readable = vec![text(&function.task_root)];
    readable.extend(layers.iter().cloned());
    for (name, value) in variables {
        if NAMING_FILES.contains(&name.as_str()) {
            readable.push(value.clone());
            // Beside the configuration lie the tokens of a single sign-on.
            let beside = Path::new(value).parent().filter(|_| name == NAMING_FILES[0]);
            readable.extend(beside.map(|folder| text(&folder.join("sso"))));
        } else if name == "PYTHONPATH" {
            readable.extend(value.split(':').filter(|path| path.starts_with('/')).map(str::to_owned));
        }
    }
    let mut writable = vec![text(temporary_folder), text(&common.buckets)];
    writable.extend(bytecode_cache.map(str::to_owned));
    writable.extend(common.isolation.writable.iter().map(|path| text(path)));
    if may_write_tmp(&common.state_dir, &function.task_root) {
        writable.push(TMP.to_owned());
    }
    Paths { readable, writable, closed: vec![text(&common.state_dir)] }
}

/// A project inside of /tmp is not to be opened along with it; its functions have TMPDIR.
fn may_write_tmp(state_dir: &Path, task_root: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let tmp: PathBuf = real(Path::new(TMP));
    !real(state_dir).starts_with(&tmp) && !real(task_root).starts_with(&tmp)
}

/// One line for the terminal.
pub fn describe(in_force: &InForce) -> String {
    let names = |wanted: &dyn Fn(u8) -> bool| {
        let names: Vec<&str> =
            in_force.holding().filter(|part| wanted(part.tier)).map(|part| part.name.as_str()).collect();
        names.join(", ")
    };
    let tier = in_force.tier();
    let (within, beyond) = (names(&|its| its > 0 && its <= tier), names(&|its| its > tier));
    let mut line = format!("isolation of handlers: tier {tier}");
    if !within.is_empty() {
        line += &format!(" ({within})");
    }
    if !beyond.is_empty() {
        line += &format!(", and {beyond}");
    }
    line
}

/// What `GET /health` and the console's overview tell.
pub fn told(in_force: &InForce) -> serde_json::Value {
    let parts: Vec<_> = in_force.holding().map(|part| &part.name).collect();
    let missing: Vec<_> = in_force
        .missing()
        .map(|(part, why)| serde_json::json!({"part": part.name, "tier": part.tier, "why": why}))
        .collect();
    serde_json::json!({"tier": in_force.tier(), "parts": parts, "missing": missing})
}

/// Why there is not more, up to this tier.
pub fn why_not(in_force: &InForce, tier: u8) -> String {
    let reasons = in_force.missing().filter(|(part, _)| part.tier <= tier);
    let mut reasons: Vec<String> =
        reasons.map(|(part, reason)| format!("{} (tier {}): {reason}", part.name, part.tier)).collect();
    if reasons.is_empty() {
        reasons.push("nothing was found out".to_owned());
    }
    reasons.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::isolation::Part;

    fn part(name: &str, tier: u8, missing: Option<&str>) -> Part {
        Part { name: name.into(), tier, missing: missing.map(str::to_owned) }
    }

    #[test]
    fn says_what_holds_and_why_there_is_no_more() {
        let in_force = InForce {
            parts: vec![
                part("own session", 0, None),
                part("files", 1, None),
                part("namespaces", 2, Some("not built")),
                part("system calls", 4, None),
            ],
            control_group: None,
        };
        assert_eq!(describe(&in_force), "isolation of handlers: tier 1 (files), and system calls");
        assert_eq!(why_not(&in_force, 2), "namespaces (tier 2): not built");
        assert_eq!(why_not(&in_force, 1), "nothing was found out");
    }

    #[test]
    fn tmp_is_not_opened_around_a_project() {
        assert!(may_write_tmp(Path::new("/srv/app/.handlerd"), Path::new("/srv/app/handlers/a")));
        assert!(!may_write_tmp(Path::new("/tmp/app/.handlerd"), Path::new("/srv/app/handlers/a")));
        assert!(!may_write_tmp(Path::new("/srv/app/.handlerd"), Path::new("/tmp/app/handlers/a")));
    }
}
