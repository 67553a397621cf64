//! APIs that nobody has written down: a function of the handlers folder has the routes of an HTTP
//! API, `ANY /NAME` and `ANY /NAME/{proxy+}`, with payload format 2.0, unless its `function.yaml`
//! asks for others. Those are routes of two more APIs, which all functions of the folder share.

use std::collections::BTreeMap;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::function_yaml::Surroundings;
use super::template::{Builder, sam};
use super::{Deployed, Problem};
use crate::api::{Api, DEFAULT_STAGE, Integration, Kind, PayloadVersion, Route, Stage};
use crate::function::FunctionName;

/// The APIs of a handlers folder, the one of the convention first.
pub fn apis(
    handlers: &Path,
    functions: &BTreeMap<FunctionName, Deployed>,
    surroundings: &BTreeMap<FunctionName, Surroundings>,
) -> (Vec<Api>, Vec<Problem>) {
    let folder = std::path::absolute(handlers).unwrap_or_else(|_| handlers.to_owned());
    let origin = folder.to_string_lossy();
    let mut api = Api::new(&id(&origin), "handlers", Kind::Http);
    api.stages.push(Stage::named(DEFAULT_STAGE));
    let mut urls = Vec::new();
    let mut events = Vec::new();
    for name in functions.keys() {
        let around = surroundings.get(name);
        let asked = around.map(|around| around.routes.as_slice()).unwrap_or_default();
        events.extend(asked.iter().cloned());
        if let Some(url) = around.and_then(|around| around.url.as_ref()) {
            let id = letters(&format!("{origin}#{name}Url"), 32);
            urls.push(url.api(&id, name.as_str(), name.as_str()));
        }
        if asked.is_empty() {
            for path in [format!("/{name}"), format!("/{name}/{{proxy+}}")] {
                let integration = Integration::function(name.as_str(), PayloadVersion::V2);
                api.routes.push(Route::new("ANY", &path, integration));
            }
        }
    }
    let mut builder = Builder { path: folder.clone(), ..Builder::default() };
    sam::read_implicit(&events, &origin, &mut builder);
    let apis = [vec![api], builder.reading.apis, urls].concat();
    (apis, builder.reading.problems)
}

/// Ten letters and digits, as API ids are; the same for the same origin.
pub fn id(origin: &str) -> String {
    letters(origin, 10)
}

/// So many lower-case letters and digits; the same for the same origin.
pub fn letters(origin: &str, count: usize) -> String {
    let alphabet = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let mut letters = String::with_capacity(count);
    for round in 0.. {
        let more = if round == 0 { origin.to_owned() } else { format!("{origin}#{round}") };
        for byte in Sha256::digest(more.as_bytes()) {
            if letters.len() == count {
                return letters;
            }
            letters.push(char::from(alphabet[usize::from(byte) % alphabet.len()]));
        }
    }
    letters
}

#[cfg(test)]
mod tests {
    use super::super::Sources;
    use std::collections::HashSet;
    use std::sync::Arc;

    use super::super::{Deployment, Discovery, Severity};
    use super::*;

    struct Handlers(tempfile::TempDir);

