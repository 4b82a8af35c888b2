//! Similar items and similar users, and the integer arithmetic behind both.

pub(crate) mod items;
pub(crate) mod measure;
pub(crate) mod quantise;
pub(crate) mod users;
