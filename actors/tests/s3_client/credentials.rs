//! Where credentials come from when the settings have none. Each case is a process, because the environment is one's own.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{env, fs, process::Command};

use wharf_actors::storage::s3::client::ErrorKind;
use wharf_s3_testbed::Bed;

use crate::rig::{KEY, clients, config, serve};

/// Tells the process of a case what to expect of one call after the other, where, and of which clients.
const EXPECTED: &str = "WHARF_TEST_EXPECTED";
const ENDPOINT: &str = "WHARF_TEST_ENDPOINT";
const CLIENT: &str = "WHARF_TEST_CLIENT";

type Variables<'a> = Vec<(&'a str, &'a str)>;

/// The process of a case.
async fn expect(bed: &Bed, endpoint: String, expected: &str) {
    let mut config = config(bed, endpoint);
    (config.keys, config.region) = (None, None);
    let chosen = env::var(CLIENT).ok();
    for (name, client) in clients(&config).await {
        if chosen.as_ref().is_some_and(|chosen| chosen != name) {
            continue;
        }
        for expected in expected.split(", ") {
            let error = client.head_object(KEY).await.unwrap_err();
            assert_eq!(format!("{:?}", error.kind), expected, "{name}: {error:?}");
            assert!(!error.may_have_been_applied());
        }
    }
}

fn assert_case(bed: &Bed, home: &tempfile::TempDir, variables: &Variables<'_>, expected: &[ErrorKind]) {
    let expected = expected.iter().map(|kind| format!("{kind:?}")).collect::<Vec<_>>().join(", ");
    let child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "credentials::credentials_come_from_the_usual_places"])
        .env_clear()
        .envs([("HOME", home.path().to_str().unwrap()), ("AWS_REGION", bed.region())])
        .envs([("AWS_EC2_METADATA_DISABLED", "true"), (ENDPOINT, &bed.endpoint()), (EXPECTED, &expected)])
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && said.contains("1 passed"), "{variables:?}: {said}");
}

#[tokio::test]
async fn credentials_come_from_the_usual_places() {
    let bed = Bed::start();
    if let (Ok(expected), Ok(endpoint)) = (env::var(EXPECTED), env::var(ENDPOINT)) {
        return expect(&bed, endpoint, &expected).await;
    }
    let home = tempfile::tempdir().unwrap();
    let profile = home.path().join("credentials");
    let (id, secret) = (bed.access_key(), bed.secret_key());
    fs::write(&profile, format!("[wharf]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n")).unwrap();
    let keys = vec![("AWS_ACCESS_KEY_ID", id), ("AWS_SECRET_ACCESS_KEY", secret)];
    for (variables, expected) in [
        (vec![], ErrorKind::Denied),
        (keys, ErrorKind::NoSuchKey),
        (vec![("AWS_ACCESS_KEY_ID", id), ("AWS_SECRET_ACCESS_KEY", "wrong")], ErrorKind::Denied),
        (vec![("AWS_ACCESS_KEY_ID", id)], ErrorKind::Denied),
        (
            vec![("AWS_SHARED_CREDENTIALS_FILE", profile.to_str().unwrap()), ("AWS_PROFILE", "wharf")],
            ErrorKind::NoSuchKey,
        ),
    ] {
        assert_case(&bed, &home, &variables, &[expected]);
    }
}

#[test]
fn a_container_has_credentials() {
    let bed = Bed::start();
    let home = tempfile::tempdir().unwrap();
    let (id, secret) = (bed.access_key().to_owned(), bed.secret_key().to_owned());
    let container = serve(move |_, request| match request.contains("\r\nauthorization: let me in\r\n") {
        true => {
            let keys = format!("\"AccessKeyId\":\"{id}\",\"SecretAccessKey\":\"{secret}\"");
            (200, format!("{{{keys},\"Token\":\"a token\",\"Expiration\":\"2100-01-01T00:00:00Z\"}}"))
        }
        false => (400, request.to_owned()),
    });
    let variables =
        |token| vec![("AWS_CONTAINER_CREDENTIALS_FULL_URI", &*container), ("AWS_CONTAINER_AUTHORIZATION_TOKEN", token)];
    assert_case(&bed, &home, &variables("let me in"), &[ErrorKind::NoSuchKey]);
    // Perhaps it lets us in later.
    assert_case(&bed, &home, &variables("do not"), &[ErrorKind::Unreachable]);
}

/// For rusoto only: the SDK asks an STS that is not AWS's in its own tests only.
#[cfg(feature = "rusoto")]
#[test]
fn a_web_identity_is_changed_into_credentials() {
    let bed = Bed::start();
    let home = tempfile::tempdir().unwrap();
    let identity = home.path().join("identity");
    fs::write(&identity, "who+am=I\n").unwrap();
    let (id, secret) = (bed.access_key().to_owned(), bed.secret_key().to_owned());
    let sts = serve(move |number, request| {
        let asked = ["Action=AssumeRoleWithWebIdentity", "RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fwharf"];
        let is_asked = asked.iter().chain(&["WebIdentityToken=who%2Bam%3DI"]).all(|words| request.contains(words));
        if number != 1 || !is_asked {
            return (500, format!("number {number}: {request}"));
        }
        let credentials = format!(
            "<AccessKeyId>{id}</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey>\
             <SessionToken>a token</SessionToken><Expiration>2100-01-01T00:00:00Z</Expiration>"
        );
        let result = format!("<Credentials>{credentials}</Credentials>");
        let result = format!("<AssumeRoleWithWebIdentityResult>{result}</AssumeRoleWithWebIdentityResult>");
        let result = result + "<ResponseMetadata><RequestId>1</RequestId></ResponseMetadata>";
        (200, format!("<AssumeRoleWithWebIdentityResponse>{result}</AssumeRoleWithWebIdentityResponse>"))
    });
    let variables = vec![
        (CLIENT, "rusoto"),
        ("AWS_ROLE_ARN", "arn:aws:iam::1:role/wharf"),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", identity.to_str().unwrap()),
        ("AWS_ENDPOINT_URL_STS", &sts),
    ];
    // The first failure is not kept, as rusoto's own cache would; what came of the second is: there is no third.
    let expected = [ErrorKind::Unreachable, ErrorKind::NoSuchKey, ErrorKind::NoSuchKey];
    assert_case(&bed, &home, &variables, &expected);
}
