//! REST APIs as `AWS::ApiGateway::*`.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Writer, logical_id};
use crate::api::{
    Api, ApiKeySource, Authorization, Authorizer, AuthorizerKind, IdentitySource, IntegrationKind,
    Passthrough, Period, Route, Stage, Throttle,
};

pub fn write(writer: &mut Writer, api: &Api, routes: &[&Route]) {
    let id = writer.free_id(&logical_id(&api.name));
    let mut properties = json!({"Name": api.name});
    if !api.binary_media_types.is_empty() {
        properties["BinaryMediaTypes"] = json!(api.binary_media_types);
    }
    if api.api_key_source == ApiKeySource::Authorizer {
        properties["ApiKeySourceType"] = "AUTHORIZER".into();
    }
    if api.execute_api_disabled {
        properties["DisableExecuteApiEndpoint"] = true.into();
    }
    writer.add(&id, "AWS::ApiGateway::RestApi", properties);
    for authorizer in api.authorizers.values() {
        write_authorizer(writer, &id, authorizer);
    }
    for (kind, response) in &api.gateway_responses {
        let mut properties = json!({"RestApiId": {"Ref": id}, "ResponseType": kind});
        if let Some(status) = response.status {
            properties["StatusCode"] = status.to_string().into();
        }
        if !response.parameters.is_empty() {
            properties["ResponseParameters"] = json!(response.parameters);
        }
        if !response.templates.is_empty() {
            properties["ResponseTemplates"] = json!(response.templates);
        }
        let name = format!("{id}{}Response", logical_id(&kind.to_lowercase()));
        writer.add(&name, "AWS::ApiGateway::GatewayResponse", properties);
    }
    let mut resources = BTreeMap::new();
    let mut methods = Vec::new();
    for route in routes {
        let resource = resource(writer, &id, &route.path, &mut resources);
        let name = format!("{id}Method{}", methods.len() + 1);
        if write_method(writer, &id, api, route, resource, &name) {
            methods.push(name);
        }
    }
    if routes.iter().any(|route| !route.required_parameters.is_empty()) {
        let validator = json!({"RestApiId": {"Ref": id}, "ValidateRequestParameters": true});
        writer.add(&format!("{id}Validator"), "AWS::ApiGateway::RequestValidator", validator);
    }
    writer.add(&format!("{id}Deployment"), "AWS::ApiGateway::Deployment", json!({"RestApiId": {"Ref": id}}));
    writer.resources[&format!("{id}Deployment")]["DependsOn"] = json!(methods);
    for stage in &api.stages {
        write_stage(writer, &id, stage);
    }
    usage_plans(writer, &id, api);
}

/// The resource of a path, with those above it.
fn resource(writer: &mut Writer, api_id: &str, path: &str, known: &mut BTreeMap<String, String>) -> Value {
    let mut parent = json!({"Fn::GetAtt": [api_id, "RootResourceId"]});
    let mut so_far = String::new();
    for part in path.split('/').filter(|part| !part.is_empty()) {
        so_far.push('/');
        so_far.push_str(part);
        let name = match known.get(&so_far) {
            Some(name) => name.clone(),
            None => {
                let name = format!("{api_id}Resource{}", known.len() + 1);
                let properties = json!({"RestApiId": {"Ref": api_id}, "ParentId": parent, "PathPart": part});
                writer.add(&name, "AWS::ApiGateway::Resource", properties);
                known.insert(so_far.clone(), name.clone());
                name
            }
        };
        parent = json!({"Ref": name});
    }
    parent
}

