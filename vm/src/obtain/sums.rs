//! Publishers' files of checksums.

use glob::{MatchOptions, Pattern};

use crate::catalogue::{Algorithm, ChecksumFormat, Digest};

/// `*` and `?` stand for no `/`.
const WITHIN_A_NAME: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: false,
};

/// A file of checksums: names and their digests, in its order.
#[derive(Debug, Clone)]
pub(crate) struct Sums(Vec<(String, Digest)>);

/// Why a file of checksums gives no digest.
#[derive(Debug)]
pub(crate) enum Unresolved {
    /// No name matches.
    Nothing,
    /// Several do.
    Several(Vec<String>),
}

impl Sums {
    /// Reads one; lines in another form (signatures, comments, other hash functions) are passed
    /// over.
    pub(crate) fn parse(text: &str, format: ChecksumFormat) -> Self {
        let line = match format {
            ChecksumFormat::Sums => sums_line,
            ChecksumFormat::BsdTag => bsd_tag_line,
        };
        Self(text.lines().filter_map(|text| line(text.trim_end())).collect())
    }

    /// The names, in the file's order.
    pub(crate) fn names(&self) -> Vec<String> {
        self.0.iter().map(|(name, _)| name.clone()).collect()
    }

    /// The name and the digest of the one file that the first fitting pattern matches. Of a file's
    /// digests the longest is taken.
    pub(crate) fn resolve(
        &self,
        patterns: &[Pattern],
    ) -> std::result::Result<(String, Digest), Unresolved> {
        for pattern in patterns {
            let mut found: Vec<&(String, Digest)> = self
                .0
                .iter()
                .filter(|(name, _)| pattern.matches_with(name, WITHIN_A_NAME))
                .collect();
            found.sort_by_key(|(_, digest)| std::cmp::Reverse(digest.algorithm()));
            let Some((name, digest)) = found.first() else { continue };
            let mut names: Vec<String> = found.iter().map(|(name, _)| name.clone()).collect();
            names.sort();
            names.dedup();
            if names.len() > 1 {
                return Err(Unresolved::Several(names));
            }
            return Ok((name.clone(), digest.clone()));
        }
        Err(Unresolved::Nothing)
    }
}

/// `HASH  NAME`, or `HASH *NAME` for what was read in binary mode.
fn sums_line(line: &str) -> Option<(String, Digest)> {
    let (hash, name) = line.split_once(' ')?;
    let name = name.strip_prefix([' ', '*'])?;
    let digest = Digest::new(Algorithm::of_length(hash.len())?, hash)?;
    Some((bare(name), digest))
}

/// `SHA512 (NAME) = HASH`
fn bsd_tag_line(line: &str) -> Option<(String, Digest)> {
    let (tag, rest) = line.split_once(" (")?;
    let (name, hash) = rest.rsplit_once(") = ")?;
    let algorithm = match tag {
        "SHA256" => Algorithm::Sha256,
        "SHA512" => Algorithm::Sha512,
        _ => return None,
    };
    Some((bare(name), Digest::new(algorithm, hash)?))
}

fn bare(name: &str) -> String {
    name.strip_prefix("./").unwrap_or(name).to_owned()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const SHORT: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789ABCDEF";

    fn long() -> String {
        SHORT.repeat(2)
    }

    fn resolve(sums: &Sums, globs: &[&str]) -> std::result::Result<(String, Digest), Unresolved> {
        let patterns: Vec<Pattern> =
            globs.iter().map(|glob| Pattern::new(glob).expect("a glob")).collect();
        sums.resolve(&patterns)
    }

    #[rstest]
    #[case::text(format!("{SHORT}  disk.img"))]
    #[case::binary(format!("{SHORT} *disk.img"))]
    #[case::with_a_path(format!("{SHORT}  ./disk.img"))]
    #[case::carriage_return(format!("{SHORT}  disk.img\r"))]
    #[case::among_others(format!("# sums\n\n{SHORT}  other.img\n{SHORT} *disk.img\n-- \n"))]
    fn sums(#[case] text: String) {
        let (name, digest) =
            resolve(&Sums::parse(&text, ChecksumFormat::Sums), &["disk.img"]).expect("one file");
        assert_eq!(name, "disk.img");
        assert_eq!(digest.to_string(), format!("sha256:{}", SHORT.to_lowercase()));
    }

    #[rstest]
    #[case::sha512(format!("SHA512 (a (1).xz) = {}", long()), "a (1).xz", Algorithm::Sha512)]
    #[case::sha256(format!("SHA256 (a.xz) = {SHORT}"), "a.xz", Algorithm::Sha256)]
    #[case::the_longest(
        format!("MD5 (a.xz) = 00\nSHA256 (a.xz) = {SHORT}\nSHA512 (a.xz) = {}\n", long()),
        "a.xz",
        Algorithm::Sha512
    )]
    fn bsd_tags(#[case] text: String, #[case] name: &str, #[case] algorithm: Algorithm) {
        let (found, digest) =
            resolve(&Sums::parse(&text, ChecksumFormat::BsdTag), &["a*.xz"]).expect("one file");
        assert_eq!((found.as_str(), digest.algorithm()), (name, algorithm));
    }

    #[rstest]
    #[case::no_hash("disk.img".to_owned())]
    #[case::wrong_length(format!("{}  disk.img", &SHORT[1..]))]
    #[case::not_hexadecimal(format!("{}  disk.img", SHORT.replace('a', "g")))]
    #[case::one_space(format!("{SHORT} disk.img"))]
    #[case::the_other_format(format!("SHA256 (disk.img) = {SHORT}"))]
    #[case::tag_and_length_differ(format!("SHA512 (disk.img) = {SHORT}"))]
    fn lines_that_are_none(#[case] text: String) {
        let found = Sums::parse(&text, ChecksumFormat::Sums).names();
        assert_eq!(found, Vec::<String>::new());
        if text.starts_with("SHA512") {
            assert_eq!(Sums::parse(&text, ChecksumFormat::BsdTag).names(), Vec::<String>::new());
        }
    }

    #[test]
    fn the_first_fitting_pattern_decides() {
        let text = format!("{SHORT}  v1-new.img\n{SHORT}  v1-old.img\n");
        let sums = Sums::parse(&text, ChecksumFormat::Sums);
        assert_eq!(resolve(&sums, &["v2*", "*-old.img", "*"]).expect("one").0, "v1-old.img");
        assert!(
            matches!(resolve(&sums, &["v1-*.img"]), Err(Unresolved::Several(n)) if n.len() == 2)
        );
        assert!(matches!(resolve(&sums, &["v3*"]), Err(Unresolved::Nothing)));
    }
}
