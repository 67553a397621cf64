//! What the program is built of: every part is pinned to one version and its checksum, comes from one
//! registry, and is under a licence that was looked at.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use serde_json::Value;

use crate::catalogue::seen;

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

const LOCKS: [(&str, [&str; 2]); 2] =
    [("Cargo.lock", ["handlerd", "handlerd-python"]), ("fuzz/Cargo.lock", ["handlerd", "handlerd-fuzz"])];

/// What is not as it should be in a lock file; and how many crates it pins.
fn unpinned(text: &str, ours: [&str; 2]) -> (Vec<String>, usize) {
    let lock: toml::Table = text.parse().unwrap();
    let (mut found, mut sources) = (Vec::new(), Vec::new());
    for package in lock["package"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        let Some(source) = package.get("source").and_then(|source| source.as_str()) else {
            if !ours.contains(&name) && name != "handlerd-python" {
                found.push(format!("{name} is from nowhere"));
            }
            continue;
        };
        if !source.starts_with("registry+") {
            found.push(format!("{name} is from {source}"));
        }
        let checksum = package.get("checksum").and_then(|checksum| checksum.as_str()).unwrap_or_default();
        if checksum.len() != 64 || !checksum.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            found.push(format!("{name} has no checksum"));
        }
        sources.push(source);
    }
    let count = sources.len();
    sources.sort_unstable();
    sources.dedup();
    if sources.len() != 1 {
        found.push(format!("more than one registry: {sources:?}"));
    }
    (found, count)
}

#[test]
fn each_crate_is_pinned_and_from_the_registry() {
    let began = Instant::now();
    let mut counted = 0;
    for (path, ours) in LOCKS {
        let (found, count) = unpinned(&read(path), ours);
        assert_eq!(found, [""; 0], "{path}");
        counted = counted.max(count);
    }
    seen("T24", format!("{counted} crates, each with a checksum, from one registry"), began.elapsed());
}

/// The same lock file as somebody would change it: else the test above would prove nothing.
#[test]
fn a_crate_from_elsewhere_is_found() {
    let (path, ours) = LOCKS[0];
    let lock = read(path);
    let registry = lock.lines().find(|line| line.starts_with("source = ")).unwrap();
    for (before, after, told) in [
        (registry, "source = \"git+ssh://example.com/x\"", "is from git+ssh"),
        (registry, "source = \"registry+sparse+ftp://example.com/\"", "more than one registry"),
        (registry, "", "is from nowhere"),
        ("checksum = \"", "checksum = \"0", "has no checksum"),
        ("checksum = ", "former-checksum = ", "has no checksum"),
    ] {
        let (found, _) = unpinned(&lock.replacen(before, after, 1), ours);
        assert!(found.iter().any(|one| one.contains(told)), "{after}: {found:?}");
    }
    seen("T24", "5 lock files that were tampered with: each is found", None);
}

#[test]
fn each_npm_package_is_pinned_and_from_the_registry() {
    let began = Instant::now();
    let lock: Value = serde_json::from_str(&read("console/package-lock.json")).unwrap();
    let manifest: Value = serde_json::from_str(&read("console/package.json")).unwrap();
    let packages = lock["packages"].as_object().unwrap();
    for (path, package) in packages.iter().filter(|(path, _)| !path.is_empty()) {
        let integrity = package["integrity"].as_str().unwrap_or_default();
        assert!(integrity.starts_with("sha512-") && package["link"].is_null(), "{path} is not pinned");
        let is_version =
            package["version"].as_str().unwrap().starts_with(|first: char| first.is_ascii_digit());
        assert!(is_version, "{path} is not from the registry");
    }
    for (name, version) in manifest["devDependencies"].as_object().unwrap() {
        assert_eq!(packages[&format!("node_modules/{name}")]["version"], *version, "{name} is a range");
    }
    assert!(manifest["dependencies"].is_null());
    let what = format!("{} npm packages, each with a checksum", packages.len() - 1);
    seen("T24", what, began.elapsed());
}

