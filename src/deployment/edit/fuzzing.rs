//! What `fuzz/` asks of the editor of `function.yaml`: what was set is there, the others are as they
//! were, setting it again changes nothing, and it can be taken out again.

use serde_json::Value;

use super::document::edit;
use crate::deployment::yaml;

pub fn properties(text: &str, value: &str) {
    let Ok(value) = serde_json::from_str::<Value>(value) else { return };
    let before = names(text);
    for name in ["Handler", "Environment", "New"] {
        let Ok(edited) = edit(text, &[(name, Some(value.clone()))]) else { continue };
        let mut expected = before.clone();
        if !expected.iter().any(|other| other == name) {
            expected.push(name.to_owned());
        }
        expected.sort();
        assert_eq!(names(&edited), expected, "{name} set:\n{edited}");
        let again = edit(&edited, &[(name, Some(value.clone()))]).expect("what was written can be edited");
        assert_eq!(again, edited, "{name} set again");
        let without = edit(&edited, &[(name, None)]).expect("it can be taken out");
        expected.retain(|other| other != name);
        assert_eq!(names(&without), expected, "{name} taken out:\n{without}");
    }
}

/// Of the properties; sorted, as an order is kept for people only.
fn names(text: &str) -> Vec<String> {
    let Ok(Some(node)) = yaml::parse(text) else { return Vec::new() };
    let entries = node.mapping().unwrap_or_default();
    let mut names: Vec<String> =
        entries.iter().map(|(key, _)| key.text().unwrap_or_default().to_owned()).collect();
    names.sort();
    names
}
