//! Resources that are not served, each with what to do about it.

use super::super::{Builder, Finding, Resource, Stack, Status};
use crate::deployment::Severity;
use crate::deployment::nearest::nearest;

/// Kinds that other files of this folder read.
const SERVED: [&str; 44] = [
    "AWS::ApiGateway::ApiKey",
    "AWS::ApiGateway::Authorizer",
    "AWS::ApiGateway::BasePathMapping",
    "AWS::ApiGateway::Deployment",
    "AWS::ApiGateway::DomainName",
    "AWS::ApiGateway::GatewayResponse",
    "AWS::ApiGateway::Method",
    "AWS::ApiGateway::RequestValidator",
    "AWS::ApiGateway::Resource",
    "AWS::ApiGateway::RestApi",
    "AWS::ApiGateway::Stage",
    "AWS::ApiGateway::UsagePlan",
    "AWS::ApiGateway::UsagePlanKey",
    "AWS::ApiGatewayV2::Api",
    "AWS::ApiGatewayV2::ApiMapping",
    "AWS::ApiGatewayV2::Authorizer",
    "AWS::ApiGatewayV2::Deployment",
    "AWS::ApiGatewayV2::DomainName",
    "AWS::ApiGatewayV2::Integration",
    "AWS::ApiGatewayV2::IntegrationResponse",
    "AWS::ApiGatewayV2::Route",
    "AWS::ApiGatewayV2::RouteResponse",
    "AWS::ApiGatewayV2::Stage",
    "AWS::ElasticLoadBalancingV2::Listener",
    "AWS::ElasticLoadBalancingV2::ListenerRule",
    "AWS::ElasticLoadBalancingV2::LoadBalancer",
    "AWS::ElasticLoadBalancingV2::TargetGroup",
    "AWS::Events::Rule",
    "AWS::Lambda::Alias",
    "AWS::Lambda::EventInvokeConfig",
    "AWS::Lambda::EventSourceMapping",
    "AWS::Lambda::Function",
    "AWS::Lambda::LayerVersion",
    "AWS::Lambda::Permission",
    "AWS::Lambda::Url",
    "AWS::Lambda::Version",
    "AWS::S3::Bucket",
    "AWS::SNS::Subscription",
    "AWS::SNS::Topic",
    "AWS::Scheduler::Schedule",
    // Of another reader, but good to know when a name is misspelt.
    "AWS::Serverless::Api",
    "AWS::Serverless::Function",
    "AWS::Serverless::HttpApi",
    "AWS::Serverless::LayerVersion",
];

/// Kinds of the services that are served which mean nothing here.
const NAMED: [(&str, &str); 18] = [
    ("AWS::ApiGateway::Account", "logs of APIs go nowhere here"),
    ("AWS::ApiGateway::BasePathMappingV2", "private domains are not served"),
    ("AWS::ApiGateway::ClientCertificate", "other servers are asked without a certificate"),
    ("AWS::ApiGateway::DocumentationPart", "documentation is not served"),
    ("AWS::ApiGateway::DocumentationVersion", "documentation is not served"),
    ("AWS::ApiGateway::DomainNameAccessAssociation", "private domains are not served"),
    ("AWS::ApiGateway::DomainNameV2", "private domains are not served"),
    ("AWS::ApiGateway::Model", "bodies are not checked against models yet"),
    ("AWS::ApiGateway::VpcLink", "networks of AWS cannot be reached from here"),
    ("AWS::ApiGatewayV2::ApiGatewayManagedOverrides", "a quickly created API is served as it is"),
    ("AWS::ApiGatewayV2::Model", "messages are not checked against models yet"),
    ("AWS::ApiGatewayV2::RoutingRule", "a domain leads by base paths only"),
    ("AWS::ApiGatewayV2::VpcLink", "networks of AWS cannot be reached from here"),
    ("AWS::Lambda::CapacityProvider", "functions run on this machine"),
    ("AWS::Lambda::CodeSigningConfig", "code is not signed here"),
    ("AWS::Lambda::LayerVersionPermission", "not needed here: every function may use every layer"),
    ("AWS::Lambda::ResourcePolicy", "not needed here: every API may call every function"),
    ("AWS::CloudFormation::Stack", "nested stacks are not read; serve their templates on their own"),
];

