//! Name -> value, in the order of names; what came several times is joined by commas.

use std::borrow::Cow;

use serde::{Serialize, Serializer};

/// Few enough that a list is quicker than a map.
#[derive(Debug, Default)]
pub struct Joined<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Joined<'a> {
    pub fn with_capacity(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity))
    }

    fn place(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(known, _)| (**known).cmp(name))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.place(name).ok().map(|place| &*self.0[place].1)
    }

    /// In place of what came before.
    pub fn insert(&mut self, name: impl Into<Cow<'a, str>>, value: Cow<'a, str>) {
        let name = name.into();
        match self.place(&name) {
            Ok(place) => self.0[place].1 = value,
            Err(place) => self.0.insert(place, (name, value)),
        }
    }

    pub fn append(&mut self, name: impl Into<Cow<'a, str>>, value: Cow<'a, str>) {
        let name = name.into();
        match self.place(&name) {
            Ok(place) => {
                let known = self.0[place].1.to_mut();
                known.push(',');
                known.push_str(&value);
            }
            Err(place) => self.0.insert(place, (name, value)),
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }
}

impl Serialize for Joined<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}
