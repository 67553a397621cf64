//! Properties replaced in the text of a `function.yaml`: comments, order and everything else of it
//! stay byte for byte.
//!
//! The text is changed by lines and then read again: only if that gives exactly what was there, with
//! the new values, is it taken. Where it does not (the top level is written `{...}`, an anchor stood
//! in what was replaced), the file is written anew from what it said.

use serde_json::Value;

use super::super::yaml::{self, Node, Value as Content};
use crate::deployment::template::yaml_text;

const REWRITTEN: &str = "# Written anew by the Lambda API; comments could not be kept.\n";

/// The text with these properties changed (`None`: taken out), or why it cannot be.
pub fn edit(text: &str, properties: &[(&str, Option<Value>)]) -> Result<String, String> {
    let before = entries(text)?;
    let mut wanted = before.clone();
    for (name, value) in properties {
        set(&mut wanted, name, value.as_ref())?;
    }
    settle(text, &before, &wanted)
}

/// The text with one entry changed of the map that is called `map`; one that would hold nothing goes.
pub fn edit_entry(text: &str, map: &str, name: &str, value: Option<&Value>) -> Result<String, String> {
    let before = entries(text)?;
    let mut wanted = before.clone();
    let mut held = held(&before, map)?;
    set(&mut held, name, value)?;
    let at = wanted.iter().position(|(key, _)| key.text() == Some(map));
    match at {
        Some(at) if held.is_empty() => drop(wanted.remove(at)),
        Some(at) => wanted[at].1.value = Content::Mapping(held),
        None if held.is_empty() => {}
        None => wanted.push((
            Node { value: Content::Scalar { text: map.to_owned(), quoted: false }, ..Node::scalar(map, 0) },
            Node { line: 0, tag: None, value: Content::Mapping(held) },
        )),
    }
    settle(text, &before, &wanted)
}

/// The entries of a map among the properties.
pub fn entries_of(text: &str, map: &str) -> Result<Vec<(Node, Node)>, String> {
    held(&entries(text)?, map)
}

fn held(entries: &[(Node, Node)], map: &str) -> Result<Vec<(Node, Node)>, String> {
    match entries.iter().find(|(key, _)| key.text() == Some(map)) {
        None => Ok(Vec::new()),
        Some((_, value)) if value.is_null() => Ok(Vec::new()),
        Some((_, value)) => value.mapping().map(<[_]>::to_vec).ok_or_else(|| {
            format!(
                "line {}: `{map}` must be a map, not {}\nhint: correct it first",
                value.line,
                value.kind()
            )
        }),
    }
}

fn set(entries: &mut Vec<(Node, Node)>, name: &str, value: Option<&Value>) -> Result<(), String> {
    let new = value.map(|value| node(name, value)).transpose()?;
    let at = entries.iter().position(|(key, _)| key.text() == Some(name));
    match (at, new) {
        (Some(at), Some(new)) if same(&entries[at].1, &new.1) => {}
        (Some(at), Some(new)) => entries[at] = new,
        (Some(at), None) => drop(entries.remove(at)),
        (None, Some(new)) => entries.push(new),
        (None, None) => {}
    }
    Ok(())
}

/// The text that says what is wanted: as little of it changed as possible.
fn settle(text: &str, before: &[(Node, Node)], wanted: &[(Node, Node)]) -> Result<String, String> {
    for finely in [true, false] {
        let edited = amend(text, before, wanted, finely);
        if entries(&edited).is_ok_and(|after| same_entries(&after, wanted)) {
            return Ok(edited);
        }
    }
    let mut anew = REWRITTEN.to_owned();
    for (name, value) in wanted {
        write(name, value, 0, &mut anew);
    }
    match entries(&anew) {
        Ok(after) if same_entries(&after, wanted) => Ok(anew),
        _ => Err("its properties cannot be written in another way than they are\nhint: change it by hand"
            .to_owned()),
    }
}

/// Lines of a map with those of its entries replaced that are others. `finely`: of a map within it
/// too only those.
fn amend(text: &str, before: &[(Node, Node)], wanted: &[(Node, Node)], finely: bool) -> String {
    let find = |entries: &[(Node, Node)], name: &str| {
        entries.iter().find(|(key, _)| key.text() == Some(name)).map(|(_, value)| value.clone())
    };
    let mut edited = text.to_owned();
    for name in before.iter().filter_map(|(key, _)| key.text()) {
        if find(wanted, name).is_none() {
            edited = replace(&edited, name, None);
        }
    }
    for (key, new) in wanted {
        let Some(name) = key.text() else { continue };
        let old = find(before, name);
        if old.as_ref().is_some_and(|old| same(old, new)) {
            continue;
        }
        let maps = old.as_ref().and_then(Node::mapping).zip(new.mapping());
        let inside = maps.filter(|(_, new)| finely && !new.is_empty());
        let within = inside.and_then(|(old, new)| amend_within(&edited, name, old, new));
        edited = within.unwrap_or_else(|| replace(&edited, name, Some(&block_of(key, new))));
    }
    edited
}

