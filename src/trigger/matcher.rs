//! What one value of an event is compared with: the leaves of event patterns.

use std::net::IpAddr;

use serde_json::{Map, Number, Value};

#[derive(Debug, Clone, PartialEq)]
pub enum Matcher {
    Equal(Value),
    Text(Text),
    /// Not one of these.
    AnythingBut(Vec<Value>),
    AnythingButText(Vec<Text>),
    /// Bounds that all hold.
    Numeric(Vec<(Comparison, f64)>),
    Exists(bool),
    Cidr {
        network: u128,
        mask: u128,
        is_v4: bool,
    },
}

/// Compared with text only.
#[derive(Debug, Clone, PartialEq)]
pub enum Text {
    Prefix(String),
    Suffix(String),
    /// The same, in lower case.
    PrefixIgnoringCase(String),
    SuffixIgnoringCase(String),
    EqualIgnoringCase(String),
    /// Its pieces between stars, in order.
    Wildcard(Vec<String>),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Comparison {
    Equal,
    Less,
    LessOrEqual,
    More,
    MoreOrEqual,
}

/// AWS compares numbers between these.
const NUMBERS: std::ops::RangeInclusive<f64> = -5e9..=5e9;

impl Matcher {
    pub fn parse(value: &Value) -> Result<Self, String> {
        match value {
            Value::Array(_) => Err("Match value must be String, number, true, false, or null".to_owned()),
            Value::Object(object) => Self::expression(object),
            scalar => Ok(Self::Equal(scalar.clone())),
        }
    }

    /// `{"prefix": "x"}`
    fn expression(object: &Map<String, Value>) -> Result<Self, String> {
        let mut entries = object.iter();
        let (Some((kind, value)), None) = (entries.next(), entries.next()) else {
            return Err("Only one key allowed in match expression".to_owned());
        };
        match kind.as_str() {
            "exists" => match value {
                Value::Bool(wanted) => Ok(Self::Exists(*wanted)),
                _ => Err("exists match pattern must be either true or false.".to_owned()),
            },
            "numeric" => numeric(value),
            "cidr" => cidr(value),
            "anything-but" => anything_but(value),
            _ => Text::parse(kind, value).map(Self::Text),
        }
    }

    /// Of a value that is no object and no array.
    pub fn matches(&self, value: &Value) -> bool {
        match self {
            Self::Equal(wanted) => equal(wanted, value),
            Self::Text(text) => value.as_str().is_some_and(|value| text.matches(value)),
            Self::AnythingBut(refused) => !refused.iter().any(|refused| equal(refused, value)),
            Self::AnythingButText(refused) => {
                value.as_str().is_none_or(|value| !refused.iter().any(|refused| refused.matches(value)))
            }
            Self::Numeric(bounds) => match value.as_f64().filter(|number| NUMBERS.contains(number)) {
                Some(number) => bounds.iter().all(|(comparison, bound)| comparison.holds(number, *bound)),
                None => false,
            },
            Self::Exists(wanted) => *wanted,
            Self::Cidr { network, mask, is_v4 } => {
                let address: Option<IpAddr> = value.as_str().and_then(|text| text.parse().ok());
                address.is_some_and(|address| address.is_ipv4() == *is_v4 && bits(address) & mask == *network)
            }
        }
    }
}

/// `1` and `1.0` are the same number.
fn equal(wanted: &Value, value: &Value) -> bool {
    match (wanted, value) {
        (Value::Number(wanted), Value::Number(value)) => wanted == value || same(wanted, value),
        _ => wanted == value,
    }
}

/// Integers that a float cannot tell apart are compared as integers above.
fn same(one: &Number, other: &Number) -> bool {
    (one.is_f64() || other.is_f64()) && one.as_f64() == other.as_f64()
}

impl Text {
    fn parse(kind: &str, value: &Value) -> Result<Self, String> {
        let must_be = || format!("{kind} match pattern must be a string");
        let text = |value: &Value| value.as_str().map(str::to_owned);
        // `{"prefix": {"equals-ignore-case": "x"}}`
        let ignoring_case = || {
            let object = value.as_object().filter(|object| object.len() == 1)?;
            object.get("equals-ignore-case").and_then(text).map(|text| text.to_lowercase())
        };
        let nonempty = |text: String| match text.is_empty() {
            true => Err(format!("Null {kind} not allowed")),
            false => Ok(text),
        };
        match kind {
            "prefix" => match (text(value), ignoring_case()) {
                (Some(text), _) => Ok(Self::Prefix(text)),
                (None, Some(text)) => nonempty(text).map(Self::PrefixIgnoringCase),
                _ => Err(must_be()),
            },
            "suffix" => match (text(value), ignoring_case()) {
                (Some(text), _) => Ok(Self::Suffix(text)),
                (None, Some(text)) => nonempty(text).map(Self::SuffixIgnoringCase),
                _ => Err(must_be()),
            },
            "equals-ignore-case" => {
                Ok(Self::EqualIgnoringCase(text(value).ok_or_else(must_be)?.to_lowercase()))
            }
            "wildcard" => wildcard(value.as_str().ok_or_else(must_be)?),
            _ => Err(format!("Unrecognized match type {kind}")),
        }
    }

