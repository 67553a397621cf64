//! Results in tables: a SQLite file, a PostgreSQL server.

use std::path::PathBuf;

use handlerd::aws::{Client, Endpoints};
use handlerd::delivery::Delivery;
use handlerd::destination::Destination;

use crate::destinations::{FUNCTION, dead_letter, invoke_later, message, works};
use crate::harness::{eventually, program};
use crate::postgres::{PASSWORD, Postgres, USER, postgres};

fn delivery() -> Delivery {
    Delivery::new(Client::new(Endpoints::default()), PathBuf::from("/"))
}

fn table(url: &str, table: &str) -> Destination {
    Destination::parse(&format!("{url}#{table}")).unwrap()
}

#[tokio::test]
async fn a_record_is_one_row_of_postgres_however_often_it_comes() {
    let Some(server) = postgres("a_record_is_one_row_of_postgres_however_often_it_comes") else { return };
    let delivery = delivery();
    let to = table(&server.url(), "results");
    for request_id in ["a", "b", "a"] {
        delivery.send(&to, &message(request_id)).await.unwrap();
    }
    delivery
        .send(&to, &dead_letter("c", r#"{"zero": "\u0000", "half": "\ud800", "big": 1e400}"#))
        .await
        .unwrap();
    let rows = server.query(
        "SET timezone = 'UTC'; SELECT request_id, version, succeeded, condition, attempts, timestamp, request, \
         response ->> 'text' FROM results ORDER BY request_id",
    );
    let row = "$LATEST|t|Success|1|2026-11-24 23:11:12.345+00|{\"n\":1}|차 & <tea>";
    assert_eq!(rows[..2], [format!("a|{row}"), format!("b|{row}")]);
    assert!(rows[2].starts_with("c||f|||"), "{rows:?}");
    assert!(
        rows[2].contains(r#"{"zero": "\u0000", "half": "\ud800", "big": 1e400}"#),
        "as it was written: {rows:?}"
    );
    assert_eq!(server.query("SELECT DISTINCT function FROM results"), [FUNCTION]);
    assert_eq!(
        server.query("SELECT response ->> 'errorMessage' FROM results WHERE NOT succeeded"),
        ["no luck"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_make_the_table_at_once_all_get_their_row() {
    let Some(server) = postgres("many_who_make_the_table_at_once_all_get_their_row") else { return };
    // Two gateways, as it were, and many records of each.
    let deliveries = [delivery(), delivery()];
    let tasks: Vec<_> = (0..100)
        .map(|number: usize| {
            let (delivery, to) = (deliveries[number % 2].clone(), table(&server.url(), "results"));
            tokio::spawn(async move { delivery.send(&to, &message(&number.to_string())).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert_eq!(server.query("SELECT count(*) FROM results"), ["100"]);
    let connections = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'handlerd'";
    assert_eq!(server.query(connections), ["2"], "one connection each");
}

#[tokio::test]
async fn a_database_that_was_down_is_used_again() {
    let Some(mut server) = postgres("a_database_that_was_down_is_used_again") else { return };
    let delivery = delivery();
    let to = table(&server.url(), "results");
    delivery.send(&to, &message("a")).await.unwrap();
    server.restart();
    delivery.send(&to, &message("b")).await.expect("a connection that broke is made anew at once");
    server.crash();
    let error = delivery.send(&to, &message("c")).await.unwrap_err();
    assert!(
        error.transient && !error.reason.contains("not%26") && !error.reason.contains(PASSWORD),
        "{error}"
    );
    assert!(error.reason.contains(&format!("postgres://{USER}:***@127.0.0.1:{}", server.port)), "{error}");
    server.restart();
    delivery.send(&to, &message("c")).await.unwrap();
    assert_eq!(server.query("SELECT request_id FROM results ORDER BY 1"), ["a", "b", "c"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_somebody_locks_is_waited_for_a_while() {
    let Some(server) = postgres("a_table_that_somebody_locks_is_waited_for_a_while") else { return };
    let delivery = delivery();
    let to = table(&server.url(), "results");
    delivery.send(&to, &message("a")).await.unwrap();
    std::thread::scope(|scope| {
        let holder = scope.spawn(|| {
            server.query("BEGIN; LOCK TABLE results; SELECT pg_sleep(60)");
        });
        let locked = "SELECT 1 FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted AND relation = 'results'::regclass";
        eventually("the table is locked", || !server.query(locked).is_empty());
        let runtime = tokio::runtime::Handle::current();
        let sent = tokio::task::block_in_place(|| runtime.block_on(delivery.send(&to, &message("b"))));
        let error = sent.unwrap_err();
        assert!(error.transient, "{error}");
        server.query("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep%' AND pid <> pg_backend_pid()");
        let _ = holder.join();
    });
    delivery.send(&to, &message("b")).await.unwrap();
}

#[tokio::test]
async fn what_is_wrong_is_told_without_the_password() {
    let Some(server) = postgres("what_is_wrong_is_told_without_the_password") else { return };
    server.query("CREATE TABLE other (id INTEGER); CREATE TABLE keyless (LIKE other)");
    server.query(
        "ALTER TABLE keyless ADD request_id TEXT, ADD function TEXT, ADD version TEXT, ADD succeeded BOOLEAN, \
         ADD condition TEXT, ADD attempts INTEGER, ADD timestamp TIMESTAMPTZ, ADD request JSONB, ADD response JSONB",
    );
    let url = server.url();
    for (to, says) in [
        (table(&url, "other"), "hint: the table has another shape"),
        (table(&url, "keyless"), "hint: the table has another shape"),
        (table(&url.replace("not%26", "wrong"), "results"), "password authentication failed"),
        (table(&url.replace("/postgres", "/nowhere"), "results"), "\"nowhere\" does not exist"),
        (table(&format!("{url}?sslmode=require"), "results"), "server does not support TLS"),
        (table(&format!("{url}?sslmode=maybe"), "results"), "there is no sslmode `maybe`"),
        (table(&format!("{url}?sslcert=x"), "results"), "unknown option `sslcert`"),
        (table("postgres://me:logs@127.0.0.1:nine/app", "results"), "cannot be used: "),
    ] {
        let error = delivery().send(&to, &message("a")).await.unwrap_err();
        assert!(!error.transient && error.reason.contains(says), "{}: {error}", to.shown());
        assert!(!error.reason.contains("logs"), "{error}");
    }
    // With a key, and JSONB in place of JSON, it is as good as ours.
    server.query("ALTER TABLE keyless DROP id, ADD PRIMARY KEY (request_id)");
    delivery().send(&table(&url, "keyless"), &message("a")).await.unwrap();
    assert_eq!(server.query("SELECT response -> 'text' FROM keyless"), ["\"차 & <tea>\""]);
}

#[tokio::test]
async fn a_socket_serves_too() {
    let Some(server) = postgres("a_socket_serves_too") else { return };
    delivery().send(&table(&server.socket_url(), "results"), &message("a")).await.unwrap();
    assert_eq!(server.query("SELECT request_id FROM results"), ["a"]);
}

/// The certificate is made by the test, so nobody vouches for it but the file.
#[tokio::test(flavor = "multi_thread")]
async fn tls_is_asked_for_and_checked_as_sslmode_says() {
    let Some(mut server) = postgres("tls_is_asked_for_and_checked_as_sslmode_says") else { return };
    let Some(certificate) = server.speak_tls() else {
        eprintln!("skipped: tls_is_asked_for_and_checked_as_sslmode_says (openssl cannot be run)");
        return;
    };
    let url = server.url();
    let encrypted = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                     WHERE ssl AND application_name = 'handlerd'";
    for (mode, count) in [("disable", "0"), ("prefer", "1"), ("require", "1")] {
        let delivery = delivery();
        delivery.send(&table(&format!("{url}?sslmode={mode}"), "results"), &message(mode)).await.unwrap();
        assert_eq!(server.query(encrypted), [count], "{mode}");
        drop(delivery);
        eventually("its connection is closed", || {
            server.query("SELECT 1 FROM pg_stat_activity WHERE application_name = 'handlerd'").is_empty()
        });
    }
    let checked = format!("{url}?sslmode=verify-full");
    let error = delivery().send(&table(&checked, "results"), &message("a")).await.unwrap_err();
    assert!(!error.transient && error.reason.contains("certificate"), "{error}");
    let vouched = format!("{checked}&sslrootcert={certificate}");
    delivery().send(&table(&vouched, "results"), &message("a")).await.unwrap();
    let elsewhere = vouched.replace("127.0.0.1", "localhost");
    let error = delivery().send(&table(&elsewhere, "results"), &message("b")).await.unwrap_err();
    assert!(error.reason.contains("certificate"), "it is not in the name of localhost: {error}");
}

// ---- Whole ways

#[tokio::test]
async fn results_gather_in_a_sqlite_file_of_the_project() {
    let server = works(
        "    OnSuccess: {Destination: 'sqlite:data/results.db#results'}\n    OnFailure: {Destination: 'sqlite:data/results.db#results'}\n",
    )
    .start()
    .await;
    let succeeded = invoke_later(&server, r#"{"n": 21}"#).await;
    let failed = invoke_later(&server, r#"{"fails": true}"#).await;
    // Where a project without a template has its root: beside handlers/.
    let file = server.folder().join("data/results.db");
    let rows = || {
        let Ok(database) = rusqlite::Connection::open(&file) else { return Vec::new() };
        let read = || {
            let mut statement = database.prepare(
                "SELECT request_id, succeeded, condition, coalesce(response ->> 'doubled', response ->> 'errorMessage') \
                 FROM results ORDER BY succeeded DESC",
            )?;
            let rows = statement.query_map([], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get::<_, rusqlite::types::Value>(3)?))
            })?;
            rows.collect::<rusqlite::Result<Vec<(String, bool, String, rusqlite::types::Value)>>>()
        };
        read().unwrap_or_default()
    };
    eventually("both have their row", || rows().len() == 2);
    let integer = rusqlite::types::Value::Integer(42);
    let text = rusqlite::types::Value::Text("no luck".to_owned());
    assert_eq!(
        rows(),
        [
            (succeeded, true, "Success".to_owned(), integer),
            (failed, false, "RetriesExhausted".to_owned(), text)
        ]
    );
}

#[tokio::test]
async fn results_gather_in_postgres_even_if_it_was_down() {
    let Some(mut database) = postgres("results_gather_in_postgres_even_if_it_was_down") else { return };
    let server =
        works(&format!("    OnSuccess: {{Destination: '{}#results'}}\n", database.url())).start().await;
    let first = invoke_later(&server, r#"{"n": 1}"#).await;
    let there = |database: &Postgres, request_id: &str| {
        !database.query("SELECT 1 FROM pg_tables WHERE tablename = 'results'").is_empty()
            && !database.query(&format!("SELECT 1 FROM results WHERE request_id = '{request_id}'")).is_empty()
    };
    eventually("the first has its row", || there(&database, &first));
    database.crash();
    let second = invoke_later(&server, r#"{"n": 2}"#).await;
    server.wait_for_terminal(&second);
    let queue = program().arg("queue").current_dir(server.folder()).output().unwrap();
    let queue = String::from_utf8(queue.stdout).unwrap();
    assert!(queue.contains(&format!("to postgres://{USER}:***@")), "{queue}");
    assert!(!queue.contains("not%26for") && !queue.contains(PASSWORD), "{queue}");
    database.restart();
    eventually("the second has its row", || there(&database, &second));
    assert!(!server.terminal().contains("not%26for") && !server.terminal().contains(PASSWORD));
}
