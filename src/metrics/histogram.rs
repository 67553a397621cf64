//! How long things took, counted in buckets that are an eighth of a power of two wide: a percentile is
//! right to within 6 %, whatever its size, and a quiet minute takes a few bytes.

use std::time::Duration;

/// Buckets for each power of two.
const PARTS: u64 = 8;
const PART_BITS: u32 = 3;

/// Counts by bucket, in order; only buckets that have any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Histogram(Vec<(u16, u32)>);

fn bucket(microseconds: u64) -> u16 {
    if microseconds < PARTS {
        return microseconds as u16;
    }
    let power = microseconds.ilog2();
    let part = (microseconds >> (power - PART_BITS)) & (PARTS - 1);
    ((u64::from(power - PART_BITS) + 1) * PARTS + part) as u16
}

/// The smallest duration of a bucket, in microseconds.
fn lower(bucket: u16) -> u64 {
    let bucket = u64::from(bucket);
    if bucket < PARTS {
        return bucket;
    }
    let power = bucket / PARTS - 1;
    (PARTS + bucket % PARTS).checked_shl(power as u32).unwrap_or(u64::MAX)
}

impl Histogram {
    pub fn add(&mut self, duration: Duration) {
        self.add_to(bucket(duration.as_micros() as u64), 1);
    }

    fn add_to(&mut self, bucket: u16, count: u32) {
        match self.0.binary_search_by_key(&bucket, |(bucket, _)| *bucket) {
            Ok(index) => self.0[index].1 = self.0[index].1.saturating_add(count),
            Err(index) => self.0.insert(index, (bucket, count)),
        }
    }

    pub fn merge(&mut self, other: &Self) {
        for (bucket, count) in &other.0 {
            self.add_to(*bucket, *count);
        }
    }

    pub fn count(&self) -> u64 {
        self.0.iter().map(|(_, count)| u64::from(*count)).sum()
    }

    /// In milliseconds: so many of a hundred took no longer. `None`: there were none.
    pub fn percentile(&self, percent: f64) -> Option<f64> {
        let count = self.count();
        let rank = ((count as f64 * percent / 100.0).ceil() as u64).max(1);
        let mut seen = 0;
        let (bucket, _) = self.0.iter().find(|(_, count)| {
            seen += u64::from(*count);
            seen >= rank
        })?;
        // The middle of the bucket.
        let middle = (lower(*bucket) + lower(bucket + 1)) as f64 / 2.0;
        Some((middle / 10.0).round() / 100.0)
    }

    /// How many took no longer than this; a bucket counts if it begins before.
    pub fn up_to(&self, limit: Duration) -> u64 {
        let limit = limit.as_micros() as u64;
        self.0.iter().filter(|(bucket, _)| lower(*bucket) < limit).map(|(_, count)| u64::from(*count)).sum()
    }

    /// For the store: four bytes for each bucket would do, but six are simple.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0
            .iter()
            .flat_map(|(bucket, count)| [&bucket.to_le_bytes()[..], &count.to_le_bytes()].concat())
            .collect()
    }

    /// What is no histogram comes to an empty one.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut histogram = Self::default();
        for part in bytes.chunks_exact(6) {
            let bucket = u16::from_le_bytes([part[0], part[1]]);
            let count = u32::from_le_bytes([part[2], part[3], part[4], part[5]]);
            if bucket < 61 * PARTS as u16 {
                histogram.add_to(bucket, count);
            }
        }
        histogram
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn percentiles_of_what_is_known() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.percentile(50.0), None);
        for milliseconds in 1..=1000 {
            histogram.add(Duration::from_millis(milliseconds));
        }
        for (percent, expected) in [(50.0, 500.0), (90.0, 900.0), (99.0, 990.0)] {
            let found = histogram.percentile(percent).unwrap();
            assert!((found - expected).abs() / expected < 0.07, "{percent}: {found}");
        }
        assert_eq!(Histogram::from_bytes(&histogram.to_bytes()), histogram);
    }

    proptest! {
        #[test]
        fn every_duration_is_in_its_bucket(microseconds in 0..u64::MAX / 4) {
            let bucket = bucket(microseconds);
            prop_assert!(lower(bucket) <= microseconds);
            prop_assert!(microseconds < lower(bucket + 1));
        }

        #[test]
        fn bytes_of_others_do_no_harm(bytes: Vec<u8>) {
            let histogram = Histogram::from_bytes(&bytes);
            let _ = histogram.percentile(99.0);
        }
    }
}