    impl Handlers {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn write(&self, function: &str, yaml: &str) {
            let folder = self.0.path().join(function);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("lambda_function.py"), "").unwrap();
            std::fs::write(folder.join("function.yaml"), yaml).unwrap();
        }
    }

    fn routes(deployment: &Deployment) -> Vec<String> {
        let lines = |api: &Arc<Api>| {
            let (name, stage) = (&api.name, &api.stages[0].name);
            let line = |route: &Route| {
                format!("{name} {stage}: {} -> {}", route.key(), route.function().unwrap_or("nothing"))
            };
            api.routes.iter().map(line).collect::<Vec<_>>()
        };
        deployment.apis.iter().flat_map(lines).collect()
    }

    const LIST: &str = "Events:\n  List: {Type: Api, Properties: {Path: /items, Method: get}}\n";

    #[test]
    fn a_function_has_the_routes_that_it_asks_for_or_those_of_the_convention() {
        let handlers = Handlers::new();
        handlers.write("a", LIST);
        handlers.write(
            "b",
            "Events:\n  All: {Type: HttpApi}\n  Add: {Type: Api, Properties: {Path: /items, Method: post}}\n",
        );
        handlers.write("c", "FunctionUrlConfig: {AuthType: NONE}\n");
        handlers.write("d", "Events:\n  Hourly: {Type: Schedule}\n");
        let deployment = Discovery::new(&Sources::of_handlers(handlers.0.path())).all();
        assert_eq!(
            routes(&deployment),
            [
                "handlers $default: ANY /c -> c",
                "handlers $default: ANY /c/{proxy+} -> c",
                "handlers $default: ANY /d -> d",
                "handlers $default: ANY /d/{proxy+} -> d",
                "ServerlessRestApi Prod: GET /items -> a",
                "ServerlessRestApi Prod: POST /items -> b",
                "ServerlessHttpApi $default: $default -> b",
                "c $default: $default -> c",
            ]
        );
        let ids: HashSet<&str> = deployment.apis.iter().map(|api| api.id.as_str()).collect();
        assert_eq!(ids.len(), 4);
    }

    #[test]
    fn what_two_functions_ask_for_is_said_as_long_as_it_is_so() {
        let handlers = Handlers::new();
        handlers.write("a", LIST);
        handlers.write("b", LIST);
        let mut discovery = Discovery::new(&Sources::of_handlers(handlers.0.path()));
        let before = discovery.all();
        let [problem] = &before.problems[..] else { panic!("{:?}", before.problems) };
        assert_eq!((problem.severity, problem.line), (Severity::Error, Some(2)));
        assert!(
            problem.path.ends_with("b/function.yaml") && problem.text.contains("asked for twice"),
            "{problem}"
        );
        // Nobody is broken by it: the first one is served.
        assert_eq!(routes(&before), ["ServerlessRestApi Prod: GET /items -> a"]);

        handlers.write("a", "Timeout: 5\n");
        let after = discovery.some_after(&before, &HashSet::from(["a".to_owned()]));
        assert_eq!(after.problems, []);
        assert_eq!(routes(&after).last().unwrap(), "ServerlessRestApi Prod: GET /items -> b");
        handlers.write("c", "");
        let later = discovery.some_after(&after, &HashSet::from(["c".to_owned()]));
        assert_eq!(routes(&later).last().unwrap(), "ServerlessRestApi Prod: GET /items -> b");
    }

    #[test]
    fn an_event_that_names_an_api_needs_a_template() {
        let handlers = Handlers::new();
        handlers.write("a", "Events:\n  X: {Type: HttpApi, Properties: {ApiId: Shop}}\n");
        let deployment = Discovery::new(&Sources::of_handlers(handlers.0.path())).all();
        assert!(deployment.problems[0].text.contains("takes a whole template"), "{:?}", deployment.problems);
    }

    #[test]
    fn letters_are_the_same_for_the_same_origin() {
        assert_eq!(id("x"), letters("x", 40)[..10]);
        assert_eq!(letters("x", 40).len(), 40);
        assert_ne!(letters("x", 32), letters("y", 32));
    }

    #[test]
    fn what_a_layer_holds_belongs_to_the_version() {
        let handlers = Handlers::new();
        handlers.write("a", "Layers: [shared]\n");
        let library = handlers.0.path().join("shared/python/library.py");
        std::fs::create_dir_all(library.parent().unwrap()).unwrap();
        std::fs::write(&library, "1").unwrap();
        let mut discovery = Discovery::new(&Sources::of_handlers(handlers.0.path()));
        let before = discovery.all();
        let function = |deployment: &Deployment| deployment.functions["a"].function().unwrap().clone();
        assert_eq!(function(&before).layers, [handlers.0.path().join("shared")]);
        assert_eq!(function(&before).layer_paths("python3.12"), [handlers.0.path().join("shared/python")]);
        assert_eq!(discovery.territory().functions, [(handlers.0.path().join("shared"), "a".to_owned())]);
        assert!(discovery.folders().contains(&library.parent().unwrap().to_owned()));
        std::fs::write(&library, "2").unwrap();
        let after = discovery.some_after(&before, &HashSet::from(["a".to_owned()]));
        assert_ne!(function(&before).code.sha256, function(&after).code.sha256);
        assert_eq!(function(&before).code.size, function(&after).code.size);
    }
}
