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

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use object::{Object, ObjectSection};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::cache::{Cache, Files, ImageLock};
use crate::catalogue::{Built, Image, Kind, Source};
use crate::error::{Error, Result};
use crate::guest::{self, quoted};
use crate::interrupt;
use crate::machine::program;
use crate::platform;

/// To be raised when images are made otherwise than before, and no text of the recipe shows it.
const VERSION: u32 = 3;
/// The label of a full image's file system.
pub(crate) const ROOT_LABEL: &str = "forkproof-root";
/// Debian's archive; apt checks signatures, so it needs no TLS.
const MIRROR: &str = "http://deb.debian.org/debian";
/// Where Debian's and Ubuntu's package of that name puts the keys.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// Modules without which a machine is of no use, and their absence an error.
const MODULES: [&str; 3] = ["virtio_pci", "virtio_blk", "overlay"];
/// Modules that help where they are there.
const OPTIONAL_MODULES: [&str; 1] = ["virtio_rng"];
/// What a dynamically linked payload asks for.
const LIBRARIES: [&str; 6] =
    ["libc.so.6", "libm.so.6", "libpthread.so.0", "libdl.so.2", "librt.so.1", "libgcc_s.so.1"];
/// Size of a full image's file system: room for the packages and the runs.
const DISK_SIZE: &str = "3G";
const RECIPE: &str = "recipe.toml";

/// What an image was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Recipe {
    /// Digest of everything that decides how it is made.
    recipe: String,
    /// When it was made, RFC 3339.
    date: String,
    /// The packages that are in it, with their versions.
    packages: BTreeMap<String, String>,
    /// Digests of the files.
    files: BTreeMap<String, String>,
}

/// The image's files, made now unless they are there and of today's recipe. `tell` hears what is
/// going on.
pub fn ensure(cache: &Cache, image: &Image, tell: &dyn Fn(&str)) -> Result<Files> {
    let Source::Built(built) = &image.source else {
        return Err(Error::Usage(format!(
            "image `{}` is not built here: `forkproof vm fetch {}` downloads it",
            image.id, image.id
        )));
    };
    let wanted = recipe_digest(built);
    if let Some(files) = current(cache, image, &wanted) {
        return Ok(files);
    }
    let lock = cache.lock(&image.id, || tell("waits for another process that makes it"))?;
    if let Some(files) = current(cache, image, &wanted) {
        return Ok(files);
    }
    let build = Build { id: &image.id, built, dir: lock.dir().join("build.part"), tell };
    build.make(&lock, &wanted)?;
    cache.find(image).ok_or_else(|| build.failed("the files are not where they belong"))
}

fn current(cache: &Cache, image: &Image, wanted: &str) -> Option<Files> {
    let text = fs::read_to_string(cache.dir(&image.id).join(RECIPE)).ok()?;
    let recipe: Recipe = toml::from_str(&text).ok()?;
    if recipe.recipe == wanted { cache.find(image) } else { None }
}

fn recipe_digest(built: &Built) -> String {
    let mut digest = Sha256::new();
    digest.update(format!("{VERSION} {built:?} {} {DISK_SIZE}", mirror()));
    digest.update(init());
    digest.update(agent());
    digest.update(UNIT);
    hex(&digest.finalize())
}

fn mirror() -> String {
    std::env::var("FORKPROOF_DEBIAN_MIRROR").unwrap_or_else(|_| MIRROR.to_owned())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn digest_of(path: &Path) -> Result<String> {
    let mut file = File::open(path).map_err(|error| Error::io("open", path, error))?;
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 1024 * 1024];
    loop {
        match file.read(&mut buffer).map_err(|error| Error::io("read", path, error))? {
            0 => return Ok(format!("sha256:{}", hex(&digest.finalize()))),
            count => digest.update(&buffer[..count]),
        }
    }
}

/// init of a tiny image.
fn init() -> String {
    format!(
        r#"#!/bin/busybox sh
# forkproof's agent: the first and only service of this machine.
/bin/busybox mount -t proc proc /proc
/bin/busybox --install -s /bin
PATH=/bin
export PATH
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount -t tmpfs -o mode=1777 tmpfs /tmp
exec < /dev/console > /dev/console 2>&1
while read -r module; do insmod "/modules/$module"; done < /modules/order
ip link set lo up
hostname forkproof
# As systemd does it: a 64-bit kernel starts with 32768, and a 32-bit one can have no more.
echo 4194304 > /proc/sys/kernel/pid_max 2> /dev/null
cat > /agent <<'END'
{}END
sh /agent
poweroff -f
"#,
        guest::bootstrap()
    )
}

