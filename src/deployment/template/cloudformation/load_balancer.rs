//! Load balancers whose target groups are functions. All that hangs on a balancer is one API: the
//! rules of its listeners by priority, then their default actions.

use std::collections::BTreeMap;

use super::super::sheet::Sheet;
use super::super::{Builder, Resource, Stack, Status, reference};
use crate::api::{
    Api, DEFAULT_STAGE, Integration, IntegrationKind, Kind, PayloadVersion, Route, Stage, TargetGroup,
};
use crate::deployment::convention;

const GROUP: &str = "AWS::ElasticLoadBalancingV2::TargetGroup";
const LISTENER: &str = "AWS::ElasticLoadBalancingV2::Listener";
const RULE: &str = "AWS::ElasticLoadBalancingV2::ListenerRule";
const BALANCER: &str = "AWS::ElasticLoadBalancingV2::LoadBalancer";

const ELSEWHERE: &str = "means nothing on one's own machine";

/// Target groups by logical id: the function, or why there is none.
type Groups = BTreeMap<String, Result<Target, String>>;

#[derive(Clone)]
struct Target {
    function: String,
    group: TargetGroup,
}

/// What a listener or a rule does with a request.
enum Action {
    Forward {
        target: Target,
        group: String,
    },
    /// There is nothing that could be done here.
    Refused(String),
}

struct Listener<'a> {
    resource: &'a Resource,
    /// The logical id of its balancer, or what is said instead.
    balancer: String,
    default: Action,
    /// By priority.
    rules: Vec<(i64, Vec<Route>)>,
    /// Whether any of it goes to a function.
    serves: bool,
}

pub fn read(stack: &Stack, builder: &mut Builder) {
    stack.of_kind(BALANCER).for_each(|resource| balancer(resource, builder));
    let mut groups = Groups::new();
    for resource in stack.of_kind(GROUP) {
        groups.insert(resource.logical_id.clone(), group(resource, stack, builder));
    }
    let mut listeners: Vec<Listener<'_>> = Vec::new();
    for resource in stack.of_kind(LISTENER) {
        listeners.push(listener(resource, &groups, stack, builder));
    }
    for resource in stack.of_kind(RULE) {
        rule(resource, &groups, &mut listeners, stack, builder);
    }
    let mut used = Vec::new();
    let mut names: Vec<&str> = Vec::new();
    for listener in &listeners {
        if !names.contains(&listener.balancer.as_str()) {
            names.push(&listener.balancer);
        }
    }
    let apis: Vec<Api> = names
        .into_iter()
        .filter_map(|name| {
            let listeners = listeners.iter().filter(|listener| listener.balancer == name && listener.serves);
            api(name, &listeners.collect::<Vec<_>>(), stack, builder, &mut used)
        })
        .collect();
    builder.reading.apis.extend(apis);
    // A group that nothing forwards to can still be called by its name.
    for (name, target) in &groups {
        let (Ok(target), false) = (target, used.contains(name)) else { continue };
        let Some(resource) = stack.resource(name) else { continue };
        let mut api = begin(name, resource, builder);
        let mut route = Route::new("ANY", "*", integration(target));
        route.source = builder.source(resource.line);
        add(&mut api, vec![route], target);
        builder.reading.apis.push(api);
    }
}

fn begin(name: &str, resource: &Resource, builder: &Builder) -> Api {
    let mut api = Api::new(&convention::id(name), name, Kind::LoadBalancer);
    api.source = builder.source(resource.line);
    api.stages.push(Stage::named(DEFAULT_STAGE));
    api
}

