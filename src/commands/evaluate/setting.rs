//! Settings of the configuration to be compared: `--sweep key=a,b,c`.

use std::path::Path;

use anyhow::{anyhow, ensure};

use super::protocol::Protocol;
use crate::config::Config;
use crate::failure::Failure;

/// More would be asked for by mistake.
const MAX_SETTINGS: usize = 200;

/// A configuration and what is different about it.
pub(super) struct Setting {
    /// As short as it can be told, `deltarec` if nothing is different.
    pub(super) name: String,
    /// `key=value` of what is swept.
    pub(super) sets: Vec<String>,
    pub(super) config: Config,
}

/// Every combination of what is swept, over the file and the `--set`s; one setting if nothing is.
///
/// Everybody is in the audience unless a `--set` says otherwise: an evaluation asks what the lists are worth, not who is
/// watching at the moment.
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
        let short = |set: &String| set.strip_prefix("graph.").unwrap_or(set).to_owned();
        let name = if swept.is_empty() {
            "deltarec".to_owned()
        } else {
            swept.iter().map(short).collect::<Vec<_>>().join(" ")
        };
        Ok(Setting { name, sets: swept, config })
    };
    combinations.into_iter().map(setting).collect()
}

/// A key and its values.
fn sweep(text: &str, protocol: Protocol) -> anyhow::Result<(&str, Vec<&str>)> {
    let (key, values) =
        text.split_once('=').ok_or_else(|| anyhow!("--sweep {text}: write KEY=A,B,C, as in graph.resolution=2,4,8"))?;
    let key = key.trim();
    ensure!(
        key.starts_with("graph.") || key.starts_with("levels.") || key.starts_with("trending."),
        "--sweep {text}: only what is computed can be compared: graph.KEY, levels.ACTION or trending.KEY"
    );
    ensure!(key != "graph.k", "--sweep {text}: lists are looked at at several lengths anyway: --k 5,10,20");
    let is_time = key == "graph.retention" || key == "graph.audience";
    ensure!(
        !(is_time && protocol == Protocol::Last),
        "--sweep {text}: with --protocol last nothing expires and everybody has a list; use --protocol prequential or time"
    );
    let values = split(values);
    ensure!(values.iter().all(|value| !value.is_empty()), "--sweep {text}: there is an empty value");
    Ok((key, values))
}

/// At the commas that stand in no brackets and no quotes.
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
        let settings = settings(None, &[], &sweeps, Protocol::Last).unwrap_or_else(|error| panic!("{error:?}"));
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
    fn everybody_has_a_list_unless_it_is_said() {
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
    fn what_cannot_be_swept_is_said() {
        for (text, part) in [
            ("graph.resolution", "KEY=A,B,C"),
            ("input.batch=1,2", "graph.KEY"),
            ("graph.k=1,2", "--k 5,10,20"),
            ("graph.retention=1d", "nothing expires"),
            ("graph.history=1,,2", "empty value"),
            ("graph.histry=1", "did you mean graph.history"),
            ("graph.history=0", "graph.history must be"),
        ] {
            let Err(Failure::Usage(error)) = settings(None, &[], &[text.to_owned()], Protocol::Last) else {
                panic!("{text} was relevant")
            };
            assert!(error.to_string().contains(part), "{text}: {error}");
        }
        let many = (1..=15).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
        let sweeps = [format!("graph.history={many}"), format!("graph.neighbours={many}")];
        assert!(matches!(settings(None, &[], &sweeps, Protocol::Last), Err(Failure::Usage(_))));
    }
}
