//! Python versions: `3.12.1`, and the incomplete ones that people write.

use std::fmt;

/// What functions can run on: older Pythons lack parts of the stable ABI that the runtime uses.
pub const OLDEST_SUPPORTED: Version = Version { major: 3, minor: 10, micro: 0 };

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    pub major: u16,
    pub minor: u16,
    pub micro: u16,
}

impl Version {
    /// The version of a Python that could not be asked.
    pub const UNKNOWN: Version = Version { major: 0, minor: 0, micro: 0 };

    /// Reads `3.11`, `3.11.7`, `3.13.0rc1` and `3.11.7.final.0`.
    pub fn parse(text: &str) -> Option<Version> {
        let mut parts = text.trim().split('.');
        let major = parts.next()?.parse().ok()?;
        let minor = leading_number(parts.next()?)?;
        let micro = parts.next().and_then(leading_number).unwrap_or(0);
        Some(Version { major, minor, micro })
    }

    /// Two Pythons of one minor version share their extension modules and virtual environments.
    pub fn same_minor(self, other: Version) -> bool {
        (self.major, self.minor) == (other.major, other.minor)
    }

    /// `python3.12`, as `Runtime` says it.
    pub fn runtime(self) -> String {
        format!("python{}.{}", self.major, self.minor)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Version::UNKNOWN {
            return formatter.pad("?");
        }
        formatter.pad(&format!("{}.{}.{}", self.major, self.minor, self.micro))
    }
}

fn leading_number(text: &str) -> Option<u16> {
    let end = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().ok()
}

/// A version as it is asked for, exact only as far as it was written: `3`, `3.12`, `3.12.1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wanted {
    major: u16,
    minor: Option<u16>,
    micro: Option<u16>,
}

impl Wanted {
    /// Reads `3.12`, `python3.12`, `3.12.1`; anything else is not a version but a name or a path.
    pub(super) fn parse(text: &str) -> Option<Wanted> {
        let numbers = text.strip_prefix("python").unwrap_or(text).trim_start_matches('-');
        let numbers: Vec<u16> = numbers.split('.').map(|part| part.parse().ok()).collect::<Option<_>>()?;
        match numbers[..] {
            [major] => Some(Wanted { major, minor: None, micro: None }),
            [major, minor] => Some(Wanted { major, minor: Some(minor), micro: None }),
            [major, minor, micro] => Some(Wanted { major, minor: Some(minor), micro: Some(micro) }),
            _ => None,
        }
    }

    pub(super) fn is_met_by(self, version: Version) -> bool {
        self.major == version.major
            && self.minor.is_none_or(|minor| minor == version.minor)
            && self.micro.is_none_or(|micro| micro == version.micro)
    }

    /// The name under which such a Python usually stands on `PATH`.
    pub(super) fn executable_name(self) -> String {
        match self.minor {
            Some(minor) => format!("python{}.{minor}", self.major),
            None => format!("python{}", self.major),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_tools_write_them() {
        let version = |major, minor, micro| Some(Version { major, minor, micro });
        assert_eq!(Version::parse("3.11.7"), version(3, 11, 7));
        assert_eq!(Version::parse("3.11"), version(3, 11, 0));
        assert_eq!(Version::parse(" 3.13.0rc1 "), version(3, 13, 0));
        assert_eq!(Version::parse("3.11.7.final.0"), version(3, 11, 7));
        assert_eq!(Version::parse("three"), None);
        assert_eq!(Version::parse("3"), None);
        assert_eq!(Version::UNKNOWN.to_string(), "?");
        assert_eq!(format!("{:<7}|", Version { major: 3, minor: 9, micro: 1 }), "3.9.1  |");
    }

    #[test]
    fn a_wanted_version_is_exact_as_far_as_it_was_written() {
        let have = Version { major: 3, minor: 12, micro: 1 };
        for good in ["3", "3.12", "3.12.1", "python3", "python3.12", "python-3.12.1"] {
            assert!(Wanted::parse(good).is_some_and(|wanted| wanted.is_met_by(have)), "{good}");
        }
        for bad in ["2", "3.1", "3.12.2", "python3.13"] {
            assert!(Wanted::parse(bad).is_some_and(|wanted| !wanted.is_met_by(have)), "{bad}");
        }
        for other in ["python", "pypy3", "./3.12", "", "3.12.1.0", "3.13t"] {
            assert_eq!(Wanted::parse(other), None, "{other}");
        }
    }
}
