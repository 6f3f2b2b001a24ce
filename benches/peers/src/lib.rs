//! Shared code of this package's measurements: medians of interleaved rounds, allocations counted,
//! and tables of both.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fmt::Write as _;
use std::fs;
use std::time::Instant;

use x402_benches::results::{self, Results};

/// The system's allocator, which counts what the calling thread asks it for. A binary that
/// measures makes it its `#[global_allocator]`; it costs a thread-local addition each time.
#[derive(Debug)]
pub struct Counting;

/// Requests to the allocator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allocations {
    /// Allocations and reallocations.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
}

thread_local! {
    static ASKED: Cell<Allocations> = const { Cell::new(Allocations { count: 0, bytes: 0 }) };
}

fn count(bytes: usize) {
    // `try_with`: a thread that ends frees what it has after its counter is gone.
    let _ = ASKED.try_with(|asked| {
        let Allocations { count, bytes: before } = asked.get();
        asked.set(Allocations { count: count + 1, bytes: before + bytes as u64 });
    });
}

// SAFETY: every call is passed on to the system's allocator as it came.
#[expect(unsafe_code, reason = "no other way to count allocations")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(new_size);
        unsafe { System.realloc(ptr, layout, new_size) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        unsafe { System.dealloc(ptr, layout) }
    }
}

/// Returns the requests of `run` to the allocator; none unless [`Counting`] is the global one.
pub fn allocations(run: impl FnOnce()) -> Allocations {
    let before = ASKED.get();
    run();
    let after = ASKED.get();
    Allocations { count: after.count - before.count, bytes: after.bytes - before.bytes }
}

/// Something to be measured.
pub struct Row<'n, 'r> {
    name: &'n str,
    run: &'r mut (dyn FnMut() + 'r),
    /// The divisor of one run: the operations in it, or the bytes it reads.
    parts: f64,
}

impl std::fmt::Debug for Row<'_, '_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Row").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A row of one operation.
pub fn row<'n, 'r>(name: &'n str, run: &'r mut (dyn FnMut() + 'r)) -> Row<'n, 'r> {
    Row { name, run, parts: 1.0 }
}

impl Row<'_, '_> {
    /// One run is so many operations; the cost of one is shown.
    pub fn parts(mut self, parts: usize) -> Self {
        self.parts = parts as f64;
        self
    }
}

/// The cost of one operation.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// Nanoseconds: the median of the rounds.
    pub nanoseconds: f64,
    /// Requests to the allocator, once everything that is made once is made.
    pub allocations: Allocations,
}

/// A sample takes at least so long, in nanoseconds: far above what reading the clock costs.
const SAMPLE: u128 = 100_000;

/// Measures all rows in turn, again and again, so that a slow moment of the machine hits all alike;
/// in another order each time, so that none always follows the one that fills the caches.
pub fn measure(rounds: usize, rows: &mut [Row<'_, '_>]) -> Vec<Cost> {
    let mut costs = Vec::with_capacity(rows.len());
    let mut repeats = Vec::with_capacity(rows.len());
    for row in rows.iter_mut() {
        // Warm: caches, tables and whatever is made at first use.
        (row.run)();
        let start = Instant::now();
        (row.run)();
        let nanoseconds = start.elapsed().as_nanos().max(1);
        repeats.push((SAMPLE / nanoseconds).clamp(1, 10_000) as u32);
        let allocations = allocations(|| (row.run)());
        costs.push(Cost { nanoseconds: 0.0, allocations });
    }
    let mut times = vec![Vec::with_capacity(rounds); rows.len()];
    let mut order: Vec<usize> = (0..rows.len()).collect();
    let mut random = 1;
    for _ in 0..rounds {
        shuffle(&mut order, &mut random);
        for &at in &order {
            let (row, repeats) = (&mut rows[at], repeats[at]);
            // The previous row may have left nothing of this one in the caches.
            (row.run)();
            let start = Instant::now();
            for _ in 0..repeats {
                (row.run)();
            }
            times[at].push(start.elapsed().as_nanos() as f64 / f64::from(repeats) / row.parts);
        }
    }
    for (cost, times) in costs.iter_mut().zip(&mut times) {
        times.sort_by(f64::total_cmp);
        cost.nanoseconds = times[times.len() / 2];
    }
    costs
}

