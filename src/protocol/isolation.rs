//! What keeps an environment to itself: what is wanted of it, and what is in force, as the zygote has
//! found out in a process forked like any environment.

use serde::{Deserialize, Serialize};

/// Carries a [`Wanted`] as JSON, in the zygote's own environment.
pub const ISOLATION_VARIABLE: &str = "HANDLERD_ZYGOTE_ISOLATION";

/// Processes and threads of all environments of one interpreter, where the kernel counts them.
pub const MAX_TASKS: u32 = 8192;

/// Processes of one environment: as many as Lambda allows.
pub const MAX_PROCESSES: usize = 1024;

/// Gateway to zygote, once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// Whether anything beyond tier 0 is.
    pub confined: bool,
    /// What no handler may read; a probe tries to.
    pub state_dir: String,
}

/// Gateway to zygote, for one environment. Folders and files that are not there are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paths {
    pub readable: Vec<String>,
    pub writable: Vec<String>,
    /// Folders that stay closed although something readable or writable lies around them.
    pub closed: Vec<String>,
}

/// One defence, and whether it was seen to hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    pub name: String,
    pub tier: u8,
    /// `None`: it holds. Otherwise why it does not.
    pub missing: Option<String>,
}

/// What a probe has seen, from inside.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InForce {
    pub parts: Vec<Part>,
    /// The control group of the zygote and its environments, to be removed after them.
    pub control_group: Option<String>,
}

/// The highest there is.
pub const LAST_TIER: u8 = 4;

impl InForce {
    /// The highest tier of which, and below which, every part holds.
    pub fn tier(&self) -> u8 {
        (1..=LAST_TIER).find(|tier| !self.holds(*tier)).map_or(LAST_TIER, |missing| missing - 1)
    }

    fn holds(&self, tier: u8) -> bool {
        let mut parts = self.parts.iter().filter(|part| part.tier == tier).peekable();
        parts.peek().is_some() && parts.all(|part| part.missing.is_none())
    }

    pub fn holding(&self) -> impl Iterator<Item = &Part> {
        self.parts.iter().filter(|part| part.missing.is_none())
    }

    pub fn missing(&self) -> impl Iterator<Item = (&Part, &str)> {
        self.parts.iter().filter_map(|part| Some((part, part.missing.as_deref()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_force(parts: &[(u8, bool)]) -> InForce {
        let part = |(tier, holds): &(u8, bool)| Part {
            name: "a part".into(),
            tier: *tier,
            missing: (!holds).then(|| "a reason".into()),
        };
        InForce { parts: parts.iter().map(part).collect(), control_group: None }
    }

    #[test]
    fn a_tier_counts_when_all_below_it_hold() {
        assert_eq!(in_force(&[]).tier(), 0);
        assert_eq!(in_force(&[(0, true), (1, true), (1, true)]).tier(), 1);
        assert_eq!(in_force(&[(1, true), (1, false), (2, true)]).tier(), 0);
        assert_eq!(in_force(&[(1, true), (2, false), (3, true), (4, true)]).tier(), 1);
        assert_eq!(in_force(&[(1, true), (3, true), (4, true)]).tier(), 1, "a tier without parts is none");
        assert_eq!(in_force(&[(1, true), (2, true), (3, true), (4, true)]).tier(), 4);
        let partly = in_force(&[(1, true), (2, false)]);
        assert_eq!((partly.holding().count(), partly.missing().count()), (1, 1));
    }
}
