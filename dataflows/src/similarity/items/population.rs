//! The population T: the largest popularity that one item could have.

use differential_dataflow::AsCollection;
use differential_dataflow::consolidation::consolidate_updates;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::Operator;

use crate::operators::{IdMap, shrink_if_sparse};
use crate::{Collection, Diff, ItemId, Level, Time, UserId};

/// Number of interactions of a user by level.
type Levels = [i16; 16];

/// The population as the multiplicity of `()`: the sum over users of the highest level in their history. No popularity
/// exceeds it. If all levels are 1, it is the number of users.
///
/// `history` must be located with the users and arrive in the order of its times. Memory: 32 bytes a user.
pub(super) fn population<'scope>(history: Collection<'scope, (UserId, (ItemId, Level))>) -> Collection<'scope, ()> {
    type Builder = CapacityContainerBuilder<Vec<((), Time, Diff)>>;
    let population = history.inner.unary::<Builder, _, _, _>(Pipeline, "Population", |_, _| {
        let mut users: IdMap<Levels> = IdMap::default();
        let mut updates = Vec::new();
        move |input, output| {
            input.for_each(|capability, data| {
                for ((user, (_item, level)), time, diff) in data.drain(..) {
                    let levels = users.entry(user).or_default();
                    let before = highest(levels);
                    levels[usize::from(level)] += i16::try_from(diff).expect("a history has at most 1,000 items");
                    let after = highest(levels);
                    // Retractions and insertions of a tick come in any order: intermediate updates cancel out below.
                    if *levels == Levels::default() {
                        users.remove(&user);
                        shrink_if_sparse(&mut users);
                    }
                    if after != before {
                        updates.push(((), time, after - before));
                    }
                }
                consolidate_updates(&mut updates);
                if !updates.is_empty() {
                    let capability = capability.retain_least(0).expect("a message with data has a time");
                    output.session(&capability).give_iterator(updates.drain(..));
                }
            });
        }
    });
    population.as_collection()
}

fn highest(levels: &Levels) -> Diff {
    levels.iter().rposition(|count| *count > 0).map_or(0, usize::cast_signed)
}
