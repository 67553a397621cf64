//! What changes, as it changes: a stream of deployments and invocations.

use super::Console;
use crate::control_plane::Routes;

pub fn routes() -> Routes<Console> {
    Routes::new()
}
