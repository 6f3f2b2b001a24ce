//! The least of HTTP/1.1 that it takes to load a server, and to sell to a client.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

/// No answer here is longer.
const ANSWER_BYTES: usize = 64 * 1024;

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The result of a load.
pub struct Load {
    /// From the first request to the last answer.
    pub seconds: f64,
    /// Of each request, in seconds, in order of length.
    pub latencies: Vec<f64>,
}

impl Load {
    /// The latency that such a share of the requests did not exceed, in seconds.
    pub fn latency(&self, share: f64) -> f64 {
        let last = self.latencies.len() - 1;
        self.latencies[(last as f64 * share).round() as usize]
    }

    pub fn per_second(&self) -> f64 {
        self.latencies.len() as f64 / self.seconds
    }
}

/// An answer, once its head has come: where it ends.
fn end_of_answer(bytes: &[u8]) -> Result<Option<usize>, String> {
    let Some(head) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Ok(None);
    };
    let length = header(&bytes[..head], "content-length").and_then(|length| length.parse().ok());
    let length: usize = length.ok_or("an answer without content-length")?;
    Ok(Some(head + 4 + length))
}

/// A header's value.
pub fn header<'a>(answer: &'a [u8], name: &str) -> Option<&'a str> {
    answer.split(|&byte| byte == b'\n').find_map(|line| {
        let (found, value) = str::from_utf8(line).ok()?.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// The status line, without its end.
fn status(answer: &[u8]) -> String {
    let line = answer.split(|&byte| byte == b'\r').next().unwrap_or_default();
    String::from_utf8_lossy(line).into_owned()
}

fn is_ok(answer: &[u8]) -> bool {
    answer.starts_with(b"HTTP/1.1 200 ")
}

/// A connection that is kept open, and waits for its answers.
pub struct Connection(TcpStream);

impl Connection {
    pub fn open(port: u16) -> Result<Self, String> {
        let open = || {
            let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
            stream.set_read_timeout(Some(PATIENCE))?;
            Ok(Self(stream))
        };
        open().map_err(|error: std::io::Error| error.to_string())
    }

    /// One request's whole answer.
    pub fn ask(&mut self, request: &[u8]) -> Result<Vec<u8>, String> {
        self.0.write_all(request).map_err(|error| error.to_string())?;
        let mut answer = Vec::with_capacity(1024);
        let mut chunk = [0; 4096];
        loop {
            let length = self.0.read(&mut chunk).map_err(|error| error.to_string())?;
            answer.extend_from_slice(&chunk[..length]);
            match end_of_answer(&answer)? {
                Some(end) if answer.len() == end => return Ok(answer),
                _ if length == 0 || answer.len() > ANSWER_BYTES => {
                    return Err("an answer broke off".into());
                }
                _ => {}
            }
        }
    }

    /// One request's answer, which must be 200.
    pub fn ask_ok(&mut self, request: &[u8]) -> Result<Vec<u8>, String> {
        let answer = self.ask(request)?;
        if is_ok(&answer) { Ok(answer) } else { Err(status(&answer)) }
    }
}

fn runtime() -> Result<Runtime, String> {
    Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())
}

/// Sends all requests over so many connections, each of which waits for an answer before it sends
/// the next. An answer other than 200 is a failure.
pub fn load(port: u16, requests: Vec<Vec<u8>>, connections: usize) -> Result<Load, String> {
    runtime()?.block_on(async {
        let mut shares: Vec<Vec<Vec<u8>>> = vec![Vec::new(); connections];
        for (index, request) in requests.into_iter().enumerate() {
            shares[index % connections].push(request);
        }
        let mut streams = Vec::with_capacity(connections);
        for share in shares {
            let stream = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await;
            streams.push((stream.map_err(|error| error.to_string())?, share));
        }
        let mut tasks = JoinSet::new();
        let started = Instant::now();
        for (stream, share) in streams {
            tasks.spawn(async move {
                let sent = tokio::time::timeout(10 * PATIENCE, send(stream, share)).await;
                sent.unwrap_or_else(|_| Err("no answer".into()))
            });
        }
        let mut latencies = Vec::new();
        while let Some(done) = tasks.join_next().await {
            latencies.extend(done.map_err(|error| error.to_string())??);
        }
        let seconds = started.elapsed().as_secs_f64();
        latencies.sort_by(f64::total_cmp);
        Ok(Load { seconds, latencies })
    })
}

async fn send(
    mut stream: tokio::net::TcpStream,
    requests: Vec<Vec<u8>>,
) -> Result<Vec<f64>, String> {
    let mut latencies = Vec::with_capacity(requests.len());
    let mut answer = vec![0; ANSWER_BYTES];
    for request in requests {
        let started = Instant::now();
        stream.write_all(&request).await.map_err(|error| error.to_string())?;
        let mut filled = 0;
        loop {
            let read = stream.read(&mut answer[filled..]).await;
            let length = read.map_err(|error| error.to_string())?;
            filled += length;
            match end_of_answer(&answer[..filled])? {
                Some(end) if filled == end => break,
                _ if length == 0 => return Err("an answer broke off".into()),
                _ => {}
            }
        }
        latencies.push(started.elapsed().as_secs_f64());
        if !is_ok(&answer[..filled]) {
            return Err(status(&answer[..filled]));
        }
    }
    Ok(latencies)
}

/// Sells to clients, on a thread of its own, until the process ends: asks who sends no payment, and
/// serves who sends anything like one. Returns its port.
pub fn sell(challenge: Vec<u8>, served: Vec<u8>) -> Result<u16, String> {
    let runtime = runtime()?;
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| error.to_string())?;
    listener.set_nonblocking(true).map_err(|error| error.to_string())?;
    let port = listener.local_addr().map_err(|error| error.to_string())?.port();
    let (challenge, served) = (&*challenge.leak(), &*served.leak());
    thread::spawn(move || {
        runtime.block_on(async {
            let Ok(listener) = tokio::net::TcpListener::from_std(listener) else {
                return;
            };
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(sell_on(stream, challenge, served));
            }
        });
    });
    Ok(port)
}

async fn sell_on(mut stream: tokio::net::TcpStream, challenge: &[u8], served: &[u8]) {
    let mut request = vec![0; ANSWER_BYTES];
    let mut filled = 0;
    loop {
        match stream.read(&mut request[filled..]).await {
            Ok(length) if length > 0 => filled += length,
            _ => return,
        }
        let head = &request[..filled];
        // None of them sends a body.
        if !head.ends_with(b"\r\n\r\n") {
            continue;
        }
        let answer = if header(head, "payment-signature").is_some() { served } else { challenge };
        filled = 0;
        if stream.write_all(answer).await.is_err() {
            return;
        }
    }
}
