//! Verifies what a service account signs.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::Timestamp;
use ring::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey};
use serde_json::Value;

use super::credentials::{PRIVATE_KEY, SERVICE_ACCOUNT};
use super::endpoint::Refused;

/// An hour, and what Google was seen to tolerate on top.
const LONGEST_SECONDS: i64 = 65 * 60;
const SKEW_SECONDS: i64 = 300;

const NOT_SHORT_LIVED: Refused = Refused(
    400,
    "invalid_grant",
    "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and \
     exp values in the JWT claim.",
);
const MALFORMED: Refused = Refused(400, "invalid_request", "Bad Request");
const BAD_SIGNATURE: Refused = Refused(400, "invalid_grant", "Invalid JWT Signature.");

/// The scope an assertion asks for. `aud` may be anything. The machine's clock counts here, not the
/// emulator's: whoever signed knows no other.
pub(crate) fn verify(assertion: &str) -> Result<String, Refused> {
    let (signed, signature) = assertion.rsplit_once('.').ok_or(MALFORMED)?;
    let (header, claims) = signed.split_once('.').ok_or(MALFORMED)?;
    let header = part(header)?;
    if header["alg"] != "RS256" {
        return Err(BAD_SIGNATURE);
    }
    let claims = part(claims)?;
    if claims["iss"] != SERVICE_ACCOUNT {
        return Err(Refused(400, "invalid_grant", "Invalid grant: account not found"));
    }
    let signature = bytes(signature)?;
    let public =
        public_key().ok_or(Refused(500, "internal_failure", "The emulator cannot read its own key."))?;
    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public)
        .verify(signed.as_bytes(), &signature)
        .map_err(|_| BAD_SIGNATURE)?;
    let time = |name: &str| claims[name].as_i64().or_else(|| claims[name].as_f64().map(|time| time as i64));
    let (issued, expires) = time("iat").zip(time("exp")).ok_or(NOT_SHORT_LIVED)?;
    let now = Timestamp::now().as_second();
    let is_in_time = issued <= now + SKEW_SECONDS && expires > now - SKEW_SECONDS;
    if !is_in_time || expires - issued > LONGEST_SECONDS || expires < issued {
        return Err(NOT_SHORT_LIVED);
    }
    let scope = claims["scope"].as_str().filter(|scope| !scope.trim().is_empty());
    let nothing = Refused(400, "invalid_scope", "Empty or missing scope not allowed.");
    scope.map(str::to_owned).ok_or(nothing)
}

/// The `sub` claim: the user whom the service account impersonates.
pub(crate) fn subject(assertion: &str) -> Option<String> {
    let claims = part(assertion.split('.').nth(1)?).ok()?;
    claims["sub"].as_str().filter(|subject| !subject.is_empty()).map(str::to_owned)
}

fn part(encoded: &str) -> Result<Value, Refused> {
    serde_json::from_slice(&bytes(encoded)?).map_err(|_| MALFORMED)
}

/// Google tolerates padding, which some clients leave on.
fn bytes(encoded: &str) -> Result<Vec<u8>, Refused> {
    URL_SAFE_NO_PAD.decode(encoded.trim_end_matches('=')).map_err(|_| MALFORMED)
}

fn public_key() -> Option<Vec<u8>> {
    let base64: String = PRIVATE_KEY.lines().filter(|line| !line.starts_with("-----")).collect();
    let pair = RsaKeyPair::from_pkcs8(&STANDARD.decode(base64).ok()?).ok()?;
    Some(pair.public_key().as_ref().to_vec())
}
