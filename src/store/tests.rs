//! The store in trouble: work that fails, files that are damaged, foreign or gone, a disk that fails.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime};

use rusqlite::Connection;
use serde_json::json;

use super::*;

const ALIAS: Key<'static> = Key { kind: "alias", owner: "hello", name: "live" };

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// Why it is refused.
#[track_caller]
fn refusal(folder: &Path) -> String {
    match Store::open(folder) {
        Ok(_) => panic!("it was opened"),
        Err(StoreError::Unusable(reason)) => reason,
        Err(other) => panic!("{other:?}"),
    }
}

fn file_of(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().join(FILE)
}

/// A store with so many documents in it, closed again.
async fn filled(documents: usize) -> tempfile::TempDir {
    let folder = folder();
    let store = Store::open(folder.path()).unwrap();
    let filling = "x".repeat(1000);
    store
        .write(move |transaction| {
            for number in 0..documents {
                transaction
                    .prepare_cached("INSERT INTO resources VALUES ('alias', 'hello', ?, ?)")?
                    .execute([number.to_string(), json!({"filling": filling}).to_string()])?;
            }
            Ok(())
        })
        .await
        .unwrap();
    folder
}

#[tokio::test]
async fn work_that_fails_or_panics_takes_nothing_of_the_others_with_it() {
    let folder = folder();
    let store = Store::open(folder.path()).unwrap();
    // Together in one group: all are asked for before the first can be answered.
    let (well, badly, panics, after) = tokio::join!(
        store.put_resource(ALIAS, json!(1)),
        store.write(|transaction| {
            transaction.execute("DELETE FROM resources", [])?;
            transaction.execute("INSERT INTO nowhere VALUES (1)", [])
        }),
        store.write(|transaction| {
            transaction.execute("DELETE FROM resources", [])?;
            if transaction.is_autocommit() { Ok(()) } else { panic!("on purpose") }
        }),
        store.put_resource(Key { name: "next", ..ALIAS }, json!(2)),
    );
    well.unwrap();
    let (badly, panics) = (badly.unwrap_err().to_string(), panics.unwrap_err().to_string());
    assert!(badly.contains("no such table: nowhere"), "{badly}");
    assert!(panics.contains("a bug in handlerd: on purpose"), "{panics}");
    after.unwrap();
    assert_eq!(store.resources("alias", None).await.unwrap().len(), 2);
    assert_eq!(store.trouble(), None);
}

#[tokio::test]
async fn a_caller_that_gives_up_does_not_matter() {
    let folder = folder();
    let store = Store::open(folder.path()).unwrap();
    for number in 0..100 {
        let name = number.to_string();
        let key = Key { name: &name, ..ALIAS };
        tokio::select! {
            biased;
            _ = store.put_resource(key, json!(number)) => {}
            () = std::future::ready(()) => {}
        }
    }
    // What follows is answered, and what was asked for is done before it.
    store.put_resource(ALIAS, json!(1)).await.unwrap();
    assert_eq!(store.resources("alias", None).await.unwrap().len(), 101);
}

#[tokio::test]
async fn what_waits_when_the_store_is_closed_is_still_written() {
    let folder = folder();
    let store = Store::open(folder.path()).unwrap();
    let mut asked = Box::pin(store.put_resource(ALIAS, json!(1)));
    tokio::select! {
        biased;
        _ = &mut asked => {}
        () = std::future::ready(()) => {}
    }
    drop(asked);
    drop(store);
    let store = Store::open(folder.path()).unwrap();
    assert_eq!(store.resource(ALIAS).await.unwrap(), Some(json!(1)));
}

#[test]
fn nobody_else_can_read_it() {
    let folder = folder();
    let mode = |name: &str| std::fs::metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o777;
    let store = Store::open(folder.path()).unwrap();
    assert_eq!([mode("handlerd.db"), mode("handlerd.db-wal"), mode("handlerd.db-shm")], [0o600; 3]);
    drop(store);
    std::fs::set_permissions(file_of(&folder), std::fs::Permissions::from_mode(0o644)).unwrap();
    let _store = Store::open(folder.path()).unwrap();
    assert_eq!([mode("handlerd.db"), mode("handlerd.db-wal")], [0o600; 2]);
}

#[tokio::test]
async fn a_damaged_file_is_refused_by_name_with_what_to_do() {
    type Damage = fn(&mut Vec<u8>);
    let damages: [(&str, Damage); 4] = [
        ("not a database", |bytes| bytes[..100].fill(b'?')),
        ("a page", |bytes| bytes[4096 * 20..4096 * 21].fill(0x5a)),
        ("cut off", |bytes| bytes.truncate(4096 * 15)),
        ("cut off within a page", |bytes| bytes.truncate(4096 * 15 + 100)),
    ];
    for (what, damage) in damages {
        let folder = filled(200).await;
        let path = file_of(&folder);
        let mut bytes = std::fs::read(&path).unwrap();
        assert!(bytes.len() > 4096 * 30, "the log was written back when it was closed");
        damage(&mut bytes);
        std::fs::write(&path, bytes).unwrap();
        let reason = refusal(folder.path());
        assert!(reason.starts_with(&format!("{} is damaged: ", path.display())), "{what}: {reason}");
        assert!(reason.contains("hint: put a backup of it back, or move it away"), "{what}: {reason}");
    }
}

