//! What was taken away is kept for a while: for 30 days, and of larger amounts the latest gigabyte.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// Where folders go in the handlers folder, if the state folder is on another file system; `name` follows.
pub const BESIDE: &str = ".handlerd-trash-";
const FORMAT: &str = "%Y%m%dT%H%M%S%.6fZ";

/// What is kept of it.
#[derive(Debug, Clone, Copy)]
struct Limits {
    age: SignedDuration,
    bytes: u64,
}

const LIMITS: Limits = Limits { age: SignedDuration::from_hours(30 * 24), bytes: 1_000_000_000 };

/// The name under which a folder lies in the trash.
pub fn name(of: &str) -> String {
    format!("{of}-{}", Timestamp::now().strftime(FORMAT))
}

/// Removes what is too old or too much, oldest first. `handlers`: where folders lie that could not be
/// moved to the state folder.
pub fn clean(trash: &Path, handlers: Option<&Path>) {
    /// It may take a while, and one at a time does.
    static AT_WORK: Mutex<()> = Mutex::new(());
    if let Ok(_turn) = AT_WORK.try_lock() {
        clean_to(trash, handlers, LIMITS, Timestamp::now());
    }
}

fn clean_to(trash: &Path, handlers: Option<&Path>, limits: Limits, now: Timestamp) {
    let mut all = entries(trash, "");
    all.extend(handlers.map(|handlers| entries(handlers, BESIDE)).unwrap_or_default());
    // Latest first.
    all.sort_by_key(|(time, _)| std::cmp::Reverse(*time));
    let mut bytes: u64 = 0;
    for (time, path) in all {
        let too_old = now.duration_since(time) > limits.age;
        if !too_old && bytes <= limits.bytes {
            bytes = bytes.saturating_add(size(&path));
        }
        if (too_old || bytes > limits.bytes)
            && let Err(error) = fs::remove_dir_all(&path)
        {
            tracing::warn!("{} could not be removed: {error}", path.display());
        }
    }
}

/// What was put there by `name`, with its time; nothing else is touched.
fn entries(folder: &Path, prefix: &str) -> Vec<(Timestamp, PathBuf)> {
    let time = |name: &str| {
        let (_, time) = name.strip_prefix(prefix)?.rsplit_once('-')?;
        let time = DateTime::strptime(FORMAT, time).ok()?;
        Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp())
    };
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| Some((time(entry.file_name().to_str()?)?, entry.path()))).collect()
}

/// What it takes on the disk; links are not followed.
fn size(path: &Path) -> u64 {
    let Ok(metadata) = fs::symlink_metadata(path) else { return 0 };
    let own = metadata.blocks() * 512;
    if !metadata.is_dir() {
        return own;
    }
    let below = fs::read_dir(path).into_iter().flatten().flatten();
    below.fold(own, |sum, entry| sum.saturating_add(size(&entry.path())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_first_and_what_is_not_ours_stays() {
        let folder = tempfile::tempdir().unwrap();
        let (trash, handlers) = (folder.path().join("trash"), folder.path().join("handlers"));
        let make = |folder: &Path, name: &str| {
            fs::create_dir_all(folder.join(name)).unwrap();
            fs::write(folder.join(name).join("code.py"), vec![b'x'; 100_000]).unwrap();
        };
        for name in
            ["old-20260101T000000.000000Z", "a-b-20260301T000000.000001Z", "a-20260301T000000.000002Z"]
        {
            make(&trash, name);
        }
        for name in ["mine", "mine-2026"] {
            make(&trash, name);
        }
        make(&handlers, &format!("{BESIDE}f-20260228T000000.000000Z"));
        make(&handlers, "f-20200101T000000.000000Z");
        let left = |folder: &Path| {
            let mut names: Vec<String> = fs::read_dir(folder)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        };
        let now: Timestamp = "2026-03-02T00:00:00Z".parse().unwrap();
        let age = SignedDuration::from_hours(30 * 24);
        clean_to(&trash, Some(&handlers), Limits { age, bytes: 1_000_000 }, now);
        assert_eq!(
            left(&trash),
            ["a-20260301T000000.000002Z", "a-b-20260301T000000.000001Z", "mine", "mine-2026"]
        );
        assert_eq!(left(&handlers).len(), 2);
        clean_to(&trash, Some(&handlers), Limits { age, bytes: 150_000 }, now);
        assert_eq!(left(&trash), ["a-20260301T000000.000002Z", "mine", "mine-2026"]);
        assert_eq!(left(&handlers), ["f-20200101T000000.000000Z"]);
    }

    #[test]
    fn a_name_tells_its_time() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join(name("a-b"))).unwrap();
        let [(time, _)] = entries(folder.path(), "")[..] else { panic!("it is not found") };
        assert!(Timestamp::now().duration_since(time) < SignedDuration::from_secs(60));
    }
}
