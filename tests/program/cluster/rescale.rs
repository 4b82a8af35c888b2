//! Restarts with another number of workers and processes give the same answers.

use super::{Cluster, lists_of_all, simulated};
use crate::program::{TestDir, assert_lists_eq, changes, final_lists};

/// Number of processes, and of workers of each.
type Shape = (usize, usize);

const SHAPES: [Shape; 6] = [(1, 1), (1, 2), (1, 4), (2, 1), (2, 2), (2, 4)];

/// Replays a log in parts, each with the next shape.
fn replay(shapes: &[Shape], events: u32) {
    let dir = TestDir::new();
    let (log, _) = simulated(&dir, &format!("events={events},users=150,items=100,seed=8"));
    let text = dir.read("x.jsonl");
    let lines: Vec<&str> = text.lines().collect();
    dir.write("grows.jsonl", "");
    for (part, (processes, workers)) in shapes.iter().enumerate() {
        let upto = lines.len() * (part + 1) / shapes.len();
        dir.write("grows.jsonl", lines[..upto].join("\n") + "\n");
        Cluster::new(&dir, *processes, *workers)
            .run("--input grows.jsonl --output out.jsonl --state state --set graph.audience=all --set input.batch=50");
        let what = format!("part {part}, {processes} x {workers}");
        if part + 1 == shapes.len() {
            assert_lists_eq(&what, &final_lists(&changes(&dir.read("out.jsonl"))), &lists_of_all(&log), 100);
        } else {
            println!("{what}");
        }
    }
}

/// Covers each shape before and after a restart, and from one process to two and back.
#[test]
fn resumes_with_other_workers_and_processes() {
    replay(&[(1, 1), (2, 1), (1, 4), (2, 2), (1, 2), (2, 4), (1, 1)], 4_000);
}

/// `cargo test --test deltarec -- --ignored resumes_every_shape`
#[test]
#[ignore = "takes minutes"]
fn resumes_every_shape_from_every_other() {
    let mut shapes = Vec::new();
    for (at, from) in SHAPES.iter().enumerate() {
        // Each shape to each, itself included, and back: 36 restarts in a row.
        shapes.push(*from);
        shapes.extend(SHAPES[at + 1..].iter().flat_map(|to| [*to, *from]));
        shapes.push(*from);
    }
    replay(&shapes, 20_000);
}
