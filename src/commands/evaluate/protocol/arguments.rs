//! Arguments that choose the protocol.

use std::str::FromStr;

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;

use super::{Cut, Protocol};
use crate::config;

/// Arguments of the split of the log.
#[derive(Debug, Args)]
pub(in super::super) struct ProtocolArgs {
    /// Split of the log into training events and predicted events
    #[arg(long, value_enum, default_value_t = ProtocolArg::Last)]
    protocol: ProtocolArg,
    /// Start of the predictions: a share of the events, a date or a time [default: 0% with prequential, 80% with sessions
    /// and time]
    #[arg(long, value_name = "SHARE|TIME")]
    from: Option<Cut>,
    /// With last: number of events held out of each user [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    last: Option<u32>,
    /// With next-visit: shortest pause between two visits of a user [default: 6h]
    #[arg(long, value_name = "DURATION", value_parser = config::parse_duration)]
    gap: Option<u64>,
    /// With prequential and sessions: largest number of events predicted from one state; more is faster, with slightly older
    /// states [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    tick: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ProtocolArg {
    /// The last event of each user, or the last N together, from all other events, earlier or later; nothing expires
    Last,
    /// Each event, from the state just before it
    Prequential,
    /// Each event of the users, or sessions, that begin at --from or later, but the first, from the state just before it
    Sessions,
    /// All events of the last visit of each user, from the state just before it
    NextVisit,
    /// All events from --from on, from the state at that time
    Time,
}

impl ProtocolArg {
    /// Name as it is written on the command line.
    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

const DEFAULT_GAP_MS: u64 = 6 * 3_600_000;

impl ProtocolArgs {
    /// The protocol. Fails if an option does not fit it; `explores`: whether `--explore` is among the options.
    pub(in super::super) fn protocol(&self, explores: bool) -> anyhow::Result<Protocol> {
        use ProtocolArg::{Last, NextVisit, Prequential, Sessions, Time};
        let fits = |option: &str, is_given: bool, protocols: &[ProtocolArg]| {
            let names: Vec<String> = protocols.iter().map(|protocol| protocol.name()).collect();
            anyhow::ensure!(
                !is_given || protocols.contains(&self.protocol),
                "{option} is for --protocol {}, not for {}: leave it out, or choose another protocol",
                names.join(" or "),
                self.protocol.name()
            );
            Ok(())
        };
        fits("--last", self.last.is_some(), &[Last])?;
        fits("--from", self.from.is_some(), &[Prequential, Sessions, Time])?;
        fits("--tick", self.tick.is_some(), &[Prequential, Sessions])?;
        fits("--gap", self.gap.is_some(), &[NextVisit])?;
        // With `last` the only new items are the held-out ones, so exploring them would leak the answers.
        fits("--explore", explores, &[Prequential, Sessions, NextVisit, Time])?;
        let from = |default| self.from.unwrap_or(Cut::Share(default));
        let tick = self.tick.unwrap_or(1) as usize;
        Ok(match self.protocol {
            Last => Protocol::Last { last: self.last.unwrap_or(1) as usize },
            Prequential => Protocol::Prequential { from: from(0.0), tick },
            Sessions => Protocol::Sessions { from: from(0.8), tick },
            NextVisit => Protocol::NextVisit { gap_ms: self.gap.unwrap_or(DEFAULT_GAP_MS) },
            Time => Protocol::Time { from: from(0.8) },
        })
    }
}

/// Parses `80%`, `2025-11-23` or `2025-11-23T12:00:00`, in UTC unless an offset is given.
impl FromStr for Cut {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(share) = text.strip_suffix('%') {
            let percent = share.trim().parse::<f64>().ok().filter(|percent| (0.0..=100.0).contains(percent));
            return percent.map(|percent| Cut::Share(percent / 100.0)).ok_or_else(|| "a share is 0% to 100%".into());
        }
        let at = text.parse::<Timestamp>().ok();
        let at = at.or_else(|| Offset::UTC.to_timestamp(text.parse::<DateTime>().ok()?).ok());
        let ms = at.and_then(|at| u64::try_from(at.as_millisecond()).ok());
        ms.map(Cut::At)
            .ok_or_else(|| "expected a share (80%), a date (2025-11-23) or a time (2025-11-23T12:00:00Z)".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_shares_dates_and_times() {
        let cut = |text: &str| text.parse::<Cut>();
        assert_eq!(cut("80%"), Ok(Cut::Share(0.8)));
        assert_eq!(cut("2025-11-23"), Ok(Cut::At(1_763_856_000_000)));
        for time in ["2025-11-23T12:13:20Z", "2025-11-23T12:13:20", "2025-11-23T20:13:20+08:00"] {
            assert_eq!(cut(time), Ok(Cut::At(1_763_900_000_000)));
        }
        for wrong in ["80", "101%", "-1%", "yesterday", "1960-01-01"] {
            assert!(cut(wrong).is_err(), "{wrong}");
        }
    }
}
