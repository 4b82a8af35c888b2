//! `deltarec generate`: writes simulated events, and the catalogue of the simulated shop, as JSON lines.

use super::simulation::{HEADING, SimulationArgs, catalogue_generator, generator};
use crate::commands::files::{is_closed, open_output, output_uri};
use crate::commands::same::Place;
use crate::failure::Failure;
use crate::stop::Stop;
use clap::Args;
use connectors::{Lines, SinkError};
use schema::CatalogueLine;
use simulator::{CatalogueGenerator, Generator, ShopRecord};

/// Examples for `--help`.
pub const EXAMPLES: &str = "\
Examples:
  deltarec generate --events 100000 --seed 7 --output events.jsonl.gz
  deltarec generate | deltarec run --output changes.jsonl
  deltarec generate --rate 50 --events 100000 --output events.jsonl --catalogue catalogue.jsonl

See docs/generator.md for what is simulated. An input generate:events=100000,seed=7 of `deltarec run` has the same \
events without a file.";

/// Arguments of `deltarec generate`.
#[derive(Debug, Args)]
pub struct GenerateArgs {
    /// Number of events [default: 1000000]
    #[arg(long, value_name = "N", help_heading = HEADING)]
    events: Option<String>,
    #[command(flatten)]
    simulation: SimulationArgs,
    /// Output for the events: PATH.jsonl (also .gz, .zst) or - for stdout
    #[arg(long, value_name = "URI", default_value = "-")]
    output: String,
    /// Output for the catalogue of the shop in the same time span: PATH.jsonl (also .gz, .zst) or - for stdout
    #[arg(long, value_name = "URI")]
    catalogue: Option<String>,
}

/// Records written between two checks of [`Stop`].
const STOP_CHECK_INTERVAL: u64 = 1_000;

/// Writes the catalogue, if it is wanted, and all events, or those until the command is stopped. The catalogue comes
/// first, so that it is complete when a reader of the events begins.
pub fn main(args: &GenerateArgs, stop: &Stop) -> Result<(), Failure> {
    let options = args.simulation.options(args.events.as_deref()).map_err(Failure::Usage)?;
    let events = generator(options.clone()).map_err(Failure::Usage)?;
    let output = output_uri(&args.output)?;
    let catalogue = args.catalogue.as_deref().map(output_uri).transpose()?;
    if let Some(catalogue) = &catalogue
        && Place::of_output(catalogue).is_same(&Place::of_output(&output))
    {
        return Err(Failure::Usage(anyhow::anyhow!(
            "--catalogue and --output are both {output}: name another file for one of them"
        )));
    }
    // Both are opened first, so that a mistake in either shows before anything is written.
    let catalogue = catalogue.map(|uri| open_output(&uri)).transpose()?;
    let lines = open_output(&output)?;
    if let Some(catalogue) = catalogue {
        let records = catalogue_generator(options).map_err(Failure::Usage)?;
        is_closed(write_catalogue(records, catalogue, stop))?;
    }
    is_closed(write_events(events, lines, stop)).map(drop)
}

fn write_catalogue(mut records: CatalogueGenerator, mut lines: Lines, stop: &Stop) -> Result<(), SinkError> {
    while let Some(ShopRecord { item, ts, statement }) = records.next() {
        lines.write(&CatalogueLine { item: &item, ts, statement: &statement, tag_groups: &TAG_GROUPS })?;
        if records.generated().is_multiple_of(STOP_CHECK_INTERVAL) && stop.is_set() {
            break;
        }
    }
    lines.close()
}

/// The simulated shop has tags of one group.
const TAG_GROUPS: [&str; 1] = ["default"];

fn write_events(mut events: Generator, mut lines: Lines, stop: &Stop) -> Result<(), SinkError> {
    while let Some(event) = events.next_event() {
        lines.write(&event)?;
        if events.generated().is_multiple_of(STOP_CHECK_INTERVAL) && stop.is_set() {
            break;
        }
    }
    lines.close()
}
