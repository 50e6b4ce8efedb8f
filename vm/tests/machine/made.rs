//! What a machine is made of, and how somebody logs in to it.

use std::path::Path;
use std::process::Command;

use rstest::rstest;

use crate::world::{IMAGE, PRELUDE, PROGRAM, World};

/// No network; the base behind an overlay; the seed and the two disks; the reboot is the end.
#[test]
fn a_machine_is_made_of_what_it_should_be() {
    let world = World::new(
        r#"started; tar xOf "$job" run.sh > "$WORLD/run.sh"; tar tf "$job" > "$WORLD/members"
        result 0 conformant"#,
    );
    let ended = world.run(&["--memory", "96", "--", "listen/*", "it's", "--level", "must"]);
    assert_eq!(ended.status, Some(0), "{ended:?}");
    let read = |name: &str| std::fs::read_to_string(world.dir.path().join(name)).expect("read");
    let arguments = read("arguments");
    for words in [
        "-nic\nnone\n",
        "-sandbox\non,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny\n",
        "-no-reboot\n",
        "-accel\ntcg,thread=multi\n",
        "-m\n96\n",
        "overlay.qcow2\n",
        "seed.iso\n",
    ] {
        assert!(arguments.contains(words), "{words}: {arguments}");
    }
    assert!(!arguments.contains("disk.raw"), "the base itself: {arguments}");
    assert_eq!(read("members"), "run.sh\nforkproof\n");
    assert!(read("run.sh").contains(r"'listen/*' 'it'\''s' '--level' 'must'"));
}

/// Its emulator, its board, its program, whose numbers begin with the high byte; and no KVM, which runs
/// the host's processor alone.
#[test]
#[cfg(not(target_arch = "s390x"))]
fn a_machine_of_another_processor() {
    let world = World::new("exit 9");
    world.script("qemu-system-s390x", &format!("{PRELUDE}started; result 0 conformant\n"));
    let described = |architecture: &str| {
        let description = world.dir.path().join("config/forkproof/images/mine.toml");
        let text = std::fs::read_to_string(&description).expect("read");
        let before = text.lines().find(|line| line.starts_with("architecture")).expect("there");
        let text = text.replace(before, &format!("architecture = \"{architecture}\""));
        std::fs::write(&description, text).expect("written");
    };
    described("s390x");
    let payload = world.payload();
    let mut program = std::fs::read(&payload).expect("read");
    program[5] = 2;
    program[16..20].copy_from_slice(&[0, 2, 0, 22]);
    std::fs::write(&payload, program).expect("written");
    let ended = world.run(&[]);
    assert_eq!(ended.status, Some(0), "{ended:?}");
    let arguments = std::fs::read_to_string(world.dir.path().join("arguments")).expect("read");
    let words = ["-machine\ns390-ccw-virtio\n", "-device\nvirtio-rng-ccw\n", "tcg,thread=multi\n"];
    for words in words {
        assert!(arguments.contains(words), "{words}: {arguments}");
    }
    let ended = world.run(&["--accel", "kvm"]);
    assert_eq!(ended.status, Some(2), "{ended:?}");
    assert!(ended.errors[0].contains("which this host's processor does not run"), "{ended:?}");

    described("aarch64");
    let ended = world.run(&[]);
    assert_eq!(ended.status, Some(2), "{ended:?}");
    assert!(ended.errors[0].contains("only images that are built here"), "{ended:?}");
}

#[test]
fn a_qemu_without_a_sandbox_is_told_and_used() {
    let world = World::new("started; result 0 conformant");
    std::fs::write(world.dir.path().join("no-sandbox"), "").expect("written");
    let output = world.command(&[]).output().expect("run");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");
    let words = "mine: runs QEMU without its sandbox: it ended with status 1: no -sandbox\n";
    assert!(errors.contains(words), "{errors}");
    let arguments = std::fs::read_to_string(world.dir.path().join("arguments")).expect("read");
    assert!(!arguments.contains("-sandbox"), "{arguments}");
}

/// Such a disk would let a guest read any file of the host.
#[rstest]
#[case("disk.qcow2", 0x200, 0, "it is a qcow2 disk that needs a backing file")]
#[case("disk.qcow2", 0, 4, "it is a qcow2 disk whose data are in another file")]
#[case("disk.img", 0x200, 0, "it is a qcow2 disk that needs a backing file")]
#[case("disk.raw", 0, 0, "its name says raw, and it begins as a qcow2 disk does")]
fn a_disk_of_ones_own_stands_alone(
    #[case] name: &str,
    #[case] backing: u16,
    #[case] features: u8,
    #[case] words: &str,
) {
    let world = World::new("started; result 0 conformant");
    let mut header = vec![0; 1024];
    header[..8].copy_from_slice(b"QFI\xfb\0\0\0\x03");
    header[14..16].copy_from_slice(&backing.to_be_bytes());
    header[79] = features;
    let disk = world.dir.path().join(name);
    std::fs::write(&disk, header).expect("written");
    let mut command = Command::new(PROGRAM);
    command.args(["run", "--image"]).arg(&disk).arg("--payload").arg(world.payload());
    let output = world.environment(&mut command).output().expect("run");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(world.emulator().is_none(), "it was booted: {errors}");
    assert_eq!(output.status.code(), Some(2), "{errors}");
    let expected = format!("forkproof: {} cannot be booted: {words}", disk.display());
    assert!(errors.starts_with(&expected), "{errors}");
    assert_eq!(errors.lines().count(), 1, "{errors}");
}

