//! What the kernel says about processes, for tests that must not take a server's word for it.

use std::path::Path;

/// Whether a process of this number still runs. One that has ended and only waits to be asked for
/// its status does not.
pub fn runs(pid: i64) -> bool {
    state(pid).is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

/// The letter that `ps` shows; `None` when there is no such process.
pub fn state(pid: i64) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// All that were started by `pid`, by those, and so on; ended ones that nobody has asked for too. A zygote's
/// spare child is left out, which is there or not, and of which [`spare_of`] tells.
pub fn descendants(pid: i64) -> Vec<i64> {
    let mut found = vec![pid];
    let mut next = 0;
    while next < found.len() {
        let threads = std::fs::read_dir(format!("/proc/{}/task", found[next]));
        for thread in threads.into_iter().flatten().flatten() {
            let children = std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            found.extend(children.split_whitespace().filter_map(|pid| pid.parse::<i64>().ok()));
        }
        next += 1;
    }
    found.remove(0);
    found.retain(|pid| !is_spare(*pid));
    found
}

/// The child that a zygote has forked before anybody has asked.
pub fn spare_of(zygote: i64) -> Option<i64> {
    let children = std::fs::read_to_string(format!("/proc/{zygote}/task/{zygote}/children")).ok()?;
    children.split_whitespace().filter_map(|pid| pid.parse().ok()).find(|pid| is_spare(*pid))
}

fn is_spare(pid: i64) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "handlerd-spare")
}

pub fn descriptors(pid: i64) -> usize {
    entries(Path::new(&format!("/proc/{pid}/fd")))
}

/// What they are, for whoever finds too many.
pub fn described_descriptors(pid: i64) -> Vec<String> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    entries.filter_map(|entry| Some(std::fs::read_link(entry.path()).ok()?.display().to_string())).collect()
}

/// A field of `/proc/PID/status` that is given in kB.
pub fn status_kb(pid: i64, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("a field of that name");
    line.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap()
}

/// How many entries a folder has; none if there is no such folder.
pub fn entries(folder: &Path) -> usize {
    std::fs::read_dir(folder).map_or(0, Iterator::count)
}

pub fn kill(pid: i64) {
    let pid = rustix::process::Pid::from_raw(pid as i32).expect("a process id");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}
