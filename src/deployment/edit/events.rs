//! `Events` of a `function.yaml`: shown as they are written, added, changed and taken out one by one.
//!
//! What is to be written is read first, by the reader that the deployment uses: an event that would
//! break the function, or stand in another's way, is refused in that reader's words.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};

use super::super::discover::{FUNCTION_YAML, refuse_namesakes};
use super::super::function_yaml::{Surroundings, read_event};
use super::super::yaml::{self, Node, Value};
use super::super::{Deployment, Deployments, Problem, Severity, convention};
use super::folder::{self, Place};
use super::{EditError, document};
use crate::api::{Kind, Route, Source};
use crate::config::Account;
use crate::function::{Attached, FunctionName};
use crate::hexadecimal::hex;
use crate::trigger::Trigger;

const EVENTS: &str = "Events";
/// SAM makes ids of resources from it.
const LONGEST_ID: usize = 64;
const CORS_HINT: &str = "\nhint: CORS belongs to the API, not to a route: describe the API in a template \
                         (`AWS::Serverless::HttpApi`, `CorsConfiguration`), give the function a URL with `Cors`, or \
                         answer the headers in the function";

/// The events of one `function.yaml`.
#[derive(Debug, Clone)]
pub struct Events {
    /// Another one as soon as anything in the file is.
    pub revision: String,
    pub events: Vec<Written>,
}

/// An event as it is written, and what it comes to.
#[derive(Debug, Clone)]
pub struct Written {
    pub id: String,
    pub source: Source,
    /// SAM's.
    pub event: Json,
    pub comes_to: ComesTo,
}

#[derive(Debug, Clone)]
pub enum ComesTo {
    /// Of the HTTP API or the REST API of the handlers folder.
    Route {
        kind: Kind,
        route: Box<Route>,
        authorizer: Option<String>,
    },
    Trigger(Box<Trigger>),
    /// Why it is not served.
    Nothing(String),
}

/// What is to become of one event.
#[derive(Debug, Clone)]
pub struct EventChange {
    pub id: String,
    /// `None`: it goes.
    pub event: Option<Json>,
    /// What the caller has seen.
    pub revision: Option<String>,
}

impl Deployments {
    /// As they stand in the file now; `None`: the template declares the function.
    pub async fn events(&self, name: &str) -> Result<Option<Events>, EditError> {
        if self.declared_in(name).is_some() {
            return Ok(None);
        }
        let path = self.function_yaml(name)?;
        let (account, name) = (self.0.sources.account.clone(), name.to_owned());
        let read = {
            let path = path.clone();
            move || read(&path, &name, &account)
        };
        super::on_a_thread(&path, read).await.map(Some)
    }

    /// Changes one event, and answers when it is deployed.
    pub async fn set_event(&self, name: &str, change: EventChange) -> Result<(), EditError> {
        if self.declared_in(name).is_none() {
            self.function_yaml(name)?;
        }
        let deployments = self.clone();
        self.change(name, move |place| set(&deployments, place, &change)).await
    }

    fn function_yaml(&self, name: &str) -> Result<PathBuf, EditError> {
        if !self.current().functions.contains_key(name) {
            return Err(EditError::NotFound(name.to_owned()));
        }
        match &self.0.sources.handlers {
            Some(handlers) => Ok(handlers.join(name).join(FUNCTION_YAML)),
            None => Err(EditError::NoHandlers(name.to_owned())),
        }
    }
}

fn read(path: &Path, name: &str, account: &Account) -> Result<Events, EditError> {
    let text = folder::read(path)?.unwrap_or_default();
    let unreadable = |reason| EditError::Unreadable { path: path.to_owned(), reason };
    let entries = document::entries_of(&text, EVENTS).map_err(unreadable)?;
    let events = entries.iter().filter_map(|entry| {
        let id = entry.0.text()?.to_owned();
        let source = Source { path: path.to_owned(), line: Some(entry.0.line) };
        Some(Written { id, source, event: told(&entry.1), comes_to: comes_to(entry, path, name, account) })
    });
    Ok(Events { revision: revision(&text), events: events.collect() })
}