/// A server of the user's own lies beside `forkproof`, with its permissions.
#[test]
fn what_is_added_goes_along() {
    let world = World::new(
        r#"started; tar tvf "$job" > "$WORLD/members"; tar xOf "$job" server.toml > "$WORLD/read"
        result 0 conformant"#,
    );
    let path = |name: &str| world.dir.path().join(name);
    std::fs::write(path("server.toml"), "the manifest").expect("written");
    std::fs::create_dir(path("src")).expect("made");
    world.script("server", "#!/bin/sh\n");
    std::fs::rename(path("bin/server"), path("src/server")).expect("moved");
    let ended = world.run(&["--add", "server.toml", "--add", "src/server", "--add", "src"]);
    assert_eq!(ended.status, Some(0), "{ended:?}");
    let members = std::fs::read_to_string(path("members")).expect("read");
    let lines: Vec<Vec<&str>> =
        members.lines().map(|line| line.split_whitespace().collect()).collect();
    let listed: Vec<(&str, &str)> =
        lines.iter().map(|words| (words[0], words[words.len() - 1])).collect();
    assert_eq!(
        listed,
        [
            ("-rwxr-xr-x", "run.sh"),
            ("-rwxr-xr-x", "forkproof"),
            ("-rw-r--r--", "server.toml"),
            ("-rwxr-xr-x", "server"),
            ("drwxr-xr-x", "src/"),
            ("-rwxr-xr-x", "src/server"),
        ]
    );
    assert_eq!(std::fs::read_to_string(path("read")).expect("read"), "the manifest");
    world.is_clean();
}

#[test]
fn what_cannot_be_used_is_known_before_the_machine_is_made() {
    let world = World::new("started; result 0 conformant");
    let ended = world.run(&["--add", "server.toml"]);
    assert_eq!(ended.status, Some(2), "{ended:?}");
    assert!(ended.errors[0].contains("--add server.toml: No such file"), "{ended:?}");
    let ended = world.run(&["--append", "ipv6.disable=1"]);
    assert_eq!(ended.status, Some(2), "{ended:?}");
    assert!(ended.errors[0].contains("--append: image `mine` starts its kernel"), "{ended:?}");
    assert!(world.emulator().is_none());
}

/// An image without cloud-init is logged in to, and the seed's script is started there.
#[test]
fn a_serial_console_is_logged_in_to() {
    // A line's end is a carriage return, as a keyboard's is; it would take a terminal to make it a
    // newline.
    let world = World::new(
        r#"typed() {
            while byte=$(dd bs=1 count=1 2> /dev/null) && [ "$byte" != "$(printf '\r')" ]; do
                printf %s "${byte:- }"
            done
            echo
        }
        { printf 'FreeBSD/amd64 (Amnesiac) (ttyu0)\r\n\r\nlogin: ' >&2; typed
        printf 'Password:' >&2; typed
        printf 'Welcome!\r\nroot@:~ # ' >&2; typed; } 2>&1 > "$WORLD/typed"
        started; result 0 conformant"#,
    );
    world.describe(IMAGE, "{ serial-login = { login = 'root', password = 'secret' } }");
    let ended = world.run(&["--boot-limit", "20"]);
    let typed = std::fs::read_to_string(world.dir.path().join("typed")).unwrap_or_default();
    assert_eq!(ended.status, Some(0), "{ended:?} {typed}");
    let lines: Vec<&str> = typed.lines().collect();
    assert_eq!(lines[..2], ["root", "secret"]);
    assert!(lines[2].contains("/dev/iso9660/cidata"), "{lines:?}");
    assert!(lines[2].ends_with("; sh /mnt/user-data serial"), "{lines:?}");
    world.is_clean();
}