/// The API of a balancer, from those of its listeners that lead to functions.
fn api(
    name: &str,
    listeners: &[&Listener<'_>],
    stack: &Stack,
    builder: &Builder,
    used: &mut Vec<String>,
) -> Option<Api> {
    let first = listeners.first()?;
    let resource = reference::of_kind(stack, BALANCER, name);
    // A balancer of another stack has no name here; its group has.
    let group = listeners.iter().find_map(|listener| match &listener.default {
        Action::Forward { group, .. } => Some(group.as_str()),
        Action::Refused(_) => None,
    });
    let name = match resource {
        Some(resource) => resource.logical_id.as_str(),
        None => group.unwrap_or(&first.resource.logical_id),
    };
    let mut api = begin(name, resource.unwrap_or(first.resource), builder);
    let mut rules: Vec<&(i64, Vec<Route>)> = listeners.iter().flat_map(|listener| &listener.rules).collect();
    rules.sort_by_key(|(priority, _)| *priority);
    for route in rules.into_iter().flat_map(|(_, routes)| routes) {
        api.routes.push(route.clone());
    }
    for listener in listeners {
        // What a fixed response stands for is that there is nothing: so it is without it.
        if matches!(&listener.default, Action::Refused(reason) if reason.contains("`fixed-response`")) {
            continue;
        }
        let mut route = Route::new("ANY", "*", missing(""));
        route.source = builder.source(listener.resource.line);
        carry_out(&listener.default, &mut route);
        api.routes.push(route);
    }
    for listener in listeners {
        used.extend(listener.groups());
    }
    Some(api)
}

impl Listener<'_> {
    /// Logical ids of the groups that it forwards to.
    fn groups(&self) -> Vec<String> {
        let default = match &self.default {
            Action::Forward { group, .. } => Some(group.clone()),
            Action::Refused(_) => None,
        };
        let rules = self.rules.iter().flat_map(|(_, routes)| routes);
        let rules = rules.filter_map(|route| Some(route.target_group.as_ref()?.name.clone()));
        rules.chain(default).collect()
    }
}

fn add(api: &mut Api, routes: Vec<Route>, target: &Target) {
    for mut route in routes {
        route.target_group = Some(target.group.clone());
        api.routes.push(route);
    }
}

fn integration(target: &Target) -> Integration {
    Integration::function(&target.function, PayloadVersion::V1)
}

fn missing(reason: &str) -> Integration {
    Integration { kind: IntegrationKind::Missing { reason: reason.to_owned() }, timeout: None }
}

fn carry_out(action: &Action, route: &mut Route) {
    match action {
        Action::Forward { target, .. } => {
            route.integration = integration(target);
            route.target_group = Some(target.group.clone());
        }
        Action::Refused(reason) => route.integration = missing(reason),
    }
}

/// What it is made of means nothing here; what hangs on it does.
fn balancer(resource: &Resource, builder: &mut Builder) {
    let mut sheet = Sheet::of(resource);
    sheet.text("Name");
    if sheet.choice("Type", &["application", "network", "gateway"]).is_some_and(|kind| kind != "application")
    {
        sheet.refuse("Type", "only an application load balancer can have functions behind it");
    }
    let others = [
        "EnableCapacityReservationProvisionStabilize",
        "EnablePrefixForIpv6SourceNat",
        "EnforceSecurityGroupInboundRulesOnPrivateLinkTraffic",
        "IpAddressType",
        "Ipv4IpamPoolId",
        "LoadBalancerAttributes",
        "MinimumLoadBalancerCapacity",
        "Scheme",
        "SecurityGroups",
        "SubnetMappings",
        "Subnets",
        "Tags",
    ];
    sheet.ignore(&others, ELSEWHERE);
    sheet.finish(builder);
}

fn group(resource: &Resource, stack: &Stack, builder: &mut Builder) -> Result<Target, String> {
    let mut sheet = Sheet::of(resource);
    sheet.text("Name");
    let kind = sheet.text("TargetType").unwrap_or("instance");
    let mut multi_value_headers = false;
    for mut attribute in sheet.each("TargetGroupAttributes") {
        let key = attribute.text("Key").unwrap_or_default();
        match key {
            "lambda.multi_value_headers.enabled" => {
                multi_value_headers = attribute.boolean("Value").unwrap_or(false);
            }
            key => {
                let reason = format!("`{key}` {ELSEWHERE}");
                attribute.ignore(&["Value"], &reason);
            }
        }
        sheet.take_over(attribute);
    }
    let mut functions = Vec::new();
    for mut target in sheet.each("Targets") {
        functions.push(target.text("Id").unwrap_or_default());
        target.ignore(&["AvailabilityZone", "Port", "QuicServerId"], ELSEWHERE);
        sheet.take_over(target);
    }
    let checks = [
        "HealthCheckEnabled",
        "HealthCheckIntervalSeconds",
        "HealthCheckPath",
        "HealthCheckPort",
        "HealthCheckProtocol",
        "HealthCheckTimeoutSeconds",
        "HealthyThresholdCount",
        "Matcher",
        "UnhealthyThresholdCount",
    ];
    sheet.ignore(&checks, "functions are not asked for their health");
    let others =
        ["IpAddressType", "Port", "Protocol", "ProtocolVersion", "Tags", "TargetControlPort", "VpcId"];
    sheet.ignore(&others, ELSEWHERE);
    let target = match (kind, functions.as_slice()) {
        ("lambda", [function]) => reference::function(stack, function).map(|function| Target {
            function,
            group: TargetGroup {
                name: resource.logical_id.clone(),
                arn: arn(resource, stack),
                multi_value_headers,
            },
        }),
        ("lambda", []) => Err("the target group has no function".to_owned()),
        ("lambda", _) => Err("a target group has one function, as on AWS".to_owned()),
        (kind, _) => Err(format!("its targets are of type `{kind}`; only functions can be called")),
    };
    match &target {
        Err(reason) => {
            if kind == "lambda" {
                let word = if sheet.has("Targets") { "Targets" } else { "TargetType" };
                sheet.refuse(word, reason);
            }
            sheet.whole(Status::Ignored, reason);
        }
        Ok(Target { function, .. }) => {
            if let Some(text) = reference::qualified(function) {
                sheet.different("Targets", &text);
            }
        }
    }
    sheet.finish(builder);
    target
}

