//! Outputs before they are used: a file is opened and locked, a topic is looked up. Nothing is created, truncated or fenced
//! off until a run has claimed all its outputs, so that a mistake in one of them costs the others nothing.

use std::io;

use super::file_claim::{FileClaim, claim_stdout};
use super::output_file::OutputFile;
use super::{Lines, SinkState, compress, resume};
use crate::error::unsupported;
use crate::kafka::{self, TopicClaim};
use crate::{Format, KafkaOptions, OpenError, Sink, SinkRecord, Uri};

/// An output that belongs to this process and is as it was found.
pub struct OutputClaim {
    name: String,
    target: Target,
}

enum Target {
    File(FileClaim),
    /// With its file, if it is one.
    Stdout(Option<OutputFile>),
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
                return Err(unsupported(
                    name,
                    "outputs are JSON lines",
                    "write to PATH.jsonl, .jsonl.gz or .jsonl.zst",
                ));
            }
            Uri::File { path, compression, .. } => Target::File(FileClaim::new(&name, path, *compression)?),
            Uri::Stdio => Target::Stdout(claim_stdout(&name)?),
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
        let output = match target {
            Target::File(file) => file.replacing(&name)?,
            Target::Stdout(Some(file)) => compress::plain(file),
            Target::Stdout(None) => compress::plain(io::stdout()),
            Target::Topic(_) => return Err(unsupported(name, "takes no lines", "write to PATH.jsonl or - (stdout)")),
        };
        Ok(Lines::new(name, output))
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
                let (output, state) = resume::lists(&file, &self.name)?;
                Ok((Box::new(Lines::new(self.name, output)), state))
            }
            Target::Stdout(_) => Ok((self.open()?, SinkState::default())),
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
            Target::File(file) => file.is_regular(),
            Target::Stdout(_) => false,
            Target::Topic(_) => true,
        }
    }
}
