//! Host and path -> API, stage and route.
//!
//! An API has the addresses that it has on AWS, with `localhost` in place of the rest:
//!
//! | address | what answers |
//! |---|---|
//! | `ID.execute-api.localhost/STAGE/...` | the API of this id (or name), as deployed |
//! | `NAME.lambda-url.localhost/...` | the function URL of this function |
//! | `NAME.elb.localhost/...` | the load balancer of this name |
//! | a custom domain of an API, below its base path | that API |
//! | `/_aws/execute-api/ID/STAGE/...`, `/_aws/lambda-url/NAME/...`, `/_aws/elb/NAME/...` | the same, for clients that cannot choose a Host |
//! | any other host | all APIs together, with and without their stages |

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::error::GatewayError;
use super::request::{Matched, without_port};
use super::routes::{Rank, Table};
use crate::api::{Api, DEFAULT_STAGE, Kind, Stage};

/// Path prefix of addresses without a host of their own.
const PREFIX: &str = "/_aws/";

/// All APIs of a deployment, ready for looking up.
#[derive(Default)]
pub struct Directory {
    entries: Vec<Entry>,
    /// Custom domain, lower case -> entry and base path, the longest first.
    domains: BTreeMap<String, Vec<Mapping>>,
}

struct Entry {
    api: Arc<Api>,
    table: Table,
}

struct Mapping {
    entry: usize,
    base_path: String,
    stage: String,
}

/// What a request is about, as far as its address tells.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    pub method: &'a str,
    /// As sent.
    pub host: &'a str,
    /// As sent, without the query.
    pub path: &'a str,
    /// A WebSocket is to be opened.
    pub upgrade: bool,
}

pub enum Located {
    Route(Matched),
    /// A WebSocket API is meant. `path` is what follows the stage: nothing, or `/@connections/ID`.
    WebSocket {
        api: Arc<Api>,
        stage: usize,
        path: String,
    },
}

/// Nothing is there; each kind of API says so in its own way.
pub struct Lost {
    pub kind: Kind,
    /// The one that was meant, if that is clear.
    pub api: Option<Arc<Api>>,
    pub error: GatewayError,
}

/// A candidate and how its path goes on.
struct Way<'a> {
    entry: &'a Entry,
    stage: usize,
    path: &'a str,
    base_path: &'a str,
    custom_domain: bool,
}

impl Directory {
    pub fn new(apis: &[Arc<Api>]) -> Self {
        let entries: Vec<Entry> =
            apis.iter().map(|api| Entry { api: api.clone(), table: Table::new(api) }).collect();
        let mut domains: BTreeMap<String, Vec<Mapping>> = BTreeMap::new();
        for (index, entry) in entries.iter().enumerate() {
            for domain in &entry.api.domains {
                domains.entry(domain.host.to_ascii_lowercase()).or_default().push(Mapping {
                    entry: index,
                    base_path: domain.base_path.trim_matches('/').to_owned(),
                    stage: domain.stage.clone(),
                });
            }
        }
        for mappings in domains.values_mut() {
            mappings.sort_by_key(|mapping| std::cmp::Reverse(mapping.base_path.len()));
        }
        Self { entries, domains }
    }

    /// The WebSocket API of this id.
    pub fn web_socket(&self, id: &str) -> Option<(&Arc<Api>, &Table)> {
        let entry = self.entries.iter().find(|e| e.api.kind == Kind::WebSocket && e.api.id == id)?;
        Some((&entry.api, &entry.table))
    }

    pub fn locate(&self, asked: Asked<'_>) -> Result<Located, Lost> {
        let host = without_port(asked.host).to_ascii_lowercase();
        if let Some(mappings) = self.domains.get(&host) {
            return self.by_domain(asked, mappings);
        }
        let mut labels = host.splitn(3, '.');
        if let (Some(name), Some(service)) = (labels.next(), labels.next())
            && let Some(kinds) = kinds_of(service)
            // A name that is nobody's is refused only where it can mean nothing else.
            && (labels.next() == Some("localhost") || self.named(kinds, name).is_some())
        {
            return self.by_name(asked, kinds, name, asked.path);
        }
        if let Some(rest) = asked.path.strip_prefix(PREFIX) {
            let (service, rest) = rest.split_once('/').unwrap_or((rest, ""));
            let (name, path) = first_segment(rest);
            return match kinds_of(service) {
                Some(kinds) => self.by_name(asked, kinds, name, path),
                None => Err(Lost::among(Kind::Http)),
            };
        }
        self.among_all(asked)
    }

