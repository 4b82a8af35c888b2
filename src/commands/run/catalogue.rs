//! The arguments for the catalogue of a run.

use std::time::UNIX_EPOCH;

use anyhow::anyhow;
use clap::Args;
use connectors::{CatalogueRecord, InputOptions, InputUri, ItemColumns, OpenError, Uri, open_source};
use schema::{MAX_TS, shown};

use super::Failure;
use crate::commands::simulation;
use crate::config::Config;
use crate::engine::{Clock, Input, SimulatedCatalogue};
use crate::stdio::check_stdin;

/// Arguments for the catalogue of a run.
#[derive(Debug, Args)]
pub(crate) struct CatalogueArgs {
    /// Input of the catalogue: what items are and when they may be recommended. Files, stdin, topics or generate:[OPTIONS] as
    /// for --input, with options after `?`; may be repeated. With a catalogue, only its items are recommended (docs/catalogue.md)
    #[arg(long, value_name = "URI[?OPTIONS]", allow_hyphen_values = true)]
    catalogue: Vec<String>,
    /// Names of the columns or fields of the catalogue; after the name of ts, from or until a format, as in --columns
    #[arg(long, value_name = "item=NAME,title=NAME,ts=NAME[:FORMAT],...", requires = "catalogue")]
    catalogue_columns: Option<String>,
    /// Time of all records of the catalogue, in milliseconds or as a date and time; 0: they have always held
    #[arg(long, value_name = "TIME", requires = "catalogue")]
    catalogue_time: Option<String>,
}

impl CatalogueArgs {
    /// The inputs without their options.
    pub(crate) fn uris(&self) -> Result<Vec<Uri>, Failure> {
        Ok(self.parse()?.into_iter().map(|input| input.uri).collect())
    }

    fn parse(&self) -> Result<Vec<InputUri>, OpenError> {
        self.catalogue.iter().map(|text| text.parse()).collect()
    }

    /// Opens the inputs of [`CatalogueArgs::uris`]. `originals`: batches keep the original records of topics.
    pub(crate) fn open(
        &self,
        config: &Config,
        clock: Clock,
        originals: bool,
    ) -> Result<Vec<Input<CatalogueRecord>>, Failure> {
        let columns = self.catalogue_columns.as_deref().map(str::parse::<ItemColumns>).transpose();
        let defaults = InputOptions {
            item_columns: columns.map_err(OpenError::from)?.unwrap_or_default(),
            tag_groups: config.catalogue.tag_groups.clone(),
            fixed_ts: self.catalogue_time.as_deref().map(time).transpose().map_err(Failure::Usage)?,
            max_record_bytes: config.input.max_record,
            originals,
            kafka: config.kafka.clone(),
            ..InputOptions::default()
        };
        let inputs = self.parse()?;
        let with_options = inputs.iter().map(|input| Ok((&input.uri, input.catalogue_options(&defaults)?)));
        let with_options: Vec<(&Uri, InputOptions)> = with_options.collect::<Result<_, OpenError>>()?;
        with_options.into_iter().map(|(uri, options)| open(uri, options, clock)).collect()
    }
}

/// Opens an input of the catalogue. Records of a file without a time have always held by the clock of the events, and hold since
/// the file was changed by the wall clock.
fn open(uri: &Uri, options: InputOptions, clock: Clock) -> Result<Input<CatalogueRecord>, Failure> {
    let metadata = match uri {
        Uri::File { path, .. } => std::fs::metadata(path).ok(),
        Uri::Generate(text) => {
            let generator = simulation::options(text).and_then(simulation::catalogue_generator);
            let source = SimulatedCatalogue::new(generator.map_err(Failure::Usage)?);
            return Ok(Input { source: Box::new(source), waits: false });
        }
        Uri::Stdio | Uri::Kafka(_) => None,
    };
    let changed = metadata.as_ref().and_then(|metadata| metadata.modified().ok()).unwrap_or(UNIX_EPOCH);
    let default_ts = match clock {
        Clock::Event => 0,
        Clock::Wall => {
            changed.duration_since(UNIX_EPOCH).map_or(0, |age| u64::try_from(age.as_millis()).unwrap_or(MAX_TS))
        }
    };
    if *uri == Uri::Stdio {
        check_stdin()?;
    }
    let waits = metadata.is_none_or(|metadata| !metadata.is_file());
    Ok(Input { source: open_source(uri, &InputOptions { default_ts: Some(default_ts), ..options })?, waits })
}

/// A time of the command line: milliseconds since 1970, or a date and time.
fn time(text: &str) -> anyhow::Result<u64> {
    let of_date = || u64::try_from(text.parse::<jiff::Timestamp>().ok()?.as_millisecond()).ok();
    text.parse().ok().or_else(of_date).filter(|ms| *ms <= MAX_TS).ok_or_else(|| {
        anyhow!(
            "--catalogue-time {}: expected milliseconds since 1970, or a date and time such as 2026-11-11T12:00:00Z",
            shown(text)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_date_or_milliseconds() {
        assert_eq!(time("0").ok(), Some(0));
        assert_eq!(time("1763900000000").ok(), Some(1_763_900_000_000));
        assert_eq!(time("1970-01-01T00:00:01.5Z").ok(), Some(1_500));
        for wrong in ["", "-1", "soon", "1969-12-31T00:00:00Z", "9007199254740992"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }
}
