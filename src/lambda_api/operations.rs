//! Operations of AWS that handlerd does not have, by name: whoever asks is told which one it was.

/// Method, path (`*`: any one part) and name.
const MISSING: &[(&str, &str, &str)] = &[
    ("POST", "/2020-04-22/code-signing-configs", "CreateCodeSigningConfig"),
    ("GET", "/2020-04-22/code-signing-configs", "ListCodeSigningConfigs"),
    ("GET", "/2020-04-22/code-signing-configs/*", "GetCodeSigningConfig"),
    ("PUT", "/2020-04-22/code-signing-configs/*", "UpdateCodeSigningConfig"),
    ("DELETE", "/2020-04-22/code-signing-configs/*", "DeleteCodeSigningConfig"),
    ("GET", "/2020-04-22/code-signing-configs/*/functions", "ListFunctionsByCodeSigningConfig"),
    ("POST", "/2025-11-30/capacity-providers", "CreateCapacityProvider"),
    ("GET", "/2025-11-30/capacity-providers", "ListCapacityProviders"),
    ("GET", "/2025-11-30/capacity-providers/*", "GetCapacityProvider"),
    ("PUT", "/2025-11-30/capacity-providers/*", "UpdateCapacityProvider"),
    ("DELETE", "/2025-11-30/capacity-providers/*", "DeleteCapacityProvider"),
    ("GET", "/2025-11-30/capacity-providers/*/function-versions", "ListFunctionVersionsByCapacityProvider"),
    ("PUT", "/2025-11-30/functions/*/function-scaling-config", "PutFunctionScalingConfig"),
    ("GET", "/2025-11-30/functions/*/function-scaling-config", "GetFunctionScalingConfig"),
    ("GET", "/2025-12-01/functions/*/durable-executions", "ListDurableExecutionsByFunction"),
    ("GET", "/2025-12-01/durable-executions/*", "GetDurableExecution"),
    ("GET", "/2025-12-01/durable-executions/*/history", "GetDurableExecutionHistory"),
    ("GET", "/2025-12-01/durable-executions/*/state", "GetDurableExecutionState"),
    ("POST", "/2025-12-01/durable-executions/*/checkpoint", "CheckpointDurableExecution"),
    ("POST", "/2025-12-01/durable-executions/*/stop", "StopDurableExecution"),
    ("POST", "/2025-12-01/durable-execution-callbacks/*/succeed", "SendDurableExecutionCallbackSuccess"),
    ("POST", "/2025-12-01/durable-execution-callbacks/*/fail", "SendDurableExecutionCallbackFailure"),
    ("POST", "/2025-12-01/durable-execution-callbacks/*/heartbeat", "SendDurableExecutionCallbackHeartbeat"),
    ("PUT", "/2026-07-09/resource-policy/*", "PutResourcePolicy"),
    ("GET", "/2026-07-09/resource-policy/*", "GetResourcePolicy"),
    ("DELETE", "/2026-07-09/resource-policy/*", "DeleteResourcePolicy"),
];

/// What was asked for, in words: an operation's name if it is one of AWS.
pub fn name(method: &str, path: &str) -> String {
    let parts = |path: &str| path.trim_end_matches('/').split('/').map(str::to_owned).collect::<Vec<_>>();
    let asked = parts(path);
    let is_it = |template: &str| {
        let wanted = parts(template);
        wanted.len() == asked.len()
            && wanted.iter().zip(&asked).all(|(wanted, asked)| wanted == "*" || wanted == asked)
    };
    let known = MISSING.iter().find(|(known, template, _)| *known == method && is_it(template));
    known.map_or_else(|| format!("{method} {path}"), |(.., name)| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who reads the documentation learns of every one.
    #[test]
    fn what_is_missing_is_documented() {
        let page = include_str!("../../docs/lambda-api.md");
        for (.., name) in MISSING {
            assert!(page.contains(&format!("`{name}`")), "docs/lambda-api.md does not name {name}");
        }
    }

    #[test]
    fn operations_have_names() {
        assert_eq!(name("GET", "/2020-04-22/code-signing-configs/arn:x/"), "GetCodeSigningConfig");
        assert_eq!(name("POST", "/2020-04-22/code-signing-configs/"), "CreateCodeSigningConfig");
        assert_eq!(name("GET", "/2025-12-01/durable-executions/a%2Fb/history"), "GetDurableExecutionHistory");
        assert_eq!(name("GET", "/elsewhere"), "GET /elsewhere");
    }
}
