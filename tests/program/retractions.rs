//! Actions that take back others, and skips: what is left of an event is as if it had been that from the beginning.

use std::collections::BTreeMap;

use super::{TestDir, changes, event};

const START: u64 = 1_700_000_000_000;
const HOUR: u64 = 3_600_000;

/// The last lists of all users, with their scores.
type Scored = BTreeMap<String, Vec<(String, i64)>>;

/// The last lists of a run over these lines, in this order.
fn lists(lines: &[String], args: &str) -> Scored {
    let dir = TestDir::new();
    dir.write("x.jsonl", lines.concat());
    let done = dir.run(&format!("--input x.jsonl --set graph.audience=all {args}")).assert_success();
    let done = done.assert_stderr(&[", 0 rejected"]);
    let mut lists = Scored::new();
    for change in changes(&done.stdout) {
        let items = change.items.into_iter().map(|scored| (scored.item, scored.score));
        lists.insert(change.key.to_string(), items.collect());
    }
    lists.retain(|_, items| !items.is_empty());
    lists
}

/// Items of the last list of a user, in alphabetical order.
fn list_of(user: &str, lines: &[String], args: &str) -> Vec<String> {
    let items = lists(lines, args).remove(user).unwrap_or_default();
    let mut items: Vec<String> = items.into_iter().map(|(item, _)| item).collect();
    items.sort();
    items
}

/// A `watch` of this duration.
fn watch(user: &str, item: &str, ts: u64, dwell_ms: u64) -> String {
    event(user, item, "watch", ts).replace('}', &format!(",\"dwell_ms\":{dwell_ms}}}"))
}

/// Three customers who bought the same, and bob, to whom butter and jam are recommended.
fn shop() -> Vec<String> {
    let mut lines = Vec::new();
    for user in ["ann", "cara", "dan"] {
        lines.extend(["bread", "butter", "jam"].map(|item| event(user, item, "purchase", START)));
    }
    lines.push(event("bob", "bread", "view", START));
    lines
}

fn with(lines: &[String], more: &[String]) -> Vec<String> {
    [lines, more].concat()
}

