//! What a request to a route is called: in refusals as AWS words them, and in the audit log.

use http::Method;
use percent_encoding::percent_decode_str;

/// Method, the end of the path behind its date, and AWS's name.
const NAMES: &[(&str, &str, &str)] = &[
    ("GET", "account-settings", "GetAccountSettings"),
    ("GET", "event-source-mappings", "ListEventSourceMappings"),
    ("POST", "event-source-mappings", "CreateEventSourceMapping"),
    ("GET", "event-source-mappings/*", "GetEventSourceMapping"),
    ("PUT", "event-source-mappings/*", "UpdateEventSourceMapping"),
    ("DELETE", "event-source-mappings/*", "DeleteEventSourceMapping"),
    ("GET", "functions", "ListFunctions"),
    ("POST", "functions", "CreateFunction"),
    ("GET", "functions/*", "GetFunction"),
    ("DELETE", "functions/*", "DeleteFunction"),
    ("GET", "functions/*/aliases", "ListAliases"),
    ("POST", "functions/*/aliases", "CreateAlias"),
    ("GET", "functions/*/aliases/*", "GetAlias"),
    ("PUT", "functions/*/aliases/*", "UpdateAlias"),
    ("DELETE", "functions/*/aliases/*", "DeleteAlias"),
    ("PUT", "functions/*/code", "UpdateFunctionCode"),
    ("GET", "functions/*/code-signing-config", "GetFunctionCodeSigningConfig"),
    ("PUT", "functions/*/code-signing-config", "PutFunctionCodeSigningConfig"),
    ("DELETE", "functions/*/code-signing-config", "DeleteFunctionCodeSigningConfig"),
    ("GET", "functions/*/concurrency", "GetFunctionConcurrency"),
    ("PUT", "functions/*/concurrency", "PutFunctionConcurrency"),
    ("DELETE", "functions/*/concurrency", "DeleteFunctionConcurrency"),
    ("GET", "functions/*/configuration", "GetFunctionConfiguration"),
    ("PUT", "functions/*/configuration", "UpdateFunctionConfiguration"),
    ("GET", "functions/*/event-invoke-config", "GetFunctionEventInvokeConfig"),
    ("PUT", "functions/*/event-invoke-config", "PutFunctionEventInvokeConfig"),
    ("POST", "functions/*/event-invoke-config", "UpdateFunctionEventInvokeConfig"),
    ("DELETE", "functions/*/event-invoke-config", "DeleteFunctionEventInvokeConfig"),
    ("GET", "functions/*/event-invoke-config/list", "ListFunctionEventInvokeConfigs"),
    ("POST", "functions/*/invocations", "InvokeFunction"),
    ("POST", "functions/*/invoke-async", "InvokeFunction"),
    ("GET", "functions/*/policy", "GetPolicy"),
    ("POST", "functions/*/policy", "AddPermission"),
    ("DELETE", "functions/*/policy/*", "RemovePermission"),
    ("GET", "functions/*/provisioned-concurrency", "GetProvisionedConcurrencyConfig"),
    ("PUT", "functions/*/provisioned-concurrency", "PutProvisionedConcurrencyConfig"),
    ("DELETE", "functions/*/provisioned-concurrency", "DeleteProvisionedConcurrencyConfig"),
    ("GET", "functions/*/recursion-config", "GetFunctionRecursionConfig"),
    ("PUT", "functions/*/recursion-config", "PutFunctionRecursionConfig"),
    ("POST", "functions/*/response-streaming-invocations", "InvokeFunction"),
    ("GET", "functions/*/runtime-management-config", "GetRuntimeManagementConfig"),
    ("PUT", "functions/*/runtime-management-config", "PutRuntimeManagementConfig"),
    ("GET", "functions/*/url", "GetFunctionUrlConfig"),
    ("POST", "functions/*/url", "CreateFunctionUrlConfig"),
    ("PUT", "functions/*/url", "UpdateFunctionUrlConfig"),
    ("DELETE", "functions/*/url", "DeleteFunctionUrlConfig"),
    ("GET", "functions/*/urls", "ListFunctionUrlConfigs"),
    ("GET", "functions/*/versions", "ListVersionsByFunction"),
    ("POST", "functions/*/versions", "PublishVersion"),
    ("GET", "layers", "ListLayers"),
    ("GET", "layers/*/versions", "ListLayerVersions"),
    ("POST", "layers/*/versions", "PublishLayerVersion"),
    ("GET", "layers/*/versions/*", "GetLayerVersion"),
    ("DELETE", "layers/*/versions/*", "DeleteLayerVersion"),
    ("GET", "layers/*/versions/*/policy", "GetLayerVersionPolicy"),
    ("POST", "layers/*/versions/*/policy", "AddLayerVersionPermission"),
    ("DELETE", "layers/*/versions/*/policy/*", "RemoveLayerVersionPermission"),
    ("GET", "tags/*", "ListTags"),
    ("POST", "tags/*", "TagResource"),
    ("DELETE", "tags/*", "UntagResource"),
];

/// `lambda:UpdateFunctionCode`, or for routes that AWS does not have `handlerd:POST /_handlerd/queue/retry`.
/// `route`: as the table has it.
pub fn name(method: &Method, route: &str) -> String {
    let method = if *method == Method::HEAD { "GET" } else { method.as_str() };
    if (method, route) == ("POST", "/") {
        return "events:PutEvents".to_owned();
    }
    let (date, rest) = route.trim_matches('/').split_once('/').unwrap_or_default();
    let is_dated = date.len() == 10 && date.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    let is_it = |pattern: &str| {
        let (wanted, given) = (pattern.split('/'), rest.split('/'));
        wanted.clone().count() == given.clone().count()
            && wanted
                .zip(given)
                .all(|(wanted, given)| if wanted == "*" { given.starts_with('{') } else { wanted == given })
    };
    let known = NAMES.iter().find(|(known, pattern, _)| is_dated && *known == method && is_it(pattern));
    known.map_or_else(|| format!("handlerd:{method} {route}"), |(.., name)| format!("lambda:{name}"))
}

/// What is acted on, as an ARN where AWS has one.
pub fn resource(path: &str, region: &str, account: &str) -> String {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    match parts[..] {
        [_, kind @ ("functions" | "layers"), name, ..] => {
            let name = percent_decode_str(name).decode_utf8_lossy();
            let name: String = name.chars().filter(|c| !c.is_control()).take(200).collect();
            match name.starts_with("arn:") {
                true => name,
                false => format!("arn:aws:lambda:{region}:{account}:{}:{name}", kind.trim_end_matches('s')),
            }
        }
        _ => "*".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_have_the_names_of_aws() {
        for (method, route, expected) in [
            (Method::PUT, "/2015-03-31/functions/{name}/code", "lambda:UpdateFunctionCode"),
            (Method::HEAD, "/2015-03-31/functions/", "lambda:ListFunctions"),
            (Method::POST, "/2017-03-31/tags/{*arn}", "lambda:TagResource"),
            (Method::POST, "/", "events:PutEvents"),
            (Method::POST, "/_handlerd/queue/retry", "handlerd:POST /_handlerd/queue/retry"),
            (
                Method::PUT,
                "/elsewhere/functions/{name}/code",
                "handlerd:PUT /elsewhere/functions/{name}/code",
            ),
        ] {
            assert_eq!(name(&method, route), expected);
        }
        assert_eq!(
            resource("/2015-03-31/functions/a%3Ab/code", "eu-west-1", "1"),
            "arn:aws:lambda:eu-west-1:1:function:a:b"
        );
        assert_eq!(resource("/2015-03-31/functions/", "r", "1"), "*");
    }
}
