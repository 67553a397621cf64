//! Parameters: what they are given, by whom, and whether they may be.

use std::collections::BTreeMap;
use std::path::PathBuf;

use regex::Regex;

use super::document::broken;
use super::reports::Reports;
use crate::deployment::Severity;
use crate::deployment::nearest::hint;
use crate::deployment::yaml::Node;

/// CloudFormation's limit for the value of one.
const MOST_BYTES: usize = 4096;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parameter {
    Text(String),
    List(Vec<String>),
    /// Neither given nor a default: reported already.
    Missing,
}

/// A value that takes the default's place.
#[derive(Debug, Clone)]
pub struct Override {
    pub name: String,
    pub value: String,
    /// The file that says so; `None`: the command line.
    pub from: Option<PathBuf>,
}

/// What `--parameter-overrides` was given, in all of SAM's forms: `Key=Value`, several in one argument
/// with spaces between them (`A=1 B="x y"`), and `ParameterKey=A,ParameterValue=1`.
pub fn parse_overrides(arguments: &[String]) -> Result<Vec<(String, String)>, String> {
    let mut overrides = Vec::new();
    for argument in arguments {
        let mut rest = argument.trim();
        while !rest.is_empty() {
            let (pair, after) = parse_override(rest)?;
            overrides.push(pair);
            rest = after.trim_start();
        }
    }
    Ok(overrides)
}

fn parse_override(text: &str) -> Result<((String, String), &str), String> {
    let help = "hint: write Key=Value, with quotes around a value that has spaces: 'Key=\"a b\"'";
    let word = text.split_whitespace().next().unwrap_or_default();
    let (name, value) = match text.strip_prefix("ParameterKey=") {
        Some(rest) => rest.split_once(",ParameterValue=").ok_or_else(|| {
            format!("`{word}` has no `,ParameterValue=`\nhint: write ParameterKey=Name,ParameterValue=Value")
        })?,
        None => text.split_once('=').ok_or_else(|| format!("`{word}` has no `=`\n{help}"))?,
    };
    let name = name.trim_matches('"');
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(format!("`{word}` does not begin with a parameter's name and `=`\n{help}"));
    }
    let (value, after) =
        parse_value(value).ok_or_else(|| format!("a quotation mark in `{text}` is not closed"))?;
    Ok(((name.to_owned(), value), after))
}

/// Up to white space that is neither quoted nor behind a backslash. Quotes that do not surround the
/// whole value belong to it, as JSON needs.
fn parse_value(text: &str) -> Option<(String, &str)> {
    if let Some(quote) = text.chars().next().filter(|first| matches!(first, '"' | '\'')) {
        let mut value = String::new();
        let mut characters = text.char_indices().skip(1).peekable();
        while let Some((at, character)) = characters.next() {
            match (character, characters.peek()) {
                ('\\', Some((_, next))) if *next == quote || *next == '\\' => {
                    value.push(*next);
                    characters.next();
                }
                (character, next) if character == quote => {
                    if next.is_none_or(|(_, next)| next.is_whitespace()) {
                        return Some((value, &text[at + 1..]));
                    }
                    value.push(character);
                }
                (character, _) => value.push(character),
            }
        }
        return None;
    }
    let mut value = String::new();
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        match (character, characters.peek()) {
            ('\\', Some((_, next))) if next.is_whitespace() || *next == '"' => {
                value.push(*next);
                characters.next();
            }
            (character, _) if character.is_whitespace() => return Some((value, &text[at..])),
            (character, _) => value.push(character),
        }
    }
    Some((value, ""))
}

/// The values of all parameters of a template.
pub fn settle(
    section: Option<&Node>,
    overrides: &[Override],
    reports: &mut Reports,
) -> BTreeMap<String, Parameter> {
    let mut parameters = BTreeMap::new();
    if let Some(section) = section.filter(|section| !section.is_null()) {
        match section.mapping() {
            Some(entries) => {
                for (key, definition) in entries {
                    let Some(name) = key.text() else {
                        reports.error(key.line, "a parameter's name must be text");
                        continue;
                    };
                    let given = overrides.iter().rev().find(|given| given.name == name);
                    parameters
                        .insert(name.to_owned(), settle_one(name, key.line, definition, given, reports));
                }
            }
            None => reports.error(section.line, "`Parameters` must be a map such as `Stage: {Type: String}`"),
        }
    }
    for given in overrides.iter().filter(|given| !parameters.contains_key(&given.name)) {
        let hint = hint(&given.name, parameters.keys().map(String::as_str));
        let text = format!(
            "a value is given for the parameter `{}`, which the template does not have{hint}",
            given.name
        );
        match &given.from {
            Some(path) => {
                let mut problem = broken(path, None, text);
                problem.severity = Severity::Warning;
                reports.add(problem);
            }
            None => reports.warning(section.map_or(1, |section| section.line), text),
        }
    }
    parameters
}

