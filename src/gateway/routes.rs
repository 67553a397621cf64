//! Method and path -> route, as each kind of API does it.
//!
//! REST and HTTP APIs: a tree of path segments; static beats `{param}` beats `{proxy+}`, the method
//! itself beats `ANY`. A place that lacks the method is left again: another one further up, that has
//! it, serves the request. A load balancer's rules are tried in order.

use std::borrow::Cow;

use foldhash::HashMap;
use percent_encoding::percent_decode_str;

use crate::api::{Api, Kind};

/// What `ANY` stands for in a REST API.
const REST_METHODS: [&str; 7] = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"];

/// An API's routes, ready for looking up.
#[derive(Debug, Default)]
pub struct Table {
    root: Node,
    /// `$default`
    default: Option<usize>,
    /// A load balancer's, in order.
    rules: Vec<Rule>,
    /// A WebSocket API's, by route key.
    keys: HashMap<String, usize>,
}

/// A place in the tree.
#[derive(Debug, Default)]
struct Node {
    fixed: HashMap<String, Node>,
    variable: Option<Box<Node>>,
    here: Methods,
    /// `{name+}` below this place.
    greedy: Methods,
}

#[derive(Debug, Default)]
struct Methods {
    by_name: HashMap<String, usize>,
    any: Option<usize>,
}

#[derive(Debug)]
struct Rule {
    method: Option<String>,
    hosts: Vec<String>,
    path: String,
    route: usize,
}

/// A route and what its variables hold.
#[derive(Debug, PartialEq, Eq)]
pub struct Found {
    pub route: usize,
    pub parameters: Vec<(String, String)>,
    pub rank: Rank,
}

/// How closely a request was meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    Full,
    Greedy,
    Default,
}

impl Table {
    pub fn new(api: &Api) -> Self {
        let mut table = Self::default();
        for (index, route) in api.routes.iter().enumerate() {
            match api.kind {
                Kind::WebSocket => drop(table.keys.insert(route.path.clone(), index)),
                Kind::LoadBalancer => table.rules.push(Rule {
                    method: Some(route.method.clone()).filter(|method| method != "ANY"),
                    hosts: route.hosts.clone(),
                    path: route.path.clone(),
                    route: index,
                }),
                Kind::Http | Kind::Rest | Kind::FunctionUrl if !route.path.starts_with('/') => {
                    table.default = Some(index);
                }
                Kind::Http | Kind::Rest | Kind::FunctionUrl => {
                    table.root.insert(&route.method, &route.path, index)
                }
            }
        }
        table
    }

    /// `path`: as sent, without the stage.
    pub fn find(&self, api: &Api, method: &str, host: &str, path: &str) -> Option<Found> {
        match api.kind {
            Kind::WebSocket => None,
            Kind::LoadBalancer => {
                let rule = self.rules.iter().find(|rule| rule.matches(method, host, path))?;
                let rank = match rule.path.as_str() {
                    "*" | "/*" => Rank::Default,
                    path if path.contains('*') => Rank::Greedy,
                    _ => Rank::Full,
                };
                Some(Found { route: rule.route, parameters: Vec::new(), rank })
            }
            Kind::Rest => {
                let any = REST_METHODS.contains(&method);
                let path = format!("/{}", path.trim_start_matches('/'));
                self.in_tree(api, method, any, path.trim_end_matches('/'))
            }
            // Decoded before it is taken apart: `%2F` is a slash here.
            Kind::Http | Kind::FunctionUrl => self.in_tree(api, method, true, &decode(path)).or_else(|| {
                Some(Found { route: self.default?, parameters: Vec::new(), rank: Rank::Default })
            }),
        }
    }

    /// A WebSocket API's route of this key; the other keys fall to `$default`.
    pub fn key(&self, key: &str) -> Option<usize> {
        self.keys.get(key).copied()
    }

    fn in_tree(&self, api: &Api, method: &str, any: bool, path: &str) -> Option<Found> {
        // `/a/b` is three steps, of which the first is the root itself.
        let segments: Vec<&str> = match path.strip_prefix('/').unwrap_or(path) {
            "" => Vec::new(),
            path => path.split('/').collect(),
        };
        let mut values = Vec::new();
        let (route, greedy) = self.root.find(method, any, &segments, &mut values)?;
        let names = api.routes[route].path.split('/').filter_map(variable);
        // Without values nobody looks for names.
        let parameters =
            values.into_iter().zip(names).map(|(value, name)| (name.to_owned(), value)).collect();
        Some(Found { route, parameters, rank: if greedy { Rank::Greedy } else { Rank::Full } })
    }
}

