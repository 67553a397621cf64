//! `AWS::Lambda::Function`, its layers, versions and aliases.

use std::path::{Path, PathBuf};

use super::super::sam::published;
use super::super::sheet::Sheet;
use super::super::{Builder, CodeLocation, Declared, Resource, Stack, Status, reference, triggers};
use crate::deployment::layers;
use crate::deployment::properties::{self, Reader};
use crate::deployment::yaml::Node;
use crate::deployment::{Problem, Severity};
use crate::function::{Attached, Configuration, FunctionName};

/// What a permission says.
const PERMISSION: [&str; 9] = [
    "Action",
    "EventSourceToken",
    "FunctionName",
    "FunctionUrlAuthType",
    "InvokedViaFunctionUrl",
    "Principal",
    "PrincipalOrgID",
    "SourceAccount",
    "SourceArn",
];

/// Kept, and followed by nobody.
const ONLY_TOLD: [(&str, &str); 4] = [
    ("EphemeralStorage", "only told: the size of temporary folders is not limited"),
    ("Role", "only told: functions run as you"),
    ("SnapStart", "environments are forked from a process past its init phase (docs/snapstart.md)"),
    ("TracingConfig", "only told: no traces are recorded"),
];

const ELSEWHERE: &str = "means nothing on one's own machine";
const PROVISIONED: &str =
    "environments are started as they are needed; PutProvisionedConcurrencyConfig keeps some ready";
const NO_VERSIONS: &str = "it leads to the current code until one of its name is made through the Lambda API";

pub fn read(stack: &Stack, builder: &mut Builder) {
    for resource in &stack.resources {
        match resource.kind.as_str() {
            "AWS::Lambda::Function" => function(resource, stack, builder),
            "AWS::Lambda::LayerVersion" => layer(resource, stack, builder),
            "AWS::Lambda::Permission" => permission(resource, builder),
            "AWS::Lambda::Alias" => alias(resource, stack, builder),
            "AWS::Lambda::Version" => version(resource, stack, builder),
            _ => {}
        }
    }
    // A function may be declared behind what is said of it.
    for resource in stack.of_kind("AWS::Lambda::EventInvokeConfig") {
        triggers::event_invoke(resource, stack, builder);
    }
    stack.of_kind("AWS::Lambda::Alias").for_each(|alias| declare(alias, stack, builder));
    stack.of_kind("AWS::Lambda::Version").for_each(|version| declare(version, stack, builder));
}

/// Who may call a function: everybody here.
fn permission(resource: &Resource, builder: &mut Builder) {
    let mut sheet = Sheet::of(resource);
    sheet.whole(Status::Supported, "noted; every API and every source may call every function here");
    for name in PERMISSION {
        sheet.take(name);
    }
    sheet.finish(builder);
}

/// An alias or a version leads to the code of now until one of its name is made through the Lambda API.
fn declare(resource: &Resource, stack: &Stack, builder: &mut Builder) {
    let Ok(qualified) = reference::function(stack, &resource.physical_id) else { return };
    let Some((function, qualifier)) = qualified.split_once(':') else { return };
    let functions = &mut builder.reading.functions;
    if let Some(declared) = functions.iter_mut().find(|declared| declared.name.as_str() == function) {
        declared.attached.declared_qualifiers.push(qualifier.to_owned());
    }
}

