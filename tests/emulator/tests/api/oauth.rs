//! Token endpoint, consent page, revocation.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use drive_emulator::{Action, Fault};
use reqwest::Method;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::support::{Drive, answer, drive};

pub(crate) const SCOPE: &str = "https://www.googleapis.com/auth/drive.readonly";
pub(crate) const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

pub(crate) async fn token(drive: &Drive, form: &[(&str, &str)]) -> (u16, Value) {
    answer(drive.http.post(drive.url("/token")).form(form).send().await.unwrap()).await
}

async fn status_with(drive: &Drive, token: &Value, path: &str) -> u16 {
    let request = drive.http.get(drive.url(path)).bearer_auth(token.as_str().unwrap());
    request.send().await.unwrap().status().as_u16()
}

pub(crate) fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[tokio::test]
async fn a_refresh_token_works_with_both_ways_of_client_authentication() {
    let drive = drive().await;
    let file = parsed(&drive.emulator.authorized_user_json());
    assert_eq!((&file["type"], &file["token_uri"]), (&"authorized_user".into(), &drive.url("/token").into()));
    let text = |name: &str| file[name].as_str().unwrap();
    let (id, secret, refresh) = (text("client_id"), text("client_secret"), text("refresh_token"));
    let grant = ("grant_type", "refresh_token");
    let in_form = [grant, ("refresh_token", refresh), ("client_id", id), ("client_secret", secret)];
    let (status, granted) = token(&drive, &in_form).await;
    assert_eq!(
        (status, &granted["token_type"], &granted["expires_in"]),
        (200, &"Bearer".into(), &3599.into())
    );
    assert!(granted["refresh_token"].is_null());
    assert_eq!(status_with(&drive, &granted["access_token"], "/drive/v3/files").await, 200);
    let basic = drive.http.post(drive.url("/o/oauth2/token")).basic_auth(id, Some(secret));
    let basic = basic.form(&[grant, ("refresh_token", refresh)]).send().await.unwrap();
    assert_eq!(answer(basic).await.0, 200);
    for (form, code, error) in [
        (vec![grant, ("refresh_token", refresh)], 400, "invalid_request"),
        (
            vec![grant, ("refresh_token", refresh), ("client_id", id), ("client_secret", "no")],
            401,
            "invalid_client",
        ),
        (
            vec![grant, ("refresh_token", "no"), ("client_id", id), ("client_secret", secret)],
            400,
            "invalid_grant",
        ),
        (vec![("grant_type", "password")], 400, "unsupported_grant_type"),
        (vec![], 400, "invalid_request"),
    ] {
        let (status, body) = token(&drive, &form).await;
        assert_eq!((status, body["error"].as_str()), (code, Some(error)), "{form:?}");
    }
}

#[tokio::test]
async fn dead_refresh_tokens_are_invalid_grants() {
    let drive = drive().await;
    let form = |file: &Value| {
        ["refresh_token", "client_id", "client_secret"]
            .map(|name| (name, file[name].as_str().unwrap().to_owned()))
    };
    let refresh = async |file: &Value| {
        let [refresh, id, secret] = form(file);
        let pairs =
            [("grant_type", "refresh_token"), (refresh.0, &refresh.1), (id.0, &id.1), (secret.0, &secret.1)];
        token(&drive, &pairs.map(|(name, value)| (name, value))).await
    };
    let file = parsed(&drive.emulator.authorized_user_json());
    assert_eq!(file, parsed(&drive.emulator.authorized_user_json()), "the same file every time");
    assert_eq!(refresh(&file).await.0, 200);
    drive.emulator.revoke_refresh_tokens();
    let (status, body) = refresh(&file).await;
    assert_eq!(
        (status, body),
        (400, json!({"error": "invalid_grant", "error_description": "Token has been expired or revoked."}))
    );
    let fresh = parsed(&drive.emulator.authorized_user_json());
    assert_eq!(refresh(&fresh).await.0, 200);
    let revoke = async || {
        let form = [("token", fresh["refresh_token"].as_str().unwrap())];
        answer(drive.http.post(drive.url("/revoke")).form(&form).send().await.unwrap()).await
    };
    assert_eq!(revoke().await.0, 200);
    assert_eq!(refresh(&fresh).await.0, 400);
    assert_eq!(revoke().await.1["error"], "invalid_token");
}

