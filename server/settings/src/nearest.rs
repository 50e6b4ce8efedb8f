//! "Did you mean": the names nearest to a misspelt one.

/// The names among `known` that a misspelt `wrong` may stand for, best first, at most three.
/// Of a name with a slash, an id, the part after it alone will do.
#[must_use]
pub fn nearest<'a>(wrong: &str, known: &[&'a str]) -> Vec<&'a str> {
    /// By Jaro and Winkler; less is no likeness that a person would see.
    const ALIKE: f64 = 0.75;
    const NOISE: f64 = 0.05;
    // Underscores, dashes and capitals are mistaken for one another more than letters are.
    let plain = |text: &str| text.to_lowercase().replace('_', "-");
    let wrong = plain(wrong);
    let mut ranked: Vec<(f64, &'a str)> = known
        .iter()
        .map(|&name| {
            let whole = plain(name);
            let end = whole.split_once('/').map_or(whole.as_str(), |(_, end)| end);
            let likeness = strsim::jaro_winkler(&wrong, &whole);
            (likeness.max(strsim::jaro_winkler(&wrong, end)), name)
        })
        .filter(|(likeness, _)| *likeness > ALIKE)
        .collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
    // What is much less like it than the best is noise beside that.
    let least = ranked.first().map_or(0.0, |(likeness, _)| likeness - NOISE);
    ranked.retain(|(likeness, _)| *likeness >= least);
    ranked.into_iter().take(3).map(|(_, name)| name).collect()
}

/// ``did you mean `A` or `B`?``, if something in `known` is like `wrong`.
#[must_use]
pub fn did_you_mean(wrong: &str, known: &[&str]) -> Option<String> {
    let nearest = nearest(wrong, known);
    (!nearest.is_empty()).then(|| format!("did you mean `{}`?", nearest.join("` or `")))
}

/// That no `noun` is called `wrong`, with the nearest name and all that there are.
#[must_use]
pub fn unknown(noun: &str, wrong: &str, known: &[&str]) -> String {
    if known.is_empty() {
        return format!("unknown {noun} `{wrong}`: none is known here");
    }
    let guess = match nearest(wrong, known).first() {
        Some(name) => format!(": did you mean `{name}`?"),
        None => String::new(),
    };
    format!("unknown {noun} `{wrong}`{guess} (known: {})", known.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_an_id_is_as_good_as_the_whole() {
        let known = ["signals/handler-persists", "signals/stop-and-continue"];
        assert_eq!(nearest("hander-persists", &known).first(), Some(&known[0]));
        assert_eq!(nearest("Signals/handler_persist", &known).first(), Some(&known[0]));
        assert!(nearest("xyzzy", &known).is_empty());
        assert_eq!(did_you_mean("xyzzy", &known), None);
    }
}
