//! The program `chatd` as an administrator meets it. What every such server does for its clients is
//! the catalogue's business, in `conformance/`.

#[path = "../common/mod.rs"]
mod common;
mod delivery;
mod encrypted;
mod ends;
mod hardening;
mod messages;
mod quotas;
mod start;
mod storage;
mod strangers;
mod world;
