//! What users wish for the items of a room, a host, a brand, a category or a tag (docs/semantics.md, "Controls").

use std::rc::Rc;

use schema::{IdMap, Wish, shrink_if_sparse};

use crate::controls::{Class, Preference, PreferencesChange};
use crate::{ItemId, UserId};

/// The wishes of the users of this worker, and the classes of all items.
#[derive(Debug, Default)]
pub(super) struct Preferences {
    users: IdMap<Rc<[Preference]>>,
    /// Classes of the items that have any.
    classes: IdMap<Box<[Class]>>,
}

impl Preferences {
    /// Sets all that a user wishes.
    pub(super) fn set(&mut self, PreferencesChange { user, preferences }: PreferencesChange) {
        if preferences.is_empty() {
            self.users.remove(&user);
            shrink_if_sparse(&mut self.users);
        } else {
            self.users.insert(user, preferences);
        }
    }

    /// Sets the classes of an item.
    pub(super) fn set_classes(&mut self, item: ItemId, classes: Box<[Class]>) {
        if classes.is_empty() {
            self.classes.remove(&item);
            shrink_if_sparse(&mut self.classes);
        } else {
            self.classes.insert(item, classes);
        }
    }

    /// What a user wishes; `None` if nothing.
    pub(super) fn of(&self, user: UserId) -> Option<Wishes<'_>> {
        let preferences = self.users.get(&user)?;
        Some(Wishes { preferences, classes: &self.classes })
    }

    /// Users who are not interested in an item. Cost: a pass over all that users wish.
    pub(super) fn not_interested_in(&self, item: ItemId) -> impl Iterator<Item = UserId> {
        let users = self.users.iter().filter(move |_| self.classes.contains_key(&item));
        let wishes = users.map(|(user, preferences)| (*user, Wishes { preferences, classes: &self.classes }));
        wishes.filter(move |(_, wishes)| wishes.of(item) == Some(Wish::NotInterested)).map(|(user, _)| user)
    }
}

/// What one user wishes.
#[derive(Clone, Copy)]
pub(super) struct Wishes<'p> {
    preferences: &'p [Preference],
    classes: &'p IdMap<Box<[Class]>>,
}

impl Wishes<'_> {
    /// What the user wishes for an item. Cost: a pass over all wishes.
    pub(super) fn of(self, item: ItemId) -> Option<Wish> {
        let classes = self.classes.get(&item).map_or(&[][..], |classes| classes);
        let concerns = |preference: &&Preference| {
            preference.item == Some(item) || classes.binary_search(&preference.class).is_ok()
        };
        // Who is not interested does not want less either.
        self.preferences.iter().filter(concerns).map(|preference| preference.wish).min()
    }
}
