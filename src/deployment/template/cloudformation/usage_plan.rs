//! API keys and usage plans.

use std::collections::BTreeMap;

use super::super::sheet::Sheet;
use super::super::{Builder, Resource, Stack, Status, reference, throttle};
use crate::api::{ApiKey, Period, Quota, UsagePlan};
use crate::deployment::convention;

const KEY: &str = "AWS::ApiGateway::ApiKey";
const PLAN: &str = "AWS::ApiGateway::UsagePlan";

pub fn read(stack: &Stack, builder: &mut Builder) {
    let mut keys = BTreeMap::new();
    for resource in stack.of_kind(KEY) {
        keys.insert(resource.logical_id.clone(), key(resource, builder));
    }
    // By the logical id of the plan.
    let mut members: BTreeMap<String, Vec<ApiKey>> = BTreeMap::new();
    for resource in stack.of_kind("AWS::ApiGateway::UsagePlanKey") {
        if let Some((plan, key)) = membership(resource, &keys, stack, builder) {
            members.entry(plan).or_default().push(key);
        }
    }
    for resource in stack.of_kind(PLAN) {
        let keys = members.remove(&resource.logical_id).unwrap_or_default();
        plan(resource, keys, stack, builder);
    }
}

fn key(resource: &Resource, builder: &mut Builder) -> ApiKey {
    let mut sheet = Sheet::of(resource);
    let name = sheet.text("Name").unwrap_or(&resource.logical_id).to_owned();
    sheet.text("Description");
    let value = match sheet.text("Value") {
        Some(value) if (20..=128).contains(&value.len()) => value.to_owned(),
        Some(value) => {
            let text = format!("an API key has 20 to 128 characters; this one has {}", value.len());
            sheet.error(sheet.line_of("Value"), &text);
            value.to_owned()
        }
        None => {
            let value = generated(&resource.logical_id);
            sheet.whole(Status::Different, &format!("AWS makes up a value; here it is `{value}`"));
            value
        }
    };
    let enabled = sheet.boolean("Enabled");
    if enabled.is_none() {
        sheet.warning(
            resource.line,
            "`Enabled: true` is missing: without it a key is not accepted, as on AWS",
        );
    }
    sheet.ignore(&["StageKeys"], "keys belong to usage plans");
    sheet.ignore(&["CustomerId", "GenerateDistinctId", "Tags"], "means nothing on one's own machine");
    sheet.finish(builder);
    ApiKey { id: convention::id(&resource.logical_id), name, value, enabled: enabled.unwrap_or(false) }
}

/// Forty characters, always the same ones.
fn generated(logical_id: &str) -> String {
    (0..4).map(|part| convention::id(&format!("{logical_id}/{part}"))).collect()
}

fn membership(
    resource: &Resource,
    keys: &BTreeMap<String, ApiKey>,
    stack: &Stack,
    builder: &mut Builder,
) -> Option<(String, ApiKey)> {
    let mut sheet = Sheet::of(resource);
    let id = sheet.text("KeyId").unwrap_or_default();
    let key = reference::of_kind(stack, KEY, id).and_then(|resource| keys.get(&resource.logical_id));
    if key.is_none() {
        sheet.refuse("KeyId", &format!("`{id}` is no API key of this template"));
    }
    let id = sheet.text("UsagePlanId").unwrap_or_default();
    let plan = reference::of_kind(stack, PLAN, id);
    if plan.is_none() {
        sheet.refuse("UsagePlanId", &format!("`{id}` is no usage plan of this template"));
    }
    sheet.choice("KeyType", &["API_KEY"]);
    sheet.finish(builder);
    Some((plan?.logical_id.clone(), key?.clone()))
}

