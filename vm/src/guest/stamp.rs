//! What tells one run's result from every other's.

/// 128 random bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stamp(String);

impl Stamp {
    /// A new one.
    pub(crate) fn new() -> Self {
        // The standard library's map keys are seeded from the system's randomness, and two states
        // in a row differ; enough to be unique, and nothing here is a secret.
        use std::hash::{BuildHasher, Hasher, RandomState};
        let part = || {
            let mut hasher = RandomState::new().build_hasher();
            hasher.write_u32(std::process::id());
            hasher.finish()
        };
        Self(format!("{:016x}{:016x}", part(), part()))
    }

    /// In hexadecimal.
    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}
