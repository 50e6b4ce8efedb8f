//! What there is of memory and of space.

use std::path::Path;

/// Memory that can be taken without harm, MiB; none when the system does not tell.
#[cfg(target_os = "linux")]
pub(crate) fn memory_available() -> Option<u64> {
    // proc_meminfo(5), `MemAvailable`, in KiB.
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024)
}

/// Memory that can be taken without harm, MiB; none when the system does not tell.
#[cfg(target_os = "freebsd")]
pub(crate) fn memory_available() -> Option<u64> {
    // sysctl(8) prints pages: the free ones, and those that can be taken back at once.
    let output = std::process::Command::new("/sbin/sysctl")
        .args(["-n", "hw.pagesize", "vm.stats.vm.v_free_count", "vm.stats.vm.v_inactive_count"])
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let mut numbers = text.lines().map(|line| line.trim().parse::<u64>());
    let (page, free, inactive) =
        (numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?);
    Some(page * (free + inactive) / (1024 * 1024))
}

/// Bytes that can still be written below `dir`; none when the system does not tell.
pub(crate) fn space_left(dir: &Path) -> Option<u64> {
    let space = nix::sys::statvfs::statvfs(dir).ok()?;
    #[allow(clippy::useless_conversion, reason = "the types differ between systems and widths")]
    Some(u64::from(space.blocks_available()).saturating_mul(u64::from(space.fragment_size())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_memory() {
        assert!(memory_available().is_some_and(|mib| mib > 0));
    }
}
