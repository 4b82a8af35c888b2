use std::collections::BTreeMap;

use schema::Rejected;

#[cfg(feature = "kafka")]
use crate::kafka::{Address, DeadLetterProducer};
use crate::lines::Lines;
use crate::open::open_output;
use crate::resume::continue_output;
use crate::{KafkaOptions, OpenError, SinkError, Uri};

/// Where rejected records go beside being counted.
#[derive(Default)]
enum Output {
    #[default]
    Nowhere,
    Lines(Lines),
    #[cfg(feature = "kafka")]
    DeadLetterProducer(DeadLetterProducer),
}

/// Where rejected records end up: counted by reason, the first of each reason logged, all of them written to an
/// output when there is one.
#[derive(Default)]
pub struct RejectLog {
    counts: BTreeMap<String, u64>,
    total: u64,
    output: Output,
    /// Whether anything was written since the last flush: an empty one would still cost a packed file some bytes.
    dirty: bool,
}

impl RejectLog {
    /// With an output, if given: JSON lines in a file or on stdout, or a topic.
    pub fn open(uri: Option<&Uri>, kafka: &KafkaOptions) -> Result<Self, OpenError> {
        RejectLog::with(uri, kafka, open_output)
    }

    /// [`RejectLog::open`], to go on with a file that is there already.
    pub fn go_on(uri: Option<&Uri>, kafka: &KafkaOptions) -> Result<Self, OpenError> {
        RejectLog::with(uri, kafka, continue_output)
    }

    fn with(
        uri: Option<&Uri>,
        #[cfg_attr(not(feature = "kafka"), expect(unused_variables))] kafka: &KafkaOptions,
        open: fn(&Uri) -> Result<crate::output::Output, OpenError>,
    ) -> Result<Self, OpenError> {
        let output = match uri {
            None => Output::Nowhere,
            #[cfg(feature = "kafka")]
            Some(Uri::Kafka(rest)) => Output::DeadLetterProducer(DeadLetterProducer::open(
                &format!("kafka://{rest}"),
                &Address::parse(rest)?,
                kafka,
            )?),
            Some(uri) => Output::Lines(Lines::new(uri.to_string(), open(uri)?)),
        };
        Ok(RejectLog { output, ..RejectLog::default() })
    }

    /// Takes one record. It is counted even when the output fails.
    pub fn record(&mut self, rejected: &Rejected) -> Result<(), SinkError> {
        let code = rejected.reason.code();
        self.total += 1;
        if !self.counts.contains_key(&code) {
            tracing::warn!(reason = code, "{}: {} (logged once for each reason)", rejected.place(), rejected.reason);
        }
        *self.counts.entry(code).or_default() += 1;
        self.dirty = true;
        match &mut self.output {
            Output::Nowhere => Ok(()),
            Output::Lines(lines) => lines.write(rejected),
            #[cfg(feature = "kafka")]
            Output::DeadLetterProducer(letters) => letters.write(rejected),
        }
    }

    /// How many records there were of each [`schema::Reason::code`].
    pub fn counts(&self) -> &BTreeMap<String, u64> {
        &self.counts
    }

    /// How many there were in all.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Hands on what is buffered.
    pub fn flush(&mut self) -> Result<(), SinkError> {
        let dirty = std::mem::take(&mut self.dirty);
        match &mut self.output {
            Output::Lines(lines) if dirty => lines.flush(),
            #[cfg(feature = "kafka")]
            Output::DeadLetterProducer(letters) if dirty => letters.flush(),
            _ => Ok(()),
        }
    }

    /// Writes what the output needs at its end.
    pub fn close(&mut self) -> Result<(), SinkError> {
        match &mut self.output {
            Output::Nowhere => Ok(()),
            Output::Lines(lines) => lines.close(),
            #[cfg(feature = "kafka")]
            Output::DeadLetterProducer(letters) => letters.close(),
        }
    }
}
