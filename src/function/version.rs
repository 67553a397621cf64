//! Which version of a function: the one that is being worked on, or a published one.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Version {
    /// `$LATEST`: what is on disk now.
    #[default]
    Latest,
    /// Published; the first one is 1.
    Number(u64),
}

pub const LATEST: &str = "$LATEST";

impl Version {
    /// `$LATEST`, or the number.
    pub fn text(self) -> Cow<'static, str> {
        match self {
            Self::Latest => LATEST.into(),
            Self::Number(number) => number.to_string().into(),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => formatter.pad(LATEST),
            Self::Number(number) => fmt::Display::fmt(number, formatter),
        }
    }
}

/// A text that is no version, such as an alias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoVersion;

impl FromStr for Version {
    type Err = NoVersion;

    fn from_str(text: &str) -> Result<Self, NoVersion> {
        match text {
            LATEST => Ok(Self::Latest),
            _ if text.starts_with(['0', '+']) => Err(NoVersion),
            _ => text.parse().map(Self::Number).map_err(|_| NoVersion),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_latest_or_a_number() {
        assert_eq!("$LATEST".parse(), Ok(Version::Latest));
        assert_eq!("12".parse(), Ok(Version::Number(12)));
        for other in ["", "0", "01", "+1", "-1", "live", "latest", "99999999999999999999999"] {
            assert_eq!(other.parse::<Version>(), Err(NoVersion), "{other}");
        }
        assert_eq!(Version::Latest.to_string(), "$LATEST");
        assert_eq!(Version::Number(7).to_string(), "7");
    }
}
