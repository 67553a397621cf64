//! The files of a function: listed, shown, downloaded, exported as a template.

use super::Console;
use crate::control_plane::Routes;

pub fn routes() -> Routes<Console> {
    Routes::new()
}
