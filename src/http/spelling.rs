//! How the client spelled the names of its header fields.
//!
//! hyper hands names over in lower case, and a REST API's events have them as they were sent. So the
//! bytes of each head (HTTP/1 only) are kept where they are read: a head, then its body by its
//! framing, then the next head. Bodies are passed over, not searched: what looks like a head inside
//! of one is none.
//!
//! What is kept is never trusted for more than spelling, and if this file and hyper should ever come
//! to see a connection differently, names are in lower case, as they are without it.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use http::{HeaderMap, Method, Version, header};
use hyper::body::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::HEADER_BYTES;
use super::frames::{Flood, Frames};

/// Bytes that are kept while no request is taken: as much as hyper itself reads ahead, and again.
const LIMIT: usize = 2 * HEADER_BYTES;

/// The head of a request as it came, as an extension of the request.
#[derive(Debug, Clone)]
pub struct Spelling(Bytes);

impl Spelling {
    /// Names in the order in which they were sent, a repeated one repeatedly.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let lines = self.0.split(|byte| *byte == b'\n').skip(1);
        lines.filter_map(|line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            std::str::from_utf8(&line[..colon]).ok().filter(|name| !name.is_empty())
        })
    }

    /// This name as the client spelled it first.
    pub fn of(&self, name: &str) -> Option<&str> {
        self.names().find(|spelled| spelled.eq_ignore_ascii_case(name))
    }

    /// From the request line to the empty line.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    #[cfg(any(test, fuzzing))]
    pub fn for_test(head: impl AsRef<[u8]>) -> Self {
        Self(Bytes::copy_from_slice(head.as_ref()))
    }
}

/// A stream whose heads are kept.
pub(super) struct Recorded<S> {
    stream: S,
    recorder: Shared,
}

/// The recorder of a connection: the stream writes, whoever serves the requests takes.
#[derive(Clone, Default)]
pub(super) struct Shared(Arc<Mutex<Recorder>>);

impl<S> Recorded<S> {
    pub fn new(stream: S) -> (Self, Shared) {
        let recorder = Shared::default();
        (Self { stream, recorder: recorder.clone() }, recorder)
    }
}

impl Shared {
    /// At the moment when hyper has read this head.
    pub fn take(&self, method: &Method, version: Version, headers: &HeaderMap) -> Option<Spelling> {
        self.0.lock().unwrap().take(method, version, headers)
    }

    /// How far the client is with its next head.
    pub fn progress(&self) -> Progress {
        let recorder = self.0.lock().unwrap();
        match recorder.place {
            Place::Frames(_) => Progress::Http2,
            _ => recorder.begun.map_or(Progress::Nothing, Progress::Head),
        }
    }

    /// Whether the connection was ended because of a flood.
    pub fn is_flooded(&self) -> bool {
        self.0.lock().unwrap().flooded
    }
}

pub(super) enum Progress {
    Nothing,
    /// Begun, and not yet taken.
    Head(Instant),
    /// Where heads are not looked at.
    Http2,
}

