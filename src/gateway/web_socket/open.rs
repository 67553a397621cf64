//! From the request to the open connection, by `$connect`; and from its end to `$disconnect`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use http::request::Parts;
use http::{HeaderValue, Method, Request as HttpRequest, Response, header};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::super::error::GatewayError;
use super::super::request::{Matched, Request, new_id};
use super::super::routes::Table;
use super::super::{Gateway, Line, authorize};
use super::connections::{Connection, Place};
use super::event::{self, Client, End};
use super::failure;
use super::integration::{self, Reply};
use super::selection::Expression;
use super::session::{self, Ending};
use crate::api::{Api, REST_TIMEOUT};
use crate::http::web_socket::{Offer, Opening, Sizes};

const CONNECT: &str = "$connect";
const DISCONNECT: &str = "$disconnect";
const DEFAULT: &str = "$default";

/// Of a `$disconnect` whose function has too much to do.
const NEXT_TRY: Duration = Duration::from_millis(200);

/// `$connect`, and if it agrees, the connection.
pub async fn open(
    gateway: &Gateway,
    request: HttpRequest<Body>,
    api: Arc<Api>,
    stage: usize,
    path: &str,
    line: &mut Line,
) -> Result<Response<Body>, GatewayError> {
    if !matches!(path, "" | "/") {
        let stages: Vec<String> = api.stages.iter().map(|stage| format!("`/{}`", stage.name)).collect();
        return Err(GatewayError::Forbidden(format!(
            "WebSockets of {} are opened at {}",
            api.name,
            stages.join(", ")
        )));
    }
    // On AWS it could not have been deployed.
    Expression::parse(&api.route_selection_expression).map_err(GatewayError::Integration)?;
    let (mut head, _) = request.into_parts();
    let offer = Offer::of(&mut head).map_err(GatewayError::BadRequest)?;
    let place = gateway.connections().place().ok_or_else(|| {
        let limit = gateway.connections().limits().connections;
        GatewayError::TooManyRequests(format!("{limit} WebSockets are open already"))
    })?;
    let matched = gateway.directory().web_socket(&api.id).and_then(|(_, table)| table.key(CONNECT));
    let matched = matched.map(|route| at(&api, stage, route));
    line.function = matched.as_ref().and_then(|matched| matched.route().function()).map(str::to_owned);
    let door = Door { gateway: gateway.clone(), api, stage, matched, head, offer, place };
    // What has begun goes on, also if the client does not wait for it: whoever has heard `$connect`
    // hears `$disconnect`.
    let (answer, note) = tokio::spawn(door.knock())
        .await
        .map_err(|error| GatewayError::Integration(format!("a bug in handlerd: {error}")))?;
    line.note = note;
    answer
}

fn at(api: &Arc<Api>, stage: usize, route: usize) -> Matched {
    Matched {
        full_path: format!("/{}", api.stages[stage].name),
        api: api.clone(),
        stage,
        route,
        path: "/".to_owned(),
        parameters: Vec::new(),
        custom_domain: false,
    }
}

/// Everything that opening a connection takes.
struct Door {
    gateway: Gateway,
    api: Arc<Api>,
    stage: usize,
    /// The route `$connect`, if there is one.
    matched: Option<Matched>,
    head: Parts,
    offer: Offer,
    place: Place,
}

impl Door {
    /// The answer, and what the terminal adds to its line.
    async fn knock(self) -> (Result<Response<Body>, GatewayError>, Option<String>) {
        let Self { gateway, api, stage, matched, head, offer, place } = self;
        let request = Request::new(head, Bytes::new());
        let mut client = Client {
            id: new_id(),
            connected_at: request.received,
            domain: request.host().into_owned(),
            source_ip: request.source_ip(),
            user_agent: request.user_agent().to_owned(),
            caller: Default::default(),
        };
        let reply = match &matched {
            None => Reply::default(),
            Some(matched) => {
                let asked = event::connect(&request, matched, &client, gateway.site());
                match authorize::authorize_connect(&gateway, &request, matched, &asked).await {
                    Ok(caller) => client.caller = caller,
                    Err(error) => return (Err(error), None),
                }
                let event = event::bytes(&event::connect(&request, matched, &client, gateway.site()));
                match integration::run(&gateway, &request, matched, &client.caller, event).await {
                    Ok(reply) => reply,
                    Err(error) => {
                        return (Ok(failure::response(&error, &client.id, &request.id)), error.note());
                    }
                }
            }
        };
        if !reply.status.is_success() {
            return (Ok(refusal(reply)), Some("`$connect` refuses the connection".to_owned()));
        }
        let protocol = reply.headers.get(header::SEC_WEBSOCKET_PROTOCOL).cloned();
        let note = note_on_protocol(protocol.as_ref(), &offer.protocols).or_else(|| pretended(&client));
        let limits = gateway.connections().limits();
        let sizes = Sizes { message: limits.message, frame: limits.frame };
        let (response, opening) = offer.accept(protocol, sizes);
        let stage = &api.stages[stage].name;
        let (connection, messages) = gateway.connections().add(client, &api.id, stage);
        tokio::spawn(Host { gateway: gateway.clone(), connection }.serve(opening, messages, place));
        (Ok(response), note)
    }
}

