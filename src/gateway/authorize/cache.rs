//! Decisions that are kept for a while, and asked for once when several requests need the same one.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use tokio::sync::OnceCell;

use crate::api::Api;

const ENTRIES: usize = 10_000;
const BYTES: usize = 16 * 1024 * 1024;

/// What a decision is about; the identity itself is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key([u8; 32]);

impl Key {
    pub fn new<'a>(parts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
        Self(hash.finalize().into())
    }
}

/// What was deployed when a decision was made; any other deployment needs a new one.
#[derive(Debug, Clone)]
pub struct Deployed {
    pub api: Arc<Api>,
    /// Of the authorizer's function.
    pub function: Option<u64>,
}

impl PartialEq for Deployed {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.api, &other.api) && self.function == other.function
    }
}

pub struct Decisions<T>(Mutex<Kept<T>>);

struct Kept<T> {
    entries: HashMap<Key, Entry<T>>,
    /// The first to end is the first to go.
    ends: BTreeMap<(Instant, Key), ()>,
    bytes: usize,
    asked: HashMap<Key, Asked<T>>,
}

struct Entry<T> {
    decision: Arc<T>,
    deployed: Deployed,
    end: Instant,
    bytes: usize,
}

struct Asked<T> {
    deployed: Deployed,
    answer: Arc<OnceCell<Answer<T>>>,
}

/// What came of asking: those who ask at the same time get the same.
type Answer<T> = Result<Arc<T>, super::lambda::Refusal>;

impl<T> Default for Decisions<T> {
    fn default() -> Self {
        Self(Mutex::new(Kept {
            entries: HashMap::new(),
            ends: BTreeMap::new(),
            bytes: 0,
            asked: HashMap::new(),
        }))
    }
}

impl<T> Decisions<T> {
    pub fn get(&self, key: Key, deployed: &Deployed, now: Instant) -> Option<Arc<T>> {
        let mut kept = self.0.lock().unwrap();
        let entry = kept.entries.get(&key)?;
        if entry.end > now && entry.deployed == *deployed {
            return Some(entry.decision.clone());
        }
        kept.remove(key);
        None
    }

    fn put(&self, key: Key, deployed: Deployed, decision: Arc<T>, bytes: usize, end: Instant) {
        let mut kept = self.0.lock().unwrap();
        kept.remove(key);
        let bytes = bytes + size_of::<Entry<T>>() + 2 * size_of::<Key>();
        if bytes > BYTES {
            return;
        }
        while kept.entries.len() >= ENTRIES || kept.bytes + bytes > BYTES {
            let Some((&(_, first), ())) = kept.ends.first_key_value() else { break };
            kept.remove(first);
        }
        kept.bytes += bytes;
        kept.ends.insert((end, key), ());
        kept.entries.insert(key, Entry { decision, deployed, end, bytes });
    }

    /// Asks for a decision and keeps it; whoever asks for the same meanwhile waits for this answer.
    /// `bytes`: how large a decision is.
    pub async fn ask<F: Future<Output = Answer<T>>>(
        &self,
        key: Key,
        deployed: Deployed,
        ttl: Duration,
        bytes: impl Fn(&T) -> usize,
        ask: impl FnOnce() -> F,
    ) -> Answer<T> {
        let cell = {
            let mut kept = self.0.lock().unwrap();
            match kept.asked.get(&key) {
                Some(asked) if asked.deployed == deployed => asked.answer.clone(),
                _ => {
                    let answer = Arc::new(OnceCell::new());
                    let asked = Asked { deployed: deployed.clone(), answer: answer.clone() };
                    kept.asked.insert(key, asked);
                    answer
                }
            }
        };
        let waiting = Waiting { decisions: self, key, cell };
        let answered = waiting.cell.get_or_init(async || {
            let answer = ask().await;
            if let Ok(decision) = &answer {
                let end = Instant::now() + ttl;
                self.put(key, deployed, decision.clone(), bytes(decision), end);
            }
            answer
        });
        answered.await.clone()
    }
}

/// The last one to leave, with an answer or without, takes the question away.
struct Waiting<'a, T> {
    decisions: &'a Decisions<T>,
    key: Key,
    cell: Arc<OnceCell<Answer<T>>>,
}

impl<T> Drop for Waiting<'_, T> {
    fn drop(&mut self) {
        let mut kept = self.decisions.0.lock().unwrap();
        let mine = kept.asked.get(&self.key).is_some_and(|asked| Arc::ptr_eq(&asked.answer, &self.cell));
        // One is the map's, one is ours. An answer is for those who asked before it came.
        if mine && (self.cell.initialized() || Arc::strong_count(&self.cell) <= 2) {
            kept.asked.remove(&self.key);
        }
    }
}

