//! All triggers of a function: the events of its `function.yaml` one by one, what a template
//! declares, routes by convention, function URLs, and mappings that were made by the Lambda API.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::super::Console;
use super::super::error::ViewError;
use super::told::{self, Told};
use crate::api::{Api, Kind as ApiKind, Route};
use crate::deployment::{ComesTo, Deployment, EditError, Events, Written, written_in};
use crate::store::{KeptMapping, MappingStatus, ScheduleState, StoreError, declared_uuid};
use crate::trigger::{Course, Kind, Mapping, Schedule, Trigger};

/// So many times are told of a schedule.
pub const NEXT: usize = 5;

pub struct Listed {
    /// Of the `function.yaml`; `None`: there is none to be changed.
    pub revision: Option<String>,
    pub triggers: Vec<Value>,
}

/// What the store knows of them.
struct Known {
    schedules: HashMap<String, ScheduleState>,
    statuses: HashMap<String, MappingStatus>,
    now: Timestamp,
}

pub async fn all(console: &Console, name: &str) -> Result<Listed, ViewError> {
    super::is_there(console, name).await?;
    let deployments = console.0.invoker.deployments();
    let events = match deployments.events(name).await {
        Ok(events) => events,
        // It says why itself, among the problems; what is deployed all the same is shown.
        Err(EditError::Unreadable { .. } | EditError::NoHandlers(_)) => None,
        Err(error) => return Err(error.into()),
    };
    let store = console.0.invoker.store();
    let known = Known {
        schedules: store.schedules().await?.into_iter().collect(),
        statuses: store.mapping_statuses().await?,
        now: Timestamp::now(),
    };
    let current = deployments.current();
    let mut listed = Vec::new();
    let revision = events.as_ref().map(|events| events.revision.clone());
    match &events {
        Some(Events { events, .. }) => {
            listed.extend(events.iter().map(|event| written(console, &current, &known, event)));
            listed.extend(routes(
                console,
                &current,
                name,
                |route| route.source.line.is_none(),
                &BTreeMap::new(),
            ));
        }
        None => {
            let triggers = declared(&current, name);
            let mut files = sources(&current, name);
            files.extend(triggers.iter().map(|trigger| trigger.source.path.clone()));
            let read = tokio::task::spawn_blocking(move || {
                files.sort();
                files.dedup();
                files.into_iter().map(|path| (path.clone(), written_in(&path))).collect()
            });
            let files: BTreeMap<PathBuf, BTreeMap<usize, Value>> = read.await.unwrap_or_default();
            listed.extend(routes(console, &current, name, |_| true, &files));
            for trigger in triggers {
                let event = event_at(&files, &trigger.source.path, trigger.source.line);
                let id = trigger.name.clone();
                listed.push(Told { event, ..of_trigger(id, &trigger, &known) });
            }
        }
    }
    listed.extend(urls(console, &current, name));
    listed.extend(mappings(console, name).await?.iter().map(|mapping| kept(mapping, &known)));
    Ok(Listed { revision, triggers: listed.into_iter().map(Told::json).collect() })
}

/// Mappings that the Lambda API has made for a function or one of its aliases.
pub async fn mappings(console: &Console, name: &str) -> Result<Vec<KeptMapping>, ViewError> {
    let mut mappings = console.0.invoker.store().mappings().await?;
    mappings.retain(|mapping| !mapping.deleted && is_of(&mapping.function, name));
    Ok(mappings)
}

impl From<StoreError> for ViewError {
    fn from(error: StoreError) -> Self {
        Self::new(http::StatusCode::SERVICE_UNAVAILABLE, error.to_string())
    }
}

/// `NAME` or `NAME:ALIAS`.
fn is_of(function: &str, name: &str) -> bool {
    function.split(':').next() == Some(name)
}