#[tokio::test]
async fn consent_is_given_at_once_and_the_code_exchanged_with_its_proof() {
    let drive = drive().await;
    let client = parsed(&drive.emulator.installed_client_json())["installed"].clone();
    let (id, secret) = (client["client_id"].as_str().unwrap(), client["client_secret"].as_str().unwrap());
    let verifier = "v".repeat(64);
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&verifier));
    let redirect = "http://127.0.0.1:34567/callback";
    let consent = async || {
        let query = [
            ("client_id", id),
            ("redirect_uri", redirect),
            ("response_type", "code"),
            ("scope", SCOPE),
            ("state", "s t&te"),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ];
        let page = drive.http.get(client["auth_uri"].as_str().unwrap()).query(&query).send().await.unwrap();
        assert_eq!(page.status(), 302);
        let location = reqwest::Url::parse(page.headers()["location"].to_str().unwrap()).unwrap();
        assert!(location.as_str().starts_with("http://127.0.0.1:34567/callback?"));
        let get = |name: &str| {
            location.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
        };
        assert_eq!(get("state").as_deref(), Some("s t&te"));
        (get("code").unwrap_or_default(), get("error"))
    };
    let exchange = async |code: &str, verifier: &str, redirect: &str| {
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("client_id", id),
            ("client_secret", secret),
            ("redirect_uri", redirect),
            ("code_verifier", verifier),
        ];
        token(&drive, &form).await
    };
    let (code, _) = consent().await;
    let (status, granted) = exchange(&code, &verifier, redirect).await;
    assert_eq!((status, &granted["scope"]), (200, &SCOPE.into()));
    assert!(granted["refresh_token"].is_string());
    assert_eq!(exchange(&code, &verifier, redirect).await.1["error"], "invalid_grant", "a code serves once");
    let (code, _) = consent().await;
    assert_eq!(exchange(&code, &"w".repeat(64), redirect).await.1["error"], "invalid_grant");
    let (code, _) = consent().await;
    assert_eq!(exchange(&code, &verifier, "http://127.0.0.1:1/").await.1["error"], "redirect_uri_mismatch");
    drive.emulator.fail(Fault::once("auth", Action::status(400, "access_denied")));
    assert_eq!(consent().await.1.as_deref(), Some("access_denied"));
    let oob = [("client_id", id), ("redirect_uri", "urn:ietf:wg:oauth:2.0:oob"), ("response_type", "code")];
    let page = drive.http.get(drive.url("/o/oauth2/v2/auth")).query(&oob).send().await.unwrap();
    assert_eq!(page.status(), 400);
}

/// An assertion signed with the key of the ready-made file.
pub(crate) fn signed(drive: &Drive, change: impl FnOnce(&mut Value), padded: bool) -> String {
    let key = parsed(&drive.emulator.service_account_json());
    let pem = key["private_key"].as_str().unwrap();
    let der = pem.lines().filter(|line| !line.starts_with("-----")).collect::<String>();
    let pair = RsaKeyPair::from_pkcs8(&STANDARD.decode(der).unwrap()).unwrap();
    let now = drive.emulator.now() / 1000;
    let mut claims = json!({"iss": key["client_email"], "scope": SCOPE, "aud": "https://oauth2.googleapis.com/token",
                            "iat": now, "exp": now + 3600});
    change(&mut claims);
    let encode = |bytes: &[u8]| if padded { URL_SAFE.encode(bytes) } else { URL_SAFE_NO_PAD.encode(bytes) };
    let header = json!({"alg": "RS256", "typ": "JWT", "kid": key["private_key_id"]});
    let body = format!("{}.{}", encode(header.to_string().as_bytes()), encode(claims.to_string().as_bytes()));
    let mut signature = vec![0; pair.public().modulus_len()];
    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), body.as_bytes(), &mut signature).unwrap();
    format!("{body}.{}", encode(&signature))
}

