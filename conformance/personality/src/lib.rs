//! The personality library of forkproof: loaded before a program (`LD_PRELOAD`
//! of ld.so(8) on Linux and rtld(1) on FreeBSD), it makes libc calls behave as
//! another platform's do. [`table`] lists the personalities.
//!
//! Rules that every module keeps:
//! - Interposed functions run in signal handlers and between fork and exec. They
//!   take no lock and no memory; what they remember is in atomics.
//! - Pointers are the caller's, given under the contract of the libc function of
//!   the same name. The library looks only where that contract says that there
//!   is something, and so do the wrappers of `real`, which are safe to call for
//!   that reason alone.
//! - Calls inside libc itself (stdio's write, daemon's fork) do not pass through
//!   the dynamic linker and are not changed.
//!
//! In layers, the lowest first; an import goes down this list: `sys` and `table`; `real`, the
//! functions of libc; `state`, what is selected and done; `inherited`, `kept`, `darwin`, `filter` and
//! `window`; `start`; `pools`; `clocks` and `names`; `signals`;
//! `descriptors` and `pid_files`; `handshakes`; `files`, `locks`, `processes`; `streams`;
//! `sockets` and `waits`; `exports`.
//!
//! Built twice: by conformance/build.rs with plain rustc and panic=abort, without
//! std, to be embedded in `forkproof`; and by cargo, which checks it against the
//! libc crate.
#![cfg_attr(panic = "abort", no_std)]

mod clocks;
mod darwin;
mod descriptors;
mod exports;
mod files;
#[cfg(target_os = "linux")]
mod filter;
mod handshakes;
mod inherited;
mod kept;
mod locks;
mod names;
mod pid_files;
mod pools;
mod processes;
mod real;
mod signals;
mod sockets;
mod start;
mod state;
mod streams;
mod sys;
pub mod table;
mod waits;
mod window;