/// What cargo knows, which looks nowhere but on this disk.
fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--offline", "--format-version", "1"])
        .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "Cargo.lock is not what Cargo.toml asks for: {said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Of an expression such as `(MIT OR Apache-2.0) AND Unicode-3.0`, whether what we may choose is allowed.
fn is_allowed(expression: &str, allowed: &[&str]) -> bool {
    // OR binds weaker than AND; a slash is an old way of saying OR.
    let text = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = text.split_whitespace().collect();
    let (value, rest) = either(&words, allowed);
    assert!(rest.is_empty(), "{expression} is no expression");
    value
}

fn either<'a, 'b>(words: &'b [&'a str], allowed: &[&str]) -> (bool, &'b [&'a str]) {
    let (mut value, mut rest) = both(words, allowed);
    while let Some((&"OR", behind)) = rest.split_first() {
        let (next, behind) = both(behind, allowed);
        (value, rest) = (value | next, behind);
    }
    (value, rest)
}

fn both<'a, 'b>(words: &'b [&'a str], allowed: &[&str]) -> (bool, &'b [&'a str]) {
    let (mut value, mut rest) = one(words, allowed);
    while let Some((&"AND", behind)) = rest.split_first() {
        let (next, behind) = one(behind, allowed);
        (value, rest) = (value & next, behind);
    }
    (value, rest)
}

fn one<'a, 'b>(words: &'b [&'a str], allowed: &[&str]) -> (bool, &'b [&'a str]) {
    match words {
        ["(", rest @ ..] => {
            let (value, rest) = either(rest, allowed);
            (value, rest.strip_prefix(&[")"]).expect("a closing parenthesis"))
        }
        [name, "WITH", exception, rest @ ..] => {
            (allowed.contains(&&*format!("{name} WITH {exception}")), rest)
        }
        [name, rest @ ..] => (allowed.contains(name), rest),
        [] => panic!("a licence is missing"),
    }
}

#[test]
fn licences_are_read_as_they_are_meant() {
    let allowed = ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"];
    for (expression, expected) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("MIT/Apache-2.0", true),
        ("MIT AND GPL-3.0", false),
        ("GPL-3.0 AND MIT OR ISC", true),
        ("GPL-3.0 AND (MIT OR ISC)", false),
        ("(MIT OR GPL-3.0) AND ISC", true),
        ("Apache-2.0 WITH LLVM-exception", true),
        ("Apache-2.0", false),
    ] {
        assert_eq!(is_allowed(expression, &allowed), expected, "{expression}");
    }
}

#[test]
fn each_part_has_a_licence_that_was_looked_at() {
    let began = Instant::now();
    let rules: toml::Table = read("deny.toml").parse().unwrap();
    let allowed: Vec<&str> =
        rules["licenses"]["allow"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    let metadata = metadata();
    let packages = metadata["packages"].as_array().unwrap();
    for package in packages {
        let (name, licence) =
            (package["name"].as_str().unwrap(), package["license"].as_str().unwrap_or_default());
        assert!(is_allowed(licence, &allowed), "{name} is under `{licence}`, which deny.toml does not allow");
    }
    let table = read("docs/supply-chain.md");
    for name in &allowed {
        assert!(table.contains(&format!("| {name} |")), "docs/supply-chain.md does not tell of {name}");
    }
    let what = format!("{} crates for this machine, all under {} licences", packages.len(), allowed.len());
    seen("T24", what, began.elapsed());
}

/// Nothing that is built here fetches anything: what it needs is in the lock file, and is on this disk.
#[test]
fn the_lock_file_is_complete_and_scripts_fetch_nothing() {
    let metadata = metadata();
    let ours = metadata["workspace_members"].as_array().unwrap().len();
    assert_eq!(ours, 2, "handlerd and what runs inside Python");
    for script in ["build.rs", "python/build.rs"] {
        let Ok(text) = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(script)) else {
            continue;
        };
        for word in ["Command::new", "TcpStream", "reqwest", "http://", "https://"] {
            assert!(!text.contains(word), "{script} has `{word}` in it");
        }
    }
}
