//! `deltarec bench`: the figures are consistent, whatever they are on this machine.

use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::{ProcessOutput, TestDir};

/// A simulation small enough for a debug build.
const SIMULATION: &str = "--users 2000 --items 300 --rooms 5";

fn bench(dir: &TestDir, args: &str) -> ProcessOutput {
    let args: Vec<&str> = ["bench"].into_iter().chain(args.split_whitespace()).collect();
    let done = dir.deltarec(&args).assert_success();
    println!("{}", done.stdout);
    assert!(done.stdout.lines().all(|line| line.chars().count() <= 110), "more than 110 columns:\n{}", done.stdout);
    done
}

fn report(dir: &TestDir, name: &str) -> Value {
    let report: Value = serde_json::from_str(&dir.read(name)).unwrap();
    assert!(report["machine"]["cores"].as_u64().unwrap() > 0 && report["machine"]["cpu"].is_string());
    assert_eq!(report["machine"]["version"], env!("CARGO_PKG_VERSION"));
    assert!(report["simulation"].as_str().unwrap().contains("users="));
    report
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is not a number"))
}

#[track_caller]
fn assert_percentiles(value: &Value, count: u64) {
    assert_eq!(number(&value["count"]), count);
    let of = |name: &str| value[name].as_f64().unwrap();
    let ascending = [0.0, of("p50_ms"), of("p90_ms"), of("p99_ms"), of("p999_ms"), of("max_ms"), 60_000.0];
    assert!(ascending.is_sorted() && (count == 0 || of("p50_ms") > 0.0), "{value}");
}

/// All scheduled events of a step are completed and recorded.
#[track_caller]
fn assert_step_is_complete(step: &Value, rate: u64, seconds: u64) {
    let (scheduled, settled, warm_up) =
        (number(&step["scheduled"]), number(&step["settled"]), number(&step["warm_up"]));
    assert_eq!((number(&step["rate"]), scheduled), (rate, rate * seconds));
    assert!(settled == scheduled || step["verdict"] == "cut" && settled < scheduled);
    assert_percentiles(&step["all"], settled - warm_up);
    let kinds = ["joining", "staying"].map(|kind| number(&step[kind]["count"]));
    assert_eq!(kinds.iter().sum::<u64>(), settled - warm_up);
    let own = number(&step["own"]["count"]);
    assert!(own <= settled - warm_up);
}

#[test]
fn latency_completes_steps_and_detects_overload() {
    let dir = TestDir::new();
    let done = bench(
        &dir,
        &format!(
            "latency {SIMULATION} --preload 20000 --rates 300,1000000 --seconds 2 --audience 10% --json l.json \
             --picture l.svg"
        ),
    );
    let results = &report(&dir, "l.json")["results"];
    let steps = results[0]["steps"].as_array().unwrap();
    assert_step_is_complete(&steps[0], 300, 2);
    assert_step_is_complete(&steps[1], 1_000_000, 2);
    assert!(["cut", "late"].contains(&steps[1]["verdict"].as_str().unwrap()), "{}", steps[1]["verdict"]);
    // Calibrated to a tenth of 2,000 users.
    assert!((100..400).contains(&number(&steps[0]["audience"])), "{}", steps[0]["audience"]);
    for kind in ["own", "joining", "staying", "leaving"] {
        assert_percentiles(&steps[0][kind], number(&steps[0][kind]["count"]));
        assert!(number(&steps[0][kind]["count"]) > 0, "{kind}");
    }
    // On a busy machine any rate can be too high.
    if steps[0]["verdict"] == "held" {
        assert_eq!(number(&results[0]["saturation"]), 300);
        assert_step_is_complete(&steps[2], 150, 2);
        assert!(done.stdout.contains("saturation: 300 events/s"));
    }
    for part in
        ["p99.9 ms", "CPU us/ev", "own list changed", "effects of others", "leaving", "1 worker, audience 10% ("]
    {
        assert!(done.stdout.contains(part), "{part:?} is missing in:\n{}", done.stdout);
    }

    let svg = dir.read("l.svg");
    let chart = roxmltree::Document::parse(&svg).unwrap();
    let texts: Vec<&str> = chart.descendants().filter_map(|node| node.text()).map(str::trim).collect();
    for text in [
        "Latency at each rate",
        "How rare a latency is",
        "events offered per second",
        "percentile of the events",
        "latency from the schedule, ms",
        "p99.9",
        "99%",
    ] {
        assert!(texts.contains(&text), "{text:?} is missing in {texts:?}");
    }
}

