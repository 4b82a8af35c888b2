//! Arguments of a simulation, shared by `generate` and `bench`.

use clap::Args;
use serde::{Deserialize, Serialize};
use simulator::{CatalogueGenerator, Generator, Options, OptionsError};

/// Heading of the simulation's flags in `--help`. Named per flag: a heading of the whole struct would also cover the flags
/// of the command after it.
pub(crate) const HEADING: &str = "Simulation (docs/generator.md)";

/// Options of a simulation. [`Options`] parses the values, so that flags and `generate:` URIs have the same syntax.
#[derive(Clone, Debug, Default, Args, Serialize, Deserialize)]
pub(crate) struct SimulationArgs {
    /// Older form of the flags: key=value,...
    #[arg(value_name = "SIMULATION", default_value = "", hide = true)]
    assignments: String,
    /// Number of users [default: 100000]
    #[arg(long, value_name = "N", help_heading = HEADING)]
    users: Option<String>,
    /// Number of items [default: 20000]
    #[arg(long, value_name = "N", help_heading = HEADING)]
    items: Option<String>,
    /// Number of live rooms [default: 50]
    #[arg(long, value_name = "N", help_heading = HEADING)]
    rooms: Option<String>,
    /// Mean number of events per second of simulated time [default: 1000]
    #[arg(long, value_name = "N", help_heading = HEADING)]
    rate: Option<String>,
    /// Seed: the same options give the same events on every machine [default: 1]
    #[arg(long, value_name = "N", help_heading = HEADING)]
    seed: Option<String>,
    /// Start of the simulated time: a date and time, or milliseconds since 1970 [default: 2025-11-11T12:00:00Z]
    #[arg(long, value_name = "TIME", help_heading = HEADING)]
    start: Option<String>,
}

impl SimulationArgs {
    /// All given options as `key=value`.
    fn assignments(&self) -> impl Iterator<Item = String> + '_ {
        let flags = [
            ("users", &self.users),
            ("items", &self.items),
            ("rooms", &self.rooms),
            ("rate", &self.rate),
            ("seed", &self.seed),
            ("start", &self.start),
        ];
        let flags = flags.into_iter().filter_map(|(key, value)| Some(format!("{key}={}", value.as_ref()?)));
        self.assignments.split(',').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).chain(flags)
    }

    /// Whether an option is given, in either form.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.assignments().any(|given| given.split('=').next().is_some_and(|given| given.trim() == key))
    }

    /// The parsed options. `events` is the value of a command's own flag `--events`.
    pub(crate) fn options(&self, events: Option<&str>) -> anyhow::Result<Options> {
        let assignments: Vec<String> =
            self.assignments().chain(events.map(|events| format!("events={events}"))).collect();
        Options::from_assignments(assignments.iter().map(String::as_str)).map_err(|errors| joined(&errors))
    }
}

impl std::fmt::Display for SimulationArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.assignments().collect::<Vec<_>>().join(","))
    }
}

/// Parses the part of a URI after `generate:`.
pub(crate) fn options(text: &str) -> anyhow::Result<Options> {
    Options::parse(text).map_err(|errors| joined(&errors))
}

pub(crate) fn generator(options: Options) -> anyhow::Result<Generator> {
    Generator::new(options).map_err(|errors| joined(&errors))
}

pub(crate) fn catalogue_generator(options: Options) -> anyhow::Result<CatalogueGenerator> {
    CatalogueGenerator::new(options).map_err(|errors| joined(&errors))
}

fn joined(errors: &[OptionsError]) -> anyhow::Error {
    let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
    anyhow::anyhow!(lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        simulation: SimulationArgs,
    }

    fn parse(args: &str) -> anyhow::Result<Options> {
        Command::parse_from(["test"].into_iter().chain(args.split_whitespace())).simulation.options(Some("5"))
    }

    #[test]
    fn flags_and_assignments_are_the_same_options() {
        let expected = options("events=5,users=1_000,seed=7,start=2025-11-11T12:00:00Z").unwrap();
        assert_eq!(parse("--users 1_000 --seed 7 --start 2025-11-11T12:00:00Z").unwrap(), expected);
        assert_eq!(parse("users=1000,seed=7").unwrap(), expected);
        assert_eq!(parse("users=1000 --seed 7").unwrap(), expected);
        assert_eq!(parse("").unwrap(), Options { events: 5, ..Options::default() });
    }

    #[test]
    fn rejects_duplicates_and_invalid_values() {
        for (args, part) in [
            ("users=5 --users 6", "`users` is given twice"),
            ("--users 5,items=6", "users=5,items=6: expected a whole number"),
            ("--rooms 0", "rooms=0: expected 1 to"),
            ("events=7", "`events` is given twice"),
        ] {
            let error = parse(args).unwrap_err().to_string();
            assert!(error.contains(part), "{args}: {error}");
        }
    }
}
