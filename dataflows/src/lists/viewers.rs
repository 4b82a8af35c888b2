//! The viewers of this worker: their histories, and when their lists were evaluated.

use schema::{IdMap, shrink_if_sparse};

use super::rows::Rows;
use crate::operators::Dense;
use crate::similarity::quantise::PHASES;
use crate::{Diff, Level, ProfileItem, Time, UserId, ms_of};

/// Index of a viewer.
pub(super) type ViewerId = u32;

/// An item of a history, or one that is kept out of the list; level and stair are 0 beyond the profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) item: Dense,
    pub(super) stair: u16,
    pub(super) level: Level,
}

impl Entry {
    /// The weight of the item in the profile.
    pub(super) fn weight(self) -> u32 {
        u32::from(self.level) * u32::from(self.stair)
    }
}

/// A user of the audience.
#[derive(Debug)]
pub(super) struct Viewer {
    pub(super) user: UserId,
    /// The dense id of the user: a viewer is not similar to itself.
    pub(super) me: Dense,
    /// The history, in no order. Empty when the user leaves the audience.
    history: Vec<Entry>,
    /// The tick of the first change of the history, or of the start of the output, after the last evaluation.
    changed: Time,
    /// The tick of the last evaluation; 0 before the first.
    evaluated: Time,
    /// The place among the viewers of its phase.
    slot: u32,
    is_due: bool,
    /// Whether the last evaluation was at once, because the user acted.
    at_once: bool,
}

impl Viewer {
    /// All items that the list cannot have.
    pub(super) fn items(&self) -> impl Iterator<Item = Dense> {
        self.history.iter().map(|entry| entry.item)
    }

    /// The items of the profile.
    #[inline]
    pub(super) fn profile(&self) -> impl Iterator<Item = Entry> {
        self.history.iter().copied().filter(|entry| entry.stair > 0)
    }

    pub(super) fn is_evaluated(&self) -> bool {
        self.evaluated > 0
    }

    fn set_changed(&mut self, tick: Time) {
        if self.changed <= self.evaluated {
            self.changed = tick;
        }
    }

    /// Whether anything that the list depends on has changed since the last evaluation.
    #[inline]
    fn is_stale(&self, rows: &Rows) -> bool {
        let mut concerning = rows.concerning(self.profile().map(|entry| entry.item));
        self.changed > self.evaluated || concerning.any(|item| rows.changes.last(item) > self.evaluated)
    }

    /// The milliseconds since the first change after the last evaluation. A viewer without one has waited since it entered.
    ///
    /// An action changes the rows of its own items, so the interval of an evaluation at once has changes that it
    /// includes. One at a boundary begins an interval.
    fn waited(&self, tick: Time, rows: &Rows) -> u32 {
        let items = rows.concerning(self.profile().map(|entry| entry.item)).filter(|_| self.evaluated > 0);
        let first_after = |item| rows.changes.first_after(item, self.evaluated, self.at_once);
        let own = (self.changed > self.evaluated).then_some(ms_of(self.changed));
        let since = items.filter_map(first_after).chain(own).min();
        since.map_or(0, |since| u32::try_from(ms_of(tick) - since).unwrap_or(u32::MAX))
    }
}

/// All viewers of a worker.
#[derive(Debug)]
pub(super) struct Viewers {
    ids: IdMap<ViewerId>,
    viewers: Vec<Viewer>,
    free: Vec<ViewerId>,
    /// Viewers by phase.
    phases: Vec<Vec<ViewerId>>,
    /// Viewers whose last item was retracted in this tick.
    emptied: Vec<ViewerId>,
    /// Viewers to evaluate in this tick, and whether that is at once: because they acted or left.
    due: Vec<(ViewerId, bool)>,
}

impl Default for Viewers {
    fn default() -> Self {
        let phases = vec![Vec::new(); PHASES as usize];
        let (viewers, free, emptied, due) = Default::default();
        Viewers { ids: IdMap::default(), viewers, free, phases, emptied, due }
    }
}

impl Viewers {
    /// Applies an update of a history. The updates of a user come in an order in which each retraction finds its entry.
    pub(super) fn update(&mut self, user: UserId, item: ProfileItem, diff: Diff, tick: Time, rows: &mut Rows) {
        let id = self.viewer_of(user, rows);
        let entry = Entry { item: rows.intern(item.item), stair: item.stair, level: item.level };
        let viewer = &mut self.viewers[id as usize];
        viewer.set_changed(tick);
        if diff > 0 {
            viewer.history.push(entry);
            rows.add_reference(entry.item);
        } else {
            let at = viewer.history.iter().position(|known| *known == entry);
            viewer.history.swap_remove(at.expect("what is retracted was inserted before"));
            rows.remove_reference(entry.item);
            if viewer.history.is_empty() {
                self.emptied.push(id);
            }
        }
    }

