use serde::{Deserialize, Serialize};

use crate::MAX_LEVEL;

/// Effect of a valid event. Only [`Counts`](Effect::Counts) has a level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Effect {
    /// The event counts with this level, 1 to [`MAX_LEVEL`].
    Counts(u8),
    /// The event takes back what its user did with the item before: events up to the level `of` count with the level `leaves`.
    Retracts {
        /// The highest level that is taken back, 1 to [`MAX_LEVEL`].
        of: u8,
        /// The level that is left, below `of`; with 0 nothing is left, and the item is kept out of the user's list.
        leaves: u8,
    },
    /// The user watched the item so briefly that it is kept out of the user's list for a while.
    Skips,
    /// The user is there, and nothing else: a `watch` below the first step that is no skip.
    Attends,
}

/// Codes that no retraction has, as none leaves the highest level.
const SKIPS: u8 = 0x1F;
const ATTENDS: u8 = 0x2F;

impl Effect {
    /// The level of the event; `None` if it has none.
    pub fn level(self) -> Option<u8> {
        match self {
            Effect::Counts(level) => Some(level),
            Effect::Retracts { .. } | Effect::Skips | Effect::Attends => None,
        }
    }

    /// The effect as a number, as snapshots store it: of an event that counts its level, of a retraction `16 * of + leaves`, of a
    /// skip 31, of presence 47.
    ///
    /// ```
    /// use schema::Effect;
    ///
    /// let unlike = Effect::Retracts { of: 3, leaves: 1 };
    /// assert_eq!((unlike.code(), Effect::from_code(49)), (49, Some(unlike)));
    /// ```
    pub fn code(self) -> u8 {
        match self {
            Effect::Counts(level) => level,
            Effect::Retracts { of, leaves } => of << 4 | leaves,
            Effect::Skips => SKIPS,
            Effect::Attends => ATTENDS,
        }
    }

    /// The effect with this code; `None` if no effect has it.
    pub fn from_code(code: u8) -> Option<Effect> {
        match (code >> 4, code & MAX_LEVEL) {
            (0, level @ 1..) => Some(Effect::Counts(level)),
            _ if code == SKIPS => Some(Effect::Skips),
            _ if code == ATTENDS => Some(Effect::Attends),
            (of, leaves) => (leaves < of).then_some(Effect::Retracts { of, leaves }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_effect_has_a_code_of_its_own() {
        let counts = (1..=MAX_LEVEL).map(Effect::Counts);
        let retracts = (1..=MAX_LEVEL).flat_map(|of| (0..of).map(move |leaves| Effect::Retracts { of, leaves }));
        let effects: Vec<Effect> = counts.chain(retracts).chain([Effect::Skips, Effect::Attends]).collect();
        for effect in &effects {
            assert_eq!(Effect::from_code(effect.code()), Some(*effect));
        }
        let known = (0..=u8::MAX).filter_map(Effect::from_code).collect::<Vec<_>>();
        assert_eq!(known.len(), effects.len());
    }
}
