//! What a machine is made of, and QEMU's command line for it.

use std::ffi::OsString;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::errno::Errno;

use super::hardware::Hardware;
use super::keyboard::KeyboardTyping;
use super::sandbox;
use crate::cache::Files;
use crate::catalogue::{Architecture, FirstBoot};
use crate::error::{Error, Result};
use crate::obtain::ROOT_LABEL;
use crate::platform;

/// What the guest's processor is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accelerator {
    /// QEMU's own emulation: everywhere, and slow.
    Tcg,
    /// The host's processor.
    Kvm,
}

/// What a machine is made of.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    /// The image's id: its name in messages.
    pub(crate) id: String,
    /// What it boots.
    pub(crate) files: Files,
    /// Its processor.
    pub(crate) architecture: Architecture,
    /// How its first boot is driven.
    pub(crate) first_boot: FirstBoot,
    /// The emulator.
    pub(crate) emulator: PathBuf,
    /// Whether it runs in its sandbox; see [`try_sandbox`](super::try_sandbox).
    pub(crate) sandbox: bool,
    /// What the processor is made of.
    pub(crate) accelerator: Accelerator,
    /// Memory, MiB.
    pub(crate) memory: u32,
    /// Processors.
    pub(crate) cpus: u32,
    /// More words on the kernel's command line, where QEMU starts the kernel itself.
    pub(crate) append: Vec<String>,
    /// From power-on to the guest's first sign of life.
    pub(crate) boot_limit: Duration,
    /// From there to the machine's end.
    pub(crate) run_limit: Duration,
    /// A directory of this machine's own; see [`Disks`].
    pub(crate) dir: PathBuf,
}

/// The files in a machine's directory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Disks;

impl Disks {
    /// The job's disk.
    pub(crate) const JOB: &str = "in.tar";
    /// The result's disk.
    pub(crate) const OUT: &str = "out.tar";
    /// The seed.
    pub(crate) const SEED: &str = "seed.iso";
    /// What the machine writes to its system's disk.
    const OVERLAY: &str = "overlay.qcow2";
}

impl Machine {
    /// Makes the overlay, if there is a disk to boot.
    fn overlay(&self) -> Result<Option<PathBuf>> {
        let (base, format) = match &self.files {
            Files::Disk { path, format } => (path, format),
            Files::Kernel { root: Some((path, format)), .. } => (path, format),
            Files::Kernel { root: None, .. } => return Ok(None),
        };
        let base = base.canonicalize().map_err(|error| Error::io("open", base, error))?;
        let overlay = self.dir.join(Disks::OVERLAY);
        let output = Command::new(platform::program("qemu-img")?)
            .args(["create", "-q", "-f", "qcow2", "-F", format.name(), "-b"])
            .args([&base, &overlay])
            .output()
            .map_err(|error| Error::io("run", Path::new("qemu-img"), error))?;
        if output.status.success() {
            return Ok(Some(overlay));
        }
        let errors = String::from_utf8_lossy(&output.stderr);
        Err(Error::qemu_failed(&self.id, format!("qemu-img: {}", errors.trim())))
    }

    /// QEMU's command line; `console` is its option for the serial port.
    pub(super) fn command(&self, console: &[&str]) -> Result<Command> {
        let mut command = Command::new(&self.emulator);
        let hardware = Hardware::of(self.architecture);
        let accelerator = match self.accelerator {
            Accelerator::Tcg => "tcg,thread=multi",
            Accelerator::Kvm => "kvm",
        };
        command
            .args(["-name", &self.id, "-machine", hardware.board, "-accel", accelerator])
            .args(["-no-user-config", "-nic", "none", "-no-reboot"])
            .args(["-m", &self.memory.to_string(), "-smp", &self.cpus.to_string()])
            .args(["-device", hardware.random, "-display", "none"])
            .args(console);
        if self.sandbox {
            command.args(sandbox::OPTIONS);
        }
        let processor = match self.accelerator {
            Accelerator::Kvm => Some("host"),
            Accelerator::Tcg => hardware.processor,
        };
        if let Some(processor) = processor {
            command.args(["-cpu", processor]);
        }
        if let Files::Kernel { kernel, initrd, root } = &self.files {
            // panic=-1: reboot at once, which -no-reboot makes the machine's end.
            let mut words = "panic=-1 quiet".to_owned();
            if let Some(console) = hardware.console {
                words.push_str(" console=");
                words.push_str(console);
            }
            if root.is_some() {
                words.push_str(" root=LABEL=");
                words.push_str(ROOT_LABEL);
            }
            for word in &self.append {
                words.push(' ');
                words.push_str(word);
            }
            command.arg("-kernel").arg(kernel).arg("-initrd").arg(initrd).args(["-append", &words]);
        }
        if let Some(overlay) = self.overlay()? {
            command.args(drive(&overlay, "qcow2", false));
        }
        command.args(drive(&self.dir.join(Disks::JOB), "raw", true));
        command.args(drive(&self.dir.join(Disks::OUT), "raw", false));
        if self.first_boot != FirstBoot::Agent {
            command.args(drive(&self.dir.join(Disks::SEED), "raw", true));
        }
        Ok(command)
    }

    /// Gives QEMU the keyboard's line, where keys have to be pressed: the typing, and QEMU's end,
    /// which has to stay open until QEMU runs.
    pub(super) fn keyboard(
        &self,
        command: &mut Command,
    ) -> Result<Option<(KeyboardTyping, OwnedFd)>> {
        let FirstBoot::Keyboard(login) = &self.first_boot else { return Ok(None) };
        let (typing, descriptor) = KeyboardTyping::new(login)
            .map_err(|error| Error::io("make a pair of sockets for", Path::new("QEMU"), error))?;
        command.args(KeyboardTyping::options(&descriptor));
        let number = descriptor.as_raw_fd();
        // SAFETY: between fork and exec only fcntl(2) is called, on a descriptor that is open there.
        unsafe {
            command.pre_exec(move || {
                Errno::result(libc::fcntl(number, libc::F_SETFD, 0))?;
                Ok(())
            });
        }
        Ok(Some((typing, descriptor)))
    }
}

/// A disk, on virtio: what every guest has a driver for. A full host is the guest's error, where
/// QEMU would otherwise wait for space.
fn drive(path: &Path, format: &str, read_only: bool) -> [OsString; 2] {
    let mut words = OsString::from(format!(
        "if=virtio,format={format},werror=report,rerror=report,readonly={},file=",
        if read_only { "on" } else { "off" }
    ));
    // QEMU's options end at a comma unless it is doubled.
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let mut name = Vec::new();
    for &byte in path.as_os_str().as_bytes() {
        name.push(byte);
        if byte == b',' {
            name.push(b',');
        }
    }
    words.push(OsString::from_vec(name));
    ["-drive".into(), words]
}
