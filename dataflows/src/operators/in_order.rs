use differential_dataflow::consolidation::consolidate_updates;
use differential_dataflow::{AsCollection, Data};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::Operator;

use crate::{Collection, Diff, Time};

/// Maps each update to one or none with a function that has state. Emits the updates of a message consolidated.
///
/// Does not wait until a tick is complete. The updates must arrive in the order of their times, as they do from another
/// operator on the same worker.
pub(crate) fn map_in_order<'scope, D: Clone + 'static, R: Data>(
    input: Collection<'scope, D>,
    name: &str,
    mut map: impl FnMut(D, Diff) -> Option<(R, Diff)> + 'static,
) -> Collection<'scope, R> {
    type Builder<R> = CapacityContainerBuilder<Vec<(R, Time, Diff)>>;
    let mut updates = Vec::new();
    let mapped = input.inner.unary::<Builder<R>, _, _, _>(Pipeline, name, |_, _| {
        move |input, output| {
            input.for_each(|capability, data| {
                let map = |(data, time, diff)| map(data, diff).map(|(mapped, diff)| (mapped, time, diff));
                updates.extend(data.drain(..).filter_map(map));
                consolidate_updates(&mut updates);
                if !updates.is_empty() {
                    let capability = capability.retain_least(0).expect("a message with data has a time");
                    output.session(&capability).give_iterator(updates.drain(..));
                }
            });
        }
    });
    mapped.as_collection()
}
