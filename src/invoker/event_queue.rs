//! What of the queue is in memory, and whose turn it is.
//!
//! Of each lane (a function's events, a destination's deliveries) a few rows are at hand; the others
//! stay on the disk, however many. Lanes take turns. A lane may not hold more places than are free
//! beside it: a function whose invocations are slow leaves room for all others, and takes what nobody
//! else wants.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::ops::Bound;
use std::time::{Duration, Instant};

use crate::store::{Due, Entry, Kind, Wanted};

/// Rows at hand of one lane, and how few are too few.
const AT_HAND: usize = 32;
const FEW: usize = 8;
/// Bodies at hand, of all lanes together.
const BYTES_AT_HAND: usize = 32 * 1024 * 1024;
/// What is done but not settled yet: if the disk does not take it, no more is begun.
const UNSETTLED: usize = 2048;
/// Deliveries at once.
const DELIVERIES: usize = 32;
/// After an attempt that failed for a reason that the next one would meet as well.
const PAUSE: Duration = Duration::from_secs(1);

/// How much of a function may run at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// Its own, beside the common places.
    Reserved(usize),
    /// Of the common places.
    Common,
    /// No more at the moment, while some of it runs.
    Enough,
}

/// The right to work on a row.
#[derive(Debug)]
pub struct Turn {
    pub id: i64,
    lane: String,
    place: Place,
}

#[derive(Debug, Clone, Copy)]
enum Place {
    Common,
    Reserved,
    Delivery,
}

pub struct EventQueue {
    lanes: BTreeMap<String, Lane>,
    /// The lane that had the last turn.
    turn: String,
    /// Where the next look at the disk begins.
    cursor: String,
    /// Places for invocations of functions that have nothing reserved.
    places: usize,
    taken: usize,
    deliveries: usize,
    /// At hand, running, or not settled yet.
    claimed: HashMap<i64, String>,
    running: HashSet<i64>,
    at_hand: usize,
    bytes_at_hand: usize,
    /// The disk may hold something that is due and has not been looked at.
    stale: bool,
    next_due: Option<i64>,
}

#[derive(Default)]
struct Lane {
    at_hand: VecDeque<Entry>,
    running: usize,
    /// The disk holds more of it.
    more: bool,
    paused_until: Option<Instant>,
}

impl EventQueue {
    /// `concurrency`: of the account. A part of it is left to those who wait for an answer.
    pub fn new(concurrency: usize) -> Self {
        Self {
            lanes: BTreeMap::new(),
            turn: String::new(),
            cursor: String::new(),
            places: concurrency.saturating_sub(concurrency.div_ceil(10)).max(1),
            taken: 0,
            deliveries: 0,
            claimed: HashMap::new(),
            running: HashSet::new(),
            at_hand: 0,
            bytes_at_hand: 0,
            stale: true,
            next_due: None,
        }
    }

    /// Something was added to this lane. `true`: the drain has to look.
    pub fn arrived(&mut self, lane: &str) -> bool {
        if let Some(known) = self.lanes.get_mut(lane)
            && known.at_hand.len() >= FEW
        {
            known.more = true;
            return false;
        }
        !std::mem::replace(&mut self.stale, true)
    }

    /// Something will be due then.
    pub fn expect(&mut self, due_at: i64) {
        self.next_due = Some(self.next_due.map_or(due_at, |next| next.min(due_at)));
    }

    /// What to ask the disk for, if anything.
    pub fn wanted(&mut self, now: i64) -> Option<Wanted> {
        if self.next_due.is_some_and(|due| due <= now) {
            self.stale = true;
        }
        if !self.stale || self.bytes_at_hand >= BYTES_AT_HAND {
            return None;
        }
        // What is expected while the disk is asked is remembered.
        (self.stale, self.next_due) = (false, None);
        let mut full = HashSet::new();
        for (name, lane) in self.lanes.iter_mut().filter(|(_, lane)| lane.at_hand.len() >= FEW) {
            // Not looked at, so it is not known.
            lane.more = true;
            full.insert(name.clone());
        }
        Some(Wanted {
            now,
            claimed: self.claimed.keys().copied().collect(),
            full,
            after: self.cursor.clone(),
            per_lane: AT_HAND,
            bytes: BYTES_AT_HAND - self.bytes_at_hand,
        })
    }

    /// What the disk held. What has been claimed meanwhile is left out by whoever asked.
    pub fn take(&mut self, due: Due) {
        if let Some(next) = due.next {
            self.expect(next);
        }
        self.stale |= due.stopped_at.is_some();
        self.cursor = due.stopped_at.unwrap_or_default();
        for lane in due.more {
            self.lanes.entry(lane).or_default().more = true;
        }
        for entry in due.entries {
            self.claimed.insert(entry.id, entry.lane.clone());
            self.at_hand += 1;
            self.bytes_at_hand += entry.added.body.len();
            self.lanes.entry(entry.lane.clone()).or_default().at_hand.push_back(entry);
        }
    }

    /// The disk could not be read: later.
    pub fn look_again(&mut self) {
        self.stale = true;
    }

