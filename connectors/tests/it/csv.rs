use connectors::{Format, InputOptions, OpenError};
use schema::{Position, Reason};

use crate::support::{Owned, columns, csv, filtered, read, source};

const HEADER: &str = "user,item,action,ts\n";

fn rejected(text: &str, options: &InputOptions) -> OpenError {
    source(text.as_bytes(), Format::Csv, options).err().expect("must be rejected")
}

#[test]
fn reads_fields_by_the_names_in_the_header() {
    let outcome = csv("ts,x,action,item,user,dwell_ms\n5,,pv,i1,u1,-3\r\n6,y,buy,i2,u2,\n");
    assert_eq!(outcome.users(), ["u1", "u2"]);
    assert_eq!((outcome.events[0].ts, outcome.events[0].dwell_ms), (5, Some(-3)));
    assert_eq!((outcome.events[1].ts, outcome.events[1].dwell_ms), (6, None));
    assert_eq!(outcome.events[1].position, Position::Line { line: 3, byte: 47 });
    assert!(outcome.rejected.is_empty());
}

#[test]
fn a_quoted_field_may_contain_anything_and_lines_are_counted() {
    let outcome = csv(format!("{HEADER}\"a,\"\"b\"\"\",\"two\nlines\",pv,\"1\"\nu2,i2,pv,2\n"));
    assert_eq!(outcome.users(), ["a,\"b\"", "u2"]);
    assert_eq!(outcome.events[0].item, "two\nlines");
    assert_eq!((outcome.events[0].line(), outcome.events[1].line()), (2, 4));
}

#[test]
fn line_ends_byte_order_marks_and_blank_lines_do_not_matter() {
    let plain = csv("user,item,action,ts\nu1,i1,pv,1\nu2,i2,pv,2\n");
    let other = csv("\u{feff}\r\n\nuser,item,action,ts\r\n\r\n\"u1\",i1,pv,\"1\"\r\n\n\r\nu2,i2,pv,2\r");
    assert_eq!(plain.users(), other.users());
    assert_eq!(other.events[1].ts, 2);
    assert_eq!(other.events.iter().map(Owned::line).collect::<Vec<_>>(), [5, 8]);
    assert!(other.rejected.is_empty(), "{:?}", other.rejected);
}

#[test]
fn invalid_fields_have_the_same_reasons_as_in_json() {
    let outcome = csv(format!(
        "{HEADER},i,pv,1\nu,,pv,1\nu,i,,1\nu,i,pv,\nu,i,pv,1.5\nu,i,pv,x\nu,i,pv,-1\nu,i,pv,9007199254740992\n{},i,pv,1\n",
        "u".repeat(513)
    ));
    let expected = [
        "missing:user",
        "missing:item",
        "missing:action",
        "missing:ts",
        "wrong_type:ts",
        "wrong_type:ts",
        "time_out_of_range",
        "time_out_of_range",
        "long_name:user",
    ];
    assert_eq!(outcome.codes(), expected);
    assert_eq!(outcome.rejected[5].record, "u,i,pv,x");
    assert!(outcome.rejected[5].reason.to_string().contains("found `x`"));
}

#[test]
fn only_mapped_fields_must_be_utf8() {
    let outcome = csv(b"user,item,action,ts,note\nu,i,pv,1,\xff\nu\xff,i,pv,1,x\nu,i,pv,\xff,x\n");
    assert_eq!(outcome.users(), ["u"]);
    assert_eq!(outcome.rejected.len(), 2);
    assert!(outcome.rejected.iter().all(|rejected| rejected.reason == Reason::NotUtf8));
}

#[test]
fn a_record_with_another_number_of_fields_is_malformed() {
    let outcome = csv(format!("{HEADER}u,i,pv\nu,i,pv,1,2\nu,i,pv,1\n"));
    assert_eq!(outcome.events.len(), 1);
    let details: Vec<String> = outcome.rejected.iter().map(|rejected| rejected.reason.to_string()).collect();
    assert_eq!(
        details,
        ["malformed record: 3 fields, the header has 4", "malformed record: 5 fields, the header has 4"]
    );
}

