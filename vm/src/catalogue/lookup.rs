//! The images that can be named: the embedded ones, a user's own descriptions, which replace one of
//! the same id, and a disk file alone.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::architecture::Architecture;
use super::check::{bad_description, sane};
use super::embedded::EMBEDDED;
use super::image::{FirstBoot, Image, Source};
use super::system::System;
use crate::error::{Error, Result};
use crate::platform;

/// What `FILE.toml` beside a disk file may say; all of it may be absent.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Beside {
    title: Option<String>,
    note: Option<String>,
    system: Option<System>,
    architecture: Option<Architecture>,
    kernel_bits: Option<u8>,
    userland_bits: Option<u8>,
    first_boot: Option<FirstBoot>,
    memory: Option<u32>,
    cpus: Option<u32>,
    boot_limit: Option<u64>,
    run_limit: Option<u64>,
}

/// All images that can be named.
#[derive(Debug, Clone)]
pub(crate) struct Catalogue {
    images: Vec<Image>,
}

impl Catalogue {
    /// The embedded ones, and those of the user's directory.
    pub(crate) fn load() -> Result<Self> {
        Self::load_with(user_directory().as_deref())
    }

    /// The embedded ones, and those of this directory, if it is there: each a file `ID.toml`.
    pub(crate) fn load_with(directory: Option<&Path>) -> Result<Self> {
        let mut images = Vec::new();
        for (id, text) in EMBEDDED {
            images.push(Image::parse(text, Path::new(&format!("vm/images/{id}.toml")))?);
        }
        for path in directory.map(descriptions).transpose()?.unwrap_or_default() {
            let image = Image::parse(&settings::read_text(&path)?, &path)?;
            if path.file_stem().and_then(|stem| stem.to_str()) != Some(&image.id) {
                let problem = format!("its id is `{0}`: name the file `{0}.toml`", image.id);
                return Err(bad_description(&path, &problem));
            }
            images.retain(|other| other.id != image.id);
            images.push(image);
        }
        Ok(Self { images })
    }

    /// All, in the order in which they are shown.
    pub(crate) fn images(&self) -> &[Image] {
        &self.images
    }

    /// The image of this id; an error that names the nearest otherwise.
    pub(crate) fn find(&self, id: &str) -> Result<&Image> {
        self.images.iter().find(|image| image.id == id).ok_or_else(|| {
            let ids: Vec<&str> = self.images.iter().map(|image| image.id.as_str()).collect();
            let hint = settings::did_you_mean(id, &ids)
                .unwrap_or_else(|| "`forkproof vm images` shows them all".to_owned());
            Error::Usage(format!("no image `{id}`: {hint}"))
        })
    }

    /// An image from a disk file of the user's (`--image FILE.qcow2`): amd64, cloud-init, 2048 MiB,
    /// unless `FILE.toml` beside it says otherwise. Its id is the file's name without its ending.
    pub(crate) fn image_file(file: &Path) -> Result<Image> {
        let disk = file.canonicalize().map_err(|error| Error::io("open", file, error))?;
        if !disk.is_file() {
            return Err(Error::Usage(format!("--image {}: it is no file", file.display())));
        }
        let beside = file.with_extension("toml");
        let said: Beside = match settings::read(&beside) {
            Err(error) if error.is_missing_file() => Beside::default(),
            said => said?,
        };
        let Beside { title, note, architecture, kernel_bits, userland_bits, .. } = said;
        let architecture = architecture.unwrap_or(Architecture::X86_64);
        let kernel_bits = kernel_bits.unwrap_or(architecture.bits());
        let id: String = file
            .file_stem()
            .map(|stem| stem.to_string_lossy().to_lowercase())
            .unwrap_or_default()
            .chars()
            .map(|c| if sane(c) { c } else { '-' })
            .collect();
        let image = Image {
            id: id.trim_start_matches(['.', '-']).to_owned(),
            title: title.unwrap_or_else(|| file.display().to_string()),
            note: note.unwrap_or_default(),
            system: said.system,
            architecture,
            kernel_bits,
            userland_bits: userland_bits.unwrap_or(kernel_bits),
            first_boot: said.first_boot.unwrap_or(FirstBoot::CloudInit),
            memory: said.memory.unwrap_or(2048),
            cpus: said.cpus.unwrap_or(2),
            boot_limit: said.boot_limit.unwrap_or(600),
            run_limit: said.run_limit.unwrap_or(1800),
            source: Source::File(disk),
        };
        image.check_machine().map_err(|problem| bad_description(&beside, &problem))?;
        Ok(image)
    }
}