    /// What is to be begun now. `share`: of a function, asked only where it matters.
    pub fn next(&mut self, share: impl Fn(&str, usize) -> Share) -> Option<(Entry, Turn)> {
        if self.claimed.len() - self.at_hand >= UNSETTLED {
            return None;
        }
        let turn = (Bound::Excluded(self.turn.clone()), Bound::Unbounded);
        let behind = self.lanes.range(turn).map(|(name, _)| name);
        let before = self.lanes.range(..=self.turn.clone()).map(|(name, _)| name);
        let name = behind.chain(before).find(|name| self.may_begin(name, &share))?.clone();
        let lane = self.lanes.get_mut(&name).expect("just found");
        let entry = lane.at_hand.pop_front().expect("it may begin");
        lane.running += 1;
        if lane.more && lane.at_hand.len() < FEW {
            lane.more = false;
            self.stale = true;
        }
        let place = match (&entry.added.kind, share(&name, lane.running - 1)) {
            (Kind::Delivery { .. }, _) => Place::Delivery,
            (Kind::Invocation, Share::Reserved(_)) => Place::Reserved,
            (Kind::Invocation, _) => Place::Common,
        };
        match place {
            Place::Delivery => self.deliveries += 1,
            Place::Common => self.taken += 1,
            Place::Reserved => {}
        }
        self.at_hand -= 1;
        self.bytes_at_hand -= entry.added.body.len();
        self.running.insert(entry.id);
        self.turn.clone_from(&name);
        let turn = Turn { id: entry.id, lane: name, place };
        Some((entry, turn))
    }

    fn may_begin(&self, name: &str, share: &impl Fn(&str, usize) -> Share) -> bool {
        let lane = &self.lanes[name];
        let Some(first) = lane.at_hand.front() else { return false };
        if lane.is_paused() {
            return false;
        }
        let among = |taken: usize, places: usize| lane.running < places.saturating_sub(taken);
        match first.added.kind {
            Kind::Delivery { .. } => among(self.deliveries, DELIVERIES),
            Kind::Invocation => match share(name, lane.running) {
                // One, so that it is found to be switched off.
                Share::Reserved(places) => lane.running < places.max(1),
                Share::Common => among(self.taken, self.places),
                Share::Enough => lane.running == 0 && self.taken < self.places,
            },
        }
    }

    /// It has run; what came of it is not settled yet. `pause`: the next one would fare no better.
    pub fn ran(&mut self, turn: &Turn, pause: bool) {
        self.running.remove(&turn.id);
        match turn.place {
            Place::Delivery => self.deliveries -= 1,
            Place::Common => self.taken -= 1,
            Place::Reserved => {}
        }
        if let Some(lane) = self.lanes.get_mut(&turn.lane) {
            lane.running -= 1;
            if pause {
                lane.paused_until = Some(Instant::now() + PAUSE);
            }
        }
    }

    /// It is settled.
    pub fn settled(&mut self, id: i64) {
        if let Some(name) = self.claimed.remove(&id)
            && self.lanes.get(&name).is_some_and(|lane| lane.is_over())
        {
            self.lanes.remove(&name);
        }
    }

    /// Somebody has chosen these: those at hand are given back; the others are at work.
    pub fn give_back(&mut self, chosen: &HashSet<i64>) -> HashSet<i64> {
        for lane in self.lanes.values_mut() {
            lane.at_hand.retain(|entry| {
                let given_back = chosen.contains(&entry.id);
                if given_back {
                    self.claimed.remove(&entry.id);
                    self.at_hand -= 1;
                    self.bytes_at_hand -= entry.added.body.len();
                }
                !given_back
            });
        }
        self.stale = true;
        chosen.iter().filter(|id| self.claimed.contains_key(id)).copied().collect()
    }

    /// None of this lane are to be begun: what is at hand of it is no more.
    pub fn forget(&mut self, lane: &str) {
        let ids =
            self.lanes.get(lane).into_iter().flat_map(|lane| &lane.at_hand).map(|entry| entry.id).collect();
        self.give_back(&ids);
    }

    pub fn running(&self) -> HashSet<i64> {
        self.running.clone()
    }

    /// Nothing runs, and all that has run is settled.
    pub fn is_idle(&self) -> bool {
        self.claimed.len() == self.at_hand
    }

    /// How long nothing will happen by itself, at most.
    pub fn patience(&self, now: i64) -> Duration {
        let due = self.next_due.map(|due| Duration::from_millis((due - now).max(0) as u64));
        let paused = self.lanes.values().filter_map(|lane| lane.paused_until);
        let paused = paused
            .map(|until| until.saturating_duration_since(Instant::now()))
            .filter(|left| !left.is_zero());
        due.into_iter().chain(paused).min().unwrap_or(Duration::from_secs(3600)).max(Duration::from_millis(1))
    }
}

impl Lane {
    fn is_paused(&self) -> bool {
        self.paused_until.is_some_and(|until| until > Instant::now())
    }

