//! What `fuzz/` asks of the files: whatever stands in them, it is opened or refused.

use std::path::Path;

use super::{FILE, Store, file, frames};

/// The log of a store.
pub fn log(bytes: &[u8]) {
    let path = std::env::temp_dir().join(format!("handlerd-log-{}", uuid::Uuid::new_v4()));
    std::fs::write(&path, bytes).expect("it can be written");
    let found = frames::damage(&path).expect("it can be read");
    // What is cut off at the end was never committed, as far as anybody can tell.
    if found.is_none() && bytes.len() > 32 {
        std::fs::write(&path, &bytes[..bytes.len() - 1]).expect("it can be written");
        assert_eq!(frames::damage(&path).expect("it can be read"), None);
    }
    std::fs::remove_file(&path).expect("it can be removed");
}

/// A whole store, and its log.
pub fn store(database: &[u8], log: &[u8]) {
    let folder = std::env::temp_dir().join(format!("handlerd-store-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir(&folder).expect("a temporary folder");
    open(&folder, database, log);
    std::fs::remove_dir_all(&folder).expect("it can be removed again");
}

fn open(folder: &Path, database: &[u8], log: &[u8]) {
    let path = folder.join(FILE);
    std::fs::write(&path, database).expect("it can be written");
    std::fs::write(file::log_of(&path), log).expect("it can be written");
    if let Ok(store) = Store::open(folder) {
        let _ = store.resources_now("alias");
    }
}
