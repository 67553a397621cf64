//! `docs/compared-with-aws.md`, checked: every row names the tests that prove it, and they exist.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const DOCUMENT: &str = "docs/compared-with-aws.md";

#[test]
fn every_row_is_proved_by_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join(DOCUMENT)).unwrap();
    let known = tests(root);
    let mut problems = Vec::new();
    let mut rows = 0;
    for (number, line) in rows_of(&text) {
        rows += 1;
        let last = line.trim_end_matches('|').rsplit('|').next().unwrap();
        let named: Vec<&str> = names(last).collect();
        if named.is_empty() {
            problems.push(format!("{DOCUMENT}:{number}: no test is named in the last column: {last}"));
        }
        for name in named.into_iter().filter(|name| !known.contains(*name)) {
            problems.push(format!("{DOCUMENT}:{number}: there is no test `{name}`"));
        }
    }
    assert!(rows > 40, "only {rows} rows are found: has the form of the tables changed?");
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// Every test of the module `front_doors` is there to prove a row.
#[test]
fn every_comparison_has_a_row() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join(DOCUMENT)).unwrap();
    let known = tests(root);
    let comparisons: Vec<&String> = known.iter().filter(|name| name.starts_with("front_doors::")).collect();
    assert!(!comparisons.is_empty());
    for name in comparisons {
        assert!(text.contains(&format!("`{name}`")), "{DOCUMENT} does not name `{name}`");
    }
}

/// Lines of tables, without their heads, and their numbers.
fn rows_of(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines: Vec<&str> = text.lines().collect();
    let is_rule = |line: &str| line.starts_with("|---");
    let rows = (0..lines.len()).filter(move |&index| {
        let next = lines.get(index + 1).copied().unwrap_or_default();
        lines[index].starts_with('|') && !is_rule(lines[index]) && !is_rule(next)
    });
    rows.map(|index| (index + 1, text.lines().nth(index).unwrap()))
}

/// `module::function`, between backticks.
fn names(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2).filter(|name| name.contains("::"))
}

/// `module::function` of every test; `module` is a file, or its folder where it is called `mod` or `tests`.
fn tests(root: &Path) -> BTreeSet<String> {
    let mut files = Vec::new();
    for folder in ["src", "tests/acceptance"] {
        collect(&root.join(folder), &mut files);
    }
    let mut tests = BTreeSet::new();
    for file in files {
        let own = file.file_stem().unwrap().to_string_lossy().into_owned();
        let module = match own.as_str() {
            "mod" | "tests" => file.parent().unwrap().file_name().unwrap().to_string_lossy().into_owned(),
            _ => own,
        };
        let source = std::fs::read_to_string(&file).unwrap();
        let mut is_test = false;
        for line in source.lines().map(str::trim) {
            if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                is_test = true;
            } else if let Some(function) = function(line).filter(|_| is_test) {
                tests.insert(format!("{module}::{function}"));
                is_test = false;
            }
        }
    }
    tests
}

/// The name of the function that begins on this line.
fn function(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ")?;
    rest.split('(').next()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            collect(&entry, files);
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            files.push(entry);
        }
    }
}
