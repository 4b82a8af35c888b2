//! Every viewer's list: a look-up over the rows that lie with the viewers, not a join that stores contributions.
//!
//! A viewer keeps profile, k best, reserve and floor. When the similarity of (i, j) changes, each viewer with i in the
//! profile takes j's total anew with one probe for each item of the profile; nobody stores contributions, and leaving
//! the audience is a drop.

mod rows;
mod totals;
mod viewers;

use std::sync::Arc;

use differential_dataflow::AsCollection;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use self::rows::Rows;
use self::viewers::{Changed, Viewers, Work};
use crate::gauges::{Gauges, add};
use crate::operator::{Held, Out, Stash, complete_before, earlier, give};
use crate::{Collection, Config, Diff, Interest, ItemId, List, Neighbour, Time, UserId, Weight};

/// Keeps each viewer's `k` best items, totalled over the profile; empty lists are not in the collection.
///
/// `profiles` must lie where the viewers do, `neighbours` is sent there. Cost of a profile update: a pass over
/// `stairs * neighbours` candidates; of a changed similarity: one probe into each row of the profile of each holder whose
/// list it can reach. A row that a whole crowd holds is worked off in slices.
pub fn lists<'scope>(
    profiles: Collection<'scope, (UserId, (ItemId, Weight))>,
    neighbours: Collection<'scope, (Interest, Neighbour)>,
    config: &Config,
    gauges: &Arc<Gauges>,
) -> Collection<'scope, (UserId, List)> {
    let scope = profiles.inner.scope();
    let mut builder = OperatorBuilder::new("Lists".into(), scope);
    let mut profiles = builder.new_input(profiles.inner, Pipeline);
    let to_viewers = |update: &((Interest, Neighbour), Time, Diff)| update.0.0.worker;
    let mut neighbours = builder.new_input(neighbours.inner, Exchange::new(to_viewers));
    let (out, lists) = builder.new_output();
    let mut rows = Rows::default();
    let mut viewers = Viewers::new(config.k, config.items);
    let slice = config.slice;
    let gauges = Arc::clone(gauges);

    let activator = scope.activator_for(builder.operator_info().address);
    builder.build(move |_| {
        let mut out: Out<((UserId, List), Time, Diff)> = OutputBuilder::from(out);
        let mut held = Held::new(1);
        let mut profile_stash = Stash::new();
        let mut neighbour_stash = Stash::new();
        let mut tick: Option<Tick> = None;
        let mut updates = Vec::new();

        move |frontiers| {
            profiles.for_each(|capability, data| profile_stash.put(held.retain(&capability), data));
            neighbours.for_each(|capability, data| neighbour_stash.put(held.retain(&capability), data));
            let upper = complete_before(frontiers);

            let mut fuel = slice;
            loop {
                let complete = earlier(profile_stash.first(), neighbour_stash.first()).filter(|time| *time < upper);
                let Some(mut now) = tick.take().or_else(|| {
                    complete.map(|time| {
                        Tick::begin(
                            time,
                            &profile_stash.take(time),
                            &neighbour_stash.take(time),
                            &mut viewers,
                            &mut rows,
                        )
                    })
                }) else {
                    break;
                };
                let time = now.time;
                let done = now.advance(&mut fuel, &mut viewers, &mut rows, &mut |user, list, diff| {
                    updates.push(((user, list), time, diff));
                });
                give(&mut out, &held, 0, time, &mut updates);
                if !done {
                    tick = Some(now);
                    activator.activate();
                    break;
                }
            }
            let Work { totals, rescans, lists } = std::mem::take(&mut viewers.work);
            add(&gauges.totals, totals);
            add(&gauges.rescans, rescans);
            add(&gauges.lists, lists);
            let now = tick.as_ref().map(|tick| tick.time);
            held.release_before(earlier(now, earlier(profile_stash.first(), neighbour_stash.first())));
        }
    });
    lists.as_collection()
}

/// What settling a viewer costs at most, in totals taken anew.
const SETTLING: usize = 16;

/// A tick being worked off, in slices.
struct Tick {
    time: Time,
    /// Similarities that changed, and how far their holders have been told.
    changed: Vec<Changed>,
    row: usize,
    holder: usize,
}

impl Tick {
    /// Applies the updates of a tick to rows and profiles.
    fn begin(
        time: Time,
        profiles: &[Vec<((UserId, (ItemId, Weight)), Time, Diff)>],
        neighbours: &[Vec<((Interest, Neighbour), Time, Diff)>],
        viewers: &mut Viewers,
        rows: &mut Rows,
    ) -> Self {
        // 1. Rows, so that every total is taken from similarities as they are at the end of the tick.
        let mut changed: Vec<Changed> = Vec::new();
        for same in neighbours.iter().flat_map(|updates| updates.chunk_by(|a, b| a.0.0.item == b.0.0.item)) {
            let row = rows.intern(same[0].0.0.item);
            let first = changed.len();
            for ((_, neighbour), _, diff) in same {
                let item = rows.intern(neighbour.item);
                let (old, new) = rows.update(row, item, *neighbour, *diff);
                // A retraction and an insertion of one row come close together: they are one change.
                match changed[first..].iter_mut().find(|changed| changed.item == item) {
                    Some(changed) => changed.new = new,
                    None => changed.push(Changed { row, item, old, new }),
                }
            }
        }
        // 2. Profiles.
        viewers.update(profiles, rows);
        Tick { time, changed, row: 0, holder: 0 }
    }

    /// Goes on until the tick is done or the fuel is used up; tells which lists changed. Returns whether it is done.
    fn advance(
        &mut self,
        fuel: &mut usize,
        viewers: &mut Viewers,
        rows: &mut Rows,
        tell: &mut impl FnMut(UserId, List, Diff),
    ) -> bool {
        // 3. Candidates whose similarity to an item of a profile changed.
        while let Some(changed) = self.changed.get(self.row) {
            while let Some(holder) = rows.get(changed.row).holders.get(self.holder) {
                if *fuel == 0 {
                    return false;
                }
                *fuel -= 1;
                viewers.touch(*holder, changed, rows);
                self.holder += 1;
            }
            self.row += 1;
            self.holder = 0;
        }
        self.changed.clear();
        self.row = 0;
        // 4. Lists.
        while let Some(viewer) = viewers.unsettled.pop() {
            if let Some((user, old, new)) = viewers.settle(viewer, rows) {
                for (list, diff) in [(old, -1), (new, 1)] {
                    if !list.is_empty() {
                        tell(user, list, diff);
                    }
                }
            }
            *fuel = fuel.saturating_sub(SETTLING);
            if *fuel == 0 && !viewers.unsettled.is_empty() {
                return false;
            }
        }
        // 5. Names that nothing refers to any more.
        rows.release();
        true
    }
}
