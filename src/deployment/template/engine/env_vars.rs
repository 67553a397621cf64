//! `--env-vars`: variables by function in SAM's JSON, `{"Function": {"NAME": "value"}}`, with
//! `Parameters` for all functions.

use std::path::Path;

use super::document::{broken, read_file};
use crate::deployment::yaml::{Node, Value};
use crate::deployment::{Problem, json};

/// Variables, by whose they are.
pub type EnvVars = Vec<(String, Vec<(String, String)>)>;

/// Stands for all functions.
pub const ALL: &str = "Parameters";

/// What the file says, and the line of each entry.
pub fn read(path: &Path) -> Result<(EnvVars, Vec<usize>), Problem> {
    let text = read_file(path).map_err(|text| broken(path, None, text))?;
    parse(&text).map_err(|(line, text)| broken(path, Some(line), text))
}

pub(super) fn parse(text: &str) -> Result<(EnvVars, Vec<usize>), (usize, String)> {
    const EXAMPLE: &str =
        "hint: write {\"FunctionName\": {\"VARIABLE\": \"value\"}}, or \"Parameters\" for all functions";
    let root =
        json::parse(text).map_err(|error| (error.line, format!("is not valid JSON: {}", error.text)))?;
    let Some(entries) = root.mapping() else {
        return Err((root.line, format!("must be a map of functions, not {}\n{EXAMPLE}", root.kind())));
    };
    let (mut all, mut lines) = (Vec::new(), Vec::new());
    for (key, variables) in entries {
        let function = key.text().unwrap_or_default();
        let Some(variables) = variables.mapping() else {
            let text =
                format!("`{function}` must be a map of variables, not {}\n{EXAMPLE}", variables.kind());
            return Err((variables.line, text));
        };
        let variables =
            variables.iter().map(|(name, value)| (name.text().unwrap_or_default().to_owned(), said(value)));
        all.push((function.to_owned(), variables.collect()));
        lines.push(key.line);
    }
    Ok((all, lines))
}

/// As SAM makes text of it: nothing for what has no text.
fn said(value: &Node) -> String {
    match &value.value {
        Value::Scalar { .. } if value.is_null() => String::new(),
        Value::Scalar { text, .. } => text.clone(),
        Value::Sequence(_) | Value::Mapping(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_sams_format() {
        let text = "{\n \"Parameters\": {\"A\": \"1\"},\n \"Hello\": {\"B\": 2, \"C\": true, \"D\": null, \"E\": [1]}\n}";
        let (all, lines) = parse(text).unwrap();
        let flat: Vec<_> = all
            .iter()
            .flat_map(|(of, variables)| variables.iter().map(move |(n, v)| format!("{of}.{n}={v}")))
            .collect();
        assert_eq!(flat, ["Parameters.A=1", "Hello.B=2", "Hello.C=true", "Hello.D=", "Hello.E="]);
        assert_eq!(lines, [2, 3]);
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, line, expected) in [
            ("{\n\"A\": \"x\"}", 2, "`A` must be a map of variables, not `x`\nhint: write"),
            ("[]", 1, "must be a map of functions, not a list"),
            ("{\n\n\"A\"}", 3, "is not valid JSON"),
        ] {
            let (at, error) = parse(text).unwrap_err();
            assert!(at == line && error.contains(expected), "{text}: {at} {error}");
        }
    }
}