fn set(deployments: &Deployments, place: &Place, change: &EventChange) -> Result<(), EditError> {
    let path = place.existing()?.join(FUNCTION_YAML);
    folder::amend(&path, |text| {
        if change.revision.as_ref().is_some_and(|known| *known != revision(text)) {
            return Err(EditError::Outdated(path.clone()));
        }
        let unreadable = |reason| EditError::Unreadable { path: path.clone(), reason };
        let before = document::entries_of(text, EVENTS).map_err(unreadable)?;
        let is_there = before.iter().any(|(key, _)| key.text() == Some(change.id.as_str()));
        match &change.event {
            None if !is_there => {
                let there = before.iter().filter_map(|(key, _)| Some(key.text()?.to_owned())).collect();
                return Err(EditError::NoEvent { path: path.clone(), id: change.id.clone(), there });
            }
            Some(_) if !is_there => check_id(&change.id)?,
            _ => {}
        }
        let edited = document::edit_entry(text, EVENTS, &change.id, change.event.as_ref());
        let edited = edited.map_err(|reason| match &change.event {
            // The fault is the new event's if the text by itself can be read.
            Some(_) => EditError::Refused(reason),
            None => EditError::Unreadable { path: path.clone(), reason },
        })?;
        if change.event.is_some() {
            check(deployments, place, &path, &edited, &change.id)?;
        }
        Ok(edited)
    })
}

fn check_id(id: &str) -> Result<(), EditError> {
    let is_plain = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if is_plain && id.len() <= LONGEST_ID {
        return Ok(());
    }
    Err(EditError::Refused(format!(
        "`{}` is no name of an event: SAM takes letters and digits, at most {LONGEST_ID}\nhint: such as `Hourly`",
        crate::logs::escape_control(id)
    )))
}

/// Refuses an event that would not work, or would keep another from it.
fn check(
    deployments: &Deployments,
    place: &Place,
    path: &Path,
    text: &str,
    id: &str,
) -> Result<(), EditError> {
    let account = &deployments.0.sources.account;
    let entries = document::entries_of(text, EVENTS).map_err(EditError::Refused)?;
    let mut after = Surroundings::default();
    for entry in &entries {
        let (routes, triggers, builder) = read_event(entry, path, &place.name, account);
        let comes_to_nothing = routes.is_empty() && triggers.is_empty();
        if entry.0.text() == Some(id) {
            let mut reasons: Vec<String> =
                builder.reading.problems.iter().map(|problem| problem.text.clone()).collect();
            if reasons.is_empty() && comes_to_nothing {
                reasons.extend(builder.reading.findings.iter().map(|finding| finding.text.clone()));
            }
            if !reasons.is_empty() || comes_to_nothing {
                let about_cors = reasons.iter().any(|reason| reason.contains(".Cors`"));
                let hint = if about_cors { CORS_HINT } else { "" };
                return Err(EditError::Refused(reasons.join("\n") + hint));
            }
        }
        after.routes.extend(routes);
        after.triggers.extend(triggers);
    }
    let current = deployments.current();
    let before = objections(deployments, &current, &current.surroundings);
    let Ok(name) = place.name.parse::<FunctionName>() else {
        return Err(EditError::NotFound(place.name.clone()));
    };
    let mut surroundings = current.surroundings.clone();
    let own = surroundings.entry(name).or_default();
    (own.routes, own.triggers) = (after.routes, after.triggers);
    let is_new = |problem: &Problem| {
        problem.severity == Severity::Error && !before.iter().any(|former| former.text == problem.text)
    };
    let new: Vec<String> = objections(deployments, &current, &surroundings)
        .into_iter()
        .filter(is_new)
        .map(|problem| problem.text)
        .collect();
    if new.is_empty() { Ok(()) } else { Err(EditError::Refused(new.join("\n"))) }
}

