//! CONTRIBUTING.md shows a requirement and its check. They are a real one's, to the letter, so they
//! compile.

#[test]
fn the_sample_is_a_real_requirement() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let read = |path: &str| std::fs::read_to_string(format!("{root}/{path}")).unwrap();
    let plain = |text: &str| text.lines().map(str::trim_start).collect::<Vec<_>>().join("\n");
    let source = plain(&read("conformance/src/requirements/signals.rs"));
    let guide = read("CONTRIBUTING.md");
    let samples: Vec<&str> = guide
        .split("```rust\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .map(str::trim_end)
        .collect();
    assert_eq!(samples.len(), 2, "the definition and the check");
    for sample in samples {
        assert!(source.contains(&plain(sample)), "not in the sources:\n{sample}");
    }
}
