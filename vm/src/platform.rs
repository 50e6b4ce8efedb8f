//! Where Linux and FreeBSD differ, for this crate.

use nix::errno::Errno;

/// Makes the kernel kill this process when its parent dies: even `kill -9` of forkproof leaves no
/// machine behind. To be called in the child between fork and exec, of which it survives the latter;
/// `parent` is the process that forked.
///
/// Linux means the parent's thread: the one that starts a machine waits for its end.
pub(crate) fn die_with_parent(parent: i32) -> std::io::Result<()> {
    request_death_signal()?;
    // It may have died before the request.
    if nix::unistd::getppid().as_raw() != parent {
        return Err(std::io::Error::from_raw_os_error(libc::ESRCH));
    }
    Ok(())
}

/// prctl(2), `PR_SET_PDEATHSIG`.
#[cfg(target_os = "linux")]
fn request_death_signal() -> nix::Result<()> {
    // SAFETY: the request takes a signal and touches no memory.
    Errno::result(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong) })
        .map(drop)
}

/// procctl(2), `PROC_PDEATHSIG_CTL`: for the calling process the id is 0; "cleared for the child of
/// a fork", and by an exec only of a set-user-ID program.
#[cfg(target_os = "freebsd")]
fn request_death_signal() -> nix::Result<()> {
    let mut signal: libc::c_int = libc::SIGKILL;
    // SAFETY: the request reads one int through the pointer.
    Errno::result(unsafe {
        libc::procctl(libc::P_PID, 0, libc::PROC_PDEATHSIG_CTL, (&raw mut signal).cast())
    })
    .map(drop)
}

#[cfg(not(any(target_os = "linux", target_os = "freebsd")))]
fn request_death_signal() -> nix::Result<()> {
    Err(Errno::ENOSYS)
}

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

/// Memory that can be taken without harm, MiB; none when the system does not tell.
#[cfg(not(any(target_os = "linux", target_os = "freebsd")))]
pub(crate) fn memory_available() -> Option<u64> {
    None
}

/// The command that installs the package with `program`, on this system.
pub(crate) fn how_to_install(program: &str) -> String {
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    how_to_install_on(std::env::consts::OS, &release, program)
}

/// As [`how_to_install`], for an os-release(5) of that text.
fn how_to_install_on(system: &str, os_release: &str, program: &str) -> String {
    let words: Vec<&str> = os_release
        .lines()
        .filter_map(|line| line.strip_prefix("ID=").or_else(|| line.strip_prefix("ID_LIKE=")))
        .flat_map(|value| value.trim_matches(['"', '\'']).split(' '))
        .collect();
    let like = |name: &str| words.contains(&name);
    let (install, emulator, tools) = if system == "freebsd" {
        ("pkg install", "qemu", "qemu-tools")
    } else if like("debian") || like("ubuntu") {
        ("apt-get install", "qemu-system-x86", "qemu-utils")
    } else if like("fedora") || like("rhel") {
        ("dnf install", "qemu-system-x86-core", "qemu-img")
    } else if like("suse") || like("opensuse") {
        ("zypper install", "qemu-x86", "qemu-img")
    } else if like("arch") {
        ("pacman -S", "qemu-system-x86", "qemu-img")
    } else if like("alpine") {
        ("apk add", "qemu-system-x86_64 qemu-system-i386", "qemu-img")
    } else {
        ("install", "QEMU's emulator of x86 systems", "QEMU's tools")
    };
    let package = match program {
        _ if program.contains("qemu-system") => emulator,
        "qemu-img" => tools,
        // The package of e2fsprogs is called so everywhere.
        "mke2fs" => "e2fsprogs",
        "depmod" | "modinfo" => "kmod",
        "newuidmap" => "uidmap",
        "apt-get" | "apt-cache" => "apt",
        "dpkg-deb" => "dpkg",
        other => other,
    };
    format!("{install} {package}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case("linux", "ID=debian\n", "qemu-system-i386", "apt-get install qemu-system-x86")]
    #[case("linux", "ID=ubuntu\nID_LIKE=debian\n", "qemu-img", "apt-get install qemu-utils")]
    #[case("linux", "ID=kali\nID_LIKE=debian\n", "qemu-img", "apt-get install qemu-utils")]
    #[case("linux", "ID=fedora\n", "qemu-system-x86_64", "dnf install qemu-system-x86-core")]
    #[case(
        "linux",
        "ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n",
        "qemu-img",
        "dnf install qemu-img"
    )]
    #[case("freebsd", "", "qemu-system-x86_64", "pkg install qemu")]
    #[case("linux", "ID=debian\n", "mmdebstrap", "apt-get install mmdebstrap")]
    fn packages_have_the_systems_names(
        #[case] system: &str,
        #[case] release: &str,
        #[case] program: &str,
        #[case] words: &str,
    ) {
        assert_eq!(how_to_install_on(system, release, program), words);
    }

    #[test]
    fn there_is_memory() {
        assert!(memory_available().is_some_and(|mib| mib > 0));
    }
}
