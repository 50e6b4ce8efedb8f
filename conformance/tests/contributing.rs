//! CONTRIBUTING.md shows a requirement and its check: they are a real one's, to the letter, so they
//! compile. And it has a map, which lacks nothing. So has the page of what is found in known servers.

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

#[test]
fn the_map_has_every_crate_folder_and_script() {
    let root = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let guide = std::fs::read_to_string(root.join("CONTRIBUTING.md")).unwrap();
    let map = guide.split("```text\n").nth(1).unwrap().split("```").next().unwrap();
    let names = |folder: &str, wanted: fn(&std::path::Path) -> bool| -> Vec<String> {
        let entries = std::fs::read_dir(root.join(folder)).unwrap().map(|entry| entry.unwrap());
        let found = entries.filter(|entry| wanted(&entry.path()));
        found.map(|entry| entry.file_name().into_string().unwrap()).collect()
    };
    // Words as they stand there: `fuzzing/` is no mention of `fuzz`.
    let words: Vec<&str> = map.split([' ', ',', ';', '\n']).filter(|w| !w.is_empty()).collect();
    for folder in names("conformance", |path| path.is_dir())
        .into_iter()
        .chain(names("server", |p| p.is_dir()))
    {
        // Every crate has these.
        if ["src", "tests"].contains(&folder.as_str()) {
            continue;
        }
        assert!(words.contains(&format!("{folder}/").as_str()), "{folder}/ is not in the map");
    }
    for script in names(".ci", |path| path.is_file() && path.extension().is_none()) {
        assert!(words.contains(&script.as_str()), ".ci/{script} is not in the map");
    }
}

#[test]
fn the_page_of_findings_says_what_the_baselines_say() {
    let folder = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/targets"));
    let page = std::fs::read_to_string(folder.join("FINDINGS.md")).unwrap();
    let sections: Vec<&str> = page.split("\n## ").skip(1).collect();
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let Some(server) = name.strip_suffix(".baseline.toml") else { continue };
        let section = sections.iter().find(|section| section.lines().next() == Some(server));
        let section = section.unwrap_or_else(|| panic!("{server} is not on the page"));
        let text = std::fs::read_to_string(folder.join(&name)).unwrap();
        let baseline: toml::Table = text.parse().unwrap();
        for exception in baseline["exception"].as_array().unwrap() {
            let id = exception["id"].as_str().unwrap();
            let reason = exception["reason"].as_str().unwrap();
            let words = reason.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|");
            let mended = "`.ci/servers --page` writes it anew";
            assert!(section.contains(id), "{server}: {id} is not on the page: {mended}");
            assert!(section.contains(&words), "{server}: {id}: \"{words}\": {mended}");
        }
        seen += 1;
    }
    assert_eq!(seen, sections.len(), "the page has servers without a baseline");
}
