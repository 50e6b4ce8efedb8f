//! JUnit XML as its readers see it.

use roxmltree::{Document, Node};

/// A test suite: its name, and how many of its tests count as what.
#[derive(Debug, PartialEq)]
pub struct Suite {
    pub name: String,
    pub tests: usize,
    pub failures: usize,
    pub errors: usize,
    pub skipped: usize,
}

/// The suites of a document. What an element says of its tests must be so.
pub fn suites(xml: &str) -> Vec<Suite> {
    let document = Document::parse(xml).unwrap_or_else(|error| panic!("{error}: {xml}"));
    let number = |node: &Node<'_, '_>, name: &str| -> usize {
        node.attribute(name)
            .and_then(|text| text.parse().ok())
            .unwrap_or_else(|| panic!("{name}: {xml}"))
    };
    let root = document.root_element();
    assert_eq!(root.tag_name().name(), "testsuites");
    let suites: Vec<Suite> = root
        .children()
        .filter(|node| node.has_tag_name("testsuite"))
        .map(|suite| {
            let cases: Vec<_> =
                suite.children().filter(|node| node.has_tag_name("testcase")).collect();
            let with = |name: &str| {
                cases
                    .iter()
                    .filter(|case| case.children().any(|node| node.has_tag_name(name)))
                    .count()
            };
            for (attribute, held) in [
                ("tests", cases.len()),
                ("failures", with("failure")),
                ("errors", with("error")),
                ("skipped", with("skipped")),
                ("disabled", with("skipped")),
            ] {
                assert_eq!(number(&suite, attribute), held, "{attribute}: {xml}");
            }
            Suite {
                name: suite.attribute("name").expect("a name").to_owned(),
                tests: cases.len(),
                failures: with("failure"),
                errors: with("error"),
                skipped: with("skipped"),
            }
        })
        .collect();
    for (attribute, of) in [
        ("tests", (|s| s.tests) as fn(&Suite) -> usize),
        ("failures", |s| s.failures),
        ("errors", |s| s.errors),
    ] {
        assert_eq!(number(&root, attribute), suites.iter().map(of).sum::<usize>(), "{xml}");
    }
    suites
}