/// What is wrong with what all functions of the handlers folder ask for together.
fn objections(
    deployments: &Deployments,
    current: &Deployment,
    surroundings: &BTreeMap<FunctionName, Surroundings>,
) -> Vec<Problem> {
    let Some(handlers) = &deployments.0.sources.handlers else { return Vec::new() };
    let own = current.functions.iter().filter(|(name, _)| surroundings.contains_key(*name));
    let own = own.map(|(name, deployed)| (name.clone(), deployed.clone())).collect();
    let (_, mut problems) = convention::apis(handlers, &own, surroundings);
    let mut together = Deployment { attached: current.attached.clone(), ..Deployment::default() };
    for (name, around) in surroundings {
        let attached = Attached { triggers: around.triggers.clone(), ..Attached::default() };
        together.attached.insert(name.clone(), Arc::new(attached));
    }
    problems.extend(refuse_namesakes(&mut together));
    problems
}

fn comes_to(entry: &(Node, Node), path: &Path, function: &str, account: &Account) -> ComesTo {
    let (routes, triggers, builder) = read_event(entry, path, function, account);
    if let Some(event) = routes.into_iter().next() {
        let authorizer = event.auth.and_then(|auth| auth.authorizer);
        return ComesTo::Route { kind: event.kind, route: Box::new(event.route), authorizer };
    }
    if let Some(trigger) = triggers.into_iter().next() {
        return ComesTo::Trigger(Box::new(trigger));
    }
    let reading = builder.reading;
    let errors = reading.problems.iter().map(|problem| problem.text.clone());
    let findings = reading.findings.iter().map(|finding| finding.text.clone());
    ComesTo::Nothing(errors.chain(findings).next().unwrap_or_else(|| "is not served".to_owned()))
}

fn revision(text: &str) -> String {
    hex(&Sha256::digest(text)[..16])
}

/// SAM's events of a template as they are written, by the line on which their names stand; those that
/// share one with another are left out.
pub fn written_in(path: &Path) -> BTreeMap<usize, Json> {
    let mut found = BTreeMap::new();
    let is_small = std::fs::metadata(path).is_ok_and(|metadata| metadata.len() <= yaml::MOST_BYTES as u64);
    if is_small
        && let Ok(text) = std::fs::read_to_string(path)
        && let Ok(Some(node)) = yaml::parse(&text)
    {
        collect(&node, &mut found);
    }
    found.into_iter().filter_map(|(line, event)| Some((line, event?))).collect()
}

fn collect(node: &Node, found: &mut BTreeMap<usize, Option<Json>>) {
    let entries = match &node.value {
        Value::Scalar { .. } => return,
        Value::Sequence(items) => return items.iter().for_each(|item| collect(item, found)),
        Value::Mapping(entries) => entries,
    };
    for (key, value) in entries {
        if key.text() == Some(EVENTS) {
            for (name, event) in value.mapping().unwrap_or_default() {
                if event.get("Type").is_some() {
                    found.entry(name.line).and_modify(|event| *event = None).or_insert(Some(told(event)));
                }
            }
        }
        collect(value, found);
    }
}

/// As JSON, with tags as the functions that they stand for.
fn told(node: &Node) -> Json {
    let Some(tag) = &node.tag else {
        return match &node.value {
            Value::Scalar { .. } => node.json(),
            Value::Sequence(items) => items.iter().map(told).collect(),
            Value::Mapping(entries) => {
                let entry =
                    |(key, value): &(Node, Node)| (key.text().unwrap_or_default().to_owned(), told(value));
                Json::Object(entries.iter().map(entry).collect())
            }
        };
    };
    let inner = told(&Node { tag: None, ..node.clone() });
    match tag.as_str() {
        "Ref" | "Condition" => json!({tag: inner}),
        "GetAtt" => {
            let parts =
                inner.as_str().and_then(|text| text.split_once('.')).map(|(one, other)| json!([one, other]));
            json!({"Fn::GetAtt": parts.unwrap_or(inner)})
        }
        _ => json!({format!("Fn::{tag}"): inner}),
    }
}

#[cfg(test)]
#[path = "events_tests.rs"]
mod tests;