/// The `*.toml` of a directory, in order of their names; none if it is not there.
fn descriptions(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = platform::list(directory)?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    Ok(paths)
}

/// Where a user's own descriptions are: `$XDG_CONFIG_HOME/forkproof/images`, or
/// `~/.config/forkproof/images`.
fn user_directory() -> Option<PathBuf> {
    settings::base_directory("XDG_CONFIG_HOME", ".config").map(|base| base.join("forkproof/images"))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn every_description_is_embedded_and_parses() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("images");
        let mut there: Vec<String> = descriptions(&dir)
            .expect("vm/images")
            .iter()
            .map(|path| path.file_stem().expect("a name").to_string_lossy().into_owned())
            .collect();
        let mut embedded: Vec<&str> = EMBEDDED.iter().map(|(id, _)| *id).collect();
        embedded.sort_unstable();
        there.sort();
        assert_eq!(there, embedded);

        let catalogue = Catalogue::load_with(None).expect("all parse");
        for (image, (name, _)) in catalogue.images().iter().zip(EMBEDDED) {
            assert_eq!(image.id, *name, "the id is the file's name");
            if let Source::Download(download) = &image.source {
                for location in download.locations() {
                    assert!(location.starts_with("https://"), "{name}: {location}");
                }
            }
        }
    }

    #[test]
    fn releases_are_filled_in() {
        let catalogue = Catalogue::load_with(None).expect("all parse");
        let image = catalogue.find("freebsd-15").expect("there");
        let Source::Download(download) = &image.source else { panic!("{:?}", image.source) };
        for text in download.locations().chain(download.files()) {
            assert!(text.contains("15.") && !text.contains('{'), "{text}");
        }
    }

    #[rstest]
    #[case("debian-12-tny", "debian-12-tiny")]
    #[case("freebsd14", "freebsd-14")]
    #[case("Ubuntu-24.04", "ubuntu-24.04")]
    fn a_wrong_id_names_the_nearest(#[case] wrong: &str, #[case] right: &str) {
        let catalogue = Catalogue::load_with(None).expect("all parse");
        let error = catalogue.find(wrong).expect_err("misspelt").to_string();
        let nearest = format!("no image `{wrong}`: did you mean `{right}`");
        assert!(error.starts_with(&nearest), "{error}");
    }

    #[test]
    fn a_disk_of_the_users_own() {
        let dir = tempfile::tempdir().expect("a directory");
        let disk = dir.path().join("My Release 1.2.qcow2");
        std::fs::write(&disk, b"QFI\xfb").expect("written");
        let image = Catalogue::image_file(&disk).expect("an image");
        assert_eq!(image.id, "my-release-1.2");
        assert_eq!(
            (image.architecture, image.kernel_bits, image.memory),
            (Architecture::X86_64, 64, 2048)
        );
        assert_eq!(image.first_boot, FirstBoot::CloudInit);

        let beside = dir.path().join("My Release 1.2.toml");
        std::fs::write(&beside, "architecture = \"i686\"\nfirst_boot = \"nuageinit\"\n")
            .expect("written");
        let image = Catalogue::image_file(&disk).expect("an image");
        assert_eq!((image.kernel_bits, image.userland_bits), (32, 32));
        assert_eq!(image.first_boot, FirstBoot::Nuageinit);
        assert_eq!(image.system(), System::FreeBsd);

        std::fs::write(&beside, "memory = 1\nmemroy = 1\n").expect("written");
        let error = Catalogue::image_file(&disk).expect_err("unknown field").to_string();
        assert!(
            error.contains("1.2.toml:2: unknown key `memroy`: did you mean `memory`?"),
            "{error}"
        );
    }
}
