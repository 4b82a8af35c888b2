//! Arguments, configuration and messages of the program.

use std::time::Duration;

use serde_json::json;

use super::{TestDir, event};

/// Each mistake gives exit code 2 and names the remedy. Existing files are unchanged.
#[test]
fn usage_errors_exit_with_2_and_name_the_remedy() {
    let dir = TestDir::new();
    dir.write("good.csv", "user,item,action,ts\nu,i,view,5\n");
    dir.write("bare.csv", "a,b\n1,2\n");
    dir.write("twice.csv", "user,item,action,ts,user\nu,i,view,5,u\n");
    dir.write("kept.jsonl", "as before\n");
    let cases: &[(&[&str], &[&str])] = &[
        (&["run", "--inptu", "good.csv"], &["--inptu", "'--input'"]),
        (&["frobnicate"], &["frobnicate"]),
        (&[], &["Usage: deltarec", "run", "generate", "demo"]),
        (&["run", "--clock", "sun"], &["sun", "event, wall"]),
        (&["run", "--workers", "0"], &["--workers", "1..=1024"]),
        (&["run", "--workers", "many"], &["--workers", "many"]),
        (&["run", "--config", "none.toml"], &["none.toml", "--config"]),
        (&["run", "--set", "graph.neighbors=3"], &["unknown key graph.neighbors", "did you mean graph.neighbours?"]),
        (&["run", "--set", "graph.k"], &["--set graph.k", "="]),
        (&["run", "--set", "graph.audience=40d"], &["graph.audience must be at most the retention", "30d", "40d"]),
        (&["run", "--columns", "who"], &["--columns who", "user=user_id,item=item_id"]),
        (
            &["run", "--columns", "person=a,user=,ts=t:sec"],
            &["`person` is not a target", "user has no column", "sec", "ts"],
        ),
        (&["run", "--input", "bare.csv"], &["bare.csv", "`user`, `item`, `action`, `ts`", "`a`, `b`", "--columns"]),
        (&["run", "--input", "twice.csv"], &["twice.csv", "`user` twice"]),
        (&["run", "--input", "good.csv", "--where", "quantity>0"], &["good.csv", "no column `quantity`"]),
        (&["run", "--input", "good.csv", "--action", "view"], &["--action view", "`action`", "omit one"]),
        (&["run", "--where", "quantity"], &["--where quantity", "no comparison", "quantity>0"]),
        (&["run", "--where", "a>>3"], &["--where a>>3", "two comparisons"]),
        (&["run", "--input", "events.parquet"], &["events.parquet", "PATH.jsonl", "PATH.csv", "stdin", "generate:"]),
        (&["run", "--input", "s3://bucket/a.csv"], &["s3://bucket/a.csv", "PATH.jsonl"]),
        (&["run", "--input", "kept.jsonl", "--output", "kept.jsonl"], &["--output kept.jsonl", "input 1"]),
        (&["run", "--input", "kept.jsonl", "--output", "./kept.jsonl"], &["./kept.jsonl", "input 1"]),
        (&["run", "--input", "kept.jsonl", "--rejects", "./kept.jsonl"], &["--rejects", "input 1"]),
        (&["run", "--input", "good.csv", "--output", "new.jsonl", "--rejects", "./new.jsonl"], &["--rejects", "same"]),
        (&["run", "--input", "good.csv", "--rejects", "-"], &["--rejects", "--output", "different"]),
        (&["run", "--input", "good.csv", "--output", "lists.csv"], &["lists.csv", ".jsonl"]),
        (&["run", "--input", "good.csv", "--output", "generate:"], &["generate:", "input only"]),
        (&["run", "--input", "-", "--input", "-"], &["stdin", "one"]),
        (&["run", "--input", "generate:evnts=5"], &["deltarec: generate: unknown option `evnts`", "events, users"]),
        (
            &["generate", "evnts=5,users=0,seed"],
            &["unknown option `evnts`", "generate: users=0: expected 1 to", "found `seed`"],
        ),
        (
            &["generate", "seed=1", "--users", "0", "--seed", "2"],
            &["generate: users=0: expected 1 to", "`seed` is given twice"],
        ),
        (&["generate", "--events", "5", "--output", "x.txt"], &["`x.txt`", "PATH.jsonl"]),
    ];
    for (args, parts) in cases {
        let mut args = args.to_vec();
        if args.first() == Some(&"run") && !args.contains(&"--output") && !args.contains(&"--rejects") {
            args.extend(["--output", "kept.jsonl"]);
            if !args.contains(&"--input") {
                args.extend(["--input", "good.csv"]);
            }
        }
        println!("deltarec {}", args.join(" "));
        let done = dir.deltarec(&args).assert_failure(2, parts);
        println!("{}", done.stderr);
        assert_eq!(done.stdout, "");
        assert!(!done.stderr.contains("generate: generate:"), "{}", done.stderr);
        assert_eq!(dir.read("kept.jsonl"), "as before\n");
    }
    assert!(!dir.path("new.jsonl").exists() && !dir.path("x.txt").exists());
}

