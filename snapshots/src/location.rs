//! From a URI to the files of a store.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use schema::scheme_without_slashes;
use url::Url;

use crate::files::MANIFESTS;
use crate::{Kind, StoreError};

/// The location of a store.
pub(crate) struct Location {
    pub(crate) files: Arc<dyn ObjectStore>,
    /// The folder, if the store is on this machine.
    pub(crate) folder: Option<PathBuf>,
}

impl Location {
    /// Resolves a URI. A missing folder is created, or is an error.
    pub(crate) fn resolve(uri: &str, create: bool) -> Result<Self, StoreError> {
        let invalid = |reason: String| StoreError::Uri { uri: uri.to_owned(), reason };
        if !uri.contains("://") {
            if uri.trim().is_empty() {
                return Err(invalid("it is empty".into()));
            }
            if let Some(scheme) = scheme_without_slashes(uri) {
                return Err(invalid(format!("{scheme}: needs two slashes (a folder of this name is ./NAME)")));
            }
            return Self::folder(Path::new(uri), create);
        }
        let url = Url::parse(uri).map_err(|error| invalid(error.to_string()))?;
        check_text(uri).map_err(|reason| invalid(reason.into()))?;
        match url.scheme() {
            "file" => {
                let path = url.to_file_path().map_err(|()| invalid("file:// needs an absolute path".into()))?;
                Self::folder(&path, create)
            }
            "s3" | "s3a" | "gs" | "az" | "azure" | "adl" | "abfs" | "abfss" => Self::cloud(uri, &url),
            other => Err(invalid(format!("{other}:// is not supported"))),
        }
    }

    fn folder(path: &Path, create: bool) -> Result<Self, StoreError> {
        let place = || path.display().to_string();
        if create {
            create_private(path).map_err(|error| StoreError::of_io(place(), "create the folder", &error))?;
        }
        // Fail now, with the folder in the message, rather than at the first file.
        fs::read_dir(path).map_err(|error| StoreError::of_io(place(), "open the folder", &error))?;
        if create {
            create_parts(path)?;
        }
        let files = LocalFileSystem::new_with_prefix(path)
            .map_err(|error| StoreError::of_store(place(), "open the folder", &error))?;
        // A published snapshot must survive a power cut: the log may be deleted up to it.
        Ok(Location { files: Arc::new(files.with_fsync(true)), folder: Some(path.to_owned()) })
    }

    #[cfg(feature = "cloud")]
    fn cloud(uri: &str, url: &Url) -> Result<Self, StoreError> {
        let files = crate::cloud::open(uri, url).expect("only schemes of clouds come here")?;
        Ok(Location { files, folder: None })
    }

    #[cfg(not(feature = "cloud"))]
    fn cloud(uri: &str, _: &Url) -> Result<Self, StoreError> {
        let reason = "this deltarec was built without cloud stores (feature `cloud`)";
        Err(StoreError::Uri { uri: uri.to_owned(), reason: reason.into() })
    }
}

/// Checks that every part of a URI is used as it is written. Parsers of URLs drop blanks around it and line breaks in it,
/// resolve `..`, and the stores ignore queries and fragments: the snapshots would be in another place than the user thinks.
fn check_text(uri: &str) -> Result<(), &'static str> {
    if uri.contains(['?', '#']) {
        return Err("`?` and `#` have no meaning in it: leave them out, or write %3F and %23 if a name contains them");
    }
    if uri.contains('&') && !uri.starts_with("file:") {
        return Err("`&` looks like a part of a query, which has no meaning in it: write %26 if a name contains it");
    }
    if uri.trim() != uri || uri.chars().any(char::is_control) {
        return Err("it contains a line break or blanks around it");
    }
    if uri.split('/').any(|part| matches!(part, "." | "..")) {
        return Err("it contains `.` or `..`: write the whole path");
    }
    Ok(())
}

/// Creates a folder, and those above it that are missing.
fn create_private(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(private::FOLDER).create(path)
}

/// Creates the folders of manifests and of files. Those of an earlier version are closed to other users.
fn create_parts(root: &Path) -> Result<(), StoreError> {
    let mut tightened = false;
    for part in Kind::ALL.map(Kind::folder).into_iter().chain([MANIFESTS]) {
        let path = root.join(part);
        create_private(&path)
            .map_err(|error| StoreError::of_io(path.display().to_string(), "create the folder", &error))?;
        tightened |= private::tighten(&path);
    }
    if tightened {
        tracing::warn!(
            state = %root.display(),
            "other users could read the state, which has the names of users; now only its owner can"
        );
    }
    Ok(())
}

/// Permissions of a state: its owner's alone, because it has the names of users.
pub(crate) mod private {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    pub(crate) const FOLDER: u32 = 0o700;
    pub(crate) const FILE: u32 = 0o600;

    /// Takes the permissions of other users away. Returns whether they had any. A file system without permissions, or an
    /// owner that is another user, keeps them: what runs here cannot change that.
    pub(crate) fn tighten(path: &Path) -> bool {
        let Ok(found) = fs::metadata(path) else { return false };
        let mode = found.permissions().mode() & 0o777;
        mode & 0o077 != 0 && fs::set_permissions(path, Permissions::from_mode(mode & 0o700)).is_ok()
    }
}
