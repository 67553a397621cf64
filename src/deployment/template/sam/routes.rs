//! The routes of an API: those of its definition, and those that functions ask for.

use std::collections::BTreeSet;

use super::super::super::Severity;
use super::super::super::yaml::{self, Node};
use super::super::section::Section;
use super::super::{Builder, Resource, Stack, openapi};
use super::auth::Rules;
use super::events::RouteEvent;
use crate::api::{Api, Authorization, Kind};

/// API Gateway's limit for a definition.
const DEFINITION_LIMIT: u64 = 6 * 1024 * 1024;

/// What the API says of its routes itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Definition {
    /// Nothing: it has the routes that functions ask for.
    None,
    Body,
    /// REST, `MergeDefinitions`.
    Merged,
    File,
}

/// Adds the routes of `DefinitionBody` or `DefinitionUri`.
pub fn define(stack: &Stack, resource: &Resource, api: &mut Api, builder: &mut Builder) -> Definition {
    let properties = Section::properties(resource);
    let merges = properties.boolean("MergeDefinitions", builder).unwrap_or(false);
    match (properties.get("DefinitionBody"), properties.get("DefinitionUri")) {
        (Some(_), Some(_)) => {
            let text = "there can be a `DefinitionBody` or a `DefinitionUri`, not both; the body is taken";
            properties.error("DefinitionUri", text, builder);
        }
        (None, None) => return Definition::None,
        (None, Some(uri)) => {
            match load(stack, uri, builder) {
                // Its problems have lines of that file.
                Ok((path, definition)) => {
                    let template = std::mem::replace(&mut builder.path, path);
                    openapi::read(&definition, stack, api, builder);
                    builder.path = template;
                }
                Err(reason) => {
                    properties.error("DefinitionUri", format!("`DefinitionUri`: {reason}"), builder)
                }
            }
            return Definition::File;
        }
        (Some(_), None) => {}
    }
    if let Some(body) = properties.section("DefinitionBody", builder) {
        openapi::read(body.node, stack, api, builder);
    }
    if merges { Definition::Merged } else { Definition::Body }
}

fn load(stack: &Stack, uri: &Node, builder: &mut Builder) -> Result<(std::path::PathBuf, Node), String> {
    let hint = "hint: name a file beside the template, or move it to `DefinitionBody`";
    let Some(text) = uri.text() else {
        return Err(format!("{} lies in a bucket, which cannot be read here\n{hint}", uri.kind()));
    };
    if text.starts_with("s3://") || text.starts_with("https://") {
        return Err(format!("`{text}` cannot be read here\n{hint}"));
    }
    let path = stack.folder().join(text);
    builder.reading.files.push(path.clone());
    let failed = |error: std::io::Error| format!("`{}` cannot be read: {error}", path.display());
    let metadata = std::fs::metadata(&path).map_err(failed)?;
    if !metadata.is_file() || metadata.len() > DEFINITION_LIMIT {
        return Err(format!("`{}` is no file of at most 6 MB", path.display()));
    }
    let text = std::fs::read_to_string(&path).map_err(failed)?;
    match yaml::parse(&text) {
        Ok(Some(node)) if node.mapping().is_some() => Ok((path, node)),
        Ok(_) => Err(format!("`{}` holds no OpenAPI document", path.display())),
        Err(error) => Err(format!("`{}`, line {}: {}", path.display(), error.line, error.text)),
    }
}

/// Adds the routes that functions ask for, and settles who may call each.
pub fn add(
    api: &mut Api,
    events: &[RouteEvent],
    definition: Definition,
    rules: &Rules,
    builder: &mut Builder,
) {
    let mut taken: BTreeSet<String> = BTreeSet::new();
    let mut overridden: BTreeSet<usize> = BTreeSet::new();
    let defined = api.routes.len();
    for event in events {
        let mut route = event.route.clone();
        let key = comparable(api.kind, &route.method, &route.path);
        let same = (0..defined).find(|&index| {
            let route = &api.routes[index];
            comparable(api.kind, &route.method, &route.path) == key
        });
        let source = event.route.source.clone();
        if !taken.insert(key) {
            let what = if route.path == "$default" {
                "the `$default` route".to_owned()
            } else {
                format!("`{}`", route.key())
            };
            let text = format!("{what} is asked for twice in `{}`; the first one is served", api.name);
            builder.problem_at(Severity::Error, &source, text);
            continue;
        }
        match (same, definition) {
            (Some(index), Definition::Merged) => {
                rules.apply(&mut route, event.auth.as_ref(), builder);
                api.routes[index] = route;
                overridden.insert(index);
            }
            (Some(index), _) => {
                let counts = api.kind == Kind::Http
                    || event.auth.as_ref().is_some_and(|auth| auth.overrides_definition);
                if let Some(auth) = event.auth.as_ref().filter(|_| counts) {
                    rules.apply(&mut api.routes[index], Some(auth), builder);
                    overridden.insert(index);
                }
            }
            (None, Definition::Body | Definition::File)
                if api.kind == Kind::Rest || definition == Definition::File =>
            {
                let text = format!(
                    "`{}` is not in the definition of `{}`, so that there is no such route\nhint: add it there, or set \
                     `MergeDefinitions: true`",
                    route.key(),
                    api.name
                );
                builder.problem_at(Severity::Warning, &source, text);
            }
            (None, _) => {
                rules.apply(&mut route, event.auth.as_ref(), builder);
                api.routes.push(route);
            }
        }
    }
    // What the definition says itself counts; where it says nothing, the default does.
    for index in (0..defined).filter(|index| !overridden.contains(index)) {
        if api.routes[index].authorization == Authorization::None {
            rules.apply(&mut api.routes[index], None, builder);
        }
    }
    if api.routes.is_empty() {
        let text = format!("`{}` has no routes\nhint: no function has an event that names it", api.name);
        let source = api.source.clone();
        builder.problem_at(Severity::Warning, &source, text);
    }
}

/// Two routes for which this is the same cannot be told apart.
fn comparable(kind: Kind, method: &str, path: &str) -> String {
    let path = match kind {
        Kind::Rest if path.len() > 1 => path.trim_end_matches('/'),
        _ => path,
    };
    let segments = path.split('/').map(|segment| match segment.starts_with('{') {
        true if segment.ends_with("+}") => "{+}",
        true => "{}",
        false => segment,
    });
    format!("{method} {}", segments.collect::<Vec<_>>().join("/"))
}
