//! How errors, log lines and tables look.

use std::fmt;
use std::io::{IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant, SystemTime};

use owo_colors::OwoColorize;
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;

use crate::defences;

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum LogStyle {
    // One readable line each. (Not `///`: help would become twice as long.)
    #[default]
    Text,
    // One JSON object each.
    Json,
}

/// An error with its causes, and its hints on lines of their own.
pub fn error(error: &anyhow::Error) {
    let colour = use_colour();
    // A text may carry its hints behind line ends; causes come between.
    let mut hints = Vec::new();
    let mut lines = Vec::new();
    for cause in error.chain() {
        let mut is_first = true;
        for line in cause.to_string().lines() {
            match line.strip_prefix("hint: ") {
                Some(hint) => hints.push(hint.to_owned()),
                None => lines.push((std::mem::take(&mut is_first), line.to_owned())),
            }
        }
    }
    let mut stderr = std::io::stderr().lock();
    for (index, (is_first, line)) in lines.iter().enumerate() {
        let label = match (index, is_first) {
            (0, _) if colour => "error:".red().bold().to_string(),
            (0, _) => "error:".to_owned(),
            (_, true) => "  because:".to_owned(),
            (_, false) => "      ".to_owned(),
        };
        let _ = writeln!(stderr, "{label} {line}");
    }
    for hint in hints {
        let label = if colour { "hint:".cyan().to_string() } else { "hint:".to_owned() };
        let _ = writeln!(stderr, "{label} {hint}");
    }
}

fn use_colour() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) && std::io::stderr().is_terminal()
}

/// Log lines to stderr, through a buffer that a thread of its own empties: a request never waits
/// for a terminal, and a hundred lines cost one write.
pub fn start_logging(style: LogStyle, default_level: &str) -> Flusher {
    let filter = std::env::var("RUST_LOG").unwrap_or_else(|_| default_level.to_owned());
    let filter = tracing_subscriber::EnvFilter::try_new(&filter)
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(default_level));
    let buffer = Arc::new(Buffer::new(Stream::Error));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(BufferWriter(buffer.clone()));
    let result = match style {
        LogStyle::Text => builder.event_format(Lines { colour: use_colour() }).try_init(),
        LogStyle::Json => {
            builder.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init()
        }
    };
    // Only a test within one process sets it twice; the first one stays.
    drop(result);
    Flusher::start(buffer)
}

/// `12:00:00.123 GET /hello 200 3.1 ms`
struct Lines {
    colour: bool,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut message = Message(String::with_capacity(128));
        event.record(&mut message);
        let time = time_of_day(SystemTime::now());
        let label = match *event.metadata().level() {
            Level::ERROR => "error: ",
            Level::WARN => "warning: ",
            Level::DEBUG => "debug: ",
            _ => "",
        };
        let mut lines = message.0.lines();
        let first = lines.next().unwrap_or_default();
        if !self.colour {
            for part in [&time, " ", label, first, "\n"] {
                writer.write_str(part)?;
            }
        } else {
            let label = match *event.metadata().level() {
                Level::ERROR => label.red().bold().to_string(),
                Level::WARN => label.yellow().bold().to_string(),
                _ => label.dimmed().to_string(),
            };
            writeln!(writer, "{} {label}{first}", time.dimmed())?;
        }
        for line in lines {
            let line = match line.strip_prefix("hint: ") {
                Some(hint) if self.colour => format!("{} {hint}", "hint:".cyan()),
                _ => line.to_owned(),
            };
            writeln!(writer, "             {line}")?;
        }
        Ok(())
    }
}

/// `12:00:00.123`, of UTC.
fn time_of_day(time: SystemTime) -> String {
    const DAY_MS: u128 = 24 * 60 * 60 * 1000;
    let ms = time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_millis() % DAY_MS) as u32;
    let mut text = *b"00:00:00.000";
    for (end, mut part) in [(2, ms / 3_600_000), (5, ms / 60_000 % 60), (8, ms / 1000 % 60), (12, ms % 1000)]
    {
        let mut place = end;
        while part > 0 {
            place -= 1;
            text[place] += (part % 10) as u8;
            part /= 10;
        }
    }
    String::from_utf8(text.into()).expect("digits are text")
}

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            use fmt::Write;
            let _ = write!(self.0, "{value:?}");
        }
    }
}

/// What is said to stdout while requests are served: through a buffer too, as whoever reads there may
/// have stopped to.
pub fn start_printing() -> (Screen, Flusher) {
    let buffer = Arc::new(Buffer::new(Stream::Output));
    (Screen(BufferWriter(buffer.clone())), Flusher::start(buffer))
}

#[derive(Clone)]
pub struct Screen(BufferWriter);

impl Screen {
    pub fn print(&self, text: &str) {
        let _ = self.0.clone().write_all(text.as_bytes());
    }
}

#[derive(Clone, Copy)]
enum Stream {
    Output,
    Error,
}

impl Stream {
    /// How many lines could not be written: there is no room, or nobody who reads any more.
    fn write(self, bytes: &[u8]) -> u64 {
        match self {
            Self::Output => write(std::io::stdout(), bytes),
            Self::Error => write(std::io::stderr(), bytes),
        }
    }
}

