//! Listening until the process is asked to stop.

use std::future::IntoFuture;
use std::io;
use std::net::SocketAddr;

use axum::Router;
use tokio::net::TcpListener;

use crate::{Exit, Failure, Outcome, log, talk};

/// Serves until Ctrl-C or SIGTERM, and then finishes what was begun; the second signal ends that
/// too.
pub(crate) async fn serve(router: Router, address: SocketAddr) -> Outcome {
    log::start();
    let cannot =
        |error: io::Error| Failure::refused(format_args!("cannot listen on {address}: {error}"));
    let listener = TcpListener::bind(address).await.map_err(cannot)?;
    let (mut first, mut second) = (Stop::new().map_err(cannot)?, Stop::new().map_err(cannot)?);
    talk(format_args!("listening on http://{}", listener.local_addr().map_err(cannot)?));
    let serving =
        axum::serve(listener, router).with_graceful_shutdown(async move { first.asked().await });
    tokio::select! {
        result = serving.into_future() => result.map_err(cannot)?,
        () = async { second.asked().await; second.asked().await } => {
            return Err(Failure::refused("stopped before all was finished"));
        }
    }
    Ok(Exit::Yes)
}

/// Signals that ask the process to stop, from the moment this is made.
#[cfg(unix)]
struct Stop {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Stop {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let (interrupt, terminate) = (SignalKind::interrupt(), SignalKind::terminate());
        Ok(Self { interrupt: signal(interrupt)?, terminate: signal(terminate)? })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Ctrl-C.
#[cfg(not(unix))]
struct Stop;

#[cfg(not(unix))]
impl Stop {
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    async fn asked(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
