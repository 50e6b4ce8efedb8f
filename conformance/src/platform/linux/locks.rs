//! Who holds and who waits for which lock (proc_locks(5)).

use std::fs;

use crate::platform::model::Lock;

/// Who holds and who waits for which lock (proc_locks(5)).
pub fn lock_table() -> Result<Vec<Lock>, String> {
    let text =
        fs::read_to_string("/proc/locks").map_err(|error| format!("/proc/locks: {error}"))?;
    Ok(parse_locks(&text))
}

/// The processes that wait for a lock on the file with this inode number.
pub fn lock_waiters(inode: u64) -> Result<Vec<i32>, String> {
    let table = lock_table()?;
    let waiting = table.iter().filter(|lock| lock.waiting && lock.inode == inode);
    Ok(waiting.map(|lock| lock.pid).collect())
}

/// The kernel gives the table page by page and counts from its start each time: what stands at the
/// end of one page comes again on the next when somebody has locked something meanwhile.
fn parse_locks(text: &str) -> Vec<Lock> {
    let mut locks = Vec::new();
    for lock in text.lines().filter_map(parse_lock) {
        if !locks.contains(&lock) {
            locks.push(lock);
        }
    }
    locks
}

/// Reads `1: -> FLOCK  ADVISORY  WRITE 708 08:01:42 0 EOF`, with or without the arrow.
fn parse_lock(line: &str) -> Option<Lock> {
    let mut words = line.split_whitespace().skip(1).peekable();
    let waiting = words.next_if_eq(&"->").is_some();
    let kind = words.next()?.to_owned();
    let exclusive = Some(words.nth(1)? == "WRITE");
    let pid = words.next()?.parse().ok()?;
    let inode = words.next()?.rsplit(':').next()?.parse().ok()?;
    Some(Lock { kind, exclusive, waiting, pid, inode })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_comes_twice_is_one() {
        let text = "1: FLOCK  ADVISORY  WRITE 708 08:01:42 0 EOF\n\
                    2: FLOCK  ADVISORY  WRITE 708 08:01:42 0 EOF\n\
                    3: FLOCK  ADVISORY  WRITE 709 08:01:42 0 EOF\n";
        let pids: Vec<i32> = parse_locks(text).iter().map(|lock| lock.pid).collect();
        assert_eq!(pids, [708, 709]);
    }

    #[test]
    fn lock_lines() {
        let held = parse_lock("1: FLOCK  ADVISORY  WRITE 708 08:01:42 0 EOF").unwrap();
        assert_eq!(
            (held.exclusive, held.waiting, held.pid, held.inode),
            (Some(true), false, 708, 42)
        );
        let waiting = parse_lock("1: -> FLOCK  ADVISORY  READ 9 fd:00:7 0 EOF").unwrap();
        assert_eq!(
            (waiting.exclusive, waiting.waiting, waiting.pid, waiting.inode),
            (Some(false), true, 9, 7)
        );
    }
}
