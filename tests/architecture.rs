//! The house of `src/lib.rs`, checked: imports go down, neighbours do not import each other, and
//! each outside library has one owner.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// From the roof down; modules of one line are neighbours.
const FLOORS: [&[&str]; 8] = [
    &["cli"],
    &["server"],
    &["console", "event_sources", "gateway", "lambda_api", "telemetry"],
    &["control_plane", "invoker"],
    &["deployment", "execution_environment", "published"],
    &["delivery", "history", "http", "interpreter", "logs", "protocol", "store"],
    &["archive", "aws", "metrics", "packages"],
    &[
        "allocator",
        "api",
        "config",
        "defences",
        "destination",
        "egress",
        "function",
        "hexadecimal",
        "inotify",
        "invocation",
        "samples",
        "trigger",
    ],
];

/// A neighbour may look at what another knows in these places, each for a reason.
const ALLOWED: [(&str, &str, &str); 1] = [(
    "deployment",
    "execution_environment",
    "the names that Lambda reserves stand where the others are set",
)];

/// Library -> the modules that may name it.
const OWNERS: &[(&str, &[&str])] = &[
    ("arc_swap", &["deployment", "published"]),
    ("aws_credential_types", &["aws"]),
    ("aws_sigv4", &["aws"]),
    ("aws_smithy_eventstream", &["lambda_api"]),
    ("aws_smithy_types", &["lambda_api"]),
    ("axum", &["console", "control_plane", "event_sources", "gateway", "http", "lambda_api"]),
    ("clap", &["cli"]),
    ("croner", &["trigger"]),
    ("dotenvy", &["deployment"]),
    ("flate2", &["archive"]),
    ("futures_util", &["console", "gateway", "http"]),
    ("http_body", &["gateway", "lambda_api"]),
    ("http_body_util", &["gateway", "lambda_api"]),
    ("hyper", &["http"]),
    ("hyper_util", &["http"]),
    ("jsonwebtoken", &["gateway"]),
    ("libloading", &["execution_environment"]),
    ("libmimalloc_sys", &["allocator"]),
    ("loom", &["protocol"]),
    ("md5", &["event_sources"]),
    ("memchr", &["http", "invoker", "logs"]),
    ("owo_colors", &["cli"]),
    (
        "percent_encoding",
        &["aws", "control_plane", "delivery", "event_sources", "gateway", "lambda_api", "telemetry"],
    ),
    ("pyo3", &[]),
    ("rcgen", &["http"]),
    ("regex", &["deployment", "gateway"]),
    ("reqwest", &["aws", "cli", "delivery", "egress", "event_sources", "gateway", "telemetry"]),
    ("rusqlite", &["delivery", "store"]),
    ("rustls", &["delivery", "http"]),
    ("rustls_platform_verifier", &["delivery"]),
    ("saphyr_parser", &["deployment"]),
    ("socket2", &["http"]),
    ("tokio_postgres", &["delivery"]),
    ("tokio_postgres_rustls", &["delivery"]),
    ("tokio_rustls", &["http"]),
    ("tokio_tungstenite", &["http"]),
    ("toml", &["cli", "deployment"]),
    ("tower", &["control_plane", "http"]),
    ("tracing_subscriber", &["cli"]),
    ("zip", &["archive"]),
];

struct Source {
    path: PathBuf,
    module: String,
    text: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    collect(&root, &mut paths);
    paths
        .into_iter()
        .map(|path| {
            let relative = path.strip_prefix(&root).unwrap();
            let first = relative.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
            let text = std::fs::read_to_string(&path).unwrap();
            Source { module: first.trim_end_matches(".rs").to_owned(), text, path }
        })
        .collect()
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}

/// Lines of code: no comments, and nothing behind the tests' attribute.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.split("#[cfg(test)]").next().unwrap().lines().filter(|line| !line.trim_start().starts_with("//"))
}

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

/// Names that follow `crate::` in the code.
fn imports(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for line in code(text) {
        for rest in line.split("crate::").skip(1) {
            if let Some(group) = rest.strip_prefix('{') {
                found.extend(group.split(',').map(|name| name.trim().split("::").next().unwrap().to_owned()));
            } else {
                found.insert(rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect());
            }
        }
    }
    found
}

#[test]
fn imports_go_down() {
    let mut wrong = Vec::new();
    for source in sources() {
        let Some(here) = floor(&source.module) else { continue };
        for import in imports(&source.text) {
            let Some(there) = floor(&import) else { continue };
            let allowed = ALLOWED.iter().any(|(from, to, _)| *from == source.module && *to == import);
            if import != source.module && there <= here && !allowed && there != FLOORS.len() - 1 {
                wrong.push(format!("{} imports {import}", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_module_has_a_floor_and_a_line_on_the_map() {
    let map = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    for source in sources() {
        let module = &source.module;
        if matches!(module.as_str(), "lib" | "main" | "fuzzing") {
            continue;
        }
        assert!(floor(module).is_some(), "{module} has no floor");
        assert!(map.contains(&format!("[`{module}`]")), "{module} is not on the map in src/lib.rs");
    }
}

#[test]
fn each_library_has_its_owners() {
    let mut wrong = Vec::new();
    let owners: BTreeMap<&str, &[&str]> = OWNERS.iter().copied().collect();
    for source in sources() {
        for line in code(&source.text) {
            for (library, allowed) in &owners {
                let named = line.match_indices(&format!("{library}::")).any(|(at, _)| {
                    let before = line[..at].chars().next_back();
                    !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
                });
                // The `http` crate and our module of that name are different things.
                if named && !allowed.contains(&source.module.as_str()) {
                    wrong.push(format!("{} names {library}: {}", source.path.display(), line.trim()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_file_says_its_one_thing_first() {
    for source in sources() {
        assert!(source.text.starts_with("//!"), "{} does not begin with what it is", source.path.display());
    }
}

/// A route of the control plane stands in the table that its guard is made from, or nowhere.
#[test]
fn only_the_control_plane_has_a_router() {
    for source in sources() {
        let path = source.path.to_string_lossy().into_owned();
        // The port of the HTTP routes has one handler for all, and no routes in axum's sense.
        let is_gateway = path.ends_with("src/gateway/mod.rs");
        for line in code(&source.text).filter(|_| source.module != "control_plane") {
            let names =
                ["axum::Router", "MethodRouter", "axum::routing", ".route(\"", ".nest(", "route_service"];
            let found = names.into_iter().find(|name| line.contains(name));
            let allowed = is_gateway && found == Some("axum::Router");
            assert!(
                found.is_none() || allowed,
                "{path}: `{}` would be a way past the guard; use `control_plane::Routes`",
                line.trim()
            );
        }
    }
    let table = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/control_plane/mod.rs");
    let text = std::fs::read_to_string(table).unwrap();
    assert!(
        text.contains("pub struct Guarded(Router);"),
        "what is behind the guard must not be opened again"
    );
    assert!(text.contains("    router: Router<S>,\n    table: Vec<Entry>,"), "routes without an entry");
}
