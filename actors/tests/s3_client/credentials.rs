//! Where credentials come from when the settings have none. Each case is a process, because the environment is one's own.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{env, fs, process::Command};

use wharf_actors::storage::s3::client::ErrorKind;
use wharf_s3_testbed::Bed;

use crate::rig::{KEY, clients, config};

/// Tells the process of a case what to expect, and where.
const EXPECTED: &str = "WHARF_TEST_EXPECTED";
const ENDPOINT: &str = "WHARF_TEST_ENDPOINT";

#[tokio::test]
async fn credentials_come_from_the_usual_places() {
    let bed = Bed::start();
    if let (Ok(expected), Ok(endpoint)) = (env::var(EXPECTED), env::var(ENDPOINT)) {
        let mut config = config(&bed, endpoint);
        (config.keys, config.region) = (None, None);
        for (name, client) in clients(&config).await {
            let error = client.head_object(KEY).await.unwrap_err();
            assert_eq!(format!("{:?}", error.kind), expected, "{name}: {error:?}");
            assert!(!error.may_have_been_applied());
        }
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let profile = directory.path().join("credentials");
    let (id, secret) = (bed.access_key(), bed.secret_key());
    fs::write(&profile, format!("[wharf]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n")).unwrap();
    let region = bed.region();
    let cases = [
        (vec![], ErrorKind::Denied),
        (vec![("AWS_ACCESS_KEY_ID", id), ("AWS_SECRET_ACCESS_KEY", secret)], ErrorKind::NoSuchKey),
        (vec![("AWS_ACCESS_KEY_ID", id), ("AWS_SECRET_ACCESS_KEY", "wrong")], ErrorKind::Denied),
        (
            vec![("AWS_SHARED_CREDENTIALS_FILE", profile.to_str().unwrap()), ("AWS_PROFILE", "wharf")],
            ErrorKind::NoSuchKey,
        ),
    ];
    for (variables, expected) in cases {
        let child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "credentials::credentials_come_from_the_usual_places"])
            .env_clear()
            .envs([("HOME", directory.path().to_str().unwrap()), ("AWS_REGION", region)])
            .envs([("AWS_EC2_METADATA_DISABLED", "true"), (ENDPOINT, &bed.endpoint())])
            .env(EXPECTED, format!("{expected:?}"))
            .envs(variables.iter().copied())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stdout);
        assert!(child.status.success() && said.contains("1 passed"), "{variables:?}: {said}");
    }
}
