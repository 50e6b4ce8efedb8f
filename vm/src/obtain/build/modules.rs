//! The modules of a tiny image.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use object::{Object, ObjectSection};

use super::making::Making;
use super::tree::Tree;
use crate::error::{Error, Result};
use crate::obtain::unpack;
use crate::platform;

/// Modules without which a machine is of no use, and their absence an error.
const MODULES: [&str; 2] = ["virtio_blk", "overlay"];
/// Modules that help where they are there.
const OPTIONAL_MODULES: [&str; 1] = ["virtio_rng"];

/// The modules that the machine needs, and those that they need, in the order in which they can
/// be loaded.
pub(super) fn needed(making: &Making<'_>, tree: &Tree) -> Result<Vec<(String, Vec<u8>)>> {
    let built_in = match tree.named("modules.builtin") {
        Some(path) => platform::read_text(path)?,
        None => String::new(),
    };
    let available: BTreeMap<String, &Path> =
        tree.files.iter().filter_map(|path| Some((module_name(path)?, path.as_path()))).collect();
    let mut loaded: Vec<(String, Vec<u8>)> = Vec::new();
    // What disks are attached to; on s390x it is in every kernel that can be a guest's.
    let bus = (making.built.architecture != "s390x").then_some("virtio_pci");
    let all = bus.into_iter().chain(MODULES).map(|name| (name, true));
    for (wanted, must) in all.chain(OPTIONAL_MODULES.map(|name| (name, false))) {
        let is_built_in =
            built_in.lines().any(|line| module_name(Path::new(line)).as_deref() == Some(wanted));
        if is_built_in {
            continue;
        }
        if !available.contains_key(wanted) {
            if must {
                return Err(making.failed(format!("{} has no {wanted}", making.built.kernel)));
            }
            continue;
        }
        load(making, wanted, &available, &mut loaded)?;
    }
    Ok(loaded)
}

fn load(
    making: &Making<'_>,
    name: &str,
    available: &BTreeMap<String, &Path>,
    loaded: &mut Vec<(String, Vec<u8>)>,
) -> Result<()> {
    if loaded.iter().any(|(there, _)| there == name) {
        return Ok(());
    }
    let Some(path) = available.get(name) else {
        return Err(making.failed(format!("{} has no {name}", making.built.kernel)));
    };
    let content = if path.extension().is_some_and(|extension| extension == "xz") {
        plain(making, path)?
    } else {
        platform::read(path)?
    };
    let needed = needed_modules(&content)
        .map_err(|why| making.failed(format!("{}: {why}", path.display())))?;
    for dependency in needed {
        load(making, &dependency, available, loaded)?;
    }
    loaded.push((name.to_owned(), content));
    Ok(())
}

/// What is in an xz file.
fn plain(making: &Making<'_>, path: &Path) -> Result<Vec<u8>> {
    let cannot = |error| Error::io("read", path, error);
    let file = File::open(path).map_err(cannot)?;
    let (tool, mut output) = platform::start_tool(unpack::xz()?.stdin(file))?;
    let mut content = Vec::new();
    output.read_to_end(&mut content).map_err(cannot)?;
    let said = tool.finish(&mut || Ok(()))?;
    if said.status.success() {
        return Ok(content);
    }
    Err(making.failed(format!("{}: {}", path.display(), said.errors)))
}

/// `virtio-rng.ko.xz` is the module `virtio_rng`.
fn module_name(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let name = name.strip_suffix(".xz").unwrap_or(name).strip_suffix(".ko")?;
    Some(name.replace('-', "_"))
}

/// What a module says that it needs: `depends=` of its section `.modinfo`.
fn needed_modules(content: &[u8]) -> std::result::Result<Vec<String>, String> {
    let file = object::File::parse(content).map_err(|error| error.to_string())?;
    let section = file.section_by_name(".modinfo").ok_or("no .modinfo")?;
    let data = section.data().map_err(|error| error.to_string())?;
    let depends = data
        .split(|&byte| byte == 0)
        .find_map(|entry| std::str::from_utf8(entry).ok()?.strip_prefix("depends="))
        .unwrap_or_default();
    Ok(depends
        .split(',')
        .filter(|name| !name.is_empty())
        .map(|name| name.replace('-', "_"))
        .collect())
}
