//! From a URI to the files of a store.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use url::Url;

use crate::StoreError;

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
            if uri.is_empty() {
                return Err(invalid("it is empty".into()));
            }
            return Self::folder(Path::new(uri), create);
        }
        let url = Url::parse(uri).map_err(|error| invalid(error.to_string()))?;
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
            fs::create_dir_all(path).map_err(|error| StoreError::of_io(place(), "create the folder", &error))?;
        }
        // Fail now, with the folder in the message, rather than at the first file.
        fs::read_dir(path).map_err(|error| StoreError::of_io(place(), "open the folder", &error))?;
        let files = LocalFileSystem::new_with_prefix(path)
            .map_err(|error| StoreError::of_store(place(), "open the folder", &error))?;
        // A published snapshot must survive a power cut: the log may be deleted up to it.
        Ok(Location { files: Arc::new(files.with_fsync(true)), folder: Some(path.to_owned()) })
    }

    #[cfg(feature = "cloud")]
    fn cloud(uri: &str, url: &Url) -> Result<Self, StoreError> {
        use object_store::prefix::PrefixStore;
        let settings = crate::cloud::settings(std::env::vars_os())
            .map_err(|reason| StoreError::Uri { uri: uri.to_owned(), reason })?;
        let (files, prefix) = object_store::parse_url_opts(url, settings)
            .map_err(|error| StoreError::of_store(uri.to_owned(), "open the store", &error))?;
        Ok(Location { files: Arc::new(PrefixStore::new(files, prefix)), folder: None })
    }

    #[cfg(not(feature = "cloud"))]
    fn cloud(uri: &str, _: &Url) -> Result<Self, StoreError> {
        let reason = "this deltarec was built without cloud stores (feature `cloud`)";
        Err(StoreError::Uri { uri: uri.to_owned(), reason: reason.into() })
    }
}