#[test]
fn a_missing_closing_quote_rejects_one_line() {
    let rest = (0..1000).map(|n| format!("u{n},i,pv,{n}\n")).collect::<Vec<_>>().concat();
    // Without another quote in the file.
    let outcome = csv(format!("{HEADER}\"oops,i,pv,1\n{rest}"));
    assert_eq!((outcome.events.len(), outcome.rejected.len()), (1000, 1));
    assert_eq!(outcome.rejected[0].record, "\"oops,i,pv,1");
    assert_eq!(outcome.rejected[0].reason.code(), "malformed");
    assert_eq!(outcome.events[0].line(), 3);
    // The record becomes longer than the limit.
    let options = InputOptions { max_record_bytes: 100, ..InputOptions::default() };
    let outcome = read(format!("{HEADER}u,\"oops,pv,1\n{rest}"), Format::Csv, &options);
    assert_eq!((outcome.events.len(), outcome.rejected.len()), (1000, 1));
    assert_eq!(outcome.rejected[0].reason, Reason::TooLong { limit: 100 });
    // With another quote: in any pair of columns.
    for line in ["\"oops,i,pv,1", "u,i,\"oops,1", "u,i,pv,\"1", "u,\"oops"] {
        for closing in ["\"u\",i,pv,2", "u,\"i\",pv,2", "u,i,pv,\"2\""] {
            let outcome = csv(format!("{HEADER}{line}\n{rest}{closing}\n"));
            assert_eq!((outcome.events.len(), outcome.rejected.len()), (1001, 1), "{line} {closing}");
            assert_eq!(outcome.rejected[0].record, line);
        }
    }
}

#[test]
fn an_empty_file_has_no_events() {
    for text in ["", "\n", "\r\n\n", "\u{feff}", "user,item,action,ts", "user,item,action,ts\n"] {
        let outcome = csv(text);
        assert!(outcome.events.is_empty() && outcome.rejected.is_empty() && outcome.error.is_none(), "{text:?}");
    }
}

#[test]
fn a_missing_column_is_a_usage_error_with_the_header() {
    let error = rejected("user_id,item,action,time\n", &InputOptions::default());
    assert!(error.is_usage());
    let text = error.to_string();
    for part in ["no column `user`, `ts`", "`user_id`, `item`, `action`, `time`", "--columns"] {
        assert!(text.contains(part), "{text}");
    }
    assert!(rejected(HEADER, &columns("dwell_ms=dwell")).is_usage(), "a named column is required");
    assert!(rejected(HEADER, &filtered(&["quantity>0"])).to_string().contains("`quantity`"));
    let error = rejected("user,item,action,ts,user\n", &InputOptions::default());
    assert!(error.is_usage() && error.to_string().contains("twice"), "{error}");
}

#[test]
fn a_constant_action_and_an_action_column_exclude_each_other() {
    let options = InputOptions { action: Some("purchase".into()), ..InputOptions::default() };
    assert!(matches!(rejected(HEADER, &options), OpenError::ActionTwice { .. }));
    let mapped = InputOptions { action: Some("purchase".into()), ..columns("action=kind") };
    assert!(matches!(rejected("user,item,kind,ts\n", &mapped), OpenError::ActionTwice { .. }));
    let outcome = read("user,item,ts\nu,i,1\n", Format::Csv, &options);
    assert_eq!(outcome.events[0].action, "purchase");
    assert!(rejected("user,item,ts\n", &InputOptions::default()).to_string().contains("--action"));
}

#[test]
fn an_invalid_header_is_not_a_usage_error() {
    let options = InputOptions { max_record_bytes: 10, ..InputOptions::default() };
    for (text, options) in [(HEADER, &options), ("\"user,item", &InputOptions::default())] {
        let error = rejected(text, options);
        assert!(!error.is_usage() && error.to_string().contains("header"), "{error}");
    }
}

