//! The kernel's records of processes: sysctl(3) `kern.proc`.
//!
//! They are those of sys/user.h, as the libc crate declares them. Each begins with its size and may
//! be shorter than declared: the kernel cuts the path at its end (`procstat -f`, `-v` and fstat(1)
//! read the same ones).

use std::ffi::c_int;

use nix::errno::Errno;

/// What `kern.proc.WHAT.OF` tells, as bytes (sysctl(3), `KERN_PROC`).
pub(super) fn ask(what: c_int, of: &[c_int]) -> Result<Vec<u8>, Errno> {
    let mut name = vec![libc::CTL_KERN, libc::KERN_PROC, what];
    name.extend_from_slice(of);
    loop {
        let mut length = 0;
        // SAFETY: `name` has that length; only the size is written.
        Errno::result(unsafe {
            libc::sysctl(
                name.as_ptr(),
                name.len() as libc::c_uint,
                std::ptr::null_mut(),
                &raw mut length,
                std::ptr::null(),
                0,
            )
        })?;
        // The table may grow meanwhile.
        length += length / 8 + 1024;
        let mut bytes = vec![0_u8; length];
        // SAFETY: at most `length` bytes are written to `bytes`, which has them.
        let result = unsafe {
            libc::sysctl(
                name.as_ptr(),
                name.len() as libc::c_uint,
                bytes.as_mut_ptr().cast(),
                &raw mut length,
                std::ptr::null(),
                0,
            )
        };
        match Errno::result(result) {
            Ok(_) => {
                bytes.truncate(length);
                return Ok(bytes);
            }
            Err(Errno::ENOMEM) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// [`ask`] about one process, with words for what went wrong.
pub(super) fn ask_about(pid: i32, what: c_int, name: &str) -> Result<Vec<u8>, String> {
    ask(what, &[pid]).map_err(|errno| format!("kern.proc.{name} of {pid}: {}", errno.desc()))
}

/// A structure of sys/user.h: numbers and kernel addresses, beginning with its size.
///
/// # Safety
/// Any bytes, all zero ones too, must be a valid value.
pub(super) unsafe trait Record: Sized {}
// SAFETY: integers, arrays of them and raw pointers.
unsafe impl Record for libc::kinfo_proc {}
// SAFETY: integers and arrays of them.
unsafe impl Record for libc::kinfo_file {}
// SAFETY: integers and arrays of them.
unsafe impl Record for libc::kinfo_vmentry {}

/// The records in `bytes`, each as long as its first word says.
pub(super) fn records(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    while let Some((size, _)) = bytes.split_first_chunk() {
        let size = usize::try_from(c_int::from_ne_bytes(*size)).unwrap_or(0);
        if size == 0 || size > bytes.len() {
            break;
        }
        let (record, rest) = bytes.split_at(size);
        found.push(record);
        bytes = rest;
    }
    found
}

/// A record as a structure; what the kernel has cut off is zero.
pub(super) fn read<T: Record>(record: &[u8]) -> T {
    let mut value = std::mem::MaybeUninit::<T>::zeroed();
    // SAFETY: no more bytes are copied than either has; any bytes are a valid `Record`.
    unsafe {
        std::ptr::copy_nonoverlapping(
            record.as_ptr(),
            value.as_mut_ptr().cast(),
            record.len().min(size_of::<T>()),
        );
        value.assume_init()
    }
}

/// The processes of a `kern.proc` table.
pub(super) fn process_records(bytes: &[u8]) -> Result<Vec<libc::kinfo_proc>, String> {
    let records = records(bytes);
    // The size is the layout's version (sys/user.h, KINFO_PROC_SIZE).
    if records.iter().any(|record| record.len() != size_of::<libc::kinfo_proc>()) {
        return Err("this kernel's struct kinfo_proc is not the one that forkproof knows".into());
    }
    Ok(records.into_iter().map(read).collect())
}

pub(super) fn process_record(pid: i32) -> Result<libc::kinfo_proc, String> {
    process_records(&ask_about(pid, libc::KERN_PROC_PID, "pid")?)?
        .pop()
        .ok_or_else(|| format!("no process {pid}"))
}

/// The string in an array of characters.
pub(super) fn text(characters: &[libc::c_char]) -> String {
    let bytes: Vec<u8> =
        characters.iter().map(|&byte| byte as u8).take_while(|&byte| byte != 0).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}
