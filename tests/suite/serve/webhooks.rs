//! Webhooks, called over real connections as other services call them.

use serde_json::{Value, json};
use tokio::net::TcpListener;
use wfhost::serve::{ServeOptions, Token, WebhookOptions, serve};
use wfhost::{Host, Options};

use super::client::{Answer, Client, Server};
use crate::support::{Shell, deploy, module};

const SECRET: &str = "It's a Secret to Everybody";

/// The webhooks of these tests. The secret is in the file.
fn webhooks(secret_file: &str) -> Vec<WebhookOptions> {
    let hooks = json!([
        {
            "name": "order",
            "start": {
                "workflow": "Script",
                "id": "order-{body:/order/id}",
                "input": [{ "call": { "name": "Echo", "input": {
                    "id": "{body:/order/id}", "shop": "{query:shop}", "whole": "{body:/order}",
                } } }],
                "tags": { "delivery": "{header:x-delivery}" },
            },
            "key": "{header:x-delivery}",
        },
        { "name": "plain", "start": { "workflow": "Script" } },
        {
            "name": "payment",
            "event": { "instance": "{body:/order}", "name": "{body:/kind}", "payload": "{body:/paid}" },
            "signature": {
                "header": "X-Hub-Signature-256", "prefix": "sha256=", "secret_file": secret_file,
            },
            "body_bytes_max": 1000,
        },
    ]);
    serde_json::from_value(hooks).unwrap()
}

/// Serves these webhooks, and calls them.
async fn serving(token: Option<&str>, calls: impl FnOnce(&Client) + Send + 'static) {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, SECRET).unwrap();
    let host = Host::in_memory(Options::default()).unwrap();
    deploy(&host, &["scripted"]).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = Client::of(listener.local_addr().unwrap());
    let options = ServeOptions {
        tokens: token.map(Token::new).into_iter().collect(),
        webhooks: webhooks(secret.to_str().unwrap()),
        ..ServeOptions::default()
    };
    let calls = tokio::task::spawn_blocking(move || calls(&client));
    let stop = async { calls.await.unwrap() };
    let beside = async |_: &Host| {};
    let served = serve(host, vec![listener], None, options, stop, beside);
    served.await.unwrap();
}

fn post(client: &Client, path: &str, headers: &[&str], body: &Value) -> (u16, Value) {
    told(&client.call("POST", path, headers, &body.to_string()))
}

fn told(answer: &Answer) -> (u16, Value) {
    (answer.status, answer.json())
}

