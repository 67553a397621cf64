//! Mapping templates: Velocity's language with what API Gateway adds to it, in the subset that
//! templates for API Gateway are written in.
//!
//! | file | what it knows |
//! |---|---|
//! | `syntax` | what a template is made of |
//! | `parser` | text -> template; what is beyond the subset is refused |
//! | `evaluate` | template -> output, within limits |
//! | `value` | what a reference can mean, and how it is written |
//! | `methods` | what texts, lists and maps can be asked |
//! | `util` | `$util` |
//!
//! Where AWS does not say, Velocity 1.7 decides:
//!
//! - A reference that means nothing is written as it stands; with `$!` it is left out. What AWS itself
//!   provides is left out too (`$context.authorizer.no`, `$stageVariables.no`, `$input.path('$.no')`);
//!   `$input.json('$.no')` is `""`, and so is `$input.params('no')`, without quotes.
//! - An `#if` passes for all but `false` and what is not there: an empty text passes.
//! - `#set` to nothing leaves what was there.
//! - In double quotes a backslash stays, and keeps a quote from ending the text.
//! - Without a body `$input.body` and `$input.json('$')` are `{}`.
//! - A map is written `{a=1}`, a list `[1, 2]`, but a list out of JSON as JSON.

mod evaluate;
mod methods;
mod parser;
mod syntax;
#[cfg(test)]
mod tests;
mod util;
mod value;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

pub use evaluate::Failure;

/// A template that has been read.
#[derive(Debug)]
pub struct Template(Vec<syntax::Node>);

/// What a template can ask.
pub struct Variables<'a> {
    /// `$input`
    pub body: &'a str,
    /// `$input.params()`
    pub parameters: &'a Parameters,
    /// `$context`
    pub context: &'a Map<String, Value>,
    /// `$stageVariables`
    pub stage_variables: &'a BTreeMap<String, String>,
}

/// Decoded; of what came several times, the last.
#[derive(Debug, Default)]
pub struct Parameters {
    pub path: Vec<(String, String)>,
    pub query: Vec<(String, String)>,
    pub headers: Vec<(String, String)>,
}

impl Parameters {
    /// In the path, then in the query, then in the headers.
    pub fn find(&self, name: &str) -> Option<&str> {
        let exactly = [&self.path, &self.query].into_iter().flatten().find(|(known, _)| known == name);
        let found =
            exactly.or_else(|| self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)));
        found.map(|(_, value)| value.as_str())
    }
}

/// What a template came to.
#[derive(Debug)]
pub struct Rendered {
    pub text: String,
    /// With what the template has set in it (`$context.responseOverride.status`).
    pub context: Map<String, Value>,
}

impl Template {
    /// "line N: what" if it is beyond what is understood here.
    pub fn parse(text: &str) -> Result<Self, String> {
        parser::parse(text).map(Self)
    }

    pub fn render(&self, variables: &Variables<'_>) -> Result<Rendered, Failure> {
        evaluate::render(&self.0, variables)
    }
}
