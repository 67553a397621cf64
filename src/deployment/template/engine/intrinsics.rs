//! Intrinsic functions -> values. What cannot be resolved is reported, and a text stands in its place:
//! the rest of the template is served.

use std::ops::RangeInclusive;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::cidr;
use super::scope::{MOST_TEXT, Scope, Unresolved};
use super::substitution::{self, Piece};
use crate::deployment::nearest::hint;
use crate::deployment::yaml::{Node, Value};

/// `None`: `AWS::NoValue`, which takes the property or item away.
type Resolved = Result<Option<Node>, Unresolved>;

/// The name and argument of an intrinsic. `{Condition: x}` is one in conditions only: policies have
/// a property of that name.
pub fn function(node: &Node, in_condition: bool) -> Option<(&str, &Node)> {
    match node.mapping()? {
        [(key, argument)] => {
            let name = key.text()?;
            let is_function =
                name == "Ref" || name.starts_with("Fn::") || (in_condition && name == "Condition");
            is_function.then_some((name, argument))
        }
        _ => None,
    }
}

impl Scope<'_> {
    /// The value without intrinsics; `None`: nothing is to stand here.
    pub fn resolve(&mut self, node: &Node) -> Option<Node> {
        if !self.enter(node) {
            return Some(Node::scalar("", node.line));
        }
        let resolved = match function(node, false) {
            Some((name, argument)) => match self.call(name, argument, node.line) {
                Ok(resolved) => resolved,
                Err(unresolved) => Some(self.stand_in(unresolved)),
            },
            None => self.resolve_inside(node),
        };
        self.depth -= 1;
        resolved
    }

    fn resolve_inside(&mut self, node: &Node) -> Option<Node> {
        let value = match &node.value {
            Value::Scalar { text, .. } => {
                self.warn_of_dynamic_reference(text, node.line);
                node.value.clone()
            }
            Value::Sequence(items) => {
                Value::Sequence(items.iter().filter_map(|item| self.resolve(item)).collect())
            }
            Value::Mapping(entries) => self.resolve_entries(entries),
        };
        Some(Node { line: node.line, tag: None, value })
    }

    fn resolve_entries(&mut self, entries: &[(Node, Node)]) -> Value {
        let mut resolved = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            match key.text() {
                Some("Fn::Transform") => match self.transform(value, key.line) {
                    Ok(Some(Node { value: Value::Mapping(included), .. })) => resolved.extend(included),
                    Ok(_) => self.reports.error(key.line, "what is included among other keys must be a map"),
                    Err(unresolved) => {
                        self.stand_in(unresolved);
                    }
                },
                Some(name) if name.starts_with("Fn::") => {
                    let text = format!("`{name}` must stand alone in its map; it is ignored");
                    self.reports.error(key.line, text);
                }
                _ => {
                    let key = self.key(key);
                    resolved.extend(self.resolve(value).map(|value| (key, value)));
                }
            }
        }
        Value::Mapping(resolved)
    }

    /// A key is text; a tagged or nested one is not.
    fn key(&mut self, key: &Node) -> Node {
        if key.text().is_none() {
            let text = format!("a key must be text, not {}", key.kind());
            self.reports.error(key.line, text);
            return Node::scalar(&key.kind(), key.line);
        }
        key.clone()
    }

    /// A value that must be text.
    pub fn text(&mut self, node: &Node, what: &str) -> Result<String, Unresolved> {
        match self.resolve(node) {
            Some(Node { value: Value::Scalar { text, .. }, .. }) => Ok(text),
            Some(other) => {
                let text = format!("{what} must be text, not {}", other.kind());
                Err(Unresolved::new(node.line, text, ""))
            }
            None => Err(Unresolved::new(node.line, format!("{what} must be text, not AWS::NoValue"), "")),
        }
    }

    fn list(&mut self, node: &Node, what: &str) -> Result<Vec<Node>, Unresolved> {
        match self.resolve(node) {
            Some(Node { value: Value::Sequence(items), .. }) => Ok(items),
            other => {
                let kind = other.map_or("AWS::NoValue".to_owned(), |other| other.kind());
                Err(Unresolved::new(node.line, format!("{what} must be a list, not {kind}"), ""))
            }
        }
    }

    fn call(&mut self, name: &str, argument: &Node, line: usize) -> Resolved {
        match name {
            "Ref" => match argument.text() {
                Some(name) => self.reference(name, line),
                None => Err(Unresolved::new(
                    line,
                    format!("`Ref` must name something, not {}", argument.kind()),
                    "",
                )),
            },
            "Fn::GetAtt" => self.get_attribute(argument, line),
            "Fn::Sub" => self.substitute(argument, line),
            "Fn::Join" => self.join(argument, line),
            "Fn::If" => self.choose(argument, line),
            "Fn::FindInMap" => self.find_in_map(argument, line),
            "Fn::Select" => self.select(argument, line),
            "Fn::Split" => self.split(argument, line),
            "Fn::Base64" => {
                let text = self.text(argument, "the argument of `Fn::Base64`")?;
                Ok(Some(Node::scalar(&BASE64_STANDARD.encode(text), line)))
            }
            "Fn::ImportValue" => self.import(argument, line),
            "Fn::GetAZs" => self.zones(argument, line),
            "Fn::Cidr" => self.cidr(argument, line),
            "Fn::Transform" => self.transform(argument, line),
            "Fn::Length" | "Fn::ToJsonString" if self.language_extensions => {
                self.extension(name, argument, line)
            }
            _ => Err(self.unknown(name, line)),
        }
    }

    fn unknown(&self, name: &str, line: usize) -> Unresolved {
        let text = match name {
            "Fn::Length" | "Fn::ToJsonString" => {
                format!("`{name}` needs `Transform: AWS::LanguageExtensions` at the top of the template")
            }
            "Fn::And" | "Fn::Equals" | "Fn::Not" | "Fn::Or" => {
                format!(
                    "`{name}` may stand in `Conditions` only\nhint: name the condition there and use it with Fn::If"
                )
            }
            _ if name.starts_with("Fn::ForEach") => {
                "`Fn::ForEach` must be `Fn::ForEach::Name` with a list of three, where keys stand".to_owned()
            }
            _ => {
                let known = super::document::FUNCTIONS.map(|function| format!("Fn::{function}"));
                format!(
                    "`{name}` is no function of CloudFormation{}",
                    hint(name, known.iter().map(String::as_str))
                )
            }
        };
        Unresolved::new(line, text, name)
    }

    fn get_attribute(&mut self, argument: &Node, line: usize) -> Resolved {
        let parts: Vec<String> = match argument.items() {
            Some([resource, attribute]) => {
                let resource = resource.text().map(str::to_owned);
                let attribute = self.text(attribute, "the attribute of `Fn::GetAtt`")?;
                resource.into_iter().chain([attribute]).collect()
            }
            _ => argument
                .text()
                .and_then(|text| text.split_once('.'))
                .map_or_else(Vec::new, |(resource, attribute)| {
                    vec![resource.to_owned(), attribute.to_owned()]
                }),
        };
        let [resource, attribute] = parts.as_slice() else {
            let text =
                format!("`Fn::GetAtt` must be given a resource and its attribute, not {}", argument.kind());
            return Err(Unresolved::new(line, text, argument.text().unwrap_or_default()));
        };
        self.attribute(&format!("{resource}.{attribute}"), line)
    }

    fn substitute(&mut self, argument: &Node, line: usize) -> Resolved {
        let (template, variables) = match argument.items() {
            Some([template, variables]) => (template, variables.mapping()),
            Some([template]) => (template, None),
            _ => (argument, None),
        };
        let Some(text) = template.text() else {
            let text =
                format!("`Fn::Sub` must be given a text, or a text and a map, not {}", argument.kind());
            return Err(Unresolved::new(line, text, ""));
        };
        self.warn_of_dynamic_reference(text, line);
        let mut own = Vec::new();
        for (name, value) in variables.unwrap_or_default() {
            let name = name.text().unwrap_or_default();
            let value = self.text(value, &format!("`{name}` of `Fn::Sub`"));
            own.push((name, value.unwrap_or_else(|unresolved| self.text_instead(unresolved))));
        }
        let mut result = String::new();
        for piece in substitution::pieces(text) {
            match piece {
                Piece::Text(text) => result.push_str(text),
                Piece::Literal(name) => {
                    result.push_str("${");
                    result.push_str(name);
                    result.push('}');
                }
                Piece::Name(name) => match own.iter().find(|(own, _)| *own == name) {
                    Some((_, value)) => result.push_str(value),
                    None => result.push_str(&self.named(name, line)),
                },
            }
            self.check_length(result.len(), line)?;
        }
        Ok(Some(Node::scalar(&result, line)))
    }

    /// `${name}` in a text.
    fn named(&mut self, name: &str, line: usize) -> String {
        let literal = || format!("${{{name}}}");
        if name.starts_with("stageVariables.") {
            let text =
                format!("AWS looks for a resource here\nhint: write `${{!{name}}}` for the stage variable");
            self.reports.warning(line, text);
            return literal();
        }
        if !substitution::is_name(name) {
            let text = format!(
                "`${{{name}}}` names nothing\nhint: write `${{!{name}}}` for the text itself; names have letters, digits, `_`, `.` and `:` only"
            );
            self.reports.error(line, text);
            return literal();
        }
        let resolved = if name.contains('.') && !name.contains("::") {
            self.attribute(name, line)
        } else {
            self.reference(name, line)
        };
        match resolved {
            Ok(Some(Node { value: Value::Scalar { text, .. }, .. })) => text,
            Ok(Some(Node { value: Value::Sequence(items), .. })) => {
                items.iter().filter_map(Node::text).collect::<Vec<_>>().join(",")
            }
            Ok(_) => String::new(),
            Err(unresolved) => self.text_instead(unresolved),
        }
    }

    fn join(&mut self, argument: &Node, line: usize) -> Resolved {
        let [delimiter, items] = self.exactly("Fn::Join", argument)?;
        let delimiter = self.text(delimiter, "the delimiter of `Fn::Join`")?;
        let items = self.list(items, "what `Fn::Join` joins")?;
        let mut result = String::new();
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                result.push_str(&delimiter);
            }
            match item.text() {
                Some(text) => result.push_str(text),
                None => {
                    let text = format!("`Fn::Join` joins texts, not {}", item.kind());
                    self.reports.error(line, text);
                }
            }
            self.check_length(result.len(), line)?;
        }
        Ok(Some(Node::scalar(&result, line)))
    }

    fn choose(&mut self, argument: &Node, line: usize) -> Resolved {
        let [condition, yes, no] = self.exactly("Fn::If", argument)?;
        let Some(name) = condition.text() else {
            let text = format!("`Fn::If` must begin with a condition's name, not {}", condition.kind());
            return Err(Unresolved::new(line, text, ""));
        };
        let holds = self.condition(name, line).unwrap_or(false);
        Ok(self.resolve(if holds { yes } else { no }))
    }

    fn find_in_map(&mut self, argument: &Node, line: usize) -> Resolved {
        let arguments = self.arguments("Fn::FindInMap", argument, 3..=4)?;
        let mut names = Vec::new();
        for argument in &arguments[..3] {
            names.push(self.text(argument, "the keys of `Fn::FindInMap`")?);
        }
        let default = arguments.get(3).and_then(|options| options.get("DefaultValue"));
        let mut found = self.mappings;
        let mut problem = None;
        for (index, name) in names.iter().enumerate() {
            let Some(map) = found else { break };
            found = map.get(name);
            if found.is_none() {
                let path =
                    names[..index].iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(".");
                let place = if index == 0 { "`Mappings`".to_owned() } else { format!("the mapping {path}") };
                let known = map.mapping().unwrap_or_default().iter().filter_map(|(key, _)| key.text());
                problem = Some(format!("{place} has no `{name}`{}", hint(name, known)));
            }
        }
        match (found, default) {
            // What a mapping holds is what it is: functions are not allowed there.
            (Some(found), _) => {
                let value = match &found.value {
                    Value::Mapping(_) => {
                        let text =
                            format!("`Fn::FindInMap` finds a map, not a text or a list: {}", names.join("."));
                        return Err(Unresolved::new(line, text, ""));
                    }
                    Value::Scalar { text, .. } => {
                        self.spend(text.len());
                        found.value.clone()
                    }
                    Value::Sequence(items) => {
                        if !self.spend_nodes(items.len()) {
                            return Err(Unresolved::new(line, "", ""));
                        }
                        found.value.clone()
                    }
                };
                Ok(Some(Node { line, tag: None, value }))
            }
            (None, Some(default)) => Ok(self.resolve(default)),
            (None, None) => {
                let problem = problem.unwrap_or_else(|| "the template has no `Mappings`".to_owned());
                Err(Unresolved::new(line, problem, &names.join(".")))
            }
        }
    }

    fn select(&mut self, argument: &Node, line: usize) -> Resolved {
        let [index, items] = self.exactly("Fn::Select", argument)?;
        let index = self.text(index, "the index of `Fn::Select`")?;
        let items = self.list(items, "what `Fn::Select` selects from")?;
        let found = index.trim().parse::<usize>().ok().and_then(|index| items.get(index));
        found.cloned().map(Some).ok_or_else(|| {
            let text = format!(
                "`Fn::Select` asks for item {index} of a list of {}; the first one is 0",
                items.len()
            );
            Unresolved::new(line, text, "")
        })
    }

    fn split(&mut self, argument: &Node, line: usize) -> Resolved {
        let [delimiter, text] = self.exactly("Fn::Split", argument)?;
        let delimiter = self.text(delimiter, "the delimiter of `Fn::Split`")?;
        let text = self.text(text, "what `Fn::Split` splits")?;
        if delimiter.is_empty() {
            return Err(Unresolved::new(line, "the delimiter of `Fn::Split` must not be empty", &text));
        }
        if !self.spend_nodes(text.matches(&delimiter).count() + 1) {
            return Err(Unresolved::new(line, "", &text));
        }
        let parts = text.split(&delimiter).map(|part| Node::scalar(part, line)).collect();
        Ok(Some(Node { line, tag: None, value: Value::Sequence(parts) }))
    }

    fn import(&mut self, argument: &Node, line: usize) -> Resolved {
        let name = self.text(argument, "the name of `Fn::ImportValue`")?;
        let text = format!(
            "`Fn::ImportValue` of `{name}`: what other stacks export is known to AWS only; the name stands in its place\n\
             hint: make it a parameter, or set the variable with --env-vars"
        );
        Err(Unresolved::new(line, text, &name))
    }

    fn zones(&mut self, argument: &Node, line: usize) -> Resolved {
        let region = self.text(argument, "the region of `Fn::GetAZs`")?;
        let region = if region.is_empty() { self.place.account.region.clone() } else { region };
        let zones = ["a", "b", "c"].map(|zone| Node::scalar(&format!("{region}{zone}"), line));
        Ok(Some(Node { line, tag: None, value: Value::Sequence(zones.into()) }))
    }

    fn cidr(&mut self, argument: &Node, line: usize) -> Resolved {
        let arguments = self.arguments("Fn::Cidr", argument, 2..=3)?;
        let mut texts = Vec::new();
        for argument in arguments {
            texts.push(self.text(argument, "the arguments of `Fn::Cidr`")?);
        }
        let subnets = cidr::subnets(&texts[0], &texts[1], texts.get(2).map(String::as_str))
            .map_err(|problem| Unresolved::new(line, format!("`Fn::Cidr`: {problem}"), &texts[0]))?;
        let subnets = subnets.iter().map(|subnet| Node::scalar(subnet, line)).collect();
        Ok(Some(Node { line, tag: None, value: Value::Sequence(subnets) }))
    }

    /// Functions of AWS::LanguageExtensions.
    fn extension(&mut self, name: &str, argument: &Node, line: usize) -> Resolved {
        let Some(resolved) = self.resolve(argument) else {
            return Err(Unresolved::new(line, format!("`{name}` of AWS::NoValue is nothing"), ""));
        };
        let text = match (name, &resolved.value) {
            ("Fn::ToJsonString", _) => resolved.json().to_string(),
            (_, Value::Sequence(items)) => items.len().to_string(),
            _ => {
                let text = format!("`Fn::Length` must be given a list, not {}", resolved.kind());
                return Err(Unresolved::new(line, text, ""));
            }
        };
        self.check_length(text.len(), line)?;
        Ok(Some(Node::scalar(&text, line)))
    }

    fn exactly<'n, const N: usize>(
        &self,
        name: &str,
        argument: &'n Node,
    ) -> Result<&'n [Node; N], Unresolved> {
        let arguments = self.arguments(name, argument, N..=N)?;
        arguments.try_into().map_err(|_| Unresolved::new(argument.line, "", ""))
    }

    fn arguments<'n>(
        &self,
        name: &str,
        argument: &'n Node,
        count: RangeInclusive<usize>,
    ) -> Result<&'n [Node], Unresolved> {
        argument.items().filter(|items| count.contains(&items.len())).ok_or_else(|| {
            let (least, most) = (count.start(), count.end());
            let many = if least == most { least.to_string() } else { format!("{least} or {most}") };
            let text = format!("`{name}` must be given a list of {many}, not {}", argument.kind());
            Unresolved::new(argument.line, text, "")
        })
    }

    fn text_instead(&mut self, unresolved: Unresolved) -> String {
        if !unresolved.problem.is_empty() {
            self.reports.error(unresolved.line, unresolved.problem);
        }
        unresolved.stand_in
    }

    /// Texts may be put together from texts that were put together: there must be an end.
    fn check_length(&mut self, length: usize, line: usize) -> Result<(), Unresolved> {
        if length > MOST_TEXT {
            let text = format!("this text comes to more than {MOST_TEXT} bytes");
            return Err(Unresolved::new(line, text, ""));
        }
        if !self.spend(length / 8) {
            return Err(Unresolved::new(line, "", ""));
        }
        Ok(())
    }

    fn warn_of_dynamic_reference(&mut self, text: &str, line: usize) {
        let Some((_, rest)) = text.split_once("{{resolve:") else { return };
        let reference = rest.split("}}").next().unwrap_or_default();
        let text = format!(
            "`{{{{resolve:{reference}}}}}` is looked up on AWS only; the text itself stands here\n\
             hint: if a function needs it, set the variable with --env-vars"
        );
        self.reports.warning(line, text);
    }
}