    fn by_domain(&self, asked: Asked<'_>, mappings: &[Mapping]) -> Result<Located, Lost> {
        for mapping in mappings {
            let Some(path) = below(asked.path, &mapping.base_path) else { continue };
            let entry = &self.entries[mapping.entry];
            let Some(stage) = entry.stage(&mapping.stage) else { continue };
            let way = Way { entry, stage, path, base_path: mapping.base_path.as_str(), custom_domain: true };
            return way.go(asked).ok_or_else(|| Lost::in_api(&entry.api, not_found()));
        }
        let kind = mappings.first().map_or(Kind::Http, |mapping| self.entries[mapping.entry].api.kind);
        let error = GatewayError::Forbidden("no base path of the custom domain fits".into());
        Err(Lost { error, ..Lost::among(kind) })
    }

    fn by_name(&self, asked: Asked<'_>, kinds: &[Kind], name: &str, path: &str) -> Result<Located, Lost> {
        let Some(entry) = self.named(kinds, name) else {
            let error = GatewayError::UnknownApi { name: name.to_owned(), known: self.names(kinds) };
            return Err(Lost { error, ..Lost::among(kinds[0]) });
        };
        let kind = entry.api.kind;
        if entry.api.execute_api_disabled {
            let text = "its execute-api endpoint is disabled; ask for its custom domain";
            return Err(Lost::in_api(&entry.api, GatewayError::Forbidden(text.into())));
        }
        let Some((stage, path)) = entry.named_stage(path).or_else(|| Some((entry.default_stage()?, path)))
        else {
            let error = match kind {
                Kind::Rest => GatewayError::Forbidden(format!("no such stage; there is {}", entry.stages())),
                _ => GatewayError::NotFound {
                    hint: Some(format!("no such stage; there is {}", entry.stages())),
                },
            };
            return Err(Lost::in_api(&entry.api, error));
        };
        let way = Way { entry, stage, path, base_path: "", custom_domain: false };
        way.go(asked).ok_or_else(|| Lost::in_api(&entry.api, not_found()))
    }

    /// The best route of all APIs; of equals the first.
    fn among_all(&self, asked: Asked<'_>) -> Result<Located, Lost> {
        let mut best: Option<(Rank, Located)> = None;
        let asked_of =
            |entry: &&Entry| entry.api.kind != Kind::FunctionUrl && !entry.api.execute_api_disabled;
        for entry in self.entries.iter().filter(asked_of) {
            let named = entry.named_stage(asked.path);
            let ways = [named, (!entry.api.stages.is_empty()).then_some((0, asked.path))];
            for (stage, path) in ways.into_iter().flatten() {
                let way = Way { entry, stage, path, base_path: "", custom_domain: false };
                let Some((rank, located)) = way.ranked(asked) else { continue };
                if best.as_ref().is_none_or(|(former, _)| rank < *former) {
                    best = Some((rank, located));
                }
                break;
            }
        }
        if let Some((_, located)) = best {
            return Ok(located);
        }
        let kinds = self.entries.iter().filter(asked_of).map(|entry| entry.api.kind);
        let kinds: BTreeSet<Kind> = kinds.filter(|kind| *kind != Kind::WebSocket).collect();
        let kind = kinds.first().copied().filter(|_| kinds.len() == 1);
        let mut meant = self.entries.iter().filter(|entry| Some(entry.api.kind) == kind);
        match (meant.next(), meant.next()) {
            (Some(entry), None) => Err(Lost::in_api(&entry.api, not_found())),
            _ => Err(Lost::among(kind.unwrap_or(Kind::Http))),
        }
    }

