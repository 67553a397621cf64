//! A function's folder: made, its code exchanged, put away. Whatever happens, what stands at its place
//! is the one or the other as a whole.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::super::discover::{DOTENV, FUNCTION_YAML};
use super::{EditError, document, trash};
use crate::archive::{self, Limits};

/// Folders that are being made; the process id follows.
const FRESH: &str = ".handlerd-new-";

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

    fn existing(&self) -> Result<PathBuf, EditError> {
        let folder = self.folder();
        if folder.is_dir() { Ok(folder) } else { Err(EditError::NotFound(self.name.clone())) }
    }
}

/// What belongs to the function's configuration, not to its code.
pub fn is_configuration(relative: &Path) -> bool {
    relative == Path::new(FUNCTION_YAML) || relative == Path::new(DOTENV)
}

pub fn create(place: &Place, code: &Code, properties: &[(&str, Option<Value>)]) -> Result<(), EditError> {
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

pub fn replace_code(place: &Place, code: &Code) -> Result<(), EditError> {
    let folder = place.existing()?;
    let fresh = unpacked(place, code)?;
    let exchange = || {
        let _ = fs::remove_file(fresh.join(FUNCTION_YAML));
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

pub fn set_properties(place: &Place, properties: &[(&str, Option<Value>)]) -> Result<(), EditError> {
    let path = place.existing()?.join(FUNCTION_YAML);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => return Err(EditError::Unreadable { path, reason: format!("cannot be read: {error}") }),
    };
    match document::edit(&text, properties) {
        Ok(edited) if edited == text => Ok(()),
        Ok(edited) => write_file(&path, &edited),
        Err(reason) => Err(EditError::Unreadable { path, reason }),
    }
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

/// As a whole or not at all. The name of what is not finished is one that is not looked at.
fn write_file(path: &Path, content: impl AsRef<[u8]>) -> Result<(), EditError> {
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
        file.write_all(content.as_ref())?;
        file.sync_all()?;
        fs::rename(&fresh, path)?;
        if let Some(folder) = path.parent() {
            fs::File::open(folder)?.sync_all()?;
        }
        Ok(())
    };
    let result: std::io::Result<()> = write();
    if result.is_err() {
        let _ = fs::remove_file(&fresh);
    }
    result.map_err(EditError::disk(path))
}
