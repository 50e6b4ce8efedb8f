//! Which package has a program, and how this system installs it.

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
    // Of the processor that is emulated: x86_64, i386, aarch64, arm, s390x, riscv64.
    let emulated = program.strip_prefix("qemu-system-").unwrap_or_default();
    let x86 = ["x86_64", "i386"].contains(&emulated);
    let arm = ["aarch64", "arm"].contains(&emulated);
    let group = |x86_name: &str, arm_name: &str, other: &str| -> String {
        (if x86 {
            x86_name
        } else if arm {
            arm_name
        } else {
            other
        })
        .to_owned()
    };
    // Fedora and Arch name the packages by the family of processors.
    let family = match emulated {
        "x86_64" | "i386" => "x86",
        "riscv64" => "riscv",
        other => other,
    };
    let each = |before: &str, after: &str| format!("{before}{family}{after}");
    let (install, emulator, tools, [archiver, compressor]) = if system == "freebsd" {
        ("pkg install", "qemu".to_owned(), "qemu-tools", ["libarchive", "xz"])
    } else if like("debian") || like("ubuntu") {
        let emulator = group("qemu-system-x86", "qemu-system-arm", "qemu-system-misc");
        ("apt-get install", emulator, "qemu-utils", ["libarchive-tools", "xz-utils"])
    } else if like("fedora") || like("rhel") {
        ("dnf install", each("qemu-system-", "-core"), "qemu-img", ["bsdtar", "xz"])
    } else if like("suse") || like("opensuse") {
        let other = if family == "riscv" { "qemu-extra" } else { "qemu-s390x" };
        let emulator = group("qemu-x86", "qemu-arm", other);
        ("zypper install", emulator, "qemu-img", ["bsdtar", "xz"])
    } else if like("arch") {
        ("pacman -S", each("qemu-system-", ""), "qemu-img", ["libarchive", "xz"])
    } else if like("alpine") {
        ("apk add", program.to_owned(), "qemu-img", ["libarchive-tools", "xz"])
    } else {
        let emulator = format!("QEMU's emulator of {emulated} systems");
        ("install", emulator, "QEMU's tools", ["libarchive's bsdtar", "xz"])
    };
    let package = match program {
        _ if program.contains("qemu-system") => &emulator,
        "qemu-img" => tools,
        // The package of e2fsprogs is called so everywhere.
        "mke2fs" => "e2fsprogs",
        "depmod" | "modinfo" => "kmod",
        "newuidmap" => "uidmap",
        "apt-get" | "apt-cache" => "apt",
        "dpkg-deb" => "dpkg",
        "bsdtar" => archiver,
        "xz" => compressor,
        other => other,
    };
    format!("{install} {package}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case("linux", "ID=debian\n", "qemu-system-i386", "apt-get install qemu-system-x86")]
    #[case("linux", "ID=debian\n", "qemu-system-aarch64", "apt-get install qemu-system-arm")]
    #[case("linux", "ID=debian\n", "qemu-system-s390x", "apt-get install qemu-system-misc")]
    #[case("linux", "ID=debian\n", "qemu-system-riscv64", "apt-get install qemu-system-misc")]
    #[case("linux", "ID=arch\n", "qemu-system-arm", "pacman -S qemu-system-arm")]
    #[case("linux", "ID=arch\n", "qemu-system-riscv64", "pacman -S qemu-system-riscv")]
    #[case(
        "linux",
        "ID=opensuse-leap\nID_LIKE=\"suse opensuse\"\n",
        "qemu-system-riscv64",
        "zypper install qemu-extra"
    )]
    #[case("linux", "ID=fedora\n", "qemu-system-s390x", "dnf install qemu-system-s390x-core")]
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
    #[case("linux", "ID=debian\n", "bsdtar", "apt-get install libarchive-tools")]
    #[case("linux", "ID=debian\n", "xz", "apt-get install xz-utils")]
    #[case("linux", "ID=arch\n", "bsdtar", "pacman -S libarchive")]
    #[case("linux", "ID=fedora\n", "curl", "dnf install curl")]
    #[case("linux", "ID=debian\n", "mmdebstrap", "apt-get install mmdebstrap")]
    fn packages_have_the_systems_names(
        #[case] system: &str,
        #[case] release: &str,
        #[case] program: &str,
        #[case] words: &str,
    ) {
        assert_eq!(how_to_install_on(system, release, program), words);
    }
}
