//! What a client that is let in can rely on.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use rstest::rstest;
use tempfile::TempDir;

use super::common::{KEY, PATIENCE};
use super::world::{dir, serve_on_loopback};

/// The key, a line and the end, at once: the line comes back, whatever is replayed.
#[rstest]
fn a_first_line_comes_back(dir: TempDir, #[values("0", "1")] replay: &str) {
    let (_server, address) = serve_on_loopback(dir.path(), &["--replay", replay]);
    std::thread::scope(|scope| {
        for speaker in 0..4 {
            let address = address.clone();
            scope.spawn(move || {
                for number in 0..25 {
                    let line = format!("{speaker}: {number}\n");
                    let mut client = TcpStream::connect(&address).unwrap();
                    client.set_read_timeout(Some(PATIENCE)).unwrap();
                    client.write_all(&[&KEY, line.as_bytes()].concat()).unwrap();
                    client.shutdown(Shutdown::Write).unwrap();
                    let mut heard = String::new();
                    client.read_to_string(&mut heard).unwrap();
                    assert!(heard.contains(&line), "{line:?} is not in {heard:?}");
                }
            });
        }
    });
}
