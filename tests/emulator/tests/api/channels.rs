//! Push channels: opening, messages, retries, ends.

use std::time::Duration;

use drive_emulator::{Action, Disturbance, Fault, Options, Upload};
use serde_json::{Value, json};

use crate::support::{Drive, Receiver, drive, drive_with, eventually};

fn upload(drive: &Drive, name: &str) -> String {
    drive.emulator.upload(Upload::new(&drive.emulator.root_id(), name, "x"))
}

fn numbers_grow(heard: &[(String, u64)]) -> bool {
    heard.windows(2).all(|pair| pair[0].1 < pair[1].1)
}

async fn try_watch(drive: &Drive, body: Value) -> (u16, String) {
    let token = drive.start_token().await;
    let (status, answer) = drive.post(&format!("/drive/v3/changes/watch?pageToken={token}"), &body).await;
    (status, answer["error"]["errors"][0]["reason"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn a_channel_syncs_first_and_then_calls_at_every_change() {
    let (drive, receiver) = (drive().await, Receiver::start().await);
    let channel = drive.watch("one", &receiver).await;
    assert_eq!((&channel["kind"], &channel["token"]), (&"api#channel".into(), &"secret".into()));
    assert!(channel["resourceUri"].as_str().unwrap().contains("/drive/v3/changes?alt=json&pageToken="));
    receiver.wait(1).await;
    upload(&drive, "a");
    upload(&drive, "b");
    let heard = receiver.wait(3).await;
    assert_eq!(heard[0], ("sync".to_owned(), 1));
    assert!(heard[1].1 > 2 && numbers_grow(&heard), "{heard:?}");
    let last = receiver.received().pop().unwrap();
    for (name, expected) in [
        ("x-goog-channel-id", "one"),
        ("x-goog-channel-token", "secret"),
        ("x-goog-resource-state", "change"),
        ("x-goog-resource-id", channel["resourceId"].as_str().unwrap()),
        ("x-goog-resource-uri", channel["resourceUri"].as_str().unwrap()),
        ("content-length", "0"),
    ] {
        assert_eq!(last[name], expected, "{name}");
    }
    assert!(last["x-goog-channel-expiration"].to_str().unwrap().ends_with(" GMT"));
    assert!(last["user-agent"].to_str().unwrap().starts_with("APIs-Google"));
}

#[tokio::test]
async fn server_errors_are_retried_and_refusals_are_not() {
    let (drive, receiver) = (drive().await, Receiver::start().await);
    receiver.answer_with(&[503, 500, 204, 404]);
    drive.watch("one", &receiver).await;
    let heard = receiver.wait(3).await;
    assert_eq!(heard, vec![("sync".to_owned(), 1); 3]);
    upload(&drive, "a");
    receiver.wait(4).await;
    upload(&drive, "b");
    receiver.wait(5).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(receiver.received().len(), 5, "the 404 was final");
    let attempts = drive.emulator.notifications();
    let told: Vec<_> = attempts.iter().map(|record| (record.attempt, record.status)).collect();
    let expected = [(1, 503), (2, 500), (3, 204), (1, 404), (1, 204)];
    assert_eq!(told, expected.map(|(attempt, status)| (attempt, Some(status))));
}

#[tokio::test]
async fn an_unreachable_receiver_is_tried_again() {
    let drive = drive().await;
    let mut gone = Receiver::start().await;
    "http://127.0.0.1:1/hook".clone_into(&mut gone.address);
    drive.watch("one", &gone).await;
    let retried = || drive.emulator.notifications().into_iter().find(|record| record.attempt == 3);
    assert_eq!(eventually("third attempt", retried).await.status, None);
}

#[tokio::test]
async fn lifetimes_are_clamped_and_whole_seconds() {
    let (drive, receiver) = (drive().await, Receiver::start().await);
    let token = drive.start_token().await;
    let path = format!("/drive/v3/changes/watch?pageToken={token}");
    let day = 86_400_000;
    let mut serial = 0;
    let mut lifetime = async |expiration: Value| {
        serial += 1;
        let id = format!("c{serial}");
        let mut body = json!({"id": id, "type": "web_hook", "address": receiver.address});
        if !expiration.is_null() {
            body["expiration"] = expiration;
        }
        let now = drive.emulator.now();
        let (_, answer) = drive.post(&path, &body).await;
        let expires: i64 = answer["expiration"].as_str().unwrap().parse().unwrap();
        assert_eq!(expires % 1000, 0);
        (expires - now + 999) / 1000
    };
    let in_days = |days: i64| drive.emulator.now() + days * day;
    let near = |seconds: i64, expected: i64| (seconds - expected).abs() <= 1;
    assert!(near(lifetime(Value::Null).await, 3600));
    assert!(near(lifetime(json!(in_days(30).to_string())).await, 7 * 86_400));
    assert!(near(lifetime(json!(in_days(2))).await, 2 * 86_400));
    drive.emulator.set_channel_lifetime_cap(Some(Duration::from_secs(5)));
    assert!(near(lifetime(json!(in_days(30).to_string())).await, 5));
    let file = upload(&drive, "a");
    drive.emulator.set_channel_lifetime_cap(None);
    let body = json!({"id": "f", "type": "web_hook", "address": receiver.address, "expiration": in_days(7).to_string()});
    let (status, answer) = drive.post(&format!("/drive/v3/files/{file}/watch"), &body).await;
    assert_eq!(status, 200);
    let left = answer["expiration"].as_str().unwrap().parse::<i64>().unwrap() - drive.emulator.now();
    assert!(near((left + 999) / 1000, 86_400), "{left}");
}

#[tokio::test]
async fn bad_watches_are_refused() {
    let (drive, receiver) = (drive().await, Receiver::start().await);
    drive.watch("taken", &receiver).await;
    let address = receiver.address.as_str();
    for (body, code, reason) in [
        (json!({"id": "taken", "type": "web_hook", "address": address}), 400, "channelIdNotUnique"),
        (json!({"type": "web_hook", "address": address}), 400, "required"),
        (json!({"id": "x", "address": address}), 400, "required"),
        (
            json!({"id": "x", "type": "carrier_pigeon", "address": address}),
            400,
            "push.channelTypeNotSupported",
        ),
        (
            json!({"id": "x", "type": "web_hook", "address": "http://example.com/"}),
            400,
            "push.webhookUrlNotHttps",
        ),
        (json!({"id": "x".repeat(65), "type": "web_hook", "address": address}), 400, "invalid"),
        (
            json!({"id": "x", "type": "web_hook", "address": address, "token": "t".repeat(257)}),
            400,
            "invalid",
        ),
        (json!({"id": "x", "type": "web_hook", "address": address, "expiration": "1"}), 400, "invalid"),
        (
            json!({"id": "x".repeat(64), "type": "web_hook", "address": address, "token": "t".repeat(256)}),
            200,
            "",
        ),
    ] {
        assert_eq!(try_watch(&drive, body.clone()).await, (code, reason.to_owned()), "{body}");
    }
    let (status, answer) = drive.post("/drive/v3/changes/watch", &json!({"id": "x"})).await;
    assert_eq!((status, &answer["error"]["message"]), (400, &"Required parameter: pageToken".into()));
    let strict = drive_with(Options { allow_http_loopback: false, ..Options::default() }).await;
    let body = json!({"id": "x", "type": "web_hook", "address": address});
    assert_eq!(try_watch(&strict, body).await, (400, "push.webhookUrlNotHttps".to_owned()));
}

#[tokio::test]
async fn stopped_and_expired_channels_are_silent_and_their_ids_spent() {
    let (drive, receiver) = (drive().await, Receiver::start().await);
    let channel = drive.watch("one", &receiver).await;
    receiver.wait(1).await;
    let stop = json!({"id": "one", "resourceId": channel["resourceId"]});
    let wrong = json!({"id": "one", "resourceId": "other"});
    assert_eq!(drive.post("/drive/v3/channels/stop", &wrong).await.0, 404);
    assert_eq!(drive.post("/drive/v3/channels/stop", &stop).await, (204, Value::String(String::new())));
    let (status, answer) = drive.post("/drive/v3/channels/stop", &stop).await;
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(status == 404 && message.starts_with("Channel 'one' not found for project '"), "{message}");
    let again = json!({"id": "one", "type": "web_hook", "address": receiver.address});
    assert_eq!(try_watch(&drive, again).await, (400, "channelIdNotUnique".to_owned()));
    drive.watch("two", &receiver).await;
    receiver.wait(2).await;
    drive.emulator.move_clock(3_600_000 - 5_000);
    upload(&drive, "a");
    receiver.wait(3).await;
    drive.emulator.move_clock(6_000);
    upload(&drive, "b");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(receiver.received().len(), 3);
    let records = drive.emulator.channels();
    assert!(records[0].stopped.is_some() && records[1].stopped.is_none());
    assert_eq!((records[0].log.as_str(), records[0].address.as_str()), ("user", receiver.address.as_str()));
}

#[tokio::test]
async fn google_may_end_a_channel_early_and_call_after_a_stop() {
    let (drive, receiver) = (drive().await, Receiver::start().await);
    let channel = drive.watch("one", &receiver).await;
    drive.watch("two", &receiver).await;
    receiver.wait(2).await;
    drive.emulator.set_notifications_after_stop(2);
    let stop = json!({"id": "one", "resourceId": channel["resourceId"]});
    drive.post("/drive/v3/channels/stop", &stop).await;
    receiver.wait(4).await;
    assert!(receiver.received()[2..].iter().all(|headers| headers["x-goog-channel-id"] == "one"));
    drive.emulator.shorten_channels(Duration::ZERO);
    upload(&drive, "a");
    drive.emulator.push_now();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(receiver.received().len(), 4);
}

#[tokio::test]
async fn notifications_may_be_lost_doubled_late_and_out_of_order() {
    let (drive, receiver) = (drive().await, Receiver::start().await);
    drive.watch("one", &receiver).await;
    receiver.wait(1).await;
    let disturb = |disturbance| drive.emulator.disturb_notifications(disturbance, 1);
    disturb(Disturbance::Drop);
    disturb(Disturbance::Double);
    disturb(Disturbance::Swap);
    for name in ["lost", "twice", "after", "before"] {
        upload(&drive, name);
    }
    let heard = receiver.wait(5).await;
    let attempts = drive.emulator.notifications();
    assert_eq!(heard[1], heard[2]);
    assert!(heard[3].1 > heard[4].1, "{heard:?}");
    assert_eq!((heard.len(), attempts.len()), (5, 5));
    disturb(Disturbance::Delay(Duration::from_millis(300)));
    let started = std::time::Instant::now();
    upload(&drive, "late");
    receiver.wait(6).await;
    assert!(started.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn sync_may_come_before_the_answer_and_silence_is_possible() {
    let (drive, receiver) = (drive().await, Receiver::start().await);
    drive.emulator.set_sync_before_answer(true);
    drive.watch("one", &receiver).await;
    assert_eq!(receiver.received().len(), 1, "it came before the answer");
    drive.emulator.set_notifications(false);
    drive.watch("two", &receiver).await;
    upload(&drive, "a");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(receiver.received().len(), 1);
    drive.emulator.push_now();
    receiver.wait(3).await;
}

#[tokio::test]
async fn a_channel_speaks_while_its_watch_is_still_unanswered_or_its_answer_lost() {
    let (drive, receiver) = (drive().await, Receiver::start().await);
    drive.emulator.fail(Fault::once("changes.watch", Action::AnswerLate { milliseconds: 5000 }));
    let heard = async {
        receiver.wait(1).await;
        upload(&drive, "a");
        receiver.wait(2).await
    };
    tokio::select! {
        _ = drive.watch("late", &receiver) => panic!("the answer came before what it brought about"),
        heard = heard => assert_eq!((heard[0].0.as_str(), heard[1].0.as_str()), ("sync", "change")),
    }
    drive.emulator.fail(Fault::once("changes.watch", Action::CutAfter { bytes: 0 }));
    let token = drive.start_token().await;
    let body = json!({"id": "lost", "type": "web_hook", "address": receiver.address});
    let path = format!("/drive/v3/changes/watch?pageToken={token}");
    let response = drive.request(reqwest::Method::POST, &path).json(&body).send().await.unwrap();
    assert!(response.bytes().await.is_err());
    receiver.wait(3).await;
    assert_eq!(drive.emulator.channels().last().unwrap().id, "lost");
}

#[tokio::test]
async fn an_upload_with_noise_calls_several_times_for_one_revision() {
    let (drive, receiver) = (drive().await, Receiver::start().await);
    let start = drive.start_token().await;
    drive.watch("one", &receiver).await;
    receiver.wait(1).await;
    drive.emulator.set_noise(2);
    let id = upload(&drive, "a");
    let revision = drive.emulator.head_revision_id(&id);
    assert!(numbers_grow(&receiver.wait(4).await));
    let path =
        format!("/drive/v3/changes?pageToken={start}&fields=changes(fileId,file(version,headRevisionId))");
    let changes = drive.ok(&path).await;
    let expected = json!({"fileId": id, "file": {"version": "3", "headRevisionId": revision}});
    assert_eq!(changes["changes"], json!([expected]));
}

#[tokio::test]
async fn a_file_channel_tells_what_happened() {
    let (drive, receiver) = (drive().await, Receiver::start().await);
    let id = upload(&drive, "a");
    upload(&drive, "b");
    let body = json!({"id": "file", "type": "web_hook", "address": receiver.address});
    assert_eq!(drive.post(&format!("/drive/v3/files/{id}/watch"), &body).await.0, 200);
    receiver.wait(1).await;
    drive.emulator.revise(&id, "new");
    drive.emulator.trash(&id);
    drive.emulator.untrash(&id);
    drive.emulator.delete(&id);
    let states: Vec<String> = receiver.wait(5).await.into_iter().map(|(state, _)| state).collect();
    assert_eq!(states, ["sync", "update", "trash", "untrash", "remove"]);
    assert_eq!(receiver.received()[1]["x-goog-changed"], "content");
}
