//! TLS in front, as the README says: a real stunnel(8) on either side. Where there is none, the test
//! says so and ends.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use rstest::rstest;
use tempfile::TempDir;

use super::common::{KEY, PATIENCE, private};
use super::world::{dir, hears_itself, serve_on_loopback, until};

fn found(names: &[&str]) -> Option<PathBuf> {
    let places = std::env::var_os("PATH")?;
    // Debian has stunnel in a directory that not every user looks into.
    let mut places: Vec<PathBuf> = std::env::split_paths(&places).collect();
    places.push("/usr/bin".into());
    places.push("/usr/sbin".into());
    places
        .iter()
        .flat_map(|place| names.iter().map(move |name| place.join(name)))
        .find(|path| path.is_file())
}

struct Tunnel(Child);

impl Drop for Tunnel {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A stunnel in the foreground with this configuration, once it accepts at `port`.
fn tunnel(stunnel: &Path, dir: &Path, name: &str, text: &str, port: u16) -> Tunnel {
    let file = dir.join(name);
    std::fs::write(&file, format!("foreground = yes\npid =\nsyslog = no\n{text}")).unwrap();
    let tunnel = Tunnel(
        Command::new(stunnel)
            .arg(file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(dir.join(format!("{name}.messages"))).unwrap())
            .spawn()
            .unwrap(),
    );
    until(name, || TcpStream::connect(("127.0.0.1", port)).ok());
    tunnel
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Passes on what comes, and keeps it: somebody on the way. Returns its port.
fn eavesdropper(to: u16, heard: Arc<Mutex<Vec<u8>>>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(server) = TcpStream::connect(("127.0.0.1", to)) else { continue };
            let ways =
                [(client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client)];
            for (mut from, mut to) in ways {
                let heard = heard.clone();
                std::thread::spawn(move || {
                    let mut buffer = [0; 4096];
                    while let Ok(count @ 1..) = from.read(&mut buffer) {
                        heard.lock().unwrap().extend_from_slice(&buffer[..count]);
                        if to.write_all(&buffer[..count]).is_err() {
                            break;
                        }
                    }
                    let _ = to.shutdown(std::net::Shutdown::Write);
                });
            }
        }
    });
    port
}

#[rstest]
fn a_chat_behind_stunnel(dir: TempDir) {
    let (Some(stunnel), Some(openssl)) = (found(&["stunnel4", "stunnel"]), found(&["openssl"]))
    else {
        eprintln!("skipped: needs stunnel and openssl (Debian: stunnel4, openssl)");
        return;
    };
    let path = |name: &str| dir.path().join(name);
    let made = Command::new(openssl)
        .args([
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=chat.test",
        ])
        .args(["-addext", "subjectAltName=DNS:chat.test", "-keyout"])
        .arg(path("tls.key"))
        .arg("-out")
        .arg(path("tls.pem"))
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let (certificate, secret) =
        (std::fs::read(path("tls.pem")).unwrap(), std::fs::read(path("tls.key")).unwrap());
    private(&path("both.pem"), &[secret, certificate].concat());

    let (_server, address) = serve_on_loopback(dir.path(), &[]);
    let (outside, inside) = (free_port(), free_port());
    let shown = path("both.pem").display().to_string();
    let text =
        format!("cert = {shown}\n[chat]\naccept = 127.0.0.1:{outside}\nconnect = {address}\n");
    let _server_side = tunnel(&stunnel, dir.path(), "server.conf", &text, outside);
    let heard = Arc::new(Mutex::new(Vec::new()));
    let on_the_way = eavesdropper(outside, heard.clone());
    let client_side = |name: &str, host: &str, accept: u16| {
        let authority = path("tls.pem").display().to_string();
        let text = format!(
            "client = yes\n[chat]\naccept = 127.0.0.1:{accept}\nconnect = 127.0.0.1:{on_the_way}\n\
             verifyChain = yes\nCAfile = {authority}\ncheckHost = {host}\n"
        );
        tunnel(&stunnel, dir.path(), name, &text, accept)
    };
    let _client_side = client_side("client.conf", "chat.test", inside);
    let enter = |port: u16| {
        let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let _ = client.write_all(&KEY);
        client
    };
    let (mut alice, mut bob) = (enter(inside), enter(inside));
    assert!(hears_itself(&mut bob, "bob: is here\n"));
    assert!(hears_itself(&mut alice, "alice: nobody else hears this\n"));
    let mut line = Vec::new();
    let mut byte = [0];
    while !line.ends_with(b"nobody else hears this\n") {
        assert_eq!(bob.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&line));
        line.push(byte[0]);
    }
    let heard = heard.lock().unwrap();
    let was_heard = |words: &[u8]| heard.windows(words.len()).any(|window| window == words);
    assert!(heard.len() > 1000, "{} bytes", heard.len());
    assert!(!was_heard(&KEY[..16]) && !was_heard(b"nobody else"));
    // Another's certificate opens nothing.
    drop(heard);
    let other = free_port();
    let _wrong = client_side("wrong.conf", "other.test", other);
    assert!(!hears_itself(&mut enter(other), "to whom?\n"));
}