fn problem(told: (u16, Value)) -> (u16, String) {
    (told.0, told.1["code"].as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_starts_a_workflow_with_what_it_brings() {
    serving(None, |client| {
        let order = json!({ "order": { "id": 7, "items": ["a"] } });
        let path = "/hooks/order?shop=Cars";
        let deliver = |delivery: &str, order: &Value| {
            post(client, path, &[&format!("x-delivery: {delivery}")], order)
        };
        let id = json!({ "id": "order-7" });
        assert_eq!(deliver("d-1", &order), (202, id.clone()));
        let shown = client.get("/api/v1/instances/order-7?wait=60").json();
        let echoed = json!({ "id": 7, "shop": "Cars", "whole": order["order"] });
        assert_eq!(shown["output"], json!([echoed]), "{shown}");
        assert_eq!(shown["tags"]["delivery"], "d-1");
        // Delivered again it is done; another delivery finds the id in use.
        assert_eq!(deliver("d-1", &order), (202, id));
        assert_eq!(problem(deliver("d-2", &order)), (409, "id-in-use".into()));

        let script = json!([{ "call": { "name": "Echo", "input": 1 } }]);
        let (status, id) = post(client, "/hooks/plain", &[], &script);
        assert_eq!(status, 202);
        let id = id["id"].as_str().unwrap();
        let shown = client
            .get(&format!("/api/v1/instances/{id}?wait=60"))
            .json();
        assert_eq!(shown["output"], json!([1]), "the body is the input");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_request_lacks_is_named() {
    serving(None, |client| {
        let order = json!({ "order": { "id": 7 } });
        let nested = json!({ "order": { "id": {} } });
        let spaced = json!({ "order": { "id": "a b" } });
        let path = "/hooks/order?shop=Cars";
        let delivery = ["x-delivery: d-1"];
        for (path, headers, body, words) in [
            (path, &delivery[..], &json!({}), "`{body:/order/id}`"),
            (path, &delivery, &nested, "`{body:/order/id}` is an object"),
            (path, &delivery, &spaced, "not an instance id"),
            (path, &[], &order, "`{header:x-delivery}`"),
            ("/hooks/order", &delivery, &order, "`{query:shop}`"),
        ] {
            let (status, told) = post(client, path, headers, body);
            assert_eq!(
                (status, &told["code"]),
                (400, &json!("bad-reference")),
                "{told}"
            );
            let detail = told["detail"].as_str().unwrap();
            assert!(detail.contains(words), "{words}: {detail}");
        }
        let broken = client.call("POST", path, &delivery, "{");
        assert_eq!(problem(told(&broken)), (400, "bad-body".into()));
        let refused = post(client, "/hooks/plain", &[], &json!(7));
        assert_eq!(problem(refused), (422, "invalid-input".into()));
        let unknown = post(client, "/hooks/other", &[], &order);
        assert_eq!(problem(unknown), (404, "no-such-hook".into()));
        assert_eq!(client.get("/hooks/plain").status, 405);
        assert_eq!(
            client.get("/api/v1/instances").json()["instances"],
            json!([])
        );
    })
    .await;
}

/// Of `{"kind":"go","order":"a","paid":15}`, made with another tool.
const GOOD: &str =
    "x-hub-signature-256: sha256=ee828d770f78b271cd17b3bc6f0e97ada4882fe5f213798e393d544ccd92f9fd";
const BODY: &str = r#"{"kind":"go","order":"a","paid":15}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_request_raises_an_event_and_needs_no_token() {
    serving(Some("secret"), |client| {
        let token = ["authorization: Bearer secret"];
        let start = json!({ "workflow": "Script", "id": "a", "input": [{ "event": "go" }] });
        assert_eq!(post(client, "/api/v1/instances", &token, &start).0, 201);
        let call =
            |headers: &[&str], body: &str| client.call("POST", "/hooks/payment", headers, body);
        let forged = GOOD.replace("256=", "256=0");
        let other = GOOD.replace("-256", "-1");
        let longer = BODY.replace("15", "150");
        for (headers, body) in [
            (&[][..], BODY),
            (&[forged.as_str()], BODY),
            (&[other.as_str()], BODY),
            (&[GOOD], &longer),
            // The token is for those who know no secret.
            (&token, BODY),
        ] {
            let told = told(&call(headers, body));
            assert_eq!(problem(told), (401, "bad-signature".into()), "{headers:?}");
        }
        let large = format!("{BODY}{}", " ".repeat(1000));
        assert_eq!(
            problem(told(&call(&[GOOD], &large))),
            (413, "too-large".into())
        );
        // It may come from anywhere, by any name of this host.
        let from_outside = [GOOD, "origin: https://shop.example"];
        let raised = told(&call(&from_outside, BODY));
        assert_eq!(raised, (202, json!({ "id": "a" })));
        let shown = client.call("GET", "/api/v1/instances/a?wait=60", &token, "");
        assert_eq!(shown.json()["output"], json!([15]));
        assert_eq!(problem(told(&call(&[GOOD], BODY))), (409, "ended".into()));
        // One without a signature needs the token.
        let plain = |headers: &[&str]| client.call("POST", "/hooks/plain", headers, "[]").status;
        assert_eq!((plain(&[]), plain(&token)), (401, 202));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_is_set_up_wrongly_is_refused_before_it_is_served() {
    let start = json!({ "workflow": "Script" });
    let event = json!({ "instance": "a", "name": "go" });
    for (hooks, words) in [
        (json!([{ "name": "a" }]), "`a`: it does nothing"),
        (
            json!([{ "name": "a", "start": start, "event": event }]),
            "either",
        ),
        (json!([{ "name": "a/b", "start": start }]), "its name"),
        (
            json!([{ "name": "a", "start": start }, { "name": "a", "start": start }]),
            "two of that",
        ),
        (
            json!([{ "name": "a", "start": start, "key": "{body}" }]),
            "`key`: `{body}`",
        ),
        (
            json!([{ "name": "a", "start": { "workflow": "Script", "input": ["{a:b}"] } }]),
            "`start.input`",
        ),
        (
            json!([{ "name": "a", "start": start, "signature": { "header": "b" } }]),
            "secret_env",
        ),
    ] {
        let options = ServeOptions {
            webhooks: serde_json::from_value(hooks).unwrap(),
            ..ServeOptions::default()
        };
        let address = "127.0.0.1:0".parse().unwrap();
        let told = options.check(address).unwrap_err().to_string();
        assert!(told.contains(words), "{words}: {told}");
    }
    let unknown = json!({ "name": "a", "start": start, "secret": "b" });
    assert!(serde_json::from_value::<WebhookOptions>(unknown).is_err());
}

#[test]
fn webhooks_stand_in_the_configuration_file() {
    let shell = Shell::new();
    shell.write("secret", SECRET);
    let wasm = module("scripted");
    let config = format!(
        r#"
        modules = [{wasm:?}]
        [[webhooks]]
        name = "order"
        start = {{ workflow = "Script", id = "order-{{body:/id}}", input = [] }}
        signature = {{ header = "X-Signature", secret_file = "secret" }}
        "#
    );
    let server = Server::configured(shell, &config, &[]);
    let call = |path: &str| server.client().call("POST", path, &[], "{}").status;
    assert_eq!((call("/hooks/order"), call("/hooks/other")), (401, 404));
    let shell = Shell::new();
    shell.write(
        "wfhost.toml",
        "[[webhooks]]\nname = \"a\"\n[webhooks.start]\nworkflw = \"A\"",
    );
    let refused = shell.run(&["serve", "--config", "wfhost.toml", "--check"]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(
        refused.err.contains("did you mean `workflow`?"),
        "{}",
        refused.err
    );
}
