//! Options that several commands have in common.

use std::path::PathBuf;
use std::time::Duration;

use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::guest::require_added;
use crate::job::{Acceleration, Settings};
use crate::obtain::{Network, Options};

/// How images are fetched.
#[derive(clap::Args, Debug)]
pub(super) struct FetchOptions {
    /// Don't use the network: an image that is not here is an error
    #[arg(long)]
    offline: bool,

    /// Ask the publisher even if the image is here, and replace it if it has changed
    #[arg(long, conflicts_with = "offline")]
    update: bool,

    /// Refuse an image whose digest is not the recorded one
    #[arg(long)]
    locked: bool,

    /// The file that records them [default: lock.toml, beside the images]
    #[arg(long, value_name = "FILE", requires = "locked")]
    lock_file: Option<PathBuf>,

    /// How many times a broken connection is resumed
    #[arg(long, value_name = "N", default_value_t = 3)]
    retries: u32,

    /// How long connecting may take
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=86400))]
    connect_timeout: u64,

    /// How long a server may stay silent
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86400))]
    idle_timeout: u64,

    /// A PEM file of certificate authorities to trust instead of the system's
    #[arg(long, value_name = "FILE", env = "SSL_CERT_FILE")]
    ca_file: Option<PathBuf>,
}

impl FetchOptions {
    /// As [`crate::obtain::fetch`] takes them.
    pub(super) fn options(&self, cache: &Cache) -> Result<Options> {
        let locked =
            self.locked.then(|| self.lock_file.clone().unwrap_or_else(|| cache.records_file()));
        if let Some(file) = locked.as_ref().filter(|file| !file.is_file()) {
            return Err(Error::Usage(format!(
                "--locked: there is no file {}: fetch once without it, which writes one",
                file.display()
            )));
        }
        Ok(Options {
            offline: self.offline,
            update: self.update,
            locked,
            retries: self.retries,
            network: Network {
                connect: Duration::from_secs(self.connect_timeout),
                idle: Duration::from_secs(self.idle_timeout),
                ca_file: self.ca_file.clone(),
            },
        })
    }
}

/// What the processors may be made of.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Accel {
    /// QEMU's own emulation: everywhere, and slow
    Tcg,
    /// The host's processor; an error if a canary does not run on it
    Kvm,
    /// The host's processor if a canary runs on it, emulation otherwise
    Auto,
}

/// What machines are made of.
#[derive(clap::Args, Debug)]
pub(super) struct MachineOptions {
    /// The forkproof that runs in the guests; repeat it for each system and width
    #[arg(long, value_name = "FILE")]
    pub(super) payload: Vec<PathBuf>,

    /// A file or directory to copy into the guests, beside forkproof: your server, its manifest, a
    /// baseline
    #[arg(long, value_name = "PATH")]
    add: Vec<PathBuf>,

    /// Add this to the kernel's command line, for kernels that QEMU starts itself: `ipv6.disable=1`
    #[arg(long, value_name = "WORD")]
    append: Vec<String>,

    /// Memory of each machine, instead of what its image says
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u32).range(64..))]
    memory: Option<u32>,

    /// How long a guest may take to boot, instead of what its image says
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86400))]
    boot_limit: Option<u64>,

    /// How long it may then take to finish, instead of what its image says
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86400))]
    limit: Option<u64>,

    /// Use the host's processor (KVM), or emulate one
    #[arg(long, value_enum, default_value_t = Accel::Tcg)]
    accel: Accel,

    /// The emulator to use instead of qemu-system-PROCESSOR
    #[arg(long, value_name = "FILE")]
    qemu: Option<PathBuf>,
}

impl MachineOptions {
    /// As jobs take them.
    pub(super) fn settings(&self, cache: &Cache, fetch: &FetchOptions) -> Result<Settings> {
        require_added(&self.add)?;
        Ok(Settings {
            emulator: self.qemu.clone(),
            acceleration: match self.accel {
                Accel::Tcg => Acceleration::Tcg,
                Accel::Kvm => Acceleration::Kvm,
                Accel::Auto => Acceleration::Auto,
            },
            memory: self.memory,
            boot_limit: self.boot_limit.map(Duration::from_secs),
            run_limit: self.limit.map(Duration::from_secs),
            fetch: fetch.options(cache)?,
            append: self.append.clone(),
            added: self.add.clone(),
        })
    }
}