fn settle_one(
    name: &str,
    line: usize,
    definition: &Node,
    given: Option<&Override>,
    reports: &mut Reports,
) -> Parameter {
    if definition.mapping().is_none() {
        reports.error(line, format!("the parameter `{name}` must be a map such as `Type: String`"));
    }
    let kind = definition.get("Type").and_then(Node::text).unwrap_or_else(|| {
        reports.error(line, format!("the parameter `{name}` has no `Type`; it is taken for `String`"));
        "String"
    });
    let default = definition.get("Default");
    let value = match (given, default) {
        (Some(given), _) => given.value.clone(),
        (None, Some(default)) if default.is_null() => String::new(),
        (None, Some(default)) => match default.text() {
            Some(text) => text.to_owned(),
            None => {
                let what = default.kind();
                reports.error(
                    default.line,
                    format!("the default of the parameter `{name}` must be text, not {what}"),
                );
                return Parameter::Missing;
            }
        },
        (None, None) => {
            let text = format!(
                "the parameter `{name}` has no default and is given no value\n\
                 hint: give one with --parameter-overrides {name}=VALUE, or in samconfig.toml"
            );
            reports.error(line, text);
            return Parameter::Missing;
        }
    };
    if is_looked_up(kind) && given.is_none() {
        let text = format!(
            "the parameter `{name}` is looked up in SSM on AWS; here it is its default, `{value}`\n\
             hint: give the value with --parameter-overrides {name}=VALUE"
        );
        reports.note(line, text);
    }
    let is_list = is_list(kind, name, line, reports);
    let values: Vec<String> = if is_list {
        // Nothing is one empty text, as on AWS.
        value.split(',').map(|part| part.trim().to_owned()).collect()
    } else {
        vec![value.clone()]
    };
    let check =
        Check { name, definition, hidden: definition.get("NoEcho").and_then(Node::boolean) == Some(true) };
    if value.len() > MOST_BYTES {
        reports.error(
            line,
            format!(
                "the value of the parameter `{name}` has {} bytes; the limit is {MOST_BYTES}",
                value.len()
            ),
        );
    } else if !is_looked_up(kind) {
        // What is looked up is not what is given.
        let is_number = kind.contains("Number");
        if let Err(problem) = values.iter().try_for_each(|value| check.one(value, is_number, reports)) {
            let reason = definition.get("ConstraintDescription").and_then(Node::text);
            let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
            reports.error(line, format!("{problem}{reason}"));
        }
    }
    if is_list { Parameter::List(values) } else { Parameter::Text(value) }
}

fn is_looked_up(kind: &str) -> bool {
    kind.starts_with("AWS::SSM::Parameter::Value<")
}

/// Whether a type is one of many values; unknown ones are reported.
fn is_list(kind: &str, name: &str, line: usize, reports: &mut Reports) -> bool {
    let inner = kind.strip_prefix("AWS::SSM::Parameter::Value<").and_then(|rest| rest.strip_suffix('>'));
    let kind = inner.unwrap_or(kind);
    let plain = ["String", "Number", "CommaDelimitedList"];
    let element = kind.strip_prefix("List<").and_then(|rest| rest.strip_suffix('>'));
    let known = plain.contains(&kind)
        || kind.starts_with("AWS::")
        || element
            .is_some_and(|element| matches!(element, "Number" | "String") || element.starts_with("AWS::"));
    if !known {
        let hint = hint(kind, plain);
        let text =
            format!("`{kind}` is no type that a parameter can have; `{name}` is taken for a `String`{hint}");
        reports.error(line, text);
    }
    known && (element.is_some() || kind == "CommaDelimitedList")
}

struct Check<'a> {
    name: &'a str,
    definition: &'a Node,
    /// `NoEcho`: its value is not to be shown.
    hidden: bool,
}

