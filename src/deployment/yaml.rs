//! YAML with what configuration needs and typed readers lose: line numbers, tags such as `!Ref`, and
//! whether a scalar was quoted.

use saphyr::{MarkedYaml, ScalarStyle, YamlData, YamlLoader};
use saphyr_parser::Parser;

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

/// The first document; `None` if the text holds nothing.
pub fn parse(text: &str) -> Result<Option<Node>, SyntaxError> {
    let syntax =
        |error: saphyr::ScanError| SyntaxError { line: error.marker().line(), text: error.info().to_owned() };
    let mut loader: YamlLoader<'_, MarkedYaml<'_>> = YamlLoader::default();
    loader.early_parse(false);
    let mut parser = Parser::new_from_str(text);
    parser.load(&mut loader, true).map_err(syntax)?;
    if let Some(error) = loader.error() {
        return Err(syntax(error.clone()));
    }
    Ok(loader.into_documents().into_iter().next().map(convert))
}

fn convert(node: MarkedYaml<'_>) -> Node {
    let line = node.span.start.line();
    let (tag, value) = match node.data {
        YamlData::Representation(text, style, tag) => {
            let quoted = !matches!(style, ScalarStyle::Plain);
            (tag.map(|tag| tag.suffix.clone()), Value::Scalar { text: text.into_owned(), quoted })
        }
        YamlData::Sequence(items) => (None, Value::Sequence(items.into_iter().map(convert).collect())),
        YamlData::Mapping(entries) => {
            let entries = entries.into_iter().map(|(key, value)| (convert(key), convert(value)));
            (None, Value::Mapping(entries.collect()))
        }
        YamlData::Tagged(tag, inner) => {
            let inner = convert(*inner);
            (Some(tag.suffix.clone()), inner.value)
        }
        YamlData::Value(_) | YamlData::Alias(_) | YamlData::BadValue => {
            (None, Value::Scalar { text: String::new(), quoted: false })
        }
    };
    Node { line, tag, value }
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
}
