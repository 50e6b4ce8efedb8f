//! Clocks: what the wall says, and who looks at it.

use crate::start::any;
use crate::state::{altered, alters, fail, on, value};
use crate::sys::*;
use crate::table::Id;
use crate::{pools, real};

/// How far clock-jump goes, either way: more than any time-out.
const JUMP: i64 = 3 * 3600;
/// How far past-2038 goes: from any year in which this is used to after 19 January 2038, and not
/// past what an unsigned time of 32 bits holds.
const TWENTY_YEARS: i64 = 20 * 31_556_952;

/// What the wall clock is off by, in seconds.
fn shift() -> i64 {
    shift_at(milliseconds(CLOCK_MONOTONIC))
}

#[allow(clippy::useless_conversion, reason = "32 bits on some targets")]
fn milliseconds(clock: c_int) -> i64 {
    let mut now = Timespec { sec: 0, nsec: 0 };
    real::clock_gettime(clock, &mut now);
    i64::from(now.sec) * 1000 + quotient(i64::from(now.nsec), 1_000_000)
}

/// `dividend / divisor`, rounded down.
///
/// On 32-bit targets `/` of 64 bits is a function of compiler_builtins, which asks for
/// `rust_eh_personality`, which this library has not: it would not load.
fn quotient(dividend: i64, divisor: u32) -> i64 {
    let magnitude = dividend.unsigned_abs();
    let (mut quotient, mut rest) = (0_u64, 0_u64);
    for bit in (0..64).rev() {
        rest = rest << 1 | magnitude >> bit & 1;
        quotient <<= 1;
        if rest >= u64::from(divisor) {
            rest -= u64::from(divisor);
            quotient |= 1;
        }
    }
    match (dividend < 0, rest) {
        (false, _) => quotient as i64,
        (true, 0) => -(quotient as i64),
        (true, _) => -(quotient as i64) - 1,
    }
}

/// What the wall clock was off by when the monotonic one said so much.
fn shift_at(milliseconds: i64) -> i64 {
    let mut shift = 0;
    if on(Id::ClockJump) {
        // By the monotonic clock, so that all processes see the same time.
        let jumps = quotient(milliseconds, value(Id::ClockJump).max(1));
        shift += match jumps - 3 * quotient(jumps, 3) {
            0 => 0,
            1 => JUMP,
            _ => -JUMP,
        };
    }
    if on(Id::Past2038) {
        shift += TWENTY_YEARS;
    }
    if shift != 0 {
        for id in [Id::ClockJump, Id::Past2038] {
            if on(id) {
                altered(id);
            }
        }
    }
    shift
}

/// The time of a file by the clock as it was then; `nanoseconds` is the rest of the second.
pub(crate) fn file_time(seconds: i64, nanoseconds: i64) -> i64 {
    let age = milliseconds(CLOCK_REALTIME) - (seconds * 1000 + quotient(nanoseconds, 1_000_000));
    seconds + shift_at(milliseconds(CLOCK_MONOTONIC) - age)
}

/// What the wall clock says instead of `seconds`; none where that does not fit.
fn told(seconds: i64) -> Option<i64> {
    let told = seconds + shift();
    let fits = i32::try_from(told).is_ok();
    if !fits && (on(Id::Time32) || TimeT::try_from(told).is_err()) {
        altered(Id::Time32);
        return None;
    }
    Some(told)
}

/// Whether a personality has to do with the wall clock.
pub(crate) fn is_off() -> bool {
    any() && (on(Id::ClockJump) || on(Id::Past2038) || on(Id::Time32))
}

/// Puts what the wall clock says in the place of the seconds that a call has given.
#[allow(clippy::useless_conversion, reason = "32 bits on some targets")]
fn tell(seconds: &mut TimeT) -> c_int {
    match told(i64::from(*seconds)) {
        Some(told) => {
            *seconds = told as TimeT;
            0
        }
        None => fail(Id::Time32, EOVERFLOW),
    }
}

/// Which clock is looked at: a program that takes the wall's for its time-outs asks for no other.
fn looked_at(clock: c_int) -> c_int {
    if any() && MONOTONIC.contains(&clock) && alters(Id::WallClockTimeouts) {
        return CLOCK_REALTIME;
    }
    clock
}

