//! The real program as a process of its own, on ports of its own choice, in a folder of its own.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use toml::{Table, Value};

use crate::rest::Rest;
use crate::token;

const LINES_KEPT: usize = 400;
const START_LIMIT: Duration = Duration::from_secs(30);

/// The program under test: `FAMA_BIN`, or built now beside the running test.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(path) = std::env::var_os("FAMA_BIN") {
            return PathBuf::from(path);
        }
        let test = std::env::current_exe().expect("a test knows its path");
        let folder =
            test.parent().and_then(Path::parent).expect("tests lie in target/<profile>/deps").to_owned();
        let mut build = Command::new(env!("CARGO"));
        // As tests are built: see the manifest.
        build.args(["build", "-q", "--workspace", "--bin", "fama"]);
        if folder.ends_with("release") {
            build.arg("--release");
        }
        build.current_dir(env!("CARGO_MANIFEST_DIR"));
        assert!(build.status().expect("cargo runs").success(), "the program does not build");
        folder.join("fama")
    })
}

/// Puts `value` at a dotted path, `a.b.c`.
fn put(table: &mut Table, path: &str, value: Value) {
    match path.split_once('.') {
        None => drop(table.insert(path.to_owned(), value)),
        Some((head, rest)) => {
            let inner = table.entry(head).or_insert_with(|| Value::Table(Table::new()));
            put(inner.as_table_mut().expect("a table"), rest, value);
        }
    }
}

/// How to start a server.
pub struct Setup {
    config: Table,
    arguments: Vec<String>,
    start_limit: Duration,
}

impl Default for Setup {
    fn default() -> Self {
        let mut config = Table::new();
        for (key, value) in [
            ("server.listen", Value::from("127.0.0.1:0")),
            ("server.admin_listen", Value::from("127.0.0.1:0")),
            ("auth.hmac_secret", Value::from(token::SECRET)),
            ("auth.api_keys", Value::from(vec![format!("tests:{}", token::SERVICE_KEY_SHA256)])),
            ("limits.user_per_minute", Value::from(0)),
            ("limits.address_per_minute", Value::from(0)),
            ("limits.connections_per_address", Value::from(0)),
            ("limits.handshakes_per_address_per_minute", Value::from(0)),
        ] {
            put(&mut config, key, value);
        }
        Self { config, arguments: vec!["serve".to_owned()], start_limit: START_LIMIT }
    }
}

impl Setup {
    /// The configuration of tests: no limits by address, no rates, the secret and service key of [`token`].
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a key, by its dotted path.
    #[must_use]
    pub fn set(mut self, key: &str, value: impl Into<Value>) -> Self {
        put(&mut self.config, key, value.into());
        self
    }

    /// Takes a key out, by its dotted path.
    #[must_use]
    pub fn without(mut self, key: &str) -> Self {
        let mut table = &mut self.config;
        let mut parts = key.split('.').peekable();
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                table.remove(part);
                break;
            }
            table = table.get_mut(part).and_then(Value::as_table_mut).expect("a table");
        }
        self
    }

    /// Adds an argument of the command line.
    #[must_use]
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Adds a namespace: `name`, and the keys of a `[[namespaces]]` table as TOML.
    #[must_use]
    pub fn namespace(mut self, toml: &str) -> Self {
        let table: Table = toml.parse().expect("the namespace is TOML");
        let list = self.config.entry("namespaces").or_insert_with(|| Value::Array(Vec::new()));
        list.as_array_mut().expect("a list").push(Value::Table(table));
        self
    }

    /// Starts in a new folder and waits for the addresses.
    pub fn start(self) -> TestServer {
        let mut server = self.stopped();
        server.start();
        server
    }

    /// A folder with the configuration, nothing running yet: for imports and refusals.
    pub fn stopped(mut self) -> TestServer {
        let folder = TempDir::with_prefix("fama-test-").expect("a temporary folder");
        if self.config.get("storage").is_none() {
            let path = folder.path().join("data").to_string_lossy().into_owned();
            put(&mut self.config, "storage.path", Value::from(path));
        }
        let config = folder.path().join("fama.toml");
        std::fs::write(&config, self.config.to_string()).expect("the configuration is written");
        TestServer { folder, config, setup: self, running: None, log: Log::default() }
    }
}

/// The last lines the program wrote.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<VecDeque<String>>>);

impl Log {
    fn push(&self, line: String) {
        let mut lines = self.0.lock().expect("no thread panicked with the log");
        if lines.len() == LINES_KEPT {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    fn lines(&self) -> Vec<String> {
        self.0.lock().expect("no thread panicked with the log").iter().cloned().collect()
    }

    fn follow(&self, stream: impl Read + Send + 'static, found: Sender<String>) {
        let log = self.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                // Nobody listens once the addresses are known.
                let _ = found.send(line.clone());
                log.push(line);
            }
        });
    }
}

struct Running {
    child: Child,
    base: String,
    admin: String,
}

/// A server and its folder. Dropped, the process is killed and the folder removed; if the test failed, or the
/// program panicked, its last lines are printed.
pub struct TestServer {
    folder: TempDir,
    config: PathBuf,
    setup: Setup,
    running: Option<Running>,
    log: Log,
}

