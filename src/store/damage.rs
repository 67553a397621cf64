//! Bits that flip and files that are cut, anywhere: what was kept is there as it was, or somebody is told.

use std::path::{Path, PathBuf};

use rusqlite::Connection;
use serde_json::{Value, json};

use super::{FILE, Key, Store, StoreError, file};

/// Of each kind.
const FLIPS: usize = 200;

/// The same sequence each time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % most
    }
}

fn key(name: &str) -> Key<'_> {
    Key { kind: "event", owner: "damage", name }
}

/// A folder whose store has been written to, and what is in it. `closed`: not as a crash leaves it.
async fn filled(folder: &Path, closed: bool) -> Vec<(String, Value)> {
    let before = folder.join("before");
    std::fs::create_dir(&before).unwrap();
    let store = Store::open(&before).unwrap();
    for number in 0..120_usize {
        let name = number.to_string();
        let size = if number.is_multiple_of(9) { 9000 } else { 60 + number * 7 };
        store.put_resource(key(&name), json!({"n": number, "filling": "y".repeat(size)})).await.unwrap();
        if number % 5 == 4 {
            store.delete_resource(key(&(number - 2).to_string())).await.unwrap();
        }
    }
    let kept = content(&store).await.unwrap();
    let copied = folder.join("kept");
    let open = Some(store).filter(|_| !closed);
    crate::store::tests::copy_files(&before, &copied);
    drop(open);
    kept
}

async fn content(store: &Store) -> Result<Vec<(String, Value)>, StoreError> {
    let all = store.resources("event", None).await?;
    Ok(all.into_iter().map(|resource| (resource.name, resource.document)).collect())
}

/// What somebody gets who opens the store of this folder: `None`: he is told that it is damaged.
async fn opened(folder: &Path) -> Option<Vec<(String, Value)>> {
    let store = match Store::open(folder) {
        Ok(store) => store,
        Err(error) => {
            let said = error.to_string();
            let is_told = ["is damaged: ", "was written by a newer handlerd", "the state cannot be kept in"];
            assert!(is_told.iter().any(|words| said.contains(words)), "{said}");
            return None;
        }
    };
    content(&store).await.ok()
}

/// Each of these changes, on a fresh copy. How many were noticed, and how many did no harm.
async fn after(
    folder: &Path,
    name: &str,
    kept: &[(String, Value)],
    times: usize,
    mut change: impl FnMut(&mut Vec<u8>, &mut Chance) -> String,
    lost: impl Fn(&[(String, Value)], &[(String, Value)]) -> bool,
) -> (usize, usize) {
    let mut chance = Chance(39);
    let (mut noticed, mut harmless) = (0, 0);
    for round in 0..times {
        let damaged = folder.join(format!("damaged-{round}"));
        crate::store::tests::copy_files(&folder.join("kept"), &damaged);
        let path = damaged.join(name);
        let mut bytes = std::fs::read(&path).unwrap();
        let what = change(&mut bytes, &mut chance);
        std::fs::write(&path, bytes).unwrap();
        match opened(&damaged).await {
            None => noticed += 1,
            Some(found) if !lost(kept, &found) => harmless += 1,
            Some(found) => {
                panic!("{what} of {name} has changed {} into {} in silence", kept.len(), found.len())
            }
        }
        std::fs::remove_dir_all(&damaged).unwrap();
    }
    (noticed, harmless)
}

fn flip(bytes: &mut [u8], chance: &mut Chance) -> String {
    let bit = chance.below(bytes.len() * 8);
    bytes[bit / 8] ^= 1 << (bit % 8);
    format!("bit {bit}")
}

fn differ(kept: &[(String, Value)], found: &[(String, Value)]) -> bool {
    kept != found
}

#[tokio::test]
async fn no_bit_of_the_file_flips_in_silence() {
    let folder = tempfile::tempdir().unwrap();
    let kept = filled(folder.path(), true).await;
    let (noticed, harmless) =
        after(folder.path(), FILE, &kept, FLIPS, |bytes, chance| flip(bytes, chance), differ).await;
    println!("{FLIPS} flipped bits of the file: {noticed} noticed, {harmless} without harm, 0 in silence");
    assert!(noticed > FLIPS / 2, "{noticed}");
}

#[tokio::test]
async fn the_file_is_not_cut_in_silence() {
    let folder = tempfile::tempdir().unwrap();
    let kept = filled(folder.path(), true).await;
    let cut = |bytes: &mut Vec<u8>, chance: &mut Chance| {
        let length = 1 + chance.below(bytes.len() - 1);
        bytes.truncate(length);
        format!("cut to {length} bytes")
    };
    let (noticed, _) = after(folder.path(), FILE, &kept, 60, cut, differ).await;
    assert_eq!(noticed, 60);
}

