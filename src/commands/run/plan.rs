//! The plan of a run: everything that the arguments and the configuration decide before anything is opened.

use anyhow::{anyhow, bail};
use connectors::{OpenError, Uri};

use super::{CatalogueArgs, ClockArg, ControlArgs, InputArgs, RunArgs};
use crate::cluster::Member;
use crate::commands::same::{Place, is_within, state_folder};
use crate::config::Config;
use crate::engine::{Clock, Show};
use crate::failure::Failure;

/// What a process is about to do.
#[derive(Debug)]
pub(super) enum RunPlan {
    /// The only process, or process 0 of a cluster: it reads, coordinates and writes.
    Coordinator(Box<CoordinatorPlan>),
    /// Any other process of a cluster: it computes, and opens neither inputs nor outputs.
    Follower(Box<FollowerPlan>),
}

#[derive(Debug)]
pub(super) struct CoordinatorPlan {
    pub(super) config: Config,
    pub(super) workers: usize,
    /// This process's place in the cluster, if there is one.
    pub(super) member: Option<Member>,
    pub(super) endpoints: Endpoints,
}

#[derive(Debug)]
pub(super) struct FollowerPlan {
    pub(super) config: Config,
    pub(super) member: Member,
}

/// The inputs and outputs of a run, and how they are used.
#[derive(Debug)]
pub(super) struct Endpoints {
    pub(super) input_args: InputArgs,
    pub(super) inputs: Vec<Uri>,
    pub(super) catalogue_args: CatalogueArgs,
    pub(super) catalogue: Vec<Uri>,
    pub(super) control_args: ControlArgs,
    pub(super) controls: Vec<Uri>,
    pub(super) output: Uri,
    pub(super) rejects: Option<Uri>,
    pub(super) similar_items: Option<Uri>,
    pub(super) similar_users: Option<Uri>,
    pub(super) clock: Clock,
    pub(super) show: Show,
    /// Whether the snapshots are ignored and the inputs are read again.
    pub(super) rebuild: bool,
}

/// What the plan needs to know of the terminal.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Terminal {
    /// Whether stderr can show a status line.
    pub(super) has_status_line: bool,
    pub(super) is_stdout: bool,
}

/// Plans a run. It opens nothing; paths of files are resolved to compare them. `config` includes `--state`.
pub(super) fn plan(
    args: RunArgs,
    config: Config,
    member: Option<Member>,
    terminal: Terminal,
) -> Result<RunPlan, Failure> {
    let member = match member {
        Some(member) if member.me.process > 0 => {
            return Ok(RunPlan::Follower(Box::new(FollowerPlan { config, member })));
        }
        other => other,
    };
    let optional = |text: Option<&String>| text.map(|text| output_uri(text)).transpose();
    let (inputs, catalogue, output) = (args.inputs.uris()?, args.catalogue.uris()?, output_uri(&args.output)?);
    let reads_topic = inputs.iter().any(|input| matches!(input, Uri::Kafka(_)));
    let clock = match args.clock {
        Some(ClockArg::Wall) => Clock::Wall,
        None if reads_topic => Clock::Wall,
        Some(ClockArg::Event) | None => Clock::Event,
    };
    // Changes on the same terminal would break the status line.
    let shares_terminal = output == Uri::Stdio && terminal.is_stdout;
    let show = match (args.quiet, terminal.has_status_line && !shares_terminal) {
        (true, _) => Show::Nothing,
        (false, true) => Show::Live,
        (false, false) => Show::Log,
    };
    let endpoints = Endpoints {
        inputs,
        catalogue,
        controls: args.controls.uris()?,
        output,
        rejects: optional(args.rejects.as_ref())?,
        similar_items: optional(args.output_similar_items.as_ref())?,
        similar_users: optional(args.output_similar_users.as_ref())?,
        clock,
        show,
        rebuild: args.rebuild,
        input_args: args.inputs,
        catalogue_args: args.catalogue,
        control_args: args.controls,
    };
    endpoints.check(config.state.uri.as_deref()).map_err(Failure::Usage)?;
    if args.rebuild && config.state.uri.is_none() {
        return Err(Failure::Usage(anyhow!("--rebuild needs a state to rebuild: --state URI")));
    }
    warn_of_unused(&endpoints, &config);
    let workers = usize::from(args.workers);
    Ok(RunPlan::Coordinator(Box::new(CoordinatorPlan { config, workers, member, endpoints })))
}

