//! How large an audience: a share of the users, turned into the span of time that gives it.

use std::collections::HashMap;
use std::hash::Hash;
use std::str::FromStr;

use schema::Levels;
use serde::{Deserialize, Serialize};
use simulator::Options;

use super::simulated::EventStream;
use crate::config::{Audience, Config};
use crate::failure::Failure;

/// How many of the users are in the audience.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Share {
    /// Everybody.
    All,
    /// So many in a hundred, above 0 and up to 100.
    Percent(f64),
}

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("expected `all`, or a share of the users above 0% and up to 100% such as 10%: `{text}`");
        if text == "all" {
            return Ok(Share::All);
        }
        let percent = text.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok()).ok_or_else(wrong)?;
        if percent > 0.0 && percent <= 100.0 { Ok(Share::Percent(percent)) } else { Err(wrong()) }
    }
}

impl std::fmt::Display for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Share::All => write!(f, "all"),
            Share::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

/// Fewer events than this tell little of how often users come.
const FEWEST: u64 = 200_000;

impl Share {
    /// The audience that has this share of all users on average, judged by the first `events` of the simulation.
    pub(super) fn audience(self, options: &Options, config: &Config, events: u64) -> Result<Audience, Failure> {
        let Share::Percent(percent) = self else { return Ok(Audience::All) };
        let events = events.max(FEWEST);
        let visits = visits(options, &config.levels, events)?;
        let span = span_of_share(&visits, u64::from(options.users), percent / 100.0).map_err(|most| {
            Failure::Usage(anyhow::anyhow!(
                "--audience {self}: in the first {events} events no span of time has more than {:.1}% of the users on \
                 average; raise --preload, lower users, or take `all`",
                100.0 * most
            ))
        })?;
        if span > config.graph.retention {
            return Err(Failure::Usage(anyhow::anyhow!(
                "--audience {self} is a span of {span} ms here, longer than graph.retention: lower one or raise the other"
            )));
        }
        Ok(Audience::Within(span))
    }
}

/// Users and times of the first events that count.
fn visits(options: &Options, levels: &Levels, events: u64) -> Result<Vec<(u32, u64)>, Failure> {
    let mut maker = EventStream::new(options.clone(), levels.clone(), None)?;
    let mut left = Vec::new();
    let visits = std::iter::from_fn(|| maker.next_event(&mut left)).map(|event| (event.user, event.ts));
    Ok(visits.take(usize::try_from(events).unwrap_or(usize::MAX)).collect())
}

/// The shortest span of time, at least 1 and in the unit of the visits' times, within which on average this share of all
/// `users` have a visit; or, if no span has so many, the largest share that one has.
///
/// A visit, a user and a time, keeps its user in the audience until the span is over or the user's next visit comes. The
/// mean is the sum of these stretches by the time they are in, exactly; it is taken over the second half of the visits'
/// time, so that a span of up to the first half is seen whole and nobody is missing only because the log has just begun.
/// All users count, also those who never come. The visits are in the order of their times.
#[allow(clippy::cast_precision_loss)]
pub fn span_of_share<U: Copy + Eq + Hash>(visits: &[(U, u64)], users: u64, share: f64) -> Result<u64, f64> {
    let (first, end) = (visits.first().map_or(0, |visit| visit.1), visits.last().map_or(0, |visit| visit.1));
    let middle = u64::midpoint(first, end);
    // A visit keeps its user in the audience until the span is over or the next visit comes.
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
    let (mut below, mut enough) = (0, (middle - first).max(1));
    let most = share_within(enough);
    if most < share {
        return Err(most);
    }
    while enough - below > 1 {
        let tried = u64::midpoint(below, enough);
        if share_within(tried) < share {
            below = tried;
        } else {
            enough = tried;
        }
    }
    Ok(enough)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_read_and_refused() {
        assert_eq!("all".parse(), Ok(Share::All));
        assert_eq!("0.5%".parse(), Ok(Share::Percent(0.5)));
        for wrong in ["", "10", "0%", "150%", "-1%", "NaN%", "some"] {
            assert!(wrong.parse::<Share>().is_err_and(|error| error.contains("10%")), "{wrong}");
        }
    }

    #[test]
    fn a_span_is_found_by_what_is_in_it() {
        // 100 users in turn, one visit every 10 ms: within 200 ms there are 20 of them, at any time.
        let visits: Vec<(u32, u64)> = (0..1_000_u32).map(|visit| (visit % 100, u64::from(visit) * 10)).collect();
        let found = span_of_share(&visits, 100, 0.2).expect("there are enough");
        assert!((199..=202).contains(&found), "{found}");
        // All of them take a whole round, and more there are not.
        let found = span_of_share(&visits, 100, 0.999).expect("there are enough");
        assert!((990..=1_010).contains(&found), "{found}");
        assert!(span_of_share(&visits, 100, 1.01).is_err_and(|most| (most - 1.0).abs() < 0.015));
    }

    /// The span does what it says in the second half of a simulation.
    #[test]
    fn a_calibrated_share_is_met() {
        let options = Options { events: 100_000, users: 2_000, items: 300, rooms: 5, ..Options::default() };
        let visits = visits(&options, &Levels::default(), 100_000).unwrap_or_else(|_| panic!("valid options"));
        let span = span_of_share(&visits, 2_000, 0.1).expect("a tenth is reached");
        let (mut counted, mut looks) = (0, 0_u32);
        for at in (visits.len() / 2..visits.len()).step_by(500) {
            let now = visits[at].1;
            let recent = visits[..=at].iter().rev().take_while(|(_, ts)| ts + span > now);
            counted += recent.map(|(user, _)| *user).collect::<std::collections::BTreeSet<_>>().len();
            looks += 1;
        }
        let mean = f64::from(u32::try_from(counted).unwrap()) / f64::from(looks);
        assert!((180.0..220.0).contains(&mean), "{mean} users within {span} ms");
    }
}
