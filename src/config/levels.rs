use schema::{Levels, LevelsError, MAX_LEVEL};

use super::error::Problem;
use super::reader::Reader;
use super::rules::{integer, watch};

/// The one action that is graded by time.
const WATCH: &str = "watch";

/// The `[levels]` section: `watch`, and as many actions as the layers name.
pub(super) fn read(reader: &mut Reader) -> Levels {
    let steps = reader.read("levels", WATCH, watch);
    let actions: Vec<String> = reader.names("levels").filter(|action| *action != WATCH).map(String::from).collect();
    let levels: Vec<(String, i64)> = actions
        .into_iter()
        .map(|action| {
            let level = reader.read_or(1, "levels", &action, integer(1..=i64::from(MAX_LEVEL)));
            (action, level)
        })
        .collect();
    Levels::new(levels, steps).unwrap_or_else(|errors| {
        for error in errors {
            let action = match &error {
                LevelsError::Alias { alias: action, .. } | LevelsError::OutOfRange { action, .. } => action,
                LevelsError::WatchOrder => WATCH,
            };
            let origin = reader.value("levels", action).origin.clone();
            reader.report(origin, Problem::Levels(error));
        }
        Levels::default()
    })
}
