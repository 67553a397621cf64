//! JSON values as YAML that people like to read, and that every reader takes for the same.

use serde_json::Value;

pub fn write(value: &Value) -> String {
    let mut text = String::new();
    block(value, 0, &mut text);
    text
}

/// A mapping or list on lines of its own.
fn block(value: &Value, indent: usize, text: &mut String) {
    let spaces = "  ".repeat(indent);
    match value {
        Value::Object(entries) => {
            for (name, value) in entries {
                text.push_str(&format!("{spaces}{}:", scalar(name)));
                after_mark(value, indent, text);
                // Sections and resources are easier to find with air between them.
                if indent == 0 && value.is_object() {
                    text.push('\n');
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                text.push_str(&format!("{spaces}-"));
                after_mark(item, indent, text);
            }
        }
        other => text.push_str(&format!("{spaces}{}\n", plain(other))),
    }
}

/// What follows `name:` or `-`.
fn after_mark(value: &Value, indent: usize, text: &mut String) {
    match value {
        Value::Object(entries) if entries.is_empty() => text.push_str(" {}\n"),
        Value::Array(items) if items.is_empty() => text.push_str(" []\n"),
        Value::Object(_) | Value::Array(_) => {
            text.push('\n');
            block(value, indent + 1, text);
        }
        other => text.push_str(&format!(" {}\n", plain(other))),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => scalar(text),
        other => other.to_string(),
    }
}

/// Without quotes only where no reader could take it for something else.
fn scalar(text: &str) -> String {
    let harmless = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/'))
        && !matches!(
            text.to_ascii_lowercase().as_str(),
            "y" | "n" | "yes" | "no" | "on" | "off" | "true" | "false" | "null"
        );
    // `AWS::Lambda::Function`, `Fn::Sub`
    let kind = text.contains("::")
        && text.split("::").all(|part| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric()));
    if harmless || kind { text.to_owned() } else { Value::from(text).to_string() }
}

#[cfg(test)]
mod tests {
    use super::super::super::super::yaml;
    use super::*;
    use serde_json::json;

    #[test]
    fn reads_back_as_what_it_was() {
        let value = json!({
            "Type": "AWS::Lambda::Function",
            "Text": ["", "no", "1", "a: b", "#", "it's", "tab\t\"quoted\"\nline", "ünï", "{proxy+}", "- x", "plain"],
            "Empty": {"Map": {}, "List": [], "Nothing": null},
            "Number": 5, "Flag": true, "Nested": [{"a": [1, [2]]}],
        });
        let text = write(&value);
        let node = yaml::parse(&text).unwrap().unwrap();
        assert_eq!(node.get("Type").unwrap().text(), Some("AWS::Lambda::Function"), "{text}");
        let texts: Vec<&str> =
            node.get("Text").unwrap().items().unwrap().iter().map(|item| item.text().unwrap()).collect();
        let wanted: Vec<&str> =
            value["Text"].as_array().unwrap().iter().map(|item| item.as_str().unwrap()).collect();
        assert_eq!(texts, wanted, "{text}");
        assert_eq!(node.get("Number").unwrap().number(), Some(5));
        let nested = &node.get("Nested").unwrap().items().unwrap()[0];
        assert_eq!(nested.get("a").unwrap().items().unwrap()[1].items().unwrap()[0].text(), Some("2"));
    }
}
