//! Backups of a folder with everything in it, and what is refused.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::*;
use crate::store::{Key, Store};

const ALIAS: Key<'static> = Key { kind: "alias", owner: "hello", name: "live" };

fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// A state folder with something of each kind; its store is open.
async fn state(folder: &Path) -> (PathBuf, Store) {
    let state = folder.join("state");
    std::fs::create_dir(&state).unwrap();
    for kept in
        ["versions/hello/1/code/app.py", "layers/l/1/python/l.py", "layers/l/1.zip", "uploads/hello/a.zip"]
    {
        write(&state.join(kept), kept);
    }
    for kept in ["audit.log", "credentials", "events/hello/one.json", "tls/key.pem", "of/a/later/handlerd"] {
        write(&state.join(kept), kept);
    }
    for not in [
        "bytecode/x.pyc",
        "interpreters.json",
        "lock",
        "packages/p/x.py",
        "tmp/1-x/f",
        "logs/hello/1",
        "trash/x",
    ] {
        write(&state.join(not), not);
    }
    write(&state.join("versions/hello/.half-2/code/app.py"), "half");
    std::os::unix::fs::symlink("/of/its/environment", state.join("versions/hello/1/code/.venv")).unwrap();
    let closed = std::fs::Permissions::from_mode(0o400);
    std::fs::set_permissions(state.join("versions/hello/1/code/app.py"), closed).unwrap();
    let store = Store::open(&state).unwrap();
    store.put_resource(ALIAS, json!({"version": 1})).await.unwrap();
    (state, store)
}

#[tokio::test]
async fn all_that_cannot_be_made_again_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let (state, store) = state(folder.path()).await;
    let file = folder.path().join("backup.zip");
    let made = make(&state, &file).unwrap();
    assert_eq!(made.bytes, std::fs::metadata(&file).unwrap().len());
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    // What comes later is not in it.
    store.put_resource(ALIAS, json!({"version": 2})).await.unwrap();

    let back = folder.path().join("new/.handlerd");
    let restored = restore(&file, &back).unwrap();
    assert_eq!(restored.files, made.files);
    let list = |folder: &Path| {
        let mut names: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    let kept =
        ["audit.log", "credentials", "events", "handlerd.db", "layers", "of", "tls", "uploads", "versions"];
    assert_eq!(list(&back), kept);
    assert_eq!(list(&back.join("versions/hello")), ["1"]);
    let code = back.join("versions/hello/1/code");
    assert_eq!(std::fs::metadata(code.join("app.py")).unwrap().permissions().mode() & 0o777, 0o400);
    assert_eq!(std::fs::read_link(code.join(".venv")).unwrap(), Path::new("/of/its/environment"));
    assert_eq!(std::fs::metadata(&back).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(list(folder.path()), ["backup.zip", "new", "state"], "nothing is left half done");

    let again = Store::open(&back).unwrap();
    assert_eq!(again.resource(ALIAS).await.unwrap(), Some(json!({"version": 1})));
    drop(store);
}

#[tokio::test]
async fn nothing_is_replaced_and_nothing_half_done_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let (state, _store) = state(folder.path()).await;
    let refused = |file: &Path| make(&state, file).unwrap_err().to_string();
    let file = folder.path().join("backup.zip");
    make(&state, &file).unwrap();
    assert!(refused(&file).contains("backup.zip exists already\nhint: "), "{}", refused(&file));
    assert!(refused(&state.join("b.zip")).contains("lies in the folder that it would be a backup of"));
    assert!(refused(&folder.path().join("no/b.zip")).contains("No such file"));
    let nothing = make(&folder.path().join("other"), &file).unwrap_err().to_string();
    assert!(nothing.contains("there is nothing to keep in"), "{nothing}");

    let refused = |file: &Path, into: &Path| restore(file, into).unwrap_err().to_string();
    assert!(refused(&file, &state).contains("there is something in"), "{}", refused(&file, &state));
    let into = folder.path().join("into");
    assert!(refused(&folder.path().join("none"), &into).contains("No such file"));
    std::fs::write(folder.path().join("text"), "no backup at all".repeat(100)).unwrap();
    let no_backup = refused(&folder.path().join("text"), &into);
    assert!(
        no_backup.contains("is no backup that can be restored") && no_backup.contains("hint: "),
        "{no_backup}"
    );
    let other = folder.path().join("other.zip");
    let about = |about: &str| {
        let _ = std::fs::remove_file(&other);
        let mut sealing = crate::archive::Sealing::create(&other).unwrap();
        sealing.add_bytes(ABOUT, about.as_bytes()).unwrap();
        sealing.add_bytes("handlerd.db", &[7; 5000]).unwrap();
        sealing.seal().unwrap();
        refused(&other, &into)
    };
    let newer = about(r#"{"format": 9, "handlerd": "7.0", "made": ""}"#);
    assert!(newer.contains("was made by a newer handlerd (7.0)"), "{newer}");
    assert!(about("?").contains("which says what it is"));
    let damaged = about(r#"{"format": 1, "handlerd": "1", "made": ""}"#);
    assert!(
        damaged.contains("is no backup that can be restored: ") && damaged.contains("is damaged"),
        "{damaged}"
    );
    assert!(!into.exists());
    let left: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with('.')), "{left:?}");

    std::fs::create_dir(&into).unwrap();
    restore(&file, &into).expect("an empty folder may be there");
}

#[tokio::test]
async fn a_backup_of_which_a_byte_was_changed_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (state, _store) = state(folder.path()).await;
    let (file, into) = (folder.path().join("backup.zip"), folder.path().join("into"));
    make(&state, &file).unwrap();
    let bytes = std::fs::read(&file).unwrap();
    // The first and last of them, where a zip file says what it is, and each 97th.
    let ends = (0..200).chain(bytes.len() - 400..bytes.len());
    for index in ends.chain((200..bytes.len() - 400).step_by(97)) {
        let mut changed = bytes.clone();
        changed[index] ^= 1 << (index % 8);
        std::fs::write(&file, &changed).unwrap();
        let refused = restore(&file, &into).expect_err("a byte was changed").to_string();
        assert!(refused.contains("is no backup that can be restored: "), "{index}: {refused}");
        assert!(!into.exists());
    }
}

#[tokio::test]
async fn a_damaged_store_is_not_taken_for_a_backup() {
    let folder = tempfile::tempdir().unwrap();
    let (state, store) = state(folder.path()).await;
    for number in 0..100 {
        let name = number.to_string();
        store.put_resource(Key { name: &name, ..ALIAS }, json!("x".repeat(1000))).await.unwrap();
    }
    drop(store);
    let file = state.join("handlerd.db");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[4096 * 12 + 2000] ^= 4;
    std::fs::write(&file, bytes).unwrap();
    let refused = make(&state, &folder.path().join("backup.zip")).unwrap_err().to_string();
    assert!(refused.contains("handlerd.db is damaged: "), "{refused}");
    assert!(!folder.path().join("backup.zip").exists());
}
