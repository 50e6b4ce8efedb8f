//! The digest of a file.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use sha2::digest::DynDigest;
use sha2::{Sha256, Sha512};

use crate::catalogue::{Algorithm, Digest};
use crate::error::{Error, Result};
use crate::platform;

/// The digest of the file `path`. `progress` is told how many bytes have been read since it was told
/// last.
pub(crate) fn digest_of(
    algorithm: Algorithm,
    path: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<Digest> {
    let mut file = File::open(path).map_err(|error| Error::io("read", path, error))?;
    digest_of_open(algorithm, &mut file, path, progress)
}

/// As [`digest_of`], of a file that is open; `path` is for errors.
pub(super) fn digest_of_open(
    algorithm: Algorithm,
    file: &mut File,
    path: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<Digest> {
    let cannot = |error| Error::io("read", path, error);
    let mut hasher: Box<dyn DynDigest> = match algorithm {
        Algorithm::Sha256 => Box::new(Sha256::default()),
        Algorithm::Sha512 => Box::new(Sha512::default()),
    };
    let mut buffer = vec![0; 256 * 1024];
    loop {
        platform::check()?;
        let n = file.read(&mut buffer).map_err(cannot)?;
        if n == 0 {
            break;
        }
        hasher.update(&buffer[..n]);
        progress(n as u64);
    }
    Ok(Digest::of(algorithm, &hex(&hasher.finalize())))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The SHA-256 digest of a text, in hexadecimal.
pub(crate) fn digest_of_text(text: &str) -> String {
    hex(&<Sha256 as sha2::Digest>::digest(text))
}
