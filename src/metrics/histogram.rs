//! Durations in log-linear buckets: eight to each power of two of microseconds, so that a percentile is
//! wrong by a sixteenth at most, and only buckets that hold something are kept.

use std::time::Duration;

/// Bits of a duration that a bucket tells apart below its highest one.
const BITS: u32 = 3;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Histogram(Vec<(u16, u32)>);

impl Histogram {
    pub fn add(&mut self, duration: Duration) {
        self.add_count(bucket(duration.as_micros().try_into().unwrap_or(u64::MAX)), 1);
    }

    fn add_count(&mut self, bucket: u16, count: u32) {
        match self.0.binary_search_by_key(&bucket, |(bucket, _)| *bucket) {
            Ok(index) => self.0[index].1 = self.0[index].1.saturating_add(count),
            Err(index) => self.0.insert(index, (bucket, count)),
        }
    }

    pub fn merge(&mut self, other: &Self) {
        for (bucket, count) in &other.0 {
            self.add_count(*bucket, *count);
        }
    }

    /// Milliseconds that `share` of the durations do not exceed; `None` without any.
    pub fn percentile_ms(&self, share: f64) -> Option<f64> {
        let total: u64 = self.0.iter().map(|(_, count)| u64::from(*count)).sum();
        let rank = ((total as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (bucket, count) in &self.0 {
            seen += u64::from(*count);
            if seen >= rank {
                let (from, width) = bounds(*bucket);
                return Some((from as f64 + (width - 1) as f64 / 2.0) / 1000.0);
            }
        }
        None
    }
}

fn bucket(micros: u64) -> u16 {
    if micros < 1 << BITS {
        return micros as u16;
    }
    let power = micros.ilog2() - BITS;
    (((power + 1) << BITS) as u64 + ((micros >> power) & ((1 << BITS) - 1))) as u16
}

/// Where a bucket begins, and how many microseconds it holds.
fn bounds(bucket: u16) -> (u64, u64) {
    let (power, rest) = (u32::from(bucket) >> BITS, u64::from(bucket) & ((1 << BITS) - 1));
    match power {
        0 => (rest, 1),
        _ => (((1 << BITS) + rest) << (power - 1), 1 << (power - 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_is_within_its_bucket() {
        for power in 0..64 {
            for micros in [1u64 << power, (1u64 << power) - 1, (1u64 << power) | 0b1011] {
                let (from, width) = bounds(bucket(micros));
                assert!(from <= micros && micros - from < width, "{micros}: {from} {width}");
                assert!(width <= 1 || width <= from / 8, "{micros}: {from} {width}");
            }
        }
    }

    #[test]
    fn percentiles_are_right_within_a_sixteenth() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.percentile_ms(0.5), None);
        for ms in 1..=100 {
            histogram.add(Duration::from_millis(ms));
        }
        for (share, expected) in [(0.5, 50.0), (0.9, 90.0), (0.99, 99.0), (0.0, 1.0), (1.0, 100.0)] {
            let found = histogram.percentile_ms(share).unwrap();
            assert!((found - expected).abs() <= expected / 16.0 + 0.001, "{share}: {found}");
        }
    }
}
