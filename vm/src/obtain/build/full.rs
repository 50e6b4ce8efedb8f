//! A full image: a disk with systemd, its kernel and its initramfs.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use super::making::Making;
use super::scripts::{ROOT_LABEL, UNIT, agent};
use crate::catalogue::Kind;
use crate::error::{Error, Result};
use crate::guest::quoted;
use crate::platform;

/// Size of its file system: room for the packages and the runs.
pub(super) const DISK_SIZE: &str = "3G";

/// A disk, a kernel and its initramfs.
pub(super) fn make(making: &Making<'_>) -> Result<BTreeMap<String, String>> {
    making.keyring()?;
    let mmdebstrap = platform::program("mmdebstrap")?;
    let mke2fs = platform::program("mke2fs")?;
    let qemu_img = platform::program("qemu-img")?;
    let (mode, mut as_root) = if nix::unistd::geteuid().is_root() {
        ("root", Command::new("sh"))
    } else {
        // With it mmdebstrap gets a range of user ids of its own: user_namespaces(7).
        platform::program("newuidmap")?;
        let mut command = Command::new(platform::program("fakeroot")?);
        command.arg("sh");
        ("unshare", command)
    };
    // mmdebstrap asks it whether this processor runs the packages' programs.
    platform::program("arch-test")?;
    let mut packages: Vec<&str> =
        vec![&making.built.kernel, "systemd-sysv", "kmod", "udev", "iproute2", "tar"];
    if making.built.kind == Kind::Cloud {
        packages.push("cloud-init");
    }
    let write = |name: &str, text: &str| {
        let path = making.dir.join(name);
        platform::write(&path, text)?;
        Ok::<_, Error>(path)
    };
    write("agent", &agent())?;
    write("unit", UNIT)?;
    let finish = write("finish", &finish(making, &mke2fs))?;
    (making.tell)("installs Debian's packages");
    making.tool(
        "mmdebstrap",
        Command::new(mmdebstrap)
            .args(["--format=tar", "--variant=minbase"])
            .arg(format!("--mode={mode}"))
            .arg(format!("--architectures={}", making.built.architecture))
            .arg(format!("--include={}", packages.join(",")))
            .arg(&making.built.suite)
            .arg(making.dir.join("tree.tar"))
            .arg(making.source()),
    )?;
    (making.tell)("writes the disk");
    making.tool("the file system", as_root.arg(&finish))?;
    // Without the holes: a copy of the cache may not keep them.
    making.tool(
        "qemu-img convert",
        Command::new(qemu_img)
            .args(["convert", "-q", "-f", "raw", "-O", "qcow2"])
            .args([making.dir.join("raw"), making.dir.join("disk.qcow2")]),
    )?;
    let list = making.dir.join("packages");
    let text = platform::read_text(&list)?;
    Ok(text
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .map(|(name, version)| (name.to_owned(), version.to_owned()))
        .collect())
}

/// The script, root's or fakeroot's, that makes what mmdebstrap leaves a file system.
fn finish(making: &Making<'_>, mke2fs: &Path) -> String {
    let agent_too = match making.built.kind {
        // cloud-init, or whoever logs in, does what the agent does.
        Kind::Cloud | Kind::Plain => String::new(),
        _ => "install -m 755 agent \"$root/usr/local/sbin/forkproof-agent\"\n\
              install -m 644 unit \"$root/etc/systemd/system/forkproof-agent.service\"\n\
              ln -s ../forkproof-agent.service \
              \"$root/etc/systemd/system/multi-user.target.wants/forkproof-agent.service\"\n\
              ln -s /dev/null \"$root/etc/systemd/system/serial-getty@ttyS0.service\"\n"
            .to_owned(),
    };
    format!(
        r#"set -eux
cd {out}
root=tree
mkdir -m 755 "$root"
# Devices are the kernel's to make (devtmpfs).
tar -x -p --numeric-owner --exclude './dev/*' -C "$root" -f tree.tar
rm tree.tar
dpkg-query --admindir="$root/var/lib/dpkg" -W -f '${{Package}}\t${{Version}}\n' > packages
mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
{agent_too}echo 'LABEL={ROOT_LABEL} / ext4 defaults 0 1' > "$root/etc/fstab"
echo forkproof > "$root/etc/hostname"
echo '127.0.0.1 localhost forkproof' > "$root/etc/hosts"
echo '::1 localhost' >> "$root/etc/hosts"
# Nobody is to be asked anything, and no root password is needed on a machine without a network.
sed -i 's/^root:[^:]*:/root::/' "$root/etc/shadow"
# In /boot up to Debian 13, beside its modules from 14 on.
for image in "$root"/usr/lib/modules/*/vmlinuz "$root"/boot/vmlinuz-*; do
    if [ -f "$image" ]; then cp "$image" kernel; fi
done
cp "$root"/boot/initrd.img-* initrd
chmod 644 kernel initrd
rm -rf "$root"/boot/* "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/*
# fakeroot reads no file that its real owner could not.
find "$root" ! -type l ! -perm -u+r -exec chmod u+r {{}} +
{mke2fs} -q -t ext4 -L {ROOT_LABEL} -d "$root" raw {DISK_SIZE}
"#,
        out = quoted(&making.dir.to_string_lossy()),
        mke2fs = quoted(&mke2fs.to_string_lossy()),
    )
}
