use connectors::{Format, InputOptions};
use schema::{Position, Reason};

use crate::support::{Outcome, Owned, columns, filtered, json, line_of, read, source};

/// The reason why a line is rejected.
fn reason(line: impl AsRef<[u8]>) -> Reason {
    let mut outcome = json(line);
    assert!(outcome.events.is_empty(), "{:?}", outcome.events);
    assert_eq!(outcome.rejected.len(), 1);
    outcome.rejected.remove(0).reason
}

fn with(user: &str, item: &str, action: &str, ts: &str) -> String {
    format!(r#"{{"user":{user},"item":{item},"action":{action},"ts":{ts}}}"#)
}

#[test]
fn reads_events() {
    let outcome = json(
        "{\"user\":\"u1\",\"item\":\"p9\",\"action\":\"click\",\"ts\":1763900000000}\n\
         { \"ts\" : 5, \"dwell_ms\" : -7, \"x\" : {\"user\":[1]}, \"action\":\"watch\", \"item\":77, \"user\":\"\\u54c1\\\"\" }",
    );
    assert!(outcome.rejected.is_empty());
    let [first, second] = &outcome.events[..] else { panic!("{:?}", outcome.events) };
    assert_eq!((first.user.as_str(), first.item.as_str(), first.action.as_str()), ("u1", "p9", "click"));
    assert_eq!((first.ts, first.dwell_ms), (1_763_900_000_000, None));
    assert_eq!(first.position, Position::Line { line: 1, byte: 0 });
    assert_eq!((second.user.as_str(), second.item.as_str()), ("品\"", "77"));
    assert_eq!((second.ts, second.dwell_ms), (5, Some(-7)));
    assert_eq!(second.position, Position::Line { line: 2, byte: 62 });
}

#[test]
fn names_are_strings_or_integers() {
    let outcome = json(with("18446744073709551615", "-3", "\"pv\"", "0"));
    assert_eq!(outcome.events[0].user, "18446744073709551615");
    assert_eq!(outcome.events[0].item, "-3");
    for bad in ["1.5", "true", "null", "[1]", "{}", "9007199254740992.0", "1e300"] {
        for line in [with(bad, "1", "\"a\"", "1"), with("1", bad, "\"a\"", "1")] {
            assert!(matches!(reason(&line), Reason::WrongType { .. }), "{line}");
        }
    }
    assert_eq!(reason(with("\"\"", "1", "\"a\"", "1")), Reason::EmptyName { field: "user" });
    let long = format!("\"{}\"", "x".repeat(513));
    assert_eq!(reason(with("1", &long, "\"a\"", "1")), Reason::LongName { field: "item", bytes: 513 });
    assert_eq!(json(with(&format!("\"{}\"", "x".repeat(512)), "1", "\"a\"", "1")).events.len(), 1);
}

#[test]
fn whole_numbers_are_integers_however_they_are_written() {
    for (number, name) in
        [("123.0", "123"), ("1e3", "1000"), ("-0", "0"), ("12345678901234567890123", "12345678901234567890123")]
    {
        let outcome = json(with(number, number, number, "1.7e12"));
        let event = &outcome.events[0];
        assert_eq!((event.user.as_str(), event.item.as_str(), event.action.as_str()), (name, name, name));
        assert_eq!(event.ts, 1_700_000_000_000);
    }
    let text = reason(with("1", "1", "\"a\"", "1700000000000.5")).to_string();
    assert!(text.contains("found 1700000000000.5"), "{text}");
    let read_csv =
        |ts: &str| read(format!("user,item,action,ts\nu,i,pv,{ts}\n"), Format::Csv, &InputOptions::default());
    for ts in ["1.7e12", "1700000000000.0", "1700000000000"] {
        assert_eq!(read_csv(ts).events[0].ts, 1_700_000_000_000, "{ts}");
    }
    assert_eq!(read_csv("1700000000000.5").codes(), ["wrong_type:ts"]);
}

/// After a record with a decimal number, records are parsed in another way for a while.
#[test]
fn a_record_means_the_same_after_one_with_a_decimal_number() {
    /// With a decimal number in a column of each of the mappings below.
    const DECIMAL: &str = r#"{"user":1.5,"ts":1.5}"#;
    let numbers = ["0", "-0", "7", "-7", "1.0", "1.5", "-1e3", "9007199254740993", "9223372036854775807"];
    let large =
        ["9223372036854775808", "-9223372036854775808", "-9223372036854775809", "123456789012345678901234567890"];
    let others = ["\"u\"", "\"\\u54c1\"", "\"\\ud800\"", "\"7\"", "\"NULL\"", "null", "true", "[1.5]", "{\"a\":1e400}"];
    let bad = ["NaN", "1e400", "-", "01", "\"", "[", ""];
    let values: Vec<&str> = [&numbers[..], &large, &others, &bad].concat();
    let all = ["user=a", "user=a.b", "item=a[]", "item=a[].b", "ts=a:s", "ts=a:us", "ts=a:ns", "ts=a:iso", "ts=a:%s"];
    for given in [&all[..], &["dwell_ms=a", "room=a", "item=user"]].concat() {
        let options = InputOptions { rooms: true, ..columns(given) };
        let filters = filtered(&["a>=1", "a!=x"]).filters;
        for options in [options.clone(), InputOptions { filters, ..options }] {
            for value in &values {
                for value in [(*value).to_owned(), format!("{{\"b\":{value}}}"), format!("[{value},{{\"b\":{value}}}]")]
                {
                    let line = format!(r#"{{"user":1,"item":2,"action":"watch","ts":3,"room":4,"a":{value}}}"#);
                    let read = |text: &str| read(text, Format::JsonLines, &options);
                    let reasons =
                        |outcome: &Outcome| outcome.rejected.iter().map(|rejected| rejected.reason.clone()).collect();
                    let (alone, mut after) = (read(&format!("\n{line}")), read(&format!("{DECIMAL}\n{line}")));
                    after.events.retain(|event| event.line() == 2);
                    after.rejected.retain(|rejected| line_of(rejected.position) == 2);
                    let (alone_reasons, after_reasons): (Vec<Reason>, Vec<Reason>) = (reasons(&alone), reasons(&after));
                    assert_eq!(alone_reasons, after_reasons, "{given}: {line}");
                    let without_position = |outcome: Outcome| {
                        let position = Position::Line { line: 0, byte: 0 };
                        outcome.events.into_iter().map(|event| Owned { position, ..event }).collect::<Vec<_>>()
                    };
                    assert_eq!(without_position(alone), without_position(after), "{given}: {line}");
                }
            }
        }
    }
}

#[test]
fn numbers_in_an_array_keep_their_digits() {
    let line = r#"{"user":1,"action":"a","ts":1,"items":[12345678901234567890123,7,1e3,9007199254740993.0]}"#;
    let outcome = read(line, Format::JsonLines, &columns("item=items[]"));
    let items: Vec<_> = outcome.events.iter().map(|event| event.item.as_str()).collect();
    assert_eq!(items, ["12345678901234567890123", "7", "1000"]);
    let reason = outcome.rejected[0].reason.to_string();
    assert!(reason.ends_with("expected a string or an integer, found 9007199254740993.0"), "{reason}");
}

#[test]
fn an_action_is_a_string_or_an_integer() {
    assert_eq!(json(with("1", "1", "7", "1")).events[0].action, "7");
    for bad in ["1.5", "null", "[]", "true"] {
        assert_eq!(reason(with("1", "1", bad, "1")).code(), "wrong_type:action");
    }
    assert_eq!(reason(with("1", "1", "\"\"", "1")).code(), "missing:action");
    let long = format!("\"{}\"", "x".repeat(513));
    assert_eq!(reason(with("1", "1", &long, "1")).code(), "long_name:action");
}

#[test]
fn a_timestamp_is_an_integer_in_range() {
    assert_eq!(json(with("1", "1", "\"a\"", "9007199254740991")).events[0].ts, (1 << 53) - 1);
    for (bad, ts) in [("-1", -1), ("9007199254740992", 1 << 53), ("18446744073709551615", i128::from(u64::MAX))] {
        assert_eq!(reason(with("1", "1", "\"a\"", bad)), Reason::TimeOutOfRange { ts });
    }
    for absurd in ["1e300", "-1e300", "99999999999999999999999999"] {
        assert_eq!(reason(with("1", "1", "\"a\"", absurd)).code(), "time_out_of_range", "{absurd}");
    }
    for bad in ["1.5", "\"17\"", "null", "true", "[]", "{}"] {
        assert_eq!(reason(with("1", "1", "\"a\"", bad)).code(), "wrong_type:ts", "{bad}");
    }
}

#[test]
fn dwell_is_an_integer_or_absent() {
    let dwell = |dwell: &str| json(format!(r#"{{"user":1,"item":1,"action":"watch","ts":1,"dwell_ms":{dwell}}}"#));
    assert_eq!(dwell("5000").events[0].dwell_ms, Some(5000));
    assert_eq!(dwell("-1").events[0].dwell_ms, Some(-1), "not checked here");
    assert_eq!(dwell("null").events[0].dwell_ms, None);
    for (number, millis) in [("41000.5", 41_000), ("41000.0", 41_000), ("4.1e4", 41_000)] {
        assert_eq!(dwell(number).events[0].dwell_ms, Some(millis), "fractions are cut");
    }
    for bad in ["\"5\"", "18446744073709551615", "1e30", "[]"] {
        assert_eq!(dwell(bad).codes(), ["wrong_type:dwell_ms"], "{bad}");
    }
    // Only the level of a watch depends on it.
    for anything in ["\"\"", "\"N/A\"", "NaN", "[]", "1e30"] {
        let line = format!(r#"{{"user":1,"item":1,"action":"click","ts":1,"dwell_ms":{anything}}}"#);
        assert_eq!(json(line).events[0].dwell_ms, None, "{anything}");
    }
    assert_eq!(dwell("NaN").events[0].dwell_ms, None, "not checked here");
}

#[test]
fn a_missing_field_has_its_name_in_the_input() {
    assert_eq!(reason(r#"{"item":1,"action":"a","ts":1}"#), Reason::Missing { field: "user".into() });
    assert_eq!(reason("{}"), Reason::Missing { field: "user".into() });
    let mapped = read(r#"{"id":1,"item":1,"action":"a"}"#, Format::JsonLines, &columns("user=id,ts=at.time"));
    assert_eq!(mapped.codes(), ["missing:at.time"]);
}

#[test]
fn a_line_that_is_not_an_object_is_malformed() {
    for line in ["[]", "7", "\"x\"", "null", "{", "{\"user\":}", "garbage", "{} {}", "{} x", "{'a':1}", "\u{0}"] {
        assert!(matches!(reason(line), Reason::Malformed { .. }), "{line}");
    }
    assert_eq!(reason("[{}]").to_string(), "malformed record: invalid type: sequence, expected one JSON object");
    let trailing = with("1", "1", "\"a\"", "1") + ",";
    assert_eq!(reason(trailing).to_string(), "malformed record: trailing characters at column 40");
    let deep = format!(r#"{{"user":{}"#, "[".repeat(100_000));
    assert!(matches!(reason(deep), Reason::Malformed { .. }));
}

#[test]
fn numbers_that_are_not_finite_reject_a_record_only_where_they_are_read() {
    for other in ["NaN", "Infinity", "-Infinity", "[NaN,{\"x\":-Infinity}]", "1e400", "\"NaN\""] {
        let line = format!(r#"{{"price":{other},"user":"say \"NaN\"","item":2,"action":"a","ts":3}}"#);
        assert_eq!(json(&line).users(), ["say \"NaN\""], "{line}");
    }
    assert_eq!(reason(with("1", "2", "\"a\"", "NaN")).to_string(), "field `ts` is missing: `NaN` stands for no value");
    assert_eq!(
        reason(with("1", "2", "\"a\"", "-Infinity")).to_string(),
        "field `ts`: expected an integer of milliseconds, found `-Infinity`"
    );
    for malformed in ["{\"user\":Nan}", "{\"user\":NaN", "NaN", "{NaN:1}x", "{\"x\":NaNNaN}"] {
        assert_eq!(reason(malformed).code(), "malformed", "{malformed}");
    }
}

#[test]
fn a_message_about_a_record_is_one_short_line() {
    for record in [format!("\"{}\"", "x".repeat(100_000)), with("1", "1", "\"\u{1b}[31m\"", "\"\\n\\u001b[0m\"")] {
        let text = reason(record).to_string();
        assert!(text.len() < 400 && !text.contains(['\n', '\u{1b}']), "{text}");
    }
}

#[test]
fn a_line_of_many_records_says_that_lines_end_in_cr_alone() {
    let line = with("1", "2", "\"a\"", "3");
    let text = reason(format!("{line}\r{line}\r")).to_string();
    assert!(text.contains("CR alone"), "{text}");
}

#[test]
fn words_for_no_value_are_nobody() {
    for word in InputOptions::NULLS {
        assert_eq!(reason(with(&serde_json::to_string(word).unwrap(), "1", "\"a\"", "1")).code(), "missing:user");
    }
    let mut options = InputOptions::default();
    options.set("null", "-,n/a").unwrap();
    let outcome = read(with("\"n/a\"", "1", "\"a\"", "1"), Format::JsonLines, &options);
    assert!(outcome.rejected[0].reason.to_string().contains("`n/a` stands for no value"));
    assert_eq!(read(with("\"NULL\"", "1", "\"a\"", "1"), Format::JsonLines, &options).users(), ["NULL"]);
    options.set("null", "").unwrap();
    assert_eq!(read(with("\"-\"", "1", "\"a\"", "1"), Format::JsonLines, &options).users(), ["-"]);
}

#[test]
fn a_dot_is_part_of_a_key_or_separates_nested_keys() {
    let options = columns("user=user.id,item=product.id,action=event.action,ts=@timestamp:iso");
    let line = r#"{"user.id":"a","product":{"id":"p1"},"event.action":"click","@timestamp":"2023-11-14T22:13:00Z"}"#;
    let outcome = read(line, Format::JsonLines, &options);
    assert_eq!((outcome.events[0].user.as_str(), outcome.events[0].item.as_str()), ("a", "p1"));
    let options = columns("user=a.b.c.d");
    for nested in [r#"{"a.b":{"c.d":"u"}}"#, r#"{"a":{"b.c":{"d":"u"}}}"#, r#"{"a.b.c.d":"u"}"#] {
        let line = nested.replacen('{', r#"{"item":1,"action":"a","ts":1,"#, 1);
        assert_eq!(read(&line, Format::JsonLines, &options).users(), ["u"], "{line}");
    }
}

#[test]
fn each_element_of_an_array_is_an_event() {
    let options = columns("item=products[].id,action=products[].kind");
    let lines = [
        r#"{"user":"u","ts":1,"products":[{"id":"a","kind":"view"},{"id":2,"kind":"cart"}]}"#,
        r#"{"user":"v","ts":2,"products":[{"id":"a","kind":"view"},{"kind":"cart"},{"id":"c","kind":"view"}]}"#,
        r#"{"user":"w","ts":3,"products":[]}"#,
        r#"{"user":"w","ts":4}"#,
        r#"{"user":"w","ts":5,"products":{"id":"a","kind":"view"}}"#,
    ];
    let outcome = read(lines.join("\n"), Format::JsonLines, &options);
    let items: Vec<_> = outcome.events.iter().map(|event| (event.user.as_str(), event.item.as_str())).collect();
    assert_eq!(items, [("u", "a"), ("u", "2"), ("v", "a"), ("v", "c")]);
    assert_eq!(outcome.codes(), ["missing:products[].id"; 4]);
    let scalars =
        read(r#"{"user":"u","ts":1,"items":["a",7],"action":"a"}"#, Format::JsonLines, &columns("item=items[]"));
    assert_eq!(scalars.events.iter().map(|event| event.item.as_str()).collect::<Vec<_>>(), ["a", "7"]);
    for two in ["item=a[].id,action=b[].kind", "item=a[].b[].c", "item=[].x"] {
        assert!(source(b"", Format::JsonLines, &columns(two)).err().is_some_and(|error| error.is_usage()), "{two}");
    }
}

#[test]
fn invalid_utf8_has_its_own_reason() {
    assert_eq!(reason(b"{\"user\":\"\xff\"}"), Reason::NotUtf8);
    assert_eq!(reason(b"{\"unknown\":\"\xc3\"}"), Reason::NotUtf8);
    let outcome = json(b"\xff\n{\"user\":1,\"item\":2,\"action\":\"a\",\"ts\":3}\n");
    assert_eq!(outcome.rejected[0].record, "\u{fffd}");
    assert_eq!(outcome.events.len(), 1);
}

#[test]
fn the_last_value_of_a_repeated_key_is_used() {
    let outcome = json(r#"{"user":"a","user":"b","item":1,"action":"x","ts":1}"#);
    assert_eq!(outcome.users(), ["b"]);
}

#[test]
fn reads_nested_fields_and_times_in_text() {
    let options = columns("user=payload.user.id,item=payload.item,action=kind,ts=payload.at:iso,dwell_ms=payload.s:s");
    let line = r#"{"kind":"watch","payload":{"at":"2025-11-23T12:00:00Z","user":{"id":"u","x":0},"item":5,"s":1.234}}"#;
    let outcome = read(line, Format::JsonLines, &options);
    assert_eq!(outcome.users(), ["u"]);
    assert_eq!((outcome.events[0].ts, outcome.events[0].dwell_ms), (1_763_899_200_000, Some(1234)));
    let flat = read(r#"{"payload":"x","kind":"a"}"#, Format::JsonLines, &options);
    assert_eq!(flat.codes(), ["missing:payload.user.id"]);
}

#[test]
fn a_named_time_format_accepts_numbers_and_text() {
    let ts = |format: &str, value: &str| {
        let outcome = read(with("1", "1", "\"a\"", value), Format::JsonLines, &columns(&format!("ts=ts{format}")));
        outcome.events.first().map(|event| event.ts).ok_or_else(|| outcome.codes().join(","))
    };
    let wrong = || Err("wrong_type:ts".to_owned());
    assert_eq!(ts("", "\"17\""), wrong());
    assert_eq!(ts(":ms", "\"17\""), Ok(17));
    assert_eq!(ts(":ms", "17"), Ok(17));
    assert_eq!(ts(":s", "1763900000"), Ok(1_763_900_000_000));
    assert_eq!(ts(":s", "1763900000.123"), Ok(1_763_900_000_123));
    assert_eq!(ts(":s", "\"1763900000.1239\""), Ok(1_763_900_000_123));
    assert_eq!(ts(":s", "-0.5"), Err("time_out_of_range".into()));
    assert_eq!(ts(":s", "\"x\""), wrong());
    assert_eq!(ts(":s", "1.7e9"), Ok(1_700_000_000_000));
    assert_eq!(ts(":us", "1763900000123999"), Ok(1_763_900_000_123));
    assert_eq!(ts(":ns", "\"1763900000123999999\""), Ok(1_763_900_000_123));
    assert_eq!(ts(":iso", "5"), wrong());
    assert_eq!(ts(":%Y%m%d", "19700102"), Ok(86_400_000));
    assert_eq!(ts(":%Y%m%d", "{}"), wrong());
}

#[test]
fn a_constant_action_replaces_the_field() {
    let options = InputOptions { action: Some("purchase".into()), ..InputOptions::default() };
    let lines = "{\"user\":1,\"item\":2,\"ts\":3}\n{\"user\":1,\"item\":2,\"ts\":3,\"action\":[]}\n";
    let outcome = read(lines, Format::JsonLines, &options);
    assert_eq!(outcome.events.len(), 2);
    assert!(outcome.events.iter().all(|event| event.action == "purchase"));
}

#[test]
fn filters_follow_the_fields_and_the_first_that_fails_is_the_reason() {
    let options = filtered(&["quantity>0", "shop.country=FR"]);
    let line = |user: &str, rest: &str| format!("{{\"user\":{user},\"item\":1,\"action\":\"a\",\"ts\":1{rest}}}\n");
    let text = [
        line("1", r#","quantity":0.5,"shop":{"country":"FR"}"#),
        line("2", r#","quantity":0,"shop":{"country":"FR"}"#),
        line("3", r#","quantity":"3","shop":{"country":"DE"}"#),
        line("4", ""),
        line("null", ""),
    ]
    .concat();
    let outcome = read(text, Format::JsonLines, &options);
    assert_eq!(outcome.users(), ["1"]);
    let expected =
        ["filtered:quantity>0", "filtered:shop.country=FR", "filtered:quantity>0", "wrong_type:user"].map(String::from);
    assert_eq!(outcome.codes(), expected);
}

#[test]
fn reads_rooms_only_if_the_options_say_so() {
    let rooms = ["\"r7\"", "7", "\"\"", "null", "[]", &format!("\"{}\"", "r".repeat(513))];
    let line =
        |room: &&str| format!(r#"{{"user":1,"item":1,"action":"a","ts":1,"room":{room},"live":{{"id":"x"}}}}"#) + "\n";
    let lines: String = rooms.iter().map(line).collect();
    let asked = InputOptions { rooms: true, ..InputOptions::default() };
    // An invalid room is ignored and does not reject the event.
    assert_eq!(read(&lines, Format::JsonLines, &asked).rooms(), [Some("r7"), Some("7"), None, None, None, None]);
    assert_eq!(json(&lines).rooms(), [None; 6]);
    let mapped = InputOptions { rooms: true, ..columns("room=live.id") };
    assert_eq!(read(&lines, Format::JsonLines, &mapped).rooms(), [Some("x"); 6]);
}
