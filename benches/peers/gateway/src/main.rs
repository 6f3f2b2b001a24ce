//! Whole servers and clients, each a process of its own on one core, loaded from another core.
//!
//!     cargo run --release -p x402-benches --bin gateway
//!
//! builds all of them and runs this; see there.

mod http;
mod payments;
mod program;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::{env, fs};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::http::Connection;
use crate::payments::{CHALLENGE, Curve, Payments, challenge_of, free_request};
use crate::program::{Program, cores, pin};

const USAGE: &str = "usage: gateway --programs DIR --scripts DIR --packages DIR \
                     [--only TEXT] [--sellers TEXT] [--quick] [--save PATH]";

/// Connections that wait for their answers at the same time.
const AT_ONCE: [usize; 2] = [1, 64];

/// How long one load is meant to last, in seconds.
const LOAD_SECONDS: f64 = 0.3;

/// Connections that are kept open when memory is measured.
const OPEN: usize = 10_000;

/// Payments at the same time by a client.
const BUYERS: [usize; 2] = [1, 16];

struct Args {
    programs: PathBuf,
    scripts: PathBuf,
    packages: PathBuf,
    only: Option<String>,
    sellers: Option<String>,
    rounds: usize,
    save: Option<PathBuf>,
}

impl Args {
    fn read() -> Result<Self, String> {
        let (mut programs, mut scripts, mut packages) = (None, None, None);
        let (mut only, mut sellers, mut save) = (None, None, None);
        let mut rounds = 15;
        let mut args = env::args().skip(1);
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or(USAGE);
            match arg.as_str() {
                "--programs" => programs = Some(value()?.into()),
                "--scripts" => scripts = Some(value()?.into()),
                "--packages" => packages = Some(value()?.into()),
                "--save" => save = Some(value()?.into()),
                "--only" => only = Some(value()?),
                "--sellers" => sellers = Some(value()?),
                "--quick" => rounds = 3,
                _ => return Err(USAGE.into()),
            }
        }
        Ok(Self {
            programs: programs.ok_or(USAGE)?,
            scripts: scripts.ok_or(USAGE)?,
            packages: packages.ok_or(USAGE)?,
            only,
            sellers,
            rounds,
            save,
        })
    }

    fn wants(&self, section: &str) -> bool {
        self.only.as_ref().is_none_or(|only| section.contains(only.as_str()))
    }

    /// The sellers to be loaded; always the first, which the others are compared with.
    fn sellers(&self) -> impl Iterator<Item = &'static Seller> {
        let wanted = |name: &str| self.sellers.as_ref().is_none_or(|text| name.contains(&**text));
        let of_all = SELLERS.iter().enumerate();
        of_all.filter(move |(at, seller)| *at == UNPAID || wanted(seller.name)).map(|(_, it)| it)
    }

    /// Starts a program by its name, or a script by its name that ends in `.mjs`.
    fn start(
        &self,
        name: &str,
        argument: &str,
        core: Option<usize>,
    ) -> Result<(Program, String), String> {
        let arguments = [argument].into_iter().filter(|argument| !argument.is_empty());
        if name.ends_with(".mjs") {
            let (script, packages) = (self.scripts.join(name), &self.packages);
            let script = [script.into_os_string(), packages.clone().into_os_string()];
            return Program::start(
                "node",
                script.into_iter().chain(arguments.map(Into::into)),
                core,
            );
        }
        Program::start(self.programs.join(name), arguments, core)
    }
}

/// Where things run.
#[derive(Clone, Copy)]
struct Cores {
    servers: Option<usize>,
    loader: Option<usize>,
}

/// The party that checks a payment.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// Nobody: the route is free.
    Nobody,
    /// Somebody in the same process, who says yes.
    Instant,
    /// The same, who looks at the signature first.
    Verifying,
    /// Somebody over HTTP on this machine, who says yes.
    Http,
}

