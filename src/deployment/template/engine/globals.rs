//! `Globals`: what all resources of a kind have in common, merged by SAM's rules. A scalar or
//! intrinsic of the resource counts; maps are merged by key; lists of the resource come after the
//! global ones.

use std::collections::{BTreeMap, BTreeSet};

use super::reports::Reports;
use crate::deployment::nearest::hint;
use crate::deployment::yaml::{Node, Value};

const PREFIX: &str = "AWS::Serverless::";

const SECTIONS: [(&str, &[&str]); 10] = [
    (
        "Function",
        &[
            "Architectures",
            "AssumeRolePolicyDocument",
            "AutoPublishAlias",
            "AutoPublishAliasAllProperties",
            "CapacityProviderConfig",
            "CodeSigningConfigArn",
            "CodeUri",
            "DeadLetterQueue",
            "DeploymentPreference",
            "Description",
            "DurableConfig",
            "Environment",
            "EphemeralStorage",
            "EventInvokeConfig",
            "FileSystemConfigs",
            "FunctionScalingConfig",
            "FunctionUrlConfig",
            "Handler",
            "KmsKeyArn",
            "Layers",
            "LoggingConfig",
            "MemorySize",
            "PermissionsBoundary",
            "PropagateTags",
            "ProvisionedConcurrencyConfig",
            "PublishToLatestPublished",
            "RecursiveLoop",
            "ReservedConcurrentExecutions",
            "RolePath",
            "Runtime",
            "RuntimeManagementConfig",
            "SnapStart",
            "SourceKMSKeyArn",
            "Tags",
            "TenancyConfig",
            "Timeout",
            "Tracing",
            "VersionDeletionPolicy",
            "VpcConfig",
        ],
    ),
    (
        "Api",
        &[
            "AccessLogSetting",
            "AlwaysDeploy",
            "Auth",
            "BinaryMediaTypes",
            "CacheClusterEnabled",
            "CacheClusterSize",
            "CanarySetting",
            "Cors",
            "DefinitionUri",
            "Domain",
            "EndpointAccessMode",
            "EndpointConfiguration",
            "GatewayResponses",
            "MergeDefinitions",
            "MethodSettings",
            "MinimumCompressionSize",
            "Name",
            "OpenApiVersion",
            "PropagateTags",
            "SecurityPolicy",
            "TracingEnabled",
            "Variables",
        ],
    ),
    (
        "HttpApi",
        &[
            "AccessLogSettings",
            "Auth",
            "CorsConfiguration",
            "DefaultRouteSettings",
            "Domain",
            "FailOnWarnings",
            "PropagateTags",
            "RouteSettings",
            "StageVariables",
            "Tags",
        ],
    ),
    (
        "WebSocketApi",
        &[
            "AccessLogSettings",
            "ApiKeySelectionExpression",
            "DefaultRouteSettings",
            "DisableExecuteApiEndpoint",
            "DisableSchemaValidation",
            "Domain",
            "FailOnWarnings",
            "IpAddressType",
            "PropagateTags",
            "RouteSelectionExpression",
            "RouteSettings",
            "StageVariables",
            "Tags",
        ],
    ),
    ("SimpleTable", &["SSESpecification"]),
    ("StateMachine", &["PropagateTags"]),
    ("LayerVersion", &["PublishLambdaVersion"]),
    (
        "CapacityProvider",
        &[
            "InstanceRequirements",
            "KmsKeyArn",
            "LoggingConfig",
            "ManagedResourceTags",
            "OperatorRole",
            "PropagateTags",
            "ScalingConfig",
            "Tags",
            "VpcConfig",
        ],
    ),
    (
        "MicroVMImage",
        &[
            "AdditionalOsCapabilities",
            "BaseImageArn",
            "BaseImageVersion",
            "BuildRoleArn",
            "CpuConfigurations",
            "EgressNetworkConnectors",
            "EnvironmentVariables",
            "Hooks",
            "Logging",
            "PropagateTags",
            "Resources",
            "Tags",
        ],
    ),
    ("NetworkConnector", &["OperatorRole", "PropagateTags", "Tags"]),
];

/// Lists that the resource's own take the place of.
const REPLACED: [&str; 2] = ["Function.Architectures", "CapacityProvider.InstanceRequirements.Architectures"];
/// Maps of which only those keys are kept that the resource has too.
const PRUNED: [&str; 1] = ["CapacityProvider.ManagedResourceTags"];

/// By section: `Function`, `Api`, ...
#[derive(Debug, Default)]
pub struct Globals(BTreeMap<String, Node>);

