//! Events that are written, refused and taken out.

use std::path::Path;

use proptest::prelude::*;
use serde_json::json;

use super::super::document::{edit_entry, entries_of};
use super::*;
use crate::deployment::Sources;

const WRITTEN: &str = "# The shop.\nTimeout: 10 # seconds\nEvents:\n  # what people look at\n  List:   # all of it\n    Type: HttpApi\n    Properties:\n      Path: /items # short\n      Method: get\n  # at night\n  Nightly: {Type: Schedule, Properties: {Schedule: rate(1 day)}}\n\n# Where things are\nMemorySize: 256\n";

fn event(path: &str) -> Json {
    json!({"Type": "HttpApi", "Properties": {"Path": path, "Method": "get"}})
}

#[test]
fn only_the_event_changes() {
    let added = edit_entry(WRITTEN, "Events", "One", Some(&event("/one"))).unwrap();
    let (before, after) = WRITTEN.split_once("\n\n# Where").unwrap();
    assert_eq!(
        added,
        format!(
            "{before}\n  One:\n    Type: HttpApi\n    Properties:\n      Path: \"/one\"\n      Method: get\n\n# Where{after}"
        )
    );
    let changed = edit_entry(WRITTEN, "Events", "List", Some(&event("/things"))).unwrap();
    assert_eq!(changed, WRITTEN.replace("Path: /items #", "Path: \"/things\" #"));
    let one_line = json!({"Type": "Schedule", "Properties": {"Schedule": "rate(2 days)"}});
    let changed = edit_entry(WRITTEN, "Events", "Nightly", Some(&one_line)).unwrap();
    assert!(changed.contains("  # at night\n  Nightly:\n    Type: Schedule\n"), "{changed}");
    assert!(changed.starts_with(WRITTEN.split_once("  Nightly").unwrap().0), "{changed}");
    let same = edit_entry(WRITTEN, "Events", "List", Some(&event("/items"))).unwrap();
    assert_eq!(same.replace('"', ""), WRITTEN);
    let without = edit_entry(WRITTEN, "Events", "Nightly", None).unwrap();
    assert_eq!(
        without,
        WRITTEN.replace("  Nightly: {Type: Schedule, Properties: {Schedule: rate(1 day)}}\n", "")
    );
    assert_eq!(edit_entry(WRITTEN, "Events", "Gone", None).unwrap(), WRITTEN);
}

#[test]
fn the_last_event_takes_events_along() {
    let one = edit_entry("Timeout: 3\n", "Events", "One", Some(&event("/one"))).unwrap();
    assert!(one.starts_with("Timeout: 3\nEvents:\n  One:\n    Type: HttpApi\n"), "{one}");
    assert_eq!(edit_entry(&one, "Events", "One", None).unwrap(), "Timeout: 3\n");
    for empty in ["", "Events:\n", "Events: {}\n", "Events: null # none\n"] {
        let one = edit_entry(empty, "Events", "One", Some(&event("/one"))).unwrap();
        assert_eq!(entries_of(&one, "Events").unwrap().len(), 1, "{one}");
    }
}

#[test]
fn however_they_are_written() {
    for text in [
        "Events: {A: {Type: HttpApi}, B: {Type: SQS, Properties: {Queue: !Ref Q}}}\nTimeout: 3\n",
        "{Events: {A: {Type: HttpApi}, B: {Type: HttpApi}}}\n",
        "Events: &e\n  A: {Type: HttpApi}\n  B: *x\nx: &x {Type: HttpApi}\n",
        "Events:\n    A:\n      Type: HttpApi\n    'B' :\n      Type: HttpApi\n",
        "Events:\r\n  A:\r\n    Type: HttpApi\r\n  B:\r\n    Type: HttpApi",
        "Events:\n  ? A\n  : {Type: HttpApi}\n  B: {Type: HttpApi}\n",
    ] {
        let Ok(before) = entries_of(text, "Events") else { continue };
        let edited = edit_entry(text, "Events", "A", Some(&event("/new"))).unwrap();
        let after = entries_of(&edited, "Events").unwrap();
        assert_eq!(after.len(), before.len(), "{edited}");
        assert_eq!(told(&after[0].1), event("/new"), "{edited}");
        assert_eq!(told(&after[1].1), told(&before[1].1), "{edited}");
        let without = edit_entry(text, "Events", "A", None).unwrap();
        assert_eq!(entries_of(&without, "Events").unwrap().len(), 1, "{without}");
    }
    for text in ["Events: [a]\n", "Events: text\n", "A: [\n"] {
        assert!(edit_entry(text, "Events", "A", None).unwrap_err().contains("correct it first"));
    }
}

