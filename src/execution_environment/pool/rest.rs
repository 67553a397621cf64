//! What environments start and leave behind is looked at while they rest, too: nobody waits for an answer
//! then, and no `Timeout` ends it.
//!
//! On Lambda all processes of an environment stand still between invocations. Here a child goes on, so
//! what holds for an invocation holds for it: `MemorySize`, and 1,024 processes.

use std::sync::Weak;
use std::time::Duration;

use super::{Environment, Shared};
use crate::defences;
use crate::execution_environment::memory::{self, MAX_PROCESSES, Usage};

/// Every environment at rest costs a look at `/proc`, of some microseconds.
const INTERVAL: Duration = Duration::from_secs(1);

/// Runs as long as the gateway.
pub async fn watch(shared: Weak<Shared>) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        let Some(resting) = shared.upgrade().map(|shared| resting(&shared)) else { return };
        if resting.is_empty() || defences::off("watch-at-rest") {
            continue;
        }
        // Nothing is kept from ending meanwhile: what is found to be too much is ended if it still rests.
        let look = move || {
            let judged = resting.into_iter().map(|(pid, limit)| (pid, memory::look_at_rest(pid, limit)));
            judged.filter(|(_, usage)| *usage != Usage::Within).collect::<Vec<_>>()
        };
        let found = tokio::task::spawn_blocking(look).await.unwrap_or_default();
        let Some(shared) = shared.upgrade() else { return };
        for (pid, usage) in found {
            if let Some(environment) = take(&shared, pid) {
                tell(&environment, usage);
            }
        }
    }
}

/// Process ids, and how many megabytes each may use.
fn resting(shared: &Shared) -> Vec<(i32, u32)> {
    let state = shared.state.lock().unwrap();
    let idle = state.pools.values().flat_map(|pool| &pool.idle);
    idle.map(|environment| (environment.pid(), environment.function.configuration.memory_mb)).collect()
}

/// Out of its pool: dropping it kills it, and all that it has started.
fn take(shared: &Shared, pid: i32) -> Option<Box<Environment>> {
    let mut state = shared.state.lock().unwrap();
    let state = &mut *state;
    for pool in state.pools.values_mut() {
        if let Some(index) = pool.idle.iter().position(|environment| environment.pid() == pid) {
            let environment = pool.idle.remove(index);
            pool.provisioned -= usize::from(environment.provisioned);
            state.total -= 1;
            return Some(environment);
        }
    }
    None
}

fn tell(environment: &Environment, usage: Usage) {
    let name = &environment.function.name;
    let what = match usage {
        Usage::TooManyProcesses => format!("{MAX_PROCESSES} processes, as many as Lambda allows"),
        _ => format!("more than {} MB, its MemorySize", environment.function.configuration.memory_mb),
    };
    tracing::warn!(
        "an environment of {name} was ended while it rested: what it had started and left behind came to {what}\n\
         hint: on AWS all processes of a function stand still between invocations; wait for them before the \
         handler returns"
    );
}