impl Check<'_> {
    fn one(&self, value: &str, is_number: bool, reports: &mut Reports) -> Result<(), String> {
        let name = self.name;
        let shown = if self.hidden { "its value".to_owned() } else { format!("`{value}`") };
        let fails = |what: String| Err(format!("the parameter `{name}`: {shown} {what}"));
        let number = value.trim().parse::<f64>().ok().filter(|number| number.is_finite());
        if is_number && number.is_none() {
            return fails("is no number".to_owned());
        }
        if let Some(allowed) = self.definition.get("AllowedValues").and_then(Node::items)
            && !allowed.iter().any(|allowed| allowed.text() == Some(value))
        {
            let allowed: Vec<_> = allowed.iter().filter_map(Node::text).collect();
            return fails(format!("is not one of its AllowedValues ({})", allowed.join(", ")));
        }
        if let Some(pattern) = self.definition.get("AllowedPattern").and_then(Node::text) {
            match Regex::new(&format!("^(?:{pattern})$")) {
                Ok(regex) if !regex.is_match(value) => {
                    return fails(format!("does not match its AllowedPattern `{pattern}`"));
                }
                Ok(_) => {}
                Err(_) => {
                    let text = format!(
                        "the AllowedPattern of the parameter `{name}` is beyond what is understood here; it is not checked"
                    );
                    reports.note(self.definition.line, text);
                }
            }
        }
        let length = value.chars().count() as f64;
        let measures = [
            ("MinLength", !is_number, length, "is shorter than its MinLength"),
            ("MaxLength", !is_number, length, "is longer than its MaxLength"),
            ("MinValue", is_number, number.unwrap_or_default(), "is less than its MinValue"),
            ("MaxValue", is_number, number.unwrap_or_default(), "is more than its MaxValue"),
        ];
        for (property, applies, measure, what) in measures {
            let Some(limit) = self.definition.get(property).filter(|_| applies) else { continue };
            let Some(bound) = limit.text().and_then(|text| text.trim().parse::<f64>().ok()) else {
                reports.error(limit.line, format!("`{property}` of the parameter `{name}` must be a number"));
                continue;
            };
            let exceeds = if property.starts_with("Min") { measure < bound } else { measure > bound };
            if exceeds {
                return fails(format!("{what}, {bound}"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::document::long_form;
    use super::*;
    use crate::deployment::yaml;

    fn parsed(arguments: &[&str]) -> Result<Vec<(String, String)>, String> {
        parse_overrides(&arguments.iter().map(|argument| (*argument).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn overrides_have_all_of_sams_forms() {
        let pairs = |expected: &[(&str, &str)]| {
            expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<Vec<_>>()
        };
        for (arguments, expected) in [
            (vec!["A=1"], vec![("A", "1")]),
            (vec!["A=1", "B=2"], vec![("A", "1"), ("B", "2")]),
            (vec!["A=1 B=\"x y\"  C='z w'"], vec![("A", "1"), ("B", "x y"), ("C", "z w")]),
            (vec!["ParameterKey=A,ParameterValue=1"], vec![("A", "1")]),
            (
                vec!["ParameterKey=A,ParameterValue=1 ParameterKey=B,ParameterValue=\"x y\""],
                vec![("A", "1"), ("B", "x y")],
            ),
            (vec!["A=a=b,c,d"], vec![("A", "a=b,c,d")]),
            (vec!["A="], vec![("A", "")]),
            (vec!["A=\"\" B=x"], vec![("A", ""), ("B", "x")]),
            (vec!["A=x\\ y B=2"], vec![("A", "x y"), ("B", "2")]),
            (vec!["A=\"say \\\"hi\\\"\""], vec![("A", "say \"hi\"")]),
            (vec!["A={\"k\":\"v\"}"], vec![("A", "{\"k\":\"v\"}")]),
            (vec!["\"A\"=1"], vec![("A", "1")]),
            (vec!["A=C:\\temp"], vec![("A", "C:\\temp")]),
            (vec!["  "], vec![]),
        ] {
            assert_eq!(parsed(&arguments), Ok(pairs(&expected)), "{arguments:?}");
        }
        for (argument, expected) in [
            ("A", "`A` has no `=`"),
            ("A=x y", "`y` has no `=`"),
            ("=x", "does not begin with a parameter's name"),
            ("A-B=x", "does not begin with a parameter's name"),
            ("A=\"x", "is not closed"),
            ("ParameterKey=A", "has no `,ParameterValue=`"),
        ] {
            let error = parsed(&[argument]).unwrap_err();
            assert!(error.contains(expected), "{argument}: {error}");
        }
    }

    fn settled(definition: &str, given: Option<&str>) -> (Parameter, Vec<String>) {
        let mut reports = Reports::new(Path::new("t.yaml"));
        let node = yaml::parse(&format!("P: {definition}\n")).unwrap().unwrap();
        let node = long_form(node, &mut reports);
        let given = given.map(|value| Override { name: "P".into(), value: value.into(), from: None });
        let mut parameters = settle(Some(&node), &given.into_iter().collect::<Vec<_>>(), &mut reports);
        let texts = reports.into_problems().into_iter().map(|problem| problem.text).collect();
        (parameters.remove("P").unwrap(), texts)
    }

    #[test]
    fn settles_values() {
        let text = |value: &str| Parameter::Text(value.to_owned());
        let list =
            |values: &[&str]| Parameter::List(values.iter().map(|value| (*value).to_owned()).collect());
        for (definition, given, expected) in [
            ("{Type: String, Default: a}", None, text("a")),
            ("{Type: String, Default: a}", Some("b"), text("b")),
            ("{Type: String, Default: ''}", None, text("")),
            ("{Type: String, Default: }", None, text("")),
            ("{Type: String, Default: true, AllowedValues: [true, false]}", None, text("true")),
            ("{Type: Number, Default: 5}", None, text("5")),
            ("{Type: CommaDelimitedList, Default: 'a, b,c'}", None, list(&["a", "b", "c"])),
            ("{Type: List<Number>, Default: '1,2'}", None, list(&["1", "2"])),
            ("{Type: 'List<AWS::EC2::Subnet::Id>', Default: s-1}", None, list(&["s-1"])),
            ("{Type: 'AWS::EC2::VPC::Id'}", Some("vpc-1"), text("vpc-1")),
            ("{Type: String, AllowedPattern: '[a-z]+'}", Some("abc"), text("abc")),
            ("{Type: String, MinLength: 1, MaxLength: 3}", Some("abc"), text("abc")),
            ("{Type: Number, MinValue: 1, MaxValue: 10}", Some("10"), text("10")),
        ] {
            assert_eq!(settled(definition, given), (expected, vec![]), "{definition}");
        }
    }

    #[test]
    fn says_what_may_not_be() {
        for (definition, given, expected) in [
            (
                "{Type: String}",
                None,
                "`P` has no default and is given no value\nhint: give one with --parameter-overrides P=VALUE",
            ),
            ("{Default: a}", None, "has no `Type`"),
            ("{Type: Strin, Default: a}", None, "did you mean `String`?"),
            ("{Type: Number, Default: a}", None, "`a` is no number"),
            ("{Type: List<Number>, Default: '1,x'}", None, "`x` is no number"),
            (
                "{Type: String, Default: c, AllowedValues: [a, b]}",
                None,
                "`c` is not one of its AllowedValues (a, b)",
            ),
            (
                "{Type: String, Default: c1, AllowedPattern: '[a-z]'}",
                None,
                "`c1` does not match its AllowedPattern `[a-z]`",
            ),
            ("{Type: String, Default: c, AllowedPattern: '(?=x)y'}", None, "it is not checked"),
            ("{Type: String, Default: abcd, MaxLength: 3}", None, "is longer than its MaxLength, 3"),
            ("{Type: String, Default: a, MinLength: 2}", None, "is shorter than its MinLength, 2"),
            ("{Type: Number, Default: 0, MinValue: 1}", None, "is less than its MinValue, 1"),
            ("{Type: Number, Default: 2.5, MaxValue: 1}", None, "is more than its MaxValue, 1"),
            (
                "{Type: Number, Default: 2, MaxValue: x}",
                None,
                "`MaxValue` of the parameter `P` must be a number",
            ),
            ("{Type: String, Default: [a]}", None, "must be text, not a list"),
            (
                "{Type: 'AWS::SSM::Parameter::Value<String>', Default: /a/b}",
                None,
                "here it is its default, `/a/b`",
            ),
            ("x", None, "must be a map"),
            (
                "{Type: String, Default: x, MaxLength: 0, ConstraintDescription: not that}",
                None,
                "0: not that",
            ),
        ] {
            let (_, problems) = settled(definition, given);
            assert!(problems.iter().any(|problem| problem.contains(expected)), "{definition}: {problems:?}");
        }
    }

    #[test]
    fn a_hidden_value_is_not_shown() {
        let (value, problems) = settled("{Type: String, NoEcho: true, MaxLength: 2}", Some("secret"));
        assert_eq!(value, Parameter::Text("secret".into()));
        assert_eq!(problems, ["the parameter `P`: its value is longer than its MaxLength, 2"]);
        let (_, problems) =
            settled("{Type: 'AWS::SSM::Parameter::Value<String>', Default: /a}", Some("given"));
        assert_eq!(problems, Vec::<String>::new());
    }

    #[test]
    fn says_which_parameter_there_is_not() {
        let mut reports = Reports::new(Path::new("t.yaml"));
        let node = yaml::parse("Stage: {Type: String, Default: x}\n").unwrap().unwrap();
        let given = |name: &str, from: Option<&str>| Override {
            name: name.into(),
            value: "x".into(),
            from: from.map(Into::into),
        };
        settle(Some(&node), &[given("Stge", None), given("Other", Some("samconfig.toml"))], &mut reports);
        let texts: Vec<_> = reports.into_problems().iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "t.yaml:1: a value is given for the parameter `Stge`, which the template does not have\n\
                 hint: did you mean `Stage`?",
                "samconfig.toml: a value is given for the parameter `Other`, which the template does not have",
            ]
        );
    }
}
