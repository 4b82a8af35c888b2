//! The arguments for the inputs of a run.

use anyhow::anyhow;
use clap::Args;
use connectors::{Columns, Filter, InputOptions, InputUri, OpenError, Uri, open_source};
use schema::{listed, shown};

use super::Failure;
use crate::commands::simulation;
use crate::config::Config;
use crate::engine::{Input, Simulated};
use crate::stdio::check_stdin;

/// Arguments for the inputs of a run.
#[derive(Debug, Args)]
pub(crate) struct InputArgs {
    /// Input of events: PATH.jsonl, PATH.csv, PATH.tsv, ... (each also .gz, .zst), PATH.parquet, - for stdin,
    /// `kafka://BROKER[,BROKER]/TOPIC` or generate:[OPTIONS]; may be repeated. Inputs are merged by time; topics are read
    /// after all others. After `?` options of one input, as in `log.dat?delimiter=::&header=no`: those below, by the same names
    #[arg(long = "input", value_name = "URI[?OPTIONS]", default_value = "-", allow_hyphen_values = true)]
    inputs: Vec<String>,
    /// Format of all inputs: csv, tsv, json (JSON lines) or parquet [default: by the extension; json for stdin]
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Delimiter of CSV: comma, semicolon, tab, pipe, space or text such as :: [default: tab for .tsv, else comma]
    #[arg(long, value_name = "TEXT")]
    delimiter: Option<String>,
    /// Whether CSV has a header; without one, columns are numbers from 1 [default: yes]
    #[arg(long, value_name = "yes|no")]
    header: Option<String>,
    /// Quote of CSV, or none if quotes are text [default: "]
    #[arg(long, value_name = "CHARACTER|none")]
    quote: Option<String>,
    /// Whether blanks around a field of CSV are removed, except inside quotes [default: yes]
    #[arg(long, value_name = "yes|no")]
    trim: Option<String>,
    /// Words that stand for no value [default: NULL,null,\N,nan,NaN,None,undefined]
    #[arg(long = "null", value_name = "WORD,...")]
    nulls: Option<String>,
    /// Names of the columns or fields, see the examples; nested JSON fields as a.b.c, each element of a JSON array as a[].b;
    /// after the name of `ts` a format: s, ms, us, ns, iso or a strftime pattern
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
    /// The inputs without their options.
    pub(crate) fn uris(&self) -> Result<Vec<Uri>, Failure> {
        Ok(self.parse()?.into_iter().map(|input| input.uri).collect())
    }

    /// The inputs with their options.
    pub(crate) fn parse(&self) -> Result<Vec<InputUri>, OpenError> {
        self.inputs.iter().map(|text| text.parse()).collect()
    }

    /// The options of all inputs that say how files are decoded, as they were given.
    fn decoding(&self) -> impl Iterator<Item = (&'static str, &String)> {
        let options = [
            ("format", &self.format),
            ("delimiter", &self.delimiter),
            ("header", &self.header),
            ("quote", &self.quote),
            ("trim", &self.trim),
            ("null", &self.nulls),
        ];
        options.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?)))
    }

    /// The arguments that decide how records are read. A snapshot stores them, and a resumed run must have the same. Of
    /// the options of single inputs that holds for those that it continues.
    pub(crate) fn reading(&self) -> serde_json::Value {
        let mut reading = serde_json::json!({ "columns": self.columns, "action": self.action, "where": self.filters });
        // Absent unless given: snapshots of earlier releases have no such entries.
        for (name, value) in self.decoding() {
            reading[name] = value.as_str().into();
        }
        let inputs = self.parse().unwrap_or_default();
        if inputs.iter().any(InputUri::has_options) {
            reading["inputs"] = inputs.iter().map(ToString::to_string).collect();
        }
        reading
    }

    /// The options of all inputs. `originals`: batches keep the original records of topics, for the output of rejected
    /// records.
    pub(crate) fn defaults(&self, config: &Config, originals: bool) -> Result<InputOptions, OpenError> {
        let columns = self.columns.as_deref().map(str::parse::<Columns>).transpose()?;
        let filters: Result<_, _> = self.filters.iter().map(|filter| filter.parse::<Filter>()).collect();
        let mut defaults = InputOptions {
            columns: columns.unwrap_or_default(),
            action: self.action.clone(),
            filters: filters?,
            max_record_bytes: config.input.max_record,
            originals,
            rooms: config.input.rooms,
            kafka: config.kafka.clone(),
            ..InputOptions::default()
        };
        for (name, value) in self.decoding() {
            let option = |what| OpenError::Option { input: format!("--{name}"), what };
            defaults.set(name, value).map_err(option)?;
        }
        Ok(defaults)
    }

    /// Opens the inputs of [`InputArgs::uris`] with these options of all.
    pub(crate) fn open(&self, config: &Config, defaults: &InputOptions) -> Result<Vec<Input>, Failure> {
        let inputs = self.parse()?;
        let with_options = inputs.iter().map(|input| Ok((&input.uri, input.options(defaults)?)));
        let with_options: Vec<(&Uri, InputOptions)> = with_options.collect::<Result<_, OpenError>>()?;
        for (_, options) in &with_options {
            check_action(options.action.as_deref(), config)?;
        }
        with_options.into_iter().map(|(uri, options)| open(uri, &options)).collect()
    }
}

/// Checks that the action of all records is known.
fn check_action(action: Option<&str>, config: &Config) -> Result<(), Failure> {
    match action {
        Some(action) if !config.levels.knows(action) => {
            let known: Vec<String> = config.levels.actions().map(str::to_owned).collect();
            Err(Failure::Usage(anyhow!(
                "--action {}: the action is unknown; use one of {}, or give it a level: --set levels.NAME=1 (a column of actions \
                 is named with --columns action=NAME)",
                shown(action),
                listed(&known)
            )))
        }
        _ => Ok(()),
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
        Uri::Stdio => {
            check_stdin()?;
            Ok(Input { source: open_source(uri, options)?, waits: true })
        }
        Uri::Kafka(_) => Ok(Input { source: open_source(uri, options)?, waits: true }),
    }
}
