//! The descriptions that are part of the program.

/// The descriptions that are part of the program: id and text. A plain table; a description that is
/// missing here is found by a test.
pub(crate) const EMBEDDED: &[(&str, &str)] = &[
    ("debian-12-tiny", include_str!("../../images/debian-12-tiny.toml")),
    ("debian-12-i386-tiny", include_str!("../../images/debian-12-i386-tiny.toml")),
    ("debian-13-tiny", include_str!("../../images/debian-13-tiny.toml")),
    ("debian-12-arm64-tiny", include_str!("../../images/debian-12-arm64-tiny.toml")),
    ("debian-12-armhf-tiny", include_str!("../../images/debian-12-armhf-tiny.toml")),
    ("debian-13-armhf-tiny", include_str!("../../images/debian-13-armhf-tiny.toml")),
    ("debian-12-s390x-tiny", include_str!("../../images/debian-12-s390x-tiny.toml")),
    ("debian-13-riscv64-tiny", include_str!("../../images/debian-13-riscv64-tiny.toml")),
    ("debian-testing-tiny", include_str!("../../images/debian-testing-tiny.toml")),
    ("debian-unstable-tiny", include_str!("../../images/debian-unstable-tiny.toml")),
    ("debian-12", include_str!("../../images/debian-12.toml")),
    ("debian-12-i386", include_str!("../../images/debian-12-i386.toml")),
    ("debian-13", include_str!("../../images/debian-13.toml")),
    ("debian-12-cloudinit", include_str!("../../images/debian-12-cloudinit.toml")),
    ("debian-12-i386-cloudinit", include_str!("../../images/debian-12-i386-cloudinit.toml")),
    ("debian-13-cloudinit", include_str!("../../images/debian-13-cloudinit.toml")),
    ("debian-testing-cloudinit", include_str!("../../images/debian-testing-cloudinit.toml")),
    ("debian-unstable-cloudinit", include_str!("../../images/debian-unstable-cloudinit.toml")),
    ("debian-12-serial", include_str!("../../images/debian-12-serial.toml")),
    ("debian-12-keyboard", include_str!("../../images/debian-12-keyboard.toml")),
    ("debian-12-cloud", include_str!("../../images/debian-12-cloud.toml")),
    ("debian-12-nocloud", include_str!("../../images/debian-12-nocloud.toml")),
    ("debian-13-cloud", include_str!("../../images/debian-13-cloud.toml")),
    ("debian-13-nocloud", include_str!("../../images/debian-13-nocloud.toml")),
    ("freebsd-13", include_str!("../../images/freebsd-13.toml")),
    ("freebsd-14", include_str!("../../images/freebsd-14.toml")),
    ("freebsd-14-i386", include_str!("../../images/freebsd-14-i386.toml")),
    ("freebsd-15", include_str!("../../images/freebsd-15.toml")),
    ("freebsd-15-stable", include_str!("../../images/freebsd-15-stable.toml")),
    ("freebsd-16-current", include_str!("../../images/freebsd-16-current.toml")),
    ("kali", include_str!("../../images/kali.toml")),
    ("kali-2024.3-i386", include_str!("../../images/kali-2024.3-i386.toml")),
    ("ubuntu-22.04", include_str!("../../images/ubuntu-22.04.toml")),
    ("ubuntu-24.04", include_str!("../../images/ubuntu-24.04.toml")),
    ("ubuntu-26.04", include_str!("../../images/ubuntu-26.04.toml")),
];

/// The ids of the images that are part of the program.
pub fn image_ids() -> Vec<&'static str> {
    EMBEDDED.iter().map(|(id, _)| *id).collect()
}
