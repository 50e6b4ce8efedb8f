//! The shared key, for the server and the client: read once, compared in constant time, never
//! shown.

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use settings::reason;
use subtle::ConstantTimeEq;

/// The key's length in bytes.
pub(crate) const KEY_LENGTH: usize = 128;

/// More of a file is not read: enough to say how much too long it is, if it is near.
const LIMIT: usize = 64 * 1024;

/// The shared key. Has no `Debug`, so that it cannot slip into a message.
pub(crate) struct Key([u8; KEY_LENGTH]);

impl Key {
    /// Reads the key from `path`, which must hold exactly [`KEY_LENGTH`] bytes. Also returns a
    /// warning when others than its owner have access to the file. Errors are one line.
    pub(crate) fn read(path: &Path) -> Result<(Self, Option<String>), String> {
        let name = path.display();
        let cannot = |error: io::Error| {
            format!(
                "key file {name}: cannot be read: {}; name the right one with --key-file FILE",
                reason(&error)
            )
        };
        // O_NONBLOCK: a FIFO that nobody writes to must not hold the start up. The other end of a
        // shell's `<(…)` is open already, and is waited for.
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(path)
            .map_err(cannot)?;
        fcntl(&file, FcntlArg::F_SETFL(OFlag::empty())).map_err(|errno| cannot(errno.into()))?;
        let metadata = file.metadata().map_err(cannot)?;
        // Read in one piece: a buffer that grows leaves copies of the key behind.
        let mut bytes = Vec::with_capacity(LIMIT);
        file.take(LIMIT as u64).read_to_end(&mut bytes).map_err(cannot)?;
        let mode = metadata.mode() & 0o7777;
        // A pipe is nobody else's, whatever its mode.
        let warning = (metadata.is_file() && mode & 0o077 != 0).then(|| {
            format!(
                "key file {name}: mode {mode:04o} gives other users access to the key; \
                 `chmod 600` it"
            )
        });
        match bytes.as_slice().try_into() {
            Ok(key) => Ok((Self(key), warning)),
            Err(_) => Err(format!("key file {name}: {}", misfit(&bytes))),
        }
    }

    /// Whether `offered` is the key. Takes the same time wherever the first difference is.
    pub(crate) fn matches(&self, offered: &[u8]) -> bool {
        self.0.ct_eq(offered).into()
    }

    /// What a client sends.
    pub(crate) fn bytes(&self) -> &[u8; KEY_LENGTH] {
        &self.0
    }
}

/// Says why `bytes` are no key, without showing any of them.
fn misfit(bytes: &[u8]) -> String {
    let length = bytes.len();
    match bytes {
        [key @ .., b'\r', b'\n'] | [key @ .., b'\n'] if key.len() == KEY_LENGTH => format!(
            "{length} bytes, the key and a newline; it must hold the {KEY_LENGTH} bytes of the key \
             alone: write it with `printf %s KEY > FILE`, which adds none"
        ),
        _ if length == LIMIT => {
            format!("{length} bytes or more: this is no key file, a key is exactly {KEY_LENGTH}")
        }
        _ => format!(
            "{length} bytes, a key is exactly {KEY_LENGTH}: write it with `printf %s KEY > FILE`, \
             or make one with `chatd --generate-key FILE`"
        ),
    }
}

/// Writes a new random key of printable characters to `path`, which must not exist. Errors are one
/// line.
pub(crate) fn generate(path: &Path) -> Result<(), String> {
    // 64 characters, so that each takes exactly six of its byte's bits: no bias.
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut random = [0u8; KEY_LENGTH];
    getrandom::fill(&mut random).map_err(|error| format!("no random bytes: {error}"))?;
    let key = random.map(|byte| ALPHABET[usize::from(byte & 63)]);
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(&key).and_then(|()| file.sync_all()))
        .map_err(|error| {
            format!("key file {}: cannot be created: {}", path.display(), reason(&error))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key_of(bytes: &[u8]) -> Result<Key, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        std::fs::write(&path, bytes).unwrap();
        Key::read(&path).map(|(key, _)| key)
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
        assert!(generate(&one).unwrap_err().contains("cannot be created"));
    }
}
