//! What resources would be called on AWS: what `Ref` and `Fn::GetAtt` give. Made from the template
//! alone, so the same on every reading.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::config::Account;
use crate::deployment::convention;
use crate::trigger::UNKNOWN_LABEL;

/// Where it all appears to be.
#[derive(Debug, Clone)]
pub struct Place {
    /// Absolute.
    pub template: PathBuf,
    pub account: Account,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// What `Ref` gives.
    pub reference: String,
    pub arn: String,
    /// What else `Fn::GetAtt` gives.
    attributes: Vec<(&'static str, String)>,
}

impl Identity {
    pub fn attribute(&self, name: &str) -> Option<&str> {
        if name == "Arn" {
            return Some(&self.arn);
        }
        self.attributes.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }
}

/// The texts of a resource's properties that its names are made of.
pub type Said = BTreeMap<String, String>;

/// Properties whose texts `identity` wants to know.
pub fn wanted(kind: &str) -> Vec<String> {
    let wanted: &[&str] = match kind {
        "AWS::Lambda::Alias" => &["FunctionName", "Name"],
        "AWS::Lambda::Version" => &["FunctionName"],
        "AWS::Lambda::Url" => &["TargetFunctionArn", "Qualifier"],
        "AWS::Serverless::LayerVersion" | "AWS::Lambda::LayerVersion" => &["LayerName"],
        "AWS::Serverless::SimpleTable" => &["TableName"],
        "AWS::ApiGateway::Stage" | "AWS::ApiGatewayV2::Stage" => &["StageName"],
        "AWS::ApiGateway::DomainName" | "AWS::ApiGatewayV2::DomainName" => &["DomainName"],
        "AWS::ApiGatewayV2::Api" => &["ProtocolType"],
        "AWS::IAM::Role" => &["RoleName", "Path"],
        "AWS::IAM::ManagedPolicy" => &["ManagedPolicyName", "Path"],
        "AWS::SSM::Parameter" => &["Name", "Value", "Type"],
        "AWS::Serverless::StateMachine" => &["Name"],
        "AWS::KMS::Alias" => &["AliasName"],
        "AWS::Cognito::UserPoolDomain" => &["Domain"],
        _ => &[],
    };
    let mut wanted: Vec<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
    if wanted.is_empty() {
        // `QueueName` of a Queue, or plain `Name`.
        let kind = kind.rsplit("::").next().unwrap_or(kind);
        wanted.extend([format!("{kind}Name"), "Name".to_owned()]);
    }
    wanted
}

impl Place {
    pub fn partition(&self) -> &'static str {
        match self.account.region.as_str() {
            region if region.starts_with("cn-") => "aws-cn",
            region if region.starts_with("us-gov-") => "aws-us-gov",
            _ => "aws",
        }
    }

