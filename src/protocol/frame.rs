//! Gateway <-> execution environment: length-prefixed frames, little endian.
//!
//! The environment speaks first, with [`Kind::Ready`] or [`Kind::InitFault`]; from then on each
//! request is followed by exactly one answer that carries the request's nonce. Where the request
//! allows it, the answer may be a stream instead: [`Kind::Head`], any number of [`Kind::Piece`], and
//! [`Kind::End`] or [`Kind::Fault`], all through the pipe. What comes back from an environment is
//! hostile: lengths are checked before anything is believed.

/// Longest event in a synchronous invocation (6 MB), with room for the other fields.
pub const MAX_REQUEST: usize = 6_291_456 + 64 * 1024;
/// Longest result; the number stands in AWS's own message.
pub const MAX_RESULT: usize = 6_291_556;
/// Longest piece of a stream; with its header it fits into a pipe.
pub const MAX_PIECE: usize = 64 * 1024 - 64;
/// All pieces of a stream together (200 MB).
pub const MAX_STREAM: u64 = 200 * 1024 * 1024;

const ABSENT: u32 = u32::MAX;
const FIELDS: usize = 6;
const REQUEST_HEADER: usize = 4 + 8 + 8 + 1 + 4 * FIELDS;
const ANSWER_HEADER: usize = 4 + 1 + 1 + 8 + 4 + 4;
/// In the answer's byte of flags.
const HAS_WAITED: u8 = 1;
const HAS_PRINTED: u8 = 2;

/// One invocation, as it crosses to the environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request<'a> {
    /// Chosen per invocation and echoed by the answer: a late or invented answer is recognised.
    pub nonce: u64,
    /// From when it is begun.
    pub timeout_ms: u64,
    /// Whoever asked takes a stream.
    pub streams: bool,
    pub request_id: &'a str,
    pub trace_id: &'a str,
    pub function_arn: &'a str,
    pub client_context: Option<&'a str>,
    pub cognito_identity: Option<&'a str>,
    pub event: &'a [u8],
}

impl<'a> Request<'a> {
    pub fn encode(&self, out: &mut Vec<u8>) {
        let fields: [Option<&[u8]>; FIELDS] = [
            Some(self.request_id.as_bytes()),
            Some(self.trace_id.as_bytes()),
            Some(self.function_arn.as_bytes()),
            self.client_context.map(str::as_bytes),
            self.cognito_identity.map(str::as_bytes),
            Some(self.event),
        ];
        let body: usize = fields.iter().flatten().map(|field| field.len()).sum();
        out.reserve(REQUEST_HEADER + body);
        out.extend_from_slice(&((REQUEST_HEADER - 4 + body) as u32).to_le_bytes());
        out.extend_from_slice(&self.nonce.to_le_bytes());
        out.extend_from_slice(&self.timeout_ms.to_le_bytes());
        out.push(u8::from(self.streams));
        for field in fields {
            let length = field.map_or(ABSENT, |field| field.len() as u32);
            out.extend_from_slice(&length.to_le_bytes());
        }
        for field in fields.into_iter().flatten() {
            out.extend_from_slice(field);
        }
    }

    /// Reads one frame from the front of `bytes`: `None` until it is complete.
    pub fn decode(bytes: &'a [u8]) -> Result<Option<(Self, usize)>, Malformed> {
        let Some(length) = frame_length(bytes, MAX_REQUEST)? else { return Ok(None) };
        let mut reader = Reader { bytes: &bytes[4..length] };
        let nonce = reader.u64()?;
        let timeout_ms = reader.u64()?;
        let streams = reader.take(1)?[0] != 0;
        let mut lengths = [0; FIELDS];
        for length in &mut lengths {
            *length = reader.u32()?;
        }
        let mut field = |index: usize| match lengths[index] {
            ABSENT => Ok(None),
            length => reader.take(length as usize).map(Some),
        };
        let request = Self {
            nonce,
            timeout_ms,
            streams,
            request_id: text(field(0)?)?.unwrap_or_default(),
            trace_id: text(field(1)?)?.unwrap_or_default(),
            function_arn: text(field(2)?)?.unwrap_or_default(),
            client_context: text(field(3)?)?,
            cognito_identity: text(field(4)?)?,
            event: field(5)?.unwrap_or_default(),
        };
        if !reader.bytes.is_empty() {
            return Err(Malformed);
        }
        Ok(Some((request, length)))
    }
}

