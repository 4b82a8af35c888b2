//! `[levels]`: how strongly each action counts. Any name is an action.

use schema::{Levels, LevelsError, MAX_LEVEL};
use serde_json::json;

use super::{Key, Section, Snapshot, documented, retractions};
use crate::config::Config;
use crate::config::error::Problem;
use crate::config::reader::Reader;
use crate::config::rules::{Rule, integer, watch};

/// The action that is graded by dwell time.
const WATCH: &str = "watch";

pub(super) fn section() -> Section {
    Section {
        name: "levels",
        doc: "Level of each action: how strongly it counts as taste. An event with an action that is not listed is \
              rejected, unless it takes back others; a new name here is a new action. In events, `pv`, `fav` and `buy` are \
              aliases of view, favourite and purchase.",
        keys: vec![
            action("view", "1", "The item was shown or its page opened."),
            action("click", "2", "The item was clicked on."),
            action("like", "3", "The item was liked."),
            action("comment", "3", "The item was commented on."),
            action("share", "4", "The item was shared."),
            action("follow", "4", "The item's seller or room was followed."),
            action("favourite", "4", "The item was added to the favourites."),
            action("cart", "5", "The item was added to the cart."),
            action("purchase", "6", "The item was bought."),
            Key {
                name: WATCH,
                default: r#"[["5s", 1], ["30s", 2], ["120s", 3]]"#.into(),
                doc: "Level by dwell time, in steps of `[from, level]`. A watch shorter than the first step has no level. \
                      `[]` switches the action off: it is then unknown.",
                ..documented(&watch())
            },
        ],
        open: true,
        other_names: "| `levels.ACTION` | integer | not set | 1 to 15 | Level of any other action. |",
        finish: read,
        stored: Some(|config| json!(config.levels)),
        snapshot: Snapshot::MustNotChange("events in the snapshot were graded by the earlier levels"),
        ..Section::EMPTY
    }
}

fn action(name: &'static str, default: &'static str, doc: &'static str) -> Key {
    Key { name, default: default.into(), doc, ..documented(&level()) }
}

fn level() -> Rule<i64> {
    integer(1..=i64::from(MAX_LEVEL))
}

/// Most actions of a table: far more than anybody has. A table by mistake, such as one of items, is noticed.
const MAX_ACTIONS: usize = 10_000;

/// The actions of a table. If there are too many, that is reported, and there are none.
pub(super) fn actions(reader: &mut Reader, section: &str) -> Vec<String> {
    let names = reader.names(section);
    match names.get(MAX_ACTIONS) {
        Some(first_beyond) => {
            let right = format!("one of at most {MAX_ACTIONS} actions, and not of {}", names.len());
            reader.refuse(section, first_beyond, right);
            Vec::new()
        }
        None => names,
    }
}

/// Reads `watch`, and as many actions as the layers name, then the retractions, which depend on the levels.
fn read(reader: &mut Reader, config: &mut Config) {
    let known = reader.errors.len();
    read_levels(reader, config);
    let are_levels_read = reader.whole && reader.errors.len() == known;
    retractions::read(reader, config, are_levels_read);
}

fn read_levels(reader: &mut Reader, config: &mut Config) {
    let steps = reader.read("levels", WATCH, &watch()).unwrap_or_default();
    let actions = actions(reader, "levels").into_iter().filter(|action| action != WATCH);
    let levels: Vec<(String, i64)> = actions
        .map(|action| {
            // An action with a wrong level stays in the table, so that an alias is reported too.
            let level = reader.read("levels", &action, &level()).unwrap_or(1);
            (action, level)
        })
        .collect();
    match Levels::new(levels, steps) {
        Ok(mut levels) => {
            levels.skip = config.levels.skip;
            config.levels = levels;
        }
        Err(errors) => {
            for error in errors {
                let action = match &error {
                    LevelsError::Alias { alias: action, .. } | LevelsError::OutOfRange { action, .. } => action,
                    LevelsError::WatchOrder => WATCH,
                };
                let origin = reader.value("levels", action).origin.clone();
                reader.report(origin, Problem::Levels(error));
            }
        }
    }
}