#[test]
fn latency_measures_combinations_and_an_audience_of_all_users() {
    let dir = TestDir::new();
    bench(
        &dir,
        &format!(
            "latency {SIMULATION} --preload 3000 --rates 200 --seconds 2 --audience all --workers 1,2 --json l.json"
        ),
    );
    let results = report(&dir, "l.json")["results"].clone();
    for (at, workers) in [1, 2].into_iter().enumerate() {
        let result = &results[at];
        assert_eq!((number(&result["workers"]), result["audience"].as_str()), (workers, Some("all")));
        assert_eq!(number(&result["preload"]["events"]), 3_000);
        assert!(result["span_ms"].is_null());
        assert_step_is_complete(&result["steps"][0], 200, 2);
        assert_eq!(number(&result["steps"][0]["leaving"]["count"]), 0);
    }
}

#[test]
fn batches_report_latency_and_work() {
    let dir = TestDir::new();
    let done = bench(
        &dir,
        &format!("batches {SIMULATION} --preload 5000 --events 300 --workers 2 --seconds 60 --json b.json"),
    );
    let results = &report(&dir, "b.json")["results"];
    assert_eq!(number(&results["preload_events"]), 5_000);
    for (at, (batch, batches)) in [(1, 300), (10, 100), (100, 100), (1_000, 100)].into_iter().enumerate() {
        let size = &results["sizes"][at];
        assert_eq!((number(&size["batch"]), number(&size["batches"])), (batch, batches));
        assert_eq!(number(&size["events"]), batch * batches);
        assert_percentiles(&size["latency"], batches);
    }
    let tenths = results["tenths"].as_array().unwrap();
    assert_eq!(tenths.iter().map(|tenth| number(&tenth["events"])).sum::<u64>(), 300);
    assert!(tenths[0]["stages"].as_array().unwrap().iter().any(|stage| number(&stage["max"]) > 0));
    assert!(["similar", "p99.9", "events/s"].iter().all(|part| done.stdout.contains(part)));
}

#[test]
fn throughput_does_the_same_work_with_and_without_files() {
    let dir = TestDir::new();
    let done = bench(&dir, &format!("throughput --events 20000 {SIMULATION} --batch 1000 --json t.json"));
    let results = &report(&dir, "t.json")["results"];
    let (files, graph) = (&results["file_to_file"], &results["graph_alone"]);
    assert_eq!(number(&files["events"]), 20_000);
    assert_eq!(number(&graph["events"]), 20_000);
    // Both have the same events in each tick.
    assert_eq!(number(&files["changes"]), number(&graph["changes"]));
    assert!(number(&files["changes"]) > 1_000 && number(&graph["held"]["pairs"]) > 1_000);
    assert!(number(&results["memory"]["users"]) > 500 && number(&results["memory"]["viewers"]) > 50);
    assert!(["bytes each", "budget", "file to file", "peak MiB"].iter().all(|part| done.stdout.contains(part)));
}

#[test]
fn growth_has_a_row_for_each_dimension() {
    let dir = TestDir::new();
    bench(&dir, "growth --scale 0.02 --events 1000 --json g.json");
    let rows = report(&dir, "g.json")["results"].clone();
    let grown: Vec<&str> = rows.as_array().unwrap().iter().map(|row| row["grown"].as_str().unwrap()).collect();
    assert_eq!(grown, ["(as a start)", "events", "users", "items", "history", "audience"]);
    for row in rows.as_array().unwrap() {
        assert_percentiles(&row["single"], 1_000);
        assert!(row["us_per_event"].as_f64().unwrap() > 0.0);
    }
    assert_eq!(number(&rows[1]["size"]["events"]), 10 * number(&rows[0]["size"]["events"]));
}

