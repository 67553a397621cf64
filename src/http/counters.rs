//! What happened to connections, and how many of them were refused for what.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! counters {
    ($($(#[$about:meta])* $field:ident: $name:literal,)*) => {
        /// Of one port. Cheap to count, and read now and then.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[$about])* pub(super) $field: AtomicU64,)*
        }

        impl Counters {
            /// All of them by name: `open` goes up and down, the others only up.
            pub fn snapshot(&self) -> Vec<(&'static str, u64)> {
                vec![$(($name, self.$field.load(Relaxed)),)*]
            }
        }
    };
}

counters! {
    /// WebSockets included.
    open: "open",
    accepted: "accepted",
    /// Turned away because there were too many, of all or from one address.
    full: "refusedFull",
    full_of_address: "refusedFullOfAddress",
    /// Turned away because this process had no descriptors left.
    out_of_descriptors: "refusedOutOfDescriptors",
    silent: "closedNoFirstByte",
    handshake: "closedHandshake",
    slow_header: "closedSlowHeader",
    idle: "closedIdle",
    slow_body: "closedSlowBody",
    unread_answer: "closedUnreadAnswer",
    flood: "closedFlood",
    /// Requests answered with 400, 414 and 431 before anybody saw them.
    malformed: "refusedMalformed",
    uri_too_long: "refusedUriTooLong",
    header_too_large: "refusedHeaderTooLarge",
    /// Requests answered with 500 because of a mistake of ours.
    panicked: "endedByABug",
}

pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}
