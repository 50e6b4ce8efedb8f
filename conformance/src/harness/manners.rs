//! What only a running server tells of itself: how many processes it has, and what ends with it.

use std::time::{Duration, Instant};

use super::processes::descends;
use super::server::Server;
use crate::platform::Process;
use crate::stop::{Step, fail};
use crate::subject::{Ends, Measured};

impl Server {
    /// How many processes there are when no client is, and how many more with one. Nobody may be in.
    pub fn measure(&self) -> Step<Measured> {
        let model = self.world.orders.target.manifest.processes.model;
        let expected = self.world.orders.target.measured;
        // Where nothing tells about processes, nothing that takes their number is asked.
        if descends().is_err() {
            return Ok(expected);
        }
        self.dismiss_witness();
        let idle = self.settled()?;
        if !model.is_per_client() {
            return Ok(Measured { idle, per_client: 0 });
        }
        let (client, cluster) = self.join_with_cluster("carol")?;
        let witness = usize::from(self.witness.is_there());
        let with_one = self.settled()?;
        let per_client = with_one.saturating_sub(idle) / (1 + witness);
        self.world.note("check", format!("{idle} processes are idle; {cluster} came with carol"));
        drop(client);
        self.dismiss_witness();
        Ok(Measured { idle, per_client: per_client.max(expected.per_client) })
    }

    /// The number of its processes, when that has not changed for a while.
    fn settled(&self) -> Step<usize> {
        const A_WHILE: Duration = Duration::from_millis(200);
        let a_while = self.world.scaled(A_WHILE);
        let mut last = (self.living()?, Instant::now());
        let found = self.world.wait(self.world.patience(), || {
            let now = self.living()?;
            if now != last.0 {
                last = (now, Instant::now());
            }
            Ok((last.1.elapsed() >= a_while).then_some(now))
        })?;
        // A pool that is still growing is as large as it is.
        found.map_or_else(|| self.living(), Ok)
    }

    /// Ends the server while a client is in, and finds out what ends with it; fails if that is not as
    /// its manifest says.
    pub fn what_ends(&self) -> Step<Ends> {
        let stop = &self.world.orders.target.manifest.stop;
        let client = self.join("dora")?;
        self.end()?;
        let mut left = Vec::new();
        let gone = self.world.wait(self.world.end_limit(), || {
            left = descends().unwrap_or_default();
            Ok(left.is_empty().then_some(()))
        })?;
        drop(client);
        let ends = if gone.is_some() { Ends::All } else { Ends::Daemon };
        if stop.ends == Some(Ends::All) && ends == Ends::Daemon {
            let names: Vec<String> = left.iter().map(Process::to_string).collect();
            return fail(
                format!(
                    "every process of the server ends at {} while a client is in, as stop.ends = \"all\" says",
                    stop.signal.0.as_str()
                ),
                format!("{} go on; say stop.ends = \"daemon\"", names.join(", ")),
            );
        }
        // Whoever served a client ends with that; what is left then has escaped.
        let escaped = self.world.wait(self.world.end_limit(), || {
            left = descends().unwrap_or_default();
            Ok(left.is_empty().then_some(()))
        })?;
        if escaped.is_none() {
            let names: Vec<String> = left.iter().map(Process::to_string).collect();
            return fail("no process of the server is left after its end", names.join(", "));
        }
        self.world.ends.set(stop.ends.unwrap_or(ends));
        Ok(self.world.ends())
    }
}
