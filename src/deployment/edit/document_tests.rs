//! What is changed, what is not, and what comes back.

use proptest::prelude::*;
use serde_json::json;

use super::*;

const WRITTEN: &str = "# The greeter.\nHandler: app.main   # our own\nTimeout: 10 # seconds\n\n# Where things are\nEnvironment: &all\n  Variables:\n    # the table\n    TABLE: items\n    # (end)\n\n# As SAM has them\nEvents:\n  List: {Type: HttpApi, Properties: {Path: /items, Method: get}}\nLayers:\n- shared\nMemorySize: 256\n";

#[test]
fn only_the_property_changes() {
    let edited = edit(WRITTEN, &[("Timeout", Some(json!(20)))]).unwrap();
    assert_eq!(edited, WRITTEN.replace("Timeout: 10", "Timeout: 20"));
    let edited = edit(WRITTEN, &[("Layers", None)]).unwrap();
    assert_eq!(edited, WRITTEN.replace("Layers:\n- shared\n", ""));
    let edited = edit(WRITTEN, &[("Environment", Some(json!({"Variables": {"A1": "b"}})))]).unwrap();
    let (before, after) = WRITTEN.split_once("Environment: &all").unwrap();
    let after = &after[after.find("\n# As SAM").unwrap()..];
    assert_eq!(edited, format!("{before}Environment:\n  Variables:\n    A1: b\n{after}"));
    let edited =
        edit(WRITTEN, &[("Role", Some(json!("arn:aws:iam::1:role/r"))), ("MemorySize", Some(json!(256)))]);
    assert_eq!(edited.unwrap(), format!("{WRITTEN}Role: \"arn:aws:iam::1:role/r\"\n"));
    assert_eq!(edit("", &[("Timeout", Some(json!(3)))]).unwrap(), "Timeout: 3\n");
    assert_eq!(edit("# only\n", &[("Timeout", Some(json!(3)))]).unwrap(), "# only\nTimeout: 3\n");
    assert_eq!(
        edit("A: 1\r\nB: 2", &[("A", Some(json!(3))), ("C", Some(json!(4)))]).unwrap(),
        "A: 3\r\nB: 2\r\nC: 4\r\n"
    );
}

#[test]
fn what_has_no_lines_of_its_own_is_written_anew() {
    for text in [
        "{Timeout: 3, Handler: 'a.b'}\n",
        "Handler: &h a.b\nTimeout: 3\nDescription: *h\n",
        "--- {Handler: a.b}\n",
    ] {
        let edited = edit(text, &[("Handler", Some(json!("c.d")))]).unwrap();
        let entries = entries(&edited).unwrap();
        let handler = entries.iter().find(|(key, _)| key.text() == Some("Handler")).unwrap();
        assert_eq!(handler.1.text(), Some("c.d"), "{edited}");
        let before = super::entries(text).unwrap();
        assert_eq!(entries.len(), before.len(), "{edited}");
    }
    let merged = "x-a: &a {Timeout: 5}\n<<: *a\nHandler: a.b\n";
    let edited = edit(merged, &[("Timeout", Some(json!(7)))]).unwrap();
    let timeout =
        entries(&edited).unwrap().into_iter().find(|(key, _)| key.text() == Some("Timeout")).unwrap();
    assert_eq!(timeout.1.text(), Some("7"), "{edited}");
}

#[test]
fn what_cannot_be_read_is_not_touched() {
    for text in ["A: [\n", "- a\n", "text\n", "A: 1\nA: 2\n"] {
        let problem = edit(text, &[("A", Some(json!(1)))]).unwrap_err();
        assert!(problem.contains("hint: correct it first"), "{problem}");
    }
}

fn hostile() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC{0,20}",
        any::<String>(),
        proptest::sample::select(vec![
            "yes",
            "NO",
            "on",
            "~",
            "null",
            "",
            " ",
            "0123",
            "1e3",
            "0x1F",
            "1_000",
            ".inf",
            "2026-01-01",
            "12:30:45",
            "- x",
            "a: b",
            "#",
            "a #b",
            "'",
            "\"",
            "\\",
            "|",
            ">",
            "%",
            "@",
            "`",
            "&a",
            "*a",
            "!t",
            "{a}",
            "[b]",
            "---",
            "...",
            "line\nline\n",
            "\u{2028}",
            "\u{85}",
            "\u{feff}",
            "\u{7f}",
            "tab\t",
            "<<",
            "=",
            "? x",
            "\r\n",
        ])
        .prop_map(str::to_owned),
    ]
}

/// Texts as function.yaml files are written.
fn document() -> impl Strategy<Value = String> {
    let property = prop_oneof![
        Just("Handler: app.main # c\n"),
        Just("'Handler': \"a.b\"\n"),
        Just("Environment:\n  Variables:\n    A: 1 # x\n\n    B: |\n      text\n\n      # no comment\n"),
        Just("Environment: {Variables: {A: 1,\n  B: 2}}\n"),
        Just("# Environment: no\n"),
        Just("\n"),
        Just("Tags:\n- a\n- b: c\n"),
        Just("Description: >-\n  folded\n  text\n"),
        Just("Description: 'two\n  lines'\n"),
        Just("Layers: &l\n  - x\n"),
        Just("Other: *l\n"),
    ];
    proptest::collection::vec(property, 0..7).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn what_is_written_is_read(text in document(), name in proptest::sample::select(vec!["Handler", "Environment", "Description", "Layers", "New"]), key in hostile(), value in hostile()) {
        let Ok(before) = entries(&text) else { return Ok(()) };
        for new in [json!(value), json!({"Variables": {key.as_str(): value.as_str()}}), json!([value, {"a": key}])] {
            let edited = edit(&text, &[(name, Some(new.clone()))]).unwrap();
            let after = entries(&edited).unwrap();
            let found = &after.iter().find(|(key, _)| key.text() == Some(name)).unwrap().1;
            prop_assert_eq!(json_of(found), new, "{}", edited);
            // The others are as they were.
            for (key, value) in before.iter().filter(|(key, _)| key.text() != Some(name)) {
                prop_assert!(after.iter().any(|(k, v)| same(k, key) && same(v, value)), "{}", edited);
            }
            // And back: nothing is left of it.
            let without = edit(&edited, &[(name, None)]).unwrap();
            prop_assert!(entries(&without).unwrap().iter().all(|(key, _)| key.text() != Some(name)), "{}", without);
        }
    }

    #[test]
    fn lines_of_others_stay(text in document(), value in hostile()) {
        let Ok(before) = entries(&text) else { return Ok(()) };
        prop_assume!(before.iter().all(|(key, _)| key.text() != Some("New")));
        let edited = edit(&text, &[("New", Some(json!(value)))]).unwrap();
        prop_assert!(edited.starts_with(&text), "{}", edited);
    }
}

/// A value as JSON: what is written plain and looks like a number is none here, as all of it was text.
fn json_of(node: &Node) -> Value {
    match &node.value {
        Content::Scalar { text, .. } => text.clone().into(),
        Content::Sequence(items) => items.iter().map(json_of).collect::<Vec<_>>().into(),
        Content::Mapping(entries) => {
            let entry =
                |(key, value): &(Node, Node)| (key.text().unwrap_or_default().to_owned(), json_of(value));
            Value::Object(entries.iter().map(entry).collect())
        }
    }
}
