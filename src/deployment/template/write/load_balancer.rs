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
    let mut groups: BTreeMap<String, String> = BTreeMap::new();
    for route in routes {
        let Some(function) = route.function() else { continue };
        if groups.contains_key(function) {
            continue;
        }
        let name = format!("{id}Targets{}", groups.len() + 1);
        let properties = json!({
            "TargetType": "lambda",
            "Targets": [{"Id": writer.arn(function)}],
            "TargetGroupAttributes": [
                {"Key": "lambda.multi_value_headers.enabled", "Value": api.multi_value_headers.to_string()}
            ],
        });
        writer.permission(function, "elasticloadbalancing.amazonaws.com");
        writer.add(&name, "AWS::ElasticLoadBalancingV2::TargetGroup", properties);
        groups.insert(function.to_owned(), name);
    }
    let forward = |route: &Route| {
        let group = route.function().and_then(|function| groups.get(function));
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
