//! Puts what was measured into the page of benchmarks and draws it.
//!
//!     cargo run -p x402-benches --bin report [-- --check]
//!
//! Each `benches/results/NAME.md` goes between `<!-- NAME -->` and `<!-- /NAME -->` in `benches/README.md`;
//! the charts in `benches/charts` are drawn from `benches/results/NAME.tsv`. Nothing is measured
//! here: `--save` of the programs that measure writes the results. `--check` writes nothing and
//! fails if page or charts are not what the results give.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::{env, fs};

use x402_benches::results::root;

/// The page of benchmarks.
const PAGE: &str = "benches/README.md";

/// The measurements, each made by the program of its name.
const NAMES: [&str; 5] = ["compare", "compare-sdks", "gateway", "footprint", "instructions"];

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let done = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => report(&root(), false),
        ["--check"] => report(&root(), true),
        _ => Err("usage: report [--check]".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("{text}");
            ExitCode::FAILURE
        }
    }
}

/// Writes what the results in a repository give, or only compares.
fn report(root: &Path, check: bool) -> Result<(), String> {
    let mut wrong = Vec::new();
    let read = |file: &str| fs::read_to_string(root.join(file)).ok();
    let mut wanted = BTreeMap::new();
    let mut readme = read(PAGE).ok_or(format!("there is no {PAGE}"))?;
    for name in NAMES {
        match read(&format!("benches/results/{name}.md")) {
            Some(tables) => match filled(&readme, name, &tables) {
                Ok(text) => readme = text,
                Err(error) => wrong.push(error),
            },
            None if readme.contains(&marker(name)) => {
                wrong.push(format!("no results of {name}: run it with --save"));
            }
            None => {}
        }
    }
    wanted.insert(PAGE.to_owned(), readme);
    let mut charts = BTreeSet::new();
    for chart in CHARTS {
        let Some(tsv) = read(&format!("benches/results/{}.tsv", chart.results)) else { continue };
        let file = format!("benches/charts/{}.svg", chart.name);
        charts.insert(file.clone());
        match (chart.draw)(chart.title, &tsv) {
            Ok(svg) => drop(wanted.insert(file, svg)),
            Err(error) => wrong.push(format!("{file}: {error}")),
        }
    }
    for file in fs::read_dir(root.join("benches/charts")).into_iter().flatten().flatten() {
        let file = format!("benches/charts/{}", file.file_name().to_string_lossy());
        if !charts.contains(&file) {
            wrong.push(format!("{file}: nothing draws it"));
        }
    }
    for (file, text) in wanted {
        if read(&file).as_ref() == Some(&text) {
            continue;
        }
        if check {
            wrong.push(format!("{file} is not what the results give: run report"));
            continue;
        }
        let path = root.join(&file);
        let folder = path.parent().map_or(Ok(()), fs::create_dir_all);
        folder.and_then(|()| fs::write(&path, text)).map_err(|error| format!("{file}: {error}"))?;
        println!("wrote {file}");
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

fn marker(name: &str) -> String {
    format!("<!-- {name} -->")
}

/// The text with the tables between the markers of a name, which must be there once.
fn filled(text: &str, name: &str, tables: &str) -> Result<String, String> {
    let (start, end) = (marker(name), marker(&format!("/{name}")));
    let parts = text.split_once(&start).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(&end)?;
        let again = [before, after].iter().any(|part| part.contains(&start) || part.contains(&end));
        (!again).then_some((before, after))
    });
    let (before, after) = parts.ok_or(format!("{PAGE} must have {start} and {end} once"))?;
    Ok(format!("{before}{start}\n{}\n{end}{after}", tables.trim()))
}

/// A chart, and the results it is drawn from.
struct Chart {
    name: &'static str,
    results: &'static str,
    title: &'static str,
    draw: fn(&str, &str) -> Result<String, String>,
}

const CHARTS: [Chart; 6] = [
    Chart {
        name: "compare-messages",
        results: "compare",
        title: "Reading and writing headers: time, as a multiple of ours (logarithmic)",
        draw: |title, tsv| peers(title, tsv, &["header to payload", "payload to header"]),
    },
    Chart {
        name: "compare-verified",
        results: "compare",
        title: "Header to verified payer: time, as a multiple of ours (logarithmic)",
        draw: |title, tsv| peers(title, tsv, &["header to payer", "solana header to payer"]),
    },
    Chart { name: "growth", results: "compare", title: GROWTH, draw: growth },
    Chart {
        name: "compare-sdks",
        results: "compare-sdks",
        title: "The official SDKs: time, as a multiple of ours (logarithmic)",
        draw: sdks,
    },
    Chart {
        name: "gateway",
        results: "gateway",
        title: "A paid route: processor time of the server for each request, us",
        draw: gateway,
    },
    Chart {
        name: "instructions",
        results: "instructions",
        title: "A payment verified: instructions, as a multiple of the bare curve's",
        draw: instructions,
    },
];