    /// Marks the viewers whose history is empty after the tick: they have left the audience and get the empty list. Between two
    /// updates of a tick a history may be empty for a moment.
    pub(super) fn finish_updates(&mut self) {
        for id in std::mem::take(&mut self.emptied) {
            if self.viewers[id as usize].history.is_empty() {
                self.mark_due(id, true);
            }
        }
    }

    /// The user acts. One outside of the audience has no list.
    pub(super) fn act(&mut self, user: UserId) {
        if let Some(id) = self.ids.get(&user) {
            self.mark_due(*id, true);
        }
    }

    /// The viewers of a phase are at a boundary: those with a change since their last evaluation are due. Returns how many were
    /// looked at.
    pub(super) fn reach(&mut self, phase: u32, rows: &Rows) -> usize {
        let viewers = std::mem::take(&mut self.phases[phase as usize]);
        for id in &viewers {
            if self.viewers[*id as usize].is_stale(rows) {
                self.mark_due(*id, false);
            }
        }
        let number = viewers.len();
        self.phases[phase as usize] = viewers;
        number
    }

    /// Whether viewers are due.
    pub(super) fn has_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// The next viewer that is due, and how long it has waited unless it is evaluated at once. Counts as evaluated in this tick.
    pub(super) fn next_due(&mut self, tick: Time, rows: &Rows) -> Option<(ViewerId, Option<u32>)> {
        let (id, at_once) = self.due.pop()?;
        let viewer = &mut self.viewers[id as usize];
        let waited = (!at_once).then(|| viewer.waited(tick, rows));
        viewer.is_due = false;
        (viewer.evaluated, viewer.at_once) = (tick, at_once);
        Some((id, waited))
    }

    pub(super) fn get(&self, id: ViewerId) -> &Viewer {
        &self.viewers[id as usize]
    }

    /// The viewer, if the user was in the audience before this tick, or is.
    pub(super) fn id(&self, user: UserId) -> Option<ViewerId> {
        self.ids.get(&user).copied()
    }

    /// The list of the viewer may have changed.
    pub(super) fn set_changed(&mut self, id: ViewerId, tick: Time) {
        self.viewers[id as usize].set_changed(tick);
    }

    /// Whether the viewer is evaluated in this tick.
    pub(super) fn is_due(&self, id: ViewerId) -> bool {
        self.viewers[id as usize].is_due
    }

    /// Forgets a viewer that has left the audience.
    pub(super) fn remove_if_left(&mut self, id: ViewerId, rows: &mut Rows) {
        let Viewer { user, me, ref history, slot, .. } = self.viewers[id as usize];
        if !history.is_empty() {
            return;
        }
        rows.remove_reference(me);
        let phase = &mut self.phases[phase_of(user)];
        phase.swap_remove(slot as usize);
        if let Some(moved) = phase.get(slot as usize) {
            self.viewers[*moved as usize].slot = slot;
        }
        self.ids.remove(&user);
        shrink_if_sparse(&mut self.ids);
        // The slot is reused; its memory is freed now.
        self.viewers[id as usize].history = Vec::new();
        self.free.push(id);
    }

    fn viewer_of(&mut self, user: UserId, rows: &mut Rows) -> ViewerId {
        if let Some(id) = self.ids.get(&user) {
            return *id;
        }
        let me = rows.intern_user(user);
        rows.add_reference(me);
        let phase = &mut self.phases[phase_of(user)];
        let slot = u32::try_from(phase.len()).expect("fewer viewers than 2^32");
        let viewer =
            Viewer { user, me, history: Vec::new(), changed: 0, evaluated: 0, slot, is_due: false, at_once: false };
        let id = if let Some(id) = self.free.pop() {
            self.viewers[id as usize] = viewer;
            id
        } else {
            self.viewers.push(viewer);
            ViewerId::try_from(self.viewers.len() - 1).expect("fewer viewers than 2^32")
        };
        phase.push(id);
        self.ids.insert(user, id);
        id
    }

    /// Callers mark viewers that are evaluated at once before those at a boundary: the first mark decides.
    pub(super) fn mark_due(&mut self, id: ViewerId, at_once: bool) {
        if !std::mem::replace(&mut self.viewers[id as usize].is_due, true) {
            self.due.push((id, at_once));
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.ids.is_empty() && self.phases.iter().all(Vec::is_empty) && self.free.len() == self.viewers.len()
    }
}

fn phase_of(user: UserId) -> usize {
    (user % u64::from(PHASES)) as usize
}
