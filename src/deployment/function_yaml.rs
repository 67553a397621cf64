//! `function.yaml`: the *Properties* of a SAM `AWS::Serverless::Function`, at the top level.
//!
//! What is not supported is never dropped in silence: a property that SAM knows is reported as
//! ignored, one that nobody knows as a mistake.

use std::path::{Path, PathBuf};

use super::discover::Problem;
use super::layers::{self as published, Layer};
use super::nearest::hint;
use super::properties::Reader;
use super::template::sam::{FUNCTION, FunctionUrl, RouteEvent, read_events};
use super::template::{Builder, Origin, Resource, Status, logical_id};
use super::yaml::{self, Node, Value};
use crate::config::Account;
use crate::function::{Attached, Configuration};
use crate::trigger::Trigger;

/// Where a function of the handlers folder appears to be.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    pub account: &'a Account,
    /// Published layers lie below it.
    pub state_dir: &'a Path,
}

/// What the file says.
#[derive(Debug, Default)]
pub struct Described {
    pub configuration: Configuration,
    /// What stands beside it and is no part of a version.
    pub attached: Attached,
    pub surroundings: Surroundings,
}

/// What it says of everything around the function.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Surroundings {
    /// Routes that it asks for; the ones of the convention count only if there are none.
    pub routes: Vec<RouteEvent>,
    pub url: Option<FunctionUrl>,
    /// Some of which another function's may stand in the way of.
    pub triggers: Vec<Trigger>,
    /// Absolute, the first one lowest; those that are not there too.
    pub layers: Vec<PathBuf>,
    /// Those among them that are published versions which are not there yet.
    pub awaited: Vec<PathBuf>,
}

/// What the file describes; defaults where it says nothing or does not exist.
pub fn read(path: &Path, function: &str, place: Place<'_>, problems: &mut Vec<Problem>) -> Described {
    let mut reader = Reader::new(path, problems, Configuration::default());
    let mut surroundings = Surroundings::default();
    match std::fs::read_to_string(path) {
        Ok(text) => surroundings = file(&text, path, function, place, &mut reader),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => reader.error(None, format!("cannot be read: {error}")),
    }
    Described { configuration: reader.configuration, attached: reader.attached, surroundings }
}

/// One of its `Events`, by itself: what it comes to, and what the reader has to say.
pub fn read_event(
    event: &(Node, Node),
    path: &Path,
    function: &str,
    account: &Account,
) -> (Vec<RouteEvent>, Vec<Trigger>, Builder) {
    let map = |line, entries| Node { line, tag: None, value: Value::Mapping(entries) };
    let events = map(event.0.line, vec![event.clone()]);
    let node = map(event.0.line, vec![(Node::scalar("Events", event.0.line), events)]);
    let mut builder = Builder { path: path.to_owned(), ..Builder::default() };
    let origin = Origin { account: &account.id, region: &account.region, stack: None };
    let (routes, triggers) = read_events(&resource(function, &node), function, origin, &mut builder);
    (routes, triggers, builder)
}

/// What a text says that stands nowhere.
#[cfg(any(test, fuzzing))]
pub fn read_text(text: &str, path: &Path, function: &str) -> Surroundings {
    let account = Account { id: "123456789012".into(), region: "us-east-1".into() };
    let place = Place { account: &account, state_dir: Path::new("/nowhere") };
    file(text, path, function, place, &mut Reader::new(path, &mut Vec::new(), Configuration::default()))
}