#[tokio::test]
async fn a_service_account_signs_for_its_token() {
    let drive = drive().await;
    let ask = async |assertion: String| {
        token(&drive, &[("grant_type", JWT_BEARER), ("assertion", &assertion)]).await
    };
    let (status, granted) = ask(signed(&drive, |_| (), false)).await;
    assert_eq!(status, 200, "{granted}");
    assert!(granted["refresh_token"].is_null());
    assert_eq!(status_with(&drive, &granted["access_token"], "/drive/v3/files").await, 200);
    let delegated = signed(&drive, |claims| claims["sub"] = json!("user@drive-emulator.example"), true);
    assert_eq!(ask(delegated).await.0, 200, "padding and sub are fine");
    let forged = signed(&drive, |_| (), false).replace('.', ".e30.").replacen(".e30.", ".", 1);
    assert_ne!(ask(forged).await.0, 200);
    let mut tampered = signed(&drive, |_| (), false);
    tampered.truncate(tampered.len() - 8);
    tampered.push_str("AAAAAAAA");
    assert_eq!(ask(tampered).await.1["error_description"], "Invalid JWT Signature.");
    let stale = signed(&drive, |claims| claims["exp"] = json!(claims["iat"].as_i64().unwrap() + 7200), false);
    assert_eq!(ask(stale).await.1["error"], "invalid_grant");
    let stranger = signed(&drive, |claims| claims["iss"] = json!("x@y.z"), false);
    assert_eq!(ask(stranger).await.1["error"], "invalid_grant");
    let scopeless = signed(&drive, |claims| claims["scope"] = json!(""), false);
    assert_eq!(ask(scopeless).await.1["error"], "invalid_scope");
}

#[tokio::test]
async fn scopes_bound_what_a_token_may_do() {
    let drive = drive().await;
    let id = drive.emulator.upload(drive_emulator::Upload::new(&drive.emulator.root_id(), "a", "x"));
    let metadata = format!("{SCOPE} https://www.googleapis.com/auth/calendar")
        .replace("drive.readonly", "drive.metadata.readonly");
    let assertion = signed(&drive, |claims| claims["scope"] = json!(metadata), false);
    let (_, granted) = token(&drive, &[("grant_type", JWT_BEARER), ("assertion", &assertion)]).await;
    let token = &granted["access_token"];
    assert_eq!(status_with(&drive, token, &format!("/drive/v3/files/{id}")).await, 200);
    assert_eq!(status_with(&drive, token, &format!("/drive/v3/files/{id}?alt=media")).await, 403);
    assert_eq!(status_with(&drive, token, "/drive/v3/drives").await, 403);
}

#[tokio::test]
async fn access_tokens_end_by_the_emulators_clock() {
    let drive = drive().await;
    assert_eq!(drive.get("/drive/v3/files").await.0, 200);
    drive.emulator.move_clock(3_600_000);
    assert_eq!(drive.get("/drive/v3/files").await.0, 401);
    let record = drive.emulator.requests().pop().unwrap();
    assert_eq!(
        (record.method, record.operation, record.status),
        (Method::GET.to_string(), "files.list".into(), 401)
    );
}

/// What the consent page sends back with: code or error, and the scopes.
async fn consent(drive: &Drive, scope: &str) -> Vec<(String, String)> {
    let client = parsed(&drive.emulator.installed_client_json())["installed"].clone();
    let query = [
        ("client_id", client["client_id"].as_str().unwrap()),
        ("redirect_uri", "http://127.0.0.1:5/"),
        ("response_type", "code"),
        ("scope", scope),
    ];
    let page = drive.http.get(client["auth_uri"].as_str().unwrap()).query(&query).send().await.unwrap();
    let back = reqwest::Url::parse(page.headers()["location"].to_str().unwrap()).unwrap();
    back.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
}

