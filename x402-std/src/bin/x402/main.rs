//! The command `x402`.
//!
//! Results go to stdout, talk goes to stderr. The exit status is 0 for yes, 1 for a refusal, 2 for
//! input that cannot be used. Errors never repeat the arguments: a key or a payment may be in the
//! wrong place.
#![forbid(unsafe_code)]

mod config;
mod decode;
mod facilitator;
mod input;
mod key;
mod keys;
mod listen;
mod log;
mod manual;
mod mcp;
mod metrics;
mod pay;
mod serve;
mod settle;
mod shown;
mod sign;
mod transaction;
mod upstream;
mod verify;

use std::error::Error;
use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use clap::error::{ContextKind, ErrorKind};
use x402_std::core::Network;
use x402_std::message::{PaymentRequirements, ReadError, decimal};
use x402_std::{evm, svm};

/// Payments by the x402 protocol: read, check, sign, pay, charge.
#[derive(Parser)]
#[command(
    name = "x402",
    version,
    after_help = "Exit status: 0 yes, 1 refused, 2 input that cannot be used.\n\
                  VALUE is a text, @FILE, or - for stdin."
)]
enum Command {
    Decode(decode::Decode),
    Verify(verify::Verify),
    Sign(sign::Sign),
    Key(keys::Key),
    Pay(pay::Pay),
    Serve(serve::Serve),
    Facilitator(facilitator::Facilitator),
    Mcp(mcp::Mcp),
    Completions(manual::Completions),
    Man(manual::Man),
}

/// The meaning of the exit status.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Exit {
    /// Yes: decoded, valid, signed, paid, served.
    Yes = 0,
    /// The input is fine and the answer is no.
    Refused = 1,
    /// The input cannot be used.
    Unusable = 2,
}

/// Why a command ended early, in words for stderr.
struct Failure {
    exit: Exit,
    text: String,
}

impl Failure {
    fn refused(text: impl Display) -> Self {
        Self { exit: Exit::Refused, text: text.to_string() }
    }

    fn unusable(text: impl Display) -> Self {
        Self { exit: Exit::Unusable, text: text.to_string() }
    }

    /// With its subject in front: an option or a variable.
    fn about(self, what: &str) -> Self {
        Self { text: format!("{what}: {}", self.text), ..self }
    }

    /// The failure of a text that cannot be read: the reason code, the fault and its place.
    fn read(error: impl Into<ReadError>) -> Self {
        let error = error.into();
        Self::unusable(format_args!("{}: {error}", error.error.reason()))
    }
}

/// How a command ended.
type Outcome = Result<Exit, Failure>;

fn main() -> ExitCode {
    let outcome = match Command::try_parse() {
        Ok(command) => run(command),
        Err(error) => explain(&error),
    };
    let exit = outcome.unwrap_or_else(|failure| {
        talk(failure.text);
        failure.exit
    });
    ExitCode::from(exit as u8)
}

fn run(command: Command) -> Outcome {
    let runtime = match &command {
        Command::Decode(decode) => return decode.run(),
        Command::Verify(verify) => return verify.run(),
        Command::Completions(completions) => return completions.run(),
        Command::Man(man) => return man.run(),
        _ => tokio::runtime::Runtime::new()
            .map_err(|error| Failure::refused(error).about("cannot start threads"))?,
    };
    let outcome = runtime.block_on(async {
        match command {
            Command::Sign(sign) => sign.run().await,
            Command::Key(key) => key.run().await,
            Command::Pay(pay) => pay.run().await,
            Command::Serve(serve) => serve.run().await,
            Command::Facilitator(facilitator) => facilitator.run().await,
            Command::Mcp(mcp) => mcp.run().await,
            Command::Decode(_) | Command::Verify(_) | Command::Completions(_) | Command::Man(_) => {
                Ok(Exit::Yes)
            }
        }
    });
    // A lookup of a name that is still under way must not keep the process alive.
    runtime.shutdown_background();
    outcome
}

/// Explains faulty arguments in this program's own words only.
fn explain(error: &clap::Error) -> Outcome {
    let kind = error.kind();
    if error.exit_code() == 0 || kind == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        error.print().ok();
        return Ok(if error.exit_code() == 0 { Exit::Yes } else { Exit::Unusable });
    }
    let mut text = String::from("error");
    // An unknown argument is the user's own text.
    if kind != ErrorKind::UnknownArgument
        && let Some(argument) = error.get(ContextKind::InvalidArg)
    {
        text = format!("{text}: {argument}");
    }
    let source = error.source().map(ToString::to_string);
    let what = source.as_deref().or(kind.as_str()).unwrap_or("the arguments cannot be used");
    text = format!("{text}: {what}");
    // The proposal is a name of this program's own.
    let proposed = [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand];
    let mut proposed = proposed.into_iter().filter_map(|kind| error.get(kind));
    if let Some(name) = proposed.next() {
        text = format!("{text}; did you mean {name}?");
    }
    if let Some(usage) = error.get(ContextKind::Usage) {
        text = format!("{text}\n\n{usage}");
    }
    Err(Failure::unusable(text))
}

/// Writes a result, JSON or a header, and a line end to stdout. Bytes that steer a terminal are escaped.
fn print(text: impl Display) -> Result<(), Failure> {
    write_out(format!("{}\n", shown::shown_json(&text.to_string())).as_bytes())
}

/// Writes a result to stdout as it is.
fn write_out(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    written(out.write_all(bytes).and_then(|()| out.flush()))
}

/// A closed pipe is no failure.
fn written(result: io::Result<()>) -> Result<(), Failure> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::refused(format_args!("cannot write to stdout: {error}")))
        }
        _ => Ok(()),
    }
}

/// Writes a line to stderr, which may have words of others in it. A closed pipe is no failure.
fn talk(text: impl Display) {
    log::talk(&text.to_string());
}

/// An error and its causes, in a line.
fn with_causes(error: &dyn Error) -> String {
    let mut last = error.to_string();
    let mut text = last.clone();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if next != last {
            text = format!("{text}: {next}");
        }
        (last, cause) = (next, error.source());
    }
    text
}

/// The price of an offer, for people: `0.01 USDC on eip155:84532 to 0x...`.
fn describe(offer: &PaymentRequirements) -> String {
    let price = match known_token(offer.network.as_view(), &offer.asset) {
        Some((symbol, decimals)) => {
            let amount = decimal(&offer.amount.to_string(), decimals.into());
            format!("{amount} {symbol}")
        }
        None => format!("{} units of {}", offer.amount, offer.asset),
    };
    format!("{price} on {} to {}", offer.network, offer.pay_to)
}

/// Symbol and decimals of a known token.
fn known_token(network: Network<'_>, address: &str) -> Option<(&'static str, u8)> {
    if let Some(reference) = network.solana() {
        let asset = svm::assets::find(reference, svm::Address::parse(address)?)?;
        return Some((asset.symbol, asset.mint.decimals));
    }
    let asset = evm::assets::find(network.eip155()?, evm::Address::parse(address)?)?;
    Some((asset.symbol, asset.decimals))
}
