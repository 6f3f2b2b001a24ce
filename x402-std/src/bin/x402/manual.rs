use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::{Command, Exit, Failure, Outcome, write_out};

/// Prints completions for a shell
#[derive(Args)]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

/// Prints the manual page, or that of one command
#[derive(Args)]
pub(crate) struct Man {
    /// The command
    command: Option<String>,
}

impl Completions {
    pub(crate) fn run(&self) -> Outcome {
        let mut out = Vec::new();
        clap_complete::generate(self.shell, &mut Command::command(), "x402", &mut out);
        write_out(&out)?;
        Ok(Exit::Yes)
    }
}

impl Man {
    pub(crate) fn run(&self) -> Outcome {
        let mut command = Command::command();
        // This gives subcommands their whole names.
        command.build();
        let command = match &self.command {
            None => &command,
            Some(name) => command
                .find_subcommand(name)
                .ok_or_else(|| Failure::unusable("no such command: see x402 help"))?,
        };
        let mut out = Vec::new();
        let rendered = clap_mangen::Man::new(command.clone()).render(&mut out);
        rendered.map_err(Failure::refused)?;
        write_out(&out)?;
        Ok(Exit::Yes)
    }
}
