//! Archives as attackers write them, and as people do.

use std::collections::BTreeMap;

use proptest::prelude::*;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::*;

const SMALL: Limits = Limits { unzipped: 10_000, entries: 50 };

fn zip(entries: &[(&str, &[u8], u32)]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content, mode) in entries {
        let options = SimpleFileOptions::default().unix_permissions(*mode & 0o777);
        match *mode & KIND {
            LINK => writer.add_symlink(*name, std::str::from_utf8(content).unwrap(), options).unwrap(),
            FOLDER => writer.add_directory(*name, options).unwrap(),
            _ => {
                writer.start_file(*name, options).unwrap();
                writer.write_all(content).unwrap();
            }
        }
    }
    writer.finish().unwrap().into_inner()
}

/// What is in the folder after it was unpacked, or why it was not.
fn unpacked(bytes: &[u8]) -> Result<BTreeMap<String, String>, String> {
    let folder = tempfile::tempdir().unwrap();
    let into = folder.path().join("into");
    let result = unpack(bytes, &into, SMALL).map_err(|error| error.to_string());
    let beside = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(beside, usize::from(result.is_ok()), "nothing else, and nothing after a failure");
    result?;
    let mut files = BTreeMap::new();
    let mut open = vec![into.clone()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(&into).unwrap().to_str().unwrap().to_owned();
                files.insert(name, String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned());
            }
        }
    }
    Ok(files)
}

#[test]
fn what_people_send_is_unpacked() {
    let bytes = zip(&[
        ("lambda_function.py", b"x", 0o644),
        ("bin/", b"", FOLDER | 0o555),
        ("bin/tool", b"#!", 0o500),
        ("lib/libx.so.1", b"so", 0o644),
        ("lib/libx.so", b"libx.so.1", LINK | 0o777),
    ]);
    let folder = tempfile::tempdir().unwrap();
    let into = folder.path().join("into");
    let result = unpack(&bytes, &into, SMALL).unwrap();
    assert_eq!((result.files, result.size), (3, 7));
    let mode = |path: &str| std::fs::metadata(into.join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("bin/tool"), 0o700, "owners may write, and it can still be run");
    assert_eq!(mode("bin"), 0o755);
    assert_eq!(std::fs::read_to_string(into.join("lib/libx.so")).unwrap(), "so");
}

#[test]
fn what_attackers_send_is_refused() {
    let many: Vec<String> = (0..51).map(|number| format!("f{number}")).collect();
    let many: Vec<(&str, &[u8], u32)> = many.iter().map(|name| (name.as_str(), &b"x"[..], 0o644)).collect();
    let bomb = vec![0; 1_000_000];
    for (entries, expected) in [
        (&[("../x", &b"x"[..], 0o644)][..], "leads out of the folder"),
        (&[("a/../../x", b"x", 0o644)], "leads out of the folder"),
        (&[("/etc/x", b"x", 0o644)], "has an absolute path"),
        (&[("a\\b", b"x", 0o644)], "has a `\\` in its name"),
        (&[("a", b"x", 0o644), ("./a", b"y", 0o644)], "is there twice"),
        (&[("a", b"x", 0o644), ("a/b", b"y", 0o644)], "lies in something that is no folder"),
        (&[("a", b"/etc", LINK), ("a/passwd", b"y", 0o644)], "lies in something that is no folder"),
        (&[("x", b"x", 0o644), ("a", b"/etc/passwd", LINK)], "leads out of the folder"),
        (&[("x", b"x", 0o644), ("a", b"../x", LINK)], "leads out of the folder"),
        (&[("x", b"x", 0o644), ("a", b".", LINK)], "is a link to what is no file"),
        (&[("x", b"x", 0o644), ("a", b"a", LINK)], "is a link to what is no file"),
        (&[("a/", b"", FOLDER | 0o755)], "it holds no files"),
        (&[("bomb", &bomb, 0o644)], "unpacks to more than 10000 bytes"),
        (&many, "more than 50 entries"),
        (&[], "it holds no files"),
    ] {
        let problem = unpacked(&zip(entries)).unwrap_err();
        assert!(problem.contains(expected), "{problem}: {expected}");
    }
    for bytes in [&b""[..], b"x", b"PK\x03\x04", b"PK\x05\x06"] {
        assert!(unpacked(bytes).unwrap_err().contains("no zip file"));
    }
}

