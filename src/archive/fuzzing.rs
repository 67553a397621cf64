//! What `fuzz/` asks of archives: whatever the bytes are, nothing is written beside the folder, and
//! what could be unpacked can be packed and unpacked again to the same.

use super::{Limits, pack, sealed, unpack};

pub fn archive(bytes: &[u8]) {
    let folder = std::env::temp_dir().join(format!("handlerd-archive-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir(&folder).expect("a temporary folder");
    unpack_twice(bytes, &folder);
    std::fs::remove_dir_all(&folder).expect("it can be removed again");
}

fn unpack_twice(bytes: &[u8], folder: &std::path::Path) {
    let limits = Limits { unzipped: 1 << 20, entries: 1000 };
    let first = folder.join("first");
    let Ok(unpacked) = unpack(bytes, &first, limits) else {
        assert_eq!(std::fs::read_dir(folder).expect("it is there").count(), 0, "something is left");
        return;
    };
    assert!(unpacked.size <= limits.unzipped);
    assert_eq!(std::fs::read_dir(folder).expect("it is there").count(), 1, "something lies beside it");
    let packed = pack(&first, |_| false, limits).expect("what was unpacked can be packed");
    let second = folder.join("second");
    unpack(&packed, &second, limits).expect("what was packed can be unpacked");
    assert_eq!(packed, pack(&second, |_| false, limits).expect("and packed again"));
}

/// Whoever makes all of a backup anew can put anything into it, but nothing beside the folder.
pub fn sealed_archive(bytes: &[u8]) {
    let folder = std::env::temp_dir().join(format!("handlerd-sealed-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir(&folder).expect("a temporary folder");
    let (file, into) = (folder.join("file"), folder.join("into"));
    std::fs::write(&file, bytes).expect("it can be written");
    std::fs::create_dir(&into).expect("a folder to unpack into");
    assert!(sealed::unseal(&file, &into).is_err(), "no seal, or a wrong one");
    std::fs::write(&file, sealed::sealed(bytes)).expect("it can be written");
    let _ = sealed::unseal(&file, &into);
    assert_eq!(std::fs::read_dir(&folder).expect("it is there").count(), 2, "something lies beside it");
    // Folders may be closed even to their owner.
    remove(&folder).expect("it can be removed again");
}

fn remove(path: &std::path::Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    if !std::fs::symlink_metadata(path)?.is_dir() {
        return std::fs::remove_file(path);
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))?;
    for entry in std::fs::read_dir(path)? {
        remove(&entry?.path())?;
    }
    std::fs::remove_dir(path)
}
