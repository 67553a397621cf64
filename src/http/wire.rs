//! A connection as the network has it: its place at the door, and whether the client reads.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::admission::Place;
use super::deadlines::Pulse;

pub(super) struct Wire {
    stream: TcpStream,
    pulse: Arc<Pulse>,
    /// Something could not be written at once.
    waits: bool,
    /// Given back with the connection, whatever it has become in the meantime.
    _place: Place,
}

impl Wire {
    pub fn new(stream: TcpStream, pulse: Arc<Pulse>, place: Place) -> Self {
        Self { stream, pulse, waits: false, _place: place }
    }

    /// The first bytes, which are read again by whoever reads.
    pub async fn peek(&self, bytes: &mut [u8]) -> io::Result<usize> {
        self.stream.peek(bytes).await
    }

    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    fn wrote(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &written {
            Poll::Pending => {
                self.waits = true;
                self.pulse.cannot_write();
            }
            Poll::Ready(Ok(bytes)) if self.waits || self.pulse.holds() => self.pulse.wrote(*bytes),
            Poll::Ready(_) => {}
        }
        written
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        // What the client does not read, the kernel would go on to offer it.
        if self.waits {
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.wrote(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// Comes when all has been written.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if std::mem::take(&mut self.waits) {
            self.pulse.has_written();
        }
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
