//! Makes images on this host from Debian's packages.
//!
//! A *tiny* one is Debian's kernel and an initramfs that is written here, member by member: busybox,
//! the modules that the machine needs, the C library, and an agent as init. It takes no rights and
//! changes nothing outside the cache: packages are downloaded by an apt whose every directory is
//! private, and unpacked by dpkg-deb. A *full* one is a disk with systemd, made by mmdebstrap and
//! `mke2fs -d`; QEMU starts its kernel, so there is no boot loader. *cloud* adds cloud-init. An
//! ordinary user's are the same: mmdebstrap works in a user namespace, and fakeroot(1) makes the
//! files root's.
//!
//! apt verifies what it downloads by Debian's signatures. `recipe.toml`, which is written last,
//! records what an image was made from; one of another recipe is made anew.

mod apt;
mod ensure;
mod full;
mod initramfs;
mod making;
mod modules;
mod scripts;
mod tiny;
mod tree;

pub(crate) use ensure::ensure;
pub(crate) use making::KEYRING;
pub(crate) use scripts::ROOT_LABEL;
