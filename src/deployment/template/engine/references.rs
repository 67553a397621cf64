//! What `Ref`, `Fn::GetAtt` and `${...}` lead to: parameters, pseudo parameters, resources, and the
//! resources that SAM makes of others.

use super::parameters::Parameter;
use super::physical::{self, Identity, Said};
use super::scope::{Scope, Unresolved};
use crate::deployment::nearest::hint;
use crate::deployment::yaml::{Node, Value};

pub const PSEUDO_PARAMETERS: [&str; 8] = [
    "AWS::AccountId",
    "AWS::NoValue",
    "AWS::NotificationARNs",
    "AWS::Partition",
    "AWS::Region",
    "AWS::StackId",
    "AWS::StackName",
    "AWS::URLSuffix",
];

/// What SAM's local tools call the stack.
const STACK_NAME: &str = "local";

const REST_API: &str = "ServerlessRestApi";
const HTTP_API: &str = "ServerlessHttpApi";

impl Scope<'_> {
    /// What `Ref` gives; `None`: `AWS::NoValue`.
    pub fn reference(&mut self, name: &str, line: usize) -> Result<Option<Node>, Unresolved> {
        if name.starts_with("AWS::") {
            return self.pseudo_parameter(name, line);
        }
        let value = match self.parameters.get(name) {
            Some(Parameter::Text(text)) => Value::Scalar { text: text.clone(), quoted: true },
            Some(Parameter::List(texts)) => {
                Value::Sequence(texts.iter().map(|text| Node::scalar(text, line)).collect())
            }
            Some(Parameter::Missing) => return Err(Unresolved::new(line, "", name)),
            None => {
                let identity = self.find(name, line)?;
                Value::Scalar { text: identity.reference, quoted: true }
            }
        };
        let size = match &value {
            Value::Sequence(items) => items.len(),
            Value::Scalar { .. } | Value::Mapping(_) => 1,
        };
        if !self.spend_nodes(size) {
            return Err(Unresolved::new(line, "", name));
        }
        Ok(Some(Node { line, tag: None, value }))
    }

    fn pseudo_parameter(&mut self, name: &str, line: usize) -> Result<Option<Node>, Unresolved> {
        let account = &self.place.account;
        let text = match name {
            "AWS::AccountId" => account.id.clone(),
            "AWS::Region" => account.region.clone(),
            "AWS::Partition" => self.place.partition().to_owned(),
            "AWS::StackName" => STACK_NAME.to_owned(),
            "AWS::StackId" => {
                self.place.arn("cloudformation", &format!("stack/{STACK_NAME}/{}", self.place.id(name)))
            }
            "AWS::URLSuffix" => self.place.url_suffix().to_owned(),
            "AWS::NotificationARNs" => {
                return Ok(Some(Node { line, tag: None, value: Value::Sequence(Vec::new()) }));
            }
            "AWS::NoValue" => return Ok(None),
            _ => {
                let hint = hint(name, PSEUDO_PARAMETERS);
                return Err(Unresolved::new(
                    line,
                    format!("there is no pseudo parameter `{name}`{hint}"),
                    name,
                ));
            }
        };
        Ok(Some(Node::scalar(&text, line)))
    }

    /// What `Fn::GetAtt` gives, of `Resource.Attribute`.
    pub fn attribute(&mut self, path: &str, line: usize) -> Result<Option<Node>, Unresolved> {
        // `Function.Alias` is a resource of its own, and `Outputs.Url` an attribute.
        let (resource, attribute) = path.split_once('.').unwrap_or((path, ""));
        let nested =
            attribute.split_once('.').map(|(more, attribute)| (format!("{resource}.{more}"), attribute));
        let (resource, attribute, identity) = match nested {
            Some((inner, attribute)) if self.implied(&inner).is_some() => {
                let identity = self.find(&inner, line)?;
                (inner, attribute, identity)
            }
            _ => (resource.to_owned(), attribute, self.find(resource, line)?),
        };
        if let Some(value) = identity.attribute(attribute) {
            return Ok(Some(Node::scalar(value, line)));
        }
        // `!Sub ${Function.Alias}` means what `!Ref Function.Alias` does.
        if let Some(identity) = self.implied(path) {
            return Ok(Some(Node::scalar(&identity.reference, line)));
        }
        if let Some(parameter) = self.parameters.get(&resource).map(|_| &resource) {
            let text = format!("`{parameter}` is a parameter: it has no attribute `{attribute}`");
            return Err(Unresolved::new(line, text, path));
        }
        let text = format!(
            "`{path}` is known to AWS only; the text itself stands here\n\
             hint: if a function needs it, set the variable with --env-vars"
        );
        self.reports.warning(line, text);
        Ok(Some(Node::scalar(path, line)))
    }

    fn find(&mut self, name: &str, line: usize) -> Result<Identity, Unresolved> {
        if self.in_condition {
            let text = if self.resources.contains_key(name) {
                format!("`{name}` is a resource: a condition can refer to parameters only")
            } else {
                let known: Vec<&str> = self.parameters.keys().map(String::as_str).collect();
                format!("there is no parameter `{name}`{}", hint(name, known))
            };
            return Err(Unresolved::new(line, text, name));
        }
        if let Some(declaration) = self.resources.get(name) {
            if let Some(condition) = declaration.absent {
                let text = format!("`{name}` does not exist here: its condition `{condition}` is false");
                return Err(Unresolved::new(line, text, name));
            }
            return Ok(self.identity(name, line));
        }
        if let Some(identity) = self.implied(name) {
            return Ok(identity);
        }
        let hint = hint(name, self.names());
        Err(Unresolved::new(line, format!("there is no resource or parameter `{name}`{hint}"), name))
    }

    /// What a resource of the template is called. Its name may be made of others' names.
    pub fn identity(&mut self, logical_id: &str, line: usize) -> Identity {
        if let Some(identity) = self.identities.get(logical_id) {
            return identity.clone();
        }
        let Some((kind, place)) = self.resources.get(logical_id).map(|found| (found.kind, found.line)) else {
            return self.place.identity("", logical_id, &Said::new());
        };
        if self.naming.iter().any(|name| name == logical_id) {
            let text =
                format!("`{logical_id}` is named after itself, by way of `{}`", self.naming.join("`, `"));
            self.reports.error(line, text);
            return self.place.identity(kind, logical_id, &Said::new());
        }
        self.naming.push(logical_id.to_owned());
        let outside = std::mem::replace(&mut self.in_condition, false);
        let mut said = Said::new();
        for property in physical::wanted(kind) {
            if let Some(node) = self.written(logical_id, &property)
                && let Some(Node { value: Value::Scalar { text, .. }, .. }) = self.resolve(node)
            {
                said.insert(property, text);
            }
        }
        if kind == "AWS::Lambda::Version" {
            said.insert("Number".to_owned(), self.version_number(logical_id).to_string());
        }
        self.in_condition = outside;
        self.naming.pop();
        let mut identity = self.place.identity(kind, logical_id, &said);
        // A function is known by the names that are allowed for one.
        if identity.reference.is_empty() {
            let text = format!("the name of `{logical_id}` is empty; it is called by its logical id");
            self.reports.error(place, text);
            identity = self.place.identity(kind, logical_id, &Said::new());
        }
        self.identities.insert(logical_id.to_owned(), identity.clone());
        identity
    }

    /// Versions are numbered as they stand in the template.
    fn version_number(&self, logical_id: &str) -> usize {
        let function = self.written(logical_id, "FunctionName");
        let is_before = |other: &&&str| {
            self.resources.get(**other).is_some_and(|found| found.kind == "AWS::Lambda::Version")
                && match (function, self.written(other, "FunctionName")) {
                    (Some(one), Some(other)) => super::conditions::same(one, other),
                    (one, other) => one.is_none() && other.is_none(),
                }
        };
        1 + self.order.iter().take_while(|other| **other != logical_id).filter(is_before).count()
    }

    /// A resource that SAM makes of another one, or of functions' events.
    pub fn implied(&mut self, name: &str) -> Option<Identity> {
        if let Some(rest) = name.strip_prefix(REST_API)
            && self.has_event("Api", "RestApiId")
        {
            return match rest {
                "" => Some(self.make("AWS::Serverless::Api", REST_API, &[])),
                "ProdStage" | ".Stage" => {
                    Some(self.make("AWS::ApiGateway::Stage", name, &[("StageName", "Prod")]))
                }
                _ if rest.trim_start_matches('.').starts_with("Deployment") => {
                    Some(self.make("AWS::ApiGateway::Deployment", name, &[]))
                }
                _ => None,
            };
        }
        if let Some(rest) = name.strip_prefix(HTTP_API)
            && self.has_event("HttpApi", "ApiId")
        {
            return match rest {
                "" => Some(self.make("AWS::Serverless::HttpApi", HTTP_API, &[])),
                "ApiGatewayDefaultStage" | ".Stage" => {
                    Some(self.make("AWS::ApiGatewayV2::Stage", name, &[("StageName", "$default")]))
                }
                _ => None,
            };
        }
        let owners = self.order.iter().filter(|owner| {
            name.len() > owner.len()
                && name.starts_with(**owner)
                && self
                    .resources
                    .get(**owner)
                    .is_some_and(|found| found.kind.starts_with("AWS::Serverless::"))
        });
        // `Api` and `ApiUsers` may both be there: the longer one is meant.
        let owner = (*owners.max_by_key(|owner| owner.len())?).to_owned();
        let declaration = self.resources.get(owner.as_str())?;
        let (kind, line) = (declaration.kind, declaration.line);
        if declaration.absent.is_some() {
            return None;
        }
        let rest = &name[owner.len()..];
        match kind {
            "AWS::Serverless::Function" => self.implied_by_function(&owner, rest, name, line),
            "AWS::Serverless::Api" => {
                let stage = self.said(&owner, "StageName");
                match rest.strip_prefix('.').unwrap_or(rest) {
                    "Stage" if rest.starts_with('.') => {
                        Some(self.make("AWS::ApiGateway::Stage", name, &[("StageName", &stage?)]))
                    }
                    "Deployment" => Some(self.make("AWS::ApiGateway::Deployment", name, &[])),
                    "DomainName" | "BasePathMapping" | "UsagePlan" | "UsagePlanKey" | "ApiKey" => {
                        let kind = format!("AWS::ApiGateway::{}", rest.trim_start_matches('.'));
                        let domain = self.domain(&owner);
                        Some(self.make(&kind, name, &[("DomainName", &domain)]))
                    }
                    rest if stage.as_ref().is_some_and(|stage| rest.strip_suffix("Stage") == Some(stage)) => {
                        Some(self.make("AWS::ApiGateway::Stage", name, &[("StageName", &stage?)]))
                    }
                    _ => None,
                }
            }
            "AWS::Serverless::HttpApi" | "AWS::Serverless::WebSocketApi" => {
                let default = if kind.ends_with("HttpApi") { "$default" } else { "default" };
                let stage = self.said(&owner, "StageName").unwrap_or_else(|| default.to_owned());
                let is_stage = matches!(rest, ".Stage" | "ApiGatewayDefaultStage")
                    || rest.strip_suffix("Stage") == Some(stage.as_str());
                match rest {
                    _ if is_stage => {
                        Some(self.make("AWS::ApiGatewayV2::Stage", name, &[("StageName", &stage)]))
                    }
                    ".DomainName" => {
                        let domain = self.domain(&owner);
                        Some(self.make("AWS::ApiGatewayV2::DomainName", name, &[("DomainName", &domain)]))
                    }
                    ".ApiMapping" | ".Deployment" => {
                        Some(self.make(&format!("AWS::ApiGatewayV2::{}", &rest[1..]), name, &[]))
                    }
                    _ => None,
                }
            }
            "AWS::Serverless::StateMachine" if rest == "Role" => Some(self.make("AWS::IAM::Role", name, &[])),
            _ => None,
        }
    }

    fn implied_by_function(&mut self, owner: &str, rest: &str, name: &str, line: usize) -> Option<Identity> {
        let function = self.identity(owner, line).reference;
        let alias = self.said(owner, "AutoPublishAlias");
        let of = ("FunctionName", function.as_str());
        match rest {
            "Role" if self.written(owner, "Role").is_none() => Some(self.make("AWS::IAM::Role", name, &[])),
            "Url" | "UrlPublicPermissions" | "URLInvokeAllowPublicAccess"
                if self.written(owner, "FunctionUrlConfig").is_some() =>
            {
                let mut said = vec![("TargetFunctionArn", function.as_str())];
                said.extend(alias.as_deref().map(|alias| ("Qualifier", alias)));
                Some(self.make("AWS::Lambda::Url", name, &said))
            }
            ".Alias" => Some(self.make("AWS::Lambda::Alias", name, &[of, ("Name", &alias?)])),
            ".Version" => alias.map(|_| self.make("AWS::Lambda::Version", name, &[of])),
            _ if rest.starts_with("Version") => alias.map(|_| self.make("AWS::Lambda::Version", name, &[of])),
            _ if rest.strip_prefix("Alias").is_some_and(|rest| Some(rest) == alias.as_deref()) => {
                Some(self.make("AWS::Lambda::Alias", name, &[of, ("Name", &alias?)]))
            }
            "EventInvokeConfig" if self.written(owner, "EventInvokeConfig").is_some() => {
                Some(self.make("AWS::Lambda::EventInvokeConfig", name, &[]))
            }
            ".DestinationQueue" => {
                let id = self.destination(owner, "SQS", "Queue")?;
                Some(self.make("AWS::SQS::Queue", &id, &[]))
            }
            ".DestinationTopic" => {
                let id = self.destination(owner, "SNS", "Topic")?;
                Some(self.make("AWS::SNS::Topic", &id, &[]))
            }
            _ => {
                // Rules, subscriptions and permissions are called by their event.
                let events = self.written(owner, "Events")?.mapping()?;
                let event = events.iter().filter_map(|(key, _)| key.text()).find(|event| {
                    rest.strip_prefix(event)
                        .is_some_and(|end| end.is_empty() || end.starts_with("Permission"))
                })?;
                let kind = if rest == event { "AWS::Events::Rule" } else { "AWS::Lambda::Permission" };
                Some(self.make(kind, name, &[]))
            }
        }
    }

    /// What SAM calls the queue or topic that it makes for events of a function.
    fn destination(&self, owner: &str, service: &str, what: &str) -> Option<String> {
        let config = self.written(owner, "EventInvokeConfig")?.get("DestinationConfig")?;
        let when = ["OnFailure", "OnSuccess"].into_iter().find(|when| {
            let kind = config.get(when).and_then(|destination| destination.get("Type"));
            kind.and_then(Node::text) == Some(service)
        })?;
        Some(format!("{owner}EventInvokeConfig{when}{what}"))
    }

    fn make(&self, kind: &str, name: &str, said: &[(&str, &str)]) -> Identity {
        let said = said.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.place.identity(kind, name, &said)
    }

    fn said(&mut self, logical_id: &str, property: &str) -> Option<String> {
        let node = self.written(logical_id, property)?;
        self.resolve(node)?.text().map(str::to_owned)
    }

    fn domain(&mut self, owner: &str) -> String {
        let domain = self.written(owner, "Domain").and_then(|domain| domain.get("DomainName"));
        let resolved = domain.and_then(|domain| self.resolve(domain));
        resolved.and_then(|domain| domain.text().map(str::to_owned)).unwrap_or_default()
    }

    /// Whether a function asks for the implicit API of a kind.
    fn has_event(&self, kind: &str, api: &str) -> bool {
        self.resources.values().any(|declaration| {
            let events = declaration.properties.and_then(|properties| properties.get("Events"));
            declaration.kind == "AWS::Serverless::Function"
                && events.and_then(Node::mapping).is_some_and(|events| {
                    events.iter().any(|(_, event)| {
                        let chosen = event.get("Properties").and_then(|properties| properties.get(api));
                        event.get("Type").and_then(Node::text) == Some(kind) && chosen.is_none()
                    })
                })
        })
    }
}
