//! `Fn::ForEach` of AWS::LanguageExtensions: keys and values written once for every item of a list.

use std::collections::HashSet;

use super::intrinsics::function;
use super::scope::Scope;
use crate::deployment::yaml::{Node, Value};

const PREFIX: &str = "Fn::ForEach::";

impl Scope<'_> {
    /// The same with all loops written out.
    pub fn expand(&mut self, node: Node) -> Node {
        let Node { line, tag, value } = node;
        let value = match value {
            Value::Scalar { .. } => value,
            Value::Sequence(items) => {
                Value::Sequence(items.into_iter().map(|item| self.expand(item)).collect())
            }
            Value::Mapping(entries) => {
                let mut expanded =
                    Expanded { entries: Vec::with_capacity(entries.len()), names: HashSet::new() };
                for (key, value) in entries {
                    let name = key.text().and_then(|key| key.strip_prefix(PREFIX)).map(str::to_owned);
                    match name {
                        Some(name) => self.expand_loop(&name, key.line, &value, &mut expanded),
                        None => {
                            let value = self.expand(value);
                            if !expanded.add(key.clone(), value) {
                                self.made_twice(&key);
                            }
                        }
                    }
                }
                Value::Mapping(expanded.entries)
            }
        };
        Node { line, tag, value }
    }

    fn expand_loop(&mut self, name: &str, line: usize, argument: &Node, expanded: &mut Expanded) {
        if !self.language_extensions {
            let text = "`Fn::ForEach` needs `Transform: AWS::LanguageExtensions` at the top of the template; it is ignored";
            return self.reports.error(line, text);
        }
        let Some([identifier, collection, body]) = argument.items() else {
            let text = format!(
                "`{PREFIX}{name}` must be given a list of three: an identifier, a list, and a map\nhint: - Name\n      - [A, B]\n      - \"Topic${{Name}}\": {{...}}"
            );
            return self.reports.error(line, text);
        };
        let (Some(identifier), Some(entries)) = (identifier.text(), body.mapping()) else {
            let text = format!("`{PREFIX}{name}` must begin with an identifier and end with a map");
            return self.reports.error(line, text);
        };
        let items = match self.resolve(collection) {
            Some(Node { value: Value::Sequence(items), .. }) => items,
            _ => {
                let text =
                    format!("what `{PREFIX}{name}` goes through must be a list, or a parameter that is one");
                return self.reports.error(line, text);
            }
        };
        let (nodes, bytes, places) = size(body);
        for item in &items {
            let Some(item) = item.text() else {
                self.reports.error(line, format!("the items of `{PREFIX}{name}` must be texts"));
                continue;
            };
            if !self.spend_nodes(nodes) || !self.spend(bytes + item.len() * places) {
                return;
            }
            for (key, value) in entries {
                let mut key = replaced(key, identifier, item);
                // A loop within this one makes entries of the same map.
                // Loops within write their own entries: they are told apart by their names only here.
                let inner = key.text().and_then(|key| key.strip_prefix(PREFIX)).map(str::to_owned);
                let value = replaced(value, identifier, item);
                match inner {
                    Some(inner) => self.expand_loop(&inner, key.line, &value, expanded),
                    None => {
                        key.tag = None;
                        let value = self.expand(value);
                        if !expanded.add(key.clone(), value) {
                            self.made_twice(&key);
                        }
                    }
                }
            }
        }
    }

    fn made_twice(&mut self, key: &Node) {
        let name = key.text().unwrap_or_default();
        let hint = "hint: put the loop's identifier into the name, as in \"Topic${Name}\"";
        self.reports
            .error(key.line, format!("`Fn::ForEach` makes `{name}` twice; the first one counts\n{hint}"));
    }
}

/// A map that is being written out.
struct Expanded {
    entries: Vec<(Node, Node)>,
    names: HashSet<String>,
}

impl Expanded {
    fn add(&mut self, key: Node, value: Node) -> bool {
        let is_new = key.text().is_none_or(|name| self.names.insert(name.to_owned()));
        if is_new {
            self.entries.push((key, value));
        }
        is_new
    }
}

/// Nodes, bytes of text, and at how many places at most something can be filled in.
fn size(node: &Node) -> (usize, usize, usize) {
    let children: Vec<&Node> = match &node.value {
        Value::Scalar { text, .. } => return (1, text.len(), 1 + text.matches('{').count()),
        Value::Sequence(items) => items.iter().collect(),
        Value::Mapping(entries) => entries.iter().flat_map(|(key, value)| [key, value]).collect(),
    };
    children.into_iter().map(size).fold((1, 0, 0), |all, one| (all.0 + one.0, all.1 + one.1, all.2 + one.2))
}

/// With `${Identifier}`, `&{Identifier}` (letters and digits of it only) and `!Ref Identifier` filled in.
fn replaced(node: &Node, identifier: &str, item: &str) -> Node {
    if let Some(("Ref", name)) = function(node, false)
        && name.text() == Some(identifier)
    {
        return Node::scalar(item, node.line);
    }
    let value = match &node.value {
        Value::Scalar { text, quoted } => {
            let plain: String = item.chars().filter(char::is_ascii_alphanumeric).collect();
            let text = text.replace(&format!("${{{identifier}}}"), item);
            Value::Scalar { text: text.replace(&format!("&{{{identifier}}}"), &plain), quoted: *quoted }
        }
        Value::Sequence(items) => {
            Value::Sequence(items.iter().map(|node| replaced(node, identifier, item)).collect())
        }
        Value::Mapping(entries) => {
            let entry = |(key, value): &(Node, Node)| {
                (replaced(key, identifier, item), replaced(value, identifier, item))
            };
            Value::Mapping(entries.iter().map(entry).collect())
        }
    };
    Node { line: node.line, tag: node.tag.clone(), value }
}
