//! The followers of representatives: viewers who get the list of another viewer. See [`cohorts`](crate::operators::cohorts).

use schema::{IdMap, shrink_if_sparse};

use crate::cohorts::{CohortId, Role};
use crate::operators::slot_mut;
use crate::{Diff, List, UserId};

/// A list of one user before and after a change.
pub(super) type ListUpdate = (UserId, List, List);

#[derive(Debug, Default)]
struct Cohort {
    representative: Option<UserId>,
    /// Followers since an earlier tick. All of them have `list`.
    followers: IdMap<()>,
    /// New followers of this tick.
    joined: Vec<UserId>,
    /// The list of the representative, with the scores of when its items last changed.
    list: List,
    /// Whether the cohort is in [`Followers::changed`].
    is_changed: bool,
}

/// All followers of a worker.
#[derive(Debug, Default)]
pub(super) struct Followers {
    cohorts: Vec<Cohort>,
    representatives: IdMap<CohortId>,
    /// Cohorts with another member or another list in this tick.
    changed: Vec<CohortId>,
    /// Changed lists since the gauges were last updated.
    pub(super) lists: usize,
}

impl Followers {
    /// Step 1: applies an update of a part in a cohort. Calls `emit` if a follower loses its list.
    pub(super) fn update(&mut self, id: CohortId, role: Role, diff: Diff, emit: &mut impl FnMut(ListUpdate)) {
        self.mark(id);
        let cohort = &mut self.cohorts[id as usize];
        match (role, diff > 0) {
            // The old and the new representative come in any order.
            (Role::Representative(user), true) => {
                cohort.representative = Some(user);
                self.representatives.insert(user, id);
            }
            (Role::Representative(user), false) => {
                cohort.representative.take_if(|now| *now == user);
                if self.representatives.get(&user) == Some(&id) {
                    self.representatives.remove(&user);
                    shrink_if_sparse(&mut self.representatives);
                }
            }
            (Role::Follower(user), true) => cohort.joined.push(user),
            (Role::Follower(user), false) => {
                cohort.followers.remove(&user);
                shrink_if_sparse(&mut cohort.followers);
                if !cohort.list.is_empty() {
                    self.lists += 1;
                    emit((user, cohort.list.clone(), List::new()));
                }
            }
        }
    }

    /// Step 2: notes that the list of a user changed.
    #[inline]
    pub(super) fn list_changed(&mut self, user: UserId) {
        if let Some(id) = self.representatives.get(&user).copied() {
            self.mark(id);
        }
    }

    /// Step 3, when all representatives have their lists: brings the followers of one changed cohort up to date. `list` finds
    /// the list of a viewer with the scores of now. Returns the number of followers, or `None` if no cohort is left.
    pub(super) fn flush(
        &mut self,
        list: impl FnOnce(UserId) -> List,
        emit: &mut impl FnMut(ListUpdate),
    ) -> Option<usize> {
        let id = self.changed.pop()?;
        let cohort = &mut self.cohorts[id as usize];
        cohort.is_changed = false;
        let new = cohort.representative.map(list).unwrap_or_default();
        let items = |list: &List| list.iter().map(|scored| scored.item).collect::<Vec<_>>();
        let has_changed = items(&cohort.list) != items(&new);
        if has_changed {
            self.lists += cohort.followers.len();
            cohort.followers.keys().for_each(|user| emit((*user, cohort.list.clone(), new.clone())));
        }
        if !new.is_empty() {
            self.lists += cohort.joined.len();
            cohort.joined.iter().for_each(|user| emit((*user, List::new(), new.clone())));
        }
        if has_changed || cohort.followers.is_empty() {
            cohort.list = new;
        }
        cohort.followers.extend(cohort.joined.drain(..).map(|user| (user, ())));
        if cohort.followers.is_empty() {
            *cohort = Cohort::default();
        }
        Some(cohort.followers.len())
    }

    /// Whether [`Followers::flush`] has something to do.
    pub(super) fn is_dirty(&self) -> bool {
        !self.changed.is_empty()
    }

    fn mark(&mut self, id: CohortId) {
        if !std::mem::replace(&mut slot_mut(&mut self.cohorts, id).is_changed, true) {
            self.changed.push(id);
        }
    }
}
