//! Defences that tests can switch off, each by its name, to show that a test is red without it.
//!
//! A test that stays green when what it guards is gone tests nothing. So a debug build leaves out the
//! defences that `HANDLERD_TEST_WITHOUT` names, with commas between. In a release build there is no such
//! switch: there [`off`] is the constant `false`.

/// Whether a test has switched this defence off.
#[cfg(debug_assertions)]
pub fn off(defence: &str) -> bool {
    static OFF: std::sync::LazyLock<Vec<String>> = std::sync::LazyLock::new(|| {
        let named = std::env::var("HANDLERD_TEST_WITHOUT").unwrap_or_default();
        named.split(',').map(str::to_owned).collect()
    });
    OFF.iter().any(|name| name == defence)
}

/// Whether a test has switched this defence off: never.
#[cfg(not(debug_assertions))]
pub const fn off(_defence: &str) -> bool {
    false
}
