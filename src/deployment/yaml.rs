//! YAML with what configuration needs and typed readers lose: line numbers, tags such as `!Ref`, and
//! whether a scalar was quoted. Aliases and merge keys (`<<`) are put in place.
//!
//! The tree is built from the parser's events here, so that what is absurd (deep nesting, aliases that
//! multiply) is refused before it costs anything, and so that whoever walks the tree may recurse.

use std::collections::{BTreeMap, HashSet};

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Tag};

/// CloudFormation takes templates of up to a megabyte.
pub const MOST_BYTES: usize = 4 << 20;
/// Lists and maps within each other.
pub const MOST_DEPTH: usize = 100;
/// Scalars, lists and maps, counted again wherever an alias repeats them.
pub const MOST_NODES: usize = 300_000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub line: usize,
    /// `!Ref`, `!Sub`, ...: without the exclamation mark.
    pub tag: Option<String>,
    pub value: Value,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Scalar { text: String, quoted: bool },
    Sequence(Vec<Node>),
    Mapping(Vec<(Node, Node)>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxError {
    pub line: usize,
    pub text: String,
}

impl SyntaxError {
    pub fn new(line: usize, text: impl Into<String>) -> Self {
        Self { line, text: text.into() }
    }
}

/// The document; `None` if the text holds nothing.
pub fn parse(text: &str) -> Result<Option<Node>, SyntaxError> {
    if text.len() > MOST_BYTES {
        let text = format!("it has {} bytes; the most that is read is {MOST_BYTES}", text.len());
        return Err(SyntaxError::new(1, text));
    }
    // A byte order mark is no content.
    let mut parser = Parser::new_from_str(text.strip_prefix('\u{feff}').unwrap_or(text));
    let mut composer = Composer::default();
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| explain(&error))?;
        composer.take(event, span.start.line())?;
    }
    Ok(composer.document)
}

/// Where a text stops being YAML; it may be of any number of documents, and say anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    pub line: usize,
    /// Characters of the line before it.
    pub column: usize,
    pub text: String,
}

/// The first one. What is no mistake here may still be none of a template's or `function.yaml`'s YAML.
pub fn mistake(text: &str) -> Option<Mistake> {
    let mut parser = Parser::new_from_str(text.strip_prefix('\u{feff}').unwrap_or(text));
    while let Some(event) = parser.next_event() {
        if let Err(error) = event {
            let SyntaxError { line, text } = explain(&error);
            return Some(Mistake { line, column: error.marker().col(), text });
        }
    }
    None
}

fn explain(error: &ScanError) -> SyntaxError {
    let line = error.marker().line();
    match error.info() {
        // The parser has a limit of its own, which it may meet first.
        "recursion limit exceeded" => too_deep(line),
        info => SyntaxError::new(line, info),
    }
}

/// Events -> tree.
#[derive(Default)]
struct Composer {
    open: Vec<Open>,
    anchors: BTreeMap<usize, Anchored>,
    document: Option<Node>,
    nodes: usize,
}

/// A list or map that has begun and not ended.
struct Open {
    line: usize,
    tag: Option<String>,
    anchor: usize,
    content: Content,
}

enum Content {
    Sequence(Vec<Node>),
    Mapping { entries: Vec<(Node, Node)>, key: Option<Node>, names: HashSet<String>, merged: Vec<Node> },
}

struct Anchored {
    node: Node,
    nodes: usize,
    depth: usize,
}

