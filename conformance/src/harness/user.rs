//! Another user: to become it for good, or to have its rights for a while.

use crate::stop::{Step, Stop};

/// Who a program is started as.
#[derive(Debug, Clone, Copy)]
pub(super) struct User {
    /// The user's id.
    pub(super) id: u32,
    /// The id of its group; it has no others.
    pub(super) group: u32,
}

impl User {
    /// This process has its rights, and no others, until what this returns is dropped. For a process of
    /// one thread.
    pub(super) fn rights(self) -> Step<Rights> {
        let refused = |errno: nix::Error| {
            Stop::NotRun(format!(
                "needs the right to run the server as user {}: {}",
                self.id,
                errno.desc()
            ))
        };
        let groups = nix::unistd::getgroups().map_err(refused)?;
        let rights = Rights { group: nix::unistd::getegid(), groups };
        let group = nix::unistd::Gid::from_raw(self.group);
        // Dropped on the way, it undoes what was done.
        nix::unistd::setgroups(&[group]).map_err(refused)?;
        nix::unistd::setegid(group).map_err(refused)?;
        nix::unistd::seteuid(nix::unistd::Uid::from_raw(self.id)).map_err(refused)?;
        Ok(rights)
    }

    /// Becomes it for good. Between fork and exec: system calls only.
    pub(super) fn become_it(self) -> nix::Result<()> {
        let group = nix::unistd::Gid::from_raw(self.group);
        nix::unistd::setgroups(&[group])?;
        nix::unistd::setgid(group)?;
        nix::unistd::setuid(nix::unistd::Uid::from_raw(self.id))
    }
}

/// Another user's rights, for a while: what this process, which is root's, had before.
pub(super) struct Rights {
    group: nix::unistd::Gid,
    groups: Vec<nix::unistd::Gid>,
}

impl Drop for Rights {
    fn drop(&mut self) {
        let root = nix::unistd::Uid::from_raw(0);
        // Its real user is root still, so nothing can refuse that; and if it did, the rest of the
        // check would be done with too few rights, never with too many.
        let _ = nix::unistd::seteuid(root)
            .and_then(|()| nix::unistd::setgroups(&self.groups))
            .and_then(|()| nix::unistd::setegid(self.group));
    }
}
