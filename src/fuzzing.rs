//! What `fuzz/` throws arbitrary input at: one function for each of its targets. Compiled for it and for
//! the tests only, which replay `fuzz/corpus/` so that no target is forgotten.
//!
//! Input that has several parts has a line `----` between them. Whatever it is, nothing panics, and
//! what each function asserts holds.

use std::cell::Cell;

use crate::protocol::frame::{Answer, Request};
use crate::protocol::mailbox::{CAPACITY, Found, Office, SLOTS};
use crate::{archive as archives, control_plane, deployment, gateway, http, store as stores, trigger};

pub type Target = fn(&[u8]);

/// By the name of the file in `fuzz/targets/`.
pub const TARGETS: [(&str, Target); 18] = [
    ("access", access),
    ("archive", archive),
    ("door", door),
    ("events", events),
    ("frames", frames),
    ("head", head),
    ("json_path", json_path),
    ("log", log),
    ("mapping_template", mapping_template),
    ("parameters", parameters),
    ("pattern", pattern),
    ("properties", properties),
    ("routes", routes),
    ("schedule", schedule),
    ("sealed", sealed),
    ("spelling", spelling),
    ("store", store),
    ("template", template),
];

/// A template, read to its end: what it declares is checked, made ready for requests, and written again.
pub fn template(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let apis = deployment::fuzzing::template(text);
    gateway::fuzzing::deploy(&apis);
}

/// Kind and routes; then requests, one a line.
pub fn routes(input: &[u8]) {
    let Some([table, requests]) = texts(input) else { return };
    gateway::fuzzing::routes(table, requests);
}

/// A request as it stands on the wire; then what the function returns.
pub fn events(input: &[u8]) {
    let [request, result] = parts(input);
    gateway::fuzzing::events(request, result);
}

/// A mapping template; then the body, then a request.
pub fn mapping_template(input: &[u8]) {
    let [template, body, request] = parts(input);
    let (Ok(template), Ok(body)) = (std::str::from_utf8(template), std::str::from_utf8(body)) else { return };
    gateway::fuzzing::mapping_template(template, body, request);
}

/// A path; then a JSON document.
pub fn json_path(input: &[u8]) {
    let Some([path, document]) = texts(input) else { return };
    gateway::fuzzing::json_path(path, document);
}

/// A request; then a policy or a whole answer of an authorizer; then a key set; then credentials.
pub fn access(input: &[u8]) {
    let [request, answer, keys, credentials] = parts(input);
    gateway::fuzzing::access(request, answer, keys, credentials);
}

/// How many bytes come at once, by turns, one byte each; then what a client sends.
pub fn spelling(input: &[u8]) {
    let [cuts, sent] = parts(input);
    http::fuzzing::spelling(cuts, sent);
}

/// Overrides, an argument each line; then `samconfig.toml`, `--env-vars` and the section `Parameters`.
pub fn parameters(input: &[u8]) {
    let Some([arguments, configuration, variables, section]) = texts(input) else { return };
    deployment::fuzzing::parameters(arguments, configuration, variables, section);
}

/// A zip file.
pub fn archive(input: &[u8]) {
    archives::fuzzing::archive(input);
}

/// A schedule expression; then a time zone; then the second after which its times are asked for.
pub fn schedule(input: &[u8]) {
    let Some([expression, zone, after]) = texts(input) else { return };
    trigger::fuzzing::schedule(expression, zone, after);
}

/// An event pattern; then an event.
pub fn pattern(input: &[u8]) {
    let Some([pattern, event]) = texts(input) else { return };
    trigger::fuzzing::pattern(pattern, event);
}

/// `function.yaml`; then what a property of it is set to.
pub fn properties(input: &[u8]) {
    let Some([text, value]) = texts(input) else { return };
    deployment::fuzzing::properties(text, value);
}

/// A backup, whose checksum is right.
pub fn sealed(input: &[u8]) {
    archives::fuzzing::sealed_archive(input);
}

/// What a client sends; also taken for frames of HTTP/2.
pub fn head(input: &[u8]) {
    http::fuzzing::head(input);
}

/// The target of a request on the control plane; then its headers; then a credentials file.
pub fn door(input: &[u8]) {
    let Some([target, headers, file]) = texts(input) else { return };
    control_plane::fuzzing::door(target, headers, file);
}

/// The write-ahead log of a store.
pub fn log(input: &[u8]) {
    stores::fuzzing::log(input);
}

/// A store; its log.
pub fn store(input: &[u8]) {
    let [database, log] = parts(input);
    stores::fuzzing::store(database, log);
}

