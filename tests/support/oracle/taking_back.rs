//! What an event without a level does: `docs/semantics.md`, "Taking back", one function per definition.
//!
//! What an event or a control of a user takes back, or keeps out, does not depend on other users.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::controls::UserControls;
use super::{OracleEffect, OracleEvent, Params, World, counting_events, is_within, retained_by_user};

/// > Of the skips of a user [...] the 64 newest are kept.
pub(crate) const SKIPS: usize = 64;

/// > An event of such an action on item i is a **retraction** (i, ts, of, leaves)
///
/// > Retractions of a user with all four equal are one. Of those with `ts <= t` that are retained, the `history` newest
/// > are **in force**, by `ts`, then id64(i), `of` and `leaves`, the greater the newer.
///
/// Takes the retained events of one user. Returns the newest first.
pub(crate) fn retractions_in_force<'e>(retained: &[&'e OracleEvent], params: &Params) -> Vec<&'e OracleEvent> {
    let mut retractions = Vec::new();
    for event in retained.iter().copied().collect::<BTreeSet<_>>() {
        if let OracleEffect::Retracts { of, leaves } = event.effect {
            retractions.push(((event.ts, params.ids.id64(&event.item), of, leaves), event));
        }
    }
    retractions.sort_by_key(|(age, _)| Reverse(*age));
    retractions.into_iter().take(params.history).map(|(_, event)| event).collect()
}

/// > A retraction in force caps each event of its user on i whose `ts` is not above its own and whose level is at most
/// > `of`: such an event counts with the level `leaves`, if its own is not lower. Where several cap an event the lowest
/// > holds. An event with the level 0 is **void**.
///
/// Takes the retractions in force of the event's user that are not covered. Returns the level with which the event counts, 0 if it is void;
/// `None` if it has no level of its own.
pub(crate) fn capped_level(event: &OracleEvent, retractions: &[&OracleEvent]) -> Option<u8> {
    let own = event.level()?;
    let mut lowest = own;
    for retraction in retractions.iter().filter(|retraction| retraction.item == event.item) {
        if let OracleEffect::Retracts { of, leaves } = retraction.effect
            && event.ts <= retraction.ts
            && own <= of
        {
            lowest = lowest.min(leaves);
        }
    }
    Some(lowest)
}

/// > it makes no interaction, so it is in no history, popularity, sample or profile.
///
/// > An event may also be void because of a control.
///
/// > A retraction that is covered caps nothing and keeps nothing out, [...] but both keep their places among the newest.
///
/// Takes the retained events of one user. Returns the counting events that are not void, with the levels with which
/// they count.
pub(crate) fn counting_levels<'e>(
    retained: &[&'e OracleEvent],
    controls: &UserControls,
    params: &Params,
) -> Vec<(&'e OracleEvent, u8)> {
    let mut retractions = retractions_in_force(retained, params);
    retractions.retain(|retraction| !controls.covers(retraction));
    let levels = counting_events(retained, params).into_iter().filter_map(|event| {
        let level = capped_level(event, &retractions)?;
        (level > 0 && !controls.voids(event)).then_some((event, level))
    });
    levels.collect()
}

/// > Of the skips of a user with `ts <= t` that are retained, equal ones counted once, the 64 newest are kept, by `ts`,
/// > then id64 of the item, the greater the newer. One is **in force** while `ts <= t < ts + graph.skipped`.
///
/// Takes the retained events of one user. Returns the newest first.
pub(crate) fn skips_in_force<'e>(retained: &[&'e OracleEvent], params: &Params, t: u64) -> Vec<&'e OracleEvent> {
    let skips = retained.iter().copied().filter(|event| event.effect == OracleEffect::Skips);
    let mut skips: Vec<&OracleEvent> = skips.collect::<BTreeSet<_>>().into_iter().collect();
    skips.sort_by_key(|skip| Reverse((skip.ts, params.ids.id64(&skip.item))));
    skips.truncate(SKIPS);
    skips.retain(|skip| skip.ts <= t && is_within(skip.ts, params.skipped, t));
    skips
}

/// > **Kept out** of the list of u is an item with a retraction in force that leaves 0, or a skip in force, unless a
/// > counting event of u on it that is not void has a greater `ts`.
///
/// > A retraction that is covered caps nothing and keeps nothing out, and neither does a skip that is covered, but both keep
/// > their places among the newest.
///
/// > While a `not_interested` of the scope `item` stands, [...] the item is kept out.
///
/// Takes the retained events of one user.
pub(crate) fn kept_out_by(
    retained: &[&OracleEvent],
    controls: &UserControls,
    params: &Params,
    t: u64,
) -> BTreeSet<String> {
    let counting = counting_levels(retained, controls, params);
    let mut reasons = retractions_in_force(retained, params);
    reasons.retain(|retraction| matches!(retraction.effect, OracleEffect::Retracts { leaves: 0, .. }));
    reasons.extend(skips_in_force(retained, params, t));
    let holds =
        |reason: &OracleEvent| !counting.iter().any(|(event, _)| event.item == reason.item && event.ts > reason.ts);
    let reasons = reasons.into_iter().filter(|reason| holds(reason) && !controls.covers(reason));
    let unwanted = controls.unwanted_items().into_iter().map(str::to_owned);
    reasons.map(|reason| reason.item.clone()).chain(unwanted).collect()
}

/// The items that are kept out of the list of each user at t. Users of whose lists none is are absent.
pub(crate) fn kept_out<'w>(world: impl Into<World<'w>>, params: &Params, t: u64) -> BTreeMap<String, BTreeSet<String>> {
    let world: World = world.into();
    let (events, controls) = (world.acting_events(t), world.controls_at(t));
    let retained = retained_by_user(&events, params, t);
    let mut kept_out = BTreeMap::new();
    // A user without a retained event may have said what to keep out.
    for user in retained.keys().chain(controls.keys()) {
        let retained = retained.get(user).map_or(&[][..], Vec::as_slice);
        let controls = controls.get(user).cloned().unwrap_or_default();
        kept_out.insert((*user).to_owned(), kept_out_by(retained, &controls, params, t));
    }
    kept_out.retain(|_, items| !items.is_empty());
    kept_out
}

/// The retractions and skips of all users that are in force at t.
///
/// One that is covered is in force, but does nothing.
pub(crate) fn in_force<'w>(world: impl Into<World<'w>>, params: &Params, t: u64) -> BTreeSet<OracleEvent> {
    let events = world.into().acting_events(t);
    let mut in_force = BTreeSet::new();
    for retained in retained_by_user(&events, params, t).values() {
        in_force.extend(retractions_in_force(retained, params).into_iter().cloned());
        in_force.extend(skips_in_force(retained, params, t).into_iter().cloned());
    }
    in_force
}

/// > Its end takes effect at its own millisecond.
///
/// Returns the end of a skip; `None` of another event.
pub(crate) fn end_of_skip(event: &OracleEvent, params: &Params) -> Option<u64> {
    if event.effect == OracleEffect::Skips { event.ts.checked_add(params.skipped) } else { None }
}
