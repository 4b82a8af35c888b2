use std::collections::BTreeMap;

use serde::Serialize;

use crate::{Effect, Reason, shown};

/// The highest level an action can have.
pub const MAX_LEVEL: u8 = 15;

/// The action whose level depends on `dwell_ms`.
pub const WATCH: &str = "watch";

/// Alternative spellings of actions. The table is fixed; names are case-sensitive.
const ALIASES: [(&str, &str); 3] = [("pv", "view"), ("fav", "favourite"), ("buy", "purchase")];

/// An invalid level table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LevelsError {
    /// A level of 0 or above [`MAX_LEVEL`].
    #[error("levels.{}: a level is an integer from 1 to 15, not {level}", shown(action))]
    OutOfRange {
        /// The action.
        action: String,
        /// The invalid level.
        level: i64,
    },
    /// An alias used as the name of an action.
    #[error("levels.{alias}: `{alias}` is another spelling of `{action}`; set levels.{action}")]
    Alias {
        /// The alias.
        alias: String,
        /// The action it stands for.
        action: String,
    },
    /// Dwell steps out of order.
    #[error("levels.watch: the durations must increase from step to step")]
    WatchOrder,
}

/// Level of each action, from 1 to [`MAX_LEVEL`]. The level of `watch` depends on `dwell_ms`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Levels {
    actions: BTreeMap<String, u8>,
    /// Steps `(from dwell_ms, level)`, by increasing duration.
    watch: Vec<(i64, u8)>,
}

impl Levels {
    /// Builds a table from pairs `(action, level)` and the steps of `watch` as `(from dwell_ms, level)`. Returns all errors.
    pub fn new(
        actions: impl IntoIterator<Item = (String, i64)>,
        watch: impl IntoIterator<Item = (i64, i64)>,
    ) -> Result<Self, Vec<LevelsError>> {
        let mut errors = Vec::new();
        let mut check = |action: &str, level: i64| {
            u8::try_from(level).ok().filter(|level| (1..=MAX_LEVEL).contains(level)).unwrap_or_else(|| {
                errors.push(LevelsError::OutOfRange { action: action.into(), level });
                1
            })
        };
        let actions: BTreeMap<String, u8> =
            actions.into_iter().map(|(action, level)| (action.clone(), check(&action, level))).collect();
        let watch: Vec<(i64, u8)> = watch.into_iter().map(|(from, level)| (from, check("watch", level))).collect();
        for (alias, action) in ALIASES {
            if actions.contains_key(alias) {
                errors.push(LevelsError::Alias { alias: alias.into(), action: action.into() });
            }
        }
        if !watch.is_sorted_by(|a, b| a.0 < b.0) {
            errors.push(LevelsError::WatchOrder);
        }
        if errors.is_empty() { Ok(Levels { actions, watch }) } else { Err(errors) }
    }

    /// Whether the level of an action depends on `dwell_ms`.
    pub fn needs_dwell(&self, action: &str) -> bool {
        action == WATCH && !self.watch.is_empty()
    }

    /// The actions that have a level, without aliases.
    pub fn actions(&self) -> impl Iterator<Item = &str> {
        let watch = (!self.watch.is_empty() && !self.actions.contains_key(WATCH)).then_some(WATCH);
        self.actions.keys().map(String::as_str).chain(watch)
    }

    /// Whether an action has a level.
    pub fn knows(&self, action: &str) -> bool {
        self.effect(action, Some(0)).is_ok()
    }

    /// Effect of an event with this action. `dwell_ms` is used for `watch` only.
    pub fn effect(&self, action: &str, dwell_ms: Option<i64>) -> Result<Effect, Reason> {
        if self.needs_dwell(action) {
            let dwell = dwell_ms.filter(|dwell| *dwell >= 0).ok_or(Reason::BadDwell)?;
            let step = self.watch.iter().rev().find(|(from, _)| dwell >= *from);
            return Ok(step.map_or(Effect::Attends, |(_, level)| Effect::Counts(*level)));
        }
        let action = ALIASES.iter().find(|(alias, _)| *alias == action).map_or(action, |(_, action)| action);
        match self.actions.get(action) {
            Some(level) => Ok(Effect::Counts(*level)),
            None => Err(Reason::UnknownAction { action: shown(action) }),
        }
    }
}

/// The default levels: view 1, click 2, like and comment 3, share, follow and favourite 4, cart 5, purchase 6,
/// `watch` 1, 2, 3 from 5 s, 30 s, 120 s.
impl Default for Levels {
    fn default() -> Self {
        let actions = [
            ("view", 1),
            ("click", 2),
            ("like", 3),
            ("comment", 3),
            ("share", 4),
            ("follow", 4),
            ("favourite", 4),
            ("cart", 5),
            ("purchase", 6),
        ];
        Levels {
            actions: actions.map(|(action, level)| (action.to_owned(), level)).into(),
            watch: vec![(5_000, 1), (30_000, 2), (120_000, 3)],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_of_watch_depends_on_dwell_with_exact_bounds() {
        let levels = Levels::default();
        let effect = |dwell| levels.effect("watch", dwell);
        assert_eq!(effect(Some(0)), Ok(Effect::Attends));
        assert_eq!(effect(Some(4_999)), Ok(Effect::Attends));
        assert_eq!(effect(Some(5_000)), Ok(Effect::Counts(1)));
        assert_eq!(effect(Some(29_999)), Ok(Effect::Counts(1)));
        assert_eq!(effect(Some(30_000)), Ok(Effect::Counts(2)));
        assert_eq!(effect(Some(120_000)), Ok(Effect::Counts(3)));
        assert_eq!(effect(Some(-1)), Err(Reason::BadDwell));
        assert_eq!(effect(None), Err(Reason::BadDwell));
    }

    #[test]
    fn other_actions_ignore_dwell_and_aliases_are_case_sensitive() {
        let levels = Levels::default();
        assert_eq!(levels.effect("pv", Some(-9)), Ok(Effect::Counts(1)));
        assert_eq!(levels.effect("fav", None), Ok(Effect::Counts(4)));
        assert_eq!(levels.effect("buy", None), Ok(Effect::Counts(6)));
        assert!(matches!(levels.effect("PV", None), Err(Reason::UnknownAction { .. })));
        assert!(matches!(levels.effect("", None), Err(Reason::UnknownAction { .. })));
    }

    #[test]
    fn an_unknown_action_is_named_on_one_short_line() {
        let named = |action: &str| match Levels::default().effect(action, None) {
            Err(Reason::UnknownAction { action }) => action,
            effect => panic!("{effect:?}"),
        };
        assert_eq!(named("a\nINFO \u{1b}[31mx"), "a\\nINFO \\u{1b}[31mx");
        assert_eq!(named(&"\u{54c1}".repeat(300_000)).chars().count(), 67);
    }

    #[test]
    fn reports_every_error_of_a_table() {
        let errors =
            Levels::new([("view".into(), 0), ("like".into(), 16), ("buy".into(), 3)], [(5_000, 1), (5_000, 99)])
                .unwrap_err();
        assert_eq!(errors.len(), 5, "{errors:?}");
    }
}