impl Node {
    fn insert(&mut self, method: &str, path: &str, route: usize) {
        let mut node = self;
        for segment in path.split('/').filter(|segment| !segment.is_empty()) {
            match variable(segment) {
                Some(_) if segment.ends_with("+}") => return node.greedy.insert(method, route),
                Some(_) => node = node.variable.get_or_insert_default(),
                None => node = node.fixed.entry(segment.to_owned()).or_default(),
            }
        }
        // A slash at the end counts for an HTTP API; of a REST API's paths it has been taken off.
        if path.len() > 1 && path.ends_with('/') {
            node = node.fixed.entry(String::new()).or_default();
        }
        node.here.insert(method, route);
    }

    /// The route, and whether a greedy variable took the rest.
    fn find(
        &self,
        method: &str,
        any: bool,
        segments: &[&str],
        values: &mut Vec<String>,
    ) -> Option<(usize, bool)> {
        let Some((first, rest)) = segments.split_first() else {
            return self.here.get(method, any).map(|route| (route, false));
        };
        if let Some(found) = self.fixed.get(*first).and_then(|node| node.find(method, any, rest, values)) {
            return Some(found);
        }
        if let Some(node) = self.variable.as_ref().filter(|_| !first.is_empty()) {
            values.push((*first).to_owned());
            if let Some(found) = node.find(method, any, rest, values) {
                return Some(found);
            }
            values.pop();
        }
        let remainder = segments.join("/");
        let route = self.greedy.get(method, any).filter(|_| !remainder.is_empty())?;
        values.push(remainder);
        Some((route, true))
    }
}

impl Methods {
    fn insert(&mut self, method: &str, route: usize) {
        match method {
            "ANY" => self.any = Some(route),
            method => drop(self.by_name.insert(method.to_owned(), route)),
        }
    }

    fn get(&self, method: &str, any: bool) -> Option<usize> {
        self.by_name.get(method).copied().or(self.any.filter(|_| any))
    }
}

impl Rule {
    fn matches(&self, method: &str, host: &str, path: &str) -> bool {
        self.method.as_deref().is_none_or(|wanted| wanted == method)
            && (self.hosts.is_empty()
                || self.hosts.iter().any(|pattern| {
                    wildcard(pattern.to_ascii_lowercase().as_bytes(), host.to_ascii_lowercase().as_bytes())
                }))
            && wildcard(self.path.as_bytes(), path.as_bytes())
    }
}