/// Warns of settings that this run does not use: probably something else is meant, or missing.
fn warn_of_unused(endpoints: &Endpoints, config: &Config) {
    if !config.kafka.more.is_empty() && !endpoints.has_topic() {
        tracing::warn!("[kafka.options] has no effect: no input and no output is a topic");
    }
    if config.input.max_jump.is_some() && endpoints.clock == Clock::Wall {
        tracing::warn!("input.max_jump has no effect by the wall clock: input.max_skew limits timestamps");
    }
}

fn output_uri(text: &str) -> Result<Uri, Failure> {
    Ok(Uri::of_output(text).map_err(OpenError::from)?)
}

impl Endpoints {
    /// The outputs, each with its option.
    pub(super) fn outputs(&self) -> Vec<(&'static str, &Uri)> {
        let outputs = [
            ("--output", Some(&self.output)),
            ("--rejects", self.rejects.as_ref()),
            ("--output-similar-items", self.similar_items.as_ref()),
            ("--output-similar-users", self.similar_users.as_ref()),
        ];
        outputs.into_iter().filter_map(|(option, uri)| Some((option, uri?))).collect()
    }

    /// All inputs, each with its option.
    pub(super) fn all_inputs(&self) -> impl Iterator<Item = (&'static str, &Uri)> {
        let events = self.inputs.iter().map(|uri| ("--input", uri));
        let catalogue = self.catalogue.iter().map(|uri| ("--catalogue", uri));
        events.chain(catalogue).chain(self.controls.iter().map(|uri| ("--controls", uri)))
    }

    /// Whether an input or an output is a topic.
    pub(super) fn has_topic(&self) -> bool {
        let mut uris = self.all_inputs().map(|(_, uri)| uri).chain(self.outputs().into_iter().map(|(_, uri)| uri));
        uris.any(|uri| matches!(uri, Uri::Kafka(_)))
    }