    fn matches(&self, value: &str) -> bool {
        match self {
            Self::Prefix(text) => value.starts_with(text.as_str()),
            Self::Suffix(text) => value.ends_with(text.as_str()),
            Self::PrefixIgnoringCase(text) => value.to_lowercase().starts_with(text.as_str()),
            Self::SuffixIgnoringCase(text) => value.to_lowercase().ends_with(text.as_str()),
            Self::EqualIgnoringCase(text) => value.to_lowercase() == *text,
            Self::Wildcard(pieces) => matches_wildcard(pieces, value),
        }
    }
}

/// `*` stands for any text, `\*` for a star, `\\` for a backslash.
fn wildcard(text: &str) -> Result<Text, String> {
    let mut pieces = vec![String::new()];
    let mut letters = text.chars();
    let mut after_star = false;
    while let Some(letter) = letters.next() {
        if letter == '*' {
            if after_star {
                return Err("Consecutive wildcard characters are not allowed".to_owned());
            }
            pieces.push(String::new());
            after_star = true;
            continue;
        }
        after_star = false;
        let letter = match letter {
            '\\' => letters
                .next()
                .filter(|escaped| matches!(escaped, '*' | '\\'))
                .ok_or("Invalid escape character: only `\\*` and `\\\\` are allowed")?,
            letter => letter,
        };
        pieces.last_mut().expect("there is always one").push(letter);
    }
    Ok(Text::Wildcard(pieces))
}

/// The first piece begins the value and the last ends it; each of the others is taken where it is
/// found first, which leaves the most for those behind it. Nothing is ever tried twice.
fn matches_wildcard(pieces: &[String], value: &str) -> bool {
    let [first, between @ .., last] = pieces else { return pieces.first().is_some_and(|one| one == value) };
    let rest = value.strip_prefix(first.as_str()).and_then(|rest| rest.strip_suffix(last.as_str()));
    let Some(mut rest) = rest else { return false };
    between.iter().all(|piece| match rest.find(piece.as_str()) {
        Some(at) => {
            rest = &rest[at + piece.len()..];
            true
        }
        None => false,
    })
}

/// `{"anything-but": ...}`: a value, several of a kind, or text that is looked at more closely.
fn anything_but(value: &Value) -> Result<Matcher, String> {
    match value {
        Value::String(_) | Value::Number(_) => Ok(Matcher::AnythingBut(vec![value.clone()])),
        Value::Array(values) if values.is_empty() => Err("Empty arrays are not allowed".to_owned()),
        Value::Array(values)
            if values.iter().all(Value::is_string) || values.iter().all(Value::is_number) =>
        {
            Ok(Matcher::AnythingBut(values.clone()))
        }
        Value::Object(object) if object.len() == 1 => {
            let (kind, value) = object.iter().next().expect("it has one");
            let known = matches!(kind.as_str(), "prefix" | "suffix" | "equals-ignore-case" | "wildcard");
            if !known {
                return Err(format!("Unsupported anything-but pattern: {kind}"));
            }
            let texts = match value {
                Value::Array(values) if values.is_empty() => {
                    return Err("Empty arrays are not allowed".to_owned());
                }
                Value::Array(values) => {
                    values.iter().map(|value| Text::parse(kind, value)).collect::<Result<_, _>>()?
                }
                value => vec![Text::parse(kind, value)?],
            };
            let nothing =
                |text: &Text| matches!(text, Text::Prefix(text) | Text::Suffix(text) if text.is_empty());
            if texts.iter().any(nothing) {
                return Err(format!("Null {kind} not allowed"));
            }
            Ok(Matcher::AnythingButText(texts))
        }
        _ => Err("Value of anything-but must be an array or single string/number value.".to_owned()),
    }
}

/// `["=", 5]`, `[">", 0, "<=", 5]`
fn numeric(value: &Value) -> Result<Matcher, String> {
    let Value::Array(parts) = value else {
        return Err("Value of numeric must be an array.".to_owned());
    };
    let mut bounds = Vec::new();
    for pair in parts.chunks(2) {
        let [comparison, number] = pair else {
            return Err("Value of numeric must be numeric: a number is missing".to_owned());
        };
        let comparison = match comparison.as_str() {
            Some("=") => Comparison::Equal,
            Some("<") => Comparison::Less,
            Some("<=") => Comparison::LessOrEqual,
            Some(">") => Comparison::More,
            Some(">=") => Comparison::MoreOrEqual,
            _ => return Err(format!("Unrecognized numeric range operator: {comparison}")),
        };
        let number = number.as_f64().ok_or_else(|| format!("Value of {comparison:?} must be numeric"))?;
        if !NUMBERS.contains(&number) {
            return Err("Value must be between -5.0E9 and 5.0E9, inclusive".to_owned());
        }
        bounds.push((comparison, number));
    }
    match bounds[..] {
        [_] => {}
        [
            (Comparison::More | Comparison::MoreOrEqual, low),
            (Comparison::Less | Comparison::LessOrEqual, high),
        ] => {
            if low >= high {
                return Err("Bottom must be less than top".to_owned());
            }
        }
        [] => return Err("Invalid member in numeric match: ]".to_owned()),
        _ => return Err("Too many elements in numeric expression".to_owned()),
    }
    Ok(Matcher::Numeric(bounds))
}

impl Comparison {
    fn holds(self, number: f64, bound: f64) -> bool {
        match self {
            Self::Equal => number == bound,
            Self::Less => number < bound,
            Self::LessOrEqual => number <= bound,
            Self::More => number > bound,
            Self::MoreOrEqual => number >= bound,
        }
    }
}

/// `10.0.0.0/24`, `2001:db8::/32`
fn cidr(value: &Value) -> Result<Matcher, String> {
    let text = value.as_str().ok_or("Value of CIDR must be a string")?;
    let malformed = || format!("Malformed CIDR, one '/' required: {text}");
    let (address, length) = text.split_once('/').ok_or_else(malformed)?;
    let address: IpAddr = address.parse().map_err(|_| format!("Malformed CIDR: {text}"))?;
    let width = if address.is_ipv4() { 32 } else { 128 };
    let digits = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
    let length: u32 = length
        .parse()
        .ok()
        .filter(|length| digits && *length <= width)
        .ok_or_else(|| format!("Malformed CIDR, mask bits must be 0 to {width}: {text}"))?;
    let all = if width == 32 { u128::from(u32::MAX) } else { u128::MAX };
    let mask = all.checked_shl(width - length).unwrap_or(0) & all;
    Ok(Matcher::Cidr { network: bits(address) & mask, mask, is_v4: width == 32 })
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(matcher: Value, matching: &[Value], others: &[Value]) {
        let parsed = Matcher::parse(&matcher).unwrap();
        for value in matching {
            assert!(parsed.matches(value), "{matcher} should match {value}");
        }
        for value in others {
            assert!(!parsed.matches(value), "{matcher} should not match {value}");
        }
    }

    #[test]
    fn text_is_looked_at_from_both_ends() {
        check(json!({"prefix": "ab"}), &[json!("ab"), json!("abc")], &[json!("Abc"), json!("a"), json!(1)]);
        check(json!({"suffix": ".png"}), &[json!("x.png")], &[json!("x.PNG"), json!(".pn"), json!(null)]);
        check(json!({"prefix": {"equals-ignore-case": "AB"}}), &[json!("abc"), json!("ABC")], &[json!("b")]);
        check(json!({"suffix": {"equals-ignore-case": ".PNG"}}), &[json!("x.png")], &[json!("png")]);
        check(json!({"equals-ignore-case": "Alice"}), &[json!("ALICE")], &[json!("alicia")]);
    }

    #[test]
    fn stars_stand_for_any_text() {
        check(
            json!({"wildcard": "EU/*/orders/*"}),
            &[json!("EU/a/orders/"), json!("EU//orders/x/y")],
            &[json!("EU/orders/x"), json!("US/a/orders/x")],
        );
        check(json!({"wildcard": "a*a"}), &[json!("aa"), json!("aba")], &[json!("a"), json!("ab")]);
        check(json!({"wildcard": "*"}), &[json!(""), json!("x")], &[json!(1)]);
        check(json!({"wildcard": "x"}), &[json!("x")], &[json!("xx")]);
        check(json!({"wildcard": r"1\*\\*"}), &[json!(r"1*\2")], &[json!(r"12\2")]);
        // Would take a careless matcher longer than the universe has been there.
        let slow = "a*".repeat(1000) + "b";
        check(json!({"wildcard": slow}), &[], &[json!("a".repeat(100_000))]);
    }

    #[test]
    fn anything_but_what_is_named() {
        check(json!({"anything-but": "x"}), &[json!("y"), json!(1), json!(null)], &[json!("x")]);
        check(json!({"anything-but": [1, 2]}), &[json!(3), json!("1")], &[json!(1), json!(2.0)]);
        check(json!({"anything-but": {"prefix": "in"}}), &[json!("out"), json!(5)], &[json!("init")]);
        check(json!({"anything-but": {"prefix": ["in", "on"]}}), &[json!("out")], &[json!("once")]);
        check(json!({"anything-but": {"suffix": ".tmp"}}), &[json!("a")], &[json!("a.tmp")]);
        check(json!({"anything-but": {"equals-ignore-case": ["A", "b"]}}), &[json!("c")], &[json!("B")]);
        check(json!({"anything-but": {"wildcard": "*/x/*"}}), &[json!("a/y/b")], &[json!("a/x/b")]);
    }

    #[test]
    fn numbers_lie_between() {
        check(json!({"numeric": ["=", 5]}), &[json!(5), json!(5.0)], &[json!("5"), json!(6)]);
        check(json!({"numeric": [">", 0, "<=", 5]}), &[json!(0.5), json!(5)], &[json!(0), json!(5.1)]);
        check(json!({"numeric": ["<", 10]}), &[json!(-3)], &[json!(10), json!(-6e9)]);
        check(json!(9007199254740993_i64), &[json!(9007199254740993_i64)], &[json!(9007199254740992_i64)]);
    }

    #[test]
    fn addresses_lie_in_networks() {
        check(json!({"cidr": "10.0.0.0/24"}), &[json!("10.0.0.255")], &[json!("10.0.1.0"), json!("x")]);
        check(json!({"cidr": "10.0.0.7/0"}), &[json!("1.2.3.4")], &[json!("::1")]);
        check(json!({"cidr": "2001:db8::/32"}), &[json!("2001:db8::1")], &[json!("2001:db9::1")]);
        check(json!({"cidr": "::/0"}), &[json!("::1")], &[json!("10.0.0.1")]);
    }

    #[test]
    fn what_aws_refuses() {
        for matcher in [
            json!({"prefix": 1}),
            json!({"prefix": {"equals-ignore-case": 1}}),
            json!({"suffix": null}),
            json!({"wildcard": "a**b"}),
            json!({"wildcard": r"a\b"}),
            json!({"wildcard": r"a\"}),
            json!({"anything-but": []}),
            json!({"anything-but": [1, "x"]}),
            json!({"anything-but": {"prefix": ""}}),
            json!({"anything-but": {"numeric": ["=", 1]}}),
            json!({"anything-but": null}),
            json!({"exists": "true"}),
            json!({"numeric": []}),
            json!({"numeric": ["="]}),
            json!({"numeric": ["=", "1"]}),
            json!({"numeric": ["!", 1]}),
            json!({"numeric": [">", 5, "<", 1]}),
            json!({"numeric": ["<", 5, ">", 1]}),
            json!({"numeric": [">", 6e9]}),
            json!({"numeric": 5}),
            json!({"cidr": "10.0.0.0"}),
            json!({"cidr": "10.0.0.0/33"}),
            json!({"cidr": "10.0.0.0/+3"}),
            json!({"cidr": "10.0.0/8"}),
            json!({"cidr": 1}),
        ] {
            assert!(Matcher::parse(&matcher).is_err(), "{matcher}");
        }
    }

    proptest! {
        /// Against a regular expression of the same meaning.
        #[test]
        fn stars_match_as_in_a_regular_expression(pattern in r"\*?([ab]{1,2}\*?){1,4}", value in "[ab]{0,12}") {
            let meant = format!("^(?s:{})$", pattern.replace('*', ".*"));
            let Ok(Text::Wildcard(pieces)) = wildcard(&pattern) else { panic!() };
            let expected = regex::Regex::new(&meant).unwrap().is_match(&value);
            prop_assert_eq!(matches_wildcard(&pieces, &value), expected);
        }
    }
}
