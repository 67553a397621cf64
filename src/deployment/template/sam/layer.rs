//! Layers: folders whose `python` folder is laid behind a function's own code.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::super::super::Severity;
use super::super::super::layers::{self, Layer};
use super::super::super::yaml::Node;
use super::super::section::Section;
use super::super::{Builder, Resource, Stack};
use super::table;

/// The layers of a template by logical id: where each lies, or why it cannot be used.
pub type Layers = BTreeMap<String, Result<PathBuf, String>>;

pub fn read(stack: &Stack, builder: &mut Builder) -> Layers {
    let mut layers = Layers::new();
    for resource in stack.of_kind("AWS::Serverless::LayerVersion") {
        table::report(resource, &table::LAYER, builder);
        let properties = Section::properties(resource);
        let folder = match properties.get("ContentUri") {
            Some(uri) => folder(stack, "ContentUri", uri),
            None => Err("`ContentUri` is missing".to_owned()),
        };
        match &folder {
            Err(reason) => {
                properties.error("ContentUri", format!("layer `{}`: {reason}", resource.logical_id), builder)
            }
            Ok(folder) if !folder.join("python").is_dir() => {
                let text = format!(
                    "layer `{}`: `{}` holds no folder `python`, so that nothing of it can be imported\nhint: \
                     `sam build` makes one from a `requirements.txt`; serve the template that it leaves in \
                     .aws-sam/build",
                    resource.logical_id,
                    folder.display()
                );
                builder.problem(Severity::Warning, properties.line("ContentUri"), text);
            }
            Ok(_) => {}
        }
        layers.insert(resource.logical_id.clone(), folder);
    }
    for resource in stack.of_kind("AWS::Lambda::LayerVersion") {
        if let Some(content) = Section::properties(resource).get("Content") {
            layers.insert(resource.logical_id.clone(), folder(stack, "Content", content));
        }
    }
    layers
}

/// The layers of one function.
#[derive(Default)]
pub struct Used {
    /// The first one lowest.
    pub folders: Vec<PathBuf>,
    /// Those of them that have been published here.
    pub arns: Vec<String>,
    /// Why it cannot run.
    pub missing: Vec<String>,
}

/// `Layers` of a function.
pub fn of_function(stack: &Stack, resource: &Resource, known: &Layers, builder: &mut Builder) -> Used {
    let mut used = Used::default();
    let properties = Section::properties(resource);
    let arns = properties.texts("Layers", builder).unwrap_or_default();
    if arns.len() > layers::MOST {
        used.missing.push(format!("it has {} layers; Lambda allows {}", arns.len(), layers::MOST));
    }
    for arn in arns {
        match stack.find(&arn).and_then(|layer| known.get_key_value(&layer.logical_id)) {
            Some((_, Ok(folder))) => used.folders.push(folder.clone()),
            Some((name, Err(reason))) => used.missing.push(format!("layer `{name}`: {reason}")),
            None => match published(stack, &arn, builder) {
                Ok(folder) => {
                    used.folders.push(folder);
                    used.arns.push(arn);
                }
                Err((true, reason)) => used.missing.push(reason),
                Err((false, reason)) => {
                    let line = properties.line("Layers");
                    builder.finding(super::super::Status::Ignored, resource, "Layers.*", line, &reason);
                    builder.problem(Severity::Warning, line, reason);
                }
            },
        }
    }
    used
}

/// The folder of a layer that is not of this template; else why not, and whether the function needs
/// it: others' layers, which AWS has and nobody can publish here, hold what can be installed as well.
pub fn published(stack: &Stack, arn: &str, builder: &mut Builder) -> Result<PathBuf, (bool, String)> {
    match layers::find(arn, &stack.state_dir) {
        Some(Layer::Here(folder)) => Ok(folder),
        Some(Layer::Missing { folder, reason }) => {
            builder.reading.awaited.push(folder);
            let own = arn.split(':').nth(4) == Some(stack.account.as_str());
            if own { Err((true, reason)) } else { Err((false, not_here(arn))) }
        }
        None => Err((false, not_here(arn))),
    }
}

fn not_here(arn: &str) -> String {
    format!(
        "layer `{arn}` is neither in this template nor published here, so that what it holds is missing\nhint: \
         install its packages for your functions, or publish a layer of this name and version here"
    )
}

/// The folder that `CodeUri`, `ContentUri` or `Content` names.
pub fn folder(stack: &Stack, property: &str, uri: &Node) -> Result<PathBuf, String> {
    let unpack = "hint: name the folder that it was made from";
    let Some(text) = uri.text() else {
        return Err(format!("`{property}` lies in a bucket, which cannot be read here\n{unpack}"));
    };
    if text.starts_with("s3://") || text.starts_with("https://") {
        return Err(format!("`{property}`: `{text}` cannot be read here\n{unpack}"));
    }
    let path = stack.folder().join(text);
    let path = std::path::absolute(&path).unwrap_or(path);
    if path.is_dir() {
        // Without a slash at its end.
        return Ok(path.components().collect());
    }
    if path.is_file() {
        let what = if path.extension().is_some_and(|extension| extension == "zip") {
            "a zip file"
        } else {
            "a file"
        };
        return Err(format!("`{property}`: `{}` is {what}, not a folder\n{unpack}", path.display()));
    }
    Err(format!(
        "`{property}`: there is no folder `{}`\nhint: it is looked for from the template's folder; run `sam build` if it \
         is one that only a build makes",
        path.display()
    ))
}