impl Composer {
    fn take(&mut self, event: Event<'_>, line: usize) -> Result<(), SyntaxError> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let (tag, is_text) = tag.map_or((None, false), |tag| plain_tag(&tag));
                let quoted = is_text || style != ScalarStyle::Plain;
                let value = Value::Scalar { text: text.into_owned(), quoted };
                self.count(1, line)?;
                self.add(Node { line, tag, value }, anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                self.begin(line, anchor, tag.as_deref(), Content::Sequence(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                let (entries, merged) = (Vec::new(), Vec::new());
                let content = Content::Mapping { entries, key: None, names: HashSet::new(), merged };
                self.begin(line, anchor, tag.as_deref(), content)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(Open { line, tag, anchor, content }) = self.open.pop() else { return Ok(()) };
                let value = match content {
                    Content::Sequence(items) => Value::Sequence(items),
                    Content::Mapping { entries, names, merged, .. } => {
                        Value::Mapping(with_merged(entries, &names, merged)?)
                    }
                };
                self.add(Node { line, tag, value }, anchor)
            }
            Event::Alias(anchor) => {
                let Some(anchored) = self.anchors.get(&anchor) else {
                    return Err(SyntaxError::new(line, "an anchor cannot contain itself"));
                };
                let (node, nodes, depth) = (anchored.node.clone(), anchored.nodes, anchored.depth);
                self.count(nodes, line)?;
                check_depth(self.open.len() + depth, line)?;
                self.add(node, 0)
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => Ok(()),
        }
    }

    fn begin(
        &mut self,
        line: usize,
        anchor: usize,
        tag: Option<&Tag>,
        content: Content,
    ) -> Result<(), SyntaxError> {
        self.count(1, line)?;
        check_depth(self.open.len() + 1, line)?;
        let tag = tag.and_then(|tag| plain_tag(tag).0);
        self.open.push(Open { line, tag, anchor, content });
        Ok(())
    }

    fn count(&mut self, nodes: usize, line: usize) -> Result<(), SyntaxError> {
        self.nodes += nodes;
        if self.nodes > MOST_NODES && !crate::defences::off("aliases-of-yaml") {
            let text =
                format!("it comes to more than {MOST_NODES} values, with what aliases repeat counted again");
            return Err(SyntaxError::new(line, text));
        }
        Ok(())
    }

    fn add(&mut self, node: Node, anchor: usize) -> Result<(), SyntaxError> {
        if anchor > 0 {
            let (nodes, depth) = extent(&node);
            self.count(nodes, node.line)?;
            self.anchors.insert(anchor, Anchored { node: node.clone(), nodes, depth });
        }
        match self.open.last_mut().map(|open| &mut open.content) {
            Some(Content::Sequence(items)) => items.push(node),
            Some(Content::Mapping { entries, key, names, merged }) => match key.take() {
                None => *key = Some(node),
                Some(name) if is_merge(&name) => merged.push(node),
                Some(name) => {
                    if let Some(text) = name.text()
                        && !names.insert(text.to_owned())
                    {
                        let text = format!("`{text}` stands here a second time");
                        return Err(SyntaxError::new(name.line, text));
                    }
                    entries.push((name, node));
                }
            },
            None if self.document.is_none() => {
                self.document = (!node.is_null()).then_some(node);
            }
            None if node.is_null() => {}
            None => {
                return Err(SyntaxError::new(node.line, "a second document begins here; there must be one"));
            }
        }
        Ok(())
    }
}

/// The tag as this crate has it, and whether it says that a scalar is text whatever it looks like.
fn plain_tag(tag: &Tag) -> (Option<String>, bool) {
    if tag.is_yaml_core_schema() {
        return (None, tag.suffix == "str");
    }
    match (tag.handle.as_str(), tag.suffix.as_str()) {
        ("", "!") | ("!", "") => (None, true),
        ("!", suffix) => (Some(suffix.to_owned()), false),
        (handle, suffix) => (Some(format!("{handle}{suffix}")), false),
    }
}

fn is_merge(key: &Node) -> bool {
    key.tag.is_none() && matches!(&key.value, Value::Scalar { text, quoted: false } if text == "<<")
}

/// What a map holds with the maps that `<<` names: its own keys count, then those of the first.
fn with_merged(
    entries: Vec<(Node, Node)>,
    names: &HashSet<String>,
    merged: Vec<Node>,
) -> Result<Vec<(Node, Node)>, SyntaxError> {
    if merged.is_empty() {
        return Ok(entries);
    }
    let mut names = names.clone();
    let mut all = Vec::new();
    let sources = merged.into_iter().flat_map(|node| match node.value {
        Value::Sequence(items) if node.tag.is_none() => items,
        value => vec![Node { value, ..node }],
    });
    for source in sources {
        let Value::Mapping(more) = source.value else {
            return Err(SyntaxError::new(source.line, "`<<` must be given a map, or a list of maps"));
        };
        let fresh = |(key, _): &(Node, Node)| key.text().is_none_or(|name| names.insert(name.to_owned()));
        all.extend(more.into_iter().filter(fresh));
    }
    all.extend(entries);
    Ok(all)
}

/// How many nodes there are, and how deep they lie.
fn extent(node: &Node) -> (usize, usize) {
    let children: Vec<&Node> = match &node.value {
        Value::Scalar { .. } => return (1, 0),
        Value::Sequence(items) => items.iter().collect(),
        Value::Mapping(entries) => entries.iter().flat_map(|(key, value)| [key, value]).collect(),
    };
    let below = children.into_iter().map(extent);
    let (nodes, depth) = below.fold((1, 0), |(nodes, depth), (more, deep)| (nodes + more, depth.max(deep)));
    (nodes, depth + 1)
}

fn check_depth(depth: usize, line: usize) -> Result<(), SyntaxError> {
    if depth > MOST_DEPTH && !crate::defences::off("depth-of-yaml") { Err(too_deep(line)) } else { Ok(()) }
}

fn too_deep(line: usize) -> SyntaxError {
    SyntaxError::new(line, format!("lists and maps are nested deeper than {MOST_DEPTH} levels"))
}

impl Node {
    /// The text of a scalar without a tag.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } if self.tag.is_none() => Some(text),
            _ => None,
        }
    }

