//! What runs in the guest: scripts for any POSIX shell, busybox's and FreeBSD's included.
//!
//! ```text
//! bootstrap   finds the job's disk, unpacks it, runs run.sh, powers off: the agent of built
//!             images, and the user-data of the seed
//! run.sh      first member of the job's disk: runs `forkproof`, writes the result's disk
//! ```
//!
//! Nothing here uses more than POSIX says of `sh`, `dd`, `sed`, `tr` and `mkdir`, and of `tar` what
//! GNU's, busybox's and FreeBSD's have in common.

use std::fmt::Write;

use super::disks::{OUT_MAGIC, RUN_MEMBER};
use super::seed;
use super::stamp::Stamp;

/// What the console shows, followed by the stamp, once `run.sh` runs.
pub(crate) const STARTED: &str = "forkproof-guest: started";

/// What it shows, followed by the stamp, once the result is on its disk.
pub(crate) const WRITTEN: &str = "forkproof-guest: result written";

/// What a job does in the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Work {
    /// The suite.
    Suite {
        /// Options of `forkproof run`.
        options: Vec<String>,
        /// Whether `forkproof probe` measures the guest's facts, too.
        facts: bool,
    },
    /// Nothing but a result: shows that machines of this kind run and write at all.
    Canary,
    /// A shell on the console; first, if there is an id, that requirement alone with `--keep` and
    /// these options of `forkproof run`.
    Shell {
        /// The requirement.
        id: Option<String>,
        /// More options for it.
        options: Vec<String>,
    },
}

/// `words` so that a shell takes it as one word.
pub(crate) fn quoted(words: &str) -> String {
    format!("'{}'", words.replace('\'', r"'\''"))
}

/// Each of them quoted, after a space.
fn as_words(options: &[String]) -> String {
    options.iter().fold(String::new(), |words, option| words + " " + &quoted(option))
}

/// Finds the disk that begins with the line `first`, by nothing but that: the names differ from
/// system to system, and their order from boot to boot. Sets `variable` to it, or to nothing.
fn find_disk(variable: &str, first: &str) -> String {
    // Linux: virtio, SCSI. FreeBSD: virtio_blk(4), ada(4), da(4); disks are character devices
    // there. NUL becomes a line's end, since a tar's first bytes are its first member's name.
    format!(
        r#"{variable}=
for disk in /dev/vd? /dev/vtbd? /dev/sd? /dev/ada? /dev/da?; do
    [ -e "$disk" ] || continue
    first=$(dd if="$disk" bs=512 count=1 2>/dev/null | LC_ALL=C tr '\000' '\n' | LC_ALL=C sed 1q)
    if [ "$first" = {first} ]; then {variable}=$disk; break; fi
done
"#,
        first = quoted(first)
    )
}

/// The script that every guest begins with, whoever runs it as root.
pub(crate) fn bootstrap() -> String {
    // Modules may still be on their way, and a tmpfs may forbid programs: /tmp, /var/tmp, /root are
    // tried for one that doesn't.
    format!(
        r#"#!/bin/sh
# forkproof: finds the job's disk and runs it.
PATH=/sbin:/bin:/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin
export PATH
console=/dev/console
# Where somebody has logged in to type this: on the serial port, or on the screen, which nobody sees.
typed=$1
if [ -n "$typed" ]; then
    for device in /dev/ttyS0 /dev/ttyu0 /dev/ttyAMA0 /dev/ttysclp0; do [ ! -c "$device" ] || console=$device; done
fi
export console typed
{find}if [ -z "$job" ]; then
    echo 'forkproof-guest: no disk begins with {RUN_MEMBER}' > "$console"
else
    for parent in /tmp /var/tmp /root; do
        dir=$parent/forkproof-job.$$
        # Root's alone to change, but to be passed by the users as whom servers are started.
        (umask 022 && mkdir "$dir") || continue
        dd if="$job" bs=65536 2>/dev/null | (cd "$dir" && tar xf -)
        if [ -f "$dir/{RUN_MEMBER}" ]; then sh "$dir/{RUN_MEMBER}" < /dev/null; break; fi
        rm -rf "$dir"
    done
fi
sync
"#,
        find = find_disk("job", RUN_MEMBER)
    )
}

/// The seed's user-data: the bootstrap, and then the machine's end.
pub(crate) fn user_data() -> String {
    // FreeBSD's poweroff(8) goes through init; Linux's through systemd.
    format!("{}poweroff || shutdown -p now\n", bootstrap())
}

/// What whoever has logged in as root types to start the seed's script: csh, too, reads it.
/// `terminal` is `serial` or `screen`. FreeBSD's volumes are below /dev/iso9660; Linux's mount(8)
/// finds them itself.
pub(crate) fn typed_command(terminal: &str) -> String {
    let label = seed::LABEL;
    format!(
        "mount -t cd9660 /dev/iso9660/{label} /mnt || mount -r LABEL={label} /mnt; \
         sh /mnt/user-data {terminal}"
    )
}

