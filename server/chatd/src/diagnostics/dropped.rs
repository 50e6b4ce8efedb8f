//! How many messages could not be written: one number for all processes of a server, since those
//! that drop messages are often short-lived.

use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

/// In memory that is shared through `fork`; this process's own where there is none.
static SHARED: AtomicPtr<AtomicUsize> = AtomicPtr::new(std::ptr::null_mut());
static OWN: AtomicUsize = AtomicUsize::new(0);

/// Shares the number with all processes that are forked from now on.
pub(super) fn share() {
    if !SHARED.load(Ordering::Relaxed).is_null() {
        return;
    }
    let (protection, flags) =
        (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANON);
    // SAFETY: asks for new memory, wherever there is room.
    let memory = unsafe {
        libc::mmap(std::ptr::null_mut(), size_of::<AtomicUsize>(), protection, flags, -1, 0)
    };
    if memory != libc::MAP_FAILED {
        // Zeroed, aligned to a page, and never unmapped.
        SHARED.store(memory.cast(), Ordering::Relaxed);
    }
}

fn number() -> &'static AtomicUsize {
    // SAFETY: null, or set by `share` to memory that holds an `AtomicUsize` for ever.
    unsafe { SHARED.load(Ordering::Relaxed).as_ref() }.unwrap_or(&OWN)
}

/// Adds `count`.
pub(super) fn add(count: usize) {
    number().fetch_add(count, Ordering::Relaxed);
}

/// Takes the number, so that nobody else tells it too.
pub(super) fn take() -> usize {
    number().swap(0, Ordering::Relaxed)
}