#[test]
fn reports_all_configuration_errors_at_once() {
    let dir = TestDir::new();
    dir.write("shop.toml", "[graph]\nneighbors = 3\n\n[levels]\nlike = 16\nbuy = 3\n");
    let args = ["run", "--config", "shop.toml", "--set", "graph.k=0", "--set", "graph.retention=30", "--set", "foo=1"];
    dir.deltarec(&args).assert_failure(
        2,
        &[
            "6 mistakes in the configuration",
            "shop.toml:2: unknown key graph.neighbors (did you mean graph.neighbours?)",
            "shop.toml:5: levels.like",
            "shop.toml:6: levels.buy",
            "--set graph.k=0: graph.k must be an integer from 1 to 1000",
            "graph.retention must be a duration",
            "unknown key foo",
        ],
    );
}

#[test]
fn set_overrides_the_configuration_file() {
    let dir = TestDir::new();
    dir.write("shop.toml", "[levels]\nbid = 5\n\n[graph]\nk = 1\n");
    let events: String = ["a", "b", "c", "d"].iter().map(|item| event("u", item, "bid", 5)).collect();
    let input = events + &event("v", "a", "bid", 5);
    let items = |args: &str| {
        let done = dir.run_with_stdin(&format!("--config shop.toml {args}"), input.as_bytes()).assert_success();
        super::changes(&done.stdout).last().unwrap().items.len()
    };
    assert_eq!(items(""), 1);
    assert_eq!(items("--set graph.k=1 --set graph.k=2"), 2);
}

#[test]
fn replaces_an_existing_output() {
    let dir = TestDir::new();
    dir.write("out.jsonl", "as before\n".repeat(1000));
    dir.run_with_stdin("--output out.jsonl", super::two_shoppers(5).as_bytes()).assert_success();
    assert_eq!(super::changes(&dir.read("out.jsonl")).len(), 1);
}

#[test]
fn help_and_version_exit_with_0_and_show_examples() {
    let dir = TestDir::new();
    for (args, parts) in [
        (&["--help"][..], &["run", "generate", "demo"][..]),
        (&["run", "--help"], &["Examples:", "deltarec run --input events.jsonl.gz", "--clock wall", "Exit codes: 0"]),
        (&["generate", "--help"], &["Examples:", "deltarec generate --events 100000 --seed 7 --output", "--rate"]),
        (&["demo", "--help"], &["Example", "deltarec demo --events"]),
    ] {
        let done = dir.deltarec(args).assert_success();
        for part in parts {
            assert!(done.stdout.contains(part), "{part:?} is missing in:\n{}", done.stdout);
        }
        assert!(!done.stdout.contains("[OPTIONS] [OPTIONS]"), "{}", done.stdout);
        // An example that is wrapped cannot be copied.
        assert!(done.stdout.lines().all(|line| line.trim() != "\\"), "{}", done.stdout);
        assert_eq!(done.stderr, "");
    }
    let version = dir.deltarec(&["--version"]).assert_success().stdout;
    assert_eq!(version, format!("deltarec {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn quiet_prints_nothing_and_the_demo_prints_lists() {
    let dir = TestDir::new();
    dir.write("good.csv", "user,item,action,ts\nu,i,view,5\n");
    assert_eq!(dir.run("--input good.csv --quiet").assert_success().stderr, "");
    let demo = dir.deltarec(&["demo", "--events", "20000"]).assert_success();
    assert!(demo.stdout.lines().count() > 10, "{}", demo.stdout);
}

/// With `--log-format json` every line on stderr is a JSON record: warnings, the shutdown message, and the summary.
#[test]
fn json_logs_are_one_record_a_line() {
    let dir = TestDir::new();
    let mut running = dir.start(&["run", "--log-format", "json"]);
    running.send(&format!("nonsense\n{}", super::two_shoppers(5)));
    running.wait_for_output(Duration::from_secs(60), "the change", |out| out.contains("butter"));
    running.signal("TERM");
    let done = running.finish_within(Duration::from_secs(60)).assert_success();
    let records: Vec<serde_json::Value> = done.stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let find = |part: &str| {
        let has_message =
            |record: &&serde_json::Value| record["message"].as_str().is_some_and(|text| text.contains(part));
        records.iter().find(has_message).unwrap_or_else(|| panic!("no record with {part:?} in:\n{}", done.stderr))
    };
    let rejected = records.iter().find(|record| record["reason"] == "malformed").unwrap();
    assert_eq!((&rejected["level"], &rejected["span"]["name"]), (&json!("WARN"), &json!("reader")));
    find("shutting down");
    let summary = find("run finished");
    assert_eq!((&summary["events"], &summary["rejected"], &summary["changes"]), (&json!(3), &json!(1), &json!(1)));
    assert_eq!(summary["rejected_by"], "malformed 1");

    let failed = dir.deltarec(&["--log-format", "json", "run", "--input", "none.jsonl"]);
    let record: serde_json::Value = serde_json::from_str(failed.stderr.lines().last().unwrap()).unwrap();
    assert_eq!(record["level"], "ERROR");
    assert!(failed.code != Some(0) && record["message"].as_str().unwrap().contains("none.jsonl"), "{record}");
}