impl<T> Kept<T> {
    fn remove(&mut self, key: Key) {
        if let Some(entry) = self.entries.remove(&key) {
            self.ends.remove(&(entry.end, key));
            self.bytes -= entry.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::super::fixture;
    use super::super::lambda::Refusal;
    use super::*;
    use crate::api::Kind;

    fn deployed() -> Deployed {
        let api = Arc::new(fixture::api(Kind::Rest, "prod", &["GET /"]));
        Deployed { api, function: Some(1) }
    }

    #[test]
    fn a_key_is_all_of_its_parts() {
        assert_eq!(Key::new(["a", "bc"]), Key::new(["a", "bc"]));
        for other in [["ab", "c"], ["a", "bd"], ["", "abc"], ["bc", "a"]] {
            assert_ne!(Key::new(["a", "bc"]), Key::new(other), "{other:?}");
        }
    }

    #[test]
    fn a_decision_lives_as_long_as_its_deployment_and_time() {
        let (decisions, now) = (Decisions::default(), Instant::now());
        let (key, first) = (Key::new(["k"]), deployed());
        let put = || decisions.put(key, first.clone(), Arc::new(7), 10, now + Duration::from_secs(300));
        put();
        assert_eq!(decisions.get(key, &first, now).as_deref(), Some(&7));
        assert_eq!(decisions.get(Key::new(["other"]), &first, now), None);
        assert_eq!(decisions.get(key, &first, now + Duration::from_secs(300)), None, "too old");
        assert_eq!(decisions.get(key, &first, now), None, "and gone");
        put();
        let newer = Deployed { function: Some(2), ..first.clone() };
        assert_eq!(decisions.get(key, &newer, now), None, "the function is another one");
        put();
        assert_eq!(decisions.get(key, &deployed(), now), None, "the API is another one");
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let (decisions, now, deployed) = (Decisions::default(), Instant::now(), deployed());
        for index in 0..ENTRIES as u64 + 5 {
            let end = now + Duration::from_secs(1 + index);
            decisions.put(Key::new([&*index.to_string()]), deployed.clone(), Arc::new(index), 10, end);
        }
        assert_eq!(decisions.0.lock().unwrap().entries.len(), ENTRIES);
        assert_eq!(decisions.get(Key::new(["0"]), &deployed, now), None, "the first to end went first");
        assert_eq!(decisions.get(Key::new(["5"]), &deployed, now).as_deref(), Some(&5));
        let end = now + Duration::from_secs(99_999);
        decisions.put(Key::new(["big"]), deployed.clone(), Arc::new(1), BYTES - 4096, end);
        let kept = decisions.0.lock().unwrap();
        assert!(kept.bytes <= BYTES && kept.entries.len() < 100, "{}", kept.entries.len());
        assert_eq!(kept.entries.len(), kept.ends.len());
    }

    #[tokio::test]
    async fn those_who_ask_at_the_same_time_ask_once() {
        let (decisions, deployed, key) = (Decisions::default(), deployed(), Key::new(["k"]));
        let calls = Cell::new(0);
        let one = || {
            decisions.ask(
                key,
                deployed.clone(),
                Duration::from_secs(60),
                |_| 1,
                || async {
                    calls.set(calls.get() + 1);
                    tokio::task::yield_now().await;
                    Ok(Arc::new(calls.get()))
                },
            )
        };
        let (a, b, c) = tokio::join!(one(), one(), one());
        assert_eq!((*a.unwrap(), *b.unwrap(), *c.unwrap()), (1, 1, 1));
        assert!(decisions.0.lock().unwrap().asked.is_empty());
        assert_eq!(decisions.get(key, &deployed, Instant::now()).as_deref(), Some(&1));
    }

    #[tokio::test]
    async fn a_failure_is_shared_but_not_kept() {
        let (decisions, deployed, key) = (Decisions::<u8>::default(), deployed(), Key::new(["k"]));
        let calls = Cell::new(0);
        let one = || {
            decisions.ask(
                key,
                deployed.clone(),
                Duration::from_secs(60),
                |_| 1,
                || async {
                    calls.set(calls.get() + 1);
                    tokio::task::yield_now().await;
                    Err(Refusal::Unauthorized)
                },
            )
        };
        let (a, b) = tokio::join!(one(), one());
        assert!(a.is_err() && b.is_err());
        assert_eq!(calls.get(), 1);
        assert_eq!(decisions.get(key, &deployed, Instant::now()), None);
        assert!(one().await.is_err());
        assert_eq!(calls.get(), 2, "asked anew");
    }

    #[tokio::test]
    async fn whoever_goes_away_leaves_the_question_to_the_next() {
        let (decisions, deployed, key) = (Decisions::default(), deployed(), Key::new(["k"]));
        let ttl = Duration::from_secs(60);
        {
            let never = decisions.ask(key, deployed.clone(), ttl, |_| 1, std::future::pending);
            let never = std::pin::pin!(never);
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            assert!(Future::poll(never, &mut context).is_pending());
        }
        assert!(decisions.0.lock().unwrap().asked.is_empty());
        let answer = decisions.ask(key, deployed, ttl, |_| 1, || async { Ok(Arc::new(5)) }).await;
        assert_eq!(*answer.unwrap(), 5);
    }
}
