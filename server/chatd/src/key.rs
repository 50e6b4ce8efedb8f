//! The shared key: read once, compared in constant time, never shown.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use subtle::ConstantTimeEq;

use crate::StartError;

/// The key's length in bytes.
pub const KEY_LENGTH: usize = 128;

const GENERATE: &str = "`chatd --generate-key FILE` makes one";

/// The shared key. Has no `Debug`, so that it cannot slip into a message.
#[derive(Clone)]
pub struct Key([u8; KEY_LENGTH]);

impl Key {
    /// Reads the key from `path`, which must hold exactly [`KEY_LENGTH`] bytes. Also returns a
    /// warning when others may read the file.
    pub fn read(path: &Path) -> Result<(Self, Option<String>), StartError> {
        let name = path.display();
        let cannot = |error| StartError::usage(format!("key file {name}: cannot be read: {error}"));
        // O_NONBLOCK: a FIFO in the file's place must not hold the start up.
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(path)
            .map_err(cannot)?;
        let metadata = file.metadata().map_err(cannot)?;
        if !metadata.is_file() {
            return Err(StartError::usage(format!("key file {name}: not a regular file")));
        }
        let mut bytes = Vec::with_capacity(KEY_LENGTH + 2);
        file.take(KEY_LENGTH as u64 + 2).read_to_end(&mut bytes).map_err(cannot)?;
        let length = metadata.len();
        let key: [u8; KEY_LENGTH] = match bytes.as_slice().try_into() {
            Ok(key) => key,
            Err(_) if length == KEY_LENGTH as u64 + 1 && bytes.ends_with(b"\n") => {
                return Err(StartError::usage(format!(
                    "key file {name}: {length} bytes, the last one a newline; \
                     it must hold the {KEY_LENGTH} bytes of the key alone (write it with `printf %s`)"
                )));
            }
            Err(_) => {
                return Err(StartError::usage(format!(
                    "key file {name}: {length} bytes, must be exactly {KEY_LENGTH} ({GENERATE})"
                )));
            }
        };
        let open_to_others = metadata.mode() & 0o007 != 0;
        let warning = open_to_others.then(|| {
            format!(
                "key file {name}: mode {:04o} lets every user of this machine at the key; \
                 `chmod 600` it",
                metadata.mode() & 0o7777
            )
        });
        Ok((Self(key), warning))
    }

    /// Whether `offered` is the key. Takes the same time wherever the first difference is.
    pub fn matches(&self, offered: &[u8]) -> bool {
        self.0.ct_eq(offered).into()
    }
}

/// Writes a new random key of printable characters to `path`, which must not exist.
pub fn generate(path: &Path) -> Result<(), StartError> {
    let name = path.display();
    let mut random = [0u8; KEY_LENGTH];
    getrandom::fill(&mut random)
        .map_err(|error| StartError::failure(format!("no random bytes: {error}")))?;
    // 64 characters, so that each takes exactly six of its byte's bits: no bias.
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let key = random.map(|byte| ALPHABET[usize::from(byte & 63)]);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(
        |error| StartError::failure(format!("key file {name}: cannot be created: {error}")),
    )?;
    file.write_all(&key)
        .and_then(|()| file.sync_all())
        .map_err(|error| StartError::failure(format!("key file {name}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key_of(bytes: &[u8]) -> Result<Key, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        std::fs::write(&path, bytes).unwrap();
        Key::read(&path).map(|(key, _)| key).map_err(|error| error.message)
    }

    #[test]
    fn only_the_exact_key_matches() {
        let bytes: Vec<u8> = (0..128).collect();
        let key = key_of(&bytes).unwrap_or_else(|message| panic!("{message}"));
        assert!(key.matches(&bytes));
        assert!(!key.matches(&bytes[..127]));
        for at in [0, 64, 127] {
            let mut other = bytes.clone();
            other[at] ^= 1;
            assert!(!key.matches(&other), "byte {at}");
        }
    }

    #[test]
    fn generated_keys_are_readable_and_differ() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        generate(&one).unwrap();
        generate(&two).unwrap();
        let (key, warning) = Key::read(&one).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(warning, None);
        assert!(key.matches(&std::fs::read(&one).unwrap()));
        assert!(!key.matches(&std::fs::read(&two).unwrap()));
        assert!(generate(&one).unwrap_err().message.contains("cannot be created"));
    }
}
