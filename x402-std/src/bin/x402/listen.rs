//! Listening until the process is asked to stop.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Sleep, sleep, timeout};
use tower::ServiceExt;
use x402_std::seller::ConnectionEnd;

use crate::{Exit, Failure, Outcome, talk};

/// Longest wait for the head of a request, and for the next one on a connection.
const HEAD: Duration = Duration::from_secs(15);

/// Where to listen, and to how many.
pub(crate) struct Listen {
    pub(crate) address: SocketAddr,
    /// Connections at once; more wait.
    pub(crate) connections: usize,
    /// How long what was begun may take, once the process is asked to stop.
    pub(crate) shutdown: Duration,
}

impl Listen {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, connections: 4096, shutdown: Duration::from_secs(120) }
    }

    /// Serves until Ctrl-C or SIGTERM, and then finishes what was begun, `rest` last; the second
    /// signal ends that too.
    pub(crate) async fn serve(self, router: Router, rest: impl Future<Output = ()>) -> Outcome {
        let address = self.address;
        let cannot = |error: io::Error| {
            Failure::refused(format_args!("cannot listen on {address}: {error}"))
        };
        let listener = TcpListener::bind(address).await.map_err(cannot)?;
        let mut stop = Stop::new().map_err(cannot)?;
        talk(format_args!("listening on http://{}", listener.local_addr().map_err(cannot)?));
        let (connections, graceful) =
            (Arc::new(Semaphore::new(self.connections)), GracefulShutdown::new());
        loop {
            let accepted = async {
                let place = Arc::clone(&connections).acquire_owned().await;
                (listener.accept().await, place)
            };
            let (accepted, place) = tokio::select! {
                accepted = accepted => accepted,
                () = stop.asked() => break,
            };
            let Ok((stream, peer)) = accepted else {
                // Of its own accord nobody hung up: there are no more files to be had, say.
                sleep(Duration::from_millis(100)).await;
                continue;
            };
            let router = router.clone();
            let end = ConnectionEnd::default();
            let known = end.clone();
            // Requests know who sent them, and how their connection ends.
            let service = service_fn(move |mut request: Request<Incoming>| {
                request.extensions_mut().insert(ConnectInfo(peer));
                request.extensions_mut().insert(known.clone());
                router.clone().oneshot(request)
            });
            let stream = Watched { stream, end: end.clone(), linger: None };
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD)
                .serve_connection(TokioIo::new(stream), service);
            let connection = graceful.watch(connection);
            tokio::spawn(async move {
                // That a connection broke off is nobody's fault here.
                match connection.await {
                    Ok(()) => end.closed(),
                    Err(_) => end.broke(),
                }
                drop(place);
            });
        }
        drop(listener);
        let finished = timeout(self.shutdown, async {
            graceful.shutdown().await;
            rest.await;
        });
        tokio::select! {
            finished = finished => {
                finished.map_err(|_| Failure::refused("stopped before all was finished"))?;
            }
            () = stop.asked() => return Err(Failure::refused("stopped before all was finished")),
        }
        Ok(Exit::Yes)
    }
}

/// A connection that notes when it breaks: a peer that goes without having read all it was sent has
/// it reset.
struct Watched {
    stream: TcpStream,
    end: ConnectionEnd,
    /// Once nothing more is written: until when it is waited for the peer's end, and how much of what
    /// it sends meanwhile is left to be thrown away.
    linger: Option<(Pin<Box<Sleep>>, usize)>,
}

/// How long it is waited for the peer's end of a connection after ours, and how much is read of it:
/// only then it shows whether the peer has read all it was sent.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 16 << 20;

impl Watched {
    fn note<T>(&self, poll: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(_)) = &poll {
            self.end.broke();
        }
        poll
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.note(poll)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note(poll)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        self.note(poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_flush(context);
        self.note(poll)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.linger.is_none() {
            let poll = Pin::new(&mut this.stream).poll_shutdown(context);
            ready!(this.note(poll))?;
            this.linger = Some((Box::pin(sleep(LINGER)), LINGER_BYTES));
        }
        let mut scratch = [0; 4096];
        while let Some((time, left)) = &mut this.linger {
            if time.as_mut().poll(context).is_ready() || *left == 0 {
                break;
            }
            let mut buffer = ReadBuf::new(&mut scratch);
            match Pin::new(&mut this.stream).poll_read(context, &mut buffer) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => break,
                Poll::Ready(Ok(())) => *left = left.saturating_sub(buffer.filled().len()),
                Poll::Ready(Err(_)) => {
                    this.end.broke();
                    break;
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Signals that ask the process to stop, from the moment this is made.
#[cfg(unix)]
pub(crate) struct Stop {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Stop {
    pub(crate) fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let (interrupt, terminate) = (SignalKind::interrupt(), SignalKind::terminate());
        Ok(Self { interrupt: signal(interrupt)?, terminate: signal(terminate)? })
    }

    pub(crate) async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Ctrl-C.
#[cfg(not(unix))]
pub(crate) struct Stop;

#[cfg(not(unix))]
impl Stop {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self)
    }

    pub(crate) async fn asked(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
