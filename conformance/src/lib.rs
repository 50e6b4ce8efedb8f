//! Portability and conformance test suite for Unix servers that fork.

pub mod personality;