fn write_method(
    writer: &mut Writer,
    api_id: &str,
    api: &Api,
    route: &Route,
    resource: Value,
    name: &str,
) -> bool {
    let mut method = json!({
        "RestApiId": {"Ref": api_id}, "ResourceId": resource, "HttpMethod": route.method, "AuthorizationType": "NONE",
    });
    match &route.authorization {
        Authorization::None => {}
        Authorization::Iam => method["AuthorizationType"] = "AWS_IAM".into(),
        Authorization::Authorizer { name, scopes } => {
            let kind = api.authorizers.get(name).map(|authorizer| &authorizer.kind);
            let is_cognito = matches!(kind, Some(AuthorizerKind::Cognito(_) | AuthorizerKind::Jwt(_)));
            method["AuthorizationType"] = if is_cognito { "COGNITO_USER_POOLS" } else { "CUSTOM" }.into();
            method["AuthorizerId"] = json!({"Ref": format!("{api_id}{}", logical_id(name))});
            if !scopes.is_empty() {
                method["AuthorizationScopes"] = json!(scopes);
            }
        }
    }
    if route.api_key_required {
        method["ApiKeyRequired"] = true.into();
    }
    if let Some(operation) = &route.operation_name {
        method["OperationName"] = operation.as_str().into();
    }
    let mut parameters: Map<String, Value> =
        route.required_parameters.iter().map(|parameter| (parameter.clone(), true.into())).collect();
    if !parameters.is_empty() {
        method["RequestValidatorId"] = json!({"Ref": format!("{api_id}Validator")});
    }
    let mut integration = json!({});
    match &route.integration.kind {
        IntegrationKind::Function { function, streams, .. } => {
            integration["Type"] = "AWS_PROXY".into();
            integration["IntegrationHttpMethod"] = "POST".into();
            integration["Uri"] = writer.invocation_uri(function, *streams);
            if *streams {
                integration["ResponseTransferMode"] = "STREAM".into();
            }
            writer.permission(function, "apigateway.amazonaws.com");
        }
        IntegrationKind::Mapped(mapped) => {
            match &mapped.function {
                None => integration["Type"] = "MOCK".into(),
                Some(function) => {
                    integration["Type"] = "AWS".into();
                    integration["IntegrationHttpMethod"] = "POST".into();
                    integration["Uri"] = writer.invocation_uri(function, false);
                    writer.permission(function, "apigateway.amazonaws.com");
                }
            }
            if mapped.asynchronous {
                integration["RequestParameters"] =
                    json!({"integration.request.header.X-Amz-Invocation-Type": "'Event'"});
            }
            if !mapped.request_templates.is_empty() {
                integration["RequestTemplates"] = json!(mapped.request_templates);
            }
            integration["PassthroughBehavior"] = match mapped.passthrough {
                Passthrough::WhenNoMatch => "WHEN_NO_MATCH",
                Passthrough::WhenNoTemplates => "WHEN_NO_TEMPLATES",
                Passthrough::Never => "NEVER",
            }
            .into();
            let mut responses = Vec::new();
            let mut statuses: BTreeMap<u16, Map<String, Value>> = BTreeMap::new();
            for response in &mapped.responses {
                let mut value = json!({"StatusCode": response.status.to_string()});
                if let Some(pattern) = &response.pattern {
                    value["SelectionPattern"] = pattern.as_str().into();
                }
                if !response.parameters.is_empty() {
                    value["ResponseParameters"] = json!(response.parameters);
                }
                if !response.templates.is_empty() {
                    value["ResponseTemplates"] = json!(response.templates);
                }
                responses.push(value);
                let headers = response.parameters.keys().map(|name| (name.clone(), Value::from(false)));
                statuses.entry(response.status).or_default().extend(headers);
            }
            integration["IntegrationResponses"] = responses.into();
            let of_method: Vec<Value> = statuses
                .into_iter()
                .map(|(status, headers)| json!({"StatusCode": status.to_string(), "ResponseParameters": headers}))
                .collect();
            method["MethodResponses"] = of_method.into();
        }
        IntegrationKind::Http(http) => {
            integration["Type"] = "HTTP_PROXY".into();
            integration["IntegrationHttpMethod"] = http.method.as_str().into();
            integration["Uri"] = http.url.as_str().into();
            if !http.request.is_empty() {
                integration["RequestParameters"] = json!(http.request);
                // A method has to know what its integration is given.
                for source in http.request.values().filter(|source| source.starts_with("method.request.")) {
                    parameters.entry(source.clone()).or_insert(false.into());
                }
            }
        }
        IntegrationKind::Missing { reason } => {
            writer.left_out.push(format!("{} {}: {reason}", api.name, route.key()));
            return false;
        }
    }
    for part in route.path.split('/').filter(|part| part.starts_with('{')) {
        let variable = part.trim_matches(['{', '}', '+']);
        if matches!(route.integration.kind, IntegrationKind::Http(_)) {
            parameters.entry(format!("method.request.path.{variable}")).or_insert(true.into());
        }
    }
    if !parameters.is_empty() {
        method["RequestParameters"] = parameters.into();
    }
    if let Some(timeout) = route.integration.timeout {
        integration["TimeoutInMillis"] = (timeout.as_millis() as u64).into();
    }
    method["Integration"] = integration;
    writer.add(name, "AWS::ApiGateway::Method", method);
    true
}

