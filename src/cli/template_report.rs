//! What became of a template: every resource and property, by line.
//!
//! What is supported takes one line for a resource; what is ignored or different has one of its own.

use crate::deployment::{Finding, Problem, Status};

/// How wide it may become; the terminal's lines begin with a time of 13 letters.
const WIDTH: usize = 86;
/// Where the text begins, after the number of the line.
const INDENT: usize = 7;

/// One block of text; resources in the template's order. What is told among the problems, of the
/// same line, is not told twice.
pub fn text(findings: &[Finding], problems: &[Problem]) -> String {
    let mut resources: Vec<&str> = Vec::new();
    for finding in findings {
        if !resources.contains(&finding.resource.as_str()) {
            resources.push(&finding.resource);
        }
    }
    let mut blocks: Vec<(usize, String)> = Vec::new();
    for resource in resources {
        let own: Vec<&Finding> = findings.iter().filter(|finding| finding.resource == resource).collect();
        let whole = own.iter().find(|finding| finding.property.is_empty());
        let first = whole.or(own.first()).expect("every resource here has a finding");
        let mut text = format!("\n{:>5}  {resource} ({}): ", first.line, first.kind);
        match whole {
            Some(whole) => wrap(&mut text, &verdict(whole, problems)),
            None => text.push_str("supported"),
        }
        let is_supported = |finding: &&&Finding| {
            finding.status == Status::Supported && finding.text.is_empty() && !finding.property.is_empty()
        };
        let names: Vec<&str> = own.iter().filter(is_supported).map(|f| f.property.as_str()).collect();
        let names = gathered(&names);
        if !names.is_empty() {
            text.push_str(if text.ends_with("supported") { ": " } else { "; supported: " });
            wrap(&mut text, &names.join(", "));
        }
        for finding in &own {
            if !finding.property.is_empty() && !is_supported(&finding) {
                let verdict = verdict(finding, problems);
                text.push_str(&format!("\n{:>INDENT$}  {} ", finding.line, finding.property));
                wrap(&mut text, &verdict);
            }
        }
        blocks.push((first.line, text));
    }
    blocks.sort_by_key(|(line, _)| *line);
    blocks.into_iter().map(|(_, text)| text).collect()
}

/// How many there are of each kind: `30 resources: 22 supported, 3 different, 5 ignored`.
pub fn summary(findings: &[Finding]) -> String {
    let is_resource = |finding: &&Finding| finding.property.is_empty() && finding.kind != "Output";
    let of = |status| findings.iter().filter(is_resource).filter(|finding| finding.status == status).count();
    let counts = [
        (of(Status::Supported), "supported"),
        (of(Status::Different), "different"),
        (of(Status::Ignored), "ignored"),
    ];
    let total: usize = counts.iter().map(|(count, _)| count).sum();
    let told: Vec<String> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    let resources = if total == 1 { "resource" } else { "resources" };
    format!("{total} {resources} ({}), by line:", told.join(", "))
}

/// `Events`, `Events.Get`, `Events.Put` -> `Events (Get, Put)`
fn gathered(names: &[&str]) -> Vec<String> {
    let mut gathered = Vec::new();
    for name in names {
        if name.split_once('.').is_some_and(|(outer, _)| names.contains(&outer)) {
            continue;
        }
        let inner: Vec<&str> =
            names.iter().filter_map(|other| other.strip_prefix(name)?.strip_prefix('.')).collect();
        match inner.as_slice() {
            [] => gathered.push((*name).to_owned()),
            inner => gathered.push(format!("{name} ({})", inner.join(", "))),
        }
    }
    gathered
}

/// More words on a line that has been begun, and on lines below it where it becomes too long.
fn wrap(text: &mut String, words: &str) {
    let mut length = text.chars().rev().take_while(|letter| *letter != '\n').count();
    for (index, word) in words.split(' ').enumerate() {
        let size = word.chars().count();
        if index > 0 && length + 1 + size > WIDTH {
            text.push('\n');
            text.push_str(&" ".repeat(INDENT + 4));
            length = INDENT + 4;
        } else if index > 0 {
            text.push(' ');
            length += 1;
        }
        text.push_str(word);
        length += size;
    }
}

fn verdict(finding: &Finding, problems: &[Problem]) -> String {
    let status = match finding.status {
        Status::Supported => "supported",
        Status::Different => "different",
        Status::Ignored => "ignored",
    };
    let is_told = |problem: &Problem| {
        problem.line == Some(finding.line) && problem.text.contains(finding.text.lines().next().unwrap_or(""))
    };
    match finding.text.as_str() {
        "" => status.to_owned(),
        _ if problems.iter().any(is_told) => format!("{status}, see below"),
        text if finding.status == Status::Supported => format!("{status}, {text}"),
        text => format!("{status}: {text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::Severity;

    fn finding(status: Status, property: &str, line: usize, text: &str) -> Finding {
        Finding {
            status,
            resource: "Shop".into(),
            kind: "AWS::Serverless::Function".into(),
            property: property.into(),
            line,
            text: text.into(),
        }
    }

    #[test]
    fn names_everything_once() {
        let findings = [
            finding(Status::Supported, "", 3, ""),
            finding(Status::Supported, "Handler", 5, ""),
            finding(Status::Ignored, "Tracing", 6, "nothing is traced here"),
            finding(Status::Ignored, "Timeuot", 7, "`Timeuot` is no property"),
            finding(Status::Supported, "Events", 8, ""),
            finding(Status::Supported, "Events.Get", 9, ""),
            finding(Status::Supported, "Events.Put", 10, ""),
        ];
        let problem = Problem {
            severity: Severity::Warning,
            path: "template.yaml".into(),
            line: Some(7),
            text: "`Shop`: `Timeuot` is no property\nhint: did you mean `Timeout`?".into(),
        };
        assert_eq!(
            text(&findings, &[problem]),
            "\n    3  Shop (AWS::Serverless::Function): supported: Handler, Events (Get, Put)\
             \n      6  Tracing ignored: nothing is traced here\
             \n      7  Timeuot ignored, see below"
        );
        let mut output = finding(Status::Supported, "", 12, "its value here is `x`");
        "Output".clone_into(&mut output.kind);
        let all: Vec<Finding> = findings.into_iter().chain([output]).collect();
        assert_eq!(summary(&all), "1 resource (1 supported), by line:");
    }

    #[test]
    fn long_lists_are_wrapped() {
        let mut text = "    3  A: ".to_owned();
        let names: Vec<String> = (0..40).map(|number| format!("Property{number}")).collect();
        wrap(&mut text, &names.join(", "));
        assert!(text.lines().count() > 3 && text.lines().all(|line| line.len() <= WIDTH), "{text}");
        assert!(text.lines().skip(1).all(|line| line.starts_with("           Property")), "{text}");
    }
}
