//! The digests of an image's files: written when they came here, and asked before each boot.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::digest::digest_of_open;
use super::images::{Cache, Files, ImageLock, SEAL};
use crate::catalogue::{Algorithm, Image, Source};
use crate::error::{Error, Result};
use crate::platform;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Seal {
    /// By their names.
    files: BTreeMap<String, String>,
}

impl ImageLock {
    /// To be called before the first of the files changes: until they are sealed again, the image is
    /// not there.
    pub(crate) fn unseal(&self) -> Result<()> {
        platform::remove(&self.dir().join(SEAL))
    }

    /// Records the digests of the files, which are what the image consists of. `progress` is told
    /// how many bytes have been read since it was told last.
    pub(crate) fn seal(&self, names: &[&str], progress: &mut dyn FnMut(u64)) -> Result<()> {
        let mut files = BTreeMap::new();
        for &name in names {
            files.insert(name.to_owned(), digest(&self.dir().join(name), progress)?);
        }
        let part = self.dir().join("digests.part");
        let text = toml::to_string(&Seal { files })
            .map_err(|error| Error::io("write", &part, std::io::Error::other(error)))?;
        platform::write(&part, text)?;
        self.publish(&part, SEAL).map(drop)
    }
}

impl Cache {
    /// Sees that the image's files are those that came here, and that nobody else can change them.
    /// A disk of the user's own is not the cache's.
    pub(crate) fn verify(&self, image: &Image, files: &Files) -> Result<()> {
        if let Source::File(_) = image.source {
            return Ok(());
        }
        platform::require_own_directory(self.root())?;
        let dir = self.dir(&image.id);
        platform::require_own_directory(&dir)?;
        let path = dir.join(SEAL);
        drop(platform::open_own(&path)?);
        let seal: Seal = settings::read(&path)?;
        for path in paths(files) {
            let actual = digest(path, &mut |_| ())?;
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let recorded = seal.files.get(name).map_or("nothing", String::as_str);
            if actual != recorded {
                return Err(Error::Damaged {
                    id: image.id.clone(),
                    file: path.display().to_string(),
                    why: format!(
                        "its digest is {actual}, but {recorded} was recorded when it was fetched or \
                         built: remove {} to have it fetched or built again",
                        dir.display()
                    ),
                });
            }
        }
        Ok(())
    }
}

fn digest(path: &Path, progress: &mut dyn FnMut(u64)) -> Result<String> {
    let mut file = platform::open_own(path)?;
    Ok(digest_of_open(Algorithm::Sha256, &mut file, path, progress)?.to_string())
}

fn paths(files: &Files) -> Vec<&PathBuf> {
    match files {
        Files::Disk { path, .. } => vec![path],
        Files::Kernel { kernel, initrd, root } => {
            [kernel, initrd].into_iter().chain(root.as_ref().map(|(path, _)| path)).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::Catalogue;

    /// Every file that a kernel's machine has counts.
    #[test]
    fn a_built_image_is_what_was_sealed() {
        let dir = tempfile::tempdir().expect("a directory");
        let cache = Cache::at(&dir.path().join("images")).expect("a cache");
        let catalogue = Catalogue::load_with(None).expect("a catalogue");
        let image = catalogue.find("debian-12").expect("an image");
        let names = ["kernel", "initrd", "disk.qcow2"];
        let lock = cache.lock(&image.id, || ()).expect("a lock");
        for name in names {
            platform::write(&lock.dir().join(name), name).expect("written");
        }
        assert_eq!(cache.find(image), None, "not sealed");
        lock.seal(&names, &mut |_| ()).expect("sealed");
        let files = cache.find(image).expect("whole");
        cache.verify(image, &files).expect("trusted");
        for name in names {
            let path = lock.dir().join(name);
            platform::write(&path, "other").expect("written");
            let error = cache.verify(image, &files).expect_err("changed").to_string();
            assert!(error.contains(&format!("{} is damaged", path.display())), "{error}");
            platform::write(&path, name).expect("written");
        }
        lock.seal(&["kernel", "initrd"], &mut |_| ()).expect("sealed");
        let error = cache.verify(image, &files).expect_err("not sealed").to_string();
        assert!(error.contains("but nothing was recorded"), "{error}");
        lock.unseal().expect("unsealed");
        assert_eq!(cache.find(image), None);
    }
}