/// Another order, from a generator of Marsaglia's (xorshift): the same in every run.
fn shuffle(order: &mut [usize], random: &mut u64) {
    for end in (2..=order.len()).rev() {
        *random ^= *random << 13;
        *random ^= *random >> 7;
        *random ^= *random << 17;
        order.swap(end - 1, (*random % end as u64) as usize);
    }
}

/// How to measure and what, from the command line.
#[derive(Clone, Debug)]
pub struct Options {
    /// Rounds of each table.
    pub rounds: usize,
    /// Only tables with this in their name.
    pub only: Option<String>,
    /// Whether results are written to `benches/results`.
    pub save: bool,
}

impl Options {
    /// Reads `--quick`, `--only TEXT` and `--save`.
    ///
    /// # Errors
    /// The fault in them, for people.
    pub fn read(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self { rounds: 401, only: None, save: false };
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--quick" => options.rounds = 41,
                "--only" => options.only = Some(args.next().ok_or("--only takes a text")?),
                "--save" => options.save = true,
                other => {
                    return Err(format!("{other}: not one of --quick, --only TEXT, --save"));
                }
            }
        }
        if options.save && (options.only.is_some() || options.rounds < 401) {
            return Err("what is saved is everything, measured in full".into());
        }
        Ok(options)
    }
}

/// A table about to be measured.
#[derive(Clone, Copy, Debug)]
pub struct Table<'t> {
    /// Its name, for `--only` and the raw figures.
    pub name: &'t str,
    /// Its title.
    pub title: &'t str,
    /// Rows that all others are compared with: title of the column, name of the row. Without any
    /// the table shows what a byte costs.
    pub against: &'t [(&'t str, &'t str)],
    /// The work of each row, as far as its name leaves it open.
    pub notes: &'t [&'t str],
}

/// The costs of a table's rows, by name.
#[derive(Debug)]
pub struct Costs<'n>(Vec<(&'n str, Cost)>);

impl Costs<'_> {
    /// The cost of a row.
    ///
    /// # Panics
    /// If there is none of that name.
    pub fn of(&self, name: &str) -> Cost {
        let found = self.0.iter().find(|(other, _)| *other == name);
        found.unwrap_or_else(|| panic!("no row {name}")).1
    }

    /// How often the one row's time goes into the other's.
    pub fn ratio(&self, name: &str, to: &str) -> f64 {
        self.of(name).nanoseconds / self.of(to).nanoseconds
    }
}

/// The target for a figure.
#[derive(Clone, Copy, Debug)]
pub enum Aim {
    /// So much or more.
    AtLeast(f64),
    /// So much or less.
    AtMost(f64),
}

/// Tables and aims as they come in.
#[derive(Debug)]
pub struct Report {
    options: Options,
    tables: String,
    aims: String,
    tsv: String,
    /// Names of the tables that were not asked for.
    left: Vec<String>,
}

impl Report {
    /// An empty one. Tables are also printed as they come in.
    pub fn new(options: Options) -> Self {
        let tsv = "table\trow\tnanoseconds\tallocations\tallocated_bytes\n".into();
        Self { options, tables: String::new(), aims: String::new(), tsv, left: Vec::new() }
    }

