//! The cache of hot files. It is bounded, and what it serves is never stale.
//!
//! A file is opened and asked for its status (fstat) for each request, by the path that was
//! requested: so access rights, renames and links count at once. The cache saves the read alone. An
//! entry is served only if device, inode, size, and the times of modification and of change, in
//! nanoseconds, are those that the file had when it was read. Nobody sets the time of change, so
//! every write, however small, shows.
//!
//! One gap is left, and closed: two writes within one tick of the file system's clock have the same
//! time. A file is kept only if its last change was [`SETTLED`] before it was read, so that a later
//! write has a later time (git calls the others "racily clean"). Its status is taken again after
//! the read, so that what is kept is what one version of the file holds.
//!
//! What no time shows is a store through a shared writable mapping after the page's first: such a
//! file can be served as it was until the system writes the page back.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use lru::LruCache;

/// How long a file must have been left alone. More than the tick of any file system in use (FAT's
/// is 2 s).
const SETTLED: Duration = Duration::from_millis(2500);
/// The most files that are kept, however small.
const MOST_FILES: NonZeroUsize = NonZeroUsize::new(16 * 1024).unwrap();

/// What tells a version of a file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Version {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Version {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Whether it was made so long ago that a change now would have another time.
    fn is_settled(&self) -> bool {
        let changed = self.changed.max(self.modified);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(changed.0).is_ok_and(|seconds| {
            Duration::new(seconds, changed.1 as u32).saturating_add(SETTLED) <= now
        })
    }
}

/// A worker's cache.
pub(crate) struct Cache {
    entries: LruCache<PathBuf, (Version, Bytes)>,
    bytes: usize,
    most_bytes: usize,
    largest: u64,
}

impl Cache {
    /// A cache of at most `most_bytes` of files of at most `largest` bytes each.
    pub(crate) fn new(most_bytes: usize, largest: usize) -> Self {
        let largest = largest.min(most_bytes) as u64;
        Self { entries: LruCache::new(MOST_FILES), bytes: 0, most_bytes, largest }
    }

    /// Bytes and files that are kept.
    pub(crate) fn size(&self) -> (u64, u64) {
        (self.bytes as u64, self.entries.len() as u64)
    }

    /// What was read from `path` before, if it is what the file with this status holds.
    pub(crate) fn get(&mut self, path: &Path, metadata: &Metadata) -> Option<Bytes> {
        let (version, bytes) = self.entries.get(path)?;
        if *version == Version::of(metadata) {
            return Some(bytes.clone());
        }
        self.forget(path);
        None
    }

    /// Reads a small file whole, and keeps it if it can. `None` if the file is too large, or
    /// changes meanwhile: it is to be sent as it is read.
    pub(crate) fn read(
        &mut self,
        path: &Path,
        file: &mut File,
        metadata: &Metadata,
    ) -> io::Result<Option<Bytes>> {
        let version = Version::of(metadata);
        if version.size > self.largest {
            return Ok(None);
        }
        let settled = version.is_settled();
        let mut content = Vec::with_capacity(version.size as usize);
        Read::by_ref(file).take(version.size).read_to_end(&mut content)?;
        if content.len() as u64 != version.size || Version::of(&file.metadata()?) != version {
            return Ok(None);
        }
        let content = Bytes::from(content);
        if settled {
            self.keep(path, version, content.clone());
        }
        Ok(Some(content))
    }

    fn keep(&mut self, path: &Path, version: Version, content: Bytes) {
        self.forget(path);
        while self.bytes + content.len() > self.most_bytes || self.entries.len() >= MOST_FILES.get()
        {
            let Some((_, (_, old))) = self.entries.pop_lru() else { break };
            self.bytes -= old.len();
        }
        self.bytes += content.len();
        self.entries.put(path.to_owned(), (version, content));
    }

    fn forget(&mut self, path: &Path) {
        if let Some((_, old)) = self.entries.pop(path) {
            self.bytes -= old.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// Reads `path` as a request does; whether it came from the cache, and the content.
    fn served(cache: &mut Cache, path: &Path) -> (bool, Vec<u8>) {
        let mut file = File::open(path).unwrap();
        let metadata = file.metadata().unwrap();
        if let Some(bytes) = cache.get(path, &metadata) {
            return (true, bytes.to_vec());
        }
        let read = cache.read(path, &mut file, &metadata).unwrap();
        (false, read.map_or_else(|| fs::read(path).unwrap(), |bytes| bytes.to_vec()))
    }

    /// Makes `path` one that was last changed long ago, for which its file system is asked to wait.
    fn settle(path: &Path) {
        while !Version::of(&fs::metadata(path).unwrap()).is_settled() {
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    #[test]
    fn it_is_bounded_and_never_stale() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let mut cache = Cache::new(250, 100);
        for name in ["a", "b", "c"] {
            fs::write(path(name), vec![b'x'; 100]).unwrap();
        }
        fs::write(path("large"), vec![b'x'; 101]).unwrap();
        assert!(!served(&mut cache, &path("a")).0);
        assert!(!served(&mut cache, &path("a")).0, "just written: not kept");

        settle(&path("large"));
        for name in ["a", "b"] {
            assert!(!served(&mut cache, &path(name)).0);
            assert!(served(&mut cache, &path(name)).0);
        }
        assert_eq!(cache.size(), (200, 2));
        assert!(served(&mut cache, &path("a")).0);
        served(&mut cache, &path("c"));
        assert_eq!(cache.size(), (200, 2));
        assert!(served(&mut cache, &path("a")).0);
        assert!(!served(&mut cache, &path("b")).0, "the least recently used made room");
        assert!(!served(&mut cache, &path("large")).0);
        assert!(!served(&mut cache, &path("large")).0, "too large");

        // Same size, and the modification time put back: the time of change tells.
        let before = fs::metadata(path("a")).unwrap().modified().unwrap();
        fs::write(path("a"), vec![b'y'; 100]).unwrap();
        File::options().write(true).open(path("a")).unwrap().set_modified(before).unwrap();
        assert_eq!(served(&mut cache, &path("a")), (false, vec![b'y'; 100]));
        // Another file in its place.
        fs::write(path("new"), vec![b'z'; 100]).unwrap();
        fs::rename(path("new"), path("c")).unwrap();
        assert_eq!(served(&mut cache, &path("c")), (false, vec![b'z'; 100]));
    }
}
