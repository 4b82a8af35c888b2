use std::error::Error;
use std::io;

use crate::CodecError;

/// A store of snapshots that cannot be used, or a file in it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Not the name of a store.
    #[error("`{uri}` is no place for snapshots: {what}; name a folder{}", cloud_places())]
    Uri {
        /// What was given.
        uri: String,
        /// What is wrong with it.
        what: String,
    },
    /// The outside world said no, for cloud stores after ten tries or three minutes.
    #[error("{place}: cannot {doing}: {cause}; {advice}")]
    Access {
        /// The store or the file.
        place: String,
        /// What was tried.
        doing: &'static str,
        /// What happened.
        cause: String,
        /// What to do about it.
        advice: &'static str,
    },
    /// A file that is not as it was written, or is missing.
    #[error("{place}: {what}; restore the file from a copy, or use another snapshot")]
    Damaged {
        /// The file.
        place: String,
        /// What is wrong with it.
        what: String,
    },
    /// A manifest of the future.
    #[error(
        "{place}: a snapshot of format {found}, and this deltarec knows formats up to {known}; use the newer deltarec \
         that wrote it, or another state"
    )]
    Newer {
        /// The manifest.
        place: String,
        /// Its format.
        found: u32,
        /// What this program knows.
        known: u32,
    },
    /// A sound file of another program, machine or build.
    #[error("{place}: {what}; read it with the program that wrote it, or use another snapshot")]
    Foreign {
        /// The file.
        place: String,
        /// What is wrong with it.
        what: String,
    },
    /// Another run writes here.
    #[error("{place}: another run uses this state; stop it, or give each its own state")]
    InUse {
        /// The lock.
        place: String,
    },
    /// A snapshot of this number is there already, and not from this run.
    #[error(
        "{place}: another run uses this state and has taken this snapshot; stop one of them or give each its own state"
    )]
    Taken {
        /// The manifest.
        place: String,
    },
    /// Something that cannot be stored; a mistake of the program.
    #[error("{place}: cannot be written: {what}; please report this")]
    Unwritable {
        /// The file.
        place: String,
        /// Why not.
        what: String,
    },
}

impl StoreError {
    /// Whether the command was wrong (exit code 2) rather than the world (exit code 1).
    pub fn is_usage(&self) -> bool {
        matches!(self, StoreError::Uri { .. })
    }

    pub(crate) fn of_codec(place: String, error: CodecError) -> Self {
        match error {
            CodecError::Damaged(_) => StoreError::Damaged { place, what: error.to_string() },
            CodecError::Foreign(_) => StoreError::Foreign { place, what: error.to_string() },
            CodecError::Unwritable(what) => StoreError::Unwritable { place, what },
        }
    }

    pub(crate) fn of_io(place: String, doing: &'static str, cause: &io::Error) -> Self {
        StoreError::Access { place, doing, cause: cause.to_string(), advice: advice_io(cause.kind()) }
    }

    pub(crate) fn of_store(place: String, doing: &'static str, cause: &object_store::Error) -> Self {
        // Of a local file the error of the system says it all; the layers above it only repeat the path.
        match beneath(cause) {
            Some(io) => Self::of_io(place, doing, io),
            None => StoreError::Access { place, doing, cause: cause.to_string(), advice: advice(cause) },
        }
    }
}

fn cloud_places() -> &'static str {
    if cfg!(feature = "cloud") { ", s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX" } else { "" }
}

/// The error of the operating system that is the cause, if one is.
fn beneath(error: &object_store::Error) -> Option<&io::Error> {
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = next {
        // Clients wrap their own failures in errors of their own making, which no system code tells apart.
        next = match error.downcast_ref::<io::Error>() {
            Some(io) if io.raw_os_error().is_some() => return Some(io),
            // What an error of this type wraps is not its source, but its source's parent.
            Some(io) => io.get_ref().map(|inner| inner as &(dyn Error + 'static)),
            None => error.source(),
        };
    }
    None
}

fn advice_io(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::PermissionDenied => "allow this user to read and write there, or choose another place",
        io::ErrorKind::ReadOnlyFilesystem => "make it writable, or choose another place",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "free some space (`deltarec snapshot prune` deletes old snapshots), or choose another place"
        }
        io::ErrorKind::FileTooLarge => "raise the limit of the size of files (ulimit -f), or choose another place",
        io::ErrorKind::NotFound => "check the path",
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            "a file is where a folder should be: move it away, or choose another place"
        }
        io::ErrorKind::IsADirectory => "a folder is where a file should be: move it away, or choose another place",
        _ => "check the disk and the network, and run again",
    }
}

fn advice(error: &object_store::Error) -> &'static str {
    match error {
        object_store::Error::PermissionDenied { .. } => "allow these credentials to list, read, write and delete there",
        object_store::Error::Unauthenticated { .. } => {
            "give credentials in the environment, as the store's own tools take them (AWS_..., GOOGLE_..., AZURE_...)"
        }
        object_store::Error::NotFound { .. } => "check the name of the bucket or container",
        _ => "check the name, the credentials in the environment and the network, and run again",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_is_told_with_advice() {
        for (kind, part) in [
            (io::ErrorKind::StorageFull, "free some space"),
            (io::ErrorKind::PermissionDenied, "allow this user"),
            (io::ErrorKind::ReadOnlyFilesystem, "make it writable"),
        ] {
            assert!(advice_io(kind).contains(part));
        }
        let full = io::Error::from_raw_os_error(28);
        let wrapped = object_store::Error::Generic { store: "x", source: Box::new(io::Error::other(full)) };
        let text = StoreError::of_store("groups/a".into(), "write", &wrapped).to_string();
        assert!(text.starts_with("groups/a: cannot write: ") && text.contains("free some space"), "{text}");
    }
}
