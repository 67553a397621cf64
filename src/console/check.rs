//! Mistakes in a text that is being written, before it is deployed.

use super::Console;
use crate::control_plane::Routes;

pub fn routes() -> Routes<Console> {
    Routes::new()
}