/// Only of the last commit it cannot be known whether it ever was one.
#[tokio::test]
async fn no_bit_of_the_log_flips_in_silence() {
    let folder = tempfile::tempdir().unwrap();
    let kept = filled(folder.path(), false).await;
    let name = format!("{FILE}-wal");
    let lost = |kept: &[(String, Value)], found: &[(String, Value)]| {
        let gone = kept.iter().filter(|one| !found.contains(one)).count();
        let new = found.iter().filter(|one| !kept.contains(one)).count();
        // The last thing that was done was to delete one: it is there again.
        gone > 1 || new > 1
    };
    let (noticed, harmless) =
        after(folder.path(), &name, &kept, FLIPS, |bytes, chance| flip(bytes, chance), lost).await;
    println!("{FLIPS} flipped bits of the log: {noticed} noticed, {harmless} without harm, 0 in silence");
    assert!(noticed > FLIPS / 2, "{noticed}");
}

#[tokio::test]
async fn a_file_of_an_older_handlerd_gets_checksums() {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join(FILE);
    // As it was made before.
    let old = Connection::open(&path).unwrap();
    old.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(())).unwrap();
    old.execute_batch("CREATE TABLE was_there (x); INSERT INTO was_there VALUES (zeroblob(20000))").unwrap();
    drop(old);
    let store = Store::open(folder.path()).unwrap();
    store.put_resource(key("1"), json!("x".repeat(10_000))).await.unwrap();
    drop(store);
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(bytes[20], 8, "each page has room for one");
    let without = bytes.chunks(4096).filter(|page| page[4088..] == [0; 8]).count();
    assert_eq!(without, 0, "of {} pages", bytes.len() / 4096);

    // Any program can read it, and what a program copies is believed.
    let copy = tempfile::tempdir().unwrap();
    let plain = Connection::open(&path).unwrap();
    let size: i64 = plain.query_row("SELECT length(x) FROM was_there", [], |row| row.get(0)).unwrap();
    assert_eq!(size, 20_000);
    plain.backup("main", copy.path().join(FILE), None::<fn(_)>).unwrap();
    plain.execute_batch("INSERT INTO was_there VALUES (1)").unwrap();
    drop(plain);
    assert!(opened(folder.path()).await.is_none(), "another program does not know of checksums");
    Connection::open(&path).unwrap().execute_batch("VACUUM").unwrap();
    for folder in [copy.path(), folder.path()] {
        let store = Store::open(folder).unwrap();
        assert_eq!(content(&store).await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn a_snapshot_is_taken_while_others_write() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let mut writing = Vec::new();
    for number in 0..300 {
        let store = store.clone();
        writing.push(tokio::spawn(async move {
            let name = number.to_string();
            store.put_resource(key(&name), json!("x".repeat(3000))).await.unwrap();
        }));
        if number == 100 {
            for written in writing.drain(..) {
                written.await.unwrap();
            }
        }
    }
    let copies = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().to_owned(), copies.path().join(FILE));
    tokio::task::spawn_blocking(move || assert!(super::backup::copy(&from, &to).unwrap())).await.unwrap();
    for written in writing {
        written.await.unwrap();
    }
    assert_eq!(std::fs::read_dir(copies.path()).unwrap().count(), 1, "one file");
    let copied = Store::open(copies.path()).unwrap();
    let found = content(&copied).await.unwrap().len();
    assert!(found >= 101, "{found}");
    assert_eq!(content(&store).await.unwrap().len(), 300);
}

/// Its log is longer than what is in it: what is left of the time before it began anew means nothing.
#[tokio::test]
async fn a_log_that_began_anew_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let log = file::log_of(&folder.path().join(FILE));
    for round in 0..3 {
        for number in 0..40 {
            let name = number.to_string();
            store.put_resource(key(&name), json!("z".repeat(4000 * (3 - round)))).await.unwrap();
        }
        assert_eq!(super::frames::damage(&log).unwrap(), None, "round {round}");
        let plain = file::connect(&folder.path().join(FILE)).unwrap();
        plain.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(())).unwrap();
    }
    store.put_resource(key("last"), json!(1)).await.unwrap();
    assert!(std::fs::metadata(&log).unwrap().len() > 1_000_000);
    assert_eq!(super::frames::damage(&log).unwrap(), None);
}
