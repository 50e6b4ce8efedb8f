//! From root to a plain user, once and for good. The master stays what it is: it opens sockets and
//! logs; workers, which read what strangers send, have the user's rights only.

use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::{Gid, Uid, User, geteuid, getuid, setgid, setgroups, setuid};
use serde::{Deserialize, Serialize};

use crate::platform;
use settings::StartError;

/// Who a worker becomes, in numbers: it looks nothing up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    name: String,
    user: u32,
    group: u32,
    groups: Vec<u32>,
}

/// Looks `user` up. `None` if nothing is to be changed: none is named, or this process is that
/// user already.
pub(crate) fn find(user: Option<&str>) -> Result<Option<Identity>, StartError> {
    let Some(name) = user else { return Ok(None) };
    let failed = |errno: nix::Error| {
        StartError::failure(format!("user `{name}`: cannot be looked up: {}", errno.desc()))
    };
    let found = User::from_name(name)
        .map_err(failed)?
        .ok_or_else(|| StartError::usage(format!("user `{name}`: no such user")))?;
    if !geteuid().is_root() {
        if getuid() == found.uid {
            return Ok(None);
        }
        return Err(StartError::usage(format!(
            "user `{name}`: only root can become another user; start as root or leave --user out"
        )));
    }
    let groups = platform::groups_of(&found).map_err(failed)?;
    Ok(Some(Identity {
        name: name.to_owned(),
        user: found.uid.as_raw(),
        group: found.gid.as_raw(),
        groups: groups.into_iter().map(Gid::as_raw).collect(),
    }))
}

/// Becomes `identity`, if there is one, and gives up gaining rights in any case.
pub(crate) fn assume(identity: Option<&Identity>) -> Result<(), StartError> {
    if let Some(identity) = identity {
        let name = &identity.name;
        let cannot = |what: &'static str| {
            move |errno: nix::Error| {
                let why = errno.desc();
                StartError::failure(format!("cannot become user `{name}`: {what}: {why}"))
            }
        };
        // The groups first: afterwards there is no right to change them.
        let groups: Vec<Gid> = identity.groups.iter().copied().map(Gid::from_raw).collect();
        setgroups(&groups).map_err(cannot("setgroups"))?;
        setgid(Gid::from_raw(identity.group)).map_err(cannot("setgid"))?;
        setuid(Uid::from_raw(identity.user)).map_err(cannot("setuid"))?;
        if identity.user != 0 && setuid(Uid::from_raw(0)).is_ok() {
            return Err(StartError::failure(format!(
                "cannot become user `{name}`: this system gives root back"
            )));
        }
    }
    // It would hold what clients have sent.
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    platform::no_new_privileges()
        .map_err(|errno| StartError::failure(format!("no_new_privs: {}", errno.desc())))
}
