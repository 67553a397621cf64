//! A certificate and its key, in PEM files.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

/// Larger than any chain of certificates.
const LARGEST: u64 = 1024 * 1024;

#[derive(Debug, Clone)]
pub struct Files {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// What tells a file from the one that was there before.
pub type Seen = [Option<(u64, i64, i64, u64)>; 2];

impl Files {
    pub fn look(&self) -> Seen {
        let look = |path: &Path| {
            let file = std::fs::metadata(path).ok()?;
            Some((file.ino(), file.mtime(), file.mtime_nsec(), file.size()))
        };
        [look(&self.certificate), look(&self.key)]
    }

    /// The whole chain, and the key that belongs to it.
    pub fn load(&self) -> anyhow::Result<CertifiedKey> {
        let path = self.certificate.display();
        let text = read(&self.certificate, "certificate")?;
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
        let chain = chain.map_err(|error| anyhow!("{path} is no proper PEM file: {error}"))?;
        if chain.is_empty() {
            bail!(
                "there is no certificate in {path}\nhint: a PEM file is wanted, with `-----BEGIN CERTIFICATE-----` in \
                 it; the server's own certificate first, then those of who signed it"
            );
        }
        let path = self.key.display();
        let text = read(&self.key, "key")?;
        let key = PrivateKeyDer::from_pem_slice(&text).map_err(|error| {
            let encrypted = text.windows(9).any(|part| part == b"ENCRYPTED");
            match encrypted {
                true => anyhow!(
                    "the key in {path} is encrypted\nhint: `openssl pkey -in {path} -out FILE` makes one that is not"
                ),
                false => anyhow!(
                    "there is no private key in {path} ({error})\nhint: a PEM file is wanted, with \
                     `-----BEGIN PRIVATE KEY-----` in it"
                ),
            }
        })?;
        CertifiedKey::from_der(chain, key, &super::provider()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => anyhow!(
                "the key in {path} does not belong to the certificate in {}\nhint: give both files of one pair",
                self.certificate.display()
            ),
            error => anyhow!(
                "the certificate in {} and the key in {path} cannot be used: {error}",
                self.certificate.display()
            ),
        })
    }
}

fn read(path: &Path, what: &str) -> anyhow::Result<Vec<u8>> {
    let context = || format!("could not read the {what} in {}", path.display());
    let file = std::fs::metadata(path).with_context(context)?;
    if !file.is_file() || file.len() > LARGEST {
        bail!("{} is no file with a {what} in it", path.display());
    }
    std::fs::read(path).with_context(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Pair {
        _folder: tempfile::TempDir,
        files: Files,
    }

    fn pair() -> Pair {
        let folder = tempfile::tempdir().unwrap();
        let files = super::super::self_signed::ready(folder.path()).unwrap();
        Pair { _folder: folder, files }
    }

    fn refusal(files: &Files) -> String {
        format!("{:#}", files.load().unwrap_err())
    }

    #[test]
    fn a_pair_is_taken_and_anything_else_is_named() {
        let (one, other) = (pair(), pair());
        assert!(one.files.load().is_ok());
        let mixed = Files { key: other.files.key.clone(), ..one.files.clone() };
        assert!(refusal(&mixed).contains("does not belong to the certificate"), "{}", refusal(&mixed));

        let swapped = Files { certificate: one.files.key.clone(), key: one.files.certificate.clone() };
        assert!(refusal(&swapped).contains("there is no certificate in"), "{}", refusal(&swapped));
        let keyless = Files { key: one.files.certificate.clone(), ..one.files.clone() };
        assert!(refusal(&keyless).contains("there is no private key in"), "{}", refusal(&keyless));
        let missing = Files { key: "/nowhere/key.pem".into(), ..one.files.clone() };
        assert!(refusal(&missing).starts_with("could not read the key in /nowhere/key.pem: No such file"));
        let folder = Files { key: "/".into(), ..one.files.clone() };
        assert!(refusal(&folder).contains("/ is no file with a key"), "{}", refusal(&folder));

        let text = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        std::fs::write(&one.files.key, text).unwrap();
        assert!(refusal(&one.files).contains("is encrypted\nhint: `openssl pkey"), "{}", refusal(&one.files));
        std::fs::write(&one.files.key, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
            .unwrap();
        assert!(refusal(&one.files).contains("cannot be used"), "{}", refusal(&one.files));
        std::fs::write(&one.files.certificate, "-----BEGIN CERTIFICATE-----\n!!\n").unwrap();
        assert!(refusal(&one.files).contains("certificate"), "{}", refusal(&one.files));
    }
}