impl Asked {
    const PAID: [(Self, &'static str); 3] = [
        (Self::Instant, "A facilitator in the same process, that says yes"),
        (Self::Verifying, "The same; before that it checks the signature, as the peers' own do"),
        (Self::Http, "A facilitator over HTTP on the loader's core, that says yes"),
    ];
}

struct Seller {
    name: &'static str,
    program: &'static str,
    asked: Asked,
    /// Whether the free route is sent a payment's header all the same.
    burdened: bool,
}

const fn seller(name: &'static str, program: &'static str, asked: Asked) -> Seller {
    Seller { name, program, asked, burdened: false }
}

const UNPAID: usize = 0;
const OURS: [&str; 2] = ["ours, k256", "ours, simd + libsecp256k1"];
const X402_AXUM: &str = "x402-axum";

const SELLERS: [Seller; 15] = [
    seller("axum, unpaid", "sell_plain", Asked::Nobody),
    Seller {
        name: "axum, unpaid, sent the payment's header",
        program: "sell_plain",
        asked: Asked::Nobody,
        burdened: true,
    },
    seller("Express, unpaid", "sell.mjs", Asked::Nobody),
    seller(OURS[0], "sell_ours", Asked::Instant),
    seller(OURS[1], "sell_ours_fast", Asked::Instant),
    seller(X402_AXUM, "sell_x402_rs", Asked::Instant),
    seller("r402", "sell_r402", Asked::Instant),
    seller("@x402/express", "sell.mjs", Asked::Instant),
    seller(X402_AXUM, "sell_x402_rs", Asked::Verifying),
    seller("r402", "sell_r402", Asked::Verifying),
    seller(OURS[0], "sell_ours", Asked::Http),
    seller(OURS[1], "sell_ours_fast", Asked::Http),
    seller(X402_AXUM, "sell_x402_rs", Asked::Http),
    seller("r402", "sell_r402", Asked::Http),
    seller("@x402/express", "sell.mjs", Asked::Http),
];

const CLIENTS: [(&str, &str); 4] = [
    ("ours", "buy_ours"),
    ("x402-reqwest", "buy_x402_rs"),
    ("r402", "buy_r402"),
    ("@x402/fetch", "buy.mjs"),
];

/// The measurements, in the order they were made: one figure a line.
#[derive(Default)]
struct Figures(Vec<(String, String, String, f64)>);

impl Figures {
    fn add(&mut self, section: &str, name: &str, measure: &str, value: f64) {
        self.0.push((section.into(), name.into(), measure.into(), value));
    }

    fn tsv(&self) -> String {
        let mut text = String::from("section\tname\tmeasure\tvalue\n");
        for (section, name, measure, value) in &self.0 {
            writeln!(text, "{section}\t{name}\t{measure}\t{value:.6}").expect("memory");
        }
        text
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gateway: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let args = Args::read()?;
    let open = open_files()?;
    let cores = match cores()[..] {
        [servers, loader, ..] => Cores { servers: Some(servers), loader: Some(loader) },
        _ => Cores { servers: None, loader: None },
    };
    pin(cores.loader)?;
    let mut payments = Payments::new()?;
    let (mut text, mut figures) = (String::new(), Figures::default());
    if args.wants("servers") {
        text += &servers(&args, cores, &mut payments, &mut figures)?;
    }
    if args.wants("memory") {
        text += &memory(&args, cores, open, &mut payments, &mut figures)?;
    }
    if args.wants("clients") {
        text += &clients(&args, cores, &mut figures)?;
    }
    print!("{text}");
    if let Some(path) = &args.save {
        let write = |ending: &str, text: &str| {
            let path = path.with_extension(ending);
            fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
        };
        write("md", &text)?;
        write("tsv", &figures.tsv())?;
    }
    Ok(())
}

/// Lets this process and those it starts have as many files open as they may. Says how many
/// connections that is enough for.
fn open_files() -> Result<usize, String> {
    let limits = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limits.maximum, maximum: limits.maximum };
    setrlimit(Resource::Nofile, raised).map_err(|error| error.to_string())?;
    let most = limits.maximum.map_or(usize::MAX, |most| most as usize);
    Ok(OPEN.min(most.saturating_sub(200)))
}

/// A seller that is running.
struct Running {
    program: Program,
    port: u16,
    /// `None` if it is free and sent no payment.
    challenge: Option<Vec<u8>>,
    /// The first payment that it has not been given.
    next: usize,
}

impl Running {
    fn start(
        args: &Args,
        core: Option<usize>,
        seller: &Seller,
        facilitator: &str,
    ) -> Result<Self, String> {
        let argument = match seller.asked {
            Asked::Nobody if seller.program.ends_with(".mjs") => "unpaid",
            Asked::Nobody => "",
            Asked::Instant => "instant",
            Asked::Verifying => "verifying",
            Asked::Http => facilitator,
        };
        let (program, port) = args.start(seller.program, argument, core)?;
        let port = port.parse().map_err(|_| format!("{}: not a port", seller.name))?;
        let mut running = Self { program, port, challenge: None, next: 0 };
        let answer = Connection::open(port)?.ask(&free_request())?;
        if seller.asked != Asked::Nobody {
            if !answer.starts_with(b"HTTP/1.1 402 ") {
                return Err("gives it away".into());
            }
            running.challenge = Some(challenge_of(&answer)?);
        } else if seller.burdened {
            running.challenge = Some(CHALLENGE.into());
        }
        Ok(running)
    }

