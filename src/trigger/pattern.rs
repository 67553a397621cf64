//! Event patterns, as EventBridge and event source mappings match them. Policies of SNS are the same
//! language: whoever matches message attributes makes an object of them first.
//!
//! An object names fields that must all match; what is in an array are alternatives. Matching takes
//! time in proportion to the lengths of pattern and event, whoever has written them.

use serde_json::{Map, Value};

use super::matcher::Matcher;

/// A valid pattern.
#[derive(Debug, Clone, PartialEq)]
pub struct Pattern {
    /// As written.
    pub text: String,
    fields: Fields,
}

/// What an object must be like.
#[derive(Debug, Clone, PartialEq)]
struct Fields {
    all: Vec<(String, Node)>,
    /// `$or`: one of each must match.
    any: Vec<Vec<Fields>>,
}

#[derive(Debug, Clone, PartialEq)]
enum Node {
    Object(Fields),
    /// One of them must match.
    Values(Vec<Matcher>),
}

/// AWS takes no longer ones.
const LONGEST: usize = 4096;

impl Pattern {
    /// `Err`: why AWS would refuse it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let invalid = |reason: String| format!("Event pattern is not valid. Reason: {reason}");
        if text.len() > LONGEST {
            return Err(invalid(format!("it is longer than {LONGEST} bytes")));
        }
        let value: Value = serde_json::from_str(text).map_err(|error| invalid(error.to_string()))?;
        let Value::Object(object) = value else {
            return Err(invalid("Filter is not an object".to_owned()));
        };
        let fields = Fields::parse(&object).map_err(invalid)?;
        Ok(Self { text: text.to_owned(), fields })
    }

    pub fn matches(&self, event: &Value) -> bool {
        self.fields.match_value(Some(event))
    }
}

impl Fields {
    fn parse(object: &Map<String, Value>) -> Result<Self, String> {
        if object.is_empty() {
            return Err("Empty objects are not allowed".to_owned());
        }
        let mut fields = Self { all: Vec::new(), any: Vec::new() };
        for (name, value) in object {
            match value {
                Value::Array(alternatives) if name == "$or" && is_or(alternatives) => {
                    let parse = |alternative: &Value| match alternative {
                        Value::Object(object) => Self::parse(object),
                        _ => Err("`$or` takes objects".to_owned()),
                    };
                    fields.any.push(alternatives.iter().map(parse).collect::<Result<_, _>>()?);
                }
                Value::Object(object) => fields.all.push((name.clone(), Node::Object(Self::parse(object)?))),
                Value::Array(values) if values.is_empty() => {
                    return Err(format!("Empty arrays are not allowed (`{name}`)"));
                }
                Value::Array(values) => {
                    let matchers: Result<Vec<_>, String> = values.iter().map(Matcher::parse).collect();
                    fields.all.push((name.clone(), Node::Values(matchers?)));
                }
                _ => return Err(format!("\"{name}\" must be an object or an array")),
            }
        }
        Ok(fields)
    }

    /// `None`: there is nothing, of which only `exists: false` is true.
    fn match_value(&self, value: Option<&Value>) -> bool {
        match value {
            // One element of them must be like this as a whole.
            Some(Value::Array(elements)) => elements.iter().any(|element| self.match_value(Some(element))),
            Some(Value::Object(object)) => self.match_object(Some(object)),
            Some(_) => false,
            None => self.match_object(None),
        }
    }

    fn match_object(&self, object: Option<&Map<String, Value>>) -> bool {
        let all = self.all.iter().all(|(name, node)| {
            let value = object.and_then(|object| object.get(name));
            match node {
                Node::Object(fields) => fields.match_value(value),
                Node::Values(matchers) => matchers.iter().any(|matcher| match_leaf(matcher, value)),
            }
        });
        all && self
            .any
            .iter()
            .all(|alternatives| alternatives.iter().any(|alternative| alternative.match_object(object)))
    }
}

/// A field may be called so too: `$or` is one if there are at least two objects.
fn is_or(alternatives: &[Value]) -> bool {
    alternatives.len() >= 2 && alternatives.iter().all(Value::is_object)
}

/// An array matches if one of its elements does; an object is no value.
fn match_leaf(matcher: &Matcher, value: Option<&Value>) -> bool {
    match (matcher, value) {
        (Matcher::Exists(wanted), value) => *wanted == value.is_some_and(has_leaf),
        (_, None | Some(Value::Object(_))) => false,
        (matcher, Some(Value::Array(elements))) => {
            elements.iter().any(|element| match_leaf(matcher, Some(element)))
        }
        (matcher, Some(value)) => matcher.matches(value),
    }
}