#[test]
fn rejects_invalid_arguments_before_measuring() {
    let dir = TestDir::new();
    for (args, parts) in [
        (&["latency", "--rates", ""][..], &["--rates", "''"][..]),
        (&["latency", "--rates", "0"], &["--rates", "1..=1000000"]),
        (&["latency", "--rates", "5,many"], &["--rates", "many"]),
        (&["latency", "--rates", "1000000", "--seconds", "600"], &["--rates 1000000", "--seconds 600", "lower"]),
        (&["latency", "--seconds", "1"], &["--seconds", "2..=600"]),
        (&["latency", "--audience", "0%"], &["--audience", "above 0%", "`0%`"]),
        (&["latency", "--audience", "1%,150%"], &["up to 100%", "`150%`"]),
        (&["latency", "--audience", "90%", "--preload", "1000"], &["--audience 90%", "raise --preload", "`all`"]),
        (
            &["latency", "--preload", "0", "--set", "graph.audience=1s", "--set", "graph.retention=1s"],
            &["--audience 10%", "longer than graph.retention"],
        ),
        (&["latency", "--workers", "0"], &["--workers", "1..=1024"]),
        (&["latency", "events=1000"], &["omit events=", "--preload N"]),
        (&["latency", "--users", "0"], &["users=0: expected 1 to"]),
        (&["latency", "users=5", "--users", "6"], &["`users` is given twice"]),
        (&["latency", "uesrs=1000"], &["unknown option `uesrs`"]),
        (&["latency", "--set", "graph.kk=1"], &["unknown key graph.kk"]),
        (&["latency", "--picture", "no/such/folder.svg"], &["no/such/folder.svg", "folder that exists"]),
        (&["batches", "--audience", "ten"], &["such as 10%", "`ten`"]),
        (&["batches", "--json", "."], &["cannot be written"]),
        (&["throughput", "--batch", "0"], &["--batch", "1..=10000000"]),
        (&["growth", "--scale", "0"], &["--scale", "0.01 to 1000"]),
        (&["growth", "users=5"], &["`users=5`", "--scale X"]),
        (&["growth", "--users", "5"], &["`users=5`", "--scale X"]),
        (&["child", "growth", "{}"], &["for the program itself"]),
        (&["child", "speed", "{}"], &["for the program itself"]),
        (&["speed"], &["speed", "deltarec bench"]),
        (&[], &["latency", "batches", "throughput", "growth"]),
    ] {
        let args: Vec<&str> = ["bench"].iter().chain(args).copied().collect();
        println!("deltarec {}", args.join(" "));
        assert_eq!(dir.deltarec(&args).assert_failure(2, parts).stdout, "");
    }
    for what in ["latency", "batches", "throughput", "growth"] {
        let help = dir.deltarec(&["bench", what, "--help"]).assert_success().stdout;
        assert!(help.contains("Examples:") && help.contains(&format!("deltarec bench {what}")), "{help}");
    }
}

#[test]
fn an_interrupted_benchmark_writes_its_report() {
    let dir = TestDir::new();
    let args = format!("bench latency {SIMULATION} --preload 2000 --rates 100 --seconds 60 --json l.json");
    let running = dir.start(&args.split_whitespace().collect::<Vec<_>>());
    running.wait_for_output(Duration::from_secs(60), "the heading", |stdout| stdout.contains("steps of 60 s"));
    thread::sleep(Duration::from_millis(500));
    running.signal("INT");
    running.finish_within(Duration::from_secs(60)).assert_success().assert_stderr(&["shutting down"]);
    assert_eq!(report(&dir, "l.json")["results"], serde_json::json!([]));
}
