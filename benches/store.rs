//! Durable commits per second, and how long a caller waits for one, beside what the disk can do: one
//! thread that appends to a plain file what has gathered, syncs it, and answers.
//!
//! `cargo bench --bench store -- [FOLDER]`: on the disk of that folder [the temporary files'].
//! `--seconds N`: of each run [2]; `--rounds N`: [3], in turns. Medians are shown.

use std::future::Future;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use handlerd::store::{Key, Store};
use serde_json::json;
use tokio::sync::oneshot;

const CALLERS: [usize; 3] = [1, 16, 64];
/// Of what is kept with each commit.
const SIZE: usize = 500;

#[derive(Debug, Clone, Copy)]
struct Figures {
    per_second: f64,
    p50: Duration,
    p99: Duration,
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let (mut folder, mut seconds, mut rounds) = (std::env::temp_dir(), 2.0, 3);
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().and_then(|value| value.parse::<f64>().ok()).expect("a number");
        match argument.as_str() {
            "--seconds" => seconds = number(),
            "--rounds" => rounds = number() as usize,
            other => folder = PathBuf::from(other),
        }
    }
    let duration = Duration::from_secs_f64(seconds);
    println!("| callers | | commits/s | p50 ms | p99 ms |\n|---|---|---|---|---|");
    for callers in CALLERS {
        let (mut stores, mut plain) = (Vec::new(), Vec::new());
        for round in 0..rounds {
            // In turns, as the disk has its moods.
            if round % 2 == 0 {
                stores.push(measure_store(&folder, callers, duration));
                plain.push(measure_plain(&folder, callers, duration));
            } else {
                plain.push(measure_plain(&folder, callers, duration));
                stores.push(measure_store(&folder, callers, duration));
            }
        }
        show(callers, "Store::write", stores);
        show(callers, "append + fdatasync", plain);
    }
}

fn show(callers: usize, what: &str, mut rounds: Vec<Figures>) {
    rounds.sort_by(|a, b| a.per_second.total_cmp(&b.per_second));
    let Figures { per_second, p50, p99 } = rounds[rounds.len() / 2];
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    println!("| {callers} | {what} | {per_second:.0} | {:.2} | {:.2} |", ms(p50), ms(p99));
}

fn measure_store(folder: &Path, callers: usize, duration: Duration) -> Figures {
    let folder = tempfile::tempdir_in(folder).unwrap();
    let store = Store::open(folder.path()).unwrap();
    let document = json!({"event": "x".repeat(SIZE)});
    measure(callers, duration, move |caller, number| {
        let (store, document) = (store.clone(), document.clone());
        async move {
            let name = format!("{caller}-{number}");
            let key = Key { kind: "bench", owner: "bench", name: &name };
            store.put_resource(key, document).await.unwrap();
        }
    })
}

fn measure_plain(folder: &Path, callers: usize, duration: Duration) -> Figures {
    let folder = tempfile::tempdir_in(folder).unwrap();
    let mut file = std::fs::File::create(folder.path().join("log")).unwrap();
    let (jobs, waiting) = mpsc::channel::<(Vec<u8>, oneshot::Sender<()>)>();
    let thread = std::thread::spawn(move || {
        while let Ok(first) = waiting.recv() {
            let group: Vec<_> = std::iter::once(first).chain(waiting.try_iter()).collect();
            let bytes: Vec<u8> = group.iter().flat_map(|(bytes, _)| bytes.iter().copied()).collect();
            file.write_all(&bytes).unwrap();
            file.sync_data().unwrap();
            for (_, answer) in group {
                let _ = answer.send(());
            }
        }
    });
    let figures = measure(callers, duration, move |_, _| {
        let jobs = jobs.clone();
        async move {
            let (answer, answered) = oneshot::channel();
            jobs.send((vec![b'x'; SIZE], answer)).unwrap();
            answered.await.unwrap();
        }
    });
    thread.join().unwrap();
    figures
}

/// So many callers, each with one commit at a time, on one thread as in the gateway.
fn measure<F: Future<Output = ()> + 'static>(
    callers: usize,
    duration: Duration,
    commit: impl Fn(usize, usize) -> F + 'static,
) -> Figures {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let local = tokio::task::LocalSet::new();
    let began = Instant::now();
    let mut times: Vec<Duration> = local.block_on(&runtime, async {
        let commit = Rc::new(commit);
        // Each polled only when it is woken, as tasks of the gateway are.
        let call = |caller| {
            let commit = commit.clone();
            tokio::task::spawn_local(async move {
                let mut times = Vec::new();
                while began.elapsed() < duration {
                    let asked = Instant::now();
                    commit(caller, times.len()).await;
                    times.push(asked.elapsed());
                }
                times
            })
        };
        let mut times = Vec::new();
        for caller in (0..callers).map(call).collect::<Vec<_>>() {
            times.extend(caller.await.unwrap());
        }
        times
    });
    let per_second = times.len() as f64 / began.elapsed().as_secs_f64();
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    Figures { per_second, p50: at(0.5), p99: at(0.99) }
}
