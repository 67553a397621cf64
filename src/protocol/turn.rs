//! Whose turn it is at a slot of a mailbox, and who has to be woken: the steps that must be right in
//! every order, apart from memory and system calls, so that a model checker can try all orders.

use std::sync::atomic::{AtomicU32, Ordering, fence};

pub const EMPTY: u32 = 0;
pub const REQUEST: u32 = 1;
pub const TAKEN: u32 = 2;
pub const ANSWER: u32 = 3;
/// A request for when the one before is done; until it is taken the gateway may take it back.
pub const AHEAD: u32 = 4;

/// An atomic word: what is written before `set` is seen after `get`.
pub trait Word {
    fn get(&self) -> u32;
    fn set(&self, value: u32);
    /// Sets, and tells what was there.
    fn exchange(&self, value: u32) -> u32;
    /// Sets if `expected` is there, and tells whether it was.
    fn replace(&self, expected: u32, value: u32) -> bool;
    /// Stands between writing one word and reading another: of two sides that do so crosswise, at
    /// least one sees what the other wrote.
    fn fence();
}

impl Word for AtomicU32 {
    fn get(&self) -> u32 {
        self.load(Ordering::Acquire)
    }

    fn set(&self, value: u32) {
        self.store(value, Ordering::Release);
    }

    fn exchange(&self, value: u32) -> u32 {
        self.swap(value, Ordering::AcqRel)
    }

    fn replace(&self, expected: u32, value: u32) -> bool {
        self.compare_exchange(expected, value, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    fn fence() {
        fence(Ordering::SeqCst);
    }
}

/// The words of one slot, and the one that all slots of a mailbox share.
pub struct Turn<'a, W> {
    pub state: &'a W,
    /// 1 while the environment sleeps, or is about to.
    pub sleeper: &'a W,
}

impl<W: Word> Turn<'_, W> {
    /// Gateway: the request is written. `true`: the environment has to be woken.
    pub fn offer(&self) -> bool {
        self.state.set(REQUEST);
        self.has_to_be_woken()
    }

    /// The same while the environment works on another. Whether it has to be woken is asked later, when it
    /// is worth it.
    pub fn offer_ahead(&self) {
        self.state.set(AHEAD);
    }

    /// Gateway: what was offered ahead may be taken now, whatever came before. `true`: as above.
    pub fn release(&self) -> bool {
        self.state.replace(AHEAD, REQUEST) && self.has_to_be_woken()
    }

    /// Gateway: takes back what was offered ahead. `false`: the environment has taken it.
    pub fn take_back(&self) -> bool {
        self.state.replace(AHEAD, EMPTY)
    }

    /// Gateway: after an offer.
    pub fn has_to_be_woken(&self) -> bool {
        W::fence();
        self.sleeper.get() == 1 && self.sleeper.exchange(0) == 1
    }

    /// Gateway: whether there is something to collect. A state that cannot be counts as something.
    pub fn is_answered(&self) -> bool {
        !matches!(self.state.get(), EMPTY | REQUEST | TAKEN | AHEAD)
    }

    /// Gateway: whether a request lies there that the environment has not begun.
    pub fn is_untouched(&self) -> bool {
        matches!(self.state.get(), REQUEST | AHEAD)
    }

    /// Gateway: it is collected.
    pub fn clear(&self) {
        self.state.set(EMPTY);
    }

    /// Whether the gateway may write here.
    pub fn is_empty(&self) -> bool {
        self.state.get() == EMPTY
    }

    /// Environment: whether there is something to do; `goes_on`: also what was offered ahead.
    fn is_requested(&self, goes_on: bool) -> bool {
        let state = self.state.get();
        state == REQUEST || (goes_on && state == AHEAD)
    }

    /// Environment: begins, if there is something to do. Whoever dies before this has not seen the request.
    pub fn take(&self, goes_on: bool) -> bool {
        match self.state.get() {
            REQUEST => {
                self.state.set(TAKEN);
                true
            }
            // Meanwhile it may be taken back, or released.
            AHEAD if goes_on => self.state.replace(AHEAD, TAKEN) || self.take(goes_on),
            _ => false,
        }
    }

    /// Environment: nothing to do; may it sleep while `sleeper` is 1? `false`: look again.
    pub fn may_sleep(&self, goes_on: bool) -> bool {
        self.sleeper.set(1);
        W::fence();
        if self.is_requested(goes_on) {
            self.sleeper.set(0);
            return false;
        }
        true
    }

