//! WebSockets: the handshake, messages, and an end that both sides hear of.

use std::time::Duration;

use axum::body::{Body, Bytes};
use futures_util::{SinkExt, StreamExt};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode, Version, header};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::defences;

/// Of a connection that has been given up, this much is still read, so that the client sees why.
const LAST_BYTES: u64 = 1024 * 1024;

/// What a client may send.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    pub message: usize,
    pub frame: usize,
}

/// A request to open a WebSocket, found to be a proper one.
pub struct Offer {
    upgrade: OnUpgrade,
    accept: String,
    /// `Sec-WebSocket-Protocol`, as the client prefers them.
    pub protocols: Vec<String>,
}

impl Offer {
    pub fn of(head: &mut Parts) -> Result<Self, &'static str> {
        let is = |name: header::HeaderName, wanted: &str| {
            let values = head.headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
            values.flat_map(|value| value.split(',')).any(|part| part.trim().eq_ignore_ascii_case(wanted))
        };
        if head.method != Method::GET || head.version != Version::HTTP_11 {
            return Err("a WebSocket is opened by a GET request over HTTP/1.1");
        }
        if !is(header::UPGRADE, "websocket") || !is(header::CONNECTION, "upgrade") {
            return Err(
                "a WebSocket is opened with `Upgrade: websocket` and `Connection: Upgrade`; a proxy on the way \
                 may have taken one of them",
            );
        }
        if !is(header::SEC_WEBSOCKET_VERSION, "13") {
            return Err("only version 13 of WebSockets is spoken (`Sec-WebSocket-Version`)");
        }
        let key = head.headers.get(header::SEC_WEBSOCKET_KEY).filter(|key| key.len() == 24);
        let key = key.ok_or("`Sec-WebSocket-Key` is missing, or is not the base64 of 16 bytes")?;
        let accept = derive_accept_key(key.as_bytes());
        let protocols = head.headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
        let protocols = protocols
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(|protocol| protocol.trim().to_owned())
            .collect();
        let upgrade = head.extensions.remove::<OnUpgrade>();
        let upgrade = upgrade.ok_or("this connection cannot become a WebSocket")?;
        Ok(Self { upgrade, accept, protocols })
    }

    /// The answer to the client, and what opens when the client has it.
    pub fn accept(self, protocol: Option<HeaderValue>, sizes: Sizes) -> (Response<Body>, Opening) {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        let accept = HeaderValue::from_str(&self.accept).expect("base64 is a valid header");
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
        if let Some(protocol) = protocol {
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
        }
        (response, Opening { upgrade: self.upgrade, sizes })
    }
}

pub struct Opening {
    upgrade: OnUpgrade,
    sizes: Sizes,
}

impl Opening {
    /// `None`: the client has gone in the meantime.
    pub async fn open(self) -> Option<Socket<TokioIo<Upgraded>>> {
        let upgraded = self.upgrade.await.ok()?;
        Some(Socket::new(TokioIo::new(upgraded), self.sizes).await)
    }
}

/// The server's end of an open WebSocket.
pub struct Socket<S> {
    stream: WebSocketStream<S>,
    /// No more can be understood of what the client sends.
    broken: bool,
}

/// What came from the client.
#[derive(Debug, PartialEq, Eq)]
pub enum Received {
    Text(String),
    Binary,
    /// A ping, which has its answer, or a pong.
    SignOfLife,
    /// The client ends the connection, perhaps saying why.
    Close(Option<(u16, String)>),
    /// What came cannot be accepted; the code says so to the client.
    Unacceptable(u16),
    /// The connection ended without a word.
    Lost,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    pub async fn new(stream: S, sizes: Sizes) -> Self {
        let limit = |size| (!defences::off("web-socket-size")).then_some(size);
        let config = WebSocketConfig::default()
            .max_message_size(limit(sizes.message))
            .max_frame_size(limit(sizes.frame))
            // There may be thousands of them.
            .read_buffer_size(4 * 1024)
            .write_buffer_size(0)
            .max_write_buffer_size(1024 * 1024);
        Self {
            stream: WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await,
            broken: false,
        }
    }

