//! MCP: an agent's server that pays, or with `--upstream` a price in front of another server.

pub(crate) mod agent;
mod gateway;

use std::pin::pin;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgMatches, Args, Command, Error, FromArgMatches, Id};

use rmcp::transport::io::stdio_pipes;
use rmcp::{ServerHandler, ServiceExt};

use crate::listen::Stop;
use crate::{Exit, Failure, Outcome};
use agent::Agent;
use gateway::Gateway;

/// Serves MCP tools that pay; or with --upstream, sells the tools of another MCP server.
///
/// JSON-RPC goes over stdin and stdout, talk goes to stderr.
pub(crate) enum Mcp {
    Agent(Box<Agent>),
    Gateway(Box<Gateway>),
}

impl Mcp {
    pub(crate) async fn run(self) -> Outcome {
        match self {
            Self::Agent(agent) => agent.run().await,
            Self::Gateway(gateway) => gateway.run().await,
        }
    }
}

/// The gateway's own arguments need `--upstream`, and those it requires are required only beside it. The
/// agent's own arguments conflict with `--upstream`. An argument of both is defined once, by the agent.
impl Args for Mcp {
    fn augment_args(command: Command) -> Command {
        let before = ids(&command);
        let command = Agent::augment_args(command);
        let agent = ids(&command);
        let gateway = Gateway::augment_args_for_update(Command::new("gateway"));
        let both = ids(&gateway);
        let command = command.mut_args(|arg| {
            if before.contains(arg.get_id()) || both.contains(arg.get_id()) {
                arg
            } else {
                arg.conflicts_with("upstream")
            }
        });
        let own = gateway.get_arguments().filter(|arg| !agent.contains(arg.get_id())).cloned();
        let own = own.map(|arg| {
            let arg = arg.help_heading("With --upstream");
            if arg.get_id() == "upstream" {
                arg.requires_all(["pay_to", "price", "networks", "facilitator"])
            } else {
                arg.requires("upstream")
            }
        });
        command
            .args(own)
            .about("Serves MCP tools that pay; or with --upstream, sells another MCP server's tools")
            .long_about(
                "Serves MCP tools that pay; or with --upstream, sells another MCP server's tools\n\n\
                 JSON-RPC goes over stdin and stdout, talk goes to stderr.",
            )
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Mcp {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        if matches.contains_id("upstream") {
            if matches.contains_id("hosts") && !matches.contains_id("listen") {
                let mut error = Error::new(ErrorKind::MissingRequiredArgument);
                let missing = ContextValue::Strings(vec!["--listen".into()]);
                error.insert(ContextKind::InvalidArg, missing);
                return Err(error);
            }
            return Ok(Self::Gateway(Box::new(Gateway::from_arg_matches(matches)?)));
        }
        Ok(Self::Agent(Box::new(Agent::from_arg_matches(matches)?)))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// Serves this process's client until it hangs up or the process is asked to stop. Then it finishes the
/// calls that were begun.
async fn over_stdio<H: ServerHandler, F: Future<Output = ()>>(
    server: H,
    mut stop: Stop,
    finish: impl Fn() -> F,
) -> Outcome {
    let server = tokio::select! {
        server = server.serve(stdio_pipes()) => {
            server.map_err(|_| Failure::refused("stdin: the client hung up, or does not speak MCP"))?
        }
        () = stop.asked() => return Ok(Exit::Yes),
    };
    let end = server.cancellation_token();
    let mut ended = pin!(server.waiting());
    tokio::select! {
        _ = &mut ended => {}
        () = stop.asked() => {
            finished(finish(), &mut stop).await?;
            end.cancel();
            ended.await.ok();
        }
    }
    finished(finish(), &mut stop).await
}

/// Waits for payments that are under way; another signal ends the wait.
async fn finished(finish: impl Future<Output = ()>, stop: &mut Stop) -> Outcome {
    tokio::select! {
        () = finish => Ok(Exit::Yes),
        () = stop.asked() => Err(Failure::refused("stopped before all payments were finished")),
    }
}

fn ids(command: &Command) -> Vec<Id> {
    command.get_arguments().map(|arg| arg.get_id().clone()).collect()
}
