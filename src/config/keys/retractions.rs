//! `[retractions]`: actions that take back others. Any name without a level is one.

use schema::{MAX_LEVEL, Retraction};
use serde_json::json;

use super::levels::actions;
use super::{Key, Section, Snapshot, documented};
use crate::config::Config;
use crate::config::error::Problem;
use crate::config::reader::Reader;
use crate::config::rules::retraction;

pub(super) fn section() -> Section {
    Section {
        name: "retractions",
        doc: "Actions that take back another action of the same user with the same item: which one, `of`, an action with a \
              level or \"*\" for all, and the level that is left, `leaves`. It must be below the level of the action. Where \
              nothing is left, the item also stays out of the user's list until it is touched again. What is written here \
              replaces a default as a whole; a default action that has a level under [levels] takes nothing back.",
        keys: vec![
            action("unlike", r#"{of = "like", leaves = 1}"#, "A like was taken back."),
            action("unfollow", r#"{of = "follow", leaves = 0}"#, "The item's seller or room is no longer followed."),
            action("remove_from_cart", r#"{of = "cart", leaves = 2}"#, "The item was taken out of the cart."),
            action("return", r#"{of = "purchase", leaves = 1}"#, "The item was sent back."),
            action("cancel", r#"{of = "purchase", leaves = 1}"#, "The order was cancelled."),
            action("dislike", r#"{of = "*", leaves = 0}"#, "The item is not liked, whatever was done with it before."),
        ],
        open: true,
        entry_keys: &["leaves", "of"],
        other_names: "| `retractions.ACTION` | table | not set | `{of = ACTION, leaves = LEVEL}` | What any other action takes \
                      back. |",
        // Read with the levels.
        stored: Some(|config| json!(config.levels.retractions())),
        snapshot: Snapshot::MustNotChange("events in the snapshot were taken back by the earlier retractions"),
        ..Section::EMPTY
    }
}

fn action(name: &'static str, default: &'static str, doc: &'static str) -> Key {
    Key { name, default: default.into(), doc, ..documented(&retraction()) }
}

/// Reads the retractions, and checks them against the levels of `config` if those are what the user wants.
pub(super) fn read(reader: &mut Reader, config: &mut Config, are_levels_read: bool) {
    let known = reader.errors.len();
    let mut retractions: Vec<(String, Retraction)> = Vec::new();
    for action in actions(reader, "retractions") {
        let Some(mut retraction) = reader.read("retractions", &action, &retraction()) else { continue };
        if reader.value("retractions", &action).origin.layer() == 0 {
            // The levels of the user go before the defaults of this section.
            if config.levels.highest(&action).is_some() {
                continue;
            }
            let most = config.levels.highest(&retraction.of).map_or(MAX_LEVEL, |level| level - 1);
            retraction.leaves = retraction.leaves.min(most.into());
        }
        retractions.push((action, retraction));
    }
    if !are_levels_read || reader.errors.len() > known {
        return;
    }
    match config.levels.clone().with_retractions(retractions) {
        Ok(levels) => config.levels = levels,
        Err(errors) => {
            for error in errors {
                let origin = reader.value("retractions", &error.action).origin.clone();
                reader.report(origin, Problem::Retraction(error));
            }
        }
    }
}
