//! Jobs: the suite in many machines, or a shell in one.

use std::collections::{BTreeSet, VecDeque};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};

use crate::cache::{Cache, Files};
use crate::catalogue::{Architecture, FirstBoot, Image, Source};
use crate::disks::{self, Outcome, REPORTS, Report, Stamp};
use crate::error::{Error, Result};
use crate::fetch;
use crate::guest::{self, Work};
use crate::interrupt;
use crate::machine::{Accelerator, Disks, Event, Machine};
use crate::platform;
use crate::{build, payload, seed};

/// How long the canary may take, from power-on to each of its two ends.
const CANARY_LIMIT: Duration = Duration::from_secs(20);
/// What stays free for the host, MiB.
const HOST_MEMORY: u64 = 512;
/// With less than this left, bytes, a machine without a result has probably had no space for it.
const LITTLE_SPACE: u64 = 8 * 1024 * 1024;

/// What all machines of a command have in common.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The emulator to use instead of the system's.
    pub emulator: Option<PathBuf>,
    /// What the processors are made of.
    pub acceleration: Acceleration,
    /// Memory instead of the image's, MiB.
    pub memory: Option<u32>,
    /// Boot limit instead of the image's.
    pub boot_limit: Option<Duration>,
    /// Run limit instead of the image's.
    pub run_limit: Option<Duration>,
    /// How images are fetched.
    pub fetch: fetch::Options,
    /// More words on the command line of the kernels.
    pub append: Vec<String>,
    /// Files and directories that lie beside `forkproof` in the guests, under their last names.
    pub added: Vec<PathBuf>,
}

/// What a user may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Acceleration {
    /// QEMU's own emulation: everywhere, and slow
    Tcg,
    /// The host's processor; an error if a canary does not run on it
    Kvm,
    /// The host's processor if a canary runs on it, emulation otherwise
    Auto,
}

/// An image and the program that goes into its guest.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The image.
    pub image: Image,
    /// A `forkproof` for it.
    pub payload: PathBuf,
}

/// What one guest came to.
#[derive(Debug)]
pub struct Settled {
    /// The image's id.
    pub id: String,
    /// From power-on to the guest's script.
    pub booted: Option<Duration>,
    /// From power-on to the machine's end.
    pub took: Option<Duration>,
    /// The suite's report, if it is one.
    pub report: Option<Report>,
    /// Why it is not conformant.
    pub error: Option<Error>,
}

impl Settled {
    /// Its part of the exit status.
    pub fn status(&self) -> u8 {
        self.error.as_ref().map_or(0, Error::exit_status)
    }
}

/// The worst of exit statuses: no verdict, usage, nothing selected, a failure.
pub fn worst(statuses: impl IntoIterator<Item = u8>) -> u8 {
    const WORST_FIRST: [u8; 5] = [3, 2, 4, 1, 0];
    let rank = |status: &u8| WORST_FIRST.iter().position(|s| s == status).unwrap_or(0);
    statuses.into_iter().min_by_key(rank).unwrap_or(0)
}

/// How many machines at a time: as many as the processors and the memory are enough for, at least
/// one.
///
/// Each counts with all its processors: the suite keeps them busy, and in a guest that is kept
/// waiting for its host, a server's own timeouts pass before it gets to run.
pub fn machines_at_a_time(images: &[&Image], memory: Option<u32>) -> usize {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let available = platform::memory_available().map_or(0, |mib| mib.saturating_sub(HOST_MEMORY));
    let most = |needed: &dyn Fn(&Image) -> u64| {
        images.iter().map(|image| needed(image)).max().unwrap_or(1).max(1)
    };
    let by_processors = processors as u64 / most(&|image| image.cpus.into());
    let by_memory = available / most(&|image| memory.unwrap_or(image.memory).into());
    usize::try_from(by_processors.min(by_memory)).unwrap_or(usize::MAX).max(1)
}

/// What is to be run.
#[derive(Debug)]
pub struct Plan<'a> {
    /// In which guests.
    pub candidates: &'a [Candidate],
    /// Options of `forkproof run`.
    pub options: &'a [String],
    /// Where the results go, each image's in a directory of its name.
    pub out: &'a Path,
    /// Machines at a time.
    pub at_a_time: usize,
}

