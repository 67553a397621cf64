//! The properties that SAM's resources have, and what becomes of each: every property of a template
//! ends as one line of the report.

use super::super::super::Severity;
use super::super::super::nearest::hint;
use super::super::{Builder, Resource, Status};
use Status::{Different, Ignored, Supported};

/// Name, what becomes of it, and why.
pub type Row = (&'static str, Status, &'static str);

const ONE_MACHINE: &str = "means nothing on one machine";
const ROLES: &str = "functions run as you: there are no roles here";
const VERSIONS: &str = "a template publishes no versions here; the Lambda API does";
const PROVISIONED: &str =
    "environments are started as they are needed; PutProvisionedConcurrencyConfig keeps some ready";
const TAGS: &str = "there is nothing to tag";
const IMAGES: &str = "container images are not run";
const ACCESS_LOG: &str = "requests are shown in the terminal";
const CACHE: &str = "nothing is cached";
const NAME: &str = "it is called by its logical id here";

pub const FUNCTION: [Row; 49] = [
    ("Architectures", Ignored, "the architecture of this machine is used"),
    ("AssumeRolePolicyDocument", Ignored, ROLES),
    ("AutoPublishAlias", Different, "leads to the current code until an alias of this name is made"),
    ("AutoPublishAliasAllProperties", Ignored, VERSIONS),
    ("AutoPublishCodeSha256", Ignored, VERSIONS),
    ("CapacityProviderConfig", Ignored, ONE_MACHINE),
    ("CodeSigningConfigArn", Ignored, ONE_MACHINE),
    ("CodeUri", Supported, ""),
    ("DeadLetterQueue", Supported, ""),
    ("DeploymentPreference", Ignored, ONE_MACHINE),
    ("Description", Supported, ""),
    ("DurableConfig", Ignored, "durable functions are not run"),
    ("Environment", Supported, ""),
    ("EphemeralStorage", Different, "only told: the size of temporary folders is not limited"),
    ("EventInvokeConfig", Supported, ""),
    ("Events", Supported, ""),
    ("FileSystemConfigs", Ignored, "no file system is mounted"),
    ("FunctionName", Supported, ""),
    ("FunctionScalingConfig", Ignored, ONE_MACHINE),
    ("FunctionUrlConfig", Supported, ""),
    ("Handler", Supported, ""),
    ("ImageConfig", Ignored, IMAGES),
    ("ImageUri", Ignored, IMAGES),
    ("InlineCode", Supported, ""),
    ("KmsKeyArn", Ignored, ONE_MACHINE),
    ("Layers", Supported, ""),
    ("LoggingConfig", Supported, ""),
    ("MemorySize", Supported, ""),
    ("PackageType", Supported, ""),
    ("PermissionsBoundary", Ignored, ROLES),
    ("Policies", Ignored, ROLES),
    ("PropagateTags", Ignored, TAGS),
    ("ProvisionedConcurrencyConfig", Ignored, PROVISIONED),
    ("PublishToLatestPublished", Ignored, VERSIONS),
    ("RecursiveLoop", Supported, ""),
    ("ReservedConcurrentExecutions", Supported, ""),
    ("Role", Different, "only told: functions run as you"),
    ("RolePath", Ignored, ROLES),
    ("Runtime", Supported, ""),
    ("RuntimeManagementConfig", Ignored, ONE_MACHINE),
    (
        "SnapStart",
        Different,
        "environments are forked from a process past its init phase (docs/snapstart.md)",
    ),
    ("SourceKMSKeyArn", Ignored, ONE_MACHINE),
    ("Tags", Supported, ""),
    ("TenancyConfig", Ignored, "environments are not kept apart by tenant"),
    ("Timeout", Supported, ""),
    ("Tracing", Different, "only told: no traces are recorded"),
    ("VersionDeletionPolicy", Ignored, VERSIONS),
    ("VersionDescription", Ignored, VERSIONS),
    ("VpcConfig", Ignored, "functions use the network of this machine"),
];