    /// So many requests, each with a payment of its own.
    fn requests(&mut self, payments: &mut Payments, count: usize) -> Result<Vec<Vec<u8>>, String> {
        let Some(challenge) = &self.challenge else {
            return Ok(vec![free_request(); count]);
        };
        let first = self.next;
        self.next += count;
        payments.requests(challenge, first, count)
    }

    /// That a payment is taken and a receipt given for it.
    fn check(&mut self, payments: &mut Payments) -> Result<(), String> {
        let request = self.requests(payments, 1)?.remove(0);
        let answer = Connection::open(self.port)?.ask_ok(&request)?;
        http::header(&answer, "payment-response").map(|_| ()).ok_or_else(|| "no receipt".into())
    }
}

/// Of one seller and one number of connections, in each round.
#[derive(Default)]
struct Rounds {
    per_second: Vec<f64>,
    cpu: Vec<f64>,
    p50: Vec<f64>,
    p99: Vec<f64>,
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

fn servers(
    args: &Args,
    cores: Cores,
    payments: &mut Payments,
    figures: &mut Figures,
) -> Result<String, String> {
    let sellers: Vec<&Seller> = args.sellers().collect();
    let (_facilitator, port) = args.start("facilitate", "", cores.loader)?;
    let url = format!("http://127.0.0.1:{port}");
    let mut running = Vec::new();
    for seller in &sellers {
        let fail = |error: String| format!("{}: {error}", seller.name);
        let mut started = Running::start(args, cores.servers, seller, &url).map_err(fail)?;
        if seller.asked != Asked::Nobody {
            started.check(payments).map_err(fail)?;
        }
        running.push(started);
    }
    // How many requests last as long as a load is meant to, after a warm-up.
    let mut counts = Vec::new();
    for (seller, running) in sellers.iter().zip(&mut running) {
        let mut count = [0; AT_ONCE.len()];
        for (count, at_once) in count.iter_mut().zip(AT_ONCE) {
            let mut rate = 500.0;
            for _ in 0..3 {
                let requests = (rate * LOAD_SECONDS) as usize + at_once;
                let requests = running.requests(payments, requests)?;
                let load = http::load(running.port, requests, at_once);
                rate = load.map_err(|error| format!("{}: {error}", seller.name))?.per_second();
            }
            *count = (rate * LOAD_SECONDS) as usize + at_once;
        }
        counts.push(count);
    }
    let mut rounds: Vec<[Rounds; AT_ONCE.len()]> = Vec::new();
    rounds.resize_with(sellers.len(), Default::default);
    let curve = Curve::new(payments)?;
    let mut curves = [Vec::new(), Vec::new()];
    for round in 0..args.rounds {
        eprintln!("round {} of {}", round + 1, args.rounds);
        for (index, (seller, running)) in sellers.iter().zip(&mut running).enumerate() {
            for (way, at_once) in AT_ONCE.into_iter().enumerate() {
                let requests = running.requests(payments, counts[index][way])?;
                let count = requests.len() as f64;
                let before = running.program.cpu()?;
                let load = http::load(running.port, requests, at_once)
                    .map_err(|error| format!("{}: {error}", seller.name))?;
                let rounds = &mut rounds[index][way];
                rounds.cpu.push((running.program.cpu()? - before) / count);
                rounds.per_second.push(load.per_second());
                rounds.p50.push(load.latency(0.5));
                rounds.p99.push(load.latency(0.99));
            }
        }
        for (all, seconds) in curves.iter_mut().zip(curve.measure()) {
            all.push(seconds);
        }
    }
    for (seller, rounds) in sellers.iter().zip(&rounds) {
        for (at_once, rounds) in AT_ONCE.iter().zip(rounds) {
            let section = format!("servers, {}", section_of(seller.asked));
            let mut add = |measure: &str, values: &[f64], scale: f64| {
                let measure = format!("{measure}, {at_once} connections");
                figures.add(&section, seller.name, &measure, median(values) * scale);
            };
            add("requests per second", &rounds.per_second, 1.0);
            add("cpu us", &rounds.cpu, 1e6);
            add("p50 us", &rounds.p50, 1e6);
            add("p99 us", &rounds.p99, 1e6);
        }
    }
    let curves = [median(&curves[0]), median(&curves[1])];
    figures.add("curve", "k256", "us", curves[0] * 1e6);
    figures.add("curve", "libsecp256k1", "us", curves[1] * 1e6);
    Ok(server_tables(&sellers, &rounds, curves, args.rounds, cores))
}

fn section_of(asked: Asked) -> &'static str {
    match asked {
        Asked::Nobody => "unpaid",
        Asked::Instant => "instant",
        Asked::Verifying => "verifying",
        Asked::Http => "http",
    }
}

fn server_tables(
    sellers: &[&Seller],
    rounds: &[[Rounds; AT_ONCE.len()]],
    curves: [f64; 2],
    count: usize,
    cores: Cores,
) -> String {
    let many = AT_ONCE.len() - 1;
    let rate = |index: usize| median(&rounds[index][many].per_second);
    let cpu = |index: usize| median(&rounds[index][many].cpu) * 1e6;
    let find = |name: &str, asked: Asked| {
        sellers.iter().position(|seller| seller.name == name && seller.asked == asked)
    };
    let mut text = String::new();
    let place = match cores.servers {
        Some(_) => "every server on one core, the loader on another",
        None => "servers and loader on the same core",
    };
    writeln!(
        text,
        "Medians of {count} interleaved rounds; {place}. A route that answers 30 bytes, HTTP/1.1 \
         kept alive, each request with a payment of its own (EIP-3009, one offer). Rates and \
         processor time (kernel and all) with {} connections. x402-axum, r402 and @x402/express \
         leave the signature to their facilitator, so that where it says yes nobody checks it; ours \
         checks it and claims the payment in every table, with room for 10 million claims.",
        AT_ONCE[many]
    )
    .expect("memory");
    let tables = [(Asked::Nobody, "Free")].into_iter().chain(Asked::PAID);
    for (asked, title) in tables {
        write!(
            text,
            "\n**{title}**\n\n| | of unpaid axum's rate | of x402-axum's rate | times less CPU than \
             x402-axum | CPU, us a request | requests a second | p50 / p99, ms | 1 connection: p50 / p99, ms |\n\
             |---|---:|---:|---:|---:|---:|---:|---:|\n"
        )
        .expect("memory");
        let peer = find(X402_AXUM, asked);
        let shown = sellers.iter().enumerate().filter(|(_, seller)| {
            seller.asked == asked || asked == Asked::Verifying && is_ours_instant(seller)
        });
        for (index, seller) in shown {
            let [one, all] = [&rounds[index][0], &rounds[index][many]];
            let of_peer = |ratio: &dyn Fn(usize) -> f64| {
                peer.map_or(String::new(), |peer| format!("{:.2}", ratio(peer)))
            };
            writeln!(
                text,
                "| {} | {:.3} | {} | {} | {:.1} | {:.0} | {:.2} / {:.2} | {:.3} / {:.3} |",
                seller.name,
                rate(index) / rate(UNPAID),
                of_peer(&|peer| rate(index) / rate(peer)),
                of_peer(&|peer| cpu(peer) / cpu(index)),
                cpu(index),
                rate(index),
                median(&all.p50) * 1e3,
                median(&all.p99) * 1e3,
                median(&one.p50) * 1e3,
                median(&one.p99) * 1e3,
            )
            .expect("memory");
        }
    }
    text += "\n**Beyond the curve.** Processor time of a request less the free route's and one \
             recovery of a signer by the bare library, of many payments in turn, measured in the \
             same run.\n\n| | of free + curve | request, us | free route, us | curve, us | rest, us \
             |\n|---|---:|---:|---:|---:|---:|\n";
    for (name, curve) in OURS.into_iter().zip(curves) {
        let Some(index) = find(name, Asked::Instant) else { continue };
        let (whole, free, curve) = (cpu(index), cpu(UNPAID), curve * 1e6);
        writeln!(
            text,
            "| {name} | {:.2} | {whole:.1} | {free:.1} | {curve:.1} | {:.1} |",
            whole / (free + curve),
            whole - free - curve,
        )
        .expect("memory");
    }
    let beside: Vec<String> = [X402_AXUM, "r402"]
        .into_iter()
        .filter_map(|name| {
            let rest = cpu(find(name, Asked::Instant)?) - cpu(UNPAID);
            Some(format!("{name} {rest:.1}"))
        })
        .collect();
    if !beside.is_empty() {
        let beside = beside.join(", ");
        writeln!(text, "\nPeers that check and claim nothing, less the free route, us: {beside}.")
            .expect("memory");
    }
    text
}

fn is_ours_instant(seller: &Seller) -> bool {
    OURS.contains(&seller.name) && seller.asked == Asked::Instant
}

fn memory(
    args: &Args,
    cores: Cores,
    open: usize,
    payments: &mut Payments,
    figures: &mut Figures,
) -> Result<String, String> {
    let mut text = format!(
        "\n**Memory.** Resident, with {open} connections open of which each made a request, less \
         before they were opened. Buffers of the kernel are not counted; ours keeps a claim of every \
         payment{}.\n\n| | KB a connection | MB before | MB with all open |\n|---|---:|---:|---:|\n",
        if open < OPEN { " (more files may not be open here)" } else { "" }
    );
    let shown = args.sellers().filter(|seller| {
        !seller.burdened && matches!(seller.asked, Asked::Nobody | Asked::Instant)
    });
    for seller in shown {
        eprintln!("memory: {}", seller.name);
        let fail = |error: String| format!("{}: {error}", seller.name);
        let mut running = Running::start(args, cores.servers, seller, "").map_err(fail)?;
        let warm_up = running.requests(payments, 1000)?;
        http::load(running.port, warm_up, 1).map_err(fail)?;
        let before = running.program.resident()?;
        let mut connections = Vec::with_capacity(open);
        for request in running.requests(payments, open)? {
            let mut connection = Connection::open(running.port).map_err(fail)?;
            connection.ask_ok(&request).map_err(fail)?;
            connections.push(connection);
        }
        let after = running.program.resident()?;
        let each = after.saturating_sub(before) as f64 / open as f64 / 1e3;
        figures.add("memory", seller.name, "KB a connection", each);
        writeln!(
            text,
            "| {} | {each:.1} | {:.1} | {:.1} |",
            seller.name,
            before as f64 / 1e6,
            after as f64 / 1e6
        )
        .expect("memory");
    }
    Ok(text)
}

fn clients(args: &Args, cores: Cores, figures: &mut Figures) -> Result<String, String> {
    let port = http::sell(asking(), serving())?;
    let url = format!("http://127.0.0.1:{port}/weather");
    let mut running = Vec::new();
    let mut counts = Vec::new();
    for (name, program) in CLIENTS {
        let fail = |error: String| format!("{name}: {error}");
        let (mut program, _) = args.start(program, &url, cores.servers).map_err(fail)?;
        let mut count = [0; BUYERS.len()];
        for (count, buyers) in count.iter_mut().zip(BUYERS) {
            let mut payments = 200;
            for _ in 0..3 {
                let (seconds, _) = pay(&mut program, payments, buyers).map_err(fail)?;
                payments = (payments as f64 / seconds * LOAD_SECONDS) as usize + buyers;
            }
            *count = payments;
        }
        running.push(program);
        counts.push(count);
    }
    let mut rounds: Vec<[Rounds; BUYERS.len()]> = Vec::new();
    rounds.resize_with(CLIENTS.len(), Default::default);
    for round in 0..args.rounds {
        eprintln!("clients: round {} of {}", round + 1, args.rounds);
        for (index, program) in running.iter_mut().enumerate() {
            for (way, buyers) in BUYERS.into_iter().enumerate() {
                let count = counts[index][way];
                let (seconds, cpu) = pay(program, count, buyers)
                    .map_err(|error| format!("{}: {error}", CLIENTS[index].0))?;
                rounds[index][way].per_second.push(count as f64 / seconds);
                rounds[index][way].cpu.push(cpu / count as f64);
            }
        }
    }
    let mut text = format!(
        "\n**Clients.** Payments of each client to one seller on the loader's core, that asks with a \
         402 and serves whoever sends a payment: two requests and one EIP-3009 signature a payment. \
         Medians of {} interleaved rounds.\n\n| | of x402-reqwest's rate | CPU, us a payment | \
         payments a second, {} at once | one after another |\n|---|---:|---:|---:|---:|\n",
        args.rounds, BUYERS[1]
    );
    let rate = |index: usize, way: usize| median(&rounds[index][way].per_second);
    for (index, (name, _)) in CLIENTS.iter().enumerate() {
        let cpu = median(&rounds[index][1].cpu) * 1e6;
        figures.add("clients", name, "payments per second, 16 at once", rate(index, 1));
        figures.add("clients", name, "payments per second, 1 at once", rate(index, 0));
        figures.add("clients", name, "cpu us", cpu);
        writeln!(
            text,
            "| {name} | {:.2} | {cpu:.1} | {:.0} | {:.0} |",
            rate(index, 1) / rate(1, 1),
            rate(index, 1),
            rate(index, 0)
        )
        .expect("memory");
    }
    Ok(text)
}

/// Seconds that so many payments take, and the seconds of processor time.
fn pay(program: &mut Program, payments: usize, at_once: usize) -> Result<(f64, f64), String> {
    let (started, before) = (std::time::Instant::now(), program.cpu()?);
    program.tell(&format!("{payments} {at_once}"))?;
    program.line()?;
    Ok((started.elapsed().as_secs_f64(), program.cpu()? - before))
}

/// The answer to who sends no payment.
fn asking() -> Vec<u8> {
    let mut buffer = [0; 4096];
    let header = x402_core::base64::encode(CHALLENGE.as_bytes(), &mut buffer).expect("fits");
    let length = CHALLENGE.len();
    format!(
        "HTTP/1.1 402 Payment Required\r\ncontent-type: application/json\r\npayment-required: \
         {header}\r\ncontent-length: {length}\r\n\r\n{CHALLENGE}"
    )
    .into()
}

/// The answer to who sends one.
fn serving() -> Vec<u8> {
    const RECEIPT: &str = r#"{"success":true,"payer":"0x0000000000000000000000000000000000000001","transaction":"0x1111111111111111111111111111111111111111111111111111111111111111","network":"eip155:84532"}"#;
    const BODY: &str = r#"{"city":"Lisbon","celsius":21}"#;
    let mut buffer = [0; 1024];
    let header = x402_core::base64::encode(RECEIPT.as_bytes(), &mut buffer).expect("fits");
    let length = BODY.len();
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\npayment-response: \
         {header}\r\ncontent-length: {length}\r\n\r\n{BODY}"
    )
    .into()
}
