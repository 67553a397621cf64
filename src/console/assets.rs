//! The pages themselves, carried in the binary.

use super::Console;
use crate::control_plane::Routes;

pub fn routes() -> Routes<Console> {
    Routes::new()
}
