//! The suite in many machines.

use std::cell::RefCell;
use std::fs;
use std::path::Path;
use std::time::Duration;

use forkproof_host::in_parallel;
use forkproof_report::{ExitStatus, Report, Verdict};

use super::canary::accelerator;
use super::directory::{RunDirectory, prepare, sweep};
use super::plan::{Candidate, Settings, machine};
use crate::cache::Cache;
use crate::catalogue::Source;
use crate::error::{Error, Result, excerpt};
use crate::guest::{self, Outcome, REPORTS, Stamp, Work};
use crate::machine::{Accelerator, Disks, Event};
use crate::obtain::obtain;
use crate::platform;

/// With less than this left, bytes, a machine without a result has probably had no space for it.
const LITTLE_SPACE: u64 = 8 * 1024 * 1024;

/// What one guest came to.
#[derive(Debug)]
pub(crate) struct Settled {
    /// The image's id.
    pub(crate) id: String,
    /// From power-on to the guest's script.
    pub(crate) booted: Option<Duration>,
    /// From power-on to the machine's end.
    pub(crate) took: Option<Duration>,
    /// The suite's report, if it is one.
    pub(crate) report: Option<Report>,
    /// Why it is not conformant.
    pub(crate) error: Option<Error>,
}

/// What is to be run.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    /// In which guests.
    pub(crate) candidates: &'a [Candidate],
    /// What each of them does.
    pub(crate) work: &'a Work,
    /// Where the results go, each image's in a directory of its name.
    pub(crate) out: &'a Path,
    /// Machines at a time.
    pub(crate) at_a_time: usize,
}

/// What is going on, as it happens.
#[derive(Debug)]
pub(crate) enum News {
    /// Something begins in the job of an image, worth a line.
    Step { id: String, text: String },
    /// The newest line of its console: shown where there is room for what changes.
    Console { id: String, line: String },
    /// A guest's result. Of a job that was interrupted there is none.
    Settled(Box<Settled>),
}

/// Runs the suite in each guest. `observe` hears of what is going on.
pub(crate) fn run(
    cache: &Cache,
    settings: &Settings,
    plan: &Plan<'_>,
    observe: &mut dyn FnMut(News),
) -> Result<()> {
    sweep(cache)?;
    let news = RefCell::new(observe);
    let step = |id: &str, text: &str| News::Step { id: id.to_owned(), text: text.to_owned() };
    let images = plan.candidates.iter().map(|candidate| &candidate.image);
    let tell = |text: &str| (news.borrow_mut())(step("kvm", text));
    let accelerator = accelerator(cache, settings, images, &tell)?;
    in_parallel(
        plan.candidates,
        plan.at_a_time.min(plan.candidates.len()),
        |candidate, tell| {
            let image = &candidate.image;
            let out = plan.out.join(&image.id);
            let job = Job { cache, candidate, settings, accelerator, out: &out, tell };
            let settled = job.run(plan.work);
            if !matches!(settled.error, Some(Error::Interrupted)) {
                tell(News::Settled(Box::new(settled)));
            }
        },
        |heard| (news.borrow_mut())(heard),
    );
    platform::check()
}

struct Job<'a> {
    cache: &'a Cache,
    candidate: &'a Candidate,
    settings: &'a Settings,
    accelerator: Accelerator,
    out: &'a Path,
    tell: &'a dyn Fn(News),
}

