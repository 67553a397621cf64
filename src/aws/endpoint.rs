//! Where each service is, and with which credentials it is asked: as the environment says it to all
//! AWS SDKs (`AWS_ENDPOINT_URL`, `AWS_ENDPOINT_URL_SQS`, `AWS_ACCESS_KEY_ID`, `AWS_PROFILE`, ...).

use super::profile::Profile;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    DynamoDb,
    DynamoDbStreams,
    Events,
    Kinesis,
    S3,
    Sns,
    Sqs,
}

impl Service {
    pub fn name(self) -> &'static str {
        match self {
            Self::DynamoDb => "DynamoDB",
            Self::DynamoDbStreams => "DynamoDB Streams",
            Self::Events => "EventBridge",
            Self::Kinesis => "Kinesis",
            Self::S3 => "S3",
            Self::Sns => "SNS",
            Self::Sqs => "SQS",
        }
    }

    /// In the scope of a signature.
    pub fn signing_name(self) -> &'static str {
        match self {
            Self::DynamoDb | Self::DynamoDbStreams => "dynamodb",
            Self::Events => "events",
            Self::Kinesis => "kinesis",
            Self::S3 => "s3",
            Self::Sns => "sns",
            Self::Sqs => "sqs",
        }
    }

    /// Behind `AWS_ENDPOINT_URL_`.
    pub(super) fn variable(self) -> &'static str {
        match self {
            Self::DynamoDb => "DYNAMODB",
            Self::DynamoDbStreams => "DYNAMODB_STREAMS",
            Self::Events => "EVENTBRIDGE",
            Self::Kinesis => "KINESIS",
            Self::S3 => "S3",
            Self::Sns => "SNS",
            Self::Sqs => "SQS",
        }
    }

    fn host(self) -> &'static str {
        match self {
            Self::DynamoDbStreams => "streams.dynamodb",
            other => other.signing_name(),
        }
    }

    /// The prefix of `X-Amz-Target`, and the version in the content type.
    pub(super) fn json_protocol(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::DynamoDb => Some(("DynamoDB_20120810", "1.0")),
            Self::DynamoDbStreams => Some(("DynamoDBStreams_20120810", "1.0")),
            Self::Events => Some(("AWSEvents", "1.1")),
            Self::Kinesis => Some(("Kinesis_20131202", "1.1")),
            Self::Sqs => Some(("AmazonSQS", "1.0")),
            Self::S3 | Self::Sns => None,
        }
    }

    /// Of the query protocol.
    pub(super) fn version(self) -> &'static str {
        match self {
            Self::Sns => "2010-03-31",
            _ => "2012-11-05",
        }
    }
}

#[derive(Debug, Clone, Default)]
pub struct Endpoints {
    /// By the name behind `AWS_ENDPOINT_URL_`; the empty name stands for all others.
    urls: Vec<(String, String)>,
    /// Where this gateway serves EventBridge itself.
    events_here: Option<String>,
    pub access_key_id: String,
    pub secret_access_key: String,
    pub session_token: Option<String>,
    /// Nobody has said who asks: the keys are dummies, which local endpoints take.
    pub anonymous: bool,
}

const PREFIX: &str = "AWS_ENDPOINT_URL";

impl Endpoints {
    /// From the variables of this process, and from the profile that they name. Credentials that
    /// nobody has set are dummies: local endpoints take any. A profile is read only when it is named,
    /// so that nobody's own account is asked by mistake.
    pub fn from_environment(variables: &[(String, String)]) -> Self {
        let get = |name: &str| {
            let found = variables.iter().find(|(known, value)| known == name && !value.is_empty());
            found.map(|(_, value)| value.clone())
        };
        let profile = get("AWS_PROFILE").map(|name| (Profile::read(&name, get), name));
        let of_profile = |property: &str| profile.as_ref().and_then(|(profile, _)| profile.get(property));
        let mut urls: Vec<(String, String)> = variables
            .iter()
            .filter(|(_, url)| !url.is_empty())
            .filter_map(|(name, url)| {
                let service = name.strip_prefix(PREFIX)?;
                Some((service.strip_prefix('_').unwrap_or(service).to_owned(), url.clone()))
            })
            .collect();
        urls.extend(of_profile("endpoint_url").map(|url| (String::new(), url)));
        let (access_key_id, secret_access_key, session_token) = match get("AWS_ACCESS_KEY_ID") {
            Some(key) => (Some(key), get("AWS_SECRET_ACCESS_KEY"), get("AWS_SESSION_TOKEN")),
            None => (
                of_profile("aws_access_key_id"),
                of_profile("aws_secret_access_key"),
                of_profile("aws_session_token"),
            ),
        };
        let anonymous = access_key_id.is_none();
        if anonymous && let Some((_, name)) = &profile {
            tracing::warn!(
                "the AWS profile `{name}` has no keys that handlerd can use: destinations and event sources go without\n\
                 hint: `eval \"$(aws configure export-credentials --profile {name} --format env)\"` before the start \
                 sets them"
            );
        }
        let dummy = || "handlerd".to_owned();
        Self {
            urls,
            events_here: None,
            access_key_id: access_key_id.unwrap_or_else(dummy),
            secret_access_key: secret_access_key.unwrap_or_else(dummy),
            session_token,
            anonymous,
        }
    }

