//! Push channels: asking Drive to call, and to stop calling.

use jiff::Timestamp;
use reqwest::{Method, StatusCode};
use serde_json::json;

use super::changes::of_log;
use super::wire::WireChannel;
use super::{Drive, Error, Fault};
use crate::http::api::ANSWER_LIMIT;
use crate::model::{ChangeLog, ChannelId, ChannelToken, PageToken, ResourceId};

/// What Drive grants.
#[derive(Clone, Debug)]
pub struct Granted {
    /// Needed to stop the channel.
    pub resource_id: ResourceId,
    /// The end of the channel, whatever was asked for. `None`: Drive did not say.
    pub expires: Option<Timestamp>,
}

impl Drive {
    /// Asks Drive to call `address` whenever the log grows.
    pub async fn watch(
        &self,
        log: &ChangeLog,
        from: &PageToken,
        id: &ChannelId,
        token: &ChannelToken,
        address: &str,
        until: Timestamp,
    ) -> Result<Granted, Error> {
        let request = self
            .call(Method::POST, "/changes/watch")
            .query(&[
                ("pageToken", from.as_str()),
                ("supportsAllDrives", "true"),
                ("includeItemsFromAllDrives", "true"),
            ])
            .query(&of_log(log))
            .json(&json!({
                "id": id.as_str(),
                "type": "web_hook",
                "address": address,
                "token": token.expose(),
                "expiration": until.as_millisecond().to_string(),
            }));
        let answer: Result<WireChannel, Error> = self.json("open a push channel", request).await;
        let answer = answer.map_err(|error| error.of_log(log).of_watch())?;
        let expires = answer.expiration.and_then(|ms| ms.parse().ok());
        Ok(Granted {
            resource_id: ResourceId::new(answer.resource_id),
            expires: expires.and_then(|ms| Timestamp::from_millisecond(ms).ok()),
        })
    }

    /// Ends a channel. One that Drive does not know any more has ended, too.
    pub async fn stop(&self, id: &ChannelId, resource_id: &ResourceId) -> Result<(), Error> {
        let request = self
            .call(Method::POST, "/channels/stop")
            .json(&json!({"id": id.as_str(), "resourceId": resource_id.as_str()}));
        let what = "stop a push channel";
        match self.send(what, what, request, ANSWER_LIMIT).await {
            Ok((_, pass)) => {
                pass.served();
                Ok(())
            }
            Err(error)
                if error.fault() == Fault::NotFound || error.status() == Some(StatusCode::GONE.as_u16()) =>
            {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}