/// Whole services, by the beginning of the kind.
const SERVICES: [(&str, &str); 29] = [
    ("AWS::DynamoDB::", "tables are not made here; point AWS_ENDPOINT_URL_DYNAMODB at a local DynamoDB"),
    ("AWS::SQS::", "queues are not made here; point AWS_ENDPOINT_URL_SQS at a local one"),
    ("AWS::SNS::", "topics are not made here; point AWS_ENDPOINT_URL_SNS at a local one"),
    ("AWS::S3::", "buckets are not made here; point AWS_ENDPOINT_URL_S3 at a local one"),
    ("AWS::Kinesis::", "streams are not made here; point AWS_ENDPOINT_URL_KINESIS at a local one"),
    (
        "AWS::SecretsManager::",
        "secrets are not made here; point AWS_ENDPOINT_URL_SECRETS_MANAGER at a local one",
    ),
    ("AWS::SSM::", "parameters are not made here; point AWS_ENDPOINT_URL_SSM at a local one"),
    ("AWS::StepFunctions::", "state machines do not run here"),
    (
        "AWS::Events::",
        "is not needed: events are put onto a bus by its name (PutEvents), and rules read them",
    ),
    ("AWS::Scheduler::", "is not needed: schedules run by themselves, in groups by name"),
    (
        "AWS::IAM::",
        "nobody's permissions are checked here; functions use the credentials of their environment",
    ),
    ("AWS::Logs::", "logs stay in the state folder; `handlerd logs` shows them"),
    ("AWS::CloudWatch::", "there are no alarms and no metrics here"),
    ("AWS::XRay::", "traces go nowhere here"),
    ("AWS::Cognito::", "user pools are not made here; for tokens, the key set of their issuer can be given"),
    ("AWS::CloudFront::", "there is no content network in front; ask the API itself"),
    ("AWS::WAFv2::", "requests are not filtered"),
    ("AWS::WAF", "requests are not filtered"),
    ("AWS::Route53::", "names are not registered; a custom domain is asked for by the Host header"),
    ("AWS::CertificateManager::", "certificates are not issued; `--tls-cert` and `--tls-key` take one"),
    ("AWS::EC2::", "networks and machines are not made here"),
    ("AWS::RDS::", "databases are not made here; give functions the address of a local one"),
    ("AWS::ElastiCache::", "caches are not made here; give functions the address of a local one"),
    ("AWS::KMS::", "keys are not made here; point AWS_ENDPOINT_URL_KMS at a local one"),
    ("AWS::ApplicationAutoScaling::", "environments are started as they are needed"),
    ("AWS::CodeDeploy::", "what is saved is deployed"),
    ("AWS::CloudFormation::", "belongs to the stack, which is not deployed here"),
    ("AWS::CDK::", "is only for the tool that wrote the template"),
    ("Custom::", "custom resources are not made; what they would give is not there"),
];

pub fn read(stack: &Stack, builder: &mut Builder) {
    for resource in &stack.resources {
        let kind = resource.kind.as_str();
        if kind.starts_with("AWS::Serverless::") || SERVED.contains(&kind) {
            continue;
        }
        let text = match known(kind) {
            Some(text) => text.to_owned(),
            None => unknown(resource, builder),
        };
        let (resource, line) = (resource.logical_id.clone(), resource.line);
        let (kind, property) = (kind.to_owned(), String::new());
        let finding = Finding { status: Status::Ignored, resource, kind, property, line, text };
        builder.reading.findings.push(finding);
    }
}

fn known(kind: &str) -> Option<&'static str> {
    let named = NAMED.iter().find(|(name, _)| *name == kind);
    named.or_else(|| SERVICES.iter().find(|(prefix, _)| kind.starts_with(prefix))).map(|(_, text)| *text)
}

/// Nobody's; perhaps a slip.
fn unknown(resource: &Resource, builder: &mut Builder) -> String {
    let known = SERVED.iter().chain(NAMED.iter().map(|(name, _)| name)).copied();
    let near = nearest(&resource.kind, known).filter(|near| *near != resource.kind);
    if let Some(near) = near {
        let text = format!(
            "`{}`: there is no resource type `{}`; it is ignored\nhint: did you mean `{near}`?",
            resource.logical_id, resource.kind
        );
        builder.problem(Severity::Warning, resource.line, text);
    }
    "is not served here".to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::super::fixture;
    use super::*;

    #[test]
    fn what_is_not_served_is_named_once_with_what_to_do() {
        let stack = fixture::stack(
            "Table: {Type: 'AWS::DynamoDB::Table', Properties: {TableName: x}}
Allowed: {Type: 'AWS::Lambda::ResourcePolicy'}
Mine: {Type: 'AWS::Lamda::Function'}
Fn: {Type: 'AWS::Serverless::Function'}
Robot: {Type: 'AWS::RoboMaker::Robot'}
",
        );
        let mut builder = Builder::default();
        read(&stack, &mut builder);
        assert_eq!(
            fixture::findings(&builder),
            [
                "1 Ignored  tables are not made here; point AWS_ENDPOINT_URL_DYNAMODB at a local DynamoDB",
                "2 Ignored  not needed here: every API may call every function",
                "3 Ignored  is not served here",
                "5 Ignored  is not served here",
            ]
        );
        let expected = "3 `Mine`: there is no resource type `AWS::Lamda::Function`; it is ignored\nhint: did you mean `AWS::Lambda::Function`?";
        assert_eq!(fixture::problems(&builder), [expected]);
    }
}
