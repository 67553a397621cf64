//! Choices among Pythons and environments that are made up for the test, and a look at the real
//! ones of the machine.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::*;

pub(super) fn write_executable(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    // Renamed into place: another test's fork may hold a file open that is still being written,
    // and such a file cannot be executed ("text file busy").
    let aside = path.with_extension("new");
    fs::write(&aside, text).unwrap();
    fs::set_permissions(&aside, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(&aside, path).unwrap();
}

/// A machine with the Pythons that a test wants, all of them shell scripts.
struct Machine {
    folder: TempDir,
    search: Search,
}

impl Machine {
    fn new() -> Machine {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let handlers = root.join("project/handlers");
        fs::create_dir_all(handlers.join("hello")).unwrap();
        let search = Search { handlers, current_dir: root.join("project"), ..Search::default() };
        Machine { folder, search }
    }

    fn root(&self) -> PathBuf {
        self.folder.path().canonicalize().unwrap()
    }

    fn function(&self) -> PathBuf {
        self.search.handlers.join("hello")
    }

    /// A Python in a folder of its own, with its library, under pyenv's folder.
    fn python(&mut self, version: &str) -> PathBuf {
        let root = self.root();
        self.search.pyenv_root = Some(root.join("pyenv"));
        let executable = self.python_in(&root.join("pyenv/versions").join(version), version, "");
        let minor = Version::parse(version).unwrap().minor;
        let library = executable.parent().unwrap().with_file_name("lib");
        fs::create_dir_all(&library).unwrap();
        fs::write(library.join(format!("libpython3.{minor}.so.1.0")), "").unwrap();
        executable
    }

    /// Counts in a file how often it was run. `facts` overrides what it says.
    fn python_in(&self, prefix: &Path, version: &str, facts: &str) -> PathBuf {
        let number = Version::parse(version).unwrap();
        let executable = prefix.join("bin").join(number.runtime());
        let mut answer = serde_json::json!({
            "implementation": "cpython",
            "version": [number.major, number.minor, number.micro],
            "executable": executable,
            "prefix": prefix,
            "base_prefix": prefix,
            "stdlib": prefix.join("lib").join(number.runtime()),
            "free_threaded": false,
            "optimised": false,
            "loaded_library": null,
            "library_names": [format!("libpython3.{}.a", number.minor), null],
            "library_folders": ["/install/lib", null],
            "ld_version": format!("3.{}", number.minor),
            "multiarch": null,
        });
        if !facts.is_empty() {
            let facts: serde_json::Map<String, serde_json::Value> = serde_json::from_str(facts).unwrap();
            answer.as_object_mut().unwrap().extend(facts);
        }
        let runs = self.root().join("runs");
        write_executable(
            &executable,
            &format!("#!/bin/sh\necho {version} >> {}\necho '{answer}'\n", runs.display()),
        );
        let _ = symlink(executable.file_name().unwrap(), executable.with_file_name("python3"));
        executable
    }

    fn put_on_path(&mut self, executable: &Path) {
        let mut path = std::mem::take(&mut self.search.path);
        if !path.is_empty() {
            path.push(":");
        }
        path.push(executable.parent().unwrap());
        self.search.path = path;
    }

    fn environment(&self, path: &Path, version: &str, base: &Path) {
        fs::create_dir_all(path.join("bin")).unwrap();
        let home = base.parent().unwrap().display();
        fs::write(path.join("pyvenv.cfg"), format!("home = {home}\nversion = {version}\n")).unwrap();
        symlink(base, path.join("bin/python")).unwrap();
    }

    fn interpreters(&self) -> Interpreters {
        Interpreters::new(self.search.clone(), Some(&self.cache()))
    }

    fn cache(&self) -> PathBuf {
        self.root().join("state/interpreters.json")
    }

    fn choose(&self, runtime: Option<&str>) -> Choice {
        self.interpreters().choose(runtime, &self.function()).unwrap()
    }

    fn runs(&self) -> usize {
        fs::read_to_string(self.root().join("runs")).unwrap_or_default().lines().count()
    }
}

fn note(choice: &Choice) -> &str {
    choice.note.as_deref().unwrap_or_default()
}

/// What lies in /usr/bin is found in each test; only what the test made is looked at.
fn of_machine(machine: &Machine, interpreters: &Interpreters) -> Vec<Interpreter> {
    let root = machine.root();
    interpreters.all().iter().filter(|found| found.executable.starts_with(&root)).cloned().collect()
}

#[test]
fn the_default_asks_one_python_and_the_cache_asks_none() {
    let mut machine = Machine::new();
    for version in ["3.11.2", "3.12.1", "3.13.0"] {
        machine.python(version);
    }
    let python = machine.python("3.12.1");
    machine.put_on_path(&python);
    let choice = machine.choose(None);
    assert_eq!((choice.python, choice.note, choice.venv), (python.clone(), None, None));
    assert_eq!(choice.interpreter.version.to_string(), "3.12.1");
    assert_eq!(
        choice.interpreter.libpython,
        Some(machine.root().join("pyenv/versions/3.12.1/lib/libpython3.12.so.1.0"))
    );
    assert_eq!(machine.runs(), 1);
    assert_eq!(machine.choose(Some("python3.12")).python, python);
    assert_eq!(machine.runs(), 1, "answered by the cache");

    assert_eq!(of_machine(&machine, &machine.interpreters()).len(), 3);
    assert_eq!(machine.runs(), 3);
    machine.interpreters().all();
    assert_eq!(machine.runs(), 3);

    // The same Python, built again.
    machine.python("3.12.1");
    assert_eq!(machine.choose(None).python, python);
    assert_eq!(machine.runs(), 4);

    fs::write(machine.cache(), "{ \"question\": 1").unwrap();
    assert_eq!(machine.choose(None).python, python);
    assert_eq!(machine.runs(), 5, "a broken cache is no cache");
    assert_eq!(machine.choose(None).python, python);
    assert_eq!(machine.runs(), 5, "and has been replaced");
}

#[test]
fn a_cache_that_cannot_be_written_is_done_without() {
    let mut machine = Machine::new();
    let python = machine.python("3.12.1");
    machine.put_on_path(&python);
    let cache = machine.root().join("runs-as-file/cache.json");
    fs::write(cache.parent().unwrap(), "").unwrap();
    let interpreters = Interpreters::discover(machine.search.clone(), Some(&cache));
    assert_eq!(interpreters.choose(None, &machine.function()).unwrap().python, python);
}

#[test]
fn a_runtime_gets_its_version_or_the_nearest() {
    let mut machine = Machine::new();
    let default = machine.python("3.12.1");
    machine.python("3.30.0");
    let far = machine.python("3.34.0");
    machine.put_on_path(&default);
    let choice = machine.choose(Some("python3.34"));
    assert_eq!((choice.python.clone(), note(&choice)), (far.clone(), ""));
    let choice = machine.choose(Some("python3.32"));
    assert_eq!(choice.python, far, "of two equally near the newer");
    assert!(
        note(&choice)
            .starts_with("function `hello` asks for python3.32, which is not on this machine; python3.34 (")
    );
    assert!(note(&choice).contains("hint: install it with uv python install 3.32 or with pyenv"));
    let choice = machine.choose(Some("nodejs22.x"));
    assert_eq!(choice.python, default);
    assert!(note(&choice).contains("asks for nodejs22.x, which is not a version of Python"));
}

#[test]
fn only_pythons_that_can_have_the_version_are_run() {
    let mut machine = Machine::new();
    for version in ["3.7.1", "3.12.1", "3.13.0", "3.31.0"] {
        machine.python(version);
    }
    let default = machine.python("3.13.0");
    machine.put_on_path(&default);
    assert_eq!(machine.choose(Some("python3.31")).interpreter.version.to_string(), "3.31.0");
    assert_eq!(machine.runs(), 2);
    machine.search.python = Some("3.31".into());
    assert_eq!(machine.choose(None).interpreter.version.to_string(), "3.31.0");
    assert_eq!(machine.runs(), 2);
}

#[test]
fn a_first_python_that_is_passed_over_is_named() {
    let mut machine = Machine::new();
    let [old, new] = ["3.8.1", "3.13.0"].map(|version| machine.python(version));
    machine.put_on_path(&old);
    machine.put_on_path(&new);
    let choice = machine.choose(None);
    assert_eq!(choice.python, new);
    let expected = format!("the first Python on PATH, {}, cannot be used: older than 3.10", old.display());
    assert!(note(&choice).contains(&expected), "{}", note(&choice));
}

#[test]
fn an_environment_decides() {
    let mut machine = Machine::new();
    let [older, newer] = ["3.12.1", "3.13.0"].map(|version| machine.python(version));
    machine.put_on_path(&newer);
    let project = machine.root().join("project");
    let [own, beside, inside, active] = [
        machine.function().join(".venv"),
        project.join(".venv"),
        project.join("handlers/.venv"),
        project.join("active"),
    ];

    machine.environment(&inside, "3.12.1", &older);
    let used = |machine: &Machine| machine.choose(None).venv.unwrap().path;
    assert_eq!(used(&machine), inside);
    machine.environment(&beside, "3.12.1", &older);
    assert_eq!(used(&machine), beside);
    machine.environment(&active, "3.12.1", &older);
    machine.search.virtual_env = Some(active.clone());
    assert_eq!(used(&machine), active);
    machine.search.python = Some("handlers/.venv".into());
    assert_eq!(used(&machine), inside);
    machine.environment(&own, "3.12.1", &older);
    assert_eq!(used(&machine), own);

    let choice = machine.choose(None);
    assert_eq!(choice.python, own.join("bin/python"));
    assert_eq!(choice.interpreter.executable, older);
    assert_eq!(choice.note, None);
    assert_eq!(choice.interpreter.libpython.unwrap().file_name().unwrap(), "libpython3.12.so.1.0");
}

#[test]
fn an_environment_first_on_path_is_used() {
    let mut machine = Machine::new();
    let python = machine.python("3.12.1");
    let environment = machine.root().join("image/venv");
    machine.environment(&environment, "3.12.1", &python);
    symlink("python", environment.join("bin/python3")).unwrap();
    machine.put_on_path(&environment.join("bin/python3"));
    assert_eq!(machine.choose(None).python, environment.join("bin/python"));
}

#[test]
fn a_runtime_overrules_an_environment_of_another_version_loudly() {
    let mut machine = Machine::new();
    let [older, newer] = ["3.12.1", "3.13.0"].map(|version| machine.python(version));
    machine.put_on_path(&older);
    let own = machine.function().join(".venv");
    machine.environment(&own, "3.12.1", &older);
    let choice = machine.choose(Some("python3.13"));
    assert_eq!((choice.python.clone(), choice.venv.clone()), (newer, None));
    assert!(note(&choice).contains("asks for python3.13, but its virtual environment"), "{}", note(&choice));
    assert!(note(&choice).contains("is of python3.12: it is NOT used"), "{}", note(&choice));
    // With a version that is nowhere, the packages decide.
    let choice = machine.choose(Some("python3.33"));
    assert_eq!(choice.venv.clone().unwrap().path, own);
    assert!(note(&choice).contains("which is not on this machine; python3.12 ("), "{}", note(&choice));
    assert_eq!(machine.choose(Some("python3.12")).note, None);
}

#[test]
fn the_command_line_overrules_what_lies_around() {
    let mut machine = Machine::new();
    let [older, newer] = ["3.12.1", "3.13.0"].map(|version| machine.python(version));
    machine.put_on_path(&older);
    let active = machine.root().join("active");
    machine.environment(&active, "3.12.1", &older);
    machine.search.virtual_env = Some(active.clone());
    for python in [
        PathBuf::from("3.13"),
        "python3.13".into(),
        "3.13.0".into(),
        newer.clone(),
        newer.ancestors().nth(2).unwrap().into(),
    ] {
        machine.search.python = Some(python.clone());
        let choice = machine.choose(None);
        assert_eq!(choice.python, newer, "{}", python.display());
        assert!(
            note(&choice).contains("(VIRTUAL_ENV) is of python3.12 and is NOT used"),
            "{}",
            note(&choice)
        );
    }
    machine.search.python = Some("3.12".into());
    assert_eq!(machine.choose(None).venv.unwrap().path, active);
    machine.search.python = Some(active.join("bin/python"));
    assert_eq!(machine.choose(None).venv.unwrap().path, active);
}

#[test]
fn what_was_asked_for_and_is_not_there_is_an_error() {
    let mut machine = Machine::new();
    let python = machine.python("3.12.1");
    machine.put_on_path(&python);
    for (asked, reason) in [
        ("3.77", "--python 3.77: no such Python is on this machine"),
        ("./nowhere", "--python ./nowhere: there is no such file, and no such name on PATH"),
        ("handlers", "--python handlers: it has no pyvenv.cfg, so it is not a virtual environment"),
    ] {
        machine.search.python = Some(asked.into());
        let error = machine.interpreters().choose(None, &machine.function()).unwrap_err();
        assert_eq!(error.reason, reason);
        assert!(error.to_string().contains("usable ones"), "{error}");
    }
}

#[test]
fn broken_environments_are_told_and_not_used() {
    let mut machine = Machine::new();
    let [older, newer] = ["3.12.1", "3.13.0"].map(|version| machine.python(version));
    machine.put_on_path(&newer);
    let own = machine.function().join(".venv");
    let expect = |machine: &Machine, what: &str| {
        let choice = machine.choose(None);
        assert_eq!((&choice.python, &choice.venv), (&newer, &None), "{what}");
        assert!(note(&choice).contains("its virtual environment"), "{}", note(&choice));
        assert!(note(&choice).contains("is NOT used"), "{}", note(&choice));
        assert!(note(&choice).contains(what), "{}", note(&choice));
        fs::remove_dir_all(&own).unwrap();
    };

    fs::create_dir_all(&own).unwrap();
    expect(&machine, "no pyvenv.cfg");

    machine.environment(&own, "3.12.1", &older);
    fs::write(own.join("pyvenv.cfg"), "version = 3.12.1\n").unwrap();
    expect(&machine, "does not say `home");

    machine.environment(&own, "3.12.1", &older);
    fs::remove_file(own.join("bin/python")).unwrap();
    expect(&machine, "no bin/python");

    machine.environment(&own, "3.12.1", Path::new("/nowhere/bin/python3.12"));
    expect(&machine, "leads to /nowhere/bin/python3.12, which is gone");

    machine.environment(&own, "3.12.1", &newer);
    expect(&machine, "it was made for python3.12, but its bin/python is now Python 3.13.0");

    machine.environment(&own, "3.12.1", &newer);
    let home = older.parent().unwrap().display();
    fs::write(own.join("pyvenv.cfg"), format!("home = {home}\nversion = 3.12.1\n")).unwrap();
    expect(&machine, "says home =");

    let old = machine.python("3.8.1");
    machine.environment(&own, "3.8.1", &old);
    expect(&machine, "cannot be used: older than 3.10");

    machine.search.virtual_env = Some("/nowhere/at/all".into());
    let choice = machine.choose(None);
    assert_eq!(
        note(&choice),
        "function `hello`: the virtual environment /nowhere/at/all (VIRTUAL_ENV) is NOT used: it does not exist"
    );
}

#[test]
fn environments_of_other_tools_are_read() {
    let mut machine = Machine::new();
    let python = machine.python("3.12.1");
    let interpreters = machine.interpreters();
    let folder = machine.root().join("environment");
    machine.environment(&folder, "3.12.1", &python);
    let home = python.parent().unwrap().display();

    let write = |text: String| fs::write(folder.join("pyvenv.cfg"), text).unwrap();
    write(format!("home = {home}\nimplementation = CPython\nuv = 0.4\nversion_info = 3.12.1\n"));
    assert_eq!(VirtualEnvironment::open(&folder, &interpreters).problem, None);

    // A folder of links, as /usr/local/bin often is.
    let links = machine.root().join("local/bin");
    fs::create_dir_all(&links).unwrap();
    symlink(&python, links.join("python3.12")).unwrap();
    write(format!("home = {}\nversion = 3.12.1\n", links.display()));
    assert_eq!(VirtualEnvironment::open(&folder, &interpreters).problem, None);

    // A copy in place of the link (`venv --copies`).
    fs::remove_file(folder.join("bin/python")).unwrap();
    write_executable(&folder.join("bin/python"), "#!/bin/sh\nexit 9\n");
    write(format!("home = {home}\nversion = 3.12.1\n"));
    let environment = VirtualEnvironment::open(&folder, &interpreters);
    assert_eq!(environment.problem, None);
    assert_eq!(environment.interpreter.unwrap().executable, python);
    write("home = /nowhere\nversion = 3.12.1\n".into());
    assert!(!VirtualEnvironment::open(&folder, &interpreters).is_usable());
}

#[test]
fn a_conda_environment_is_a_python_of_its_own() {
    let mut machine = Machine::new();
    let python = machine.python("3.12.1");
    machine.put_on_path(&python);
    let prefix = machine.function().join(".venv");
    let conda = machine.python_in(&prefix, "3.11.4", "");
    fs::create_dir_all(prefix.join("lib")).unwrap();
    fs::write(prefix.join("lib/libpython3.11.so.1.0"), "").unwrap();
    fs::create_dir_all(prefix.join("conda-meta")).unwrap();
    symlink("python3.11", prefix.join("bin/python")).unwrap();
    let choice = machine.choose(None);
    assert_eq!((choice.python, choice.venv), (conda, None));
}

#[test]
fn every_problem_says_what_to_do() {
    let machine = Machine::new();
    let problem = |facts: &str| {
        let prefix = machine.root().join("opt");
        let python = machine.python_in(&prefix, "3.13.1", facts);
        let found = machine.interpreters().ask(&Candidate::new(python, "test"));
        assert!(!found.is_usable());
        found.problem.unwrap().to_string()
    };
    assert_eq!(problem(r#"{"version": [3, 9, 2]}"#), "older than 3.10");
    assert_eq!(problem(r#"{"implementation": "pypy"}"#), "pypy is not CPython, which is needed");
    assert_eq!(
        problem(r#"{"free_threaded": true}"#),
        "free-threaded build (python3.13t) is not supported: use the ordinary python3.13"
    );
    assert_eq!(
        problem("{}"),
        "no shared library: build it with --enable-shared, or install another with uv python install 3.13"
    );
    assert_eq!(
        problem(r#"{"base_prefix": "/home/x/.pyenv/versions/3.13.1"}"#),
        "no shared library: build it again with PYTHON_CONFIGURE_OPTS=--enable-shared pyenv install --force 3.13.1"
    );
    assert!(
        problem(r#"{"base_prefix": "/usr", "ld_version": "3.99", "library_names": []}"#)
            .contains("apt install libpython3.13")
    );
    let broken = machine.root().join("broken/python3");
    let run = |script: &str| {
        write_executable(&broken, script);
        probe::run_for(&broken, Path::new("/nowhere"), Duration::from_millis(300)).unwrap_err().to_string()
    };
    assert_eq!(
        run("#!/bin/sh\necho Traceback >&2\necho 'ImportError: no x' >&2\nexit 1\n"),
        "could not be run: ImportError: no x"
    );
    assert_eq!(run("#!/bin/sh\nexit 3\n"), "could not be run: it ended with exit code 3");
    assert_eq!(run("#!/bin/sh\necho hello\n"), "could not be run: its answer is not that of a Python");
    assert!(run("#!/nowhere/python\n").starts_with("could not be run: No such file"));
}

#[test]
fn a_python_that_hangs_is_ended_with_all_it_started() {
    let machine = Machine::new();
    let mark = machine.root().join("survivor");
    let python = machine.root().join("python3");
    write_executable(&python, &format!("#!/bin/sh\n(sleep 0.6; touch {}) &\nsleep 60\n", mark.display()));
    let started = Instant::now();
    let problem = probe::run_for(&python, Path::new("/"), Duration::from_millis(200)).unwrap_err();
    assert_eq!(problem, Problem::TimedOut { seconds: 0 });
    assert!(started.elapsed() < Duration::from_secs(5));
    std::thread::sleep(Duration::from_millis(800));
    assert!(!mark.exists());
    write_executable(&python, "#!/bin/sh\nexec yes\n");
    let problem = probe::run_for(&python, Path::new("/"), Duration::from_secs(5)).unwrap_err();
    assert!(matches!(problem, Problem::CouldNotRun(_)), "{problem}");
}

#[test]
fn a_python_inherits_no_file_and_no_input() {
    let machine = Machine::new();
    let python = machine.root().join("python3");
    let list = machine.root().join("files");
    write_executable(&python, &format!("#!/bin/sh\nls -l /proc/$$/fd > {}\nexit 1\n", list.display()));
    // A file that is not closed on exec, as a careless library or a parent leaves one.
    let careless = fs::File::open("/proc/self/status").unwrap();
    rustix::io::fcntl_setfd(&careless, rustix::io::FdFlags::empty()).unwrap();
    let _ = probe::run(&python, Path::new("/"));
    let files = fs::read_to_string(list).unwrap();
    assert!(!files.contains("status"), "{files}");
    assert!(files.lines().any(|line| line.contains(" 0 -> /dev/null")), "{files}");
}

#[test]
fn without_a_usable_python_the_error_tells_everything() {
    let old = Interpreter::not_run(
        "/usr/bin/python3.9".into(),
        "PATH",
        Problem::TooOld(Version { major: 3, minor: 9, micro: 1 }),
    );
    let error = NoInterpreter { reason: "no usable Python was found".into(), found: vec![old] };
    let text = error.to_string();
    assert!(text.starts_with("no usable Python was found\nneeded: CPython 3.10 or newer"), "{text}");
    assert!(text.contains("/usr/bin/python3.9: older than 3.10"), "{text}");
    assert!(text.contains("hint: install one: uv python install 3.13"), "{text}");
    let none = NoInterpreter { found: Vec::new(), ..error };
    assert!(none.to_string().contains("no Python at all"));
}

#[test]
fn hard_links_and_links_are_one_python() {
    let mut machine = Machine::new();
    let python = machine.python("3.12.1");
    machine.put_on_path(&python);
    fs::hard_link(&python, python.with_file_name("python3.19")).unwrap();
    let alias = machine.root().join("pyenv/versions/3.12");
    symlink("3.12.1", alias).unwrap();
    assert_eq!(of_machine(&machine, &machine.interpreters()).len(), 1);
}

#[test]
fn doctor_sees_the_default_and_the_slow() {
    let mut machine = Machine::new();
    let [old, python] = ["3.7.1", "3.12.1"].map(|version| machine.python(version));
    machine.put_on_path(&python);
    let own = machine.function().join(".venv");
    machine.environment(&own, "3.12.1", &python);
    let interpreters = machine.interpreters();
    let environment = VirtualEnvironment::open(&own, &interpreters);
    let report = report(&interpreters, &[environment]);
    let row =
        |executable: &Path| report.interpreters.iter().find(|row| row.executable == executable).unwrap();
    let default = row(&python);
    assert!(default.is_default && default.is_usable);
    assert_eq!(default.verdict, "ok; built without optimisation, about 1.3x slower");
    assert_eq!((row(&old).is_usable, row(&old).verdict.as_str()), (false, "older than 3.10"));
    assert_eq!(report.environments.len(), 1);
    assert_eq!((report.environments[0].is_default, report.environments[0].verdict.as_str()), (false, "ok"));
    assert_eq!(report.default.unwrap().python, python);
}

/// Whatever Pythons this machine has: the ones that can be used are complete.
#[test]
fn the_pythons_of_this_machine_hold_what_they_promise() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("interpreters.json");
    let mut search = Search::from_environment(None, folder.path());
    search.virtual_env = None;
    let interpreters = Interpreters::discover(search.clone(), Some(&cache));
    for interpreter in interpreters.all().iter().filter(|interpreter| interpreter.is_usable()) {
        assert!(interpreter.version >= OLDEST_SUPPORTED);
        assert!(interpreter.executable.is_absolute() && interpreter.executable.is_file());
        assert!(interpreter.stdlib.join("json/__init__.py").is_file(), "{interpreter:?}");
        let library = interpreter.libpython.as_ref().unwrap();
        let name = library.file_name().unwrap().to_str().unwrap();
        let stem = format!("libpython{}.{}", interpreter.version.major, interpreter.version.minor);
        assert!(name.starts_with(&stem), "{interpreter:?}");

        // Its own virtual environment, made by the real thing.
        let path = folder.path().join(interpreter.version.to_string());
        let made = std::process::Command::new(&interpreter.executable)
            .args(["-m", "venv", "--without-pip"])
            .arg(&path)
            .status();
        if made.is_ok_and(|status| status.success()) {
            let environment = VirtualEnvironment::open(&path, &interpreters);
            assert_eq!(environment.problem, None, "{environment:?}");
            assert_eq!(environment.interpreter.unwrap().executable, interpreter.executable);
            assert_eq!(environment.version, interpreter.version);
        }
    }
    assert_eq!(Interpreters::discover(search, Some(&cache)).all(), interpreters.all());
}

/// `cargo test -- --ignored --nocapture measured`
#[test]
#[ignore = "a measurement"]
fn measured() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("interpreters.json");
    let time = |what: &str, work: &dyn Fn(&Interpreters)| {
        let started = Instant::now();
        let search =
            Search::from_environment(env::var_os("ASK").map(|value: OsString| value.into()), folder.path());
        work(&Interpreters::new(search, Some(&cache)));
        println!("{what}: {:?}", started.elapsed());
    };
    let default = |interpreters: &Interpreters| match interpreters.choose(None, Path::new("/nowhere")) {
        Ok(choice) => println!("{} {:?}", choice.python.display(), choice.note),
        Err(error) => println!("{error}"),
    };
    time("the default, cold", &default);
    time("the default, warm", &default);
    time("the default, warm", &default);
    time("all, cold but one", &|interpreters| {
        interpreters.all();
    });
    time("all, warm", &|interpreters| {
        interpreters.all();
    });
    fs::remove_file(&cache).unwrap();
    time("all, cold", &|interpreters| {
        interpreters.all();
    });
    time("the default, warm, full cache", &default);
    time("report", &|interpreters| println!("{:#?}", report(interpreters, &[]).interpreters));
}
