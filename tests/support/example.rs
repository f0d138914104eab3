//! The examples as programs.
#![expect(clippy::expect_used, reason = "a helper of tests fails as a test does")]

use std::path::PathBuf;
use std::process::Command;

/// The program of an example, built next to the test that asks, so that the test runs alone too.
pub(crate) fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    let profile = test.ancestors().nth(2).expect("a test lies in the folder of its profile");
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--example", name]).current_dir(env!("CARGO_MANIFEST_DIR"));
    if profile.ends_with("release") {
        build.arg("--release");
    }
    assert!(build.status().expect("cargo runs").success(), "example {name} is built");
    profile.join("examples").join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
}
