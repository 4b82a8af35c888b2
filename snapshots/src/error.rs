use std::error::Error;
use std::io;

use schema::redact_uris;

use crate::CodecError;

/// Why a store of snapshots, or a file in it, cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The URI does not name a store.
    #[error("`{}` is not a place for snapshots: {reason}; name a folder{}", redact_uris(uri), cloud_uris())]
    Uri {
        /// The URI.
        uri: String,
        /// The mistake in it.
        reason: String,
    },
    /// A setting of a cloud store is wrong. Its value is not shown: it may be a secret.
    #[error("{name}: {reason}")]
    Setting {
        /// The environment variable.
        name: String,
        /// The mistake in it, and what is right.
        reason: String,
    },
    /// The store cannot create a file only if there is none of its name.
    #[error(
        "{place}: this store has no conditional writes ({reason}), so two runs could use one state; use a store that \
         supports If-None-Match, or a folder"
    )]
    Unconditional {
        /// The store.
        place: String,
        /// What it did.
        reason: String,
    },
    /// The file system or the network failed; for cloud stores after ten attempts or three minutes.
    #[error("{place}: cannot {operation}: {cause}; {advice}")]
    Access {
        /// The store or the file.
        place: String,
        /// The operation that failed.
        operation: &'static str,
        /// The error underneath.
        cause: String,
        /// What the user can do.
        advice: &'static str,
    },
    /// A file is missing, or not as it was written.
    #[error("{place}: {reason}; restore the file from a copy, or use another snapshot")]
    Damaged {
        /// The file.
        place: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The manifest is of a newer format.
    #[error(
        "{place}: a snapshot of format {found}; this deltarec supports formats up to {known}. Use the newer deltarec \
         that wrote it, or another state"
    )]
    Newer {
        /// The manifest.
        place: String,
        /// Its format.
        found: u32,
        /// The newest format that this program reads.
        known: u32,
    },
    /// A sound file was written by another program, machine or build.
    #[error("{place}: {reason}; read it with the program that wrote it, or use another snapshot")]
    Foreign {
        /// The file.
        place: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Another run holds the lock of the store.
    #[error("{place}: another run uses this state; stop it, or give each its own state")]
    InUse {
        /// The lock.
        place: String,
    },
    /// Another run has published a snapshot of this number.
    #[error(
        "{place}: another run uses this state and has taken this snapshot; stop one of them or give each its own state"
    )]
    Taken {
        /// The manifest.
        place: String,
    },
    /// There is no number above that of the newest manifest.
    #[error("{place}: no snapshot can have a higher number; move this manifest out of the folder")]
    NoNumber {
        /// The manifest.
        place: String,
    },
    /// The client of the store panicked: a bug, or a setting that it does not check.
    #[error(
        "{place}: the client of the store failed ({reason}); check the settings in the environment, and report this"
    )]
    Client {
        /// The store.
        place: String,
        /// The message of the panic.
        reason: String,
    },
    /// The snapshot is invalid: a bug.
    #[error("{place}: cannot be written: {reason}; please report this")]
    Unwritable {
        /// The file.
        place: String,
        /// The rule that it breaks.
        reason: String,
    },
}

impl StoreError {
    /// Whether the command was wrong (exit code 2) rather than the world (exit code 1).
    pub fn is_usage(&self) -> bool {
        matches!(self, StoreError::Uri { .. } | StoreError::Setting { .. })
    }

    pub(crate) fn of_codec(place: String, error: CodecError) -> Self {
        match error {
            CodecError::Damaged(_) => StoreError::Damaged { place, reason: error.to_string() },
            CodecError::Foreign(_) => StoreError::Foreign { place, reason: error.to_string() },
            CodecError::Unwritable(reason) => StoreError::Unwritable { place, reason },
        }
    }

    pub(crate) fn of_io(place: String, operation: &'static str, cause: &io::Error) -> Self {
        StoreError::Access { place, operation, cause: cause.to_string(), advice: advice_io(cause.kind()) }
    }

    pub(crate) fn of_store(place: String, operation: &'static str, cause: &object_store::Error) -> Self {
        // For a local file the system's error says enough; the layers above it only repeat the path.
        match io_cause(cause) {
            Some(io) => Self::of_io(place, operation, io),
            None => StoreError::Access { place, operation, cause: cause.to_string(), advice: advice(cause) },
        }
    }
}

fn cloud_uris() -> &'static str {
    if cfg!(feature = "cloud") { ", s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX" } else { "" }
}

/// The operating system's error at the bottom, if there is one.
fn io_cause(error: &object_store::Error) -> Option<&io::Error> {
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = next {
        // Clients wrap their own failures in I/O errors too. Only those of the system have a code.
        next = match error.downcast_ref::<io::Error>() {
            Some(io) if io.raw_os_error().is_some() => return Some(io),
            // `source` of an I/O error skips the error that it wraps.
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
        io::ErrorKind::FileTooLarge => "raise the file size limit (ulimit -f), or choose another place",
        io::ErrorKind::InvalidInput => "move it away, or choose another place",
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
    fn system_errors_come_with_advice() {
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