    /// May be given up half-way and asked again.
    pub async fn receive(&mut self) -> Received {
        match self.stream.next().await {
            Some(Ok(Message::Text(text))) => Received::Text(text.as_str().to_owned()),
            Some(Ok(Message::Binary(_))) => Received::Binary,
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Received::SignOfLife,
            Some(Ok(Message::Close(frame))) => {
                Received::Close(frame.map(|frame| (frame.code.into(), frame.reason.as_str().to_owned())))
            }
            Some(Err(error)) => {
                self.broken = true;
                match error {
                    Error::Capacity(_) => Received::Unacceptable(1009),
                    Error::Utf8(_) => Received::Unacceptable(1007),
                    Error::Protocol(error) if is_violation(&error) => Received::Unacceptable(1002),
                    _ => Received::Lost,
                }
            }
            None => Received::Lost,
        }
    }

    /// As text if it is text. `Err`: the connection is lost.
    pub async fn send(&mut self, message: Bytes) -> Result<(), ()> {
        let message = match String::from_utf8(message.into()) {
            Ok(text) => Message::text(text),
            Err(bytes) => Message::binary(bytes.into_bytes()),
        };
        self.stream.send(message).await.map_err(drop)
    }

    /// Answers the client's goodbye.
    pub async fn finish(mut self, patience: Duration) {
        let _ = tokio::time::timeout(patience, async {
            while let Some(Ok(_)) = self.stream.next().await {}
            let _ = self.stream.get_mut().shutdown().await;
        })
        .await;
    }

    /// Says goodbye, and gives the client a moment to hear it and to say the same.
    pub async fn close(mut self, code: u16, reason: &str, patience: Duration) {
        let frame = CloseFrame { code: CloseCode::from(code), reason: reason.into() };
        let _ = tokio::time::timeout(patience, async {
            if self.stream.send(Message::Close(Some(frame))).await.is_err() {
                return;
            }
            if self.broken {
                // A connection closed on unread bytes is reset, and the client may never see the code.
                let stream = self.stream.get_mut();
                let _ = stream.shutdown().await;
                let _ = tokio::io::copy(&mut stream.take(LAST_BYTES), &mut tokio::io::sink()).await;
            } else {
                while let Some(Ok(_)) = self.stream.next().await {}
                let _ = self.stream.get_mut().shutdown().await;
            }
        })
        .await;
    }
}