pub const API: [Row; 32] = [
    ("AccessLogSetting", Ignored, ACCESS_LOG),
    ("AlwaysDeploy", Ignored, ONE_MACHINE),
    ("ApiKeySourceType", Supported, ""),
    ("Auth", Supported, ""),
    ("BinaryMediaTypes", Supported, ""),
    ("CacheClusterEnabled", Ignored, CACHE),
    ("CacheClusterSize", Ignored, CACHE),
    ("CanarySetting", Ignored, "all requests go to the current deployment"),
    ("Cors", Supported, ""),
    ("DefinitionBody", Supported, ""),
    ("DefinitionUri", Supported, ""),
    ("Description", Ignored, ONE_MACHINE),
    ("DisableExecuteApiEndpoint", Supported, ""),
    ("Domain", Different, "served for this Host; its DNS and certificate are up to you"),
    ("EndpointAccessMode", Ignored, ONE_MACHINE),
    ("EndpointConfiguration", Ignored, ONE_MACHINE),
    ("FailOnWarnings", Ignored, ONE_MACHINE),
    ("GatewayResponses", Supported, ""),
    ("MergeDefinitions", Supported, ""),
    ("MethodSettings", Supported, "throttling; caches, logs and metrics are ignored"),
    ("MinimumCompressionSize", Ignored, "responses are not compressed"),
    ("Mode", Ignored, ONE_MACHINE),
    ("Models", Ignored, "bodies are not checked against models"),
    ("Name", Ignored, NAME),
    ("OpenApiVersion", Supported, ""),
    ("Policy", Ignored, "resource policies are not evaluated: whoever reaches the port may call"),
    ("PropagateTags", Ignored, TAGS),
    ("SecurityPolicy", Ignored, ONE_MACHINE),
    ("StageName", Supported, ""),
    ("Tags", Ignored, TAGS),
    ("TracingEnabled", Ignored, "no traces are recorded"),
    ("Variables", Supported, ""),
];

pub const HTTP_API: [Row; 16] = [
    ("AccessLogSettings", Ignored, ACCESS_LOG),
    ("Auth", Supported, ""),
    ("CorsConfiguration", Supported, ""),
    ("DefaultRouteSettings", Supported, "throttling; logs and metrics are ignored"),
    ("DefinitionBody", Supported, ""),
    ("DefinitionUri", Supported, ""),
    ("Description", Ignored, ONE_MACHINE),
    ("DisableExecuteApiEndpoint", Supported, ""),
    ("Domain", Different, "served for this Host; its DNS and certificate are up to you"),
    ("FailOnWarnings", Ignored, ONE_MACHINE),
    ("Name", Ignored, NAME),
    ("PropagateTags", Ignored, TAGS),
    ("RouteSettings", Supported, "throttling; logs and metrics are ignored"),
    ("StageName", Supported, ""),
    ("StageVariables", Supported, ""),
    ("Tags", Ignored, TAGS),
];

pub const WEB_SOCKET_API: [Row; 18] = [
    ("AccessLogSettings", Ignored, ACCESS_LOG),
    ("ApiKeySelectionExpression", Ignored, "API keys of WebSocket APIs are not checked"),
    ("Auth", Supported, ""),
    ("DefaultRouteSettings", Supported, "throttling; logs and metrics are ignored"),
    ("Description", Ignored, ONE_MACHINE),
    ("DisableExecuteApiEndpoint", Supported, ""),
    ("DisableSchemaValidation", Ignored, "messages are not checked against models"),
    ("Domain", Different, "served for this Host; its DNS and certificate are up to you"),
    ("FailOnWarnings", Ignored, ONE_MACHINE),
    ("IpAddressType", Ignored, ONE_MACHINE),
    ("Name", Ignored, NAME),
    ("PropagateTags", Ignored, TAGS),
    ("RouteSelectionExpression", Supported, ""),
    ("RouteSettings", Supported, "throttling; logs and metrics are ignored"),
    ("Routes", Supported, ""),
    ("StageName", Supported, ""),
    ("StageVariables", Supported, ""),
    ("Tags", Ignored, TAGS),
];

pub const LAYER: [Row; 8] = [
    ("CompatibleArchitectures", Ignored, "what the layer holds must fit this machine"),
    ("CompatibleRuntimes", Ignored, "not checked"),
    ("ContentUri", Different, "its `python` folder is on `sys.path`; there is no /opt"),
    ("Description", Ignored, ONE_MACHINE),
    ("LayerName", Ignored, NAME),
    ("LicenseInfo", Ignored, ONE_MACHINE),
    ("PublishLambdaVersion", Ignored, VERSIONS),
    ("RetentionPolicy", Ignored, VERSIONS),
];

/// One line for each property of the resource, and a warning for what SAM does not know.
pub fn report(resource: &Resource, rows: &[Row], builder: &mut Builder) {
    for (key, _) in resource.properties.mapping().unwrap_or_default() {
        let Some(name) = key.text() else { continue };
        if let Some((_, status, text)) = rows.iter().find(|(known, ..)| *known == name) {
            builder.finding(*status, resource, name, key.line, text);
            continue;
        }
        let kind = &resource.kind;
        builder.finding(Ignored, resource, name, key.line, "no property of this resource");
        let hint = hint(name, rows.iter().map(|(known, ..)| *known));
        let text = format!("`{name}` is no property of {kind}; it is ignored{hint}");
        builder.problem(Severity::Warning, key.line, text);
    }
}
