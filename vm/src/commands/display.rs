//! How a run goes: a line that changes for each machine on a terminal, lines elsewhere.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use settings::printable;

pub(super) struct Display {
    bars: Option<MultiProgress>,
    by_id: BTreeMap<String, ProgressBar>,
}

impl Display {
    pub(super) fn new() -> Self {
        let bars = std::io::stderr().is_terminal().then(MultiProgress::new);
        Self { bars, by_id: BTreeMap::new() }
    }

    pub(super) fn step(&mut self, id: &str, text: &str) {
        match self.bars {
            None => eprintln!("{id}: {}", printable(text)),
            Some(_) => self.change(id, text),
        }
    }

    /// A guest's console may hold what a terminal obeys, and more than a log has room for.
    pub(super) fn console(&mut self, id: &str, line: &str) {
        self.change(id, line);
    }

    fn change(&mut self, id: &str, text: &str) {
        let Some(bars) = &self.bars else { return };
        let bar = self.by_id.entry(id.to_owned()).or_insert_with(|| {
            let bar = bars.add(ProgressBar::new_spinner());
            let template = "{spinner} {prefix} {elapsed} {wide_msg}";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar.set_prefix(id.to_owned());
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        bar.set_message(printable(text));
    }

    /// The end of one line; `tell` prints in its place.
    pub(super) fn end(&mut self, id: &str, tell: impl FnOnce()) {
        if let Some(bar) = self.by_id.remove(id) {
            bar.finish_and_clear();
        }
        match &self.bars {
            Some(bars) => bars.suspend(tell),
            None => tell(),
        }
    }
}