fn written(console: &Console, current: &Deployment, known: &Known, event: &Written) -> Told {
    let told = match &event.comes_to {
        ComesTo::Route { kind, route, authorizer } => {
            let api = current.apis.iter().find(|api| api.kind == *kind && is_on(api, route));
            Told {
                id: event.id.clone(),
                kind: "http",
                title: route.key(),
                detail: told::route(*kind, api.map(|api| &**api), route, authorizer.as_deref()),
                url: Some(url(console, route)),
                // Not while the function cannot run, or another has the route.
                enabled: api.is_some(),
                next: None,
                editable: true,
                source: None,
                event: None,
            }
        }
        ComesTo::Trigger(trigger) => {
            let told = of_trigger(event.id.clone(), trigger, known);
            let is_deployed = current.triggers().any(|deployed| deployed.name == trigger.name);
            Told { enabled: told.enabled && is_deployed, ..told }
        }
        ComesTo::Nothing(reason) => Told {
            id: event.id.clone(),
            kind: kind_of(event.event["Type"].as_str().unwrap_or_default()),
            title: event.id.clone(),
            detail: reason.clone(),
            url: None,
            enabled: false,
            next: None,
            editable: true,
            source: None,
            event: None,
        },
    };
    Told { editable: true, source: Some(event.source.clone()), event: Some(event.event.clone()), ..told }
}

fn is_on(api: &Api, route: &Route) -> bool {
    let same = |other: &Route| other.key() == route.key() && other.function() == route.function();
    api.routes.iter().any(same)
}

/// Of an event that comes to nothing.
fn kind_of(event: &str) -> &'static str {
    match event {
        "Api" | "HttpApi" => "http",
        "Schedule" | "ScheduleV2" => "schedule",
        "SQS" => "sqs",
        "S3" => "s3",
        "SNS" => "sns",
        "DynamoDB" | "Kinesis" => "stream",
        _ => "rule",
    }
}

/// What is deployed of the routes of APIs.
fn routes(
    console: &Console,
    current: &Deployment,
    name: &str,
    wanted: impl Fn(&Route) -> bool,
    files: &BTreeMap<PathBuf, BTreeMap<usize, Value>>,
) -> Vec<Told> {
    let mut listed = Vec::new();
    for api in current.apis.iter().filter(|api| api.kind != ApiKind::FunctionUrl) {
        let is_own =
            |route: &&Route| route.function().is_some_and(|function| is_of(function, name)) && wanted(route);
        for route in api.routes.iter().filter(is_own) {
            let by_convention = route.source.line.is_none() && route.source.path.as_os_str().is_empty();
            let detail = match by_convention {
                true => format!("{}, by convention: it has no routes of its own", api.kind.name()),
                false => told::route(api.kind, Some(api), route, None),
            };
            listed.push(Told {
                id: format!("{} {}", api.name, route.key()),
                kind: "http",
                title: route.key(),
                detail,
                url: (api.kind != ApiKind::WebSocket).then(|| url(console, route)),
                enabled: true,
                next: None,
                editable: false,
                source: Some(route.source.clone()),
                event: event_at(files, &route.source.path, route.source.line),
            });
        }
    }
    listed
}

/// Function URLs: of the function, and of its aliases.
fn urls(console: &Console, current: &Deployment, name: &str) -> Vec<Told> {
    let published = console.0.invoker.published().apis();
    let all = current.apis.iter().chain(published.iter());
    let mut listed = Vec::new();
    for api in all.filter(|api: &&Arc<Api>| api.kind == ApiKind::FunctionUrl) {
        let Some(route) = api.routes.iter().find(|route| route.function().is_some_and(|to| is_of(to, name)))
        else {
            continue;
        };
        let alias = route.function().and_then(|function| function.split_once(':')).map(|(_, alias)| alias);
        let label = if alias.is_some() { api.id.clone() } else { api.name.to_lowercase() };
        let (scheme, rest) = console.0.http_url.split_once("://").unwrap_or(("http", "127.0.0.1"));
        let port = rest.rsplit_once(':').map(|(_, port)| format!(":{port}")).unwrap_or_default();
        listed.push(Told {
            id: format!("url{}", alias.map(|alias| format!(" {alias}")).unwrap_or_default()),
            kind: "url",
            title: alias
                .map_or_else(|| "Function URL".to_owned(), |alias| format!("Function URL of {alias}")),
            detail: told::route(api.kind, Some(api), route, None),
            url: Some(format!("{scheme}://{label}.lambda-url.localhost{port}/")),
            enabled: true,
            next: None,
            // By the Lambda API, where the template does not say it.
            editable: alias.is_some() || console.0.invoker.deployments().declared_in(name).is_none(),
            source: Some(api.source.clone()),
            event: None,
        });
    }
    listed
}

