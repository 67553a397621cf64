//! Where the shared library of an interpreter lies.

use std::path::{Path, PathBuf};

use super::probe::Facts;

/// Only places that belong to the interpreter's own installation are looked at. A library of the
/// same minor version from another one loads without a word and then fails in the standard library
/// (`_ssl`: undefined symbol), so the linker's search path is not asked. What lies there and is
/// really used by this interpreter is known already: it was loaded while the interpreter answered.
pub(super) fn find(facts: &Facts) -> Option<PathBuf> {
    if let Some(loaded) = &facts.loaded_library
        && loaded.is_file()
    {
        return Some(loaded.clone());
    }
    // An executable without a shared library can still have one beside it: Debian, conda and uv
    // build both. The configuration often names only the archive then.
    let own_names = [
        format!("libpython{}.so.1.0", facts.ld_version),
        format!("libpython{}.so", facts.ld_version),
        format!("libpython{}.dylib", facts.ld_version),
    ];
    let named = facts.library_names.iter().flatten().filter(|name| is_shared(name));
    let names: Vec<&String> = named.chain(&own_names).collect();
    let folders = folders(facts);
    names
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)))
        .find(|path| path.is_file())
}

fn is_shared(name: &str) -> bool {
    !name.is_empty() && !name.ends_with(".a")
}

fn folders(facts: &Facts) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = facts.library_folders.iter().flatten().cloned().collect();
    let mut roots = vec![facts.base_prefix.as_path()];
    if facts.base_prefix == Path::new("/usr") {
        roots.push(Path::new("/"));
    }
    for root in roots {
        if let Some(multiarch) = facts.multiarch.as_deref().filter(|name| !name.is_empty()) {
            folders.push(root.join("lib").join(multiarch));
        }
        folders.push(root.join("lib"));
        folders.push(root.join("lib64"));
    }
    folders
}

#[cfg(test)]
mod tests {
    use super::super::probe::Facts;
    use super::*;
    use std::fs;

    fn facts(prefix: &Path) -> Facts {
        let mut facts = Facts::example(prefix);
        facts.library_names = vec![Some("libpython3.12.a".into()), None];
        facts
    }

    #[test]
    fn a_static_executable_finds_the_library_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let facts = facts(folder.path());
        assert_eq!(find(&facts), None);
        let library = folder.path().join("lib/libpython3.12.so.1.0");
        fs::create_dir_all(library.parent().unwrap()).unwrap();
        fs::write(library.with_file_name("libpython3.12.a"), "").unwrap();
        assert_eq!(find(&facts), None, "an archive cannot be loaded");
        fs::write(&library, "").unwrap();
        assert_eq!(find(&facts), Some(library));
    }

    #[test]
    fn the_loaded_library_wins_while_it_exists() {
        let folder = tempfile::tempdir().unwrap();
        let mut facts = facts(folder.path());
        let loaded = folder.path().join("libpython3.12.so.1.0");
        facts.loaded_library = Some(loaded.clone());
        assert_eq!(find(&facts), None);
        fs::write(&loaded, "").unwrap();
        assert_eq!(find(&facts), Some(loaded));
    }

    #[test]
    fn multiarch_folders_are_known() {
        let folder = tempfile::tempdir().unwrap();
        let mut facts = facts(folder.path());
        facts.multiarch = Some("riscv64-linux-gnu".into());
        let library = folder.path().join("lib/riscv64-linux-gnu/libpython3.12.so");
        fs::create_dir_all(library.parent().unwrap()).unwrap();
        fs::write(&library, "").unwrap();
        assert_eq!(find(&facts), Some(library));
    }
}
