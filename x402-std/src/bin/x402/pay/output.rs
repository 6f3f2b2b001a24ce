//! The output of a purchase: the answer, the receipt, the status.

use std::io::{self, IsTerminal, Write};

use reqwest::header::{CONTENT_TYPE, LOCATION};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use x402_std::buyer::Paid;
use x402_std::buyer::client::HttpError;
use x402_std::message::encode_header;

use super::JSON_BYTES;
use crate::shown::Screen;
use crate::{Exit, Failure, Outcome, describe, print, talk, with_causes, written};

pub(super) fn verdict(status: StatusCode) -> Exit {
    if status.is_success() { Exit::Yes } else { Exit::Refused }
}

/// Writes the body to stdout as it comes, then the receipt to stderr.
pub(super) async fn deliver(bought: Paid<Response>) -> Outcome {
    let line = receipt_line(&bought);
    let response = bought.response;
    let status = response.status();
    if !status.is_success() {
        talk(format_args!("status {}{}", status.as_u16(), direction(&response)));
    }
    let mut exit = verdict(status);
    match copy(response).await {
        // On a terminal both are in one place.
        Ok(false) if io::stdout().is_terminal() => talk(""),
        Ok(_) => {}
        Err(failure) => {
            talk(failure.text);
            exit = failure.exit;
        }
    }
    say_paid(&line);
    Ok(exit)
}

/// The target of a redirect.
pub(super) fn location(response: &Response) -> Option<String> {
    let location = response.headers().get(LOCATION).filter(|_| response.status().is_redirection());
    location.map(|location| String::from_utf8_lossy(location.as_bytes()).into_owned())
}

/// The target of a redirect, in words: it is not followed.
pub(super) fn direction(response: &Response) -> String {
    // The seller's words may be anything.
    location(response).map_or_else(String::new, |to| {
        format!(": the answer is at {}, ask there", to.escape_debug())
    })
}

/// Prints everything in one object.
pub(super) async fn deliver_json(bought: Paid<Response>) -> Outcome {
    let line = receipt_line(&bought);
    let Paid { response, receipt, doubt, paid, id, .. } = bought;
    let status = response.status();
    let mut answer = json!({
        "status": status.as_u16(),
        "contentType": response.headers().get(CONTENT_TYPE).and_then(|it| it.to_str().ok()),
        "location": location(&response),
        "paid": paid,
        "receipt": receipt,
        "doubt": doubt.map(|doubt| doubt.to_string()),
        "id": id,
    });
    match read_whole(response).await {
        Ok(bytes) => {
            let (key, value) = body_value(&bytes);
            answer[key] = value;
            print(answer)?;
            say_paid(&line);
            Ok(verdict(status))
        }
        // The payment is printed all the same.
        Err(failure) => {
            answer["error"] = failure.text.as_str().into();
            print(answer)?;
            say_paid(&line);
            Err(failure)
        }
    }
}

/// A body as a member of an object: JSON as it is, else a text, else base64.
pub(super) fn body_value(bytes: &[u8]) -> (&'static str, Value) {
    if let Ok(value) = serde_json::from_slice(bytes) {
        return ("body", value);
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => ("body", text.into()),
        Err(_) => ("bodyBase64", encode_header(bytes).into()),
    }
}

pub(super) async fn read_whole(mut response: Response) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| no_answer(&error.into()))? {
        if body.len() + chunk.len() > JSON_BYTES {
            return Err(Failure::refused("the answer is longer than 64 MiB, the most for --json"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The payment and its transaction, in a line.
pub(super) fn receipt_line<R>(bought: &Paid<R>) -> String {
    let Some(offer) = &bought.paid else { return "nothing to pay".into() };
    let offer = describe(offer);
    match (bought.proof(), bought.doubt) {
        // The seller's words may be anything.
        (Some(receipt), _) => {
            format!("paid: {offer}, transaction {}", receipt.transaction.escape_debug())
        }
        (None, Some(doubt)) => {
            format!("a payment was sent and the receipt proves nothing, for {doubt}: {offer}")
        }
        (None, None) => format!("a payment was sent and there is no receipt: {offer}"),
    }
}

/// Prints the line of the payment, in a terminal's usual colours.
pub(super) fn say_paid(line: &str) {
    if io::stderr().is_terminal() {
        write!(io::stderr().lock(), "\x1b[0m").ok();
    }
    talk(line);
}

/// Copies a body byte for byte, or to a terminal without bytes that steer it. Returns whether it ended
/// with a line end.
pub(super) async fn copy(mut response: Response) -> Result<bool, Failure> {
    let mut out = io::stdout().lock();
    let mut screen = out.is_terminal().then(Screen::default);
    let mut last = b'\n';
    loop {
        let chunk = response.chunk().await.map_err(|error| no_answer(&error.into()))?;
        let is_end = chunk.is_none();
        let mut bytes = chunk.unwrap_or_default();
        if let Some(screen) = &mut screen {
            let text = if is_end { screen.end() } else { screen.shown(&bytes) };
            bytes = text.into();
        }
        last = bytes.last().copied().unwrap_or(last);
        let result = out.write_all(&bytes).and_then(|()| out.flush());
        if result.is_err() {
            return written(result).map(|()| true);
        }
        if is_end {
            break;
        }
    }
    if screen.is_some_and(|screen| screen.is_binary) {
        talk(
            "\nthe body is no text, and its bytes are shown as \\xNN: use > FILE to keep them as they are",
        );
    }
    Ok(last == b'\n')
}

pub(super) fn no_answer(error: &HttpError) -> Failure {
    let text = with_causes(error);
    match error {
        HttpError::PlainHttp => {
            Failure::refused(format_args!("declined: {text} (--http-host HOST)"))
        }
        HttpError::Setup | HttpError::NotRepeatable | HttpError::AlreadyPaid => {
            Failure::unusable(text)
        }
        _ => Failure::refused(format_args!("no answer: {text}")),
    }
}
