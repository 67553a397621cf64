//! What of a folder is code, and the hash of it: the same wherever a copy of it lies.

use std::path::Path;

use sha2::{Digest, Sha256};

/// Not code: what tools leave behind, and what is too large to be meant.
pub fn is_left_out(name: &str) -> bool {
    let hidden = name.starts_with('.') && name != ".env";
    hidden
        || matches!(name, "__pycache__" | "node_modules" | "venv")
        || name.ends_with(".pyc")
        || name.ends_with('~')
        || name.ends_with(".swp")
        || name == "4913"
}

/// Over the paths of files, sorted, and the hashes of their contents.
#[derive(Default)]
pub struct ContentHash(Sha256);

impl ContentHash {
    pub fn file(&mut self, relative: &Path, hash: [u8; 32]) {
        self.0.update(relative.as_os_str().as_encoded_bytes());
        self.0.update([0]);
        self.0.update(hash);
    }

    pub fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }

    /// Of code together with what its layers hold; without layers it is the code's own.
    pub fn with_layers(code: [u8; 32], layers: &[[u8; 32]]) -> [u8; 32] {
        if layers.is_empty() {
            return code;
        }
        let mut all = Sha256::new();
        all.update(code);
        for layer in layers {
            all.update(layer);
        }
        all.finalize().into()
    }
}
