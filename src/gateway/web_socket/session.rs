//! The life of one open connection, up to the word that ends it.

use std::future::Future;
use std::sync::Arc;

use axum::body::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::connections::Connection;
use super::event::End;
use crate::http::web_socket::{Received, Socket};

/// What happens to a message; what comes of it is sent to the client.
pub trait Backend: Send + Sync + 'static {
    fn message(&self, text: String) -> impl Future<Output = Option<Bytes>> + Send;
}

/// Who ended it.
#[derive(Debug, PartialEq, Eq)]
pub enum Ending {
    /// The client has said goodbye.
    Client(End),
    /// We shall.
    Server(End),
    /// There is nobody to talk to any more.
    Lost,
}

impl Ending {
    fn server(code: u16, reason: &str) -> Self {
        Self::Server(End { code, reason: reason.to_owned() })
    }

    /// For the `$disconnect` event.
    pub fn end(&self) -> End {
        match self {
            Self::Client(end) | Self::Server(end) => end.clone(),
            Self::Lost => End { code: 1006, reason: "Connection Closed Abnormally".to_owned() },
        }
    }
}

/// Serves until something ends it. Messages that are still being worked on are handed back.
pub async fn run<S: AsyncRead + AsyncWrite + Unpin, B: Backend>(
    socket: &mut Socket<S>,
    connection: &Connection,
    mut outgoing: mpsc::Receiver<Bytes>,
    mut stop: watch::Receiver<bool>,
    backend: Arc<B>,
) -> (Ending, JoinSet<Option<Bytes>>) {
    let limits = connection.limits();
    let mut work = JoinSet::new();
    let born = Instant::now();
    let mut active = born;
    let mut stopping = false;
    let ending = loop {
        if stopping && work.is_empty() {
            break send_waiting(socket, connection, &mut outgoing)
                .await
                .unwrap_or(Ending::server(1001, GOING));
        }
        let deadline = (active + limits.idle).min(born + limits.life);
        tokio::select! {
            // Of a client that sends faster than its messages are worked on, no more is read.
            received = socket.receive(), if !stopping && work.len() < limits.at_work => {
                active = Instant::now();
                connection.touch();
                match received {
                    Received::Text(text) => {
                        let backend = backend.clone();
                        work.spawn(async move { backend.message(text).await });
                    }
                    Received::SignOfLife => {}
                    Received::Binary => break Ending::server(1003, "Binary frames are not supported"),
                    Received::Unacceptable(code) => break Ending::server(code, match code {
                        1009 => "Message or frame too big",
                        1007 => "Text is not UTF-8",
                        _ => "Protocol error",
                    }),
                    Received::Close(Some((code, reason))) => break Ending::Client(End { code, reason }),
                    Received::Close(None) => break Ending::Client(End {
                        code: 1005,
                        reason: "Client-side close frame status not set".to_owned(),
                    }),
                    Received::Lost => break Ending::Lost,
                }
            }
            Some(reply) = work.join_next(), if !work.is_empty() => {
                if let Ok(Some(reply)) = reply {
                    if send(socket, connection, reply).await.is_err() {
                        break Ending::Lost;
                    }
                    active = Instant::now();
                }
            }
            Some(message) = outgoing.recv() => {
                connection.taken(message.len());
                if send(socket, connection, message).await.is_err() {
                    break Ending::Lost;
                }
                active = Instant::now();
            }
            () = connection.deleted.notified() => {
                break send_waiting(socket, connection, &mut outgoing)
                    .await
                    .unwrap_or(Ending::server(1000, "Connection Closed Normally"));
            }
            // What has been begun is finished first.
            () = stopped(&mut stop), if !stopping => stopping = true,
            () = tokio::time::sleep_until(deadline) => break Ending::server(1001, GOING),
        }
    };
    (ending, work)
}

const GOING: &str = "Going away";

async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn send<S: AsyncRead + AsyncWrite + Unpin>(
    socket: &mut Socket<S>,
    connection: &Connection,
    message: Bytes,
) -> Result<(), ()> {
    let sent = tokio::time::timeout(connection.limits().send, socket.send(message)).await;
    sent.map_err(drop).flatten()?;
    connection.touch();
    Ok(())
}

