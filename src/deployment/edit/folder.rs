//! A function's folder: made, its code exchanged, put away. Whatever happens, what stands at its place
//! is the one or the other as a whole.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::super::discover::{DOTENV, FUNCTION_YAML};
use super::test_events::TEST_EVENTS;
use super::{EditError, document, local, trash};
use crate::archive::{self, Limits};
use crate::function::{ContentHash, Contents};

/// Folders that are being made; the process id follows.
const FRESH: &str = ".handlerd-new-";

/// How often a file that somebody else is writing is looked at again.
const TRIES: usize = 20;

/// Code as somebody has sent it.
#[derive(Debug, Clone)]
pub enum Code {
    Zip(Vec<u8>),
    /// The text of one file.
    Inline {
        file: String,
        text: String,
    },
}

pub struct Place {
    pub name: String,
    pub handlers: PathBuf,
    pub state_dir: PathBuf,
}

impl Place {
    pub fn folder(&self) -> PathBuf {
        self.handlers.join(&self.name)
    }

    /// Beside the folder: what is made there can take its place in one step.
    fn fresh(&self) -> PathBuf {
        self.handlers.join(format!("{FRESH}{}-{}", std::process::id(), uuid::Uuid::new_v4()))
    }

    pub fn existing(&self) -> Result<PathBuf, EditError> {
        let folder = self.folder();
        if folder.is_dir() { Ok(folder) } else { Err(EditError::NotFound(self.name.clone())) }
    }
}

/// What belongs to the function's configuration, not to its code.
pub fn is_configuration(relative: &Path) -> bool {
    relative == Path::new(FUNCTION_YAML) || relative == Path::new(DOTENV)
}

/// `foretell` is told the hash that the code will have, before anybody sees it.
pub fn create(
    place: &Place,
    code: &Code,
    properties: &[(&str, Option<Value>)],
    foretell: impl FnOnce([u8; 32]),
) -> Result<(), EditError> {
    let folder = place.folder();
    if fs::symlink_metadata(&folder).is_ok() {
        return Err(EditError::InTheWay {
            path: folder,
            reason: "is there already, and is no function\nhint: rename it, or make a function of it"
                .to_owned(),
        });
    }
    fs::create_dir_all(&place.handlers).map_err(EditError::disk(&place.handlers))?;
    let fresh = unpacked(place, code)?;
    let finish = || {
        // A folder of handlers that was packed as it is has one.
        let file = fresh.join(FUNCTION_YAML);
        let sent = fs::read_to_string(&file).unwrap_or_default();
        let text = document::edit(&sent, properties).or_else(|_| document::edit("", properties));
        let text = text.map_err(|reason| EditError::Unreadable { path: file.clone(), reason })?;
        write_file(&file, &text)?;
        foretell(own_hash(&fresh));
        match archive::move_away(&fresh, &folder) {
            Ok(true) => Ok(()),
            Ok(false) => {
                Err(EditError::Disk { path: folder.clone(), error: ErrorKind::CrossesDevices.into() })
            }
            Err(error) => Err(EditError::Disk { path: folder.clone(), error }),
        }
    };
    let result = finish();
    if result.is_err() {
        let _ = fs::remove_dir_all(&fresh);
    }
    result
}

pub fn replace_code(place: &Place, code: &Code, foretell: impl FnOnce([u8; 32])) -> Result<(), EditError> {
    let folder = place.existing()?;
    let fresh = unpacked(place, code)?;
    let exchange = || {
        let _ = fs::remove_file(fresh.join(FUNCTION_YAML));
        keep_test_events(&folder, &fresh)?;
        for name in [FUNCTION_YAML, DOTENV] {
            match fs::read(folder.join(name)) {
                Ok(content) => write_file(&fresh.join(name), &content)?,
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(EditError::Disk { path: folder.join(name), error }),
            }
        }
        if !fresh.join(FUNCTION_YAML).exists() && !fresh.join("lambda_function.py").exists() {
            // Else it would be no function any more.
            write_file(&fresh.join(FUNCTION_YAML), "Handler: lambda_function.lambda_handler\n")?;
        }
        foretell(own_hash(&fresh));
        archive::put(&fresh, &folder).map_err(EditError::disk(&folder))
    };
    match exchange() {
        // What stood there is at `fresh` now.
        Ok(true) => put_away(place, &fresh),
        Ok(false) => Ok(()),
        Err(error) => {
            let _ = fs::remove_dir_all(&fresh);
            Err(error)
        }
    }
}

