//! Outputs before they are used: a file is opened and locked, a topic is looked up. Nothing is created, truncated or fenced
//! off until a run has claimed all its outputs, so that a mistake in one of them costs the others nothing.

use std::fs::{File, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::{Lines, SinkState, Stream, resume};
use crate::error::{sink_error, unsupported};
use crate::kafka::{self, TopicClaim};
use crate::{Compression, Format, KafkaOptions, OpenError, Sink, SinkError, SinkRecord, Uri};

/// An output that belongs to this process and is as it was found.
pub struct OutputClaim {
    name: String,
    target: Target,
}

enum Target {
    File(FileClaim),
    Stdout,
    Topic(Box<TopicClaim>),
}

impl OutputClaim {
    /// Claims an output. A file that exists is locked; it fails if another run has locked it. A topic is looked up.
    pub fn new(uri: &Uri, kafka: &KafkaOptions) -> Result<Self, OpenError> {
        let target = match uri {
            Uri::Kafka(address) => Target::Topic(Box::new(TopicClaim::new(address, kafka)?)),
            uri => return OutputClaim::of_lines(uri),
        };
        Ok(OutputClaim { name: uri.to_string(), target })
    }

    /// Claims an output that takes lines of any kind: a file or stdout.
    pub(crate) fn of_lines(uri: &Uri) -> Result<Self, OpenError> {
        let name = uri.to_string();
        let target = match uri {
            Uri::File { format: Format::Csv | Format::Parquet, .. } => {
                let advice = "write JSON lines: PATH.jsonl, .jsonl.gz or .jsonl.zst";
                return Err(unsupported(name, "a list does not fit into rows of columns", advice));
            }
            Uri::File { path, compression, .. } => Target::File(FileClaim::new(&name, path, *compression)?),
            Uri::Stdio => Target::Stdout,
            Uri::Generate(_) => {
                return Err(unsupported(name, "is an input only", "write to PATH.jsonl or - (stdout)"));
            }
            Uri::Kafka(_) => {
                return Err(unsupported(name, "a topic is not supported here", "write to PATH.jsonl or - (stdout)"));
            }
        };
        Ok(OutputClaim { name, target })
    }

    /// Opens the output for new contents. What a file holds is replaced with the first record, or at the close. A topic is
    /// created if it is missing.
    pub fn open<R: SinkRecord>(self) -> Result<Box<dyn Sink<R>>, OpenError> {
        match self.target {
            Target::Topic(topic) => R::open_topic(*topic),
            target => Ok(Box::new(OutputClaim { target, ..self }.lines()?)),
        }
    }

    /// Opens an output that takes lines of any kind.
    pub(crate) fn lines(self) -> Result<Lines, OpenError> {
        let OutputClaim { name, target } = self;
        let stream = match target {
            Target::File(file) => Stream::replacing(file.open(&name)?, file.compression),
            Target::Stdout => Stream::stdout(),
            Target::Topic(_) => return Err(unsupported(name, "takes no lines", "write to PATH.jsonl or - (stdout)")),
        };
        Ok(Lines::new(name, stream))
    }

    /// Opens an output of changes for appending and reads the lists that it contains.
    ///
    /// A file is read from the start, at some hundred MB/s. An incomplete last line, from a run that was killed, is removed. A
    /// compressed file is compressed again. A missing file is created. The contents of stdout, a pipe or a device are unknown.
    ///
    /// Of a topic the latest record of each key is read, after all other writers have been fenced off. A missing topic is
    /// created.
    pub fn resume(self) -> Result<(Box<dyn Sink>, SinkState), OpenError> {
        match self.target {
            Target::Topic(topic) => kafka::continue_sink(&topic),
            Target::File(file) => {
                let (stream, state) = resume::lists(&file, &self.name)?;
                Ok((Box::new(Lines::new(self.name, stream)), state))
            }
            Target::Stdout => Ok((self.open()?, SinkState::default())),
        }
    }

    /// Opens an output for appending, whatever its records are. A topic is always appended to.
    pub(super) fn append<R: SinkRecord>(self) -> Result<Box<dyn Sink<R>>, OpenError> {
        match self.target {
            Target::File(file) => Ok(Box::new(Lines::new(self.name.clone(), resume::end(&file, &self.name)?))),
            target => OutputClaim { target, ..self }.open(),
        }
    }

    /// Whether the output is a topic.
    pub fn is_topic(&self) -> bool {
        matches!(self.target, Target::Topic(_))
    }

    /// Whether the output can be read back: it is a file or a topic.
    pub fn is_readable(&self) -> bool {
        match &self.target {
            Target::File(file) => file.is_regular,
            Target::Stdout => false,
            Target::Topic(_) => true,
        }
    }
}

/// A file of an output. Its lock is held until the file is closed.
pub(super) struct FileClaim {
    pub(super) path: PathBuf,
    pub(super) compression: Compression,
    /// The file, if it exists and is a regular one. Opening a pipe waits for its reader, so that is put off.
    file: Option<File>,
    /// Whether the path is no pipe and no device.
    pub(super) is_regular: bool,
}

impl FileClaim {
    fn new(name: &str, path: &Path, compression: Compression) -> Result<Self, SinkError> {
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
        let is_regular = found.is_none_or(|metadata| metadata.is_file());
        Ok(FileClaim { path: path.to_owned(), compression, file, is_regular })
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
