//! A PostgreSQL server of the machine's own, for one test: its data in a temporary folder, reached
//! through a free port of loopback and through a socket. It ends with the test.
//!
//! PostgreSQL refuses to run as root; then it runs as whoever owns nothing.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::harness::PATIENCE;

/// Who must give a password, and which.
pub const USER: &str = "shop";
pub const PASSWORD: &str = "not&for:logs";

/// A running server. Dropping it ends it.
pub struct Postgres {
    child: Child,
    folder: tempfile::TempDir,
    pub port: u16,
    programs: PathBuf,
}

/// `None`: not on this machine, and `test` is to be left out. That has been said.
pub fn postgres(test: &str) -> Option<Postgres> {
    match programs().ok_or("there is no PostgreSQL: install the package postgresql").and_then(|found| {
        identity().map(|identity| (found, identity)).ok_or("root has nobody to run PostgreSQL as")
    }) {
        Ok((programs, identity)) => Some(Postgres::start(programs, identity)),
        Err(reason) => {
            let ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty());
            assert!(!ci, "{test} needs PostgreSQL: {reason}");
            eprintln!("skipped: {test} ({reason})");
            None
        }
    }
}

/// Debian keeps them out of PATH.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
    folders.sort();
    folders.reverse();
    folders.extend(std::env::var_os("PATH").iter().flat_map(std::env::split_paths));
    folders.into_iter().find(|folder| folder.join("initdb").is_file() && folder.join("postgres").is_file())
}

/// As whom it runs: ourselves, or `postgres` or `nobody` in root's place.
fn identity() -> Option<Option<(u32, u32)>> {
    if !rustix::process::geteuid().is_root() {
        return Some(None);
    }
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    let of = |wanted: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(wanted))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    of("postgres").or_else(|| of("nobody")).map(Some)
}

impl Postgres {
    fn start(programs: PathBuf, identity: Option<(u32, u32)>) -> Self {
        // Short: the name of a socket may have 107 bytes.
        let folder = tempfile::Builder::new().prefix("pg").tempdir().unwrap();
        let data = folder.path().join("data");
        let password = folder.path().join("password");
        std::fs::write(&password, PASSWORD).unwrap();
        if let Some((user, group)) = identity {
            for path in [folder.path(), &password] {
                std::os::unix::fs::chown(path, Some(user), Some(group)).unwrap();
            }
        }
        let mut make = program(&programs, "initdb", folder.path(), identity);
        make.args(["--username", USER, "--auth-host", "scram-sha-256", "--auth-local", "trust"]);
        make.args(["--encoding", "UTF8", "--locale", "C", "--no-sync", "--no-instructions"]);
        make.arg("--pwfile").arg(&password).arg("--pgdata").arg(&data);
        let made = make.stderr(Stdio::piped()).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let (child, port) = launch(&programs, folder.path(), identity);
        Self { child, folder, port, programs }
    }

    /// Stops it as a crash would, and starts it again at the same address.
    pub fn restart(&mut self) {
        self.crash();
        let (child, _) = launch_at(&self.programs, self.folder.path(), self.identity(), self.port)
            .expect("its port is still free");
        self.child = child;
    }

    /// The server and all of its processes.
    pub fn crash(&mut self) {
        // Immediate shutdown: without a checkpoint, every connection cut.
        let process = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(process, rustix::process::Signal::QUIT);
        let began = Instant::now();
        while self.child.try_wait().unwrap().is_none() && began.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Speaks TLS from now on, with a certificate in the name of 127.0.0.1 that stands for itself; its
    /// path. `None`: there is nobody to make one.
    pub fn speak_tls(&mut self) -> Option<String> {
        let data = self.folder.path().join("data");
        let (key, certificate) = (data.join("server.key"), data.join("server.crt"));
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=database"])
            .args(["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"])
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&certificate)
            .output();
        made.ok().filter(|made| made.status.success())?;
        if let Some((user, group)) = self.identity() {
            for path in [&key, &certificate] {
                std::os::unix::fs::chown(path, Some(user), Some(group)).unwrap();
            }
        }
        std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let mut settings = File::options().append(true).open(data.join("postgresql.conf")).unwrap();
        std::io::Write::write_all(&mut settings, b"ssl = on\n").unwrap();
        self.restart();
        let shown = self.folder.path().join("certificate.pem");
        std::fs::copy(&certificate, &shown).unwrap();
        Some(shown.display().to_string())
    }

    fn identity(&self) -> Option<(u32, u32)> {
        identity().expect("it has been started once")
    }

    /// `postgres://shop:...@127.0.0.1:PORT/postgres`
    pub fn url(&self) -> String {
        format!("postgres://{USER}:not%26for%3Alogs@127.0.0.1:{}/postgres", self.port)
    }

    /// Through the socket, where nobody asks for a password.
    pub fn socket_url(&self) -> String {
        let folder = self.folder.path().display().to_string().replace('/', "%2F");
        format!("postgres://{USER}@{folder}:{}/postgres", self.port)
    }

    /// What a statement has to say: a line a row, columns with `|` between them.
    pub fn query(&self, statement: &str) -> Vec<String> {
        let output = Command::new(self.programs.join("psql"))
            .args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-U", USER, "-d", "postgres"])
            .args(["-p", &self.port.to_string(), "-c", statement])
            .arg("-h")
            .arg(self.folder.path())
            .stdin(Stdio::null())
            .output()
            .expect("psql is there");
        assert!(output.status.success(), "{statement}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.crash();
    }
}

/// On a port that was free a moment ago; another if somebody was faster.
fn launch(programs: &Path, folder: &Path, identity: Option<(u32, u32)>) -> (Child, u16) {
    for _ in 0..10 {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        if let Some(launched) = launch_at(programs, folder, identity, port) {
            return launched;
        }
    }
    panic!("PostgreSQL does not start:\n{}", std::fs::read_to_string(folder.join("log")).unwrap_or_default());
}

/// `None`: it has ended by itself.
fn launch_at(
    programs: &Path,
    folder: &Path,
    identity: Option<(u32, u32)>,
    port: u16,
) -> Option<(Child, u16)> {
    let mut server = program(programs, "postgres", folder, identity);
    server.arg("-D").arg(folder.join("data")).arg("-k").arg(folder);
    server.args(["-p", &port.to_string(), "-h", "127.0.0.1", "-F"]);
    let log = File::options().create(true).append(true).open(folder.join("log")).unwrap();
    let mut child = server.stderr(log).spawn().unwrap();
    let began = Instant::now();
    loop {
        if child.try_wait().unwrap().is_some() {
            return None;
        }
        let asked = Command::new(programs.join("pg_isready"))
            .args(["-q", "-p", &port.to_string(), "-h"])
            .arg(folder)
            .status();
        if asked.is_ok_and(|status| status.success()) {
            return Some((child, port));
        }
        assert!(began.elapsed() < PATIENCE, "PostgreSQL is not ready");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn program(programs: &Path, name: &str, folder: &Path, identity: Option<(u32, u32)>) -> Command {
    let mut command = Command::new(programs.join(name));
    command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PG") {
            command.env_remove(&name);
        }
    }
    if let Some((user, group)) = identity {
        command.uid(user).gid(group);
    }
    command
}