/// As discovery will find it there (`Code::own_sha256`).
fn own_hash(folder: &Path) -> [u8; 32] {
    let mut own = ContentHash::default();
    for relative in Contents::of(folder).files {
        let path = folder.join(&relative);
        if !is_configuration(&relative)
            && path.is_file()
            && let Ok(hash) = ContentHash::of_file(&path)
        {
            own.file(&relative, hash);
        }
    }
    own.finish()
}

pub fn set_properties(place: &Place, properties: &[(&'static str, Option<Value>)]) -> Result<(), EditError> {
    let path = place.existing()?.join(FUNCTION_YAML);
    let unreadable = |reason| EditError::Unreadable { path: path.clone(), reason };
    amend(&path, |text| {
        let properties = local::left_out(&path, text, properties)?;
        document::edit(text, &properties).map_err(unreadable)
    })
}

/// A file's text changed. If somebody saves it meanwhile, theirs is what is changed.
pub fn amend(path: &Path, change: impl Fn(&str) -> Result<String, EditError>) -> Result<(), EditError> {
    // A link is written through.
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    for _ in 0..TRIES {
        let before = read(path)?;
        let text = before.as_deref().unwrap_or_default();
        let edited = change(text)?;
        if edited == text || write_over(path, before.as_deref(), &edited)? {
            return Ok(());
        }
    }
    let reason = "is being written by somebody else all the time\nhint: try again".to_owned();
    Err(EditError::Unreadable { path: path.clone(), reason })
}

/// `None`: there is no such file.
pub fn read(path: &Path) -> Result<Option<String>, EditError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => {
            Err(EditError::Unreadable { path: path.to_owned(), reason: format!("cannot be read: {error}") })
        }
    }
}

/// `false`: the file is not, or was not in the end, as it was before; it is as somebody else has
/// written it.
fn write_over(path: &Path, before: Option<&str>, text: &str) -> Result<bool, EditError> {
    let fresh = fresh_file(path, text.as_bytes())?;
    let is_as_before = |path: &Path| fs::read(path).ok().as_deref() == before.map(str::as_bytes);
    let put = || {
        if !is_as_before(path) {
            return Ok(false);
        }
        match archive::put(&fresh, path) {
            // What was there is at `fresh` now, and may have been saved at the last moment.
            Ok(true) if !is_as_before(&fresh) => put_back(&fresh, path, text).map(|()| false),
            Ok(_) => Ok(true),
            // Not every file system exchanges.
            Err(error) if error.kind() == ErrorKind::InvalidInput => fs::rename(&fresh, path).map(|()| true),
            Err(error) => Err(error),
        }
    };
    let result = put();
    let _ = fs::remove_file(&fresh);
    result.map_err(EditError::disk(path))
}

/// Puts at `path` what lies at `fresh`, for which `text` was put there. If that is not what comes away,
/// somebody has saved once more meanwhile, and theirs is put back in turn.
fn put_back(fresh: &Path, path: &Path, text: &str) -> std::io::Result<()> {
    let mut there = text.as_bytes().to_vec();
    for _ in 0..TRIES {
        let theirs = fs::read(fresh)?;
        archive::put(fresh, path)?;
        if fs::read(fresh)? == there {
            break;
        }
        there = theirs;
    }
    Ok(())
}