    /// Environment: the answer is written. `true`: the gateway has to be woken.
    pub fn answer(&self, gateway_sleeps: &W) -> bool {
        self.state.set(ANSWER);
        W::fence();
        gateway_sleeps.get() == 1
    }
}

/// Gateway: about to sleep. `false`: something came in meanwhile, look again.
pub fn gateway_may_sleep<W: Word>(gateway_sleeps: &W, has_answer: impl FnOnce() -> bool) -> bool {
    gateway_sleeps.set(1);
    W::fence();
    if has_answer() {
        gateway_sleeps.set(0);
        return false;
    }
    true
}

#[cfg(test)]
mod tests {
    use loom::sync::atomic::AtomicU32 as LoomWord;
    use loom::sync::{Arc, Condvar, Mutex};
    use loom::thread;

    use super::*;

    trait Modelled: Word + Send + Sync + 'static {
        fn new(value: u32) -> Self;
    }

    struct Ordered(LoomWord);

    impl Modelled for Ordered {
        fn new(value: u32) -> Self {
            Self(LoomWord::new(value))
        }
    }

    impl Word for Ordered {
        fn get(&self) -> u32 {
            self.0.load(Ordering::Acquire)
        }

        fn set(&self, value: u32) {
            self.0.store(value, Ordering::Release);
        }

        fn exchange(&self, value: u32) -> u32 {
            self.0.swap(value, Ordering::AcqRel)
        }

        fn replace(&self, expected: u32, value: u32) -> bool {
            self.0.compare_exchange(expected, value, Ordering::AcqRel, Ordering::Acquire).is_ok()
        }

        fn fence() {
            loom::sync::atomic::fence(Ordering::SeqCst);
        }
    }

    struct Latest(LoomWord);

    impl Modelled for Latest {
        fn new(value: u32) -> Self {
            Self(LoomWord::new(value))
        }
    }

    impl Word for Latest {
        fn get(&self) -> u32 {
            self.0.fetch_add(0, Ordering::AcqRel)
        }

        fn set(&self, value: u32) {
            self.0.swap(value, Ordering::AcqRel);
        }

        fn exchange(&self, value: u32) -> u32 {
            self.0.swap(value, Ordering::AcqRel)
        }

        fn replace(&self, expected: u32, value: u32) -> bool {
            self.0.compare_exchange(expected, value, Ordering::AcqRel, Ordering::Acquire).is_ok()
        }

        fn fence() {}
    }

    /// What the kernel does for `futex` and `eventfd`, as far as it matters: waiting and waking do
    /// not overlap, and a wait whose condition does not hold any more ends at once.
    #[derive(Default)]
    struct Kernel {
        lock: Mutex<u32>,
        woken: Condvar,
    }

    impl Kernel {
        fn futex_wait<W: Word>(&self, word: &W, expected: u32) {
            let guard = self.lock.lock().unwrap();
            if word.get() == expected {
                drop(self.woken.wait(guard).unwrap());
            }
        }

        fn futex_wake(&self) {
            let _guard = self.lock.lock().unwrap();
            self.woken.notify_one();
        }

        fn ring(&self) {
            *self.lock.lock().unwrap() += 1;
            self.woken.notify_one();
        }

        fn sleep_until_rung(&self) {
            let mut rung = self.lock.lock().unwrap();
            while *rung == 0 {
                rung = self.woken.wait(rung).unwrap();
            }
            *rung = 0;
        }
    }

    struct Slot<W> {
        state: W,
        data: loom::cell::UnsafeCell<u32>,
    }

    struct Shared<W> {
        slots: [Slot<W>; 2],
        sleeper: W,
        gateway_sleeps: W,
        futex: Kernel,
        bell: Kernel,
    }

    // SAFETY: this is what is tested; loom reports two sides that touch the data at once.
    unsafe impl<W: Sync> Sync for Shared<W> {}
    // SAFETY: as above.
    unsafe impl<W: Send> Send for Shared<W> {}

    impl<W: Word> Shared<W> {
        fn turn(&self, slot: usize) -> Turn<'_, W> {
            Turn { state: &self.slots[slot].state, sleeper: &self.sleeper }
        }

        /// The gateway's, unless the environment has taken what lies there.
        fn write(&self, slot: usize, request: u32) {
            // SAFETY: it is this side's turn.
            self.slots[slot].data.with_mut(|data| unsafe { *data = request });
        }

        fn wake(&self, has_to_be_woken: bool) {
            if has_to_be_woken {
                self.futex.futex_wake();
            }
        }

        fn await_answer(&self, slot: usize, expected: u32) {
            while !self.turn(slot).is_answered() {
                if gateway_may_sleep(&self.gateway_sleeps, || self.turn(slot).is_answered()) {
                    self.bell.sleep_until_rung();
                }
                self.gateway_sleeps.set(0);
            }
            // SAFETY: it is this side's turn.
            self.slots[slot].data.with(|data| assert_eq!(unsafe { *data }, expected));
            self.turn(slot).clear();
        }
    }

    /// Answers so many requests, each in the slot after the last. `goes_on`: without waiting for the
    /// gateway in between.
    fn environment<W: Word>(shared: &Shared<W>, requests: u32, goes_on: bool) {
        for request in 0..requests {
            let slot = request as usize % 2;
            let turn = shared.turn(slot);
            while !turn.take(goes_on) {
                if turn.may_sleep(goes_on) {
                    shared.futex.futex_wait(&shared.sleeper, 1);
                }
            }
            // SAFETY: it is this side's turn.
            shared.slots[slot].data.with_mut(|data| unsafe { *data += 100 });
            if turn.answer(&shared.gateway_sleeps) {
                shared.bell.ring();
            }
        }
    }

    /// One request after the other.
    fn in_turn<W: Word>(shared: &Shared<W>, requests: u32) {
        for request in 0..requests {
            let slot = request as usize % 2;
            shared.write(slot, request);
            shared.wake(shared.turn(slot).offer());
            shared.await_answer(slot, request + 100);
        }
    }

    /// The second is left while the first is worked on.
    fn ahead<W: Word>(shared: &Shared<W>, _: u32) {
        shared.write(0, 0);
        shared.wake(shared.turn(0).offer());
        shared.write(1, 1);
        shared.turn(1).offer_ahead();
        shared.wake(shared.turn(1).has_to_be_woken());
        shared.await_answer(0, 100);
        shared.wake(shared.turn(1).release());
        shared.await_answer(1, 101);
    }

    /// The second is taken back, if it is not too late, and another one left in its place.
    fn taken_back<W: Word>(shared: &Shared<W>, _: u32) {
        shared.write(0, 0);
        shared.wake(shared.turn(0).offer());
        shared.write(1, 1);
        shared.turn(1).offer_ahead();
        shared.wake(shared.turn(1).has_to_be_woken());
        let second = if shared.turn(1).take_back() { 7 } else { 1 };
        shared.await_answer(0, 100);
        if second == 7 {
            shared.write(1, 7);
            shared.wake(shared.turn(1).offer());
        }
        shared.await_answer(1, second + 100);
    }

    /// In every order of their steps: nobody sleeps for ever, nobody touches the data out of turn, every
    /// request gets its own answer.
    fn check<W: Modelled>(
        gateway: fn(&Shared<W>, u32),
        (requests, goes_on): (u32, bool),
        switches: Option<usize>,
    ) {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = switches;
        model.check(move || {
            let slot = || Slot { state: W::new(EMPTY), data: loom::cell::UnsafeCell::new(0) };
            let shared = Arc::new(Shared::<W> {
                slots: [slot(), slot()],
                sleeper: W::new(0),
                gateway_sleeps: W::new(1),
                futex: Kernel::default(),
                bell: Kernel::default(),
            });
            let theirs = shared.clone();
            let child = thread::spawn(move || environment(&theirs, requests, goes_on));
            gateway(&shared, requests);
            child.join().unwrap();
        });
    }

    /// With the orderings that the product uses.
    #[test]
    fn no_order_loses_a_wake_up() {
        check::<Ordered>(in_turn, (1, true), None);
    }

    /// A further round meets what the first one left behind. There are too many orders of it for all
    /// that weak memory allows; here every access sees the latest value, and a side is interrupted
    /// twice at most.
    #[test]
    fn a_second_round_meets_no_leftovers() {
        check::<Latest>(in_turn, (2, true), Some(2));
        check::<Latest>(in_turn, (3, true), Some(1));
    }

    #[test]
    fn what_is_left_ahead_is_answered() {
        check::<Latest>(ahead, (2, true), Some(2));
    }

    #[test]
    fn an_environment_that_has_to_wait_is_released() {
        check::<Latest>(ahead, (2, false), Some(2));
    }

    #[test]
    fn what_is_taken_back_is_not_answered() {
        check::<Latest>(taken_back, (2, true), Some(2));
        check::<Latest>(taken_back, (2, false), Some(2));
    }
}