/// The handler's own status, headers and body.
fn refusal(reply: Reply) -> Response<Body> {
    let mut response = Response::new(Body::from(reply.body));
    *response.status_mut() = reply.status;
    let headers = response.headers_mut();
    *headers = reply.headers;
    for ours in [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONNECTION, header::UPGRADE] {
        headers.remove(ours);
    }
    headers.entry(header::CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
    response
}

/// What browsers object to.
fn note_on_protocol(chosen: Option<&HeaderValue>, offered: &[String]) -> Option<String> {
    match chosen.map(|chosen| String::from_utf8_lossy(chosen.as_bytes())) {
        Some(chosen) if !offered.iter().any(|offered| *offered == chosen) => Some(format!(
            "`$connect` chose the protocol `{chosen}`, which the client has not offered; browsers end the connection"
        )),
        None if !offered.is_empty() => Some(format!(
            "the client offers the protocols {}; browsers end the connection if `$connect` returns none of them as \
             the header Sec-WebSocket-Protocol",
            offered.join(", ")
        )),
        _ => None,
    }
}

fn pretended(client: &Client) -> Option<String> {
    client.caller.pretended.then(|| "acting as somebody (--act-as)".to_owned())
}

/// The gateway's side of one connection.
struct Host {
    gateway: Gateway,
    connection: Arc<Connection>,
}

impl Host {
    /// To the very end. The place is free again when everything is over.
    async fn serve(self, opening: Opening, messages: mpsc::Receiver<Bytes>, place: Place) {
        let host = Arc::new(self);
        let connections = host.gateway.connections();
        let id = &host.connection.client.id;
        let goodbye = connections.limits().goodbye;
        let mut work = JoinSet::new();
        match opening.open().await {
            None => {
                connections.remove(id);
                host.disconnect(&Ending::Lost.end()).await;
            }
            Some(mut socket) => {
                let stop = connections.stopping();
                let ending;
                (ending, work) =
                    session::run(&mut socket, &host.connection, messages, stop, host.clone()).await;
                connections.remove(id);
                let end = ending.end();
                let farewell = async {
                    match ending {
                        Ending::Client(_) => socket.finish(goodbye).await,
                        Ending::Server(End { code, reason }) => socket.close(code, &reason, goodbye).await,
                        Ending::Lost => drop(socket),
                    }
                };
                tokio::join!(farewell, host.disconnect(&end));
            }
        }
        while work.join_next().await.is_some() {}
        drop(place);
    }

    async fn disconnect(&self, end: &End) {
        let began = Instant::now();
        let Some(matched) = self.find(|_, table| table.key(DISCONNECT)).await else { return };
        let client = &self.connection.client;
        let request = self.request(Bytes::new());
        let mut line = self.line("DISCONNECT", DISCONNECT, matched.route().function());
        let event = event::disconnect(&request, &matched, client, end);
        let answer = loop {
            let answer =
                integration::run(&self.gateway, &request, &matched, &client.caller, event.clone()).await;
            match answer {
                // It comes once only: when thousands leave at the same time, it waits for its turn.
                Err(GatewayError::Throttled(_)) if began.elapsed() < REST_TIMEOUT => {
                    tokio::time::sleep(NEXT_TRY).await;
                }
                answer => break answer,
            }
        };
        let status = match answer {
            Ok(reply) => reply.status,
            Err(error) => {
                line.note = error.note();
                failure::explain(&error, &client.id, &request.id).0
            }
        };
        line.log(status.as_u16());
    }

    /// A request such as could have brought a message.
    fn request(&self, body: Bytes) -> Request {
        let client = &self.connection.client;
        let head = HttpRequest::builder()
            .method(Method::POST)
            .uri("/")
            .header(header::HOST, &client.domain)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, &client.user_agent)
            .body(())
            .expect("these have been headers before")
            .into_parts()
            .0;
        let mut request = Request::new(head, body);
        request.peer = client.source_ip.parse().ok();
        request
    }

    fn line(&self, method: &str, route: &str, function: Option<&str>) -> Line {
        Line {
            method: Method::from_bytes(method.as_bytes()).expect("a word of ours"),
            path: route.to_owned(),
            function: function.map(str::to_owned),
            note: pretended(&self.connection.client),
            began: Instant::now(),
            answered: false,
        }
    }

    /// A route in what is deployed now, also if the connection was opened under other ones.
    async fn find(&self, choose: impl Fn(&Api, &Table) -> Option<usize>) -> Option<Matched> {
        let find = || {
            let directory = self.gateway.directory();
            let (api, table) = directory.web_socket(&self.connection.api)?;
            let stage = api.stages.iter().position(|stage| stage.name == self.connection.stage)?;
            Some(at(api, stage, choose(api, table)?))
        };
        let found = find();
        let function = found.as_ref().and_then(|matched| matched.route().function());
        match self.gateway.invoker().deployments().settle_routes(function).await {
            true => find(),
            false => found,
        }
    }

    async fn work_on(&self, text: &str, line: &mut Line, request: &Request) -> Result<Reply, GatewayError> {
        let matched = self.find(|api, table| route_for(api, table, text)).await.ok_or_else(|| {
            GatewayError::Forbidden("no route is for this message, and there is no `$default`".to_owned())
        })?;
        matched.route().path.clone_into(&mut line.path);
        line.function = matched.route().function().map(str::to_owned);
        // Routes of messages have no authorizer, but throttles they have.
        authorize::authorize(&self.gateway, request, &matched).await?;
        let client = &self.connection.client;
        let event = event::message(request, &matched, client, text);
        let mut reply = integration::run(&self.gateway, request, &matched, &client.caller, event).await?;
        if !matched.route().responds {
            reply.body = Bytes::new();
        }
        let limit = self.gateway.connections().limits().message;
        if reply.body.len() > limit {
            let length = reply.body.len();
            return Err(GatewayError::Integration(format!(
                "the answer has {length} bytes, of {limit} that a message may have"
            )));
        }
        Ok(reply)
    }
}