/// What an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Init phase: the handler is loaded.
    Ready = 0,
    /// Init phase: it is not; the payload is Lambda's error object. The process ends after this.
    InitFault = 1,
    /// Invoke phase: the result as JSON.
    Json = 2,
    /// Invoke phase: the handler returned `bytes`; they are the result as they are.
    Raw = 3,
    /// Invoke phase: the handler raised; the payload is Lambda's error object.
    Fault = 4,
    /// Invoke phase: the result is longer than [`MAX_RESULT`] and was not sent.
    TooLarge = 5,
    /// A stream begins; the payload is what comes before its body, as JSON, or empty.
    Head = 6,
    /// Of a stream that has begun: some of its body, at most [`MAX_PIECE`].
    Piece = 7,
    /// The stream is complete.
    End = 8,
}

impl Kind {
    fn from_byte(byte: u8) -> Result<Self, Malformed> {
        [
            Self::Ready,
            Self::InitFault,
            Self::Json,
            Self::Raw,
            Self::Fault,
            Self::TooLarge,
            Self::Head,
            Self::Piece,
            Self::End,
        ]
        .into_iter()
        .find(|kind| *kind as u8 == byte)
        .ok_or(Malformed)
    }

    /// How the init phase went.
    pub fn is_of_init(self) -> bool {
        matches!(self, Self::Ready | Self::InitFault)
    }

    /// Nothing but a stream has it.
    pub fn is_of_stream(self) -> bool {
        matches!(self, Self::Head | Self::Piece | Self::End)
    }
}

/// What the environment says back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer<'a> {
    pub kind: Kind,
    /// Whether the handler waited for something (time, a disk, a network) since the answer before.
    pub has_waited: bool,
    /// Whether something lies in the pipe of what is printed.
    pub has_printed: bool,
    pub nonce: u64,
    /// High-water mark of resident memory since the process began.
    pub max_memory_kib: u32,
    /// From when the request was begun to the answer.
    pub took_us: u32,
    pub payload: &'a [u8],
}

impl<'a> Answer<'a> {
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = Self::begin(out);
        out.extend_from_slice(self.payload);
        self.finish(out, start);
    }

    /// Leaves room for the header, so that a payload can be written straight behind it.
    pub fn begin(out: &mut Vec<u8>) -> usize {
        let start = out.len();
        out.resize(start + ANSWER_HEADER, 0);
        start
    }

    /// Fills in the header that [`Answer::begin`] left room for; `self.payload` is what was written
    /// since and is not looked at.
    pub fn finish(&self, out: &mut [u8], start: usize) {
        let header = self.header(out.len() - start - ANSWER_HEADER);
        out[start..start + ANSWER_HEADER].copy_from_slice(&header);
    }

    /// What stands before a payload of this length.
    pub fn header(&self, payload: usize) -> [u8; ANSWER_HEADER] {
        let mut header = [0; ANSWER_HEADER];
        header[0..4].copy_from_slice(&((ANSWER_HEADER - 4 + payload) as u32).to_le_bytes());
        header[4] = self.kind as u8;
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        header[5] = flag(self.has_waited, HAS_WAITED) | flag(self.has_printed, HAS_PRINTED);
        header[6..14].copy_from_slice(&self.nonce.to_le_bytes());
        header[14..18].copy_from_slice(&self.max_memory_kib.to_le_bytes());
        header[18..22].copy_from_slice(&self.took_us.to_le_bytes());
        header
    }

    /// Reads one frame from the front of `bytes`: `None` until it is complete.
    pub fn decode(bytes: &'a [u8]) -> Result<Option<(Self, usize)>, Malformed> {
        let Some(length) = frame_length(bytes, MAX_RESULT + ANSWER_HEADER)? else { return Ok(None) };
        let mut reader = Reader { bytes: &bytes[4..length] };
        let kind = Kind::from_byte(reader.take(1)?[0])?;
        let flags = reader.take(1)?[0];
        let answer = Self {
            kind,
            has_waited: flags & HAS_WAITED != 0,
            has_printed: flags & HAS_PRINTED != 0,
            nonce: reader.u64()?,
            max_memory_kib: reader.u32()?,
            took_us: reader.u32()?,
            payload: reader.bytes,
        };
        Ok(Some((answer, length)))
    }

    /// How long the frame at the front of `bytes` will be, once that can be told.
    pub fn expected_length(bytes: &[u8]) -> Option<usize> {
        let prefix = bytes.first_chunk::<4>()?;
        Some((u32::from_le_bytes(*prefix) as usize).min(MAX_RESULT + ANSWER_HEADER) + 4)
    }
}