const GROWTH: &str = "JSON of a challenge, read: nanoseconds for a byte";

/// A line of results, by the names of its columns.
type Row<'t> = BTreeMap<&'t str, &'t str>;

fn rows(tsv: &str) -> Result<Vec<Row<'_>>, String> {
    let mut lines = tsv.lines();
    let names: Vec<&str> = lines.next().unwrap_or_default().split('\t').collect();
    let mut rows = Vec::new();
    for line in lines {
        let cells: Vec<&str> = line.split('\t').collect();
        if cells.len() != names.len() {
            return Err("a line has another number of columns than the first".into());
        }
        rows.push(names.iter().copied().zip(cells).collect());
    }
    Ok(rows)
}

fn text<'t>(row: &Row<'t>, column: &str) -> Result<&'t str, String> {
    row.get(column).copied().ok_or(format!("there is no column {column}"))
}

fn number(row: &Row<'_>, column: &str) -> Result<f64, String> {
    let cell = text(row, column)?;
    let number = cell.parse().ok().filter(|number: &f64| number.is_finite() && *number > 0.0);
    number.ok_or(format!("{column} is {cell}"))
}

/// Bars under a title.
struct Group {
    title: String,
    bars: Vec<Bar>,
}

struct Bar {
    label: String,
    value: f64,
}

fn bar(label: &str, value: f64) -> Bar {
    Bar { label: label.into(), value }
}

/// The tables of `compare` with these names, or others that start like them.
fn peers(title: &str, tsv: &str, names: &[&str]) -> Result<String, String> {
    let rows = rows(tsv)?;
    let mut groups: Vec<Group> = Vec::new();
    for name in names {
        for row in &rows {
            let table = text(row, "table")?;
            if !table.starts_with(name) {
                continue;
            }
            if groups.last().is_none_or(|group| group.title != table) {
                groups.push(Group { title: table.into(), bars: Vec::new() });
            }
            let bar = bar(text(row, "row")?, number(row, "nanoseconds")?);
            groups.last_mut().ok_or("no group")?.bars.push(bar);
        }
    }
    for Group { title, bars } in &mut groups {
        let own = bars.iter().find(|bar| is_ours(&bar.label)).map(|bar| bar.value);
        let own = own.ok_or(format!("{title}: no row of ours"))?;
        bars.iter_mut().for_each(|bar| bar.value /= own);
    }
    ratios(title, &groups)
}

/// For each size in `compare`'s table `growth`, which has rows such as `challenge of 4 KB: ours`.
fn growth(title: &str, tsv: &str) -> Result<String, String> {
    let mut lines: BTreeMap<&str, Vec<(f64, f64)>> = BTreeMap::new();
    for row in rows(tsv)?.iter().filter(|row| row.get("table") == Some(&"growth")) {
        let size = text(row, "row")?.strip_prefix("challenge of ");
        let Some((size, name)) = size.and_then(|rest| rest.split_once(" KB: ")) else { continue };
        let size = size.parse().map_err(|_| format!("a size of {size}"))?;
        lines.entry(name).or_default().push((size, number(row, "nanoseconds")?));
    }
    line_chart(title, "size of the challenge, KB", &lines)
}

fn sdks(title: &str, tsv: &str) -> Result<String, String> {
    let group = |row: &Row<'_>| {
        let own = number(row, "ours_us")?;
        let ratio = |column: &str| Ok::<f64, String>(number(row, column)? / own);
        Ok(Group {
            title: text(row, "label")?.into(),
            bars: vec![
                bar("ours", 1.0),
                bar("TypeScript", ratio("typescript_us")?),
                bar("Python", ratio("python_us")?),
            ],
        })
    };
    ratios(title, &rows(tsv)?.iter().map(group).collect::<Result<Vec<_>, String>>()?)
}

