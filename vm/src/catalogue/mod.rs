//! The images: what they are, where they come from, how they are started.
//!
//! Each is a file of `vm/images/`, which is part of the program; `vm/images/README.md` documents the
//! fields.

pub(crate) mod address;
mod architecture;
mod check;
mod digest;
mod embedded;
mod image;
mod keys;
mod lookup;
mod system;

pub(crate) use architecture::Architecture;
pub(crate) use digest::{Algorithm, Digest};
pub use embedded::image_ids;
pub(crate) use image::{
    Built, ChecksumFormat, DiskFormat, Download, FirstBoot, Format, Image, Keyboard, Kind,
    SerialLogin, Source, Verify,
};
pub(crate) use keys::keys;
pub(crate) use lookup::Catalogue;
pub(crate) use system::System;
