//! What lies in the folders of a store.
//!
//! A folder is listed here and not by `object_store`, which follows links into other folders, hides whatever is not a file
//! and fails at a name that is not UTF-8. Any of these in place of a manifest would stop every run.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path as FsPath;

use futures_util::TryStreamExt;
use object_store::ObjectStore;
use object_store::path::Path;
use rustix::fs::OFlags;

use crate::files::{self, GroupName, LOCK, MANIFESTS};
use crate::{Kind, Store, StoreError};

/// What has a name in a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// A file of this size, or a link to one.
    File(u64),
    /// Anything else, described with an article.
    Other(&'static str),
}

impl Entry {
    /// Why a file cannot be read, if this is none.
    pub(crate) fn check_file(self) -> Result<u64, String> {
        match self {
            Entry::File(size) => Ok(size),
            Entry::Other(kind) => Err(format!("it is {kind} and not a file")),
        }
    }
}

/// The files of a store.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// Manifests by number.
    pub(crate) manifests: BTreeMap<u64, Entry>,
    /// Group files of all kinds by path.
    pub(crate) groups: HashMap<String, Entry>,
    /// Names like those of manifests that this program does not write: another number of digits, or too large a number.
    pub(crate) ignored: Vec<String>,
}

impl Listing {
    /// The highest number in the name of a group file.
    pub(crate) fn newest_group(&self) -> Option<u64> {
        self.groups.keys().filter_map(|file| GroupName::parse(file)).map(|name| name.sequence).max()
    }
}

impl Store {
    /// Lists manifests and group files. Other files are left out.
    pub(crate) async fn listing(&self) -> Result<Listing, StoreError> {
        // Manifests first: all files of a published snapshot are there before its manifest.
        let mut listing = Listing::default();
        for (file, entry) in self.list_files(MANIFESTS).await? {
            if let Some(sequence) = files::manifest_sequence(&file) {
                listing.manifests.insert(sequence, entry);
            } else if files::resembles_manifest(&file) {
                listing.ignored.push(self.place(&Path::from(file)));
            }
        }
        listing.ignored.sort();
        listing.groups = self.groups().await?;
        Ok(listing)
    }

    /// Lists the group files of all kinds.
    pub(crate) async fn groups(&self) -> Result<HashMap<String, Entry>, StoreError> {
        let mut groups = HashMap::new();
        for kind in Kind::ALL {
            let files = self.list_files(kind.folder()).await?.into_iter();
            groups.extend(files.filter(|(file, _)| GroupName::parse(file).is_some()));
        }
        Ok(groups)
    }

    /// Lists everything in a folder, by its path in the store. Names that are not UTF-8 are left out.
    async fn list_files(&self, folder: &str) -> Result<Vec<(String, Entry)>, StoreError> {
        let place = || format!("{}/{folder}", self.name().trim_end_matches('/'));
        if let Some(root) = &self.folder {
            return list_folder(root, folder).map_err(|error| StoreError::of_io(place(), "list the files", &error));
        }
        let files = self.files.list(Some(&Path::from(folder)));
        let files = files.map_ok(|file| (String::from(file.location), Entry::File(file.size)));
        files.try_collect().await.map_err(|error| StoreError::of_store(place(), "list the files", &error))
    }

    /// The number of the last snapshot that was published here, as far as it is known: from the lock of a folder.
    pub(crate) fn recorded_sequence(&self) -> Option<u64> {
        const LONGEST: u64 = 32;
        let lock = open_plain(&self.folder.as_ref()?.join(LOCK), File::options().read(true)).ok()?;
        let mut text = String::new();
        lock.take(LONGEST).read_to_string(&mut text).ok()?;
        text.lines().next()?.parse().ok().filter(|sequence| *sequence <= files::MAX_SEQUENCE)
    }
}

/// Opens a regular file. A link is not followed, and a pipe does not block.
pub(crate) fn open_plain(path: &FsPath, options: &mut fs::OpenOptions) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = options.custom_flags(flags.bits().cast_signed()).open(path);
    if fs::symlink_metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    file
}

fn list_folder(root: &FsPath, folder: &str) -> io::Result<Vec<(String, Entry)>> {
    let path = root.join(folder);
    let entries = match fs::read_dir(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return match fs::symlink_metadata(&path) {
                Ok(_) => Err(io::Error::new(io::ErrorKind::NotFound, LOST_LINK)),
                Err(_) => Ok(Vec::new()),
            };
        }
        entries => entries?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if let Some(entry) = entry_at(&entry.path()) {
            files.push((format!("{folder}/{name}"), entry));
        }
    }
    Ok(files)
}

const LOST_LINK: &str = "a link that leads nowhere";

/// `None`: deleted in the meantime.
fn entry_at(path: &FsPath) -> Option<Entry> {
    match fs::metadata(path) {
        Ok(found) if found.is_file() => Some(Entry::File(found.len())),
        Ok(found) if found.is_dir() => Some(Entry::Other("a folder")),
        Ok(_) => Some(Entry::Other("a pipe, a socket or a device")),
        Err(_) => fs::symlink_metadata(path).ok().map(|_| Entry::Other(LOST_LINK)),
    }
}