#[test]
fn retracting_actions_are_known_and_their_user_has_done_nothing_else() {
    let lines = [event("bob", "bread", "dislike", START), event("bob", "butter", "unlike", START + 1)];
    assert_eq!(lists(&lines, ""), Scored::new());
    let without_action =
        lines.map(|line| line.replace(r#","action":"dislike""#, "").replace(r#","action":"unlike""#, ""));
    assert_eq!(lists(&without_action, "--action unfollow"), Scored::new());
    let dir = TestDir::new();
    dir.write("x.jsonl", event("bob", "bread", "view", START) + &event("bob", "bread", "unlik", START + 1));
    let done = dir.run("--input x.jsonl").assert_success();
    done.assert_stderr(&["unknown action `unlik`", "[retractions]", "1 rejected"]);
}

#[test]
fn what_is_left_counts_like_an_event_of_that_level() {
    for (action, retraction, left) in [
        ("like", "unlike", "view"),
        ("view", "unlike", "view"),
        ("cart", "remove_from_cart", "click"),
        ("purchase", "return", "view"),
        ("buy", "cancel", "view"),
        // Not taken back: the level is above that of a like.
        ("purchase", "unlike", "purchase"),
    ] {
        let taken_back = event("eve", "butter", action, START + 5);
        let retraction = event("eve", "butter", retraction, START + 9);
        let expected = lists(&with(&shop(), &[event("eve", "butter", left, START + 5)]), "");
        assert!(expected.contains_key("eve"));
        for more in [[taken_back.clone(), retraction.clone()], [retraction, taken_back]] {
            assert_eq!(lists(&with(&shop(), &more), ""), expected, "{more:?}");
        }
    }
}

#[test]
fn a_later_event_counts_again() {
    let like = |ts| event("eve", "butter", "like", ts);
    let lines = [like(START + 5), event("eve", "butter", "unlike", START + 9), like(START + 10)];
    assert_eq!(lists(&with(&shop(), &lines), ""), lists(&with(&shop(), &[like(START + 10)]), ""));
    let lines = [like(START + 5), event("eve", "butter", "dislike", START + 9), like(START + 10)];
    assert_eq!(lists(&with(&shop(), &lines), ""), lists(&with(&shop(), &[like(START + 10)]), ""));
}

#[test]
fn an_item_of_which_nothing_is_left_is_as_if_untouched_and_kept_out() {
    assert_eq!(list_of("bob", &shop(), ""), ["butter", "jam"]);
    // It was not touched before: the dislike only keeps it out.
    let dislike = event("bob", "butter", "dislike", START + 5);
    let lines = with(&shop(), &[dislike, event("eve", "bread", "view", START + 6)]);
    assert_eq!(list_of("bob", &lines, ""), ["jam"]);
    assert_eq!(list_of("eve", &lines, ""), ["butter", "jam"], "it is in the lists of others");
    // The unfollowed item is none of bob's history, and not recommended either.
    let follow = event("bob", "jam", "follow", START + 1);
    let lines = with(&shop(), &[follow, event("bob", "jam", "unfollow", START + 5)]);
    assert_eq!(list_of("bob", &lines, ""), ["butter"]);
    // Nothing is left that a list could come from.
    let lines = with(&shop(), &[event("bob", "bread", "dislike", START + 5)]);
    assert_eq!(list_of("bob", &lines, ""), [""; 0]);
    // Retractions in the configuration, and one that says less.
    let lines = with(&shop(), &[event("bob", "butter", "hide", START + 5)]);
    assert_eq!(list_of("bob", &lines, r#"--set retractions.hide={of="view",leaves=0}"#), ["jam"]);
    assert_eq!(list_of("bob", &lines, r#"--set retractions.hide={of="cart",leaves=1}"#), ["butter", "jam"]);
}

#[test]
fn a_skipped_item_returns_after_an_hour() {
    let skip = START + 5;
    let after = |ms| with(&shop(), &[watch("bob", "butter", skip, 2_999), event("zoe", "tea", "view", skip + ms)]);
    assert_eq!(list_of("bob", &after(0), ""), ["jam"]);
    assert_eq!(list_of("bob", &after(HOUR - 1), ""), ["jam"]);
    assert_eq!(list_of("bob", &after(HOUR), ""), ["butter", "jam"]);
    assert_eq!(list_of("bob", &after(59), "--set graph.skipped=60ms"), ["jam"]);
    assert_eq!(list_of("bob", &after(60), "--set graph.skipped=60ms"), ["butter", "jam"]);
    assert_eq!(list_of("bob", &after(0), "--set input.skip=2999ms"), ["butter", "jam"], "it is not shorter");
    assert_eq!(list_of("bob", &after(0), "--set input.skip=0s"), ["butter", "jam"]);
}

#[test]
fn a_watch_without_a_level_that_is_no_skip_changes_no_list() {
    let lines = with(&shop(), &[watch("bob", "butter", START + 5, 3_000)]);
    assert_eq!(lists(&lines, ""), lists(&shop(), ""));
    assert_eq!(list_of("bob", &lines, ""), ["butter", "jam"]);
}

/// The report of an evaluation of these lines.
fn evaluate(lines: &[String], args: &str) -> serde_json::Value {
    let dir = TestDir::new();
    dir.write("x.jsonl", lines.concat());
    let args = format!("evaluate --quiet --json out.json --input x.jsonl --k 3 --resamples 0 {args}");
    dir.deltarec(&args.split_whitespace().collect::<Vec<_>>()).assert_success();
    serde_json::from_str(&dir.read("out.json")).unwrap()
}

/// Bob likes butter after the others have bought. The events before are for training.
fn with_a_target(before: &[String], after: &[String]) -> Vec<String> {
    with(&with(&shop(), before), &with(&[event("bob", "butter", "like", START + 10)], after))
}

#[test]
fn an_evaluation_predicts_only_events_with_a_level() {
    let before = [watch("bob", "jam", START + 5, 100), watch("bob", "jam", START + 6, 4_000)];
    let after = [event("bob", "butter", "unlike", START + 11), event("bob", "milk", "return", START + 12)];
    let lines = with(&with_a_target(&before, &after), &[event("eve", "bread", "dislike", START + 20)]);
    for (protocol, cases) in [("last", 4), ("prequential", 11), ("time --from 90%", 1), ("sessions --from 0%", 7)] {
        let report = evaluate(&lines, &format!("--protocol {protocol}"));
        assert_eq!(report["lists"], cases, "{protocol}");
        let log = &report["log"];
        let counts = ["events", "users", "items", "retractions", "skips", "ignored", "rejected"].map(|key| &log[key]);
        assert_eq!(counts, [11, 4, 3, 3, 1, 1, 0], "{protocol}: {log}");
    }
}

#[test]
fn an_evaluation_feeds_retractions_and_skips_in_the_order_of_time() {
    let found = |before: &[String], after: &[String], protocol: &str| {
        let report = evaluate(&with_a_target(before, after), &format!("--protocol {protocol}"));
        report["systems"][0]["items"]["new"]["metrics"]["hit_rate@3"]["mean"].as_f64().unwrap() > 0.0
    };
    let skip = [watch("bob", "butter", START + 5, 100)];
    let dislike = [event("bob", "butter", "dislike", START + 5)];
    let later = [event("bob", "butter", "dislike", START + 11)];
    for protocol in ["time --from 90%", "next-visit --gap 9ms"] {
        assert!(found(&[], &[], protocol), "{protocol}");
        assert!(found(&[], &later, protocol), "{protocol}: what happens later is not known");
        assert!(!found(&dislike, &[], protocol), "{protocol}");
        assert!(!found(&skip, &[], protocol), "{protocol}");
    }
}
