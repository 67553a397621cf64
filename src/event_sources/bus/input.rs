//! What the target of a rule gets of an event: all of it, a part, something constant, or a template
//! with parts of it.

use std::borrow::Cow;

use serde_json::Value;

use crate::trigger::RuleInput;

/// Of the rule, for templates.
pub struct Facts<'a> {
    pub rule_name: &'a str,
    pub rule_arn: &'a str,
    /// When the bus has taken the event.
    pub ingestion_time: &'a str,
}

/// `Err`: what the template makes is no JSON.
pub fn input(how: &RuleInput, event: &Value, facts: &Facts<'_>) -> Result<Vec<u8>, String> {
    match how {
        RuleInput::Event => Ok(event.to_string().into_bytes()),
        RuleInput::Constant(text) => Ok(text.clone().into_bytes()),
        RuleInput::Path(path) => {
            Ok(at(event, path).map_or_else(|| "{}".to_owned(), Value::to_string).into_bytes())
        }
        RuleInput::Transformer { paths, template } => {
            let value = |name: &str| -> Option<Cow<'_, Value>> {
                let own = paths.iter().find(|(known, _)| known == name);
                match (own, name) {
                    (Some((_, path)), _) => Some(Cow::Owned(at(event, path).cloned().unwrap_or_default())),
                    (None, "aws.events.rule-name") => Some(Cow::Owned(facts.rule_name.into())),
                    (None, "aws.events.rule-arn") => Some(Cow::Owned(facts.rule_arn.into())),
                    (None, "aws.events.event.ingestion-time") => {
                        Some(Cow::Owned(facts.ingestion_time.into()))
                    }
                    (None, "aws.events.event" | "aws.events.event.json") => Some(Cow::Borrowed(event)),
                    _ => None,
                }
            };
            let text = filled(template, value);
            match serde_json::from_str::<serde::de::IgnoredAny>(&text) {
                Ok(_) => Ok(text.into_bytes()),
                Err(error) => Err(format!("the InputTemplate does not make JSON of this event: {error}")),
            }
        }
    }
}

/// Values in the place of `<name>`: as JSON, and inside a string as its text. What the event does not
/// have is nothing inside a string, and null elsewhere.
fn filled<'a>(template: &'a str, value: impl Fn(&'a str) -> Option<Cow<'a, Value>>) -> String {
    let mut filled = String::with_capacity(template.len());
    let (mut rest, mut in_string) = (template, false);
    while let Some(letter) = rest.chars().next() {
        let name = (letter == '<').then(|| rest[1..].split_once('>')).flatten();
        if let Some((name, behind)) = name
            && let Some(value) = value(name)
        {
            match (in_string, &*value) {
                (true, Value::Null) => {}
                (true, value) => {
                    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                    let quoted = Value::from(text).to_string();
                    filled.push_str(&quoted[1..quoted.len() - 1]);
                }
                (false, value) => filled.push_str(&value.to_string()),
            }
            rest = behind;
            continue;
        }
        let length = match letter {
            // What is behind a backslash ends no string.
            '\\' if in_string => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
            letter => letter.len_utf8(),
        };
        in_string ^= letter == '"';
        filled.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    filled
}

/// `$.detail.items[0].name`, also `$.detail['a name']`.
fn at<'a>(event: &'a Value, path: &str) -> Option<&'a Value> {
    let mut rest = path.strip_prefix('$')?;
    let mut value = event;
    while !rest.is_empty() {
        if let Some(behind) = rest.strip_prefix('.') {
            let end = behind.find(['.', '[']).unwrap_or(behind.len());
            value = value.get(&behind[..end])?;
            rest = &behind[end..];
            continue;
        }
        let (inside, behind) = rest.strip_prefix('[')?.split_once(']')?;
        let quoted = ['\'', '"'].iter().find_map(|&quote| inside.strip_prefix(quote)?.strip_suffix(quote));
        value = match quoted {
            Some(name) => value.get(name)?,
            None => value.get(inside.parse::<usize>().ok()?)?,
        };
        rest = behind;
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn event() -> Value {
        json!({
            "source": "shop", "resources": ["a", "b"],
            "detail": {"order": {"id": 7, "note": "say \"hi\""}, "a b": true, "none": null}
        })
    }

    fn made(how: RuleInput) -> Result<String, String> {
        let facts = Facts {
            rule_name: "NewOrder",
            rule_arn: "arn:aws:events:us-east-1:123456789012:rule/NewOrder",
            ingestion_time: "2026-11-22T10:00:00Z",
        };
        input(&how, &event(), &facts).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    fn transformed(template: &str) -> Result<String, String> {
        let paths = [
            ("id", "$.detail.order.id"),
            ("note", "$.detail.order.note"),
            ("order", "$.detail.order"),
            ("second", "$.resources[1]"),
            ("missing", "$.detail.nothing"),
        ];
        let paths = paths.iter().map(|(name, path)| ((*name).to_owned(), (*path).to_owned())).collect();
        made(RuleInput::Transformer { paths, template: template.to_owned() })
    }

    #[test]
    fn a_part_or_something_constant() {
        assert_eq!(made(RuleInput::Event).unwrap(), event().to_string());
        assert_eq!(made(RuleInput::Constant("5".into())).unwrap(), "5");
        assert_eq!(made(RuleInput::Path("$.detail.order.id".into())).unwrap(), "7");
        assert_eq!(made(RuleInput::Path("$.detail['a b']".into())).unwrap(), "true");
        assert_eq!(made(RuleInput::Path("$".into())).unwrap(), event().to_string());
        assert_eq!(made(RuleInput::Path("$.nothing[3]".into())).unwrap(), "{}");
    }

    #[test]
    fn templates_are_filled() {
        assert_eq!(transformed(r#"{"id": <id>, "x": <second>}"#).unwrap(), r#"{"id": 7, "x": "b"}"#);
        assert_eq!(transformed(r#""order <id>: <note>""#).unwrap(), r#""order 7: say \"hi\"""#);
        assert_eq!(
            transformed(r#"{"all": <order>, "text": "<order>"}"#).unwrap(),
            r#"{"all": {"id":7,"note":"say \"hi\""}, "text": "{\"id\":7,\"note\":\"say \\\"hi\\\"\"}"}"#
        );
        assert_eq!(transformed(r#"{"a": <missing>, "b": "<missing>"}"#).unwrap(), r#"{"a": null, "b": ""}"#);
        assert_eq!(transformed(r#"["<unknown>", "\"<id>"]"#).unwrap(), r#"["<unknown>", "\"7"]"#);
        assert_eq!(
            transformed(r#"["<aws.events.rule-name>", <aws.events.event.ingestion-time>]"#).unwrap(),
            r#"["NewOrder", "2026-11-22T10:00:00Z"]"#
        );
        assert!(transformed("order <id>").unwrap_err().contains("no") || transformed("order <id>").is_err());
    }

    proptest! {
        #[test]
        fn nothing_breaks_it(template in "[\\\\\"<>{}a-z:, é]{0,30}", path in "[$.\\[\\]'a0-9é]{0,12}") {
            let paths = vec![("a".to_owned(), path.clone())];
            let _ = made(RuleInput::Transformer { paths, template });
            let _ = made(RuleInput::Path(path));
        }
    }
}
