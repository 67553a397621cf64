//! Stops chains of invocations that lead to themselves: a function that writes to the queue that
//! invokes it, two that invoke each other.
//!
//! The trace header tells which functions a chain has come by and how often:
//! `...;Lineage=1:HASH:COUNT|1:HASH:COUNT`. The SDK in a handler hands it on. As on AWS, the
//! seventeenth invocation of a function in one chain is refused.

use std::fmt::Write;

use super::{InvokeError, Invoker};
use crate::defences;
use crate::function::{FunctionName, RecursiveLoop};
use crate::hexadecimal::hex;
use crate::invocation::Invocation;

/// So often may a chain come by the same function.
const LIMIT: u32 = 16;
/// A longer lineage forgets what it has met least: it must fit into the variable that carries it.
const LONGEST: usize = 16;

/// The trace with this invocation in it, and whether that is once too often.
pub fn follow(trace_id: &str, function: &str) -> (String, bool) {
    if is_begun(trace_id) {
        let hash = hex(&hash(function).to_be_bytes());
        return ([trace_id, ";Lineage=1:", &hash, ":0"].concat(), false);
    }
    let mut others = Vec::new();
    let mut kept = String::with_capacity(trace_id.len() + 32);
    let mut lineage = Vec::new();
    for part in trace_id.split(';') {
        match part.trim().split_once('=') {
            Some((name, value)) if name.eq_ignore_ascii_case("lineage") => lineage.push(value),
            _ if part.trim().is_empty() => {}
            _ => others.push(part.trim()),
        }
    }
    kept.push_str(&others.join(";"));
    let hash = hash(function);
    let mut own = None;
    let mut entries: Vec<(u32, u32)> = Vec::new();
    for (of, count) in lineage.into_iter().flat_map(entries_of) {
        if of == hash {
            own = own.max(Some(count));
        } else {
            entries.push((of, count));
        }
    }
    // The first time counts as nought.
    let count = own.map_or(0, |count| count.saturating_add(1));
    entries.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
    entries.truncate(LONGEST - 1);
    let separator = if kept.is_empty() { "" } else { ";" };
    let _ = write!(kept, "{separator}Lineage=1:{hash:08x}:{count}");
    for (of, count) in entries {
        let _ = write!(kept, "|1:{of:08x}:{count}");
    }
    (kept, count >= LIMIT && !defences::off("recursion-depth"))
}

/// Whether this is the trace of a chain that has come by no function yet, as the gateway itself writes it:
/// most are.
fn is_begun(trace_id: &str) -> bool {
    // Looked at as a whole, which compilers turn into a few steps.
    let is_id = |text: &str| {
        text.bytes().fold(true, |fits, byte| fits & (byte.is_ascii_alphanumeric() | (byte == b'-')))
    };
    let parts = trace_id.strip_prefix("Root=").and_then(|rest| rest.strip_suffix(";Sampled=0"));
    let (root, parent) = parts.and_then(|parts| parts.split_once(';')).unwrap_or_default();
    parent.strip_prefix("Parent=").is_some_and(|parent| is_id(root) && is_id(parent))
}

/// Whether a trace that has been followed is that of an invocation too many.
pub fn is_too_often(trace_id: &str, function: &str) -> bool {
    let hash = hash(function);
    let lineage = trace_id.split(';').filter_map(|part| part.strip_prefix("Lineage="));
    lineage.flat_map(entries_of).any(|(of, count)| of == hash && count >= LIMIT)
}

/// `1:HASH:COUNT` or `HASH:COUNT`, separated by `|`, which some SDKs write as `%7C`. What is none is
/// left out.
fn entries_of(value: &str) -> impl Iterator<Item = (u32, u32)> {
    value.split('|').flat_map(|part| part.split("%7C")).flat_map(|part| part.split("%7c")).filter_map(
        |entry| {
            let mut parts = entry.rsplit(':');
            let count = parts.next()?.parse().ok()?;
            let hash = parts.next()?;
            Some((u32::from_str_radix(hash, 16).ok()?, count))
        },
    )
}

/// FNV-1a: short, the same everywhere, and nobody's secret.
fn hash(function: &str) -> u32 {
    function.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

impl Invoker {
    /// Notes in the trace that the chain has come by this function, `NAME` or `NAME:QUALIFIER`.
    pub(super) fn follow_lineage(
        &self,
        function: &str,
        invocation: &mut Invocation,
    ) -> Result<(), InvokeError> {
        let name = function.split(':').next().unwrap_or(function);
        let (trace_id, too_often) = follow(&invocation.trace_id, name);
        invocation.trace_id = trace_id;
        if too_often && self.ends_loops(name) {
            return Err(InvokeError::Recursive(looped(name)));
        }
        Ok(())
    }

    /// Whether `RecursiveLoop` is not `Allow`.
    pub(super) fn ends_loops(&self, name: &str) -> bool {
        let deployment = self.0.deployments.current();
        let attached =
            name.parse::<FunctionName>().ok().and_then(|name| deployment.attached.get(&name).cloned());
        attached.is_none_or(|attached| attached.recursive_loop == RecursiveLoop::Terminate)
    }
}

pub(super) fn looped(name: &str) -> String {
    format!(
        "a chain of invocations has come by `{name}` more than {LIMIT} times, and was ended\nhint: if that is meant, \
         `RecursiveLoop: Allow` in its configuration lets it go on"
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_seventeenth_time_is_too_often() {
        let mut trace = "Root=1-2-3;Parent=4;Sampled=0".to_owned();
        for _ in 0..16 {
            let (next, too_often) = follow(&trace, "loop");
            assert!(!too_often && !is_too_often(&next, "loop"), "{next}");
            // Another function in between; the SDK's way of writing it.
            trace = follow(&next, "other").0.replace('|', "%7C");
        }
        let (trace, too_often) = follow(&trace, "loop");
        assert!(too_often && is_too_often(&trace, "loop"));
        assert!(!is_too_often(&trace, "third"));
        assert!(trace.starts_with("Root=1-2-3;Parent=4;Sampled=0;Lineage=1:"), "{trace}");
    }

    #[test]
    fn what_is_no_lineage_is_left_out() {
        let (trace, _) = follow("Root=1;Lineage=x:y|1:zz:3|ffffffff:2|:|99", "f");
        assert_eq!(trace, format!("Root=1;Lineage=1:{:08x}:0|1:ffffffff:2", hash("f")));
        assert_eq!(follow("", "f").0, format!("Lineage=1:{:08x}:0", hash("f")));
    }

    #[test]
    fn a_lineage_does_not_grow_for_ever() {
        let mut trace =
            "Root=1-00000000-000000000000000000000000;Parent=0000000000000000;Sampled=0".to_owned();
        for number in 0..100 {
            trace = follow(&trace, &format!("function-{number}")).0;
        }
        assert!(trace.len() < 350, "{}", trace.len());
    }

    proptest! {
        #[test]
        fn any_header_can_be_followed(header in ".{0,200}") {
            let (once, _) = follow(&header, "f");
            prop_assert!(follow(&once, "f").0.contains("Lineage=1:"));
        }

        #[test]
        fn counts_never_fall(count in any::<u32>()) {
            let (trace, too_often) = follow(&format!("Lineage=1:{:08x}:{count}", hash("f")), "f");
            prop_assert_eq!(too_often, count.saturating_add(1) >= LIMIT);
            prop_assert_eq!(is_too_often(&trace, "f"), too_often);
        }
    }
}
