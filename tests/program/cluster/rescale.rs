//! Stopped with some workers and processes, started with others: the same answers.

use super::{Cluster, everybody, simulated};
use crate::program::{Place, assert_same, changes, last_lists};

/// Processes, and workers of each.
type Shape = (usize, usize);

const SHAPES: [Shape; 6] = [(1, 1), (1, 2), (1, 4), (2, 1), (2, 2), (2, 4)];

/// Plays a log in parts, each with the next shape.
fn play(shapes: &[Shape], events: u32) {
    let place = Place::new();
    let (log, _) = simulated(&place, &format!("events={events},users=150,items=100,seed=8"));
    let text = place.read("x.jsonl");
    let lines: Vec<&str> = text.lines().collect();
    place.write("grows.jsonl", "");
    for (part, (processes, workers)) in shapes.iter().enumerate() {
        let upto = lines.len() * (part + 1) / shapes.len();
        place.write("grows.jsonl", lines[..upto].join("\n") + "\n");
        Cluster::new(&place, *processes, *workers)
            .run("--input grows.jsonl --output out.jsonl --state state --set graph.audience=all --set input.batch=50");
        let what = format!("part {part}, {processes} x {workers}");
        if part + 1 == shapes.len() {
            assert_same(&what, &last_lists(&changes(&place.read("out.jsonl"))), &everybody(&log), 100);
        } else {
            println!("{what}");
        }
    }
}

/// Every shape is gone on from and gone on with, and from one process to two and back.
#[test]
fn the_number_of_workers_and_processes_may_change_between_runs() {
    play(&[(1, 1), (2, 1), (1, 4), (2, 2), (1, 2), (2, 4), (1, 1)], 4_000);
}

/// `cargo test --test deltarec -- --ignored every_shape`
#[test]
#[ignore = "takes minutes"]
fn every_shape_goes_on_from_every_other() {
    let mut shapes = Vec::new();
    for (at, from) in SHAPES.iter().enumerate() {
        // From each to each, itself included, and back: 36 changes in a row.
        shapes.push(*from);
        shapes.extend(SHAPES[at + 1..].iter().flat_map(|to| [*to, *from]));
        shapes.push(*from);
    }
    play(&shapes, 20_000);
}
