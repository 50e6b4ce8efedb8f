//! The tar that a guest wrote. A guest is a stranger: only plain members of known names are read,
//! each once, and no more of them than a host has memory for.

use std::collections::BTreeMap;
use std::io::{self, Read};

use settings::printable;
use tar::{EntryType, PaxExtensions};

/// All members together are no larger, bytes.
const SUM_LIMIT: u64 = 64 * 1024 * 1024;
/// What pax says of one member is no larger, bytes.
const EXTENSION_LIMIT: u64 = 64 * 1024;
/// How many extended headers there may be for each known name.
const EXTENSIONS_EACH: usize = 2;
/// What pax may not say: it would make a member another one than its header says.
const CHANGING: [&str; 4] = ["path", "size", "linkpath", "hdrcharset"];

/// A member that may be there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    pub(super) name: &'static str,
    /// It is no larger, bytes.
    pub(super) limit: u64,
}

/// Reads the members that are there. The error is why the archive is refused, as the end of the
/// sentence "… wrote no result:".
pub(super) fn read_members(
    content: impl Read,
    known: &[Known],
) -> Result<BTreeMap<&'static str, Vec<u8>>, String> {
    let mut archive = tar::Archive::new(content);
    let mut members = BTreeMap::new();
    let (mut sum, mut extensions) = (0, 0);
    // Raw: an entry is what its own header says, and nothing that comes before it is kept.
    for entry in archive.entries().map_err(damaged)?.raw(true) {
        let mut entry = entry.map_err(damaged)?;
        let kind = entry.header().entry_type();
        if let EntryType::XHeader | EntryType::XGlobalHeader = kind {
            extensions += 1;
            if extensions > known.len() * EXTENSIONS_EACH {
                return Err(format!("the result's archive has {extensions} extended headers"));
            }
            require_harmless(&whole(&mut entry, EXTENSION_LIMIT, "an extended header")?)?;
            continue;
        }
        let path = entry.path_bytes();
        let Some(known) = known.iter().find(|known| *path == *known.name.as_bytes()) else {
            let name: String = String::from_utf8_lossy(&path).chars().take(40).collect();
            return Err(format!("the result has a foreign member `{}`", printable(&name)));
        };
        let name = known.name;
        match kind {
            EntryType::Regular => {}
            EntryType::GNUSparse => return Err(format!("the result's `{name}` is sparse")),
            _ => return Err(format!("the result's `{name}` is no plain file")),
        }
        sum += entry.size().min(SUM_LIMIT + 1);
        if sum > SUM_LIMIT {
            return Err(format!("the result is larger than {SUM_LIMIT} bytes"));
        }
        let content = whole(&mut entry, known.limit, &format!("`{name}`"))?;
        if members.insert(name, content).is_some() {
            return Err(format!("the result has two members `{name}`"));
        }
    }
    Ok(members)
}

fn damaged(error: io::Error) -> String {
    // The reader quotes what it found.
    printable(&format!("the result's archive is damaged: {error}"))
}

/// The whole content of an entry.
fn whole(entry: &mut tar::Entry<'_, impl Read>, limit: u64, what: &str) -> Result<Vec<u8>, String> {
    let size = entry.size();
    if size > limit {
        return Err(format!("the result's {what} is larger than {limit} bytes"));
    }
    let mut content = Vec::new();
    entry.read_to_end(&mut content).map_err(damaged)?;
    if content.len() as u64 == size {
        Ok(content)
    } else {
        Err("the result's archive ends before its time".into())
    }
}

/// FreeBSD's tar describes flags and times that way. Names and sizes are in the headers alone.
fn require_harmless(extension: &[u8]) -> Result<(), String> {
    for record in PaxExtensions::new(extension) {
        let record = record.map_err(damaged)?;
        let key = String::from_utf8_lossy(record.key_bytes());
        if key.starts_with("GNU.sparse") || key == "SCHILY.realsize" {
            return Err("the result has a sparse member".into());
        }
        if CHANGING.contains(&&*key) {
            return Err(format!("the result's archive gives a member another `{key}`"));
        }
    }
    Ok(())
}
