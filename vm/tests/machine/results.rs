//! What a guest may come to, and how it is told.

use std::time::Instant;

use rstest::rstest;

use crate::world::{PATIENCE, PRELUDE, World};

#[test]
fn a_conformant_guest_is_brought_back() {
    let world = World::new("started; result 0 conformant");
    let ended = world.run(&[]);
    assert_eq!(ended.status, Some(0), "{ended:?}");
    assert!(ended.out.contains("mine: conformant: 1 passed, 0 failed"), "{ended:?}");
    assert!(ended.out.contains("boot to verdict"), "{ended:?}");
    assert!(ended.out.contains("64-bit kernel"), "{ended:?}");
    for (name, words) in [
        ("exitcode", "0\n"),
        ("report.json", "forkproof-report/1"),
        ("junit.xml", "<testsuites/>"),
        ("summary.md", "# summary"),
        ("output.log", "the last words"),
        ("console.log", "forkproof-guest: started "),
    ] {
        assert!(world.text(name).is_some_and(|text| text.contains(words)), "{name}");
    }
    world.is_clean();
}

#[rstest]
#[case::passed_unexpectedly(
    r#"started; members 1 not-conformant 0 64 ",$(entry listen/two xpass)"; sed -i 's/"error": 0/"xpass": 1/' report.json; archive | onto"#,
    1,
    "the suite failed: listen/two (passed unexpectedly)"
)]
#[case::a_requirement_failed(
    r#"started; result 1 not-conformant 1 64 ",$(entry listen/two fail)""#,
    1,
    "the suite failed: listen/two"
)]
#[case::the_suite_itself_failed(
    r#"started; members 3 no-verdict 0 64 ",$(entry listen/two error)"; sed -i 's/"error": 0/"error": 1/' report.json; archive | onto"#,
    3,
    "no verdict: the suite itself had errors in listen/two"
)]
#[case::its_options_are_wrong("started; result 2 conformant", 2, "image `mine`: the last words")]
#[case::nothing_was_selected("started; result 4 conformant", 4, "image `mine`: the last words")]
#[case::panic_while_booting(
    "echo '[ 0.5] Kernel panic - not syncing: VFS: Unable to mount root fs'; exit 0",
    3,
    "did not boot: its kernel panicked (`Kernel panic - not syncing: VFS: Unable to mount root fs`); the console's end: [ 0.5] Kernel panic"
)]
#[case::panic_on_the_way(
    "started; echo 'panic: page fault'; exit 0",
    3,
    "wrote no result: its kernel panicked (`panic: page fault`); the console's end: forkproof-guest: started"
)]
#[case::ends_before_its_script(
    "echo 'no bootable device'; exit 0",
    3,
    "did not boot: the machine ended before the guest's script ran; the console's end: no bootable"
)]
#[case::no_result("started; exit 0", 3, "wrote no result: the stamp is still on the result's disk")]
#[case::lies(
    r#"started; echo 'conformant: 121 passed PASS'; echo "forkproof-guest: result written $stamp""#,
    3,
    "wrote no result: the stamp is still"
)]
#[case::another_runs_sign("echo 'forkproof-guest: started 0123'; exit 0", 3, "did not boot")]
#[case::half_a_result(
    "started; members 0 conformant; archive | dd bs=512 count=3 2> /dev/null | onto",
    3,
    "wrote no result: the result's archive ends before its time"
)]
#[case::noise("started; yes noise | dd count=4 2> /dev/null | onto", 3, "archive is damaged")]
#[case::another_runs_result(
    "started; members 0 conformant; echo 0123 > complete; archive | onto",
    3,
    "wrote no result: the result is another run's"
)]
#[case::no_exit_code(
    "started; members 0 conformant; tar cf - report.json complete | onto",
    3,
    "wrote no result: the result has no exit code"
)]
#[case::nonsense("started; result PASS conformant", 3, "the result's exit code is `PASS`")]
#[case::killed_suite("started; result 137 conformant", 3, "the result's exit code is `137`")]
#[case::two_witnesses_disagree(
    r#"started; result 0 not-conformant"#,
    3,
    "its report says `not conformant`, but the exit code is 0"
)]
#[case::no_report(
    "started; members 0 conformant; tar cf - exitcode complete | onto",
    3,
    "wrote no result: its report is missing"
)]
#[case::report_of_another_machine(
    "started; result 0 conformant 0 32",
    3,
    "its report is of a 32-bit program on a 64-bit kernel"
)]
#[case::payload_does_not_run(
    r#"started; mkdir result; cd result; echo './forkproof: not found' > problem
    echo "$stamp" > complete; tar cf - problem complete | onto"#,
    3,
    "does not run there: ./forkproof: not found"
)]
#[case::dies_at_once(
    "echo 'qemu: no such machine' >&2; exit 1",
    3,
    "QEMU failed: it ended with status 1: qemu: no such machine"
)]
#[case::killed("started; kill -9 $$", 3, "QEMU failed: it was killed by SIGKILL")]
fn what_goes_wrong_is_told_in_a_sentence(
    #[case] behaviour: &str,
    #[case] status: i32,
    #[case] words: &str,
) {
    let world = World::new(behaviour);
    let ended = world.run(&[]);
    assert_eq!(ended.status, Some(status), "{ended:?}");
    assert_eq!(ended.errors.len(), 1, "{ended:?}");
    assert!(ended.errors[0].contains(words), "{ended:?}");
    assert_eq!(world.text("exitcode"), Some(format!("{status}\n")));
    assert!(!ended.out.contains("conformant: "), "{ended:?}");
    world.is_clean();
}

