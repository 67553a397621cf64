//! API keys, and the usage plans that they are in. What has been used is kept in memory: a gateway
//! that starts again begins at zero.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Instant;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use sha2::{Digest, Sha256};

use super::super::error::GatewayError;
use super::super::request::{AcceptedKey, Matched};
use super::throttle::{self, Throttles};
use crate::api::{ApiKey, Period, Quota, UsagePlan};

/// Counters of keys; old deployments leave theirs behind.
const COUNTERS: usize = 10_000;

/// Requests by plan and key, and the day on which their period began.
#[derive(Default)]
pub struct Quotas(Mutex<HashMap<String, (Date, u64)>>);

#[derive(Clone, Copy)]
pub struct Clock {
    pub now: Instant,
    pub date: Timestamp,
}

/// The key that was given, if it is one that may be used here and now.
pub fn check(
    throttles: &Throttles,
    quotas: &Quotas,
    matched: &Matched,
    given: Option<&str>,
    clock: Clock,
) -> Result<AcceptedKey, GatewayError> {
    let refuse = |reason: &str| Err(GatewayError::InvalidApiKey(reason.to_owned()));
    let Some(given) = given.filter(|given| !given.is_empty()) else {
        return refuse("the method needs an API key\nhint: send it as `x-api-key`");
    };
    let Some((plan, key)) = find(matched, given) else {
        return refuse("no usage plan of this stage has the API key");
    };
    if !key.enabled {
        return refuse(&format!("the API key `{}` is disabled", key.name));
    }
    let name = format!("usage plan {}/{} key {}", matched.api.id, plan.name, key.id);
    if let Some(limit) = plan.throttle
        && !throttles.take(&name, limit, clock.now)
    {
        return Err(GatewayError::TooManyRequests(throttle::told(&name, limit)));
    }
    if let Some(quota) = &plan.quota
        && !quotas.count(&name, quota, clock.date)
    {
        let period = match quota.period {
            Period::Day => "day",
            Period::Week => "week",
            Period::Month => "month",
        };
        let told = format!("{name} has used its {} requests of this {period}", quota.limit);
        return Err(GatewayError::QuotaExceeded(told));
    }
    Ok(AcceptedKey { id: key.id.clone(), value: key.value.clone() })
}

fn find<'a>(matched: &'a Matched, given: &str) -> Option<(&'a UsagePlan, &'a ApiKey)> {
    let stage = &matched.stage().name;
    let here = |plan: &&UsagePlan| plan.stages.is_empty() || plan.stages.contains(stage);
    let keys = matched
        .api
        .usage_plans
        .iter()
        .filter(here)
        .flat_map(|plan| plan.keys.iter().map(move |key| (plan, key)));
    // Of two plans the one whose key is enabled.
    // By their hashes, so that the time it takes tells nothing about the values.
    let given = Sha256::digest(given.as_bytes());
    let mut fitting: Vec<_> = keys.filter(|(_, key)| Sha256::digest(key.value.as_bytes()) == given).collect();
    fitting.sort_by_key(|(_, key)| !key.enabled);
    fitting.first().copied()
}

impl Quotas {
    /// Whether one more is within the quota.
    fn count(&self, name: &str, quota: &Quota, date: Timestamp) -> bool {
        let start = period_start(quota, date);
        let mut counters = self.0.lock().unwrap();
        if counters.len() >= COUNTERS && !counters.contains_key(name) {
            counters.retain(|_, (began, _)| *began >= start);
            if counters.len() >= COUNTERS {
                counters.clear();
            }
        }
        let (began, used) = counters.entry(name.to_owned()).or_insert((start, 0));
        if *began != start {
            (*began, *used) = (start, 0);
        }
        let within = *used < quota.limit;
        if within {
            *used += 1;
        }
        within
    }
}

