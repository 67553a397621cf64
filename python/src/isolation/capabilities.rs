//! Where the gateway runs as root: what root may do beyond reading and writing files is given up.
//! Files stay, because a project's files are rarely root's; which of them a handler sees is for
//! `files` to say.

const CAP_CHOWN: u32 = 0;
const CAP_DAC_OVERRIDE: u32 = 1;
const CAP_DAC_READ_SEARCH: u32 = 2;
const CAP_FOWNER: u32 = 3;
const CAP_NET_BIND_SERVICE: u32 = 10;
const KEPT: u64 = 1 << CAP_CHOWN
    | 1 << CAP_DAC_OVERRIDE
    | 1 << CAP_DAC_READ_SEARCH
    | 1 << CAP_FOWNER
    | 1 << CAP_NET_BIND_SERVICE;

/// Linux's `_LINUX_CAPABILITY_VERSION_3`: two words of 32 for each set.
const VERSION: u32 = 0x2008_0522;

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Sets {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

fn get() -> std::io::Result<[Sets; 2]> {
    let mut sets = [Sets::default(); 2];
    let mut header = Header { version: VERSION, pid: 0 };
    // SAFETY: both are as the kernel expects them for this version.
    match unsafe { libc::syscall(libc::SYS_capget, &mut header, sets.as_mut_ptr()) } {
        0 => Ok(sets),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// The dangerous ones that this process has.
pub fn dangerous() -> std::io::Result<u64> {
    let [low, high] = get()?;
    Ok((u64::from(low.permitted) | u64::from(high.permitted) << 32) & !KEPT)
}

pub fn drop_dangerous() -> Result<(), String> {
    let failed = |error: std::io::Error| format!("root's capabilities could not be given up: {error}");
    if dangerous().map_err(failed)? == 0 {
        return Ok(());
    }
    let mut sets = get().map_err(failed)?;
    for capability in 0..64 {
        if KEPT & (1 << capability) == 0 {
            // Not there to be had again by starting a program. Numbers that do not exist are refused.
            // SAFETY: changes a setting of this process.
            unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
        }
    }
    for (half, set) in sets.iter_mut().enumerate() {
        let kept = (KEPT >> (32 * half)) as u32;
        set.permitted &= kept;
        set.effective &= kept;
        set.inheritable = 0;
    }
    let mut header = Header { version: VERSION, pid: 0 };
    // SAFETY: as in `get`.
    match unsafe { libc::syscall(libc::SYS_capset, &mut header, sets.as_ptr()) } {
        0 => Ok(()),
        _ => Err(failed(std::io::Error::last_os_error())),
    }
}