/// In place of the names that the writer would refuse, or to lie about a size.
fn patched(mut bytes: Vec<u8>, from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut found = false;
    for start in 0..bytes.len() - from.len() {
        if &bytes[start..start + from.len()] == from {
            bytes[start..start + from.len()].copy_from_slice(to);
            found = true;
        }
    }
    assert!(found);
    bytes
}

#[test]
fn what_writers_do_not_make_is_refused_too() {
    let two = zip(&[("aaaa.py", b"1", 0o644), ("bbbb.py", b"2", 0o644)]);
    let problem = unpacked(&patched(two.clone(), b"bbbb.py", b"aaaa.py")).unwrap_err();
    assert!(problem.contains("the same name") || problem.contains("uplicate"), "{problem}");
    let problem = unpacked(&patched(two.clone(), b"bbbb.py", b"bb\xff\xfe.py")).unwrap_err();
    assert!(problem.contains("no UTF-8"), "{problem}");
    let problem = unpacked(&patched(two.clone(), b"bbbb.py", b"bb\0b.py")).unwrap_err();
    assert!(problem.contains("NUL"), "{problem}");
    let problem = unpacked(&two[..two.len() - 10]).unwrap_err();
    assert!(problem.contains("no zip file"), "{problem}");
    // It says that it is small: what is counted is what comes out.
    let bomb = zip(&[("bomb", &vec![0; 1_000_000], 0o644)]);
    let problem = unpacked(&patched(bomb, &1_000_000_u32.to_le_bytes(), &100_u32.to_le_bytes())).unwrap_err();
    assert!(problem.contains("more than 10000") || problem.contains("cannot be read"), "{problem}");
    // Flag 1 in both headers.
    let mut encrypted = zip(&[("a.py", b"1", 0o644)]);
    encrypted[6] |= 1;
    let central = encrypted.windows(4).position(|window| window == ENTRY).unwrap();
    encrypted[central + 8] |= 1;
    let problem = unpacked(&encrypted).unwrap_err();
    assert!(problem.contains("is encrypted"), "{problem}");
}

/// The names of an archive as far as they lead anywhere.
fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-c]{1,2}(/[a-c]{1,2}){0,3}/?", "(\\.\\./|\\./|/|a/){0,3}[a-c.]{0,2}", "\\PC{0,12}",]
}

proptest! {
    #[test]
    fn whatever_is_sent_stays_in_the_folder(
        entries in proptest::collection::vec((name(), any::<Vec<u8>>(), any::<u16>(), 0..3_u8), 0..6),
        damage in proptest::option::of((any::<prop::sample::Index>(), any::<u8>())),
    ) {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, content, mode, kind) in &entries {
            let options = SimpleFileOptions::default().unix_permissions(u32::from(*mode) & 0o777);
            match kind {
                0 => drop(writer.add_symlink(name.as_str(), String::from_utf8_lossy(content), options)),
                _ => if writer.start_file(name.as_str(), options).is_ok() {
                    writer.write_all(content).unwrap();
                },
            }
        }
        let mut bytes = writer.finish().unwrap().into_inner();
        if let Some((place, value)) = damage {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        crate::archive::fuzzing::archive(&bytes);
    }

    #[test]
    fn what_is_packed_comes_back(
        files in proptest::collection::btree_map("[a-d]{1,3}\\.py", any::<Vec<u8>>(), 1..8),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("source");
        std::fs::create_dir(&source).unwrap();
        for (name, content) in &files {
            std::fs::write(source.join(name), content).unwrap();
        }
        let bytes = crate::archive::pack(&source, |_| false, Limits::LAMBDA).unwrap();
        let into = folder.path().join("into");
        unpack(&bytes, &into, Limits::LAMBDA).unwrap();
        for (name, content) in &files {
            prop_assert_eq!(&std::fs::read(into.join(name)).unwrap(), content);
        }
    }
}
