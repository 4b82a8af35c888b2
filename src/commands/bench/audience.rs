//! Size of the audience as a share of the users, converted to the equivalent span of `graph.audience`.

use std::collections::HashMap;
use std::hash::Hash;
use std::str::FromStr;

use schema::Levels;
use serde::{Deserialize, Serialize};
use simulator::Options;

use super::event_stream::EventStream;
use crate::config::Config;
use crate::failure::Failure;

/// Share of the users in the audience.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum AudienceShare {
    /// All users.
    All,
    /// Percentage above 0 and up to 100.
    Percent(f64),
}

impl FromStr for AudienceShare {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "all" {
            return Ok(AudienceShare::All);
        }
        let percent = text.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
        percent.filter(|percent| *percent > 0.0 && *percent <= 100.0).map(AudienceShare::Percent).ok_or_else(|| {
            format!("expected `all`, or a share of the users above 0% and up to 100% such as 10%: `{text}`")
        })
    }
}

impl std::fmt::Display for AudienceShare {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            AudienceShare::All => write!(f, "all"),
            AudienceShare::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

/// Events that the calibration needs at least.
const MIN_CALIBRATION_EVENTS: u64 = 200_000;
/// Events after which a calibration does not change.
pub(super) const MAX_CALIBRATION_EVENTS: u64 = 2_000_000;

impl AudienceShare {
    /// The span of `graph.audience` in milliseconds that keeps this share of the users in the audience on average,
    /// calibrated on the first `events` of the simulation; `None` for all users.
    pub(super) fn span(self, options: &Options, config: &Config, events: u64) -> Result<Option<u64>, Failure> {
        let AudienceShare::Percent(percent) = self else { return Ok(None) };
        let events = events.max(MIN_CALIBRATION_EVENTS);
        let visits = visits(options, &config.levels, events)?;
        let span = span_of_share(&visits, u64::from(options.users), percent / 100.0).map_err(|max| {
            Failure::Usage(anyhow::anyhow!(
                "--audience {self}: in the first {events} events no span of time has more than {:.1}% of the users on \
                 average; raise --preload, lower --users, or take `all`",
                100.0 * max
            ))
        })?;
        if span > config.graph.retention {
            return Err(Failure::Usage(anyhow::anyhow!(
                "--audience {self} is a span of {span} ms here, longer than graph.retention: lower one or raise the other"
            )));
        }
        Ok(Some(span))
    }
}

/// Users and timestamps of the first events with an effect.
fn visits(options: &Options, levels: &Levels, events: u64) -> Result<Vec<(u32, u64)>, Failure> {
    let mut stream = EventStream::new(options.clone(), levels.clone(), None)?;
    let mut left = Vec::new();
    let visits = std::iter::from_fn(|| stream.next_event(&mut left)).map(|event| (event.user, event.ts));
    Ok(visits.take(usize::try_from(events).unwrap_or(usize::MAX)).collect())
}

/// The shortest span of time, at least 1 and in the unit of the visits' timestamps, within which this share of all `users`
/// has a visit on average. The error is the largest share of any span, if it is too small.
///
/// `visits` are user and timestamp, ordered by timestamp. A visit keeps its user in the audience until the span ends or the
/// next visit of the user. The mean audience is the exact sum of these stays divided by the time. It is taken over the
/// second half of the log, so that stays of up to half the log are not truncated by its start. Users without a visit
/// count too.
#[allow(clippy::cast_precision_loss)]
pub fn span_of_share<U: Copy + Eq + Hash>(visits: &[(U, u64)], users: u64, share: f64) -> Result<u64, f64> {
    let (first, end) = (visits.first().map_or(0, |visit| visit.1), visits.last().map_or(0, |visit| visit.1));
    let middle = u64::midpoint(first, end);
    let mut next: HashMap<U, u64> = HashMap::new();
    let mut stays: Vec<(u64, u64)> = visits
        .iter()
        .rev()
        .map(|(user, ts)| {
            let next = next.insert(*user, *ts).unwrap_or(end);
            (*ts, next)
        })
        .collect();
    stays.retain(|(_, next)| *next > middle);
    let share_within = |span: u64| {
        let inside = |(ts, next): &(u64, u64)| (ts + span).min(*next).saturating_sub(*ts.max(&middle));
        let mean = stays.iter().map(inside).sum::<u64>() as f64 / (end - middle).max(1) as f64;
        mean / users.max(1) as f64
    };
    let (mut low, mut high) = (0, (middle - first).max(1));
    let max = share_within(high);
    if max < share {
        return Err(max);
    }
    while high - low > 1 {
        let span = u64::midpoint(low, high);
        if share_within(span) < share {
            low = span;
        } else {
            high = span;
        }
    }
    Ok(high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_shares_and_rejects_others() {
        assert_eq!("all".parse(), Ok(AudienceShare::All));
        assert_eq!("0.5%".parse(), Ok(AudienceShare::Percent(0.5)));
        for wrong in ["", "10", "0%", "150%", "-1%", "NaN%", "some"] {
            assert!(wrong.parse::<AudienceShare>().is_err_and(|error| error.contains("10%")), "{wrong}");
        }
    }

    #[test]
    fn the_span_has_the_requested_share() {
        // 100 users in turn, one visit every 10 ms: any 200 ms contain 20 users.
        let visits: Vec<(u32, u64)> = (0..1_000_u32).map(|visit| (visit % 100, u64::from(visit) * 10)).collect();
        let found = span_of_share(&visits, 100, 0.2).expect("there are enough");
        assert!((199..=202).contains(&found), "{found}");
        // All users take a whole round; there are no more.
        let found = span_of_share(&visits, 100, 0.999).expect("there are enough");
        assert!((990..=1_010).contains(&found), "{found}");
        assert!(span_of_share(&visits, 100, 1.01).is_err_and(|max| (max - 1.0).abs() < 0.015));
    }

    /// Counts the audience directly in the second half of a simulation.
    #[test]
    fn the_calibrated_span_has_the_requested_audience() {
        let options = Options { events: 100_000, users: 2_000, items: 300, rooms: 5, ..Options::default() };
        let visits = visits(&options, &Levels::default(), 100_000).unwrap_or_else(|_| panic!("valid options"));
        let span = span_of_share(&visits, 2_000, 0.1).expect("a tenth is reached");
        let (mut counted, mut samples) = (0, 0_u32);
        for at in (visits.len() / 2..visits.len()).step_by(500) {
            let now = visits[at].1;
            let recent = visits[..=at].iter().rev().take_while(|(_, ts)| ts + span > now);
            counted += recent.map(|(user, _)| *user).collect::<std::collections::BTreeSet<_>>().len();
            samples += 1;
        }
        let mean = f64::from(u32::try_from(counted).unwrap()) / f64::from(samples);
        assert!((180.0..220.0).contains(&mean), "{mean} users within {span} ms");
    }
}