    fn named(&self, kinds: &[Kind], name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| {
            kinds.contains(&entry.api.kind)
                && (entry.api.id.eq_ignore_ascii_case(name) || entry.api.name.eq_ignore_ascii_case(name))
        })
    }

    fn names(&self, kinds: &[Kind]) -> Vec<String> {
        let of_kind = self.entries.iter().filter(|entry| kinds.contains(&entry.api.kind));
        of_kind.map(|entry| entry.api.name.clone()).collect()
    }
}

impl Entry {
    fn stage(&self, name: &str) -> Option<usize> {
        self.api.stages.iter().position(|stage| stage.name == name)
    }

    fn default_stage(&self) -> Option<usize> {
        match self.api.kind {
            Kind::FunctionUrl | Kind::LoadBalancer => Some(0).filter(|_| !self.api.stages.is_empty()),
            _ => self.stage(DEFAULT_STAGE),
        }
    }

    /// The stage that the first segment names, and the path after it.
    fn named_stage<'a>(&self, path: &'a str) -> Option<(usize, &'a str)> {
        if matches!(self.api.kind, Kind::FunctionUrl | Kind::LoadBalancer) {
            return None;
        }
        let (first, rest) = first_segment(path.strip_prefix('/')?);
        let stage = self.stage(first).filter(|stage| !self.api.stages[*stage].is_default())?;
        Some((stage, rest))
    }

    fn stages(&self) -> String {
        self.api.stages.iter().map(|stage| format!("`{}`", stage.name)).collect::<Vec<_>>().join(", ")
    }
}

impl Way<'_> {
    fn go(&self, asked: Asked<'_>) -> Option<Located> {
        self.ranked(asked).map(|(_, located)| located)
    }

    fn ranked(&self, asked: Asked<'_>) -> Option<(Rank, Located)> {
        let Entry { api, table } = self.entry;
        let path = if self.path.is_empty() { "/" } else { self.path };
        if api.kind == Kind::WebSocket {
            let meant = asked.upgrade || path.starts_with("/@connections/");
            let located = Located::WebSocket { api: api.clone(), stage: self.stage, path: path.to_owned() };
            // Named by its stage it is meant more than by nothing at all.
            let rank = if self.path.len() < asked.path.len() { Rank::Full } else { Rank::Default };
            return meant.then_some((rank, located));
        }
        let found = table.find(api, asked.method, without_port(asked.host), path)?;
        let stage: &Stage = &api.stages[self.stage];
        let full_path = match api.kind {
            _ if self.custom_domain && self.base_path.is_empty() => path.to_owned(),
            _ if self.custom_domain => format!("/{}{path}", self.base_path),
            Kind::Rest => format!("/{}{path}", stage.name),
            Kind::Http if !stage.is_default() => format!("/{}{path}", stage.name),
            _ => path.to_owned(),
        };
        let path = match api.kind {
            Kind::Rest => format!("/{}", path.trim_start_matches('/')),
            _ => path.to_owned(),
        };
        let matched = Matched {
            api: api.clone(),
            stage: self.stage,
            route: found.route,
            path,
            full_path,
            parameters: found.parameters,
            custom_domain: self.custom_domain,
        };
        Some((found.rank, Located::Route(matched)))
    }
}

impl Lost {
    /// Among all APIs of a kind.
    fn among(kind: Kind) -> Self {
        Self { kind, api: None, error: not_found() }
    }

    fn in_api(api: &Arc<Api>, error: GatewayError) -> Self {
        Self { kind: api.kind, api: Some(api.clone()), error }
    }
}

fn not_found() -> GatewayError {
    GatewayError::NotFound { hint: None }
}

fn kinds_of(service: &str) -> Option<&'static [Kind]> {
    match service {
        "execute-api" => Some(&[Kind::Http, Kind::Rest, Kind::WebSocket]),
        "lambda-url" => Some(&[Kind::FunctionUrl]),
        "elb" => Some(&[Kind::LoadBalancer]),
        _ => None,
    }
}

