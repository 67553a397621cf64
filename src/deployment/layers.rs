//! Layers by their ARNs: versions that have been published here.

use std::path::{Path, PathBuf};

use crate::function::LayerVersion;

/// Layers of one function.
pub const MOST: usize = 5;

/// A layer that is named by its ARN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layer {
    /// Where its content is.
    Here(PathBuf),
    /// Where its content would be, and what to say about it.
    Missing { folder: PathBuf, reason: String },
}

/// What the ARN of a layer version leads to; `None`: it is none.
pub fn find(arn: &str, state_dir: &Path) -> Option<Layer> {
    let layer: LayerVersion = arn.parse().ok()?;
    let folder = layer.folder(state_dir);
    let folder = std::path::absolute(&folder).unwrap_or(folder);
    if folder.is_dir() {
        return Some(Layer::Here(folder));
    }
    let reason = format!(
        "version {} of the layer `{}` has not been published here (`{arn}`)\nhint: publish it (`aws lambda \
         publish-layer-version --layer-name {} --zip-file ...`), or name a folder that holds a folder `python`",
        layer.version, layer.name, layer.name
    );
    Some(Layer::Missing { folder, reason })
}

/// The folder that has to be watched for a layer to come: the nearest one that is there, but not
/// above that of all layers.
pub fn waiting_place(missing: &Path) -> Option<&Path> {
    let all = missing.parent()?.parent()?;
    missing.ancestors().skip(1).take_while(|folder| folder.starts_with(all)).find(|folder| folder.is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_is_here_or_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let arn = "arn:aws:lambda:us-east-1:123456789012:layer:tools:2";
        assert_eq!(find("tools", folder.path()), None);
        let Some(Layer::Missing { folder: missing, reason }) = find(arn, folder.path()) else { panic!() };
        assert!(reason.contains("version 2 of the layer `tools`"), "{reason}");
        assert_eq!(waiting_place(&missing), None);
        std::fs::create_dir(folder.path().join("layers")).unwrap();
        assert_eq!(waiting_place(&missing), Some(folder.path().join("layers").as_path()));
        std::fs::create_dir(folder.path().join("layers/tools")).unwrap();
        assert_eq!(waiting_place(&missing), Some(folder.path().join("layers/tools").as_path()));
        std::fs::create_dir(&missing).unwrap();
        assert_eq!(find(arn, folder.path()), Some(Layer::Here(missing)));
    }
}
