//! What was downloaded: `lock.toml`.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::images::Cache;
use crate::error::{Error, Result};
use crate::platform;

const RECORDS_HEAD: &str = "\
# What was downloaded, written by forkproof. A copy of this file pins the images:
# `forkproof vm fetch --locked --lock-file COPY IMAGE` refuses anything else.
";

/// What was used: the contents of `lock.toml`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Records {
    /// By the image's id.
    #[serde(default)]
    pub(crate) images: BTreeMap<String, Record>,
}

/// What one image was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    /// What was downloaded.
    pub(crate) url: String,
    /// Its digest, which is the publisher's: `sha512:…`.
    pub(crate) digest: String,
    /// Its size, bytes.
    pub(crate) bytes: u64,
    /// When, RFC 3339.
    pub(crate) date: String,
}

impl Records {
    /// Reads a file of records; one that is not there holds none.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        match settings::read(path) {
            Err(error) if error.is_missing_file() => Ok(Self::default()),
            records => Ok(records?),
        }
    }
}

/// The time, as records hold it: RFC 3339, UTC.
pub(crate) fn now() -> String {
    humantime::format_rfc3339_seconds(SystemTime::now()).to_string()
}

impl Cache {
    /// The file of records ([`Records`]).
    pub(crate) fn records_file(&self) -> PathBuf {
        self.root().join("lock.toml")
    }

    /// Records what an image was made from.
    pub(crate) fn record(&self, id: &str, record: Record) -> Result<()> {
        // Images are fetched side by side, and this file is one for all.
        let _lock = platform::lock(&self.root().join("lock.toml.lock"), || ())?;
        let path = self.records_file();
        let mut records = Records::read(&path)?;
        records.images.insert(id.to_owned(), record);
        let text = toml::to_string(&records)
            .map_err(|error| Error::io("write", &path, std::io::Error::other(error)))?;
        let written = tempfile::NamedTempFile::new_in(self.root()).and_then(|mut file| {
            file.write_all(RECORDS_HEAD.as_bytes())?;
            file.write_all(text.as_bytes())?;
            file.as_file().sync_all()?;
            file.persist(&path)?;
            Ok(())
        });
        written.map_err(|error| Error::io("write", &path, error))
    }
}