impl Job<'_> {
    fn run(&self, work: &Work) -> Settled {
        let id = self.candidate.image.id.clone();
        let mut settled = Settled { id, booted: None, took: None, report: None, error: None };
        settled.error = self.try_run(work, &mut settled).err();
        settled
    }

    fn step(&self, text: &str) {
        (self.tell)(News::Step { id: self.candidate.image.id.clone(), text: text.to_owned() });
    }

    fn try_run(&self, work: &Work, settled: &mut Settled) -> Result<()> {
        platform::check()?;
        clear(self.out)?;
        let image = &self.candidate.image;
        let files = obtain(self.cache, image, &self.settings.fetch, &|text| self.step(text))?;
        let run = RunDirectory::make(self.cache)?;
        let stamp = Stamp::new();
        let (payload, added) = (&self.candidate.payload, &self.settings.added);
        prepare(run.path(), work, &stamp, Some(payload), added)?;
        let tell = |text: &str| self.step(text);
        let machine = machine(image, files, self.settings, self.accelerator, run.path(), &tell)?;
        self.step("powers on");
        let ended =
            machine.run(stamp.text(), &self.out.join("console.log"), &mut |event| match event {
                Event::Started(after) => {
                    self.step(&format!("runs the suite after {:.1} s", after.as_secs_f64()));
                }
                Event::Line(line) => (self.tell)(News::Console { id: image.id.clone(), line }),
            })?;
        settled.booted = ended.booted;
        settled.took = Some(ended.took);
        let no_result = |why: String| Error::no_result(&image.id, why, &ended.console);
        let outcome = match guest::read_out(&run.path().join(Disks::OUT), &stamp)? {
            Ok(outcome) => outcome,
            Err(_) if platform::space_left(run.path()).is_some_and(|left| left < LITTLE_SPACE) => {
                return Err(Error::DiskFull {
                    path: run.path().to_owned(),
                    kept: format!("image `{}` wrote no result", image.id),
                });
            }
            Err(why) => return Err(ended.without_result(&image.id, &why)),
        };
        self.save(&outcome)?;
        let status = match (outcome.status, outcome.problem) {
            (Some(status), None) => status,
            (_, problem) => {
                let why = problem.unwrap_or_default();
                return Err(Error::does_not_run(&image.id, &self.candidate.payload, &why));
            }
        };
        let last_words = || {
            let text = outcome.files.get("output.log").map(|bytes| String::from_utf8_lossy(bytes));
            let text = text.unwrap_or_default();
            let line = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
            excerpt(line.trim_start_matches("forkproof: "))
        };
        let id = || image.id.clone();
        let text = match (status, outcome.files.get("report.json")) {
            (ExitStatus::Usage, _) => {
                return Err(Error::Usage(format!("image `{}`: {}", image.id, last_words())));
            }
            (ExitStatus::NothingSelected, _) => {
                return Err(Error::NothingSelected { id: id(), why: last_words() });
            }
            (ExitStatus::NoVerdict, None) => {
                return Err(Error::no_verdict(&image.id, last_words()));
            }
            (_, None) => return Err(no_result("its report is missing".into())),
            (_, Some(text)) => text,
        };
        let report = guest::read_report(text, status).map_err(no_result)?;
        self.is_of_this_guest(&report).map_err(no_result)?;
        let unexpected =
            report.with_verdict(Verdict::Xpass).map(|id| format!("{id} (passed unexpectedly)"));
        let failed = report.with_verdict(Verdict::Fail).map(str::to_owned);
        let failed: Vec<String> = failed.chain(unexpected).collect();
        let broken: Vec<&str> = report.with_verdict(Verdict::Error).collect();
        let result = match status {
            ExitStatus::Conformant => Ok(()),
            ExitStatus::NotConformant => {
                Err(Error::SuiteFailed { id: id(), why: failed.join(", ") })
            }
            _ if broken.is_empty() => Err(Error::no_verdict(&image.id, last_words())),
            _ => {
                let why = format!("the suite itself had errors in {}", broken.join(", "));
                Err(Error::no_verdict(&image.id, why))
            }
        };
        settled.report = Some(report);
        result
    }

    /// The widths are the point of some images: a report of another machine proves nothing.
    fn is_of_this_guest(&self, report: &Report) -> std::result::Result<(), String> {
        let image = &self.candidate.image;
        let platform = &report.platform;
        let is_own = matches!(image.source, Source::File(_));
        let kernel = image.kernel_bits.into();
        let kernel_fits = is_own || [0, kernel].contains(&platform.kernel_bits);
        if platform.userland_bits != u32::from(image.userland_bits) || !kernel_fits {
            return Err(format!(
                "its report is of a {}-bit program on a {}-bit kernel, and the image has {} on {}",
                platform.userland_bits,
                platform.kernel_bits,
                image.userland_bits,
                image.kernel_bits
            ));
        }
        Ok(())
    }

    fn save(&self, outcome: &Outcome) -> Result<()> {
        for (name, content) in &outcome.files {
            let path = self.out.join(name);
            platform::write(&path, content)?;
        }
        Ok(())
    }
}

/// Makes the directory, without what an earlier run left in it.
fn clear(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).map_err(|error| Error::io("make the directory", dir, error))?;
    for name in REPORTS.iter().chain(&["exitcode", "console.log"]) {
        platform::remove(&dir.join(name))?;
    }
    Ok(())
}
