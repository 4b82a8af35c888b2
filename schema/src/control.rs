//! Controls: a user's own word on what is known of them and shown to them (`docs/semantics.md`, "Controls").

use serde::{Deserialize, Serialize};

/// What a control says. Its user and its time come with it.
///
/// The derived order is not that of the bounds in the text, where the time comes first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Control {
    /// A switch is turned on, or off again.
    Switch {
        /// Which one.
        switch: Switch,
        /// Whether it is on from now on.
        on: bool,
    },
    /// What the user did with the item, or without one with all items, until now is void.
    Forget {
        /// Name of the item.
        item: Option<Box<str>>,
    },
    /// What the user does from now on does not count.
    Pause,
    /// What the user does from now on counts again.
    Resume,
    /// The user has no list from now on.
    PersonalOff,
    /// The user has a list again.
    PersonalOn,
}

/// A switch of a user. The derived order decides between equal times.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Switch {
    /// What it does to the items of the target.
    pub wish: Wish,
    /// What the target is.
    pub scope: ControlScope,
    /// A name; of a category its [canonical path](crate::canonical_category).
    pub target: Box<str>,
}

/// What a user wishes for the items of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wish {
    /// They are not recommended.
    NotInterested,
    /// They count a quarter.
    Less,
}

/// What the target of a control is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ControlScope {
    /// One item.
    Item,
    /// A room: the item of that name, and all items on sale in it.
    Room,
    /// All items of a host.
    Host,
    /// All items of a brand.
    Brand,
    /// All items of a category, and of those below it.
    Category,
    /// All items with a tag.
    Tag,
}

impl Wish {
    /// All wishes, in their order.
    pub const ALL: [Wish; 2] = [Wish::NotInterested, Wish::Less];

    /// Its name in a record.
    pub const fn name(self) -> &'static str {
        match self {
            Wish::NotInterested => "not_interested",
            Wish::Less => "less",
        }
    }

    /// Whether a target may be of this scope.
    pub const fn allows(self, scope: ControlScope) -> bool {
        matches!(self, Wish::NotInterested) || !matches!(scope, ControlScope::Item | ControlScope::Room)
    }
}

impl ControlScope {
    /// All scopes, in their order.
    pub const ALL: [ControlScope; 6] = [
        ControlScope::Item,
        ControlScope::Room,
        ControlScope::Host,
        ControlScope::Brand,
        ControlScope::Category,
        ControlScope::Tag,
    ];

    /// Its name in a record.
    pub const fn name(self) -> &'static str {
        match self {
            ControlScope::Item => "item",
            ControlScope::Room => "room",
            ControlScope::Host => "host",
            ControlScope::Brand => "brand",
            ControlScope::Category => "category",
            ControlScope::Tag => "tag",
        }
    }
}

impl Control {
    /// The names of all controls, in the order of the text.
    pub const NAMES: [&str; 7] = [
        Wish::NotInterested.name(),
        Wish::Less.name(),
        Control::Forget { item: None }.name(),
        Control::Pause.name(),
        Control::Resume.name(),
        Control::PersonalOff.name(),
        Control::PersonalOn.name(),
    ];

    /// The control that takes this one back; `None` if nothing can.
    pub fn undone(self) -> Option<Control> {
        Some(match self {
            Control::Switch { switch, on } => Control::Switch { switch, on: !on },
            Control::Forget { .. } => return None,
            Control::Pause => Control::Resume,
            Control::Resume => Control::Pause,
            Control::PersonalOff => Control::PersonalOn,
            Control::PersonalOn => Control::PersonalOff,
        })
    }

    /// The name that says what it does, in a record and in a snapshot. An undone switch has the name of the switch.
    pub const fn name(&self) -> &'static str {
        match self {
            Control::Switch { switch, .. } => switch.wish.name(),
            Control::Forget { .. } => "forget",
            Control::Pause => "pause",
            Control::Resume => "resume",
            Control::PersonalOff => "personal_off",
            Control::PersonalOn => "personal_on",
        }
    }

    /// The name of the item that it is about, if it is about one: for a room the item of that name.
    pub fn item(&self) -> Option<&str> {
        match self {
            Control::Switch {
                switch: Switch { scope: ControlScope::Item | ControlScope::Room, target, .. }, ..
            } => Some(target),
            Control::Forget { item } => item.as_deref(),
            _ => None,
        }
    }
}