#[test]
fn maps_and_filters_records() {
    let options = InputOptions {
        filters: vec!["quantity>0".parse().unwrap(), "country!=EIRE".parse().unwrap()],
        action: Some("purchase".into()),
        ..columns("item=code,user=customer,ts=when:%Y-%m-%d %H:%M:%S")
    };
    let text = "code,quantity,when,customer,country\n\
                85123A,6,2010-12-01 08:26:00,17850,France\n\
                85123A,-6,2010-12-01 08:26:00,17850,France\n\
                85123A,6,2010-12-01 08:26:00,,France\n\
                85123A,-6,2010-12-01 08:26:00,,France\n\
                85123A,6,2010-12-01 08:26:00,17850,EIRE\n\
                85123A,,2010-12-01 08:26:00,17850,France\n\
                85123A,6,yesterday,17850,France\n";
    let outcome = read(text, Format::Csv, &options);
    assert_eq!(outcome.users(), ["17850"]);
    assert_eq!((outcome.events[0].ts, outcome.events[0].item.as_str()), (1_291_191_960_000, "85123A"));
    let expected = [
        "filtered:quantity>0",
        "missing:customer",
        "missing:customer",
        "filtered:country!=EIRE",
        "filtered:quantity>0",
        "wrong_type:when",
    ];
    assert_eq!(outcome.codes(), expected);
}

#[test]
fn too_many_columns_are_a_usage_error() {
    let conditions: Vec<String> = (0..20).map(|n| format!("c{n}>0")).collect();
    let conditions: Vec<&str> = conditions.iter().map(String::as_str).collect();
    let error = rejected(HEADER, &filtered(&conditions));
    assert!(matches!(error, OpenError::TooManyColumns { .. }) && error.is_usage());
}

#[test]
fn reads_rooms_only_if_the_options_say_so() {
    let asked = InputOptions { rooms: true, ..InputOptions::default() };
    let text = "user,item,action,ts,room\nu,i,pv,1,r7\nu,i,pv,2,\n";
    assert_eq!(read(text, Format::Csv, &asked).rooms(), [Some("r7"), None]);
    assert_eq!(csv(text).rooms(), [None, None]);
    // A column that is not named may be absent.
    assert_eq!(read(format!("{HEADER}u,i,pv,1\n"), Format::Csv, &asked).rooms(), [None]);
    assert!(rejected(HEADER, &columns("room=live")).is_usage(), "a named column is required");
}

#[test]
fn text_after_a_closing_quote_is_malformed_and_given_up_at_its_line_end() {
    let text = format!(
        "{HEADER}a,\"Weird Al\" Yankovic,click,1\na,12\" vinyl,click,2\na,\"Heroes,click,3\na,O\"Hara,click,4\n\
         a,say \"\"hi\"\",click,5\na,ab\\\"cd,click,6\nb,plain,click,7\n"
    );
    let items = |options: &InputOptions| -> Vec<String> {
        read(&text, Format::Csv, options).events.into_iter().map(|event| event.item).collect()
    };
    let outcome = csv(&text);
    assert_eq!(items(&InputOptions::default()), ["12\" vinyl", "O\"Hara", "say \"\"hi\"\"", "ab\\\"cd", "plain"]);
    assert_eq!(outcome.codes(), ["malformed"; 2]);
    assert!(outcome.rejected[0].reason.to_string().contains("quote=none"), "{}", outcome.rejected[0].reason);
    let mut options = InputOptions::default();
    options.set("quote", "none").unwrap();
    assert_eq!(items(&options).len(), 7);
    assert_eq!(items(&options)[..3], ["\"Weird Al\" Yankovic", "12\" vinyl", "\"Heroes"]);
}

/// Options by their names.
fn options(pairs: &[(&str, &str)]) -> InputOptions {
    let mut options = InputOptions::default();
    for (name, value) in pairs {
        options.set(name, value).unwrap();
    }
    options
}

#[test]
fn a_delimiter_is_any_text() {
    for delimiter in ["semicolon", "tab", "pipe", "::", "space", "&"] {
        let options = options(&[("delimiter", delimiter), ("quote", "'")]);
        let text = match delimiter {
            "semicolon" => ";",
            "tab" => "\t",
            "pipe" => "|",
            "space" => " ",
            other => other,
        };
        let rows = format!("user,item,action,ts\nu1,'a{text}'',\n',pv,1\nu2,i,pv,2\r\n");
        let rows = rows.replace(',', text).replace(&format!("''{text}\n"), "'',\n");
        let outcome = read(rows, Format::Csv, &options);
        assert_eq!(outcome.users(), ["u1", "u2"], "{delimiter}: {:?}", outcome.rejected);
        assert_eq!(outcome.events[0].item, format!("a{text}',\n"));
    }
}

