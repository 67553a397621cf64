//! Log records: the last ones, and those that come.

use super::Console;
use crate::control_plane::Routes;

pub fn routes() -> Routes<Console> {
    Routes::new()
}
