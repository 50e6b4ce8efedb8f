//! Brings an image into the cache: from its publisher, or from Debian's packages.

mod archive;
mod build;
mod curl;
mod download;
mod fetch;
mod source;
mod sums;
mod unpack;

pub(crate) use build::{KEYRING, ROOT_LABEL, ensure};
pub(crate) use curl::Network;
pub(crate) use download::Event;
pub(crate) use fetch::{Options, fetch};
pub(crate) use source::obtain;
