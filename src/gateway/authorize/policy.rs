//! Policy documents, as far as authorizers use them: whether one allows a method.

use serde_json::Value;

use super::super::routes::wildcard;

const ACTION: &str = "execute-api:Invoke";

#[derive(Debug, Clone, PartialEq)]
pub struct Policy(Vec<Statement>);

#[derive(Debug, Clone, PartialEq)]
struct Statement {
    allows: bool,
    actions: Patterns,
    resources: Patterns,
}

#[derive(Debug, Clone, PartialEq)]
enum Patterns {
    /// `Action`, `Resource`
    Any(Vec<String>),
    /// `NotAction`, `NotResource`
    None(Vec<String>),
}

/// What a policy says about a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Allowed,
    /// No statement speaks of it.
    NotAllowed,
    Denied,
}

impl Policy {
    /// The error says what cannot be understood, for people.
    pub fn parse(document: &Value) -> Result<Self, String> {
        let Value::Object(document) = document else {
            return Err("a `policyDocument` that is no object".to_owned());
        };
        let statements = match document.get("Statement") {
            Some(Value::Array(statements)) => statements.iter().map(statement).collect(),
            Some(one @ Value::Object(_)) => statement(one).map(|one| vec![one]),
            _ => Err("a `policyDocument` without a `Statement`".to_owned()),
        };
        statements.map(Self)
    }

    /// An explicit deny beats whatever allows.
    pub fn decide(&self, method_arn: &str) -> Verdict {
        let about = |statement: &&Statement| {
            statement.actions.hold(ACTION, true) && statement.resources.hold(method_arn, false)
        };
        let mut verdict = Verdict::NotAllowed;
        for statement in self.0.iter().filter(about) {
            match statement.allows {
                true => verdict = Verdict::Allowed,
                false => return Verdict::Denied,
            }
        }
        verdict
    }
}

fn statement(value: &Value) -> Result<Statement, String> {
    let Value::Object(statement) = value else {
        return Err("a policy statement that is no object".to_owned());
    };
    let allows = match statement.get("Effect").and_then(Value::as_str) {
        Some("Allow") => true,
        Some("Deny") => false,
        _ => return Err("a policy statement whose `Effect` is neither Allow nor Deny".to_owned()),
    };
    let condition = statement.get("Condition");
    if condition.is_some_and(|condition| condition.as_object().is_none_or(|all| !all.is_empty())) {
        return Err("a policy statement with a `Condition`, which handlerd does not evaluate\n\
                    hint: decide in the authorizer's code"
            .to_owned());
    }
    let patterns = |name: &str| {
        let not = format!("Not{name}");
        match (statement.get(name), statement.get(&not)) {
            (Some(patterns), None) => strings(name, patterns).map(Patterns::Any),
            (None, Some(patterns)) => strings(&not, patterns).map(Patterns::None),
            (Some(_), Some(_)) => Err(format!("a policy statement with both `{name}` and `{not}`")),
            (None, None) => Err(format!("a policy statement without `{name}`")),
        }
    };
    Ok(Statement { allows, actions: patterns("Action")?, resources: patterns("Resource")? })
}

