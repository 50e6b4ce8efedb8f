//! Wires without lines: a request and its answer, HTTP, a greeting. How a client knows that it is
//! served is here; that it may be asked again is [`Client::barrier`]'s affair.

use std::net::Shutdown;

use super::client::{Client, position, wait_for};
use super::record::excerpt;
use crate::stop::{Outcome, Step, fail};
use crate::subject::{Again, Kind, Place, Until, Wire};

/// What has come of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It is there; it ends at this position of the inbox.
    Right(usize),
    /// Another one than should come is there.
    Wrong(String),
    /// It is not, or not as a whole.
    Missing,
}

impl Client {
    pub(super) fn wire(&self) -> &Wire {
        &self.world.orders.target.manifest.wire
    }

    /// Waits for the greeting of a server that speaks first. Whether it came.
    pub(super) fn await_greeting(&mut self) -> Step<bool> {
        if self.greeted {
            return Ok(true);
        }
        let Some(greeting) = self.wire().greeting.as_ref().map(|text| text.with("")) else {
            self.greeted = true;
            return Ok(true);
        };
        let patience = self.world.patience();
        wait_for(&mut [self], patience, |clients| {
            position(clients[0].unread(), &greeting).is_some() || clients[0].ended.is_some()
        })?;
        if let Some(at) = position(self.unread(), &greeting) {
            self.cursor += at + greeting.len();
            self.greeted = true;
        }
        Ok(self.greeted)
    }

    /// Fails unless the greeting comes, if there is to be one.
    pub(super) fn is_greeted(&mut self) -> Outcome {
        if self.await_greeting()? {
            return Ok(());
        }
        let greeting = self.wire().greeting.as_ref().map(|text| text.with("")).unwrap_or_default();
        let heard = match self.unread() {
            [] => "nothing".to_owned(),
            bytes => excerpt(bytes),
        };
        fail(
            format!("the server greets {} with {}", self.name, excerpt(&greeting)),
            match self.ended {
                Some(how) => format!("{how}; it said {heard}"),
                None => format!("within {:.1?} it says {heard}", self.world.patience()),
            },
        )
    }

    /// Asks what can be asked once more; returns the word that tells this request from others.
    pub(super) fn ask(&mut self) -> Step<Vec<u8>> {
        let token = format!("fp{}x{}", self.world.serial(), std::process::id());
        // Who speaks before the greeting is cut off by many; whoever is not greeted is not asked.
        if self.await_greeting()? {
            let request = self.request(&token);
            if !request.is_empty() {
                self.put(&request);
            }
        }
        self.spent = true;
        Ok(token.into_bytes())
    }

    /// Asks again and again, for as many `bytes` as the server takes without its answers being read;
    /// once where a connection has one answer.
    pub fn ask_without_reading(&mut self, bytes: usize) -> Outcome {
        self.world.act();
        self.await_greeting()?;
        let request = self.request("fp0");
        if request.is_empty() {
            return Ok(());
        }
        let times = match self.wire().again() {
            Again::Same => (bytes / request.len()).max(1),
            _ => 1,
        };
        self.say_without_reading(&request.repeat(times));
        Ok(())
    }

    /// A request that `token` tells from others; empty where clients do not ask.
    pub(super) fn request(&self, token: &str) -> Vec<u8> {
        let wire = self.wire();
        match (wire.kind, &wire.request) {
            (Kind::Exchange, Some(request)) => request.with(token),
            (Kind::Http, _) => self.get(),
            _ => Vec::new(),
        }
    }

    /// A GET (RFC 9110, 9.3.1).
    fn get(&self) -> Vec<u8> {
        let wire = self.wire();
        let path = wire.path.as_ref().map_or_else(|| b"/".to_vec(), |path| path.with(""));
        let connection = match wire.again() {
            Again::Same => "keep-alive",
            _ => "close",
        };
        let rest = format!(
            " HTTP/1.1\r\nHost: {}\r\nUser-Agent: forkproof\r\nConnection: {connection}\r\n\r\n",
            self.address
        );
        [b"GET ".as_slice(), &path, rest.as_bytes()].concat()
    }

    /// What has come so far of the request of that token.
    pub(super) fn answer(&self, token: &[u8]) -> Answer {
        let wire = self.wire();
        match wire.kind {
            Kind::Greeting if self.greeted => Answer::Right(self.cursor),
            Kind::Greeting => Answer::Missing,
            Kind::Http => {
                let expected = wire.status.unwrap_or(200);
                match http(self.unread(), self.ended.is_some()) {
                    Ok(Some(answer)) if answer.status == expected => {
                        Answer::Right(self.cursor + answer.end)
                    }
                    Ok(Some(answer)) => Answer::Wrong(format!(
                        "the answer has status {}, not {expected}",
                        answer.status
                    )),
                    Ok(None) => Answer::Missing,
                    Err(why) => Answer::Wrong(format!("the answer is no HTTP: {why}")),
                }
            }
            Kind::Exchange => {
                let token = String::from_utf8_lossy(token);
                let response = wire.response.as_ref().map(|text| text.with(&token));
                let until = wire.until.as_ref().unwrap_or(&Until::Place(Place::Line));
                let end = end_of(self.unread(), &response.unwrap_or_default(), until, self.ended);
                end.map_or(Answer::Missing, |end| Answer::Right(self.cursor + end))
            }
            Kind::Chat | Kind::Echo => self.find(token).map_or(Answer::Missing, Answer::Right),
        }
    }

