//! How much memory an environment uses, with everything it has started.
//!
//! `MemorySize` is enforced by looking, every few milliseconds, and killing. A limit on address
//! space would be cheaper, but it kills innocent programs that reserve more than they touch (and
//! makes `MemoryError` of what is a kill on Lambda); control groups need rights that a developer's
//! machine rarely gives. The price: a handler can overshoot by what it allocates in one interval.

use std::time::Duration;

/// How often a running invocation is looked at.
pub const INTERVAL: Duration = Duration::from_millis(20);

/// Whether `pid` and its descendants use more than `limit_mb`.
pub fn exceeds(pid: i32, limit_mb: u32) -> bool {
    let limit = u64::from(limit_mb) << 20;
    let tree = tree(pid);
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

fn tree(pid: i32) -> Vec<i32> {
    let mut found = vec![pid];
    let mut next = 0;
    // A fork bomb makes a large tree; a thousand processes are enough to judge it by.
    while next < found.len() && found.len() < 1000 {
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
    #[test]
    fn sees_its_own_memory() {
        let pid = std::process::id() as i32;
        assert!(super::exceeds(pid, 0));
        assert!(!super::exceeds(pid, 1 << 20));
        assert!(super::share(pid).unwrap() > 0);
    }
}