fn file(text: &str, path: &Path, function: &str, place: Place<'_>, reader: &mut Reader<'_>) -> Surroundings {
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
            "Layers" => layers(value, path, place, reader, &mut surroundings),
            "Events" | "FunctionUrlConfig" => {}
            _ if FUNCTION.iter().any(|(known, ..)| *known == name) => {
                let why = FUNCTION.iter().find(|(known, ..)| *known == name).map_or("", |(.., why)| *why);
                reader.warning(key.line, format!("`{name}` is ignored: {}", why_ignored(name, why)));
            }
            _ => {
                let hint = hint(name, FUNCTION.iter().map(|(known, ..)| *known));
                reader.warning(
                    key.line,
                    format!("`{name}` is no property of AWS::Serverless::Function; it is ignored{hint}"),
                );
            }
        }
    }
    let resource = resource(function, &node);
    let mut builder = Builder { path: path.to_owned(), ..Builder::default() };
    let account = place.account;
    let place = Origin { account: &account.id, region: &account.region, stack: None };
    let (routes, triggers) = read_events(&resource, function, place, &mut builder);
    surroundings.routes = routes;
    surroundings.triggers = triggers;
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
        // As in the template that is exported of it.
        logical_id: logical_id(function),
        kind: "AWS::Serverless::Function".to_owned(),
        line: properties.line,
        properties: properties.clone(),
        physical_id: function.to_owned(),
        arn: String::new(),
    }
}

/// What is said of the place where a template's functions have it.
fn why_ignored<'a>(name: &str, why: &'a str) -> &'a str {
    match name {
        "CodeUri" | "InlineCode" => "the code is what stands in this folder",
        "FunctionName" => "the function is called as its folder",
        "PackageType" => "functions run from their folders",
        _ => why,
    }
}