/// Not just the end of the connection, which is reported as a violation too.
fn is_violation(error: &tokio_tungstenite::tungstenite::error::ProtocolError) -> bool {
    use tokio_tungstenite::tungstenite::error::ProtocolError;
    !matches!(error, ProtocolError::ResetWithoutClosingHandshake)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::DuplexStream;

    const SIZES: Sizes = Sizes { message: 128, frame: 32 };
    const PATIENCE: Duration = Duration::from_secs(30);

    async fn pair() -> (Socket<DuplexStream>, WebSocketStream<DuplexStream>) {
        let (here, there) = tokio::io::duplex(64 * 1024);
        let client = WebSocketStream::from_raw_socket(there, Role::Client, None).await;
        (Socket::new(here, SIZES).await, client)
    }

    fn request(headers: &[(&str, &str)]) -> Parts {
        let mut builder = http::Request::builder().uri("/live");
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        builder.body(()).unwrap().into_parts().0
    }

    #[tokio::test]
    async fn messages_go_both_ways_and_pings_are_answered() {
        let (mut server, mut client) = pair().await;
        client.send(Message::text("hello")).await.unwrap();
        client.send(Message::binary(vec![0xff])).await.unwrap();
        client.send(Message::Ping("p".into())).await.unwrap();
        assert_eq!(server.receive().await, Received::Text("hello".into()));
        assert_eq!(server.receive().await, Received::Binary);
        assert_eq!(server.receive().await, Received::SignOfLife);
        server.send("caf\u{e9}".into()).await.unwrap();
        server.send(vec![0xff, 0].into()).await.unwrap();
        // The answer to a ping may overtake nothing, and nothing has to overtake it.
        let mut messages = Vec::new();
        for _ in 0..3 {
            messages.push(client.next().await.unwrap().unwrap());
        }
        let others = [Message::text("caf\u{e9}"), Message::binary(vec![0xff, 0])];
        assert!(messages.contains(&Message::Pong("p".into())), "{messages:?}");
        messages.retain(|message| !message.is_pong());
        assert_eq!(messages, others);
    }

    #[tokio::test]
    async fn what_is_too_long_is_answered_with_1009_even_when_more_follows() {
        for messages in [vec![Message::text("x".repeat(33)), Message::text("x".repeat(9000))], {
            // Each frame is short enough, the message is not.
            use tokio_tungstenite::tungstenite::protocol::frame::Frame;
            use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
            let part = |code, last| Message::Frame(Frame::message(vec![b'x'; 32], OpCode::Data(code), last));
            let mut parts = vec![part(Data::Text, false)];
            parts.extend((0..4).map(|_| part(Data::Continue, false)));
            parts
        }] {
            let (mut server, mut client) = pair().await;
            for message in messages {
                client.send(message).await.unwrap();
            }
            let Received::Unacceptable(code) = server.receive().await else { panic!("too long") };
            let closing = tokio::spawn(server.close(code, "too long", PATIENCE));
            let Message::Close(Some(frame)) = client.next().await.unwrap().unwrap() else { panic!() };
            assert_eq!((u16::from(frame.code), frame.reason.as_str()), (1009, "too long"));
            drop(client);
            closing.await.unwrap();
        }
    }

    #[tokio::test]
    async fn whichever_side_ends_it_the_other_hears_why() {
        let (mut server, mut client) = pair().await;
        let frame = CloseFrame { code: CloseCode::from(4001), reason: "enough".into() };
        client.send(Message::Close(Some(frame))).await.unwrap();
        assert_eq!(server.receive().await, Received::Close(Some((4001, "enough".into()))));
        let finishing = tokio::spawn(server.finish(PATIENCE));
        assert!(matches!(client.next().await.unwrap().unwrap(), Message::Close(_)));
        assert!(client.next().await.is_none());
        finishing.await.unwrap();

        let (server, mut client) = pair().await;
        let closing = tokio::spawn(server.close(1001, "Going away", PATIENCE));
        let Message::Close(Some(frame)) = client.next().await.unwrap().unwrap() else { panic!() };
        assert_eq!((u16::from(frame.code), frame.reason.as_str()), (1001, "Going away"));
        assert!(client.next().await.is_none());
        closing.await.unwrap();

        let (mut server, client) = pair().await;
        drop(client);
        assert_eq!(server.receive().await, Received::Lost);
    }

    #[tokio::test]
    async fn a_client_that_breaks_the_rules_is_told_which() {
        // A frame without a mask; and text that is no UTF-8.
        for (bytes, code) in [(&[0x81, 0x01, b'x'][..], 1002), (&[0x81, 0x81, 0, 0, 0, 0, 0xff][..], 1007)] {
            let (here, mut there) = tokio::io::duplex(1024);
            let mut server = Socket::new(here, SIZES).await;
            there.write_all(bytes).await.unwrap();
            assert_eq!(server.receive().await, Received::Unacceptable(code));
        }
    }

    #[test]
    fn only_proper_requests_are_offers() {
        let proper = [
            ("upgrade", "websocket"),
            ("connection", "keep-alive, Upgrade"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        for without in 0..proper.len() {
            let mut headers = proper.to_vec();
            headers.remove(without);
            assert!(Offer::of(&mut request(&headers)).is_err(), "{headers:?}");
        }
        // Complete, but not a connection of ours.
        let error = Offer::of(&mut request(&proper)).err().unwrap();
        assert_eq!(error, "this connection cannot become a WebSocket");
    }
}
