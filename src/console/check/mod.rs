//! Mistakes in a text that is being written, before it is deployed: by extension, Python, JSON or YAML.
//!
//! Lines and columns begin with 1; columns count UTF-16 units, as a browser does.

mod python;

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::error::ViewError;
use super::{Console, blocking};
use crate::control_plane::{Routes, Scope};
use crate::deployment::yaml_mistake;

pub fn routes() -> Routes<Console> {
    Routes::new().at("/_handlerd/check").post(Scope::Read, check)
}

/// Of the text; as JSON it may be twice as long.
const LONGEST: usize = 1024 * 1024;

#[derive(Deserialize)]
struct Asked {
    path: String,
    text: String,
}

#[derive(Serialize)]
struct Answer {
    problems: Vec<Mark>,
}

/// A place in the text, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    line: usize,
    column: usize,
    end_line: usize,
    end_column: usize,
    message: String,
    severity: Severity,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Severity {
    Error,
    Warning,
}

async fn check(State(console): State<Console>, body: Body) -> Result<Json<Answer>, ViewError> {
    let too_large = || {
        ViewError::new(StatusCode::PAYLOAD_TOO_LARGE, "the text is longer than 1 MB, so it is not checked")
    };
    let body = to_bytes(body, 2 * LONGEST + 4096).await.map_err(|_| too_large())?;
    let asked: Asked = serde_json::from_slice(&body)
        .map_err(|error| ViewError::invalid(format!("expected {{\"path\", \"text\"}}: {error}")))?;
    if asked.text.len() > LONGEST {
        return Err(too_large());
    }
    let extension = asked.path.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    let problems = match extension.as_deref() {
        Some("py") => python::check(&console, asked.text).await?,
        Some("json") => blocking(move || json(&asked.text)).await?,
        Some("yaml" | "yml") => blocking(move || yaml(&asked.text)).await?,
        _ => Vec::new(),
    };
    Ok(Json(Answer { problems }))
}

fn json(text: &str) -> Vec<Mark> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(text) else { return Vec::new() };
    let message = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let message = message.strip_suffix(&place).unwrap_or(&message).to_owned();
    let line = line(text, error.line());
    // Counted in bytes, up to the byte that is wrong.
    let before = floor(line, error.column().saturating_sub(1));
    vec![mark(text, error.line(), units(&line[..before]) + 1, message)]
}

fn yaml(text: &str) -> Vec<Mark> {
    let Some(mistake) = yaml_mistake(text) else { return Vec::new() };
    let line = line(text, mistake.line);
    let before: String = line.chars().take(mistake.column).collect();
    vec![mark(text, mistake.line, units(&before) + 1, mistake.text)]
}

/// An error of one character, or of the end of what is there.
fn mark(text: &str, at: usize, column: usize, message: String) -> Mark {
    let last = text.split('\n').count();
    let line_number = at.clamp(1, last);
    let end = units(line(text, line_number)) + 1;
    let column = column.min(end);
    Mark {
        line: line_number,
        column,
        end_line: line_number,
        end_column: (column + 1).min(end).max(column),
        message,
        severity: Severity::Error,
    }
}

fn line(text: &str, number: usize) -> &str {
    let line = text.split('\n').nth(number.saturating_sub(1)).unwrap_or_default();
    line.strip_suffix('\r').unwrap_or(line)
}

fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

/// The last boundary of a character up to here.
fn floor(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place(marks: &[Mark]) -> Option<(usize, usize)> {
        marks.first().map(|mark| (mark.line, mark.column))
    }

    #[test]
    fn json_errors_have_their_place() {
        assert_eq!(json("{\"a\": [1, 2]}\n"), []);
        assert_eq!(place(&json("{\"a\": 1,}")), Some((1, 9)));
        assert_eq!(place(&json("{\n  \"é😀\": x\n}")), Some((2, 10)));
        assert_eq!(place(&json("")), Some((1, 1)));
        assert_eq!(place(&json("[1, 2\n\n")), Some((3, 1)));
        assert!(!json("[1] [2]").is_empty());
    }

    #[test]
    fn yaml_errors_have_their_place() {
        assert_eq!(yaml("a: [1, 2]\nb: {c: d}\n---\nanother: document\n"), []);
        assert_eq!(yaml(""), []);
        assert_eq!(place(&yaml("a: 'é😀' 'x'\n")).map(|(line, _)| line), Some(1));
        let marks = yaml("a: 1\nb: [1,\nc: 2\n");
        assert!(marks[0].line >= 2, "{marks:?}");
        assert_eq!(place(&yaml("a:\n\tb: 1\n")).map(|(line, _)| line), Some(2));
        assert!(!yaml(&"[".repeat(5000)).is_empty());
    }

    proptest! {
        #[test]
        fn marks_lie_in_the_text(text in "(?s)[\\[\\]{}:,\"'\\- \t\r\n\u{e9}\u{1f600}a-c0-9#&*|>%@`]{0,80}") {
            for mark in json(&text).into_iter().chain(yaml(&text)) {
                let lines: Vec<&str> = text.split('\n').collect();
                prop_assert!(mark.line >= 1 && mark.line <= lines.len());
                prop_assert!(mark.column >= 1 && mark.column <= units(lines[mark.line - 1]) + 1);
                prop_assert!(mark.end_column >= mark.column && mark.end_line == mark.line);
                prop_assert!(!mark.message.is_empty());
            }
        }
    }
}
