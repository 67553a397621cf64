//! Route selection expressions: which route a message takes. `$request.body.action`.

use serde_json::Value;

/// An expression, understood.
#[derive(Debug, PartialEq, Eq)]
pub struct Expression(Vec<Part>);

#[derive(Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    /// Of the message's body; no steps: all of it.
    Body(Vec<Step>),
}

#[derive(Debug, PartialEq, Eq)]
enum Step {
    Member(String),
    Element(usize),
}

impl Expression {
    /// `$request.body.a.b`, `${request.body.a}-${request.body.b}`, `\$default`. A route can depend on
    /// the message's body only, as on AWS.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            if let Some(escaped) = rest.strip_prefix("\\$") {
                literal.push('$');
                rest = escaped;
                continue;
            }
            let Some(after) = rest.strip_prefix('$') else {
                literal.push(first);
                rest = &rest[first.len_utf8()..];
                continue;
            };
            let (name, remainder) = match after.strip_prefix('{') {
                Some(inside) => inside.split_once('}').ok_or_else(|| format!("`{text}` lacks a `}}`"))?,
                None => after.split_at(after.find(|c| !belongs_to_name(c)).unwrap_or(after.len())),
            };
            if !literal.is_empty() {
                parts.push(Part::Literal(std::mem::take(&mut literal)));
            }
            parts.push(Part::Body(steps(name).ok_or_else(|| {
                format!(
                    "`{text}` is no route selection expression: `${name}` should look like `$request.body.action`"
                )
            })?));
            rest = remainder;
        }
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Ok(Self(parts))
    }

    /// The key that this message asks for; `None` if it has nothing there, or is no JSON.
    pub fn key(&self, body: &str) -> Option<String> {
        let body: Option<Value> = serde_json::from_str(body).ok();
        let mut key = String::new();
        for part in &self.0 {
            match part {
                Part::Literal(text) => key.push_str(text),
                Part::Body(steps) => {
                    match steps.iter().try_fold(body.as_ref()?, |value, step| match step {
                        Step::Member(name) => value.get(name),
                        Step::Element(index) => value.get(index),
                    })? {
                        Value::String(text) => key.push_str(text),
                        Value::Number(number) => key.push_str(&number.to_string()),
                        Value::Bool(flag) => key.push_str(if *flag { "true" } else { "false" }),
                        Value::Null | Value::Array(_) | Value::Object(_) => return None,
                    }
                }
            }
        }
        Some(key)
    }
}

/// A hyphen too: where it does not belong to the name, braces say so.
fn belongs_to_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '[' | ']' | '\'' | '"')
}

/// `request.body.a[0]['b c']`
fn steps(name: &str) -> Option<Vec<Step>> {
    let mut rest = name.strip_prefix("request.body")?;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if let Some(inside) = rest.strip_prefix('[') {
            let (index, after) = inside.split_once(']')?;
            let quoted = |quote| index.strip_prefix(quote)?.strip_suffix(quote);
            steps.push(match quoted('\'').or_else(|| quoted('"')) {
                Some(member) => Step::Member(member.to_owned()),
                None => Step::Element(index.parse().ok()?),
            });
            rest = after;
        } else {
            let after = rest.strip_prefix('.')?;
            let (member, after) = after.split_at(after.find(['.', '[']).unwrap_or(after.len()));
            if member.is_empty() {
                return None;
            }
            steps.push(Step::Member(member.to_owned()));
            rest = after;
        }
    }
    Some(steps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(expression: &str, body: &str) -> Option<String> {
        Expression::parse(expression).unwrap().key(body)
    }

    #[test]
    fn the_key_is_what_stands_at_the_expressions_place() {
        let body = r#"{"action":"join","version":2,"on":true,"data":{"room":"a","list":[{"k":"x"}],"a b":"c"},"n":null}"#;
        for (expression, expected) in [
            ("$request.body.action", Some("join")),
            ("${request.body.action}", Some("join")),
            ("$request.body.data.room", Some("a")),
            ("$request.body.data.list[0].k", Some("x")),
            ("${request.body.data['a b']}", Some("c")),
            ("$request.body.version", Some("2")),
            ("$request.body.on", Some("true")),
            ("${request.body.action}-v${request.body.version}", Some("join-v2")),
            ("${request.body.version}-beta", Some("2-beta")),
            ("\\$default", Some("$default")),
            ("constant", Some("constant")),
            ("$request.body.n", None),
            ("$request.body.data", None),
            ("$request.body.missing", None),
            ("$request.body.action.deeper", None),
            ("$request.body.data.list[7].k", None),
            ("${request.body.action}${request.body.missing}", None),
            ("$request.body", None),
        ] {
            assert_eq!(key(expression, body).as_deref(), expected, "{expression}");
        }
        assert_eq!(key("$request.body", r#""whole""#).as_deref(), Some("whole"));
        for no_json in ["", "hello", "{", "{\"action\":"] {
            assert_eq!(key("$request.body.action", no_json), None);
        }
        // What needs no body is not stopped by one that is no JSON.
        assert_eq!(key("constant", "hello").as_deref(), Some("constant"));
    }

    #[test]
    fn what_cannot_decide_is_refused_by_name() {
        for (expression, culprit) in [
            ("$request.header.x", "`$request.header.x`"),
            ("$context.routeKey", "`$context.routeKey`"),
            ("${request.querystring.a}", "`$request.querystring.a`"),
            ("$request.bodyaction", "`$request.bodyaction`"),
            ("$request.body..a", "`$request.body..a`"),
            ("$request.body[x]", "`$request.body[x]`"),
            ("$", "`$`"),
            ("${request.body.a", "lacks a `}`"),
        ] {
            let error = Expression::parse(expression).unwrap_err();
            assert!(error.contains(culprit), "{error}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_is_written_or_sent_breaks_it(expression in ".{0,40}", shaped in r"(\$|\{|\}|\\|request\.body|\.|\[|\]|'|a|0){0,12}", body in ".{0,60}") {
            for expression in [expression, shaped] {
                if let Ok(expression) = Expression::parse(&expression) {
                    let _ = expression.key(&body);
                    let _ = expression.key(r#"{"a":{"a":[{"a":"0"}]}}"#);
                }
            }
        }

        #[test]
        fn any_member_is_found_by_its_name(name in "[a-z_][a-z0-9_-]{0,12}", value in ".{0,20}") {
            let body = serde_json::json!({ &name: &value }).to_string();
            prop_assert_eq!(key(&format!("$request.body.{name}"), &body), Some(value));
        }
    }
}
