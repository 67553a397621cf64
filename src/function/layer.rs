//! A published version of a layer, by its ARN, and where its content is kept.

use std::path::{Path, PathBuf};
use std::str::FromStr;

/// `arn:aws:lambda:REGION:ACCOUNT:layer:NAME:VERSION`
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LayerVersion {
    pub name: String,
    pub version: u64,
}

impl LayerVersion {
    /// Its content, unpacked.
    pub fn folder(&self, state_dir: &Path) -> PathBuf {
        state_dir.join("layers").join(&self.name).join(self.version.to_string())
    }
}

/// A text that is no ARN of a layer version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoLayerVersion;

impl FromStr for LayerVersion {
    type Err = NoLayerVersion;

    fn from_str(arn: &str) -> Result<Self, NoLayerVersion> {
        let parts: Vec<&str> = arn.split(':').collect();
        let ["arn", _, "lambda", _, _, "layer", name, version] = parts[..] else {
            return Err(NoLayerVersion);
        };
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if name.is_empty() || name.len() > 140 || !name.bytes().all(valid) {
            return Err(NoLayerVersion);
        }
        let version = version.parse().ok().filter(|version| *version >= 1).ok_or(NoLayerVersion)?;
        Ok(Self { name: name.to_owned(), version })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arn_of_a_version() {
        let layer: LayerVersion = "arn:aws:lambda:us-east-1:123456789012:layer:tools:3".parse().unwrap();
        assert_eq!(layer, LayerVersion { name: "tools".into(), version: 3 });
        assert_eq!(layer.folder(Path::new("/s")), Path::new("/s/layers/tools/3"));
        for other in [
            "tools",
            "arn:aws:lambda:us-east-1:123456789012:layer:tools",
            "arn:aws:lambda:us-east-1:123456789012:layer:tools:0",
            "arn:aws:lambda:us-east-1:123456789012:layer:../x:1",
            "arn:aws:lambda:us-east-1:123456789012:function:tools:1",
        ] {
            assert_eq!(other.parse::<LayerVersion>(), Err(NoLayerVersion), "{other}");
        }
    }
}