    /// Measures the rows and adds the table; `None` if it is not asked for.
    ///
    /// # Panics
    /// If a row that others are compared with is not there.
    pub fn table<'n>(&mut self, table: Table<'_>, mut rows: Vec<Row<'n, '_>>) -> Option<Costs<'n>> {
        if self.options.only.as_ref().is_some_and(|only| !table.name.contains(only.as_str())) {
            self.left.push(table.name.into());
            return None;
        }
        let costs = measure(self.options.rounds, &mut rows);
        let costs = Costs(rows.iter().map(|row| row.name).zip(costs).collect());
        let mut text = format!("### {}\n\n|", table.title);
        for (title, _) in table.against {
            write!(text, " | {title}").expect("a string");
        }
        let per = if table.against.is_empty() { "time per byte" } else { "time" };
        let columns = table.against.len() + 2;
        writeln!(text, " | {per} | allocations |\n|---{}|", "|---:".repeat(columns))
            .expect("a string");
        for (name, cost) in &costs.0 {
            write!(text, "| {name}").expect("a string");
            for (_, base) in table.against {
                write!(text, " | {}", ratio(costs.ratio(name, base))).expect("a string");
            }
            let Cost { nanoseconds, allocations: Allocations { count, bytes } } = cost;
            let allocated = match count {
                0 => "0".into(),
                _ => format!("{count} ({} B)", results::grouped(*bytes)),
            };
            writeln!(text, " | {} | {allocated} |", time(*nanoseconds)).expect("a string");
            writeln!(self.tsv, "{}\t{name}\t{nanoseconds:.3}\t{count}\t{bytes}", table.name)
                .expect("a string");
        }
        text.push('\n');
        for note in table.notes {
            writeln!(text, "- {note}").expect("a string");
        }
        if !table.notes.is_empty() {
            text.push('\n');
        }
        print!("{text}");
        self.tables.push_str(&text);
        Some(costs)
    }

    /// Says whether a figure is what it should be.
    pub fn aim(&mut self, what: &str, figure: f64, aim: Aim) {
        let (aimed, reached) = match aim {
            Aim::AtLeast(least) => (format!("at least {least}"), figure >= least),
            Aim::AtMost(most) => (format!("at most {most}"), figure <= most),
        };
        let reached = if reached { "yes" } else { "**no**" };
        let figure = if figure == 0.0 { "0".into() } else { ratio(figure) };
        writeln!(self.aims, "| {what} | {aimed} | {figure} | {reached} |").expect("a string");
    }

    /// Prints the aims, and saves everything under `name` if asked to.
    ///
    /// # Errors
    /// That no table was asked for, or why they could not be saved.
    pub fn end(self, name: &str) -> Result<(), String> {
        if self.tables.is_empty() {
            return Err(format!(
                "no table has that in its name; there are: {}",
                self.left.join("; ")
            ));
        }
        let head = "| aim | | measured | reached |\n|---|---|---:|---|\n";
        let aims = match self.aims.as_str() {
            "" => String::new(),
            aims => format!("### Aims\n\n{head}{aims}\n"),
        };
        let place = place(self.options.rounds)?;
        println!("{aims}{place}");
        if !self.options.save {
            return Ok(());
        }
        let markdown = format!("{aims}{}{place}\n", self.tables);
        Results { markdown, tsv: self.tsv }.save(name)
    }
}

/// The machine and the method of the measurement.
fn place(rounds: usize) -> Result<String, String> {
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let mut names = processor.lines().filter(|line| line.starts_with("model name"));
    let name = names.next().and_then(|line| Some(line.split_once(':')?.1.trim()));
    let processor = name.unwrap_or("an unnamed processor");
    let compiler = results::compiler()?;
    Ok(format!("Medians of {rounds} rounds in one process, on {processor} by {compiler}."))
}

fn ratio(ratio: f64) -> String {
    match ratio {
        100.0.. => format!("{ratio:.0}"),
        10.0.. => format!("{ratio:.1}"),
        2.0.. => format!("{ratio:.2}"),
        _ => format!("{ratio:.3}"),
    }
}

