//! Of expressions: what is accepted, and when it is due.

use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Expression {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The due times behind one moment, in UTC.
fn due(text: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
    let (expression, zone) = (parse(text), time_zone(Some(zone)).unwrap());
    let begin = time(after);
    let next = |time: &Timestamp| expression.next_after(*time, begin, &zone);
    std::iter::successors(next(&begin), next).take(count).map(|due| due.to_string()).collect()
}

#[test]
fn accepts_what_aws_accepts() {
    for text in [
        "rate(1 minute)",
        "rate(5 minutes)",
        "rate(1 hour)",
        "rate(12 hours)",
        "rate(1 day)",
        "rate(7 days)",
        "cron(0 10 * * ? *)",
        "cron(15 12 * * ? *)",
        "cron(0 18 ? * MON-FRI *)",
        "cron(0 8 1 * ? *)",
        "cron(0/15 * * * ? *)",
        "cron(0/10 * ? * MON-FRI *)",
        "cron(0/5 8-17 ? * MON-FRI *)",
        "cron(5,35 14 * * ? *)",
        "cron(15 10 ? * 6L 2002-2005)",
        "cron(0 2 ? * SAT#3 *)",
        "cron(* * ? * SAT#3 *)",
        "cron(0/5 5 ? JAN 1-5 2022)",
        "cron(0 0 L * ? *)",
        "cron(0 0 3W * ? *)",
        "cron(0 0 ? * L *)",
        "at(2026-11-22T10:00:00)",
    ] {
        assert_eq!(parse(text).text, text);
    }
}

#[test]
fn refuses_what_aws_refuses() {
    for text in [
        "",
        "rate",
        "rate(10 seconds)",
        "rate(1 minutes)",
        "rate(10 minute)",
        "rate(10 years)",
        "rate()",
        "rate(10)",
        "rate(foo minutes)",
        "rate(0 minutes)",
        "rate(-10 minutes)",
        "rate(+10 minutes)",
        "rate(10 MINUTES)",
        "rate( 10 minutes )",
        "rate(10  minutes)",
        " rate(10 minutes)",
        "rate(10 minutes) ",
        "RATE(10 minutes)",
        "rate(99999999999 days)",
        "rate(4000000000 days)",
        "cron(0 1 * * * *)",
        "cron(0 1 ? * ? *)",
        "cron(7 20 * * NOT *)",
        "cron(INVALID)",
        "cron(0 dummy ? * MON-FRI *)",
        "cron(71 8 1 * ? *)",
        "cron(0 24 1 * ? *)",
        "cron(0 8 0 * ? *)",
        "cron(0 8 32 * ? *)",
        "cron(0 8 ? * 0 *)",
        "cron(0 8 ? * 8 *)",
        "cron(0 8 1 13 ? *)",
        "cron(0 8 1 0 ? *)",
        "cron(0 8 1 * ? 1969)",
        "cron(0 8 1 * ? 2200)",
        "cron(0 8 1 * ?)",
        "cron(0 0 8 1 * ? *)",
        "cron(0/0 8 1 * ? *)",
        "cron(,5 8 1 * ? *)",
        "cron(5-1 8 1 * ? *)",
        "cron(? 8 1 * ? *)",
        "cron(0 8 ? * 3#6 *)",
        "cron(0 8 ? * 3#1,6#3 *)",
        "cron(0 8 W * ? *)",
        "cron(0 8 L#2 * ? *)",
        "cron(@daily)",
        "at(2026-11-22)",
        "at(2026-11-22T10:00)",
        "at(2026-11-22T10:00:00Z)",
        "at(2026-02-30T10:00:00)",
        "at()",
        "every day",
    ] {
        assert!(text.parse::<Expression>().is_err(), "{text}");
    }
}

#[test]
fn rates_count_from_their_beginning() {
    assert_eq!(
        due("rate(5 minutes)", "UTC", "2026-11-22T10:00:07Z", 2),
        ["2026-11-22T10:05:07Z", "2026-11-22T10:10:07Z"]
    );
    let rate = parse("rate(1 day)");
    let begin = time("2026-11-22T10:00:00Z");
    let next = |after: &str| rate.next_after(time(after), begin, &TimeZone::UTC).unwrap().to_string();
    // The clock was put back to before the beginning.
    assert_eq!(next("2020-01-01T00:00:00Z"), "2026-11-23T10:00:00Z");
    assert_eq!(next("2026-11-23T09:59:59.999Z"), "2026-11-23T10:00:00Z");
    assert_eq!(next("2026-11-23T10:00:00Z"), "2026-11-24T10:00:00Z");
    assert_eq!(next("2026-11-23T10:00:00.001Z"), "2026-11-24T10:00:00Z");
}

#[test]
fn crons_have_their_days() {
    let from = "2026-11-22T10:00:00Z";
    // A Sunday.
    assert_eq!(due("cron(0 18 ? * MON-FRI *)", "UTC", from, 1), ["2026-11-23T18:00:00Z"]);
    assert_eq!(due("cron(0 18 ? * 2-6 *)", "UTC", from, 1), ["2026-11-23T18:00:00Z"]);
    assert_eq!(due("cron(0 18 ? * 1 *)", "UTC", from, 1), ["2026-11-22T18:00:00Z"]);
    assert_eq!(
        due("cron(0/20 10 * * ? *)", "UTC", from, 3),
        ["2026-11-22T10:20:00Z", "2026-11-22T10:40:00Z", "2026-11-23T10:00:00Z"]
    );
    assert_eq!(
        due("cron(0 2 ? * SAT#3 *)", "UTC", from, 2),
        ["2026-12-19T02:00:00Z", "2027-01-16T02:00:00Z"]
    );
    assert_eq!(due("cron(0 0 ? * 6L *)", "UTC", from, 2), ["2026-11-27T00:00:00Z", "2026-12-25T00:00:00Z"]);
    assert_eq!(
        due("cron(0 0 L * ? *)", "UTC", from, 4)[3],
        "2027-02-28T00:00:00Z",
        "the last day of a month"
    );
    assert_eq!(due("cron(0 0 ? * L *)", "UTC", from, 1), ["2026-11-28T00:00:00Z"]);
    // The 5th of December 2026 is a Saturday, the 3rd of January 2027 a Sunday.
    assert_eq!(due("cron(0 0 5W 12 ? *)", "UTC", from, 1), ["2026-12-04T00:00:00Z"]);
    assert_eq!(due("cron(0 0 3W 1 ? *)", "UTC", from, 1), ["2027-01-04T00:00:00Z"]);
    assert_eq!(due("cron(0 0 29 2 ? *)", "UTC", from, 2), ["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"]);
    assert!(due("cron(15 10 ? * 6L 2002-2005)", "UTC", from, 1).is_empty());
    assert!(due("cron(0 0 30 2 ? *)", "UTC", from, 1).is_empty());
}

#[test]
fn a_time_that_the_clocks_leave_out_or_show_twice_is_due_once() {
    // Berlin, 2026: from 02:00 to 03:00 on 29 March (01:00 UTC), back on 25 October.
    let daily = "cron(30 2 * * ? *)";
    assert_eq!(
        due(daily, "Europe/Berlin", "2026-03-27T12:00:00Z", 3),
        ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]
    );
    assert_eq!(
        due(daily, "Europe/Berlin", "2026-10-24T12:00:00Z", 2),
        ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]
    );
    // Half of the hour that is left out comes to the same moment as what follows.
    assert_eq!(
        due("cron(0/30 * * * ? *)", "Europe/Berlin", "2026-03-29T00:29:00Z", 3),
        ["2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"]
    );
    assert_eq!(
        due("at(2026-03-29T02:30:00)", "Europe/Berlin", "2026-01-01T00:00:00Z", 2),
        ["2026-03-29T01:00:00Z"]
    );
    assert_eq!(
        due("at(2026-10-25T02:30:00)", "Europe/Berlin", "2026-01-01T00:00:00Z", 2),
        ["2026-10-25T00:30:00Z"]
    );
    // A whole day was left out at the date line.
    assert_eq!(
        due("cron(0 12 30 12 ? 2011)", "Pacific/Apia", "2011-12-01T00:00:00Z", 2),
        ["2011-12-30T10:00:00Z"]
    );
}