/// What an environment writes: into the pipe, and into the memory that it shares with the gateway, where
/// the first five bytes say whose turn it is and how long the frame is.
pub fn frames(input: &[u8]) {
    if let Ok(Some((request, length))) = Request::decode(input) {
        assert!(length <= input.len());
        let mut again = Vec::new();
        request.encode(&mut again);
        assert_eq!(Request::decode(&again), Ok(Some((request, again.len()))));
    }
    answer(input);
    let Some((claims, data)) = input.split_at_checked(5) else { return };
    thread_local! {
        static SHARED: (Office, std::fs::File, Cell<u64>) = {
            let (office, descriptor) = Office::create().expect("shared memory");
            (office, descriptor.into(), Cell::new(0))
        };
    }
    SHARED.with(|(office, shared, collected)| {
        use std::os::unix::fs::FileExt;
        // Two pages of words, 64 bytes of them for each slot, and the slots behind them; see `protocol::mailbox`.
        let slot = collected.get() % SLOTS as u64;
        if office.asked() == 0 {
            office.leave(b"");
        }
        let write = |bytes: &[u8], place| shared.write_all_at(bytes, place).expect("there is room");
        write(&data[..data.len().min(CAPACITY)], 8192 + slot * CAPACITY as u64);
        write(&claims[1..], slot * 64 + 4);
        write(&u32::from(claims[0]).to_ne_bytes(), slot * 64);
        let mut frame = vec![7];
        let found = office.collect(&mut frame);
        collected.set(collected.get() + u64::from(found != Found::Nothing));
        match found {
            Found::Here => {
                assert!(frame[0] == 7 && frame.len() <= CAPACITY + 1);
                answer(&frame[1..]);
            }
            Found::Nothing | Found::Malformed => assert_eq!(frame, [7]),
        }
    });
}

fn answer(bytes: &[u8]) {
    if let Ok(Some((answer, length))) = Answer::decode(bytes) {
        assert!(length <= bytes.len());
        let mut again = Vec::new();
        answer.encode(&mut again);
        assert_eq!(Answer::decode(&again), Ok(Some((answer, again.len()))));
    }
}

/// Those that are missing are empty; the last one is all that is left.
fn parts<const N: usize>(input: &[u8]) -> [&[u8]; N] {
    const BETWEEN: &[u8] = b"\n----\n";
    let mut rest = Some(input);
    std::array::from_fn(|index| {
        let all = rest.take().unwrap_or_default();
        let at = all.windows(BETWEEN.len()).position(|window| window == BETWEEN);
        let Some(at) = at.filter(|_| index + 1 < N) else { return all };
        rest = Some(&all[at + BETWEEN.len()..]);
        &all[..at]
    })
}

fn texts<const N: usize>(input: &[u8]) -> Option<[&str; N]> {
    std::str::from_utf8(input).ok()?;
    Some(parts(input).map(|part| std::str::from_utf8(part).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::{Duration, Instant};

    use super::*;

    /// Far more than the slowest one takes where everything else is at work too.
    const SLOW: Duration = Duration::from_secs(20);

    #[test]
    fn the_corpus_breaks_nothing() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
        for (name, target) in TARGETS {
            let mut files: Vec<_> =
                std::fs::read_dir(corpus.join(name)).unwrap().map(|entry| entry.unwrap().path()).collect();
            files.sort();
            assert!(!files.is_empty(), "{name} has no corpus");
            for file in files {
                let input = std::fs::read(&file).unwrap();
                let began = Instant::now();
                target(&input);
                // Cut short, as half of a file is what clients send when they break off.
                target(&input[..input.len() / 2]);
                assert!(began.elapsed() < SLOW, "{} takes {:?}", file.display(), began.elapsed());
            }
        }
    }

    #[test]
    fn every_target_is_run_by_its_name() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
        let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        for (name, _) in TARGETS {
            let text =
                std::fs::read_to_string(folder.join("targets").join(name).with_extension("rs")).unwrap();
            assert!(text.contains(&format!("handlerd::fuzzing::{name}(input)")), "{name}");
            assert!(manifest.contains(&format!("path = \"targets/{name}.rs\"")), "{name}");
        }
        assert_eq!(std::fs::read_dir(folder.join("targets")).unwrap().count(), TARGETS.len());
    }

    #[test]
    fn parts_are_taken_apart_at_their_lines() {
        assert_eq!(parts(b"a\n----\nb\n----\nc"), [b"a".as_slice(), b"b\n----\nc"]);
        assert_eq!(parts(b"a"), [b"a".as_slice(), b""]);
        assert_eq!(texts(b"\n----\n\xff"), None::<[&str; 2]>);
    }
}