/// The same for the lines below a name; `None`: they do not stand there as lines of their own.
fn amend_within(text: &str, name: &str, old: &[(Node, Node)], new: &[(Node, Node)]) -> Option<String> {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let indent = indent_of(&lines);
    let (start, end) = region(&lines, indent, name)?;
    let rest = lines[start].split_once(':')?.1.trim();
    let inner = &lines[start + 1..end];
    let first = inner.iter().find(|line| is_content(line))?;
    if !(rest.is_empty() || rest.starts_with('#')) || indentation(first) <= indent {
        return None;
    }
    let amended = amend(&inner.concat(), old, new, true);
    Some([&lines[..=start].concat(), amended.as_str(), &lines[end..].concat()].concat())
}

/// An entry as lines.
fn block_of(name: &Node, value: &Node) -> String {
    let plain = block(name.text().unwrap_or_default(), &value.json());
    let is_same = |(_, read): &(Node, Node)| same(read, value);
    if entries(&plain).is_ok_and(|read| read.first().is_some_and(is_same)) {
        return plain;
    }
    let mut block = String::new();
    write(name, value, 0, &mut block);
    block
}

fn entries(text: &str) -> Result<Vec<(Node, Node)>, String> {
    match yaml::parse(text) {
        Ok(None) => Ok(Vec::new()),
        Ok(Some(node)) if node.is_null() => Ok(Vec::new()),
        Ok(Some(node)) => match node.mapping() {
            Some(entries) => Ok(entries.to_vec()),
            None => {
                Err("must be a map of properties, such as `Timeout: 10`\nhint: correct it first".to_owned())
            }
        },
        Err(error) => {
            Err(format!("line {}: is not valid YAML: {}\nhint: correct it first", error.line, error.text))
        }
    }
}

/// A property as it will be read.
fn node(name: &str, value: &Value) -> Result<(Node, Node), String> {
    let block = block(name, value);
    let entries = entries(&block)?;
    entries.into_iter().next().ok_or_else(|| format!("`{name}` cannot be written"))
}

fn block(name: &str, value: &Value) -> String {
    let mut map = serde_json::Map::new();
    map.insert(name.to_owned(), value.clone());
    format!("{}\n", printable(&yaml_text(&Value::Object(map))).trim_end())
}

/// What a reader of YAML could take for a line break, or may not meet at all, as an escape; such
/// characters stand in quotes only.
fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => {
                printable.push_str(&format!("\\u{:04x}", u32::from(character)));
            }
            _ => printable.push(character),
        }
    }
    printable
}

/// The lines of a property replaced, taken out, or added at the end.
fn replace(text: &str, name: &str, block: Option<&str>) -> String {
    let newline = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let indent = indent_of(&lines);
    let block = block.map(|block| {
        block.lines().map(|line| format!("{}{line}{newline}", " ".repeat(indent))).collect::<String>()
    });
    let Some((start, end)) = region(&lines, indent, name) else {
        let mut text = text.to_owned();
        if !text.is_empty() && !text.ends_with('\n') {
            text.push_str(newline);
        }
        return text + &block.unwrap_or_default();
    };
    let mut block = block.unwrap_or_default();
    if let (1, 1, Some(comment)) = (end - start, block.lines().count(), comment(lines[start])) {
        block.truncate(block.trim_end().len());
        block = format!("{block} {comment}{newline}");
    }
    let mut edited: String = lines[..start].concat();
    edited.push_str(&block);
    edited.push_str(&lines[end..].concat());
    edited
}

fn indent_of(lines: &[&str]) -> usize {
    lines.iter().find(|line| is_content(line)).map_or(0, |line| indentation(line))
}

/// The lines of a property.
fn region(lines: &[&str], indent: usize, name: &str) -> Option<(usize, usize)> {
    let start = lines.iter().position(|line| is_key(line, indent, name))?;
    let below = lines[start + 1..].iter().position(|line| begins_another(line, indent));
    let mut end = below.map_or(lines.len(), |below| start + 1 + below);
    // Empty lines and comments in front of the next property are its own.
    while end > start + 1 && !is_content(lines[end - 1]) && !is_inner_comment(lines[end - 1], indent) {
        end -= 1;
    }
    Some((start, end))
}

