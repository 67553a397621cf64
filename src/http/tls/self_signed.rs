//! A certificate of our own making, for the names that things have on this machine.

use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::UnixTime;

use super::files::Files;

/// Everything that `gateway::address` knows.
const NAMES: [&str; 6] =
    ["localhost", "*.execute-api.localhost", "*.lambda-url.localhost", "*.elb.localhost", "127.0.0.1", "::1"];
/// Longer ones are not trusted everywhere.
const DAYS: i64 = 397;
/// One that ends sooner is made anew.
const DAYS_LEFT: u64 = 30;

/// The files in this folder, made if they are not there or not good for much longer.
pub fn ready(folder: &Path) -> anyhow::Result<Files> {
    let files = Files { certificate: folder.join("certificate.pem"), key: folder.join("key.pem") };
    if !is_good(&files) {
        make(folder, &files)
            .with_context(|| format!("could not make a certificate in {}", folder.display()))?;
    }
    Ok(files)
}

/// Whether a client that trusts it would be content with it for a while.
fn is_good(files: &Files) -> bool {
    let check = || {
        let key = files.load().ok()?;
        let certificate = key.cert.first()?;
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).ok()?;
        let provider = Arc::new(super::provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().ok()?;
        let later = UnixTime::since_unix_epoch(
            UnixTime::now().as_secs().checked_add(DAYS_LEFT * 86_400).map(Duration::from_secs)?,
        );
        NAMES.into_iter().try_for_each(|name| {
            let name = name.replace('*', "name").try_into().ok()?;
            verifier.verify_server_cert(certificate, &[], &name, &[], later).ok().map(drop)
        })
    };
    check().is_some()
}

fn make(folder: &Path, files: &Files) -> anyhow::Result<()> {
    let mut parameters = rcgen::CertificateParams::new(NAMES.map(str::to_owned))?;
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    let day = |days: i64| -> anyhow::Result<_> {
        let date = today.checked_add(jiff::Span::new().days(days))?;
        Ok(rcgen::date_time_ymd(date.year().into(), date.month() as u8, date.day() as u8))
    };
    // The clocks of containers may be a little behind.
    (parameters.not_before, parameters.not_after) = (day(-1)?, day(DAYS)?);
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters.distinguished_name.push(rcgen::DnType::CommonName, "handlerd on this machine");
    parameters.use_authority_key_identifier_extension = true;
    parameters.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let certificate = parameters.self_signed(&key)?;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    write(&files.key, &key.serialize_pem())?;
    write(&files.certificate, &certificate.pem())
}

/// Whole or not at all, and for the owner's eyes only.
fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let new = path.with_extension("new");
    let _ = std::fs::remove_file(&new);
    let mut file = std::fs::File::options().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    Ok(std::fs::rename(&new, path)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_is_good_for_every_name() {
        let folder = tempfile::tempdir().unwrap();
        let files = ready(folder.path()).unwrap();
        assert!(is_good(&files));
        // Somebody else's, for another name, is not.
        let key = rcgen::generate_simple_self_signed(vec!["example.com".to_owned()]).unwrap();
        std::fs::write(&files.certificate, key.cert.pem()).unwrap();
        std::fs::write(&files.key, key.signing_key.serialize_pem()).unwrap();
        assert!(!is_good(&files));
    }

    #[test]
    fn one_that_is_about_to_end_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let files = ready(folder.path()).unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let mut parameters = rcgen::CertificateParams::new(NAMES.map(str::to_owned)).unwrap();
        let soon = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
        let soon = soon.checked_add(jiff::Span::new().days(20)).unwrap();
        parameters.not_after = rcgen::date_time_ymd(soon.year().into(), soon.month() as u8, soon.day() as u8);
        std::fs::write(&files.certificate, parameters.self_signed(&key).unwrap().pem()).unwrap();
        std::fs::write(&files.key, key.serialize_pem()).unwrap();
        assert!(files.load().is_ok() && !is_good(&files));
        assert!(is_good(&ready(folder.path()).unwrap()));
    }
}