fn declared(current: &Deployment, name: &str) -> Vec<Trigger> {
    let attached = current.attached.iter().filter(|(function, _)| function.as_str() == name);
    let own = attached.flat_map(|(_, attached)| &attached.triggers);
    own.filter(|trigger| is_of(&trigger.function, name)).cloned().collect()
}

/// Files that routes of the function are written in.
fn sources(current: &Deployment, name: &str) -> Vec<PathBuf> {
    let routes = current.apis.iter().flat_map(|api| &api.routes);
    let own = routes.filter(|route| route.function().is_some_and(|function| is_of(function, name)));
    own.filter(|route| route.source.line.is_some()).map(|route| route.source.path.clone()).collect()
}

fn event_at(
    files: &BTreeMap<PathBuf, BTreeMap<usize, Value>>,
    path: &Path,
    line: Option<usize>,
) -> Option<Value> {
    files.get(path)?.get(&line?).cloned()
}

fn of_trigger(id: String, trigger: &Trigger, known: &Known) -> Told {
    let (kind, title, mut detail) = told::trigger(trigger);
    let next = match &trigger.kind {
        Kind::Schedule(schedule) => Some(next(&trigger.name, schedule, trigger.enabled, known)),
        _ => None,
    };
    if matches!(trigger.kind, Kind::Mapping(_)) {
        detail.push_str(&trouble(&declared_uuid(trigger), known));
    }
    let source = Some(trigger.source.clone());
    Told {
        id,
        kind,
        title,
        detail,
        url: None,
        enabled: trigger.enabled,
        next,
        editable: false,
        source,
        event: None,
    }
}

fn next(name: &str, schedule: &Schedule, enabled: bool, known: &Known) -> Vec<String> {
    if !enabled {
        return Vec::new();
    }
    let of = |milliseconds| Timestamp::from_millisecond(milliseconds).unwrap_or(known.now);
    let state = known.schedules.get(name).filter(|state| state.enabled);
    let created = state.map_or(known.now, |state| of(state.begin));
    let last = state.and_then(|state| state.last).map(of);
    let course = Course::new(schedule, created, last);
    let times = course.map(|course| course.upcoming(known.now, NEXT)).unwrap_or_default();
    times.iter().map(ToString::to_string).collect()
}

fn kept(mapping: &KeptMapping, known: &Known) -> Told {
    let (kind, title, detail) = match Mapping::from_properties(&mapping.properties) {
        Ok(read) => told::mapping(&read),
        Err(_) => ("sqs", mapping.source().to_owned(), String::new()),
    };
    let detail = format!("{detail} · made by the Lambda API{}", trouble(&mapping.uuid, known));
    Told {
        id: mapping.uuid.clone(),
        kind,
        title,
        detail,
        url: None,
        enabled: mapping.enabled,
        next: None,
        editable: true,
        source: None,
        event: None,
    }
}

/// What the last poll of a mapping met.
fn trouble(uuid: &str, known: &Known) -> String {
    let result = known.statuses.get(uuid).and_then(|status| status.result.as_deref());
    let problem = result.filter(|result| result.starts_with("PROBLEM"));
    problem.map(|problem| format!(" · {problem}")).unwrap_or_default()
}

fn url(console: &Console, route: &Route) -> String {
    let path = if route.path.starts_with('/') { route.path.as_str() } else { "/" };
    format!("{}{path}", console.0.http_url.trim_end_matches('/'))
}