fn write_authorizer(writer: &mut Writer, api_id: &str, authorizer: &Authorizer) {
    let mut properties = json!({"RestApiId": {"Ref": api_id}, "Name": authorizer.name});
    let lambda = match &authorizer.kind {
        AuthorizerKind::Cognito(issuer) | AuthorizerKind::Jwt(issuer) => {
            properties["Type"] = "COGNITO_USER_POOLS".into();
            properties["IdentitySource"] = identity(&issuer.identity).into();
            // `https://cognito-idp.REGION.amazonaws.com/POOL`
            let pool = issuer.issuer.rsplit('/').next().unwrap_or_default();
            let arn = format!(
                "arn:${{AWS::Partition}}:cognito-idp:${{AWS::Region}}:${{AWS::AccountId}}:userpool/{pool}"
            );
            properties["ProviderARNs"] = json!([{"Fn::Sub": arn}]);
            None
        }
        AuthorizerKind::Token(lambda) => {
            properties["Type"] = "TOKEN".into();
            Some(lambda)
        }
        AuthorizerKind::Request(lambda) => {
            properties["Type"] = "REQUEST".into();
            Some(lambda)
        }
    };
    if let Some(lambda) = lambda {
        properties["AuthorizerUri"] = writer.invocation_uri(&lambda.function, false);
        properties["IdentitySource"] = identity(&lambda.identity).into();
        properties["AuthorizerResultTtlInSeconds"] = authorizer.ttl.as_secs().into();
        if let Some(expression) = &lambda.validation {
            properties["IdentityValidationExpression"] = expression.as_str().into();
        }
        writer.permission(&lambda.function, "apigateway.amazonaws.com");
    }
    let name = format!("{api_id}{}", logical_id(&authorizer.name));
    writer.add(&name, "AWS::ApiGateway::Authorizer", properties);
}

fn identity(sources: &[IdentitySource]) -> String {
    let sources = sources.iter().map(|source| match source {
        IdentitySource::Header(name) => format!("method.request.header.{name}"),
        IdentitySource::Query(name) => format!("method.request.querystring.{name}"),
        IdentitySource::StageVariable(name) => format!("stageVariables.{name}"),
        IdentitySource::Context(name) => format!("context.{name}"),
    });
    sources.collect::<Vec<_>>().join(",")
}

fn write_stage(writer: &mut Writer, api_id: &str, stage: &Stage) {
    let deployment = json!({"Ref": format!("{api_id}Deployment")});
    let mut properties =
        json!({"RestApiId": {"Ref": api_id}, "DeploymentId": deployment, "StageName": stage.name});
    if !stage.variables.is_empty() {
        properties["Variables"] = json!(stage.variables);
    }
    let setting = |method: &str, path: &str, throttle: &Throttle| {
        json!({
            "HttpMethod": method, "ResourcePath": path,
            "ThrottlingRateLimit": throttle.rate, "ThrottlingBurstLimit": throttle.burst,
        })
    };
    let mut settings = Vec::new();
    if let Some(throttle) = &stage.throttle {
        settings.push(setting("*", "/*", throttle));
    }
    for (key, throttle) in &stage.route_throttles {
        let (method, path) = key.split_once(' ').unwrap_or(("*", key));
        settings.push(setting(method, path, throttle));
    }
    if !settings.is_empty() {
        properties["MethodSettings"] = settings.into();
    }
    let name = format!("{api_id}{}Stage", logical_id(&stage.name));
    writer.add(&name, "AWS::ApiGateway::Stage", properties);
}

fn usage_plans(writer: &mut Writer, api_id: &str, api: &Api) {
    for (index, plan) in api.usage_plans.iter().enumerate() {
        let id = format!("{api_id}Plan{}", index + 1);
        let stages: Vec<&str> = match plan.stages.is_empty() {
            true => api.stages.iter().map(|stage| stage.name.as_str()).collect(),
            false => plan.stages.iter().map(String::as_str).collect(),
        };
        let stages: Vec<Value> = stages
            .into_iter()
            .map(|stage| {
                let reference = json!({"Ref": format!("{api_id}{}Stage", logical_id(stage))});
                json!({"ApiId": {"Ref": api_id}, "Stage": reference})
            })
            .collect();
        let mut properties = json!({"UsagePlanName": plan.name, "ApiStages": stages});
        if let Some(throttle) = &plan.throttle {
            properties["Throttle"] = json!({"RateLimit": throttle.rate, "BurstLimit": throttle.burst});
        }
        if let Some(quota) = &plan.quota {
            let period = match quota.period {
                Period::Day => "DAY",
                Period::Week => "WEEK",
                Period::Month => "MONTH",
            };
            properties["Quota"] = json!({"Limit": quota.limit, "Period": period, "Offset": quota.offset});
        }
        writer.add(&id, "AWS::ApiGateway::UsagePlan", properties);
        for (number, key) in plan.keys.iter().enumerate() {
            let key_id = format!("{id}Key{}", number + 1);
            // A key is a secret: whoever deploys gives it.
            let parameter = format!("{key_id}Value");
            writer.parameters.insert(parameter.clone(), json!({"Type": "String", "NoEcho": true}));
            let properties = json!({"Name": key.name, "Value": {"Ref": parameter}, "Enabled": key.enabled});
            writer.add(&key_id, "AWS::ApiGateway::ApiKey", properties);
            let link = json!({"KeyId": {"Ref": key_id}, "KeyType": "API_KEY", "UsagePlanId": {"Ref": id}});
            writer.add(&format!("{key_id}Link"), "AWS::ApiGateway::UsagePlanKey", link);
        }
    }
}