/// Saved events are neither code nor configuration; they stay where they are.
fn keep_test_events(folder: &Path, fresh: &Path) -> Result<(), EditError> {
    let (from, to) = (folder.join(TEST_EVENTS), fresh.join(TEST_EVENTS));
    // Those of whoever sent the code are not wanted.
    let _ = fs::remove_dir_all(&to).or_else(|_| fs::remove_file(&to));
    if !fs::symlink_metadata(&from).is_ok_and(|metadata| metadata.is_dir()) {
        return Ok(());
    }
    fs::create_dir(&to).map_err(EditError::disk(&to))?;
    for entry in fs::read_dir(&from).map_err(EditError::disk(&from))?.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_file()) {
            fs::copy(entry.path(), to.join(entry.file_name())).map_err(EditError::disk(&entry.path()))?;
        }
    }
    Ok(())
}

pub fn remove(place: &Place) -> Result<(), EditError> {
    let folder = place.existing()?;
    put_away(place, &folder)
}

/// Into the trash: what somebody has written by hand is not destroyed by a call of the API.
fn put_away(place: &Place, folder: &Path) -> Result<(), EditError> {
    let bin = place.state_dir.join("trash");
    fs::create_dir_all(&bin).map_err(EditError::disk(&bin))?;
    let name = trash::name(&place.name);
    let away = archive::move_away(folder, &bin.join(&name));
    if away.map_err(EditError::disk(folder))? {
        return Ok(());
    }
    let beside = place.handlers.join(format!("{}{name}", trash::BESIDE));
    archive::move_away(folder, &beside).map(drop).map_err(EditError::disk(folder))
}

fn unpacked(place: &Place, code: &Code) -> Result<PathBuf, EditError> {
    remove_leftovers(&place.handlers);
    let fresh = place.fresh();
    match code {
        Code::Zip(bytes) => drop(archive::unpack(bytes, &fresh, Limits::LAMBDA)?),
        Code::Inline { file, text } => {
            fs::create_dir(&fresh).map_err(EditError::disk(&fresh))?;
            if let Err(error) = write_file(&fresh.join(file), text) {
                let _ = fs::remove_dir_all(&fresh);
                return Err(error);
            }
        }
    }
    Ok(fresh)
}

/// Folders that a process began to make and did not live to finish.
fn remove_leftovers(handlers: &Path) {
    for entry in fs::read_dir(handlers).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(rest) = name.strip_prefix(FRESH) else { continue };
        let owner = rest.split('-').next().and_then(|pid| pid.parse::<u32>().ok());
        let lives = owner.is_some_and(|pid| Path::new(&format!("/proc/{pid}")).exists());
        if !lives {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// As a whole or not at all.
pub fn write_file(path: &Path, content: impl AsRef<[u8]>) -> Result<(), EditError> {
    let fresh = fresh_file(path, content.as_ref())?;
    let put = || {
        fs::rename(&fresh, path)?;
        path.parent().map_or(Ok(()), |folder| fs::File::open(folder)?.sync_all())
    };
    let result: std::io::Result<()> = put();
    if result.is_err() {
        let _ = fs::remove_file(&fresh);
    }
    result.map_err(EditError::disk(path))
}

/// A new file beside another one, on the disk. The name of what is not finished is one that is not
/// looked at.
fn fresh_file(path: &Path, content: &[u8]) -> Result<PathBuf, EditError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let fresh = path.with_file_name(format!(".{name}.{}~", uuid::Uuid::new_v4()));
    let write = || {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut file = fs::File::create_new(&fresh)?;
        if let Ok(former) = fs::metadata(path) {
            file.set_permissions(former.permissions())?;
        }
        file.write_all(content)?;
        file.sync_all()
    };
    let result: std::io::Result<()> = write();
    if result.is_err() {
        let _ = fs::remove_file(&fresh);
    }
    result.map_err(EditError::disk(path))?;
    Ok(fresh)
}
