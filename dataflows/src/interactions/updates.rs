//! What a change of a user's history means for the collections that go out.

use super::history::Touch;
use super::trends::Weights;
use crate::{Config, Diff, Forgotten, ItemId, Level, Time, UserId, Weight};

/// An item before and after a tick.
pub(super) struct Moved {
    pub(super) item: ItemId,
    pub(super) old: Option<(usize, Level)>,
    pub(super) new: Option<(usize, Level)>,
}

impl Moved {
    fn levels(&self) -> (Level, Level) {
        (self.old.map_or(0, |(_, level)| level), self.new.map_or(0, |(_, level)| level))
    }
}

/// Updates of one tick, by output.
#[derive(Default)]
pub(super) struct Updates {
    pub(super) time: Time,
    pub(super) history: Vec<((UserId, (ItemId, Level)), Time, Diff)>,
    pub(super) pairs: Vec<((ItemId, ItemId), Time, Diff)>,
    pub(super) profiles: Vec<((UserId, (ItemId, Weight)), Time, Diff)>,
    pub(super) watching: Vec<((UserId, (ItemId, Level)), Time, Diff)>,
    pub(super) forgotten: Vec<Forgotten>,
    pub(super) trends: Weights,
}

impl Updates {
    pub(super) fn len(&self) -> usize {
        self.history.len() + self.pairs.len() + self.profiles.len() + self.watching.len() + self.trends.len()
    }

    /// What the changed levels of a user mean for the history and for all pairs in it.
    pub(super) fn interactions(&mut self, user: UserId, moved: &mut [Moved]) {
        // The changed ones to the front, so that each pair with a changed member is met once.
        let mut changed = 0;
        for index in 0..moved.len() {
            let (old, new) = moved[index].levels();
            if old != new {
                moved.swap(changed, index);
                changed += 1;
            }
        }
        for (index, a) in moved[..changed].iter().enumerate() {
            let (old, new) = a.levels();
            if old > 0 {
                self.history.push(((user, (a.item, old)), self.time, -1));
            }
            if new > 0 {
                self.history.push(((user, (a.item, new)), self.time, 1));
            }
            // First all pairs of `a`, then all with it: runs with one item in common are counted faster.
            let first = self.pairs.len();
            for b in &moved[index + 1..] {
                let (b_old, b_new) = b.levels();
                let diff = Diff::from(new.min(b_new)) - Diff::from(old.min(b_old));
                if diff != 0 {
                    self.pairs.push(((a.item, b.item), self.time, diff));
                }
            }
            for at in first..self.pairs.len() {
                let ((a, b), time, diff) = self.pairs[at];
                self.pairs.push(((b, a), time, diff));
            }
        }
    }

    /// What the changed ranks and levels mean for the profile, which is out only while the user is in the audience.
    pub(super) fn profile(&mut self, user: UserId, moved: &[Moved], was_in: bool, is_in: bool, config: &Config) {
        if !was_in && !is_in {
            return;
        }
        let weight = |(rank, level): (usize, Level)| Weight::from(level) * config.rank_weight(rank);
        for moved in moved {
            let old = moved.old.filter(|_| was_in).map(weight);
            let new = moved.new.filter(|_| is_in).map(weight);
            if old != new {
                self.profiles.extend(old.map(|old| ((user, (moved.item, old)), self.time, -1)));
                self.profiles.extend(new.map(|new| ((user, (moved.item, new)), self.time, 1)));
            }
        }
    }

    /// What the changed levels mean for the histories of the audience.
    pub(super) fn watching(&mut self, user: UserId, moved: &[Moved], was_in: bool, is_in: bool) {
        if !was_in && !is_in {
            return;
        }
        for moved in moved {
            let old = moved.old.filter(|_| was_in).map(|(_, level)| level);
            let new = moved.new.filter(|_| is_in).map(|(_, level)| level);
            if old != new {
                self.watching.extend(old.map(|old| ((user, (moved.item, old)), self.time, -1)));
                self.watching.extend(new.map(|new| ((user, (moved.item, new)), self.time, 1)));
            }
        }
    }

    /// An event that changes nothing still carried the name of an item, perhaps one that nobody has: an interaction
    /// that comes and goes lets the item's worker see that and have the name forgotten.
    pub(super) fn without_effect(&mut self, user: UserId, touch: &Touch) {
        let interaction = (user, (touch.item, touch.level()));
        self.history.push((interaction, self.time, 1));
        self.history.push((interaction, self.time, -1));
    }
}