/// To the descriptor itself, which somebody else may have made one that does not wait.
fn write(to: impl AsFd, mut rest: &[u8]) -> u64 {
    while !rest.is_empty() {
        match rustix::io::write(&to, rest) {
            Ok(written) => rest = &rest[written.max(1)..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let _ = rustix::event::poll(&mut [PollFd::new(&to, PollFlags::OUT)], None);
            }
            Err(_) => break,
        }
    }
    rest.iter().filter(|byte| **byte == b'\n').count() as u64
}

/// Lines that wait for the terminal; bounded, because a terminal can stand still.
struct Buffer {
    to: Stream,
    state: Mutex<BufferState>,
    filled: Condvar,
}

#[derive(Default)]
struct BufferState {
    bytes: Vec<u8>,
    lost: u64,
    closed: bool,
}

const BUFFER_LIMIT: usize = 4 * 1024 * 1024;
/// Lines gather for so long before they are written.
const GATHER: Duration = Duration::from_millis(5);
/// At the end, for so long somebody may be waited for who reads what is left.
const LAST_LINES: Duration = Duration::from_secs(1);

#[derive(Clone)]
struct BufferWriter(Arc<Buffer>);

impl Write for BufferWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if defences::off("log-aside") {
            self.0.to.write(bytes);
            return Ok(bytes.len());
        }
        let mut state = self.0.state.lock().unwrap();
        if state.bytes.len() + bytes.len() > BUFFER_LIMIT {
            state.lost += 1;
        } else {
            let wake = state.bytes.is_empty();
            state.bytes.extend_from_slice(bytes);
            if wake {
                self.0.filled.notify_one();
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for BufferWriter {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Dropping it writes what is left.
pub struct Flusher {
    buffer: Arc<Buffer>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Flusher {
    fn start(buffer: Arc<Buffer>) -> Self {
        let thread = std::thread::Builder::new().name("terminal".into()).spawn({
            let buffer = buffer.clone();
            move || buffer.run()
        });
        Self { buffer, thread: thread.ok() }
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        self.buffer.state.lock().unwrap().closed = true;
        self.buffer.filled.notify_one();
        let Some(thread) = self.thread.take() else { return };
        // A terminal that nobody reads is no reason to stay.
        let began = Instant::now();
        while !thread.is_finished() && began.elapsed() < LAST_LINES {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Buffer {
    fn new(to: Stream) -> Self {
        Self { to, state: Mutex::default(), filled: Condvar::new() }
    }

    fn run(&self) {
        // Of those that could not be written, said with the next ones that can.
        let mut untold = 0;
        loop {
            let (mut bytes, lost, closed) = {
                let mut state = self.state.lock().unwrap();
                while state.bytes.is_empty() && state.lost == 0 && !state.closed {
                    state = self.filled.wait(state).unwrap();
                }
                if !state.closed {
                    state = self.filled.wait_timeout(state, GATHER).unwrap().0;
                }
                (std::mem::take(&mut state.bytes), std::mem::take(&mut state.lost), state.closed)
            };
            untold += lost;
            if untold > 0 {
                let told = format!("... {untold} lines were lost: nobody reads them, or there is no room\n");
                bytes.extend_from_slice(told.as_bytes());
            }
            match self.to.write(&bytes) {
                0 => untold = 0,
                // One of them said how many there were before.
                unwritten => untold += unwritten - u64::from(untold > 0),
            }
            if closed {
                return;
            }
        }
    }
}

/// Columns, aligned; two spaces between.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            // Nothing follows the last cell of a row: it makes no column wider.
            let cells = rows.iter().filter(|row| column + 1 < row.len()).map(|row| &row[column]);
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&format!("{cell:<width$}  "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Prints to stdout; a reader that has gone away is no error.
pub fn print(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes());
    let _ = stdout.flush();
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::OwnedFd;

    #[test]
    fn what_cannot_be_written_is_counted() {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        assert_eq!(super::write(&full, b"one\ntwo\nthree\n"), 3);
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        assert_eq!(super::write(&writer, b"one\ntwo\n"), 2);
    }

    /// As under a supervisor whose pipe does not wait.
    #[test]
    fn a_pipe_that_is_full_is_waited_for() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        rustix::io::ioctl_fionbio(&writer, true).unwrap();
        let text = "line\n".repeat(100_000);
        let said = text.clone();
        let writing = std::thread::spawn(move || super::write(OwnedFd::from(writer), said.as_bytes()));
        let mut read = String::new();
        reader.read_to_string(&mut read).unwrap();
        assert_eq!(writing.join().unwrap(), 0);
        assert!(read == text);
    }

    #[test]
    fn the_time_of_day_has_all_its_noughts() {
        let at = |ms| super::time_of_day(std::time::UNIX_EPOCH + std::time::Duration::from_millis(ms));
        assert_eq!([at(0), at(86_400_000 + 3_723_045)], ["00:00:00.000", "01:02:03.045"]);
        assert_eq!(at(1_700_000_000_999), "22:13:20.999");
    }

    #[test]
    fn columns_are_aligned() {
        let row = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
        assert_eq!(super::table(&[row(&["a", "bb"]), row(&["ccc", "d"])]), "a    bb\nccc  d\n");
        assert_eq!(super::table(&[row(&["a", "bb"]), row(&["long and last"])]), "a  bb\nlong and last\n");
        assert_eq!(super::table(&[]), "");
    }
}
