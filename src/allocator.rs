//! Where the memory of this program comes from: mimalloc, asked in the plain way.
//!
//! Its own crate asks for an alignment each time: a check more, and for blocks above a kilobyte a longer way
//! and a larger block. But all that mimalloc hands out is aligned well enough for nearly everything.

use std::alloc::{GlobalAlloc, Layout};
use std::pin::Pin;

use libmimalloc_sys::{
    mi_free, mi_malloc, mi_malloc_aligned, mi_realloc, mi_realloc_aligned, mi_zalloc, mi_zalloc_aligned,
};

/// What each block of at least that size is aligned to (`MI_MAX_ALIGN_SIZE`).
const USUAL: usize = 16;

pub struct Mimalloc;

fn is_usual(size: usize, alignment: usize) -> bool {
    alignment <= USUAL && alignment <= size
}

// SAFETY: blocks are mimalloc's, of the size that is asked for, and aligned by what it promises or by what
// it is told.
unsafe impl GlobalAlloc for Mimalloc {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let (size, alignment) = (layout.size(), layout.align());
        // SAFETY: takes any size, and a power of two.
        let block = unsafe {
            if is_usual(size, alignment) { mi_malloc(size) } else { mi_malloc_aligned(size, alignment) }
        };
        block.cast()
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let (size, alignment) = (layout.size(), layout.align());
        // SAFETY: as above.
        let block = unsafe {
            if is_usual(size, alignment) { mi_zalloc(size) } else { mi_zalloc_aligned(size, alignment) }
        };
        block.cast()
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, _: Layout) {
        // SAFETY: it is one of those above.
        unsafe { mi_free(block.cast()) };
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let alignment = layout.align();
        // SAFETY: it is one of those above.
        let block = unsafe {
            if is_usual(size, alignment) {
                mi_realloc(block.cast(), size)
            } else {
                mi_realloc_aligned(block.cast(), size, alignment)
            }
        };
        block.cast()
    }
}

/// `Box::pin` for what is large: its room is there before it is, so that it is made in it. Otherwise all of
/// it would be moved there, with much that is not even set.
#[inline]
pub fn pinned<F>(make: impl FnOnce() -> F) -> Pin<Box<F>> {
    let room = Box::new_uninit();
    Box::into_pin(Box::write(room, make()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_aligned_as_they_have_to_be() {
        for size in (1..300).chain([1000, 1025, 2048, 3000, 7700, 40_000, 1 << 20]) {
            for alignment in [1, 2, 4, 8, 16, 32, 64, 4096] {
                let layout = Layout::from_size_align(size, alignment).unwrap();
                // SAFETY: each block is of its layout, and given back once.
                unsafe {
                    let blocks: Vec<*mut u8> = (0..3).map(|_| Mimalloc.alloc(layout)).collect();
                    for block in blocks {
                        assert!(block.addr().is_multiple_of(alignment), "{layout:?}");
                        let block = Mimalloc.realloc(block, layout, size + 100);
                        assert!(block.addr().is_multiple_of(alignment), "{layout:?}");
                        Mimalloc.dealloc(block, Layout::from_size_align(size + 100, alignment).unwrap());
                    }
                    let zeroed = Mimalloc.alloc_zeroed(layout);
                    assert!(zeroed.addr().is_multiple_of(alignment) && *zeroed == 0, "{layout:?}");
                    Mimalloc.dealloc(zeroed, layout);
                }
            }
        }
    }
}
