//! Objects that outlive the processes that share them: System V's segments, semaphores and queues
//! (proc_sysvipc(5)), POSIX's shared memory (shm_overview(7)).

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::platform::model::{Shared, SharedKind};

/// Where shm_open(3) has its objects.
const POSIX: &str = "/dev/shm";

/// All that this process may see, each with the process that it is known to have to do with.
pub fn shared_objects() -> Vec<Shared> {
    let mut found = Vec::new();
    // The kind, its file, and which columns tell its user and a process: the maker, or who used it
    // last.
    let tables: [(SharedKind, &str, usize, &[usize]); 3] = [
        (SharedKind::Memory, "shm", 7, &[4]),
        (SharedKind::Semaphores, "sem", 4, &[]),
        (SharedKind::Queue, "msg", 7, &[5, 6]),
    ];
    for (kind, name, user, processes) in tables {
        let table = fs::read_to_string(format!("/proc/sysvipc/{name}")).unwrap_or_default();
        for line in table.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let number = |at: usize| fields.get(at).and_then(|field| field.parse::<i32>().ok());
            let owner = fields.get(user).and_then(|field| field.parse::<u32>().ok());
            let (Some(id), Some(owner)) = (number(1), owner) else { continue };
            let mut users: Vec<i32> = processes.iter().filter_map(|&at| number(at)).collect();
            if kind == SharedKind::Semaphores {
                // SAFETY: GETPID takes no further argument and changes nothing.
                users.push(unsafe { libc::semctl(id, 0, libc::GETPID) });
            }
            found.push(Shared { kind, id: id.to_string(), owner, users });
        }
    }
    for entry in fs::read_dir(POSIX).into_iter().flatten().flatten() {
        if let (Ok(id), Ok(facts)) = (entry.file_name().into_string(), entry.metadata()) {
            let owner = facts.uid();
            found.push(Shared { kind: SharedKind::Posix, id, owner, users: Vec::new() });
        }
    }
    found
}

/// Whether a process has the object in its memory or open, where that can be looked at.
pub fn maps(pid: i32, object: &Shared) -> bool {
    let path: PathBuf = match object.kind {
        SharedKind::Posix => Path::new(POSIX).join(&object.id),
        _ => return false,
    };
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    // Address, rights, offset, device, inode, and behind spaces the path.
    let is_mapped =
        maps.lines().any(|line| line.splitn(6, ' ').nth(5).map(str::trim_start) == path.to_str());
    is_mapped
        || fs::read_dir(format!("/proc/{pid}/fd"))
            .into_iter()
            .flatten()
            .flatten()
            .any(|open| fs::read_link(open.path()).is_ok_and(|target| target == path))
}

/// Removes it. What is gone already is no error.
pub fn remove_shared(object: &Shared) -> Result<(), String> {
    let id = object.id.parse::<i32>().unwrap_or(-1);
    let nothing: *mut libc::shmid_ds = std::ptr::null_mut();
    let removed = match object.kind {
        // SAFETY: IPC_RMID reads nothing that the pointer points to.
        SharedKind::Memory => unsafe { libc::shmctl(id, libc::IPC_RMID, nothing) },
        // SAFETY: IPC_RMID takes no further argument.
        SharedKind::Semaphores => unsafe { libc::semctl(id, 0, libc::IPC_RMID) },
        // SAFETY: IPC_RMID reads nothing that the pointer points to.
        SharedKind::Queue => unsafe { libc::msgctl(id, libc::IPC_RMID, nothing.cast()) },
        SharedKind::Posix => {
            return match fs::remove_file(Path::new(POSIX).join(&object.id)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    Err(error.to_string())
                }
                _ => Ok(()),
            };
        }
    };
    match Errno::result(removed) {
        Ok(_) | Err(Errno::EINVAL | Errno::EIDRM) => Ok(()),
        Err(errno) => Err(errno.desc().to_owned()),
    }
}