    /// Whether this client, which may have been served before, is served now; fails when not.
    pub(super) fn is_answered(&mut self) -> Outcome {
        if self.spent {
            match self.wire().again() {
                // As it said (RFC 9112, 9.6).
                Again::Same if self.closes => self.reconnect()?,
                Again::Same => {}
                Again::Reconnect => self.reconnect()?,
                Again::None => return self.stays_beside_another(),
            }
        }
        let token = self.ask()?;
        self.await_answer(&token)
    }

    /// The answer comes; fails when not.
    pub(super) fn await_answer(&mut self, token: &[u8]) -> Outcome {
        let patience = self.world.patience();
        self.wait_for_answer(token)?;
        let expected = match self.wire().kind {
            Kind::Greeting => return self.is_greeted(),
            Kind::Http => format!("the server answers the GET of {}", self.name),
            _ => format!("the server answers {}", self.name),
        };
        if !self.greeted {
            return self.is_greeted();
        }
        let heard = match self.unread() {
            [] => "nothing".to_owned(),
            bytes => excerpt(bytes),
        };
        match (self.answer(token), self.ended) {
            (Answer::Right(end), _) => {
                self.take_answer(end);
                Ok(())
            }
            (Answer::Wrong(what), _) => fail(expected, format!("{what}: {heard}")),
            (Answer::Missing, Some(how)) => fail(expected, format!("{how}; it said {heard}")),
            (Answer::Missing, None) => {
                fail(expected, format!("no whole answer within {patience:.1?}; it said {heard}"))
            }
        }
    }

    /// Passes over the answer that ends there, and heeds what it says of the connection.
    pub(super) fn take_answer(&mut self, end: usize) {
        if self.wire().kind == Kind::Http {
            let answer = http(self.unread(), self.ended.is_some());
            self.closes = matches!(answer, Ok(Some(Http { closes: true, .. })));
        }
        self.cursor = end;
    }

    /// Waits until there is an answer or the connection has ended; for a while.
    pub(super) fn wait_for_answer(&mut self, token: &[u8]) -> Outcome {
        if self.wire().kind == Kind::Greeting {
            return self.await_greeting().map(drop);
        }
        let patience = self.world.patience();
        wait_for(&mut [self], patience, |clients| {
            clients[0].answer(token) != Answer::Missing || clients[0].ended.is_some()
        })
        .map(drop)
    }

    /// A connection that cannot be asked again is served as long as it stays open; that the server
    /// serves at all another one shows.
    fn stays_beside_another(&mut self) -> Outcome {
        let mut other = Self::connect(
            &self.world.clone(),
            &format!("another beside {}", self.name),
            self.address,
            None,
        )?;
        other.key.clone_from(&self.key);
        other.send_key()?;
        other.is_answered()?;
        other.leaves()?;
        self.pump();
        match self.ended {
            None => Ok(()),
            Some(how) => fail(format!("the connection of {} stays open", self.name), how),
        }
    }

    /// Ends the connection. A server that serves few at a time counts it until it has ended it too, so
    /// it gets the time to; it need not, and never fails for it.
    fn leaves(mut self) -> Outcome {
        if self.wire().clients.is_none() {
            return Ok(());
        }
        self.hangs_up(Shutdown::Write);
        let while_it_ends = self.world.patience() / 10;
        wait_for(&mut [&mut self], while_it_ends, |clients| clients[0].ended.is_some()).map(drop)
    }
}

/// Where the answer ends in `unread` that holds `response`; none as long as it is not whole.
fn end_of(
    unread: &[u8],
    response: &[u8],
    until: &Until,
    ended: Option<&'static str>,
) -> Option<usize> {
    let at = position(unread, response)? + response.len();
    let after = |mark: &[u8], from: usize| {
        let from = from.min(unread.len());
        position(&unread[from..], mark).map(|found| from + found + mark.len())
    };
    match until {
        Until::Place(Place::Match) => Some(at),
        // The response may hold the end of its line.
        Until::Place(Place::Line) => after(b"\n", at.saturating_sub(1)),
        Until::Place(Place::BlankLine) => {
            let from = at.saturating_sub(4);
            after(b"\r\n\r\n", from).or_else(|| after(b"\n\n", from))
        }
        Until::Place(Place::Close) => ended.map(|_| unread.len()),
        Until::Length(length) => {
            let length = *length as usize;
            (unread.len() >= length && at <= length).then_some(length)
        }
        Until::Mark(mark) => {
            let mark = mark.bytes.with("");
            after(&mark, at.saturating_sub(mark.len()))
        }
    }
}

