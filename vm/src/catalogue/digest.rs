//! Digests, as publishers and descriptions write them.

use std::fmt;
use std::str::FromStr;

/// A hash function that publishers use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Algorithm {
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    /// The one with digests of that length.
    pub(crate) fn of_length(hex_digits: usize) -> Option<Self> {
        match hex_digits {
            64 => Some(Self::Sha256),
            128 => Some(Self::Sha512),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }
}

/// A digest, written `sha256:…` or `sha512:…` in lower-case hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Digest {
    algorithm: Algorithm,
    hex: String,
}

impl Digest {
    /// Which hash function.
    pub(crate) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// What was computed, in lower-case hexadecimal.
    pub(crate) fn of(algorithm: Algorithm, hex: &str) -> Self {
        Self { algorithm, hex: hex.to_owned() }
    }

    /// What is written, if it is a digest of that kind.
    pub(crate) fn new(algorithm: Algorithm, hex: &str) -> Option<Self> {
        let right = Algorithm::of_length(hex.len()) == Some(algorithm)
            && hex.bytes().all(|digit| digit.is_ascii_hexdigit());
        right.then(|| Self { algorithm, hex: hex.to_ascii_lowercase() })
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.name(), self.hex)
    }
}

impl FromStr for Digest {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let digest = match text.split_once(':') {
            Some(("sha256", hex)) => Self::new(Algorithm::Sha256, hex),
            Some(("sha512", hex)) => Self::new(Algorithm::Sha512, hex),
            _ => None,
        };
        digest.ok_or_else(|| {
            format!(
                "`{text}` is no digest: write `sha256:` and 64, or `sha512:` and 128, hexadecimal \
                 digits"
            )
        })
    }
}
