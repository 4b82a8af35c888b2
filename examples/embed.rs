//! Embeds the graph in a program of its own: events go in tick by tick, changed lists come out.
//!
//! ```text
//! cargo run --release --example embed
//! ```

#![allow(clippy::print_stdout, reason = "an example prints its results")]

use std::collections::HashMap;
use std::sync::mpsc;

use dataflows::{Config, Driver, DriverError, Effect, Event, ListChange, ListKey};
use schema::id64;

/// Milliseconds since the Unix epoch of the first tick; the others follow second by second.
pub(crate) const START: u64 = 1_763_900_000_000;

/// Ticks of (user, item, level). A level is the strength of an action, from 1 (a view) to 15; a purchase has 6.
pub(crate) const TICKS: [[(&str, &str, u8); 3]; 3] = [
    [("ann", "bread", 6), ("ann", "butter", 6), ("ben", "bread", 1)],
    [("cleo", "butter", 6), ("cleo", "jam", 6), ("dan", "jam", 1)],
    [("ben", "butter", 1), ("dan", "tea", 1), ("ann", "tea", 6)],
];

/// The lines to print: one per changed list.
pub(crate) fn changed_lists() -> Result<Vec<String>, DriverError> {
    // The graph knows 64-bit ids only, so the program that embeds it keeps the names.
    let names = TICKS.as_flattened().iter().flat_map(|(user, item, _)| [*user, *item]);
    let names: HashMap<u64, &str> = names.map(|name| (id64(name), name)).collect();
    let event = |ts, (user, item, level)| Event {
        user: id64(user),
        item: id64(item),
        ts,
        effect: Effect::Counts(level),
        scope: None,
    };

    // Changes are reported on the worker threads. Hand them over and return: a slow observer delays the graph.
    let (sender, changes) = mpsc::channel();
    let on_change = move |change: &ListChange| sender.send(change.clone()).expect("the driver has the receiver");

    Driver::observe(&Config::default(), 1, on_change, move |driver| {
        let mut lines = Vec::new();
        for (ts, tick) in (START..).step_by(1_000).zip(TICKS) {
            driver.tick(&tick.map(|touch| event(ts, touch)));
            // When `tick` returns, every change that follows from the tick has been reported.
            lines.extend(changes.try_iter().map(|change| line(&change, &names)));
        }
        // Half an hour after their last events the users leave the audience, and their lists become empty.
        driver.advance(START + 60 * 60 * 1_000);
        lines.extend(changes.try_iter().map(|change| line(&change, &names)));
        lines
    })
}

fn line(change: &ListChange, names: &HashMap<u64, &str>) -> String {
    let ListKey::User(user) = change.key else { unreachable!("trending lists are off by default") };
    let items: Vec<&str> = change.items.iter().map(|scored| names[&scored.item]).collect();
    format!("{} {}: {}", change.at, names[&user], items.join(", "))
}

fn main() -> Result<(), DriverError> {
    changed_lists()?.iter().for_each(|line| println!("{line}"));
    Ok(())
}