/// `a/b/c` -> `a` and `/b/c`.
fn first_segment(path: &str) -> (&str, &str) {
    path.find('/').map_or((path, ""), |slash| path.split_at(slash))
}

/// What follows the base path; `None` if the path is not below it.
fn below<'a>(path: &'a str, base_path: &str) -> Option<&'a str> {
    if base_path.is_empty() {
        return Some(path);
    }
    let rest = path.strip_prefix('/')?.strip_prefix(base_path)?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Domain, Integration, PayloadVersion, Route};

    fn api(kind: Kind, name: &str, stages: &[&str], keys: &[&str]) -> Api {
        let mut api = Api::new(&format!("{}id", name.to_lowercase()), name, kind);
        api.stages = stages.iter().map(|name| Stage::named(name)).collect();
        for key in keys {
            let (method, path) = key.split_once(' ').unwrap_or(("ANY", key));
            api.routes.push(Route::new(method, path, Integration::function("f", PayloadVersion::V2)));
        }
        api
    }

    fn directory() -> Directory {
        let mut shop = api(Kind::Rest, "Shop", &["Prod", "Test"], &["GET /items", "ANY /{proxy+}"]);
        shop.domains.push(Domain { host: "shop.local".into(), base_path: "v1".into(), stage: "Test".into() });
        let web = api(Kind::Http, "Web", &["$default", "dev"], &["GET /items", "GET /web"]);
        let url = api(Kind::FunctionUrl, "Hello_World", &["$default"], &["$default"]);
        let chat = api(Kind::WebSocket, "Chat", &["live"], &["$connect"]);
        Directory::new(&[Arc::new(shop), Arc::new(web), Arc::new(url), Arc::new(chat)])
    }

    fn ask(host: &str, path: &str) -> String {
        let asked = Asked { method: "GET", host, path, upgrade: path.contains("live") };
        match directory().locate(asked) {
            Ok(Located::Route(m)) => {
                format!("{} {} {} {} {}", m.api.name, m.stage().name, m.route().key(), m.path, m.full_path)
            }
            Ok(Located::WebSocket { api, stage, path }) => {
                format!("{} {} {path}", api.name, api.stages[stage].name)
            }
            Err(lost) => format!("{:?} {:?}", lost.kind, lost.error),
        }
    }

    #[test]
    fn every_address_leads_to_its_api() {
        for (host, path, expected) in [
            ("localhost:3000", "/items", "Shop Prod GET /items /items /Prod/items"),
            ("localhost:3000", "/Test/items", "Shop Test GET /items /items /Test/items"),
            ("localhost:3000", "/web", "Web $default GET /web /web /web"),
            ("localhost:3000", "/dev/web", "Web dev GET /web /web /dev/web"),
            ("localhost", "/live", "Chat live /"),
            ("shopid.execute-api.localhost:3000", "/Prod/items", "Shop Prod GET /items /items /Prod/items"),
            (
                "shopid.execute-api.localhost",
                "/Nope/items",
                "Rest Forbidden(\"no such stage; there is `Prod`, `Test`\")",
            ),
            ("WEB.execute-api.localhost", "/items", "Web $default GET /items /items /items"),
            ("web.execute-api.us-east-1.amazonaws.com", "/dev/items", "Web dev GET /items /items /dev/items"),
            ("web.execute-api.localhost", "/nothing", "Http NotFound { hint: None }"),
            ("hello_world.lambda-url.localhost", "/a%20b", "Hello_World $default $default /a%20b /a%20b"),
            ("localhost", "/_aws/lambda-url/Hello_World", "Hello_World $default $default / /"),
            ("localhost", "/_aws/execute-api/shopid/Prod/items", "Shop Prod GET /items /items /Prod/items"),
            ("shop.local", "/v1/items", "Shop Test GET /items /items /v1/items"),
            ("shop.local", "/v2/items", "Rest Forbidden(\"no base path of the custom domain fits\")"),
        ] {
            assert_eq!(ask(host, path), expected, "{host}{path}");
        }
    }
}
