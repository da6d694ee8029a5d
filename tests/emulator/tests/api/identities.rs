//! Whose a token is: of whoever consented, of whom a refresh token was issued to, of whom a service account impersonates.

use reqwest::Method;
use serde_json::{Value, json};

use crate::oauth::{JWT_BEARER, SCOPE, parsed, signed, token};
use crate::support::{Drive, answer, drive};

const ANN: &str = "ann@example.com";
const BOB: &str = "bob@example.com";

/// The address of the account that an answer of the token endpoint is for.
async fn whose(drive: &Drive, granted: &Value) -> String {
    let request = drive.http.get(drive.url("/drive/v3/about?fields=user/emailAddress"));
    let request = request.bearer_auth(granted["access_token"].as_str().unwrap());
    let (status, about) = answer(request.send().await.unwrap()).await;
    assert_eq!(status, 200, "{about}");
    about["user"]["emailAddress"].as_str().unwrap().to_owned()
}

/// Consents and exchanges the code.
async fn login(drive: &Drive, hint: Option<&str>) -> Value {
    let client = parsed(&drive.emulator.installed_client_json())["installed"].clone();
    let (id, redirect) = (client["client_id"].as_str().unwrap(), "http://127.0.0.1:34567/");
    let mut query =
        vec![("client_id", id), ("redirect_uri", redirect), ("response_type", "code"), ("scope", SCOPE)];
    query.extend(hint.map(|hint| ("login_hint", hint)));
    let page = drive.http.get(client["auth_uri"].as_str().unwrap()).query(&query).send().await.unwrap();
    let location = reqwest::Url::parse(page.headers()["location"].to_str().unwrap()).unwrap();
    let (_, code) = location.query_pairs().find(|(key, _)| key == "code").unwrap();
    let secret = client["client_secret"].as_str().unwrap();
    let form = [
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("client_id", id),
        ("client_secret", secret),
        ("redirect_uri", redirect),
    ];
    let (status, granted) = token(drive, &form).await;
    assert_eq!(status, 200, "{granted}");
    granted
}

async fn refreshed(drive: &Drive, refresh_token: &Value) -> Value {
    let file = parsed(&drive.emulator.authorized_user_json());
    let text = |name: &str| file[name].as_str().unwrap();
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh_token.as_str().unwrap()),
        ("client_id", text("client_id")),
        ("client_secret", text("client_secret")),
    ];
    token(drive, &form).await.1
}

#[tokio::test]
async fn a_login_is_that_of_whoever_consents() {
    let drive = drive().await;
    let first = drive.emulator.first_user().address().to_owned();
    assert_eq!(whose(&drive, &login(&drive, None).await).await, first);
    drive.emulator.user(ANN);
    drive.emulator.user(BOB);
    drive.emulator.consent_as(ANN);
    let anns = login(&drive, None).await;
    assert_eq!(whose(&drive, &anns).await, ANN);
    assert_eq!(whose(&drive, &refreshed(&drive, &anns["refresh_token"]).await).await, ANN);
    assert_eq!(whose(&drive, &login(&drive, Some(BOB)).await).await, BOB);
    let file = parsed(&drive.emulator.user(BOB).authorized_user_json());
    assert_eq!(whose(&drive, &refreshed(&drive, &file["refresh_token"]).await).await, BOB);
}

#[tokio::test]
async fn a_service_account_stands_for_whom_it_impersonates_or_for_itself() {
    let drive = drive().await;
    let ask = async |subject: Option<&str>| {
        let assertion = signed(&drive, |claims| claims["sub"] = json!(subject), false);
        token(&drive, &[("grant_type", JWT_BEARER), ("assertion", &assertion)]).await
    };
    let first = drive.emulator.first_user().address().to_owned();
    assert_eq!(whose(&drive, &ask(None).await.1).await, first, "as if it impersonated the first user");
    let robot = drive.emulator.service_account();
    assert_eq!(whose(&drive, &ask(None).await.1).await, robot.address());
    drive.emulator.user(BOB);
    assert_eq!(whose(&drive, &ask(Some(BOB)).await.1).await, BOB);
    let (status, refused) = ask(Some("nobody@example.com")).await;
    assert_eq!((status, &refused["error"]), (400, &"invalid_grant".into()));
    let anonymous = drive.http.request(Method::GET, drive.url("/drive/v3/about?fields=user"));
    assert_ne!(anonymous.send().await.unwrap().status(), 200);
}
