//! How many requests a stage, a route or an API key may make: token buckets.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Instant;

use super::super::error::GatewayError;
use super::super::request::Matched;
use crate::api::{Stage, Throttle};

/// Buckets are named by what templates say; old deployments leave theirs behind.
const BUCKETS: usize = 10_000;

#[derive(Default)]
pub struct Throttles(Mutex<HashMap<String, Bucket>>);

struct Bucket {
    tokens: f64,
    throttle: Throttle,
    at: Instant,
}

impl Throttles {
    /// A route's own throttle stands in for the stage's, which all others share.
    pub fn check_stage(&self, matched: &Matched, now: Instant) -> Result<(), GatewayError> {
        let stage = matched.stage();
        let key = matched.route().key();
        let place = format!("{}/{}", matched.api.id, stage.name);
        let (name, throttle) = match of_route(stage, &key) {
            Some((entry, throttle)) => (format!("route {place} {entry}"), throttle),
            None => match stage.throttle {
                Some(throttle) => (format!("stage {place}"), throttle),
                None => return Ok(()),
            },
        };
        match self.take(&name, throttle, now) {
            true => Ok(()),
            false => Err(GatewayError::TooManyRequests(told(&name, throttle))),
        }
    }

    /// Takes a token out of this bucket, if there is one.
    pub fn take(&self, name: &str, throttle: Throttle, now: Instant) -> bool {
        let mut buckets = self.0.lock().unwrap();
        if buckets.len() >= BUCKETS && !buckets.contains_key(name) {
            // A full bucket is as good as none.
            buckets.retain(|_, bucket| {
                bucket.refill(now);
                bucket.tokens < f64::from(bucket.throttle.burst)
            });
            if buckets.len() >= BUCKETS {
                buckets.clear();
            }
        }
        let full = || Bucket { tokens: f64::from(throttle.burst), throttle, at: now };
        let bucket = buckets.entry(name.to_owned()).or_insert_with(full);
        if bucket.throttle != throttle {
            *bucket = full();
        }
        bucket.take(now)
    }
}

/// What the terminal says.
pub fn told(name: &str, throttle: Throttle) -> String {
    format!("throttled: {name} takes {} requests a second, {} at once", throttle.rate, throttle.burst)
}

impl Bucket {
    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        let rate = if self.throttle.rate.is_finite() { self.throttle.rate.max(0.0) } else { 0.0 };
        self.tokens = (self.tokens + passed * rate).min(f64::from(self.throttle.burst));
        self.at = self.at.max(now);
    }

    fn take(&mut self, now: Instant) -> bool {
        self.refill(now);
        let enough = self.tokens >= 1.0 && self.throttle.rate > 0.0;
        if enough {
            self.tokens -= 1.0;
        }
        enough
    }
}

/// The entry that means this route most closely, and its throttle.
fn of_route<'a>(stage: &'a Stage, key: &str) -> Option<(&'a str, Throttle)> {
    if stage.route_throttles.is_empty() {
        return None;
    }
    let (method, path) = key.split_once(' ').unwrap_or(("", key));
    let names = [
        key.to_owned(),
        format!("* {path}"),
        format!("ANY {path}"),
        format!("{method} /*"),
        format!("{method} *"),
        "* /*".to_owned(),
        "* *".to_owned(),
        "*".to_owned(),
    ];
    let found = names.iter().find_map(|name| stage.route_throttles.get_key_value(name.as_str()));
    found.map(|(name, throttle)| (name.as_str(), *throttle))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::fixture;
    use super::*;
    use crate::api::Kind;

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let throttles = Throttles::default();
        let throttle = Throttle { rate: 2.0, burst: 3 };
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let taken: Vec<bool> = [0, 0, 0, 0, 499, 500, 501, 1000, 60_000, 60_000, 60_000, 60_000]
            .map(|ms| throttles.take("a", throttle, at(ms)))
            .into();
        let expected = [true, true, true, false, false, true, false, true, true, true, true, false];
        assert_eq!(taken, expected);
        assert!(throttles.take("b", throttle, at(60_000)), "buckets know nothing of each other");
    }

    #[test]
    fn nothing_is_let_through_by_nothing() {
        let throttles = Throttles::default();
        let now = Instant::now();
        for (rate, burst) in [(0.0, 5), (5.0, 0), (f64::NAN, 5), (-1.0, 5)] {
            assert!(!throttles.take("a", Throttle { rate, burst }, now), "{rate} {burst}");
        }
        assert!(throttles.take("a", Throttle { rate: 1.0, burst: 1 }, now), "another configuration");
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing() {
        let throttles = Throttles::default();
        let throttle = Throttle { rate: 1.0, burst: 1 };
        let start = Instant::now() + Duration::from_secs(10);
        assert!(throttles.take("a", throttle, start));
        assert!(!throttles.take("a", throttle, start - Duration::from_secs(5)));
        assert!(!throttles.take("a", throttle, start));
    }

    #[test]
    fn buckets_are_bounded() {
        let throttles = Throttles::default();
        let now = Instant::now();
        for index in 0..BUCKETS + 10 {
            throttles.take(&index.to_string(), Throttle { rate: 1.0, burst: 2 }, now);
        }
        assert!(throttles.0.lock().unwrap().len() <= BUCKETS);
    }

    #[test]
    fn a_routes_own_throttle_counts_before_the_stages() {
        let mut api = fixture::api(Kind::Rest, "prod", &["GET /items", "GET /other", "POST /items"]);
        api.stages[0].throttle = Some(Throttle { rate: 1.0, burst: 1 });
        api.stages[0].route_throttles.insert("GET /items".into(), Throttle { rate: 1.0, burst: 2 });
        let mut matched = fixture::matched(api, "/items");
        let throttles = Throttles::default();
        let now = Instant::now();
        let mut asked = |route| {
            matched.route = route;
            throttles.check_stage(&matched, now).is_ok()
        };
        assert_eq!([asked(0), asked(0), asked(0)], [true, true, false]);
        assert_eq!([asked(1), asked(2)], [true, false], "these two share the stage's bucket");
    }

    #[test]
    fn stars_stand_for_any() {
        let some = Throttle { rate: 1.0, burst: 1 };
        for (entry, key, fits) in [
            ("GET /items", "GET /items", true),
            ("* /items", "GET /items", true),
            ("GET /*", "GET /items", true),
            ("* /*", "GET /items", true),
            ("*", "GET /items", true),
            ("$default", "$default", true),
            ("*", "$connect", true),
            ("POST /items", "GET /items", false),
            ("* /item", "GET /items", false),
        ] {
            let mut stage = Stage::named("prod");
            stage.route_throttles.insert(entry.into(), some);
            assert_eq!(of_route(&stage, key).is_some(), fits, "{entry} {key}");
        }
    }
}
