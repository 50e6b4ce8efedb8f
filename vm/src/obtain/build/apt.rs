//! Packages, by an apt of their own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::making::Making;
use crate::error::{Error, Result};
use crate::platform;

/// An apt that knows nothing of this system and leaves nothing in it.
pub(super) struct Apt {
    configuration: PathBuf,
}

impl Apt {
    pub(super) fn prepare(making: &Making<'_>) -> Result<Self> {
        making.keyring()?;
        let dir = making.dir.join("apt");
        for part in ["lists/partial", "archives/partial"] {
            let path = dir.join(part);
            fs::create_dir_all(&path).map_err(|error| Error::io("make", &path, error))?;
        }
        let sources = dir.join("sources.list");
        fs::write(&sources, format!("{}\n", making.source()))
            .map_err(|error| Error::io("write", &sources, error))?;
        let configuration = dir.join("apt.conf");
        let architecture = &making.built.architecture;
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
        platform::write(&configuration, text)?;
        Ok(Self { configuration })
    }

    pub(super) fn command(&self, name: &str) -> Result<Command> {
        let mut command = Command::new(platform::program(name)?);
        command.env("APT_CONFIG", &self.configuration).env("LC_ALL", "C");
        Ok(command)
    }

    /// The packages of a kernel and its modules. What Debian's package of a kernel's flavour depends on
    /// is one that has both, or, in newer releases, one that depends on one for each.
    pub(super) fn kernel_packages(
        &self,
        making: &Making<'_>,
        flavour: &str,
    ) -> Result<Vec<String>> {
        let image =
            self.depends(flavour)?.into_iter().find(|name| name.starts_with("linux-image-"));
        let image = image.ok_or_else(|| {
            making.failed(format!(
                "{} has no package {flavour} for {}",
                making.built.suite, making.built.architecture
            ))
        })?;
        let mut packages = self.depends(&image)?;
        // From Debian 14 on the image itself is empty, and says with -base- what is built into it.
        let parts = ["linux-binary-", "linux-modules-", "linux-base-"];
        packages.retain(|name| parts.iter().any(|part| name.starts_with(part)));
        packages.push(image);
        Ok(packages)
    }

    fn depends(&self, package: &str) -> Result<Vec<String>> {
        let output = self
            .command("apt-cache")?
            .args(["depends", "--important", package])
            .output()
            .map_err(|error| Error::io("run", Path::new("apt-cache"), error))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let names = text.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
        Ok(names.map(str::to_owned).collect())
    }
}