fn strings(name: &str, value: &Value) -> Result<Vec<String>, String> {
    let wrong = || format!("a policy statement whose `{name}` is neither text nor a list of texts");
    match value {
        Value::String(one) => Ok(vec![one.clone()]),
        Value::Array(all) => {
            all.iter().map(|one| one.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
        }
        _ => Err(wrong()),
    }
}

impl Patterns {
    fn hold(&self, text: &str, any_case: bool) -> bool {
        let fits = |pattern: &String| match any_case {
            true => wildcard(pattern.to_ascii_lowercase().as_bytes(), text.to_ascii_lowercase().as_bytes()),
            false => wildcard(pattern.as_bytes(), text.as_bytes()),
        };
        match self {
            Self::Any(patterns) => patterns.iter().any(fits),
            Self::None(patterns) => !patterns.iter().any(fits),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const ARN: &str = "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3d4e5/prod/GET/items/7";

    fn decide(statements: Value) -> Result<Verdict, String> {
        Policy::parse(&json!({ "Version": "2012-10-17", "Statement": statements }))
            .map(|policy| policy.decide(ARN))
    }

    fn one(effect: &str, resource: &str) -> Value {
        json!({ "Action": "execute-api:Invoke", "Effect": effect, "Resource": resource })
    }

    #[test]
    fn stars_reach_across_slashes() {
        let base = "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3d4e5";
        for (resource, expected) in [
            (ARN.to_owned(), Verdict::Allowed),
            (format!("{base}/prod/GET/items/*"), Verdict::Allowed),
            (format!("{base}/prod/*"), Verdict::Allowed),
            (format!("{base}/*/GET/*"), Verdict::Allowed),
            (format!("{base}/*"), Verdict::Allowed),
            (format!("{base}/*7"), Verdict::Allowed),
            (format!("{base}/prod/GET?items?7"), Verdict::Allowed),
            ("*".to_owned(), Verdict::Allowed),
            ("arn:aws:execute-api:*:*:*".to_owned(), Verdict::Allowed),
            (format!("{base}/prod/GET/items/?"), Verdict::Allowed),
            (format!("{base}/prod/GET/items/??"), Verdict::NotAllowed),
            (format!("{base}/prod/POST/items/7"), Verdict::NotAllowed),
            (format!("{base}/prod/GET/items"), Verdict::NotAllowed),
            (format!("{base}/PROD/GET/items/7"), Verdict::NotAllowed),
            (String::new(), Verdict::NotAllowed),
        ] {
            assert_eq!(decide(json!([one("Allow", &resource)])), Ok(expected), "{resource}");
        }
    }

    #[test]
    fn a_deny_beats_every_allow() {
        for (statements, expected) in [
            (json!([one("Allow", "*"), one("Deny", ARN)]), Verdict::Denied),
            (json!([one("Deny", ARN), one("Allow", "*")]), Verdict::Denied),
            (json!([one("Deny", "arn:aws:s3:::*"), one("Allow", "*")]), Verdict::Allowed),
            (json!(one("Deny", "*")), Verdict::Denied),
            (json!([]), Verdict::NotAllowed),
        ] {
            assert_eq!(decide(statements.clone()), Ok(expected), "{statements}");
        }
    }

    #[test]
    fn actions_and_their_opposites() {
        for (statement, expected) in [
            (json!({ "Effect": "Allow", "Action": "*", "Resource": "*" }), Verdict::Allowed),
            (json!({ "Effect": "Allow", "Action": "EXECUTE-API:invoke", "Resource": "*" }), Verdict::Allowed),
            (
                json!({ "Effect": "Allow", "Action": ["s3:*", "execute-api:*"], "Resource": ["x", "*"] }),
                Verdict::Allowed,
            ),
            (
                json!({ "Effect": "Allow", "Action": "execute-api:ManageConnections", "Resource": "*" }),
                Verdict::NotAllowed,
            ),
            (json!({ "Effect": "Allow", "NotAction": "s3:*", "Resource": "*" }), Verdict::Allowed),
            (
                json!({ "Effect": "Allow", "NotAction": "execute-api:*", "Resource": "*" }),
                Verdict::NotAllowed,
            ),
            (json!({ "Effect": "Deny", "Action": "*", "NotResource": ARN }), Verdict::NotAllowed),
            (json!({ "Effect": "Deny", "Action": "*", "NotResource": "x" }), Verdict::Denied),
            (json!({ "Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {} }), Verdict::Allowed),
        ] {
            assert_eq!(decide(json!([statement])), Ok(expected), "{statement}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for statement in [
            json!({ "Action": "*", "Resource": "*" }),
            json!({ "Effect": "allow", "Action": "*", "Resource": "*" }),
            json!({ "Effect": "Allow", "Resource": "*" }),
            json!({ "Effect": "Allow", "Action": "*" }),
            json!({ "Effect": "Allow", "Action": "*", "Resource": 7 }),
            json!({ "Effect": "Allow", "Action": [1], "Resource": "*" }),
            json!({ "Effect": "Allow", "Action": "*", "NotAction": "*", "Resource": "*" }),
            json!({ "Effect": "Allow", "Action": "*", "Resource": "*", "Condition": { "IpAddress": {} } }),
            json!("Allow"),
        ] {
            assert!(decide(json!([statement])).is_err(), "{statement}");
        }
        for document in [json!(null), json!("x"), json!({}), json!({ "Statement": "x" })] {
            assert!(Policy::parse(&document).is_err(), "{document}");
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::from),
            "(Allow|Deny|\\*|[a-z:*?/]{0,12})".prop_map(Value::String),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            let name = "(Statement|Effect|Action|NotAction|Resource|NotResource|Condition|[a-z]{1,4})";
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
                prop::collection::vec((name, inner), 0..6)
                    .prop_map(|entries| Value::Object(entries.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_document_is_too_strange(document in any_json(), arn in ".{0,60}") {
            if let Ok(policy) = Policy::parse(&document) {
                policy.decide(&arn);
            }
        }

        #[test]
        fn a_deny_of_everything_is_never_overruled(resources in prop::collection::vec("[a-z*?/:]{0,8}", 0..5)) {
            let mut statements: Vec<Value> = resources.iter().map(|r| one("Allow", r)).collect();
            statements.insert(resources.len() / 2, one("Deny", "*"));
            prop_assert_eq!(decide(Value::Array(statements)), Ok(Verdict::Denied));
        }
    }
}
