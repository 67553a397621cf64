//! A checksum at the end of every page of the file: what the disk gives back other than it was written is
//! an error for whoever reads it, not an event that says something else.
//!
//! SQLite leaves the last bytes of each page to us, and asks a layer of ours (a VFS) to read and write.
//! It is thin: only pages of the file itself are looked at; the log has checksums of its own, and locks,
//! syncs and shared memory are SQLite's. What is read has these bytes set to zero, so that a page
//! that another program writes carries none rather than an old one. A page without a checksum is
//! believed, as is a file that has none yet (`adopt`).

use std::ffi::{CStr, c_int, c_void};
use std::mem::size_of;
use std::ptr;
use std::sync::LazyLock;

use rusqlite::{Connection, ffi};

const NAME: &CStr = c"handlerd-checksums";
/// At the end of each page.
const LENGTH: usize = 8;
/// In the header of a file: its pages have checksums. Were this to be read off the number of bytes alone
/// that are left to us, a bit that flips there would switch all of them off.
const MARK: i64 = 0x6864_6c64;
/// Where the header says how long pages are, and how many bytes of each are left to us.
const PAGE_SIZE_AT: usize = 16;
const RESERVED_AT: usize = 20;
const HEADER: usize = 100;
/// Of the first page, what every program sets anew that copies or opens the file.
const PASSING: [std::ops::Range<usize>; 2] = [18..44, 92..100];

/// The name of the layer, for whoever opens a connection.
pub fn layer() -> &'static CStr {
    if crate::defences::off("store-checksum") || REGISTERED.is_none() { c"unix" } else { NAME }
}

/// Gives a file checksums that has none, if it is small; whether it has them now. Only for the owner of
/// the file, before anybody else opens it.
pub fn adopt(connection: &Connection, small: i64) -> rusqlite::Result<Result<bool, &'static str>> {
    if layer() != NAME {
        return Ok(Ok(false));
    }
    let marked = connection.pragma_query_value(None, "application_id", |row| row.get::<_, i64>(0))? == MARK;
    let reserved = reserved(connection, -1);
    if marked && reserved != LENGTH as c_int {
        return Ok(Err("its header says that its pages have checksums, and that they have no room for them"));
    }
    if marked {
        return Ok(Ok(true));
    }
    let is_adopted = reserved == LENGTH as c_int;
    if !is_adopted {
        let count = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        if count("page_count")? * count("page_size")? > small {
            return Ok(Ok(false));
        }
        self::reserved(connection, LENGTH as c_int);
        connection.execute_batch("VACUUM")?;
    }
    // A file without tables is marked together with them.
    if connection.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))? > 0 {
        mark(connection)?;
    }
    Ok(Ok(true))
}

/// Says in the header that pages have checksums, where they do.
pub fn mark(connection: &Connection) -> rusqlite::Result<()> {
    if layer() == NAME && reserved(connection, -1) == LENGTH as c_int {
        connection.pragma_update(None, "application_id", MARK)?;
    }
    Ok(())
}

/// A file that is still empty begins with room for checksums.
pub fn begin(connection: &Connection) {
    if layer() == NAME {
        reserved(connection, LENGTH as c_int);
    }
}

/// Asks how many bytes of a page are ours, or (with a number) sets it for what is written anew.
fn reserved(connection: &Connection, wanted: c_int) -> c_int {
    let mut bytes = wanted;
    // SAFETY: an open connection, and the argument that this operation takes: a pointer to an int.
    unsafe {
        let argument = ptr::from_mut(&mut bytes).cast::<c_void>();
        ffi::sqlite3_file_control(
            connection.handle(),
            c"main".as_ptr(),
            ffi::SQLITE_FCNTL_RESERVE_BYTES,
            argument,
        );
    }
    bytes
}

/// Of a page without its last bytes; never zero, which stands for none. Each step can be undone, so that
/// a change of one word always changes the result.
fn checksum(number: u64, page: &[u8]) -> [u8; LENGTH] {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut sum = number.wrapping_mul(ODD);
    let (words, rest) = page.as_chunks::<8>();
    debug_assert!(rest.is_empty());
    for (index, word) in words.iter().enumerate() {
        let mut word = *word;
        if number == 1 && index * 8 < HEADER {
            for (at, byte) in word.iter_mut().enumerate() {
                if PASSING.iter().any(|range| range.contains(&(index * 8 + at))) {
                    *byte = 0;
                }
            }
        }
        sum = (sum ^ u64::from_le_bytes(word)).wrapping_mul(ODD).rotate_left(29);
    }
    sum.max(1).to_le_bytes()
}

/// What is known of one open file.
#[derive(Default)]
struct Pages {
    /// How long they are; 0: they have no checksums, or it is not known yet.
    size: usize,
    /// For what is written.
    buffer: Vec<u8>,
    /// The terminal hears of damage once.
    told: bool,
}

impl Pages {
    /// From the beginning of the file, whenever that is read or written.
    fn learn(&mut self, header: &[u8]) {
        if !header.starts_with(b"SQLite format 3\0") {
            return;
        }
        let size = match u16::from_be_bytes([header[PAGE_SIZE_AT], header[PAGE_SIZE_AT + 1]]) {
            1 => 65_536,
            size => usize::from(size),
        };
        self.size = if usize::from(header[RESERVED_AT]) == LENGTH { size } else { 0 };
    }