/// What was put in line before the end still goes out. `Some`: it does not.
async fn send_waiting<S: AsyncRead + AsyncWrite + Unpin>(
    socket: &mut Socket<S>,
    connection: &Connection,
    outgoing: &mut mpsc::Receiver<Bytes>,
) -> Option<Ending> {
    outgoing.close();
    while let Ok(message) = outgoing.try_recv() {
        connection.taken(message.len());
        if send(socket, connection, message).await.is_err() {
            return Some(Ending::Lost);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::{SinkExt, StreamExt};
    use tokio::io::DuplexStream;
    use tokio::sync::Semaphore;
    use tokio_tungstenite::WebSocketStream;
    use tokio_tungstenite::tungstenite::Message;
    use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};

    use super::super::Limits;
    use super::super::connections::{Connections, Refused, tests::client};
    use super::*;
    use crate::http::web_socket::Sizes;

    type Client = WebSocketStream<DuplexStream>;

    /// Says a message back when it is allowed to; what begins with `-` has no answer.
    struct Echo {
        begun: watch::Sender<usize>,
        allowed: Semaphore,
    }

    impl Backend for Echo {
        async fn message(&self, text: String) -> Option<Bytes> {
            self.begun.send_modify(|begun| *begun += 1);
            self.allowed.acquire().await.unwrap().forget();
            (!text.starts_with('-')).then(|| text.into())
        }
    }

    struct Running {
        connections: Connections,
        connection: Arc<Connection>,
        echo: Arc<Echo>,
        task: tokio::task::JoinHandle<(Ending, usize)>,
    }

    /// The session says goodbye as `open` does.
    async fn start(limits: Limits, allowed: usize) -> (Client, Running) {
        let (here, there) = tokio::io::duplex(1024);
        let sizes = Sizes { message: limits.message, frame: limits.frame };
        let connections = Connections::new(limits);
        let (connection, outgoing) = connections.add(client("a="), "api", "prod");
        let echo = Arc::new(Echo { begun: watch::Sender::new(0), allowed: Semaphore::new(allowed) });
        let stop = connections.stopping();
        let task = tokio::spawn({
            let (connection, echo) = (connection.clone(), echo.clone());
            async move {
                let mut socket = Socket::new(here, sizes).await;
                let (ending, work) = run(&mut socket, &connection, outgoing, stop, echo).await;
                let patience = Duration::from_secs(30);
                match &ending {
                    Ending::Client(_) => socket.finish(patience).await,
                    Ending::Server(end) => socket.close(end.code, &end.reason, patience).await,
                    Ending::Lost => {}
                }
                (ending, work.len())
            }
        });
        let client = WebSocketStream::from_raw_socket(there, Role::Client, None).await;
        (client, Running { connections, connection, echo, task })
    }

    async fn next(client: &mut Client) -> String {
        match client.next().await {
            Some(Ok(Message::Text(text))) => text.to_string(),
            Some(Ok(Message::Close(Some(frame)))) => format!("{} {}", u16::from(frame.code), frame.reason),
            other => panic!("{other:?}"),
        }
    }

    fn server(code: u16, reason: &str) -> Ending {
        Ending::server(code, reason)
    }

    #[tokio::test]
    async fn messages_are_worked_on_at_once_and_answered_as_they_are_done() {
        let (mut client, running) = start(Limits::default(), 0).await;
        for text in ["one", "-none", "two"] {
            client.send(Message::text(text)).await.unwrap();
        }
        running.connection.post("posted".into()).unwrap();
        assert_eq!(next(&mut client).await, "posted", "nothing waits for what is at work");
        running.echo.allowed.add_permits(3);
        let mut answers = [next(&mut client).await, next(&mut client).await];
        answers.sort();
        assert_eq!(answers, ["one", "two"]);
        let frame = CloseFrame { code: 4000.into(), reason: "enough".into() };
        client.send(Message::Close(Some(frame))).await.unwrap();
        let (ending, _) = running.task.await.unwrap();
        assert_eq!(ending, Ending::Client(End { code: 4000, reason: "enough".into() }));
    }

    #[tokio::test]
    async fn a_client_without_a_word_or_without_a_status_has_its_code() {
        let (client, running) = start(Limits::default(), 0).await;
        drop(client);
        let (ending, _) = running.task.await.unwrap();
        assert_eq!((&ending, ending.end().code), (&Ending::Lost, 1006));

        let (mut client, running) = start(Limits::default(), 0).await;
        client.send(Message::Close(None)).await.unwrap();
        assert_eq!(running.task.await.unwrap().0.end().code, 1005);
    }

    #[tokio::test]
    async fn binary_and_overlong_messages_end_the_connection() {
        let limits = || Limits { message: 64, frame: 32, ..Limits::default() };
        for (message, code) in [(Message::binary(vec![1]), "1003"), (Message::text("x".repeat(33)), "1009")] {
            let (mut client, running) = start(limits(), 1).await;
            client.send(message).await.unwrap();
            assert!(next(&mut client).await.starts_with(code));
            drop(client);
            assert!(matches!(running.task.await.unwrap().0, Ending::Server(_)));
        }
    }

    #[tokio::test]
    async fn silence_ends_a_connection_and_so_does_age() {
        let idle = Limits { idle: Duration::from_millis(20), ..Limits::default() };
        let (mut client, running) = start(idle, 0).await;
        assert_eq!(next(&mut client).await, "1001 Going away");
        drop(client);
        assert_eq!(running.task.await.unwrap().0, server(1001, "Going away"));

        // Pings keep it from being idle, not from growing old.
        let old = Limits {
            idle: Duration::from_millis(500),
            life: Duration::from_millis(1200),
            ..Limits::default()
        };
        let (mut client, _running) = start(old, 0).await;
        let began = Instant::now();
        let mut beat = tokio::time::interval(Duration::from_millis(50));
        loop {
            tokio::select! {
                _ = beat.tick() => client.send(Message::Ping("".into())).await.unwrap_or_default(),
                message = client.next() => match message.unwrap().unwrap() {
                    Message::Pong(_) => {}
                    Message::Close(Some(frame)) => break assert_eq!(u16::from(frame.code), 1001),
                    other => panic!("{other:?}"),
                }
            }
        }
        assert!(began.elapsed() >= Duration::from_millis(1100), "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn what_waits_still_goes_out_before_a_connection_is_deleted() {
        let (mut client, running) = start(Limits::default(), 0).await;
        running.connection.post("first".into()).unwrap();
        running.connection.post("second".into()).unwrap();
        running.connection.deleted.notify_one();
        for expected in ["first", "second", "1000 Connection Closed Normally"] {
            assert_eq!(next(&mut client).await, expected);
        }
        drop(client);
        running.task.await.unwrap();
        assert_eq!(running.connection.post("late".into()), Err(Refused::Gone));
    }

    #[tokio::test]
    async fn the_stop_lets_messages_at_work_have_their_answers() {
        let (mut client, running) = start(Limits::default(), 0).await;
        client.send(Message::text("-seen")).await.unwrap();
        client.send(Message::text("slow")).await.unwrap();
        running.echo.allowed.add_permits(1);
        running.connection.post("posted".into()).unwrap();
        assert_eq!(next(&mut client).await, "posted");
        let _ = running.echo.begun.subscribe().wait_for(|begun| *begun == 2).await.unwrap();
        running.connections.stop();
        running.echo.allowed.add_permits(1);
        let (answer, end) = (next(&mut client).await, next(&mut client).await);
        assert_eq!((answer.as_str(), end.as_str()), ("slow", "1001 Going away"));
        drop(client);
        assert_eq!(running.task.await.unwrap(), (server(1001, "Going away"), 0));
    }

    #[tokio::test]
    async fn of_a_client_that_sends_too_fast_no_more_is_read() {
        let limits = Limits { at_work: 2, ..Limits::default() };
        let (mut client, running) = start(limits, 0).await;
        // The pipe between them holds 1024 bytes: the third message cannot be sent whole.
        for _ in 0..2 {
            client.send(Message::text("x".repeat(500))).await.unwrap();
        }
        let third = async {
            for _ in 0..20 {
                client.send(Message::text("x".repeat(500))).await.unwrap();
            }
        };
        assert!(tokio::time::timeout(Duration::from_millis(50), third).await.is_err());
        running.echo.allowed.add_permits(100);
        assert_eq!(next(&mut client).await.len(), 500);
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_is_given_up() {
        let limits = Limits { send: Duration::from_millis(20), ..Limits::default() };
        let (client, running) = start(limits, 0).await;
        running.connection.post(vec![b'x'; 100_000].into()).unwrap();
        assert_eq!(running.task.await.unwrap().0, Ending::Lost);
        drop(client);
    }
}