/// Runs the suite in each guest. `tell` hears of what is going on, image by image, and `settled` of
/// each result.
pub fn run(
    cache: &Cache,
    settings: &Settings,
    plan: &Plan<'_>,
    tell: &(dyn Fn(&str, Progress<'_>) + Sync),
    settled: &(dyn Fn(&Settled) + Sync),
) -> Result<Vec<Settled>> {
    sweep(cache)?;
    let accelerator = accelerator(cache, settings, &|text| tell("kvm", Progress::Step(text)))?;
    let queue: Mutex<VecDeque<&Candidate>> = Mutex::new(plan.candidates.iter().collect());
    let results = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..plan.at_a_time.min(plan.candidates.len()) {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().ok().and_then(|mut queue| queue.pop_front());
                    let Some(candidate) = next else { return };
                    let id = &candidate.image.id;
                    let job = Job {
                        cache,
                        candidate,
                        settings,
                        accelerator,
                        out: &plan.out.join(id),
                        tell: &|progress| tell(id, progress),
                    };
                    let result = job.run(plan.options);
                    if !matches!(result.error, Some(Error::Interrupted)) {
                        settled(&result);
                    }
                    if let Ok(mut results) = results.lock() {
                        results.push(result);
                    }
                }
            });
        }
    });
    interrupt::check()?;
    Ok(results.into_inner().unwrap_or_default())
}

/// What happens to an image's job.
#[derive(Debug, Clone, Copy)]
pub enum Progress<'a> {
    /// Something begins, worth a line.
    Step(&'a str),
    /// The console's newest line: shown where there is room for what changes.
    Console(&'a str),
}

/// The image's files, fetched or built if they are not there.
pub fn obtain(
    cache: &Cache,
    image: &Image,
    options: &fetch::Options,
    tell: &dyn Fn(Progress<'_>),
) -> Result<Files> {
    match &image.source {
        Source::Built(_) => build::ensure(cache, image, &|text| tell(Progress::Step(text))),
        _ => fetch::fetch(image, cache, options, &mut |event| match event {
            fetch::Event::Waiting => {
                tell(Progress::Step("waits for another process that fetches it"))
            }
            fetch::Event::Downloading { url, .. } => {
                tell(Progress::Step(&format!("downloads {url}")));
            }
            fetch::Event::Retrying { why } => {
                tell(Progress::Step(&format!("{why}: tries again")));
            }
            fetch::Event::Verifying(_) => tell(Progress::Step("verifies it")),
            fetch::Event::Unpacking(_) => tell(Progress::Step("unpacks it")),
            fetch::Event::Advanced(_) => {}
        }),
    }
}

struct Job<'a> {
    cache: &'a Cache,
    candidate: &'a Candidate,
    settings: &'a Settings,
    accelerator: Accelerator,
    out: &'a Path,
    tell: &'a dyn Fn(Progress<'_>),
}