/// What an HTTP answer says of itself.
#[derive(Debug, PartialEq)]
struct Http {
    status: u16,
    /// Its length.
    end: usize,
    /// Whether nothing may be asked on its connection any more (RFC 9112, 9.6).
    closes: bool,
}

/// The HTTP answer at the beginning of `bytes` (RFC 9112, 6.3); none as long as it is not whole.
fn http(bytes: &[u8], ended: bool) -> Result<Option<Http>, String> {
    const MOST_HEADERS: usize = 100;
    let mut begin = 0;
    loop {
        let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
        let mut head = httparse::Response::new(&mut headers);
        let rest = &bytes[begin..];
        let httparse::Status::Complete(length) =
            head.parse(rest).map_err(|error| error.to_string())?
        else {
            return Ok(None);
        };
        let status = head.code.unwrap_or(0);
        begin += length;
        // 100 Continue and its like come before the answer.
        if (100..200).contains(&status) {
            continue;
        }
        let value = |name: &str| {
            let header = head.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
            header.map(|header| String::from_utf8_lossy(header.value).trim().to_ascii_lowercase())
        };
        let body = &bytes[begin..];
        let length = if matches!(status, 204 | 304) {
            Some(0)
        } else if value("transfer-encoding").is_some_and(|codings| codings.ends_with("chunked")) {
            chunks(body)?
        } else if let Some(length) = value("content-length") {
            let length: usize =
                length.parse().map_err(|_| format!("a Content-Length of `{length}`"))?;
            (body.len() >= length).then_some(length)
        } else {
            ended.then_some(body.len())
        };
        let closes = value("connection")
            .is_some_and(|options| options.split(',').any(|option| option.trim() == "close"));
        return Ok(length.map(|length| Http { status, end: begin + length, closes }));
    }
}

/// The length of a body in chunks (RFC 9112, 7.1); none as long as it is not whole.
fn chunks(body: &[u8]) -> Result<Option<usize>, String> {
    let mut at = 0;
    loop {
        let size = httparse::parse_chunk_size(&body[at..]).map_err(|_| "a bad chunk".to_owned())?;
        let httparse::Status::Complete((head, size)) = size else { return Ok(None) };
        at += head;
        if size == 0 {
            // The trailers end with an empty line.
            let trailers = &body[at..];
            if trailers.starts_with(b"\r\n") {
                return Ok(Some(at + 2));
            }
            return Ok(position(trailers, b"\r\n\r\n").map(|end| at + end + 4));
        }
        let size = usize::try_from(size).map_err(|_| "a chunk too large".to_owned())?;
        at = at.saturating_add(size).saturating_add(2);
        if at > body.len() {
            return Ok(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcrest", Some((200, 41, false)))]
    #[case("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", None)]
    #[case("HTTP/1.1 200 OK\r\nContent-Le", None)]
    #[case("HTTP/1.0 404 Not Found\r\n\r\nbody", None)]
    #[case("HTTP/1.1 204 No Content\r\n\r\n", Some((204, 27, false)))]
    #[case("HTTP/1.1 204 No Content\r\nConnection: x, Close\r\n\r\n", Some((204, 49, true)))]
    #[case(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        Some((200, 60, false))
    )]
    #[case("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n", None)]
    fn answers_of_http_are_measured(
        #[case] text: &str,
        #[case] expected: Option<(u16, usize, bool)>,
    ) {
        let expected = expected.map(|(status, end, closes)| Http { status, end, closes });
        assert_eq!(http(text.as_bytes(), false), Ok(expected));
    }

    #[test]
    fn a_body_without_a_length_ends_with_the_connection() {
        let text = b"HTTP/1.0 200 OK\r\n\r\nbody";
        assert_eq!(http(text, false), Ok(None));
        assert_eq!(
            http(text, true),
            Ok(Some(Http { status: 200, end: text.len(), closes: false }))
        );
        assert!(http(b"220 mail.example.org\r\n", false).is_err());
    }

    #[rstest]
    #[case("+PONG abc\r\nmore", "PONG abc", Place::Line, Some(11))]
    #[case("+PONG abc\r", "PONG abc", Place::Line, None)]
    #[case("+PONG abc\n", "PONG abc\n", Place::Line, Some(10))]
    #[case("abc", "abc", Place::Match, Some(3))]
    #[case("a: abc\r\nb\r\n\r\nmore", "abc", Place::BlankLine, Some(13))]
    #[case("abc and more", "abc", Place::Close, None)]
    fn answers_end_where_they_should(
        #[case] unread: &str,
        #[case] response: &str,
        #[case] place: Place,
        #[case] expected: Option<usize>,
    ) {
        let until = Until::Place(place);
        assert_eq!(end_of(unread.as_bytes(), response.as_bytes(), &until, None), expected);
    }

    #[test]
    fn an_answer_of_a_length_is_no_shorter() {
        assert_eq!(end_of(b"N", b"N", &Until::Length(1), None), Some(1));
        assert_eq!(end_of(b"N", b"N", &Until::Length(2), None), None);
        assert_eq!(end_of(b"abc", b"abc", &Until::Place(Place::Close), Some("closed")), Some(3));
    }
}
