//! The cost of one operation on a board: flash, RAM, stack and instructions.
//!
//!     cargo run -p x402-benches --bin size [-- --check | --update]
//!
//! Every operation is a firmware image of its own (`benches/images`), built for size and run once in
//! an emulator. It ends with a failure unless its result is the recorded one.
//!
//! - Flash: code, constants and initial values in the image, less those of an image that measures
//!   nothing (start, output, the recorded messages). Code shared with that one, such as copying
//!   memory and formatting numbers, is therefore not counted; nor are texts of panics.
//! - RAM: static variables, less those of that image. These are the buffers for messages.
//! - Stack: the most that was in use below the caller of the operation.
//! - Instructions that were executed: not cycles, which differ from core to core. On the ARM boards
//!   they are counted in steps of 40. The caller's parsing beforehand is not among them.
//!
//! `bare` is the one operation nobody can leave out, done with the crate this library uses for it.
//! The last two rows are the firmware of `x402-core/examples/boards` as it is, with TCP/IP and all.
//!
//! `--update` writes `benches/size.tsv`, the figures and two per cent; `--check` fails if one is
//! above what stands there. They depend on the compiler, which the file names, and on nothing else
//! of the machine; with another compiler they may be 15 per cent above.

use std::collections::BTreeMap;
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use object::elf::{SHF_ALLOC, SHF_WRITE};
use object::read::elf::ElfFile32;
use object::{Endianness, Object as _, ObjectSection as _, SectionFlags, SectionKind};
use x402_benches::results::{compiler, grouped, root};

const BOARDS: [(&str, &str); 3] = [
    ("thumbv7em-none-eabihf", "Cortex-M4"),
    ("thumbv6m-none-eabi", "Cortex-M0+"),
    ("riscv32imc-unknown-none-elf", "RISC-V, RV32IMC"),
];

/// Image, what it does, and the image with the bare operation in it.
const IMAGES: [(&str, &str, Option<&str>); 13] = [
    ("decode", "read a challenge header", None),
    ("choose", "choose an offer, write the payment header", None),
    ("evm_sign_bare", "bare: k256, key and signature", None),
    ("evm_sign", "EVM: offer to signed payload", Some("evm_sign_bare")),
    ("evm_verify_bare", "bare: k256, recovery", None),
    ("evm_verify", "EVM: payment verified", Some("evm_verify_bare")),
    ("svm_sign_bare", "bare: ed25519-dalek, key and signature", None),
    ("svm_sign", "Solana: offer to signed payload", Some("svm_sign_bare")),
    ("svm_verify_bare", "bare: ed25519-dalek, verification", None),
    ("svm_verify", "Solana: payment verified", Some("svm_verify_bare")),
    ("evm_buyer", "EVM: a purchase over HTTP", Some("evm_sign_bare")),
    ("svm_buyer", "Solana: a purchase over HTTP", Some("svm_sign_bare")),
    ("evm_seller", "EVM: a sale over HTTP", Some("evm_verify_bare")),
];

const FIRMWARE: [(&str, &str); 2] = [
    ("buyer", "firmware: buyer, EVM and Solana, TCP/IP"),
    ("seller", "firmware: seller, EVM, TCP/IP"),
];

/// How much of its budget an operation may take with another compiler than the budgets' own.
const OTHER_COMPILER_PERCENT: u64 = 115;

/// No image takes more than a second.
const TIME_LIMIT: Duration = Duration::from_secs(120);

const COLUMNS: [&str; 4] = ["flash", "ram", "stack", "instructions"];

/// One for each column; firmware is not run.
type Figures = [Option<u64>; 4];