fn function(resource: &Resource, stack: &Stack, builder: &mut Builder) {
    let mut sheet = Sheet::of(resource);
    let name = name(&mut sheet, resource);
    let image = sheet.choice("PackageType", &["Zip", "Image"]) == Some("Image");
    for (name, text) in ONLY_TOLD {
        sheet.different(name, text);
    }
    let (mut configuration, attached) = configuration(&mut sheet, &builder.path);
    let known_as = name.as_ref().map(FunctionName::as_str).unwrap_or_default();
    stack.replace_variables(resource, known_as, &mut configuration);
    let layers = layers(&mut sheet, stack, &mut configuration, builder);
    let code = match image {
        true => {
            sheet.take("Code");
            Err("it is a container image; functions run from a folder".to_owned())
        }
        false => code(&mut sheet, stack),
    };
    sheet.ignore(&["ImageConfig"], "is only for container images");
    sheet.ignore(&["Architectures"], "functions run on this machine's processor");
    sheet.ignore(&["CodeSigningConfigArn", "KmsKeyArn"], "means nothing on one machine");
    sheet.ignore(&["FileSystemConfigs", "VpcConfig"], "functions see this machine's files and network");
    sheet.ignore(&["FunctionScalingConfig", "CapacityProviderConfig", "TenancyConfig"], PROVISIONED);
    sheet.ignore(&["DurableConfig"], "durable functions are not run");
    sheet.ignore(&["PublishToLatestPublished", "RuntimeManagementConfig"], ELSEWHERE);
    let mut reasons: Vec<String> = sheet.errors().into_iter().map(str::to_owned).collect();
    let code = code.unwrap_or_else(|reason| {
        sheet.error(sheet.line_of("Code"), format!("cannot run: {reason}"));
        sheet.note("Code", Status::Ignored, &reason);
        reasons.push(reason);
        CodeLocation::Folder(absolute(stack.folder()))
    });
    if let Some(name) = name {
        if builder.reading.functions.iter().any(|known| known.name == name) {
            let text = format!("there is another function `{name}` already");
            sheet.error(sheet.line_of("FunctionName"), &text);
            sheet.whole(Status::Ignored, &text);
        } else {
            let broken = Some(reasons.join("\n")).filter(|reasons| !reasons.is_empty());
            if let Some(broken) = &broken {
                sheet.whole(Status::Ignored, &format!("cannot run: {broken}"));
            }
            builder.reading.functions.push(Declared {
                name,
                logical_id: resource.logical_id.clone(),
                code,
                configuration,
                attached,
                layers,
                broken,
            });
        }
    }
    sheet.finish(builder);
}

/// As `reference` says it; what is no name at all has been reported.
fn name(sheet: &mut Sheet<'_>, resource: &Resource) -> Option<FunctionName> {
    sheet.text("FunctionName");
    if let Err(error) = resource.physical_id.parse::<FunctionName>() {
        let text = format!("{error}\nhint: it is called `{}` here", resource.logical_id);
        sheet.warning(sheet.line_of("FunctionName"), text);
        sheet.note(
            "FunctionName",
            Status::Different,
            &format!("it is called `{}` here", resource.logical_id),
        );
    }
    match reference::function_name(resource).parse() {
        Ok(name) => Some(name),
        Err(error) => {
            let text = format!("the function has no name: {error}");
            sheet.error(resource.line, &text);
            sheet.whole(Status::Ignored, &text);
            None
        }
    }
}

fn configuration(sheet: &mut Sheet<'_>, path: &Path) -> (Configuration, Attached) {
    let (mut configuration, mut attached) = (Configuration::default(), Attached::default());
    for name in properties::cloudformation_names() {
        let Some(value) = sheet.take(name) else { continue };
        let mut problems = Vec::new();
        let mut reader = Reader::new(path, &mut problems, configuration);
        reader.attached = attached;
        reader.cloudformation(name, value);
        (configuration, attached) = (reader.configuration, reader.attached);
        for Problem { severity, line, text, .. } in problems {
            let line = line.unwrap_or(value.line);
            let status = if severity == Severity::Error { Status::Ignored } else { Status::Different };
            sheet.note(name, status, &text);
            sheet.problem(severity, line, text);
        }
    }
    if !sheet.has("Handler") && !sheet.has("PackageType") {
        sheet.error(sheet.line_of(""), "`Handler` is missing");
    }
    (configuration, attached)
}

/// Where the code is; or why it cannot run.
fn code(sheet: &mut Sheet<'_>, stack: &Stack) -> Result<CodeLocation, String> {
    let Some(value) = sheet.take("Code") else {
        return Err("`Code` is missing: a folder, or `ZipFile` with the code itself".to_owned());
    };
    if let Some(text) = value.text() {
        return folder(text, stack).map(CodeLocation::Folder);
    }
    let mut inner = sheet.below("Code", value);
    let inline = inner.text("ZipFile").map(str::to_owned);
    let image = inner.text("ImageUri").is_some();
    let bucket = inner.text("S3Bucket").map(str::to_owned);
    let key = inner.text("S3Key").unwrap_or_default().to_owned();
    inner.ignore(&["S3ObjectVersion", "SourceKMSKeyArn", "S3ObjectStorageMode"], ELSEWHERE);
    sheet.take_over(inner);
    match (inline, bucket) {
        (Some(inline), _) => Ok(CodeLocation::Inline(inline)),
        (None, Some(bucket)) => Err(format!(
            "its code is in S3 (`{bucket}/{key}`), which is not read\nhint: give the folder, `Code: ./src`, as in the template that was packaged"
        )),
        (None, None) if image => Err("it is a container image; functions run from a folder".to_owned()),
        (None, None) => Err("`Code` says neither a folder nor `ZipFile`".to_owned()),
    }
}