impl Globals {
    /// Those that are allowed; the others are reported.
    pub fn read(section: Option<Node>, serverless: bool, reports: &mut Reports) -> Self {
        let mut globals = Self::default();
        let Some(node) = section else { return globals };
        let Value::Mapping(sections) = node.value else {
            reports.error(node.line, "`Globals` must be a map such as `Function: {Timeout: 10}`");
            return globals;
        };
        if !serverless {
            reports.error(
                node.line,
                "`Globals` needs `Transform: AWS::Serverless-2016-10-31` at the top of the template",
            );
        }
        for (key, properties) in sections {
            let name = key.text().unwrap_or("?");
            let Some((_, allowed)) = SECTIONS.iter().find(|(section, _)| *section == name) else {
                let hint = hint(name, SECTIONS.map(|(section, _)| section));
                reports.error(key.line, format!("`{name}` is no section of `Globals`; it is ignored{hint}"));
                continue;
            };
            let line = properties.line;
            let Value::Mapping(properties) = properties.value else {
                reports.error(line, format!("`Globals.{name}` must be a map of properties"));
                continue;
            };
            let mut kept = Vec::new();
            for (key, value) in properties {
                match key.text() {
                    Some(property) if allowed.contains(&property) => kept.push((key, value)),
                    property => {
                        let property = property.unwrap_or("?");
                        let hint = hint(property, allowed.iter().copied());
                        let text = format!(
                            "SAM does not allow `{property}` in `Globals.{name}`; it is ignored{hint}"
                        );
                        reports.error(key.line, text);
                    }
                }
            }
            globals.0.insert(name.to_owned(), Node { line, tag: None, value: Value::Mapping(kept) });
        }
        globals
    }

    pub fn sections(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.0.iter().map(|(name, node)| (name.as_str(), node))
    }

    /// What a resource of this kind has from here; `None`: nothing.
    pub fn of(&self, kind: &str) -> Option<&Node> {
        self.0.get(kind.strip_prefix(PREFIX)?)
    }

    /// A resource's properties with those from here, as far as it does not ignore them.
    pub fn merge(&self, kind: &str, properties: &Node, ignored: &Ignored) -> Node {
        let (Some(global), Some(section)) = (self.of(kind), kind.strip_prefix(PREFIX)) else {
            return properties.clone();
        };
        match ignored {
            Ignored::All => properties.clone(),
            Ignored::Nothing => merged(global, properties, section),
            Ignored::These(names) => {
                let mut kept = global.clone();
                if let Value::Mapping(entries) = &mut kept.value {
                    entries.retain(|(key, _)| {
                        !key.text().is_some_and(|key| names.iter().any(|name| name == key))
                    });
                }
                merged(&kept, properties, section)
            }
        }
    }

    /// `IgnoreGlobals` of a resource.
    pub fn ignored(&self, kind: &str, attribute: Option<&Node>, reports: &mut Reports) -> Ignored {
        let Some(node) = attribute.filter(|node| !node.is_null()) else { return Ignored::Nothing };
        if node.text() == Some("*") {
            return Ignored::All;
        }
        let names: Option<Vec<_>> = node.items().map(|items| items.iter().filter_map(Node::text).collect());
        let Some(names) = names else {
            reports.error(node.line, "`IgnoreGlobals` must be \"*\" or a list of properties");
            return Ignored::Nothing;
        };
        for name in &names {
            if self.of(kind).is_none_or(|global| global.get(name).is_none()) {
                reports.error(
                    node.line,
                    format!("`IgnoreGlobals` names `{name}`, which `Globals` does not have for this kind"),
                );
            }
        }
        Ignored::These(names.into_iter().map(str::to_owned).collect())
    }
}

/// What a resource does not take from Globals.
#[derive(Debug, PartialEq, Eq)]
pub enum Ignored {
    Nothing,
    All,
    These(Vec<String>),
}

fn merged(global: &Node, own: &Node, path: &str) -> Node {
    let line = own.line;
    let value = match (&global.value, &own.value) {
        (Value::Mapping(globals), Value::Mapping(owns)) if !is_intrinsic(global) && !is_intrinsic(own) => {
            let prunes = PRUNED.contains(&path) && !owns.is_empty();
            Value::Mapping(merged_maps(globals, owns, path, prunes))
        }
        (Value::Sequence(globals), Value::Sequence(owns)) if !REPLACED.contains(&path) => {
            Value::Sequence(globals.iter().chain(owns).cloned().collect())
        }
        _ => return own.clone(),
    };
    Node { line, tag: None, value }
}

fn merged_maps(
    globals: &[(Node, Node)],
    owns: &[(Node, Node)],
    path: &str,
    prunes: bool,
) -> Vec<(Node, Node)> {
    let by_name: BTreeMap<&str, &(Node, Node)> =
        owns.iter().filter_map(|own| Some((own.0.text()?, own))).collect();
    let mut all: Vec<(Node, Node)> = Vec::with_capacity(globals.len() + owns.len());
    for (key, global) in globals {
        match key.text().and_then(|name| by_name.get(name)) {
            Some((own_key, own)) => {
                let path = format!("{path}.{}", key.text().unwrap_or_default());
                // The resource's own place is what people want to be shown.
                all.push((own_key.clone(), merged(global, own, &path)));
            }
            None if prunes => {}
            None => all.push((key.clone(), global.clone())),
        }
    }
    let global: BTreeSet<&str> = globals.iter().filter_map(|(key, _)| key.text()).collect();
    let fresh = owns.iter().filter(|(key, _)| key.text().is_none_or(|name| !global.contains(name)));
    all.extend(fresh.cloned());
    all
}

/// To SAM, an intrinsic function is one value, whatever it holds.
fn is_intrinsic(node: &Node) -> bool {
    match node.mapping() {
        Some([(key, _)]) => {
            key.text().is_some_and(|name| matches!(name, "Ref" | "Condition") || name.starts_with("Fn::"))
        }
        _ => false,
    }
}
