//! Load balancers as `AWS::ElasticLoadBalancingV2::*`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Writer, logical_id};
use crate::api::{Api, Route};

pub fn write(writer: &mut Writer, api: &Api, routes: &[&Route]) {
    let id = writer.free_id(&logical_id(&api.name));
    // Only whoever deploys knows the network.
    writer.parameters.insert("Subnets".into(), json!({"Type": "List<AWS::EC2::Subnet::Id>"}));
    writer.add(&id, "AWS::ElasticLoadBalancingV2::LoadBalancer", json!({"Subnets": {"Ref": "Subnets"}}));
    let mut groups: BTreeMap<(String, String), String> = BTreeMap::new();
    for route in routes {
        let Some(key) = group_of(route) else { continue };
        if groups.contains_key(&key) {
            continue;
        }
        let (function, _) = &key;
        let name = format!("{id}Targets{}", groups.len() + 1);
        let lists = route.target_group.as_ref().is_some_and(|group| group.multi_value_headers);
        let properties = json!({
            "TargetType": "lambda",
            "Targets": [{"Id": writer.arn(function)}],
            "TargetGroupAttributes": [
                {"Key": "lambda.multi_value_headers.enabled", "Value": lists.to_string()}
            ],
        });
        writer.permission(function, "elasticloadbalancing.amazonaws.com");
        writer.add(&name, "AWS::ElasticLoadBalancingV2::TargetGroup", properties);
        groups.insert(key, name);
    }
    let forward = |route: &Route| {
        let group = group_of(route).and_then(|key| groups.get(&key));
        group.map(|group| json!([{"Type": "forward", "TargetGroupArn": {"Ref": group}}]))
    };
    let listener = format!("{id}Listener");
    let is_default = |route: &&&Route| route.path == "*" && route.method == "ANY" && route.hosts.is_empty();
    let default = routes.iter().find(is_default).and_then(|route| forward(route));
    let otherwise = json!([{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404"}}]);
    let properties = json!({
        "LoadBalancerArn": {"Ref": id}, "Port": 80, "Protocol": "HTTP", "DefaultActions": default.unwrap_or(otherwise),
    });
    writer.add(&listener, "AWS::ElasticLoadBalancingV2::Listener", properties);
    for (index, route) in routes.iter().filter(|route| !is_default(route)).enumerate() {
        let Some(actions) = forward(route) else { continue };
        let mut conditions: Vec<Value> = Vec::new();
        if route.path != "*" || (route.hosts.is_empty() && route.method == "ANY") {
            conditions.push(json!({"Field": "path-pattern", "PathPatternConfig": {"Values": [route.path]}}));
        }
        if !route.hosts.is_empty() {
            conditions.push(json!({"Field": "host-header", "HostHeaderConfig": {"Values": route.hosts}}));
        }
        if route.method != "ANY" {
            let config = json!({"Values": [route.method]});
            conditions.push(json!({"Field": "http-request-method", "HttpRequestMethodConfig": config}));
        }
        let properties = json!({
            "ListenerArn": {"Ref": listener}, "Priority": index + 1, "Conditions": conditions, "Actions": actions,
        });
        writer.add(
            &format!("{id}Rule{}", index + 1),
            "AWS::ElasticLoadBalancingV2::ListenerRule",
            properties,
        );
    }
}

/// A function may stand in several groups, which pass headers on in their own ways.
fn group_of(route: &Route) -> Option<(String, String)> {
    let name = route.target_group.as_ref().map(|group| group.name.clone()).unwrap_or_default();
    Some((route.function()?.to_owned(), name))
}

#[cfg(test)]
mod tests {
    use super::super::super::fixture;
    use crate::deployment::{Deployed, Deployment, Frame};

    #[test]
    fn each_group_passes_headers_on_in_its_own_way() {
        let group = |multi: bool| {
            format!(
                "{{Type: 'AWS::ElasticLoadBalancingV2::TargetGroup', Properties: {{TargetType: lambda, Targets: [{{Id: \
                 '${{F.Arn}}'}}], TargetGroupAttributes: [{{Key: lambda.multi_value_headers.enabled, Value: '{multi}'}}]}}}}"
            )
        };
        let rule = |path: &str, group: &str, priority: u32| {
            format!(
                "{{Type: 'AWS::ElasticLoadBalancingV2::ListenerRule', Properties: {{ListenerArn: '${{L}}', Priority: \
                 {priority}, Conditions: [{{Field: path-pattern, Values: [{path}]}}], Actions: [{{Type: forward, \
                 TargetGroupArn: '${{{group}}}'}}]}}}}"
            )
        };
        let read = fixture::read(&format!(
            "F: {{Type: 'AWS::Lambda::Function', Properties: {{Handler: a.b, Code: {{ZipFile: x}}}}}}
B: {{Type: 'AWS::ElasticLoadBalancingV2::LoadBalancer', Properties: {{}}}}
L: {{Type: 'AWS::ElasticLoadBalancingV2::Listener', Properties: {{LoadBalancerArn: '${{B}}', Port: 80, DefaultActions: [{{Type: fixed-response, FixedResponseConfig: {{StatusCode: '404'}}}}]}}}}
Plain: {}
Lists: {}
One: {}
Two: {}
",
            group(false),
            group(true),
            rule("/one", "Plain", 1),
            rule("/two", "Lists", 2),
        ));
        let mut deployment = Deployment::default();
        deployment.apis.extend(read.reading.apis.into_iter().map(std::sync::Arc::new));
        let broken = Deployed::Broken { reason: String::new() };
        deployment.functions.insert("F".parse().unwrap(), broken);
        let frame = Frame {
            folder: std::path::Path::new("/"),
            runtime: &|_| String::new(),
            secrets: &|_| Vec::new(),
        };
        let (text, _) = crate::deployment::export(&deployment, &frame);
        let groups: Vec<&str> = text.split("TargetGroupAttributes:").skip(1).collect();
        let values: Vec<&str> =
            groups.iter().map(|group| group.split("Value:").nth(1).unwrap().trim()).collect();
        assert_eq!(values.len(), 2, "{text}");
        assert!(values[0].starts_with("\"false\"") && values[1].starts_with("\"true\""), "{text}");
        let forwards = text.matches("TargetGroupArn:\n").count();
        assert_eq!(forwards, 2, "{text}");
        assert!(text.contains("Ref: BTargets1") && text.contains("Ref: BTargets2"), "{text}");
    }
}