#[test]
fn people_are_told() {
    assert_eq!(parse("rate(1 hour)").describe(), "every hour");
    assert_eq!(parse("rate(5 minutes)").describe(), "every 5 minutes");
    insta::assert_snapshot!(
        ["0 10 * * ? *", "0/15 * * * ? *", "0 18 ? * MON-FRI *", "0 0 ? * 6L *", "0 0 3W * ? *"]
            .map(|fields| parse(&format!("cron({fields})")).describe())
            .join("\n"),
        @r"
    At 10:00.
    At every 15 minutes.
    At 18:00, on Monday, Tuesday, Wednesday, Thursday, and Friday.
    At 00:00, on the last Friday of the month.
    At 00:00, on the weekday nearest day 3.
    "
    );
    assert!(time_zone(Some("Europe/Nowhere")).unwrap_err().contains("Europe/Nowhere"));
}

fn expressions() -> impl Strategy<Value = Expression> {
    let minutes = prop_oneof!["[0-5]?[0-9]", "[0-5]?[0-9]/[1-9]", Just("*".to_owned())];
    let hours = prop_oneof!["[01]?[0-9]", "[01]?[0-9]/[1-9]", Just("*".to_owned())];
    let days = prop_oneof![
        "[1-9]".prop_map(|day| format!("{day} * ?")),
        "[1-9]W".prop_map(|day| format!("{day} * ?")),
        "[1-7]#[1-5]".prop_map(|day| format!("? * {day}")),
        "[1-7]L".prop_map(|day| format!("? * {day}")),
        "[1-7]".prop_map(|day| format!("? * {day}")),
        "[1-9]|1[0-2]".prop_map(|month| format!("* {month} ?")),
        Just("L * ?".to_owned()),
        Just("* * ?".to_owned()),
    ];
    let cron = (minutes, hours, days)
        .prop_map(|(minutes, hours, days)| parse(&format!("cron({minutes} {hours} {days} *)")));
    let rate = (2u32..5000).prop_map(|count| parse(&format!("rate({count} minutes)")));
    prop_oneof![4 => cron, 1 => rate]
}