fn is_content(line: &str) -> bool {
    let text = line.trim_start_matches('\u{feff}').trim();
    !text.is_empty() && !text.starts_with('#') && !text.starts_with("---") && !text.starts_with('%')
}

fn is_inner_comment(line: &str, indent: usize) -> bool {
    line.trim_start().starts_with('#') && indentation(line) > indent
}

fn indentation(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

fn is_key(line: &str, indent: usize, name: &str) -> bool {
    let text = line.trim_start_matches('\u{feff}');
    if indentation(text) != indent {
        return false;
    }
    let text = text.trim_start();
    let rest = [name.to_owned(), format!("'{name}'"), format!("\"{name}\"")];
    let rest = rest.iter().find_map(|spelling| text.strip_prefix(spelling.as_str()));
    let Some(rest) = rest.and_then(|rest| rest.trim_start_matches(' ').strip_prefix(':')) else {
        return false;
    };
    rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n'])
}

/// The first line of what comes after a property. Items of a list may stand as far left as its name.
fn begins_another(line: &str, indent: usize) -> bool {
    let text = line.trim();
    let is_item = text.starts_with("- ") || text == "-";
    indentation(line) <= indent && !text.is_empty() && !text.starts_with(['#', ']', '}']) && !is_item
}

/// What stands behind a plain value on its line.
fn comment(line: &str) -> Option<&str> {
    let value = line.split_once(':')?.1;
    if value.contains(['"', '\'']) {
        return None;
    }
    let at = line.find(" #")?;
    Some(line[at + 1..].trim_end())
}

fn same_entries(one: &[(Node, Node)], other: &[(Node, Node)]) -> bool {
    let is_in =
        |entry: &(Node, Node)| other.iter().any(|(key, value)| same(key, &entry.0) && same(value, &entry.1));
    one.len() == other.len() && one.iter().all(is_in)
}

/// Equal for every reader, wherever it stands.
fn same(one: &Node, other: &Node) -> bool {
    let same_value = match (&one.value, &other.value) {
        (Content::Scalar { text: one_text, quoted: one_quoted }, Content::Scalar { text, quoted }) => {
            one_text == text && (one_quoted == quoted || looks_plain(text))
        }
        (Content::Sequence(one), Content::Sequence(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Content::Mapping(one), Content::Mapping(other)) => {
            one.len() == other.len()
                && one.iter().zip(other).all(|(one, other)| same(&one.0, &other.0) && same(&one.1, &other.1))
        }
        _ => false,
    };
    one.tag == other.tag && same_value
}

/// Text that means itself, in quotes or without.
fn looks_plain(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && !matches!(
            text.to_ascii_lowercase().as_str(),
            "y" | "n" | "yes" | "no" | "on" | "off" | "true" | "false" | "null"
        )
}

/// A property written anew, as it was read.
fn write(name: &Node, value: &Node, indent: usize, text: &mut String) {
    text.push_str(&format!("{}{}:", " ".repeat(indent), scalar(name)));
    below(value, indent, text);
}

fn below(value: &Node, indent: usize, text: &mut String) {
    let tag = value.tag.as_ref().map(|tag| format!(" !{tag}")).unwrap_or_default();
    text.push_str(&tag);
    match &value.value {
        Content::Scalar { .. } => text.push_str(&format!(" {}\n", scalar(value))),
        Content::Sequence(items) if items.is_empty() => text.push_str(" []\n"),
        Content::Mapping(entries) if entries.is_empty() => text.push_str(" {}\n"),
        Content::Sequence(items) => {
            text.push('\n');
            for item in items {
                text.push_str(&format!("{}-", " ".repeat(indent + 2)));
                below(item, indent + 2, text);
            }
        }
        Content::Mapping(entries) => {
            text.push('\n');
            for (name, value) in entries {
                write(name, value, indent + 2, text);
            }
        }
    }
}

fn scalar(node: &Node) -> String {
    match &node.value {
        Content::Scalar { text, quoted: false } if !text.contains('\n') => text.clone(),
        Content::Scalar { text, .. } => printable(&Value::from(text.as_str()).to_string()),
        _ => "?".to_owned(),
    }
}

#[cfg(test)]
#[path = "document_tests.rs"]
mod tests;
