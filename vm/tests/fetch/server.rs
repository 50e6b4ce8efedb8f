//! A publisher on loopback: one file and its checksums, and everything that goes wrong with them.

use std::collections::{HashMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

/// What a request asked for, and what it got.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) path: String,
    /// By lower-case name.
    pub(crate) headers: HashMap<String, String>,
    /// How many bytes of a body were sent.
    pub(crate) sent: usize,
}

/// How the next request for a path is answered; afterwards as a good server does.
#[derive(Debug)]
pub(crate) enum Step {
    /// So many bytes of the body, then the connection closes.
    CutAfter(usize),
    /// So many bytes of the body, then nothing until the client goes away.
    StallAfter(usize),
    /// So many bytes of the body, then the rest when told.
    HoldAfter(usize, Receiver<()>),
    /// The whole, whatever range is asked for.
    IgnoreRange,
    /// A range other than the one asked for.
    WrongRange,
    /// This status, and this header.
    Status(&'static str, Option<String>),
}

#[derive(Debug, Clone)]
struct Published {
    bytes: Arc<Vec<u8>>,
    etag: String,
}

#[derive(Debug, Default)]
struct State {
    files: HashMap<String, Published>,
    steps: HashMap<String, VecDeque<Step>>,
    log: Vec<Request>,
}

/// The server; its threads end with the test's process.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) url: String,
    state: Arc<Mutex<State>>,
}

impl Server {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port on loopback");
        let url = format!("http://{}/", listener.local_addr().expect("an address"));
        let server = Self { url, state: Arc::default() };
        let of_thread = server.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let server = of_thread.clone();
                // A client that is killed breaks its connection; that is what is tested.
                std::thread::spawn(move || drop(server.answer(stream)));
            }
        });
        server
    }

    pub(crate) fn publish(&self, path: &str, bytes: Vec<u8>) {
        let mut state = self.state.lock().expect("state");
        let etag = format!("\"{:x}-{}\"", bytes.len(), state.log.len());
        state.files.insert(path.to_owned(), Published { bytes: Arc::new(bytes), etag });
    }

    pub(crate) fn next(&self, path: &str, step: Step) {
        let mut state = self.state.lock().expect("state");
        state.steps.entry(path.to_owned()).or_default().push_back(step);
    }

    /// As [`Step::HoldAfter`]; sending lets it go on.
    pub(crate) fn hold(&self, path: &str, after: usize) -> Sender<()> {
        let (sender, receiver) = channel();
        self.next(path, Step::HoldAfter(after, receiver));
        sender
    }

    /// All requests for a path, in their order.
    pub(crate) fn requests(&self, path: &str) -> Vec<Request> {
        let state = self.state.lock().expect("state");
        state.log.iter().filter(|request| request.path == path).cloned().collect()
    }

    fn answer(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let path = line.split(' ').nth(1).unwrap_or("/").trim_start_matches('/').to_owned();
        let mut headers = HashMap::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? <= 2 {
                break;
            }
            if let Some((name, value)) = line.split_once(':') {
                headers.insert(name.to_lowercase(), value.trim().to_owned());
            }
        }
        let (file, step, at) = {
            let mut state = self.state.lock().expect("state");
            let step = state.steps.get_mut(&path).and_then(VecDeque::pop_front);
            let request = Request { path: path.clone(), headers: headers.clone(), sent: 0 };
            state.log.push(request);
            (state.files.get(&path).cloned(), step, state.log.len() - 1)
        };
        let mut out = Out { stream: reader, server: self, at };
        if let Some(Step::Status(status, header)) = &step {
            let header = header.clone().unwrap_or_default();
            return out.head(&format!("{status}\r\nContent-Length: 0\r\n{header}"));
        }
        let Some(Published { bytes, etag }) = file else {
            return out.head("404 Not Found\r\nContent-Length: 0\r\n");
        };
        let asked: Option<usize> = headers
            .get("range")
            .and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok())
            .filter(|_| headers.get("if-range").is_none_or(|validator| *validator == etag))
            .filter(|_| !matches!(step, Some(Step::IgnoreRange)));
        let total = bytes.len();
        let from = asked.unwrap_or(0);
        if from >= total && from > 0 {
            return out.head(&format!(
                "416 Range Not Satisfiable\r\nContent-Range: bytes */{total}\r\nContent-Length: 0\r\n"
            ));
        }
        let status = match asked {
            None => "200 OK\r\n".to_owned(),
            Some(from) => {
                let told = if matches!(step, Some(Step::WrongRange)) { from + 1 } else { from };
                format!(
                    "206 Partial Content\r\nContent-Range: bytes {told}-{}/{total}\r\n",
                    total - 1
                )
            }
        };
        out.head(&format!("{status}ETag: {etag}\r\nContent-Length: {}\r\n", total - from))?;
        let body = &bytes[from..];
        match step {
            Some(Step::CutAfter(n)) => out.body(&body[..n]),
            Some(Step::StallAfter(n)) => {
                out.body(&body[..n])?;
                out.until_the_client_has_gone()
            }
            Some(Step::HoldAfter(n, release)) => {
                out.body(&body[..n])?;
                // A test that failed has dropped the sender.
                let _ = release.recv();
                out.body(&body[n..])
            }
            _ => out.body(body),
        }
    }
}

struct Out<'a> {
    stream: BufReader<TcpStream>,
    server: &'a Server,
    at: usize,
}

impl Out<'_> {
    fn head(&mut self, head: &str) -> std::io::Result<()> {
        let text = format!("HTTP/1.1 {head}Connection: close\r\n\r\n");
        self.stream.get_mut().write_all(text.as_bytes())
    }

    fn body(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.server.state.lock().expect("state").log[self.at].sent += bytes.len();
        self.stream.get_mut().write_all(bytes)?;
        self.stream.get_mut().flush()
    }

    fn until_the_client_has_gone(&mut self) -> std::io::Result<()> {
        self.stream.read_to_end(&mut Vec::new()).map(drop)
    }
}