struct Handlers(tempfile::TempDir);

impl Handlers {
    fn new(functions: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in functions {
            std::fs::create_dir(folder.path().join(name)).unwrap();
            std::fs::write(folder.path().join(name).join("lambda_function.py"), "").unwrap();
            std::fs::write(folder.path().join(name).join(FUNCTION_YAML), text).unwrap();
        }
        Self(folder)
    }

    fn read(&self) -> Deployments {
        Deployments::read(Sources::of_handlers(self.0.path()))
    }

    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.path().join(name).join(FUNCTION_YAML)).unwrap()
    }
}

fn change(id: &str, event: Option<Json>) -> EventChange {
    EventChange { id: id.to_owned(), event, revision: None }
}

#[tokio::test]
async fn what_would_not_work_is_refused_and_not_written() {
    let other = "Events:\n  bC: {Type: SQS, Properties: {Queue: q}}\n  Get: {Type: HttpApi, Properties: {Path: /taken, Method: get}}\n";
    let handlers = Handlers::new(&[("ab", WRITTEN), ("a", other)]);
    let deployments = handlers.read();
    for (id, event, expected) in [
        ("One", json!({"Type": "HttpApi", "Properties": {"Path": "/x"}}), "has `Path` but no `Method`"),
        (
            "One",
            json!({"Type": "HttpApi", "Properties": {"Path": "x", "Method": "get"}}),
            "does not begin with `/`",
        ),
        (
            "One",
            json!({"Type": "Schedule", "Properties": {"Schedule": "rate(1 minutes)"}}),
            "it must be `1 minute`",
        ),
        ("One", json!({"Type": "Cognito", "Properties": {}}), "not served yet"),
        ("One", json!({"Type": "Htp"}), "is no type of event"),
        (
            "One",
            json!({"Type": "SQS", "Properties": {"Queue": "q", "Batchsize": 1}}),
            "did you mean `BatchSize`",
        ),
        ("One", json!({"Type": "SQS", "Properties": {}}), "`Queue`"),
        (
            "One",
            json!({"Type": "Api", "Properties": {"Path": "/a", "Method": "get", "RestApiId": "x"}}),
            "names an API",
        ),
        (
            "One",
            json!({"Type": "HttpApi", "Properties": {"Path": "/a", "Method": "get", "Cors": {}}}),
            "CORS belongs to the API",
        ),
        (
            "One",
            json!({"Type": "HttpApi", "Properties": {"Path": "/a", "Method": "get", "Auth": {"Authorizer": "Mine"}}}),
            "Mine",
        ),
        ("a b", event("/x"), "is no name of an event"),
        ("", event("/x"), "is no name of an event"),
        ("../x", event("/x"), "is no name of an event"),
        (
            "C",
            json!({"Type": "SQS", "Properties": {"Queue": "q", "Enabled": false}}),
            "there is a trigger of this name",
        ),
    ] {
        let refused = deployments.set_event("ab", change(id, Some(event.clone()))).await;
        let Err(error) = refused else { panic!("{id} {event} was taken") };
        assert!(error.to_string().contains(expected), "{event}: {error}");
        assert_eq!(handlers.text("ab"), WRITTEN);
    }
    let gone = deployments.set_event("ab", change("Gone", None)).await.unwrap_err();
    assert!(gone.to_string().contains("there are: List, Nightly"), "{gone}");
    for name in ["..", "nobody", "ab/../a", ""] {
        let refused = deployments.set_event(name, change("One", Some(event("/x")))).await;
        assert!(matches!(refused, Err(EditError::NotFound(_))), "{name}");
    }
}

