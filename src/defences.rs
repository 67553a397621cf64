//! Defences that tests can switch off, each by its name, to show that a test is red without it.
//!
//! A test that stays green when what it guards is gone tests nothing. So a debug build leaves out the
//! defences that `HANDLERD_TEST_WITHOUT` names, with commas between. In a release build there is no such
//! switch: there [`off`] is the constant `false`. `HANDLERD_TEST_FAULT` asks in the same way for
//! mistakes of ours that nobody can bring about from outside.

#[cfg(debug_assertions)]
struct Named(std::sync::OnceLock<Vec<String>>, &'static str);

#[cfg(debug_assertions)]
impl Named {
    const fn by(variable: &'static str) -> Self {
        Self(std::sync::OnceLock::new(), variable)
    }

    fn has(&self, wanted: &str) -> bool {
        let read = || std::env::var(self.1).unwrap_or_default().split(',').map(str::to_owned).collect();
        self.0.get_or_init(read).iter().any(|name| name == wanted)
    }
}

/// Whether a test has switched this defence off.
#[cfg(debug_assertions)]
pub fn off(defence: &str) -> bool {
    static WITHOUT: Named = Named::by("HANDLERD_TEST_WITHOUT");
    WITHOUT.has(defence)
}

/// Whether a test asks for this mistake.
#[cfg(debug_assertions)]
pub fn fault(mistake: &str) -> bool {
    static FAULT: Named = Named::by("HANDLERD_TEST_FAULT");
    FAULT.has(mistake)
}

/// Whether a test has switched this defence off: never.
#[cfg(not(debug_assertions))]
pub const fn off(_defence: &str) -> bool {
    false
}

/// Whether a test asks for this mistake: never.
#[cfg(not(debug_assertions))]
pub const fn fault(_mistake: &str) -> bool {
    false
}
