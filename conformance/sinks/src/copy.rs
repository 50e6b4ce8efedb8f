//! From a socket to standard output.

use std::io;

use nix::errno::Errno;

/// The size of every design's buffer, in bytes.
pub(crate) const BUFFER: usize = 16 * 1024;

/// Writes all of it to standard output.
pub(crate) fn to_output(mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        // SAFETY: `bytes` is readable for its length.
        let written = unsafe { libc::write(1, bytes.as_ptr().cast(), bytes.len()) };
        match Errno::result(written) {
            Ok(written) => bytes = &bytes[written.unsigned_abs()..],
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// Copies until the client has ended.
pub(crate) fn to_the_end(client: &mut impl io::Read) -> io::Result<()> {
    let mut buffer = [0; BUFFER];
    loop {
        match client.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => to_output(&buffer[..length])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
