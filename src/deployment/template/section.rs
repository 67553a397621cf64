//! A map of the template: values by their type. What does not fit is said, with its line and its
//! full name, and counts as absent. (`sam` and `triggers`, which know the names of all properties.)

use super::super::Severity;
use super::super::nearest::hint;
use super::super::yaml::Node;
use super::{Builder, Resource};
use crate::api::Cors;

#[derive(Clone)]
pub struct Section<'a> {
    pub node: &'a Node,
    /// `Auth.Authorizers.Mine`; empty for the properties themselves.
    pub at: String,
}

impl<'a> Section<'a> {
    pub fn properties(resource: &'a Resource) -> Self {
        Self { node: &resource.properties, at: String::new() }
    }

    /// What a value below is called in messages.
    pub fn name(&self, key: &str) -> String {
        if self.at.is_empty() { key.to_owned() } else { format!("{}.{key}", self.at) }
    }

    pub fn get(&self, key: &str) -> Option<&'a Node> {
        self.node.get(key).filter(|value| !value.is_null())
    }

    /// Where the key is written, or else the map.
    pub fn line(&self, key: &str) -> usize {
        let entries = self.node.mapping().unwrap_or_default();
        let key = entries.iter().find(|(name, _)| name.text() == Some(key));
        key.map_or(self.node.line, |(name, _)| name.line)
    }

    /// Keys that are text, with their values.
    pub fn entries(&self) -> impl Iterator<Item = (&'a Node, &'a str, &'a Node)> + use<'a> {
        let entries = self.node.mapping().unwrap_or_default();
        entries.iter().filter_map(|(key, value)| Some((key, key.text()?, value)))
    }

    /// A map below this one.
    pub fn section(&self, key: &str, builder: &mut Builder) -> Option<Section<'a>> {
        let node = self.get(key)?;
        let section = Section { node, at: self.name(key) };
        section.is_map(builder).then_some(section)
    }

    /// One that may be anything so far.
    pub fn below(&self, key: &str, node: &'a Node) -> Section<'a> {
        Section { node, at: self.name(key) }
    }

    pub fn is_map(&self, builder: &mut Builder) -> bool {
        let map = self.node.mapping().is_some();
        if !map {
            let text = format!("`{}` must be a map, not {}", self.at, self.node.kind());
            builder.problem(Severity::Error, self.node.line, text);
        }
        map
    }

    pub fn text(&self, key: &str, builder: &mut Builder) -> Option<&'a str> {
        self.typed(key, builder, "text", |node| node.text())
    }

    pub fn boolean(&self, key: &str, builder: &mut Builder) -> Option<bool> {
        self.typed(key, builder, "true or false", Node::boolean)
    }

    pub fn number(&self, key: &str, least: i64, most: i64, builder: &mut Builder) -> Option<i64> {
        let expected = format!("a whole number from {least} to {most}");
        self.typed(key, builder, &expected, |node| {
            node.number().filter(|number| (least..=most).contains(number))
        })
    }

    pub fn rate(&self, key: &str, builder: &mut Builder) -> Option<f64> {
        self.typed(key, builder, "a number of requests a second", |node| {
            node.text()?.trim().parse::<f64>().ok().filter(|rate| rate.is_finite() && *rate >= 0.0)
        })
    }

    /// A list of texts.
    pub fn texts(&self, key: &str, builder: &mut Builder) -> Option<Vec<String>> {
        self.typed(key, builder, "a list of texts", |node| {
            node.items()?.iter().map(|item| item.text().map(str::to_owned)).collect()
        })
    }

    /// A map of texts.
    pub fn texts_by_name(&self, key: &str, builder: &mut Builder) -> Vec<(String, String)> {
        let Some(section) = self.section(key, builder) else { return Vec::new() };
        let entries = section.entries().filter_map(|(_, name, _)| {
            let value = section.text(name, builder)?;
            Some((name.to_owned(), value.to_owned()))
        });
        entries.collect()
    }

    /// One of these words.
    pub fn word(&self, key: &str, words: &[&'static str], builder: &mut Builder) -> Option<&'static str> {
        let expected = words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(" or ");
        self.typed(key, builder, &expected, |node| {
            let text = node.text()?;
            words.iter().find(|word| **word == text).copied()
        })
    }

    /// What pages of other origins may do. `least`: of `MaxAge`; -1 says nothing of it.
    pub fn cors(&self, least: i64, builder: &mut Builder) -> Cors {
        self.only(
            &["AllowCredentials", "AllowHeaders", "AllowMethods", "AllowOrigins", "ExposeHeaders", "MaxAge"],
            builder,
        );
        let mut list = |key| self.texts(key, builder).unwrap_or_default();
        Cors {
            allow_origins: list("AllowOrigins"),
            allow_methods: list("AllowMethods"),
            allow_headers: list("AllowHeaders"),
            expose_headers: list("ExposeHeaders"),
            max_age: self.number("MaxAge", least, 86_400, builder).and_then(|age| u32::try_from(age).ok()),
            allow_credentials: self.boolean("AllowCredentials", builder).unwrap_or(false),
        }
    }

    fn typed<T>(
        &self,
        key: &str,
        builder: &mut Builder,
        expected: &str,
        read: impl FnOnce(&'a Node) -> Option<T>,
    ) -> Option<T> {
        let node = self.get(key)?;
        let value = read(node);
        if value.is_none() {
            let text = format!("`{}` must be {expected}, not {}", self.name(key), node.kind());
            builder.problem(Severity::Error, node.line, text);
        }
        value
    }

    /// Says of every other key that it is not known.
    pub fn only(&self, known: &[&str], builder: &mut Builder) {
        for (key, name, _) in self.entries() {
            if !known.contains(&name) {
                let hint = hint(name, known.iter().copied());
                let text = format!("`{}` is not known; it is ignored{hint}", self.name(name));
                builder.problem(Severity::Warning, key.line, text);
            }
        }
    }

    /// A problem that concerns a value of this map.
    pub fn error(&self, key: &str, text: impl Into<String>, builder: &mut Builder) {
        builder.problem(Severity::Error, self.line(key), text);
    }

    /// What becomes of a part of a property, where it is not what becomes of the whole.
    pub fn finding(
        &self,
        key: &str,
        status: super::Status,
        text: &str,
        resource: &Resource,
        builder: &mut Builder,
    ) {
        if self.get(key).is_some() {
            builder.finding(status, resource, &self.name(key), self.line(key), text);
        }
    }
}
