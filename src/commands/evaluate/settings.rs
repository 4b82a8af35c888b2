//! Configurations to compare: `--sweep key=a,b,c`.

use std::path::Path;

use anyhow::{anyhow, ensure};

use super::protocol::Protocol;
use crate::config::{Config, public_key, public_set};
use crate::failure::Failure;

/// Limit of the combinations; more are probably a mistake.
const MAX_SETTINGS: usize = 200;

/// A configuration with its swept settings.
pub(super) struct Setting {
    /// Short form of the swept settings; `deltarec` without any.
    pub(super) name: String,
    /// Swept settings as `key=value`.
    pub(super) sets: Vec<String>,
    pub(super) config: Config,
}

/// All combinations of the swept values, on top of the file and `--set`; one setting without sweeps.
///
/// All users are in the audience unless `--set` says otherwise, because an evaluation is about the quality of the lists.
pub(super) fn settings(
    file: Option<&Path>,
    sets: &[String],
    sweeps: &[String],
    protocol: Protocol,
) -> Result<Vec<Setting>, Failure> {
    let sweeps =
        sweeps.iter().map(|text| sweep(text, protocol)).collect::<Result<Vec<_>, _>>().map_err(Failure::Usage)?;
    let count = sweeps.iter().try_fold(1_usize, |count, (_, values)| count.checked_mul(values.len()));
    if count.is_none_or(|count| count > MAX_SETTINGS) {
        return Err(Failure::Usage(anyhow!(
            "--sweep: more than {MAX_SETTINGS} combinations; sweep fewer keys at a time"
        )));
    }
    let mut combinations = vec![Vec::new()];
    for (key, values) in &sweeps {
        let with = |before: &Vec<String>, value: &&str| [&before[..], &[format!("{key}={value}")]].concat();
        combinations =
            combinations.iter().flat_map(|before| values.iter().map(move |value| with(before, value))).collect();
    }
    let setting = |swept: Vec<String>| {
        let all =
            ["graph.audience=all".to_owned()].into_iter().chain(sets.iter().cloned()).chain(swept.iter().cloned());
        let config = Config::load(file, &all.collect::<Vec<_>>())?;
        let short_name = |set: &String| set.strip_prefix("graph.").unwrap_or(set).to_owned();
        let name = if swept.is_empty() {
            "deltarec".to_owned()
        } else {
            swept.iter().map(short_name).collect::<Vec<_>>().join(" ")
        };
        Ok(Setting { name, sets: swept, config })
    };
    combinations.into_iter().map(setting).collect()
}

/// Parses a sweep into its key and values.
fn sweep(text: &str, protocol: Protocol) -> anyhow::Result<(&str, Vec<&str>)> {
    // Without the values: a key that cannot be compared may be that of a secret.
    let (key, values) = text.split_once('=').unwrap_or((text, ""));
    let key = key.trim();
    let shown = if text.contains('=') { public_key(key) } else { public_set(text) };
    ensure!(text.contains('='), "--sweep {shown}: write KEY=A,B,C, as in graph.resolution=2,4,8");
    ensure!(
        key.starts_with("graph.") || key.starts_with("levels.") || key.starts_with("trending."),
        "--sweep {shown}: only graph.KEY, levels.ACTION and trending.KEY can be compared"
    );
    ensure!(key != "graph.k", "--sweep {shown}: use --k 5,10,20 for several lengths of the lists");
    let is_time = key == "graph.retention" || key == "graph.audience";
    ensure!(
        !is_time || protocol.has_time(),
        "--sweep {shown}: with --protocol last nothing expires and all users have a list; use another --protocol"
    );
    let values = split(values);
    ensure!(values.iter().all(|value| !value.is_empty()), "--sweep {shown}: empty value");
    Ok((key, values))
}

/// Splits at commas outside brackets and quotes.
fn split(values: &str) -> Vec<&str> {
    let (mut parts, mut from, mut depth, mut quoted) = (Vec::new(), 0, 0, false);
    for (at, c) in values.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '[' if !quoted => depth += 1,
            ']' if !quoted => depth -= 1,
            ',' if !quoted && depth == 0 => {
                parts.push(values[from..at].trim());
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(values[from..].trim());
    parts
}

#[cfg(test)]
mod tests {
    use super::super::protocol::Cut;
    use super::*;
    use crate::config::Audience;

    fn names(sweeps: &[&str]) -> Vec<String> {
        let sweeps: Vec<String> = sweeps.iter().map(ToString::to_string).collect();
        let settings =
            settings(None, &[], &sweeps, Protocol::Last { last: 1 }).unwrap_or_else(|error| panic!("{error:?}"));
        settings.into_iter().map(|setting| setting.name).collect()
    }

    #[test]
    fn every_combination_is_a_setting() {
        assert_eq!(names(&[]), ["deltarec"]);
        assert_eq!(
            names(&["graph.resolution=2, 4", "graph.stairs=[1],[2,4]"]),
            [
                "resolution=2 stairs=[1]",
                "resolution=2 stairs=[2,4]",
                "resolution=4 stairs=[1]",
                "resolution=4 stairs=[2,4]"
            ]
        );
        assert_eq!(names(&["levels.purchase=1,6"]), ["levels.purchase=1", "levels.purchase=6"]);
    }

    #[test]
    fn the_audience_is_all_users_by_default() {
        let time = Protocol::Time { from: Cut::Share(0.5) };
        let audience = |sets: &[&str], sweeps: &[&str]| -> Vec<Audience> {
            let [sets, sweeps] = [sets, sweeps].map(|texts| texts.iter().map(ToString::to_string).collect::<Vec<_>>());
            let settings = settings(None, &sets, &sweeps, time).unwrap_or_else(|error| panic!("{error:?}"));
            settings.iter().map(|setting| setting.config.graph.audience).collect()
        };
        assert_eq!(audience(&[], &[]), [Audience::All]);
        assert_eq!(audience(&["graph.audience=1h"], &[]), [Audience::Within(3_600_000)]);
        assert_eq!(audience(&[], &["graph.audience=1s,all"]), [Audience::Within(1_000), Audience::All]);
    }

    #[test]
    fn rejects_invalid_sweeps() {
        for (text, part) in [
            ("graph.resolution", "KEY=A,B,C"),
            ("input.batch=1,2", "graph.KEY"),
            ("graph.k=1,2", "--k 5,10,20"),
            ("graph.retention=1d", "nothing expires"),
            ("graph.history=1,,2", "empty value"),
            ("graph.histry=1", "did you mean graph.history"),
            ("graph.history=0", "graph.history must be"),
        ] {
            let Err(Failure::Usage(error)) = settings(None, &[], &[text.to_owned()], Protocol::Last { last: 1 }) else {
                panic!("{text} was accepted")
            };
            assert!(error.to_string().contains(part), "{text}: {error}");
        }
        let many = (1..=15).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
        let sweeps = [format!("graph.history={many}"), format!("graph.neighbours={many}")];
        assert!(matches!(settings(None, &[], &sweeps, Protocol::Last { last: 1 }), Err(Failure::Usage(_))));
    }
}
