//! `function.yaml`: the *Properties* of a SAM `AWS::Serverless::Function`, at the top level.
//!
//! What is not supported is never dropped in silence: a property that SAM knows is reported as
//! ignored, one that nobody knows as a mistake.

use std::path::{Path, PathBuf};

use super::discover::Problem;
use super::nearest::hint;
use super::properties::Reader;
use super::template::sam::{FUNCTION, FunctionUrl, RouteEvent, read_events};
use super::template::{Builder, Resource, Status};
use super::yaml::{self, Node, Value};
use crate::function::Configuration;

/// Properties that are followed; of a template's, all others are told to be ignored.
const SUPPORTED: [&str; 10] = [
    "Description",
    "Environment",
    "Events",
    "FunctionUrlConfig",
    "Handler",
    "Layers",
    "LoggingConfig",
    "MemorySize",
    "Runtime",
    "Timeout",
];

/// What the file says.
#[derive(Debug, Default)]
pub struct Described {
    pub configuration: Configuration,
    pub surroundings: Surroundings,
}

/// What it says of everything around the function.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Surroundings {
    /// Routes that it asks for; the ones of the convention count only if there are none.
    pub routes: Vec<RouteEvent>,
    pub url: Option<FunctionUrl>,
    /// Absolute, the first one lowest; those that are not there too.
    pub layers: Vec<PathBuf>,
}

/// What the file describes; defaults where it says nothing or does not exist.
pub fn read(path: &Path, function: &str, problems: &mut Vec<Problem>) -> Described {
    let mut reader = Reader::new(path, problems, Configuration::default());
    let mut surroundings = Surroundings::default();
    match std::fs::read_to_string(path) {
        Ok(text) => surroundings = file(&text, path, function, &mut reader),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => reader.error(None, format!("cannot be read: {error}")),
    }
    Described { configuration: reader.configuration, surroundings }
}

/// What a text says that stands nowhere.
#[cfg(any(test, fuzzing))]
pub fn read_text(text: &str, path: &Path, function: &str) -> Surroundings {
    file(text, path, function, &mut Reader::new(path, &mut Vec::new(), Configuration::default()))
}

fn file(text: &str, path: &Path, function: &str, reader: &mut Reader<'_>) -> Surroundings {
    let mut surroundings = Surroundings::default();
    let node = match yaml::parse(text) {
        Ok(Some(node)) if !node.is_null() => node,
        Ok(_) => return surroundings,
        Err(error) => {
            reader.error(Some(error.line), format!("is not valid YAML: {}", error.text));
            return surroundings;
        }
    };
    let Some(properties) = node.mapping() else {
        reader.error(Some(node.line), "must be a map of properties, such as `Timeout: 10`".into());
        return surroundings;
    };
    for (key, value) in properties {
        let Some(name) = key.text() else {
            reader.error(Some(key.line), "a property's name must be plain text".into());
            continue;
        };
        match name {
            _ if reader.property(name, value) => {}
            "Layers" => surroundings.layers = layers(value, path, reader),
            "Events" | "FunctionUrlConfig" => {}
            _ if FUNCTION.iter().any(|(known, ..)| *known == name) => {
                reader.warning(key.line, format!("`{name}` is ignored: handlerd does not support it yet"));
            }
            _ => {
                let known = SUPPORTED.into_iter().chain(FUNCTION.iter().map(|(known, ..)| *known));
                let hint = hint(name, known);
                reader.warning(
                    key.line,
                    format!("`{name}` is no property of AWS::Serverless::Function; it is ignored{hint}"),
                );
            }
        }
    }
    let resource = resource(function, &node);
    let mut builder = Builder { path: path.to_owned(), ..Builder::default() };
    surroundings.routes = read_events(&resource, function, &mut builder);
    surroundings.url = FunctionUrl::read(&resource, &mut builder);
    reader.take(builder.reading.problems);
    for finding in builder.reading.findings {
        if finding.status != Status::Supported {
            // What cannot be served has been called an error already.
            let text = format!("`{}`: {}", finding.property, finding.text);
            if !finding.text.contains("see the problems") {
                reader.warning(finding.line, text);
            }
        }
    }
    surroundings
}

