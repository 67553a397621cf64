//! Whether the write-ahead log is whole, before SQLite reads it.
//!
//! After a crash SQLite takes the log up to the first frame that is not as it was written, and whatever
//! comes behind it for never committed. For the end of the log that is right: there a write was cut off.
//! In the middle of it a bit has flipped, and events that were promised would be gone without a word.
//!
//! Two of these can be told apart, as each commit is on the disk before the next begins: where two
//! commits of the same log stand behind a broken frame, it was whole once. Damage in the very last
//! commit cannot be told from one that was cut off.

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::Path;

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
/// The last bit of it says in which order the bytes of a word are added.
const MAGIC: u32 = 0x377f_0682;

/// The damage, in words.
pub fn damage(log: &Path) -> std::io::Result<Option<String>> {
    let file = match File::open(log) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    // While it is looked at, somebody may begin it anew.
    loop {
        let header = header(&file)?;
        let found = look(&file, header.as_ref())?;
        if found.is_none() || self::header(&file)? == header {
            return Ok(found);
        }
    }
}

type Sum = (u32, u32);

#[derive(PartialEq, Eq)]
struct Header {
    big_endian: bool,
    page: usize,
    /// The same in each of its frames.
    salts: [u8; 8],
    sum: Sum,
}

/// `None`: it is not as it was written, or there is none.
fn header(file: &File) -> std::io::Result<Option<Header>> {
    let mut bytes = [0; HEADER];
    match file.read_exact_at(&mut bytes, 0) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let word = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let big_endian = word(0) & 1 == 1;
    let sum = add((0, 0), &bytes[..24], big_endian);
    let page = word(8) as usize;
    let is_whole = word(0) & !1 == MAGIC && sum == (word(24), word(28));
    if !is_whole || !page.is_power_of_two() || !(512..=65_536).contains(&page) {
        return Ok(None);
    }
    let mut salts = [0; 8];
    salts.copy_from_slice(&bytes[16..24]);
    Ok(Some(Header { big_endian, page, salts, sum }))
}

/// As SQLite adds up its log.
fn add((mut first, mut second): Sum, bytes: &[u8], big_endian: bool) -> Sum {
    let number = |word: &[u8; 4]| match big_endian {
        true => u32::from_be_bytes(*word),
        false => u32::from_le_bytes(*word),
    };
    for pair in bytes.as_chunks::<4>().0.as_chunks::<2>().0 {
        first = first.wrapping_add(number(&pair[0])).wrapping_add(second);
        second = second.wrapping_add(number(&pair[1])).wrapping_add(first);
    }
    (first, second)
}

fn look(file: &File, header: Option<&Header>) -> std::io::Result<Option<String>> {
    let length = file.metadata()?.len();
    let Some(header) = header else {
        return Ok(
            has_content(file, length)?.then(|| "the header of its log is not as it was written".to_owned())
        );
    };
    let step = (FRAME_HEADER + header.page) as u64;
    let frames = length.saturating_sub(HEADER as u64) / step;
    let mut frame = vec![0; step as usize];
    let place = |number: u64| HEADER as u64 + number * step;
    let (mut sum, mut next) = (header.sum, 0);
    let mut whole = |number: u64, sum: &mut Sum| -> std::io::Result<bool> {
        file.read_exact_at(&mut frame, place(number))?;
        let (head, page) = frame.split_at(FRAME_HEADER);
        let mut expected = add(*sum, &head[..8], header.big_endian);
        expected = add(expected, page, header.big_endian);
        let word = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let is_whole = head[8..16] == header.salts && expected == (word(16), word(20));
        if is_whole {
            *sum = expected;
        }
        Ok(is_whole)
    };
    loop {
        while next < frames && whole(next, &mut sum)? {
            next += 1;
        }
        let Some(behind) = commits_behind(file, header, next, frames, place)? else { return Ok(None) };
        // It may have been written while this was looking.
        if !whole(next, &mut sum)? {
            let (broken, behind) = (next + 1, behind + 1);
            return Ok(Some(format!(
                "frame {broken} of its log is not as it was written, and commits follow it up to frame {behind}"
            )));
        }
        next += 1;
    }
}

/// The first frame of this log behind a commit that stands at `from` or later.
fn commits_behind(
    file: &File,
    header: &Header,
    from: u64,
    frames: u64,
    place: impl Fn(u64) -> u64,
) -> std::io::Result<Option<u64>> {
    let mut committed = false;
    let mut head = [0; FRAME_HEADER];
    for number in from..frames {
        file.read_exact_at(&mut head, place(number))?;
        if head[8..16] != header.salts {
            continue;
        }
        if committed {
            return Ok(Some(number));
        }
        // How long the file is after it; of a frame that ends no commit, zero.
        committed = head[4..8] != [0; 4];
    }
    Ok(None)
}

fn has_content(file: &File, length: u64) -> std::io::Result<bool> {
    let mut buffer = vec![0; 64 * 1024];
    let mut offset = HEADER as u64;
    while offset < length {
        let read = file.read_at(&mut buffer, offset)?;
        if read == 0 {
            break;
        }
        if buffer[..read].iter().any(|byte| *byte != 0) {
            return Ok(true);
        }
        offset += read as u64;
    }
    Ok(false)
}