    /// Finds conflicts between inputs, outputs and the state.
    fn check(&self, state: Option<&str>) -> anyhow::Result<()> {
        let stdin: Vec<_> = self.all_inputs().filter(|(_, input)| **input == Uri::Stdio).collect();
        if let [_, (option, _), ..] = stdin[..] {
            bail!("stdin can be only one of the inputs: remove one {option} -");
        }
        let inputs: Vec<_> = self.all_inputs().map(|(option, uri)| (option, uri, Place::of_input(uri))).collect();
        for (at, (option, uri, place)) in inputs.iter().enumerate() {
            let is_same = |(other, _, of): &&(&str, _, Place)| {
                other != option && !matches!(uri, Uri::Generate(_)) && place.is_same(of)
            };
            if let Some((other, ..)) = inputs[..at].iter().find(is_same) {
                let article = if *other == "--input" { "an" } else { "a" };
                bail!(
                    "{option} {uri} is also {article} {other}: events, catalogue records and controls come from different \
                     places"
                );
            }
        }
        let outputs = self.outputs();
        let outputs: Vec<_> = outputs.iter().map(|(option, uri)| (option, uri, Place::of_output(uri))).collect();
        for (at, (named, input)) in self.all_inputs().enumerate() {
            let place = Place::of_input(input);
            let Some((option, output, _)) = outputs.iter().find(|(.., other)| place.is_same(other)) else { continue };
            let input =
                if input == **output { String::new() } else { format!(" ({input}, the same under another name)") };
            let at = if named == "--input" { format!("input {}", at + 1) } else { named.to_owned() };
            match output {
                Uri::File { .. } => {
                    bail!("{option} {output} is also {at}{input}: it would be overwritten unread")
                }
                Uri::Stdio => bail!("{option} {output} goes to {at}{input}: changes would be read as records"),
                Uri::Kafka(_) => bail!("{option} {output} is also {at}: changes would be read as records"),
                Uri::Generate(_) => {}
            }
        }
        for (at, (option, output, place)) in outputs.iter().enumerate() {
            if let Some((other, named, _)) = outputs[..at].iter().find(|(.., other)| place.is_same(other)) {
                let names = if output == named { String::new() } else { format!(" ({output} and {named})") };
                bail!("{option} and {other} are the same{names}: give them different places");
            }
        }
        if let Some(folder) = state.and_then(state_folder) {
            let (place, state) = (Place::of_path(folder), folder.display());
            if let Some((option, output, _)) = outputs.iter().find(|(.., other)| place.is_same(other)) {
                bail!("{option} {output} is also the state ({state}): give them different places");
            }
            if let Some((option, output, _)) = outputs.iter().find(|(_, output, _)| is_within(output, folder)) {
                bail!("{option} {output} is in the folder of the state ({state}): name another place");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cluster::{Hosts, Identity, Protection, Secret};

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: RunArgs,
    }

    fn args(line: &str) -> RunArgs {
        Command::try_parse_from(["run"].into_iter().chain(line.split_whitespace())).unwrap().args
    }

    fn plan_with(line: &str, terminal: Terminal) -> Result<RunPlan, Failure> {
        let args = args(line);
        let mut config = Config::load(None, &[]).unwrap();
        config.state.uri.clone_from(&args.state);
        plan(args, config, None, terminal)
    }

    fn endpoints(line: &str, terminal: Terminal) -> Endpoints {
        match plan_with(line, terminal).unwrap() {
            RunPlan::Coordinator(plan) => plan.endpoints,
            RunPlan::Follower(_) => panic!("a single process coordinates"),
        }
    }

    #[test]
    fn the_clock_is_the_walls_with_a_topic_unless_given() {
        for (line, clock) in [
            ("", Clock::Event),
            ("--input a.jsonl --input kafka://b:9092/events", Clock::Wall),
            ("--input kafka://b:9092/events --clock event", Clock::Event),
            ("--input a.jsonl --clock wall", Clock::Wall),
        ] {
            assert_eq!(endpoints(line, Terminal::default()).clock, clock, "{line}");
        }
    }

    #[test]
    fn the_status_line_is_not_shown_on_a_terminal_with_changes() {
        let terminal = Terminal { has_status_line: true, is_stdout: true };
        for (line, terminal, show) in [
            ("--output out.jsonl", terminal, Show::Live),
            ("", terminal, Show::Log),
            ("", Terminal { is_stdout: false, ..terminal }, Show::Live),
            ("--output out.jsonl", Terminal::default(), Show::Log),
            ("--output out.jsonl --quiet", terminal, Show::Nothing),
        ] {
            assert_eq!(endpoints(line, terminal).show, show, "{line}");
        }
    }

    #[test]
    fn rejects_conflicts_of_inputs_and_outputs() {
        for (line, part) in [
            ("--input - --input -", "only one of the inputs"),
            ("--input a.jsonl --output ./a.jsonl", "--output ./a.jsonl is also input 1"),
            ("--input b.csv --input a.jsonl --rejects a.jsonl", "--rejects a.jsonl is also input 2"),
            ("--input kafka://b:9092/x --output kafka://b:9092/x", "would be read as records"),
            ("--rejects -", "--rejects and --output are the same"),
            ("--output-similar-items a.jsonl --output-similar-users ./a.jsonl", "are the same"),
            ("--input a.jsonl --catalogue c.jsonl --output ./c.jsonl", "--output ./c.jsonl is also --catalogue"),
            ("--input a.jsonl --catalogue ./a.jsonl", "is also an --input"),
            ("--input - --catalogue -", "remove one --catalogue -"),
            ("--input a.jsonl --controls ./a.jsonl", "--controls ./a.jsonl is also an --input"),
            ("--catalogue c.jsonl --controls c.jsonl", "--controls c.jsonl is also a --catalogue"),
            ("--input kafka://b:9092/x --controls kafka://b:9092/x", "is also an --input"),
            ("--input a.jsonl --controls c.jsonl --output ./c.jsonl", "--output ./c.jsonl is also --controls"),
            ("--input - --controls -", "remove one --controls -"),
            ("--rebuild", "--state URI"),
        ] {
            let failure = plan_with(line, Terminal::default());
            assert!(matches!(&failure, Err(Failure::Usage(error)) if error.to_string().contains(part)), "{failure:?}");
        }
        plan_with("--input generate:events=5 --input - --output - --rejects r.jsonl", Terminal::default()).unwrap();
        plan_with("--rebuild --state state", Terminal::default()).unwrap();
    }

    #[test]
    fn processes_other_than_0_follow_and_ignore_inputs_and_outputs() {
        let member = |process| Member {
            hosts: Hosts::read("a:1,b:1").unwrap(),
            me: Identity {
                secret: Secret::new(b"0123456789abcdef").unwrap(),
                protection: Protection::Encrypted,
                process,
                processes: 2,
                workers: 3,
                program: [0; 32],
                configuration: [0; 24],
                id_key: None,
            },
            listen_publicly: false,
        };
        let config = Config::load(None, &[]).unwrap();
        let plan_of = |process| {
            let line = "--workers 3 --input - --input - --output generate:";
            plan(args(line), config.clone(), Some(member(process)), Terminal::default())
        };
        assert!(matches!(plan_of(1), Ok(RunPlan::Follower(plan)) if plan.member.me.workers == 3));
        assert!(matches!(plan_of(0), Err(Failure::Usage(_))));
    }
}