/// The function as a template would declare it.
fn resource(function: &str, properties: &Node) -> Resource {
    Resource {
        logical_id: function.to_owned(),
        kind: "AWS::Serverless::Function".to_owned(),
        line: properties.line,
        properties: properties.clone(),
        physical_id: function.to_owned(),
        arn: String::new(),
    }
}

/// Folders, meant from the function's own or from the handlers folder.
fn layers(value: &Node, path: &Path, reader: &mut Reader<'_>) -> Vec<PathBuf> {
    let Value::Sequence(items) = &value.value else {
        reader.expected("Layers", value, "a list of folders");
        return Vec::new();
    };
    let own = path.parent().unwrap_or(Path::new("."));
    let handlers = own.parent().unwrap_or(own);
    let mut found = Vec::new();
    for item in items {
        let Some(text) = item.text().filter(|text| !text.is_empty()) else {
            reader.expected("Layers", item, "a list of folders (intrinsics need a whole template)");
            continue;
        };
        let places = [own, handlers].map(|place| {
            let layer = place.join(text);
            std::path::absolute(&layer).unwrap_or(layer)
        });
        if let Some(layer) = places.iter().find(|layer| layer.is_dir()) {
            found.push(layer.clone());
            continue;
        }
        let [own, handlers] = &places;
        let text = match places.iter().find(|layer| layer.is_file()) {
            Some(file) => {
                format!("`Layers`: `{}` is a file\nhint: unpack it and name the folder", file.display())
            }
            None if text.starts_with("arn:") => {
                format!(
                    "`Layers`: `{text}` cannot be fetched\nhint: name a folder that holds a folder `python`"
                )
            }
            None => format!(
                "`Layers`: there is no folder `{text}`, neither as {} nor as {}",
                own.display(),
                handlers.display()
            ),
        };
        reader.error(Some(item.line), text);
        // Watched for: it may come.
        found.extend(places);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::discover::Severity;
    use super::*;

    fn read_text(text: &str) -> (Configuration, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("function.yaml");
        std::fs::write(&path, text).unwrap();
        let mut problems = Vec::new();
        let configuration = read(&path, "hello", &mut problems).configuration;
        let prefix = format!("{}/", folder.path().display());
        (configuration, problems.iter().map(|problem| problem.to_string().replace(&prefix, "")).collect())
    }

    #[test]
    fn reads_what_it_supports() {
        let (configuration, problems) = read_text(
            "Handler: app.main\nRuntime: python3.12\nTimeout: 10\nMemorySize: 256\nDescription: x\n\
             Environment:\n  Variables:\n    TABLE: items\n    COUNT: 5\n    EMPTY:\n\
             LoggingConfig:\n  LogFormat: JSON\n  ApplicationLogLevel: DEBUG\n",
        );
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(configuration.handler, "app.main");
        assert_eq!(configuration.runtime.as_deref(), Some("python3.12"));
        assert_eq!((configuration.timeout.as_secs(), configuration.memory_mb), (10, 256));
        let variables: Vec<_> =
            configuration.environment.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(variables, [("TABLE", "items"), ("COUNT", "5"), ("EMPTY", "")]);
        assert_eq!(configuration.logging.application_level.as_deref(), Some("DEBUG"));
    }

    #[test]
    fn says_what_it_does_not_support() {
        let (configuration, problems) = read_text("Timout: 5\nTracing: Active\nTimeout: 0\nWidth: 3\n");
        assert_eq!(configuration.timeout.as_secs(), 3);
        assert_eq!(
            problems,
            [
                "function.yaml:1: `Timout` is no property of AWS::Serverless::Function; it is ignored\n\
                 hint: did you mean `Timeout`?",
                "function.yaml:2: `Tracing` is ignored: handlerd does not support it yet",
                "function.yaml:3: `Timeout` must be a whole number of seconds from 1 to 900, not `0`",
                "function.yaml:4: `Width` is no property of AWS::Serverless::Function; it is ignored",
            ]
        );
    }

    #[test]
    fn refuses_what_lambda_refuses() {
        for (text, expected) in [
            ("Environment:\n  Variables:\n    AWS_REGION: x\n", "`AWS_REGION` is reserved"),
            ("Environment:\n  Variables:\n    1A: x\n", "not a name that Lambda allows"),
            ("Environment:\n  Variables:\n    T: !Ref Table\n", "not a name that Lambda allows"),
            ("Environment:\n  Variables:\n    TT: !Ref Table\n", "not `!Ref`"),
            ("Runtime: nodejs20.x\n", "must be a Python runtime"),
            ("MemorySize: 64\n", "from 128 to 10240"),
            ("- a\n", "must be a map"),
            ("A: [\n", "is not valid YAML"),
            ("LoggingConfig:\n  ApplicationLogLevel: INFO\n", "needs `LogFormat: JSON`"),
        ] {
            let (_, problems) = read_text(text);
            assert!(problems.iter().any(|problem| problem.contains(expected)), "{text}: {problems:?}");
        }
        let long = format!("Environment:\n  Variables:\n    LONG: {}\n", "x".repeat(4096));
        assert!(read_text(&long).1[0].contains("Lambda's limit is 4096"));
    }

    #[test]
    fn events_and_the_url_are_read_as_in_a_template() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("function.yaml");
        std::fs::write(
            &path,
            "Events:\n  List: {Type: HttpApi, Properties: {Path: /items, Method: get}}\n  Hourly: {Type: Schedule}\n\
             FunctionUrlConfig: {AuthType: NONE, InvokeMode: RESPONSE_STREAM}\n",
        )
        .unwrap();
        let mut problems = Vec::new();
        let Surroundings { routes, url, .. } = read(&path, "hello", &mut problems).surroundings;
        let [list] = &routes[..] else { panic!("{routes:?}") };
        assert_eq!((list.route.key().as_str(), list.route.function()), ("GET /items", Some("hello")));
        assert_eq!((list.route.source.path.as_path(), list.route.source.line), (path.as_path(), Some(2)));
        assert!(url.unwrap().streams);
        let [problem] = &problems[..] else { panic!("{problems:?}") };
        assert_eq!((problem.severity, problem.line), (Severity::Warning, Some(3)));
        assert!(problem.text.contains("Schedule: not served yet"), "{problem}");
    }

    #[test]
    fn layers_are_folders_beside_the_function_or_within_it() {
        let folder = tempfile::tempdir().unwrap();
        for path in ["hello/own", "shared", "hello/both", "both"] {
            std::fs::create_dir_all(folder.path().join(path)).unwrap();
        }
        std::fs::write(folder.path().join("packed.zip"), "").unwrap();
        let path = folder.path().join("hello/function.yaml");
        let layers = |text: &str| {
            std::fs::write(&path, text).unwrap();
            let mut problems = Vec::new();
            let layers = read(&path, "hello", &mut problems).surroundings.layers;
            (layers, problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
        };
        let (found, problems) = layers("Layers: [own, shared, both]\n");
        assert_eq!(problems, "");
        assert_eq!(found, ["hello/own", "shared", "hello/both"].map(|layer| folder.path().join(layer)));
        for (text, expected) in [
            ("Layers: [gone]\n", "there is no folder `gone`"),
            ("Layers: [packed.zip]\n", "unpack it"),
            ("Layers: ['arn:aws:lambda:eu-west-1:1:layer:x:1']\n", "cannot be fetched"),
            ("Layers: shared\n", "must be a list of folders"),
            ("Layers: [!Ref Shared]\n", "intrinsics need a whole template"),
        ] {
            let (_, problems) = layers(text);
            assert!(problems.contains(expected), "{text}: {problems}");
        }
    }
}
