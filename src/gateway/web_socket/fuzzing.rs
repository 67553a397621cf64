//! Events of connections, and expressions that choose routes, made of arbitrary input.

use super::event::{self, Client, End};
use super::selection::Expression;
use crate::api::Api;
use crate::gateway::Site;
use crate::gateway::request::{Caller, Matched, Request};

pub fn events(request: &Request, matched: &Matched, caller: &Caller, site: &Site, message: &[u8]) {
    let client = Client {
        id: request.id.clone(),
        connected_at: request.received,
        domain: request.host().into_owned(),
        source_ip: request.source_ip(),
        user_agent: request.user_agent().to_owned(),
        caller: caller.clone(),
    };
    let text = String::from_utf8_lossy(message);
    let end = End { code: 1000, reason: text.chars().take(100).collect() };
    for made in [
        event::bytes(&event::connect(request, matched, &client, site)),
        event::message(request, matched, &client, &text),
        event::disconnect(request, matched, &client, &end),
    ] {
        serde_json::from_slice::<serde::de::IgnoredAny>(&made).expect("an event is JSON");
    }
    select(request.query(), &text);
}

/// The route that an API's expression chooses for a message.
pub fn select(expression: &str, message: &str) {
    if let Ok(expression) = Expression::parse(expression) {
        expression.key(message);
    }
}

/// Made ready for messages.
pub fn deploy(api: &Api) {
    select(&api.route_selection_expression, "{\"action\": \"x\"}");
}