/// By board and operation.
type Table = BTreeMap<(String, String), Figures>;

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let done = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => measure().map(|table| print(&table)),
        ["--check"] => measure().and_then(|table| check(&table)),
        ["--update"] => measure().and_then(|table| update(&table)),
        _ => Err("usage: size [--check | --update]".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("{text}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Result<Table, String> {
    ready()?;
    let mut table = Table::new();
    for (board, _) in BOARDS {
        let images = build("benches/images", board)?;
        let [empty_flash, empty_ram] = sizes(&images.join("empty"))?;
        for (image, ..) in IMAGES {
            let elf = images.join(image);
            let [flash, ram] = sizes(&elf)?;
            let [instructions, stack] = run(&elf)?;
            let figures = [flash - empty_flash, ram - empty_ram, stack, instructions].map(Some);
            table.insert((board.into(), image.into()), figures);
        }
        let firmware = build("x402-core/examples/boards", board)?;
        for (name, _) in FIRMWARE {
            let [flash, ram] = sizes(&firmware.join(name))?;
            table.insert((board.into(), name.into()), [Some(flash), Some(ram), None, None]);
        }
    }
    Ok(table)
}

/// Says what is missing before anything is built.
fn ready() -> Result<(), String> {
    let mut missing = Vec::new();
    for (board, _) in BOARDS {
        let folder =
            output(Command::new("rustc").args(["--print", "target-libdir", "--target", board]));
        if !folder.is_ok_and(|folder| Path::new(folder.trim()).exists()) {
            missing.push(format!("the target: rustup target add {board}"));
        }
    }
    for (emulator, package) in
        [("qemu-system-arm", "qemu-system-arm"), ("qemu-system-riscv32", "qemu-system-misc")]
    {
        if output(Command::new(emulator).arg("--version")).is_err() {
            missing.push(format!("{emulator}: apt-get install {package}, on Debian"));
        }
    }
    if missing.is_empty() { Ok(()) } else { Err(format!("missing {}", missing.join("\nmissing "))) }
}

/// Builds all binaries in `folder`, and gives the folder that they are in.
fn build(folder: &str, board: &str) -> Result<PathBuf, String> {
    let own = env::current_exe().map_err(|error| error.to_string())?;
    // Beside the folder of this program's profile, so that other builds of the same packages stay.
    let target = own.ancestors().nth(2).ok_or("no target folder")?.join("size");
    let mut flags = String::new();
    // Panic messages have the paths of sources in them, which are longer on one machine than on
    // another.
    for path in source_folders() {
        write!(flags, "'--remap-path-prefix={}=.',", path.display()).expect("a string");
    }
    // In the folder, for the flags in its .cargo/config.toml, which these come on top of.
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(root().join(folder))
        .args(["build", "--release", "--locked", "--bins", "--target", board, "--target-dir"])
        .arg(&target)
        .args(["--config", &format!("target.{board}.rustflags=[{flags}]")])
        // It changes no figure; and what both folders depend on is built once.
        .args(["--config", "profile.release.debug=false"])
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    let status = cargo.status().map_err(|error| format!("cargo: {error}"))?;
    if !status.success() {
        return Err(format!("{folder} cannot be built for {board}"));
    }
    Ok(target.join(board).join("release"))
}

/// Where sources are: this repository, and what cargo has fetched.
fn source_folders() -> Vec<PathBuf> {
    let cargo = env::var_os("CARGO_HOME").map(PathBuf::from);
    let cargo = cargo.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")));
    let registries = cargo.and_then(|cargo| fs::read_dir(cargo.join("registry/src")).ok());
    let registries = registries.into_iter().flatten().flatten().map(|entry| entry.path());
    let mut folders: Vec<PathBuf> = registries.chain([root()]).collect();
    folders.sort();
    folders
}

/// Flash and RAM of an image.
fn sizes(elf: &Path) -> Result<[u64; 2], String> {
    let bytes = fs::read(elf).map_err(|error| format!("{}: {error}", elf.display()))?;
    let file = ElfFile32::<Endianness>::parse(&*bytes)
        .map_err(|error| format!("{}: {error}", elf.display()))?;
    let [mut flash, mut ram] = [0; 2];
    for section in file.sections() {
        let SectionFlags::Elf { sh_flags } = section.flags() else { continue };
        let is = |flag: u32| sh_flags & u64::from(flag) != 0;
        // The pages are there for the emulated network device; the rest is what is left of the RAM.
        let counts = !matches!(section.name(), Ok(".pages" | ".heap" | ".stack"));
        if !is(SHF_ALLOC) || !counts {
            continue;
        }
        // Variables with an initial value are in both.
        if section.kind() != SectionKind::UninitializedData {
            flash += section.size();
        }
        if is(SHF_WRITE) {
            ram += section.size();
        }
    }
    Ok([flash, ram])
}

/// Instructions and stack of an image's operation.
fn run(elf: &Path) -> Result<[u64; 2], String> {
    let mut child = Command::new("sh")
        .arg(root().join("x402-core/examples/boards/qemu.sh"))
        .arg(elf)
        .env("X402_ICOUNT", "1")
        .env_remove("X402_FORWARD")
        .env_remove("X402_SERIAL")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("sh: {error}"))?;
    let start = Instant::now();
    while child.try_wait().map_err(|error| error.to_string())?.is_none() {
        if start.elapsed() > TIME_LIMIT {
            child.kill().ok();
        }
        thread::sleep(Duration::from_millis(10));
    }
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    let figures = text.split_once(" instructions, ").and_then(|(instructions, rest)| {
        let stack = rest.strip_suffix(" bytes of stack\n")?;
        Some([instructions.parse().ok()?, stack.parse().ok()?])
    });
    figures
        .filter(|_| output.status.success())
        .ok_or_else(|| format!("{}: {}, {text}", elf.display(), output.status))
}

