//! Names and descriptions of images.

use predicates::prelude::*;
use predicates::str::contains;
use rstest::rstest;

use crate::world::{IMAGE, World};

#[rstest]
#[case::nearest("debian-12-tny", "no image `debian-12-tny`: did you mean `debian-12-tiny`")]
#[case::nothing_near("zzz", "no image `zzz`: `forkproof vm images` shows them all")]
#[case::built("debian-12-tiny", "built here: `forkproof vm build debian-12-tiny`")]
fn images_that_cannot_be_fetched(#[case] id: &str, #[case] words: &str) {
    let (world, _) = World::with_disk();
    world.command(&["fetch", id]).assert().code(2).stderr(contains(words));
}

#[test]
fn a_wrong_name_is_told_before_anything_is_downloaded() {
    let (world, _) = World::with_disk();
    world.command(&["fetch", IMAGE, "zzz"]).assert().code(2);
    assert_eq!(world.server.requests("SHA256SUMS").len(), 0);
}

#[test]
fn the_others_are_fetched_although_one_fails() {
    let (world, _) = World::with_disk();
    let gone = world.dir.path().join("config/forkproof/images").join("gone.toml");
    let text = std::fs::read_to_string(gone.with_file_name("mine.toml")).expect("read");
    let text = text.replace("\"mine\"", "\"gone\"").replace("SHA256SUMS", "no");
    std::fs::write(gone, text).expect("written");
    world
        .command(&["fetch", "gone", IMAGE])
        .assert()
        .code(3)
        .stderr(contains("image `gone` is unavailable"))
        .stdout(contains("disk.raw"));
}

#[rstest]
#[case::unknown_field("memroy = 512\n", ":1: unknown key `memroy`: did you mean `memory`?")]
#[case::no_toml("memory = = 1\n", ":1: ")]
#[case::another_id("", "name the file `other.toml`")]
fn a_description_that_is_wrong(#[case] before: &str, #[case] words: &str) {
    let (world, _) = World::with_disk();
    let path = world.dir.path().join("config/forkproof/images/mine.toml");
    let mut text = std::fs::read_to_string(&path).expect("read");
    if before.is_empty() {
        text = text.replace("id = \"mine\"", "id = \"other\"");
    }
    world.description(&format!("{before}{text}"));
    for command in [["images", "--json"], ["fetch", IMAGE]] {
        let expected = contains(words).and(contains(path.to_str().expect("text")));
        world.command(&command).assert().code(2).stderr(expected);
    }
}
