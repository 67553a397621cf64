//! HTTP/1.1 written by hand, for requests that no proper client sends and for bytes as they are.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use crate::harness::PATIENCE;

pub struct Connection {
    stream: TcpStream,
    /// Read, but not yet part of an answer.
    rest: Vec<u8>,
}

#[derive(Debug)]
pub struct RawAnswer {
    pub status: u16,
    /// Names as they were on the wire.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl RawAnswer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is text")
    }
}

impl From<TcpStream> for Connection {
    fn from(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream, rest: Vec::new() }
    }
}

impl Connection {
    /// `url`: `http://ADDRESS`, without a path.
    pub fn open(url: &str) -> Self {
        let stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).expect("the port is open");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream, rest: Vec::new() }
    }

    pub fn patient_for(self, limit: std::time::Duration) -> Self {
        self.stream.set_read_timeout(Some(limit)).unwrap();
        self
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("the connection is open");
    }

    /// An answer with its body.
    pub fn answer(&mut self) -> RawAnswer {
        let mut answer = self.answer_without_body();
        assert_eq!(answer.header("transfer-encoding"), None, "whole bodies are sent with their length");
        let length = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
        while self.rest.len() < length {
            assert!(self.read_more(), "the connection ended inside a body");
        }
        answer.body = self.rest.drain(..length).collect();
        answer
    }

    /// The answer to a HEAD request: whatever its length says, nothing follows.
    pub fn answer_without_body(&mut self) -> RawAnswer {
        let end = loop {
            if let Some(at) = self.rest.windows(4).position(|four| four == b"\r\n\r\n") {
                break at;
            }
            assert!(self.read_more(), "the connection ended before an answer: {:?}", self.rest);
        };
        let head: Vec<u8> = self.rest.drain(..end + 4).collect();
        let head = String::from_utf8(head).expect("the header is text");
        let mut lines = head.trim_end().split("\r\n");
        let status_line = lines.next().unwrap();
        let status = status_line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(':').expect("a header has a colon");
            (name.to_owned(), value.trim().to_owned())
        });
        RawAnswer {
            status: status.unwrap_or_else(|| panic!("no status in {status_line}")),
            headers: headers.collect(),
            body: Vec::new(),
        }
    }

    /// The next chunk of a body in chunked encoding; `None` at its proper end.
    pub fn chunk(&mut self) -> Option<Vec<u8>> {
        let line_end = loop {
            if let Some(at) = self.rest.windows(2).position(|two| two == b"\r\n") {
                break at;
            }
            assert!(self.read_more(), "the connection ended where a chunk should begin");
        };
        let line: Vec<u8> = self.rest.drain(..line_end + 2).collect();
        let length = usize::from_str_radix(std::str::from_utf8(&line).unwrap().trim(), 16).unwrap();
        while self.rest.len() < length + 2 {
            assert!(self.read_more(), "the connection ended inside a chunk");
        }
        let chunk: Vec<u8> = self.rest.drain(..length).collect();
        self.rest.drain(..2);
        (length > 0).then_some(chunk)
    }

    /// Waits for the other side to close without another byte.
    pub fn is_closed(&mut self) -> bool {
        self.rest.is_empty() && !self.read_more()
    }

    fn read_more(&mut self) -> bool {
        let mut buffer = [0; 64 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => false,
            Ok(length) => {
                self.rest.extend_from_slice(&buffer[..length]);
                true
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            Err(error) => panic!("nothing more came: {error}"),
        }
    }
}

/// One request on a connection of its own.
pub fn exchange(url: &str, request: impl AsRef<[u8]>) -> RawAnswer {
    let mut connection = Connection::open(url);
    connection.send(request);
    connection.answer()
}