    /// YAML's nothing: an empty plain scalar, `~` or `null`.
    pub fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, quoted: false } if self.tag.is_none() && matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    pub fn mapping(&self) -> Option<&[(Node, Node)]> {
        match &self.value {
            Value::Mapping(entries) if self.tag.is_none() => Some(entries),
            _ => None,
        }
    }

    /// The value of a key of a mapping.
    pub fn get(&self, key: &str) -> Option<&Self> {
        let entries = self.mapping()?;
        entries.iter().find(|(name, _)| name.text() == Some(key)).map(|(_, value)| value)
    }

    pub fn items(&self) -> Option<&[Self]> {
        match &self.value {
            Value::Sequence(items) if self.tag.is_none() => Some(items),
            _ => None,
        }
    }

    /// As SAM's YAML 1.1 reads it, and as text, which CloudFormation takes for the same.
    pub fn boolean(&self) -> Option<bool> {
        match self.text()?.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" => Some(true),
            "false" | "no" | "off" => Some(false),
            _ => None,
        }
    }

    pub fn number(&self) -> Option<i64> {
        self.text()?.trim().parse().ok()
    }

    /// As JSON: plain scalars that look like numbers or truth values are some.
    pub fn json(&self) -> serde_json::Value {
        match &self.value {
            Value::Scalar { text, quoted: false } => match text.as_str() {
                "true" => true.into(),
                "false" => false.into(),
                _ if self.is_null() => serde_json::Value::Null,
                _ => text.parse::<serde_json::Number>().map_or_else(|_| text.clone().into(), Into::into),
            },
            Value::Scalar { text, .. } => text.clone().into(),
            Value::Sequence(items) => items.iter().map(Self::json).collect::<Vec<_>>().into(),
            Value::Mapping(entries) => {
                let entry =
                    |(key, value): &(Self, Self)| (key.text().unwrap_or_default().to_owned(), value.json());
                serde_json::Value::Object(entries.iter().map(entry).collect())
            }
        }
    }

    pub fn scalar(text: &str, line: usize) -> Self {
        Self { line, tag: None, value: Value::Scalar { text: text.to_owned(), quoted: true } }
    }

    /// What a reader of the file would call it.
    pub fn kind(&self) -> String {
        match (&self.tag, &self.value) {
            (Some(tag), _) => format!("`!{tag}`"),
            (None, Value::Scalar { text, .. }) => format!("`{text}`"),
            (None, Value::Sequence(_)) => "a list".to_owned(),
            (None, Value::Mapping(entries)) => match entries.first().and_then(|(key, _)| key.text()) {
                Some(key) if key == "Ref" || key.starts_with("Fn::") => format!("`{key}`"),
                _ => "a map".to_owned(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_tags_lines_and_text() {
        let node = parse("A: !Ref Table\nB:\n  - '12'\n  - 0755\nC: !Sub\n  - x\n").unwrap().unwrap();
        let entries = node.mapping().unwrap();
        assert_eq!(entries[0].1.tag.as_deref(), Some("Ref"));
        let Value::Sequence(items) = &entries[1].1.value else { panic!() };
        assert_eq!((items[0].text(), items[0].line), (Some("12"), 3));
        assert_eq!(items[1].text(), Some("0755"));
        assert_eq!(entries[2].1.tag.as_deref(), Some("Sub"));
        assert!(matches!(&entries[2].1.value, Value::Sequence(_)));
    }

    #[test]
    fn says_where_it_breaks() {
        let error = parse("A: 1\nB: [1,\nC: }").unwrap_err();
        assert!(error.line >= 2, "{error:?}");
        assert_eq!(parse("  \n# nothing\n"), Ok(None));
    }

    /// One line of JSON-like text, to compare trees by.
    fn flat(node: &Node) -> String {
        let tag = node.tag.as_ref().map(|tag| format!("!{tag} ")).unwrap_or_default();
        let join = |parts: Vec<String>| parts.join(",");
        match &node.value {
            Value::Scalar { text, .. } => format!("{tag}{text}"),
            Value::Sequence(items) => format!("{tag}[{}]", join(items.iter().map(flat).collect())),
            Value::Mapping(entries) => {
                let entries = entries.iter().map(|(key, value)| format!("{}:{}", flat(key), flat(value)));
                format!("{tag}{{{}}}", join(entries.collect()))
            }
        }
    }

    #[test]
    fn puts_aliases_and_merge_keys_in_place() {
        for (text, expected) in [
            ("a: &x {k: 1}\nb: *x\n", "{a:{k:1},b:{k:1}}"),
            ("a: &x !Sub hello\nb: [*x, *x]\n", "{a:!Sub hello,b:[!Sub hello,!Sub hello]}"),
            ("a: &x {k: 1, l: 2}\nb:\n  <<: *x\n  l: 3\n", "{a:{k:1,l:2},b:{k:1,l:3}}"),
            ("a: &x {k: 1}\nb: &y {k: 2, m: 3}\nc: {<<: [*x, *y]}\n", "{a:{k:1},b:{k:2,m:3},c:{k:1,m:3}}"),
            ("'<<': 1\n", "{<<:1}"),
            ("a: !!str 12\nb: ! 12\n", "{a:12,b:12}"),
        ] {
            assert_eq!(flat(&parse(text).unwrap().unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn refuses_what_is_absurd() {
        let bomb: String = (1..30).fold("a0: &a0 [x, x]\n".to_owned(), |text, level| {
            format!("{text}a{level}: &a{level} [*a{0}, *a{0}]\n", level - 1)
        });
        let deep_aliases: String = (1..90).fold("a0: &a0 [x]\n".to_owned(), |text, level| {
            format!("{text}a{level}: &a{level} [[*a{0}]]\n", level - 1)
        });
        for (text, line, expected) in [
            ("a: 1\nb: 2\na: 3\n".to_owned(), 3, "`a` stands here a second time"),
            ("a:\n  b: 1\n\tc: 2\n".to_owned(), 3, ""),
            ("a: *x\n".to_owned(), 1, "unknown anchor"),
            ("a: &x [*x]\n".to_owned(), 1, "cannot contain itself"),
            ("a: {<<: 1}\n".to_owned(), 1, "`<<` must be given a map"),
            ("a: 1\n---\nb: 2\n".to_owned(), 3, "a second document"),
            ("a: !Base64 !Sub x\n".to_owned(), 1, ""),
            (format!("a:\n  {}", "[".repeat(5000)), 2, "nested deeper than 100"),
            ("- ".repeat(5000), 1, "nested deeper than 100"),
            ((0..500).map(|level| format!("{}a:\n", " ".repeat(level))).collect(), 101, "nested deeper"),
            (bomb, 16, "more than 300000 values"),
            (deep_aliases, 51, "nested deeper than 100"),
            ("# ".repeat(MOST_BYTES), 1, "bytes; the most that is read"),
        ] {
            let error = parse(&text).unwrap_err();
            assert!(error.text.contains(expected), "{error:?}: {expected}");
            if !expected.is_empty() {
                assert_eq!(error.line, line, "{expected}");
            }
        }
    }

    /// Just beyond what is read: harmless, should somebody read it all the same.
    #[test]
    fn refuses_a_little_too_much() {
        let repeated = format!("a: &a [{}]\nb: [{}]\n", "x, ".repeat(1000), "*a, ".repeat(301));
        let error = parse(&repeated).unwrap_err();
        assert_eq!(error.line, 2);
        assert!(error.text.contains("more than 300000 values"), "{error:?}");
        let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(parse(&deep(MOST_DEPTH)).unwrap().is_some());
        assert!(parse(&deep(MOST_DEPTH + 1)).unwrap_err().text.contains("nested deeper than 100"));
    }
}
