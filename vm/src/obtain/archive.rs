//! The one disk of an archive, by bsdtar(1), which reads tar and 7z alike and writes nothing here but
//! to its standard output.

use std::path::{Component, Path};
use std::process::Command;

use settings::printable;

use crate::error::{Error, Result};
use crate::platform;

/// How a disk's name ends, in an archive.
const DISK_NAMES: [&str; 3] = ["qcow2", "raw", "img"];

/// The command that writes the disk of the archive `file`, which is its standard input. `damaged`
/// makes an error of what is wrong with the archive.
pub(super) fn extraction(file: &Path, damaged: &dyn Fn(String) -> Error) -> Result<Command> {
    let program = platform::program("bsdtar")?;
    let mut list = Command::new(&program);
    list.arg("--list").arg("--file").arg(file);
    let said = platform::tool(&mut list, &mut |_| Ok(()))?;
    if !said.status.success() {
        return Err(damaged(first_words(&said.errors)));
    }
    let names = String::from_utf8_lossy(&said.output);
    let disk = the_one_disk(names.lines()).map_err(|why| damaged(printable(&why)))?;
    let mut command = Command::new(program);
    command.args(["--extract", "--to-stdout", "--file", "-", "--", disk]);
    Ok(command)
}

/// The first thing that a tool complained of, without its own name.
pub(super) fn first_words(errors: &str) -> String {
    let line = errors.lines().next().unwrap_or("it cannot be read");
    let line = line.strip_prefix("bsdtar: ").or_else(|| line.strip_prefix("xz: (stdin): "));
    printable(line.or(errors.lines().next()).unwrap_or("it cannot be read"))
}

/// Another disk beside it, or a path that leads out, is an error.
fn the_one_disk<'a>(names: impl Iterator<Item = &'a str>) -> std::result::Result<&'a str, String> {
    let mut disk = None;
    let mut others = Vec::new();
    for name in names {
        let path = Path::new(name);
        if !path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
            return Err(format!("it names `{name}`, outside of itself"));
        }
        let extension = path.extension().and_then(|extension| extension.to_str());
        if !extension.is_some_and(|extension| DISK_NAMES.contains(&extension)) {
            others.push(name);
        } else if name.contains(['*', '?', '[', '\\']) {
            // bsdtar takes names as patterns, and shows what it cannot print with backslashes.
            return Err(format!("it holds a disk with an unusable name, `{name}`"));
        } else if let Some(first) = disk.replace(name) {
            return Err(format!("it holds two disks, `{first}` and `{name}`"));
        }
    }
    disk.ok_or_else(|| {
        let others = if others.is_empty() { "nothing".to_owned() } else { others.join(", ") };
        format!("it holds no disk (a file that ends with .qcow2, .raw or .img), but {others}")
    })
}
