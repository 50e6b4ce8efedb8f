//! Objects that outlive the processes that share them: System V's segments, semaphores and queues
//! (proc_sysvipc(5)), POSIX's shared memory (shm_overview(7)).

use std::fs;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::platform::model::{Shared, SharedKind};

/// Where shm_open(3) has its objects.
const POSIX: &str = "/dev/shm";

/// All that this process may see, each with the process that it is known to have to do with.
pub fn shared_objects() -> Vec<Shared> {
    let mut found = Vec::new();
    // The kind, its file, and which columns tell a process: the maker, or who used it last.
    let tables: [(SharedKind, &str, &[usize]); 3] = [
        (SharedKind::Memory, "shm", &[4]),
        (SharedKind::Semaphores, "sem", &[]),
        (SharedKind::Queue, "msg", &[5, 6]),
    ];
    for (kind, name, processes) in tables {
        let table = fs::read_to_string(format!("/proc/sysvipc/{name}")).unwrap_or_default();
        for line in table.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let number = |at: usize| fields.get(at).and_then(|field| field.parse::<i32>().ok());
            let Some(id) = number(1) else { continue };
            let mut users: Vec<i32> = processes.iter().filter_map(|&at| number(at)).collect();
            if kind == SharedKind::Semaphores {
                // SAFETY: GETPID takes no further argument and changes nothing.
                users.push(unsafe { libc::semctl(id, 0, libc::GETPID) });
            }
            found.push(Shared { kind, id: id.to_string(), users });
        }
    }
    for entry in fs::read_dir(POSIX).into_iter().flatten().flatten() {
        if let Ok(id) = entry.file_name().into_string() {
            found.push(Shared { kind: SharedKind::Posix, id, users: Vec::new() });
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
    let is_mapped = maps.lines().any(|line| line.ends_with(&*path.to_string_lossy()));
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
