//! `fama doctor`: what it finds, and what it says to do.

use std::net::TcpListener;
use std::process::Output;

use fama_tests::server::{Setup, TestServer};
use serde_json::Value;

fn ask(server: &TestServer, more: &[&str]) -> (Output, Value) {
    let output = server.run(&[&["doctor", "--json"], more].concat());
    let report = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    (output, report)
}

fn finding<'a>(report: &'a Value, check: &str) -> &'a Value {
    let findings = report["findings"].as_array().expect("findings");
    findings.iter().find(|finding| finding["check"] == check).unwrap_or_else(|| panic!("{check}: {report}"))
}

#[test]
fn a_machine_that_is_well_passes() {
    let server = TestServer::spawn();
    let (output, report) = ask(&server, &["--url", &server.url()]);
    assert!(output.status.success(), "{report}");
    for check in ["configuration", "keys", "clock", "data folder", "server", "version", "clocks"] {
        assert_eq!(finding(&report, check)["status"], "ok", "{report}");
    }
    for check in
        ["descriptors", "accept queue", "disk sync", "disk space", "server.listen", "server.admin_listen"]
    {
        assert_ne!(finding(&report, check)["status"], "fail", "{report}");
    }
    let lines = String::from_utf8(server.run(&["doctor"]).stdout).unwrap();
    assert!(lines.lines().any(|line| line.starts_with("ok") && line.contains("configuration")), "{lines}");
    // The addresses in use are its own.
    let (listen, admin) = (server.address(), server.admin_address());
    let own = Setup::new().set("server.listen", listen).set("server.admin_listen", admin).stopped();
    let (_, report) = ask(&own, &[]);
    assert_eq!(finding(&report, "server.listen")["status"], "ok", "{report}");
    assert_eq!(finding(&report, "server.admin_listen")["status"], "ok", "{report}");
}

#[test]
fn what_is_wrong_is_said_with_what_to_do() {
    let stranger = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = stranger.local_addr().unwrap().to_string();
    // It answers nothing: whoever connects is let go.
    std::thread::spawn(move || {
        for connection in stranger.incoming() {
            drop(connection);
        }
    });
    let file = tempfile::NamedTempFile::new().unwrap();
    let below_a_file = file.path().join("data").to_string_lossy().into_owned();
    let cases = [
        (Setup::new().set("server.listen", taken.as_str()), "server.listen", "fail"),
        (Setup::new().set("storage.path", below_a_file), "data folder", "fail"),
        (Setup::new().without("auth.hmac_secret").without("auth.api_keys"), "keys", "fail"),
        (Setup::new().set("auth.hmac_secret", "abcdabcdabcdabcdabcdabcdabcdabcd"), "keys", "warn"),
        (Setup::new().set("server.listne", "x"), "configuration", "fail"),
        (Setup::new().set("limits.connections", 10_000_000), "descriptors", "warn"),
    ];
    for (setup, check, status) in cases {
        let server = setup.stopped();
        let (output, report) = ask(&server, &[]);
        let found = finding(&report, check);
        assert_eq!(found["status"], status, "{report}");
        assert!(found["fix"].as_str().is_some_and(|fix| fix.len() > 10), "{report}");
        assert_eq!(output.status.success(), status == "warn", "{report}");
        assert!(!report.to_string().contains("abcdabcd"), "secrets are not shown");
    }
    let server = Setup::new().stopped();
    let (output, report) = ask(&server, &["--url", &format!("http://{taken}")]);
    assert!(!output.status.success());
    assert_eq!(finding(&report, "server")["status"], "fail", "{report}");
}
