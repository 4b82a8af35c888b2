//! Files of outputs: opened without a change, and locked.

use std::fs::{File, Metadata};
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::output_file::{OutputFile, OutputPipe};
use super::{Output, compress};
use crate::error::sink_error;
use crate::{Compression, SinkError};

/// A file of an output. Its lock is held until the file is closed.
pub(super) struct FileClaim {
    pub(super) path: PathBuf,
    pub(super) compression: Compression,
    /// The file, if it exists and is a regular one. Opening a pipe waits for its reader, so that is put off.
    file: Option<File>,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A file with contents, which may be missing yet.
    Regular,
    Pipe,
    Device,
}

impl FileClaim {
    pub(super) fn new(name: &str, path: &Path, compression: Compression) -> Result<Self, SinkError> {
        let failed = |error| sink_error(name, "create the file", error);
        let found = match path.metadata() {
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            found => Some(found.map_err(failed)?),
        };
        let file = match &found {
            Some(metadata) if metadata.is_dir() => return Err(failed(ErrorKind::IsADirectory.into())),
            Some(metadata) if metadata.is_file() => {
                Some(open_locked(name, path, false).map_err(|error| error.of(name))?)
            }
            Some(_) => None,
            None if folder_of(path).metadata().map_err(failed)?.is_dir() => None,
            None => return Err(failed(ErrorKind::NotADirectory.into())),
        };
        let kind = match found.map(|metadata| metadata.file_type()) {
            Some(kind) if kind.is_fifo() => Kind::Pipe,
            Some(kind) if !kind.is_file() => Kind::Device,
            _ => Kind::Regular,
        };
        Ok(FileClaim { path: path.to_owned(), compression, file, kind })
    }

    /// Whether the path is no pipe and no device.
    pub(super) fn is_regular(&self) -> bool {
        self.kind == Kind::Regular
    }

    /// The output, whose first bytes replace what the file holds.
    pub(super) fn replacing(&self, name: &str) -> Result<Output, SinkError> {
        let failed = |error| sink_error(name, "create the file", error);
        match self.kind {
            Kind::Regular => compress(OutputFile::replacing(self.open(name)?).map_err(failed)?, self.compression),
            Kind::Pipe => compress(OutputPipe::new(&self.path).map_err(failed)?, self.compression),
            Kind::Device => compress(self.open(name)?, self.compression),
        }
        .map_err(failed)
    }

    /// The file, which is created if it is missing, and locked.
    pub(super) fn open(&self, name: &str) -> Result<File, SinkError> {
        let opened = match &self.file {
            // The same open file: closing the claim keeps the lock.
            Some(file) => file.try_clone().map_err(Refused::Failed),
            None => open_locked(name, &self.path, true),
        };
        opened.map_err(|error| error.of(name))
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Why a file cannot be claimed.
pub(super) enum Refused {
    /// Another process, or another output of this one, has locked it.
    InUse,
    Failed(io::Error),
}

impl Refused {
    pub(super) fn of(self, name: &str) -> SinkError {
        match self {
            Refused::Failed(error) => sink_error(name, "create the file", error),
            Refused::InUse => SinkError {
                sink_name: name.to_owned(),
                what: "another run, or another output of this one, writes to this file".into(),
                advice: "stop the other run first, or choose another file".into(),
                closed: false,
                cause: None,
            },
        }
    }
}

/// Claims stdout if it is a regular file, as the shell has redirected it.
///
/// The lock is that of another open file of this process: with the one of the shell, a lock would last as long as the shell,
/// and two programs that it starts would share it.
pub(super) fn claim_stdout(name: &str) -> Result<Option<OutputFile>, SinkError> {
    let failed = |error| sink_error(name, "write", error);
    let file = io::stdout().as_fd().try_clone_to_owned().map(File::from).map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Ok(None);
    }
    // Where there is no /proc, or another user has opened the file, the shell's must do.
    let own = File::options().write(true).open("/proc/self/fd/1").ok();
    lock(name, own.as_ref().unwrap_or(&file)).map_err(|error| error.of(name))?;
    OutputFile::continuing(file, own).map(Some).map_err(failed)
}

/// Opens a file for writing and locks it.
fn open_locked(name: &str, path: &Path, create: bool) -> Result<File, Refused> {
    loop {
        let opened = File::options().write(true).create(create).truncate(false).open(path);
        let file = opened.map_err(Refused::Failed)?;
        let found = file.metadata().map_err(Refused::Failed)?;
        if !found.is_file() {
            return Ok(file);
        }
        lock(name, &file)?;
        // A run that resumes replaces a compressed file by another. The lock must be that of the file under the path.
        if path.metadata().is_ok_and(|named| id(&named) == id(&found)) {
            return Ok(file);
        }
        if !create {
            return Err(Refused::InUse);
        }
    }
}

/// Locks a file until it is closed, so that two runs cannot write to it.
pub(super) fn lock(name: &str, file: &File) -> Result<(), Refused> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(()),
        Err(Errno::WOULDBLOCK) => Err(Refused::InUse),
        // Some file systems, most of them on a network, have no locks.
        Err(error) => {
            tracing::warn!(output = name, %error, "cannot lock the output: make sure that no other run writes to it");
            Ok(())
        }
    }
}

/// Device and inode.
fn id(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}
