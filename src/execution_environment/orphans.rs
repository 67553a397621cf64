//! What a zygote leaves behind when it dies before it could clean up (somebody killed it): its
//! environments end by their death signal, but what handlers had started does not. The gateway is
//! the subreaper above, so all of that arrives here, and is ended.

use std::collections::HashSet;
use std::sync::Mutex;

use rustix::process::{Pid, Signal, WaitOptions};
use tokio::process::{Child, Command};

/// Zygotes of this process: children that are not to be ended.
static ZYGOTES: Mutex<Option<HashSet<i32>>> = Mutex::new(None);

/// From now on orphans come to this process.
pub fn adopt() {
    let _ = rustix::process::set_child_subreaper(Some(Pid::INIT));
}

/// Starts a zygote. A sweep at the same time would take it for an orphan before it is known.
pub fn start(mut command: Command) -> std::io::Result<Child> {
    let mut zygotes = ZYGOTES.lock().unwrap();
    let child = command.spawn()?;
    zygotes.get_or_insert_default().extend(child.id().map(|pid| pid as i32));
    Ok(child)
}

/// Ends and reaps every adopted child, until none is left; bounded, as a bomb may fork on.
pub fn sweep_after(zygote: u32) {
    let mut zygotes = ZYGOTES.lock().unwrap();
    let zygotes = zygotes.get_or_insert_default();
    zygotes.remove(&(zygote as i32));
    for _ in 0..1000 {
        let orphans: Vec<Pid> = children()
            .into_iter()
            .filter(|pid| !zygotes.contains(&pid.as_raw_pid()) && is_adopted(*pid))
            .collect();
        if orphans.is_empty() {
            return;
        }
        for pid in &orphans {
            let _ = rustix::process::kill_process(*pid, Signal::KILL);
        }
        for pid in orphans {
            let _ = rustix::process::waitpid(Some(pid), WaitOptions::empty());
        }
    }
}

/// Every zygote begins a session of its own; what this process starts otherwise stays in its own.
fn is_adopted(pid: Pid) -> bool {
    let (theirs, ours) = (session(pid.as_raw_pid()), session(0));
    theirs >= 0 && theirs != ours
}

/// Not rustix's: in a container this process's session may have begun outside, where it has no
/// number here. The kernel then says 0, which rustix takes for impossible.
fn session(pid: i32) -> i32 {
    // SAFETY: getsid only reads a number of the process table.
    unsafe { libc::getsid(pid) }
}

fn children() -> Vec<Pid> {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    tasks
        .filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|list| {
            list.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect::<Vec<_>>()
        })
        .collect()
}
