//! The arguments for the controls of a run.

use anyhow::anyhow;
use clap::Args;
use connectors::{ControlColumns, ControlRecords, InputOptions, InputUri, OpenError, Uri, open_source};

use super::Failure;
use crate::config::Config;
use crate::engine::Input;
use crate::stdio::check_stdin;

/// Arguments for the controls of a run.
#[derive(Debug, Args)]
pub(crate) struct ControlArgs {
    /// Input of controls: what users say of what is known of them and shown to them, such as pause or forget. Files,
    /// stdin or topics as for --input, with options after `?`; may be repeated (docs/input.md)
    #[arg(long, value_name = "URI[?OPTIONS]", allow_hyphen_values = true)]
    controls: Vec<String>,
    /// Names of the columns or fields of controls; after the name of ts a format, as in --columns
    #[arg(long, value_name = "user=NAME,control=NAME,target=NAME,ts=NAME[:FORMAT],...", requires = "controls")]
    control_columns: Option<String>,
}

impl ControlArgs {
    /// The inputs without their options.
    pub(crate) fn uris(&self) -> Result<Vec<Uri>, Failure> {
        Ok(self.parse()?.into_iter().map(|input| input.uri).collect())
    }

    fn parse(&self) -> Result<Vec<InputUri>, OpenError> {
        self.controls.iter().map(|text| text.parse()).collect()
    }

    /// Opens the inputs of [`ControlArgs::uris`]. `originals`: batches keep the original records of topics.
    pub(crate) fn open(&self, config: &Config, originals: bool) -> Result<Vec<Input<ControlRecords>>, Failure> {
        let columns = self.control_columns.as_deref().map(str::parse::<ControlColumns>).transpose();
        let defaults = InputOptions {
            control_columns: columns.map_err(OpenError::from)?.unwrap_or_default(),
            max_record_bytes: config.input.max_record,
            originals,
            kafka: config.kafka.clone(),
            ..InputOptions::default()
        };
        let inputs = self.parse()?;
        let with_options = inputs.iter().map(|input| Ok((&input.uri, input.control_options(&defaults)?)));
        let with_options: Vec<(&Uri, InputOptions)> = with_options.collect::<Result<_, OpenError>>()?;
        with_options.into_iter().map(|(uri, options)| open(uri, &options)).collect()
    }
}

fn open(uri: &Uri, options: &InputOptions) -> Result<Input<ControlRecords>, Failure> {
    let waits = match uri {
        Uri::File { path, .. } => std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()),
        Uri::Stdio => {
            check_stdin()?;
            true
        }
        Uri::Kafka(_) => true,
        Uri::Generate(_) => {
            return Err(Failure::Usage(anyhow!(
                "--controls {uri}: controls are not simulated: name a file, - or a topic"
            )));
        }
    };
    Ok(Input { source: open_source(uri, options)?, waits })
}
