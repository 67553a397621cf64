//! Variables of `.env` are local, and often secret. Whoever asks for a function's configuration gets
//! them too, and sends them back with what they have changed: they are not written to `function.yaml`.

use std::path::Path;

use serde_json::{Map, Value};

use super::super::{discover::DOTENV, dotenv};
use super::{EditError, Properties, document};

/// These properties of the `function.yaml` at `path`, which says `text`, without the variables that
/// `.env` sets; what the file itself says of those stays.
pub fn left_out(
    path: &Path,
    text: &str,
    properties: &[(&'static str, Option<Value>)],
) -> Result<Properties, EditError> {
    let mut properties = properties.to_vec();
    let Some((_, environment)) = properties.iter_mut().find(|(name, _)| *name == "Environment") else {
        return Ok(properties);
    };
    let folder = path.parent().unwrap_or(Path::new("."));
    let local = dotenv::entries(folder);
    let Some(Value::Object(variables)) = environment.as_mut().map(|value| value["Variables"].take()) else {
        return Ok(properties);
    };
    let shared = shared(text);
    let mut kept = Map::new();
    for (name, value) in variables {
        match local.iter().rev().find(|(known, _)| *known == name) {
            None => drop(kept.insert(name, value)),
            Some((_, known)) if value == known.as_str() => {
                if let Some(written) = shared.get(&name) {
                    kept.insert(name, written.clone());
                }
            }
            Some(_) => {
                return Err(EditError::InTheWay {
                    path: folder.join(DOTENV),
                    reason: format!(
                        "sets `{name}`, and counts more than `function.yaml`\nhint: change it there"
                    ),
                });
            }
        }
    }
    *environment = (!kept.is_empty()).then(|| serde_json::json!({"Variables": kept}));
    Ok(properties)
}

/// The variables that the file says.
fn shared(text: &str) -> Map<String, Value> {
    let entries = document::entries_of(text, "Environment").unwrap_or_default();
    let variables = entries.iter().find(|(name, _)| name.text() == Some("Variables"));
    match variables.map(|(_, value)| value.json()) {
        Some(Value::Object(variables)) => variables,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_local_stays_local() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("function.yaml");
        std::fs::write(folder.path().join(".env"), "TOKEN=secret\nTABLE=mine\n").unwrap();
        let text = "Environment:\n  Variables:\n    TABLE: theirs\n    OLD: x\n";
        let set = |variables: Value| {
            left_out(&path, text, &[("Environment", Some(json!({"Variables": variables})))])
        };
        let kept = set(json!({"TOKEN": "secret", "TABLE": "mine", "NEW": "y"})).unwrap();
        assert_eq!(kept, [("Environment", Some(json!({"Variables": {"TABLE": "theirs", "NEW": "y"}})))]);
        assert_eq!(set(json!({"TOKEN": "secret"})).unwrap(), [("Environment", None)]);
        let refused = set(json!({"TOKEN": "other"})).unwrap_err().to_string();
        assert!(refused.contains("sets `TOKEN`"), "{refused}");
        assert_eq!(left_out(&path, text, &[("Environment", None)]).unwrap(), [("Environment", None)]);
    }
}