fn arn(resource: &Resource, stack: &Stack) -> String {
    if resource.arn.starts_with("arn:") {
        return resource.arn.clone();
    }
    let id = convention::id(&resource.logical_id);
    let (region, account) = (&stack.region, &stack.account);
    format!("arn:aws:elasticloadbalancing:{region}:{account}:targetgroup/{}/{id}", resource.logical_id)
}

fn listener<'a>(
    resource: &'a Resource,
    groups: &Groups,
    stack: &Stack,
    builder: &mut Builder,
) -> Listener<'a> {
    let mut sheet = Sheet::of(resource);
    let balancer = sheet.text("LoadBalancerArn").unwrap_or_default();
    let named = reference::of_kind(stack, BALANCER, balancer);
    let balancer = named.map_or(balancer, |resource| resource.logical_id.as_str()).to_owned();
    let default = action(&mut sheet, "DefaultActions", groups, stack);
    sheet.different("Port", "everything is served at the port of the gateway");
    sheet.different("Protocol", "everything is served at the port of the gateway");
    sheet.different("MutualAuthentication", "clients are not asked for certificates");
    sheet.ignore(&["AlpnPolicy", "Certificates", "ListenerAttributes", "SslPolicy", "Tags"], ELSEWHERE);
    let serves = match &default {
        Action::Forward { .. } => true,
        Action::Refused(reason) => {
            sheet.warning(
                sheet.line_of("DefaultActions"),
                format!("its default action is not served: {reason}"),
            );
            sheet.note("DefaultActions", Status::Ignored, reason);
            false
        }
    };
    sheet.finish(builder);
    Listener { resource, balancer, default, rules: Vec::new(), serves }
}

/// The last action is the one that answers; what comes before it asks who it is.
fn action(sheet: &mut Sheet<'_>, name: &'static str, groups: &Groups, stack: &Stack) -> Action {
    let mut actions = Vec::new();
    for mut action in sheet.each(name) {
        let order = action.number("Order", 1..=50_000, "a number from 1 to 50000").unwrap_or(i64::MAX);
        let kind = action.text("Type").unwrap_or_default();
        let mut target = action.text("TargetGroupArn").map(str::to_owned);
        if let Some(mut forward) = action.within("ForwardConfig") {
            target = heaviest(&mut forward).or(target);
            action.take_over(forward);
        }
        let configurations = [
            "AuthenticateCognitoConfig",
            "AuthenticateOidcConfig",
            "FixedResponseConfig",
            "JwtValidationConfig",
            "RedirectConfig",
        ];
        action.ignore(&configurations, "is not supported");
        sheet.take_over(action);
        actions.push((order, kind, target));
    }
    actions.sort_by_key(|(order, ..)| *order);
    if let Some((_, kind, _)) = actions.iter().find(|(_, kind, _)| *kind != "forward") {
        return Action::Refused(format!("the action `{kind}` is not supported; `forward` to a function is"));
    }
    let target = actions.pop().and_then(|(.., target)| target);
    let Some(target) = target else {
        return Action::Refused(format!("`{name}` names no target group"));
    };
    let resource = reference::of_kind(stack, GROUP, &target);
    match resource.and_then(|resource| Some((resource, groups.get(&resource.logical_id)?))) {
        None => Action::Refused(format!("`{target}` is no target group of this template")),
        Some((_, Err(reason))) => Action::Refused(reason.clone()),
        Some((resource, Ok(target))) => {
            Action::Forward { target: target.clone(), group: resource.logical_id.clone() }
        }
    }
}

