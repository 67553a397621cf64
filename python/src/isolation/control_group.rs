//! A control group around the zygote and all its environments: how many processes and threads they
//! may be together, so that a fork bomb does not take the machine's.
//!
//! One for all of them, not one each: moving a process into a group waits for every processor of the
//! machine, 0.3 to 19 ms where this was measured, which is more than the whole cold start. What is
//! born in a group costs nothing. How many processes a single environment is, is for `births`; how much
//! memory it uses is watched by the gateway.

use std::path::{Path, PathBuf};

use crate::protocol::isolation::MAX_TASKS;

const ROOT: &str = "/sys/fs/cgroup";
const PREFIX: &str = "handlerd-";

/// Makes the group, and goes there; its folder.
pub fn enter() -> Result<String, String> {
    let own = std::fs::read_to_string("/proc/self/cgroup").map_err(|error| error.to_string())?;
    let parent = parent(&own).ok_or("the kernel has no control groups that count processes")?;
    remove_leftovers(&parent);
    let group = parent.join(format!("{PREFIX}{}", std::process::id()));
    let made = std::fs::create_dir(&group);
    made.map_err(|error| format!("no control group could be made in {}: {error}", parent.display()))?;
    let joined = std::fs::write(group.join("pids.max"), MAX_TASKS.to_string())
        .and_then(|()| std::fs::write(group.join("cgroup.procs"), "0"));
    match joined {
        Ok(()) => Ok(group.display().to_string()),
        Err(error) => {
            let _ = std::fs::remove_dir(&group);
            Err(format!("the control group {} cannot be used: {error}", group.display()))
        }
    }
}

/// Where this process is counted now: of version 1 the hierarchy for `pids`, else version 2.
fn parent(own: &str) -> Option<PathBuf> {
    let of = |wanted: &str| {
        own.lines().find_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            controllers.split(',').any(|name| name == wanted).then(|| path.trim_start_matches('/').to_owned())
        })
    };
    let first = |path: String| Path::new(ROOT).join("pids").join(path);
    let second = |path: String| Path::new(ROOT).join(path);
    of("pids").map(first).or_else(|| of("").map(second)).filter(|folder| folder.is_dir())
}

/// Those of gateways that were killed. One that is in use cannot be removed.
fn remove_leftovers(parent: &Path) {
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(PREFIX) {
            let _ = std::fs::remove_dir(entry.path());
        }
    }
}