fn plan(resource: &Resource, keys: Vec<ApiKey>, stack: &Stack, builder: &mut Builder) {
    let mut sheet = Sheet::of(resource);
    let name = sheet.text("UsagePlanName").unwrap_or(&resource.logical_id).to_owned();
    sheet.text("Description");
    let throttle = sheet.within("Throttle").and_then(|mut inner| {
        let throttle = throttle::read(&mut inner, "RateLimit", "BurstLimit");
        sheet.take_over(inner);
        throttle
    });
    let quota = sheet.within("Quota").and_then(|mut inner| {
        let quota = quota(&mut inner);
        sheet.take_over(inner);
        quota
    });
    sheet.ignore(&["Tags"], "means nothing on one's own machine");
    // By API: the stages.
    let mut stages: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for mut inner in sheet.each("ApiStages") {
        let id = inner.text("ApiId").unwrap_or_default();
        let stage = inner.text("Stage").unwrap_or_default();
        match reference::api(stack, builder, id) {
            None => inner.refuse("ApiId", &format!("`{id}` is no API of this template")),
            Some(index) if builder.reading.apis[index].stages.iter().all(|known| known.name != stage) => {
                let name = &builder.reading.apis[index].name;
                inner.refuse("Stage", &format!("`{stage}` is no stage of `{name}`"));
            }
            Some(index) => stages.entry(index).or_default().push(stage.to_owned()),
        }
        inner.different(
            "Throttle",
            "limits of single methods within a plan do not count; those of the plan do",
        );
        sheet.take_over(inner);
    }
    if stages.len() > 1 {
        sheet.different("ApiStages", "limits are counted for each API apart");
    }
    if stages.is_empty() {
        sheet.whole(Status::Ignored, "it belongs to no API");
    }
    for (index, stages) in stages {
        let (name, keys, quota) = (name.clone(), keys.clone(), quota.clone());
        builder.reading.apis[index].usage_plans.push(UsagePlan { name, stages, keys, throttle, quota });
    }
    sheet.finish(builder);
}

pub fn quota(sheet: &mut Sheet<'_>) -> Option<Quota> {
    let limit = sheet.number("Limit", 0..=i64::MAX, "a number of requests");
    let offset = sheet.number("Offset", 0..=28, "a number of days from 0 to 28");
    let period = sheet.choice("Period", &["DAY", "WEEK", "MONTH"]);
    let period = match period? {
        "DAY" => Period::Day,
        "WEEK" => Period::Week,
        _ => Period::Month,
    };
    Some(Quota { limit: limit?.unsigned_abs(), period, offset: offset.unwrap_or(0) as u32 })
}

#[cfg(test)]
mod tests {
    use super::super::super::fixture::{findings, problems, read};

    #[test]
    fn what_does_not_fit_together_is_said() {
        let builder = read(
            "A: {Type: 'AWS::ApiGateway::RestApi', Properties: {Name: a}}
D: {Type: 'AWS::ApiGateway::Deployment', Properties: {RestApiId: '${A}', StageName: s}}
K: {Type: 'AWS::ApiGateway::ApiKey', Properties: {Enabled: true}}
Off: {Type: 'AWS::ApiGateway::ApiKey', Properties: {Value: short}}
P: {Type: 'AWS::ApiGateway::UsagePlan', Properties: {ApiStages: [{ApiId: '${A}', Stage: s, Throttle: {}}, {ApiId: '${A}', Stage: t}, {ApiId: gone, Stage: s}]}}
M: {Type: 'AWS::ApiGateway::UsagePlanKey', Properties: {KeyId: '${K}', KeyType: API_KEY, UsagePlanId: '${P}'}}
N: {Type: 'AWS::ApiGateway::UsagePlanKey', Properties: {KeyId: gone, KeyType: API_KEY, UsagePlanId: '${P}'}}
Q: {Type: 'AWS::ApiGateway::UsagePlan', Properties: {UsagePlanName: q}}
",
        );
        let plans = &builder.reading.apis[0].usage_plans;
        assert_eq!(plans.len(), 1);
        assert_eq!((plans[0].name.as_str(), plans[0].stages.as_slice()), ("P", &["s".to_owned()][..]));
        let key = &plans[0].keys[0];
        assert_eq!((plans[0].keys.len(), key.value.len(), key.id.len()), (1, 40, 10));
        let expected = format!("3 Different  AWS makes up a value; here it is `{}`", key.value);
        let lines = findings(&builder);
        assert!(lines.contains(&expected), "{lines:#?}");
        assert!(lines.contains(&"8 Ignored  it belongs to no API".into()), "{lines:#?}");
        let problems = problems(&builder);
        for line in [
            "4 `Off`: an API key has 20 to 128 characters; this one has 5",
            "4 `Off`: `Enabled: true` is missing",
            "5 `P`: `t` is no stage of `A`",
            "5 `P`: `gone` is no API of this template",
            "7 `N`: `gone` is no API key of this template",
        ] {
            assert!(problems.iter().any(|known| known.starts_with(line)), "{line}: {problems:#?}");
        }
    }
}