/// A frame that breaks the rules above: whoever sent it is not to be trusted any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// The whole length of the frame at the front, once all of it is there.
fn frame_length(bytes: &[u8], limit: usize) -> Result<Option<usize>, Malformed> {
    let Some(prefix) = bytes.first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_le_bytes(*prefix) as usize;
    if length > limit {
        return Err(Malformed);
    }
    Ok((bytes.len() >= length + 4).then_some(length + 4))
}

fn text(field: Option<&[u8]>) -> Result<Option<&str>, Malformed> {
    field.map(|bytes| std::str::from_utf8(bytes).map_err(|_| Malformed)).transpose()
}

struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (front, rest) = self.bytes.split_at_checked(length).ok_or(Malformed)?;
        self.bytes = rest;
        Ok(front)
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.take(4)?.try_into().map(u32::from_le_bytes).map_err(|_| Malformed)
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        self.take(8)?.try_into().map(u64::from_le_bytes).map_err(|_| Malformed)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn request() -> Request<'static> {
        Request {
            nonce: 7,
            timeout_ms: 3_000,
            streams: true,
            request_id: "id",
            trace_id: "Root=1",
            function_arn: "arn",
            client_context: None,
            cognito_identity: Some(""),
            event: b"{}",
        }
    }

    #[test]
    fn what_is_sent_is_what_arrives() {
        let mut bytes = Vec::new();
        request().encode(&mut bytes);
        for end in 0..bytes.len() {
            assert_eq!(Request::decode(&bytes[..end]), Ok(None));
        }
        let length = bytes.len();
        bytes.extend_from_slice(b"next");
        assert_eq!(Request::decode(&bytes), Ok(Some((request(), length))));

        let answer = Answer {
            kind: Kind::Json,
            has_waited: true,
            has_printed: false,
            nonce: 7,
            max_memory_kib: 9,
            took_us: 250,
            payload: b"null",
        };
        let mut bytes = Vec::new();
        answer.encode(&mut bytes);
        assert_eq!(Answer::expected_length(&bytes), Some(bytes.len()));
        assert_eq!(Answer::decode(&bytes), Ok(Some((answer, bytes.len()))));
    }

    #[test]
    fn what_is_too_long_is_refused_before_it_is_there() {
        let length = u32::try_from(MAX_RESULT + 100).unwrap().to_le_bytes();
        assert_eq!(Answer::decode(&length), Err(Malformed));
        assert_eq!(Request::decode(&u32::MAX.to_le_bytes()), Err(Malformed));
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Request::decode(&bytes);
            if let Ok(Some((answer, length))) = Answer::decode(&bytes) {
                prop_assert!(length <= bytes.len() && answer.payload.len() <= length);
            }
        }

        #[test]
        fn a_frame_of_the_right_length_may_hold_anything(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut bytes = u32::try_from(body.len()).unwrap().to_le_bytes().to_vec();
            bytes.extend_from_slice(&body);
            let _ = Request::decode(&bytes);
            let _ = Answer::decode(&bytes);
        }
    }
}