#[tokio::test]
async fn changes_at_once_lose_nothing() {
    let handlers = Handlers::new(&[("shop", "# kept\nTimeout: 3\n")]);
    let deployments = handlers.read();
    let puts = (0..20).map(|number| {
        let deployments = deployments.clone();
        tokio::spawn(async move {
            let one = change(&format!("E{number}"), Some(event(&format!("/{number}"))));
            deployments.set_event("shop", one).await
        })
    });
    for put in puts.collect::<Vec<_>>() {
        put.await.unwrap().unwrap();
    }
    let events = deployments.events("shop").await.unwrap().unwrap();
    assert_eq!(events.events.len(), 20);
    assert!(handlers.text("shop").starts_with("# kept\nTimeout: 3\nEvents:\n"));
    let routes = deployments.current().apis.iter().map(|api| api.routes.len()).sum::<usize>();
    assert_eq!(routes, 20);
    let stale = EventChange { revision: Some(events.revision), ..change("E1", None) };
    deployments.set_event("shop", stale.clone()).await.unwrap();
    let again = deployments.set_event("shop", EventChange { id: "E2".to_owned(), ..stale }).await;
    assert!(matches!(again, Err(EditError::Outdated(_))), "{again:?}");
}

/// Somebody saves the file as often as they can, as editors do, while events come and go.
#[test]
fn what_somebody_saves_meanwhile_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FUNCTION_YAML);
    std::fs::write(&path, "Description: \"0\"\n").unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let described = |text: &str| text.lines().next().unwrap_or_default().to_owned();
    std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            let mut number = 0u32;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                number += 1;
                // Reads, and puts a new file in its place: their own change is the description.
                let text = std::fs::read_to_string(&path).unwrap();
                let rest: String = text.split_inclusive('\n').skip(1).collect();
                let fresh = folder.path().join("fresh");
                std::fs::write(&fresh, format!("Description: \"{number}\"\n{rest}")).unwrap();
                std::fs::rename(&fresh, &path).unwrap();
                // For a moment it may be otherwise: what was put in its place is put back.
                let is_kept = |_| {
                    let now = std::fs::read_to_string(&path).unwrap();
                    described(&now) == format!("Description: \"{number}\"")
                };
                assert!((0..100_000).any(is_kept), "{number} is lost");
            }
            number
        });
        for number in 0..50 {
            let id = format!("E{number}");
            let put = folder::amend(&path, |text| {
                edit_entry(text, "Events", &id, Some(&event("/x"))).map_err(EditError::Refused)
            });
            assert!(put.is_ok() || put.unwrap_err().to_string().contains("try again"));
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(other.join().unwrap() > 0);
    });
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().flatten().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[test]
fn events_of_a_template_are_told_as_they_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("template.yaml");
    let text = "Resources:\n  F:\n    Type: AWS::Serverless::Function\n    Properties:\n      Events:\n        Jobs:\n          Type: SQS\n          Properties: {Queue: !GetAtt Queue.Arn, BatchSize: 5}\n        A: {Type: Api}\n";
    std::fs::write(&path, text).unwrap();
    let found = written_in(&path);
    assert_eq!(
        found[&6],
        json!({"Type": "SQS", "Properties": {"Queue": {"Fn::GetAtt": ["Queue", "Arn"]}, "BatchSize": 5}})
    );
    assert_eq!(found[&9], json!({"Type": "Api"}));
    assert!(written_in(Path::new("/nowhere")).is_empty());
}

proptest! {
    /// Whatever the event is called and holds: it is there, the others are as they were, and it can go.
    #[test]
    fn an_event_comes_and_goes(id in "[A-Za-z0-9]{1,12}", text in "[ -~\u{e9}\n]{0,30}", number in any::<i64>()) {
        let event = json!({"Type": text.clone(), "Properties": {text: [number, null, true, {"a": []}]}});
        if let Ok(edited) = edit_entry(WRITTEN, "Events", &id, Some(&event)) {
            let entries = entries_of(&edited, "Events").unwrap();
            let found = entries.iter().find(|(key, _)| key.text() == Some(id.as_str())).unwrap();
            prop_assert_eq!(told(&found.1), event);
            let without = edit_entry(&edited, "Events", &id, None).unwrap();
            if !["List", "Nightly"].contains(&id.as_str()) {
                prop_assert_eq!(without, WRITTEN);
            }
        }
    }
}