fn time(nanoseconds: f64) -> String {
    match nanoseconds {
        99_950.0.. => format!("{:.0} us", nanoseconds / 1e3),
        9_995.0.. => format!("{:.1} us", nanoseconds / 1e3),
        999.5.. => format!("{:.2} us", nanoseconds / 1e3),
        99.95.. => format!("{nanoseconds:.0} ns"),
        9.995.. => format!("{nanoseconds:.1} ns"),
        _ => format!("{nanoseconds:.2} ns"),
    }
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[global_allocator]
    static ALLOCATOR: Counting = Counting;

    #[test]
    fn allocations_of_this_thread_are_counted() {
        let counted = |count, bytes| Allocations { count, bytes };
        assert_eq!(allocations(|| {}), counted(0, 0));
        assert_eq!(allocations(|| drop(black_box(vec![1u8; 100]))), counted(1, 100));
        assert_eq!(allocations(|| drop(black_box(vec![0u8; 100]))), counted(1, 100));
        let mut grown = vec![1u8; 100];
        assert_eq!(allocations(|| grown.reserve_exact(200)), counted(1, 300));
        let elsewhere = thread::spawn(|| allocations(|| drop(black_box(vec![1u8; 7]))));
        assert_eq!(allocations(|| drop(black_box(Box::new(1u64)))), counted(1, 8));
        assert_eq!(elsewhere.join().unwrap(), counted(1, 7));
    }

    #[test]
    fn rows_are_measured_apart_and_by_their_parts() {
        let mut short = || thread::sleep(Duration::from_micros(200));
        let mut long = || thread::sleep(Duration::from_millis(5));
        let (mut shared, mut allocates) = (long, || drop(black_box(vec![1u8; 100])));
        let mut rows = [
            row("short", &mut short),
            row("long", &mut long),
            row("shared", &mut shared).parts(100),
            row("allocates", &mut allocates),
        ];
        let costs = measure(5, &mut rows);
        let [short, long, shared, allocates] = costs[..] else { panic!("four") };
        // A busy machine adds to any of them.
        assert!((200e3..long.nanoseconds).contains(&short.nanoseconds), "{short:?}, {long:?}");
        assert!(long.nanoseconds >= 5e6, "{long:?}");
        assert!((50e3..5e6).contains(&shared.nanoseconds), "{shared:?}");
        assert_eq!(allocates.allocations, Allocations { count: 1, bytes: 100 });
        assert_eq!(long.allocations, Allocations::default());
    }

    #[test]
    fn every_order_has_every_row() {
        let (mut order, mut random) = ([0, 1, 2, 3, 4], 1);
        let mut last = [0; 5];
        for _ in 0..500 {
            shuffle(&mut order, &mut random);
            last[order[4]] += 1;
            let mut sorted = order;
            sorted.sort_unstable();
            assert_eq!(sorted, [0, 1, 2, 3, 4]);
        }
        assert!(last.iter().all(|times| (50..150).contains(times)), "{last:?}");
    }

    #[test]
    fn options_are_read_strictly() {
        for (args, expected) in [
            (&[][..], Ok((401, None, false))),
            (&["--quick"], Ok((41, None, false))),
            (&["--only", "solana", "--quick"], Ok((41, Some("solana"), false))),
            (&["--save"], Ok((401, None, true))),
            (&["--save", "--quick"], Err(())),
            (&["--save", "--only", "solana"], Err(())),
            (&["--only"], Err(())),
            (&["solana"], Err(())),
        ] {
            let read = Options::read(args.iter().map(|arg| (*arg).to_owned()));
            let read = read.as_ref().map_err(|_| ());
            let read = read.map(|read| (read.rounds, read.only.as_deref(), read.save));
            assert_eq!(read, expected, "{args:?}");
        }
    }

    #[test]
    fn figures_have_three_digits() {
        for (nanoseconds, expected) in [
            (1.234, "1.23 ns"),
            (12.34, "12.3 ns"),
            (999.4, "999 ns"),
            (999.6, "1.00 us"),
            (12_345.0, "12.3 us"),
            (1_234_567.0, "1235 us"),
        ] {
            assert_eq!(time(nanoseconds), expected);
        }
        for (figure, expected) in [(1.0, "1.000"), (4.321, "4.32"), (43.21, "43.2"), (432.1, "432")]
        {
            assert_eq!(ratio(figure), expected);
        }
    }

    #[test]
    fn tables_say_what_was_asked_for() {
        let only = |only: &str| Options { rounds: 3, only: Some(only.into()), save: false };
        let table = Table {
            name: "of sleep",
            title: "Sleep",
            against: &[("to one", "one")],
            notes: &["Idle."],
        };
        let mut report = Report::new(only("sleep"));
        let (mut one, mut two) = (|| thread::sleep(Duration::from_millis(1)), || {});
        let costs = report.table(table, vec![row("one", &mut one), row("two", &mut two)]);
        assert!(costs.unwrap().ratio("two", "one") < 0.1);
        report.aim("two", 1.5, Aim::AtLeast(4.0));
        report.aim("one", 4.0, Aim::AtLeast(4.0));
        report.aim("three", 1.06, Aim::AtMost(1.05));
        assert!(report.tables.starts_with("### Sleep\n\n| | to one | time | allocations |\n"));
        assert!(report.tables.contains("\n| one | 1.000 | "), "{}", report.tables);
        assert!(report.tables.ends_with("\n- Idle.\n\n"));
        assert_eq!(
            report.aims,
            "| two | at least 4 | 1.500 | **no** |\n| one | at least 4 | 4.00 | yes |\n| three | at most 1.05 | 1.060 | **no** |\n",
        );
        assert_eq!(report.tsv.lines().count(), 3);
        assert!(report.tsv.lines().nth(1).unwrap().starts_with("of sleep\tone\t"));
        assert!(report.end("never saved").is_ok());

        let mut report = Report::new(only("walk"));
        assert!(report.table(table, vec![row("one", &mut one)]).is_none());
        assert!(report.end("never saved").unwrap_err().ends_with("there are: of sleep"));
    }
}
