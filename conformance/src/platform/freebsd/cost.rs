//! What processes cost: sysctl(3) `kern.proc`, `kern.cp_time`.

use std::time::Duration;

use nix::errno::Errno;

use super::host::string_of;
use super::records::process_record;
use crate::platform::model::{Ticks, Used};

/// How the processor time of a tree of processes is told here.
pub const PROCESS_CLOCKS: &str =
    "kern.proc: the run time of all processes, with the children that were waited for";

/// What a process has used so far, with the children that it has waited for. Switches are the
/// process's own.
pub fn used_by(pid: i32) -> Result<Used, String> {
    let record = process_record(pid)?;
    // ki_rusage_ch holds the times of children and little else (sys/user.h).
    let children = [record.ki_rusage_ch.ru_utime, record.ki_rusage_ch.ru_stime];
    let children: Duration = children.iter().map(of_timeval).sum();
    let count = |count: libc::c_long| u64::try_from(count).ok();
    Ok(Used {
        processor: Duration::from_micros(record.ki_runtime) + children,
        voluntary: count(record.ki_rusage.ru_nvcsw),
        involuntary: count(record.ki_rusage.ru_nivcsw),
    })
}

fn of_timeval(time: &libc::timeval) -> Duration {
    #[allow(clippy::unnecessary_cast, reason = "time_t has 32 bits on some processors")]
    let seconds = time.tv_sec as i64;
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
        + Duration::from_micros(u64::try_from(time.tv_usec).unwrap_or(0))
}

/// How busy the whole machine has been since it was started.
pub fn machine_ticks() -> Result<Ticks, String> {
    // CPUSTATES and CP_IDLE of sys/resource.h.
    const STATES: usize = 5;
    const IDLE: usize = 4;
    let mut ticks: [libc::c_long; STATES] = [0; STATES];
    let mut length = size_of_val(&ticks);
    // SAFETY: at most `length` bytes are written to `ticks`, which has them.
    Errno::result(unsafe {
        libc::sysctlbyname(
            c"kern.cp_time".as_ptr(),
            ticks.as_mut_ptr().cast(),
            &raw mut length,
            std::ptr::null(),
            0,
        )
    })
    .map_err(|errno| format!("kern.cp_time: {}", errno.desc()))?;
    let count = |state: usize| u64::try_from(ticks[state]).unwrap_or(0);
    let all: u64 = (0..STATES).map(count).sum();
    Ok(Ticks { busy: all - count(IDLE), all })
}

/// The processor's name.
pub fn processor_model() -> Option<String> {
    string_of(c"hw.model")
}

/// Who chooses the processor's frequency: powerd(8), which is not asked.
pub fn governor() -> Option<String> {
    None
}