impl Job<'_> {
    fn run(&self, options: &[String]) -> Settled {
        let mut settled = Settled {
            id: self.candidate.image.id.clone(),
            booted: None,
            took: None,
            report: None,
            error: None,
        };
        settled.error = self.try_run(options, &mut settled).err();
        let code = self.out.join("exitcode");
        // After an interruption there is nothing to be told; a full disk is told already.
        if !matches!(settled.error, Some(Error::Interrupted)) {
            if let Err(error) = fs::write(&code, format!("{}\n", settled.status())) {
                settled.error.get_or_insert(Error::io("write", &code, error));
            }
        }
        settled
    }

    fn try_run(&self, options: &[String], settled: &mut Settled) -> Result<()> {
        interrupt::check()?;
        clear(self.out)?;
        let image = &self.candidate.image;
        let files = obtain(self.cache, image, &self.settings.fetch, self.tell)?;
        let run = RunDirectory::make(self.cache)?;
        let stamp = Stamp::new();
        let work = Work::Suite(options.to_vec());
        let (payload, added) = (&self.candidate.payload, &self.settings.added);
        prepare(run.path(), &work, &stamp, Some(payload), added)?;
        let machine = machine(image, files, self.settings, self.accelerator, run.path());
        (self.tell)(Progress::Step("powers on"));
        let ended =
            machine.run(stamp.text(), &self.out.join("console.log"), &mut |event| match event {
                Event::Started(after) => {
                    let text = format!("runs the suite after {:.1} s", after.as_secs_f64());
                    (self.tell)(Progress::Step(&text));
                }
                Event::Line(line) => (self.tell)(Progress::Console(&line)),
            })?;
        settled.booted = ended.booted;
        settled.took = Some(ended.took);
        let no_result = |why: String| Error::NoResult {
            id: image.id.clone(),
            why,
            console: ended.console.clone(),
        };
        let outcome = match disks::read_out(&run.path().join(Disks::OUT), &stamp)? {
            Ok(outcome) => outcome,
            Err(_) if space_left(run.path()).is_some_and(|left| left < LITTLE_SPACE) => {
                return Err(Error::DiskFull {
                    path: run.path().to_owned(),
                    kept: format!("image `{}` wrote no result", image.id),
                });
            }
            Err(why) => return Err(ended.without_result(&image.id, why)),
        };
        self.save(&outcome)?;
        let code = match (outcome.exit_code, outcome.problem) {
            (Some(code), None) => code,
            (_, problem) => {
                return Err(Error::PayloadDoesNotRun {
                    id: image.id.clone(),
                    payload: self.candidate.payload.clone(),
                    why: problem.unwrap_or_default(),
                });
            }
        };
        let last_words = || {
            let text = outcome.files.get("output.log").map(|bytes| String::from_utf8_lossy(bytes));
            let text = text.unwrap_or_default();
            let line = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
            line.trim_start_matches("forkproof: ").to_owned()
        };
        let text = match (code, outcome.files.get("report.json")) {
            (2, _) => return Err(Error::Usage(format!("image `{}`: {}", image.id, last_words()))),
            (4, _) => {
                return Err(Error::NothingSelected { id: image.id.clone(), why: last_words() });
            }
            (3, None) => {
                return Err(Error::NoVerdict { id: image.id.clone(), why: last_words() });
            }
            (_, None) => return Err(no_result("its report is missing".into())),
            (_, Some(text)) => text,
        };
        let report = Report::read(text, code).map_err(no_result)?;
        self.is_of_this_guest(&report).map_err(no_result)?;
        let unexpected =
            report.with_verdict("xpass").map(|id| format!("{id} (passed unexpectedly)"));
        let failed: Vec<String> =
            report.with_verdict("fail").map(str::to_owned).chain(unexpected).collect();
        let broken: Vec<String> = report.with_verdict("error").map(str::to_owned).collect();
        settled.report = Some(report);
        match code {
            0 => Ok(()),
            1 => Err(Error::SuiteFailed { id: image.id.clone(), why: failed.join(", ") }),
            _ => Err(Error::NoVerdict {
                id: image.id.clone(),
                why: format!("the suite itself had errors in {}", broken.join(", ")),
            }),
        }
    }

    /// The widths are the point of some images: a report of another machine proves nothing.
    fn is_of_this_guest(&self, report: &Report) -> std::result::Result<(), String> {
        let image = &self.candidate.image;
        let platform = &report.platform;
        let is_own = matches!(image.source, Source::File(_));
        let kernel_fits = platform.kernel_bits == 0 || platform.kernel_bits == image.kernel_bits;
        if platform.userland_bits != image.userland_bits || !(kernel_fits || is_own) {
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
            fs::write(&path, content).map_err(|error| Error::io("write", &path, error))?;
        }
        Ok(())
    }
}

/// Opens a shell in a guest on this terminal; with an id, that requirement is checked before, with
/// these options of `forkproof run`.
pub fn shell(
    cache: &Cache,
    candidate: &Candidate,
    settings: &Settings,
    id: Option<&str>,
    options: &[String],
    tell: &dyn Fn(&str),
) -> Result<()> {
    sweep(cache)?;
    let image = &candidate.image;
    let accelerator = accelerator(cache, settings, tell)?;
    let files = obtain(cache, image, &settings.fetch, &|progress| {
        if let Progress::Step(text) = progress {
            tell(text);
        }
    })?;
    let run = RunDirectory::make(cache)?;
    let stamp = Stamp::new();
    let work = Work::Shell { id: id.map(str::to_owned), options: options.to_vec() };
    prepare(run.path(), &work, &stamp, Some(&candidate.payload), &settings.added)?;
    let machine = machine(image, files, settings, accelerator, run.path());
    tell("powers on; Ctrl-A X ends the machine");
    machine.run_on_terminal(stamp.text())?;
    match disks::read_out(&run.path().join(Disks::OUT), &stamp)? {
        Ok(Outcome { problem: Some(why), .. }) => Err(Error::PayloadDoesNotRun {
            id: image.id.clone(),
            payload: candidate.payload.clone(),
            why,
        }),
        // Whoever ends the machine with Ctrl-A X wants it so.
        _ => Ok(()),
    }
}