    /// As on AWS, where SAM's local tools say `localhost`: templates make the names of AWS's services
    /// with it, which are where they always are, and `sts.localhost` is nothing.
    pub fn url_suffix(&self) -> &'static str {
        if self.partition() == "aws-cn" { "amazonaws.com.cn" } else { "amazonaws.com" }
    }

    pub fn arn(&self, service: &str, rest: &str) -> String {
        format!("arn:{}:{service}:{}:{}:{rest}", self.partition(), self.account.region, self.account.id)
    }

    fn global_arn(&self, service: &str, account: &str, rest: &str) -> String {
        format!("arn:{}:{service}::{account}:{rest}", self.partition())
    }

    pub fn function_arn(&self, name: &str) -> String {
        self.account.function_arn(&self.account.region, name)
    }

    /// Ten letters and digits for what AWS makes up an id for.
    pub fn id(&self, logical_id: &str) -> String {
        convention::id(&format!("{}#{logical_id}", self.template.display()))
    }

    /// `prefix` and a longer id, as `vpc-`, `sg-`, ... have.
    fn prefixed(&self, prefix: &str, logical_id: &str) -> String {
        format!("{prefix}{}{}", self.id(logical_id), &self.id(&format!("{logical_id}#more"))[..7])
    }

    fn uuid(&self, logical_id: &str) -> String {
        let hex: String = (0..32)
            .map(|at| {
                let byte = self.id(&format!("{logical_id}#{}", at / 8)).as_bytes()[at % 8];
                char::from_digit(u32::from(byte) % 16, 16).unwrap_or('0')
            })
            .collect();
        format!("{}-{}-4{}-a{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..])
    }

    /// Every kind has one; for kinds that are not known here it is plausible.
    pub fn identity(&self, kind: &str, logical_id: &str, said: &Said) -> Identity {
        let (partition, region, account) = (self.partition(), &self.account.region, &self.account.id);
        let suffix = self.url_suffix();
        let get = |property: &str| said.get(property).filter(|text| !text.is_empty()).cloned();
        let short = kind.rsplit("::").next().unwrap_or(kind);
        let given = get(&format!("{short}Name")).or_else(|| get("Name"));
        let name = given.clone().unwrap_or_else(|| logical_id.to_owned());
        let id = self.id(logical_id);
        let simple = |reference: &str, arn: String| Identity {
            reference: reference.to_owned(),
            arn,
            attributes: Vec::new(),
        };
        let with = |reference: &str, arn: &str, attributes: &[(&'static str, &str)]| Identity {
            reference: reference.to_owned(),
            arn: arn.to_owned(),
            attributes: attributes.iter().map(|(name, value)| (*name, (*value).to_owned())).collect(),
        };
        match kind {
            "AWS::Serverless::Function" | "AWS::Serverless::WebFunction" | "AWS::Lambda::Function" => {
                let name = name.rsplit(":function:").next().unwrap_or(&name);
                simple(name, self.function_arn(name))
            }
            "AWS::Lambda::Alias" => {
                let function = self.function_arn(function_name(&get("FunctionName").unwrap_or_default()));
                let arn = format!("{function}:{}", get("Name").unwrap_or_else(|| logical_id.to_owned()));
                with(&arn, &arn, &[("AliasArn", &arn)])
            }
            "AWS::Lambda::Version" => {
                let number = get("Number").unwrap_or_else(|| "1".to_owned());
                let function = get("FunctionName").unwrap_or_default();
                let arn = format!("{}:{number}", self.function_arn(function_name(&function)));
                with(&arn, &arn, &[("Version", &number), ("FunctionArn", &arn)])
            }
            "AWS::Lambda::Url" => {
                let target = get("TargetFunctionArn").unwrap_or_default();
                let mut function = self.function_arn(function_name(&target));
                if let Some(qualifier) = get("Qualifier") {
                    function = format!("{function}:{qualifier}");
                }
                let id = convention::letters(&format!("{}#{logical_id}", self.template.display()), 32);
                let url = format!("https://{id}.lambda-url.{region}.on.aws/");
                with(&function, &function, &[("FunctionUrl", &url), ("FunctionArn", &function)])
            }
            "AWS::Serverless::LayerVersion" | "AWS::Lambda::LayerVersion" => {
                let name = get("LayerName").unwrap_or_else(|| logical_id.to_owned());
                let arn = self.arn("lambda", &format!("layer:{name}:1"));
                with(&arn, &arn, &[("LayerVersionArn", &arn)])
            }
            "AWS::Serverless::Api" | "AWS::ApiGateway::RestApi" => {
                let root = self.id(&format!("{logical_id}#root"));
                let arn = format!("arn:{partition}:apigateway:{region}::/restapis/{id}");
                with(&id, &arn, &[("RestApiId", &id), ("RootResourceId", &root)])
            }
            "AWS::Serverless::HttpApi" | "AWS::Serverless::WebSocketApi" | "AWS::ApiGatewayV2::Api" => {
                let sockets = kind.ends_with("WebSocketApi")
                    || get("ProtocolType").is_some_and(|kind| kind == "WEBSOCKET");
                let scheme = if sockets { "wss" } else { "https" };
                let endpoint = format!("{scheme}://{id}.execute-api.{region}.{suffix}");
                let arn = format!("arn:{partition}:apigateway:{region}::/apis/{id}");
                with(&id, &arn, &[("ApiId", &id), ("ApiEndpoint", &endpoint)])
            }
            "AWS::ApiGateway::Stage" | "AWS::ApiGatewayV2::Stage" => {
                let name = get("StageName").unwrap_or_else(|| logical_id.to_owned());
                simple(&name, format!("arn:{partition}:apigateway:{region}::/stages/{name}"))
            }
            "AWS::ApiGateway::DomainName" | "AWS::ApiGatewayV2::DomainName" => {
                let domain = get("DomainName").unwrap_or_else(|| logical_id.to_lowercase());
                let regional = format!("d-{id}.execute-api.{region}.{suffix}");
                let arn = format!("arn:{partition}:apigateway:{region}::/domainnames/{domain}");
                let attributes = [
                    ("RegionalDomainName", regional.as_str()),
                    ("DistributionDomainName", "d111111abcdef8.cloudfront.net"),
                    ("RegionalHostedZoneId", "Z1UJRXOUMOOFQ8"),
                    ("DistributionHostedZoneId", "Z2FDTNDATAQYW2"),
                    ("DomainNameArn", arn.as_str()),
                ];
                with(&domain, &arn, &attributes)
            }
            // Whatever else API Gateway has, it knows by ids.
            "AWS::ApiGateway::Model" | "AWS::ApiGateway::GatewayResponse" | "AWS::ApiGateway::Account" => {
                simple(&name, self.arn("apigateway", &name))
            }
            _ if kind.starts_with("AWS::ApiGateway::") || kind.starts_with("AWS::ApiGatewayV2::") => {
                let arn = format!("arn:{partition}:apigateway:{region}::/{}/{id}", short.to_lowercase());
                let attributes = [
                    "ResourceId",
                    "DeploymentId",
                    "AuthorizerId",
                    "APIKeyId",
                    "Id",
                    "RequestValidatorId",
                    "IntegrationId",
                    "RouteId",
                    "VpcLinkId",
                ];
                with(&id, &arn, &attributes.map(|attribute| (attribute, id.as_str())))
            }
            "AWS::SQS::Queue" => {
                let url = format!("https://sqs.{region}.{suffix}/{account}/{name}");
                with(&url, &self.arn("sqs", &name), &[("QueueName", &name), ("QueueUrl", &url)])
            }
            "AWS::SNS::Topic" => {
                let arn = self.arn("sns", get("TopicName").as_deref().unwrap_or(logical_id));
                with(&arn, &arn, &[("TopicName", &name), ("TopicArn", &arn)])
            }
            "AWS::DynamoDB::Table" | "AWS::DynamoDB::GlobalTable" | "AWS::Serverless::SimpleTable" => {
                let name = get("TableName").unwrap_or_else(|| logical_id.to_owned());
                let arn = self.arn("dynamodb", &format!("table/{name}"));
                let stream = format!("{arn}{UNKNOWN_LABEL}");
                let uuid = self.uuid(logical_id);
                with(&name, &arn, &[("StreamArn", &stream), ("TableId", &uuid)])
            }
            "AWS::S3::Bucket" => {
                // Names of buckets have no capitals.
                let name = given.unwrap_or_else(|| logical_id.to_lowercase());
                let attributes = [
                    ("DomainName", format!("{name}.s3.{suffix}")),
                    ("RegionalDomainName", format!("{name}.s3.{region}.{suffix}")),
                    ("DualStackDomainName", format!("{name}.s3.dualstack.{region}.{suffix}")),
                    ("WebsiteURL", format!("http://{name}.s3-website-{region}.{suffix}")),
                ];
                Identity {
                    arn: format!("arn:{partition}:s3:::{name}"),
                    reference: name,
                    attributes: attributes.to_vec(),
                }
            }
            "AWS::IAM::Role" | "AWS::IAM::User" | "AWS::IAM::Group" | "AWS::IAM::InstanceProfile" => {
                let path = get("Path").unwrap_or_else(|| "/".to_owned());
                let what =
                    if short == "InstanceProfile" { "instance-profile".into() } else { short.to_lowercase() };
                let arn = self.global_arn("iam", account, &format!("{what}{path}{name}"));
                with(&name, &arn, &[("RoleId", &format!("AROA{}", id.to_uppercase()))])
            }
            "AWS::IAM::ManagedPolicy" => {
                let name = get("ManagedPolicyName").unwrap_or_else(|| logical_id.to_owned());
                let path = get("Path").unwrap_or_else(|| "/".to_owned());
                let arn = self.global_arn("iam", account, &format!("policy{path}{name}"));
                with(&arn, &arn, &[("PolicyArn", &arn)])
            }
            "AWS::Serverless::StateMachine" | "AWS::StepFunctions::StateMachine" => {
                let name = get("StateMachineName").unwrap_or(name);
                let arn = self.arn("states", &format!("stateMachine:{name}"));
                with(&arn, &arn, &[("Name", &name)])
            }
            "AWS::Kinesis::Stream" => {
                let arn = self.arn("kinesis", &format!("stream/{name}"));
                simple(&name, arn)
            }
            "AWS::Events::Rule" => simple(&name, self.arn("events", &format!("rule/{name}"))),
            "AWS::Events::EventBus" => {
                with(&name, &self.arn("events", &format!("event-bus/{name}")), &[("Name", &name)])
            }
            "AWS::Logs::LogGroup" => simple(&name, self.arn("logs", &format!("log-group:{name}:*"))),
            "AWS::SSM::Parameter" => {
                let arn = self.arn("ssm", &format!("parameter/{}", name.trim_start_matches('/')));
                let value = get("Value").unwrap_or_default();
                with(&name, &arn, &[("Value", &value), ("Type", &get("Type").unwrap_or_default())])
            }
            "AWS::SecretsManager::Secret" => {
                let arn = self.arn("secretsmanager", &format!("secret:{name}-{}", &id[..6]));
                with(&arn, &arn, &[("Id", &arn)])
            }
            "AWS::Cognito::UserPool" => {
                let pool = format!("{region}_{}", &id[..9]);
                let provider = format!("cognito-idp.{region}.{suffix}/{pool}");
                let attributes = [
                    ("UserPoolId", pool.clone()),
                    ("ProviderURL", format!("https://{provider}")),
                    ("ProviderName", provider),
                ];
                let arn = self.arn("cognito-idp", &format!("userpool/{pool}"));
                Identity { reference: pool, arn, attributes: attributes.to_vec() }
            }
            "AWS::Cognito::UserPoolClient" => {
                let client = self.prefixed("", logical_id);
                let arn = self.arn("cognito-idp", &format!("client/{client}"));
                with(&client, &arn, &[("ClientId", &client), ("Name", &name)])
            }
            "AWS::Cognito::UserPoolDomain" => {
                let domain = get("Domain").unwrap_or_else(|| logical_id.to_lowercase());
                simple(&domain, self.arn("cognito-idp", &domain))
            }
            "AWS::KMS::Key" => {
                let key = self.uuid(logical_id);
                with(&key, &self.arn("kms", &format!("key/{key}")), &[("KeyId", &key)])
            }
            "AWS::KMS::Alias" => {
                let name = get("AliasName").unwrap_or_else(|| format!("alias/{logical_id}"));
                simple(&name, self.arn("kms", &name))
            }
            "AWS::ElasticLoadBalancingV2::LoadBalancer" => {
                let full = format!("app/{name}/{}", self.load_balancer_id(logical_id));
                let arn = self.arn("elasticloadbalancing", &format!("loadbalancer/{full}"));
                let dns = format!("{name}-{id}.{region}.elb.{suffix}");
                let attributes = [
                    ("LoadBalancerArn", arn.as_str()),
                    ("DNSName", dns.as_str()),
                    ("LoadBalancerFullName", full.as_str()),
                    ("LoadBalancerName", name.as_str()),
                    ("CanonicalHostedZoneID", "Z35SXDOTRQ7X7K"),
                ];
                with(&arn, &arn, &attributes)
            }
            "AWS::ElasticLoadBalancingV2::TargetGroup" => {
                let full = format!("targetgroup/{name}/{}", self.load_balancer_id(logical_id));
                let arn = self.arn("elasticloadbalancing", &full);
                let attributes = [
                    ("TargetGroupArn", arn.as_str()),
                    ("TargetGroupFullName", full.as_str()),
                    ("TargetGroupName", name.as_str()),
                ];
                with(&arn, &arn, &attributes)
            }
            "AWS::ElasticLoadBalancingV2::Listener" | "AWS::ElasticLoadBalancingV2::ListenerRule" => {
                let (what, attribute) = if short == "Listener" {
                    ("listener", "ListenerArn")
                } else {
                    ("listener-rule", "RuleArn")
                };
                let rest = format!("{what}/app/{logical_id}/{}", self.load_balancer_id(logical_id));
                let arn = self.arn("elasticloadbalancing", &rest);
                with(&arn, &arn, &[(attribute, &arn)])
            }
            "AWS::EC2::VPC" => {
                let vpc = self.prefixed("vpc-", logical_id);
                with(&vpc, &self.arn("ec2", &format!("vpc/{vpc}")), &[("VpcId", &vpc)])
            }
            "AWS::EC2::Subnet" => {
                let subnet = self.prefixed("subnet-", logical_id);
                with(&subnet, &self.arn("ec2", &format!("subnet/{subnet}")), &[("SubnetId", &subnet)])
            }
            "AWS::EC2::SecurityGroup" => {
                let group = self.prefixed("sg-", logical_id);
                let arn = self.arn("ec2", &format!("security-group/{group}"));
                with(&group, &arn, &[("GroupId", &group)])
            }
            "AWS::CloudFormation::Stack" | "AWS::Serverless::Application" => {
                let arn = self
                    .arn("cloudformation", &format!("stack/local-{logical_id}/{}", self.uuid(logical_id)));
                simple(&arn, arn.clone())
            }
            _ => {
                let service = kind.split("::").nth(1).unwrap_or("custom").to_lowercase();
                simple(&name, self.arn(&service, &format!("{}/{name}", short.to_lowercase())))
            }
        }
    }

    /// Sixteen hexadecimal digits.
    fn load_balancer_id(&self, logical_id: &str) -> String {
        self.uuid(logical_id).replace('-', "")[..16].to_owned()
    }
}

/// The name in what a property may call a function: a name, or an ARN, with or without a qualifier.
fn function_name(text: &str) -> &str {
    let name = text.split_once("function:").map_or(text, |(_, name)| name);
    name.split(':').next().unwrap_or(name)
}