/// A path in a template is meant from where the template is.
fn folder(text: &str, stack: &Stack) -> Result<PathBuf, String> {
    if text.starts_with("s3://") || text.starts_with("https://") {
        return Err(format!(
            "its code is in S3 (`{text}`), which is not read\nhint: give the folder, `Code: ./src`"
        ));
    }
    let path = absolute(&stack.folder().join(text));
    match path.metadata() {
        Ok(found) if found.is_dir() => Ok(path),
        Ok(_) => Err(format!("`{text}` is no folder\nhint: unpack it, and name the folder")),
        Err(error) => Err(format!("there is no folder `{text}`: {error}")),
    }
}

fn absolute(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    // `./src` -> `src`; what is above stays as it is said.
    path.components().collect()
}

/// In the template's order, which is that of laying them over each other.
fn layers(
    sheet: &mut Sheet<'_>,
    stack: &Stack,
    configuration: &mut Configuration,
    builder: &mut Builder,
) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    let most = layers::MOST;
    let nodes = sheet.nodes("Layers");
    for node in nodes {
        let Some(text) = node.text() else {
            sheet.expected("Layers", node, "a list of layers");
            continue;
        };
        let found = match content(text, stack) {
            Some(found) => found.map_err(|reason| (false, reason)),
            None => {
                published(stack, text, builder).inspect(|_| configuration.layer_arns.push(text.to_owned()))
            }
        };
        match found {
            Ok(folder) => folders.push(folder),
            Err((true, reason)) => sheet.error(node.line, reason),
            Err((false, reason)) => {
                sheet.warning(node.line, format!("runs without the layer `{text}`: {reason}"));
                sheet.different("Layers", &format!("without `{text}`: {reason}"));
            }
        }
    }
    if nodes.len() > most {
        sheet.error(
            sheet.line_of("Layers"),
            format!("`Layers` has more than {} layers, Lambda's limit", most),
        );
    }
    folders
}

/// The folder of a layer, if it is one of this template.
fn content(text: &str, stack: &Stack) -> Option<Result<PathBuf, String>> {
    let layer = ["AWS::Lambda::LayerVersion", "AWS::Serverless::LayerVersion"]
        .iter()
        .find_map(|kind| reference::of_kind(stack, kind, text))?;
    let said = ["Content", "ContentUri"].iter().find_map(|name| layer.properties.get(name));
    Some(match said.and_then(Node::text) {
        Some(text) => folder(text, stack),
        None => Err("its content is not a folder".to_owned()),
    })
}

fn layer(resource: &Resource, stack: &Stack, builder: &mut Builder) {
    let mut sheet = Sheet::of(resource);
    sheet.text("Description");
    sheet.text("LayerName");
    match sheet.take("Content") {
        Some(value) if value.text().is_some() => {
            if let Err(reason) = folder(value.text().unwrap_or_default(), stack) {
                sheet.refuse("Content", &reason);
                sheet.whole(Status::Ignored, &reason);
            }
        }
        Some(_) => {
            let reason = "its content is in S3, which is not read; give the folder, `Content: ./layer`";
            sheet.refuse("Content", reason);
            sheet.whole(Status::Ignored, reason);
        }
        None => sheet.error(resource.line, "`Content` is missing"),
    }
    sheet.ignore(&["CompatibleArchitectures", "CompatibleRuntimes", "LicenseInfo"], "is not checked");
    sheet.finish(builder);
}