fn machine(
    image: &Image,
    files: Files,
    settings: &Settings,
    accelerator: Accelerator,
    dir: &Path,
) -> Machine {
    Machine {
        id: image.id.clone(),
        architecture: image.architecture,
        files,
        first_boot: image.first_boot.clone(),
        emulator: settings.emulator.clone(),
        accelerator,
        memory: settings.memory.unwrap_or(image.memory),
        cpus: image.cpus,
        append: settings.append.clone(),
        boot_limit: settings.boot_limit.unwrap_or(Duration::from_secs(image.boot_limit)),
        run_limit: settings.run_limit.unwrap_or(Duration::from_secs(image.run_limit)),
        dir: dir.to_owned(),
    }
}

fn prepare(
    dir: &Path,
    work: &Work,
    stamp: &Stamp,
    payload: Option<&Path>,
    added: &[PathBuf],
) -> Result<()> {
    disks::write_job(&dir.join(Disks::JOB), &guest::run_script(work, stamp), payload, added)?;
    disks::write_out(&dir.join(Disks::OUT), stamp)?;
    seed::write(&dir.join(Disks::SEED), stamp.text(), &guest::user_data())
}

/// Makes the directory, without what an earlier run left in it.
fn clear(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).map_err(|error| Error::io("make the directory", dir, error))?;
    for name in REPORTS.iter().chain(&["exitcode", "console.log"]) {
        let path = dir.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::io("remove", &path, error));
            }
            _ => {}
        }
    }
    Ok(())
}

fn space_left(dir: &Path) -> Option<u64> {
    let space = nix::sys::statvfs::statvfs(dir).ok()?;
    #[allow(clippy::useless_conversion, reason = "the types differ between systems and widths")]
    Some(u64::from(space.blocks_available()).saturating_mul(u64::from(space.fragment_size())))
}

/// Decides what the processors are made of. That /dev/kvm opens proves nothing: hosts were seen on
/// which machines are made, and no kernel gets anywhere. So a tiny image must write its result
/// first.
fn accelerator(cache: &Cache, settings: &Settings, tell: &dyn Fn(&str)) -> Result<Accelerator> {
    if settings.acceleration == Acceleration::Tcg {
        return Ok(Accelerator::Tcg);
    }
    match canary(cache, settings) {
        Ok(()) => Ok(Accelerator::Kvm),
        Err(Error::Interrupted) => Err(Error::Interrupted),
        Err(error) if settings.acceleration == Acceleration::Kvm => Err(Error::QemuFailed {
            id: CANARY.into(),
            why: format!("no canary came back from KVM: {error}"),
        }),
        Err(error) => {
            tell(&format!("not used, since no canary came back: {error}"));
            Ok(Accelerator::Tcg)
        }
    }
}

/// The image that flies first.
const CANARY: &str = "debian-12-tiny";

fn canary(cache: &Cache, settings: &Settings) -> Result<()> {
    const DEVICE: &str = "/dev/kvm";
    let device = Path::new(DEVICE);
    File::options()
        .read(true)
        .write(true)
        .open(device)
        .map_err(|error| Error::io("open", device, error))?;
    let catalogue = crate::catalogue::Catalogue::load()?;
    let image = catalogue.find(CANARY)?;
    let files = build::ensure(cache, image, &|_| ())?;
    let run = RunDirectory::make(cache)?;
    let stamp = Stamp::new();
    prepare(run.path(), &Work::Canary, &stamp, None, &[])?;
    let mut machine = machine(image, files, settings, Accelerator::Kvm, run.path());
    machine.boot_limit = CANARY_LIMIT;
    machine.run_limit = CANARY_LIMIT;
    let ended = machine.run(stamp.text(), &run.path().join("console.log"), &mut |_| ())?;
    match disks::read_out(&run.path().join(Disks::OUT), &stamp)? {
        Ok(Outcome { exit_code: Some(0), .. }) => Ok(()),
        Ok(_) => Err(ended.without_result(CANARY, "it wrote something else".into())),
        Err(why) => Err(ended.without_result(CANARY, why)),
    }
}

/// A directory for one machine's files, below the cache, where there is room. It is removed with
/// this value; should this program be killed, by a later one, which finds its lock free.
struct RunDirectory {
    dir: tempfile::TempDir,
    _lock: Flock<File>,
}

