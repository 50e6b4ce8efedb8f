//! What a browser asks of a file server.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::symlink;
use std::time::{Duration, SystemTime};

use rstest::rstest;

use crate::http::{ask, connect, get, raw, read_response};
use crate::world::World;

#[test]
fn files_directories_and_methods() {
    let world = World::new();
    fs::create_dir(world.path("www/empty")).unwrap();
    fs::create_dir(world.path("www/sub")).unwrap();
    world.write("www/sub/index.html", "the other index");
    world.write("www/a b.css", "body {}");
    world.write("www/.hidden", "hidden");
    nix::unistd::mkfifo(&world.path("www/fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let large: Vec<u8> = (0..3_000_000u32).map(|number| (number / 7) as u8).collect();
    world.write("www/large", &large);
    let webd = world.serve(&[]);
    let at = webd.address();

    let index = get(at, "/");
    assert_eq!((index.status, index.text()), (200, "the index"));
    assert_eq!(index.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(get(at, "/?query").text(), "the index");
    assert_eq!(raw(at, b"GET http://test/ HTTP/1.0\r\n\r\n").unwrap().text(), "the index");
    let css = get(at, "/a%20b.css");
    assert_eq!((css.text(), css.header("content-type")), ("body {}", "text/css; charset=utf-8"));
    assert!(get(at, "/large").body == large, "every byte");

    let moved = get(at, "/sub?q=1");
    assert_eq!((moved.status, moved.header("location")), (301, "/sub/?q=1"));
    assert_eq!(get(at, "//sub").header("location"), "/sub/", "never another host");
    assert_eq!(get(at, "/sub/").text(), "the other index");
    for missing in ["/empty/", "/no", "/index.html/", "/index.html/x", "/fifo", "/.hidden"] {
        assert_eq!(get(at, missing).status, 404, "{missing}");
    }
    let head = ask(at, "HEAD", "/large", "");
    assert_eq!((head.status, head.header("content-length")), (200, "3000000"));
    let post = ask(at, "POST", "/", "Content-Length: 0\r\n");
    assert_eq!((post.status, post.header("allow")), (405, "GET, HEAD"));
    assert_eq!(ask(at, "DELETE", "/", "").status, 405);
}

#[rstest]
#[case("bytes=0-3", 206, "0123", "bytes 0-3/10")]
#[case("bytes=7-", 206, "789", "bytes 7-9/10")]
#[case("bytes=-2", 206, "89", "bytes 8-9/10")]
#[case("bytes=5-100", 206, "56789", "bytes 5-9/10")]
#[case("bytes=10-", 416, "", "bytes */10")]
#[case("bytes=0-1,3-4", 200, "0123456789", "")]
#[case("bytes=4-2", 200, "0123456789", "")]
#[case("elephants=0-1", 200, "0123456789", "")]
fn ranges(#[case] range: &str, #[case] status: u16, #[case] body: &str, #[case] part: &str) {
    let world = World::new();
    world.write("www/ten", "0123456789");
    let webd = world.serve(&["--workers", "1"]);
    let response = ask(webd.address(), "GET", "/ten", &format!("Range: {range}\r\n"));
    assert_eq!((response.status, response.header("content-range")), (status, part));
    if status != 416 {
        assert_eq!(response.text(), body);
    }
    let head = ask(webd.address(), "HEAD", "/ten", &format!("Range: {range}\r\n"));
    assert_eq!(head.status, 200, "a range is GET's only");
}

#[test]
fn conditions() {
    let world = World::new();
    let modified = SystemTime::now() - Duration::from_secs(3600);
    File::options()
        .write(true)
        .open(world.path("www/index.html"))
        .unwrap()
        .set_modified(modified)
        .unwrap();
    let webd = world.serve(&[]);
    let plain = get(webd.address(), "/");
    let (tag, date) = (plain.header("etag"), plain.header("last-modified"));
    assert!(tag.starts_with('"') && !date.is_empty(), "{tag} {date}");
    let status = |headers: String| ask(webd.address(), "GET", "/", &headers).status;
    let later = "Fri, 01 Jan 2100 00:00:00 GMT";
    let earlier = "Sat, 01 Jan 2000 00:00:00 GMT";
    for (headers, expected) in [
        (format!("If-None-Match: {tag}\r\n"), 304),
        (format!("If-None-Match: \"x\", W/{tag}\r\n"), 304),
        ("If-None-Match: *\r\n".to_owned(), 304),
        ("If-None-Match: \"x\"\r\n".to_owned(), 200),
        (format!("If-Modified-Since: {date}\r\n"), 304),
        (format!("If-Modified-Since: {earlier}\r\n"), 200),
        ("If-Modified-Since: nonsense\r\n".to_owned(), 200),
        (format!("If-None-Match: \"x\"\r\nIf-Modified-Since: {later}\r\n"), 200),
        (format!("If-Match: {tag}\r\n"), 200),
        (format!("If-Match: W/{tag}\r\n"), 412),
        ("If-Match: \"x\"\r\n".to_owned(), 412),
        (format!("If-Unmodified-Since: {earlier}\r\n"), 412),
        (format!("If-Unmodified-Since: {date}\r\n"), 200),
        (format!("Range: bytes=0-0\r\nIf-Range: {tag}\r\n"), 206),
        (format!("Range: bytes=0-0\r\nIf-Range: {date}\r\n"), 206),
        ("Range: bytes=0-0\r\nIf-Range: \"x\"\r\n".to_owned(), 200),
        (format!("Range: bytes=0-0\r\nIf-Range: {earlier}\r\n"), 200),
    ] {
        assert_eq!(status(headers.clone()), expected, "{headers}");
    }
}

#[test]
fn no_spelling_of_a_path_leaves_the_directory() {
    let world = World::new();
    world.write("secret", "SECRET");
    world.write("www/inside", "inside");
    symlink("../secret", world.path("www/out")).unwrap();
    symlink("..", world.path("www/up")).unwrap();
    symlink("/", world.path("www/root")).unwrap();
    symlink("inside", world.path("www/link")).unwrap();
    let secret = world.path("secret");
    let absolute = secret.to_str().unwrap();
    let webd = world.serve(&[]);
    let dots = [
        "..",
        "%2e%2e",
        "%2E.",
        ".%2e",
        "%252e%252e",
        "..%00",
        "..;",
        "..%c0%af",
        "%c0%ae%c0%ae",
        "..%5c",
        "..\\",
    ];
    let mut targets: Vec<String> = dots
        .iter()
        .flat_map(|dots| {
            [
                format!("/{dots}/secret"),
                format!("/x/{dots}/{dots}/secret"),
                format!("/{dots}%2fsecret"),
                format!("//{dots}//secret"),
                format!("{dots}/secret"),
            ]
        })
        .collect();
    targets.extend([
        "/out".into(),
        "/up/secret".into(),
        format!("/root{absolute}"),
        format!("/{absolute}"),
        absolute.replace('/', "%2f"),
        format!("/%2f{absolute}"),
        "/up/www/inside".into(),
        "http://test/../secret".into(),
    ]);
    for target in targets {
        let request = format!("GET {target} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        // A target that is none may be answered by the end of the connection alone.
        let Ok(response) = raw(webd.address(), request.as_bytes()) else { continue };
        assert!([400, 403, 404].contains(&response.status), "{target}: {}", response.status);
        assert!(!response.text().contains("SECRET"), "{target}");
    }
    assert_eq!(
        get(webd.address(), "/link").status,
        if cfg!(target_os = "linux") { 200 } else { 403 }
    );
    drop(webd);
    let webd = world.serve(&["--links", "none", "--hidden"]);
    assert_eq!(get(webd.address(), "/link").status, 403);
    assert_eq!(get(webd.address(), "/inside").status, 200);
    assert_eq!(get(webd.address(), "/%2e%2e/secret").status, 400);
}

/// Each change shows in the very next response, however fast changes follow one another.
#[test]
fn what_is_served_is_never_stale() {
    let world = World::new();
    let webd = world.serve(&["--workers", "1"]);
    for number in 1000..1500 {
        let content = number.to_string();
        if number % 2 == 0 {
            world.write("www/file", &content);
        } else {
            world.write("www/new", &content);
            fs::rename(world.path("www/new"), world.path("www/file")).unwrap();
        }
        assert_eq!(get(webd.address(), "/file").text(), content);
        assert_eq!(get(webd.address(), "/file").text(), content);
    }
    fs::remove_file(world.path("www/file")).unwrap();
    assert_eq!(get(webd.address(), "/file").status, 404);
}

/// Files that are not in the cache, one after another in one connection, to a client that reads
/// slowly; and to some that leave in the middle.
#[test]
fn large_files_take_turns() {
    let world = World::new();
    let large: Vec<u8> = (0..9_000_000u32).map(|number| (number / 7) as u8).collect();
    world.write("www/large", &large);
    let webd = world.serve(&["--workers", "1"]);
    for _ in 0..20 {
        let mut leaves = connect(webd.address()).unwrap();
        leaves.write_all(b"GET /large HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
        leaves.read_exact(&mut [0; 100_000]).unwrap();
    }
    let request =
        |target: &str, range: &str| format!("GET {target} HTTP/1.1\r\nHost: test\r\n{range}\r\n");
    let requests = [
        request("/large", ""),
        request("/", ""),
        request("/large", "Range: bytes=1000001-8999990\r\n"),
        request("/large", "Range: bytes=8999990-\r\n"),
        request("/", ""),
    ];
    let mut stream = connect(webd.address()).unwrap();
    stream.write_all(requests.concat().as_bytes()).unwrap();
    let mut reader = BufReader::with_capacity(5000, stream);
    let mut next = || read_response(&mut reader, false).unwrap().body;
    assert!(next() == large, "every byte");
    assert_eq!(next(), b"the index");
    assert!(next() == large[1_000_001..=8_999_990], "every byte of the part");
    assert!(next() == large[8_999_990..]);
    assert_eq!(next(), b"the index");
    assert_eq!(webd.workers().len(), 1);
    assert!(!webd.messages().contains("replaced"), "{}", webd.messages());
}

/// Its promised length cannot be kept: the connection ends, and nothing else does.
#[test]
fn a_file_that_shrinks_while_it_is_served() {
    const LENGTH: u64 = 64 << 20;
    let world = World::new();
    let file = File::create(world.path("www/shrinks")).unwrap();
    file.set_len(LENGTH).unwrap();
    let webd = world.serve(&["--workers", "1"]);
    let mut stream = connect(webd.address()).unwrap();
    stream.write_all(b"GET /shrinks HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert!(line.contains(" 200 "), "{line}");
    file.set_len(1000).unwrap();
    let mut rest = Vec::new();
    let _ = reader.read_to_end(&mut rest);
    assert!((rest.len() as u64) < LENGTH);
    assert_eq!(get(webd.address(), "/").text(), "the index");
    assert_eq!(webd.workers().len(), 1);
    assert!(!webd.messages().contains("replaced"), "{}", webd.messages());
}