fn address(line: &str, mark: &str) -> Option<String> {
    let rest = &line[line.find(mark)? + mark.len()..];
    let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || ".:[]-".contains(c))).unwrap_or(rest.len());
    Some(rest[..end].to_owned())
}

impl TestServer {
    /// With the configuration of tests.
    pub fn spawn() -> Self {
        Setup::new().start()
    }

    /// Starts, or starts again on the same folder.
    pub fn start(&mut self) {
        assert!(self.running.is_none(), "the server runs already");
        let mut child = Command::new(binary())
            .args(&self.setup.arguments)
            .arg("--config")
            .arg(&self.config)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let (found, lines) = channel();
        self.log.follow(child.stdout.take().expect("piped"), found.clone());
        self.log.follow(child.stderr.take().expect("piped"), found);
        let Some((base, admin)) = wait_for_addresses(&lines, self.setup.start_limit) else {
            let _ = child.kill();
            let status = child.wait();
            panic!("the server did not say where it listens ({status:?}):\n{}", self.log.lines().join("\n"));
        };
        self.running = Some(Running { child, base, admin });
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("the server runs")
    }

    /// `host:port` of the public listener.
    pub fn address(&self) -> &str {
        &self.running().base
    }

    /// `host:port` of the admin listener.
    pub fn admin_address(&self) -> &str {
        &self.running().admin
    }

    /// `http://host:port`
    pub fn url(&self) -> String {
        format!("http://{}", self.running().base)
    }

    /// `ws://host:port/connection/websocket`
    pub fn ws_url(&self) -> String {
        format!("ws://{}/connection/websocket", self.running().base)
    }

    /// The REST interface, as a user with a token.
    pub fn user(&self, id: &str) -> Rest {
        Rest::new(&self.url()).bearer(&token::user(id))
    }

    /// The REST interface, as the app's own backend.
    pub fn service(&self) -> Rest {
        Rest::new(&self.url()).header("x-api-key", token::SERVICE_KEY)
    }

    /// The REST interface without any credentials.
    pub fn anonymous(&self) -> Rest {
        Rest::new(&self.url())
    }

    /// The admin listener.
    pub fn admin(&self) -> Rest {
        Rest::new(&format!("http://{}", self.running().admin))
    }

    /// The folder: the configuration, and `data` with the store.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The configuration file.
    pub fn config_file(&self) -> &Path {
        &self.config
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.running().child.id()
    }

    /// What it wrote last.
    pub fn log(&self) -> String {
        self.log.lines().join("\n")
    }

    /// Runs the program with this configuration to its end: `fama <arguments> --config …`.
    pub fn run(&self, arguments: &[&str]) -> std::process::Output {
        Command::new(binary())
            .args(arguments)
            .arg("--config")
            .arg(&self.config)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .output()
            .expect("the program runs")
    }

    /// Ends the process without any warning (SIGKILL) and waits for it.
    pub fn kill(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.child.kill().expect("the process is ours");
            running.child.wait().expect("it ended");
        }
    }

    /// Sends a signal, by name: `TERM`, `STOP`, `CONT`.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.pid().to_string()).status();
        assert!(status.is_ok_and(|s| s.success()), "kill -{name}");
    }

    /// Asks it to stop (SIGTERM) and waits; `None` if it was still there after `limit`, and killed.
    pub fn terminate(&mut self, limit: Duration) -> Option<ExitStatus> {
        self.signal("TERM");
        self.wait(limit)
    }

    /// Waits for the process to end by itself; `None` if it was still there after `limit`, and killed.
    pub fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        let mut running = self.running.take().expect("the server runs");
        let end = Instant::now() + limit;
        loop {
            match running.child.try_wait().expect("the process is ours") {
                Some(status) => return Some(status),
                None if Instant::now() > end => {
                    let _ = running.child.kill();
                    let _ = running.child.wait();
                    return None;
                }
                None => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    }

    /// Kill -9 and start again on the same folder.
    pub fn crash(&mut self) {
        self.kill();
        self.start();
    }
}

fn wait_for_addresses(lines: &Receiver<String>, limit: Duration) -> Option<(String, String)> {
    let end = Instant::now() + limit;
    let (mut base, mut admin) = (None, None);
    loop {
        let line = lines.recv_timeout(end.saturating_duration_since(Instant::now())).ok()?;
        base = base.or_else(|| {
            address(&line, "listening on http://").or_else(|| address(&line, "listening on https://"))
        });
        admin = admin.or_else(|| address(&line, "admin on http://"));
        if let (Some(base), Some(admin)) = (&base, &admin) {
            return Some((base.clone(), admin.clone()));
        }
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        if let Some(mut running) = self.running.take() {
            let _ = running.child.kill();
            let _ = running.child.wait();
        }
        let lines = self.log.lines();
        let panicked = lines.iter().any(|line| line.contains("panicked at"));
        if std::thread::panicking() || panicked {
            eprintln!("--- the server's last lines ---\n{}\n---", lines.join("\n"));
        }
        assert!(std::thread::panicking() || !panicked, "the server panicked");
    }
}