fn gateway(title: &str, tsv: &str) -> Result<String, String> {
    let rows = rows(tsv)?;
    let group = |(section, title): (&str, &str)| {
        let mut bars = Vec::new();
        for row in &rows {
            let (name, of) = (text(row, "name")?, text(row, "section")?);
            // Ours checks signatures whatever the facilitator does.
            let also = section == "servers, verifying" && of == "servers, instant" && is_ours(name);
            if (of == section || also) && text(row, "measure")? == "cpu us, 64 connections" {
                bars.push(bar(name, number(row, "value")?));
            }
        }
        Ok(Group { title: title.into(), bars })
    };
    let sections = [
        ("servers, unpaid", "free"),
        ("servers, instant", "a facilitator in the process that believes all; ours checks itself"),
        ("servers, verifying", "the same, but checks the signature, as the peers' own do"),
        ("servers, http", "over HTTP, a facilitator that believes all; ours checks itself"),
    ];
    amounts(title, &sections.into_iter().map(group).collect::<Result<Vec<_>, String>>()?)
}

fn instructions(title: &str, tsv: &str) -> Result<String, String> {
    let rows = rows(tsv)?;
    let mut groups = Vec::new();
    for bare in &rows {
        let key = text(bare, "operation")?;
        let mut bars = vec![bar("the bare curve", 1.0)];
        for row in &rows {
            if text(row, "bare")? == key {
                let ratio = number(row, "instructions")? / number(bare, "instructions")?;
                // The group's title repeats the part before the colon.
                let label = text(row, "label")?.split_once(": ").ok_or("a label has no colon")?.1;
                bars.push(bar(&format!("ours, {label}"), ratio));
            }
        }
        if bars.len() > 1 {
            groups.push(Group { title: text(bare, "label")?.into(), bars });
        }
    }
    amounts(title, &groups)
}

fn is_ours(label: &str) -> bool {
    label.starts_with("ours")
}

const WIDTH: f64 = 860.0;
/// Where labels end and bars begin.
const LEFT: f64 = 370.0;
/// Where the longest bar ends; its figure follows.
const RIGHT: f64 = 780.0;
const ROW: f64 = 20.0;
const TOP: f64 = 48.0;

/// Bars to the right of 1 for what takes longer, to the left for what takes less; each step of the
/// same length is the same factor.
fn ratios(title: &str, groups: &[Group]) -> Result<String, String> {
    let values = || groups.iter().flat_map(|group| &group.bars).map(|bar| bar.value);
    let least = values().fold(1.0, f64::min).log10();
    let most = values().fold(1.0, f64::max).log10();
    let span = (most - least).max(0.1);
    let at = |value: f64| LEFT + (value.log10() - least) / span * (RIGHT - LEFT);
    bar_chart(title, groups, at, at(1.0))
}

/// Bars as long as their amounts.
fn amounts(title: &str, groups: &[Group]) -> Result<String, String> {
    let values = groups.iter().flat_map(|group| &group.bars).map(|bar| bar.value);
    let most = values.fold(f64::MIN_POSITIVE, f64::max);
    let at = |value: f64| LEFT + value / most * (RIGHT - LEFT);
    bar_chart(title, groups, at, LEFT)
}

fn bar_chart(
    title: &str,
    groups: &[Group],
    at: impl Fn(f64) -> f64,
    from: f64,
) -> Result<String, String> {
    if groups.iter().all(|group| group.bars.is_empty()) {
        return Err("there is nothing to draw".into());
    }
    let mut body = String::new();
    let mut y = TOP;
    for Group { title, bars } in groups.iter().filter(|group| !group.bars.is_empty()) {
        label(&mut body, "group", 16.0, y + 14.0, title);
        y += ROW;
        for Bar { label: name, value } in bars {
            let end = at(*value);
            let (left, right) = (from.min(end) - 1.0, from.max(end) + 1.0);
            let class = if is_ours(name) { "ours" } else { "other" };
            label(&mut body, "end", LEFT - 10.0, y + 14.0, name);
            let (top, width, height) = (y + 3.0, right - left, ROW - 6.0);
            writeln!(
                body,
                r#"<rect class="{class}" x="{left:.1}" y="{top:.1}" width="{width:.1}" height="{height:.1}"/>"#,
            )
            .expect("a string");
            label(&mut body, "figure", right + 5.0, y + 14.0, &shown(*value));
            y += ROW;
        }
        y += ROW / 2.0;
    }
    line(&mut body, "axis", [(from, TOP), (from, y)]);
    Ok(svg(title, y + 10.0, &body))
}