#[test]
fn without_a_header_columns_are_numbers() {
    let ratings = options(&[
        ("delimiter", "::"),
        ("header", "no"),
        ("columns", "user=1,item=2,ts=4:s"),
        ("action", "like"),
        ("where", "3>=2"),
    ]);
    let outcome = read("\n97::1::1::978300760\n97::2::2::978300761\n98::4::1\n", Format::Csv, &ratings);
    assert_eq!((outcome.users(), outcome.events[0].ts, outcome.events[0].line()), (vec!["97"], 978_300_761_000, 3));
    assert_eq!(outcome.codes(), ["filtered:3>=2", "malformed"]);
    let error = source(b"1,2,3\n", Format::Csv, &ratings).err().unwrap().to_string();
    assert!(error.contains("no column `2`, `4`") && error.contains("numbers from 1"), "{error}");
    assert!(read("", Format::Csv, &ratings).events.is_empty());
}

#[test]
fn a_line_with_the_separator_may_precede_the_header() {
    for (line, delimiter) in [("sep=,\n", ","), ("sep=;\r\n", ";"), ("\u{feff}sep=\t\n", "\t")] {
        let text = format!("{line}{HEADER}u,i,pv,1\n").replace(',', delimiter);
        let text = if delimiter == "," { format!("{line}{HEADER}u,i,pv,1\n") } else { text };
        assert_eq!(csv(text).users(), ["u"], "{line:?}");
    }
}

#[test]
fn blanks_around_fields_are_removed_except_inside_quotes() {
    let text = "user, item ,action\t, ts\na, p1 ,click,  1\nb,\t\" p 2 \" , click,2\n";
    let outcome = csv(text);
    assert!(outcome.rejected.is_empty(), "{:?}", outcome.rejected);
    let items: Vec<&str> = outcome.events.iter().map(|event| event.item.as_str()).collect();
    assert_eq!(items, ["p1", " p 2 "]);
    let kept = read("user,item,action,ts\na, p1,click,1\n", Format::Csv, &options(&[("trim", "no")]));
    assert_eq!(kept.events[0].item, " p1");
}

#[test]
fn a_header_with_another_delimiter_is_recognised() {
    for (delimiter, advice) in
        [(";", "delimiter=semicolon"), ("\t", "delimiter=tab"), ("|", "delimiter=pipe"), ("::", "delimiter=::")]
    {
        let text = HEADER.replace(',', delimiter);
        let error = rejected(&text, &InputOptions::default()).to_string();
        assert!(error.contains("looks separated by") && error.contains(advice), "{error}");
    }
    let error = rejected("97,2014-04-07T10:50:09.277Z,21453671,0\n", &InputOptions::default()).to_string();
    assert!(error.contains("header=no"), "{error}");
}

#[test]
fn a_message_lists_the_first_columns_of_a_long_header() {
    let names: Vec<String> = (0..20_000).map(|n| format!("\u{1b}c{n}")).collect();
    let error = rejected(&(names.join(",") + "\n"), &InputOptions::default()).to_string();
    assert!(error.contains("and 19,980 more") && error.len() < 1000 && !error.contains('\u{1b}'), "{error}");
}

#[test]
fn lines_that_end_in_cr_alone_are_an_error_with_advice() {
    let text = "user,item,action,ts\ru,i,pv,1\ru,i,pv,2\r".replace("u,", &"u".repeat(100)).repeat(100);
    for options in [InputOptions::default(), options(&[("header", "no")])] {
        for limit in [1 << 20, 1000] {
            let options = InputOptions { max_record_bytes: limit, ..options.clone() };
            let error = rejected(&text, &options);
            assert!(!error.is_usage() && error.to_string().contains("CR alone"), "{error}");
        }
    }
}
