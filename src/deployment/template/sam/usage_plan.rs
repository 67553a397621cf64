//! `Auth.UsagePlan`: the plan and the key that SAM makes for an API.

use super::super::super::Severity;
use super::super::super::convention;
use super::super::section::Section;
use super::super::{Builder, Resource, Status};
use super::throttle;
use crate::api::{Api, ApiKey, Period, Quota, UsagePlan};

pub fn read(resource: &Resource, api: &mut Api, builder: &mut Builder) {
    let Some(auth) = Section::properties(resource).get("Auth") else { return };
    let auth = Section { node: auth, at: "Auth".to_owned() };
    if auth.node.mapping().is_none() {
        return;
    }
    let Some(plan) = auth.section("UsagePlan", builder) else { return };
    plan.only(&["CreateUsagePlan", "Description", "Quota", "Tags", "Throttle", "UsagePlanName"], builder);
    // A shared plan has one key for all APIs of the template.
    let (name, key) = match plan.word("CreateUsagePlan", &["PER_API", "SHARED", "NONE"], builder) {
        Some("PER_API") => {
            (format!("{}UsagePlan", resource.logical_id), format!("{}ApiKey", resource.logical_id))
        }
        Some("SHARED") => ("ServerlessUsagePlan".to_owned(), "ServerlessApiKey".to_owned()),
        Some(_) => return,
        None => {
            if plan.get("CreateUsagePlan").is_none() {
                plan.error("", "`Auth.UsagePlan` needs `CreateUsagePlan`: PER_API, SHARED or NONE", builder);
            }
            return;
        }
    };
    let name = plan.text("UsagePlanName", builder).map_or(name, str::to_owned);
    let origin = format!("{}#{key}", builder.path.display());
    let value = convention::letters(&origin, 40);
    let text = format!("the key that AWS would make up is here `{value}`, to be sent as `x-api-key`");
    builder.finding(Status::Different, resource, &plan.at, auth.line("UsagePlan"), &text);
    let throttle = plan.section("Throttle", builder).and_then(|section| {
        section.only(&["BurstLimit", "RateLimit"], builder);
        throttle::limits(&section, "RateLimit", "BurstLimit", builder)
    });
    let quota = plan.section("Quota", builder).and_then(|section| quota(&section, builder));
    let key = ApiKey { id: convention::id(&origin), name: key, value, enabled: true };
    api.usage_plans.push(UsagePlan { name, stages: Vec::new(), keys: vec![key], throttle, quota });
}

fn quota(section: &Section<'_>, builder: &mut Builder) -> Option<Quota> {
    section.only(&["Limit", "Offset", "Period"], builder);
    let limit = section.number("Limit", 0, i64::MAX, builder);
    let period = match section.word("Period", &["DAY", "WEEK", "MONTH"], builder) {
        Some("DAY") => Some(Period::Day),
        Some("WEEK") => Some(Period::Week),
        Some(_) => Some(Period::Month),
        None => None,
    };
    let (Some(limit), Some(period)) = (limit, period) else {
        let text = format!("`{}` needs a `Limit` and a `Period`", section.at);
        builder.problem(Severity::Error, section.node.line, text);
        return None;
    };
    let longest = match period {
        Period::Day => 0,
        Period::Week => 6,
        Period::Month => 27,
    };
    let offset = section.number("Offset", 0, longest, builder).unwrap_or(0) as u32;
    Some(Quota { limit: limit as u64, period, offset })
}