/// `*`: any number of characters, `?`: one.
pub fn wildcard(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where the last star was, and how far what it stands for went.
    let mut star = None;
    while t < text.len() {
        if p < pattern.len() && pattern[p] == b'*' {
            star = Some((p, t));
            p += 1;
        } else if p < pattern.len() && (pattern[p] == b'?' || pattern[p] == text[t]) {
            p += 1;
            t += 1;
        } else if let Some((at, taken)) = star {
            star = Some((at, taken + 1));
            p = at + 1;
            t = taken + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}

/// `{id}` and `{proxy+}` -> their names.
fn variable(segment: &str) -> Option<&str> {
    let name = segment.strip_prefix('{')?.strip_suffix('}')?;
    Some(name.strip_suffix('+').unwrap_or(name))
}

pub fn decode(text: &str) -> Cow<'_, str> {
    if text.contains('%') { percent_decode_str(text).decode_utf8_lossy() } else { text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Integration, PayloadVersion, Route};

    fn api(kind: Kind, keys: &[&str]) -> (Api, Table) {
        let mut api = Api::new("abc", "test", kind);
        for key in keys {
            let (method, path) = key.split_once(' ').unwrap_or(("ANY", key));
            api.routes.push(Route::new(method, path, Integration::function("f", PayloadVersion::V2)));
        }
        let table = Table::new(&api);
        (api, table)
    }

    /// Key and parameters, in one line.
    fn found(kind: Kind, keys: &[&str], request: &str) -> String {
        let (api, table) = api(kind, keys);
        let (method, path) = request.split_once(' ').unwrap();
        match table.find(&api, method, "localhost", path) {
            None => "-".to_owned(),
            Some(found) => {
                let values = found.parameters.iter().map(|(name, value)| format!(" {name}={value}"));
                api.routes[found.route].key() + &values.collect::<String>()
            }
        }
    }

    #[test]
    fn the_most_specific_route_wins() {
        let keys =
            ["GET /pets/dog/1", "GET /pets/dog/{id}", "GET /pets/{proxy+}", "ANY /{proxy+}", "$default"];
        for (request, expected) in [
            ("GET /pets/dog/1", "GET /pets/dog/1"),
            ("GET /pets/dog/2", "GET /pets/dog/{id} id=2"),
            ("GET /pets/cat/3", "GET /pets/{proxy+} proxy=cat/3"),
            ("POST /test/5", "ANY /{proxy+} proxy=test/5"),
            ("POST /pets/dog/1", "ANY /{proxy+} proxy=pets/dog/1"),
            ("GET /", "$default"),
        ] {
            assert_eq!(found(Kind::Http, &keys, request), expected, "{request}");
        }
    }

    #[test]
    fn an_http_api_decodes_first_and_minds_the_slash_at_the_end() {
        let keys = ["GET /a", "GET /items/{id}"];
        assert_eq!(found(Kind::Http, &keys, "GET /%61"), "GET /a");
        assert_eq!(found(Kind::Http, &keys, "GET /a/"), "-");
        assert_eq!(found(Kind::Http, &keys, "GET /items/x%20y"), "GET /items/{id} id=x y");
        assert_eq!(found(Kind::Http, &keys, "GET /items/x%2Fy"), "-");
        assert_eq!(found(Kind::Http, &keys, "GET /items/"), "-");
        assert_eq!(found(Kind::Http, &keys, "HEAD /a"), "-");
    }

    #[test]
    fn a_rest_api_keeps_what_is_encoded_and_ignores_the_slash_at_the_end() {
        let keys = ["GET /a", "GET /items/{id}", "GET /all/{proxy+}"];
        assert_eq!(found(Kind::Rest, &keys, "GET /a/"), "GET /a");
        assert_eq!(found(Kind::Rest, &keys, "GET //a"), "GET /a");
        assert_eq!(found(Kind::Rest, &keys, "GET /items/x%2Fy"), "GET /items/{id} id=x%2Fy");
        assert_eq!(found(Kind::Rest, &keys, "GET /all/a//b/"), "GET /all/{proxy+} proxy=a//b");
        assert_eq!(found(Kind::Rest, &keys, "GET /all/"), "-");
        assert_eq!(found(Kind::Rest, &["ANY /{proxy+}"], "TRACE /a"), "-");
    }

    #[test]
    fn what_lacks_the_method_falls_through() {
        let keys =
            ["GET /part1", "GET /part1/hardcoded-value", "GET /{param+}", "POST /test", "OPTIONS /{proxy+}"];
        assert_eq!(
            found(Kind::Rest, &keys, "GET /part1/random-value"),
            "GET /{param+} param=part1/random-value"
        );
        assert_eq!(found(Kind::Rest, &keys, "OPTIONS /test"), "OPTIONS /{proxy+} proxy=test");
        let keys = ["POST /admin", "ANY /{proxy+}"];
        assert_eq!(found(Kind::Rest, &keys, "GET /admin"), "ANY /{proxy+} proxy=admin");
    }

    #[test]
    fn names_of_variables_are_those_of_the_route() {
        let keys = ["GET /{id}/x", "POST /{name}/x", "GET /{a}/{b}/{rest+}"];
        assert_eq!(found(Kind::Http, &keys, "POST /1/x"), "POST /{name}/x name=1");
        assert_eq!(found(Kind::Http, &keys, "GET /1/2/3/4"), "GET /{a}/{b}/{rest+} a=1 b=2 rest=3/4");
    }

    #[test]
    fn a_load_balancers_rules_are_tried_in_order() {
        let keys = ["GET /img/*.png", "ANY /api/?", "ANY *"];
        assert_eq!(found(Kind::LoadBalancer, &keys, "GET /img/a/b.png"), "GET /img/*.png");
        assert_eq!(found(Kind::LoadBalancer, &keys, "POST /api/1"), "ANY /api/?");
        assert_eq!(found(Kind::LoadBalancer, &keys, "POST /api/12"), "*");
    }
}
