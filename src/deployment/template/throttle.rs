//! How many requests may pass: the same words in stages, usage plans and HTTP APIs.

use super::sheet::Sheet;
use crate::api::Throttle;

/// What an account has where a template says nothing.
const RATE: f64 = 10_000.0;
const BURST: u32 = 5_000;

/// Reads both properties; `None` if neither is there, or if they say that there is no limit.
pub fn read(sheet: &mut Sheet<'_>, rate: &'static str, burst: &'static str) -> Option<Throttle> {
    let (rate_line, burst_line) = (sheet.line_of(rate), sheet.line_of(burst));
    let rate = sheet.decimal(rate);
    let burst = sheet.decimal(burst);
    if rate.is_none() && burst.is_none() {
        return None;
    }
    // -1 takes a limit away.
    if rate.is_some_and(|rate| rate < 0.0) || burst.is_some_and(|burst| burst < 0.0) {
        if rate.unwrap_or(-1.0) >= 0.0 || burst.unwrap_or(-1.0) >= 0.0 {
            let text = "a negative limit takes both limits away here";
            sheet.warning(rate_line.max(burst_line), text);
        }
        return None;
    }
    filled(rate, burst.map(|burst| burst as u32))
}

/// What is not said is the account's; `None` if nothing is said at all.
pub fn filled(rate: Option<f64>, burst: Option<u32>) -> Option<Throttle> {
    let said = rate.is_some() || burst.is_some();
    said.then(|| Throttle { rate: rate.unwrap_or(RATE), burst: burst.unwrap_or(BURST) })
}