/// The route that the API's expression selects, else `$default`.
fn route_for(api: &Api, table: &Table, text: &str) -> Option<usize> {
    let key = Expression::parse(&api.route_selection_expression).ok()?.key(text);
    // A client cannot ask for what only the gateway may.
    let key = key.filter(|key| !matches!(key.as_str(), CONNECT | DISCONNECT));
    key.and_then(|key| table.key(&key)).or_else(|| table.key(DEFAULT))
}

impl session::Backend for Host {
    /// What the integration answers if the route has a route response, or why it came to nothing.
    async fn message(&self, text: String) -> Option<Bytes> {
        let request = self.request(Bytes::copy_from_slice(text.as_bytes()));
        let mut line = self.line("MESSAGE", "-", None);
        let (status, reply) = match self.work_on(&text, &mut line, &request).await {
            Ok(reply) => (reply.status, Some(reply.body).filter(|body| !body.is_empty())),
            Err(error) => {
                line.note = error.note();
                let (status, body) = failure::explain(&error, &self.connection.client.id, &request.id);
                (status, Some(body))
            }
        };
        line.log(status.as_u16());
        reply
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::super::event::tests::api;
    use super::*;

    fn route(keys: &[&str], message: &str) -> Option<String> {
        let api = api(keys);
        let table = Table::new(&api);
        route_for(&api, &table, message).map(|route| api.routes[route].path.clone())
    }

    #[test]
    fn a_message_takes_the_route_of_its_key_else_the_default_one() {
        let keys = ["$connect", "$disconnect", "join", "$default"];
        for (message, expected) in [
            (r#"{"action":"join"}"#, "join"),
            (r#"{"action":"leave"}"#, "$default"),
            (r#"{"action":"$default"}"#, "$default"),
            ("no JSON", "$default"),
            ("", "$default"),
            // Not even the lifecycle of a connection can be asked for.
            (r#"{"action":"$connect"}"#, "$default"),
            (r#"{"action":"$disconnect"}"#, "$default"),
        ] {
            assert_eq!(route(&keys, message).as_deref(), Some(expected), "{message}");
            if expected == "$default" {
                assert_eq!(route(&keys[..3], message), None, "{message}");
            }
        }
    }

    #[test]
    fn what_browsers_object_to_is_said() {
        let chat = HeaderValue::from_static("chat");
        assert_eq!(note_on_protocol(None, &[]), None);
        assert_eq!(note_on_protocol(Some(&chat), &["soap".into(), "chat".into()]), None);
        assert!(note_on_protocol(Some(&chat), &[]).unwrap().contains("has not offered"));
        assert!(note_on_protocol(None, &["chat".into()]).unwrap().contains("returns none of them"));
    }

    #[test]
    fn a_refusal_is_the_handlers_own_but_for_the_transfer() {
        let mut reply = Reply { status: StatusCode::UNAUTHORIZED, ..Reply::default() };
        reply.headers.insert("x-why", HeaderValue::from_static("token"));
        reply.headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        reply.headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("7000"));
        let response = refusal(reply);
        assert_eq!(response.status(), 401);
        assert_eq!(response.headers()["x-why"], "token");
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
        assert_eq!(response.headers().len(), 2);
    }
}