fn alias(resource: &Resource, stack: &Stack, builder: &mut Builder) {
    let mut sheet = Sheet::of(resource);
    sheet.whole(Status::Different, NO_VERSIONS);
    target(&mut sheet, "FunctionName", stack);
    sheet.text("Name");
    sheet.text("Description");
    sheet.different("FunctionVersion", NO_VERSIONS);
    sheet.different("RoutingConfig", NO_VERSIONS);
    sheet.ignore(&["ProvisionedConcurrencyConfig"], PROVISIONED);
    sheet.finish(builder);
}

fn version(resource: &Resource, stack: &Stack, builder: &mut Builder) {
    let mut sheet = Sheet::of(resource);
    sheet.whole(Status::Different, NO_VERSIONS);
    target(&mut sheet, "FunctionName", stack);
    sheet.text("Description");
    sheet.ignore(&["CodeSha256", "RuntimePolicy"], "is not checked");
    sheet.ignore(&["ProvisionedConcurrencyConfig", "FunctionScalingConfig"], PROVISIONED);
    sheet.finish(builder);
}

fn target(sheet: &mut Sheet<'_>, name: &'static str, stack: &Stack) {
    let text = sheet.text(name).unwrap_or_default();
    if let Err(reason) = reference::function(stack, text) {
        sheet.error(sheet.line_of(name), format!("leads nowhere: {reason}"));
        sheet.whole(Status::Ignored, &reason);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::super::fixture::{self, findings, problems};
    use super::*;

    fn read_in(folder: &Path, text: &str, env_vars: &[(&str, &str, &str)]) -> Builder {
        let mut stack = fixture::stack(text);
        stack.path = folder.join("template.yaml");
        for (owner, name, value) in env_vars {
            stack.env_vars.push(((*owner).into(), vec![((*name).into(), (*value).into())]));
        }
        let mut builder = Builder { path: stack.path.clone(), ..Builder::default() };
        read(&stack, &mut builder);
        builder
    }

    #[test]
    fn a_function_with_all_that_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["src", "layer", "other"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let builder = read_in(
            folder.path(),
            "F:
  Type: AWS::Lambda::Function
  Properties:
    FunctionName: hello-prod
    Handler: app.main
    Runtime: python3.12
    Timeout: 10
    MemorySize: 256
    Description: x
    Environment: {Variables: {TABLE: items, COUNT: 5, EMPTY: }}
    LoggingConfig: {LogFormat: JSON, ApplicationLogLevel: DEBUG, LogGroup: g}
    Layers: ['${L}', '${S}']
    Code: ./src
    Role: r
    Timout: 3
L: {Type: 'AWS::Lambda::LayerVersion', Properties: {Content: layer/}}
S: {Type: 'AWS::Serverless::LayerVersion', Properties: {ContentUri: other}}
",
            &[("Parameters", "COUNT", "6"), ("hello-prod", "TABLE", "mine"), ("F", "UNKNOWN", "x")],
        );
        let [declared] = builder.reading.functions.as_slice() else { panic!() };
        assert_eq!((declared.name.as_str(), declared.logical_id.as_str()), ("hello-prod", "F"));
        assert_eq!(declared.code, CodeLocation::Folder(folder.path().join("src")));
        assert_eq!(declared.layers, [folder.path().join("layer"), folder.path().join("other")]);
        assert_eq!(declared.broken, None);
        let configuration = &declared.configuration;
        assert_eq!((configuration.handler.as_str(), configuration.memory_mb), ("app.main", 256));
        assert_eq!(configuration.timeout, Duration::from_secs(10));
        assert_eq!(configuration.runtime.as_deref(), Some("python3.12"));
        let variables: Vec<_> =
            configuration.environment.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(variables, [("TABLE", "mine"), ("COUNT", "6"), ("EMPTY", "")]);
        assert_eq!(configuration.logging.application_level.as_deref(), Some("DEBUG"));
        let expected = "15 `F`: `Timout` is no property of AWS::Lambda::Function; it is ignored\nhint: did you mean `Timeout`?";
        let log_group = "`LoggingConfig.LogGroup` is ignored: not supported yet";
        assert_eq!(problems(&builder), [format!("11 `F`: {log_group}"), expected.to_owned()]);
        let lines = findings(&builder);
        assert!(lines.contains(&format!("11 Different LoggingConfig {log_group}")), "{lines:#?}");
    }

    #[test]
    fn what_cannot_run_says_why() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("code.zip"), "x").unwrap();
        for (properties, reason) in [
            ("Handler: a.b, Code: {S3Bucket: b, S3Key: k}", "its code is in S3 (`b/k`)"),
            ("Handler: a.b, Code: 's3://b/k'", "its code is in S3 (`s3://b/k`)"),
            ("Handler: a.b, Code: gone", "there is no folder `gone`"),
            ("Handler: a.b, Code: code.zip", "`code.zip` is no folder"),
            ("Handler: a.b", "`Code` is missing"),
            ("Code: {ZipFile: x}", "`Handler` is missing"),
            ("PackageType: Image, Code: {ImageUri: x}", "it is a container image"),
            ("Handler: a.b, Code: {ImageUri: x}", "it is a container image"),
            ("Handler: a.b, Code: {}", "`Code` says neither"),
            (
                "Handler: a.b, Runtime: nodejs20.x, Code: {ZipFile: x}",
                "`Runtime` must be a Python runtime such as `python3.12`, not `nodejs20.x`",
            ),
            ("Handler: a.b, Timeout: 901, Code: {ZipFile: x}", "from 1 to 900, not `901`"),
            (
                "Handler: a.b, Environment: {Variables: {AWS_REGION: x}}, Code: {ZipFile: x}",
                "`AWS_REGION` is reserved",
            ),
            ("Handler: a.b, Environment: {Variables: {AA: [x]}}, Code: {ZipFile: x}", "`AA` must be text"),
            (
                "Handler: a.b, LoggingConfig: {ApplicationLogLevel: INFO}, Code: {ZipFile: x}",
                "needs `LogFormat: JSON`",
            ),
        ] {
            let text = format!("F: {{Type: 'AWS::Lambda::Function', Properties: {{{properties}}}}}");
            let builder = read_in(folder.path(), &text, &[]);
            let broken = builder.reading.functions[0].broken.clone().unwrap_or_default();
            assert!(broken.contains(reason), "{properties}: {broken}");
            assert!(problems(&builder).iter().any(|line| line.contains(reason)), "{properties}");
        }
    }

    #[test]
    fn names_are_lambdas_and_once() {
        let builder = read_in(
            Path::new("/project"),
            "A: {Type: 'AWS::Lambda::Function', Properties: {FunctionName: 'a b', Handler: a.b, Code: {ZipFile: x}}}
B: {Type: 'AWS::Lambda::Function', Properties: {FunctionName: A, Handler: a.b, Code: {ZipFile: y}}}
C: {Type: 'AWS::Lambda::Function', Properties: {Handler: a.b, Layers: ['arn:aws:lambda:us-east-1:1:layer:x:1'], Code: {ZipFile: z}}}
",
            &[],
        );
        let names: Vec<&str> =
            builder.reading.functions.iter().map(|function| function.name.as_str()).collect();
        assert_eq!(names, ["A", "C"]);
        let problems = problems(&builder);
        assert!(problems[0].contains("hint: it is called `A` here"), "{problems:?}");
        assert_eq!(problems[1], "2 `B`: there is another function `A` already");
        assert!(
            problems[2].contains("runs without the layer `arn:aws:lambda:us-east-1:1:layer:x:1`"),
            "{problems:?}"
        );
    }

    #[test]
    fn aliases_and_versions_are_named_as_different() {
        let builder = read_in(
            Path::new("/project"),
            "F: {Type: 'AWS::Lambda::Function', Properties: {Handler: a.b, Code: {ZipFile: x}}}
V: {Type: 'AWS::Lambda::Version', Properties: {FunctionName: '${F}'}}
A: {Type: 'AWS::Lambda::Alias', Properties: {FunctionName: '${F}', FunctionVersion: '1', Name: live}}
X: {Type: 'AWS::Lambda::Alias', Properties: {FunctionName: gone, FunctionVersion: '1', Name: live}}
",
            &[],
        );
        let lines = findings(&builder);
        assert!(lines.contains(&format!("2 Different  {NO_VERSIONS}")), "{lines:#?}");
        assert!(lines.contains(&format!("3 Different FunctionVersion {NO_VERSIONS}")), "{lines:#?}");
        assert_eq!(problems(&builder), ["4 `X`: leads nowhere: `gone` is no function of this template"]);
    }
}
