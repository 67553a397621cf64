//! A function's name, by Lambda's rule: letters, digits, `-` and `_`, at most 64 of them.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FunctionName(Arc<str>);

pub const MAX_LENGTH: usize = 64;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    #[error("a function's name cannot be empty")]
    Empty,
    #[error("`{0}` is longer than 64 characters, the most that Lambda allows in a function's name")]
    TooLong(String),
    #[error(
        "`{name}` contains {character:?}; Lambda allows letters, digits, `-` and `_` in a function's name"
    )]
    Character { name: String, character: char },
}

impl FunctionName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for FunctionName {
    type Err = InvalidName;

    fn from_str(name: &str) -> Result<Self, InvalidName> {
        if name.is_empty() {
            return Err(InvalidName::Empty);
        }
        if name.len() > MAX_LENGTH {
            return Err(InvalidName::TooLong(name.chars().take(80).collect()));
        }
        match name.chars().find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_')) {
            Some(character) => Err(InvalidName::Character { name: name.to_owned(), character }),
            None => Ok(Self(name.into())),
        }
    }
}

impl fmt::Display for FunctionName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

impl fmt::Debug for FunctionName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, formatter)
    }
}

impl std::borrow::Borrow<str> for FunctionName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_what_lambda_accepts_and_nothing_else() {
        for good in ["hello", "Hello_Lambda_Python", "a", "0-_", &"x".repeat(64)] {
            assert_eq!(good.parse::<FunctionName>().unwrap().as_str(), good);
        }
        for bad in ["", "a b", "a/b", "..", "a.b", "é", "a\0", &"x".repeat(65)] {
            assert!(bad.parse::<FunctionName>().is_err(), "{bad:?}");
        }
    }
}
