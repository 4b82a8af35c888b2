//! The arguments for the inputs of a run.

use clap::Args;
use connectors::{Columns, Filter, InputOptions, OpenError, Uri, open_source};

use super::Failure;
use super::plan::uri;
use crate::commands::simulation;
use crate::config::Config;
use crate::engine::{Input, Simulated};

/// Arguments for the inputs of a run.
#[derive(Debug, Args)]
pub(crate) struct InputArgs {
    /// Input of events: PATH.jsonl, PATH.csv (each also .gz, .zst), - for stdin, `kafka://BROKER[,BROKER]/TOPIC` or
    /// generate:[OPTIONS]; may be repeated. Inputs are merged by time; topics are read after all others
    #[arg(long = "input", value_name = "URI", default_value = "-")]
    inputs: Vec<String>,
    /// Names of the columns or fields, see the examples; nested JSON fields as a.b.c; after the name of `ts` a format: s, ms,
    /// iso or a strftime pattern
    #[arg(long, value_name = "user=NAME,item=NAME,action=NAME,ts=NAME[:FORMAT],...")]
    columns: Option<String>,
    /// Action of all records, if there is no column for it
    #[arg(long, value_name = "ACTION")]
    action: Option<String>,
    /// Accept only records that satisfy COLUMN OP VALUE, e.g. 'quantity>0'; may be repeated, all must be true
    #[arg(long = "where", value_name = "CONDITION")]
    filters: Vec<String>,
}

impl InputArgs {
    /// The inputs, as the user gave them.
    pub(crate) fn uris(&self) -> Result<Vec<Uri>, Failure> {
        self.inputs.iter().map(|text| uri(text)).collect()
    }

    /// The arguments that decide how records are read. A snapshot stores them, and a resumed run must have the same.
    pub(crate) fn reading(&self) -> serde_json::Value {
        serde_json::json!({ "columns": self.columns, "action": self.action, "where": self.filters })
    }

    /// Opens the inputs of [`InputArgs::uris`]. `originals`: batches keep the original records of topics, for a dead-letter topic.
    pub(crate) fn open(&self, uris: &[Uri], config: &Config, originals: bool) -> Result<Vec<Input>, Failure> {
        let columns = self.columns.as_deref().map(str::parse::<Columns>).transpose().map_err(OpenError::from)?;
        let filters: Result<_, _> = self.filters.iter().map(|filter| filter.parse::<Filter>()).collect();
        let options = InputOptions {
            columns: columns.unwrap_or_default(),
            action: self.action.clone(),
            filters: filters.map_err(OpenError::from)?,
            max_record_bytes: config.input.max_record,
            originals,
            rooms: config.input.rooms,
            kafka: config.kafka.clone(),
        };
        uris.iter().map(|uri| open(uri, &options)).collect()
    }
}

/// Opens an input. `generate:` is resolved here, because the connectors have no simulator.
fn open(uri: &Uri, options: &InputOptions) -> Result<Input, Failure> {
    match uri {
        Uri::Generate(text) => {
            let generator = simulation::options(text).and_then(simulation::generator);
            Ok(Input { source: Box::new(Simulated::new(generator.map_err(Failure::Usage)?)), waits: false })
        }
        Uri::File { path, .. } => {
            let waits = std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file());
            Ok(Input { source: open_source(uri, options)?, waits })
        }
        Uri::Stdio | Uri::Kafka(_) => Ok(Input { source: open_source(uri, options)?, waits: true }),
    }
}
