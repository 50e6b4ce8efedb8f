//! Several jobs at a time.

use std::collections::VecDeque;
use std::sync::{Mutex, mpsc};

use crate::interrupt;

/// Does `job` with every item, `jobs` at a time; what the jobs tell is observed in this thread, in
/// the order in which it comes. After an interruption no further job is begun.
pub fn in_parallel<T: Send, R: Send>(
    items: impl IntoIterator<Item = T>,
    jobs: usize,
    job: impl Fn(T, &dyn Fn(R)) + Sync,
    mut observe: impl FnMut(R),
) {
    let queue: Mutex<VecDeque<T>> = Mutex::new(items.into_iter().collect());
    let (tell, told) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            let (queue, tell, job) = (&queue, tell.clone(), &job);
            scope.spawn(move || {
                while !interrupt::requested() {
                    let item = queue.lock().ok().and_then(|mut queue| queue.pop_front());
                    let Some(item) = item else { break };
                    job(item, &|answer| {
                        let _ = tell.send(answer);
                    });
                }
            });
        }
        drop(tell);
        for answer in told {
            observe(answer);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_done_once() {
        for jobs in [0, 1, 3, 200] {
            let mut done = Vec::new();
            in_parallel(0..100, jobs, |item, tell| tell(item), |item| done.push(item));
            done.sort_unstable();
            assert_eq!(done, (0..100).collect::<Vec<i32>>());
        }
    }
}
