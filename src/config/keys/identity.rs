//! `[identity]`: how names become ids.

use super::{Key, Section, key};
use crate::config::rules::secret;

pub(super) fn section() -> Section {
    Section {
        name: "identity",
        doc: "Ids of names. Without a key they can be foreseen, and crafted by anyone who can write events. See \
              docs/operations.md.",
        keys: vec![Key {
            name: "key",
            example: "\"env:DELTAREC_IDENTITY_KEY\"",
            doc: "Location of the key of ids: at least 16 bytes of text. All processes and all runs of a state need the \
                  same key. If it is not set, the key is the environment variable `DELTAREC_IDENTITY_KEY`; without that, \
                  there is none.",
            more: "See [the identity key](operations.md#the-identity-key).",
            secret: true,
            ..key(secret(), |config| &mut config.identity_key)
        }],
        ..Section::EMPTY
    }
}
