//! `Fn::Transform` with `AWS::Include`: a file's content in the place of the function. On AWS it
//! comes from S3; `sam deploy` uploads it from beside the template, and from there it is read here.

use std::path::Path;

use super::document::{long_form, parse, read_file};
use super::reports::Reports;
use super::scope::{Scope, Unresolved};
use crate::deployment::yaml::{Node, Value};

/// Files in all.
const MOST: usize = 50;

impl Scope<'_> {
    pub fn transform(&mut self, argument: &Node, line: usize) -> Result<Option<Node>, Unresolved> {
        let name = argument.get("Name").and_then(Node::text).unwrap_or("?");
        if name != "AWS::Include" {
            let text = format!("the macro `{name}` runs on AWS only: what it would make is missing");
            return Err(Unresolved::new(line, text, name));
        }
        let location = argument.get("Parameters").and_then(|parameters| parameters.get("Location"));
        let location = match location {
            Some(location) => self.text(location, "the `Location` of `AWS::Include`")?,
            None => {
                return Err(Unresolved::new(
                    line,
                    "`AWS::Include` needs `Parameters: {Location: FILE}`",
                    name,
                ));
            }
        };
        let fails = |text: String| {
            let text = format!("`AWS::Include` of `{location}`: {text}");
            Unresolved::new(line, text, &location)
        };
        if location.contains("://") {
            let hint = "hint: name a file beside the template; `sam deploy` uploads it";
            return Err(fails(format!("only files are read, not what is in S3\n{hint}")));
        }
        let path = self.place.template.parent().unwrap_or(Path::new(".")).join(&location);
        if !self.files.contains(&path) {
            self.files.push(path.clone());
        }
        if self.files.len() > MOST {
            return Err(fails(format!("more than {MOST} files are included")));
        }
        if self.is_including {
            return Err(fails("what is included cannot include anything itself".to_owned()));
        }
        let text = read_file(&path).map_err(fails)?;
        if !self.spend(2 * text.len()) {
            return Err(Unresolved::new(line, "", &location));
        }
        let mut inner = Reports::new(&path);
        let node =
            parse(&text, &path).map_err(|error| fails(format!("line {}: {}", error.line, error.text)))?;
        let node = node.ok_or_else(|| fails("it is empty".to_owned()))?;
        let mut node = long_form(node, &mut inner);
        for problem in inner.into_problems() {
            self.reports.add(problem);
        }
        // Lines are the template's from here on: it is where this came in.
        move_to(&mut node, line);
        self.is_including = true;
        let resolved = self.resolve(&node);
        self.is_including = false;
        Ok(resolved)
    }
}

fn move_to(node: &mut Node, line: usize) {
    node.line = line;
    match &mut node.value {
        Value::Scalar { .. } => {}
        Value::Sequence(items) => items.iter_mut().for_each(|item| move_to(item, line)),
        Value::Mapping(entries) => entries.iter_mut().for_each(|(key, value)| {
            move_to(key, line);
            move_to(value, line);
        }),
    }
}
