//! A thread that fails in any process ends all of them, and each says which process failed and why.

use super::{Cluster, RUN_TIMEOUT};
use crate::program::TestDir;
use crate::program::supervision::{HAS_FAULTS, assert_end, start_with};

#[test]
fn a_failed_thread_in_any_process_ends_all_with_its_reason() {
    if !HAS_FAULTS {
        return;
    }
    for (process, workers, fault, reason) in [
        (0, 1, "writer.flush=panic@3", "the thread `writer` panicked: injected panic at writer.flush"),
        (0, 2, "writer.write=error@3", "injected error at writer.write"),
        (0, 1, "coordinator.step=panic@200", "the thread `worker` panicked: injected panic at coordinator.step"),
        (0, 2, "worker.step=panic@100", "the thread `worker` panicked: injected panic at worker.step"),
        (1, 1, "worker.step=panic@100", "the thread `worker` panicked: injected panic at worker.step"),
        (1, 2, "worker.step=panic@100", "the thread `worker` panicked: injected panic at worker.step"),
        (0, 1, "graph.collect=panic@100", "the thread `worker` panicked: injected panic at graph.collect"),
        (1, 1, "graph.snapshot=panic", "the thread `worker` panicked: injected panic at graph.snapshot"),
        (0, 1, "reader.send=panic@20", "the thread `reader` panicked: injected panic at reader.send"),
        (0, 1, "reader.poll=error@5", "injected error at reader.poll"),
        (0, 2, "snapshot.put=panic", "the thread `snapshot-writer` panicked: injected panic at snapshot.put"),
    ] {
        let dir = TestDir::new();
        let cluster = Cluster::new(&dir, 2, workers);
        let args = "--input generate:events=50000000,users=2000,items=500 --output out.jsonl --set input.batch=500 \
                    --state state --set state.interval=100ms";
        let start = |each| start_with(&dir, if each == process { fault } else { "" }, &cluster.args(each, args));
        let running: Vec<_> = [0, 1].map(start).into();
        let done: Vec<_> = running.into_iter().map(|running| running.finish_within(RUN_TIMEOUT)).collect();
        println!("{fault} in process {process} of {workers} workers");
        assert_end(&done[process], 1, &[reason]);
        assert_end(
            &done[1 - process],
            3,
            &[&format!("process {process} has failed"), reason, "start all of them again"],
        );
    }
}

/// The reader of a pipe closes it: all processes end well.
#[test]
fn a_closed_pipe_ends_all_processes_well() {
    use std::io::{BufRead as _, BufReader};
    use std::process::{Command, Stdio};

    let dir = TestDir::new();
    let cluster = Cluster::new(&dir, 2, 1);
    let args = "--quiet --input generate:events=50000000,users=2000,items=500 --set input.batch=5000";
    let mut first = Command::new(env!("CARGO_BIN_EXE_deltarec"))
        .args(cluster.args(0, args))
        .current_dir(dir.path(""))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let second = cluster.start(1, args);
    let mut out = BufReader::new(first.stdout.take().unwrap());
    out.read_line(&mut String::new()).unwrap();
    drop(out);
    second.finish_within(RUN_TIMEOUT).assert_success().assert_stderr(&[]);
    assert_eq!(first.wait().unwrap().code(), Some(0));
}

#[test]
fn a_process_that_ends_without_its_reason_is_lost() {
    if !HAS_FAULTS {
        return;
    }
    let dir = TestDir::new();
    let cluster = Cluster::new(&dir, 2, 1);
    let args = "--input generate:events=2000,users=200,items=50 --output out.jsonl";
    let first = start_with(&dir, "worker.end=panic", &cluster.args(0, args));
    let second = cluster.start(1, args);
    assert_end(&first.finish_within(RUN_TIMEOUT), 1, &["injected panic at worker.end"]);
    assert_end(&second.finish_within(RUN_TIMEOUT), 3, &["process 0", "is lost (it has ended without a reason)"]);
}
