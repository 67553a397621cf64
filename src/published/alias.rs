//! Aliases: names for versions, of which one may stand for two, by weight.

use serde_json::{Value, json};

use super::{ALIAS, EVENT_INVOKE, POLICY, PROVISIONED, Published, URL, document};
use crate::function::Version;
use crate::store::StoreError;

#[derive(Debug, Clone, PartialEq)]
pub struct Alias {
    pub name: String,
    pub version: Version,
    pub description: String,
    /// The other version, and its share of the invocations.
    pub weight: Option<Weight>,
    pub revision_id: String,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weight {
    pub version: u64,
    /// 0 to 1.
    pub share: f64,
}

#[derive(Debug, Clone, PartialEq)]
pub enum AliasError {
    Exists,
    Missing,
    /// There is no such version.
    NoVersion(Version),
    /// It is not the revision that the caller knows.
    Revision,
    Store(String),
}

impl From<StoreError> for AliasError {
    fn from(error: StoreError) -> Self {
        Self::Store(error.to_string())
    }
}

impl Alias {
    pub(super) fn read(name: &str, document: &Value) -> Option<Self> {
        let weight = match &document["Weight"] {
            Value::Null => None,
            weight => Some(Weight { version: weight["Version"].as_u64()?, share: weight["Share"].as_f64()? }),
        };
        Some(Self {
            name: name.to_owned(),
            version: document["Version"].as_str()?.parse().ok()?,
            description: document["Description"].as_str().unwrap_or_default().to_owned(),
            weight,
            revision_id: document["RevisionId"].as_str()?.to_owned(),
        })
    }

    fn document(&self) -> Value {
        document::object([
            ("Version", Some(self.version.to_string().into())),
            ("Description", Some(self.description.clone().into())),
            ("Weight", self.weight.map(|weight| json!({"Version": weight.version, "Share": weight.share}))),
            ("RevisionId", Some(self.revision_id.clone().into())),
        ])
    }

    /// The version of this invocation.
    pub fn choose(&self) -> Version {
        match self.weight {
            Some(weight) if random() < weight.share => Version::Number(weight.version),
            _ => self.version,
        }
    }

    pub fn leads_to(&self, number: u64) -> bool {
        self.version == Version::Number(number) || self.weight.is_some_and(|w| w.version == number)
    }
}

/// From 0 up to, not including, 1.
fn random() -> f64 {
    // The low half of a UUID's node has nothing in it but chance.
    let bits = uuid::Uuid::new_v4().as_u128() as u32;
    f64::from(bits) / (f64::from(u32::MAX) + 1.0)
}

impl Published {
    pub fn aliases(&self, function: &str) -> Vec<Alias> {
        self.of(function).map(|of| of.aliases.values().cloned().collect()).unwrap_or_default()
    }

    pub fn alias(&self, function: &str, name: &str) -> Option<Alias> {
        self.of(function)?.aliases.get(name).cloned()
    }

    pub async fn create_alias(&self, function: &str, alias: Alias) -> Result<Alias, AliasError> {
        self.write_alias(function, &alias.name.clone(), |former| match former {
            Some(_) => Err(AliasError::Exists),
            None => Ok(alias),
        })
        .await
    }

    /// `change` sees the alias as it is, with nobody in between.
    pub async fn update_alias(
        &self,
        function: &str,
        name: &str,
        change: impl FnOnce(Alias) -> Result<Alias, AliasError>,
    ) -> Result<Alias, AliasError> {
        self.write_alias(function, name, |former| change(former.ok_or(AliasError::Missing)?)).await
    }

    async fn write_alias(
        &self,
        function: &str,
        name: &str,
        change: impl FnOnce(Option<Alias>) -> Result<Alias, AliasError>,
    ) -> Result<Alias, AliasError> {
        let changing = self.change().await;
        let of = self.of(function);
        let mut alias = change(of.as_ref().and_then(|of| of.aliases.get(name)).cloned())?;
        let wanted = [Some(alias.version), alias.weight.map(|weight| Version::Number(weight.version))];
        for version in wanted.into_iter().flatten() {
            if let Version::Number(number) = version
                && !of.as_ref().is_some_and(|of| of.versions.contains_key(&number))
            {
                return Err(AliasError::NoVersion(version));
            }
        }
        alias.revision_id = uuid::Uuid::new_v4().to_string();
        changing.put(ALIAS, function, name, alias.document()).await?;
        changing.update_function(function, |of| of.aliases.insert(name.to_owned(), alias.clone()));
        Ok(alias)
    }

    /// With all that was said of it. `false`: there was none.
    pub async fn delete_alias(&self, function: &str, name: &str) -> Result<bool, StoreError> {
        let changing = self.change().await;
        if self.alias(function, name).is_none() {
            return Ok(false);
        }
        for kind in [ALIAS, PROVISIONED, URL, POLICY, EVENT_INVOKE] {
            changing.delete(kind, function, name).await?;
        }
        changing.update_function(function, |of| {
            of.aliases.remove(name);
            of.urls.remove(name);
            of.provisioned.remove(name);
        });
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alias(weight: Option<Weight>) -> Alias {
        Alias {
            name: "live".into(),
            version: Version::Number(1),
            description: "d".into(),
            weight,
            revision_id: "r".into(),
        }
    }

    #[test]
    fn an_alias_comes_back_as_it_was() {
        for weight in [None, Some(Weight { version: 2, share: 0.1 })] {
            let alias = alias(weight);
            assert_eq!(Alias::read("live", &alias.document()), Some(alias));
        }
    }

    /// Of 20,000 a tenth; further away than this with a probability below 10^-10.
    #[test]
    fn a_share_is_a_share() {
        let weighted = alias(Some(Weight { version: 2, share: 0.1 }));
        let second = (0..20_000).filter(|_| weighted.choose() == Version::Number(2)).count();
        assert!((1_700..2_300).contains(&second), "{second}");
        let (none, all) =
            (alias(Some(Weight { version: 2, share: 0.0 })), alias(Some(Weight { version: 2, share: 1.0 })));
        assert!((0..1000).all(|_| none.choose() == Version::Number(1)));
        assert!((0..1000).all(|_| all.choose() == Version::Number(2)));
    }
}
