//! The shared key, for the server and the client: read once, compared in constant time, never
//! shown, and overwritten when it is not needed any more.

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::Uid;
use settings::reason;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

/// The key's length in bytes.
pub(crate) const KEY_LENGTH: usize = 128;

/// More of a file is not read: enough to say how much too long it is, if it is near.
const LIMIT: usize = 64 * 1024;

/// The shared key. Has no `Debug`, so that it cannot slip into a message. Boxed, since what moves
/// leaves copies behind.
pub(crate) struct Key(Box<Zeroizing<[u8; KEY_LENGTH]>>);

impl Key {
    /// Reads the key from `path`, which must hold exactly [`KEY_LENGTH`] bytes and belong to this
    /// process's user, to root, or to `user`. Also returns a warning when others than its owner
    /// have access to the file. Errors are one line.
    pub(crate) fn read(path: &Path, user: Option<Uid>) -> Result<(Self, Option<String>), String> {
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
        // A pipe is nobody else's, whoever made it.
        let owner = Uid::from_raw(metadata.uid());
        let trusted = [Some(Uid::effective()), Some(Uid::from_raw(0)), user];
        if metadata.is_file() && !trusted.contains(&Some(owner)) {
            return Err(format!(
                "key file {name}: belongs to user {owner}, who can read and change it; `chown` it"
            ));
        }
        // Read in one piece: a buffer that grows leaves copies of the key behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(LIMIT));
        file.take(LIMIT as u64).read_to_end(&mut bytes).map_err(cannot)?;
        let mode = metadata.mode() & 0o7777;
        // A pipe is nobody else's, whatever its mode.
        let warning = (metadata.is_file() && mode & 0o077 != 0).then(|| {
            format!(
                "key file {name}: mode {mode:04o} gives other users access to the key; \
                 `chmod 600` it"
            )
        });
        if bytes.len() != KEY_LENGTH {
            return Err(format!("key file {name}: {}", misfit(&bytes)));
        }
        if bytes.iter().all(|&byte| byte == 0) {
            return Err(format!(
                "key file {name}: {KEY_LENGTH} NUL bytes: anybody could guess that key; make one \
                 with `chatd --generate-key FILE`"
            ));
        }
        let mut key = Self(Box::new(Zeroizing::new([0; KEY_LENGTH])));
        key.0.copy_from_slice(&bytes);
        Ok((key, warning))
    }

    /// Overwrites this process's copy.
    pub(crate) fn forget(&mut self) {
        self.0.zeroize();
    }

    /// Whether `offered` is the key. Takes the same time wherever the first difference is.
    pub(crate) fn matches(&self, offered: &[u8]) -> bool {
        self.0.as_slice().ct_eq(offered).into()
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
    let mut key = Zeroizing::new([0u8; KEY_LENGTH]);
    getrandom::fill(key.as_mut_slice()).map_err(|error| format!("no random bytes: {error}"))?;
    key.iter_mut().for_each(|byte| *byte = ALPHABET[usize::from(*byte & 63)]);
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(key.as_slice()).and_then(|()| file.sync_all()))
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
        Key::read(&path, None).map(|(key, _)| key)
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
        let (key, warning) = Key::read(&one, None).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(warning, None);
        assert!(key.matches(&std::fs::read(&one).unwrap()));
        assert!(!key.matches(&std::fs::read(&two).unwrap()));
        assert!(generate(&one).unwrap_err().contains("cannot be created"));
    }
}
