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

/// An action that takes back another, as it is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retraction {
    /// The action that is taken back, or [`ANY`].
    pub of: String,
    /// The level that is left of it.
    pub leaves: i64,
}

/// What [`Retraction::of`] says if an action takes back all others.
pub const ANY: &str = "*";

/// An invalid entry of the table of retractions.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("retractions.{}: {mistake}", shown(action))]
pub struct RetractionError {
    /// The retracting action.
    pub action: String,
    /// What is wrong.
    pub mistake: RetractionMistake,
}

/// A mistake in an entry of the table of retractions.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RetractionMistake {
    /// The action has a level as well.
    #[error("`{}` has a level: remove levels.{}, or give the retraction another name", shown(.0), shown(.0))]
    HasLevel(String),
    /// An alias is used as the name of the action.
    #[error("`{alias}` is another spelling of `{action}`; give the retraction another name")]
    Alias {
        /// The alias.
        alias: String,
        /// The action it stands for.
        action: String,
    },
    /// An alias is used as the name of what is taken back.
    #[error("`{alias}` is another spelling of `{action}`; write of = \"{action}\"")]
    OfAlias {
        /// The alias.
        alias: String,
        /// The action it stands for.
        action: String,
    },
    /// What is taken back has no level.
    #[error("`{}` has no level; `of` is an action with a level under [levels], or \"{ANY}\" for all of them", shown(.0))]
    OfUnknown(String),
    /// A level is left that is not below that of the action that is taken back.
    #[error("`leaves` is an integer from 0 to {most}, below the level of `{}`, and not {leaves}", shown(of))]
    Leaves {
        /// The action that is taken back.
        of: String,
        /// The highest level that can be left.
        most: u8,
        /// The invalid level.
        leaves: i64,
    },
}

/// What an action takes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
struct Retracts {
    of: u8,
    leaves: u8,
}

/// The effect of each action: a level from 1 to [`MAX_LEVEL`], or what it takes back. That of `watch` depends on `dwell_ms`.
///
/// Its serialised form has the levels only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Levels {
    actions: BTreeMap<String, u8>,
    /// Steps `(from dwell_ms, level)`, by increasing duration.
    watch: Vec<(i64, u8)>,
    #[serde(skip)]
    retractions: BTreeMap<String, Retracts>,
    /// Milliseconds: a `watch` without a level that is shorter is a skip. 0: none is.
    #[serde(skip)]
    pub skip: u64,
}