#[rstest]
#[case::boot("exec sleep 600", &["--boot-limit", "1"], "did not boot: no sign of the guest's script")]
#[case::run("started; exec sleep 600", &["--limit", "1"], "wrote no result: not at its end")]
#[case::with_children("started; sleep 600 & sleep 600", &["--limit", "1"], "wrote no result")]
fn a_machine_that_hangs_is_ended(
    #[case] behaviour: &str,
    #[case] arguments: &[&str],
    #[case] words: &str,
) {
    let world = World::new(behaviour);
    let begin = Instant::now();
    let ended = world.run(arguments);
    assert!(begin.elapsed() < PATIENCE, "{:?}", begin.elapsed());
    assert_eq!(ended.status, Some(3), "{ended:?}");
    assert!(ended.errors[0].contains(words), "{ended:?}");
    world.is_clean();
}

/// The result counts, whatever QEMU does after it was written.
#[test]
fn a_result_outlives_its_machine() {
    let world = World::new("result 0 conformant; started; exec sleep 600");
    let ended = world.run(&["--limit", "2"]);
    assert_eq!(ended.status, Some(0), "{ended:?}");
    world.is_clean();
}

#[test]
fn a_flood_on_the_console_is_bounded_and_its_end_is_kept() {
    let world = World::new(
        "started; yes 'all work and no play' | head -c 41943040; echo the end; result 0 conformant",
    );
    let ended = world.run(&[]);
    assert_eq!(ended.status, Some(0), "{ended:?}");
    let console = world.text("console.log").expect("a console");
    assert!(console.len() < 17 * 1024 * 1024, "{}", console.len());
    assert!(console.contains("more bytes are left out"));
    assert!(console.ends_with("the end\n"));
}

/// A console of which nothing is a line, from a guest that writes faster than it is read.
#[test]
fn a_console_of_nuls_takes_no_memory() {
    let world =
        World::new("head -c 536870912 /dev/zero; echo; started; head -c 100000 /dev/zero; exit 0");
    let (ended, most) = world.run_measured(&[]);
    assert!(most.is_none_or(|mib| mib < 64), "{most:?} MiB");
    assert_eq!(ended.status, Some(3), "{ended:?}");
    assert!(ended.errors[0].len() < 400, "{ended:?}");
    assert!(ended.errors[0].contains("the console's end: (nothing)"), "{ended:?}");
    let console = world.result("console.log").metadata().expect("a console").len();
    assert!(console < 17 * 1024 * 1024, "{console}");
    world.is_clean();
}

#[test]
fn a_line_without_end_is_cut_where_it_is_shown() {
    let world = World::new(
        r"started; printf '\033[2J\342\200\256'; head -c 7000 /dev/zero | tr '\0' x; exit 0",
    );
    let ended = world.run(&[]);
    assert_eq!(ended.status, Some(3), "{ended:?}");
    let shown = ended.errors[0].split(" | ").last().expect("a line");
    assert_eq!(shown, format!("\u{fffd}[2J\u{fffd}{}…", "x".repeat(195)));
}

/// What GNU tar makes of holes; the disk is small, and what would come of it is not.
#[rstest]
#[case("gnu")]
#[case("posix")]
fn a_result_of_holes_takes_no_memory(#[case] format: &str) {
    let world = World::new(&format!(
        r"started; members 0 conformant
        truncate -s 31M junit.xml summary.md output.log
        tar -cSf - --format={format} exitcode *.* complete | onto"
    ));
    let (ended, most) = world.run_measured(&[]);
    assert_eq!(ended.status, Some(3), "{ended:?}");
    assert!(ended.errors[0].contains("sparse"), "{ended:?}");
    assert!(most.is_none_or(|mib| mib < 32), "{most:?} MiB");
    assert_eq!(world.text("junit.xml"), None);
    world.is_clean();
}

/// Guests have tars of several kinds; some say more of a member than its header holds.
#[rstest]
#[case("tar --format=gnu")]
#[case("tar --format=posix")]
#[case("tar --format=v7")]
#[case("bsdtar")]
#[case("bsdtar --format=pax")]
#[case("busybox tar")]
fn a_result_by_any_tar(#[case] tar: &str) {
    let program = tar.split(' ').next().expect("a word");
    if which::which(program).is_err() {
        eprintln!("skipped: needs {program}");
        return;
    }
    let world = World::new(&format!(
        "started; members 0 conformant
        {tar} -cf - exitcode report.json junit.xml summary.md output.log complete | onto"
    ));
    let ended = world.run(&[]);
    assert_eq!(ended.status, Some(0), "{ended:?}");
    assert!(world.text("report.json").is_some());
}

/// Old results never pass for new ones.
#[test]
fn what_an_earlier_run_left_is_gone() {
    let world = World::new("started; result 0 conformant");
    assert_eq!(world.run(&[]).status, Some(0));
    world.script("qemu-system-x86_64", &format!("{PRELUDE}started\n"));
    assert_eq!(world.run(&[]).status, Some(3));
    assert_eq!(world.text("report.json"), None);
    assert_eq!(world.text("exitcode").as_deref(), Some("3\n"));
}

/// The status is the worst guest's, and the others' results are there.
#[test]
fn several_guests_in_one_run() {
    let world = World::new(
        r#"WORLD=$WORLD/$stamp; mkdir "$WORLD"; started
        case $2 in mine) result 0 conformant ;; *) exit 0 ;; esac"#,
    );
    world.describe("other", "'cloud-init'");
    let ended = world.run(&["other", "--jobs", "2"]);
    assert_eq!(ended.status, Some(3), "{ended:?}");
    assert!(ended.out.contains("mine: conformant"), "{ended:?}");
    assert!(ended.errors[0].contains("image `other` wrote no result"), "{ended:?}");
    assert_eq!(world.text("exitcode").as_deref(), Some("0\n"));
}
