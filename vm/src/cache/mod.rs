//! The images on this host: one directory for each below `~/.cache/forkproof/images`.
//!
//! ```text
//! lock.toml              what was used: URL, digest, date, size
//! ID/lock                held (flock) by whoever fetches or builds; the kernel frees it
//! ID/disk.qcow2          or disk.raw, or kernel and initrd: whole, verified, never written to
//! ID/download.part       a download that can be resumed, with download.toml beside it
//! ID/digests.toml        SHA-256 of those: written last, and asked before each boot
//! ID/*.part              something else on its way to its final name
//! ```
//!
//! A name without `.part` is given by renaming, after the file has reached the disk. All of it is this
//! user's or root's, without links, and nobody else may write to it: a cache that is not so is refused.

mod digest;
mod disk;
mod images;
mod records;
mod seal;

pub(crate) use digest::{digest_of, digest_of_text};
pub(crate) use disk::{inspect, own_disk};
pub(crate) use images::{Cache, Files, ImageLock};
pub(crate) use records::{Record, Records, now};