impl Levels {
    /// Builds a table from pairs `(action, level)` and the steps of `watch` as `(from dwell_ms, level)`. It has no retractions
    /// and the default for skips. Returns all errors.
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
        if errors.is_empty() { Ok(Levels { actions, watch, ..Levels::empty() }) } else { Err(errors) }
    }

    fn empty() -> Self {
        Levels { actions: BTreeMap::new(), watch: Vec::new(), retractions: BTreeMap::new(), skip: 3_000 }
    }

    /// The table with these retractions in place of its own. Returns all errors.
    pub fn with_retractions(
        mut self,
        retractions: impl IntoIterator<Item = (String, Retraction)>,
    ) -> Result<Self, Vec<RetractionError>> {
        let mut errors = Vec::new();
        self.retractions.clear();
        for (action, Retraction { of, leaves }) in retractions {
            let mut wrong = |mistake| errors.push(RetractionError { action: action.clone(), mistake });
            let alias = |name: &str| ALIASES.iter().find(|(alias, _)| *alias == name);
            if let Some((alias, action)) = alias(&action) {
                wrong(RetractionMistake::Alias { alias: (*alias).into(), action: (*action).into() });
            } else if self.highest(&action).is_some() {
                wrong(RetractionMistake::HasLevel(action.clone()));
            }
            let highest = self.highest(&of);
            if let Some((alias, action)) = alias(&of) {
                wrong(RetractionMistake::OfAlias { alias: (*alias).into(), action: (*action).into() });
            } else if highest.is_none() {
                wrong(RetractionMistake::OfUnknown(of.clone()));
            }
            let most = highest.unwrap_or(MAX_LEVEL) - 1;
            match u8::try_from(leaves) {
                Ok(leaves) if leaves <= most => {
                    self.retractions.insert(action, Retracts { of: most + 1, leaves });
                }
                _ => wrong(RetractionMistake::Leaves { of, most, leaves }),
            }
        }
        if errors.is_empty() { Ok(self) } else { Err(errors) }
    }

    /// The level of an action; of `watch` that of the last step, of [`ANY`] the highest there can be.
    pub fn highest(&self, action: &str) -> Option<u8> {
        match action {
            ANY => Some(MAX_LEVEL),
            WATCH if self.needs_dwell(WATCH) => self.watch.last().map(|(_, level)| *level),
            action => self.actions.get(action).copied(),
        }
    }

    /// The retracting actions in a serialised form: `{"unlike": {"of": 3, "leaves": 1}}`, `of` as a level.
    pub fn retractions(&self) -> impl Serialize + '_ {
        &self.retractions
    }

    /// Whether the level of an action depends on `dwell_ms`.
    pub fn needs_dwell(&self, action: &str) -> bool {
        action == WATCH && !self.watch.is_empty()
    }

    /// The known actions, without aliases: those with a level, then those that take back others.
    pub fn actions(&self) -> impl Iterator<Item = &str> {
        let watch = (!self.watch.is_empty() && !self.actions.contains_key(WATCH)).then_some(WATCH);
        self.actions.keys().map(String::as_str).chain(watch).chain(self.retractions.keys().map(String::as_str))
    }

    /// Whether an action is known: it has a level, or takes back others.
    pub fn knows(&self, action: &str) -> bool {
        self.effect(action, Some(0)).is_ok()
    }

    /// Effect of an event with this action. `dwell_ms` is used for `watch` only.
    pub fn effect(&self, action: &str, dwell_ms: Option<i64>) -> Result<Effect, Reason> {
        if self.needs_dwell(action) {
            let dwell = dwell_ms.filter(|dwell| *dwell >= 0).ok_or(Reason::BadDwell)?;
            let step = self.watch.iter().rev().find(|(from, _)| dwell >= *from);
            return Ok(match step {
                Some((_, level)) => Effect::Counts(*level),
                None if dwell.unsigned_abs() < self.skip => Effect::Skips,
                None => Effect::Attends,
            });
        }
        let action = ALIASES.iter().find(|(alias, _)| *alias == action).map_or(action, |(_, action)| action);
        match (self.actions.get(action), self.retractions.get(action)) {
            (Some(level), _) => Ok(Effect::Counts(*level)),
            (None, Some(Retracts { of, leaves })) => Ok(Effect::Retracts { of: *of, leaves: *leaves }),
            (None, None) => Err(Reason::UnknownAction { action: shown(action) }),
        }
    }
}