/// The system of a guest says which program is put into it. Nothing else tells FreeBSD that is logged in
/// to from a Linux that is.
#[test]
fn a_disk_of_ones_own_says_its_system() {
    let world = World::new(
        r#"printf 'login: '; dd bs=1 count=5 of="$WORLD/typed" 2> /dev/null
        tar xOf "$job" forkproof | dd bs=1 skip=7 count=1 2> /dev/null | od -An -tu1 > "$WORLD/system"
        started; result 0 conformant"#,
    );
    let path = |name: &str| world.dir.path().join(name);
    std::fs::write(path("disk.raw"), vec![0; 4096]).expect("written");
    let mut header = std::fs::read(world.payload()).expect("read");
    header[7] = 9; // ELFOSABI_FREEBSD
    std::fs::write(path("for-freebsd"), header).expect("written");
    let login = "[first_boot.serial-login]\nlogin = 'root'\n";
    let run = |system: &str| {
        std::fs::write(path("disk.toml"), format!("{system}{login}")).expect("written");
        let mut command = Command::new(PROGRAM);
        command.args(["run", "--boot-limit", "20", "--image"]).arg(path("disk.raw"));
        command.arg("--payload").arg(path("for-freebsd"));
        let output = world.environment(&mut command).output().expect("run");
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), errors)
    };
    let (status, errors) = run("");
    assert_eq!(status, Some(2), "{errors}");
    let words = "not fit for a 64-bit x86 Linux guest (for FreeBSD). The description of a FreeBSD \
                 guest, or FILE.toml beside --image FILE.qcow2, says `system = \"freebsd\"`";
    assert_eq!(errors, format!("forkproof: payload {}: {words}\n", path("for-freebsd").display()));
    assert!(world.emulator().is_none(), "it was booted");
    let (status, errors) = run("system = 'freebsd'\n");
    assert_eq!(status, Some(0), "{errors}");
    let system = std::fs::read_to_string(path("system")).expect("read");
    assert_eq!(system.trim(), "9", "its program is the one for FreeBSD");
    world.is_clean();
}

/// Where the console is silent, keys are pressed: QEMU hears of them over its machine protocol.
#[test]
fn a_silent_machine_is_logged_in_to_blind() {
    let world = World::new(
        r#"for argument; do case $argument in socket,id=keyboard,fd=*) fd=${argument##*=} ;; esac; done
        exec 8<&"$fd"
        while read -r line <&8; do
            echo "$line" >> "$WORLD/keys"
            case $line in *'"ret"'*) break ;; esac
        done
        started; result 0 conformant"#,
    );
    world.describe(IMAGE, "{ keyboard = { login = 'ab', after = 0, terminal = 0 } }");
    let ended = world.run(&["--boot-limit", "30"]);
    assert_eq!(ended.status, Some(0), "{ended:?}");
    let keys = std::fs::read_to_string(world.dir.path().join("keys")).expect("keys");
    let said: Vec<serde_json::Value> =
        keys.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(said[0]["execute"], "qmp_capabilities");
    let pressed: Vec<Vec<&str>> = said[1..]
        .iter()
        .map(|command| {
            assert_eq!(command["execute"], "send-key");
            let keys = command["arguments"]["keys"].as_array().expect("keys");
            keys.iter().map(|key| key["data"].as_str().expect("a name")).collect()
        })
        .collect();
    assert_eq!(pressed, [vec!["ctrl", "c"], vec!["a"], vec!["b"], vec!["ret"]]);
    let arguments = std::fs::read_to_string(world.dir.path().join("arguments")).expect("read");
    assert!(arguments.contains("chardev=keyboard,mode=control\n"), "{arguments}");
    world.is_clean();
}

#[test]
fn a_missing_emulator_is_named_with_its_package() {
    let world = World::new("");
    std::fs::remove_file(world.dir.path().join("bin/qemu-system-x86_64")).expect("removed");
    let mut command = world.command(&[]);
    // A PATH without the real one.
    let output = command.env("PATH", world.dir.path().join("bin")).output().expect("run");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{errors}");
    assert!(errors.contains("`qemu-system-x86_64` is not installed: "), "{errors}");
}

#[rstest]
#[case(&["run", "mine", "mine"], "named twice")]
#[case(&["run", "min"], "did you mean `mine`?")]
#[case(&["run", "mine", "--payload", "/etc/passwd"], "it is no ELF program")]
#[case(&["build", "mine"], "is not built here")]
fn wrong_usage(#[case] arguments: &[&str], #[case] words: &str) {
    let world = World::new("started; result 0 conformant");
    let own = world.payload();
    let payloads = world.dir.path().join("payloads");
    std::fs::create_dir(&payloads).expect("made");
    std::fs::copy(own, payloads.join("forkproof")).expect("copied");
    let mut command = Command::new(PROGRAM);
    let output = world
        .environment(command.args(arguments).env("FORKPROOF_PAYLOADS", &payloads))
        .output()
        .expect("run");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(errors.contains(words), "{errors}");
}

/// A system's emulator is not needed when another is named.
#[test]
fn an_emulator_of_ones_own() {
    let world = World::new("exit 9");
    world.script("my-qemu", &format!("{PRELUDE}started; result 0 conformant\n"));
    let own: &Path = &world.dir.path().join("bin/my-qemu");
    assert_eq!(world.run(&["--qemu", &own.to_string_lossy()]).status, Some(0));
}