#[tokio::test]
async fn what_a_user_ticks_is_all_that_is_ever_granted() {
    let drive = drive().await;
    let metadata = "https://www.googleapis.com/auth/drive.metadata.readonly";
    let both = format!("{SCOPE} {metadata}");
    drive.control(Method::POST, "/control/consent", &json!({"scopes": [metadata, "openid"]})).await;
    let back = consent(&drive, &both).await;
    assert_eq!((back[0].0.as_str(), back[1].1.as_str()), ("code", metadata));
    let client = parsed(&drive.emulator.installed_client_json())["installed"].clone();
    let [id, secret] = ["client_id", "client_secret"].map(|name| (name, client[name].as_str().unwrap()));
    let redirect = ("redirect_uri", "http://127.0.0.1:5/");
    let exchange = [id, secret, redirect, ("grant_type", "authorization_code"), ("code", back[0].1.as_str())];
    let (_, granted) = token(&drive, &exchange).await;
    assert_eq!(granted["scope"], metadata);
    let refresh = [
        id,
        secret,
        ("grant_type", "refresh_token"),
        ("refresh_token", granted["refresh_token"].as_str().unwrap()),
    ];
    let (_, again) = token(&drive, &refresh).await;
    assert_eq!(again["scope"], metadata);
    let file = drive.emulator.upload(drive_emulator::Upload::new(&drive.emulator.root_id(), "a", "x"));
    let path = format!("/drive/v3/files/{file}");
    assert_eq!(status_with(&drive, &again["access_token"], &path).await, 200);
    assert_eq!(status_with(&drive, &again["access_token"], &format!("{path}?alt=media")).await, 403);
    for (scope, code) in [(metadata, 200), (SCOPE, 400), (both.as_str(), 400)] {
        let (status, body) = token(&drive, &[&refresh[..], &[("scope", scope)]].concat()).await;
        assert_eq!(status, code, "{scope}: {body}");
        assert!(code == 200 || body["error"] == "invalid_scope", "{body}");
    }
    assert_eq!(consent(&drive, SCOPE).await, [("error".to_owned(), "access_denied".to_owned())]);
    drive.control(Method::POST, "/control/consent", &json!({"scopes": null})).await;
    assert_eq!(consent(&drive, &both).await[1].1, both);
}

#[tokio::test]
async fn each_method_has_scopes_of_its_own() {
    let drive = drive().await;
    let file = drive.emulator.upload(drive_emulator::Upload::new(&drive.emulator.root_id(), "a", "x"));
    for (scope, method, path, expected) in [
        ("drive.readonly", Method::GET, "drives".to_owned(), 200),
        ("drive.file", Method::GET, "drives".to_owned(), 403),
        ("drive.apps.readonly", Method::GET, "files".to_owned(), 403),
        ("drive.apps.readonly", Method::GET, "apps".to_owned(), 501),
        ("drive.metadata", Method::DELETE, format!("files/{file}"), 403),
        ("drive.readonly", Method::DELETE, "files/trash".to_owned(), 403),
        ("drive.photos.readonly", Method::GET, format!("files/{file}?alt=media"), 403),
        ("drive.metadata.readonly", Method::GET, format!("files/{file}?alt=media"), 403),
        ("drive.file", Method::GET, format!("files/{file}?alt=media"), 200),
    ] {
        let token = drive.emulator.access_token_for(&format!("https://www.googleapis.com/auth/{scope}"));
        let request = drive.http.request(method, drive.url(&format!("/drive/v3/{path}"))).bearer_auth(token);
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        assert_eq!(status, expected, "{scope} {path}: {text}");
        assert!(status != 403 || text.contains("ACCESS_TOKEN_SCOPE_INSUFFICIENT"), "{text}");
    }
    let token = drive.emulator.access_token_for("https://www.googleapis.com/auth/drive.file");
    let (_, body) =
        answer(drive.http.get(drive.url("/drive/v3/drives")).bearer_auth(token).send().await.unwrap()).await;
    assert_eq!(body["error"]["details"][0]["metadata"]["method"], "google.apps.drive.v3.DriveDrives.List");
}