impl<S: AsyncRead + Unpin> AsyncRead for Recorded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let read = &buffer.filled()[before..];
        if !read.is_empty() {
            let passed = self.recorder.0.lock().unwrap().read(read);
            passed.map_err(|Flood| io::Error::new(io::ErrorKind::ConnectionAborted, "a flood of frames"))?;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Recorded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Where in the client's bytes a connection is.
#[derive(Default)]
struct Recorder {
    place: Place,
    /// From the beginning of the next head on.
    kept: Vec<u8>,
    /// When that began.
    begun: Option<Instant>,
    flooded: bool,
}

#[derive(Default)]
enum Place {
    #[default]
    Head,
    /// So many bytes of a body are to come.
    Body(u64),
    Chunks(Chunks),
    Frames(Frames),
    /// Not HTTP/1 or HTTP/2, or not any more, or not as it is understood here.
    Lost,
}

impl Recorder {
    fn read(&mut self, mut bytes: &[u8]) -> Result<(), Flood> {
        match &mut self.place {
            Place::Head => {}
            Place::Body(left) => {
                let passed = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= passed as u64;
                if *left == 0 {
                    self.place = Place::Head;
                }
                bytes = &bytes[passed..];
            }
            Place::Chunks(chunks) => match chunks.pass(bytes) {
                Some(passed) => {
                    if chunks.is_over() {
                        self.place = Place::Head;
                    }
                    bytes = &bytes[passed..];
                }
                None => {
                    self.lose();
                    return Ok(());
                }
            },
            Place::Frames(frames) => {
                let passed = frames.pass(bytes);
                self.flooded = passed.is_err();
                return passed;
            }
            Place::Lost => return Ok(()),
        }
        if bytes.is_empty() {
            return Ok(());
        }
        if self.kept.len() + bytes.len() > LIMIT {
            self.lose();
            return Ok(());
        }
        self.kept.extend_from_slice(bytes);
        if self.begun.is_none() {
            self.begun = Some(Instant::now());
        }
        match Frames::preface(&self.kept) {
            Some(length) => {
                let rest = std::mem::take(&mut self.kept).split_off(length);
                self.begun = None;
                self.place = Place::Frames(Frames::default());
                self.read(&rest)
            }
            None => Ok(()),
        }
    }

    fn take(&mut self, method: &Method, version: Version, headers: &HeaderMap) -> Option<Spelling> {
        let head = match self.place {
            Place::Frames(_) if version == Version::HTTP_2 => return None,
            Place::Head if matches!(version, Version::HTTP_11 | Version::HTTP_10) => self.head(method),
            _ => None,
        };
        let Some(head) = head else {
            self.lose();
            return None;
        };
        let rest = self.kept.split_off(head.end);
        let mut taken = Bytes::from(std::mem::replace(&mut self.kept, rest));
        taken.advance(head.start);
        self.begun = None;
        match framing(headers) {
            Some(Place::Head) => self.begun = (!self.kept.is_empty()).then(Instant::now),
            Some(place) => {
                self.place = place;
                let rest = std::mem::take(&mut self.kept);
                // No frames here.
                let _ = self.read(&rest);
            }
            None => self.lose(),
        }
        Some(Spelling(taken))
    }

    /// Where the head of a request with this method stands in what is kept.
    fn head(&self, method: &Method) -> Option<std::ops::Range<usize>> {
        let start = self.kept.iter().position(|byte| !matches!(byte, b'\r' | b'\n'))?;
        let bytes = &self.kept[start..];
        if bytes.strip_prefix(method.as_str().as_bytes())?.first() != Some(&b' ') {
            return None;
        }
        let mut end = 0;
        loop {
            end += memchr::memchr(b'\n', &bytes[end..])? + 1;
            match &bytes[end..] {
                [b'\n', ..] => return Some(start..start + end + 1),
                [b'\r', b'\n', ..] => return Some(start..start + end + 2),
                _ => {}
            }
        }
    }

    fn lose(&mut self) {
        self.place = Place::Lost;
        self.kept = Vec::new();
        self.begun = None;
    }
}

/// What follows a head, as hyper sees it.
fn framing(headers: &HeaderMap) -> Option<Place> {
    if headers.contains_key(header::TRANSFER_ENCODING) {
        return Some(Place::Chunks(Chunks::default()));
    }
    match headers.get(header::CONTENT_LENGTH) {
        None => Some(Place::Head),
        Some(length) => match length.to_str().ok()?.trim().parse().ok()? {
            0 => Some(Place::Head),
            length => Some(Place::Body(length)),
        },
    }
}

/// Where in a chunked body a connection is.
#[derive(Default, Clone, Copy)]
enum Chunks {
    #[default]
    Start,
    Size(u64),
    /// The rest of a line that says a chunk's size.
    Extension(u64),
    Data(u64),
    /// The end of the line behind a chunk's bytes.
    DataEnd,
    /// The beginning of a line behind the last chunk.
    TrailerStart,
    /// Within it. Only a carriage return ends it, as hyper has it, for which a line feed alone is a
    /// part of the line.
    Trailer,
    /// The line feed of its end, and whether nothing stood on it.
    TrailerEnd(bool),
    Over,
}

impl Chunks {
    fn is_over(self) -> bool {
        matches!(self, Self::Over)
    }

    /// How many of these bytes belong to the body; `None` if they are no chunks.
    fn pass(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while at < bytes.len() && !self.is_over() {
            if let Self::Data(left) = *self {
                let passed = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len() - at);
                at += passed;
                let left = left - passed as u64;
                *self = if left == 0 { Self::DataEnd } else { Self::Data(left) };
                continue;
            }
            *self = self.after(bytes[at])?;
            at += 1;
        }
        Some(at)
    }

    fn after(self, byte: u8) -> Option<Self> {
        let digit = char::from(byte).to_digit(16).map(u64::from);
        Some(match (self, byte) {
            (Self::Start, _) => Self::Size(digit?),
            (Self::Size(size), _) if digit.is_some() => {
                Self::Size(size.checked_mul(16)?.checked_add(digit?)?)
            }
            (Self::Size(0) | Self::Extension(0), b'\n') => Self::TrailerStart,
            (Self::Size(size) | Self::Extension(size), b'\n') => Self::Data(size),
            (Self::Size(size) | Self::Extension(size), _) => Self::Extension(size),
            (Self::DataEnd, b'\n') => Self::Start,
            (Self::DataEnd, b'\r') => Self::DataEnd,
            (Self::DataEnd, _) => return None,
            (Self::TrailerStart, b'\r') => Self::TrailerEnd(true),
            (Self::Trailer, b'\r') => Self::TrailerEnd(false),
            (Self::TrailerStart | Self::Trailer, _) => Self::Trailer,
            (Self::TrailerEnd(true), b'\n') => Self::Over,
            (Self::TrailerEnd(false), b'\n') => Self::TrailerStart,
            (Self::TrailerEnd(_), _) => return None,
            (Self::Data(_) | Self::Over, _) => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn names(spelling: Option<Spelling>) -> String {
        spelling.map_or("lost".to_owned(), |spelling| spelling.names().collect::<Vec<_>>().join(" "))
    }

    fn take(recorder: &mut Recorder, method: &str, pairs: &[(&'static str, &str)]) -> String {
        names(recorder.take(&method.parse().unwrap(), Version::HTTP_11, &headers(pairs)))
    }

    #[test]
    fn names_are_as_they_were_sent() {
        let mut recorder = Recorder::default();
        recorder
            .read(b"\r\nGET / HTTP/1.1\r\nhOST: a\r\nx-MiXeD: 1:2\r\nX-mixed: 2\r\nEMPTY:\r\n\r\n")
            .unwrap();
        let spelling = recorder.take(&Method::GET, Version::HTTP_11, &headers(&[])).unwrap();
        assert_eq!(spelling.names().collect::<Vec<_>>(), ["hOST", "x-MiXeD", "X-mixed", "EMPTY"]);
        assert_eq!(spelling.of("x-mixed"), Some("x-MiXeD"));
        assert_eq!(spelling.of("other"), None);
    }

    /// What hyper takes for trailers is no head, though a line feed alone ends a line of a head.
    #[test]
    fn a_line_feed_alone_ends_no_trailer() {
        let mut recorder = Recorder::default();
        recorder.read(
            b"GET / HTTP/1.1\r\nA: x\r\n\r\n0\r\nT: 1\n\r\nGET / HTTP/1.1\r\nFAKE: x\r\n\r\nGET / HTTP/1.1\r\nReal: x\r\n\r\n",
        ).unwrap();
        assert_eq!(take(&mut recorder, "GET", &[("transfer-encoding", "chunked")]), "A");
        assert_eq!(take(&mut recorder, "GET", &[]), "Real");
    }

    #[test]
    fn a_body_is_passed_over_whatever_it_looks_like() {
        let fake = "GET / HTTP/1.1\r\nFAKE: x\r\n\r\n";
        for (framing, body) in [
            (("content-length", fake.len().to_string()), fake.to_owned()),
            (("transfer-encoding", "chunked".into()), format!("{:X};a=b\r\n{fake}\r\n0\r\n\r\n", fake.len())),
            (
                ("transfer-encoding", "chunked".into()),
                format!("5 \r\nGET /\r\n{:x}\r\n{fake}\r\n000\r\nGET: trailer\r\n\r\n", fake.len()),
            ),
        ] {
            let mut recorder = Recorder::default();
            recorder
                .read(format!("POST / HTTP/1.1\nA: x\n\n{body}GET / HTTP/1.1\r\nReal: x\r\n\r\n").as_bytes())
                .unwrap();
            assert_eq!(take(&mut recorder, "POST", &[(framing.0, &framing.1)]), "A", "{body}");
            assert_eq!(take(&mut recorder, "GET", &[]), "Real", "{body}");
            recorder.read(b"GET / HTTP/1.1\r\nAgain: x\r\n\r\n").unwrap();
            assert_eq!(take(&mut recorder, "GET", &[]), "Again", "{body}");
        }
    }

    #[test]
    fn what_is_not_understood_is_lost_for_good_and_takes_no_room() {
        let mut other_method = Recorder::default();
        other_method.read(b"GET / HTTP/1.1\r\nA: x\r\n\r\n").unwrap();
        assert_eq!(take(&mut other_method, "POST", &[]), "lost");

        let mut http2 = Recorder::default();
        http2.read(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        assert!(http2.take(&Method::GET, Version::HTTP_2, &headers(&[])).is_none());

        let mut no_chunks = Recorder::default();
        no_chunks.read(b"POST / HTTP/1.1\r\nA: x\r\n\r\nnonsense").unwrap();
        assert_eq!(take(&mut no_chunks, "POST", &[("transfer-encoding", "chunked")]), "A");

        let mut upgraded = Recorder::default();
        for _ in 0..100 {
            let _ = upgraded.read(&[b'x'; 10_000]);
        }
        for recorder in [&mut other_method, &mut http2, &mut no_chunks, &mut upgraded] {
            recorder.read(b"GET / HTTP/1.1\r\nA: x\r\n\r\n").unwrap();
            assert_eq!((recorder.kept.capacity(), take(recorder, "GET", &[]).as_str()), (0, "lost"));
        }
    }

    #[test]
    fn a_long_body_takes_no_room() {
        let mut recorder = Recorder::default();
        recorder.read(b"PUT / HTTP/1.1\r\nA: x\r\n\r\n").unwrap();
        assert_eq!(take(&mut recorder, "PUT", &[("content-length", "10000000")]), "A");
        for _ in 0..1000 {
            let _ = recorder.read(&[b'x'; 10_000]);
            assert!(recorder.kept.is_empty());
        }
        recorder.read(b"GET / HTTP/1.1\r\nB: x\r\n\r\n").unwrap();
        assert_eq!(take(&mut recorder, "GET", &[]), "B");
    }

    /// A request: its bytes, what hyper would say of its framing, and the names in its head.
    fn request() -> impl Strategy<Value = (Vec<u8>, Vec<(&'static str, String)>, String)> {
        let names = proptest::collection::vec("[A-Za-z-]{1,8}", 0..4);
        let piece = prop_oneof![
            Just(b"GET / HTTP/1.1\r\nFake: x\r\n\r\n".to_vec()),
            Just(b"0\r\n\r\n".to_vec()),
            proptest::collection::vec(any::<u8>(), 1..40),
        ];
        let body = proptest::collection::vec(piece, 0..4);
        (names, body, 0..3).prop_map(|(names, pieces, kind)| {
            let mut bytes = b"GET / HTTP/1.1\r\n".to_vec();
            for name in &names {
                bytes.extend_from_slice(format!("{name}: v\r\n").as_bytes());
            }
            bytes.extend_from_slice(b"\r\n");
            let body = pieces.concat();
            let framing = match kind {
                0 => Vec::new(),
                1 => {
                    bytes.extend_from_slice(&body);
                    vec![("content-length", body.len().to_string())]
                }
                _ => {
                    for piece in &pieces {
                        bytes.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                        bytes.extend_from_slice(piece);
                        bytes.extend_from_slice(b"\r\n");
                    }
                    bytes.extend_from_slice(b"0\r\n\r\n");
                    vec![("transfer-encoding", "chunked".to_owned())]
                }
            };
            (bytes, framing, names.join(" "))
        })
    }

    /// hyper itself sees what is taken to be a head.
    #[tokio::test]
    async fn hyper_agrees() {
        use axum::body::Body;
        use http::{Request, Response};
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        use tokio::net::{TcpListener, TcpStream};
        use tokio::sync::watch;

        #[derive(Clone)]
        struct Names;

        impl crate::http::Answering for Names {
            async fn answer(self, request: Request<Body>) -> Response<Body> {
                let spelled = request.extensions().get::<Spelling>().cloned();
                let lower: Vec<String> = request.headers().keys().map(|name| name.to_string()).collect();
                let length = axum::body::to_bytes(request.into_body(), usize::MAX).await.unwrap().len();
                let spelled = spelled.unwrap();
                assert!(lower.iter().all(|name| spelled.of(name).is_some()));
                let mut response = Response::new(Body::from(format!("<{} {length}>", names(Some(spelled)))));
                assert!(super::super::set_reason(&mut response, "Very well"));
                response
            }
        }

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = watch::Sender::new(false);
        let serving = tokio::spawn(super::super::serve(
            listener,
            None,
            crate::http::Admission::new(crate::config::Connections::default(), None),
            crate::http::Threads::new([tokio::runtime::Handle::current()]),
            Names,
            stop.subscribe(),
        ));
        let fake = "POST / HTTP/1.1\r\nFAKE: x\r\n\r\n";
        let large = "y".repeat(300_000);
        let requests = [
            "GET / HTTP/1.1\r\nHOST: a\r\nx-MiXeD: 1\r\n\r\n".to_owned(),
            format!("POST / HTTP/1.1\r\nhost: a\r\nContent-LENGTH: {}\r\n\r\n{fake}", fake.len()),
            format!(
                "POST / HTTP/1.1\r\nhosT: a\r\ntransfer-Encoding: chunked\r\n\r\n{:x};a=b\r\n{fake}\r\n{:X}\r\n{large}\r\n0\r\nTrailer: x\r\n\r\n",
                fake.len(),
                large.len()
            ),
            format!("PUT / HTTP/1.1\r\nHoSt: a\r\ncontent-length: {}\r\n\r\n{large}", large.len()),
            "\r\nDELETE /x?y HTTP/1.1\r\nhOst: a\r\nX-A:\r\nConnection: close\r\n\r\n".to_owned(),
        ]
        .concat();
        for piece in [requests.len(), 1009, 65_536] {
            let (mut reader, mut writer) = TcpStream::connect(address).await.unwrap().into_split();
            let requests = requests.clone();
            let sending = tokio::spawn(async move {
                for piece in requests.as_bytes().chunks(piece) {
                    writer.write_all(piece).await.unwrap();
                }
                writer
            });
            let mut answers = String::new();
            reader.read_to_string(&mut answers).await.unwrap();
            let bodies: Vec<&str> = answers
                .split('<')
                .skip(1)
                .filter_map(|rest| rest.split_once('>'))
                .map(|pair| pair.0)
                .collect();
            assert_eq!(
                bodies,
                [
                    "HOST x-MiXeD 0".to_owned(),
                    format!("host Content-LENGTH {}", fake.len()),
                    format!("hosT transfer-Encoding {}", fake.len() + large.len()),
                    format!("HoSt content-length {}", large.len()),
                    "hOst X-A Connection 0".to_owned(),
                ]
            );
            assert_eq!(answers.matches("HTTP/1.1 200 Very well\r\n").count(), 5, "{answers}");
            drop(sending.await.unwrap());
        }
        stop.send_replace(true);
        serving.await.unwrap();
    }

    proptest! {
        /// However the bytes of a connection are cut into reads, and however far ahead hyper reads.
        #[test]
        fn every_head_is_found(
            requests in proptest::collection::vec(request(), 1..6),
            cuts in proptest::collection::vec(1..60usize, 1..200),
        ) {
            let mut recorder = Recorder::default();
            let all: Vec<u8> = requests.iter().flat_map(|(bytes, ..)| bytes.clone()).collect();
            let mut cuts = cuts.iter().cycle();
            let mut sent = 0;
            let mut begins = 0;
            for (bytes, framing, expected) in &requests {
                let head = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
                while sent < begins + head {
                    let end = (sent + cuts.next().unwrap()).min(all.len());
                    recorder.read(&all[sent..end]).unwrap();
                    sent = end;
                }
                let framing: HeaderMap = framing
                    .iter()
                    .map(|(name, value)| (name.parse::<header::HeaderName>().unwrap(), value.parse().unwrap()))
                    .collect();
                let taken = recorder.take(&Method::GET, Version::HTTP_11, &framing);
                prop_assert_eq!(&names(taken), expected);
                begins += bytes.len();
            }
        }

        #[test]
        fn nothing_that_a_client_sends_is_too_much(
            reads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 0..20),
            chunked in any::<bool>(),
        ) {
            let mut recorder = Recorder::default();
            recorder.read(b"GET / HTTP/1.1\r\n\r\n").unwrap();
            let framing = if chunked { ("transfer-encoding", "chunked") } else { ("content-length", "77") };
            recorder.take(&Method::GET, Version::HTTP_11, &headers(&[framing]));
            for read in reads {
                recorder.read(&read).unwrap();
                if let Some(spelling) = recorder.take(&Method::GET, Version::HTTP_11, &headers(&[])) {
                    spelling.names().for_each(drop);
                }
                prop_assert!(recorder.kept.len() <= LIMIT);
            }
        }
    }
}