/// The default levels: view 1, click 2, like and comment 3, share, follow and favourite 4, cart 5, purchase 6,
/// `watch` 1, 2, 3 from 5 s, 30 s, 120 s, and a skip below 3 s.
///
/// The default retractions: `unlike` leaves 1 of a like, `remove_from_cart` 2 of a cart, `return` and `cancel` 1 of a
/// purchase, `unfollow` nothing of a follow, `dislike` nothing of anything.
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
        let levels = Levels {
            actions: actions.map(|(action, level)| (action.to_owned(), level)).into(),
            watch: vec![(5_000, 1), (30_000, 2), (120_000, 3)],
            ..Levels::empty()
        };
        let retractions = [
            ("unlike", "like", 1),
            ("unfollow", "follow", 0),
            ("remove_from_cart", "cart", 2),
            ("return", "purchase", 1),
            ("cancel", "purchase", 1),
            ("dislike", ANY, 0),
        ];
        let retractions =
            retractions.map(|(action, of, leaves)| (action.to_owned(), Retraction { of: of.to_owned(), leaves }));
        levels.with_retractions(retractions).expect("the defaults are valid")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_of_watch_depends_on_dwell_with_exact_bounds() {
        let levels = Levels::default();
        let effect = |dwell| levels.effect("watch", dwell);
        assert_eq!(effect(Some(0)), Ok(Effect::Skips));
        assert_eq!(effect(Some(2_999)), Ok(Effect::Skips));
        assert_eq!(effect(Some(3_000)), Ok(Effect::Attends));
        assert_eq!(effect(Some(4_999)), Ok(Effect::Attends));
        assert_eq!(effect(Some(5_000)), Ok(Effect::Counts(1)));
        assert_eq!(effect(Some(29_999)), Ok(Effect::Counts(1)));
        assert_eq!(effect(Some(30_000)), Ok(Effect::Counts(2)));
        assert_eq!(effect(Some(120_000)), Ok(Effect::Counts(3)));
        assert_eq!(effect(Some(-1)), Err(Reason::BadDwell));
        assert_eq!(effect(None), Err(Reason::BadDwell));
    }

    #[test]
    fn only_a_watch_without_a_level_is_a_skip() {
        let effect = |skip, dwell| Levels { skip, ..Levels::default() }.effect("watch", Some(dwell));
        assert_eq!(effect(0, 0), Ok(Effect::Attends), "0 switches skips off");
        assert_eq!(effect(1, 0), Ok(Effect::Skips));
        assert_eq!(effect(1, 1), Ok(Effect::Attends));
        assert_eq!(effect(u64::MAX, 4_999), Ok(Effect::Skips));
        assert_eq!(effect(u64::MAX, 5_000), Ok(Effect::Counts(1)));
        assert_eq!(effect(u64::MAX, -1), Err(Reason::BadDwell));
    }

    #[test]
    fn the_default_retractions_take_back_the_action_of_their_name() {
        let levels = Levels::default();
        for (action, of, leaves) in [
            ("unlike", 3, 1),
            ("unfollow", 4, 0),
            ("remove_from_cart", 5, 2),
            ("return", 6, 1),
            ("cancel", 6, 1),
            ("dislike", 15, 0),
        ] {
            assert_eq!(levels.effect(action, None), Ok(Effect::Retracts { of, leaves }), "{action}");
            assert_eq!(levels.effect(action, Some(-1)), Ok(Effect::Retracts { of, leaves }), "dwell_ms is not read");
            assert!(levels.knows(action) && levels.actions().any(|known| known == action));
            assert_eq!(levels.highest(action), None);
        }
        assert!(levels.effect("Unlike", None).is_err());
    }

    fn retracting(action: &str, of: &str, leaves: i64) -> Result<Levels, Vec<RetractionMistake>> {
        let retraction = Retraction { of: of.into(), leaves };
        let levels = Levels::default().with_retractions([(action.to_owned(), retraction)]);
        levels.map_err(|errors| errors.into_iter().map(|error| error.mistake).collect())
    }

    #[test]
    fn a_retraction_is_of_the_last_step_of_watch_or_of_all_actions() {
        let effect = |of, leaves| retracting("x", of, leaves).unwrap().effect("x", None).unwrap();
        assert_eq!(effect("watch", 2), Effect::Retracts { of: 3, leaves: 2 });
        assert_eq!(effect("*", 14), Effect::Retracts { of: 15, leaves: 14 });
        assert_eq!(effect("view", 0), Effect::Retracts { of: 1, leaves: 0 });
        let falling = Levels::new([], [(5_000, 9), (30_000, 2)]).unwrap();
        assert_eq!(falling.highest("watch"), Some(2));
        assert!(retracting("x", "view", 0).unwrap().effect("unlike", None).is_err(), "the others are replaced");
    }

    #[test]
    fn reports_every_mistake_of_a_retraction() {
        let mistakes = |action, of, leaves| retracting(action, of, leaves).unwrap_err();
        let leaves = |of: &str, most, leaves| RetractionMistake::Leaves { of: of.into(), most, leaves };
        assert_eq!(mistakes("x", "like", 3), [leaves("like", 2, 3)]);
        assert_eq!(mistakes("x", "*", 15), [leaves("*", 14, 15)]);
        assert_eq!(mistakes("x", "*", -1), [leaves("*", 14, -1)]);
        assert_eq!(mistakes("x", "*", 256), [leaves("*", 14, 256)]);
        assert_eq!(mistakes("x", "x", 0), [RetractionMistake::OfUnknown("x".into())], "it has no level itself");
        assert_eq!(mistakes("x", "unlike", 0), [RetractionMistake::OfUnknown("unlike".into())]);
        assert_eq!(mistakes("watch", "like", 0), [RetractionMistake::HasLevel("watch".into())]);
        let (alias, action) = ("buy".to_owned(), "purchase".to_owned());
        let all = [
            RetractionMistake::Alias { alias: "pv".into(), action: "view".into() },
            RetractionMistake::OfAlias { alias, action },
            leaves("buy", 14, 99),
        ];
        assert_eq!(mistakes("pv", "buy", 99), all);
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
