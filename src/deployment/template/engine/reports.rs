//! What is wrong with a template, told once each and not without end.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::deployment::{Problem, Severity};

/// Whoever has more than these has one problem.
const MOST: usize = 200;

pub struct Reports {
    path: PathBuf,
    problems: Vec<Problem>,
    told: HashSet<(Option<usize>, String)>,
    untold: usize,
}

impl Reports {
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), problems: Vec::new(), told: HashSet::new(), untold: 0 }
    }

    pub fn error(&mut self, line: usize, text: impl Into<String>) {
        self.tell(Severity::Error, line, text.into());
    }

    pub fn warning(&mut self, line: usize, text: impl Into<String>) {
        self.tell(Severity::Warning, line, text.into());
    }

    pub fn note(&mut self, line: usize, text: impl Into<String>) {
        self.tell(Severity::Note, line, text.into());
    }

    fn tell(&mut self, severity: Severity, line: usize, text: String) {
        let problem = Problem { severity, path: self.path.clone(), line: Some(line), text };
        self.add(problem);
    }

    /// Something in another file.
    pub fn add(&mut self, problem: Problem) {
        // What Globals or an alias repeats is still one mistake.
        if !self.told.insert((problem.line, problem.text.clone())) {
            return;
        }
        if self.problems.len() < MOST {
            self.problems.push(problem);
        } else {
            self.untold += 1;
        }
    }

    /// Suggestions cost time: none any more once nobody reads them.
    pub fn is_full(&self) -> bool {
        self.problems.len() >= MOST
    }

    pub fn into_problems(mut self) -> Vec<Problem> {
        if self.untold > 0 {
            let text = format!("and {} more problems", self.untold);
            let path = self.path;
            self.problems.push(Problem { severity: Severity::Warning, path, line: None, text });
        }
        self.problems
    }
}