    /// The number of the page that is read or written, if it is one with a checksum.
    fn number(&self, length: usize, offset: i64) -> Option<u64> {
        let offset = u64::try_from(offset).ok()?;
        let size = self.size as u64;
        (self.size > 0 && length == self.size && offset.is_multiple_of(size)).then(|| offset / size + 1)
    }

    /// Whether a page is as it was written. Takes the checksum out.
    fn check(&mut self, number: u64, page: &mut [u8]) -> bool {
        let (content, sum) = page.split_at_mut(page.len() - LENGTH);
        let is_whole = *sum == [0; LENGTH] || *sum == checksum(number, content);
        sum.fill(0);
        if !is_whole && !std::mem::replace(&mut self.told, true) {
            tracing::error!(
                "page {number} of the state is not as it was written: its checksum says so\nhint: if it was another program \
                 that has changed it, `sqlite3 handlerd.db VACUUM` makes this its content"
            );
        }
        is_whole
    }

    /// The page as it is to be written.
    fn seal(&mut self, number: u64, page: &[u8]) -> &[u8] {
        self.buffer.clear();
        self.buffer.extend_from_slice(page);
        let content = page.len() - LENGTH;
        let sum = checksum(number, &page[..content]);
        self.buffer[content..].copy_from_slice(&sum);
        &self.buffer
    }
}

// --- What SQLite calls.

/// An open file of ours; that of the layer below lies behind it.
#[repr(C)]
struct File {
    base: ffi::sqlite3_file,
    pages: *mut Pages,
}

struct Layer(*mut ffi::sqlite3_vfs);
// SAFETY: written once, before anybody sees it; SQLite's own layers may be used by all threads.
unsafe impl Send for Layer {}
// SAFETY: as above.
unsafe impl Sync for Layer {}

/// SQLite's own layer, and ours on top of it; none if SQLite would not have it.
static REGISTERED: LazyLock<Option<Layer>> = LazyLock::new(|| {
    // SAFETY: the layer that SQLite finds lives as long as the process, as does ours, which is a copy of
    // it with a longer file and a way of opening of its own.
    unsafe {
        let below = ffi::sqlite3_vfs_find(ptr::null());
        if below.is_null() {
            return None;
        }
        let mut ours = Box::new(*below);
        ours.szOsFile += size_of::<File>() as c_int;
        ours.pNext = ptr::null_mut();
        ours.zName = NAME.as_ptr();
        ours.xOpen = Some(open);
        let registered = ffi::sqlite3_vfs_register(Box::leak(ours), 0);
        (registered == ffi::SQLITE_OK).then_some(Layer(below))
    }
});

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    // The third version would have files mapped into memory, past any checksum.
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: None,
    xUnfetch: None,
};

/// SAFETY: SQLite gives room for `szOsFile` bytes, aligned for both; what it passes to the methods is
/// what `open` has filled in.
unsafe fn below(file: *mut ffi::sqlite3_file) -> *mut ffi::sqlite3_file {
    unsafe { file.cast::<File>().add(1).cast() }
}

unsafe extern "C" fn open(
    _: *mut ffi::sqlite3_vfs,
    name: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    // Registered, or this would not be called; not while it is being registered.
    let Some(Layer(vfs)) = &*REGISTERED else { return ffi::SQLITE_CANTOPEN };
    // SAFETY: see `below`; the methods of SQLite's own layer are all there.
    unsafe {
        let Some(open) = (**vfs).xOpen else { return ffi::SQLITE_CANTOPEN };
        if flags & ffi::SQLITE_OPEN_MAIN_DB == 0 {
            return open(*vfs, name, file, flags, out);
        }
        (*file).pMethods = ptr::null();
        let inner = below(file);
        (*inner).pMethods = ptr::null();
        let code = open(*vfs, name, inner, flags, out);
        if code != ffi::SQLITE_OK {
            // Otherwise it is for whoever has opened it to close it.
            if let Some(methods) = (*inner).pMethods.as_ref()
                && let Some(close) = methods.xClose
            {
                close(inner);
            }
            return code;
        }
        (*file.cast::<File>()).pages = Box::into_raw(Box::default());
        (*file).pMethods = &METHODS;
        code
    }
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: see `below`; SQLite closes a file once.
    unsafe {
        drop(Box::from_raw((*file.cast::<File>()).pages));
        let inner = below(file);
        match (*(*inner).pMethods).xClose {
            Some(close) => close(inner),
            None => ffi::SQLITE_OK,
        }
    }
}