fn has_leaf(value: &Value) -> bool {
    match value {
        Value::Object(_) => false,
        Value::Array(elements) => elements.iter().any(has_leaf),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(pattern: Value, matching: &[Value], others: &[Value]) {
        let pattern = Pattern::parse(&pattern.to_string()).unwrap();
        for event in matching {
            assert!(pattern.matches(event), "{} should match {event}", pattern.text);
        }
        for event in others {
            assert!(!pattern.matches(event), "{} should not match {event}", pattern.text);
        }
    }

    #[test]
    fn fields_are_all_needed_and_alternatives_are_not() {
        check(
            json!({"source": ["shop.orders", "shop.returns"], "detail": {"state": ["new"]}}),
            &[
                json!({"source": "shop.orders", "detail": {"state": "new", "more": 1}}),
                json!({"source": "shop.returns", "detail": {"state": ["old", "new"]}}),
                json!({"source": "shop.returns", "detail": [{"state": "old"}, {"state": "new"}]}),
            ],
            &[
                json!({"source": "shop.orders", "detail": {"state": "old"}}),
                json!({"source": "shop.orders"}),
                json!({"source": "shop", "detail": {"state": "new"}}),
                json!({"source": "shop.orders", "detail": "new"}),
                json!({"source": {"x": "shop.orders"}, "detail": {"state": "new"}}),
                json!("shop.orders"),
                json!([]),
            ],
        );
        // Of two objects none is like this as a whole.
        check(
            json!({"items": {"a": [1], "b": [2]}}),
            &[json!({"items": [{"a": 1, "b": 2}, {"a": 5}]})],
            &[json!({"items": [{"a": 1, "b": 5}, {"a": 5, "b": 2}]})],
        );
    }

    #[test]
    fn values_are_compared_by_kind() {
        check(
            json!({"x": [1, "2", true, null]}),
            &[json!({"x": 1}), json!({"x": 1.0}), json!({"x": "2"}), json!({"x": true}), json!({"x": null})],
            &[json!({"x": "1"}), json!({"x": 2}), json!({"x": false}), json!({"x": "null"}), json!({})],
        );
    }

    #[test]
    fn or_takes_one_of_several() {
        check(
            json!({"a": ["x"], "$or": [{"b": [1]}, {"c": [{"numeric": [">", 5]}]}]}),
            &[json!({"a": "x", "b": 1}), json!({"a": "x", "b": 2, "c": 6})],
            &[json!({"a": "x", "b": 2}), json!({"a": "y", "b": 1}), json!({"a": "x"})],
        );
        check(json!({"$or": ["x"]}), &[json!({"$or": "x"})], &[json!({"x": 1})]);
    }

    #[test]
    fn what_is_not_there_can_be_asked_for() {
        check(
            json!({"detail": {"c": [{"exists": false}]}}),
            &[json!({"detail": {"d": 1}}), json!({}), json!({"detail": {"c": {"deeper": 1}}})],
            &[json!({"detail": {"c": null}}), json!({"detail": {"c": [1]}}), json!({"detail": "text"})],
        );
        check(
            json!({"c": [{"exists": true}]}),
            &[json!({"c": null}), json!({"c": 0}), json!({"c": ["x"]})],
            &[json!({}), json!({"c": {}}), json!({"c": []})],
        );
        // Beside other alternatives.
        check(json!({"c": ["x", {"exists": false}]}), &[json!({}), json!({"c": "x"})], &[json!({"c": "y"})]);
    }

    #[test]
    fn what_aws_refuses() {
        for (pattern, reason) in [
            ("[]", "Filter is not an object"),
            ("{", "EOF"),
            ("{}", "Empty objects are not allowed"),
            (r#"{"a": {}}"#, "Empty objects are not allowed"),
            (r#"{"a": []}"#, "Empty arrays are not allowed"),
            (r#"{"a": "x"}"#, "\"a\" must be an object or an array"),
            (r#"{"a": 1}"#, "\"a\" must be an object or an array"),
            (r#"{"a": [["x"]]}"#, "Match value must be String, number, true, false, or null"),
            (r#"{"a": [{"like": "x"}]}"#, "Unrecognized match type like"),
            (r#"{"a": [{"prefix": "x", "suffix": "y"}]}"#, "Only one key allowed in match expression"),
            (r#"{"a": [{}]}"#, "Only one key allowed in match expression"),
            (r#"{"$or": [{"a": ["x"]}, {"b": "x"}]}"#, "\"b\" must be an object or an array"),
        ] {
            let error = Pattern::parse(pattern).unwrap_err();
            assert!(error.starts_with("Event pattern is not valid. Reason: "), "{error}");
            assert!(error.contains(reason), "{pattern}: {error}");
        }
        assert!(Pattern::parse(&format!(r#"{{"a": ["{}"]}}"#, "x".repeat(5000))).is_err());
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[ab*\\\\/.0-9:]{0,6}".prop_map(Value::from),
        ];
        let names = prop_oneof![
            Just("$or"),
            Just("prefix"),
            Just("suffix"),
            Just("anything-but"),
            Just("numeric"),
            Just("a"),
            Just("exists"),
            Just("cidr"),
            Just("wildcard"),
            Just("equals-ignore-case"),
        ];
        leaf.prop_recursive(5, 40, 4, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::vec((names.clone(), inner), 0..3).prop_map(|fields| {
                    Value::Object(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
                }),
            ]
        })
    }

    proptest! {
        /// Whatever is written as a pattern is taken or refused, and whatever comes is matched or not.
        #[test]
        fn nothing_breaks_it(pattern in values(), event in values()) {
            for text in [pattern.to_string(), json!({"a": [pattern]}).to_string()] {
                if let Ok(pattern) = Pattern::parse(&text) {
                    pattern.matches(&event);
                    pattern.matches(&json!({"a": event}));
                }
            }
        }
    }
}