    /// EventBridge is served by this gateway, for whoever has not said otherwise.
    pub fn with_events_at(mut self, url: Option<String>) -> Self {
        self.events_here = url;
        self
    }

    /// For whoever has none: the gateway's own services know these.
    pub fn with_own_keys(mut self, access_key_id: &str, secret_access_key: &str) -> Self {
        if self.anonymous {
            access_key_id.clone_into(&mut self.access_key_id);
            secret_access_key.clone_into(&mut self.secret_access_key);
            self.session_token = None;
        }
        self
    }

    /// An endpoint that was set, this gateway's own, or AWS's.
    pub fn url(&self, service: Service, region: &str) -> String {
        self.known(service).unwrap_or_else(|| {
            let china = if region.starts_with("cn-") { ".cn" } else { "" };
            format!("https://{}.{region}.amazonaws.com{china}", service.host())
        })
    }

    /// Neither is it said where the service is, nor who would ask AWS's own.
    pub fn is_missing(&self, service: Service) -> bool {
        self.anonymous && self.known(service).is_none()
    }

    /// Why a service that is missing is not asked, and what to do.
    pub fn what_is_missing(&self, service: Service) -> String {
        format!(
            "it is not said where it is, and nobody's keys are set\nhint: set AWS_ENDPOINT_URL_{} to a local server, or \
             AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY for AWS itself",
            service.variable(),
        )
    }

    /// One that is not AWS's.
    pub fn known(&self, service: Service) -> Option<String> {
        let set = |name: &str| self.urls.iter().find(|(known, _)| known == name).map(|(_, url)| url.clone());
        let here = || self.events_here.clone().filter(|_| service == Service::Events);
        set(service.variable()).or_else(|| set("")).or_else(here)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(pairs: &[(&str, &str)]) -> Endpoints {
        let pairs: Vec<_> = pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        Endpoints::from_environment(&pairs)
    }

    #[test]
    fn an_endpoint_of_its_own_then_the_common_one_then_aws() {
        let endpoints = set(&[("AWS_ENDPOINT_URL_SQS", "http://q"), ("AWS_ENDPOINT_URL", "http://all")]);
        assert_eq!(endpoints.url(Service::Sqs, "us-east-1"), "http://q");
        assert_eq!(endpoints.url(Service::Sns, "us-east-1"), "http://all");
        assert_eq!(
            set(&[]).url(Service::DynamoDbStreams, "eu-west-1"),
            "https://streams.dynamodb.eu-west-1.amazonaws.com"
        );
        assert_eq!(set(&[]).url(Service::Sqs, "cn-north-1"), "https://sqs.cn-north-1.amazonaws.com.cn");
    }

    #[test]
    fn the_gateways_own_bus_serves_whoever_has_named_no_other() {
        let here = || Some("http://here".to_owned());
        let endpoints = set(&[]).with_events_at(here());
        assert_eq!(endpoints.known(Service::Events), here());
        assert_eq!(endpoints.known(Service::Sqs), None);
        let endpoints = set(&[("AWS_ENDPOINT_URL", "http://all")]).with_events_at(here());
        assert_eq!(endpoints.url(Service::Events, "us-east-1"), "http://all");
    }

    #[test]
    fn keys_come_from_the_environment_then_from_the_named_profile() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("credentials");
        std::fs::write(&file, "[local]\naws_access_key_id = AAA\naws_secret_access_key = S\n").unwrap();
        let file = ("AWS_SHARED_CREDENTIALS_FILE", file.to_str().unwrap());
        let none = ("AWS_CONFIG_FILE", "/dev/null");
        let keys = |endpoints: Endpoints| (endpoints.access_key_id, endpoints.anonymous);
        assert_eq!(keys(set(&[file, none])), ("handlerd".to_owned(), true), "no profile is named");
        assert_eq!(keys(set(&[file, none, ("AWS_PROFILE", "local")])), ("AAA".to_owned(), false));
        assert_eq!(keys(set(&[file, none, ("AWS_PROFILE", "other")])), ("handlerd".to_owned(), true));
        let environment = ("AWS_ACCESS_KEY_ID", "BBB");
        assert_eq!(
            keys(set(&[file, none, ("AWS_PROFILE", "local"), environment])),
            ("BBB".to_owned(), false)
        );
    }
}