/// `run.sh`.
pub(crate) fn run_script(work: &Work, stamp: &Stamp) -> String {
    let mut script = format!(
        r#"#!/bin/sh
# forkproof: runs the job of this disk.
cd "$(dirname "$0")" || exit
console=${{console:-/dev/console}}
stamp={stamp}
say() {{ echo "forkproof-guest: $*" > "$console"; }}
echo "{STARTED} $stamp" > "$console"
{find}if [ -z "$out" ]; then say 'no disk has the stamp of this job'; exit; fi
umask 022
mkdir result || exit
"#,
        stamp = stamp.text(),
        find = find_disk("out", &format!("{OUT_MAGIC} {}", stamp.text()))
    );
    // The loader's own words say best why a program does not run.
    let probe = "if version=$(./forkproof --version 2>&1); then\n";
    let otherwise = "else\n    echo \"$version\" > result/problem\nfi\n";
    match work {
        Work::Canary => script.push_str("echo 0 > result/exitcode\n"),
        Work::Suite { options, facts } => {
            let words = as_words(options);
            script.push_str(probe);
            let _ = write!(
                script,
                r#"    say "$version"
    {{
        ./forkproof run --report result/report.json --junit result/junit.xml \
            --summary result/summary.md{words} < /dev/null 2>&1
        echo $? > result/exitcode
    }} | tee result/output.log > "$console"
"#
            );
            if *facts {
                // Its exit status says only whether everything could be measured.
                script.push_str("    ./forkproof probe --json < /dev/null > result/facts.json\n");
            }
            script.push_str(otherwise);
        }
        Work::Shell { id, options } => {
            script.push_str(probe);
            let repro = id.as_ref().map_or(String::new(), |id| {
                format!(
                    "    ./forkproof run --keep{} {} < \"$console\" > \"$console\" 2>&1\n",
                    as_words(options),
                    quoted(id)
                )
            });
            let _ = write!(
                script,
                r#"{repro}    say "./forkproof is here in $PWD; leave the shell to end the machine"
    for device in /dev/ttyS0 /dev/ttyu0 /dev/ttyAMA0 /dev/ttysclp0; do [ ! -c "$device" ] || console=$device; done
    if [ "$typed" = serial ]; then
        # This terminal, which somebody has logged in to.
        sh -i < "$console" > "$console" 2>&1
    else
        # The console is the shell's alone, where systemd would ask for a login on it.
        systemctl stop serial-getty@ttyS0.service 2> /dev/null
        # A terminal of its own, where there is one for it: job control and Ctrl-C.
        if command -v setsid > /dev/null 2>&1; then
            setsid sh -c "exec sh -i < $console > $console 2>&1"
        else
            sh -i < "$console" > "$console" 2>&1
        fi
    fi
    echo 0 > result/exitcode
"#
            );
            script.push_str(otherwise);
        }
    }
    // The last member tells a whole archive from half of one. `obs` alone makes dd gather whole
    // blocks from the pipe, as FreeBSD's raw devices want them.
    let _ = write!(
        script,
        r#"cd result || exit
echo "$stamp" > complete
set --
for file in exitcode problem report.json junit.xml summary.md output.log facts.json; do
    [ ! -f "$file" ] || set -- "$@" "$file"
done
tar cf - "$@" complete | dd of="$out" obs=10240 2> /dev/null
sync
echo "{WRITTEN} $stamp" > "$console"
"#
    );
    script
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    fn accepted_by(shell: &str, script: &str) -> bool {
        use std::io::Write as _;
        let mut child = Command::new(shell)
            .args(if shell == "busybox" { vec!["sh", "-n"] } else { vec!["-n"] })
            .stdin(Stdio::piped())
            .spawn()
            .expect("a shell");
        child.stdin.take().expect("piped").write_all(script.as_bytes()).expect("written");
        child.wait().expect("waited for").success()
    }

    #[rstest::rstest]
    #[case(Work::Suite { options: vec!["signals/*".into(), "it's".into()], facts: true })]
    #[case(Work::Canary)]
    #[case(Work::Shell { id: Some("signals/handler-persists".into()), options: vec!["it's".into()] })]
    #[case(Work::Shell { id: None, options: Vec::new() })]
    fn scripts_are_a_shells_words(#[case] work: Work) {
        assert!(accepted_by("sh", &run_script(&work, &Stamp::new())));
        assert!(accepted_by("sh", &user_data()));
    }

    #[test]
    fn facts_are_measured_where_they_are_asked_for() {
        for facts in [true, false] {
            let work = Work::Suite { options: Vec::new(), facts };
            let script = run_script(&work, &Stamp::new());
            assert_eq!(script.contains("./forkproof probe --json"), facts, "{script}");
            // What the machine hands over is what the host reads.
            for name in crate::guest::REPORTS {
                assert!(script.contains(&format!("result/{name}")) || !facts, "{name}");
                assert!(script.contains(&format!(" {name}")), "{name}");
            }
        }
    }

    #[test]
    fn a_quoted_word_stays_one_word() {
        for words in ["plain", "two words", "it's", "$HOME `id` \"x\" \\", "", "a\nb"] {
            let output = Command::new("sh")
                .args(["-c", &format!("printf %s {}", quoted(words))])
                .output()
                .expect("sh");
            assert_eq!(String::from_utf8_lossy(&output.stdout), words);
        }
    }
}