unsafe extern "C" fn read(
    file: *mut ffi::sqlite3_file,
    buffer: *mut c_void,
    length: c_int,
    offset: ffi::sqlite3_int64,
) -> c_int {
    // SAFETY: see `below`; the buffer is as long as it is said to be, and one connection, which has this
    // file for itself, reads one page at a time.
    unsafe {
        let inner = below(file);
        let Some(read) = (*(*inner).pMethods).xRead else { return ffi::SQLITE_IOERR };
        let code = read(inner, buffer, length, offset);
        if code != ffi::SQLITE_OK {
            return code;
        }
        let bytes = std::slice::from_raw_parts_mut(buffer.cast::<u8>(), length as usize);
        let pages = &mut *(*file.cast::<File>()).pages;
        if offset == 0 && bytes.len() >= HEADER {
            pages.learn(bytes);
        }
        match pages.number(bytes.len(), offset) {
            Some(number) if !pages.check(number, bytes) => ffi::SQLITE_CORRUPT,
            _ => code,
        }
    }
}

unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    buffer: *const c_void,
    length: c_int,
    offset: ffi::sqlite3_int64,
) -> c_int {
    // SAFETY: as in `read`.
    unsafe {
        let inner = below(file);
        let Some(write) = (*(*inner).pMethods).xWrite else { return ffi::SQLITE_IOERR };
        let bytes = std::slice::from_raw_parts(buffer.cast::<u8>(), length as usize);
        let pages = &mut *(*file.cast::<File>()).pages;
        if offset == 0 && bytes.len() >= HEADER {
            pages.learn(bytes);
        }
        match pages.number(bytes.len(), offset) {
            Some(number) => write(inner, pages.seal(number, bytes).as_ptr().cast(), length, offset),
            None => write(inner, buffer, length, offset),
        }
    }
}

/// What is none of our business.
macro_rules! hand_down {
    ($($name:ident = $method:ident($($argument:ident: $kind:ty),*) -> $result:ty, or $otherwise:expr;)*) => {$(
        unsafe extern "C" fn $name(file: *mut ffi::sqlite3_file, $($argument: $kind),*) -> $result {
            // SAFETY: see `below`; the arguments are SQLite's own.
            unsafe {
                let inner = below(file);
                match (*(*inner).pMethods).$method {
                    Some(method) => method(inner, $($argument),*),
                    None => $otherwise,
                }
            }
        }
    )*};
}

hand_down! {
    truncate = xTruncate(size: ffi::sqlite3_int64) -> c_int, or ffi::SQLITE_IOERR;
    sync = xSync(flags: c_int) -> c_int, or ffi::SQLITE_IOERR;
    file_size = xFileSize(size: *mut ffi::sqlite3_int64) -> c_int, or ffi::SQLITE_IOERR;
    lock = xLock(level: c_int) -> c_int, or ffi::SQLITE_IOERR;
    unlock = xUnlock(level: c_int) -> c_int, or ffi::SQLITE_IOERR;
    check_reserved_lock = xCheckReservedLock(out: *mut c_int) -> c_int, or ffi::SQLITE_IOERR;
    file_control = xFileControl(operation: c_int, argument: *mut c_void) -> c_int, or ffi::SQLITE_NOTFOUND;
    sector_size = xSectorSize() -> c_int, or 0;
    device_characteristics = xDeviceCharacteristics() -> c_int, or 0;
    shm_map = xShmMap(page: c_int, size: c_int, extend: c_int, out: *mut *mut c_void) -> c_int, or ffi::SQLITE_IOERR;
    shm_lock = xShmLock(offset: c_int, count: c_int, flags: c_int) -> c_int, or ffi::SQLITE_IOERR;
    shm_barrier = xShmBarrier() -> (), or ();
    shm_unmap = xShmUnmap(delete: c_int) -> c_int, or ffi::SQLITE_OK;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bit_of_a_page_and_its_place_count() {
        let page: Vec<u8> = (0..504).map(|index| index as u8).collect();
        let sum = checksum(7, &page);
        assert_ne!(sum, checksum(8, &page), "a page in the place of another");
        for bit in 0..page.len() * 8 {
            let mut flipped = page.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(checksum(7, &flipped), sum, "bit {bit}");
        }
        assert_ne!(checksum(7, &[0; 504]), [0; LENGTH]);
    }

    #[test]
    fn of_the_first_page_what_every_program_sets_does_not_count() {
        let page = [5; 504];
        let sum = checksum(1, &page);
        for index in 0..page.len() {
            let mut changed = page;
            changed[index] = 6;
            let passing = (18..44).contains(&index) || (92..100).contains(&index);
            assert_eq!(checksum(1, &changed) == sum, passing, "byte {index}");
        }
    }

    #[test]
    fn pages_without_a_checksum_are_believed() {
        let mut pages = Pages { size: 512, ..Pages::default() };
        let sealed = pages.seal(3, &[9; 512]).to_vec();
        let mut read = sealed.clone();
        assert!(pages.check(3, &mut read));
        assert_eq!((read[503], &read[504..]), (9, [0; 8].as_slice()), "what is read carries none");
        assert!(pages.check(3, &mut read), "as another program has written it");
        let mut flipped = sealed;
        flipped[100] ^= 1;
        assert!(!pages.check(3, &mut flipped));
        assert_eq!(pages.number(512, 1024), Some(3));
        assert_eq!([pages.number(100, 0), pages.number(512, 100), pages.number(512, -512)], [None; 3]);
    }
}