/// The day, in UTC, on which the period of this moment began. A week begins on Sunday, a month on its
/// first day, both so many days later as the offset says.
fn period_start(quota: &Quota, date: Timestamp) -> Date {
    let today = date.to_zoned(TimeZone::UTC).date();
    let before = |days: i64| today.checked_sub(days.days()).unwrap_or(today);
    match quota.period {
        Period::Day => today,
        Period::Week => {
            let since_sunday = i64::from(today.weekday().to_sunday_zero_offset());
            let offset = i64::from(quota.offset % 7);
            before((since_sunday - offset).rem_euclid(7))
        }
        Period::Month => {
            let day = 1 + (quota.offset % 28) as i8;
            let here = today.with().day(day).build().unwrap_or(today);
            match here <= today {
                true => here,
                false => here.checked_sub(1.month()).unwrap_or(here),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::fixture;
    use super::*;
    use crate::api::{Kind, Throttle};

    fn key(id: &str, value: &str, enabled: bool) -> ApiKey {
        ApiKey { id: id.into(), name: id.into(), value: value.into(), enabled }
    }

    fn plan(name: &str, stages: &[&str], keys: Vec<ApiKey>) -> UsagePlan {
        let stages = stages.iter().map(|stage| (*stage).to_owned()).collect();
        UsagePlan { name: name.into(), stages, keys, throttle: None, quota: None }
    }

    fn matched(plans: Vec<UsagePlan>) -> Matched {
        let mut api = fixture::api(Kind::Rest, "prod", &["GET /items"]);
        api.usage_plans = plans;
        fixture::matched(api, "/items")
    }

    fn clock(date: &str) -> Clock {
        Clock { now: Instant::now(), date: date.parse().unwrap() }
    }

    fn ask(matched: &Matched, given: Option<&str>) -> String {
        let (throttles, quotas) = (Throttles::default(), Quotas::default());
        match check(&throttles, &quotas, matched, given, clock("2026-02-01T00:00:00Z")) {
            Ok(key) => key.id,
            Err(GatewayError::InvalidApiKey(_)) => "403".to_owned(),
            Err(error) => format!("{error:?}"),
        }
    }

    #[test]
    fn only_an_enabled_key_of_a_plan_of_this_stage_is_taken() {
        let plans = vec![
            plan("other", &["test"], vec![key("k1", "value-of-another-stage", true)]),
            plan("all", &[], vec![key("k2", "value-for-all", true), key("k3", "value-off", false)]),
            plan("mine", &["prod"], vec![key("k4", "value-for-prod", true), key("k5", "value-off", true)]),
        ];
        let matched = matched(plans);
        for (given, expected) in [
            (None, "403"),
            (Some(""), "403"),
            (Some("value-of-another-stage"), "403"),
            (Some("value-for-all"), "k2"),
            (Some("value-for-prod"), "k4"),
            (Some("value-off"), "k5"),
            (Some("value-for-PROD"), "403"),
        ] {
            assert_eq!(ask(&matched, given), expected, "{given:?}");
        }
        assert_eq!(ask(&super::tests::matched(Vec::new()), Some("x")), "403");
        let off = super::tests::matched(vec![plan("p", &[], vec![key("k", "value-off", false)])]);
        assert_eq!(ask(&off, Some("value-off")), "403");
    }

    #[test]
    fn each_key_has_its_own_rate_and_quota() {
        let mut plan = plan("gold", &[], vec![key("a", "key-a", true), key("b", "key-b", true)]);
        plan.throttle = Some(Throttle { rate: 1.0, burst: 2 });
        plan.quota = Some(Quota { limit: 3, period: Period::Day, offset: 0 });
        let matched = matched(vec![plan]);
        let (throttles, quotas) = (Throttles::default(), Quotas::default());
        let start = clock("2026-02-01T23:59:58Z");
        let ask = |key, seconds: i64| {
            let clock = Clock {
                now: start.now + Duration::from_secs(seconds as u64),
                date: start.date + seconds.seconds(),
            };
            match check(&throttles, &quotas, &matched, Some(key), clock) {
                Ok(_) => "ok",
                Err(GatewayError::TooManyRequests(_)) => "throttled",
                Err(GatewayError::QuotaExceeded(_)) => "quota",
                Err(_) => "?",
            }
        };
        assert_eq!([ask("key-a", 0), ask("key-a", 0), ask("key-a", 0)], ["ok", "ok", "throttled"]);
        assert_eq!(ask("key-b", 0), "ok");
        assert_eq!([ask("key-a", 1), ask("key-a", 1)], ["ok", "throttled"]);
        assert_eq!(ask("key-a", 2), "ok", "a new day");
        assert_eq!([ask("key-a", 60), ask("key-a", 120), ask("key-a", 180)], ["ok", "ok", "quota"]);
        assert_eq!(ask("key-b", 180), "ok");
    }

    #[test]
    fn periods_begin_where_their_offset_says() {
        for (period, offset, date, expected) in [
            (Period::Day, 0, "2026-02-05T23:59:59Z", "2026-02-05"),
            // The first of February 2026 is a Sunday.
            (Period::Week, 0, "2026-02-01T00:00:00Z", "2026-02-01"),
            (Period::Week, 0, "2026-02-07T12:00:00Z", "2026-02-01"),
            (Period::Week, 2, "2026-02-02T12:00:00Z", "2026-01-27"),
            (Period::Week, 2, "2026-02-03T00:00:00Z", "2026-02-03"),
            (Period::Month, 0, "2026-02-28T12:00:00Z", "2026-02-01"),
            (Period::Month, 9, "2026-03-09T12:00:00Z", "2026-02-10"),
            (Period::Month, 9, "2026-03-10T12:00:00Z", "2026-03-10"),
            (Period::Month, 9, "2026-01-01T12:00:00Z", "2025-12-10"),
        ] {
            let quota = Quota { limit: 1, period, offset };
            let start = period_start(&quota, date.parse().unwrap());
            assert_eq!(start.to_string(), expected, "{period:?} {offset} {date}");
        }
    }
}