#[tokio::test]
async fn damage_found_beside_the_work_stops_all_writing() {
    let folder = filled(200).await;
    let store = Store::open(folder.path()).unwrap();
    store.put_resource(ALIAS, json!(1)).await.unwrap();
    let path = file_of(&folder);
    let damaged = folder.path().join("damaged.db");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[4096 * 20..4096 * 21].fill(0x5a);
    std::fs::write(&damaged, bytes).unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    let condition = store.0.writer.condition().clone();
    integrity::beside(damaged, move |damage| {
        let _ = condition.damage.set(damage);
        tell.send(()).unwrap();
    });
    told.recv_timeout(Duration::from_secs(30)).unwrap();
    let refused = store.put_resource(ALIAS, json!(2)).await.unwrap_err().to_string();
    assert!(refused.contains("is damaged"), "{refused}");
    assert_eq!(store.trouble(), Some(refused));
    assert_eq!(store.resource(ALIAS).await.unwrap(), Some(json!(1)), "reading goes on");
}

#[test]
fn what_is_no_file_of_ours_is_refused() {
    let folder = folder();
    let path = file_of(&folder);
    std::fs::create_dir(&path).unwrap();
    assert!(refusal(folder.path()).contains("it is no file"));
    std::fs::remove_dir(&path).unwrap();

    drop(Store::open(folder.path()).unwrap());
    let other = Connection::open(&path).unwrap();
    other.pragma_update(None, "user_version", 99).unwrap();
    other.execute_batch("VACUUM").unwrap();
    drop(other);
    let reason = refusal(folder.path());
    assert!(reason.contains("was written by a newer handlerd (its schema is 99"), "{reason}");
    let beside = Store::open_beside(folder.path()).err().unwrap().to_string();
    assert!(beside.contains("is in use by another version of handlerd (its schema is 99"), "{beside}");

    let nowhere = refusal(&folder.path().join("not there"));
    assert!(nowhere.contains("No such file") && nowhere.contains("--state-dir"), "{nowhere}");
}

#[test]
fn two_that_make_it_at_the_same_time_wait_for_each_other() {
    for _ in 0..20 {
        let folder = folder();
        std::thread::scope(|scope| {
            let open = || drop(Store::open(folder.path()).unwrap());
            let both = [scope.spawn(open), scope.spawn(open)];
            for one in both {
                one.join().unwrap();
            }
        });
    }
}

#[tokio::test]
async fn a_program_beside_the_gateway_reads_and_writes() {
    let folder = folder();
    let gateway = Store::open(folder.path()).unwrap();
    let beside = Store::open_beside(folder.path()).unwrap();
    beside.put_resource(ALIAS, json!(1)).await.unwrap();
    assert_eq!(gateway.resource(ALIAS).await.unwrap(), Some(json!(1)));
    gateway.put_resource(ALIAS, json!(2)).await.unwrap();
    assert_eq!(beside.resource(ALIAS).await.unwrap(), Some(json!(2)));
}

#[tokio::test]
async fn a_file_that_was_deleted_takes_nothing_more() {
    let folder = folder();
    let store = Store::open(folder.path()).unwrap();
    store.put_resource(ALIAS, json!(1)).await.unwrap();
    std::fs::remove_file(file_of(&folder)).unwrap();
    let refused = store.put_resource(ALIAS, json!(2)).await.unwrap_err().to_string();
    assert!(refused.contains("was deleted or replaced while handlerd runs"), "{refused}");
}

#[tokio::test]
async fn the_log_does_not_grow_with_what_is_written() {
    let folder = folder();
    let store = Store::open(folder.path()).unwrap();
    for _ in 0..60 {
        let filling = json!("x".repeat(1_000_000));
        store.put_resource(ALIAS, filling).await.unwrap();
    }
    let log = std::fs::metadata(folder.path().join("handlerd.db-wal")).unwrap().len();
    assert!(log < 20_000_000, "{log}");
}

#[tokio::test]
async fn what_is_old_or_too_much_is_deleted_and_the_file_shrinks() {
    let folder = folder();
    let store = Store::open(folder.path()).unwrap();
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    store
        .write(|transaction| {
            transaction.execute_batch("CREATE TABLE dead (since INTEGER, finished INTEGER, event BLOB)")?;
            for second in 0..3000_i64 {
                transaction
                    .prepare_cached("INSERT INTO dead VALUES (?, ?, zeroblob(2000))")?
                    .execute([(1_000_000 - second) * 1000, i64::from(second != 2999)])?;
            }
            Ok(())
        })
        .await
        .unwrap();
    let kept = retention::Kept {
        table: "dead",
        which: "finished",
        since: "since",
        size: "length(event)",
        longest: Duration::from_secs(2000),
        most_rows: 10_000,
        most_bytes: u64::MAX,
    };
    let left = async || {
        let sql = "SELECT count(*), min(since) / 1000 FROM dead WHERE finished";
        store
            .read(|connection| connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))))
            .await
            .unwrap()
    };
    let pages =
        || store.read_now(|connection| connection.query_row("PRAGMA page_count", [], |row| row.get(0)));
    let before: i64 = pages().unwrap();
    assert_eq!(store.retain(kept, now).await.unwrap(), 998, "older than the limit, and finished");
    assert_eq!(left().await, (2001, 998_000));
    assert_eq!(store.retain(retention::Kept { most_rows: 1500, ..kept }, now).await.unwrap(), 501);
    assert_eq!(left().await, (1500, 998_501));
    assert_eq!(store.retain(retention::Kept { most_bytes: 1_000_000, ..kept }, now).await.unwrap(), 1000);
    assert_eq!(left().await, (500, 999_501));

    let cleaned = store.keep_house(now).await.unwrap();
    let after: i64 = pages().unwrap();
    assert!(cleaned.pages > 1000, "{cleaned:?}");
    assert!(before - after >= cleaned.pages as i64, "{before} {after} {cleaned:?}");
    assert_eq!(store.keep_house(now).await.unwrap(), Cleaned::default());
}

/// The files of a folder, as they are at this moment.
pub fn copy_files(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(|entry| entry.unwrap()) {
        if !entry.file_name().to_string_lossy().ends_with("-shm") {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}
