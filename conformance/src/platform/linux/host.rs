//! The machine: its processor, its file systems.

use std::fs;

/// What the processor says about virtualization, and whether it is emulated in software (None:
/// cannot be told). QEMU's own processor names itself in `/proc/cpuinfo`; the `hypervisor` flag
/// stands for any virtual machine.
pub fn virtualization() -> (Option<String>, Option<bool>) {
    let Ok(text) = fs::read_to_string("/proc/cpuinfo") else { return (None, None) };
    let value = |name: &str| {
        text.lines()
            .find_map(|line| line.split_once(':').filter(|(key, _)| key.trim() == name))
            .map(|(_, value)| value.trim().to_owned())
    };
    let model = value("model name").unwrap_or_default();
    if model.contains("QEMU TCG") || model.contains("QEMU Virtual CPU") {
        return (Some(model), Some(true));
    }
    match value("flags") {
        Some(flags) if flags.split(' ').any(|flag| flag == "hypervisor") => {
            (Some("a virtual machine".into()), Some(false))
        }
        Some(_) => (None, Some(false)),
        None => (None, None),
    }
}

/// The type of the file system that `path` is on (statfs(2)).
pub fn file_system(path: &std::path::Path) -> String {
    use nix::sys::statfs as magic;
    let Ok(found) = magic::statfs(path) else { return "unknown file system".into() };
    let known = [
        (magic::EXT4_SUPER_MAGIC, "ext4"),
        (magic::TMPFS_MAGIC, "tmpfs"),
        (magic::BTRFS_SUPER_MAGIC, "btrfs"),
        (magic::FsType(0x5846_5342), "xfs"), // linux/magic.h; not in every libc crate target
        (magic::OVERLAYFS_SUPER_MAGIC, "overlay"),
        (magic::NFS_SUPER_MAGIC, "nfs"),
    ];
    known.iter().find(|(number, _)| *number == found.filesystem_type()).map_or_else(
        || format!("file system {:#x}", found.filesystem_type().0),
        |(_, name)| (*name).to_owned(),
    )
}