/// Folders, meant from the function's own or from the handlers folder; or ARNs of published layers.
fn layers(
    value: &Node,
    path: &Path,
    place: Place<'_>,
    reader: &mut Reader<'_>,
    surroundings: &mut Surroundings,
) {
    let Value::Sequence(items) = &value.value else {
        return reader.expected("Layers", value, "a list of folders and ARNs");
    };
    let own = path.parent().unwrap_or(Path::new("."));
    let handlers = own.parent().unwrap_or(own);
    if items.len() > published::MOST {
        let text = format!("`Layers` has {} layers; Lambda allows {}", items.len(), published::MOST);
        reader.error(Some(value.line), text);
    }
    for item in items {
        let Some(text) = item.text().filter(|text| !text.is_empty()) else {
            reader.expected("Layers", item, "a list of folders and ARNs (intrinsics need a whole template)");
            continue;
        };
        match published::find(text, place.state_dir) {
            Some(Layer::Here(folder)) => {
                reader.configuration.layer_arns.push(text.to_owned());
                surroundings.layers.push(folder);
                continue;
            }
            Some(Layer::Missing { folder, reason }) => {
                reader.error(Some(item.line), format!("`Layers`: {reason}"));
                surroundings.layers.push(folder.clone());
                surroundings.awaited.push(folder);
                continue;
            }
            None => {}
        }
        let places = [own, handlers].map(|place| {
            let layer = place.join(text);
            std::path::absolute(&layer).unwrap_or(layer)
        });
        if let Some(layer) = places.iter().find(|layer| layer.is_dir()) {
            surroundings.layers.push(layer.clone());
            continue;
        }
        let [own, handlers] = &places;
        let text = match places.iter().find(|layer| layer.is_file()) {
            Some(file) => {
                format!("`Layers`: `{}` is a file\nhint: unpack it and name the folder", file.display())
            }
            None if text.starts_with("arn:") => format!(
                "`Layers`: `{text}` is no ARN of a layer version, such as \
                 `arn:aws:lambda:us-east-1:123456789012:layer:tools:1`"
            ),
            None => format!(
                "`Layers`: there is no folder `{text}`, neither as {} nor as {}",
                own.display(),
                handlers.display()
            ),
        };
        reader.error(Some(item.line), text);
        // Watched for: it may come.
        surroundings.layers.extend(places);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::discover::Severity;
    use super::*;
    use crate::function::RecursiveLoop;

    fn read_file(path: &Path, problems: &mut Vec<Problem>) -> Described {
        let account = Account { id: "123456789012".into(), region: "us-east-1".into() };
        let state_dir = path.ancestors().nth(2).unwrap().join(".handlerd");
        read(path, "hello", Place { account: &account, state_dir: &state_dir }, problems)
    }

    fn read_text(text: &str) -> (Configuration, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("function.yaml");
        std::fs::write(&path, text).unwrap();
        let mut problems = Vec::new();
        let configuration = read_file(&path, &mut problems).configuration;
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
        let (configuration, problems) = read_text("Timout: 5\nVpcConfig: {}\nTimeout: 0\nWidth: 3\n");
        assert_eq!(configuration.timeout.as_secs(), 3);
        assert_eq!(
            problems,
            [
                "function.yaml:1: `Timout` is no property of AWS::Serverless::Function; it is ignored\n\
                 hint: did you mean `Timeout`?",
                "function.yaml:2: `VpcConfig` is ignored: functions use the network of this machine",
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
            "Events:\n  List: {Type: HttpApi, Properties: {Path: /items, Method: get}}\n  Hourly: {Type: Schedule, Properties: {Schedule: rate(1 hour)}}\n  Mail: {Type: Cognito}\n\
             FunctionUrlConfig: {AuthType: NONE, InvokeMode: RESPONSE_STREAM}\n",
        )
        .unwrap();
        let mut problems = Vec::new();
        let Surroundings { routes, url, triggers, .. } = read_file(&path, &mut problems).surroundings;
        let names: Vec<&str> = triggers.iter().map(|trigger| trigger.name.as_str()).collect();
        assert_eq!(names, ["helloHourly"]);
        let [list] = &routes[..] else { panic!("{routes:?}") };
        assert_eq!((list.route.key().as_str(), list.route.function()), ("GET /items", Some("hello")));
        assert_eq!((list.route.source.path.as_path(), list.route.source.line), (path.as_path(), Some(2)));
        assert!(url.unwrap().streams);
        let [problem] = &problems[..] else { panic!("{problems:?}") };
        assert_eq!((problem.severity, problem.line), (Severity::Warning, Some(4)));
        assert!(problem.text.contains("Cognito: not served yet"), "{problem}");
    }

    #[test]
    fn what_stands_beside_a_function() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("function.yaml");
        let queue = "arn:aws:sqs:us-east-1:123456789012:dead";
        std::fs::write(
            &path,
            format!(
                "Role: arn:aws:iam::123456789012:role/x\nTags: {{team: a, empty: }}\nReservedConcurrentExecutions: 0\n\
                 DeadLetterQueue: {{Type: SQS, TargetArn: '{queue}'}}\nTracing: Active\nEphemeralStorage: {{Size: 1024}}\n\
                 SnapStart: {{ApplyOn: PublishedVersions}}\nRecursiveLoop: Allow\nAutoPublishAlias: live\n\
                 EventInvokeConfig:\n  MaximumEventAgeInSeconds: 60\n  MaximumRetryAttempts: 0\n  DestinationConfig:\n    \
                 OnSuccess: {{Destination: 'sqlite:results.db#results'}}\n    OnFailure: {{Type: SQS, Destination: '{queue}'}}\n"
            ),
        )
        .unwrap();
        let mut problems = Vec::new();
        let Described { configuration, attached, .. } = read_file(&path, &mut problems);
        assert_eq!(problems, []);
        assert_eq!(configuration.role.as_deref(), Some("arn:aws:iam::123456789012:role/x"));
        assert_eq!(configuration.dead_letter.as_deref(), Some(queue));
        assert!(configuration.traced && configuration.snap_start);
        assert_eq!(configuration.ephemeral_storage_mb, 1024);
        assert_eq!(attached.tags, [("team".into(), "a".into()), ("empty".into(), String::new())]);
        assert_eq!(
            (attached.reserved_concurrency, attached.auto_publish_alias.as_deref()),
            (Some(0), Some("live"))
        );
        assert_eq!(attached.recursive_loop, RecursiveLoop::Allow);
        let asynchronous = attached.asynchronous;
        assert_eq!(
            (asynchronous.maximum_age, asynchronous.maximum_retries),
            (Some(Duration::from_secs(60)), Some(0))
        );
        assert_eq!(asynchronous.on_success.unwrap().to_string(), "sqlite:results.db#results");
        assert_eq!(asynchronous.on_failure.unwrap().to_string(), queue);
    }

    #[test]
    fn what_cannot_stand_beside_a_function() {
        let destination =
            |text: &str| format!("EventInvokeConfig: {{DestinationConfig: {{OnFailure: {{{text}}}}}}}\n");
        for (text, expected) in [
            ("ReservedConcurrentExecutions: -1\n".to_owned(), "a whole number, 0 or more"),
            ("Tags: {'aws:x': y}\n".to_owned(), "does not begin with `aws:`"),
            ("Tags: [a]\n".to_owned(), "a map of names and texts"),
            (format!("Tags: {{a: {}}}\n", "x".repeat(257)), "at most 256 characters"),
            ("EphemeralStorage: {Size: 511}\n".to_owned(), "from 512 to 10240"),
            ("EphemeralStorage: 512\n".to_owned(), "a map such as `Size: 1024`"),
            ("SnapStart: {ApplyOn: All}\n".to_owned(), "`PublishedVersions` or `None`"),
            ("RecursiveLoop: Stop\n".to_owned(), "`Allow` or `Terminate`"),
            ("Tracing: On\n".to_owned(), "`Active`, `PassThrough` or `Disabled`"),
            ("AutoPublishAlias: '12'\n".to_owned(), "not only digits"),
            ("DeadLetterQueue: {Type: SQS}\n".to_owned(), "has no `TargetArn`"),
            ("DeadLetterQueue: {Type: SNS, TargetArn: 'arn:aws:sqs:r:1:q'}\n".to_owned(), "must be `SQS`"),
            (
                "DeadLetterQueue: {Type: SQS, TargetArn: 'arn:aws:sqs:r:1:q.fifo'}\n".to_owned(),
                "that is not FIFO",
            ),
            (
                "DeadLetterQueue: {Type: SQS, TargetArn: 'https://a.example'}\n".to_owned(),
                "hint: events that failed can go elsewhere",
            ),
            ("EventInvokeConfig: {MaximumRetryAttempts: 3}\n".to_owned(), "must be 0, 1 or 2"),
            ("EventInvokeConfig: {MaximumEventAgeInSeconds: 59}\n".to_owned(), "from 60 to 21600"),
            (
                "EventInvokeConfig: {MaximumRetries: 1}\n".to_owned(),
                "`EventInvokeConfig.MaximumRetries` is not known",
            ),
            (destination("Type: SQS"), "has no `Destination`"),
            (destination("Destination: other"), "`other` is no destination"),
            (destination("Type: SNS, Destination: 'arn:aws:sqs:r:1:q'"), "must be `SQS`"),
            (
                destination("Type: SQS, Destination: 'https://a.example/'"),
                "has no `Type`\nhint: leave it out",
            ),
            (destination("Destination: 'arn:aws:sqs:r:1:q.fifo'"), "is FIFO"),
            (destination("Type: S3Bucket, Destination: 'arn:aws:s3:::b'"), "are not put into buckets"),
        ] {
            let (_, problems) = read_text(&text);
            assert!(problems.iter().any(|problem| problem.contains(expected)), "{text}: {problems:?}");
        }
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
            let layers = read_file(&path, &mut problems).surroundings.layers;
            (layers, problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
        };
        let (found, problems) = layers("Layers: [own, shared, both]\n");
        assert_eq!(problems, "");
        assert_eq!(found, ["hello/own", "shared", "hello/both"].map(|layer| folder.path().join(layer)));
        for (text, expected) in [
            ("Layers: [gone]\n", "there is no folder `gone`"),
            ("Layers: [packed.zip]\n", "unpack it"),
            (
                "Layers: ['arn:aws:lambda:eu-west-1:1:layer:x:1']\n",
                "version 1 of the layer `x` has not been published here",
            ),
            ("Layers: ['arn:aws:lambda:eu-west-1:1:layer:x']\n", "is no ARN of a layer version"),
            ("Layers: [a, b, c, d, e, f]\n", "Lambda allows 5"),
            ("Layers: shared\n", "must be a list of folders and ARNs"),
            ("Layers: [!Ref Shared]\n", "intrinsics need a whole template"),
        ] {
            let (_, problems) = layers(text);
            assert!(problems.contains(expected), "{text}: {problems}");
        }
    }
}
