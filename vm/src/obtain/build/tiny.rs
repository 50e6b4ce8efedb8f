//! A tiny image: Debian's kernel, and an initramfs with busybox and the agent.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use super::apt::Apt;
use super::initramfs::Initramfs;
use super::making::Making;
use super::modules;
use super::scripts::init;
use super::tree::{Tree, files_below};
use crate::error::{Error, Result};
use crate::platform;

/// What a dynamically linked payload asks for.
const LIBRARIES: [&str; 6] =
    ["libc.so.6", "libm.so.6", "libpthread.so.0", "libdl.so.2", "librt.so.1", "libgcc_s.so.1"];

/// A kernel and an initramfs.
pub(super) fn make(making: &Making<'_>) -> Result<BTreeMap<String, String>> {
    let apt = Apt::prepare(making)?;
    (making.tell)("downloads Debian's kernel, busybox and C library");
    making.tool("apt-get update", apt.command("apt-get")?.args(["-q", "update"]))?;
    let kernel = apt.kernel_packages(making, &making.built.kernel)?;
    let archives = making.dir.join("archives");
    fs::create_dir(&archives).map_err(|error| Error::io("make", &archives, error))?;
    making.tool(
        "apt-get download",
        apt.command("apt-get")?
            .current_dir(&archives)
            .args(["-q", "download", "busybox-static", "libc6", "libgcc-s1"])
            .args(&kernel),
    )?;
    (making.tell)("unpacks them");
    let root = making.dir.join("root");
    let mut packages = BTreeMap::new();
    for archive in files_below(&archives)? {
        making.tool(
            "dpkg-deb",
            Command::new(platform::program("dpkg-deb")?).arg("-x").arg(&archive).arg(&root),
        )?;
        // NAME_VERSION_ARCHITECTURE.deb, with %3a for a colon.
        let name = archive.file_name().unwrap_or_default().to_string_lossy().replace("%3a", ":");
        let mut parts = name.splitn(3, '_');
        if let (Some(name), Some(version)) = (parts.next(), parts.next()) {
            packages.insert(name.to_owned(), version.to_owned());
        }
    }
    (making.tell)("writes the initramfs");
    let tree = Tree::of(&root)?;
    // In /boot up to Debian 13, beside its modules from 14 on; on riscv64 it is called vmlinux.
    let image = ["vmlinuz", "vmlinux"]
        .iter()
        .find_map(|name| tree.starting_with(&format!("boot/{name}-")).or_else(|| tree.named(name)))
        .ok_or_else(|| making.failed(format!("{} has no vmlinuz", kernel.join(", "))))?;
    fs::copy(image, making.dir.join("kernel")).map_err(|error| Error::io("copy", image, error))?;
    let initrd = making.dir.join("initrd");
    write_initramfs(making, &tree, &initrd)?;
    Ok(packages)
}

fn write_initramfs(making: &Making<'_>, tree: &Tree, path: &Path) -> Result<()> {
    let mut archive = Initramfs::create(path)?;
    for dir in [
        "bin", "dev", "etc", "lib", "lib64", "mnt", "modules", "proc", "root", "run", "sys", "tmp",
        "usr", "var", "var/tmp",
    ] {
        archive.directory(dir, if dir.ends_with("tmp") { 0o1777 } else { 0o755 })?;
    }
    archive.file("init", 0o755, init().as_bytes())?;
    // System programs are asked for by these names too.
    for link in ["sbin", "usr/bin", "usr/sbin"] {
        archive.link(link, "/bin")?;
    }
    let busybox = tree
        .named("busybox")
        .ok_or_else(|| making.failed("the package busybox-static has no busybox"))?;
    archive.copy("bin/busybox", 0o755, busybox)?;
    for name in LIBRARIES {
        if let Some(library) = tree.named(name) {
            archive.copy(&format!("lib/{name}"), 0o755, library)?;
        }
    }
    // Where programs name it: the psABI of each architecture.
    for (place, name) in [
        ("lib64", "ld-linux-x86-64.so.2"),
        ("lib", "ld-linux.so.2"),
        ("lib", "ld-linux-aarch64.so.1"),
        ("lib", "ld-linux-armhf.so.3"),
        ("lib", "ld64.so.1"),
        ("lib", "ld-linux-riscv64-lp64d.so.1"),
    ] {
        if let Some(loader) = tree.named(name) {
            archive.copy(&format!("{place}/{name}"), 0o755, loader)?;
        }
    }
    archive.file("etc/os-release", 0o644, os_release(&making.built.suite).as_bytes())?;
    for (name, text) in [
        (
            "etc/passwd",
            "root:x:0:0:root:/root:/bin/sh\n\
             daemon:x:1:1:daemon:/usr/sbin:/bin/sh\n\
             nobody:x:65534:65534:nobody:/nonexistent:/bin/sh\n\
             forkproof:x:1000:1000:an ordinary user:/tmp:/bin/sh\n",
        ),
        ("etc/group", "root:x:0:\ndaemon:x:1:\nnogroup:x:65534:\nforkproof:x:1000:\n"),
        ("etc/hosts", "127.0.0.1 localhost forkproof\n::1 localhost\n"),
        ("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n"),
    ] {
        archive.file(name, 0o644, text.as_bytes())?;
    }
    let mut order = String::new();
    for (name, content) in modules::needed(making, tree)? {
        archive.file(&format!("modules/{name}.ko"), 0o644, &content)?;
        order.push_str(&name);
        order.push_str(".ko\n");
    }
    archive.file("modules/order", 0o644, order.as_bytes())?;
    archive.finish()
}

/// The text of os-release(5): the package base-files is not in a tiny image.
fn os_release(suite: &str) -> String {
    let number = match suite {
        "bookworm" => 12,
        "trixie" => 13,
        // What is not released has no number.
        _ => return format!("PRETTY_NAME=\"Debian GNU/Linux {suite}, tiny\"\nID=debian\n"),
    };
    format!(
        "PRETTY_NAME=\"Debian GNU/Linux {number} ({suite}), tiny\"\nID=debian\n\
         VERSION_ID=\"{number}\"\nVERSION_CODENAME={suite}\n"
    )
}
