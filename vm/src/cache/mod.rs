//! The images on this host: one directory for each below `~/.cache/forkproof/images`.
//!
//! ```text
//! lock.toml              what was used: URL, digest, date, size
//! ID/lock                held (flock) by whoever fetches or builds; the kernel frees it
//! ID/disk.qcow2          or disk.raw, or kernel and initrd: whole, verified, never written to
//! ID/download.part       a download that can be resumed, with download.toml beside it
//! ID/*.part              something else on its way to its final name
//! ```
//!
//! A name without `.part` is given by renaming, after the file has reached the disk.

mod disk;
mod images;
mod records;

pub(crate) use disk::{inspect, own_disk};
pub(crate) use images::{Cache, Files, ImageLock};
pub(crate) use records::{Record, Records, now};
