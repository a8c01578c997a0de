//! Requests as they are signed by services that many know, against values made with other tools.

use axum::http::HeaderValue;

use super::*;

/// It holds no secret of anybody: it is the example of GitHub's documentation.
const SECRET: &str = "It's a Secret to Everybody";
const SIGNED_AT: u64 = 1_700_000_000;

fn options(text: &str) -> SignatureOptions {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("{SECRET}\n")).unwrap();
    let (_, path) = file.keep().unwrap();
    let mut fields: serde_json::Value = serde_json::from_str(text).unwrap();
    fields["secret_file"] = path.to_str().unwrap().into();
    serde_json::from_value(fields).unwrap()
}

fn signature(text: &str) -> Result<Signature, String> {
    let options = options(text);
    let signature = Signature::new(&options);
    std::fs::remove_file(options.secret_file.unwrap()).unwrap();
    signature
}

fn headers(rows: &[(&'static str, &str)]) -> HeaderMap {
    let rows = rows.iter().map(|(name, value)| {
        (
            HeaderName::from_static(name),
            HeaderValue::from_str(value).unwrap(),
        )
    });
    rows.collect()
}

/// Says whether a request at that time is let in.
fn lets(signature: &str, rows: &[(&'static str, &str)], body: &str, now: u64) -> bool {
    let signature = super::tests::signature(signature).unwrap();
    let now = Timestamp(now * 1_000);
    signature
        .check(&headers(rows), body.as_bytes(), now)
        .is_ok()
}

#[test]
fn a_signature_of_the_body_is_checked_as_github_makes_it() {
    let github = r#"{ "header": "X-Hub-Signature-256", "prefix": "sha256=" }"#;
    let good = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    let name = "x-hub-signature-256";
    for (value, body, expected) in [
        (good, "Hello, World!", true),
        (
            &*good.to_uppercase().replace("SHA", "sha"),
            "Hello, World!",
            true,
        ),
        (good, "Hello, World?", false),
        (&good[7..], "Hello, World!", false),
        (&good[..60], "Hello, World!", false),
        ("sha256=", "Hello, World!", false),
        ("sha256=zz", "Hello, World!", false),
        ("", "Hello, World!", false),
    ] {
        assert_eq!(lets(github, &[(name, value)], body, 0), expected, "{value}");
    }
    assert!(!lets(github, &[], "Hello, World!", 0));
    // The same in base64.
    let shop = r#"{ "header": "X-Shop-Hmac", "encoding": "base64" }"#;
    let value = BASE64.encode(&HEXLOWER_PERMISSIVE.decode(&good.as_bytes()[7..]).unwrap());
    assert!(lets(shop, &[("x-shop-hmac", &value)], "Hello, World!", 0));
    assert!(!lets(shop, &[("x-shop-hmac", &value)], "Hello", 0));
}

/// What HMAC makes of a text with the secret.
fn mac(text: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    HEXLOWER_PERMISSIVE.encode(&mac.finalize().into_bytes())
}

#[test]
fn a_signature_with_a_time_is_checked_as_stripe_and_slack_make_it() {
    let stripe = r#"{ "header": "Stripe-Signature", "field": "v1", "signed": "{timestamp}.{body}",
        "timestamp": { "header": "Stripe-Signature", "field": "t", "tolerance": "5m" } }"#;
    let good = mac(&format!("{SIGNED_AT}.order"));
    let name = "stripe-signature";
    for (value, now, expected) in [
        (format!("t={SIGNED_AT},v1={good}"), SIGNED_AT, true),
        (format!("t={SIGNED_AT},v1={good}"), SIGNED_AT + 300, true),
        (format!("t={SIGNED_AT},v1={good}"), SIGNED_AT + 301, false),
        (format!("t={SIGNED_AT},v1={good}"), SIGNED_AT - 301, false),
        // Sent again with another time.
        (
            format!("t={},v1={good}", SIGNED_AT + 301),
            SIGNED_AT + 301,
            false,
        ),
        // While a secret is changed there are two.
        (
            format!("t={SIGNED_AT}, v1={}, v1={good}", mac("")),
            SIGNED_AT,
            true,
        ),
        (format!("t={SIGNED_AT},v0={good}"), SIGNED_AT, false),
        (format!("v1={good}"), SIGNED_AT, false),
        (format!("t=now,v1={good}"), SIGNED_AT, false),
    ] {
        assert_eq!(
            lets(stripe, &[(name, &value)], "order", now),
            expected,
            "{value} at {now}"
        );
    }
    let slack = r#"{ "header": "X-Slack-Signature", "prefix": "v0=",
        "signed": "v0:{timestamp}:{body}", "timestamp": { "header": "X-Slack-Request-Timestamp" } }"#;
    let value = format!("v0={}", mac(&format!("v0:{SIGNED_AT}:order")));
    let time = SIGNED_AT.to_string();
    let rows = [
        ("x-slack-signature", value.as_str()),
        ("x-slack-request-timestamp", &time),
    ];
    assert!(lets(slack, &rows, "order", SIGNED_AT + 299));
    assert!(!lets(slack, &rows, "other", SIGNED_AT));
    let other = r#"{ "header": "Signature", "signed": "{header:webhook-id}.{body}" }"#;
    let value = mac("m-7.order");
    let rows = [("signature", value.as_str()), ("webhook-id", "m-7")];
    assert!(lets(other, &rows, "order", 0));
    assert!(!lets(other, &rows[..1], "order", 0));
}

#[test]
fn what_is_wrong_with_the_options_is_told() {
    for (text, words) in [
        (r#"{ "header": "a b" }"#, "no header"),
        (r#"{ "header": "a", "signed": "{timestamp}" }"#, "`{body}`"),
        (
            r#"{ "header": "a", "signed": "{timestamp}.{body}" }"#,
            "go together",
        ),
        (
            r#"{ "header": "a", "timestamp": { "header": "t" } }"#,
            "go together",
        ),
        (r#"{ "header": "a", "signed": "{bode}{body}" }"#, "{bode}"),
        (r#"{ "header": "a", "signed": "{body" }"#, "open brace"),
    ] {
        let why = signature(text).err().unwrap();
        assert!(why.contains(words), "{text}: {why}");
    }
    let mut none = options(r#"{ "header": "a" }"#);
    let file = none.secret_file.take().unwrap();
    let why = |options: &SignatureOptions| Signature::new(options).err().unwrap();
    assert!(why(&none).contains("secret_env"));
    none.secret_env = Some("WFHOST_TEST_NO_SUCH_SECRET".into());
    assert!(why(&none).contains("is not set"));
    none.secret_env = None;
    std::fs::write(&file, "\n").unwrap();
    none.secret_file = Some(file.clone());
    assert!(why(&none).contains("is empty"));
    std::fs::remove_file(&file).unwrap();
    assert!(why(&none).contains("cannot read its secret"));
}