/// Lines over a logarithmic axis of sizes; what is level grows with the size and no faster.
fn line_chart(
    title: &str,
    below: &str,
    lines: &BTreeMap<&str, Vec<(f64, f64)>>,
) -> Result<String, String> {
    let points = || lines.values().flatten();
    let least = points().map(|(x, _)| x.log2()).fold(f64::INFINITY, f64::min);
    let most = points().map(|(x, _)| x.log2()).fold(f64::NEG_INFINITY, f64::max);
    if least >= most {
        return Err("there is nothing to draw".into());
    }
    let highest = points().map(|(_, y)| *y).fold(f64::MIN_POSITIVE, f64::max);
    let step = round_step(highest / 4.0);
    let steps = (highest / step).ceil() as u32;
    let highest = step * f64::from(steps);
    let (left, right, bottom) = (60.0, RIGHT - 120.0, TOP + 220.0);
    let x_of = |x: f64| left + (x.log2() - least) / (most - least) * (right - left);
    let y_of = |y: f64| bottom - y / highest * (bottom - TOP);
    let mut body = String::new();
    for value in (0..=steps).map(|count| step * f64::from(count)) {
        line(&mut body, "grid", [(left, y_of(value)), (right, y_of(value))]);
        label(&mut body, "end", left - 8.0, y_of(value) + 4.0, &shown(value));
    }
    let sizes: BTreeSet<u64> = points().map(|(x, _)| *x as u64).collect();
    for size in sizes {
        label(&mut body, "middle", x_of(size as f64), bottom + 18.0, &size.to_string());
    }
    label(&mut body, "middle", (left + right) / 2.0, bottom + 38.0, below);
    for (name, points) in lines {
        let class = if is_ours(name) { "ours" } else { "other" };
        let mut path = String::new();
        for (x, y) in points {
            write!(path, "{:.1},{:.1} ", x_of(*x), y_of(*y)).expect("a string");
        }
        let path = path.trim_end();
        writeln!(body, r#"<polyline class="{class}" points="{path}"/>"#).expect("a string");
        for (x, y) in points {
            let (x, y) = (x_of(*x), y_of(*y));
            writeln!(body, r#"<circle class="{class}" cx="{x:.1}" cy="{y:.1}" r="3"/>"#)
                .expect("a string");
        }
        if let Some((_, y)) = points.last() {
            label(&mut body, "figure", right + 10.0, y_of(*y) + 4.0, name);
        }
    }
    line(&mut body, "axis", [(left, bottom), (right, bottom)]);
    Ok(svg(title, bottom + 54.0, &body))
}

/// The next of 1, 2, 5, 10 and so on.
fn round_step(least: f64) -> f64 {
    let power = 10f64.powf(least.log10().floor());
    let steps = [1.0, 2.0, 5.0].map(|step| step * power);
    steps.into_iter().find(|step| *step >= least).unwrap_or(10.0 * power)
}

/// A figure with three digits or so.
fn shown(value: f64) -> String {
    match value < 10.0 {
        true => format!("{value:.2}"),
        false => format!("{value:.0}"),
    }
}

fn line(body: &mut String, class: &str, [(x1, y1), (x2, y2)]: [(f64, f64); 2]) {
    writeln!(
        body,
        r#"<line class="{class}" x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}"/>"#,
    )
    .expect("a string");
}

fn label(body: &mut String, class: &str, x: f64, y: f64, text: &str) {
    let text = escaped(text);
    writeln!(body, r#"<text class="{class}" x="{x:.1}" y="{y:.1}">{text}</text>"#)
        .expect("a string");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Readable on light and dark pages: the colours are the reader's choice.
const STYLE: &str = "text{font:13px system-ui,sans-serif;fill:#1f2328}\
    .title{font-size:15px;font-weight:600}.group{font-weight:600}\
    .end{text-anchor:end}.middle{text-anchor:middle}\
    .axis{stroke:#59636e}.grid{stroke:#d1d9e0}\
    rect.ours,circle.ours{fill:#0969da}rect.other,circle.other{fill:#8c959f}\
    polyline{fill:none;stroke-width:2}polyline.ours{stroke:#0969da}polyline.other{stroke:#8c959f}\
    @media(prefers-color-scheme:dark){text{fill:#f0f6fc}.axis{stroke:#9198a1}.grid{stroke:#3d444d}\
    rect.ours,circle.ours{fill:#4493f8}rect.other,circle.other{fill:#656c76}\
    polyline.ours{stroke:#4493f8}polyline.other{stroke:#656c76}}";

fn svg(title: &str, height: f64, body: &str) -> String {
    let title = escaped(title);
    format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{}">
<style>{STYLE}</style>
<text class="title" x="16" y="26">{title}</text>
{body}</svg>
"#,
        title.replace('"', "&quot;"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_go_between_their_markers() {
        let text = "a\n<!-- compare -->\nold\n<!-- /compare -->\nb";
        let new = filled(text, "compare", "\n| new |\n").unwrap();
        assert_eq!(new, "a\n<!-- compare -->\n| new |\n<!-- /compare -->\nb");
        assert_eq!(filled(&new, "compare", "| new |").unwrap(), new);
        for text in [
            "",
            "<!-- compare -->",
            "<!-- /compare -->",
            "<!-- /compare --><!-- compare -->",
            "<!-- compare --><!-- /compare --><!-- compare -->",
            "<!-- compare --><!-- /compare --><!-- /compare -->",
        ] {
            assert!(filled(text, "compare", "| new |").is_err(), "{text}");
        }
    }

    #[test]
    fn charts_show_every_figure() {
        let compare = "table\trow\tnanoseconds\n\
            header to payload\tours\t100\n\
            header to payload\tA & B\t450\n\
            header to payload\tbase64 alone\t50\n\
            growth\tchallenge of 1 KB: ours\t1.5\n\
            growth\tchallenge of 64 KB: ours\t1.25\n";
        let drawn = peers("title", compare, &["header to payload"]).unwrap();
        for figure in [">1.00<", ">4.50<", ">0.50<", ">A &amp; B<"] {
            assert_eq!(drawn.matches(figure).count(), 1, "{figure}");
        }
        assert_eq!(drawn.matches("<rect").count(), 3);
        assert_eq!(growth("title", compare).unwrap().matches("<circle").count(), 2);
        let sdks_tsv =
            "operation\tlabel\tours_us\ttypescript_us\tpython_us\nread\tread it\t2\t10\t30\n";
        let drawn = sdks("title", sdks_tsv).unwrap();
        assert!(drawn.contains(">5.00<") && drawn.contains(">15<"));
        let gateway_tsv = "section\tname\tmeasure\tvalue\n\
            servers, instant\tours\tcpu us, 64 connections\t40\n\
            servers, instant\tours\tcpu us, 1 connections\t60\n";
        let drawn = gateway("title", gateway_tsv).unwrap();
        assert!(drawn.contains(">40<") && !drawn.contains(">60<"));
        let counted = "operation\tlabel\tbytes\tinstructions\tbare\n\
            bare_k256\tbare: k256\t-\t1000\t-\n\
            evm\tEVM: verified\t-\t1030\tbare_k256\n";
        assert!(instructions("title", counted).unwrap().contains(">1.03<"));
    }

    #[test]
    fn what_cannot_be_drawn_is_an_error() {
        let head = "table\trow\tnanoseconds\n";
        for (tsv, names) in [
            ("", "header"),
            (head, "header"),
            (&*format!("{head}header\tours\n"), "header"),
            (&*format!("{head}header\tours\tfast\n"), "header"),
            (&*format!("{head}header\tours\t0\n"), "header"),
            (&*format!("{head}header\tpeer\t1\n"), "header"),
            (&*format!("{head}header\tours\t1\n"), "other"),
        ] {
            assert!(peers("title", tsv, &[names]).is_err(), "{tsv}");
        }
        assert!(growth("title", head).is_err());
        for (least, step) in [(0.3, 0.5), (1.0, 1.0), (1.1, 2.0), (5.5, 10.0), (40.0, 50.0)] {
            assert!((round_step(least) - step).abs() < 1e-9, "{least}");
        }
        assert!(growth("title", &format!("{head}growth\tchallenge of 1 KB: ours\t1\n")).is_err());
    }

    #[test]
    fn a_check_sees_what_is_stale() {
        let root = env::temp_dir().join(format!("x402-report-{}", std::process::id()));
        let write = |file: &str, text: &str| {
            let path = root.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let sdks =
            "operation\tlabel\tours_us\ttypescript_us\tpython_us\nread\tread it\t2\t10\t30\n";
        write(PAGE, "<!-- compare-sdks --><!-- /compare-sdks -->");
        assert!(report(&root, true).is_err());
        write("benches/results/compare-sdks.md", "| new |\n");
        write("benches/results/compare-sdks.tsv", sdks);
        assert!(report(&root, true).is_err());
        report(&root, false).unwrap();
        report(&root, true).unwrap();
        let stale = [
            (PAGE, "<!-- compare-sdks -->\n| old |\n<!-- /compare-sdks -->"),
            ("benches/charts/compare-sdks.svg", "<svg/>"),
            ("benches/results/compare-sdks.md", "| newer |"),
        ];
        for (file, text) in stale {
            write(file, text);
            assert!(report(&root, true).is_err(), "{file}");
            report(&root, false).unwrap();
            report(&root, true).unwrap();
        }
        write("benches/charts/nobody.svg", "<svg/>");
        assert!(report(&root, true).is_err());
        fs::remove_dir_all(&root).unwrap();
    }
}
