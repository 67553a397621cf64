//! The catalogue of faults and threats: which tests show that each is met, and that these tests are red
//! when the defence is gone.
//!
//! ```sh
//! cargo test --test acceptance catalogue::table -- --ignored --nocapture
//! ```
//!
//! runs the tests of every row and prints the catalogue as a table: fault, expected, seen, milliseconds.
//! `HANDLERD_TEST_ROWS=13,T18` picks rows, here and for the defences. In every run of the tests: each row names tests that there
//! are, and each defence that a row names is missed by a test when `HANDLERD_TEST_WITHOUT` takes it away.
//!
//! A row is in `faults` (the sixty faults) or `threats` (T1 to T24). What a test has seen of a row
//! it says with [`seen`].

mod faults;
mod threats;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// One fault or threat.
pub struct Row {
    /// `13`, `T18`.
    pub id: &'static str,
    pub what: &'static str,
    pub expected: &'static str,
    /// Tests of this binary, by their full names; behind `lib ` those of the library.
    pub tests: &'static [&'static str],
    /// What `crate::defences` of the program calls a defence, and a test that is red without it.
    pub without: &'static [(&'static str, &'static str)],
}

/// Tests that are run without a defence at the same time.
const AT_ONCE: usize = 3;

const MARK: &str = "catalogue row ";

/// What a test has seen of a row, for the table; with the time that this took, where it is of interest.
pub fn seen(id: &str, what: impl Display, took: impl Into<Option<Duration>>) {
    let took = took.into().map_or_else(String::new, |took| format!("{:.1}", took.as_secs_f64() * 1e3));
    println!("{MARK}{id} | {} | {took}", what.to_string().replace(['\n', '|'], " "));
}

fn rows() -> impl Iterator<Item = &'static Row> {
    faults::ROWS.iter().chain(threats::ROWS)
}

fn is_wanted(row: &&'static Row) -> bool {
    let wanted = std::env::var("HANDLERD_TEST_ROWS").ok();
    wanted.is_none_or(|ids| ids.split(',').any(|id| id == row.id))
}

/// Runs tests of this very binary in a process of their own.
fn run(tests: &BTreeSet<&str>, without: Option<&str>) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(tests).args(["--exact", "--nocapture", "--include-ignored", "--test-threads=1"]);
    command.env("RUST_BACKTRACE", "0").stdin(Stdio::null());
    if let Some(defence) = without {
        command.env("HANDLERD_TEST_WITHOUT", defence);
    }
    command.output().unwrap()
}

/// The same for one test, also of the library, which this binary cannot run itself.
fn run_one(test: &str, without: Option<&str>) -> Output {
    let Some(test) = test.strip_prefix("lib ") else { return run(&BTreeSet::from([test]), without) };
    let mut command = Command::new(env!("CARGO"));
    command.args(["test", "--quiet", "--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")]);
    command.args(["--lib", "--", "--exact", test]).env("RUST_BACKTRACE", "0").stdin(Stdio::null());
    if let Some(defence) = without {
        command.env("HANDLERD_TEST_WITHOUT", defence);
    }
    command.output().unwrap()
}

/// All functions of the library's sources, as text.
fn sources(folder: &Path, text: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        match entry.is_dir() {
            true => sources(&entry, text),
            false => text.push_str(&std::fs::read_to_string(entry).unwrap_or_default()),
        }
    }
}

#[test]
fn every_row_names_tests_that_there_are() {
    let listed = Command::new(std::env::current_exe().unwrap()).arg("--list").output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let there: BTreeSet<&str> = listed.lines().filter_map(|line| line.strip_suffix(": test")).collect();
    let numbers: Vec<String> = (1..=60).map(|number| number.to_string()).collect();
    let threats: Vec<String> = (1..=24).map(|number| format!("T{number}")).collect();
    let ids: Vec<&str> = rows().map(|row| row.id).collect();
    assert_eq!(ids, [numbers, threats].concat());
    let mut library = String::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut library);
    let is_there = |test: &str| match test.strip_prefix("lib ") {
        Some(test) => library.contains(&format!("fn {}()", test.rsplit("::").next().unwrap())),
        None => there.contains(test),
    };
    for row in rows() {
        assert!(!row.tests.is_empty(), "{}: no test", row.id);
        for test in row.tests.iter().chain(row.without.iter().map(|(_, test)| test)) {
            assert!(is_there(test), "{}: there is no test {test}", row.id);
        }
    }
}

#[test]
fn each_defence_is_missed_when_it_is_gone() {
    let named = rows().filter(is_wanted).flat_map(|row| row.without).collect::<BTreeSet<_>>();
    let (left, green) = (Mutex::new(named.into_iter()), Mutex::new(Vec::new()));
    let next = || left.lock().unwrap().next();
    let work = || {
        while let Some(&(defence, test)) = next() {
            let began = Instant::now();
            let output = run_one(test, Some(defence));
            let said = String::from_utf8_lossy(&output.stdout);
            if output.status.success() || !said.contains("test result: FAILED. 0 passed; 1 failed") {
                green.lock().unwrap().push(format!("{test} does not miss `{defence}`:\n{said}"));
            }
            println!("without {defence}: {test} took {:.1} s", began.elapsed().as_secs_f64());
        }
    };
    // Most of them wait for something that does not come.
    std::thread::scope(|scope| (0..AT_ONCE).for_each(|_| drop(scope.spawn(work))));
    let green = green.into_inner().unwrap();
    assert!(green.is_empty(), "{} of them:\n{}", green.len(), green.join("\n"));
}

#[test]
#[ignore = "minutes: runs the tests of all rows, and prints the catalogue"]
fn table() {
    let mut results: BTreeMap<&str, (bool, Duration, String)> = BTreeMap::new();
    let mut failed = Vec::new();
    println!("| | what | expected | seen | ms | |\n|---|---|---|---|---|---|");
    for row in rows().filter(is_wanted) {
        let mut lines = Vec::new();
        let mut passed = true;
        for &test in row.tests {
            let (one, _, said) = results.entry(test).or_insert_with(|| {
                let began = Instant::now();
                let output = run_one(test, None);
                let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
                if test.starts_with("lib ") && output.status.success() {
                    said.push_str(&format!("\n{MARK}{} | {test} passed | \n", row.id));
                }
                (output.status.success() && said.contains("1 passed"), began.elapsed(), said)
            });
            passed &= *one;
            let own = format!("{MARK}{} | ", row.id);
            lines.extend(
                said.lines().filter_map(|line| line.split_once(&own)).map(|(_, rest)| rest.to_owned()),
            );
        }
        let seen: Vec<&str> = lines.iter().filter_map(|line| Some(line.rsplit_once(" | ")?.0)).collect();
        let times = lines.iter().filter_map(|line| Some(line.rsplit_once(" | ")?.1));
        let times: Vec<&str> = times.filter(|time| !time.is_empty()).collect();
        let outcome = if passed { "passed" } else { "FAILED" };
        let (seen, times) = (seen.join("; "), times.join("; "));
        println!("| {} | {} | {} | {seen} | {times} | {outcome} |", row.id, row.what, row.expected);
        if !passed || lines.is_empty() {
            failed.push(row.id);
        }
    }
    let slowest = results.values().map(|(_, took, _)| *took).sum::<Duration>();
    println!("\n{} tests, {:.0} s", results.len(), slowest.as_secs_f64());
    assert_eq!(failed, [""; 0], "these rows failed, or their tests say nothing of them");
}
