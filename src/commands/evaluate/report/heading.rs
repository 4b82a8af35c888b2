//! Description of the log and the protocol above the tables.

use super::super::EvaluateArgs;
use super::super::log::LogEvent;
use super::super::protocol::{Cut, Protocol};
use super::super::settings::Setting;
use super::super::trial::Trial;
use crate::config::Audience;
use crate::engine::{grouped, timestamp};

pub(super) fn heading(args: &EvaluateArgs, protocol: Protocol, trial: &Trial, settings: &[Setting]) -> String {
    let log = &trial.log;
    let at = |event: Option<&LogEvent>| event.and_then(|event| timestamp(event.ts)).unwrap_or_else(|| "?".into());
    let mut lines = vec![
        format!(
            "{} events of {} users and {} items, {} to {} ({} retractions, {} skips, {} ignored, {} rejected)",
            grouped(log.events.len() as u64),
            grouped(log.users.len() as u64),
            grouped(log.items.len() as u64),
            at(log.events.first()),
            at(log.events.last()),
            grouped(log.retractions),
            grouped(log.skips),
            grouped(log.ignored),
            grouped(log.rejected),
        ),
        how(protocol) + &audience(protocol, settings[0].config.graph.audience),
    ];
    let left_out = trial.plan.left_out();
    if left_out > 0 {
        lines.push(format!("{} later events of users that began before are left out", grouped(left_out as u64)));
    }
    lines.push(format!(
        "{} lists of {}; {}; {} resamples of users, seed {}",
        grouped(trial.cases() as u64),
        grouped(trial.longest() as u64),
        if args.repeats {
            "repeats are ordinary cases, but not for deltarec's lists"
        } else {
            "repeats are counted separately"
        },
        grouped(u64::from(args.resamples)),
        args.seed,
    ));
    if !args.explore.is_empty() {
        lines.push("explore=N: the last N positions have new items, without events so far".to_owned());
    }
    lines.join("\n")
}

fn how(protocol: Protocol) -> String {
    match protocol {
        Protocol::Last { last: 1 } => {
            "the last event of each user (with two or more) from all other events; nothing expires, all users have a list"
                .to_owned()
        }
        Protocol::Last { last } => {
            format!(
                "the last {last} events of each user (with more) from all other events; nothing expires, all users have a list"
            )
        }
        Protocol::Prequential { from, tick } => {
            format!("each event after {} from {}", cut(from), state_before(tick))
        }
        Protocol::Sessions { from, tick } => {
            format!(
                "each event but the first of users that begin after {} from {}, then learnt",
                cut(from),
                state_before(tick)
            )
        }
        Protocol::NextVisit { gap_ms } => {
            format!(
                "the last visit of each user (with two or more) from the state just before it; visits are at least {} s apart",
                grouped_seconds(gap_ms)
            )
        }
        Protocol::Time { from } => format!("all events after {} from the state at that time", cut(from)),
    }
}

fn state_before(tick: usize) -> String {
    match tick {
        1 => "the state just before it".to_owned(),
        tick => format!("a state at most {tick} events before it"),
    }
}

fn audience(protocol: Protocol, audience: Audience) -> String {
    match audience {
        _ if !protocol.has_time() => String::new(),
        Audience::All => "; all users have a list".to_owned(),
        Audience::Within(ms) => {
            format!("; users without an event within {} s have no list and count as not found", grouped_seconds(ms))
        }
    }
}

fn cut(from: Cut) -> String {
    match from {
        Cut::Share(share) => format!("{}% of the events", (share * 1e6).round() / 1e4),
        Cut::At(ms) => timestamp(ms).unwrap_or_else(|| "the beginning".into()),
    }
}

/// Milliseconds as seconds.
fn grouped_seconds(ms: u64) -> String {
    match ms % 1_000 {
        0 => grouped(ms / 1_000),
        rest => format!("{}.{rest:03}", grouped(ms / 1_000)),
    }
}
