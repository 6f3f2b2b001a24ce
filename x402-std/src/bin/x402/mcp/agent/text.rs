//! Texts for a model and for people: harmless words of sellers, amounts and times, without payments.

use serde_json::{Value, json};
use x402_std::buyer::budget::{Most, Usage};
use x402_std::message::{PaymentRequirements, encode_header};
use x402_std::transport::PaymentText;

use crate::shown::is_invisible;
use crate::{decimal, known_token};

/// Returns a seller's words in one line of at most `most` characters, without control and invisible
/// characters.
pub(super) fn words(text: &str, most: usize) -> String {
    let mut clean: String = text
        .chars()
        .take(most)
        .map(|char| if char.is_whitespace() || char.is_control() { ' ' } else { char })
        .filter(|char| !is_invisible(*char))
        .collect();
    if text.chars().nth(most).is_some() {
        clean.push('…');
    }
    clean
}

/// Removes a payment from a seller's answer: some sellers repeat it.
pub(super) fn without(payment: Option<&PaymentText>, mut value: Value) -> Value {
    let Some(payment) = payment else { return value };
    let header = encode_header(payment.json.as_bytes());
    // With padding and without: some sellers leave it out.
    let mut secrets = vec![header.clone(), header.trim_end_matches('=').into()];
    if let Ok(json) = serde_json::from_str::<Value>(&payment.json) {
        let signed = ["signature", "transaction"].map(|name| json["payload"][name].clone());
        let signed = signed.iter().filter_map(Value::as_str);
        secrets
            .extend(signed.map(|text| text.trim_start_matches("0x").trim_end_matches('=').into()));
    }
    secrets.retain(|secret| secret.len() >= 16);
    leave_out(&secrets, &mut value);
    value
}

/// Removes secrets at every depth. The JSON reader limits the depth.
fn leave_out(secrets: &[String], value: &mut Value) {
    match value {
        Value::String(text) => replace(secrets, text),
        Value::Array(list) => list.iter_mut().for_each(|value| leave_out(secrets, value)),
        Value::Object(object) => {
            let old = std::mem::take(object);
            object.extend(old.into_iter().map(|(mut name, mut value)| {
                replace(secrets, &mut name);
                leave_out(secrets, &mut value);
                (name, value)
            }));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn replace(secrets: &[String], text: &mut String) {
    for secret in secrets {
        if text.contains(secret.as_str()) {
            *text = text.replace(secret.as_str(), "[payment]");
        }
    }
}

/// Returns the price of an offer.
pub(super) fn price(offer: &PaymentRequirements, decimals: Option<u8>) -> Value {
    let known = known_token(offer.network.as_view(), &offer.asset);
    let decimals = decimals.or(known.map(|(_, decimals)| decimals));
    let units = offer.amount.to_string();
    json!({
        "amount": decimals.map(|decimals| decimal(&units, decimals.into())),
        "symbol": known.map(|(symbol, _)| symbol),
        "units": units,
        "asset": words(&offer.asset, 100),
        "network": &*offer.network,
        "payTo": words(&offer.pay_to, 100),
    })
}

/// As [`price`], in words.
pub(super) fn price_in_words(offer: &PaymentRequirements, decimals: u8) -> String {
    let amount = decimal(&offer.amount.to_string(), decimals.into());
    let token = match known_token(offer.network.as_view(), &offer.asset) {
        Some((symbol, _)) => symbol.into(),
        None => format!("of the token {}", words(&offer.asset, 100)),
    };
    format!("{amount} {token} on {} to {}", &*offer.network, words(&offer.pay_to, 100))
}

/// Returns the spent part and the rest of a limit.
pub(super) fn left(usage: &Usage) -> Value {
    let amount = |amount: &str| match usage.limit.most {
        Most::Money(_) => format!("${}", decimal(amount, usage.decimals.into())),
        Most::Units { .. } => format!("{amount} units"),
    };
    let mut told = json!({
        "limit": usage.limit.to_string(),
        "spent": amount(&usage.spent.to_string()),
        "left": amount(&usage.left.to_string()),
    });
    if let Some(of) = &usage.of {
        told["of"] = words(of, 300).into();
    }
    told
}

/// Formats Unix seconds as RFC 3339.
pub(super) fn time(at: u64) -> String {
    let (days, seconds) = (at / 86_400, at % 86_400);
    // Howard Hinnant's civil_from_days: years that begin in March, in eras of 400.
    let shifted = days + 719_468;
    let (era, day) = (shifted / 146_097, shifted % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use x402_std::core::Version;

    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        for (at, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (1_795_300_000, "2026-11-21T22:26:40Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(time(at), expected);
        }
    }

    #[test]
    fn words_of_sellers_are_one_line_that_can_be_seen() {
        assert_eq!(words("a\nb\u{1b}[31m\u{202e}c\u{e0041}", 100), "a b [31mc");
        assert_eq!(words("héllo", 5), "héllo");
        assert_eq!(words("héllo!", 5), "héllo…");
    }

    #[test]
    fn a_payment_is_left_out_wherever_it_is() {
        let signature = "ab".repeat(65);
        let json = json!({ "payload": { "signature": format!("0x{signature}") } }).to_string();
        let payment = PaymentText { version: Version::V2, json };
        let header = encode_header(payment.json.as_bytes());
        let echo = json!({ "h": [header, { (signature.clone()): format!("sig 0x{signature}.") }] });
        let told = without(Some(&payment), echo.clone()).to_string();
        assert_eq!(told, r#"{"h":["[payment]",{"[payment]":"sig 0x[payment]."}]}"#);
        assert_eq!(without(None, echo.clone()), echo);
    }
}
