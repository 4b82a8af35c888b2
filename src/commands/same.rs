//! Whether two inputs or outputs are one thing under two names.

use std::fs::Metadata;
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use connectors::Uri;
use rustix::fs::{FileType, fstat};

/// What a name leads to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Device and inode of what exists: the same for hard and symbolic links.
    Existing(u64, u64),
    /// Path without links of what does not exist yet.
    Missing(PathBuf),
    /// Something that several may use, such as `/dev/null`.
    Shareable,
    /// Anything else, which has only this name.
    Named(Uri),
}

impl Place {
    pub(crate) fn of_input(uri: &Uri) -> Self {
        match Place::of(uri, std::io::stdin()) {
            // `-` is stdin here, and stdout as an output.
            Place::Named(Uri::Stdio) => Place::Shareable,
            place => place,
        }
    }

    pub(crate) fn of_output(uri: &Uri) -> Self {
        Place::of(uri, std::io::stdout())
    }

    pub(crate) fn of_path(path: &Path) -> Self {
        match path.metadata() {
            Ok(found) => Place::of_existing(&found),
            Err(error) if error.kind() == ErrorKind::NotFound => Place::Missing(resolve(path, MAX_LINKS)),
            // Opening it reports the error.
            Err(_) => Place::Shareable,
        }
    }

    pub(crate) fn is_same(&self, other: &Place) -> bool {
        self == other && *self != Place::Shareable
    }

    fn of(uri: &Uri, stream: impl AsFd) -> Self {
        match uri {
            Uri::File { path, .. } => Place::of_path(path),
            // The shell may have redirected it to a file that is an input or output too.
            Uri::Stdio => match fstat(stream) {
                Ok(found) if FileType::from_raw_mode(found.st_mode) == FileType::RegularFile => {
                    Place::Existing(found.st_dev, found.st_ino)
                }
                _ => Place::Named(Uri::Stdio),
            },
            Uri::Generate(_) => Place::Shareable,
            Uri::Kafka(_) => Place::Named(uri.clone()),
        }
    }

    fn of_existing(found: &Metadata) -> Self {
        if found.file_type().is_char_device() { Place::Shareable } else { Place::Existing(found.dev(), found.ino()) }
    }
}

/// Most symbolic links that are followed, as on Linux.
const MAX_LINKS: usize = 40;

/// The path of a missing file without links, also where a link leads to it.
fn resolve(path: &Path, links: usize) -> PathBuf {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match path.read_link() {
        // `join` takes an absolute target as it is.
        Ok(target) if links > 0 => resolve(&folder.join(target), links - 1),
        _ => {
            let mut whole = folder.canonicalize().unwrap_or_else(|_| resolve(folder, links));
            match path.file_name() {
                Some(name) => whole.push(name),
                // It ends in `..`.
                None => drop(whole.pop()),
            }
            whole
        }
    }
}

/// The folder of a state, if it is on this machine.
pub(crate) fn state_folder(uri: &str) -> Option<&Path> {
    let path = uri.strip_prefix("file://").unwrap_or(uri);
    (!path.is_empty() && !path.contains("://")).then(|| Path::new(path))
}

/// Whether an output would be a file in a folder, or in one below it.
pub(crate) fn is_within(output: &Uri, folder: &Path) -> bool {
    let path = match output {
        Uri::File { path, .. } => path.clone(),
        Uri::Stdio => std::fs::read_link("/proc/self/fd/1").unwrap_or_default(),
        Uri::Generate(_) | Uri::Kafka(_) => return false,
    };
    let whole = |path: &Path| path.canonicalize().unwrap_or_else(|_| resolve(path, MAX_LINKS));
    path.components().next().is_some() && whole(&path).starts_with(whole(folder))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use connectors::{Compression, Format};

    use super::*;

    #[test]
    fn links_and_spellings_of_a_path_are_the_same_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::write(path("a.jsonl"), "").unwrap();
        std::fs::create_dir(path("folder")).unwrap();
        std::fs::hard_link(path("a.jsonl"), path("hard.jsonl")).unwrap();
        for (target, link) in [("a.jsonl", "soft.jsonl"), ("new.jsonl", "dangling.jsonl"), (".", "here")] {
            symlink(target, path(link)).unwrap();
        }
        symlink("dangling.jsonl", path("twice.jsonl")).unwrap();
        symlink(path("new.jsonl"), path("absolute.jsonl")).unwrap();
        symlink("loop.jsonl", path("loop.jsonl")).unwrap();
        let same = |a: &str, b: &str| Place::of_path(&path(a)).is_same(&Place::of_path(&path(b)));
        for (a, b) in [
            ("a.jsonl", "hard.jsonl"),
            ("a.jsonl", "soft.jsonl"),
            ("a.jsonl", "./folder/../a.jsonl"),
            ("a.jsonl", "here/a.jsonl"),
            ("new.jsonl", "dangling.jsonl"),
            ("new.jsonl", "twice.jsonl"),
            ("new.jsonl", "absolute.jsonl"),
            ("new.jsonl", "here/new.jsonl"),
        ] {
            assert!(same(a, b), "{a} and {b}");
        }
        for (a, b) in [("a.jsonl", "new.jsonl"), ("new.jsonl", "other.jsonl"), ("loop.jsonl", "a.jsonl")] {
            assert!(!same(a, b), "{a} and {b}");
        }
        let within = |path: &str, folder: &str| {
            let path = dir.path().join(path);
            let output = Uri::File { path, format: Format::JsonLines, compression: Compression::Plain };
            is_within(&output, &dir.path().join(folder))
        };
        for (path, folder) in [
            ("folder/x", "folder"),
            ("folder/x", "folder/"),
            ("here/folder/x", "folder"),
            ("new/x/y", "new"),
            ("new/x/../y", "new"),
            ("here/new/y", "./new"),
        ] {
            assert!(within(path, folder), "{path} in {folder}");
        }
        for (path, folder) in [("folder.jsonl", "folder"), ("new/../x", "new"), ("x", "folder"), ("newer/x", "new")] {
            assert!(!within(path, folder), "{path} in {folder}");
        }
        let null = Place::of_path(Path::new("/dev/null"));
        assert!(!null.is_same(&null));
    }
}