const RUNS: &str = ".runs";
const RUN_LOCK: &str = "lock";

impl RunDirectory {
    fn make(cache: &Cache) -> Result<Self> {
        let runs = cache.root().join(RUNS);
        fs::create_dir_all(&runs).map_err(|error| Error::io("make the directory", &runs, error))?;
        let dir = tempfile::Builder::new()
            .prefix("run-")
            .tempdir_in(&runs)
            .map_err(|error| Error::io("make a directory in", &runs, error))?;
        let path = dir.path().join(RUN_LOCK);
        let lock = File::create(&path)
            .and_then(|file| {
                Flock::lock(file, FlockArg::LockExclusiveNonblock)
                    .map_err(|(_, errno)| errno.into())
            })
            .map_err(|error| Error::io("lock", &path, error))?;
        Ok(Self { dir, _lock: lock })
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }
}

/// Removes what programs that were killed have left.
fn sweep(cache: &Cache) -> Result<()> {
    let runs = cache.root().join(RUNS);
    let Ok(entries) = fs::read_dir(&runs) else { return Ok(()) };
    for entry in entries.flatten() {
        // One without a lock is being made, or was not made to its end: an hour tells.
        let free = match File::open(entry.path().join(RUN_LOCK)) {
            Ok(file) => Flock::lock(file, FlockArg::LockExclusiveNonblock).is_ok(),
            Err(_) => entry
                .metadata()
                .and_then(|metadata| metadata.modified())
                .is_ok_and(|at| at.elapsed().is_ok_and(|age| age > Duration::from_secs(3600))),
        };
        if free {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    Ok(())
}

/// Refuses what would let one image's results overwrite another's.
pub fn refuse_duplicates<'a>(ids: impl Iterator<Item = &'a str>) -> Result<()> {
    let mut seen = BTreeSet::new();
    for id in ids {
        if !seen.insert(id) {
            return Err(Error::Usage(format!("image `{id}` is named twice: once is enough")));
        }
    }
    Ok(())
}

/// Sees, before anything is built or fetched, that the programs for these images are there.
pub fn require_programs(candidates: &[Candidate], settings: &Settings) -> Result<()> {
    let mut architectures: Vec<Architecture> = Vec::new();
    for candidate in candidates {
        let image = &candidate.image;
        if settings.emulator.is_none() && !architectures.contains(&image.architecture) {
            architectures.push(image.architecture);
            crate::machine::emulator_of(image.architecture)?;
        }
        if !settings.append.is_empty() && !matches!(image.source, Source::Built(_)) {
            return Err(Error::Usage(format!(
                "--append: image `{}` starts its kernel itself; only those that are built here get \
                 its command line from QEMU",
                image.id
            )));
        }
        if image.first_boot != FirstBoot::Agent || !is_tiny(image) {
            crate::machine::program("qemu-img")?;
        }
    }
    Ok(())
}

fn is_tiny(image: &Image) -> bool {
    matches!(&image.source, Source::Built(built) if built.kind == crate::catalogue::Kind::Tiny)
}

/// The candidates for a command: each image with its payload.
pub fn candidates(images: Vec<Image>, payloads: &[PathBuf]) -> Result<Vec<Candidate>> {
    refuse_duplicates(images.iter().map(|image| image.id.as_str()))?;
    images
        .into_iter()
        .map(|image| {
            let payload = payload::find(payload::Wanted::by(&image), payloads)?;
            Ok(Candidate { image, payload })
        })
        .collect()
}

/// One line about a guest, for people.
pub fn line(settled: &Settled, candidate: &Candidate) -> String {
    let image = &candidate.image;
    let mut times = String::new();
    if let (Some(booted), Some(took)) = (settled.booted, settled.took) {
        times = format!(
            "  (boot {:.1} s, boot to verdict {:.1} s; {})",
            booted.as_secs_f64(),
            (took - booted).as_secs_f64(),
            image.widths()
        );
    }
    match (&settled.report, &settled.error) {
        (Some(report), None) => format!("{}: conformant: {}{times}", settled.id, report.summary()),
        (Some(report), Some(error)) => {
            format!("{}: {}{times}\nforkproof: {error}", settled.id, report.summary())
        }
        (None, Some(error)) => format!("forkproof: {error}"),
        (None, None) => settled.id.clone(),
    }
}

/// Writes a line to standard output; a reader that has gone is no reason to stop.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
