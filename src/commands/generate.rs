//! `deltarec generate`: simulated events as JSON lines.

use clap::Args;
use connectors::{OpenError, SinkError, Uri, open_lines};
use simulator::{Generator, Options, OptionsError};

use crate::failure::Failure;
use crate::stop::Stop;

/// Examples for `--help`.
pub const EXAMPLES: &str = "\
Examples:
  deltarec generate events=100000,seed=7 --output events.jsonl.gz
  deltarec generate | deltarec run --output changes.jsonl

SIMULATION is a list of key=value: events, users, items, rooms, rate (events per second of
simulated time), seed and start (ms since 1970). See docs/generator.md for what is simulated.";

/// Arguments of `deltarec generate`.
#[derive(Debug, Args)]
pub struct GenerateArgs {
    /// What to simulate, as key=value,...; nothing for the defaults
    #[arg(value_name = "SIMULATION", default_value = "", hide_default_value = true)]
    options: String,
    /// Where events go: PATH.jsonl (also .gz, .zst) or - for stdout
    #[arg(long, value_name = "URI", default_value = "-")]
    output: String,
}

/// How many events are written between two looks at [`Stop`].
const STRIDE: u64 = 1_000;

/// Writes all events, or as many as there is time for.
pub fn main(args: &GenerateArgs, stop: &Stop) -> Result<(), Failure> {
    let mut generator = options(&args.options)
        .and_then(|options| Generator::new(options).map_err(|errors| mistakes(&errors)))
        .map_err(Failure::Usage)?;
    let uri = args.output.parse::<Uri>().map_err(OpenError::from)?;
    let mut lines = open_lines(&uri)?;
    let written = (|| {
        let mut count = 0_u64;
        while let Some(event) = generator.next_event() {
            lines.write(&event)?;
            count += 1;
            if count.is_multiple_of(STRIDE) && stop.is_set() {
                break;
            }
        }
        lines.close()
    })();
    match written {
        Err(SinkError { closed: true, .. }) => Ok(()),
        written => written.map_err(|error| Failure::Running(error.into())),
    }
}

/// The options of a simulation, or everything that is wrong with them.
pub fn options(text: &str) -> anyhow::Result<Options> {
    Options::parse(text).map_err(|errors| mistakes(&errors))
}

/// All mistakes in one error.
pub fn mistakes(errors: &[OptionsError]) -> anyhow::Error {
    let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
    anyhow::anyhow!(lines.join("\n"))
}