/// The agent of a full image.
fn agent() -> String {
    guest::user_data()
}

/// Its unit. After everything else has started, as it is on a machine that people use.
const UNIT: &str = "\
[Unit]
Description=forkproof's agent
After=multi-user.target

[Service]
Type=oneshot
ExecStart=/bin/sh /usr/local/sbin/forkproof-agent
TasksMax=infinity

[Install]
WantedBy=multi-user.target
";

/// One image in the making.
struct Build<'a> {
    id: &'a str,
    built: &'a Built,
    /// Removed at the end, and whatever an earlier attempt left at the beginning.
    dir: PathBuf,
    tell: &'a dyn Fn(&str),
}

impl Build<'_> {
    fn make(&self, lock: &ImageLock, wanted: &str) -> Result<()> {
        self.clear()?;
        let _ = fs::remove_file(self.dir.with_file_name("build.log"));
        fs::create_dir(&self.dir).map_err(|error| Error::io("make", &self.dir, error))?;
        let made = match self.built.kind {
            Kind::Tiny => self.tiny(),
            Kind::Full | Kind::Cloud | Kind::Plain => self.full(),
        };
        let result = made.and_then(|packages| self.publish(lock, wanted, packages));
        let cleared = self.clear();
        result.and(cleared)
    }

    fn clear(&self) -> Result<()> {
        match fs::remove_dir_all(&self.dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io("remove", &self.dir, error))
            }
            _ => Ok(()),
        }
    }

    fn failed(&self, why: impl Into<String>) -> Error {
        Error::BuildFailed { id: self.id.to_owned(), why: why.into() }
    }

    /// Gives the files their names; the recipe last, so that it vouches for all.
    fn publish(
        &self,
        lock: &ImageLock,
        wanted: &str,
        packages: BTreeMap<String, String>,
    ) -> Result<()> {
        let mut files = BTreeMap::new();
        for name in ["kernel", "initrd", "disk.qcow2"] {
            let part = self.dir.join(name);
            if part.exists() {
                files.insert(name.to_owned(), digest_of(&part)?);
            }
        }
        let recipe = Recipe {
            recipe: wanted.to_owned(),
            date: chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
            packages,
            files,
        };
        let part = self.dir.join(RECIPE);
        let text = toml::to_string(&recipe)
            .map_err(|error| self.failed(format!("its recipe cannot be written: {error}")))?;
        fs::write(&part, text).map_err(|error| Error::io("write", &part, error))?;
        let old = lock.dir().join(RECIPE);
        if old.exists() {
            fs::remove_file(&old).map_err(|error| Error::io("remove", &old, error))?;
        }
        for name in recipe.files.keys() {
            lock.publish(&self.dir.join(name), name)?;
        }
        lock.publish(&part, RECIPE).map(drop)
    }

    /// Runs a program to its end; its last words are the error's.
    fn tool(&self, step: &str, command: &mut Command) -> Result<()> {
        let log = self.dir.join("log");
        let file = File::create(&log).map_err(|error| Error::io("write", &log, error))?;
        let again = file.try_clone().map_err(|error| Error::io("write", &log, error))?;
        let parent = std::process::id() as i32;
        command.stdin(Stdio::null()).stdout(file).stderr(again).process_group(0);
        // SAFETY: between fork and exec only async-signal-safe calls are made.
        unsafe { command.pre_exec(move || platform::die_with_parent(parent)) };
        let mut child = command.spawn().map_err(|error| self.failed(format!("{step}: {error}")))?;
        let group = Pid::from_raw(child.id() as i32);
        let mut asked: Option<Instant> = None;
        let status = loop {
            match child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) => {}
                Err(error) => return Err(Error::io("wait for", Path::new(step), error)),
            }
            if interrupt::check().is_err() {
                // mmdebstrap cleans up when it is asked to end.
                let _ = match asked {
                    None => killpg(group, Signal::SIGTERM),
                    Some(at) if at.elapsed() > Duration::from_secs(1) => {
                        killpg(group, Signal::SIGKILL)
                    }
                    Some(_) => Ok(()),
                };
                asked.get_or_insert_with(Instant::now);
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        interrupt::check()?;
        if status.success() {
            return Ok(());
        }
        let text = fs::read(&log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        if text.contains("No space left on device") {
            return Err(Error::DiskFull { path: self.dir.clone(), kept: String::new() });
        }
        // apt's errors are what matters, if there are some; the last lines otherwise.
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        let errors: Vec<&str> =
            lines.iter().copied().filter(|line| line.starts_with("E: ")).collect();
        let chosen = if errors.is_empty() { &lines } else { &errors };
        let last = chosen[chosen.len().saturating_sub(3)..].join(" | ");
        // The directory goes; this stays, until the next attempt.
        let kept = self.dir.with_file_name("build.log");
        let _ = fs::rename(&log, &kept);
        Err(self.failed(format!("{step}: {last}; the whole log is {}", kept.display())))
    }

    fn keyring(&self) -> Result<()> {
        if Path::new(KEYRING).exists() {
            return Ok(());
        }
        Err(Error::ToolMissing {
            program: KEYRING.to_owned(),
            install: platform::how_to_install("debian-archive-keyring"),
        })
    }

    fn source(&self) -> String {
        format!("deb [signed-by={KEYRING}] {} {} main", mirror(), self.built.suite)
    }

    /// A kernel and an initramfs.
    fn tiny(&self) -> Result<BTreeMap<String, String>> {
        let apt = Apt::prepare(self)?;
        (self.tell)("downloads Debian's kernel, busybox and C library");
        self.tool("apt-get update", apt.command("apt-get")?.args(["-q", "update"]))?;
        let kernel = apt.real_package(self, &self.built.kernel)?;
        let archives = self.dir.join("archives");
        fs::create_dir(&archives).map_err(|error| Error::io("make", &archives, error))?;
        self.tool(
            "apt-get download",
            apt.command("apt-get")?.current_dir(&archives).args([
                "-q",
                "download",
                &kernel,
                "busybox-static",
                "libc6",
                "libgcc-s1",
            ]),
        )?;
        (self.tell)("unpacks them");
        let root = self.dir.join("root");
        let mut packages = BTreeMap::new();
        for archive in files_below(&archives)? {
            self.tool(
                "dpkg-deb",
                Command::new(program("dpkg-deb")?).arg("-x").arg(&archive).arg(&root),
            )?;
            // NAME_VERSION_ARCHITECTURE.deb, with %3a for a colon.
            let name =
                archive.file_name().unwrap_or_default().to_string_lossy().replace("%3a", ":");
            let mut parts = name.splitn(3, '_');
            if let (Some(name), Some(version)) = (parts.next(), parts.next()) {
                packages.insert(name.to_owned(), version.to_owned());
            }
        }
        (self.tell)("writes the initramfs");
        let tree = Tree::of(&root)?;
        let image = tree
            .starting_with("boot/vmlinuz-")
            .ok_or_else(|| self.failed(format!("{kernel} has no boot/vmlinuz-*")))?;
        fs::copy(image, self.dir.join("kernel"))
            .map_err(|error| Error::io("copy", image, error))?;
        let initrd = self.dir.join("initrd");
        self.write_initramfs(&tree, &initrd)?;
        Ok(packages)
    }

    fn write_initramfs(&self, tree: &Tree, path: &Path) -> Result<()> {
        let file = File::create(path).map_err(|error| Error::io("write", path, error))?;
        let mut archive = Initramfs { to: BufWriter::new(file), path, inode: 0 };
        for dir in [
            "bin", "dev", "etc", "lib", "lib64", "mnt", "modules", "proc", "root", "run", "sys",
            "tmp", "usr", "var", "var/tmp",
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
            .ok_or_else(|| self.failed("the package busybox-static has no busybox"))?;
        archive.copy("bin/busybox", 0o755, busybox)?;
        for name in LIBRARIES {
            if let Some(library) = tree.named(name) {
                archive.copy(&format!("lib/{name}"), 0o755, library)?;
            }
        }
        // Where programs name it: the psABI of each architecture.
        for (place, name) in [("lib64", "ld-linux-x86-64.so.2"), ("lib", "ld-linux.so.2")] {
            if let Some(loader) = tree.named(name) {
                archive.copy(&format!("{place}/{name}"), 0o755, loader)?;
            }
        }
        if let Some(release) = self.os_release() {
            archive.file("etc/os-release", 0o644, release.as_bytes())?;
        }
        for (name, text) in [
            (
                "etc/passwd",
                "root:x:0:0:root:/root:/bin/sh\n\
                 nobody:x:65534:65534:nobody:/nonexistent:/bin/sh\n\
                 forkproof:x:1000:1000:an ordinary user:/tmp:/bin/sh\n",
            ),
            ("etc/group", "root:x:0:\nnogroup:x:65534:\nforkproof:x:1000:\n"),
            ("etc/hosts", "127.0.0.1 localhost forkproof\n::1 localhost\n"),
            ("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n"),
        ] {
            archive.file(name, 0o644, text.as_bytes())?;
        }
        let mut order = String::new();
        for (name, content) in self.modules(tree)? {
            archive.file(&format!("modules/{name}.ko"), 0o644, &content)?;
            order.push_str(&name);
            order.push_str(".ko\n");
        }
        archive.file("modules/order", 0o644, order.as_bytes())?;
        archive.finish()
    }

    /// The text of os-release(5): the package base-files is not in a tiny image.
    fn os_release(&self) -> Option<String> {
        let (number, name) = match self.built.suite.as_str() {
            "bookworm" => (12, "bookworm"),
            "trixie" => (13, "trixie"),
            _ => return None,
        };
        Some(format!(
            "PRETTY_NAME=\"Debian GNU/Linux {number} ({name}), tiny\"\nID=debian\n\
             VERSION_ID=\"{number}\"\nVERSION_CODENAME={name}\n"
        ))
    }

    /// The modules that the machine needs, and those that they need, in the order in which they can
    /// be loaded.
    fn modules(&self, tree: &Tree) -> Result<Vec<(String, Vec<u8>)>> {
        let built_in = match tree.named("modules.builtin") {
            Some(path) => {
                fs::read_to_string(path).map_err(|error| Error::io("read", path, error))?
            }
            None => String::new(),
        };
        let available: BTreeMap<String, &Path> = tree
            .files
            .iter()
            .filter_map(|path| Some((module_name(path)?, path.as_path())))
            .collect();
        let mut loaded: Vec<(String, Vec<u8>)> = Vec::new();
        let all = MODULES.iter().map(|name| (*name, true));
        for (wanted, must) in all.chain(OPTIONAL_MODULES.iter().map(|name| (*name, false))) {
            let is_built_in = built_in
                .lines()
                .any(|line| module_name(Path::new(line)).as_deref() == Some(wanted));
            if is_built_in {
                continue;
            }
            if !available.contains_key(wanted) {
                if must {
                    return Err(self.failed(format!("{} has no {wanted}", self.built.kernel)));
                }
                continue;
            }
            self.load(wanted, &available, &mut loaded)?;
        }
        Ok(loaded)
    }

    fn load(
        &self,
        name: &str,
        available: &BTreeMap<String, &Path>,
        loaded: &mut Vec<(String, Vec<u8>)>,
    ) -> Result<()> {
        if loaded.iter().any(|(there, _)| there == name) {
            return Ok(());
        }
        let Some(path) = available.get(name) else {
            return Err(self.failed(format!("{} has no {name}", self.built.kernel)));
        };
        let cannot = |error| Error::io("read", path, error);
        let mut content = fs::read(path).map_err(cannot)?;
        if path.extension().is_some_and(|extension| extension == "xz") {
            let mut plain = Vec::new();
            lzma_rust2::XzReader::new(&content[..], false)
                .read_to_end(&mut plain)
                .map_err(cannot)?;
            content = plain;
        }
        let needed = needed_modules(&content)
            .map_err(|why| self.failed(format!("{}: {why}", path.display())))?;
        for dependency in needed {
            self.load(&dependency, available, loaded)?;
        }
        loaded.push((name.to_owned(), content));
        Ok(())
    }

    /// A disk, a kernel and its initramfs.
    fn full(&self) -> Result<BTreeMap<String, String>> {
        self.keyring()?;
        let mmdebstrap = program("mmdebstrap")?;
        let mke2fs = program("mke2fs")?;
        let qemu_img = program("qemu-img")?;
        let (mode, mut as_root) = if nix::unistd::geteuid().is_root() {
            ("root", Command::new("sh"))
        } else {
            // With it mmdebstrap gets a range of user ids of its own: user_namespaces(7).
            program("newuidmap")?;
            let mut command = Command::new(program("fakeroot")?);
            command.arg("sh");
            ("unshare", command)
        };
        // mmdebstrap asks it whether this processor runs the packages' programs.
        program("arch-test")?;
        let mut packages: Vec<&str> =
            vec![&self.built.kernel, "systemd-sysv", "kmod", "udev", "iproute2", "tar"];
        if self.built.kind == Kind::Cloud {
            packages.push("cloud-init");
        }
        let write = |name: &str, text: &str| {
            let path = self.dir.join(name);
            fs::write(&path, text).map_err(|error| Error::io("write", &path, error))?;
            Ok::<_, Error>(path)
        };
        write("agent", &agent())?;
        write("unit", UNIT)?;
        let finish = write("finish", &self.finish(&mke2fs))?;
        (self.tell)("installs Debian's packages");
        self.tool(
            "mmdebstrap",
            Command::new(mmdebstrap)
                .args(["--format=tar", "--variant=minbase"])
                .arg(format!("--mode={mode}"))
                .arg(format!("--architectures={}", self.built.architecture))
                .arg(format!("--include={}", packages.join(",")))
                .arg(&self.built.suite)
                .arg(self.dir.join("tree.tar"))
                .arg(self.source()),
        )?;
        (self.tell)("writes the disk");
        self.tool("the file system", as_root.arg(&finish))?;
        // Without the holes: a copy of the cache may not keep them.
        self.tool(
            "qemu-img convert",
            Command::new(qemu_img)
                .args(["convert", "-q", "-f", "raw", "-O", "qcow2"])
                .args([self.dir.join("raw"), self.dir.join("disk.qcow2")]),
        )?;
        let list = self.dir.join("packages");
        let text = fs::read_to_string(&list).map_err(|error| Error::io("read", &list, error))?;
        Ok(text
            .lines()
            .filter_map(|line| line.split_once('\t'))
            .map(|(name, version)| (name.to_owned(), version.to_owned()))
            .collect())
    }

    /// The script, root's or fakeroot's, that makes what mmdebstrap leaves a file system.
    fn finish(&self, mke2fs: &Path) -> String {
        let agent_too = match self.built.kind {
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
cp "$root"/boot/vmlinuz-* kernel
cp "$root"/boot/initrd.img-* initrd
chmod 644 kernel initrd
rm -rf "$root"/boot/* "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/*
# fakeroot reads no file that its real owner could not.
find "$root" ! -type l ! -perm -u+r -exec chmod u+r {{}} +
{mke2fs} -q -t ext4 -L {ROOT_LABEL} -d "$root" raw {DISK_SIZE}
"#,
            out = quoted(&self.dir.to_string_lossy()),
            mke2fs = quoted(&mke2fs.to_string_lossy()),
        )
    }
}

/// An apt that knows nothing of this system and leaves nothing in it.
struct Apt {
    configuration: PathBuf,
}

impl Apt {
    fn prepare(build: &Build<'_>) -> Result<Self> {
        build.keyring()?;
        let dir = build.dir.join("apt");
        for part in ["lists/partial", "archives/partial"] {
            let path = dir.join(part);
            fs::create_dir_all(&path).map_err(|error| Error::io("make", &path, error))?;
        }
        let sources = dir.join("sources.list");
        fs::write(&sources, format!("{}\n", build.source()))
            .map_err(|error| Error::io("write", &sources, error))?;
        let configuration = dir.join("apt.conf");
        let architecture = &build.built.architecture;
        let here = dir.display();
        // apt.conf(5). Sandbox::User: the directories are this user's alone. Error-Mode: a list that
        // cannot be fetched is an error, which it isn't by itself.
        let text = format!(
            r#"Dir::State "{here}";
Dir::State::lists "{here}/lists";
Dir::State::status "/dev/null";
Dir::Cache "{here}";
Dir::Cache::archives "{here}/archives";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
Dir::Etc::main "/dev/null";
Dir::Etc::parts "/dev/null";
Dir::Etc::sourcelist "{here}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::Etc::trusted "/dev/null";
Dir::Etc::trustedparts "/dev/null";
APT::Architecture "{architecture}";
APT::Architectures {{ "{architecture}"; }};
APT::Sandbox::User "";
Acquire::Languages "none";
Acquire::Retries "3";
APT::Update::Error-Mode "any";
"#
        );
        fs::write(&configuration, text)
            .map_err(|error| Error::io("write", &configuration, error))?;
        Ok(Self { configuration })
    }

    fn command(&self, name: &str) -> Result<Command> {
        let mut command = Command::new(program(name)?);
        command.env("APT_CONFIG", &self.configuration).env("LC_ALL", "C");
        Ok(command)
    }

    /// What Debian's package of a kernel's flavour depends on: the kernel.
    fn real_package(&self, build: &Build<'_>, flavour: &str) -> Result<String> {
        let output = self
            .command("apt-cache")?
            .args(["depends", "--important", flavour])
            .output()
            .map_err(|error| Error::io("run", Path::new("apt-cache"), error))?;
        let text = String::from_utf8_lossy(&output.stdout);
        text.lines()
            .filter_map(|line| line.trim().strip_prefix("Depends: "))
            .find(|name| name.starts_with("linux-image-"))
            .map(str::to_owned)
            .ok_or_else(|| {
                build.failed(format!(
                    "{} has no package {flavour} for {}",
                    build.built.suite, build.built.architecture
                ))
            })
    }
}

fn files_below(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        let cannot = |error| Error::io("read", &dir, error);
        for entry in fs::read_dir(&dir).map_err(cannot)? {
            let entry = entry.map_err(cannot)?;
            if entry.file_type().map_err(cannot)?.is_dir() {
                dirs.push(entry.path());
            } else {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The files of unpacked packages: where they are differs between Debian's releases.
struct Tree {
    root: PathBuf,
    files: Vec<PathBuf>,
}

impl Tree {
    fn of(root: &Path) -> Result<Self> {
        Ok(Self { root: root.to_owned(), files: files_below(root)? })
    }

    /// The regular file of this name; links may lead out of the tree.
    fn named(&self, name: &str) -> Option<&Path> {
        self.files
            .iter()
            .find(|path| {
                path.file_name().is_some_and(|there| there == name)
                    && path.symlink_metadata().is_ok_and(|metadata| metadata.is_file())
            })
            .map(PathBuf::as_path)
    }

    fn starting_with(&self, start: &str) -> Option<&Path> {
        let start = self.root.join(start);
        let start = start.as_os_str().as_encoded_bytes();
        self.files
            .iter()
            .find(|path| path.as_os_str().as_encoded_bytes().starts_with(start))
            .map(PathBuf::as_path)
    }
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

/// An initramfs: cpio's format newc (Linux, Documentation/driver-api/early-userspace), all root's.
struct Initramfs<'a> {
    to: BufWriter<File>,
    path: &'a Path,
    inode: u32,
}

impl Initramfs<'_> {
    fn member(
        &mut self,
        name: &str,
        mode: u32,
        kind: cpio::newc::ModeFileType,
        content: &[u8],
    ) -> Result<()> {
        self.inode += 1;
        let length = u32::try_from(content.len()).map_err(|_| {
            Error::io("write", self.path, std::io::Error::other("a member of 4 GiB"))
        })?;
        let builder =
            cpio::newc::Builder::new(name).ino(self.inode).mode(mode).set_mode_file_type(kind);
        let mut writer = builder.write(&mut self.to, length);
        writer
            .write_all(content)
            .and_then(|()| writer.finish().map(drop))
            .map_err(|error| Error::io("write", self.path, error))
    }

    fn directory(&mut self, name: &str, mode: u32) -> Result<()> {
        self.member(name, mode, cpio::newc::ModeFileType::Directory, &[])
    }

    fn file(&mut self, name: &str, mode: u32, content: &[u8]) -> Result<()> {
        self.member(name, mode, cpio::newc::ModeFileType::Regular, content)
    }

    fn link(&mut self, name: &str, to: &str) -> Result<()> {
        self.member(name, 0o777, cpio::newc::ModeFileType::Symlink, to.as_bytes())
    }

    fn copy(&mut self, name: &str, mode: u32, from: &Path) -> Result<()> {
        let content = fs::read(from).map_err(|error| Error::io("read", from, error))?;
        self.file(name, mode, &content)
    }

    fn finish(mut self) -> Result<()> {
        cpio::newc::trailer(&mut self.to)
            .and_then(|to| to.flush())
            .map_err(|error| Error::io("write", self.path, error))
    }
}
