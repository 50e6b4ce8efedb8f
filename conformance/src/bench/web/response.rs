//! An answer as it comes in: its head (RFC 9112), and every byte of its body against those of the file.

/// How far an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// More has to come.
    Unfinished,
    /// All is there, and as it should be.
    Whole {
        /// Whether the connection may be asked again.
        kept: bool,
    },
}

/// One answer, which is to hold a file.
#[derive(Debug)]
pub(super) struct Response {
    /// What has come of the head, where it comes in parts.
    head: Vec<u8>,
    body: Option<Body>,
    /// Bytes of the file that have come.
    arrived: usize,
    kept: bool,
}

/// Where the body ends (RFC 9112, 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Body {
    /// With the file's last byte, as Content-Length says.
    Length,
    Chunks(Chunk),
    /// With the connection.
    Close,
}

/// What comes next of a body in chunks (RFC 9112, 7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chunk {
    /// The line with the size of a chunk.
    Size,
    /// So many bytes of one.
    Data(u64),
    /// The end of the line after one.
    End,
    /// The lines after the last one.
    Trailers,
}

/// A head, or the line of a chunk, is not longer than this.
const LONGEST: usize = 64 * 1024;
const MOST_HEADERS: usize = 64;

impl Response {
    pub(super) fn new() -> Self {
        Self { head: Vec::new(), body: None, arrived: 0, kept: true }
    }

    /// To be used for the next answer.
    pub(super) fn begin(&mut self) {
        self.head.clear();
        *self = Self { head: std::mem::take(&mut self.head), ..Self::new() };
    }

    /// Whether nothing of it has come.
    pub(super) fn is_untouched(&self) -> bool {
        self.body.is_none() && self.head.is_empty()
    }

    /// Takes `bytes`, the next that have come of an answer that is to hold `file`.
    ///
    /// # Errors
    /// What is wrong with it, in words that do not tell one answer from another.
    pub(super) fn take(&mut self, bytes: &[u8], file: &[u8]) -> Result<Progress, String> {
        match self.body {
            None => self.take_head(bytes, file),
            Some(body) => self.take_body(body, bytes, file),
        }
    }

    /// The connection has been closed by the server.
    pub(super) fn close(&self, file: &[u8]) -> Result<Progress, String> {
        match self.body {
            Some(Body::Close) if self.arrived == file.len() => Ok(Progress::Whole { kept: false }),
            Some(_) => Err("closed before the end of the body".into()),
            None if self.head.is_empty() => Err("closed without an answer".into()),
            None => Err("closed before the end of the head".into()),
        }
    }

    fn take_head(&mut self, bytes: &[u8], file: &[u8]) -> Result<Progress, String> {
        let mut whole = std::mem::take(&mut self.head);
        // Nearly always it comes in one piece, which needs no copy.
        let is_first = whole.is_empty();
        if !is_first {
            whole.extend_from_slice(bytes);
        }
        let mut rest: &[u8] = if is_first { bytes } else { &whole };
        loop {
            let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
            let mut head = httparse::Response::new(&mut headers);
            let parsed = head.parse(rest).map_err(|error| format!("no HTTP: {error}"))?;
            let httparse::Status::Complete(length) = parsed else {
                if rest.len() > LONGEST {
                    return Err("a head without an end".into());
                }
                self.head = rest.to_vec();
                return Ok(Progress::Unfinished);
            };
            rest = &rest[length..];
            let status = head.code.unwrap_or(0);
            // 100 Continue and its like come before the answer.
            if (100..200).contains(&status) {
                continue;
            }
            if status != 200 {
                return Err(format!("status {status}"));
            }
            let body = self.read_headers(&head, file)?;
            self.body = Some(body);
            return self.take_body(body, rest, file);
        }
    }

    /// Where the body ends, and whether the connection is kept after it.
    fn read_headers(
        &mut self,
        head: &httparse::Response<'_, '_>,
        file: &[u8],
    ) -> Result<Body, String> {
        let mut length = None;
        let mut in_chunks = false;
        let mut connection: Option<&[u8]> = None;
        for header in head.headers.iter() {
            if header.name.eq_ignore_ascii_case("content-length") {
                length = Some(header.value.trim_ascii());
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                in_chunks = header.value.to_ascii_lowercase().ends_with(b"chunked");
            } else if header.name.eq_ignore_ascii_case("connection") {
                connection = Some(header.value);
            }
        }
        let says = |word: &[u8]| {
            let mut options = connection.unwrap_or_default().split(|&byte| byte == b',');
            options.any(|option| option.trim_ascii().eq_ignore_ascii_case(word))
        };
        // RFC 9112, 9.3.
        self.kept = !says(b"close") && (head.version == Some(1) || says(b"keep-alive"));
        if in_chunks {
            return Ok(Body::Chunks(Chunk::Size));
        }
        let Some(length) = length else { return Ok(Body::Close) };
        let length = std::str::from_utf8(length).ok().and_then(|text| text.parse::<usize>().ok());
        match length {
            Some(length) if length == file.len() => Ok(Body::Length),
            Some(_) => Err("another Content-Length than the file's".into()),
            None => Err("a Content-Length that is no number".into()),
        }
    }

