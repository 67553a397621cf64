//! A map of properties, each of which is accounted for exactly once: read, ignored with a reason,
//! or unknown.
//!
//! Whoever reads a resource asks a sheet for its properties by name. What was never asked for is no
//! property of that kind, and the names that were asked for are those that it could have meant.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::super::Severity;
use super::super::nearest::hint;
use super::super::yaml::Node;
use super::{Builder, Finding, Resource, Status};

pub struct Sheet<'a> {
    /// Logical id.
    resource: String,
    kind: String,
    /// `Integration.`, for a map within a property; empty for the resource itself.
    prefix: String,
    /// In what hint the kind is told.
    what: String,
    line: usize,
    entries: &'a [(Node, Node)],
    asked: Vec<&'static str>,
    /// By entry: what became of it.
    marks: BTreeMap<usize, (Status, String)>,
    whole: (Status, String),
    problems: Vec<(Severity, usize, String)>,
    /// Sheets of maps within it, to be told with it.
    inner: Vec<Sheet<'a>>,
}

impl<'a> Sheet<'a> {
    pub fn of(resource: &'a Resource) -> Self {
        let owner = (resource.logical_id.as_str(), resource.kind.as_str());
        let mut sheet = Self::new(owner, "", &resource.properties, resource.line);
        if !resource.properties.is_null() && resource.properties.mapping().is_none() {
            sheet.error(resource.properties.line, "`Properties` must be a map");
        }
        sheet
    }

    /// A map that belongs to a resource's property: what is simply supported is not told again.
    /// `prefix`: `Integration.`
    pub fn inner(owner: (&str, &str), prefix: &str, node: &'a Node) -> Self {
        let mut sheet = Self::new(owner, prefix, node, node.line);
        if !node.is_null() && node.mapping().is_none() {
            let text =
                format!("`{}` must be a map, not {}", prefix.trim_end_matches(['.', ':']), node.kind());
            sheet.error(node.line, text);
        }
        sheet
    }

    fn new((resource, kind): (&str, &str), prefix: &str, node: &'a Node, line: usize) -> Self {
        let what = match prefix.trim_end_matches(['.', ':']) {
            "" => kind.to_owned(),
            prefix => format!("`{prefix}`"),
        };
        Self {
            resource: resource.to_owned(),
            kind: kind.to_owned(),
            prefix: prefix.to_owned(),
            what,
            line,
            entries: node.mapping().unwrap_or_default(),
            asked: Vec::new(),
            marks: BTreeMap::new(),
            whole: (Status::Supported, String::new()),
            problems: Vec::new(),
            inner: Vec::new(),
        }
    }

    /// The value of a property; nothing for YAML's `null`.
    pub fn take(&mut self, name: &'static str) -> Option<&'a Node> {
        let index = self.ask(name)?;
        self.marks.entry(index).or_insert((Status::Supported, String::new()));
        Some(&self.entries[index].1).filter(|value| !value.is_null())
    }

    fn ask(&mut self, name: &'static str) -> Option<usize> {
        if name.is_empty() {
            return None;
        }
        if !self.asked.contains(&name) {
            self.asked.push(name);
        }
        self.entries.iter().position(|(key, _)| key.text() == Some(name))
    }

    pub fn text(&mut self, name: &'static str) -> Option<&'a str> {
        let value = self.take(name)?;
        let text = value.text();
        if text.is_none() {
            self.expected(name, value, "text");
        }
        text
    }

    /// One of these words, in any case where `words` are in upper case.
    pub fn choice(&mut self, name: &'static str, words: &[&'static str]) -> Option<&'static str> {
        let value = self.take(name)?;
        let meant = value.text().unwrap_or_default();
        let found = words.iter().find(|word| **word == meant || **word == meant.to_ascii_uppercase());
        if found.is_none() {
            let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
            let (last, others) = words.split_last()?;
            let expected = match others {
                [] => last.clone(),
                others => format!("{} or {last}", others.join(", ")),
            };
            self.expected(name, value, &expected);
        }
        found.copied()
    }

    pub fn number(&mut self, name: &'static str, range: RangeInclusive<i64>, expected: &str) -> Option<i64> {
        let value = self.take(name)?;
        let number = value.number().filter(|number| range.contains(number));
        if number.is_none() {
            self.expected(name, value, expected);
        }
        number
    }