fn zones() -> impl Strategy<Value = TimeZone> {
    proptest::sample::select(vec![
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "Australia/Lord_Howe",
        "Pacific/Apia",
        "Asia/Kathmandu",
    ])
    .prop_map(|name| time_zone(Some(name)).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// One after the other, each later than the one before, whatever the clocks do; and the last
    /// of them is found without going through all.
    #[test]
    fn due_times_only_grow(
        expression in expressions(),
        zone in zones(),
        start in 1_300_000_000i64..2_000_000_000,
        step in 1i64..100_000,
    ) {
        let start = Timestamp::from_second(start).unwrap();
        let mut after = start;
        let mut all = Vec::new();
        for _ in 0..40 {
            let Some(next) = expression.next_after(after, start, &zone) else { break };
            prop_assert!(next > after);
            // Nothing lies between: asked from anywhere in between, the answer is the same.
            let between = after + next.duration_since(after) / 2;
            prop_assert_eq!(expression.next_after(between, start, &zone), Some(next));
            all.push(next);
            after = next;
        }
        if let Some(until) = all.last().map(|last| *last - SignedDuration::from_secs(step)) {
            let expected = all.iter().rev().find(|due| **due <= until).copied();
            prop_assert_eq!(expression.last_between(start, until, start, &zone), expected);
        }
    }

    /// Every due time of a cron in UTC shows its minute and hour.
    #[test]
    fn any_text_is_taken_or_refused(text in "(rate|cron|at)?\\(?[0-9A-Z?*/#,LW -]{0,24}\\)?") {
        if let Ok(expression) = text.parse::<Expression>() {
            expression.next_after(Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH, &TimeZone::UTC);
            expression.describe();
        }
    }
}
