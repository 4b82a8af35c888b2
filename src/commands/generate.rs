//! `deltarec generate`: writes simulated events as JSON lines.

use super::simulation::{HEADING, SimulationArgs, generator};
use crate::commands::files::{is_closed, open_output, output_uri};
use crate::failure::Failure;
use crate::stop::Stop;
use clap::Args;

/// Examples for `--help`.
pub const EXAMPLES: &str = "\
Examples:
  deltarec generate --events 100000 --seed 7 --output events.jsonl.gz
  deltarec generate | deltarec run --output changes.jsonl

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
}

/// Events written between two checks of [`Stop`].
const STOP_CHECK_INTERVAL: u64 = 1_000;

/// Writes all events, or those until the command is stopped.
pub fn main(args: &GenerateArgs, stop: &Stop) -> Result<(), Failure> {
    let mut generator = args.simulation.options(args.events.as_deref()).and_then(generator).map_err(Failure::Usage)?;
    let mut lines = open_output(&output_uri(&args.output)?)?;
    let written = (|| {
        while let Some(event) = generator.next_event() {
            lines.write(&event)?;
            if generator.generated().is_multiple_of(STOP_CHECK_INTERVAL) && stop.is_set() {
                break;
            }
        }
        lines.close()
    })();
    is_closed(written).map(drop)
}