/// Of several groups the one with the greatest weight serves.
fn heaviest(forward: &mut Sheet<'_>) -> Option<String> {
    let mut groups = Vec::new();
    for mut tuple in forward.each("TargetGroups") {
        let weight = tuple.number("Weight", 0..=999, "a number from 0 to 999").unwrap_or(1);
        groups.extend(tuple.text("TargetGroupArn").map(|target| (weight, target.to_owned())));
        forward.take_over(tuple);
    }
    if groups.len() > 1 {
        forward.different("TargetGroups", "the group with the greatest weight serves all requests");
    }
    forward.ignore(&["TargetGroupStickinessConfig"], "one group serves all requests");
    let heaviest = groups.iter().map(|(weight, _)| *weight).max()?;
    groups.into_iter().find(|(weight, _)| *weight == heaviest).map(|(_, target)| target)
}

fn rule(
    resource: &Resource,
    groups: &Groups,
    listeners: &mut [Listener<'_>],
    stack: &Stack,
    builder: &mut Builder,
) {
    let mut sheet = Sheet::of(resource);
    let id = sheet.text("ListenerArn").unwrap_or_default();
    let listener = reference::of_kind(stack, LISTENER, id);
    let listener = listener
        .and_then(|found| listeners.iter_mut().find(|known| known.resource.logical_id == found.logical_id));
    let priority = sheet.number("Priority", 1..=50_000, "a number from 1 to 50000");
    let action = action(&mut sheet, "Actions", groups, stack);
    let conditions = conditions(&mut sheet);
    sheet.refuse("Transforms", "requests are not rewritten");
    match (listener, conditions) {
        (None, _) => {
            let reason = format!("`{id}` is no listener of this template");
            sheet.refuse("ListenerArn", &reason);
            sheet.whole(Status::Ignored, &reason);
        }
        (Some(_), Err(reason)) => {
            // To serve it without the condition would take what other rules are for.
            sheet.error(sheet.line_of("Conditions"), format!("the rule is not served: {reason}"));
            sheet.note("Conditions", Status::Ignored, &reason);
            sheet.whole(Status::Ignored, &reason);
        }
        (Some(listener), Ok(conditions)) => {
            if let Action::Refused(reason) = &action {
                sheet.error(sheet.line_of("Actions"), format!("its path answers with an error: {reason}"));
                sheet.note("Actions", Status::Ignored, reason);
            }
            listener.serves |= matches!(action, Action::Forward { .. });
            let mut routes = conditions.routes();
            for route in &mut routes {
                route.source = crate::api::Source { path: builder.path.clone(), line: Some(resource.line) };
                carry_out(&action, route);
            }
            listener.rules.push((priority.unwrap_or(i64::MAX), routes));
        }
    }
    sheet.finish(builder);
}

/// What all of a rule's conditions ask for; empty: anything.
#[derive(Default)]
struct Conditions {
    paths: Vec<String>,
    hosts: Vec<String>,
    methods: Vec<String>,
}

impl Conditions {
    /// One route for each path and method.
    fn routes(self) -> Vec<Route> {
        let or = |texts: Vec<String>, any: &str| if texts.is_empty() { vec![any.to_owned()] } else { texts };
        let (paths, methods) = (or(self.paths, "*"), or(self.methods, "ANY"));
        let mut routes = Vec::new();
        for path in &paths {
            for method in &methods {
                let mut route = Route::new(method, path, missing(""));
                route.hosts.clone_from(&self.hosts);
                routes.push(route);
            }
        }
        routes
    }
}

fn conditions(sheet: &mut Sheet<'_>) -> Result<Conditions, String> {
    let mut conditions = Conditions::default();
    let mut refused = None;
    for mut condition in sheet.each("Conditions") {
        let field = condition.text("Field").unwrap_or_default();
        let mut values = condition.list("Values");
        for (name, of) in [
            ("PathPatternConfig", "path-pattern"),
            ("HostHeaderConfig", "host-header"),
            ("HttpRequestMethodConfig", "http-request-method"),
        ] {
            let Some(mut inner) = condition.within(name) else { continue };
            if field == of {
                values.extend(inner.list("Values"));
            }
            if inner.has("RegexValues") {
                inner.refuse("RegexValues", "regular expressions are not supported");
                refused.get_or_insert(format!("`RegexValues` of its condition `{of}` are not supported"));
            }
            condition.take_over(inner);
        }
        condition.ignore(&["HttpHeaderConfig", "QueryStringConfig", "SourceIpConfig"], "is not supported");
        if condition.has("RegexValues") {
            condition.refuse("RegexValues", "regular expressions are not supported");
            refused.get_or_insert(format!("`RegexValues` of its condition `{field}` are not supported"));
        }
        let list = match field {
            "path-pattern" => &mut conditions.paths,
            "host-header" => &mut conditions.hosts,
            "http-request-method" => &mut conditions.methods,
            other => {
                refused.get_or_insert(format!("its condition `{other}` is not supported"));
                sheet.take_over(condition);
                continue;
            }
        };
        if values.is_empty() {
            refused.get_or_insert(format!("its condition `{field}` has no values"));
        } else if !list.is_empty() {
            refused.get_or_insert(format!("it has more than one condition `{field}`"));
        }
        list.extend(values);
        sheet.take_over(condition);
    }
    match refused {
        Some(reason) => Err(reason),
        None => Ok(conditions),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::fixture::{findings, problems, read, routes};

    const FUNCTIONS: &str = "
F: {Type: 'AWS::Lambda::Function', Properties: {Handler: a.b, Code: {ZipFile: x}}}
G: {Type: 'AWS::Lambda::Function', Properties: {Handler: a.b, Code: {ZipFile: x}}}
Front: {Type: 'AWS::ElasticLoadBalancingV2::LoadBalancer', Properties: {Subnets: [a, b], Type: application}}
ToF: {Type: 'AWS::ElasticLoadBalancingV2::TargetGroup', Properties: {TargetType: lambda, Targets: [{Id: '${F.Arn}'}]}}
ToG:
  Type: AWS::ElasticLoadBalancingV2::TargetGroup
  Properties:
    TargetType: lambda
    Targets: [{Id: '${G.Arn}'}]
    HealthCheckEnabled: true
    TargetGroupAttributes: [{Key: lambda.multi_value_headers.enabled, Value: 'true'}, {Key: other, Value: x}]
";

    #[test]
    fn rules_by_priority_then_the_default() {
        let builder = read(&format!(
            "{FUNCTIONS}
Secure:
  Type: AWS::ElasticLoadBalancingV2::Listener
  Properties: {{LoadBalancerArn: '${{Front}}', Port: 443, Protocol: HTTPS, DefaultActions: [{{Type: forward, TargetGroupArn: '${{ToF}}'}}]}}
Plain:
  Type: AWS::ElasticLoadBalancingV2::Listener
  Properties: {{LoadBalancerArn: '${{Front}}', Port: 80, DefaultActions: [{{Type: redirect, RedirectConfig: {{Protocol: HTTPS}}}}]}}
Late:
  Type: AWS::ElasticLoadBalancingV2::ListenerRule
  Properties:
    ListenerArn: ${{Secure}}
    Priority: 20
    Conditions: [{{Field: path-pattern, Values: [/api/*]}}, {{Field: host-header, HostHeaderConfig: {{Values: ['*.example.com']}}}}]
    Actions: [{{Type: forward, TargetGroupArn: '${{ToG}}'}}]
Early:
  Type: AWS::ElasticLoadBalancingV2::ListenerRule
  Properties:
    ListenerArn: ${{Secure}}
    Priority: 3
    Conditions: [{{Field: path-pattern, PathPatternConfig: {{Values: [/a, /b]}}}}, {{Field: http-request-method, HttpRequestMethodConfig: {{Values: [GET]}}}}]
    Actions:
      - Type: forward
        ForwardConfig: {{TargetGroups: [{{TargetGroupArn: '${{ToF}}', Weight: 1}}, {{TargetGroupArn: '${{ToG}}', Weight: 9}}]}}
Login:
  Type: AWS::ElasticLoadBalancingV2::ListenerRule
  Properties:
    ListenerArn: ${{Secure}}
    Priority: 5
    Conditions: [{{Field: path-pattern, Values: [/me]}}]
    Actions: [{{Type: authenticate-oidc, Order: 1, AuthenticateOidcConfig: {{}}}}, {{Type: forward, Order: 2, TargetGroupArn: '${{ToF}}'}}]
Query:
  Type: AWS::ElasticLoadBalancingV2::ListenerRule
  Properties:
    ListenerArn: ${{Secure}}
    Priority: 1
    Conditions: [{{Field: query-string, QueryStringConfig: {{Values: [{{Key: a, Value: b}}]}}}}]
    Actions: [{{Type: forward, TargetGroupArn: '${{ToG}}'}}]
"
        ));
        let [api] = builder.reading.apis.as_slice() else { panic!("{:#?}", builder.reading.apis) };
        assert_eq!((api.name.as_str(), api.stages.len()), ("Front", 1));
        assert_eq!(
            routes(api),
            [
                "GET /a -> G V1",
                "GET /b -> G V1",
                "ANY /me -> missing: the action `authenticate-oidc` is not supported; `forward` to a function is",
                "ANY /api/* -> G V1, hosts *.example.com",
                "ANY * -> F V1",
            ]
        );
        let group = |index: usize| api.routes[index].target_group.as_ref().unwrap();
        assert!(group(0).multi_value_headers && !group(4).multi_value_headers);
        assert!(group(4).arn.ends_with("ToF/1"), "{:?}", group(4));
        let problems = problems(&builder);
        for line in [
            "`Plain`: its default action is not served: the action `redirect` is not supported",
            "`Login`: its path answers with an error: the action `authenticate-oidc`",
            "`Query`: the rule is not served: its condition `query-string` is not supported",
        ] {
            assert!(problems.iter().any(|known| known.contains(line)), "{line}: {problems:#?}");
        }
        let lines = findings(&builder);
        let weights = "the group with the greatest weight serves all requests";
        assert!(lines.iter().any(|line| line.ends_with(weights)), "{lines:#?}");
    }

    #[test]
    fn a_group_alone_can_be_called_by_its_name() {
        let builder = read(FUNCTIONS);
        let [one, two] = builder.reading.apis.as_slice() else { panic!() };
        assert_eq!((one.name.as_str(), routes(one)), ("ToF", vec!["ANY * -> F V1".to_owned()]));
        let group = two.routes[0].target_group.as_ref().unwrap();
        assert!(group.multi_value_headers && group.arn.ends_with("ToG/1"), "{two:?}");
    }

    #[test]
    fn a_balancer_of_another_stack_is_called_as_its_group() {
        let builder = read(&format!(
            "{FUNCTIONS}
L:
  Type: AWS::ElasticLoadBalancingV2::Listener
  Properties: {{LoadBalancerArn: 'arn:elsewhere', Port: 80, DefaultActions: [{{Type: fixed-response, FixedResponseConfig: {{StatusCode: '404'}}}}]}}
R:
  Type: AWS::ElasticLoadBalancingV2::ListenerRule
  Properties: {{ListenerArn: '${{L}}', Priority: 1, Conditions: [{{Field: path-pattern, Values: [/x]}}], Actions: [{{Type: forward, TargetGroupArn: '${{ToF}}'}}]}}
Bad: {{Type: 'AWS::ElasticLoadBalancingV2::TargetGroup', Properties: {{TargetType: lambda, Targets: [{{Id: gone}}]}}}}
Machines: {{Type: 'AWS::ElasticLoadBalancingV2::TargetGroup', Properties: {{TargetType: ip, Port: 80}}}}
"
        ));
        let names: Vec<&str> = builder.reading.apis.iter().map(|api| api.name.as_str()).collect();
        assert_eq!(names, ["L", "ToG"]);
        assert_eq!(routes(&builder.reading.apis[0]), ["ANY /x -> F V1"]);
        let problems = problems(&builder);
        assert!(problems.iter().any(|line| line.contains("`Bad`: `gone` is no function")), "{problems:#?}");
        let lines = findings(&builder);
        let machines = "its targets are of type `ip`; only functions can be called";
        assert!(lines.iter().any(|line| line.ends_with(machines)), "{lines:#?}");
    }
}