fn output(command: &mut Command) -> Result<String, String> {
    let output = command.stderr(Stdio::null()).output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(output.status.to_string());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn print(table: &Table) {
    for (board, core) in BOARDS {
        println!("\n{core} (`{board}`), bytes and instructions:\n");
        println!("| | flash | RAM | stack | instructions | to the bare one |");
        println!("|---|--:|--:|--:|--:|--:|");
        let images = IMAGES.iter().copied();
        let firmware = FIRMWARE.iter().map(|(name, label)| (*name, *label, None));
        for (name, label, bare) in images.chain(firmware) {
            let of = |name: &str| table[&(board.to_owned(), name.to_owned())];
            let [flash, ram, stack, instructions] = of(name).map(shown);
            let ratio = bare.and_then(|bare| Some(of(name)[3]? as f64 / of(bare)[3]? as f64));
            let ratio = ratio.map_or(String::new(), |ratio| format!("{ratio:.2}"));
            println!("| {label} | {flash} | {ram} | {stack} | {instructions} | {ratio} |");
        }
    }
}

/// `12 345`, or nothing.
fn shown(figure: Option<u64>) -> String {
    figure.map_or_else(String::new, grouped)
}

fn budgets_file() -> PathBuf {
    root().join("benches/size.tsv")
}

fn update(table: &Table) -> Result<(), String> {
    print(table);
    let mut text = format!("# {}\ntarget\toperation\t{}\n", compiler()?, COLUMNS.join("\t"));
    for ((board, operation), figures) in table {
        let budgets = figures.map(|figure| {
            figure.map_or("-".into(), |figure| (figure * 102).div_ceil(100).to_string())
        });
        writeln!(text, "{board}\t{operation}\t{}", budgets.join("\t")).expect("a string");
    }
    fs::write(budgets_file(), text).map_err(|error| error.to_string())
}

fn check(table: &Table) -> Result<(), String> {
    print(table);
    let text = fs::read_to_string(budgets_file()).map_err(|error| format!("size.tsv: {error}"))?;
    let budgets = read_budgets(&text).ok_or("size.tsv is not of its shape")?;
    let made_with = text.lines().next().unwrap_or_default().trim_start_matches("# ");
    let percent = if made_with == compiler()? { 100 } else { OTHER_COMPILER_PERCENT };
    let mut wrong = Vec::new();
    for (key, figures) in table {
        let (board, operation) = key;
        let Some(budget) = budgets.get(key) else {
            wrong.push(format!("{board} {operation}: no budget"));
            continue;
        };
        for ((column, figure), budget) in COLUMNS.iter().zip(figures).zip(budget) {
            // No budget is less than any.
            let budget = budget.map(|budget| budget * percent / 100);
            if *figure > budget {
                let [figure, budget] = [*figure, budget].map(shown);
                wrong.push(format!("{board} {operation}: {column} {figure}, budget {budget}"));
            }
        }
    }
    for (board, operation) in budgets.keys().filter(|key| !table.contains_key(key)) {
        wrong.push(format!("{board} {operation}: a budget for nothing"));
    }
    if wrong.is_empty() {
        println!("\nall within their budgets");
        return Ok(());
    }
    if percent != 100 {
        wrong.push(format!("(the budgets are for {made_with}, this is {})", compiler()?));
    }
    Err(format!("\nFAILED\n{}", wrong.join("\n")))
}

fn read_budgets(text: &str) -> Option<Table> {
    let rows = text.lines().filter(|line| !line.starts_with('#')).skip(1);
    rows.map(|row| {
        let [board, operation, figures @ ..] = &row.split('\t').collect::<Vec<_>>()[..] else {
            return None;
        };
        let figures = figures.iter().map(|figure| match *figure {
            "-" => Some(None),
            figure => figure.parse().ok().map(Some),
        });
        let figures = figures.collect::<Option<Vec<_>>>()?.try_into().ok()?;
        Some(((board.to_string(), operation.to_string()), figures))
    })
    .collect()
}
