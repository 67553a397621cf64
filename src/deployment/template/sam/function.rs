//! `AWS::Serverless::Function`: what is run, and the routes that it asks for.

use std::path::Path;

use super::super::super::convention;
use super::super::super::properties::{self, is_python};
use super::super::super::yaml::Node;
use super::super::super::{Problem, Severity};
use super::super::section::Section;
use super::super::triggers::Place;
use super::super::{Builder, CodeLocation, Declared, Resource, Stack};
use super::destinations;
use super::events::{self, RouteEvent};
use super::function_url::FunctionUrl;
use super::layer::{self, Layers};
use super::table;
use crate::function::{Attached, Configuration, FunctionName};

/// Declares the function; the routes that it asks for.
pub fn read(stack: &Stack, resource: &Resource, layers: &Layers, builder: &mut Builder) -> Vec<RouteEvent> {
    table::report(resource, &table::FUNCTION, builder);
    let properties = Section::properties(resource);
    let Some(name) = name(resource, &properties, builder) else { return Vec::new() };
    let mut broken = Vec::new();
    let runs = what_runs(&properties, builder, &mut broken);
    let mut problems = Vec::new();
    let path = builder.path.clone();
    let config = destinations::complete(resource, stack, builder);
    let (mut configuration, mut attached) =
        configuration(resource, config.as_ref(), &path, runs, &mut problems);
    broken.extend(
        problems.iter().filter(|problem| problem.severity == Severity::Error).map(ToString::to_string),
    );
    builder.reading.problems.extend(problems);
    stack.replace_variables(resource, name.as_str(), &mut configuration);
    let code = match runs {
        true => code(stack, &properties, &configuration.handler, builder),
        false => Ok(CodeLocation::Folder(stack.folder().to_owned())),
    };
    let code = code.unwrap_or_else(|reason| {
        broken.push(reason);
        CodeLocation::Folder(stack.folder().to_owned())
    });
    let used = layer::of_function(stack, resource, layers, builder);
    for reason in used.missing {
        properties.error("Layers", format!("`{}`: {reason}", resource.logical_id), builder);
        broken.push(reason);
    }
    configuration.layer_arns = used.arns;
    let target = match &attached.auto_publish_alias {
        Some(alias) => format!("{name}:{alias}"),
        None => name.to_string(),
    };
    if let Some(url) = FunctionUrl::read(resource, builder) {
        let id = url_id(stack, resource);
        builder.reading.apis.push(url.api(&id, name.as_str(), &target));
    }
    let (events, triggers) = events::read(resource, &target, Place::of(stack), builder);
    attached.triggers = triggers;
    builder.reading.functions.push(Declared {
        name,
        logical_id: resource.logical_id.clone(),
        code,
        configuration,
        attached,
        layers: used.folders,
        broken: (!broken.is_empty()).then(|| broken.join("\n")),
    });
    events
}

/// `FunctionName`, or the logical id: what CloudFormation would add to it says nothing here.
fn name(resource: &Resource, properties: &Section<'_>, builder: &mut Builder) -> Option<FunctionName> {
    let written = properties.text("FunctionName", builder).unwrap_or(&resource.logical_id);
    let name = match written.parse::<FunctionName>() {
        Ok(name) => name,
        Err(error) => {
            properties.error("FunctionName", error.to_string(), builder);
            return None;
        }
    };
    if let Some(other) = builder.reading.functions.iter().find(|other| other.name == name) {
        let text = format!("`{name}` is the name of `{}` too; this one is left out", other.logical_id);
        properties.error("FunctionName", text, builder);
        return None;
    }
    Some(name)
}

/// Whether it is Python at all.
fn what_runs(properties: &Section<'_>, builder: &mut Builder, broken: &mut Vec<String>) -> bool {
    if properties.word("PackageType", &["Zip", "Image"], builder) == Some("Image") {
        let text = "`PackageType: Image`: container images are not run\nhint: give `Runtime`, `Handler` and `CodeUri`";
        properties.error("PackageType", text, builder);
        broken.push(text.to_owned());
        return false;
    }
    let runtime = properties.get("Runtime").and_then(Node::text);
    if let Some(runtime) = runtime.filter(|runtime| !is_python(runtime)) {
        let text = format!("`Runtime: {runtime}` is not run: handlerd runs Python");
        builder.problem(Severity::Warning, properties.line("Runtime"), text.clone());
        broken.push(text);
        return false;
    }
    for key in ["Runtime", "Handler"] {
        if properties.get(key).is_none() {
            let text = format!("`{key}` is missing");
            properties.error(key, text.clone(), builder);
            broken.push(text);
        }
    }
    true
}

fn configuration(
    resource: &Resource,
    event_invoke: Option<&Node>,
    path: &Path,
    runs: bool,
    problems: &mut Vec<Problem>,
) -> (Configuration, Attached) {
    let mut reader = properties::Reader::new(path, problems, Configuration::default());
    for (_, name, value) in Section::properties(resource).entries() {
        let elsewhere = matches!(name, "Handler" | "Runtime") && !runs;
        let is_known = properties::sam_names().any(|known| known == name);
        if !elsewhere && !value.is_null() && is_known {
            let value = event_invoke.filter(|_| name == "EventInvokeConfig").unwrap_or(value);
            reader.property(name, value);
        }
    }
    (reader.configuration, reader.attached)
}

fn code(
    stack: &Stack,
    properties: &Section<'_>,
    handler: &str,
    builder: &mut Builder,
) -> Result<CodeLocation, String> {
    if let Some(text) = properties.text("InlineCode", builder) {
        if !handler.starts_with("index.") {
            let text =
                format!("`InlineCode` is the file `index.py`, where there can be no handler `{handler}`");
            builder.problem(Severity::Warning, properties.line("Handler"), text);
        }
        return Ok(CodeLocation::Inline(text.to_owned()));
    }
    let found = match properties.get("CodeUri") {
        Some(uri) => layer::folder(stack, "CodeUri", uri),
        None => Err("there is neither `CodeUri` nor `InlineCode`".to_owned()),
    };
    if let Err(reason) = &found {
        properties.error("CodeUri", reason.clone(), builder);
    }
    found.map(CodeLocation::Folder)
}

/// SAM makes `<Function>Url` of it.
fn url_id(stack: &Stack, resource: &Resource) -> String {
    let logical_id = format!("{}Url", resource.logical_id);
    match stack.resource(&logical_id) {
        Some(url) if url.kind == "AWS::Lambda::Url" => url.physical_id.clone(),
        _ => convention::letters(&format!("{}#{logical_id}", stack.path.display()), 32),
    }
}