    fn take_body(
        &mut self,
        mut body: Body,
        mut bytes: &[u8],
        file: &[u8],
    ) -> Result<Progress, String> {
        loop {
            let Body::Chunks(chunk) = body else {
                self.compare(bytes, file)?;
                let over = body == Body::Length && self.arrived == file.len();
                return Ok(match over {
                    true => Progress::Whole { kept: self.kept },
                    false => Progress::Unfinished,
                });
            };
            let next = match chunk {
                Chunk::Data(left) => {
                    let length = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                    self.compare(&bytes[..length], file)?;
                    bytes = &bytes[length..];
                    match left - length as u64 {
                        0 => Chunk::End,
                        left => {
                            self.body = Some(Body::Chunks(Chunk::Data(left)));
                            return Ok(Progress::Unfinished);
                        }
                    }
                }
                Chunk::Size | Chunk::End | Chunk::Trailers => {
                    let Some(line) = self.take_line(&mut bytes)? else {
                        self.body = Some(Body::Chunks(chunk));
                        return Ok(Progress::Unfinished);
                    };
                    match (chunk, line.is_empty()) {
                        (Chunk::Trailers, true) if !bytes.is_empty() => {
                            return Err("more than the file".into());
                        }
                        (Chunk::Trailers, true) if self.arrived == file.len() => {
                            return Ok(Progress::Whole { kept: self.kept });
                        }
                        (Chunk::Trailers, true) => return Err("less than the file".into()),
                        (Chunk::Trailers, false) => Chunk::Trailers,
                        (Chunk::End, true) => Chunk::Size,
                        (Chunk::End, false) => return Err("a bad chunk".into()),
                        _ => match size_of(&line) {
                            Some(0) => Chunk::Trailers,
                            Some(size) => Chunk::Data(size),
                            None => return Err("a bad chunk".into()),
                        },
                    }
                }
            };
            body = Body::Chunks(next);
        }
    }

    /// The next line, without its end, if all of it is there.
    fn take_line(&mut self, bytes: &mut &[u8]) -> Result<Option<Vec<u8>>, String> {
        let Some(end) = bytes.iter().position(|&byte| byte == b'\n') else {
            self.head.extend_from_slice(bytes);
            *bytes = &[];
            return match self.head.len() > LONGEST {
                true => Err("a line of a chunk without an end".into()),
                false => Ok(None),
            };
        };
        let mut line = std::mem::take(&mut self.head);
        line.extend_from_slice(&bytes[..end]);
        *bytes = &bytes[end + 1..];
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Ok(Some(line))
    }

    fn compare(&mut self, bytes: &[u8], file: &[u8]) -> Result<(), String> {
        let Some(expected) = file.get(self.arrived..self.arrived + bytes.len()) else {
            return Err("more than the file".into());
        };
        if bytes != expected {
            return Err("other bytes than the file's".into());
        }
        self.arrived += bytes.len();
        Ok(())
    }
}

/// The size that the first line of a chunk tells; it may have extensions.
fn size_of(line: &[u8]) -> Option<u64> {
    let digits = line.split(|&byte| byte == b';').next()?;
    let digits = std::str::from_utf8(digits).ok()?.trim_end();
    let is_plain = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    u64::from_str_radix(digits, 16).ok().filter(|_| is_plain)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const FILE: &[u8] = b"hello, world";
    const KEPT: Result<Progress, &str> = Ok(Progress::Whole { kept: true });
    const LAST: Result<Progress, &str> = Ok(Progress::Whole { kept: false });

    /// What comes of these bytes, in pieces of any length, and then of the connection's end.
    fn outcome(bytes: &[u8], piece: usize) -> Result<Progress, String> {
        let mut response = Response::new();
        for piece in bytes.chunks(piece) {
            match response.take(piece, FILE)? {
                Progress::Unfinished => {}
                whole @ Progress::Whole { .. } => return Ok(whole),
            }
        }
        response.close(FILE)
    }

    #[rstest]
    #[case::length("HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nhello, world", KEPT)]
    #[case::told(
        "HTTP/1.1 200 OK\r\nContent-Length: 12\r\nConnection: x, Close\r\n\r\nhello, world",
        LAST
    )]
    #[case::old("HTTP/1.0 200 OK\r\nContent-Length: 12\r\n\r\nhello, world", LAST)]
    #[case::close("HTTP/1.1 200 OK\r\n\r\nhello, world", LAST)]
    #[case::continued(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nhello, world",
        KEPT
    )]
    #[case::chunks(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n7\r\n, world\r\n0\r\nA: b\r\n\r\n",
        KEPT
    )]
    #[case::short_chunks(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        Err("less than the file")
    )]
    #[case::bad_chunk(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n+5\r\nhello\r\n0\r\n\r\n",
        Err("a bad chunk")
    )]
    #[case::status(
        "HTTP/1.1 404 Not Found\r\nContent-Length: 12\r\n\r\nhello, world",
        Err("status 404")
    )]
    #[case::short(
        "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nhello",
        Err("closed before the end of the body")
    )]
    #[case::short_until_close(
        "HTTP/1.1 200 OK\r\n\r\nhello",
        Err("closed before the end of the body")
    )]
    #[case::less(
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        Err("another Content-Length than the file's")
    )]
    #[case::other(
        "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nhello, w0rld",
        Err("other bytes than the file's")
    )]
    #[case::none("", Err("closed without an answer"))]
    #[case::head("HTTP/1.1 200 OK\r\nCont", Err("closed before the end of the head"))]
    #[case::no_http("SSH-2.0-x\r\n", Err("no HTTP: invalid HTTP version"))]
    fn answers_are_read(
        #[case] bytes: &str,
        #[case] expected: Result<Progress, &str>,
        #[values(1, 7, 1000)] piece: usize,
    ) {
        assert_eq!(outcome(bytes.as_bytes(), piece), expected.map_err(str::to_owned));
    }

    #[test]
    fn more_than_the_file_is_wrong() {
        let bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nhello, world, and more";
        assert_eq!(outcome(bytes, 1000), Err("more than the file".into()));
    }
}