    fn is_over(&self) -> bool {
        self.at_hand.is_empty() && self.running == 0 && !self.more && !self.is_paused()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Added;

    fn entry(id: i64, lane: &str) -> Entry {
        let kind = match lane.strip_prefix("> ") {
            Some(destination) => Kind::Delivery { destination: destination.to_owned() },
            None => Kind::Invocation,
        };
        let added = Added {
            kind,
            function: lane.to_owned(),
            qualifier: None,
            request_id: id.to_string(),
            trace_id: String::new(),
            function_arn: String::new(),
            body: b"{}".to_vec(),
        };
        Entry { id, lane: lane.to_owned(), accepted_at: 0, attempts: 0, setbacks: 0, added }
    }

    fn queue(concurrency: usize, lanes: &[(&str, i64)]) -> EventQueue {
        let mut queue = EventQueue::new(concurrency);
        let mut id = 0;
        let mut entries = Vec::new();
        for (lane, count) in lanes {
            for _ in 0..*count {
                id += 1;
                entries.push(entry(id, lane));
            }
        }
        queue.take(Due { entries, ..Due::default() });
        queue
    }

    fn begin(queue: &mut EventQueue) -> Vec<String> {
        std::iter::from_fn(|| queue.next(|_, _| Share::Common)).map(|(entry, _)| entry.lane).collect()
    }

    #[test]
    fn lanes_take_turns() {
        let mut queue = queue(100, &[("a", 3), ("b", 1), ("c", 2)]);
        assert_eq!(begin(&mut queue), ["a", "b", "c", "a", "c", "a"]);
    }

    #[test]
    fn a_lane_leaves_as_much_free_as_it_holds() {
        let mut crowded = queue(20, &[("slow", 100)]);
        // 18 places: with nine of them taken, nine are free.
        assert_eq!(begin(&mut crowded).len(), 9);
        crowded.take(Due { entries: vec![entry(1000, "other")], ..Due::default() });
        assert_eq!(begin(&mut crowded), ["other"]);
        // The last place is had, too.
        assert_eq!(begin(&mut queue(1, &[("only", 3)])), ["only"]);
    }

    #[test]
    fn a_reserved_share_takes_nothing_from_the_others() {
        let mut queue = queue(2, &[("common", 5), ("own", 5), ("off", 2)]);
        let share = |name: &str, _: usize| match name {
            "own" => Share::Reserved(3),
            "off" => Share::Reserved(0),
            _ => Share::Common,
        };
        let mut begun: Vec<String> =
            std::iter::from_fn(|| queue.next(share)).map(|(entry, _)| entry.lane).collect();
        begun.sort();
        assert_eq!(begun, ["common", "off", "own", "own", "own"]);
    }

    #[test]
    fn deliveries_have_places_of_their_own() {
        let mut queue = queue(1, &[("> arn:dead", 100), ("f", 3)]);
        let begun = begin(&mut queue);
        assert_eq!(begun.iter().filter(|lane| *lane == "f").count(), 1);
        assert_eq!(begun.len(), 1 + DELIVERIES / 2);
    }

    #[test]
    fn a_pause_is_one_lanes_own() {
        let mut queue = queue(100, &[("a", 2), ("b", 1)]);
        let (_, first) = queue.next(|_, _| Share::Common).unwrap();
        queue.ran(&first, true);
        assert_eq!(begin(&mut queue), ["b"]);
        let patience = queue.patience(0);
        assert!(patience > Duration::ZERO && patience <= PAUSE);
    }

    #[test]
    fn what_is_settled_is_forgotten() {
        let mut queue = queue(100, &[("a", 1)]);
        let (_, turn) = queue.next(|_, _| Share::Common).unwrap();
        assert_eq!(queue.running(), HashSet::from([1]));
        queue.ran(&turn, false);
        assert!(!queue.is_idle() && queue.running().is_empty());
        queue.settled(turn.id);
        assert!(queue.is_idle() && queue.lanes.is_empty() && queue.taken == 0);
    }

    #[test]
    fn the_disk_is_asked_for_what_is_short() {
        let mut queue = queue(100, &[("a", 32)]);
        let wanted = queue.wanted(0).unwrap();
        assert_eq!(wanted.full, HashSet::from(["a".to_owned()]));
        assert_eq!(wanted.claimed.len(), 32);
        assert!(queue.wanted(0).is_none());
        assert!(!queue.arrived("a"), "enough is at hand");
        assert!(queue.arrived("b") && !queue.arrived("b"));
        queue.wanted(0).unwrap();
        queue.expect(10);
        assert!(queue.wanted(9).is_none() && queue.wanted(10).is_some());
    }

    #[test]
    fn what_is_chosen_is_given_back_unless_it_runs() {
        let mut queue = queue(100, &[("a", 3)]);
        let running = queue.next(|_, _| Share::Common).unwrap().1.id;
        let busy = queue.give_back(&HashSet::from([running, 2, 77]));
        assert_eq!(busy, HashSet::from([running]));
        assert_eq!((queue.at_hand, queue.bytes_at_hand, queue.claimed.len()), (1, 2, 2));
    }
}
