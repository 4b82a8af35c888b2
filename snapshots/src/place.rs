use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use url::Url;

use crate::StoreError;

/// Where the files of a store are.
pub(crate) struct Place {
    pub(crate) files: Arc<dyn ObjectStore>,
    /// The folder, where it is one of this machine.
    pub(crate) folder: Option<PathBuf>,
}

impl Place {
    /// Finds the place that a URI names; a folder that is missing is made, or is an error.
    pub(crate) fn find(uri: &str, create: bool) -> Result<Self, StoreError> {
        let wrong = |what: String| StoreError::Uri { uri: uri.to_owned(), what };
        if !uri.contains("://") {
            if uri.is_empty() {
                return Err(wrong("it is empty".into()));
            }
            return Self::folder(Path::new(uri), create);
        }
        let url = Url::parse(uri).map_err(|error| wrong(error.to_string()))?;
        match url.scheme() {
            "file" => {
                let path = url.to_file_path().map_err(|()| wrong("file:// is followed by an absolute path".into()))?;
                Self::folder(&path, create)
            }
            "s3" | "s3a" | "gs" | "az" | "azure" | "adl" | "abfs" | "abfss" => Self::cloud(uri, &url),
            other => Err(wrong(format!("{other}:// is not known here"))),
        }
    }

    fn folder(path: &Path, create: bool) -> Result<Self, StoreError> {
        let place = || path.display().to_string();
        if create {
            fs::create_dir_all(path).map_err(|error| StoreError::of_io(place(), "create the folder", &error))?;
        }
        // Said now, it is about the folder and not about the first file in it.
        fs::read_dir(path).map_err(|error| StoreError::of_io(place(), "open the folder", &error))?;
        let files = LocalFileSystem::new_with_prefix(path)
            .map_err(|error| StoreError::of_store(place(), "open the folder", &error))?;
        // A snapshot that is published must outlive a power cut: its log may be let go then.
        Ok(Place { files: Arc::new(files.with_fsync(true)), folder: Some(path.to_owned()) })
    }

    #[cfg(feature = "cloud")]
    fn cloud(uri: &str, url: &Url) -> Result<Self, StoreError> {
        use object_store::prefix::PrefixStore;
        let settings =
            std::env::vars_os().filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)));
        let (files, prefix) = object_store::parse_url_opts(url, settings)
            .map_err(|error| StoreError::of_store(uri.to_owned(), "open the store", &error))?;
        Ok(Place { files: Arc::new(PrefixStore::new(files, prefix)), folder: None })
    }

    #[cfg(not(feature = "cloud"))]
    fn cloud(uri: &str, _: &Url) -> Result<Self, StoreError> {
        let what = "this deltarec was built without cloud stores (feature `cloud`)";
        Err(StoreError::Uri { uri: uri.to_owned(), what: what.into() })
    }
}