#[allow(clippy::unnecessary_cast, reason = "32 bits on some targets")]
pub(crate) fn clock_gettime(clock: c_int, time: *mut Timespec) -> c_int {
    let clock = looked_at(clock);
    let result = real::clock_gettime(clock, time);
    if !any() || result != 0 || time.is_null() {
        return result;
    }
    // SAFETY: clock_gettime(2): not null, so a time that was just written.
    let time = unsafe { &mut *time };
    if clock == CLOCK_MONOTONIC && alters(Id::FrozenClock) {
        *time = Timespec { sec: 1000, nsec: 0 };
    }
    if clock == CLOCK_MONOTONIC {
        let (seconds, nanoseconds) = later(time.nsec as i64);
        time.sec += seconds as TimeT;
        time.nsec = nanoseconds as c_long;
    }
    if is_off() && REALTIME.contains(&clock) { tell(&mut time.sec) } else { result }
}

/// Whole seconds, and nanoseconds in the place of those of the clock, by which it is later than the
/// system says.
fn later(nanoseconds: i64) -> (i64, i64) {
    const SECOND: u32 = 1_000_000_000;
    let late = i64::from(pools::late()) * 1_000_000 + nanoseconds;
    let seconds = quotient(late, SECOND);
    (seconds, late - seconds * i64::from(SECOND))
}

/// The same with 64 bits of time where `time_t` has 32 (glibc, "64-bit time symbol handling").
#[cfg(all(target_os = "linux", target_env = "gnu", target_pointer_width = "32"))]
pub(crate) fn clock_gettime64(clock: c_int, time: *mut [i64; 2]) -> c_int {
    let clock = looked_at(clock);
    let result = real::time64::clock_gettime64(clock, time);
    if !any() || result != 0 || time.is_null() {
        return result;
    }
    // SAFETY: as in clock_gettime; the structure is two numbers of 64 bits on little-endian
    // machines, the upper half of the nanoseconds being padding.
    let time = unsafe { &mut *time };
    if clock == CLOCK_MONOTONIC && alters(Id::FrozenClock) {
        *time = [1000, 0];
    }
    if clock == CLOCK_MONOTONIC {
        let (seconds, nanoseconds) = later(time[1]);
        *time = [time[0] + seconds, nanoseconds];
    }
    if is_off() && REALTIME.contains(&clock) { tell_wide(&mut time[0]) } else { result }
}

#[cfg(all(target_os = "linux", target_env = "gnu", target_pointer_width = "32"))]
fn tell_wide(seconds: &mut i64) -> c_int {
    let told = *seconds + shift();
    if on(Id::Time32) && i32::try_from(told).is_err() {
        return fail(Id::Time32, EOVERFLOW);
    }
    *seconds = told;
    0
}

pub(crate) fn gettimeofday(time: *mut Timespec, zone: *mut c_void) -> c_int {
    let result = real::gettimeofday(time, zone);
    if result != 0 || time.is_null() || !is_off() {
        return result;
    }
    // SAFETY: gettimeofday(2): a struct timeval that was just written, laid out as a timespec is.
    tell(unsafe { &mut (*time).sec })
}

pub(crate) fn time(into: *mut TimeT) -> TimeT {
    if !is_off() {
        return real::time(into);
    }
    let mut seconds = real::time(core::ptr::null_mut());
    if tell(&mut seconds) < 0 {
        return -1;
    }
    if !into.is_null() {
        // SAFETY: time(2): not null, so a time to write.
        unsafe { *into = seconds };
    }
    seconds
}

/// time with 64 bits of time where `time_t` has 32.
#[cfg(all(target_os = "linux", target_env = "gnu", target_pointer_width = "32"))]
pub(crate) fn time64(into: *mut i64) -> i64 {
    let mut now = [0; 2];
    if clock_gettime64(CLOCK_REALTIME, &mut now) < 0 {
        return -1;
    }
    if !into.is_null() {
        // SAFETY: time(2): not null, so a time to write.
        unsafe { *into = now[0] };
    }
    now[0]
}

/// gettimeofday with 64 bits of time where `time_t` has 32.
#[cfg(all(target_os = "linux", target_env = "gnu", target_pointer_width = "32"))]
pub(crate) fn gettimeofday64(time: *mut [i64; 2]) -> c_int {
    let mut now = [0; 2];
    if time.is_null() {
        return 0;
    }
    if clock_gettime64(CLOCK_REALTIME, &mut now) < 0 {
        return -1;
    }
    // SAFETY: gettimeofday(2): a structure to write, seconds and microseconds; the nanoseconds' upper
    // half is padding.
    unsafe { *time = [now[0], quotient(now[1] & 0xffff_ffff, 1000)] };
    0
}
