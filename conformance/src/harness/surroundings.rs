//! What a server with fixed paths or a fixed port finds: a machine of its own, as far as it can
//! see.
//!
//! On Linux each check enters namespaces of its own before anything else: the paths of
//! `launch.bind` are replaced by directories of the check, and the port is that of a network in
//! which there is nobody else. That takes no root, and the real paths and ports are never touched. On
//! FreeBSD root's checks have such a network, in a jail, and no paths of their own.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};

use super::world::{places, shared};
use crate::needs::Need;
use crate::platform::{self, Namespace};
use crate::stop::{OrError, Outcome, Stop};
use crate::subject::Target;

/// Enters the surroundings that `target` wants, for a check that keeps `kept` and whose server has
/// `dir`.
pub fn enter(target: &Target, kept: &Path, dir: &Path) -> Outcome {
    let launch = &target.manifest.launch;
    if launch.port.is_some() && platform::namespace_missing(Namespace::Network).is_none() {
        platform::enter_private_network().map_err(Stop::NotRun)?;
    }
    if launch.bind.is_empty() {
        return Ok(());
    }
    let values = places(target, dir, &shared(kept))?;
    let mut covers = Vec::new();
    for bind in &launch.bind {
        let from =
            bind.from.fill(&values).map_err(|why| Stop::Error(format!("manifest: {why}")))?;
        let from = PathBuf::from(from);
        if from.starts_with(dir) {
            std::fs::create_dir_all(&from).or_error(from.display())?;
        } else if !from.is_dir() {
            return Err(Stop::Error(format!(
                "launch.bind: {} is no directory that could be put at {}",
                from.display(),
                bind.path.display()
            )));
        }
        covers.push(platform::Cover { path: bind.path.clone(), from, read_only: bind.read_only });
    }
    platform::enter_private_mounts().map_err(Stop::NotRun)?;
    let scratch = kept.join("mounts");
    std::fs::create_dir(&scratch).or_error(scratch.display())?;
    platform::cover_paths(&covers, &scratch).map_err(Stop::NotRun)
}

/// Why the surroundings that `target` wants, root's rights and private paths, cannot be had here.
pub fn missing(target: &Target) -> Option<Stop> {
    let launch = &target.manifest.launch;
    if launch.needs_root && !nix::unistd::geteuid().is_root() {
        return Some(Stop::NotRun(format!(
            "the target {} can be started by root only, as launch.needs-root says",
            target.name
        )));
    }
    if let Some(why) = loopback_rewritten() {
        return Some(Stop::NotRun(why));
    }
    let bind = &launch.bind;
    if bind.is_empty() {
        return None;
    }
    Need::MountNamespace.missing().map(|stop| {
        let paths: Vec<String> = bind.iter().map(|b| b.path.display().to_string()).collect();
        let about = |reason: String| {
            format!("the target {} has fixed paths ({}): {reason}", target.name, paths.join(", "))
        };
        match stop {
            Stop::Unsupported(reason) => Stop::Unsupported(about(reason)),
            Stop::NotRun(reason) => Stop::NotRun(about(reason)),
            other => other,
        }
    })
}

/// What 127.0.0.1 becomes here, if it does not stay what it is.
fn loopback_rewritten() -> Option<String> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).ok()?;
    words_if_rewritten(socket.local_addr().ok()?.ip())
}

/// A jail with addresses and no network of its own is given its first address for 127.0.0.1
/// (FreeBSD's jail(8), `ip4.addr`; prison_local_ip4() in in_jail.c), so that a server listens
/// elsewhere than it says.
fn words_if_rewritten(bound: IpAddr) -> Option<String> {
    (bound != Ipv4Addr::LOCALHOST).then(|| {
        format!(
            "127.0.0.1 becomes {bound} here, as in a jail without a network of its own: give the jail \
             one (jail(8), vnet), or run forkproof outside of it"
        )
    })
}

/// Whether only one check of `target` at a time can run: its manifest says so, or its port is fixed
/// and there is one network.
pub fn is_alone(target: &Target) -> bool {
    let launch = &target.manifest.launch;
    launch.exclusive
        || launch.port.is_some() && platform::namespace_missing(Namespace::Network).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_becomes_another_is_told() {
        assert_eq!(loopback_rewritten(), None, "it stays what it is where this is tested");
        let words = words_if_rewritten(Ipv4Addr::new(10, 0, 0, 5).into()).expect("another");
        assert!(words.starts_with("127.0.0.1 becomes 10.0.0.5 here"), "{words}");
    }
}