    pub fn decimal(&mut self, name: &'static str) -> Option<f64> {
        let value = self.take(name)?;
        let number =
            value.text().and_then(|text| text.trim().parse().ok()).filter(|number: &f64| number.is_finite());
        if number.is_none() {
            self.expected(name, value, "a number");
        }
        number
    }

    pub fn boolean(&mut self, name: &'static str) -> Option<bool> {
        let value = self.take(name)?;
        let boolean = value.boolean();
        if boolean.is_none() {
            self.expected(name, value, "true or false");
        }
        boolean
    }

    /// A list; a value alone counts as a list of one, as in CloudFormation.
    pub fn nodes(&mut self, name: &'static str) -> &'a [Node] {
        match self.take(name) {
            None => &[],
            Some(value) => value.items().unwrap_or(std::slice::from_ref(value)),
        }
    }

    pub fn list(&mut self, name: &'static str) -> Vec<String> {
        let mut texts = Vec::new();
        for node in self.nodes(name) {
            match node.text() {
                Some(text) => texts.push(text.to_owned()),
                None => self.expected(name, node, "a list of texts"),
            }
        }
        texts
    }

    /// Names and texts.
    pub fn map(&mut self, name: &'static str) -> BTreeMap<String, String> {
        let Some(value) = self.take(name) else { return BTreeMap::new() };
        let Some(entries) = value.mapping() else {
            self.expected(name, value, "a map of names and texts");
            return BTreeMap::new();
        };
        let mut map = BTreeMap::new();
        for (key, value) in entries {
            match (key.text(), value.text()) {
                (Some(key), _) if value.is_null() => drop(map.insert(key.to_owned(), String::new())),
                (Some(key), Some(value)) => drop(map.insert(key.to_owned(), value.to_owned())),
                _ => self.expected(name, value, "a map of names and texts"),
            }
        }
        map
    }

    /// A map within this one.
    pub fn within(&mut self, name: &'static str) -> Option<Sheet<'a>> {
        let value = self.take(name)?;
        Some(self.below(name, value))
    }

    /// The maps of a list.
    pub fn each(&mut self, name: &'static str) -> Vec<Sheet<'a>> {
        let nodes = self.nodes(name);
        let sheet = |(index, node)| self.below(&format!("{name}[{index}]"), node);
        nodes.iter().enumerate().map(sheet).collect()
    }

    pub fn below(&self, name: &str, node: &'a Node) -> Sheet<'a> {
        Sheet::inner((&self.resource, &self.kind), &format!("{}{name}.", self.prefix), node)
    }

    /// A sheet of a map within this one has been read.
    pub fn take_over(&mut self, inner: Sheet<'a>) {
        self.inner.push(inner);
    }

    /// Whether it says anything by this name.
    pub fn has(&self, name: &str) -> bool {
        self.entries.iter().any(|(key, _)| key.text() == Some(name))
    }

    /// The line of a property, or of the whole.
    pub fn line_of(&self, name: &str) -> usize {
        let entry = self.entries.iter().find(|(key, _)| key.text() == Some(name));
        entry.map_or(self.line, |(key, _)| key.line)
    }

    /// Properties that mean nothing here, all for one reason.
    pub fn ignore(&mut self, names: &[&'static str], reason: &str) {
        for name in names {
            self.note(name, Status::Ignored, reason);
        }
    }

    pub fn different(&mut self, name: &'static str, text: &str) {
        self.note(name, Status::Different, text);
    }

    /// What became of a property, if it is there.
    pub fn note(&mut self, name: &'static str, status: Status, text: &str) {
        if let Some(index) = self.ask(name) {
            self.marks.insert(index, (status, text.to_owned()));
        }
    }

    /// A property that cannot be followed.
    pub fn refuse(&mut self, name: &'static str, text: &str) {
        if self.ask(name).is_some() {
            self.error(self.line_of(name), text);
        }
        self.note(name, Status::Ignored, text);
    }

    /// What became of the resource as a whole.
    pub fn whole(&mut self, status: Status, text: &str) {
        self.whole = (status, text.to_owned());
    }

    pub fn expected(&mut self, name: &'static str, value: &Node, expected: &str) {
        let text = format!("`{}{name}` must be {expected}, not {}", self.prefix, value.kind());
        self.note(name, Status::Ignored, &text);
        self.error(value.line, text);
    }

    pub fn error(&mut self, line: usize, text: impl Into<String>) {
        self.problem(Severity::Error, line, text);
    }

    pub fn warning(&mut self, line: usize, text: impl Into<String>) {
        self.problem(Severity::Warning, line, text);
    }

    pub fn problem(&mut self, severity: Severity, line: usize, text: impl Into<String>) {
        self.problems.push((severity, line, text.into()));
    }

    /// The errors so far.
    pub fn errors(&self) -> Vec<&str> {
        let errors = self.problems.iter().filter(|(severity, ..)| *severity == Severity::Error);
        let mut errors: Vec<&str> = errors.map(|(.., text)| text.as_str()).collect();
        errors.extend(self.inner.iter().flat_map(Sheet::errors));
        errors
    }

    /// Tells what became of everything.
    pub fn finish(mut self, builder: &mut Builder) {
        let mut told = |status, property: String, line, text: String| {
            let (resource, kind) = (self.resource.clone(), self.kind.clone());
            builder.reading.findings.push(Finding { status, resource, kind, property, line, text });
        };
        if self.prefix.is_empty() {
            let (status, text) = self.whole;
            told(status, String::new(), self.line, text);
        }
        for (index, (key, _)) in self.entries.iter().enumerate() {
            let name = key.text().filter(|name| !name.is_empty()).unwrap_or("?");
            let property = format!("{}{name}", self.prefix);
            match self.marks.remove(&index) {
                Some((Status::Supported, text)) if !self.prefix.is_empty() && text.is_empty() => {}
                Some((status, text)) => told(status, property, key.line, text),
                // Extensions of others are in a document on purpose.
                None if name.starts_with("x-") && !name.starts_with("x-amazon-") => {
                    told(
                        Status::Ignored,
                        property,
                        key.line,
                        "is not an extension of API Gateway".to_owned(),
                    );
                }
                None => {
                    let (text, hint) = match self.asked.contains(&name) {
                        true => (format!("`{name}` is there twice; the first one counts"), String::new()),
                        false => (
                            format!("`{name}` is no property of {}; it is ignored", self.what),
                            hint(name, self.asked.iter().copied()),
                        ),
                    };
                    self.problems.push((Severity::Warning, key.line, format!("{text}{hint}")));
                    told(Status::Ignored, property, key.line, text);
                }
            }
        }
        for (severity, line, text) in self.problems {
            builder.problem(severity, line, format!("`{}`: {text}", self.resource));
        }
        for inner in self.inner {
            inner.finish(builder);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn every_property_is_accounted_for_once() {
        let stack = fixture::stack(
            "A:\n  Type: T\n  Properties:\n    Name: x\n    Nmae: y\n    Size: z\n    Tags: []\n    Deep:\n      Good: 1\n      Bad: 2\n",
        );
        let mut builder = Builder::default();
        let mut sheet = Sheet::of(&stack.resources[0]);
        assert_eq!(sheet.text("Name"), Some("x"));
        assert_eq!(sheet.number("Size", 1..=2, "one or two"), None);
        sheet.ignore(&["Tags", "Other"], "mean nothing here");
        let mut deep = sheet.within("Deep").unwrap();
        assert_eq!(deep.boolean("Good"), None);
        sheet.take_over(deep);
        sheet.finish(&mut builder);
        assert_eq!(
            fixture::findings(&builder),
            [
                "1 Supported  ",
                "4 Supported Name ",
                "5 Ignored Nmae `Nmae` is no property of T; it is ignored",
                "6 Ignored Size `Size` must be one or two, not `z`",
                "7 Ignored Tags mean nothing here",
                "8 Supported Deep ",
                "9 Ignored Deep.Good `Deep.Good` must be true or false, not `1`",
                "10 Ignored Deep.Bad `Bad` is no property of `Deep`; it is ignored",
            ]
        );
        let problems = fixture::problems(&builder);
        assert!(
            problems.contains(
                &"5 `A`: `Nmae` is no property of T; it is ignored\nhint: did you mean `Name`?".into()
            ),
            "{problems:?}"
        );
        assert!(problems.contains(&"6 `A`: `Size` must be one or two, not `z`".into()), "{problems:?}");
    }
}
