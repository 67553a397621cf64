//! Defences that tests can switch off, each by its name, to show that a test is red without it.
//!
//! A test that stays green when what it guards is gone tests nothing. So a debug build leaves out the
//! defences that `HANDLERD_TEST_WITHOUT` names, with commas between. In a release build there is no such
//! switch: there [`off`] is the constant `false`.
//!
//! The processes of handlers are started with nothing of the gateway's environment; to zygotes the
//! variable is handed on by [`handed_on`], and `python/`, which has this very file too, reads it there.
//! Handlers do not see it: their environment is replaced before any of their code runs.

/// The variable that names what is left out.
#[cfg(debug_assertions)]
const VARIABLE: &str = "HANDLERD_TEST_WITHOUT";

/// Whether a test has switched this defence off.
#[cfg(debug_assertions)]
pub fn off(defence: &str) -> bool {
    static OFF: std::sync::LazyLock<Vec<String>> = std::sync::LazyLock::new(|| {
        let named = std::env::var(VARIABLE).unwrap_or_default();
        named.split(',').map(str::to_owned).collect()
    });
    OFF.iter().any(|name| name == defence)
}

/// Whether a test has switched this defence off: never.
#[cfg(not(debug_assertions))]
pub const fn off(_defence: &str) -> bool {
    false
}

/// What a zygote is to be started with, so that it leaves out the same.
#[cfg(debug_assertions)]
#[allow(dead_code)] // `python/` hands nothing on
pub fn handed_on() -> Option<(&'static str, std::ffi::OsString)> {
    std::env::var_os(VARIABLE).map(|named| (VARIABLE, named))
}

/// What a zygote is to be started with: nothing.
#[cfg(not(debug_assertions))]
#[allow(dead_code)]
pub const fn handed_on() -> Option<(&'static str, std::ffi::OsString)> {
    None
}
