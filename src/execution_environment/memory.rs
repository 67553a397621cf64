//! How much memory an environment uses, with everything it has started.
//!
//! `MemorySize` is enforced by looking, every few milliseconds, and killing. A limit on address
//! space would be cheaper, but it kills innocent programs that reserve more than they touch (and
//! makes `MemoryError` of what is a kill on Lambda); control groups need rights that a developer's
//! machine rarely gives. The price: a handler can overshoot by what it allocates in one interval.

use std::time::{Duration, Instant};

/// How often a running invocation is looked at.
pub const INTERVAL: Duration = Duration::from_millis(20);

pub use crate::protocol::isolation::MAX_PROCESSES;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    Within,
    TooMuchMemory,
    TooManyProcesses,
}

/// So many are looked at in passing; more take a thread of their own.
const FEW_PROCESSES: usize = 8;

/// What `pid` and its descendants use, against `limit_mb` and the limit of processes. A crowd takes
/// seconds to look at, which nobody but its own invocation waits for; until `deadline` at most.
pub async fn look(pid: i32, limit_mb: u32, deadline: Instant) -> Usage {
    let few = tree(pid, FEW_PROCESSES);
    if few.len() < FEW_PROCESSES {
        return judge(&few, limit_mb);
    }
    let crowd = tokio::task::spawn_blocking(move || judge(&tree(pid, MAX_PROCESSES), limit_mb));
    match tokio::time::timeout_at(deadline.into(), crowd).await {
        Ok(Ok(usage)) => usage,
        _ => Usage::Within,
    }
}

/// The same between two invocations: an environment grows then only by what it has started.
pub fn look_at_rest(pid: i32, limit_mb: u32) -> Usage {
    let tree = tree(pid, MAX_PROCESSES);
    if tree.len() == 1 { Usage::Within } else { judge(&tree, limit_mb) }
}

pub fn tell_crowded(name: &str) {
    tracing::warn!("{name} was ended: it had started {MAX_PROCESSES} processes, as many as Lambda allows");
}

fn judge(tree: &[i32], limit_mb: u32) -> Usage {
    if tree.len() >= MAX_PROCESSES {
        return Usage::TooManyProcesses;
    }
    match exceeds(tree, limit_mb) {
        true => Usage::TooMuchMemory,
        false => Usage::Within,
    }
}

fn exceeds(tree: &[i32], limit_mb: u32) -> bool {
    let limit = u64::from(limit_mb) << 20;
    // Resident size counts pages shared between processes once for each: cheap, never too low. Only
    // when it exceeds the limit is the kernel asked for exact shares, which takes milliseconds.
    let resident: u64 = tree.iter().filter_map(|pid| resident(*pid)).sum();
    resident > limit && (tree.len() == 1 || tree.iter().filter_map(|pid| share(*pid)).sum::<u64>() > limit)
}

/// The most that `pid` itself has had resident, or 0 if it is gone.
pub fn peak_kib(pid: i32) -> u32 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

/// At least `enough` of them, if there are so many: a bomb makes a large tree.
fn tree(pid: i32, enough: usize) -> Vec<i32> {
    let mut found = vec![pid];
    let mut next = 0;
    while next < found.len() && found.len() < enough {
        if let Ok(threads) = std::fs::read_dir(format!("/proc/{}/task", found[next])) {
            for thread in threads.flatten() {
                let children = std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
                found.extend(children.split_whitespace().filter_map(|pid| pid.parse::<i32>().ok()));
            }
        }
        next += 1;
    }
    found
}

fn resident(pid: i32) -> Option<u64> {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

fn share(pid: i32) -> Option<u64> {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? << 10)
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn sees_its_own_memory() {
        let deadline = super::Instant::now() + super::Duration::from_secs(60);
        let pid = std::process::id() as i32;
        assert_eq!(super::look(pid, 0, deadline).await, super::Usage::TooMuchMemory);
        assert_eq!(super::look(pid, 1 << 20, deadline).await, super::Usage::Within);
        assert!(super::share(pid).unwrap() > 0);
    }
}
